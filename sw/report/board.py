"""What `bitstream` and `learn` left, read back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hw.contract.files import read_json
from sw.report.run import ReportError

__all__ = ["BUILT", "LESSON", "boards_of", "path_in_words", "read_lesson"]

BUILT = {
    "board": str,
    "network": str,
    "digest": str,
    "layout": str,
    "asked_mhz": (int, float),
    "fmax_mhz": (int, float),
    "planned": dict,
    "used": dict,
    "seconds": dict,
}
"""Of a board's `report.json`, what is shown."""

LESSON = {
    "network": str,
    "digest": str,
    "dataset": str,
    "before": dict,
    "after": dict,
    "session": {"points": list},
}
"""Of what `learn` leaves beside a network."""

MOST = 200
"""Folders that are looked into for a board's report."""


def boards_of(folder: Path, digest: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Reports of bitstreams in the folders of a folder, of one network; others are passed by."""
    for path in sorted(folder.glob("*/report.json"))[:MOST]:
        try:
            report = read_json(path, BUILT)
        except (OSError, ValueError, RecursionError):
            continue
        if report["digest"] == digest:
            yield path.parent, report


def read_lesson(path: Path) -> dict[str, Any]:
    """What a session of learning left.

    Raises
    ------
    ReportError
        When the file is none.
    """
    try:
        return read_json(path, LESSON)
    except OSError as error:
        raise ReportError(f"Session {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise ReportError(
            f"File {path} must be what sterna learn leaves beside a network, NETWORK.json"
        ) from None


def path_in_words(path: dict[str, Any]) -> str:
    """Of `critical_paths` of a board's report."""
    whole = path["logic_ns"] + path["wires_ns"]
    share = path["wires_ns"] / whole if whole else 0.0
    return (
        f"from {path['from']} to {path['to']}: {whole:.2f} ns over {path['cells']} cells, "
        f"{100 * share:.0f} % of it on wires"
    )
