"""A user's own data set: arrays of raw examples and their labels, in two parts.

What a network is fed are pixels; how raw values become pixels is fitted here on the training part
(`hw.contract.encoding.Encoding`), and nothing is learned from the test part.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.checks import InputError, SpecError, plain_numbers, require_finite, require_name
from hw.contract.edge import Shape
from hw.contract.encoding import AXES, Encoding, plain_labels
from hw.contract.text import none_of
from sw.data.events import SpikeTrains
from sw.data.published import EVERY_FIFTH, NAMES, TEST_EVERY, ranks
from sw.data.split import DataError, Split, check_split

__all__ = ["Dataset", "Spikes", "own_name"]

CHANNELS = 4
"""Most channels of a picture that are told from rows and columns by their number."""

OUTER = (1.0, 99.0)
"""Percentiles of a real-valued feature that become its darkest and its brightest pixel: measured
features have outliers."""

Array = npt.NDArray[Any]
Parts = dict[str, tuple[Array, Array]]


class Dataset:
    """Examples and labels for training, and others for testing.

    Parameters
    ----------
    x
        Numbers (n, features), pictures (n, rows, columns[, channels]) or (n, channels, rows,
        columns), or recordings (n, steps, ...), told apart by shape: up to four channels. `uint8`
        ones are pictures of 0 to 255, unless none is above 127.
    y
        Labels (n,), integers or text.
    x_test, y_test
        For testing, never for training; without them, of each class the first and every fifth
        example after it.
    name
        Of the data set.
    axes
        In place of what the shape says, one of `hw.contract.encoding.AXES`: "tf", for instance.

    Attributes
    ----------
    rule
        How the test examples were chosen.
    told
        What a reader of files took for what, where that is not certain.

    Raises
    ------
    DataError
        One sentence, for what is no data set.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        x_test: Any = None,
        y_test: Any = None,
        *,
        name: str = "data",
        axes: str | None = None,
    ) -> None:
        self.name, self.told = own_name(name), ""
        if (x_test is None) != (y_test is None):
            raise DataError("Examples for testing and their labels must be given together")
        examples = _examples("x", x)
        labels = _labels("y", y, len(examples))
        if x_test is None:
            number = np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.int64)
            chosen = ranks(number) % TEST_EVERY == 0
            self.rule = EVERY_FIFTH
            self._parts: Parts = {
                "train": (examples[~chosen], labels[~chosen]),
                "test": (examples[chosen], labels[chosen]),
            }
        else:
            self.rule = "as given"
            others = _examples("x_test", x_test)
            self._parts = {
                "train": (examples, labels),
                "test": (others, _labels("y_test", y_test, len(others))),
            }
        self._check(axes)

    def _check(self, axes: str | None) -> None:
        (x, y), (x_test, y_test) = self._parts["train"], self._parts["test"]
        if x.shape[1:] != x_test.shape[1:]:
            raise DataError(
                f"Examples for testing must have shape (n, {_sides(x.shape[1:])}), not "
                f"{x_test.shape}"
            )
        if (x.dtype == np.uint8) != (x_test.dtype == np.uint8):
            raise DataError(
                f"Examples for testing must be of the same type as the others, {x.dtype}, not "
                f"{x_test.dtype}"
            )
        strange = sorted(set(y_test.tolist()) - set(y.tolist()), key=str)
        if strange:
            raise DataError(
                f"Class {strange[0]!r} of data set {self.name} must have examples for training"
                + (", too" if self.rule != EVERY_FIFTH else ": one more than for testing")
            )
        if len(set(y.tolist())) < 2:
            raise DataError(f"Data set {self.name} must have at least two classes")
        if axes is not None and axes not in AXES:
            raise DataError(none_of("Axes", axes, AXES))
        self.axes = axes or _axes(self.name, x.shape)
        if len(self.axes) != x.ndim - 1:
            raise DataError(f"Axes {self.axes} must be those of examples of {_sides(x.shape[1:])}")
        try:
            _ = self.encoding
        except SpecError as error:
            raise DataError(f"Data set {self.name} cannot be pixels: {error}") from None

    @property
    def x(self) -> Array:
        """Training examples (n, ...), raw."""
        return self._parts["train"][0]

    @property
    def y(self) -> Array:
        """Labels of the training examples (n,)."""
        return self._parts["train"][1]

    @property
    def x_test(self) -> Array:
        """Test examples (n, ...), raw."""
        return self._parts["test"][0]

    @property
    def y_test(self) -> Array:
        """Labels of the test examples (n,)."""
        return self._parts["test"][1]

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.labels)

    @cached_property
    def labels(self) -> tuple[Any, ...]:
        """Names of the classes, in the order of a network's logits: sorted."""
        return tuple(np.unique(self.y).tolist())

    @cached_property
    def encoding(self) -> Encoding | None:
        """How raw values become pixels, fitted on the training part; None: they are pixels.

        Values of which some are negative have two channels, from 0 to the largest magnitude.
        Others: features from their least to their largest value (reals: the 1st and the 99th
        percentile), each by itself; pictures from 0 to their largest value, each channel by
        itself, or to 255 or 1, where they look like such.
        """
        return _fitted(self.x, self.axes, self.labels)

    def split(
        self, split: str, bits: int, *, steps: int = 1, encoding: Encoding | None = None
    ) -> Split:
        """One part as a network takes it.

        Parameters
        ----------
        split
            `train` or `test`.
        bits
            Of a pixel, 1 to 8.
        steps
            Images of a recording; those of an array cannot be binned anew.
        encoding
            Of a network, in place of this data set's own.

        Raises
        ------
        DataError
            For a wrong argument, a value that is no finite number, and a label that the encoding
            does not know.
        """
        rule = encoding or self.encoding
        assert rule is not None
        check_split(split, bits)
        if rule.timed and steps not in (1, rule.steps):
            raise DataError(
                f"Recordings of {self.name} must be seen in {rule.steps} time steps, not {steps}"
            )
        x, y = self._parts[split]
        try:
            pixels, numbers = rule.encode(x, bits), rule.numbers(y)
        except InputError as error:
            raise DataError(f"Data set {self.name} does not fit: {error}") from None
        return Split(
            name=self.name,
            split=split,
            bits=bits,
            images=pixels,
            labels=numbers,
            shape=rule.map_shape,
            timed=rule.timed,
            rule=self.rule,
            encoding=rule,
            white=255.0 if x.dtype == np.uint8 else 1.0,
            clipped=rule.clipped(x),
        )

    def pixels(self, split: str, bits: int, size: int) -> Split:
        """One part as it is, for a network that is fed pixels: whole numbers 0 .. 2^bits - 1, as
        many as the network takes, and class numbers.

        Raises
        ------
        DataError
            When there are other values.
        """
        x, y = self._parts[split]
        most = 2**bits - 1
        flat = x.reshape(len(x), -1)
        with np.errstate(invalid="ignore"):
            whole = flat.astype(np.uint8)
        fits = flat.shape[1] == size and np.array_equal(whole, flat) and int(whole.max()) <= most
        if not fits or y.dtype.kind != "i" or int(y.min()) < 0:
            raise DataError(
                f"Data set {self.name} must have {size} whole numbers from 0 to {most} in an "
                "example, and class numbers: the network has no encoding of its own"
            )
        encoding = Encoding(shape=x.shape[1:], axes=self.axes, high=(float(most),))
        return Split(
            name=self.name,
            split=split,
            bits=bits,
            images=encoding.encode(x, bits),
            labels=y,
            shape=encoding.map_shape,
            timed=encoding.timed,
            rule=self.rule,
        )

    def __len__(self) -> int:
        """Examples of both parts."""
        return len(self.y) + len(self.y_test)

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}: {len(self.y)} + {len(self.y_test)} examples of "
            f"{_sides(self.x.shape[1:])}, {self.classes} classes)"
        )


