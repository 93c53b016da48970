"""The program stage: one set of hardware that runs layers of any kind in turn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.memory.rom import WeightRom
from hw.neuron.readout import Readout, result_layout
from hw.program.code import Code, Decide, Scan, Send, Sweep
from hw.program.operation import operation
from hw.program.potentials import Potentials
from hw.program.program import Program
from hw.program.scanner import Scanner
from hw.program.steps import StepMemory, StepOrder
from hw.program.sweeper import Sweeper
from hw.program.walker import Walker
from hw.stage import Stage, TapPoint
from hw.stream.payloads import coefficients, transfer
from hw.stream.serializer import Serializer

__all__ = ["Learns", "ProgramStage", "RomFiles"]


@dataclass(frozen=True, kw_only=True)
class RomFiles:
    """Paths of ROM files, as the Verilog names them."""

    program: str
    weights: str
    biases: str
    thetas: str
    steps: str = ""
    factors: str = ""


class Learns:
    """What passes between a stage's control and the parts that learn (`hw.learn.stage`).

    Attributes
    ----------
    updating, busy
        From the parts: this scan changes rows; a row is on its way.
    decided, learn
        From the parts: the verdict is there; it is to learn.
    deciding, finished, idle
        From the control: a `Decide` waits; nothing is left to do for the picture; nothing is done.
    deep
        From the control: the operation is behind the `Decide`.
    taken, target, current
        From the control: the last word of a picture is taken, into this buffer; the buffer of the
        picture that is worked on.
    """

    def __init__(self) -> None:
        self.updating, self.busy, self.decided, self.learn = (Signal() for _ in range(4))
        self.deciding, self.finished, self.idle, self.deep = (Signal() for _ in range(4))
        self.taken, self.target, self.current = (Signal() for _ in range(3))


class ProgramStage(Stage):
    """Words of maps in; logits and class, or words of spikes out: layer after layer.

        program -> scanner -> walker -> potentials -> readout
                     ^ spikes, pixels        `-> spikes

    An operation STARTs `FETCH_CYCLES` + 1 cycles after the first in which nothing of the one before
    is on its way. The next image is loaded while one is worked on. A synchronous reset, at any
    time, leaves a stage that computes the next image right.

    Parameters
    ----------
    program
        What it does.
    files
        ROM files for Verilog; None for simulation by Amaranth.
    events
        Drive `additions`: a word of potentials was added to, a weight row.
    taps
        Simulation only: places to watch every spike and potential.

    Members
    -------
    i : In(stream of coefficients(lanes, input_bits, input_sign))
        `input_words` words an image, as `hw.contract.layout` lays it out; lanes without a value
        are 0.
    o : Out(stream of result_layout(classes, logit_bits))
        Or, without classes, of coefficients(lanes, spike_planes, spike_sign): all words of a
        layer's spikes, step after step.

    Taps
    ----
    words
        A word of a layer that fires: spikes, then the potentials that are kept.

    Attributes
    ----------
    tap_valid, tap_spikes, tap_potentials
        With `taps`: the same, apart.
    tap_operation, tap_update
        With `taps`: the number of the operation that goes on; a word of potentials is added to.
    """

    FETCH_CYCLES = 2
    """From an operation's end, or reset, to the next one's START, both excluded."""

    READ_CYCLES = 2
    """From the START of a SEND of spikes to the offer of the first word; the others follow."""

    LOOK_CYCLES = 3
    """From a SEND's START, or its last word, to the offer of a word to the readout."""

    def __init__(
        self,
        program: Program,
        files: RomFiles | None = None,
        *,
        events: bool = False,
        taps: bool = False,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        p, f = program, files
        self._program, self._files, self._taps, self._count = program, files, taps, events
        self._potentials = self._sums(p, None if f is None else vars(f))
        members = {
            "i": In(stream.Signature(coefficients(p.lanes, p.input_bits, p.input_sign))),
            "o": Out(stream.Signature(self._sent())),
        }
        self.additions = Signal()
        self.taps = {}
        if taps:
            ports: Mapping = self._potentials.signature.members
            self.tap_valid, self.tap_update = Signal(), Signal()
            self.tap_spikes = Signal(ports["spikes"].shape.size)
            self.tap_potentials = Signal(ports["potentials"].shape.size)
            self.tap_operation = Signal(range(len(p.operations)))
            word = Cat(self.tap_spikes, self.tap_potentials)
            self.taps["words"] = TapPoint(self.tap_valid, word)
        super().__init__(members | dict(more or {}))

    def _sums(self, program: Program, files: Mapping[str, str] | None) -> Any:
        """What adds up, and sweeps: `Potentials`, or what has its ports."""
        return Potentials(program, files)

    def _add(self, m: Module, word: Value, scanner: Scanner) -> tuple[Value, Value, Learns | None]:
        """What is between the scanner and the sums. Returns whether a row of weights is added,
        whether anything is on its way, and the parts that learn."""
        m.submodules.walker = walker = Walker(self._program)
        potentials = self._potentials
        wiring.connect(m, scanner.o, walker.i)
        m.d.comb += [walker.word.eq(word), potentials.i.eq(walker.o)]
        learns = self._learn(m, word, scanner, walker)
        adds: Value = walker.valid if learns is None else walker.valid & ~learns.updating
        busy = walker.busy | potentials.busy
        m.d.comb += potentials.valid.eq(adds)
        return adds, busy if learns is None else busy | learns.busy, learns

    def _learn(self, m: Module, word: Value, scanner: Scanner, walker: Walker) -> Learns | None:
        """The parts that learn, of a stage that has any."""
        return None

    def _sent(self) -> data.Layout:
        p = self._program
        if p.classes:
            return result_layout(p.classes, p.logit_bits)
        return coefficients(p.word, p.spike_planes, p.spike_sign)

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        m.submodules.scanner = scanner = Scanner(p)
        m.submodules.potentials = potentials = self._potentials
        m.submodules.program = program = WeightRom(
            width=p.code.bits, rows=p.code_table.words, file=self._files and self._files.program
        )
        word = program.data
        m.d.comb += [scanner.word.eq(word), potentials.word.eq(word)]
        adds, busy, learns = self._add(m, word, scanner)

        # Spikes: written by sweeps, read by scans.
        m.submodules.spikes = spikes = StepMemory(
            coefficients(p.word, p.spike_planes, p.spike_sign), p.spike_words, p.spike_banks
        )
        m.d.comb += [
            spikes.write_en.eq(potentials.fired),
            spikes.write_odd.eq(potentials.odd),
            spikes.write_address.eq(potentials.spike_address),
            spikes.write_data.eq(potentials.spikes),
            scanner.spikes.eq(spikes.even),
            scanner.odd_spikes.eq(spikes.odd),
        ]
        ready, released = self._images(m, scanner, learns)
        idle = Signal()
        m.d.comb += idle.eq(~(scanner.busy | busy))

        number = Signal(range(len(p.operations)))
        kind, scan = word[: Code.KIND_BITS], operation(p, word, Scan)
        m.d.comb += program.addr.eq(number)
        send = operation(p, word, Send)
        if p.classes:
            m.d.comb += [
                spikes.read_en.eq(scanner.read),
                spikes.address.eq(scanner.address),
                spikes.odd_address.eq(scanner.odd_address),
            ]
            begin, sent = self._readout(m, send)
        else:
            begin, sent = self._spikes(m, send, spikes, scanner)
        fetched = Signal()
        with m.FSM():
            with m.State("FETCH"):  # the program's word is there two cycles after its number
                m.d.sync += fetched.eq(~fetched)
                with m.If(fetched):
                    m.next = "START"
            with m.State("START"):
                with m.If(kind == Code.number(Scan)):
                    # Whatever is read of an image waits for it.
                    m.d.comb += scanner.start.eq(ready | ~scan.from_input)
                    with m.If(scanner.start):
                        m.next = "RUN"
                with m.Elif(kind == Code.number(Sweep)):
                    m.d.comb += potentials.sweep.eq(1)
                    m.next = "RUN"
                if learns is not None:
                    with m.Elif(kind == Code.number(Decide)):
                        m.next = "DECIDE"
                with m.Else():
                    m.d.comb += begin.eq(1)
                    m.next = "SEND"
            with m.State("RUN"), m.If(idle):
                m.d.sync += number.eq(number + 1)
                m.next = "FETCH"
                if learns is None:
                    m.d.comb += released.eq((kind == Code.number(Scan)) & scan.release)
                else:
                    with m.If(number == len(p.operations) - 1):
                        m.d.comb += [learns.finished.eq(1), learns.deep.eq(1)]
                        m.d.sync += number.eq(0)
            with m.State("SEND"), m.If(sent):
                following = 0 if learns is None else number + 1
                if p.leak is not None:
                    following = Mux(number == len(p.operations) - 1, 0, number + 1)
                m.d.sync += number.eq(following)
                m.next = "FETCH"
            if learns is not None:
                with m.State("DECIDE"):
                    m.d.comb += learns.deciding.eq(1)
                    with m.If(learns.decided):
                        m.d.comb += learns.finished.eq(~learns.learn)
                        m.d.sync += number.eq(Mux(learns.learn, number + 1, 0))
                        m.next = "FETCH"
        if learns is not None:
            # The picture is needed until the last row has been changed.
            m.d.comb += [released.eq(learns.finished), learns.idle.eq(~ready)]
        if self._count:
            m.d.sync += self.additions.eq(adds)
        if self._taps:
            self._tap(m, number, adds)
        return m

    def _images(self, m: Module, scanner: Scanner, learns: Learns | None) -> tuple[Signal, Signal]:
        """Two images: one is read while the other is loaded. Returns whether there is one to read,
        and the signal that frees it."""
        p = self._program
        bits = (p.image_words // 2 - 1).bit_length()
        i: Any = self.i
        if p.pixels < p.lanes:  # a position to a word
            m.submodules.positions = positions = Serializer(self.i.payload.shape(), p.pixels)
            wiring.connect(m, wiring.flipped(self.i), positions.i)
            i = positions.o
        words = p.input_words * (p.lanes // p.pixels)
        m.submodules.images = images = StepMemory(i.payload.shape(), p.image_words, p.input_banks)
        full = [Signal(name=f"full{n}") for n in range(2)]
        target, current = Signal(), Signal()
        count = Signal(range(words))
        ready, released = Signal(), Signal()
        taken, last = transfer(i), count == words - 1
        address, odd = count, Const(0)
        if p.input_banks == 2:
            order = StepOrder(
                m,
                "image",
                bits,
                p.vector_words * (p.lanes // p.pixels),
                p.input_banks,
                begin=taken & last,
                start=0,
                advance=taken,
            )
            address, odd = order.address, order.odd
        m.d.comb += [
            i.ready.eq(~Array(full)[target]),
            images.write_en.eq(taken),
            images.write_odd.eq(odd),
            images.write_address.eq(Cat(address, Const(0, bits - len(address)), target)),
            images.write_data.eq(i.payload),
            images.read_en.eq(scanner.read),
            images.address.eq(Cat(scanner.address[:bits], current)),
            images.odd_address.eq(Cat(scanner.odd_address[:bits], current)),
            scanner.pixels.eq(images.even),
            scanner.odd_pixels.eq(images.odd),
            ready.eq(Array(full)[current]),
        ]
        if learns is not None:
            m.d.comb += [
                learns.taken.eq(taken & last),
                learns.target.eq(target),
                learns.current.eq(current),
            ]
        with m.If(taken):
            m.d.sync += [count.eq(Mux(last, 0, count + 1)), target.eq(target ^ last)]
        m.d.sync += current.eq(current ^ released)
        for n in range(2):
            with m.If(taken & last & (target == n)):
                m.d.sync += full[n].eq(1)
            with m.Elif(released & (current == n)):
                m.d.sync += full[n].eq(0)
        return ready, released

    def _readout(self, m: Module, send) -> tuple[Signal, Signal]:
        """The first maximum and the logits. Returns the signal that begins, and whether the last
        word is being taken."""
        p, potentials = self._program, self._potentials
        groups = -(-p.classes // p.lanes)
        lanes = min(p.lanes, p.classes)
        m.submodules.readout = readout = Readout(
            lanes=lanes,
            groups=groups,
            steps=1 if p.leak is None else p.sends,
            classes=p.classes,
            drive_bits=p.sum_bits,
            logit_bits=p.logit_bits,
            leak=p.leak,
            m_bits=p.m_bits,
        )
        wiring.connect(m, readout.o, wiring.flipped(self.o))
        begin, done = Signal(), Signal()
        index = Signal(max(1, (groups - 1).bit_length()))
        m.d.comb += [
            potentials.look_address.eq(send.address + index),
            Cat(readout.i.payload).eq(Cat(potentials.seen[k] for k in range(lanes))),
        ]
        with m.FSM(name="sending"):
            with m.State("IDLE"):
                m.d.sync += index.eq(0)
                with m.If(begin):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.d.comb += potentials.look.eq(1)
                m.next = "SEE"
            with m.State("SEE"):
                m.d.comb += potentials.look.eq(1)
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [potentials.look.eq(1), readout.i.valid.eq(1)]
                with m.If(readout.i.ready):
                    m.d.sync += index.eq(index + 1)
                    m.next = "LOOK"
                    with m.If(index == groups - 1):
                        m.d.comb += done.eq(1)
                        m.next = "IDLE"
        return begin, done

    def _spikes(
        self, m: Module, send, spikes: StepMemory, scanner: Scanner
    ) -> tuple[Signal, Signal]:
        """Spikes of all steps, a word per cycle; returns as `_readout` does."""
        p = self._program
        begin, done, running = Signal(), Signal(), Signal()
        index = Signal(max(1, len(send.last_word)))
        offered, ended, advance, odd = Signal(), Signal(), Signal(), Signal()
        order = StepOrder(
            m,
            "sent",
            len(spikes.address),
            send.step_words,
            p.spike_banks,
            begin=begin,
            start=send.address,
            advance=running & advance,
        )
        m.d.comb += [
            advance.eq(~offered | self.o.ready),
            spikes.read_en.eq(Mux(running, advance, scanner.read)),
            spikes.address.eq(Mux(running, order.address, scanner.address)),
            spikes.odd_address.eq(Mux(running, order.address, scanner.odd_address)),
            self.o.valid.eq(offered),
            self.o.payload.eq(Mux(odd, spikes.odd, spikes.even)),
            done.eq(offered & self.o.ready & ended),
        ]
        with m.If(begin):
            m.d.sync += [running.eq(1), index.eq(0), ended.eq(0)]
        with m.Elif(running & advance):
            m.d.sync += [
                offered.eq(~ended),
                odd.eq(order.odd),
                index.eq(index + 1),
                ended.eq(ended | (index == send.last_word)),
            ]
            with m.If(ended):
                m.d.sync += running.eq(0)
        return begin, done

    def _tap(self, m: Module, number: Signal, adds: Value) -> None:
        """Spikes leave the sweeper some cycles before the potentials that are kept."""
        potentials = self._potentials
        spikes, valid = potentials.spikes, potentials.fired
        for n in range(Sweeper.kept_after(self._program)):
            later, there = Signal.like(spikes, name=f"spikes{n}"), Signal(name=f"fired{n}")
            m.d.sync += [later.eq(spikes), there.eq(valid)]
            spikes, valid = later, there
        m.d.comb += [
            self.tap_valid.eq(valid),
            self.tap_spikes.eq(spikes),
            self.tap_potentials.eq(potentials.potentials),
            self.tap_operation.eq(number),
            self.tap_update.eq(adds),
        ]
