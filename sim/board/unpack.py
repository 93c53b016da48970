"""A packed iCE40 bitstream as Verilog that simulates, made from nothing but its bits.

`iceunpack` takes the bitstream apart, and Project IceStorm's `icebox_vlog` writes what the bits
configure: look-up tables, flip-flops, wires, block RAMs with their contents, clock generator. It
leaves out the UltraPlus' single-port RAMs, and the pin of the clock generator; both are added here,
from IceStorm's own tables.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.board.boards import Board
from gen.board.files import BOARD_TOP
from gen.family.ice40 import ICEPACK
from gen.family.tools import Tool, ToolError, find, run
from hw.contract.files import write_atomically
from hw.system.process import clean_environment
from sim.board.netlist import NetlistError, cell_models

__all__ = ["find_icebox", "find_iceunpack", "unpack_bitstream"]

TABLES = """
import json, sys
sys.path.insert(0, sys.argv[1])
import icebox
pll = icebox.pllinfo_db["5k"]["PLLOUT_A"]
pin = next(entry[0] for entry in icebox.pinloc_db["5k-sg48"] if tuple(entry[1:]) == pll)
bits = {entry[2]: entry[0][0] for entry in icebox.ipcon_5k_db if entry[1] == "IpConfig"}
rams = [dict(ram) for ram in icebox.spram_db["5k"].values()]
for ram in rams:
    x, y, bit = ram["SPRAM_EN"]
    ram["SPRAM_EN"] = (x, y, bits[bit])
