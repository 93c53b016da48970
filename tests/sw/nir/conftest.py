"""A fixture of the tests of NIR: images of digits."""

from dataclasses import replace

import pytest

from sw.data.dataset import load_split
from sw.data.split import Split


@pytest.fixture(scope="module")
def digits() -> Split:
    data = load_split("digits", "test", 4)
    return replace(data, images=data.images[:120], labels=data.labels[:120])
