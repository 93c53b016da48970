"""Networks in NIR files: which node is what of the contract.

`graph` reads the file and puts its nodes in order, `euler` runs them as they are written; here
they become modules of torch, which `sw.importers.maps` makes layers of, and neurons.
"""

import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hw.contract.edge import INPUT
from sw.importers.affine import Cause, ConvertError
from sw.importers.layers import AffineLayer
from sw.importers.maps import read_maps
from sw.importers.modules import Leaf
from sw.importers.trace import Before, Step, Sum
from sw.learn.neuron import LIFParameters, NeuronError, ReadoutParameters
from sw.nir.euler import input_gain, simulate, tied
from sw.nir.graph import INPUTS, OUTPUTS, Graph, fires, kind_of, read_nir
from sw.reading.conventions import TIE, Conventions
from sw.reading.decay import current_fields, decay_fields, decays_of, joined
from sw.reading.network import (
    SHAPE_UNKNOWN,
    Finding,
    Foreign,
    LeakyReadout,
    Neuron,
    Reading,
    Run,
    findings_of,
    folded_network,
    own_causes,
    per_channel,
)

__all__ = ["NirNetwork", "layer_names", "open_file"]

Reals = npt.NDArray[np.float64]
Shape = tuple[int, ...]
Decays = tuple[dict[str, Any], str, Tensor | None]
"""As of `decays_of`."""
Lowered = tuple[list[nn.Module], Shape | None]
"""Modules that do what a node does, and the shape of what it makes, where that is known."""


DAMAGE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a node raises that holds anything, or lacks what its kind has."""


class Fires(nn.Module):
    """Stands for a node that fires; its parameters are a `Neuron`'s."""


class NirNetwork(Foreign):
    """A NIR graph.

    Parameters
    ----------
    graph
        Of `sw.nir.graph`.
    conventions
        What the file does not say.
    """

    framework = "NIR"
    unlike = (
        "Network gives something else, run as the file has it, than what was read of it: such a "
        "graph is not known well enough to be imported"
    )

    def __init__(self, graph: Graph, conventions: Conventions | None = None) -> None:
        self.graph = graph
        self.conventions = conventions if conventions is not None else Conventions()

    @property
    def leaves(self) -> Sequence[Leaf]:
        return ()

    @property
    def shape(self) -> Shape | None:
        return None if self.written is None else _in_maps(self.written)

    @cached_property
    def written(self) -> Shape | None:
        """Of an input, as the file has it; None where it has none, or what is no shape."""
        try:
            return self._written_shape()
        except DAMAGE:
            return None

    def _written_shape(self) -> Shape | None:
        """Of an input, as the file has it: of the node Input, or by what takes it first."""
        given = self.graph.nodes[self.graph.input].input_type
        shape = _as_shape(given.get("input") if isinstance(given, dict) else given)
        if shape is not None:
            return shape[-3:] if len(shape) == 4 else shape  # Norse writes a batch, too
        for name, edges in self.graph.edges.items():
            node = self.graph.nodes[name]
            if any(edge.source == self.graph.input for edge in edges):
                if kind_of(node) in ("Linear", "Affine"):
                    return (int(np.shape(node.weight)[-1]),)
                if fires(node) and np.size(node.v_threshold) > 1:
                    return tuple(np.shape(node.v_threshold))
                if kind_of(node) in ("Conv1d", "Conv2d") and node.input_shape is not None:
                    sides = np.atleast_1d(np.asarray(node.input_shape))
                    return (int(np.shape(node.weight)[1] * node.groups), *map(int, sides))
        return None

    def read(
        self,
        shape: Sequence[int] | None,
        *,
        steps: int,
        pixel_max: int,
        front: Sequence[nn.Module] = (),
        timed: bool = False,
    ) -> Reading:
        given = None if shape is None else _in_maps(tuple(shape))
        lowering = _Lowering(self.graph, self.conventions, given)
        return lowering.reading(steps, pixel_max, front, timed)

    @torch.no_grad()
    def run(self, x: Tensor, steps: int, timed: bool = False) -> Run:
        if self.written is not None:
            x = x.reshape(*x.shape[: 1 + timed], *self.written)
        return simulate(self.graph, x, steps, self.conventions, timed)


