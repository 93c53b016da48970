"""A fourth family, and a board of it: all that adding one takes. Its tools are shell scripts."""

from collections.abc import Sequence
from pathlib import Path

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth_boards.resources import LEDResources, UARTResource

from gen.board.boards import Board
from gen.family.base import BlockRams, Chip, Clocks, Family, Flow, Pin, ResourceNames
from gen.family.tools import Program, beside

__all__ = ["BOARD", "FAMILY", "install"]

ROUTER = Program(name="mu-route", native=("mu-route",), ask="--version", least=(0,))
PACKER = beside(ROUTER, "mu-pack")


def _constraints(pins: Sequence[Pin], oscillator_hz: int) -> list[str]:
    ways = [f"{pin.port} -> {pin.site}" + " (output)" * pin.output for pin in pins]
    return [f"clock {oscillator_hz} Hz", *ways]


FAMILY = Family(
    name="made_up",
    flow=Flow(
        synthesis="synth -top {top}\n",
        router=ROUTER,
        routed="routed.mu",
        routed_flag="--out",
        constraints="board.pins",
        constraints_flag=("--pins",),
        packer=PACKER,
        pack_flags=("{routed}", "{bitstream}"),
        bitstream="mu",
        synthesis_seconds=2,
        routing_seconds=60,
    ),
    constraints=_constraints,
    rams=BlockRams(shapes=((8, 100), (4, 200)), flip_flops=64),
    names=ResourceNames(luts="MU_LUT", brams="MU_RAM", ff_cells="MU_FF"),
    full=0.5,
    weights_of="gowin",
)


class Platform:
    """Pins, as amaranth-boards has them."""

    device, package, default_clk = "MU", "1", "osc"
    resources = [
        Resource("osc", 0, Pins("C1", dir="i"), Clock(10e6), Attrs()),
        *LEDResources(pins="L1", attrs=Attrs()),
        UARTResource(0, rx="R1", tx="T1", attrs=Attrs()),
    ]


BOARD = Board(
    name="made_up_1",
    title="Made up",
    number=200,
    family=FAMILY,
    chip=Chip(
        name="MU1",
        luts=16_000,
        ffs=16_000,
        brams=200,
        packages={"1": "1"},
        flags=("--mu1",),
        clocks=Clocks(layers={1: 10_000_000}, shared=10_000_000, windows=10_000_000),
    ),
    package="1",
    platform=f"{__name__}:Platform",
    loader="mu",
    model="digits-dense",
)

SCRIPTS = {
    # Only synthesis: Amaranth asks too, with -V, and without an answer uses its own Yosys.
    "yosys": """
[ "$2" = synth.ys ] || exit 0
echo '{"design": {"num_cells_by_type": {"MU_FFE": 5, "MU_FFR": 2, "MU_LUT": 30}}}' > cells.json
echo '{"modules": {"sterna_board": {}}}' > netlist.json
""",
    "mu-route": """
echo "$@" > route.arguments
while [ $# -gt 0 ]; do [ "$1" = --out ] && echo routed > "$2"; shift; done
echo '{"fmax": {"clk": {"achieved": 12, "constraint": 10}}, "utilization":
 {"MU_LUT": {"used": 30, "available": 16000}, "MU_RAM": {"used": 3, "available": 200}}}' \\
 > nextpnr.json
""",
    "mu-pack": 'cat "$1" "$1" > "$2"',
}


def install(folder: Path) -> None:
    """Write the tools: each is of version 9.9 and claims success."""
    folder.mkdir()
    for name, body in SCRIPTS.items():
        text = f'#!/bin/sh\nif [ "$1" = --version ]; then echo 9.9; exit; fi\n{body}\n'
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
