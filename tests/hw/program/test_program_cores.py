"""The whole program core against the golden model: every spike, potential, logit, class, cycle.

Maps are as small as the case admits: what a network is made of matters here, not its size.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gen.core.plan import CorePlan, rebuild
from gen.program.stage import ProgramStagePlan
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from hw.neuron.readout import result_layout
from tests.graphs import network_of, residual
from tests.hw.driving import JITTERY, Pace, fields
from tests.hw.program.cases import CASES, CURRENTS, MANY, NEURONS, QUICK, SOFT_M
from tests.hw.program.programs import (
    ProgramRun,
    conv,
    dense,
    identity,
    network,
    part,
    program_core,
    random_graph,
    random_pixels,
)
from tests.networks import random_chain
from tests.sampling import sampled


def plan_of(name: str, changes: Sequence[str] | None = None, **other: Any) -> CorePlan:
    """Of a case, but for what is `other`."""
    lanes, shape, parts, *more = CASES[name]
    numbers = more[0] if more else {}
    return program_core(network(shape, *parts, **(numbers | other)), lanes, changes)


def firing(plan: CorePlan) -> list[str]:
    """Layers that fire."""
    return [layer.name for layer in plan.network.spec.layers[:-1]]


@pytest.mark.parametrize("name", CASES)
def test_shared_core_is_golden_and_keeps_the_law(name: str) -> None:
    """Three images back to back, one of them empty and one full."""
    plan = plan_of(name)
    run = ProgramRun(plan, random_pixels(plan.network, 3))
    assert run.lively
    run.check_law()
    if "saturates" in name:
        for layer, (_, kept) in zip(plan.network.spec.layers, run.seen.values(), strict=False):
            assert layer.neuron is not None
            assert np.abs(kept).max() == layer.neuron.u_max


CHANGING = (
    "kernel-3-stride",
    "pooling-inside",
    "identity",
    "identities-alone",
    "recurrent",
    "recurrent-identity",
    "feedback",
    "late-from-before",
    "recording",
    "recording-feedback",
    "thresholds",
    "mixed-neurons",
    "unequal-soft",
    "leak-after",
)


@pytest.mark.parametrize("part", sampled(["some", "all-or-none"]))
@pytest.mark.parametrize("name", CHANGING)
def test_what_is_played_as_changes_changes_nothing_but_time(name: str, part: str) -> None:
    """None of a picture's layers, and all of a recording's (the others are above); some of them."""
    plain = plan_of(name)
    layers, chosen = firing(plain), list[str]()
    if part == "all-or-none":
        chosen = layers if plain.network.spec.timed_input else []
    else:
        chosen = layers[CHANGING.index(name) % len(layers) :: 2]
    plan = plan_of(name, chosen)
    assert plan.changes == tuple(chosen)
    run = ProgramRun(plan, random_pixels(plan.network, 3)[1:])
    assert run.lively
    run.check_law()


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("name", ["identities-alone", "recurrent-identity", "recording-feedback"])
def test_steps_in_two_banks(name: str, steps: int) -> None:
    """An even and an odd number of them; of one step nothing changes, and nothing is kept."""
    plan = plan_of(name, firing(plan_of(name)), steps=steps)
    p = plan.stages[0].program  # type: ignore[attr-defined]
    assert p.spike_banks == (1 if steps == 1 else 2)
    assert (p.potential_words == 0) == (steps == 1)
    ProgramRun(plan, random_pixels(plan.network, 3)[1:]).check_law()


HESITANT = (
    "kernel-3-stride",
    "decays-and-steps",
    "identities-alone",
    "recurrent-identity",
    "recording-feedback",
    "many-classes",
    "packed-2",
    "one-value",
    "readout-alone",
)


@pytest.mark.parametrize("pace", JITTERY[2:], ids=str)
@pytest.mark.parametrize("name", HESITANT)
def test_hesitant_surroundings_change_nothing(name: str, pace: Pace) -> None:
    """Idle sources and busy sinks, junk on the idle payload."""
    plan = plan_of(name)
    ProgramRun(plan, random_pixels(plan.network, 3, seed=8)[1:], pace)


@pytest.mark.parametrize("seed", sampled(range(14, 26)))
def test_random_graphs(seed: int) -> None:
    """Whatever the cases above did not think of."""
    rng = np.random.default_rng(seed)
    rows = [QUICK, *NEURONS.values(), *CURRENTS.values(), *MANY.values(), SOFT_M]
    network = random_graph(rng, rows)
    changes = [layer.name for layer in network.spec.layers[:-1] if rng.random() < 0.6]
    plan = program_core(network, int(2 ** rng.integers(1, 4)), changes)
    ProgramRun(plan, random_pixels(network, 3, seed)[1:]).check_law()


def test_residual_network() -> None:
    """All kinds of edges at once, thresholds by channel, a delayed edge to the readout."""
    plan = program_core(network_of(replace(residual(), steps=2)), 8)
    run = ProgramRun(plan, np.random.default_rng(2).integers(0, 8, (1, 72)).astype(np.uint8))
    assert run.lively
    run.check_law()


def test_a_chain_of_dense_layers() -> None:
    """A network without shapes and edges runs on a program core too."""
    rng, neurons = np.random.default_rng(1), [NEURONS["leak"], NEURONS["unequal-soft"]]
    network = random_chain(rng, (11, 7, 9, 5), steps=3, input_bits=3, neurons=neurons)
    run = ProgramRun(program_core(network, 4), random_pixels(network, 3))
    assert run.lively
    run.check_law()


def test_a_recurrent_network_by_hand() -> None:
    """Cell a is driven by 3 a step against a threshold of 5, and held back by 4 when b has fired in
    the step before. Cell b has threshold 4 and bias 1; a's spike gives it 2, its own of the step
    before 1.

        step    v of a             v of b
        0       3                  1
        1       3 + 3 = 6 fires    1 + 2 + 1 = 4 fires
        2       3 - 4 = -1         1 + 1 = 2
        3       -1 + 3 = 2         2 + 1 = 3
        4       2 + 3 = 5 fires    3 + 2 + 1 = 6 fires
        5       3 - 4 = -1         1 + 1 = 2

    A spike of a is worth 3 to the one class and -1 to the other, one of b in the step before 1 and
    2, and the other's bias is 1: 2 * 3 + 2 * 1 and 2 * -1 + 2 * 2 + 6 * 1, which is equal; the
    first maximum is class 0.
    """
    spec = NetworkSpec(
        name="hand",
        input_size=1,
        input_bits=1,
        steps=6,
        layers=(
            LayerSpec(
                name="a",
                inputs=2,
                neurons=1,
                weight_bits=4,
                shape=(1, 1, 1),
                neuron=NeuronSpec(theta=5, potential_bits=4),
                edges=(dense("input"), dense("b", delay=1)),
            ),
            LayerSpec(
                name="b",
                inputs=2,
                neurons=1,
                weight_bits=4,
                shape=(1, 1, 1),
                neuron=NeuronSpec(theta=4, potential_bits=4),
                edges=(dense("a"), dense("b", delay=1)),
            ),
            LayerSpec(
                name="out",
                inputs=2,
                neurons=2,
                weight_bits=4,
                shape=(2, 1, 1),
                edges=(dense("a"), dense("b", delay=1)),
            ),
        ),
    )
    weights = (
        [np.array([[3]]), np.array([[-4]])],
        [np.array([[2]]), np.array([[1]])],
        [np.array([[3], [-1]]), np.array([[1], [2]])],
    )
    network = Network(spec, weights, (np.array([0]), np.array([1]), np.array([0, 1])))
    run = ProgramRun(program_core(network, 2), np.array([[1]]))
    (a_spikes, a_kept), (b_spikes, b_kept) = run.seen["a"], run.seen["b"]
    assert a_spikes.reshape(-1).tolist() == [0, 1, 0, 0, 1, 0]
    assert a_kept.reshape(-1).tolist() == [3, 0, -1, 2, 0, -1]
    assert b_spikes.reshape(-1).tolist() == [0, 1, 0, 0, 1, 0]
    assert b_kept.reshape(-1).tolist() == [1, 0, 2, 3, 0, 2]
    layout = result_layout(2, run.programs[0].logit_bits)
    results = [fields(layout, raw) for raw in run.sink.values]
    assert [(r.logit, r.best, r.last) for r in results] == [(8, 0, 0), (8, 0, 1)]


@pytest.mark.parametrize("constant", [32767, -32767])
def test_an_identity_with_the_largest_constant(constant: int) -> None:
    """A constant is wider than any weight, and meets pixels of three planes and spikes of either
    sign."""
    neuron = NeuronSpec(theta=70000, potential_bits=18)
    image = network(
        (3, 2, 2),
        part(3, identity("input"), neuron=neuron),
        part(3, identity("a"), neuron=neuron),
        part(2, dense("b"), dense("a")),
        steps=4,
        bits=3,
    )
    wide = np.array([constant])
    image = Network(image.spec, ([wide], [wide], image.weights[2]), image.biases)
    run = ProgramRun(program_core(image, 2), random_pixels(image, 3))
    assert run.lively
    run.check_law()


@pytest.mark.parametrize("lanes", sampled([2, 4, 8, 16, 32]))
def test_lanes_change_nothing_but_time(lanes: int) -> None:
    """More of them than any map has channels, and fewer."""
    image = network(
        (3, 3, 4),
        part(6, conv("input", 3, padding=1)),
        part(5, dense("a"), dense("b", delay=1)),
        part(3, dense("b"), dense("a", pool=3)),
    )
    ProgramRun(program_core(image, lanes), random_pixels(image, 3)[2:]).check_law()


def test_long_walks_and_then_nothing() -> None:
    """Events wait for each other's walks, and the words behind them for the events; the rest of the
    map is empty, and looking at it takes longer than what is still on its way."""
    image = network((2, 1, 100), part(16, dense("input")), bits=1, steps=1)
    pixels = np.zeros((3, 2, 100), dtype=np.uint8)
    for one, lit in zip(pixels, (4, 6, 10), strict=True):
        one[:, :lit] = 1
    ProgramRun(program_core(image, 2), pixels.reshape(3, 200)).check_law()


# Resets and pauses


SMALL = plan_of("recurrent-identity")
"""Has every operation: a drive, sweeps with it, scans of a picture, a step, changes, a sum."""

RESETS = (
    1,
    5,
    25,
    70,
    90,
    105,
    130,
    145,
    160,
    175,
    190,
    200,
    220,
    240,
    245,
    250,
    280,
    300,
    340,
    378,
    410,
    430,
)


@pytest.mark.parametrize("cycle", RESETS)
def test_a_reset_at_any_time(cycle: int) -> None:
    """While an image is loaded, in any operation, while logits are sent: the next images are right,
    and as quick as after any other reset."""
    run = ProgramRun(SMALL, random_pixels(SMALL.network, 3)[1:], reset_at=cycle)
    run.check_law()


def test_resets_met_every_operation() -> None:
    """The test above did what it says."""
    run = ProgramRun(SMALL, random_pixels(SMALL.network, 3)[1:])
    met = {run.operations[0][cycle] for cycle in RESETS}
    assert met == set(range(len(run.programs[0].operations)))


@pytest.mark.parametrize("lead", [1, 2, 3, 40])
def test_an_image_that_comes_late(lead: int) -> None:
    """The core waits for it, and keeps the law."""
    run = ProgramRun(SMALL, random_pixels(SMALL.network, 3)[1:], settle=lead)
    run.check_law(lead)


@pytest.mark.parametrize("name", ["thresholds", "decays-and-steps", "recording-feedback"])
def test_weights_that_come_later(name: str) -> None:
    """Smaller weights, in hardware as wide as was built for others (`sterna reload`): all but the
    contents of ROMs is the same."""
    plan = plan_of(name)
    image = plan.network
    weights, biases = (
        tuple(array // 4 for array in part) for part in (image.weights, image.biases)
    )
    own = {name: getattr(image, name) for name in ("thetas", "reset_steps", "factors")}
    if image.factors[0] is not None:
        own["factors"] = tuple(m if m is None else m // 4 for m in image.factors)
    later = Network(image.spec, weights, biases, **own)
    reloaded, narrow = rebuild(later, plan.recipe()), program_core(later, plan.lanes, plan.changes)
    tables = dict.fromkeys(("weights", "biases", "thetas", "reset_steps", "factors"))
    built, now, alone = (
        [
            vars(stage.program) | tables
            for stage in core.stages
            if isinstance(stage, ProgramStagePlan)
        ]
        for core in (plan, reloaded, narrow)
    )
    assert now == built != alone
    widths = [(rom.bits, len(rom.rows)) for rom in plan.roms().values()]
    assert [(rom.bits, len(rom.rows)) for rom in reloaded.roms().values()] == widths
    assert all((rows - 1) % 256 >= 63 for _, rows in widths)
    assert any(
        rom.bits < bits for (bits, _), rom in zip(widths, narrow.roms().values(), strict=True)
    )
    ProgramRun(reloaded, random_pixels(image, 3)).check_law()
