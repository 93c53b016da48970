"""Files that are there whole or not at all, archives of arrays, and where files are kept."""

import errno
import io
import json
import math
import os
import secrets
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

__all__ = [
    "Archive",
    "ArchiveError",
    "ArrayError",
    "cache_folder",
    "can_write",
    "json_text",
    "read_json",
    "write_atomically",
    "write_files",
    "write_json",
]

MAX_ARCHIVE = 1 << 30
"""Most bytes of an archive, packed and unpacked."""
MAX_HEADER = 16 << 20
HEADER = "header.json"
DTYPES = "iu"
PLAIN = "biufU"

Form = tuple[int, ...] | None
"""Shape of an array; None: whatever it is."""


def cache_folder(name: str) -> Path:
    """What is kept between runs under this name: $XDG_CACHE_HOME/sterna/name or ~/.cache/..."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "sterna" / name


# Archives


class ArchiveError(Exception):
    """Bytes that are no archive of arrays."""


class ArrayError(ArchiveError):
    """An archive that is whole, and is not what was asked for; its text says what it must be, the
    file being its subject."""


class Archive:
    """A `.npz` file of arrays, unpacked no further than what is asked for; runs no code from it.

    Raises
    ------
    FileNotFoundError, PermissionError, IsADirectoryError
        When there is no such file, or it may not be read.
    ArchiveError
        When it is no such file, or damaged.
    ArrayError
        When it is larger than 1 GiB, packed or unpacked.
    """

    def __init__(self, path: Path) -> None:
        # From memory: it may be a pipe, and of a damaged file zipfile would leave the handle open.
        with path.open("rb") as file:
            data = file.read(MAX_ARCHIVE + 1)
        if len(data) > MAX_ARCHIVE:
            raise ArrayError("must be smaller than 1 GiB")
        with _damage():
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        members = self._zip.infolist()
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        if len(self._members) < len(members):
            raise ArchiveError("members of one name")
        size = sum(member.file_size for member in members)
        if size > MAX_ARCHIVE:
            raise ArrayError(f"must unpack to less than 1 GiB, not {size:,} bytes")

    @property
    def names(self) -> Collection[str]:
        """Of the arrays."""
        return self._members.keys()

    def header(self) -> Any:
        """What the JSON in `header.json` says.

        Raises
        ------
        KeyError, ValueError, RecursionError
            When there is none, or it is no JSON.
        """
        shape, kind = self._form(HEADER)
        if len(shape) != 1 or kind != np.uint8 or shape[0] > MAX_HEADER:
            raise ValueError
        return json.loads(self._unpacked(HEADER).tobytes())

    def integers(
        self, forms: Mapping[str, Form], unread: Collection[str] = ()
    ) -> dict[str, npt.NDArray[Any]]:
        """The arrays of these names and shapes; the file has no others but the header and those
        that may stay `unread`. None is unpacked before all fit.

        Raises
        ------
        ArrayError
            When one is missing, superfluous, not of integers or of another shape.
        ArchiveError
            When one is damaged.
        """
        self._require(forms, [*forms, *unread, HEADER])
        for name, wanted in forms.items():
            shape, kind = self._form(name)
            if kind.kind not in DTYPES or (wanted is not None and shape != wanted):
                asked = "" if wanted is None else f" of shape {wanted}"
                raise ArrayError(
                    f"must have integers{asked} as {name!r}, not {kind} of shape {shape}"
                )
        return {name: self._unpacked(name) for name in forms}

    def arrays(self, needed: Collection[str], more: Collection[str]) -> dict[str, npt.NDArray[Any]]:
        """Arrays of numbers or text, of whatever shape: all that are needed, and those `more` that
        are there; the file has no others.

        Raises
        ------
        ArrayError
            When one is missing, superfluous, or of other things.
        ArchiveError
            When one is damaged.
        """
        self._require(needed, [*needed, *more])
        for name in self._members:
            _, kind = self._form(name)
            if kind.kind not in PLAIN:
                raise ArrayError(f"must have numbers or text as {name!r}, not {kind}")
        return {name: self._unpacked(name) for name in self._members}

    def _require(self, needed: Iterable[str], known: Collection[str]) -> None:
        for name in needed:
            if name not in self._members:
                raise ArrayError(f"lacks the array {name!r}")
        for name in self._members:
            if name not in known:
                raise ArrayError(f"must not hold {name!r}, which it has no use for")

    def _form(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of a member, by its first bytes; its size must be theirs."""
        member = self._members[name]
        # Other ways of packing are not NumPy's, and not bounded by what is read.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError("packed in another way")
        with _damage(MemoryError), self._zip.open(member) as file:
            version = npy.read_magic(file)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, _, kind = read(file)
            size = file.tell() + kind.itemsize * math.prod(shape)
        if kind.hasobject:
            raise ArrayError(f"must not have Python objects as {name!r}")
        if size != member.file_size or min(shape, default=0) < 0:
            raise ArchiveError("a member of another size")
        return shape, kind

    def _unpacked(self, name: str) -> npt.NDArray[Any]:
        with _damage(), self._zip.open(self._members[name]) as file:
            return npy.read_array(file, allow_pickle=False)


