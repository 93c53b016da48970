"""Binary, ternary and trainable spikes side by side: runs are what single trainings give."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hw.contract.checks import SternaError
from hw.system.progress import silent
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.data.evaluate import evaluate
from sw.learn.fold import fold
from sw.learn.neuron import TernaryLIF, compile_neurons, compiled_law, lif_step
from sw.learn.quantize import quantize
from sw.learn.recipes import VARIANTS, RecipeError, find_recipe, variant
from sw.learn.train import train_widths
from sw.spread.runner import running
from sw.study.training import Grid, accuracy_table, activity_table, study

GRID = Grid(
    datasets=("digits",),
    hidden=(24,),
    steps=(1, 2),
    seeds=(1, 2),
    weight_bits=(4, 2),
    float_epochs=1,
    integer_epochs=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A study of two processes, as it leaves its files."""
    folder = tmp_path_factory.mktemp("study")
    with running(2) as run:
        study(GRID, folder, compiled=False, run=run)
    return folder


def test_every_combination_once(folder: Path) -> None:
    runs = json.loads((folder / "runs.json").read_text())
    found = {(r["steps"], r["seed"], r["variant"], r["weight_bits"]) for r in runs}
    assert len(runs) == len(found) == 2 * 2 * 3 * 2


def test_a_run_is_the_training_of_its_recipe(folder: Path) -> None:
    runs = json.loads((folder / "runs.json").read_text())
    run = next(
        r
        for r in runs
        if (r["steps"], r["seed"], r["variant"], r["weight_bits"]) == (2, 2, "trainable", 2)
    )
    recipe = next(
        recipe
        for recipe, kind, seed in GRID.recipes()
        if (recipe.steps, seed, kind) == (2, 2, "trainable")
    )
    *_, checkpoint = train_widths(recipe, (4, 2), seed=2, progress=silent)
    accuracy, activity = evaluate(
        checkpoint.integer_network().to_network(), load_split("digits", "test", 4)
    )
    assert run["test"] == [accuracy.hits, accuracy.n]
    assert run["activity"] == json.loads(json.dumps(activity.to_dict()))
    assert run["epochs"] == [1, 1]


def test_one_after_the_other(folder: Path, tmp_path: Path) -> None:
    """The same, here."""
    few, lines = replace(GRID, steps=(1,), seeds=(2,)), []
    runs = study(few, tmp_path, compiled=False, progress=lines.append)
    key = ("variant", "steps", "seed", "weight_bits")

    def without_times(runs: list[dict]) -> list[dict]:
        found = [{**run, "seconds": 0} for run in runs]
        return sorted(found, key=lambda run: [run[name] for name in key])

    every = json.loads((folder / "runs.json").read_text())
    same = [run for run in every if (run["steps"], run["seed"]) == (1, 2)]
    assert without_times(json.loads(json.dumps(runs))) == without_times(same)
    assert len([line for line in lines if line.startswith("  digits 24 T=1 ")]) == 3


def test_what_is_done_is_not_done_again(folder: Path) -> None:
    before, lines = (folder / "runs.json").read_bytes(), []
    more = replace(GRID, weight_bits=(4,), seeds=(1,))
    runs = study(more, folder, compiled=False, progress=lines.append)
    assert len(runs) == 2 * 3
    assert lines == ["6 of 6 networks are done"]
    assert (folder / "runs.json").read_bytes() == before


def test_tables_are_means_over_the_seeds(folder: Path) -> None:
    runs = json.loads((folder / "runs.json").read_text())
    for run in runs:
        run["test"] = [340 + 2 * run["seed"], 400]
        run["activity"] = {"spike_rates": [0.25], "events": 1200.0 + run["seed"], "sops": 3000.0}
    cell = "85.75 ± 0.35"
    lines = accuracy_table(runs).splitlines()
    assert lines[0] == "| digits, 24 hidden neurons | T = 1 | T = 2 |"
    assert lines[2] == f"| binary, 4-bit weights | {cell} | {cell} |"
    assert len(lines) == 2 + 2 * 3
    table = activity_table(runs, 2).splitlines()
    assert table[4] == "| trainable, 2-bit weights " + "| 0.250, 1,202, 3,000 " * 2 + "|"


def test_the_command(folder: Path, capsys) -> None:
    arguments = [
        "study",
        "training",
        "--dataset",
        "digits",
        "--hidden",
        "24",
        "--steps",
        "1,2",
        "--seeds",
        "1,2",
        "--weight-bits",
        "4,2",
        "--float-epochs",
        "1",
        "--integer-epochs",
        "1",
        "--out",
        str(folder),
    ]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert told.err == "12 of 12 networks are done\n"
    assert "| ternary, 2-bit weights | " in told.out
    assert (folder / "accuracy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--hidden", "0", "Hidden neurons must be positive numbers joined by commas, not '0'"),
        ("--steps", "1,x", "Time steps must be positive numbers joined by commas, not '1,x'"),
        ("--dataset", "cats", "Data set must be one of"),
        ("--float-epochs", "0", "Epochs must be a positive integer, not 0"),
        ("--weight-bits", "17", "Weight width must be an integer from 2 to 16, not 17"),
        ("--processes", "-1", "Processes must be a number of at least 0, not -1"),
    ],
)
def test_faults_are_one_sentence(tmp_path, capsys, option: str, value: str, sentence: str) -> None:
    arguments = ["study", "training", "--dataset", "digits", option, value, "--out", str(tmp_path)]
    assert main(arguments) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"sterna: {sentence}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ['{"a": 1}', "{}", "no", '[{"dataset": "digits"}]'])
def test_a_foreign_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "runs.json").write_text(text)
    with pytest.raises(SternaError, match="holds no runs of a study: remove it"):
        study(GRID, tmp_path)
    assert (tmp_path / "runs.json").read_text() == text


def test_variants() -> None:
    recipe = find_recipe("digits-dense")
    found = {name: variant(recipe, name) for name in VARIANTS}
    assert {name: (r.neuron.negative, r.train_amplitude) for name, r in found.items()} == {
        "binary": ("off", False),
        "ternary": ("free", False),
        "trainable": ("free", True),
    }
    with pytest.raises(RecipeError, match="Variant must be one of"):
        variant(recipe, "quaternary")


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # torch warns of its own insides
def test_compiled_neurons_are_the_same_neurons(lived_network, pixels) -> None:
    """Integers to the last bit; gradients but for it."""
    found, folded = [], fold(lived_network((12, 9, 4), steps=2))
    for compiled in (False, True):
        network = quantize(folded, name="tiny", weight_bits=4, pixel_bits=4)
        if compiled:
            compile_neurons(network)
            law = next(m.law for m in network.modules() if isinstance(m, TernaryLIF))
            assert law is compiled_law() is not lif_step
        activity = network(pixels)
        activity.logits.square().sum().backward()
        found.append(
            (
                [*activity.spikes, *activity.potentials, activity.logits],
                [p.grad for p in network.parameters()],
            )
        )
    (values, gradients), (compiled_values, compiled_gradients) = found
    assert all(torch.equal(a, b) for a, b in zip(values, compiled_values, strict=True))
    for a, b in zip(gradients, compiled_gradients, strict=True):
        assert a is not None
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(a.abs().max()))
