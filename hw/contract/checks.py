"""Refusals, each one sentence, and the checks that raise them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

__all__ = [
    "InputError",
    "SpecError",
    "SternaError",
    "only_known",
    "require",
    "require_int",
    "signed_bits",
]


class SternaError(Exception):
    """A fault in what the user gave; its text is one sentence that can be shown as it is."""


class SpecError(SternaError, ValueError):
    """A specification that no network can have."""


class InputError(SternaError, ValueError):
    """Pixels that the network cannot take."""


def signed_bits(bound: int) -> int:
    """Bits of the narrowest two's-complement integer that holds -bound .. +bound."""
    return int(bound).bit_length() + 1


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


def only_known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a dataclass from JSON data; a SpecError if there are others."""
    require(isinstance(data, Mapping), f"{cls.__name__} must be an object, not {data!r}")
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(data) - known)
    require(not unknown, f"{cls.__name__} has no field {unknown[0]!r}" if unknown else "")
    return dict(data)
