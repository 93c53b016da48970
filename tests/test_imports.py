"""Imports point one way: contract, hardware, generation, simulation, learning, command line."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.imports import imported

ROOT = Path(__file__).parent.parent
ORDER = ["hw", "gen", "sim", "sw"]
GROUND = "hw/contract/"
GOLDEN = {f"hw.contract.{name}" for name in ("checks", "edge", "laws", "network", "neuron")}


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
            "import sw.cli.main, sw.data.dataset, sw.data.evaluate, gen.layer.cycles, "
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


def test_what_is_imported_is_asked_for():
    """A package that another one happens to bring is gone when that one is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    named = {re.split(r"[^\w-]", line)[0] for line in asked}
    # These ask for versions that are not ours: the Makefile installs them by themselves, or a
    # study says how.
    for name in ("Makefile", "sw/study/importers.py"):
        named |= set(re.findall(r"--no-deps ([\w-]+)==", (ROOT / name).read_text()))
    roots = {m.split(".")[0] for path in FILES for m in imported(path)} - {*ORDER, "sterna"}
    owners = packages_distributions()
    for root in sorted(roots - sys.stdlib_module_names - {"None"}):
        assert named & {owner.replace("_", "-").lower() for owner in owners.get(root, [root])}, root


# The rooms within a floor's package

FLOORS = {
    "hw": "contract < system | memory < stage < stream < neuron < layer | link < program < window "
    "| core | learn < top",
    "gen": "stage < layer | program < window < core | family < learn | wiring < board < explore "
    "| ip",
    "sim": "golden < bench < learn | board",
    "sw": "data | report < spread < learn | spide < host < importers | verify < reading "
    "< watch | jelly < frameworks < nir | onnx < study | front < explore < cli",
}
"""From the ground up; rooms beside each other know nothing of each other."""

KNOWN: dict[tuple[str, str], str] = {}
"""(file, room that it imports) against the floors, and why it is so for now."""

MOST_MODULES = 13
FULL: dict[str, int] = {}
"""Rooms with more modules, and how many they have for now."""


def floors(package: str) -> dict[str, int]:
    """The floor of each room of a package."""
    levels = FLOORS[package].split(" < ")
    return {room: n for n, level in enumerate(levels) for room in level.split(" | ")}


def upward(path: Path) -> set[str]:
    """Rooms of its own package that a file imports and that are not below its own."""
    package, *inside = path.relative_to(ROOT).with_suffix("").parts
    floor, mine = floors(package), inside[0]
    if mine == "__init__":
        return set()
    rooms = {m.split(".")[1] for m in imported(path) if m.startswith(f"{package}.")}
    return {room for room in rooms - {mine} if floor[room] >= floor[mine]}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_rooms_stand_on_lower_floors(path):
    name = path.relative_to(ROOT).as_posix()
    assert upward(path) == {room for file, room in KNOWN if file == name}


ROOMS = sorted({path.parent for path in FILES})


@pytest.mark.parametrize("room", ROOMS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_room_says_what_it_is_and_is_not_full(room):
    name = room.relative_to(ROOT).as_posix()
    modules = [path for path in room.glob("*.py") if path.stem != "__init__"]
    assert len(modules) <= FULL.get(name, MOST_MODULES)
    text = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    assert len(text.splitlines()) >= 2, f"{name}/__init__.py must say what the room is for"


def test_tests_mirror_the_rooms():
    """But for what tries the tests themselves, and all that they are about."""
    tests = ROOT / "tests"
    folders = {path.parent.relative_to(tests) for path in tests.glob("*/**/*.py")}
    folders.discard(Path("trust"))
    assert [f.as_posix() for f in sorted(folders) if not (ROOT / f).is_dir()] == []


def test_only_the_command_line_prints_and_parses():
    """What runs as a program by itself may print: its `__main__`, and programs within strings."""
    apart = {"gen/board/calibrate.py"}
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("sw/cli/") or name in apart:
            continue
        assert "argparse" not in imported(path), name
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not [c for c in calls if getattr(c.func, "id", "") == "print"], f"{name} prints"


# Tests


def test_no_test_imports_a_test():
    """What tests share stands in modules of its own; so, too, in programs within strings."""
    pattern = re.compile(r"(?:from|import) tests(?:\.\w+)*(?:\.| import )test_\w+")
    files = sorted((ROOT / "tests").glob("**/*.py"))
    found = [(p.name, m.group()) for p in files for m in pattern.finditer(p.read_text())]
    assert not found


def test_no_property_is_judged_by_the_clock():
    """`tests/conftest.py` says so for all; a property that says otherwise for itself is found."""
    assert settings.default is not None
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
    files = sorted((ROOT / "tests").glob("**/test_*.py"))
    assert [p.name for p in files if re.search(r"\bdeadline=(?:\d|timedelta)", p.read_text())] == []
