"""Cycles of a window stage, from spike rates alone.

The expectation of the law of `gen.window.cycles`, every coefficient of a map taken to be there with
its own probability and by itself.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gen.program.cycles import send_cycles, sweep_cycles
from gen.program.expectation import Rates
from hw.layer.encoder import ChunkEncoder
from hw.program.code import Scan, Send, Sweep
from hw.program.scanner import Scanner
from hw.program.stage import ProgramStage
from hw.window.cursor import Cursor
from hw.window.sums import WindowSums

if TYPE_CHECKING:
    from gen.window.stage import WindowStagePlan

__all__ = ["window_expected"]

Float = npt.NDArray[np.float64]


def window_expected(plan: "WindowStagePlan", rates: Rates) -> float:
    """The cycles of an image on average, when coefficients are played at these rates."""
    p, cycles = plan.program, 0.0
    known: dict[Scan, float] = {}
    for op in p.operations:
        if isinstance(op, Send):
            cycles += send_cycles(plan, op)
            continue
        cycles += 1 + ProgramStage.FETCH_CYCLES
        if isinstance(op, Sweep):
            cycles += sweep_cycles(p, op)
        elif isinstance(op, Scan):
            # The same edge at another step costs the same.
            other = ("address", "odd_address", "even", "odd", "potential", "weight", "when")
            key = replace(op, **dict.fromkeys(other, 0), release=0)
            if key not in known:
                known[key] = _scan(plan, op, rates[op.played][op.source])
            cycles += known[key]
    return max(cycles, plan.loading)  # the next image is loaded meanwhile


def _scan(plan: "WindowStagePlan", scan: Scan, rate: Float | float) -> float:
    """Cycles of a scan."""
    p, window, lanes = plan.program, plan.window, plan.lanes
    shape, groups = plan.network.spec.shape_of(scan.source), scan.last_source_group + 1
    chance = np.broadcast_to(rate, (scan.last_plane + 1, *shape))
    mine = np.zeros((len(chance), groups * lanes, *shape[1:]))
    part = chance[:, scan.first_group * lanes :][:, : groups * lanes]
    mine[:, : part.shape[1]] = part
    words = mine.reshape(len(chance), groups, lanes, *shape[1:])
    if scan.identity:
        words = 1 - np.prod(1 - words, axis=2, keepdims=True)
    events = words.sum(axis=(0, 2))  # (groups, rows, columns)
    silent = np.prod(1 - words, axis=(0, 2))
    rows = window.row_table[scan.row_table : scan.row_table + shape[1]]
    columns = window.column_table[scan.column_table : scan.column_table + shape[2]]
    # What a row leaves behind depends on the last of its columns that adds.
    never = np.prod(silent, axis=0)  # (rows, columns)
    turns, free = 0.0, np.array([float(any(row.stores)) for row in rows])
    for column in reversed(range(shape[2])):
        one = columns[column]
        rest = one.held - (columns[-1].column - one.column) if one.some else 0
        here = 1 - never[:, column] if one.some else np.zeros(shape[1])
        turns += float((free * here).sum()) * max(0, rest - 1 - scan.turn)
        free = free * (1 - here)
        if columns[-1].column - one.column >= window.columns:
            break
    start = Scanner.latency(p) + Cursor.LATENCY + WindowSums.LATENCY
    start += 0 if scan.identity else ChunkEncoder.LATENCY
    return float((events + silent).sum()) + turns + scan.turn * shape[1] + start
