"""The longest tests first: two workers then share the rest, and neither builds what the other has
built already (`--dist worksteal` would split the file that is last)."""

import pytest

pytest.register_assert_rewrite("tests.builds")

LONGEST = ("test_bitstream_verification.py", "test_build.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stable: all others keep their order."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
