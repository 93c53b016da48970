"""What a bench of a learning core is to do: a file between `sim.learn.run` and the simulator."""

from dataclasses import dataclass
from pathlib import Path

from sim.bench.job import BenchJob

__all__ = ["MASTERS", "LearningJob"]

MASTERS = "network.masters.npz"
"""In the folder above the one of the job, as they are at first; in the job's, as they are left."""


@dataclass(frozen=True, kw_only=True)
class LearningJob(BenchJob):
    """What the bench of a learning core is to do. `dump`: after how many samples all masters are
    read back (0: after the last), and after each of the first `dump_first`."""

    lanes: int
    row_bits: int
    dump: int = 1
    dump_first: int = 0
    samples: int = 0
    watchdog: int = 1_000_000

    def plusargs(self, folder: Path) -> list[str]:
        """Of `sim.learn.harness`."""
        return [
            *super().plusargs(folder),
            f"+dump={self.dump}",
            f"+first={self.dump_first}",
            f"+samples={self.samples}",
        ]

    def dumps(self, number: int) -> bool:
        """Whether all masters are read back after sample `number`, from 1."""
        regular = self.dump > 0 and number % self.dump == 0
        return regular or number <= self.dump_first or number == self.samples
