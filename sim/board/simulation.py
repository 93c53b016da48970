"""A simulated board as a byte transport: builds its Verilog, runs it in a process of its own.

`BoardSimulation` is the host's side; `sim.board.server` moves the pins inside the simulator. Run
as a program, this module is what starts the simulator, and what ends it when the host has gone.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from hw.contract.checks import SpecError
from hw.system.process import clean_environment
from sim.bench.verilator import SimulationError, build, run_bench, toolchain

__all__ = ["WATCHDOG", "BoardPins", "BoardSimulation"]

PICOSECONDS = 10**12
GRACE, BRIEFLY = 10.0, 1.0
"""Wall-clock seconds that a simulator has to end by itself: at rest, and when it may be busy."""

WATCHDOG = 300.0
"""Wall-clock seconds for an answer of the simulator."""

START = 120.0
"""Wall-clock seconds that it has to start."""


@dataclass(frozen=True, kw_only=True)
class BoardPins:
    """The top of a board as simulated.

    Parameters
    ----------
    top
        Its module; all inputs besides clock and RX are connected inside it.
    clock, rx, tx
        Names of its ports; RX is what the board receives.
    clock_hz, baud
        Of the clock that is driven, and of the line.
    """

    top: str
    clock: str = "clk"
    rx: str = "rx"
    tx: str = "tx"
    clock_hz: int
    baud: int

    def __post_init__(self) -> None:
        if not 1 <= self.clock_hz <= 10**9:
            raise SpecError(f"Clock must be 1 Hz to 1 GHz, not {self.clock_hz!r}")
        if not 1 <= self.baud <= self.clock_hz // 2:
            raise SpecError(
                f"Baud rate must be positive and at most half of the clock, not {self.baud!r}"
            )

    def line(self) -> dict[str, Any]:
        """Fields of `sim.board.server.Line`."""
        half_period = round(PICOSECONDS / 2 / self.clock_hz)
        return {
            "clock": self.clock,
            "rx": self.rx,
            "tx": self.tx,
            "clock_period": 2 * half_period,
            "bit_time": round(PICOSECONDS / self.baud),
        }


class BoardSimulation:
    """A board under Verilator; a transport for `sw.host.link.LinkBackend`, and a context
    manager.

    Time-outs and `time` are simulated seconds, and time passes only in `write`, `read` and
    `drive`. However it ends, no simulator is left behind: it ends with `close`, and with the
    process that opened it.

    Parameters
    ----------
    folder
        With the Verilog, and the ROM files where it looks for them; the build stays there.
    sources
        Names of the Verilog files in it.
    pins
        The top.
    watchdog
        Wall-clock seconds after which a request that has no answer is given up.
    quick
        As for `sim.bench.verilator.build`.

    Raises
    ------
    SimulationError
        When it cannot be built or started; later, by every method, when the simulator breaks off,
        does not answer, or is closed.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[str],
        pins: BoardPins,
        *,
        watchdog: float = WATCHDOG,
        quick: bool = False,
    ) -> None:
        self.baud = pins.baud
        self.time = 0.0
        self.line_faults = 0  # on TX: start bits too short, stop bits missing
        self._watchdog = watchdog
        self._bit_time = pins.line()["bit_time"]
        folder = folder.resolve()
        with toolchain():
            ports = (pins.clock, pins.rx, pins.tx)
            build_folder = build(folder, pins.top, sources, ports=ports, quick=quick)
        self._run_folder = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
        self._connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start(build_folder, pins)
        except BaseException:
            self._end(BRIEFLY, keep_logs=True)
            raise

    def __enter__(self) -> "BoardSimulation":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Drive bytes onto RX; returns when the last stop bit is over."""
        self._ask("write", bytes(data))

    def read(self, count: int, timeout: float) -> bytes:
        """The next `count` bytes from TX; fewer when `timeout` simulated seconds are over."""
        return self._ask("read", count, round(timeout * PICOSECONDS))

    def discard(self) -> None:
        """Throw away the bytes that came."""
        self._ask("discard")

    def drive(self, levels: Sequence[tuple[int, float]]) -> None:
        """Drive RX with (level, nanoseconds), one after the other, then leave it at rest."""
        steps = [(int(level), round(duration * 1000)) for level, duration in levels]
        if any(level not in (0, 1) or duration < 1 for level, duration in steps):
            raise SpecError("Levels must be pairs (0 or 1, a positive number of nanoseconds)")
        self._ask("drive", steps)

    def close(self) -> None:
        """End the simulator; logs are kept only when it broke off. Again is harmless."""
        if self._process is not None:
            self._end(GRACE, keep_logs=False)

    def _start(self, build_folder: Path, pins: BoardPins) -> None:
        # Not in the build folder: the path of a socket may have no more than some 100 letters.
        with (
            tempfile.TemporaryDirectory(prefix="sterna-") as private,
            socket.socket(socket.AF_UNIX) as listener,
        ):
            address = str(Path(private) / "board")
            listener.bind(address)
            listener.listen(1)
            job = {"socket": address, "line": pins.line()}
            (self._run_folder / "job.json").write_text(json.dumps(job))
            self._process = _launch(build_folder, pins.top, self._run_folder)
            self._connection = self._accept(listener, self._process)

    def _accept(self, listener: socket.socket, process: subprocess.Popen[bytes]) -> Connection:
        listener.settimeout(0.1)
        end = time.monotonic() + START
        while time.monotonic() < end and process.poll() is None:
            try:
                accepted, _ = listener.accept()
            except TimeoutError:
                continue
            accepted.settimeout(None)
            return Connection(accepted.detach())
        raise SimulationError(f"The board's simulation did not start: see {self._run_folder}")

    def _ask(self, *request: Any) -> Any:
        if self._connection is None:
            raise SimulationError("The board's simulation is closed")
        what = "broke off"
        try:
            self._connection.send(request)
            if self._connection.poll(self._watchdog):
                answer, picoseconds, self.line_faults = self._connection.recv()
                self.time = picoseconds / PICOSECONDS
                return answer
            what = f"did not answer within {self._watchdog:g} s"
        except (EOFError, ConnectionError):
            pass
        except BaseException:  # interrupted: the answer to this request must not meet the next one
            self._end(BRIEFLY, keep_logs=False)
            raise
        self._end(BRIEFLY, keep_logs=True)
        raise SimulationError(f"The board's simulation {what}: see {self._run_folder}")

    def _end(self, grace: float, *, keep_logs: bool) -> None:
        """Close the socket, upon which the simulator ends; if it does not, kill it."""
        connection, self._connection = self._connection, None
        process, self._process = self._process, None
        if connection is not None:
            connection.close()
        if process is not None:
            assert process.stdin is not None
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            finally:
                process.stdin.close()
        if not keep_logs:
            shutil.rmtree(self._run_folder, ignore_errors=True)


def _launch(build_folder: Path, top: str, run_folder: Path) -> subprocess.Popen[bytes]:
    """Start this module as a program, in a process group of its own."""
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
    with open(run_folder / "process.log", "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sim.board.simulation", str(build_folder), top, str(run_folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=clean_environment(PYTHONPATH=path),
        )


def _end_with_the_host() -> None:
    """Kill this process group some time after standard input has closed: the host has gone, and
    its socket with it, so that a simulator that is left then hangs."""
    while os.read(0, 1):
        pass
    time.sleep(BRIEFLY)
    os.killpg(0, signal.SIGKILL)


def main(build_folder: str, top: str, run_folder: str) -> None:
    """Run the simulator to its end."""
    threading.Thread(target=_end_with_the_host, daemon=True).start()
    with toolchain():
        run_bench(
            Path(build_folder),
            top,
            "sim.board.server",
            Path(run_folder),
            variables={"STERNA_BENCH": run_folder},
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
