"""Weights, thresholds and decays of NIR files on grids: what is rounded is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.contract.checks import SpecError
from sw.data.split import Split
from sw.frameworks.grid import common_step
from sw.frameworks.importing import import_foreign
from sw.frameworks.integers import integers_of
from sw.nir.graph import flat_graph
from sw.nir.network import NirNetwork
from tests.sw.nir.graphs import (
    STEPS,
    chain,
    cuba,
    dense,
    integrate,
    leaky,
    nir,
    on_grid,
    own_decays,
    read,
)


def test_the_least_threshold_has_bits_enough(tmp_path: Path) -> None:
    """Of thresholds that differ: 120 to 300 steps of 1/15 of an eighth, twelve bits for the first;
    who fires above a threshold needs one more."""
    folded = read(own_decays(), tmp_path).read((64,), steps=STEPS, pixel_max=15).require()
    network = integers_of(folded, name="x", weight_bits=8, pixel_bits=4).to_network()
    assert network.thetas[0] is not None
    assert sorted({*network.thetas[0].tolist()})[::3] == [(120 << 5) + 1, (300 << 5) + 1]


def test_what_is_rounded_is_said(digits: Split, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    made = chain(
        nir.Affine(rng.normal(size=(24, 64)).astype(np.float32) / 3, rng.normal(size=24) / 9),
        leaky(24, theta=1.0),
        nir.Linear(rng.normal(size=(10, 24)).astype(np.float32)),
        leaky(10, theta=1.0),
    )
    agreed = {}
    for bits in (8, 3):
        _, report = import_foreign(
            read(made, tmp_path), digits, name="x", steps=8, weight_bits=bits
        )
        assert all(layer.equal == layer.compared for layer in report.before)
        assert f"rounded to {bits} bits" in report.weights["layer_1"]
        agreed[bits] = report.after[0].jaccard
        assert report.after[0].equal == report.after[0].compared - report.unlike_float[0][0]
    assert 0.98 < agreed[8] < 1
    assert agreed[3] < agreed[8]


@pytest.mark.parametrize("reset", ["zero", "subtract", "subtract-later"])
@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (0.9, "keeps 0.899902 (1843/2048) of a potential per step, not 0.9: -9.8e-05"),
        (0.9999, "keeps 0.999878 (1 - 1/8192) of a potential per step, not 0.9999: -2.2e-05"),
        (0.75 + 9e-7, ""),  # as near as float32
    ],
)
def test_other_decays(digits: Split, tmp_path: Path, kept: float, said: str, reset: str) -> None:
    """The twin keeps the very part, the integers the nearest that the contract has."""
    made = dense(leaky(16, kept=kept), leaky(12, kept=kept))
    foreign = read(made, tmp_path, reset=reset)
    _, report = import_foreign(foreign, digits, name="x", steps=STEPS)
    assert {f.approximated for f in report.findings if "LIF" in f.node} == {said}
    for before, after in zip(report.before, report.after, strict=True):
        assert before.equal == before.compared
        assert before.either > 0
        assert after.jaccard > 0.97


def test_fewest_bits(digits: Split, tmp_path: Path) -> None:
    """Weights of three bits: more are not needed, fewer are not enough."""
    most = 3
    first = nir.Linear(on_grid(16, 64, most=most))
    made = chain(first, integrate(16), nir.Linear(on_grid(10, 16, most=most)))
    network, report = import_foreign(
        read(made, tmp_path), digits, name="x", steps=STEPS, weight_bits=None
    )
    assert network.spec.layers[0].weight_bits == 3
    assert report.agreement.hits == len(digits)


def test_fewest_bits_where_the_most_have_no_room(digits: Split, tmp_path: Path) -> None:
    """Thresholds of 16-bit weights would be too wide; those of fewer bits are not."""
    weights = np.random.default_rng(0).normal(size=(16, 64))
    first = nir.Affine(weights, np.linspace(2e4, 6e4, 16) * weights.max())
    fire = nir.IF(**{k: np.full(16, v) for k, v in (("r", 1.0), ("v_threshold", 1.2e5))})
    foreign = read(chain(first, fire, nir.Linear(on_grid(10, 16))), tmp_path)
    options: dict[str, Any] = {"name": "x", "steps": STEPS}
    with pytest.raises(SpecError, match="Threshold must be an integer from 1 to"):
        import_foreign(foreign, digits, weight_bits=16, **options)
    network, report = import_foreign(foreign, digits, weight_bits=None, **options)
    assert 2 <= network.spec.layers[0].weight_bits < 16
    assert report.after[0].either > 0
    assert report.agreement.share >= 0.99


def test_common_steps() -> None:
    none = np.zeros(0)
    whole = np.array([3.0, -6.0, 9.0, 0.0])
    assert common_step(whole / 8, none, 127) == 3 / 8
    assert common_step(whole / 8, np.array([0.125]), 127) == 0.125  # three times as fine
    assert common_step(whole / 8, np.array([0.1234567]), 127) == pytest.approx(9 / 8 / 126)
    assert common_step(np.array([1.0, 2**-8]), none, 127) is None
    assert common_step(np.array([1.0, 2**-8]), none, 256) == 2**-8
    assert common_step(np.array([np.nan]), none, 127) is None
    assert common_step(none, none, 127) is None
    tenths = np.arange(-70, 70).astype(np.float32) * np.float32(0.1)
    assert common_step(tenths.astype(float), none, 127) == pytest.approx(0.1)
    assert common_step(np.random.default_rng(1).normal(size=50), none, 32767) is None


def test_exact_thresholds_of_a_grid() -> None:
    foreign = NirNetwork(flat_graph(chain(nir.Linear(on_grid(10, 64)), integrate(10, theta=1.3))))
    folded = foreign.read((64,), steps=2, pixel_max=1).require()
    network = integers_of(folded, name="x", weight_bits=8, pixel_bits=1).to_network()
    neuron = network.spec.layers[0].neuron
    assert neuron is not None
    assert neuron.theta == 11  # the first eighths above 1.3


def test_a_grid_leaves_room_for_what_a_current_grows_to() -> None:
    """Bits of a fraction, of 8-bit weights: 512 spikes, 127 times each, in a current of 622."""
    first = nir.Linear(on_grid(512, 64)), cuba(512, current=1 - 2**-10)
    second = nir.Linear(on_grid(16, 512, most=127)), cuba(16, current=1 - 2**-10)
    made = chain(*first, *second, nir.Linear(on_grid(10, 16)))
    folded = NirNetwork(flat_graph(made)).read((64,), steps=1000, pixel_max=15).require()
    network = integers_of(folded, name="x", weight_bits=8, pixel_bits=4).to_network()
    layer = network.layers[1]
    assert layer.spec.neuron is not None
    assert 0 < layer.spec.neuron.fraction_bits < 4
    assert 600 < layer.current_bound / (layer.drive_bound << layer.spec.neuron.fraction_bits) < 640
