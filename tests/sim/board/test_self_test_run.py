"""Images on the chip: a whole board plays them at full speed, and its sums and cycles are right."""

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.planner import BoardPlan, plan_board
from hw.contract.builder import NetworkBuilder
from hw.contract.network import Network
from sw.data.shipped import model_path
from sw.verify.self_test import expected_run, self_test
from tests.graphs import NEURON, conv, dense, network_of

DIGITS = Network.load(model_path("digits-dense"))


def layers() -> BoardPlan:
    """A layer of its own for each layer."""
    return plan_board(find_board("tang_nano_9k"), DIGITS, lanes=16, banks=1, megahertz=27)


def mixed() -> BoardPlan:
    """A program for a recording's maps, which begins before the first picture is there; then
    dense layers."""
    b = NetworkBuilder((1, 4, 4), name="tiny", input_bits=3, steps=2, timed_input=True)
    b.layer("maps", 2, conv("input", 3, padding=1), neuron=NEURON)
    b.layer("hidden", 8, dense("maps", pool=2), neuron=NEURON)
    b.layer("readout", 3, dense("hidden"))
    board = find_board("ulx3s_85f")
    return plan_board(board, network_of(b.spec()), lanes=8, megahertz=8, schedule="mixed")


@pytest.mark.parametrize("made", [layers, mixed])
def test_a_board_plays_its_images(made, tmp_path) -> None:
    plan = made()
    spec = plan.core.network.spec
    images = np.random.default_rng(3).integers(0, spec.pixel_max + 1, (3, spec.image_size))
    facts = self_test(plan, images.astype(np.uint8), tmp_path)
    assert facts["sums"] == facts["expected_sums"]
    assert facts["cycles"] == facts["expected_cycles"]
    assert facts["equal"]
    assert facts["images"] == 192
    speed = plan.spec.clock_hz / facts["cycles_per_image"]
    assert facts["images_per_second"] == pytest.approx(speed, rel=1e-3)


def test_sums_tell_images_apart() -> None:
    plan = layers().core
    images = np.random.default_rng(3).integers(0, 16, (3, 64)).astype(np.uint8)
    other = images.copy()
    other[2, 30] ^= 8
    assert expected_run(plan, images)[0] != expected_run(plan, other)[0]
