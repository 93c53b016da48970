"""The core: stages in a row, all at work at once, on successive time steps or images."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.stage import Stage, TapPoint
from hw.stream.payloads import load_layout
from hw.stream.serializer import Serializer

__all__ = ["Core"]


class Core(wiring.Component):
    """Pixel words in, logits and class out.

    Stages of any kind follow each other: what one sends is a word of coefficients to the next. A
    synchronous reset, at any time, leaves a core that computes the next image right.

    Parameters
    ----------
    stages
        In the order data flow; the last one is a readout.
    events
        Add the port `events`, for a counter. The stages were built with `events` too.
    taps
        Simulation only: ports to watch what passes inside. The stages were built with `taps` too.

    Members
    -------
    i : In(stream of coefficients)
        As the first stage takes them (docs/streams.md).
    o : Out(stream of result_layout(classes, logit_bits))
    load : In(load_layout(parts)), with memories that are loaded
        Rows of weights, while the core is held in reset: it fetches biases when that ends. Parts
        are numbered stage by stage.
    teacher : In(hw.learn.stage.teacher(program)), of a core that learns
    events : Out
        `Stage.additions` of all stages: a weight row was added in the cycle before.
    tap_{name}_valid, tap_{name} : Out, with taps
        `Stage.taps` of all stages; names are `{stage}_{tap}`.

    Attributes
    ----------
    parts
        (bits, rows) of each weight memory that is loaded.
    taps
        (name, bits) of each tap, in order.
    """

    i: stream.Interface
    o: stream.Interface
    load: data.View
    events: Signal
    teacher: Any

    def __init__(
        self, stages: Sequence[Stage], *, taps: bool = False, events: bool = False
    ) -> None:
        self._stages = list(stages)
        self._points: dict[str, TapPoint] = {}
        if taps:
            for n, stage in enumerate(self._stages):
                self._points |= {f"{n}_{name}": point for name, point in stage.taps.items()}
        self._count = events
        self.parts = [part for stage in self._stages for part in stage.parts]
        self.taps = [(name, len(point.data)) for name, point in self._points.items()]
        members: dict[str, Any] = {
            "i": In(self._stages[0].i.signature.flip()),
            "o": Out(self._stages[-1].o.signature),
        }
        if self.parts:
            members["load"] = In(load_layout(self.parts))
        if events:
            members["events"] = Out(sum(len(stage.additions) for stage in self._stages))
        for stage in self._stages:
            if stage.teacher is not None:
                members["teacher"] = In(stage.teacher)
        for name, bits in self.taps:
            members |= {f"tap_{name}_valid": Out(1), f"tap_{name}": Out(bits)}
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        for n, stage in enumerate(self._stages):
            m.submodules[f"stage{n}"] = stage
            if n > 0:
                self._join(m, n, self._stages[n - 1].o, stage.i)
        wiring.connect(m, wiring.flipped(self.i), self._stages[0].i)
        wiring.connect(m, self._stages[-1].o, wiring.flipped(self.o))
        if self._count:
            m.d.comb += self.events.eq(Cat(stage.additions for stage in self._stages))
        if self.parts:
            self._load(m)
        for stage in self._stages:
            if stage.teacher is not None:
                wiring.connect(m, wiring.flipped(self.teacher), stage.teaching)
        for name, point in self._points.items():
            m.d.comb += [
                getattr(self, f"tap_{name}_valid").eq(point.valid),
                getattr(self, f"tap_{name}").eq(point.data),
            ]
        return m

    @staticmethod
    def _join(m: Module, n: int, source: stream.Interface, target: stream.Interface) -> None:
        """Words of one stage to the next, in parts where it takes narrower ones. A sender whose
        other layers have signs may send a layer that has none."""
        sent: Any = source.payload.shape()
        taken: Any = target.payload.shape()
        if sent.length > taken.length:
            m.submodules[f"serializer{n}"] = parts = Serializer(sent, taken.length)
            wiring.connect(m, source, parts.i)
            source = parts.o
        m.d.comb += [target.valid.eq(source.valid), source.ready.eq(target.ready)]
        for k in range(taken.length):
            for name in taken.elem_shape.members:
                m.d.comb += target.payload[k][name].eq(source.payload[k][name])

    def _load(self, m: Module) -> None:
        """Hand a row to its stage."""
        start = 0
        for stage in self._stages:
            if not stage.parts:
                continue
            stop = start + len(stage.parts)
            m.d.comb += [
                stage.load.en.eq(
                    self.load.en & (self.load.part >= start) & (self.load.part < stop)
                ),
                stage.load.part.eq(self.load.part - start),
                stage.load.address.eq(self.load.address),
                stage.load.data.eq(self.load.data),
            ]
            start = stop
