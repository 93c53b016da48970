"""Folding: batch-norm, amplitude and pixel scale disappear into weights and biases.

Everything real-valued is folded before anything is rounded. The other order is another network:
rounding W and then scaling it by gamma / sqrt(var + eps) and the amplitude leaves the grid, and
rounding again adds a second error (tests/sw/test_fold.py measures it).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sw.model import Activity, DenseNetwork, Drive, propagate
from sw.neuron import LIFParameters, TernaryLIF

__all__ = ["FoldedLayer", "FoldedNetwork", "fold"]


@dataclass(frozen=True, eq=False)
class FoldedLayer:
    """Weights (neurons, inputs) and bias (neurons,) in float64; `neuron` None for the readout."""

    weight: Tensor
    bias: Tensor
    neuron: LIFParameters | None

    def drive(self, x: Tensor) -> Tensor:
        """Drive (..., neurons) of what the layer receives (..., inputs)."""
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class FoldedNetwork:
    """The float network with unit spikes, whole pixels and nothing between the layers.

    Calling it on pixels (n, size) gives the Activity of the network it was folded from (in
    evaluation mode), up to float64 rounding.
    """

    layers: tuple[FoldedLayer, ...]
    steps: int

    def __call__(self, pixels: Tensor) -> Activity:
        drives: list[Drive] = [layer.drive for layer in self.layers]
        neurons = [
            TernaryLIF(layer.neuron, train_amplitude=False)
            for layer in self.layers
            if layer.neuron is not None
        ]
        return propagate(pixels.to(torch.float64), drives, neurons, self.steps)


@torch.no_grad()
def fold(network: DenseNetwork) -> FoldedNetwork:
    """Fold a trained network (*Ternary Spike*, eqs 15-17: K~ = a K).

    `W' = a_prev * gamma / sqrt(var + eps) * W` and `b' = beta - gamma * mu / sqrt(var + eps)`,
    where a_prev is the preceding layer's amplitude, or 1 / pixel_max for the first layer.
    """
    layers, scale = [], torch.tensor(1 / network.pixel_max, dtype=torch.float64)
    for layer in network.hidden_layers:
        gain, bias = _affine(layer.norm)
        weight = gain[:, None] * layer.linear.weight.double() * scale
        layers.append(FoldedLayer(weight, bias, layer.neuron.constants))
        scale = layer.neuron.amplitude.double()
    readout = network.readout
    layers.append(FoldedLayer(readout.weight.double() * scale, readout.bias.double(), None))
    return FoldedNetwork(tuple(layers), network.steps)


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Gain and offset that batch-norm is at inference."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return gain, norm.bias.double() - gain * norm.running_mean.double()
