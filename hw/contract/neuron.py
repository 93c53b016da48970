"""The numeric contract of a neuron, as a frozen dataclass.

Every law named here is stated in words, equation and worked example in `docs/arithmetic.md`;
`hw/contract/laws.py` has them in NumPy. This module imports neither Amaranth nor torch: the
hardware, the golden model and the trainer all read the same fields.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from hw.contract.checks import require, require_int, signed_bits

__all__ = [
    "CURRENTS",
    "DECAYS",
    "DECAY_ROUNDINGS",
    "DECAY_TIMES",
    "MAX_FACTOR_SHIFT",
    "MAX_LIMIT",
    "MAX_WIDTH",
    "NEGATIVES",
    "READINGS",
    "RESETS",
    "Decay",
    "NeuronSpec",
    "ReadoutSpec",
    "factor_shift",
]

DECAYS = ("none", "shift", "leak", "factor")
CURRENTS = ("off", *DECAYS)
DECAY_TIMES = ("before", "after")
DECAY_ROUNDINGS = ("zero", "floor")
RESETS = ("hard", "soft")
NEGATIVES = ("free", "off", "guarded")
READINGS = ("last", "sum", "max")

MAX_LIMIT = 15
"""Largest spike coefficient: four bit planes."""

MAX_FACTOR_SHIFT = 12
"""Most bits of the fraction that a decay keeps of a potential."""

NEWER_FIELDS = {
    *("theta_negative", "negative", "limit", "decay_when", "fraction_bits"),
    *("decay_factor", "decay_rounding"),
    *("current", "current_shift", "current_factor"),
}
"""Of `NeuronSpec`, since version 2 of the network file, since version 7, and since version 8."""

MAX_WIDTH = 32
"""Widest signed integer (potential, drive, logit) that the contract admits, in bits."""


class Decay(NamedTuple):
    """Law 2 by itself: what is kept of a potential, or of a synaptic current, see `NeuronSpec`;
    `off`: nothing."""

    kind: str = "none"
    shift: int = 0
    factor: int = 0
    rounding: str = "zero"


def factor_shift(decays: Iterable[Decay]) -> int:
    """Largest k of the factors m / 2^k that each channel has of its own; 0: none has."""
    own = (decay for decay in decays if decay.kind == "factor" and not decay.factor)
    return max((decay.shift for decay in own), default=0)


@dataclass(frozen=True, kw_only=True)
class NeuronSpec:
    """One integrate-and-fire neuron, shared by all neurons of a layer: a row of the neuron table.

    Per time step: `x = kept(x) + I * 2^f`; `v = decay(u) + x`; `c = min(L, v div theta)` on the
    positive side,
    `-min(L, -v div theta_negative)` on the negative one; then `u = 0 if c else v` (hard reset) or
    `u = v - c * step` (soft), saturated to `potential_bits`. With L = 1 this is the ternary neuron
    of *Ternary Spike* (arXiv 2312.06372, eqs 7-8), with L > 1 and a guard that of *AugMapping*
    (arXiv 2005.03231). Without a synaptic current (`off`), nothing is kept of x, and it is the
    drive.

    Parameters
    ----------
    theta, theta_negative
        Firing thresholds of the positive and the negative side, inclusive. Potential units (weight
        LSBs, times 2^f). None: both are equal, or there is no negative side; see `theta_down`.
    negative
        The negative side. `free`: fires. `off`: never fires (binary spikes). `guarded`: fires as
        long as the neuron's signed count N of all its spikes since the first step stays at 0 or
        above, `c >= -N`: so a rate is never negative, as behind a ReLU.
    limit
        L, the largest `|c|`: 1 for ternary spikes, up to 15 for augmented ones.
    decay, decay_shift, decay_factor
        `none`: d = u. `shift`: d = u / 2^k. `leak`: d = u - u / 2^k. `factor`: d = m u / 2^k, with
        m = `decay_factor`, 0 < m < 2^k, and k at most 12. k = `decay_shift` and is 0 exactly when
        `decay` is `none`; m is 0 but for `factor`. Factors are reduced: m is odd, and m = 1 is a
        `shift`. A `factor` with m = 0 is of layers whose channels have each an m of their own
        (`LayerSpec.channel_decays`), over this 2^k.
    decay_rounding
        How that division rounds, and that of a current: toward `zero`, or to the `floor`.
    decay_when
        `before` integration or `after` the reset (SPIDE). One differs from the other in the first
        step only: `after` does not decay `u0`.
    fraction_bits
        f: the potential has f bits below the drive's. With f = k (T - 1), decay `shift` k, hard
        reset and u0 = 0, no division truncates anything.
    current, current_shift, current_factor
        The synaptic current x, which is 0 before the first step, and what is kept of it from step
        to step: `off`, nothing, or as of a potential (`decay`). It never saturates.
    reset
        `hard` or `soft`.
    step
        What a spike of coefficient 1 subtracts under soft reset. Unused (0) under hard reset.
    u0
        Potential before the first time step; below the threshold on either side.
    potential_bits
        Width of the stored potential; it saturates at +-(2^(bits-1) - 1).

    Raises
    ------
    SpecError
        With one sentence, for every combination that is not a neuron.
    """

    theta: int
    theta_negative: int | None = None
    negative: str = "free"
    limit: int = 1
    decay: str = "none"
    decay_shift: int = 0
    decay_factor: int = 0
    decay_rounding: str = "zero"
    decay_when: str = "before"
    fraction_bits: int = 0
    current: str = "off"
    current_shift: int = 0
    current_factor: int = 0
    reset: str = "hard"
    step: int = 0
    u0: int = 0
    potential_bits: int

    def __post_init__(self) -> None:
        require_int("Threshold", self.theta, 1, 2 ** (MAX_WIDTH - 2))
        require(
            self.negative in NEGATIVES,
            f"Negative side must be one of {NEGATIVES}, not {self.negative!r}",
        )
        if self.negative == "off":
            require(
                self.theta_negative is None,
                "Negative threshold must not be given when that side is off, not as "
                f"{self.theta_negative!r}",
            )
        elif self.theta_negative is not None:
            require_int("Negative threshold", self.theta_negative, 1, 2 ** (MAX_WIDTH - 2))
            if self.theta_negative == self.theta:  # one way to write one neuron
                object.__setattr__(self, "theta_negative", None)
        require_int("Coefficient limit", self.limit, 1, MAX_LIMIT)
        self._check_kept("decay", DECAYS)
        self._check_kept("current", CURRENTS)
        require(
            self.decay_rounding in DECAY_ROUNDINGS,
            f"Rounding of the decay must be one of {DECAY_ROUNDINGS}, not {self.decay_rounding!r}",
        )
        if not (self.decay_shift or self.current_shift):
            require(
                self.decay_rounding == "zero", "Rounding of the decay must be zero without decay"
            )
        require(
            self.decay_when in DECAY_TIMES,
            f"Time of the decay must be one of {DECAY_TIMES}, not {self.decay_when!r}",
        )
        require_int("Fraction bits", self.fraction_bits, 0, MAX_WIDTH - 2)
        require(self.reset in RESETS, f"Reset must be one of {RESETS}, not {self.reset!r}")
        if self.reset == "soft":
            require_int("Reset step", self.step, 1, 2 ** (MAX_WIDTH - 2))
        else:
            require(self.step == 0, f"Reset step must be 0 under hard reset, not {self.step!r}")
        require_int("Initial potential", self.u0, 1 - self.theta_down, self.theta - 1)
        least = signed_bits(max(self.theta, self.theta_down) - 1)
        require_int("Potential width", self.potential_bits, max(least, 2), MAX_WIDTH)

    def _check_kept(self, name: str, kinds: tuple[str, ...]) -> None:
        """The fields of law 2, of a potential or of a current."""
        what = name.capitalize()
        kind, shift, factor = (getattr(self, name + end) for end in ("", "_shift", "_factor"))
        require(kind in kinds, f"{what} must be one of {kinds}, not {kind!r}")
        if kind in ("off", "none"):
            require(
                shift == 0 and isinstance(shift, int),
                f"{what} shift must be 0 without decay, not {shift!r}",
            )
        elif kind != "factor":
            require_int(f"{what} shift", shift, 1, MAX_WIDTH)
        if kind != "factor":
            require(
                type(factor) is int and factor == 0,
                f"{what} factor must be 0 where the {name} is not factor, not {factor!r}",
            )
            return
        require_int(f"{what} shift of a factor", shift, 1, MAX_FACTOR_SHIFT)
        require_int(f"{what} factor", factor, int(name != "decay"), 2**shift - 1)
        if not factor:  # each channel has its own: k is that of all of them
            return
        # One way to write one neuron: the fraction in lowest terms.
        common = (factor & -factor).bit_length() - 1
        object.__setattr__(self, f"{name}_factor", factor >> common)
        object.__setattr__(self, f"{name}_shift", shift - common)
        if factor >> common == 1:
            object.__setattr__(self, name, "shift")
            object.__setattr__(self, f"{name}_factor", 0)

    @property
    def decay_law(self) -> Decay:
        """Law 2's part."""
        return self._law(self.decay, self.decay_shift, self.decay_factor)

    @property
    def current_law(self) -> Decay:
        """What is kept of the synaptic current."""
        return self._law(self.current, self.current_shift, self.current_factor)

    def _law(self, kind: str, shift: int, factor: int) -> Decay:
        """One way to write one law: what does not divide does not round."""
        return Decay(kind, shift, factor, self.decay_rounding if shift else "zero")

    @property
    def has_current(self) -> bool:
        """Whether the neurons have a second state, their synaptic current."""
        return self.current != "off"

    @property
    def many_factors(self) -> bool:
        """Whether the factor of the decay is each channel's own."""
        return self.decay == "factor" and not self.decay_factor

    @property
    def theta_down(self) -> int:
        """The negative side's threshold."""
        return self.theta if self.theta_negative is None else self.theta_negative

    @property
    def u_max(self) -> int:
        """Largest stored potential; the smallest is its negative (symmetric saturation)."""
        return 2 ** (self.potential_bits - 1) - 1

    @property
    def guarded(self) -> bool:
        """Whether the neurons count their spikes."""
        return self.negative == "guarded"

    @property
    def signed(self) -> bool:
        """Whether there are negative spikes."""
        return self.negative != "off"

    @property
    def magnitude_bits(self) -> int:
        """Width of `|c|`."""
        return self.limit.bit_length()

    @property
    def can_saturate(self) -> bool:
        """Under hard reset with both sides free, `|u|` stays below the thresholds."""
        return self.reset == "soft" or self.negative != "free"

    def count_bits(self, steps: int) -> int:
        """Width of the guard's count N, 0 .. limit * steps."""
        return (self.limit * steps).bit_length()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data. Fields that version 1 of the network file did not have are left out
        where they have their default: a network has the same digest in every version."""
        values = asdict(self)
        defaults = {f.name: f.default for f in fields(self) if f.name in NEWER_FIELDS}
        return {k: v for k, v in values.items() if k not in defaults or v != defaults[k]}


@dataclass(frozen=True, kw_only=True)
class ReadoutSpec:
    """A leaky integrator: the last layer, whose neurons have potentials and never fire (law 6).

    Per time step `m = decay(m) + I * 2^f`, from 0; nothing resets, nothing saturates. Of its values
    m(0) .. m(T-1) one number is read, the logit.

    Parameters
    ----------
    decay, decay_shift, decay_factor, decay_rounding
        As of a neuron (law 2).
    fraction_bits
        f: potentials and logits have f bits below the drive's; 0 without decay.
    value
        What is read: the `last` m, the `sum` of all (whose class is that of their mean), or their
        `max`, for each class by itself.

    Raises
    ------
    SpecError
        With one sentence, for every combination that is not a readout.
    """

    decay: str = "none"
    decay_shift: int = 0
    decay_factor: int = 0
    decay_rounding: str = "zero"
    fraction_bits: int = 0
    value: str = "last"

    def __post_init__(self) -> None:
        # Law 2 is checked, and brought to lowest terms, as a neuron's.
        names = ("decay", "decay_shift", "decay_factor", "decay_rounding", "fraction_bits")
        like = NeuronSpec(
            theta=1, potential_bits=2, **{name: getattr(self, name) for name in names}
        )
        require(not like.many_factors, "Decay factor of a readout must be at least 1, not 0")
        for name in names:
            object.__setattr__(self, name, getattr(like, name))
        require(
            self.decay != "none" or self.fraction_bits == 0,
            f"Fraction bits of a readout must be 0 without decay, not {self.fraction_bits!r}",
        )
        require(
            self.value in READINGS,
            f"Value of a readout must be one of {READINGS}, not {self.value!r}",
        )

    @property
    def decay_law(self) -> Decay:
        """Law 2's part."""
        return Decay(self.decay, self.decay_shift, self.decay_factor, self.decay_rounding)

    @property
    def is_sum(self) -> bool:
        """What it reads is the sum of its drives: a layer has no `ReadoutSpec` for that."""
        return self.decay == "none" and self.value == "last"

    @property
    def keeps_answers(self) -> bool:
        """A sum or a maximum is kept beside the potential."""
        return self.value != "last"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)
