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

SIGNALS = ("Conv1d", "AvgPool1d", "AdaptiveAvgPool1d")
"""Modules that take (channels, samples)."""


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
    """How a network takes pixels: (pixels / largest pixel - mean) / std, in a shape; of recordings,
    image t at time step t.

    Parameters
    ----------
    shape
        Of an input, of recordings of an image: (784,), (1, 28, 28), or a signal, (1, 784).
    pixel_max
        Largest pixel.
    mean, std
        One value, or one per channel.
    front
        Modules to be put in front of the network: what normalises, and what makes raw values of
        pixels.
    raw
        In words, what the pixels stand for, where they are made of a user's own values.
    steps
        Of recordings, their images; 0: pictures.
    """

    shape: tuple[int, ...]
    pixel_max: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    front: tuple[nn.Module, ...]
    raw: str = ""
    steps: int = 0

    @classmethod
    def of(
        cls,
        data: Split,
        leaves: Sequence[Leaf],
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        shape: Sequence[int] | None = None,
        steps: int | None = None,
    ) -> "Feed":
        """What modules are fed of a data set: pixels / largest pixel; of a user's own data, the
        raw values that the pixels stand for, bytes / 255, channels first.

        Parameters
        ----------
        leaves
            Modules in the order in which they run. Where the first one that minds is a Linear, a
            BatchNorm1d or an Unflatten, images are flat, where it is a Conv1d, signals of its
            channels; otherwise channels, rows, columns.
        mean, std
            One value, or one per channel; without any, 0 and 1.
        shape
            In place of the one that follows from the modules.
        steps
            T of a network that takes recordings, too; None: it takes none.

        Raises
        ------
        ConvertError
            For a mean or a standard deviation that cannot be, and for recordings that the network
            does not take.
        """
        size = _image_size(data, steps)
        inputs, timed = size, data.timed
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
        last = (*maps[1:], maps[0]) if len(maps) == 3 and maps[0] > 1 else maps
        if shape is not None and tuple(shape) == last != maps:
            raise ConvertError(
                f"Network must take channels first, {sides_text(maps)}, as {data.name} is fed, not "
                f"{sides_text(last)}"
            )
        shape = _shape_for(leaves, maps, inputs) if shape is None else shape
        flat = len(maps) == 1 and data.encoding is None
        channels = 1 if flat else shape[0] if len(shape) == 2 else maps[0]
        front, fed = [_normaliser(mean, std, shape, channels)], tuple(shape)
        if data.encoding is not None:
            convolves = any(kind(module).__name__ == "Conv2d" for _, module in leaves)
            convolves = convolves and len(shape) == 3
            decoder, fed = _decoder(data.encoding, shape, data.white, convolves)
            front = [*decoder, *front]
        return cls(
            shape=fed,
            pixel_max=2**data.bits - 1,
            mean=tuple(mean) or (0.0,),
            std=tuple(std) or (1.0,),
            front=tuple(front),
            raw=_raw(data),
            steps=(steps or 1) * timed,
        )

    @property
    def text(self) -> str:
        """In words."""
        scaled = self.raw or f"pixels / {self.pixel_max}"
        sides = "x".join(map(str, self.shape))
        each = f", as signals of {sides} (channels, samples)" if len(self.shape) == 2 else ""
        each += f", image t of {self.steps} at time step t" if self.steps else ""
        if self.raw and not self.normalised:
            return self.raw + each
        if not self.normalised:
            return f"{scaled}, 0 to 1{each} (if it was trained on normalised ones: --mean, --std)"
        return f"({scaled} - {_text(self.mean)}) / {_text(self.std)}{each}"

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
        """What a stranger's network gives for pixels (n, inputs), of recordings (n, T x inputs):
        `forward` is given (n, *shape), of recordings (T, n, *shape).

        Raises
        ------
        ConvertError
            When it raises anything, or returns something else than a tensor.
        """
        x = pixels.double().reshape(-1, *self.shape) / self.pixel_max
        for module in self.front:
            x = module(x)
        if self.steps:
            x = x.unflatten(0, (len(pixels), self.steps)).transpose(0, 1).contiguous()
        try:
            out = forward(x)
        except Exception as error:  # a stranger's forward may raise anything
            raise ConvertError(
                f"Network cannot run {'recordings' if self.steps else 'images'} of shape "
                f"{tuple(x.shape[1 + bool(self.steps) :])}: {cause(error)}"
            ) from None
        if not isinstance(out, Tensor):
            raise ConvertError(f"Network must return a tensor, not a {type(out).__name__}")
        return out


