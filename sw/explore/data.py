"""A data set as it goes to the jobs: read, so that a worker needs no files, and not more than is
trained on.
"""

import hashlib
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from hw.contract.encoding import Encoding
from hw.contract.network import Network
from sw.data.arrays import Array, Dataset
from sw.data.dataset import Published, load_split
from sw.data.published import RECORDINGS
from sw.data.split import SPLITS, DataError, Split
from sw.explore.space import ExploreError

__all__ = ["PIXEL_BITS", "Carried", "carried", "test_images"]

PIXEL_BITS = 4
"""Of the networks that are trained (`sw.front.recipes.dense_recipe`)."""


class Carried(Dataset):
    """A data set without files; see `carried`."""

    def __init__(
        self,
        name: str,
        splits: dict[tuple[str, int], Split],
        encoding: Encoding | None,
        labels: tuple[Any, ...],
    ) -> None:
        self.name, self._splits, self._encoding, self._labels = name, splits, encoding, labels

    @property
    def encoding(self) -> Encoding | None:  # pyright: ignore
        """As of the data set itself."""
        return self._encoding

    @property
    def labels(self) -> tuple[Any, ...]:  # pyright: ignore
        """Of all classes."""
        return self._labels

    @property
    def y(self) -> Array:
        """Labels of the training examples (n,)."""
        return next(s.labels for (part, _), s in self._splits.items() if part == "train")

    def split(
        self, split: str, bits: int, *, steps: int = 1, encoding: Encoding | None = None
    ) -> Split:
        """One part, as it was carried.

        Raises
        ------
        DataError
            For what was not.
        """
        found = self._splits.get((split, steps), self._splits.get((split, 0)))
        if found is None or found.bits != bits or encoding not in (None, self._encoding):
            raise DataError(
                f"Data set {self.name} was carried with other pixels than {bits} bits in {steps} "
                "time steps"
            )
        return found

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all of it."""
        sha = hashlib.sha256(f"{self.name} {self._encoding}".encode())
        for key, split in sorted(self._splits.items()):
            sha.update(f"{key} {split.bits} {split.images.shape}".encode())
            sha.update(split.images.tobytes())
            sha.update(split.labels.tobytes())
        return sha.hexdigest()


def carried(
    data: Dataset, steps: tuple[int, ...], bits: int = PIXEL_BITS, images: int | None = None
) -> Carried:
    """A data set as networks of so many time steps take it.

    Parameters
    ----------
    images
        Training examples, evenly spread over all; None: all.

    Raises
    ------
    ExploreError
        For fewer examples than one, or more than there are.
    DataError
        When the data are not to be had.
    """
    binned = isinstance(data, Published) and data.name in RECORDINGS and data.encoding is None
    splits = {
        (part, t): data.split(part, bits, steps=t or 1)
        for part in SPLITS
        for t in (steps if binned else (0,))
    }
    if images is not None:
        for key, split in splits.items():
            if key[0] == "train":
                if not 1 <= images <= len(split):
                    raise ExploreError(
                        f"Training examples must be a number from 1 to {len(split)}, not {images}"
                    )
                some = np.linspace(0, len(split) - 1, images).astype(np.int64)
                splits[key] = replace(split, images=split.images[some], labels=split.labels[some])
    return Carried(data.name, splits, data.encoding, data.labels)


def test_images(network: Network) -> Carried:
    """The test images that a network names.

    Raises
    ------
    DataError
        When they are not to be had.
    """
    spec, name = network.spec, str(network.meta.get("dataset"))
    steps = spec.recorded_steps
    found = load_split(name, "test", spec.input_bits, steps=steps, encoding=spec.encoding)
    return Carried(name, {("test", 0): found}, spec.encoding, tuple(range(spec.classes)))
