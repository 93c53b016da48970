"""UART, 8N1: bytes from a pin and to a pin, least significant bit first."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from hw.contract.checks import SpecError
from hw.stream.payloads import transfer

__all__ = ["LEAST_DIVISOR", "UartReceiver", "UartTransmitter", "check_divisor"]

LEAST_DIVISOR = 4
"""With fewer, the clock by which a start bit may be seen late is too much of a bit."""


def check_divisor(divisor: int) -> None:
    """Refuse what a UART cannot work with."""
    if not isinstance(divisor, int) or isinstance(divisor, bool) or divisor < LEAST_DIVISOR:
        raise SpecError(
            f"UART divisor must be an integer of at least {LEAST_DIVISOR} clocks per bit, "
            f"not {divisor!r}"
        )


class UartReceiver(wiring.Component):
    """Takes bytes from a line that is high when idle.

    A low line is a start bit if it is still low half a bit later; then every bit is looked at in
    its middle. A byte whose stop bit is low is not delivered, and the next start bit is looked for
    when the line has been high again.

    Cycle law: with `rx` low from cycle t on, `o` (or `fault`) comes in cycle
    `t + LATENCY + divisor // 2 + 9 * divisor`, and bytes come at least `9 * divisor` apart.

    Parameters
    ----------
    divisor
        Clocks per bit, at least 4.

    Members
    -------
    rx : In(1)
        The pin; may change at any time.
    o : Out(stream of 8 bits, always ready)
    fault : Out(1)
        A byte came without its stop bit.
    """

    LATENCY = 3

    rx: Signal
    o: stream.Interface
    fault: Signal

    def __init__(self, divisor: int) -> None:
        check_divisor(divisor)
        self._divisor = divisor
        super().__init__(
            {
                "rx": In(1, init=1),  # type: ignore[call-arg]
                "o": Out(stream.Signature(8, always_ready=True)),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.rx, line, init=1)

        timer = Signal(range(self._divisor))  # counts down to the middle of the next bit
        bit = Signal(range(10))  # which bit that is: 0 start, 1..8 data, 9 stop
        byte = Signal(8, reset_less=True)
        m.d.comb += self.o.payload.eq(byte)
        m.d.sync += [self.o.valid.eq(0), self.fault.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self._divisor // 2 - 1), bit.eq(0)]
                with m.If(~line):
                    m.next = "BYTE"
            with m.State("BYTE"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += [timer.eq(self._divisor - 1), bit.eq(bit + 1)]
                    with m.If(bit == 9):
                        m.d.sync += [self.o.valid.eq(line), self.fault.eq(~line)]
                        m.next = "BREAK"
                        with m.If(line):
                            m.next = "IDLE"
                    with m.Elif(bit != 0):
                        m.d.sync += byte.eq(Cat(byte[1:], line))
                    with m.Elif(line):
                        m.next = "IDLE"
            with m.State("BREAK"), m.If(line):
                m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Sends bytes.

    Cycle law: a byte taken in cycle t is on `tx` from t + 1 on, `divisor` cycles per bit; the next
    one is taken from cycle `t + 10 * divisor + 1` on.

    Parameters
    ----------
    divisor
        Clocks per bit, at least 4.

    Members
    -------
    i : In(stream of 8 bits)
    tx : Out(1)
        High when idle.
    """

    i: stream.Interface
    tx: Signal

    def __init__(self, divisor: int) -> None:
        check_divisor(divisor)
        self._divisor = divisor
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "tx": Out(1, init=1),  # type: ignore[call-arg]
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        timer = Signal(range(self._divisor))
        left = Signal(range(11))  # bits of the byte that are not out yet
        bits = Signal(9, init=0x1FF)
        m.d.comb += [self.i.ready.eq(left == 0), self.tx.eq(bits[0])]
        with m.If(transfer(self.i)):
            m.d.sync += [bits.eq(Cat(0, self.i.payload)), left.eq(10), timer.eq(self._divisor - 1)]
        with m.Elif(left != 0):
            m.d.sync += timer.eq(timer - 1)
            with m.If(timer == 0):
                m.d.sync += [
                    bits.eq(Cat(bits[1:], 1)),
                    left.eq(left - 1),
                    timer.eq(self._divisor - 1),
                ]
        return m
