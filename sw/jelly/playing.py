"""A network of SpikingJelly played over all time steps, and what its nodes give and keep."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from sw.jelly.nodes import library
from sw.reading.network import Membrane

__all__ = [
    "FORMS",
    "Form",
    "in_steps",
    "membrane_of",
    "record",
    "run_module",
    "run_recorded",
    "takes_steps",
]


def takes_steps(module: nn.Module) -> bool:
    """Whether a module takes all time steps at once, (T, n, ...)."""
    return (
        isinstance(module, library().base.MultiStepModule)
        or getattr(module, "step_mode", "s") == "m"
    )


Form = str


FORMS: tuple[Form, ...] = ("all", "images first", "each")
"""How recordings are taken: (T, n, ...); (n, T, ...); an image of each step, (n, ...)."""


@torch.no_grad()
def run_module(module: nn.Module, x: Tensor, steps: int) -> Tensor:
    """The outputs of all steps added up, (n, classes), of a module that is given x (n, ...) at
    every step; of one that adds up or averages by itself in its own `forward`, what it returns."""
    at_once = any(takes_steps(m) for m in module.modules())
    form = "all" if at_once else "each"
    return run_recorded(module, x.expand(steps, *x.shape), form)


@torch.no_grad()
def run_recorded(module: nn.Module, x: Tensor, form: Form) -> Tensor:
    """As `run_module`, of a module that is given x (T, n, ...) in one of the `FORMS`."""
    reset = library().functional.reset_net
    reset(module)
    if form == "each":
        out = sum((module(image) for image in x), torch.zeros(()))
    else:
        out = module(x if form == "all" else x.transpose(0, 1))
        out = (
            out.sum(dim=int(form != "all" and out.shape[:2] == x.shape[1::-1]))
            if (out.ndim == 3)
            else out
        )
    reset(module)
    return out


def record(out: list[Tensor], kept: list[Tensor], node: nn.Module, given: Any, made: Any) -> None:
    if isinstance(made, Tensor):
        out.append(made.detach())
    v = getattr(node, "v_seq" if takes_steps(node) else "v", None)
    if isinstance(v, Tensor):
        kept.append(v.detach().double())


def membrane_of(node: nn.Module, v: Tensor | None) -> Membrane | str:
    """What a node kept after its resets, (T, n, neurons), from its rest, in thresholds."""
    if v is None:
        return "its nodes do not keep their potentials of all steps"
    settings = cast(Any, node)
    rest = settings.v_reset or 0.0
    return Membrane((v - rest) / (settings.v_threshold - rest))


def in_steps(said: Sequence[Tensor], steps: int, n: int) -> Tensor | None:
    """(T, n, neurons) of what a node gave: of all steps at once, or at each. None: it is neither,
    as of a node that is used twice."""
    if not said or len(said) not in (1, steps):
        return None
    if sum(part.numel() for part in said) % (steps * n):
        return None
    made = torch.cat([part.reshape(-1) for part in said]).reshape(steps, n, -1)
    parts = said[0].shape[0] if len(said) == 1 else len(said)
    return made if parts == steps else None
