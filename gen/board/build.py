"""A network on a board, from plan to flashable file: what `make bitstream` and `sterna reload` do.

A board whose weights come with the bitstream is synthesised with random placeholders; the real
weights are put in afterwards (gen/family/rom_swap.py), so that new weights of the same shape need
neither synthesis nor routing. Boards that load their weights have them in a flash image of their
own, and Gowin's tools know no swap: there the real weights are synthesised.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gen.board.bitstream import REPORT, SEEDS, build_bitstream, find_tools, pack
from gen.board.boards import find_board
from gen.board.files import BOARD_TOP, StoredImages, built_images, generate_board
from gen.board.planner import BoardPlan, place_core
from gen.board.probe import try_board
from gen.board.seeds import route_seeds
from gen.core.plan import rebuild
from gen.family.registry import FAMILIES
from gen.family.rom_swap import ReloadError
from hw.contract.files import read_json, write_atomically, write_json
from hw.contract.network import Network
from hw.system.jobs import RunJobs
from hw.system.process import fills_folder
from hw.system.progress import Progress, announced, silent, under_way

__all__ = ["FINISHED", "NETWORK", "SYNTHESIS", "build_board", "reload_board"]

NETWORK = "network.npz"
"""The network of a bitstream, beside it."""

FINISHED = (
    REPORT,
    *sorted({f"{BOARD_TOP}.{family.flow.bitstream}" for family in FAMILIES.values()}),
)
"""Of a build, what is there only when all went well."""

PINS = "pins"
"""Folder in which a described board is tried."""

SYNTHESIS = "synthesis"
"""Folder of the design with placeholders, and of what the tools make of it."""

BUILT = {"board": str, "network": str, "reloadable": bool, "roms": [str]}
AS_BUILT = {
    "spec": {"layers": [dict]},
    "plan": {"recipe": {"floors": [[int]]}},
    "clock_hz": int,
    "test_images": ([int], None),
    "hardware": str,
}
SYNTHESISED = {"bitstream": str, "resources": {str: [int]}, "cells": {str: int}}
"""What a reload wants to know of `board.json`, at first and of what can be reloaded, and of the
report on the synthesis."""

FREE = ("name", "encoding", "learning")
"""What of a specification changes no hardware of a core that does not learn."""

BOUNDS = ("sums of weights", "drives", "biases")
"""`Layer.bounds`, for people."""


@fills_folder
def build_board(
    plan: BoardPlan,
    folder: Path,
    *,
    seed: int = 1,
    seeds: int = SEEDS,
    stored: StoredImages | None = None,
    run: RunJobs | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Build the bitstream of a planned board in `folder`; `report.json` and the bitstream are
    there only when all went well. `stored`: what is put on the chip. A described board's pins are
    tried on the tools first (`gen.board.probe`). `run`: who routes with all seeds, each a job;
    None: one after the other, until one meets the clock.

    Returns
    -------
    dict
        The report of `gen.board.bitstream.build_bitstream`, with what was planned, the network's
        digest, and the contents swapped and compared.

    Raises
    ------
    TimingError, ToolError, ReloadError
        See `gen.board.bitstream`, `gen.family.rom_swap`.
    BoardError
        When a board is not as it is described.
    """
    board = plan.board
    find_tools(board.family.flow)
    for name in FINISHED:
        (folder / name).unlink(missing_ok=True)
    if board.described:
        try_board(
            board,
            plan.spec.pll,
            folder / PINS,
            megahertz=plan.spec.clock_hz / 1e6,
            progress=progress,
        )
    with under_way(progress, "generating the Verilog"):
        facts = generate_board(plan.core, plan.spec, board, folder, stored)
    work = folder / SYNTHESIS
    swapped = facts["placeholders"] if board.family.swap is not None else ()
    for name in facts["sources"]:
        _copy(folder / name, work / name)
    for name in facts["roms"]:
        _copy(folder / ("placeholder" if name in swapped else "") / name, work / name)
    report = build_bitstream(
        board,
        work,
        BOARD_TOP,
        facts["sources"],
        megahertz=plan.spec.clock_hz / 1e6,
        seed=seed,
        seeds=seeds,
        luts=plan.estimate.luts,
        finish=plan.finished,
        route=None if run is None else partial(route_seeds, run=run),
        progress=progress,
    )
    report = _finish(plan, facts, folder, folder, report, progress)
    write_json(folder / REPORT, report)
    return report


