"""How maps lie in words: those of a program's memories, and those between stages."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hw.contract.edge import INPUT, Shape

if TYPE_CHECKING:  # the host library takes MapLayout, and no network
    from hw.contract.spec import NetworkSpec

__all__ = ["MapLayout", "map_layout"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MapLayout:
    """How the coefficients of a source lie in words.

    Parameters
    ----------
    shape
        Channels, rows, columns.
    lanes
        Coefficients per word.
    positions
        Positions in a word: 1, or more where the input has few channels.
    rows, sets
        Rows below each other, and groups of channels, that lie in a word side by side, `lanes` of
        each: all rows of a group, then those of the next one.
    """

    shape: Shape
    lanes: int
    positions: int = 1
    rows: int = 1
    sets: int = 1

    @property
    def size(self) -> int:
        """Coefficients of a word."""
        return self.lanes * self.rows * self.sets

    @property
    def groups(self) -> int:
        """Groups of channels."""
        return -(-self.shape[0] // self.lanes)

    @property
    def padded_groups(self) -> int:
        """Groups of channels that words have room for."""
        return -(-self.groups // self.sets) * self.sets

    @property
    def channels(self) -> int:
        """Channels in a group."""
        return min(self.shape[0], self.lanes)

    @property
    def channel_bits(self) -> int:
        """log2 of the lanes between one position and the next."""
        return (self.lanes // self.positions - 1).bit_length()

    @property
    def columns(self) -> int:
        """Words in a row."""
        return -(-self.shape[2] // self.positions)

    @property
    def set_words(self) -> int:
        """Words of the groups of channels that lie side by side."""
        return -(-self.shape[1] // self.rows) * self.columns

    @property
    def words(self) -> int:
        """Words in all."""
        return -(-self.groups // self.sets) * self.set_words

    def places(self) -> tuple[Int, Int]:
        """Word and lane of each value, in the order of the flattened map."""
        c, y, x = np.indices(self.shape).reshape(3, -1)
        group, part = c // self.lanes, y % self.rows
        word = group // self.sets * self.set_words + y // self.rows * self.columns
        word += x // self.positions
        lane = (x % self.positions) * (self.lanes // self.positions) + c % self.lanes
        lane += (group % self.sets * self.rows + part) * self.lanes
        return word.astype(np.int64), lane.astype(np.int64)

    def pack(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values (n, size of the map) as (n, words, size of a word)."""
        words, lanes = self.places()
        packed = np.zeros((len(values), self.words, self.size), dtype=values.dtype)
        packed[:, words, lanes] = values
        return packed

    def unpack(self, packed: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Inverse of `pack`."""
        words, lanes = self.places()
        return packed[:, words, lanes]


def map_layout(spec: "NetworkSpec", source: str, lanes: int) -> MapLayout:
    """The layout of a layer's spikes, or of the input: several positions of it go into a word, if
    there are lanes enough and no identity edge wants each channel in its own."""
    shape = spec.shape_of(source)
    identical = any(
        edge.kind == "identity" and edge.source == INPUT
        for n in range(len(spec.layers))
        for edge in spec.edges(n)
    )
    if source != INPUT or identical:
        return MapLayout(shape, lanes)
    return MapLayout(shape, lanes, max(1, lanes >> (shape[0] - 1).bit_length()))
