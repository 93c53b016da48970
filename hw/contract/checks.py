"""Refusals, each one sentence, and the checks that raise them."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

__all__ = [
    "FormerName",
    "InputError",
    "SpecError",
    "SternaError",
    "former_name",
    "master_limits",
    "only_known",
    "plain_array",
    "plain_numbers",
    "require",
    "require_finite",
    "require_int",
    "require_name",
    "safe_name",
    "signed_bits",
]


class SternaError(Exception):
    """A fault in what the user gave; its text is one sentence that can be shown as it is."""


class SpecError(SternaError, ValueError):
    """A specification that no network can have."""


class InputError(SternaError, ValueError):
    """Pixels that the network cannot take."""


class FormerName(str):
    """A name from a file that is older than the rule for names; it is not given to anything new."""


NAME = {"": r"[A-Za-z][A-Za-z0-9_]{0,63}", "-": r"[A-Za-z](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?"}
"""By what may join words, besides `_`."""


def plain_array(what: str, given: Any) -> np.ndarray[Any, Any]:
    """Whatever NumPy makes an array of: lists, tensors, tables.

    Raises
    ------
    InputError
        For what is no array, or has values that are masked out.
    """
    if np.ma.isMaskedArray(given) and np.ma.getmaskarray(given).any():
        raise InputError(f"{what} must not have values that are masked out")
    try:
        return np.asarray(given)
    except ValueError:
        raise InputError(f"{what} must be one array, all its entries of one shape") from None
    except Exception as error:  # a stranger's __array__ may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{what} must be one array ({reason})") from None


def signed_bits(bound: int) -> int:
    """Bits of the narrowest two's-complement integer that holds -bound .. +bound."""
    return int(bound).bit_length() + 1


def plain_numbers(what: str, given: Any) -> np.ndarray[Any, Any]:
    """As `plain_array`, of integers, reals or truth values.

    Raises
    ------
    InputError
        For other things, too.
    """
    array = plain_array(what, given)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} must be numbers, not {array.dtype}")
    return array


def require_finite(what: str, values: np.ndarray[Any, Any]) -> None:
    """Raise an InputError that numbers the first entry (n, ...) with NaN or infinity."""
    for start in range(0, len(values), 4096):
        part = values[start : start + 4096]
        finite = np.isfinite(part).reshape(len(part), -1).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{what} must be finite numbers, and number {start + int(finite.argmin())} has one "
                "that is not"
            )


def master_limits(master_bits: int, weight_bits: int) -> tuple[int, int]:
    """Smallest and largest master (`hw.contract.learning`): those of the weights -q and q. Of all
    masters of M bits, those of the weight -q - 1 are below."""
    fraction, q = master_bits - weight_bits, (1 << weight_bits - 1) - 1
    return -q << fraction, (q + 1 << fraction) - 1


def require(condition: bool, sentence: str) -> None:
    """Raise a SpecError with this sentence unless the condition holds."""
    if not condition:
        raise SpecError(sentence)


def require_int(what: str, value: object, low: int, high: int) -> None:
    """Raise a SpecError unless the value is an integer from low to high."""
    require(
        isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        f"{what} must be an integer from {low} to {high}, not {value!r}",
    )


def require_name(what: str, name: object, joint: str = "") -> None:
    """Raise a SpecError unless it is a name: safe in a file system, in Verilog and on a command
    line. `joint` is "-" where hyphens may join words. A `FormerName` need only be an identifier.
    """
    if isinstance(name, FormerName):
        fits = name.replace(joint or "_", "_").isidentifier()
    else:
        fits = isinstance(name, str) and re.fullmatch(NAME[joint], name) is not None
    inner = " and inner -" if joint else ""
    require(
        fits,
        f"{what} must be of ASCII letters, digits, _{inner}, begin with a letter and have at most "
        f"64 characters, not {name!r}",
    )


def former_name(name: Any, joint: str = "") -> Any:
    """A name as a file has it: marked if it is older than the rule."""
    if isinstance(name, str) and not re.fullmatch(NAME[joint], name):
        return FormerName(name)
    return name


def safe_name(name: str, joint: str = "") -> str:
    """What generated files are called after: the name, or, of one that is older than the rule, its
    ASCII letters and a digest, that no two names have in common."""
    if re.fullmatch(NAME[joint], name):
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")[:40]
    return "_".join(filter(None, ("n", words, hashlib.sha256(name.encode()).hexdigest()[:8])))


def only_known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a dataclass from JSON data; a SpecError if there are others."""
    require(isinstance(data, Mapping), f"{cls.__name__} must be an object, not {data!r}")
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(data) - known)
    require(not unknown, f"{cls.__name__} has no field {unknown[0]!r}" if unknown else "")
    return dict(data)
