"""Damaged frames at the pins of a simulated board, some thousands of them: see
`sw.verify.fault_campaign`. The board is one of few cycles a bit, its network small."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from gen.board.boards import find_board
from gen.board.planner import BoardPlan, plan_board
from sim.board.around import simulate_board
from sw.spread.store import Result
from sw.verify.fault_campaign import attack
from tests.networks import random_chain

__all__ = ["block"]

CLOCK = 8.0
"""MHz: few cycles a bit."""


@cache
def plan() -> tuple[BoardPlan, np.ndarray]:
    """ULX3S with a chain 9-6-4, and pictures for it."""
    rng = np.random.default_rng(12)
    network = random_chain(rng, (9, 6, 4), steps=2, input_bits=4)
    made = plan_board(find_board("ulx3s_85f"), network, lanes=4, banks=1, megahertz=CLOCK)
    return made, rng.integers(0, 16, (6, 9)).astype(np.uint8)


def block(kind: str, seed: int, first: int, count: int, tested_by: str) -> Result:
    """So many frames, each followed by an exchange that must be right; `first` makes another seed
    of each block, and `tested_by` only tells versions of the sources apart."""
    del kind, tested_by
    made, images = plan()
    with (
        tempfile.TemporaryDirectory(prefix="sterna-frames-") as folder,
        simulate_board(made, Path(folder)) as line,
    ):
        report = attack(line, made, images, frames=count, seed=seed + first)
    wrong = {name: report[name] for name in ("wrong_answers", "hangs", "unexpected")}
    return {
        "frames": count,
        "wrong": wrong if any(wrong.values()) else {},
        "details": report["details"],
        "outcomes": report["outcomes"],
        "errors": report["errors"],
        "raised": report["raised"],
        "recovered": report["recovered"],
        "cycles": report["cycles"],
        "seconds": report["seconds"],
    }
