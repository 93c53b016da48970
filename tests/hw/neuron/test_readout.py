"""Readout: logits, the running first maximum, and when they leave."""

from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]

from hw.contract.checks import signed_bits
from hw.contract.laws import decay
from hw.contract.network import Layer
from hw.contract.neuron import ReadoutSpec
from hw.contract.spec import LayerSpec
from hw.neuron.readout import Readout, result_layout
from hw.stream.payloads import drives
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, bits, fields
from tests.networks import READOUTS

Result = tuple[int, int, int]


def reference(logits: np.ndarray) -> list[Result]:
    """(logit, first maximum so far, last) of logits (images, classes)."""
    results = []
    for row in logits.tolist():
        for n, logit in enumerate(row):
            results.append((logit, row.index(max(row[: n + 1])), int(n == len(row) - 1)))
    return results


def read(drive: np.ndarray, leak: ReadoutSpec | None) -> np.ndarray:
    """Logits (images, classes) of drives (images, steps, classes), each by itself."""
    images, steps, classes = drive.shape
    if leak is None:
        return drive.sum(axis=1)
    logits = np.zeros((images, classes), dtype=int)
    for image, n in np.ndindex(images, classes):
        m, values = 0, []
        for t in range(steps):
            m = int(decay(m, leak)) + int(drive[image, t, n]) * 2**leak.fraction_bits
            values.append(m)
        logits[image, n] = {"last": values[-1], "sum": sum(values), "max": max(values)}[leak.value]
    return logits


def run(
    drive: np.ndarray,
    lanes: int,
    bound: int,
    pace: Pace = FLOWING,
    group_major: bool = False,
    leak: ReadoutSpec | None = None,
):
    """Feed drives (images, steps, classes); results must be the reference's."""
    images, steps, classes = drive.shape
    groups = -(-classes // lanes)
    rng = np.random.default_rng(0)
    words = rng.integers(-bound, bound + 1, (images, steps, groups * lanes))  # unused lanes: junk
    words[..., :classes] = drive
    spec = LayerSpec(name="a", inputs=1, neurons=1, weight_bits=16, readout=leak)
    layer = Layer.dense(spec, np.array([[bound]]), np.array([0]), 1, steps)
    logit_bits = layer.logit_bits
    readout = Readout(
        lanes=lanes,
        groups=groups,
        steps=steps,
        classes=classes,
        drive_bits=signed_bits(bound),
        logit_bits=logit_bits,
        group_major=group_major,
        leak=leak,
        m_bits=0 if leak is None else layer.integrated_bits,  # sums are as wide as logits
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
    logits = read(drive, leak)
    assert [(r.logit, r.best, r.last) for r in got] == reference(logits)
    assert [r.best for r in got if r.last] == logits.argmax(axis=1).tolist()
    return source, sink, groups


SHAPES = [
    (1, 1, 1),
    (1, 1, 4),
    (2, 1, 2),
    (10, 10, 3),
    (10, 4, 3),
    (9, 3, 1),
    (5, 3, 2),
    (17, 16, 2),
]

leaks = pytest.mark.parametrize("leak", READOUTS.values(), ids=list(READOUTS))
orders = pytest.mark.parametrize("group_major", [False, True], ids=["steps", "groups"])


@orders
@pytest.mark.parametrize("pace", [FLOWING, *JITTERY[2:]], ids=str)
@pytest.mark.parametrize(("classes", "lanes", "steps"), SHAPES)
def test_results_are_the_reference(
    classes: int, lanes: int, steps: int, pace: Pace, group_major: bool
) -> None:
    drive = np.random.default_rng(classes).integers(-9, 10, (5, steps, classes))
    run(drive, lanes, 9, pace, group_major)


@leaks
@orders
@pytest.mark.parametrize(("classes", "lanes", "steps"), [(1, 1, 1), (2, 1, 3), (10, 4, 4)])
def test_a_leak_is_the_reference(
    classes: int, lanes: int, steps: int, group_major: bool, leak: ReadoutSpec
) -> None:
    drive = np.random.default_rng(classes).integers(-9, 10, (5, steps, classes))
    run(drive, lanes, 9, JITTERY[2], group_major, leak)


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


BOUNDS = [(bound, steps, None) for bound in (1, 127, 128) for steps in (1, 7)]
LEAKY_BOUNDS = [(127, 7, leak) for leak in READOUTS.values()]


@orders
@pytest.mark.parametrize(("bound", "steps", "leak"), BOUNDS + LEAKY_BOUNDS)
def test_logits_reach_their_bounds_and_do_not_wrap(
    bound: int, steps: int, group_major: bool, leak: ReadoutSpec | None
) -> None:
    drive = np.full((2, steps, 4), bound)
    drive[0, :, ::2] *= -1
    drive[1] *= -1
    run(drive, 2, bound, group_major=group_major, leak=leak)


@leaks
@orders
@pytest.mark.parametrize("pace", [FLOWING, Pace(idle=0.7, seed=3)], ids=str)
def test_cycle_law_of_a_leak(pace: Pace, group_major: bool, leak: ReadoutSpec) -> None:
    for classes, lanes, steps in ((1, 1, 4), (10, 4, 3)):
        check_law(classes, lanes, steps, pace, group_major, leak)


@orders
@pytest.mark.parametrize("pace", [FLOWING, Pace(idle=0.7, seed=3)], ids=str)
@pytest.mark.parametrize(("classes", "lanes", "steps"), SHAPES)
def test_cycle_law(classes: int, lanes: int, steps: int, pace: Pace, group_major: bool) -> None:
    check_law(classes, lanes, steps, pace, group_major)


def check_law(
    classes: int,
    lanes: int,
    steps: int,
    pace: Pace,
    group_major: bool,
    leak: ReadoutSpec | None = None,
) -> None:
    drive = np.random.default_rng(2).integers(-9, 10, (4, steps, classes))
    source, sink, groups = run(drive, lanes, 9, pace, group_major, leak)
    free, sent = 0, []
    for n, (offered, taken) in enumerate(zip(source.offered, source.taken, strict=True)):
        assert taken == max(offered, free)
        free = taken + Readout.interval(leak)
        group, step = n % groups, n // groups % steps
        if group_major:
            group, step = n // steps % groups, n % steps
        if step == steps - 1:
            logits = min(lanes, classes - group * lanes)
            first = taken + Readout.latency(leak)
            sent += range(first, first + logits)
            free = sent[-1] + Readout.RECOVERY
    assert sink.taken == sent


def test_a_result_has_an_index_of_a_bit_at_least() -> None:
    assert [result_layout(n, 5).size for n in (1, 2, 3, 10)] == [7, 7, 8, 10]


@pytest.mark.parametrize("more", [{}, {"block_ram": False}, {"block_ram": True}])
def test_sums_lie_in_block_ram_where_asked(more: dict[str, Any]) -> None:
    readout = Readout(
        lanes=2, groups=2, steps=2, classes=3, drive_bits=3, logit_bits=4, m_bits=0, **more
    )
    text = rtlil.convert(readout, name="readout")
    assert ('ram_style "block"' in text) == more.get("block_ram", False)
