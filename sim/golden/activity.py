"""What a network does for an image: events and synaptic operations, from the golden model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.edge import INPUT
from hw.contract.network import Network
from sim.golden.edges import fan_out
from sim.golden.model import Trace

__all__ = ["Activity", "ActivityMeter"]


@dataclass(frozen=True)
class Activity:
    """What a network does for an image, on average.

    Parameters
    ----------
    input_events
        Set bits of the pixels: each one row of weights added.
    spike_rates
        Per firing layer: mean |c| per neuron and step (of ternary and binary spikes: the share that
        fires).
    spike_bits, change_bits, sum_bits
        Per firing layer: bits of |c|, per neuron and step; of |c| less that of the step before (at
        the first step, of |c|), per neuron and step; of the sum over all steps, per neuron.
    events
        Events that layers receive, pixels included: bit planes of coefficients, as the hardware
        plays them; over every edge.
    sops
        Synaptic operations: weights added or subtracted. Pixels are added once, not at every step.
    """

    input_events: float
    spike_rates: tuple[float, ...]
    spike_bits: tuple[float, ...]
    change_bits: tuple[float, ...]
    sum_bits: tuple[float, ...]
    events: float
    sops: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "input_events": round(self.input_events, 2),
            "spike_rates": [round(rate, 4) for rate in self.spike_rates],
            "spike_bits": [round(rate, 4) for rate in self.spike_bits],
            "change_bits": [round(rate, 4) for rate in self.change_bits],
            "sum_bits": [round(rate, 4) for rate in self.sum_bits],
            "events": round(self.events, 1),
            "sops": round(self.sops, 1),
        }


class ActivityMeter:
    """Adds up what a network does, batch by batch; `events` and `sops` are the sums so far
    of what `Activity` has the mean of."""

    def __init__(self, network: Network) -> None:
        self._spec = spec = network.spec
        self._fan_out = [
            [fan_out(edge, spec.shape_of(edge.source), layer.map_shape) for edge in spec.edges(n)]
            for n, layer in enumerate(spec.layers)
        ]
        self.events = self.sops = self._pixels = self._images = 0
        self._spikes = np.zeros(len(spec.layers) - 1, dtype=np.int64)
        self._bits = np.zeros((3, len(spec.layers) - 1), dtype=np.int64)
        self._chances = [spec.steps * layer.neurons for layer in spec.layers[:-1]]

    def add(self, pixels: npt.NDArray[np.uint8], trace: Trace) -> None:
        """Count a batch, by its pixels and what the golden model made of them."""
        self._images += len(pixels)
        self._pixels += int(np.bitwise_count(pixels).sum())
        fired = [int(np.abs(c.astype(np.int64)).sum()) for c in trace.spikes]
        self._spikes += np.array(fired, dtype=np.int64)
        for n, spikes in enumerate(trace.spikes):
            c = spikes.astype(np.int16)
            played = (c, np.diff(c, axis=1, prepend=0), c.sum(axis=1))
            for k, values in enumerate(played):
                self._bits[k, n] += int(np.bitwise_count(np.abs(values)).sum())
        sent = {INPUT: pixels.reshape(len(pixels), -1, self._spec.input_size)}
        for layer, c in zip(self._spec.layers, trace.spikes, strict=False):
            sent[layer.name] = np.abs(c).view(np.uint8)
        for n in range(len(self._spec.layers)):
            for edge, reached in zip(self._spec.edges(n), self._fan_out[n], strict=True):
                values = sent[edge.source]
                if edge.delay:
                    values = values[:, :-1]  # the last step's spikes never arrive
                # Summed over images, steps and channels: set bits by place.
                shape = self._spec.shape_of(edge.source)
                bits = np.bitwise_count(values).sum(axis=(0, 1), dtype=np.int64)
                bits = bits.reshape(shape).sum(axis=0)
                self.events += int(bits.sum())
                self.sops += int((bits * reached).sum())

    @property
    def activity(self) -> Activity:
        """The mean so far."""
        n = max(1, self._images)

        def shares(counts: npt.NDArray[np.int64], chances: int = 1) -> tuple[float, ...]:
            return tuple(
                float(count) / n / each * chances
                for count, each in zip(counts, self._chances, strict=True)
            )

        return Activity(
            input_events=self._pixels / n,
            spike_rates=shares(self._spikes),
            spike_bits=shares(self._bits[0]),
            change_bits=shares(self._bits[1]),
            sum_bits=shares(self._bits[2], self._spec.steps),
            events=self.events / n,
            sops=self.sops / n,
        )
