"""Networks of torch modules, read as one affine map per layer of neurons.

What lies between two activations (ReLUs here, spiking neurons in `sw.importers.spikingjelly`) is
affine, and becomes one matrix and one bias: batch-norm and pooling need no layer of their own.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.contract.checks import SternaError
from sw.learn.integer import require_finite
from sw.learn.quantize import QuantizeError

__all__ = [
    "AffineLayer",
    "ConvertError",
    "Leaf",
    "activations",
    "leaves",
    "load_module",
    "read_layers",
    "read_relu",
]

KNOWN = [
    nn.Sequential,
    nn.Linear,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.Flatten,
    nn.Dropout,
    nn.Identity,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.Conv2d,
    nn.Sigmoid,
    nn.Tanh,
    nn.LeakyReLU,
    nn.GELU,
]
"""Modules that a file may hold: those that convert, and those that are refused by their place."""


class ConvertError(SternaError, ValueError):
    """A network, or calibration data, that cannot be converted."""


@dataclass(frozen=True, eq=False)
class AffineLayer:
    """Weights (neurons, inputs) and bias (neurons,), float64; its place among the modules, for
    messages; and the activation behind it, None after the last."""

    weight: Tensor
    bias: Tensor
    place: str
    activation: nn.Module | None = None


@dataclass
class _Reader:
    """Walks modules and gathers what is between two activations into one affine map."""

    shape: tuple[int, ...]
    is_activation: Callable[[nn.Module], bool]
    passed_over: tuple[type[nn.Module], ...]
    layers: list[AffineLayer] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    weight: Tensor | None = None  # of the map since the last activation; None: the identity
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
        weight = weight.detach().double()
        if self.weight is None:
            self.weight = weight
            self.bias = torch.zeros(len(weight), dtype=torch.float64)
        else:
            assert self.bias is not None
            self.bias = weight @ self.bias
            self.weight = weight @ self.weight
        if bias is not None:
            self.bias = self.bias + bias.detach().double()
        self.place = self.place or place

    def close(self, place: str, activation: nn.Module | None = None) -> None:
        """An activation, or the end."""
        if self.trouble:
            return
        if self.weight is None:
            self.trouble.append(f"{place} follows no Linear")
            return
        assert self.bias is not None
        self.layers.append(AffineLayer(self.weight, self.bias, self.place, activation))
        self.weight = self.bias = None
        self.place = ""


Leaf = tuple[str, nn.Module]
"""A module and its place, for messages."""


@torch.no_grad()
def read_layers(
    leaves: Sequence[Leaf],
    shape: Sequence[int],
    is_activation: Callable[[nn.Module], bool],
    passed_over: tuple[type[nn.Module], ...] = (nn.Dropout, nn.Identity),
) -> list[AffineLayer]:
    """Layers of modules that run one after the other.

    Linear, BatchNorm1d, AvgPool2d and Flatten are affine; each activation ends a layer.

    Parameters
    ----------
    leaves
        In the order in which they run.
    shape
        Of an input: (784,), or (1, 28, 28) before an AvgPool2d.
    is_activation, passed_over
        What ends a layer; what does nothing once trained.

    Raises
    ------
    ConvertError
        One sentence that names every module that cannot be read.
    """
    reader = _Reader(tuple(shape), is_activation, passed_over)
    for place, module in leaves:
        try:
            _read_module(reader, place, module)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            # A module from a file may hold anything, or lack what its class has.
            raise ConvertError(f"Network cannot be converted: {place} is damaged") from None
    if reader.weight is not None:
        reader.close("end")
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


def read_relu(network: nn.Module, shape: Sequence[int]) -> list[AffineLayer]:
    """The layers of a ReLU network of plain `torch.nn` modules: what `read_layers` reads, and ReLU;
    Dropout and Identity are passed over.

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
    found = leaves(network, lambda module: isinstance(module, nn.Sequential))
    layers = read_layers(found, shape, lambda module: isinstance(module, nn.ReLU))
    if layers[-1].activation is not None:
        raise ConvertError(
            "Network cannot be converted: the last module must be a Linear (the readout), not a "
            "ReLU"
        )
    return layers


def leaves(
    network: nn.Module, is_container: Callable[[nn.Module], bool], prefix: str = ""
) -> list[Leaf]:
    """Modules in the order in which their containers have them, with their places."""
    if is_container(network):
        return [
            leaf
            for name, child in network._modules.items()  # a module that is used twice, twice
            if child is not None
            for leaf in leaves(child, is_container, f"{prefix}.{name}" if prefix else name)
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
    elif reader.is_activation(module):
        reader.close(place, module)
    elif isinstance(module, nn.AvgPool2d):
        if len(reader.shape) != 3:
            reader.trouble.append(f"{place} needs maps (channels, rows, columns)")
            return
        # A pooling is a matrix: its columns are what it makes of each single input.
        basis = torch.eye(size, dtype=torch.float64).reshape(size, *reader.shape)
        try:
            pooled = nn.AvgPool2d.forward(module, basis)  # not a subclass's, which may want steps
        except RuntimeError:
            reader.trouble.append(f"{place} does not fit maps of {reader.shape}")
            return
        reader.shape = tuple(pooled.shape[1:])
        reader.then(pooled.flatten(1).T, None, place)
    elif isinstance(module, nn.Flatten):
        reader.shape = (size,)
    elif not isinstance(module, reader.passed_over):
        hint = " (convolution comes with a later version)" if isinstance(module, nn.Conv2d) else ""
        reader.trouble.append(f"{place} is not supported{hint}")


def load_module(path: Path, known: Sequence[type], made_of: str) -> nn.Module:
    """A module saved with `torch.save(network, path)`. No code of the file is run: besides plain
    `torch.nn` modules it may hold those of `known`; `made_of` says so in the message.

    Raises
    ------
    ConvertError
        When it cannot be read, or holds something else.
    """
    try:
        with torch.serialization.safe_globals([*KNOWN, *known]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConvertError(f"Network {path} does not exist") from None
    except Exception:  # torch raises anything at all for a file that is not its own
        raise ConvertError(
            f"Network {path} must be a torch.nn.Sequential {made_of}, written with "
            "torch.save(network, path)"
        ) from None
    if not isinstance(network, nn.Module):
        raise ConvertError(f"Network {path} must be a module, not a {type(network).__name__}")
    return network.eval()


@torch.no_grad()
def activations(layers: Sequence[AffineLayer], pixels: Tensor, pixel_max: int) -> list[Tensor]:
    """What every layer gives, (n, neurons) each, float64; the last one's without a ReLU."""
    x, found = pixels.double() / pixel_max, []
    for layer in layers[:-1]:
        x = functional.relu(functional.linear(x, layer.weight, layer.bias))
        found.append(x)
    return [*found, functional.linear(x, layers[-1].weight, layers[-1].bias)]
