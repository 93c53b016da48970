"""N-MNIST: recordings of an event camera that looks at MNIST's digits, binned into time steps.

*Orchard et al. 2015.* An event is (t, x, y, p): microseconds, column, row, brighter or darker. The
events of a step become counts by (polarity, row, column): a map of two channels.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.files import Archive, ArchiveError, ArrayError
from sw.data.split import DataError

__all__ = ["EVENT", "SIDE", "bin_events", "read_nmnist"]

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
