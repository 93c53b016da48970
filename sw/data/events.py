"""Recordings of events, counted by time steps: N-MNIST's, and a user's own spike trains.

*Orchard et al. 2015.* An event is (t, x, y, p): microseconds, column, row, brighter or darker. The
events of a step become counts by (polarity, row, column): a map of two channels. A user's own may
be (t, i), too: spikes of input i.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.edge import Shape
from hw.contract.files import Archive, ArchiveError, ArrayError
from sw.data.split import DataError

__all__ = ["EVENT", "SIDE", "SpikeTrains", "bin_events", "read_nmnist"]

SIDE = 34
FILE = "nmnist_small.npz"
SPLITS = ("train", "test")
ARRAYS = ("x", "y", "p", "t_us", "offset", "label")
"""Of each split."""
HELD_OUT = 200
DURATION_US = 300_000
"""Three saccades of 100 ms; what comes later belongs to the last step."""

EVENT = np.dtype([("t", "<u4"), ("x", "u1"), ("y", "u1"), ("p", "u1")])

Events = npt.NDArray[np.void]


def bin_events(events: Events, steps: int, bits: int) -> npt.NDArray[np.uint8]:
    """Counts (steps, 2 * 34 * 34) of a recording, none above 2^bits - 1.

    Parameters
    ----------
    events
        Structured array of `EVENT`, in any order.
    steps
        Steps of equal length, DURATION_US in all.
    bits
        Width of a count.

    Raises
    ------
    DataError
        For an event beyond the sensor, or a polarity that is not 0 or 1.
    """
    if len(events) and (
        max(int(events["x"].max()), int(events["y"].max())) >= SIDE or int(events["p"].max()) > 1
    ):
        raise DataError(f"Events must lie within {SIDE}x{SIDE} pixels and have polarity 0 or 1")
    step = np.minimum(events["t"].astype(np.int64) * steps // DURATION_US, steps - 1)
    place = ((step * 2 + events["p"]) * SIDE + events["y"]) * SIDE + events["x"]
    counts = np.bincount(place, minlength=steps * 2 * SIDE * SIDE)
    return np.minimum(counts, 2**bits - 1).astype(np.uint8).reshape(steps, -1)


def read_nmnist(
    split: str, steps: int, bits: int, places: list[Path], where: str
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Recordings (n, steps * 2312) of the small set, and labels.

    The set has 1000 recordings for training and 100 for testing, too few to tell two networks
    apart: the last 200 of the former are held out with the latter, so that an accuracy is of 300
    recordings (standard error at 97 %: 1 point), and 800 are for training.

    Raises
    ------
    DataError
        When the file is nowhere, or is not what it should be.
    """
    path = next((place / FILE for place in places if (place / FILE).is_file()), None)
    if path is None:
        raise DataError(f"Data set nmnist-small is not on this machine: put {FILE} into {where}")
    try:
        arrays = Archive(path).integers(
            {f"{part}_{what}": None for part in SPLITS for what in ARRAYS},
            unread=[f"{part}_sample_id" for part in SPLITS],
        )
        parts = {name: _recordings(arrays, name) for name in SPLITS}
    except ArrayError as error:
        raise DataError(f"File {path} {error}") from None
    except (ArchiveError, OSError, ValueError, TypeError, IndexError):
        raise DataError(f"File {path} is truncated or not a set of recordings") from None
    (train, train_labels), (test, test_labels) = parts["train"], parts["test"]
    if split == "train":
        chosen, labels = train[:-HELD_OUT], train_labels[:-HELD_OUT]
    else:
        chosen = test + train[-HELD_OUT:]
        labels = np.concatenate([test_labels, train_labels[-HELD_OUT:]])
    counts = np.stack([bin_events(events, steps, bits).reshape(-1) for events in chosen])
    return counts, labels


def _recordings(
    archive: Mapping[str, npt.NDArray[Any]], name: str
) -> tuple[list[Events], npt.NDArray[np.int64]]:
    """The recordings of a split, one structured array each."""
    columns = {"t": "t_us", "x": "x", "y": "y", "p": "p"}
    events = np.zeros(len(archive[f"{name}_x"]), dtype=EVENT)
    for field, column in columns.items():
        events[field] = archive[f"{name}_{column}"]
        if not np.array_equal(events[field], archive[f"{name}_{column}"]):
            raise ValueError
    offsets = archive[f"{name}_offset"]
    labels = archive[f"{name}_label"].astype(np.int64)
    if len(labels) <= HELD_OUT * (name == "train") or len(offsets) != len(labels) + 1:
        raise ValueError
    if offsets[0] != 0 or offsets[-1] != len(events) or np.any(offsets[1:] < offsets[:-1]):
        raise ValueError
    return [events[a:b] for a, b in itertools.pairwise(offsets)], labels


# A user's own

MAX_INPUTS = {2: 65536, 4: 4096}
"""Bounds of i, and of x and y."""
MAX_VALUES = 1 << 31
"""Of all frames of a part."""
EARLY = 1e-9
"""Share of a time step by which a time may be short of it, as reals are."""


