"""The checksum of the host link's frames."""

from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

__all__ = ["FrameCheck"]


class FrameCheck(wiring.Component):
    """CRC-32 over bytes, a bit per cycle: a third of the gates of a byte per cycle, and a UART
    byte takes 40 cycles or more.

    Cycle law: a byte given in cycle t is in `crc` and `good` from cycle `t + CYCLES` on; bytes are
    at least `CYCLES` apart.

    Members
    -------
    start : In(1)
        Begin anew; a byte under way, or given in this cycle, does not count.
    valid, byte : In
        Add a byte.
    crc : Out(32)
        Of all bytes since the start.
    good : Out(1)
        The last four bytes were the CRC of those before them.
    busy : Out(1)
        A byte is under way.
    """

    CYCLES = 9

    start: Signal
    valid: Signal
    byte: Signal
    crc: Signal
    good: Signal
    busy: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "valid": In(1),
                "byte": In(8),
                "crc": Out(32),
                "good": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # Through the registers' reset, which is free; `crc.start` would cost a gate per bit.
        crc: Any = CRC32_ISO_HDLC(data_width=1).create()
        m.submodules.crc = ResetInserter(self.start)(crc)
        bits, left = Signal(8, reset_less=True), Signal(range(9))
        m.d.comb += [
            self.busy.eq(left != 0),
            crc.data.eq(bits[0]),
            crc.valid.eq(self.busy),
            self.crc.eq(crc.crc),
            self.good.eq(crc.match_detected),
        ]
        with m.If(self.start):
            m.d.sync += left.eq(0)
        with m.Elif(self.valid):
            m.d.sync += [bits.eq(self.byte), left.eq(8)]
        with m.Elif(self.busy):
            m.d.sync += [bits.eq(bits[1:]), left.eq(left - 1)]
        return m
