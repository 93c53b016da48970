"""SPI flash reader: the bytes of a flash memory, from an address on, one after the other."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SpiFlashReader"]

RELEASE, READ = 0xAB, 0x03


class SpiFlashReader(wiring.Component):
    """Wakes the flash and reads it with one READ (0x03) command that never ends.

    The FPGA's own configuration leaves the flash in deep power-down, so RELEASE (0xAB) comes first
    and then a pause. SPI mode 0, the serial clock at a quarter of the system clock.

    Cycle law: between RELEASE and READ the flash is deselected for `pause - 1` cycles. A byte is
    offered no more often than every `BYTE_CYCLES` cycles; the clock stands while an offered byte
    is not taken.

    Parameters
    ----------
    address
        Of the first byte, 24 bits.
    pause
        Cycles to wait after RELEASE, 2 or more: the flash needs at least 3 microseconds.

    Members
    -------
    o : Out(stream of 8 bits)
    cs_n, clk, copi : Out
    cipo : In
    """

    PHASES = 4
    BYTE_CYCLES = 8 * PHASES + 1

    o: stream.Interface
    cs_n: Signal
    clk: Signal
    copi: Signal
    cipo: Signal

    def __init__(self, *, address: int, pause: int) -> None:
        self._address, self._pause = address, pause
        super().__init__(
            {
                "o": Out(stream.Signature(8)),
                "cs_n": Out(1, init=1),  # type: ignore[call-arg]
                "clk": Out(1),
                "copi": Out(1),
                "cipo": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # A bit takes four cycles: the clock is low in its middle two, and high in the others. The
        # flash changes `cipo` after the falling edge, as the second cycle begins; the register
        # takes it as the third ends. It follows our own clock, so one register will do.
        cipo = Signal()
        m.d.sync += cipo.eq(self.cipo)
        phase, bit = Signal(range(self.PHASES)), Signal(range(32))
        shift, taken = Signal(32), Signal(8)
        run, last_phase = Signal(), Signal()
        m.d.comb += last_phase.eq(phase == self.PHASES - 1)
        m.d.sync += [self.clk.eq(run & (phase >= 2)), self.copi.eq(shift[-1])]
        with m.If(run):
            m.d.sync += phase.eq(phase + 1)
            with m.If(last_phase):
                m.d.sync += [shift.eq(shift << 1), bit.eq(bit - 1), taken.eq(Cat(cipo, taken))]

        pause = Signal(range(self._pause + 1), init=self._pause)
        with m.FSM():
            with m.State("RELEASE"):
                m.d.sync += [self.cs_n.eq(0), shift.eq(RELEASE << 24), bit.eq(7)]
                m.next = "RELEASING"
            with m.State("RELEASING"):
                m.d.comb += run.eq(1)
                with m.If(last_phase & (bit == 0)):
                    m.next = "PAUSE"
            with m.State("PAUSE"):
                m.d.sync += pause.eq(pause - 1)
                with m.If(pause != self._pause):  # a cycle later, so that the clock is low first
                    m.d.sync += self.cs_n.eq(1)
                with m.If(pause == 0):
                    m.d.sync += [self.cs_n.eq(0), bit.eq(31)]
                    m.d.sync += shift.eq(READ << 24 | self._address)
                    m.next = "COMMAND"
            with m.State("COMMAND"):
                m.d.comb += run.eq(1)
                with m.If(last_phase & (bit == 0)):
                    m.d.sync += bit.eq(7)
                    m.next = "BYTE"
            with m.State("BYTE"):
                m.d.comb += run.eq(1)
                with m.If(last_phase & (bit == 0)):
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(taken)]
                with m.If(self.o.ready):
                    m.d.sync += bit.eq(7)
                    m.next = "BYTE"
        return m
