"""Activations of few bits, as neurons that count, in one step.

An activation of b bits without a sign is a count of 0 to 2^b - 1 units: what a neuron with that
`limit` sends in a single time step, without decay (*AugMapping*, arXiv 2005.03231, at T = 1). Its
threshold is the activation's scale, and half of that is in the bias where it rounds.
"""

from typing import NamedTuple

from torch import Tensor

from hw.contract.neuron import MAX_LIMIT
from sw.importers.affine import ConvertError
from sw.learn.neuron import LIFParameters

__all__ = ["Counting", "counting", "one_step"]

NEAREST = ("ROUND", "HALF_EVEN", "HALF_UP")
DOWN = ("FLOOR", "ROUND_TO_ZERO", "DOWN")
"""Of what is not negative they are the same."""


class Counting(NamedTuple):
    """A layer of neurons that count.

    parameters
        Of the neurons, real-valued.
    amplitude
        What a spike is worth.
    start
        What is added to each drive.
    """

    parameters: LIFParameters
    amplitude: float
    start: float


def counting(limit: int, scale: Tensor, rounding: str, *, plain: bool) -> Counting:
    """The neurons that an activation is.

    Parameters
    ----------
    limit
        Its largest value, in units of the scale.
    scale
        One number, or one for each channel.
    rounding
        As Brevitas and QONNX call it.
    plain
        Its smallest value is 0, which stands for 0, and its largest one is 2^b - 1, or a bound.

    Raises
    ------
    ConvertError
        One sentence, without its subject, for one that no neuron of the contract is.
    """
    if not plain or limit < 1:
        raise ConvertError("must give 0 to its scale times 2^b - 1: no sign, no zero point")
    if limit > MAX_LIMIT:
        raise ConvertError(
            f"must have at most 4 bits, not {limit.bit_length()}: train it with bit_width=4"
        )
    if rounding not in (*NEAREST, *DOWN):
        raise ConvertError(f"must round to the nearest, or down, not {rounding}")
    step = float(scale.max())
    if float(scale.min()) != step:
        raise ConvertError("must have one scale, not one for each channel")
    parameters = LIFParameters(
        theta=step, negative="off", limit=limit, decay="none", decay_shift=0, reset="hard"
    )
    return Counting(parameters, step, 0.5 * step if rounding in NEAREST else 0.0)


def one_step(steps: int, timed: bool = False) -> None:
    """Refuse more time steps than one, and recordings (`timed`); raises `ConvertError`."""
    if timed:
        raise ConvertError(
            "Network must be given pictures, not recordings: a quantised ReLU network has no time"
        )
    if steps != 1:
        raise ConvertError(
            f"Network counts in one time step, not {steps}: give --steps 1 (a quantised ReLU "
            "network has no time)"
        )
