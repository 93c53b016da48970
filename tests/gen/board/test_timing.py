"""gen.board.timing: what is said before each step; no tool is run."""

import json
from pathlib import Path
from typing import Any

import pytest

from gen.board import bitstream, timing
from gen.board.bitstream import place_and_route
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


def test_a_clock_out_of_reach_is_routed_without_tearing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """nextpnr tears up late wires until none is late: without end, where the placement misses the
    clock."""
    flow, runs = BOARDS["ulx3s_85f"].family.flow, []

    def run(tool: Any, arguments: list[str], folder: Path, log: str, progress: Any) -> None:
        runs.append(arguments)
        estimate = next(estimates)
        verdict = "PASS" if estimate >= 100 else "FAIL"
        progress(f"Info: Max frequency for clock 'clk': {estimate} MHz ({verdict} at 100.00 MHz)")
        progress("Info: Routing..")
        (folder / "nextpnr.json").write_text('{"fmax": {}}')
        progress("Warning: Max frequency for clock 'clk': 69.12 MHz (FAIL at 100.00 MHz)")

    monkeypatch.setattr(bitstream, "run", run)
    told: list[str] = []
    estimates = iter([100.1])
    place_and_route(flow, ["--85k"], tmp_path, 100, 7, told.append)
    (only,) = runs
    assert [*only[:3], only[-1]] == ["--router", "router2", "--85k", "--tmg-ripup"]
    assert " --freq 100 --seed 7 --timing-allow-fail " in " ".join(only)
    estimates = iter([69.63, 69.63])
    assert place_and_route(flow, ["--85k"], tmp_path, 100, 7, told.append) == {"fmax": {}}
    assert runs[1:] == [only, only[:-1]]
    estimates, missed = iter([69.63]), "  Max frequency for clock 'clk': 69.63 MHz (FAIL at 100.00 "
    assert told == [
        "  Max frequency for clock 'clk': 100.1 MHz (PASS at 100.00 MHz)",
        "  Routing..",
        f"{missed}MHz)",
        "  the placement misses the clock: again, without tearing up late wires",
        f"{missed}MHz)",
        "  Routing..",
    ]
    # A family that tears nothing up is routed once, whatever is estimated.
    place_and_route(BOARDS["icebreaker"].family.flow, [], tmp_path, 100, 7)
    assert len(runs) == 4


def test_without_the_tools_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("gen.family.tools.sysconfig.get_path", lambda name: str(tmp_path))
    network = Network.load(model_path("digits-dense"))
    with pytest.raises(ToolError, match=r"^yosys is missing: install Sterna's extra 'fpga'"):
        close_timing(plan_core(network, 8), tmp_path / "out")
    assert not list(tmp_path.iterdir())
