"""Names and order of the layers of a NIR file, and nodes of which no output comes."""

from pathlib import Path

import numpy as np

from sw.data.split import Split
from sw.frameworks.importing import import_foreign
from sw.nir.graph import Graph, read_nir
from sw.nir.network import layer_names
from tests.sw.nir.graphs import feedback, graph, integrate, nir, on_grid, read, written


def test_names_become_identifiers() -> None:
    names = layer_names(["0", "_1", "lif1.w_rec", "input", "lif1_w_rec", "a b", "readout", "é"])
    assert [*names.values()] == [
        "layer_0",
        "layer_1",
        "lif1_w_rec",
        "layer_input",
        "lif1_w_rec_2",
        "a_b",
        "readout",
        "layer",
    ]


def test_a_layer_may_be_called_readout(digits: Split, tmp_path: Path) -> None:
    nodes = {"fc": nir.Linear(on_grid(10, 64)), "readout": integrate(10)}
    made = graph(nodes, [("input", "fc"), ("fc", "readout"), ("readout", "output")])
    network, _ = import_foreign(read(made, tmp_path), digits, name="x", steps=3)
    assert [layer.name for layer in network.spec.layers] == ["readout", "readout_"]


def test_what_no_output_comes_of_is_left_out(digits: Split, tmp_path: Path) -> None:
    nodes = {
        "fc": nir.Linear(on_grid(10, 64)),
        "if": integrate(10),
        "aside": nir.Linear(on_grid(3, 10)),
        "cuba": nir.CubaLIF(*(np.ones(3),) * 5),
    }
    edges = [("input", "fc"), ("fc", "if"), ("if", "output"), ("if", "aside"), ("aside", "cuba")]
    _, report = import_foreign(read(graph(nodes, edges), tmp_path), digits, name="x", steps=3)
    told = {f.node: f.becomes for f in report.findings}
    assert told["cuba (CubaLIF)"] == "nothing: no output comes of it"


def test_graph_is_plain(tmp_path: Path) -> None:
    made = read_nir(written(feedback(), tmp_path))
    assert isinstance(made, Graph)
    assert [edge.source for edge in made.edges["one"] if edge.closes_loop] == ["back"]
    assert [*made.nodes][-1] == "output"
