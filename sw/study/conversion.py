"""`sterna study conversion`: one ReLU network as IF, TerMapping and AugMapping over T.

One run of the longest T gives all shorter ones: the logits after t steps are those of a run of t.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hw.contract.checks import SternaError
from hw.contract.edge import sides_text
from hw.contract.files import write_atomically, write_json
from hw.contract.text import markdown
from hw.system.jobs import InTurn, Jobs, Result, RunJobs
from hw.system.process import fills_folder
from hw.system.progress import Progress, silent
from sim.golden.model import GoldenModel
from sw.data.split import Split
from sw.importers.conversion import Conversion, calibrate, convert
from sw.importers.convert_report import CALIBRATION_IMAGES, load_network
from sw.importers.files import network_bytes
from sw.importers.layers import AffineLayer
from sw.importers.modules import activations, read_relu
from sw.importers.relu import train_maps, train_relu
from sw.study.plots import write_png

__all__ = ["STEPS", "agreement_table", "steps_up_to", "study", "study_table", "variant_job"]

STEPS = (1, 2, 4, 8, 16, 32, 64)
VARIANTS = (
    ("IF", Conversion(mode="if", steps=STEPS[-1])),
    ("TerMapping", Conversion(mode="termapping", steps=STEPS[-1])),
    ("AugMapping, D = 1", Conversion(limit=15, steps=STEPS[-1])),
    ("AugMapping, D = 4", Conversion(limit=15, divisor=4, steps=STEPS[-1])),
    ("AugMapping, D = 8", Conversion(limit=15, divisor=8, steps=STEPS[-1])),
)
WITHIN = 0.3
"""Points within which a spiking network counts as equal to its ReLU network."""

PART = 250
"""Images that run through the ReLU network at a time."""
LEAST = 20
"""Images that run through the golden model at least: nothing of all steps is kept here."""


def steps_up_to(most: int) -> tuple[int, ...]:
    """The T of a study: powers of two.

    Raises
    ------
    SternaError
        Unless the largest is one of `STEPS`.
    """
    if most not in STEPS:
        raise SternaError(f"Most time steps must be one of {STEPS}, not {most}")
    return STEPS[: STEPS.index(most) + 1]


@fills_folder
def study(
    train: Split,
    test: Split,
    hidden: tuple[int, ...] | None,
    folder: Path,
    *,
    seed: int = 1,
    epochs: int = 12,
    steps: Sequence[int] = STEPS,
    run: RunJobs | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train, convert in every variant, run the test set; `study.json`, the network (`relu.pt`) and
    two plots in `folder`. What is there already of the same study is kept.

    Parameters
    ----------
    hidden
        Neurons of each hidden layer; None: a convolutional network (`sw.importers.relu`).
    steps
        T, in ascending order.
    run
        Who converts and runs, each variant a job; None: one after the other.

    Returns
    -------
    dict
        Accuracy (percent) of the ReLU network, and per variant, by T: accuracy, share of images
        with the ReLU network's class, events per image (hidden layers, bit planes), and each hidden
        layer's mean |rate - activation|, in units of the activation that became 1.
    """
    start, path, run = time.monotonic(), folder / "study.json", run or InTurn(progress)
    shape = train.shape if hidden is None else (train.images.shape[1],)
    trained = {
        "dataset": train.name,
        "hidden": hidden and list(hidden),
        "pixel_bits": train.bits,
        "seed": seed,
        "epochs": epochs,
        "train": train.digest,
    }
    tested = {"images": len(test), "test": test.digest, "steps": list(steps)}
    known = _known(path, trained)
    if known:
        network = load_network(folder / "relu.pt")
    elif hidden is None:
        network = train_maps(train, seed=seed, epochs=epochs, progress=progress)
    else:
        network = train_relu(train, hidden, seed=seed, epochs=epochs, progress=progress)
    layers, pixel_max = read_relu(network, shape), 2**test.bits - 1
    answers = _answers(layers, test.images, pixel_max)
    sample = train.images[:CALIBRATION_IMAGES]
    peaks = {
        percentile: calibrate(layers, sample, pixel_max, percentile)
        for percentile in {conversion.percentile for _, conversion in VARIANTS}
    }
    same = known.items() >= tested.items()
    facts: dict[str, Any] = {
        **trained,
        **tested,
        "sizes": _sizes(layers, shape),
        "relu": _percent(answers == test.labels),
        "seconds": {"training": round(time.monotonic() - start, 1), "variants": 0.0},
        "variants": {},
    }
    if known:
        facts["seconds"]["training"] = known["seconds"]["training"]
    if same:
        facts["seconds"], facts["variants"] = known["seconds"], known["variants"]
        progress(f"{len(facts['variants'])} of {len(VARIANTS)} variants are done")
    before, start = facts["seconds"]["variants"], time.monotonic()

    def keep() -> None:
        facts["seconds"]["variants"] = round(before + time.monotonic() - start, 1)
        write_json(path, facts)

    if not known:
        write_atomically(folder / "relu.pt", network_bytes(network))  # for `sterna convert`
        keep()
    sent = {
        "layers": layers,
        "peaks": peaks,
        "sample": sample,
        "images": test.images,
        "labels": test.labels,
        "bits": test.bits,
        "answers": answers,
    }

    def found(title: str, result: Result) -> None:
        variants = facts["variants"] | {title: result}
        facts["variants"] = {title: variants[title] for title, _ in VARIANTS if title in variants}
        keep()

    calls = {
        title: {"title": title, "steps": list(steps)}
        for title, _ in VARIANTS
        if title not in facts["variants"]
    }
    run(
        Jobs(
            "variants",
            variant_job,
            calls,
            shared={"sent": (_digest(layers, train, test), sent)},
            each=found,
        )
    )
    _plot(facts, folder)
    return facts


