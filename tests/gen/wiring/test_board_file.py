"""gen.wiring.board_file, platforms, probe: boards from files and from amaranth-boards."""

import json
import re
from pathlib import Path

import pytest

from gen.board.boards import BOARDS, BoardError, constraints, find_board
from gen.board.build import build_board
from gen.board.files import generate_board, identity
from gen.board.flash import FlashError, flash
from gen.board.planner import plan_board
from gen.board.probe import Pins, try_board
from gen.family.pll import PllError
from gen.stage.emit import verilog_text
from gen.wiring.board_file import describe_again, read_board
from hw.contract.network import Network
from sw.data.shipped import model_path
from sw.host.identity import DESCRIBED, parse_identity

EXAMPLE = Path(__file__).parents[3] / "examples" / "colorlight_i5.toml"
TEXT = EXAMPLE.read_text()
DIGITS = Network.load(model_path("digits-dense"))

TANG = """
name = "tang_nano_20k"
chip = "GW2AR-18C"
package = "QN88"
grade = "C8/I7"
io = { IO_TYPE = "LVCMOS33" }
clock = { pin = 4, megahertz = 27 }
uart = { rx = 70, tx = 69 }
led = { pin = 15, active_low = true }
"""

UP5K = """
name = "up5k"
chip = "iCE40UP5K"
package = "SG48"
clock = { pin = 35, megahertz = 12 }
uart = { rx = 6, tx = 9 }
led = { pin = 11 }
flash = { cs_n = 16, clk = 15, copi = 14, cipo = 17 }
"""


def of(tmp_path: Path, text: str):
    file = tmp_path / "my.toml"
    file.write_text(text)
    return read_board(file, BOARDS)


def test_the_example_is_a_board():
    board = find_board(str(EXAMPLE))
    assert (board.name, board.number, board.described) == ("colorlight_i5", 255, True)
    assert board.flags == ("--25k", "--package", "CABGA381", "--speed", "6")
    assert (board.luts, board.brams, board.sram, board.loader) == (24288, 56, True, "colorlight-i5")
    assert constraints(board) == (
        "board.lpf",
        'FREQUENCY PORT "clk" 25 MHZ;\n'
        'LOCATE COMP "clk" SITE "P3";\nIOBUF PORT "clk" IO_TYPE=LVCMOS33;\n'
        'LOCATE COMP "rx" SITE "H18";\nIOBUF PORT "rx" IO_TYPE=LVCMOS33 PULLMODE=UP;\n'
        'LOCATE COMP "tx" SITE "J17";\nIOBUF PORT "tx" IO_TYPE=LVCMOS33 PULLMODE=UP;\n'
        'LOCATE COMP "led" SITE "U16";\nIOBUF PORT "led" IO_TYPE=LVCMOS33;\n',
    )
    plan = plan_board(board, DIGITS, lanes=8, banks=1)
    assert plan.spec.led_active_low
    assert plan.spec.clock_hz == 100_000_000
    assert not plan.to_dict()["clock_measured"]
    payload = b"".join(word.to_bytes(4, "little") for word in identity(plan.core, plan.spec))
    assert parse_identity(payload).board == DESCRIBED


def test_every_example_is_a_board():
    files = sorted(EXAMPLE.parent.glob("*.toml"))
    boards = [find_board(str(file)) for file in files]
    assert [board.name for board in boards] == [file.stem for file in files]
    for board in boards:
        assert plan_board(board, DIGITS, lanes=8, banks=1).spec.number == 255
        assert board.loader


def test_other_families_have_their_own_keys(tmp_path):
    tang = of(tmp_path, TANG)
    assert tang.flags == ("--device", "GW2AR-LV18QN88C8/I7", "--vopt", "family=GW2A-18C")
    assert tang.pack == ("-d", "GW2A-18C")
    assert constraints(tang)[1].startswith('IO_LOC "clk" 4;\nIO_PORT "clk" IO_TYPE=LVCMOS33;\n')
    up5k = of(tmp_path, UP5K)
    assert (up5k.flash, up5k.sram, up5k.pack) == (True, False, ("-s",))
    assert [pin.port for pin in up5k.pins][-2:] == ["flash_copi", "flash_cipo"]
    assert plan_board(up5k, Network.load(model_path("mnist-dense"))).spec.flash_address == 0x20000
    slow = of(tmp_path, "megahertz = 30\n" + TANG)
    assert (slow.clock_hz(8), slow.shared_clock, slow.window_clock) == (30_000_000,) * 3


