"""`sterna convert`: a ReLU network from a file, converted, compared with the original."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hw.contract.edge import sides_text
from hw.contract.network import Network
from hw.contract.text import table
from hw.system.progress import Progress, Step, announced, silent, under_way
from sw.data.evaluate import check_fits
from sw.data.split import Split
from sw.importers.affine import ConvertError
from sw.importers.conversion import Conversion, calibrate, constant_errors, convert
from sw.importers.feed import Feed, ForeignComparison, tested
from sw.importers.files import Contents, load_module
from sw.importers.finetune import finetune
from sw.importers.layers import AffineLayer, activations
from sw.importers.modules import Leaf, as_read, final_softmax, followed, read_relu, relu_leaves
from sw.importers.trace import Traced
from sw.learn.compare import Batch, compare

__all__ = ["ConversionReport", "convert_and_compare", "load_network", "report_table"]

CALIBRATION_IMAGES = 2000
TRIAL_IMAGES = 100

CONTENTS = Contents(
    made_of="of plain torch.nn modules",
    activation="ReLU",
    instead="build it of those, or write it with sterna.write_steps (SpikingJelly's go through "
    "sterna import)",
    steps=True,
)


@dataclass(frozen=True, kw_only=True)
class ConversionReport(ForeignComparison):
    """What a conversion gives on a test set: the float network is the ReLU network.

    Parameters
    ----------
    rate_errors
        Per hidden layer: mean |rate - activation|, in units of the activation that became 1.
    macs
        Multiply-accumulates of the ReLU network per image.
    left_out
        A softmax at the network's end, which changes no class.
    constant_errors
        Per identity shortcut: how far its rounded constant is off, as a share of it.
    """

    keys = ("relu", "spiking")
    titles = ("ReLU network", "spiking network")

    rate_errors: tuple[float, ...]
    macs: int
    left_out: str
    constant_errors: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return super().to_dict() | {
            "rate_errors": [round(error, 5) for error in self.rate_errors],
            "macs_per_image": self.macs,
            "left_out": self.left_out,
            "constant_errors": [round(error, 5) for error in self.constant_errors],
        }


def load_network(path: Path) -> nn.Module:
    """A module saved with `torch.save(network, path)`, or the steps of one (`write_steps`). No code
    of the file is run: it may hold plain `torch.nn` modules only.

    Raises
    ------
    ConvertError
        When it cannot be read, or holds something else.
    """
    return load_module(path, CONTENTS)


def convert_and_compare(
    module: nn.Module,
    train: Split,
    test: Split,
    conversion: Conversion,
    *,
    name: str,
    epochs: int = 0,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    progress: Progress = silent,
) -> tuple[Network, ConversionReport]:
    """Convert with the first training images as calibration, train on for some epochs on the
    integers (`sw.importers.finetune`) if asked to, and compare on a test set.

    Parameters
    ----------
    module
        See `sw.importers.modules.read_relu`; it is not changed. What was read is run beside it.
    train, test
        Images; the module takes (pixels / largest pixel - mean) / std.
    conversion, name, epochs
        How, of the network, and of training on.
    mean, std
        One value, or one per channel; without any, 0 and 1.

    Raises
    ------
    ConvertError
        See `sw.importers.modules` and `sw.importers.conversion`.
    EvaluateError
        When the data set does not fit the network.
    """
    module = as_read(module)
    steps = followed(module)
    shape = steps.shape if isinstance(steps, Traced) else None
    feed = Feed.of(train, relu_leaves(steps), mean, std, shape)
    layers, softmax = read_relu(steps, feed.shape, feed.front), final_softmax(steps)
    classes, outputs = train.encoding and len(train.encoding.labels), len(layers[-1].bias)
    if classes and classes != outputs:
        raise ConvertError(
            f"Network must have {classes} outputs, one for each class of {train.name}, not "
            f"{outputs}"
        )
    sample = train.images[:CALIBRATION_IMAGES]
    _require_same(module, softmax, layers, torch.from_numpy(sample[:TRIAL_IMAGES]), feed)
    meta = {"dataset": train.name, "conversion": vars(conversion), **feed.meta}
    with under_way(progress, f"balancing thresholds on {len(sample):,} training images"):
        peaks = calibrate(layers, sample, feed.pixel_max, conversion.percentile)
        network = convert(
            layers,
            sample,
            train.bits,
            conversion,
            name=name,
            meta=meta,
            peaks=peaks,
            encoding=train.encoding,
        )
    check_fits(network, test)
    if epochs:
        network = replace(network, meta={**meta, "tuned_epochs": epochs})
        network = finetune(network, layers, train, epochs=epochs, progress=progress)
    told = f"running {len(test):,} test images through both networks"
    with announced(progress, told, total=len(test)) as at:
        report = _compare(layers, network, peaks, conversion, test, feed, softmax, at)
    accuracies = {
        "relu": report.float_accuracy.to_dict(),
        "integer": report.integer_accuracy.to_dict(),
    }
    errors = [
        {"layer": layer.spec.name, "rate_error": round(error, 5)}
        for layer, error in zip(network.layers, report.rate_errors, strict=False)
    ]
    meta = {**network.meta, "test": accuracies, "by_layer": errors, **report.activity.to_dict()}
    return replace(network, meta=meta), report


@torch.no_grad()
def _require_same(
    module: nn.Module, softmax: Leaf | None, layers: list[AffineLayer], pixels: Tensor, feed: Feed
) -> None:
    """Compare the module with what was read of it."""
    theirs = feed.run(module, pixels)
    ours = activations(layers, pixels, feed.pixel_max)[-1]
    if softmax is not None:
        ours = softmax[1](ours)
    same = theirs.shape == ours.shape and torch.allclose(
        ours, theirs.to(ours.dtype), rtol=1e-6, atol=1e-6
    )
    if not same:
        raise ConvertError("Network must compute what its modules do, one after the other")


def _compare(
    layers: list[AffineLayer],
    network: Network,
    peaks: list[float],
    conversion: Conversion,
    test: Split,
    feed: Feed,
    softmax: Leaf | None,
    at: Step,
) -> ConversionReport:
    errors = np.zeros(len(peaks))

    def run_float(batch: Batch) -> Tensor:
        *hidden, logits = activations(layers, batch.pixels, network.spec.pixel_max)
        for n, (peak, spikes) in enumerate(zip(peaks, batch.trace.spikes, strict=True)):
            rate = spikes.astype(float).mean(axis=1) / conversion.divisor
            errors[n] += np.abs(rate - hidden[n].numpy() / peak).mean() * len(batch.pixels)
        return logits

    comparison = compare(network, test, run_float, at)
    return ConversionReport(
        **vars(comparison),
        fed=feed.text,
        tested=tested(test),
        left_out="" if softmax is None else softmax[0],
        rate_errors=tuple((errors / len(test)).tolist()),
        macs=sum(layer.macs for layer in layers),
        constant_errors=tuple(constant_errors(layers, network, peaks, conversion)),
    )


def report_table(network: Network, conversion: Conversion, report: ConversionReport) -> str:
    """For people."""
    c = conversion
    spec = network.spec
    shapes = [spec.input_shape or (spec.input_size,), *(layer.map_shape for layer in spec.layers)]
    sizes = "-".join(sides_text(shape[: 1 if math.prod(shape[1:]) == 1 else 3]) for shape in shapes)
    start = "half a threshold" if c.half else "0"
    return table(
        [
            ("network", f"{spec.name}, {sizes}, digest {network.digest[:16]}"),
            (
                "conversion",
                f"{c.mode}, T = {c.steps}, L = {c.limit}, D = {c.divisor}, percentile "
                f"{c.percentile:g}, from {start}, {c.weight_bits}-bit weights",
            ),
            *report.rows(),
            *([("left out", f"{report.left_out}: it changes no class")] if report.left_out else []),
            *(
                [
                    (
                        "shortcuts",
                        f"{len(report.constant_errors)} constant(s), rounded by at most "
                        f"{100 * max(report.constant_errors):.2g} %",
                    )
                ]
                if report.constant_errors
                else []
            ),
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