def variant_job(
    title: str, steps: Sequence[int], sent: Mapping[str, Any], progress: Progress = silent
) -> Result:
    """A job: the test images through one of `VARIANTS`; its part of what `study` returns.

    Parameters
    ----------
    sent
        `layers` of the ReLU network and its `answers`; `images` and `labels` of the test set, of
        `bits`; `sample`, training images, and by percentile the `peaks` on them.
    """
    layers, images, answers = sent["layers"], sent["images"], sent["answers"]
    progress(f"{title}: {len(images)} images, {steps[-1]} steps")
    conversion = replace(dict(VARIANTS)[title], steps=steps[-1])
    peaks = sent["peaks"][conversion.percentile]
    spiking = convert(layers, sent["sample"], sent["bits"], conversion, peaks=peaks)
    rates = RateErrors(layers, images, 2 ** sent["bits"] - 1, peaks, conversion.divisor, steps)
    golden = GoldenModel(spiking)
    logits, events = golden.over_time(images, max(LEAST, golden.batch), observe=rates.observe)
    classes = logits.argmax(axis=2)
    total = np.cumsum(np.sum(events, axis=0)) / len(images)
    return {
        "accuracy": [_percent(classes[:, t - 1] == sent["labels"]) for t in steps],
        "agreement": [_percent(classes[:, t - 1] == answers) for t in steps],
        "events": [round(float(total[t - 1]), 1) for t in steps],
        "rate_errors": [[round(e, 5) for e in rates.errors[t]] for t in steps],
    }


def _digest(layers: Sequence[AffineLayer], train: Split, test: Split) -> str:
    """SHA-256 (hex) of what all variants are made of and run on."""
    sha = hashlib.sha256(f"{train.digest} {test.digest}".encode())
    for layer in layers:
        sha.update(repr((layer.place, layer.map_shape, layer.edges)).encode())
        for tensor in (*layer.kernels, layer.bias):
            sha.update(tensor.detach().numpy().tobytes())
    return sha.hexdigest()


def _known(path: Path, trained: dict[str, Any]) -> dict[str, Any]:
    """What a study of a network that was trained so has left; empty if there is none."""
    try:
        known = json.loads(path.read_text())
        ours = known.items() >= trained.items() and {"seconds", "variants"} <= known.keys()
        return known if ours and path.with_name("relu.pt").exists() else {}
    except (AttributeError, OSError, ValueError):
        return {}


def _sizes(layers: Sequence[AffineLayer], shape: Sequence[int]) -> list[int | str]:
    """Of the input and of every layer: values of a row, or sides of maps."""
    shapes = [tuple(shape), *(layer.map_shape for layer in layers)]
    rows = [len(found) == 1 or found[1:] == (1, 1) for found in shapes]
    return [found[0] if row else sides_text(found) for found, row in zip(shapes, rows, strict=True)]


def _answers(
    layers: Sequence[AffineLayer], images: npt.NDArray[np.uint8], pixel_max: int
) -> npt.NDArray[np.int64]:
    """The ReLU network's classes."""
    parts = torch.from_numpy(images).split(PART)
    return np.concatenate(
        [activations(layers, part, pixel_max)[-1].argmax(dim=1).numpy() for part in parts]
    )


