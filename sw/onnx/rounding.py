"""What QONNX's nodes compute, and what integers QuantizeLinear makes.

After the definitions of QONNX (github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops): a
value is divided by the scale, shifted by the zero point, clamped, rounded, and brought back.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sw.onnx.files import Array, Node, library

__all__ = ["MODES", "Misfit", "Range", "bounds", "rounded", "span"]


def _to_nearest(x: Array, half: Callable[[Array], Array]) -> Array:
    return np.sign(x) * half(np.abs(x))


MODES: dict[str, Callable[[Array], Array]] = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: _to_nearest(x, np.ceil),
    "DOWN": np.trunc,
    "ROUND_TO_ZERO": np.trunc,
    "HALF_UP": lambda x: _to_nearest(x, lambda y: np.floor(y + 0.5)),
    "HALF_DOWN": lambda x: _to_nearest(x, lambda y: np.ceil(y - 0.5)),
}
"""How QONNX rounds, by `rounding_mode`."""


class Misfit(ValueError):
    """What is wrong with a node, without its subject."""


class Range(NamedTuple):
    """Smallest and largest integer of a Quant; both -1 and 1: nothing between them."""

    low: int
    high: int
    bipolar: bool = False


def span(node: Node, bits: Array) -> Range:
    """What a Quant makes integers of.

    Raises
    ------
    Misfit
        With what is wrong.
    """
    width = float(np.asarray(bits).reshape(-1)[0]) if np.size(bits) else 0.0
    if np.size(bits) != 1 or width != int(width) or not 1 <= width <= 32:
        raise Misfit("must have a bit width of 1 to 32, one for all values")
    if not {"signed", "narrow"} <= {*node.attributes}:
        raise Misfit("must say whether it is signed, and narrow")
    signed, narrow = (bool(node.attributes[name]) for name in ("signed", "narrow"))
    if signed and width == 1:
        return Range(-1, 1, bipolar=True)
    if signed:
        most = 2 ** (int(width) - 1)
        return Range(-most + narrow, most - 1)
    return Range(0, 2 ** int(width) - 1 - narrow)


def mode(node: Node) -> str:
    """How a Quant rounds."""
    name = str(node.attributes.get("rounding_mode", "ROUND")).upper()
    if name not in MODES:
        raise Misfit(f"must have a rounding_mode of QONNX, not {name}")
    return name


def rounded(node: Node, value: Array, scale: Array, zero: Array, bits: Array) -> Array:
    """What a Quant makes of a value; raises `Misfit`."""
    low, high, bipolar = span(node, bits)
    whole = value / scale + zero
    if bipolar:
        whole = np.where(whole >= 0, 1.0, -1.0)
    else:
        whole = MODES[mode(node)](np.clip(whole, low, high))
    return (whole - zero) * scale


def bounds(node: Node, zero: Array | None) -> tuple[int, int, Any]:
    """Smallest and largest integer of a QuantizeLinear, and what NumPy has them in.

    Raises
    ------
    Misfit
        With what is wrong.
    """
    types, helper = library().TensorProto, library().helper
    said = node.attributes.get("output_dtype", 0)
    if zero is not None:
        said = helper.np_dtype_to_tensor_dtype(zero.dtype)
    kinds = {
        types.UINT8: (0, 255),
        types.INT8: (-128, 127),
        types.UINT16: (0, 65535),
        types.INT16: (-32768, 32767),
        types.UINT4: (0, 15),
        types.INT4: (-8, 7),
        0: (0, 255),
    }
    if said not in kinds:
        raise Misfit("must make integers of 4, 8 or 16 bits")
    return *kinds[said], helper.tensor_dtype_to_np_dtype(said or types.UINT8)
