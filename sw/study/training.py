"""`sterna study training`: binary, ternary and trainable ternary spikes side by side.

Every network of the grid is trained from scratch, once in float and from there once per width of
the weights on its integers, and evaluated on the whole test set by its golden model. What is done
is kept in `runs.json`: a study that was interrupted continues where it stopped.
"""

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from hw.contract.checks import SternaError
from hw.contract.files import write_json
from hw.contract.text import markdown
from hw.system.jobs import InTurn, Jobs, Result, RunJobs
from hw.system.process import fills_folder
from hw.system.progress import Progress, silent
from sw.data.dataset import load_split
from sw.data.evaluate import evaluate
from sw.learn.plan import dense_chain
from sw.learn.quantize import check_weight_bits
from sw.learn.recipes import VARIANTS, Phase, Recipe, variant
from sw.learn.train import train_widths
from sw.study.plots import write_png

__all__ = ["Grid", "accuracy_table", "activity_table", "study"]

Run = dict[str, Any]
Job = tuple[Recipe, str, int, tuple[int, ...]]
"""Recipe, variant, seed, widths."""

SHIFTS = {"digits": 0, "mnist": 1, "fashion-mnist": 0}
"""Pixels by which training images are moved: what helps on the validation images."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What is trained: every combination.

    Parameters
    ----------
    datasets, hidden, steps, seeds, weight_bits
        Data sets; hidden layer sizes of one network each; T; seeds; widths of the weights.
    float_epochs, integer_epochs
        Of the two phases.
    """

    datasets: tuple[str, ...] = ("mnist", "fashion-mnist")
    hidden: tuple[int, ...] = (128, 512)
    steps: tuple[int, ...] = (1, 2, 4, 8)
    seeds: tuple[int, ...] = (1, 2, 3)
    weight_bits: tuple[int, ...] = (8, 4, 2)
    float_epochs: int = 8
    integer_epochs: int = 3

    def recipes(self) -> Iterable[tuple[Recipe, str, int]]:
        """(recipe, variant, seed), the quick ones first."""
        every = product(self.steps, self.hidden, self.datasets, self.seeds, VARIANTS)
        for steps, hidden, dataset, seed, kind in every:
            yield variant(self._recipe(dataset, hidden, steps), kind), kind, seed

    def check(self) -> None:
        """Refuse widths that no network has.

        Raises
        ------
        QuantizeError
            For the first of them.
        """
        for bits in self.weight_bits:
            check_weight_bits(bits)

    def _recipe(self, dataset: str, hidden: int, steps: int) -> Recipe:
        digits = dataset == "digits"
        return Recipe(
            name=f"{dataset}-{hidden}-{steps}".replace("-", "_"),
            dataset=dataset,
            layers=dense_chain((hidden,), 10),
            steps=steps,
            float_phase=Phase(epochs=self.float_epochs, rate=5e-3, weight_decay=2e-2),
            integer_phase=Phase(epochs=self.integer_epochs, rate=1e-2),
            batch=64 if digits else 256,
            validation=143 if digits else 5000,
            max_shift=SHIFTS.get(dataset, 0),
        )


@fills_folder
def study(
    grid: Grid,
    folder: Path,
    data: str | os.PathLike[str] | None = None,
    *,
    compiled: bool | None = None,
    run: RunJobs | None = None,
    progress: Progress = silent,
) -> list[Run]:
    """Train the grid; `runs.json` in `folder` after every network.

    Parameters
    ----------
    grid, folder
        What to train; where results are kept.
    data
        Where the data sets lie (`load_split`).
    compiled
        Neurons through torch.compile; None: where there is a C++ compiler.
    run
        Who trains, each network a job, with one thread; None: one after the other.

    Returns
    -------
    list
        Per run: dataset, hidden, steps, variant, seed, weight_bits, epochs; test accuracy, and by
        phase that on the validation images, as [hits, n]; activity (`sw.data.evaluate.Activity`),
        the trained amplitude, seconds of its float training and all its widths, machine.

    Raises
    ------
    SternaError
        When data are missing, training diverges or `runs.json` is not ours.
    """
    wanted = list(grid.recipes())
    grid.check()
    path = folder / "runs.json"
    runs = _known_runs(path)
    have = {_key(run) for run in runs}
    todo = [
        (recipe, kind, seed, widths)
        for recipe, kind, seed in wanted
        if (
            widths := tuple(
                w for w in grid.weight_bits if _key(_facts(recipe, kind, seed, w)) not in have
            )
        )
    ]
    progress(f"{len(wanted) - len(todo)} of {len(wanted)} networks are done")
    if todo:
        for dataset, split in product(grid.datasets, ("train", "test")):
            load_split(dataset, split, 4, data)  # before hours of work
        _work(todo, runs, path, data, compiled, run or InTurn(progress), progress)
    chosen = {
        _key(_facts(recipe, kind, seed, w))
        for recipe, kind, seed in wanted
        for w in grid.weight_bits
    }
    return [run for run in runs if _key(run) in chosen]


