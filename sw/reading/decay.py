"""The part of a potential that is kept from step to step, as a row of the contract's table."""

from typing import Any

from torch import Tensor

from sw.importers.affine import ConvertError
from sw.learn.quantize import common_decay, nearest_decay

__all__ = ["TOLERANCE", "current_fields", "decay_fields", "decay_text", "decays_of", "joined"]

TOLERANCE = 1e-6
"""Within it two numbers are the same: files have float32, in which 0.96 is 0.959999999104."""


ROUNDING = 1e-12
"""Of float64."""


def decay_fields(kept: float, of: str = "a potential") -> tuple[dict[str, Any], str]:
    """Fields of `LIFParameters` for neurons that keep this part of a potential, and by how much
    they are approximated in the integers (empty: by no more than float32 does).

    Parameters
    ----------
    of
        What it is kept of, in words.

    Raises
    ------
    ConvertError
        When it is no part.
    """
    if not 0 <= kept <= 1 + TOLERANCE:
        raise ConvertError(f"keeps {kept:.6g} of {of} per step, which must lie in 0 to 1")
    fields, share = nearest_decay(kept)
    if abs(share - kept) <= ROUNDING:
        return fields, ""
    real = {"decay": "factor", "decay_shift": 0, "decay_factor": kept}
    if abs(share - kept) <= TOLERANCE:
        return real, ""
    return real, (
        f"keeps {share:.6g} ({decay_text(**fields)}) of {of} per step, not {kept:.6g}: "
        f"{share - kept:+.2g}"
    )


def current_fields(kept: float) -> tuple[dict[str, Any], str]:
    """`decay_fields` of neurons that keep this part of a synaptic current; of none, it is the
    drive.

    Raises
    ------
    ConvertError
        When it is no part.
    """
    fields, by = decay_fields(kept, "a synaptic current")
    if abs(kept) <= ROUNDING:
        return {}, ""
    return {name.replace("decay", "current"): value for name, value in fields.items()}, by


def joined(*approximated: str) -> str:
    """By how much several things are approximated."""
    return "; ".join(filter(None, approximated))


def decays_of(kept: Tensor) -> tuple[dict[str, Any], str, Tensor | None]:
    """Of neurons that keep parts of their own: fields of `LIFParameters`, by how much they are
    approximated, and the parts; None: all keep the same, which is in the fields.

    Raises
    ------
    ConvertError
        When one is no part.
    """
    low, high = float(kept.min()), float(kept.max())
    if high - low <= TOLERANCE:
        return *decay_fields(high), None
    for part in (low, high):
        decay_fields(part)
    fields, whole = common_decay(kept)
    off = whole.double() / 2 ** fields["decay_shift"] - kept
    worst = int(off.abs().argmax())
    told = ""
    if abs(float(off.flatten()[worst])) > TOLERANCE:
        told = (
            f"keeps {low:.6g} to {high:.6g} of a potential per step, each in parts of "
            f"1/{2 ** fields['decay_shift']}: {float(off.flatten()[worst]):+.2g} at most"
        )
    return {"decay": "factor", "decay_shift": 0, "decay_factor": high}, told, kept


def decay_text(decay: str, decay_shift: int, decay_factor: float = 0) -> str:
    """The part that is kept, in words."""
    if decay == "factor":
        return f"{decay_factor:g}/{2**decay_shift}" if decay_shift else f"{decay_factor:.6g}"
    power = 2**decay_shift
    return {"none": "all", "shift": f"1/{power}", "leak": f"1 - 1/{power}"}[decay]
