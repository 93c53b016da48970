"""What the golden model said of many pictures, as a file to look at (`sterna report`)."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hw.contract.files import Archive, write_atomically

__all__ = ["ANSWERS", "GOLDEN", "Answers"]

ANSWERS = "answers.npz"
"""The file, in the folder of a run."""


GOLDEN = "golden.json"
"""Beside it and the network: what `sterna golden` said."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Pictures (n, size), their classes (n,), and what was said (n,)."""

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]

    def save(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        data = io.BytesIO()
        np.savez_compressed(data, pixels=self.pixels, labels=self.labels, classes=self.classes)
        write_atomically(folder / ANSWERS, data.getvalue())

    @classmethod
    def load(cls, folder: Path) -> "Answers":
        """Inverse of `save`.

        Raises
        ------
        OSError, hw.contract.files.ArchiveError, ValueError
            When it cannot be read, or is something else.
        """
        archive = Archive(folder / ANSWERS)
        found = archive.arrays(["pixels", "labels", "classes"], [])
        pixels, labels, classes = (found[name] for name in ("pixels", "labels", "classes"))
        if pixels.ndim != 2 or not labels.shape == classes.shape == (len(pixels),):
            raise ValueError("its arrays must be of as many pictures")
        if not len(pixels):
            raise ValueError("it must have pictures")
        if pixels.dtype != np.uint8 or labels.dtype.kind not in "iu" or classes.dtype.kind != "i":
            raise ValueError("pixels must be bytes, labels and classes whole numbers")
        return cls(pixels, labels.astype(np.int64), classes.astype(np.int64))
