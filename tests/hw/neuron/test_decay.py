"""Terms of a factor: what an addition costs is told by them."""

import itertools

import pytest

from hw.contract.neuron import Decay
from hw.neuron.decay import adders, decay_cycles, terms


@pytest.mark.parametrize("factor", [*range(1, 200), 1843, 2731, 3481, 3896, 4095])
def test_a_factor_is_a_sum_of_as_few_powers_as_there_can_be(factor: int) -> None:
    found = terms(factor)
    assert sum(sign << power if sign > 0 else -(1 << power) for sign, power in found) == factor
    powers = [power for _, power in found]
    assert all(high - low > 1 for low, high in itertools.pairwise(powers))
    assert len(found) == (factor ^ 3 * factor).bit_count()


def test_levels_and_adders() -> None:
    none, leak = Decay(), Decay("leak", 3)
    two, four = Decay("factor", 5, 5), Decay("factor", 11, 1843)
    assert len(terms(1843)) == 6
    assert [decay_cycles((d,)) for d in (none, leak, two, four)] == [0, 0, 1, 3]
    assert decay_cycles((none, two, four)) == 3
    assert decay_cycles(()) == 0
    assert adders((none, leak, two, four)) == 6
