"""CIFAR-10 from the published archive, or from a re-coding of it as JPEG files.

The two are not the same pictures: JPEG has lost something, and an accuracy on them must say so.
"""

import contextlib
import hashlib
import io
import logging
import lzma
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hw.contract.files import cache_folder, write_atomically
from hw.system.progress import announced, listener
from sw.data.download import SHA256, fetch
from sw.data.split import DataError

__all__ = ["read_cifar10"]

ORIGINAL = "cifar-10-python.tar.gz"
RECODED = "cifar10_jpg.tar.xz"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
MOST_BYTES = 1 << 16
"""Of a picture's file."""
COUNTS = {"train": 50_000, "test": 10_000}

LOG = logging.getLogger(__name__)

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def read_cifar10(split: str, places: list[Path], where: str, may_fetch: bool) -> tuple[Arrays, str]:
    """Images (n, 3072), channel by channel, labels, and a word on where they come from.

    Parameters
    ----------
    places
        Folders to look in, in order; the published archive before a re-coded one.
    where
        How to name the places in a refusal.
    may_fetch
        Whether the published archive may be fetched.

    Raises
    ------
    DataError
        When there is no archive, or it is not what it should be.
    """
    for name, read, note in (
        (ORIGINAL, _read_original, "original"),
        (RECODED, _read_recoded, "JPEG re-coding"),
    ):
        for place in places:
            if (place / name).is_file():
                return read(place / name, split), note
    cache = cache_folder("cifar10")
    if may_fetch and fetch("cifar10", ORIGINAL, cache):
        return _read_original(cache / ORIGINAL, split), "original"
    raise DataError(f"Data set cifar10 is not to be had: put {ORIGINAL} or {RECODED} into {where}")


def _read_original(path: Path, split: str) -> Arrays:
    """The archive of pickles; unpickled only if it is the published one, byte for byte."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256["cifar10"][0]:
        raise DataError(f"Archive {path} is not the published CIFAR-10: its SHA-256 differs")
    images, labels = [], []
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        batches = [f"data_batch_{n}" for n in range(1, 6)] if split == "train" else ["test_batch"]
        for batch in batches:
            member = archive.extractfile(f"cifar-10-batches-py/{batch}")
            assert member is not None
            entry = pickle.load(member, encoding="bytes")
            images.append(entry[b"data"])
            labels.append(entry[b"labels"])
    return np.concatenate(images), np.concatenate(labels).astype(np.int64)


def _read_recoded(path: Path, split: str) -> Arrays:
    """An archive of SPLIT/CLASS/NUMBER.jpg. What was decoded is kept in the user's cache."""
    data = path.read_bytes()
    kept = cache_folder("cifar10") / f"{hashlib.sha256(data).hexdigest()[:16]}-{split}.npz"
    try:
        # Opened here: of a damaged file, NumPy would leave its own handle open.
        with kept.open("rb") as file, np.load(file) as arrays:
            return arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there, or damaged: it is made again
    images, labels = _decode(path, data, split)
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=labels)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, no more
        write_atomically(kept, buffer.getvalue())
    return images, labels


def _decode(path: Path, data: bytes, split: str) -> Arrays:
    from PIL import Image, UnidentifiedImageError

    found = []
    try:
        told = f"decoding {COUNTS[split]:,} images of {path.name}"
        with (
            announced(listener(LOG), told, total=COUNTS[split]) as at,
            tarfile.open(fileobj=io.BytesIO(data), mode="r:xz") as archive,
        ):
            for member in archive:
                parts = member.name.split("/")
                if not member.isfile() or parts[0] != split:
                    continue
                file = archive.extractfile(member)
                assert file is not None
                if member.size > MOST_BYTES:
                    raise ValueError
                image = Image.open(io.BytesIO(file.read()))
                if image.size != (SIDE, SIDE):  # before its pixels are unpacked
                    raise DataError(
                        f"Images in archive {path} must be of {SIDE}x{SIDE} pixels, not "
                        f"{image.height}x{image.width}"
                    )
                pixels = np.asarray(image.convert("RGB"))
                found.append((int(Path(parts[2]).stem), CLASSES.index(parts[1]), pixels))
                at(len(found))
    except DataError:
        raise
    except (
        tarfile.TarError,
        lzma.LZMAError,
        EOFError,
        UnidentifiedImageError,
        ValueError,
        IndexError,
        OSError,
        Image.DecompressionBombError,
    ):
        raise DataError(f"Archive {path} is truncated or not CIFAR-10 as JPEG files") from None
    if len(found) != COUNTS[split]:
        raise DataError(
            f"Archive {path} must hold {COUNTS[split]} {split} images, not {len(found)}"
        )
    found.sort(key=lambda entry: entry[:2])
    images = np.stack([image for *_, image in found]).transpose(0, 3, 1, 2)
    labels = np.array([label for _, label, _ in found], dtype=np.int64)
    return np.ascontiguousarray(images).reshape(len(images), -1), labels