class Spikes(Dataset):
    """Spike trains and their labels, which networks that were trained elsewhere are imported on:
    they are counted by time steps.

    Parameters
    ----------
    events, offset
        As of `sw.data.events.SpikeTrains.of`.
    y
        Labels (n,), integers or text.
    events_test, offset_test, y_test
        For testing; without them, of each class the first and every fifth recording after it.
    name
        Of the data set.
    sensor
        Rows and columns, or inputs; the default holds all spikes.
    time_step
        Seconds of a frame.

    Raises
    ------
    DataError
        One sentence, for what is no data set.
    """

    def __init__(
        self,
        events: Any,
        offset: Any,
        y: Any,
        events_test: Any = None,
        offset_test: Any = None,
        y_test: Any = None,
        *,
        name: str = "data",
        sensor: Any = None,
        time_step: float | None = None,
    ) -> None:
        self.name, self.axes, self.told = own_name(name), "", ""
        given = [part is None for part in (events_test, offset_test, y_test)]
        if any(given) != all(given):
            raise DataError("Spikes for testing, offsets and labels must be given together")
        trains = SpikeTrains.of(events, offset)
        labels = _labels("y", y, len(trains))
        if all(given):
            number = np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.int64)
            chosen = ranks(number) % TEST_EVERY == 0
            self.rule = EVERY_FIFTH
            self._trains = {"train": trains.taken(~chosen), "test": trains.taken(chosen)}
            self._y = {"train": labels[~chosen], "test": labels[chosen]}
        else:
            others = SpikeTrains.of(events_test, offset_test, "events_test")
            if others.axes != trains.axes:
                raise DataError("Spikes for testing must have as many columns as the others")
            self.rule = "as given"
            self._trains = {"train": trains, "test": others}
            self._y = {"train": labels, "test": _labels("y_test", y_test, len(others))}
        if len(set(self.y.tolist())) < 2 or not set(self.y_test.tolist()) <= set(self.y.tolist()):
            raise DataError(
                f"Data set {self.name} must have two classes or more, each with recordings for "
                "training"
            )
        self.sensor = self._sensor(sensor)
        self.at(time_step)

    def _sensor(self, given: Any) -> Shape:
        parts = self._trains.values()
        least = tuple(max(sides) for sides in zip(*(part.sensor for part in parts), strict=True))
        if given is None:
            return least  # type: ignore[return-value]
        try:
            sides = [int(side) for side in np.ravel(given)]
        except (OverflowError, TypeError, ValueError):
            sides = []
        wanted = 2 if self._trains["train"].axes == "chw" else 1
        if len(sides) != wanted or min(sides) < 1:
            form = "rows and columns" if wanted == 2 else "a number of inputs"
            raise DataError(f"Sensor of data set {self.name} must be {form}, not {given!r}")
        shape = (2, *sides) if wanted == 2 else (*sides, 1, 1)
        if any(a < b for a, b in zip(shape, least, strict=True)):
            raise DataError(f"Sensor of data set {self.name} must hold all spikes, not {sides}")
        return shape  # type: ignore[return-value]

    def at(self, time_step: float | None) -> "Spikes":
        """With frames of so many seconds.

        Raises
        ------
        DataError
            When it is no time.
        """
        if time_step is not None and not 0 < time_step < float("inf"):
            raise DataError(f"Time step must be a positive number of seconds, not {time_step!r}")
        self.time_step = time_step
        return self

    @property
    def steps(self) -> int | None:
        """Frames that hold the longest recording for training; None: without a time step."""
        if self.time_step is None:
            return None
        last = float(self._trains["train"].seconds.max(initial=0.0))
        steps = min(last / self.time_step, 1e9)  # of more, none is taken
        return int(steps * (1 + 1e-9) + 1e-9) + 1

    @property
    def x(self) -> Array:
        raise self._no_arrays()

    @property
    def x_test(self) -> Array:
        raise self._no_arrays()

    def _no_arrays(self) -> DataError:
        return DataError(
            f"Data set {self.name} has spike trains, on which networks are imported (--dt): to "
            "train on them, count them into arrays of your own"
        )

    @property
    def y(self) -> Array:
        return self._y["train"]

    @property
    def y_test(self) -> Array:
        return self._y["test"]

    @cached_property
    def encoding(self) -> Encoding | None:  # pyright: ignore
        raise self._no_arrays()

    def split(
        self, split: str, bits: int, *, steps: int = 1, encoding: Encoding | None = None
    ) -> Split:
        """One part, its spikes counted; a count is a pixel, none above 2^bits - 1.

        Parameters
        ----------
        split, bits, steps
            As of `Dataset.split`.
        encoding
            Of a network that was made for such data.

        Raises
        ------
        DataError
            For a wrong argument, and data that do not fit.
        """
        check_split(split, bits)
        if self.time_step is None:
            raise DataError(
                f"Data set {self.name} has spike trains: give the seconds of a time step (--dt)"
            )
        if not 1 <= steps <= 1024:
            raise DataError(f"Spikes must be counted in 1 to 1024 time steps, not {steps}")
        rule = encoding or self._rule(steps, bits)
        if (rule.high, rule.low, rule.signed, rule.steps) != (
            (2.0**bits - 1,),
            (0.0,),
            False,
            steps,
        ):
            raise DataError(f"Network must be one for spike trains, which {self.name} has")
        trains, most = self._trains[split], 2**bits - 1
        images, late, lost = trains.frames(steps, self.time_step, most, rule.map_shape)
        if late == 1 and len(trains.seconds):
            raise DataError(
                f"Spikes of {self.name} all come after {steps} time steps of {self.time_step:g} s: "
                "times are seconds, of integers microseconds, from the beginning of a recording"
            )
        try:
            numbers = rule.numbers(self._y[split])
        except InputError as error:
            raise DataError(f"Data set {self.name} does not fit: {error}") from None
        return Split(
            name=self.name,
            split=split,
            bits=bits,
            images=images,
            labels=numbers,
            shape=rule.map_shape,
            timed=True,
            rule=self.rule,
            encoding=rule,
            time_step=self.time_step,
            counted=f"spikes in {steps} steps of {self.time_step:g} s, at most {most} of an input "
            f"in a step ({100 * lost:.2g} % are more), {100 * late:.2g} % come later",
        )

    def _rule(self, steps: int, bits: int) -> Encoding:
        axes = self._trains["train"].axes
        shape = self.sensor if axes == "chw" else self.sensor[:1]
        high = (2.0**bits - 1,)
        return Encoding(shape=(steps, *shape), axes=f"t{axes}", high=high, labels=self.labels)

    def pixels(self, split: str, bits: int, size: int) -> Split:
        """As `split`, of a network without an encoding: there is none of spike trains."""
        raise DataError(f"Network must be one for spike trains, which {self.name} has")

    def __repr__(self) -> str:
        sides = ", ".join(map(str, self.sensor))
        return (
            f"Spikes({self.name!r}: {len(self.y)} + {len(self.y_test)} recordings of ({sides}) "
            f"inputs, {self.classes} classes)"
        )


