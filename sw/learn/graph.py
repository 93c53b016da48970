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
from sw.learn.neuron import ReadoutParameters, State, TernaryLIF, read_out

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
        (n, classes): the readout's drive added up over the T steps, or what is read of one that
        leaks.
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
    what the edges do not add themselves; of a readout, its leak, if it has one."""

    name: str
    edges: tuple[tuple[EdgeSpec, Drive], ...]
    neuron: TernaryLIF | None
    bias: Tensor | None = None
    readout: ReadoutParameters | None = None

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
    after the other, each over all its steps, which changes no value; only layers of which one feeds
    back (an edge from itself or from a later one) go step by step, together, with what they receive
    from others computed before.

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
    return run.through(nodes, _groups(nodes[:-1]))


def _groups(nodes: Sequence[Node]) -> list[Sequence[Node]]:
    """Firing layers in their order: by itself each that feeds back into none before it; together
    those that one feeds back over."""
    place = {node.name: n for n, node in enumerate(nodes)}
    groups, start = [], 0
    while start < len(nodes):
        end = at = start
        while at <= end:
            end = max(end, *(place.get(edge.source, 0) for edge, _ in nodes[at].edges))
            at += 1
        groups.append(nodes[start : end + 1])
        start = end + 1
    return groups


Layer = tuple[Tensor, Tensor, Tensor]
"""Of a firing layer: spikes, potentials, drives."""


class _Run:
    """One call of `propagate`."""

    def __init__(self, pixels: Tensor, steps: int, dropout: float, timed: bool) -> None:
        self.pixels, self.steps, self.dropout, self.timed = pixels, steps, dropout, timed
        self.sent = {INPUT: pixels}
        self.masks: dict[str, Tensor] = {}

    def through(self, nodes: Sequence[Node], groups: Sequence[Sequence[Node]]) -> Activity:
        """Each group of firing layers over all its steps before the next, the readout last."""
        layers: list[Layer] = []
        for group in groups:
            alone = len(group) == 1 and all(e.source != group[0].name for e, _ in group[0].edges)
            layers += [self._layer(group[0])] if alone else self._loop(group)
        drive = nodes[-1].drive(self._received)
        constant, leak = self._constant(drive), nodes[-1].readout
        if leak is not None:
            logits = read_out([drive] * self.steps if constant else [*drive], leak)
        else:
            logits = drive * self.steps if constant else drive.sum(dim=0)
        return _activity(nodes, layers, logits)

    def _received(self, edge: EdgeSpec) -> Tensor:
        """What a layer that has run sent over an edge, at all steps."""
        x = self.sent[edge.source]
        return torch.cat([torch.zeros_like(x[:1]), x[:-1]]) if edge.delay else x

    def _passed_on(self, node: Node, c: Tensor, shape: torch.Size) -> Tensor:
        """What receivers get of unit spikes; `shape` is (n, *maps)."""
        assert node.neuron is not None
        sent = node.neuron.amplified(c)
        if not self.dropout:
            return sent
        if node.name not in self.masks:
            ones = torch.ones(shape, dtype=sent.dtype)
            self.masks[node.name] = functional.dropout(ones, self.dropout)
        return sent * self.masks[node.name]

    def _constant(self, drive: Tensor) -> bool:
        """Whether a drive is the same at every step: it has come from an image alone."""
        return not self.timed and drive.ndim == self.pixels.ndim

    def _layer(self, node: Node) -> Layer:
        """A layer over all its steps."""
        assert node.neuron is not None
        drive = node.drive(self._received)
        c, u = node.neuron.over_time(drive, self.steps if self._constant(drive) else None)
        self.sent[node.name] = self._passed_on(node, c, c.shape[1:])
        return c, u, drive

    def _loop(self, group: Sequence[Node]) -> list[Layer]:
        """Layers at one step before the next."""
        ahead = [self._ahead(node) for node in group]
        within = [
            node._replace(edges=tuple(e for e in node.edges if e[0].source not in self.sent))
            for node in group
        ]
        states: list[State | None] = [None] * len(group)
        history: list[list[tuple[Tensor, ...]]] = [[] for _ in group]
        before: dict[str, Tensor] = {}
        for step in range(self.steps):
            now: dict[str, Tensor] = {}

            def received(edge: EdgeSpec, now=now, before=before) -> Tensor:
                return (before if edge.delay else now)[edge.source]

            for n, (node, others) in enumerate(zip(within, ahead, strict=True)):
                assert node.neuron is not None
                base = others
                if others is not None and others.ndim == self._whole:
                    base = others[step]
                # At the first step, nothing comes over an edge with a delay.
                edges = node.edges if step else tuple(e for e in node.edges if not e[0].delay)
                drive = node._replace(edges=edges, bias=base).drive(received)
                c, state = node.neuron.step(drive, states[n])
                states[n], now[node.name] = state, self._passed_on(node, c, c.shape)
                history[n].append((c, state.u, drive, now[node.name]))
            before = now
        layers = []
        for node, steps in zip(group, history, strict=True):
            c, u, drive, self.sent[node.name] = (torch.stack(x) for x in zip(*steps, strict=True))
            layers.append((c, u, drive))
        return layers

    @property
    def _whole(self) -> int:
        """Axes of maps at all steps."""
        return self.pixels.ndim + (not self.timed)

    def _ahead(self, node: Node) -> Tensor | None:
        """What a layer of a loop receives from layers that have run, at all steps, or (n, *maps),
        the same at each; None: nothing, and it has no bias but what its edges add."""
        known = tuple(e for e in node.edges if e[0].source in self.sent)
        if known:
            return node._replace(edges=known).drive(self._received)
        if node.bias is None:
            return None
        return node.bias.expand(self.pixels.shape[int(self.timed)], *node.bias.shape)


def _activity(nodes: Sequence[Node], layers: Sequence[Layer], logits: Tensor) -> Activity:
    spikes, potentials, drives = zip(*layers, strict=True) if layers else ((), (), ())
    neurons = [node.neuron for node in nodes if node.neuron is not None]
    thetas = tuple(
        (n.constants.theta if n.thetas is None else n.thetas) / 2.0**n.constants.fraction_bits
        for n in neurons
    )
    return Activity(spikes, potentials, drives, thetas, logits.flatten(1))
