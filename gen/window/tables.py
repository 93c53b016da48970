"""What a spike of a map reaches through a window: tables of both axes, and wide rows of weights.

A coordinate of the source reaches coordinates `low`, `low` + 1, ... of the target, which meet the
kernel at `place`, `place` - stride, ... A window has room for so many rows and columns of them;
where a kernel reaches more, the map is played once for each part of what it reaches.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from hw.contract.edge import Axis, EdgeSpec
from hw.contract.layout import MapLayout
from hw.program.reach import WindowColumn, WindowRow

__all__ = ["COLUMNS", "ROWS", "WindowPass", "passes", "reached", "window_passes"]

Int = npt.NDArray[np.int64]
Pick = tuple[int | None, ...]

ROWS = 4
"""Of a window: rows of a group of channels, or two of two, or one of four."""
COLUMNS = 3
STRAIGHT = tuple(range(COLUMNS))


@dataclass(frozen=True, eq=False)
class WindowPass:
    """An edge, or a part of it, as a `Scan` wants it.

    Parameters
    ----------
    rows, columns
        What the source's rows and columns reach.
    weights
        (rows, window rows * window columns * lanes); none of an identity.
    used
        (window rows, window columns): positions that something is added to.
    groups
        Of the source's channels, those that are played.
    target_set
        Which of the target's sets of groups is reached.
    """

    rows: list[WindowRow]
    columns: list[WindowColumn]
    weights: Int
    used: npt.NDArray[np.bool_]
    groups: range
    target_set: int


def _axis(axis: Axis, side: int) -> list[tuple[int, int]]:
    """Of each coordinate of the source: the first of the target that it reaches, be it there or
    not, and where that meets the kernel; less than 0: nothing."""
    found = []
    for coordinate in range(side):
        padded = coordinate // axis.pool + axis.padding
        low = -(-(padded - axis.kernel + 1) // axis.stride)
        place = padded - low * axis.stride
        found.append((low, place if coordinate // axis.pool < axis.pooled(side) else -1))
    return found


def reached(axis: Axis) -> int:
    """How many coordinates of an axis of the target one of the source reaches at most."""
    return -(-axis.kernel // axis.stride)


def passes(edge: EdgeSpec, target: MapLayout) -> int:
    """How often a map is played over an edge."""
    if edge.kind == "identity":
        return target.groups
    rows, columns = (reached(axis) for axis in edge.axes)
    return -(-target.groups // target.sets) * -(-rows // target.rows) * -(-columns // COLUMNS)


def window_passes(
    edge: EdgeSpec,
    source: MapLayout,
    target: MapLayout,
    kernel: npt.NDArray[np.integer],
    pick: Callable[[Pick], int],
) -> Iterator[WindowPass]:
    """Tables and weights of an edge with these weights (`EdgeSpec.weight_shape`), as often as its
    map is played; `pick` numbers the ways in which columns of weights are picked.

    A row of weights is what one channel of the source adds to a window: row by row of the window
    (of a set of groups, group by group), column by column, lane by lane. Rows of weights lie by the
    place where the kernel's rows meet, then that of its columns (where the kernel is wider than the
    window, or else they are picked from one), then by channel.
    """
    if edge.kind == "identity":
        for group in range(target.groups):
            rows, columns = _tables(edge, source, target, (0, 0), group // target.sets, 1, pick)
            mine = group % target.sets
            rows = [_only(row, target.rows, mine) for row in rows]
            none = np.zeros((0, ROWS * COLUMNS * target.lanes), dtype=np.int64)
            used = np.arange(COLUMNS) == np.zeros((ROWS, 1))
            played = range(group, group + 1)
            yield WindowPass(rows, columns, none, used, played, group // target.sets)
        return
    full = _spread(edge, source, target, kernel)
    down, across = (reached(axis) for axis in edge.axes)
    starts = [*product(range(0, down, target.rows), range(0, across, COLUMNS))]
    for number in range(-(-target.groups // target.sets)):
        groups = _played(edge, source, target, number)
        channels = range(
            groups.start * source.lanes, min(groups.stop * source.lanes, source.shape[0])
        )
        for start in starts:
            rows, columns = _tables(edge, source, target, start, number, len(channels), pick)
            weights, used = _weights(edge, target, full[:, channels], start, number)
            yield WindowPass(rows, columns, weights, used, groups, number)


def _spread(
    edge: EdgeSpec, source: MapLayout, target: MapLayout, kernel: npt.NDArray[np.integer]
) -> Int:
    """Weights (target channels of whole sets, source channels, rows, columns)."""
    made, channels, sets = target.shape[0], source.shape[0], -(-target.groups // target.sets)
    full = np.zeros(
        (sets * target.sets * target.lanes, channels, *kernel.shape[2:]), dtype=np.int64
    )
    inner, outer = channels // edge.groups, made // edge.groups
    for g in range(edge.groups):
        ours = slice(g * outer, (g + 1) * outer)
        full[ours, g * inner : (g + 1) * inner] = kernel[ours]
    return full


def _played(edge: EdgeSpec, source: MapLayout, target: MapLayout, number: int) -> range:
    """Groups of the source's channels that reach a set of the target's."""
    inner, outer = source.shape[0] // edge.groups, target.shape[0] // edge.groups
    low = number * target.sets * target.lanes
    high = min(low + target.sets * target.lanes, target.shape[0]) - 1
    first, last = low // outer * inner, (high // outer + 1) * inner - 1
    return range(first // source.lanes, last // source.lanes + 1)


def _places(axis: Axis) -> range:
    """Where a coordinate may meet the kernel with the first that it reaches."""
    return range(max(0, axis.kernel - axis.stride), axis.kernel)


def _picks(columns: Axis) -> bool:
    """Whether all columns of the kernel are in one row of weights."""
    return columns.kernel <= COLUMNS


def _tables(
    edge: EdgeSpec,
    source: MapLayout,
    target: MapLayout,
    start: tuple[int, int],
    number: int,
    channels: int,
    pick: Callable[[Pick], int],
) -> tuple[list[WindowRow], list[WindowColumn]]:
    """The tables of a pass over all but the first `start` rows and columns that are reached."""
    (down, along), wide = edge.axes, target.shape[2]
    stride, places, picks = along.stride, _places(along), _picks(along)
    across = 1 if picks else len(places)
    rows = [
        _row(
            low + start[0],
            place - down.stride * start[0],
            down.stride,
            target,
            number,
            max(0, place - _places(down).start) * across * channels,
        )
        for low, place in _axis(down, source.shape[1])
    ]
    columns = []
    for low, place in _axis(along, source.shape[2]):
        at = low + start[1]
        count = min(COLUMNS, max(0, (place - stride * start[1]) // stride + 1))
        held = min(count, max(0, wide - at)) if place >= 0 else 0
        how = STRAIGHT
        if stride > 1 and picks:
            meets = [place - stride * slot for slot in STRAIGHT]
            how = tuple(
                along.kernel - 1 - one if one >= 0 else slot if slot >= along.kernel else None
                for slot, one in enumerate(meets)
            )
        columns.append(
            WindowColumn(
                some=int(held > max(0, -at)),
                column=at,
                held=held,
                weight=0 if picks else max(0, place - places.start) * channels,
                pick=pick(how),
            )
        )
    return rows, columns


def _row(
    low: int, place: int, stride: int, target: MapLayout, number: int, weight: int
) -> WindowRow:
    """What a row of the source reaches, by bank: those of row `low` of the target and on."""
    stores, slots, nexts = [0] * ROWS, [0] * ROWS, [0] * ROWS
    for one, row in product(range(target.sets), range(target.rows)):
        bank = one * target.rows + (low + row) % target.rows
        there = number * target.sets + one < target.groups and 0 <= low + row < target.shape[1]
        stores[bank] = int(there and place >= 0 and place - stride * row >= 0)
        slots[bank] = one * target.rows + row
        nexts[bank] = (low + row) // target.rows - low // target.rows
    return WindowRow(
        stores=tuple(stores),
        slots=tuple(slots),
        nexts=tuple(nexts),
        potential=low // target.rows * target.columns,
        weight=weight,
    )


def _only(row: WindowRow, rows: int, mine: int) -> WindowRow:
    """Of the groups side by side, one alone."""
    kept = (store if bank // rows == mine else 0 for bank, store in enumerate(row.stores))
    return replace(row, stores=tuple(kept))


def _weights(
    edge: EdgeSpec, target: MapLayout, full: Int, start: tuple[int, int], number: int
) -> tuple[Int, npt.NDArray[np.bool_]]:
    """Rows of weights of a pass, and which positions of the window have any."""
    channels, lanes, (high, wide) = full.shape[1], target.lanes, edge.axes
    width = target.sets * lanes
    mine = full[number * width : (number + 1) * width].reshape(
        target.sets, lanes, channels, high.kernel, wide.kernel
    )
    down = _places(high)
    across = [None] if _picks(wide) else [*_places(wide)]
    found = np.zeros(
        (len(down), len(across), channels, target.sets, target.rows, COLUMNS, lanes), dtype=np.int64
    )
    used = np.zeros((target.sets, target.rows, COLUMNS), dtype=bool)
    there = np.arange(target.sets) + number * target.sets < target.groups
    for (n, place), (k, beside) in product(enumerate(down), enumerate(across)):
        for row, column in product(range(target.rows), range(COLUMNS)):
            y = place - high.stride * (start[0] + row)
            x = wide.kernel - 1 - column
            if beside is not None:
                x = beside - wide.stride * (start[1] + column)
            if y >= 0 and x >= 0:
                found[n, k, :, :, row, column] = mine[:, :, :, y, x].transpose(2, 0, 1)
                used[there, row, column] = True
    return found.reshape(len(down) * len(across) * channels, -1), used.reshape(ROWS, COLUMNS)
