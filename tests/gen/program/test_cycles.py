"""The cycle law of a program stage, by hand and cycle by cycle."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gen.core.plan import plan_programs
from gen.program.cycles import (
    Play,
    ProgramTimes,
    drive_times,
    logit_times,
    operation_cycles,
    scan_cycles,
    send_cycles,
    sweep_cycles,
    updates,
)
from gen.program.stage import ProgramStagePlan, plan_program
from gen.stage.stage import NEVER, StageTimes
from hw.contract.neuron import ReadoutSpec
from hw.program.code import Scan, Send, Sweep
from sim.golden.model import GoldenModel
from tests.hw.program.programs import Registers, conv, dense, leaky, network, part, random_pixels

STAGES = [
    stage
    for stage in plan_programs(
        network(
            (2, 3, 3), part(6, conv("input", 3)), part(5, dense("a")), part(3, dense("b")), steps=3
        ),
        4,
        (1,),
    ).stages
    if isinstance(stage, ProgramStagePlan)
]

# Operations


def play(
    words: int, *events: tuple[int, int], reads: int = 1, planes: int = 1, latency: int = 6
) -> Play:
    """(slot, updates) of each event."""
    both = np.array(events, dtype=np.int64).reshape(-1, 2)
    return Play(words, reads, latency, planes, both[:, 0], both[:, 1])


def test_costs_of_a_scan_by_hand() -> None:
    """A word comes five cycles after START, and is gone in the next if it is empty; a plane of it
    is shown a cycle after it came. An event is offered two cycles after that, walks five cycles
    later, and its last update is written within six."""
    assert scan_cycles(play(1), False) == 6
    assert scan_cycles(play(9), False) == 6 + 8
    assert scan_cycles(play(1, (0, 1)), False) == 6 + 2 + 5 + 6
    assert scan_cycles(play(1, (0, 4)), False) == 6 + 2 + 5 + 3 + 6
    assert scan_cycles(play(4, (3, 4)), False) == 6 + 3 + 2 + 5 + 3 + 6
    # Two events of a slot, or of two: their updates follow each other; nothing reached, no update.
    assert scan_cycles(play(1, (0, 4), (0, 4)), False) == 6 + 2 + 5 + 7 + 6
    assert scan_cycles(play(2, (0, 4), (1, 4)), False) == 6 + 2 + 5 + 7 + 6
    assert scan_cycles(play(1, (0, 0), (0, 4)), False) == 6 + 2 + 1 + 5 + 3 + 6
    # An identity's event is offered at once.
    assert scan_cycles(play(1, (0, 1)), True) == 6 + 5 + 6
    # Looking at many empty words behind the last event takes longer than its updates.
    assert scan_cycles(play(50, (0, 1)), False) == 6 + 49
    # Planes with nothing cost nothing; those with something follow each other.
    assert scan_cycles(play(1, (7, 1), planes=8), False) == 6 + 2 + 5 + 6
    assert scan_cycles(play(1, (0, 1), (7, 1), planes=8), True) == 6 + 1 + 5 + 6
    assert scan_cycles(play(3, (0, 1), (2, 1), (6, 1), planes=3), True) == 6 + 2 + 5 + 6 + 1
    # A word that is made of several comes when the last of them is there, empty or not.
    assert scan_cycles(play(1, reads=4), False) == 6 + 3
    assert scan_cycles(play(3, reads=4), False) == 6 + 11
    assert scan_cycles(play(3, (2, 1), reads=4), True) == 6 + 11 + 5 + 6
    # Where nothing is added up, a word comes two cycles sooner.
    assert scan_cycles(play(9, latency=4), False) == 4 + 8
    assert scan_cycles(play(4, (3, 4), latency=4), False) == 4 + 3 + 2 + 5 + 3 + 6


def test_costs_of_a_sweep_by_hand() -> None:
    """The first word is numbered a cycle after START and written eight later; the others follow,
    with a drive as without."""
    program = STAGES[0].program
    assert sweep_cycles(program, Sweep(last_word=0)) == 10
    assert sweep_cycles(program, Sweep(last_word=6)) == 16
    assert sweep_cycles(program, Sweep(last_word=6, has_drive=1)) == 16
    # Counted out in three bits, under hard reset, and under a soft one.
    counted = replace(program, spike_planes=3)
    assert sweep_cycles(counted, Sweep(last_word=6)) == 20
    soft = replace(counted, operations=(Sweep(step=3), *program.operations))
    assert sweep_cycles(soft, Sweep(last_word=6)) == 22
    guarded = replace(program, count_bits=4)
    assert sweep_cycles(guarded, Sweep(last_word=6)) == 18


@st.composite
def scans_found(draw) -> Play:
    """Words with events in any number, in any plane, each with its updates."""
    words, reads, planes = draw(st.integers(1, 12)), draw(reads_of), draw(st.integers(1, 3))
    slots = st.integers(0, words * planes - 1)
    some = draw(st.lists(st.tuples(slots, st.integers(0, 5)), max_size=14))
    found = sorted(some, key=lambda event: event[0])
    latency = draw(st.sampled_from([4, 6])) if reads == 1 else 6
    return play(words, *found, reads=reads, planes=planes, latency=latency)


reads_of = st.sampled_from([1, 1, 2, 3])


# A word that was held up by the one before it, and one of which the next is read.
HELD_UP = play(3, (0, 1), (1, 1), (2, 0), (4, 0), (7, 4), reads=2, planes=3)


@settings(max_examples=300, deadline=None)
@given(scans_found(), st.booleans(), st.sampled_from([6, 9]))
@example(HELD_UP, False, 6)
def test_costs_of_a_scan_cycle_by_cycle(found: Play, identity: bool, latency: int) -> None:
    """Places in a row that hold an event each, moved by hand; see docs/program.md."""
    events = [*zip(found.slot.tolist(), found.updates.tolist(), strict=True)]
    if identity:  # a plane's lanes go at once
        events = [event for n, event in enumerate(events) if event[0] not in dict(events[:n])]
        found = play(
            found.words, *events, reads=found.reads, planes=found.planes, latency=found.latency
        )
    planes = [
        [[n for at, n in events if at == slot] for slot in range(first, first + found.planes)]
        for first in range(0, found.words * found.planes, found.planes)
    ]
    assert scan_cycles(found, identity, latency) == cycles_of(
        Registers([[*filter(None, word)] for word in planes], found.reads, found.latency == 6),
        identity,
        latency,
    )


def cycles_of(scanner: Registers, identity: bool, latency: int) -> int:
    """Cycles from START to the first in which nothing is on its way. A plane of a word is the
    updates of its events."""
    held, offer, walk = list[int](), list[int](), 0  # in the encoder, at its output, being walked
    walker: list[int | None] = [None] * 4
    cycle = written = 0
    while scanner.busy or held or offer or walk or walker != [None] * 4 or cycle < written:
        # From the far end on: what moves makes room for what is behind it.
        if walk:
            walk, written = walk - 1, cycle + latency
        if not walk and walker[3] is not None:
            walk, walker[3] = walker[3], None
        for n in (2, 1, 0):
            if walker[n] is not None and walker[n + 1] is None:
                walker[n + 1], walker[n] = walker[n], None
                if n == 1 and walker[2] == 0:  # reaches nothing
                    walker[2] = None
        source = offer
        if identity:
            source = [] if scanner.shown is None else [*scanner.shown]
        if source and walker[0] is None:
            walker[0] = source.pop(0)
            scanner.shown = None if identity else scanner.shown
        if not offer and held:
            offer.append(held.pop(0))
        if not identity and not held and scanner.shown is not None:
            held, scanner.shown = [*scanner.shown], None
        if cycle:
            scanner.move()
        cycle += 1
    return cycle


def with_classes(classes: int, lanes: int) -> ProgramStagePlan:
    return plan_program(
        network((2, 1, 1), part(2, dense("input")), part(classes, dense("a"))), lanes
    )


@pytest.mark.parametrize(
    ("classes", "sending", "taken", "done"),
    [
        (1, NEVER, 13, 15),
        (4, NEVER, 13, 18),
        (4, 40, 40, 45),  # the readout is busy until then
        (5, NEVER, 19, 21),
        (6, 15, 21, 24),
        (11, NEVER, 25, 29),
    ],
)
def test_costs_of_a_send_of_logits_by_hand(
    classes: int, sending: int, taken: int, done: int
) -> None:
    """A word is offered three cycles after START, or after the word before; its logits leave from
    the second cycle after it was taken on, and the readout rests for one."""
    plan = with_classes(classes, 4)
    assert logit_times(plan.program, 10, sending) == (taken, done)
    if sending == NEVER:
        assert send_cycles(plan, Send()) == taken - 10 + 1 + 2


def test_costs_of_a_send_of_spikes_by_hand() -> None:
    """The first word two cycles after START, one per cycle, and two until the next operation."""
    first, _ = STAGES
    assert send_cycles(first, Send(last_word=0)) == 5
    assert send_cycles(first, Send(last_word=6)) == 11


@pytest.mark.parametrize(
    ("readout", "interval"),
    [
        (ReadoutSpec(decay="factor", decay_shift=4, decay_factor=8), 3),
        (ReadoutSpec(decay="factor", decay_shift=8, decay_factor=181), 6),
    ],
)
def test_costs_of_a_send_of_drives_by_hand(readout: ReadoutSpec, interval: int) -> None:
    """A word is offered three cycles after START, or after the word before, and taken when the
    readout has made the one before leak; behind the last one it is three until the next START."""
    for classes, words in ((1, 1), (4, 1), (5, 2), (11, 3)):
        plan = with_classes(classes, 4)
        plan = plan_program(leaky(plan.network, readout), 4)
        send = next(op for op in plan.program.operations if isinstance(op, Send))
        apart = max(3, interval)
        assert send_cycles(plan, send, last=False) == 3 + (words - 1) * apart + 3
        # A readout that is busy when the first word comes.
        taken, free = drive_times(plan.program, 10, 40)
        assert (taken, free) == (40 + (words - 1) * apart, 40 + words * apart - apart + interval)


# A stage


class Next(StageTimes):
    """A stage that takes a word every other cycle, and the first of a step not before the tenth
    after the last one; `told` is what it is asked."""

    def __init__(self) -> None:
        self.word_size, self.last, self.told = 2, -10, list[tuple[int, int]]()

    def prepare(self, pixels: Any, spikes: Any) -> None:
        raise NotImplementedError

    def begin(self, n: int) -> None:
        raise NotImplementedError

    def take(self, offer: int, count: int, interval: int = 1) -> int:
        assert interval == 1
        self.told.append((offer, count))
        self.last = max(offer, self.last + 10) + 2 * (count - 1)
        return self.last

    def play(self, vector: int) -> None:
        self.told.append((-1, vector))


def images(timed: bool) -> tuple[ProgramStagePlan, np.ndarray, list[np.ndarray]]:
    """A plan, pixels, and the spikes of the layers that fire."""
    image = network(
        (2, 3, 3),
        part(3, conv("input", 3), conv("input", 3)),
        part(4, dense("a")),
        part(6, dense("b")),
        steps=3,
        timed=timed,
    )
    pixels = random_pixels(image, 4)
    return plan_program(image, 4), pixels, list(GoldenModel(image).run(pixels).spikes)


@pytest.mark.parametrize("offers", [0, 700], ids=["at-once", "late"])
@pytest.mark.parametrize("lead", [0, 1, 50])
@pytest.mark.parametrize("timed", [False, True])
def test_pictures_one_after_the_other(timed: bool, lead: int, offers: int) -> None:
    """Two are held: the next one is taken while one is worked on, the one after that when the first
    has been read for the last time. Of each, operations follow each other; the first scan of the
    picture waits for it."""
    plan, pixels, spikes = images(timed)
    p, words = plan.program, plan.program.input_words
    times = plan.times(None, lead)
    times.prepare(pixels, spikes)
    ready, free, found, expected = 2 - lead, [-1, -1], [], []
    readout, last = NEVER, -1
    for n in range(len(pixels)):
        times.begin(n)
        for vector in range(plan.vectors):
            word = times.take(n * offers, words // plan.vectors)
            times.play(vector)
        first = max(n * offers, last + 1, free[n] + 1)
        last = max(first + words - 1, n * offers)
        assert word == last
        now, waits = ready, True
        costs = operation_cycles(plan, pixels[n], [layer[n] for layer in spikes])
        for op, cost in zip(p.operations[:-1], costs, strict=True):
            if isinstance(op, Scan) and op.from_input and waits:
                now, waits = max(now, last + 1), False
            now += cost
            if isinstance(op, Scan) and op.release:
                free.append(now)
            now += 3
        taken, done = logit_times(p, now, readout)
        ready, readout = taken + 3, done + 1
        found.append(times.done)
        expected.append(done)
    assert found == expected
    assert isinstance(times, ProgramTimes)
    assert times.word == last


def test_words_that_come_slowly() -> None:
    """From one to the next at least as many cycles as they say."""
    plan, pixels, spikes = images(timed=False)
    times = plan.times(None, 0)
    times.prepare(pixels, spikes)
    times.begin(0)
    words = plan.program.input_words
    assert times.take(7, words - 2, interval=4) == 7 + 4 * (words - 3)
    assert times.take(0, 2, interval=4) == 7 + 4 * (words - 3) + 1 + 4


def test_spikes_go_to_the_next_stage_step_by_step() -> None:
    """Its words are smaller: two for one of ours. The next picture's operations follow the last."""
    plan, after = STAGES[0], Next()
    image = plan.network
    pixels = random_pixels(image, 2)
    spikes = list(GoldenModel(image).run(pixels).spikes)
    times = plan.times(after, 0)
    times.prepare(pixels, spikes)
    ready, last, expected = 2, -10, []
    send = plan.program.operations[-1]
    assert isinstance(send, Send)
    words = (send.last_word + 1) // 3
    assert words == 2  # six channels on four lanes
    for n in range(2):
        times.begin(n)
        arrived = times.take(0, plan.program.input_words)
        times.play(0)
        now, waits = ready, True
        costs = operation_cycles(plan, pixels[n], [layer[n] for layer in spikes])
        for op, cost in zip(plan.program.operations[:-1], costs, strict=True):
            if isinstance(op, Scan) and op.from_input and waits:
                now, waits = max(now, arrived + 1), False
            now += cost + 3
        offer = now + 2
        for step in range(3):
            expected += [(offer, 2 * words), (-1, step)]
            last = max(offer, last + 10) + 2 * (2 * words - 1)
            offer = last + 1
        ready = last + 3
    assert after.told == expected


