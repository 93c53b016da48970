"""Networks of maps, residual sums and recurrence, read as layers of edges.

Between two activations (ReLUs, or spiking neurons) everything is linear, but for an offset. Here a
value in between is a sum of what each earlier layer brings over a path of its own (a residual sum
has two), plus the offset; a path is what an edge of the contract can be: pooling, then a
convolution, a matrix, or neither.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from hw.contract.edge import INPUT, MAX_KERNEL, EdgeSpec, Shape, Sides, both_sides, most_stride
from sw.importers.affine import (
    CONVOLUTIONS,
    NORMS,
    POOLINGS,
    READ_OF_MAPS,
    Affine,
    Cause,
    ConvertError,
    affine,
    kind,
    refusal,
    shape_behind,
    what_to_do,
)
from sw.importers.layers import AffineLayer, maps_of
from sw.importers.trace import Before, Step, Sum, Unread
from sw.learn.graph import edge_drive

__all__ = ["read_maps"]

LARGEST_MATRIX = 1 << 24
"""Most weights of what becomes a matrix because no convolution says it."""

APART = "put a ReLU, or spiking neurons, behind each convolution, and pool behind them"


@dataclass(frozen=True, eq=False)
class Path:
    """What a value receives of one layer: sums over rectangles, then a convolution, a matrix, or
    only a factor for each channel.

    Parameters
    ----------
    source, shape
        Of what: name, and channels, rows, columns.
    kernel
        (channels,), (channels, channels of a group, rows, columns), or (values, values pooled).
    pool, stride, padding, groups, delay
        As of `hw.contract.edge.EdgeSpec`.
    """

    source: str
    shape: Shape
    kernel: Tensor
    pool: Sides = 1
    stride: Sides = 1
    padding: Sides = 0
    groups: int = 1
    delay: int = 0

    @property
    def edge(self) -> EdgeSpec:
        """The edge of the contract that does the same."""
        kernel, plain = self.kernel, EdgeSpec(source=self.source, pool=self.pool, delay=self.delay)
        if kernel.ndim == 2:
            return plain
        if kernel.ndim == 1 and bool((kernel == kernel[0]).all()):
            return replace(plain, kind="identity")
        rows, columns = (1, 1) if kernel.ndim == 1 else kernel.shape[2:]
        return replace(
            plain,
            kind="conv",
            kernel=(rows, columns),
            stride=self.stride,
            padding=self.padding,
            groups=len(kernel) if kernel.ndim == 1 else self.groups,
        )

    @property
    def weights(self) -> Tensor:
        """The weights of that edge."""
        if self.kernel.ndim > 1:
            return self.kernel
        return self.kernel[:1] if self.edge.kind == "identity" else self.kernel[:, None, None, None]

    @property
    def made(self) -> Shape:
        """Channels, rows, columns of what it makes."""
        return self.edge.made(self.shape, len(self.kernel))

    @property
    def is_pointwise(self) -> bool:
        """Whether pooling before it or behind it is the same."""
        if self.kernel.ndim != 4:
            return self.kernel.ndim == 1
        edge = self.edge
        return (edge.kernel, edge.stride, edge.padding) == (1, 1, 0)

    def scaled(self, gain: Tensor) -> "Path":
        """With a factor for each channel of what it makes."""
        return replace(self, kernel=self.kernel * gain.reshape(-1, *(1,) * (self.kernel.ndim - 1)))

    def alike(self, other: "Path") -> bool:
        """Whether both can be one, with the sum of their kernels."""

        def form(path: Path) -> tuple[object, ...]:
            sizes = (both_sides(s) for s in (path.pool, path.stride, path.padding))
            return (path.source, *sizes, path.groups, path.delay, path.kernel.shape)

        return form(self) == form(other)


@dataclass(frozen=True, eq=False)
class Value:
    """What stands between two activations: a sum over paths, and an offset.

    Parameters
    ----------
    shape, offset
        Of the value: (values,), or channels, rows, columns; what is added, in that shape.
    place
        Of the first module since the layers that send; empty: there is none.
    """

    shape: tuple[int, ...]
    paths: tuple[Path, ...]
    offset: Tensor
    place: str = ""

    @classmethod
    def of(cls, source: str, maps: Shape, shape: tuple[int, ...], delay: int = 0) -> "Value":
        """What a layer, or the input, sends; with a delay, what it sent at the step before."""
        plain = torch.ones(maps[0], dtype=torch.float64)
        none = torch.zeros(shape, dtype=torch.float64)
        return cls(shape, (Path(source, maps, plain, delay=delay),), none)

    @property
    def is_sent(self) -> bool:
        """Whether it is made of what layers send alone, which is never negative."""
        kernels = [path.kernel for path in self.paths]
        plain = all(kernel.ndim == 1 and bool((kernel >= 0).all()) for kernel in kernels)
        return plain and not bool(self.offset.any())

    def is_all_of(self, layer: str) -> bool:
        """Whether it is what a layer sends at this step, and nothing else."""
        path, *others = self.paths
        plain = path.edge == EdgeSpec(source=layer, kind="identity") and not others
        return plain and bool((path.kernel == 1).all()) and not bool(self.offset.any())

    def in_maps(self, path: Path) -> bool:
        """Whether what a path makes has the value's own channels, rows and columns."""
        return len(self.shape) <= 3 and path.made == maps_of(self.shape)

    def plus(self, other: "Value") -> "Value":
        """The sum of both."""
        if self.shape != other.shape:
            raise ValueError(f"must add values of one shape, not {self.shape} and {other.shape}")
        paths = list(self.paths)
        for path in other.paths:
            same = [n for n, mine in enumerate(paths) if mine.alike(path)]
            if same:
                paths[same[0]] = replace(path, kernel=paths[same[0]].kernel + path.kernel)
            else:
                paths.append(path)
        offset = self.offset + other.offset
        return Value(self.shape, tuple(paths), offset, self.place or other.place)

    def then(self, place: str, module: nn.Module, shape: tuple[int, ...]) -> "Value":
        """Behind a module that makes that shape of it."""
        step = affine(module, self.shape)
        if step is None:
            return replace(self, shape=shape, offset=self.offset.reshape(shape))
        offset = step.linear(self.offset[None])[0]
        if step.offset is not None:
            offset = offset + step.offset
        rule = RULES.get(kind(module).__name__, _no_rule)
        paths = tuple(
            rule(self, path, module, step) or self._matrix(path, step, shape) for path in self.paths
        )
        begins = self.place or ("" if place == INPUT else place)  # what is put in front has no name
        return Value(shape, paths, offset.reshape(shape), begins)

    def _matrix(self, path: Path, step: Affine | None, shape: tuple[int, ...]) -> Path:
        """A path, and what is done with it, as one matrix from what its source sends."""
        size = math.prod(path.shape)
        if size * max(math.prod(shape), math.prod(self.shape)) > LARGEST_MATRIX:
            raise ValueError(f"is no single convolution with what stands before it: {APART}")
        each = torch.eye(size, dtype=torch.float64).reshape(size, *path.shape)
        made = edge_drive(path.edge, path.shape, path.made)(each, path.weights)
        made = made.reshape(size, *self.shape)
        if step is not None:
            made = step.linear(made)
        matrix = made.reshape(size, -1).T.contiguous()
        return Path(path.source, path.shape, matrix, delay=path.delay)

    def closed(self, may_flatten: bool) -> "tuple[Value, Shape]":
        """In a form that is a layer's: every path makes the layer's maps, and the offset is one for
        each channel. Where no maps do, a row of neurons with matrices does, if that is wanted."""
        maps = self.paths[0].made
        fits = all(path.made == maps for path in self.paths)
        in_maps = len(self.shape) == 1 or (fits and maps == maps_of(self.shape))
        if not in_maps and not may_flatten:
            raise ValueError(f"makes maps by no single convolution: {APART}")
        if in_maps and fits and math.prod(maps) == math.prod(self.shape):
            channels = self.offset.reshape(maps[0], -1)
            spread = (channels - channels[:, :1]).abs().max()
            if float(spread) <= 1e-9 * max(1.0, float(channels.abs().max())):
                return replace(self, offset=channels[:, 0]), maps
        if len(self.shape) > 1 and not may_flatten:
            raise ValueError(
                "must get nothing but 0 where its padding adds zeros: what is added before a "
                "padded convolution (a normalisation, a BatchNorm2d) is missing at the borders: "
                "normalise behind the convolution, or not at all"
            )
        paths = tuple(self._matrix(path, None, self.shape) for path in self.paths)
        row = (math.prod(self.shape), 1, 1)
        return replace(self, paths=paths, offset=self.offset.flatten()), row


