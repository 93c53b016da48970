"""From Verilog to a bitstream: synthesis, placement, routing, packing; the same for each board."""

import hashlib
import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gen.board.boards import Board, constraints
from gen.family.base import TIGHT, Flow
from gen.family.tools import YOSYS, Tool, ToolError, find, run
from hw.contract.checks import SternaError
from hw.contract.files import write_atomically, write_json
from hw.contract.text import expected_time
from hw.system.process import fills_folder
from hw.system.progress import Progress, Step, announced, silent, under_way

__all__ = [
    "MOST_PASSES",
    "REPORT",
    "SEEDS",
    "PlacementError",
    "RouteSeeds",
    "Routed",
    "TimingError",
    "build_bitstream",
    "find_tools",
    "is_tight",
    "margin_of",
    "pack",
    "place_and_route",
    "placed_with",
    "route_once",
    "synthesize",
    "utilization",
    "write_constraints",
]

REPORT = "report.json"

SEEDS = 4
"""Seeds to try for a clock: from one to the next, a full design's moves by some percent."""

SPARE_SEEDS = 7
"""Seeds to try in place of those with which the placer finds no place."""


class PlacementError(ToolError):
    """The placer found no place for a cell; with another seed it may."""


MOST_PASSES = 50
"""Of the router in a row that leave no fewer wires late or used twice than ever before."""


class _NoEnd(Exception):
    """Wires stay late, however often they are torn up."""


class TimingError(SternaError, RuntimeError):
    """The routed design is slower than its clock; `best_mhz` is what it reaches."""

    def __init__(self, sentence: str, best_mhz: float) -> None:
        super().__init__(sentence)
        self.best_mhz = best_mhz

    def __reduce__(self) -> Any:
        return type(self), (*self.args, self.best_mhz)  # else it would not travel


Routed = tuple[dict[str, Any], int, dict[int, dict[str, Any]]]
"""nextpnr's facts of the best seed, that seed, and facts by seed."""

RouteSeeds = Callable[[Board, Flow, Path, float, range, int, Progress], Routed]
"""Routes the netlist in a folder for a clock in MHz with some of these seeds, with so many look-up
tables as planned, and leaves the best in `Flow.routed`."""


