"""What a spike of a map reaches over an edge: tables of both axes, and rows of weights.

Kernel, stride, padding, pooling, groups and borders become numbers here; the hardware knows none of
them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.contract.edge import Axis, EdgeSpec
from hw.contract.layout import MapLayout
from hw.program.reach import Reach

__all__ = ["EdgeTables", "edge_tables"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EdgeTables:
    """An edge as a `Scan` wants it.

    Parameters
    ----------
    rows, columns
        Reaches of the source's rows, group after group of channels, and of its columns.
    weights
        (rows, lanes); none of an identity.
    numbers
        Fields of the `Scan`.
    """

    rows: list[Reach]
    columns: list[Reach]
    weights: Int
    numbers: dict[str, int]


def edge_tables(
    edge: EdgeSpec, source: MapLayout, target: MapLayout, kernel: npt.NDArray[np.integer]
) -> EdgeTables:
    """Tables and weights of an edge with these weights (`EdgeSpec.weight_shape`).

    A row of weights is what one channel of the source adds to a word of the target. Rows lie by
    group of source channels; then, of a convolution, by group of target channels and the kernel's
    row and column; of a dense edge, by source row and column, group of target channels, target row
    and column; and last by channel of the group.
    """
    m, (_, high, wide) = source.channels, target.shape
    weights, starts, reached = np.zeros((0, target.lanes), dtype=np.int64), [0], 1
    if edge.kind == "conv":
        weights, starts, reached = _conv_weights(edge, source, target, kernel)
        rows, columns = edge.axes
        per_row, per_column = columns.kernel * m, m
        per_target = rows.kernel * per_row
        per_group = reached * per_target
        # The target's next column meets the kernel's column before.
        numbers = {
            "weight_column": -columns.stride * per_column,
            "weight_row": -rows.stride * per_row,
            "weight_group": per_target,
            "channels": target.shape[0] // edge.groups,
        }
    elif edge.kind == "dense":
        _, rows, columns = edge.pooled(source.shape)
        weights, starts, reached = (
            _dense_weights(edge, source, target, kernel),
            [0] * source.groups,
            target.groups,
        )
        per_column = target.words * m
        per_row = columns * per_column
        per_group = rows * per_row
        numbers = {
            "weight_column": m,
            "weight_row": wide * m,
            "weight_group": high * wide * m,
            "channels": target.shape[0],
        }
    else:
        starts, per_group, per_row, per_column = list(range(source.groups)), 0, 0, 0
        numbers = {"identity": 1, "constant": int(kernel[0]), "channels": 1}
    down = [
        _reach(count, starts[g] * high * wide + low * wide, g * per_group + place * per_row)
        for g in range(source.groups)
        for count, low, place in _axis(edge.kind, edge.axes[0], source.shape[1], high)
    ]
    across = [
        _reach(count, low, place * per_column)
        for count, low, place in _axis(edge.kind, edge.axes[1], source.shape[2], wide)
    ]
    # The last word of a row may have positions beyond the map.
    across += [Reach(count=0)] * (source.columns * source.positions - len(across))
    numbers |= {"last_group": reached - 1, "potential_row": wide, "potential_group": high * wide}
    return EdgeTables(down, across, weights, numbers)


def _reach(count: int, potential: int, weight: int) -> Reach:
    return Reach(count=count, potential=potential, weight=weight) if count else Reach(count=0)


def _axis(kind: str, axis: Axis, side: int, made: int) -> list[tuple[int, int, int]]:
    """What each coordinate of the source reaches along an axis: how many positions, the first of
    them, and where that meets the weights (the kernel; of a dense edge, the pooled source)."""
    found, pooled = [], axis.pooled(side)
    for coordinate in range(side):
        at = coordinate // axis.pool
        if kind == "conv":
            padded = at + axis.padding
            low = max(0, -(-(padded - axis.kernel + 1) // axis.stride))
            count = max(0, min(made - 1, padded // axis.stride) - low + 1)
            place = padded - low * axis.stride
        elif kind == "dense":
            low, count, place = 0, made, at
        else:
            low, count, place = at, 1, 0
        found.append((count if at < pooled else 0, low, place))  # pooling leaves a rest over
    return found


def _conv_weights(
    edge: EdgeSpec, source: MapLayout, target: MapLayout, kernel: npt.NDArray[np.integer]
) -> tuple[Int, list[int], int]:
    """Rows of weights; of each group of source channels the first group of target channels that it
    reaches; how many of them (the most of any, and with weights of 0 for the others)."""
    lanes, m, sides = target.lanes, source.channels, kernel.shape[2:]
    channels, made = source.shape[0], target.shape[0]
    full = np.zeros((target.groups * lanes, source.groups * m, *sides), dtype=np.int64)
    inner, outer = channels // edge.groups, made // edge.groups
    for g in range(edge.groups):
        ours = slice(g * outer, (g + 1) * outer)
        full[ours, g * inner : (g + 1) * inner] = kernel[ours]
    spans = []
    for group in range(source.groups):
        first = group * source.lanes // inner
        last = (min((group + 1) * source.lanes, channels) - 1) // inner
        spans.append((first * outer // lanes, ((last + 1) * outer - 1) // lanes))
    reached = max(last - first + 1 for first, last in spans)
    starts = [min(first, target.groups - reached) for first, _ in spans]
    blocks = full.reshape(target.groups, lanes, source.groups, m, *sides)
    weights = np.stack(
        [blocks[start : start + reached, :, g] for g, start in enumerate(starts)]
    )  # (source group, target group, lane, channel, row, column)
    return weights.transpose(0, 1, 4, 5, 3, 2).reshape(-1, lanes), starts, reached


def _dense_weights(
    edge: EdgeSpec, source: MapLayout, target: MapLayout, kernel: npt.NDArray[np.integer]
) -> Int:
    channels, rows, columns = edge.pooled(source.shape)
    m, lanes, (made, high, wide) = source.channels, target.lanes, target.shape
    full = np.zeros(
        (target.groups * lanes, high, wide, source.groups * m, rows, columns), dtype=np.int64
    )
    full[:made, :, :, :channels] = kernel.reshape(made, high, wide, channels, rows, columns)
    blocks = full.reshape(target.groups, lanes, high, wide, source.groups, m, rows, columns)
    return blocks.transpose(4, 6, 7, 0, 2, 3, 5, 1).reshape(-1, lanes)
