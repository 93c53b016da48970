"""Export: from a checkpoint to a network that is written only once it was compared.

The integer network that was trained and the golden model that the hardware is compared with are
two programs. A network is exported only when both agree on every spike, potential and logit of the
whole test split.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hw.contract.checks import SternaError
from hw.contract.network import Network
from hw.contract.text import table
from hw.system.progress import Progress, Step, announced, silent, under_way
from sw.data.dataset import Source, load_split
from sw.data.evaluate import check_fits
from sw.data.split import Split
from sw.learn.checkpoint import Checkpoint
from sw.learn.compare import Batch, Comparison, by_layer, compare, unlike_spikes
from sw.learn.integer import IntegerNetwork
from sw.learn.real_decay import decay_report

__all__ = ["EqualityCheck", "ExportError", "ExportReport", "export", "report_table"]

REPORT_EVERY = 1000
"""Images between two lines of progress."""


class ExportError(SternaError):
    """An integer network that is not what the golden model computes."""


@dataclass(frozen=True, kw_only=True)
class ExportReport(Comparison):
    """What an export compared and found on the test split: the float network is the one before
    folding.

    Parameters
    ----------
    name, digest
        Of the network.
    dataset, note, seed
        What it was trained on, what must be said of that (`Split.note`), and with what.
    compared
        Spikes, potentials and logits compared, all equal.
    decay
        How many spikes differ from real-valued decay (`sw.learn.real_decay.decay_report`).
    unlike_float
        Per firing layer: (spikes that differ from the float network's, spikes compared).
    """

    name: str
    digest: str
    dataset: str
    seed: int
    compared: int
    decay: Mapping[str, list[int]]
    unlike_float: tuple[tuple[int, int], ...]
    note: str = ""


def export(
    checkpoint: Checkpoint, source: Source = None, progress: Progress = silent
) -> tuple[Network, ExportReport]:
    """Make the network of a checkpoint and prove it on the test split.

    Parameters
    ----------
    checkpoint
        A trained network.
    source
        The data, or where they lie (`load_split`).
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

    def part(split: str) -> Split:
        return load_split(
            recipe.dataset,
            split,
            recipe.pixel_bits,
            source,
            steps=recipe.steps,
            encoding=recipe.encoding,
        )

    data = part("test")
    if checkpoint.data and part("train").digest != checkpoint.data:
        raise ExportError(
            f"Network {recipe.name} must be tested on the data that it was trained on, and the "
            f"training part of {data.name} is not what it was"
        )
    integer, float_network = checkpoint.integer_network(), checkpoint.float_network()
    network = integer.to_network()
    check_fits(network, data)
    unlike = np.zeros((len(network.layers) - 1, 2), dtype=np.int64)
    with under_way(progress, "comparing with the golden model", total=len(data)) as at:
        check = EqualityCheck(integer, network, len(data), at)

        def run_float(batch: Batch) -> Tensor:
            check(batch)
            activity = float_network(batch.pixels)
            unlike[:] += np.array(unlike_spikes(batch.trace, activity), dtype=np.int64).reshape(
                -1, 2
            )
            return activity.logits

        comparison = compare(network, data, run_float)
    with announced(progress, "comparing the decay with real-valued decay"):
        decay = decay_report(network, data)
    report = ExportReport(
        **vars(comparison),
        name=network.spec.name,
        digest=network.digest,
        dataset=recipe.dataset,
        seed=checkpoint.seed,
        compared=check.compared,
        decay=decay,
        unlike_float=tuple((int(k), int(n)) for k, n in unlike),
        note=data.note,
    )
    meta = _meta(checkpoint, report)
    meta["by_layer"] = by_layer(network, report.unlike_float)
    return replace(network, meta=meta), report


class EqualityCheck:
    """Compares the integer network in torch with the golden model of the network it became; a
    `FloatRun` of `sw.learn.compare`.

    Parameters
    ----------
    integer, network
        Both forms of it.
    n, at
        Images in all; the step that this is, which is told how many are done.

    Raises
    ------
    ExportError
        When called: at the first difference, naming it.
    """

    compared: int
    """Values compared so far, all equal."""

    def __init__(
        self, integer: IntegerNetwork, network: Network, n: int, at: Step | None = None
    ) -> None:
        self._integer, self._n, self._at = integer, n, at or Step(silent)
        self._names = [layer.spec.name for layer in network.layers[:-1]]
        self.compared = self._reported = 0

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        activity, trace = self._integer(batch.pixels), batch.trace
        pairs: list[tuple[str, Tensor, npt.NDArray[Any]]] = []
        for name, c, u, golden_c, golden_u in zip(
            self._names,
            activity.spikes,
            activity.potentials,
            trace.spikes,
            trace.potentials,
            strict=True,
        ):
            pairs.append((f"Spikes of layer {name}", c.transpose(0, 1), golden_c))
            pairs.append((f"Potentials of layer {name}", u.transpose(0, 1), golden_u))
        pairs.append(("Logits of layer readout", activity.logits, trace.logits))
        for what, ours, theirs in pairs:
            _require_equal(what, ours.numpy(), theirs, batch.first)
        self.compared += sum(theirs.size for *_, theirs in pairs)
        self._report(batch.first + len(batch.pixels))
        return activity.logits

    def _report(self, done: int) -> None:
        if done == self._n or done - self._reported >= REPORT_EVERY:
            self._at(done, f"compared {done} of {self._n} images with the golden model")
            self._reported = done


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
        *report.rows(),
        ("compared with golden model", f"{report.compared} values, all equal"),
        ("spikes per neuron and step", rates or "no firing layer"),
        ("events per image", f"{activity.events:,.1f}, {activity.input_events:.1f} of the pixels"),
        ("synaptic operations", f"{activity.sops:,.0f} per image"),
    ]
    for kind, (spikes, n, classes, images) in report.decay.items():
        found = f"{spikes} of {n} spikes ({100 * spikes / n:.3f} %), {classes} of {images} classes"
        rows.append((f"{kind} decay", f"{found} differ from real-valued potentials"))
    return table(rows)
