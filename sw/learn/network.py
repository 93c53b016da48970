"""The float network that the first phases of training train.

Its layers are made from plans (`sw.learn.plan`): convolutions, dense edges, pooling, residual
shortcuts, recurrence. Every convolution and every dense edge into firing neurons has a batch-norm
of its own, as the blocks of *Ternary Spike*'s residual networks do; an identity and an edge with a
delay have none. `sw.learn.graph.propagate` is shared with the folded and the integer network.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.contract.checks import SpecError
from hw.contract.edge import EdgeSpec, Shape
from sw.learn.graph import Activity, Drive, Node, as_maps, by_neuron, propagate
from sw.learn.neuron import LIFParameters, ReadoutParameters, TernaryLIF, straight_through
from sw.learn.plan import LayerPlan, is_dense_chain, plan_shapes

__all__ = ["Edge", "FloatNetwork", "Layer", "rounded", "spike_rate", "time_mean_loss"]


def rounded(weight: Tensor, bits: int, rows: int) -> Tensor:
    """Weights on a symmetric grid of 2^bits - 1 values, with the gradient of what they were.

    Each of `rows` equal parts, channels or the whole of a layer, has a step of its own; its largest
    weights are clipped where a bell-shaped row then has about the least error. They become the
    largest of the grid, so that `sw.learn.quantize.best_scale` finds the same step again.
    """
    most, flat = 2 ** (bits - 1) - 1, weight.detach().reshape(rows, -1)
    spread = flat.square().mean(dim=1, keepdim=True).sqrt()
    peak = torch.minimum(flat.abs().amax(dim=1, keepdim=True), (bits + 1) / 2 * spread)
    step = (peak / most).clamp(min=torch.finfo(flat.dtype).tiny)
    grid = (flat / step).round().clamp(-most, most) * step
    return straight_through(weight, grid.reshape(weight.shape))


class Edge(nn.Module):
    """One edge: average pooling, weights, batch-norm."""

    def __init__(
        self, edge: EdgeSpec, source: Shape, target: Shape, *, norm: bool, bias: bool = False
    ) -> None:
        super().__init__()
        self.edge, self.source, self.target = edge, source, target
        channels, rows, columns = edge.pooled(source)
        self.weights: nn.Conv2d | nn.Linear | None = None
        if edge.kind == "conv":
            self.weights = nn.Conv2d(
                channels,
                target[0],
                edge.kernel,
                edge.stride,
                edge.padding,
                groups=edge.groups,
                bias=bias,
            )
        elif edge.kind == "dense":
            self.weights = nn.Linear(channels * rows * columns, math.prod(target), bias=bias)
        self.norm = nn.BatchNorm2d(target[0]) if norm and edge.kind != "identity" else None
        self.weight_bits: int | None = None

    @property
    def kernel(self) -> Tensor:
        """The weights as they are used: rounded, where `weight_bits` says to how many bits."""
        assert self.weights is not None
        weight = self.weights.weight
        if self.weight_bits is None:
            return weight
        return rounded(weight, self.weight_bits, 1 if self.norm is None else self.target[0])

    def forward(self, x: Tensor) -> Tensor:
        """Drive (..., *maps) of maps."""
        maps = x.reshape(-1, *self.source)
        if self.edge.pool != 1:
            maps = functional.avg_pool2d(maps, self.edge.pool)
        if self.edge.kind == "dense":
            maps = maps.flatten(1)
        if self.weights is not None:
            kernel, bias, edge = self.kernel, self.weights.bias, self.edge
            if edge.kind == "conv":
                maps = functional.conv2d(
                    maps, kernel, bias, edge.stride, edge.padding, groups=edge.groups
                )
            else:
                maps = functional.linear(maps, kernel, bias)
        if self.edge.kind == "dense":
            maps = maps.reshape(-1, *self.target)
        if self.norm is not None:
            maps = self.norm(maps)
        return maps.unflatten(0, x.shape[:-3])


class Layer(nn.Module):
    """Edges and neurons of a layer; `neuron` None, and a bias, for the readout.

    The readout of a dense chain keeps its bias in its edge's Linear, which draws it at random and
    sums its gradient in another order; that of any other network starts at zero, beside the edges.
    Each seed thereby still gives the network that it gave before the two were one class.
    """

    def __init__(
        self,
        plan: LayerPlan,
        shapes: dict[str, Shape],
        neuron: TernaryLIF | None,
        *,
        bias_in_edge: bool = False,
        leak: ReadoutParameters | None = None,
    ) -> None:
        super().__init__()
        self.leak = leak
        self.plan, self.shape, self.neuron = plan, shapes[plan.name], neuron
        if self.shape[0] != plan.channels:
            raise SpecError(
                f"Layer {plan.name} must have {self.shape[0]} channels, not {plan.channels}"
            )
        for edge in plan.edges:
            if edge.source not in shapes:
                raise SpecError(
                    f"Layer {plan.name} has an edge from {edge.source}, which is no layer"
                )
            edge.weight_shape(shapes[edge.source], self.shape, plan.name)
        readout = neuron is None
        self.edges = nn.ModuleList(
            Edge(
                edge,
                shapes[edge.source],
                self.shape,
                norm=not readout and not edge.delay,
                bias=readout and bias_in_edge,
            )
            for edge in plan.edges
        )
        own_bias = readout and not bias_in_edge
        self.bias = nn.Parameter(torch.zeros(self.shape[0])) if own_bias else None

    @property
    def edge_modules(self) -> list[Edge]:
        """The edges in order, typed."""
        return cast(list[Edge], list(self.edges))

    def node(self) -> Node:
        """The layer as `propagate` takes it."""
        edges = tuple((part.edge, cast(Drive, part)) for part in self.edge_modules)
        bias = self.bias
        if bias is not None:
            bias = by_neuron(bias, self.shape)
        return Node(self.plan.name, edges, self.neuron, bias, self.leak)


class FloatNetwork(nn.Module):
    """Ternary-spike network on pixels 0 .. pixel_max.

    Parameters
    ----------
    input_shape, plans
        Channels, rows, columns of an image; the layers in order, the readout last.
    steps
        Time steps T.
    pixel_max
        Largest pixel; pixels are divided by it on entry.
    neuron
        Constants of all firing neurons.
    train_amplitude
        Whether each firing layer's spike amplitude is trained or stays 1.
    timed
        As `NetworkSpec.timed_input`: pixels are (n, steps * size).
    readout
        Of a readout that leaks; None: it adds up its drives.

    Raises
    ------
    SpecError
        See `plan_shapes`; and for edges whose maps do not fit their layer.
    """

    logit_scale = 1.0
    """What one unit of a logit is worth; integer networks have a smaller unit."""

    dropout = 0.0
    """Of `propagate`, while training."""

    def __init__(
        self,
        input_shape: Shape,
        plans: Sequence[LayerPlan],
        *,
        steps: int,
        pixel_max: int,
        neuron: LIFParameters | None = None,
        train_amplitude: bool = True,
        timed: bool = False,
        readout: ReadoutParameters | None = None,
    ) -> None:
        super().__init__()
        self.input_shape, self.steps, self.pixel_max = input_shape, steps, pixel_max
        self.timed = timed
        self.is_chain = is_dense_chain(plans) and not timed
        shapes = plan_shapes(input_shape, plans)
        last = plans[-1].name
        if any(edge.source == last for plan in plans for edge in plan.edges):
            raise SpecError(f"Layer {last} is the readout: no edge may come from it")
        neurons = [TernaryLIF(neuron, train_amplitude=train_amplitude) for _ in plans[1:]]
        self.layers = nn.ModuleList(
            Layer(
                plan,
                shapes,
                fires,
                bias_in_edge=self.is_chain,
                leak=readout if fires is None else None,
            )
            for plan, fires in zip(plans, [*neurons, None], strict=True)
        )

    def forward(self, pixels: Tensor) -> Activity:
        """Run pixels (n, size), any dtype, for all steps."""
        scaled = pixels.to(next(self.parameters()).dtype) / self.pixel_max
        scaled = as_maps(scaled, self.input_shape, self.steps, self.timed)
        nodes = [layer.node() for layer in self.float_layers]
        return propagate(scaled, nodes, self.steps, self.training * self.dropout, self.timed)

    @property
    def reads_mean(self) -> bool:
        """Logits are sums over all steps, whose mean is what a loss sees."""
        leak = self.float_layers[-1].leak
        return leak is None or leak.value == "sum"

    @property
    def float_layers(self) -> list[Layer]:
        """The layers in order, typed."""
        return cast(list[Layer], list(self.layers))

    def round_weights(self, bits: int | None) -> None:
        """Use weights of so many bits (`rounded`), or, for None, as they are."""
        for layer in self.float_layers:
            for edge in layer.edge_modules:
                edge.weight_bits = bits


def time_mean_loss(logits: Tensor, labels: Tensor, steps: int, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the readout's mean over time (*Ternary Spike*, training section)."""
    return functional.cross_entropy(logits / steps, labels, label_smoothing=smoothing)


def spike_rate(spikes: Sequence[Tensor]) -> Tensor:
    """Mean |c| over layers, neurons, steps and images: events per neuron and step, 0 to 1, unless
    neurons are soft."""
    if not spikes:
        return torch.zeros(())
    events = [c.abs().sum() for c in spikes]
    return torch.stack(events).sum() / sum(c.numel() for c in spikes)
