"""A user's own arrays: shapes, parts, rules fitted on the training part, what is refused."""

from typing import Any

import numpy as np
import pytest

from hw.contract.encoding import Encoding
from sw.data.arrays import Dataset, own_name
from sw.data.split import DataError

LABELS = np.arange(20) % 2


def data(x: Any, y: Any = None, **more: Any) -> Dataset:
    return Dataset(x, np.arange(len(x)) % 2 if y is None else y, **more)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random((20, *shape))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((7,), "f"),
        ((8, 9), "hw"),
        ((8, 9, 1), "hwc"),
        ((8, 9, 3), "hwc"),
        ((3, 8, 9), "chw"),
        ((6, 8, 9), "thw"),
        ((6, 8, 9, 2), "thwc"),
        ((6, 2, 8, 9), "tchw"),
    ],
)
def test_axes_are_told_by_shape(shape: tuple[int, ...], axes: str):
    assert data(random(*shape)).axes == axes


def test_axes_may_be_said():
    steps = data(random(5, 7), axes="tf")
    assert steps.encoding is not None
    assert (steps.encoding.timed, steps.encoding.steps, steps.encoding.size) == (True, 5, 7)
    with pytest.raises(DataError, match=r"Axes must be one of f, hw, .*, not 'up'"):
        data(random(5, 7), axes="up")
    with pytest.raises(DataError, match=r"Axes f must be those of examples of 5, 7"):
        data(random(5, 7), axes="f")
    for shape in ((5, 6, 7, 8), (2, 3, 4), (5, 3, 8, 2), (1, 1, 1, 1, 1)):
        with pytest.raises(DataError, match="they may be anything: say what the axes are, one of"):
            data(random(*shape))
    assert data(random(2, 3, 4), axes="chw").axes == "chw"


def test_the_test_part_is_a_rule():
    x = np.arange(24.0)[:, None]
    y = np.array([0, 0, 1] * 8)
    made = Dataset(x, y)
    first = [n for c in (0, 1) for n in np.flatnonzero(y == c)[::5]]
    assert made.x_test[:, 0].tolist() == sorted(first)
    assert sorted([*made.x[:, 0], *made.x_test[:, 0]]) == list(range(24))
    assert made.rule == "of each class the first and every fifth after it"
    given = Dataset(x, y, x[:3], y[:3])
    assert (len(given.y), len(given.y_test), given.rule) == (24, 3, "as given")
    assert len(given) == 27


def test_rules_are_fitted_on_the_training_part_alone():
    x, y = np.ones((10, 1, 1)), np.arange(10) % 2
    encoding = Dataset(x, y, 100 * x, y).encoding
    assert encoding is not None
    assert encoding.high == (1.0,)


def fitted(x: Any, **more: Any) -> Encoding:
    everything = np.asarray(x)
    y = np.arange(len(everything)) % 2
    encoding = Dataset(everything, y, everything[:2], y[:2], **more).encoding
    assert encoding is not None
    return encoding


