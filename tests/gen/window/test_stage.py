"""Window stages: which layers they can run, how their maps lie in words, what is refused."""

from typing import Any

import numpy as np
import pytest

from gen.stage.stage import PlanError
from gen.window.stage import WindowStagePlan, plan_window, window_layers, window_rows
from gen.window.writer import tall_layout
from hw.contract.layout import MapLayout
from hw.contract.network import Network
from hw.neuron.decay import adder_bits
from hw.program.code import Scan, Sweep
from tests.hw.program.cases import CASES
from tests.hw.program.programs import conv, dense, identity, network, part


def case(name: str) -> Network:
    _, shape, parts, *more = CASES[name]
    return network(shape, *parts, **(more[0] if more else {}))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("kernel-1", 2),
        ("identities-alone", 2),  # not the readout, whose identity it is
        ("recording", 1),
        ("readout-of-maps", 1),
        ("dense-into-maps", 0),
        ("readout-alone", 0),
        ("recurrent", 1),
        ("feedback", 0),  # the first layer goes step by step with one of dense edges
    ],
)
def test_layers_that_a_window_stage_can_run(name: str, count: int) -> None:
    image = case(name)
    assert window_layers(image.spec) == count
    if count:
        plan = plan_window(image, 4)
        assert plan.layers == range(count)
        assert [*plan.rows] == [layer.name for layer in image.spec.layers[:count]]


def test_refusals() -> None:
    image = case("kernel-1")
    lanes = "(2, 4, 8, 16, 32, 64, 128)"
    maps = "layers of maps, which convolutions and identities alone reach, for a window core"
    refused_for: list[tuple[dict[str, Any], str]] = [
        ({"lanes": 3}, f"Lanes of a window core must be one of {lanes}, not 3"),
        ({"lanes": 256}, f"Lanes of a window core must be one of {lanes}, not 256"),
        ({"rows": {"a": 4}}, "Rows of layer b in a word must be one of (4, 2, 1), not None"),
        ({"rows": {"a": 3, "b": 4}}, "Rows of layer a in a word must be one of (4, 2, 1), not 3"),
        ({"layers": range(3)}, f"Network small must begin with {maps}; it has 2 of them"),
        ({"layers": range(1, 2)}, f"Network small must begin with {maps}; it has 2 of them"),
        ({"layers": range(0)}, f"Network small must begin with {maps}; it has 2 of them"),
    ]
    for more, sentence in refused_for:
        with pytest.raises(PlanError) as refused:
            plan_window(image, **more)
        assert str(refused.value) == sentence
    with pytest.raises(PlanError, match="it has 0 of them"):
        plan_window(case("feedback"), 4)


