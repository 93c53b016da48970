"""The fault campaign at the pins of a simulated board: damaged frames by the thousand, and after
each of them an exchange that must be right. See `sw.verify.fault_trials`.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.board.files import LabelledImages
from gen.board.planner import BoardPlan
from hw.contract.files import write_json
from hw.contract.link import ErrorCode
from hw.contract.text import table
from hw.system.process import fills_folder
from hw.system.progress import Progress, under_way
from sim.board.around import simulate_board
from sim.board.simulation import BoardSimulation
from sw.verify.fault_trials import TRIES, Trials

__all__ = ["attack", "campaign", "campaign_table"]

OUTCOMES = ("refused", "accepted", "silent", "raised")
FIGURES = ("frames", *OUTCOMES, *(f"try {n}" for n in range(1, TRIES + 1)))
REPORT = "report.json"


def attack(
    line: BoardSimulation,
    plan: BoardPlan,
    images: npt.NDArray[np.uint8],
    frames: int = 1000,
    seed: int = 1,
    progress: Progress = lambda text: None,
    samples: LabelledImages | None = None,
) -> dict[str, Any]:
    """Run a campaign on a board that is simulated already; the report as plain data. Every kind of
    damage comes equally often. `samples`: those on the chip of a board that learns. Equal
    arguments give equal reports, but for the wall-clock time."""
    started, before = time.monotonic(), line.time
    trials = Trials(line, plan, images, seed, samples)
    kinds = [*trials.kinds]
    with under_way(progress, "damaged frames", total=frames) as at:
        for n in range(frames):
            trials.trial(kinds[n % len(kinds)])
            told = f"{n + 1} of {frames} damaged frames" if (n + 1) % 100 == 0 else ""
            at(n + 1, told)
    total = sum(trials.kinds.values(), Counter[str]())
    return {
        "board": plan.board.name,
        "network": plan.core.network.spec.name,
        "digest": plan.core.network.digest,
        "seed": seed,
        "frames": total["frames"],
        "outcomes": {name: total[name] for name in OUTCOMES},
        "errors": {code.name: trials.errors[code.name] for code in ErrorCode},
        "raised": dict(sorted(trials.raised.items())),
        "recovered": [total[f"try {n}"] for n in range(1, TRIES + 1)],
        "wrong_answers": len(trials.wrong),
        "hangs": trials.hangs,
        "unexpected": len(trials.unexpected),
        "details": [*trials.wrong, *trials.unexpected],
        "line_faults": line.line_faults,
        "kinds": {
            kind: {name: count[name] for name in FIGURES if count[name]}
            for kind, count in trials.kinds.items()
        },
        "cycles": round((line.time - before) * plan.spec.clock_hz),
        "seconds": round(time.monotonic() - started, 1),
    }


@fills_folder
def campaign(
    plan: BoardPlan,
    images: npt.NDArray[np.uint8],
    folder: Path,
    frames: int = 1000,
    seed: int = 1,
    progress: Progress = lambda text: None,
    samples: LabelledImages | None = None,
) -> dict[str, Any]:
    """Build a board, run a campaign on it, write the report to REPORT in `folder` too.

    Raises
    ------
    SimulationError
        When the board cannot be built, or breaks off.
    """
    with simulate_board(plan, folder, stored=samples) as line:
        report = attack(
            line, plan, images, frames=frames, seed=seed, progress=progress, samples=samples
        )
    write_json(folder / REPORT, report)
    return report


def campaign_table(report: dict[str, Any]) -> str:
    """The report for people."""
    first, second, *later = report["recovered"]
    rows: list[tuple[str, object]] = [
        ("board", f"{report['board']}, {report['network']}, seed {report['seed']}"),
        ("damaged frames", report["frames"]),
        ("the board's answers", ", ".join(f"{n} {name}" for name, n in report["outcomes"].items())),
        ("its errors", ", ".join(f"{n} {name}" for name, n in report["errors"].items())),
        ("the host raised", ", ".join(f"{n} {name}" for name, n in report["raised"].items())),
        (
            "exchange after it right",
            f"{first} at once, {second} at the second try, {sum(later)} later",
        ),
        ("wrong answers", report["wrong_answers"]),
        ("hangs", report["hangs"]),
        ("unexpected", report["unexpected"]),
        ("simulated", f"{report['cycles']:,} cycles in {report['seconds']} s"),
    ]
    for kind, count in report["kinds"].items():
        rows.append((f"  {kind}", ", ".join(f"{n} {name}" for name, n in count.items())))
    return table(rows)
