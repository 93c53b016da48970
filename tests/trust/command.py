"""What the commands of this folder have in common."""

import argparse
import sys
from collections.abc import Callable

from hw.contract.checks import SternaError

__all__ = ["add_workers", "guarded", "say"]


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Who does the jobs."""
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: cores)")
    parser.add_argument("--scheduler", metavar="URL", help="of a Dask cluster, tcp://...")


def say(line: str) -> None:
    """A line for people, beside the answer."""
    print(line, file=sys.stderr, flush=True)


def guarded(name: str, kept: str, act: Callable[[], int]) -> int:
    """The exit code of a command, which ends with one sentence in place of an expected error.
    `kept` is what an interruption leaves."""
    try:
        return act()
    except SternaError as error:
        say(f"{name}: {error}")
        return 1
    except OSError as error:
        say(f"{name}: Cannot use {error.filename}: {error.strerror}")
        return 1
    except KeyboardInterrupt:
        say(f"{name}: Interrupted; {kept} is kept")
        return 130
