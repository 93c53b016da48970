"""Ternary accumulator core: events in, drives out. An event selects a weight row per bank; the row
is added to the lanes' accumulators, or subtracted. There is no multiplier."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.layer.geometry import LayerGeometry
from hw.layer.slice import AccumulatorSlice, SliceContents, command_layout
from hw.stream.payloads import Kind, drives, event, load_layout, transfer

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Adds up weight rows, one per bank and cycle, and hands the sum on at each STEP.

    Subtracting a row is adding its complement plus one. The complements enter the adder tree, and
    each of the `banks` adders of a lane (tree and accumulator) takes one bank's plus-one as its
    carry-in, so a negative spike costs nothing.

    PLANE and STEP are joint: they are taken from all banks in one cycle, once each bank has come
    to its own. PLANE doubles the accumulators, unless the geometry says `repeat`. STEP sends
    `(accumulator << shift) + bias` of the group and clears. A prelude of `bias_rows` cycles fetches
    a group's biases: with one group after reset, and never again; with more, after every STEP.

    What was taken becomes a command, which passes the slices one after the other:

        i -> join -> command -> slice 0 -> command -> slice 1 -> ...
                                   `-> o[0..15]          `-> o[16..31]

    Cycle law: a SPIKE, a PLANE, a STEP take one cycle each (spikes of different banks the same
    cycle); `o` is valid `latency` cycles after the STEP. The next STEP is taken at the earliest
    in the cycle after `o` was: so a step takes `max(prelude + events + 1, latency + 1)` cycles
    with `o` ready.

    Parameters
    ----------
    geometry, slices
        Shape; the integers of each slice of lanes.

    Members
    -------
    i : In(stream of event(rows)) x banks
    o : Out(stream of drives(lanes, drive_bits))
        Groups 0 .. groups-1 in turn.
    load : In(load_layout), part bank * slices + slice
        For memories that are loaded; absent otherwise.
    """

    i: Sequence[stream.Interface]
    o: stream.Interface
    load: data.View

    def __init__(self, geometry: LayerGeometry, slices: Sequence[SliceContents]) -> None:
        self._geometry, self._slices = geometry, slices
        members = {
            "i": In(stream.Signature(event(geometry.rows))).array(geometry.banks),
            "o": Out(stream.Signature(drives(geometry.lanes, slices[0].drive_bits))),
        }
        self.parts = []
        if slices[0].memory != "rom":
            self.parts = [(s.width, geometry.depth) for s in slices] * geometry.banks
            members["load"] = In(load_layout(self.parts))
        super().__init__(members)

    @staticmethod
    def latency(geometry: LayerGeometry) -> int:
        """Cycles from the hand-shake of STEP to `o.valid`: the way to the last slice, and its."""
        return len(geometry.slices) + AccumulatorSlice.latency(geometry.banks)

    @staticmethod
    def prelude(geometry: LayerGeometry) -> int:
        """Cycles after STEP in which nothing is taken."""
        return geometry.bias_rows if geometry.groups > 1 else 0

    def elaborate(self, platform) -> Module:
        m = Module()
        g = self._geometry
        go, closing, busy = Signal(), Signal(), Signal()
        prelude = Signal(init=g.bias_rows > 0)
        digit = Signal(range(g.bias_rows + 1))

        # Join: every bank plays its spikes at its own pace and waits at its ending.
        at_ending = [i.valid & (i.payload.kind != Kind.SPIKE) for i in self.i]
        m.d.comb += [
            closing.eq(self.i[0].payload.kind == Kind.STEP),
            go.eq(Cat(at_ending).all() & ~(closing & busy) & ~prelude),
        ]
        for i in self.i:
            m.d.comb += i.ready.eq(((i.payload.kind == Kind.SPIKE) & ~prelude) | go)

        command = Signal(command_layout(g.banks, g.depth))
        base = self._group_base(m, go & closing)
        # Where planes are repeated, the end of one is only an end.
        double = Const(0) if g.repeat else go & ~closing
        m.d.sync += [command.double.eq(double), command.close.eq(go & closing)]
        for b, i in enumerate(self.i):
            spike = i.valid & i.ready & (i.payload.kind == Kind.SPIKE)
            m.d.sync += [
                command.address[b].eq(base + i.payload.index),
                command.add[b].eq(spike),
                command.subtract[b].eq(spike & i.payload.negative),
            ]

        with m.If(prelude):
            m.d.sync += [
                command.address[0].eq(base + g.rows + digit),
                command.add[0].eq(1),
                digit.eq(digit + 1),
            ]
            with m.If(digit == g.bias_rows - 1):
                m.d.sync += [digit.eq(0), prelude.eq(0)]
        if self.prelude(g):
            with m.If(go & closing):
                m.d.sync += prelude.eq(1)
        m.d.sync += command.bias.eq(prelude)

        closed: Value = Signal()
        for n, (lanes, contents) in enumerate(zip(g.slices, self._slices, strict=True)):
            if n > 0:
                command = self._relay(m, command, n)
            m.submodules[f"slice{n}"] = part = AccumulatorSlice(contents)
            m.d.comb += part.command.eq(command)
            if self.parts:
                mine = [b * len(self._slices) + n for b in range(g.banks)]
                m.d.comb += [
                    part.load.en.eq(self.load.en & Cat(self.load.part == p for p in mine).any()),
                    part.load.address.eq(self.load.address),
                    part.load.data.eq(self.load.data),
                ]
                for b, p in enumerate(mine):
                    with m.If(self.load.part == p):
                        m.d.comb += part.load.part.eq(b)
            for k, lane in enumerate(lanes):
                m.d.comb += self.o.payload[lane].eq(part.o[k])
            closed = part.closed

        # A STEP in flight has the output registers to itself, so the slices never wait.
        with m.If(closed):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(go & closing):
            m.d.sync += busy.eq(1)
        with m.Elif(transfer(self.o)):
            m.d.sync += busy.eq(0)
        return m

    def _relay(self, m: Module, command: data.View, n: int) -> data.View:
        """A command a cycle later. Its addresses need no reset."""
        relayed: data.View = Signal(command.shape(), name=f"relayed{n}")  # type: ignore[assignment]
        for field in command.shape().members:
            register = Signal(
                command[field].shape(), name=f"{field}{n}", reset_less=field == "address"
            )
            m.d.sync += register.eq(command[field])
            m.d.comb += relayed[field].eq(register)
        return relayed

    def _group_base(self, m: Module, step: Value) -> Value:
        """First ROM address of the group being summed."""
        g = self._geometry
        base = Signal(range((g.groups - 1) * g.stride + 1))
        if g.groups > 1:
            with m.If(step):
                m.d.sync += base.eq(base + g.stride)
                with m.If(base == (g.groups - 1) * g.stride):
                    m.d.sync += base.eq(0)
        return base
