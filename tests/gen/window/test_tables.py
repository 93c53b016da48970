"""Tables and weights of windows: what they bring to the sums is the convolution, by brute force."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.window.tables import COLUMNS, ROWS, STRAIGHT, Pick, WindowPass, passes, window_passes
from gen.window.writer import tall_layout
from hw.contract.edge import Axis, EdgeSpec
from hw.contract.layout import MapLayout
from hw.program.code import Scan
from hw.program.reach import Window
from sim.golden.edges import receive
from tests.graphs import conv, identity
from tests.hw.window.playing import Event, Sums, motions
from tests.networks import convolutions

CONSTANT = -5


@dataclass(frozen=True)
class Placed:
    """An edge, and how its maps lie in words."""

    edge: EdgeSpec
    source: MapLayout
    target: MapLayout


@st.composite
def placed_edges(draw) -> Placed:
    """Of every kind, over small maps: pictures of several positions to a word, and maps of several
    rows and groups."""
    lanes = draw(st.sampled_from([2, 4]))
    pool = tuple(draw(st.sampled_from([1, 1, 2, 3])) for _ in "yx")
    sides = tuple(draw(st.integers(1, 4)) for _ in "yx")
    rows, columns = (
        by * side + draw(st.integers(0, by - 1)) for by, side in zip(pool, sides, strict=True)
    )
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels = groups * draw(st.integers(1, 3))
    if draw(st.integers(0, 4)):
        edge = conv("a", pool=pool, groups=groups, **draw(convolutions(sides)))
        shape = edge.made((channels, rows, columns), groups * draw(st.integers(1, 4)))
    else:
        edge = identity("a", pool=pool)
        shape = edge.made((channels, rows, columns), channels)
    high = draw(st.sampled_from([1, 2, 4]))
    source = MapLayout((channels, rows, columns), lanes, 1)
    return Placed(edge, source, tall_layout(MapLayout(shape, lanes), high))


def played(one: WindowPass, source: MapLayout, values: np.ndarray, identical: bool) -> list[Event]:
    """Every coefficient as one event, whatever it is worth, row by row and column by column; where
    a group of channels has nothing at a position, a null."""
    found = []
    lanes, (_, rows, columns) = source.lanes, source.shape
    for row, column, group in np.ndindex(rows, columns, len(one.groups)):
        first = (one.groups.start + group) * lanes
        mine = values[first : first + lanes, row, column]
        lit = np.flatnonzero(mine).tolist()
        if not lit:
            found.append(Event(row=row, column=column, null=1))
        elif identical:
            active = sum(1 << k for k in lit)
            negatives = sum(1 << k for k in lit if mine[k] < 0)
            found.append(Event(row=row, column=column, active=active, negatives=negatives))
        else:
            found += [
                Event(row=row, column=column, channel=group * lanes + k, negative=int(mine[k] < 0))
                for k in lit
            ]
    return found


def window_of(one: WindowPass, picks: list[Pick]) -> Window:
    return Window(
        rows=ROWS,
        columns=COLUMNS,
        used=tuple((int(row), int(column)) for row, column in np.argwhere(one.used)),
        row_table=tuple(one.rows),
        column_table=tuple(one.columns),
        picks=tuple(picks),
        pixels=1,
    )


def arrives(made: Placed, values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Words of the target's sums (words, size of a word), as windows bring them there."""
    edge, source, target = made.edge, made.source, made.target
    picks: list[Pick] = [STRAIGHT]

    def pick(one: Pick) -> int:
        if one not in picks:
            picks.append(one)
        return picks.index(one)

    memory = np.zeros((target.words, ROWS, target.lanes), dtype=np.int64)
    there = np.zeros(memory.shape[:2], dtype=bool)
    words, lanes = target.places()
    there[words, lanes // target.lanes] = True
    found = [*window_passes(edge, source, target, kernel, pick)]
    assert len(found) == passes(edge, target)
    identical = edge.kind == "identity"
    for one in found:
        check_tables(one, edge, source, target)
        scan = Scan(
            potential=one.target_set * target.set_words,
            target_columns=target.shape[2],
            identity=int(identical),
        )
        window = window_of(one, picks)
        rows = one.weights.reshape(-1, ROWS, COLUMNS, target.lanes)
        if not identical:
            assert np.array_equal(one.used, rows.any(axis=(0, 3)))
        weights = rows[:, one.used].reshape(len(rows), int(one.used.sum()) * target.lanes)
        sums = Sums(window, target.lanes, weights, CONSTANT if identical else None)
        for motion in motions(window, scan, played(one, source, values, identical)):
            left = sums.move(motion)
            for bank, slot, address in motion.stores:
                assert there[address, bank], "what is not of the map is stored"
                memory[address, bank] += left[slot]
    return memory.reshape(target.words, -1)


def reach(axis: Axis, coordinate: int, side: int, made: int) -> set[int]:
    """What a coordinate of the source reaches along an axis."""
    pooled = coordinate // axis.pool
    if pooled >= side // axis.pool:
        return set()
    meets = {t: pooled + axis.padding - t * axis.stride for t in range(made)}
    return {t for t, place in meets.items() if 0 <= place < axis.kernel}


def check_tables(one: WindowPass, edge: EdgeSpec, source: MapLayout, target: MapLayout) -> None:
    """The window goes on by no more than a column, and never back; where its last column is, never
    moves back either. Each row and column reaches what it does, as far as the window is there;
    groups of channels are played that reach anything; offsets are those of rows of weights."""
    assert (len(one.rows), len(one.columns)) == source.shape[1:]
    places = np.array([column.column for column in one.columns])
    assert set(np.diff(places)) <= {0, 1}
    ends = [column.column + column.held for column in one.columns if column.some]
    assert ends == sorted(ends)
    for x, column in enumerate(one.columns):
        mine = reach(edge.axes[1], x, source.shape[2], target.shape[2])
        mine &= set(range(column.column, column.column + COLUMNS))
        assert column.some == bool(mine)
        if mine:
            assert column.held == max(mine) + 1 - column.column
    for y, row in enumerate(one.rows):
        mine, first = reach(edge.axes[0], y, source.shape[1], target.shape[1]), set()
        for bank, (stores, slot, following) in enumerate(
            zip(row.stores, row.slots, row.nexts, strict=True)
        ):
            several, part = divmod(bank, target.rows)
            group = one.target_set * target.sets + several
            if edge.kind == "identity" and group not in one.groups:
                assert not stores
                continue
            reached = (row.potential // target.columns + following) * target.rows + part
            first.add(reached - (slot - several * target.rows))
            assert stores == (reached in mine and group < target.groups)
        assert len(first) == 1  # the rows of the window follow each other
    assert one.groups == groups_played(one, edge, source, target)
    if len(one.weights):
        channels = min(one.groups.stop * source.lanes, source.shape[0])
        channels -= one.groups.start * source.lanes
        last = max(r.weight for r in one.rows) + max(c.weight for c in one.columns)
        assert last + channels <= len(one.weights)


def groups_played(one: WindowPass, edge: EdgeSpec, source: MapLayout, target: MapLayout) -> range:
    """Of the source's groups of channels, from the first to the last that reach the set."""
    if edge.kind == "identity":
        assert len(one.groups) == 1
        assert one.groups.start // target.sets == one.target_set
        return one.groups
    width = target.sets * target.lanes
    made = range(one.target_set * width, min((one.target_set + 1) * width, target.shape[0]))
    inner, outer = source.shape[0] // edge.groups, target.shape[0] // edge.groups
    reaching = {c for t in made for c in range(t // outer * inner, (t // outer + 1) * inner)}
    return range(min(reaching) // source.lanes, max(reaching) // source.lanes + 1)


@settings(max_examples=70, deadline=None)
@given(placed_edges(), st.integers(0, 2**32 - 1))
def test_what_windows_bring_is_the_convolution(made: Placed, seed: int) -> None:
    """A whole map of every density is played as the hardware would: the sums of all words, those
    of the map's rim and of channels that do not fill a group included, are `sim.golden.edges`'."""
    rng = np.random.default_rng(seed)
    edge, source, target = made.edge, made.source, made.target
    kernel = np.array([CONSTANT])
    if edge.kind == "conv":
        shape = edge.weight_shape(source.shape, target.shape, "b")
        kernel = rng.integers(1, 30, shape) * rng.choice([-1, 1], shape)
    values = rng.choice([-1, 1], source.shape) * (rng.random(source.shape) < rng.random())
    wanted = receive(values[None], edge, kernel.astype(np.float64)).reshape(1, -1)
    found = arrives(made, values, kernel)
    assert np.array_equal(found, target.pack(wanted.astype(np.int64))[0])


def test_a_convolution_by_hand() -> None:
    """A kernel of 3 with one zero around, over two rows of three columns: the window of the first
    row begins above the map, and is stored from its second row on; that of a column begins a column
    to the left. With four rows in a word there is one row of words."""
    edge, source = conv("a", 3, padding=1), MapLayout((1, 2, 3), 2)
    target = tall_layout(MapLayout((2, 2, 3), 2), 4)
    picks: list[Pick] = []
    kernel = np.arange(1, 19).reshape(2, 1, 3, 3)
    (one,) = window_passes(edge, source, target, kernel, lambda how: picks.append(how) or 0)
    assert set(picks) == {STRAIGHT}
    first, second = one.rows
    assert (first.stores, first.slots, first.nexts) == ((1, 1, 0, 0), (1, 2, 3, 0), (1, 1, 1, 0))
    assert (second.stores, second.slots, second.nexts) == ((1, 1, 0, 0), STRAIGHT + (3,), (0,) * 4)
    assert (first.potential, second.potential) == (-3, 0)
    assert [(c.column, c.held, c.some) for c in one.columns] == [(-1, 3, 1), (0, 3, 1), (1, 2, 1)]
    # Row of the window, column, lane: the kernel, turned around; its fourth row has none.
    assert one.weights.reshape(4, 3, 2)[:3, :, 0].tolist() == [[9, 8, 7], [6, 5, 4], [3, 2, 1]]
    assert one.weights.reshape(4, 3, 2)[:3, :, 1].tolist() == [
        [18, 17, 16],
        [15, 14, 13],
        [12, 11, 10],
    ]
    assert not one.weights.reshape(4, 3, 2)[3].any()


def test_how_often_a_map_is_played() -> None:
    """Once for each set of groups, and each part of what a kernel reaches."""
    shape = (16, 6, 6)
    for edge, rows, count in (
        (conv("a", 3, padding=1), 4, 4),
        (conv("a", 3, padding=1), 2, 4),
        (conv("a", 3, padding=1), 1, 3),
        (conv("a", 5, padding=2), 4, 16),
        (conv("a", 5, padding=2), 1, 10),
        (conv("a", 5, padding=2, stride=2), 4, 4),
        (conv("a", 1), 1, 1),
        (identity("a"), 1, 4),
    ):
        target = tall_layout(MapLayout(shape, 4), rows)
        assert passes(edge, target) == count


def test_strides_pick_from_one_row_of_weights() -> None:
    """A kernel of 3 and stride 2 meets one column of the target in its middle, or two at its ends:
    two ways to pick, beside the straight one."""
    picks: list[Pick] = [STRAIGHT]

    def pick(one: Pick) -> int:
        if one not in picks:
            picks.append(one)
        return picks.index(one)

    target = tall_layout(MapLayout((2, 3, 3), 2), 4)
    edge, source = conv("a", 3, stride=2, padding=1), MapLayout((1, 5, 5), 2)
    (one,) = window_passes(edge, source, target, np.ones((2, 1, 3, 3), dtype=int), pick)
    assert picks == [STRAIGHT, (1, None, None), (0, 2, None)]
    assert [c.pick for c in one.columns] == [1, 2, 1, 2, 1]
    assert [c.held for c in one.columns] == [1, 2, 1, 2, 1]
    assert len(one.weights) == 2  # where the kernel's rows meet: its middle, or both ends