REFUSALS = [
    ("name = ", "nome = ", "key nome is unknown: there are name, title, .*; did you mean name?"),
    ('name = "colorlight_i5" ', "", "key name is missing"),
    ('name = "colorlight_i5"', 'name = "a b"', "name must be up to 64 letters, .*, not 'a b'"),
    ('name = "colorlight_i5"', 'name = "icebreaker"', "name must not be that of a board that is"),
    ('"LFE5U-25F" ', '"LFE5U-26F" ', "chip must be one of .*, not 'LFE5U-26F': did you mean 'LFE5"),
    ('"LFE5U-25F" ', "7 ", "chip must be one of "),
    ('"CABGA381" ', '"QN88" ', "package of LFE5U-25F must be one of CSFBGA285, CABGA256, CABGA381"),
    ("speed = 6", "speed = 9", "speed of LFE5U-25F must be one of 6, 7, 8, not '9'"),
    ("speed = 6 ", "grade = 6 ", "LFE5U-25F has no key grade: it is called speed"),
    ("speed = 6 ", "", "key speed is missing: LFE5U-25F has 6, 7, 8"),
    (
        '"P3"',
        '["P3", "P4"]',
        "clock.pin must be one pin, not .*: a differential pair is not possib",
    ),
    ('"P3"', '"P3 P4"', "clock.pin must be one pin, not 'P3 P4': a differential pair"),
    ('"P3"', "true", "clock.pin must be a text, not True"),
    ('"P3"', '"P-3"', "clock.pin must be a pin's name, not 'P-3'"),
    ('rx = "H18"', 'rx = "J17"', "uart.tx must not be pin J17, which is uart.rx"),
    ('rx = "H18"', "", "key uart.rx is missing"),
    ("[uart] ", "[serial] ", "key serial is unknown: there are .*uart, led"),
    ("[led] ", "[led.io] ", "key led.pin is missing"),
    ('name = "colorlight_i5"', 'name = "icestick"', "name must not be that of a board of amaranth"),
    ('name = "colorlight_i5"', 'name = "ulx3s.mine"', "name must not be that of .*, 'ulx3s.mine'"),
    ("megahertz = 25", 'megahertz = "25"', "clock.megahertz must be a number, not '25'"),
    ("megahertz = 25", "megahertz = 0", r"clock.megahertz must lie in 1\.\.1000, not 0"),
    ("active_low = true", "active_low = 1", "led.active_low must be true or false, not 1"),
    ('"LVCMOS33"', '"LVCMOS34"', "attribute IO_TYPE of clock must be one of LVCMOS33, "),
    ("IO_TYPE", "LEVEL", "attribute LEVEL of clock is unknown: there are IO_TYPE, PULLMODE"),
    (
        "[clock] ",
        "[flash]\ncs_n=1\nclk=2\ncopi=3\ncipo=4\n[clock] ",
        r"table \[flash\] must be lef",
    ),
    ('io = { PULLMODE = "UP" }', "io = 1", "uart.io must be a table of attributes, not 1"),
    ('name = "', "name = ", "must be TOML: "),
]


@pytest.mark.parametrize(("old", "new", "words"), REFUSALS, ids=[r[1] or r[0] for r in REFUSALS])
def test_what_is_wrong_in_a_file_is_one_sentence(old, new, words, tmp_path):
    assert old in TEXT
    with pytest.raises(BoardError, match=rf"^Board file {tmp_path}/my.toml:? {words}"):
        of(tmp_path, TEXT.replace(old, new, 1))


def test_files_that_are_none(tmp_path):
    for text, words in [
        (TEXT[: TEXT.index("[uart]")], r"table \[uart\] is missing; it has rx, tx$"),
        (TEXT[: TEXT.index("[led]")], r"table \[led\] is missing: any free pin will do; it has pi"),
        (UP5K + "speed = 6\n", "iCE40UP5K has no key speed: there is one speed"),
    ]:
        with pytest.raises(BoardError, match=words):
            of(tmp_path, text)
    for value, words in [
        ("1" * 5000, "must be TOML: Exceeds the limit"),
        ("0x" + "f" * 5000, "clock.megahertz must be a number below 2"),
        ("[0x" + "f" * 5000 + "]", "clock.megahertz.0 must be a number below 2"),
    ]:
        with pytest.raises(BoardError, match=words):
            of(tmp_path, TEXT.replace("megahertz = 25", f"megahertz = {value}"))
    with pytest.raises(BoardError, match=r"title\.a\.a must not be nested so deeply$"):
        of(tmp_path, TEXT.replace("title =", "title" + ".a" * 3000 + " ="))
    (tmp_path / "my.toml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert read_board(tmp_path / "my.toml").name == "colorlight_i5"
    (tmp_path / "my.toml").write_bytes(b"\xff")
    with pytest.raises(BoardError, match="must be text in UTF-8"):
        read_board(tmp_path / "my.toml")
    with pytest.raises(BoardError, match="cannot be read: No such file"):
        find_board(str(tmp_path / "none.toml"))
    awkward = of(tmp_path, TEXT.replace("megahertz = 25", "megahertz = 5.5"))
    with pytest.raises(
        PllError, match=r"must give 1,000,000 baud within 2\.5%, which 5.5 MHz does"
    ):
        plan_board(awkward, DIGITS, lanes=8, banks=1, megahertz=5.5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("orangecrab_r0_2", "lacks a UART: write a file for it"),
        ("versa_ecp5", "lacks a single-ended default clock: its own is a differential pair"),
        ("upduino_v3", "lacks an oscillator at a pin as its default clock"),
        ("arty_a7", r"lacks a chip of the families .* \(its chip is xc7a35ti\)$"),
        ("ulx3s", r"must be named with its class, one of ulx3s.ULX3S_12F_Platform, ulx3s"),
        ("ulx3s.Platform", "Class of board ulx3s must be one of ULX3S_12F_Platform, "),
        ("colorlight_5a75b_r7_0", "led.pin must not be pin P11, which is uart.tx"),
        ("resources", "Board must be one of ulx3s_85f, "),
    ],
)
def test_boards_of_amaranth_boards_that_will_not_do(name, words):
    with pytest.raises(BoardError, match=words):
        find_board(name)


