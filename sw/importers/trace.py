"""A module whose forward is its own, as the steps that it takes: `torch.fx` follows it once.

What it calls besides its modules (`+`, `relu`, `flatten`, ...) becomes the module of torch that
does the same. The steps are plain data: so a file can hold them, and no code is run of a file.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from hw.contract.edge import INPUT
from sw.importers.affine import ConvertError, kind

__all__ = ["Before", "Step", "Sum", "Traced", "Unread", "trace"]


class Unread(nn.Module):
    """Stands where something is called that no module does; `problem` says what is wrong."""

    def __init__(self, advice: str, problem: str = "") -> None:
        super().__init__()
        self.problem = problem or f"is not supported ({advice})"


class Sum(nn.Module):
    """The sum of two values."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Before(nn.Module):
    """What spiking neurons sent at the time step before: where a loop is cut open.

    Parameters
    ----------
    shape
        Of what they send.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)


@dataclass(frozen=True, eq=False)
class Step:
    """One of the steps of a network.

    Parameters
    ----------
    place
        Its name, for messages too.
    inputs
        Places of the steps of which it takes what they made; `input`: the network's own input.
    module
        What it does; `Sum`: adds two of them up.
    """

    place: str
    inputs: tuple[str, ...]
    module: nn.Module


class Traced(nn.Module):
    """The steps of a network, in the order in which they run; the last one makes its output."""

    shape: tuple[int, ...] | None = None
    """Of an input, where that is known."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self.places = [(step.place, step.inputs) for step in steps]
        self.called = nn.ModuleList(step.module for step in steps)

    @property
    def steps(self) -> list[Step]:
        """The steps; what `as_read` does to a network's modules it has done to theirs."""
        pairs = zip(self.places, self.called, strict=True)
        return [Step(place, inputs, module) for (place, inputs), module in pairs]

    def forward(self, x: Tensor) -> Tensor:
        """Run them."""
        made = {INPUT: x}
        for step in self.steps:
            made[step.place] = x = step.module(*(made[name] for name in step.inputs))
        return x

    def plain(self) -> dict[str, Any]:
        """Modules of torch, texts and lists: what `of` takes, and `torch.save` writes."""
        return {
            "steps": [
                [step.place, list(step.inputs), None if isinstance(step.module, Sum) else module]
                for step in self.steps
                for module in [step.module]
            ]
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Traced":
        """Steps from plain data.

        Raises
        ------
        ConvertError
            With what they must be.
        """
        steps, known = [], {INPUT}
        entries = plain.get("steps")
        if not isinstance(entries, list) or not entries:
            raise ConvertError("Steps must be a list of [name, inputs, module]")
        for entry in entries:
            if not isinstance(entry, (list, tuple)) or len(entry) != 3:
                raise ConvertError(f"Step {len(steps)} must be [name, inputs, module]")
            place, inputs, module = entry
            if not isinstance(place, str) or place in known:
                raise ConvertError(f"Step {len(steps)} must have a name of its own, not {place!r}")
            if not isinstance(inputs, (list, tuple)) or not all(
                isinstance(name, str) and name in known for name in inputs
            ):
                raise ConvertError(f"Step {place} must take what earlier steps made, not {inputs}")
            if module is not None and not isinstance(module, nn.Module):
                raise ConvertError(f"Step {place} must have a module, or None for a sum")
            if len(inputs) != (2 if module is None else 1):
                raise ConvertError(
                    f"Step {place} must have {'two inputs' if module is None else 'one input'}, "
                    f"not {len(inputs)}"
                )
            steps.append(Step(place, tuple(inputs), Sum() if module is None else module))
            known.add(place)
        return cls(steps)


CALLS = "of what a forward calls besides modules, +, relu, flatten, mean and avg_pool2d are read"
POOL = "pool with avg_pool2d or AvgPool2d"
FUNCTIONS: dict[Callable[..., Any], str] = {
    operator.add: "add",
    operator.iadd: "add",
    torch.add: "add",
    torch.relu: "relu",
    functional.relu: "relu",
    torch.flatten: "flatten",
    torch.reshape: "reshape",
    torch.mean: "mean",
    functional.avg_pool2d: "avg_pool2d",
    functional.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    functional.dropout: "dropout",
    functional.dropout2d: "dropout",
    torch.softmax: "softmax",
    functional.softmax: "softmax",
    torch.log_softmax: "log_softmax",
    functional.log_softmax: "log_softmax",
    functional.max_pool2d: "max_pool2d",
    torch.max_pool2d: "max_pool2d",
}
METHODS = {
    **{name: name for name in ("relu", "flatten", "reshape", "mean", "softmax", "log_softmax")},
    "add": "add",
    "add_": "add",
    "relu_": "relu",
    "view": "reshape",
    **dict.fromkeys(("contiguous", "clone"), "dropout"),
}

SIZES = ("size", "dim", "numel", getattr)
NUMBERS = (operator.getitem, operator.floordiv, operator.mul)
"""What is called to ask for a size; to count with sizes."""


IsFollowed = Callable[[nn.Module], bool]
"""Whether a module's forward is followed, not the module taken as one step."""


def trace(network: nn.Module, is_followed: IsFollowed | None = None) -> Traced:
    """The steps of a module in evaluation mode.

    Parameters
    ----------
    network
        As `sw.importers.modules.as_read` gives it; the steps have its modules, not copies.
    is_followed
        By default, Sequentials and a user's own classes are.

    Raises
    ------
    ConvertError
        When its forward cannot be followed: it asks for values, or takes or returns something
        else than one tensor.
    """
    tracer = _Tracer(is_followed or _is_followed)
    if tracer.is_leaf_module(network, ""):
        return Traced([Step(f"network ({type(network).__name__})", (INPUT,), network)])
    held = [(module, dict(vars(module))) for module in network.modules()]
    try:
        graph = tracer.trace(network)
    except Exception as error:  # a stranger's forward may raise anything
        found = f"{type(error).__name__}: {error}".strip(" :").splitlines()[0]
        raise ConvertError(
            f"Network cannot be followed by torch.fx, its forward must do the same with every "
            f"image: {found}"
        ) from None
    finally:  # what a forward keeps would be no tensor
        for module, before in held:
            vars(module).clear()
            vars(module).update(before)
    return Traced(_steps(network, graph))


class _Tracer(fx.Tracer):
    """Follows containers and a user's own classes, and takes a library's module as one step."""

    def __init__(self, is_followed: IsFollowed) -> None:
        super().__init__()
        self.is_followed = is_followed

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not self.is_followed(m)


def _is_followed(module: nn.Module) -> bool:
    return kind(module) is nn.Module or kind(module).__name__ == "Sequential"


def _steps(network: nn.Module, graph: fx.Graph) -> list[Step]:
    """The steps that a graph has, without those of which nothing comes."""
    reader = _GraphReader(network)
    for node in graph.nodes:
        reader.read(node)
    if not reader.steps:
        raise ConvertError("Network must do something with its input")
    return _used(reader.steps)


class _GraphReader:
    """Makes steps of nodes, one after the other."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.steps = network, list[Step]()
        self.made: dict[fx.Node, str] = {}
        """The place at which a node's value is made; sizes and numbers have none."""

    def read(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if not self.made:  # what else a forward may be given is never known
                self.made[node] = INPUT
        elif node.op == "call_module":
            self._call_module(node)
        elif node.op in ("call_function", "call_method"):
            self._call(node)
        elif node.op == "output":
            self._end(node.args[0])

    def _add(self, node: fx.Node, place: str, module: nn.Module, of: Sequence[Any]) -> None:
        if not of or any(value not in self.made for value in of):
            of = ()
            if not isinstance(module, Unread):
                module = Unread("it must take what its network made of the image")
        inputs = tuple(self.made[value] for value in of)
        first, *others = module if type(module) is nn.Sequential else (module,)
        names = [place, *(f"{place}, then {type(other).__name__}" for other in others)]
        for name, part in zip(names, (first, *others), strict=True):
            self.steps.append(Step(name, inputs, part))
            inputs = (name,)
        self.made[node] = names[-1]

    def _call_module(self, node: fx.Node) -> None:
        module = self.network.get_submodule(str(node.target))
        place = f"{node.target} ({type(module).__name__})"
        if place in self.made.values():  # it is called again
            place = f"{place} as {node.name}"
        if len(node.args) != 1 or node.kwargs:
            module = Unread("it must be called with one value")
        self._add(node, place, module, node.args[:1])

    def _call(self, node: fx.Node) -> None:
        target: Any = node.target
        name = (FUNCTIONS if node.op == "call_function" else METHODS).get(target)
        counts = target in NUMBERS and not any(value in self.made for value in node.args)
        if name is None and (target in SIZES or counts):
            return
        try:
            module = _module(name, node)
        except (IndexError, TypeError, ValueError):
            module = Unread(CALLS)
        place = f"{node.name} ({name or _called(target)})"
        self._add(node, place, module, node.args[: 2 if isinstance(module, Sum) else 1])

    def _end(self, out: Any) -> None:
        if not isinstance(out, fx.Node) or out not in self.made:
            raise ConvertError(f"Network must return a tensor, not a {type(out).__name__}")
        if self.steps and self.made[out] != self.steps[-1].place:
            self.steps.append(Step("output", (self.made[out],), nn.Identity()))


def _used(steps: list[Step]) -> list[Step]:
    """Those of which something comes of in the output."""
    needed, kept = {steps[-1].place}, []
    for step in reversed(steps):
        if step.place in needed:
            needed |= set(step.inputs)
            kept.append(step)
    return kept[::-1]


def _called(target: Any) -> str:
    name = target if isinstance(target, str) else getattr(target, "__name__", None)
    return name or f"a {type(target).__name__}"


def _module(name: str | None, node: fx.Node) -> nn.Module:
    """The module that does what is called."""
    more: tuple[Any, ...] = tuple(node.args[1:])
    options: dict[str, Any] = {k: v for k, v in node.kwargs.items() if k != "inplace"}

    def option(at: int, key: str, default: Any = None) -> Any:
        return more[at] if len(more) > at else options.get(key, default)

    match name:
        case "add" if [type(a) for a in node.args] == [fx.Node, fx.Node] and not options:
            return Sum()
        case "relu":
            return nn.ReLU()
        case "dropout":
            return nn.Identity()
        case "flatten":
            return nn.Flatten(option(0, "start_dim", 0), option(1, "end_dim", -1))
        case "reshape":
            sizes = more[0] if len(more) == 1 and isinstance(more[0], (tuple, list)) else more
            if len(sizes) == 2 and isinstance(sizes[1], int):  # (n, -1), (-1, values)
                return nn.Flatten()
        case "mean":
            if sorted(d % 4 for d in option(0, "dim")) == [2, 3]:
                pool = nn.AdaptiveAvgPool2d(1)
                return pool if option(1, "keepdim") else nn.Sequential(pool, nn.Flatten())
        case "avg_pool2d":
            return nn.AvgPool2d(*more, **options)
        case "adaptive_avg_pool2d":
            return nn.AdaptiveAvgPool2d(*more, **options)
        case "softmax":
            return nn.Softmax(option(0, "dim"))
        case "log_softmax":
            return nn.LogSoftmax(option(0, "dim"))
    return Unread(POOL if name == "max_pool2d" else CALLS)
