"""`sterna convert`: a ReLU network from a file, converted, held against the original, reported."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hw.contract.network import Network
from hw.contract.text import table
from sim.golden.activity import Activity, ActivityMeter
from sw.data.dataset import Dataset
from sw.data.evaluate import Accuracy, check_fits, golden_runs
from sw.importers.conversion import Conversion, calibrate, convert
from sw.importers.finetune import tune
from sw.importers.modules import AffineLayer, ConvertError, activations, load_module, read_relu

__all__ = ["ConversionReport", "convert_and_compare", "load_network", "report_table"]

CALIBRATION_IMAGES = 2000
TRIAL_IMAGES = 100


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What a conversion gives on a test set.

    Parameters
    ----------
    relu, spiking
        Correct answers of the ReLU network and of the golden model of the image.
    agreement
        Images on which both give the same class.
    rate_errors
        Per hidden layer: mean |rate - activation|, in units of the activation that became 1.
    activity
        Events, spike rates and synaptic operations per image.
    macs
        Multiply-accumulates of the ReLU network per image.
    """

    relu: Accuracy
    spiking: Accuracy
    agreement: Accuracy
    rate_errors: tuple[float, ...]
    activity: Activity
    macs: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "relu": self.relu.to_dict(),
            "spiking": self.spiking.to_dict(),
            "agreement": self.agreement.to_dict(),
            "rate_errors": [round(error, 5) for error in self.rate_errors],
            "activity": self.activity.to_dict(),
            "macs_per_image": self.macs,
        }


def load_network(path: Path) -> nn.Module:
    """A module saved with `torch.save(network, path)`. No code of the file is run: it may hold
    plain `torch.nn` modules only.

    Raises
    ------
    ConvertError
        When it cannot be read, or holds something else.
    """
    return load_module(path, [], "of plain torch.nn modules")


def convert_and_compare(
    network: nn.Module,
    train: Dataset,
    test: Dataset,
    conversion: Conversion,
    *,
    name: str,
    epochs: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Network, ConversionReport]:
    """Convert with the first training images as calibration, train on for some epochs on the
    integers (`sw.importers.finetune`) if asked to, and compare on a test set.

    Raises
    ------
    ConvertError
        See `sw.importers.conversion`.
    EvaluateError
        When the data set does not fit the network.
    """
    inputs = train.images.shape[1]
    side = round(inputs**0.5)
    has_maps = any(isinstance(m, (nn.AvgPool2d, nn.Conv2d, nn.Flatten)) for m in network.modules())
    shape = (1, side, side) if has_maps and side * side == inputs else (inputs,)
    layers = read_relu(network, shape)
    sample = train.images[:CALIBRATION_IMAGES]
    _require_same(network, layers, sample[:TRIAL_IMAGES], shape, 2**train.bits - 1)
    meta = {"dataset": train.name, "conversion": vars(conversion)}
    peaks = calibrate(layers, sample, 2**train.bits - 1, conversion.percentile)
    image = convert(layers, sample, train.bits, conversion, name=name, meta=meta, peaks=peaks)
    check_fits(image, test)
    if epochs:
        meta = {**meta, "tuned_epochs": epochs}
        image = tune(replace(image, meta=meta), layers, train, epochs=epochs, progress=progress)
    report = compare(layers, image, peaks, conversion.divisor, test)
    told = {"relu": report.relu.to_dict(), "integer": report.spiking.to_dict()}
    meta = {**image.meta, "test": told, **report.activity.to_dict()}
    return replace(image, meta=meta), report


@torch.no_grad()
def _require_same(
    network: nn.Module,
    layers: list[AffineLayer],
    pixels: npt.NDArray[np.uint8],
    shape: tuple[int, ...],
    pixel_max: int,
) -> None:
    """Run the module beside what was read of it."""
    x = torch.from_numpy(pixels).double().reshape(len(pixels), *shape) / pixel_max
    theirs = copy.deepcopy(network).double().eval()(x)
    ours = activations(layers, torch.from_numpy(pixels), pixel_max)[-1]
    if theirs.shape != ours.shape or not torch.allclose(ours, theirs, rtol=1e-6, atol=1e-6):
        raise ConvertError("Network must compute what its modules do, one after the other")


def compare(
    layers: list[AffineLayer], network: Network, peaks: list[float], divisor: int, test: Dataset
) -> ConversionReport:
    """The ReLU network and the image's golden model on a test set."""
    meter = ActivityMeter(network)
    relu, spiking, agree = 0, 0, 0
    errors = np.zeros(len(peaks))
    for _, pixels, labels, trace in golden_runs(network, test):
        values = activations(layers, torch.from_numpy(pixels), network.spec.pixel_max)
        answers = values[-1].argmax(dim=1).numpy()
        relu += int((answers == labels).sum())
        spiking += int((trace.classes == labels).sum())
        agree += int((trace.classes == answers).sum())
        for n, (peak, spikes) in enumerate(zip(peaks, trace.spikes, strict=True)):
            rate = spikes.astype(float).mean(axis=1) / divisor
            errors[n] += np.abs(rate - values[n].numpy() / peak).mean() * len(pixels)
        meter.add(pixels, trace)
    n = len(test)
    return ConversionReport(
        relu=Accuracy(relu, n),
        spiking=Accuracy(spiking, n),
        agreement=Accuracy(agree, n),
        rate_errors=tuple((errors / n).tolist()),
        activity=meter.activity,
        macs=sum(layer.weight.numel() for layer in layers),
    )


def report_table(network: Network, conversion: Conversion, report: ConversionReport) -> str:
    """For people."""
    c = conversion
    sizes = [network.spec.input_size, *(layer.neurons for layer in network.spec.layers)]
    start = "half a threshold" if c.half else "0"
    return table(
        [
            (
                "network",
                f"{network.spec.name}, {'-'.join(map(str, sizes))}, digest {network.digest[:16]}",
            ),
            (
                "conversion",
                f"{c.mode}, T = {c.steps}, L = {c.limit}, D = {c.divisor}, percentile "
                f"{c.percentile:g}, from {start}, {c.weight_bits}-bit weights",
            ),
            ("ReLU network", report.relu),
            ("spiking network", report.spiking),
            ("same class", report.agreement),
            (
                "rate error",
                ", ".join(f"{error:.4f}" for error in report.rate_errors)
                + " of the largest activation, by layer"
                if report.rate_errors
                else "no hidden layer",
            ),
            ("events per image", f"{report.activity.events:,.0f}"),
            (
                "synaptic operations",
                f"{report.activity.sops:,.0f} per image ({report.macs:,} "
                "multiply-accumulates in the ReLU network)",
            ),
        ]
    )
