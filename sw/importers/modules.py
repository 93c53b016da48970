"""Networks of torch modules, read as one affine map per layer of neurons.

What lies between two activations (ReLUs here, spiking neurons in `sw.importers.spikingjelly`) is
affine, and becomes one matrix and one bias: batch-norm and pooling need no layer of their own.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from hw.contract.edge import INPUT
from sw.importers.affine import (
    CONVOLUTIONS,
    Cause,
    ConvertError,
    affine,
    kind,
    refusal,
    shape_behind,
    what_to_do,
)
from sw.importers.layers import AffineLayer, activations
from sw.importers.maps import read_maps
from sw.importers.trace import Step, Traced, trace

__all__ = [
    "AffineLayer",
    "ConvertError",
    "Leaf",
    "activations",
    "as_read",
    "cause",
    "final_softmax",
    "followed",
    "leaves",
    "read_layers",
    "read_relu",
    "relu_leaves",
]

NORMALISATION = "normalisation"
"""Place of what stands in front of a network's modules."""

ENDLESS = "Network must not contain itself"


Leaf = tuple[str, nn.Module]
"""A module and its place, for messages."""


@dataclass
class _Reader:
    """Walks modules and gathers what is between two activations into one affine map."""

    shape: tuple[int, ...]
    is_activation: Callable[[nn.Module], bool]
    activation: str
    layers: list[AffineLayer] = field(default_factory=list)
    trouble: list[Cause] = field(default_factory=list)
    images: Tensor | None = None
    """What the map since the last activation makes, without its offset, of each single input,
    (inputs, size); None: the input itself."""
    offset: Tensor = field(default_factory=lambda: torch.zeros(0))
    place: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def read(self, place: str, module: nn.Module) -> None:
        if self.is_activation(module):
            if not self.trouble:
                self.close(place, module)
            return
        try:
            shape = shape_behind(module, self.shape)
        except ValueError as error:
            shape = self.shape
            if not self.trouble:  # sizes may not fit any more behind what is not read
                self.trouble.append(Cause(place, str(error)))
        if shape is None:
            advice = what_to_do(kind(module), self.activation)
            self.trouble.append(Cause(place, f"is not supported ({advice})"))
        elif not self.trouble:
            self.then(place, module)
            self.shape = shape

    def then(self, place: str, module: nn.Module) -> None:
        """Compose with a module."""
        step = affine(module, self.shape)
        if step is None:
            return
        self.place = self.place or place
        if self.images is None:
            self.offset = torch.zeros(self.size, dtype=torch.float64)
            if step.matrix is not None and len(self.shape) == 1:
                self.images = step.matrix.T
            else:
                self.images = torch.eye(self.size, dtype=torch.float64)
                self.images = step.linear(self.images.reshape(-1, *self.shape)).flatten(1)
        else:
            self.images = step.linear(self.images.reshape(-1, *self.shape)).flatten(1)
        offset = step.linear(self.offset.reshape(1, *self.shape))
        self.offset = (offset if step.offset is None else offset + step.offset).flatten()

    def close(self, place: str, activation: nn.Module | None = None) -> None:
        """An activation, or the end."""
        if self.images is None:
            self.trouble.append(Cause(place, "follows no Linear"))
            return
        weight = self.images.T.contiguous()
        self.layers.append(AffineLayer((weight,), self.offset, self.place, activation))
        self.images, self.place = None, ""


@torch.no_grad()
def read_layers(
    leaves: Sequence[Leaf],
    shape: Sequence[int],
    is_activation: Callable[[nn.Module], bool],
    activation: str,
) -> list[AffineLayer]:
    """Layers of modules that run one after the other.

    What `sw.importers.affine` knows is affine, or nothing once trained; each activation ends a
    layer.

    Parameters
    ----------
    leaves
        In the order in which they run, of a network as `as_read` gives it.
    shape
        Of an input: (784,), or (1, 28, 28).
    is_activation, activation
        What ends a layer, and in words.

    Raises
    ------
    ConvertError
        One sentence that names every module that cannot be read.
    """
    reader = _Reader(tuple(shape), is_activation, activation)
    for place, module in leaves:
        try:
            reader.read(place, module)
        except (AttributeError, IndexError, TypeError, ValueError, RuntimeError):
            # A module from a file may hold anything, or lack what its class has.
            raise refusal([Cause(place, "is damaged")]) from None
    if reader.images is not None and not reader.trouble:
        reader.close("end")
    if not reader.trouble and not reader.layers:
        reader.trouble.append(Cause("", "it has no Linear"))
    if not reader.trouble and len(reader.shape) > 1:
        problem = f"its output must be one value per class, not of shape {reader.shape}: put a "
        reader.trouble.append(Cause("", f"{problem}Flatten before the last Linear"))
    if reader.trouble:
        raise refusal(reader.trouble)
    for layer in reader.layers:
        layer.require_finite()
    return reader.layers


def followed(network: nn.Module) -> nn.Module:
    """The network as it is read: of Sequentials without convolutions itself; what has
    convolutions, or a forward of the user's own, as its steps.

    Raises
    ------
    ConvertError
        See `sw.importers.trace`.
    """
    if isinstance(network, Traced):
        return network
    for _, module in relu_leaves(network):
        own = kind(module) is nn.Module and type(module) is not nn.Module
        if own or kind(module).__name__ in CONVOLUTIONS:
            return trace(network)
    return network


def relu_leaves(network: nn.Module) -> list[Leaf]:
    """Modules of a network of nested Sequentials, or of its steps."""
    if isinstance(network, Traced):
        return [(step.place, step.module) for step in network.steps]
    return leaves(network, lambda module: isinstance(module, nn.Sequential))


