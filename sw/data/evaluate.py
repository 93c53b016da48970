"""Accuracy and activity of a network, by the golden model. No torch here."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gen.core import law
from gen.core.plan import CorePlan
from hw.contract.checks import SternaError
from hw.contract.network import Network
from sim.golden.activity import Activity, ActivityMeter
from sim.golden.model import GoldenModel, Trace
from sw.data.dataset import load_split
from sw.data.split import DataError, Split

__all__ = [
    "Accuracy",
    "EvaluateError",
    "accuracy",
    "check_fits",
    "evaluate",
    "flowing_cycles",
    "flowing_speed",
    "golden_runs",
    "mean_cycles",
]


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


def check_fits(network: Network, data: Split) -> None:
    """Refuse a data set whose images the network cannot take.

    Raises
    ------
    EvaluateError
        When size or width of the pixels differ, or a label has no logit.
    """
    spec = network.spec
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


def accuracy(network: Network, data: Split) -> Accuracy:
    """Correct answers of the golden model on a data set.

    Raises
    ------
    EvaluateError
        When the data set does not fit the network.
    """
    check_fits(network, data)
    answers = GoldenModel(network).classify(data.images)
    return Accuracy(int((answers == data.labels).sum()), len(data))


def golden_runs(
    network: Network, data: Split
) -> Iterator[tuple[int, npt.NDArray[np.uint8], npt.NDArray[np.int64], Trace]]:
    """The golden model on a data set, some images at a time: the number of the first one, pixels
    (n, size), labels (n,), and what the model did."""
    golden = GoldenModel(network)
    for start in range(0, len(data), golden.batch):
        part = slice(start, start + golden.batch)
        yield start, data.images[part], data.labels[part], golden.run(data.images[part])


def evaluate(network: Network, data: Split) -> tuple[Accuracy, Activity]:
    """Accuracy and activity of the golden model on a data set.

    Raises
    ------
    EvaluateError
        When the data set does not fit the network.
    """
    check_fits(network, data)
    meter, hits = ActivityMeter(network), 0
    for _, pixels, labels, trace in golden_runs(network, data):
        hits += int((trace.classes == labels).sum())
        meter.add(pixels, trace)
    return Accuracy(hits, len(data)), meter.activity


def mean_cycles(core: CorePlan, images: npt.NDArray[np.uint8]) -> float:
    """Cycles from one image's result to the next, on average over two images or more, which are
    offered without a pause: by the cycle law, which the hardware keeps."""
    return law.mean_cycles(core, images, GoldenModel(core.network).run(images).spikes)


def flowing_cycles(core: CorePlan, data: str | None) -> float | None:
    """Mean cycles per image with the input flowing, by the cycle law, over test images of the data
    set that the network names; None where that is not at hand."""
    name, spec = core.network.meta.get("dataset"), core.network.spec
    if not isinstance(name, str):
        return None
    try:
        found = load_split(
            name,
            "test",
            spec.input_bits,
            data,
            download=False,
            steps=spec.recorded_steps,
            encoding=spec.encoding,
        )
    except DataError:
        return None
    return mean_cycles(core, found.images[: min(stage.law_images for stage in core.stages)])


def flowing_speed(core: CorePlan, clock_hz: float, data: str | None) -> dict[str, float]:
    """`cycles_per_image` of `flowing_cycles`, and `images_per_second` at a clock, as reports have
    them; empty where the data set is not at hand."""
    cycles = flowing_cycles(core, data)
    if cycles is None:
        return {}
    return {"cycles_per_image": round(cycles, 1), "images_per_second": round(clock_hz / cycles)}
