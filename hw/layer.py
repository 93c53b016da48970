"""A dense layer: queues, accumulator core, and neurons or readout."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.accumulator import Accumulator
from hw.geometry import LayerGeometry
from hw.hold import DriveHold
from hw.image import LayerImage
from hw.lif import LifArray
from hw.queue import SpikeQueue
from hw.readout import Readout
from hw.rom import pack_rows
from hw.serializer import Serializer
from hw.slice import SliceContents
from hw.spec import signed_bits
from hw.stream import coefficients, event

__all__ = ["DenseLayer", "LayerPlan"]


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """What a `DenseLayer` is built from.

    Parameters
    ----------
    image, geometry
        The integers and their layout.
    constant_input
        The input is an image, sent once for all time steps.
    out_word
        Coefficients per output word (the receiver's `geometry.word`); 0 for a readout.
    files
        Per bank and slice, the `$readmemh` file of the emitted Verilog; None to simulate by
        Amaranth.
    """

    image: LayerImage
    geometry: LayerGeometry
    constant_input: bool
    out_word: int
    files: tuple[tuple[str, ...], ...] | None = None

    def slices(self) -> list[SliceContents]:
        """ROM rows and biases, laid out for each slice of lanes."""
        g, layer = self.geometry, self.image
        banks = pack_rows(layer.weights, g, layer.spec.weight_bits)
        bias = layer.bias.tolist() + [0] * (g.groups * g.lanes - g.neurons)
        return [
            SliceContents(
                weight_bits=layer.spec.weight_bits,
                accumulator_bits=layer.accumulator_bits,
                drive_bits=layer.drive_bits,
                rows=[bank[n] for bank in banks],
                biases=[
                    bias[group * g.lanes + lanes.start : group * g.lanes + lanes.stop]
                    for group in range(g.groups)
                ],
                files=[bank[n] for bank in self.files] if self.files else None,
            )
            for n, lanes in enumerate(g.slices)
        ]


class DenseLayer(wiring.Component):
    """Coefficient words in; spike words (or results) out.

        i -> queue per bank -> Accumulator -> [DriveHold] -> LifArray -> Serializer -> o
                                                         `-> Readout -> o

    Its cycle law is the composition of its parts': `gen.cycles` computes it.

    Members
    -------
    i : In(stream of coefficients(geometry.word, planes, signed))
    o : Out(stream of coefficients(out_word, 1, signed=True)), or of results for a readout

    Attributes
    ----------
    events
        The accumulator's input ports, to watch.
    lif
        The LifArray, or None.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, plan: LayerPlan) -> None:
        self._plan = plan
        g, layer = plan.geometry, plan.image
        neuron, steps = layer.spec.neuron, layer.steps
        self._queues = [
            SpikeQueue(
                words=g.words, chunk=g.chunk, planes=g.planes, signed=g.signed, replays=g.groups
            )
            for _ in range(g.banks)
        ]
        self._accumulator = Accumulator(g, plan.slices())
        self.events = self._accumulator.i
        self.event_layout = event(g.rows)
        self.lif = None
        if neuron is not None:
            self.lif = LifArray(
                neuron, g, steps=steps, drive_bits=layer.drive_bits,
                membrane_bound=layer.membrane_bound,
            )  # fmt: skip
            self._serializer = Serializer(coefficients(g.lanes, 1, True), plan.out_word)
            out = self._serializer.o.signature
        else:
            self._readout = Readout(
                lanes=g.lanes, groups=g.groups, steps=steps, classes=g.neurons,
                drive_bits=layer.drive_bits, logit_bits=signed_bits(layer.logit_bound),
            )  # fmt: skip
            out = self._readout.o.signature
        super().__init__(
            {"i": In(stream.Signature(coefficients(g.word, g.planes, g.signed))), "o": Out(out)}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        g = self._plan.geometry

        # All banks' queues are loaded and released together: they are ready together.
        ready = Cat(queue.i.ready for queue in self._queues).all()
        m.d.comb += self.i.ready.eq(ready)
        m.submodules.accumulator = accumulator = self._accumulator
        for b, queue in enumerate(self._queues):
            m.submodules[f"queue{b}"] = queue
            m.d.comb += queue.i.valid.eq(self.i.valid & ready)
            for n in range(g.chunk):
                m.d.comb += queue.i.payload[n].eq(self.i.payload[n * g.banks + b])
            wiring.connect(m, queue.o, accumulator.i[b])

        source = accumulator.o
        if self._plan.constant_input:
            m.submodules.hold = hold = DriveHold(
                lanes=g.lanes, bits=self._plan.image.drive_bits, groups=g.groups,
                steps=self._plan.image.steps,
            )  # fmt: skip
            wiring.connect(m, source, hold.i)
            source = hold.o
        if self.lif is not None:
            m.submodules.lif = lif = self.lif
            m.submodules.serializer = serializer = self._serializer
            wiring.connect(m, source, lif.i)
            wiring.connect(m, lif.o, serializer.i)
            wiring.connect(m, serializer.o, wiring.flipped(self.o))
        else:
            m.submodules.readout = readout = self._readout
            wiring.connect(m, source, readout.i)
            wiring.connect(m, readout.o, wiring.flipped(self.o))
        return m
