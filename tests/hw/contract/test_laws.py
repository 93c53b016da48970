"""hw.contract.laws: an integer is an array without axes."""

import numpy as np
import pytest

from hw.contract import laws
from hw.contract.neuron import NeuronSpec

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
)


@pytest.mark.parametrize("neuron", NEURONS)
def test_integers_and_arrays(neuron):
    values = np.arange(-70, 71)
    fired = laws.fire(values, neuron, 2)
    one_by_one = [laws.fire(int(v), neuron, 2) for v in values]
    assert fired.tolist() == one_by_one
    assert laws.decay(values, neuron).tolist() == [laws.decay(int(u), neuron) for u in values]
    assert laws.saturate(values, neuron).tolist() == [laws.saturate(int(u), neuron) for u in values]
    assert laws.reset(values, fired, neuron).tolist() == [
        laws.reset(int(v), int(c), neuron) for v, c in zip(values, fired, strict=True)
    ]
