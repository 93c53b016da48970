"""Gowin LittleBee and Arora: nextpnr-himbaechel and Project Apicula. Its tools cannot change block
RAM."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

from gen.family.base import (
    FAIL_SOON,
    BlockRams,
    Chip,
    Clocks,
    Family,
    Flow,
    Part,
    Pin,
    ResourceNames,
)
from gen.family.pll import Choice, Limits, Pll
from gen.family.tools import Program, nextpnr
from hw.top.pll import PllSpec

__all__ = ["FAMILY"]

NEXTPNR = nextpnr("nextpnr-himbaechel-gowin", "nextpnr-himbaechel-gowin", "nextpnr-himbaechel")
# Written in Python: never native, and the chip database must be of its own package.
GOWIN_PACK = Program(name="gowin_pack", package="Apycula", script="gowin_pack")


def _constraints(pins: Sequence[Pin], oscillator_hz: int) -> list[str]:
    # This file has no frequencies: nextpnr gets the core's clock on its command line.
    lines = []
    for pin in pins:
        levels = " ".join(f"{key}={value}" for key, value in pin.attributes.items())
        lines += [f'IO_LOC "{pin.port}" {pin.site};', f'IO_PORT "{pin.port}" {levels};']
    return lines


def _pll(device: str, oscillator: Fraction, choice: Choice) -> PllSpec:
    # The loop is closed inside. On a GW2A, nextpnr 0.11 takes a CLKFB that is tied low for a user
    # of fast clocks, and searches for a place without end: there it is left open.
    tied = {} if device.startswith("GW2A") else {"CLKFB": (0, 1)}
    return PllSpec(
        module="rPLL",
        parameters={
            "DEVICE": device,
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
            **tied,
            "FBDSEL": (0, 6),
            "IDSEL": (0, 6),
            "ODSEL": (0, 6),
            "PSDA": (0, 4),
            "DUTYDA": (0, 4),
            "FDLY": (0, 4),
        },
    )


CLOCKS = Clocks(layers={1: 67_500_000}, shared=27_000_000, windows=27_000_000)
"""Of a GW1NR-9C of grade C6/I5."""

PLL_LIMITS = {
    # MHz: phase detector, oscillator, output. Of the GW1N-9 as Apicula's gowin_pll has them; the
    # others were carried over from relatives, and not held against data sheets.
    ("GW1N-4", "C6/I5"): ((3, 400), (400, 1000), (3.125, 500)),
    ("GW1N-4", "C5/I4"): ((3, 320), (320, 800), (2.5, 400)),
    ("GW1N-9", "C7/I6"): ((3, 400), (400, 1200), (3.125, 600)),
    ("GW1N-9", "C6/I5"): ((3, 400), (400, 1200), (3.125, 600)),
    ("GW2A-18", "C9/I8"): ((3, 500), (500, 1250), (3.90625, 625)),
    ("GW2A-18", "C8/I7"): ((3, 500), (500, 1250), (3.90625, 625)),
    ("GW2A-18", "C7/I6"): ((3, 400), (400, 1000), (3.125, 500)),
}

SERIES = {
    # (chips, grades, their packages): those of Apicula's tables of parts
    ("GW1N-4",): (("C5/I4", "C6/I5"), "CS72 LQ100 LQ144 MG160 PG256 PG256M QN32 QN48 QN88"),
    ("GW1N-9", "GW1N-9C"): (
        ("C6/I5", "C7/I6"),
        "CM64 CS81M EQ144 EQ176 LQ100 LQ144 LQ176 MG160 MG196 PG256 QN48 QN88 UG169 UG256 UG332",
    ),
    ("GW1NR-9", "GW1NR-9C"): (("C6/I5", "C7/I6"), "LQ144P MG100P QN88 QN88P"),
    ("GW2A-18", "GW2A-18C"): (
        ("C7/I6", "C8/I7", "C9/I8"),
        "EQ144 MG196 PG256 PG256C PG256E PG256S PG484 QN88 UG324",
    ),
    ("GW2AR-18C",): (("C7/I6", "C8/I7", "C9/I8"), "EQ144 EQ144P EQ144PF EQ176 QN88 QN88P QN88PF"),
}
SIZES = {"4": (4608, 3456, 10), "9": (8640, 6480, 26), "18": (20_736, 15_552, 46)}
"""Look-up tables, flip-flops, block RAMs."""


def _die(name: str) -> str:
    """Of a chip: that of an R has RAM beside it, which nothing here uses."""
    return name.replace("R-", "-")


def _chips() -> dict[str, Chip]:
    """By the vendor's names."""
    chips = {}
    for names, (grades, packages) in SERIES.items():
        for name in names:
            series, _, size = name.partition("-")
            number, die = size.rstrip("C"), _die(name)
            luts, ffs, brams = SIZES[number]
            chips[name] = Chip(
                name=name,
                luts=luts,
                ffs=ffs,
                brams=brams,
                packages={package: package for package in packages.split()},
                grades=grades[:1] if size == "9" else grades,
                flags=(
                    *("--device", f"{series}-LV{number}{{package}}{{grade}}"),
                    *("--vopt", f"family={die}"),
                ),
                pack=("-d", die),
                clocks=CLOCKS,
            )
    return chips


def _generator(device: str, die: str, grade: str) -> Pll:
    detector, vco, out = PLL_LIMITS[die, grade]
    return Pll(
        limits=Limits(
            divide_in=range(1, 65),
            multiply=range(1, 65),
            divide_out=(2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
            detector=detector,
            vco=vco,
            out=out,
            ideal_vco=800,
        ),
        instance=partial(_pll, device),
        output_fed_back=True,
    )


def _as_on(family: Family, part: Part) -> Family:
    name = part.chip.name
    return replace(family, pll=_generator(name, _die(name).rstrip("C"), part.grade))


FAMILY = Family(
    name="gowin",
    flow=Flow(
        synthesis="synth_gowin -no-rw-check -top {top}\n",
        router=NEXTPNR,
        router_flags=FAIL_SOON,
        routed="routed.json",
        routed_flag="--write",
        constraints="board.cst",
        constraints_flag=("--vopt", "cst="),
        packer=GOWIN_PACK,
        pack_flags=("-o", "{bitstream}", "{routed}"),
        bitstream="fs",
        synthesis_seconds=4,
        routing_seconds=70,
    ),
    constraints=_constraints,
    pll=_generator("GW1NR-9C", "GW1N-9", "C6/I5"),
    rams=BlockRams(
        shapes=((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)), lut_rams=32
    ),
    names=ResourceNames(luts="LUT4", ffs="DFF", brams="BSRAM"),
    full=0.55,
    chips=_chips(),
    grade_key="grade",
    attributes={
        "IO_TYPE": ("LVCMOS33", "LVTTL33", "LVCMOS25", "LVCMOS18", "LVCMOS15", "LVCMOS12"),
        "PULL_MODE": ("UP", "DOWN", "NONE", "KEEPER"),
        "DRIVE": ("4", "8", "12", "16", "24"),
    },
    as_on=_as_on,
)
