"""A fault campaign of parts: each frame in one of them, counts added up (boards that are simulated:
`tests/sw/spread/test_kinds.py`)."""

import json
from pathlib import Path

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.planner import plan_board, plan_learning_board
from hw.contract.checks import SternaError
from hw.contract.network import Network
from hw.system.jobs import Jobs
from sw.cli.main import main
from sw.data.shipped import model_path
from sw.spide.start import beginning
from sw.verify.fault_jobs import attack_chunk, campaign_spread

IMAGES = np.zeros((2, 64), dtype=np.uint8)


def fake(frames: int, wrong: list[str]) -> dict:
    """A report, as far as sums go."""
    return {
        "board": "ulx3s_85f",
        "frames": frames,
        "outcomes": {"refused": frames - 1, "silent": 1},
        "raised": {"TimeoutError": 2} if wrong else {},
        "recovered": [frames - 1, 1, 0],
        "wrong_answers": len(wrong),
        "details": wrong,
        "kinds": {"bit": {"frames": frames}},
        "seconds": 0.5,
    }


def test_parts_are_added_up(tmp_path: Path) -> None:
    plan = plan_board(find_board("ulx3s_85f"), Network.load(model_path("digits-dense")), lanes=8)
    asked = []

    def run(jobs: Jobs):
        assert jobs.function is attack_chunk
        assert set(jobs.shared["sent"][1]) == {"network", "images"}
        asked.extend(jobs.calls.values())
        return [
            fake(call["frames"], ["bit: no"] if n == 1 else [])
            for n, call in enumerate(jobs.calls.values())
        ]

    report = campaign_spread(plan, IMAGES, tmp_path, run, frames=25, seed=7, chunk=10)
    assert [call["frames"] for call in asked] == [10, 10, 5]
    assert len({call["seed"] for call in asked}) == 3
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report == {
        "board": "ulx3s_85f",
        "frames": 25,
        "outcomes": {"refused": 22, "silent": 3},
        "raised": {"TimeoutError": 2},
        "recovered": [22, 3, 0],
        "wrong_answers": 1,
        "details": ["bit: no"],
        "kinds": {"bit": {"frames": 25}},
        "seconds": 1.5,
        "seed": 7,
        "jobs": 3,
    }


def test_refusals(tmp_path: Path, capsys) -> None:
    board = find_board("ulx3s_85f")
    learning = plan_learning_board(board, beginning("digits"), lanes=2)
    with pytest.raises(SternaError, match="A board that learns is attacked by one process"):
        campaign_spread(learning, IMAGES, tmp_path / "out", run=None)  # pyright: ignore
    arguments = ["study", "faults", "--frames", "0", "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "Frames must be a positive number" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
