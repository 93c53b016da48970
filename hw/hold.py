"""Drive hold: repeats the drives of a constant input at every time step (direct coding)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.stream import drives, transfer

__all__ = ["DriveHold"]


class DriveHold(wiring.Component):
    """Takes the `groups` drive words of an image and sends them `steps` times over.

    One group: the word stays where it is offered and is taken with its last repetition; there is
    no storage and no latency. More groups: a memory of one image, filled while it is empty; the
    word of group g may be replaced once it was sent for the last time.

    Cycle law, one group: `o` follows `i` in the same cycle, `i` is taken with the last `o`. More
    groups: a word is sent no earlier than `LATENCY` cycles after the last group was taken, words
    `INTERVAL` cycles apart; word g of the next image is taken in the cycle after word g was last
    sent, at the earliest.

    Parameters
    ----------
    lanes, bits, groups, steps
        Shape of the drives, words per step, repetitions.

    Members
    -------
    i : In(stream of drives(lanes, bits))
    o : Out(stream of drives(lanes, bits))
    """

    LATENCY = 2
    INTERVAL = 2

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, lanes: int, bits: int, groups: int, steps: int) -> None:
        self._shape = drives(lanes, bits)
        self._groups, self._steps = groups, steps
        super().__init__(
            {"i": In(stream.Signature(self._shape)), "o": Out(stream.Signature(self._shape))}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        step = Signal(range(self._steps))
        last_step = step == self._steps - 1
        if self._groups == 1:
            m.d.comb += [
                self.o.payload.eq(self.i.payload),
                self.o.valid.eq(self.i.valid),
                self.i.ready.eq(self.o.ready & last_step),
            ]
            with m.If(transfer(self.o)):
                m.d.sync += step.eq(Mux(last_step, 0, step + 1))
            return m

        m.submodules.store = store = Memory(shape=self._shape, depth=self._groups, init=[])
        write, read = store.write_port(), store.read_port()
        top = self._groups - 1
        # `held`: words that are stored and not yet sent for the last time. Words are written and
        # freed in order, so two counters are all the bookkeeping there is.
        written, sent = Signal(range(self._groups)), Signal(range(self._groups))
        held = Signal(range(self._groups + 1))
        complete, fetched = Signal(), Signal()
        freed = transfer(self.o) & last_step
        m.d.comb += [
            self.i.ready.eq(held != self._groups),
            write.addr.eq(written),
            write.data.eq(self.i.payload),
            write.en.eq(transfer(self.i)),
            read.addr.eq(sent),
            self.o.payload.eq(read.data),
            self.o.valid.eq(fetched),
        ]
        with m.If(transfer(self.i)):
            m.d.sync += written.eq(Mux(written == top, 0, written + 1))
        m.d.sync += held.eq(held + transfer(self.i) - freed)
        m.d.comb += read.en.eq(~fetched)
        with m.If(transfer(self.o)):
            m.d.sync += [fetched.eq(0), sent.eq(Mux(sent == top, 0, sent + 1))]
            with m.If(sent == top):
                m.d.sync += step.eq(Mux(last_step, 0, step + 1))
        with m.Elif(complete):
            m.d.sync += fetched.eq(1)
        # All words of the image are there, until the last one is sent for the last time.
        with m.If(freed & (sent == top)):
            m.d.sync += complete.eq(0)
        with m.Elif(transfer(self.i) & (written == top)):
            m.d.sync += complete.eq(1)
        return m
