"""The integers of what was read of a framework's network, and how it was rounded."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hw.contract.edge import CONSTANT_BITS, INPUT, MAX_SHIFT
from hw.contract.encoding import Encoding
from hw.contract.network import Layer, Network
from hw.contract.neuron import MAX_WIDTH
from sw.frameworks.bounds import BIAS_BITS, THRESHOLD_BITS, WHOLE
from sw.frameworks.grid import common_step
from sw.learn.fold import FoldedLayer, FoldedNetwork
from sw.learn.integer import IntegerNetwork
from sw.learn.neuron import current_gain
from sw.learn.quantize import Known, check_weight_bits, may_scale_channels, quantize

__all__ = ["Rounding", "integers_of", "rounding"]


def integers_of(
    folded: FoldedNetwork,
    *,
    name: str,
    weight_bits: int,
    pixel_bits: int,
    exact_decay: bool = False,
    by_channel: bool = False,
    fine_biases: bool = True,
    encoding: Encoding | None = None,
    peaks: Sequence[Tensor] = (),
) -> IntegerNetwork:
    """The integers of what was read; of layers whose weights lie on a grid, the very same; with
    `by_channel`, of those whose channels lie on a grid each, too.

    Where weights are the very same, all that is rounded is biases and thresholds: then drives are
    counted in parts of a weight step (`Known.bias_bits`), unless `fine_biases` says otherwise.

    Parameters
    ----------
    peaks
        Largest |potential| of each firing layer that was seen, by channel.

    Raises
    ------
    QuantizeError, SpecError
        When it has no integer form.
    """
    check_weight_bits(weight_bits)
    pixel_max, most = 2**pixel_bits - 1, 2 ** (weight_bits - 1) - 1
    grids = [
        _known_step(layer, most, by_channel and may_scale_channels(layer))
        for layer in folded.layers
    ]

    known = {}
    for n, (title, grid) in enumerate(zip(folded.names, grids, strict=True)):
        has_grid = bool(grid.any())
        bits = (
            _bias_bits(folded, n, grid, pixel_max, exact_decay) if has_grid and fine_biases else 0
        )
        fine = _fraction_bits(folded, n, grid / 2**bits, pixel_max) if has_grid else 0
        known[title] = Known(grid, peaks[n] if n < len(peaks) else 0.0, fine, bits)
    return quantize(
        folded,
        name=name,
        weight_bits=weight_bits,
        pixel_bits=pixel_bits,
        exact_decay=exact_decay,
        by_channel=by_channel,
        encoding=encoding,
        known=known,
    )


def _known_step(layer: FoldedLayer, most: int, own: bool) -> Tensor:
    """The step that all weights are multiples of, (); of channels of which each has its `own`,
    (channels,); 0: there is none."""
    channels = len(layer.bias)
    every = torch.cat([kernel.flatten() for kernel in layer.kernels]).numpy()
    soft = layer.neuron is not None and layer.neuron.reset == "soft"
    losses = torch.tensor(layer.neuron.step if layer.neuron and soft else 0.0).double()
    losses = (losses if layer.steps is None else layer.steps).expand(channels)
    others = torch.stack([layer.bias, losses], dim=1)
    step = common_step(every, others.flatten().numpy(), most)
    if step is not None or not own:
        return torch.tensor(step or 0.0, dtype=torch.float64)
    weights = torch.cat([kernel.reshape(channels, -1) for kernel in layer.kernels], dim=1)
    steps = [
        common_step(row.numpy(), rest.numpy(), most) if bool(row.any()) else 0.0
        for row, rest in zip(weights, others, strict=True)
    ]
    found = [step for step in steps if step is not None]
    if len(found) < channels:
        return torch.zeros((), dtype=torch.float64)
    # A channel without weights has whatever grid.
    return torch.tensor([step or max(found) for step in found], dtype=torch.float64)


class _Widths(NamedTuple):
    """Of a layer, in a unit of its drive: the largest drive or threshold, and the least threshold
    (of a readout: the largest drive), in bits."""

    taken: int
    least: int

    @classmethod
    def of(cls, folded: FoldedNetwork, n: int, unit: Tensor, pixel_max: int) -> "_Widths":
        """Of layer n; `unit` is (), or of each channel, (channels,)."""
        layer = folded.layers[n]
        p = layer.neuron

        def worst(rows: Tensor) -> Tensor:
            """Of the layer; where each has a unit of its own, of each channel."""
            return rows.reshape(len(layer.bias), -1).amax(dim=1) if unit.ndim else rows.max()

        def counted(value: Tensor) -> list[int]:
            return [math.ceil(count) for count in torch.atleast_1d(value / unit).tolist()]

        drive = worst(layer.bias.abs())
        for edge, kernel in zip(folded.edges(n), layer.kernels, strict=True):
            most = edge.pool_size * pixel_max
            if edge.source != INPUT:
                sender = folded.layers[folded.names.index(edge.source)].neuron
                most = edge.pool_size * (1 if sender is None else sender.limit)
            drive = drive + worst(kernel.abs().reshape(len(kernel), -1).sum(dim=1)) * most
        if p is None:
            bits = max(counted(drive)).bit_length()
            return cls(bits, bits)
        drive = drive * current_gain(p, folded.steps)
        theta = torch.tensor(p.theta).double() if layer.thetas is None else layer.thetas
        taken = max(*counted(drive), *counted(theta)).bit_length()
        return cls(taken, min(counted(theta)).bit_length())


def _fraction_bits(folded: FoldedNetwork, n: int, unit: Tensor, pixel_max: int) -> int:
    """Bits below the drive's unit of a layer whose potentials decay: so many that a threshold has
    `THRESHOLD_BITS`, and no sum more than the contract admits."""
    p = folded.layers[n].neuron
    if p is None or (p.decay == "none" and p.current in ("off", "none")):
        return 0
    widths = _Widths.of(folded, n, unit, pixel_max)
    return max(0, min(THRESHOLD_BITS - widths.least, MAX_WIDTH - 4 - widths.taken))


def _bias_bits(folded: FoldedNetwork, n: int, grid: Tensor, pixel_max: int, exact: bool) -> int:
    """Bits below the weight step of a layer whose weights are multiples of that: so few that its
    biases and what a spike subtracts are whole numbers, too; where that takes too many, so many
    that a threshold has `BIAS_BITS`; and no more than edges and sums have room for."""
    layer = folded.layers[n]
    p, rounded = layer.neuron, [layer.bias]
    if p is not None and p.decay == "none" and p.current == "off":
        # Of potentials that decay these have fraction bits already; a threshold that is no whole
        # number loses nothing, unless several are counted.
        rounded += [p.step if layer.steps is None else layer.steps] * (p.reset == "soft")
        rounded += [p.theta if layer.thetas is None else layer.thetas] * (p.limit > 1)
    values = [torch.as_tensor(value, dtype=torch.float64) for value in rounded]

    def is_whole(unit: Tensor) -> bool:
        counts = [value / unit for value in values]
        return all(bool(((n - n.round()).abs() <= WHOLE).all()) for n in counts)

    if is_whole(grid):
        return 0
    widths = _Widths.of(folded, n, grid, pixel_max)
    sums = (folded.steps - 1).bit_length() if p is None else 0
    if p is not None and exact:
        sums = p.decay_shift * (folded.steps - 1)
    room = MAX_WIDTH - 4 - widths.taken - sums
    for edge, kernel in zip(folded.edges(n), layer.kernels, strict=True):
        if edge.kind == "identity":  # its constant stays one of the drive
            most = math.ceil(float((kernel.abs() / grid).max()))
            room = min(room, CONSTANT_BITS - 1 - most.bit_length())
        else:
            room = min(room, MAX_SHIFT - edge.shift)
    whole = (bits for bits in range(1, room + 1) if is_whole(grid / 2**bits))
    return next(whole, max(0, min(BIAS_BITS - widths.least, room)))


class Rounding(NamedTuple):
    """How a layer was rounded: whether its weights are what they were, and all of it in words."""

    exact: bool
    text: str


def rounding(
    folded: FoldedNetwork, network: Network, by_channel: bool = False
) -> dict[str, Rounding]:
    """By layer, how its weights and biases were rounded; `by_channel`: with a step for each channel
    where there may be one."""
    told = {}
    for n, (layer, integers) in enumerate(zip(folded.layers, network.layers, strict=True)):
        own = by_channel and integers.spec.channel_thresholds
        rows = len(layer.bias) if own else 1
        reals = torch.cat([k.reshape(rows, -1) for k in layer.kernels], dim=1).numpy()
        whole = np.concatenate(
            [
                k.reshape(rows, -1) * 2.0 ** (edge.shift - before.shift)
                for k, edge, before in zip(
                    integers.kernels, integers.edges, folded.edges(n), strict=True
                )
            ],
            axis=1,
        )
        # Of each row, the one with the least error.
        scales = (reals * whole).sum(axis=1) / np.maximum((whole**2).sum(axis=1), 1e-300)
        off = np.abs(reals - scales[:, None] * whole)
        error = float(np.sqrt(np.mean(off**2) / np.mean(reals**2)))
        finer = _bits_below(folded, n, integers)
        steps = f"{2**finer * scales[0]:.6g}"
        if own:
            weighed = scales[scales > 0]
            low, high = 2**finer * weighed.min(), 2**finer * weighed.max()
            steps = f"a step of each channel, {low:.6g} to {high:.6g}"
        kind = ", a step for each channel" if own else ", one step for all channels" * by_channel
        exact = bool((off <= 1e-5 * np.abs(reals).max(axis=1, keepdims=True)).all())
        text = (
            f"multiples of {steps}: kept as they are"
            if exact
            else f"rounded to {integers.spec.weight_bits} bits{kind}, rms error {100 * error:.2g} %"
        )
        if finer:
            text += f"; biases in 1/{2**finer} of that"
        if exact:
            text += _biases(layer, integers, scales)
        told[integers.spec.name] = Rounding(exact, text)
    return told


def _bits_below(folded: FoldedNetwork, n: int, integers: Layer) -> int:
    """The `Known.bias_bits` of a layer."""
    edges = zip(integers.edges, folded.edges(n), strict=True)
    return max(edge.shift - before.shift for edge, before in edges)


def _biases(layer: FoldedLayer, integers: Layer, scales: npt.NDArray[np.float64]) -> str:
    """In words, by how much the biases of a layer are off whose weights are kept as they are."""
    if integers.spec.neuron is None or layer.neuron is None:
        return ""
    thetas = integers.spec.neuron.theta if integers.thetas is None else integers.thetas
    thetas = thetas / 2.0**integers.spec.neuron.fraction_bits
    reals = layer.neuron.theta if layer.thetas is None else layer.thetas.numpy()
    # A channel without weights has whatever unit; its threshold says which.
    units = np.where(scales > 0, scales, reals / thetas)
    off = np.abs(layer.bias.numpy() / units - integers.bias)  # of a unit, at most 1/2
    if float(off.max()) <= WHOLE:
        return ""
    share = off / thetas
    return f", biases off by {100 * share.max():.2g} % of a threshold at most"
