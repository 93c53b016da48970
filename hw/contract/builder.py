"""Networks in a line a layer: names, channels and edges are given, everything else is derived.

`NetworkBuilder` makes a specification; `random_network` puts random integers into one, where what a
network computes matters less than its shape: studies of size, tests.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.edge import INPUT, EdgeSpec, Shape
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec

__all__ = ["NetworkBuilder", "random_constants", "random_integers", "random_network"]

Integers = tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]
"""Weights, biases and thresholds by channel, as `Network` takes them."""


class NetworkBuilder:
    """Adds layers one after the other, and derives their shapes, neurons and inputs.

    Parameters
    ----------
    shape
        The image: channels, rows, columns, or how many pixels stand in a row.
    weight_bits
        Width of the weights of layers that do not give their own.
    name, input_bits, steps, timed_input
        Of the network (`NetworkSpec`).

    Attributes
    ----------
    shapes
        Channels, rows, columns of the input and of every layer so far, by name.
    """

    def __init__(
        self,
        shape: int | Shape,
        *,
        name: str = "network",
        input_bits: int = 8,
        steps: int = 4,
        weight_bits: int = 4,
        timed_input: bool = False,
    ) -> None:
        self._fields: dict[str, Any] = {
            "name": name,
            "input_bits": input_bits,
            "steps": steps,
            "timed_input": timed_input,
            "input_size": _size(shape),
            "input_shape": None if isinstance(shape, int) else shape,
        }
        self._weight_bits = weight_bits
        self._layers: list[dict[str, Any]] = []
        self.shapes: dict[str, Shape] = {INPUT: (shape, 1, 1) if isinstance(shape, int) else shape}

    def layer(
        self,
        name: str,
        size: int | Shape,
        *edges: EdgeSpec,
        neuron: NeuronSpec | None = None,
        **more: Any,
    ) -> str:
        """Add a layer; returns its name.

        Parameters
        ----------
        size
            Channels: then the first edge, whose source must be known, says how large the maps are.
            Or channels, rows, columns.
        edges
            None: a row of neurons with a dense edge from the layer before.
        neuron
            None: the layer is the readout.
        more
            `weight_bits`, `channel_thresholds`, `channel_decays` (`LayerSpec`).
        """
        if not isinstance(size, int):
            self.shapes[name] = size
        elif edges:
            channels, rows, columns = edges[0].made(self.shapes[edges[0].source], size)
            # At least 1: of maps that are too small, the check of the edge tells what is wrong.
            self.shapes[name] = channels, max(1, rows), max(1, columns)
        else:
            self.shapes[name] = (size, 1, 1)
        self._layers.append({"name": name, "neuron": neuron, "edges": edges, **more})
        return name

    def spec(self) -> NetworkSpec:
        """The specification, checked."""
        layers, before = [], INPUT
        for fields in self._layers:
            name, edges = fields["name"], fields["edges"]
            sources = [edge.source for edge in edges] or [before]
            layers.append(
                LayerSpec(
                    inputs=sum(_size(self.shapes[source]) for source in sources),
                    neurons=_size(self.shapes[name]),
                    shape=self.shapes[name] if edges else None,
                    **{"weight_bits": self._weight_bits, **fields},
                )
            )
            before = name
        return NetworkSpec(layers=tuple(layers), **self._fields)


def random_integers(
    spec: NetworkSpec, seed: int | np.random.Generator = 1, *, bias: int | None = 9
) -> Integers:
    """Weights of their full width (a list of an array per edge, or an array), biases within +-bias
    (None: within the threshold), thresholds from 1 to the layer's.

    The thresholds are drawn for every layer, needed or not: so a network has the same weights with
    thresholds by channel and without.
    """
    rng = np.random.default_rng(seed)
    weights, biases, thetas = [], [], []
    for n, layer in enumerate(spec.layers):
        kernels = [_weights(rng, layer.w_max, shape) for shape in spec.weight_shapes(n)]
        theta, channels = layer.neuron.theta if layer.neuron else 20, layer.map_shape[0]
        most = theta if bias is None else bias
        weights.append(kernels if layer.edges else kernels[0])
        biases.append(rng.integers(-most, most + 1, channels))
        own = rng.integers(1, max(theta, 2), channels)
        own[0] = theta
        thetas.append(own if layer.channel_thresholds else None)
    return tuple(weights), tuple(biases), tuple(thetas)


def random_network(
    spec: NetworkSpec, seed: int | np.random.Generator = 1, *, bias: int | None = 9
) -> Network:
    """The network with `random_integers`."""
    weights, biases, thetas = random_integers(spec, seed, bias=bias)
    own: dict[str, Any] = random_constants(spec)
    return Network(spec, weights, biases, thetas=thetas, **own)


def random_constants(spec: NetworkSpec, seed: int = 1) -> dict[str, tuple[Any, ...]]:
    """`Network.reset_steps` from 1 to the layer's, `Network.factors` from 0 to 2^k, both met; of
    layers that have them by channel."""
    rng = np.random.default_rng(seed)
    reset_steps, factors = list[Any](), list[Any]()
    for layer in spec.layers:
        channels, neuron = layer.map_shape[0], layer.neuron
        steps, own = None, None
        if layer.channel_resets and neuron is not None:
            steps = rng.integers(1, neuron.step + 1, channels)
            steps[-1] = neuron.step
        if layer.channel_decays and neuron is not None:
            own = rng.integers(0, 2**neuron.decay_shift + 1, channels)
            own[:2] = (2**neuron.decay_shift, 0)[:channels]
        reset_steps.append(steps)
        factors.append(own)
    return {"reset_steps": tuple(reset_steps), "factors": tuple(factors)}


def _weights(rng: np.random.Generator, most: int, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
    return rng.integers(-most, most + 1, shape).astype(np.int16)


def _size(shape: int | Shape) -> int:
    return shape if isinstance(shape, int) else shape[0] * shape[1] * shape[2]
