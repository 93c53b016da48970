"""The notebooks run as they stand, from the first cell to the last."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_there_are_two():
    assert [path.stem for path in NOTEBOOKS] == ["ask_a_board", "own_network"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook(path: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "jupyter", "execute", "--timeout=-1", "--startup_timeout=600"]
        + [f"--output={tmp_path / path.name}", str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / path.name).read_text())["cells"]
    told = json.dumps([cell["outputs"] for cell in cells if cell["cell_type"] == "code"])
    assert "image/png" in told
    assert '"output_type": "error"' not in told
    expected = {"own_network": "'mismatches': 0", "ask_a_board": "right: 11 of 12"}
    assert expected[path.stem] in told
