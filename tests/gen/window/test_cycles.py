"""The cycle law of a window stage, by hand and cycle by cycle."""

import numpy as np
import pytest

from gen.window.cycles import WindowTimes, window_play, window_plays
from gen.window.stage import WindowStagePlan, plan_window, window_layers
from hw.contract.edge import INPUT
from hw.layer.encoder import ChunkEncoder
from hw.program.code import Scan
from hw.program.scanner import Scanner
from sim.golden.model import GoldenModel
from tests.hw.program.cases import CASES, QUICK
from tests.hw.program.programs import conv, dense, identity, network, part, random_pixels
from tests.hw.window.playing import Event, motions

ENDS = 8
"""Cycles from a motion that stores to the end of the cycle that writes."""


def plans() -> dict[str, WindowStagePlan]:
    """Of every case that begins with layers of maps, with one, two, or four rows in a word."""
    found = {}
    for n, (name, (lanes, shape, parts, *more)) in enumerate(CASES.items()):
        image = network(shape, *parts, **(more[0] if more else {}))
        layers = range(window_layers(image.spec))
        if layers:
            rows = {image.spec.layers[k].name: (4, 2, 1)[(n + k) % 3] for k in layers}
            found[name] = plan_window(image, lanes, layers, image.firing, rows)
    return found


PLANS = plans()


def events_of(plan: WindowStagePlan, scan: Scan, values: np.ndarray) -> list[Event]:
    """What a scanner sends of a map of coefficients (channels, rows, columns): word by word, plane
    by plane, lane by lane; of an identity, plane by plane."""
    found, lanes = [], plan.lanes
    for row, column, group in np.ndindex(*values.shape[1:], scan.last_source_group + 1):
        mine = values[group * lanes : (group + 1) * lanes, row, column].tolist()
        here = {"row": row, "column": column}
        several = []
        for plane in range(scan.last_plane + 1):
            lit = [k for k, c in enumerate(mine) if abs(c) >> plane & 1]
            several += [Event(**here)] * (min(1, len(lit)) if scan.identity else len(lit))
        found += several or [Event(**here, null=1)]
    return found


def moved_by_hand(plan: WindowStagePlan, scan: Scan, values: np.ndarray) -> tuple[int, int]:
    """Rows of weights that are added; from START to the first cycle with nothing on its way."""
    cycle = 6 + 6 + 2 * (not scan.identity)  # of the first event's motion, when it does not wait
    end, added = cycle, 0
    for motion in motions(plan.window, scan, events_of(plan, scan, values)):
        if motion.stores:
            end = max(end, cycle + ENDS)
        end = max(end, cycle + (not motion.idle))
        added += motion.event is not None
        cycle += 1
    return added, max(end, cycle - 1)


@pytest.mark.parametrize("name", PLANS)
def test_the_law_is_what_moves_cycle_by_cycle(name: str) -> None:
    """Of every edge, maps of every density, and of rows and columns that are empty."""
    plan, rng = PLANS[name], np.random.default_rng(len(name))
    scans = {(op.name, op.row_table, op.address, op.weight): op for op in scans_of(plan)}
    for scan in scans.values():
        channels, *sides = plan.network.spec.shape_of(scan.source)
        first = scan.first_group * plan.lanes
        last = min(first + (scan.last_source_group + 1) * plan.lanes, channels)
        shape = last - first, *sides
        for density in (0.0, 0.02, 0.1, 0.4, 1.0):
            top = (2 << scan.last_plane) - 1
            values = rng.integers(1, top + 1, shape) * rng.choice([-1, 1], shape)
            values *= rng.random(shape) < density
            values[:, :, rng.random(sides[1]) < 0.2] = 0
            found = window_play(plan.program, scan, values)
            assert (found.updates, found.cycles) == moved_by_hand(plan, scan, values)


def scans_of(plan: WindowStagePlan) -> list[Scan]:
    return [op for op in plan.program.operations if isinstance(op, Scan)]


def test_some_scan_waits_and_some_does_not() -> None:
    """The cases above have maps so small that their rows wait, and others."""
    assert {scan.turn for plan in PLANS.values() for scan in scans_of(plan)} == {0, 1, 2, 3}


def small(shape: tuple[int, int, int], kernel: int, **more: int) -> tuple[WindowStagePlan, Scan]:
    image = network(shape, part(2, conv("input", kernel, **more)), part(2, dense("a")), bits=1)
    plan = plan_window(image, 2, rows={"a": 4})
    return plan, scans_of(plan)[0]


def test_costs_of_a_scan_by_hand() -> None:
    """Six cycles to the first plane's being shown, two in the encoder, six in the cursor."""
    plan, scan = small((1, 3, 6), 3, padding=1)
    p, dark = plan.program, np.zeros((1, 3, 6), dtype=int)
    assert (Scanner.latency(p), ChunkEncoder.LATENCY) == (6, 2)
    assert scan.turn == 0

    def cycles(*lit: tuple[int, int]) -> int:
        values = dark.copy()
        for at in lit:
            values[0, at[0], at[1]] = 1
        return window_play(p, scan, values).cycles

    begin = 6 + 2 + 6
    assert cycles() == begin + 17  # a null of each position, the first of them in that cycle
    # Three columns leave: the second and third of the map as the next ones come, cycles before the
    # last null. At the end of a row, two are left, and one after the other leaves.
    assert cycles((0, 1)) == begin + 17
    assert cycles((2, 5)) == begin + 17 + 2 + ENDS
    assert cycles((2, 3)) == begin + 17 + 1 + ENDS
    assert cycles((2, 2)) == begin + 17 + ENDS
    assert cycles((2, 1)) == begin + 16 + ENDS
    # Of the next row, the first waits for one of the two.
    assert cycles((0, 5)) == begin + 18
    assert cycles((0, 5), (1, 5)) == begin + 12 + 2 + ENDS  # with the last row's first event
    assert cycles((0, 5), (1, 5), (2, 5)) == begin + 19 + 2 + ENDS