def test_how_maps_lie_in_words() -> None:
    """Four rows, or two of two groups of channels, or one of four; a layer may have others than the
    next."""
    plan = plan_window(case("many-groups"), 2, rows={"a": 2, "b": 1})
    assert plan.words_of("a") == MapLayout((7, 2, 3), 2, rows=2, sets=2)
    assert plan.output == MapLayout((5, 2, 3), 2, rows=1, sets=4)
    assert (plan.output.size, plan.output.words, plan.output.padded_groups) == (8, 6, 4)
    assert (plan.words_of("a").words, plan.words_of("a").set_words) == (6, 3)
    assert (plan.program.word, plan.program.parts) == (8, 4)
    assert plan.facts()["rows"] == {"a": 2, "b": 1}
    assert plan.facts()["layers"] == ["a", "b"]
    assert plan.how(1) == "one window core"
    assert plan.sizes_of == "windows"


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("shape", [(9, 5, 3), (2, 4, 1), (5, 1, 4)])
def test_maps_are_packed_and_unpacked(shape: tuple[int, int, int], rows: int) -> None:
    """Every value has a place of its own: its lane, in its row's and its group's part of a word."""
    layout = tall_layout(MapLayout(shape, 2), rows)
    values = np.arange(1, 2 * np.prod(shape) + 1).reshape(2, -1)
    packed = layout.pack(values)
    assert packed.shape == (2, layout.words, 8)
    assert np.count_nonzero(packed) == values.size
    assert np.array_equal(layout.unpack(packed), values)
    maps, parts = values[0].reshape(shape), packed[0].reshape(layout.words, -1, 2)
    high = -(-shape[1] // rows)
    for c, y, x in np.ndindex(shape):
        group, lane = divmod(c, 2)
        several, one = divmod(group, 4 // rows)
        word = (several * high + y // rows) * shape[2] + x
        assert parts[word, one * rows + y % rows, lane] == maps[c, y, x]


def test_rows_are_those_of_least_work() -> None:
    """A map of many groups is played once for four of them, where they lie side by side; of one
    group, four rows are reached at once."""

    def rows(channels: int, kernel: int, **more: Any) -> int:
        made = part(channels, conv("input", kernel, padding=kernel // 2, **more))
        image = network((2, 8, 8), made, part(2, dense("a")))
        return window_rows(image, range(1), 4)["a"]

    assert rows(4, 3) == 4
    assert rows(16, 1) == 1
    assert rows(16, 3) == 1  # three times, not four times
    assert rows(8, 3) == 4  # twice either way: words of as many rows as there are
    assert rows(4, 7) == 4
    chosen = plan_window(case("groups-straddle"), 4)
    assert chosen.rows == window_rows(chosen.network, range(2), 4)


def test_sweeps_of_groups_that_lie_side_by_side() -> None:
    """Three groups of channels in words of two: the fourth is none, and is swept with rows of
    biases that are 0; of five rows, one is in the last word of a column."""
    image = network((1, 5, 3), part(5, conv("input", 3, padding=1)), part(2, dense("a")))
    plan = plan_window(image, 2, rows={"a": 2})
    sweeps = [op for op in plan.program.operations if isinstance(op, Sweep)]
    first, second = sweeps[:2]
    assert (first.last_word, second.last_word) == (8, 8)
    assert (second.potential - first.potential, second.channels - first.channels) == (9, 2)
    assert (first.spread, first.ragged, first.parts) == (1, 6, 0b0101)
    assert len(plan.program.biases) == 4
    assert not plan.program.biases[3].any()
    even = plan_window(image, 2, rows={"a": 1})
    (whole,) = {(op.ragged, op.parts) for op in even.program.operations if isinstance(op, Sweep)}
    assert whole == (0, 0b1111)


def test_positions_that_nothing_adds_to() -> None:
    """A kernel of 1 adds to one column of as many rows as there are groups of channels side by
    side; an identity to the first column of all rows; one of 3 to three of each."""

    def used(rows: int, *edges: Any) -> set[tuple[int, int]]:
        image = network((2, 4, 4), part(2, *edges), part(2, dense("a")))
        return set(plan_window(image, 2, rows={"a": rows}).window.used)

    assert used(4, conv("input", 1)) == {(0, 0)}
    assert used(4, identity("input")) == {(row, 0) for row in range(4)}
    square = {(row, column) for row in range(3) for column in range(3)}
    assert used(4, conv("input", 3, padding=1)) == square
    assert used(1, conv("input", 3, padding=1)) == {(0, column) for column in range(3)}
    both = used(4, conv("input", 3, padding=1), identity("input"))
    assert both == square | {(3, 0)}


def test_equal_tables_lie_there_once() -> None:
    """Two steps of an edge, and groups of channels, share them."""
    plan = plan_window(case("many-groups"), 2, rows={"a": 4, "b": 4})
    p = plan.program
    assert p.window is not None
    scans = [op for op in p.operations if isinstance(op, Scan)]
    assert len({op.row_table for op in scans}) == 2  # a kernel of 3; one of 1
    assert len(p.window.row_table) < len(scans)
    assert p.rows == p.columns == ()


def test_sizes_are_those_of_all_that_adds() -> None:
    """Twelve places of a lane each, and a choice of weights for each way to pick beside the first;
    four words of the sweeper's lanes."""
    plan = plan_window(case("kernel-3-stride"), 4)
    p, sizes = plan.program, plan.sizes()
    assert len(plan.window.picks) == 3
    assert sizes == {
        "stage": 1,
        "sum": 12 * 4 * p.sum_bits,
        "pick": 12 * 4 * p.weight_bits * 2,
        "lane": 16 * p.membrane_bits,
        "decay": 16 * p.membrane_bits * (len(p.decays) - 1),
        "adders": 16 * adder_bits(p.decays, p.membrane_bits),
    }
    assert p.weight_table.lanes == len(plan.window.used) * 4
    names = plan.memories()
    assert {"potentials", "potentials (bank 1)", "potentials (bank 3)", "spikes"} <= set(names)


def test_pictures_lie_in_words_of_a_position() -> None:
    """A word that comes in has several positions; the memory has each by itself."""
    image = network((2, 3, 6), part(2, conv("input", 3)), part(2, dense("a")))
    plan = plan_window(image, 8)
    p = plan.program
    assert (plan.layout.positions, plan.words, p.pixels) == (4, 6, 2)
    assert p.image_words == 64  # two of 24 words, each at a power of two
    (scan, *_) = (op for op in p.operations if isinstance(op, Scan))
    assert (scan.row_words, scan.last_column) == (8, 5)
    assert isinstance(plan, WindowStagePlan)
    narrow = plan_window(network((3, 2, 2), part(3, identity("input")), part(2, dense("a"))), 4)
    assert (narrow.program.pixels, narrow.intake) == (4, 0)
