"""The worked examples of the documentation are run."""

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(
    "page", ["arithmetic.md", "network-file.md", "cycles.md", "ip.md", "python.md", "data.md"]
)
def test_examples(page):
    results = doctest.testfile(str(DOCS / page), module_relative=False)
    assert results.attempted > 0
    assert results.failed == 0
