"""The default bitstreams' lock: what goes in is what was routed, and the documents say so."""

import json
import shutil
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from gen.board.bitstream import TimingError
from gen.board.boards import BOARDS, find_board
from gen.board.planner import plan_board
from gen.family.tools import ToolError
from hw.contract.checks import SternaError
from hw.contract.files import write_atomically
from hw.contract.network import Network
from sw.data.shipped import model_path
from sw.spread.runner import running
from sw.study import bitstreams
from sw.study.bitstreams import (
    bitstreams_table,
    build_job,
    default_plan,
    inputs,
    own_lock,
    read_lock,
    study,
)

RESULTS = Path(__file__).parents[3] / "docs" / "results.md"


@pytest.mark.parametrize("name", BOARDS)
def test_a_default_bitstream_is_made_of_what_the_lock_has(name: str, tmp_path: Path):
    locked, now = read_lock()[name]["inputs"], inputs(default_plan(find_board(name)), tmp_path)
    differs = sorted(key for key in now if now[key] != locked.get(key))
    assert not differs, f"{name}: {', '.join(differs)} changed: run make bitstreams BOARD={name}"


def test_the_documents_have_the_locks_table():
    assert set(read_lock()) == set(BOARDS)
    assert bitstreams_table(read_lock()) in RESULTS.read_text()


def test_figures_over_images_that_are_not_there():
    locked = read_lock()
    for figure in ("cycles_per_image", "images_per_second"):
        del locked["icebreaker"]["routed"][figure]
    assert bitstreams_table(locked).count("not counted: no data set") == 2


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the boards that were built; no tool is run, and the design is the one that was
    compared with the lock."""
    names: list[str] = []
    facts = read_lock()

    def build(plan: Any, folder: Path, progress: Any) -> dict[str, Any]:
        names.append(plan.board.name)
        compared = tmp_path / plan.board.name / "inputs"
        shutil.copytree(compared, folder, dirs_exist_ok=True)
        return facts[plan.board.name]["routed"] | {"more": 1}

    monkeypatch.setattr(bitstreams, "build_board", build)
    monkeypatch.setattr("sw.data.evaluate.flowing_cycles", lambda core, data: 1000.04)
    return names


def test_what_has_changed_is_built_and_locked(built: list[str], tmp_path: Path):
    lock, said = tmp_path / "lock.json", []
    board = "tang_nano_9k"

    def run(**more: Any) -> dict[str, Any]:
        return study(tmp_path, [board], lock=lock, progress=said.append, **more)

    first = run()
    assert built == [board]
    assert first[board]["routed"]["cycles_per_image"] == 1000.0
    assert "more" not in first[board]["routed"]
    assert read_lock(lock) == first
    assert run() == first
    assert (built, said[-1]) == ([board], f"{board}: as the lock has it")
    run(again=True)
    assert built == [board] * 2
    first[board]["inputs"]["flags"] = "others"
    lock.write_text(json.dumps(first))
    assert run()[board]["inputs"]["flags"] != "others"
    assert built == [board] * 3


def test_boards_as_jobs(built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The lock is what it is without; a board that was built is not built again, one that comes out
    as another is refused."""
    lock, board = tmp_path / "lock.json", "tang_nano_9k"
    compared, made = bitstreams.inputs, tmp_path / "made"

    def once(plan: Any, folder: Path) -> dict[str, str]:
        if not made.exists():
            found.update(compared(plan, made))
        shutil.copytree(made, folder, dirs_exist_ok=True)
        return dict(found)

    found: dict[str, str] = {}
    monkeypatch.setattr(bitstreams, "inputs", once)
    plain = study(tmp_path, [board], lock=tmp_path / "plain.json")
    before = read_lock(lock)

    def locked() -> dict[str, Any]:
        with running(0, kept=tmp_path / "kept") as run:
            return study(tmp_path, [board], lock=lock, run=run)

    assert (before, locked()) == ({}, plain)
    assert read_lock(lock) == plain
    lock.unlink()  # as where the command was killed before it was written
    assert locked() == plain
    assert locked() == plain
    assert built == [board] * 2
    described = bitstreams._described
    monkeypatch.setattr(bitstreams, "_described", lambda *a: described(*a) | {"verilog": "other"})
    with pytest.raises(ToolError, match=r"^A worker must make tang_nano_9k with verilog "):
        build_job(board, plain[board]["inputs"], tmp_path / "elsewhere")


@pytest.mark.parametrize("workers", [None, 0])
def test_a_refused_board_has_no_bitstream(workers: int | None, tmp_path: Path, monkeypatch) -> None:
    """Not that of an earlier build either, whose design was another."""
    board = "tang_nano_9k"
    folder, found = tmp_path / board, read_lock()[board]["inputs"]

    def late(*_: Any, **__: Any) -> None:
        raise TimingError("Clock is missed", 33.5)

    monkeypatch.setattr(bitstreams, "inputs", lambda *_: found)
    monkeypatch.setattr("gen.board.build.build_bitstream", late)
    earlier = ["report.json", "sterna_board.fs", "rom/99.hex", "inputs/x"]
    for name in earlier:
        write_atomically(folder / name, b"old")
    with ExitStack() as stack:
        run = None if workers is None else stack.enter_context(running(workers))
        with pytest.raises(TimingError, match="Clock is missed"):
            study(tmp_path, [board], lock=tmp_path / "lock.json", run=run)
    assert (folder / "sterna_board.v").is_file()
    left = [name for name in earlier if (folder / name).exists()]
    assert left == ["inputs/x"]


@pytest.mark.parametrize("text", ["", "[]", "[1]", "{}x", '{"a": 1}', '{"a": {"inputs": {}}}'])
def test_a_file_that_is_no_lock_is_one_sentence(text: str, tmp_path: Path):
    (tmp_path / "lock").write_text(text)
    with pytest.raises(SternaError, match="must be a lock of bitstreams, and is none"):
        read_lock(tmp_path / "lock")


def test_steps_are_announced_by_what_was_measured():
    """Of each board in the lock, within a factor of 2."""
    for name, facts in read_lock().items():
        routed, flow = facts["routed"], BOARDS[name].family.flow
        thousands, seconds = routed["planned"]["luts"][0] / 1000, routed["seconds"]
        for told, took in (
            (flow.synthesis_seconds * thousands, seconds["synthesis"]),
            (flow.routing_seconds * thousands, seconds["routing"]),
        ):
            assert took / 2 <= told <= took * 2, (name, told, took)


def test_without_the_tools_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("gen.family.tools.version", absent)
    network = Network.load(model_path("digits-dense"))
    with pytest.raises(ToolError, match=r" is missing: install Sterna's extra 'fpga'"):
        inputs(plan_board(find_board("tang_nano_9k"), network, lanes=4, banks=1), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_lock_of_an_installed_package_is_left_alone(tmp_path: Path, monkeypatch):
    assert own_lock(tmp_path) == bitstreams.LOCK
    monkeypatch.setattr(bitstreams, "LOCK", tmp_path / "site" / "sw" / "study" / "bitstreams.json")
    assert own_lock(tmp_path / "out") == tmp_path / "out" / "bitstreams.json"
