"""sw.host stands alone: NumPy, the contract, how progress is told, and nothing of generator,
simulation or learning."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from gen.board.boards import BOARDS
from hw.contract.link import BOARD_NAMES

ROOT = Path(__file__).parents[3]
MODULES = 13
"""Own modules, at most; packages come on top."""

CODE = """
import sys
import sw.host
names = set(sys.modules)
own = [n for n in names if n.split(".")[0] in ("hw", "gen", "sim", "sw")]
modules = [n for n in own if not hasattr(sys.modules[n], "__path__")]
print(len(modules), *sorted({"gen", "sim", "amaranth", "torch", "serial"} & names))
"""


def test_what_an_import_loads():
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    count, *strangers = done.stdout.split()
    assert int(count) <= MODULES
    assert strangers == []


def imported(path):
    """Modules of ours that a file imports at module level."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {n for n in names if n.split(".")[0] in ("hw", "gen", "sim", "sw", "sterna", "amaranth")}


WIDE = {"golden.py", "lessons.py"}
"""Know networks and their plans."""

FILES = sorted(p for p in (ROOT / "sw" / "host").glob("*.py") if p.name not in WIDE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_module_level_imports(path):
    assert {n for n in imported(path) if not n.startswith("sw.host.")} <= {
        *(f"hw.contract.{name}" for name in ("checks", "layout", "link")),
        "hw.system.progress",
    }
    assert not {"sw.host.golden", "sw.host.lessons"} & imported(path)


def test_the_numbers_of_boards_are_the_boards():
    assert {board.number: board.name for board in BOARDS.values()} == BOARD_NAMES
