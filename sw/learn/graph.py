"""A network of layers and edges in torch: one order of events for float, folded and integer ones.

Values travel as maps, (n, channels, rows, columns) where they are the same at every step and with
T in front where they are not. How maps lie in memory is left to the convolutions, which are faster
with the channels last.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hw.contract.edge import INPUT, EdgeSpec, Shape
from sw.learn.neuron import State, TernaryLIF

__all__ = ["Activity", "Drive", "Node", "as_maps", "bound", "by_neuron", "edge_drive", "propagate"]

MARGIN = (0.5, 1.5)
"""Drives, in thresholds, that a penalty on the excitation acts on."""

Drive = Callable[[Tensor], Tensor]
"""Makes a drive, as maps, of what an edge brings; both with n, or T and n, in front."""


class Activity(NamedTuple):
    """What a network did with n images.

    spike_maps, potential_maps
        One tensor (T, n, *maps), or of a chain (T, n, neurons), per firing layer: unit spikes
        -L .. L and stored potentials.
    drives, thetas
        One each per firing layer: drives (T, n, *maps), without T where constant; and the
        threshold in the drive's unit.
    logits
        (n, classes): the readout's drive added up over the T steps.
    """

    spike_maps: tuple[Tensor, ...]
    potential_maps: tuple[Tensor, ...]
    drives: tuple[Tensor, ...]
    thetas: tuple[float | Tensor, ...]
    logits: Tensor

    @property
    def spikes(self) -> tuple[Tensor, ...]:
        """One tensor (T, n, neurons) per firing layer; copies, where channels lie last."""
        return tuple(c.flatten(2) for c in self.spike_maps)

    @property
    def potentials(self) -> tuple[Tensor, ...]:
        """As `spikes`."""
        return tuple(u.flatten(2) for u in self.potential_maps)

    @property
    def excitation(self) -> Tensor:
        """Scalar: mean |drive| / theta, averaged over the firing layers.

        Each |drive| / theta counts as at least 0.5 and at most 1.5, so that its gradient moves only
        drives near the threshold: lowering it silences the marginal spikes and leaves the decided
        ones. (The spike rate has no gradient of its own: a neuron that fires is outside its
        surrogate window.)
        """
        means = [
            (drive.abs() / theta).clamp(*MARGIN).mean()
            for drive, theta in zip(self.drives, self.thetas, strict=True)
        ]
        return torch.stack(means).mean() if means else self.logits.new_zeros(())


class Node(NamedTuple):
    """A layer: what its edges do, its neurons (None for the readout), and a bias, as its maps, for
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


def edge_drive(edge: EdgeSpec, source: Shape, target: Shape) -> Callable[[Tensor, Tensor], Tensor]:
    """What an edge makes of maps (..., *source) and its weights (`EdgeSpec.weight_shape`): a drive
    (..., *maps)."""

    def drive(x: Tensor, kernel: Tensor) -> Tensor:
        maps = x.reshape(-1, *source)
        if edge.pool != 1:
            maps = functional.avg_pool2d(maps, edge.pool, divisor_override=1)
        if edge.kind == "dense":
            made = functional.linear(maps.flatten(1), kernel).reshape(-1, *target)
        elif edge.kind == "identity":
            made = maps * kernel
        else:
            made = functional.conv2d(
                maps, kernel, stride=edge.stride, padding=edge.padding, groups=edge.groups
            )
        if edge.shift:
            made = made * 2**edge.shift
        return made.unflatten(0, x.shape[:-3])

    return drive


def by_neuron(channels: Tensor, shape: Shape) -> Tensor:
    """(channels,) as maps of this shape."""
    return channels.reshape(-1, 1, 1).expand(shape)


def bound(edge: EdgeSpec, source: Shape, target: Shape, kernel: Tensor) -> Drive:
    """`edge_drive` with its weights."""
    drive = edge_drive(edge, source, target)
    return lambda x: drive(x, kernel)


def as_maps(pixels: Tensor, shape: Shape, steps: int, timed: bool) -> Tensor:
    """Rows of pixels, (n, size) or recordings (n, steps * size), as `propagate` takes them:
    (n, *shape) or (n, steps, *shape)."""
    return pixels.unflatten(1, (steps, *shape) if timed else shape)


