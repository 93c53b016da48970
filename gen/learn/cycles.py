"""The cycle law of a learning core, one sample after the other. Exact for flowing streams.

As the law of a program (`gen.program.cycles`): every operation's time follows from what is played.
Behind the decision, scans play the backward stage's spikes, and updates whole coefficients.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan
from gen.learn.stage import learning_stage
from gen.program.cycles import logit_times, plays, scan_cycles, sweep_cycles
from hw.contract.edge import INPUT
from hw.contract.layout import MapLayout, map_layout
from hw.learn.engine import UpdateEngine
from hw.learn.judge import Judge
from hw.learn.sample import Sample
from hw.program.code import Decide, Held, Scan, Send, Sweep
from hw.program.potentials import Potentials
from hw.program.stage import ProgramStage

__all__ = ["LearningLaw", "Times"]

Int = npt.NDArray[np.int64]


class Times(NamedTuple):
    """Cycles of a sample's last logit, and of `done`; weight rows added until that logit."""

    logit: int
    done: int
    additions: int


class LearningLaw:
    """When a core made by `gen.learn.stage.plan_learning` has done what; cycle 0 is the first
    without reset.

    Parameters
    ----------
    plan
        The core.
    """

    def __init__(self, plan: CorePlan) -> None:
        stage = learning_stage(plan)
        self._stage, self._program = stage, stage.program
        self._spec = plan.network.spec
        assert stage.program.learning is not None
        self._latency = UpdateEngine.latency(stage.program.learning)
        self._next = ProgramStage.FETCH_CYCLES  # START of the first operation

    def sample(
        self, pixels: npt.NDArray[np.integer], sample: Sample, taken: int, *, given: bool = False
    ) -> Times:
        """The times of the next sample, whose last word is taken in cycle `taken`; `given`: an
        error is given, and offered as early as it can be taken."""
        now, began, behind = self._next, False, False
        logit = done = additions = 0
        for op in self._program.operations:
            if isinstance(op, Send):
                handed, logit = logit_times(self._program, now)
                now = handed + 1 + ProgramStage.FETCH_CYCLES
                continue
            if isinstance(op, Decide):
                done = max(now + 1, logit + Judge.LATENCY) + given * self._program.classes
                behind = True
                if not sample.learned:
                    break
                now = done + 1 + ProgramStage.FETCH_CYCLES
                continue
            if isinstance(op, Sweep):
                now += sweep_cycles(self._program, op)
            else:
                if op.from_input and not began:
                    now, began = max(now, taken + 1), True
                play = plays(self._program, op, self._words(op, pixels, sample, behind))
                latency = self._latency if op.update else Potentials.LATENCY
                now += scan_cycles(play, False, latency)
                if not behind:
                    additions += int(play.updates.sum())
            done = now
            now += 1 + ProgramStage.FETCH_CYCLES
        self._next = done + 1 + ProgramStage.FETCH_CYCLES
        return Times(logit, done, additions)

    def _words(
        self, op: Scan, pixels: npt.NDArray[np.integer], sample: Sample, behind: bool
    ) -> npt.NDArray[np.integer]:
        """The words that a scan plays, (words, lanes)."""
        spec, lanes = self._spec, self._stage.lanes
        names = [layer.name for layer in spec.layers]
        layout: MapLayout
        values: npt.NDArray[np.integer]
        if op.held == Held.CONSTANT:
            layout, values = MapLayout((1, 1, 1), lanes), np.array([op.constant])
        else:
            layout = map_layout(spec, op.source, lanes)
            n = -1 if op.source == INPUT else names.index(op.source)
            if op.source == INPUT:
                values = pixels
            elif op.held == Held.ERROR:
                values = sample.error
            elif op.held == Held.COUNTS:
                values = sample.counts[n]
            elif op.held == Held.BACK:
                values = sample.back_counts[n]
            elif behind:
                values = sample.back_spikes[n][op.when] * sample.masks[n]
            else:
                values = sample.spikes[n][op.when]
        words = layout.pack(np.asarray(values, dtype=np.int64)[None])[0]
        return (words != 0).astype(np.int64) if op.update else words
