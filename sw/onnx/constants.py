"""What a graph computes of its constants alone: weights out of integers, sizes, indices.

Only what has a function here is computed, and nothing large.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sw.onnx.files import Array, Node
from sw.onnx.rounding import Misfit, bounds, rounded

__all__ = ["BATCH", "FOLDED", "axes_of", "folded", "integers", "target_shape"]

LARGEST = 1 << 24
"""Values that a node may make."""

BATCH = -(1 << 40)
"""Stands for any number of images in what is computed of sizes: nothing but itself is left of it by
gathering and joining, and no size is like it otherwise."""

Given = Sequence[Array | None]


def folded(node: Node, given: Given, opset: int) -> Array:
    """What a node makes of constants.

    Raises
    ------
    Misfit
        With what is wrong.
    """
    if node.kind not in FOLDED:
        raise Misfit("is not supported: it computes constants in a way that is not known")
    sizes = [value.size for value in given if value is not None]
    if sum(sizes) > LARGEST:
        raise Misfit("must not make constants that large")
    try:
        made = FOLDED[node.kind](node, given, opset)
    except Misfit:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
        raise Misfit("is damaged: what it computes of constants does not fit") from None
    return np.asarray(made)


def integers(value: Array | None, what: str) -> list[int]:
    """A constant of whole numbers."""
    if value is None or value.dtype.kind not in "iu" or value.ndim > 1:
        raise Misfit(f"must have {what} of whole numbers")
    return [int(number) for number in np.atleast_1d(value)]


def axes_of(node: Node, given: Given, at: int, opset: int, since: int) -> list[int] | None:
    """Axes, an input since some opset and an attribute before; None: none are given."""
    if opset < since:
        axes = node.attributes.get("axes")
        return None if axes is None else [int(axis) for axis in axes]
    if len(given) <= at or given[at] is None:
        return None
    return integers(given[at], "constant axes")


def _spread(node: Node, given: Given, by: Callable[[Array, Array], Array]) -> Array:
    """Of two, numbers spread to each other's shape."""
    a, b = (_number(value) for value in given)
    if bool((a == BATCH).any() or (b == BATCH).any()):
        raise Misfit("must not compute with the number of images")
    if math.prod(np.broadcast_shapes(a.shape, b.shape)) > LARGEST:
        raise Misfit("must not make constants that large")
    with np.errstate(all="ignore"):
        made = by(a, b)
    return made.astype(a.dtype)  # a quotient of integers is none in NumPy


def _number(value: Array | None) -> Array:
    if value is None or value.dtype.kind not in "iuf":
        raise Misfit("must compute with numbers")
    return value


def _divided(a: Array, b: Array) -> Array:
    return np.trunc(a / b) if a.dtype.kind in "iu" else a / b


def _constant(node: Node, given: Given, opset: int) -> Array:
    for key in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if node.attributes.get(key) is not None:
            value = node.attributes[key]
            kind = np.float64 if "float" in key else np.int64
            return value if isinstance(value, np.ndarray) else np.asarray(value, dtype=kind)
    raise Misfit("must have numbers")


def _cast(node: Node, given: Given, opset: int) -> Array:
    kinds = {1: np.float64, 10: np.float64, 11: np.float64, 6: np.int32, 7: np.int64}
    kinds |= {2: np.uint8, 3: np.int8}
    if node.attributes.get("to") not in kinds:
        raise Misfit("must cast constants to real numbers or integers")
    return _number(given[0]).astype(kinds[node.attributes["to"]])


def _transposed(node: Node, given: Given, opset: int) -> Array:
    value = _number(given[0])
    return np.transpose(value, node.attributes.get("perm") or range(value.ndim)[::-1])


def _flattened(node: Node, given: Given, opset: int) -> Array:
    value, axis = _number(given[0]), node.attributes.get("axis", 1)
    return value.reshape(math.prod(value.shape[:axis]), -1)


def target_shape(node: Node, target: Array | None, shape: Sequence[int]) -> list[int]:
    """The shape that a Reshape makes of a shape; one of its sides may be -1."""
    if node.attributes.get("allowzero", 0) and target is not None and (target == 0).any():
        raise Misfit("must not make axes of size 0")
    sides = integers(target, "a constant shape")
    if sides.count(-1) > 1 or any(side < -1 and side != BATCH for side in sides):
        raise Misfit("must have a shape of known sides")
    return [shape[n] if side == 0 else side for n, side in enumerate(sides)]


def _reshaped(node: Node, given: Given, opset: int) -> Array:
    value = _number(given[0])
    return value.reshape(target_shape(node, given[1], value.shape))


def _squeezed(node: Node, given: Given, opset: int) -> Array:
    axes = axes_of(node, given, 1, opset, 13)
    return np.squeeze(_number(given[0]), None if axes is None else tuple(axes))


def _unsqueezed(node: Node, given: Given, opset: int) -> Array:
    return np.expand_dims(_number(given[0]), tuple(axes_of(node, given, 1, opset, 13) or ()))


