"""A node and what it is given, and what it does to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sw.onnx.files import Array, Node

__all__ = [
    "Call",
    "Clipped",
    "Counts",
    "Does",
    "Made",
    "Operator",
    "Rounded",
    "filled",
    "held",
    "tensor",
]


class Counts(NamedTuple):
    """Integers that stand for reals, between QuantizeLinear and DequantizeLinear.

    low, high
        Smallest and largest of them.
    scale, zero
        One number, or one for each channel.
    places
        Of the nodes that made them.
    """

    low: int
    high: int
    scale: Array
    zero: Array
    places: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Made:
    """A value that is made of the input.

    Parameters
    ----------
    place
        Of the step that makes it.
    shape
        As ONNX has it, without the images; None: not known.
    counts
        Where it is integers.
    """

    place: str
    shape: tuple[int, ...] | None
    counts: Counts | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """A node, and what it is given.

    Parameters
    ----------
    node, given
        Its inputs: made of the image, constants, or not given.
    opset, batch
        As of `sw.onnx.files.Graph`.
    """

    node: Node
    given: tuple[Made | Array | None, ...]
    opset: int
    batch: int | None

    @property
    def values(self) -> list[Made]:
        """What of it is made of the image."""
        return [value for value in self.given if isinstance(value, Made)]

    def made(self, at: int = 0) -> Made:
        """An input that is made of the image."""
        value = self.given[at] if at < len(self.given) else None
        if not isinstance(value, Made):
            raise ValueError("must take what is made of the image first, and then constants")
        return value

    def shape(self) -> tuple[int, ...]:
        """Of the first input."""
        shape = self.made().shape
        assert shape is not None
        return shape

    def constant(self, at: int) -> Array | None:
        """An input that is a constant; None: it is not given."""
        value = self.given[at] if at < len(self.given) else None
        if isinstance(value, Made):
            raise ValueError("must have constant weights and settings, not ones made of the image")
        return value

    def number(self, at: int) -> Array:
        """A constant of finite numbers, in float64."""
        value = self.constant(at)
        if value is None or value.dtype.kind not in "iuf":
            raise ValueError("must have numbers for all that it needs")
        numbers = value.astype(np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError("must have finite numbers, not NaN or infinite ones")
        return numbers

    def said(self, name: str, default: Any) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)


class Does(NamedTuple):
    """What a node does to its value.

    modules
        One after the other.
    shape
        The same numbers in another shape, as ONNX has it; None: what the modules make.
    counts
        Where it makes integers.
    """

    modules: Sequence[nn.Module] = ()
    shape: tuple[int, ...] | None = None
    counts: Counts | None = None


class Operator(NamedTuple):
    """A kind of node.

    read
        What it does; raises ValueError with what is wrong, without its subject.
    attributes
        All that it may have.
    counts
        Whether it takes integers, too.
    """

    read: Callable[[Call], Does]
    attributes: tuple[str, ...] = ()
    counts: bool = False

    def require(self, call: Call) -> None:
        """Refuse what no rule here knows."""
        unknown = sorted({*call.node.attributes} - {*self.attributes})
        if unknown:
            raise ValueError(f"must not have an attribute {unknown[0]}")
        if any(call.node.outputs[1:]):
            raise ValueError("must make one value: export the network for inference")


class Rounded(nn.Module):
    """Rounds to whole multiples of a scale, within bounds.

    Parameters
    ----------
    low, high
        Smallest and largest multiple.
    scale, zero
        Flat; what stands for 0.
    rounding
        As QONNX calls it.
    """

    def __init__(self, low: int, high: int, scale: Array, zero: Array, rounding: str) -> None:
        super().__init__()
        self.low, self.high, self.rounding = low, high, rounding
        self.scale, self.zero = tensor(scale).flatten(), tensor(zero).flatten()


class Clipped(nn.Module):
    """Bounds a value on both sides."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high


def held(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape of ONNX's as steps have it: (channels, values) in maps of one row."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else tuple(shape)


def tensor(values: Array) -> Tensor:
    """In float64."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))


def filled(module: nn.Module, **values: Array) -> nn.Module:
    """A module with these parameters and buffers."""
    module = module.double().eval()
    for name, value in values.items():
        held_as = tensor(value)
        if name in module._buffers:
            module._buffers[name] = held_as
        else:
            module._parameters[name] = nn.Parameter(held_as, requires_grad=False)
    return module
