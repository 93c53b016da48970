"""The command line: `sterna models | info | generate | sim | golden | bench | timing` (`core`); to
make networks, `train | export | convert | check | import | export-nir` (`network`) and `learn`
(`learn`); to look at, `report` (`report`) and `study` (`study`); for boards `boards | plan |
bitstream | self-test | reload | flash | ip | verify-bitstream | ask` (`board`), `explore`
(`explore`); for a shell `completion` (`completion`).

Handlers return plain data; `main` prints it, as a table or as JSON, and turns every fault of the
user's input into one sentence and exit code 1. Progress goes to stderr: as lines, or, where that is
a terminal, as bars (`hw.system.terminal`).
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from functools import partial

from hw.contract.checks import SternaError
from hw.contract.text import in_a_line, own_version, printable, to_install
from hw.system.progress import Progress, Reports, is_terminal, teller
from sw.cli.board import add_board_commands
from sw.cli.completion import add_completion_command
from sw.cli.core import add_core_commands
from sw.cli.explore import add_explore_command
from sw.cli.learn import add_learn_command
from sw.cli.network import add_network_commands
from sw.cli.report import add_report_command
from sw.cli.study import add_study_commands

__all__ = ["main"]

OURS = ("hw", "gen", "sim", "sw")
PACKAGES = {
    "PIL": "pillow",
    "cocotb_tools": "cocotb",
    "serial": "pyserial",
    "sklearn": "scikit-learn",
    "vcd": "pyvcd",
}
"""Packages of PyPI that are not called as the modules in them."""


def say(line: str) -> None:
    """Progress, for people and for logs."""
    print(line, file=sys.stderr, flush=True)


def listen(told: Progress) -> None:
    """Report the library's progress, once in a process."""
    library = logging.getLogger("sw")
    if not any(isinstance(handler, Reports) for handler in library.handlers):
        library.addHandler(Reports(told))
        library.setLevel(logging.INFO)
        library.propagate = False
    for handler in library.handlers:
        if isinstance(handler, Reports):
            handler.told = told


def printer() -> Callable[[str], None]:
    """Who prints the answer: on a terminal, so that it fits the window."""
    if not is_terminal(sys.stdout):
        return partial(print, flush=True)
    from hw.system.terminal import show

    return partial(show, stream=sys.stdout)


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="sterna",
        description="Trained ternary-spike networks on open FPGAs, proven bit for bit.",
        epilog="The road: train -> export -> info -> generate -> sim. "
        "A MODEL is a network that ships (`sterna models`) or the path of a network file.",
    )
    parser.add_argument("--version", action="version", version=f"sterna {own_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add_core_commands(commands)
    add_network_commands(commands)
    add_learn_command(commands)
    add_report_command(commands)
    add_study_commands(commands)
    add_board_commands(commands)
    add_explore_command(commands)
    add_completion_command(commands, parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    args = build_parser().parse_args(arguments)
    args.say = say
    try:
        # Before the work, which may take hours: a package for it may be missing.
        answer = None if args.json else printer()
        args.say = teller(say, sys.stderr)
        listen(args.say)
        facts, text, code = args.handler(args)
    except SternaError as error:
        print(f"sterna: {in_a_line(str(error))}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        module = str(error.name).partition(".")[0]
        if module in OURS:
            raise
        package = PACKAGES.get(module, module)
        print(
            f"sterna: {args.command} needs the package {package}: {to_install(package)}",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        reason = error.strerror or str(error)
        told = in_a_line(f"Cannot use {error.filename or 'a file'}: {reason}")
        print(f"sterna: {told}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        # torch has no exception of its own for it.
        if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):
            raise
        print(f"sterna: {args.command} needs more memory than there is", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sterna: Interrupted", file=sys.stderr)
        return 130
    try:
        if answer is None:
            print(json.dumps(facts, indent=1), flush=True)
        else:
            answer(printable(text))
    except OSError as error:
        # Python would complain again on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # a reader that has gone is no fault
            print(f"sterna: Cannot print the answer: {error.strerror}", file=sys.stderr)
            return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
