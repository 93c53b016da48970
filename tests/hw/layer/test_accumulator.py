"""AccumulatorSlice and Accumulator: commands and events in, exact drives out, on time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gen.layer.cycles import event_counts, play_cycles
from hw.contract.network import Layer
from hw.contract.spec import LayerSpec
from hw.layer.accumulator import Accumulator
from hw.layer.geometry import LayerGeometry
from hw.layer.slice import AccumulatorSlice, SliceContents, command_layout
from hw.layer.stage import LayerDesign
from hw.stream.payloads import Kind, drives
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, bits, fields
from tests.hw.vectors import bank_events, encode_event, random_vectors
from tests.sampling import sampled


def layer_image(weights: np.ndarray, bias: np.ndarray, weight_bits: int, top: int) -> Layer:
    neurons, inputs = weights.shape
    spec = LayerSpec(name="layer", inputs=inputs, neurons=neurons, weight_bits=weight_bits)
    return Layer.dense(spec, weights, bias, top, 1)


def geometry(
    inputs: int,
    neurons: int,
    lanes: int,
    banks: int,
    *,
    planes: int = 1,
    signed: bool = True,
    chunk: int = 2,
    source_lanes: int | None = None,
    repeat: bool = False,
) -> LayerGeometry:
    return LayerGeometry(
        inputs=inputs,
        neurons=neurons,
        lanes=lanes,
        banks=banks,
        chunk=chunk,
        planes=planes,
        signed=signed,
        source_lanes=source_lanes or inputs,
        repeat=repeat,
    )


def with_biases(g: LayerGeometry, layer: Layer) -> LayerGeometry:
    """The geometry with the rows that this layer's biases need."""
    return replace(g, bias_rows=layer.bias_rows)


def accumulate(
    layer: Layer, g: LayerGeometry, vectors: np.ndarray, pace: Pace, **run: int
) -> tuple[np.ndarray, Any, Any]:
    """Drives (vectors, groups * lanes) as the hardware sends them."""
    g = with_biases(g, layer)
    plan = LayerDesign(layer=layer, geometry=g, constant_input=False, out_word=1)
    accumulator = Accumulator(g, plan.slices())
    bench = Bench(accumulator, pace)
    events = [bank_events(vector, g) for vector in vectors]
    sources = [
        bench.feed(
            accumulator.i[b],  # type: ignore[attr-defined]
            [encode_event(e, g.rows) for banks in events for e in banks[b]],
        )
        for b in range(g.banks)
    ]
    sink = bench.collect(accumulator.o, len(vectors) * g.groups)  # type: ignore[attr-defined]
    bench.run(extra=Accumulator.latency(g) + 3, **run)
    shape = drives(g.lanes, layer.drive_bits)
    rows = [[fields(shape, raw)[k] for k in range(g.lanes)] for raw in sink.values]
    return np.array(rows).reshape(len(vectors), -1), sources, sink


def expected_drives(layer: Layer, g: LayerGeometry, vectors: np.ndarray) -> np.ndarray:
    """Law 1; the lanes that no neuron uses stay 0."""
    result = np.zeros((len(vectors), g.groups * g.lanes), dtype=np.int64)
    result[:, : g.neurons] = vectors @ layer.weights.T.astype(np.int64) + layer.bias
    return result


def random_layer(g: LayerGeometry, seed: int, bias: int = 20) -> Layer:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-7, 8, (g.neurons, g.inputs))
    return layer_image(weights, rng.integers(-bias, bias + 1, g.neurons), 4, 2**g.planes - 1)


GEOMETRIES = {
    "one": geometry(1, 1, 1, 1, chunk=1),
    "lanes16": geometry(9, 16, 16, 1),
    "lanes17-banks2": geometry(13, 17, 17, 2),
    "lanes33-banks4": geometry(21, 33, 33, 4),
    "groups3-banks8": geometry(40, 7, 3, 8),
    "groups2-lanes17": geometry(12, 33, 17, 2),
    "groups5": geometry(6, 5, 1, 1),
    "planes4": geometry(11, 5, 5, 2, planes=4, signed=False),
    "planes8-groups2": geometry(7, 6, 3, 4, planes=8, signed=False),
    "augmented3": geometry(9, 5, 5, 2, planes=3),
    "augmented4-groups2": geometry(7, 6, 3, 4, planes=4),
    "repeated3": geometry(9, 5, 5, 2, planes=3, repeat=True),
    "repeated4-groups2": geometry(7, 6, 3, 4, planes=4, repeat=True),
    "source-groups": geometry(14, 4, 4, 4, source_lanes=5),
}


