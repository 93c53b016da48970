"""Writers of idx files, for tests."""

import gzip
import struct
from pathlib import Path

import numpy as np

__all__ = ["idx", "idx_folder"]


def idx(path: Path, array: np.ndarray) -> None:
    """An idx file of bytes; gzipped where its name says so."""
    head = struct.pack(f">2x2B{array.ndim}I", 8, array.ndim, *array.shape)
    data = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


def idx_folder(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """Images and labels in one piece."""
    folder.mkdir(parents=True)
    idx(folder / "train-images-idx3-ubyte.gz", images)
    idx(folder / "train-labels-idx1-ubyte", labels)
    return folder
