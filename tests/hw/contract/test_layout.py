"""hw.contract.layout: how many words a map takes, and where in them its values lie."""

import numpy as np
import pytest

from hw.contract.layout import MapLayout


@pytest.mark.parametrize(
    ("channels", "sets", "groups", "padded"),
    [(9, 1, 3, 3), (9, 2, 3, 4), (4, 2, 1, 2), (5, 3, 2, 3)],
)
def test_words_have_room_for_whole_sets(channels: int, sets: int, groups: int, padded: int) -> None:
    layout = MapLayout((channels, 2, 3), 4, sets=sets)
    assert (layout.groups, layout.padded_groups) == (groups, padded)
    assert layout.words * layout.size == padded * 4 * 2 * 3


@pytest.mark.parametrize(
    "layout",
    [
        MapLayout((3, 2, 5), 8, 2),
        MapLayout((9, 4, 3), 4, rows=2, sets=2),
        MapLayout((5, 3, 2), 4, rows=2),
    ],
)
def test_every_value_has_a_place_of_its_own(layout: MapLayout) -> None:
    words, lanes = layout.places()
    size = int(np.prod(layout.shape))
    assert len({*zip(words.tolist(), lanes.tolist(), strict=True)}) == size
    assert {*words.tolist()} == {*range(layout.words)}
    assert 0 <= lanes.min() <= lanes.max() < layout.size
    values = np.arange(1, 2 * size + 1).reshape(2, size)
    packed = layout.pack(values)
    assert (packed != 0).sum() == 2 * size
    assert np.array_equal(layout.unpack(packed), values)
