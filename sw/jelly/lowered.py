"""Modules of SpikingJelly as what they are made of: steps of modules of torch, and nodes."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from hw.contract.edge import INPUT
from sw.importers.affine import IDLE, READ_OF_MAPS, Cause, ConvertError, kind, shape_behind
from sw.importers.modules import Leaf, leaves
from sw.importers.trace import Before, Step, Sum, Unread, trace
from sw.jelly.nodes import ACTIVATION, DAMAGE, NEURONS, READOUTS, advice, is_node, library
from sw.jelly.playing import takes_steps
from sw.reading.network import BOUNDS, per_channel

__all__ = ["Lowered", "followed", "in_a_row", "is_container"]

LOOPS = ("ElementWiseRecurrentContainer", "LinearRecurrentContainer")
"""Containers that bring back what they made at the step before."""


WITHIN = "integrates without firing within the network: it may only end it"


T_LAST = "takes time as its last axis: put its modules into a MultiStepContainer or a "


REFUSED = {
    "BatchNormThroughTime1d": "has other weights at each step: use BatchNorm1d",
    "BatchNormThroughTime2d": "has other weights at each step: use BatchNorm2d",
    "Delay": "delays values by steps of their own, and only a loop may, by one step: train without",
    "NeuNorm": "adds what other channels sent before to its input: use BatchNorm2d",
    "SpikeCountToBinary": "gives more time steps than it gets: train without",
    "SynapseFilter": "is a synaptic current, a second state beside the potential: train without",
    "TLastMultiStepContainer": f"{T_LAST}Sequential",
    "TLastSeqToANNContainer": f"{T_LAST}SeqToANNContainer",
    "TemporalBinSum": "gives fewer time steps than it gets: train without",
    "TemporalEffectiveBatchNorm1d": "scales each step in its own way: use BatchNorm1d",
    "TemporalEffectiveBatchNorm2d": "scales each step in its own way: use BatchNorm2d",
}
"""What is wrong with modules that are no neurons, and what would help."""


CONTAINERS = {
    "Module",  # a class of the user's own
    "ModuleDict",
    "ModuleList",
    "MultiStepContainer",
    "SeqToANNContainer",
    "Sequential",
    "StepModeContainer",
}


def is_container(module: nn.Module) -> bool:
    """Whether a module is what its children do, in the order in which they were made."""
    has_children = any(child is not None for child in module._modules.values())
    return has_children and not is_node(module) and kind(module).__name__ in CONTAINERS


def in_a_row(found: Sequence[Leaf]) -> list[Step]:
    """Modules that run one after the other."""
    places = [INPUT, *(place for place, _ in found)]
    return [
        Step(place, (before,), module)
        for before, (place, module) in zip(places, found, strict=False)
    ]


def followed(network: nn.Module) -> list[Step] | None:
    """The steps of a forward of the user's own, in which modules may run in another order than
    they were made in, and what they make be added up, as in residual networks; None: it has none,
    or cannot be followed, and is taken for its modules in a row."""
    if not any(_is_own(module) for module in network.modules()):
        return None
    try:
        steps = trace(network, _is_followed).steps
    except ConvertError:
        return None
    while steps and isinstance(steps[-1].module, Unread) and steps[-1].place.endswith(OVER_TIME):
        steps.pop()
    unread = [step.place for step in steps if isinstance(step.module, Unread)]
    if not steps or (unread and not any(place.endswith(CALLED) for place in unread)):
        return None
    timed = any(takes_steps(module) for module in network.modules())
    return [
        Step(step.place, step.inputs, nn.Flatten()) if timed and _skips_time(step) else step
        for step in steps
    ]


CALLED = tuple(f"({name})" for name in sorted(BOUNDS))
"""Ends of the places of calls that are refused by name."""

OVER_TIME = ("(mean)", "(sum)")
"""Calls that may end a forward: what they do is found out."""


def _skips_time(step: Step) -> bool:
    """Whether it is flatten(x, 2), with time and images in front."""
    called = step.place.endswith("(flatten)") and isinstance(step.module, nn.Flatten)
    return called and cast(nn.Flatten, step.module).start_dim == 2


def _is_own(module: nn.Module) -> bool:
    """Whether it is of a class with a forward that runs its modules: a user's own, or one of
    SpikingJelly's networks."""
    own = kind(module) is nn.Module and type(module) is not nn.Module
    return own or type(module).__module__.startswith("spikingjelly.activation_based.model.")


