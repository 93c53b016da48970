"""What a bench is to do: a JSON file between `sim.bench.run` and the simulator's process."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw.contract.network import Network, NetworkError
from hw.system.process import end_with_parent

__all__ = ["NETWORK", "BenchJob", "Job", "job_folder"]

NETWORK = "network.npz"
"""The file of the network, in the folder above the one of the job."""


def job_folder() -> Path:
    """In a bench's process: the folder with its job. From now on it ends with who started it."""
    end_with_parent()
    return Path(os.environ["STERNA_BENCH"])


@dataclass(frozen=True, kw_only=True)
class BenchJob:
    """What every bench is told.

    `digest` is of the network whose core was built. `result_bits` is the width of the core's
    results, `taps` name and bits of each of its taps, none of the core that ships. `stall` is the
    probability, per cycle, that a word is held back, and that a result is not taken (0: streams
    flow). `watchdog` is the quiet cycles after which a core is called dead.
    """

    digest: str
    result_bits: int
    taps: list[tuple[str, int]]
    stall: float = 0.0
    seed: int = 0
    watchdog: int = 10_000_000

    def network(self, folder: Path) -> Network:
        """The network that lies above the job's folder.

        Raises
        ------
        NetworkError
            When it is not the one that the job is about: somebody else has written there.
        """
        found = Network.load(folder.parent / NETWORK)
        if found.digest != self.digest:
            raise NetworkError(
                f"Network in {folder.parent} must have digest {self.digest}, not {found.digest}"
            )
        return found

    def plusargs(self, folder: Path) -> list[str]:
        """Of `sim.bench.harness`."""
        return [
            f"+folder={folder}",
            f"+stall={round(self.stall * 2**16)}",
            f"+random={self.seed}",
            f"+watchdog={self.watchdog}",
        ]


@dataclass(frozen=True, kw_only=True)
class Job(BenchJob):
    """What the bench of a core is to do.

    `recipe` describes the plan (`gen.core.plan.rebuild`), `word_bits` the width of the core's
    input. `reset_after` is the cycles after which, once, the core is reset and everything begins
    anew (0: never).
    """

    recipe: dict[str, Any]
    word_bits: int
    reset_after: int = 0
