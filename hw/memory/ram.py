"""Weight RAM: a WeightRom's place and timing, filled at power-up."""

from amaranth.hdl import Array, ClockSignal, Instance, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.memory.rom import WeightRom

__all__ = ["SPRAM_BITS", "SPRAM_ROWS", "WeightRam"]

SPRAM_ROWS = 16384
SPRAM_BITS = 16
"""An iCE40 UP5K has four single-port RAMs of this shape."""


class WeightRam(wiring.Component):
    """Memory of rows with a write port, read like a WeightRom.

    Latency `PIPELINE_CYCLES`, a row per cycle. Provides no flow control. What is read in a cycle
    with a write means nothing: rows are written before the core is used.

    Parameters
    ----------
    width, depth
        Bits per row; rows.
    spram
        Built of single-port RAMs (`hw/memory/sterna_spram.v`), in place of block RAM; one behind
        the other where there are more than `SPRAM_ROWS` rows.

    Members
    -------
    addr : In
    data : Out(width)
    load_en, load_addr, load_data : In
        Write a row.
    """

    PIPELINE_CYCLES = WeightRom.PIPELINE_CYCLES

    addr: Signal
    data: Signal
    load_en: Signal
    load_addr: Signal
    load_data: Signal

    def __init__(self, *, width: int, depth: int, spram: bool = False) -> None:
        self._width, self._depth, self._spram = width, depth, spram
        address_bits = max(1, (depth - 1).bit_length())
        super().__init__(
            {
                "addr": In(address_bits),
                "data": Out(width),
                "load_en": In(1),
                "load_addr": In(address_bits),
                "load_data": In(width),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        row = Signal(self._width)
        if self._spram:
            self._single_ports(m, row)
        else:
            m.submodules.memory = memory = Memory(
                shape=unsigned(self._width), depth=self._depth, init=[]
            )
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(self.addr),
                row.eq(read.data),
                write.en.eq(self.load_en),
                write.addr.eq(self.load_addr),
                write.data.eq(self.load_data),
            ]
        out = Signal(self._width, reset_less=True)
        m.d.sync += out.eq(row)
        m.d.comb += self.data.eq(out)
        return m

    def _single_ports(self, m: Module, row: Signal) -> None:
        """Memories of `SPRAM_ROWS` each; which one has the row is known as late as the row is."""
        bits = (SPRAM_ROWS - 1).bit_length()
        banks, low = -(-self._depth // SPRAM_ROWS), min(len(self.addr), bits)
        bank = self.load_addr[low:]
        rows = [Signal(self._width, name=f"row{n}") for n in range(banks)]
        for n, found in enumerate(rows):
            m.submodules[f"memory{n}" if banks > 1 else "memory"] = Instance(
                "sterna_spram",
                p_WIDTH=self._width,
                p_ADDRESS=low,
                i_clk=ClockSignal(),
                i_addr=self.addr[:low],
                o_data=found,
                i_load_en=self.load_en & (bank == n) if banks > 1 else self.load_en,
                i_load_addr=self.load_addr[:low],
                i_load_data=self.load_data,
            )
        if banks == 1:
            m.d.comb += row.eq(rows[0])
        else:
            chosen = Signal(len(bank))
            m.d.sync += chosen.eq(self.addr[low:])
            m.d.comb += row.eq(Array(rows)[chosen])
