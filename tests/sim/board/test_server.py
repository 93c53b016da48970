"""The simulated line: bytes over pins under Verilator, faults of the line, and no simulator left
behind however it ends."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hw.contract.checks import SpecError, SternaError
from sim.bench.verilator import SimulationError
from sim.board.simulation import BoardPins, BoardSimulation
from sw.host.errors import DamagedReply, LinkTimeout
from sw.host.link import LinkBackend
from tests.sim.board.echo import ECHO, PINS

BIT = 1000.0
"""Nanoseconds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Compiled once for all tests."""
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.v").write_text(ECHO)
    return folder


def simulation(folder, **options):
    return BoardSimulation(folder, ["echo.v"], PINS, **options)


@pytest.fixture(scope="module")
def shared(folder):
    with simulation(folder) as board:
        yield board


@pytest.fixture
def line(shared):
    shared.discard()
    shared.line_faults_before = shared.line_faults
    return shared


def group_of(board):
    """The process group of its simulator."""
    return board._process.pid


def wait_until_gone(group, seconds=20.0):
    """No process of the group is left; a zombie that init has to collect counts as gone."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        members = [
            stat
            for path in Path("/proc").glob("[0-9]*/stat")
            for stat in [_fields(path)]
            if stat and int(stat[2]) == group and stat[0] != "Z"
        ]
        if not members:
            return
        time.sleep(0.05)
    raise AssertionError("a simulator was left behind")


