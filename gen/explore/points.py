"""Layouts as points, and the front of those that no other is better than."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from gen.board.boards import Board
from gen.board.planner import BoardPlan, fitting_plans
from gen.core.plan import SCHEDULES
from hw.contract.network import Network

__all__ = ["front", "layout_of", "plan_points"]

Figures = Sequence[float]


def layout_of(plan: BoardPlan) -> dict[str, Any]:
    """What makes the same plan again: options of `plan_board`, and of `sterna bitstream`."""
    core = plan.core
    facts = core.facts()
    found: dict[str, Any] = {"lanes": facts["lanes"], "schedule": facts["schedule"]}
    if facts["schedule"] in ("pipelined", "mixed"):
        found["banks"] = facts["banks"]
    return found


def plan_points(
    board: Board, network: Network, schedules: Sequence[str] = SCHEDULES
) -> list[dict[str, Any]]:
    """A point for each layout of these schedules that fits, the fastest first: plain data. Of
    several with the same options, that which `plan_board` takes. `stages` are kinds of stages, in
    the order data flow; `changes`, the layers of which programs and windows play what changes from
    step to step."""
    plans: dict[str, BoardPlan] = {}
    for plan in fitting_plans(board, network):
        if plan.core.schedule not in schedules:
            continue
        other = plans.setdefault(str(layout_of(plan)), plan)
        if (plan.seconds, plan.estimate.luts) < (other.seconds, other.estimate.luts):
            plans[str(layout_of(plan))] = plan
    points = []
    for plan in plans.values():
        used = plan.estimate
        points.append(
            {
                "layout": layout_of(plan),
                "told": plan.core.facts()["layout"],
                "stages": [kind for kind, _ in groupby(s.sizes_of for s in plan.core.stages)],
                "changes": list(plan.core.changes),
                "memories": list(plan.core.memories),
                "luts": used.luts,
                "brams": used.brams,
                "megahertz": plan.spec.clock_hz / 1e6,
                "cycles": round(plan.cycles, 1),
                "images_per_second": round(1 / plan.seconds, 1),
            }
        )
    return sorted(points, key=lambda point: (-point["images_per_second"], point["luts"]))


def front(
    points: Iterable[Mapping[str, Any]], figures: Callable[[Mapping[str, Any]], Figures]
) -> list[Mapping[str, Any]]:
    """The Pareto front: points that no other is at least as good as in all figures and better than
    in one; of equals the first. In their order.

    Parameters
    ----------
    figures
        Of a point, each the better the larger.
    """
    everything = [(point, tuple(figures(point))) for point in points]
    kept: list[tuple[Mapping[str, Any], tuple[float, ...]]] = []
    # The largest first: what is above a point comes before it.
    order = sorted(range(len(everything)), key=lambda n: tuple(-v for v in everything[n][1]))
    chosen = set()
    for n in order:
        mine = everything[n][1]
        if not any(all(a >= b for a, b in zip(other, mine, strict=True)) for _, other in kept):
            kept.append(everything[n])
            chosen.add(n)
    return [point for n, (point, _) in enumerate(everything) if n in chosen]
