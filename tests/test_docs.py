"""The worked examples of the documentation are run; its prose can be read in any window."""

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PROSE_COLUMNS = 120


@pytest.mark.parametrize(
    "page", ["arithmetic.md", "network-file.md", "cycles.md", "ip.md", "python.md", "data.md"]
)
def test_examples(page):
    results = doctest.testfile(str(DOCS / page), module_relative=False)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *DOCS.rglob("*.md")], ids=lambda page: page.name
)
def test_prose_fits_a_window(page):
    """Tables and code are as wide as they must be."""
    code, long = False, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        text = line.strip()
        if text.startswith("```"):
            code = not code
        elif not code and not text.startswith("|") and len(line) > PROSE_COLUMNS:
            long.append(number)
    assert not long, f"prose of more than {PROSE_COLUMNS} columns"
