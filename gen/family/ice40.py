"""Lattice iCE40, LP, HX and UltraPlus: nextpnr-ice40 and Project IceStorm."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gen.family.base import (
    FAIL_SOON,
    BlockRams,
    Cells,
    Chip,
    Clocks,
    Family,
    Flow,
    Part,
    Pin,
    ResourceNames,
)
from gen.family.pll import Choice, Limits, Pll
from gen.family.rom_swap import Bits, Layout, ReloadError, RomSwap, write_slices
from gen.family.tools import beside, nextpnr, run
from hw.top.pll import PllSpec

__all__ = ["FAMILY", "ICEBRAM", "ICEPACK"]

NEXTPNR = nextpnr("nextpnr-ice40")
ICEPACK = beside(NEXTPNR, "icepack")
ICEBRAM = beside(NEXTPNR, "icebram")


def _constraints(pins: Sequence[Pin], oscillator_hz: int) -> list[str]:
    # All levels of this family are LVCMOS; what can be set is the pull-up of an input.
    lines = [f"set_frequency clk {oscillator_hz / 1e6:g}"]
    for pin in pins:
        pulled = str(pin.attributes.get("PULLUP", 0)) == "1" and not pin.output
        pull = " -pullup yes" if pulled else ""
        lines.append(f"set_io{pull} {pin.port} {pin.site}")
    return lines


def _pll(pad: bool, oscillator: Fraction, choice: Choice) -> PllSpec:
    # SB_PLL40_PAD: an oscillator on the PLL's own pad, as the iCEBreaker's, where SB_PLL40_CORE
    # cannot have it. The port of the top must go to nothing else. From any other pin it is _CORE.
    steps = (17, 26, 44, 66, 101)
    return PllSpec(
        module="SB_PLL40_PAD" if pad else "SB_PLL40_CORE",
        parameters={
            "FEEDBACK_PATH": "SIMPLE",
            "DIVR": choice.divide_in - 1,
            "DIVF": choice.multiply - 1,
            "DIVQ": choice.divide_out.bit_length() - 1,
            "FILTER_RANGE": 1 + sum(choice.detector_hz >= step * 10**6 for step in steps),
        },
        clock_in="PACKAGEPIN" if pad else "REFERENCECLK",
        clock_out="PLLOUTGLOBAL",
        locked="LOCK",
        constants={"RESETB": (1, 1), "BYPASS": (0, 1)},
    )


def _slices() -> npt.NDArray[np.int64]:
    """Project IceStorm: 256 words of 16 bits. Yosys spreads the narrow widths over a word in
    bit-reversed order."""
    address = np.arange(256)
    reversed_bits = np.array([int(f"{n:04b}"[::-1], 2) for n in range(16)])
    places = []
    for width in (2, 4, 8, 16):
        for column in range(16):
            bit = (address + column // width * 256) * width + column % width
            places.append(bit // 16 * 16 + reversed_bits[bit % 16])
    return np.array(places)


def _icebram(folder: Path, old: Bits, new: Bits) -> None:
    # icebram takes hexadecimal digits, that is four slices, and wants every one to be in the
    # design. Up to three are left over: they go with slices that the first pass leaves alone.
    count, rest = len(old), len(old) % 4
    if count < 4:
        raise ReloadError(f"icebram needs 4 columns of ROM at least, not {count}")
    first = new.copy()
    if rest:
        first[count - 4 :] = old[count - 4 :]
    passes = [(old[: count - rest], first[: count - rest])]
    if rest:
        passes.append((old[count - 4 :], new[count - 4 :]))
    for before, after in passes:
        write_slices(folder / "old.hex", before)
        write_slices(folder / "new.hex", after)
        run(ICEBRAM, ["old.hex", "new.hex"], folder, "log", stdin="in", stdout="out")
        (folder / "out").replace(folder / "in")
    (folder / "in").rename(folder / "out")


CLOCKS = {
    "u": Clocks(layers={1: 24_000_000}, shared=18_000_000, windows=18_000_000),
    "lp": Clocks(layers={1: 24_000_000}, shared=18_000_000, windows=18_000_000),
    "hx": Clocks(layers={1: 48_000_000}, shared=36_000_000, windows=36_000_000),
}
"""By what Yosys calls the line of chips. Of an iCE40UP5K, whose logic is slower than that of the
LPs; an HX is twice as fast and more."""

PADS_1K = {
    "CM81": ("H4",),
    "CM121": ("J5",),
    "CB121": ("L9",),
    "CB132": ("P7",),
    "QN84": ("A14",),
    "TQ144": ("49",),
}
PADS_8K = {
    "CM81": ("G4",),
    "CM121": ("B6", "L5"),
    "CM225": ("D8", "N7"),
    "CB132": ("A6", "P7"),
    "CT256": ("F7", "R9"),
    "BG121": ("B6", "L5"),
    "TQ144": ("49", "129"),
}
"""Pins of the clock generators by package: those that nextpnr takes for an SB_PLL40_PAD, all tried
one by one. The die of 1k has no generator in the packages of `NO_PLL_1K`."""

NO_PLL_1K = ("SWG16TR", "CM36", "CM49", "CB81", "VQ100")


def _line(name: str) -> str:
    """What Yosys calls the line of a chip."""
    line = name.removeprefix("iCE40")[:2].lower()
    return "u" if line == "up" else line


def _chips() -> dict[str, Chip]:
    """A 4K is the die of an 8K, and the tools give all of it."""
    chips = {}

    def chip(name: str, size: tuple[int, int, int], packages: Sequence[str], pads: dict) -> None:
        luts, brams, sprams = size
        chips[name] = Chip(
            name=name,
            luts=luts,
            ffs=luts,
            brams=brams,
            sprams=sprams,
            packages={package: package.lower() for package in packages},
            flags=(f"--{name.removeprefix('iCE40').lower()}", "--package", "{package}"),
            # -s: do not put the flash to sleep after configuration; the top may read on.
            pack=("-s",),
            clocks=CLOCKS[_line(name)],
            pll_pads={package.lower(): pads[package] for package in packages if package in pads},
        )

    for name in ("iCE40LP1K", "iCE40HX1K"):
        chip(name, (1280, 16, 0), (*PADS_1K, *NO_PLL_1K), PADS_1K)
    for name in ("iCE40LP4K", "iCE40LP8K", "iCE40HX4K", "iCE40HX8K"):
        other = "CT256" if "4K" in name else "TQ144"  # the package that only the other has
        chip(name, (7680, 32, 0), [package for package in PADS_8K if package != other], PADS_8K)
    up5k = {"SG48": ("35",), "UWG30": ("B3",)}
    chip("iCE40UP5K", (5280, 30, 4), (*up5k,), up5k)
    return chips


def _as_on(family: Family, part: Part) -> Family:
    line = _line(part.chip.name)
    flow = replace(
        family.flow,
        synthesis=family.flow.synthesis.replace("-device u", f"-device {line}"),
        tight=family.flow.tight.replace("-device u", f"-device {line}"),
    )
    pads = part.chip.pll_pads.get(part.package)
    generator = None if pads is None else _generator(part.clock in pads)
    return replace(family, flow=flow, pll=generator)


def _generator(pad: bool) -> Pll:
    return Pll(
        # FPGA-DS-02008 and -TN-02052; DIVF up to 127 holds for simple feedback, as icepll has it
        limits=Limits(
            divide_in=range(1, 17),
            multiply=range(1, 129),
            divide_out=(2, 4, 8, 16, 32, 64),
            detector=(10, 133),
            vco=(533, 1066),
            out=(16, 275),
            ideal_vco=800,
        ),
        instance=partial(_pll, pad),
    )


FAMILY = Family(
    name="ice40",
    flow=Flow(
        synthesis="synth_ice40 -no-rw-check -device u -top {top}\n",
        # Registers are merged and moved, which leaves room to place. Some designs take hours so;
        # and on some, such as cores that learn, the WebAssembly Yosys runs out of stack.
        tight="synth_ice40 -dff -no-rw-check -device u -top {top}\n",
        router=NEXTPNR,
        router_flags=FAIL_SOON,
        routed="routed.asc",
        routed_flag="--asc",
        constraints="board.pcf",
        constraints_flag=("--pcf",),
        unconstrained=("--pcf-allow-unconstrained",),
        packer=ICEPACK,
        pack_flags=("{routed}", "{bitstream}"),
        bitstream="bin",
        synthesis_seconds=17,
        routing_seconds=10,
    ),
    constraints=_constraints,
    pll=_generator(pad=True),
    rams=BlockRams(shapes=((16, 256), (8, 512), (4, 1024), (2, 2048))),
    # A logic cell has a look-up table and a flip-flop.
    names=ResourceNames(
        luts="ICESTORM_LC", brams="ICESTORM_RAM", sprams="ICESTORM_SPRAM", ff_cells="SB_DFF"
    ),
    full=0.92,  # at 88 %, four seeds of four found a place; at 91 %, one of three
    full_of={"learning": 1.0},  # routed at 99.5 %: a quarter of its cells are lone flip-flops
    lean=True,
    fire_lanes=4,
    swap=RomSwap(
        layout=Layout(
            header=r"\.ram_data \d+ \d+", digits=64, bits=256, rows=256, slices=_slices()
        ),
        tool=_icebram,
    ),
    cells=Cells(
        # Defaults of input ports are SystemVerilog; the netlist connects every input anyway.
        folder="ice40",
        defines=("NO_ICE40_DEFAULT_ASSIGNMENTS",),
        own={"SB_PLL40_PAD": "plls.v", "SB_PLL40_CORE": "plls.v"},
        ram="SB_RAM40_4K",
        contents=tuple(f"INIT_{n:X}" for n in range(16)),
        width=256,
        fields=((0, 256),),
        header=".ram_data {} 0",
        digits=64,
    ),
    unpackable="--up5k",
    chips=_chips(),
    attributes={"PULLUP": ("0", "1")},
    flashed=True,
    as_on=_as_on,
)
