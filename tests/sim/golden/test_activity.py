"""What a network does for an image: bits that are set, in steps, in changes, in sums."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hw.contract.network import Network
from sim.golden.activity import Activity, ActivityMeter
from sim.golden.model import GoldenModel
from tests.hw.program.programs import conv, dense, network, part, random_pixels

IMAGE = network((3, 1, 1), part(2, dense("input")), part(2, dense("a")), steps=4)
COUNTED = {"spike_bits": [0.75], "change_bits": [0.375], "sum_bits": [1.5]}


def test_bits_by_hand() -> None:
    """Two neurons, two images, four steps. Of 16 chances of a spike 12 are taken. Changes: one bit
    for a spike that begins or ends, one for a turn of sign, which is 2. Sums: 4, 1; 3, 2."""
    spikes = np.array([[[1, 1], [1, -1], [1, 1], [1, 0]], [[1, -1], [1, -1], [1, 0], [0, 0]]])
    meter = ActivityMeter(IMAGE)
    for one in spikes.astype(np.int8):
        trace: Any = SimpleNamespace(spikes=[one[None]])
        meter.add(np.zeros((1, 3), dtype=np.uint8), trace)
    found = meter.activity
    assert found.spike_rates == found.spike_bits == (12 / 16,)
    # 1, 0, 0, 0 and 1, 2, 2, 1; 1, 0, 0, 1 and 1, 0, 1, 0
    assert found.change_bits == (9 / 16,)
    assert found.sum_bits == ((1 + 1 + 2 + 1) / 4,)
    assert {key: found.to_dict()[key] for key in ("change_bits", "sum_bits")} == {
        "change_bits": [0.5625],
        "sum_bits": [1.25],
    }


def test_digits_that_are_kept() -> None:
    """Two of the input's events, four of rates, one of what is counted in thousands."""
    rates = (0.123456,), (0.234567, 0.5), (0.345678,), (1.456789,)
    activity = Activity(12.3456, *rates, events=1234.5678, sops=98765.4321)
    assert activity.to_dict() == {
        "input_events": 12.35,
        "spike_rates": [0.1235],
        "spike_bits": [0.2346, 0.5],
        "change_bits": [0.3457],
        "sum_bits": [1.4568],
        "events": 1234.6,
        "sops": 98765.4,
    }


def test_bits_are_what_numpy_counts() -> None:
    pixels = random_pixels(IMAGE, 6)
    trace, meter = GoldenModel(IMAGE).run(pixels), ActivityMeter(IMAGE)
    meter.add(pixels, trace)
    found, c = meter.activity, trace.spikes[0].astype(int)
    changes = np.concatenate([c[:, :1], c[:, 1:] - c[:, :-1]], axis=1)
    assert found.spike_bits[0] == pytest.approx(np.mean(c != 0))
    assert found.change_bits[0] == pytest.approx(np.mean(changes != 0))
    bits = np.bitwise_count(np.abs(c.sum(axis=1)))
    assert found.sum_bits[0] == pytest.approx(bits.mean())


def test_operations_of_maps_are_counted_place_by_place() -> None:
    """A value at an edge reaches fewer targets. Of two channels of 3x4 that a convolution takes,
    every set bit is added to each of three channels wherever its window is."""
    maps = network(
        (2, 3, 4), part((3, 3, 4), conv("input", 3, padding=1)), part(2, dense("a")), steps=2
    )
    pixels = random_pixels(maps, 5)
    trace, meter = GoldenModel(maps).run(pixels), ActivityMeter(maps)
    meter.add(pixels, trace)
    bits = np.bitwise_count(pixels).reshape(5, 2, 3, 4)
    sops = 0
    for y in range(3):
        for x in range(4):
            reached = len({y - 1, y, y + 1} & {0, 1, 2}) * len({x - 1, x, x + 1} & {0, 1, 2, 3})
            sops += int(bits[:, :, y, x].sum()) * reached * 3
    sops += int(np.abs(trace.spikes[0]).sum()) * 2
    assert meter.activity.sops == pytest.approx(sops / 5)


def test_events_by_hand() -> None:
    """Pixels once; over an edge with a delay all steps but the last, over the others all of them;
    two batches, of which the mean is told."""
    looped = network(
        (3, 1, 1), part(2, dense("input"), dense("a", delay=1)), part(4, dense("a")), steps=4
    )
    pixels = random_pixels(looped, 6)
    trace, meter = GoldenModel(looped).run(pixels), ActivityMeter(looped)
    assert meter.activity.to_dict()["events"] == 0
    for some in (slice(0, 1), slice(1, 6)):
        part_of: Any = SimpleNamespace(spikes=[trace.spikes[0][some]])
        meter.add(pixels[some], part_of)
        if some.start == 0:
            assert meter.activity.events == meter.events
    bits = np.bitwise_count(np.abs(trace.spikes[0]))
    early, every, seen = int(bits[:, :-1].sum()), int(bits.sum()), np.bitwise_count(pixels).sum()
    assert 0 < early < every
    assert (meter.events, meter.sops) == (seen + early + every, 2 * seen + 2 * early + 4 * every)
    found = meter.activity
    assert (found.input_events, found.events) == (seen / 6, meter.events / 6)
    assert found.sops == meter.sops / 6


def test_a_network_knows_what_was_counted() -> None:
    """From its `meta`, if all of it has the right form."""
    known = Network(IMAGE.spec, IMAGE.weights, IMAGE.biases, meta=COUNTED).activity
    assert known is not None
    assert (known.spikes, known.changes, known.sums) == ({"a": 0.75}, {"a": 0.375}, {"a": 1.5})
    assert IMAGE.activity is None
    for wrong in ([0.5, 0.5], 0.5, ["0.5"], [-0.5], [float("inf")]):
        for name in COUNTED:
            meta = COUNTED | {name: wrong}
            assert Network(IMAGE.spec, IMAGE.weights, IMAGE.biases, meta=meta).activity is None
