"""The operations of a program, and how they are written.

There are four operations. A *scan* plays the coefficients of one map, or what has changed in them
since the step before, over one edge into the sums it reaches. A *sweep* fires a layer and prepares
it for the next step. A *send* hands the readout's sums on. Of a network that learns, a *decide*
ends the program where there is nothing to learn; behind it scans may change rows of weights in
place of adding them. Whatever distinguishes one edge or layer from another is numbers in here; this
module imports no Amaranth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import Enum, IntEnum

from hw.contract.checks import signed_bits

__all__ = [
    "Code",
    "Counted",
    "Decide",
    "Field",
    "Held",
    "Operation",
    "Played",
    "Scan",
    "Send",
    "Sweep",
]


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

    Of neurons with a synaptic current x, the memory of potentials has what is left of x, and what
    spikes have added. With the addend it is x, and with decay(u), which lies in a memory beside it,
    v.

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
        Thresholds are those of the channels, and so are the steps of a soft reset.
    limit
        Largest |c|.
    guarded
        A negative spike is no larger than the sum of all spikes so far.
    hard, step
        Reset to 0, or by `step`.
    top
        Saturate at +-top.
    decay
        Index into `Program.decays`, of which some take the channel's factor.
    start
        Decayed initial potential.
    has_current, current
        The neurons have a synaptic current; index into `Program.currents`.
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
    has_current: int = 0
    current: int = 0
    counted: int = 0
    counts: int = 0
    spread: int = 0
    ragged: int = 0
    parts: int = 0
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Send:
    """Hand on what was made, `last_word` + 1 words from `address` on: the readout's sums out of the
    memory of drives (of one that leaks: its drives of a step), or, where another stage follows,
    spikes, step after step, `step_words` of each."""

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
