"""Weights that are whole multiples of one step already: such a network loses nothing."""

import numpy as np
import numpy.typing as npt

from sw.reading.decay import TOLERANCE

__all__ = ["common_step"]

SAMPLE = 64
"""Values on which a step is tried before it is tried on all."""

Reals = npt.NDArray[np.float64]


def common_step(weights: Reals, others: Reals, most: int) -> float | None:
    """The step that all weights are whole multiples of, at most `most` of it; None: there is none.

    Of the steps that do, the largest that the others (biases, what a reset subtracts) are
    multiples of, too; if they are of none, the finest.

    Parameters
    ----------
    weights
        (n,). Within a millionth of the largest weight, they count as multiples.
    others
        (m,).
    """
    weights = np.unique(np.abs(weights[weights != 0]))
    if not weights.size or not np.isfinite(weights).all():
        return None
    peak = weights[-1]
    counts = np.arange(1, most + 1)
    some = weights[np.linspace(0, weights.size - 1, min(SAMPLE, weights.size)).astype(int)]
    tried = counts[_fits(some, peak, counts)]
    coarse = next((n for n in tried if _fits(weights, peak, np.array([n]))[0]), None)
    if coarse is None:
        return None
    values = np.unique(np.abs(others[others != 0]))
    finer = [float(peak / (coarse * k)) for k in range(1, most // int(coarse) + 1)]
    return next((step for step in finer if _are_multiples(values, step)), finer[-1])


def _fits(weights: Reals, peak: float, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether all weights are multiples of peak / count, by count."""
    whole = weights[None] * (counts[:, None] / peak)
    return np.all(np.abs(whole - np.round(whole)) <= TOLERANCE * counts[:, None], axis=1)


def _are_multiples(values: Reals, step: float) -> bool:
    whole = values / step
    return bool((np.abs(whole - np.round(whole)) <= np.maximum(1e-4, TOLERANCE * whole)).all())