@pytest.mark.parametrize("pace", sampled([JITTERY[2], JITTERY[0]]), ids=str)
@pytest.mark.parametrize("g", GEOMETRIES.values(), ids=list(GEOMETRIES))
def test_drives_are_the_reference(g: LayerGeometry, pace: Pace) -> None:
    layer = random_layer(g, seed=g.lanes)
    vectors = random_vectors(np.random.default_rng(g.banks), 7, g.inputs, g.planes, g.signed)
    drive, _, _ = accumulate(layer, g, vectors, pace)
    assert np.array_equal(drive, expected_drives(layer, g, vectors))


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
@pytest.mark.parametrize("weight_bits", [2, 5, 8, 16])
def test_sums_reach_their_bounds_and_do_not_wrap(banks: int, weight_bits: int) -> None:
    """All weights of one size against all spikes; once without a bias, where the width is least."""
    g = geometry(17, 3, 3, banks)
    w = 2 ** (weight_bits - 1) - 1
    weights = np.outer([w, -w, w], np.ones(17, dtype=int))
    weights[2, ::2] *= -1
    vectors = np.array([np.ones(17), -np.ones(17), np.where(np.arange(17) % 2, 1, -1)], dtype=int)
    for bias in (0, 1, -1, 5000):
        layer = layer_image(weights, np.array([bias, -bias, bias]), weight_bits, 1)
        drive, _, _ = accumulate(layer, g, vectors, FLOWING)
        assert np.array_equal(drive, expected_drives(layer, g, vectors))
        assert abs(drive).max() == layer.drive_bound == layer.accumulator_bound + abs(bias)


@pytest.mark.parametrize("planes", [1, 3, 8])
def test_pixels_at_their_maximum_reach_the_bound(planes: int) -> None:
    g = geometry(10, 2, 2, 2, planes=planes, signed=False)
    layer = layer_image(np.outer([7, -7], np.ones(10, dtype=int)), np.zeros(2), 4, 2**planes - 1)
    vectors = np.full((2, 10), 2**planes - 1)
    drive, _, _ = accumulate(layer, g, vectors, FLOWING)
    assert drive.tolist() == [[layer.accumulator_bound, -layer.accumulator_bound]] * 2


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_the_mirror_image_gives_mirrored_drives(banks: int) -> None:
    g = geometry(25, 6, 3, banks)
    layer = random_layer(g, seed=3)
    mirror = layer_image(layer.weights, -layer.bias, 4, 1)
    vectors = random_vectors(np.random.default_rng(4), 8, g.inputs, 1, True)
    drive, _, _ = accumulate(layer, g, vectors, FLOWING)
    mirrored, _, _ = accumulate(mirror, g, -vectors, FLOWING)
    assert np.array_equal(mirrored, -drive)


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("busy", range(8))
def test_one_bank_works_while_the_others_wait(busy: int, negative: bool) -> None:
    """All spikes in one bank: its weights, its sign, its carry, and nobody else's."""
    g = geometry(32, 2, 2, 8)
    layer = random_layer(g, seed=busy)
    vectors = np.zeros((3, 32), dtype=int)
    vectors[0, busy::8] = -1 if negative else 1
    vectors[2, busy] = 1 if negative else -1
    drive, _, _ = accumulate(layer, g, vectors, FLOWING)
    assert np.array_equal(drive, expected_drives(layer, g, vectors))


