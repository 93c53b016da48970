"""gen.board.timing: what is said before each step; no tool is run."""

import json
from pathlib import Path
from typing import Any

import pytest

from gen.board import bitstream, timing
from gen.board.timing import close_timing
from gen.core.plan import plan_core
from gen.family.tools import ToolError
from hw.contract.network import Network
from sw.data.shipped import model_path


def test_long_steps_are_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By the look-up tables that are planned, at what the ULX3S's default took for each."""

    def run(tool: Any, arguments: Any, folder: Path, *rest: Any) -> None:
        (folder / "cells.json").write_text("{}")
        used = dict.fromkeys(("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D"), 1)
        facts = {
            "fmax": {"clk": {"achieved": 101.0}},
            "utilization": {kind: {"used": n, "available": 9} for kind, n in used.items()},
        }
        (folder / "nextpnr.json").write_text(json.dumps(facts))

    monkeypatch.setattr(timing, "generate", lambda plan, folder: None)
    monkeypatch.setattr(timing, "run", run)
    monkeypatch.setattr(bitstream, "run", run)
    network, machine = Network.load(model_path("mnist-dense")), " on a machine like the one in"
    for lanes, synthesis, routing in (
        (128, ": about 2 minutes", ": about 11 minutes"),
        (8, "", ": about 2 minutes"),
    ):
        told: list[str] = []
        assert close_timing(plan_core(network, lanes), tmp_path, progress=told.append)["met"]
        assert [line.partition(machine)[0] for line in told] == [
            f"synthesis (Yosys){synthesis}",
            f"placement and routing (nextpnr){routing}",
        ]


def test_without_the_tools_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("gen.family.tools.sysconfig.get_path", lambda name: str(tmp_path))
    network = Network.load(model_path("digits-dense"))
    with pytest.raises(ToolError, match=r"^yosys is missing: install Sterna's extra 'fpga'"):
        close_timing(plan_core(network, 8), tmp_path / "out")
    assert not list(tmp_path.iterdir())
