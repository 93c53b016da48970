"""WeightRom, and the packing of weights into its rows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.layer.geometry import SLICE_LANES, LayerGeometry
from hw.layer.rows import pack_rows, unpack_rows
from hw.memory.rom import WeightRom
from tests.hw.driving import Bench


@st.composite
def geometries(draw: st.DrawFn) -> LayerGeometry:
    inputs = draw(st.integers(1, 70))
    neurons = draw(st.integers(1, 70))
    return LayerGeometry(
        inputs=inputs,
        neurons=neurons,
        lanes=draw(st.integers(1, neurons)),
        banks=draw(st.sampled_from([1, 2, 4, 8])),
        chunk=draw(st.sampled_from([1, 2, 4, 16])),
        planes=1,
        signed=True,
        source_lanes=draw(st.integers(1, inputs)),
        bias_rows=draw(st.integers(0, 7)),
    )


def random_biases(rng: np.random.Generator, g: LayerGeometry, weight_bits: int) -> np.ndarray:
    """As wide as the rows hold, or an int64, the extremes among them; without rows there are
    none."""
    bits = min(g.bias_rows * weight_bits, 63)
    if not bits:
        return np.zeros(g.neurons, dtype=np.int64)
    least, top = -(1 << bits - 1), (1 << bits - 1) - 1
    biases = rng.integers(least, top + 1, g.neurons)
    return np.where(rng.random(g.neurons) < 0.2, rng.choice([least, top, -1, 0]), biases)


@settings(max_examples=120, derandomize=True)
@given(g=geometries(), weight_bits=st.integers(2, 16), seed=st.integers(0, 2**31))
def test_unpacking_is_the_inverse_of_packing(g: LayerGeometry, weight_bits: int, seed: int) -> None:
    top = 2 ** (weight_bits - 1) - 1
    rng = np.random.default_rng(seed)
    weights = rng.integers(-top, top + 1, (g.neurons, g.inputs))
    biases = random_biases(rng, g, weight_bits)
    banks = pack_rows(weights, biases, g, weight_bits)
    unpacked, unpacked_biases = unpack_rows(banks, g, weight_bits)
    assert np.array_equal(unpacked, weights)
    assert np.array_equal(unpacked_biases, biases)
    assert len(banks) == g.banks
    for slices in banks:
        assert len(slices) == len(g.slices)
        for part, words in zip(g.slices, slices, strict=True):
            assert len(part) <= SLICE_LANES
            assert len(words) == g.depth
            assert all(0 <= word < 1 << len(part) * weight_bits for word in words)


@settings(max_examples=60, derandomize=True)
@given(g=geometries(), data=st.data())
def test_one_weight_sits_where_the_layout_says(g: LayerGeometry, data: st.DataObject) -> None:
    neuron = data.draw(st.integers(0, g.neurons - 1))
    source = data.draw(st.integers(0, g.inputs - 1))
    weights = np.zeros((g.neurons, g.inputs), dtype=np.int64)
    weights[neuron, source] = -1
    padded = -(-g.source_lanes // g.word) * g.word
    slot = source // g.source_lanes * padded + source % g.source_lanes
    group, lane = divmod(neuron, g.lanes)
    row, bank = divmod(slot, g.banks)
    part, k = divmod(lane, SLICE_LANES)
    for b, slices in enumerate(pack_rows(weights, np.zeros(g.neurons, dtype=int), g, 3)):
        for s, words in enumerate(slices):
            expected = [0] * g.depth
            if (b, s) == (bank, part):
                expected[group * (g.rows + g.bias_rows) + row] = 0b111 << 3 * k
            assert words == expected


@settings(max_examples=60, derandomize=True)
@given(g=geometries(), data=st.data())
def test_one_bias_sits_where_the_layout_says(g: LayerGeometry, data: st.DataObject) -> None:
    """Digits in bank 0 after the group's weights, the most significant first."""
    neuron = data.draw(st.integers(0, g.neurons - 1))
    digits = data.draw(st.lists(st.integers(0, 7), min_size=g.bias_rows, max_size=g.bias_rows))
    bias = 0
    for digit in digits:
        bias = bias * 8 + digit
    if digits and digits[0] >= 4:  # two's complement
        bias -= 8 ** len(digits)
    biases = np.zeros(g.neurons, dtype=np.int64)
    biases[neuron] = bias
    group, lane = divmod(neuron, g.lanes)
    part, k = divmod(lane, SLICE_LANES)
    for b, slices in enumerate(pack_rows(np.zeros((g.neurons, g.inputs), dtype=int), biases, g, 3)):
        for s, words in enumerate(slices):
            expected = [0] * g.depth
            if (b, s) == (0, part):
                first = group * (g.rows + g.bias_rows) + g.rows
                expected[first : first + g.bias_rows] = [digit << 3 * k for digit in digits]
            assert words == expected


