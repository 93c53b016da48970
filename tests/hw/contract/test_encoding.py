"""Encodings: the law in exact arithmetic, shapes and axes, what is refused, the file and digest."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.contract.builder import NetworkBuilder, random_network
from hw.contract.checks import InputError, SpecError
from hw.contract.encoding import AXES, Encoding, plain_labels
from hw.contract.network import Network, NetworkError
from hw.contract.spec import NetworkSpec


def flat(**more: Any) -> Encoding:
    return Encoding(**{"shape": (3,), "axes": "f", "high": (1.0,), **more})


@given(
    x=st.lists(st.integers(-64, 64), min_size=3, max_size=3),
    low=st.integers(-16, 16),
    width=st.integers(0, 6),
    bits=st.integers(1, 8),
    signed=st.booleans(),
)
def test_the_nearest_pixel(x: list[int], low: int, width: int, bits: int, signed: bool):
    """Sixteenths and ranges of powers of two: doubles are exact, so rationals say the same."""
    values, bottom, high = [Fraction(n, 16) for n in x], Fraction(low, 16), 1 << width
    encoding = flat(low=(float(bottom),), high=(float(bottom + high),), signed=signed)
    most = 2**bits - 1

    def nearest(share: Fraction) -> int:
        return min(max(int((share * most + Fraction(1, 2)) // 1), 0), most)

    shares = [(value - bottom) / high for value in values]
    expected = [nearest(share) for share in shares]
    expected += [nearest(-share) for share in shares] if signed else []
    pixels = encoding.encode([[float(value) for value in values]], bits)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [expected]


def test_bounds_of_each_feature_and_of_each_channel():
    features = flat(low=(0.0, 10.0, -1.0), high=(1.0, 20.0, 1.0))
    assert features.encode([[1.0, 12.0, 0.0], [0.5, 99.0, -2.0]], 4).tolist() == [
        [15, 3, 8],
        [8, 15, 0],
    ]
    maps = Encoding(shape=(1, 2, 3), axes="hwc", high=(1.0, 10.0, 100.0))
    x = np.array([[[[1, 10, 100], [0, 5, 20]]]])
    assert maps.encode(x, 4).tolist() == [[15, 0, 15, 8, 15, 3]]  # channels first
    signed = replace(maps, signed=True)
    assert signed.encode(-x, 4).tolist() == [[0, 0, 0, 0, 0, 0, 15, 0, 15, 8, 15, 3]]
    assert (maps.map_shape, signed.map_shape, signed.size) == ((3, 1, 2), (6, 1, 2), 12)


@pytest.mark.parametrize("axes", AXES)
def test_every_order_of_axes(axes: str):
    sides = {"t": 2, "h": 3, "w": 4, "c": 2, "f": 5}
    shape = tuple(sides[axis] for axis in axes)
    encoding = Encoding(shape=shape, axes=axes, high=(255.0,))
    x = np.random.default_rng(1).integers(0, 256, (4, *shape))
    expected = np.einsum("nthwc->ntchw", x) if axes == "thwc" else x
    expected = np.einsum("nhwc->nchw", x) if axes == "hwc" else expected
    assert np.array_equal(encoding.encode(x, 8), expected.reshape(4, -1))
    assert encoding.timed == (axes[0] == "t")
    assert encoding.steps == (2 if encoding.timed else 1)
    assert encoding.steps * encoding.size == x[0].size


def test_many_examples_are_encoded_in_parts(monkeypatch: pytest.MonkeyPatch):
    x = np.random.default_rng(1).random((10, 3))
    whole = flat().encode(x, 4)
    monkeypatch.setattr("hw.contract.encoding.CHUNK", 3)
    assert np.array_equal(flat().encode(x, 4), whole)
    x[7, 1] = np.nan
    with pytest.raises(InputError, match="number 7 has one that is not"):
        flat().encode(x, 4)


@pytest.mark.parametrize(
    ("x", "complaint"),
    [
        ([1, 2, 3], r"must have shape \(n, 3\), not \(3,\)"),
        ([[1, 2]], r"must have shape \(n, 3\), not \(1, 2\)"),
        (5, r"must have shape \(n, 3\), not \(\)"),
        ([["a", "b", "c"]], "must be numbers, not <U1"),
        ([[1, 2, 3], [1]], "must be one array, all its entries of one shape"),
        ([[1, 2, np.inf]], "must be finite numbers, and number 0 has one"),
        ([[1, 2, None]], "must be numbers, not object"),
    ],
)
def test_what_it_cannot_encode(x: Any, complaint: str):
    with pytest.raises(InputError, match=complaint):
        flat().encode(x, 4)


def test_far_outside_is_outside():
    assert flat().encode([[1e308, -1e308, 0]], 8).tolist() == [[255, 0, 0]]
    both = flat(signed=True, high=(1e-300,)).encode([[1e308, -1e308, 0]], 8)
    assert both.tolist() == [[255, 0, 0, 0, 255, 0]]


def test_the_share_that_is_clipped():
    x = [[-3.0, -1.5, 0.0], [0.5, 1.0, 1.5]]
    assert flat().clipped(x) == 0.5  # -3, -1.5 and 1.5
    assert flat(signed=True).clipped(x) == 0.5
    assert flat(signed=True, low=(0.5,), high=(2.0,)).clipped(x) == 2 / 6  # -1 .. 2
    assert flat(signed=True, low=(1.0,), high=(1.5,)).clipped(x) == 3 / 6  # 0.5 .. 1.5
    assert flat(low=(-3.0,), high=(1.5,)).clipped(x) == 0
    assert flat(shape=(1,)).clipped([[1.5]]) == 1
    assert flat().clipped(np.zeros((0, 3))) == 0


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ((), ""),
        (("a", "b"), "; 2 classes: a, b"),
        ((7, 8, 9, 10), "; 4 classes: 7, 8, 9, 10"),
        (("a", "b", "c", "d", "e"), "; 5 classes: a, b, c, d, .."),
    ],
)
def test_the_first_four_classes_are_named(labels: tuple[Any, ...], classes: str):
    assert flat(labels=labels).text == f"3 features, from 0 to 1, as 3 pixels{classes}"


def test_labels_of_half_precision():
    """No bound of ours is a number there (found by `make soak`)."""
    numbers = np.array([1, 2, 3], dtype=np.float16)
    assert plain_labels("Labels", numbers).tolist() == [1, 2, 3]
    with pytest.raises(InputError, match="Labels must be integers or text, not inf"):
        plain_labels("Labels", np.array([np.inf], dtype=np.float16))


def test_labels_are_integers_that_a_double_holds():
    assert plain_labels("Labels", [2**53, -(2**53)]).tolist() == [2**53, -(2**53)]
    for label in (2**53 + 2, -(2**53) - 2, 2.0**54):
        with pytest.raises(InputError, match="Labels must be integers or text"):
            plain_labels("Labels", [label])


def test_text_in_an_array_of_objects_is_text_and_nothing_else_is():
    assert plain_labels("Labels", np.array(["a", "b"], dtype=object)).tolist() == ["a", "b"]
    for labels in ([1, 2], ["a", 2], [None]):
        with pytest.raises(InputError, match=r"^Labels must be integers or text, not object$"):
            plain_labels("Labels", np.array(labels, dtype=object))


def test_labels_are_of_one_kind():
    for labels in (["a", 1], (2, "b"), [1, 2, "c"]):
        with pytest.raises(InputError, match=r"^Labels must be integers or text, not both$"):
            plain_labels("Labels", labels)
    assert plain_labels("Labels", [True, False]).tolist() == [1, 0]


def test_the_longest_label():
    long = "a" * 256
    assert flat(labels=(long, "b")).labels == (long, "b")
    for label in (long + "a", ""):
        with pytest.raises(SpecError, match="Labels of an encoding must be distinct and have 1 to"):
            flat(labels=(label, "b"))


def test_the_largest_bound():
    """2^53, up to where every integer is a double."""
    most = 2**53
    assert flat(low=(-most,), high=(most,)).bounds[1].tolist() == [float(most)] * 3
    for low, high in ((0, most + 1), (-most - 1, 0)):
        with pytest.raises(SpecError, match="Bounds of an encoding must be one number or 3 of"):
            flat(low=(low,), high=(high,))


def test_what_lies_below_has_channels_of_its_own_at_each_step():
    signed = Encoding(shape=(2, 3), axes="tf", high=(1.0,), signed=True)
    x = [[[0.5, -1.0, 0.0], [1.0, 0.25, -0.25]]]
    assert signed.encode(x, 2).tolist() == [[2, 0, 0, 0, 3, 0, 3, 1, 0, 0, 0, 1]]


def test_one_bad_bound_among_good_ones():
    for low, high in (((0, 1), (1, 1)), ((1, 0), (1, 1)), ((-1e308, 0), (1e308, 1))):
        with pytest.raises(SpecError, match="Bounds of an encoding must be finite, the upper one"):
            Encoding(shape=(2,), axes="f", low=low, high=high)


def test_zero_has_no_sign():
    """So that 0 and -0.0 have one digest."""
    bounds = Encoding(shape=(2,), axes="f", low=(-0.0,), high=(1, 2))
    assert [math.copysign(1, value) for value in bounds.low] == [1]
    assert bounds == Encoding(shape=(2,), axes="f", low=(0,), high=(1.0, 2.0))


def test_labels_have_names_and_names_numbers():
    named = flat(labels=("cat", "dog", "eel"))
    assert named.names(np.array([2, 0])).tolist() == ["eel", "cat"]
    assert named.numbers(["dog", "eel", "dog"]).tolist() == [1, 2, 1]
    assert flat(labels=(7, 9)).numbers(np.array([9, 7])).tolist() == [1, 0]
    assert flat(labels=(7,)).numbers([7]).tolist() == [0]
    assert flat().names(np.array([2])).tolist() == [2]
    for labels, strange in ((["cat", "cow"], "'cow'"), ([1], "1")):
        with pytest.raises(InputError, match=rf"must be among 'cat', .*, not {strange}"):
            named.numbers(labels)
    with pytest.raises(InputError, match="must be among 7, 9, not 'cat'"):
        flat(labels=(7, 9)).numbers(["cat"])
    with pytest.raises(InputError, match=r"among 1, 2, 3, 4, 5, not 9"):
        flat(labels=(1, 2, 3, 4, 5)).numbers([9])
    with pytest.raises(InputError, match=r"among 1, 2, 3, 4, 5, \.\., not 9"):
        flat(labels=(1, 2, 3, 4, 5, 6)).numbers([9])


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"axes": "xy"}, "Axes of an encoding must be one of f, hw, .*, not 'xy'"),
        ({"shape": (3, 4)}, r"must have 1 sides, not \(3, 4\)"),
        ({"shape": [3]}, "must have 1 sides"),
        ({"shape": (0,)}, "Sides of an encoding must be an integer from 1 to 65536, not 0"),
        ({"low": (0.0, 1.0)}, r"must be one number or 3 of them, not \(0.0, 1.0\)"),
        ({"high": (float("nan"),)}, "Bounds of an encoding must be one number or 3"),
        ({"high": (10**400,)}, "Bounds of an encoding must be one number or 3"),
        ({"high": ("1",)}, "Bounds of an encoding must be one number or 3"),
        ({"high": (1.0, "1", 1.0)}, "Bounds of an encoding must be one number or 3"),
        ({"low": (1.0,)}, "the upper one above the lower one"),
        ({"low": (-1.7e308,), "high": (1.7e308,)}, "must be finite, the upper one"),
        ({"signed": 1}, "Signed must be true or false, not 1"),
        ({"labels": ("a", 1)}, "must be all text or all integers"),
        ({"labels": ("a", "a")}, "must be distinct and have 1 to 256 characters"),
        ({"labels": ("",)}, "must be distinct and have 1 to 256 characters"),
        ({"labels": (True, False)}, "must be all text or all integers"),
    ],
)
def test_what_is_no_encoding(fields: dict[str, Any], complaint: str):
    with pytest.raises(SpecError, match=complaint):
        flat(**fields)


# In a specification


def network(encoding: Encoding | None = None, *, size: Any = 3, **more: Any) -> Network:
    builder = NetworkBuilder(size, steps=2, **more)
    builder.layer("readout", 2)
    return random_network(replace(builder.spec(), encoding=encoding))


def test_it_is_inside_the_digest_where_it_is_present(tmp_path: Any):
    plain, named = network(), network(flat(labels=("no", "yes")))
    assert "encoding" not in plain.spec.to_dict()
    digests = {plain.digest, named.digest, network(flat()).digest}
    digests |= {network(flat(high=(2.0,))).digest, network(flat(labels=("yes", "no"))).digest}
    assert len(digests) == 5
    again = Network.load(named.save(tmp_path / "named.npz"))
    assert again.digest == named.digest
    assert again.spec == named.spec
    assert network(flat(low=(0,), high=(1,))).digest == network(flat()).digest  # 0 is 0.0


@pytest.mark.parametrize(
    ("encoding", "complaint"),
    [
        (flat(signed=True), r"must make 1 image\(s\) of 3 pixels, not 1 of 6x1x1"),
        (Encoding(shape=(2, 3), axes="tf", high=(1.0,)), "not 2 of 3x1x1"),
        (flat(labels=("a",)), "must have 2 labels, not 1"),
        ("flat", "Encoding must be an Encoding or None"),
    ],
)
def test_it_makes_what_the_network_takes(encoding: Any, complaint: str):
    with pytest.raises(SpecError, match=complaint):
        network(encoding)


def test_its_pixels_may_be_a_row_or_signals():
    """Of one order: channels, rows, columns. Other maps are other places."""
    encoding = Encoding(shape=(2, 6), axes="hw", high=(1.0,))
    for shape in ((1, 2, 6), (12, 1, 1), (2, 1, 6)):
        assert network(encoding, size=shape).spec.shape_of("input") == shape
    for other in ((1, 6, 2), (6, 2, 1), (3, 2, 2)):
        with pytest.raises(SpecError, match=r"must make 1 image\(s\) of 12 pixels, not 1 of 1x2x6"):
            network(encoding, size=other)


def test_a_damaged_one_is_a_sentence():
    data = network(flat()).spec.to_dict()
    for change, complaint in (
        ({"colour": 1}, "Encoding has no field 'colour'"),
        ({"shape": "x"}, "must have 1 sides"),
        ({"labels": [["a"], ["b"]]}, "must be all text or all integers"),
    ):
        broken = {**data, "encoding": {**data["encoding"], **change}}
        with pytest.raises(SpecError, match=complaint):
            NetworkSpec.from_dict(broken)
    with pytest.raises(SpecError, match="must be an object"):
        NetworkSpec.from_dict({**data, "encoding": [1]})
    del data["encoding"]["high"]
    with pytest.raises(SpecError, match="incomplete"):
        NetworkSpec.from_dict(data)


def test_recordings_have_as_many_images_as_steps(tmp_path: Any):
    encoding = Encoding(shape=(2, 3), axes="tf", high=(1.0,))
    timed = network(encoding, timed_input=True)
    assert Network.load(timed.save(tmp_path / "timed.npz")).spec.encoding == encoding
    with pytest.raises(SpecError, match="not 3 of 3x1x1"):
        network(replace(encoding, shape=(3, 3)), timed_input=True)
    path = timed.save(tmp_path / "broken.npz")
    with np.load(path) as archive:
        parts = dict(archive)
    text = parts["header.json"].tobytes().replace(b'"axes": "tf"', b'"axes": "hw"')
    parts["header.json"] = np.frombuffer(text, np.uint8)
    np.savez(path, **parts)
    with pytest.raises(NetworkError, match="is inconsistent"):
        Network.load(path)


def test_in_words():
    features = flat(low=(0.0, 1.0, 2.0), high=(5.0, 6.0, 7.0), signed=True, labels=("a", "b"))
    assert features.text == (
        "3 features, each over a range of its own, and as much below it, as 6 pixels; 2 classes: "
        "a, b"
    )
    colours = Encoding(shape=(4, 5, 3), axes="hwc", high=(1.0, 2.0, 3.0))
    assert colours.text == (
        "pictures of 4x5 in 3 channels, each over a range of its own, as 60 pixels"
    )
    two = Encoding(shape=(4, 5, 2), axes="hwc", high=(1.0,))
    assert two.text == "pictures of 4x5 in 2 channels, from 0 to 1, as 40 pixels"
    heard = Encoding(shape=(5, 3), axes="tf", high=(1.0,))
    assert heard.text == "recordings of 5 steps, 3 features, from 0 to 1, as 3 pixels"
    pair = Encoding(shape=(2,), axes="f", low=(-1.0, 0.0), high=(1.0, 1.0))
    assert pair.text == "2 features, each over a range of its own, as 2 pixels"
    one = Encoding(shape=(1,), axes="f", high=(1.0,))
    assert one.text == "1 feature, from 0 to 1, as 1 pixel"
    moving = Encoding(shape=(5, 8, 9), axes="thw", high=(4.0,), labels=(1, 2, 3, 4, 5))
    assert moving.text == (
        "recordings of 5 steps, pictures of 8x9, from 0 to 4, as 72 pixels; 5 classes: 1, 2, 3, 4, "
        ".."
    )
