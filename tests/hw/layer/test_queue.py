"""WordFinder and SpikeQueue: which words are visited, which events are played, and when."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.layer.finder import WordFinder, visit_layout
from hw.layer.queue import SpikeQueue
from hw.stream.payloads import Kind, transfer
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, fields
from tests.hw.vectors import decode_events, pack_vector, play, random_vectors

# WordFinder


class FedFinder(wiring.Component):
    """A WordFinder whose words come from a stream, never more than two vectors ahead."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, words: int, planes: int, replays: int) -> None:
        self._words, self._replays = words, replays
        self.finder: Any = WordFinder(words=words, planes=planes, replays=replays)
        super().__init__(
            {
                "i": In(stream.Signature(unsigned(planes))),
                "o": Out(stream.Signature(visit_layout(words, planes))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.finder = finder = self.finder
        wiring.connect(m, finder.o, wiring.flipped(self.o))
        word, ahead = Signal(range(self._words)), Signal(range(3))
        replay = Signal(range(self._replays))
        last = word == self._words - 1
        step = transfer(self.o) & (self.o.payload.end == Kind.STEP)
        listed = step & (replay == self._replays - 1)
        m.d.comb += [
            self.i.ready.eq(ahead != 2),
            finder.en.eq(transfer(self.i)),
            finder.last.eq(last),  # junk but for the last word; likewise `some`
            finder.some.eq(self.i.payload),
        ]
        m.d.sync += ahead.eq(ahead + (transfer(self.i) & last) - listed)
        with m.If(transfer(self.i)):
            m.d.sync += word.eq(word + 1)
            with m.If(last):
                m.d.sync += word.eq(0)
        with m.If(step):
            m.d.sync += replay.eq(replay + 1)
            with m.If(listed):
                m.d.sync += replay.eq(0)
        return m


def visits(vector: list[int], planes: int) -> list[tuple[int, int, Kind]]:
    """Reference: (word, plane, end) of each visit of a vector listed once."""
    result = []
    for plane in reversed(range(planes)):
        end = Kind.PLANE if plane else Kind.STEP
        words = [n for n, some in enumerate(vector) if some >> plane & 1] or [0]
        result += [(word, plane, Kind.SPIKE) for word in words[:-1]] + [(words[-1], plane, end)]
    return result


def run_finder(words: int, planes: int, replays: int, count: int, pace: Pace):
    rng = np.random.default_rng(words + planes)
    vectors = random_vectors(rng, count, words, planes, signed=False).tolist()
    fed = FedFinder(words, planes, replays)
    expected = [
        (word, n & 1, plane, end)
        for n, vector in enumerate(vectors)
        for word, plane, end in visits(vector, planes) * replays
    ]
    bench = Bench(fed, pace)
    source = bench.feed(fed.i, [some for vector in vectors for some in vector])
    sink = bench.collect(fed.o, len(expected))
    bench.run(extra=5)
    layout = visit_layout(words, planes)
    got: list[data.Const] = [fields(layout, raw) for raw in sink.values]
    assert [(v.word, v.buffer, v.plane, Kind(v.end)) for v in got] == expected
    return source, sink, [len(visits(vector, planes)) * replays for vector in vectors]


@pytest.mark.parametrize("pace", [FLOWING, *JITTERY[2:]], ids=str)
@pytest.mark.parametrize(
    ("words", "planes", "replays"), [(1, 1, 1), (1, 3, 2), (5, 1, 1), (4, 1, 3), (7, 3, 3)]
)
def test_finder_lists_the_reference(words: int, planes: int, replays: int, pace: Pace) -> None:
    run_finder(words, planes, replays, 12, pace)


@pytest.mark.parametrize("pace", [FLOWING, Pace(idle=0.6, seed=3)], ids=str)
@pytest.mark.parametrize(("words", "planes", "replays"), [(1, 1, 1), (4, 1, 2), (7, 3, 1)])
def test_finder_cycle_law(words: int, planes: int, replays: int, pace: Pace) -> None:
    source, sink, durations = run_finder(words, planes, replays, 20, pace)
    expected, free = [], 0
    for n, duration in enumerate(durations):
        start = max(source.taken[(n + 1) * words - 1] + WordFinder.LATENCY, free)
        expected += range(start, start + duration)
        free = start + duration
    assert sink.taken == expected


# SpikeQueue


def run_queue(
    vectors: np.ndarray,
    chunk: int,
    planes: int,
    signed: bool,
    replays: int,
    pace: Pace,
    repeat: bool = False,
    reset_at: int | None = None,
):
    words = vectors.shape[1] // chunk
    more = {"repeat": True} if repeat else {}
    queue = SpikeQueue(
        words=words, chunk=chunk, planes=planes, signed=signed, replays=replays, **more
    )
    expected = [play(vector, planes, repeat) * replays for vector in vectors.tolist()]
    bench = Bench(queue, pace)
    source = bench.feed(
        queue.i, [w for v in vectors.tolist() for w in pack_vector(v, chunk, planes, signed)]
    )
    sink = bench.collect(queue.o, sum(map(len, expected)))
    bench.run(extra=12, reset_at=reset_at)
    assert decode_events(sink.values, words * chunk) == [e for run in expected for e in run]
    return source, sink, [len(run) for run in expected]


QUEUES = [  # words, chunk, planes, signed, replays
    (1, 1, 1, True, 1),
    (1, 16, 1, True, 1),
    (1, 4, 8, False, 1),
    (3, 2, 1, True, 3),
    (4, 4, 1, True, 2),
    (5, 4, 3, False, 2),
    (9, 1, 2, False, 1),
    (3, 16, 8, False, 1),
    (2, 2, 2, True, 3),
]


@pytest.mark.parametrize("pace", [JITTERY[0], JITTERY[2]], ids=str)
@pytest.mark.parametrize(("words", "chunk", "planes", "signed", "replays"), QUEUES)
def test_queue_plays_the_reference(words, chunk, planes, signed, replays, pace) -> None:
    rng = np.random.default_rng(words * chunk)
    vectors = random_vectors(rng, 7, words * chunk, planes, signed)
    run_queue(vectors, chunk, planes, signed, replays, pace)


@pytest.mark.parametrize("pace", [FLOWING, Pace(0, 0.5, 8)], ids=str)
@pytest.mark.parametrize("value", [0, 3])
def test_queue_of_equal_vectors_back_to_back(value: int, pace: Pace) -> None:
    run_queue(np.full((9, 12), value), 4, 2, False, 2, pace)


@pytest.mark.parametrize("reset_at", range(1, 40, 3))
def test_queue_after_a_reset_at_any_time(reset_at: int) -> None:
    """Whatever was loaded and under way is gone, and what follows is right: all that has no reset
    is written before it is read."""
    vectors = random_vectors(np.random.default_rng(5), 5, 20, 2, signed=True)
    run_queue(vectors, 4, 2, True, 2, FLOWING, reset_at=reset_at)


@pytest.mark.parametrize("planes", range(1, 9))
def test_queue_plays_every_plane_alone(planes: int) -> None:
    vectors = np.zeros((planes, 8), dtype=np.int64)
    vectors[:, 5] = 1 << np.arange(planes)
    run_queue(vectors, 4, planes, False, 1, FLOWING)


@pytest.mark.parametrize("pace", [FLOWING, Pace(idle=0.5, seed=9)], ids=str)
@pytest.mark.parametrize(("words", "chunk", "planes", "signed", "replays"), QUEUES)
def test_queue_cycle_law(words, chunk, planes, signed, replays, pace) -> None:
    rng = np.random.default_rng(words)
    vectors = random_vectors(rng, 14, words * chunk, planes, signed)
    source, sink, durations = run_queue(vectors, chunk, planes, signed, replays, pace)
    loads = source.taken[words - 1 :: words]
    firsts, steps = [], []
    expected, last_step = [], -1
    for load, duration in zip(loads, durations, strict=True):
        start = max(load + SpikeQueue.fill_cycles(), last_step + 1)
        expected += range(start, start + duration)
        last_step = start + duration - 1
        firsts.append(start)
        steps.append(last_step)
    assert sink.taken == expected
    # A buffer is loaded again from the cycle after the last STEP of the vector in it.
    for n, (offered, taken) in enumerate(zip(source.offered, source.taken, strict=True)):
        vector, word = divmod(n, words)
        free = steps[vector - 2] + 1 if word == 0 and vector >= 2 else 0
        assert taken == max(offered, free)


@pytest.mark.parametrize("pace", [FLOWING, JITTERY[1]], ids=str)
@pytest.mark.parametrize(("planes", "replays"), [(1, 2), (2, 1), (3, 2), (4, 1)])
def test_repeated_planes_are_as_many_ternary_events(planes: int, replays: int, pace: Pace) -> None:
    """A coefficient c is |c| events of its sign."""
    vectors = random_vectors(np.random.default_rng(planes), 8, 12, planes, signed=True)
    _, sink, _ = run_queue(vectors, 4, planes, True, replays, pace, repeat=True)
    spikes = [e for e in decode_events(sink.values, 12) if e[0] == Kind.SPIKE]
    assert len(spikes) == int(np.abs(vectors).sum()) * replays
