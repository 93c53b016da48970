"""The command line on a terminal, and where it is none: bars here, the lines there always were
there, JSON alone on stdout in both."""

import fcntl
import io
import json
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from threading import Thread
from unittest.mock import Mock

import pytest

from sw.cli import main as command_line
from sw.cli.main import main

ROOT = Path(__file__).parents[3]
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]*\b[34][0-9]\b[0-9;]*m")


class Pseudo:
    """A pseudo-terminal of so many columns, and what was written to it."""

    def __init__(self, columns: int) -> None:
        self._ours, self.theirs = pty.openpty()
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, size)
        self._parts: list[bytes] = []
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while part := os.read(self._ours, 65536):
                self._parts.append(part)
        except OSError:  # nobody writes any more
            pass

    def written(self) -> str:
        """After the last one who writes."""
        os.close(self.theirs)
        self._reader.join()
        os.close(self._ours)
        return b"".join(self._parts).decode().replace("\r\n", "\n")


def on_terminal(monkeypatch, *arguments: str, stdout: io.StringIO | None = None) -> tuple[int, str]:
    """Run a command in this process, with stderr, and stdout if none is given, on a terminal."""
    pseudo = Pseudo(80)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    with open(pseudo.theirs, "w", closefd=False) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        patch.setattr(sys, "stdout", stdout or stream)
        code = main(list(arguments))
    return code, pseudo.written()


def test_a_command_on_a_terminal_fits_its_window():
    pseudo = Pseudo(50)
    variables = os.environ | {"TERM": "xterm", "PYTHONPATH": str(ROOT)}
    variables.pop("COLUMNS", None)
    done = subprocess.run(
        [sys.executable, "-m", "sterna", "info", "digits-dense"],
        env=variables,
        stdin=pseudo.theirs,
        stdout=pseudo.theirs,
        stderr=pseudo.theirs,
    )
    lines = CODES.sub("", pseudo.written()).splitlines()
    assert done.returncode == 0
    assert [line for line in lines if len(line) > 50 and not line.startswith("digest ")] == []
    (row,) = [n for n, line in enumerate(lines) if line.startswith("layer hidden1")]
    assert lines[row] == "layer hidden1    64 x 128, 4-bit weights, ternary,"
    assert lines[row + 1].startswith(" " * len("layer hidden1    ") + "theta 30, hard reset,")


def test_bars_are_drawn_and_gone(monkeypatch):
    code, text = on_terminal(monkeypatch, "golden", "--images", "20")
    assert code == 0
    assert "golden model: 20 images" in text
    assert "0/20" in text
    assert COLOURS.search(text)
    assert CODES.sub("", text.rpartition("\x1b[2K")[2]).strip().startswith("digits-dense: 95.00 %")


def test_no_color(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    _, text = on_terminal(monkeypatch, "golden", "--images", "20")
    assert "0/20" in text
    assert not COLOURS.search(text)


@pytest.mark.parametrize("asked", [(), ("--json",)])
def test_an_answer_that_goes_to_a_file_is_as_it_was(capsys, monkeypatch, asked):
    """While somebody looks on at stderr; what is told without one is in no way another."""
    arguments = ("info", "mnist-conv", *asked)
    assert main([*arguments]) == 0
    before = capsys.readouterr().out
    file = io.StringIO()
    code, _ = on_terminal(monkeypatch, *arguments, stdout=file)
    assert (code, file.getvalue()) == (0, before)
    if asked:
        assert json.loads(before)["spec"]["name"] == "mnist-conv"
    else:
        assert max(map(len, before.splitlines())) > 100


def test_what_the_library_reports_is_told_beside_the_bars(monkeypatch):
    """By the logger of `sw`, in lines, as what else is told."""

    def do(args):
        logging.getLogger("sw.data").info("Fetching [a] file")
        return {}, "answer", 0

    monkeypatch.setattr("sw.cli.core.do_models", do)
    code, text = on_terminal(monkeypatch, "models")
    assert code == 0
    assert CODES.sub("", text).split("\n") == ["Fetching [a] file", "answer", ""]


def test_faults_on_a_terminal_are_the_same_sentence(monkeypatch):
    code, text = on_terminal(monkeypatch, "info", "none.npz")
    assert (code, text) == (1, "sterna: Network file none.npz does not exist\n")


@pytest.mark.parametrize("elsewhere", [None, io.StringIO()])
def test_bars_that_are_not_installed_are_the_same_sentence(monkeypatch, elsewhere):
    """Before the work, though only the answer may need them."""
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.delitem(sys.modules, "hw.system.terminal", raising=False)
    monkeypatch.setattr("sw.cli.core.do_models", Mock(side_effect=AssertionError))
    code, text = on_terminal(monkeypatch, "models", stdout=elsewhere)
    assert (code, text) == (
        1,
        "sterna: models needs the package rich: install Sterna anew (pip install sterna)\n",
    )


def test_lines_without_a_terminal(capsys):
    args = command_line.build_parser().parse_args(["models"])
    assert not hasattr(args, "say")  # `main` picks who is told
    command_line.say("a line")
    assert capsys.readouterr() == ("", "a line\n")
    assert main(["golden", "--images", "20"]) == 0
    assert capsys.readouterr().err == ""
