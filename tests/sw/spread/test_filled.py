"""Folders that jobs fill elsewhere: the files are where they were asked for, with the result or
with what it was refused for."""

from pathlib import Path

import pytest

from hw.contract.checks import SternaError
from hw.system.jobs import InTurn
from sw.spread.runner import running
from tests.sw.spread.calls import leaves_files

CALLS = {"one": {"n": 1, "log": ""}, "two": {"n": 2, "log": ""}}


def tree(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_files_come_back(tmp_path: Path, workers: int) -> None:
    """As they are where the same is done here, with their own places in them."""
    out = tmp_path / "out"
    folders = {name: out / name for name in CALLS}
    plain = InTurn()("jobs", leaves_files, CALLS, folders=folders)
    here, told = tree(out), []
    for file in here:
        (out / file).unlink()

    def each(name: str, result: dict) -> None:
        told.append((name, result, (folders[name] / "sub" / "n").read_text()))

    with running(workers, kept=tmp_path / "kept") as run:
        assert run("jobs", leaves_files, CALLS, None, each, folders) == plain
    assert tree(out) == here
    assert f"wrote {out}/one" in here["one/tool.log"]
    assert sorted(told) == [("one", {"n": 1}, "1"), ("two", {"n": 2}, "2")]


def test_what_is_kept_is_not_done_again(tmp_path: Path) -> None:
    """But its files are there again, and it is told."""
    log, told = tmp_path / "log", []
    calls = {"one": {"n": 1, "log": str(log)}}
    for out in (tmp_path / "a", tmp_path / "b"):
        with running(0, kept=tmp_path / "kept") as run:
            folders = {"one": out}
            run("jobs", leaves_files, calls, None, lambda *a: told.append(a), folders)
        assert tree(out)["sub/n"] == "1"
        assert f"wrote {out}" in tree(out)["tool.log"]
    assert told == [("one", {"n": 1})] * 2
    assert log.read_text() == "1"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_refused_job(tmp_path: Path, workers: int) -> None:
    """Its log is where its sentence says; it is not kept."""
    out, kept = tmp_path / "out", tmp_path / "kept"
    with running(workers, kept=kept) as run, pytest.raises(SternaError) as error:
        run("jobs", leaves_files, {"three": {"n": 3, "log": ""}}, folders={"three": out})
    assert str(error.value) == f"Job must be less than three: see {out}/tool.log"
    assert tree(out)["tool.log"] == f"wrote {out}\n"
    assert not kept.exists()