class RateErrors:
    """Mean |rate - activation| of each hidden layer after each T.

    Parameters
    ----------
    layers, images, pixel_max
        The ReLU network, and what it is run on.
    peaks, divisor
        The activation that became 1, by layer; spikes a step that stand for it.
    steps
        T.
    """

    def __init__(
        self,
        layers: Sequence[AffineLayer],
        images: npt.NDArray[np.uint8],
        pixel_max: int,
        peaks: Sequence[float],
        divisor: int,
        steps: Sequence[int],
    ) -> None:
        self._layers, self._images, self._pixel_max = layers, images, pixel_max
        self._peaks, self._divisor = peaks, divisor
        self._sums: list[Any] = []
        self._targets: list[Any] = []
        self.errors = {t: [0.0] * len(peaks) for t in steps}

    def observe(self, part: slice, step: int, spikes: list[Any]) -> None:
        """Of `GoldenModel.over_time`."""
        if not step:
            pixels = torch.from_numpy(self._images[part])
            *hidden, _ = activations(self._layers, pixels, self._pixel_max)
            self._targets = [a.numpy() / p for a, p in zip(hidden, self._peaks, strict=True)]
        before = self._sums if step else [0] * len(spikes)
        self._sums = [a + b for a, b in zip(before, spikes, strict=True)]
        if step + 1 not in self.errors:
            return
        for n, (total, target) in enumerate(zip(self._sums, self._targets, strict=True)):
            rate = total / ((step + 1) * self._divisor)
            share = float(np.abs(rate - target).sum()) / (len(self._images) * target.shape[1])
            self.errors[step + 1][n] += share


def _percent(hits: Any) -> float:
    return round(100 * float(np.mean(hits)), 2)


def within(facts: dict[str, Any], title: str) -> int | None:
    """The first T from which on a variant stays within `WITHIN` points of the ReLU network."""
    near = [round(facts["relu"] - a, 2) <= WITHIN for a in facts["variants"][title]["accuracy"]]
    for n, steps in enumerate(facts.get("steps", STEPS)):
        if all(near[n:]):
            return steps
    return None


def study_table(facts: dict[str, Any]) -> str:
    """A Markdown table: a row per variant, a column per T."""

    def cells(found: dict[str, Any]) -> list[str]:
        pairs = zip(found["accuracy"], found["events"], strict=True)
        return [f"{accuracy:.2f} ({events:,.0f})" for accuracy, events in pairs]

    rows = []
    for title, found in facts["variants"].items():
        first = within(facts, title)
        rows.append([title, *cells(found), f"from T = {first}" if first else "no"])
    return markdown([*_head(facts), f"within {WITHIN} points"], rows)


def agreement_table(facts: dict[str, Any]) -> str:
    """A Markdown table: share of images with the ReLU network's class, and each hidden layer's
    mean |rate - activation|."""

    def cells(found: dict[str, Any]) -> list[str]:
        pairs = zip(found["agreement"], found["rate_errors"], strict=True)
        return [f"{same:.2f} ({', '.join(f'{e:.3f}' for e in errors)})" for same, errors in pairs]

    rows = [[title, *cells(found)] for title, found in facts["variants"].items()]
    return markdown(_head(facts), rows)


def _head(facts: dict[str, Any]) -> list[str]:
    return ["-".join(map(str, facts["sizes"])), *(f"T = {t}" for t in facts["steps"])]


def _plot(facts: dict[str, Any], folder: Path) -> None:
    from matplotlib.figure import Figure

    sizes = "-".join(map(str, facts["sizes"])) if facts["hidden"] else "convolutions"
    name = f"{facts['dataset']}, {sizes}"
    for file, across, label in (
        ("accuracy.png", None, "time steps T"),
        ("events.png", "events", "events per image"),
    ):
        figure = Figure(figsize=(6, 4), dpi=110, layout="tight")
        axes = figure.subplots()
        # Thick below thin: curves that lie on each other are all seen.
        for n, (title, found) in enumerate(facts["variants"].items()):
            x, thick = (
                found[across] if across else facts["steps"],
                1.5 * (len(facts["variants"]) - n),
            )
            axes.plot(x, found["accuracy"], marker="o", linewidth=thick, label=title)
        axes.axhline(facts["relu"], color="black", linestyle="--", label="ReLU network")
        axes.set(xlabel=label, ylabel="accuracy, %", title=name)
        axes.set_xscale("log", base=10 if across else 2)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        below = 3 if facts["hidden"] else 20  # convolutions need more steps
        axes.set_ylim(facts["relu"] - below, facts["relu"] + below / 6)
        axes.grid(alpha=0.3)
        axes.legend()
        write_png(folder / file, figure)
