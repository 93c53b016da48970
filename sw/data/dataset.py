"""Data sets by name or by path: the published ones, and a user's own. No torch here: `make sim`
reads its test images through this.
"""

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hw.contract.encoding import Encoding
from hw.contract.text import none_of
from sw.data.arrays import Array, Dataset
from sw.data.own import FORMS, read_own
from sw.data.published import FILELESS, NAMES, RECORDINGS, SHAPES, load_published, load_raw
from sw.data.split import SPLITS, DataError, Split
from sw.data.wheels import ENCODINGS

__all__ = ["Published", "Source", "chosen", "load_dataset", "load_split", "require_files"]

Source = str | os.PathLike[str] | Dataset | None
"""Where data are: a folder or a file, or the data; None: the usual places."""


class Published(Dataset):
    """A published data set, read when it is asked for.

    Parameters
    ----------
    name
        One of `sw.data.published.NAMES`.
    folder
        Where its files lie (`sw.data.published.load_published`).

    Raises
    ------
    DataError
        When there is no such data set.
    """

    def __init__(self, name: str, folder: str | os.PathLike[str] | None = None) -> None:
        if name not in NAMES:
            raise DataError(none_of("Data set", name, NAMES))
        self.name, self.folder = name, folder

    @cached_property
    def encoding(self) -> Encoding | None:
        """The fixed one of recordings that are raw values; None: the others are pixels."""
        return ENCODINGS.get(self.name)

    def split(
        self, split: str, bits: int, *, steps: int = 1, encoding: Encoding | None = None
    ) -> Split:
        """See `load_published`; with the encoding of a network that was made for data of its own,
        its pixels."""
        if encoding in (None, self.encoding):
            return load_published(self.name, split, bits, self.folder, steps=steps)
        if self.encoding is None and max(encoding.high) != 255:
            raise DataError(
                f"Data set {self.name} has pictures of bytes, and the network takes values up to "
                f"{max(encoding.high):g}"
            )
        axes = self.encoding and self.encoding.axes
        raw = Dataset(self.x, self.y, self.x_test, self.y_test, axes=axes)
        raw.name = self.name
        plain = load_published(self.name, split, bits, self.folder)  # for what it is called
        made = raw.split(split, bits, encoding=encoding)
        return replace(made, name=self.name, note=plain.note, known=plain.known, rule=plain.rule)

    @cached_property
    def _parts(self) -> dict[str, tuple[Array, Array]]:  # pyright: ignore
        if self.name in ENCODINGS:
            return {part: load_raw(self.name, part, self.folder) for part in SPLITS}
        if self.name in RECORDINGS:
            raise DataError(
                f"Data set {self.name} has recordings of events, which are arrays only once they "
                "are binned into time steps"
            )
        shape = SHAPES[self.name]
        shape = shape[1:] if shape[0] == 1 else shape
        parts = {}
        for name in SPLITS:
            data = load_published(self.name, name, 8, self.folder)
            parts[name] = data.images.reshape(-1, *shape), data.labels
        return parts

    @property
    def labels(self) -> tuple[Any, ...]:  # pyright: ignore
        """Of all classes: their names, or the numbers of ten."""
        return self.encoding.labels if self.encoding else tuple(range(10))

    def pixels(self, split: str, bits: int, size: int) -> Split:
        """As `split`."""
        return self.split(split, bits)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, published)"


def load_dataset(name_or_path: str | os.PathLike[str]) -> Dataset:
    """A data set: a published one by its name, or a user's own by the path of a file or a folder
    (`sw.data.own.read_own`).

    Raises
    ------
    DataError
        When there is none, or it is not what it should be.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise DataError(
            f"Data set must be a name or a path, not a {type(name_or_path).__name__}: "
            "sterna.Dataset(x, y) makes one of arrays"
        )
    name = str(name_or_path)
    if name in NAMES:
        return Published(name)
    if not name or "\0" in name or len(name) > 4096:
        raise DataError(f"Data set must be a name or a path, not {name[:50]!r}")
    path = Path(name_or_path)
    try:
        there = path.exists()
    except OSError as error:
        raise DataError(f"Data {name[:50]} .. cannot be read: {error.strerror}") from None
    if not there and path.name == name and "." not in name:
        raise DataError(none_of("Data set", name, NAMES, f", or {FORMS}"))
    return read_own(path)


def require_files(name: object, source: object) -> None:
    """Refuse a place for the files of a data set that has none: what lies there is not read.

    Raises
    ------
    DataError
        When that is so.
    """
    if name in FILELESS and source is not None:
        raise DataError(
            f"Data set {name} has no files, so {source} would not be read: leave out --data, or "
            "--dataset"
        )


def chosen(name: str | None, source: str | os.PathLike[str] | None) -> Dataset:
    """The data set that options name: a published one, whose files may be said to lie somewhere, or
    without a name a user's own.

    Raises
    ------
    DataError
        When there is none, or it is not what it should be.
    """
    if name is not None:
        require_files(name, source)
        return Published(name, source)
    if source is None:
        raise DataError(f"Data must be named: one of {', '.join(NAMES)}, or {FORMS}")
    return read_own(Path(source))


def _given_by_environment() -> str | None:
    """Data of the user's own that $STERNA_DATA has; mostly it has the published ones."""
    place = os.environ.get("STERNA_DATA")
    if not place or any((Path(place) / name).exists() for name in NAMES):
        return None
    return place


def load_split(
    name: str,
    split: str,
    bits: int,
    source: Source = None,
    *,
    download: bool = True,
    steps: int = 1,
    encoding: Encoding | None = None,
) -> Split:
    """One split of a data set, its pixels quantised.

    Parameters
    ----------
    name
        Of a published data set; another: data of the user's own, which `source` has.
    split, bits, download, steps
        As of `load_published`.
    source
        The data set itself, or its file or folder; of a published one, where its files lie.
    encoding
        Of the network that it is for; None: fitted on the data, or, of published ones, none.

    Raises
    ------
    DataError
        One sentence, for a wrong argument, data that are not what they should be, or are nowhere
        to be had.
    """
    if isinstance(source, Dataset):
        return source.split(split, bits, steps=steps, encoding=encoding)
    if name in NAMES:
        if encoding in (None, ENCODINGS.get(name)):
            return load_published(name, split, bits, source, download=download, steps=steps)
        return Published(name, source).split(split, bits, steps=steps, encoding=encoding)
    if encoding is None and source is None:
        raise DataError(none_of("Data set", name, NAMES))
    source = source or _given_by_environment()
    if not source:
        raise DataError(f"Data set {name} is the user's own: say with --data where it is, {FORMS}")
    return read_own(Path(source)).split(split, bits, steps=steps, encoding=encoding)
