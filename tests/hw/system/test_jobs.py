"""Jobs done here, one after the other."""

from pathlib import Path

import pytest

from hw.system.jobs import InTurn, Jobs
from hw.system.progress import Progress, silent
from tests.hw.system.notes import Notes


def noted(n: int, table: list[int], folder: Path, progress: Progress = silent) -> dict:
    """A job that leaves a file."""
    progress(f"at {n}")
    (folder / "n").write_text(str(n))
    if n == 2:
        raise ValueError("two is too much")
    return {"n": table[n]}


def test_in_turn(tmp_path: Path) -> None:
    """Each is told, and its files are there, before the next one begins."""
    notes, folders = Notes(), {name: tmp_path / name for name in "ab"}
    for folder in folders.values():
        folder.mkdir()

    def each(name: str, result: dict) -> None:
        notes(f"{name}: {result['n']}, {(folders[name] / 'n').read_text()}")

    calls, shared = {"a": {"n": 1}, "b": {"n": 0}}, {"table": ("digest", [5, 6, 7])}
    found = InTurn(notes)(Jobs("jobs", noted, calls, shared=shared, each=each, folders=folders))
    assert found == [{"n": 6}, {"n": 5}]
    assert notes.told == [("jobs", 2, 0, 0), "at 1", "a: 6, 1", 1, "at 0", "b: 5, 0", 2, "end"]


def test_no_job_and_a_faulty_one(tmp_path: Path) -> None:
    notes = Notes()
    assert InTurn(notes)(Jobs("jobs", noted, {})) == notes.told == []
    shared = {"table": ("digest", [5])}
    with pytest.raises(ValueError, match="two is too much"):
        InTurn()(Jobs("jobs", noted, {"a": {"n": 2}}, shared=shared, folders={"a": tmp_path}))
    assert (tmp_path / "n").read_text() == "2"
