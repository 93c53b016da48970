"""Rows of numbers as the words of a ROM."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hw.contract.checks import signed_bits

__all__ = ["Table"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """Rows of a signed number of `bits` per lane, as the words of a ROM."""

    bits: int
    lanes: int
    words: list[int]

    SWAPPED_ROWS: ClassVar[int] = 64
    BLOCK_ROWS: ClassVar[int] = 256

    @classmethod
    def of(cls, rows: Int, bits: int = 0) -> "Table":
        """Of an array (rows, lanes), as narrow as it may be, but of `bits` at least."""
        bits = max(bits, signed_bits(max(int(np.abs(rows).max()), 1)))
        mask = (1 << bits) - 1
        words = [
            sum((value & mask) << (k * bits) for k, value in enumerate(row))
            for row in rows.tolist()
        ]
        return cls(bits, rows.shape[1], words)

    def filled(self) -> "Table":
        """With rows of 0 behind that nobody reads, so that the last block of `BLOCK_ROWS`, the
        fewest that a block RAM has, holds `SWAPPED_ROWS` at least: as many random ones are
        unmistakable in a routed design, and others can be put in their place
        (`gen.family.rom_swap`). This costs no block RAM."""
        last = (len(self.words) - 1) % self.BLOCK_ROWS + 1
        return replace(self, words=self.words + [0] * (self.SWAPPED_ROWS - last))

    @property
    def width(self) -> int:
        """Bits of a word."""
        return self.bits * self.lanes