def test_pictures_from_dark_to_bright():
    bytes_ = np.array([[[0, 200], [3, 4]]] * 4, dtype=np.uint8)
    assert (fitted(bytes_).low, fitted(bytes_).high) == ((0.0,), (255.0,))
    assert fitted(bytes_ // 16).high == (12.0,)
    assert fitted(bytes_ / 255).high == (1.0,)
    assert fitted(bytes_ / 1000).high == (0.2,)
    assert fitted(bytes_.astype(int) * 10).high == (2000.0,)
    assert fitted(np.zeros((4, 2, 2))).high == (1.0,)


def test_channels_by_themselves():
    maps = np.zeros((4, 3, 5, 5))
    maps[:, 0], maps[:, 2, 1] = 2.0, 5.0
    assert fitted(maps).high == (2.0, 1.0, 5.0)  # what never changes is dark
    signed = fitted(maps - [[[[3]], [[0]], [[0]]]])
    assert (signed.signed, signed.low, signed.high) == (True, (0.0,), (1.0, 1.0, 5.0))
    assert signed.map_shape == (6, 5, 5)


def test_features_by_themselves():
    x = np.array([[10, 5, 0], [20, 5, 1], [30, 5, 0], [40, 5, 1]])
    whole = fitted(x)
    assert (whole.low, whole.high, whole.signed) == ((10.0, 5.0, 0.0), (40.0, 6.0, 1.0), False)
    signed = fitted(x - [20, 0, 0])
    assert (signed.low, signed.high) == ((0.0, 5.0, 0.0), (20.0, 6.0, 1.0))
    assert (signed.signed, signed.size) == (True, 6)
    outliers = np.concatenate([np.linspace(0, 1, 999), [1e6]])[:, None]
    assert fitted(outliers).high[0] < 1.01  # not the outlier
    assert fitted(np.linspace(3, 4, 101)[:, None]).low == (3.01,)


def test_a_split_is_pixels_and_numbers():
    names = np.array(["dog", "cat"])[LABELS]
    made = data(random(4, 4), names, name="pets")
    split = made.split("train", 4)
    assert made.encoding is not None
    assert np.array_equal(split.images, made.encoding.encode(made.x, 4))
    assert [made.labels[n] for n in split.labels] == made.y.tolist()
    assert made.labels == ("cat", "dog")
    assert (split.name, split.shape, split.timed) == ("pets", (1, 4, 4), False)
    assert (split.encoding, split.white, split.rule) == (made.encoding, 1.0, made.rule)
    assert data((random(4, 4) * 255).astype(np.uint8)).split("test", 4).white == 255


def test_a_split_by_the_encoding_of_a_network():
    made, other = data(random(3)), Encoding(shape=(3,), axes="f", high=(2.0,), labels=(0, 1, 2))
    assert made.split("test", 8, encoding=other).images.max() < 129
    for encoding in (
        Encoding(shape=(4,), axes="f", high=(1.0,)),
        Encoding(shape=(3,), axes="f", high=(1.0,), labels=("a", "b")),
    ):
        with pytest.raises(DataError, match=r"Data set data does not fit: (Examples|Labels) must"):
            made.split("test", 8, encoding=encoding)
    recordings = data(random(5, 7), axes="tf")
    assert recordings.split("test", 2, steps=5).images.shape == (4, 35)
    with pytest.raises(DataError, match="must be seen in 5 time steps, not 4"):
        recordings.split("test", 2, steps=4)


def test_pixels_as_they_are():
    x = np.random.default_rng(1).integers(0, 16, (20, 2, 3))
    made = data(x)
    split = made.pixels("train", 4, 6)
    assert np.array_equal(split.images, made.x.reshape(-1, 6))
    assert split.labels.tolist() == made.y.tolist()
    assert split.encoding is None
    assert data(x.astype(float)).pixels("test", 4, 6).images.max() < 16
    for wrong in (x + 1, -x, x / 2, x[:, :1], x + 256, np.where(x < 8, np.inf, x)[:0]):
        if len(wrong):
            with pytest.raises(DataError, match="must have 6 whole numbers from 0 to 15"):
                data(wrong).pixels("train", 4, 6)
    for labels in (["a", "b"] * 10, [-1, 0] * 10):
        with pytest.raises(DataError, match="class numbers: the network has no encoding"):
            data(x, labels).pixels("train", 4, 6)


@pytest.mark.parametrize(
    ("x", "y", "complaint"),
    [
        (random(3), LABELS[:9], r"Labels y must have shape \(20,\), not \(9,\)"),
        (random(3), np.eye(20), "take argmax of one-hot labels"),
        (random(3), LABELS + 0.5, "Labels y must be integers or text, not 0.5"),
        (random(3), [None] * 20, "Labels y must be integers or text, not object"),
        (random(3), [[1], [1, 2]] * 10, "Labels y must be one array, all its entries of one shape"),
        (random(3), [0] * 20, "must have at least two classes"),
        (random(3), [0] * 19 + [1], "Class 1 of data set data must have examples for training"),
        (random(), LABELS, r"must have shape \(n, features\) or more, not \(20,\)"),
        (random(3)[:0], [], "Examples x must have at least one example, not none"),
        ([["a"]] * 20, LABELS, "Examples x must be numbers, not <U1"),
        ([[1], [1, 2]] * 10, LABELS, "Examples x must be one array, all its entries of one shape"),
        (np.full((20, 3), np.nan), LABELS, "must be finite numbers, and number 0 has one"),
        (random(3) * 1j, LABELS, "Examples x must be numbers, not complex128"),
    ],
)
def test_what_is_no_data_set(x: Any, y: Any, complaint: str):
    with pytest.raises(DataError, match=complaint):
        Dataset(x, y)


def test_parts_that_do_not_fit():
    x = random(3)
    with pytest.raises(DataError, match="for testing and their labels must be given together"):
        Dataset(x, LABELS, x)
    with pytest.raises(DataError, match=r"for testing must have shape \(n, 3\), not \(20, 2\)"):
        Dataset(x, LABELS, x[:, :2], LABELS)
    with pytest.raises(
        DataError, match="Class 4 of data set data must have examples for training, too"
    ):
        Dataset(x, LABELS, x, LABELS + 4)
    with pytest.raises(DataError, match="Split must be one of train, test, not 'all'"):
        data(x).split("all", 4)
    with pytest.raises(DataError, match="Pixel width must be an integer from 1 to 8, not 9"):
        data(x).split("test", 9)


def test_what_is_not_taken_as_it_is():
    x = random(2)
    for given, complaint in (
        (np.ma.array(x, mask=x > 0.5), "Examples x must not have values that are masked out"),
        (np.where(x > 0.5, np.inf, x), "must be finite numbers"),
    ):
        with pytest.raises(DataError, match=complaint):
            Dataset(given, LABELS)
    for given, complaint in (
        ([1, "a"] * 10, "Labels y must be integers or text, not both"),
        (np.where(LABELS, np.inf, 1), "Labels y must be integers or text, not inf"),
        (np.where(LABELS, 2**63, 1).astype(np.uint64), "Labels y must be integers or text, not 92"),
        (np.ma.array(LABELS, mask=LABELS > 0), "Labels y must not have values that are masked"),
    ):
        with pytest.raises(DataError, match=complaint):
            Dataset(x, given)
    with pytest.raises(DataError, match="must be of the same type as the others, uint8, not float"):
        Dataset((x * 255).astype(np.uint8), LABELS, x, LABELS)
    with pytest.raises(DataError, match=r"cannot be pixels: Labels of an encoding must be"):
        Dataset(x, ["", "b"] * 10)
    made = Dataset(x, LABELS)
    x[:] = 9
    assert made.x.max() < 1  # a copy
    far = Dataset(np.full((20, 1), 1e17) + np.arange(20)[:, None] % 1, LABELS)
    assert far.split("test", 4).images.max() == 0
    cut = Dataset(np.arange(1000.0)[:, None], np.arange(1000) % 2).split("train", 4)
    assert 0.01 < cut.clipped < 0.03


def test_labels_of_any_kind():
    x = random(2)
    for given, expected in (
        (LABELS + 5, (5, 6)),
        (LABELS.astype(np.uint8), (0, 1)),
        (LABELS.astype(float), (0, 1)),
        (LABELS.astype(bool), (0, 1)),
        (np.array(["é", "b"])[LABELS], ("b", "é")),
        (np.array(["x", "y"], dtype=object)[LABELS], ("x", "y")),
        (["7", "8"] * 10, ("7", "8")),
    ):
        made = Dataset(x, given)
        assert made.labels == expected
        assert made.classes == 2
        assert {type(label) for label in made.labels} <= {int, str}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flowers", "flowers"),
        ("my data (2)", "my_data__2"),
        ("2024", "data_2024"),
        ("2nd", "data_2nd"),
        ("mnist", "own_mnist"),
        ("Fashion-MNIST", "own_Fashion_MNIST"),
        ("äöü", "data"),
        ("a" * 200, "a" * 48),
    ],
)
def test_names(name: str, expected: str):
    assert own_name(name) == expected
    assert Dataset(random(2), LABELS, name=name).name == expected
