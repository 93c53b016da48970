"""Folders are filled by one process at a time; programs get a built environment and end with us."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hw.system.process import (
    PARENT,
    FolderInUse,
    built_environment,
    claimed,
    clean_environment,
    end_with_parent,
    ends_with_us,
    fills_folder,
)

ROOT = Path(__file__).parents[3]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with a parent")


@contextmanager
def python(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python that has said a line, killed at the end."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


HOLD = """
import sys
from pathlib import Path
from hw.system.process import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_folder_is_filled_by_one_process(tmp_path: Path):
    folder = tmp_path / "new" / "folder"
    with python(HOLD, folder) as other:
        assert said(other) == "held"
        with (
            pytest.raises(FolderInUse, match=f"{folder} is being filled by another run"),
            claimed(folder),
        ):
            pass
        with claimed(tmp_path / "new"):  # not the folder above it
            pass
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        with claimed(folder):  # its claim ended with it
            pass
    assert list(folder.iterdir()) == []


def test_a_claim_leaves_no_folder_that_nothing_was_put_into(tmp_path: Path):
    with claimed(tmp_path / "a" / "b") as folder:
        assert folder == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []
    with claimed(tmp_path / "c" / "d") as folder:
        (folder.parent / "file").touch()
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["file"]


def test_a_claim_holds_again_within_itself_and_for_others(tmp_path: Path):
    @fills_folder
    def inner(folder: Path, text: str = "") -> str:
        return str(folder) + text

    @fills_folder
    def outer(folder: Path) -> str:
        return inner(folder, text="x")

    assert outer(tmp_path) == f"{tmp_path}x"
    with claimed(tmp_path):
        assert outer(folder=tmp_path) == f"{tmp_path}x"
        with python(HOLD, tmp_path) as other:
            assert said(other) == ""
            assert other.wait() == 1
    with python(HOLD, tmp_path) as other:
        assert said(other) == "held"


STARTS = """
import subprocess, sys
from hw.system.process import ends_with_us
child = subprocess.Popen(
    [sys.executable, "-c", "import sys; sys.stdin.read()"],
    stdin=subprocess.PIPE,
    preexec_fn=ends_with_us() if sys.argv[1] == "bound" else None,
)
print(child.pid, flush=True)
sys.stdin.read()
"""


def state(number: int) -> str:
    """Of a process; empty: there is none."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return ""


def ended(number: int) -> bool:
    """Wait until a process has ended; some minutes, if it does not."""
    for _ in range(10_000):
        if state(number) in ("", "Z", "X"):
            return True
        time.sleep(0.01)
    return False


@LINUX
def test_what_was_started_ends_when_its_parent_is_killed():
    with python(STARTS, "bound") as parent:
        child = int(said(parent))
        assert state(child) in "RSD"
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        assert ended(child)


WATCHES = f"""
import os, sys
from hw.system.process import end_with_parent
os.environ[{PARENT!r}] = sys.argv[1] if sys.argv[1:] else str(os.getppid())
end_with_parent()
print("lives", flush=True)
sys.stdin.read()
"""


@LINUX
def test_a_program_ends_itself_with_the_process_it_was_told():
    with python(WATCHES) as program:
        assert said(program) == "lives"
    with python(WATCHES, 1) as program:  # its parent is another, and so has gone
        assert said(program) == ""
        assert program.wait() == 1


def test_nothing_happens_without_a_parent_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(PARENT, raising=False)
    end_with_parent()
    monkeypatch.setattr(sys, "platform", "other")
    assert ends_with_us() is None


STRANGE = (
    "AMARANTH_USE_YOSYS",
    "COCOTB_TESTCASE",
    "COCOTB_TEST_FILTER",
    "COCOTB_USER_COVERAGE",
    "CXXFLAGS",
    "MAKEFILES",
    "MAKEFLAGS",
    "OBJCACHE",
    "OPT",
    "PYGPI_USERS",
    "PYTHONHOME",
    "PYTHONPATH",
    "STERNA_BENCH",
    "USER_CPPFLAGS",
    "VERILATOR_BIN",
    "VERILATOR_ROOT",
    "WAVES",
    "YOSYS",
)


def test_the_environment_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in STRANGE:
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "C")
    before = dict(os.environ)
    built = clean_environment(MORE="1")
    assert not set(STRANGE) & set(built)
    assert (built["HOME"], built["LC_ALL"], built["MORE"]) == (str(tmp_path), "C", "1")
    assert built["PATH"] == before["PATH"]
    with built_environment(PATH="/x"):
        assert os.environ["PATH"] == "/x"
        assert "OPT" not in os.environ
    assert dict(os.environ) == before


@pytest.mark.parametrize("home", ["/proc/none", "", "relative", "/dev/null"])
def test_a_home_that_cannot_be_written_gives_a_cache_of_our_own(
    home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os, "access", lambda place, mode: str(place) != "/proc")
    own = clean_environment()["XDG_CACHE_HOME"]
    assert Path(own).is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert clean_environment()["XDG_CACHE_HOME"] == str(tmp_path / "cache")


RUNS_A_TOOL = """
import sys
from pathlib import Path
from gen.family.tools import Tool, run
code = "import os, time; print(os.getpid(), os.environ.get('OPT'), flush=True); time.sleep(600)"
tool = Tool(name="tool", command=(sys.executable, "-c", code), version="1", origin="native")
run(tool, [], Path(sys.argv[1]), "log", lambda line: print(line, flush=True))
"""


@LINUX
def test_a_tool_ends_with_the_command_that_runs_it(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OPT", "none")
    with python(RUNS_A_TOOL, tmp_path) as command:
        child, option = said(command).split()
        assert option == "None"  # of a built environment
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
        assert ended(int(child))
