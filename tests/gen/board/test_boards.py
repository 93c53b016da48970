"""gen.board.boards, gen.family.pll: pins and clocks of every board."""

from fractions import Fraction

import pytest

from gen.board.boards import BOARDS, BoardError, constraints, find_board
from gen.family.pll import PllError, pll


def test_boards_are_told_apart():
    numbers = [board.number for board in BOARDS.values()]
    assert len(set(numbers)) == len(numbers)
    assert [find_board(name).name for name in BOARDS] == list(BOARDS)
    with pytest.raises(BoardError) as refused:
        find_board("arty")
    assert str(refused.value) == (
        "Board must be one of ulx3s_85f, icebreaker, tang_nano_9k, not 'arty'"
    )


def test_pins_are_those_of_the_makers():
    """A few known from the boards' schematics, as a check of where they are taken from."""
    for name, hz, low, lines in [
        (
            "ulx3s_85f",
            25_000_000,
            False,
            [
                'FREQUENCY PORT "clk" 25 MHZ;',
                'LOCATE COMP "clk" SITE "G2";',
                'LOCATE COMP "rx" SITE "M1";',
                'IOBUF PORT "led" IO_TYPE=LVCMOS33 DRIVE=4;',
            ],
        ),
        (
            "icebreaker",
            12_000_000,
            True,
            [
                "set_frequency clk 12",
                "set_io clk 35",
                "set_io -pullup yes rx 6",
                "set_io tx 9",
                "set_io flash_cs_n 16",
                "set_io flash_cipo 17",
            ],
        ),
        (
            "tang_nano_9k",
            27_000_000,
            True,
            ['IO_LOC "clk" 52;', 'IO_PORT "rx" PULL_MODE=UP IO_TYPE=LVCMOS33;', 'IO_LOC "tx" 17;'],
        ),
    ]:
        board = BOARDS[name]
        assert (board.oscillator_hz, board.led_active_low) == (hz, low)
        assert set(lines) <= set(constraints(board)[1].splitlines())
        ports = ["clk", "rx", "tx", "led"]
        flash = ["flash_cs_n", "flash_clk", "flash_copi", "flash_cipo"] if board.flash else []
        assert [pin.port for pin in board.pins] == ports + flash
        assert {p.port for p in board.pins if not p.output} <= {"clk", "rx", "flash_cipo"}


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_clock_is_within_the_limits(board):
    assert board.family.pll is not None
    limits = board.family.pll.limits
    made = 0
    for megahertz in (20.25, 24, 27, 33.75, 37.5, 48, 50, 62.5, 75, 80, 100):
        try:
            settings = pll(board, megahertz * 1e6)
        except PllError:
            continue
        if settings.instance is None:
            continue
        made += 1
        assert abs(settings.hz / 10**6 - Fraction(megahertz)) <= Fraction(megahertz) / 1000
        for hz, (least, most) in [
            (settings.detector_hz, limits.detector),
            (settings.vco_hz, limits.vco),
            (settings.hz, limits.out),
        ]:
            assert least * 10**6 <= hz <= most * 10**6
    assert made >= 4
    assert pll(board, board.oscillator_hz).instance is None


def test_parameters_are_those_of_the_vendors_tools():
    """Of icepll, ecppll and gowin_pll for the same clock."""
    for name, megahertz, expected in [
        ("icebreaker", 24, {"DIVR": 0, "DIVF": 63, "DIVQ": 5, "FILTER_RANGE": 1}),
        ("icebreaker", 20.25, {"DIVR": 0, "DIVF": 53, "DIVQ": 5, "FILTER_RANGE": 1}),
        ("icebreaker", 48, {"DIVR": 0, "DIVF": 63, "DIVQ": 4, "FILTER_RANGE": 1}),
        ("ulx3s_85f", 50, {"CLKI_DIV": 1, "CLKFB_DIV": 2, "CLKOP_DIV": 12, "CLKOP_CPHASE": 5}),
        ("ulx3s_85f", 75, {"CLKI_DIV": 1, "CLKFB_DIV": 3, "CLKOP_DIV": 8}),
        ("ulx3s_85f", 80, {"CLKI_DIV": 1, "CLKFB_DIV": 1, "CLKOP_DIV": 16, "CLKOS_DIV": 5}),
        ("tang_nano_9k", 40.5, {"IDIV_SEL": 1, "FBDIV_SEL": 2, "ODIV_SEL": 16, "FCLKIN": "27"}),
    ]:
        instance = pll(BOARDS[name], megahertz * 1e6).instance
        assert instance is not None
        assert expected.items() <= instance.parameters.items()


def test_impossible_clocks_name_the_nearest():
    for name, megahertz, sentence in [
        (
            "icebreaker",
            14,
            "Clock of icebreaker cannot be 14 MHz: the nearest that its 12 MHz "
            "oscillator gives is 12 MHz",
        ),
        (
            "tang_nano_9k",
            40,
            "Clock of tang_nano_9k cannot be 40 MHz: the nearest that its 27 MHz "
            "oscillator gives is 40.5 MHz",
        ),
        ("ulx3s_85f", 0, "Clock of ulx3s_85f must lie above 0 MHz, not 0 MHz"),
    ]:
        with pytest.raises(PllError) as refused:
            pll(BOARDS[name], megahertz * 1e6)
        assert str(refused.value) == sentence
