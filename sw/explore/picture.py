"""What was found, as a table and as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hw.contract.text import markdown

__all__ = ["draw", "front_table"]


def front_table(facts: Mapping[str, Any]) -> str:
    """Markdown: a row for each point of the front, the best first."""
    head = (
        *("network", "held out", "test", "nJ", "layout", "LUT", "block RAM", "MHz", "images/s"),
        *("routed: LUT, MHz, images/s", "built by"),
    )
    rows = []
    for point in sorted(facts["front"], key=_order):
        rows.append(
            (
                point["network"],
                _share(point.get("held_out")),
                _share(point.get("test")),
                _energy(point["nanojoules"]),
                point["told"],
                f"{point['luts']:,}",
                str(point["brams"]),
                f"{point['megahertz']:g}",
                f"{point['images_per_second']:,.0f}",
                _routed(point.get("routed")),
                f"`{point['command']}`",
            )
        )
    return markdown(head, rows)


def _order(point: Mapping[str, Any]) -> tuple[float, float]:
    hits, n = point.get("held_out") or point.get("test") or (0, 1)
    return -hits / max(1, n), -point["images_per_second"]


def _share(counted: Sequence[int] | None) -> str:
    return f"{100 * counted[0] / counted[1]:.2f} %" if counted else ""


def _energy(nanojoules: float | None) -> str:
    if nanojoules is None:
        return ""
    return f"{nanojoules:,.0f}" if nanojoules >= 100 else f"{nanojoules:.1f}"


def _routed(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    if "refused" in found:
        return found["refused"]
    speed = f", {found['images_per_second']:,}" if "images_per_second" in found else ""
    return f"{found['used']['luts']:,}, {found['fmax_mhz']:.2f}{speed}"


MARKERS = {"pipelined": "o", "shared": "s", "mixed": "^", "windows": "D"}
"""By schedule."""


def draw(facts: Mapping[str, Any], path: Path) -> None:
    """All points, and the front: images a second and right answers; colours for look-up tables,
    markers for schedules."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    from sw.study.plots import write_png

    figure = Figure(figsize=(8, 5), dpi=90, layout="constrained")
    axes = figure.subplots()

    def places(points: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
        shares = (p.get("held_out") or p.get("test") or (0, 1) for p in points)
        return [p["images_per_second"] for p in points], [100 * h / n for h, n in shares]

    axes.scatter(*places(facts["points"]), s=9, c="0.8", label="fits")
    luts = [point["luts"] for point in facts["front"]]
    shades = {"cmap": "viridis_r", "vmin": min(luts), "vmax": max(luts), "edgecolors": "0.3"}
    for schedule, marker in MARKERS.items():
        some = [p for p in facts["front"] if p["layout"]["schedule"] == schedule]
        if some:
            mine = [point["luts"] for point in some]
            label = f"front, {schedule}"
            axes.scatter(*places(some), s=42, c=mine, marker=marker, label=label, **shades)
    axes.set(
        xscale="log",
        xlabel="images a second, planned",
        ylabel="right answers, held out, %",
        title=f"{facts['board']}: {facts['networks']} networks, {len(facts['points'])} layouts",
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.colorbar(
        ScalarMappable(Normalize(min(luts), max(luts)), "viridis_r"),
        ax=axes,
        label="look-up tables, planned",
    )
    write_png(path, figure)
