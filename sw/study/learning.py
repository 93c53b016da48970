"""`sterna study learning`: what networks learn by SPIDE in integers, sample by sample.

By the quick twin of the golden model (`sw.spide.twin`), which is equal on every value. What is done
is kept in `runs.json`, and the networks beside it: a study that was interrupted continues where it
stopped.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from hw.contract.checks import SternaError
from hw.contract.files import write_json
from hw.contract.network import Network
from hw.contract.text import markdown, none_of
from hw.learn.masters import Masters, masters_path
from hw.system.jobs import InTurn, Jobs, Result, RunJobs
from hw.system.process import fills_folder
from hw.system.progress import Progress, silent, under_way
from sw.data.dataset import load_split
from sw.data.evaluate import evaluate
from sw.data.shipped import model_path
from sw.data.split import Split
from sw.spide.drift import DRIFTS, drifted, quantised
from sw.spide.session import Point, Schedule, run_session, split_off
from sw.spide.softmax import SoftmaxTeacher, softmax_network
from sw.spide.start import PRESETS, readout_learning, readout_masters
from sw.spide.twin import FastLearner
from sw.study.plots import write_png

__all__ = [
    "PARTS",
    "accuracy_table",
    "activity_table",
    "choice_table",
    "drift_table",
    "plot",
    "samples_table",
    "study",
]

Run = dict[str, Any]

LOOKS = (100, 300, 1000, 3000, 10_000, 20_000, 40_000)
"""Samples after which the test images are classified, besides at each pass's end."""

ADAPTED = (100, 300, 1000, 3000)
"""Drifted samples, each seen once, after which they are."""

HELD_OUT = 10_000
"""Training images of MNIST that settings are chosen by, the last ones."""

LOSS_BITS = 4
"""Of an error that a softmax gives, besides its sign."""

LOSS = 1.0
"""Its temperature in margins, unless others are tried."""

