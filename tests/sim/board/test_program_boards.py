"""Boards with program cores, complete tops at their pins under Verilator: images and recordings,
one core or several in a row, against the golden model, its cycle law and its count of updates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.planner import BoardPlan, plan_board
from hw.contract.checks import InputError
from hw.contract.network import Network
from sim.board.around import simulate_board
from sw.data.shipped import model_path
from sw.host.board import Board
from sw.host.golden import GoldenBackend
from sw.host.link import LinkBackend
from tests.graphs import network_of, residual

ULX3S = find_board("ulx3s_85f")


def network(name: str) -> Network:
    if name == "digits-conv":
        return Network.load(model_path(name))
    return network_of(replace(residual(), timed_input=name == "recording"))


def plan_of(name: str, schedule: str) -> BoardPlan:
    return plan_board(ULX3S, network(name), lanes=8, megahertz=8, schedule=schedule)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("digits-conv", "windows"), ("recording", "shared"), ("residual", "pipelined")],
)
def test_a_board_equals_the_golden_model(name: str, schedule: str, tmp_path: Path) -> None:
    plan = plan_of(name, schedule)
    spec, golden = plan.core.network.spec, GoldenBackend(plan.core)
    shape, top = (4, spec.image_size), spec.pixel_max
    pixels = np.random.default_rng(5).integers(0, top + 1, shape).astype(np.uint8)
    pixels[1], pixels[2] = 0, top
    with simulate_board(plan, tmp_path) as line:
        board = Board(LinkBackend(line, baud=line.baud, timeout=0.1), lambda: line.time)
        identity = board.wait_ready()
        assert (identity.pixels, identity.timed) == (spec.image_size, spec.timed_input)
        assert (identity.lanes, identity.banks, identity.steps) == (8, 1, spec.steps)
        assert identity.layout is not None
        assert identity.layout.shape == spec.shape_of("input")
        for image in [*pixels, pixels[0]]:
            told, expected = board.infer(image), golden.infer(image)
            assert told.logits.tolist() == expected.logits.tolist()
            assert (told.label, told.counters) == (expected.label, expected.counters)
            assert board.counters() == golden.counters()
        events = [(n, int(v)) for n, v in enumerate(pixels[3]) if v]
        assert board.run(events).logits.tolist() == golden.infer(pixels[3]).logits.tolist()
        with pytest.raises(InputError, match=rf"shape \(n, {spec.image_size}\)"):
            board.infer(pixels[0][:-1])
        board.reset()
        assert board.classify(pixels[:2]).tolist() == [golden.infer(p).label for p in pixels[:2]]
