"""Conversion: a trained ReLU network becomes a spiking one, by threshold balancing.

*TerMapping* and *AugMapping* (arXiv 2005.03231) start from an ordinary network: each layer's
weights are scaled so that its largest activation on calibration data becomes 1 (Diehl et al. 2015;
Rueckauer et al. 2017 with a percentile), ReLUs become integrate-and-fire neurons with soft reset,
and a neuron's sum of spikes over time stands for its activation. What the papers leave open is a
field of `Conversion`; docs/conversion.md says which.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hw.contract.checks import signed_bits
from hw.contract.encoding import Encoding
from hw.contract.network import Network
from hw.contract.neuron import MAX_LIMIT, MAX_WIDTH, NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from hw.contract.text import none_of
from sw.importers.modules import AffineLayer, ConvertError, activations

__all__ = ["MODES", "Conversion", "calibrate", "convert"]

MODES = ("if", "termapping", "augmapping")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """How a ReLU network becomes a spiking one.

    Parameters
    ----------
    mode
        `if`: binary spikes. `termapping`: also negative ones, as long as the neuron's count of
        spikes stays at 0 or above. `augmapping`: also up to `limit` spikes at once.
    steps
        Time steps T.
    limit
        L, the largest spike coefficient of `augmapping`; 1 for the others.
    divisor
        D, a power of two: thresholds are 1/D of the largest activation, so D spikes a step stand
        for it. The larger, the finer the steps and the more events; with binary or ternary spikes
        a neuron cannot send more than one a step, and saturates.
    percentile
        Of a layer's activations that becomes 1; 100 is the maximum.
    half
        Neurons start at half a threshold, which makes rounding of truncation.
    weight_bits
        2 to 8.
    """

    mode: str = "augmapping"
    steps: int = 8
    limit: int = 1
    divisor: int = 1
    percentile: float = 99.9
    half: bool = True
    weight_bits: int = 8

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConvertError(none_of("Mode", self.mode, MODES))
        for what, value, high in (
            ("Time steps", self.steps, 1024),
            ("Limit", self.limit, MAX_LIMIT),
            ("Divisor", self.divisor, 64),
            ("Weight width", self.weight_bits, 8),
        ):
            if type(value) is not int:
                raise ConvertError(f"{what} must be an integer from 1 to {high}, not {value!r}")
        if not 1 <= self.steps <= 1024:
            raise ConvertError(f"Time steps must be an integer from 1 to 1024, not {self.steps}")
        if not isinstance(self.percentile, (int, float)):
            raise ConvertError(f"Percentile must lie in 50..100, not {self.percentile!r}")
        if not 1 <= self.limit <= MAX_LIMIT:
            raise ConvertError(
                f"Limit must be an integer from 1 to {MAX_LIMIT}, not {self.limit!r}"
            )
        if self.limit > 1 and self.mode != "augmapping":
            raise ConvertError(f"Limit must be 1 for {self.mode}, not {self.limit!r}")
        if not 1 <= self.divisor <= 64 or self.divisor & (self.divisor - 1):
            raise ConvertError(f"Divisor must be a power of two up to 64, not {self.divisor!r}")
        if not 50 <= self.percentile <= 100:
            raise ConvertError(f"Percentile must lie in 50..100, not {self.percentile!r}")
        if not 2 <= self.weight_bits <= 8:
            raise ConvertError(
                f"Weight width must be an integer from 2 to 8, not {self.weight_bits!r}"
            )


# Calibration


def check_calibration(
    layers: Sequence[AffineLayer], pixels: npt.NDArray[np.uint8], pixel_max: int
) -> None:
    """Refuse images that the network cannot take."""
    inputs = layers[0].weight.shape[1]
    array = np.asarray(pixels)
    if array.ndim != 2 or array.shape[1] != inputs or len(array) == 0:
        raise ConvertError(
            f"Calibration images must have shape (n, {inputs}), not {tuple(array.shape)}"
        )
    if array.dtype.kind not in "iu" or int(array.min()) < 0 or int(array.max()) > pixel_max:
        raise ConvertError(f"Calibration images must be integers in 0..{pixel_max}")


@torch.no_grad()
def calibrate(
    layers: Sequence[AffineLayer], pixels: npt.NDArray[np.uint8], pixel_max: int, percentile: float
) -> list[float]:
    """The activation of each hidden layer that becomes 1.

    Raises
    ------
    ConvertError
        For images of the wrong shape, and a layer that is never active.
    """
    check_calibration(layers, pixels, pixel_max)
    peaks = []
    for layer, values in zip(
        layers[:-1], activations(layers, torch.from_numpy(pixels), pixel_max), strict=False
    ):
        # As Rueckauer et al.: of the activations that are not 0.
        active = values[values > 0].numpy()
        if active.size == 0:
            raise ConvertError(
                f"Layer {layer.place} must be active on some calibration image: all its "
                "activations are 0"
            )
        peaks.append(float(np.percentile(active, percentile)))
    return peaks


# Integers


def convert(
    layers: Sequence[AffineLayer],
    pixels: npt.NDArray[np.uint8],
    pixel_bits: int,
    conversion: Conversion,
    *,
    name: str = "converted",
    meta: dict[str, Any] | None = None,
    peaks: Sequence[float] | None = None,
    encoding: Encoding | None = None,
) -> Network:
    """The spiking network of a ReLU network.

    A hidden layer's threshold is 2^k in its own integers: the scale lambda / D of its activations
    is folded into the weights that make them, and its inverse into those that receive them, so the
    division of the contract's third law is a shift. k is the one with which the rounded weights
    come nearest to the real ones.

    Parameters
    ----------
    layers
        Of `sw.importers.modules.read_relu`.
    pixels
        Calibration images (n, inputs), 0 .. 2^pixel_bits - 1.
    conversion
        How.
    name, meta, encoding
        Of the network.
    peaks
        What `calibrate` gave for these images, where it is known already.

    Raises
    ------
    ConvertError
        For calibration images of the wrong shape or range, a layer that is never active, weights
        that are all zero once rounded, a threshold that folds to zero.
    """
    pixel_max = 2**pixel_bits - 1
    if peaks is None:
        peaks = calibrate(layers, pixels, pixel_max, conversion.percentile)
    w_max = 2 ** (conversion.weight_bits - 1) - 1
    # One unit of what a layer receives is worth: a pixel's step, then a threshold.
    worth = [1 / pixel_max, *(peak / conversion.divisor for peak in peaks)]
    specs, weights, biases = [], [], []
    for n, layer in enumerate(layers):
        last = n == len(layers) - 1
        title = "readout" if last else f"hidden{n + 1}"
        # In units of the layer's own threshold; the readout has none.
        own = 1.0 if last else worth[n + 1]
        real, bias = layer.weight * (worth[n] / own), layer.bias / own
        if not bool(real.any()):
            raise ConvertError(f"Weights of layer {layer.place} must not all be zero")
        if last:
            scale = float(real.abs().max()) / w_max
        else:
            scale = 2.0 ** -_best_shift(layer.place, real, w_max)
        w = torch.clamp(torch.round(real / scale), -w_max, w_max)
        if not bool(w.any()):
            raise ConvertError(f"Weights of layer {layer.place} must not all be zero once rounded")
        weights.append(w.numpy().astype(np.int8))
        if float((bias / scale).abs().max()) > 2 ** (MAX_WIDTH - 2):
            raise ConvertError(
                f"Biases of layer {layer.place} must be within 2^{MAX_WIDTH - 2} weight steps"
            )
        biases.append(torch.round(bias / scale).numpy().astype(np.int64))
        received = pixel_max if n == 0 else conversion.limit
        reach = int((np.abs(weights[-1].astype(int)).sum(1) * received + np.abs(biases[-1])).max())
        specs.append(
            LayerSpec(
                name=title,
                inputs=w.shape[1],
                neurons=w.shape[0],
                weight_bits=conversion.weight_bits,
                neuron=None if last else _neuron(layer.place, conversion, round(1 / scale), reach),
            )
        )
    spec = NetworkSpec(
        name=name,
        input_size=specs[0].inputs,
        input_bits=pixel_bits,
        steps=conversion.steps,
        layers=tuple(specs),
        encoding=encoding,
    )
    return Network(spec, tuple(weights), tuple(biases), meta or {})


def _best_shift(place: str, real: Tensor, w_max: int) -> int:
    """k of the threshold 2^k whose grid of weights has the least squared error, clipping included.

    Raises `ConvertError` when that threshold is below one weight step.
    """
    peak = float(real.abs().max())
    whole = int(np.floor(np.log2(w_max / peak)))
    if whole > MAX_WIDTH - 4:
        raise ConvertError(
            f"Layer {place} must be driven by its weights: beside its activations they are as "
            f"small as {peak:.1g}"
        )
    errors = {}
    for k in range(whole, whole + 4):
        rounded = torch.clamp(torch.round(real * 2.0**k), -w_max, w_max) / 2.0**k
        errors[k] = float(((real - rounded) ** 2).sum())
    best = min(errors, key=lambda k: errors[k])
    if best < 0:
        raise ConvertError(
            f"Threshold of layer {place} must be at least one weight step, not 2^{best}: use a "
            "smaller divisor or wider weights"
        )
    return best


def _neuron(place: str, conversion: Conversion, theta: int, reach: int) -> NeuronSpec:
    """Potentials as wide as the longest drift needs: nothing saturates."""
    bits = signed_bits(reach * conversion.steps + theta)
    if bits > MAX_WIDTH:
        raise ConvertError(
            f"Layer {place} must keep its potentials within {MAX_WIDTH} bits, not {bits}: use "
            "fewer time steps"
        )
    return NeuronSpec(
        theta=theta,
        negative="off" if conversion.mode == "if" else "guarded",
        limit=conversion.limit,
        reset="soft",
        step=theta,
        u0=theta // 2 if conversion.half else 0,
        potential_bits=bits,
    )