PARTS = ("digits", "loss", "mnist", "drift", "fashion-mnist", "variants", "choice")
SHORT = {"steps": 4, "steps_back": 8}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network that learns from noise.

    Parameters
    ----------
    dataset, title, seed
        What tells it from others.
    changes
        Arguments of `noise_network` that are not the preset's.
    passes, drops
        None: the preset's.
    held_out
        Training images to judge it by, in place of the test images; 0: none.
    loss
        The error is given, that of a softmax of logits / (loss * mu) (`sw.spide.softmax`); None:
        the judge's.
    """

    dataset: str
    title: str
    seed: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    passes: int | None = None
    drops: tuple[int, ...] | None = None
    held_out: int = 0
    loss: float | None = None

    @property
    def file(self) -> str:
        """Name of its network file, without ending."""
        words = f"{self.dataset} {self.title} {self.seed}".replace(",", "").replace("=", "")
        return "-".join(words.split())


def cases(parts: Sequence[str], seeds: Sequence[int]) -> Iterator[Case]:
    """Of the parts of the study, the quick ones first."""
    for part_name in PARTS:
        if part_name not in parts:
            continue
        if part_name in ("digits", "mnist"):
            for seed in seeds:
                yield Case(dataset=part_name, title="R8", seed=seed)
        elif part_name == "fashion-mnist":
            yield Case(dataset=part_name, title="R8", seed=seeds[0])
        elif part_name == "variants":
            yield from _variants(seeds)
        elif part_name == "loss":
            yield from _losses(seeds)
        elif part_name == "choice":
            yield from _choices(seeds[0])


def _variants(seeds: Sequence[int]) -> Iterator[Case]:
    digits: list[tuple[str, Run]] = [
        ("R4", SHORT),
        ("R8, feedback", {"feedback": True}),
        ("R8, 48-32", {"hidden": (48, 32)}),
        ("R8, 6 bits", {"weight_bits": 6}),
    ]
    large: list[tuple[str, Run]] = [
        ("R8, 6 bits", {"weight_bits": 6}),
        ("R4, feedback", {**SHORT, "feedback": True}),
        ("R8, 128-64", {"hidden": (128, 64)}),
        ("R8, 256", {"hidden": (256,)}),
    ]
    for title, changes in digits:
        for seed in seeds:
            yield Case(dataset="digits", title=title, seed=seed, changes=changes)
    for seed in seeds[:3]:
        yield Case(dataset="mnist", title="R4", seed=seed, changes=SHORT)
    for title, changes in large:
        yield Case(dataset="mnist", title=title, seed=seeds[0], changes=changes)


def _losses(seeds: Sequence[int]) -> Iterator[Case]:
    """The paper's loss: its temperature, judged by training images that are not learned from, then
    the test images."""
    for loss in (0.25, 0.5, 1.0, 2.0):
        yield Case(
            dataset="digits",
            title=f"digits, softmax, temperature {loss:g} mu",
            seed=seeds[0],
            held_out=PRESETS["digits"].held_out,
            loss=loss,
        )
    for seed in seeds:
        yield Case(dataset="digits", title="R8, softmax", seed=seed, loss=LOSS)
    yield Case(dataset="mnist", title="R8, softmax", seed=seeds[0], loss=LOSS)


def _choices(seed: int) -> Iterator[Case]:
    """Margins and rates for MNIST, judged by training images that are not learned from."""
    tried: list[tuple[str, Run]] = [
        (f"mu {margin}", {"margin": margin}) for margin in (1000, 2000, 4000)
    ]
    tried += [
        (f"kF {first}, kC {last}", {"rates": (first, last)})
        for first, last in ((4, 0), (6, 0), (5, -1), (5, 1))
    ]
    for title, changes in tried:
        yield Case(
            dataset="mnist",
            title=title,
            seed=seed,
            changes=changes,
            passes=4,
            drops=(3, 4),
            held_out=HELD_OUT,
        )


@fills_folder
def study(
    folder: Path,
    data: str | os.PathLike[str] | None = None,
    *,
    parts: Sequence[str] = PARTS,
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    passes: int | None = None,
    run: RunJobs | None = None,
    progress: Progress = silent,
) -> list[Run]:
    """Learn; `runs.json` in `folder` after every network.

    Parameters
    ----------
    folder
        Where results and networks are kept.
    data
        Where the data sets lie (`load_split`).
    parts, seeds
        Of the study; of digits and MNIST, and the first of them of everything else.
    passes
        In place of each preset's, without rate drops: for a quick look.
    run
        Who has networks learn, each a job, but for drifts; None: one after the other.

    Returns
    -------
    list
        Per network: kind `noise`, dataset, title, seed; test (or held-out) accuracy as [hits, n],
        curve (`sw.spide.session.Point`), samples and changes of each pass, activity, rates, margin,
        seconds. Per drift: kind `drift`, title, drift, accuracy by samples.

    Raises
    ------
    SternaError
        When data are missing or `runs.json` is not ours.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise SternaError(none_of("Part", unknown[0], PARTS))
    path, run = folder / "runs.json", run or InTurn(progress)
    runs = _known_runs(path)
    wanted = [
        case if passes is None else replace(case, passes=passes, drops=())
        for case in cases(parts, seeds)
    ]

    def keep(found: Run) -> None:
        runs.append(found)
        write_json(path, runs)

    if "drift" in parts:  # the network that drifts is the first one of MNIST
        base = Case(dataset="mnist", title="R8", seed=seeds[0])
        base = base if passes is None else replace(base, passes=passes, drops=())
        wanted = [*(c for c in wanted if c.dataset != base.dataset), base] + [
            c for c in wanted if c.dataset == base.dataset and c.file != base.file
        ]
    files = {case.file: case for case in wanted}
    found = {file: of_it for file, case in files.items() if (of_it := _known(case, runs))}
    for n, file in enumerate(found, 1):
        progress(f"{n}/{len(files)} {_told(files[file], found[file])}")

    def learned(file: str, result: Result) -> None:
        found[file] = result
        keep(result)
        progress(f"{len(found)}/{len(files)} {_told(files[file], result)}")

    place = None if data is None else str(data)
    calls = {
        file: {"case": vars(case), "data": place}
        for file, case in files.items()
        if file not in found
    }
    own = dict.fromkeys(calls, folder)
    run(Jobs("networks that learn", learn_job, calls, each=learned, folders=own))
    chosen = [found[file] for file in files]
    if "drift" in parts:
        chosen += _drifts(f"mnist-R8-{seeds[0]}", folder, data, runs, keep, progress)
    return chosen


