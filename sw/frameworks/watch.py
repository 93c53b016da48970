"""A module that is run once, and watched: which of its modules gets what the one before it made.

So a class with a forward of its own, whatever it calls its modules in, is read like a Sequential.
What it computes between them without a module is not seen, but found out: the values differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hw.contract.edge import INPUT
from sw.importers.affine import Cause
from sw.importers.trace import Step

__all__ = ["Call", "Watch", "as_steps", "first_step", "innermost"]

IsNode = Callable[[nn.Module], bool]
"""Whether a module is one of neurons: what is inside of it is its own."""

Expand = Callable[["Call", str, str], list[Step]]
"""The steps that a call is: of its name, and the place of what it is given. The last one has that
name."""


@dataclass(frozen=True, eq=False)
class Call:
    """A module that ran: its place, what it was given, what it made.

    Parameters
    ----------
    once
        It has weights, or is a neuron: it is used once in a time step.
    """

    place: str
    module: nn.Module
    given: Tensor
    made: Tensor
    once: bool


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


class Watch:
    """Notes every call of a network's innermost modules while it is open; and keeps all that its
    modules are given in double precision, in which spikes of some frameworks are not."""

    def __init__(self, network: nn.Module, is_node: IsNode) -> None:
        self.calls: list[Call] = []
        self._hooks = [m.register_forward_pre_hook(_doubled) for m in network.modules()]
        for place, module in innermost(network, is_node):
            once = is_node(module) or any(True for _ in module.parameters())
            self._hooks.append(module.register_forward_hook(self._note(place, once)))

    def _note(self, place: str, once: bool) -> Callable[..., None]:
        def note(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            # Neurons return their potential, too; quantised tensors have their value first.
            x, out = (value[0] if isinstance(value, tuple) else value for value in (given[0], made))
            if isinstance(x, Tensor) and isinstance(out, Tensor):
                self.calls.append(Call(place, module, x.detach(), out.detach().double(), once))

        return note

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


def _doubled(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in given
    )


def first_step(calls: Sequence[Call]) -> list[Call]:
    """The calls of the first time step, up to the last module that is used once, and what follows
    it."""
    seen: set[str] = set()
    for n, call in enumerate(calls):
        if call.once:
            if call.place in seen:
                calls = calls[:n]
                break
            seen.add(call.place)
    # What has no weights may belong to the next step already: it is given the input once more.
    kept = list(calls)
    while kept and not kept[-1].once and _same(kept[-1].given, calls[0].given):
        kept.pop()
    return kept


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
        steps += expand(call, title, here)
        before, value = title, call.made
    return steps, causes