def _is_followed(module: nn.Module) -> bool:
    return _is_own(module) or kind(module).__name__ == "Sequential"


class Lowered:
    """Modules as what they are made of: containers as their modules, loops as what comes back from
    the step before, others as the modules of torch that do the same.

    Parameters
    ----------
    found
        As they were found.
    shape
        Of an input; None: not known, and then what a loop of values brings is left out.
    front
        Steps in front of them.
    """

    def __init__(
        self, found: Sequence[Step], shape: Sequence[int] | None, front: Sequence[Step] = ()
    ) -> None:
        self.steps: list[Step] = []
        self.causes: list[Cause] = []
        self.notes: dict[str, str] = {}
        self.readout: Leaf | None = None
        self._ends = {INPUT: INPUT}
        self._shapes = {INPUT: None if shape is None else tuple(shape)}
        self._nodes: dict[int, str] = {}
        for step in front:
            self._shapes[INPUT] = self._behind(step.module, INPUT)
        for step in found:
            inputs = tuple(self._ends[place] for place in step.inputs)
            self._ends[step.place] = self._add(step.place, step.module, inputs)
        if self.readout is not None and self.readout[0] != self.steps[-1].place:
            self.causes.append(Cause(self.readout[0], WITHIN))

    def _add(self, place: str, module: nn.Module, inputs: tuple[str, ...]) -> str:
        """Steps of a module; the place of what it makes."""
        name = kind(module).__name__
        if name in REFUSED:
            self.causes.append(Cause(place, REFUSED[name]))
        elif name in READOUTS:
            if self.readout is not None:
                self.causes.append(Cause(self.readout[0], WITHIN))
            self.readout = (place, module)
            return self._step(place, nn.Identity(), inputs)
        elif type(module).__module__.startswith(NEURONS) and not is_node(module):
            self.causes.append(Cause(place, f"is not {ACTIVATION}{advice(name)}"))
        if name in LOOPS:
            return self._loop(place, module, inputs[0])
        if is_container(module) and not isinstance(module, Sum):
            here = inputs[0]
            for inner, part in _inside(place, module):
                here = self._add(inner, part, (here,))
            return here
        if is_node(module):
            at = self._nodes.get(id(module))
            if at is not None:
                problem = f"is {at} once more, with one potential for both: use a node for each"
                self.causes.append(Cause(place, problem))
            self._nodes[id(module)] = at or place
        try:
            same = _as_torch(module)
        except DAMAGE:
            self.causes.append(Cause(place, "is damaged"))
            same = nn.Identity()
        return self._step(place, same, inputs)

    def _step(self, place: str, module: nn.Module, inputs: tuple[str, ...]) -> str:
        if place in self._shapes:  # it is used again
            used = sum(step.place.partition(", again")[0] == place for step in self.steps)
            place += ", again" + f" {used}" * (used > 1)
        self.steps.append(Step(place, inputs, module))
        self._shapes[place] = self._behind(module, inputs[0])
        return place

    def _behind(self, module: nn.Module, before: str) -> tuple[int, ...] | None:
        """Shape of what a module makes; None where it is not known."""
        shape = self._shapes[before]
        if shape is None or is_node(module) or isinstance(module, Sum):
            return shape
        try:
            return shape_behind(module, shape, READ_OF_MAPS)
        except DAMAGE:
            return None  # which is said where it is read

    def _loop(self, place: str, module: nn.Module, here: str) -> str:
        """What a container is given and what it made at the step before, and its modules."""
        container, inner = cast(Any, module), _inside(place, module)
        node, shape = _last_node(inner), self._shapes[here]
        try:
            if node is None:
                raise ConvertError(
                    "must end in neurons that fire: only spikes can come back, one step later"
                )
            if kind(module).__name__ == "LinearRecurrentContainer":
                now, before = _linear_parts(container.rc, container.sub_module_out_features)
                shape = (container.sub_module_out_features,)
            else:
                factors = _factors(container.element_wise_function)
                now, before = nn.Identity(), None
                if shape is not None:
                    now, before = (_times(factor, shape) for factor in factors)
        except ConvertError as error:
            self.causes.append(Cause(place, str(error)))
            now, before, node = nn.Identity(), None, ""
        except DAMAGE:
            self.causes.append(Cause(place, "is damaged"))
            now, before, node = nn.Identity(), None, ""
        here = self._step(place, now, (here,))
        if before is not None and shape is not None:
            self.notes[place] = "what its neurons sent a step before comes back to it"
            back, brought, both = (f"{place} | {part}" for part in ("before", "back", "sum"))
            self._shapes[str(node)] = shape
            self._step(back, Before(shape), (str(node),))
            del self._shapes[str(node)]
            self._shapes[back] = shape
            self._step(brought, before, (back,))
            here = self._step(both, Sum(), (here, brought))
        for name, part in inner:
            here = self._add(name, part, (here,))
        return here


