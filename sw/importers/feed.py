"""What a network from elsewhere is fed, and on what it is compared."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sw.data.dataset import SHAPES, TEST_RULES, Dataset
from sw.importers.affine import IDLE, ConvertError, kind
from sw.importers.modules import Leaf, cause
from sw.learn.compare import Comparison

__all__ = ["Feed", "ForeignComparison", "tested"]


@dataclass(frozen=True, kw_only=True)
class ForeignComparison(Comparison):
    """A `Comparison` with a network that was trained elsewhere.

    Parameters
    ----------
    fed
        What that network was given.
    tested
        Which images both were run on.
    """

    fed: str
    tested: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return super().to_dict() | {"fed": self.fed, "tested": self.tested}

    def rows(self) -> list[tuple[str, object]]:
        """As of `Comparison`, with what they rest on."""
        return [("fed", self.fed), ("test images", self.tested), *super().rows()]


@dataclass(frozen=True, kw_only=True)
class Feed:
    """How a network takes pixels: (pixels / largest pixel - mean) / std, in a shape.

    Parameters
    ----------
    shape
        Of an input: (784,), or (1, 28, 28).
    pixel_max
        Largest pixel.
    mean, std
        One value, or one per channel.
    front
        What normalises, to be put in front of the network.
    """

    shape: tuple[int, ...]
    pixel_max: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    front: nn.Module

    @classmethod
    def of(
        cls,
        data: Dataset,
        leaves: Sequence[Leaf],
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        shape: Sequence[int] | None = None,
    ) -> "Feed":
        """What modules are fed of a data set.

        Parameters
        ----------
        leaves
            Modules in the order in which they run. Where the first one that minds is a Linear, a
            BatchNorm1d or an Unflatten, images are flat; otherwise channels, rows, columns.
        mean, std
            One value, or one per channel; without any, 0 and 1.
        shape
            In place of the one that follows from the modules.

        Raises
        ------
        ConvertError
            For a mean or a standard deviation that cannot be.
        """
        inputs = data.images.shape[1]
        maps = SHAPES.get(data.name, ())
        if math.prod(maps) != inputs:
            maps = (inputs,)
        if shape is None:
            kinds = (kind(module).__name__ for _, module in leaves)
            first = next((name for name in kinds if name not in IDLE | {"ReLU"}), "")
            shape = (inputs,) if first in ("Linear", "BatchNorm1d", "Unflatten") else maps
        channels = maps[0] if len(maps) > 1 else 1
        return cls(
            shape=tuple(shape),
            pixel_max=2**data.bits - 1,
            mean=tuple(mean) or (0.0,),
            std=tuple(std) or (1.0,),
            front=_normaliser(mean, std, shape, channels),
        )

    @property
    def text(self) -> str:
        """In words."""
        scaled = f"pixels / {self.pixel_max}"
        if not self.normalised:
            return f"{scaled}, 0 to 1 (if it was trained on normalised ones: --mean, --std)"
        return f"({scaled} - {_text(self.mean)}) / {_text(self.std)}"

    @property
    def normalised(self) -> bool:
        """Whether there is anything in front of the network."""
        return (self.mean, self.std) != ((0.0,), (1.0,))

    @property
    def meta(self) -> dict[str, Any]:
        """For a network's `meta`."""
        if not self.normalised:
            return {}
        return {"normalised": {"mean": list(self.mean), "std": list(self.std)}}

    @torch.no_grad()
    def run(self, forward: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
        """What a stranger's network gives for pixels (n, inputs).

        Raises
        ------
        ConvertError
            When it raises anything, or returns something else than a tensor.
        """
        x = self.front(pixels.double().reshape(len(pixels), *self.shape) / self.pixel_max)
        try:
            out = forward(x)
        except Exception as error:  # a stranger's forward may raise anything
            raise ConvertError(
                f"Network cannot run images of shape {self.shape}: {cause(error)}"
            ) from None
        if not isinstance(out, Tensor):
            raise ConvertError(f"Network must return a tensor, not a {type(out).__name__}")
        return out


def _text(values: Sequence[float]) -> str:
    text = ", ".join(f"{value:g}" for value in values)
    return text if len(values) == 1 else f"[{text}]"


def tested(data: Dataset) -> str:
    """Which images a comparison is made on."""
    rule = TEST_RULES.get(data.name, "as published")
    return (
        f"{len(data)} of {data.title}, {rule} (a network trained on another split may have seen "
        "them)"
    )


def _normaliser(
    mean: Sequence[float], std: Sequence[float], shape: Sequence[int], channels: int
) -> nn.Module:
    """(x - mean) / std as a batch-norm, of images in their shape."""
    if not mean and not std:
        return nn.Identity()
    features = shape[0]
    values = []
    for what, given, default in (("Mean", mean, 0.0), ("Standard deviation", std, 1.0)):
        per_channel = torch.tensor(list(given) or [default], dtype=torch.float64)
        if len(per_channel) not in (1, channels):
            raise ConvertError(
                f"{what} must be one number, or one for each of {channels} channels, not "
                f"{len(per_channel)}"
            )
        if not bool(per_channel.isfinite().all()):
            raise ConvertError(f"{what} must be finite, not {list(given)}")
        values.append(per_channel.repeat_interleave(features // len(per_channel)))
    if bool((values[1] <= 0).any()):
        raise ConvertError(f"Standard deviation must be positive, not {list(std)}")
    norm = (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(features, eps=0.0, affine=False)
    norm.running_mean, norm.running_var = values[0], values[1] ** 2
    return norm.double().eval()
