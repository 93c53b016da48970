"""NIR files on the command line: `sterna check`, `sterna import` and their options."""

import json
from pathlib import Path
from typing import Any

import pytest

from hw.contract.network import Network
from sw.cli.main import main
from tests.sw.nir.graphs import FIVE, counting, nir, residual, with_node, written


def test_check_and_import(tmp_path: Path, capsys: Any) -> None:
    path = str(written(residual(), tmp_path))
    assert main(["check", path, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["framework"] == "NIR"
    assert {"stem (Conv2d)", "n1 (IF)"} < {node["node"] for node in told["nodes"]}
    out = str(tmp_path / "net.npz")
    assert main(["import", path, "--dataset", "digits", "--steps", "3", "--out", out]) == 0
    assert "spikes unlike original, n2" in capsys.readouterr().out
    network = Network.load(out)
    assert network.meta["source"] == "NIR"
    assert network.spec.layers[1].edges[1].kind == "identity"


def test_check_of_what_is_refused(tmp_path: Path, capsys: Any) -> None:
    path = str(written(with_node(nir.CubaLI(*FIVE[:4])), tmp_path))
    assert main(["check", path]) == 1
    assert "refused: is a readout that leaks, with a synaptic current" in capsys.readouterr().out
    out = tmp_path / "net.npz"
    assert main(["import", path, "--dataset", "digits", "--out", str(out)]) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--dt", "0"], "Time step must be a positive number of seconds, not 0.0"),
        (["--fires-at", "above"], "Firing must be one of gt, ge, not 'above'"),
        (["--reset", "none"], "Reset must be one of zero, subtract, subtract-later, not 'none'"),
        (
            ["--from", "lava"],
            "Framework must be one of nir, onnx, snntorch, brevitas, spikingjelly, not 'lava'",
        ),
        (["--from", "spikingjelly"], "must be a file of torch.save"),
        (["--shape", "1,1,8,8"], "Shape of an input must be N, C,L or C,H,W, not 1,1,8,8"),
        (["--weight-bits", "few"], "Weight width must be a number of bits, or auto, not 'few'"),
        (["--weight-bits", "99"], "Weight width must be an integer from 2 to"),
        (["--shape", "1,4,4"], "Network must take 64 values, as an example of digits has, not 16"),
    ],
)
def test_options_that_are_none(
    tmp_path: Path, capsys: Any, options: list[str], sentence: str
) -> None:
    path = str(written(counting(), tmp_path))
    assert main(["import", path, "--dataset", "digits", *options]) == 1
    assert sentence in capsys.readouterr().err
