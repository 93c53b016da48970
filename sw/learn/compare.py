"""The golden model of a network beside the float network that it came from, on a data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from hw.contract.network import Network
from hw.system.progress import Step
from sim.golden.activity import Activity, ActivityMeter
from sim.golden.model import Trace
from sw.data.evaluate import Accuracy, golden_runs
from sw.data.split import Split
from sw.learn import graph

__all__ = ["Batch", "Comparison", "FloatRun", "by_layer", "compare", "unlike_spikes"]


class Batch(NamedTuple):
    """Some images: the number of the first one, pixels (n, size), what the golden model did."""

    first: int
    pixels: Tensor
    trace: Trace


FloatRun = Callable[[Batch], Tensor]
"""Runs the float network on a batch and returns its logits (n, classes). What else it compares with
the trace, it keeps."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a network and its float network do on a data set; reports add fields of their own.

    Parameters
    ----------
    float_accuracy, integer_accuracy
        Correct answers of the float network and of the golden model.
    agreement
        Images on which both give the same class.
    activity
        Events, spike rates and synaptic operations per image.
    """

    keys: ClassVar[tuple[str, str]] = ("float", "integer")
    """Of both accuracies in `to_dict`."""

    titles: ClassVar[tuple[str, str]] = ("float network", "integer network")
    """Of both accuracies in `rows`."""

    float_accuracy: Accuracy
    integer_accuracy: Accuracy
    agreement: Accuracy
    activity: Activity

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        of_float, of_integer = self.keys
        return {
            of_float: self.float_accuracy.to_dict(),
            of_integer: self.integer_accuracy.to_dict(),
            "agreement": self.agreement.to_dict(),
            "activity": self.activity.to_dict(),
        }

    def rows(self) -> list[tuple[str, object]]:
        """The accuracies and the agreement as rows of a table."""
        values = (self.float_accuracy, self.integer_accuracy, self.agreement)
        return list(zip((*self.titles, "same class"), values, strict=True))


@torch.no_grad()
def compare(
    network: Network, data: Split, run_float: FloatRun, at: Step | None = None
) -> Comparison:
    """Run both networks on a data set that fits (`sw.data.evaluate.check_fits`); `at`, the step
    that this is, is told how many images are done."""
    meter, float_hits, integer_hits, same = ActivityMeter(network), 0, 0, 0
    for first, pixels, labels, trace in golden_runs(network, data):
        meter.add(pixels, trace)
        logits = run_float(Batch(first, torch.from_numpy(pixels), trace))
        answers = logits.argmax(dim=1).numpy()
        float_hits += int((answers == labels).sum())
        integer_hits += int((trace.classes == labels).sum())
        same += int((trace.classes == answers).sum())
        if at is not None:
            at(first + len(pixels))
    n = len(data)
    return Comparison(
        float_accuracy=Accuracy(float_hits, n),
        integer_accuracy=Accuracy(integer_hits, n),
        agreement=Accuracy(same, n),
        activity=meter.activity,
    )


def by_layer(network: Network, unlike: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """For a network's `meta`: per firing layer, how many spikes differ from its float network's, of
    how many; a spike is one neuron at one step, fired or not."""
    return [
        {"layer": layer.spec.name, "differ": differ, "compared": compared}
        for layer, (differ, compared) in zip(network.layers, unlike, strict=False)
    ]


def unlike_spikes(trace: Trace, activity: graph.Activity) -> list[tuple[int, int]]:
    """Per firing layer: (spikes that differ, spikes compared). A spike is one neuron at one step,
    fired or not."""
    return [
        (int((golden != spikes.transpose(0, 1).numpy()).sum()), golden.size)
        for golden, spikes in zip(trace.spikes, activity.spikes, strict=True)
    ]
