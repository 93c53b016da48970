"""The speed that no serial line could feed: images on the chip, played by
`hw.top.self_test.SelfTest`.

A run is right when the sum of every logit over all images is the golden model's and the cycles
that the board counted are those of the cycle law.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.board.files import REPEATS
from gen.board.planner import BoardPlan
from gen.core.law import LONG_AGO, CycleLaw
from gen.core.plan import CorePlan
from hw.contract.network import NetworkError
from hw.system.process import fills_folder
from hw.system.progress import Progress, silent, under_way
from hw.top.self_test import SelfTest
from sim.board.around import simulate_board
from sim.golden.model import GoldenModel
from sw.host.board import Board
from sw.host.link import LinkBackend
from sw.host.serial_port import SerialPort

__all__ = ["expected_run", "self_test"]

SLACK_SECONDS = 0.01
WATCHDOG_SECONDS = 3600.0
"""Wall-clock seconds that a simulated run may take."""


def expected_run(
    plan: CorePlan, images: npt.NDArray[np.uint8], repeats: int = REPEATS
) -> tuple[list[int], int]:
    """What a run of images or recordings (n, image_size) must give.

    Returns
    -------
    tuple
        The sum of each logit over all images and repeats, modulo its width; the cycles from the
        host's last word to the last sum.
    """
    trace = GoldenModel(plan.network).run(images)
    half = 1 << plan.network.layers[-1].logit_bits - 1
    sums = (trace.logits.astype(np.int64).sum(axis=0) * repeats + half) % (2 * half) - half
    law, done = CycleLaw(plan, LONG_AGO), 0  # it has waited for the host
    for _ in range(repeats):
        done = int(law.predict(images, trace.spikes)[-1])
    return sums.tolist(), done + SelfTest.LATENCY + 2 + plan.network.spec.classes - 1


@fills_folder
def self_test(
    plan: BoardPlan,
    images: npt.NDArray[np.uint8],
    folder: Path,
    *,
    port: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Let a board play its images and compare sums and cycles.

    Parameters
    ----------
    plan, images
        What the board was built of (`gen.board.build.build_board(..., stored=images)`).
    folder
        Where the simulated board is built.
    port
        Of a real board; by default it is simulated.

    Returns
    -------
    dict
        `images` played, `cycles`, `expected_cycles`, `sums`, `expected_sums`, `equal`;
        `cycles_per_image`, and `images_per_second` at the board's clock.

    Raises
    ------
    HostError, SimulationError
        When the board does not answer, or cannot be simulated.
    NetworkError
        When it has another network.
    """
    sums, cycles = expected_run(plan.core, images)
    seconds = cycles / plan.spec.clock_hz + SLACK_SECONDS
    if port is None:
        told = f"building the simulated board, then {cycles:,} cycles"
        with under_way(progress, "building the simulated board", line=told):
            line = simulate_board(plan, folder, stored=images, watchdog=WATCHDOG_SECONDS)
        transport, clock = line, lambda: line.time
    else:
        transport, clock = SerialPort(port, plan.spec.baud), time.monotonic
        seconds += 1.0
    backend = LinkBackend(transport, baud=plan.spec.baud, timeout=seconds)
    with Board(backend, clock) as board:
        identity = board.wait_ready()
        if identity.digest != plan.core.network.digest:
            raise NetworkError(
                f"The board has the network {identity.digest[:16]}, not "
                f"{plan.core.network.digest[:16]} of {plan.core.network.spec.name}"
            )
        with under_way(progress, f"playing the images: {cycles:,} cycles"):
            result = board.infer(np.zeros(identity.pixels, dtype=np.uint8))
    played = len(images) * REPEATS
    told = result.logits.tolist()
    return {
        "board": plan.board.name,
        "network": plan.core.network.spec.name,
        "digest": plan.core.network.digest,
        "lanes": plan.core.lanes,
        "banks": plan.core.banks,
        "clock_hz": plan.spec.clock_hz,
        "images": played,
        "distinct_images": len(images),
        "cycles": result.counters.cycles,
        "expected_cycles": cycles,
        "sums": told,
        "expected_sums": sums,
        "equal": told == sums and result.counters.cycles == cycles,
        "cycles_per_image": round(result.counters.cycles / played, 2),
        "images_per_second": round(plan.spec.clock_hz * played / result.counters.cycles),
    }
