"""Scanner: plays the coefficients of a map, word by word, as events that know their place."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.layer.encoder import ChunkEncoder, one_hot_index, some_and_several
from hw.program.code import Scan
from hw.program.operation import operation, spike_event
from hw.program.program import Program
from hw.stream.payloads import Kind, coefficients, transfer

__all__ = ["Scanner"]


class Scanner(wiring.Component):
    """Reads a map's words in order, and sends an event per set bit of what they come to, plane by
    plane from the lowest, lowest lane first; over an identity edge, one event per word and plane
    with any bit set.

        address -> memory -> register -> value -> word -> plane -> ChunkEncoder -> events
                                                            `--- identity -----'

    *Value* is what a scan plays: a sum of several words, with signs (`Scan.even`): the spikes of a
    step less those of the step before, or all steps together. A program of which no scan does so
    has neither it nor the register in front of it. A word is passed over in the cycle in which it
    is seen to be empty, and of others only planes with something are played.

    Through a window (`Program.window`) the groups of channels at a position follow each other,
    then positions, then rows; and where a word has nothing, an event says so (`null`): a word takes
    as many cycles as it has events, or one.

    Cycle law: the first plane is shown to the encoder `latency` cycles after `start`, if there is
    something in it; two cycles before, all that its word is made of has been read, each of
    `last_gather` + 1 words in a cycle. It goes on to be the word in the next cycle, or as soon as
    that has left: after a cycle, if it is empty, else with its last plane. Planes go on one per
    cycle, the first a cycle after the word came, as the encoder takes them; it takes one as it
    sends the last event of the one before, and offers a plane's first event `ChunkEncoder.LATENCY`
    cycles after it took it. Over an identity edge a plane is an event.

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
    address, odd_address, read : Out
        Of the memories' banks; what is read is on the ports below in the next cycle, and stays
        until there is `read` again.
    spikes, odd_spikes, pixels, odd_pixels, held : In
        A word of layer's spikes, of each bank; of an image; of what is held besides, where the
        network learns.
    o : Out(stream of spike_event(program))
    """

    word: Signal
    start: Signal
    busy: Signal
    address: Signal
    odd_address: Signal
    read: Signal
    spikes: data.View
    odd_spikes: data.View
    pixels: data.View
    odd_pixels: data.View
    held: data.View
    o: stream.Interface

    def __init__(self, program: Program) -> None:
        self._program = p = program
        held = 0 if p.learning is None else p.learning.count_words
        words = max(p.spike_words - 1, p.image_words // 2 - 1, held - 1, 1)
        fired = coefficients(p.word, p.spike_planes, p.spike_sign)
        lit = coefficients(p.pixels, p.input_bits, p.input_sign)
        members = {
            "word": In(p.code.bits),
            "start": In(1),
            "busy": Out(1),
            "address": Out(words.bit_length()),
            "odd_address": Out(words.bit_length()),
            "read": Out(1),
            "spikes": In(fired),
            "odd_spikes": In(fired),
            "pixels": In(lit),
            "odd_pixels": In(lit),
            "o": Out(stream.Signature(spike_event(p))),
        }
        self._planes = p.planes
        if p.learning is not None:
            members["held"] = In(coefficients(p.lanes, p.learning.held_planes, True))
            self._planes = max(p.planes, p.learning.value_bits)
        super().__init__(members)

    @staticmethod
    def combines(program: Program) -> bool:
        """Whether any scan plays more than a word as it is, or a part of one."""
        scans = (op for op in program.operations if isinstance(op, Scan))
        return program.window is not None or any(op.combines for op in scans)

    @staticmethod
    def latency(program: Program) -> int:
        """Cycles from `start` to the first plane's being shown to the encoder."""
        return 6 if Scanner.combines(program) else 4

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        scan = operation(p, self.word, Scan)
        # What is played is needed in every lane; the operation stands for two cycles before.
        late = Signal(p.code.bits)
        m.d.sync += late.eq(self.word)
        settled = operation(p, late, Scan)
        places = {"row": unsigned(p.row_bits), "column": unsigned(p.word_column_bits)}
        steps: dict[str, Any] = {"first": 1, "last": 1, "leave": 1}
        if p.window is not None:
            places["group"] = unsigned(p.group_bits)
            steps["part"] = range(p.parts)
        where = data.StructLayout(places)
        step = data.StructLayout({"place": where, **steps})
        running, here = Signal(), Signal(step)
        combines = self.combines(p)
        names = ("fetched", *(("raw", "value") if combines else ()), "word", "shown")
        valids = {name: Signal(name=name) for name in names}
        moves = {name: Signal(name=f"{name}_moves") for name in names}
        if p.window is None:
            self._addresses(m, scan, running, here, moves["fetched"])
        else:
            self._positions(m, scan, running, here, moves["fetched"])

        # The memories' output; where words are added up, a register behind it, and what they come
        # to.
        fetched = Signal(step, reset_less=True)
        ports = ("spikes", "odd_spikes", "pixels", "odd_pixels", "held")
        sources: dict[str, Any] = {
            name: getattr(self, name) for name in ports if name in self.signature.members
        }
        if p.window is not None:
            sources = {n: self._part(m, n, port, fetched.part) for n, port in sources.items()}
        layout = coefficients(p.lanes, self._planes, True)
        value = Signal(layout, reset_less=True)
        with m.If(moves["fetched"]):
            m.d.sync += [fetched.eq(here), valids["fetched"].eq(running)]
        if combines:
            raw, value_place = Signal(step, reset_less=True), Signal(where, reset_less=True)
            with m.If(moves["raw"]):
                m.d.sync += [raw.eq(fetched), valids["raw"].eq(valids["fetched"])]
                for name, port in sources.items():
                    sources[name] = Signal(port.shape(), name=f"raw_{name}", reset_less=True)
                    m.d.sync += sources[name].eq(port)
            with m.If(moves["value"]):
                m.d.sync += [
                    value_place.eq(raw.place),
                    valids["value"].eq(valids["raw"] & raw.last),
                ]
            self._value(m, settled, raw, valids["raw"] & moves["value"], sources, value)
        else:
            value_place = fetched.place
            self._value(m, settled, fetched, None, sources, value)

        # A word, and which of its planes are still to be played.
        word, word_place = Signal(layout, reset_less=True), Signal(where, reset_less=True)
        left, null = Signal(p.planes, reset_less=True), Signal(reset_less=True)
        lowest, some, several = Signal(p.planes), Signal(), Signal()
        m.d.comb += [
            lowest.eq(left & -left),
            Cat(some, several).eq(Cat(*some_and_several(list(left)))),
        ]
        with m.If(moves["shown"]):
            m.d.sync += left.eq(left ^ lowest)
        update = settled.update if p.learning is not None else Const(0)
        planes: Any = Cat(
            Cat(value[k].magnitude[n] for k in range(p.lanes)).any() for n in range(p.planes)
        )
        if p.window is not None:
            # A word with nothing is an event too.
            none = Signal()
            m.d.comb += none.eq(~planes.any())
            with m.If(moves["word"]):
                m.d.sync += null.eq(none)
            planes = planes | none
        with m.If(moves["word"]):
            m.d.sync += [
                word.eq(value),
                word_place.eq(value_place),
                valids["word"].eq(valids[names[-3]]),
                left.eq(Mux(update, Cat(value[k].magnitude for k in range(p.lanes)).any(), planes)),
            ]

        # A plane.
        more: dict[str, Any] = {"plane": unsigned((p.planes - 1).bit_length())}
        if p.window is not None:
            more["null"] = unsigned(1)
        place = data.StructLayout({**where.members, **more})
        shown = Signal(place, reset_less=True)
        active, negative = Signal(p.lanes, reset_less=True), Signal(p.lanes, reset_less=True)
        plays, seen = Signal(), Signal()
        m.d.comb += plays.eq(valids["word"] & some)
        with m.If(moves["shown"]):
            m.d.sync += [
                valids["shown"].eq(plays),
                *(shown[name].eq(word_place[name]) for name in places),
                *([shown.null.eq(null)] if p.window is not None else []),
                shown.plane.eq(one_hot_index(lowest)),
                negative.eq(Cat(word[k].negative for k in range(p.lanes))),
                active.eq(
                    Cat(
                        Mux(
                            update,
                            word[k].magnitude.any(),
                            (word[k].magnitude[: p.planes] & lowest).any(),
                        )
                        for k in range(p.lanes)
                    )
                    | null
                ),
            ]
        m.d.comb += [
            moves["shown"].eq(~valids["shown"] | seen),
            moves["word"].eq(~plays | (~several & moves["shown"])),
            *(moves[n].eq(~valids[n] | moves[after]) for n, after in pairwise(names[:-1])),
        ]

        m.submodules.encoder = encoder = ChunkEncoder(1 << place.size, p.lanes, ahead=True)
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
            chunk.valid.eq(valids["shown"] & ~identity),
            seen.eq(Mux(identity, self.o.ready, chunk.ready)),
            self.o.valid.eq(Mux(identity, valids["shown"], encoder.o.valid)),
            encoder.o.ready.eq(self.o.ready & ~identity),
            one.lane.eq(Mux(identity, 0, event.index[: p.lane_bits])),
            one.negative.eq(event.negative & ~identity),
            one.active.eq(Mux(identity, active, 0)),
            one.negatives.eq(Mux(identity, negative, 0)),
            self.busy.eq(running | Cat(valids.values()).any() | encoder.busy),
        ]
        if place.size:
            for name in place.members:
                m.d.comb += one[name].eq(Mux(identity, shown[name], at[name]))
        if p.learning is not None:
            values = Cat(word[k].magnitude[: p.learning.value_bits] for k in range(p.lanes))
            self._values(m, values, p.learning.value_bits, moves["shown"], encoder, event)
        return m

    def _addresses(self, m: Module, scan, running: Signal, here: Any, advance: Value) -> None:
        """Words that are added up innermost, then those of a row, then rows."""
        gathers = not isinstance(scan.last_gather, Const) or bool(scan.last_gather.value)
        gather = Signal(max(1, len(scan.last_gather))) if gathers else Const(0)
        last_column = here.place.column == scan.last_column
        m.d.comb += [
            self.read.eq(advance),
            here.first.eq(gather == 0),
            here.last.eq(gather == scan.last_gather),
            here.leave.eq(here.last & scan.leave),
        ]
        for address, start, name in (
            (self.address, scan.address, "even"),
            (self.odd_address, scan.odd_address, "odd"),
        ):
            word = Signal.like(address, name=f"{name}_word") if gathers else address
            with m.If(self.start):
                m.d.sync += [word.eq(start), address.eq(start)]
            with m.Elif(advance & running):
                if gathers:
                    m.d.sync += address.eq(address + scan.gather_words)
                with m.If(here.last):
                    m.d.sync += [word.eq(word + 1), address.eq(word + 1)]
        with m.If(self.start):
            m.d.sync += [running.eq(1), here.place.eq(0)]
            if gathers:
                m.d.sync += gather.eq(0)
        with m.Elif(advance & running):
            if gathers:
                m.d.sync += gather.eq(Mux(here.last, 0, gather + 1))
            with m.If(here.last):
                m.d.sync += here.place.column.eq(Mux(last_column, 0, here.place.column + 1))
                with m.If(last_column):
                    m.d.sync += [
                        here.place.row.eq(here.place.row + 1),
                        running.eq(here.place.row != scan.last_row),
                    ]

    def _positions(self, m: Module, scan, running: Signal, here: Any, advance: Value) -> None:
        """Groups of channels innermost, then the positions of a row, then rows. A word has several
        groups and rows, its parts."""
        p = self._program
        at = here.place
        sets, part = Signal(range(p.parts), name="set"), Signal(range(p.parts), name="part")
        goes = self.start | (advance & running)
        last_group = at.group == scan.last_source_group
        last_column = at.column == scan.last_column
        last_set, last_part = sets == scan.last_set, part == scan.last_part
        m.d.comb += [
            self.read.eq(advance),
            here.first.eq(1),
            here.last.eq(1),
            here.part.eq((sets << scan.part_bits) + part),
        ]
        for address, start, name in (
            (self.address, scan.address, "even"),
            (self.odd_address, scan.odd_address, "odd"),
        ):
            # Where the position begins, and the row.
            position, row = (
                Signal.like(address, name=f"{name}_{what}") for what in ("position", "row")
            )
            with m.If(self.start):
                m.d.sync += [one.eq(start) for one in (row, position, address)]
            with m.Elif(goes):
                following = row + Mux(last_part, scan.row_words, 0)
                with m.If(~last_group):
                    m.d.sync += address.eq(address + Mux(last_set, scan.set_words, 0))
                with m.Elif(~last_column):
                    m.d.sync += [one.eq(position + 1) for one in (position, address)]
                with m.Else():
                    m.d.sync += [one.eq(following) for one in (row, position, address)]
        with m.If(self.start):
            m.d.sync += [running.eq(1), at.eq(0), sets.eq(scan.first_set), part.eq(0)]
        with m.Elif(goes):
            with m.If(~last_group):
                m.d.sync += [at.group.eq(at.group + 1), sets.eq(Mux(last_set, 0, sets + 1))]
            with m.Else():
                m.d.sync += [
                    at.group.eq(0),
                    sets.eq(scan.first_set),
                    at.column.eq(Mux(last_column, 0, at.column + 1)),
                ]
                with m.If(last_column):
                    m.d.sync += [
                        part.eq(Mux(last_part, 0, part + 1)),
                        at.row.eq(at.row + 1),
                        running.eq(at.row != scan.last_row),
                    ]

    def _part(self, m: Module, name: str, word: Any, part: Value) -> Any:
        """The lanes of a part of a word; a word of a picture has one, of fewer lanes."""
        p = self._program
        length = word.shape().length
        one = Signal(data.ArrayLayout(word.shape().elem_shape, p.lanes), name=f"part_{name}")
        for k in range(p.lanes):
            if length < p.word:
                if k < length:
                    m.d.comb += one[k].eq(word[k])
            else:
                lanes = Array(Value.cast(word[n * p.lanes + k]) for n in range(p.parts))
                m.d.comb += one[k].eq(lanes[part])
        return one

    def _value(
        self, m: Module, scan, raw: Any, taken: Value | None, sources: Any, value: Any
    ) -> None:
        """`value` is, or takes where it is `taken`, what comes of the memories."""
        p = self._program
        kinds = [
            self._sum(m, scan, raw, taken, p.scans(False), p.spike_sign, sources, "spikes"),
            self._sum(m, scan, raw, taken, p.scans(True), p.input_sign, sources, "pixels"),
        ]
        spikes, pixels = kinds
        domain = m.d.comb if taken is None else m.d.sync
        with m.If(Const(1) if taken is None else taken):
            for k in range(p.lanes):
                (size, sign), (spike_size, spike_sign) = pixels[k], spikes[k]
                magnitude = Mux(scan.from_input, size, spike_size)
                negative = Mux(scan.from_input, sign, spike_sign)
                if p.learning is not None:
                    held = sources["held"][k]
                    magnitude = Mux(scan.held != 0, held.magnitude, magnitude)
                    negative = Mux(scan.held != 0, held.negative, negative)
                domain += [value[k].magnitude.eq(magnitude), value[k].negative.eq(negative)]

    def _sum(
        self,
        m: Module,
        scan,
        raw: Any,
        taken: Value | None,
        scans: Sequence[Scan],
        has_sign: bool,
        sources: Any,
        name: str,
    ) -> list[tuple[Value, Value]]:
        """Magnitude and sign, of each lane, of what the scans of a memory play."""
        lanes = range(self._program.lanes)
        even, odd = sources[name], sources[f"odd_{name}"]

        def sign(one: Any) -> Value:
            return one.negative if has_sign else Const(0)

        if not any(op.combines for op in scans):
            return [(even[k].magnitude, sign(even[k])) for k in lanes]
        gathers = max(op.last_gather for op in scans)
        found = []
        planes = 1 + max(op.last_plane for op in scans)
        for k in lanes:
            parts: list[Value] = []
            for one, factor, on in (
                (even[k], scan.even, scan.even != 0),
                (odd[k], scan.odd, (scan.odd != 0) & ~raw.leave),
            ):
                size = Mux(on, one.magnitude, 0)
                parts.append(Mux(sign(one) ^ (factor < 0), -size, size))
            total: Value = parts[0] + parts[1]
            if gathers:
                assert taken is not None
                before = Signal(signed(planes + 1), name=f"{name}_sum{k}", reset_less=True)
                total = total + Mux(raw.first, 0, before)
                with m.If(taken):
                    m.d.sync += before.eq(total)
            number = Signal(signed(planes + 1), name=f"{name}_number{k}")
            m.d.comb += number.eq(total)
            below = number < 0
            found.append((Mux(below, -number, number)[:planes], below))
        return found

    def _values(
        self, m: Module, whole: Value, bits: int, moves: Value, encoder: ChunkEncoder, event
    ) -> None:
        """The magnitude of the event's whole coefficient: a word's values pass beside the encoder,
        from register to register as its bits do."""
        moved = (moves, transfer(encoder.i), ~encoder.o.valid | encoder.o.ready)
        values = whole
        for n, move in enumerate(moved):
            register = Signal(len(whole), name=f"values{n}", reset_less=True)
            with m.If(move):
                m.d.sync += register.eq(values)
            values = register
        value = values.word_select(event.index[: self._program.lane_bits], bits)
        m.d.comb += self.o.payload.value.eq(value)
