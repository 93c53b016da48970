"""What the modules of a network were given, and made, while it ran."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sw.importers.affine import ConvertError
from sw.reading.network import BOUNDS

__all__ = ["Call", "IsNode", "Watch", "first_step", "innermost", "same"]

IsNode = Callable[[nn.Module], bool]
"""Whether a module is one of neurons: what is inside of it is its own."""


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
        if any(same(calls[n].given, x) for x in (calls[0].given, *inputs)):
            return list(calls[:n])
    return list(calls)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two values are the same but for their shape."""
    return a.numel() == b.numel() and torch.equal(a.flatten(), b.flatten().to(a.dtype))
