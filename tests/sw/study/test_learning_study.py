"""`sterna study learning`: what it keeps, that it goes on, and its tables."""

import json
from pathlib import Path

import pytest

from hw.contract.checks import SternaError
from hw.contract.network import Network
from hw.learn.masters import Masters, masters_path
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.data.evaluate import evaluate
from sw.spread.runner import running
from sw.study.learning import (
    PARTS,
    accuracy_table,
    activity_table,
    cases,
    choice_table,
    drift_table,
    samples_table,
    study,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A pass over the digits with two seeds."""
    folder = tmp_path_factory.mktemp("study")
    study(folder, parts=("digits",), seeds=(1, 2), passes=1)
    return folder


def test_every_network_is_kept_with_its_masters(folder: Path) -> None:
    runs = json.loads((folder / "runs.json").read_text())
    assert [(r["dataset"], r["title"], r["seed"]) for r in runs] == [
        ("digits", "R8", 1),
        ("digits", "R8", 2),
    ]
    test = load_split("digits", "test", 4)
    for run in runs:
        network = Network.load(folder / f"digits-R8-{run['seed']}.npz")
        accuracy, activity = evaluate(network, test)
        assert run["digest"] == network.digest
        assert run["test"] == [accuracy.hits, accuracy.n]
        assert run["activity"] == json.loads(json.dumps(activity.to_dict()))
        masters = Masters.load(masters_path(folder / f"digits-R8-{run['seed']}.npz"), network)
        assert run["passes"] == [[1433, masters.learned]]
        assert run["curve"][-1]["hits"] == accuracy.hits
        assert [p["samples"] for p in run["curve"]] == [0, 100, 300, 1000, 1433]
        assert (run["margin"], run["rates"]) == (1000, [4, 0])


def test_what_is_done_is_not_done_again(folder: Path) -> None:
    before, lines = (folder / "runs.json").read_bytes(), []
    runs = study(folder, parts=("digits",), seeds=(2,), passes=1, progress=lines.append)
    assert [run["seed"] for run in runs] == [2]
    assert len(lines) == 1
    assert lines[0].startswith("1/1 digits R8 seed 2: ")
    assert (folder / "runs.json").read_bytes() == before


def test_networks_as_jobs(folder: Path, tmp_path: Path) -> None:
    """The same runs and files; a job that was done is not done again."""
    plain, lines = json.loads((folder / "runs.json").read_text()), []
    for _ in range(2):
        with running(0, kept=tmp_path / "kept", progress=lines.append) as run:
            runs = study(tmp_path / "out", parts=("digits",), seeds=(1, 2), passes=1, run=run)
        assert [{**r, "seconds": 0} for r in runs] == [{**r, "seconds": 0} for r in plain]
        for file in folder.glob("*.npz"):
            other = tmp_path / "out" / file.name
            if ".masters" in file.name:
                assert other.is_file()
            else:
                assert Network.load(other).digest == Network.load(file).digest
            other.unlink()
        (tmp_path / "out" / "runs.json").unlink()  # as where the command was killed
    assert lines == [
        "networks that learn: 1 of 2, digits-R8-1",
        "networks that learn: 2 of 2, digits-R8-2",
        "2 of 2 networks that learn were done before",
    ]


def test_a_drift_has_every_way_of_learning(idx_folder: Path, tmp_path: Path) -> None:
    """MNIST's shape on 20 images."""
    runs = study(tmp_path, idx_folder, parts=("drift",), seeds=(3,), passes=1)
    assert [run["kind"] for run in runs] == ["noise"] + ["drift"] * 16
    assert len({(run["drift"], run["title"]) for run in runs[1:]}) == 16
    assert all(run["undrifted"][1] == 10 for run in runs[1:])
    lines = []
    again = study(
        tmp_path, idx_folder, parts=("drift",), seeds=(3,), passes=1, progress=lines.append
    )
    assert again == json.loads(json.dumps(runs))
    assert len(lines) == 17


def test_tables() -> None:
    base = {"kind": "noise", "dataset": "digits", "title": "R8", "sizes": [64, 64, 10]}
    base |= {"asked": {"passes": 2, "held_out": 0}, "margin": 7, "rates": [1, 2]}
    activity = {"spike_rates": [0.25], "sops": 3000.0}
    runs = [
        {
            **base,
            "seed": seed,
            "test": [340 + 2 * seed, 400],
            "passes": [[100, 50], [100, 10 * seed]],
            "curve": [{"samples": n, "number": 1, "hits": 9 + seed, "n": 20} for n in (0, 100)],
            "activity": activity,
            "seconds": 5.0,
        }
        for seed in (1, 2)
    ]
    assert accuracy_table(runs).splitlines()[2] == (
        "| digits 64-64-10 | R8 | 2 | 85.75 ± 0.35 | 1: 85.50, 2: 86.00 | 5 |"
    )
    assert activity_table(runs).splitlines()[2] == (
        "| digits, R8 | 32.5 % | 50.0 % | 15.0 % | 0.250 | 3,000 |"
    )
    assert samples_table(runs).splitlines()[2] == "| digits | 100: 52.5 |"
    tried = {**runs[0], "asked": {"passes": 2, "held_out": 9}, "title": "mu 7"}
    assert choice_table([*runs, tried]).splitlines()[2:] == ["| mu 7 | 85.50 | 7 | (1, 2) |"]
    drift = {"kind": "drift", "drift": "dead", "title": "all layers", "undrifted": [9, 10]}
    drift["drifted"] = [[5, 10], [6, 10], [7, 10]]
    assert drift_table([*runs, drift]).splitlines() == [
        "| drift | all layers |",
        "|---|---|",
        "| dead | 50.0: 60.0, 70.0 (90.0) |",
    ]


def test_cases_are_told_apart_by_their_files() -> None:
    files = [case.file for case in cases(PARTS, (1, 2, 3, 4, 5))]
    assert len(files) == len(set(files))
    assert "mnist-R8-1" in files
    assert "digits-R8-48-32-5" in files


def test_the_command(folder: Path, capsys) -> None:
    arguments = ["--parts", "digits", "--seeds", "1,2", "--passes", "1", "--out", str(folder)]
    assert main(["study", "learning", *arguments]) == 0
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 2
    assert "| digits 64-64-10 | R8 | 1 | " in told.out
    for name in ("learning-samples.png", "learning-curve.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--parts", "digits,cats", "Part must be one of digits, "),
        ("--seeds", "0", "Seeds must be positive numbers joined by commas, not '0'"),
        ("--passes", "0", "Passes must be a positive number, not 0"),
    ],
)
def test_faults_are_one_sentence(tmp_path, capsys, option: str, value: str, sentence: str) -> None:
    assert main(["study", "learning", option, value, "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"sterna: {sentence}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ['{"a": 1}', "no", '[{"kind": "noise"}]', '[{"kind": "drift"}]'])
def test_a_foreign_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "runs.json").write_text(text)
    with pytest.raises(SternaError, match="holds no runs of a study: remove it"):
        study(tmp_path, parts=("digits",), passes=1)
    assert (tmp_path / "runs.json").read_text() == text