@contextmanager
def _damage(*more: type[Exception]) -> Iterator[None]:
    """zipfile and numpy raise any of these for bytes that are not an archive, and numpy wonders at
    headers that Python 2 might have written."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
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
        SyntaxError,
        OverflowError,
        TokenError,
        *more,
    ) as error:
        raise ArchiveError(str(error)) from None


def read_json(path: Path, form: Any) -> Any:
    """Plain data out of a file. Its form: a type; a tuple of forms, one of which fits; a list of
    the form of all entries; a dictionary of forms by key, beside which there may be other keys, or
    with `str` the form of all values.

    Raises
    ------
    OSError
        When there is no such file, or it may not be read.
    ValueError
        When it is not JSON, or of another form.
    """
    data = json.loads(path.read_bytes())
    if not _has_form(data, form):
        raise ValueError(f"{path} is of another form")
    return data


def _has_form(data: Any, form: Any) -> bool:
    if isinstance(form, tuple):
        return any(_has_form(data, one) for one in form)
    if isinstance(form, list):
        return isinstance(data, list) and all(_has_form(entry, form[0]) for entry in data)
    if isinstance(form, dict):
        if not isinstance(data, dict):
            return False
        if str in form:
            return all(_has_form(value, form[str]) for value in data.values())
        return all(key in data and _has_form(data[key], one) for key, one in form.items())
    return data is None if form is None else type(data) is form


# Writing


def can_write(path: Path) -> Path:
    """Fail now, not after long work, if a file cannot be written there; returns the path."""
    if _is_stream(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return path
    with ExitStack() as undo:
        _staged(path, b"", undo)
    return path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file through a temporary one in its folder, then rename; see `write_files`."""
    write_files(path.parent, {path.name: data})


def json_text(facts: Any) -> str:
    """Plain data for programs and for people."""
    return json.dumps(facts, indent=1) + "\n"


def write_json(path: Path, facts: Any) -> None:
    """Write plain data for programs and for people."""
    write_atomically(path, json_text(facts).encode())


def write_files(folder: Path, files: Mapping[str, str | bytes], owned: Sequence[str] = ()) -> None:
    """Write files by name into a folder: none of them takes its place before all are written. Then
    others that match a pattern of `owned`, which are of an earlier run, are removed.

    A file that has these bytes already is left alone: what was built from it is still current.
    A symbolic link is followed. A new file has the permissions of any other (umask), one that was
    there keeps its own. Into a device or a pipe the bytes are written.

    Raises
    ------
    OSError
        Named after the file that cannot be written, which is then as it was: when it is a folder or
        what this program prints goes there, too.
    """
    with ExitStack() as undo:
        finish = []
        for name, content in files.items():
            path, data = folder / name, content.encode() if isinstance(content, str) else content
            if not (path.is_file() and path.read_bytes() == data):
                finish.append((path, _staged(path, data, undo)))
        for path, step in finish:
            with _naming(path):
                step()
    for pattern in owned:
        for old in folder.glob(pattern):
            if old.relative_to(folder).as_posix() not in files:
                old.unlink()


def _staged(path: Path, data: bytes, undo: ExitStack) -> Callable[[], object]:
    """Write what a file shall hold beside it; returns the last step, which puts it in its place."""
    if _is_stream(path):
        return partial(_pour, path, data)
    with _naming(path):
        target = Path(os.path.realpath(path))
        if target.parent.exists() and not target.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        for made in reversed((target.parent, *target.parent.parents)):
            if made.exists():
                continue
            made.mkdir(exist_ok=True)
            undo.callback(_remove_empty, made)
        temporary = target.with_name(f".{secrets.token_hex(8)}.part")
        undo.callback(temporary.unlink, missing_ok=True)
        # Opened with the permissions of any new file: only the kernel reads umask without a race.
        with open(temporary, "xb") as file:
            if target.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            file.write(data)
    return partial(os.replace, temporary, target)


def _remove_empty(folder: Path) -> None:
    """What was made for a file that was not written after all."""
    with suppress(OSError):
        folder.rmdir()


def _pour(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _is_stream(path: Path) -> bool:
    """Whether bytes are written into what is there, a device or a pipe: no file takes its place.

    Raises
    ------
    OSError
        When no file can be written there.
    """
    with _naming(path):
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False  # whoever makes the folder will say why it cannot
        if stat.S_ISREG(found.st_mode):
            if any(_is_open(found, number) for number in (1, 2)):
                raise FileExistsError(errno.EEXIST, "This program prints there")
            return False
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not (stat.S_ISCHR(found.st_mode) or stat.S_ISFIFO(found.st_mode)):
            raise OSError(errno.EINVAL, "Neither a file nor a stream")
    return True


def _is_open(file: os.stat_result, number: int) -> bool:
    """Whether this file descriptor is of that file."""
    try:
        return os.path.samestat(file, os.fstat(number))
    except OSError:  # it is closed
        return False


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever goes wrong is named after the file that was asked for, not after a temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