def _asked(case: Case) -> Run:
    """What a run must have been told to be the same run, as JSON gives it back."""
    preset = PRESETS[case.dataset]
    asked = {
        "passes": preset.passes if case.passes is None else case.passes,
        "drops": list(preset.drops if case.drops is None else case.drops),
        "held_out": case.held_out,
        "changes": dict(case.changes),
        **({} if case.loss is None else {"loss": case.loss}),
    }
    return json.loads(json.dumps(asked))


def _find(runs: Sequence[Run], **chosen: Any) -> list[Run]:
    return [run for run in runs if all(run.get(name) == v for name, v in chosen.items())]


def _known(case: Case, runs: Sequence[Run]) -> Run | None:
    """The run of a case, if there is one."""
    known = _find(runs, kind="noise", dataset=case.dataset, title=case.title, seed=case.seed)
    return next((run for run in known if run["asked"] == _asked(case)), None)


def _told(case: Case, run: Run) -> str:
    hits, n = run["test"]
    of = f"{case.dataset} {case.title} seed {case.seed}"
    return f"{of}: {100 * hits / n:.2f} %, {run['seconds']:.0f} s"


def _known_runs(path: Path) -> list[Run]:
    try:
        runs = json.loads(path.read_text())
        if not isinstance(runs, list):
            raise ValueError
        for run in runs:  # whatever the tables will want of it
            if run["kind"] == "noise":
                for table in (accuracy_table, activity_table, samples_table):
                    table([run])
            else:
                drift_table([run])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError):
        raise SternaError(f"File {path} holds no runs of a study: remove it") from None
    return runs


def learn_job(
    case: Mapping[str, Any], data: str | None, folder: Path, progress: Progress = silent
) -> Result:
    """A job: the run of one network that learns; it is saved in the folder, with its masters."""
    return _learn(Case(**case), data, folder, progress)


def _learn(case: Case, data: Any, folder: Path, progress: Progress) -> Run:
    started, preset = time.monotonic(), PRESETS[case.dataset]
    network = preset.network(case.seed, **case.changes)
    spec = network.spec
    train = load_split(case.dataset, "train", spec.input_bits, data)
    judged = load_split(case.dataset, "test", spec.input_bits, data)
    if case.held_out:
        train, judged = split_off(train, case.held_out)
    learner: FastLearner | SoftmaxTeacher
    asked = _asked(case)
    if case.loss is None:
        learner = FastLearner(Masters.of(network))
    else:
        assert spec.learning is not None
        network = softmax_network(network, LOSS_BITS)
        learner = SoftmaxTeacher(Masters.of(network), case.loss * spec.learning.margin)
        spec = network.spec
    schedule = Schedule(
        passes=asked["passes"], drops=tuple(asked["drops"]), seed=case.seed, at=LOOKS
    )

    def told(point: Point) -> None:
        progress(
            f"  pass {point.number}, {point.samples:,} samples: {100 * point.share:.2f} %, "
            f"{time.monotonic() - started:.0f} s"
        )

    session = run_session(learner, train, judged, schedule, told)
    if session.interrupted:
        raise KeyboardInterrupt
    made = learner.masters.working()
    learner.masters.save(masters_path(made.save(folder / f"{case.file}.npz")))
    accuracy, activity = evaluate(made, judged)
    assert spec.learning is not None
    return {
        "kind": "noise",
        "dataset": case.dataset,
        "title": case.title,
        "seed": case.seed,
        "asked": asked,
        "sizes": [spec.input_size, *(layer.neurons for layer in spec.layers)],
        "test": [accuracy.hits, accuracy.n],
        "curve": session.to_dict()["points"],
        "passes": session.to_dict()["passes"],
        "activity": activity.to_dict(),
        "margin": spec.learning.margin,
        "rates": list(spec.learning.rates),
        "digest": made.digest,
        "seconds": round(session.seconds, 1),
    }


