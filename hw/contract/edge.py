"""The numeric contract of an edge: what a layer receives from one source, and what that makes."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from hw.contract.checks import require, require_int

__all__ = [
    "CONSTANT_BITS",
    "INPUT",
    "MAX_KERNEL",
    "MAX_SHIFT",
    "Axis",
    "EdgeSpec",
    "Shape",
    "Sides",
    "both_sides",
    "most_stride",
    "sides_text",
]

INPUT = "input"
"""The source of an edge that brings the pixels."""

KINDS = ("dense", "conv", "identity")
MAX_KERNEL = 11
"""Longest side of a convolution's kernel."""
MAX_POOL = 256
MAX_SHIFT = 7
CONSTANT_BITS = 16
"""Width of the constant of an identity edge."""

Shape = tuple[int, int, int]
"""Channels, rows, columns."""


Sides = int | tuple[int, int]
"""Of rows and of columns, or one number for both."""


def both_sides(sides: Sides) -> tuple[int, int]:
    """Of rows and of columns."""
    return (sides, sides) if isinstance(sides, int) else sides


def most_stride(kernel: int) -> int:
    """Largest stride of a kernel's side: none leaves out what lies between two kernels, but that of
    a residual network's 1x1 shortcut."""
    return max(2, kernel)


def sides_text(sides: int | tuple[int, ...]) -> str:
    """As in `3x32x32`, or `3`."""
    return str(sides) if isinstance(sides, int) else "x".join(map(str, sides))


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An edge along the rows or the columns of its maps: fields as `EdgeSpec`'s, of this axis."""

    pool: int
    kernel: int
    stride: int
    padding: int

    def pooled(self, side: int) -> int:
        """Of so many coordinates, those that there are behind pooling."""
        return side // self.pool

    def made(self, side: int) -> int:
        """Coordinates that a convolution makes of so many."""
        return (self.pooled(side) + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True, kw_only=True)
