"""A tiny design for every board: a counter, ROMs of odd shapes, a PLL, an LED."""

import random
from pathlib import Path

from gen.board.boards import Board
from gen.family.pll import pll
from hw.memory.sources import verilog_source
from hw.top.pll import PllSpec

ROM = verilog_source("sterna_rom.v")
SHAPES = ((16, 512), (10, 300), (7, 700))
"""(bits, rows): whole blocks, less than one, more than one and not a power of two."""


def instance(spec: PllSpec) -> str:
    def value(given: int | str) -> str:
        return f'"{given}"' if isinstance(given, str) else str(given)

    parameters = ", ".join(f".{name}({value(v)})" for name, v in spec.parameters.items())
    attributes = "".join(f'(* {name}="{v}" *) ' for name, v in spec.attributes.items())
    ports = {name: f"{width}'d{v}" for name, (v, width) in spec.constants.items()}
    ports |= {spec.clock_in: "clk", spec.clock_out: "sys", spec.locked: "locked"}
    if spec.feedback:
        source, target = spec.feedback
        ports[target] = ports.setdefault(source, "loop")
    wires = ", ".join(f".{name}({wire})" for name, wire in ports.items())
    return f"{attributes}{spec.module} #({parameters}) pll ({wires});"


def write_roms(folder: Path, seed: int) -> list[Path]:
    """Random contents, of `SHAPES`."""
    rng = random.Random(seed)
    files = []
    for n, (bits, rows) in enumerate(SHAPES):
        text = "".join(f"{rng.getrandbits(bits):0{-(-bits // 4)}x}\n" for _ in range(rows))
        files.append(folder / "rom" / f"{n}.hex")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].write_text(f"// seed {seed}\n" + text)
    return files


def design(clocking: str, ports: str = "", extra: str = "") -> str:
    lines = [
        f"module top(input clk, input rx, output tx, output led{ports});",
        "wire sys, locked, loop; reg [15:0] count = 0; reg [2:0] bits;",
        clocking,
        "always @(posedge sys) count <= count + rx;",
        "assign tx = ^bits, led = count[15] & locked;",
        extra,
    ]
    for n, (bits, rows) in enumerate(SHAPES):
        width = (rows - 1).bit_length()
        lines += [
            f"wire [{bits - 1}:0] row{n};",
            f'sterna_rom #(.WIDTH({bits}), .DEPTH({rows}), .ADDRESS({width}), .FILE("rom/{n}.hex"))'
            f" rom{n} (.clk(sys), .addr(count[{width - 1}:0]), .data(row{n}));",
            f"always @(posedge sys) bits[{n}] <= ^row{n};",
        ]
    return "\n".join([*lines, "endmodule", ROM])


def write_design(board: Board, folder: Path, megahertz: float) -> None:
    """`top.v` and its ROMs for a board, run at `megahertz`."""
    write_roms(folder, 1)
    spec = pll(board, megahertz * 1e6).instance
    clocking = instance(spec) if spec else "assign sys = clk, locked = 1;"
    ports, extra = "", ""
    if board.flash:
        ports = ", output flash_cs_n, flash_clk, flash_copi, input flash_cipo"
        extra = "assign flash_cs_n = 1, flash_clk = count[3], flash_copi = flash_cipo;"
    (folder / "top.v").write_text(design(clocking, ports, extra))
