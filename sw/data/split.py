"""One part of a data set as a network takes it: quantised pixels and class numbers."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.contract.checks import SternaError
from hw.contract.encoding import Encoding
from hw.contract.text import none_of

__all__ = ["SPLITS", "DataError", "Split", "check_split"]

SPLITS = ("train", "test")


class DataError(SternaError, ValueError):
    """A data set that is missing or not what it should be."""


def check_split(split: object, bits: object) -> None:
    """Refuse what is no part of a data set, or no width of a pixel.

    Raises
    ------
    DataError
        When it is so.
    """
    if split not in SPLITS:
        raise DataError(none_of("Split", split, SPLITS))
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 8:
        raise DataError(f"Pixel width must be an integer from 1 to 8, not {bits!r}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Split:
    """A split of a data set, ready for a network.

    Parameters
    ----------
    name, split
        As asked for.
    bits
        Pixel width; pixels lie in 0 .. 2^bits - 1.
    images
        uint8 (n, size): channels, rows, columns; of recordings, one image after the other.
    labels
        int64 (n,).
    note
        What must be said beside an accuracy on it.
    known
        Not so where files are of its form, and are not those that were published under its name.
    shape
        Channels, rows, columns of an image; empty: a row of pixels.
    timed
        Whether these are recordings.
    rule
        How the test images were chosen.
    encoding
        How the pixels were made of raw values, where the data are the user's own.
    white
        The raw value that a network from elsewhere is given as 1 (`sw.importers.feed`).
    clipped
        Share of raw values beyond what the encoding spans.
    time_step
        Seconds of an image of spikes that were counted; 0: the images are given.
    counted
        Then, in words, how.
    """

    name: str
    split: str
    bits: int
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    note: str = ""
    known: bool = True
    shape: tuple[int, ...] = ()
    timed: bool = False
    rule: str = "as published"
    encoding: Encoding | None = None
    white: float = 1.0
    clipped: float = 0.0
    time_step: float = 0.0
    counted: str = ""

    @property
    def title(self) -> str:
        """Name, if it has a right to it, and what must be said beside it."""
        name = self.name if self.known else f"files like {self.name}"
        return f"{name} ({self.note})" if self.note else name

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of pixels and labels, in their order."""
        sha = hashlib.sha256(f"{self.images.shape} {self.bits}".encode())
        sha.update(self.images.tobytes())
        sha.update(self.labels.astype("<i8").tobytes())
        return sha.hexdigest()

    def __len__(self) -> int:
        return len(self.labels)
