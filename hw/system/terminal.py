"""A terminal: steps as bars with the time left, and text that fits the window.

Colours are for the eye alone, every word is there without them; `NO_COLOR` turns them off.
"""

import re
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, TextIO

from rich import box
from rich.console import Console, OverflowMethod, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column, Table
from rich.text import Text

from hw.contract.text import TELL_SECONDS
from hw.contract.text import table as text_table
from hw.system.progress import Meter, Step

__all__ = ["Terminal", "duration", "fitted", "show"]

NARROW = 60
"""Columns from which on there is room for a bar beside its figures."""

LEAST = 24
"""Columns below which a value is not put beside what it is of."""

BRIEF = 1.0
"""Seconds below which nothing is left of a step that is over."""

FIELD = re.compile(r"\s*\S.{,40}?  +(?=\S)")
"""The first column of a table of `what  value`."""


def duration(seconds: float) -> str:
    """As `7 s`, `2:05 min` or `1:02 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02} h"


class Figures(ProgressColumn):
    """How much is done of how much, the time since, and the time that is left."""

    def render(self, task: Task) -> Text:
        spent = task.elapsed or 0.0
        if not task.total:
            expected = task.fields["expected"]
            told = f" of about {duration(expected)}" if expected >= TELL_SECONDS else ""
            return Text(f"{duration(spent)}{told}")
        told = f"{int(task.completed)}/{int(task.total)}  {duration(spent)}"
        # At the mean speed so far. Rich's own is that of the last half minute, in which nothing may
        # have come of what takes long.
        done = task.completed - task.fields["begun"]
        if done > 0:
            told += f", {duration(spent / done * (task.total - task.completed))} left"
        return Text(told)


class Share(BarColumn):
    """A bar for a step that has an end in sight; the turning line stands for all others."""

    def render(self, task: Task) -> Any:
        return super().render(task) if task.total else Text()


def _columns(width: int, encoding: str) -> list[ProgressColumn]:
    # What is cut ends in a character that other encodings have not.
    overflow: OverflowMethod = "ellipsis" if encoding.startswith("utf") else "crop"
    name = TextColumn(
        "{task.description}",
        markup=False,
        table_column=Column(ratio=1, no_wrap=True, overflow=overflow),
    )
    bar = [Share(bar_width=width // 4)] if width >= NARROW else []
    return [SpinnerColumn("line"), name, *bar, Figures(table_column=Column(no_wrap=True))]


class Bar(Step):
    """A step that a terminal shows."""

    def __init__(self, bars: Progress, task: Any, what: str) -> None:
        self._bars, self._task, self._what = bars, task, what

    def __call__(self, done: float, line: str = "") -> None:
        self._bars.update(self._task, completed=done)

    def doing(self, what: str) -> None:
        self._bars.update(self._task, description=f"{self._what}: {what}")


class Terminal(Meter):
    """What is told goes to a terminal: lines stay, steps are bars below them, and of a step that
    took a while a line says how long.

    Parameters
    ----------
    stream
        The terminal.
    console
        In place of the one that writes to it.
    """

    def __init__(self, stream: TextIO, console: Console | None = None) -> None:
        self._console = console or Console(file=stream)
        self._bars: Progress | None = None

    def __call__(self, line: str) -> None:
        _print(self._console, line)

    @contextmanager
    def step(self, what: str, total: float | None, done: float, seconds: float) -> Iterator[Step]:
        with self._live() as bars:
            task = bars.add_task(
                what, total=total, completed=int(done), begun=done, expected=seconds
            )
            started = time.monotonic()
            try:
                yield Bar(bars, task, what)
            finally:
                bars.remove_task(task)
            spent = time.monotonic() - started
            if spent >= BRIEF:
                self(f"{what}: done in {duration(spent)}")

    @contextmanager
    def _live(self) -> Iterator[Progress]:
        """The bars, from the first step that begins to the last that ends."""
        if self._bars is not None:
            yield self._bars
            return
        bars = Progress(
            *_columns(self._console.width, self._console.encoding),
            console=self._console,
            transient=True,
            expand=True,
            refresh_per_second=4,
            redirect_stdout=False,  # it may be a file
        )
        with bars:
            self._bars = bars
            try:
                yield bars
            finally:
                self._bars = None


def show(text: str, stream: TextIO) -> None:
    """Print an answer so that it fits the terminal's window."""
    _print(Console(file=stream), text)


def _print(console: Console, text: str) -> None:
    for part in fitted(text, console.width):
        # Words longer than the window, as paths, stay in one piece, to be copied.
        console.print(part, soft_wrap=isinstance(part, Text), highlight=False)


def fitted(text: str, width: int) -> list[RenderableType]:
    """Text for a window of so many columns: tables of `what  value` with the values below each
    other; tables of Markdown, where they are wider than it, with narrower columns, or, where these
    would be too narrow for their words, row by row."""
    parts: list[RenderableType] = []
    for is_table, lines in groupby(text.split("\n"), key=lambda line: line.startswith("|")):
        found = list(lines)
        if is_table and max(map(len, found)) > width:
            parts += _drawn(found, width)
        elif is_table:
            parts += [Text(line) for line in found]
        else:
            parts += [_wrapped(line, width) for line in found]
    return parts


def _wrapped(line: str, width: int) -> Text:
    """A line, broken between words; what goes on stands below the value of a table's row."""
    field = FIELD.match(line)
    name = field[0] if field else line[: len(line) - len(line.lstrip())]
    if len(line) > width and len(name) <= width - LEAST:
        value = textwrap.wrap(
            line[len(name) :],
            width - len(name),
            break_long_words=False,
            break_on_hyphens=False,
            expand_tabs=False,
            replace_whitespace=False,
        )
        line = name + ("\n" + " " * len(name)).join(value)
    told = Text(line)
    if field:
        told.stylize("bold", 0, len(field[0].rstrip()))
    return told


def _drawn(lines: Sequence[str], width: int) -> list[RenderableType]:
    """A table of Markdown that is wider than its window; lines that are none, as they are."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    if len({len(row) for row in cells}) > 1 or not lines[1:] or not lines[1].startswith("|---"):
        return [Text(line) for line in lines]
    head, _, *rows = cells
    words = [
        max(len(word) for cell in column for word in [*cell.split(), ""])
        for column in zip(head, *rows, strict=True)
    ]
    if sum(words) + 3 * len(words) + 1 > width:  # with what is between and around them
        told = [text_table([*zip(head, row, strict=True)]) for row in rows]
        return [_wrapped(line, width) for line in "\n\n".join(told).split("\n")]
    columns = [Column(Text(name), min_width=n) for name, n in zip(head, words, strict=True)]
    table = Table(*columns, box=box.SIMPLE_HEAD, show_lines=True, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return [table]
