"""Files that are there whole or not at all, and where they are kept between runs."""

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ArchiveError",
    "cache_folder",
    "read_arrays",
    "write_atomically",
    "write_files",
    "write_json",
]


class ArchiveError(Exception):
    """Bytes that are no archive of arrays."""


def cache_folder(name: str) -> Path:
    """What is kept between runs under this name: $XDG_CACHE_HOME/sterna/name or ~/.cache/..."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "sterna" / name


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a `.npz` file; runs no code from it.

    Raises
    ------
    FileNotFoundError, PermissionError, IsADirectoryError
        When there is no such file, or it may not be read.
    ArchiveError
        When it is no such file, or damaged.
    """
    try:
        # From memory: of a damaged file, NumPy would leave the handle open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (
        OSError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        AttributeError,
        NotImplementedError,
        TypeError,
        RuntimeError,
        IndexError,
        MemoryError,
        SyntaxError,
        TokenError,
    ) as error:
        # numpy and zipfile raise any of these for bytes that are not an archive.
        raise ArchiveError(str(error)) from None


def write_atomically(path: Path, data: bytes) -> None:
    """Write through a temporary file in the same folder, then rename.

    A file that has these bytes already is left alone: what was built from it is still current.
    """
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, facts: Any) -> None:
    """Write plain data for programs and for people."""
    write_atomically(path, (json.dumps(facts, indent=1) + "\n").encode())


def write_files(folder: Path, files: Mapping[str, str | bytes], owned: Sequence[str] = ()) -> None:
    """Write files by name into a folder; others that match a pattern of `owned` are of an earlier
    run, and removed."""
    for pattern in owned:
        for old in folder.glob(pattern):
            if old.relative_to(folder).as_posix() not in files:
                old.unlink()
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        write_atomically(folder / name, data)
