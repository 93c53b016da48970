"""sw.spide.session: the order, the looks, the rates, and that an interrupt loses nothing."""

import os
import signal
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pytest

from hw.learn.masters import Masters
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.spide.session import (
    BLOCK,
    Point,
    Schedule,
    SessionError,
    part,
    run_passes,
    run_session,
    split_off,
)
from sw.spide.simulated import lesson_of
from sw.spide.start import PRESETS
from sw.spide.twin import FastLearner


@dataclass
class Answer:
    """Of `Noted`, for one sample."""

    label: int
    learned: bool


class Noted:
    """A learner that only writes down what it is asked."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.rates, self.blocks, self.seen_rates = [3, 16], [], []
        self._interrupt_at = interrupt_at

    def learn_all(self, images, labels):
        if len(self.blocks) == self._interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        self.blocks.append(images[:, 0].tolist())
        self.seen_rates.append(list(self.rates))
        return [Answer(int(y), bool(x % 2 == 0)) for x, y in zip(images[:, 0], labels, strict=True)]

    def classify(self, images):
        return np.zeros(len(images), dtype=np.int64)


def numbered(count: int) -> Split:
    """Images that are their numbers; every second has the label 0."""
    images = np.arange(count, dtype=np.uint8)[:, None]
    labels = np.arange(count) % 2
    return Split(name="numbers", split="train", bits=8, images=images, labels=labels)


def test_each_pass_sees_each_sample_once_in_an_order_of_its_own():
    orders = []
    for seed in (1, 1, 2):
        learner = Noted()
        run_session(learner, numbered(250), numbered(0), Schedule(passes=2, seed=seed))
        assert [len(block) for block in learner.blocks] == [BLOCK, BLOCK, 50] * 2
        order = [*chain(*learner.blocks)]
        assert sorted(order[:250]) == sorted(order[250:]) == list(range(250))
        assert order[:250] != order[250:]
        orders.append(order)
    assert orders[0] == orders[1] != orders[2]


def test_looks_and_what_was_learned_so_far():
    learner, points = Noted(), []
    schedule = Schedule(passes=2, samples=110, every=100, at=(3, 115))
    session = run_session(learner, numbered(250), numbered(10), schedule, points.append)
    assert [(p.samples, p.number) for p in points] == [
        (0, 0), (3, 1), (100, 1), (110, 1), (115, 2), (200, 2), (220, 2)
    ]  # fmt: skip
    assert list(session.points) == points
    assert all((p.hits, p.n, p.share) == (5, 10, 0.5) for p in points)
    order = [*chain(*learner.blocks)]
    even = [sum(x % 2 == 0 for x in order[: p.samples]) for p in points]
    assert [p.learned for p in points] == even
    assert [p.right for p in points] == [p.samples for p in points]
    assert session.passes[0][0] == session.passes[1][0] == 110
    assert sum(learned for _, learned in session.passes) == session.learned == even[-1]
    assert (session.samples, session.right, session.interrupted) == (220, 220, False)
    facts = session.to_dict()
    assert facts["points"][1]["samples"] == 3
    assert facts["passes"][0] == list(session.passes[0])


def test_rates_drop_before_passes_and_come_back():
    learner = Noted()
    run_session(learner, numbered(5), numbered(0), Schedule(passes=4, drops=(2, 4)))
    assert learner.seen_rates == [[3, 16], [4, 16], [4, 16], [5, 16]]  # 16 is the most there is
    assert learner.rates == [3, 16]


def test_an_interrupt_waits_for_the_end_of_a_block():
    learner, handler = Noted(interrupt_at=1), signal.getsignal(signal.SIGINT)
    session = run_session(learner, numbered(250), numbered(0), Schedule(passes=3))
    assert session.interrupted
    assert session.samples == 2 * BLOCK == sum(map(len, learner.blocks))
    assert signal.getsignal(signal.SIGINT) is handler
    assert learner.rates == [3, 16]


def test_passes_of_the_learners_own():
    """As from images on a chip: a pass is a lesson, whole in spite of an interrupt."""
    learner, told = Noted(), []

    def lesson():
        if len(told) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        learner.seen_rates.append(list(learner.rates))
        return 7, 5, 2

    schedule = Schedule(passes=9, drops=(2,), every=7)
    session = run_passes(learner, lambda number: [lesson], numbered(3), schedule, told.append)
    assert learner.seen_rates == [[3, 16], [4, 16], [4, 16]]
    assert learner.rates == [3, 16]
    assert [(p.samples, p.number, p.right, p.learned) for p in told] == [
        (0, 0, 0, 0), (7, 1, 5, 2), (14, 2, 10, 4),
    ]  # fmt: skip
    assert (session.samples, session.right, session.learned) == (21, 15, 6)
    assert (session.passes, session.interrupted) == (((7, 2),) * 3, True)


def test_on_the_verilog_it_is_the_same_session():
    learner, data = Noted(), numbered(130)
    schedule = Schedule(passes=3, samples=110, drops=(2, 3), every=40)
    run_session(learner, data, numbered(0), schedule)
    lesson, count = lesson_of(data, schedule, learner.rates, margin=5)
    assert lesson.pixels[:, 0].tolist() == [*chain(*learner.blocks)]
    rates = np.repeat(learner.seen_rates, [len(block) for block in learner.blocks], axis=0)
    assert np.array_equal(lesson.labels, lesson.pixels[:, 0] % 2)
    assert lesson.rates is not None
    assert np.array_equal(lesson.rates, rates)
    assert lesson.margins is not None
    assert np.array_equal(lesson.margins, [5] * 330)
    assert count == 110


def test_an_interrupt_while_it_looks():
    def told(point: Point) -> None:
        if point.samples == 60:
            raise KeyboardInterrupt

    session = run_session(Noted(), numbered(99), numbered(4), Schedule(every=30), told)
    assert session.interrupted
    assert [p.samples for p in session.points] == [0, 30, 60]
    assert session.samples == 60


def test_an_error_is_not_an_interrupt():
    learner = Noted()
    learner.rates = [1]

    def told(point: Point) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        run_session(learner, numbered(3), numbered(0), Schedule(drops=(1,)), told)
    assert learner.rates == [1]


def test_split_off_takes_the_last():
    others, last = split_off(numbered(10), 3)
    assert others.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert last.images[:, 0].tolist() == [7, 8, 9]
    assert len(split_off(numbered(10), 0)[1]) == 0
    for count in (10, -1):
        with pytest.raises(SessionError, match=f"fewer than the 10 of numbers, not {count}"):
            split_off(numbered(10), count)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"passes": 0}, "Passes must be an integer of at least 1, not 0"),
        ({"passes": True}, "Passes must be an integer of at least 1, not True"),
        ({"samples": 0}, "Samples must be an integer of at least 1, not 0"),
        ({"seed": -1}, "Seed must be an integer of at least 0, not -1"),
        ({"every": 0}, "Samples between looks must be an integer of at least 1, not 0"),
        ({"drops": (0,)}, "Pass of a rate drop must be an integer of at least 1, not 0"),
        ({"at": (1.5,)}, "Samples before a look must be an integer of at least 1, not 1.5"),
    ],
)
def test_schedules_that_are_refused(fields, sentence):
    with pytest.raises(SessionError) as refused:
        Schedule(**fields)
    assert str(refused.value) == sentence


def test_no_images_are_refused():
    with pytest.raises(SessionError, match="numbers must hold an image to learn from"):
        run_session(Noted(), numbered(0), numbered(0), Schedule())


def test_digits_from_noise_in_three_passes():
    """The gate of accuracy; 30 passes give 97.75 % (docs/learning-results.md)."""
    preset = PRESETS["digits"]
    learner = FastLearner(Masters.of(preset.network(1)))
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    session = run_session(learner, train, test, Schedule(passes=3))
    assert session.points[0].share < 0.3
    assert session.points[-1].share >= 0.88
    assert learner.masters.learned == session.learned < session.samples == 3 * 1433


def test_looking_changes_nothing():
    train, found = load_split("digits", "train", 4), []
    for every, held_out in ((None, part(train, slice(0))), (20, train)):
        learner = FastLearner(Masters.of(PRESETS["digits"].network(1)))
        run_session(learner, train, held_out, Schedule(samples=100, every=every))
        found.append(learner.masters.digest)
    assert found[0] == found[1]