@pytest.mark.parametrize("pace", sampled([FLOWING, Pace(idle=0.3, seed=2)]), ids=str)
@pytest.mark.parametrize("bias", [0, 20, 10**6])
@pytest.mark.parametrize("g", GEOMETRIES.values(), ids=list(GEOMETRIES))
def test_cycle_law(g: LayerGeometry, bias: int, pace: Pace) -> None:
    layer = random_layer(g, seed=1, bias=bias)
    g = with_biases(g, layer)
    vectors = random_vectors(np.random.default_rng(5), 12, g.inputs, g.planes, g.signed)
    drive, sources, sink = accumulate(layer, g, vectors, pace)
    assert np.array_equal(drive, expected_drives(layer, g, vectors))
    latency, prelude = Accumulator.latency(g), Accumulator.prelude(g)
    assert prelude == (g.bias_rows if g.groups > 1 else 0)
    counts = play_cycles(event_counts(vectors, g)).repeat(g.groups)
    steps = []
    for b, source in enumerate(sources):
        events = [e for vector in vectors for e in bank_events(vector, g)[b]]
        kinds = [kind for kind, _, _ in events]
        taken = [t for t, kind in zip(source.taken, kinds, strict=True) if kind == Kind.STEP]
        steps = steps or taken
        assert taken == steps  # joint
    assert sink.taken == [step + latency for step in steps]
    for source in sources:  # a prelude takes nothing: the first one after reset, the others after
        assert min(source.taken) >= g.bias_rows  # STEP
        for step in steps:
            assert not any(step < taken <= step + prelude for taken in source.taken)
    if pace == FLOWING:
        expected, before = [], -1
        for n, cost in enumerate(counts.tolist()):
            interval = max(prelude + cost, latency + 1) if n else g.bias_rows + cost
            before += interval
            expected.append(before)
        assert steps == expected


def test_a_step_waits_until_the_drive_before_it_was_taken() -> None:
    g = geometry(4, 2, 2, 1)
    layer = random_layer(g, seed=2)
    _, (source,), sink = accumulate(layer, g, np.zeros((30, 4), dtype=int), Pace(stall=0.8, seed=1))
    assert source.taken[1:] == [taken + 1 for taken in sink.taken[:-1]]


@pytest.mark.parametrize("neurons", [3, 9])
@pytest.mark.parametrize("weight_bits", [2, 5, 12, 16])
def test_biases_of_any_width(weight_bits: int, neurons: int) -> None:
    """From no bias at all to one much wider than the sums; one group and three."""
    g = geometry(6, neurons, 3, 2)
    rng = np.random.default_rng(weight_bits)
    weights = rng.integers(-1, 2, (neurons, 6))
    vectors = random_vectors(rng, 5, 6, 1, True)
    for size in (0, 1, 2**11, 2**12 - 1, 2**29):
        biases = rng.choice([-size, size], neurons)
        layer = layer_image(weights, biases, weight_bits, 1)
        drive, _, _ = accumulate(layer, g, vectors, FLOWING)
        assert np.array_equal(drive, expected_drives(layer, g, vectors))


@pytest.mark.parametrize("reset_at", [*range(1, 13), 17, 23, 38, 45, 52])
@pytest.mark.parametrize("groups", [1, 3])
def test_biases_are_fetched_anew_after_a_reset(groups: int, reset_at: int) -> None:
    """Whatever digits had come before it, in this prelude or in a later group's."""
    g = geometry(5, 18 * groups, 18, 2)
    layer = random_layer(g, seed=groups, bias=2**29)
    assert layer.bias_rows == 8
    vectors = random_vectors(np.random.default_rng(6), 3, g.inputs, 1, True)
    drive, sources, _ = accumulate(layer, g, vectors, FLOWING, reset_at=reset_at)
    assert np.array_equal(drive, expected_drives(layer, g, vectors))
    assert min(source.taken[0] for source in sources) == layer.bias_rows


@pytest.mark.parametrize("reset_at", range(5, 14, 2))
@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_reset_leaves_nothing_of_the_sum_under_way(banks: int, reset_at: int) -> None:
    """Spikes in every cycle, so that adder tree and totals are full when the reset comes."""
    g = geometry(16 * banks, 18, 18, banks)
    layer = random_layer(g, seed=banks)
    vectors = np.ones((2, g.inputs), dtype=int)
    drive, _, _ = accumulate(layer, g, vectors, FLOWING, reset_at=reset_at)
    assert np.array_equal(drive, expected_drives(layer, g, vectors))


