"""Folders that jobs fill elsewhere: the files are where they were asked for, with the result or
with what it was refused for."""

import io
from pathlib import Path
from zipfile import ZipFile

import pytest

from gen.board.bitstream import TimingError
from hw.contract.checks import SternaError
from hw.system.jobs import InTurn, Jobs
from sw.spread.filled import fill, unpacked
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
    plain = InTurn()(Jobs("jobs", leaves_files, CALLS, folders=folders))
    here, told = tree(out), []
    for file in here:
        (out / file).unlink()

    def each(name: str, result: dict) -> None:
        told.append((name, result, (folders[name] / "sub" / "n").read_text()))

    with running(workers, kept=tmp_path / "kept") as run:
        assert run(Jobs("jobs", leaves_files, CALLS, each=each, folders=folders)) == plain
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
            run(Jobs("jobs", leaves_files, calls, each=lambda *a: told.append(a), folders=folders))
        assert tree(out)["sub/n"] == "1"
        assert f"wrote {out}" in tree(out)["tool.log"]
    assert told == [("one", {"n": 1})] * 2
    assert log.read_text() == "1"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_refused_job(tmp_path: Path, workers: int, capfd) -> None:
    """Its log is where its sentence says; it is not kept, and nothing else is said. Its files are
    more than Dask lets exceptions have."""
    out, kept = tmp_path / "out", tmp_path / "kept"
    with running(workers, kept=kept) as run, pytest.raises(TimingError) as error:
        run(Jobs("jobs", leaves_files, {"three": {"n": 3, "log": ""}}, folders={"three": out}))
    assert str(error.value) == f"Job must be less than three: see {out}/tool.log"
    assert error.value.best_mhz == 33.5
    assert (out / "tool.log").read_text() == f"wrote {out}\n"
    assert (out / "noise").stat().st_size == 100_000
    assert not kept.exists()
    assert capfd.readouterr() == ("", "")


class Named(SternaError):
    def __init__(self, name: str, place: str) -> None:
        super().__init__(f"{name} lies in {place}")


def test_an_error_that_cannot_be_made_anew(tmp_path: Path) -> None:
    """Its sentence comes all the same."""

    def job(folder: Path) -> dict:
        raise Named("It", f"{folder}")

    with pytest.raises(SternaError, match=rf"^It lies in {tmp_path}$"):
        unpacked(fill(job), tmp_path)


@pytest.mark.parametrize("n", [1, 3])
def test_what_an_earlier_run_left(tmp_path: Path, n: int) -> None:
    """What the function would have removed is not taken for this run's, be it refused or not; what
    it would not is let be."""
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    for name in ("facts.json", "report.json", "notes.txt", "sub/old.hex"):
        (out / name).write_text("old")
    calls, owned = {"one": {"n": n, "log": ""}}, ("report.json", "facts.json", "sub/*.hex")
    with running(0) as run:
        try:
            run(Jobs("jobs", leaves_files, calls, folders={"one": out}, owned=owned))
        except SternaError:
            assert n == 3
    left = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    made = "sub/n" if n == 1 else "noise"
    assert left == {"facts.json", "notes.txt", "tool.log", made}
    assert f"{out}/sub" in (out / "facts.json").read_text()


@pytest.mark.parametrize("name", ["../beside", "/beside", "sub/../../beside"])
def test_files_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        archive.writestr("good", "1")
        archive.writestr(name, "2")
    filled = {"result": {}, "packed": packed.getvalue(), "place": str(tmp_path / "job")}
    with pytest.raises(
        SternaError, match=r"^Job must leave its files in .*/out, not as '.*beside'$"
    ):
        unpacked(filled, tmp_path / "out")
    assert not list(tmp_path.iterdir())
