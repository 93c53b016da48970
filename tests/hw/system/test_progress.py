"""Progress: who takes lines gets the lines that there always were; who shows steps gets steps."""

import io
import logging

import pytest

from hw.system.progress import Meter, Reports, is_terminal, listener, silent, teller, under_way
from tests.hw.system.notes import Notes


def work(progress) -> None:
    with under_way(progress, "pictures", total=4, done=1, line="4 pictures") as at:
        at(2, "2 of 4")
        at.doing("the third")
        at(2.5)
        with under_way(progress, "a rest", seconds=60):
            progress("resting")
        at(4, "4 of 4")


def test_a_callable_has_lines():
    told = []
    work(told.append)
    assert told == ["4 pictures", "2 of 4", "resting", "4 of 4"]


def test_a_meter_has_steps_and_no_lines_that_count():
    notes = Notes()
    work(notes)
    pictures, rest = ("pictures", 4, 1, 0), ("a rest", None, 0, 60)
    assert notes.told == [*(pictures, 2, "doing the third", 2.5, rest, "resting", "end", 4, "end")]


@pytest.mark.parametrize("progress", [Notes(), silent])
def test_what_a_step_raises_passes(progress):
    with pytest.raises(KeyboardInterrupt), under_way(progress, "a step"):
        raise KeyboardInterrupt


def test_who_listens_to_a_log():
    notes, log = Notes(), logging.getLogger("made.up")
    reports = Reports(notes)
    logging.getLogger("made").addHandler(reports)
    try:
        assert listener(log) is notes
        logging.getLogger("made").setLevel(logging.INFO)
        log.info("%s of %s", 2, 3)
        assert notes.told == ["2 of 3"]
    finally:
        logging.getLogger("made").removeHandler(reports)
    assert listener(log) == log.info


@pytest.mark.parametrize(
    ("tty", "term", "shown"),
    [(True, "xterm", True), (True, "dumb", False), (True, None, False), (False, "xterm", False)],
)
def test_bars_are_for_terminals_with_a_cursor(monkeypatch, tty, term, shown):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: tty, raising=False)
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    assert is_terminal(stream) == shown
    told = teller(silent, stream)
    assert isinstance(told, Meter) == shown
    assert (told is silent) != shown
