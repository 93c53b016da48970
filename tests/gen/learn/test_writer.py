"""Masters in the rows of the memory, and back; rows that are those of no masters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.learn.stage import learning_stage, plan_learning
from hw.learn.masters import Masters, MastersError
from tests.learning import learning_network, readout_network


def stage_of(lanes: int, readout: bool = False, **more):
    rng = np.random.default_rng(3)
    network = readout_network(rng, **more) if readout else learning_network(rng, **more)
    return learning_stage(plan_learning(Masters.of(network), lanes))


STAGES = [
    stage_of(4),
    stage_of(2, groups=(5, 3), feedback=True),
    stage_of(8, groups=(6, 6)),
    stage_of(4, readout=True),
]


@given(st.sampled_from(STAGES), st.data())
@settings(max_examples=50, deadline=None)
def test_any_other_value_in_a_row_is_told(stage, data):
    """Of every place: of a master that is there once it is another master, else an error."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    arrays = [rng.integers(-9, 10, array.shape) for array in stage.masters.arrays]
    shapes = [array.shape for array in arrays]
    rows, index = stage.rows.pack(arrays), stage.rows.index
    back = stage.rows.unpack(rows, shapes)
    assert all((a == b).all() for a, b in zip(arrays, back, strict=True))
    place = data.draw(st.integers(0, rows.size - 1))
    n, lane = divmod(place, rows.shape[1])
    rows[n, lane] += 1
    number = index[n, lane]
    if number >= 0 and (index == number).sum() == 1:
        changed = np.concatenate([a.reshape(-1) for a in stage.rows.unpack(rows, shapes)])
        flat = np.concatenate([a.reshape(-1) for a in arrays])
        assert np.flatnonzero(changed != flat).tolist() == [number]
        assert changed[number] == flat[number] + 1
    else:
        with pytest.raises(MastersError, match=r"^Row \d+ of masters must have -?\d+ in lane \d+,"):
            stage.rows.unpack(rows, shapes)
