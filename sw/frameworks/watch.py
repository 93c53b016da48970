"""A module that is run once, and watched: which of its modules gets what the one before it made.

So a class with a forward of its own, whatever it calls its modules in, is read like a Sequential.
What it computes between them without a module is not seen, but found out: the values differ.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hw.contract.edge import INPUT, sides_text
from sw.frameworks.reading import (
    SHAPE_UNKNOWN,
    Foreign,
    LeakyReadout,
    Neuron,
    Reading,
    Run,
    by_channel,
    findings_of,
    folded_network,
    own_causes,
    readings,
)
from sw.importers.affine import Cause, ConvertError, refusal
from sw.importers.layers import AffineLayer
from sw.importers.maps import read_maps
from sw.importers.modules import Leaf, as_read
from sw.importers.trace import Step
from sw.learn.fold import FoldedNetwork
from sw.learn.neuron import LIFParameters, NeuronError

__all__ = [
    "Call",
    "Described",
    "IsNode",
    "Node",
    "Watch",
    "WatchedNetwork",
    "as_steps",
    "first_step",
    "innermost",
    "read_of",
    "require_whole",
]

IMAGES = 3
"""On which a module is watched: not a number of steps or classes."""

IsNode = Callable[[nn.Module], bool]
"""Whether a module is one of neurons: what is inside of it is its own."""

Expand = Callable[["Call", str, str], list[Step]]
"""The steps that a call is: of its name, and the place of what it is given. The last one has that
name."""


@dataclass(frozen=True, eq=False)
class Node:
    """What a module of neurons is in the contract's terms.

    Parameters
    ----------
    parameters
        Of all its neurons, real-valued.
    gain
        What its input counts times: of each neuron, or of all.
    thetas, steps, factors
        As of `Neuron`; of shapes that spread to that of the neurons.
    amplitude
        What a spike is worth.
    start
        The potential before the first step, of a network of one step: it is in the bias.
    approximated, note
        By how much it differs; what must be said besides.
    """

    parameters: LIFParameters
    gain: Tensor = field(default_factory=lambda: torch.ones((), dtype=torch.float64))
    thetas: Tensor | None = None
    steps: Tensor | None = None
    factors: Tensor | None = None
    amplitude: float = 1.0
    start: float = 0.0
    approximated: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Call:
    """A module that ran: its place, what it was given, what it made.

    Parameters
    ----------
    once
        It has weights, or is a neuron: it is used once in a time step.
    potential
        What neurons return behind their spikes, or keep as `mem`.
    """

    place: str
    module: nn.Module
    given: Tensor
    made: Tensor
    once: bool
    potential: Tensor | None = None

    def first(self, n: int = 1) -> "Call":
        """The same of the first images alone."""
        kept = None if self.potential is None else self.potential[:n]
        return replace(self, given=self.given[:n], made=self.made[:n], potential=kept)


def innermost(network: nn.Module, is_node: IsNode) -> list[tuple[str, nn.Module]]:
    """Modules without modules in them, and neurons, with their places, in the order in which they
    were made."""
    found, inner = [], set[int]()
    for name, module in network.named_modules():
        if id(module) in inner:
            continue
        if is_node(module):
            inner |= {id(child) for child in module.modules()}
        elif any(True for _ in module.children()):
            continue
        found.append((f"{name or 'network'} ({type(module).__name__})", module))
    return found


BOUNDS = {"abs", "clamp", "clamp_max", "clamp_min", "clip", "hardtanh", "maximum", "minimum"}
BOUNDS |= {"nan_to_num", "relu6", "threshold", "where"}
"""Functions that may do nothing on all images that are compared, so that nothing finds them out."""


class _Bounds(TorchFunctionMode):
    """Notes which of `BOUNDS` a forward calls by itself: not within one of its innermost modules,
    which `inside` counts."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.found = 0, set[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "").rstrip("_")
        if not self.inside and name in BOUNDS:
            self.found.add(name)
        return func(*args, **(kwargs or {}))


