"""A network of maps cut into stages, each a shared core that works on an image of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gen.core.plan import PlanError
from gen.core.program_stage import SHARED_LANES, SharedPlan, plan_shared
from hw.contract.network import Network
from hw.contract.spec import INPUT, NetworkSpec

__all__ = ["PipelinePlan", "cuts", "plan_pipeline"]


@dataclass(frozen=True, eq=False)
class PipelinePlan:
    """A network, and the stages that run it."""

    network: Network
    lanes: int
    stages: tuple[SharedPlan, ...]
    banks = 1
    schedule = "pipelined"
    memories = ("rom",)
    loaded, lean, fire_lanes = False, False, 0

    def pack_words(self, pixels: npt.NDArray[np.integer]) -> list[int]:
        """The words of the input stream for images (n, image_size), in order."""
        return self.stages[0].pack_words(pixels)


def cuts(spec: NetworkSpec) -> list[int]:
    """Where a network can be cut: the numbers of layers that may begin a stage. All that crosses a
    cut must be the spikes of the layer right before it. (With one step, an edge with a delay never
    brings any.)"""
    place = {layer.name: n for n, layer in enumerate(spec.layers)} | {INPUT: -1}
    found = []
    for cut in range(1, len(spec.layers)):
        crossing = {
            place[edge.source]
            for n in range(len(spec.layers))
            for edge in spec.edges(n)
            if (place[edge.source] < cut) != (n < cut) and edge.delay < spec.steps
        }
        if crossing == {cut - 1}:
            found.append(cut)
    return found


def plan_pipeline(
    network: Network, lanes: int = SHARED_LANES, starts: Sequence[int] | None = None
) -> PipelinePlan:
    """Cut a network wherever it can be cut, or at `starts`, and plan every stage.

    Raises
    ------
    PlanError
        When it cannot be cut there, or for what `plan_shared` refuses.
    """
    spec, possible = network.spec, cuts(network.spec)
    chosen = possible if starts is None else sorted(set(starts))
    if not set(chosen) <= set(possible):
        names = [spec.layers[n].name for n in possible]
        raise PlanError(
            f"Network {spec.name} can be cut before the layers {names}, not before layer numbers "
            f"{[n for n in chosen if n not in possible]}"
        )
    bounds = [0, *chosen, len(spec.layers)]
    stages = []
    for start, stop in pairwise(bounds):
        source = spec.layers[start - 1].name if start else INPUT
        stages.append(plan_shared(network, lanes, range(start, stop), source))
    return PipelinePlan(network, lanes, tuple(stages))
