"""Networks written in SpikingJelly, read from their modules: weights, thresholds, time constants.

SpikingJelly (Apache-2.0) is not needed to use Sterna, nor installed with it. What was read is
compared with the module itself before it is used: a `forward` that does more than run its modules
one after the other is refused.
"""

import copy
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from hw.contract.checks import SternaError
from hw.contract.edge import INPUT
from hw.contract.network import Network
from sw.data.split import Split
from sw.frameworks.decay import decay_fields
from sw.frameworks.importing import ImportReport, import_foreign
from sw.frameworks.reading import (
    SHAPE_UNKNOWN,
    Finding,
    Foreign,
    Neuron,
    Reading,
    Run,
    findings_of,
    folded_network,
    per_channel,
)
from sw.importers.affine import (
    IDLE,
    READ_OF_MAPS,
    RESHAPES,
    Cause,
    ConvertError,
    kind,
    shape_behind,
)
from sw.importers.files import Contents, load_module
from sw.importers.layers import AffineLayer
from sw.importers.maps import read_maps
from sw.importers.modules import Leaf, as_read, leaves, read_layers
from sw.importers.trace import Before, Step, Sum, Unread, trace
from sw.learn.fold import FoldedNetwork
from sw.learn.neuron import LIFParameters, NeuronError

__all__ = [
    "JellyNetwork",
    "import_network",
    "lif_parameters",
    "load_network",
    "read_network",
    "run_module",
]

NODES = (
    "IFNode",
    "LIFNode",
    "ParametricLIFNode",
    "TernaryIFNode",
    "TernaryLIFNode",
    "SimpleIFNode",
    "SimpleLIFNode",
    "HalfThresholdIFNode",
)
ACTIVATION = f"one of {', '.join(NODES)}"