def propagate(
    pixels: Tensor, nodes: Sequence[Node], steps: int, dropout: float = 0.0, timed: bool = False
) -> Activity:
    """Run a network for `steps` time steps on directly coded images, or on recordings.

    A drive that comes from the input alone is computed once and used at every step. Layers run one
    after the other, each over all its steps, which changes no value; only where something feeds
    back (an edge from the same or a later layer) does the whole network go step by step.

    Parameters
    ----------
    pixels
        (n, *maps) or (n, size), as the first drive expects them, in its unit.
    nodes
        In the order of the network, the readout last.
    dropout
        Share of the neurons whose spikes are not passed on, the same ones at all steps; those of
        the others are scaled up accordingly.
    timed
        Pixels are recordings: one image per step, (n, steps, *maps).
    """
    run = _Run(pixels.transpose(0, 1) if timed else pixels, steps, dropout, timed)
    known = {INPUT}
    for node in nodes:
        if any(edge.source not in known for edge, _ in node.edges):
            return run.step_by_step(nodes)
        known.add(node.name)
    return run.layer_by_layer(nodes)


class _Run:
    """One call of `propagate`."""

    def __init__(self, pixels: Tensor, steps: int, dropout: float, timed: bool) -> None:
        self.pixels, self.steps, self.dropout, self.timed = pixels, steps, dropout, timed
        self.masks: dict[str, Tensor] = {}

    def received_from(self, node: Node, c: Tensor, shape: torch.Size) -> Tensor:
        """What receivers get of unit spikes; `shape` is (n, *maps)."""
        assert node.neuron is not None
        sent = node.neuron.amplified(c)
        if not self.dropout:
            return sent
        if node.name not in self.masks:
            ones = torch.ones(shape, dtype=sent.dtype)
            self.masks[node.name] = functional.dropout(ones, self.dropout)
        return sent * self.masks[node.name]

    def layer_by_layer(self, nodes: Sequence[Node]) -> Activity:
        """Each layer over all its steps before the next."""
        sent = {INPUT: self.pixels}
        spikes, potentials, drives = [], [], []

        def received(edge: EdgeSpec) -> Tensor:
            x = sent[edge.source]
            return torch.cat([torch.zeros_like(x[:1]), x[:-1]]) if edge.delay else x

        for node in nodes[:-1]:
            assert node.neuron is not None
            drive = node.drive(received)
            c, u = node.neuron.over_time(drive, self.steps if self._constant(drive) else None)
            sent[node.name] = self.received_from(node, c, c.shape[1:])
            spikes.append(c)
            potentials.append(u)
            drives.append(drive)
        drive = nodes[-1].drive(received)
        logits = drive * self.steps if self._constant(drive) else drive.sum(dim=0)
        return _activity(nodes, spikes, potentials, drives, logits)

    def _constant(self, drive: Tensor) -> bool:
        """Whether a drive is the same at every step: it has come from an image alone."""
        return not self.timed and drive.ndim == self.pixels.ndim

    def step_by_step(self, nodes: Sequence[Node]) -> Activity:
        """All layers at one step before the next."""
        firing = nodes[:-1]
        states: dict[str, State | None] = {node.name: None for node in firing}
        history: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {node.name: [] for node in firing}
        before: dict[str, Tensor] = {}
        logits = torch.zeros(())
        for step in range(self.steps):
            now = {INPUT: self.pixels[step] if self.timed else self.pixels}

            def received(edge: EdgeSpec, now=now, before=before) -> Tensor:
                return (before if edge.delay else now)[edge.source]

            for node in firing:
                assert node.neuron is not None
                drive = self._drive(node, received, not before)
                c, state = node.neuron.step(drive, states[node.name])
                states[node.name] = state
                history[node.name].append((c, state.u, drive))
                now[node.name] = self.received_from(node, c, c.shape)
            logits = logits + self._drive(nodes[-1], received, not before)
            before = now
        layers = [
            [torch.stack(part) for part in zip(*history[node.name], strict=True)] for node in firing
        ]
        spikes, potentials, drives = ([layer[part] for layer in layers] for part in range(3))
        return _activity(nodes, spikes, potentials, drives, logits)

    def _drive(self, node: Node, received: Callable[[EdgeSpec], Tensor], first: bool) -> Tensor:
        """At the first step, nothing comes over an edge with a delay."""
        if not first:
            return node.drive(received)
        fresh = tuple(e for e in node.edges if not e[0].delay)
        if fresh:
            return node._replace(edges=fresh).drive(received)
        assert node.bias is not None
        n = self.pixels.shape[int(self.timed)]
        return node.bias.expand(n, *node.bias.shape)


def _activity(
    nodes: Sequence[Node],
    spikes: Sequence[Tensor],
    potentials: Sequence[Tensor],
    drives: Sequence[Tensor],
    logits: Tensor,
) -> Activity:
    neurons = [node.neuron for node in nodes if node.neuron is not None]
    thetas = tuple(
        (n.constants.theta if n.thetas is None else n.thetas) / 2.0**n.constants.fraction_bits
        for n in neurons
    )
    return Activity(tuple(spikes), tuple(potentials), tuple(drives), thetas, logits.flatten(1))
