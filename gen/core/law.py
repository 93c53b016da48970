"""The cycle law of a core: the laws of its stages, composed. Exact for flowing streams."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan
from gen.stage.stage import StageTimes

__all__ = ["LONG_AGO", "CycleLaw", "mean_cycles", "single_run"]

LONG_AGO = 10**9
"""Cycles: a core with that lead has done all that does not wait for a picture."""


class CycleLaw:
    """Predicts when each picture's class leaves a core, inputs offered and results taken at once.

    Parameters
    ----------
    plan
        The core.
    lead
        Cycles from the first without reset to the one that takes the first word; None: as many as
        the core needs (`CorePlan.settle`).

    Attributes
    ----------
    loaded
        When the last word of the last picture was taken.
    """

    def __init__(self, plan: CorePlan, lead: int | None = None) -> None:
        after: StageTimes | None = None
        self._stages: list[StageTimes] = []
        lead = plan.settle + plan.stages[0].intake if lead is None else lead
        for stage in reversed(plan.stages):
            after = stage.times(after, lead)
            self._stages.insert(0, after)
        self._words, self._vectors = plan.stages[0].words, plan.stages[0].vectors
        self.loaded = 0

    def predict(
        self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
    ) -> npt.NDArray[np.int64]:
        """Cycle of the last result of each picture, (n,); cycle 0 takes the first picture's first
        word.

        Parameters
        ----------
        pixels, spikes
            Pictures or recordings (n, size), and what the layers that fire send for them,
            (n, T, neurons) each. The state carries over, so that a run may be predicted in pieces.
        """
        done = []
        for stage in self._stages:
            stage.prepare(pixels, spikes)
        first, last = self._stages[0], self._stages[-1]
        for n in range(len(pixels)):
            for stage in self._stages:
                stage.begin(n)
            for vector in range(self._vectors):
                self.loaded = first.take(0, self._words)
                first.play(vector)
            done.append(last.done)
        return np.array(done, dtype=np.int64)


def mean_cycles(
    plan: CorePlan, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
) -> float:
    """Cycles from one picture's result to the next, on average over two or more, which are offered
    without a pause."""
    return float(np.diff(CycleLaw(plan).predict(pixels, spikes)).mean())


def single_run(
    plan: CorePlan, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
) -> tuple[int, int]:
    """What hardware counts of one picture (size,) on an idle core, spikes being (T, neurons) each:
    cycles from the hand-shake of its last word to its last logit; rows of weights added."""
    batch = [part[None] for part in spikes]
    law = CycleLaw(plan, LONG_AGO)
    done = int(law.predict(pixels[None], batch)[0])
    events = sum(stage.additions(pixels, spikes) for stage in plan.stages)
    return done - law.loaded, events
