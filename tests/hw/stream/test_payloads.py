"""Widths of what the streams carry."""

import pytest
from amaranth.lib import data

from hw.stream.payloads import event, load_layout


def widths(layout: data.StructLayout) -> dict[str, int]:
    return {name: field.width for name, field in layout}


@pytest.mark.parametrize(("rows", "bits"), [(1, 0), (2, 1), (3, 2), (64, 6), (65, 7)])
def test_an_event_names_a_row(rows: int, bits: int) -> None:
    assert widths(event(rows)) == {"kind": 2, "negative": 1, "index": bits}


@pytest.mark.parametrize(
    ("parts", "part", "address", "bits"),
    [
        ([(7, 1)], 0, 1, 7),  # an address is never without a bit
        ([(7, 1), (3, 2)], 1, 1, 7),
        ([(3, 64), (9, 65), (4, 2)], 2, 7, 9),
        ([(1, 4)] * 5, 3, 2, 1),
    ],
)
def test_a_row_that_is_loaded_fits_every_memory(
    parts: list[tuple[int, int]], part: int, address: int, bits: int
) -> None:
    wanted = {"en": 1, "part": part, "address": address, "data": bits}
    assert widths(load_layout(parts)) == wanted
