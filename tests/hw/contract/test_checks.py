"""hw.contract.checks: what is no number, and where."""

import hashlib

import numpy as np
import pytest

from hw.contract.checks import InputError, require_finite, safe_name


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
