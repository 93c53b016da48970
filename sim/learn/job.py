"""What a bench of a learning core is to do: a file between `sim.learn.run` and the simulator."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["MASTERS", "NETWORK", "LearningJob"]

NETWORK = "network.npz"
MASTERS = "network.masters.npz"
"""In the folder above the one of the job, as they are at first; in the job's, as they are left."""


@dataclass(frozen=True, kw_only=True)
class LearningJob:
    """What a bench is to do; see `sim.bench.job.Job`. `dump`: after how many samples all masters
    are read back (0: after the last)."""

    lanes: int
    result_bits: int
    row_bits: int
    taps: list[tuple[str, int]]
    dump: int = 1
    samples: int = 0
    stall: float = 0.0
    seed: int = 0
    watchdog: int = 1_000_000

    def plusargs(self, folder: Path) -> list[str]:
        """Of `sim.learn.harness`."""
        return [
            f"+folder={folder}",
            f"+stall={round(self.stall * 2**16)}",
            f"+random={self.seed}",
            f"+watchdog={self.watchdog}",
            f"+dump={self.dump}",
            f"+samples={self.samples}",
        ]
