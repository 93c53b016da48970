"""Weight ROM: one row of `lanes` weights per address. docs/network-file.md has the layout."""

from collections.abc import Sequence

from amaranth.hdl import ClockSignal, Instance, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["WeightRom"]


class WeightRom(wiring.Component):
    """Read-only memory with a registered output, so that no block-RAM delay meets arithmetic.

    Latency `PIPELINE_CYCLES`, a row per cycle. Provides no flow control.

    Parameters
    ----------
    width
        Bits per row.
    rows
        Contents, one integer per address.
    file
        None: an Amaranth memory (simulation). A path: the emitted Verilog reads the contents from
        this `$readmemh` file, through `hw/memory/sterna_rom.v`.

    Members
    -------
    addr : In
    data : Out(width)
    """

    PIPELINE_CYCLES = 2

    addr: Signal
    data: Signal

    def __init__(self, *, width: int, rows: Sequence[int], file: str | None = None) -> None:
        self._width, self._rows, self._file = width, list(rows), file
        address_bits = max(1, (len(self._rows) - 1).bit_length())
        super().__init__({"addr": In(address_bits), "data": Out(width)})

    def elaborate(self, platform) -> Module:
        m = Module()
        row = Signal(self._width)
        if self._file is None:
            m.submodules.memory = memory = Memory(
                shape=unsigned(self._width), depth=len(self._rows), init=self._rows
            )
            port = memory.read_port()
            m.d.comb += [port.addr.eq(self.addr), row.eq(port.data)]
        else:
            m.submodules.memory = Instance(
                "sterna_rom",
                p_WIDTH=self._width,
                p_DEPTH=len(self._rows),
                p_ADDRESS=len(self.addr),
                p_FILE=self._file,
                i_clk=ClockSignal(),
                i_addr=self.addr,
                o_data=row,
            )
        out = Signal(self._width, reset_less=True)
        m.d.sync += out.eq(row)
        m.d.comb += self.data.eq(out)
        return m
