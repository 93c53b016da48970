"""The laws of a neuron (docs/arithmetic.md), each one small function of NumPy arrays, exact.

A Python integer passes as an array without axes. Nothing here knows how the hardware works: it is
what the hardware is held against.
"""

import numpy as np
import numpy.typing as npt

from hw.contract.neuron import Decay, NeuronSpec, ReadoutSpec

__all__ = ["decay", "fire", "integrate", "kept", "reset", "saturate"]

Int = npt.NDArray[np.int64]


def decay(u: Int | int, neuron: NeuronSpec | ReadoutSpec, factors: Int | None = None) -> Int:
    """Law 2, of a potential. `factors`, which u's shape must admit, are m in place of the
    neuron's."""
    return kept(u, neuron.decay_law, factors)


def kept(u: Int | int, law: Decay, factors: Int | None = None) -> Int:
    """Law 2: keep u, u / 2^k, u - u / 2^k or m u / 2^k, the division truncating toward zero, or
    rounding down; or (`off`) nothing: 0, without axes."""
    u = np.asarray(u)
    if law.kind in ("none", "off"):
        return u if law.kind == "none" else np.zeros((), dtype=u.dtype)
    product = u
    if law.kind == "factor":
        product = u * (law.factor if factors is None else factors)
    if law.rounding == "floor":
        part = product >> law.shift
    else:
        part = np.sign(product) * (np.abs(product) >> law.shift)
    return u - part if law.kind == "leak" else part


def integrate(x: Int | int, drive: Int | int, neuron: NeuronSpec) -> Int:
    """The synaptic current: what is kept of x, and the drive in units of the potential. Without a
    current of its own, a neuron's is its drive."""
    return kept(x, neuron.current_law) + (np.asarray(drive) << neuron.fraction_bits)


def fire(v: Int | int, neuron: NeuronSpec, count: Int | int = 0, thetas: Int | None = None) -> Int:
    """Law 3: |c| = min(L, |v| div threshold of its side); on a guarded negative side at most the
    neuron's `count` N of spikes so far. `thetas`, which v's shape must admit, are thresholds for
    both sides in place of the neuron's."""
    v = np.asarray(v)
    sides = (neuron.theta, neuron.theta_down) if thetas is None else (thetas, thetas)
    up = _quotient(v, sides[0], neuron.limit)
    if neuron.negative == "off":
        return up
    down = _quotient(-v, sides[1], neuron.limit)
    return up - (np.minimum(down, count) if neuron.guarded else down)


def _quotient(v: Int, theta: Int | int, limit: int) -> Int:
    """min(limit, v div theta), 0 for negative v. Comparing is ten times as fast as dividing."""
    if limit == 1:
        return (v >= theta).astype(v.dtype)
    return np.minimum(np.maximum(v, 0) // theta, limit)


def reset(v: Int | int, c: Int | int, neuron: NeuronSpec, steps: Int | None = None) -> Int:
    """Law 4: hard, 0 where a spike fired; soft, v - c*step. `steps`, which v's shape must admit,
    are in place of the neuron's."""
    v, c = np.asarray(v), np.asarray(c)
    if neuron.reset == "hard":
        return np.where(c != 0, 0, v)
    return v - c * (neuron.step if steps is None else steps)


def saturate(u: Int | int, neuron: NeuronSpec) -> Int:
    """Law 5: clamp to +-u_max, the one place where a potential may lose information."""
    return np.clip(np.asarray(u), -neuron.u_max, neuron.u_max)
