"""A window moved by hand, event by event, and what leaves it: what tables and motions mean."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hw.program.code import Scan
from hw.program.reach import Window

__all__ = ["Event", "Motion", "Sums", "motions"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a scanner sends: `channel` counts from the first that is played; over an identity edge
    those of the lanes that are `active`, with signs `negatives`, go at once."""

    row: int
    column: int
    channel: int = 0
    null: int = 0
    plane: int = 0
    negative: int = 0
    active: int = 0
    negatives: int = 0


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What the window does in a cycle. `stores`: (bank, row of the window, address) of what goes to
    the sums; `event`: what is added, with this row of weights and this way to pick."""

    move: int
    fresh: int
    stores: tuple[tuple[int, int, int], ...] = ()
    event: Event | None = None
    weight: int = 0
    pick: int = 0

    @property
    def idle(self) -> bool:
        return not self.move and self.event is None


def motions(window: Window, scan: Scan, events: Sequence[Event]) -> Iterator[Motion]:
    """Cycle by cycle, of events that follow each other at once; at the end all leaves.

    A row's first event waits until all but one of the columns that the row before has left have
    gone, and `turn` cycles at least; it meets the last of them as it leaves.
    """
    held = place = 0
    before: int | None = None
    rows, columns = window.row_table[scan.row_table :], window.column_table[scan.column_table :]
    line = rows[0]

    def leaves() -> tuple[tuple[int, int, int], ...]:
        """Where the column at `place` goes, of the row that was added."""
        if not 0 <= place < scan.target_columns:
            return ()
        base = scan.potential + line.potential + place
        return tuple(
            (bank, line.slots[bank], base + line.nexts[bank] * scan.target_columns)
            for bank in range(window.rows)
            if line.stores[bank]
        )

    def moved() -> Motion:
        nonlocal held, place
        motion = Motion(move=1, fresh=int(held == 1), stores=leaves())
        held, place = held - 1, place + 1
        return motion

    for event in events:
        row, column = rows[event.row], columns[event.column]
        if event.row != before:
            for _ in range(max(held - 1, scan.turn)):
                yield moved() if held else Motion(move=0, fresh=1)
        moves = int(held > 0 and (event.row != before or column.column != place))
        added = any(row.stores) and column.some and not event.null
        yield Motion(
            move=moves,
            fresh=int(held <= moves),
            stores=leaves() if moves else (),
            event=event if added else None,
            weight=scan.weight + row.weight + column.weight + event.channel,
            pick=column.pick,
        )
        held = column.held if added else held - moves
        place, before, line = column.column, event.row, row
    while held:
        yield moved()


class Sums:
    """The sums of a window, (rows, columns, lanes), as motions say."""

    def __init__(
        self, window: Window, lanes: int, weights: np.ndarray, constant: int | None = None
    ) -> None:
        """`constant`: of an identity edge, which has no weights."""
        self._window, self._weights, self._constant = window, weights, constant
        self.sums = np.zeros((window.rows, window.columns, lanes), dtype=np.int64)

    def _added(self, event: Event, motion: Motion) -> np.ndarray:
        added = np.zeros_like(self.sums)
        if self._constant is not None:
            for k in range(added.shape[2]):
                sign = -1 if event.negatives >> k & 1 else 1
                added[:, 0, k] = sign * (event.active >> k & 1) * self._constant
            return added
        weights = np.zeros_like(self.sums)
        row = self._weights[motion.weight].reshape(-1, added.shape[2])
        for place, part in zip(self._window.used, row, strict=True):
            weights[place] = part
        for slot, column in enumerate(self._window.picks[motion.pick]):
            if column is not None:
                added[:, slot] = weights[:, column]
        return -added if event.negative else added

    def move(self, motion: Motion, shift: int = 0) -> np.ndarray:
        """A cycle; returns the column that was first, by row of the window."""
        first = self.sums[:, 0].copy()
        if motion.move:
            self.sums[:, :-1], self.sums[:, -1] = self.sums[:, 1:].copy(), 0
        if motion.fresh:
            self.sums[:] = 0
        if motion.event is not None:
            self.sums += self._added(motion.event, motion) << motion.event.plane + shift
        return first