@fills_folder
def reload_board(network: Network, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Put the weights of `network` into the bitstream that lies in `folder`, without synthesis;
    test images on the chip stay. All is made before the first file there is touched, and there is
    no report until all are in place.

    Raises
    ------
    ReloadError
        When there is no bitstream, its core learns, it is for a network of another specification,
        its hardware is too narrow for these weights, or its files are not those of its report.
    """
    built = _read(folder / "board.json", BUILT)
    report = _read(folder / SYNTHESIS / REPORT, SYNTHESISED)
    board = find_board(built["board"], folder)
    if not built["reloadable"]:
        raise ReloadError(
            f"Weights of {built['network']} cannot be reloaded: its core learns, and has memories "
            "of its own for them; build the bitstream anew"
        )
    if board.family.swap is None and built["roms"]:
        raise ReloadError(
            f"Weights of {board.name} cannot be reloaded: its tools cannot change block RAM; "
            "build the bitstream anew"
        )
    built = _read(folder / "board.json", BUILT | AS_BUILT)
    _require_shape(network, built["spec"])
    _require_width(network, built["plan"]["recipe"]["floors"])
    with_new = folder.with_name(folder.name + ".reload")
    shutil.rmtree(with_new, ignore_errors=True)
    try:
        plan, facts = _with(network, built, folder, with_new)
        if facts["hardware"] != built["hardware"]:
            raise _other_hardware(built, folder, with_new)
        report = _finish(plan, facts, with_new, folder, report, progress)
        (folder / REPORT).unlink(missing_ok=True)
        for name in (*facts["files"], "board.json", NETWORK, Path(report["bitstream"]).name):
            os.replace(with_new / name, folder / name)
    finally:
        shutil.rmtree(with_new, ignore_errors=True)
    write_json(folder / REPORT, report)
    return report


def _finish(
    plan: BoardPlan,
    facts: dict[str, Any],
    made: Path,
    folder: Path,
    report: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Real contents, which lie in `made`, into the design routed in `folder`, if it has
    placeholders; the bitstream into `made`, too. Returns the report, of all in `folder`."""
    board, work = plan.board, folder / SYNTHESIS
    plan.core.network.save(made / NETWORK)
    ending = Path(report["bitstream"]).suffix
    bitstream = made / f"{BOARD_TOP}{ending}"
    swap, routed = board.family.swap, board.family.flow.routed
    if facts["placeholders"] and swap is not None:
        names = facts["placeholders"]
        pairs = [(folder / "placeholder" / name, made / name) for name in names]
        with announced(progress, f"putting the weights into {len(names)} memories"):
            report["swap"] = swap(work / routed, work / f"loaded_{routed}", pairs)
        pack(board, work, f"loaded_{routed}", f"loaded{ending}", progress)
        os.replace(work / f"loaded{ending}", bitstream)
    else:
        _copy(work / report["bitstream"], bitstream)
    files = {"bitstream": bitstream}
    if plan.spec.flash_address is not None:
        files["flash_image"] = made / "flash.bin"
    for name, path in files.items():
        data = path.read_bytes()
        report[name] = str(folder / path.name)
        report[f"{name}_sha256"] = hashlib.sha256(data).hexdigest()
        report[f"{name}_bytes"] = len(data)
    report |= {
        "network": plan.core.network.spec.name,
        "digest": plan.core.network.digest,
        **plan.core.facts(),
        "memories": list(plan.core.memories),
        "planned": plan.estimate.to_dict(),
        "used": _used(plan, report),
        "flash_address": plan.spec.flash_address,
    }
    report.pop("sha256", None)
    report.pop("bytes", None)
    return report


def _used(plan: BoardPlan, report: dict[str, Any]) -> dict[str, Any]:
    """Resources used, by the names of `gen.board.estimate`; flip-flops as [used, available]."""
    used = plan.board.family.names.used(report["resources"], report["cells"])
    return {**used, "ffs": [used["ffs"], plan.board.ffs]}


def _copy(source: Path, target: Path) -> None:
    write_atomically(target, source.read_bytes())


def _read(path: Path, form: dict[str, Any]) -> dict[str, Any]:
    try:
        return read_json(path, form)
    except (OSError, ValueError, RecursionError):
        raise _unreadable(path) from None


def _unreadable(path: Path) -> ReloadError:
    return ReloadError(
        f"Folder {path.parent} must hold a finished bitstream: {path.name} cannot be read"
    )


def _require_shape(network: Network, built: dict[str, Any]) -> None:
    """The network's specification must be the built one's, but for what changes no hardware."""
    now = json.loads(json.dumps(network.spec.to_dict()))
    _require_equal("Network", *(spec | {"layers": len(spec["layers"])} for spec in (now, built)))
    for layer, before in zip(now["layers"], built["layers"], strict=True):
        _require_equal(f"Layer {before.get('name')}", layer, before)


def _require_equal(who: str, now: dict[str, Any], built: dict[str, Any]) -> None:
    for what in (what for what in (*built, *now) if what not in FREE or who != "Network"):
        value, there = now.get(what, "no"), built.get(what, "no")
        if value != there:
            name = what.replace("_", " ")
            count = type(there) is int or there == "no"
            must = f"{there} {name}" if count else f"{name} {there}"
            raise ReloadError(f"{who} must have {must} to fit the bitstream, not {value}")


def _require_width(network: Network, floors: Sequence[Sequence[int]]) -> None:
    """What was built must be wide enough for the weights: narrower ones fit into it."""
    for layer, bounds in zip(network.layers, floors, strict=False):
        for what, value, there in zip(BOUNDS, layer.bounds, bounds, strict=False):
            if value > there:
                raise ReloadError(
                    f"Layer {layer.spec.name} must keep its {what} within {there} to fit the "
                    f"bitstream, not reach {value}"
                )


def _with(
    network: Network, built: dict[str, Any], folder: Path, into: Path
) -> tuple[BoardPlan, dict[str, Any]]:
    """The board that lies in `folder`, with a network, written to `into`; its plan and manifest."""
    core = rebuild(network, built["plan"]["recipe"])
    stored = built_images(core, folder, built["test_images"])
    images = 0 if stored is None else stored.images
    board = find_board(built["board"], folder)
    plan = place_core(board, core, built["clock_hz"], images)
    return plan, generate_board(core, plan.spec, board, into, stored)


def _other_hardware(built: dict[str, Any], folder: Path, into: Path) -> ReloadError:
    """Why the Verilog with other weights is not what was built."""
    _, same = _with(Network.load(folder / NETWORK), built, folder, into)
    if same["hardware"] != built["hardware"]:
        return ReloadError("Bitstream is of another version of Sterna: build it anew")
    return ReloadError(
        "Constants of identity edges must take as many bits as those in the bitstream: build it "
        "anew"
    )
