"""A whole board per family: planned, synthesised, routed, weights put in, packed, reloaded. That of
the iCE40 is built, and checked likewise, where it is proven
(tests/sw/verify/test_bitstream_verification.py)."""

import json
from pathlib import Path

import pytest

from gen.board.boards import find_board
from gen.board.build import SYNTHESIS, build_board, reload_board
from gen.board.planner import BoardPlan, plan_board
from gen.family.rom_swap import ReloadError
from tests.builds import check_refusals, check_reload, check_report, digits

LANES = {"ulx3s_85f": 2, "tang_nano_9k": 2}
CLOCKS = {"ulx3s_85f": 50, "tang_nano_9k": 27}


@pytest.fixture(scope="module", params=LANES)
def built(request, tmp_path_factory) -> tuple[BoardPlan, Path, dict]:
    """Plan, folder, report of the digits network on a board, weights in block RAM."""
    board = find_board(request.param)
    plan = plan_board(
        board,
        digits(),
        lanes=LANES[board.name],
        banks=1,
        megahertz=CLOCKS[board.name],
        memories=("rom", "rom"),
    )
    folder = tmp_path_factory.mktemp(board.name)
    return plan, folder, build_board(plan, folder)


def test_report_holds_what_was_planned_and_what_came_of_it(built) -> None:
    plan, folder, report = built
    check_report(plan, folder, report, CLOCKS[plan.board.name])


def test_reload_puts_other_weights_in_and_back(built) -> None:
    check_reload(*built)


def test_reload_refuses_what_does_not_fit(built) -> None:
    plan, folder, _ = built
    if plan.board.family.swap is not None:
        check_refusals(folder)


def test_reload_needs_a_finished_bitstream(tmp_path: Path) -> None:
    with pytest.raises(ReloadError, match="must hold a finished bitstream"):
        reload_board(digits(), tmp_path)


BOARD = {"board": "icebreaker", "network": "net", "reloadable": True, "roms": []}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("board.json", []),
        ("board.json", 3),
        ("board.json", {**BOARD, "roms": [3]}),
        ("board.json", {**BOARD, "board": ["icebreaker"]}),
        ("board.json", {**BOARD, "layers": [None]}),
        ("report.json", {"bitstream": "top.bin", "resources": {"LUT": 3}, "cells": {}}),
        ("report.json", {"bitstream": "top.bin", "resources": {}}),
    ],
)
def test_reports_of_another_form(tmp_path: Path, name: str, content: object) -> None:
    found = {
        "board.json": BOARD,
        "report.json": {"bitstream": "top.bin", "resources": {}, "cells": {}},
        name: content,
    }
    (tmp_path / SYNTHESIS).mkdir()
    (tmp_path / "board.json").write_text(json.dumps(found["board.json"]))
    (tmp_path / SYNTHESIS / "report.json").write_text(json.dumps(found["report.json"]))
    with pytest.raises(ReloadError) as error:
        reload_board(digits(), tmp_path)
    folder = tmp_path if name == "board.json" else tmp_path / SYNTHESIS
    assert str(error.value) == (
        f"Folder {folder} must hold a finished bitstream: {name} cannot be read"
    )