def test_a_row_takes_as_long_as_its_sums_take() -> None:
    """Sums are not read before they are written: a map of one column waits for three cycles more,
    before each of its rows."""
    plan, scan = small((1, 3, 1), 1)
    assert scan.turn == 3
    dark = np.zeros((1, 3, 1), dtype=int)
    assert window_play(plan.program, scan, dark).cycles == 14 + 2 + 3 * 3
    dark[0, 2] = 1
    found = window_play(plan.program, scan, dark)
    assert (found.updates, found.cycles) == (1, 14 + 2 + 3 * 3 + 1 + ENDS)


def test_updates_are_events_that_reach_anything() -> None:
    """Pooling to a map of 2x2 leaves a row and a column over. Of a kernel of 5, one part reaches
    rows of the map; of its columns, the left ones reach further to the right than a window does.
    All lanes of an identity go at once."""
    image = network(
        (2, 5, 5),
        part(4, conv("input", 5, padding=2, pool=2)),
        part(4, identity("a"), neuron=QUICK),
        part(2, dense("b")),
        steps=1,
    )
    plan = plan_window(image, 2, rows={"a": 4, "b": 4})
    pixels = np.zeros((2, 5, 5), dtype=int)
    pixels[0, 0, 0], pixels[1, 3, 3], pixels[1, 4, 0], pixels[0, 0, 4] = 3, 2, 3, 3
    spikes = [np.zeros((1, 16), dtype=int), np.zeros((1, 16), dtype=int)]
    passes = [op for op in scans_of(plan) if op.source == INPUT]
    assert len(passes) == 2 * 2 * 2  # groups of channels; rows, and columns, that are reached
    assert plan.additions(pixels.reshape(-1), spikes) == 2 * (2 * 2 + 1)
    spikes[0][0, [0, 4, 8]] = 1  # of three channels, two are of a group
    assert plan.additions(pixels.reshape(-1), spikes) == 2 * (2 * 2 + 1) + 2


# A stage


def test_operations_cost_what_the_law_says() -> None:
    """Scans and sweeps, in order."""
    plan = PLANS["identity"]
    pixels = random_pixels(plan.network, 3)[2]
    spikes = [part[0] for part in GoldenModel(plan.network).run(pixels[None]).spikes]
    plays = [play for _, play in window_plays(plan, pixels, spikes)]
    found = plan.operation_cycles(pixels, spikes)
    assert len(found) == len(plan.program.operations) - 1
    assert [cycles for cycles, play in zip(found, plays, strict=True) if play] == [
        play.cycles for play in plays if play
    ]
    assert plan.additions(pixels, spikes) == sum(play.updates for play in plays if play) > 0


@pytest.mark.parametrize("lanes", [2, 8])
def test_words_of_pictures_are_taken_as_their_last_position_is(lanes: int) -> None:
    """A word of four pixels takes four cycles, and the first one three more; a word of one, one."""
    image = network((2, 3, 6), part(2, conv("input", 3)), part(2, dense("a")))
    plan = plan_window(image, lanes)
    intake = {2: 0, 8: 3}[lanes]
    assert plan.intake == intake
    assert plan.loading == plan.program.input_words * (intake + 1)
    times = plan.times(None, 0)
    assert isinstance(times, WindowTimes)
    times.prepare(*_silent(plan))
    times.begin(0)
    words = plan.program.input_words
    # The first of all is offered before cycle 0, and taken in it.
    assert times.take(0, words) == (words - 1) * (intake + 1)
    assert times.take(0, 1) == words * (intake + 1)  # of the next picture
    assert times.take(0, words - 1) == (2 * words - 1) * (intake + 1)
    times.released = [1000, 1000]
    assert times.take(0, 1) == 1000 + 1 + intake


def _silent(plan: WindowStagePlan) -> tuple[np.ndarray, list[np.ndarray]]:
    spec = plan.network.spec
    spikes = [np.zeros((2, spec.steps, layer.neurons), dtype=int) for layer in spec.layers[:-1]]
    return np.zeros((2, spec.image_size), dtype=int), spikes


def test_words_that_come_slowly() -> None:
    """From one to the next as many cycles as they say, or as a word takes."""
    image = network((2, 3, 6), part(2, conv("input", 3)), part(2, dense("a")))
    plan = plan_window(image, 8)
    for interval, spent in ((1, 4), (4, 4), (6, 6)):
        times = plan.times(None, 0)
        times.prepare(*_silent(plan))
        times.begin(0)
        assert times.take(0, 3, interval=interval) == 2 * spent
        assert times.take(50, 1) == 50
