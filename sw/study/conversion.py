"""`sterna study conversion`: one ReLU network as IF, TerMapping and AugMapping over T.

One run of the longest T gives all shorter ones: the logits after t steps are those of a run of t.
"""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hw.contract.files import write_atomically, write_json
from hw.contract.text import markdown
from hw.system.process import fills_folder
from sim.golden.model import GoldenModel
from sw.data.split import Split
from sw.importers.conversion import Conversion, calibrate, convert
from sw.importers.convert_report import CALIBRATION_IMAGES
from sw.importers.modules import activations, read_relu
from sw.importers.relu import train_relu
from sw.study.plots import write_png

__all__ = ["STEPS", "agreement_table", "study", "study_table"]

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


@fills_folder
def study(
    train: Split,
    test: Split,
    hidden: tuple[int, ...],
    folder: Path,
    *,
    seed: int = 1,
    epochs: int = 12,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train, convert in every variant, run the test set; `study.json`, the network (`relu.pt`) and
    two plots in `folder`.

    Returns
    -------
    dict
        Accuracy (percent) of the ReLU network, and per variant, by T: accuracy, share of images
        with the ReLU network's class, events per image (hidden layers, bit planes), and each hidden
        layer's mean |rate - activation|, in units of the activation that became 1.
    """
    start = time.monotonic()
    network = train_relu(train, hidden, seed=seed, epochs=epochs, progress=progress)
    layers = read_relu(network, (train.images.shape[1],))
    pixel_max = 2**test.bits - 1
    *hidden_values, values = activations(layers, torch.from_numpy(test.images), pixel_max)
    sample = train.images[:CALIBRATION_IMAGES]
    peaks = {
        percentile: calibrate(layers, sample, pixel_max, percentile)
        for percentile in {conversion.percentile for _, conversion in VARIANTS}
    }
    answers = values.argmax(dim=1).numpy()
    facts: dict[str, Any] = {
        "dataset": train.name,
        "sizes": [train.images.shape[1], *hidden, values.shape[1]],
        "seed": seed,
        "images": len(test),
        "relu": _percent(answers == test.labels),
        "steps": list(STEPS),
        "variants": {},
    }
    for title, conversion in VARIANTS:
        progress(f"{title}: {len(test)} images, {conversion.steps} steps")
        spiking = convert(
            layers, sample, train.bits, conversion, peaks=peaks[conversion.percentile]
        )
        rates = RateErrors(hidden_values, peaks[conversion.percentile], conversion.divisor)
        logits, events = GoldenModel(spiking).over_time(test.images, observe=rates.observe)
        classes = logits.argmax(axis=2)
        total = np.cumsum(np.sum(events, axis=0)) / len(test)
        facts["variants"][title] = {
            "accuracy": [_percent(classes[:, t - 1] == test.labels) for t in STEPS],
            "agreement": [_percent(classes[:, t - 1] == answers) for t in STEPS],
            "events": [round(float(total[t - 1]), 1) for t in STEPS],
            "rate_errors": [[round(e, 5) for e in rates.errors[t]] for t in STEPS],
        }
    facts["seconds"] = round(time.monotonic() - start, 1)
    write_json(folder / "study.json", facts)
    buffer = io.BytesIO()
    torch.save(network, buffer)  # for `sterna convert`
    write_atomically(folder / "relu.pt", buffer.getvalue())
    _plot(facts, folder)
    return facts


class RateErrors:
    """Mean |rate - activation| of each hidden layer after each of `STEPS`.

    Parameters
    ----------
    activations
        Of the ReLU network's hidden layers, (n, neurons) each.
    peaks, divisor
        The activation that became 1, by layer; spikes a step that stand for it.
    """

    def __init__(
        self, activations: Sequence[torch.Tensor], peaks: Sequence[float], divisor: int
    ) -> None:
        self._targets = [a.numpy() / peak for a, peak in zip(activations, peaks, strict=True)]
        self._divisor = divisor
        self._sums: list[Any] = []
        self.errors = {t: [0.0] * len(peaks) for t in STEPS}

    def observe(self, part: slice, step: int, spikes: list[Any]) -> None:
        """Of `GoldenModel.over_time`."""
        before = self._sums if step else [0] * len(spikes)
        self._sums = [a + b for a, b in zip(before, spikes, strict=True)]
        if step + 1 not in self.errors:
            return
        for n, (total, target) in enumerate(zip(self._sums, self._targets, strict=True)):
            rate = total / ((step + 1) * self._divisor)
            self.errors[step + 1][n] += float(np.abs(rate - target[part]).sum()) / target.size


def _percent(hits: Any) -> float:
    return round(100 * float(np.mean(hits)), 2)


def within(facts: dict[str, Any], title: str) -> int | None:
    """The first T from which on a variant stays within `WITHIN` points of the ReLU network."""
    near = [round(facts["relu"] - a, 2) <= WITHIN for a in facts["variants"][title]["accuracy"]]
    for n, steps in enumerate(STEPS):
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
    return ["-".join(map(str, facts["sizes"])), *(f"T = {t}" for t in STEPS)]


def _plot(facts: dict[str, Any], folder: Path) -> None:
    from matplotlib.figure import Figure

    name = f"{facts['dataset']}, {'-'.join(map(str, facts['sizes']))}"
    for file, across, label in (
        ("accuracy.png", None, "time steps T"),
        ("events.png", "events", "events per image"),
    ):
        figure = Figure(figsize=(6, 4), dpi=110, layout="tight")
        axes = figure.subplots()
        # Thick below thin: curves that lie on each other are all seen.
        for n, (title, found) in enumerate(facts["variants"].items()):
            x, thick = found[across] if across else STEPS, 1.5 * (len(facts["variants"]) - n)
            axes.plot(x, found["accuracy"], marker="o", linewidth=thick, label=title)
        axes.axhline(facts["relu"], color="black", linestyle="--", label="ReLU network")
        axes.set(xlabel=label, ylabel="accuracy, %", title=name)
        axes.set_xscale("log", base=10 if across else 2)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylim(facts["relu"] - 3, facts["relu"] + 0.5)
        axes.grid(alpha=0.3)
        axes.legend()
        write_png(folder / file, figure)
