"""The layer stage: a dense layer with queues, accumulator core, and neurons or readout."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.network import Layer
from hw.layer.accumulator import Accumulator
from hw.layer.constants import ConstantContents, ConstantFields, pack_constants
from hw.layer.geometry import LayerGeometry
from hw.layer.hold import DriveHold
from hw.layer.lif import LifArray
from hw.layer.queue import SpikeQueue
from hw.layer.rows import pack_rows
from hw.layer.slice import SliceContents
from hw.neuron.readout import Readout
from hw.stage import Stage, TapPoint
from hw.stream.payloads import Kind, coefficients, drives, load_layout, spikes, transfer
from hw.stream.serializer import Serializer
from hw.stream.step_sum import StepSum
from hw.stream.transposer import Transposer

__all__ = ["LayerDesign", "LayerStage"]


@dataclass(frozen=True, kw_only=True)
class LayerDesign:
    """What a `LayerStage` is built from.

    Parameters
    ----------
    layer, geometry
        The integers and their layout; with `geometry.sent_planes`, those of a layer that receives
        the sums once.
    constant_input
        The input is a picture, sent once for all time steps; otherwise every step has its own.
    out_word
        Coefficients per output word (the receiver's `geometry.word`); 0 for a readout.
    sent_steps
        Steps that are summed up.
    memory
        `rom`, or `ram` or `spram`: weights that are loaded at power-up.
    files, constant_files
        Per bank and slice, the `$readmemh` file of the emitted Verilog, and per slice of neurons
        that of constants by channel; None to simulate by Amaranth.
    """

    layer: Layer
    geometry: LayerGeometry
    constant_input: bool
    out_word: int
    sent_steps: int = 1
    memory: str = "rom"
    files: tuple[tuple[str, ...], ...] | None = None
    constant_files: tuple[str, ...] | None = None

    def constants(self) -> ConstantContents | None:
        """What the neurons have of their own, None where they have nothing."""
        fields = ConstantFields.of(self.layer.spec)
        if not fields.digits:
            return None
        return ConstantContents(
            fields=fields,
            rows=pack_constants(self.layer, self.geometry.firing),
            files=self.constant_files,
            memory="rom" if self.memory == "rom" else "ram",
        )

    def slices(self) -> list[SliceContents]:
        """ROM rows and biases, laid out for each slice of lanes."""
        g, layer = self.geometry, self.layer
        banks = pack_rows(layer.dense_weights, layer.dense_bias, g, layer.spec.weight_bits)
        return [
            SliceContents(
                lanes=len(lanes),
                memory=self.memory,
                weight_bits=layer.spec.weight_bits,
                accumulator_bits=layer.sum_bits,
                shift=layer.sum_shift,
                drive_bits=layer.drive_bits,
                rows=[bank[n] for bank in banks],
                files=[bank[n] for bank in self.files] if self.files else None,
            )
            for n, lanes in enumerate(g.slices)
        ]


class LayerStage(Stage):
    """Coefficient words in; spike words (or results) out.

        i -> [StepSum] -> queue per bank -> Accumulator -> [Serializer] -> [DriveHold] -> neurons
        neurons:  LifArray -> Serializer -> [Transposer], or Readout

    A layer whose input is a picture goes group by group: all time steps of a group's drives, then
    the next group. So its drives and potentials need no memory, and its spikes are put into the
    order of time at the end.

    Its cycle law is the composition of its parts': `gen.layer.cycles` computes it.

    Members
    -------
    i : In(stream of coefficients(geometry.word, planes, signed))
    o : Out(stream of spikes(neuron, out_word)), or of results for a readout
    load : In(load_layout(parts))
        For memories that are loaded; absent otherwise.

    Taps
    ----
    events{bank}
        An event that enters the accumulator, `hw.stream.payloads.event`.
    neurons
        A group's spikes, then the potentials that it stores.

    Parameters
    ----------
    design
        The integers, and how they are laid out.
    events
        Drive `additions`, a bit per bank.
    """

    def __init__(self, design: LayerDesign, *, events: bool = False) -> None:
        plan = self._plan = design
        self._count = events
        g, layer = plan.geometry, plan.layer
        neuron, steps = layer.spec.neuron, layer.steps
        self._queues = [
            SpikeQueue(
                words=g.words,
                chunk=g.chunk,
                planes=g.planes,
                signed=g.signed,
                replays=g.groups,
                repeat=g.repeat,
                lean=g.lean,
            )
            for _ in range(g.banks)
        ]
        self._accumulator = Accumulator(g, plan.slices())
        self.additions = Signal(g.banks)
        self.taps = {
            f"events{b}": TapPoint(transfer(port), port.payload.as_value())
            for b, port in enumerate(self._accumulator.i)
        }
        self.lif = None
        if neuron is not None:
            self.lif = LifArray(
                neuron,
                g.firing,
                steps=steps,
                drive_bits=layer.drive_bits,
                membrane_bound=layer.membrane_bound,
                current_bound=layer.current_bound,
                group_major=plan.constant_input,
                constants=plan.constants(),
            )
            sent = Cat(self.lif.o.payload, self.lif.tap_potentials)
            self.taps["neurons"] = TapPoint(self.lif.tap_fire, sent)
            self._serializer = Serializer(spikes(neuron, g.firing.lanes), plan.out_word)
            out = self._serializer.o.signature
        else:
            self._readout = Readout(
                lanes=g.firing.lanes,
                groups=g.firing.groups,
                steps=steps,
                classes=g.neurons,
                drive_bits=layer.drive_bits,
                logit_bits=layer.logit_bits,
                group_major=plan.constant_input,
                block_ram=g.fire_lanes > 0,
                leak=layer.spec.readout,
                m_bits=layer.integrated_bits,
            )
            out = self._readout.o.signature
        sent = g.sent_planes or g.planes
        members = {"i": In(stream.Signature(coefficients(g.word, sent, g.signed))), "o": Out(out)}
        own = [] if self.lif is None else self.lif.parts
        self.parts = [*self._accumulator.parts, *own]
        if self.parts:
            members["load"] = In(load_layout(self.parts))
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        g = self._plan.geometry

        received: Any = wiring.flipped(self.i)
        if g.sent_planes:
            m.submodules.step_sum = step_sum = StepSum(
                words=g.words,
                length=g.word,
                planes=g.sent_planes,
                signed=g.signed,
                out_planes=g.planes,
                steps=self._plan.sent_steps,
            )
            wiring.connect(m, wiring.flipped(self.i), step_sum.i)
            received = step_sum.o

        # All banks' queues are loaded and released together: they are ready together.
        ready = Cat(queue.i.ready for queue in self._queues).all()
        m.d.comb += received.ready.eq(ready)
        m.submodules.accumulator = accumulator = self._accumulator
        for b, queue in enumerate(self._queues):
            m.submodules[f"queue{b}"] = queue
            m.d.comb += queue.i.valid.eq(received.valid & ready)
            for n in range(g.chunk):
                m.d.comb += queue.i.payload[n].eq(received.payload[n * g.banks + b])
            wiring.connect(m, queue.o, accumulator.i[b])

        if self.parts:
            self._load(m)

        if self._count:
            added = (transfer(i) & (i.payload.kind == Kind.SPIKE) for i in accumulator.i)
            m.d.sync += self.additions.eq(Cat(added))

        source, lanes = accumulator.o, g.firing.lanes
        if lanes < g.lanes:
            shape = drives(g.lanes, self._plan.layer.drive_bits)
            m.submodules.parts = parts = Serializer(shape, lanes)
            wiring.connect(m, source, parts.i)
            source = parts.o
        if self._plan.constant_input:
            m.submodules.hold = hold = DriveHold(
                lanes=lanes, bits=self._plan.layer.drive_bits, steps=self._plan.layer.steps
            )
            wiring.connect(m, source, hold.i)
            source = hold.o
        if self.lif is not None:
            m.submodules.lif = lif = self.lif
            m.submodules.serializer = serializer = self._serializer
            wiring.connect(m, source, lif.i)
            wiring.connect(m, lif.o, serializer.i)
            words = serializer.o
            if self._plan.constant_input and g.firing.groups > 1:
                m.submodules.transposer = transposer = Transposer(
                    self.o.payload.shape(),
                    groups=g.firing.groups,
                    steps=self._plan.layer.steps,
                    words=serializer.beats,
                )
                wiring.connect(m, words, transposer.i)
                words = transposer.o
            wiring.connect(m, words, wiring.flipped(self.o))
        else:
            m.submodules.readout = readout = self._readout
            wiring.connect(m, source, readout.i)
            wiring.connect(m, readout.o, wiring.flipped(self.o))
        return m

    def _load(self, m: Module) -> None:
        """A row that is loaded is one of weights, or one of constants by channel."""
        weights = len(self._accumulator.parts)
        if self.lif is None or not self.lif.parts:
            m.d.comb += self._accumulator.load.eq(self.load)
            return
        for part, start, stop in (
            (self._accumulator, 0, weights),
            (self.lif, weights, len(self.parts)),
        ):
            m.d.comb += [
                part.load.en.eq(self.load.en & (self.load.part >= start) & (self.load.part < stop)),
                part.load.part.eq(self.load.part - start),
                part.load.address.eq(self.load.address),
                part.load.data.eq(self.load.data),
            ]
