"""Plain tables and shares, as reports for people have them."""

from collections.abc import Iterable, Sequence

__all__ = ["markdown", "percent", "share", "table"]


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
