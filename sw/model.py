"""The dense ternary-spike network, real-valued: what the float phase of training trains.

Per hidden layer Linear, BatchNorm and `TernaryLIF`, then a Linear readout that does not fire.
`propagate` is shared with the folded and the integer network: one order of events for all three.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sw.neuron import LIFParameters, TernaryLIF

__all__ = ["Activity", "DenseNetwork", "Drive", "propagate", "spike_rate", "time_mean_loss"]

MARGIN = (0.5, 1.5)
"""Drives, in thresholds, that a penalty on the excitation acts on."""

Drive = Callable[[Tensor], Tensor]
"""Maps what a layer receives, (..., inputs), to its drive (..., neurons)."""


class Activity(NamedTuple):
    """What a network did with n images.

    spikes, potentials
        One tensor (T, n, neurons) per firing layer: unit spikes -1, 0, +1 and stored potentials.
    logits
        (n, classes): the readout's drive added up over the T steps.
    excitation
        Scalar: mean |drive| / theta, averaged over the firing layers. Each |drive| / theta counts
        as at least 0.5 and at most 1.5, so that its gradient moves only drives near the threshold:
        lowering it silences the marginal spikes and leaves the decided ones. (The spike rate has
        no gradient of its own: a neuron that fires is outside its surrogate window.)
    """

    spikes: tuple[Tensor, ...]
    potentials: tuple[Tensor, ...]
    logits: Tensor
    excitation: Tensor


def propagate(
    pixels: Tensor, drives: Sequence[Drive], neurons: Sequence[TernaryLIF], steps: int,
    dropout: float = 0.0,
) -> Activity:  # fmt: skip
    """Run a chain of layers for `steps` time steps on directly coded images.

    The first layer's drive is computed once and used at every step. Layers run one after the
    other, each over all its steps: nothing feeds back, so the order changes no value.

    Parameters
    ----------
    pixels
        (n, size), in whatever unit the first drive expects.
    drives, neurons
        One drive per layer, one neuron per layer but the last.
    dropout
        Share of the neurons that are not heard, the same ones at all steps; of the others each is
        heard as much more.
    """
    spikes, potentials, excitation = [], [], torch.zeros((), dtype=pixels.dtype)
    drive, constant = drives[0](pixels), True
    for neuron, following in zip(neurons, drives[1:], strict=True):
        relative = drive.abs() / neuron.constants.theta
        excitation = excitation + relative.clamp(*MARGIN).mean() / len(neurons)
        c, u = neuron.over_time(drive, steps if constant else None)
        heard = neuron.amplified(c)
        if dropout:
            heard = heard * functional.dropout(torch.ones_like(heard[0]), dropout)
        drive, constant = following(heard), False
        spikes.append(c)
        potentials.append(u)
    logits = drive * steps if constant else drive.sum(dim=0)
    return Activity(tuple(spikes), tuple(potentials), logits, excitation)


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
        return propagate(scaled, drives, neurons, self.steps, self.training * self.dropout)

    @property
    def hidden_layers(self) -> list[HiddenLayer]:
        """The hidden layers in order, typed."""
        return cast(list[HiddenLayer], list(self.hidden))


def time_mean_loss(logits: Tensor, labels: Tensor, steps: int, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the readout's mean over time (*Ternary Spike*, training section)."""
    return functional.cross_entropy(logits / steps, labels, label_smoothing=smoothing)


def spike_rate(spikes: Sequence[Tensor]) -> Tensor:
    """Mean |c| over layers, neurons, steps and images: events per neuron and step, 0 to 1."""
    if not spikes:
        return torch.zeros(())
    return sum((c.abs().sum() for c in spikes), torch.zeros(())) / sum(c.numel() for c in spikes)
