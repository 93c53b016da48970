"""Folders that jobs fill: where a job is done it has one of its own, whose files travel back with
its result, or with what it was refused for, and then lie where they were asked for.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from hw.contract.checks import SternaError
from hw.contract.files import write_files
from hw.system.jobs import Result

__all__ = ["NotFilled", "fill", "unpacked"]

TEXTS = {".json": lambda path: json.dumps(path)[1:-1], ".log": str}
"""Files that may say where they lie, by the end of their names, and how."""


class NotFilled(Exception):
    """A job was refused; what it left until then.

    Parameters
    ----------
    name, error
        The job, and why.
    packed, place
        Its files; where they lay.
    """

    def __init__(self, name: str, error: SternaError, packed: bytes, place: str) -> None:
        super().__init__(name, error, packed, place)  # all of it travels
        self.name, self.error, self.packed, self.place = name, error, packed, place

    def error_at(self, folder: Path) -> SternaError:
        """Why, with the files in a folder, which its text names."""
        _unpack(self.packed, self.place, folder)
        self.error.args = tuple(
            value.replace(self.place, str(folder)) if isinstance(value, str) else value
            for value in self.error.args
        )
        return self.error


def fill(name: str, function: Callable[..., Result], /, **arguments: Any) -> Result:
    """Call a function that fills a folder with one that is thrown away; its result, with all files.

    Raises
    ------
    NotFilled
        For a `SternaError` of the function.
    """
    with TemporaryDirectory(prefix="sterna-job-") as made:
        folder = Path(made).resolve()
        try:
            result = function(**arguments, folder=folder)
        except SternaError as error:
            raise NotFilled(name, error, _packed(folder), str(folder)) from None
        return {"result": result, "packed": _packed(folder), "place": str(folder)}


def unpacked(filled: Result, folder: Path) -> Result:
    """The result alone; the files are put into a folder."""
    _unpack(filled["packed"], filled["place"], folder)
    return filled["result"]


def _packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED, strict_timestamps=False) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(folder))
    return buffer.getvalue()


def _unpack(packed: bytes, place: str, folder: Path) -> None:
    files = {}
    with ZipFile(io.BytesIO(packed)) as archive:
        for name in archive.namelist():
            files[name], written = archive.read(name), TEXTS.get(Path(name).suffix)
            if written is not None:
                now = written(str(folder)).encode()
                files[name] = files[name].replace(written(place).encode(), now)
    write_files(folder, files)