def test_boards_of_amaranth_boards():
    small = find_board("ulx3s.ULX3S_12F_Platform")
    assert (small.name, small.number) == ("ulx3s.ULX3S_12F_Platform", 255)
    assert (small.flags[0], small.luts, small.loader) == ("--12k", 24288, "ulx3s")
    assert [pin.site for pin in small.pins] == ["G2", "M1", "L4", "B2"]
    assert find_board("icebreaker") is BOARDS["icebreaker"]
    assert find_board("ecp5_5g_evn").pins[0].attributes == {"IO_TYPE": "LVCMOS33"}
    with pytest.raises(FlashError, match="must say what openFPGALoader calls it"):
        flash(find_board("icepi_zero"), EXAMPLE)


def test_what_was_built_is_found_again_without_its_file(tmp_path):
    board = of(tmp_path, TANG)
    plan = plan_board(board, DIGITS, lanes=4, banks=1)
    folder = tmp_path / "built"
    generate_board(plan.core, plan.spec, board, folder)
    (tmp_path / "my.toml").unlink()
    again = find_board("tang_nano_20k", folder)
    assert (again.pins, again.flags, again.number) == (board.pins, board.flags, 255)
    assert plan_board(again, DIGITS, lanes=4, banks=1).spec == plan.spec
    assert find_board("tang_nano_20k", tmp_path / "none", folder, tmp_path).pins == board.pins
    with pytest.raises(
        BoardError, match=r"built/board.json must describe board 'tang_nano_2', and"
    ):
        find_board("tang_nano_2", folder)
    with pytest.raises(BoardError, match=r"or one that was built in .*none, not 'tang_nano_20k'"):
        find_board("tang_nano_20k", tmp_path / "none")
    facts = json.loads((folder / "board.json").read_text())
    facts["description"]["chip"] = "none"
    (folder / "board.json").write_text(json.dumps(facts))
    assert describe_again(folder) is None
    assert describe_again(tmp_path) is None
    with pytest.raises(BoardError, match="must describe board 'tang_nano_20k', and does not: name"):
        find_board("tang_nano_20k", folder)


def test_the_trial_has_the_clock_generator_of_the_board():
    """Fed back from its own output, where the chip's is; no wire of it hangs loose."""
    board = find_board(str(EXAMPLE))
    text = verilog_text(Pins(board, plan_board(board, DIGITS, lanes=8, banks=1).spec.pll), "top")
    wires = dict(re.findall(r"\.(\w+)\((.+?) ?\)[,\n]", text[text.index("EHXPLLL") :]))
    assert wires["CLKI"] == "clk"
    assert wires["CLKFB"] == wires["CLKOP"]
    assert f"always @(posedge {wires['CLKOP']} )" in text
    assert f"^ {{ rx, {wires['LOCK']} }}" in text


def test_pins_are_tried_before_a_long_build(tmp_path):
    """On the tools: nothing but pins and clock goes to a bitstream; a wrong pin is told at once."""
    board = find_board("ice40_hx8k_b_evn")
    plan = plan_board(board, DIGITS, lanes=4, banks=1)
    assert plan.spec.pll is not None
    try_board(board, plan.spec.pll, tmp_path / "good", megahertz=36)
    assert (tmp_path / "good" / "top.bin").stat().st_size > 100_000
    wrong = of(
        tmp_path,
        'name = "wrong"\nchip = "iCE40HX8K"\npackage = "CT256"\nuart = { rx = "B10", tx = "B12" }\n'
        'clock = { pin = "J3", megahertz = 12 }\nled = { pin = "Z3" }\n',
    )
    plan = plan_board(wrong, DIGITS, lanes=4, banks=1)
    told: list[str] = []
    with pytest.raises(BoardError, match=r"Board wrong cannot be as it is .*not.* pin named 'Z3'"):
        build_board(plan, tmp_path / "bad", progress=told.append)
    assert told == ["trying the board's pins and clock"]
    assert not (tmp_path / "bad" / "synthesis").exists()
