"""The search: plan, train, plan again, choose the front, test and build it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gen.board.boards import find_board
from gen.core.plan import SCHEDULES
from gen.explore.points import front
from hw.contract.files import write_atomically, write_json
from hw.contract.network import Network
from hw.system.jobs import Jobs, Result, RunJobs, Shared
from hw.system.progress import Progress, silent
from sw.data.arrays import Dataset
from sw.explore import work
from sw.explore.data import Carried, carried, test_images
from sw.explore.space import FIGURES, ExploreError, Shape
from sw.spread.engine import Pool
from sw.spread.runner import Runner
from sw.spread.store import Store

__all__ = ["Search", "explore"]


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for, and where.

    Parameters
    ----------
    board
        By name or file.
    shapes, data
        Networks to train, and on what; or `network`, one as it is.
    epochs
        Of each training phase; None: the recipe's.
    seed
        Of training and routing.
    images
        Training examples; None: all.
    schedules
        Of `gen.core.plan.SCHEDULES`, those that are looked at.
    figures
        Of `FIGURES`, what points are compared by.
    build
        Points of the front that are routed.
    out
        Folder of results; what is done is kept there.
    workers, scheduler
        See `sw.spread.engine.spread`.
    """

    board: str
    out: Path
    shapes: Sequence[Shape] = ()
    data: Dataset | None = None
    network: Network | None = None
    epochs: int | None = None
    seed: int = 1
    images: int | None = None
    schedules: Sequence[str] = SCHEDULES
    figures: Sequence[str] = FIGURES[:4]
    build: int = 0
    workers: int | None = None
    scheduler: str | None = None


def explore(search: Search, progress: Progress = silent) -> dict[str, Any]:
    """Look through a space; writes `explore.json` and the front's networks into `search.out`, and
    returns what is in the former.

    Raises
    ------
    ExploreError
        When nothing fits the board.
    SpreadError, BoardError, DataError
        As of what it calls.
    """
    data = _data_of(search)
    shared = {"data": (data.digest, data)}
    with Pool(search.workers, search.scheduler) as pool:
        run = Runner(pool, Store(search.out / "store"), progress)
        facts = _explored(search, data, shared, run)
    write_json(search.out / "explore.json", facts)
    return facts


def _data_of(search: Search) -> Carried:
    """What the networks are trained and tested on."""
    if search.network is not None:
        return test_images(search.network)
    if search.data is None:
        raise ExploreError("Data must be given for networks that are to be trained")
    steps = tuple(sorted({shape.steps for shape in search.shapes}))
    return carried(search.data, steps, images=search.images)


def _explored(search: Search, data: Carried, shared: Shared, run: RunJobs) -> dict[str, Any]:
    board, planned = find_board(search.board), 0
    if search.network is None:
        networks, planned = _trained(search, data, shared, run)
    else:
        networks = {search.network.spec.name: {"network": work.as_text(search.network)}}
    calls = {
        name: {"network": made["network"], "board": search.board, "schedules": [*search.schedules]}
        for name, made in networks.items()
    }
    found = run(Jobs("networks planned", work.plan_network, calls))
    points = [
        {"network": name, **_accuracy(made), "nanojoules": result["nanojoules"], **point}
        for (name, made), result in zip(networks.items(), found, strict=True)
        for point in result["points"]
    ]
    if not points:
        raise ExploreError(f"No network fits {board.title}: take fewer neurons, or a larger board")
    best = [dict(point) for point in front(points, lambda p: _figures(p, search.figures))]
    _tested(search, best, networks, shared, run)
    for point, routed in _built(search, best, networks, shared, run):
        point["routed"] = routed
    return {
        "board": board.name,
        "networks": len(networks),
        "planned": planned + len(points),
        "figures": [*search.figures],
        "points": points,
        "front": best,
    }


def _tested(
    search: Search,
    best: Sequence[dict[str, Any]],
    networks: Mapping[str, Any],
    shared: Shared,
    run: RunJobs,
) -> None:
    """Write the networks of the front, and say of its points what the test images say."""
    names = dict.fromkeys(point["network"] for point in best)
    calls = {name: {"network": networks[name]["network"]} for name in names}
    found = run(Jobs("networks of the front tested", work.right_answers, calls, shared=shared))
    for name, right in zip(names, found, strict=True):
        path = search.out / "networks" / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, work.as_bytes(networks[name]["network"]))
        for point in best:
            if point["network"] == name:
                point["test"] = [right["hits"], right["n"]]
                point["command"] = command_of(point, path, search.board)


def _trained(
    search: Search, data: Carried, shared: Shared, run: RunJobs
) -> tuple[dict[str, Any], int]:
    """The networks of all shapes that have a layout, by name, and how many layouts were planned
    before any was trained."""
    for shape in search.shapes:
        work.recipe_of(shape, data)  # refuses what does not suit the data
    calls: dict[str, dict[str, Any]] = {s.name: {"shape": s.to_dict()} for s in search.shapes}
    more = {"board": search.board, "schedules": [*search.schedules]}
    on_board = {name: {**given, **more} for name, given in calls.items()}
    planned = run(Jobs("shapes planned", work.plan_shape, on_board, shared=shared))
    fitting = {
        name: {**given, "epochs": search.epochs, "seed": search.seed}
        for (name, given), found in zip(calls.items(), planned, strict=True)
        if found["points"]
    }
    trained = run(Jobs("shapes trained", work.tune, fitting, shared=shared))
    layouts = sum(len(found["points"]) for found in planned)
    return dict(zip(fitting, trained, strict=True)), layouts


def _accuracy(made: Mapping[str, Any]) -> dict[str, Any]:
    return {"held_out": [made["hits"], made["n"]]} if "n" in made else {}


def _figures(point: Mapping[str, Any], names: Sequence[str] = FIGURES[:2]) -> tuple[float, ...]:
    """Those that are named, each the better the larger: right answers, images a second; look-up
    tables, block RAMs and energy the fewer the better. Energy that is not known is the worst."""
    hits, n = point.get("held_out", (0, 1))
    energy = point["nanojoules"]
    values = {
        "accuracy": hits / n,
        "speed": point["images_per_second"],
        "luts": -point["luts"],
        "brams": -point["brams"],
        "energy": -math.inf if energy is None else -energy,
    }
    return tuple(values[name] for name in names)


def _built(
    search: Search,
    best: Sequence[dict[str, Any]],
    networks: Mapping[str, Any],
    shared: Shared,
    run: RunJobs,
) -> list[tuple[dict[str, Any], Result]]:
    """Of points spread evenly over the front, from the most accurate on: what routing says."""
    order = sorted(best, key=_figures, reverse=True)
    places = np.unique(np.linspace(0, len(order) - 1, min(search.build, len(order))).astype(int))
    chosen = [order[n] for n in places] if search.build else []
    calls = {
        f"{p['network']}, {p['told']}": {
            "network": networks[p["network"]]["network"],
            "board": search.board,
            "layout": p["layout"],
            "seed": search.seed,
        }
        for p in chosen
    }
    return list(
        zip(chosen, run(Jobs("points routed", work.build, calls, shared=shared)), strict=True)
    )


def command_of(point: Mapping[str, Any], path: Path, board: str) -> str:
    """What builds a point."""
    options = " ".join(f"--{name} {value}" for name, value in point["layout"].items())
    return f"sterna bitstream {path} --board {board} {options}"
