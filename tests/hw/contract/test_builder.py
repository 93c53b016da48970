"""hw.contract.builder: what is derived is what one would write."""

from dataclasses import replace

import numpy as np
import pytest

from hw.contract.builder import NetworkBuilder, random_constants, random_integers, random_network
from hw.contract.checks import SpecError
from hw.contract.edge import EdgeSpec
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec

NEURON = NeuronSpec(theta=20, potential_bits=6)
CONV = EdgeSpec(source="input", kind="conv", kernel=3, stride=2, padding=1)


def test_a_chain() -> None:
    builder = NetworkBuilder(5, name="chain", input_bits=3, steps=2)
    builder.layer("hidden", 7, neuron=NEURON)
    builder.layer("readout", 3, weight_bits=2)
    assert builder.spec() == NetworkSpec(
        name="chain",
        input_size=5,
        input_bits=3,
        steps=2,
        layers=(
            LayerSpec(name="hidden", inputs=5, neurons=7, weight_bits=4, neuron=NEURON),
            LayerSpec(name="readout", inputs=7, neurons=3, weight_bits=2),
        ),
    )
    assert builder.spec().is_chain


def test_a_graph() -> None:
    """A strided convolution, an edge from a later layer, pooling, a shape that is given."""
    edges = (CONV, EdgeSpec(source="b", delay=1))
    pooled = EdgeSpec(source="a", kind="conv", pool=2)
    builder = NetworkBuilder((2, 7, 8), name="graph", timed_input=True)
    assert builder.layer("a", 3, *edges, neuron=NEURON) == "a"
    builder.layer("b", 5, pooled, neuron=NEURON, channel_thresholds=True)
    builder.layer("readout", (2, 2, 1), EdgeSpec(source="b"))
    shapes = {"input": (2, 7, 8), "a": (3, 4, 4), "b": (5, 2, 2), "readout": (2, 2, 1)}
    assert builder.shapes == shapes
    a, b, readout = builder.spec().layers
    assert (a.inputs, a.neurons, a.shape, a.edges) == (112 + 20, 48, (3, 4, 4), edges)
    assert (b.inputs, b.neurons, b.channel_thresholds) == (48, 20, True)
    assert (readout.inputs, readout.neurons, readout.neuron) == (20, 4, None)


@pytest.mark.parametrize(("kernel", "text"), [(7, "7"), ((7, 1), "7x1"), ((1, 7), "1x7")])
def test_what_does_not_fit_is_refused_as_everywhere(kernel, text: str) -> None:
    builder = NetworkBuilder((2, 7, 8))
    builder.layer("a", 3, CONV, neuron=NEURON)
    builder.layer("b", 3, EdgeSpec(source="a", kind="conv", kernel=kernel), neuron=NEURON)
    builder.layer("readout", 2)
    sentence = f"Layer b, edge from a: a kernel of {text} does not fit maps"
    with pytest.raises(SpecError, match=sentence):
        builder.spec()


def test_random_constants_meet_both_ends() -> None:
    """Steps from 1 to the layer's, which is met; factors from 0 to 2^k, both met."""
    neuron = replace(NEURON, reset="soft", step=3, decay="factor", decay_shift=3)
    builder = NetworkBuilder((2, 3, 3))
    own = {"channel_thresholds": True, "channel_decays": True}
    builder.layer("a", 40, EdgeSpec(source="input"), neuron=neuron, **own)
    builder.layer("one", 1, EdgeSpec(source="a"), neuron=neuron, **own)
    builder.layer("readout", 2, EdgeSpec(source="one"))
    constants = random_constants(builder.spec())
    steps, factors = (constants[name] for name in ("reset_steps", "factors"))
    assert sorted({*steps[0].tolist()}) == [1, 2, 3]
    assert (steps[0][-1], steps[1].tolist(), steps[2]) == (3, [3], None)
    assert sorted({*factors[0].tolist()}) == [*range(9)]
    assert min((factors[0] == 0).sum(), (factors[0] == 8).sum()) > 1  # drawn, too
    assert (factors[0][:2].tolist(), factors[1].tolist(), factors[2]) == ([8, 0], [8], None)


def test_random_integers_use_their_width() -> None:
    builder = NetworkBuilder(50)
    builder.layer("a", 40, EdgeSpec(source="input"), neuron=NEURON, channel_thresholds=True)
    builder.layer("readout", 30, weight_bits=3)
    spec = builder.spec()
    weights, biases, thetas = random_integers(spec, 2, bias=11)
    assert [np.ptp(weights[0][0]), np.ptp(weights[1]), np.ptp(biases[0])] == [14, 6, 22]
    assert (thetas[0].min(), thetas[0].max(), thetas[1]) == (1, 20, None)
    assert random_network(spec, 2).digest == random_network(spec, 2).digest
    assert random_network(spec, 2).digest != random_network(spec, 3).digest
    assert np.abs(random_network(spec, bias=None).biases[0]).max() > 11
    assert not random_network(spec, bias=0).biases[0].any()


@pytest.mark.parametrize("step", [1, 2])
def test_random_constants_of_the_least_neuron(step: int) -> None:
    """A threshold of 1 and steps of 1 or 2 leave nothing, or little, to draw: all are allowed."""
    neuron = replace(NEURON, theta=1, negative="off", reset="soft", step=step)
    builder = NetworkBuilder((2, 2, 2))
    builder.layer("a", 40, EdgeSpec(source="input"), neuron=neuron, channel_thresholds=True)
    builder.layer("readout", 2, EdgeSpec(source="a"))
    network = random_network(builder.spec())
    assert network.thetas[0] is not None
    assert network.reset_steps[0] is not None
    assert (sorted({*network.thetas[0].tolist()}), network.thetas[1]) == ([1], None)
    assert sorted({*network.reset_steps[0].tolist()}) == [*range(1, step + 1)]


def test_what_is_left_out() -> None:
    """As it always was: another default is another network."""
    builder = NetworkBuilder(3)
    builder.layer("a", 1, neuron=NEURON, channel_thresholds=True)
    builder.layer("readout", 2)
    spec = builder.spec()
    assert (spec.name, spec.input_bits, spec.steps) == ("network", 8, 4)
    assert [layer.weight_bits for layer in spec.layers] == [4, 4]
    thetas = random_integers(spec)[2]
    assert thetas[0].tolist() == [NEURON.theta]


def test_the_largest_biases_that_are_drawn() -> None:
    """9 where nobody says, of the same seed; or those of a threshold, which a readout has none of:
    20."""
    builder = NetworkBuilder(3)
    builder.layer("a", 200, neuron=replace(NEURON, theta=13))
    builder.layer("readout", 200)
    spec = builder.spec()
    for biases in (random_integers(spec, 1)[1], random_network(spec, 1).biases):
        assert [np.abs(bias).max() for bias in biases] == [9, 9]
    for biases in (random_integers(spec, bias=None)[1], random_network(spec, bias=None).biases):
        assert [np.abs(bias).max() for bias in biases] == [13, 20]
