"""Float networks of maps: convolutions, pooling, residual shortcuts, recurrence, ready to train.

`LayerPlan` says what a layer receives; shapes follow. Every convolution and every dense edge into
firing neurons has a batch-norm of its own, as the blocks of *Ternary Spike*'s residual networks do;
an identity and an edge with a delay have none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.contract.checks import SpecError
from hw.contract.edge import INPUT, EdgeSpec, Shape
from sw.learn.graph import Activity, Drive, Node, as_maps, by_neuron, propagate
from sw.learn.neuron import LIFParameters, TernaryLIF

__all__ = ["LayerPlan", "MapEdge", "MapLayer", "MapNetwork", "plan_shapes"]


@dataclass(frozen=True)
class LayerPlan:
    """A layer of a network of maps: its name, its channels, what it receives. The last one of a
    network is the readout."""

    name: str
    channels: int
    edges: tuple[EdgeSpec, ...]


def plan_shapes(input_shape: Shape, plans: Sequence[LayerPlan]) -> dict[str, Shape]:
    """Shape of the input and of every layer, by name: what each layer's first edge without a delay
    makes. (`NetworkSpec` checks the others against it.)

    Raises
    ------
    SpecError
        When a layer has no such edge, or its source comes later.
    """
    shapes = {INPUT: input_shape}
    for plan in plans:
        first = next((edge for edge in plan.edges if not edge.delay), None)
        if first is None or first.source not in shapes:
            raise SpecError(f"Layer {plan.name} must receive from an earlier layer without a delay")
        shapes[plan.name] = first.made(shapes[first.source], plan.channels)
    return shapes


class MapEdge(nn.Module):
    """One edge: average pooling, weights, batch-norm."""

    def __init__(self, edge: EdgeSpec, source: Shape, target: Shape, *, norm: bool) -> None:
        super().__init__()
        self.edge, self.source = edge, source
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
                bias=False,
            )
        elif edge.kind == "dense":
            self.weights = nn.Linear(channels * rows * columns, math.prod(target), bias=False)
        self.norm = nn.BatchNorm2d(target[0]) if norm and edge.kind != "identity" else None
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        """Drive (..., *maps) of maps."""
        maps = x.reshape(-1, *self.source)
        if self.edge.pool > 1:
            maps = functional.avg_pool2d(maps, self.edge.pool)
        if self.edge.kind == "dense":
            maps = maps.flatten(1)
        if self.weights is not None:
            maps = self.weights(maps)
        if self.edge.kind == "dense":
            maps = maps.reshape(-1, *self.target)
        if self.norm is not None:
            maps = self.norm(maps)
        return maps.unflatten(0, x.shape[:-3])


class MapLayer(nn.Module):
    """Edges and neurons of a layer; `neuron` None, and a bias, for the readout."""

    def __init__(
        self, plan: LayerPlan, shapes: dict[str, Shape], neuron: TernaryLIF | None
    ) -> None:
        super().__init__()
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
        self.edges = nn.ModuleList(
            MapEdge(
                edge, shapes[edge.source], self.shape, norm=neuron is not None and not edge.delay
            )
            for edge in plan.edges
        )
        self.bias = nn.Parameter(torch.zeros(self.shape[0])) if neuron is None else None

    @property
    def map_edges(self) -> list[MapEdge]:
        """The edges in order, typed."""
        return cast(list[MapEdge], list(self.edges))

    def node(self) -> Node:
        """As `propagate` takes it."""
        edges = tuple((part.edge, cast(Drive, part)) for part in self.map_edges)
        bias = self.bias
        if bias is not None:
            bias = by_neuron(bias, self.shape)
        return Node(self.plan.name, edges, self.neuron, bias)


class MapNetwork(nn.Module):
    """Ternary-spike network of maps on pixels 0 .. pixel_max.

    Parameters
    ----------
    input_shape, plans
        Channels, rows, columns of an image; the layers in order, the readout last.
    steps, pixel_max, neuron, train_amplitude
        As in `sw.learn.model.DenseNetwork`.
    timed
        As `NetworkSpec.timed_input`: pixels are (n, steps * size).

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
    ) -> None:
        super().__init__()
        self.input_shape, self.steps, self.pixel_max = input_shape, steps, pixel_max
        self.timed = timed
        shapes = plan_shapes(input_shape, plans)
        readout = plans[-1].name
        if any(edge.source == readout for plan in plans for edge in plan.edges):
            raise SpecError(f"Layer {readout} is the readout: no edge may come from it")
        neurons = [TernaryLIF(neuron, train_amplitude=train_amplitude) for _ in plans[1:]]
        self.layers = nn.ModuleList(
            MapLayer(plan, shapes, fires)
            for plan, fires in zip(plans, [*neurons, None], strict=True)
        )

    def forward(self, pixels: Tensor) -> Activity:
        """Run pixels (n, size), any dtype, for all steps."""
        scaled = pixels.to(next(self.parameters()).dtype) / self.pixel_max
        scaled = as_maps(scaled, self.input_shape, self.steps, self.timed)
        nodes = [layer.node() for layer in self.map_layers]
        return propagate(scaled, nodes, self.steps, self.training * self.dropout, self.timed)

    @property
    def map_layers(self) -> list[MapLayer]:
        """The layers in order, typed."""
        return cast(list[MapLayer], list(self.layers))
