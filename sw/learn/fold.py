"""Folding: batch-norm, amplitude and pixel scale disappear into weights and biases.

Everything real-valued is folded before anything is rounded. The other order is another network:
rounding W and then scaling it by gamma / sqrt(var + eps) and the amplitude leaves the grid, and
rounding again adds a second error (tests/sw/learn/test_fold.py measures it).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hw.contract.edge import INPUT, EdgeSpec, Shape
from sw.learn.graph import Activity, Node, as_maps, bound, by_neuron, propagate
from sw.learn.network import Edge, FloatNetwork, Layer
from sw.learn.neuron import LIFParameters, ReadoutParameters, TernaryLIF

__all__ = ["FoldedLayer", "FoldedNetwork", "fold"]


@dataclass(frozen=True, eq=False)
class FoldedLayer:
    """A layer whose neurons are all that is left of it.

    Parameters
    ----------
    kernels
        Weights of each edge (`EdgeSpec.weight_shape`), float64.
    bias
        (channels,), float64.
    neuron
        None for the readout.
    thetas, steps, factors
        (channels,): thresholds by channel, for both sides, reset steps, factors of the decay, in
        place of the neuron's.
    name, shape, edges
        As in `hw.contract.spec.LayerSpec`. Without edges: one dense edge from the layer before.
        Without a name: named by its place.
    readout
        Of a readout that leaks.
    """

    kernels: tuple[Tensor, ...]
    bias: Tensor
    neuron: LIFParameters | None
    name: str = ""
    shape: Shape | None = None
    edges: tuple[EdgeSpec, ...] = ()
    thetas: Tensor | None = None
    steps: Tensor | None = None
    factors: Tensor | None = None
    readout: ReadoutParameters | None = None

    @classmethod
    def dense(cls, weight: Tensor, bias: Tensor, neuron: LIFParameters | None) -> "FoldedLayer":
        """Weights (neurons, inputs) and bias (neurons,) of a layer in a chain."""
        return cls((weight,), bias, neuron)

    @property
    def weight(self) -> Tensor:
        """The weights of a layer with one edge."""
        (weight,) = self.kernels
        return weight

    @property
    def map_shape(self) -> Shape:
        """Channels, rows, columns."""
        return self.shape or (len(self.bias), 1, 1)


@dataclass(frozen=True, eq=False)
class FoldedNetwork:
    """The float network with unit spikes, whole pixels and nothing between the layers.

    Calling it on pixels (n, size) gives the Activity of the network it was folded from (in
    evaluation mode), up to float64 rounding.
    """

    layers: tuple[FoldedLayer, ...]
    steps: int
    input_shape: Shape | None = None
    timed: bool = False

    def __call__(self, pixels: Tensor) -> Activity:
        maps = as_maps(pixels.double(), self.shape_of(INPUT), self.steps, self.timed)
        return propagate(maps, self.nodes(), self.steps, timed=self.timed)

    @property
    def names(self) -> list[str]:
        """The layers' names."""
        return [
            layer.name or ("readout" if layer.neuron is None else f"hidden{n + 1}")
            for n, layer in enumerate(self.layers)
        ]

    def edges(self, n: int) -> tuple[EdgeSpec, ...]:
        """What layer number n receives."""
        source = self.names[n - 1] if n else INPUT
        return self.layers[n].edges or (EdgeSpec(source=source),)

    def shape_of(self, source: str) -> Shape:
        """Channels, rows, columns of a layer, or of the input."""
        if source != INPUT:
            return self.layers[self.names.index(source)].map_shape
        if self.input_shape is not None:
            return self.input_shape
        return self.layers[0].weight.shape[1], 1, 1

    def nodes(self) -> list[Node]:
        """The layers as `propagate` takes them."""
        nodes = []
        for n, (name, layer) in enumerate(zip(self.names, self.layers, strict=True)):
            edges = tuple(
                (edge, bound(edge, self.shape_of(edge.source), layer.map_shape, kernel))
                for edge, kernel in zip(self.edges(n), layer.kernels, strict=True)
            )
            neuron = None
            if layer.neuron is not None:
                own: dict[str, Any] = {
                    name: by_neuron(values, layer.map_shape)
                    for name in ("thetas", "steps", "factors")
                    if (values := getattr(layer, name)) is not None
                }
                neuron = TernaryLIF(layer.neuron, train_amplitude=False, **own)
            bias = by_neuron(layer.bias, layer.map_shape)
            nodes.append(Node(name, edges, neuron, bias, layer.readout))
        return nodes


@torch.no_grad()
def fold(network: FloatNetwork) -> FoldedNetwork:
    """Fold a trained network (*Ternary Spike*, eqs 15-17: K~ = a K).

    `W' = a_prev * gamma / sqrt(var + eps) * W` and `b' = beta - gamma * mu / sqrt(var + eps)`,
    where a_prev is the sending layer's amplitude, or 1 / pixel_max for the input; an average over
    p x p is divided by p^2 in the weights too. What an identity brings is a_prev itself. In a
    single step, what a potential starts from is a bias: then u0 is folded too, and from a start
    of theta/2, which rounds, a firing from 0 is left.
    """
    worth = {INPUT: torch.tensor(1 / network.pixel_max, dtype=torch.float64)}
    for layer in network.float_layers:
        if layer.neuron is not None:
            worth[layer.plan.name] = layer.neuron.amplitude.double()
    layers = tuple(
        _fold_layer(layer, worth, network.is_chain, network.steps == 1)
        for layer in network.float_layers
    )
    # A chain is specified without maps, as it was before there were any: its digest stays.
    input_shape = None if network.is_chain else network.input_shape
    return FoldedNetwork(layers, network.steps, input_shape, network.timed)


def _fold_layer(
    layer: Layer, worth: Mapping[str, Tensor], in_chain: bool, once: bool
) -> FoldedLayer:
    """`worth`: what one unit of each sender is worth, by name; `once`: there is one step."""
    kernels, bias = [], torch.zeros(layer.shape[0], dtype=torch.float64)
    if layer.bias is not None:
        bias = bias + layer.bias.double()
    for part in layer.edge_modules:
        kernel, offset = _fold_edge(part, worth[part.edge.source] / part.edge.pool_size)
        kernels.append(kernel)
        if offset is not None:
            bias = bias + offset
    neuron = None if layer.neuron is None else layer.neuron.constants
    if neuron is not None and once and (neuron.decay == "none" or neuron.decay_when == "after"):
        bias, neuron = bias + neuron.u0, replace(neuron, u0=0.0)
    shape, edges = (None, ()) if in_chain else (layer.shape, layer.plan.edges)
    return FoldedLayer(
        tuple(kernels), bias, neuron, layer.plan.name, shape, edges, readout=layer.leak
    )


def _fold_edge(part: Edge, scale: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weights of an edge whose input is `scale` times as small, and what it adds to the bias."""
    if part.weights is None:
        return scale.reshape(1), None
    weight, bias = part.kernel.double() * scale, part.weights.bias
    if part.norm is None:
        return weight, None if bias is None else bias.double()
    gain, offset = _affine(part.norm)
    rows = gain.repeat_interleave(len(weight) // len(gain))
    return weight * rows.reshape(-1, *(1,) * (weight.ndim - 1)), offset


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Gain and offset that batch-norm is at inference."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return gain, norm.bias.double() - gain * norm.running_mean.double()
