"""The numeric contract of an edge: what a layer receives from one source, and what that makes."""

from dataclasses import asdict, dataclass
from typing import Any

from hw.contract.checks import require, require_int

__all__ = ["CONSTANT_BITS", "INPUT", "EdgeSpec", "Shape", "sides_text"]

INPUT = "input"
"""The source of an edge that brings the pixels."""

KINDS = ("dense", "conv", "identity")
KERNELS = (1, 3, 5, 7)
STRIDES = (1, 2)
MAX_SHIFT = 7
CONSTANT_BITS = 16
"""Width of the constant of an identity edge."""

Shape = tuple[int, int, int]
"""Channels, rows, columns."""


def sides_text(shape: tuple[int, ...]) -> str:
    """As in `3x32x32`."""
    return "x".join(map(str, shape))


@dataclass(frozen=True, kw_only=True)
class EdgeSpec:
    """What a layer receives from one sender.

    Parameters
    ----------
    source
        Name of the sending layer, or `input`.
    kind
        `dense`: a weight for every pair. `conv`: a square kernel, as torch's Conv2d without bias
        (a cross-correlation). `identity`: every value, times one signed constant, to the neuron at
        its own place (a residual network's shortcut).
    pool
        Side of the squares, next to each other, whose sums come first; rows and columns that are
        left over are dropped. (An average's divisor belongs into the weights.)
    kernel, stride
        Side of a convolution's kernel, 1, 3, 5 or 7; its stride, 1 or 2.
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
    pool: int = 1
    kernel: int = 1
    stride: int = 1
    padding: int = 0
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
        require_int(f"Pooling of {where}", self.pool, 1, 256)
        require_int(f"Delay of {where}", self.delay, 0, 1)
        require_int(f"Shift of {where}", self.shift, 0, MAX_SHIFT)
        require(self.source != INPUT or self.delay == 0, "Edge from input must have no delay")
        if self.kind == "conv":
            for what, value, choices in (
                ("Kernel", self.kernel, KERNELS),
                ("Stride", self.stride, STRIDES),
            ):
                require(
                    type(value) is int and value in choices,
                    f"{what} of {where} must be one of {choices}, not {value!r}",
                )
            require_int(f"Padding of {where}", self.padding, 0, self.kernel - 1)
            require_int(f"Groups of {where}", self.groups, 1, 65536)
        else:
            require(
                (self.kernel, self.stride, self.padding, self.groups) == (1, 1, 0, 1),
                f"Kernel, stride, padding and groups are of a convolution: {where} is "
                f"{self.kind!r}",
            )

    def pooled(self, source: Shape) -> Shape:
        """Shape of what arrives after pooling."""
        return source[0], source[1] // self.pool, source[2] // self.pool

    def made(self, source: Shape, channels: int) -> Shape:
        """Shape of the layer that the edge makes of maps of shape `source`. `channels` is how many
        the layer has; behind an identity it has those of the source, behind dense weights they are
        a row of neurons."""
        kept, rows, columns = self.pooled(source)
        if self.kind == "dense":
            return channels, 1, 1
        if self.kind == "identity":
            return kept, rows, columns
        high, wide = (
            (side + 2 * self.padding - self.kernel) // self.stride + 1 for side in (rows, columns)
        )
        return channels, high, wide

    def weight_shape(self, source: Shape, target: Shape, layer: str) -> tuple[int, ...]:
        """Shape of the weights: (neurons, inputs), (channels, channels of a group, kernel, kernel)
        or (1,).

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
            f"{where} maps of {sides_text(source)} are smaller than pooling by {self.pool}",
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
            min(rows, columns) + 2 * self.padding >= self.kernel,
            f"{where} a kernel of {self.kernel} does not fit maps of {rows}x{columns} with "
            f"{self.padding} zeros around them",
        )
        require(
            made == target,
            f"{where} this convolution makes maps of {sides_text(made[1:])}, not "
            f"{sides_text(target[1:])}",
        )
        return target[0], channels // self.groups, self.kernel, self.kernel

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, without fields at their defaults."""
        plain = EdgeSpec(source=self.source)
        return {
            name: value
            for name, value in asdict(self).items()
            if name == "source" or value != getattr(plain, name)
        }
