"""Accumulator slice: the lanes that share a weight ROM per bank and a set of control registers."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.layer.geometry import SLICE_LANES
from hw.memory.ram import WeightRam
from hw.memory.rom import WeightRom
from hw.stream.payloads import drives, load_layout

__all__ = ["AccumulatorSlice", "SliceContents", "add_with_carry", "command_layout"]

HALF = SLICE_LANES // 2
"""Lanes that share a control register: one net for all lanes of a slice has too far to go."""


@dataclass(frozen=True, kw_only=True)
class SliceContents:
    """The integers of a slice.

    shift: bits of a drive below the total's. rows: per bank, `depth` packed rows of weights and
    biases. files: per bank the `$readmemh` file of the emitted Verilog, or None for simulation by
    Amaranth. memory: `rom`, or `ram` or `spram`, whose rows are loaded at power-up.
    """

    lanes: int
    weight_bits: int
    accumulator_bits: int
    drive_bits: int
    shift: int = 0
    rows: Sequence[Sequence[int]]
    files: Sequence[str] | None = None
    memory: str = "rom"

    @property
    def width(self) -> int:
        """Bits of a row."""
        return self.lanes * self.weight_bits


def command_layout(banks: int, addresses: int) -> data.StructLayout:
    """What a slice does with one cycle: the row of each bank and its sign, or an ending."""
    return data.StructLayout(
        {
            "address": data.ArrayLayout(unsigned(max(1, (addresses - 1).bit_length())), banks),
            "add": unsigned(banks),  # the bank's row counts
            "subtract": unsigned(banks),  # ... negatively; only with `add`
            "double": unsigned(1),
            "close": unsigned(1),
            "bias": unsigned(1),  # the row of bank 0 is the next digit of the biases; with `add`
        }
    )


def add_with_carry(a: Value, b: Value, carry: Value) -> Value:
    """Signed a + b + carry on one carry chain: a low bit of 1 + carry makes the carry-in."""
    return (Cat(1, a).as_signed() + Cat(carry, b).as_signed())[1:].as_signed()


def delayed(
    m: Module, flag: Value, cycles: int, name: str, *, init: int = 0, halves: int = 1
) -> list[Value]:
    """`flag`, `cycles` (1 or more) cycles later, for each half of the lanes; it starts, and is
    reset, to `init`.

    The registers before the last hold its complement. A command is also delayed on its way to the
    other slices, and synthesis would find the registers equal, make one of them, and a net over
    many slices. The last ones hold the flag itself, so that no gate is between them and the lanes.
    That of the second half has no reset, or it would be found equal to the first: when a reset
    comes, it follows a cycle late.
    """
    for n in reversed(range(1, cycles)):
        register = Signal(name=f"no_{name}_{n}", init=1 - init)
        m.d.sync += register.eq(~flag)
        flag = ~register
    last = [Signal(name=f"{name}{n}", init=init, reset_less=n > 0) for n in range(halves)]
    m.d.sync += [register.eq(flag) for register in last]
    return [*last]


class AccumulatorSlice(wiring.Component):
    """Carries out one command per cycle on its lanes.

    A bias is shifted in, a digit of `weight_bits` per `bias` command, and stays until others are:
    it lies in the weight memory, so that a memory's new contents are a new network.

    Latency `latency(banks)` from a command to its effect on the totals or on `o`. Provides no flow
    control: who sends `close` sees to it that `o` is free.

    The totals and everything before them have no reset; the command pipeline has, and comes out of
    reset clearing the totals until what was in the adder tree has left it.

    Parameters
    ----------
    contents
        Weights, biases, widths.

    Members
    -------
    command : In(command_layout(banks, addresses))
    o : Out(drives(lanes, drive_bits))
        Total, shifted, plus bias of the group that was closed; stays until the next one is.
    closed : Out(1)
        In the cycle before `o` changes.
    load : In(load_layout), one part per bank
        For memories that are loaded; absent otherwise.
    """

    command: data.View
    o: data.View
    closed: Signal
    load: data.View

    def __init__(self, contents: SliceContents) -> None:
        self._contents = contents
        self._lanes = contents.lanes
        self._banks = len(contents.rows)
        depth = len(contents.rows[0])
        members = {
            "command": In(command_layout(self._banks, depth)),
            "o": Out(drives(self._lanes, contents.drive_bits)),
            "closed": Out(1),
        }
        if contents.memory != "rom":
            members["load"] = In(load_layout([(contents.width, depth)] * self._banks))
        super().__init__(members)

    @staticmethod
    def latency(banks: int) -> int:
        """ROM, adder tree, total."""
        return WeightRom.PIPELINE_CYCLES + (banks - 1).bit_length() + 1

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self._contents
        rom_cycles, levels = WeightRom.PIPELINE_CYCLES, (self._banks - 1).bit_length()
        halves = -(-self._lanes // HALF)
        terms: list[list[Value]] = [[] for _ in range(self._lanes)]
        carries: list[Value] = []
        for b in range(self._banks):
            rom = self._weights(m, b)
            m.d.comb += rom.addr.eq(self.command.address[b])
            add = delayed(m, self.command.add[b], rom_cycles, f"add{b}_", halves=halves)
            subtract = delayed(
                m, self.command.subtract[b], rom_cycles, f"subtract{b}_", halves=halves
            )
            carries.append(subtract[0])
            for k, lane in enumerate(terms):
                weight, half = rom.data.word_select(k, c.weight_bits), k // HALF
                lane.append(Cat((bit ^ subtract[half]) & add[half] for bit in weight).as_signed())
        for level in range(levels):
            carries = self._add_pairs(m, terms, carries, level)

        def control(flag: Value, name: str, init: int = 0) -> list[Value]:
            return delayed(m, flag, rom_cycles + levels, name, init=init, halves=halves)

        emptied = self.command.close | self.command.bias
        doubles = control(self.command.double, "double")
        closes = control(self.command.close, "close")
        biases = control(self.command.bias, "bias")
        clears = control(emptied, "clear", init=1)
        # Bit 0 is 0 after both: its own register, or synthesis puts a gate before its reset.
        evens = control(emptied | self.command.double, "even", init=1)
        m.d.comb += self.closed.eq(closes[0])
        for k, (term,) in enumerate(terms):
            half = k // HALF
            double, close, bias = doubles[half], closes[half], biases[half]
            clear, even = clears[half], evens[half]
            total = Signal(signed(c.accumulator_bits), name=f"total{k}", reset_less=True)
            drive = Signal(signed(c.drive_bits), name=f"drive{k}", reset_less=True)
            b = Signal(signed(c.drive_bits), name=f"bias{k}", reset_less=True)
            m.d.comb += self.o[k].eq(drive)
            with m.If(bias):
                m.d.sync += b.eq(Cat(term[: c.weight_bits], b))
            with m.If(close):
                whole = total << c.shift if c.shift else total
                m.d.sync += drive.eq(whole + b)
            with m.If(clear):
                m.d.sync += total.eq(0)
            with m.Elif(double):
                m.d.sync += total.eq(total << 1)
            with m.Else():
                m.d.sync += total.eq(add_with_carry(total, term, carries[0]))
            with m.If(even):
                m.d.sync += total[0].eq(0)
        return m

    def _weights(self, m: Module, bank: int) -> WeightRom | WeightRam:
        """The weight memory of a bank."""
        c = self._contents
        if c.memory == "rom":
            memory = WeightRom(
                width=c.width, rows=c.rows[bank], file=c.files[bank] if c.files else None
            )
        else:
            memory = WeightRam(width=c.width, depth=len(c.rows[bank]), spram=c.memory == "spram")
            m.d.comb += [
                memory.load_en.eq(self.load.en & (self.load.part == bank)),
                memory.load_addr.eq(self.load.address),
                memory.load_data.eq(self.load.data),
            ]
        m.submodules[f"rom{bank}"] = memory
        return memory

    def _add_pairs(
        self, m: Module, terms: list[list[Value]], carries: list[Value], level: int
    ) -> list[Value]:
        """One registered level of the adder tree; returns the carries that are left."""
        for k, lane in enumerate(terms):
            sums = []
            for n in range(0, len(lane), 2):
                a, b = lane[n], lane[n + 1]
                register = Signal(
                    signed(len(a) + 1), name=f"sum{k}_{level}_{n // 2}", reset_less=True
                )
                m.d.sync += register.eq(add_with_carry(a, b, carries[n + 1]))
                sums.append(register)
            terms[k] = sums
        return [
            delayed(m, carries[n], 1, f"carry{level}_{n // 2}_")[0]
            for n in range(0, len(carries), 2)
        ]
