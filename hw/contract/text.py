"""Plain tables and shares, as reports for people have them."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = ["markdown", "none_of", "percent", "share", "table"]


def none_of(what: str, name: object, choices: Iterable[str], more: str = "") -> str:
    """A sentence about a name that is none of the choices, with the one that may have been meant.
    `more` goes on after the choices."""
    known = [*choices]
    near = get_close_matches(str(name), known, n=1)
    question = f": did you mean {near[0]!r}?" if near else ""
    return f"{what} must be one of {', '.join(known)}{more}, not {name!r}{question}"


def table(rows: Sequence[tuple[str, object]]) -> str:
    """Lines of `what  value`."""
    width = max(len(what) for what, _ in rows)
    return "\n".join(f"{what:<{width}}  {value}" for what, value in rows)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as docs/results.md has it."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def percent(hits: int, n: int) -> str:
    """A counted share, with what was counted."""
    return f"{100 * hits / n:.2f} % ({hits} of {n})"


def share(value: float | None) -> str:
    """A share that may not have been measured."""
    return "-" if value is None else f"{100 * value:.1f} %"
