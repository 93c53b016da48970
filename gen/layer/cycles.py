"""The cycle law of a layer stage: the laws of its components, composed. Exact for flowing streams.

Nothing here restates a component's numbers: they are read from the components. `docs/cycles.md`
derives the composition.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gen.stage.stage import NEVER, StageTimes
from gen.stage.taps import event_counts, played_vectors
from hw.contract.neuron import NeuronSpec, ReadoutSpec
from hw.layer.accumulator import Accumulator
from hw.layer.constants import COMMON, ConstantFields
from hw.layer.geometry import LayerGeometry
from hw.layer.lif import LifArray
from hw.layer.queue import SpikeQueue
from hw.neuron.readout import Readout
from hw.stream.step_sum import StepSum
from hw.stream.transposer import Transposer

__all__ = ["LayerTimes", "play_cycles", "round_cycles"]

Int = npt.NDArray[np.int64]


def play_cycles(counts: Int) -> Int:
    """Cycles to play a vector once, from `event_counts`: in each pass the fullest bank's events,
    and one more for its end."""
    return (counts.max(axis=-1) + 1).sum(axis=-1)


def round_cycles(
    geometry: LayerGeometry,
    neuron: NeuronSpec | None,
    out_word: int,
    uses: int,
    readout: ReadoutSpec | None = None,
    own: ConstantFields = COMMON,
) -> int:
    """Cycles from one STEP of a group to the next where nothing is left to be played meanwhile: the
    drive's way to the neurons, which use it so many times (T, where the input is constant), one
    part of the group after the other. Arguments as `LayerTimes`'."""
    there = Accumulator.latency(geometry)
    if neuron is None:
        return there + 1 + (uses - 1) * Readout.interval(readout)
    g, recovery = geometry.firing, LifArray.recovery(geometry.firing, neuron)
    parts = g.groups // geometry.groups
    once = LifArray.latency(neuron, own) - (-g.lanes // out_word) - 1 + recovery
    fetch = LifArray.fetch_cycles(own) * (g.groups > 1)
    busy = uses * parts * once + fetch * (parts - 1)
    # The last of them is over when the drive is taken; but the neurons may not be free by then.
    return max(there + busy + LifArray.store_cycles(g) - recovery + 1, busy + fetch)


class LayerTimes(StageTimes):
    """When a layer last did what; the state that one vector leaves for the next.

    Parameters
    ----------
    geometry, neuron, steps
        Of the layer; neuron None for a readout.
    constant
        One vector serves all time steps.
    source
        Which spikes the layer receives, an index of `prepare`'s; -1: the pixels.
    out_word
        Coefficients of a word that it sends.
    after
        The stage that takes them.
    readout
        Of a readout that leaks.
    own
        What its neurons have by channel.
    """

    def __init__(
        self,
        geometry: LayerGeometry,
        neuron: NeuronSpec | None,
        *,
        steps: int,
        constant: bool,
        source: int,
        out_word: int,
        after: StageTimes | None,
        readout: ReadoutSpec | None = None,
        own: ConstantFields = COMMON,
    ) -> None:
        g = self._geometry = geometry
        self.word_size = g.word
        self._firing, self._steps, self._constant = g.firing, steps, constant
        self._source, self._after, self._readout = source, after, readout
        self._latency = Accumulator.latency(g)
        self._prelude = Accumulator.prelude(g)
        self._fill = SpikeQueue.fill_cycles(g.lean)
        self._fire = 0 if neuron is None else LifArray.latency(neuron, own)
        self._fetch = LifArray.fetch_cycles(own) if g.firing.groups > 1 else 0
        self._recovery = 0 if neuron is None else LifArray.recovery(g.firing, neuron)
        self._beats = -(-g.firing.lanes // out_word) if out_word else 0
        self._parts = g.firing.groups // g.groups
        self._transposes = constant and g.firing.groups > 1 and after is not None
        self._prepared: list[list[int]] = []
        self._costs: Sequence[int] = ()
        self._place = 0  # words of the vector that have been taken
        self._released = [NEVER] * g.buffers  # per buffer of the queue, in turn
        self._last_word = NEVER  # a word of the input stream was taken by the queue
        self._summed = NEVER  # a word was taken by the step sum
        self._vector = 0  # the step that its words are of
        self._step = NEVER  # the last STEP of a vector was taken
        self._drive = NEVER  # the accumulator's output was taken
        self._lif_free = NEVER  # LIF array: can look at a drive from this cycle on
        self._readout_free = NEVER  # readout: can take a drive from this cycle on
        self._written = NEVER  # transposer: a word was taken
        self._sent = NEVER  # transposer: a word was sent
        self._emptied = [NEVER, NEVER]  # transposer: per picture

    def prepare(self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]) -> None:
        sent = pixels if self._source < 0 else spikes[self._source]
        vectors = played_vectors(sent, self._geometry)
        self._prepared = play_cycles(event_counts(vectors, self._geometry)).tolist()

    def begin(self, n: int) -> None:
        self._costs = self._prepared[n]

    def take(self, offer: int, count: int, interval: int = 1) -> int:
        if self._geometry.sent_planes:
            return self._take_sums(offer, count, interval)
        self._last_word = self._queue(max(offer, self._last_word + 1)) + (count - 1) * interval
        self._place = (self._place + count) % self._geometry.words
        return self._last_word

    def _queue(self, offer: int) -> int:
        """When the queue takes a word: the first of a vector not before there is room."""
        return offer if self._place else max(offer, self._released[0] + 1)

    def _take_sums(self, offer: int, count: int, interval: int) -> int:
        """Words wait at the step sum's input while a sum waits at its output; of a vector, only the
        first can."""
        g = self._geometry
        taken = max(offer, self._summed + 1, self._last_word)
        last_step = self._vector == self._steps - 1
        if last_step:
            word = self._queue(taken + StepSum.LATENCY)
            if count > 1:
                taken = max(taken + interval, word) + (count - 2) * interval
                word = taken + StepSum.LATENCY
            self._last_word = word
        else:
            taken += (count - 1) * interval
        self._summed = taken
        self._place += count
        if self._place == g.words:
            self._place, self._vector = 0, (self._vector + 1) % self._steps
        return taken

    def play(self, vector: int) -> None:
        """The accumulator runs once per group; what follows it once, or, where the input is
        constant, T times: the drive waits in the accumulator's output for its last use. Where sums
        are played, they are there with the last step."""
        steps: Sequence[int] = range(self._steps) if self._constant else (vector,)
        if self._geometry.sent_planes:
            if vector < self._steps - 1:
                return
            vector = 0
        for group in range(self._geometry.groups):
            valid = self._sum(self._costs[vector]) + self._latency
            for part in range(group * self._parts, (group + 1) * self._parts):
                for step in steps:
                    self._deliver(valid, part, step)
        self._released = [*self._released[1:], self._step]
        if self._transposes:
            self._transpose()

    def _sum(self, cost: int) -> int:
        """Play the vector once; the cycle of its STEP."""
        start = max(self._last_word + self._fill, self._step + 1 + self._prelude)
        self._step = max(start + cost - 1, self._drive + 1)
        return self._step

    def _deliver(self, valid: int, group: int, step: int) -> None:
        """A drive that is offered from cycle `valid` on. Groups are as the neurons see them."""
        g = self._firing
        if self._after is None:
            self._drive = max(valid, self._readout_free)
            self._readout_free = self._drive + Readout.interval(self._readout)
            if step == self._steps - 1:
                logits = min(g.lanes, self._geometry.neurons - group * g.lanes)
                self.done = self._drive + Readout.latency(self._readout) + logits - 1
                self._readout_free = self.done + Readout.RECOVERY
            return
        word = max(valid, self._lif_free) + self._fire
        if self._transposes:
            if group == step == 0:
                word = max(word, self._emptied[0] + 1)
            sent = self._written = word + self._beats - 1
        else:
            sent = self._after.take(word, self._beats)
        self._lif_free = sent + self._recovery
        if not self._constant or step == self._steps - 1:  # another group is next
            self._lif_free += self._fetch
        self._drive = sent + LifArray.store_cycles(g)
        if not self._transposes and group == g.groups - 1:
            self._after.play(step)

    def _transpose(self) -> None:
        """The spikes of a picture, in the order of time."""
        assert self._after is not None
        offer = max(self._written + Transposer.LATENCY, self._sent + Transposer.INTERVAL)
        words = self._firing.groups * self._beats
        for step in range(self._steps):
            self._sent = self._after.take(offer, words, Transposer.INTERVAL)
            offer = self._sent + Transposer.INTERVAL
            self._after.play(step)
        self._emptied = [self._emptied[1], self._sent]
