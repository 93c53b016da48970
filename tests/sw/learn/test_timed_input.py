"""Timed input: each step sees its own image. By hand, in the golden model, in torch, in files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hw.contract.checks import InputError, SpecError
from hw.contract.edge import INPUT, EdgeSpec
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from hw.system.progress import silent
from sim.golden.activity import ActivityMeter
from sim.golden.model import GoldenModel
from sw.data.evaluate import EvaluateError, check_fits, evaluate
from sw.data.split import Split
from sw.learn.export import export
from sw.learn.fold import fold
from sw.learn.integer import IntegerNetwork
from sw.learn.network import FloatNetwork
from sw.learn.plan import LayerPlan, dense_chain
from sw.learn.quantize import quantize
from sw.learn.real_decay import decay_report, real_network
from sw.learn.recipes import Phase, find_recipe
from sw.learn.train import train
from tests.graphs import arrays, network_of, residual
from tests.sw.learn.equality import compare_exactly

STEPS = 3
NEURONS = [
    NeuronSpec(theta=20, potential_bits=6),
    NeuronSpec(theta=20, decay="shift", decay_shift=2, potential_bits=6),
    NeuronSpec(theta=20, negative="off", decay="leak", decay_shift=1, potential_bits=8),
]


def by_hand() -> NetworkSpec:
    """Two pixels, two neurons that keep half, two logits."""
    hidden = LayerSpec(
        name="hidden",
        inputs=2,
        neurons=2,
        weight_bits=3,
        neuron=NeuronSpec(theta=4, decay="shift", decay_shift=1, potential_bits=3),
    )
    readout = LayerSpec(name="readout", inputs=2, neurons=2, weight_bits=3)
    return NetworkSpec(
        name="hand",
        input_size=2,
        input_bits=2,
        steps=STEPS,
        layers=(hidden, readout),
        timed_input=True,
    )


WEIGHTS = (np.array([[2, 0], [-2, 1]]), np.array([[1, 1], [2, -1]]))
BIASES = (np.array([0, 1]), np.array([1, 0]))


def graph(neuron: NeuronSpec = NEURONS[0], *, feedback: bool = True, timed: bool = True):
    """The residual network, with feedback or without, on recordings."""
    layers = [replace(la, neuron=la.neuron and neuron) for la in residual().layers]
    if not feedback:
        layers[1] = replace(layers[1], edges=layers[1].edges[:1], inputs=144)
    return replace(residual(), layers=tuple(layers), timed_input=timed)


def recordings(n: int = 30, size: int = 72, steps: int = STEPS, bits: int = 3) -> Split:
    random = np.random.default_rng(7)
    return Split(
        name="random",
        split="test",
        bits=bits,
        images=random.integers(0, 2**bits, (n, steps * size)).astype(np.uint8),
        labels=random.integers(0, 3, n),
    )


def standing(n: int = 30, size: int = 72) -> tuple[np.ndarray, np.ndarray]:
    """Images, and recordings of which each shows the same image at all steps."""
    images = recordings(n, size, 1).images
    return images, np.tile(images, (1, STEPS))


# By hand


def test_a_recording_by_hand() -> None:
    """Three images of two pixels: 1 3, then 2 0, then 3 0.

    Drives 2*p and -2*p + q + 1:   2 4 6   and   2 -3 -5.
    Neuron 0: v = 2; 1 + 4 = 5 fires; 0 + 6 fires.
    Neuron 1: v = 2; 1 - 3 = -2; -1 - 5 = -6 fires, -1.
    """
    network = Network(by_hand(), WEIGHTS, BIASES)
    trace = GoldenModel(network).run([[1, 3, 2, 0, 3, 0], [0, 0, 0, 0, 0, 0]])
    assert trace.spikes[0][0].tolist() == [[0, 0], [1, 0], [1, -1]]
    assert trace.potentials[0][0].tolist() == [[2, 2], [0, -2], [0, 0]]
    # Readout: its bias alone; 1 + 1, 2; 1 - 1 + 1, 2 + 1.
    assert trace.logits[0].tolist() == [4, 5]
    assert trace.classes[0] == 1
    # Of nothing the bias is left: 1, then 0 + 1, then 0 + 1.
    assert trace.potentials[0][1].tolist() == [[0, 1], [0, 1], [0, 1]]
    assert trace.logits[1].tolist() == [3, 0]


def test_how_the_answer_forms() -> None:
    network = Network(by_hand(), WEIGHTS, BIASES)
    logits, events = GoldenModel(network).over_time([[1, 3, 2, 0, 3, 0]])
    assert logits.tolist() == [[[1, 0], [3, 2], [4, 5]]]
    assert [e.tolist() for e in events] == [[0, 1, 2]]
    assert GoldenModel(network).classify([[1, 3, 2, 0, 3, 0]]).tolist() == [1]


def test_the_order_of_the_images_matters() -> None:
    network = Network(by_hand(), WEIGHTS, BIASES)
    forwards, backwards = (
        GoldenModel(network).run([[1, 3, 2, 0, 3, 0], [3, 0, 2, 0, 1, 3]]).spikes[0]
    )
    assert forwards.tolist() == [[0, 0], [1, 0], [1, -1]]
    assert backwards.tolist() == [[1, -1], [1, 0], [0, 0]]


@pytest.mark.parametrize("feedback", [True, False])
def test_a_standing_image_is_direct_coding(feedback: bool) -> None:
    images, films = standing()
    timed = network_of(graph(NEURONS[1], feedback=feedback), seed=3)
    constant = network_of(graph(NEURONS[1], feedback=feedback, timed=False), seed=3)
    a, b = GoldenModel(timed).run(films), GoldenModel(constant).run(images)
    pairs = zip((*a.spikes, *a.potentials), (*b.spikes, *b.potentials), strict=True)
    assert all(np.array_equal(x, y) for x, y in pairs)
    assert np.array_equal(a.logits, b.logits)


def test_a_step_sees_its_own_image_alone() -> None:
    """Another image at the last step changes nothing before it, and something then."""
    films = recordings().images
    others = films.copy()
    others[:, -72:] = 7 - films[:, -72:]
    golden = GoldenModel(network_of(graph(), seed=3))
    for ours, theirs in zip(golden.run(films).spikes, golden.run(others).spikes, strict=True):
        assert np.array_equal(ours[:, :-1], theirs[:, :-1])
        assert not np.array_equal(ours[:, -1], theirs[:, -1])


# In torch


@pytest.mark.parametrize("feedback", [True, False])
@pytest.mark.parametrize("neuron", NEURONS)
def test_the_integer_network_is_the_golden_model(neuron: NeuronSpec, feedback: bool) -> None:
    image = network_of(graph(neuron, feedback=feedback), seed=3)
    network = IntegerNetwork(image.spec)
    network.load_network(image)
    _, compared = compare_exactly(network, image, recordings())
    assert compared == 30 * (2 * STEPS * (144 * 3 + 24) + 3)
    assert network.to_network().digest == image.digest


@pytest.mark.parametrize("feedback", [True, False])
def test_the_float_network_of_the_same_integers_is_the_golden_model(feedback: bool) -> None:
    """Without decay nothing is cut off."""
    network = network_of(graph(feedback=feedback), seed=6)
    activity = real_network(network)(torch.from_numpy(recordings().images))
    trace = GoldenModel(network).run(recordings().images)
    for ours, theirs in zip(activity.spikes, trace.spikes, strict=True):
        assert np.array_equal(ours.transpose(0, 1).numpy(), theirs)
    assert np.array_equal(activity.logits.numpy(), trace.logits)


def test_exact_decay_is_exact_and_truncation_shows_in_a_first_layer() -> None:
    """Where the input changes, drives change sign, and nested floors are no floor."""
    network = Network(replace(by_hand(), steps=4), WEIGHTS, BIASES)
    report = decay_report(network, recordings(300, 2, 4, bits=2))
    assert report["exact"][0] == 0
    assert report["truncating"][0] > 0
    constant = Network(replace(network.spec, timed_input=False), WEIGHTS, BIASES)
    assert decay_report(constant, recordings(300, 2, 1, bits=2))["truncating"][0] == 0
    assert decay_report(network_of(graph(NEURONS[1]), seed=3), recordings())["exact"][0] == 0


def test_a_layer_that_receives_with_a_delay_only() -> None:
    """At the first step it has its bias alone, for as many recordings as there are."""
    neuron = NEURONS[0]
    layers = (
        LayerSpec(
            name="a",
            inputs=2,
            neurons=2,
            weight_bits=4,
            neuron=neuron,
            shape=(2, 1, 1),
            edges=(EdgeSpec(source="b", delay=1),),
        ),
        LayerSpec(
            name="b",
            inputs=5,
            neurons=2,
            weight_bits=4,
            neuron=neuron,
            shape=(2, 1, 1),
            edges=(EdgeSpec(source=INPUT), EdgeSpec(source="a")),
        ),
        LayerSpec(name="out", inputs=2, neurons=2, weight_bits=4),
    )
    spec = NetworkSpec(
        name="late", input_size=3, input_bits=3, steps=4, layers=layers, timed_input=True
    )
    image = Network(
        spec,
        ([np.full((2, 2), 7)], [np.full((2, 3), 3), np.full((2, 2), -2)], np.eye(2, dtype=int)),
        (np.array([9, -9]), np.array([1, 2]), np.array([0, 0])),
    )
    network = IntegerNetwork(spec)
    network.load_network(image)
    compare_exactly(network, image, recordings(20, 3, 4))


PLANS = (
    LayerPlan("stem", 4, (EdgeSpec(source=INPUT, kind="conv", kernel=3, padding=1),)),
    LayerPlan(
        "block",
        4,
        (
            EdgeSpec(source="stem", kind="conv", kernel=3, padding=1),
            EdgeSpec(source="stem", kind="identity"),
        ),
    ),
    LayerPlan("readout", 3, (EdgeSpec(source="block", pool=3), EdgeSpec(source="stem", delay=1))),
)


def lived(*, timed: bool) -> FloatNetwork:
    """The same network each time, its batch-norms and amplitudes not at their initial values."""
    torch.manual_seed(4)
    network = FloatNetwork((2, 6, 6), PLANS, steps=STEPS, pixel_max=7, timed=timed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_var is not None
            module.weight.data.uniform_(0.8, 2.5)
            module.bias.data.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.02, 0.3)
    for layer in network.float_layers:
        if layer.neuron is not None:
            layer.neuron.amplitude.data.uniform_(0.6, 1.6)
    return network.double().eval()


@torch.no_grad()
def test_a_float_network_shown_a_standing_image() -> None:
    images, films = map(torch.from_numpy, standing())
    a, b = lived(timed=True)(films), lived(timed=False)(images)
    assert all(torch.equal(x, y) for x, y in zip(a.spikes, b.spikes, strict=True))
    assert torch.allclose(a.logits, b.logits, rtol=0, atol=1e-9)


@torch.no_grad()
def test_folded_and_quantised_it_stays_timed() -> None:
    network, data = lived(timed=True), recordings()
    films = torch.from_numpy(data.images)
    folded = fold(network)
    before, after = network(films), folded(films)
    for c, d in zip(before.spikes, after.spikes, strict=True):
        assert torch.equal(c, d)
        assert 0.02 < float((c != 0).double().mean()) < 0.98
    assert torch.allclose(before.logits, after.logits, rtol=0, atol=1e-9)
    integer = quantize(folded, name="timed", weight_bits=8, pixel_bits=3)
    assert integer.spec.timed_input
    assert integer.spec.image_size == STEPS * 72
    compare_exactly(integer, integer.to_network(), data)
    unlike = float((integer(films).spikes[0] != after.spikes[0]).double().mean())
    assert unlike < 0.05


def test_gradients_come_from_every_step() -> None:
    network = lived(timed=True).train()
    films = torch.from_numpy(recordings().images).double().requires_grad_()
    network(films).logits.square().sum().backward()
    assert films.grad is not None
    assert bool((films.grad.view(-1, STEPS, 72).abs().sum(dim=(0, 2)) > 0).all())


MEMORY = (
    LayerPlan("stem", 8, (EdgeSpec(source=INPUT, kind="conv", kernel=3, pool=4),)),
    LayerPlan("memory", 8, (EdgeSpec(source="stem"), EdgeSpec(source="memory", delay=1))),
    LayerPlan("readout", 4, (EdgeSpec(source="memory"), EdgeSpec(source="stem"))),
)


@pytest.mark.parametrize("plans", [MEMORY, dense_chain((16,), 4)], ids=["memory", "dense"])
def test_training_on_recordings_ends_in_a_network(
    plans: tuple[LayerPlan, ...], tmp_path: Path
) -> None:
    """Events left or right, first or last: four classes that no sum over time tells apart."""
    random, arrays_ = np.random.default_rng(1), {}
    for split, count in (("train", 360), ("test", 4)):
        labels = np.arange(count) % 4
        x = np.repeat(np.where(labels % 2, 24, 4), 40) + random.integers(0, 6, 40 * count)
        t = np.repeat(labels // 2 * 150_000, 40) + random.integers(0, 150_000, 40 * count)
        arrays_ |= {
            f"{split}_x": x.astype(np.uint8),
            f"{split}_t_us": t.astype(np.uint32),
            f"{split}_y": random.integers(0, 34, 40 * count).astype(np.uint8),
            f"{split}_p": random.integers(0, 2, 40 * count).astype(np.uint8),
            f"{split}_offset": 40 * np.arange(count + 1),
            f"{split}_label": labels,
        }
    np.savez(tmp_path / "nmnist_small.npz", **arrays_)
    phase = Phase(epochs=4, rate=1e-2)
    recipe = replace(
        find_recipe("nmnist-conv"),
        steps=2,
        batch=8,
        validation=8,
        max_shift=1,
        float_phase=phase,
        integer_phase=phase,
        layers=plans,
    )
    checkpoint = train(recipe, tmp_path, seed=1, progress=silent)
    network, report = export(checkpoint, tmp_path)
    assert network.spec.timed_input
    assert network.spec.input_shape == (2, 34, 34)
    assert report.integer_accuracy.n == 204
    assert report.integer_accuracy.share > 0.4  # by chance 0.25
    assert Network.load(network.save(tmp_path / "film.npz")).digest == network.digest


# What it is worth


def test_every_image_of_a_recording_counts() -> None:
    network, data = network_of(graph(feedback=False), seed=3), recordings()
    trace, meter = GoldenModel(network).run(data.images), ActivityMeter(network)
    meter.add(data.images, trace)
    n, bits = len(data), int(np.bitwise_count(data.images).sum())
    stem, inner, block, down = (int(np.abs(c.astype(int)).sum()) for c in trace.spikes)
    late = int(np.abs(trace.spikes[1][:, :-1].astype(int)).sum())  # over the edge with a delay
    assert meter.activity.input_events == pytest.approx(bits / n)
    assert meter.activity.events == pytest.approx(
        (bits + 2 * stem + inner + late + block + down) / n
    )
    still, film = (
        network_of(graph(feedback=False, timed=False), seed=3),
        Split(name="still", split="test", bits=3, images=standing()[1], labels=data.labels),
    )
    _, once = evaluate(still, replace(film, images=standing()[0]))
    _, often = evaluate(network, film)
    assert often.input_events == pytest.approx(STEPS * once.input_events)
    assert often.spike_rates == once.spike_rates


def test_recordings_of_another_length_are_refused() -> None:
    network = network_of(graph(), seed=3)
    check_fits(network, recordings())
    with pytest.raises(EvaluateError) as error:
        check_fits(network, recordings(steps=4))
    assert str(error.value) == (
        "Data set random must have 216 pixels per image for network residual, not 288"
    )
    with pytest.raises(InputError) as refused:
        GoldenModel(network).run(standing()[0])
    assert str(refused.value) == "Images must have shape (n, 216), not (30, 72)"


# The specification and the file


@pytest.mark.parametrize("wrong", [1, 0, "yes", None])
def test_timed_or_not(wrong: Any) -> None:
    sentence = f"Timed input must be true or false, not {wrong!r}"
    with pytest.raises(SpecError) as error:
        replace(by_hand(), timed_input=wrong)
    assert str(error.value) == sentence
    with pytest.raises(SpecError) as error:
        NetworkSpec.from_dict(by_hand().to_dict() | {"timed_input": wrong})
    assert str(error.value) == sentence


def test_the_specification_tells() -> None:
    timed, constant = by_hand(), replace(by_hand(), timed_input=False)
    assert NetworkSpec.from_dict(json.loads(json.dumps(timed.to_dict()))) == timed
    assert timed.to_dict() == constant.to_dict() | {"timed_input": True}
    assert "timed_input" not in constant.to_dict()  # the digests that there were stay
    assert (timed.image_size, constant.image_size) == (6, 2)
    assert (timed.is_chain, constant.is_chain) == (False, True)


def test_it_is_in_the_digest_and_in_the_file(tmp_path: Path) -> None:
    network = Network(by_hand(), WEIGHTS, BIASES)
    constant = Network(replace(by_hand(), timed_input=False), WEIGHTS, BIASES)
    assert network.digest != constant.digest
    loaded = Network.load(network.save(tmp_path / "hand.npz"))
    assert loaded.spec == network.spec
    assert loaded.digest == network.digest
    assert GoldenModel(loaded).run([[1, 3, 2, 0, 3, 0]]).logits.tolist() == [[4, 5]]
    other = Network.load(constant.save(tmp_path / "constant.npz"))
    assert not other.spec.timed_input


def test_widths_hold_what_any_recording_can_bring() -> None:
    """Bounds are those of one image: each step sees one."""
    weights, biases, thetas = arrays(graph(), 1)
    timed = Network(graph(), weights, biases, thetas=thetas)
    constant = Network(graph(timed=False), weights, biases, thetas=thetas)
    for a, b in zip(timed.layers, constant.layers, strict=True):
        assert (a.accumulator_bound, a.drive_bound) == (b.accumulator_bound, b.drive_bound)
    assert timed.layers[-1].logit_bound == constant.layers[-1].logit_bound