@fills_folder
def build_bitstream(
    board: Board,
    folder: Path,
    top: str,
    sources: Sequence[str],
    *,
    megahertz: float,
    seed: int = 1,
    seeds: int = SEEDS,
    luts: int = 0,
    finish: bool = True,
    route: RouteSeeds | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Build a bitstream and `report.json` in `folder`; both are there only when all went well.

    `netlist.json` (after synthesis), the routed design, and a log of each tool are left beside.

    Parameters
    ----------
    board
        For which; its pins go to the ports of their names.
    folder
        Where everything lies; `$readmemh` finds its files from here.
    top, sources
        Top module, and the Verilog files relative to `folder`.
    megahertz
        The clock that the design must reach.
    seed, seeds
        Seed of the placer, and how many from it on are tried until one meets the clock.
    luts
        Look-up tables, as planned: long steps are announced with the time that so many take.
    finish
        Whether the netlist is finished as its family does it (`Flow.finish`).
    route
        Who tries the seeds; None: one after the other, until one meets the clock.

    Returns
    -------
    dict
        The report: `bitstream`, `sha256` and `bytes`; `fmax_mhz`, `asked_mhz`, `met`, `clocks`
        ({name: [reached, wanted]}, MHz), `critical_paths` ({clock: from and to which cell, ns in
        logic and on wires, cells}), `seed` and `fmax_by_seed`; `resources` as {kind: [used,
        available]}; `cells` after synthesis; `tools`; `seconds` by phase.

    Raises
    ------
    TimingError
        When a clock is missed with every seed.
    ToolError
        When an argument is out of range, a tool is missing, or one refuses the design.
    """
    if not 0 < megahertz <= 1000:
        raise ToolError(f"Clock must lie above 0 and at most at 1000 MHz, not {megahertz!r}")
    if seed < 1 or seeds < 1:
        raise ToolError(f"Seed and number of seeds must be positive, not {seed!r} and {seeds!r}")
    flow = board.family.flow
    for name in (REPORT, f"{top}.{flow.bitstream}"):
        (folder / name).unlink(missing_ok=True)  # of an earlier build
    tools = find_tools(flow)
    seconds = {}

    start = time.monotonic()
    tight = is_tight(board, luts)
    cells = synthesize(
        flow if finish else replace(flow, finish=None),
        folder,
        top,
        sources,
        progress,
        luts,
        tight=tight,
    )
    seconds["synthesis"] = round(time.monotonic() - start, 1)

    start = time.monotonic()
    tried = range(seed, seed + seeds)
    facts, best, by_seed = (route or _route_best)(
        board, flow, folder, megahertz, tried, luts, progress
    )
    fmax = {str(n): round(_fmax(found), 2) for n, found in by_seed.items()}
    seconds["routing"] = round(time.monotonic() - start, 1)
    _require_speed(board, facts, megahertz, fmax, best)

    start = time.monotonic()
    bitstream = pack(board, folder, flow.routed, f"{top}.{flow.bitstream}", progress)
    seconds["packing"] = round(time.monotonic() - start, 1)
    data = bitstream.read_bytes()
    report = {
        "board": board.name,
        "top": top,
        "bitstream": bitstream.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "asked_mhz": megahertz,
        "fmax_mhz": fmax[str(best)],
        "met": True,
        "clocks": {
            name: [round(clock["achieved"], 2), round(clock["constraint"], 2)]
            for name, clock in facts["fmax"].items()
        },
        "critical_paths": _critical_paths(facts),
        "seed": best,
        "fmax_by_seed": fmax,
        "resources": {
            kind: [count["used"], count["available"]]
            for kind, count in sorted(facts["utilization"].items())
            if count["used"]
        },
        "cells": cells,
        "tools": {name: str(tool) for name, tool in tools.items()},
        "seconds": seconds,
    }
    write_json(folder / REPORT, report)
    return report


def find_tools(flow: Flow) -> dict[str, Tool]:
    """What builds for a family, by name; to be asked for before the first file is written.

    Raises
    ------
    ToolError
        When one is missing.
    """
    return {p.name: find(p) for p in (YOSYS, flow.router, flow.packer)}


def is_tight(board: Board, luts: int) -> bool:
    """Whether so many look-up tables, as planned, ask for the family's tight synthesis."""
    return bool(board.family.flow.tight) and luts > TIGHT * board.luts


def synthesize(
    flow: Flow,
    folder: Path,
    top: str,
    sources: Sequence[str],
    progress: Progress,
    luts: int = 0,
    *,
    tight: bool = False,
) -> dict[str, int]:
    """Write `netlist.json`; return how many cells of each type it has. `luts`: look-up tables, as
    planned, by which the time is told; `tight`: use `Flow.tight`."""
    seconds = flow.synthesis_seconds * luts / 1000
    with announced(progress, "synthesis (Yosys)", seconds=seconds):
        if not tight:
            return _synthesize(flow, flow.synthesis, folder, top, sources)
        try:
            return _synthesize(flow, flow.tight, folder, top, sources)
        except ToolError as error:
            if "wasm trap" not in str(error):
                raise
            progress("  Yosys has run out of stack: again, without sequential optimisation")
            return _synthesize(flow, flow.synthesis, folder, top, sources)


def _synthesize(
    flow: Flow, commands: str, folder: Path, top: str, sources: Sequence[str]
) -> dict[str, int]:
    script = f"read_verilog {' '.join(sources)}\n{commands.format(top=top)}\n"
    script += "write_json netlist.json\ntee -q -o cells.json stat -json\n"
    write_atomically(folder / "synth.ys", script.encode())
    run(YOSYS, ["-q", "synth.ys"], folder, "yosys.log")
    stat = json.loads((folder / "cells.json").read_text())
    cells = stat.get("design", {}).get("num_cells_by_type", {})  # of an empty design, neither
    if flow.finish is not None:
        netlist = json.loads((folder / "netlist.json").read_text())
        flow.finish(netlist["modules"][top])
        cells = Counter(cell["type"] for cell in netlist["modules"][top]["cells"].values())
        write_atomically(folder / "netlist.json", json.dumps(netlist).encode())
    return {kind: count for kind, count in sorted(cells.items()) if not kind.startswith("$")}


def write_constraints(board: Board, folder: Path) -> list[str]:
    """Write the file with the board's pins; return nextpnr's arguments that name it."""
    name, text = constraints(board)
    write_atomically(folder / name, text.encode())
    *flag, last = board.family.flow.constraints_flag
    return [*flag, last + name] if last.endswith("=") else [*flag, last, name]


def utilization(log: Path) -> dict[str, tuple[int, int]]:
    """{kind: (used, available)}, from the table in a log of nextpnr; nothing without one."""
    text = log.read_text() if log.is_file() else ""
    table = re.findall(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%", text, re.M)
    return {kind: (int(used), int(there)) for kind, used, there in table}


PHASES = (
    (r"Info: Packing", "packing"),
    (r"Info:\s+at initial placer iter (\d+)", "first placement, round {}"),
    (r"Info:\s+at iteration #(\d+), type ALL", "placement, round {}"),
    (r"Info:\s+at iteration #(\d+): temp", "refining the placement, round {}"),
    (r"Info: Routing", "routing"),
    (r"Info:\s+iter=(\d+) .*\boverused=(\d+)", "routing, round {}: {} wires used twice"),
    (r"Info:\s+\d+ \|[^|]*\|[^|]*\|\s*(\d+)\|", "routing, {} connections to go"),
)
"""Lines of nextpnr's log, and what it does when it prints them; the last two are of its two
routers."""


def phase(line: str) -> str | None:
    """What nextpnr is doing, by a line of its log; None of a line that says nothing of it."""
    for pattern, words in PHASES:
        found = re.match(pattern, line)
        if found:
            return words.format(*found.groups())
    return None


def place_and_route(
    flow: Flow,
    arguments: Sequence[str],
    folder: Path,
    megahertz: float,
    seed: int,
    progress: Progress = silent,
    at: Step | None = None,
) -> dict[str, Any]:
    """Run nextpnr on `netlist.json`; a clock that is missed is no error of its own. Returns its
    report, `nextpnr.json`; its output is in `nextpnr.log`.

    nextpnr tears up late wires until none is late, which has no end where the clock cannot be
    reached. So it is stopped after `MOST_PASSES` in vain, and starts again without tearing up.

    Parameters
    ----------
    arguments
        Beside those of the family, of the clock in MHz and of the placer's seed.
    at
        The step that this is, which is told what nextpnr is doing (`phase`).
    """
    arguments = [
        *flow.router_flags,
        *arguments,
        "--json",
        "netlist.json",
        "--freq",
        f"{megahertz:g}",
        "--seed",
        str(seed),
        "--timing-allow-fail",
        "--report",
        "nextpnr.json",
    ]

    def tell(line: str) -> None:
        told = re.match(r"Info: (Routing\.\.|Max frequency for clock.*)", line)
        if told:
            progress(f"  {told[1]}")
        doing = phase(line)
        if at is not None and doing is not None:
            at.doing(doing)

    left: list[int] = []  # late wires and those used twice, after each pass

    def watch(line: str) -> None:
        tell(line)
        told = re.search(r" overuse=(\d+) .*\btmgfail=(\d+)", line)
        if told:
            left.append(int(told[1]) + int(told[2]))
            before = left[:-MOST_PASSES]
            if before and min(before) <= min(left[-MOST_PASSES:]):
                raise _NoEnd

    try:
        run(flow.router, [*arguments, *flow.rip_up], folder, "nextpnr.log", watch)
    except _NoEnd:
        progress(f"  {left[-1]} wires stay late: again, without tearing them up")
        run(flow.router, arguments, folder, "nextpnr.log", tell)
    return json.loads((folder / "nextpnr.json").read_text())


def _route_best(
    board: Board,
    flow: Flow,
    folder: Path,
    megahertz: float,
    seeds: range,
    luts: int,
    progress: Progress,
) -> Routed:
    """Route with one seed after the other until all clocks are met, and leave the best in
    `flow.routed`."""
    arguments = placed_with(board, flow, folder)
    facts: dict[int, dict[str, Any]] = {}
    margin: dict[int, float] = {}
    waiting, spare = list(seeds), SPARE_SEEDS
    while waiting:
        seed = waiting.pop(0)
        seconds = flow.routing_seconds * luts / 1000
        line = f"placement and routing (nextpnr), seed {seed}{expected_time(seconds)}"
        try:
            with under_way(progress, f"nextpnr, seed {seed}", seconds=seconds, line=line) as at:
                facts[seed] = route_once(
                    board.name, flow, folder, arguments, megahertz, seed, progress, at
                )
        except PlacementError:
            if spare:
                progress("  found no place for every cell: trying another seed")
                waiting.append(max([seed, *waiting]) + 1)
                spare -= 1
            elif not waiting and not facts:
                raise
            continue
        margin[seed] = margin_of(facts[seed], megahertz)
        if margin[seed] >= max(margin.values()):
            os.replace(folder / f"new_{flow.routed}", folder / flow.routed)
        if margin[seed] >= 1:
            break
    (folder / f"new_{flow.routed}").unlink(missing_ok=True)
    best = max(margin, key=lambda seed: margin[seed])
    return facts[best], best, facts


def placed_with(board: Board, flow: Flow, folder: Path) -> list[str]:
    """nextpnr's arguments of a board, with its constraints, which are written; the routed design is
    `new_` and `flow.routed`."""
    limits = write_constraints(board, folder)
    return [*board.flags, *limits, flow.routed_flag, f"new_{flow.routed}"]


def route_once(
    board: str,
    flow: Flow,
    folder: Path,
    arguments: Sequence[str],
    megahertz: float,
    seed: int,
    progress: Progress,
    at: Step,
) -> dict[str, Any]:
    """Place and route for a board of that name with one seed (`place_and_route`).

    Raises
    ------
    PlacementError
        When the placer finds no place; with another seed it may.
    ToolError
        When the design is refused.
    """
    try:
        return place_and_route(flow, arguments, folder, megahertz, seed, progress, at)
    except ToolError:
        _refuse_overflow(board, folder / "nextpnr.log")
        if "Unable to find legal placement" in (folder / "nextpnr.log").read_text():
            raise PlacementError(
                f"Design fits {board} by numbers, but nextpnr finds no place for every cell "
                f"(seed {seed}): use fewer lanes"
            ) from None
        raise


def _refuse_overflow(board: str, log: Path) -> None:
    """nextpnr's own words for a design that is too large say nothing to those who do not know
    it; its table of what is used does."""
    table = utilization(log).items()
    over = [f"{used} of {there} {kind}" for kind, (used, there) in table if used > there]
    if over:
        raise ToolError(f"Design does not fit {board}: it needs {', '.join(over)} (see {log})")


def _fmax(facts: dict[str, Any]) -> float:
    """MHz that the fastest wanted clock reaches: the core's, an oscillator's being slower."""
    clocks = facts["fmax"].values()
    return max(((c["constraint"], c["achieved"]) for c in clocks), default=(0.0, 0.0))[1]


def _critical_paths(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The slowest path between registers of each clock, as nextpnr reports it."""
    found = {}
    for entry in facts.get("critical_paths", ()):
        clock, steps = entry["from"].removeprefix("posedge "), entry["path"]
        if entry["from"] != entry["to"] or not steps:
            continue
        wires = sum(step["delay"] for step in steps if step["type"] == "routing")
        found[clock] = {
            "from": steps[0]["from"]["cell"],
            "to": steps[-1]["to"]["cell"],
            "logic_ns": round(sum(step["delay"] for step in steps) - wires, 3),
            "wires_ns": round(wires, 3),
            "cells": 1 + sum(step["type"] == "routing" for step in steps),
        }
    return found


def margin_of(facts: dict[str, Any], megahertz: float) -> float:
    """Of a routed design: the least of its clocks, as a share of what is asked of it."""
    return min(_margins(facts, megahertz), default=1.0)


def _margins(facts: dict[str, Any], megahertz: float) -> list[float]:
    """Reached over wanted, per clock, and for the fastest wanted one against `megahertz`."""
    margins = [clock["achieved"] / clock["constraint"] for clock in facts["fmax"].values()]
    return [*margins, _fmax(facts) / megahertz] if margins else []


def _require_speed(
    board: Board, facts: dict[str, Any], megahertz: float, fmax: dict[str, float], best: int
) -> None:
    if margin_of(facts, megahertz) >= 1:
        return
    slow = [c for c in facts["fmax"].values() if c["achieved"] < c["constraint"]]
    core = _fmax(facts)
    if core >= megahertz and slow:
        reached = ", ".join(f"{c['achieved']:.2f} of {c['constraint']:.2f} MHz" for c in slow)
        raise TimingError(f"Another clock of {board.name} does not close: {reached}", core)
    tried = f"seed {best}" if len(fmax) == 1 else f"seed {best}, the best of {len(fmax)}"
    reached = math.floor(core * 100) / 100
    raise TimingError(
        f"Clock of {board.name} does not close at {megahertz:g} MHz: the best that does is "
        f"{reached:.2f} MHz ({tried})",
        reached,
    )


def pack(
    board: Board, folder: Path, routed: str, bitstream: str, progress: Progress = silent
) -> Path:
    """Make a bitstream of a routed design, both names in `folder`; it appears whole or not at all.

    Also for a routed design whose ROMs `gen.family.rom_swap` changed.
    """
    flow = board.family.flow
    part = f"part_{bitstream}"
    names = {"routed": routed, "bitstream": part}
    flags = [flag.format(**names) for flag in flow.pack_flags]
    try:
        with announced(progress, f"packing ({flow.packer.name})"):
            run(flow.packer, [*board.pack, *flags], folder, "pack.log")
        if not (folder / part).is_file():
            raise ToolError(f"{flow.packer.name} wrote no bitstream (see {folder / 'pack.log'})")
        os.replace(folder / part, folder / bitstream)
    finally:
        (folder / part).unlink(missing_ok=True)
    return folder / bitstream
