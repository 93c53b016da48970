"""The ternary leaky integrate-and-fire neuron in torch, real-valued or integer.

The law is a pure function, `lif_step(x, state, p) -> (c, state)`; `TernaryLIF` adds what is
trained. With the parameters of a `NeuronSpec` the same code is the integer neuron of
docs/arithmetic.md, equal to `sim.golden.model` at every step, and still has gradients:
quantisation-aware training runs on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hw.contract.checks import SternaError
from hw.contract.neuron import (
    CURRENTS,
    DECAY_ROUNDINGS,
    DECAY_TIMES,
    DECAYS,
    MAX_LIMIT,
    NEGATIVES,
    READINGS,
    RESETS,
    NeuronSpec,
    ReadoutSpec,
)

__all__ = [
    "LIFParameters",
    "NeuronError",
    "ReadoutParameters",
    "State",
    "TernaryLIF",
    "compile_neurons",
    "compiled_law",
    "current_gain",
    "lif_step",
    "read_out",
    "straight_through",
]


class NeuronError(SternaError, ValueError):
    """Parameters that no neuron can have."""


@dataclass(frozen=True, kw_only=True)
class LIFParameters:
    """Constants of `lif_step`; the fields are those of `NeuronSpec`, real-valued.

    Parameters
    ----------
    theta, theta_negative
        Firing thresholds, > 0, inclusive; None: both are equal.
    negative
        The negative side: `free`, `off` or `guarded`, as in `NeuronSpec`.
    limit
        Largest |c|.
    decay, decay_shift, decay_factor, decay_when
        `none`: d = u. `shift`: d = u * 2^-k. `leak`: d = u - u * 2^-k. `factor`: d = u * m * 2^-k;
        with k = 0, m is a real part of 1. `after`: u0 is not decayed.
    fraction_bits
        The drive counts 2^f times.
    current, current_shift, current_factor
        What is kept of the synaptic current, by the same laws; `off`: nothing, it is the drive.
    reset, step
        `hard` to 0, or `soft`: a spike subtracts `step` (0 under hard reset).
    u0
        Potential before the first step.
    u_max
        None: real-valued. A number: potentials are integers, decay rounds (`decay_rounding`:
        toward zero, or down) and what is stored saturates at +-u_max.
    window
        Half the width of the surrogate's rectangle, in thresholds; training alone sees it. 1 is
        the paper's equation. (Its released code fires at half of what it divides by: 2.)
    soft
        A neuron sends the surrogate itself, (v - u0) / (window * theta) within -L .. L, not its
        spikes: training may begin so, in one step. Its spikes are this number, rounded, with a
        window of 2, L = 1 and u0 = 0, and with a window of 1, a side that is off and u0 = theta/2.
    """

    theta: float = 1.0
    theta_negative: float | None = None
    negative: str = "free"
    limit: int = 1
    decay: str = "shift"
    decay_shift: int = 2
    decay_factor: float = 0
    decay_rounding: str = "zero"
    decay_when: str = "before"
    fraction_bits: int = 0
    current: str = "off"
    current_shift: int = 0
    current_factor: float = 0
    reset: str = "hard"
    step: float = 0.0
    u0: float = 0.0
    u_max: int | None = None
    window: float = 1.0
    soft: bool = False

    def __post_init__(self) -> None:
        for what, value, choices in (
            ("Decay", self.decay, DECAYS),
            ("Current", self.current, CURRENTS),
            ("Rounding of the decay", self.decay_rounding, DECAY_ROUNDINGS),
            ("Reset", self.reset, RESETS),
            ("Negative side", self.negative, NEGATIVES),
            ("Time of the decay", self.decay_when, DECAY_TIMES),
        ):
            if value not in choices:
                raise NeuronError(f"{what} must be one of {choices}, not {value!r}")
        if not 0 < self.theta < float("inf"):
            raise NeuronError(f"Threshold must be positive and finite, not {self.theta!r}")
        if not 0 < self.theta_down < float("inf"):
            raise NeuronError(
                f"Negative threshold must be positive and finite, not {self.theta_negative!r}"
            )
        if not 1 <= self.limit <= MAX_LIMIT:
            raise NeuronError(
                f"Coefficient limit must be an integer from 1 to {MAX_LIMIT}, not {self.limit!r}"
            )
        if self.soft and (
            self.negative == "guarded" or self.u_max is not None or self.theta_down != self.theta
        ):
            raise NeuronError(
                "Soft neurons must be real-valued, without a guard, and have one threshold"
            )

    @property
    def theta_down(self) -> float:
        """The negative side's threshold."""
        return self.theta if self.theta_negative is None else self.theta_negative

    @property
    def rounds(self) -> bool:
        """Potentials are integers."""
        return self.u_max is not None

    @classmethod
    def from_spec(cls, spec: NeuronSpec) -> "LIFParameters":
        """The integer neuron of the contract."""
        return cls(
            theta=spec.theta,
            theta_negative=spec.theta_negative,
            negative=spec.negative,
            limit=spec.limit,
            decay=spec.decay,
            decay_shift=spec.decay_shift,
            decay_factor=spec.decay_factor,
            decay_rounding=spec.decay_rounding,
            decay_when=spec.decay_when,
            fraction_bits=spec.fraction_bits,
            current=spec.current,
            current_shift=spec.current_shift,
            current_factor=spec.current_factor,
            reset=spec.reset,
            step=spec.step,
            u0=spec.u0,
            u_max=spec.u_max,
        )


