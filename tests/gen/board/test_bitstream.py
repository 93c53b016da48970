"""gen.board.bitstream: a tiny design to a bitstream for every board, and what happens when it
fails."""

import hashlib
import json

import pytest

from gen.board.bitstream import REPORT, TimingError, build_bitstream, is_tight, synthesize
from gen.board.boards import BOARDS
from gen.family.tools import ToolError, run
from tests.gen.board.tiny import write_design

TANG = BOARDS["tang_nano_9k"]


@pytest.mark.parametrize(
    ("name", "megahertz", "file", "resources"),
    [
        ("ulx3s_85f", 62.5, "top.bit", {"DP16KD": [3, 208], "EHXPLLL": [1, 4]}),
        ("icebreaker", 24, "top.bin", {"ICESTORM_PLL": [1, 1], "SB_IO": [8, 39]}),
        ("tang_nano_9k", 54, "top.fs", {"BSRAM": [3, 26], "rPLL": [1, 2]}),
    ],
)
def test_a_bitstream_for_every_board(tmp_path, name, megahertz, file, resources):
    lines = []
    write_design(BOARDS[name], tmp_path, megahertz)
    report = build_bitstream(
        BOARDS[name], tmp_path, "top", ["top.v"], megahertz=megahertz, progress=lines.append
    )
    assert json.loads((tmp_path / REPORT).read_text()) == report
    data = (tmp_path / file).read_bytes()
    assert (report["bitstream"], report["bytes"]) == (file, len(data))
    assert report["sha256"] == hashlib.sha256(data).hexdigest()
    assert report["met"]
    assert report["fmax_mhz"] >= megahertz
    assert [wanted for _, wanted in report["clocks"].values()] == [pytest.approx(megahertz)]
    assert resources.items() <= report["resources"].items()
    assert sum(report["cells"].values()) > 40
    assert len(report["tools"]) == len(report["seconds"]) == 3
    assert (tmp_path / "netlist.json").exists()
    assert [line.split()[0] for line in lines if line[0] != " "] == [
        "synthesis",
        "placement",
        "packing",
    ]
    assert not list(tmp_path.glob("part_*")) + list(tmp_path.glob("new_*"))


def test_seeds_and_a_clock_that_does_not_close(tmp_path):
    write_design(TANG, tmp_path, 27)
    report = build_bitstream(TANG, tmp_path, "top", ["top.v"], megahertz=27, seed=3)
    assert report["fmax_by_seed"] == {"3": report["fmax_mhz"]}  # the first one meets the clock
    assert report["seed"] == 3

    with pytest.raises(TimingError) as refused:
        build_bitstream(TANG, tmp_path, "top", ["top.v"], megahertz=900, seeds=1)
    assert 27 < refused.value.best_mhz < 900
    assert str(refused.value) == (
        "Clock of tang_nano_9k does not close at 900 MHz: the best that does is "
        f"{refused.value.best_mhz:.2f} MHz (seed 1)"
    )
    first = refused.value.best_mhz
    with pytest.raises(TimingError, match=r"\(seed \d, the best of 3\)") as refused:
        build_bitstream(TANG, tmp_path, "top", ["top.v"], megahertz=900, seeds=3)
    assert refused.value.best_mhz >= first
    # Nothing of the earlier build is left that could be taken for this one's.
    assert not (tmp_path / "top.fs").exists()
    assert not (tmp_path / REPORT).exists()


def test_faults_are_one_sentence(tmp_path):
    (tmp_path / "top.v").write_text("module top(input clk);\nwire x = ;\nendmodule\n")
    with pytest.raises(ToolError, match=r"^yosys refused: top\.v:2: ERROR: syntax error.*yosys\.l"):
        build_bitstream(TANG, tmp_path, "top", ["top.v"], megahertz=27)
    text = "module top(input clk, output nowhere); assign nowhere = clk; endmodule\n"
    (tmp_path / "top.v").write_text(text)
    with pytest.raises(ToolError, match=r"^nextpnr-ice40 refused: .*nowhere.*nextpnr\.log"):
        build_bitstream(BOARDS["icebreaker"], tmp_path, "top", ["top.v"], megahertz=12)
    assert not (tmp_path / REPORT).exists()
    for megahertz, seed, seeds in ((0, 1, 1), (27, 0, 1), (27, 1, 0)):
        with pytest.raises(ToolError, match=r"^(Clock|Seed)"):
            build_bitstream(
                TANG, tmp_path, "top", ["top.v"], megahertz=megahertz, seed=seed, seeds=seeds
            )


def test_what_does_not_fit_says_what_is_too_much(tmp_path, monkeypatch):
    (tmp_path / "top.v").write_text("module top(input clk, output led); endmodule")

    def overflow(tool, arguments, folder, log, *rest):
        """What nextpnr-ice40 prints of a design of 7208 logic cells."""
        if not tool.name.startswith("nextpnr"):
            return run(tool, arguments, folder, log, *rest)
        (folder / log).write_text(
            "Info: Device utilisation:\n"
            "Info: \t         ICESTORM_LC:    7208/   5280   136%\n"
            "Info: \t        ICESTORM_RAM:      13/     30    43%\n"
            "ERROR: Failed to expand region (0, 0) |_> (25, 31) of 7207 ICESTORM_LCs\n"
        )
        raise ToolError("nextpnr-ice40 refused")

    monkeypatch.setattr("gen.board.bitstream.run", overflow)
    with pytest.raises(ToolError) as refused:
        build_bitstream(BOARDS["icebreaker"], tmp_path, "top", ["top.v"], megahertz=12)
    assert str(refused.value) == (
        "Design does not fit icebreaker: it needs 7208 of 5280 ICESTORM_LC "
        f"(see {tmp_path / 'nextpnr.log'})"
    )


def test_a_synthesis_that_traps_is_tried_without_sequential_optimisation(tmp_path, monkeypatch):
    flow, told, scripts = BOARDS["icebreaker"].family.flow, [], []

    def yosys(tool, arguments, folder, log):
        scripts.append((folder / "synth.ys").read_text())
        if " -dff " in scripts[-1]:
            raise ToolError(f"yosys refused: {trap} (see yosys.log)")
        (folder / "cells.json").write_text('{"design": {"num_cells_by_type": {"SB_LUT4": 3}}}')

    monkeypatch.setattr("gen.board.bitstream.run", yosys)
    trap = "wasm trap: call stack exhausted"
    assert synthesize(flow, tmp_path, "top", ["top.v"], told.append) == {"SB_LUT4": 3}
    assert len(scripts) == 1
    assert synthesize(flow, tmp_path, "top", ["top.v"], told.append, tight=True) == {"SB_LUT4": 3}
    assert len(scripts) == 3
    assert "again, without sequential" in told[-1]
    trap = "syntax error"
    with pytest.raises(ToolError, match="syntax error"):
        synthesize(flow, tmp_path, "top", ["top.v"], told.append, tight=True)


def test_only_what_nearly_fills_a_chip_is_synthesised_tightly():
    ice, ecp5 = BOARDS["icebreaker"], BOARDS["ulx3s_85f"]
    assert [is_tight(ice, luts) for luts in (0, 4488, 4489)] == [False, False, True]
    assert not is_tight(ecp5, ecp5.luts)
