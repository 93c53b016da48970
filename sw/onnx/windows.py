"""Nodes that pass windows over maps: convolutions and averages."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from sw.onnx.calls import Call, Does, Made, filled, held
from sw.onnx.constants import axes_of

__all__ = ["average_pool", "conv", "global_average", "spatial_mean"]

LARGEST_SIDE = 1 << 12
"""Of kernels, strides and padding."""


class Window(NamedTuple):
    """Of rows and columns: sides, steps, zeros, and how far apart."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def _pair(sides: Sequence[int], fill: int) -> tuple[int, int]:
    rows, columns = (fill, *sides)[-2:]
    return rows, columns


def _window(call: Call, kernel: Sequence[int]) -> Window:
    sides = call.shape()[1:]
    if not sides or len(kernel) != len(sides):
        raise ValueError(f"must take {len(kernel)} axes besides the channels, not {len(sides)}")
    strides, dilations = (
        [int(n) for n in call.said(name, [1] * len(kernel))] for name in ("strides", "dilations")
    )
    pads = _pads(call, kernel, strides, dilations)
    begin, end = pads[: len(kernel)], pads[len(kernel) :]
    numbers = [*kernel, *strides, *dilations, *pads]
    whole = len(strides) == len(dilations) == len(begin) == len(end) == len(kernel)
    if not whole or not all(0 <= n <= LARGEST_SIDE for n in numbers):
        raise ValueError("must have a kernel, strides and pads that fit its axes")
    if 0 in (*kernel, *strides, *dilations):
        raise ValueError("must have a kernel, strides and dilations of at least 1")
    if begin != end:
        raise ValueError(f"must have as many zeros on both sides of an axis, not {begin} and {end}")
    return Window(_pair(kernel, 1), _pair(strides, 1), _pair(begin, 0), _pair(dilations, 1))


def _pads(
    call: Call, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Zeros before each axis, then behind each, as `auto_pad` has it, too."""
    auto, given = call.said("auto_pad", "NOTSET"), call.said("pads", None)
    if auto == "NOTSET":
        return [0] * 2 * len(kernel) if given is None else [int(n) for n in given]
    if auto == "VALID":
        return [0] * 2 * len(kernel)
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"must have an auto_pad of ONNX, not {auto}")
    less, more = [], []
    for side, k, s, d in zip(call.shape()[1:], kernel, strides, dilations, strict=True):
        zeros = max((math.ceil(side / max(s, 1)) - 1) * s + (k - 1) * d + 1 - side, 0)
        less.append(zeros // 2)
        more.append(zeros - zeros // 2)
    return [*less, *more] if auto == "SAME_UPPER" else [*more, *less]


def conv(call: Call) -> Does:
    """Of one axis or two."""
    weight, shape = call.number(1), call.shape()
    if weight.ndim not in (3, 4) or 0 in weight.shape:
        raise ValueError("must have a kernel of one or two axes")
    if list(call.said("kernel_shape", weight.shape[2:])) != [*weight.shape[2:]]:
        raise ValueError("must have weights of its kernel_shape")
    window, groups = _window(call, weight.shape[2:]), int(call.said("group", 1))
    if groups < 1 or shape[0] != weight.shape[1] * groups or len(weight) % groups:
        raise ValueError(
            f"has weights of {weight.shape} in {groups} groups, and gets {shape[0]} channels"
        )
    if weight.ndim == 3:
        weight = weight[:, :, None]
    bias = None if call.constant(2) is None else call.number(2)
    if bias is not None and bias.shape != (len(weight),):
        raise ValueError(f"must have a bias for each of {len(weight)} channels")
    _require_small(shape, window)
    conv = nn.Conv2d(
        groups,
        groups,
        1,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        groups=groups,
        bias=bias is not None,
    )
    conv.in_channels, conv.out_channels, conv.kernel_size = shape[0], len(weight), window.kernel
    return Does([filled(conv, weight=weight, **({} if bias is None else {"bias": bias}))])


def _require_small(shape: Sequence[int], window: Window) -> None:
    sides = [*held(shape)[1:]]
    padded = [side + 2 * zeros for side, zeros in zip(sides, window.padding, strict=True)]
    if shape[0] * math.prod(padded) > LARGEST_SIDE**2:
        raise ValueError("must have less padding")


def average_pool(call: Call) -> Does:
    """Of one axis or two."""
    window = _window(call, [int(n) for n in call.said("kernel_shape", ())])
    _require_small(call.shape(), window)
    if window.dilation != (1, 1):
        raise ValueError("must have dilations of 1")
    if call.said("ceil_mode", 0):
        sides = zip(held(call.shape())[1:], *window[:3], strict=True)
        if any((side + 2 * zeros - k) % s for side, k, s, zeros in sides):
            raise ValueError("must have ceil_mode = 0: windows would reach over the border")
    return Does(
        [
            nn.AvgPool2d(
                window.kernel,
                window.stride,
                window.padding,
                count_include_pad=bool(call.said("count_include_pad", 0)),
            )
        ]
    )


def global_average(call: Call) -> Does:
    """Over all rows and columns."""
    if len(call.shape()) == 1:
        raise ValueError("must take maps")
    return Does([nn.AdaptiveAvgPool2d(1)])


def spatial_mean(call: Call) -> Does:
    """A ReduceMean over all rows and columns."""
    shape = call.shape()
    given = [None if isinstance(value, Made) else value for value in call.given]
    call.constant(1)
    axes = axes_of(call.node, given, 1, call.opset, 18)
    rank = 1 + len(shape)
    if axes is None or sorted(axis % rank for axis in axes) != [*range(2, rank)] or rank == 2:
        raise ValueError("must average over all rows and columns, and nothing else")
    pool = nn.AdaptiveAvgPool2d(1)
    return Does([pool] if call.said("keepdims", 1) else [pool, nn.Flatten()])
