"""The fault campaign (`sw.verify.fault_campaign`) as jobs: each some of the frames, with a seed of
its own, on a board of its own. A worker compiles the board once."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.board.boards import find_board
from gen.board.planner import BoardPlan, place_core
from gen.core.plan import rebuild
from hw.contract.checks import SternaError
from hw.contract.files import write_json
from hw.contract.network import Network
from hw.system.jobs import Jobs, Result, RunJobs
from hw.system.process import fills_folder
from sim.board.around import simulate_board
from sw.verify.fault_campaign import REPORT, attack
from sw.verify.fault_trials import KINDS

__all__ = ["FRAMES", "attack_chunk", "campaign_spread", "merged"]

FRAMES = 6 * len(KINDS)
"""Of a job: each kind of damage as often as the others."""

NETWORK = "network.npz"


def attack_chunk(
    board: str,
    recipe: dict[str, Any],
    clock_hz: float,
    frames: int,
    seed: int,
    sent: dict[str, Any],
) -> Result:
    """A job: a campaign on a board that is built here.

    Parameters
    ----------
    board, recipe, clock_hz
        Name of the board; core and clock of its plan.
    sent
        `network` (the file), `images` (n, input_size).

    Raises
    ------
    SimulationError
        When the board cannot be built, or breaks off.
    """
    with TemporaryDirectory(prefix="sterna-faults-") as place:
        folder = Path(place)
        (folder / NETWORK).write_bytes(sent["network"])
        core = rebuild(Network.load(folder / NETWORK), recipe)
        plan = place_core(find_board(board), core, clock_hz)
        with simulate_board(plan, folder / "board") as line:
            return attack(line, plan, sent["images"], frames=frames, seed=seed)


@fills_folder
def campaign_spread(
    plan: BoardPlan,
    images: npt.NDArray[np.uint8],
    folder: Path,
    run: RunJobs,
    frames: int = 1000,
    seed: int = 1,
    chunk: int = FRAMES,
) -> dict[str, Any]:
    """A campaign of jobs of `chunk` frames; the report, as of
    `sw.verify.fault_campaign.campaign`, is written to REPORT in `folder`, too.

    Raises
    ------
    SternaError
        For fewer frames than one, or a core that learns, which one board must learn with.
    SimulationError, SpreadError
        As of the jobs.
    """
    if frames < 1 or chunk < 1:
        raise SternaError(f"Frames must be a positive number, not {min(frames, chunk)}")
    if plan.core.stages[0].port_facts() is not None:
        raise SternaError("A board that learns is attacked by one process: leave out --workers")
    file = plan.core.network.save(folder / NETWORK)
    sent = {"network": file.read_bytes(), "images": images}
    sha = hashlib.sha256(plan.core.network.digest.encode() + np.ascontiguousarray(images).tobytes())
    common = {
        "board": plan.board.name,
        "recipe": json.loads(json.dumps(plan.core.recipe())),
        "clock_hz": plan.spec.clock_hz,
    }
    calls = {}
    for n, start in enumerate(range(0, frames, chunk)):
        own = int.from_bytes(hashlib.sha256(f"{seed} {n}".encode()).digest()[:6], "big")
        some = min(chunk, frames - start)
        calls[f"frames {start + 1} to {start + some}"] = {"frames": some, "seed": own, **common}
    found = run(
        Jobs("parts of the campaign", attack_chunk, calls, shared={"sent": (sha.hexdigest(), sent)})
    )
    report = merged(found) | {"seed": seed, "jobs": len(found)}
    write_json(folder / REPORT, report)
    return report


def merged(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One report of several on the same board: counts are added up."""
    return {key: _sum([report[key] for report in reports]) for key in reports[0]}


def _sum(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: _sum([value[key] for value in values if key in value]) for key in keys}
    if isinstance(first, list):
        if all(isinstance(one, int) for value in values for one in value) and first:
            return [sum(column) for column in zip(*values, strict=True)]
        return [one for value in values for one in value]
    if isinstance(first, str):
        (same,) = Counter(values)
        return same
    return round(sum(values), 1) if isinstance(first, float) else sum(values)