def _drifts(
    name: str,
    folder: Path,
    data: Any,
    runs: Sequence[Run],
    keep: Callable[[Run], None],
    progress: Progress,
) -> list[Run]:
    """Each drift, by each way of learning."""
    base = Network.load(folder / f"{name}.npz")
    known = Masters.load(masters_path(folder / f"{name}.npz"), base)
    shipped = readout_learning(Network.load(model_path("mnist-dense")))
    ways: list[tuple[str, Callable[[], Masters], int]] = [
        ("all layers", lambda: replace(known), 0),
        ("all layers, rates / 4", lambda: replace(known), 2),
        ("readout only", lambda: readout_masters(known), 0),
        ("readout of `mnist-dense`", lambda: Masters.of(shipped), 0),
    ]
    train, test = (load_split("mnist", split, 8, data) for split in ("train", "test"))
    found: list[Run] = []
    with under_way(progress, "drifts", total=len(DRIFTS) * len(ways)) as at:
        for kind, (title, start, slower) in product(DRIFTS, ways):
            of_it = _find(runs, kind="drift", drift=kind, title=title, base=base.digest)
            if not of_it:
                of_it = [_adapt(start(), kind, train, test, slower)]
                of_it[0] |= {"title": title, "base": base.digest}
                keep(of_it[0])
            found += of_it[:1]
            shares = " ".join(f"{100 * hits / n:.1f}" for hits, n in found[-1]["drifted"])
            progress(f"{kind}, {title}: {shares}")
            at(len(found))
    return found


def _adapt(masters: Masters, kind: str, train: Split, test: Split, slower: int) -> Run:
    bits = masters.spec.input_bits
    learner = FastLearner(masters)
    learner.rates = [k + slower for k in learner.rates]
    schedule = Schedule(samples=ADAPTED[-1], at=ADAPTED)
    # The samples are those of the session's first pass: others need not be drifted.
    samples, drifted_test = drifted(train, kind, bits), drifted(test, kind, bits)
    session = run_session(learner, samples, drifted_test, schedule)
    if session.interrupted:
        raise KeyboardInterrupt
    plain = quantised(test, bits)
    kept = int((learner.classify(plain.images) == plain.labels).sum())
    return {
        "kind": "drift",
        "drift": kind,
        "drifted": [[point.hits, point.n] for point in session.points],
        "undrifted": [kept, len(plain)],
        "learned": session.learned,
        "seconds": round(session.seconds, 1),
    }


def _groups(runs: Sequence[Run], *, held_out: bool) -> list[list[Run]]:
    """Networks that differ in their seed alone."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run["kind"] == "noise" and bool(run["asked"]["held_out"]) == held_out:
            found.setdefault((run["dataset"], run["title"]), []).append(run)
    return list(found.values())


def _shares(runs: Sequence[Run]) -> list[float]:
    return [100 * run["test"][0] / run["test"][1] for run in runs]


def _spread(shares: Sequence[float]) -> str:
    return f"{mean(shares):.2f}" + (f" ± {stdev(shares):.2f}" if len(shares) > 1 else "")


def accuracy_table(runs: Sequence[Run]) -> str:
    """Markdown: test accuracy in %, mean and standard deviation over the seeds, and each seed's."""
    rows = []
    for group in _groups(runs, held_out=False):
        run = group[0]
        rows.append(
            [
                f"{run['dataset']} {'-'.join(map(str, run['sizes']))}",
                run["title"],
                str(run["asked"]["passes"]),
                _spread(_shares(group)),
                ", ".join(
                    f"{r['seed']}: {s:.2f}" for r, s in zip(group, _shares(group), strict=True)
                ),
                f"{mean(r['seconds'] for r in group):,.0f}",
            ]
        )
    return markdown(["network", "", "passes", "test, %", "by seed", "seconds a run"], rows)