def _work(
    todo: Sequence[Job],
    runs: list[Run],
    path: Path,
    data: Any,
    compiled: bool | None,
    run: RunJobs,
    progress: Progress,
) -> None:
    """Do all jobs; `runs`, and the file, have each result as it comes."""
    if compiled is None:
        compiled = shutil.which(os.environ.get("CXX", "g++")) is not None
        if not compiled:
            progress("no C++ compiler: neurons are not compiled, which takes three times as long")
    started, done = time.monotonic(), 0
    calls = {
        f"{recipe.dataset} {recipe.hidden[0]} T={recipe.steps} {kind} seed {seed}": {
            "recipe": recipe.to_dict(),
            "kind": kind,
            "seed": seed,
            "widths": list(widths),
            "data": None if data is None else str(data),
            "compiled": compiled,
        }
        for recipe, kind, seed, widths in todo
    }

    def keep(name: str, result: Result) -> None:
        nonlocal runs, done
        runs += result["runs"]
        write_json(path, runs)
        done += 1
        last, spent = runs[-1], time.monotonic() - started
        hits, images = last["test"]
        progress(
            f"  {name}: {100 * hits / images:.2f} % with "
            f"{last['weight_bits']}-bit weights; {spent:.0f} s, "
            f"{spent / done * (len(calls) - done):.0f} s to go"
        )

    run(Jobs("networks trained", train_job, calls, each=keep))


KEY = ("dataset", "hidden", "steps", "variant", "seed", "weight_bits", "epochs")


def _key(run: Run) -> str:
    return json.dumps([run[name] for name in KEY])


