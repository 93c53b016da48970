"""The longest tests first: two workers then share the rest, and neither builds what the other has
built already (`--dist worksteal` would split the file that is last). Hypothesis without a clock."""

import gc

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.builds")

# A slow machine is no fault: neither an example's time is judged, nor how long it took to draw.
settings.register_profile("no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-clock")

# Elaborating hardware adds millions of objects; looking for garbage among them, and among all that
# pytest has imported, again and again took a sixth of the time.
gc.set_threshold(50_000, 50, 1000)

LONGEST = ("test_bitstream_verification.py", "test_build.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stable: all others keep their order."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish() -> None:
    """What is there by now stays."""
    gc.freeze()
