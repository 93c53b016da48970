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
from functools import partial
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
    "part",
    "run_passes",
    "run_session",
    "slower",
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


Lesson = Callable[[], tuple[int, int, int]]
"""Learns a block; its samples, those right before they were learned from, those that changed
anything."""


class Classifies(Protocol):
    """A learner, wherever it is and whatever it learns from."""

    @property
    def rates(self) -> list[int]:
        """k of each learned edge; it may be set."""
        ...

    @rates.setter
    def rates(self, rates: list[int]) -> None: ...

    def classify(self, images: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Classes (n,) of images (n, pixels); nothing is learned."""
        ...


class Learns(Classifies, Protocol):
    """A learner that is given its samples."""

    def learn_all(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> Sequence[Seen]:
        """Learn from images (n, pixels) with labels (n,), in their order."""
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

    def order(self, number: int, there: int) -> npt.NDArray[np.int64]:
        """The samples of a pass, the first is 1, out of so many."""
        return np.random.default_rng([self.seed, number]).permutation(there)[: self.samples]

    def looks(self, samples: int) -> bool:
        """The held-out images are classified after so many samples, within a pass too."""
        return samples in self.at or (self.every is not None and samples % self.every == 0)

    def blocks(self, number: int, there: int) -> Iterator[npt.NDArray[np.int64]]:
        """`order`, block by block; none goes on after a look."""
        order = self.order(number, there)
        before = (number - 1) * len(order)
        while len(order):
            most = min(len(order), BLOCK)
            size = next((n for n in range(1, most) if self.looks(before + n)), most)
            yield order[:size]
            order, before = order[size:], before + size


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


def slower(rates: Sequence[int], by: int = 1) -> list[int]:
    """Every k so much more, up to the most that there is."""
    return [min(k + by, RATES.stop - 1) for k in rates]


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

    def learn(chosen: npt.NDArray[np.int64]) -> tuple[int, int, int]:
        labels = train.labels[chosen]
        seen = learner.learn_all(train.images[chosen], labels)
        right = sum(one.label == y for one, y in zip(seen, labels.tolist(), strict=True))
        return len(chosen), right, sum(one.learned for one in seen)

    def blocks(number: int) -> list[Lesson]:
        return [partial(learn, chosen) for chosen in schedule.blocks(number, len(train))]

    return run_passes(learner, blocks, held_out, schedule, progress)


def run_passes(
    learner: Classifies,
    blocks: Callable[[int], Sequence[Lesson]],
    held_out: Split,
    schedule: Schedule,
    progress: Callable[[Point], None] = lambda point: None,
) -> Session:
    """As `run_session`, whatever a pass is: `blocks` has the lessons of each, the first is 1."""
    started, rates = time.monotonic(), list(learner.rates)
    seen, passes = np.zeros(3, dtype=np.int64), []
    points: list[Point] = []

    def look_now(number: int) -> None:
        points.append(look(learner, held_out, number, *seen.tolist()))
        progress(points[-1])

    interrupted = False
    try:
        look_now(0)
        for number in range(1, schedule.passes + 1):
            if number in schedule.drops:
                learner.rates = slower(learner.rates)
            passes.append(np.zeros(3, dtype=np.int64))
            for lesson in blocks(number):
                with held():
                    block = lesson()
                    seen += block
                    passes[-1] += block
                if schedule.looks(int(seen[0])):
                    look_now(number)
            if points[-1].samples < seen[0]:
                look_now(number)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        learner.rates = rates
    samples, right, learned = seen.tolist()
    return Session(
        points=tuple(points),
        samples=samples,
        right=right,
        learned=learned,
        passes=tuple((int(samples), int(learned)) for samples, _, learned in passes),
        seconds=time.monotonic() - started,
        interrupted=interrupted,
    )


def look(
    learner: Classifies, held_out: Split, number: int, samples: int, right: int, learned: int
) -> Point:
    """Classify the held-out images, if there are any, after what was seen."""
    hits = 0
    if len(held_out):
        hits = int((learner.classify(held_out.images) == held_out.labels).sum())
    return Point(
        samples=samples, number=number, hits=hits, n=len(held_out), right=right, learned=learned
    )


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
