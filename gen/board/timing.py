"""Synthesis, placement and routing for an ECP5-85k: does the core meet a real chip's clock?"""

from pathlib import Path
from typing import Any

from gen.board.bitstream import place_and_route, synthesize
from gen.board.boards import find_board
from gen.board.estimate import estimate, require_memory
from gen.board.planner import board_spec
from gen.core.plan import CorePlan
from gen.core.verilog import TOP, generate
from gen.family.tools import YOSYS, ToolError, find
from hw.contract.files import write_json
from hw.contract.text import expected_time
from hw.system.process import fills_folder
from hw.system.progress import Progress, silent, under_way

__all__ = ["close_timing"]


@fills_folder
def close_timing(
    plan: CorePlan,
    folder: Path,
    *,
    megahertz: float = 100.0,
    seed: int = 1,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Route the core on an LFE5U-85F, speed grade 6, package CABGA381.

    Ports become unconstrained pins; figures are of the logic between registers.

    Parameters
    ----------
    megahertz
        The clock to aim at. A miss is reported, and no error.
    seed
        Of the placer; figures move by some percent with it.

    Returns
    -------
    dict
        `fmax` in MHz, `resources` as {kind: [used, available]}, `met`, and what was asked for.

    Raises
    ------
    PlanError
        When the memories are too many for the chip.
    ToolError
        When the clock does not lie in 0..1000 MHz, the seed is not positive, a tool is missing,
        or the design does not fit.
    """
    if not 0 < megahertz <= 1000:
        raise ToolError(f"Clock must lie above 0 and at most at 1000 MHz, not {megahertz!r}")
    if seed < 1:
        raise ToolError(f"Seed of the placer must be a positive number, not {seed!r}")
    board = find_board("ulx3s_85f")
    flow, names = board.family.flow, board.family.names
    require_memory(plan, board)
    for program in (YOSYS, flow.router):
        find(program)
    luts = estimate(board, plan, board_spec(board, board.oscillator_hz, loaded=plan.loaded)).luts
    generate(plan, folder)
    synthesize(flow, folder, TOP, [f"{TOP}.v", "sterna_rom.v"], progress, luts)
    seconds = flow.routing_seconds * luts / 1000
    line = f"placement and routing (nextpnr){expected_time(seconds)}"
    arguments = [*board.flags, *flow.unconstrained]
    with under_way(progress, f"nextpnr, seed {seed}", seconds=seconds, line=line) as at:
        facts = place_and_route(flow, arguments, folder, megahertz, seed, progress, at)
    fmax = min(clock["achieved"] for clock in facts["fmax"].values())
    report = {
        "network": plan.network.spec.name,
        "digest": plan.network.digest,
        **plan.facts(),
        "device": "LFE5U-85F, speed grade 6",
        "asked_mhz": megahertz,
        "fmax_mhz": round(fmax, 2),
        "met": fmax >= megahertz,
        "seed": seed,
        "yosys": str(find(YOSYS)),
        "nextpnr": str(find(flow.router)),
        "resources": {
            kind: [facts["utilization"][kind]["used"], facts["utilization"][kind]["available"]]
            for kind in (names.luts, names.ffs, names.brams, names.multipliers)
        },
    }
    write_json(folder / "report.json", report)
    return report
