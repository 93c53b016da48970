"""gen.family.rom_swap: ROM contents that are swapped equal those that are built, bit for bit."""

import re
import shutil

import pytest

from gen.family.registry import FAMILIES
from gen.family.rom_swap import ReloadError, read_rows
from gen.family.tools import YOSYS, run
from tests.gen.board.tiny import SHAPES, design, write_roms

BUILDS = {
    "ecp5": ("synth_ecp5 -noabc9 -top top", ["--25k"]),
    "ice40": ("synth_ice40 -noabc -top top", ["--up5k", "--package", "sg48"]),
}
SWAPS = {name: swap for name in BUILDS if (swap := FAMILIES[name].swap)}


def routed(family, folder):
    (synthesis, flags), flow = BUILDS[family], FAMILIES[family].flow
    flags = [*flags, *flow.unconstrained, flow.routed_flag]
    (folder / "top.v").write_text(design("assign sys = clk, locked = 1;"))
    commands = f"read_verilog top.v; {synthesis}; write_json netlist.json"
    run(YOSYS, ["-q", "-p", commands], folder, "yosys.log")
    run(flow.router, [*flags, "routed", "--json", "netlist.json"], folder, "nextpnr.log")
    return folder / "routed"


@pytest.fixture(params=BUILDS)
def build(request, tmp_path):
    """(swap, routed design with placeholders, placeholders, family, folder)"""
    folder = tmp_path / "placeholder"
    roms = write_roms(folder, 1)
    return SWAPS[request.param], routed(request.param, folder), roms, request.param, tmp_path


def brams(text):
    """Contents of the block RAMs; ecpbram writes other lines anew in another order."""
    return re.findall(r"^[0-9a-f ]+$", text, re.M)


def test_a_swap_equals_a_build(build):
    swap, design, old, family, tmp_path = build
    new = write_roms(tmp_path / "new", 2)
    built = routed(family, tmp_path / "new")
    before = design.read_bytes()
    report = swap(design, tmp_path / "swapped", list(zip(old, new, strict=True)))
    assert report["roms"] == len(SHAPES)
    assert report["slices"] >= sum(bits for bits, _ in SHAPES)
    swapped = (tmp_path / "swapped").read_text()
    assert brams(swapped) == brams(built.read_text()) != brams(before.decode())
    if family == "ice40":
        assert swapped == built.read_text()
    assert design.read_bytes() == before

    # One ROM of several, and contents with equal and empty columns, as weights may have.
    bits, rows = SHAPES[1]
    new[1].write_text(f"{(1 << bits) - 1:x}\n" + "0\n" * (rows - 1))
    report = swap(design, tmp_path / "swapped", [(old[1], new[1])])
    assert report["roms"] == 1
    assert report["brams"] <= 2

    refused_swaps(swap, design, old, new, tmp_path)


def refused_swaps(swap, design, old, new, tmp_path):
    (tmp_path / "swapped").unlink()
    foreign, wide, short = (tmp_path / name for name in ("foreign.hex", "wide.hex", "short.hex"))
    shutil.copy(write_roms(tmp_path / "other", 3)[0], foreign)
    wide.write_text("fffff\n" * SHAPES[0][1])
    short.write_text("0\n")
    for swaps, sentence in [
        ([(foreign, new[0])], "foreign.hex is not what .* was built with: a column .* 0 times"),
        ([(old[0], wide)], "wide.hex must have rows of 16 bits"),
        ([(old[0], short)], "short.hex must have 512 rows, not 1"),
        ([(wide, wide)], "Placeholder ROM files must be random"),
        ([(old[0], tmp_path / "none.hex")], "none.hex must be a file of hexadecimal rows"),
        ([], "A swap needs at least one ROM"),
    ]:
        with pytest.raises(ReloadError, match=sentence):
            swap(design, tmp_path / "swapped", swaps)
    with pytest.raises(ReloadError, match=r"^Routed design .* cannot be read$"):
        swap(tmp_path / "nothing", tmp_path / "swapped", [(old[0], new[0])])
    assert not (tmp_path / "swapped").exists()


def test_a_tool_that_does_nothing_is_found_out(tmp_path, monkeypatch):
    """ecpbram ends with 0 whatever it did."""
    rows = write_roms(tmp_path / "old", 1)[0]
    values = read_rows(rows)
    numbers = [v & 0x1FF for v in values for _ in range(4)]  # any block RAM: 18 columns of 1024
    words = [0] * 2048
    for address, value in enumerate(values):
        for column in range(16):
            place = address * 18 + column
            words[place // 9] |= (value >> column & 1) << place % 9
    assert len(numbers) == len(words)
    text = ".device LFE5U-25F\n\n.bram_init 1\n"
    for k in range(0, 2048, 8):
        text += " ".join(f"{word:03x}" for word in words[k : k + 8]) + "\n"
    source = tmp_path / "config"
    source.write_text(text)
    monkeypatch.setattr(
        "gen.family.ecp5.run", lambda *a, **k: shutil.copy(a[2] / "in", a[2] / "out")
    )
    new = write_roms(tmp_path / "new", 2)[0]
    with pytest.raises(ReloadError, match=r"^The tool did not write the new ROM contents"):
        SWAPS["ecp5"](source, tmp_path / "out", [(rows, new)])
    assert SWAPS["ecp5"](source, tmp_path / "out", [(rows, rows)])["slices"] == 16
