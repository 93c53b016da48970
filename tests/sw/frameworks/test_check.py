"""`sterna check`: options that say nothing, or cannot be, are refused in a sentence."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sw.cli.main import main

RELU = str(Path(__file__).parent.parent / "onnx" / "mlp.onnx")
STEPS = "Time steps must be an integer from 1 to 1024, not"
NEEDS = "(--frame, --mean, --std) need data: give --dataset or --data"


@pytest.fixture
def leaky(tmp_path: Path) -> str:
    """A NIR file with a readout that leaks, in a folder with a space."""
    nir = pytest.importorskip("nir", reason="the package nir is not installed")
    (tmp_path / "a folder").mkdir()
    path = str(tmp_path / "a folder" / "net.nir")
    one = np.ones(10)
    nodes = {
        "input": nir.Input(np.array([64])),
        "first": nir.Linear(np.random.default_rng(0).normal(size=(10, 64))),
        "fire": nir.IF(r=one, v_threshold=one, v_reset=0 * one),
        "second": nir.Linear(np.eye(10)),
        "out": nir.LI(tau=one * 1e-3, r=one * 10, v_leak=0 * one),
        "output": nir.Output(np.array([10])),
    }
    nir.write(path, nir.NIRGraph(nodes=nodes, edges=[*pairwise([*nodes])]))
    return path


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--steps", "0"], f"{STEPS} 0"),
        (["--steps", "1025"], f"{STEPS} 1025"),
        (["--pixel-bits", "0"], "Pixel width must be an integer from 1 to 8, not 0"),
        (["--pixel-bits", "99"], "Pixel width must be an integer from 1 to 8, not 99"),
        (["--frame", "0.01"], NEEDS),
        (["--mean", "0.5"], NEEDS),
        (["--std", "0.5"], NEEDS),
    ],
)
def test_options_that_cannot_be(leaky: str, options: list[str], sentence: str, capsys: Any) -> None:
    assert main(["check", leaky, *options]) == 1
    told = capsys.readouterr()
    assert told.err.rstrip().endswith(sentence)
    assert not told.out


def test_exact_decay_of_a_readout_has_too_many_bits(leaky: str, capsys: Any) -> None:
    options = ["--dataset", "digits", "--steps", "6", "--exact-decay", "--out", f"{leaky}.npz"]
    assert main(["import", leaky, *options]) == 1
    assert "Fraction of layer readout must be within 30 bits, not 55" in capsys.readouterr().err
    assert not Path(f"{leaky}.npz").exists()


def test_a_relu_network_has_no_time(capsys: Any) -> None:
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    assert main(["check", RELU, "--from", "relu", "--readout", "sum"]) == 1
    assert "are for networks over time: a ReLU network has none" in capsys.readouterr().err
