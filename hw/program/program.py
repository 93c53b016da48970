"""A program: what one set of hardware does, one operation after the other.

There are four operations. A *scan* plays the coefficients of one map, or what has changed in them
since the step before, over one edge into the sums it reaches. A *sweep* fires a layer and prepares
it for the next step. A *send* hands the readout's sums on. Of a network that learns, a *decide*
ends the program where there is nothing to learn; behind it scans may change rows of weights in
place of adding them. Whatever distinguishes one edge or layer from another is numbers in here; this
module imports no Amaranth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum, IntEnum
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hw.contract.checks import signed_bits

__all__ = [
    "Code",
    "Counted",
    "Decide",
    "Field",
    "Held",
    "Learning",
    "Operation",
    "Played",
    "Program",
    "Reach",
    "Scan",
    "Send",
    "Sweep",
    "Table",
    "Window",
    "WindowColumn",
    "WindowRow",
]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What one coordinate of a spike reaches along its axis: where updates start, and how many.

    Kernel, stride, padding, pooling and borders are all in here, so the hardware needs none of
    them, and a position outside of the map costs no cycle.

    Parameters
    ----------
    count
        Positions reached; 0: none.
    potential, weight
        Offsets of the first of them.
    """

    count: int
    potential: int = 0
    weight: int = 0


@dataclass(frozen=True, kw_only=True)
class WindowRow:
    """What one row of a map reaches through a window, as the banks of sums see it.

    Parameters
    ----------
    stores
        Whether a bank gets anything, one by one; none of them: nothing is reached.
    slots
        From which row of the window.
    nexts
        Whether its word is in the next row of words.
    potential, weight
        Offsets: first word of the row of words; rows of weights.
    """

    stores: tuple[int, ...]
    slots: tuple[int, ...]
    nexts: tuple[int, ...]
    potential: int
    weight: int = 0


@dataclass(frozen=True, kw_only=True)
class WindowColumn:
    """What one column of a map reaches through a window.

    Parameters
    ----------
    some
        There is anything.
    column
        Of the target, where the window begins; it may lie before the first.
    held
        Columns of the window up to the last that is one of the target.
    weight
        Offset of rows of weights.
    pick
        Which column of a row of weights goes where (`Window.picks`).
    """

    some: int
    column: int
    held: int
    weight: int = 0
    pick: int = 0


@dataclass(frozen=True, kw_only=True)
class Window:
    """Sums of a program that adds to a whole window of positions at once.

    Parameters
    ----------
    rows, columns
        Of the window: so many banks of sums; so many columns are open at a time.
    used
        Positions, row by row, that anything adds to: a row of weights has `lanes` numbers for each.
    row_table, column_table
        What rows and columns reach.
    picks
        For each column of the window, the column of a row of weights that it takes; None: none.
    pixels
        Coefficients of a word of the memory of pictures.
    """

    rows: int
    columns: int
    used: tuple[tuple[int, int], ...]
    row_table: tuple[WindowRow, ...]
    column_table: tuple[WindowColumn, ...]
    picks: tuple[tuple[int | None, ...], ...]
    pixels: int


class Played(Enum):
    """What a scan's coefficients are."""

    STEP = "a step's"
    CHANGES = "a step's, less those of the step before"
    SUM = "those of all steps up to one, together"


class Held(IntEnum):
    """Maps of a network that learns, beside spikes and pictures."""

    NONE = 0
    COUNTS = 1
    """N: each neuron's spikes, added up over the forward steps."""
    BACK = 2
    """B: those of the backward steps."""
    ERROR = 3
    """Of each class."""
    CONSTANT = 4
    """One sender, of the scan's `constant`: it brings a bias."""