def activity_table(runs: Sequence[Run]) -> str:
    """Markdown: share of the samples that changed anything, by pass; how often neurons fire."""
    rows = []
    for group in _groups(runs, held_out=False):
        passes = [[learned / seen for seen, learned in run["passes"]] for run in group]
        each = [mean(shares) for shares in zip(*passes, strict=True)]
        learned, seen = (sum(sum(p[k] for p in run["passes"]) for run in group) for k in (1, 0))
        rates = [
            mean(values)
            for values in zip(*(run["activity"]["spike_rates"] for run in group), strict=True)
        ]
        rows.append(
            [
                f"{group[0]['dataset']}, {group[0]['title']}",
                f"{100 * learned / seen:.1f} %",
                f"{100 * each[0]:.1f} %",
                f"{100 * each[-1]:.1f} %",
                ", ".join(f"{rate:.3f}" for rate in rates),
                f"{mean(run['activity']['sops'] for run in group):,.0f}",
            ]
        )
    head = ["", "learned", "first pass", "last pass", "spikes per neuron and step", "SOPs an image"]
    return markdown(head, rows)


def samples_table(runs: Sequence[Run]) -> str:
    """Markdown: test accuracy in % after so many samples, mean over the seeds."""
    groups = [group for group in _groups(runs, held_out=False) if group[0]["title"] == "R8"]
    rows = []
    for group in groups:
        points = {
            p["samples"]: [
                100 * q["hits"] / q["n"]
                for run in group
                for q in run["curve"]
                if q["samples"] == p["samples"]
            ]
            for p in group[0]["curve"]
            if p["samples"] in LOOKS or (p["number"] == 1 and p["samples"])
        }
        text = ", ".join(f"{n:,}: {mean(shares):.1f}" for n, shares in points.items())
        rows.append([group[0]["dataset"], text])
    return markdown(["", "samples: test, %"], rows)


def choice_table(runs: Sequence[Run]) -> str:
    """Markdown: accuracy in % on held-out training images, by setting."""
    rows = [
        [run["title"], f"{_shares([run])[0]:.2f}", str(run["margin"]), str(tuple(run["rates"]))]
        for group in _groups(runs, held_out=True)
        for run in group
    ]
    return markdown(["", "held-out, %", "mu", "k"], rows)


def drift_table(runs: Sequence[Run]) -> str:
    """Markdown: accuracy in % on drifted test images before, and after 100, 300, 1,000 and 3,000
    drifted samples; in brackets on undrifted ones at the end."""
    found = [run for run in runs if run["kind"] == "drift"]
    titles, kinds = (list(dict.fromkeys(run[name] for run in found)) for name in ("title", "drift"))

    def cell(run: Run) -> str:
        before, *after = (f"{100 * hits / n:.1f}" for hits, n in run["drifted"])
        hits, n = run["undrifted"]
        return f"{before}: {', '.join(after)} ({100 * hits / n:.1f})"

    rows = []
    for kind in kinds:
        cells = (_find(found, drift=kind, title=title) for title in titles)
        rows.append([kind, *(cell(of_it[-1]) if of_it else "-" for of_it in cells)])
    return markdown(["drift", *titles], rows)


def plot(runs: Sequence[Run], folder: Path) -> list[str]:
    """`learning-samples.png`: accuracy against samples of the first pass; `learning-curve.png`:
    against all samples. A line a seed. Returns their names; none without such runs."""
    from matplotlib.figure import Figure

    groups = [group for group in _groups(runs, held_out=False) if group[0]["title"] == "R8"]
    if not groups:
        return []
    names = []
    for name, first in (("learning-samples.png", True), ("learning-curve.png", False)):
        figure = Figure(figsize=(6, 4), dpi=110, layout="tight")
        axes = figure.subplots()
        for colour, group in enumerate(groups):
            for n, run in enumerate(group):
                points = [
                    p for p in run["curve"] if p["samples"] and (p["number"] == 1 or not first)
                ]
                label = f"{run['dataset']} {'-'.join(map(str, run['sizes']))}"
                axes.plot(
                    [p["samples"] for p in points],
                    [100 * p["hits"] / p["n"] for p in points],
                    color=f"C{colour}",
                    marker=".",
                    linewidth=1,
                    alpha=0.7,
                    label=None if n else label,
                )
        axes.set_xscale("log")
        axes.set(
            xlabel="samples of the first pass" if first else "samples, all passes",
            ylabel="test accuracy, %",
            title="Learned from noise, one sample at a time",
        )
        axes.set_ylim(40 if first else 60, 100)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
        write_png(folder / name, figure)
        names.append(name)
    return names
