"""Scanner: plays the spikes of a map, word by word, as events that know where they come from."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.layer.encoder import ChunkEncoder
from hw.program.operation import Chain, operation, spike_event
from hw.program.program import Program, Scan
from hw.stream.payloads import Kind, coefficients, transfer

__all__ = ["Scanner"]


class Scanner(wiring.Component):
    """Reads a map's words in order, each plane of a word in turn, and sends an event per set bit,
    lowest lane first; over an identity edge, one event per word and plane with any bit set.

        address -> memory -> plane of the word -> ChunkEncoder -> events
                                             `--- identity ------'

    Words with nothing in a plane are passed over, a cycle each, while events go on.

    Cycle law: the first plane is looked at `LATENCY` cycles after `start`. One with nothing passes
    at once; one with events when the encoder takes it, `max(looked at, the encoder's last event of
    the one before sent)`; its first event is offered `ChunkEncoder.LATENCY` cycles later, the
    others follow. Over an identity edge it is offered at once, and passes when it is taken. The
    next plane is looked at a cycle after one has passed.

    Parameters
    ----------
    program
        Sizes.

    Members
    -------
    word : In
        The operation, a `Scan`; stable from `start` until not `busy`.
    start : In(1)
        Begin.
    busy : Out(1)
        Not all events have left; from the cycle after `start`.
    address, read : Out
        Of the memories; what is read is on `spikes` or `pixels` in the next cycle, and stays until
        there is `read` again.
    spikes, pixels, held : In
        A word of layer's spikes; of an image; of what is held besides, where the network learns.
    o : Out(stream of spike_event(program))
    """

    LATENCY = 3

    word: Signal
    start: Signal
    busy: Signal
    address: Signal
    read: Signal
    spikes: data.View
    pixels: data.View
    held: data.View
    o: stream.Interface

    def __init__(self, program: Program) -> None:
        self._program = p = program
        held = 0 if p.learning is None else p.learning.count_words
        self._address_bits = max(p.spike_words - 1, p.input_words - 1, held - 1, 1).bit_length()
        members = {
            "word": In(p.code.bits),
            "start": In(1),
            "busy": Out(1),
            "address": Out(self._address_bits),
            "read": Out(1),
            "spikes": In(coefficients(p.lanes, p.spike_planes, p.spike_sign)),
            "pixels": In(coefficients(p.lanes, p.input_bits, p.input_sign)),
            "o": Out(stream.Signature(spike_event(p))),
        }
        if p.learning is not None:
            members["held"] = In(coefficients(p.lanes, p.learning.held_planes, True))
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        scan = operation(p, self.word, Scan)
        place = data.StructLayout(
            {
                "row": unsigned(p.row_bits),
                "column": unsigned(p.word_column_bits),
                "plane": unsigned((p.planes - 1).bit_length()),
            }
        )
        running, here = Signal(), Signal(place)
        seen = Signal()  # the word's bits can go on, or there are none
        stages = Chain(m, "word", 2, running, seen)
        advance = stages.moves[0]

        # Address: planes innermost, then the words of a row, then rows.
        last_plane, last_column = here.plane == scan.last_plane, here.column == scan.last_column
        with m.If(self.start):
            m.d.sync += [running.eq(1), self.address.eq(scan.address), here.eq(0)]
        with m.Elif(advance & running):
            m.d.sync += here.plane.eq(Mux(last_plane, 0, here.plane + 1))
            with m.If(last_plane):
                m.d.sync += [
                    self.address.eq(self.address + 1),
                    here.column.eq(Mux(last_column, 0, here.column + 1)),
                ]
                with m.If(last_column):
                    m.d.sync += [here.row.eq(here.row + 1), running.eq(here.row != scan.last_row)]
        m.d.comb += self.read.eq(advance)

        # The word, then the bits of its plane.
        fetched, shown = Signal(place, reset_less=True), Signal(place, reset_less=True)
        active, negative = Signal(p.lanes, reset_less=True), Signal(p.lanes, reset_less=True)
        anything = Signal(reset_less=True)
        with m.If(advance):
            m.d.sync += fetched.eq(here)
        # What is played is needed in every lane; the operation stands for two cycles before.
        late = Signal(p.code.bits)
        m.d.sync += late.eq(self.word)
        settled = operation(p, late, Scan)
        bits, signs = self._bits(settled, fetched.plane)
        with m.If(stages.moves[1]):
            m.d.sync += [shown.eq(fetched), active.eq(bits), negative.eq(signs)]
            m.d.sync += anything.eq(bits.any())
        some = Signal()
        m.d.comb += some.eq(stages.valids[1] & anything)

        m.submodules.encoder = encoder = ChunkEncoder(1 << place.size, p.lanes)
        chunk, event = encoder.i, encoder.o.payload
        m.d.comb += [
            chunk.payload.active.eq(active),
            chunk.payload.negative.eq(negative),
            chunk.payload.word.eq(shown),
            chunk.payload.end.eq(Kind.SPIKE),
        ]
        at: Any = place(event.index[p.lane_bits :]) if place.size else None
        one = self.o.payload
        identity = scan.identity if p.has_identities else Const(0)
        m.d.comb += [
            chunk.valid.eq(some & ~identity),
            seen.eq(~some | Mux(identity, self.o.ready, chunk.ready)),
            self.o.valid.eq(Mux(identity, some, encoder.o.valid)),
            encoder.o.ready.eq(self.o.ready & ~identity),
            one.lane.eq(Mux(identity, 0, event.index[: p.lane_bits])),
            one.negative.eq(event.negative & ~identity),
            one.active.eq(Mux(identity, active, 0)),
            one.negatives.eq(Mux(identity, negative, 0)),
            self.busy.eq(running | stages.any_valid | encoder.busy),
        ]
        if place.size:
            for name in ("row", "column", "plane"):
                m.d.comb += one[name].eq(Mux(identity, shown[name], at[name]))
        if p.learning is not None:
            self._values(m, settled, p.learning.value_bits, stages.moves[1], encoder, event)
        return m

    def _values(
        self, m: Module, scan, bits: int, moves: Value, encoder: ChunkEncoder, event
    ) -> None:
        """The magnitude of the event's whole coefficient: a word's values pass beside the encoder,
        from register to register as its bits do."""
        lanes = self._program.lanes
        whole = Signal(data.ArrayLayout(bits, lanes))
        m.d.comb += [
            whole[k].eq(Mux(scan.held != 0, self.held[k].magnitude, self.pixels[k].magnitude))
            for k in range(lanes)
        ]
        moved = (moves, transfer(encoder.i), ~encoder.o.valid | encoder.o.ready)
        values = whole
        for n, move in enumerate(moved):
            register = Signal.like(whole, name=f"values{n}", reset_less=True)
            with m.If(move):
                m.d.sync += register.eq(values)
            values = register
        m.d.comb += self.o.payload.value.eq(values[event.index[: self._program.lane_bits]])

    def _bits(self, scan, plane: Value) -> tuple[Value, Value]:
        """The set bits of a plane, and their signs."""
        spikes, pixels = self.spikes, self.pixels
        lanes = range(self._program.lanes)
        fired = Cat(spikes[k].magnitude.bit_select(plane, 1) for k in lanes)
        lit = Cat(pixels[k].magnitude.bit_select(plane, 1) for k in lanes)
        sides: list[Value] = [
            Cat(source[k].negative for k in lanes) if has_sign else Const(0, len(lanes))
            for source, has_sign in (
                (spikes, self._program.spike_sign),
                (pixels, self._program.input_sign),
            )
        ]
        bits, signs = Mux(scan.from_input, lit, fired), Mux(scan.from_input, sides[1], sides[0])
        if self._program.learning is None:
            return bits, signs
        # An update plays whole coefficients, all planes of them at once.
        some = Cat(
            Mux(scan.held != 0, self.held[k].magnitude, pixels[k].magnitude).any() for k in lanes
        )
        held = Cat(self.held[k].magnitude.bit_select(plane, 1) for k in lanes)
        bits = Mux(scan.update, some, Mux(scan.held != 0, held, bits))
        return bits, Mux(scan.held != 0, Cat(self.held[k].negative for k in lanes), signs)
