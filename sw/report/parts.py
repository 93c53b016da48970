"""What pages are made of: sections of text, pictures and tables."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Page", "Picture", "Section", "Table", "facts_table"]


@dataclass(frozen=True)
class Picture:
    """An SVG element, and what stands below it."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers; columns can be sorted, and the whole be downloaded.

    Parameters
    ----------
    name
        Of the file, without its ending.
    """

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @property
    def csv(self) -> str:
        """The same, as a file."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.head)
        writer.writerows(self.rows)
        return text.getvalue()


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Parameters
    ----------
    mark
        Its anchor.
    """

    mark: str
    title: str
    text: Sequence[str] = ()
    parts: Sequence[Picture | Table] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """All of a page.

    Parameters
    ----------
    title, verdict, good
        Of the page; what came of it in a sentence, and whether that is as it should be.
    facts
        All figures, to be downloaded as JSON.
    """

    title: str
    verdict: str
    facts: Any
    sections: Sequence[Section]
    good: bool = True


def facts_table(name: str, caption: str, rows: Sequence[tuple[str, object]]) -> Table:
    """A table of what is what, all of it text."""
    told = [(what, f"{v:,}" if isinstance(v, (int, float)) else str(v)) for what, v in rows]
    return Table(name, caption, ("what", "value"), told)
