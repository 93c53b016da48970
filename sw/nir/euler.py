"""A NIR graph run as it is written, by Euler's method in double precision.

This is the original that an imported NIR file is compared with. It knows nothing of layers and
edges: each node is computed for itself, at every time step.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sw.nir.graph import Graph, fires, kind_of, leaks
from sw.reading.conventions import TIE, Conventions
from sw.reading.network import Membrane, Run, readings

__all__ = ["input_gain", "simulate", "tied"]


def simulate(
    graph: Graph, x: Tensor, steps: int, conventions: Conventions, timed: bool = False
) -> Run:
    """Run a graph on x (n, *shape), the same at every step, or, timed, on x (T, n, *shape).

    A loop brings what its nodes make of the spikes of the step before, at the first step of none.
    The outputs of all steps are added up, flat; of potentials that leak, what is read of them
    (`Conventions.readout`).
    """
    euler = _Euler(graph, conventions, timed)
    firing = {name: node for name, node in graph.nodes.items() if fires(node)}
    sent = list[Tensor]()
    spikes = {name: list[Tensor]() for name in firing}
    kept = {name: list[Tensor]() for name in firing}
    for step in range(steps):
        made = euler.step(x[step] if timed else x)
        sent.append(made[graph.output].flatten(1))
        for name, node in firing.items():
            spikes[name].append(made[name].flatten(1))
            v = euler.potentials[name]
            kept[name].append((v / _by_neuron(node.v_threshold, v)).flatten(1))
    outputs = torch.stack(sent)
    value = conventions.readout if any(map(leaks, graph.nodes.values())) else "sum"
    late = conventions.reset == "subtract-later"
    tie = tied(conventions)
    return Run(
        readings(outputs)[value],
        tuple(torch.stack(layer) for layer in spikes.values()),
        tuple(Membrane(torch.stack(layer), late, tie) for layer in kept.values()),
    )


def tied(conventions: Conventions) -> float:
    """By what thresholds are multiplied, so that ties are what the conventions say."""
    return 1 + TIE if conventions.fires_at == "gt" else 1 - TIE


class _Euler:
    """The state of all neurons: potentials, synaptic currents, and spikes of the step before."""

    def __init__(self, graph: Graph, conventions: Conventions, timed: bool) -> None:
        self.graph, self.conventions, self.timed = graph, conventions, timed
        self.potentials: dict[str, Tensor] = {}
        self.currents: dict[str, Tensor] = {}
        self.spikes: dict[str, Tensor] = {}
        self.still: dict[str, Tensor] = {}
        """What is the same at every step: it is made of the input alone, which is no recording."""
        self.plain = {name: _function(node, conventions.dt) for name, node in graph.nodes.items()}

    def step(self, x: Tensor) -> dict[str, Tensor]:
        """What every node makes of the input at one time step."""
        if not self.spikes:  # of the step before the first; loops change no shape
            made = self._nodes(x, lambda name, current: torch.zeros_like(current), loops=False)
            self._remember(made)
        made = self._nodes(x, self._fire, loops=True)
        self._remember(made)
        return made

    def _remember(self, made: dict[str, Tensor]) -> None:
        self.spikes = {name: made[name] for name, node in self.graph.nodes.items() if fires(node)}

    def _nodes(
        self, x: Tensor, fire: Callable[[str, Tensor], Tensor], loops: bool
    ) -> dict[str, Tensor]:
        made = dict(self.still)
        for name, node in self.graph.nodes.items():
            if name in made:
                continue
            edges = self.graph.edges[name]
            given = [made[edge.source] for edge in edges if not edge.closes_loop]
            given += [x] * (name == self.graph.input)
            back = [edge.source for edge in edges if edge.closes_loop and loops]
            total = sum(given[1:], given[0])
            for source in back:
                total = total + self._before(source).reshape(total.shape)
            stays = fires(node) or leaks(node)
            made[name] = fire(name, total) if stays else self.plain[name](total)
            still = all(edge.source in self.still and not edge.closes_loop for edge in edges)
            if still and not stays and not self.timed:
                self.still[name] = made[name]
        return made

    def _before(self, name: str) -> Tensor:
        """What a node makes of the spikes of the step before."""
        if name in self.spikes:
            return self.spikes[name]
        parts = [self._before(edge.source) for edge in self.graph.edges[name]]
        return self.plain[name](sum(parts[1:], parts[0]))

    def _fire(self, name: str, current: Tensor) -> Tensor:
        """Integrate, fire, reset; what leaks and does not fire sends its potential."""
        node = self.graph.nodes[name]
        if leaks(node):
            before = self.potentials.get(name, torch.zeros_like(current))
            self.potentials[name] = before + self._change(node, before, current)
            return self.potentials[name]
        threshold = _by_neuron(node.v_threshold, current)
        before = self.potentials.get(name)
        v = torch.zeros_like(current) if before is None else before
        late = self.conventions.reset == "subtract-later"
        owed = self.spikes[name] * threshold if late else 0.0
        if kind_of(node) == "CubaLIF":
            current = self._integrate(name, current)
        if kind_of(node) in ("LIF", "CubaLIF"):
            v = v + self._change(node, v, current) - owed
        else:
            v = v + current * _by_neuron(input_gain(node, self.conventions.dt), current) - owed
        z = (v >= threshold * tied(self.conventions)).to(v.dtype)
        if self.conventions.limit > 1:
            count = torch.floor(v / (threshold * tied(self.conventions)))
            z = count.clamp(0, self.conventions.limit)
        if self.conventions.reset == "zero":
            v = v * (z == 0)
        elif not late:
            v = v - z * threshold
        self.potentials[name] = v
        return z

    def _change(self, node: Any, v: Tensor, current: Tensor) -> Tensor:
        """What a step adds to the potential of a node that leaks."""
        tau = node.tau_mem if kind_of(node) == "CubaLIF" else node.tau
        part = self.conventions.dt / _by_neuron(tau, current)
        leak, r = _by_neuron(node.v_leak, current), _by_neuron(node.r, current)
        return part * (leak - v + r * current)

    def _integrate(self, name: str, received: Tensor) -> Tensor:
        """The synaptic current of a CubaLIF at the end of the step, by which its potential moves:
        so do Norse and snnTorch, which export it, and all others we know of."""
        node = self.graph.nodes[name]
        part = self.conventions.dt / _by_neuron(node.tau_syn, received)
        before = self.currents.get(name)
        i = torch.zeros_like(received) if before is None else before
        i = self.currents[name] = i + part * (_by_neuron(node.w_in, received) * received - i)
        return i


def input_gain(node: Any, dt: float) -> Any:
    """What an `IF` or `I` counts its input times, a number or an array: R a step; 1, where R is
    1 / dt, as SpikingJelly writes it so that dt * R is 1. (With Euler's dt * R the files of all
    others, in which R is 1, would be silent.)"""
    r = np.asarray(node.r, dtype=np.float64)
    return 1.0 if bool(np.all(np.abs(r * dt - 1) <= TIE)) else r


def _by_neuron(value: Any, like: Tensor) -> Any:
    """A parameter as one number, or shaped like what the neurons receive, without n."""
    array = np.asarray(value, dtype=np.float64)
    if array.size == 1:
        return float(array.reshape(()))
    tensor = torch.from_numpy(array)
    if array.size == like[0].numel():
        return tensor.reshape(like.shape[1:])
    return tensor.reshape(-1, *(1,) * (like.ndim - 2))  # by channel


def _function(node: Any, dt: float) -> Callable[[Tensor], Tensor]:
    """What a node without a state does with values (n, ...)."""
    kind = kind_of(node)
    if kind in ("Linear", "Affine"):
        weight = torch.from_numpy(np.asarray(node.weight, dtype=np.float64))
        bias = (
            torch.from_numpy(np.asarray(node.bias, dtype=np.float64)) if kind == "Affine" else None
        )

        def matrix(x: Tensor) -> Tensor:
            flat = x if x.shape[-1] == weight.shape[1] and x.ndim > 1 else x.flatten(1)
            return functional.linear(flat, weight, bias)

        return matrix
    if kind in ("Conv1d", "Conv2d"):
        weight = torch.from_numpy(np.asarray(node.weight, dtype=np.float64))
        bias = _biases(node, len(weight))
        convolve = functional.conv1d if kind == "Conv1d" else functional.conv2d
        sizes = {
            key: _sides(getattr(node, key), weight.ndim - 2)
            for key in ("stride", "padding", "dilation")
        }
        return lambda x: convolve(x, weight, bias, groups=int(node.groups), **sizes)
    if kind in ("SumPool2d", "AvgPool2d"):
        kernel, stride, padding = (
            _sides(value, 2) for value in (node.kernel_size, node.stride, node.padding)
        )
        factor = kernel[0] * kernel[1] if kind == "SumPool2d" else 1
        return lambda x: functional.avg_pool2d(x, kernel, stride, padding) * factor
    if kind == "Scale":
        return lambda x: x * _by_neuron(node.scale, x)
    if kind == "I":
        return lambda x: x * _by_neuron(input_gain(node, dt), x)
    if kind == "Flatten":
        return lambda x: x.flatten(1)
    return lambda x: x


def _biases(node: Any, n: int) -> Tensor:
    return torch.from_numpy(np.broadcast_to(np.ravel(node.bias).astype(np.float64), n).copy())


def _sides(value: Any, n: int) -> Any:
    """Sides of a kernel, one or for each axis."""
    if isinstance(value, (str, bytes)):
        return value.decode() if isinstance(value, bytes) else value
    sides = [int(side) for side in np.atleast_1d(np.asarray(value))]
    return tuple(sides * n if len(sides) == 1 else sides)