print(json.dumps({"rams": rams, "pll_pin": pin}))
"""
"""Prints what IceStorm knows of the UP5K: `rams`, per single-port RAM {port: [x, y, wire of that
tile]} and the bit that enables it, `SPRAM_EN`, as [x, y, "B<row>[<column>]"]; `pll_pin`, the pin
that feeds the clock generator."""

SPRAM_VECTORS = {"ADDRESS": 14, "DATAIN": 16, "DATAOUT": 16, "MASKWREN": 4}
SPRAM_PINS = ("CLOCK", "WREN", "CHIPSELECT", "STANDBY", "SLEEP", "POWEROFF")

Segment = tuple[int, int, str]


def find_icebox() -> Tool:
    """`icebox_vlog`, as Debian's fpga-icestorm installs it.

    Raises
    ------
    ToolError
        When it is not on PATH.
    """
    place = shutil.which("icebox_vlog")
    if place is None:
        raise ToolError("icebox_vlog is missing: install Debian's fpga-icestorm")
    release = "of unknown version"
    if shutil.which("dpkg-query"):
        asked = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Version}", "fpga-icestorm"],
            capture_output=True,
            env=clean_environment(),
            text=True,
            check=False,
        )
        release = asked.stdout.strip() or release
    return Tool(name="icebox_vlog", command=(place,), version=release, origin="native")


def find_iceunpack() -> Tool:
    """`iceunpack`, which lies beside the `icepack` that is used."""
    packer = find(ICEPACK)
    place = Path(packer.command[0])
    command = (str(place.with_name(place.name.replace("icepack", "iceunpack"))),)
    return Tool(name="iceunpack", command=command, version=packer.version, origin=packer.origin)


def unpack_bitstream(board: Board, bitstream: Path, folder: Path, clock_hz: int) -> list[str]:
    """Write Verilog of a bitstream, with models of the cells in it, into `folder`; return the
    names of the files. Module and ports are those of the board's top.

    Parameters
    ----------
    board
        Whose pins have the ports.
    bitstream
        As icepack made it.
    clock_hz
        Clock that it must make of the oscillator's.

    Raises
    ------
    NetlistError
        When the board is no UP5K, there is no such bitstream, or it makes another clock.
    ToolError
        When a tool is missing or refuses the bitstream.
    """
    if board.family.unpackable not in board.flags:
        raise NetlistError(f"Bitstream must be of an iCE40 UP5K to be unpacked, not {board.name}'s")
    icebox, iceunpack = find_icebox(), find_iceunpack()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(bitstream, folder / "bitstream.bin")
    except OSError:
        raise NetlistError(f"Bitstream {bitstream} cannot be read") from None
    run(iceunpack, ["bitstream.bin", "bitstream.asc"], folder, "iceunpack.log")
    # Only what icebox_vlog understands: it takes an option of set_io for the port.
    pins = "".join(f"set_io {pin.port} {pin.site}\n" for pin in board.pins)
    write_atomically(folder / "pins.pcf", pins.encode())
    package = board.flags[board.flags.index("--package") + 1]
    arguments = ["-n", BOARD_TOP, "-d", package, "-p", "pins.pcf", "bitstream.asc"]
    run(icebox, arguments, folder, "icebox.log", stdout="icebox.v")
    text = (folder / "icebox.v").read_text()
    tables = _tables(icebox)
    text = _add_sprams(text, (folder / "bitstream.asc").read_text(), tables["rams"])
    text = _join_pll(text, board, clock_hz, tables["pll_pin"])
    write_atomically(folder / "unpacked.v", _tidy(text).encode())
    return ["unpacked.v", *cell_models(board.family, folder)]


def _tidy(text: str) -> str:
    """What icebox_vlog writes, so that strict readers take it: ports declared once and apart, none
    for pins that are not used, no traces of DSP tiles, no comments."""
    unused = set(re.findall(r"^// Warning: unmatched port '(\w+)'", text, re.M))
    text = re.sub(r"^(// .*|/\* DSP.*)\n", "", text, flags=re.M)
    head = re.search(r"^module (\w+) \((.*)\);$", text, re.M)
    assert head is not None
    ports = [port.split() for port in head[2].split(", ")]
    body = text[head.end() :]
    # The clock's port is not matched where it feeds the clock generator.
    ports = [port for port in ports if port[1] not in unused or f"({port[1]})" in body]
    names = ", ".join(name for _, name in ports)
    declared = "".join(f"{direction} {name};\n" for direction, name in ports)
    # Declared like this, a port may have a `wire` or `reg` of its name, as icebox_vlog gives it.
    return f"{text[: head.start()]}module {head[1]} ({names});\n{declared}{body}"


def _tables(icebox: Tool) -> dict[str, Any]:
    folder = str(Path(icebox.command[0]).resolve().parent)
    asked = subprocess.run(
        [sys.executable, "-c", TABLES, folder],
        capture_output=True,
        env=clean_environment(),
        text=True,
        check=False,
    )
    if asked.returncode:
        raise ToolError(f"icebox_vlog must lie beside its icebox.py, but {folder} has none")
    return json.loads(asked.stdout)


def _join_pll(text: str, board: Board, clock_hz: int, pin: str) -> str:
    """Connect the clock generator, if there is one, with the clock's pin, and see that it makes the
    right clock."""
    generator = re.search(r"SB_PLL40_PAD #\((.*?)\) \w+ \(\n  \.PACKAGEPIN\((\w+)\)", text, re.S)
    hz = board.oscillator_hz
    if generator is not None:
        found = {k: int(v, 2) for k, v in re.findall(r"\.(\w+)\(\d'b([01]+)\)", generator[1])}
        hz = hz * (found["DIVF"] + 1) // (found["DIVR"] + 1) >> found["DIVQ"]
        clock = next(pin for pin in board.pins if pin.port == "clk")
        if clock.site != pin:
            raise NetlistError(f"Clock generator must be fed by pin {pin}, not {clock.site}")
        text = text.replace(f".PACKAGEPIN({generator[2]})", f".PACKAGEPIN({clock.port})")
    if hz != clock_hz:
        raise NetlistError(f"Bitstream must make a clock of {clock_hz} Hz, not {hz}")
    return text


def _add_sprams(text: str, asc: str, table: Sequence[dict[str, list[Any]]]) -> str:
    """Instances of the single-port RAMs that the bitstream enables."""
    rams = [ram for ram in table if _enabled(asc, *ram["SPRAM_EN"])]
    nets = _nets(text) if rams else {}
    instances = "".join(_instance(n, ram, nets) for n, ram in enumerate(rams))
    body, end, rest = text.rpartition("endmodule")
    return f"{body}{instances}{end}{rest}"


def _enabled(asc: str, x: int, y: int, bit: str) -> bool:
    """Whether a bit of an IP tile is set."""
    tile = re.search(rf"^\.ipcon_tile {x} {y}\n((?:[01]+\n)+)", asc, re.M)
    row, column = map(int, re.findall(r"\d+", bit))
    return tile is not None and tile[1].split()[row][column] == "1"


def _nets(text: str) -> dict[Segment, str]:
    """The net of every wire segment, from the comments below each declaration of a net."""
    nets: dict[Segment, str] = {}
    net = ""
    for line in text.splitlines():
        if line.startswith("// ("):
            x, y, wire = line[4:-1].split(", ")
            nets[int(x), int(y), wire.strip("'")] = net
        else:
            declared = re.match(r"(?:wire|reg) (\w+)", line)
            net = declared[1] if declared else net
    return nets


def _instance(number: int, ram: dict[str, list[Any]], nets: dict[Segment, str]) -> str:
    """An instance; a pin that no wire leads to is 0, as everywhere in this chip."""

    def net(port: str) -> str:
        x, y, wire = ram[port]
        return nets.get((x, y, wire), f"open_{number}_{port}" if "OUT" in port else "1'b0")

    pins = {name: net(name) for name in SPRAM_PINS}
    for name, width in SPRAM_VECTORS.items():
        pins[name] = f"{{{', '.join(net(f'{name}_{n}') for n in reversed(range(width)))}}}"
    wires = "".join(f"wire {name};\n" for name in re.findall(r"open_\w+", pins["DATAOUT"]))
    ports = ", ".join(f".{name}({value})" for name, value in pins.items())
    return f"{wires}SB_SPRAM256KA spram_{number} ({ports});\n"
