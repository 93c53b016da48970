"""The addresses of boards: what `open_board(url)` takes apart, and the back ends behind them.

A back end that needs more than `hw.contract` imports it when it is opened.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from hw.system.progress import Progress
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


def open_backend(
    url: str, timeout: float | None, retries: int, progress: Progress
) -> tuple[Backend, Clock]:
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
    return opener(name, _options(url, query, known), timeout, retries, progress)


def _open_golden(
    name: str, options: dict[str, str], timeout: float | None, retries: int, progress: Progress
) -> tuple[Backend, Clock]:
    lanes = _number(options, "lanes", 1) if "lanes" in options else None
    banks = _number(options, "banks", 1)

    from gen.core.plan import plan_network
    from gen.core.verilog import read_plan
    from gen.learn.stage import LEARNING_LANES, plan_learning
    from hw.contract.network import Network
    from sw.data.shipped import model_path
    from sw.host.golden import GoldenBackend, LearningGolden
    from sw.spide.start import PRESETS, beginning

    readout = _readout_only(options)
    network = None if name in PRESETS else Network.load(model_path(name))
    if network is None or network.spec.learning is not None or readout:
        if banks != 1:
            raise UrlError(f"Banks of a network that learns must be 1, not {banks}")
        masters = beginning(name, readout_only=readout)
        plan = plan_learning(masters, lanes or LEARNING_LANES)
        return LearningGolden(plan, _stored(masters, options)), time.monotonic
    if "samples" in options:
        raise UrlError(f"Network {network.spec.name} does not learn, and has no use for samples")
    if "plan" in options:
        if {"lanes", "banks"} & set(options):
            raise UrlError("Options plan and lanes or banks of golden: exclude each other")
        return GoldenBackend(read_plan(network, Path(options["plan"]))), time.monotonic
    return GoldenBackend(plan_network(network, lanes, banks)), time.monotonic


def _open_simulation(
    name: str, options: dict[str, str], timeout: float | None, retries: int, progress: Progress
) -> tuple[Backend, Clock]:
    from gen.board.boards import find_board
    from gen.board.planner import plan_board, plan_learning_board
    from hw.contract.network import Network
    from sim.board.around import simulate_board
    from sw.data.shipped import model_path
    from sw.spide.start import beginning

    board, samples = find_board(name, BUILD / name), None
    if "learn" in options:
        if "model" in options:
            raise UrlError("Options learn and model of a board exclude each other")
        model = options["learn"]
        masters = beginning(model, readout_only=_readout_only(options))
        samples = _stored(masters, options)
        plan = plan_learning_board(
            board,
            masters,
            lanes=_number(options, "lanes", 1) if "lanes" in options else None,
            samples=0 if samples is None else len(samples[1]),
        )
    elif {"lanes", "readout", "samples"} & set(options):
        raise UrlError("Options lanes, readout and samples of a simulated board go with learn")
    else:
        model = options.get("model", board.model)
        plan = plan_board(board, Network.load(model_path(model)))
    progress(
        f"building {board.name} with {Path(model).stem} for simulation: a minute or more at first"
    )
    simulation = simulate_board(
        plan, BUILD / "boards" / f"{board.name}-{Path(model).stem}", stored=samples
    )
    backend = LinkBackend(
        simulation, baud=simulation.baud, timeout=timeout or SIMULATION_TIMEOUT, retries=retries
    )
    return backend, lambda: simulation.time


def _open_serial(
    name: str, options: dict[str, str], timeout: float | None, retries: int, progress: Progress
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


def _readout_only(options: dict[str, str]) -> bool:
    """Whether a network's readout alone learns, be it one that does not learn itself."""
    chosen = options.get("readout", "all")
    if chosen not in ("all", "only"):
        raise UrlError(f"Readout that learns must be 'only' or 'all', not {chosen!r}")
    return chosen == "only"


def _stored(masters: Any, options: dict[str, str]) -> Any:
    """The labelled images that `samples` puts on the chip."""
    if "samples" not in options:
        return None
    from sw.spide.start import stored_samples

    return stored_samples(masters, options["samples"])


Opener = Callable[[str, dict[str, str], float | None, int, Progress], tuple[Backend, Clock]]
OPENERS: dict[str, tuple[Opener, set[str]]] = {
    "golden": (_open_golden, {"lanes", "banks", "plan", "readout", "samples"}),
    "sim": (_open_simulation, {"model", "learn", "lanes", "readout", "samples"}),
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
