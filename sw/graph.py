"""A network of layers and edges in torch: one order of events for float, folded and integer ones.

Values travel as flat rows, (n, size) where they are the same at every step and (T, n, size) where
they are not; an edge's function gives them the shape of its maps by itself.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hw.spec import INPUT, EdgeSpec, Shape
from sw.neuron import State, TernaryLIF

__all__ = ["Activity", "Drive", "Node", "bound", "by_neuron", "chain", "edge_drive", "propagate"]

MARGIN = (0.5, 1.5)
"""Drives, in thresholds, that a penalty on the excitation acts on."""

Drive = Callable[[Tensor], Tensor]
"""Maps what an edge brings, (..., inputs), to a drive (..., neurons)."""


class Activity(NamedTuple):
    """What a network did with n images.

    spikes, potentials
        One tensor (T, n, neurons) per firing layer: unit spikes -L .. L and stored potentials.
    logits
        (n, classes): the readout's drive added up over the T steps.
    excitation
        Scalar: mean |drive| / theta, averaged over the firing layers. Each |drive| / theta counts
        as at least 0.5 and at most 1.5, so that its gradient moves only drives near the threshold:
        lowering it silences the marginal spikes and leaves the decided ones. (The spike rate has
        no gradient of its own: a neuron that fires is outside its surrogate window.)
    """

    spikes: tuple[Tensor, ...]
    potentials: tuple[Tensor, ...]
    logits: Tensor
    excitation: Tensor


class Node(NamedTuple):
    """A layer: what its edges do, its neurons (None for the readout), and a bias (neurons,) for
    what the edges do not add themselves."""

    name: str
    edges: tuple[tuple[EdgeSpec, Drive], ...]
    neuron: TernaryLIF | None
    bias: Tensor | None = None

    def drive(self, received: Callable[[EdgeSpec], Tensor]) -> Tensor:
        """The sum over all edges, by what is received over each."""
        total = self.bias
        for edge, function in self.edges:
            part = function(received(edge))
            total = part if total is None else total + part
        assert total is not None
        return total


def chain(drives: Sequence[Drive], neurons: Sequence[TernaryLIF]) -> list[Node]:
    """Layers that each receive from the one before; one neuron per layer but the last."""
    nodes, source = [], INPUT
    for n, drive in enumerate(drives):
        neuron = neurons[n] if n < len(neurons) else None
        name = f"hidden{n + 1}" if neuron is not None else "readout"
        nodes.append(Node(name, ((EdgeSpec(source=source), drive),), neuron))
        source = name
    return nodes


def edge_drive(edge: EdgeSpec, source: Shape) -> Callable[[Tensor, Tensor], Tensor]:
    """What an edge makes of values (..., source) and its weights (`EdgeSpec.weight_shape`): a drive
    (..., neurons)."""

    def drive(x: Tensor, kernel: Tensor) -> Tensor:
        maps = x.reshape(-1, *source)
        if edge.pool > 1:
            maps = functional.avg_pool2d(maps, edge.pool, divisor_override=1)
        if edge.kind == "dense":
            made = functional.linear(maps.flatten(1), kernel)
        elif edge.kind == "identity":
            made = maps * kernel
        else:
            made = functional.conv2d(
                maps, kernel, stride=edge.stride, padding=edge.padding, groups=edge.groups
            )
        return made.reshape(*x.shape[:-1], -1)

    return drive


def by_neuron(channels: Tensor, shape: Shape) -> Tensor:
    """(channels,) as (neurons,) of maps of this shape."""
    return channels.repeat_interleave(shape[1] * shape[2])


def bound(edge: EdgeSpec, source: Shape, kernel: Tensor) -> Drive:
    """`edge_drive` with its weights."""
    drive = edge_drive(edge, source)
    return lambda x: drive(x, kernel)


def propagate(
    pixels: Tensor, nodes: Sequence[Node], steps: int, dropout: float = 0.0,
    timed: bool = False,
) -> Activity:  # fmt: skip
    """Run a network for `steps` time steps on directly coded images, or on recordings.

    A drive that comes from the input alone is computed once and used at every step. Layers run one
    after the other, each over all its steps, which changes no value; only where something feeds
    back (an edge from the same or a later layer) does the whole network go step by step.

    Parameters
    ----------
    pixels
        (n, size), in whatever unit the first drive expects.
    nodes
        In the order of the network, the readout last.
    dropout
        Share of the neurons that are not heard, the same ones at all steps; of the others each is
        heard as much more.
    timed
        Each row of pixels is a recording: one image per step, (n, steps * size).
    """
    if timed:
        pixels = pixels.unflatten(1, (steps, -1)).transpose(0, 1)
    run = _Run(pixels, steps, dropout)
    known = {INPUT}
    for node in nodes:
        if any(edge.source not in known for edge, _ in node.edges):
            return run.step_by_step(nodes)
        known.add(node.name)
    return run.layer_by_layer(nodes)


class _Run:
    """One call of `propagate`."""

    def __init__(self, pixels: Tensor, steps: int, dropout: float) -> None:
        self.pixels, self.steps, self.dropout = pixels, steps, dropout
        self.excitation = torch.zeros((), dtype=pixels.dtype)
        self.masks: dict[str, Tensor] = {}

    def heard(self, node: Node, c: Tensor, shape: torch.Size) -> Tensor:
        """What receivers get of unit spikes; `shape` is (n, neurons)."""
        assert node.neuron is not None
        sent = node.neuron.amplified(c)
        if not self.dropout:
            return sent
        if node.name not in self.masks:
            ones = torch.ones(shape, dtype=sent.dtype)
            self.masks[node.name] = functional.dropout(ones, self.dropout)
        return sent * self.masks[node.name]

    def excite(self, neuron: TernaryLIF, drive: Tensor, share: float) -> None:
        p, unit = neuron.constants, 2.0**neuron.constants.fraction_bits
        thetas = p.theta if neuron.thetas is None else neuron.thetas
        relative = drive.abs() * unit / thetas
        self.excitation = self.excitation + share * relative.clamp(*MARGIN).mean()

    def layer_by_layer(self, nodes: Sequence[Node]) -> Activity:
        """Each layer over all its steps before the next."""
        sent = {INPUT: self.pixels}
        spikes, potentials = [], []

        def received(edge: EdgeSpec) -> Tensor:
            x = sent[edge.source]
            return torch.cat([torch.zeros_like(x[:1]), x[:-1]]) if edge.delay else x

        for node in nodes[:-1]:
            assert node.neuron is not None
            drive = node.drive(received)
            self.excite(node.neuron, drive, 1 / (len(nodes) - 1))
            constant = drive.ndim == 2
            c, u = node.neuron.over_time(drive, self.steps if constant else None)
            sent[node.name] = self.heard(node, c, c.shape[1:])
            spikes.append(c)
            potentials.append(u)
        drive = nodes[-1].drive(received)
        constant = drive.ndim == 2
        logits = drive * self.steps if constant else drive.sum(dim=0)
        return Activity(tuple(spikes), tuple(potentials), logits, self.excitation)

    def step_by_step(self, nodes: Sequence[Node]) -> Activity:
        """All layers at one step before the next."""
        firing = nodes[:-1]
        states: dict[str, State | None] = {node.name: None for node in firing}
        history: dict[str, list[tuple[Tensor, Tensor]]] = {node.name: [] for node in firing}
        before: dict[str, Tensor] = {}
        logits = torch.zeros(())
        for step in range(self.steps):
            now = {INPUT: self.pixels if self.pixels.ndim == 2 else self.pixels[step]}

            def received(edge: EdgeSpec, now=now, before=before) -> Tensor:
                return (before if edge.delay else now)[edge.source]

            for node in firing:
                assert node.neuron is not None
                drive = self._drive(node, received, not before)
                self.excite(node.neuron, drive, 1 / (len(firing) * self.steps))
                c, state = node.neuron.step(drive, states[node.name])
                states[node.name] = state
                history[node.name].append((c, state.u))
                now[node.name] = self.heard(node, c, c.shape)
            logits = logits + self._drive(nodes[-1], received, not before)
            before = now
        return Activity(
            tuple(torch.stack([c for c, _ in history[node.name]]) for node in firing),
            tuple(torch.stack([u for _, u in history[node.name]]) for node in firing),
            logits,
            self.excitation,
        )

    def _drive(self, node: Node, received: Callable[[EdgeSpec], Tensor], first: bool) -> Tensor:
        """At the first step, nothing comes over an edge with a delay."""
        if not first:
            return node.drive(received)
        fresh = tuple(e for e in node.edges if not e[0].delay)
        if fresh:
            return node._replace(edges=fresh).drive(received)
        assert node.bias is not None
        return node.bias.expand(self.pixels.shape[-2], -1)
