"""The addresses of boards: what `open_board(url)` takes apart, and the back ends behind them.

A back end that needs more than `hw.contract` imports it when it is opened.
"""

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from sw.host.backend import Backend
from sw.host.errors import UrlError
from sw.host.link import LinkBackend

__all__ = ["BUILD", "Clock", "open_backend"]

BUILD = Path("build")
DEFAULT_BAUD = 1_000_000

SERIAL_TIMEOUT = 2.0
SIMULATION_TIMEOUT = 0.05
"""Simulated seconds: at 25 MHz over a million cycles."""

SERIAL_LATENCY = 0.05
"""Seconds; a USB adapter holds bytes back for up to 16 ms in either direction."""

Clock = Callable[[], float]
"""The seconds that a back end's time-outs count: of a simulation, simulated ones."""


def open_backend(url: str, timeout: float | None, retries: int) -> tuple[Backend, Clock]:
    """What is at an address, and its clock. Arguments and errors are those of
    `sw.host.board.open_board`; nothing has been asked yet."""
    scheme, colon, rest = url.partition(":") if isinstance(url, str) else ("", "", "")
    if not colon or scheme not in OPENERS:
        raise UrlError(f"Board must be golden:MODEL, sim:BOARD or serial:PORT, not {url!r}")
    if timeout is not None and not 0 < timeout < float("inf"):
        raise UrlError(f"Time-out must be a positive number of seconds, not {timeout!r}")
    if not isinstance(retries, int) or retries < 0:
        raise UrlError(f"Retries must be a number from 0 on, not {retries!r}")
    opener, known = OPENERS[scheme]
    name, _, query = rest.partition("?")
    if not name:
        raise UrlError(f"Board {url!r} must name what it is after the colon")
    return opener(name, _options(url, query, known), timeout, retries)


def _open_golden(
    name: str, options: dict[str, str], timeout: float | None, retries: int
) -> tuple[Backend, Clock]:
    lanes = _number(options, "lanes", 1) if "lanes" in options else None
    banks = _number(options, "banks", 1)

    from gen.core.plan import plan_network
    from gen.learn.stage import LEARNING_LANES, plan_learning
    from hw.contract.network import Network
    from hw.learn.masters import Masters, masters_path
    from sw.data.shipped import model_path
    from sw.host.golden import GoldenBackend, LearningGolden

    path = model_path(name)
    network = Network.load(path)
    if network.spec.learning is not None:
        if banks != 1:
            raise UrlError(f"Banks of a network that learns must be 1, not {banks}")
        beside = masters_path(path)
        masters = Masters.load(beside, network) if beside.exists() else Masters.of(network)
        plan = plan_learning(masters, lanes or LEARNING_LANES)
        return LearningGolden(plan), time.monotonic
    return GoldenBackend(plan_network(network, lanes, banks)), time.monotonic


def _open_simulation(
    name: str, options: dict[str, str], timeout: float | None, retries: int
) -> tuple[Backend, Clock]:
    from gen.board.boards import find_board
    from gen.board.planner import plan_board
    from hw.contract.network import Network
    from sim.board.around import simulate_board
    from sw.data.shipped import model_path

    board = find_board(name)
    model = options.get("model", board.model)
    plan = plan_board(board, Network.load(model_path(model)))
    simulation = simulate_board(plan, BUILD / "boards" / f"{name}-{Path(model).stem}")
    backend = LinkBackend(
        simulation, baud=simulation.baud, timeout=timeout or SIMULATION_TIMEOUT, retries=retries
    )
    return backend, lambda: simulation.time


def _open_serial(
    name: str, options: dict[str, str], timeout: float | None, retries: int
) -> tuple[Backend, Clock]:
    from sw.host.serial_port import SerialPort

    baud = _number(options, "baud", DEFAULT_BAUD)
    backend = LinkBackend(
        SerialPort(name, baud),
        baud=baud,
        timeout=timeout or SERIAL_TIMEOUT,
        retries=retries,
        latency=SERIAL_LATENCY,
    )
    return backend, time.monotonic


Opener = Callable[[str, dict[str, str], float | None, int], tuple[Backend, Clock]]
OPENERS: dict[str, tuple[Opener, set[str]]] = {
    "golden": (_open_golden, {"lanes", "banks"}),
    "sim": (_open_simulation, {"model"}),
    "serial": (_open_serial, {"baud"}),
}


def _options(url: str, query: str, known: set[str]) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, strict_parsing=True) if query else []
    except ValueError:
        raise UrlError(f"Options of board {url!r} must be NAME=VALUE, joined by &") from None
    options = dict(pairs)
    if len(options) < len(pairs) or not set(options) <= known:
        raise UrlError(f"Options of board {url!r} must be of {sorted(known)}, each at most once")
    return options


def _number(options: dict[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0):
        raise UrlError(f"Option {name} must be a positive number, not {text!r}")
    return int(text)