def own_name(name: object) -> str:
    """A name for data that are not the published ones: letters, digits and `_`, and not the name
    of a published set."""
    text = str(name)
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in text).strip("_")[:48]
    if not plain or not plain[0].isalpha():
        plain = f"data_{plain}".rstrip("_")
    if plain.lower().replace("_", "-") in NAMES:
        plain = f"own_{plain}"
    require_name("Name of a data set", plain)
    return plain


def _examples(what: str, x: Any) -> Array:
    """A copy: what the rule was fitted on does not change any more."""
    title = f"Examples {what}"
    try:
        array = plain_numbers(title, x).copy()
        if array.ndim and not len(array):
            raise InputError(f"{title} must have at least one example, not none")
        if array.ndim < 2 or 0 in array.shape:
            raise InputError(f"{title} must have shape (n, features) or more, not {array.shape}")
        require_finite(title, array)
    except InputError as error:
        raise DataError(str(error)) from None
    return array


def _labels(what: str, y: Any, n: int) -> Array:
    try:
        labels = plain_labels(f"Labels {what}", y)
    except InputError as error:
        raise DataError(str(error)) from None
    if labels.shape != (n,):
        more = ": take argmax of one-hot labels" if labels.ndim == 2 and len(labels) == n else ""
        raise DataError(f"Labels {what} must have shape ({n},), not {labels.shape}{more}")
    return labels


