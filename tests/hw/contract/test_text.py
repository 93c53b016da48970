"""Sentences and tables for people."""

import re
from importlib.metadata import PackageNotFoundError, requires

import pytest

from hw.contract import text
from hw.contract.text import expected_time, in_a_line, none_of, printable, to_install


def test_a_name_that_is_none_of_the_choices():
    boards = ("icebreaker", "ulx3s_85f")
    assert (
        none_of("Board", "arty", boards) == "Board must be one of icebreaker, ulx3s_85f, not 'arty'"
    )
    assert none_of("Board", "icebraker", boards, " here") == (
        "Board must be one of icebreaker, ulx3s_85f here, not 'icebraker': "
        "did you mean 'icebreaker'?"
    )
    assert none_of("Board", None, []) == "Board must be one of , not None"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (29, ""),
        (30, "1 minute"),
        (89, "1 minute"),
        (91, "2 minutes"),
        (7000, "117 minutes"),
        (7200, "2 hours"),
        (20_000, "6 hours"),
    ],
)
def test_only_long_steps_are_announced(seconds, told):
    machine = " on a machine like the one in docs/results.md"
    assert expected_time(seconds) == (f": about {told}{machine}" if told else "")


def test_a_sentence_that_quotes_a_stranger_is_one_line():
    """No end of a line, nothing that a terminal obeys, no turning round; and it ends."""
    assert in_a_line("Network a\nb\x1b[2J\u202ec \t must") == "Network a b?[2J?c must"
    assert printable("a\n\tb\x1b[2J\u202e\x07\u2500") == "a\n\tb?[2J??\u2500"
    assert in_a_line("x" * 1000) == "x" * 1000
    assert in_a_line("x" * 1001) == "x" * 996 + " ..."


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("torch", "train"),
        ("matplotlib", "report"),
        ("spikingjelly", "spikingjelly"),
        ("yowasp_nextpnr.ecp5", "fpga"),
        ("Apycula", "fpga"),
        ("pytest", "test"),
    ],
)
def test_what_is_missing_is_in_an_extra(package, extra):
    sentence = f"install Sterna's extra '{extra}' (pip install 'sterna[{extra}]')"
    assert to_install(package) == sentence


def test_what_is_missing_is_in_none(monkeypatch):
    """Every package that Sterna always needs, one that it never does, or nobody knows."""
    needed = [re.split("[^\\w-]", line)[0] for line in requires("sterna") or [] if ";" not in line]
    assert {"numpy", "cocotb"} <= set(needed)
    assert {to_install(name) for name in needed} == {"install Sterna anew (pip install sterna)"}
    assert to_install("no-such-package") == "install it (pip install no-such-package)"

    def absent(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(text, "requires", absent)
    assert to_install("torch") == "install it (pip install torch)"
