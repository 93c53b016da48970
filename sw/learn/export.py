"""Export: from a checkpoint to a network that was compared before it was let go.

The integer network that was trained and the golden model that the hardware is held against are
two programs. An image leaves only when both agree on every spike, potential and logit of the
whole test split.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hw.contract.checks import SternaError
from hw.contract.network import Network
from hw.contract.text import table
from sim.golden.activity import Activity, ActivityMeter
from sim.golden.model import Trace
from sw.data.dataset import Dataset, load_dataset
from sw.data.evaluate import Accuracy, check_fits, golden_runs
from sw.learn.checkpoint import Checkpoint
from sw.learn.integer import IntegerNetwork
from sw.learn.real_decay import decay_report
from sw.learn.train import Progress, accuracy_of

__all__ = ["ExportError", "ExportReport", "compare", "export", "report_table"]


TELL = 1000
"""Images between two lines of progress."""


class ExportError(SternaError):
    """An integer network that is not what the golden model computes."""


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export compared and found.

    Parameters
    ----------
    name, digest
        Of the image.
    dataset, note, seed
        What it was trained on, what must be said of that (`Dataset.note`), and with what.
    float_accuracy, integer_accuracy
        On the test split: the float network before folding, and the image's golden model.
    activity
        Events, spike rates and synaptic operations per image.
    compared
        Spikes, potentials and logits compared, all equal.
    decay
        How many spikes differ from real-valued decay (`sw.learn.real_decay.decay_report`).
    """

    name: str
    digest: str
    dataset: str
    seed: int
    float_accuracy: Accuracy
    integer_accuracy: Accuracy
    activity: Activity
    compared: int
    decay: Mapping[str, list[int]]
    note: str = ""


def export(
    checkpoint: Checkpoint,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress = lambda line: None,
) -> tuple[Network, ExportReport]:
    """Make the network of a checkpoint and prove it on the test split.

    Parameters
    ----------
    checkpoint
        A trained network.
    folder
        Where the data lie (`load_dataset`).
    progress
        Receives a line now and then.

    Raises
    ------
    DataError
        When the test split is not to be had.
    QuantizeError
        When the checkpoint's integers make no network.
    ExportError
        When the integer network and the golden model differ anywhere.
    """
    recipe = checkpoint.recipe
    data = load_dataset(recipe.dataset, "test", recipe.pixel_bits, folder, steps=recipe.steps)
    network = checkpoint.integer_network()
    bare = network.to_network()
    check_fits(bare, data)
    hits, compared, activity = compare(network, bare, data, progress)
    progress("running the float network")
    float_hits, n = accuracy_of(
        checkpoint.float_network(), torch.from_numpy(data.images), torch.from_numpy(data.labels)
    )
    progress("holding the decay against real-valued decay")
    report = ExportReport(
        name=bare.spec.name,
        digest=bare.digest,
        dataset=recipe.dataset,
        seed=checkpoint.seed,
        float_accuracy=Accuracy(float_hits, n),
        integer_accuracy=Accuracy(hits, n),
        activity=activity,
        compared=compared,
        decay=decay_report(bare, data),
        note=data.note,
    )
    meta = _meta(checkpoint, report)
    return replace(bare, meta=meta), report


def compare(
    network: IntegerNetwork, image: Network, data: Dataset, progress: Progress = lambda line: None
) -> tuple[int, int, Activity]:
    """Hold the integer network against the golden model on every image of a data set.

    Returns
    -------
    hits, compared, activity
        Correct answers of the golden model; values compared; what it did per image.

    Raises
    ------
    ExportError
        At the first difference, naming it.
    """
    meter, hits, compared, told = ActivityMeter(image), 0, 0, 0
    for start, pixels, labels, trace in golden_runs(image, data):
        compared += _compare_batch(network, image, pixels, trace, start)
        hits += int((trace.classes == labels).sum())
        meter.add(pixels, trace)
        done = start + len(pixels)
        if done == len(data) or done - told >= TELL:
            progress(f"compared {done} of {len(data)} images with the golden model")
            told = done
    return hits, compared, meter.activity


@torch.no_grad()
def _compare_batch(
    network: IntegerNetwork, image: Network, pixels: npt.NDArray[np.uint8], trace: Trace, first: int
) -> int:
    activity = network(torch.from_numpy(pixels))
    names = [layer.spec.name for layer in image.layers[:-1]]
    pairs: list[tuple[str, str, torch.Tensor, npt.NDArray[Any]]] = []
    for name, c, u, golden_c, golden_u in zip(
        names, activity.spikes, activity.potentials, trace.spikes, trace.potentials, strict=True
    ):
        pairs.append(("Spikes", name, c.transpose(0, 1), golden_c))
        pairs.append(("Potentials", name, u.transpose(0, 1), golden_u))
    pairs.append(("Logits", "readout", activity.logits, trace.logits))
    for what, layer, ours, theirs in pairs:
        _require_equal(f"{what} of layer {layer}", ours.numpy(), theirs, first)
    return sum(theirs.size for *_, theirs in pairs)


def _require_equal(what: str, ours: npt.NDArray[Any], theirs: npt.NDArray[Any], first: int) -> None:
    different = np.argwhere(ours != theirs)
    if not len(different):
        return
    where = tuple(int(i) for i in different[0])
    step = f", step {where[1]}" if len(where) == 3 else ""
    raise ExportError(
        f"{what} must equal the golden model's, but at image {first + where[0]}{step}, "
        f"neuron {where[-1]} torch has {ours[where]:g} and the golden model {theirs[where]}: "
        "nothing was exported"
    )


def _meta(checkpoint: Checkpoint, report: ExportReport) -> dict[str, Any]:
    return {
        "recipe": checkpoint.recipe.name,
        "dataset": report.dataset,
        **({"note": report.note} if report.note else {}),
        "seed": checkpoint.seed,
        "trained": dict(checkpoint.trained),
        "torch": torch.__version__,
        "test": {
            "float": report.float_accuracy.to_dict(),
            "integer": report.integer_accuracy.to_dict(),
        },
        **report.activity.to_dict(),
    }


def report_table(report: ExportReport) -> str:
    """The report as lines of `what  value`, for people."""
    activity = report.activity
    rates = ", ".join(f"{rate:.3f}" for rate in activity.spike_rates)
    note = f" ({report.note})" if report.note else ""
    rows: list[tuple[str, object]] = [
        ("network", f"{report.name} (seed {report.seed})"),
        ("digest", report.digest),
        ("test images", f"{report.integer_accuracy.n} of {report.dataset}{note}"),
        ("float network", report.float_accuracy),
        ("integer network", report.integer_accuracy),
        ("compared with golden model", f"{report.compared} values, all equal"),
        ("spikes per neuron and step", rates or "no firing layer"),
        ("events per image", f"{activity.events:,.1f}, {activity.input_events:.1f} of the pixels"),
        ("synaptic operations", f"{activity.sops:,.0f} per image"),
    ]
    for kind, (spikes, n, classes, images) in report.decay.items():
        told = f"{spikes} of {n} spikes ({100 * spikes / n:.3f} %), {classes} of {images} classes"
        rows.append((f"{kind} decay", f"{told} differ from real-valued potentials"))
    return table(rows)