class Counted(IntEnum):
    """What a sweep counts."""

    NOTHING = 0
    FORWARD = 1
    """The spikes, as N."""
    BACK = 2
    """As B, and sends those alone whose neuron has 0 < N < T_F."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Play a map's coefficients over an edge.

    The map lies in words of `lanes` coefficients, group by group of channels, row by row. Words of
    an image may hold several positions side by side: lane `n` is then channel `n % 2^channel_bits`
    of position `n >> channel_bits`.

    A coefficient that is played is a sum over steps, each with a sign: the steps of a map lie in
    two banks in turn, even and odd ones, so that a step and the one before it are read together.

    Parameters
    ----------
    from_input
        The map comes from outside (a picture, or what the stage before sends), not from the
        memory of spikes.
    address, odd_address
        First word, in each bank.
    even, odd
        By what a word of each bank counts: 1, 0 or -1.
    last_gather, gather_words
        One less than the words of each bank that are added up for one that is played, and how far
        one lies behind the other.
    leave
        The odd one of the last two is left out.
    last_row, last_column
        One less than the rows of all groups of channels, words in a row.
    channel_bits, position_bits
        See above, and log2 of the positions in a word; their sum is log2 of the lanes.
    row_table, column_table
        Where the reaches (`Program.rows`, `Program.columns`) of row 0 and column 0 lie.
    drive
        Sums are those of the memory of drives, which last for all steps, not of potentials.
    potential, weight
        What offsets are added to.
    last_group
        One less than the groups of target channels.
    potential_row, potential_group, weight_column, weight_row, weight_group
        From one update to the next: one column, row, group on.
    shift
        Fraction bits of the target.
    identity
        Add `constant`, times each coefficient, to the lane of its own channel.
    release
        The input has been read for the last time: its buffer is free.
    held
        The map is one of `Held`.
    learned
        Rows are those of the masters.
    update
        Change the rows: each event is a whole coefficient, and a row's master weights get its
        product with the word of `vector` (of `Held`) at `potential` and following ones.
    sender
        Number of the first coefficient's sender, for the dither.
    rate
        Which of the learning rates.
    last_source_group, set_words, row_words
        Through a window, the source's groups of channels are played position by position: one less
        than how many; from one word to the one with the next groups, and with the next rows.
    first_set, last_set, last_part
        A word has the coefficients of several groups and rows: the first group, and one less than
        the groups and rows of a word.
    part_bits
        log2 of the rows of a word.
    target_columns, turn
        Of the target; cycles that pass at least between two rows of the source.
    last_plane, name, source, when, played, channels, first_group
        What the hardware does not see: one less than the bit planes that a coefficient may have;
        for reports, layer, source, the source's (last) step and what is played of it, and target
        channels that a coefficient reaches at each position; through a window, the first group of
        channels that is played.
    """

    from_input: int = 0
    address: int = 0
    odd_address: int = 0
    even: int = 1
    odd: int = 0
    last_gather: int = 0
    gather_words: int = 0
    leave: int = 0
    last_row: int = 0
    last_column: int = 0
    last_plane: int = 0
    channel_bits: int = 0
    position_bits: int = 0
    row_table: int = 0
    column_table: int = 0
    drive: int = 0
    potential: int = 0
    weight: int = 0
    last_group: int = 0
    potential_row: int = 0
    potential_group: int = 0
    weight_column: int = 0
    weight_row: int = 0
    weight_group: int = 0
    shift: int = 0
    identity: int = 0
    constant: int = 0
    release: int = 0
    held: int = 0
    learned: int = 0
    update: int = 0
    vector: int = 0
    sender: int = 0
    rate: int = 0
    last_source_group: int = 0
    set_words: int = 0
    row_words: int = 0
    first_set: int = 0
    last_set: int = 0
    last_part: int = 0
    part_bits: int = 0
    target_columns: int = 0
    turn: int = 0
    name: str = ""
    source: str = ""
    when: int = 0
    played: Played = Played.STEP
    channels: int = 0
    first_group: int = 0

    @property
    def combines(self) -> bool:
        """It plays more than a word as it is."""
        return (self.even, self.odd, self.last_gather) != (1, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Pass over a layer's potentials, a word per cycle.

    The memory of potentials has what is left of u, `decay(u)`, and what spikes have added in this
    step. With the addend it is v, which becomes c = fire(v) and u = saturate(reset(v, c)); what is
    kept is decay(u).

    Parameters
    ----------
    potential, last_word
        First word, and one less than the words. Where a program has no memory of potentials, as
        there is one step, they are `start`.
    last_position
        One less than the words of a group of channels, which share biases and thresholds.
    channels
        Row of the first group's biases and thresholds.
    first
        Nothing is there yet: potentials become `start`, drives the bias.
    fires
        Spikes are stored from word `spikes` on, in the bank of `odd` steps or the other. A readout
        does not fire.
    has_drive, drive
        The addend is not the bias, but what lies from word `drive` of the memory of drives on.
    up, down
        Thresholds in units of the potential, of layers that have the same for all channels.
    signed
        There is a negative side.
    by_channel
        Thresholds are those of the channels.
    limit
        Largest |c|.
    guarded
        A negative spike is no larger than the sum of all spikes so far.
    hard, step
        Reset to 0, or by `step`.
    top
        Saturate at +-top.
    decay
        Index into `Program.decays`.
    start
        Decayed initial potential.
    spread
        Where words have several parts: log2 of the parts that have the same channels.
    ragged, parts
        From word `ragged` on, only these parts are of the map (a bit for each).
    counted
        What is counted (`Counted`), from word `counts` of its memory on; a `first` sweep clears
        it.
    """

    potential: int = 0
    last_word: int = 0
    last_position: int = 0
    channels: int = 0
    first: int = 0
    fires: int = 0
    spikes: int = 0
    odd: int = 0
    has_drive: int = 0
    drive: int = 0
    up: int = 0
    down: int = 0
    signed: int = 0
    by_channel: int = 0
    limit: int = 1
    guarded: int = 0
    hard: int = 0
    step: int = 0
    top: int = 0
    decay: int = 0
    start: int = 0
    counted: int = 0
    counts: int = 0
    spread: int = 0
    ragged: int = 0
    parts: int = 0
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Send:
    """Hand on what was made, `last_word` + 1 words from `address` on: the readout's sums out of the
    memory of drives, or, where another stage follows, spikes, step after step, `step_words` of
    each."""

    address: int = 0
    last_word: int = 0
    step_words: int = 0
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Decide:
    """Wait for the judge, or for an error that is given. Where nothing is to be learned the program
    ends here; else it goes on with the next operation."""

    name: str = ""


Operation = Scan | Sweep | Send | Decide
NOTES = {
    "Scan": ("last_plane", "name", "source", "when", "played", "channels", "first_group"),
    "Sweep": ("name",),
    "Send": ("name",),
    "Decide": ("name",),
}
"""For people and for programs: what the hardware does not see."""

KINDS: tuple[type[Scan | Sweep | Send | Decide], ...] = (Scan, Sweep, Send, Decide)


@dataclass(frozen=True)
class Field:
    """Where a number lies in an operation's word: `bits` from `start` on. A number that never
    changes has no bits, and `value` is what it is."""

    start: int
    bits: int
    is_signed: bool
    value: int


class Code:
    """How operations are written as words; numbers that never change take no room, and no logic.

    Attributes
    ----------
    bits
        Width of a word.
    words
        The operations, in order.
    """

    KIND_BITS = 2

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._fields: dict[str, dict[str, Field]] = {}
        self.bits = self.KIND_BITS
        for kind in KINDS:
            chosen = [op for op in operations if isinstance(op, kind)]
            layout, start = {}, self.KIND_BITS
            for name in (f.name for f in fields(kind) if f.name not in NOTES[kind.__name__]):
                values = [getattr(op, name) for op in chosen] or [0]
                low, high = min(values), max(values)
                bits = 0
                if low != high:
                    bits = signed_bits(max(-low, high)) if low < 0 else high.bit_length()
                layout[name] = Field(start, bits, low < 0, high)
                start += bits
            self._fields[kind.__name__] = layout
            self.bits = max(self.bits, start)
        self.words = [self._word(op) for op in operations]

    def fields(self, kind: type[Operation]) -> dict[str, Field]:
        """The numbers of a kind of operation, by name."""
        return self._fields[kind.__name__]

    @staticmethod
    def number(kind: type[Operation]) -> int:
        """How a kind of operation is written."""
        return KINDS.index(kind)

    def _word(self, op: Operation) -> int:
        word = self.number(type(op))
        for name, place in self.fields(type(op)).items():
            word |= (getattr(op, name) & (1 << place.bits) - 1) << place.start
        return word


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Learning:
    """What a program has more where the network learns.

    Parameters
    ----------
    masters
        (rows, lanes): master weights at the start.
    master_bits, fraction_bits
        M, and s of them below the weight.
    count_words
        Words of the counts of each stage.
    count_planes, count_sign
        Bits of |N|, and whether N may be negative.
    back_planes
        Bits of |B|; 0: no hidden layer learns.
    error_planes
        Bits of the error of a class, beside its sign.
    steps
        T_F: a neuron that fired at all of them passes nothing back.
    value_bits
        Of the largest coefficient of an update.
    rates
        How many learning rates there are.
    rate_range
        Smallest and largest rate that the hardware can be set to.
    margin_bits
        Of the largest margin.
    seed
        First word of the dither's generator.
    """

    masters: Int
    master_bits: int
    fraction_bits: int
    count_words: int
    count_planes: int
    count_sign: bool
    back_planes: int
    error_planes: int
    steps: int
    value_bits: int
    rates: int
    rate_range: tuple[int, int]
    margin_bits: int
    seed: int

    @property
    def held_planes(self) -> int:
        """Bits of the magnitude of anything held."""
        return max(self.count_planes, self.back_planes, self.error_planes, self.value_bits)

    @property
    def vector_bits(self) -> int:
        """Of a signed count or error."""
        return 1 + max(self.count_planes, self.back_planes, self.error_planes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """All that a program stage is made of.

    Parameters
    ----------
    lanes
        Channels per cycle, a power of two.
    operations
        What is done for an image, in order; the last is a `Send`.
    rows, columns
        Reach tables of the two axes.
    weights
        (rows, lanes): what a spike adds to the lanes of a word. Of a window, (rows, its used
        positions times lanes).
    weight_bits
        Their width.
    biases, bias_bits, thetas
        (rows, lanes), in units of the potential, and the least width of biases; thetas None where
        no layer has thresholds by channel.
    decays
        (kind, shift) each, of all layers (the readout has none: `none`); what `Sweep.decay` counts.
    can_saturate
        Some layer's potentials can.
    count_bits
        Of the counts of spikes that guards hold; 0: no layer is guarded.
    membrane_bits
        Of v, and of all that is made of it.
    potential_bits, potential_words
        The memory of potentials, `lanes` in a word; without words there is none.
    drive_bits, drive_words
        That of drives.
    spike_planes, spike_sign, spike_words, spike_banks
        The memory of spikes: bits of a magnitude, whether there is a sign; words of a bank, and
        whether the steps lie in two of them, in turn.
    input_bits, input_sign, input_words, input_vectors, input_banks
        Bits of a pixel's magnitude, and whether it has a sign; words of an image, or of all images
        of a recording, and how many of them; banks as above. What the stage before sends is a
        recording too.
    classes, logit_bits
        Of the readout; no classes: what is sent are spikes.
    learning
        None: it does not learn.
    window
        Spikes add to a window of positions at once; the words of potentials, drives and spikes
        have the coefficients of so many rows side by side. None: to one word after the other.
    """

    lanes: int
    operations: tuple[Operation, ...]
    rows: tuple[Reach, ...]
    columns: tuple[Reach, ...]
    weights: Int
    weight_bits: int
    biases: Int
    bias_bits: int
    thetas: Int | None
    decays: tuple[tuple[str, int], ...]
    can_saturate: bool
    count_bits: int
    membrane_bits: int
    potential_bits: int
    potential_words: int
    drive_bits: int
    drive_words: int
    spike_planes: int
    spike_sign: bool
    spike_words: int
    spike_banks: int
    input_bits: int
    input_sign: bool
    input_words: int
    input_vectors: int
    input_banks: int
    classes: int
    logit_bits: int
    learning: Learning | None = None
    window: Window | None = None

    @property
    def parts(self) -> int:
        """Rows, or groups of channels, that lie in a word of spikes, `lanes` of each."""
        return 1 if self.window is None else self.window.rows

    @property
    def word(self) -> int:
        """Coefficients of a word of spikes."""
        return self.lanes * self.parts

    @property
    def pixels(self) -> int:
        """Coefficients of a word of the memory of pictures."""
        return self.lanes if self.window is None else self.window.pixels

    @cached_property
    def code(self) -> Code:
        """The operations as words."""
        return Code(self.operations)

    @property
    def memories(self) -> dict[str, tuple[int, int]]:
        """(words, bits of a word) of the memories that are worth block RAM."""
        sums = {
            "potentials": (self.potential_words, self.lanes * self.potential_bits),
            "drives": (self.drive_words, self.lanes * self.drive_bits),
        }
        found = {
            name + (f" (bank {n})" if n else ""): size
            for name, size in sums.items()
            for n in range(self.parts)
        }
        guards = self.potential_words * bool(self.count_bits), self.word * self.count_bits
        found["guards"] = guards
        spike_bits = self.word * (self.spike_planes + self.spike_sign)
        pixel_bits = self.pixels * (self.input_bits + self.input_sign)
        for name, words, bits, banks in (
            ("spikes", self.spike_words, spike_bits, self.spike_banks),
            ("images", self.image_words, pixel_bits, self.input_banks),
        ):
            for mark in ("", " (odd steps)")[:banks]:
                found[name + mark] = words, bits
        found |= {
            "weights": (len(self.weights), self.weights.shape[1] * self.weight_bits),
            "program": (len(self.operations), self.code.bits),
        }
        if self.learning is not None:
            found["masters"] = (len(self.learning.masters), self.master_table.width)
        return {name: size for name, size in found.items() if size[0]}

    @cached_property
    def master_table(self) -> Table:
        """The master weights as their memory holds them."""
        assert self.learning is not None
        return Table.of(self.learning.masters, self.learning.master_bits)

    @property
    def most_rows(self) -> int:
        """Rows of the larger memory of weights."""
        return max(len(self.weights), 0 if self.learning is None else len(self.learning.masters))

    def _rom(self, table: Table) -> Table:
        """As a ROM holds it. What learns has other weights without a swap."""
        return table.filled() if self.learning is None else table

    @cached_property
    def code_table(self) -> Table:
        """The operations as a ROM holds them."""
        return self._rom(Table(self.code.bits, 1, self.code.words))

    @cached_property
    def weight_table(self) -> Table:
        """The weights as a ROM holds them."""
        return self._rom(Table.of(self.weights, self.weight_bits))

    @cached_property
    def bias_table(self) -> Table:
        """The biases as a ROM holds them."""
        return self._rom(Table.of(self.biases, self.bias_bits))

    @cached_property
    def theta_table(self) -> Table | None:
        """The thresholds as a ROM holds them."""
        return None if self.thetas is None else self._rom(Table.of(self.thetas))

    @property
    def most_words(self) -> int:
        """Words of the largest of the memories of potentials, of drives and of counts."""
        counts = 0 if self.learning is None else self.learning.count_words
        return max(self.potential_words, self.drive_words, counts)

    @property
    def sum_bits(self) -> int:
        """Of what scans add up, in either memory."""
        return max(self.potential_bits, self.drive_bits)

    @property
    def vector_words(self) -> int:
        """Words of an image of a recording."""
        return self.input_words // self.input_vectors

    @property
    def image_words(self) -> int:
        """Words of a bank of the memory of images: two of them, each at a power of two."""
        words = -(-self.input_vectors // self.input_banks) * self.vector_words
        words *= self.lanes // self.pixels
        return 2 << (words - 1).bit_length()

    def scans(self, from_input: bool) -> list[Scan]:
        """Those of what comes from outside, or of spikes."""
        return [
            op
            for op in self.operations
            if isinstance(op, Scan) and not op.held and bool(op.from_input) == from_input
        ]

    @property
    def lane_bits(self) -> int:
        """log2 of the lanes."""
        return (self.lanes - 1).bit_length()

    @property
    def planes(self) -> int:
        """Most bit planes that a map has."""
        return 1 + max(op.last_plane for op in self.operations if isinstance(op, Scan))

    @property
    def row_bits(self) -> int:
        """Width of a map's row number."""
        return max(op.last_row for op in self.operations if isinstance(op, Scan)).bit_length()

    @property
    def column_bits(self) -> int:
        """Width of a column's number, of positions, not words."""
        return max(
            ((op.last_column + 1 << op.position_bits) - 1).bit_length()
            for op in self.operations
            if isinstance(op, Scan)
        )

    @property
    def word_column_bits(self) -> int:
        """Width of the number of a word in its row."""
        return max(op.last_column for op in self.operations if isinstance(op, Scan)).bit_length()

    @property
    def group_bits(self) -> int:
        """Width of the number of a source's group of channels, through a window."""
        scans = [op for op in self.operations if isinstance(op, Scan)]
        return max(op.last_source_group for op in scans).bit_length()

    @property
    def target_words(self) -> int:
        """Most groups of target channels that an edge reaches."""
        return 1 + max(op.last_group for op in self.operations if isinstance(op, Scan))

    @property
    def has_identities(self) -> bool:
        """Whether any edge is an identity."""
        return any(op.identity for op in self.operations if isinstance(op, Scan))

    @property
    def most_shift(self) -> int:
        """Largest shift of a weight: its plane, and the target's fraction bits."""
        return max(op.last_plane + op.shift for op in self.operations if isinstance(op, Scan))
