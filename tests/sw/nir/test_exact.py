"""What is read of a NIR file computes what the file does: exactly, where nothing is rounded.

Where weights lie on a grid and decays are rows of the contract, the integers are the very network:
every spike and every output of the golden model is that of the NIR graph, run as it is written.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from gen.core.plan import plan_network
from sim.bench.run import simulate
from sim.golden.model import GoldenModel
from sw.data.split import Split
from sw.frameworks.importing import import_foreign
from tests.sw.nir.graphs import EXACT, STEPS, dense, leaky, read, recurrent, signals


def test_signals_are_maps_of_one_row(tmp_path: Path) -> None:
    folded = read(signals(), tmp_path).read((4, 1, 16), steps=STEPS, pixel_max=15).require()
    edges = [edge for layer in folded.layers for edge in layer.edges if edge.kind == "conv"]
    assert [(edge.kernel, edge.stride, edge.padding) for edge in edges] == [
        ((1, 5), 1, (0, 2)),
        ((1, 4), (1, 2), 0),
    ]


@pytest.mark.parametrize("fires_at", ["gt", "ge"])
@pytest.mark.parametrize("name", EXACT)
def test_nothing_is_lost(digits: Split, tmp_path: Path, name: str, fires_at: str) -> None:
    make, decays = EXACT[name]
    foreign = read(make(), tmp_path, fires_at=fires_at)
    network, report = import_foreign(foreign, digits, name="x", steps=STEPS, exact_decay=decays)
    for layer in (*report.before, *report.after):
        assert layer.equal == layer.compared
        assert layer.shown
        assert layer.both == layer.either > 0
    for membranes in (*report.membranes_before, *report.membranes_after):
        assert membranes.compared > 0
        assert membranes.largest < 1e-5, membranes
    assert report.agreement.hits == report.agreement.n == len(digits)
    assert all(told.endswith("kept as they are") for told in report.weights.values())
    x = torch.from_numpy(digits.images).double() / 15
    outputs = foreign.run(x, STEPS).outputs.numpy()
    logits = GoldenModel(network).run(digits.images).logits
    (unit,) = np.unique(np.round(logits[logits != 0] / outputs[logits != 0], 6))
    assert np.allclose(logits, outputs * unit)
    assert 0.01 < report.after[0].either / report.after[0].compared < 0.99


def test_what_keeps_nothing(digits: Split, tmp_path: Path) -> None:
    """tau = dt: each step for itself."""
    made = dense(leaky(16, kept=0.0), leaky(12, kept=0.0))
    foreign = read(made, tmp_path)
    _, report = import_foreign(foreign, digits, name="x", steps=STEPS)
    assert all(layer.equal == layer.compared and layer.either for layer in report.after)


def test_the_hardware_computes_the_same(digits: Split, tmp_path: Path) -> None:
    foreign = read(recurrent(), tmp_path)
    network, _ = import_foreign(foreign, digits, name="x", steps=STEPS)
    assert sorted(edge.delay for edge in network.spec.layers[0].edges) == [0, 1]
    classes = foreign.run(torch.from_numpy(digits.images[:12]).double() / 15, STEPS).outputs
    report = simulate(
        plan_network(network), digits.images[:12], classes.argmax(dim=1).numpy(), tmp_path / "sim"
    )
    assert report["mismatches"] == 0, report["first_mismatch"]
    assert report["correct_rtl"] == 12
