"""What long work tells of itself: lines, and steps with an end in sight.

Whoever wants to be told gives a callable that receives lines, and need know nothing more. One that
is a `Meter` sees steps, too, as they begin, go on and end: a terminal shows them as bars
(`hw.system.terminal`), and does without the lines that only count.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO

__all__ = [
    "Meter",
    "Progress",
    "Reports",
    "Step",
    "announced",
    "is_terminal",
    "listener",
    "silent",
    "teller",
    "under_way",
]

Progress = Callable[[str], None]
"""Receives lines for people."""


def silent(line: str) -> None:
    """A `Progress` for nobody."""


class Reports(logging.Handler):
    """Passes on what a log is told.

    Parameters
    ----------
    told
        To whom; may be set anew.
    """

    def __init__(self, told: Progress) -> None:
        super().__init__()
        self.told = told

    def emit(self, record: logging.LogRecord) -> None:
        self.told(record.getMessage())


def listener(log: logging.Logger) -> Progress:
    """Who is told of work that is given no `Progress`: whoever the log's `Reports` pass it on to,
    who may be a `Meter`; without one, the log itself."""
    at: logging.Logger | None = log
    while at is not None:
        for handler in at.handlers:
            if isinstance(handler, Reports):
                return handler.told
        at = at.parent if at.propagate else None
    return log.info


class Step:
    """A step under way, as the code that takes it sees it. This one has lines and nothing else.

    Parameters
    ----------
    told
        Who receives lines.
    """

    def __init__(self, told: Progress) -> None:
        self._told = told

    def __call__(self, done: float, line: str = "") -> None:
        """So much of the step's `total` is done; `line` says so where there is no bar."""
        if line:
            self._told(line)

    def doing(self, what: str) -> None:
        """What is going on within the step just now, for who looks on."""


class Meter(ABC):
    """A `Progress` that shows steps."""

    @abstractmethod
    def __call__(self, line: str) -> None:
        """Tell a line, which stays."""

    @abstractmethod
    def step(
        self, what: str, total: float | None, done: float, seconds: float
    ) -> AbstractContextManager[Step]:
        """Show a step while the context lasts; see `step`."""


@contextmanager
def under_way(
    progress: Progress,
    what: str,
    *,
    total: float | None = None,
    done: float = 0,
    seconds: float = 0,
    line: str = "",
) -> Iterator[Step]:
    """A step that may take long; the context is as long as it is. Steps may be nested.

    Parameters
    ----------
    progress
        Who is told.
    what
        The step, for who looks on.
    total, done
        What it is of, images or epochs, None where that is not known; what of it is done already.
    seconds
        How long it may take, where that is known and `total` is not; 0 where neither is.
    line
        What is told at its beginning where there is no bar; with one, nothing.

    Yields
    ------
    Step
        To be called with what is done of `total`.
    """
    if isinstance(progress, Meter):
        with progress.step(what, total, done, seconds) as at:
            yield at
    else:
        if line:
            progress(line)
        yield Step(progress)


def announced(
    progress: Progress, what: str, *, total: float | None = None, seconds: float = 0
) -> AbstractContextManager[Step]:
    """A step that is `under_way` and, where there is no bar, told by its name, with the time that
    it may take if that is long."""
    from hw.contract.text import expected_time  # the host library does without

    line = f"{what}{expected_time(seconds)}"
    return under_way(progress, what, total=total, seconds=seconds, line=line)


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks on who has a cursor, so that a line can be drawn again."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def teller(say: Progress, stream: TextIO) -> Progress:
    """`say`, which writes lines to the stream; where that is a terminal, its meter."""
    if not is_terminal(stream):
        return say
    from hw.system.terminal import Terminal  # it takes a while to import

    return Terminal(stream)
