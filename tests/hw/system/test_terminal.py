"""A terminal: bars with figures, tables that fit, no word that only a colour says."""

import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from hw.contract.text import table
from hw.system import terminal
from hw.system.progress import under_way
from hw.system.terminal import Terminal, duration, fitted

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]*\b3[0-9]\b[0-9;]*m")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets, as steps and bars see them."""
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def screen(width: int, clock: list[float] | None = None, **more) -> tuple[Terminal, io.StringIO]:
    file = io.StringIO()
    if clock is not None:
        more["get_time"] = lambda: clock[0]
    console = Console(file=file, force_terminal=True, width=width, color_system="truecolor", **more)
    return Terminal(file, console), file


def drawn(meter: Terminal, file: io.StringIO) -> str:
    """The bars, as they are drawn now, without codes."""
    assert meter._bars is not None
    file.truncate(file.seek(0))
    meter._bars.refresh()
    return CODES.sub("", file.getvalue()).strip("\r\n ")


def test_a_bar_has_counts_and_the_time_that_is_left(clock):
    meter, file = screen(100, clock)
    with under_way(meter, "simulating", total=364) as at:
        assert re.search(r"simulating +━+ +0/364  0 s$", drawn(meter, file))
        clock[0] += 20
        at(91, "simulated 91 of 364 images")
        assert re.search(r"simulating +.+ 91/364  20 s, 1:00 min left$", drawn(meter, file))
        assert "images" not in file.getvalue()
    assert "simulating: done in 20 s\n" in CODES.sub("", file.getvalue())


def test_the_time_left_is_of_what_this_run_did(clock):
    """Epochs 1 to 30 were another run's: they say nothing of the speed."""
    meter, file = screen(100, clock)
    with under_way(meter, "epochs", total=40, done=30) as at:
        clock[0] += 50
        at(30)
        assert drawn(meter, file).endswith("30/40  50 s")
        at(35)
        assert drawn(meter, file).endswith("35/40  50 s, 50 s left")


def test_a_step_without_a_total_has_the_time_that_it_may_take(clock):
    meter, file = screen(100, clock)
    with under_way(meter, "nextpnr, seed 1", seconds=240) as at:
        clock[0] += 61
        at.doing("routing, 12 connections to go")
        told = drawn(meter, file)
        assert "nextpnr, seed 1: routing, 12 connections to go" in told
        assert told.endswith("1:01 min of about 4:00 min")
    with under_way(meter, "generating", seconds=2):
        assert drawn(meter, file).endswith("0 s")


@pytest.mark.parametrize("width", [30, 50, 80])
def test_bars_fit_the_window(clock, width):
    meter, file = screen(width, clock)
    what = "placement and routing of a design with a long name"
    with under_way(meter, what, total=20) as at, under_way(meter, "training"):
        clock[0] += 7
        at(7)
        lines = drawn(meter, file).splitlines()
        assert [len(line) for line in lines if len(line) > width] == []
        assert "7/20  7 s, 13 s left" in lines[0]
        assert ("━" in lines[0]) == (width >= terminal.NARROW)
        assert len(lines) == 2


def test_lines_stay_and_nothing_in_them_is_markup(clock):
    meter, file = screen(80, clock)
    with under_way(meter, "[red]boards[/red]", total=2):
        meter("taps [3:0] :smile:, 12 of 13")
        assert "[red]boards[/red]" in drawn(meter, file)
    meter("taps [3:0] :smile:, 12 of 13")
    assert CODES.sub("", file.getvalue()).endswith("taps [3:0] :smile:, 12 of 13\n")


def test_of_a_step_that_breaks_off_nothing_is_left(clock):
    meter, file = screen(80, clock)

    def long_and_broken_off() -> None:
        with under_way(meter, "boards", total=2):
            clock[0] += 9
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        long_and_broken_off()
    assert meter._bars is None
    assert "done" not in file.getvalue()
    assert file.getvalue().endswith("\r\x1b[2K\x1b[?25h\r")  # no bar, and the cursor back


