"""What must hold of a finished bitstream of the digits network, of whatever board."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gen.board.build import SYNTHESIS, reload_board
from gen.board.planner import BoardPlan
from gen.family.rom_swap import ReloadError, read_rows
from gen.family.tools import ToolError
from hw.contract.network import Network
from sw.data.shipped import model_path

HIDDEN = 16


def digits() -> Network:
    """`digits-dense` with an eighth of its hidden neurons: a small design of the same kind."""
    network = Network.load(model_path("digits-dense"))
    hidden, readout = network.spec.layers
    layers = (replace(hidden, neurons=HIDDEN), replace(readout, inputs=HIDDEN))
    return Network(
        replace(network.spec, name="digits-small", layers=layers),
        (network.weights[0][:HIDDEN], network.weights[1][:, :HIDDEN]),
        (network.biases[0][:HIDDEN], network.biases[1]),
        {"dataset": "digits"},
    )


def with_weights(network: Network, weights, biases) -> Network:
    return Network(network.spec, tuple(weights), tuple(biases))


def check_report(plan: BoardPlan, folder: Path, report: dict, megahertz: float) -> None:
    """The report holds what was planned and what came of it."""
    bitstream = Path(report["bitstream"])
    assert bitstream.parent == folder
    assert bitstream.stat().st_size == report["bitstream_bytes"] > 10_000
    assert report["digest"] == digits().digest
    assert report["fmax_mhz"] >= report["asked_mhz"] == megahertz
    assert json.loads((folder / "report.json").read_text()) == report
    used, estimate = report["used"], plan.estimate
    assert used["brams"] == estimate.brams
    assert abs(estimate.luts / used["luts"] - 1) < 0.2  # of a small design
    assert 0 < used["luts"] < plan.board.luts


def check_reload(plan: BoardPlan, folder: Path, report: dict) -> None:
    """Other weights are put in, and back: there and back again is the very same bitstream."""
    network = digits()
    other = with_weights(network, [-w for w in network.weights], [-b for b in network.biases])
    if plan.board.family.swap is None:
        with pytest.raises(ReloadError, match="its tools cannot change block RAM"):
            reload_board(other, folder)
        return
    before = Path(report["bitstream"]).read_bytes()
    changed = reload_board(other, folder)
    assert changed["digest"] == other.digest
    assert changed["bitstream_sha256"] != report["bitstream_sha256"]
    digest = b"".join(row.to_bytes(4, "little") for row in read_rows(folder / "rom/digest.hex")[:8])
    assert digest.hex() == other.digest
    again = reload_board(network, folder)
    assert again["bitstream_sha256"] == report["bitstream_sha256"]
    assert Path(again["bitstream"]).read_bytes() == before


def check_refusals(folder: Path) -> None:
    """A reload refuses what does not fit, and leaves all files as they are."""
    network = digits()
    spec = network.spec
    hidden = spec.layers[0]
    assert hidden.neuron is not None
    neuron = replace(hidden.neuron, theta=hidden.neuron.theta + 1)
    firing = replace(spec, layers=(replace(hidden, neuron=neuron), *spec.layers[1:]))
    longer = replace(spec, steps=spec.steps + 1)
    loud = [np.sign(network.weights[0]) * hidden.w_max, network.weights[1]]

    def files() -> dict[Path, bytes]:
        """But for what the tools make on the way."""
        found = (p for p in folder.rglob("*") if p.is_file())
        return {p: p.read_bytes() for p in found if SYNTHESIS not in p.parts}

    before = files()
    for other, words in [
        (Network(longer, network.weights, network.biases), "Network must have 4 steps to fit"),
        (Network(firing, network.weights, network.biases), "Layer hidden1 must have neuron {"),
        (
            with_weights(network, loud, network.biases),
            "Layer hidden1 must keep its sums of weights within",
        ),
    ]:
        with pytest.raises(ReloadError, match=words):
            reload_board(other, folder)
    quiet = with_weights(network, [0 * w for w in network.weights], network.biases)
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: object) -> None:
            raise ToolError("packer refused")

        patch.setattr("gen.board.build.pack", refuse)
        patch.setattr("gen.board.build._copy", refuse)
        with pytest.raises(ToolError, match="packer refused"):
            reload_board(quiet, folder)
    assert files() == before
    assert not folder.with_name(f"{folder.name}.reload").exists()
