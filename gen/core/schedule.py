"""Which hardware a network gets: a pipeline of layers, or one shared core."""

from gen.core.hardware import AnyPlan
from gen.core.pipeline import plan_pipeline
from gen.core.plan import DEFAULT_LANES, PlanError, plan_core
from gen.core.program_stage import SHARED_LANES, plan_shared
from hw.contract.network import Network

__all__ = ["SCHEDULES", "plan_network"]

SCHEDULES = ("auto", "pipelined", "shared")


def plan_network(
    network: Network, lanes: int | None = None, banks: int = 1, schedule: str = "auto"
) -> AnyPlan:
    """Lay out a network.

    Parameters
    ----------
    lanes
        Neurons per cycle; by default 128 of a pipeline (`gen.core.plan`), 16 of a shared core
        (`gen.core.program_stage`).
    banks
        Events per cycle; a shared core has 1.
    schedule
        `pipelined`: every layer has hardware of its own; in a network of maps, every part that
        nothing but the spikes of one layer leaves. `shared`: one core runs all layers in turn.
        `auto`: a pipeline for chains of dense layers, a shared core for all others.

    Raises
    ------
    PlanError
        When the network cannot be laid out so.
    """
    if schedule not in SCHEDULES:
        raise PlanError(f"Schedule must be one of {SCHEDULES}, not {schedule!r}")
    if schedule != "shared" and network.spec.is_chain:
        return plan_core(network, DEFAULT_LANES if lanes is None else lanes, banks)
    if banks != 1:
        raise PlanError(
            f"A shared core has 1 bank: network {network.spec.name} cannot have {banks}"
        )
    make = plan_pipeline if schedule == "pipelined" else plan_shared
    return make(network, SHARED_LANES if lanes is None else lanes)
