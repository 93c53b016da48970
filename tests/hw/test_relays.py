"""What passes payloads on unchanged: SkidBuffer, Serializer, DriveHold."""

import random

import pytest
from amaranth.hdl import unsigned

from hw.hold import DriveHold
from hw.serializer import Serializer
from hw.skid import SkidBuffer
from hw.stream import coefficients
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, bits, fields

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


def run_hold(groups: int, steps: int, pace: Pace, images: int = 6):
    hold = DriveHold(lanes=2, bits=5, groups=groups, steps=steps)
    words = randoms(images * groups, 10)
    bench = Bench(hold, pace)
    source = bench.feed(hold.i, words)
    sink = bench.collect(hold.o, images * groups * steps)
    bench.run(extra=6)
    expected = []
    for start in range(0, len(words), groups):
        expected += words[start : start + groups] * steps
    assert sink.values == expected
    return source, sink


HOLDS = [(1, 1), (1, 2), (1, 5), (2, 1), (2, 4), (3, 3), (5, 2), (4, 1)]


@pytest.mark.parametrize("pace", [FLOWING, *JITTERY[2:]], ids=str)
@pytest.mark.parametrize(("groups", "steps"), HOLDS)
def test_hold_repeats_each_image(groups: int, steps: int, pace: Pace) -> None:
    run_hold(groups, steps, pace)


@pytest.mark.parametrize("pace", EAGER, ids=str)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_hold_of_one_group_cycle_law(steps: int, pace: Pace) -> None:
    source, sink = run_hold(1, steps, pace)
    assert sink.taken == [offered + n for offered in source.offered for n in range(steps)]
    assert source.taken == sink.taken[steps - 1 :: steps]


@pytest.mark.parametrize("pace", [*EAGER, *JITTERY[2:]], ids=str)
@pytest.mark.parametrize(("groups", "steps"), [shape for shape in HOLDS if shape[0] > 1])
def test_hold_of_several_groups_cycle_law(groups: int, steps: int, pace: Pace) -> None:
    source, sink = run_hold(groups, steps, pace)
    images = len(source.taken) // groups
    last_sent: list[int] = []
    for image in range(images):
        taken = source.taken[image * groups : (image + 1) * groups]
        offered = source.offered[image * groups : (image + 1) * groups]
        for g in range(groups):
            assert taken[g] == max(offered[g], last_sent[g] + 1 if last_sent else 0)
        at = image * groups * steps
        shown = sink.offered[at : at + groups * steps]
        sent = sink.taken[at : at + groups * steps]
        assert shown == [taken[-1] + DriveHold.LATENCY] + [cycle + 2 for cycle in sent[:-1]]
        last_sent = sent[-groups:]
