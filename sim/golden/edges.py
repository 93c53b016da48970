"""Law 1 for every kind of edge: dense, convolution, identity, with pooling before it. NumPy, exact.

Every sum runs through floating-point BLAS where that is provably exact: all terms are integers and
every partial sum, in whatever order, is at most `accumulator_bound`; below 2^24 each is a float32,
below 2^53 a float64. (The contract's 32-bit limit is far below 2^53.)
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from hw.contract.edge import EdgeSpec, Shape, Sides, both_sides
from hw.contract.network import Layer
from hw.contract.spec import NetworkSpec

__all__ = ["Field", "exact_float", "fan_out", "receive"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.floating[Any]]

FLOAT32_EXACT = 2**24
FLOAT64_EXACT = 2**53


def exact_float(layer: Layer) -> type[np.floating[Any]]:
    """The float type in which every sum of a layer's weights is exact."""
    assert layer.accumulator_bound < FLOAT64_EXACT
    return np.float32 if layer.accumulator_bound < FLOAT32_EXACT else np.float64


def pool(values: Float, size: Sides) -> Float:
    """Sums over rectangles of this size of maps (n, channels, rows, columns)."""
    if size == 1:
        return values
    high, wide = both_sides(size)
    n, channels, rows, columns = values.shape
    rows, columns = rows // high, columns // wide
    cut = values[:, :, : rows * high, : columns * wide]
    return cut.reshape(n, channels, rows, high, columns, wide).sum(axis=(3, 5))


def convolve(values: Float, kernel: Float, edge: EdgeSpec) -> Float:
    """A cross-correlation of maps (n, channels, rows, columns): windows, then one product.

    Channels are the last axis meanwhile: a row of a window is then one piece of memory, and its
    copy costs less than the product.
    """
    n, channels = values.shape[:2]
    down, across = edge.axes
    zeros = [(0, 0), *((axis.padding, axis.padding) for axis in edge.axes), (0, 0)]
    last = np.pad(values.transpose(0, 2, 3, 1), zeros)
    windows = sliding_window_view(last, (down.kernel, across.kernel), axis=(1, 2))
    windows = windows[:, :: down.stride, :: across.stride].transpose(0, 1, 2, 4, 5, 3)
    rows, columns = windows.shape[1:3]
    made = []
    inner, outer = channels // edge.groups, len(kernel) // edge.groups
    for g in range(edge.groups):
        part = windows[..., g * inner : (g + 1) * inner]
        matrix = kernel[g * outer : (g + 1) * outer].transpose(0, 2, 3, 1).reshape(outer, -1)
        made.append(part.reshape(n * rows * columns, matrix.shape[1]) @ matrix.T)
    maps = np.concatenate(made, axis=1).reshape(n, rows, columns, len(kernel))
    return maps.transpose(0, 3, 1, 2)


def receive(values: npt.NDArray[np.integer], edge: EdgeSpec, kernel: Float) -> Float:
    """What coefficients (n, channels, rows, columns) of a source become over an edge: maps of the
    receiver, or a row (n, neurons) over a dense one."""
    pooled = pool(values.astype(kernel.dtype), edge.pool)
    if edge.kind == "dense":
        made = pooled.reshape(len(pooled), kernel.shape[1]) @ kernel.T
    elif edge.kind == "identity":
        made = pooled * kernel[0]
    else:
        made = convolve(pooled, kernel, edge)
    return made * kernel.dtype.type(1 << edge.shift) if edge.shift else made


def fan_out(edge: EdgeSpec, source: Shape, target: Shape) -> Int:
    """Neurons of the receiver that a value of the source reaches, by its place: (rows, columns)."""
    _, rows, columns = edge.pooled(source)
    if edge.kind == "conv":
        down, across = (
            [
                sum(0 <= at + axis.padding - o * axis.stride < axis.kernel for o in range(made))
                for at in range(side)
            ]
            for axis, side, made in zip(edge.axes, (rows, columns), target[1:], strict=True)
        )
        places = np.outer(down, across) * (target[0] // edge.groups)
    else:
        neurons = 1 if edge.kind == "identity" else target[0] * target[1] * target[2]
        places = np.full((rows, columns), neurons)
    found = np.zeros(source[1:], dtype=np.int64)  # what pooling leaves over reaches nothing
    high, wide = both_sides(edge.pool)
    whole = np.repeat(np.repeat(places, high, axis=0), wide, axis=1)
    found[: whole.shape[0], : whole.shape[1]] = whole
    return found


class Field:
    """The edges of a layer, ready to be used at every step.

    Attributes
    ----------
    bias, thetas, steps, factors
        In a shape that adds to maps (n, channels, rows, columns); thresholds, reset steps and decay
        factors None if they are not by channel.
    """

    def __init__(self, spec: NetworkSpec, layer: Layer) -> None:
        self._shape = layer.spec.map_shape
        exact = exact_float(layer)
        self._edges = [
            (edge, kernel.astype(exact))
            for edge, kernel in zip(layer.edges, layer.kernels, strict=True)
        ]
        self.bias: Int = layer.bias.astype(np.int64).reshape(-1, 1, 1)
        self.thetas, self.steps, self.factors = (
            None if values is None else values.astype(np.int64).reshape(-1, 1, 1)
            for values in (layer.thetas, layer.reset_steps, layer.factors)
        )

    def drive(
        self, sent: Mapping[str, npt.NDArray[np.integer]], chosen: Callable[[EdgeSpec], bool]
    ) -> Int | int:
        """What arrives over the chosen edges, by what each source sent, without the bias: maps
        (n, channels, rows, columns), or 0 where no edge was chosen."""
        total: Int | int = 0
        for edge, kernel in self._edges:
            if chosen(edge):
                arrived = receive(sent[edge.source], edge, kernel).astype(np.int64)
                total = total + arrived.reshape(len(arrived), *self._shape)
        return total

    def received(
        self,
        now: Mapping[str, npt.NDArray[np.integer]],
        before: Mapping[str, npt.NDArray[np.integer]],
    ) -> Int | int:
        """What arrives, without the bias: of this step, of the sources that are in `now`, and of
        the step before."""
        fresh = self.drive(now, lambda e: e.source in now and e.delay == 0)
        return fresh + self.drive(before, lambda e: e.delay == 1)
