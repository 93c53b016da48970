"""The cycle law of a scan through a window. Exact for flowing streams."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gen.program.cycles import ProgramTimes, played
from gen.stage.stage import StageTimes
from hw.contract.edge import INPUT
from hw.layer.encoder import ChunkEncoder
from hw.program.code import Operation, Scan
from hw.program.program import Program
from hw.program.reach import Window
from hw.program.scanner import Scanner
from hw.window.cursor import Cursor
from hw.window.sums import WindowSums

if TYPE_CHECKING:
    from gen.window.stage import WindowStagePlan

__all__ = ["WindowPlay", "WindowTimes", "window_play", "window_plays"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WindowPlay:
    """What a scan through a window finds, and costs.

    updates
        Rows of weights that are added: one for each event that reaches anything.
    cycles
        From the scan's START to the first cycle in which nothing of it is on its way.
    """

    updates: int
    cycles: int


def window_plays(
    plan: "WindowStagePlan", pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
) -> Iterator[tuple[Operation, WindowPlay | None]]:
    """Each operation but the last, and what it finds, if it is a scan: of one image, pixels
    (image_size,), spikes (T, neurons) of each layer."""
    spec, lanes = plan.network.spec, plan.lanes
    maps = {INPUT: pixels.reshape(-1, *spec.shape_of(INPUT))}
    for layer, sent in zip(spec.layers, spikes, strict=False):
        maps[layer.name] = sent.reshape(-1, *layer.map_shape)
    for op in plan.program.operations[:-1]:
        found = None
        if isinstance(op, Scan):
            last = op.first_group + op.last_source_group
            values = played(op, maps[op.source])[op.first_group * lanes : (last + 1) * lanes]
            found = window_play(plan.program, op, values)
        yield op, found


def window_play(p: Program, scan: Scan, values: npt.NDArray[np.integer]) -> WindowPlay:
    """Of the coefficients that are played, (channels, rows, columns).

    Each word, group after group of channels at a position, takes as many cycles as it has events,
    or one. A row's first event waits until what the row before has left in the window has gone but
    for a column. At the end the rest goes, and is written.
    """
    window = p.window
    assert window is not None
    events = _events(p, scan, values)  # (rows, columns, groups)
    rows = window.row_table[scan.row_table : scan.row_table + scan.last_row + 1]
    columns = window.column_table[scan.column_table : scan.column_table + scan.last_column + 1]
    down = np.array([any(row.stores) for row in rows])
    across = np.array([bool(column.some) for column in columns])
    added = events * (down[:, None] & across)[:, :, None]
    first = Scanner.latency(p) + Cursor.LATENCY
    first += 0 if scan.identity else ChunkEncoder.LATENCY
    return WindowPlay(int(added.sum()), _Times(scan, window, events, added, first).end)


def _events(p: Program, scan: Scan, values: npt.NDArray[np.integer]) -> Int:
    """Events of each word that is read, (rows, columns, groups)."""
    lanes, groups = p.lanes, scan.last_source_group + 1
    channels, rows, columns = values.shape
    padded = np.zeros((groups * lanes, rows, columns), dtype=np.int64)
    padded[:channels] = np.abs(values.astype(np.int64))
    bits = padded.reshape(groups, lanes, rows, columns, 1) >> np.arange(scan.last_plane + 1) & 1
    counts = bits.any(axis=1).sum(axis=-1) if scan.identity else bits.sum(axis=(1, -1))
    return counts.transpose(1, 2, 0)


class _Times:
    """When motions happen, from the events of each word and those that are added.

    Attributes
    ----------
    end
        The first cycle in which nothing is on its way.
    """

    def __init__(self, scan: Scan, window: Window, events: Int, added: Int, first: int) -> None:
        columns = events.shape[1]
        table = window.column_table[scan.column_table : scan.column_table + columns]
        place = np.array([column.column for column in table])
        held = np.array([column.held for column in table])
        lasting = np.maximum(events, 1)
        adds = added.sum(axis=2) > 0  # (rows, columns)
        some = adds.any(axis=1)
        last = columns - 1 - adds[:, ::-1].argmax(axis=1)  # of a row, the last that adds
        rest = np.where(some, np.maximum(0, held[last] - (place[-1] - place[last])), 0)
        waits = np.maximum(np.concatenate([[0], rest[:-1]]) - 1, scan.turn)
        # The motion of each row's first event; of the first behind all rows.
        row_cycles = lasting.sum(axis=(1, 2))
        begins = first + np.cumsum(waits) + np.concatenate([[0], np.cumsum(row_cycles)[:-1]])
        behind = int(begins[-1] + row_cycles[-1])
        self.end = behind - 1
        if not some.any():
            return
        row = int(np.flatnonzero(some)[-1])
        begin = int(begins[row])
        if rest[row]:
            # What is left goes from the cycle on in which the next row's first event comes.
            arrives = begin + int(row_cycles[row])
            leaves = arrives + int(rest[row]) - 1
        else:
            gone = int(np.flatnonzero(place >= place[last[row]] + held[last[row]])[0])
            leaves = begin + int(lasting[row, :gone].sum())
        self.end = max(self.end, leaves + WindowSums.LATENCY)


class WindowTimes(ProgramTimes):
    """When a window stage last did what: a word of a picture is taken as its last position is."""

    def __init__(self, plan: "WindowStagePlan", after: StageTimes | None, lead: int) -> None:
        super().__init__(plan, after, lead)
        self._more = plan.intake
        self.word -= self._more
        self.released = [self.word, self.word]

    def take(self, offer: int, count: int, interval: int = 1) -> int:
        begun = max(offer - self._more, self.word + 1)
        if self._place == 0:
            begun = max(begun, self.released[0] + 1)
        return super().take(begun + self._more, count, max(interval, self._more + 1))
