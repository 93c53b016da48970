"""Reads what `sim.bench.harness` records, while it grows."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Recording", "Rows"]


class Rows(NamedTuple):
    """Of consecutive rows, the cycles, int64 (n,), and the values, uint32 (n, words), low word
    first."""

    cycles: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint32]


class Recording:
    """The rows that a run has recorded, each to be taken once.

    Parameters
    ----------
    folder
        Where the simulator writes; its files are there.
    widths
        Name and bits of each record, `results` among them.
    """

    def __init__(self, folder: Path, widths: Sequence[tuple[str, int]]) -> None:
        self.start = 0
        """Cycle of the first word taken."""
        self._folder = folder
        self._words = {name: -(-bits // 32) for name, bits in widths}
        self._taken = dict.fromkeys(self._words, 0)
        self._last = dict.fromkeys(self._words, 0)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._words)

    def left(self, name: str) -> int:
        """How many rows are there to take; a row of which a part is written is not."""
        size = 4 * (1 + self._words[name])
        return self._file(name).stat().st_size // size - self._taken[name]

    def take(self, name: str, count: int) -> Rows:
        """The next rows, `count` or as many as there are."""
        words, count = 1 + self._words[name], max(0, min(count, self.left(name)))
        flat = np.fromfile(
            self._file(name), dtype="<u4", count=count * words, offset=4 * words * self._taken[name]
        )
        self._taken[name] += count
        rows = flat.reshape(count, words)
        return Rows(self._unwrap(name, rows[:, 0]), rows[:, 1:])

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.bin"

    def _unwrap(self, name: str, low: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """Whole numbers of cycles, of which the record has 32 bits: they never fall."""
        if not len(low):
            return np.zeros(0, dtype=np.int64)
        last = self._last[name]
        before = np.concatenate([[last & 0xFFFF_FFFF], low[:-1]]).astype(np.int64)
        cycles = last + np.cumsum((low.astype(np.int64) - before) % 2**32)
        self._last[name] = int(cycles[-1])
        return cycles
