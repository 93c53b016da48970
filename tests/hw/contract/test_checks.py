"""hw.contract.checks: what is no number, and where."""

import hashlib

import numpy as np
import pytest

from hw.contract.checks import InputError, plain_array, plain_numbers, require_finite, safe_name


@pytest.mark.parametrize("number", [0, 1, 4095, 4096, 5000, 9999])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_entry_that_is_not_finite_is_named(number: int, value: float) -> None:
    """Wherever it is: entries are looked at some at a time."""
    values = np.zeros((10_000, 2))
    require_finite("Examples", values)
    values[number:, 1] = value
    with pytest.raises(InputError) as refused:
        require_finite("Examples", values)
    assert str(refused.value) == (
        f"Examples must be finite numbers, and number {number} has one that is not"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [("Gr\u00f6\u00dfe 1", "n_Groe_1"), ("\u6570", "n"), ("a" * 50 + "!", "n_" + "a" * 40)],
)
def test_a_former_name_becomes_one_that_no_other_has(name: str, words: str) -> None:
    """Its letters, and eight digits of its digest."""
    digits = hashlib.sha256(name.encode()).hexdigest()[:8]
    assert safe_name(name) == f"{words}_{digits}"
    assert safe_name("plain_1") == "plain_1"


def test_a_mask_that_leaves_all_values_out_of_it() -> None:
    """Only what is masked out is refused, not that something could have been."""
    values = np.arange(6).reshape(2, 3)
    assert np.array_equal(plain_array("Examples", np.ma.masked_array(values)), values)
    masked = np.ma.masked_array(values, mask=values == 4)
    with pytest.raises(InputError, match=r"^Examples must not have values that are masked out$"):
        plain_array("Examples", masked)


def test_numbers_are_integers_reals_or_truth_values() -> None:
    for kind in (bool, np.uint8, np.int64, np.float32):
        given = np.ones((2, 3), dtype=kind)
        assert plain_numbers("Examples", given) is given
    for other in (["a"], [1j], [None]):
        with pytest.raises(InputError, match=r"^Examples must be numbers, not "):
            plain_numbers("Examples", other)


def test_what_a_strangers_array_says_is_one_line() -> None:
    class Broken:
        def __array__(self, *_: object, **__: object) -> np.ndarray:
            raise RuntimeError("no memory\nat all")

    with pytest.raises(InputError) as refused:
        plain_array("Examples", Broken())
    assert str(refused.value) == "Examples must be one array (RuntimeError: no memory)"
