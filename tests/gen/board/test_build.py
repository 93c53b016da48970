"""A whole board: planned, synthesised, routed, weights put in, packed, reloaded: that of the ECP5
by `make test-long`. That of the iCE40 is built, and checked likewise, where it is proven
(tests/sw/verify/test_bitstream_verification.py); a small design for each family in
test_bitstream.py, whole default boards by `make bitstreams`."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.build import SYNTHESIS, build_board, reload_board
from gen.board.planner import BoardPlan, plan_board
from gen.core.verilog import read_plan
from gen.family.rom_swap import Layout, ReloadError, _slices, read_rows
from hw.contract.network import Network
from tests.builds import check_refusals, check_reload, check_report, digits
from tests.graphs import network_of, residual

ULX3S = find_board("ulx3s_85f")
LANES = {"ulx3s_85f": 2}
CLOCKS = {"ulx3s_85f": 50}


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


@pytest.mark.long
def test_report_holds_what_was_planned_and_what_came_of_it(built) -> None:
    plan, folder, report = built
    check_report(plan, folder, report, CLOCKS[plan.board.name])


@pytest.mark.long
def test_reload_puts_other_weights_in_and_back(built) -> None:
    check_reload(*built)


@pytest.mark.long
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


def routed_design(layout: Layout, roms: list[Path]) -> str:
    """What a router would write of these ROM files, were there nothing else: a block RAM for every
    36 columns of 512 rows."""
    columns = [
        column
        for path in roms
        for column in _slices(layout, read_rows(path), 4 * len(path.read_text().split()[-1]))
    ]
    lines = [".device LFE5U-85F", ""]
    for n in range(0, len(columns), 36):
        bits = np.zeros(layout.slices.max() + 1, np.int64)
        for place, column in zip(layout.slices[-36:], columns[n : n + 36], strict=False):
            bits[place] = column
        words = bits.reshape(-1, 9) @ (1 << np.arange(9))
        lines.append(f".bram_init {n // 36}")
        lines += [" ".join(f"{w:03x}" for w in words[k : k + 8]) for k in range(0, 2048, 8)]
        lines.append("")
    return "\n".join(lines) + "\n"


@pytest.fixture
def program(tmp_path: Path, monkeypatch) -> Path:
    """Folder of a bitstream with programs and two test images, but for synthesis, routing and
    packing, which are played."""
    plan = plan_board(ULX3S, network_of(residual()), lanes=8, megahertz=25, schedule="shared")
    swap = ULX3S.family.swap
    assert swap is not None

    def build(board: object, work: Path, *_: object, **__: object) -> dict:
        routed = routed_design(swap.layout, sorted(work.glob("rom/*.hex")))
        (work / ULX3S.family.flow.routed).write_text(routed)
        report = {"bitstream": "top.bit", "resources": {}, "cells": {}}
        (work / "report.json").write_text(json.dumps(report))
        return report

    def pack(board: object, work: Path, routed: str, bitstream: str, *_: object) -> None:
        shutil.copy(work / routed, work / bitstream)

    monkeypatch.setattr("gen.board.build.find_tools", lambda flow: {})
    monkeypatch.setattr("gen.board.build.build_bitstream", build)
    monkeypatch.setattr("gen.board.build.pack", pack)
    images = np.arange(2 * 72).reshape(2, 72).astype(np.uint8) % 8
    build_board(plan, tmp_path / "built", stored=images)
    return tmp_path / "built"


def quieter(network: Network) -> Network:
    """With the same constants of its identities, which the program has."""
    weights = [
        [
            kernel if edge.kind == "identity" else -kernel // 2
            for edge, kernel in zip(*both, strict=True)
        ]
        for both in ((layer.edges, layer.kernels) for layer in network.layers)
    ]
    biases = tuple(-bias // 2 for bias in network.biases)
    return Network(network.spec, tuple(weights), biases, thetas=network.thetas)


def test_a_program_is_reloaded_and_back(program: Path) -> None:
    """The contents of every block RAM are those that a build would have; plan and images stay."""
    swap, network = ULX3S.family.swap, network_of(residual())
    assert swap is not None
    bitstream, roms = program / "sterna_board.bit", sorted(program.glob("rom/*.hex"))
    first = bitstream.read_bytes()
    assert first.decode().split() == routed_design(swap.layout, roms).split()
    before, other = {path: read_rows(path) for path in roms}, quieter(network)
    report = reload_board(other, program)
    assert (report["digest"], report["swap"]["roms"]) == (other.digest, 5)
    assert bitstream.read_text().split() == routed_design(swap.layout, roms).split()
    changed = {path.stem for path in roms if read_rows(path) != before[path]}
    assert changed == {"weights", "biases", "digest"}
    plan = read_plan(other, program)
    made = {f"{program}/{name}": [*rom.rows] for name, rom in plan.roms().items()}
    assert made.items() <= {str(path): read_rows(path) for path in roms}.items()
    reload_board(network, program)
    assert bitstream.read_bytes() == first


def test_a_program_that_cannot_be_reloaded(program: Path) -> None:
    network = network_of(residual())
    spec, weights, biases = network.spec, network.weights, network.biases
    loud = [np.sign(w) * layer.w_max for w, layer in zip(weights, spec.layers, strict=True)]
    high = quieter(network)
    top = np.abs(biases[0]).max() + 1
    constants = [list(layer.kernels) for layer in high.layers]
    constants[2][1] = constants[2][1] * 0 + 2  # in place of 1
    files = {path: path.read_bytes() for path in program.rglob("*") if path.is_file()}
    for other, words in [
        (replace(spec, steps=4), "Network must have 3 steps to fit the bitstream, not 4"),
        (replace(spec, timed_input=True), "Network must have no timed input to fit the bitstream"),
        (Network(spec, tuple(loud), biases, thetas=network.thetas), "keep its sums of weights"),
        (
            Network(
                spec, high.weights, (biases[0] * 0 + top, *high.biases[1:]), thetas=high.thetas
            ),
            rf"Layer stem must keep its biases within {top - 1} to fit the bitstream, not reach",
        ),
        (
            Network(spec, tuple(constants), high.biases, thetas=network.thetas),
            "Constants of identity",
        ),
    ]:
        with pytest.raises(ReloadError, match=words):
            reload_board(other if isinstance(other, Network) else network_of(other), program)
    facts = json.loads((program / "board.json").read_text())
    assert files == {path: path.read_bytes() for path in program.rglob("*") if path.is_file()}
    (program / "board.json").write_text(json.dumps(facts | {"hardware": "0"}))
    with pytest.raises(ReloadError, match="Bitstream is of another version of Sterna"):
        reload_board(network, program)
    (program / "board.json").write_text(json.dumps(facts | {"reloadable": False}))
    with pytest.raises(ReloadError, match="cannot be reloaded: its core learns"):
        reload_board(network, program)
