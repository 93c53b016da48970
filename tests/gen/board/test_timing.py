"""gen.board.timing: what is said before each step; no tool is run."""

import json
from pathlib import Path
from typing import Any

import pytest

from gen.board import bitstream, timing
from gen.board.bitstream import MOST_PASSES, phase, place_and_route
from gen.board.boards import BOARDS
from gen.board.timing import close_timing
from gen.core.plan import plan_core
from gen.family.tools import ToolError
from hw.contract.network import Network
from sw.data.shipped import model_path


def test_long_steps_are_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By the look-up tables that are planned, at what the ULX3S's default took for each."""

    def run(tool: Any, arguments: Any, folder: Path, *rest: Any) -> None:
        (folder / "cells.json").write_text("{}")
        (folder / "netlist.json").write_text(
            '{"modules": {"sterna_core": {"cells": {}, "ports": {}}}}'
        )
        used = dict.fromkeys(("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D"), 1)
        facts = {
            "fmax": {"clk": {"achieved": 101.0}},
            "utilization": {kind: {"used": n, "available": 9} for kind, n in used.items()},
        }
        (folder / "nextpnr.json").write_text(json.dumps(facts))

    monkeypatch.setattr(timing, "generate", lambda plan, folder: None)
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


def test_wires_that_stay_late_are_torn_up_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """nextpnr tears up late wires until none is late: without end, where that cannot be."""
    runs: list[list[str]] = []
    late: list[int] = []

    def run(tool: Any, arguments: list[str], folder: Path, log: str, progress: Any) -> None:
        runs.append(arguments)
        (folder / "nextpnr.json").write_text('{"fmax": {}}')
        progress("Info: Max frequency for clock 'clk': 69.63 MHz (FAIL at 100.00 MHz)")
        for n, count in enumerate(late if "--tmg-ripup" in arguments else [0]):
            progress(f"Info:     iter={n} wires=9 overused=1 overuse=2 tmgfail={count} archfail=NA")
        progress("Info: Routing..")

    monkeypatch.setattr(bitstream, "run", run)
    flow = BOARDS["ulx3s_85f"].family.flow
    told: list[str] = []
    # The last of 50 passes without fewer late wires than once before has fewer: it goes on.
    late = [9, 7, *[8] * (MOST_PASSES - 1), 6, 0]
    assert place_and_route(flow, ["--85k"], tmp_path, 100, 7, told.append) == {"fmax": {}}
    (only,) = runs
    assert [*only[:3], only[-1]] == ["--router", "router2", "--85k", "--tmg-ripup"]
    assert " --freq 100 --seed 7 --timing-allow-fail " in " ".join(only)
    estimate = "  Max frequency for clock 'clk': 69.63 MHz (FAIL at 100.00 MHz)"
    assert told == [estimate, "  Routing.."]

    late, told = [9, 7, *[8, 7] * (MOST_PASSES // 2), 0], []
    assert place_and_route(flow, ["--85k"], tmp_path, 100, 7, told.append) == {"fmax": {}}
    assert runs[1:] == [only, only[:-1]]
    again = "  9 wires stay late: again, without tearing them up"
    assert told == [estimate, again, estimate, "  Routing.."]


@pytest.mark.parametrize(
    ("line", "doing"),
    [
        ("Info: Packing carries..", "packing"),
        ("Info:     at initial placer iter 2, wirelen = 272", "first placement, round 2"),
        (
            "Info:     at iteration #15, type ALL: wirelen solved = 283, spread = 405, legal = 449",
            "placement, round 15",
        ),
        ("Info:     at iteration #1, type SB_GB: wirelen solved = 200, spread = 2", None),
        (
            "Info:   at iteration #5: temp = 0.000000, timing cost = 16, wirelen = 372",
            "refining the placement, round 5",
        ),
        ("Info: Routing..", "routing"),
        (
            "Info:     iter=3 wires=701 overused=16 overuse=21 tmgfail=0 archfail=NA",
            "routing, round 3: 16 wires used twice",
        ),
        (
            "Info:       1000 |      120        880 |  120   880 |      3012|      0.21       0.21",
            "routing, 3012 connections to go",
        ),
        ("Info: Max frequency for clock 'clk': 69.63 MHz", None),
        ("", None),
    ],
)
def test_what_nextpnr_is_doing(line: str, doing: str | None):
    assert phase(line) == doing


def test_without_the_tools_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("gen.family.tools.sysconfig.get_path", lambda name: str(tmp_path))
    network = Network.load(model_path("digits-dense"))
    with pytest.raises(ToolError, match=r"^yosys is missing: install Sterna's extra 'fpga'"):
        close_timing(plan_core(network, 8), tmp_path / "out")
    assert not list(tmp_path.iterdir())
