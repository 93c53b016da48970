"""Lattice iCE40 UltraPlus: nextpnr-ice40 and Project IceStorm."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gen.family.base import FAIL_SOON, BlockRams, Cells, Family, Flow, Pin, ResourceNames
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
        pull = " -pullup yes" if pin.attributes.get("PULLUP") and not pin.output else ""
        lines.append(f"set_io{pull} {pin.port} {pin.site}")
    return lines


def _pll(oscillator: Fraction, choice: Choice) -> PllSpec:
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
    pll=Pll(
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
        instance=_pll,
    ),
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
        own={"SB_PLL40_PAD": "plls.v"},
        ram="SB_RAM40_4K",
        contents=tuple(f"INIT_{n:X}" for n in range(16)),
        width=256,
        fields=((0, 256),),
        header=".ram_data {} 0",
        digits=64,
    ),
    unpackable="--up5k",
)
