"""Quantised graphs (QONNX, QuantizeLinear) as neurons that count, in one step.

A rounding behind a ReLU, or one without a sign, is a layer of neurons (`sw.importers.counting`);
one in front of everything is left out, for pixels are rounded already. Weights were computed from
their integers when the graph was translated.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from hw.contract.edge import INPUT
from sw.importers.affine import Cause, ConvertError, kind
from sw.importers.counting import counting, one_step
from sw.importers.modules import Leaf
from sw.importers.trace import Step, Unread
from sw.onnx.calls import Clipped, Rounded
from sw.onnx.reference import Reference
from sw.onnx.report import findings
from sw.onnx.rounding import MODES
from sw.onnx.translate import Translation
from sw.reading.network import Foreign, Reading, Run
from sw.watch.described import NO_POTENTIALS, Described, Node

__all__ = ["QuantisedNetwork"]

ACTIVATION = "a ReLU and a Quant of at most 4 bits"

FRONT = {"BatchNorm1d", "BatchNorm2d", "Flatten", "Identity", "Unflatten"}
"""What may stand before a rounding of pixels."""


class QuantisedNetwork(Foreign):
    """A quantised ReLU network.

    Parameters
    ----------
    made
        What its graph was made of.
    """

    framework = "ONNX, quantised"
    unlike = (
        "Network must compute what its nodes were read as: onnx makes something else of it, which "
        "is an error of Sterna's: please report it"
    )

    def __init__(self, made: Translation) -> None:
        self.made = made
        resolved = self.resolved = _resolved(made.steps)
        left_out = {}
        for node in made.needed:
            if node.place in resolved.front:
                left_out[node.outputs[0]] = _source(made, node.place)
        self.reference = Reference(made.graph, made.needed, left_out)

    @property
    def leaves(self) -> Sequence[Leaf]:
        return [(step.place, step.module) for step in self.resolved.steps]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.made.shape

    def read(
        self,
        shape: Sequence[int] | None,
        *,
        steps: int,
        pixel_max: int,
        front: Sequence[nn.Module] = (),
        timed: bool = False,
    ) -> Reading:
        one_step(steps, timed)
        found = self.resolved
        notes = dict(found.notes)
        for place, module in found.front.items():
            ahead = [*front, *found.behind[place]]
            notes[place] = LEFT_OUT + _changed(module, ahead, shape or self.shape, pixel_max)
        before = [Step(INPUT, (INPUT,), module) for module in front]
        chain = [*before, *_without_softmax(found.steps)]
        causes = list(found.causes)
        refused = any(isinstance(step.module, Unread) for step in found.steps)
        if not (found.names or causes or refused):
            causes.append(Cause("", f"it has no neurons: it needs {ACTIVATION}"))
        described = Described(chain, found.names, found.nodes, causes, notes)
        reading = described.reading(ACTIVATION, shape or self.shape, steps, pixel_max)
        return replace(reading, findings=findings(self.made, reading.findings, found.parts))

    def run(self, x: Tensor, steps: int, timed: bool = False) -> Run:
        one_step(steps, timed)
        outputs = {node.place: node.outputs[0] for node in self.made.needed}
        last = _without_softmax(self.resolved.steps)[-1].place
        names = [outputs[place] for place in (last, *self.resolved.nodes)]
        logits, *made = self.reference.run(x, names)
        nodes = self.resolved.nodes.values()
        spikes = [
            (value.flatten(1) / node.amplitude)[None]
            for value, node in zip(made, nodes, strict=True)
        ]
        return Run(logits, tuple(spikes), (NO_POTENTIALS,) * len(spikes))


LEFT_OUT = "left out, in the comparison too: pixels are rounded already"


@torch.no_grad()
def _changed(
    module: Rounded, before: Sequence[nn.Module], shape: Sequence[int], pixel_max: int
) -> str:
    """By how much a rounding of pixels, or of what is made of them, would change one, in words."""
    if any(kind(one).__name__ not in FRONT for one in before):
        return ""  # pixels of either sign: which of them stand together is not known here
    most = largest = 0.0
    for pixel in range(pixel_max + 1):
        x = torch.full((1, *shape), pixel / pixel_max, dtype=torch.float64)
        for one in before:
            x = one(x)
        sides = (-1, *(1,) * (x.ndim - 2))
        scale, zero = (part.reshape(sides).numpy() for part in (module.scale, module.zero))
        whole = np.clip(x.numpy() / scale + zero, module.low, module.high)
        made = (MODES[module.rounding](whole) - zero) * scale
        most = max(most, float(np.abs(made - x.numpy()).max()))
        largest = max(largest, float(x.abs().max()))
    return f"; it would change one by at most {most:.2g}, of {largest:.2g}"


def _without_softmax(steps: Sequence[Step]) -> list[Step]:
    """A softmax at the end changes no class."""
    last = isinstance(steps[-1].module, (nn.Softmax, nn.LogSoftmax)) and len(steps) > 1
    return [*steps[:-1]] if last else [*steps]


def _source(made: Translation, place: str) -> str:
    """The value that a rounding is made of; of several nodes, the first one's."""
    makers = {name: node for node in made.needed for name in node.outputs}
    node = next(node for node in made.needed if node.place == place)
    if node.kind == "DequantizeLinear":
        while node.kind != "QuantizeLinear":
            node = makers[node.inputs[0]]
    return node.inputs[0]


