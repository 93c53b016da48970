"""Weight ROM: one row of `lanes` weights per address. docs/image.md has the layout."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from amaranth.hdl import ClockSignal, Instance, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.geometry import LayerGeometry

__all__ = ["WeightRom", "pack_rows", "unpack_rows"]


def pack_rows(
    weights: npt.NDArray[np.integer], geometry: LayerGeometry, weight_bits: int
) -> list[list[list[int]]]:
    """The ROM words: `[bank][slice]`, each of `groups * rows` words.

    Address `group * rows + row` of bank b and a slice holds, in bits
    [k*weight_bits, (k+1)*weight_bits), the two's-complement weight of neuron
    `group * lanes + slice[k]` from the input in slot `row * banks + b`. Unused slots and lanes are
    zero.
    """
    g = geometry
    table = np.zeros((g.groups * g.lanes, g.rows * g.banks), dtype=np.int64)
    table[: g.neurons, g.slots()] = weights
    table &= (1 << weight_bits) - 1
    by_row = table.reshape(g.groups, g.lanes, g.rows, g.banks).transpose(3, 0, 2, 1)
    banks = by_row.reshape(g.banks, g.groups * g.rows, g.lanes)
    return [
        [[_pack(row, weight_bits) for row in bank[:, list(part)].tolist()] for part in g.slices]
        for bank in banks
    ]


def _pack(fields: Sequence[int], bits: int) -> int:
    word = 0
    for k, value in enumerate(fields):
        word |= value << (k * bits)
    return word


def unpack_rows(
    banks: Sequence[Sequence[Sequence[int]]], geometry: LayerGeometry, weight_bits: int
) -> npt.NDArray[np.int64]:
    """Inverse of `pack_rows`: weights (neurons, inputs)."""
    g = geometry
    mask, sign = (1 << weight_bits) - 1, 1 << (weight_bits - 1)
    by_row = np.zeros((g.banks, g.groups * g.rows, g.lanes), dtype=np.int64)
    for b, slices in enumerate(banks):
        for part, words in zip(g.slices, slices, strict=True):
            for k, lane in enumerate(part):
                by_row[b, :, lane] = [word >> (k * weight_bits) & mask for word in words]
    table = by_row.reshape(g.banks, g.groups, g.rows, g.lanes).transpose(1, 3, 2, 0)
    table = table.reshape(g.groups * g.lanes, g.rows * g.banks)
    return ((table ^ sign) - sign)[: g.neurons, g.slots()]


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
        this `$readmemh` file, through `hw/sterna_rom.v`.

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
