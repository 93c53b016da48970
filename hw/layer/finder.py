"""Nonzero finder: which words of a vector have a bit set, plane by plane.

A vector is mostly zeros, so a queue must not walk through all of its words. One flag per word and
plane is kept beside the memory; the flagged words are listed one per cycle, and words without a bit
cost nothing. The number of flags is counted while words are written, so that the last word of a
plane is known before it is listed.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.layer.encoder import one_hot_index
from hw.stream.payloads import Kind

__all__ = ["WordFinder", "visit_layout"]


def visit_layout(words: int, planes: int) -> data.StructLayout:
    """A word to fetch: its index, buffer and plane, and what ends with it (`SPIKE`: nothing)."""
    return data.StructLayout(
        {
            "word": unsigned((words - 1).bit_length()),
            "buffer": unsigned(1),
            "plane": unsigned((planes - 1).bit_length()),
            "end": Kind,
        }
    )


class WordFinder(wiring.Component):
    """Lists the words to visit of each vector, `replays` times over.

    A vector is listed plane by plane, from the top one down; with `repeat`, plane p 2^p times.
    Keeps one flag per plane and word, and their number per plane, for each of `buffers` vectors, in
    turn. A plane is scanned lowest word first, a word per cycle, over the flagged words only;
    a plane without any is one visit all the same, because its end is an event too.

    Latency 3: from the cycle in which `last` is written to the first visit offered.

    Parameters
    ----------
    words, planes, replays, buffers
        Words per vector, bit planes per coefficient, times each vector is listed; vectors held.
    repeat
        List plane p 2^p times.

    Members
    -------
    en, last, some : In
        A word is being written (`en`), the vector's last one (`last`); bit p of `some` is set
        where a coefficient of the word has bit p. A vector may only be written over one that has
        been listed: the queue sees to that.
    o : Out(stream of visit_layout(words, planes))
    """

    LATENCY = 3

    en: Signal
    last: Signal
    some: Signal
    o: stream.Interface

    def __init__(
        self, *, words: int, planes: int, replays: int, buffers: int = 2, repeat: bool = False
    ) -> None:
        self._repeat = repeat
        self._words, self._planes, self._replays = words, planes, replays
        self._buffers = buffers
        super().__init__(
            {
                "en": In(1),
                "last": In(1),
                "some": In(planes),
                "o": Out(stream.Signature(visit_layout(words, planes))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        top, every_plane = self._planes - 1, range(self._planes)
        sums = range(self._words + 1)
        # No reset where a word or a vector is written before it is read: the reset has far to go.
        flags = [
            [Signal(self._words, name=f"flags{b}_{p}", reset_less=True) for p in every_plane]
            for b in range(self._buffers)
        ]
        counts = [
            [Signal(sums, name=f"count{b}_{p}", reset_less=True) for p in every_plane]
            for b in range(self._buffers)
        ]
        fresh = [Signal(name=f"fresh{b}") for b in range(self._buffers)]  # written, not yet listed

        # Writing: words come in order, so flags are shift registers; word 0 ends in bit 0.
        target, start = Signal(), Signal(init=1)
        with m.If(self.en):
            m.d.sync += start.eq(self.last)
            if self._buffers == 2:
                m.d.sync += target.eq(target ^ self.last)
            for b in range(self._buffers):
                with m.If(target == b):
                    for p, (flag, count) in enumerate(zip(flags[b], counts[b], strict=True)):
                        m.d.sync += [
                            flag.eq(Cat(flag, self.some[p])[1:]),
                            count.eq(Mux(start, 0, count) + self.some[p]),
                        ]
                    m.d.sync += fresh[b].eq(self.last)

        # Listing. `pending` has the words still to visit in this plane. One subtraction separates
        # them, by a carry chain in place of a priority tree: `pending & ~less_one` is the lowest,
        # `pending & less_one` are the others. That the plane is done with this visit
        # (`plane_done`) is known from the number left, a cycle ahead.
        active, buffer = Signal(), Signal()
        pending = Signal(self._words, reset_less=True)
        left = Signal(sums, reset_less=True)
        plane_done = Signal(reset_less=True)
        # The pass; the last is 0. Passes 2^(p+1) - 2 .. 2^p - 1 are of plane p when repeated.
        first_turn = (2 << top) - 2 if self._repeat else top
        turn = Signal(range(first_turn + 1), init=first_turn)
        replay = Signal(range(self._replays))
        less_one = Signal(self._words)
        ready, vector_done = Signal(), Signal()
        m.d.comb += [
            ready.eq(~self.o.valid | self.o.ready),
            less_one.eq(pending - 1),
            vector_done.eq(plane_done & (turn == 0) & (replay == self._replays - 1)),
        ]

        # Where to go when a plane is done: the plane below, the same vector again, or the other
        # buffer; and while idle, the buffer that is written next. Registers, as they choose among
        # the flags of all words.
        next_buffer = Signal()
        next_turn = Signal.like(turn)
        next_plane = self._plane(next_turn)
        next_flags = Array(Array(planes) for planes in flags)[next_buffer][next_plane]
        next_count = Array(Array(planes) for planes in counts)[next_buffer][next_plane]
        # Compared before the choice, not after it: the counts have been stable for many cycles.
        few = Array(Array(count <= 1 for count in planes) for planes in counts)
        next_few = few[next_buffer][next_plane]
        # With one buffer, the next vector to look at is the one just listed, whose `fresh` is
        # cleared in this same cycle.
        begins, listed = ~active | vector_done, active & (self._buffers == 1)
        goes_on = ~begins | (Array(fresh)[next_buffer] & ~listed)
        next_replay = Signal.like(replay)
        m.d.comb += next_replay.eq(replay + (active & (turn == 0)))
        with m.If(active & vector_done):
            m.d.comb += next_replay.eq(0)

        with m.If(active & ready & ~plane_done):
            # `left` counts this visit: at 2, the next one is the last.
            m.d.sync += [
                pending.eq(pending & less_one),
                left.eq(left - 1),
                plane_done.eq(left == 2),
            ]
        with m.Elif(~active | ready):
            m.d.sync += [
                pending.eq(next_flags),
                left.eq(next_count),
                plane_done.eq(next_few),
                turn.eq(next_turn),
                buffer.eq(next_buffer),
                replay.eq(next_replay),
                active.eq(goes_on),
            ]
            with m.If(goes_on):
                leaves = (next_turn == 0) & (next_replay == self._replays - 1)
                m.d.sync += [
                    next_turn.eq(Mux(next_turn == 0, first_turn, next_turn - 1)),
                    next_buffer.eq(next_buffer ^ (leaves & (self._buffers == 2))),
                ]
            with m.If(active & vector_done):
                for b in range(self._buffers):
                    with m.If(buffer == b):
                        m.d.sync += fresh[b].eq(0)

        # One-hot. Of an empty plane, `pending - 1` is all ones and nothing is found: the visit
        # reads word 0, whose plane has no bits, and brings the end alone.
        found = Signal(self._words, reset_less=True)
        m.d.comb += self.o.payload.word.eq(one_hot_index(found))
        with m.If(ready):
            m.d.sync += [
                self.o.valid.eq(active),
                found.eq(pending & ~less_one),
                self.o.payload.buffer.eq(buffer),
                self.o.payload.plane.eq(self._plane(turn)),
            ]
            with m.If(~plane_done):
                m.d.sync += self.o.payload.end.eq(Kind.SPIKE)
            with m.Elif(turn == 0):
                m.d.sync += self.o.payload.end.eq(Kind.STEP)
            with m.Else():
                m.d.sync += self.o.payload.end.eq(Kind.PLANE)
        return m

    def _plane(self, turn: Value) -> Value:
        """The plane of a pass."""
        if not self._repeat:
            return turn
        value = Const(0, range(self._planes))
        for p in range(1, self._planes):
            value = Mux(turn >= (1 << p) - 1, p, value)
        return value
