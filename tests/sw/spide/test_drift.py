"""sw.spide.drift: what happens to which pixel."""

import numpy as np
import pytest

from sw.data.dataset import load_split
from sw.data.split import Split
from sw.spide.drift import DRIFTS, DriftError, drift, drifted, quantised

SHAPE = (1, 28, 28)


def image(*lit: tuple[int, int]) -> np.ndarray:
    found = np.zeros(SHAPE, np.uint8)
    for row, column in lit:
        found[0, row, column] = 200
    return found.reshape(1, -1)


def test_moved():
    made = drift(image((0, 0), (10, 4), (26, 3), (4, 25)), "moved", SHAPE)
    assert (made == image((2, 3), (12, 7))).all()
    small = np.arange(64, dtype=np.uint8)[None]
    made = drift(small, "moved", (1, 8, 8)).reshape(8, 8)
    assert (made[1:, 1:] == small.reshape(8, 8)[:-1, :-1]).all()
    assert not made[0].any()


def test_turned_by_thirty_degrees():
    """A pixel right of the middle goes up; light is kept, but for what is cut off."""
    made = drift(image((13, 23), (14, 23)), "turned", SHAPE).reshape(28, 28).astype(float)
    rows, columns = np.mgrid[:28, :28] - 13.5
    found = np.arctan2(-(rows * made).sum(), (columns * made).sum())
    assert np.degrees(found) == pytest.approx(30, abs=1)
    assert np.hypot((rows * made).sum(), (columns * made).sum()) / made.sum() == pytest.approx(
        9.5, abs=0.1
    )
    assert made.sum() == pytest.approx(400, rel=0.05)
    everything = drift(np.full((1, 784), 255, np.uint8), "turned", SHAPE).reshape(28, 28)
    assert everything[0, 0] == 0
    assert (everything[10:18, 10:18] >= 254).all()  # 255, less what floats leave


def test_dead_pixels_and_gains():
    images = np.full((2, 784), 100, np.uint8)
    made = drift(images, "dead", SHAPE)
    assert (made[0] == made[1]).all()
    assert (made == drift(images, "dead", SHAPE)).all()
    assert (made[0] == 0).mean() == pytest.approx(0.3, abs=0.05)
    alive = made[0][made[0] > 0]
    assert (alive.min(), alive.max()) == (pytest.approx(20, abs=2), pytest.approx(180, abs=2))
    assert drift(np.full((1, 784), 255, np.uint8), "dead", SHAPE).max() == 255


def test_contrast():
    pixels = np.arange(256, dtype=np.uint8)[None, :196]
    assert drift(pixels, "contrast", (1, 14, 14))[0, ::5].tolist() == list(range(0, 79, 2))


@pytest.mark.parametrize("kind", [None, *DRIFTS])
def test_data_sets(kind):
    plain, data = load_split("digits", "test", 4), load_split("digits", "test", 8)
    made = drifted(data, kind, 4)
    assert (made.bits, made.images.dtype, made.images.shape) == (4, np.uint8, plain.images.shape)
    assert made.images.max() <= 15
    assert (made.labels == plain.labels).all()
    assert (made.images == plain.images).all() == (kind is None)
    assert made.title == ("digits" if kind is None else f"digits ({kind})")


def test_what_is_refused():
    data = load_split("digits", "test", 4)
    other = Split(name="nmnist-small", split="test", bits=8, images=data.images, labels=data.labels)
    with pytest.raises(DriftError, match=r"Drift must be one of .*, not 'rain'"):
        drift(image(), "rain", SHAPE)
    with pytest.raises(DriftError, match="nmnist-small must hold pictures to drift"):
        drifted(other, "moved", 4)
    with pytest.raises(DriftError, match="digits must have pixels of 8 bits, not 4"):
        quantised(data, 2)
