"""Drive hold: repeats the drives of a constant input at every time step (direct coding)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.stream.payloads import drives, transfer

__all__ = ["DriveHold"]


class DriveHold(wiring.Component):
    """Offers each word of drives `steps` times over; it is taken with its last repetition.

    The word stays where it is offered: there is no storage and no latency. With several groups, a
    group therefore passes all its time steps before the next one: group by group, not step by step.

    Cycle law: `o` follows `i` in the same cycle, `i` is taken with the last `o`.

    Parameters
    ----------
    lanes, bits, steps
        Shape of the drives, repetitions.

    Members
    -------
    i : In(stream of drives(lanes, bits))
    o : Out(stream of drives(lanes, bits))
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, lanes: int, bits: int, steps: int) -> None:
        self._steps = steps
        signature = stream.Signature(drives(lanes, bits))
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform) -> Module:
        m = Module()
        step = Signal(range(self._steps))
        last_step = step == self._steps - 1
        m.d.comb += [
            self.o.payload.eq(self.i.payload),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready & last_step),
        ]
        with m.If(transfer(self.o)):
            m.d.sync += step.eq(Mux(last_step, 0, step + 1))
        return m
