"""The idx format of MNIST and its kin: a big-endian header, then the bytes, gzipped or not.

The header is two zero bytes, a type code (8: unsigned byte), the number of axes, then one 32-bit
length per axis. (yann.lecun.com/exdb/mnist, "the IDX file format".)
"""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sw.data.split import DataError

__all__ = ["idx_axes", "read_idx"]

UNSIGNED_BYTE = 8
MAX_BYTES = 256 << 20
"""No idx file of the data sets in use is near this; a hostile .gz must not fill the memory."""


def idx_axes(path: Path) -> int | None:
    """Axes of an idx file of unsigned bytes, gzipped or not, by its first bytes; None: it is no
    such file."""
    try:
        with (gzip.open if _is_gzip(path) else open)(path, "rb") as file:
            magic = file.read(4)
    except (OSError, EOFError, zlib.error):
        return None
    plain = len(magic) == 4 and magic[:3] == bytes((0, 0, UNSIGNED_BYTE))
    return magic[3] if plain and magic[3] else None


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def read_idx(path: Path, axes: int) -> tuple[npt.NDArray[np.uint8], str]:
    """Read an idx file of unsigned bytes with `axes` axes, no further than its header says; a name
    ending in .gz is gunzipped. Returns the array, and the SHA-256 (hex) of what was unpacked.

    Raises
    ------
    DataError
        One sentence for a file that is unreadable, of another format, truncated or too long.
    """
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            return _read(path, file, axes)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise DataError(f"Idx file {path} is truncated or not a gzip file") from None
    except OSError:
        raise DataError(f"Idx file {path} is not a readable file") from None


def _read(path: Path, file: Any, axes: int) -> tuple[npt.NDArray[np.uint8], str]:
    length = 4 + 4 * axes
    header = file.read(length)
    if len(header) < length:
        raise DataError(f"Idx file {path} must hold a header of {length} bytes, not {len(header)}")
    magic = bytes((0, 0, UNSIGNED_BYTE, axes))
    if header[:4] != magic:
        raise DataError(f"Idx file {path} must start with {magic.hex()}, not {header[:4].hex()}")
    shape = struct.unpack(f">{axes}I", header[4:])
    size = math.prod(shape)
    if size > MAX_BYTES:
        raise DataError(f"Idx file {path} must hold at most 256 MiB, not {size:,} bytes")
    data = file.read(size + 1)
    if len(data) != size:
        found = "more" if len(data) > size else len(data)
        raise DataError(f"Idx file {path} must hold {size} bytes after its header, not {found}")
    array = np.frombuffer(data, dtype=np.uint8).reshape(shape)
    return array, hashlib.sha256(header + data).hexdigest()
