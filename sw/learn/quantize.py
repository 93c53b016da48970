"""From a folded network to the integers of the contract: scales, thresholds, widths."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hw.contract.checks import signed_bits
from hw.contract.edge import INPUT, EdgeSpec
from hw.contract.encoding import Encoding
from hw.contract.neuron import MAX_FACTOR_SHIFT, MAX_WIDTH, NeuronSpec, ReadoutSpec
from hw.contract.spec import WEIGHT_BITS, LayerSpec, NetworkSpec
from sw.learn.fold import FoldedLayer, FoldedNetwork
from sw.learn.integer import IntegerNetwork, QuantizeError, require_finite
from sw.learn.neuron import LIFParameters

__all__ = [
    "Known",
    "QuantizeError",
    "best_scale",
    "check_weight_bits",
    "common_decay",
    "fraction_bits",
    "may_scale_channels",
    "nearest_decay",
    "quantize",
]

SCALE_CANDIDATES = 200

FINEST = 64
"""How much finer than its layer's a channel's grid may be."""


REACHED = 5e-7
"""What is nearer to a threshold than this share of it, has reached it: reals are not exact."""


LOST = 1 / 16
"""Of a weight step: less than all that the decays of a readout cut off together."""


class Known(NamedTuple):
    """What is known of a layer of reals before it is rounded.

    Parameters
    ----------
    step
        All its weights are multiples of it: it becomes the weight step, and a threshold the first
        whole number that reaches it, so that nothing of the layer is rounded. 0: there is none.
        (channels,): of each channel's weights.
    peak
        The largest |potential| seen, of all or of each channel, (channels,); twice that is stored
        without saturation. 0: not known.
    fraction_bits
        Kept below the drive's unit, so that decays truncate little, unless they are to be exact.
    bias_bits
        Bits below a weight step in which drives are counted, so that biases and thresholds are
        rounded so much less: its edges count their weights 2^bias_bits times (`EdgeSpec.shift`).
    """

    step: float | Tensor = 0.0
    peak: float | Tensor = 0.0
    fraction_bits: int = 0
    bias_bits: int = 0

    @property
    def stepped(self) -> bool:
        """Whether there is a step."""
        return bool(torch.as_tensor(self.step).all())


def nearest_decay(kept: float) -> tuple[dict[str, Any], float]:
    """The decay of the contract that keeps the part of a potential which is nearest to this one, 0
    to 1, as fields of `LIFParameters`, and the part that it keeps. Of equals, a shift or a leak."""
    rows: list[tuple[float, str, int, int]] = [(1.0, "none", 0, 0), (0.0, "shift", MAX_WIDTH, 0)]
    for k in range(1, MAX_WIDTH // 2):
        rows += [(2.0**-k, "shift", k, 0), (1 - 2.0**-k, "leak", k, 0)]
    most = 2**MAX_FACTOR_SHIFT
    m = min(max(round(kept * most), 1), most - 1)
    rows.append((m / most, "factor", MAX_FACTOR_SHIFT, m))
    share, decay, shift, factor = min(rows, key=lambda row: abs(row[0] - kept))
    while decay == "factor" and factor % 2 == 0:
        shift, factor = shift - 1, factor // 2
    return {"decay": decay, "decay_shift": shift, "decay_factor": factor}, share


def _in_row(p: LIFParameters) -> LIFParameters:
    """With decays of the contract in place of real ones."""
    if p.decay == "factor" and not p.decay_shift:
        p = replace(p, **nearest_decay(p.decay_factor)[0])
    if p.current == "factor" and not p.current_shift:
        fields = nearest_decay(p.current_factor)[0]
        p = replace(p, **{name.replace("decay", "current"): fields[name] for name in fields})
    return p


def _readout_spec(
    folded: FoldedNetwork, scale: float, pixel_max: int, exact: bool, bias_bits: int = 0
) -> ReadoutSpec | None:
    """The integer readout: with so many bits below a weight step that decays are exact, or that all
    they cut off comes to less than `LOST` of a step; and no more than the contract has."""
    last = len(folded.layers) - 1
    p = folded.layers[last].readout
    if p is None:
        return None
    if p.fraction_bits:
        raise QuantizeError(f"Fraction bits of {folded.names[last]} must not be given")
    row: dict[str, Any] = {
        "decay": p.decay,
        "decay_shift": p.decay_shift,
        "decay_factor": int(p.decay_factor),
    }
    if p.decay == "factor" and not p.decay_shift:
        row = nearest_decay(p.decay_factor)[0]
    part = 2.0 ** -row["decay_shift"]
    kept = {"none": 1.0, "leak": 1 - part}.get(row["decay"], (row["decay_factor"] or 1) * part)
    # So many steps' drives, and so many losses, there are in a potential at most.
    many = min(float(folded.steps), 1 / (1 - kept) if kept < 1 else math.inf)
    if row["decay"] == "none":
        fine = 0
    elif exact:
        fine = fraction_bits(row["decay_shift"], True, folded.steps)
        if fine > MAX_WIDTH - 2:
            raise QuantizeError(
                f"Fraction of layer {folded.names[last]} must be within {MAX_WIDTH - 2} bits, not "
                f"{fine}, which exact decay over {folded.steps} time steps takes: use fewer time "
                "steps, or no exact decay"
            )
    else:
        drive = _largest_drive(folded, last, scale, pixel_max, bias_bits)
        read = many * (folded.steps if p.value == "sum" else 1)
        room = MAX_WIDTH - 1 - math.ceil(math.log2(max(1.0, drive * read + folded.steps)))
        fine = max(0, min(math.ceil(math.log2(many / LOST)), room))
    rounding = p.decay_rounding if row["decay"] != "none" else "zero"
    return ReadoutSpec(**row, decay_rounding=rounding, fraction_bits=fine, value=p.value)


def _largest_drive(
    folded: FoldedNetwork, n: int, scale: float, pixel_max: int, bias_bits: int
) -> float:
    """No drive of a layer is larger, in its unit `scale`, once weights are rounded to steps of
    2^bias_bits of that."""
    layer, total = folded.layers[n], folded.layers[n].bias.abs() / scale + 1
    for edge, kernel in zip(folded.edges(n), layer.kernels, strict=True):
        sender = None
        if edge.source != INPUT:
            sender = folded.layers[folded.names.index(edge.source)].neuron
        most = (pixel_max if sender is None else sender.limit) * edge.pool_size << edge.shift
        rows = (kernel.abs() / scale + 2**bias_bits / 2).reshape(len(kernel), -1).sum(dim=1)
        total = total + rows.max() * most
    return float(total.max())


def best_scale(weight: Tensor, w_max: int) -> float:
    """The step size whose symmetric grid -w_max .. w_max has the least squared error.

    Searched from max|W| / w_max (nothing is clipped) down to a tenth of it: bell-shaped weights are
    better off with a finer grid and a few clipped outliers.
    """
    peak = float(weight.abs().max())
    fractions = torch.linspace(0.1, 1.0, SCALE_CANDIDATES, dtype=torch.float64)
    flat = weight.double().flatten()
    errors = []
    for scale in fractions * (peak / w_max):
        error = flat - scale * torch.clamp(torch.round(flat / scale), -w_max, w_max)
        errors.append(float((error**2).sum()))
    return float(fractions[int(np.argmin(errors))] * (peak / w_max))


def _neuron_spec(
    name: str,
    layer: FoldedLayer,
    p: LIFParameters,
    scale: Tensor,
    fraction_bits: int,
    potential_bits: int | None,
    steps: int,
    known: Known,
) -> tuple[NeuronSpec, list[int], list[int]]:
    """The integer neuron, whose constants are the largest of its channels': potentials are counted
    in weight steps, so theta = Vth / scale; thresholds; reset steps. (Of one scale, one each, but
    of constants that differ.)"""
    if p.fraction_bits:
        raise QuantizeError(
            f"Fraction bits of layer {name} must not be given: exact_decay chooses them"
        )
    thetas = p.theta if layer.thetas is None else layer.thetas
    taken = p.step if layer.steps is None else layer.steps

    def counted(value: float | Tensor) -> list[float]:
        """In weight steps of each channel."""
        return torch.atleast_1d(torch.as_tensor(value, dtype=torch.float64) / scale).tolist()

    if min(counted(thetas)) < 0.5 and not known.stepped:
        raise QuantizeError(
            f"Threshold of layer {name} must be at least half a weight step, "
            f"not {min(counted(thetas)):.3g} of one"
        )

    def whole(value: float | Tensor) -> list[int]:
        """Weight steps without a fraction, as drives are: only decay makes fractions. Of known
        steps, the finest units, as decay leaves them."""
        if known.stepped:
            return [round(n * 2**fraction_bits) for n in counted(value)]
        return [round(n) << fraction_bits for n in counted(value)]

    def reached(side: float | Tensor) -> list[int]:
        """The threshold of a side."""
        if known.stepped:
            ceiled = (n * 2**fraction_bits * (1 - REACHED) for n in counted(side))
            return [max(1, math.ceil(n)) for n in ceiled]
        return [max(one, n) for n in whole(side)]

    one = 1 << fraction_bits
    least = 1 if known.stepped else one
    ups, soft = reached(thetas), p.reset == "soft"
    theta = max(ups)
    down = theta if layer.thetas is not None else max(reached(p.theta_down))
    losses = [max(least, n) for n in whole(taken)] if soft else [0]
    if fraction_bits and max(theta, down) > 2 ** (MAX_WIDTH - 2):
        raise QuantizeError(
            f"Threshold of layer {name} must be within {MAX_WIDTH - 2} bits, not "
            f"{(max(theta, down) - 1).bit_length()}, of which exact decay over {steps} time steps "
            f"takes {fraction_bits}: use fewer time steps, or no exact decay"
        )
    neuron = NeuronSpec(
        theta=theta,
        theta_negative=None if p.negative == "off" else down,
        negative=p.negative,
        limit=p.limit,
        decay=p.decay,
        decay_shift=p.decay_shift,
        decay_factor=int(p.decay_factor),
        decay_rounding=p.decay_rounding,
        decay_when=p.decay_when,
        fraction_bits=fraction_bits,
        current=p.current,
        current_shift=p.current_shift,
        current_factor=int(p.current_factor),
        reset=p.reset,
        step=max(losses),
        u0=max(least - down, min(theta - least, max(whole(p.u0)))),
        potential_bits=MAX_WIDTH if potential_bits is None else potential_bits,
    )
    if potential_bits is not None:
        return neuron, ups, losses
    # Under hard reset with both sides free |u| < theta: nothing saturates. Otherwise a residue is
    # left, or a negative potential; two more bits hold four thresholds of it.
    bits = max(2, signed_bits(max(theta, down) - 1)) + 2 * neuron.can_saturate
    seen = signed_bits(math.ceil(2 * max(counted(known.peak)) * 2**fraction_bits))
    return replace(neuron, potential_bits=max(bits, min(seen, MAX_WIDTH))), ups, losses


def may_scale_channels(layer: FoldedLayer) -> bool:
    """Whether thresholds by channel are possible (`hw.contract.spec.LayerSpec`), and no constant is
    the same for all channels."""
    p = layer.neuron
    return (
        p is not None
        and p.u0 == 0
        and (p.negative == "off" or p.theta_down == p.theta)
        and all(edge.kind != "identity" for edge in layer.edges)
    )


def common_decay(factors: Tensor) -> tuple[dict[str, Any], Tensor]:
    """The decay whose factors, each channel's own, are nearest to these parts, 0 to 1: fields of
    `LIFParameters`, and the integers m. Of all k, the least that loses nothing more."""
    shift, whole = MAX_FACTOR_SHIFT, torch.round(factors.double() * 2**MAX_FACTOR_SHIFT)
    while shift > 1 and not bool((whole % 2).any()):
        shift, whole = shift - 1, whole / 2
    return {"decay": "factor", "decay_shift": shift, "decay_factor": 0}, whole


def finer_edges(folded: FoldedNetwork, n: int, bias_bits: int) -> tuple[EdgeSpec, ...]:
    """The edges of a layer whose drives are counted in so many bits below a weight step. (What an
    identity brings has a constant of more bits than weights, which stands for itself.)"""
    if not bias_bits:
        return folded.layers[n].edges
    return tuple(
        edge if edge.kind == "identity" else replace(edge, shift=edge.shift + bias_bits)
        for edge in folded.edges(n)
    )


def _constants(
    layer: FoldedLayer, apart: bool, thetas: list[int], losses: list[int], factors: Tensor | None
) -> dict[str, Tensor]:
    """The integers that each channel has of its own, (channels,), by name; `apart`: it has weight
    steps, thresholds or reset steps."""
    found = {} if factors is None else {"factors": factors}
    if apart:
        channels = len(layer.bias)
        found["thetas"] = torch.tensor(thetas).expand(channels)
        if max(losses):
            found["steps"] = torch.tensor(losses).expand(channels)
    return found


def check_weight_bits(weight_bits: int) -> None:
    """Refuse a width that weights cannot have.

    Raises
    ------
    QuantizeError
        Unless it is 2 to 16.
    """
    if not isinstance(weight_bits, int) or weight_bits not in WEIGHT_BITS:
        raise QuantizeError(f"Weight width must be an integer from 2 to 16, not {weight_bits!r}")


def fraction_bits(decay_shift: int, from_rest: bool, steps: int) -> int:
    """Bits below the drive's unit at which every decay is a whole number: k per step; from rest,
    where there is nothing to decay at first, all but the first."""
    return decay_shift * (steps - from_rest)


def _fraction_bits(p: LIFParameters, steps: int) -> int:
    # What was received s steps ago has decayed s times, part of them as a current.
    potential = fraction_bits(p.decay_shift, p.u0 == 0 or p.decay_when == "after", steps)
    return max(potential, fraction_bits(p.current_shift, True, steps))


def _scale(name: str, folded: FoldedLayer, weight_bits: int, by_channel: bool) -> Tensor:
    """One weight step: of the layer, (), or of each channel, (channels,)."""
    every = torch.cat([kernel.flatten() for kernel in folded.kernels])
    require_finite(name, every, folded.bias)
    # An identity's constant is no weight of the grid: it may be larger than all of them.
    kinds = [edge.kind for edge in folded.edges] or ["dense"]
    weights = [
        k.flatten() for k, kind in zip(folded.kernels, kinds, strict=True) if kind != "identity"
    ]
    weight = torch.cat(weights or [every])
    if not bool(weight.any()):
        raise QuantizeError(f"Weights of layer {name} must not all be zero")
    w_max = 2 ** (weight_bits - 1) - 1
    whole = best_scale(weight, w_max)
    if not by_channel:
        return torch.tensor(whole, dtype=torch.float64)
    channels = len(folded.bias)
    rows = torch.cat([k.reshape(channels, -1) for k in folded.kernels], dim=1)
    # A channel of hardly any weight does not get a grid so fine that nothing else has bits enough.
    return torch.tensor(
        [max(best_scale(row, w_max), whole / FINEST) if row.any() else whole for row in rows],
        dtype=torch.float64,
    )


def quantize(
    folded: FoldedNetwork,
    *,
    name: str,
    weight_bits: int,
    pixel_bits: int,
    potential_bits: int | None = None,
    exact_decay: bool = False,
    by_channel: bool = False,
    encoding: Encoding | None = None,
    known: Mapping[str, Known] | None = None,
) -> IntegerNetwork:
    """Round a folded network to the contract's integers, one scale per layer, or per channel.

    Parameters
    ----------
    name
        Of the network.
    weight_bits
        2 to 16, of every layer. The grid is symmetric, +-(2^(bits-1) - 1).
    pixel_bits
        Width of the pixels the network was trained on.
    potential_bits
        Width of stored potentials; the default loses nothing under hard reset and keeps four
        thresholds under soft reset.
    exact_decay
        Keep so many bits below a weight step that no decay ever truncates: k per step after the
        first, 2(T-1) for a decay of 1/4. Potentials grow by as many bits; sums are kept in float64.

    by_channel
        A scale for each channel of a firing layer, and with it a threshold and a reset step, where
        the contract has that (equal sides, from 0) and no identity edge brings all channels the
        same. The readout has one: logits are compared.
    encoding
        How its pixels are made.
    known
        What is known of layers, by name; sums are kept in float64 then, too.

    Raises
    ------
    QuantizeError
        One sentence: weights or biases that are NaN or infinite, weights that are all zero, a
        threshold below half a weight step, or too wide under exact decay, a weight width out of
        range.
    SpecError
        For other widths that the contract refuses.
    """
    check_weight_bits(weight_bits)
    layers, scales = [], []
    for n, (title, layer) in enumerate(zip(folded.names, folded.layers, strict=True)):
        given = (known or {}).get(title, Known())
        scale = _scale(title, layer, weight_bits, by_channel and may_scale_channels(layer))
        if given.stepped:
            scale = torch.as_tensor(given.step, dtype=torch.float64)
        scale = scale / 2**given.bias_bits  # from here on the drive's unit
        neuron, own = None, dict[str, Tensor]()
        if layer.neuron is not None:
            row, factors = _in_row(layer.neuron), None
            if layer.factors is not None:
                fields, factors = common_decay(layer.factors)
                row = replace(row, **fields)
            bits = _fraction_bits(row, folded.steps) if exact_decay else given.fraction_bits
            neuron, ups, losses = _neuron_spec(
                title, layer, row, scale, bits, potential_bits, folded.steps, given
            )
            apart = scale.ndim > 0 or layer.thetas is not None or layer.steps is not None
            own = _constants(layer, apart, ups, losses, factors)
        if "thetas" in own:
            scale = scale.expand(len(layer.bias))
        scales.append((scale, own))
        read = None
        if layer.readout is not None:
            read = _readout_spec(
                folded, float(scale), 2**pixel_bits - 1, exact_decay, given.bias_bits
            )
        layers.append(
            LayerSpec(
                name=title,
                inputs=sum(math.prod(folded.shape_of(edge.source)) for edge in folded.edges(n)),
                neurons=math.prod(layer.map_shape),
                weight_bits=weight_bits,
                neuron=neuron,
                shape=layer.shape,
                edges=finer_edges(folded, n, given.bias_bits),
                channel_thresholds="thetas" in own,
                channel_decays="factors" in own,
                readout=read,
            )
        )
    spec = NetworkSpec(
        name=name,
        input_size=math.prod(folded.shape_of(INPUT)),
        input_bits=pixel_bits,
        steps=folded.steps,
        layers=tuple(layers),
        input_shape=folded.input_shape,
        timed_input=folded.timed,
        encoding=encoding,
    )
    network = IntegerNetwork(spec)
    if exact_decay or known is not None:
        network.double()
    for integer, layer, (scale, own) in zip(
        network.integer_layers, folded.layers, scales, strict=True
    ):
        integer.fill(layer, scale, own)
    return network
