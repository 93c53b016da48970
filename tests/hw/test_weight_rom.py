"""WeightRom, and the packing of weights into its rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.geometry import SLICE_LANES, LayerGeometry
from hw.rom import WeightRom, pack_rows, unpack_rows
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
    )


@settings(max_examples=120, deadline=None, derandomize=True)
@given(g=geometries(), weight_bits=st.integers(2, 8), seed=st.integers(0, 2**31))
def test_unpacking_is_the_inverse_of_packing(g: LayerGeometry, weight_bits: int, seed: int) -> None:
    top = 2 ** (weight_bits - 1) - 1
    weights = np.random.default_rng(seed).integers(-top, top + 1, (g.neurons, g.inputs))
    banks = pack_rows(weights, g, weight_bits)
    assert np.array_equal(unpack_rows(banks, g, weight_bits), weights)
    assert len(banks) == g.banks
    for slices in banks:
        assert len(slices) == len(g.slices)
        for part, words in zip(g.slices, slices, strict=True):
            assert len(part) <= SLICE_LANES
            assert len(words) == g.groups * g.rows
            assert all(0 <= word < 1 << len(part) * weight_bits for word in words)


@settings(max_examples=60, deadline=None, derandomize=True)
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
    for b, slices in enumerate(pack_rows(weights, g, 3)):
        for s, words in enumerate(slices):
            expected = [0] * (g.groups * g.rows)
            if (b, s) == (bank, part):
                expected[group * g.rows + row] = 0b111 << 3 * k
            assert words == expected


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
