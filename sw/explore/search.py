"""The search: plan, train, plan again, choose the front, test and build it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gen.board.boards import find_board
from gen.explore.points import front
from hw.contract.files import write_atomically, write_json
from hw.contract.network import Network
from hw.system.progress import Progress, silent
from sw.data.arrays import Dataset
from sw.explore import work
from sw.explore.space import ExploreError, Shape
from sw.spread.engine import Pool, spread
from sw.spread.store import Job, Result, Store

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
    shared = {} if search.data is None else {"data": search.data}
    with Pool(search.workers, search.scheduler, shared) as pool:
        facts = _explored(search, _Runner(search, pool, progress))
    write_json(search.out / "explore.json", facts)
    return facts


class _Runner:
    """Runs one step's jobs after the other."""

    def __init__(self, search: Search, pool: Pool, progress: Progress) -> None:
        self._store, self._pool, self._progress = Store(search.out / "store"), pool, progress
        self._data = {} if search.data is None else {"data": _digest(search.data)}

    def __call__(
        self, what: str, function: Any, calls: Mapping[str, Mapping[str, Any]], *, data: bool
    ) -> list[Result]:
        """Call a function with each of these arguments; they are by name, and with `data` they get
        the data set."""
        shared = self._data if data else {}
        jobs = [
            Job(name=name, function=function, arguments=arguments, shared=shared)
            for name, arguments in calls.items()
        ]
        return spread(jobs, self._store, self._pool, what=what, progress=self._progress)


def _explored(search: Search, run: _Runner) -> dict[str, Any]:
    board, planned = find_board(search.board), 0
    if search.network is None:
        networks, planned = _trained(search, run)
    else:
        networks = {search.network.spec.name: {"network": work.as_text(search.network)}}
    calls = {
        name: {"network": made["network"], "board": search.board} for name, made in networks.items()
    }
    points = [
        {"network": name, **_accuracy(made), **point}
        for (name, made), result in zip(
            networks.items(), run("networks planned", work.plan_network, calls, data=False),
            strict=True,
        )
        for point in result["points"]
    ]  # fmt: skip
    if not points:
        raise ExploreError(f"No network fits {board.title}: take fewer neurons, or a larger board")
    best = [dict(point) for point in front(points, _figures)]
    _tested(search, best, networks, run)
    for point, routed in _built(search, best, networks, run):
        point["routed"] = routed
    return {
        "board": board.name,
        "networks": len(networks),
        "planned": planned + len(points),
        "points": points,
        "front": best,
    }


def _tested(
    search: Search, best: Sequence[dict[str, Any]], networks: Mapping[str, Any], run: _Runner
) -> None:
    """Write the networks of the front, and say of its points what the test images say."""
    names = dict.fromkeys(point["network"] for point in best)
    calls = {name: {"network": networks[name]["network"]} for name in names}
    found = run("networks of the front tested", work.right_answers, calls, data=True)
    for name, right in zip(names, found, strict=True):
        path = search.out / "networks" / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, work.as_bytes(networks[name]["network"]))
        for point in best:
            if point["network"] == name:
                point["test"] = [right["hits"], right["n"]]
                point["command"] = command_of(point, path, search.board)


def _trained(search: Search, run: _Runner) -> tuple[dict[str, Any], int]:
    """The networks of all shapes that have a layout, by name, and how many layouts were planned
    before any was trained."""
    calls: dict[str, dict[str, Any]] = {s.name: {"shape": s.to_dict()} for s in search.shapes}
    on_board = {name: {**given, "board": search.board} for name, given in calls.items()}
    planned = run("shapes planned", work.plan_shape, on_board, data=True)
    fitting = {
        name: {**given, "epochs": search.epochs, "seed": search.seed}
        for (name, given), found in zip(calls.items(), planned, strict=True)
        if found["points"]
    }
    trained = run("shapes trained", work.tune, fitting, data=True)
    layouts = sum(len(found["points"]) for found in planned)
    return dict(zip(fitting, trained, strict=True)), layouts


def _accuracy(made: Mapping[str, Any]) -> dict[str, Any]:
    return {"held_out": [made["hits"], made["n"]]} if "n" in made else {}


def _figures(point: Mapping[str, Any]) -> tuple[float, ...]:
    """Right answers, images a second; look-up tables and block RAMs, the fewer the better."""
    hits, n = point.get("held_out", (0, 1))
    return hits / n, point["images_per_second"], -point["luts"], -point["brams"]


def _built(
    search: Search, best: Sequence[dict[str, Any]], networks: Mapping[str, Any], run: _Runner
) -> list[tuple[dict[str, Any], Result]]:
    """Of points spread evenly over the front, from the most accurate on: what routing says."""
    order = sorted(best, key=lambda p: (-_figures(p)[0], -p["images_per_second"]))
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
    return list(zip(chosen, run("points routed", work.build, calls, data=False), strict=True))


def command_of(point: Mapping[str, Any], path: Path, board: str) -> str:
    """What builds a point."""
    options = " ".join(f"--{name} {value}" for name, value in point["layout"].items())
    return f"sterna bitstream {path} --board {board} {options}"


def _digest(data: Dataset) -> str:
    """Of the training part and the test part."""
    sha = hashlib.sha256(f"{data.name} {getattr(data, 'axes', '')}".encode())
    for array in (data.x, data.y, data.x_test, data.y_test):
        sha.update(f"{array.shape} {array.dtype}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
