"""Nodes that bound or round values, or leave them as they are, in the same shape or another one."""

import math
from collections.abc import Sequence

import numpy as np
from torch import nn

from sw.onnx.calls import Call, Clipped, Counts, Does, Made, Rounded
from sw.onnx.constants import BATCH, axes_of, target_shape
from sw.onnx.files import Array
from sw.onnx.rounding import bounds, mode, span

__all__ = [
    "bipolar",
    "cast",
    "clip",
    "dequantize",
    "dropout",
    "flatten",
    "idle",
    "quant",
    "quantize",
    "relu",
    "reshape",
    "softmax",
    "squeeze",
    "transpose",
    "unsqueeze",
]


def relu(call: Call) -> Does:
    """A ReLU."""
    return Does([nn.ReLU()])


def _bound(call: Call, at: int, name: str, default: float) -> float:
    value = call.said(name, None) if call.opset < 11 else call.constant(at)
    if value is None:
        return default
    number = float(np.asarray(value).reshape(-1)[0]) if np.size(value) == 1 else math.nan
    if math.isnan(number):
        raise ValueError("must have numbers as its bounds")
    return number


def clip(call: Call) -> Does:
    """A ReLU, bounds on both sides, none, or bounds of integers."""
    low, high = _bound(call, 1, "min", -math.inf), _bound(call, 2, "max", math.inf)
    counts = call.made().counts
    if counts is not None:
        low, high = max(counts.low, low), min(counts.high, high)
        if low > high or low != int(low) or high != int(high):
            raise ValueError("must have whole numbers as its bounds, the lower one first")
        places = (*counts.places, call.node.place)
        made = counts._replace(low=int(low), high=int(high), places=places)
        return Does(shape=call.shape(), counts=made)
    largest = float(np.finfo(np.float32).max)
    if low == 0 and high >= largest:
        return Does([nn.ReLU()])
    if low <= -largest and high >= largest:
        return Does(shape=call.shape())
    return Does([Clipped(low, high)])


def idle(call: Call) -> Does:
    """Nothing."""
    return Does(shape=call.shape(), counts=call.made().counts)


def dropout(call: Call) -> Does:
    """Nothing, once trained."""
    training = call.constant(2)
    if training is not None and bool(np.asarray(training).any()):
        raise ValueError("must be exported for inference (training_mode = 0)")
    return idle(call)


def cast(call: Call) -> Does:
    """Nothing, to reals."""
    if call.said("to", 0) not in (1, 11):
        raise ValueError("must cast to float or double")
    return idle(call)


def softmax(call: Call) -> Does:
    """Over the classes, at the end."""
    rank = 1 + len(call.shape())
    axis = call.said("axis", 1 if call.opset < 13 else -1)
    if rank != 2 or axis % rank != 1:
        raise ValueError("must be over the classes, the one axis of an image")
    kind = nn.LogSoftmax if call.node.kind == "LogSoftmax" else nn.Softmax
    return Does([kind(1)])


# Rounding


def _scale_of(call: Call, at: int) -> Array:
    scale = call.number(at)
    if not scale.size or not (scale > 0).all():
        raise ValueError("must have a scale above 0")
    return scale


def quant(call: Call) -> Does:
    """Rounding as QONNX has it."""
    low, high, two = span(call.node, call.number(3))
    if two:
        return bipolar(call)
    rounding, scale, zero = mode(call.node), _scale_of(call, 1), call.number(2)
    return Does([Rounded(low, high, scale, zero, rounding)])


def bipolar(call: Call) -> Does:
    """Refused: it is no count."""
    raise ValueError("is not supported of activations: they must be 0 or above, not -1 and 1")


def quantize(call: Call) -> Does:
    """Integers that stand for reals."""
    scale, zero = _scale_of(call, 1), call.constant(2)
    if call.said("block_size", 0) or call.said("precision", 0):
        raise ValueError("must have one scale, not one for blocks, and no precision of its own")
    low, high, _ = bounds(call.node, zero)
    none = np.zeros(1) if zero is None else zero.astype(np.float64)
    counts = Counts(low, high, scale, none, (call.node.place,))
    return Does(shape=call.shape(), counts=counts)


