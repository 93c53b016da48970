"""The idx format of MNIST and its kin: a big-endian header, then the bytes, gzipped or not.

The header is two zero bytes, a type code (8: unsigned byte), the number of axes, then one 32-bit
length per axis. (yann.lecun.com/exdb/mnist, "the IDX file format".)
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hw.contract.checks import SternaError

__all__ = ["DataError", "read_idx"]

UNSIGNED_BYTE = 8
MAX_BYTES = 1 << 30
"""No idx file of the data sets in use is near this; a hostile .gz must not fill the memory."""


class DataError(SternaError, ValueError):
    """A data set that is missing or not what it should be."""


def read_idx(path: Path, axes: int) -> npt.NDArray[np.uint8]:
    """Read an idx file of unsigned bytes with `axes` axes; a name ending in .gz is gunzipped.

    Raises
    ------
    DataError
        One sentence for a file that is unreadable, of another format, truncated or too long.
    """
    data = _read_bytes(path)
    header = 4 + 4 * axes
    if len(data) < header:
        raise DataError(f"Idx file {path} must hold a header of {header} bytes, not {len(data)}")
    magic = bytes((0, 0, UNSIGNED_BYTE, axes))
    if data[:4] != magic:
        raise DataError(f"Idx file {path} must start with {magic.hex()}, not {data[:4].hex()}")
    shape = struct.unpack(f">{axes}I", data[4:header])
    if len(data) - header != math.prod(shape):
        raise DataError(
            f"Idx file {path} must hold {math.prod(shape)} bytes after its header, "
            f"not {len(data) - header}"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise DataError(f"Idx file {path} is truncated or not a gzip file") from None
    except OSError:
        raise DataError(f"Idx file {path} is not a readable file") from None
    if len(data) > MAX_BYTES:
        raise DataError(f"Idx file {path} must be smaller than 1 GiB")
    return data
