"""The dense ternary-spike network, real-valued: what the float phase of training trains.

Per hidden layer Linear, BatchNorm and `TernaryLIF`, then a Linear readout that does not fire.
`sw.learn.graph.propagate` is shared with the folded and the integer network.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sw.learn.graph import Activity, Drive, chain, propagate
from sw.learn.neuron import LIFParameters, TernaryLIF

__all__ = ["DenseNetwork", "spike_rate", "time_mean_loss"]


class HiddenLayer(nn.Module):
    """Linear without bias, batch-norm with statistics shared over time, ternary neurons."""

    def __init__(self, inputs: int, neurons: int, neuron: TernaryLIF) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, neurons, bias=False)
        self.norm = nn.BatchNorm1d(neurons)
        self.neuron = neuron

    def drive(self, x: Tensor) -> Tensor:
        """Normalised drive (..., neurons) of what the layer receives, (..., inputs)."""
        return self.norm(self.linear(x).flatten(0, -2)).unflatten(0, x.shape[:-1])


class DenseNetwork(nn.Module):
    """Fully connected ternary-spike network on pixels 0 .. pixel_max.

    Parameters
    ----------
    sizes
        Input size, neurons of each hidden layer, classes.
    steps
        Time steps T.
    pixel_max
        Largest pixel; pixels are divided by it on entry.
    neuron
        Constants of all hidden neurons.
    train_amplitude
        Whether each hidden layer's spike amplitude is trained or stays 1.
    """

    logit_scale = 1.0
    """What one unit of a logit is worth; integer networks have a smaller unit."""

    dropout = 0.0
    """Of `propagate`, while training."""

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        steps: int,
        pixel_max: int,
        neuron: LIFParameters | None = None,
        train_amplitude: bool = True,
    ) -> None:
        super().__init__()
        self.steps, self.pixel_max = steps, pixel_max
        pairs = list(pairwise(sizes[:-1]))
        self.hidden = nn.ModuleList(
            HiddenLayer(a, b, TernaryLIF(neuron, train_amplitude=train_amplitude)) for a, b in pairs
        )
        self.readout = nn.Linear(sizes[-2], sizes[-1])

    def forward(self, pixels: Tensor) -> Activity:
        """Run pixels (n, size), any dtype, for all steps."""
        scaled = pixels.to(self.readout.weight.dtype) / self.pixel_max
        hidden = self.hidden_layers
        drives: list[Drive] = [*(layer.drive for layer in hidden), self.readout]
        neurons = [layer.neuron for layer in hidden]
        dropout = self.training * self.dropout
        return propagate(scaled, chain(drives, neurons), self.steps, dropout)

    @property
    def hidden_layers(self) -> list[HiddenLayer]:
        """The hidden layers in order, typed."""
        return cast(list[HiddenLayer], list(self.hidden))


def time_mean_loss(logits: Tensor, labels: Tensor, steps: int, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the readout's mean over time (*Ternary Spike*, training section)."""
    return functional.cross_entropy(logits / steps, labels, label_smoothing=smoothing)


def spike_rate(spikes: Sequence[Tensor]) -> Tensor:
    """Mean |c| over layers, neurons, steps and images: events per neuron and step, 0 to 1, unless
    neurons are soft."""
    if not spikes:
        return torch.zeros(())
    events = [c.abs().sum() for c in spikes]
    return torch.stack(events).sum() / sum(c.numel() for c in spikes)
