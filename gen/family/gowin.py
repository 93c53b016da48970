"""Gowin LittleBee: nextpnr-himbaechel and Project Apicula. Its tools cannot change block RAM."""

from collections.abc import Sequence
from fractions import Fraction

from gen.family.base import FAIL_SOON, BlockRams, Family, Flow, Pin, ResourceNames
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


def _pll(oscillator: Fraction, choice: Choice) -> PllSpec:
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
    pll=Pll(
        # DS117, speed grade C6/I5
        limits=Limits(
            divide_in=range(1, 65),
            multiply=range(1, 65),
            divide_out=(2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
            detector=(3, 400),
            vco=(400, 1200),
            out=(3.125, 600),
            ideal_vco=800,
        ),
        instance=_pll,
        output_fed_back=True,
    ),
    rams=BlockRams(
        shapes=((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)), lut_rams=32
    ),
    names=ResourceNames(luts="LUT4", ffs="DFF", brams="BSRAM"),
    full=0.55,
)
