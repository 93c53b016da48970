"""Networks that learn, for tests: small ones of every kind."""

import numpy as np

from hw.contract.learning import LearningSpec
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from tests.learners import learning_spec, spide

__all__ = ["learning_network", "readout_network"]


def learning_network(
    rng: np.random.Generator,
    *,
    inputs: int = 9,
    groups: tuple[int, ...] = (6,),
    classes: int = 3,
    feedback: bool = False,
    steps: int = 4,
    steps_back: int = 8,
    weight_bits: int = 6,
    fraction: int = 4,
    theta: int = 64,
    potential_bits: int = 9,
    margin: int = 200,
    rates: tuple[int, ...] | None = None,
    input_bits: int = 4,
    error_bits: int = 1,
    inject: int = 3,
    shift: int = 1,
) -> Network:
    """A network that learns in all its layers, with random weights and biases."""
    count = len(groups) + 1 + feedback
    spec = learning_spec(
        inputs,
        groups,
        classes,
        neurons=spide(theta, potential_bits),
        feedback=feedback,
        shifts=(0, *[shift] * len(groups)),
        weight_bits=weight_bits,
        steps=steps,
        input_bits=input_bits,
        master_bits=weight_bits + fraction,
        steps_back=steps_back,
        margin=margin,
        inject_shift=inject,
        rates=rates or tuple(int(k) for k in rng.integers(-1, 5, count)),
        input_bias=int(rng.integers(1, 9)),
        error_bits=error_bits,
        seed=int(rng.integers(1, 2**32)),
    )
    return _filled(rng, spec)


def readout_network(
    rng: np.random.Generator,
    *,
    inputs: int = 9,
    hidden: tuple[int, ...] = (7, 6),
    classes: int = 4,
    steps: int = 3,
    weight_bits: int = 4,
    fraction: int = 6,
    margin: int = 40,
    rate: int = -2,
    neuron: NeuronSpec | None = None,
) -> Network:
    """A network whose readout alone learns, behind ternary neurons that leak."""
    if neuron is None:
        neuron = NeuronSpec(theta=9, decay="shift", decay_shift=1, potential_bits=8)
    layers, size = [], inputs
    for n, neurons in enumerate(hidden):
        layers.append(
            LayerSpec(name=f"hidden{n}", inputs=size, neurons=neurons, weight_bits=3, neuron=neuron)
        )
        size = neurons
    layers.append(LayerSpec(name="readout", inputs=size, neurons=classes, weight_bits=weight_bits))
    spec = NetworkSpec(
        name="readout-learning",
        input_size=inputs,
        input_bits=3,
        steps=steps,
        layers=tuple(layers),
        learning=LearningSpec(
            master_bits=weight_bits + fraction, margin=margin, rates=(rate,), seed=12345
        ),
    )
    return _filled(rng, spec)


def _filled(rng: np.random.Generator, spec: NetworkSpec) -> Network:
    weights = []
    for n, layer in enumerate(spec.layers):
        parts = [
            rng.integers(-layer.w_max, layer.w_max + 1, shape) for shape in spec.weight_shapes(n)
        ]
        weights.append(parts if layer.edges else parts[0])
    biases = tuple(rng.integers(-9, 10, layer.map_shape[0]) for layer in spec.layers)
    return Network(spec, tuple(weights), biases)
