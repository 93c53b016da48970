"""The ternary leaky integrate-and-fire neuron in torch, real-valued or integer.

The law is a pure function, `lif_step(x, u, p) -> (c, u)`; `TernaryLIF` adds what is trained. With
the parameters of a `NeuronSpec` the same code is the integer neuron of docs/arithmetic.md, equal
to `sim.golden` at every step, and still has gradients: quantisation-aware training runs on it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hw.spec import DECAYS, RESETS, NeuronSpec, SternaError

__all__ = ["LIFParameters", "NeuronError", "TernaryLIF", "lif_step"]


class NeuronError(SternaError, ValueError):
    """Parameters that no neuron can have."""


@dataclass(frozen=True, kw_only=True)
class LIFParameters:
    """Constants of `lif_step`; the fields are those of `NeuronSpec`, real-valued.

    Parameters
    ----------
    theta
        Firing threshold, > 0, inclusive on both sides.
    decay, decay_shift
        `none`: d = u. `shift`: d = u * 2^-k. `leak`: d = u - u * 2^-k.
    reset, step
        `hard` to 0, or `soft`: a spike subtracts `step` (0 under hard reset).
    u0
        Potential before the first step.
    u_max
        None: real-valued. A number: potentials are integers, decay truncates toward zero and
        what is stored saturates at +-u_max.
    """

    theta: float = 1.0
    decay: str = "shift"
    decay_shift: int = 2
    reset: str = "hard"
    step: float = 0.0
    u0: float = 0.0
    u_max: int | None = None

    def __post_init__(self) -> None:
        for what, value, choices in (("Decay", self.decay, DECAYS), ("Reset", self.reset, RESETS)):
            if value not in choices:
                raise NeuronError(f"{what} must be one of {choices}, not {value!r}")
        if not 0 < self.theta < float("inf"):
            raise NeuronError(f"Threshold must be positive and finite, not {self.theta!r}")

    @classmethod
    def from_spec(cls, spec: NeuronSpec) -> "LIFParameters":
        """The integer neuron of the contract."""
        return cls(
            theta=spec.theta,
            decay=spec.decay,
            decay_shift=spec.decay_shift,
            reset=spec.reset,
            step=spec.step,
            u0=spec.u0,
            u_max=spec.u_max,
        )


class _Fire(torch.autograd.Function):
    """Ternary firing with the straight-through rectangle of *Ternary Spike* (arXiv 2312.06372):
    backward is the gradient of clamp(v/theta, -1, 1), so dc/dv = 1/theta where |v| <= theta."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, theta: float) -> Tensor:
        ctx.save_for_backward(v)
        ctx.theta = theta
        return (v >= theta).to(v.dtype) - (v <= -theta).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        (v,) = ctx.saved_tensors
        return grad[0] * (v.abs() <= ctx.theta) / ctx.theta, None


class _Truncate(torch.autograd.Function):
    """Truncation toward zero; straight-through, or it would end every gradient over time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.trunc()

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Tensor:
        return grad[0]


def _fire(v: Tensor, theta: float) -> Tensor:
    return _Fire.apply(v, theta)  # type: ignore[no-any-return]


def _decay(u: Tensor, p: LIFParameters) -> Tensor:
    if p.decay == "none":
        return u
    part = u * 2.0**-p.decay_shift  # a power of two: exact in floating point
    if p.u_max is not None:
        part = _Truncate.apply(part)
    return part if p.decay == "shift" else u - part


def lif_step(x: Tensor, u: Tensor, p: LIFParameters) -> tuple[Tensor, Tensor]:
    """One time step: drive x and potential u to unit spikes c and the next potential.

    `v = decay(u) + x`, `c = fire(v)`, then `u = v (1 - |c|)` (hard) or `u = v - c*step` (soft).
    (*Ternary Spike*, arXiv 2312.06372, eqs 7-8.) As in the paper's code the gradient is not
    detached at the reset: |c| carries the surrogate gradient.
    """
    v = _decay(u, p) + x
    c = _fire(v, p.theta)
    u = v * (1 - c.abs()) if p.reset == "hard" else v - c * p.step
    if p.u_max is not None:
        u = u.clamp(-p.u_max, p.u_max)
    return c, u


class TernaryLIF(nn.Module):
    """A layer of ternary neurons with one spike amplitude (*Ternary Spike*, eqs 13-14).

    Parameters
    ----------
    constants
        Threshold, decay, reset and the rest.
    amplitude
        What a spike is worth to its receivers; applied after the reset, which sees unit spikes.
    train_amplitude
        Whether the amplitude is trained. An integer neuron has amplitude 1, never trained: by then
        it is folded into the receiving weights.
    """

    amplitude: Tensor

    def __init__(
        self,
        constants: LIFParameters | None = None,
        *,
        amplitude: float = 1.0,
        train_amplitude: bool = True,
    ) -> None:
        super().__init__()
        self.constants = constants if constants is not None else LIFParameters()
        value = torch.tensor(float(amplitude))
        if train_amplitude:
            self.amplitude = nn.Parameter(value)
        else:
            self.register_buffer("amplitude", value)

    @classmethod
    def from_spec(cls, spec: NeuronSpec) -> "TernaryLIF":
        """The integer neuron of the contract, for integer-valued drives."""
        return cls(LIFParameters.from_spec(spec), train_amplitude=False)

    def initial(self, x: Tensor) -> Tensor:
        """Potential before the first step, shaped like the drive x."""
        return torch.full_like(x, float(self.constants.u0))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step: drive (n, neurons) and potential to spikes (amplitude * c) and potential."""
        u = self.initial(x) if state is None else state
        c, u = lif_step(x, u, self.constants)
        return self.amplitude * c, u

    def over_time(self, x: Tensor, steps: int | None = None) -> tuple[Tensor, Tensor]:
        """All steps: unit spikes c and potentials, both (T, n, neurons).

        Parameters
        ----------
        x
            Drives (T, n, neurons); or with `steps` given one drive (n, neurons), the same at every
            step (direct coding).
        """
        u = self.initial(x if steps is not None else x[0])
        spikes, potentials = [], []
        for drive in (x,) * steps if steps is not None else x:
            c, u = lif_step(drive, u, self.constants)
            spikes.append(c)
            potentials.append(u)
        return torch.stack(spikes), torch.stack(potentials)