def open_file(path: Path, conventions: Conventions) -> NirNetwork:
    """The network in a file.

    Raises
    ------
    ConvertError
        See `sw.nir.graph.read_nir`.
    """
    return NirNetwork(read_nir(path), conventions)


def layer_names(nodes: Sequence[str]) -> dict[str, str]:
    """Names of layers by those of nodes, which may be `0`, or `lif1.w_rec`."""
    names: dict[str, str] = {}
    for node in nodes:
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", node).strip("_")[:48]
        if not re.match(r"[A-Za-z]", plain) or plain == INPUT:
            plain = f"layer_{plain}".rstrip("_")
        title, n = plain, 1
        while title in names.values():
            n += 1
            title = f"{plain}_{n}"
        names[node] = title
    return names


def _as_shape(value: Any) -> Shape | None:
    if value is None:
        return None
    sides = [int(side) for side in np.atleast_1d(np.asarray(value)) if side is not None]
    return tuple(sides) if sides and all(side > 0 for side in sides) else None


def _in_maps(shape: Shape) -> Shape:
    """A row of values, or maps: signals (channels, samples) are maps of one row."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


class _Lowering:
    """Makes steps of a graph's nodes, and gathers what is wrong with them."""

    def __init__(self, graph: Graph, conventions: Conventions, shape: Shape | None) -> None:
        self.graph, self.conventions, self.input_shape = graph, conventions, shape
        self.places = {name: f"{name} ({kind_of(node)})" for name, node in graph.nodes.items()}
        fire = [name for name, node in graph.nodes.items() if fires(node)]
        self.names = layer_names(fire)
        self.layers_at = {self.places[name]: title for name, title in self.names.items()}
        self.causes: list[Cause] = []
        self.notes: dict[str, str] = {}
        self.neurons: dict[str, Neuron] = {}
        self.readout: LeakyReadout | None = None
        self.shapes: dict[str, Shape | None] = {}
        self.modules: dict[str, list[nn.Module]] = {}
        self.steps: list[Step] = []

    def reading(
        self, steps: int, pixel_max: int, front: Sequence[nn.Module], timed: bool
    ) -> Reading:
        for name, node in self.graph.nodes.items():
            try:
                self._lower(name, node)
            except ConvertError as error:
                self.causes.append(Cause(self.places[name], str(error)))
            except DAMAGE:
                # A node from a file may hold anything, or lack what its kind has.
                self.causes.append(Cause(self.places[name], "is damaged"))
        layers, shape = [], self.input_shape
        if shape is None:
            self.causes.append(SHAPE_UNKNOWN)
        elif not self.causes:
            layers = self._layers(shape, front)
            self.causes += own_causes(self.neurons, layers)
        findings = self._findings(layers)
        if self.causes or shape is None:
            return Reading(findings=findings)
        folded = folded_network(
            layers,
            [*self.neurons.values()],
            shape=shape,
            steps=steps,
            pixel_max=pixel_max,
            readout=self.readout and self.readout.parameters,
            timed=timed,
        )
        return Reading(findings=findings, folded=folded)

    def _layers(self, shape: Shape, front: Sequence[nn.Module]) -> list[AffineLayer]:
        made = [Step(INPUT, (INPUT,), module) for module in front]
        self.steps = self._all_steps()
        try:
            return read_maps([*made, *self.steps], shape, "neurons that fire", self.layers_at)
        except ConvertError as error:
            by_step = {step.place: self._place_of(step.place) for step in self.steps}
            self.causes += [
                Cause(by_step.get(cause.place, cause.place), cause.problem) for cause in error.named
            ]
            return []

    def _place_of(self, step: str) -> str:
        """The node that a step is made of."""
        return step.partition(" | ")[0]

    # Steps

    def _all_steps(self) -> list[Step]:
        """The nodes as steps: sums of what they receive, then their modules."""
        self._made: dict[tuple[str, bool], str] = {}
        steps: list[Step] = []
        for name, node in self.graph.nodes.items():
            if fires(node) or name == self.graph.output:
                self._add(steps, name, before=False)
        return steps

    def _add(self, steps: list[Step], name: str, before: bool) -> str:
        """The place of what a node makes, or made of the spikes of the step before."""
        key = (name, before)
        if key in self._made:
            return self._made[key]
        place = self.places[name]
        mark = f"{place} | before" if before else place
        node = self.graph.nodes[name]
        if before and fires(node):
            shape = self.shapes[name]
            assert shape is not None
            # Named after the layer, which is made later: a step of no module.
            steps.append(Step(mark, (place,), Before(shape)))
            return self._made.setdefault(key, mark)
        sources = [INPUT] * (name == self.graph.input)
        for edge in self.graph.edges[name]:
            sources.append(self._add(steps, edge.source, before or edge.closes_loop))
        here = sources[0]
        for n, source in enumerate(sources[1:], 1):
            steps.append(Step(f"{mark} | sum {n}", (here, source), Sum()))
            here = steps[-1].place
        modules = self.modules[name]
        for n, module in enumerate(modules, 1):
            title = mark if n == len(modules) else f"{mark} | {n}"
            steps.append(Step(title, (here,), module))
            here = title
        return self._made.setdefault(key, here)

    # Nodes

    def _received(self, name: str) -> Shape | None:
        """Shape of what a node receives; None where it is not known, behind what is refused."""
        if name == self.graph.input:
            return self.input_shape
        shapes = [
            self.shapes.get(edge.source) for edge in self.graph.edges[name] if not edge.closes_loop
        ]
        known = [shape for shape in shapes if shape is not None]
        for shape in known[1:]:
            if shape != known[0]:
                raise ConvertError(f"adds values of one shape, not {known[0]} and {shape}")
        return known[0] if len(known) == len(shapes) and known else None

    def _lower(self, name: str, node: Any) -> None:
        kind = kind_of(node)
        self.shapes[name] = None
        shape = self._received(name)
        if fires(node) or kind in REFUSED:  # whatever is wrong with it, behind it the shape is this
            self.shapes[name] = shape
        rule = RULES.get(kind)
        if rule is None:
            raise ConvertError(REFUSED.get(kind, f"is not supported: {KNOWN}"))
        if kind in ("I", "LI") and not self._ends(name):
            raise ConvertError("integrates without firing within the network: it may only end it")
        self.modules[name], made = rule(self, name, node, shape)
        if made is not None and math.prod(made) > MAX_VALUES:
            raise ConvertError(f"makes {math.prod(made):,} values, and a layer has at most 2^20")
        self.shapes[name] = made

    def _ends(self, name: str) -> bool:
        into = [
            other for other, edges in self.graph.edges.items() for e in edges if e.source == name
        ]
        return all(kind_of(self.graph.nodes[other]) == OUTPUTS for other in into)

    def _neuron(self, name: str, node: Any, shape: Shape | None) -> Lowered:
        problems = _sizes(node, shape)
        theta, at_reset = _numbers(node.v_threshold), _numbers(node.v_reset)
        if (theta <= 0).any():
            problems.append(f"must have a positive threshold, not {theta.min():g}")
        if at_reset.any():
            value = at_reset[at_reset != 0].flat[0]
            problems.append(f"must reset to 0, not to {value:g}: count its potentials from there")
        try:
            gain, offset, kept, decays = self._integration(name, node)
            if not problems:
                scale: Reals = np.ones(())
                if decays[2] is None:
                    # One threshold for all: the contract's units are a neuron's own.
                    scale, theta = theta.max() / theta, theta.max(keepdims=True)
                    if bool((scale != 1).any()):
                        self._note(name, "thresholds that differ are in the weights")
                self._fire(name, theta, kept, decays, shape)
                modules = self._gains(name, gain * scale, offset * scale, shape)
                return [*modules, Fires()], shape
        except ConvertError as error:
            problems.append(str(error))
        raise ConvertError("; ".join(problems))

    def _fire(
        self, name: str, theta: Reals, kept: Reals, decays: Decays, shape: Shape | None
    ) -> None:
        """Note the neurons of a node, which fire at these thresholds."""
        reset = self.conventions.reset
        if reset == "subtract-later" and bool((kept <= TIE).any()):
            raise ConvertError(
                "subtracts a step late from what is not kept (tau is the time step): use --reset "
                "subtract, or a longer tau"
            )
        steps = {"zero": np.zeros(1), "subtract": theta}.get(reset, theta / np.maximum(kept, TIE))
        fields, by, factors = decays
        thetas = theta * tied(self.conventions)
        try:
            parameters = LIFParameters(
                theta=float(thetas.max()),
                negative="off",
                limit=self.conventions.limit,
                reset="hard" if reset == "zero" else "soft",
                step=float(steps.max()),
                **fields,
            )
        except NeuronError as error:
            raise ConvertError(f"is no neuron of the contract: {error}") from None
        own = {"thetas": thetas, "steps": steps, "factors": factors}
        each = {
            field: torch.from_numpy(_spread(np.asarray(values), shape))
            for field, values in own.items()
            if values is not None and shape is not None and factors is not None
            if np.asarray(values).size > 1
        }
        self.neurons[self.places[name]] = Neuron(self.names[name], parameters, by, **each)

    def _note(self, name: str, text: str) -> None:
        place = self.places[name]
        self.notes[place] = f"{self.notes[place]}; {text}" if place in self.notes else text

    def _integration(self, name: str, node: Any) -> tuple[Reals, Reals, Reals, Decays]:
        """What the input counts times, what is added, the part of a potential that is kept, and the
        decay of that."""
        dt = self.conventions.dt
        if kind_of(node) == "IF":
            gain = np.asarray(input_gain(node, dt), dtype=np.float64)
            r = _numbers(node.r)
            if (r != gain).any():
                self._note(name, f"R = 1 / dt = {r.flat[0]:g} counts as 1 a step")
            elif (gain != 1).any():
                self._note(name, f"R = {gain.max():g} counts a step, not a second")
            return gain, np.zeros(()), np.ones(()), ({"decay": "none", "decay_shift": 0}, "", None)
        if kind_of(node) == "CubaLIF":
            return self._cuba(node)
        tau = _numbers(node.tau)
        if (tau <= 0).any():
            raise ConvertError(f"must have a positive tau, not {tau.min():g}")
        if float(tau.max() - tau.min()) <= TIE * float(tau.max()):
            tau = tau.flat[:1]
        part = dt / tau
        if (part > 1 + TIE).any():
            raise ConvertError(
                f"has tau = {tau.min():g} s, shorter than the time step of {dt:g} s: give with "
                "--dt the one that it was trained with (Norse writes tau times its time step: of "
                "0.001 s, --dt 1e-6)"
            )
        kept = np.maximum(0.0, 1 - part)
        decays = decays_of(torch.from_numpy(kept))
        leak = _numbers(node.v_leak)
        if leak.any():
            self._note(name, "v_leak is a bias")
        return _numbers(node.r) * part, leak * part, kept, decays

    def _part(self, node: Any, name: str) -> float:
        """What decays in a step, by the time constant of this name."""
        tau, dt = _numbers(getattr(node, name)), self.conventions.dt
        if (tau <= 0).any():
            raise ConvertError(f"must have a positive {name}, not {tau.min():g}")
        if float(tau.max() - tau.min()) > TIE * float(tau.max()):
            raise ConvertError(
                f"must have one {name} for all its neurons, not {tau.min():g} to {tau.max():g}: a "
                "layer for each"
            )
        part = dt / float(tau.flat[0])
        if part > 1 + TIE:
            raise ConvertError(
                f"has {name} = {tau.flat[0]:g} s, shorter than the time step of {dt:g} s: give "
                "with --dt the one that it was trained with (Norse writes tau times its time step: "
                "of 0.001 s, --dt 1e-6)"
            )
        return part

    def _cuba(self, node: Any) -> tuple[Reals, Reals, Reals, Decays]:
        """`_integration` of a potential behind a synaptic current, whose units are free: both gains
        are in what it receives."""
        leak, r, weight = (_numbers(getattr(node, name)) for name in ("v_leak", "r", "w_in"))
        if leak.any():
            raise ConvertError(
                f"must have v_leak = 0, not {leak[leak != 0].flat[0]:g}: of neurons with a "
                "synaptic current, a bias is in the current; count its potentials from there"
            )
        slow, fast = self._part(node, "tau_mem"), self._part(node, "tau_syn")
        fields, by = decay_fields(max(0.0, 1 - slow))
        current, also = current_fields(max(0.0, 1 - fast))
        gain = r * slow * weight * fast
        return gain, np.zeros(()), np.array([1 - slow]), (fields | current, joined(by, also), None)

    def _gains(self, name: str, gain: Reals, offset: Reals, shape: Shape | None) -> list[nn.Module]:
        """x * gain + offset."""
        if not (gain != 1).any() and not offset.any():
            return []
        if shape is None:
            return []
        if gain.size == 1 and offset.size == 1:
            n = shape[0]
            ones = torch.ones(n, dtype=torch.float64)
            return [per_channel(shape, ones * gain.item(), ones * offset.item())]
        gain, offset = (_spread(values, shape) for values in (gain, offset))
        rows = [values.reshape(shape[0], -1) for values in (gain, offset)]
        if all(np.allclose(row, row[:, :1], rtol=TIE, atol=0) for row in rows):
            return [per_channel(shape, *(torch.from_numpy(row[:, 0]) for row in rows))]
        flat = (math.prod(shape),)
        flats = (torch.from_numpy(values.ravel()) for values in (gain, offset))
        made: list[nn.Module] = [nn.Flatten(), per_channel(flat, *flats)]
        return [*made, nn.Unflatten(1, shape)] if len(shape) > 1 else made

    def _plain(self, name: str, node: Any, shape: Shape | None) -> Lowered:
        return [], shape

    def _output(self, name: str, node: Any, shape: Shape | None) -> Lowered:
        return [nn.Flatten()] * (name == self.graph.output), shape

    def _flatten(self, name: str, node: Any, shape: Shape | None) -> Lowered:
        return [nn.Flatten()], None if shape is None else (math.prod(shape),)

    def _scale(self, name: str, node: Any, shape: Shape | None) -> Lowered:
        scale = _numbers(node.scale)
        if shape is not None and scale.size not in (1, shape[0], math.prod(shape)):
            raise ConvertError(f"scales {scale.size} values, and gets {'x'.join(map(str, shape))}")
        return self._gains(name, scale, np.zeros(()), shape), shape

    def _integrator(self, name: str, node: Any, shape: Shape | None) -> Lowered:
        if problems := _sizes(node, shape):
            raise ConvertError(problems[0])
        gain = np.asarray(input_gain(node, self.conventions.dt), dtype=np.float64)
        return self._gains(name, gain, np.zeros(()), shape), shape

    def _leaky(self, name: str, node: Any, shape: Shape | None) -> Lowered:
        if problems := _sizes(node, shape):
            raise ConvertError(problems[0])
        gain, offset, _, (fields, by, factors) = self._integration(name, node)
        if factors is not None:
            tau = _numbers(node.tau)
            raise ConvertError(
                f"must have one tau for all its potentials, not {tau.min():g} to {tau.max():g}: a "
                "readout has one decay"
            )
        read = ReadoutParameters(value=self.conventions.readout, **fields)
        self.readout = LeakyReadout(self.places[name], read, by)
        self._note(name, "say with --readout which of its potentials is read")
        return self._gains(name, gain, offset, shape), shape

    def _matrix(self, name: str, node: Any, shape: Shape | None) -> Lowered:
        weight = _numbers(node.weight)
        if weight.ndim != 2:
            raise ConvertError(f"must have a matrix of two axes, not {weight.ndim}")
        outputs, inputs = weight.shape
        bias = _numbers(node.bias).ravel() if kind_of(node) == "Affine" else np.zeros(outputs)
        if bias.size not in (1, outputs):
            raise ConvertError(f"must have {outputs} biases, not {bias.size}")
        made: list[nn.Module] = []
        if shape is not None and len(shape) > 1 and math.prod(shape) == inputs != shape[-1]:
            made.append(nn.Flatten())
            shape = (inputs,)
        before = shape or (inputs,)
        if before[-1] != inputs:
            got = "x".join(map(str, before))
            raise ConvertError(f"takes {inputs} values, and gets {got}")
        linear = nn.Linear(inputs, outputs, dtype=torch.float64)
        linear.weight.data = torch.from_numpy(weight)
        linear.bias.data = torch.from_numpy(np.broadcast_to(bias, outputs).copy())
        return [*made, linear], (*before[:-1], outputs)

    def _convolution(self, name: str, node: Any, shape: Shape | None) -> Lowered:
        weight, flat = _numbers(node.weight), kind_of(node) == "Conv1d"
        axes = 1 if flat else 2
        if weight.ndim != axes + 2:
            raise ConvertError(f"must have a kernel of {axes + 2} axes, not {weight.ndim}")
        settings = {
            key: _sides(getattr(node, key), axes) for key in ("stride", "padding", "dilation")
        }
        if flat:
            weight = weight[:, :, None]
            settings = {
                key: value if isinstance(value, str) else (0 if key == "padding" else 1, *value)
                for key, value in settings.items()
            }
        channels, groups = weight.shape[1] * int(node.groups), int(node.groups)
        conv = nn.Conv2d(
            channels,
            weight.shape[0],
            cast(Any, weight.shape[2:]),
            groups=groups,
            dtype=torch.float64,
            **cast(Any, settings),
        )
        conv.weight.data = torch.from_numpy(np.ascontiguousarray(weight))
        bias = _numbers(node.bias).ravel()
        conv.bias = nn.Parameter(torch.from_numpy(np.broadcast_to(bias, len(weight)).copy()))
        made: list[nn.Module] = [conv]
        if shape is None:
            return made, None
        if len(shape) != 3 or shape[0] != channels:
            got = "x".join(map(str, shape))
            raise ConvertError(f"takes maps of {channels} channels, and gets {got}")
        return made, _shape_behind(conv, shape)

    def _pooling(self, name: str, node: Any, shape: Shape | None) -> Lowered:
        kernel, stride, padding = (
            cast(tuple[int, int], _sides(value, 2))
            for value in (node.kernel_size, node.stride, node.padding)
        )
        pool = nn.AvgPool2d(
            kernel, stride, padding, divisor_override=1 if kind_of(node) == "SumPool2d" else None
        )
        if shape is None:
            return [pool], None
        if len(shape) != 3:
            raise ConvertError(f"takes maps, and gets {shape}")
        return [pool], _shape_behind(pool, shape)

    # Findings

    def _findings(self, layers: Sequence[Any]) -> tuple[Finding, ...]:
        """About the nodes, each once."""
        steps = []
        for name in self.graph.nodes:
            if kind_of(self.graph.nodes[name]) not in (INPUTS, OUTPUTS):
                sources = tuple(self.places[edge.source] for edge in self.graph.edges[name])
                modules = self.modules.get(name, ())
                shown = next((m for m in modules if isinstance(m, MAIN)), nn.Identity())
                if kind_of(self.graph.nodes[name]) in ("Scale", "I", "LI"):
                    shown = nn.BatchNorm1d(1)
                steps.append(Step(self.places[name], sources, shown))
        found = findings_of(steps, self.neurons, self.layers_at, self.causes, layers, self.notes)
        if self.readout is not None:
            found = tuple(self.readout.told(finding) for finding in found)
        unused = tuple(
            Finding(node=f"{name} ({kind_of(node)})", becomes="nothing: no output comes of it")
            for name, node in self.graph.unused.items()
        )
        told = tuple(Finding(node="file", becomes=note) for note in self.graph.notes)
        return (*told, *found, *unused)


