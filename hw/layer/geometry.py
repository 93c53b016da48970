"""How a layer is laid out in hardware: lanes, groups, banks, chunks. Pure numbers, all derived.

Neurons are computed `lanes` at a time; a layer of more neurons runs in `groups`. Lanes are built
in `slices`, each with its own control registers and weight ROM per bank. Inputs sit in
`slots`: the order in which their coefficients arrive, in words of `banks * chunk`. Slot s belongs
to bank `s % banks` and is row `s // banks` of that bank's weight ROM.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hw.contract.checks import SpecError
from hw.contract.layout import MapLayout

__all__ = ["SLICE_LANES", "LayerGeometry", "filled_depth"]

SLICE_LANES = 16
"""Lanes that share control registers and a weight ROM. Control reaches one slice a cycle after the
one before it, so no net of the core spans more lanes than this, however many there are."""

BLOCK_ROWS = 256
LEAST_ROWS = 48
"""Block RAMs are filled in pieces of so many rows (256, or 512, which fits too); the fewest rows
of a piece that make random contents unmistakable."""


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def filled_depth(rows: int) -> int:
    """Rows of a ROM that needs so many: more, of zeros, if the last, partial block RAM would hold
    so few that its contents could not be told from others' (gen.family.rom_swap)."""
    rest = rows % BLOCK_ROWS
    return rows + LEAST_ROWS - rest if 0 < rest < LEAST_ROWS else rows


@dataclass(frozen=True, kw_only=True)
class LayerGeometry:
    """Shape of one layer in hardware.

    Parameters
    ----------
    inputs, neurons
        Size of the layer.
    lanes
        Neurons per cycle, 1 to `neurons`.
    banks
        Events per cycle: weight ROMs read at once, each with its own queue. A power of two.
    chunk
        Coefficients per bank in a word. A power of two.
    planes, signed
        Format of the coefficients that are played: bits of magnitude, and whether there is a sign.
    sent_planes
        Of those that arrive, whose sums over all steps are played, once. 0: they are played as they
        arrive.
    source_lanes
        The inputs arrive in groups of this many (the lanes of the sending layer), each group
        padded to whole words. Equal to `inputs` for a picture.
    source_maps
        Rows and columns of the source: its channels come in groups of `source_lanes`, each group
        row by row. A plain row of neurons has (1, 1).
    source_rows, source_sets
        Of those, how many rows and groups lie side by side in what is sent at a time
        (`hw.contract.layout.MapLayout`).
    bias_rows
        Rows after each group's weights that hold its biases, a digit of `weight_bits` per row and
        lane, the most significant first. 0: there are no biases.
    fire_lanes
        Neurons updated per cycle: the sums of a group go to them in parts of so many, for a chip
        that is short of logic. 0: all lanes at once. With several groups it divides `lanes`.
    repeat
        Plane p of a coefficient is played 2^p times, where otherwise the sum is doubled from plane
        to plane: a spike of coefficient c is then |c| ternary events, and costs as many cycles.
    lean
        The queue holds one vector, where it otherwise loads one while it plays another, and has no
        skid buffer: for a chip that is short of logic and slow.
    """

    inputs: int
    neurons: int
    lanes: int
    banks: int
    chunk: int
    planes: int
    signed: bool
    source_lanes: int
    sent_planes: int = 0
    source_maps: tuple[int, int] = (1, 1)
    source_rows: int = 1
    source_sets: int = 1
    bias_rows: int = 0
    fire_lanes: int = 0
    repeat: bool = False
    lean: bool = False

    def __post_init__(self) -> None:
        for what, value in (("Lanes", self.lanes), ("Source lanes", self.source_lanes)):
            if not isinstance(value, int) or value < 1:
                raise SpecError(f"{what} must be a positive integer, not {value!r}")
        for what, value in (("Banks", self.banks), ("Chunk", self.chunk)):
            if not isinstance(value, int) or value < 1 or value & (value - 1):
                raise SpecError(f"{what} must be a power of two, not {value!r}")
        if self.inputs % (self.source_maps[0] * self.source_maps[1]):
            raise SpecError(
                f"Inputs must be whole maps of {self.source_maps[0]}x{self.source_maps[1]}, not "
                f"{self.inputs}"
            )
        if self.lanes > self.neurons:
            raise SpecError(f"Lanes must be at most {self.neurons} neurons, not {self.lanes}")
        if self.groups > 1 and self.fire_lanes and self.lanes % self.fire_lanes:
            raise SpecError(
                f"Lanes must be a multiple of the {self.fire_lanes} that fire, not {self.lanes}"
            )

    @property
    def source(self) -> MapLayout:
        """How the inputs lie in what the sending layer sends at a time."""
        rows, columns = self.source_maps
        return MapLayout(
            (self.inputs // (rows * columns), rows, columns),
            self.source_lanes,
            rows=self.source_rows,
            sets=self.source_sets,
        )

    @property
    def turns(self) -> list[int]:
        """The plane of each pass over a vector, in the order of play."""
        planes = reversed(range(self.planes))
        return [p for p in planes for _ in range(1 << p if self.repeat else 1)]

    @property
    def firing(self) -> "LayerGeometry":
        """The layer as its neurons see it: `fire_lanes` lanes, and a group for each part."""
        lanes = self.fire_lanes or self.lanes
        groups = self.groups * _ceil_div(self.lanes, lanes)
        return replace(self, neurons=groups * lanes, lanes=lanes, fire_lanes=0)

    @property
    def buffers(self) -> int:
        """Vectors that a queue holds."""
        return 1 if self.lean else 2

    @property
    def groups(self) -> int:
        """Passes over the inputs needed for all neurons."""
        return _ceil_div(self.neurons, self.lanes)

    @property
    def slices(self) -> list[range]:
        """The lanes of each slice: `SLICE_LANES` each, the last perhaps fewer."""
        starts = range(0, self.lanes, SLICE_LANES)
        return [range(k, min(k + SLICE_LANES, self.lanes)) for k in starts]

    @property
    def word(self) -> int:
        """Coefficients per word of the input stream."""
        return self.banks * self.chunk

    @property
    def words(self) -> int:
        """Words per time step (or per image) of the input stream."""
        return self.source.words * _ceil_div(self.source.size, self.word)

    @property
    def rows(self) -> int:
        """Weight rows per bank and group."""
        return self.words * self.chunk

    @property
    def stride(self) -> int:
        """Rows from one group's first to the next one's: weights, then biases."""
        return self.rows + self.bias_rows

    @property
    def depth(self) -> int:
        """Rows of the ROM of a bank: those of all groups, filled."""
        return filled_depth(self.groups * self.stride)

    def slots(self) -> npt.NDArray[np.int64]:
        """Slot of each input, shape (inputs,)."""
        word, lane = self.source.places()
        return word * _ceil_div(self.source.size, self.word) * self.word + lane
