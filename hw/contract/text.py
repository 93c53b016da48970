"""Plain tables, shares and times, as reports for people have them; what to install."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, requires, version

__all__ = [
    "expected_time",
    "in_a_line",
    "markdown",
    "none_of",
    "number_of",
    "own_version",
    "percent",
    "printable",
    "share",
    "table",
    "to_install",
]

LONGEST_LINE = 1000
"""Characters of a sentence about what a stranger has written."""

TELL_SECONDS = 30
"""From here on a step's time is told before it."""


def none_of(what: str, name: object, choices: Iterable[str], more: str = "") -> str:
    """A sentence about a name that is none of the choices, with the one that may have been meant.
    `more` goes on after the choices."""
    known = [*choices]
    near = get_close_matches(str(name), known, n=1)
    question = f": did you mean {near[0]!r}?" if near else ""
    return f"{what} must be one of {', '.join(known)}{more}, not {name!r}{question}"


def number_of(count: int, what: str) -> str:
    """So many of a thing whose plural has an s."""
    return f"{count} {what}{'s' * (count != 1)}"


def printable(text: str) -> str:
    """Lines that may quote a stranger's file, without any character that a terminal obeys or that
    turns a line around."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def in_a_line(text: str) -> str:
    """A sentence that may quote a stranger's file: printable, in one line of at most `LONGEST_LINE`
    characters."""
    plain = printable(" ".join(text.split()))
    return plain if len(plain) <= LONGEST_LINE else f"{plain[: LONGEST_LINE - 4]} ..."


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


def expected_time(seconds: float) -> str:
    """The end of a line about a step that begins: how long it may take, as a matter of magnitude;
    nothing of one that is short."""
    minutes = max(1, round(seconds / 60))
    if seconds < TELL_SECONDS:
        return ""
    hours = round(minutes / 60)
    many = number_of(minutes, "minute") if minutes < 120 else number_of(hours, "hour")
    return f": about {many} on a machine like the one in docs/results.md"


def own_version() -> str:
    """Of the Sterna that is installed."""
    try:
        return version("sterna")
    except PackageNotFoundError:
        return "from a checkout that is not installed"


def to_install(package: str) -> str:
    """What to do about a package of PyPI that is missing: the first extra of Sterna that has it, as
    the installed one says."""
    try:
        lines = requires("sterna") or []
    except PackageNotFoundError:  # a checkout that was never installed
        lines = []
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        if name and _normal(name[0]) == _normal(package):
            extra = re.search(r"extra == .([\w-]+)", line)
            if extra is None:
                return "install Sterna anew (pip install sterna)"
            return f"install Sterna's extra {extra[1]!r} (pip install 'sterna[{extra[1]}]')"
    return f"install it (pip install {package})"


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
