"""Step sum: the coefficients of all time steps leave as one vector, added up."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.stream.payloads import coefficients, transfer

__all__ = ["StepSum"]


class StepSum(wiring.Component):
    """Adds the words of a step to those of the steps before; those of the last step leave as sums.
    A readout that receives them plays an image's spikes once, and not step by step.

    Cycle law: words are taken one per cycle while no sum waits at the output, or in the cycle in
    which it leaves. A sum is offered `LATENCY` cycles after its last word was taken.

    Parameters
    ----------
    words, length
        Words of a step, coefficients of a word.
    planes, signed, out_planes
        Format of the coefficients, and bits of a sum's magnitude.
    steps
        Two or more.

    Members
    -------
    i : In(stream of coefficients(length, planes, signed))
    o : Out(stream of coefficients(length, out_planes, signed))
    """

    LATENCY = 1

    i: stream.Interface
    o: stream.Interface

    def __init__(
        self, *, words: int, length: int, planes: int, signed: bool, out_planes: int, steps: int
    ) -> None:
        self._words, self._length, self._steps = words, length, steps
        self._signed, self._planes = signed, out_planes
        super().__init__(
            {
                "i": In(stream.Signature(coefficients(length, planes, signed))),
                "o": Out(stream.Signature(coefficients(length, out_planes, signed))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        sums = data.ArrayLayout(signed(1 + self._planes), self._length)
        now, offered = Signal(sums, reset_less=True), Signal()
        before: Value = now.as_value()
        word, step = Signal(range(self._words)), Signal(range(self._steps))
        last_word, last_step = word == self._words - 1, step == self._steps - 1
        next_word = Mux(last_word, 0, word + 1)
        taken = transfer(self.i)
        m.d.comb += [self.i.ready.eq(~offered | self.o.ready), self.o.valid.eq(offered)]
        with m.If(self.o.ready):
            m.d.sync += offered.eq(0)
        with m.If(taken):
            m.d.sync += [word.eq(next_word), offered.eq(last_step)]
            with m.If(last_word):
                m.d.sync += step.eq(Mux(last_step, 0, step + 1))

        next_sum = Signal(sums)
        if self._words > 1:
            m.submodules.store = store = Memory(shape=sums, depth=self._words, init=[])
            # Written a cycle late, from `now`. Of two words, that is when it is read again.
            write = store.write_port()
            read = store.read_port(transparent_for=[write] if self._words == 2 else [])
            m.d.sync += [write.en.eq(taken), write.addr.eq(word)]
            m.d.comb += [
                write.data.eq(now),
                # Read ahead, so that the sum so far is there when the word's turn comes; of the
                # first word there is none. The address does not wait for the receiver's `ready`.
                read.addr.eq(next_word),
                read.en.eq(taken),
            ]
            before = read.data.as_value()
        so_far = data.View(sums, before)
        with m.If(taken):
            m.d.sync += now.eq(next_sum)
        for k in range(self._length):
            coefficient = self.i.payload[k]
            size: Value = coefficient.magnitude
            below: Value = Const(0)
            if self._signed:
                size, below = Mux(coefficient.negative, -size, size), now[k] < 0
                m.d.comb += self.o.payload[k].negative.eq(below)
            m.d.comb += [
                next_sum[k].eq(Mux(step == 0, 0, so_far[k]) + size),
                self.o.payload[k].magnitude.eq(Mux(below, -now[k], now[k])),
            ]
        return m
