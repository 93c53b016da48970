"""Skid buffer: a stream register whose `ready` is a register too."""

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SkidBuffer"]


class SkidBuffer(wiring.Component):
    """Two registers: the second one catches what comes in the cycle in which the receiver stops.

    Latency 1, a transfer per cycle.

    Parameters
    ----------
    shape
        Of the payload.

    Members
    -------
    i : In(stream of shape)
    o : Out(stream of shape)
    """

    LATENCY = 1

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape: ShapeLike) -> None:
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        caught, spare = Signal(), Signal(self._shape, reset_less=True)
        front = Signal(self._shape, reset_less=True)
        m.d.comb += [self.i.ready.eq(~caught), self.o.payload.eq(front)]
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [self.o.valid.eq(self.i.valid | caught), caught.eq(0)]
            with m.If(caught):
                m.d.sync += front.eq(spare)
            with m.Else():
                m.d.sync += front.eq(self.i.payload)
        with m.Elif(self.i.valid & ~caught):
            m.d.sync += caught.eq(1)
        with m.If(~caught):
            m.d.sync += spare.eq(self.i.payload)
        return m
