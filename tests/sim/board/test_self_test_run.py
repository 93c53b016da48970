"""Images on the chip: a whole board plays them at full speed, and its sums and cycles are right."""

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.planner import plan_board
from hw.contract.network import Network
from sw.data.shipped import model_path
from sw.verify.self_test import expected_run, self_test

DIGITS = Network.load(model_path("digits-dense"))


def test_a_board_plays_its_images(tmp_path) -> None:
    plan = plan_board(find_board("tang_nano_9k"), DIGITS, lanes=16, banks=1, megahertz=27)
    images = np.random.default_rng(3).integers(0, 16, (3, 64)).astype(np.uint8)
    facts = self_test(plan, images, tmp_path)
    assert facts["sums"] == facts["expected_sums"]
    assert facts["cycles"] == facts["expected_cycles"]
    assert facts["equal"]
    assert facts["images"] == 192
    assert facts["images_per_second"] == pytest.approx(27e6 / facts["cycles_per_image"], rel=1e-3)


def test_sums_tell_images_apart() -> None:
    plan = plan_board(find_board("tang_nano_9k"), DIGITS, lanes=16, banks=1, megahertz=27).core
    images = np.random.default_rng(3).integers(0, 16, (3, 64)).astype(np.uint8)
    other = images.copy()
    other[2, 30] ^= 8
    assert expected_run(plan, images)[0] != expected_run(plan, other)[0]
