"""The scale model of a window stage against its cycle law."""

from collections.abc import Collection

import numpy as np
import pytest

from gen.core.law import mean_cycles
from gen.core.plan import plan_windows, played_changes
from gen.window.expectation import window_expected
from gen.window.stage import WindowStagePlan, plan_window
from hw.contract.edge import INPUT
from hw.contract.network import Network
from hw.program.code import Played
from sim.golden.model import GoldenModel
from sw.data.dataset import load_split
from sw.data.shipped import model_path
from sw.study.scale import measured_rates
from tests.hw.program.cases import QUICK
from tests.hw.program.programs import conv, dense, identity, network, part

MAPS = network(
    (2, 6, 7),
    part(5, conv("input", 3, padding=1)),
    part(5, conv("a", 3, padding=1, groups=5), identity("a"), conv("a", 1, delay=1)),
    part(4, conv("b", 5, padding=2, stride=2, pool=2), neuron=QUICK),
    part(3, dense("c")),
    steps=3,
)
"""Edges of every kind; groups of channels that do not fill the lanes."""


def check_model(
    network: Network, plan: WindowStagePlan, pixels: np.ndarray, changes: Collection[str]
) -> None:
    """Cycles are within 3 % of the law."""
    trace = GoldenModel(network).run(pixels)
    found = window_expected(plan, measured_rates(network, pixels, trace, [*changes]))
    each = [(one, [spikes[n] for spikes in trace.spikes]) for n, one in enumerate(pixels)]
    last = plan.program.operations[-1]
    cycles = [sum(plan.operation_cycles(*one)) for one in each]
    # Operations are fetched in two cycles, and are seen to be over in one.
    own = 3 * (len(plan.program.operations) - 1) + last.last_word + 1 + 4  # type: ignore[union-attr]
    assert found == pytest.approx(np.mean(cycles) + own, rel=0.03)


@pytest.mark.parametrize("changing", [True, False])
@pytest.mark.parametrize("rows", [(4, 4, 4), (1, 2, 1)])
def test_model_of_every_kind_of_edge(rows: tuple[int, ...], changing: bool) -> None:
    names = MAPS.firing
    changes = names * changing
    plan = plan_window(MAPS, 4, None, changes, dict(zip(names, rows, strict=True)))
    pixels = np.random.default_rng(1).integers(0, 4, (20, 84)).astype(np.uint8)
    check_model(MAPS, plan, pixels, changes)


def test_model_keeps_to_the_law() -> None:
    """On images of the test set; the core's cycles are those of its window stage."""
    image = Network.load(model_path("digits-conv"))
    core = plan_windows(image, 16)
    (window, *_) = core.stages
    assert isinstance(window, WindowStagePlan)
    pixels = load_split("digits", "test", image.spec.input_bits).images[:20]
    check_model(image, window, pixels, played_changes(image))
    law = mean_cycles(core, pixels, GoldenModel(image).run(pixels).spikes)
    assert core.expected_cycles() == pytest.approx(law, rel=0.05)


def test_silence_costs_little_and_noise_much() -> None:
    for changes in ((), MAPS.firing):
        plan = plan_window(MAPS, 4, None, changes)

        def at(rate: float, plan: WindowStagePlan = plan) -> float:
            one = {INPUT: 0.5, **dict.fromkeys(MAPS.firing, rate)}
            return window_expected(plan, dict.fromkeys(Played, one))

        assert at(0) < at(0.1) < at(0.5) < at(1)
