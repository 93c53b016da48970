"""ChunkEncoder: the events of each chunk, in order and in time."""

import random

import pytest

from hw.layer.encoder import ChunkEncoder, chunk_layout
from hw.stream.payloads import Kind
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, bits
from tests.hw.vectors import Event, decode_events

Chunk = dict


def random_chunks(words: int, chunk: int, count: int, seed: int) -> list[Chunk]:
    """Chunks of every density; an empty one has an end."""
    rng = random.Random(seed)
    chunks = []
    for _ in range(count):
        density = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        active = sum((rng.random() < density) << n for n in range(chunk))
        ends = [Kind.PLANE, Kind.STEP] + [Kind.SPIKE] * (active != 0)
        chunks.append(
            {
                "active": active,
                "negative": rng.getrandbits(chunk),
                "word": rng.randrange(words),
                "end": rng.choice(ends),
            }
        )
    return chunks


def events_of(item: Chunk, chunk: int) -> list[Event]:
    """Reference: the events of one chunk."""
    events: list[Event] = [
        (Kind.SPIKE, item["negative"] >> n & 1, item["word"] * chunk + n)
        for n in range(chunk)
        if item["active"] >> n & 1
    ]
    if item["end"] != Kind.SPIKE:
        events.append((item["end"], 0, 0))
    return events


def run(words: int, chunk: int, chunks: list[Chunk], pace: Pace, ahead: bool):
    encoder = ChunkEncoder(words, chunk, ahead=ahead)
    expected = [events_of(item, chunk) for item in chunks]
    bench = Bench(encoder, pace)
    source = bench.feed(encoder.i, [bits(chunk_layout(words, chunk), item) for item in chunks])
    sink = bench.collect(encoder.o, sum(map(len, expected)))
    bench.run(extra=5)
    assert decode_events(sink.values, words * chunk) == [e for run in expected for e in run]
    return source, sink, [len(run) for run in expected]


AHEAD = pytest.mark.parametrize("ahead", [False, True], ids=["", "ahead"])


@AHEAD
@pytest.mark.parametrize("pace", [FLOWING, *JITTERY[2:]], ids=str)
@pytest.mark.parametrize(("words", "chunk"), [(1, 1), (1, 2), (1, 16), (3, 4), (5, 16)])
def test_events_are_the_reference(words: int, chunk: int, pace: Pace, ahead: bool) -> None:
    run(words, chunk, random_chunks(words, chunk, 40, seed=words * chunk), pace, ahead)


@AHEAD
@pytest.mark.parametrize("pace", [FLOWING, Pace(idle=0.4, seed=5), Pace(idle=0.9, seed=6)], ids=str)
@pytest.mark.parametrize(("words", "chunk"), [(1, 1), (3, 4), (2, 16)])
def test_cycle_law(words: int, chunk: int, pace: Pace, ahead: bool) -> None:
    source, sink, durations = run(
        words, chunk, random_chunks(words, chunk, 60, seed=7), pace, ahead
    )
    expected, free = [], 0
    for taken, duration in zip(source.taken, durations, strict=True):
        start = max(taken + ChunkEncoder.LATENCY, free)
        expected += range(start, start + duration)
        free = start + duration
    assert sink.taken == expected
    if pace == FLOWING:  # without a gap
        first = ChunkEncoder.LATENCY
        assert sink.taken == list(range(first, first + sum(durations)))
