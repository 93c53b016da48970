"""Conversion: a trained ReLU network becomes a spiking one, by threshold balancing.

*TerMapping* and *AugMapping* (arXiv 2005.03231) start from an ordinary network: each layer's
weights are scaled so that its largest activation on calibration data becomes 1 (Diehl et al. 2015;
Rueckauer et al. 2017 with a percentile), ReLUs become integrate-and-fire neurons with soft reset,
and a neuron's sum of spikes over time stands for its activation. What the papers leave open is a
field of `Conversion`; docs/conversion.md says which.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hw.contract.checks import signed_bits
from hw.contract.edge import CONSTANT_BITS, INPUT, MAX_SHIFT, EdgeSpec, Shape
from hw.contract.encoding import Encoding
from hw.contract.network import Network
from hw.contract.neuron import MAX_LIMIT, MAX_WIDTH, NeuronSpec
from hw.contract.spec import WEIGHT_BITS, LayerSpec, NetworkSpec
from hw.contract.text import none_of
from sw.importers.affine import ConvertError
from sw.importers.layers import AffineLayer, activations, layer_edges, layer_names

__all__ = ["MODES", "Conversion", "calibrate", "constant_errors", "convert", "input_size"]

MODES = ("if", "termapping", "augmapping")

CALIBRATION_VALUES = 1 << 26
"""Most activations that calibration collects."""


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
        2 to 16.
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
        for what, value, low, high in (
            ("Time steps", self.steps, 1, 1024),
            ("Limit", self.limit, 1, MAX_LIMIT),
            ("Divisor", self.divisor, 1, 64),
            ("Weight width", self.weight_bits, 2, 16),
        ):
            if type(value) is not int:
                raise ConvertError(f"{what} must be an integer from {low} to {high}, not {value!r}")
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
        if self.weight_bits not in WEIGHT_BITS:
            raise ConvertError(
                f"Weight width must be an integer from 2 to 16, not {self.weight_bits!r}"
            )


# Calibration


def input_shape(layers: Sequence[AffineLayer]) -> Shape | None:
    """Channels, rows, columns of the input; None: a row of pixels."""
    for layer in layers:
        for edge, source in zip(layer.edges, layer.sources, strict=True):
            if edge.source == INPUT:
                return source
    return None


def input_size(layers: Sequence[AffineLayer]) -> int:
    """Pixels of an image."""
    return math.prod(input_shape(layers) or (layers[0].weight.shape[1],))


def check_calibration(
    layers: Sequence[AffineLayer], pixels: npt.NDArray[np.uint8], pixel_max: int
) -> None:
    """Refuse images that the network cannot take."""
    inputs = input_size(layers)
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
    # Of maps, the values of all places of fewer images.
    images = max(1, min(len(pixels), CALIBRATION_VALUES // _hidden(layers)))
    peaks = []
    for layer, values in zip(
        layers[:-1], activations(layers, torch.from_numpy(pixels[:images]), pixel_max), strict=False
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


def _hidden(layers: Sequence[AffineLayer]) -> int:
    return max(1, sum(layer.neurons for layer in layers[:-1]))


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
    names, worth = layer_names(layers), _worth(layers, peaks, pixel_max, conversion)
    shapes = {INPUT: input_shape(layers) or (input_size(layers), 1, 1)}
    shapes |= {title: layer.map_shape for title, layer in zip(names, layers, strict=True)}
    specs, weights, biases = [], [], []
    for n, (title, layer) in enumerate(zip(names, layers, strict=True)):
        last, edges = n == len(layers) - 1, layer_edges(layers, n)
        real = _in_own_units(layer, edges, worth, worth[title])
        bias = layer.bias / worth[title]
        if not any(bool(kernel.any()) for kernel in real):
            raise ConvertError(f"Weights of layer {layer.place} must not all be zero")
        scale, shifts = _grids(layer.place, edges, real, conversion.weight_bits, last)
        edges = tuple(replace(e, shift=shift) for e, shift in zip(edges, shifts, strict=True))
        whole = [
            _rounded(kernel / (scale * 2**edge.shift), edge, conversion.weight_bits)
            for kernel, edge in zip(real, edges, strict=True)
        ]
        if not any(bool(kernel.any()) for kernel in whole):
            raise ConvertError(f"Weights of layer {layer.place} must not all be zero once rounded")
        if float((bias / scale).abs().max()) > 2 ** (MAX_WIDTH - 2):
            raise ConvertError(
                f"Biases of layer {layer.place} must be within 2^{MAX_WIDTH - 2} weight steps"
            )
        biases.append(torch.round(bias / scale).numpy().astype(np.int64))
        integers = [kernel.numpy().astype(np.int32) for kernel in whole]
        weights.append(integers if layer.edges else integers[0])
        received = [pixel_max if e.source == INPUT else conversion.limit for e in edges]
        reach = _reach(edges, integers, received, biases[-1])
        specs.append(
            LayerSpec(
                name=title,
                inputs=sum(math.prod(shapes[edge.source]) for edge in edges),
                neurons=layer.neurons,
                weight_bits=conversion.weight_bits,
                neuron=None if last else _neuron(layer.place, conversion, round(1 / scale), reach),
                shape=layer.shape,
                edges=edges if layer.edges else (),
            )
        )
    spec = NetworkSpec(
        name=name,
        input_size=input_size(layers),
        input_bits=pixel_bits,
        steps=conversion.steps,
        layers=tuple(specs),
        input_shape=input_shape(layers),
        encoding=encoding,
    )
    return Network(spec, tuple(weights), tuple(biases), meta or {})


def _worth(
    layers: Sequence[AffineLayer], peaks: Sequence[float], pixel_max: int, conversion: Conversion
) -> dict[str, float]:
    """What one unit of a source's spikes is worth in the ReLU network, by name: a pixel's step, a
    layer's threshold. The readout has none."""
    *hidden, readout = layer_names(layers)
    spikes = [peak / conversion.divisor for peak in peaks]
    return {INPUT: 1 / pixel_max, **dict(zip(hidden, spikes, strict=True)), readout: 1.0}