def _fields(path):
    """State, parent, group, ... of a process; None when it is gone."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return None


def test_every_byte_comes_back(line):
    data = bytes(range(256))
    line.write(data)
    assert line.read(256, 1e-3) == data
    assert line.line_faults == line.line_faults_before


def test_reads_in_pieces_and_discard(line):
    line.write(b"abcdef")
    assert line.read(2, 1e-3) == b"ab"
    assert line.read(0, 1e-3) == b""
    assert line.read(9, 1e-3) == b"cdef"
    line.write(b"xyz")
    line.discard()
    assert line.read(1, 1e-4) == b""


def test_time_is_simulated_time(line):
    line.read(1, 1e-4)
    before = line.time
    time.sleep(0.2)
    line.discard()
    assert line.time == before  # it stands still between requests
    line.read(1, 2.5e-3)
    assert line.time == pytest.approx(before + 2.5e-3, abs=1e-9)
    line.write(bytes(10))
    assert line.time == pytest.approx(before + 2.5e-3 + 101e-6, abs=1e-9)
    assert line.read(10, 1.0) == bytes(10)
    assert line.time == pytest.approx(before + 2.5e-3 + 101e-6, abs=2e-6)  # no waiting for nothing


def byte_levels(byte, bit=BIT, stop=1):
    return [(0, bit), *((byte >> n & 1, bit) for n in range(8)), (stop, bit)]


def test_levels_on_the_pin(line):
    line.drive([*byte_levels(0x5A), (1, 5 * BIT), *byte_levels(0xC3)])
    assert line.read(2, 1e-4) == b"\x5a\xc3"
    line.drive([*byte_levels(0x96, 0.97 * BIT), (1, BIT)])
    assert line.read(1, 1e-4) == b"\x96"
    assert line.line_faults == line.line_faults_before


def test_faults_of_the_line_are_seen(line):
    before = line.line_faults
    line.drive([(0, 0.3 * BIT), (1, 20 * BIT)])  # a glitch is no start bit
    assert line.read(1, 1e-4) == b""
    assert line.line_faults == before + 1
    line.drive([*byte_levels(0x55, stop=0), (0, 30 * BIT), (1, 2 * BIT), *byte_levels(0x17)])
    assert line.read(2, 1e-4) == b"\x17"
    assert line.line_faults == before + 2
    line.drive([*byte_levels(0x12, 1.2 * BIT), (1, 2 * BIT)])  # another baud rate
    assert line.read(1, 1e-4) != b"\x12"
    line.read(99, 1e-3)
    line.write(b"ok")
    assert line.read(2, 1e-4) == b"ok"


@pytest.mark.parametrize("levels", [[(2, 10)], [(0, 0)], [(1, -5.0)]])
def test_levels_that_cannot_be(line, levels):
    with pytest.raises(SpecError, match="Levels must be pairs"):
        line.drive(levels)


def test_a_host_is_not_fooled_by_an_echo(line):
    backend = LinkBackend(line, baud=line.baud, timeout=1e-3)
    with pytest.raises(DamagedReply, match="another kind"):
        backend.identify()


def test_time_outs_of_a_host(line):
    class Deaf:
        baud, read, discard, close = line.baud, line.read, line.discard, line.close

        def write(self, data):
            pass

    backend = LinkBackend(Deaf(), baud=line.baud, timeout=1e-3)
    before = line.time
    with pytest.raises(LinkTimeout, match=r"did not answer RESET within 0\.001 s"):
        backend.reset()
    assert 1e-3 < line.time - before - 4096e-6 < 3e-3


def test_closing_leaves_nothing(folder):
    board = simulation(folder)
    group = group_of(board)
    board.write(b"x")
    board.close()
    board.close()
    wait_until_gone(group)
    assert not board._run_folder.exists()
    for call in (lambda: board.read(1, 1e-3), board.discard, lambda: board.write(b"x")):
        with pytest.raises(SimulationError, match="is closed"):
            call()


def test_an_exception_leaves_nothing(folder):
    board = simulation(folder)
    group = group_of(board)
    with pytest.raises(ZeroDivisionError), board:
        board.write(bytes([1 // 0]))
    wait_until_gone(group)


def test_the_watchdog(folder):
    board = simulation(folder, watchdog=0.5)
    group = group_of(board)
    started = time.monotonic()
    with pytest.raises(SimulationError, match=r"did not answer within 0\.5 s: see ") as caught:
        board.read(1, 1000.0)  # simulated
    assert time.monotonic() - started < 30
    wait_until_gone(group)
    assert isinstance(caught.value, SternaError)
    assert Path(str(caught.value).rpartition("see ")[2]).is_dir()
    with pytest.raises(SimulationError, match="is closed"):
        board.read(1, 1e-3)
    board.close()


def test_a_simulator_that_dies(folder):
    board = simulation(folder)
    group = group_of(board)
    os.killpg(group, signal.SIGKILL)
    with pytest.raises(SimulationError, match="broke off: see "):
        board.read(1, 1e-3)
    wait_until_gone(group)
    board.close()


HOST = """
import sys
from pathlib import Path
from sim.board.simulation import BoardSimulation
from tests.sim.board.echo import PINS
board = BoardSimulation(Path(sys.argv[1]), ["echo.v"], PINS)
board.write(b"x")
print(board._process.pid, flush=True)
if sys.argv[2] == "busy":
    board.read(1, 0.0001)
    board.read(1, 1000.0)
sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_host_that_is_killed_leaves_nothing(folder, state):
    path = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(folder), state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as host:
        assert host.stdout is not None
        group = int(host.stdout.readline())
        time.sleep(0.2)
        host.kill()
    wait_until_gone(group)


def test_what_cannot_be_built(tmp_path):
    (tmp_path / "bad.v").write_text("module echo(input clk;\n")
    with pytest.raises(SimulationError, match="could not build echo"):
        BoardSimulation(tmp_path, ["bad.v"], PINS)
    assert not list(tmp_path.glob("run-*"))


def test_a_top_without_the_pin_does_not_start(shared, folder, monkeypatch):
    monkeypatch.setattr("sim.board.simulation.build", lambda folder, *_, **__: folder / "build")
    with pytest.raises(SimulationError, match="did not start: see "):
        BoardSimulation(folder, ["echo.v"], replace(PINS, rx="nothing"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clock_hz": 0}, "Clock must be"),
        ({"baud": 0}, "Baud rate must be"),
        ({"baud": 5_000_000}, "at most half of the clock"),
    ],
)
def test_pins_that_cannot_be(change, words):
    with pytest.raises(SpecError, match=words):
        BoardPins(**{"top": "x", "clock_hz": 8_000_000, "baud": 1_000_000, **change})
