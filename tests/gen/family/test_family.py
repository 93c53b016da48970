"""gen.family: a fourth family is one file and one entry; what it lacks is refused in a sentence."""

import ast
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from gen.board.bitstream import utilization, write_constraints
from gen.board.boards import BOARDS, constraints, find_board
from gen.board.build import build_board, reload_board
from gen.board.estimate import estimate
from gen.board.planner import plan_board
from gen.core.plan import PlanError
from gen.family.pll import PllError, pll
from gen.family.registry import FAMILIES
from gen.family.rom_swap import ReloadError
from hw.contract.network import Network
from sim.board.netlist import NetlistError, netlist_verilog
from sim.board.unpack import unpack_bitstream
from tests.gen.family.made_up import BOARD, FAMILY, install

ROOT = Path(__file__).parents[3]
NAMES = ("ecp5", "ice40", "gowin")
DIGITS = Network.load(ROOT / "sw/data/models" / "digits-dense.npz")


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(FAMILIES, FAMILY.name, FAMILY)
    monkeypatch.setitem(BOARDS, BOARD.name, BOARD)


def test_constraints_are_the_familys(tmp_path):
    name, text = constraints(find_board("made_up_1"))
    assert (name, text.splitlines()) == (
        "board.pins",
        ["clock 10000000 Hz", "clk -> C1", "rx -> R1", "tx -> T1 (output)", "led -> L1 (output)"],
    )
    assert write_constraints(BOARD, tmp_path) == ["--pins", "board.pins"]
    assert (tmp_path / "board.pins").read_text() == text


def test_a_family_without_a_pll_has_the_oscillators_clock():
    assert pll(BOARD, 10e6).instance is None
    with pytest.raises(PllError) as refused:
        pll(BOARD, 20e6)
    assert str(refused.value) == (
        "Clock of made_up_1 cannot be 20 MHz: the nearest that its 10 MHz oscillator gives is "
        "10 MHz"
    )


@pytest.mark.parametrize(
    ("width", "depth", "force", "blocks"),
    [
        (8, 100, True, 1),
        (9, 100, True, 2),
        (4, 200, True, 1),
        (1, 1, True, 1),
        (1, 63, False, 0),
        (1, 64, False, 1),
    ],
)
def test_block_rams_of_one_memory(width, depth, force, blocks):
    assert FAMILY.rams.count(width, depth, force) == blocks


def test_a_plan_uses_the_familys_rams_and_fill_limit():
    plan = plan_board(BOARD, DIGITS)
    assert plan.board.family is FAMILY
    assert plan.estimate.luts <= FAMILY.full * BOARD.luts
    roomy = replace(BOARD, family=replace(FAMILY, rams=FAMILIES["ecp5"].rams))
    assert estimate(roomy, plan.core, plan.spec).brams < plan.estimate.brams

    # The same layout on a chip that nextpnr fills less far.
    sparse = replace(BOARD, family=replace(FAMILY, full=0.05))
    with pytest.raises(PlanError, match=r"look-up tables of 800\b.*the smallest listed board"):
        plan_board(sparse, DIGITS)


def test_a_build_runs_the_familys_tools(tmp_path, monkeypatch):
    install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "built"
    plan = plan_board(BOARD, DIGITS, lanes=4, banks=1)
    told: list[str] = []
    report = build_board(plan, folder, progress=told.append)
    minutes = round(plan.estimate.luts * FAMILY.flow.routing_seconds / 60_000)
    assert told[:2] == [
        "synthesis (Yosys)",  # a matter of seconds
        f"placement and routing (nextpnr), seed 1: about {minutes} minutes on a machine like the "
        "one in docs/results.md",
    ]
    assert report["bitstream"] == str(folder / "sterna_board.mu")
    assert (folder / "sterna_board.mu").read_text() == "routed\nrouted\n"
    assert report["used"] == {"luts": 30, "brams": 3, "sprams": 0, "ffs": [7, 16_000]}
    assert report["tools"]["mu-pack"] == "mu-pack 9.9 (native)"
    assert "swap" not in report
    arguments = (folder / "synthesis" / "route.arguments").read_text()
    assert arguments.startswith("--mu1 --pins board.pins --out new_routed.mu --json netlist.json")
    assert utilization(folder / "synthesis" / "nextpnr.log") == {}
    assert json.loads((folder / "report.json").read_text()) == report

    with pytest.raises(ReloadError) as refused:
        reload_board(DIGITS, folder)
    assert str(refused.value) == (
        "Weights of made_up_1 cannot be reloaded: its tools cannot change block RAM; "
        "build the bitstream anew"
    )
    with pytest.raises(NetlistError) as refused:
        netlist_verilog(FAMILY, folder, tmp_path / "netlist")
    assert str(refused.value) == "Cells must be of ice40, ecp5: there are no models of made_up"
    with pytest.raises(NetlistError, match=r"^Bitstream must be of an iCE40 UP5K .* made_up_1's$"):
        unpack_bitstream(BOARD, folder / "sterna_board.mu", tmp_path / "unpacked", 10_000_000)


def test_no_other_module_knows_families_by_name():
    """Only the list of boards names them, and only to look them up."""
    rooms = (ROOT / name for name in ("hw", "gen", "sim", "sw"))
    for path in sorted(p for room in rooms for p in room.rglob("*.py")):
        if path.parent == ROOT / "gen" / "family":
            continue
        tree = ast.parse(path.read_text())
        named = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and n.value in NAMES]
        looked_up = [
            n
            for n in ast.walk(tree)
            if isinstance(n, ast.Subscript)
            and isinstance(n.value, ast.Name)
            and n.value.id == "FAMILIES"
        ]
        assert len(named) == len(looked_up) * (path.name == "boards.py"), path


def test_families_know_no_boards():
    for path in (ROOT / "gen" / "family").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not str(node.module).startswith(("gen.board", "gen.core")), path
