"""What the rooms of the command line share: the form of an answer, options."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw.contract.text import to_install
from sw.data.shipped import UsageError

__all__ = [
    "BUILD",
    "SCHEDULE_HELP",
    "Result",
    "add_data_option",
    "add_image_options",
    "add_spread_options",
    "drawn",
    "is_spread",
    "numbers",
    "spreading",
]

if TYPE_CHECKING:
    from sw.spread.runner import Runner

BUILD = Path("build")

SCHEDULE_HELP = (
    "pipelined: hardware for each layer; shared: one program for all in turn; mixed: a program, "
    "then hardware for each dense layer behind it; windows: as mixed, a whole kernel per event"
)

Result = tuple[dict[str, Any], str, int]
"""Data for a program, text for people, exit code."""


def numbers(text: str, what: str) -> tuple[int, ...]:
    """Positive numbers joined by commas."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{what} must be positive numbers joined by commas, not {text!r}")
    return tuple(int(part) for part in parts)


def drawn(draw: Callable[[], None], path: Path) -> str:
    """Draw a picture into a file, if the packages for it are there: its path, or why there is
    none."""
    try:
        draw()
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        return f"not drawn: that needs the package {package}: {to_install(package)}"
    return str(path)


def add_data_option(sub: argparse.ArgumentParser) -> None:
    """Where data are, of commands that take a user's own."""
    sub.add_argument(
        "--data",
        metavar="PATH",
        help="your own data: a .npz or CSV file, a folder of idx files or of pictures by class "
        "(docs/data.md); or where a published data set lies (default: $STERNA_DATA, the cache, a "
        "download)",
    )


def add_image_options(sub: argparse.ArgumentParser, default: str | None, text: str) -> None:
    """Options of commands that run test images."""
    sub.add_argument("--images", default=default, metavar="N", help=text)
    sub.add_argument("--dataset", help="data set, if not the one the network was trained on")


def add_spread_options(sub: argparse.ArgumentParser, what: str) -> None:
    """Where jobs are done, of commands that have many (docs/explore.md)."""
    sub.add_argument("--workers", type=int, metavar="N", help=f"processes for {what}")
    sub.add_argument("--scheduler", metavar="URL", help=f"of a Dask cluster, tcp://..., for {what}")


def is_spread(args: argparse.Namespace) -> bool:
    """Whether jobs were asked for."""
    return args.workers is not None or args.scheduler is not None


@contextmanager
def spreading(args: argparse.Namespace, kept: Path) -> Iterator["Runner"]:
    """A runner as the options say. What is done stays in a folder until all is done, so that a
    command that was broken off goes on."""
    from sw.spread.runner import running
    from sw.spread.store import Store

    with running(args.workers, args.scheduler, kept=kept, progress=args.say) as run:
        yield run
    Store(kept).clear()