def _joined(node: Node, given: Given, opset: int) -> Array:
    return np.concatenate([_number(value) for value in given], axis=node.attributes["axis"])


def _gathered(node: Node, given: Given, opset: int) -> Array:
    value, index = _number(given[0]), _number(given[1])
    axis = node.attributes.get("axis", 0)
    if index.size * (value.size // max(1, value.shape[axis])) > LARGEST:
        raise Misfit("must not make constants that large")
    return np.take(value, index, axis=axis)


def _sliced(node: Node, given: Given, opset: int) -> Array:
    if opset < 10:
        raise Misfit("must have its bounds as inputs, as since opset 10")
    starts, ends = integers(given[1], "bounds"), integers(given[2], "bounds")
    rest = [*given[3:], None, None]
    axes = range(len(starts)) if rest[0] is None else integers(rest[0], "axes")
    steps = [1] * len(starts) if rest[1] is None else integers(rest[1], "steps")
    if any(step != 1 for step in steps):
        raise Misfit("must take constants side by side, with steps of 1")
    value = _number(given[0])
    cut = [slice(None)] * value.ndim
    for axis, start, end in zip(axes, starts, ends, strict=True):
        cut[axis] = slice(start, end)
    return value[tuple(cut)]


def _clipped(node: Node, given: Given, opset: int) -> Array:
    value = _number(given[0])
    low, high = (node.attributes.get("min"), node.attributes.get("max"))
    if opset >= 11:
        low, high = [*given[1:], None, None][:2]
    info = np.iinfo(value.dtype) if value.dtype.kind in "iu" else np.finfo(value.dtype)
    low = info.min if low is None else np.asarray(low).item()
    high = info.max if high is None else np.asarray(high).item()
    return np.minimum(np.maximum(value, low), high).astype(value.dtype)


def along(node: Node, factor: Array, shape: Sequence[int]) -> Array:
    """A scale or zero point of QuantizeLinear or DequantizeLinear, spread to a value's shape."""
    if node.attributes.get("block_size", 0):
        raise Misfit("must have one scale, or one for each channel, not for blocks")
    if factor.size == 1:
        return factor.reshape(())
    if factor.ndim != 1:
        raise Misfit("must have one scale, or one for each channel")
    axis = node.attributes.get("axis", 1) % len(shape)
    if factor.size != shape[axis]:
        raise Misfit("must have one scale, or one for each channel")
    return factor.reshape([-1 if n == axis else 1 for n in range(len(shape))])


def _quantized(node: Node, given: Given, opset: int) -> Array:
    value, scale = _number(given[0]), _number(given[1])
    zero = given[2] if len(given) > 2 else None
    low, high, kind = bounds(node, zero)
    shift = 0 if zero is None else along(node, zero.astype(np.int64), value.shape)
    whole = np.rint(value / along(node, scale, value.shape)) + shift
    return np.clip(whole, low, high).astype(kind)


def _dequantized(node: Node, given: Given, opset: int) -> Array:
    value, scale = given[0], _number(given[1])
    assert value is not None
    zero = given[2] if len(given) > 2 else None
    shift = 0 if zero is None else along(node, zero.astype(np.float64), value.shape)
    return (value.astype(np.float64) - shift) * along(node, scale, value.shape)


def _require_shape(value: Array, *factors: Array) -> None:
    """What has one number for several values does not make more of them."""
    if np.broadcast_shapes(value.shape, *(factor.shape for factor in factors)) != value.shape:
        raise Misfit("must have a scale and zero point that fit its values")


def _quant(node: Node, given: Given, opset: int) -> Array:
    value, scale, zero, bits = (_number(one) for one in given)
    _require_shape(value, scale, zero)
    return rounded(node, value, scale, zero, bits)


def _bipolar(node: Node, given: Given, opset: int) -> Array:
    value, scale = (_number(one) for one in given)
    _require_shape(value, scale)
    return np.where(value >= 0, 1.0, -1.0) * scale


FOLDED: dict[str, Callable[[Node, Given, int], Any]] = {
    "Add": lambda node, given, opset: _spread(node, given, np.add),
    "BipolarQuant": _bipolar,
    "Cast": _cast,
    "Clip": _clipped,
    "Concat": _joined,
    "Constant": _constant,
    "DequantizeLinear": _dequantized,
    "Div": lambda node, given, opset: _spread(node, given, _divided),
    "Flatten": _flattened,
    "Gather": _gathered,
    "Identity": lambda node, given, opset: given[0],
    "IntQuant": _quant,
    "Mul": lambda node, given, opset: _spread(node, given, np.multiply),
    "Neg": lambda node, given, opset: -_number(given[0]),
    "Quant": _quant,
    "QuantizeLinear": _quantized,
    "Reshape": _reshaped,
    "Slice": _sliced,
    "Sqrt": lambda node, given, opset: np.sqrt(_number(given[0])),
    "Squeeze": _squeezed,
    "Sub": lambda node, given, opset: _spread(node, given, np.subtract),
    "Transpose": _transposed,
    "Unsqueeze": _unsqueezed,
}
"""By kind of node."""
