"""The rows of a layer's weight memories: weights and biases packed into words, and back."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hw.layer.geometry import LayerGeometry

__all__ = ["pack_rows", "unpack_rows"]


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
        digit = by_row[0, :, d].reshape(-1)
        # The first has the sign, so that more rows than a bias needs do not overflow.
        biases = biases << weight_bits | digit if d > g.rows else _signed(digit, weight_bits)
    return _signed(table, weight_bits)[: g.neurons, g.slots()], biases[: g.neurons]


def _signed(values: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    sign = 1 << (bits - 1)
    return (values ^ sign) - sign
