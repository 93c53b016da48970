"""Fits the planner's estimate of look-up tables to synthesised designs (`make calibrate`).

Every design is a whole board top, synthesised and packed by the tools of `make bitstream`; the
weights are the non-negative ones with the least relative error. The memories that Yosys made are
printed beside, so that the counting rule of `gen.board.estimate` can be held against them.
"""

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.board.bitstream import synthesize, utilization, write_constraints
from gen.board.boards import BOARDS, Board
from gen.board.estimate import UNFITTED, WEIGHTS, features
from gen.board.files import BOARD_TOP, generate_board
from gen.board.planner import board_spec, default_hz
from gen.core.plan import CorePlan, plan_core, plan_network
from gen.family.base import Family
from gen.family.tools import ToolError, run
from hw.contract.files import write_json
from hw.contract.network import Network
from hw.system.progress import Progress, silent, teller, under_way

__all__ = ["LEARNING", "beside", "calibrate", "fit", "learning_weights", "measure", "unfitted"]

MAPS = [
    {"model": "digits-conv", "schedule": "shared", "lanes": 8},
    {"model": "digits-conv", "schedule": "shared", "lanes": 16},
    {"model": "mnist-conv", "schedule": "shared", "lanes": 8},
    {"model": "mnist-conv", "schedule": "shared", "lanes": 16},
    {"model": "digits-conv", "schedule": "pipelined", "lanes": 8},
]
"""Networks of maps, on every board."""

WINDOWS = [{"model": "digits-conv", "schedule": "windows", "lanes": lanes} for lanes in (2, 4, 8)]
"""The same, window by window, which the chip of a Tang Nano is too small for; the dense layers
behind are estimated before."""

DESIGNS: dict[str, list[dict[str, Any]]] = {
    "ulx3s_85f": [
        *MAPS,
        {"model": "mnist-conv", "schedule": "shared", "lanes": 32},
        {"model": "nmnist-conv", "schedule": "shared", "lanes": 16},
        {"model": "mnist-conv", "schedule": "pipelined", "lanes": 16},
        {"model": "digits-dense", "lanes": 8, "banks": 1},
        {"model": "digits-dense", "lanes": 16, "banks": 1},
        {"model": "digits-dense", "lanes": 32, "banks": 4},
        {"model": "digits-dense", "lanes": 64, "banks": 2},
        {"model": "digits-dense", "lanes": 128, "banks": 1},
        {"model": "mnist-dense", "lanes": 16, "banks": 4},
        {"model": "mnist-dense", "lanes": 32, "banks": 2},
        {"model": "mnist-dense", "lanes": 64, "banks": 1},
        {"model": "mnist-dense", "lanes": 128, "banks": 1},
        {"model": "mnist-dense", "lanes": 128, "banks": 4},
        {"model": "digits-augmapping", "lanes": 16, "banks": 1},
        {"model": "digits-augmapping", "lanes": 64, "banks": 2},
        {"model": "digits-termapping", "lanes": 64, "banks": 1},
        {"model": "digits-if", "lanes": 64, "banks": 1},
        WINDOWS[2],
        {"model": "digits-conv", "schedule": "windows", "lanes": 16},
        {"model": "mnist-conv", "schedule": "windows", "lanes": 16},
        {"model": "mnist-conv", "schedule": "windows", "lanes": 32},
        {"model": "fashion-mnist-counts", "schedule": "windows", "lanes": 16},
        {"model": "cifar10-counts", "schedule": "windows", "lanes": 16},
    ],
    "icebreaker": [
        *MAPS,
        {"model": "digits-dense", "lanes": 4, "banks": 1},
        {"model": "digits-dense", "lanes": 8, "banks": 1},
        {"model": "digits-dense", "lanes": 16, "banks": 1},
        {"model": "digits-dense", "lanes": 16, "banks": 2},
        {"model": "digits-dense", "lanes": 8, "banks": 1, "memories": ["ram", "ram"]},
        {"model": "digits-augmapping", "lanes": 8, "banks": 1},
        {"model": "mnist-dense", "lanes": 8, "banks": 1, "memories": ["spram", "ram"]},
        {"model": "mnist-dense", "lanes": 8, "banks": 2, "memories": ["spram", "ram"]},
        {"model": "mnist-dense", "lanes": 12, "banks": 1, "memories": ["spram", "ram"]},
        {"model": "mnist-dense", "lanes": 16, "banks": 1, "memories": ["spram", "ram"]},
        *WINDOWS[:2],
    ],
    "tang_nano_9k": [
        *MAPS[:4],
        {"model": "digits-dense", "lanes": 4, "banks": 1},
        {"model": "digits-dense", "lanes": 8, "banks": 2},
        {"model": "digits-dense", "lanes": 16, "banks": 1},
        {"model": "digits-dense", "lanes": 16, "banks": 4},
        {"model": "digits-dense", "lanes": 32, "banks": 1},
        {"model": "digits-dense", "lanes": 43, "banks": 1},
        {"model": "digits-dense", "lanes": 26, "banks": 2},
        {"model": "digits-dense", "lanes": 16, "banks": 1, "once": True},
        {"model": "digits-dense", "lanes": 26, "banks": 2, "once": True},
        {"model": "digits-augmapping", "lanes": 8, "banks": 2},
        {"model": "digits-termapping", "lanes": 16, "banks": 1},
    ],
}

MEASURED = WEIGHTS.with_name("measured.json")
"""[options, look-up tables, block RAMs] of each of `DESIGNS`, as they were found; under `LEARNING`,
by family, [sizes, look-up tables] of whole boards that learn (`sterna bitstream --learn`)."""

LEARNING = "learning"

Sizes = dict[str, float]