@dataclass(frozen=True, kw_only=True)
class ReadoutParameters:
    """Constants of `read_out`; the fields are those of `ReadoutSpec`, real-valued as those of
    `LIFParameters` are.

    Parameters
    ----------
    rounds
        Potentials are integers: decay rounds.
    """

    decay: str = "none"
    decay_shift: int = 0
    decay_factor: float = 0
    decay_rounding: str = "zero"
    fraction_bits: int = 0
    value: str = "last"
    rounds: bool = False

    def __post_init__(self) -> None:
        for what, value, choices in (
            ("Decay", self.decay, DECAYS),
            ("Rounding of the decay", self.decay_rounding, DECAY_ROUNDINGS),
            ("Value of a readout", self.value, READINGS),
        ):
            if value not in choices:
                raise NeuronError(f"{what} must be one of {choices}, not {value!r}")

    @classmethod
    def from_spec(cls, spec: ReadoutSpec) -> "ReadoutParameters":
        """The integer readout of the contract."""
        return cls(**spec.to_dict(), rounds=True)


def _quotient(v: Tensor, theta: float | Tensor, limit: int) -> Tensor:
    """min(limit, v div theta), 0 below; by comparisons, which round nothing."""
    count = (v >= theta).to(v.dtype)
    for n in range(2, limit + 1):
        count += v >= n * theta
    return count


class _Fire(torch.autograd.Function):
    """Firing with the straight-through rectangle of *Ternary Spike* (arXiv 2312.06372): backward is
    the gradient of clamp(v/theta, -1, 1), so dc/dv = 1/theta where |v| <= theta (with a `window` w,
    1/(w*theta) where |v| <= w*theta). With larger coefficients the rectangle is L times as wide; a
    side that is off, or guarded by a count of 0, has none. (The paper has L = 1 and both sides; for
    binary spikes this is its own code's other branch.)"""

    @staticmethod
    def forward(
        ctx: Any, v: Tensor, p: LIFParameters, count: Tensor | None, thetas: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(v, count, thetas)
        ctx.parameters = p
        theta, theta_down = (p.theta, p.theta_down) if thetas is None else (thetas, thetas)
        up = _quotient(v, theta, p.limit)
        if p.negative == "off":
            return up
        down = _quotient(-v, theta_down, p.limit)
        return up - (down if count is None else torch.minimum(down, count))

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None, None, None]:
        (v, count, thetas), p = ctx.saved_tensors, ctx.parameters
        theta, theta_down = (p.theta, p.theta_down) if thetas is None else (thetas, thetas)
        reach = p.limit * p.window
        low = 0.0 if p.negative == "off" else -reach * theta_down
        if count is not None:
            low = torch.where(count > 0, low, 0.0)
        inside = (v >= low) & (v <= reach * theta)
        return grad[0] * inside / (p.window * theta), None, None, None


