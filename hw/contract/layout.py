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
    """

    shape: Shape
    lanes: int
    positions: int = 1

    @property
    def groups(self) -> int:
        """Groups of channels."""
        return -(-self.shape[0] // self.lanes)

    @property
    def channels(self) -> int:
        """Channels in a word."""
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
    def words(self) -> int:
        """Words in all."""
        return self.groups * self.shape[1] * self.columns

    def places(self) -> tuple[Int, Int]:
        """Word and lane of each value, in the order of the flattened map."""
        c, y, x = np.indices(self.shape).reshape(3, -1)
        word = ((c // self.lanes) * self.shape[1] + y) * self.columns + x // self.positions
        lane = (x % self.positions) * (self.lanes // self.positions) + c % self.lanes
        return word.astype(np.int64), lane.astype(np.int64)

    def pack(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values (n, size) as (n, words, lanes)."""
        words, lanes = self.places()
        packed = np.zeros((len(values), self.words, self.lanes), dtype=values.dtype)
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
