"""The cycle law of a core: the laws of its components, composed. Exact for flowing streams.

A time is the cycle number of a hand-shake. Nothing here restates a component's numbers: they are
read from the components. `docs/cycles.md` derives the composition.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gen.plan import CorePlan
from hw.accumulator import Accumulator
from hw.geometry import LayerGeometry
from hw.hold import DriveHold
from hw.lif import LifArray
from hw.queue import SpikeQueue
from hw.readout import Readout

__all__ = ["CycleLaw", "event_counts", "play_cycles"]

Int = npt.NDArray[np.int64]
NEVER = -(10**9)
"""A time before all others: what has not happened holds nothing up."""


def event_counts(coefficients: npt.NDArray[np.integer], geometry: LayerGeometry) -> Int:
    """SPIKE events per bit plane and bank: (..., inputs) -> (..., planes, banks)."""
    magnitude = np.abs(coefficients.astype(np.int16))
    bank = geometry.slots() % geometry.banks
    planes = []
    for p in range(geometry.planes):
        bit = magnitude >> p & 1
        planes.append(
            np.stack([bit[..., bank == b].sum(axis=-1) for b in range(geometry.banks)], axis=-1)
        )
    return np.stack(planes, axis=-2).astype(np.int64)


def play_cycles(counts: Int) -> Int:
    """Cycles to play a vector once, from `event_counts`: in each plane the fullest bank's events,
    and one more for the plane's end."""
    return (counts.max(axis=-1) + 1).sum(axis=-1)


@dataclass
class _LayerTimes:
    """When a layer last did what; the state that one vector leaves for the next."""

    released: list[int] = field(default_factory=lambda: [NEVER, NEVER])  # per buffer, in turn
    last_word: int = NEVER  # a word of the input stream was taken
    step: int = NEVER  # the last STEP of a vector was taken
    drive: int = NEVER  # the accumulator's output was taken
    lif_free: int = NEVER  # LIF array: can look at a drive from this cycle on
    readout_free: int = NEVER  # readout: can take a drive from this cycle on
    sent_last: list[int] = field(default_factory=list)  # hold: when each word was last sent
    hold_free: int = NEVER  # hold: can offer from this cycle on


class CycleLaw:
    """Predicts when each image's class leaves the core, inputs offered and results taken at once.

    Parameters
    ----------
    plan
        The core.
    """

    def __init__(self, plan: CorePlan) -> None:
        self._geometries = plan.geometries
        self._steps = plan.image.spec.steps
        self._latency = [Accumulator.latency(g) for g in plan.geometries]
        self._times = [_LayerTimes(sent_last=[NEVER] * g.groups) for g in plan.geometries]

    def predict(self, costs: Sequence[Int]) -> Int:
        """Cycle of the last result of each image, (n,); cycle 0 takes the first image's first word.

        Parameters
        ----------
        costs
            `play_cycles` of each layer's input: (n,) for the image, then (n, T) for each layer of
            spikes. The state carries over, so that a run may be predicted in pieces.
        """
        done = []
        for image in range(len(costs[0])):
            per_step = [[int(costs[0][image])], *(cost[image].tolist() for cost in costs[1:])]
            done.append(self._image(per_step))
        return np.array(done, dtype=np.int64)

    def _image(self, costs: Sequence[Sequence[int]]) -> int:
        first = self._times[0]
        word = max(first.last_word + 1, first.released[0] + 1, 0)
        loaded = word + self._geometries[0].words - 1
        first.last_word = loaded
        return self._play_image(loaded, costs)

    def _play_image(self, loaded: int, costs: Sequence[Sequence[int]]) -> int:
        """Layer 0: the accumulator runs once, what follows it runs T times."""
        g, t = self._geometries[0], self._times[0]
        done = NEVER
        if g.groups == 1:  # the drive waits in the accumulator's output for its last use
            valid = self._step(0, loaded, costs[0][0]) + self._latency[0]
            for step in range(self._steps):
                taken, done = self._deliver(0, valid, 0, step, costs)
                t.drive = taken
            self._release(0)
            return done
        for group in range(g.groups):
            valid = self._step(0, loaded, costs[0][0]) + self._latency[0]
            t.drive = max(valid, t.sent_last[group] + 1)
        self._release(0)
        t.hold_free = t.drive + DriveHold.LATENCY
        for step in range(self._steps):
            for group in range(g.groups):
                taken, done = self._deliver(0, t.hold_free, group, step, costs)
                t.sent_last[group] = taken
                t.hold_free = taken + DriveHold.INTERVAL
        return done

    def _play_spikes(self, n: int, loaded: int, step: int, costs: Sequence[Sequence[int]]) -> int:
        """A layer that receives spikes: once per time step."""
        t, done = self._times[n], NEVER
        for group in range(self._geometries[n].groups):
            valid = self._step(n, loaded, costs[n][step]) + self._latency[n]
            t.drive, done = self._deliver(n, valid, group, step, costs)
        self._release(n)
        return done

    def _step(self, n: int, loaded: int, cost: int) -> int:
        """Play a vector once; the cycle of its STEP."""
        t = self._times[n]
        start = max(loaded + SpikeQueue.FILL_CYCLES, t.step + 1)
        t.step = max(start + cost - 1, t.drive + 1)
        return t.step

    def _release(self, n: int) -> None:
        t = self._times[n]
        t.released = [t.released[1], t.step]

    def _deliver(
        self, n: int, valid: int, group: int, step: int, costs: Sequence[Sequence[int]]
    ) -> tuple[int, int]:
        """A drive offered from cycle `valid` on: when it is taken, and the cycle of the last
        result that follows from it (NEVER if none yet)."""
        t, g = self._times[n], self._geometries[n]
        if n == len(self._times) - 1:
            taken = max(valid, t.readout_free)
            t.readout_free = taken + Readout.INTERVAL
            last = NEVER
            if step == self._steps - 1:
                logits = min(g.lanes, g.neurons - group * g.lanes)
                last = taken + Readout.LATENCY + logits - 1
                t.readout_free = last + Readout.RECOVERY
            return taken, last

        looked_at = max(valid, t.lif_free)
        receiver, shape = self._times[n + 1], self._geometries[n + 1]
        beats = -(-g.lanes // shape.word)
        word = max(looked_at + LifArray.LATENCY, receiver.last_word + 1)
        if group == 0:
            word = max(word, receiver.released[0] + 1)
        sent = receiver.last_word = word + beats - 1
        t.lif_free = sent + LifArray.recovery(g)
        taken = sent + LifArray.store_cycles(g)
        if group < g.groups - 1:
            return taken, NEVER
        return taken, self._play_spikes(n + 1, receiver.last_word, step, costs)