@dataclass(frozen=True, eq=False)
class _Resolved:
    """Steps of which it is known what each rounding is.

    Parameters
    ----------
    steps
        In the order in which they run.
    names, nodes, causes, notes
        As of `sw.watch.described.Described`.
    front, behind
        By place: roundings of pixels, and what is done with them before, in order.
    parts
        By place: steps that are part of neurons, and the place of those.
    """

    steps: list[Step]
    names: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    causes: list[Cause] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    front: dict[str, Rounded] = field(default_factory=dict)
    behind: dict[str, list[nn.Module]] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)


def _resolved(steps: Sequence[Step]) -> _Resolved:
    by_place = {step.place: step for step in steps}
    found = _Resolved([])
    for step in steps:
        if not isinstance(step.module, Rounded):
            continue
        before = _before(step, by_place)
        if all(kind(module).__name__ in FRONT for module in before):
            found.front[step.place], found.behind[step.place] = step.module, before
            continue
        found.names[step.place] = f"hidden{len(found.names) + 1}"
        _neurons(step, by_place, found)
    takers: dict[str, list[Step]] = {}
    for step in steps:
        for place in step.inputs:
            takers.setdefault(place, []).append(step)
    for step in steps:
        found.steps.append(_settled(step, takers, found))
    return found


def _before(step: Step, by_place: Mapping[str, Step]) -> list[nn.Module]:
    """The modules that what it takes has come through; of a sum, along its first path."""
    found = list[nn.Module]()
    while step.inputs[0] != INPUT:
        step = by_place[step.inputs[0]]
        found.append(step.module)
    return found[::-1]


def _neurons(step: Step, by_place: Mapping[str, Step], found: _Resolved) -> None:
    """What neurons a rounding is, with the ReLUs and bounds before it."""
    module = step.module
    assert isinstance(module, Rounded)
    low, high, here = float(module.low), float(module.high), step
    scale = float(module.scale.max())
    while here.inputs[0] in by_place:
        here = by_place[here.inputs[0]]
        before = here.module
        if isinstance(before, nn.ReLU):
            low = max(low, 0.0)
        elif isinstance(before, Clipped) and before.low <= 0 < before.high:
            # Rounding keeps the order, so what is cut off first is cut off at what that becomes.
            low = max(low, 0.0) if before.low == 0 else low
            high = min(high, float(MODES[module.rounding](np.asarray(before.high / scale))))
        elif not isinstance(before, nn.Identity):
            break
        found.parts[here.place] = step.place
    plain = low == 0 and not bool(module.zero.any()) and math.isfinite(high)
    try:
        made = counting(int(high), module.scale, module.rounding, plain=plain)
    except ConvertError as error:
        found.causes.append(Cause(step.place, str(error)))
        return
    found.nodes[step.place] = Node(made.parameters, amplitude=made.amplitude, start=made.start)
    found.notes[step.place] = f"spikes of {made.amplitude:g}, in the weights behind them"


def _settled(step: Step, takers: Mapping[str, Sequence[Step]], found: _Resolved) -> Step:
    """A step as it is read."""
    module, place = step.module, step.place
    if place in found.front:
        return replace(step, module=nn.Identity())
    if not isinstance(module, (nn.ReLU, Clipped)):
        return step
    goals = _goals(place, takers)
    known = [goal for goal in goals if not isinstance(goal.module, Unread)]
    whole = bool(goals) and all(goal.place in found.names for goal in known)
    if not whole or (place not in found.parts and known == goals):
        found.causes.append(Cause(place, f"must be rounded wherever it goes: use {ACTIVATION}"))
    return replace(step, module=nn.Identity())


def _goals(place: str, takers: Mapping[str, Sequence[Step]]) -> list[Step]:
    """The steps that do something else with a value than to bound it."""
    found = []
    for taker in takers.get(place, ()):
        if isinstance(taker.module, (nn.ReLU, nn.Identity, Clipped)) and takers.get(taker.place):
            found += _goals(taker.place, takers)
        else:
            found.append(taker)
    return found
