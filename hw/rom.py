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
    weights: npt.NDArray[np.integer],
    bias: npt.NDArray[np.integer],
    geometry: LayerGeometry,
    weight_bits: int,
) -> list[list[list[int]]]:
    """The ROM words: `[bank][slice]`, each of `depth` words.

    Address `group * stride + row` of bank b and a slice holds, in bits
    [k*weight_bits, (k+1)*weight_bits), the two's-complement weight of neuron
    `group * lanes + slice[k]` from the input in slot `row * banks + b`. Unused slots and lanes are
    zero. After a group's weights, `bias_rows` rows of bank 0 hold its biases in two's complement,
    cut into digits of `weight_bits`, the most significant first; those of other banks are zero.
    """
    g = geometry
    table = np.zeros((g.groups * g.lanes, g.rows * g.banks), dtype=np.int64)
    table[: g.neurons, g.slots()] = weights
    packed = np.zeros((g.banks, g.depth, g.lanes), dtype=np.int64)
    by_row = packed[:, : g.groups * g.stride].reshape(g.banks, g.groups, g.stride, g.lanes)
    by_row[:, :, : g.rows] = table.reshape(g.groups, g.lanes, g.rows, g.banks).transpose(3, 0, 2, 1)
    biases = np.zeros(g.groups * g.lanes, dtype=np.int64)
    biases[: g.neurons] = bias
    reach = 1 << g.bias_rows * weight_bits >> 1  # of their digits; none without rows
    assert all(-reach <= b < max(reach, 1) for b in bias.tolist())
    for d in range(g.bias_rows):
        digit = biases >> (g.bias_rows - 1 - d) * weight_bits
        by_row[0, :, g.rows + d] = digit.reshape(g.groups, g.lanes)
    packed &= (1 << weight_bits) - 1
    return [
        [[_pack(row, weight_bits) for row in bank[:, list(part)].tolist()] for part in g.slices]
        for bank in packed
    ]


def _pack(fields: Sequence[int], bits: int) -> int:
    word = 0
    for k, value in enumerate(fields):
        word |= value << (k * bits)
    return word


def unpack_rows(
    banks: Sequence[Sequence[Sequence[int]]], geometry: LayerGeometry, weight_bits: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Inverse of `pack_rows`: weights (neurons, inputs) and biases (neurons,)."""
    g = geometry
    mask = (1 << weight_bits) - 1
    by_row = np.zeros((g.banks, g.depth, g.lanes), dtype=np.int64)
    for b, slices in enumerate(banks):
        for part, words in zip(g.slices, slices, strict=True):
            for k, lane in enumerate(part):
                by_row[b, :, lane] = [word >> (k * weight_bits) & mask for word in words]
    by_row = by_row[:, : g.groups * g.stride].reshape(g.banks, g.groups, g.stride, g.lanes)
    table = by_row[:, :, : g.rows].transpose(1, 3, 2, 0).reshape(-1, g.rows * g.banks)
    biases = np.zeros(g.groups * g.lanes, dtype=np.int64)
    for d in range(g.rows, g.stride):
        biases = biases << weight_bits | by_row[0, :, d].reshape(-1)
    weights = _signed(table, weight_bits)[: g.neurons, g.slots()]
    return weights, _signed(biases, max(1, g.bias_rows * weight_bits))[: g.neurons]


def _signed(values: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    sign = 1 << (bits - 1)
    return (values ^ sign) - sign


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
