"""What is looked through: shapes of dense networks for a data set, or one network as it is."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hw.contract.checks import SternaError, require_int
from hw.contract.spec import WEIGHT_BITS

__all__ = ["ExploreError", "Shape", "shapes"]


class ExploreError(SternaError, ValueError):
    """A space that cannot be looked through."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A network that could be trained.

    Parameters
    ----------
    hidden
        Neurons of each hidden layer.
    weight_bits, steps
        Width of the weights, T.
    limit
        Most spikes that a neuron sends at once: 1 of ternary ones.
    """

    hidden: tuple[int, ...]
    weight_bits: int
    steps: int
    limit: int = 1

    @property
    def name(self) -> str:
        """Short, and of a file."""
        counted = f"-l{self.limit}" if self.limit > 1 else ""
        return f"h{'x'.join(map(str, self.hidden))}-w{self.weight_bits}-t{self.steps}{counted}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**vars(self), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Shape":
        """Inverse of `to_dict`."""
        return cls(**{**data, "hidden": tuple(data["hidden"])})


def shapes(
    hidden: Sequence[Sequence[int]],
    weight_bits: Sequence[int],
    steps: Sequence[int],
    limits: Sequence[int] = (1,),
) -> list[Shape]:
    """Every combination.

    Raises
    ------
    ExploreError
        For none, and for what no network can have.
    """
    if not (hidden and weight_bits and steps and limits):
        raise ExploreError("Hidden layers, widths, time steps and limits must be at least one each")
    for sizes in hidden:
        for size in sizes:
            require_int("Neurons of a hidden layer", size, 1, 65536)
    for bits in weight_bits:
        require_int("Weight width", bits, WEIGHT_BITS.start, WEIGHT_BITS.stop - 1)
    for count in steps:
        require_int("Time steps", count, 1, 1024)
    for limit in limits:
        require_int("Limit of spikes", limit, 1, 15)
    return [
        Shape(hidden=tuple(h), weight_bits=w, steps=t, limit=limit)
        for h, w, t, limit in dict.fromkeys(
            itertools.product(map(tuple, hidden), weight_bits, steps, limits)
        )
    ]