def _inside(place: str, module: nn.Module) -> list[Leaf]:
    """The modules of a container, with their places."""
    name = place.partition(" (")[0]
    inner = getattr(module, "sub_module", None) if kind(module).__name__ in LOOPS else module
    if not isinstance(inner, nn.Module):
        return []
    stem = f"{name}.sub_module" if inner is not module else name
    found = []
    for at, part in leaves(inner, is_container):
        own, _, what = at.partition(" (")
        found.append((f"{stem}{'' if own == 'network' else '.' + own} ({what}", part))
    return found


def _last_node(inner: Sequence[Leaf]) -> str | None:
    """The place of the neurons that make what a container makes; None: no neurons do."""
    last = next(((p, m) for p, m in reversed(inner) if kind(m).__name__ not in IDLE), None)
    if last is None:
        return None
    if kind(last[1]).__name__ in LOOPS:
        return _last_node(_inside(*last))
    return last[0] if is_node(last[1]) else None


def _linear_parts(rc: nn.Linear, sent: int) -> tuple[nn.Module, nn.Module]:
    """What is done with what a container is given, and with what its neurons sent."""
    weight, given = rc.weight.detach(), rc.weight.shape[1] - sent
    if min(sent, given) < 1:
        raise ValueError
    now = nn.Linear(given, len(weight), rc.bias is not None, dtype=torch.float64)
    before = nn.Linear(sent, len(weight), False, dtype=torch.float64)
    now.weight.data, before.weight.data = weight[:, :given].clone(), weight[:, given:].clone()
    if rc.bias is not None:
        now.bias.data = rc.bias.detach()
    return now, before


def _factors(function: Callable[[Tensor, Tensor], Tensor]) -> tuple[float, float]:
    """What a function of what comes back and of what is given counts the latter and the former
    times: it must be such a sum."""
    generator = torch.Generator().manual_seed(0)
    y, x = (4 * torch.rand((2, 64), generator=generator, dtype=torch.float64) - 2).unbind()
    y[:32] = torch.arange(32) % 3 - 1.0  # as spikes are
    x[::4] *= 1000
    none, one = torch.zeros_like(x), torch.ones_like(x)
    try:
        of_y, of_x = function(one, none)[0], function(none, one)[0]
        made = function(y, x)
        sums = made.shape == x.shape
        sums = sums and torch.allclose(made, of_y * y + of_x * x, rtol=1e-9, atol=1e-9)
    except Exception:  # a stranger's function may raise anything
        sums = False
    if not sums:
        raise ConvertError(
            "must add what comes back to what it is given (element_wise_function=torch.add): its "
            "function does something else"
        )
    return float(of_x), float(of_y)


def _times(factor: float, shape: Sequence[int]) -> nn.Module:
    """All values of that shape times a factor."""
    ones = torch.ones(shape[0], dtype=torch.float64)
    return nn.Identity() if factor == 1 else per_channel(shape, ones * factor)


def _as_torch(module: nn.Module) -> nn.Module:
    """The module of torch that does the same, where SpikingJelly's own is not of torch's name."""
    name, given = kind(module).__name__, cast(Any, module)
    if name == "VotingLayer":
        return nn.AvgPool1d(given.voting_size)
    if name == "PrintShapeModule":
        return nn.Identity()
    if name.startswith("ThresholdDependentBatchNorm") and name.endswith(("1d", "2d")):
        made = getattr(nn, name.removeprefix("ThresholdDependent"))(given.num_features)
        made.double().eval().load_state_dict(given.state_dict())
        made.eps = given.eps
        return made
    if name == "WSLinear":
        made = nn.Linear(given.in_features, given.out_features, given.bias is not None)
        made._parameters |= {"weight": given.get_weight().detach(), "bias": given.bias}
        return made
    if name == "WSConv2d":
        made = copy.copy(given)
        made.__class__ = library().layer.Conv2d
        made._parameters = {"weight": given.get_weight().detach(), "bias": given.bias}
        return made
    return module
