"""A program: what one set of hardware does, one operation after the other (`hw.program.code`), with
all tables and sizes that it needs. This module imports no Amaranth.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hw.contract.neuron import Decay, ReadoutSpec, factor_shift
from hw.program.code import Code, Operation, Scan, Send
from hw.program.reach import Reach, Window
from hw.program.table import Table

__all__ = ["Learning", "Program"]

Int = npt.NDArray[np.int64]


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
        What is done for an image, in order; the last is a `Send`. Of a readout that leaks, each
        step ends with one.
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
    reset_steps, factors
        (rows, lanes), too: what a spike subtracts, and m of decays by a factor; None where no layer
        has them by channel.
    decays
        Of all layers (the readout has none: `Decay()`); what `Sweep.decay` counts.
    currents, second_bits
        What is kept of synaptic currents, of the layers that have them: what `Sweep.current`
        counts; and of what is kept of their potentials, which then has a memory of its own.
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
    leak, m_bits
        Of a readout that leaks, and the width of its potentials; None: sums are sent, once.
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
    decays: tuple[Decay, ...]
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
    currents: tuple[Decay, ...] = ()
    second_bits: int = 0
    learning: Learning | None = None
    window: Window | None = None
    reset_steps: Int | None = None
    factors: Int | None = None
    leak: ReadoutSpec | None = None
    m_bits: int = 0

    @property
    def sends(self) -> int:
        """How many operations send something, in an image."""
        return sum(isinstance(op, Send) for op in self.operations)

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
        second = self.potential_words * bool(self.currents), self.word * self.second_bits
        found["second states"] = second
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
        if self.leak is not None:
            bits = min(self.lanes, self.classes) * (
                self.m_bits + self.logit_bits * self.leak.keeps_answers
            )
            groups = -(-self.classes // self.lanes)
            found["logits"] = groups if groups > 1 else 0, bits
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

    @cached_property
    def step_table(self) -> Table | None:
        """The reset steps as a ROM holds them."""
        return None if self.reset_steps is None else self._rom(Table.of(self.reset_steps))

    @cached_property
    def factor_table(self) -> Table | None:
        """The factors as a ROM holds them: as wide as any of 0 to 2^k."""
        if self.factors is None:
            return None
        return self._rom(Table.of(self.factors, factor_shift(self.decays) + 2))

    @property
    def tables(self) -> dict[str, Table]:
        """What the sweeper reads by channel, by name."""
        found = {
            "biases": self.bias_table,
            "thetas": self.theta_table,
            "steps": self.step_table,
            "factors": self.factor_table,
        }
        return {name: table for name, table in found.items() if table is not None}

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
