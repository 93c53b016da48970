"""SelfTest: all images at full speed, sums of logits, and when the result comes."""

import random

import numpy as np
import pytest

from hw.neuron.readout import result_layout
from hw.top.self_test import SelfTest, TestImages
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, bits, fields

WORDS, IMAGES, REPEATS, CLASSES, LOGIT_BITS = 3, 4, 3, 5, 6


def run(pace: Pace, rounds: int = 2):
    """Play `rounds` runs; the core's part is played by the bench, which sends random logits."""
    rng = random.Random(1)
    rows = [rng.getrandbits(16) for _ in range(WORDS * IMAGES)]
    dut = SelfTest(
        TestImages(rows=rows, words=WORDS, repeats=REPEATS),
        word_bits=16,
        classes=CLASSES,
        logit_bits=LOGIT_BITS,
    )
    played = IMAGES * REPEATS
    logits = np.random.default_rng(2).integers(-20, 20, (played, CLASSES))
    layout = result_layout(CLASSES, LOGIT_BITS)
    results = [
        bits(layout, {"logit": logit, "best": 0, "last": int(n == CLASSES - 1)})
        for row in logits.tolist()
        for n, logit in enumerate(row)
    ]
    bench = Bench(dut, pace)
    bench.feed(dut.i, [0] * WORDS)
    words = bench.collect(dut.o, len(rows) * REPEATS)
    source = bench.feed(dut.results, results)
    sums = bench.collect(dut.sums, CLASSES)
    bench.run(extra=10)
    return rows, logits, words, source, sums


@pytest.mark.parametrize("pace", [FLOWING, *JITTERY], ids=str)
def test_every_word_of_every_image_and_every_logit_counts(pace: Pace) -> None:
    rows, logits, words, _, sums = run(pace)
    assert words.values == rows * REPEATS
    half = 1 << LOGIT_BITS - 1
    totals = ((logits.sum(axis=0) + half) % (2 * half) - half).tolist()
    got = [fields(result_layout(CLASSES, LOGIT_BITS), raw) for raw in sums.values]
    assert [r.logit for r in got] == totals
    assert [r.best for r in got] == [totals.index(max(totals[: n + 1])) for n in range(CLASSES)]
    assert [r.last for r in got] == [0] * (CLASSES - 1) + [1]


def test_cycle_law() -> None:
    """Words flow from `LATENCY` after the host's last, without a gap; the sums follow the last
    logit by two cycles."""
    _, _, words, source, sums = run(FLOWING)
    first = WORDS - 1 + SelfTest.LATENCY
    assert words.taken == list(range(first, first + WORDS * IMAGES * REPEATS))
    last = source.taken[-1]
    assert sums.taken == list(range(last + 2, last + 2 + CLASSES))
