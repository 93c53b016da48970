"""Ternary accumulator core: events in, drives out. An event selects a weight row per bank; the row
is added to the lanes' accumulators, or subtracted. There is no multiplier."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.geometry import LayerGeometry
from hw.rom import WeightRom
from hw.stream import Kind, drives, event, transfer

__all__ = ["Accumulator", "AccumulatorContents", "add_with_carry"]


@dataclass(frozen=True, kw_only=True)
class AccumulatorContents:
    """The integers of an accumulator core.

    rows: per bank, `groups * rows` packed weight rows. biases: (groups, lanes). files: per bank
    the `$readmemh` file of the emitted Verilog, or None for simulation by Amaranth.
    """

    weight_bits: int
    accumulator_bits: int
    drive_bits: int
    rows: Sequence[Sequence[int]]
    biases: Sequence[Sequence[int]]
    files: Sequence[str] | None = None


def add_with_carry(a: Value, b: Value, carry: Value) -> Value:
    """Signed a + b + carry on one carry chain: a low bit of 1 + carry makes the carry-in."""
    return (Cat(1, a).as_signed() + Cat(carry, b).as_signed())[1:].as_signed()


class Accumulator(wiring.Component):
    """Adds up weight rows, one per bank and cycle, and hands the sum on at each STEP.

    Subtracting a row is adding its complement plus one. The complements enter the adder tree, and
    each of the `banks` adders of a lane (tree and accumulator) takes one bank's plus-one as its
    carry-in, so a negative spike costs nothing.

    PLANE and STEP are joint: they are taken from all banks in one cycle, once each bank has come
    to its own. PLANE doubles the accumulators. STEP sends `accumulator + bias` of the group and
    clears.

    Cycle law: a SPIKE, a PLANE, a STEP take one cycle each (spikes of different banks the same
    cycle); `o` is valid `latency` cycles after the STEP. The next STEP is taken at the earliest
    in the cycle after `o` was: so a step takes `max(events + 1, latency + 1)` cycles with `o`
    ready.

    Parameters
    ----------
    geometry, contents
        Shape and integers.

    Members
    -------
    i : In(stream of event(rows)) x banks
    o : Out(stream of drives(lanes, drive_bits))
        Groups 0 .. groups-1 in turn.
    """

    def __init__(self, geometry: LayerGeometry, contents: AccumulatorContents) -> None:
        self._geometry, self._contents = geometry, contents
        super().__init__(
            {
                "i": In(stream.Signature(event(geometry.rows))).array(geometry.banks),
                "o": Out(stream.Signature(drives(geometry.lanes, contents.drive_bits))),
            }
        )

    @staticmethod
    def latency(banks: int) -> int:
        """Cycles from the hand-shake of STEP to `o.valid`: ROM, adder tree, closing sum."""
        return WeightRom.PIPELINE_CYCLES + (banks - 1).bit_length() + 1

    def elaborate(self, platform) -> Module:
        m = Module()
        g, c = self._geometry, self._contents

        # Join: every bank plays its spikes at its own pace and waits at its ending.
        waiting, closing, go, busy = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            waiting.eq(Cat(i.valid & (i.payload.kind != Kind.SPIKE) for i in self.i).all()),
            closing.eq(self.i[0].payload.kind == Kind.STEP),
            # A STEP in flight has the output register to itself; the pipeline never stalls.
            go.eq(waiting & ~(closing & busy)),
        ]
        for i in self.i:
            m.d.comb += i.ready.eq((i.payload.kind == Kind.SPIKE) | go)

        def delayed(value, cycles: int, name: str):
            for n in range(cycles):
                register = Signal.like(value, name=f"{name}_{n + 1}")
                m.d.sync += register.eq(value)
                value = register
            return value

        group_base = self._group_base(m, go & closing)
        levels = (g.banks - 1).bit_length()
        rom_cycles = WeightRom.PIPELINE_CYCLES
        terms: list[list[Value]] = [[] for _ in range(g.lanes)]
        carries: list[Value] = []
        for b, i in enumerate(self.i):
            rom = WeightRom(
                width=g.lanes * c.weight_bits,
                rows=c.rows[b],
                file=c.files[b] if c.files else None,
            )
            m.submodules[f"rom{b}"] = rom
            m.d.comb += rom.addr.eq(group_base + i.payload.index)
            spike = i.valid & (i.payload.kind == Kind.SPIKE)
            add = delayed(spike, rom_cycles, f"add{b}")
            subtract = delayed(spike & i.payload.negative, rom_cycles, f"subtract{b}")
            carries.append(subtract)
            for k, lane in enumerate(terms):
                weight = rom.data.word_select(k, c.weight_bits)
                lane.append(
                    Cat((bit ^ subtract) & add for bit in weight).as_signed()
                )
        for level in range(levels):
            carries = self._add_pairs(m, terms, carries, level)

        double = delayed(go & ~closing, rom_cycles + levels, "double")
        close = delayed(go & closing, rom_cycles + levels, "close")
        bias = self._bias(m, close)
        for k, (term,) in enumerate(terms):
            total = Signal(signed(c.accumulator_bits), name=f"total{k}")
            with m.If(close):
                m.d.sync += [total.eq(0), self.o.payload[k].eq(total + bias[k])]
            with m.Elif(double):
                m.d.sync += total.eq(total << 1)
            with m.Else():
                m.d.sync += total.eq(add_with_carry(total, term, carries[0]))

        with m.If(close):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(go & closing):
            m.d.sync += busy.eq(1)
        with m.Elif(transfer(self.o)):
            m.d.sync += busy.eq(0)
        return m

    def _group_base(self, m: Module, step: Value) -> Value:
        """First ROM address of the group being summed."""
        g = self._geometry
        base = Signal(range((g.groups - 1) * g.rows + 1))
        if g.groups > 1:
            with m.If(step):
                m.d.sync += base.eq(base + g.rows)
                with m.If(base == (g.groups - 1) * g.rows):
                    m.d.sync += base.eq(0)
        return base

    def _add_pairs(
        self, m: Module, terms: list[list[Value]], carries: list[Value], level: int
    ) -> list[Value]:
        """One registered level of the adder tree; returns the carries that are left."""
        for k, lane in enumerate(terms):
            sums = []
            for n in range(0, len(lane), 2):
                a, b = lane[n], lane[n + 1]
                register = Signal(signed(len(a) + 1), name=f"sum{k}_{level}_{n // 2}")
                m.d.sync += register.eq(add_with_carry(a, b, carries[n + 1]))
                sums.append(register)
            terms[k] = sums
        left = []
        for n in range(0, len(carries), 2):
            carry = Signal(name=f"carry_{level}_{n // 2}")
            m.d.sync += carry.eq(carries[n])
            left.append(carry)
        return left

    def _bias(self, m: Module, close: Value) -> list[Value]:
        """The biases of the group that closes: constants, or a small ROM read ahead."""
        g, c = self._geometry, self._contents
        if g.groups == 1:
            return [Value.cast(b) for b in c.biases[0]]
        shape = drives(g.lanes, c.drive_bits)
        m.submodules.bias = memory = Memory(shape=shape, depth=g.groups, init=c.biases)
        port = memory.read_port()
        group = Signal(range(g.groups))
        m.d.comb += port.addr.eq(group)
        with m.If(close):
            m.d.sync += group.eq(group + 1)
            with m.If(group == g.groups - 1):
                m.d.sync += group.eq(0)
        read = Signal(shape)  # steps are at least `latency + 1` apart: time for two registers
        m.d.sync += read.eq(port.data)
        return [read[k] for k in range(g.lanes)]
