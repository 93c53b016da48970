"""Folders that jobs fill: where a job is done it has one of its own, whose files travel back with
its result, or with what it was refused for, and then lie where they were asked for.
"""

import io
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from hw.contract.checks import SternaError
from hw.contract.files import write_files
from hw.system.jobs import Result

__all__ = ["fill", "is_refused", "unpacked"]

TEXTS = {".json": lambda path: json.dumps(path)[1:-1], ".log": str}
"""Files that may say where they lie, by the end of their names, and how."""


def fill(function: Callable[..., Result], /, **arguments: Any) -> Result:
    """Call a function that fills a folder with one that is thrown away; its result, or the
    `SternaError` that it was refused for, with all files."""
    with TemporaryDirectory(prefix="sterna-job-") as made:
        folder = Path(made).resolve()
        try:
            filled: Result = {"result": function(**arguments, folder=folder)}
        except SternaError as error:
            # Not raised: Dask cuts exceptions short, whose files would be lost with their class.
            filled = {"refused": _portable(error)}
        return filled | {"packed": _packed(folder), "place": str(folder)}


def _portable(error: SternaError) -> SternaError:
    """An error that may travel: one whose class cannot be made anew has its sentence left."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return SternaError(str(error))


def is_refused(filled: Result) -> bool:
    """Whether that is what a job left that was refused: no result, not to be kept."""
    return "refused" in filled


def unpacked(filled: Result, folder: Path, owned: Sequence[str] = ()) -> Result:
    """The result alone; the files are put into a folder. Others there that match a pattern of
    `owned` are of an earlier run, and removed.

    Raises
    ------
    SternaError
        When a file would not lie in the folder; what the job was refused for, with the folder
        where it named the one of the job.
    """
    place = filled["place"]
    _unpack(filled["packed"], place, folder, owned)
    if not is_refused(filled):
        return filled["result"]
    error = filled["refused"]
    error.args = tuple(
        value.replace(place, str(folder)) if isinstance(value, str) else value
        for value in error.args
    )
    raise error


def _packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED, strict_timestamps=False) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(folder))
    return buffer.getvalue()


def _unpack(packed: bytes, place: str, folder: Path, owned: Sequence[str]) -> None:
    files = {}
    with ZipFile(io.BytesIO(packed)) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:  # none that `_packed` made
                raise SternaError(f"Job must leave its files in {folder}, not as {name!r}")
            files[name], written = archive.read(name), TEXTS.get(Path(name).suffix)
            if written is not None:
                now = written(str(folder)).encode()
                files[name] = files[name].replace(written(place).encode(), now)
    write_files(folder, files, owned)
