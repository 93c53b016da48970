"""Shapes that a NIR file does not have, or has otherwise than nir would."""

from pathlib import Path

import numpy as np
import pytest

from sw.data.split import Split
from sw.frameworks.check import check
from sw.frameworks.importing import import_foreign
from sw.nir.graph import flat_graph
from sw.nir.network import NirNetwork
from tests.sw.nir.graphs import DT, chain, conv, conv_pools, nir, on_grid, read


def test_a_file_without_the_shape_of_an_input(digits: Split) -> None:
    """The data have it, or the user; where neither has, all else is looked at nevertheless."""
    made = conv_pools()
    made.nodes["input"].input_type = {"input": None}
    made.nodes["0"].input_shape = None
    foreign = NirNetwork(flat_graph(made))
    assert foreign.shape is None
    (finding,) = (f for f in check(foreign, steps=2).findings if f.refused)
    assert finding.node == "network"
    assert finding.refused.startswith("the file does not have the shape of an input: give it")
    assert check(foreign, steps=2, shape=(1, 8, 8)).refused == 0
    assert check(foreign, steps=2, data=digits).refused == 0
    _, report = import_foreign(foreign, digits, name="x", steps=2)
    assert all(layer.equal == layer.compared for layer in report.after)
    made.nodes["1"].v_reset = np.ones((4, 8, 8))
    assert check(NirNetwork(flat_graph(made)), steps=2).refused == 2


def test_shapes_that_nir_cannot_infer_are_no_hindrance(digits: Split, tmp_path: Path) -> None:
    """snnTorch writes one number for all neurons."""
    lif = nir.LIF(*(np.array([value]) for value in (2 * DT, 2.0, 0.0, 1.5, 0.0)))
    made = chain(nir.Linear(on_grid(10, 64)), lif)
    _, report = import_foreign(read(made, tmp_path), digits, name="x", steps=3)
    assert report.findings[0].node == "file"
    assert "nir's own check of the shapes fails" in report.findings[0].becomes


@pytest.mark.parametrize("shape", [(64,), (1, 64), (1, 8, 8), (5, 1, 8, 8)], ids=str)
def test_one_number_for_all_neurons(digits: Split, tmp_path: Path, shape: tuple[int, ...]) -> None:
    """R counts half, and v_leak is a bias. Norse writes the batch of its sample data, too."""
    parameters = [np.array([value]) for value in (2 * DT, 1.0, 0.25, 0.5, 0.0)]
    maps = len(shape) > 2
    first = conv(4, 1, 3) if maps else nir.Linear(on_grid(16, 64))
    rest = [nir.Flatten(None, start_dim=0)] * maps
    last = nir.Linear(on_grid(10, 144 if maps else 16))
    made = chain(first, nir.LIF(*parameters), *rest, last, shape=shape[-3:])
    made.nodes["input"].input_type = {"input": np.array(shape)}
    if maps:
        made.nodes["0"].input_shape = (8, 8)
        made.nodes["2"].input_type = {"input": np.array([4, 6, 6])}
    foreign = read(made, tmp_path)
    network, report = import_foreign(foreign, digits, name="x", steps=3, exact_decay=True)
    assert network.spec.input_size == 64
    assert "v_leak is a bias" in " ".join(finding.note for finding in report.findings)
    assert all(layer.equal == layer.compared for layer in (*report.before, *report.after))
    assert 0.01 < report.after[0].either / report.after[0].compared < 0.99