def _in_own_units(
    layer: AffineLayer, edges: Sequence[EdgeSpec], worth: Mapping[str, float], own: float
) -> list[Tensor]:
    """Weights that make a layer's thresholds of its sources' spikes."""
    return [
        kernel * (worth[edge.source] / own)
        for kernel, edge in zip(layer.kernels, edges, strict=True)
    ]


def _largest(edge: EdgeSpec, weight_bits: int) -> int:
    """Of an edge's integers."""
    return 2 ** ((CONSTANT_BITS if edge.kind == "identity" else weight_bits) - 1) - 1


def _rounded(kernel: Tensor, edge: EdgeSpec, weight_bits: int) -> Tensor:
    most = _largest(edge, weight_bits)
    return torch.clamp(torch.round(kernel), -most, most)


def _grids(
    place: str, edges: Sequence[EdgeSpec], real: Sequence[Tensor], weight_bits: int, last: bool
) -> tuple[float, list[int]]:
    """The step of a layer's integers, a threshold being 1, and by how much the weights of each edge
    are shifted to it.

    The threshold is 2^k in those integers; each edge has the k that suits its weights best, the
    layer the largest. An identity's constant is no weight of a grid: it may be larger than all of
    them (`CONSTANT_BITS`), and decides where there is nothing else.
    """
    w_max = 2 ** (weight_bits - 1) - 1
    grid = [e.kind != "identity" and bool(r.any()) for e, r in zip(edges, real, strict=True)]
    grid = grid if any(grid) else [bool(r.any()) for r in real]
    if last:
        peak = max(float(r.abs().max()) for r, decides in zip(real, grid, strict=True) if decides)
        return peak / w_max, [
            _shift_of(place, e, r * (w_max / peak)) for e, r in zip(edges, real, strict=True)
        ]
    best = [
        _best_shift(place, r, w_max) if decides else None
        for r, decides in zip(real, grid, strict=True)
    ]
    k = max(b for b in best if b is not None)
    if k < 0:
        raise ConvertError(
            f"Threshold of layer {place} must be at least one weight step, not 2^{k}: use a "
            "smaller divisor or wider weights"
        )
    shifts = [
        _shift_of(place, edge, kernel * 2.0**k) if b is None else min(k - b, MAX_SHIFT)
        for edge, kernel, b in zip(edges, real, best, strict=True)
    ]
    return 2.0**-k, shifts


def _shift_of(place: str, edge: EdgeSpec, kernel: Tensor) -> int:
    """The least shift with which a constant has bits enough."""
    if edge.kind != "identity":
        return 0
    most, peak = 2 ** (CONSTANT_BITS - 1) - 1, float(kernel.abs().max())
    shift = max(0, math.ceil(math.log2(max(peak, 1) / most)))
    if shift > MAX_SHIFT:
        raise ConvertError(
            f"Layer {place} must get no more over its shortcut from {edge.source} than "
            f"{most << MAX_SHIFT} weight steps a spike, not {peak:.3g}: use narrower weights"
        )
    return shift


def _reach(
    edges: Sequence[EdgeSpec],
    kernels: Sequence[npt.NDArray[np.int32]],
    received: Sequence[int],
    bias: npt.NDArray[np.int64],
) -> int:
    """Largest |drive| of a step."""
    total = np.abs(bias)
    for edge, kernel, most in zip(edges, kernels, received, strict=True):
        rows = np.abs(kernel.astype(np.int64)).reshape(len(kernel), -1).sum(1)
        total = total + (rows * most * edge.pool_size << edge.shift)
    return int(total.max())


def constant_errors(
    layers: Sequence[AffineLayer], network: Network, peaks: Sequence[float], conversion: Conversion
) -> list[float]:
    """Of each identity edge: how far its rounded constant is from what it stands for, as a share
    of it."""
    worth = _worth(layers, peaks, network.spec.pixel_max, conversion)
    errors = []
    for n, (layer, integers) in enumerate(zip(layers, network.layers, strict=True)):
        neuron = integers.spec.neuron
        real = _in_own_units(layer, layer_edges(layers, n), worth, worth[integers.spec.name])
        for edge, kernel, constant in zip(integers.edges, real, integers.kernels, strict=True):
            if edge.kind == "identity" and neuron is not None and float(kernel):
                rounded = int(constant[0]) * 2**edge.shift / neuron.theta
                errors.append(abs(rounded / float(kernel) - 1))
    return errors


def _best_shift(place: str, real: Tensor, w_max: int) -> int:
    """k of the threshold 2^k whose grid of weights has the least squared error, clipping
    included."""
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
    return min(errors, key=lambda k: errors[k])


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
