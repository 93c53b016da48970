"""What `make test` runs of a long list of cases; `make test-long` runs the rest."""

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["sampled"]


def sampled(cases: Iterable[Any], every: int = 2) -> list[Any]:
    """The cases, all but the first of `every` so many marked as long."""
    marks = ((), pytest.mark.long)
    return [pytest.param(case, marks=marks[n % every > 0]) for n, case in enumerate(cases)]
