"""What a module of torch is between two activations: nothing, an affine map, or not read.

A library's class is known by its name: a SpikingJelly `Linear` is torch's, and whatever else is
derived from torch's `Linear` under another name is something else. A class of the user's own counts
as the library's class that it is derived from; that its forward is no other is found out by running
it (`sw.importers.modules`).
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.lazy import LazyModuleMixin

from hw.contract.checks import SternaError

__all__ = [
    "CONVOLUTIONS",
    "IDLE",
    "Affine",
    "Cause",
    "ConvertError",
    "affine",
    "kind",
    "refusal",
    "shape_behind",
    "what_to_do",
]

LIBRARIES = ("torch.nn.modules.", "torch.nn.parallel.", "spikingjelly.")

RESHAPES = {"Flatten", "Unflatten"}
IDLE = {
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
    "Identity",
}
"""What does nothing once trained."""

POOLINGS = {"AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AvgPool1d", "AvgPool2d"}
NORMS = {"BatchNorm1d", "BatchNorm2d"}
READ = RESHAPES | IDLE | POOLINGS | NORMS | {"Linear"}
"""What one matrix can be made of."""
CONVOLUTIONS = {"Conv1d": 2, "Conv2d": 3}
"""Axes of what they take: signals (channels, samples), maps."""
READ_OF_MAPS = READ | {*CONVOLUTIONS}

USE = "use Linear, BatchNorm1d, BatchNorm2d, AvgPool2d and Flatten"
NORMALISE = "normalise with BatchNorm1d or BatchNorm2d"
LEAVE_OUT = "a loss is for training only: leave it out"
UNWRAP = "save its .module"
LAST = "a ReLU network may end in one, with dim=1"
LAZY = "run it once before it is saved, which gives it weights"

ADVICE = {
    "LogSoftmax": LAST,
    "Module": "build the network of modules of torch.nn",
    "MultiheadAttention": USE,
    "ParameterDict": USE,
    "ParameterList": USE,
    "Softmax": LAST,
    "activation": "train with {activation}",
    "adaptive": LEAVE_OUT,
    "batchnorm": NORMALISE,
    "container": "put its modules into a Sequential",
    "conv": "convolutions are read of Conv1d and Conv2d",
    "data_parallel": UNWRAP,
    "distributed": UNWRAP,
    "instancenorm": NORMALISE,
    "loss": LEAVE_OUT,
    "normalization": NORMALISE,
    "pooling": "pool with AvgPool2d",
}
"""What to do about a module that is not read, by its kind, or by the file of torch that has the
kind."""


class Cause(NamedTuple):
    """What is wrong, at which module or node; without a place: with the network as a whole."""

    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place} {self.problem}".lstrip()


class ConvertError(SternaError, ValueError):
    """A network, or calibration data, that cannot be converted.

    Attributes
    ----------
    causes
        All that the sentence names, one by one, where it is about modules or nodes.
    """

    causes: tuple[Cause, ...] = ()

    @property
    def named(self) -> tuple[Cause, ...]:
        """The causes; without any, the sentence as the one of the network as a whole."""
        return self.causes or (Cause("", str(self)),)


def refusal(causes: Iterable[Cause]) -> ConvertError:
    """One sentence that names all causes."""
    named = tuple(causes)
    error = ConvertError(f"Network cannot be converted: {'; '.join(map(str, named))}")
    error.causes = named
    return error


@dataclass(frozen=True, eq=False)
class Affine:
    """x -> linear(x) + offset, of batches (n, ...).

    Parameters
    ----------
    linear
        Runs its linear part.
    offset
        Of the form of an output, or one that spreads to it.
    matrix
        (outputs, inputs), where `linear` multiplies by one.
    """

    linear: Callable[[Tensor], Tensor]
    offset: Tensor | None = None
    matrix: Tensor | None = None


def kind(module: nn.Module) -> type[nn.Module]:
    """The library's class that a module is, or is derived from."""
    classes = type(module).__mro__
    return next((c for c in classes if c.__module__.startswith(LIBRARIES)), nn.Module)


def what_to_do(kind: type[nn.Module], activation: str) -> str:
    """About a kind of module that is not read; `activation` says what may stand between layers."""
    if issubclass(kind, LazyModuleMixin):
        return LAZY
    files = [c.__module__.rpartition(".")[2] for c in kind.__mro__]
    found = [ADVICE[name] for name in (kind.__name__, *files) if name in ADVICE]
    return (found or [USE])[0].format(activation=activation)


def shape_behind(
    module: nn.Module, shape: Sequence[int], read: Collection[str] = READ
) -> tuple[int, ...] | None:
    """The shape of what a module that is read gives for a value of some shape; None for a module
    that is not read.

    Parameters
    ----------
    read
        Names of the kinds that are.

    Raises
    ------
    ValueError
        With what is wrong, where it does not take that shape.
    """
    name = kind(module).__name__
    if name not in read:
        return None
    if name in IDLE:
        return tuple(shape)
    got = str(shape[0]) if len(shape) == 1 else f"maps of {tuple(shape)}"
    if name == "Linear":
        takes = cast(nn.Linear, module).weight.shape[1]
        if takes != shape[-1]:
            missing = ": put a Flatten before it" if takes == math.prod(shape) else ""
            raise ValueError(f"takes {takes} values, and gets {got}{missing}")
    if name in CONVOLUTIONS and len(shape) != CONVOLUTIONS[name]:
        # torch would take the images for channels.
        takes = "signals (channels, samples)" if name == "Conv1d" else "maps"
        raise ValueError(f"takes {takes}, and gets {got if len(shape) > 1 else got + ' values'}")
    if name in NORMS and cast(nn.BatchNorm1d, module).running_mean is None:
        raise ValueError("must keep running statistics")
    trial = torch.zeros(2, *shape, dtype=torch.float64)
    try:
        # As torch's own class runs, not a derived one, which may want steps.
        out = cast(Any, getattr(nn, name)).forward(module, trial)
    except (IndexError, RuntimeError, ValueError):
        raise ValueError(f"does not fit {got if len(shape) > 1 else got + ' values'}") from None
    if out.ndim < 2 or len(out) != len(trial):
        raise ValueError("must leave the first axis as it is, which counts images")
    return tuple(out.shape[1:])


def affine(module: nn.Module, shape: Sequence[int]) -> Affine | None:
    """The map that a module is that `shape_behind` takes; None where it leaves all values as they
    are."""
    name, settings = kind(module).__name__, cast(Any, module)
    if name == "Linear":
        weight = settings.weight.detach()
        return Affine(
            lambda x: functional.linear(x, weight),
            None if settings.bias is None else settings.bias.detach(),
            weight,
        )
    if name in NORMS:
        column = (-1, *(1,) * (len(shape) - 1))
        gain = 1 / torch.sqrt(settings.running_var + settings.eps)
        offset = -gain * settings.running_mean
        if settings.weight is not None:
            gain, offset = gain * settings.weight, offset * settings.weight
        if settings.bias is not None:
            offset = offset + settings.bias
        gain = gain.detach().reshape(column)
        return Affine(lambda x: x * gain, offset.detach().reshape(column))
    if name in CONVOLUTIONS:
        weight, bias = settings.weight.detach(), settings.bias
        return Affine(
            lambda x: settings._conv_forward(x, weight, None),
            None if bias is None else bias.detach().reshape(-1, *(1,) * (weight.ndim - 2)),
        )
    if name in POOLINGS:
        return Affine(lambda x: cast(Tensor, getattr(nn, name).forward(module, x)))
    return None