class _Truncate(torch.autograd.Function):
    """Truncation toward zero, or down; straight-through, or it would end every gradient over
    time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rounding: str) -> Tensor:
        return x.floor() if rounding == "floor" else x.trunc()

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        return grad[0], None


def straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """Value of `rounded`, gradient of x. (x + (rounded - x) would not be exact.)"""
    return _Rounded.apply(x, rounded)  # type: ignore[no-any-return]


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rounded: Tensor) -> Tensor:
        return torch.empty_like(x).copy_(rounded)  # in memory as x lies

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        return grad[0], None


def _fire(v: Tensor, p: LIFParameters, state: "State") -> Tensor:
    if p.soft:
        low = 0 if p.negative == "off" else -p.limit
        return ((v - p.u0 if p.u0 else v) / (p.window * p.theta)).clamp(low, p.limit)
    return _Fire.apply(v, p, state.count, state.thetas)  # type: ignore[no-any-return]


def _decay(
    u: Tensor, p: LIFParameters | ReadoutParameters, factors: Tensor | None = None
) -> Tensor:
    return _kept(u, p, p.decay, p.decay_shift, p.decay_factor if factors is None else factors)


def _integrate(drive: Tensor, state: "State", p: LIFParameters) -> Tensor:
    """The synaptic current: what is kept of it, and the drive in units of the potential."""
    x = drive * 2.0**p.fraction_bits if p.fraction_bits else drive
    if state.current is None:
        return x
    return _kept(state.current, p, p.current, p.current_shift, p.current_factor) + x


def _kept(
    u: Tensor, p: LIFParameters | ReadoutParameters, kind: str, shift: int, factor: float | Tensor
) -> Tensor:
    """Law 2, of a potential or of a current."""
    if kind == "none":
        return u
    product = u * factor if kind == "factor" else u
    part = product * 2.0**-shift  # a power of two: exact in floating point
    if p.rounds:
        part = _Truncate.apply(part, p.decay_rounding)
    return u - part if kind == "leak" else part


def current_gain(p: LIFParameters, steps: int) -> float:
    """How many times a drive that stays is in the synaptic current after so many steps."""
    part = (p.current_factor if p.current == "factor" else 1.0) * 2.0**-p.current_shift
    kept = {"off": 0.0, "none": 1.0, "leak": 1 - part}.get(p.current, part)
    return float(sum(kept**step for step in range(steps)))


class State(NamedTuple):
    """What a neuron keeps from step to step: its stored potential; its signed count of spikes (None
    without a guard); a threshold of its own, for both sides (None: that of its layer), a reset
    step, a factor of its decay; its synaptic current (None: it has none)."""

    u: Tensor
    count: Tensor | None = None
    thetas: Tensor | None = None
    steps: Tensor | None = None
    factors: Tensor | None = None
    current: Tensor | None = None


def lif_step(
    x: Tensor, state: State, p: LIFParameters, first: bool = False
) -> tuple[Tensor, State]:
    """One time step: drive x and state to coefficients c and the next state.

    `v = decay(u) + x`, `c = fire(v)`, then `u = 0 where c` (hard) or `u = v - c*step` (soft). Of
    neurons with a synaptic current, it is the current, with the drive added to it, in place of x.
    (*Ternary Spike*, arXiv 2312.06372, eqs 7-8.) As in the paper's code the gradient is not
    detached at the reset: |c| carries the surrogate gradient.

    Parameters
    ----------
    first
        The first step of an image, whose potential may not be decayed (`decay_when`).
    """
    kept = first and p.decay_when == "after"
    current = _integrate(x, state, p)
    v = (state.u if kept else _decay(state.u, p, state.factors)) + current
    c = _fire(v, p, state)
    # In this form the gradient of the reset is the paper's; |c| counts once.
    if p.reset == "hard":
        u = v * (1 - c.abs().clamp(max=1))
    else:
        u = v - c * (p.step if state.steps is None else state.steps)
    if p.u_max is not None:
        u = u.clamp(-p.u_max, p.u_max)
    count = None if state.count is None else state.count + c.detach()
    current = None if state.current is None else current
    return c, State(u, count, state.thetas, state.steps, state.factors, current)


def read_out(drives: Sequence[Tensor], p: ReadoutParameters | None) -> Tensor:
    """Logits of a readout (law 6): what is read of potentials `m = decay(m) + drive * 2^f`; without
    parameters, the sum of the drives of all steps."""
    if p is None:
        return torch.stack([*drives]).sum(dim=0)
    values = list[Tensor]()
    for drive in drives:
        fresh = drive * 2.0**p.fraction_bits if p.fraction_bits else drive
        values.append(_decay(values[-1], p) + fresh if values else fresh)
    if p.value == "last":
        return values[-1]
    every = torch.stack(values)
    return every.sum(dim=0) if p.value == "sum" else every.amax(dim=0)


Law = Callable[[Tensor, State, LIFParameters, bool], tuple[Tensor, State]]
"""`lif_step`, or what computes the same."""


@cache
def compiled_law() -> Law:
    """`lif_step` through torch.compile: three to five times as fast, the first call of each kind
    of neuron some seconds slower. Needs a C++ compiler. Integers stay exact; of real values the
    last bit may differ."""
    torch._dynamo.config.recompile_limit = 64  # kinds of neurons, trained and evaluated
    return torch.compile(lif_step, dynamic=True)


def compile_neurons(network: nn.Module) -> None:
    """Let all neurons of a network use `compiled_law`."""
    for module in network.modules():
        if isinstance(module, TernaryLIF):
            module.law = compiled_law()


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
    thetas, steps, factors
        A threshold for each neuron, for both sides, a reset step, a factor of the decay, in place
        of the layer's; shaped as its drive is, without n.
    """

    amplitude: Tensor
    thetas: Tensor | None
    steps: Tensor | None
    factors: Tensor | None

    def __init__(
        self,
        constants: LIFParameters | None = None,
        *,
        amplitude: float = 1.0,
        train_amplitude: bool = True,
        thetas: Tensor | None = None,
        steps: Tensor | None = None,
        factors: Tensor | None = None,
    ) -> None:
        super().__init__()
        for name, values in (("thetas", thetas), ("steps", steps), ("factors", factors)):
            self.register_buffer(name, values, persistent=False)
        self.constants = constants if constants is not None else LIFParameters()
        self.law: Law = lif_step
        value = torch.tensor(float(amplitude))
        self.scales = train_amplitude or amplitude != 1
        if train_amplitude:
            self.amplitude = nn.Parameter(value)
        else:
            self.register_buffer("amplitude", value)

    @classmethod
    def from_spec(cls, spec: NeuronSpec, thetas: Tensor | None = None) -> "TernaryLIF":
        """The integer neuron of the contract, for integer-valued drives."""
        return cls(LIFParameters.from_spec(spec), train_amplitude=False, thetas=thetas)

    def initial(self, x: Tensor) -> State:
        """The state before the first step, shaped like the drive x."""
        guarded = self.constants.negative == "guarded"
        u = torch.full_like(x, float(self.constants.u0))
        count = torch.zeros_like(x) if guarded else None
        current = None if self.constants.current == "off" else torch.zeros_like(x)
        return State(u, count, self.thetas, self.steps, self.factors, current)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One step: drive (n, ...) and state to unit spikes and state; without a state, the
        first step."""
        before = self.initial(x) if state is None else state
        return self.law(x, before, self.constants, state is None)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """`step`, its spikes times the amplitude."""
        c, after = self.step(x, state)
        return self.amplified(c), after

    def amplified(self, c: Tensor) -> Tensor:
        """What unit spikes are worth to the receivers."""
        return self.amplitude * c if self.scales else c

    def over_time(self, x: Tensor, steps: int | None = None) -> tuple[Tensor, Tensor]:
        """All steps: unit spikes c and potentials, both (T, n, ...).

        Parameters
        ----------
        x
            Drives (T, n, ...), of neurons or of their maps; or with `steps` given one drive
            (n, ...), the same at every step (direct coding).
        """
        state = self.initial(x if steps is not None else x[0])
        spikes, potentials = [], []
        first = self.constants.decay_when == "after"
        for step, drive in enumerate((x,) * steps if steps is not None else x):
            c, state = self.law(drive, state, self.constants, first and step == 0)
            spikes.append(c)
            potentials.append(state.u)
        return _joined(spikes), _joined(potentials)


def _joined(steps: list[Tensor]) -> Tensor:
    """`torch.stack`, but each step's maps keep their order in memory; one step is not copied."""
    return torch.cat(steps).unflatten(0, (len(steps), -1)) if len(steps) > 1 else steps[0][None]
