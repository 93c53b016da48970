"""Figures as SVG inside a page: colours that follow the page's theme, ids that are the page's own.

A figure is drawn in the colours of `Colour`, which are those of a light page. In the SVG each of
them becomes a CSS variable with that colour to fall back on, so one picture serves a light page, a
dark one and paper.
"""

import io
import re
from html import escape
from typing import Any

__all__ = ["Colour", "as_svg", "css_variables", "drawn_graph", "themed"]


class Colour:
    """What things are drawn in, on a light page."""

    INK = "#1f2933"
    FAINT = "#66717f"
    GRID = "#d5dce4"
    PAGE = "#ffffff"
    POSITIVE = "#b93a0c"
    NEGATIVE = "#1d4ed8"
    ACCENT = "#0f766e"
    SECOND = "#7c3aed"
    BAD = "#be123c"


DARK = {
    "INK": "#e6eaf0",
    "FAINT": "#a3adba",
    "GRID": "#3a4552",
    "PAGE": "#12181f",
    "POSITIVE": "#fb923c",
    "NEGATIVE": "#7da8ff",
    "ACCENT": "#2dd4bf",
    "SECOND": "#c4a5ff",
    "BAD": "#ff6f91",
}
"""The same, on a dark one."""

NAMES = [name for name in vars(Colour) if name.isupper()]

SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sterna",
    "font.family": "sans-serif",
}
"""Of matplotlib: text stays text, and the same figure has the same bytes."""


def css_variables(*, dark: bool) -> str:
    """Declarations of all colours."""
    light = vars(Colour)
    return "".join(f"--{n.lower()}:{DARK[n] if dark else light[n]};" for n in NAMES)


def themed(svg: str) -> str:
    """An SVG whose colours are those of the page."""
    for name in NAMES:
        colour = vars(Colour)[name]
        svg = re.sub(rf'(?<=[:"\s]){colour}\b', f"var(--{name.lower()})", svg)
    return svg


def as_svg(figure: Any, told: str, mark: str) -> str:
    """A matplotlib figure as an element of a page.

    Parameters
    ----------
    told
        What is to be seen, for those who do not see it.
    mark
        Of the page's ids, a prefix that no other picture has.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    with rc_context(SETTINGS):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{mark}-', text)
    text = re.sub(r'href="#', f'href="#{mark}-', text)
    text = re.sub(r"url\(#", f"url(#{mark}-", text)
    wide = re.search(r'width="([\d.]+)pt"', text)
    style = f'style="{_wide(float(wide[1]) * 4 / 3)}"' if wide else ""
    head = f'<svg role="img" aria-label="{escape(told, quote=True)}" {style}'
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return themed(text.replace("<svg", head, 1))


def _wide(pixels: float) -> str:
    """As wide as the page allows, and no wider than it was drawn; on a page so narrow that it could
    not be read, it is scrolled."""
    return f"max-width:{pixels:.0f}px;min-width:min({pixels:.0f}px,30rem)"


def drawn_graph(svg: str, told: str, mark: str) -> str:
    """A network's graph (`gen.core.drawing.graph_svg`) as an element of a page."""
    wide = re.search(r'width="(\d+)" height="(\d+)"', svg)
    assert wide is not None
    style = f"{_wide(float(wide[1]))};overflow:visible"  # what stands beside edges may be wider
    box = f'viewBox="0 0 {wide[1]} {wide[2]}" style="{style}"'
    svg = svg.replace(wide[0], f'{box} role="img" aria-label="{escape(told, quote=True)}"', 1)
    svg = re.sub(r"<rect[^>]*fill=\"white\"/>\n", "", svg, count=1)
    svg = re.sub(r'\bid="', f'id="{mark}-', svg).replace("url(#", f"url(#{mark}-")
    svg = svg.replace("<text ", '<text fill="var(--ink)" ')
    svg = svg.replace('<path d="M0', '<path fill="var(--faint)" d="M0')
    return svg.replace("#eef3f8", "var(--page)").replace("#345", "var(--faint)").strip()