def test_without_colours_every_word_is_there(clock, monkeypatch):
    """Of the bar, too, only what is done."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    told = {}
    for coloured in (True, False):
        meter, file = screen(80, clock)
        with under_way(meter, "boards", total=2) as at:
            at(1)
            told[coloured] = drawn(meter, file)
            assert bool(COLOURS.search(file.getvalue())) == coloured
        monkeypatch.setenv("NO_COLOR", "1")
    bars = {coloured: re.sub("[^━]", "", text) for coloured, text in told.items()}
    words = {re.sub("[━╺╸ ]+", " ", text) for text in told.values()}
    assert words == {"- boards 1/2 0 s, 0 s left"}
    assert len(bars[False]) <= len(bars[True]) / 2 + 1


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (3599.4, "59:59 min"),
        (3599.6, "1:00 h"),
        (3725, "1:02 h"),
        (36000, "10:00 h"),
    ],
)
def test_durations(seconds, told):
    assert duration(seconds) == told


# Text


def plain(text: str, width: int) -> list[str]:
    """Lines as they are printed in a window."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, no_color=True)
    terminal._print(console, text)
    return CODES.sub("", console.file.getvalue()).split("\n")[:-1]  # type: ignore[attr-defined]


ROWS = [("network", "digits-dense, 16 lanes"), ("  SHA-256", "0123456789" * 6), ("images", 3)]


def test_what_fits_is_as_it_was():
    text = f"{table(ROWS)}\n\n| a | b |\n|---|---|\n| 1  | 2 |\n\nwrote build/x: y\n"
    assert plain(text, 100) == text.split("\n")


def test_values_stand_below_each_other_and_long_words_are_whole():
    """A path or a digest can be copied; the terminal breaks it."""
    rows = [("network", "digits-dense, 16 lanes, 1 bank(s), of all"), *ROWS[1:]]
    assert plain(table(rows), 37) == [
        "network    digits-dense, 16 lanes, 1",
        "           bank(s), of all",
        "  SHA-256  " + "0123456789" * 6,
        "images     3",
    ]


def test_text_without_a_table_is_broken_between_words():
    assert plain("next: sterna sim build/models/net.npz --data folder", 30) == [
        "next: sterna sim",
        "build/models/net.npz --data",
        "folder",
    ]
    assert plain("  indented words that go on", 26) == ["  indented words that go", "  on"]


HEAD = "| network | cycles of the law, all images | T |\n|---|---|---|\n"
TABLE = HEAD + "| digits [x] | 6,799.21 (60 images) | 4 |\n| mnist | 12,345 | 2 |"


def test_a_wide_table_of_markdown_gets_narrower_columns():
    lines = plain(f"Cycles:\n\n{TABLE}\n\nwrote x", 40)
    assert lines[0] == "Cycles:"
    assert lines[-1] == "wrote x"
    assert max(map(len, lines)) <= 40
    cells = [re.split(r"  +", line.strip()) for line in lines]
    assert ["digits [x]", "6,799.21 (60", "4"] in cells
    assert ["images)"] in cells
    assert ["mnist", "12,345", "2"] in cells
    assert not any("|" in line for line in lines)


def test_a_table_that_has_more_columns_than_the_window_is_told_row_by_row():
    lines = plain(TABLE, 24)
    assert lines[0].startswith("network  ")
    assert [line.split("  ")[-1].strip() for line in lines if line.startswith("T ")] == ["4", "2"]


def test_lines_that_only_look_like_a_table_are_left():
    for text in ("| " + "x" * 60, "| a |\n| b | c |" + " " * 60):
        assert plain(text, 30) == text.split("\n")


def test_names_are_bold_and_nothing_else_is_styled():
    name, text, _ = fitted("network  digits\nplain text\n", 80)
    assert isinstance(name, Text)
    assert isinstance(text, Text)
    assert [(name.plain[span.start : span.end], span.style) for span in name.spans] == [
        ("network", "bold")
    ]
    assert not text.spans


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_a_name_that_is_cut_can_be_written(encoding):
    """Whatever the terminal's encoding; an ellipsis is in few of them."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    meter = Terminal(file, Console(file=file, force_terminal=True, width=50))
    with under_way(meter, "building sterna_core (shared, 16 lanes) with Verilator", total=3) as at:
        at(1)
        assert meter._bars is not None
        meter._bars.refresh()
    file.flush()
    assert "building sterna" in raw.getvalue().decode(encoding)
