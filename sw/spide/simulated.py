"""A learning session on the Verilog: as on the golden model, every value compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen.board.boards import find_board
from gen.learn.stage import plan_learning
from hw.contract.files import write_json
from hw.learn.masters import Masters
from hw.system.progress import Progress, silent
from sim.learn.run import Lesson, learn_in_simulation
from sw.data.split import Split
from sw.spide.session import Schedule, slower
from sw.spide.twin import FastLearner

__all__ = ["ALWAYS_COMPARED", "learn_on_verilog", "lesson_of"]

ALWAYS_COMPARED = 300
"""Samples at the beginning after each of which all masters are read back."""


def lesson_of(
    train: Split, schedule: Schedule, rates: Sequence[int], margin: int
) -> tuple[Lesson, int]:
    """The samples of a session as `sw.spide.session.run_session` has them, in order, with the rates
    of each; and how many there are in a pass."""
    chosen, given = [], []
    for number in range(1, schedule.passes + 1):
        if number in schedule.drops:
            rates = slower(rates)
        chosen.append(schedule.order(number, len(train)))
        given.append(np.tile(rates, (len(chosen[-1]), 1)))
    order = np.concatenate(chosen)
    lesson = Lesson(
        pixels=train.images[order],
        labels=train.labels[order],
        rates=np.concatenate(given),
        margins=np.full(len(order), margin),
    )
    return lesson, len(chosen[-1])


def learn_on_verilog(
    masters: Masters,
    train: Split,
    test: Split,
    schedule: Schedule,
    folder: Path,
    *,
    lanes: int,
    rates: Sequence[int] | None = None,
    margin: int | None = None,
    taps: bool = True,
    board: str = "ulx3s_85f",
    progress: Progress = silent,
) -> tuple[dict[str, Any], Masters]:
    """Learn under Verilator; every value of every sample is compared with the golden model.

    Masters are read back after each of the first `ALWAYS_COMPARED` samples, then after every pass;
    without `taps` after every pass alone.

    Parameters
    ----------
    masters
        The start; not changed.
    lanes
        Of the core.
    rates, margin
        None: those of the specification.
    taps
        False: what leaves the core after each sample is compared, and the masters after each pass,
        but no potential, spike or count; for long sessions.
    board
        Whose clock for programs the updates a second are counted at.

    Returns
    -------
    tuple
        The report (`sim.learn.run`, and accuracies), also in `folder`; the masters at the end.
    """
    learning = masters.spec.learning
    assert learning is not None
    lesson, count = lesson_of(
        train,
        schedule,
        learning.rates if rates is None else rates,
        learning.margin if margin is None else margin,
    )

    def right(state: Masters) -> int:
        return int((FastLearner(state).classify(test.images) == test.labels).sum())

    report, after = learn_in_simulation(
        masters,
        lesson,
        folder,
        lanes=lanes,
        dump=count,
        dump_first=ALWAYS_COMPARED if taps else 0,
        taps=taps,
        progress=progress,
    )
    hits = right(masters), right(after)
    clock = plan_learning(masters, lanes).stages[0].clock_hz(find_board(board))
    cycles = report["cycles_inference"] + (report["cycles_learning"] or 0)
    mean = report["cycles_inference"] + report["share_learned"] * (report["cycles_learning"] or 0)
    report |= {
        "dataset": test.title,
        "n": len(test),
        "hits_before": hits[0],
        "hits_after": hits[1],
        "accuracy_before": hits[0] / len(test),
        "accuracy_after": hits[1] / len(test),
        "board": board,
        "clock_hz": clock,
        "updates_per_second": round(clock / cycles),
        "samples_per_second": round(clock / mean),
    }
    write_json(folder / "report.json", report)
    return report, after
