"""What passes payloads on unchanged: SkidBuffer, Serializer, DriveHold, Transposer."""

import random

import numpy as np
import pytest
from amaranth.hdl import unsigned

from hw.layer.hold import DriveHold
from hw.stream.payloads import coefficients
from hw.stream.serializer import Serializer
from hw.stream.skid import SkidBuffer
from hw.stream.transposer import Transposer
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, bits, fields
from tests.hw.memories import memories_of

EAGER = [FLOWING, Pace(idle=0.5, seed=11), Pace(idle=0.9, seed=12)]


def randoms(count: int, width: int) -> list[int]:
    rng = random.Random(count * width)
    return [rng.getrandbits(width) for _ in range(count)]


@pytest.mark.parametrize("pace", [FLOWING, *JITTERY[2:]], ids=str)
@pytest.mark.parametrize("width", [1, 13])
def test_skid_passes_everything_on(width: int, pace: Pace) -> None:
    skid = SkidBuffer(unsigned(width))
    bench = Bench(skid, pace)
    values = randoms(80, width)
    source = bench.feed(skid.i, values)
    sink = bench.collect(skid.o, len(values))
    bench.run(extra=5)
    assert sink.values == values
    if not pace.stall:
        assert sink.taken == [taken + SkidBuffer.LATENCY for taken in source.taken]
        assert source.taken == source.offered


# Serializer


def run_serializer(length: int, width: int, pace: Pace):
    wide, narrow = coefficients(length, 1, True), coefficients(width, 1, True)
    serializer = Serializer(wide, width)
    words = randoms(12, 2 * length)
    bench = Bench(serializer, pace)
    source = bench.feed(serializer.i, words)
    beats = -(-length // width)
    sink = bench.collect(serializer.o, len(words) * beats)
    bench.run(extra=3)
    element_bits = 2
    expected = []
    for word in words:  # an integer pads itself with zeros
        for beat in range(beats):
            expected.append(word >> beat * width * element_bits & (1 << narrow.size) - 1)
    assert sink.values == expected
    assert serializer.beats == beats
    return source, sink, beats


@pytest.mark.parametrize("pace", [FLOWING, *JITTERY[2:]], ids=str)
@pytest.mark.parametrize(
    ("length", "width"), [(1, 1), (8, 8), (8, 1), (8, 4), (7, 2), (10, 4), (3, 16), (17, 16)]
)
def test_serializer_cuts_the_word(length: int, width: int, pace: Pace) -> None:
    run_serializer(length, width, pace)


@pytest.mark.parametrize("pace", EAGER, ids=str)
@pytest.mark.parametrize(("length", "width"), [(1, 1), (8, 8), (7, 2), (3, 16), (17, 4)])
def test_serializer_cycle_law(length: int, width: int, pace: Pace) -> None:
    source, sink, beats = run_serializer(length, width, pace)
    parts = [[offered + n for n in range(beats)] for offered in source.offered]
    assert sink.taken == [cycle for run in parts for cycle in run]
    assert source.taken == [run[-1] for run in parts]


def test_serializer_of_wider_elements() -> None:
    wide, narrow = coefficients(5, 5, False), coefficients(2, 5, False)
    serializer = Serializer(wide, 2)
    bench = Bench(serializer)
    bench.feed(serializer.i, [bits(wide, [{"magnitude": n} for n in (1, 2, 3, 4, 31)])])
    sink = bench.collect(serializer.o, 3)
    bench.run()
    got = [fields(narrow, raw) for raw in sink.values]
    assert [(w[0].magnitude, w[1].magnitude) for w in got] == [(1, 2), (3, 4), (31, 0)]


# DriveHold


@pytest.mark.parametrize("pace", [*EAGER, *JITTERY], ids=str)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_hold_repeats_each_word_and_keeps_its_law(steps: int, pace: Pace) -> None:
    hold = DriveHold(lanes=2, bits=5, steps=steps)
    words = randoms(12, 10)
    bench = Bench(hold, pace)
    source = bench.feed(hold.i, words)
    sink = bench.collect(hold.o, len(words) * steps)
    bench.run(extra=6)
    assert sink.values == [word for word in words for _ in range(steps)]
    assert source.taken == sink.taken[steps - 1 :: steps]
    shown, sent = sink.offered, sink.taken
    for n, offered in enumerate(source.offered):
        first = n * steps
        assert shown[first : first + steps] == [
            offered,
            *(cycle + 1 for cycle in sent[first : first + steps - 1]),
        ]


# Transposer


def run_transposer(groups: int, steps: int, words: int, pace: Pace, images: int = 6, **run: int):
    """Every word has its place; `source` and `sink` for the law."""
    transposer = Transposer(coefficients(5, 1, True), groups=groups, steps=steps, words=words)
    size = groups * steps * words
    values = randoms(images * size, 10)
    bench = Bench(transposer, pace)
    source = bench.feed(transposer.i, values)
    sink = bench.collect(transposer.o, len(values))
    bench.run(extra=6, **run)
    order = np.arange(images * size).reshape(images, groups, steps, words).swapaxes(1, 2)
    assert sink.values == [values[k] for k in order.reshape(-1)]
    return source, sink, size


SHAPES = [
    (1, 1, 1),
    (1, 1, 3),
    (1, 4, 1),
    (3, 1, 1),
    (2, 2, 1),
    (3, 1, 2),
    (1, 3, 2),
    (3, 4, 1),
    (2, 3, 2),
    (5, 2, 3),
    (4, 4, 4),
]


@pytest.mark.parametrize("pace", [*EAGER, *JITTERY], ids=str)
@pytest.mark.parametrize(("groups", "steps", "words"), SHAPES)
def test_transposer_keeps_order_and_law(groups: int, steps: int, words: int, pace: Pace) -> None:
    source, sink, size = run_transposer(groups, steps, words, pace)
    sent = [-(10**9), -(10**9)]  # when the last word of each image left; there were none before
    for start in range(0, len(source.taken), size):
        image = slice(start, start + size)
        taken = source.taken[image]
        assert taken == [max(offered, sent[-2] + 1) for offered in source.offered[image]]
        first = max(taken[-1] + Transposer.LATENCY, sent[-1] + Transposer.INTERVAL)
        others = [cycle + Transposer.INTERVAL for cycle in sink.taken[image][:-1]]
        assert sink.offered[image] == [first, *others]
        sent.append(sink.taken[image][-1])


@pytest.mark.parametrize(("groups", "steps", "words"), SHAPES)
def test_transposer_keeps_two_images(groups: int, steps: int, words: int) -> None:
    """Each in a half of one memory that a bit of the address tells apart."""
    shape = coefficients(5, 1, True)
    (memory,) = memories_of(Transposer(shape, groups=groups, steps=steps, words=words))
    assert memory == (2 << (groups * steps * words - 1).bit_length(), 10)


@pytest.mark.parametrize("reset_at", [1, 7, 12, 13, 14, 20, 24, 25, 31, 50])
def test_transposer_after_a_reset(reset_at: int) -> None:
    run_transposer(2, 3, 2, FLOWING, reset_at=reset_at)
