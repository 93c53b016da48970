"""Chunk encoder: a handful of spikes becomes a run of events, one per cycle."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.stream.payloads import Kind, event

__all__ = ["ChunkEncoder", "chunk_layout", "one_hot_index"]


def chunk_layout(words: int, chunk: int) -> data.StructLayout:
    """One bit plane of one word: which coefficients are set, their signs, where they sit, and
    whether this chunk ends a plane or a step (`SPIKE`: neither)."""
    return data.StructLayout(
        {
            "active": unsigned(chunk),
            "negative": unsigned(chunk),
            "word": unsigned((words - 1).bit_length()),
            "end": Kind,
        }
    )


def one_hot_index(one_hot):
    """Index of the bit set in `one_hot`, as an OR of constants (no priority): log2 deep."""
    width = (len(one_hot) - 1).bit_length()
    return Cat(Cat(bit for n, bit in enumerate(one_hot) if n >> k & 1).any() for k in range(width))


def some_and_several(bits: Sequence[Value]) -> tuple[Value, Value]:
    """Whether any bit is set, and whether more than one."""
    some, several, _ = some_several_many(bits)
    return some, several


def some_several_many(bits: Sequence[Value]) -> tuple[Value, Value, Value]:
    """Whether any bit is set, more than one, and more than two: a tree of four-input functions,
    quicker than to see what a subtraction leaves."""
    if len(bits) == 1:
        return bits[0], Const(0), Const(0)
    half = len(bits) // 2
    (some_low, several_low, many_low), (some_high, several_high, many_high) = (
        some_several_many(bits[:half]),
        some_several_many(bits[half:]),
    )
    return (
        some_low | some_high,
        several_low | several_high | (some_low & some_high),
        many_low | many_high | (some_low & several_high) | (several_low & some_high),
    )


class ChunkEncoder(wiring.Component):
    """Sends a SPIKE event for each active bit, lowest first, then the chunk's ending, if any.

    Cycle law: a chunk with k active bits takes k cycles, one more if it ends a plane or a step;
    chunks follow each other without a gap. Latency 2 (chunk hand-shake to first event offered).

    Parameters
    ----------
    words, chunk
        Words per vector; bits per chunk (a power of two).
    ahead
        See a cycle ahead that an event is the chunk's last: `i.ready` then does not wait for it, at
        the cost of a second tree. Cycles stay the same.

    Members
    -------
    i : In(stream of chunk_layout(words, chunk))
        A chunk without active bits must have an end.
    o : Out(stream of event(words * chunk))
        `index` is word * chunk + bit.

    Attributes
    ----------
    busy
        Not a port: something was taken that has not left.
    """

    LATENCY = 2

    i: stream.Interface
    o: stream.Interface

    def __init__(self, words: int, chunk: int, *, ahead: bool = False) -> None:
        self._layout = chunk_layout(words, chunk)
        self._chunk, self._ahead = chunk, ahead
        self.busy = Signal()
        super().__init__(
            {
                "i": In(stream.Signature(self._layout)),
                "o": Out(stream.Signature(event(words * chunk))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        held = Signal()
        current = Signal(self._layout, reset_less=True)
        active = current.active
        m.d.comb += self.busy.eq(held | self.o.valid)

        # The lowest set bit and the others, by one subtraction: a carry chain, not a priority tree.
        less_one = Signal(self._chunk)
        lowest = Signal(self._chunk)
        rest = Signal(self._chunk)
        m.d.comb += [
            less_one.eq(active - 1),
            lowest.eq(active & ~less_one),
            rest.eq(active & less_one),
        ]

        room = Signal()  # the output register can take an event
        ends = Signal()  # what is sent now is the chunk's last event
        some, several, many = some_several_many(list(active))
        m.d.comb += room.eq(~self.o.valid | self.o.ready)

        def is_last(chunk, some: Value, several: Value) -> Value:
            """Whether a chunk's next event is its last, by whether it has any bits, and several."""
            return Mux(chunk.end == Kind.SPIKE, ~several, ~some)

        if self._ahead:
            with m.If(room):
                m.d.sync += ends.eq(is_last(current, several, many))  # of what is then left
            with m.If(self.i.ready):
                arriving = some_and_several(list(self.i.payload.active))
                m.d.sync += ends.eq(is_last(self.i.payload, *arriving))
        else:
            m.d.comb += ends.eq(is_last(current, some, several))
        m.d.comb += self.i.ready.eq(~held | (room & ends))
        with m.If(room):
            m.d.sync += self.o.valid.eq(held)
            with m.If(some):
                m.d.sync += self.o.payload.kind.eq(Kind.SPIKE)
            with m.Else():
                m.d.sync += self.o.payload.kind.eq(current.end)
            m.d.sync += [
                self.o.payload.negative.eq((current.negative & lowest).any()),
                self.o.payload.index.eq(Cat(one_hot_index(lowest), current.word)),
                active.eq(rest),
            ]
        with m.If(self.i.ready):
            m.d.sync += [held.eq(self.i.valid), current.eq(self.i.payload)]
        return m
