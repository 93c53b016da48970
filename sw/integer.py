"""The integer network in torch, which can still be trained.

`IntegerNetwork` computes the contract's integers in float32 tensors and passes gradients straight
through every rounding: quantisation-aware training sees exactly the network that is exported.
Float32 is exact here: all values are integers and, checked by `to_image`, no sum reaches 2^24,
below which every integer is a float32 and addition in whatever order rounds nothing. In a network
cast to float64 (`quantize` does, where decay is exact) the bound is 2^53.
"""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.image import NetworkImage
from hw.spec import LayerSpec, NetworkSpec, SternaError
from sw.fold import FoldedLayer
from sw.model import Activity, Drive, propagate
from sw.neuron import TernaryLIF

__all__ = ["IntegerLayer", "IntegerNetwork", "QuantizeError"]

EXACT_BITS = {torch.float32: 24, torch.float64: 53}
"""Every integer of so many bits is a number of that type."""


class QuantizeError(SternaError, ValueError):
    """A network that has no integer form."""


def _straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """Value of `rounded`, gradient of x. (x + (rounded - x) would not be exact.)"""
    return _Rounded.apply(x, rounded)  # type: ignore[no-any-return]


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rounded: Tensor) -> Tensor:
        return rounded.clone()

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        return grad[0], None


class IntegerLayer(nn.Module):
    """Real-valued masters in units of one weight step, and the integers they round to.

    Parameters
    ----------
    spec
        The layer's contract.
    coefficient_max
        Largest |coefficient| it receives. The bias master is kept in units of it, as if it were
        the weight of a pixel that is always white: one learning rate then suits both.
    """

    scale: Tensor

    def __init__(self, spec: LayerSpec, coefficient_max: int) -> None:
        super().__init__()
        self.spec, self.coefficient_max = spec, coefficient_max
        self.weight = nn.Parameter(torch.zeros(spec.neurons, spec.inputs))
        self.bias = nn.Parameter(torch.zeros(spec.neurons))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    @torch.no_grad()
    def fill(self, folded: FoldedLayer, scale: float) -> None:
        """Take the weights and biases of a folded layer, `scale` being one weight step."""
        w_max = self.spec.w_max
        self.scale.fill_(scale)
        self.weight.copy_(torch.clamp(folded.weight / scale, -w_max, w_max))
        self.bias.copy_(folded.bias / scale / self.coefficient_max)

    def integers(self) -> tuple[Tensor, Tensor]:
        """Integer-valued weights and biases; gradients reach the masters."""
        w_max = self.spec.w_max
        weight = _straight_through(
            self.weight, torch.clamp(torch.round(self.weight), -w_max, w_max)
        )
        bias = self.bias * self.coefficient_max
        return weight, _straight_through(bias, torch.round(bias))

    def drive(self, x: Tensor) -> Tensor:
        """Integer drive (..., neurons) of integer coefficients (..., inputs)."""
        return functional.linear(x, *self.integers())


class IntegerNetwork(nn.Module):
    """The network of the contract in torch: integer-valued forward, straight-through backward.

    Parameters
    ----------
    spec
        The contract. Weights and biases start at zero: fill them with `quantize` or
        `load_state_dict`.
    """

    dropout = 0.0
    """Of `propagate`, while training."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.layers = nn.ModuleList(
            IntegerLayer(layer, spec.coefficient_max(n)) for n, layer in enumerate(spec.layers)
        )
        self.neurons = nn.ModuleList(
            TernaryLIF.from_spec(layer.neuron) for layer in spec.layers if layer.neuron is not None
        )

    def forward(self, pixels: Tensor) -> Activity:
        """Run pixels (n, size), whole numbers 0 .. pixel_max of any dtype, for all steps."""
        drives: list[Drive] = [layer.drive for layer in self.integer_layers]
        neurons = cast(list[TernaryLIF], list(self.neurons))
        dropout = self.training * self.dropout
        return propagate(pixels.to(self.dtype), drives, neurons, self.spec.steps, dropout)

    @property
    def dtype(self) -> torch.dtype:
        """What the integers are kept in."""
        return self.integer_layers[0].weight.dtype

    @property
    def integer_layers(self) -> list[IntegerLayer]:
        """The layers in order, typed."""
        return cast(list[IntegerLayer], list(self.layers))

    @property
    def logit_scale(self) -> float:
        """What one unit of an integer logit is worth in the float network."""
        return float(self.integer_layers[-1].scale)

    @torch.no_grad()
    def to_image(self, meta: Mapping[str, Any] | None = None) -> NetworkImage:
        """The network image of the present integers.

        Raises
        ------
        QuantizeError
            When weights are not finite or all zero, or a sum may reach 2^24 (float64: 2^53).
        """
        weights, biases = [], []
        for layer in self.integer_layers:
            (w, b), name = layer.integers(), layer.spec.name
            require_finite(name, w, b)
            if not w.any():
                raise QuantizeError(f"Weights of layer {name} must not all be zero once rounded")
            weights.append(w.numpy().astype(np.int8))
            biases.append(b.numpy().astype(np.int32))
        image = NetworkImage(self.spec, tuple(weights), tuple(biases), meta or {})
        _require_exact(image, self.dtype)
        return image


def require_finite(name: str, weight: Tensor, bias: Tensor) -> None:
    for what, values in (("Weights", weight), ("Biases", bias)):
        if not bool(torch.isfinite(values).all()):
            raise QuantizeError(f"{what} of layer {name} must be finite, not NaN or infinite")


def _require_exact(image: NetworkImage, dtype: torch.dtype) -> None:
    for layer in image.layers:
        bound = layer.logit_bound if layer.spec.neuron is None else layer.membrane_bound
        if bound >= 1 << EXACT_BITS[dtype]:
            raise QuantizeError(
                f"Sums of layer {layer.spec.name} must stay below 2^{EXACT_BITS[dtype]} to be "
                f"exact in {str(dtype).removeprefix('torch.')}, not reach {bound}"
            )
