"""hw.contract.laws: an integer is an array without axes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hw.contract import laws
from hw.contract.neuron import Decay, NeuronSpec

NEURONS = (
    NeuronSpec(theta=5, potential_bits=6),
    NeuronSpec(theta=5, decay="shift", decay_shift=2, potential_bits=6),
    NeuronSpec(theta=5, decay="leak", decay_shift=1, reset="soft", step=4, potential_bits=5),
    NeuronSpec(theta=5, decay="factor", decay_shift=5, decay_factor=29, potential_bits=6),
    NeuronSpec(
        theta=5,
        decay="factor",
        decay_shift=2,
        decay_factor=3,
        decay_rounding="floor",
        potential_bits=6,
    ),
    NeuronSpec(theta=5, theta_negative=3, limit=3, potential_bits=6),
    NeuronSpec(theta=4, negative="guarded", limit=15, potential_bits=6),
    NeuronSpec(theta=4, negative="off", potential_bits=6),
    NeuronSpec(theta=5, current="none", potential_bits=6),
    NeuronSpec(theta=5, current="leak", current_shift=2, decay_rounding="floor", potential_bits=6),
    NeuronSpec(theta=5, current="factor", current_shift=5, current_factor=29, potential_bits=6),
)


@pytest.mark.parametrize("neuron", NEURONS)
def test_integers_and_arrays(neuron):
    values = np.arange(-70, 71)
    fired = laws.fire(values, neuron, 2)
    one_by_one = [laws.fire(int(v), neuron, 2) for v in values]
    assert fired.tolist() == one_by_one
    assert laws.decay(values, neuron).tolist() == [laws.decay(int(u), neuron) for u in values]
    assert laws.integrate(values, values[::-1], neuron).tolist() == [
        laws.integrate(int(x), -int(x), neuron) for x in values
    ]
    assert laws.saturate(values, neuron).tolist() == [laws.saturate(int(u), neuron) for u in values]
    assert laws.reset(values, fired, neuron).tolist() == [
        laws.reset(int(v), int(c), neuron) for v, c in zip(values, fired, strict=True)
    ]


def test_no_decay_is_the_law_of_what_has_none():
    """A readout that sums has the law of a neuron without decay: hardware counts different ones."""
    assert NeuronSpec(theta=5, potential_bits=6).decay_law == Decay() == Decay("none", 0, 0, "zero")


@pytest.mark.parametrize("limit", [1, 2, 3, 15])
def test_firing_is_a_division(limit):
    """min(L, |v| div threshold) on each side, of its own threshold; guarded, at most the count."""
    values = np.arange(-70, 71)
    fields: dict[str, Any] = {"theta": 5, "limit": limit, "potential_bits": 8}
    up = [min(limit, max(0, v) // 5) for v in values.tolist()]
    down = [min(limit, max(0, -v) // 3) for v in values.tolist()]
    both = NeuronSpec(theta_negative=3, **fields)
    assert laws.fire(values, both).tolist() == [a - b for a, b in zip(up, down, strict=True)]
    assert laws.fire(values, NeuronSpec(negative="off", **fields)).tolist() == up
    guarded = NeuronSpec(theta_negative=3, negative="guarded", **fields)
    expected = [a - min(b, 2) for a, b in zip(up, down, strict=True)]
    assert laws.fire(values, guarded, 2).tolist() == expected
    assert laws.fire(values, guarded).tolist() == up  # nothing has been sent that could be undone


def test_a_synaptic_current_decays_by_the_law_of_potentials():
    """And without one, a current is the drive."""
    x = np.arange(-70, 71)
    fields: dict[str, Any] = {"theta": 5, "potential_bits": 6, "fraction_bits": 1}
    for kind, shift, factor in (("shift", 2, 0), ("leak", 1, 0), ("factor", 3, 5)):
        for rounding in ("zero", "floor"):
            law: dict[str, Any] = {"decay_rounding": rounding, **fields}
            potential = NeuronSpec(decay=kind, decay_shift=shift, decay_factor=factor, **law)
            current = NeuronSpec(current=kind, current_shift=shift, current_factor=factor, **law)
            expected = laws.decay(x, potential) + 14
            assert laws.integrate(x, 7, current).tolist() == expected.tolist()
    assert laws.integrate(x, x, NeuronSpec(**fields)).tolist() == (2 * x).tolist()


def test_constants_by_channel():
    """In place of the neuron's, of the shape of what they are for: 7 * (0, 3, 4) / 4, toward zero
    and down; two spikes of the first threshold, one of the second; a step each."""
    neuron = NeuronSpec(
        theta=9, limit=3, decay="factor", decay_shift=2, reset="soft", step=8, potential_bits=6
    )
    u, m = np.array([[7], [-7]]), np.array([0, 3, 4])
    assert laws.decay(u, neuron, m).tolist() == [[0, 5, 7], [0, -5, -7]]
    floor = replace(neuron, decay_rounding="floor")
    assert laws.decay(u, floor, m).tolist() == [[0, 5, 7], [0, -6, -7]]
    v, thetas, steps = np.array([[10, 10], [-10, -10]]), np.array([4, 9]), np.array([3, 8])
    c = laws.fire(v, neuron, thetas=thetas)
    assert c.tolist() == [[2, 1], [-2, -1]]
    assert laws.reset(v, c, neuron, steps).tolist() == [[4, 2], [-4, -2]]
    assert laws.reset(v, c, neuron).tolist() == [[-6, 2], [6, -2]]
    assert laws.reset(v, c, replace(neuron, reset="hard", step=0), steps).tolist() == [
        [0, 0],
        [0, 0],
    ]
