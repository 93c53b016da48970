"""Nodes that are weights and biases: matrices, and factors and offsets of channels."""

import numpy as np
from torch import nn

from sw.importers.trace import Sum
from sw.onnx.calls import Call, Does, Made, filled, held, tensor
from sw.onnx.files import Array
from sw.reading.network import per_channel

__all__ = ["add", "batch_norm", "divide", "gemm", "matmul", "multiply", "negate", "subtract"]


def _linear(weight: Array, bias: Array | None) -> Does:
    outputs, inputs = weight.shape
    plain = nn.Linear(1, 1, bias=bias is not None)
    plain.in_features, plain.out_features = inputs, outputs
    return Does([filled(plain, weight=weight, **({} if bias is None else {"bias": bias}))])


def _row(call: Call) -> int:
    shape = call.shape()
    if len(shape) != 1:
        raise ValueError("must take values in a row: put a Flatten before it")
    return shape[0]


def gemm(call: Call) -> Does:
    """alpha A B + beta C, of constant B and C."""
    size, weight = _row(call), call.number(1)
    if call.said("transA", 0):
        raise ValueError("must have transA = 0: otherwise it adds up over images")
    if weight.ndim != 2:
        raise ValueError("must have a matrix of weights")
    weight = call.said("alpha", 1.0) * (weight if call.said("transB", 0) else weight.T)
    if weight.shape[1] != size:
        raise ValueError(f"takes {weight.shape[1]} values, and gets {size}")
    if call.constant(2) is None:
        return _linear(weight, None)
    bias = _by_channel(call.number(2), (len(weight),))
    return _linear(weight, call.said("beta", 1.0) * bias)


def matmul(call: Call) -> Does:
    """A matrix without biases."""
    size, weight = _row(call), call.number(1)
    if weight.ndim != 2 or len(weight) != size:
        raise ValueError(f"must have a matrix of {size} rows, not one of {weight.shape}")
    return _linear(weight.T, None)


def _by_channel(values: Array, shape: tuple[int, ...]) -> Array:
    """What is added to (images, *shape), or multiplied by, for each channel."""
    sides = (1,) * (1 + len(shape) - values.ndim) + values.shape
    if len(sides) != 1 + len(shape) or sides[0] != 1 or sides[1] not in (1, shape[0]):
        raise ValueError(f"must have one number, or one for each of {shape[0]} channels")
    if any(side != 1 for side in sides[2:]):
        raise ValueError("must have one number for a channel, not one for each row or column")
    return np.broadcast_to(values.reshape(-1), (shape[0],)).copy()


def _shifted(call: Call, gain: float | Array, offset: float | Array) -> Does:
    """x * gain + offset of each channel."""
    shape = call.values[0].shape
    assert shape is not None
    gains, offsets = (
        tensor(_by_channel(np.asarray(values, dtype=np.float64), shape))
        for values in (gain, offset)
    )
    return Does([per_channel(held(shape), gains, offsets)])


def _other(call: Call) -> Array:
    """Of two inputs, the one that is a constant."""
    return call.number(0 if isinstance(call.given[1], Made) else 1)


def add(call: Call) -> Does:
    """A constant for each channel, or two values of one shape."""
    if len(call.given) != 2:
        raise ValueError("must add up two values")
    if len(call.values) == 1:
        return _shifted(call, 1.0, _other(call))
    shapes = [value.shape for value in call.values]
    if shapes[0] != shapes[1]:
        raise ValueError(f"must add values of one shape, not {shapes[0]} and {shapes[1]}")
    return Does([Sum()])


def _one(call: Call) -> None:
    if len(call.values) != 1:
        raise ValueError("must take one value made of the image, and a constant: use Add")


def subtract(call: Call) -> Does:
    """A constant, or from a constant."""
    _one(call)
    other = _other(call)
    return _shifted(call, *((1.0, -other) if isinstance(call.given[0], Made) else (-1.0, other)))


def multiply(call: Call) -> Does:
    """By a constant for each channel."""
    _one(call)
    return _shifted(call, _other(call), 0.0)


def divide(call: Call) -> Does:
    """By a constant for each channel."""
    _one(call)
    divisor = call.number(1)
    if not divisor.all():
        raise ValueError("must not divide by 0")
    call.made()
    return _shifted(call, 1.0 / divisor, 0.0)


def negate(call: Call) -> Does:
    """-x."""
    return _shifted(call, -1.0, 0.0)


def batch_norm(call: Call) -> Does:
    """As it runs once trained."""
    if call.said("training_mode", 0):
        raise ValueError("must be exported for inference (training_mode = 0)")
    shape = call.shape()
    size, eps = shape[0], float(call.said("epsilon", 1e-5))
    scale, bias, mean, var = (call.number(at) for at in range(1, 5))
    if any(values.shape != (size,) for values in (scale, bias, mean, var)):
        raise ValueError(f"must have one of each number for each of {size} channels")
    if not (var + eps > 0).all():
        raise ValueError("must have positive variances")
    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    values = {"weight": scale, "bias": bias, "running_mean": mean, "running_var": var}
    return Does([filled(kind(size, eps=eps), **values)])
