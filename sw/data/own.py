"""A user's own data from files: arrays, a table, idx files, or folders of pictures.

What a path holds is told by content. What is of two kinds at once is refused: nothing is left out
without a word.
"""

import csv
import io
import math
import re
import warnings
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hw.contract.files import Archive, ArchiveError, ArrayError
from sw.data.arrays import Dataset, Spikes
from sw.data.idx import idx_axes, read_idx
from sw.data.split import SPLITS, DataError

__all__ = ["FORMS", "read_own"]

FORMS = (
    "a .npz file with x and y (and x_test, y_test), or with events, offset and y, a CSV file, a "
    "folder with idx files, or one with a folder of pictures for each class"
)

SPIKES = ("events", "offset", "y", "events_test", "offset_test", "y_test", "sensor")
"""Arrays of spike trains."""
SPIKE_COLUMNS = (("t", "x", "y", "p"), ("t", "i"))
"""Columns of a table of spikes, beside recording and label."""

MAX_BYTES = 1 << 30
"""Of a table's file, and of the pixels of all pictures."""

LABEL_COLUMNS = ("label", "labels", "class", "target", "species")
MAYBE_LABEL = "y"
"""Unless it is one of x, y and z."""
PART_COLUMNS = ("split", "part")
MISSING = ("", "?", "na", "n/a", "nan", "none", "null")
COMMA = r"-?\d+,\d+"
DELIMITERS = ",;\t"

PARTS = {"train": "train", "t10k": "test", "test": "test"}
"""How the names of files of each part begin."""

PICTURE = {3: "hw", 4: "hwc"}
"""Axes of pictures, by how many their array has."""

Columns = list[str]


def read_own(path: Path) -> Dataset:
    """Read a data set from a file or a folder; it is named after that.

    Parameters
    ----------
    path
        A `.npz` file with `x`, `y` and, if they are apart, `x_test`, `y_test` (`axes`: text, as of
        `Dataset`); or one with `events`, `offset` and `y` (`sw.data.arrays.Spikes`). A CSV file: a
        row per example, the label in the column that is called so, or the last one; a column
        `split` says `train` or `test`; or a row per spike, with columns recording, label and t, x,
        y, p or t, i. A folder with idx files, `train-...` and `t10k-...` or `test-...`, images and
        labels. A folder with a folder of pictures per class, or with two such, `train` and `test`.

    Raises
    ------
    DataError
        One sentence, for what is none of them.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise DataError(f"Data {path} do not exist: they must be {FORMS}")
    try:
        with path.open("rb") as file:
            first = file.read(6)
    except OSError:
        raise DataError(f"Data file {path} is not a readable file") from None
    if first[:4] == b"PK\x03\x04":
        return _read_arrays(path)
    if first == b"\x93NUMPY":
        raise DataError(
            f"Data file {path} must hold examples and labels, not one array: save both with "
            "numpy.savez(path, x=x, y=y)"
        )
    return _read_table(path)


def _read_arrays(path: Path) -> Dataset:
    try:
        archive = Archive(path)
        if "events" in archive.names:
            return _spikes(path, **archive.arrays(SPIKES[:3], SPIKES[3:]))
        found = archive.arrays(("x", "y"), ("x_test", "y_test", "axes"))
    except ArrayError as error:
        raise DataError(f"Data file {path} {error}") from None
    except (ArchiveError, OSError):
        raise DataError(f"Data file {path} is truncated, or not a .npz file") from None
    axes = found.pop("axes", None)
    if axes is not None and axes.ndim:
        raise DataError(f"Data file {path} must have one text as 'axes'")
    return _named(path, found["x"], found["y"], found.get("x_test"), found.get("y_test"), axes=axes)


def _named(path: Path, *parts: Any, axes: Any = None) -> Dataset:
    """The data set, refusals naming the file."""
    try:
        text = None if axes is None else str(axes)
        return Dataset(*parts, name=path.resolve().stem, axes=text)
    except DataError as error:
        raise DataError(f"{error} ({path})") from None


def _spikes(path: Path, **parts: Any) -> Spikes:
    """Spike trains, refusals naming the file."""
    try:
        return Spikes(**parts, name=path.resolve().stem)
    except DataError as error:
        raise DataError(f"{error} ({path})") from None


# Tables


def _read_spikes(path: Path, names: Columns, rows: Iterator[tuple[int, list[str]]]) -> Spikes:
    """A table with a row for each spike: recording, its times and places, the recording's label."""
    plain = [name.lower() for name in names]
    wanted = next(columns for columns in SPIKE_COLUMNS if set(columns) <= set(plain))
    parts: dict[str, dict[str, tuple[str, list[list[float]]]]] = {}
    real = False
    for number, row in rows:
        if len(row) != len(names):
            raise DataError(f"Line {number} of {path} must have {len(names)} cells, not {len(row)}")
        cells = dict(zip(plain, row, strict=True))
        for name in wanted:
            if not _is_number(cells[name]):
                raise DataError(
                    f"Column {name} of {path} must have numbers, not {cells[name]!r} (line "
                    f"{number})"
                )
        real = real or not re.fullmatch(r"[+-]?\d+", cells["t"])
        where = cells.get("split", "").lower()
        if "split" in cells and where not in SPLITS:
            raise DataError(f"Column split of {path} must say train or test (line {number})")
        label, spikes = parts.setdefault(where, {}).setdefault(
            cells["recording"], (cells["label"], [])
        )
        if label != cells["label"] or label.lower() in MISSING:
            raise DataError(
                f"Recording {cells['recording']} of {path} must have one label, and has "
                f"{cells['label']!r} (line {number})"
            )
        spikes.append([float(cells[name]) for name in wanted])
    if set(parts) not in ({""}, set(SPLITS)):
        raise DataError(
            f"Data file {path} must have spikes, for train and test where it says split"
        )
    every = _plain([label for part in parts.values() for label, _ in part.values()])
    found: dict[str, Any] = {}
    for where, part in parts.items():
        ends = np.cumsum([0, *(len(spikes) for _, spikes in part.values())])
        rows_of = np.array([spike for _, spikes in part.values() for spike in spikes])
        end = "_test" if where == "test" else ""
        found |= {
            f"events{end}": rows_of if real else rows_of.astype(np.int64),
            f"offset{end}": ends,
            f"y{end}": every[: len(part)],
        }
        every = every[len(part) :]
    return _spikes(path, **found)


