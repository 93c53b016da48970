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

__all__ = ["Step", "Traced", "Unread", "trace"]


class Unread(nn.Module):
    """Stands where something is called that no module does."""

    def __init__(self, advice: str) -> None:
        super().__init__()
        self.advice = advice


class Sum(nn.Module):
    """The sum of two values."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


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
    **{"add": "add", "add_": "add", "relu_": "relu", "view": "reshape"},
    **dict.fromkeys(("contiguous", "clone"), "dropout"),
}


def trace(network: nn.Module) -> Traced:
    """The steps of a module in evaluation mode.

    Parameters
    ----------
    network
        As `sw.importers.modules.as_read` gives it; the steps have its modules, not copies.

    Raises
    ------
    ConvertError
        When its forward cannot be followed: it asks for values, or takes or returns something
        else than one tensor.
    """
    tracer = _Tracer()
    if tracer.is_leaf_module(network, ""):
        return Traced([Step(f"network ({type(network).__name__})", (INPUT,), network)])
    try:
        graph = tracer.trace(network)
    except Exception as error:  # a stranger's forward may raise anything
        found = f"{type(error).__name__}: {error}".strip(" :").splitlines()[0]
        raise ConvertError(
            f"Network cannot be followed by torch.fx, its forward must do the same with every "
            f"image: {found}"
        ) from None
    return Traced(_steps(network, graph))


class _Tracer(fx.Tracer):
    """Follows containers and a user's own classes, and takes a library's module as one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return kind(m) is not nn.Module and kind(m).__name__ != "Sequential"


def _steps(network: nn.Module, graph: fx.Graph) -> list[Step]:
    steps: list[Step] = []
    made: dict[fx.Node, str] = {}  # by which place a node's value goes; what is no value is left out

    def add(place: str, module: nn.Module, *of: fx.Node) -> str:
        unknown = [node for node in of if node not in made]
        if unknown:
            module, of = Unread("it must take what its network made of the image"), ()
        if isinstance(module, nn.Sequential):  # of ours
            first, second = module
            steps.append(Step(f"{place}, pooled", tuple(made[node] for node in of), first))
            steps.append(Step(place, (steps[-1].place,), second))
            return place
        steps.append(Step(place, tuple(made[node] for node in of), module))
        return place

    for node in graph.nodes:
        if node.op == "placeholder":
            if INPUT not in made.values():
                made[node] = INPUT
        elif node.op == "output":
            (out,) = node.args
            if not isinstance(out, fx.Node) or out not in made:
                raise ConvertError(f"Network must return a tensor, not {_called(out)}")
            if made[out] != (steps[-1].place if steps else INPUT):
                steps.append(Step("output", (made[out],), nn.Identity()))
        elif node.op == "call_module":
            module = network.get_submodule(node.target)
            place = f"{node.target} ({type(module).__name__})"
            place = place if place not in made.values() else f"{place} as {node.name}"
            if len(node.args) != 1 or node.kwargs or not isinstance(node.args[0], fx.Node):
                made[node] = add(place, Unread("it must be called with one value"))
            else:
                made[node] = add(place, module, node.args[0])
        elif node.op in ("call_function", "call_method"):
            names = FUNCTIONS if node.op == "call_function" else METHODS
            name = names.get(node.target)
            if name is None and _is_number(node):
                continue
            place = f"{node.name} ({name or _called(node.target)})"
            values = [a for a in node.args if isinstance(a, fx.Node)]
            try:
                module = _module(name, node)
            except (IndexError, TypeError, ValueError):
                module = Unread(CALLS)
            of = values[: 2 if isinstance(module, Sum) else 1]
            made[node] = add(place, module, *of)
    if not steps:
        raise ConvertError("Network must do something with its input")
    return _used(steps)


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


def _is_number(node: fx.Node) -> bool:
    """Whether what is called asks for a size, or counts with one."""
    return node.target in ("size", "dim", "numel", getattr, operator.getitem, operator.floordiv)


def _module(name: str | None, node: fx.Node) -> nn.Module:
    """The module that does what is called."""
    more, options = node.args[1:], {k: v for k, v in node.kwargs.items() if k != "inplace"}
    if name == "add" and not options and [type(a) for a in node.args] == [fx.Node, fx.Node]:
        return Sum()
    if name == "relu":
        return nn.ReLU()
    if name == "flatten":
        start, end = options.get("start_dim", 0), options.get("end_dim", -1)
        start, end = (*more, *(start, end)[len(more) :])  # type: ignore[misc]
        return nn.Flatten(start, end)
    if name == "reshape":
        sizes = more[0] if len(more) == 1 and isinstance(more[0], (tuple, list)) else more
        first, second = sizes  # type: ignore[misc]
        if isinstance(second, int):  # images by values: (n, -1), (-1, values)
            return nn.Flatten()
    if name == "mean":
        dims = more[0] if more else options.get("dim")
        keeps = more[1] if len(more) > 1 else options.get("keepdim", False)
        if sorted(d % 4 for d in dims) == [2, 3]:  # type: ignore[union-attr]
            pool = nn.AdaptiveAvgPool2d(1)
            return pool if keeps else nn.Sequential(pool, nn.Flatten())
    if name == "avg_pool2d":
        return nn.AvgPool2d(*more, **options)  # type: ignore[arg-type]
    if name == "adaptive_avg_pool2d":
        return nn.AdaptiveAvgPool2d(*more, **options)  # type: ignore[arg-type]
    if name == "dropout":
        return nn.Identity()
    if name in ("softmax", "log_softmax"):
        dim = more[0] if more else options.get("dim")
        return (nn.Softmax if name == "softmax" else nn.LogSoftmax)(dim)  # type: ignore[arg-type]
    return Unread(POOL if name == "max_pool2d" else CALLS)
