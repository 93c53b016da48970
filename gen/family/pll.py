"""A board's clock from its oscillator: a search over the dividers of its family's PLL.

Every family computes `out = oscillator / input * multiplier / output` from integers, within the
limits of its data sheet (MHz): phase detector, voltage-controlled oscillator, output.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

from hw.contract.checks import SternaError
from hw.top.pll import PllSpec

__all__ = ["Choice", "Limits", "Pll", "PllError", "PllSettings", "clock_up_to", "pll"]

TOLERANCE = 0.001
"""Largest relative error that counts as the clock that was asked for; a UART bears 20 times it."""


class PllError(SternaError, ValueError):
    """A clock that a board's phase-locked loop cannot make."""


@dataclass(frozen=True, kw_only=True)
class PllSettings:
    """How a board's clock is made.

    Parameters
    ----------
    hz
        The clock that comes out, exactly.
    detector_hz, vco_hz
        Frequencies inside; 0 without a loop.
    instance
        The vendor's primitive; None when the oscillator is the clock.
    """

    hz: Fraction
    detector_hz: Fraction = Fraction(0)
    vco_hz: Fraction = Fraction(0)
    instance: PllSpec | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Dividers, and the frequencies that they give."""

    divide_in: int
    multiply: int
    divide_out: int
    detector_hz: Fraction
    vco_hz: Fraction
    hz: Fraction


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Legal dividers, and frequencies in MHz, of a family."""

    divide_in: range
    multiply: range
    divide_out: tuple[int, ...]
    detector: tuple[float, float]
    vco: tuple[float, float]
    out: tuple[float, float]
    ideal_vco: float


@dataclass(frozen=True, kw_only=True)
class Pll:
    """A family's clock generator.

    Parameters
    ----------
    limits
        Of its dividers and frequencies.
    instance
        The primitive, of the oscillator's frequency in Hz and the dividers.
    output_fed_back
        The loop closes behind the output divider: the oscillator inside runs at
        `out * divide_out`, and the clock is `oscillator / divide_in * multiply`.
    """

    limits: Limits
    instance: Callable[[Fraction, Choice], PllSpec]
    output_fed_back: bool = False


class HasPll(Protocol):
    """A family."""

    @property
    def pll(self) -> Pll | None: ...


class Clocked(Protocol):
    """A board: its name, the family of its chip, and the frequency in Hz at port `clk`."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> HasPll: ...
    @property
    def oscillator_hz(self) -> int: ...


def pll(board: Clocked, hz: float) -> PllSettings:
    """How `board` makes a clock of `hz` from its oscillator.

    Returns
    -------
    PllSettings
        Of a clock at most `TOLERANCE` off; `hz` in it is the exact one.

    Raises
    ------
    PllError
        When there is none: the sentence names the nearest clock that there is.
    """
    if not hz > 0:
        raise PllError(f"Clock of {board.name} must lie above 0 MHz, not {hz / 1e6:g} MHz")
    oscillator = Fraction(board.oscillator_hz)
    if hz == oscillator:
        return PllSettings(hz=oscillator)
    generator = board.family.pll
    best = None if generator is None else _nearest(generator, oscillator, hz)
    if generator is None or best is None or abs(best.hz - Fraction(hz)) > TOLERANCE * hz:
        made = [] if best is None else [best.hz]
        nearest = min((*made, oscillator), key=lambda near: abs(near - Fraction(hz)))
        raise PllError(
            f"Clock of {board.name} cannot be {hz / 1e6:g} MHz: the nearest that its "
            f"{float(oscillator) / 1e6:g} MHz oscillator gives is {float(nearest) / 1e6:g} MHz"
        )
    return PllSettings(
        hz=best.hz,
        detector_hz=best.detector_hz,
        vco_hz=best.vco_hz,
        instance=generator.instance(oscillator, best),
    )


def clock_up_to(board: Clocked, hz: float) -> int:
    """The fastest clock in Hz that `board` makes and that is no faster than `hz`: `hz` itself where
    it can be made; its oscillator's where all are faster.

    Parameters
    ----------
    hz
        What a core is expected to reach, in Hz.
    """
    try:
        pll(board, hz)
    except PllError:
        generator, oscillator = board.family.pll, Fraction(board.oscillator_hz)
        made = [oscillator] if oscillator <= hz else []
        if generator is not None:
            made += [c.hz for c in _choices(generator, oscillator) if c.hz <= hz]
        return round(max(made, default=oscillator))
    return round(hz)


@lru_cache(maxsize=256)
def _nearest(generator: Pll, oscillator: Fraction, hz: float) -> Choice | None:
    """The dividers that come nearest to a clock; None when the limits allow none at all."""
    choices = _choices(generator, oscillator)
    return min(choices, key=lambda c: _rank(c, hz, generator.limits), default=None)


def _rank(choice: Choice, hz: float, limits: Limits) -> tuple[float, ...]:
    """Nearest first; then a fast phase detector (less jitter); then a comfortable oscillator."""
    away = abs(float(choice.vco_hz) / 1e6 - limits.ideal_vco)
    # To the millihertz: equal clocks must be equal as floating-point numbers too.
    return round(abs(float(choice.hz) - hz), 3), choice.divide_in, round(away, 3), choice.divide_out


def _choices(generator: Pll, oscillator: Fraction) -> Iterator[Choice]:
    limits, behind = generator.limits, generator.output_fed_back
    for divide_in in limits.divide_in:
        detector = oscillator / divide_in
        if not _within(detector, limits.detector):
            continue
        for multiply in limits.multiply:
            product = detector * multiply
            if not _within(product, limits.out if behind else limits.vco):
                continue
            for divide_out in limits.divide_out:
                other = product * divide_out if behind else product / divide_out
                if not _within(other, limits.vco if behind else limits.out):
                    continue
                vco, out = (other, product) if behind else (product, other)
                yield Choice(
                    divide_in=divide_in,
                    multiply=multiply,
                    divide_out=divide_out,
                    detector_hz=detector,
                    vco_hz=vco,
                    hz=out,
                )


def _within(hz: Fraction, megahertz: tuple[float, float]) -> bool:
    return megahertz[0] * 1e6 <= float(hz) <= megahertz[1] * 1e6
