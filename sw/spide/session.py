"""A learning session: samples in a seeded order, pass after pass, with an eye on held-out images.

It asks of a learner what the twin offers and a board will: to learn from some samples, to classify,
and to let its rates be set.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hw.contract.checks import SternaError
from hw.contract.learning import RATES
from sw.data.split import Split

__all__ = [
    "Learns",
    "Point",
    "Schedule",
    "Seen",
    "Session",
    "SessionError",
    "held",
    "look",
    "part",
    "run_session",
    "split_off",
]

BLOCK = 100
"""Samples that are learned as a whole: an interrupt waits for the end of a block."""


class SessionError(SternaError, ValueError):
    """A session that cannot be held."""


class Seen(Protocol):
    """What a session wants to know of a sample."""

    @property
    def label(self) -> int:
        """The class, before anything was learned from the sample."""
        ...

    @property
    def learned(self) -> bool:
        """Whether the sample changed anything."""
        ...


class Learns(Protocol):
    """A learner, wherever it is."""

    @property
    def rates(self) -> list[int]:
        """k of each learned edge; it may be set."""
        ...

    @rates.setter
    def rates(self, rates: list[int]) -> None: ...

    def learn_all(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> Sequence[Seen]:
        """Learn from images (n, pixels) with labels (n,), in their order."""
        ...

    def classify(self, images: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Classes (n,) of images (n, pixels); nothing is learned."""
        ...


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What is learned, in which order.

    Parameters
    ----------
    passes
        Over the training images.
    samples
        Of each pass, the first of its order; None: all.
    drops
        Passes, the first is 1, before which every k becomes one more.
    seed
        Of the order; each pass has its own.
    every
        Samples after which the held-out images are classified, besides at each pass's end; None:
        no more often.
    at
        Counts of samples after which they are, too.
    """

    passes: int = 1
    samples: int | None = None
    drops: tuple[int, ...] = ()
    seed: int = 1
    every: int | None = None
    at: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for what, value, least in (
            ("Passes", self.passes, 1),
            ("Samples", 1 if self.samples is None else self.samples, 1),
            ("Seed", self.seed, 0),
            ("Samples between looks", 1 if self.every is None else self.every, 1),
            *(("Pass of a rate drop", drop, 1) for drop in self.drops),
            *(("Samples before a look", count, 1) for count in self.at),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise SessionError(f"{what} must be an integer of at least {least}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Point:
    """A look at the held-out images.

    Parameters
    ----------
    samples, number
        Seen so far; the pass, from 1 (0: before the first sample).
    hits, n
        Right answers among the held-out images.
    right, learned
        Of the samples so far: right answers, before each was learned from; changes.
    """

    samples: int
    number: int
    hits: int
    n: int
    right: int
    learned: int

    @property
    def share(self) -> float:
        """hits / n, 0 to 1."""
        return self.hits / self.n if self.n else 0.0


@dataclass(frozen=True, kw_only=True)
class Session:
    """What came of a session.

    Parameters
    ----------
    points
        The curve; the first point is before the first sample.
    samples, right, learned
        Seen in all; of them, answered rightly before being learned from; that changed anything.
    passes
        For each pass that was begun: samples, and those that changed anything.
    seconds
        Wall time, looks included.
    interrupted
        Broken off; everything up to `samples` has been learned.
    """

    points: tuple[Point, ...]
    samples: int
    right: int
    learned: int
    passes: tuple[tuple[int, int], ...]
    seconds: float
    interrupted: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            **asdict(self),
            "points": [asdict(point) for point in self.points],
            "passes": [list(found) for found in self.passes],
            "seconds": round(self.seconds, 1),
        }


def split_off(data: Split, count: int) -> tuple[Split, Split]:
    """(the others, the last `count` images of a data set), for settings to be judged by.

    Raises
    ------
    SessionError
        When none would be left.
    """
    if not 0 <= count < len(data):
        raise SessionError(
            f"Held-out images must be fewer than the {len(data)} of {data.name}, not {count}"
        )
    return part(data, slice(len(data) - count)), part(data, slice(len(data) - count, None))


def part(data: Split, chosen: Any) -> Split:
    """Some images of a data set, by anything that indexes an array."""
    return replace(data, images=data.images[chosen], labels=data.labels[chosen])


def run_session(
    learner: Learns,
    train: Split,
    held_out: Split,
    schedule: Schedule,
    progress: Callable[[Point], None] = lambda point: None,
) -> Session:
    """Learn. An interrupt (SIGINT) ends the session after a whole block, and is no exception.

    Parameters
    ----------
    learner
        Changed. Its rates are back where they were at the end.
    held_out
        What the curve is measured on; may be empty.
    progress
        Called at each look.
    """
    if not len(train):
        raise SessionError(f"Data set {train.name} must hold an image to learn from")
    run = _Run(learner, train, held_out, schedule, progress)
    rates = list(learner.rates)
    try:
        run.everything()
        interrupted = False
    except KeyboardInterrupt:
        interrupted = True
    finally:
        learner.rates = rates
    return Session(
        points=tuple(run.points),
        samples=run.samples,
        right=run.right,
        learned=run.learned,
        passes=tuple((seen, learned) for seen, learned in run.passes),
        seconds=time.monotonic() - run.started,
        interrupted=interrupted,
    )


class _Run:
    """A session that goes on; its arguments are those of `run_session`."""

    def __init__(
        self,
        learner: Learns,
        train: Split,
        held_out: Split,
        schedule: Schedule,
        progress: Callable[[Point], None],
    ) -> None:
        self.learner, self.train, self.held_out = learner, train, held_out
        self.schedule, self.progress = schedule, progress
        self.points: list[Point] = []
        self.passes: list[list[int]] = []
        self.samples = self.right = self.learned = 0
        self.started = time.monotonic()

    def everything(self) -> None:
        """All passes."""
        count = min(self.schedule.samples or len(self.train), len(self.train))
        self._look(0)
        for number in range(1, self.schedule.passes + 1):
            if number in self.schedule.drops:
                most = RATES.stop - 1
                self.learner.rates = [min(k + 1, most) for k in self.learner.rates]
            order = np.random.default_rng([self.schedule.seed, number]).permutation(len(self.train))
            self.passes.append([0, 0])
            start = 0
            while start < count:
                end = start + self._next_stop(count - start)
                self._block(order[start:end])
                start = end
                if start == count or self._is_stop(self.samples):
                    self._look(number)

    def _is_stop(self, samples: int) -> bool:
        every = self.schedule.every
        return samples in self.schedule.at or (every is not None and samples % every == 0)

    def _next_stop(self, left: int) -> int:
        """Samples of the next block: to the next look at most."""
        most = min(left, BLOCK)
        return next((n for n in range(1, most) if self._is_stop(self.samples + n)), most)

    def _block(self, chosen: npt.NDArray[np.int64]) -> None:
        labels = self.train.labels[chosen]
        with held():
            seen = self.learner.learn_all(self.train.images[chosen], labels)
            learned = sum(one.learned for one in seen)
            self.samples += len(chosen)
            self.learned += learned
            self.right += sum(one.label == y for one, y in zip(seen, labels.tolist(), strict=True))
            self.passes[-1][0] += len(chosen)
            self.passes[-1][1] += learned

    def _look(self, number: int) -> None:
        point = look(
            self.learner,
            self.held_out,
            number=number,
            samples=self.samples,
            right=self.right,
            learned=self.learned,
        )
        self.points.append(point)
        self.progress(point)


def look(learner: Learns, held_out: Split, **seen: int) -> Point:
    """Classify the held-out images, if there are any; `seen`: the other fields of the point."""
    hits = 0
    if len(held_out):
        hits = int((learner.classify(held_out.images) == held_out.labels).sum())
    return Point(hits=hits, n=len(held_out), **seen)


@contextmanager
def held() -> Iterator[None]:
    """Let an interrupt wait: half a sample must not be learned. (Python hands signals to the main
    thread alone; elsewhere there is nothing to hold.)"""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
    if waiting:
        raise KeyboardInterrupt
