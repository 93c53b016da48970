"""What `explore` left: points, their front, and how each of it is built."""

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from hw.contract.files import read_json
from sw.report.figures import finished, plain_axes
from sw.report.parts import Page, Picture, Section, Table, facts_table
from sw.report.run import ReportError
from sw.report.svg import Colour, as_svg

__all__ = ["EXPLORED", "exploration_page"]

EXPLORED = "explore.json"
"""The file, in the folder of a search."""

POINT = {"network": str, "told": str, "luts": int, "brams": int, "images_per_second": (int, float)}
FORM = {"board": str, "networks": int, "planned": int, "points": [POINT], "front": [POINT]}
"""Of it, what every search has."""

FIGURES = {
    "accuracy": "right answers",
    "speed": "images a second",
    "luts": "look-up tables",
    "brams": "block RAMs",
    "energy": "energy",
}
"""What points are judged by, in words."""

USUAL = ("accuracy", "speed", "luts", "brams")

COUNTED = {"held_out": "held out, %", "test": "test, %"}
MORE = {"megahertz": "MHz", "cycles": "cycles an image", "nanojoules": "nJ an image, estimated"}
"""Of points, what is shown where it is there."""


def exploration_page(path: Path) -> Page:
    """Of a search, by its file.

    Raises
    ------
    ReportError
        When it is none.
    """
    try:
        facts = read_json(path, FORM)
        found = [*_sections(facts)]
    except OSError as error:
        raise ReportError(f"Search {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, LookupError, RecursionError):
        raise ReportError(f"File {path} must be what sterna explore leaves, {EXPLORED}") from None
    told = (
        f"{facts['planned']:,} layouts of {facts['networks']:,} networks planned for "
        f"{facts['board']}: a front of {len(facts['front'])}."
    )
    return Page(
        title=f"Sterna: exploration for {facts['board']}", verdict=told, facts=facts, sections=found
    )


def _sections(facts: dict[str, Any]) -> Iterator[Section]:
    points, best = facts["points"], sorted(facts["front"], key=_order)
    rows = [
        ("board", facts["board"]),
        ("networks", facts["networks"]),
        ("layouts planned", facts["planned"]),
        ("layouts that fit", len(points)),
        ("points of the front", len(best)),
    ]
    yield Section("summary", "What was looked for", parts=[facts_table("summary", "Search", rows)])
    named = [FIGURES.get(str(name), str(name)) for name in facts.get("figures", USUAL)]
    text = (
        "A point is a network and a layout for the board. Those of the front are the ones that no "
        f"other is at least as good as in {', '.join(named[:-1])} and {named[-1]}, and better in "
        "one. Speed and size are the planner's estimates."
    )
    parts: list[Picture | Table] = []
    if any(_share(p) is not None for p in points):
        parts.append(_picture(points, best, _percent, "right answers, %", "accuracy"))
    for key, told in (("luts", "look-up tables, planned"), ("nanojoules", "nJ an image")):
        if all(isinstance(p.get(key), (int, float)) for p in points):
            parts.append(_picture(points, best, itemgetter(key), told, key))
    yield Section("front", "The front", [text], [*parts, _table("front", best)])
    routed = [(p, p["routed"]) for p in best if isinstance(p.get("routed"), dict)]
    if routed:
        yield Section("routed", "Routed", parts=[_routed(routed)])
    commands = [(p["network"], p["told"], p["command"]) for p in best if "command" in p]
    if commands:
        head = ("network", "layout", "command")
        table = Table("commands", "What builds each point of the front", head, commands)
        yield Section("commands", "Commands", parts=[table])
    yield Section("points", "All points", parts=[_table("points", points)])


def _picture(
    points: Sequence[dict[str, Any]],
    best: Sequence[dict[str, Any]],
    value: Any,
    told: str,
    mark: str,
) -> Picture:
    """All points, those of each network in a colour of its own, and the front."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        kinds.setdefault(point["network"], []).append(point)
    few = kinds if len(kinds) <= 12 else {"fits": list(points)}

    def places(some: Sequence[dict[str, Any]]) -> tuple[list[float], list[float]]:
        return [p["images_per_second"] for p in some], [value(p) for p in some]

    figure = scatter(
        {name: places(some) for name, some in few.items()},
        places(best),
        "images a second, planned",
        told,
    )
    return Picture(as_svg(figure, f"Images a second and {told}", mark), f"Speed against {told}.")


def _table(name: str, points: Sequence[dict[str, Any]]) -> Table:
    counts = {key: told for key, told in COUNTED.items() if any(p.get(key) for p in points)}
    more = {key: told for key, told in MORE.items() if any(p.get(key) is not None for p in points)}
    rows = []
    for p in points:
        shares = [_told(p.get(key)) for key in counts]
        others = ("" if p.get(key) is None else p[key] for key in more)
        figures = [p["luts"], p["brams"], *others]
        rows.append((p["network"], *shares, p["told"], *figures, p["images_per_second"]))
    head = (
        "network",
        *counts.values(),
        *("layout", "LUT", "block RAM", *more.values(), "images/s"),
    )
    caption = "Points of the front" if name == "front" else "All points"
    return Table(name, caption, head, rows)


def _routed(found: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> Table:
    """What routing says, beside what was planned."""
    rows = []
    for point, routed in found:
        if "refused" in routed:
            rows.append((point["network"], point["told"], point["luts"], routed["refused"], "", ""))
            continue
        rows.append(
            (
                *(point["network"], point["told"], point["luts"], routed["used"]["luts"]),
                round(routed["fmax_mhz"], 2),
                routed.get("images_per_second", ""),
            )
        )
    head = ("network", "layout", "LUT planned", "LUT used", "MHz routed", "images/s")
    return Table("routed", "Points that were routed", head, rows)


def _share(point: Mapping[str, Any]) -> float | None:
    """Right answers, 0 to 1: on held-out images, else on test images."""
    for key in ("held_out", "test"):
        if point.get(key):
            hits, n = point[key]
            return hits / max(1, n)
    return None


def _percent(point: Mapping[str, Any]) -> float:
    share = _share(point)
    return float("nan") if share is None else 100 * share


def _told(counted: Any) -> float | str:
    return round(100 * counted[0] / max(1, counted[1]), 2) if counted else ""


def _order(point: Mapping[str, Any]) -> tuple[float, float]:
    return -(_share(point) or 0.0), -point["images_per_second"]


def scatter(
    everything: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    best: tuple[Sequence[float], Sequence[float]],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Points by kind, and rings around the best of them, which a line joins."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    plain_axes(figure, axes, xlabel=xlabel, ylabel=ylabel)
    axes.grid(color=Colour.GRID, lw=0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    shades = (Colour.ACCENT, Colour.SECOND, Colour.POSITIVE, Colour.NEGATIVE)
    for n, (name, (xs, ys)) in enumerate(everything.items()):
        mark = "os^Dv<>"[n // len(shades) % 7]
        axes.plot(
            *(xs, ys), mark, ms=4, alpha=0.5, mew=0, color=shades[n % len(shades)], label=name
        )
    axes.plot(*best, "o", ms=8, mfc="none", mec=Colour.INK, mew=1.2, label="front")
    finished(axes, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
