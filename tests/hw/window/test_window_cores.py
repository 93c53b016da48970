"""The window stage by itself against the golden model: every spike, potential and cycle, and as
many rows of weights as a plan counts.

Maps are as small as the case admits, and lanes few: sums, lane for lane, are in
`test_accumulators`, and what tables hold in `tests.gen.window.test_tables`.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from gen.core.plan import played_changes
from gen.window.stage import WindowStagePlan, plan_window, window_layers
from hw.contract.network import Network
from hw.program.program import Scan, Sweep
from tests.hw.driving import JITTERY, Pace
from tests.hw.program.cases import CASES, NEURONS
from tests.hw.program.programs import conv, dense, identity, network, part, random_pixels
from tests.hw.window.windows import WindowRun


def case(name: str) -> Network:
    _, shape, parts, *more = CASES[name]
    return network(shape, *parts, **(more[0] if more else {}))


def window(
    image: Network, lanes: int, rows: Sequence[int], changes: Collection[str] | None = None
) -> WindowStagePlan:
    """All layers that a window stage can run, of so many rows in a word each, in turn."""
    layers = range(window_layers(image.spec))
    heights = {image.spec.layers[n].name: rows[n % len(rows)] for n in layers}
    those = played_changes(image) if changes is None else changes
    return plan_window(image, lanes, layers, those, heights)


FEEDBACK = network(
    (2, 3, 4),
    part(3, conv("input", 3, padding=1), conv("b", 3, stride=1, padding=1, delay=1)),
    part(3, conv("a", 1), identity("b", delay=1), neuron=NEURONS["unequal-soft"]),
    part(2, dense("b")),
    steps=3,
)
"""Two layers that take their steps together."""

SIGNS = network(
    (1, 3, 3),
    part(3, conv("input", 1), neuron=NEURONS["off"]),
    part(2, conv("a", 3, padding=1), neuron=NEURONS["fraction-soft-leak-off"]),
    part(2, dense("b")),
)
"""Spikes without a sign; a decay, and bits of a fraction."""


class Selected(NamedTuple):
    """A network; channels per cycle; rows of each layer in a word, in turn; whose changes are
    played (None: of all, but of a recording)."""

    network: Network
    lanes: int
    rows: tuple[int, ...]
    changes: tuple[str, ...] | None = None


RUNS = {
    "kernel-1": Selected(case("kernel-1"), 2, (4, 2)),
    "kernel-1-even": Selected(case("kernel-1-even"), 2, (1,)),
    "kernel-3-all-zeros": Selected(case("kernel-3-all-zeros"), 2, (2,)),
    "kernel-5-stride": Selected(case("kernel-5-stride"), 4, (4,)),
    "kernel-7": Selected(case("kernel-7-beyond-the-map"), 4, (2, 4)),
    "kernel-7-inside": Selected(case("kernel-7-inside"), 4, (4,)),
    "groups": Selected(case("groups-straddle"), 4, (1, 2)),
    "depthwise": Selected(case("multiplied-depthwise"), 2, (2,)),
    "pooling": Selected(case("pooling-inside"), 2, (4, 1)),
    "identities": Selected(case("identities-alone"), 4, (1, 2, 4)),
    "recurrent": Selected(case("recurrent"), 2, (2,), ()),
    "feedback": Selected(FEEDBACK, 2, (1, 2), ("b",)),
    "one-step": Selected(case("levels"), 2, (1, 4)),
    "guarded": Selected(case("counted-guarded"), 2, (2,)),
    "thresholds": Selected(case("thresholds"), 2, (1,)),
    "recording": Selected(case("recording"), 2, (1,)),
    "one-by-one-maps": Selected(case("one-by-one-maps"), 4, (2, 1)),
    "signs": Selected(SIGNS, 2, (1, 2)),
}


def plan_of(name: str) -> WindowStagePlan:
    return window(*RUNS[name])


@pytest.mark.parametrize("name", RUNS)
def test_a_window_stage_is_golden_and_keeps_the_law(name: str) -> None:
    plan = plan_of(name)
    run = WindowRun(plan, random_pixels(plan.network, 3)[1:])
    assert all(0 < np.mean(run.trace.spikes[n] != 0) < 1 for n in plan.layers)
    run.check_law()
