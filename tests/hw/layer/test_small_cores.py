"""Cores for small chips: neurons updated in parts, lean queues."""

import numpy as np
import pytest

from gen.core.plan import PlanError, plan_core
from tests.hw.driving import FLOWING, JITTERY, Pace
from tests.hw.layer.cores import CoreRun, check_cycle_law, random_pixels
from tests.networks import random_chain
from tests.sampling import sampled

SHAPES = {  # sizes, steps, input_bits, lanes, banks, fire_lanes, lean
    "lean": ((9, 7, 5), 3, 2, 7, 1, 0, True),
    "lean-banks": ((17, 12, 6, 4), 2, 3, 6, 4, 0, True),
    "parts": ((12, 16, 10), 3, 2, 16, 1, 4, False),
    "parts-of-groups": ((12, 30, 10), 3, 2, 8, 1, 4, True),
    "uneven-parts": ((6, 10, 7), 2, 2, 10, 1, 4, True),
    "padded-groups": ((6, 21, 7), 4, 1, 10, 1, 2, True),
    "parts-banks": ((20, 33, 9, 5), 3, 2, 12, 2, 4, False),
    "one-lane-fires": ((8, 9, 4, 3), 2, 2, 5, 1, 1, True),
    "readout-only": ((9, 5), 3, 4, 5, 2, 2, True),
    "readout-groups": ((9, 9), 3, 4, 4, 1, 2, True),
    "slices": ((9, 40, 4), 2, 2, 40, 1, 16, True),
}


def small_plan(name: str):
    sizes, steps, input_bits, lanes, banks, fire, lean = SHAPES[name]
    network = random_chain(np.random.default_rng(2), sizes, steps=steps, input_bits=input_bits)
    return plan_core(network, lanes, banks, fire_lanes=fire, lean=lean)


@pytest.mark.parametrize("name", SHAPES)
def test_small_core_is_golden_and_keeps_the_law(name: str) -> None:
    """Flowing; what is stalled is below."""
    check_small(name, FLOWING)


@pytest.mark.parametrize("name", sampled(SHAPES))
def test_a_stalled_small_core_is_golden(name: str) -> None:
    check_small(name, JITTERY[2])


def check_small(name: str, pace: Pace) -> None:
    plan = small_plan(name)
    pixels = random_pixels(plan.network, 5, seed=4)
    run = CoreRun(plan, pixels, pace)
    if pace == FLOWING:
        check_cycle_law(run, pixels)


@pytest.mark.parametrize("seed", sampled(range(8)))
def test_random_small_cores(seed: int) -> None:
    rng = np.random.default_rng(300 + seed)
    sizes = tuple(rng.integers(1, 41, rng.integers(2, 5)).tolist())
    network = random_chain(
        rng, sizes, steps=int(rng.integers(1, 5)), input_bits=int(rng.integers(1, 5))
    )
    banks = int(2 ** rng.integers(0, 3))
    fire = banks * int(2 ** rng.integers(0, 3))
    plan = plan_core(
        network, int(rng.integers(1, 41)), banks, fire_lanes=fire, lean=bool(rng.integers(0, 2))
    )
    pixels = random_pixels(network, 4, seed=seed)
    check_cycle_law(CoreRun(plan, pixels, FLOWING), pixels)


def test_what_cannot_fire_is_refused() -> None:
    network = random_chain(np.random.default_rng(2), (5, 4, 3), steps=1, input_bits=1)
    for fire, banks in ((3, 1), (2, 4)):
        with pytest.raises(PlanError) as refused:
            plan_core(network, 4, banks, fire_lanes=fire)
        assert str(refused.value) == (
            f"Lanes that fire must be a power of two, and at least the banks, not {fire}"
        )
