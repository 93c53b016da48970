"""Graphs in torch: the integer network is the golden model, feedback and all; both orders agree."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract.edge import INPUT, EdgeSpec
from hw.contract.network import Network, NetworkError
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from sim.golden.activity import ActivityMeter
from sim.golden.edges import receive
from sim.golden.model import GoldenModel
from sw.data.split import Split
from sw.learn.fold import FoldedLayer, FoldedNetwork
from sw.learn.graph import _Run, as_maps, edge_drive, propagate
from sw.learn.integer import IntegerNetwork
from sw.learn.neuron import LIFParameters
from sw.learn.quantize import Known, QuantizeError, quantize
from sw.learn.real_decay import real_network
from sw.study.cost import macs
from tests.graphs import arrays, network_of, residual
from tests.networks import edges, networks, pixels_for
from tests.sw.learn.equality import compare_exactly

NEURONS = [
    NeuronSpec(theta=20, potential_bits=6),
    NeuronSpec(theta=20, decay="shift", decay_shift=2, potential_bits=6),
    NeuronSpec(theta=20, negative="off", decay="leak", decay_shift=1, potential_bits=8),
]


def with_neuron(neuron: NeuronSpec) -> NetworkSpec:
    spec = residual()
    layers = (replace(la, neuron=la.neuron and neuron) for la in spec.layers)
    return replace(spec, layers=tuple(layers))


def data(n: int = 40) -> Split:
    random = np.random.default_rng(7)
    return Split(
        name="random",
        split="test",
        bits=3,
        images=random.integers(0, 8, (n, 72)).astype(np.uint8),
        labels=random.integers(0, 3, n),
    )


@pytest.mark.parametrize("neuron", NEURONS)
def test_the_integer_network_is_the_golden_model(neuron: NeuronSpec) -> None:
    """Every spike, potential and logit of a network with shortcut, pooling, groups, feedback and
    thresholds by channel; and back to the image it came from."""
    image = network_of(with_neuron(neuron), seed=3)
    network = IntegerNetwork(image.spec)
    network.load_network(image)
    _, compared = compare_exactly(network, image, data())
    assert compared == 40 * (2 * 3 * (144 * 3 + 24) + 3)
    assert network.to_network().digest == image.digest


@pytest.mark.parametrize("theta", [float("nan"), float("inf"), -1e30, 2.0**32 + 5])
def test_constants_that_no_integer_holds(theta: float) -> None:
    """They are refused by their range, without a word of NumPy's."""
    network = IntegerNetwork(residual())
    network.load_network(network_of(residual(), seed=3))
    thetas = network.integer_layers[1].thetas
    assert thetas is not None
    thetas[0] = theta
    with pytest.raises(NetworkError, match="hresholds of layer inner must"):
        network.to_network()


def test_wide_weights() -> None:
    """The same of weights of 16 bits, both ends in use."""
    neuron = NeuronSpec(theta=80_000, potential_bits=18)
    spec = with_neuron(neuron)
    spec = replace(spec, layers=tuple(replace(layer, weight_bits=16) for layer in spec.layers))
    weights, biases, thetas = arrays(spec, 3)
    for layer in weights:
        for kernel in layer:
            kernel.flat[[0, -1]] = 32767, -32767
    image = Network(spec, weights, biases, thetas=thetas)
    network = IntegerNetwork(spec)
    network.load_network(image)
    _, compared = compare_exactly(network, image, data())
    assert compared == 40 * (2 * 3 * (144 * 3 + 24) + 3)
    assert network.to_network().digest == image.digest


@settings(max_examples=80, deadline=None)
@given(edges(), st.integers(0, 2**32 - 1))
def test_every_edge_is_the_golden_models(made, seed: int) -> None:
    edge, source, target = made
    random = np.random.default_rng(seed)
    kernel = random.integers(-7, 8, edge.weight_shape(source, target, "b"))
    values = random.integers(-3, 4, (2, *source))
    ours = edge_drive(edge, source, target)(
        torch.from_numpy(values).double(), torch.from_numpy(kernel).double()
    )
    theirs = receive(values, edge, kernel.astype(np.float64)).reshape(2, *target)
    assert np.array_equal(ours.numpy(), theirs)