MAIN = (nn.Linear, nn.Conv2d, nn.AvgPool2d, Fires)
"""By which a node is described."""

Rule = Callable[[_Lowering, str, Any, Shape | None], Lowered]

RULES: Mapping[str, Rule] = {
    "Affine": _Lowering._matrix,
    "AvgPool2d": _Lowering._pooling,
    "Conv1d": _Lowering._convolution,
    "Conv2d": _Lowering._convolution,
    "CubaLIF": _Lowering._neuron,
    "Flatten": _Lowering._flatten,
    "I": _Lowering._integrator,
    "IF": _Lowering._neuron,
    INPUTS: _Lowering._plain,
    "LI": _Lowering._leaky,
    "LIF": _Lowering._neuron,
    "Linear": _Lowering._matrix,
    OUTPUTS: _Lowering._output,
    "Scale": _Lowering._scale,
    "SumPool2d": _Lowering._pooling,
}

KNOWN = f"of NIR's nodes, {', '.join(sorted({*RULES} - {INPUTS, OUTPUTS}))} are read"

REFUSED = {
    "CubaLI": "is a readout that leaks, with a synaptic current, which no readout has: end in "
    "an LI, in the Linear before it, or in neurons that fire, which are counted",
    "Delay": "delays spikes by times of its own, and only a loop may, by one step: train without",
    "Threshold": "fires without a potential that stays: use LIF or IF",
}


