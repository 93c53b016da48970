"""gen.board.boards, gen.family.pll: pins and clocks of every board."""

from dataclasses import replace
from fractions import Fraction

import pytest

from gen.board.boards import BOARDS, BoardError, constraints, find_board
from gen.family.base import Part
from gen.family.pll import PllError, clock_up_to, pll
from gen.family.registry import FAMILIES
from gen.wiring.platforms import device_of, platform_class
from hw.contract.link import FROM_FILE

OTHERS = [find_board(name) for name in ("ice40_hx8k_b_evn", "icepi_zero", "tang_primer_20k")]
"""Described boards: a clock generator away from its pin, an ECP5 at 50 MHz, a GW2A."""


def test_boards_are_told_apart():
    numbers = [board.number for board in BOARDS.values()]
    assert len({*numbers, FROM_FILE}) == len(numbers) + 1
    assert [find_board(name).name for name in BOARDS] == list(BOARDS)
    with pytest.raises(BoardError) as refused:
        find_board("arty")
    assert str(refused.value) == (
        "Board must be one of ulx3s_85f, icebreaker, tang_nano_9k, NAME.toml or a board of "
        "amaranth-boards, not 'arty'"
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


@pytest.mark.parametrize("name", BOARDS)
def test_boards_are_what_their_chips_are(name):
    """The family of a listed board is the one that a file of the same chip would get."""
    board = BOARDS[name]
    cls = platform_class(board.platform)
    chip, package, grade = device_of(cls)
    assert chip == board.chip.name
    assert board.chip.packages[package.upper()] == board.package
    assert grade == board.grade
    part = Part(chip=board.chip, package=board.package, grade=grade, clock=board.pins[0].site)
    made = board.family.on(part)
    assert (made.name, made.flow) == (board.family.name, board.family.flow)
    clock = board.clock_hz(1)
    assert pll(replace(board, family=made), clock) == pll(board, clock)


@pytest.mark.parametrize("board", [*BOARDS.values(), *OTHERS], ids=lambda board: board.name)
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
        ("tang_primer_20k", 108, {"DEVICE": "GW2A-18C", "IDIV_SEL": 0, "FBDIV_SEL": 3}),
        ("ice40_hx8k_b_evn", 48, {"DIVR": 0, "DIVF": 63, "DIVQ": 4, "FILTER_RANGE": 1}),
    ]:
        board = BOARDS.get(name) or find_board(name)
        instance = pll(board, megahertz * 1e6).instance
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


def test_every_chip_can_be_on_a_board():
    """In all packages and grades: a clock of it, and arguments without gaps."""
    for family in FAMILIES.values():
        assert {name: chip.name for name, chip in family.chips.items()} == {
            n: n for n in family.chips
        }
        for chip in family.chips.values():
            for package in chip.packages.values():
                for grade in chip.grades or ("",):
                    part = Part(chip=chip, package=package, grade=grade, clock="A1")
                    made = family.on(part)
                    assert package in " ".join(part.flags)
                    assert grade in " ".join(part.flags)
                    assert "{" not in " ".join(part.flags)
                    assert made.pll is not None or package not in chip.pll_pads
                    assert (made.name, made.rams) == (family.name, family.rams)


def test_a_generator_is_of_the_oscillators_pin_and_package():
    """SB_PLL40_PAD only where the pin is the generator's own; none where the package has none."""
    for name, megahertz, module, port in [
        ("ice40_hx8k_b_evn", 24, "SB_PLL40_CORE", "REFERENCECLK"),
        ("blackice", 25, "SB_PLL40_PAD", "PACKAGEPIN"),
        ("icesugar", 24, "SB_PLL40_PAD", "PACKAGEPIN"),
    ]:
        instance = pll(find_board(name), megahertz * 1e6).instance
        assert instance is not None
        assert (instance.module, instance.clock_in) == (module, port)
    assert find_board("nandland_go").family.pll is None
    assert find_board("nandland_go").clock_hz(1) == 25_000_000


def test_a_generators_loop_is_open_where_nextpnr_would_search_for_ever():
    for name, tied in [("tang_nano_9k", True), ("tang_primer_20k", False)]:
        instance = pll(find_board(name), 54e6).instance
        assert instance is not None
        assert ("CLKFB" in instance.constants) == tied


def test_a_default_clock_is_the_nearest_below_that_can_be_made():
    board = OTHERS[0]
    assert clock_up_to(board, 24e6) == 24_000_000
    assert clock_up_to(board, 14e6) == 12_000_000
    slower = clock_up_to(board, 37.123e6)
    assert 36_500_000 < slower <= 37_123_000
    assert pll(board, slower).instance is not None
