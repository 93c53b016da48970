"""A netlist placed and routed with several seeds at once: a job for each."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gen.board.bitstream import (
    SPARE_SEEDS,
    PlacementError,
    Routed,
    margin_of,
    placed_with,
    route_once,
)
from gen.board.boards import Board, constraints
from gen.family.base import Flow
from gen.family.tools import ToolError, find
from hw.contract.files import write_atomically
from hw.system.jobs import Jobs, Result, RunJobs
from hw.system.progress import Progress, silent, under_way

__all__ = ["Design", "route_seed", "route_seeds"]

LOG, NETLIST = "nextpnr.log", "netlist.json"


@dataclass(frozen=True, kw_only=True)
class Design:
    """What all jobs have in common.

    Parameters
    ----------
    board, flow
        Name of the board; how its family is built.
    arguments
        Of nextpnr, beside those of the flow.
    files
        What it reads, by name.
    """

    board: str
    flow: Flow
    arguments: tuple[str, ...]
    files: Mapping[str, bytes]


def route_seed(seed: int, megahertz: float, tool: str, design: Design) -> Result:
    """A job: place and route with a seed; nextpnr's facts, log and the routed design, or why there
    is none.

    Raises
    ------
    ToolError
        When there is no such nextpnr here.
    """
    flow = design.flow
    mine = str(find(flow.router))
    if mine != tool:
        raise ToolError(f"A worker must have {tool}, not {mine}")
    with TemporaryDirectory(prefix="sterna-seed-") as place:
        folder = Path(place)
        for name, data in design.files.items():
            (folder / name).write_bytes(data)
        found: Result = {"facts": None, "refused": "", "placed": True}
        try:
            with under_way(silent, "") as at:
                found["facts"] = route_once(
                    design.board, flow, folder, design.arguments, megahertz, seed, silent, at
                )
            found["routed"] = (folder / f"new_{flow.routed}").read_bytes()
        except PlacementError as error:
            found |= {"refused": str(error), "placed": False}
        except ToolError as error:
            found["refused"] = str(error).replace(f"{folder}/", "")
        log = folder / LOG
        return found | {"log": log.read_bytes() if log.is_file() else b""}


def route_seeds(
    board: Board,
    flow: Flow,
    folder: Path,
    megahertz: float,
    seeds: range,
    luts: int,
    progress: Progress,
    *,
    run: RunJobs,
) -> Routed:
    """Route with all seeds, each a job, and leave the best in `flow.routed`
    (`gen.board.bitstream.RouteSeeds`). Where the placer finds no place with any of them, as many
    others are tried, once.

    Raises
    ------
    ToolError
        When nextpnr refuses the design, or finds no place with any seed.
    """
    arguments = tuple(placed_with(board, flow, folder))
    names = (NETLIST, constraints(board)[0])
    files = {name: (folder / name).read_bytes() for name in names}
    design = Design(board=board.name, flow=flow, arguments=arguments, files=files)
    sha = hashlib.sha256(repr((board.name, arguments, flow.router, flow.rip_up)).encode())
    sha.update(repr(flow.router_flags).encode())
    for data in files.values():
        sha.update(hashlib.sha256(data).digest())
    tool = str(find(flow.router))

    def tried(some: Iterable[int]) -> dict[int, Result]:
        calls = {f"seed {n}": {"seed": n, "megahertz": megahertz, "tool": tool} for n in some}
        found = run(
            Jobs("seeds routed", route_seed, calls, shared={"design": (sha.hexdigest(), design)})
        )
        return dict(zip(some, found, strict=True))

    found = tried(seeds)
    if not any(result["placed"] for result in found.values()):
        progress("  found no place for every cell: trying other seeds")
        found = tried(range(seeds.stop, seeds.stop + SPARE_SEEDS))
    for result in found.values():
        if result["placed"] and result["refused"]:
            write_atomically(folder / LOG, result["log"])
            raise ToolError(result["refused"].replace(LOG, str(folder / LOG)))
    placed = {seed: result["facts"] for seed, result in found.items() if result["placed"]}
    if not placed:
        raise PlacementError(next(iter(found.values()))["refused"])
    best = max(placed, key=lambda seed: margin_of(placed[seed], megahertz))
    write_atomically(folder / LOG, found[best]["log"])
    write_atomically(folder / flow.routed, found[best]["routed"])
    return placed[best], best, placed
