"""ReLU networks made of plain `torch.nn` modules, read as one affine map per layer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.spec import SternaError
from sw.integer import require_finite
from sw.quantize import QuantizeError

__all__ = ["ConvertError", "ReluLayer", "activations", "read_relu"]


class ConvertError(SternaError, ValueError):
    """A network, or calibration data, that cannot be converted."""


@dataclass(frozen=True, eq=False)
class ReluLayer:
    """Weights (neurons, inputs) and bias (neurons,), float64, with a ReLU behind unless last; and
    its place among the modules, for messages."""

    weight: Tensor
    bias: Tensor
    place: str


@dataclass
class _Reader:
    """Walks modules and gathers what is between two ReLUs into one affine map."""

    shape: tuple[int, ...]
    layers: list[ReluLayer] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    weight: Tensor | None = None  # of the map since the last ReLU; None: the identity
    bias: Tensor | None = None
    place: str = ""

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def then(self, weight: Tensor, bias: Tensor | None, place: str) -> None:
        """Compose with x -> weight x + bias."""
        if self.trouble:  # sizes may not fit any more: the rest is read for its names only
            self.weight = self.bias = torch.zeros(1)
            return
        weight = weight.double()
        if self.weight is None:
            self.weight = weight
            self.bias = torch.zeros(len(weight), dtype=torch.float64)
        else:
            assert self.bias is not None
            self.bias = weight @ self.bias
            self.weight = weight @ self.weight
        if bias is not None:
            self.bias = self.bias + bias.double()
        self.place = self.place or place

    def close(self, place: str) -> None:
        """A ReLU, or the end."""
        if self.trouble:
            return
        if self.weight is None:
            self.trouble.append(f"{place} follows no Linear")
            return
        assert self.bias is not None
        self.layers.append(ReluLayer(self.weight, self.bias, self.place))
        self.weight = self.bias = None
        self.place = ""


@torch.no_grad()
def read_relu(network: nn.Module, shape: Sequence[int]) -> list[ReluLayer]:
    """The layers of a network made of plain `torch.nn` modules.

    Linear, BatchNorm1d, ReLU, AvgPool2d, Flatten; Dropout and Identity are passed over. What lies
    between two ReLUs is linear, and becomes one matrix: batch-norm and pooling need no layer of
    their own.

    Parameters
    ----------
    network
        A Sequential (they may be nested), in evaluation mode or not.
    shape
        Of an input: (784,), or (1, 28, 28) before an AvgPool2d.

    Raises
    ------
    ConvertError
        One sentence that names every module that cannot be converted.
    """
    reader = _Reader(tuple(shape))
    for place, module in _leaves(network):
        _read_module(reader, place, module)
    if reader.weight is not None:
        reader.close("end")
    elif reader.layers and not reader.trouble:
        reader.trouble.append("the last module must be a Linear (the readout), not a ReLU")
    if reader.trouble:
        raise ConvertError(f"Network cannot be converted: {'; '.join(reader.trouble)}")
    if not reader.layers:
        raise ConvertError("Network cannot be converted: it has no Linear")
    for layer in reader.layers:
        try:
            require_finite(layer.place, layer.weight, layer.bias)
        except QuantizeError as error:
            raise ConvertError(str(error)) from None
    return reader.layers


def _leaves(network: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """Modules in the order in which a Sequential runs them, with their places."""
    if isinstance(network, nn.Sequential):
        return [
            leaf
            for name, child in network.named_children()
            for leaf in _leaves(child, f"{prefix}.{name}" if prefix else name)
        ]
    return [(f"{prefix or 'network'} ({type(network).__name__})", network)]


def _read_module(reader: _Reader, place: str, module: nn.Module) -> None:
    size = reader.size
    if isinstance(module, nn.Linear):
        if module.in_features != size:
            reader.trouble.append(f"{place} takes {module.in_features} values, and gets {size}")
        else:
            reader.then(module.weight, module.bias, place)
        reader.shape = (module.out_features,)
    elif isinstance(module, nn.BatchNorm1d):
        if module.running_mean is None or module.running_var is None:
            reader.trouble.append(f"{place} keeps no running statistics")
        elif not reader.trouble and (len(module.running_mean) != size or reader.weight is None):
            reader.trouble.append(f"{place} must follow a Linear of its size")
        else:
            gain = 1 / torch.sqrt(module.running_var.double() + module.eps)
            offset = -gain * module.running_mean.double()
            if module.affine:
                gain, offset = gain * module.weight, offset * module.weight + module.bias
            reader.then(torch.diag(gain), offset, place)
    elif isinstance(module, nn.ReLU):
        reader.close(place)
    elif isinstance(module, nn.AvgPool2d):
        if len(reader.shape) != 3:
            reader.trouble.append(f"{place} needs maps (channels, rows, columns)")
            return
        # A pooling is a matrix: its columns are what it makes of each single input.
        basis = torch.eye(size, dtype=torch.float64).reshape(size, *reader.shape)
        try:
            pooled = module(basis)
        except RuntimeError:
            reader.trouble.append(f"{place} does not fit maps of {reader.shape}")
            return
        reader.shape = tuple(pooled.shape[1:])
        reader.then(pooled.flatten(1).T, None, place)
    elif isinstance(module, nn.Flatten):
        reader.shape = (size,)
    elif not isinstance(module, (nn.Dropout, nn.Identity)):
        hint = " (convolution comes with a later version)" if isinstance(module, nn.Conv2d) else ""
        reader.trouble.append(f"{place} is not supported{hint}")


@torch.no_grad()
def activations(layers: Sequence[ReluLayer], pixels: Tensor, pixel_max: int) -> list[Tensor]:
    """What every layer gives, (n, neurons) each, float64; the last one's without a ReLU."""
    x, found = pixels.double() / pixel_max, []
    for layer in layers[:-1]:
        x = functional.relu(functional.linear(x, layer.weight, layer.bias))
        found.append(x)
    return [*found, functional.linear(x, layers[-1].weight, layers[-1].bias)]