def _image_size(data: Split, steps: int | None) -> int:
    """Values of an image."""
    if not data.timed:
        return data.images.shape[1]
    if steps is None:
        raise ConvertError(
            f"Data set {data.name} must hold pictures or features: on recordings a network is "
            "trained by a recipe"
        )
    size = math.prod(data.shape)
    if data.images.shape[1] != steps * size:
        raise ConvertError(
            f"Recordings of {data.name} must have an image for each of {steps} time steps, not "
            f"{data.images.shape[1] // size} images: give --steps {data.images.shape[1] // size}"
        )
    return size


def _shape_for(leaves: Sequence[Leaf], maps: tuple[int, ...], inputs: int) -> tuple[int, ...]:
    """Of an input, by the first module that minds."""
    named = ((kind(module).__name__, module) for _, module in leaves)
    first, module = next(
        ((n, m) for n, m in named if n not in IDLE | {"ReLU"}), ("", nn.Identity())
    )
    if first in ("Linear", "BatchNorm1d", "Unflatten"):
        return (inputs,)
    if first not in SIGNALS:
        return maps
    convs = (m for _, m in leaves if kind(m).__name__ == "Conv1d")
    channels = getattr(module if first == "Conv1d" else next(convs, None), "in_channels", 1)
    if not isinstance(channels, int) or channels < 1 or inputs % channels:
        raise ConvertError(
            f"Network must take {inputs} values, as an example has, as signals (--shape C,L): "
            f"{channels} channels do not divide them"
        )
    return (channels, inputs // channels)


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
    norm = (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(features, eps=0.0, affine=False)
    norm.running_mean, norm.running_var = mean, std**2
    return norm.double().eval()


def _decoder(
    encoding: Encoding, shape: Sequence[int], white: float, convolves: bool
) -> tuple[list[nn.Module], tuple[int, ...]]:
    """What makes the raw values in their shape, divided by `white`, of pixels / largest pixel; and
    the shape of these pixels."""
    front, whole = list[nn.Module](), tuple(shape)
    fed = whole
    if encoding.signed:
        fed = encoding.map_shape if convolves else (encoding.size,)
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
    if len(shape) == 2 and bool((low == low[0]).all() and (high == high[0]).all()):
        low, high = low[:1].repeat(shape[0]), high[:1].repeat(shape[0])  # whatever is a channel
    elif len(shape) == 2:  # a range of its own for each value
        shape, fed = (math.prod(shape),), (encoding.size,)
        front = front[:1] if encoding.signed else []
        low, high = (b.repeat_interleave(shape[0] // len(b)) for b in (low, high))
        front.append(_scaled(shape, -low / (high - low), white / (high - low)))
        return [*front, nn.Unflatten(1, whole)], fed
    each = math.prod(shape) // len(low) if len(shape) == 1 else 1
    low, width = low.repeat_interleave(each), (high - low).repeat_interleave(each)
    front.append(_scaled(shape, -low / width, white / width))
    return front, fed


def _raw(data: Split) -> str:
    """In words."""
    if data.encoding is None:
        return ""
    if data.counted:
        return data.counted
    scale = "" if data.white == 1 else f" / {data.white:g}"
    first = ", channels first" if "c" in data.encoding.axes else ""
    cut = f", {100 * data.clipped:.2g} % of the values clipped" if data.clipped else ""
    return f"x{scale} of {data.name}{first}, as pixels of {data.bits} bits have it{cut}"
