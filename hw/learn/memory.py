"""Memory of master weights: a WeightRom's place and timing, filled at power-up, and written."""

from collections.abc import Sequence

from amaranth.hdl import ClockSignal, Instance, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.memory.rom import WeightRom

__all__ = ["MasterMemory"]


class MasterMemory(wiring.Component):
    """Rows of master weights, one read and one written per cycle.

    Latency `PIPELINE_CYCLES` from address to row. What is read in the cycle in which the same row
    is written means nothing: whoever writes sees to it that nobody reads. A reset leaves the rows
    as they are.

    Parameters
    ----------
    width, rows, file
        As of `hw.memory.rom.WeightRom`: bits of a row, contents at power-up, and the file that the
        emitted Verilog reads them from.

    Members
    -------
    addr : In
    data : Out(width)
    write_en, write_addr, write_data : In
    """

    PIPELINE_CYCLES = WeightRom.PIPELINE_CYCLES

    addr: Signal
    data: Signal
    write_en: Signal
    write_addr: Signal
    write_data: Signal

    def __init__(self, *, width: int, rows: Sequence[int], file: str | None = None) -> None:
        self._width, self._rows, self._file = width, list(rows), file
        address_bits = max(1, (len(self._rows) - 1).bit_length())
        super().__init__(
            {
                "addr": In(address_bits),
                "data": Out(width),
                "write_en": In(1),
                "write_addr": In(address_bits),
                "write_data": In(width),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        row = Signal(self._width)
        if self._file is None:
            m.submodules.memory = memory = Memory(
                shape=unsigned(self._width), depth=len(self._rows), init=self._rows
            )
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(self.addr),
                row.eq(read.data),
                write.en.eq(self.write_en),
                write.addr.eq(self.write_addr),
                write.data.eq(self.write_data),
            ]
        else:
            m.submodules.memory = Instance(
                "sterna_ram",
                p_WIDTH=self._width,
                p_DEPTH=len(self._rows),
                p_ADDRESS=len(self.addr),
                p_FILE=self._file,
                i_clk=ClockSignal(),
                i_addr=self.addr,
                o_data=row,
                i_write_en=self.write_en,
                i_write_addr=self.write_addr,
                i_write_data=self.write_data,
            )
        out = Signal(self._width, reset_less=True)
        m.d.sync += out.eq(row)
        m.d.comb += self.data.eq(out)
        return m