def test_a_bias_by_hand() -> None:
    """Two groups of two lanes, one input, weights of 4 bits, biases of two digits."""
    g = LayerGeometry(
        inputs=1,
        neurons=3,
        lanes=2,
        banks=1,
        chunk=1,
        planes=1,
        signed=True,
        source_lanes=1,
        bias_rows=2,
    )
    assert (g.rows, g.stride) == (1, 3)
    weights, biases = np.array([[1], [-1], [7]]), np.array([0x12, -2, -128])
    ((words,),) = pack_rows(weights, biases, g, 4)
    assert words[:6] == [0xF1, 0xF1, 0xE2, 0x07, 0x08, 0x00]
    assert not any(words[6:])


@pytest.mark.parametrize("weight_bits", [2, 4, 8, 16])
def test_more_rows_than_a_bias_needs_repeat_its_sign(weight_bits: int) -> None:
    g = LayerGeometry(
        inputs=1,
        neurons=2,
        lanes=2,
        banks=1,
        chunk=1,
        planes=1,
        signed=True,
        source_lanes=1,
        bias_rows=1,
    )
    biases = np.array([1 - 2 ** (weight_bits - 1), 1])
    weights = np.zeros((2, 1), dtype=int)
    wide = replace(g, bias_rows=4)
    ((few,),) = pack_rows(weights, biases, g, weight_bits)
    ((many,),) = pack_rows(weights, biases, wide, weight_bits)
    mask = (1 << weight_bits) - 1  # lane 0 is negative, lane 1 is not
    assert many[1:5] == [mask, mask, mask, few[1]]
    assert np.array_equal(unpack_rows([[many]], wide, weight_bits)[1], biases)


def test_depth_is_what_the_groups_need_and_zeros() -> None:
    g = LayerGeometry(
        inputs=30,
        neurons=9,
        lanes=3,
        banks=2,
        chunk=2,
        planes=1,
        signed=True,
        source_lanes=30,
        bias_rows=3,
    )
    assert (g.rows, g.stride, g.groups) == (16, 19, 3)
    assert g.depth >= 57
    for bank in pack_rows(np.full((9, 30), -1), np.full(9, -1), g, 4):
        for words in bank:
            assert not any(words[57:])


def test_rom_gives_the_row_after_its_latency() -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 2**12, 11).tolist()
    addresses = rng.integers(0, 11, 40).tolist()
    rom = WeightRom(width=12, rows=rows)
    bench = Bench(rom)
    bench.play(rom.addr, addresses)  # type: ignore[attr-defined]
    seen = bench.watch(rom.data)  # type: ignore[attr-defined]
    bench.run(extra=WeightRom.PIPELINE_CYCLES)
    assert [row for (row,) in seen[WeightRom.PIPELINE_CYCLES :]] == [rows[a] for a in addresses]


def test_rom_of_one_row() -> None:
    rom = WeightRom(width=3, rows=[5])
    bench = Bench(rom)
    bench.play(rom.addr, [0] * 4)  # type: ignore[attr-defined]
    seen = bench.watch(rom.data)  # type: ignore[attr-defined]
    bench.run()
    assert seen[-1] == (5,)