DAMAGE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a module from a file raises that holds anything, or lacks what its class has."""

NEURONS = "spikingjelly.activation_based.neuron."

LOOPS = ("ElementWiseRecurrentContainer", "LinearRecurrentContainer")
"""Containers that bring back what they made at the step before."""

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


@cache
def _library() -> Any:
    """`spikingjelly.activation_based`."""
    if find_spec("spikingjelly") is None:
        raise SternaError("Networks of SpikingJelly need the package spikingjelly: install it")
    from spikingjelly.activation_based import base, functional, layer, neuron, surrogate

    return SimpleNamespace(
        base=base, functional=functional, layer=layer, neuron=neuron, surrogate=surrogate
    )


def load_network(path: Path) -> nn.Module:
    """A module saved with `torch.save(network, path)`. No code of the file is run: it may hold
    modules of torch.nn and of SpikingJelly only. (For classes of your own, `import_network`.)

    Raises
    ------
    ConvertError
        When it cannot be read, or holds something else.
    """
    library = _library()
    known: list[Any] = [
        thing
        for module in (library.layer, library.neuron, library.surrogate)
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, nn.Module)
    ]
    known.append(operator.add)  # of what an ElementWiseRecurrentContainer may do
    contents = Contents(
        known=known,
        made_of="of torch.nn and SpikingJelly modules",
        activation=ACTIVATION,
        instead="give classes of your own to sw.frameworks.spikingjelly.import_network, in Python",
    )
    return load_module(path, contents)


# Nodes


def _is_node(module: nn.Module) -> bool:
    return isinstance(module, _library().base.MemoryModule) and hasattr(module, "v_threshold")


def lif_parameters(node: nn.Module, place: str = "node") -> tuple[LIFParameters, float]:
    """What a node of SpikingJelly is in the contract's terms, and what its input is worth
    (1/tau under `decay_input`, else 1).

    IFNode, LIFNode, TernaryIFNode, TernaryLIFNode. A potential keeps 1 - 1/tau of itself per step
    (`sw.frameworks.decay`).

    Raises
    ------
    ConvertError
        One sentence for a node that no neuron of the contract is.
    """
    try:
        parameters, gain, _ = _lif_parameters(node)
    except ConvertError as error:
        raise ConvertError(f"{place} {error}") from None
    return parameters, gain


def _lif_parameters(node: nn.Module) -> tuple[LIFParameters, float, str]:
    """Also by how much it is approximated; the sentence of an error lacks its subject."""
    try:
        return _known_node(node)
    except ConvertError:
        raise
    except NeuronError as error:
        raise ConvertError(f"cannot be converted: {error}") from None
    except DAMAGE:
        raise ConvertError("is damaged") from None


def _known_node(node: nn.Module) -> tuple[LIFParameters, float, str]:
    kind, settings = type(node).__name__, cast(Any, node)
    if kind not in NODES or not type(node).__module__.startswith("spikingjelly."):
        raise ConvertError(f"is not {ACTIVATION}{_advice(kind)}")
    if not settings.surrogate_function.spiking:
        raise ConvertError("must fire, not give its surrogate (spiking=False)")
    if not _is_step(settings.surrogate_function):
        raise ConvertError(
            "must send 1 from its threshold on, else 0: its surrogate_function does not"
        )
    ternary, rest = kind.startswith("Ternary"), settings.v_reset
    if ternary and rest not in (None, 0.0):
        raise ConvertError(f"must reset to 0 or by its threshold, not to {rest:g}")
    # A potential that is counted from where it rests has the same law.
    theta = settings.v_threshold - (rest or 0.0)
    start = settings._memories_rv["v"] - (rest or 0.0)
    gain, fields, approximated = 1.0, dict[str, Any](decay="none", decay_shift=0), ""
    if "LIF" in kind:
        share = _share(settings)
        fields, approximated = decay_fields(1 - share)
        gain = share if settings.decay_input else 1.0
    parameters = LIFParameters(
        theta=theta,
        negative="free" if ternary else "off",
        reset="soft" if rest is None else "hard",
        step=theta if rest is None else 0.0,
        u0=float(start),
        **fields,
    )
    if not -theta < start < theta:
        raise ConvertError(
            f"must start nearer to its rest than its threshold is, not {start:g} from it"
        )
    return parameters, gain, approximated


def _is_step(fired: Callable[[Tensor], Tensor]) -> bool:
    """Whether it is a step at 0, and neither counts nor draws."""
    near = torch.tensor([0.0, 1e-6, 0.5, 1.0, 2.0, 1e3], dtype=torch.float64)
    try:
        return bool((fired(near) == 1).all() and (fired(-near[1:]) == 0).all())
    except RuntimeError:  # of what takes shares alone
        return False


def _share(settings: Any) -> float:
    """1 / tau, of a learned one too: the part of a potential that is lost in a step."""
    if isinstance(getattr(settings, "w", None), Tensor):
        if settings.w.numel() != 1:
            raise ConvertError("must have one tau for all its neurons: train one for the layer")
        return float(torch.sigmoid(settings.w.detach().double()))
    return 1 / settings.tau


def _advice(kind: str) -> str:
    """About nodes whose law is another one."""
    found = {
        "CUBALIFNode": "it has a synaptic current, a second state",
        "KLIFNode": "it lets no potential below zero",
        "ILIFNode": "it rounds its potential to a count",
        "NonSpikingIFNode": "end in the Linear before it, whose values are added up",
        "NonSpikingLIFNode": "end in the Linear before it, whose values are added up",
        "PSN": "it sees all steps at once",
    }
    return f" ({found[kind]})" if kind in found else ""


# Networks


class JellyNetwork(Foreign):
    """A module of SpikingJelly.

    Parameters
    ----------
    module
        Modules that run one after the other, nested however deep, or a forward that adds up what
        they make: what `sw.importers.affine` knows, convolutions, and the nodes of
        `lif_parameters`. It is not changed.

    Raises
    ------
    ConvertError
        For what is no such module, or cannot be copied.
    """

    framework = "SpikingJelly"

    def __init__(self, module: nn.Module) -> None:
        self.module = as_read(module)
        self._form: Form | None = None

    @cached_property
    def _found(self) -> list[Step]:
        """Its modules, containers with a loop among them, in the order in which they run."""
        return _followed(self.module) or _in_a_row(leaves(self.module, _is_container))

    @property
    def leaves(self) -> Sequence[Leaf]:
        return [
            (step.place, step.module)
            for step in _Lowered(self._found, None).steps
            if not isinstance(step.module, (Before, Sum))
        ]

    def read(
        self,
        shape: Sequence[int] | None,
        *,
        steps: int,
        pixel_max: int,
        front: Sequence[nn.Module] = (),
        timed: bool = False,
    ) -> Reading:
        before = [Step(INPUT, (INPUT,), module) for module in front]
        lowered = _Lowered(self._found, shape, before)
        chain, causes = lowered.steps, lowered.causes
        names = {s.place: f"hidden{n}" for n, s in enumerate(filter(_ends_layer, chain), 1)}
        neurons, gains = dict[str, Neuron](), list[float]()
        for step in chain:
            if step.place in names:
                try:
                    parameters, gain, approximated = _lif_parameters(step.module)
                except ConvertError as error:
                    causes.append(Cause(step.place, str(error)))
                    continue
                neurons[step.place] = Neuron(names[step.place], parameters, approximated)
                gains.append(gain)
        layers = []
        try:
            if shape is None:
                causes.append(SHAPE_UNKNOWN)
            else:
                layers = _layers([*before, *chain], shape, names)
        except ConvertError as error:
            if not error.causes:
                raise
            causes.extend(error.causes)
        findings = _findings(chain, neurons, names, causes, layers, lowered.notes)
        if causes or shape is None:
            return Reading(findings=findings)
        for n, gain in enumerate(gains):
            layers[n] = layers[n].scaled(gain)
        folded = folded_network(
            layers, [*neurons.values()], shape=shape, steps=steps, pixel_max=pixel_max, timed=timed
        )
        return Reading(findings=findings, folded=folded)

    @torch.no_grad()
    def run(self, x: Tensor, steps: int, timed: bool = False) -> Run:
        if not timed:
            return self._run(x, steps, lambda x: run_module(self.module, x, steps))
        if self._form is None:
            self._form = self._form_of(x, steps)
        form, n = self._form, x.shape[1]
        if n == steps and form == "images first":  # axes of what it returns, too
            run = self.run(torch.cat([x, x[:, -1:]], dim=1), steps, timed)
            cut = (None if spikes is None else spikes[:, :n] for spikes in run.spikes)
            return Run(run.outputs[:n], tuple(cut))
        return self._run(x[0], steps, lambda _: run_recorded(self.module, x, form))

    def _form_of(self, x: Tensor, steps: int) -> "Form":
        """How it takes recordings x (T, n, ...): in the first way in which each of its neurons runs
        once in each step."""
        n = x.shape[1]
        if n in (1, steps):  # axes could be taken for each other
            more = 2 if n + 1 in (1, steps) else 1
            x = torch.cat([x, *[x[:, -1:]] * more], dim=1)
        forms = FORMS if any(_takes_steps(m) for m in self.module.modules()) else FORMS[::-1]
        raised: Exception | None = None
        for form in forms:
            try:
                run = self._run(
                    x[0], steps, lambda _, form=form: run_recorded(self.module, x, form)
                )
            except Exception as error:  # a stranger's forward may raise anything
                raised = raised or error
                continue
            if all(spikes is not None for spikes in run.spikes):
                return form
        if raised is not None:
            raise raised
        return forms[0]

    def _run(self, x: Tensor, steps: int, play: Callable[[Tensor], Tensor]) -> Run:
        """What comes of x (n, ...), and what its nodes give meanwhile."""
        nodes = [step.module for step in _Lowered(self._found, None).steps if _ends_layer(step)]
        said: list[list[Tensor]] = [[] for _ in nodes]
        hooks = [
            node.register_forward_hook(partial(_record, out))
            for node, out in zip(nodes, said, strict=True)
        ]
        try:
            outputs = play(x)
        finally:
            for hook in hooks:
                hook.remove()
        return Run(outputs, tuple(_in_steps(out, steps, len(x)) for out in said))


def _layers(
    chain: Sequence[Step], shape: Sequence[int], names: Mapping[str, str]
) -> list[AffineLayer]:
    """A row of modules without convolutions as matrices, all else as edges."""
    apart, weighs = {"Conv1d", "Conv2d", "Sum", "Before"}, False
    for step in chain:
        called = {kind(step.module).__name__, type(step.module).__name__}
        fires = step.place in names
        if called & apart or (fires and not weighs):
            return read_maps(chain, shape, ACTIVATION, names)
        weighs = not fires and (weighs or not called & (IDLE | RESHAPES))
    plain = [(step.place, step.module) for step in chain]
    return read_layers(plain, shape, _is_node, ACTIVATION)


def _findings(
    chain: Sequence[Step],
    neurons: Mapping[str, Neuron],
    names: Mapping[str, str],
    causes: Sequence[Cause],
    layers: Sequence[AffineLayer],
    notes: Mapping[str, str],
) -> tuple[Finding, ...]:
    """About each module; what a container with a loop is made of is its own."""
    whole = [Cause(cause.place.partition(" | ")[0], cause.problem) for cause in causes]
    found = findings_of(chain, neurons, names, whole, layers, notes)
    return tuple(finding for finding in found if " | " not in finding.node)


def _record(out: list[Tensor], node: nn.Module, given: Any, made: Any) -> None:
    if isinstance(made, Tensor):
        out.append(made.detach())


def _in_steps(said: Sequence[Tensor], steps: int, n: int) -> Tensor | None:
    """(T, n, neurons) of what a node gave: of all steps at once, or at each. None: it is neither,
    as of a node that is used twice."""
    if sum(part.numel() for part in said) % (steps * n) or len(said) not in (1, steps):
        return None
    made = torch.cat([part.reshape(-1) for part in said]).reshape(steps, n, -1)
    parts = said[0].shape[0] if len(said) == 1 else len(said)
    return made if parts == steps else None


def _ends_layer(step: Step) -> bool:
    return _is_node(step.module)


# Modules as steps


def _in_a_row(found: Sequence[Leaf]) -> list[Step]:
    """Modules that run one after the other."""
    places = [INPUT, *(place for place, _ in found)]
    return [
        Step(place, (before,), module)
        for before, (place, module) in zip(places, found, strict=False)
    ]


def _followed(network: nn.Module) -> list[Step] | None:
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
    if not steps or (unread and not any(place.endswith(BOUNDS) for place in unread)):
        return None
    timed = any(_takes_steps(module) for module in network.modules())
    return [
        Step(step.place, step.inputs, nn.Flatten()) if timed and _skips_time(step) else step
        for step in steps
    ]


BOUNDS = tuple(
    f"({name})"
    for name in ("abs", "clamp", "clamp_max", "clamp_min", "clip", "hardtanh", "maximum")
    + ("minimum", "nan_to_num", "relu6", "threshold", "where")
)
"""Calls that may do nothing on all images that are compared, so that nothing would find them out:
they are refused by name."""

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


class _Lowered:
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
        self._ends = {INPUT: INPUT}
        self._shapes = {INPUT: None if shape is None else tuple(shape)}
        self._nodes: dict[int, str] = {}
        for step in front:
            self._shapes[INPUT] = self._behind(step.module, INPUT)
        for step in found:
            inputs = tuple(self._ends[place] for place in step.inputs)
            self._ends[step.place] = self._add(step.place, step.module, inputs)

    def _add(self, place: str, module: nn.Module, inputs: tuple[str, ...]) -> str:
        """Steps of a module; the place of what it makes."""
        name = kind(module).__name__
        if name in REFUSED:
            self.causes.append(Cause(place, REFUSED[name]))
        elif type(module).__module__.startswith(NEURONS) and not _is_node(module):
            self.causes.append(Cause(place, f"is not {ACTIVATION}{_advice(name)}"))
        if name in LOOPS:
            return self._loop(place, module, inputs[0])
        if _is_container(module) and not isinstance(module, Sum):
            here = inputs[0]
            for inner, part in _inside(place, module):
                here = self._add(inner, part, (here,))
            return here
        if _is_node(module):
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
        if shape is None or _is_node(module) or isinstance(module, Sum):
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
    for at, part in leaves(inner, _is_container):
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
    return last[0] if _is_node(last[1]) else None


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
        made.__class__ = _library().layer.Conv2d
        made._parameters = {"weight": given.get_weight().detach(), "bias": given.bias}
        return made
    return module


def read_network(
    module: nn.Module,
    shape: Sequence[int],
    *,
    steps: int,
    pixel_max: int,
    front: Sequence[nn.Module] = (),
) -> FoldedNetwork:
    """A SpikingJelly module as a network with unit spikes and whole pixels, nothing rounded.

    One that ends in spiking neurons gets a readout that counts their spikes.

    Parameters
    ----------
    module
        As of `JellyNetwork`.
    shape
        Of an input without its batch: (784,), or (1, 28, 28).
    steps
        T: the same image is given at every step.
    pixel_max
        Largest pixel; the module takes pixels / pixel_max.
    front
        What stands in front of it (`sw.importers.feed.Feed`).

    Raises
    ------
    ConvertError
        One sentence that names what cannot be read.
    """
    network = JellyNetwork(module)
    return network.read(shape, steps=steps, pixel_max=pixel_max, front=front).require()


CONTAINERS = {
    "Module",  # a class of the user's own
    "ModuleDict",
    "ModuleList",
    "MultiStepContainer",
    "SeqToANNContainer",
    "Sequential",
    "StepModeContainer",
}


def _is_container(module: nn.Module) -> bool:
    """Whether a module is what its children do, in the order in which they were made."""
    has_children = any(child is not None for child in module._modules.values())
    return has_children and not _is_node(module) and kind(module).__name__ in CONTAINERS


def _takes_steps(module: nn.Module) -> bool:
    """Whether a module takes all time steps at once, (T, n, ...)."""
    return (
        isinstance(module, _library().base.MultiStepModule)
        or getattr(module, "step_mode", "s") == "m"
    )


Form = str
FORMS: tuple[Form, ...] = ("all", "images first", "each")
"""How recordings are taken: (T, n, ...); (n, T, ...); an image of each step, (n, ...)."""


@torch.no_grad()
def run_module(module: nn.Module, x: Tensor, steps: int) -> Tensor:
    """The outputs of all steps added up, (n, classes), of a module that is given x (n, ...) at
    every step; of one that adds up or averages by itself in its own `forward`, what it returns."""
    takes_steps = any(_takes_steps(m) for m in module.modules())
    form = "all" if takes_steps else "each"
    return run_recorded(module, x.expand(steps, *x.shape), form)


@torch.no_grad()
def run_recorded(module: nn.Module, x: Tensor, form: Form) -> Tensor:
    """As `run_module`, of a module that is given x (T, n, ...) in one of the `FORMS`."""
    library = _library()
    library.functional.reset_net(module)
    if form == "each":
        out = sum((module(image) for image in x), torch.zeros(()))
    else:
        out = module(x if form == "all" else x.transpose(0, 1))
        out = (
            out.sum(dim=int(form != "all" and out.shape[:2] == x.shape[1::-1]))
            if (out.ndim == 3)
            else out
        )
    library.functional.reset_net(module)
    return out


def import_network(module: nn.Module, data: Split, **options: Any) -> tuple[Network, ImportReport]:
    """The network of a SpikingJelly module, compared with it on a data set: `import_foreign`, for
    modules of your own classes, too."""
    return import_foreign(JellyNetwork(module), data, **options)


def open_file(path: Path) -> JellyNetwork:
    """See `load_network`."""
    return JellyNetwork(load_network(path))