# Values of nodes


def _numbers(value: Any) -> Reals:
    """A parameter, finite.

    Raises
    ------
    ConvertError
        When it is not.
    """
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ConvertError("must have finite parameters, not NaN or infinite ones")
    return array


PARAMETERS = ("tau", "tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset")


def _sizes(node: Any, shape: Shape | None) -> list[str]:
    """What is wrong with the sizes of a node's parameters: one for all, for each channel, or for
    each neuron."""
    if shape is None:
        return []
    good = {1, shape[0], math.prod(shape)}
    for name in PARAMETERS:
        size = np.size(getattr(node, name, 1.0))
        if size not in good:
            return [f"has {name} of {size} neurons, and gets {'x'.join(map(str, shape))} values"]
    return []


def _spread(values: Reals, shape: Shape) -> Reals:
    """Parameters of every neuron: of one number, of one per channel, or of all."""
    if values.size == 1:
        return np.full(shape, float(values.reshape(())))
    if values.size == math.prod(shape):
        return values.reshape(shape)
    return np.broadcast_to(values.reshape(-1, *(1,) * (len(shape) - 1)), shape)


def _sides(value: Any, axes: int) -> Any:
    """One for each axis; a word stays."""
    if isinstance(value, (str, bytes)):
        return value.decode() if isinstance(value, bytes) else value
    sides = [int(side) for side in np.atleast_1d(np.asarray(value))]
    if len(sides) not in (1, axes):
        raise ConvertError(f"must have one side, or {axes}, not {len(sides)}")
    return tuple(sides * axes if len(sides) == 1 else sides)


MAX_VALUES = 1 << 20
"""Most that a layer sends, as the contract has it."""


@torch.no_grad()
def _shape_behind(module: nn.Module, shape: Shape) -> Shape:
    """Of what a module makes; nothing is computed."""
    try:
        none = torch.zeros(1, *shape, dtype=torch.float64, device="meta")
        return tuple(copy.deepcopy(module).to("meta")(none).shape[1:])
    except (RuntimeError, ValueError):
        raise ConvertError(f"does not fit maps of {'x'.join(map(str, shape))}") from None
