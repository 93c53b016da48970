"""The page: one HTML file that needs no other and no network, light, dark and on paper."""

import base64
import json
from pathlib import Path
from typing import Any

from hw.contract.files import write_atomically
from hw.contract.text import own_version
from sim.golden.answers import GOLDEN
from sw.report.board import board_page
from sw.report.explored import EXPLORED, exploration_page
from sw.report.lesson import lesson_page, newest_lesson
from sw.report.parts import Page
from sw.report.run import ReportError, Run, SimRun
from sw.report.sections import network_section, sections
from sw.report.svg import css_variables

__all__ = ["PAGE", "write_report"]

PAGE = "report.html"


def write_report(where: Path, builds: Path, out: Path | None = None) -> Path:
    """Write the report of what a command left; returns its path.

    Parameters
    ----------
    where
        A folder of `sterna sim`, `golden`, `bitstream`, `learn` or `explore`, or the file that
        `learn` leaves beside a network.
    builds
        The folder in whose folders bitstreams of the same network are looked for.
    out
        The page; by default `report.html` in the folder, or beside the file.

    Raises
    ------
    ReportError
        When there is nothing to report, or it is damaged.
    """
    lesson = where if where.is_file() and where.name not in (EXPLORED, GOLDEN) else None
    folder = where.parent if where.is_file() else where
    if lesson is not None and lesson.name == "report.json":
        lesson = None  # of a folder
    page, usual = (
        (lesson_page(lesson), lesson.with_suffix(".html"))
        if lesson is not None
        else (_of_folder(folder, builds), folder / PAGE)
    )
    out = out or usual
    write_atomically(out, _html(page).encode())
    return out


def _of_folder(folder: Path, builds: Path) -> Page:
    """Whatever lies there."""
    if not folder.is_dir():
        raise ReportError(f"Folder {folder} does not exist: sterna sim makes one")
    if (folder / EXPLORED).exists():
        return exploration_page(folder / EXPLORED)
    facts = _facts(folder)
    if "values_compared" in facts and "images" in facts:
        return _simulated(SimRun.load(folder), builds)
    if "fmax_mhz" in facts:
        return board_page(folder, network_section)
    if (folder / GOLDEN).exists():
        return _answered(Run.load_golden(folder), builds)
    if lesson := newest_lesson(folder):
        return lesson_page(lesson)
    raise ReportError(
        f"Folder {folder} has nothing that has ended: sterna sim, golden, bitstream, learn and "
        "explore leave what a report is made of"
    )


def _facts(folder: Path) -> dict[str, Any]:
    """What the folder's report says; nothing where there is none."""
    try:
        facts = json.loads((folder / "report.json").read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"Report in {folder} is damaged: {error}") from None
    return facts if isinstance(facts, dict) else {}


def _simulated(run: SimRun, builds: Path) -> Page:
    facts = run.facts
    wrong, late = facts["mismatches"], facts["cycle_law_violations"]
    law = f"{late} cycle-law violations" if facts["cycle_law_checked"] else "cycle law not checked"
    told = (
        f"{facts['values_compared']:,} values of {facts['images']:,} images compared with the "
        f"golden model: {wrong:,} mismatches, {law}."
    )
    return Page(
        title=f"Sterna: {facts['network']}",
        verdict=told,
        facts=facts,
        sections=[*sections(run, builds)],
        good=not (wrong or late),
    )


def _answered(run: Run, builds: Path) -> Page:
    hits, n = int((run.classes == run.labels).sum()), len(run.labels)
    told = f"The golden model has {hits:,} of {n:,} images right ({100 * hits / max(1, n):.2f} %)."
    return Page(
        title=f"Sterna: {run.network.spec.name}",
        verdict=told,
        facts=run.facts,
        sections=[*sections(run, builds)],
    )


def _html(page: Page) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"as_data": lambda text: as_data(text, "text/csv"), "cell": cell}
    return environment.get_template("page.html").render(
        title=page.title,
        verdict=page.verdict,
        good=page.good,
        sections=page.sections,
        light=css_variables(dark=False),
        dark=css_variables(dark=True),
        facts=as_data(json.dumps(page.facts, indent=1), "application/json"),
        origin=f"Made by sterna report, version {own_version()}.",
    )


def as_data(text: str, kind: str) -> str:
    """A file within a link."""
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"


def cell(value: Any) -> str:
    """A value of a table: numbers with commas."""
    return f"{value:,}" if type(value) in (int, float) or hasattr(value, "dtype") else str(value)
