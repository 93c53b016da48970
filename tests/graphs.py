"""A small network that has every kind of edge, and integers for networks."""

import numpy as np

from hw.contract.edge import EdgeSpec
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec

NEURON = NeuronSpec(theta=20, potential_bits=6)


def layer(
    name: str, shape, edges, inputs: int, neuron: NeuronSpec | None = NEURON, **more
) -> LayerSpec:
    return LayerSpec(
        name=name,
        inputs=inputs,
        neurons=int(np.prod(shape)),
        weight_bits=4,
        neuron=neuron,
        shape=shape,
        edges=tuple(edges),
        **more,
    )


def residual() -> NetworkSpec:
    """A stem, a block with an identity shortcut, pooling, recurrence, and a dense readout."""
    return NetworkSpec(
        name="residual",
        input_size=2 * 6 * 6,
        input_bits=3,
        steps=3,
        input_shape=(2, 6, 6),
        layers=(
            layer(
                "stem", (4, 6, 6), [EdgeSpec(source="input", kind="conv", kernel=3, padding=1)], 72
            ),
            layer(
                "inner",
                (4, 6, 6),
                [
                    EdgeSpec(source="stem", kind="conv", kernel=3, padding=1, groups=2),
                    EdgeSpec(source="inner", kind="conv", delay=1),
                ],
                288,
                channel_thresholds=True,
            ),
            layer(
                "block",
                (4, 6, 6),
                [
                    EdgeSpec(source="inner", kind="conv", kernel=3, padding=1),
                    EdgeSpec(source="stem", kind="identity"),
                ],
                288,
            ),
            layer(
                "down",
                (6, 2, 2),
                [EdgeSpec(source="block", kind="conv", kernel=3, stride=2, padding=1, pool=2)],
                144,
            ),
            layer(
                "readout",
                (3, 1, 1),
                [EdgeSpec(source="down", pool=2), EdgeSpec(source="inner", pool=3, delay=1)],
                168,
                neuron=None,
            ),
        ),
    )


def arrays(spec: NetworkSpec, seed: int = 1):
    """(weights per edge, biases, thresholds) for a network."""
    random = np.random.default_rng(seed)
    weights, biases, thetas = [], [], []
    for n, spec_layer in enumerate(spec.layers):
        weights.append([random.integers(-7, 8, shape) for shape in spec.weight_shapes(n)])
        biases.append(random.integers(-9, 10, spec_layer.map_shape[0]))
        channels = random.integers(1, 20, spec_layer.map_shape[0])
        channels[0] = 20
        thetas.append(channels if spec_layer.channel_thresholds else None)
    return tuple(weights), tuple(biases), tuple(thetas)


def image_of(spec: NetworkSpec, seed: int = 1) -> Network:
    weights, biases, thetas = arrays(spec, seed)
    return Network(spec, weights, biases, thetas=thetas)
