"""sterna.py: files that have the names of its packages are told of, and never run."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = """
import sys
sys.path.append(sys.argv[1])
import sterna
try:
    sterna.Network
except ImportError as error:
    print(error)
"""


def python(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """What Python, which finds the checkout after `folder`, does there."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def put(file: Path) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("print('it is run')\n")
    return file


@pytest.mark.parametrize("name", ["sim.py", "gen/__init__.py", "hw.py", "sw.py"])
def test_a_file_in_the_way_is_named(tmp_path, name):
    file = put(tmp_path / name)
    sentence = (
        f"Package {name[:3].strip('./')} must be the one beside {ROOT / 'sterna.py'}, not {file}: "
        "rename that, or take its folder from Python's path\n"
    )
    assert python(tmp_path, "-m", "sterna", "boards") == (1, "", f"sterna: {sentence}")
    assert python(tmp_path, "-c", LIBRARY, str(ROOT)) == (0, sentence, "")


def test_one_that_was_imported_before_is_named(tmp_path):
    put(tmp_path / "hw.py")
    code = f"import hw\nsys = __import__('sys')\nsys.path.pop(0){LIBRARY}"
    code, out, err = python(tmp_path, "-c", code, str(ROOT))
    assert (code, err) == (0, "")
    assert out.startswith("it is run\nPackage hw must be the one beside ")
    assert f"not {tmp_path / 'hw.py'}: " in out


def test_what_is_not_in_the_way_is_no_fault(tmp_path):
    """A folder that is no package, and one that comes later."""
    (tmp_path / "gen").mkdir()
    (tmp_path / "gen" / "boards.txt").touch()
    put(tmp_path / "later" / "sim.py")
    code = "import sys; sys.path.append('later'); import sterna; print(sterna.Network.__name__)"
    assert python(tmp_path, "-c", code) == (0, "Network\n", "")
    assert python(tmp_path, "-m", "sterna", "boards")[0] == 0
