"""The cycle law of a layer stage: the laws of its components, composed. Exact for flowing streams.

Nothing here restates a component's numbers: they are read from the components. `docs/cycles.md`
derives the composition.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gen.stage.stage import NEVER, StageTimes
from gen.stage.taps import event_counts
from hw.contract.neuron import NeuronSpec
from hw.layer.accumulator import Accumulator
from hw.layer.geometry import LayerGeometry
from hw.layer.lif import LifArray
from hw.layer.queue import SpikeQueue
from hw.neuron.readout import Readout
from hw.stream.transposer import Transposer

__all__ = ["LayerTimes", "play_cycles"]

Int = npt.NDArray[np.int64]


def play_cycles(counts: Int) -> Int:
    """Cycles to play a vector once, from `event_counts`: in each pass the fullest bank's events,
    and one more for its end."""
    return (counts.max(axis=-1) + 1).sum(axis=-1)


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
    ) -> None:
        g = self._geometry = geometry
        self.word_size = g.word
        self._firing, self._steps, self._constant = g.firing, steps, constant
        self._source, self._after = source, after
        self._latency = Accumulator.latency(g)
        self._prelude = Accumulator.prelude(g)
        self._fill = SpikeQueue.fill_cycles(g.lean)
        self._fire = 0 if neuron is None else LifArray.latency(neuron)
        self._beats = -(-g.firing.lanes // out_word) if out_word else 0
        self._parts = g.firing.groups // g.groups
        self._transposes = constant and g.firing.groups > 1 and after is not None
        self._prepared: list[list[int]] = []
        self._costs: Sequence[int] = ()
        self._place = 0  # words of the vector that have been taken
        self._released = [NEVER] * g.buffers  # per buffer of the queue, in turn
        self._last_word = NEVER  # a word of the input stream was taken
        self._step = NEVER  # the last STEP of a vector was taken
        self._drive = NEVER  # the accumulator's output was taken
        self._lif_free = NEVER  # LIF array: can look at a drive from this cycle on
        self._readout_free = NEVER  # readout: can take a drive from this cycle on
        self._written = NEVER  # transposer: a word was taken
        self._sent = NEVER  # transposer: a word was sent
        self._emptied = [NEVER, NEVER]  # transposer: per picture

    def prepare(self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]) -> None:
        sent = pixels if self._source < 0 else spikes[self._source]
        vectors = sent.reshape(len(pixels), -1, self._geometry.inputs)
        self._prepared = play_cycles(event_counts(vectors, self._geometry)).tolist()

    def begin(self, n: int) -> None:
        self._costs = self._prepared[n]

    def take(self, offer: int, count: int, interval: int = 1) -> int:
        first = max(offer, self._last_word + 1)
        if self._place == 0:
            first = max(first, self._released[0] + 1)
        self._place = (self._place + count) % self._geometry.words
        self._last_word = first + (count - 1) * interval
        return self._last_word

    def play(self, vector: int) -> None:
        """The accumulator runs once per group; what follows it once, or, where the input is
        constant, T times: the drive waits in the accumulator's output for its last use."""
        steps = range(self._steps) if self._constant else (vector,)
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
            self._readout_free = self._drive + Readout.INTERVAL
            if step == self._steps - 1:
                logits = min(g.lanes, self._geometry.neurons - group * g.lanes)
                self.done = self._drive + Readout.LATENCY + logits - 1
                self._readout_free = self.done + Readout.RECOVERY
            return
        word = max(valid, self._lif_free) + self._fire
        if self._transposes:
            word = max(word, self._written + 1)
            if group == step == 0:
                word = max(word, self._emptied[0] + 1)
            sent = self._written = word + self._beats - 1
        else:
            sent = self._after.take(word, self._beats)
        self._lif_free = sent + LifArray.recovery(g)
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
