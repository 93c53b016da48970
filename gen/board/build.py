"""A network on a board, from plan to flashable file: what `make bitstream` and `sterna reload` do.

A board whose weights come with the bitstream is synthesised with random placeholders; the real
weights are put in afterwards (gen/family/rom_swap.py), so that new weights of the same shape need
neither synthesis nor routing. Boards that load their weights have them in a flash image of their
own, and Gowin's tools know no swap: there the real weights are synthesised.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gen.board.bitstream import REPORT, SEEDS, build_bitstream, find_tools, pack
from gen.board.boards import find_board
from gen.board.files import BOARD_TOP, StoredImages, generate_board
from gen.board.planner import BoardPlan, plan_board
from gen.family.registry import FAMILIES
from gen.family.rom_swap import ReloadError
from hw.contract.files import read_json, write_atomically, write_json
from hw.contract.network import Network
from hw.system.process import fills_folder

__all__ = ["NETWORK", "build_board", "reload_board"]

Progress = Callable[[str], None]

NETWORK = "network.npz"
"""The network of a bitstream, beside it."""

SYNTHESIS = "synthesis"
"""Folder of the design with placeholders, and of what the tools make of it."""

BUILT = {"board": str, "network": str, "reloadable": bool, "roms": [str]}
CHAIN = {
    "lanes": int,
    "banks": int,
    "clock_hz": int,
    "memories": [str],
    "fire_lanes": int,
    "lean": bool,
    "steps": int,
    "input_bits": int,
    "layers": [
        {
            "name": str,
            "inputs": int,
            "neurons": int,
            "weight_bits": int,
            "neuron": (dict, None),
            "accumulator_bound": int,
            "drive_bound": int,
        }
    ],
    "hardware": str,
}
SYNTHESISED = {"bitstream": str, "resources": {str: [int]}, "cells": {str: int}}
"""What a reload wants to know of `board.json`, at first and of what can be reloaded, and of the
report on the synthesis."""


@fills_folder
def build_board(
    plan: BoardPlan,
    folder: Path,
    *,
    seed: int = 1,
    seeds: int = SEEDS,
    stored: StoredImages | None = None,
    progress: Progress = lambda line: None,
) -> dict[str, Any]:
    """Build the bitstream of a planned board in `folder`; `report.json` and the bitstream are
    there only when all went well. `stored`: what is put on the chip.

    Returns
    -------
    dict
        The report of `gen.board.bitstream.build_bitstream`, with what was planned, the network's
        digest, and the contents swapped and compared.

    Raises
    ------
    TimingError, ToolError, ReloadError
        See `gen.board.bitstream`, `gen.family.rom_swap`.
    """
    board = plan.board
    find_tools(board.family.flow)
    endings = {family.flow.bitstream for family in FAMILIES.values()}
    for name in (REPORT, *(f"{BOARD_TOP}.{ending}" for ending in endings)):
        (folder / name).unlink(missing_ok=True)
    facts = generate_board(plan.core, plan.spec, board.name, folder, stored)
    work = folder / SYNTHESIS
    swapped = facts["placeholders"] and board.family.swap is not None
    for name in facts["sources"]:
        _copy(folder / name, work / name)
    for name in facts["roms"]:
        _copy(folder / ("placeholder" if swapped else "") / name, work / name)
    report = build_bitstream(
        board,
        work,
        BOARD_TOP,
        facts["sources"],
        megahertz=plan.spec.clock_hz / 1e6,
        seed=seed,
        seeds=seeds,
        luts=plan.estimate.luts,
        progress=progress,
    )
    report = _finish(plan, facts, folder, folder, report, progress)
    write_json(folder / REPORT, report)
    return report


@fills_folder
def reload_board(
    network: Network, folder: Path, progress: Progress = lambda line: None
) -> dict[str, Any]:
    """Put the weights of `network` into the bitstream that lies in `folder`, without synthesis. All
    is made before the first file there is touched, and there is no report until all are in place.

    Raises
    ------
    ReloadError
        When there is no bitstream, it is for a network of another shape or neuron, its hardware is
        too narrow for these weights, or its files are not those of its report.
    """
    built = _read(folder / "board.json", BUILT)
    report = _read(folder / SYNTHESIS / REPORT, SYNTHESISED)
    board = find_board(built["board"])
    if not built["reloadable"]:
        raise ReloadError(
            f"Weights of {built['network']} cannot be reloaded: a program goes with them; build "
            "the bitstream anew"
        )
    if board.family.swap is None and built["roms"]:
        raise ReloadError(
            f"Weights of {board.name} cannot be reloaded: its tools cannot change block RAM; "
            "build the bitstream anew"
        )
    built = _read(folder / "board.json", BUILT | CHAIN)
    if len(built["memories"]) != len(built["layers"]):
        raise _unreadable(folder / "board.json")
    _require_shape(network, built)
    plan = plan_board(
        board,
        _as_wide(network, built),
        lanes=built["lanes"],
        banks=built["banks"],
        megahertz=built["clock_hz"] / 1e6,
        memories=tuple(built["memories"]),
        fire_lanes=built["fire_lanes"],
        lean=built["lean"],
    )
    with_new = folder.with_name(folder.name + ".reload")
    shutil.rmtree(with_new, ignore_errors=True)
    try:
        facts = generate_board(plan.core, plan.spec, board.name, with_new)
        _require_same(built, facts)
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
        progress(f"putting the weights into {len(facts['roms'])} memories")
        pairs = [(folder / "placeholder" / name, made / name) for name in facts["roms"]]
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


def _as_wide(network: Network, built: dict[str, Any]) -> Network:
    """The network with layers as wide as the hardware: narrower sums fit into wider registers.

    Raises `ReloadError` for sums that do not fit.
    """
    floors = []
    for layer, facts in zip(network.layers, built["layers"], strict=False):
        for what in ("accumulator_bound", "drive_bound"):
            if getattr(layer, what) > facts[what]:
                raise ReloadError(
                    f"Layer {layer.spec.name} has an {what.replace('_', ' ')} of "
                    f"{getattr(layer, what)}, and the bitstream holds {facts[what]}"
                )
        floors.append((facts["accumulator_bound"], facts["drive_bound"]))
    return replace(network, floors=tuple(floors))


def _require_shape(network: Network, built: dict[str, Any]) -> None:
    """The network must be of the built one's shape: layers, neurons, time steps, pixels."""
    spec = network.spec
    wanted = {"steps": spec.steps, "input_bits": spec.input_bits, "layers": len(spec.layers)}
    there = {**built, "layers": len(built["layers"])}
    for what, value in wanted.items():
        if value != there[what]:
            raise ReloadError(
                f"Network must have {there[what]} {what.replace('_', ' ')} to fit the bitstream, "
                f"not {value}"
            )
    for layer, before in zip(spec.layers, built["layers"], strict=True):
        now = {**asdict(layer)}
        for what in ("name", "inputs", "neurons", "weight_bits", "neuron"):
            if before[what] != now[what]:
                raise ReloadError(
                    f"Layer {layer.name} must have {what.replace('_', ' ')} {before[what]} to fit "
                    f"the bitstream, not {now[what]}"
                )


def _require_same(built: dict[str, Any], facts: dict[str, Any]) -> None:
    """What is generated for the new weights must be the very Verilog that was built."""
    if built["hardware"] != facts["hardware"]:
        raise ReloadError("Bitstream is of another version of Sterna: build it anew")
