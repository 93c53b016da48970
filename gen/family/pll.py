"""A board's clock from its oscillator: parameters of the vendor's phase-locked loop.

Every family computes `out = oscillator / input * multiplier / output` from integers, within the
limits of its data sheet (MHz): phase detector, voltage-controlled oscillator, output.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from gen.board.boards import Board
from hw.contract.spec import SternaError
from hw.top.board import PllSpec

__all__ = ["PllError", "PllSettings", "pll"]

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


LIMITS = {
    # FPGA-DS-02012, table of the sysCLOCK PLL
    "ecp5": Limits(
        divide_in=range(1, 129),
        multiply=range(1, 129),
        divide_out=tuple(range(1, 129)),
        detector=(10, 400),
        vco=(400, 800),
        out=(3.125, 400),
        ideal_vco=600,
    ),
    # FPGA-DS-02008 and -TN-02052; DIVF up to 127 holds for simple feedback, as icepll has it
    "ice40": Limits(
        divide_in=range(1, 17),
        multiply=range(1, 129),
        divide_out=(2, 4, 8, 16, 32, 64),
        detector=(10, 133),
        vco=(533, 1066),
        out=(16, 275),
        ideal_vco=800,
    ),
    # DS117, speed grade C6/I5; the oscillator runs at `out * ODIV`
    "gowin": Limits(
        divide_in=range(1, 65),
        multiply=range(1, 65),
        divide_out=(2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
        detector=(3, 400),
        vco=(400, 1200),
        out=(3.125, 600),
        ideal_vco=800,
    ),
}


def pll(board: Board, hz: float) -> PllSettings:
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
    limits = LIMITS[board.family]
    choices = list(_choices(board.family, limits, oscillator))
    best = min(choices, key=lambda c: _rank(c, hz, limits))
    if abs(best.hz - Fraction(hz)) > TOLERANCE * hz:
        nearest = min((best.hz, oscillator), key=lambda near: abs(near - Fraction(hz)))
        raise PllError(
            f"Clock of {board.name} cannot be {hz / 1e6:g} MHz: the nearest that its "
            f"{float(oscillator) / 1e6:g} MHz oscillator gives is {float(nearest) / 1e6:g} MHz"
        )
    instance = {"ecp5": _ecp5, "ice40": _ice40, "gowin": _gowin}[board.family]
    return PllSettings(
        hz=best.hz,
        detector_hz=best.detector_hz,
        vco_hz=best.vco_hz,
        instance=instance(oscillator, best),
    )


def _rank(choice: Choice, hz: float, limits: Limits) -> tuple[float, ...]:
    """Nearest first; then a fast phase detector (less jitter); then a comfortable oscillator."""
    away = abs(float(choice.vco_hz) / 1e6 - limits.ideal_vco)
    # To the millihertz: equal clocks must be equal as floating-point numbers too.
    return round(abs(float(choice.hz) - hz), 3), choice.divide_in, round(away, 3), choice.divide_out


def _choices(family: str, limits: Limits, oscillator: Fraction) -> Iterator[Choice]:
    for divide_in in limits.divide_in:
        detector = oscillator / divide_in
        if not _within(detector, limits.detector):
            continue
        for multiply in limits.multiply:
            product = detector * multiply
            # Gowin feeds the divided clock back, and its oscillator runs that much faster.
            if not _within(product, limits.out if family == "gowin" else limits.vco):
                continue
            for divide_out in limits.divide_out:
                other = product * divide_out if family == "gowin" else product / divide_out
                if not _within(other, limits.vco if family == "gowin" else limits.out):
                    continue
                vco, out = (other, product) if family == "gowin" else (product, other)
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


def _ecp5(oscillator: Fraction, choice: Choice) -> PllSpec:
    simple = choice.multiply % choice.divide_out == 0
    # The loop closes over CLKOP: with the clock itself when its ratio to the detector is whole,
    # else at the detector's frequency, and the clock comes out at CLKOS.
    loop = choice.divide_out if simple else choice.multiply
    parameters = {
        "PLLRST_ENA": "DISABLED",
        "INTFB_WAKE": "DISABLED",
        "STDBY_ENABLE": "DISABLED",
        "DPHASE_SOURCE": "DISABLED",
        "OUTDIVIDER_MUXA": "DIVA",
        "OUTDIVIDER_MUXB": "DIVB",
        "OUTDIVIDER_MUXC": "DIVC",
        "OUTDIVIDER_MUXD": "DIVD",
        "CLKI_DIV": choice.divide_in,
        "CLKFB_DIV": choice.multiply // loop,
        "CLKOP_ENABLE": "ENABLED",
        "CLKOP_DIV": loop,
        "CLKOP_CPHASE": max(loop // 2 - 1, 0),
        "CLKOP_FPHASE": 0,
        "FEEDBK_PATH": "CLKOP",
    }
    if not simple:
        parameters |= {
            "CLKOS_ENABLE": "ENABLED",
            "CLKOS_DIV": choice.divide_out,
            "CLKOS_CPHASE": 0,
            "CLKOS_FPHASE": 0,
        }
    out = "CLKOP" if simple else "CLKOS"
    return PllSpec(
        module="EHXPLLL",
        parameters=parameters,
        attributes={
            "FREQUENCY_PIN_CLKI": f"{float(oscillator / 10**6):g}",
            f"FREQUENCY_PIN_{out}": f"{float(choice.hz / 10**6):g}",
            # Analogue settings that Lattice's own wizard gives every such PLL.
            "ICP_CURRENT": "12",
            "LPF_RESISTOR": "8",
            "MFG_ENABLE_FILTEROPAMP": "1",
            "MFG_GMCREF_SEL": "2",
        },
        clock_in="CLKI",
        clock_out=out,
        locked="LOCK",
        feedback=("CLKOP", "CLKFB"),
        unused=("CLKOS",) if simple else (),
        constants={
            **dict.fromkeys(
                ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PLLWAKESYNC", "ENCLKOP"), (0, 1)
            ),
            **dict.fromkeys(("PHASEDIR", "PHASESTEP", "PHASELOADREG"), (1, 1)),
        },
    )


def _ice40(oscillator: Fraction, choice: Choice) -> PllSpec:
    # SB_PLL40_PAD: the iCEBreaker's oscillator is on the PLL's own pad, where SB_PLL40_CORE
    # cannot have it. The port of the top must go to nothing else.
    steps = (17, 26, 44, 66, 101)
    return PllSpec(
        module="SB_PLL40_PAD",
        parameters={
            "FEEDBACK_PATH": "SIMPLE",
            "DIVR": choice.divide_in - 1,
            "DIVF": choice.multiply - 1,
            "DIVQ": choice.divide_out.bit_length() - 1,
            "FILTER_RANGE": 1 + sum(choice.detector_hz >= step * 10**6 for step in steps),
        },
        clock_in="PACKAGEPIN",
        clock_out="PLLOUTGLOBAL",
        locked="LOCK",
        constants={"RESETB": (1, 1), "BYPASS": (0, 1)},
    )


def _gowin(oscillator: Fraction, choice: Choice) -> PllSpec:
    return PllSpec(
        module="rPLL",
        parameters={
            "DEVICE": "GW1NR-9C",
            "FCLKIN": f"{float(oscillator / 10**6):g}",
            "IDIV_SEL": choice.divide_in - 1,
            "FBDIV_SEL": choice.multiply - 1,
            "ODIV_SEL": choice.divide_out,
            "DYN_IDIV_SEL": "false",
            "DYN_FBDIV_SEL": "false",
            "DYN_ODIV_SEL": "false",
            "DYN_DA_EN": "false",
            "CLKFB_SEL": "internal",
        },
        clock_in="CLKIN",
        clock_out="CLKOUT",
        locked="LOCK",
        constants={
            "RESET": (0, 1),
            "RESET_P": (0, 1),
            "CLKFB": (0, 1),
            "FBDSEL": (0, 6),
            "IDSEL": (0, 6),
            "ODSEL": (0, 6),
            "PSDA": (0, 4),
            "DUTYDA": (0, 4),
            "FDLY": (0, 4),
        },
    )
