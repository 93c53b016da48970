"""`sterna study`: who does a study's jobs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hw.contract.checks import SternaError
from hw.system.jobs import Jobs
from sw.cli.main import main
from sw.spread.runner import Runner
from tests.sw.spread.calls import square

STUDIES = {
    "training": ("training", ["--dataset", "digits"]),
    "conversion": ("conversion", ["--dataset", "digits"]),
    "importers": ("importers", []),
    "cost": ("cost", ["digits-dense"]),
    "scale": ("scale", ["digits-dense"]),
    "hardware": ("hardware", []),
    "learning": ("learning", []),
    "reference": ("spide_training", []),
    "bitstreams": ("bitstreams", []),
}
"""By name: the module, and arguments for which nothing need be downloaded."""


class Enough(SternaError):
    """The study was asked."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a command, and gives the `run` that its study got, which did a job with it."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("distributed")

    def ask(name: str, *options: str) -> Any:
        module, arguments = STUDIES[name]
        found: list[Any] = []

        def study(*given: Any, run: Any = None, **_: Any) -> None:
            found.append(run)
            for one in (*given, run):
                if isinstance(one, Runner):
                    found[-1] = one
                    assert one(Jobs("squares", square, {"a": {"n": 3}}))[0]["n"] == 9
            raise Enough("Study was asked")

        monkeypatch.setattr(f"sw.study.{module}.study", study)
        assert main(["study", name, *arguments, *options]) == 1
        return found[0] if found else None

    return ask


@pytest.mark.parametrize("name", STUDIES)
def test_who_does_the_jobs(name: str, asked, tmp_path: Path, capsys) -> None:
    out = ["--out", str(tmp_path / "out")]
    plain = asked(name, *out)
    assert capsys.readouterr().err.endswith("sterna: Study was asked\n")
    assert isinstance(plain, Runner) == (name == "training")  # processes, as ever
    assert isinstance(asked(name, *out, "--workers", "0"), Runner)
    told = capsys.readouterr().err
    assert "squares: 1 of 1, a\n" in told
    assert asked(name, *out, "--workers", "-1") is None
    sentence = "sterna: Workers must be a number of at least 0, not -1\n"
    assert capsys.readouterr().err.endswith(sentence)


def test_processes_are_workers(asked, tmp_path: Path, capsys, monkeypatch) -> None:
    """As `study training` had it: 0 is one for each core."""
    given = []
    pool = "sw.spread.runner.Pool"

    def noted(workers: Any, scheduler: Any) -> None:
        given.append((workers, scheduler))
        raise Enough("Pool was asked")

    monkeypatch.setattr(pool, noted)
    out = ["--out", str(tmp_path / "out")]
    url = "tcp://127.0.0.1:9"
    for options in ([], ["--processes", "0"], ["--processes", "3"], ["--workers", "3"]):
        asked("training", *out, *options)
    asked("training", *out, "--scheduler", url)
    assert given == [(None, None), (None, None), (3, None), (3, None), (None, url)]
    capsys.readouterr()
    asked("training", *out, "--processes", "2", "--workers", "2")
    sentence = "sterna: Processes are workers: give --workers or --processes, not both\n"
    assert capsys.readouterr().err == sentence
