"""The command that writes a shell's completions: `sterna completion`."""

import argparse
from typing import Any

from sw.cli.options import Result

__all__ = ["add_completion_command"]

SHELLS = ("bash", "zsh", "tcsh")

FILES = {"BOARD", "FILE", "MODEL", "NETWORK", "PATH"}
FOLDERS = {"FOLDER"}
"""What arguments are called whose values are found on disk."""


def do_completion(args: argparse.Namespace) -> Result:
    import shtab

    _find_files(args.parser)
    script = shtab.complete(args.parser, args.shell)
    return {"shell": args.shell, "script": script}, script.rstrip("\n"), 0


def _find_files(parser: argparse.ArgumentParser) -> None:
    """Say of every argument that names a file or a folder that it does."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in dict.fromkeys(action.choices.values()):
                _find_files(sub)
        elif action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def add_completion_command(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add the parser; `parser` is the whole one."""
    text = "write a script that completes commands and options in a shell"
    more = '. For bash: eval "$(sterna completion bash)", in ~/.bashrc'
    sub = commands.add_parser("completion", help=text, description=text + more)
    sub.set_defaults(handler=do_completion, parser=parser)
    sub.add_argument("shell", choices=SHELLS)
    sub.add_argument("--json", action="store_true", help="print the answer as JSON")