def _has_spikes(names: Columns) -> bool:
    """Whether these are the columns of a table of spikes, and no others."""
    plain = [name.lower() for name in names]
    whole = [{"recording", "label", *columns} for columns in SPIKE_COLUMNS]
    return len(set(plain)) == len(plain) and set(plain) - {"split"} in whole


def _read_table(path: Path) -> Dataset:
    rows = _rows(path)
    number, first = next(rows, (0, []))
    if _has_spikes(first):
        return _read_spikes(path, first, rows)
    if len(first) < 2:
        raise DataError(f"Data file {path} must be {FORMS}")
    numbered = first == [str(n) for n in range(len(first))]  # as pandas calls columns
    headed = numbered or not any(_is_number(cell) for cell in first[:-1])
    names = first if headed else [f"number {n + 1}" for n in range(len(first))]
    if headed:
        _check_names(path, names)
    label, part = _column(names, LABEL_COLUMNS, len(names) - 1), _column(names, PART_COLUMNS, None)
    apart = {label, part} - {None}
    taken = [n for n in range(len(first)) if n not in apart]
    if not taken:
        raise DataError(f"Data file {path} must have a column of numbers beside the labels")
    values: dict[str, array[float]] = {}
    labels: dict[str, list[str]] = {}

    def take(number: int, row: list[str]) -> None:
        if len(row) != len(first):
            raise DataError(f"Line {number} of {path} must have {len(first)} cells, not {len(row)}")
        where = "" if part is None else row[part].lower()
        if part is not None and where not in SPLITS:
            raise DataError(
                f"Column {names[part]} of {path} must say train or test, not {row[part]!r} (line "
                f"{number})"
            )
        numbers = values.setdefault(where, array("d"))
        for n in taken:
            value = float(row[n]) if _is_number(row[n]) else math.nan
            if not math.isfinite(value):
                comma = ": write decimals with a point" * bool(re.fullmatch(COMMA, row[n]))
                raise DataError(
                    f"Column {names[n]} of {path} must have finite numbers, not {row[n]!r} (line "
                    f"{number}){comma}"
                )
            numbers.append(value)
        if row[label].lower() in MISSING:
            raise DataError(f"Line {number} of {path} must have a label, not {row[label]!r}")
        labels.setdefault(where, []).append(row[label])

    if not headed:
        take(number, first)
    for line in rows:
        take(*line)
    if not values:
        raise DataError(f"Data file {path} must have examples, and has names of columns only")

    def of(where: str) -> tuple[Any, Any]:
        if where not in values:
            raise DataError(f"Column {names[part or 0]} of {path} must also say {where}")
        return np.array(values[where]).reshape(-1, len(taken)), labels[where]

    if part is None:
        x, y = of("")
        data = _named(path, x, _plain(y))
    else:
        (x, y), (x_test, y_test) = of("train"), of("test")
        both = _plain([*y, *y_test])
        data = _named(path, x, both[: len(y)], x_test, both[len(y) :])
    data.told = f"labels from column {names[label]}"
    return data


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not blank, with their number; cells without blanks around them."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError:
        raise DataError(f"Data file {path} is not a readable file") from None
    except UnicodeDecodeError:
        raise DataError(f"Data file {path} must be text in UTF-8, or {FORMS}") from None
    if len(data) > MAX_BYTES:
        raise DataError(f"Data file {path} must be smaller than 1 GiB")
    if "\0" in text:
        raise DataError(f"Data file {path} must be {FORMS}")
    line = text.lstrip().split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(
            f"Line {reader.line_num} of {path} must be one of a table: {error}"
        ) from None