def dequantize(call: Call) -> Does:
    """The reals again: rounded, within the bounds of their integers."""
    counts, scale, zero = call.made().counts, _scale_of(call, 1), call.constant(2)
    none = np.zeros(1) if zero is None else zero.astype(np.float64)
    if counts is None:
        raise ValueError("must take what a QuantizeLinear made")
    if call.said("block_size", 0) or not (
        np.array_equal(scale.reshape(-1), counts.scale.reshape(-1))
        and np.array_equal(none.reshape(-1), counts.zero.reshape(-1))
    ):
        raise ValueError("must have the scale and zero point of its QuantizeLinear")
    return Does([Rounded(counts.low, counts.high, scale, none, "HALF_EVEN")])


# Shapes


def _reshaped(call: Call, shape: Sequence[int]) -> Does:
    """The numbers of an image in another shape, in their order."""
    size = math.prod(call.shape())
    if len(shape) not in (1, 2, 3) or any(side < 1 for side in shape) or math.prod(shape) != size:
        raise ValueError(
            f"must leave the first axis as it is, which counts images, and give ({size},) or maps"
        )
    return Does(shape=tuple(shape))


def flatten(call: Call) -> Does:
    """Values in a row."""
    if call.said("axis", 1) % (1 + len(call.shape())) != 1:
        raise ValueError("must have axis = 1, so that images stay apart")
    return _reshaped(call, [math.prod(call.shape())])


def reshape(call: Call) -> Does:
    """Any shape that keeps images apart."""
    shape = call.shape()
    images = call.batch or BATCH
    first, *sides = target_shape(call.node, call.constant(1), (images, *shape))
    size = math.prod(shape)
    rest = math.prod(side for side in sides if side != -1)
    if -1 in sides and rest > 0:
        sides = [size // rest if side == -1 else side for side in sides]
    # -1 images are all of them only where the other sides are those of an image.
    if first not in (images, -1):
        sides = []
    return _reshaped(call, sides)


def squeeze(call: Call) -> Does:
    """Without axes of size 1."""
    shape = call.shape()
    given = [None if isinstance(value, Made) else value for value in call.given]
    axes, rank = axes_of(call.node, given, 1, call.opset, 13), 1 + len(shape)
    gone = {axis % rank for axis in axes or ()}
    if axes is None or 0 in gone or any(shape[axis - 1] != 1 for axis in gone):
        raise ValueError("must name axes of size 1, behind the first")
    return _reshaped(call, [side for n, side in enumerate(shape, 1) if n not in gone])


def unsqueeze(call: Call) -> Does:
    """With axes of size 1."""
    shape = call.shape()
    given = [None if isinstance(value, Made) else value for value in call.given]
    axes = axes_of(call.node, given, 1, call.opset, 13)
    if axes is None:
        raise ValueError("must name axes")
    rank = 1 + len(shape) + len(axes)
    new = {axis % rank for axis in axes}
    if 0 in new or len(new) != len(axes):
        raise ValueError("must leave the first axis as it is, which counts images")
    old = iter(shape)
    return _reshaped(call, [1 if n in new else next(old) for n in range(1, rank)])


def transpose(call: Call) -> Does:
    """Only where numbers keep their order."""
    sides = (0, *call.shape())
    perm = [int(n) for n in call.said("perm", [*range(len(sides))][::-1])]
    if sorted(perm) != [*range(len(sides))]:
        raise ValueError("must have a perm of its axes")
    moved = [axis for axis in perm if sides[axis] != 1]
    if perm[0] != 0 or moved != sorted(moved):
        raise ValueError(
            "must leave values in their order, (images, channels, rows, columns): export the "
            "network with channels first"
        )
    return _reshaped(call, [sides[axis] for axis in perm[1:]])
