"""LayerStage and Core against the golden model: spikes, potentials, logits, classes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gen.core.plan import CorePlan, plan_core
from gen.stage.taps import event_counts
from hw.contract.builder import random_network
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from hw.layer.queue import SpikeQueue
from sim.golden.model import GoldenModel
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace
from tests.hw.layer.cores import (
    CoreRun,
    check_cycle_law,
    check_results,
    geometries,
    layer_stages,
    random_pixels,
    words_of,
)
from tests.networks import random_chain, random_readout, with_shifts
from tests.sampling import sampled

CORES = {  # sizes, steps, input_bits, lanes, banks
    "smallest": ((1, 1), 1, 1, 1, 1),
    "readout-only": ((9, 5), 3, 4, 2, 2),
    "one-neuron-layers": ((5, 1, 1, 3), 3, 2, 4, 1),
    "one-step": ((12, 7, 4), 1, 3, 4, 1),
    "uneven-groups": ((20, 7, 5), 3, 3, 3, 1),
    "full-bytes": ((11, 6, 3), 2, 8, 6, 2),
    "three-layers-slices": ((18, 19, 17, 6), 3, 1, 40, 4),
    "slices-and-groups": ((9, 40, 4), 2, 2, 20, 2),
    "eight-banks": ((33, 12, 9, 4), 3, 2, 5, 8),
}


def core_plan(name: str, seed: int = 1) -> CorePlan:
    sizes, steps, input_bits, lanes, banks = CORES[name]
    rng = np.random.default_rng(seed)
    return plan_core(random_chain(rng, sizes, steps=steps, input_bits=input_bits), lanes, banks)


@pytest.mark.parametrize("pace", sampled([FLOWING, JITTERY[2]]), ids=str)
@pytest.mark.parametrize("name", CORES)
def test_core_is_golden(name: str, pace: Pace) -> None:
    """Flowing, it also keeps the composed cycle law."""
    plan = core_plan(name)
    pixels = random_pixels(plan.network, 6, seed=3)
    run = CoreRun(plan, pixels, pace)
    if pace == FLOWING:
        check_cycle_law(run, pixels)


@pytest.mark.parametrize("pace", [JITTERY[0], JITTERY[1], JITTERY[3]], ids=str)
def test_core_does_not_mind_the_pace(pace: Pace) -> None:
    plan = core_plan("uneven-groups")
    CoreRun(plan, random_pixels(plan.network, 4, seed=3), pace)


@pytest.mark.parametrize(
    ("name", "reset_at"),
    [("uneven-groups", n) for n in (1, 16, 37, 58, 90, 131)]
    + [("three-layers-slices", n) for n in (17, 43, 58, 71)],
)
def test_reset_at_any_time_leaves_a_core_that_works(name: str, reset_at: int) -> None:
    """Cut off in the middle of images; whatever was under way is gone, what follows is right."""
    plan = core_plan(name)
    CoreRun(plan, random_pixels(plan.network, 4, seed=4), FLOWING, reset_at=reset_at)


def always_firing(theta: int, bias: int, reset: str) -> CorePlan:
    neuron = NeuronSpec(
        theta=theta, reset=reset, step=theta if reset == "soft" else 0, potential_bits=8
    )
    rng = np.random.default_rng(5)
    network = random_chain(rng, (8, 20, 6, 3), steps=3, input_bits=1, neurons=[neuron] * 2)
    biases = (np.full(20, bias), np.full(6, bias), network.biases[2])
    return plan_core(Network(network.spec, network.weights, biases), 20, 2)


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_core_with_all_neurons_firing_at_every_step(reset: str) -> None:
    bias = 500 if reset == "hard" else -500
    plan = always_firing(1, bias, reset)
    run = CoreRun(plan, random_pixels(plan.network, 3, seed=6), FLOWING)
    assert all((spikes == np.sign(bias)).all() for spikes in run.trace.spikes)


@pytest.mark.parametrize("pace", [FLOWING, JITTERY[2]], ids=str)
def test_core_without_any_spike(pace: Pace) -> None:
    neuron = NeuronSpec(theta=10_000, potential_bits=15)
    network = random_chain(
        np.random.default_rng(7), (8, 20, 6, 3), steps=3, input_bits=1, neurons=[neuron] * 2
    )
    run = CoreRun(plan_core(network, 8, 2), random_pixels(network, 4, seed=8), pace)
    assert not any(spikes.any() for spikes in run.trace.spikes)


def test_core_of_empty_images_only() -> None:
    plan = core_plan("uneven-groups")
    CoreRun(plan, np.zeros((4, plan.network.spec.input_size), dtype=np.uint8), FLOWING)


# LayerStage


@pytest.mark.parametrize("pace", [FLOWING, JITTERY[2]], ids=str)
@pytest.mark.parametrize("name", ["one-neuron-layers", "uneven-groups", "full-bytes"])
def test_layers_alone_are_golden(name: str, pace: Pace) -> None:
    """Each layer is fed with the golden spikes of the one before it."""
    plan = core_plan(name)
    pixels = random_pixels(plan.network, 3, seed=9)
    trace = GoldenModel(plan.network).run(pixels)
    plans = layer_stages(plan)
    for n, stage in enumerate(plans):
        layer = stage.component(files=False)
        bench = Bench(layer, pace)
        given = pixels if n == 0 else trace.spikes[n - 1].reshape(-1, geometries(plan)[n].inputs)
        bench.feed(layer.i, words_of(plan, n, given))
        if n == len(plans) - 1:
            sink = bench.collect(layer.o, trace.logits.size)
            bench.run(extra=20)
            check_results(plan, sink, trace)
        else:
            spikes = trace.spikes[n].reshape(-1, geometries(plan)[n].neurons)
            expected = words_of(plan, n + 1, spikes)
            sink = bench.collect(layer.o, len(expected))
            bench.run(extra=20)
            assert sink.values == expected


@pytest.mark.parametrize("seed", sampled(range(12)))
def test_core_cycle_law_of_random_networks(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    sizes = tuple(rng.integers(1, 41, rng.integers(2, 5)).tolist())
    network = random_chain(
        rng, sizes, steps=int(rng.integers(1, 5)), input_bits=int(rng.integers(1, 6))
    )
    plan = plan_core(network, int(rng.integers(1, 41)), int(2 ** rng.integers(0, 4)))
    pixels = random_pixels(network, 5, seed=seed)
    check_cycle_law(CoreRun(plan, pixels, FLOWING), pixels)


def test_a_picture_waits_until_the_one_before_the_last_was_sent() -> None:
    """Spikes of three pictures are on their way to a slow layer: the transposer holds two."""
    network = random_chain(np.random.default_rng(24), (33, 51, 6), steps=6, input_bits=4)
    plan = plan_core(network, 5, 1)
    pixels = random_pixels(network, 6, seed=24)
    check_cycle_law(CoreRun(plan, pixels, FLOWING), pixels)


@pytest.mark.parametrize("settle", [0, 15])
@pytest.mark.parametrize(("sizes", "lanes"), [((1, 3), 3), ((1, 3), 1), ((2, 4, 3), 2)])
def test_core_with_biases_wider_than_all_else(sizes, lanes: int, settle: int) -> None:
    """After a reset they take longer to fetch than an image takes to its first event: right in any
    case, and in the predicted cycle if they were there before the image was."""
    rng = np.random.default_rng(11)
    network = random_chain(rng, sizes, steps=2, input_bits=1, bias=2**29 - 9)
    layers = tuple(replace(layer, weight_bits=2) for layer in network.spec.layers)
    spec = replace(network.spec, layers=layers)
    narrow = Network(spec, tuple(np.sign(w) for w in network.weights), network.biases)
    plan = plan_core(narrow, lanes, 1)
    assert max(g.bias_rows for g in geometries(plan)) > SpikeQueue.fill_cycles() + 1
    pixels = np.ones((4, sizes[0]), dtype=np.uint8)
    run = CoreRun(plan, pixels, FLOWING, settle=settle)
    if settle:
        check_cycle_law(run, pixels)


OWN = {  # sizes, steps, input_bits, lanes, banks, timed
    "one-group": ((11, 6, 5, 3), 3, 2, 6, 1, False),
    "one-step": ((12, 7, 4), 1, 3, 4, 2, False),
    "uneven-groups": ((20, 7, 9, 5), 3, 3, 3, 1, False),
    "slices-and-groups": ((9, 34, 4), 2, 2, 17, 2, False),
    "recordings": ((7, 9, 11, 4), 3, 1, 4, 1, True),
}


def own_plan(name: str, seed: int = 1, **options: Any) -> CorePlan:
    sizes, steps, bits, lanes, banks, timed = OWN[name]
    rng = np.random.default_rng(seed)
    network = random_chain(rng, sizes, steps=steps, input_bits=bits, own=True, timed_input=timed)
    assert all(layer.by_channel for layer in network.spec.layers[:-1])
    return plan_core(network, lanes, banks, **options)


def recorded(plan: CorePlan, count: int, seed: int) -> np.ndarray:
    """Pictures, or recordings, of every density."""
    steps = plan.network.spec.recorded_steps
    return random_pixels(plan.network, count * steps, seed).reshape(count, -1)


@pytest.mark.parametrize("pace", sampled([FLOWING, JITTERY[2]]), ids=str)
@pytest.mark.parametrize("seed", sampled(range(4), 4))
@pytest.mark.parametrize("name", OWN)
def test_core_with_constants_by_channel(name: str, seed: int, pace: Pace) -> None:
    """Every kind of neuron and of constants, drawn by seed; flowing, in the predicted cycle."""
    plan = own_plan(name, 10 + seed)
    pixels = recorded(plan, 5, seed=3)
    run = CoreRun(plan, pixels, pace, settle=plan.settle)
    if pace == FLOWING:
        check_cycle_law(run, pixels)


@pytest.mark.parametrize("seed", sampled(range(12), 8))
def test_random_cores_with_constants_by_channel(seed: int) -> None:
    """Of neurons updated in parts, lean queues, leaky readouts, too."""
    rng = np.random.default_rng(200 + seed)
    sizes = tuple(rng.integers(1, 31, rng.integers(3, 5)).tolist())
    network = random_chain(
        rng,
        sizes,
        steps=int(rng.integers(1, 5)),
        input_bits=int(rng.integers(1, 6)),
        readout=random_readout(rng),
        own=True,
    )
    banks = int(2 ** rng.integers(0, 3))
    fire = banks * int(2 ** rng.integers(0, 3)) if rng.integers(2) else 0
    lean = bool(rng.integers(0, 2))
    plan = plan_core(network, int(rng.integers(1, 31)), banks, fire_lanes=fire, lean=lean)
    pixels = random_pixels(network, 4, seed=seed)
    check_cycle_law(CoreRun(plan, pixels, FLOWING, settle=plan.settle), pixels)


@pytest.mark.parametrize("seed", sampled(range(8), 4))
@pytest.mark.parametrize("pace", sampled([FLOWING, JITTERY[1]]), ids=str)
def test_cores_with_biases_finer_than_a_weight(seed: int, pace: Pace) -> None:
    """Sums that are shifted as a whole; of pictures in planes, with constants by channel, too."""
    rng = np.random.default_rng(300 + seed)
    sizes = tuple(rng.integers(1, 31, rng.integers(3, 5)).tolist())
    plain = random_chain(
        rng,
        sizes,
        steps=int(rng.integers(1, 4)),
        input_bits=int(rng.integers(1, 6)),
        own=bool(seed % 2),
    )
    shifts = rng.integers(0, 8, len(sizes) - 1).tolist()
    shifts[seed % len(shifts)] = 1 + seed % 7
    network = random_network(with_shifts(plain.spec, shifts), rng, bias=300)
    plan = plan_core(network, int(rng.integers(1, 31)), int(2 ** rng.integers(0, 3)))
    pixels = random_pixels(network, 4, seed=seed)
    run = CoreRun(plan, pixels, pace, settle=plan.settle)
    if pace == FLOWING:
        check_cycle_law(run, pixels)


@pytest.mark.parametrize("reset_at", sampled([19, 1, 58, 33, 90]))
def test_constants_by_channel_after_a_reset_at_any_time(reset_at: int) -> None:
    """Right even where pictures come before the constants are there."""
    plan = own_plan("uneven-groups", 2)
    CoreRun(plan, recorded(plan, 3, seed=4), FLOWING, reset_at=reset_at)


@pytest.mark.parametrize("settle", [False, True])
def test_constants_that_take_longer_than_a_picture(settle: bool) -> None:
    """After a reset they are read for longer than a picture takes to its first drive: right in any
    case, and in the predicted cycle if they were there before the picture was."""
    neuron = NeuronSpec(
        theta=1 << 18, reset="soft", step=1 << 18, decay="factor", decay_shift=12, potential_bits=20
    )
    own = LayerSpec(
        name="own",
        inputs=1,
        neurons=4,
        weight_bits=16,
        neuron=neuron,
        channel_thresholds=True,
        channel_decays=True,
    )
    layers = (own, LayerSpec(name="out", inputs=4, neurons=2, weight_bits=2))
    spec = NetworkSpec(name="wide", input_size=1, input_bits=4, steps=3, layers=layers)
    plan = plan_core(random_network(spec, bias=None), 4)
    assert plan.settle > 25
    pixels = np.array([[1], [9], [0], [15]], dtype=np.uint8)
    run = CoreRun(plan, pixels, FLOWING, settle=plan.settle if settle else 0)
    if settle:
        check_cycle_law(run, pixels)


AUGMENTED = NeuronSpec(
    theta=16, step=16, limit=7, negative="guarded", reset="soft", u0=8, potential_bits=9
)


@pytest.mark.parametrize("pace", sampled([JITTERY[2], FLOWING]), ids=str)
@pytest.mark.parametrize(("lanes", "banks"), [(20, 1), (5, 2), (6, 8)])
def test_augmented_spikes_in_planes_and_as_repeated_events(lanes, banks, pace) -> None:
    """Both give the golden model's values; repeated, as many events as the coefficients' sum."""
    rng = np.random.default_rng(lanes)
    network = random_chain(rng, (20, 17, 9, 4), steps=4, input_bits=3, neurons=[AUGMENTED] * 2)
    pixels = random_pixels(network, 5, seed=2)
    trace = GoldenModel(network).run(pixels)
    assert np.abs(trace.spikes[0]).max() > 2
    for repeat in (False, True):
        plan = plan_core(network, lanes, banks, repeat=repeat)
        run = CoreRun(plan, pixels, pace)
        if pace is FLOWING:
            check_cycle_law(run, pixels)
        g = geometries(plan)[1]
        events = int(event_counts(trace.spikes[0], g).sum())
        coefficients = np.abs(trace.spikes[0].astype(int))
        bits = sum(int((coefficients >> p & 1).sum()) for p in range(3))
        assert events == (int(coefficients.sum()) if repeat else bits)
