"""The page: one HTML file that needs no other and no network, light, dark and on paper."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hw.contract.files import write_atomically
from hw.contract.text import own_version
from sw.report.board import read_lesson
from sw.report.run import ReportError, SimRun
from sw.report.sections import Section, learning_sections, sections
from sw.report.svg import css_variables

__all__ = ["PAGE", "write_report"]

PAGE = "report.html"


def write_report(where: Path, builds: Path, out: Path | None = None) -> Path:
    """Write the report of what a command left; returns its path.

    Parameters
    ----------
    where
        A folder of `sterna sim`, or the file that `sterna learn` leaves beside a network.
    builds
        The folder in whose folders bitstreams of the same network are looked for.
    out
        The page; by default `report.html` in the folder, or beside the file.

    Raises
    ------
    ReportError
        When there is nothing to report.
    """
    if where.is_file():
        facts = read_lesson(where)
        told = _learned(facts)
        found, good = [*learning_sections(facts)], True
        out = out or where.with_suffix(".html")
    elif where.is_dir():
        run = SimRun.load(where)
        facts, found = run.facts, [*sections(run, builds)]
        told, good = _compared(facts)
        out = out or where / PAGE
    else:
        raise ReportError(f"Folder {where} does not exist: sterna sim makes one")
    write_atomically(out, _page(f"Sterna: {facts['network']}", told, good, found, facts).encode())
    return out


def _compared(facts: dict[str, Any]) -> tuple[str, bool]:
    wrong, late = facts["mismatches"], facts["cycle_law_violations"]
    law = f"{late} cycle-law violations" if facts["cycle_law_checked"] else "cycle law not checked"
    told = (
        f"{facts['values_compared']:,} values of {facts['images']:,} images compared with the "
        f"golden model: {wrong:,} mismatches, {law}."
    )
    return told, not (wrong or late)


def _learned(facts: dict[str, Any]) -> str:
    shares = [100 * facts[when]["hits"] / max(1, facts[when]["n"]) for when in ("before", "after")]
    return "Right answers on the test images: {:.2f} % before, {:.2f} % after.".format(*shares)


def _page(
    title: str, verdict: str, good: bool, found: Sequence[Section], facts: dict[str, Any]
) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"as_data": lambda text: as_data(text, "text/csv"), "cell": cell}
    return environment.get_template("page.html").render(
        title=title,
        verdict=verdict,
        good=good,
        sections=found,
        light=css_variables(dark=False),
        dark=css_variables(dark=True),
        facts=as_data(json.dumps(facts, indent=1), "application/json"),
        origin=f"Made by sterna report, version {own_version()}.",
    )


def as_data(text: str, kind: str) -> str:
    """A file within a link."""
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"


def cell(value: Any) -> str:
    """A value of a table: whole numbers with commas."""
    return f"{value:,}" if type(value) is int or hasattr(value, "dtype") else str(value)
