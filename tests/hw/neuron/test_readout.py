"""Readout: logits, the running first maximum, and when they leave."""

import numpy as np
import pytest

from hw.contract.checks import signed_bits
from hw.neuron.readout import Readout, result_layout
from hw.stream.payloads import drives
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, bits, fields

Result = tuple[int, int, int]


def reference(logits: np.ndarray) -> list[Result]:
    """(logit, first maximum so far, last) of logits (images, classes)."""
    results = []
    for row in logits.tolist():
        for n, logit in enumerate(row):
            results.append((logit, row.index(max(row[: n + 1])), int(n == len(row) - 1)))
    return results


def run(drive: np.ndarray, lanes: int, bound: int, pace: Pace = FLOWING, group_major: bool = False):
    """Feed drives (images, steps, classes); results must be the reference's."""
    images, steps, classes = drive.shape
    groups = -(-classes // lanes)
    rng = np.random.default_rng(0)
    words = rng.integers(-bound, bound + 1, (images, steps, groups * lanes))  # unused lanes: junk
    words[..., :classes] = drive
    logit_bits = signed_bits(bound * steps)
    readout = Readout(
        lanes=lanes,
        groups=groups,
        steps=steps,
        classes=classes,
        drive_bits=signed_bits(bound),
        logit_bits=logit_bits,
        group_major=group_major,
    )
    words = words.reshape(images, steps, groups, lanes)
    if group_major:
        words = words.swapaxes(1, 2)
    layout = drives(lanes, signed_bits(bound))
    bench = Bench(readout, pace)
    source = bench.feed(
        readout.i, [bits(layout, word) for word in words.reshape(-1, lanes).tolist()]
    )
    sink = bench.collect(readout.o, images * classes)
    bench.run(extra=5)
    got = [fields(result_layout(classes, logit_bits), raw) for raw in sink.values]
    assert [(r.logit, r.best, r.last) for r in got] == reference(drive.sum(axis=1))
    assert [r.best for r in got if r.last] == drive.sum(axis=1).argmax(axis=1).tolist()
    return source, sink, groups


SHAPES = [(1, 1, 1), (1, 1, 4), (2, 1, 2), (10, 10, 3), (10, 4, 3), (9, 3, 1), (17, 16, 2)]

orders = pytest.mark.parametrize("group_major", [False, True], ids=["steps", "groups"])


@orders
@pytest.mark.parametrize("pace", [FLOWING, *JITTERY[2:]], ids=str)
@pytest.mark.parametrize(("classes", "lanes", "steps"), SHAPES)
def test_results_are_the_reference(
    classes: int, lanes: int, steps: int, pace: Pace, group_major: bool
) -> None:
    drive = np.random.default_rng(classes).integers(-9, 10, (5, steps, classes))
    run(drive, lanes, 9, pace, group_major)


@orders
@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_the_first_maximum_wins_a_tie(lanes: int, group_major: bool) -> None:
    rows = [[3, 3, 3, 3, 3], [0, 7, 7, 1, 7], [-4, -9, -4, -4, -9], [0, 0, 0, 0, 1]]
    run(np.array(rows)[:, None, :].repeat(2, axis=1), lanes, 9, group_major=group_major)


@orders
@pytest.mark.parametrize("lanes", [1, 4, 6])
def test_negative_logits_after_positive_ones(lanes: int, group_major: bool) -> None:
    """The maximum of the image before must not stand."""
    drive = np.random.default_rng(1).integers(1, 9, (6, 3, 6))
    drive[1::2] *= -1
    run(drive, lanes, 9, group_major=group_major)


@orders
@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("bound", [1, 127, 128])
def test_logits_reach_their_bounds_and_do_not_wrap(
    bound: int, steps: int, group_major: bool
) -> None:
    drive = np.full((2, steps, 4), bound)
    drive[0, :, ::2] *= -1
    drive[1] *= -1
    run(drive, 2, bound, group_major=group_major)


@orders
@pytest.mark.parametrize("pace", [FLOWING, Pace(idle=0.7, seed=3)], ids=str)
@pytest.mark.parametrize(("classes", "lanes", "steps"), SHAPES)
def test_cycle_law(classes: int, lanes: int, steps: int, pace: Pace, group_major: bool) -> None:
    drive = np.random.default_rng(2).integers(-9, 10, (4, steps, classes))
    source, sink, groups = run(drive, lanes, 9, pace, group_major)
    free, sent = 0, []
    for n, (offered, taken) in enumerate(zip(source.offered, source.taken, strict=True)):
        assert taken == max(offered, free)
        free = taken + Readout.INTERVAL
        group, step = n % groups, n // groups % steps
        if group_major:
            group, step = n // steps % groups, n % steps
        if step == steps - 1:
            logits = min(lanes, classes - group * lanes)
            first = taken + Readout.LATENCY
            sent += range(first, first + logits)
            free = sent[-1] + Readout.RECOVERY
    assert sink.taken == sent