def wrapped(values: np.ndarray, bits: int) -> np.ndarray:
    """The low bits, in two's complement."""
    sign = 1 << bits - 1
    return (values & 2 * sign - 1 ^ sign) - sign


@pytest.mark.parametrize(
    ("banks", "drive_bits", "memory", "shift"),
    [(banks, bits, "rom", 0) for bits in (3, 20) for banks in (1, 2, 4, 8)]
    + [(4, 20, "ram", 0), (2, 23, "rom", 1), (1, 12, "rom", 7)],
)
def test_slice_carries_out_any_sequence_of_commands(
    banks: int, drive_bits: int, memory: str, shift: int
) -> None:
    """Without an accumulator around it: gaps, doublings, empty sums, digits of biases in any
    order. A bias is the last digits that were fetched, as many as its width holds. Weights that are
    loaded go to their bank and row; with `en` alone."""
    rng = np.random.default_rng(banks * drive_bits)
    lanes, rows = 3, 4
    weights = rng.integers(-7, 8, (banks, rows, lanes))
    words = [
        [sum((int(w) & 15) << 4 * k for k, w in enumerate(row)) for row in bank] for bank in weights
    ]
    part: Any = AccumulatorSlice(
        SliceContents(
            lanes=lanes,
            weight_bits=4,
            accumulator_bits=20,
            drive_bits=drive_bits,
            shift=shift,
            rows=words,
            memory=memory,
        )
    )
    latency = AccumulatorSlice.latency(banks)
    loads = []
    if memory == "ram":
        shape = part.load.shape()
        for b, row in rng.permutation([*np.ndindex(banks, rows)]).tolist():
            loads.append({"en": 1, "part": b, "address": row, "data": words[b][row]})
            loads.append(loads[-1] | {"en": 0, "address": rows - 1 - row})
        loads = [bits(shape, one) for one in loads]
    commands, expected = [0] * len(loads), []
    total, bias = np.zeros(lanes, dtype=int), np.zeros(lanes, dtype=int)
    for n in range(len(loads), len(loads) + 300):
        # Closings are more than a latency apart; a total is doubled only if it has the room.
        close = rng.random() < 0.2 and (not expected or n - expected[-1][0] > latency)
        fetch = not close and rng.random() < 0.2
        double = not close and not fetch and rng.random() < 0.1 and abs(total).max() < 2**16
        add = (rng.random(banks) < 0.5) & (not close and not double and not fetch)
        negative = add & (rng.random(banks) < 0.5)
        address = rng.integers(0, rows, banks)
        if close:
            expected.append((n, wrapped((total << shift) + bias, drive_bits).tolist()))
        if fetch:
            bias = wrapped(bias << 4 | weights[0, address[0]] & 15, drive_bits)
        sign = add.astype(int) - 2 * negative
        total = total * (1 + double) * (not close and not fetch)
        total = total + (sign[:, None] * weights[np.arange(banks), address]).sum(axis=0)
        command = {
            "address": address.tolist(),
            "add": int(add @ (1 << np.arange(banks))) | fetch,
            "subtract": int(negative @ (1 << np.arange(banks))),
            "double": int(double),
            "close": int(close),
            "bias": int(fetch),
        }
        commands.append(bits(command_layout(banks, rows), command))
    bench = Bench(part)
    bench.play(part.command.as_value(), commands)
    if loads:
        bench.play(part.load.as_value(), loads)
    seen = bench.watch(part.closed, part.o.as_value())
    bench.run(extra=latency + 2)
    got = []
    for n in range(len(seen) - 1):
        if seen[n][0]:  # closed: `o` changes in the cycle after
            drive = fields(drives(lanes, drive_bits), seen[n + 1][1])
            got.append((n + 1 - latency, [drive[k] for k in range(lanes)]))
    assert got == expected
    assert len(got) > 10