@dataclass(frozen=True, eq=False)
class SpikeTrains:
    """Spikes of n recordings, one recording after the other.

    Parameters
    ----------
    seconds
        (m,): times, each from the beginning of its recording.
    places
        int64 (m, 3): channel, row, column.
    offset
        int64 (n + 1,): where each recording begins, and where the last one ends.
    axes
        "chw", or "f" of spikes (t, i).
    """

    seconds: npt.NDArray[np.float64]
    places: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    axes: str

    @classmethod
    def of(cls, events: Any, offset: Any, what: str = "events") -> "SpikeTrains":
        """Spikes of an array (m, 4), columns t, x, y, p, or (m, 2), columns t, i.

        Times are microseconds where the array has integers, seconds where it has reals. p is 0 or
        1, or -1 or 1.

        Raises
        ------
        DataError
            One sentence, for what is no such array.
        """
        title = f"Spikes {what}"
        array, ends = np.asarray(events), np.asarray(offset)
        if array.ndim != 2 or array.shape[1] not in (2, 4) or array.dtype.kind not in "iuf":
            raise DataError(
                f"{title} must be numbers (m, 4), columns t, x, y, p, or (m, 2), columns t, i, not "
                f"{array.dtype} {array.shape}"
            )
        values = array.astype(np.float64)
        if not np.isfinite(values).all():
            raise DataError(f"{title} must be finite numbers")
        if (values[:, :3] < 0).any():
            raise DataError(f"{title} must have no negative times and places")
        if (values[:, 1:] != np.round(values[:, 1:])).any():
            raise DataError(f"{title} must have whole numbers behind the times")
        if (values[:, 1:] >= MAX_INPUTS[array.shape[1]]).any():
            raise DataError(f"{title} must have places below {MAX_INPUTS[array.shape[1]]}")
        if ends.ndim != 1 or ends.dtype.kind not in "iu" or len(ends) < 2:
            raise DataError(
                f"{title} must have an offset of each recording and of the end (n + 1,)"
            )
        ends = ends.astype(np.int64)
        if ends[0] != 0 or ends[-1] != len(array) or (np.diff(ends) < 0).any():
            raise DataError(
                f"Offsets of {what} must rise from 0 to {len(array)}, where the last recording ends"
            )
        unit = 1.0 if array.dtype.kind == "f" else 1e-6
        whole = values[:, 1:].astype(np.int64)
        places = np.zeros((len(array), 3), dtype=np.int64)
        if array.shape[1] == 2:
            places[:, 0] = whole[:, 0]
            return cls(values[:, 0] * unit, places, ends, "f")
        polarity = np.where(whole[:, 2] == -1, 0, whole[:, 2])
        if not np.isin(polarity, (0, 1)).all() or {-1, 0} <= set(np.unique(whole[:, 2]).tolist()):
            raise DataError(f"{title} must have polarities of 0 and 1, or of -1 and 1")
        places[:, 0], places[:, 1], places[:, 2] = polarity, whole[:, 1], whole[:, 0]
        return cls(values[:, 0] * unit, places, ends, "chw")

    def __len__(self) -> int:
        return len(self.offset) - 1

    @property
    def sensor(self) -> Shape:
        """Channels, rows, columns that hold all spikes."""
        most = self.places.max(axis=0, initial=0).tolist()
        return (2 if self.axes == "chw" else most[0] + 1, most[1] + 1, most[2] + 1)

    def taken(self, chosen: npt.NDArray[np.bool_]) -> "SpikeTrains":
        """Some of the recordings, (n,)."""
        lengths = np.diff(self.offset)
        of = np.repeat(chosen, lengths)
        ends = np.concatenate([[0], np.cumsum(lengths[chosen])])
        return SpikeTrains(self.seconds[of], self.places[of], ends.astype(np.int64), self.axes)

    def frames(
        self, steps: int, dt: float, most: int, sensor: Shape
    ) -> tuple[npt.NDArray[np.uint8], float, float]:
        """Counts (n, steps * size), none above `most`: frame k has the spikes from k dt on, before
        (k + 1) dt. And the shares of the spikes that are lost: behind the last frame, and beyond
        `most`.

        Raises
        ------
        DataError
            For spikes beyond the sensor, or too many frames.
        """
        size = math.prod(sensor)
        if len(self) * steps * size > MAX_VALUES:
            raise DataError(
                f"Frames of {len(self)} recordings, {steps} of {size} values, are too many: fewer "
                "steps, or fewer recordings"
            )
        if (self.places >= np.array(sensor)).any():
            sides = "x".join(map(str, sensor))
            raise DataError(f"Spikes must lie within {sides} inputs, and some do not")
        with np.errstate(over="ignore"):  # infinitely late is late
            step = np.floor(self.seconds / dt * (1 + EARLY) + EARLY)
        inside = step < steps
        place = step[inside].astype(np.int64)
        for side, at in zip(sensor, self.places[inside].T, strict=True):
            place = place * side + at
        frames = np.zeros((len(self), steps * size), dtype=np.uint8)
        ends, beyond = np.concatenate([[0], np.cumsum(inside)])[self.offset], 0
        for n, (start, end) in enumerate(itertools.pairwise(ends.tolist())):
            counts = np.bincount(place[start:end], minlength=steps * size)
            frames[n] = kept = np.minimum(counts, most)
            beyond += int((counts - kept).sum())
        m = max(1, len(self.seconds))
        return frames, int((~inside).sum()) / m, beyond / m
