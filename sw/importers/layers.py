"""What is read of a ReLU network: layers of edges, each a linear map, in floating point."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.contract.edge import INPUT, EdgeSpec, Shape
from sw.importers.affine import ConvertError
from sw.learn.graph import edge_drive
from sw.learn.integer import QuantizeError, require_finite

__all__ = ["AffineLayer", "activations", "layer_edges", "layer_names", "maps_of"]


def maps_of(shape: Sequence[int]) -> Shape:
    """Channels, rows, columns of a value: a row of values is as many channels, a signal (channels,
    samples) maps of one row."""
    sides = tuple(shape)
    channels, rows, columns = sides if len(sides) == 3 else (*sides[:1], 1, *(sides[1:] or (1,)))
    return channels, rows, columns


@dataclass(frozen=True, eq=False)
class AffineLayer:
    """What makes a layer's values, up to its activation.

    Parameters
    ----------
    kernels
        Weights of each edge (`EdgeSpec.weight_shape`), float64; what pooling adds up is divided in
        them.
    bias
        (channels,), float64.
    place
        Among the modules, for messages.
    activation
        Behind it, None after the last.
    shape, edges
        As in `hw.contract.spec.LayerSpec`. Without edges: one dense edge from the layer before.
    sources
        Channels, rows, columns of each edge's source.
    """

    kernels: tuple[Tensor, ...]
    bias: Tensor
    place: str
    activation: nn.Module | None = None
    shape: Shape | None = None
    edges: tuple[EdgeSpec, ...] = ()
    sources: tuple[Shape, ...] = ()

    @property
    def weight(self) -> Tensor:
        """The weights of a layer with one edge."""
        (weight,) = self.kernels
        return weight

    @property
    def map_shape(self) -> Shape:
        """Channels, rows, columns."""
        return self.shape or (len(self.bias), 1, 1)

    @property
    def neurons(self) -> int:
        """How many there are."""
        return math.prod(self.map_shape)

    def scaled(self, gain: float) -> "AffineLayer":
        """With all that it makes times a factor."""
        kernels = tuple(kernel * gain for kernel in self.kernels)
        return replace(self, kernels=kernels, bias=self.bias * gain)

    def require_finite(self) -> None:
        """Refuse weights and biases that are NaN or infinite; raises `ConvertError`."""
        for kernel in self.kernels:
            try:
                require_finite(self.place, kernel, self.bias)
            except QuantizeError as error:
                raise ConvertError(str(error)) from None

    @property
    def macs(self) -> int:
        """Multiply-accumulates: each weight of a kernel at every place, none for an identity."""
        places = self.neurons // len(self.bias)
        kinds = [edge.kind for edge in self.edges] or ["dense"]
        return sum(
            kernel.numel() * (places if kind == "conv" else 1)
            for kind, kernel in zip(kinds, self.kernels, strict=True)
            if kind != "identity"
        )


def layer_names(layers: Sequence[AffineLayer]) -> list[str]:
    """hidden1, hidden2, .., readout."""
    return [*(f"hidden{n + 1}" for n in range(len(layers) - 1)), "readout"]


def layer_edges(layers: Sequence[AffineLayer], n: int) -> tuple[EdgeSpec, ...]:
    """What layer number n receives."""
    return layers[n].edges or (EdgeSpec(source=layer_names(layers)[n - 1] if n else INPUT),)


@torch.no_grad()
def activations(layers: Sequence[AffineLayer], pixels: Tensor, pixel_max: int) -> list[Tensor]:
    """What every layer gives for pixels (n, inputs), (n, neurons) each, float64; the last one's
    without a ReLU."""
    found = {INPUT: pixels.double() / pixel_max}
    for n, (name, layer) in enumerate(zip(layer_names(layers), layers, strict=True)):
        if not layer.edges:
            (edge,) = layer_edges(layers, n)
            x = functional.linear(found[edge.source], layer.weight, layer.bias)
        else:
            x = layer_drive(layer, found).flatten(1)
        found[name] = x if n == len(layers) - 1 else functional.relu(x)
    return list(found.values())[1:]


def layer_drive(layer: AffineLayer, sent: Mapping[str, Tensor]) -> Tensor:
    """The maps (n, *shape) that a layer with edges makes of what each source sent, (n, values)."""
    drive = layer.bias.reshape(-1, 1, 1)
    for edge, source, kernel in zip(layer.edges, layer.sources, layer.kernels, strict=True):
        maps = sent[edge.source].unflatten(1, source)
        drive = drive + edge_drive(edge, source, layer.map_shape)(maps, kernel)
    return drive
