"""What the golden model said, as a file."""

from pathlib import Path

import numpy as np
import pytest

from hw.contract.files import ArchiveError
from sim.golden.answers import ANSWERS, Answers


def test_saved_and_loaded(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    labels, classes = np.array([0, 1, 2]), np.array([0, 2, 2])
    Answers(pixels, labels, classes).save(tmp_path)
    found = Answers.load(tmp_path)
    assert (found.pixels == pixels).all()
    assert (found.labels == labels).all()
    assert (found.classes == classes).all()


FITS = {
    "pixels": np.zeros((2, 3), dtype=np.uint8),
    "labels": np.zeros(2, dtype=np.uint8),
    "classes": np.zeros(2, dtype=np.int64),
}


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        (FITS | {"pixels": np.zeros(2, dtype=np.uint8)}, ValueError),
        (FITS | {"pixels": np.zeros((3, 3), dtype=np.uint8)}, ValueError),
        (FITS | {"labels": np.zeros(3, dtype=np.uint8)}, ValueError),
        (FITS | {"classes": np.zeros(3, dtype=np.int64)}, ValueError),
        (FITS | {"pixels": np.zeros((2, 3), dtype=np.uint16)}, ValueError),
        (FITS | {"labels": np.zeros(2)}, ValueError),
        (FITS | {"classes": np.zeros(2)}, ValueError),
        ({"pixels": np.zeros((2, 3)), "labels": np.zeros(2)}, ArchiveError),
        (dict.fromkeys(("pixels", "labels", "classes"), np.zeros(2)), ValueError),
        ({"pixels": np.zeros((2, 3)), "labels": np.zeros(2), "classes": np.zeros(3)}, ValueError),
    ],
)
def test_what_is_something_else(tmp_path: Path, arrays, error) -> None:
    np.savez(tmp_path / ANSWERS, **FITS)
    assert Answers.load(tmp_path).labels.tolist() == [0, 0]
    np.savez(tmp_path / ANSWERS, **arrays)
    with pytest.raises(error):
        Answers.load(tmp_path)