def design(board: Board, options: dict[str, Any]) -> CorePlan:
    """The core of one entry of `DESIGNS`."""
    models = Path(__file__).parents[2] / "sw" / "data" / "models"
    network = Network.load(models / f"{options['model']}.npz")
    if "schedule" in options:
        return plan_network(network, options["lanes"], schedule=options["schedule"])
    return plan_core(
        network,
        options["lanes"],
        options["banks"],
        options.get("memories"),
        fire_lanes=board.family.fire_lanes,
        lean=board.family.lean,
        once=options.get("once"),
    )


def measure(board: Board, core: CorePlan, folder: Path) -> dict[str, int]:
    """{cell type: number} after packing, as nextpnr counts; the design need not fit."""
    spec = board_spec(board, default_hz(board, core), loaded=core.loaded)
    facts = generate_board(core, spec, board, folder)
    flow = board.family.flow
    synthesize(flow, folder, BOARD_TOP, facts["sources"], silent)
    limits = write_constraints(board, folder)
    arguments = [*board.flags, *limits, "--json", "netlist.json", "--pack-only"]
    with contextlib.suppress(ToolError):  # one that is too large is reported with the same table
        run(flow.router, arguments, folder, "pack.log")
    return {kind: used for kind, (used, _) in utilization(folder / "pack.log").items()}


def fit(
    sizes: npt.NDArray[np.float64],
    luts: npt.NDArray[np.float64],
    ridge: float,
    rounds: int = 20_000,
) -> npt.NDArray[np.float64]:
    """Non-negative weights with the least sum of squared relative errors, by coordinate descent."""
    a = sizes / luts[:, None]
    scale = np.where(a.any(axis=0), np.linalg.norm(a, axis=0), 1.0)
    a = np.vstack([a / scale, np.sqrt(ridge) * np.eye(a.shape[1])])
    weights = np.zeros(a.shape[1])
    residual = np.concatenate([np.ones(len(luts)), weights])
    for _ in range(rounds):
        for k in range(a.shape[1]):
            step = max(a[:, k] @ residual / (1 + ridge), -weights[k])
            weights[k] += step
            residual -= step * a[:, k]
    return weights / scale


def calibrate(
    folder: Path, boards: Sequence[str], again: bool = False, progress: Progress = silent
) -> None:
    """Synthesise the designs of these boards, fit, and write the weights; other boards keep theirs.

    A design that was measured is not synthesised again, unless `again`: for when the hardware has
    changed.
    """
    known = json.loads(WEIGHTS.read_text()) if WEIGHTS.exists() else {}
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    for name in boards:
        board, before = BOARDS[name], measured.get(name, [])
        family, names = board.family, board.family.names
        found: list[Any] = []
        parts: dict[str, list[tuple[int, Sizes, list[tuple[str, Sizes]]]]] = {}
        with under_way(progress, f"designs for {name}", total=len(DESIGNS[name])) as at:
            for n, options in enumerate(DESIGNS[name]):
                at(n)
                core = design(board, options)
                old = [entry for entry in before if entry[0] == options]
                if again or not old:
                    used = measure(board, core, folder / f"{name}-{n}")
                    old = [[options, used[names.luts], used[names.brams]]]
                    progress(f"{name} {options} {used}")
                found.append(old[0])
                spec = board_spec(board, default_hz(board, core), loaded=core.loaded)
                (kind, sizes), *others = features(core, spec).items()
                parts.setdefault(kind, []).append((old[0][1], sizes, others))
        for kind, designs in parts.items():
            key = f"{family.name} {kind}"
            # Stages of a second kind, if there are any, cost what is known of them.
            counts = np.array(
                [
                    luts - beside(family, known, rest) - unfitted(sizes)
                    for luts, sizes, rest in designs
                ]
            )
            fitted = [name for name in designs[0][1] if name not in UNFITTED]
            rows = np.array([[sizes[name] for name in fitted] for _, sizes, _ in designs])
            weights = fit(rows, counts, family.ridge.get(kind, 0.0))
            error = rows @ weights / counts - 1
            progress(f"{key} relative errors: {np.round(error, 3).tolist()}")
            known[key] = dict(zip(fitted, np.round(weights, 4).tolist(), strict=True))
        measured[name] = found
        known |= learning_weights(measured.get(LEARNING, {}))
        write_json(WEIGHTS, known)
        write_json(MEASURED, measured)


def unfitted(sizes: Sizes) -> float:
    """What is counted rather than fitted costs."""
    return sum(weight * sizes.get(name, 0.0) for name, weight in UNFITTED.items())


def beside(family: Family, known: dict[str, Sizes], others: Sequence[tuple[str, Sizes]]) -> float:
    """What stages of other kinds cost, without what is around the core."""
    return sum(
        (UNFITTED | known[f"{family.name} {kind}"])[name] * size
        for kind, sizes in others
        for name, size in sizes.items()
        if name != "board"
    )


def learning_weights(measured: dict[str, list[Any]]) -> dict[str, dict[str, float]]:
    """Fitted to what was found of boards that learn, by family."""
    found = {}
    for family, points in measured.items():
        names = list(points[0][0])
        rows = np.array([[sizes[name] for name in names] for sizes, _ in points], dtype=float)
        weights = fit(rows, np.array([luts for _, luts in points], dtype=float), 0.0)
        found[f"{family} {LEARNING}"] = dict(zip(names, np.round(weights, 4).tolist(), strict=True))
    return found


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if argument != "--again"]
    told = teller(lambda line: print(line, file=sys.stderr, flush=True), sys.stderr)
    calibrate(Path("build/calibrate"), names or list(DESIGNS), "--again" in sys.argv, told)