def _axes(name: str, shape: tuple[int, ...]) -> str:
    """What the axes of examples (n, ...) are."""
    sides = shape[1:]
    few = [side <= CHANNELS for side in sides]
    by_number = {1: "f", 2: "hw"}
    if len(sides) in by_number:
        return by_number[len(sides)]
    if len(sides) in (3, 4) and not (few[-1] and few[-3]):  # channels first, or last?
        time = "t" * (len(sides) - 3)
        if few[-1]:
            return f"{time}hwc"
        if few[-3]:
            return f"{time}chw"
        if not time:
            return "thw"
    raise DataError(
        f"Examples of data set {name} must be features, pictures or recordings with up to "
        f"{CHANNELS} channels, first or last, and by their shape (n, {_sides(sides)}) they may be "
        f"anything: say what the axes are, one of {', '.join(AXES)}"
    )


def _sides(sides: tuple[int, ...]) -> str:
    return ", ".join(map(str, sides))


def _fitted(x: Array, axes: str, labels: tuple[Any, ...]) -> Encoding:
    """See `Dataset.encoding`."""
    plain = Encoding(shape=x.shape[1:], axes=axes, high=(1.0,), labels=labels)
    maps = plain.as_maps(x)
    channels = np.moveaxis(maps, 2, 0).reshape(maps.shape[2], -1)
    least, most = channels.min(axis=1).astype(float), channels.max(axis=1).astype(float)
    signed = bool((least < 0).any())
    if plain.is_flat:
        if x.dtype.kind == "f":
            edges = np.percentile(channels, OUTER, axis=1)
            varied = edges[0] < edges[1]
            least, most = np.where(varied, edges, (least, most))
        low, high = least, most
        if signed:
            below = channels.min(axis=1) < 0
            low = np.where(below, 0.0, low)
            high = np.where(below, np.maximum(np.abs(least), np.abs(most)), high)
    else:
        low, high = np.zeros_like(most), np.maximum(np.abs(least), np.abs(most))
        whole = _white(x.dtype, float(high.max()))
        high = np.where(high > 0, high, 1.0) if whole is None else np.full_like(high, whole)
    step = np.maximum(1.0, np.abs(low) * 2.0**-40)
    high = np.where(high > low, high, low + step)  # what never changes is dark
    return replace(plain, low=_bounds(low), high=_bounds(high), signed=signed)


def _white(kind: np.dtype[Any], most: float) -> float | None:
    """The brightest value that pictures look like they could have; None: none in particular."""
    if kind == np.uint8 and most > 127:
        return 255.0
    if kind.kind == "f" and 0.5 < most <= 1:
        return 1.0
    return None


def _bounds(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """One for all where they are equal."""
    plain = tuple(map(float, values))
    return plain[:1] if len(set(plain)) == 1 else plain
