"""What a network from elsewhere is fed, and on what it is compared."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hw.contract.edge import sides_text
from hw.contract.encoding import Encoding
from sw.data.split import Split
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
        Modules to be put in front of the network: what normalises, and what makes raw values of
        pixels.
    raw
        In words, what the pixels stand for, where they are made of a user's own values.
    """

    shape: tuple[int, ...]
    pixel_max: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    front: tuple[nn.Module, ...]
    raw: str = ""

    @classmethod
    def of(
        cls,
        data: Split,
        leaves: Sequence[Leaf],
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        shape: Sequence[int] | None = None,
    ) -> "Feed":
        """What modules are fed of a data set: pixels / largest pixel; of a user's own data, the
        raw values that the pixels stand for, bytes / 255, channels first.

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
        if data.timed:
            raise ConvertError(
                f"Data set {data.name} must hold pictures or features: on recordings a network is "
                "trained by a recipe"
            )
        inputs = data.images.shape[1]
        maps: tuple[int, ...] = data.shape if math.prod(data.shape) == inputs else (inputs,)
        if data.encoding is not None:
            maps = (maps[0] // (1 + data.encoding.signed), *maps[1:])
            inputs = math.prod(maps)
            maps = (inputs,) if data.encoding.is_flat else maps
        if shape is not None and math.prod(shape) != inputs:
            raise ConvertError(
                f"Network must take {inputs} values, as an example of {data.name} has, not "
                f"{math.prod(shape)} ({sides_text(tuple(shape))})"
            )
        if shape is None:
            kinds = (kind(module).__name__ for _, module in leaves)
            first = next((name for name in kinds if name not in IDLE | {"ReLU"}), "")
            shape = (inputs,) if first in ("Linear", "BatchNorm1d", "Unflatten") else maps
        flat = len(maps) == 1 and data.encoding is None
        channels = 1 if flat else maps[0]
        front, fed = [_normaliser(mean, std, shape, channels)], tuple(shape)
        if data.encoding is not None:
            convolves = any(kind(module).__name__ == "Conv2d" for _, module in leaves)
            front = [*_decoder(data.encoding, shape, data.white, convolves), *front]
            if data.encoding.signed:
                fed = data.encoding.map_shape if convolves else (data.images.shape[1],)
        return cls(
            shape=fed,
            pixel_max=2**data.bits - 1,
            mean=tuple(mean) or (0.0,),
            std=tuple(std) or (1.0,),
            front=tuple(front),
            raw=_raw(data),
        )

    @property
    def text(self) -> str:
        """In words."""
        scaled = self.raw or f"pixels / {self.pixel_max}"
        if self.raw and not self.normalised:
            return self.raw
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
        x = pixels.double().reshape(len(pixels), *self.shape) / self.pixel_max
        for module in self.front:
            x = module(x)
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


def tested(data: Split) -> str:
    """Which images a comparison is made on."""
    return (
        f"{len(data)} of {data.title}, {data.rule} (a network trained on another split may have "
        "seen them)"
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
    return _scaled(shape, values[0], values[1])


def _scaled(shape: Sequence[int], mean: Tensor, std: Tensor) -> nn.Module:
    """(x - mean) / std as a batch-norm, of images in their shape."""
    features = shape[0]
    norm = (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(features, eps=0.0, affine=False)
    norm.running_mean, norm.running_var = mean, std**2
    return norm.double().eval()


def _decoder(
    encoding: Encoding, shape: Sequence[int], white: float, convolves: bool
) -> list[nn.Module]:
    """What makes the raw values in their shape, divided by `white`, of pixels / largest pixel."""
    front: list[nn.Module] = []
    # Both channels of a value, side by side, are one with a sign.
    if encoding.signed and convolves:
        one = torch.eye(shape[0], dtype=torch.float64)[:, :, None, None]
        pairs = nn.Conv2d(2 * shape[0], shape[0], 1, bias=False).double()
        pairs.weight.data = torch.cat([one, -one], dim=1)
        front.append(pairs)
    elif encoding.signed:
        size = encoding.size // 2
        one = torch.eye(size, dtype=torch.float64)
        joined = nn.Linear(2 * size, size, bias=False).double()
        joined.weight.data = torch.cat([one, -one], dim=1)
        front.append(joined)
        if len(shape) > 1:
            front.append(nn.Unflatten(1, tuple(shape)))
    low, high = (torch.tensor(bound, dtype=torch.float64) for bound in encoding.bounds)
    each = math.prod(shape) // len(low) if len(shape) == 1 else 1
    low, width = low.repeat_interleave(each), (high - low).repeat_interleave(each)
    front.append(_scaled(shape, -low / width, white / width))
    return front


def _raw(data: Split) -> str:
    """In words."""
    if data.encoding is None:
        return ""
    scale = "" if data.white == 1 else f" / {data.white:g}"
    first = ", channels first" if "c" in data.encoding.axes else ""
    cut = f", {100 * data.clipped:.2g} % of the values clipped" if data.clipped else ""
    return f"x{scale} of {data.name}{first}, as pixels of {data.bits} bits have it{cut}"
