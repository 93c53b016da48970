"""Imports point one way: contract, hardware, generation, simulation, learning, command line."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ["hw", "gen", "sim", "sw"]
GROUND = "hw/contract/"
GOLDEN = {f"hw.contract.{name}" for name in ("checks", "edge", "laws", "network", "neuron")}


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


FILES = sorted(p for package in ORDER for p in (ROOT / package).glob("**/*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_arrows_point_down(path):
    name = path.relative_to(ROOT).as_posix()
    level = ORDER.index(name.split("/")[0])
    above = (*ORDER[level + 1 :], "sterna", "tests")
    modules = imported(path)
    roots = {module.split(".")[0] for module in modules}
    assert not roots & set(above)
    if name.startswith(GROUND) or name == "hw/layer/geometry.py":
        assert not roots & {"amaranth", "torch"}
    if not name.startswith("sw/"):
        assert "torch" not in roots
    if name == "sim/golden/model.py":
        assert {m for m in modules if m.startswith("hw.") and m.count(".") == 2} <= GOLDEN


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (
            "import hw.contract.spec, hw.contract.network, hw.layer.geometry, sim.golden.model",
            ("amaranth", "torch"),
        ),
        (
            "import sterna, sw.data.dataset, sw.data.evaluate, gen.core.layer_cycles, "
            "sim.bench.run",
            ("torch",),
        ),
    ],
)
def test_what_an_import_pulls_in(statement, absent):
    code = f"import sys; {statement}; print(*[m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_no_test_imports_a_test():
    """What tests share stands in modules of its own; so, too, in programs within strings."""
    pattern = re.compile(r"(?:from|import) tests(?:\.\w+)*(?:\.| import )test_\w+")
    files = sorted((ROOT / "tests").glob("**/*.py"))
    found = [(p.name, m.group()) for p in files for m in pattern.finditer(p.read_text())]
    assert not found