class Watch:
    """Notes every call of a network's innermost modules while it is open; and keeps all that its
    modules are given in double precision, in which spikes of some frameworks are not."""

    def __init__(self, network: nn.Module, is_node: IsNode) -> None:
        self.calls: list[Call] = []
        self._bounds = _Bounds()
        self._hooks = [m.register_forward_pre_hook(_doubled) for m in network.modules()]
        for place, module in innermost(network, is_node):
            once = is_node(module) or any(True for _ in module.parameters())
            self._hooks.append(module.register_forward_pre_hook(self._enter))
            self._hooks.append(module.register_forward_hook(self._note(place, once)))

    def _note(self, place: str, once: bool) -> Callable[..., None]:
        def note(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            self._bounds.inside -= 1
            # Neurons return their potential, too; quantised tensors have their value first.
            x, out = (value[0] if isinstance(value, tuple) else value for value in (given[0], made))
            if isinstance(x, Tensor) and isinstance(out, Tensor):
                left = made[-1] if isinstance(made, tuple) else getattr(module, "mem", None)
                kept = left.detach().double() if isinstance(left, Tensor) else None
                call = Call(place, module, x.detach(), out.detach().double(), once, kept)
                self.calls.append(call)

        return note

    def _enter(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        self._bounds.inside += 1

    def require_unbound(self) -> None:
        """Refuse a forward that bounds values by itself; raises `ConvertError`."""
        if self._bounds.found:
            raise ConvertError(
                f"Network must not bound values ({', '.join(sorted(self._bounds.found))}) between "
                "its modules: on images that do not reach the bound, nothing would tell"
            )

    def __enter__(self) -> "Watch":
        self._bounds.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bounds.__exit__(None, None, None)
        for hook in self._hooks:
            hook.remove()


def _doubled(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in given
    )


def first_step(calls: Sequence[Call], inputs: Sequence[Tensor] = ()) -> list[Call]:
    """The calls of the first time step, up to the last module that is used once, and what follows
    it; `inputs`: of recordings, what the steps are given."""
    seen: set[str] = set()
    for n, call in enumerate(calls):
        if call.once:
            if call.place in seen:
                calls = calls[:n]
                break
            seen.add(call.place)
    # What has no weights may belong to the next step already: it is given the input once more.
    end = 1 + max((n for n, call in enumerate(calls) if call.once), default=-1)
    for n in range(end, len(calls)):
        if any(_same(calls[n].given, x) for x in (calls[0].given, *inputs)):
            return list(calls[:n])
    return list(calls)


def require_whole(
    calls: Sequence[Call],
    returned: Sequence[Any],
    steps: int,
    is_node: IsNode,
    reads: IsNode = lambda module: False,
    said: str | None = None,
) -> tuple[str, ...]:
    """Refuse a network of which the first time step is not all: with modules that run in other
    steps only, or several times in a step, or a forward that returns something else.

    Parameters
    ----------
    returned
        Of all steps: of each, or of all at once.
    reads
        Whether potentials are read of a module of neurons, where it comes last.
    said
        As of `read_of`.

    Returns
    -------
    tuple
        What may be read of potentials (`read_of`); "sum" where none are read.

    Raises
    ------
    ConvertError
        One sentence that names every such module, or the last one.
    """
    chain = [call for call in first_step(calls) if call.once]
    first, last = {call.place for call in chain}, chain[-1]
    ran = Counter(call.place for call in calls if call.once)
    modules = {call.place: call.module for call in calls}
    causes, later = list[Cause](), list[Cause]()
    for place, n in ran.items():
        # What is the same at every step may be computed once, in front of all neurons.
        constant = n == 1 and place in first and not is_node(modules[place])
        if n != steps and (not constant or place == last.place):
            problem = f"runs {n}x in {steps} time steps: each module must run once in each"
            causes.append(Cause(place, problem))
        elif place not in first:
            what = "first runs when other modules have begun their next time step"
            later.append(Cause(place, what))
    if causes or later:
        raise refusal(causes or later)
    if reads(last.module):
        return read_of([call for call in calls if call.place == last.place], returned, said)
    made = torch.stack([call.made.flatten(1) for call in calls if call.place == last.place])
    if not any(_tells(value, made) for value in _tensors(returned)):
        raise refusal(
            [
                Cause(
                    last.place,
                    "comes last, and the forward returns neither what it makes, nor the sum or "
                    "mean over all time steps: of neurons that reset, spikes are read, not "
                    "potentials",
                )
            ]
        )
    return ("sum",)


def read_of(calls: Sequence[Call], returned: Sequence[Any], said: str | None) -> tuple[str, ...]:
    """What a forward returns of the potentials of its last neurons, which never reset: the `last`,
    their `sum` (or mean), their `max` over all time steps; all of these that it may be, for on some
    images they are the same, but for a factor.

    Parameters
    ----------
    calls
        Of these neurons, in all steps.
    said
        What is read where it returns those of all steps.

    Raises
    ------
    ConvertError
        When it returns none of them, or those of all steps, of which anything may be read.
    """
    m = _potentials(calls)
    if len(m) != len(calls):
        raise refusal([Cause(calls[0].place, "must keep its potential, of which a class is read")])
    read = readings(m)
    values = [*_tensors(returned)]
    pairs = read.items() if len(returned) == 1 else ()
    fits = [name for name, m in pairs if any(_is_scaled(value, m) for value in values)]
    if said in fits or (said is not None and any(_equals(value, m) for value in values)):
        return (str(said),)
    if fits and said is not None and said not in fits:
        problem = f"has its {fits[0]} potential returned, and readout = {said!r} says another one"
        raise refusal([Cause(calls[0].place, problem)])
    if fits:
        return tuple(fits)
    raise refusal(
        [
            Cause(
                calls[0].place,
                "never resets, so its potentials are read, and the forward must return the last of "
                "them, their sum, mean or maximum over all time steps; or all of them, and "
                "readout = 'last', 'sum' or 'max' must say what is read",
            )
        ]
    )


def _potentials(calls: Sequence[Call]) -> Tensor:
    """What neurons kept in their calls, (T, n, classes)."""
    return torch.stack([c.potential.flatten(1) for c in calls if c.potential is not None])


def _is_scaled(value: Tensor, wanted: Tensor) -> bool:
    """Whether a value is another one times a positive number, or what a softmax makes of that, or
    its logarithm."""
    if value.numel() != wanted.numel() or value.ndim < 2 or len(value) != len(wanted):
        return False
    flat = value.reshape(wanted.shape)
    exponents = [flat, flat.log()] if bool((flat > 0).all()) else [flat]
    centred = wanted - wanted.mean(dim=1, keepdim=True)
    if not bool(centred.any()):  # as where nothing fires
        return bool((flat == flat[:, :1]).all())
    for exponent in exponents:
        other = exponent - exponent.mean(dim=1, keepdim=True)
        scale = float((other * centred).sum() / (centred * centred).sum().clamp(min=1e-300))
        if scale > 0 and torch.allclose(other, centred * scale, rtol=1e-4, atol=1e-5 * scale):
            return True
    return False


def _tensors(returned: Sequence[Any]) -> Iterator[Tensor]:
    """All that a forward returned; of several, what is in the same place of each, too."""
    if len(returned) > 1 and all(isinstance(value, Tensor) for value in returned):
        some = [value for value in returned if isinstance(value, Tensor)]
        if all(value.shape == some[0].shape for value in some):
            yield torch.stack(some).detach().double()
    for value in returned:
        if isinstance(value, Tensor):
            yield value.detach().double()
        elif isinstance(value, Mapping):
            yield from _tensors([*value.values()])
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)
    if len(returned) > 1 and all(isinstance(value, (tuple, list)) for value in returned):
        for values in zip(*returned, strict=False):
            yield from _tensors(values)


def _tells(value: Tensor, made: Tensor) -> bool:
    """Whether a value is what was made (T, n, classes), or its sum, but for a factor."""
    return _equals(value, made) or _is_scaled(value, made.sum(dim=0))


def _equals(value: Tensor, made: Tensor) -> bool:
    """Whether a value is what was made (T, n, classes), its axes in whatever order."""
    if value.numel() != made.numel():
        return False
    orders = ((0, 1, 2), (1, 0, 2), (1, 2, 0))
    return any(
        torch.allclose(value.flatten(), made.permute(order).flatten(), rtol=1e-5, atol=1e-6)
        for order in orders
    )


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two values are the same but for their shape."""
    return a.numel() == b.numel() and torch.equal(a.flatten(), b.flatten().to(a.dtype))


def _one_step(call: Call, title: str, here: str) -> list[Step]:
    return [Step(title, (here,), call.module)]


def as_steps(
    chain: Sequence[Call], x: Tensor, front: Sequence[Step], expand: Expand = _one_step
) -> tuple[list[Step], list[Cause]]:
    """The calls as steps, each of which gets what the one before it made; and what is wrong.

    Parameters
    ----------
    chain
        Of a time step, of x (n, ...).
    front
        Steps in front of them.
    """
    steps, causes = list(front), list[Cause]()
    before, value = INPUT, x
    for call in chain:
        if not _same(value, call.given):
            what = "the image" if before == INPUT else f"what {before} made"
            causes.append(
                Cause(
                    call.place,
                    f"gets something else than {what}: what a forward computes between its "
                    "modules must be a module of it (Flatten, AvgPool2d, a Linear)",
                )
            )
        here = before
        if call.given.shape[1:] != value.shape[1:] and not causes:
            if call.given.ndim != 2:
                causes.append(Cause(call.place, "must get maps, not values put into another shape"))
            here = f"{call.place} | flat"
            steps.append(Step(here, (before,), nn.Flatten()))
        title = call.place
        while any(step.place == title for step in steps):
            title += ", again"
        try:
            steps += expand(call, title, here)
        except ConvertError as error:
            causes.append(Cause(call.place, str(error)))
            steps.append(Step(title, (here,), call.module))
        before, value = title, call.made
    return steps, causes


class WatchedNetwork(Foreign):
    """A module of which each time step is a chain of its modules.

    Parameters
    ----------
    module
        It is not changed.

    Raises
    ------
    ConvertError
        For what is no module, or cannot be copied.
    """

    activation: ClassVar[str]
    """What ends a layer, in words."""

    def __init__(self, module: nn.Module) -> None:
        self.module = as_read(module)

    @abstractmethod
    def is_node(self, module: nn.Module) -> bool:
        """Whether a module is one of neurons."""

    def is_whole(self, module: nn.Module) -> bool:
        """Whether what is inside of a module is its own."""
        return self.is_node(module)

    @abstractmethod
    def node(self, module: nn.Module) -> Node:
        """What a module of neurons is.

        Raises
        ------
        ConvertError, NeuronError
            One sentence, without its subject, for one that no neuron of the contract is; any error
            for what is damaged.
        """

    @abstractmethod
    def calls(self, x: Tensor, steps: int, timed: bool = False) -> list[Call]:
        """What its modules do in all steps, of x (n, ...) at every step, or of x (T, n, ...).

        Raises
        ------
        ConvertError
            When it cannot be run so.
        """

    def expanded(self, call: Call, title: str, here: str) -> list[Step]:
        """See `Expand`."""
        return _one_step(call, title, here)

    def reads(self, module: nn.Module) -> bool:
        """Whether potentials are read of a module of neurons, where it comes last: it never
        resets."""
        return False

    def tell_readouts(self, x: Tensor, steps: int, timed: bool) -> str:
        """Find out which of a readout's potentials is read where images x leave several; in words,
        what is left open."""
        return ""

    def readout(self, call: Call) -> LeakyReadout:
        """What such a module is, that `calls` found to be the last.

        Raises
        ------
        ConvertError
            As of `node`.
        """
        raise NotImplementedError

    def _last(self, chain: Sequence[Call]) -> Call | None:
        """The call whose potentials are read."""
        last = next(call for call in reversed(chain) if call.once)
        return last if self.is_node(last.module) and self.reads(last.module) else None

    def notes(self, chain: Sequence[Call]) -> dict[str, str]:
        """What must be said besides, by place."""
        return {}

    @property
    def leaves(self) -> Sequence[Leaf]:
        return innermost(self.module, self.is_whole)

    def _known(self, call: Call) -> Node:
        try:
            return self.node(call.module)
        except NeuronError as error:
            raise ConvertError(f"is no neuron of the contract: {error}") from None
        except ConvertError:
            raise
        except (AttributeError, TypeError, ValueError, RuntimeError, ZeroDivisionError):
            raise ConvertError("is damaged") from None

    @torch.no_grad()
    def run(self, x: Tensor, steps: int, timed: bool = False) -> Run:
        calls = self.calls(x, steps, timed)
        chain = first_step(calls)
        said = {call.place: list[Tensor]() for call in chain}
        for call in calls:
            if call.place in said:
                said[call.place].append(call.made)
        last = next(call for call in reversed(chain) if call.once)
        outputs = sum(said[last.place], torch.zeros(()))
        leaky = self._last(chain)
        if leaky is not None:
            m = _potentials([call for call in calls if call.place == leaky.place])
            outputs = readings(m)[self.readout(leaky).parameters.value]
        spikes = []
        for call in chain:
            if self.is_node(call.module) and call is not leaky:
                made = torch.stack([made.flatten(1) for made in said[call.place]])
                spikes.append(made / self._known(call).amplitude)
        return Run(outputs, tuple(spikes))

    @torch.no_grad()
    def read(
        self,
        shape: Sequence[int] | None,
        *,
        steps: int,
        pixel_max: int,
        front: Sequence[nn.Module] = (),
        timed: bool = False,
    ) -> Reading:
        if shape is None:
            return Reading(findings=findings_of((), {}, {}, [SHAPE_UNKNOWN]))
        broken = [
            Cause(place, "must have finite weights, not NaN or infinite ones")
            for place, leaf in self.leaves
            if not all(bool(weight.isfinite().all()) for weight in leaf.parameters())
        ]
        if broken:
            return Reading(findings=findings_of((), {}, {}, broken))
        generator = torch.Generator().manual_seed(0)
        sizes = (*(steps,) * timed, IMAGES, *shape)
        x = torch.rand(sizes, generator=generator, dtype=torch.float64)
        chain = first_step(self.calls(x, steps, timed), [*x] if timed else ())
        leaky = self._last(chain)
        places = [c.place for c in chain if self.is_node(c.module) and c is not leaky]
        names = {place: f"hidden{n}" for n, place in enumerate(places, 1)}
        nodes, causes, notes = dict[str, Node](), list[Cause](), self.notes(chain)
        readout = None
        if leaky is not None:
            if doubt := self.tell_readouts(x, steps, timed):
                notes[leaky.place] = doubt
            try:
                readout = self.readout(leaky)
            except ConvertError as error:
                causes.append(Cause(leaky.place, str(error)))
            # Behind the last weights nothing else is to be made of it.
            chain = [c if c is not leaky else replace(c, module=nn.Identity()) for c in chain]
        for call in chain:
            if call.place not in names:
                continue
            try:
                node = nodes[call.place] = _spread(self._known(call), call.made.shape[1:])
            except ConvertError as error:
                causes.append(Cause(call.place, str(error)))
                continue
            if node.amplitude != 1:
                notes[call.place] = f"spikes of {node.amplitude:g}, in the weights behind them"
            if node.note:
                notes[call.place] = node.note
        before = [Step(INPUT, (INPUT,), module) for module in front]
        found, wrong = as_steps(chain, x[0] if timed else x, before, self.expanded)
        described = Described(
            found, names, nodes, (*causes, *wrong), notes, not wrong, readout, timed
        )
        return described.reading(self.activation, shape, steps, pixel_max)


@dataclass(frozen=True, eq=False)
class Described:
    """Steps, and what their neurons are.

    Parameters
    ----------
    steps
        In the order in which they run.
    names, nodes
        By the place of each step that is neurons: its layer's name, and what it is, if that is
        known.
    causes
        What is refused.
    notes
        By place: what must be said besides.
    whole
        Whether the steps can be read as they are.
    readout
        Of a readout that leaks.
    timed
        Its inputs are recordings.
    """

    steps: Sequence[Step]
    names: Mapping[str, str]
    nodes: Mapping[str, Node]
    causes: Sequence[Cause]
    notes: Mapping[str, str]
    whole: bool = True
    readout: LeakyReadout | None = None
    timed: bool = False

    def reading(self, activation: str, shape: Sequence[int], steps: int, pixel_max: int) -> Reading:
        """What is read of them (`Foreign.read`); `activation` is what ends a layer, in words."""
        names, nodes, causes = self.names, self.nodes, [*self.causes]
        neurons = {
            place: Neuron(
                names[place],
                node.parameters,
                node.approximated,
                node.thetas,
                node.steps,
                node.factors,
            )
            for place, node in nodes.items()
        }
        layers: list[AffineLayer] = []
        if self.whole:
            try:
                layers = read_maps(self.steps, shape, activation, names)
            except ConvertError as error:
                causes.extend(error.named)
        causes += own_causes(neurons, layers)
        told = [step for step in self.steps if " | " not in step.place and step.place != INPUT]
        findings = findings_of(told, neurons, names, causes, layers, self.notes)
        if self.readout is not None:
            findings = tuple(self.readout.told(finding) for finding in findings)
        if causes:
            return Reading(findings=findings)
        worth = {names[place]: node.amplitude for place, node in nodes.items()}
        targets = [*nodes.values(), None]
        weighed = [
            _weighed(layer, node, worth, source)
            for layer, node, source in zip(layers, targets, [INPUT, *worth], strict=False)
        ]
        folded = folded_network(
            weighed,
            [*neurons.values()],
            shape=shape,
            steps=steps,
            pixel_max=pixel_max,
            readout=self.readout and self.readout.parameters,
            timed=self.timed,
        )
        if len(layers) == len(neurons):
            folded = _counted(folded, next(reversed(worth.values())))
        return Reading(findings=findings, folded=folded)


def _spread(node: Node, shape: Sequence[int]) -> Node:
    """With a number for each of the neurons, where there is more than one.

    Raises
    ------
    ConvertError
        When they are not as many as neurons.
    """
    found = {}
    for name in ("gain", "thetas", "steps", "factors"):
        values = getattr(node, name)
        if values is None or values.numel() == 1:
            continue
        try:
            found[name] = values.expand(shape)
        except RuntimeError:
            raise ConvertError(
                f"has constants of {sides_text(values.shape)} neurons, and gets "
                f"{sides_text(tuple(shape))} values"
            ) from None
    return replace(node, **found)


def _rows(gain: Tensor, kernel: Tensor) -> Tensor:
    """The gain of each row of a kernel: a channel has one, or one for each of its neurons."""
    if gain.numel() == 1:
        return gain
    each = gain.repeat_interleave(len(kernel) // len(gain))
    return each.reshape(-1, *(1,) * (kernel.ndim - 1))


def _counted(folded: FoldedNetwork, worth: float) -> FoldedNetwork:
    """With a readout that counts spikes for what they are worth."""
    *others, readout = folded.layers
    kernels = tuple(kernel * worth for kernel in readout.kernels)
    return replace(folded, layers=(*others, replace(readout, kernels=kernels)))


def _weighed(
    layer: AffineLayer, node: Node | None, worth: Mapping[str, float], before: str
) -> AffineLayer:
    """A layer whose senders' spikes are worth what they are, and whose neurons have a gain.

    Parameters
    ----------
    before
        The sender of a layer that names none.
    """
    sources = [edge.source for edge in layer.edges] or [before]
    kernels = [k * worth.get(source, 1.0) for k, source in zip(layer.kernels, sources, strict=True)]
    if node is None:
        return replace(layer, kernels=tuple(kernels))
    gain, bias = node.gain, layer.bias
    if gain.numel() > 1:
        try:
            gain = by_channel(gain, layer, "threshold")
            if any(k.ndim == 1 for k in kernels):
                raise ConvertError("must have one threshold behind what is not weighed")
        except ConvertError as error:
            raise ConvertError(
                f"Network cannot be converted: neurons behind {layer.place} {error}"
            ) from None
    weighed = tuple(k * _rows(gain, k) for k in kernels)
    return replace(layer, kernels=weighed, bias=bias * gain + node.start)