# What a path becomes behind a module; None where it is no path in the contract's form


def _no_rule(value: Value, path: Path, module: nn.Module, step: Affine) -> Path | None:
    return None


def _normed(value: Value, path: Path, module: nn.Module, step: Affine) -> Path | None:
    if not value.in_maps(path):
        return None
    ones = torch.ones(1, *value.shape, dtype=torch.float64)
    return path.scaled(step.linear(ones)[0].reshape(value.shape[0], -1)[:, 0])


def _pooled(value: Value, path: Path, module: nn.Module, step: Affine) -> Path | None:
    sides = _pooling(module, value.shape)
    if sides is None or not (path.is_pointwise and value.in_maps(path)):
        return None
    (high, wide), (rows, columns) = both_sides(path.pool), sides
    divisor = getattr(module, "divisor_override", None) or rows * columns
    pool = high * rows, wide * columns
    return replace(path, kernel=path.kernel / divisor, pool=pool)


def _convolved(value: Value, path: Path, module: nn.Module, step: Affine) -> Path | None:
    conv = cast(Any, module)
    kernel = conv.weight.detach()
    if unknown(conv) or not value.in_maps(path):
        return None
    fields = {"stride": conv.stride, "padding": _padding(conv), "groups": conv.groups}
    if kernel.ndim == 3:  # of signals, which are maps of one row
        kernel = kernel[:, :, None]
        fields |= {"stride": (1, *conv.stride), "padding": (0, *_padding(conv))}
    if path.kernel.ndim == 1:
        inner = kernel.shape[1]
        gains = path.kernel.reshape(conv.groups, 1, inner).repeat(1, len(kernel) // conv.groups, 1)
        return replace(path, kernel=kernel * gains.reshape(-1, inner, 1, 1), **fields)
    if path.is_pointwise and path.groups == conv.groups == 1:
        both = torch.einsum("omkl,mi->oikl", kernel, path.kernel[:, :, 0, 0])
        return replace(path, kernel=both, **fields)
    return None


def _multiplied(value: Value, path: Path, module: nn.Module, step: Affine) -> Path | None:
    if len(value.shape) != 1 or step.matrix is None:
        return None
    if path.kernel.ndim == 1:
        each = value.shape[0] // len(path.kernel)
        return replace(path, kernel=step.matrix * path.kernel.repeat_interleave(each))
    if path.kernel.ndim == 2:
        return replace(path, kernel=step.matrix @ path.kernel)
    return None


RULES: dict[str, Callable[[Value, Path, nn.Module, Affine], Path | None]] = {
    **dict.fromkeys(NORMS, _normed),
    **dict.fromkeys(POOLINGS, _pooled),
    **dict.fromkeys(CONVOLUTIONS, _convolved),
    "Linear": _multiplied,
}


def _pair(given: Any) -> tuple[Any, Any]:
    return tuple(given) if isinstance(given, (tuple, list)) else (given, given)  # type: ignore


def _pooling(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The sides of the rectangles, next to each other, that a module averages over; None if it does
    something else."""
    pool, name = cast(Any, module), kind(module).__name__
    if len(shape) != (2 if name.endswith("1d") else 3):
        return None  # over other axes than a signal's, or a map's
    _, rows, columns = maps_of(shape)
    if name.startswith("Adaptive"):
        made = tuple(
            side if out is None else out
            for side, out in zip((rows, columns), _in_rows(pool.output_size, name), strict=True)
        )
        sides = rows // made[0], columns // made[1]
        whole = (sides[0] * made[0], sides[1] * made[1]) == (rows, columns)
        return sides if whole else None
    kernel, stride = _in_rows(pool.kernel_size, name), _in_rows(pool.stride, name)
    plain = kernel == stride and not any(_pair(pool.padding))
    ragged = pool.ceil_mode and (rows % kernel[0] or columns % kernel[1])
    return kernel if plain and not ragged else None


def _in_rows(given: Any, name: str) -> tuple[Any, Any]:
    """Sides of a rectangle; of what takes signals, in their one row."""
    if name.endswith("1d"):
        return 1, _pair(given)[0]
    return _pair(given)


def _padding(conv: Any) -> tuple[int, ...]:
    """Rows and columns of zeros around a convolution that is known; of signals, columns."""
    sides = tuple(conv.weight.shape[2:])
    by_name = {"valid": (0,) * len(sides), "same": tuple(side // 2 for side in sides)}
    return by_name[conv.padding] if isinstance(conv.padding, str) else conv.padding


def unknown(conv: Any) -> str:
    """What a convolution must have to be one of the contract; empty: it is one."""
    kernel, padding = tuple(conv.weight.shape[2:]), conv.padding
    even = padding == "same" and not all(side % 2 for side in kernel)  # more zeros behind
    for what, value, good, must in (
        ("kernel", kernel, max(kernel) <= MAX_KERNEL, f"at most {MAX_KERNEL}x{MAX_KERNEL}"),
        (
            "stride",
            conv.stride,
            all(one <= most_stride(side) for one, side in zip(conv.stride, kernel, strict=True)),
            "at most the kernel's sides",
        ),
        ("dilation", conv.dilation, set(conv.dilation) == {1}, "1"),
        (
            "padding",
            padding if isinstance(padding, tuple) else f"{padding!r} with a kernel of {kernel}",
            not even
            and all(zeros < side for zeros, side in zip(_padding(conv), kernel, strict=True)),
            "as many zeros on both sides of an axis, and less than the kernel's side",
        ),
        ("padding mode", conv.padding_mode, conv.padding_mode == "zeros", "'zeros'"),
    ):
        if not good:
            return f"must have a {what} of {must}, not {value}"
    return ""


# Reading


def read_maps(
    steps: Sequence[Step],
    shape: Sequence[int],
    activation: str = "ReLU",
    neurons: Mapping[str, str] | None = None,
) -> list[AffineLayer]:
    """Layers of a network that has convolutions, sums or loops, or a forward of its own.

    What `sw.importers.affine` knows, Conv2d, sums and activations; each activation ends a layer,
    and the output the last one. Of spiking neurons, too, what no convolution of the contract does
    becomes a matrix; a network that ends in them has no layer behind them.

    Parameters
    ----------
    steps
        In the order in which they run (`sw.importers.trace`), of a network as
        `sw.importers.modules.as_read` gives it.
    shape
        Of an input: (784,), or (1, 28, 28).
    activation
        In words.
    neurons
        The activations are spiking neurons: by the place of each step, its layer's name. None: they
        are ReLUs, of layers hidden1, hidden2, ...

    Raises
    ------
    ConvertError
        One sentence that names every step that cannot be read.
    """
    reader = _Reader(activation, tuple(shape), neurons)
    for step in steps:
        try:
            reader.read(step)
        except (AttributeError, IndexError, KeyError, TypeError, RuntimeError):
            # A module from a file may hold anything, or lack what its class has.
            raise refusal([Cause(step.place, "is damaged")]) from None
    return reader.finished(steps[-1].place if steps else INPUT)


class _Reader:
    """Values by place, and the layers so far."""

    def __init__(
        self, activation: str, shape: tuple[int, ...], neurons: Mapping[str, str] | None
    ) -> None:
        self.activation, self.neurons = activation, neurons
        self.layers: list[AffineLayer] = []
        self.names: list[str] = []
        self.trouble: list[Cause] = []
        maps = maps_of(shape)
        self.values = {INPUT: Value.of(INPUT, maps, shape)}

    def read(self, step: Step) -> None:
        module, name = step.module, kind(step.module).__name__
        try:
            if isinstance(module, Unread):
                raise ValueError(module.problem)
            if not self._ends_layer(step) and name not in READ_OF_MAPS | {"Module"}:
                advice = what_to_do(kind(module), self.activation)
                raise ValueError(f"is not supported ({advice})")
            if not self.trouble:  # sizes may not fit any more behind what is not read
                self.values[step.place] = self._value(step, name)
        except ConvertError:
            raise
        except ValueError as error:
            self.trouble.append(Cause(step.place, str(error)))

    def _ends_layer(self, step: Step) -> bool:
        if self.neurons is None:
            return kind(step.module).__name__ == "ReLU"
        return step.place in self.neurons

    def _value(self, step: Step, name: str) -> Value:
        if isinstance(step.module, Before):
            assert self.neurons is not None
            shape = step.module.shape
            maps = maps_of(shape)
            return Value.of(self.neurons[step.inputs[0]], maps, shape, delay=1)
        value, *others = (self.values[place] for place in step.inputs)
        if isinstance(step.module, Sum):
            return value.plus(others[0])
        if self._ends_layer(step):
            if self.neurons is None:
                title = f"hidden{len(self.layers) + 1}"
                return value if value.is_sent else self._layer(value, step.module, title)
            return self._layer(value, step.module, self.neurons[step.place])
        if name in CONVOLUTIONS and self.neurons is None and (problem := unknown(step.module)):
            raise ValueError(problem)
        shape = shape_behind(step.module, value.shape, READ_OF_MAPS)
        if shape is None:
            raise ValueError(f"is not supported ({what_to_do(kind(step.module), self.activation)})")
        return value.then(step.place, step.module, shape)

    def _layer(self, value: Value, activation: nn.Module | None, title: str) -> Value:
        kernels = tuple(path.kernel for path in value.paths)
        AffineLayer(kernels, value.offset, value.place).require_finite()
        value, maps = value.closed(may_flatten=self.neurons is not None)
        layer = AffineLayer(
            tuple(path.weights for path in value.paths),
            value.offset.contiguous(),
            value.place,
            activation,
            maps,
            tuple(path.edge for path in value.paths),
            tuple(path.shape for path in value.paths),
        )
        self.layers.append(layer)
        self.names.append(title)
        return Value.of(title, maps, value.shape)

    def finished(self, place: str) -> list[AffineLayer]:
        """All layers, the readout last."""
        if not self.trouble:
            value = self.values[place]
            if len(value.shape) != 1:
                problem = f"its output must be one value per class, not of shape {value.shape}: put"
                self.trouble.append(Cause("", f"{problem} a Flatten before the last Linear"))
            elif not self.layers and not value.place:
                self.trouble.append(Cause("", "it has no Linear and no Conv2d"))
            elif self.neurons is None and not value.place:
                last = "the last module must be a Linear (the readout), not a ReLU"
                self.trouble.append(Cause("", last))
            elif not (self.neurons and self.names and value.is_all_of(self.names[-1])):
                try:
                    self._layer(value, None, "readout")
                except ConvertError:
                    raise
                except ValueError as error:
                    self.trouble.append(Cause(value.place, str(error)))
        shapes = dict(zip(self.names, (layer.map_shape for layer in self.layers), strict=True))
        for layer in self.layers:  # of what comes over a loop, the layer was not known then
            for edge, shape in zip(layer.edges, layer.sources, strict=True):
                sent = shapes.get(edge.source, shape)
                if edge.delay and math.prod(sent) != math.prod(shape):
                    problem = f"gets {math.prod(shape)} values over a loop, and neurons send "
                    self.trouble.append(Cause(layer.place, f"{problem}{math.prod(sent)}"))
                elif edge.delay and edge.kind != "dense" and sent != shape:
                    problem = "gets maps over a loop from neurons that have become a row"
                    self.trouble.append(Cause(layer.place, f"{problem}: {APART}"))
        if self.trouble:
            raise refusal(self.trouble)
        return _as_chain(self.layers, self.names)


def _as_chain(layers: list[AffineLayer], names: list[str]) -> list[AffineLayer]:
    """Without edges, where each layer is dense and receives from the one before alone: the
    pipelined core's form."""
    for layer, source in zip(layers, [INPUT, *names], strict=False):
        if layer.edges != (EdgeSpec(source=source),):
            return layers
    return [replace(layer, edges=(), shape=None, sources=()) for layer in layers]