def _check_names(path: Path, names: Columns) -> None:
    """Refuse columns of which it is not certain what they are."""
    if "" in names:
        raise DataError(
            f"Columns of {path} must all have names, and number {names.index('') + 1} has none: "
            "leave out what numbers the rows"
        )
    plain = [name.lower() for name in names]
    found = [name for name in names if name.lower() in LABEL_COLUMNS]
    if len(found) > 1:
        raise DataError(
            f"Labels of {path} may be in column {found[0]} or in column {found[1]}: leave one out"
        )
    if MAYBE_LABEL in plain[:-1] and not set(plain) & set(LABEL_COLUMNS):
        raise DataError(
            f"Labels of {path} may be in column {MAYBE_LABEL} or in column {names[-1]}: call the "
            "one that has them label"
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _column(names: Columns, known: Sequence[str], otherwise: int | None) -> Any:
    """The number of the column that is called so."""
    plain = [name.lower() for name in names]
    found = [plain.index(name) for name in known if name in plain]
    return found[0] if found else otherwise


def _plain(labels: Sequence[str]) -> npt.NDArray[Any]:
    """Labels that are written as integers, all of them, as integers; else the text."""
    if all(re.fullmatch(r"(0|-?[1-9]\d{0,14})(\.0+)?", label) for label in labels):
        return np.array([int(label.split(".")[0]) for label in labels], dtype=np.int64)
    return np.array(labels)


# Folders


def _read_folder(folder: Path) -> Dataset:
    try:
        entries = sorted(e for e in folder.iterdir() if not e.name.startswith("."))
    except OSError:
        raise DataError(f"Data folder {folder} is not a readable folder") from None
    inside = [e for e in entries if e.is_dir()]
    axes = {e: idx_axes(e) for e in entries if e.is_file()}
    idx = {e: n for e, n in axes.items() if n is not None}
    others = [e for e in axes if e not in idx and _is_data(e)]
    if idx and inside:
        raise DataError(
            f"Data folder {folder} must have idx files or folders of pictures, not both"
        )
    if others and (idx or inside or len(others) > 1):
        raise DataError(
            f"Data folder {folder} must have data of one kind, and {others[0].name} is another: "
            f"name the one that is meant, {FORMS}"
        )
    if others:
        raise DataError(f"Data folder {folder} holds {others[0].name}: name that file")
    if idx:
        return _read_idx(folder, idx)
    if not inside:
        raise DataError(f"Data folder {folder} must be {FORMS}")
    parts = {e.name.lower(): e for e in inside}
    if set(parts) & set(SPLITS) and set(parts) != set(SPLITS):
        raise DataError(
            f"Data folder {folder} must have the folders train and test and no others, not "
            f"{', '.join(e.name for e in inside)}"
        )
    if set(parts) == set(SPLITS):
        x, y = _read_classes(parts["train"])
        x_test, y_test = _read_classes(parts["test"])
        if x.ndim < x_test.ndim:  # grey ones for training alone
            x = np.repeat(x[..., None], 3, axis=-1)
        elif x_test.ndim < x.ndim:
            x_test = np.repeat(x_test[..., None], 3, axis=-1)
        both = _plain([*y, *y_test])
        return _named(folder, x, both[: len(y)], x_test, both[len(y) :], axes=PICTURE[x.ndim])
    x, y = _read_classes(folder)
    return _named(folder, x, _plain(y), axes=PICTURE[x.ndim])


def _is_data(path: Path) -> bool:
    """Whether a file holds examples of another kind than idx, or pictures without a class."""
    try:
        with path.open("rb") as file:
            first = file.read(6)
        if first[:4] == b"PK\x03\x04" or first == b"\x93NUMPY" or path.suffix.lower() == ".csv":
            return True
        with Image.open(path):
            return True
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def _read_idx(folder: Path, idx: dict[Path, int]) -> Dataset:
    parts: dict[str, dict[bool, Path]] = {}
    for path, axes in idx.items():
        part = next((PARTS[p] for p in PARTS if path.name.lower().startswith(p)), "")
        kind = axes == 1
        if kind in parts.setdefault(part, {}):
            raise DataError(
                f"Data folder {folder} must have one file of {'labels' if kind else 'images'} for "
                f"{part or 'training'}, and {path.name} is a second one"
            )
        parts[part][kind] = path
    if set(parts) not in ({""}, {"train"}, {"train", "test"}):
        raise DataError(
            f"Data folder {folder} must have idx files train-... , and t10k-... or test-... beside "
            "them, or none that is called so"
        )
    found: list[Any] = []
    for part in sorted(parts, reverse=True):  # train, then test
        if set(parts[part]) != {True, False}:
            lacking = "images" if True in parts[part] else "labels"
            raise DataError(f"Data folder {folder} lacks {lacking} for {part or 'training'}")
        images, labels = parts[part][False], parts[part][True]
        found += [_idx_array(images, idx[images]), _idx_array(labels, 1)]
    return _named(folder, *found)


def _idx_array(path: Path, axes: int) -> npt.NDArray[np.uint8]:
    return read_idx(path, axes)[0]


def _read_classes(folder: Path) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Pictures of a folder of folders, uint8 (n, rows, columns) or, where one has colours, (n,
    rows, columns, 3), and their labels."""
    pictures: list[npt.NDArray[np.uint8]] = []
    labels: list[str] = []
    first: tuple[Path, tuple[int, int]] | None = None
    total = 0
    for inner in sorted(folder.iterdir()):
        if inner.name.startswith("."):
            continue
        if not inner.is_dir():
            raise DataError(f"Data folder {folder} must have folders of pictures, not {inner.name}")
        for path in sorted(p for p in inner.iterdir() if not p.name.startswith(".")):
            picture = _picture(path)
            size = (picture.shape[1], picture.shape[0])
            first = first or (path, size)
            if size != first[1]:
                raise DataError(
                    f"Pictures of {folder} must all have one size: {first[0].name} has "
                    f"{_by(first[1])} pixels, and {path} has {_by(size)}"
                )
            total += picture.size
            if total > MAX_BYTES:
                raise DataError(f"Pictures of {folder} must have less than 1 GiB of pixels")
            pictures.append(picture)
            labels.append(inner.name)
    if not pictures:
        raise DataError(f"Data folder {folder} must be {FORMS}")
    if any(picture.ndim == 3 for picture in pictures):
        pictures = [
            picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
            for picture in pictures
        ]
    return np.stack(pictures), labels


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _picture(path: Path) -> npt.NDArray[np.uint8]:
    """uint8 (rows, columns), or (rows, columns, 3)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if getattr(image, "n_frames", 1) > 1 or image.mode.startswith(("I", "F")):
                    raise DataError(f"Picture {path} must be a single one with 8 bits a channel")
                grey = image.mode in ("1", "L")
                opaque = image.mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr")
                if not opaque or "transparency" in image.info:
                    alpha = image.convert("RGBA").getchannel("A").getextrema()
                    if alpha != (255, 255):
                        raise DataError(f"Picture {path} must not be transparent")
                    grey = image.mode == "LA"
                return np.asarray(image.convert("L" if grey else "RGB"))
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"Picture {path} is too large") from None
    except Exception:  # Pillow raises whatever a damaged file makes it stumble over
        raise DataError(f"File {path} must be a picture, whole and readable") from None
