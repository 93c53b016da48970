"""Serializer: a wide word leaves as narrow ones."""

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.stream.payloads import transfer

__all__ = ["Serializer"]


class Serializer(wiring.Component):
    """Sends the elements of each word in words of `width`, low elements first, padded with zeros.

    Has no storage: the wide word stays where it is offered and is taken with its last part.

    Cycle law: a word takes `beats` cycles with `o` ready; no latency.

    Parameters
    ----------
    layout
        Shape of the wide word, an array.
    width
        Elements per narrow word.

    Members
    -------
    i : In(stream of layout)
    o : Out(stream of the same elements, `width` long)
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, layout: data.ArrayLayout, width: int) -> None:
        self._length, self._width = layout.length, width
        self.beats = -(-layout.length // width)
        narrow = data.ArrayLayout(layout.elem_shape, width)
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(narrow))})

    def elaborate(self, platform) -> Module:
        m = Module()
        beat = Signal(range(self.beats))
        last = beat == self.beats - 1
        for k in range(self._width):
            elements = [
                Value.cast(self.i.payload[n]) if n < self._length else 0
                for n in range(k, self.beats * self._width, self._width)
            ]
            m.d.comb += Value.cast(self.o.payload[k]).eq(Array(elements)[beat])
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready & last)]
        with m.If(transfer(self.o)):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        return m