def test_gradients_reach_every_master() -> None:
    network = IntegerNetwork(residual())
    network.load_network(network_of(residual(), seed=3))
    network(torch.from_numpy(data().images)).logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


def test_both_orders_are_the_same_network() -> None:
    """Without feedback, layer by layer and step by step: the same values, an edge with a delay
    included."""
    spec = residual()
    layers = list(spec.layers)
    layers[1] = replace(layers[1], edges=layers[1].edges[:1], inputs=144)
    spec = replace(spec, layers=tuple(layers))
    weights, biases, thetas = arrays(spec, 5)
    folded = real_network(Network(spec, weights, biases, thetas=thetas))
    pixels = as_maps(torch.from_numpy(data().images).double(), spec.shape_of(INPUT), 3, False)
    nodes = folded.nodes()
    by_layer = propagate(pixels, nodes, 3)
    by_step = _Run(pixels, 3, 0.0, False).through(nodes, [nodes[:-1]])
    for a, b in zip(by_layer[:2], by_step[:2], strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert torch.equal(by_layer.logits, by_step.logits)
    assert torch.allclose(by_layer.excitation, by_step.excitation)


def test_real_valued_graphs() -> None:
    """Without decay nothing is truncated: the real network is the golden model."""
    network = network_of(residual(), seed=6)
    activity = real_network(network)(torch.from_numpy(data().images))
    trace = GoldenModel(network).run(data().images)
    for ours, theirs in zip(activity.spikes, trace.spikes, strict=True):
        assert np.array_equal(ours.transpose(0, 1).numpy(), theirs)
    assert np.array_equal(activity.logits.numpy(), trace.logits)


def small_graph() -> FoldedNetwork:
    """Real-valued: a convolution of channels with very different weights, a shortcut, pooling."""
    generator = torch.Generator().manual_seed(2)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    neuron, zeros = LIFParameters(), torch.zeros(4, dtype=torch.float64)
    stem = random(4, 1, 3, 3) * 0.4 * torch.tensor([1.0, 0.1, 0.3, 2.0]).view(4, 1, 1, 1)
    conv = EdgeSpec(source="stem", kind="conv", kernel=3, padding=1)
    return FoldedNetwork(
        (
            FoldedLayer(
                (stem,),
                zeros + 0.2,
                neuron,
                "stem",
                (4, 8, 8),
                (EdgeSpec(source="input", kind="conv", kernel=3, padding=1),),
            ),
            FoldedLayer(
                (random(4, 4, 3, 3) * 0.3, torch.tensor([5.5], dtype=torch.float64)),
                zeros,
                neuron,
                "block",
                (4, 8, 8),
                (conv, EdgeSpec(source="stem", kind="identity")),
            ),
            FoldedLayer(
                (random(10, 16),),
                random(10),
                None,
                "readout",
                (10, 1, 1),
                (EdgeSpec(source="block", pool=4),),
            ),
        ),
        steps=3,
        input_shape=(1, 8, 8),
    )


@pytest.mark.parametrize("by_channel", [False, True])
def test_quantised_graphs_are_near_and_exact(by_channel: bool) -> None:
    random = np.random.default_rng(1)
    images = random.integers(0, 16, (60, 64)).astype(np.uint8)
    folded = small_graph()
    folded.layers[0].kernels[0].div_(15)
    network = quantize(folded, name="graph", weight_bits=8, pixel_bits=4, by_channel=by_channel)
    image = network.to_network()
    assert [layer.channel_thresholds for layer in image.spec.layers] == [by_channel, False, False]
    assert abs(int(image.layers[1].kernels[1][0])) > image.spec.layers[1].w_max  # the constant
    compare_exactly(
        network,
        image,
        Split(name="x", split="test", bits=4, images=images, labels=np.zeros(60, np.int64)),
    )
    with torch.no_grad():
        ours, theirs = network(torch.from_numpy(images)), folded(torch.from_numpy(images))
    unlike = float((ours.spikes[0] != theirs.spikes[0]).double().mean())
    assert unlike < (0.01 if by_channel else 0.02)


def test_thresholds_by_channel_are_nearer_to_float() -> None:
    """Two-bit weights, channels of very different size: one grid for all loses the small ones."""
    random = np.random.default_rng(1)
    pixels = torch.from_numpy(random.integers(0, 16, (200, 64)))
    folded = small_graph()
    folded.layers[0].kernels[0].div_(15)
    errors = []
    for by_channel in (False, True):
        network = quantize(folded, name="graph", weight_bits=3, pixel_bits=4, by_channel=by_channel)
        with torch.no_grad():
            different = network(pixels).spikes[0] != folded(pixels).spikes[0]
        errors.append(float(different.double().mean()))
    assert errors[1] < 0.7 * errors[0]


def test_what_a_graph_does_is_counted_by_its_edges() -> None:
    network = network_of(residual(), seed=3)
    images = data().images
    trace, meter = GoldenModel(network).run(images), ActivityMeter(network)
    meter.add(images, trace)
    n = len(images)
    stem, inner, block, down = (np.abs(c.astype(int)) for c in trace.spikes)
    delayed = inner[:, :-1].sum()
    events = np.unpackbits(images).sum() + 2 * stem.sum() + inner.sum() + block.sum() + down.sum()
    assert meter.activity.events == pytest.approx((events + 2 * delayed) / n)
    # What a spike meets of kernels that are all ones: products, counted by convolving.
    sops = 0
    images_sent = np.stack([np.bitwise_count(images)], axis=1).astype(int)
    sent = {"input": images_sent, "stem": stem, "inner": inner, "block": block, "down": down}
    for k in range(len(network.spec.layers)):
        for edge, shape in zip(network.spec.edges(k), network.spec.weight_shapes(k), strict=True):
            values = sent[edge.source][:, :-1] if edge.delay else sent[edge.source]
            maps = values.sum(axis=1).reshape(n, *network.spec.shape_of(edge.source))
            sops += receive(maps, edge, np.ones(shape, dtype=np.float64)).sum()
    assert meter.activity.sops == pytest.approx(sops / n)
    assert macs(network) == (
        4 * 2 * (16 * 16)
        + 4 * 2 * (16 * 16)
        + 4 * 4 * 36
        + 4 * 4 * (16 * 16)
        + 4 * 36
        + 6 * 4 * 16
        + 3 * 6
        + 3 * 16
    )


def test_a_layer_that_receives_with_a_delay_only() -> None:
    """At the first step it has its bias alone."""
    layers = (
        LayerSpec(
            name="a",
            inputs=2,
            neurons=2,
            weight_bits=4,
            neuron=NEURONS[0],
            shape=(2, 1, 1),
            edges=(EdgeSpec(source="b", delay=1),),
        ),
        LayerSpec(
            name="b",
            inputs=5,
            neurons=2,
            weight_bits=4,
            neuron=NEURONS[0],
            shape=(2, 1, 1),
            edges=(EdgeSpec(source="input"), EdgeSpec(source="a")),
        ),
        LayerSpec(name="out", inputs=2, neurons=2, weight_bits=4),
    )
    spec = NetworkSpec(name="late", input_size=3, input_bits=3, steps=4, layers=layers)
    image = Network(
        spec,
        ([np.full((2, 2), 7)], [np.full((2, 3), 3), np.full((2, 2), -2)], np.eye(2, dtype=int)),
        (np.array([9, -9]), np.array([1, 2]), np.array([0, 0])),
    )
    network = IntegerNetwork(spec)
    network.load_network(image)
    images = np.random.default_rng(1).integers(0, 8, (20, 3)).astype(np.uint8)
    small = replace(data(20), images=images, labels=np.zeros(20, np.int64))
    compare_exactly(network, image, small)
    assert real_network(image)(torch.from_numpy(images)).logits.shape == (20, 2)


def test_states_with_thresholds_by_channel_load_after_a_run() -> None:
    image = network_of(residual(), seed=3)
    network, other = IntegerNetwork(image.spec), IntegerNetwork(image.spec)
    network.load_network(image)
    network(torch.from_numpy(data().images))
    other.load_state_dict(network.state_dict())
    assert other.to_network().digest == image.digest


@settings(max_examples=25)
@given(network=networks(own=True), drawn=st.data())
def test_constants_by_channel_are_equal(network: Network, drawn: st.DataObject) -> None:
    """In torch and in the golden model, and what torch has becomes the same network."""
    pixels = pixels_for(drawn, network, count=3)
    integer = IntegerNetwork(network.spec).double()
    integer.load_network(network)
    activity, trace = integer(torch.from_numpy(pixels)), GoldenModel(network).run(pixels)
    for spikes, u, ours, kept in zip(
        activity.spikes, activity.potentials, trace.spikes, trace.potentials, strict=True
    ):
        assert torch.equal(spikes.transpose(0, 1), torch.from_numpy(ours).double())
        assert torch.equal(u.transpose(0, 1), torch.from_numpy(kept).double())
    assert torch.equal(activity.logits, torch.from_numpy(trace.logits).double())
    if all(weights.any() for weights in network.weights):
        assert integer.to_network().digest == network.digest


def test_reals_with_constants_by_channel() -> None:
    """Fractions that all have the same k lose nothing, but for what a weight step is too coarse
    for: thresholds, steps, factors are each channel's."""
    p = LIFParameters(
        decay="factor", decay_shift=0, decay_factor=1.0, reset="soft", step=1.0, negative="off"
    )
    kernel = torch.tensor([[2.0, 1.0], [4.0, -2.0], [7.0, 3.0]], dtype=torch.float64)
    hidden = replace(
        FoldedLayer.dense(kernel, torch.zeros(3, dtype=torch.float64), p),
        thetas=torch.tensor([3.0, 5.0, 6.0], dtype=torch.float64),
        steps=torch.tensor([4.0, 5.0, 9.0], dtype=torch.float64),
        factors=torch.tensor([0.5, 1.0, 0.75], dtype=torch.float64),
    )
    readout = FoldedLayer.dense(torch.eye(3).double(), torch.zeros(3).double(), None)
    folded = FoldedNetwork((hidden, readout), steps=5)
    known = {"hidden1": Known(1.0, 99.0, 8), "readout": Known(1.0)}
    integer = quantize(folded, name="own", weight_bits=4, pixel_bits=1, known=known)
    network = integer.to_network()
    (made, _), wanted = network.layers, ([768, 1280, 1536], [1024, 1280, 2304], [2, 4, 3])
    for whole, values in zip((made.thetas, made.reset_steps, made.factors), wanted, strict=True):
        assert np.array_equal(whole, values)  # type: ignore[arg-type]
    assert made.spec.neuron is not None
    assert made.spec.neuron.decay_shift == 2
    pixels = torch.tensor([[0, 1], [1, 0], [1, 1]], dtype=torch.uint8)
    real, trace = folded(pixels), GoldenModel(network).run(pixels.numpy())
    assert torch.equal(real.spikes[0].transpose(0, 1), torch.from_numpy(trace.spikes[0]).double())
    assert 0 < float(real.spikes[0].mean()) < 1
    again = real_network(network)(pixels)
    assert torch.allclose(again.potentials[0], real.potentials[0])


def test_a_channel_of_hardly_any_weight() -> None:
    folded = small_graph()
    folded.layers[0].kernels[0][1] *= 1e-9
    network = quantize(folded, name="graph", weight_bits=4, pixel_bits=4, by_channel=True)
    neuron = network.spec.layers[0].neuron
    assert neuron is not None
    assert neuron.potential_bits < 20


def test_fraction_bits_are_the_quantisers_to_choose() -> None:
    folded = small_graph()
    odd = replace(folded.layers[0], neuron=LIFParameters(fraction_bits=2))
    with pytest.raises(QuantizeError, match="Fraction bits of layer stem must not be given"):
        quantize(
            replace(folded, layers=(odd, *folded.layers[1:])), name="x", weight_bits=4, pixel_bits=4
        )
