"""The part of a potential that is kept from step to step, as a row of the contract's table."""

from typing import Any

from hw.contract.neuron import MAX_WIDTH
from sw.importers.affine import ConvertError

__all__ = ["TOLERANCE", "decay_fields"]

TOLERANCE = 1e-6
"""Within it two numbers are the same: files have float32, in which 0.96 is 0.959999999104."""

MAX_SHIFT = 15


def decay_fields(kept: float) -> tuple[dict[str, Any], str]:
    """Fields of `LIFParameters` for neurons that keep this part of a potential, and by how much
    they are approximated (empty: not at all).

    Raises
    ------
    ConvertError
        When no row of the contract keeps it.
    """
    if not 0 <= kept <= 1 + TOLERANCE:
        raise ConvertError(f"keeps {kept:.6g} of a potential per step, which must lie in 0 to 1")
    if kept >= 1 - TOLERANCE:
        return {"decay": "none", "decay_shift": 0}, ""
    if kept <= TOLERANCE:  # a potential of at most 32 bits is gone
        return {"decay": "shift", "decay_shift": MAX_WIDTH}, ""
    rows = {
        (decay, shift): share
        for shift in range(1, MAX_SHIFT + 1)
        for decay, share in (("shift", 2.0**-shift), ("leak", 1 - 2.0**-shift))
    }
    (decay, shift), share = min(rows.items(), key=lambda row: abs(row[1] - kept))
    if abs(share - kept) <= TOLERANCE:
        return {"decay": decay, "decay_shift": shift}, ""
    raise ConvertError(
        f"keeps {kept:.6g} of a potential per step, which must be 2^-k or 1 - 2^-k (the nearest "
        f"is {share:g})"
    )
