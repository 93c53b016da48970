"""The core: a chain of layers, all at work at once on successive time steps."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.layer.stage import DenseLayer, LayerPlan
from hw.stream.payloads import Kind, load_layout, transfer

__all__ = ["Core", "TraceField"]

TraceField = tuple[str, int]
"""Name and width of a field of the trace, low bits first."""


class Core(wiring.Component):
    """Pixel words in, logits and class out; every layer has its own hardware.

    A synchronous reset, at any time, leaves a core that computes the next image right.

    Parameters
    ----------
    layers
        Plans in order; the last is a readout.
    events
        Add the port `events`, for a counter.
    taps
        Simulation only: ports to watch every event and potential. Without, there is no such port
        and no logic for it.

    Members
    -------
    i : In(stream of coefficients(word, input_bits, signed=False))
        An image is `words` words; pixel p sits in word p // word, element p % word; pad with 0.
    o : Out(stream of result_layout(classes, logit_bits))
    load : In(load_layout(parts)), with memories that are loaded
        Rows of weights, while the core is held in reset: it fetches biases when that ends. Parts
        are numbered by layer, bank, slice.
    events : Out
        A bit per layer and bank: a weight row was added in the cycle before.
    tap_trace : Out, with taps
        What happens in this cycle; `trace_fields` names its bits.
    tap_spikes{n}, tap_potentials{n} : Out, with taps
        In a cycle with `lif{n}` in the trace: a group's spikes and the potentials it stores.
    """

    i: stream.Interface
    o: stream.Interface
    tap_trace: Signal
    load: data.View
    events: Signal

    def __init__(
        self, layers: Sequence[LayerPlan], *, taps: bool = False, events: bool = False
    ) -> None:
        self._layers = [DenseLayer(plan) for plan in layers]
        self._taps = taps
        members = {
            "i": In(self._layers[0].i.signature.flip()),
            "o": Out(self._layers[-1].o.signature),
        }
        self.parts = [part for layer in self._layers for part in layer.parts]
        if self.parts:
            members["load"] = In(load_layout(self.parts))
        if events:
            members["events"] = Out(sum(len(layer.events) for layer in self._layers))
        self._count = events
        self.trace_fields: list[TraceField] = []
        if taps:
            self.trace_fields = self._trace_layout()
            members["tap_trace"] = Out(sum(width for _, width in self.trace_fields))
            for n, layer in enumerate(self._layers):
                if layer.lif is not None:
                    members[f"tap_spikes{n}"] = Out(layer.lif.o.payload.shape().size)
                    members[f"tap_potentials{n}"] = Out(layer.lif.tap_potentials.shape().size)
        super().__init__(members)

    def _trace_layout(self) -> list[TraceField]:
        fields: list[TraceField] = [("input", 1), ("result", 1)]
        for n, layer in enumerate(self._layers):
            for b in range(len(layer.events)):
                fields.append((f"event{n}_{b}", 1))
                fields.append((f"payload{n}_{b}", layer.event_layout.size))
            if layer.lif is not None:
                fields.append((f"lif{n}", 1))
        return fields

    def elaborate(self, platform) -> Module:
        m = Module()
        for n, layer in enumerate(self._layers):
            m.submodules[f"layer{n}"] = layer
            if n > 0:
                wiring.connect(m, self._layers[n - 1].o, layer.i)
        wiring.connect(m, wiring.flipped(self.i), self._layers[0].i)
        wiring.connect(m, self._layers[-1].o, wiring.flipped(self.o))
        if self._count:
            m.d.sync += self.events.eq(
                Cat(
                    transfer(port) & (port.payload.kind == Kind.SPIKE)
                    for layer in self._layers
                    for port in layer.events
                )
            )
        if self.parts:
            self._load(m)
        if self._taps:
            self._tap(m)
        return m

    def _load(self, m: Module) -> None:
        """Hand a row to its layer."""
        start = 0
        for layer in self._layers:
            stop = start + len(layer.parts)
            m.d.comb += [
                layer.load.en.eq(
                    self.load.en & (self.load.part >= start) & (self.load.part < stop)
                ),
                layer.load.part.eq(self.load.part - start),
                layer.load.address.eq(self.load.address),
                layer.load.data.eq(self.load.data),
            ]
            start = stop

    def _tap(self, m: Module) -> None:
        trace = [transfer(self.i), transfer(self.o)]
        for n, layer in enumerate(self._layers):
            for port in layer.events:
                trace += [transfer(port), port.payload.as_value()]
            if layer.lif is not None:
                trace.append(layer.lif.tap_fire)
                m.d.comb += [
                    getattr(self, f"tap_spikes{n}").eq(layer.lif.o.payload),
                    getattr(self, f"tap_potentials{n}").eq(layer.lif.tap_potentials),
                ]
        m.d.comb += self.tap_trace.eq(Cat(trace))