def _known_runs(path: Path) -> list[Run]:
    try:
        runs = json.loads(path.read_text())
        if not isinstance(runs, list):
            raise ValueError
        for run in runs:  # whatever the tables will want of it
            _key(run)
            _accuracy([run])
            _activity([run])
            float(run["seconds"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError):
        raise SternaError(f"File {path} holds no runs of a study: remove it") from None
    return runs


def _facts(recipe: Recipe, kind: str, seed: int, bits: int) -> Run:
    return {
        "dataset": recipe.dataset,
        "hidden": recipe.hidden[0],
        "steps": recipe.steps,
        "variant": kind,
        "seed": seed,
        "weight_bits": bits,
        "epochs": [recipe.float_phase.epochs, recipe.integer_phase.epochs],
    }


def train_job(
    recipe: dict[str, Any],
    kind: str,
    seed: int,
    widths: Sequence[int],
    data: str | None,
    compiled: bool,
) -> Result:
    """A job: one network with all its widths."""
    return {"runs": _train(Recipe.from_dict(recipe), kind, seed, widths, data, compiled)}


def _train(
    recipe: Recipe, kind: str, seed: int, widths: Sequence[int], data: Any, compiled: bool
) -> list[Run]:
    started, runs = time.monotonic(), []
    test = load_split(recipe.dataset, "test", recipe.pixel_bits, data)
    checkpoints = train_widths(recipe, widths, data, seed=seed, compiled=compiled, progress=silent)
    for bits, checkpoint in zip(widths, checkpoints, strict=True):
        accuracy, activity = evaluate(checkpoint.integer_network().to_network(), test)
        facts = _facts(replace(recipe, weight_bits=bits), kind, seed, bits)
        facts["test"] = [accuracy.hits, accuracy.n]
        facts["validation"] = {
            phase: [figures["validation_hits"], figures["validation_n"]]
            for phase, figures in checkpoint.trained.items()
        }
        facts["activity"] = activity.to_dict()
        facts["amplitude"] = round(float(checkpoint.float_state["layers.0.neuron.amplitude"]), 3)
        runs.append(facts)
    for facts in runs:
        facts["seconds"] = round(time.monotonic() - started, 1)
        facts["machine"] = platform.machine()
    return runs


def _cells(
    runs: Sequence[Run], steps: Sequence[int], text_of: Callable[[list[Run]], str], **chosen: Any
) -> list[str]:
    cells = (_select(runs, steps=t, **chosen) for t in steps)
    return [text_of(cell) if cell else "-" for cell in cells]


def _select(runs: Sequence[Run], **chosen: Any) -> list[Run]:
    return [run for run in runs if all(run[name] == value for name, value in chosen.items())]


def _shares(cell: list[Run]) -> list[float]:
    """Test accuracies in %."""
    return [100 * run["test"][0] / run["test"][1] for run in cell]


def _accuracy(cell: list[Run]) -> str:
    shares = _shares(cell)
    spread = f" ± {stdev(shares):.2f}" if len(shares) > 1 else ""
    return f"{mean(shares):.2f}{spread}"


def _mean(cell: list[Run], pick: Callable[[dict[str, Any]], float]) -> float:
    return mean(pick(run["activity"]) for run in cell)


def _activity(cell: list[Run]) -> str:
    rate = _mean(cell, lambda a: a["spike_rates"][0])
    events, sops = (_mean(cell, lambda a, name=name: a[name]) for name in ("events", "sops"))
    return f"{rate:.3f}, {events:,.0f}, {sops:,.0f}"


def _values(runs: Sequence[Run], name: str) -> list[Any]:
    return sorted({run[name] for run in runs})


def accuracy_table(runs: Sequence[Run]) -> str:
    """Markdown: a table per network, a row per width and kind of spikes, a column per T; test
    accuracy in %, mean and standard deviation over the seeds."""
    return _tables(runs, _accuracy, _values(runs, "weight_bits")[::-1])


def activity_table(runs: Sequence[Run], weight_bits: int = 4) -> str:
    """Markdown, of one width: spikes per neuron and step, events and synaptic operations per
    image."""
    return _tables(runs, _activity, [weight_bits])


def _tables(runs: Sequence[Run], text_of: Callable[[list[Run]], str], widths: Sequence[int]) -> str:
    steps, tables = _values(runs, "steps"), []
    for dataset, hidden in product(_values(runs, "dataset"), _values(runs, "hidden")):
        one = {"dataset": dataset, "hidden": hidden}
        head = [f"{dataset}, {hidden} hidden neurons", *(f"T = {t}" for t in steps)]
        rows = [
            [
                f"{kind}, {bits}-bit weights",
                *_cells(runs, steps, text_of, weight_bits=bits, variant=kind, **one),
            ]
            for bits, kind in product(widths, VARIANTS)
        ]
        tables.append(markdown(head, rows))
    return "\n\n".join(tables)


def plot(runs: Sequence[Run], folder: Path, weight_bits: int = 4) -> None:
    """`accuracy.png`: accuracy against T, a panel per network, a line per kind."""
    from matplotlib.figure import Figure

    nets = list(product(_values(runs, "dataset"), _values(runs, "hidden")))
    steps = _values(runs, "steps")
    figure = Figure(figsize=(4 * len(nets), 3.6), dpi=90, layout="tight")
    panels = figure.subplots(1, len(nets), squeeze=False)[0]
    for axes, (dataset, hidden) in zip(panels, nets, strict=True):
        for kind in VARIANTS:
            shares = [
                _shares(
                    _select(
                        runs,
                        dataset=dataset,
                        hidden=hidden,
                        variant=kind,
                        steps=t,
                        weight_bits=weight_bits,
                    )
                )
                for t in steps
            ]
            spread = [stdev(cell) if len(cell) > 1 else 0.0 for cell in shares]
            axes.errorbar(steps, list(map(mean, shares)), spread, marker="o", capsize=3, label=kind)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set(
            xlabel="time steps T",
            ylabel="accuracy, %",
            title=f"{dataset}, {hidden} hidden, {weight_bits}-bit weights",
        )
        axes.grid(alpha=0.3)
        axes.legend()
    write_png(folder / "accuracy.png", figure)
