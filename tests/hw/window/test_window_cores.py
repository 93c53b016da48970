"""The window stage by itself against the golden model: every spike, potential and cycle, and as
many rows of weights as a plan counts.

Maps are as small as the case admits, and lanes few: sums, lane for lane, are in
`test_accumulators`, and what tables hold in `tests.gen.window.test_tables`.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from gen.core.plan import played_changes
from gen.window.stage import WindowStagePlan, plan_window, window_layers
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.program.code import Scan, Sweep
from tests.hw.driving import JITTERY, Pace
from tests.hw.program.cases import CASES, CURRENTS, MANY, NEURONS, SOFT_COUNTS_M, WIDTHS
from tests.hw.program.programs import conv, dense, identity, network, part, random_pixels
from tests.hw.window.windows import WindowRun


def case(name: str, **other: Any) -> Network:
    """Of a case, but for what is `other`."""
    _, shape, parts, *more = CASES[name]
    return network(shape, *parts, **((more[0] if more else {}) | other))


def window(
    image: Network, lanes: int, rows: Sequence[int], changes: Collection[str] | None = None
) -> WindowStagePlan:
    """All layers that a window stage can run, of so many rows in a word each, in turn."""
    layers = range(window_layers(image.spec))
    heights = {image.spec.layers[n].name: rows[n % len(rows)] for n in layers}
    those = played_changes(image) if changes is None else changes
    return plan_window(image, lanes, layers, those, heights)


FEEDBACK = network(
    (2, 3, 3),
    part(3, conv("input", 3, padding=1), conv("b", 3, padding=1, delay=1)),
    part(3, conv("a", 1), identity("b", delay=1), neuron=NEURONS["unequal-soft"]),
    part(2, dense("b")),
    steps=2,
)
"""Two layers that take their steps together."""

OFF = NeuronSpec(theta=5, negative="off", potential_bits=8)
FRACTION = NeuronSpec(
    theta=30,
    decay="leak",
    decay_shift=3,
    fraction_bits=2,
    reset="soft",
    step=20,
    negative="off",
    potential_bits=9,
)

KERNELS = network(
    (1, 3, 2),
    part(2, conv("input", 7, padding=3)),
    part(3, conv("a", 5, stride=2, padding=2)),
    part(2, dense("b")),
    bits=1,
)
"""They reach beyond the map on all sides, and further than a window."""

SIGNS = network(
    (1, 3, 3),
    part(3, conv("input", 1), neuron=OFF),
    part(2, conv("a", 3, padding=1), neuron=FRACTION),
    part(2, dense("b")),
)
"""Spikes without a sign; a decay, and bits of a fraction."""


SYNAPSES = network(
    (2, 3, 3),
    part(3, conv("input", 3, padding=1), neuron=CURRENTS["current-fraction"]),
    part(3, conv("a", 3, padding=1), identity("b", delay=1), neuron=CURRENTS["current"]),
    part(2, conv("b", 1), neuron=NEURONS["soft"]),
    part(2, dense("c")),
    steps=4,
)
"""Neurons with synaptic currents, one of which hears itself, beside others."""

OWN = network(
    (2, 3, 3),
    part(
        5,
        conv("input", 3, padding=1),
        neuron=SOFT_COUNTS_M,
        channel_thresholds=True,
        channel_decays=True,
    ),
    part(3, conv("a", 1), neuron=MANY[3], channel_decays=True),
    part(2, dense("b")),
    steps=3,
)
"""Each channel has constants of its own: thresholds, reset steps, factors of two widths."""


class Selected(NamedTuple):
    """A network; channels per cycle; rows of each layer in a word, in turn; whose changes are
    played (None: of all, but of a recording)."""

    network: Network
    lanes: int
    rows: tuple[int, ...]
    changes: tuple[str, ...] | None = None


RUNS = {
    "kernel-1": Selected(case("kernel-1"), 4, (4, 2)),
    "kernel-3-all-zeros": Selected(case("kernel-3-all-zeros"), 2, (2,)),
    "kernel-5-stride": Selected(case("kernel-5-stride"), 4, (4,)),
    "kernel-7": Selected(KERNELS, 4, (2, 4)),
    "kernel-2": Selected(case("kernel-2"), 4, (2, 1)),
    "kernel-4-stride-3": Selected(case("kernel-4-stride-3"), 2, (4, 2)),
    "kernel-3-stride-3": Selected(case("kernel-3-stride-3"), 4, (2,)),
    "kernel-9": Selected(case("kernel-9"), 2, (4, 1)),
    "kernel-11": Selected(case("kernel-11"), 2, (1, 2)),
    "kernel-1x5": Selected(case("kernel-1x5"), 4, (1, 4)),
    "stride-1x2": Selected(case("stride-1x2"), 4, (2, 4)),
    "pool-1x2": Selected(case("pool-1x2"), 4, (1, 2)),
    "samples": Selected(case("samples"), 4, (1, 2)),
    "groups": Selected(case("groups-far-apart"), 2, (1, 4)),
    "depthwise": Selected(case("multiplied-depthwise"), 2, (2,)),
    "pooling": Selected(case("pooling-inside"), 2, (4, 1)),
    "identities": Selected(case("identities-alone"), 4, (1, 2, 4)),
    "recurrent": Selected(case("recurrent", steps=2), 2, (2,), ()),
    "feedback": Selected(FEEDBACK, 2, (1, 2), ("b",)),
    "one-step": Selected(case("levels"), 2, (1, 4)),
    "guarded": Selected(case("counted-guarded"), 2, (2,)),
    "thresholds": Selected(case("thresholds"), 2, (1,)),
    "own-constants": Selected(OWN, 2, (2, 1)),
    "own-constants-one-row": Selected(case("decays-and-steps"), 4, (1,)),
    "recording": Selected(case("recording", steps=2), 4, (1,)),
    "one-by-one-maps": Selected(case("one-by-one-maps"), 8, (2, 1)),
    "signs": Selected(SIGNS, 2, (1, 2)),
    "currents": Selected(SYNAPSES, 2, (2, 1)),
    **{f"wide-{bits}": Selected(case(f"wide-{bits}"), 4, (2, 1)) for bits in WIDTHS},
}


def plan_of(name: str) -> WindowStagePlan:
    return window(*RUNS[name])


@pytest.mark.parametrize("name", RUNS)
def test_a_window_stage_is_golden_and_keeps_the_law(name: str) -> None:
    plan = plan_of(name)
    run = WindowRun(plan, random_pixels(plan.network, 3)[1:])
    assert all(0 < np.mean(run.trace.spikes[n] != 0) < 1 for n in plan.layers)
    run.check_law()


def test_the_runs_have_what_a_stage_can_have() -> None:
    """Kernels, strides, pooling, groups; several sets of groups of channels, words whose last rows
    are none; rows that wait; steps that are played as they are, as changes, and summed up."""
    plans = [plan_of(name) for name in RUNS]
    edges = [e for p in plans for n in p.layers for e in p.network.spec.layers[n].edges]
    assert {e.kernel for e in edges if e.kind == "conv"} == {
        *(1, 2, 3, 4, 5, 7, 9, 11, (1, 5), (5, 1), (2, 3), (1, 3), (1, 4))
    }
    assert {e.stride for e in edges} == {1, 2, 3, 4, 7, (1, 2), (2, 1), (2, 3), (1, 3)}
    assert {e.pool for e in edges} >= {1, 2, 3, (1, 2), (2, 1)}
    assert max(e.groups for e in edges) > 2
    kinds = {(kind, delay) for kind in ("conv", "identity") for delay in (0, 1)}
    assert {(e.kind, e.delay) for e in edges} == kinds
    operations = [op for plan in plans for op in plan.program.operations]
    scans = [op for op in operations if isinstance(op, Scan)]
    assert {(op.last_set, op.last_part) for op in scans} >= {(0, 3), (1, 1), (3, 0)}
    assert {op.turn for op in scans} == {0, 1, 2, 3}
    assert any(op.first_set and op.last_source_group for op in scans)
    sweeps = [op for op in operations if isinstance(op, Sweep)]
    assert any(op.ragged for op in sweeps)
    assert any(op.parts != 15 and not op.ragged for op in sweeps)
    programs = [plan.program for plan in plans]
    assert any(not p.potential_words for p in programs)
    assert any(p.count_bits for p in programs)
    assert any(p.thetas is not None for p in programs)
    assert any(p.input_banks == 1 and p.input_vectors > 1 for p in programs)
    assert {p.spike_sign for p in programs} == {False, True}
    assert {plan.intake for plan in plans} >= {0, 1, 3}


def test_an_empty_picture_and_then_others() -> None:
    """Of the first there is nothing but nulls; the third waits until the first has been read."""
    plan = plan_of("kernel-1")
    run = WindowRun(plan, random_pixels(plan.network, 4)[[0, 2, 1, 3]])
    run.check_law()


@pytest.mark.parametrize("pace", JITTERY, ids=str)
@pytest.mark.parametrize("name", ["identities", "depthwise"])
def test_hesitant_surroundings_change_nothing(name: str, pace: Pace) -> None:
    """Idle sources and busy sinks, junk on the idle payload."""
    plan = plan_of(name)
    WindowRun(plan, random_pixels(plan.network, 2, seed=8)[1:], pace)


@pytest.mark.parametrize("cycle", [2, 20, 50, 165, 335])
def test_a_reset_at_any_time(cycle: int) -> None:
    """While a picture is cut into its positions, in a sweep, in scans, while spikes are sent: the
    next pictures are right, and as quick as after any other reset."""
    plan = plan_of("signs")
    WindowRun(plan, random_pixels(plan.network, 3)[2:], reset_at=cycle).check_law()
