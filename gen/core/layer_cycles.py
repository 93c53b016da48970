"""The cycle law of a core: the laws of its components, composed. Exact for flowing streams.

A time is the cycle number of a hand-shake. Nothing here restates a component's numbers: they are
read from the components. `docs/cycles.md` derives the composition.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan
from hw.layer.accumulator import Accumulator
from hw.layer.geometry import LayerGeometry
from hw.layer.lif import LifArray
from hw.layer.queue import SpikeQueue
from hw.neuron.readout import Readout
from hw.stream.transposer import Transposer

__all__ = ["CycleLaw", "event_counts", "play_cycles"]

Int = npt.NDArray[np.int64]
NEVER = -(10**9)
"""A time before all others: what has not happened holds nothing up."""


def event_counts(coefficients: npt.NDArray[np.integer], geometry: LayerGeometry) -> Int:
    """SPIKE events per pass (`geometry.turns`) and bank: (..., inputs) -> (..., passes, banks)."""
    magnitude = np.abs(coefficients.astype(np.int16))
    bank = geometry.slots() % geometry.banks
    planes = []
    for p in range(geometry.planes):
        bit = magnitude >> p & 1
        planes.append(
            np.stack([bit[..., bank == b].sum(axis=-1) for b in range(geometry.banks)], axis=-1)
        )
    return np.stack([planes[p] for p in geometry.turns], axis=-2).astype(np.int64)


def play_cycles(counts: Int) -> Int:
    """Cycles to play a vector once, from `event_counts`: in each pass the fullest bank's events,
    and one more for its end."""
    return (counts.max(axis=-1) + 1).sum(axis=-1)


@dataclass
class _LayerTimes:
    """When a layer last did what; the state that one vector leaves for the next."""

    released: list[int]  # per buffer of the queue, in turn
    last_word: int = NEVER  # a word of the input stream was taken
    step: int = NEVER  # the last STEP of a vector was taken
    drive: int = NEVER  # the accumulator's output was taken
    lif_free: int = NEVER  # LIF array: can look at a drive from this cycle on
    readout_free: int = NEVER  # readout: can take a drive from this cycle on
    written: int = NEVER  # transposer: a word was taken
    sent: int = NEVER  # transposer: a word was sent
    emptied: list[int] = field(default_factory=lambda: [NEVER, NEVER])  # transposer: per image


class CycleLaw:
    """Predicts when each image's class leaves the core, inputs offered and results taken at once.

    Parameters
    ----------
    plan
        The core.
    """

    def __init__(self, plan: CorePlan) -> None:
        self._geometries = plan.geometries
        self._steps = plan.network.spec.steps
        self._latency = [Accumulator.latency(g) for g in plan.geometries]
        neurons = [layer.neuron for layer in plan.network.spec.layers]
        self._fire = [0 if neuron is None else LifArray.latency(neuron) for neuron in neurons]
        self._times = [_LayerTimes([NEVER] * g.buffers) for g in plan.geometries]

    def predict(self, costs: Sequence[Int]) -> Int:
        """Cycle of the last result of each image, (n,); cycle 0 takes the first image's first word,
        and the biases have been fetched by then (`bias_rows` cycles after reset).

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
        """Layer 0: the accumulator runs once per group, what follows it T times: the drive waits
        in the accumulator's output for its last use."""
        g, t, done = self._geometries[0], self._times[0], NEVER
        for group in range(g.groups):
            valid = self._step(0, loaded, costs[0][0]) + self._latency[0]
            for part in self._parts(0, group):
                for step in range(self._steps):
                    t.drive, done = self._deliver(0, valid, part, step, costs)
        self._release(0)
        return self._transpose(costs) if self._transposes(0) else done

    def _parts(self, n: int, group: int) -> range:
        """The groups, as the neurons see them, that a group of drives becomes."""
        parts = self._geometries[n].firing.groups // self._geometries[n].groups
        return range(group * parts, (group + 1) * parts)

    def _transposes(self, n: int) -> bool:
        return n == 0 and self._geometries[0].firing.groups > 1 and len(self._times) > 1

    def _transpose(self, costs: Sequence[Sequence[int]]) -> int:
        """Layer 0's spikes of an image, in the order of time."""
        t, receiver, done = self._times[0], self._times[1], NEVER
        offer = max(t.written + Transposer.LATENCY, t.sent + Transposer.INTERVAL)
        words = self._geometries[0].firing.groups * self._beats(0)
        for step in range(self._steps):
            for word in range(words):
                t.sent = offer
                if word == 0:
                    t.sent = max(offer, receiver.released[0] + 1)
                offer = t.sent + Transposer.INTERVAL
            receiver.last_word = t.sent
            done = self._play_spikes(1, t.sent, step, costs)
        t.emptied = [t.emptied[1], t.sent]
        return done

    def _beats(self, n: int) -> int:
        """Words of a group's spikes."""
        return -(-self._geometries[n].firing.lanes // self._geometries[n + 1].word)

    def _play_spikes(self, n: int, loaded: int, step: int, costs: Sequence[Sequence[int]]) -> int:
        """A layer that receives spikes: once per time step."""
        t, done = self._times[n], NEVER
        for group in range(self._geometries[n].groups):
            valid = self._step(n, loaded, costs[n][step]) + self._latency[n]
            for part in self._parts(n, group):
                t.drive, done = self._deliver(n, valid, part, step, costs)
        self._release(n)
        return done

    def _step(self, n: int, loaded: int, cost: int) -> int:
        """Play a vector once; the cycle of its STEP."""
        t = self._times[n]
        prelude = Accumulator.prelude(self._geometries[n])
        fill = SpikeQueue.fill_cycles(self._geometries[n].lean)
        start = max(loaded + fill, t.step + 1 + prelude)
        t.step = max(start + cost - 1, t.drive + 1)
        return t.step

    def _release(self, n: int) -> None:
        t = self._times[n]
        t.released = [*t.released[1:], t.step]

    def _deliver(
        self, n: int, valid: int, group: int, step: int, costs: Sequence[Sequence[int]]
    ) -> tuple[int, int]:
        """A drive offered from cycle `valid` on: when it is taken, and the cycle of the last
        result that follows from it (NEVER if none yet). Groups are as the neurons see them."""
        t, g, neurons = self._times[n], self._geometries[n].firing, self._geometries[n].neurons
        if n == len(self._times) - 1:
            taken = max(valid, t.readout_free)
            t.readout_free = taken + Readout.INTERVAL
            last = NEVER
            if step == self._steps - 1:
                logits = min(g.lanes, neurons - group * g.lanes)
                last = taken + Readout.LATENCY + logits - 1
                t.readout_free = last + Readout.RECOVERY
            return taken, last

        word = max(valid, t.lif_free) + self._fire[n]
        if self._transposes(n):
            word = max(word, t.written + 1)
            if group == step == 0:
                word = max(word, t.emptied[0] + 1)
            sent = t.written = word + self._beats(n) - 1
        else:
            receiver = self._times[n + 1]
            word = max(word, receiver.last_word + 1)
            if group == 0:
                word = max(word, receiver.released[0] + 1)
            sent = receiver.last_word = word + self._beats(n) - 1
        t.lif_free = sent + LifArray.recovery(g)
        taken = sent + LifArray.store_cycles(g)
        if self._transposes(n) or group < g.groups - 1:
            return taken, NEVER
        return taken, self._play_spikes(n + 1, sent, step, costs)
