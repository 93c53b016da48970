"""The wheel: built of what git tracks, installed into an environment of its own, and used in an
empty folder. No network: the packages that Sterna needs are those of the environment that runs the
tests, without its editable install."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("hw", "gen", "sim", "sw")
CORE = ("--lanes", "20", "--banks", "4")
"""One that tests/sim/bench/test_verilator.py compiles, too."""


def tracked() -> list[str]:
    """Files of the checkout: what git knows, and what is new and not ignored."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: building leaves files beside the sources, and uses those of before."""
    folder = tmp_path_factory.mktemp("source")
    for name in tracked():
        if not name.startswith(("tests/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    backend = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", backend, str(folder / "dist")]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    (built,) = (folder / "dist").glob("*.whl")
    return built


def test_it_holds_every_file_of_the_packages_and_nothing_else(wheel):
    """Whoever adds a file of another kind adds it to pyproject.toml's package-data, too."""
    ours = {n for n in tracked() if n.split("/")[0] in PACKAGES} | {"sterna.py"}
    assert {Path(name).suffix for name in ours} >= {".json", ".npz", ".py", ".v", ".vlt"}
    with zipfile.ZipFile(wheel) as file:
        found = {name for name in file.namelist() if ".dist-info/" not in name}
        assert found == ours
        assert all(file.read(name) == (ROOT / name).read_bytes() for name in ours)


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel, before all packages of the one that runs."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    asked = ["install", "--no-deps", "--no-index", "--no-compile", "--quiet", str(wheel)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, *asked], capture_output=True, check=True)
    places = sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")})
    (site,) = folder.glob("lib/python*/site-packages")
    # A line of a .pth file is a folder, whose own .pth files are not read.
    (site / "packages.pth").write_text("\n".join(places))
    return folder


def files(folder: Path) -> set[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in found if not name.endswith(".pyc")}


def test_everything_works_in_an_empty_folder(environment, tmp_path):
    """And leaves files nowhere but in it."""
    before = files(environment)
    here, home, temporary = (tmp_path / name for name in ("here", "home", "temporary"))
    for folder in (here, home, temporary):
        folder.mkdir()
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    variables = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": cache,  # where what the other tests compiled is found
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            arguments, cwd=here, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python, sterna = (str(environment / "bin" / name) for name in ("python", "sterna"))
    code = (
        "import hw, gen, sim, sw, sterna; print(*(m.__file__ for m in (hw, gen, sim, sw, sterna)))"
    )
    places = run(python, "-c", code).split()
    assert len(places) == 5
    assert all(Path(place).is_relative_to(environment) for place in places)
    assert run(sterna, "--version") == f"sterna {version('sterna')}\n"
    assert len(run(sterna, "models").splitlines()) == 24
    plan = json.loads(run(sterna, "plan", "--board", "icebreaker", "--json"))
    assert plan["network"] == "mnist-dense"
    assert not list(here.iterdir())
    told = run(sterna, "golden", "digits-dense", "--images", "20")
    assert told.startswith("digits-dense: 95.00 %")
    facts = json.loads(run(sterna, "sim", "digits-dense", "--images", "8", *CORE, "--json"))
    assert (facts["images"], facts["mismatches"], facts["cycle_law_violations"]) == (8, 0, 0)
    assert [path.name for path in here.iterdir()] == ["build"]
    assert (files(environment), files(home), files(temporary)) == (before, set(), set())