def final_softmax(network: nn.Module) -> Leaf | None:
    """A softmax over the classes that ends a network: it leaves the order of the logits as it is,
    so it is not read."""
    place, module = (relu_leaves(network) or [("", nn.Identity())])[-1]
    if isinstance(module, (nn.Softmax, nn.LogSoftmax)) and module.dim in (None, 1, -1):
        return place, module
    return None


def read_relu(
    network: nn.Module, shape: Sequence[int], front: Sequence[nn.Module] = ()
) -> list[AffineLayer]:
    """The layers of a ReLU network of plain `torch.nn` modules: what `read_layers` reads, and ReLU;
    a final Softmax or LogSoftmax is left out.

    Parameters
    ----------
    network
        A Sequential (they may be nested), or a module that `torch.fx` can follow, with
        convolutions and residual sums; in evaluation mode or not.
    shape
        Of an input: (784,), or (1, 28, 28).
    front
        What stands in front of it (`sw.importers.feed.Feed`).

    Raises
    ------
    ConvertError
        One sentence that names every module that cannot be converted.
    """
    network = followed(as_read(network))
    if isinstance(network, Traced):
        steps = network.steps[: -1 if final_softmax(network) else None]
        return read_maps([*_in_front(front), *steps], shape)
    found = relu_leaves(network)
    if final_softmax(network) is not None:
        found.pop()
    found[:0] = [(NORMALISATION, module) for module in front]
    layers = read_layers(found, shape, lambda module: isinstance(module, nn.ReLU), "ReLU")
    if layers[-1].activation is not None:
        raise ConvertError(
            "Network cannot be converted: the last module must be a Linear (the readout), not a "
            "ReLU"
        )
    return layers


def _in_front(front: Sequence[nn.Module]) -> list[Step]:
    """Steps that make what the network takes of its input, under the same name."""
    return [Step(INPUT, (INPUT,), module) for module in front]


def leaves(network: nn.Module, is_container: Callable[[nn.Module], bool]) -> list[Leaf]:
    """Modules in the order in which their containers have them, with their places.

    Raises
    ------
    ConvertError
        For a network that contains itself.
    """

    def walk(name: str, module: nn.Module) -> Iterator[Leaf]:
        if not is_container(module):
            yield _place(name, module), module
            return
        for key, child in module._modules.items():  # a module that is used twice, twice
            if child is not None:
                yield from walk(f"{name}.{key}" if name else key, child)

    try:
        return list(walk("", network))
    except RecursionError:
        raise ConvertError(ENDLESS) from None


def _place(name: str, module: nn.Module) -> str:
    return f"{name or 'network'} ({type(module).__name__})"


# A stranger's module


def as_read(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose parameters and buffers are dense and float64.

    Raises
    ------
    ConvertError
        One sentence, for a module that cannot be copied, and for weights that are no real numbers
        or not there.
    """
    if not isinstance(network, nn.Module):
        what = "a class" if isinstance(network, type) else f"a {type(network).__name__}"
        raise ConvertError(
            f"Network must be a torch.nn.Module, not {what}: of a state_dict, make the module and "
            "load it there"
        )
    try:
        for name, module in network.named_modules():
            _require_own_weights(_place(name, module), module)
        copied = copy.deepcopy(network, _uncopied(network))
        for name, module in copied.named_modules():
            for held in (module._parameters, module._buffers):
                values = cast(dict[str, Tensor | None], held)
                for key, value in values.items():
                    if value is not None:
                        values[key] = _dense(value, f"{key} of {_place(name, module)}")
        return copied.eval()
    except ConvertError:
        raise
    except RecursionError:
        raise ConvertError(ENDLESS) from None
    except Exception as error:  # a stranger's module may hold anything
        raise ConvertError(f"Network cannot be copied: {cause(error)}") from None


def _require_own_weights(place: str, module: nn.Module) -> None:
    """Not ones that a hook computes anew at every run."""
    computed = any(isinstance(vars(module).get(key), Tensor) for key in ("weight", "bias"))
    if computed and module._forward_pre_hooks:
        raise ConvertError(
            f"Network cannot be converted: weights of {place} must be its own, not computed by a "
            "hook (torch.nn.utils.weight_norm, spectral_norm, prune: take it off with "
            "remove_weight_norm, remove_spectral_norm, prune.remove)"
        )


def _uncopied(network: nn.Module) -> dict[int, Tensor]:
    """Plain copies, by identity, of tensors that Python does not copy: sparse ones, and those that
    know how they were computed, such as potentials that were not reset after training."""
    held = [
        value
        for module in network.modules()
        for values in (vars(module), *(v for v in vars(module).values() if isinstance(v, dict)))
        for value in values.values()
        if isinstance(value, Tensor)
    ]
    return {
        id(value): value.detach().to_dense()
        for value in held
        if value.layout is not torch.strided or not value.is_leaf
    }


def _dense(value: Tensor, what: str) -> Tensor:
    if nn.parameter.is_lazy(value) or value.is_meta:
        raise ConvertError(f"Network cannot be converted: {what} has no values yet")
    if value.is_complex():
        raise ConvertError(
            f"Network cannot be converted: {what} must be real numbers, not {value.dtype}"
        )
    value = value.detach()
    return (value.dequantize() if value.is_quantized else value).double()


def cause(error: Exception) -> str:
    """What a stranger's code raises, in a line."""
    return f"{type(error).__name__}: {error}".strip(" :").splitlines()[0]