class EdgeSpec:
    """What a layer receives from one sender.

    `pool`, `kernel`, `stride` and `padding` are a number for both axes, or two: (of rows, of
    columns). Two equal numbers are kept as the one.

    Parameters
    ----------
    source
        Name of the sending layer, or `input`.
    kind
        `dense`: a weight for every pair. `conv`: a kernel, as torch's Conv2d without bias
        (a cross-correlation). `identity`: every value, times one signed constant, to the neuron at
        its own place (a residual network's shortcut).
    pool
        Sides of the rectangles, next to each other, whose sums come first; rows and columns that
        are left over are dropped. (An average's divisor belongs into the weights.)
    kernel, stride
        Sides of a convolution's kernel, 1 to 11; its stride, up to the kernel's side, or 2.
    padding
        Rows and columns of zeros around the maps of a convolution, at most kernel - 1.
    groups
        Groups of a convolution's channels that do not see each other.
    delay
        0: spikes of this time step. 1: of the step before (recurrent and feedback edges).
    shift
        What arrives counts times 2^shift, 0 to 7.
    """

    source: str
    kind: str = "dense"
    pool: Sides = 1
    kernel: Sides = 1
    stride: Sides = 1
    padding: Sides = 0
    groups: int = 1
    delay: int = 0
    shift: int = 0

    def __post_init__(self) -> None:
        where = f"edge from {self.source}"
        require(
            isinstance(self.source, str) and self.source.isidentifier(),
            f"Source of an edge must be an identifier, not {self.source!r}",
        )
        require(self.kind in KINDS, f"Kind of {where} must be one of {KINDS}, not {self.kind!r}")
        self._check_sides("pool", f"Pooling of {where}", 1, (MAX_POOL, MAX_POOL))
        require_int(f"Delay of {where}", self.delay, 0, 1)
        require_int(f"Shift of {where}", self.shift, 0, MAX_SHIFT)
        require(self.source != INPUT or self.delay == 0, "Edge from input must have no delay")
        if self.kind == "conv":
            self._check_sides("kernel", f"Kernel of {where}", 1, (MAX_KERNEL, MAX_KERNEL))
            high, wide = both_sides(self.kernel)
            most = most_stride(high), most_stride(wide)
            self._check_sides("stride", f"Stride of {where}", 1, most)
            self._check_sides("padding", f"Padding of {where}", 0, (high - 1, wide - 1))
            require_int(f"Groups of {where}", self.groups, 1, 65536)
        else:
            require(
                (self.kernel, self.stride, self.padding, self.groups) == (1, 1, 0, 1),
                f"Kernel, stride, padding and groups are of a convolution: {where} is "
                f"{self.kind!r}",
            )

    def _check_sides(self, name: str, what: str, low: int, most: tuple[int, int]) -> None:
        """Refuse a field that is not a number, or two, within bounds; keep it in its one form."""
        value = getattr(self, name)
        if isinstance(value, (tuple, list)):  # JSON and TOML have lists
            require(
                len(value) == 2, f"{what} must be a number or two (rows, columns), not {value!r}"
            )
            for axis, side, high in zip(("rows", "columns"), value, most, strict=True):
                require_int(f"{what}, of {axis},", side, low, high)
            rows, columns = value
            object.__setattr__(self, name, rows if rows == columns else (rows, columns))
        else:
            require_int(what, value, low, min(most))

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """What it does along rows, and along columns."""
        sides = [both_sides(s) for s in (self.pool, self.kernel, self.stride, self.padding)]
        rows, columns = (
            Axis(pool=pool, kernel=kernel, stride=stride, padding=padding)
            for pool, kernel, stride, padding in zip(*sides, strict=True)
        )
        return rows, columns

    @property
    def pool_size(self) -> int:
        """Values that pooling adds up to one."""
        rows, columns = both_sides(self.pool)
        return rows * columns

    def pooled(self, source: Shape) -> Shape:
        """Shape of what arrives after pooling."""
        rows, columns = self.axes
        return source[0], rows.pooled(source[1]), columns.pooled(source[2])

    def made(self, source: Shape, channels: int) -> Shape:
        """Shape of the layer that the edge makes of maps of shape `source`. `channels` is how many
        the layer has; behind an identity it has those of the source, behind dense weights they are
        a row of neurons."""
        kept, rows, columns = self.pooled(source)
        if self.kind == "dense":
            return channels, 1, 1
        if self.kind == "identity":
            return kept, rows, columns
        down, across = self.axes
        return channels, down.made(source[1]), across.made(source[2])

    def weight_shape(self, source: Shape, target: Shape, layer: str) -> tuple[int, ...]:
        """Shape of the weights: (neurons, inputs), (channels, channels of a group, kernel's rows,
        its columns) or (1,).

        Raises
        ------
        SpecError
            When maps of shape `source` cannot become maps of shape `target`.
        """
        channels, rows, columns = self.pooled(source)
        made = self.made(source, target[0])
        where = f"Layer {layer}, edge from {self.source}:"
        require(
            rows > 0 and columns > 0,
            f"{where} maps of {sides_text(source)} are smaller than pooling by "
            f"{sides_text(self.pool)}",
        )
        if self.kind == "dense":
            return target[0] * target[1] * target[2], channels * rows * columns
        if self.kind == "identity":
            require(
                target == made,
                f"{where} an identity makes maps of {sides_text(made)}, not {sides_text(target)}",
            )
            return (1,)
        require(
            channels % self.groups == 0 and target[0] % self.groups == 0,
            f"{where} {self.groups} groups must divide {channels} and {target[0]} channels",
        )
        require(
            made[1] > 0 and made[2] > 0,
            f"{where} a kernel of {sides_text(self.kernel)} does not fit maps of {rows}x{columns} "
            f"with {sides_text(self.padding)} zeros around them",
        )
        require(
            made == target,
            f"{where} this convolution makes maps of {sides_text(made[1:])}, not "
            f"{sides_text(target[1:])}",
        )
        return target[0], channels // self.groups, *both_sides(self.kernel)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, without fields at their defaults."""
        plain = EdgeSpec(source=self.source)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name == "source" or value != getattr(plain, name)
        }
