"""Addresses of boards, and what is behind them: files, simulations, serial ports."""

import os
import select
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gen.core.law import single_run
from gen.core.plan import PlanError, plan_programs
from gen.core.verilog import manifest
from hw.contract.checks import SternaError
from hw.contract.files import write_json
from hw.contract.network import Network, NetworkError
from sim.golden.model import GoldenModel
from sw.host.board import open_board
from sw.host.errors import ConnectionFailed, DamagedReply, LinkTimeout, UrlError
from sw.host.link import LinkBackend
from tests.sw.host.hosting import PLAN, board, facts, golden, images, line, twin

MODELS = Path(__file__).parents[3] / "sw/data/models"

__all__ = ["board", "images", "line", "twin"]  # fixtures


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mnist-dense", "Board must be golden:MODEL, sim:BOARD or serial:PORT, not 'mnist-dense'"),
        ("", "Board must be"),
        (None, "Board must be"),
        ("tcp:host", "Board must be"),
        ("golden:", "must name what it is"),
        ("golden:?lanes=4", "must name what it is"),
        ("golden:digits-dense?lanes", "must be NAME=VALUE"),
        (
            "golden:digits-dense?baud=9",
            r"must be of \['banks', 'lanes', 'plan', 'readout', 'samples'\]",
        ),
        ("golden:digits-dense?lanes=2&lanes=3", "each at most once"),
        ("golden:digits-dense?lanes=x", "Option lanes must be a positive number, not 'x'"),
        ("golden:digits-dense?lanes=0", "Option lanes must be a positive number, not '0'"),
        ("golden:digits-dense?lanes=-4", "Option lanes must be a positive number"),
        ("golden:digits-dense?plan=no&lanes=4", "plan and lanes or banks of golden: exclude each"),
        ("serial:/dev/x?baud=fast", "Option baud must be a positive number"),
        ("serial:/dev/x?lanes=4", r"must be of \['baud'\]"),
        ("sim:tiny?baud=4", r"must be of \['lanes', 'learn', 'model', 'readout', 'samples'\]"),
        ("sim:ulx3s_85f?lanes=8", "Options lanes, readout and samples of a simulated board go "),
        ("golden:digits-dense?readout=1", "must be 'only' or 'all', not '1'"),
        ("sim:ulx3s_85f?learn=digits&model=digits-dense", "exclude each other"),
        ("golden:digits-dense?samples=4", "does not learn, and has no use for samples"),
    ],
)
def test_addresses_that_name_no_board(url, words):
    with pytest.raises(UrlError, match=words):
        open_board(url)


def test_a_plan_that_was_written_is_counted_by(tmp_path):
    """Not the one that would be chosen now."""
    network = Network.load(MODELS / "digits-conv.npz")
    pixels = np.random.default_rng(1).integers(0, 16, 64).astype(np.uint8)
    spikes = [part[0] for part in GoldenModel(network).run(pixels[None]).spikes]
    counted = set()
    for name, changes in (("spikes", ()), ("changes", None)):
        plan = plan_programs(network, 16, (), changes)
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "core.json", manifest(plan, []))
        with open_board(f"golden:digits-conv?plan={tmp_path / name}") as board:
            board.classify(pixels[None])
            counters = board.counters()
        assert (counters.cycles, counters.events) == single_run(plan, pixels, spikes)
        counted.add(counters.events)
    assert len(counted) == 2
    with pytest.raises(PlanError, match="must hold a core or a board with its plan"):
        open_board(f"golden:digits-conv?plan={tmp_path}")


def test_other_arguments_of_open_board():
    arguments: dict[str, Any]
    for arguments, words in (
        ({"timeout": 0}, "Time-out must be a positive number of seconds, not 0"),
        ({"timeout": -1.0}, "Time-out"),
        ({"timeout": float("nan")}, "Time-out"),
        ({"retries": -1}, "Retries must be a number from 0 on, not -1"),
    ):
        with pytest.raises(UrlError, match=words):
            open_board("golden:digits-dense", **arguments)
    with pytest.raises(NetworkError, match="does not exist"):
        open_board("golden:no/such.npz")


