"""The integer network in torch, which can still be trained.

`IntegerNetwork` computes the contract's integers in float32 tensors and passes gradients straight
through every rounding: quantisation-aware training sees exactly the network that is exported.
Float32 is exact here: all values are integers and, checked by `to_network`, no sum reaches 2^24,
below which every integer is a float32 and addition in whatever order rounds nothing. In a network
of float64 the bound is 2^53, which the contract never reaches: networks with weights of more than
`NARROW_BITS` are, and `quantize` casts those with an exact decay.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hw.contract.checks import SternaError
from hw.contract.edge import INPUT, EdgeSpec
from hw.contract.network import Network
from hw.contract.spec import LayerSpec, NetworkSpec
from sw.learn.fold import FoldedLayer
from sw.learn.graph import Activity, Node, as_maps, bound, by_neuron, propagate
from sw.learn.neuron import ReadoutParameters, TernaryLIF, straight_through

__all__ = ["IntegerLayer", "IntegerNetwork", "QuantizeError"]

NARROW_BITS = 8
"""Weights that are wider soon make sums of 2^24."""

WIDEST = 2**62
"""A bias that no network has, and that any type of ours holds."""

EXACT_BITS = {torch.float32: 24, torch.float64: 53}
"""Every integer of so many bits is a number of that type."""


CONSTANTS = {"thetas": "thetas", "steps": "reset_steps", "factors": "factors"}
"""Of neurons, by channel: here, and in a `Network`."""


class QuantizeError(SternaError, ValueError):
    """A network that has no integer form."""


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
    thetas: Tensor | None
    steps: Tensor | None
    factors: Tensor | None

    def __init__(
        self,
        spec: LayerSpec,
        coefficient_max: int,
        edges: Sequence[EdgeSpec],
        weight_shapes: Sequence[tuple[int, ...]],
    ) -> None:
        super().__init__()
        self.spec, self.coefficient_max, self.edges = spec, coefficient_max, tuple(edges)
        self.kernels = nn.ParameterList(torch.zeros(shape) for shape in weight_shapes)
        self.bias = nn.Parameter(torch.zeros(spec.map_shape[0]))
        channels, n = spec.map_shape[0], spec.neuron
        size = (channels,) if spec.channel_thresholds else ()
        self.register_buffer("scale", torch.ones(size, dtype=torch.float64))
        for name, own, value in (
            ("thetas", spec.channel_thresholds, n and n.theta),
            ("steps", spec.channel_resets, n and n.step),
            ("factors", spec.channel_decays, 0),
        ):
            self.register_buffer(name, torch.full((channels,), float(value or 0)) if own else None)

    @torch.no_grad()
    def fill(self, folded: FoldedLayer, scale: Tensor, own: Mapping[str, Tensor]) -> None:
        """Take the weights and biases of a folded layer, `scale` being the drive's unit: of all,
        (), or of each channel, (channels,), of which a weight step is 2^shift, where its edge has a
        shift that the folded one has not; `own` are the integers (channels,) that each channel of
        the specification has: `thetas`, `steps`, `factors`."""
        self.scale.copy_(scale)  # of all: that of each
        shifts = [edge.shift for edge in folded.edges] or [0]
        for edge, master, kernel, shift in zip(
            self.edges, self.kernels, folded.kernels, shifts, strict=True
        ):
            most, step = self.spec.largest(edge), scale
            if scale.ndim:  # a row of weights per channel, or per neuron of it
                step = scale.repeat_interleave(len(kernel) // len(scale))
                step = step.reshape(-1, *(1,) * (kernel.ndim - 1))
            whole = kernel / (step * 2 ** (edge.shift - shift))
            master.copy_(torch.clamp(whole, -most, most))
        for name, values in own.items():
            self.get_buffer(name).copy_(values)
        self.bias.copy_(folded.bias / scale / self.coefficient_max)

    @property
    def weight(self) -> nn.Parameter:
        """The masters of a layer with one edge."""
        (weight,) = self.kernels
        return weight

    def integers(self) -> tuple[list[Tensor], Tensor]:
        """Integer-valued weights of each edge and biases; gradients reach the masters."""
        weights = []
        for edge, master in zip(self.edges, self.kernels, strict=True):
            most = self.spec.largest(edge)
            rounded = torch.clamp(torch.round(master), -most, most)
            weights.append(straight_through(master, rounded))
        bias = self.bias * self.coefficient_max
        return weights, straight_through(bias, torch.round(bias))

    def node(self, spec: NetworkSpec, neuron: TernaryLIF | None) -> Node:
        """The layer as `propagate` takes it, with its present integers."""
        weights, bias = self.integers()
        shape = self.spec.map_shape
        edges = tuple(
            (edge, bound(edge, spec.shape_of(edge.source), shape, weight))
            for edge, weight in zip(self.edges, weights, strict=True)
        )
        if neuron is not None:
            for name in ("thetas", "steps", "factors"):
                if (values := getattr(self, name)) is not None:
                    setattr(neuron, name, by_neuron(values, shape))
        read = self.spec.readout
        leak = None if read is None else ReadoutParameters.from_spec(read)
        return Node(self.spec.name, edges, neuron, by_neuron(bias, shape), leak)


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
            IntegerLayer(layer, spec.coefficient_max(n), spec.edges(n), spec.weight_shapes(n))
            for n, layer in enumerate(spec.layers)
        )
        self.neurons = nn.ModuleList(
            TernaryLIF.from_spec(layer.neuron) for layer in spec.layers if layer.neuron is not None
        )
        wide = any(layer.weight_bits > NARROW_BITS for layer in spec.layers)
        if wide or spec.layers[-1].readout is not None:  # potentials times a factor of 12 bits
            self.double()

    def forward(self, pixels: Tensor) -> Activity:
        """Run pixels (n, size), whole numbers 0 .. pixel_max of any dtype, for all steps."""
        neurons = [*cast(list[TernaryLIF], list(self.neurons)), None]
        nodes = [
            layer.node(self.spec, neuron)
            for layer, neuron in zip(self.integer_layers, neurons, strict=True)
        ]
        spec, dropout = self.spec, self.training * self.dropout
        maps = as_maps(pixels.to(self.dtype), spec.shape_of(INPUT), spec.steps, spec.timed_input)
        return propagate(maps, nodes, spec.steps, dropout, spec.timed_input)

    @property
    def dtype(self) -> torch.dtype:
        """What the integers are kept in."""
        return self.integer_layers[0].bias.dtype

    @property
    def integer_layers(self) -> list[IntegerLayer]:
        """The layers in order, typed."""
        return cast(list[IntegerLayer], list(self.layers))

    @property
    def reads_mean(self) -> bool:
        """Logits are sums over all steps, whose mean is what a loss sees."""
        read = self.spec.layers[-1].readout
        return read is None or read.value == "sum"

    @property
    def logit_scale(self) -> float:
        """What one unit of an integer logit is worth in the float network."""
        last = self.integer_layers[-1]
        finer = 0 if last.spec.readout is None else last.spec.readout.fraction_bits
        return float(last.scale) / 2**finer

    @torch.no_grad()
    def load_network(self, network: Network) -> None:
        """Take the integers of a network of this network's specification."""
        assert network.spec == self.spec
        for layer, integers in zip(self.integer_layers, network.layers, strict=True):
            for master, kernel in zip(layer.kernels, integers.kernels, strict=True):
                master.copy_(torch.from_numpy(kernel.astype(np.float64)))
            bias = torch.from_numpy(integers.bias.astype(np.float64))
            layer.bias.copy_(bias / layer.coefficient_max)
            for name, given in CONSTANTS.items():
                if (values := getattr(integers, given)) is not None:
                    layer.get_buffer(name).copy_(torch.from_numpy(values))

    @torch.no_grad()
    def to_network(self, meta: Mapping[str, Any] | None = None) -> Network:
        """The network of the present integers.

        Raises
        ------
        QuantizeError
            When weights are not finite or all zero, or a sum may reach 2^24 (float64: 2^53).
        """
        weights, biases = [], []
        for layer in self.integer_layers:
            (kernels, b), name = layer.integers(), layer.spec.name
            w = torch.cat([kernel.flatten() for kernel in kernels])
            require_finite(name, w, b)
            if not w.any():
                raise QuantizeError(f"Weights of layer {name} must not all be zero once rounded")
            whole = [kernel.numpy().astype(np.int16) for kernel in kernels]
            weights.append(whole if layer.spec.edges else whole[0])
            # Whose range is checked: int32 would wrap, and what no int64 holds would be anything.
            biases.append(b.clamp(-WIDEST, WIDEST).numpy().astype(np.int64))
        own: dict[str, Any] = {
            given: tuple(_whole(getattr(layer, name)) for layer in self.integer_layers)
            for name, given in CONSTANTS.items()
        }
        network = Network(self.spec, tuple(weights), tuple(biases), meta or {}, **own)
        _require_exact(network, self.dtype)
        return network


def _whole(values: Tensor | None) -> npt.NDArray[np.int64] | None:
    """Constants, whose range is checked as that of biases; what is no number is in none."""
    if values is None:
        return None
    return values.nan_to_num(-WIDEST).clamp(-WIDEST, WIDEST).numpy().astype(np.int64)


def require_finite(name: str, weight: Tensor, bias: Tensor) -> None:
    for what, values in (("Weights", weight), ("Biases", bias)):
        if not bool(torch.isfinite(values).all()):
            raise QuantizeError(f"{what} of layer {name} must be finite, not NaN or infinite")


def _require_exact(network: Network, dtype: torch.dtype) -> None:
    for layer in network.layers:
        bound = layer.logit_bound
        if (read := layer.spec.readout) is not None:
            bound = max(bound, layer.integrated_bound * max(1, read.decay_factor))
        if layer.spec.neuron is not None:
            bound = max(layer.membrane_bound, layer.decay_bound)
        if bound >= 1 << EXACT_BITS[dtype]:
            raise QuantizeError(
                f"Sums of layer {layer.spec.name} must stay below 2^{EXACT_BITS[dtype]} to be "
                f"exact in {str(dtype).removeprefix('torch.')}, not reach {bound}"
            )
