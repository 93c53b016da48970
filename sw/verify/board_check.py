"""A board's Verilog, wherever it comes from, against the golden model: asked through its pins by
the host library, about real images."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.board.planner import BoardPlan
from hw.system.process import fills_folder
from hw.system.progress import Progress, silent, under_way
from sim.board.around import SIMULATED_TOP, board_sources
from sim.board.simulation import BoardPins, BoardSimulation
from sw.host.errors import HostError
from sw.host.golden import GoldenBackend
from sw.host.link import LinkBackend
from sw.host.protocol import Result

__all__ = ["check_board"]

TIMEOUT = 0.5
"""Simulated seconds that an answer may take."""

LOADING = 0.5
"""Simulated seconds in which the weights must have come from the flash."""

QUICK_IMAGES = 100
"""For fewer images than that the compiler does not optimise. Of a small iCE40 netlist it then took
33 s in place of 100, and an image 1 s in place of half a one; both grow with the design."""

AROUND = (f"{SIMULATED_TOP}.v", "spi_flash.v", "flash.hex")
"""What is soldered around the chip, of the files that `sim.board.around` writes."""


@fills_folder
def check_board(
    plan: BoardPlan,
    design: Sequence[str],
    folder: Path,
    pixels: npt.NDArray[np.uint8],
    progress: Progress = silent,
) -> dict[str, Any]:
    """Run images through a board's Verilog, given in place of the generated one, and through the
    golden model.

    Parameters
    ----------
    plan
        The board; what is soldered around its chip is made from it (`sim.board.around`).
    design
        Verilog files in `folder` with the module `gen.board.files.BOARD_TOP`.
    pixels
        (images, input_size).

    Returns
    -------
    dict
        `images`, values `compared` (the network's digest; of each image its logits, class, cycles
        and events) and `mismatches`, a value that never came being one; `first`, a sentence about
        the first mismatch, or None.
    """
    board_sources(plan, folder / "around")
    around = [name for name in AROUND if (folder / "around" / name).is_file()]
    for name in around:
        shutil.copyfile(folder / "around" / name, folder / name)
    sources = [*(name for name in around if name.endswith(".v")), *design]
    golden = GoldenBackend(plan.core)
    pins = BoardPins(top=SIMULATED_TOP, clock_hz=plan.spec.clock_hz, baud=plan.spec.baud)
    wanted = [[plan.core.network.digest], *(_values(golden.infer(image)) for image in pixels)]
    got: list[list[Any]] = []
    broken = None
    with under_way(progress, "building the simulation"):
        simulation = BoardSimulation(folder, sources, pins, quick=len(pixels) < QUICK_IMAGES)
    n = len(pixels)
    with simulation, under_way(progress, f"playing {n} images", total=n) as at:
        board = LinkBackend(simulation, baud=pins.baud, timeout=TIMEOUT)
        try:
            got.append([_digest(board, simulation)])
            for done, image in enumerate(pixels, 1):
                got.append(_values(board.infer(image)))
                at(done, f"image {done} of {n}")
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
