"""How a user's own examples become a network's unsigned pixels, and what its classes are called.

The rule is fitted on training data (`sw.data.arrays`) and belongs to the specification: so a
network takes raw features, and answers in the user's words. Hardware sees pixels only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.checks import (
    InputError,
    only_known,
    plain_array,
    plain_numbers,
    require,
    require_finite,
    require_int,
)
from hw.contract.edge import Shape
from hw.contract.text import number_of

__all__ = ["AXES", "Encoding", "plain_labels"]

AXES = ("f", "hw", "hwc", "chw", "tf", "thw", "thwc", "tchw")
"""What the axes of an example may be: features; rows, columns, channels of a picture; and, before
them, the time steps of a recording."""

MAX_SIDE = 65536
MAX_LABEL = 256
MAX_INT = 1 << 53
"""Of a bound: up to here every integer is a double."""
CHUNK = 4096
"""Examples encoded at once: the reals in between take eight bytes each."""

Real = npt.NDArray[np.float64]


def _is_bound(value: object) -> bool:
    whole = type(value) is int and abs(value) <= MAX_INT
    return whole or (type(value) is float and math.isfinite(value))


def plain_labels(what: str, given: Any) -> npt.NDArray[Any]:
    """Labels as int64 or text; whole reals and truth values are integers, too.

    Raises
    ------
    InputError
        For what is neither.
    """
    if isinstance(given, (list, tuple)) and len({isinstance(one, str) for one in given}) > 1:
        raise InputError(f"{what} must be integers or text, not both")
    labels = plain_array(what, given)
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(str)
    if labels.dtype.kind in "fiu":
        # Of a half no bound of ours is a number.
        wide = labels.astype(np.float64) if labels.dtype.kind == "f" else labels
        with np.errstate(invalid="ignore"):
            whole = (np.abs(wide) <= MAX_INT) & (wide == np.round(wide))
        if not whole.all():
            raise InputError(f"{what} must be integers or text, not {labels[~whole].flat[0]}")
    if labels.dtype.kind not in "fbiuU":
        raise InputError(f"{what} must be integers or text, not {labels.dtype}")
    return labels if labels.dtype.kind == "U" else labels.astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """A raw value x becomes the nearest of the pixels 0 .. 2^B - 1 that divide low .. high evenly:

        floor((x - low) / (high - low) * (2^B - 1) + 1/2), not below 0, not above 2^B - 1

    in IEEE double precision, in this order. `signed` ones have two channels: this one, then the
    same of low - x.

    Parameters
    ----------
    shape, axes
        Of an example: (8, 8) and "hw", for instance; one of `AXES`.
    low, high
        One for all values, or one for each channel; of features, one for each.
    signed
        Whether values below `low` count, in channels of their own behind the others.
    labels
        Names of the classes in the order of the logits, all text or all integers; empty: numbers.

    Raises
    ------
    SpecError
        For what no encoding can have.
    """

    shape: tuple[int, ...]
    axes: str
    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...]
    signed: bool = False
    labels: tuple[str, ...] | tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(
            self.axes in AXES,
            f"Axes of an encoding must be one of {', '.join(AXES)}, not {self.axes!r}",
        )
        require(
            isinstance(self.shape, tuple) and len(self.shape) == len(self.axes),
            f"Shape of an encoding must have {len(self.axes)} sides, not {self.shape!r}",
        )
        for side in self.shape:
            require_int("Sides of an encoding", side, 1, MAX_SIDE)
        require(isinstance(self.signed, bool), f"Signed must be true or false, not {self.signed!r}")
        self._check_ranges()
        self._check_labels()

    def _check_ranges(self) -> None:
        channels = self._maps[0]
        for what in ("low", "high"):
            values = getattr(self, what)
            require(
                isinstance(values, tuple)
                and len(values) in (1, channels)
                and all(map(_is_bound, values)),
                f"Bounds of an encoding must be one number or {channels} of them, not {values!r}",
            )
            # So that 0 and 0.0 have one digest.
            object.__setattr__(self, what, tuple(float(v) + 0.0 for v in values))
        low, high = (bound.tolist() for bound in self.bounds)
        require(
            all(a < b and math.isfinite(b - a) for a, b in zip(low, high, strict=True)),
            "Bounds of an encoding must be finite, the upper one above the lower one",
        )

    def _check_labels(self) -> None:
        labels, kinds = self.labels, {type(label) for label in self.labels}
        require(
            isinstance(labels, tuple) and (kinds <= {int} or kinds <= {str}),
            f"Labels of an encoding must be all text or all integers, not {labels!r}",
        )
        require(
            all(0 < len(str(label)) <= MAX_LABEL for label in labels)
            and len(set(labels)) == len(labels),
            f"Labels of an encoding must be distinct and have 1 to {MAX_LABEL} characters",
        )

    @property
    def bounds(self) -> tuple[Real, Real]:
        """Bounds of each channel, (channels,)."""
        channels = self._maps[0]
        low, high = (np.array(values, dtype=np.float64) for values in (self.low, self.high))
        return np.broadcast_to(low, channels), np.broadcast_to(high, channels)

    @property
    def _maps(self) -> Shape:
        """Channels, rows, columns as given; a feature is a channel."""
        sides = dict(zip(self.axes, self.shape, strict=True))
        return sides.get("c", sides.get("f", 1)), sides.get("h", 1), sides.get("w", 1)

    @property
    def timed(self) -> bool:
        """Whether an example is a recording."""
        return self.axes[0] == "t"

    @property
    def steps(self) -> int:
        """Images in an example."""
        return self.shape[0] if self.timed else 1

    @property
    def is_flat(self) -> bool:
        """Whether an example has features, and no rows and columns."""
        return self.axes[-1] == "f"

    @property
    def map_shape(self) -> Shape:
        """Channels, rows, columns of an image of pixels."""
        channels, rows, columns = self._maps
        return channels * (1 + self.signed), rows, columns

    @property
    def size(self) -> int:
        """Pixels of an image."""
        return math.prod(self.map_shape)

    @property
    def text(self) -> str:
        """In words: what goes in, as how many pixels, and the classes."""
        channels, rows, columns = self._maps
        what = number_of(channels, "feature") if self.is_flat else f"pictures of {rows}x{columns}"
        what += f" in {channels} channels" * (channels > 1 and not self.is_flat)
        whole = f"recordings of {self.steps} steps, {what}" if self.timed else what
        ends = [f"{bound:g}" for bound in (self.low[0], self.high[0])]
        own = max(len(self.low), len(self.high)) > 1
        span = "each over a range of its own" if own else f"from {ends[0]} to {ends[1]}"
        signs = ", and as much below it" * self.signed
        names = ", ".join(map(str, self.labels[:4])) + ", .." * (len(self.labels) > 4)
        classes = f"; {len(self.labels)} classes: {names}" if self.labels else ""
        pixels = number_of(self.size, "pixel")
        return f"{whole}, {span}{signs}, as {pixels}{classes}"

    def encode(self, x: object, bits: int) -> npt.NDArray[np.uint8]:
        """Pixels of raw examples.

        Parameters
        ----------
        x
            Numbers `(n, *shape)`, integers or reals.
        bits
            Of a pixel, 1 to 8.

        Returns
        -------
        ndarray
            uint8 (n, steps * size): images one after the other, each channels, rows, columns.

        Raises
        ------
        InputError
            For values of another shape, and for what is no finite number.
        """
        values = self.checked(x)
        require_finite("Examples", values)
        pixels = np.empty((len(values), self.steps * self.size), dtype=np.uint8)
        for start in range(0, len(values), CHUNK):
            part = slice(start, start + CHUNK)
            pixels[part] = self._encode(values[part], bits)
        return pixels

    def clipped(self, x: object) -> float:
        """Share of the values that lie beyond the range: they become the darkest or the brightest
        pixel."""
        values, beyond = self.checked(x), 0
        low, high = (bound[:, None, None] for bound in self.bounds)
        least = 2 * low - high if self.signed else low
        for start in range(0, len(values), CHUNK):
            maps = self.as_maps(values[start : start + CHUNK])
            beyond += int(((maps < least) | (maps > high)).sum())
        return beyond / max(1, values.size)

    def checked(self, x: object) -> npt.NDArray[Any]:
        """Examples as an array `(n, *shape)` of numbers.

        Raises
        ------
        InputError
            When they are of another shape, or no numbers.
        """
        values = plain_numbers("Examples", x)
        if values.shape[1:] != self.shape or values.ndim == 0:
            sides = ", ".join(map(str, self.shape))
            raise InputError(f"Examples must have shape (n, {sides}), not {values.shape}")
        return values

    def _encode(self, values: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
        maps = self.as_maps(values.astype(np.float64))
        low, high = (bound[:, None, None] for bound in self.bounds)
        most = 2**bits - 1
        with np.errstate(over="ignore"):  # far outside is outside
            shares = (maps - low) / (high - low) * most
        both = [shares, -shares] if self.signed else [shares]
        pixels = np.clip(np.floor(np.concatenate(both, axis=2) + 0.5), 0, most)
        return pixels.astype(np.uint8).reshape(len(values), -1)

    def as_maps(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Examples `(n, *shape)` as (n, steps, channels, rows, columns)."""
        if self.axes[-1] == "c":
            values = np.moveaxis(values, -1, -3)
        return values.reshape(len(values), self.steps, *self._maps)

    def names(self, classes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
        """What classes (numbers) are called."""
        return np.array(self.labels)[classes] if self.labels else classes

    def numbers(self, labels: Sequence[Any] | npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Classes of labels (n,), int64.

        Raises
        ------
        InputError
            For a label that no class has.
        """
        array = plain_labels("Labels", labels)
        if not self.labels:
            return array.astype(np.int64)
        known = {label: n for n, label in enumerate(self.labels)}
        kind, plain = type(self.labels[0]), array.tolist()
        strange = next((one for one in plain if type(one) is not kind or one not in known), None)
        if strange is not None:
            some = ", ".join(map(repr, self.labels[:5])) + ", .." * (len(self.labels) > 5)
            raise InputError(f"Labels must be among {some}, not {strange!r}")
        return np.array([known[one] for one in plain], dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` is its inverse."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Encoding":
        """Inverse of `to_dict`; raises SpecError, or TypeError for what is missing."""
        values: dict[str, Any] = only_known(cls, data)
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = tuple(value)
        return cls(**values)
