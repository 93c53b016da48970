"""A whole board per family: planned, synthesised, routed, weights put in, packed, reloaded."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gen.boards import find_board
from gen.build import build_board, reload_board
from gen.planner import BoardPlan, plan_board
from gen.reload import ReloadError, read_rows
from hw.image import NetworkImage
from sw.models import model_path

LANES = {"ulx3s_85f": 8, "icebreaker": 16, "tang_nano_9k": 4}
CLOCKS = {"ulx3s_85f": 50, "icebreaker": 12, "tang_nano_9k": 27}


def digits() -> NetworkImage:
    return NetworkImage.load(model_path("digits-dense"))


def with_weights(image: NetworkImage, weights, biases) -> NetworkImage:
    return NetworkImage(image.spec, tuple(weights), tuple(biases))


@pytest.fixture(scope="module", params=LANES)
def built(request, tmp_path_factory) -> tuple[BoardPlan, Path, dict]:
    """Plan, folder, report of the digits network on a board, weights in block RAM."""
    board = find_board(request.param)
    plan = plan_board(
        board, digits(), lanes=LANES[board.name], banks=1, megahertz=CLOCKS[board.name],
        memories=("rom", "rom"),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp(board.name)
    return plan, folder, build_board(plan, folder)


def test_report_holds_what_was_planned_and_what_came_of_it(built) -> None:
    plan, folder, report = built
    bitstream = Path(report["bitstream"])
    assert bitstream.parent == folder
    assert bitstream.stat().st_size == report["bitstream_bytes"] > 10_000
    assert report["digest"] == digits().digest
    assert report["fmax_mhz"] >= report["asked_mhz"] == CLOCKS[plan.board.name]
    assert json.loads((folder / "report.json").read_text()) == report
    used, estimate = report["used"], plan.estimate
    assert used["brams"] == estimate.brams
    assert abs(estimate.luts / used["luts"] - 1) < 0.15
    assert 0 < used["luts"] < plan.board.luts


def test_reload_puts_other_weights_in_and_back(built) -> None:
    """There and back again is the very same bitstream."""
    plan, folder, report = built
    image = digits()
    other = with_weights(image, [-w for w in image.weights], [-b for b in image.biases])
    if plan.board.family == "gowin":
        with pytest.raises(ReloadError, match="its tools cannot change block RAM"):
            reload_board(other, folder)
        return
    before = Path(report["bitstream"]).read_bytes()
    changed = reload_board(other, folder)
    assert changed["digest"] == other.digest
    assert changed["bitstream_sha256"] != report["bitstream_sha256"]
    digest = b"".join(row.to_bytes(4, "little") for row in read_rows(folder / "rom/digest.hex")[:8])
    assert digest.hex() == other.digest
    again = reload_board(image, folder)
    assert again["bitstream_sha256"] == report["bitstream_sha256"]
    assert Path(again["bitstream"]).read_bytes() == before


def test_reload_refuses_what_does_not_fit(built) -> None:
    plan, folder, _ = built
    if plan.board.family == "gowin":
        return
    image = digits()
    spec = image.spec
    hidden = spec.layers[0]
    assert hidden.neuron is not None
    neuron = replace(hidden.neuron, theta=hidden.neuron.theta + 1)
    firing = replace(spec, layers=(replace(hidden, neuron=neuron), *spec.layers[1:]))
    longer = replace(spec, steps=spec.steps + 1)
    loud = [np.sign(image.weights[0]) * hidden.w_max, image.weights[1]]
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for other, words in [
        (NetworkImage(longer, image.weights, image.biases), "Network must have 4 steps to fit"),
        (NetworkImage(firing, image.weights, image.biases), "Layer hidden1 must have neuron {"),
        (with_weights(image, loud, image.biases), "has an accumulator bound of"),
    ]:
        with pytest.raises(ReloadError, match=words):
            reload_board(other, folder)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_reload_needs_a_finished_bitstream(tmp_path: Path) -> None:
    with pytest.raises(ReloadError, match="must hold a finished bitstream"):
        reload_board(digits(), tmp_path)