def test_what_is_added_is_every_update() -> None:
    """By hand: a pixel of 3 has two bits, each of which reaches a word per target position; there
    are no spikes."""
    image = network((1, 2, 2), part(3, conv("input", 1)), part(2, dense("a")), steps=1, bits=2)
    plan = plan_program(image, 4)
    silent = [np.zeros((1, 12), dtype=int)]
    assert updates(plan, np.array([3, 0, 1, 0]), silent) == 2 + 1
    silent[0][0, :2] = 1, -1  # a word of classes each
    assert updates(plan, np.array([3, 0, 1, 0]), silent) == 3 + 2


def test_what_changes_is_added_by_hand() -> None:
    """Three neurons over four steps, and two of the next layer, in a word, as are the two classes:
    what b adds up are the first step's three spikes, then a turn of sign (two, one bit), two spikes
    that end, then nothing; what the readout adds up is each neuron's sum."""
    image = network(
        (1, 1, 1), part(3, dense("input")), part(2, dense("a")), part(2, dense("b")), steps=4
    )
    a = np.array([[1, 1, -1], [1, -1, -1], [1, 0, 0], [1, 0, 0]])
    b = np.array([[1, 0], [1, 0], [1, -1], [0, -1]])  # sums 3 and -2: three bits
    dark = np.zeros(1, dtype=int)
    steps, changes = plan_program(image, 4), plan_program(image, 4, changes=("a", "b"))
    assert np.count_nonzero(a) == 8
    assert updates(steps, dark, [a, b]) == 8 + 3
    assert updates(changes, dark, [a, b]) == 3 + 1 + 2 + 0 + 3
    by_numpy = np.bitwise_count(np.abs(np.diff(a, axis=0, prepend=0))).sum()
    assert by_numpy == 3 + 1 + 2 + 0
    # A picture is added up once, whatever the steps; for a readout, times the steps.
    alone = network((1, 1, 1), part(2, dense("input")), steps=3)
    assert updates(plan_program(alone, 4), np.array([1]), []) == 2  # three has two bits


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_pixel_reaches_what_its_kernel_covers(channels: int) -> None:
    """Pixel by pixel, several positions in a word or one: a word for every four channels of every
    target whose kernel lies on the pixel."""
    high, wide, kernel, stride, padding = 3, 7, 3, 2, 1
    edge = conv("input", kernel, stride=stride, padding=padding)
    image = network((channels, high, wide), part(5, edge), part(2, dense("a")), steps=1, bits=1)
    plan = plan_program(image, 4)
    _, rows, columns = image.spec.layers[0].map_shape

    def covers(place: int, targets: int) -> int:
        starts = [stride * target - padding for target in range(targets)]
        return sum(start <= place < start + kernel for start in starts)

    silent = [np.zeros((1, image.spec.layers[0].neurons), dtype=int)]
    found = np.array(
        [updates(plan, pixel, silent) for pixel in np.eye(channels * high * wide, dtype=int)]
    )
    one = [[2 * covers(y, rows) * covers(x, columns) for x in range(wide)] for y in range(high)]
    assert found.reshape(channels, high, wide).tolist() == [one] * channels
