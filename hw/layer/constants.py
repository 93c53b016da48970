"""Constants by channel of a layer stage: a ROM beside those of the weights, read digit by digit.

The neurons of a group have a threshold, a reset step, a factor each, and change only with the
group. So they stand in registers, and a narrow memory is enough to fill these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.network import Layer
from hw.contract.spec import LayerSpec
from hw.layer.geometry import LayerGeometry, filled_depth
from hw.memory.ram import WeightRam
from hw.memory.rom import WeightRom
from hw.stream.payloads import load_layout

__all__ = [
    "COMMON",
    "DIGIT_BITS",
    "ChannelConstants",
    "ConstantContents",
    "ConstantFields",
    "pack_constants",
    "unpack_constants",
]

DIGIT_BITS = 2
"""Of a lane, in a row: those of a slice's lanes fit the width of one block RAM (two of an
iCE40)."""


class ConstantFields(NamedTuple):
    """Bits of what each channel of a layer has of its own, unsigned; 0 of what all have in common.

    Attributes
    ----------
    thetas, steps, factors
        Threshold; what a spike subtracts under soft reset; m of the decay, 0 to 2^k.
    """

    thetas: int = 0
    steps: int = 0
    factors: int = 0

    @classmethod
    def of(cls, layer: LayerSpec) -> Self:
        """Wide enough for any that the layer's specification admits."""
        n = layer.neuron
        if n is None:
            return cls()
        return cls(
            n.theta.bit_length() * layer.channel_thresholds,
            n.step.bit_length() * layer.channel_resets,
            (n.decay_shift + 1) * layer.channel_decays,
        )

    @property
    def digits(self) -> int:
        """Rows that hold the constants of a group; 0: there are none."""
        return -(-sum(self) // DIGIT_BITS)

    @property
    def layout(self) -> data.StructLayout:
        """A lane's constants, as they stand in its register."""
        return data.StructLayout(
            {name: unsigned(bits) for name, bits in self._asdict().items() if bits}
        )

    def depth(self, groups: int) -> int:
        """Rows of the ROM of a slice."""
        return filled_depth(groups * self.digits)


COMMON = ConstantFields()
"""All channels of a layer have the same."""


def pack_constants(layer: Layer, firing: LayerGeometry) -> list[list[int]]:
    """The ROM words of each slice, `ConstantFields.depth` each.

    A neuron's constants are one number: threshold, reset step, factor, those that it has of its
    own, the first in the low bits. Address `group * digits + d` of a slice holds, in bits
    [k * DIGIT_BITS, (k + 1) * DIGIT_BITS), digit d, the most significant first, of neuron
    `group * lanes + slice[k]`. A lane without a neuron has the largest threshold, so that it does
    not fire; rows behind the last group's are zero.
    """
    fields, g = ConstantFields.of(layer.spec), firing
    assert layer.spec.neuron is not None
    given = {
        "thetas": (layer.thetas, layer.spec.neuron.theta),
        "steps": (layer.reset_steps, 0),
        "factors": (layer.factors, 0),
    }
    numbers, place = np.zeros(g.groups * g.lanes, dtype=object), 0
    for name, bits in fields._asdict().items():
        values, rest = given[name]
        if bits:
            assert values is not None
            row = [*values.tolist(), *[rest] * (len(numbers) - len(values))]
            numbers += np.array(row, dtype=object) << place
            place += bits
    by_group, mask = numbers.reshape(g.groups, g.lanes), (1 << DIGIT_BITS) - 1
    packed = []
    for part in g.slices:
        words = [
            sum(
                (int(by_group[group, lane]) >> (DIGIT_BITS * d) & mask) << (k * DIGIT_BITS)
                for k, lane in enumerate(part)
            )
            for group in range(g.groups)
            for d in reversed(range(fields.digits))
        ]
        packed.append(words + [0] * (fields.depth(g.groups) - len(words)))
    return packed


def unpack_constants(
    slices: Sequence[Sequence[int]], fields: ConstantFields, firing: LayerGeometry, neurons: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Inverse of `pack_constants`: by the names of the fields, (neurons,) each."""
    g, mask = firing, (1 << DIGIT_BITS) - 1
    numbers = np.zeros((g.groups, g.lanes), dtype=object)
    for part, words in zip(g.slices if fields.digits else [], slices, strict=True):
        for k, lane in enumerate(part):
            for n, word in enumerate(words[: g.groups * fields.digits]):
                digit = word >> (k * DIGIT_BITS) & mask
                group = n // fields.digits
                numbers[group, lane] = numbers[group, lane] << DIGIT_BITS | digit
    found, place = {}, 0
    for name, bits in fields._asdict().items():
        if bits:
            values = numbers.reshape(-1)[:neurons] >> place & (1 << bits) - 1
            found[name], place = values.astype(np.int64), place + bits
    return found


@dataclass(frozen=True, kw_only=True)
class ConstantContents:
    """The constants of an array of neurons.

    rows: of each slice, as `pack_constants` has them. files: of each slice the `$readmemh` file of
    the emitted Verilog, or None for simulation by Amaranth. memory: `rom`, or `ram`, whose rows
    are loaded at power-up.
    """

    fields: ConstantFields
    rows: Sequence[Sequence[int]]
    files: Sequence[str] | None = None
    memory: str = "rom"


class ChannelConstants(wiring.Component):
    """The constants of a slice of lanes: a memory, and a register that its digits are shifted into.

    A digit is in the register `LATENCY` cycles after its address. Provides no flow control: who
    reads the digits of a group, one a cycle, waits until all are there.

    Parameters
    ----------
    contents, part, lanes
        The constants; which slice it is; its lanes.

    Members
    -------
    address, read : In
        A row, and whether its digits are shifted in.
    o : Out
        Of each lane, `ConstantFields.layout`.
    load : In(load_layout), one part
        For memories that are loaded; absent otherwise.
    """

    LATENCY = WeightRom.PIPELINE_CYCLES + 1

    address: Signal
    read: Signal
    o: data.View
    load: data.View

    def __init__(self, contents: ConstantContents, part: int, lanes: int) -> None:
        self._contents, self._part, self._lanes = contents, part, lanes
        depth = len(contents.rows[part])
        self.part = lanes * DIGIT_BITS, depth
        members = {
            "address": In(max(1, (depth - 1).bit_length())),
            "read": In(1),
            "o": Out(data.ArrayLayout(contents.fields.layout, lanes)),
        }
        if contents.memory != "rom":
            members["load"] = In(load_layout([self.part]))
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        c, (width, depth) = self._contents, self.part
        if c.memory == "rom":
            file = c.files[self._part] if c.files else None
            memory = WeightRom(width=width, rows=c.rows[self._part], file=file)
        else:
            memory = WeightRam(width=width, depth=depth)
            m.d.comb += [
                memory.load_en.eq(self.load.en),
                memory.load_addr.eq(self.load.address),
                memory.load_data.eq(self.load.data),
            ]
        m.submodules.memory = memory
        m.d.comb += memory.addr.eq(self.address)
        there = self.read
        for n in range(WeightRom.PIPELINE_CYCLES):
            later = Signal(name=f"there{n}")
            m.d.sync += later.eq(there)
            there = later
        for k in range(self._lanes):
            held = Signal(c.fields.digits * DIGIT_BITS, name=f"held{k}", reset_less=True)
            with m.If(there):
                m.d.sync += held.eq(Cat(memory.data.word_select(k, DIGIT_BITS), held))
            m.d.comb += self.o[k].as_value().eq(held)
        return m
