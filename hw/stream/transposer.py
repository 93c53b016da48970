"""Transposer: words that come group by group leave step by step."""

from amaranth.hdl import Array, Cat, Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.stream.payloads import transfer

__all__ = ["Transposer"]


class Transposer(wiring.Component):
    """Takes the words of all time steps of each group; sends those of all groups of each step.

    A memory of two images: one is written while the other is sent.

    Cycle law: a word is taken in every cycle while there is a free image. The first word of an
    image is offered `LATENCY` cycles after its last was taken, and no earlier than `INTERVAL` after
    the last one of the image before was sent; the others `INTERVAL` apart. An image is free again
    in the cycle after its last word was sent.

    Parameters
    ----------
    shape
        Of a word.
    groups, steps, words
        Groups of a layer, time steps, words per group and step.

    Members
    -------
    i : In(stream of shape)
        Order: group, step, word.
    o : Out(stream of shape)
        Order: step, group, word.
    """

    LATENCY = 2
    INTERVAL = 2

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape: ShapeLike, *, groups: int, steps: int, words: int) -> None:
        self._shape = shape
        self._groups, self._steps, self._words = groups, steps, words
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        size = self._groups * self._steps * self._words
        address_bits = (size - 1).bit_length()
        m.submodules.store = store = Memory(shape=self._shape, depth=2 << address_bits, init=[])
        write, read = store.write_port(), store.read_port()
        full = [Signal(name=f"full{b}") for b in range(2)]

        # Write: (group, step, word) goes to address (step * groups + group) * words + word.
        target, address, home = (
            Signal(),
            Signal(range(size)),
            Signal(range(self._groups * self._words)),
        )
        word, step = Signal(range(self._words)), Signal(range(self._steps))
        taken, complete = transfer(self.i), Signal()
        last_word, last_step = word == self._words - 1, step == self._steps - 1
        last_group = home == (self._groups - 1) * self._words
        m.d.comb += [
            self.i.ready.eq(~Array(full)[target]),
            write.addr.eq(Cat(address, target)),
            write.data.eq(self.i.payload),
            write.en.eq(taken),
            complete.eq(taken & last_word & last_step & last_group),
        ]
        with m.If(taken):
            m.d.sync += [
                word.eq(Mux(last_word, 0, word + 1)),
                address.eq(address + 1),
                target.eq(target ^ complete),
            ]
            with m.If(last_word):
                next_home = Mux(last_group, 0, home + self._words)
                m.d.sync += [
                    step.eq(Mux(last_step, 0, step + 1)),
                    address.eq(address + (self._groups - 1) * self._words + 1),
                ]
                with m.If(last_step):
                    m.d.sync += [home.eq(next_home), address.eq(next_home)]

        # Read: in order. A word is fetched while none is offered.
        source, index, fetched = Signal(), Signal(range(size)), Signal()
        last = index == size - 1
        sent = transfer(self.o)
        m.d.comb += [
            read.addr.eq(Cat(index, source)),
            read.en.eq(~fetched),
            self.o.payload.eq(read.data),
            self.o.valid.eq(fetched),
        ]
        with m.If(sent):
            m.d.sync += [fetched.eq(0), index.eq(Mux(last, 0, index + 1)), source.eq(source ^ last)]
        with m.Elif(Array(full)[source]):
            m.d.sync += fetched.eq(1)
        for b in range(2):
            with m.If(complete & (target == b)):
                m.d.sync += full[b].eq(1)
            with m.Elif(sent & last & (source == b)):
                m.d.sync += full[b].eq(0)
        return m
