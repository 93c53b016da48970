"""Accuracy and activity of a network image, by the golden model. No torch here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.cycles import CycleLaw
from gen.hardware import AnyPlan
from gen.plan import CorePlan
from gen.shared_cycles import SharedLaw
from hw.image import NetworkImage
from hw.spec import INPUT, SternaError
from sim.edges import fan_out
from sim.golden import GoldenModel, Trace
from sim.streams import law_costs
from sw.data import Dataset

__all__ = [
    "Accuracy", "Activity", "ActivityMeter", "EvaluateError", "accuracy", "check_fits", "evaluate",
    "mean_cycles",
]  # fmt: skip

BATCH = 500


class EvaluateError(SternaError, ValueError):
    """A data set that does not fit the network."""


@dataclass(frozen=True)
class Accuracy:
    """Correct answers among n: a share without its n says little."""

    hits: int
    n: int

    @property
    def share(self) -> float:
        """hits / n, 0 to 1."""
        return self.hits / self.n if self.n else 0.0

    def __str__(self) -> str:
        return f"{self.hits}/{self.n} ({100 * self.share:.2f} %)"

    def to_dict(self) -> dict[str, int]:
        """Plain JSON data for an image's `meta`."""
        return {"hits": self.hits, "n": self.n}


def check_fits(image: NetworkImage, data: Dataset) -> None:
    """Refuse a data set whose images the network cannot take.

    Raises
    ------
    EvaluateError
        When size or width of the pixels differ, or a label has no logit.
    """
    spec = image.spec
    for what, needed, given in (
        ("pixels per image", spec.image_size, data.images.shape[1]),
        ("bits per pixel", spec.input_bits, data.bits),
    ):
        if needed != given:
            raise EvaluateError(
                f"Data set {data.name} must have {needed} {what} for network {spec.name}, "
                f"not {given}"
            )
    if len(data) and int(data.labels.max()) >= spec.classes:
        raise EvaluateError(
            f"Labels of {data.name} must lie below {spec.classes} for network {spec.name}, "
            f"not reach {int(data.labels.max())}"
        )


def accuracy(image: NetworkImage, data: Dataset) -> Accuracy:
    """Correct answers of the golden model on a data set.

    Raises
    ------
    EvaluateError
        When the data set does not fit the network.
    """
    check_fits(image, data)
    answers = GoldenModel(image).classify(data.images)
    return Accuracy(int((answers == data.labels).sum()), len(data))


@dataclass(frozen=True)
class Activity:
    """What a network image does for an image, on average.

    Parameters
    ----------
    input_events
        Set bits of the pixels: each one row of weights added.
    spike_rates
        Per firing layer: mean |c| per neuron and step (of ternary and binary spikes: the share that
        fires).
    events
        Events that layers receive, pixels included: bit planes of coefficients, as the hardware
        plays them; over every edge.
    sops
        Synaptic operations: weights added or subtracted. Pixels are added once, not at every step.
    """

    input_events: float
    spike_rates: tuple[float, ...]
    events: float
    sops: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "input_events": round(self.input_events, 2),
            "spike_rates": [round(rate, 4) for rate in self.spike_rates],
            "events": round(self.events, 1),
            "sops": round(self.sops, 1),
        }


class ActivityMeter:
    """Adds up what a network image does, batch by batch."""

    def __init__(self, image: NetworkImage) -> None:
        self._spec = spec = image.spec
        self._fan_out = [
            [fan_out(edge, spec.shape_of(edge.source), layer.map_shape) for edge in spec.edges(n)]
            for n, layer in enumerate(spec.layers)
        ]
        self._pixels = self._events = self._sops = self._images = 0
        self._spikes = np.zeros(len(spec.layers) - 1, dtype=np.int64)
        self._chances = [spec.steps * layer.neurons for layer in spec.layers[:-1]]

    def add(self, pixels: npt.NDArray[np.uint8], trace: Trace) -> None:
        """Count a batch, by its pixels and what the golden model made of them."""
        self._images += len(pixels)
        self._pixels += int(np.bitwise_count(pixels).sum())
        fired = [int(np.abs(c.astype(np.int64)).sum()) for c in trace.spikes]
        self._spikes += np.array(fired, dtype=np.int64)
        sent = {INPUT: pixels.reshape(len(pixels), -1, self._spec.input_size)}
        for layer, c in zip(self._spec.layers, trace.spikes, strict=False):
            sent[layer.name] = np.abs(c).view(np.uint8)
        for n in range(len(self._spec.layers)):
            for edge, reached in zip(self._spec.edges(n), self._fan_out[n], strict=True):
                values = sent[edge.source]
                if edge.delay:
                    values = values[:, :-1]  # the last step's spikes never arrive
                # Summed over images, steps and channels: set bits by place.
                shape = self._spec.shape_of(edge.source)
                bits = np.bitwise_count(values).sum(axis=(0, 1), dtype=np.int64)
                bits = bits.reshape(shape).sum(axis=0)
                self._events += int(bits.sum())
                self._sops += int((bits * reached).sum())

    @property
    def activity(self) -> Activity:
        """The mean so far."""
        n = max(1, self._images)
        return Activity(
            self._pixels / n,
            tuple(float(s) / n / c for s, c in zip(self._spikes, self._chances, strict=True)),
            self._events / n,
            self._sops / n,
        )


def evaluate(image: NetworkImage, data: Dataset) -> tuple[Accuracy, Activity]:
    """Accuracy and activity of the golden model on a data set.

    Raises
    ------
    EvaluateError
        When the data set does not fit the network.
    """
    check_fits(image, data)
    golden, meter, hits = GoldenModel(image), ActivityMeter(image), 0
    for start in range(0, len(data), BATCH):
        pixels, labels = data.images[start : start + BATCH], data.labels[start : start + BATCH]
        trace = golden.run(pixels)
        hits += int((trace.classes == labels).sum())
        meter.add(pixels, trace)
    return Accuracy(hits, len(data)), meter.activity


def mean_cycles(core: AnyPlan, images: npt.NDArray[np.uint8]) -> float:
    """Cycles from one image's result to the next, on average over two images or more, which are
    offered without a pause: by the cycle law, which the hardware keeps."""
    trace = GoldenModel(core.image).run(images)
    if isinstance(core, CorePlan):
        done = CycleLaw(core).predict(law_costs(core, images, trace))
    else:
        done = SharedLaw(core).predict(images, trace.spikes)
    return float(np.diff(done).mean())