def test_a_model_or_board_that_is_not_there():
    with pytest.raises(SternaError, match=r"Model must be one of .*digits-dense, .*not 'no'"):
        open_board("golden:no")
    with pytest.raises(SternaError, match=r"Board must be one of .*not 'no'"):
        open_board("sim:no")


def test_a_simulated_board_is_opened_and_closed(monkeypatch, line, images):
    class Boards:
        @staticmethod
        def simulate_board(plan, folder, stored):
            assert stored is None
            assert (plan.board.name, plan.core.network.spec.name) == ("icebreaker", "digits-dense")
            assert folder == Path("build/boards/icebreaker-digits-dense")
            return line

    line.baud = 1_000_000
    line.time = 0.0
    monkeypatch.setitem(sys.modules, "sim.board.around", Boards)
    with open_board("sim:icebreaker?model=digits-dense") as board:
        assert facts(board.infer(images[0])) == golden(images[0])
        assert not line.closed
    assert line.closed
    line.closed, line.damage_request = False, lambda data: b""
    with pytest.raises(LinkTimeout, match=r"within 0\.05 s"):
        open_board("sim:icebreaker?model=digits-dense")
    assert line.closed


# --- a real serial port


@pytest.fixture
def port(twin):
    """A pseudo-terminal with the twin at its other end, in real time; yields its path."""
    master, slave = os.openpty()
    stop, stopped = os.pipe()

    def serve():
        while True:
            ready, _, _ = select.select([master, stop], [], [], 0.005)
            if stop in ready:
                return
            if ready:
                twin.burst(os.read(master, 65536))
            else:
                twin.pause(5000)
            if twin.answer:
                os.write(master, bytes(twin.answer))
                twin.answer.clear()

    thread = threading.Thread(target=serve)
    thread.start()
    yield os.ttyname(slave)
    os.write(stopped, b"x")
    thread.join()
    for handle in (master, slave, stop, stopped):
        os.close(handle)


def test_serial_equals_golden(port, images, twin):
    with open_board(f"serial:{port}", timeout=2.0) as board:
        assert board.identify().digest == PLAN.network.digest
        for image in images:
            assert facts(board.infer(image)) == golden(image)
        with pytest.raises(ConnectionFailed, match="is in use by another program: end that first"):
            open_board(f"serial:{port}?baud=9600")  # nobody else meanwhile
        twin.wrong_tag = 1
        with pytest.raises(DamagedReply, match="another image"):
            board.infer(images[0])
        twin.wrong_tag = 0
        assert facts(board.infer(images[0])) == golden(images[0])
    with open_board(f"serial:{port}?baud=115200") as board:
        assert facts(board.infer(images[0])) == golden(images[0])


def test_serial_that_is_silent_noisy_or_pulled(port, twin, images, monkeypatch):
    with open_board(f"serial:{port}", timeout=0.05, retries=1) as board:
        monkeypatch.setattr(twin, "burst", lambda data: None)
        with pytest.raises(LinkTimeout, match=r"did not answer WRITE within 0\.05 s"):
            board.infer(images[0])
        monkeypatch.setattr(twin, "burst", lambda data: twin.answer.extend(b"noise"))
        with pytest.raises(DamagedReply):
            board.infer(images[0])


def test_a_port_that_is_pulled(images):
    master, slave = os.openpty()
    port = LinkBackend(_serial_port(os.ttyname(slave)), baud=1_000_000, timeout=0.05)
    os.close(slave)
    os.close(master)
    for call in (port.identify, port.reset, port.counters):
        with pytest.raises(ConnectionFailed, match="is lost"):
            call()
    port.close()


def _serial_port(path):
    from sw.host.serial_port import SerialPort

    return SerialPort(path, 1_000_000)


def test_a_missing_port_and_missing_pyserial(tmp_path, monkeypatch):
    with pytest.raises(ConnectionFailed, match=r"/dev/nothing cannot be opened.*No such file"):
        open_board("serial:/dev/nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectionFailed, match="cannot be opened at 1000000 baud: "):
        open_board(f"serial:{tmp_path / 'file'}")
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ConnectionFailed, match="needs the package pyserial") as caught:
        open_board("serial:/dev/nothing")
    assert "\n" not in str(caught.value)
