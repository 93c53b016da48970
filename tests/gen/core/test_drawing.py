"""The graph of a network as text and as a picture."""

import xml.etree.ElementTree as ElementTree

import pytest

from gen.core.drawing import edge_text, graph_svg, graph_text
from gen.core.plan import PlanError, plan_core
from hw.contract.edge import EdgeSpec
from hw.contract.network import Network
from sw.cli.main import main
from sw.data.shipped import model_path
from tests.graphs import network_of, residual


def test_text_names_every_layer_and_edge() -> None:
    assert graph_text(residual()).splitlines() == [
        "input: 2x6x6, 3 bits",
        "stem: 4x6x6, 4-bit weights, ternary, theta 20, hard reset",
        "    from input: conv 3x3, padding 1",
        "inner: 4x6x6, 4-bit weights, ternary, theta 20, hard reset, thresholds by channel",
        "    from stem: conv 3x3, padding 1, 2 groups",
        "    from inner: conv 1x1, a step later",
        "block: 4x6x6, 4-bit weights, ternary, theta 20, hard reset",
        "    from inner: conv 3x3, padding 1",
        "    from stem: identity",
        "down: 6x2x2, 4-bit weights, ternary, theta 20, hard reset",
        "    from block: pool 2x2, conv 3x3, stride 2, padding 1",
        "readout: 3, 4-bit weights, readout",
        "    from down: pool 2x2, dense",
        "    from inner: pool 3x3, dense, a step later",
    ]


def test_sides_that_differ_are_both_named() -> None:
    sides = EdgeSpec(source="a", kind="conv", kernel=(1, 5), stride=(1, 2), padding=(0, 2))
    assert edge_text(sides) == "conv 1x5, stride 1x2, padding 0x2"
    assert edge_text(EdgeSpec(source="a", pool=(2, 1))) == "pool 2x1, dense"


def test_the_picture_has_a_box_per_layer_and_a_path_per_edge() -> None:
    root = ElementTree.fromstring(graph_svg(residual()))
    space = "{http://www.w3.org/2000/svg}"
    boxes = [r for r in root.iter(f"{space}rect") if r.get("rx")]
    paths = root.findall(f"{space}path")
    texts = [t.text for t in root.iter(f"{space}text")]
    assert len(boxes) == 6
    assert len(paths) == 8
    assert sum(p.get("stroke-dasharray") is not None for p in paths) == 2
    for edge in (e for n in range(5) for e in residual().edges(n)):
        assert edge_text(edge) in texts
    width, height = int(root.get("width", 0)), int(root.get("height", 0))
    for box in boxes:
        assert 0 < int(box.get("x", 0)) < width - int(box.get("width", 0))
        assert 0 < int(box.get("y", 0)) < height - int(box.get("height", 0))


def test_the_command(tmp_path, capsys) -> None:
    picture = tmp_path / "graph.svg"
    assert main(["info", "digits-dense", "--graph", "--out", str(picture)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("hidden1: 128, 4-bit weights")
    assert picture.read_text().startswith("<svg")
    graph = network_of(residual()).save(tmp_path / "graph.npz")
    assert main(["info", str(graph)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "layer block 288 x 144, 4-bit weights, ternary, theta 20, hard reset; 145 we" in told


def test_the_dense_core_refuses_a_graph(tmp_path, capsys) -> None:
    network = network_of(residual())
    with pytest.raises(PlanError, match="Network residual must be a chain of dense layers"):
        plan_core(network)
    path = network.save(tmp_path / "graph.npz")
    out = str(tmp_path / "verilog")
    assert main(["generate", str(path), "--banks", "2", "--out", out]) == 1
    assert capsys.readouterr().err.startswith("sterna: A program has 1 bank: network residual")
    assert not (tmp_path / "verilog").exists()
    assert Network.load(model_path("digits-dense")).spec.is_chain
    assert edge_text(EdgeSpec(source="a", kind="identity", delay=1)) == "identity, a step later"
