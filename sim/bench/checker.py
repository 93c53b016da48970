"""Holds what a core did against the golden model: every event, potential, logit, class, cycle."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gen.core.layer_cycles import CycleLaw, event_counts
from gen.core.plan import CorePlan
from hw.contract.network import Network
from hw.core import TraceField
from hw.layer.geometry import LayerGeometry
from hw.stream.payloads import Kind
from sim.bench.streams import (
    decode_spikes,
    expected_events,
    law_costs,
    signed,
    spike_bits,
    split_fields,
)
from sim.golden.model import Trace

__all__ = ["Checker", "Findings", "Recording", "check_results"]

Int = npt.NDArray[np.int64]


@dataclass
class Recording:
    """What the bench saw, raw.

    trace
        (cycle, `tap_trace`) of each cycle in which something happened.
    neurons
        Per firing layer, (spikes, potentials) of each group as it left the LIF array.
    results
        (cycle, payload) of each logit.
    """

    trace: list[tuple[int, int]] = field(default_factory=list)
    neurons: list[list[tuple[int, int]]] = field(default_factory=list)
    results: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Findings:
    """Sums over the images compared so far. `compared` and `mismatches` count single values."""

    images: int = 0
    compared: int = 0
    mismatches: int = 0
    first_mismatch: str = ""
    cycle_law_violations: int = 0
    correct_rtl: int = 0
    correct_golden: int = 0
    completion: list[int] = field(default_factory=list)  # cycle of each image's class
    start: int = 0  # cycle of the first word taken
    predicted: list[int] = field(default_factory=list)  # `completion - start` by the cycle law
    law_checked: bool = False
    steady_additions: list[int] = field(default_factory=list)  # rows added per layer, from the
    # first class on: a core that has filled up
    events: int = 0  # bits of coefficients played: by the first layer and sent by all firing layers
    sops: int = 0  # synaptic operations: events times the neurons each reaches

    def compare(self, what: str, seen: npt.NDArray, expected: npt.NDArray) -> None:
        """Count the values in which two arrays differ; a missing or surplus value is a mismatch."""
        common = min(len(seen), len(expected))
        differs = seen[:common] != expected[:common]
        rest = abs(len(seen) - len(expected))
        count = int(differs.sum()) + rest * int(np.prod(expected.shape[1:], dtype=int))
        self.compared += int(expected.size)
        self.mismatches += count
        if count and not self.first_mismatch:
            if differs.any():
                at = tuple(int(n) for n in np.argwhere(differs)[0])
                detail = f"at {at}: hardware {seen[at]}, golden model {expected[at]}"
            else:
                detail = f"hardware has {len(seen)}, golden model {len(expected)}"
            self.first_mismatch = f"{what} {detail}"

    def check_law(self, predicted: Int) -> None:
        """Count the images whose class did not come in the cycle that the law says, of the last
        ones."""
        self.predicted += predicted.tolist()
        seen = np.array(self.completion[-len(predicted) :]) - self.start
        self.cycle_law_violations += int((seen != predicted).sum())

    def surplus(self, what: str, count: int) -> None:
        """Count what the hardware sent and nobody expected."""
        self.mismatches += count
        if count and not self.first_mismatch:
            self.first_mismatch = f"After the last image, {count} surplus {what}"


def check_results(
    findings: Findings,
    results: Sequence[tuple[int, int]],
    network: Network,
    labels: Int,
    trace: Trace,
) -> int:
    """Compare the first of these results, (cycle, payload of `hw.neuron.readout.result_layout`)
    each, with
    a trace; how many belong to it."""
    classes, count = trace.logits.shape[1], trace.logits.size
    logit_bits = network.layers[-1].logit_bits
    widths = [logit_bits, max(1, (classes - 1).bit_length()), 1]
    mine = results[:count]
    logit, best, last = split_fields([payload for _, payload in mine], widths)
    chosen = best[classes - 1 :: classes]
    findings.compare("Logit", signed(logit, logit_bits), trace.logits.reshape(-1))
    ends = np.tile(np.arange(classes) == classes - 1, len(labels))
    findings.compare("End of results", last, ends)
    findings.compare("Class", chosen, trace.classes)
    findings.correct_rtl += int((chosen == labels).sum())
    findings.completion += [cycle for cycle, _ in mine[classes - 1 :: classes]]
    return count


class Checker:
    """Compares recordings with the golden model, some images at a time.

    Parameters
    ----------
    plan
        The core.
    fields
        `Core.trace_fields`.
    law
        Compare the cycle of each class with the cycle law (streams must flow).
    """

    def __init__(self, plan: CorePlan, fields: Sequence[TraceField], *, law: bool) -> None:
        self._plan = plan
        self._names = [name for name, _ in fields]
        self._widths = [width for _, width in fields]
        self._tapped = "event0_0" in self._names
        self._law = CycleLaw(plan) if law else None
        self._first_class: int | None = None  # cycle of the first image's class
        self._events = [
            [np.zeros((0, 3), dtype=np.int64)] * geometry.banks for geometry in plan.geometries
        ]
        self.recording = Recording(neurons=[[] for _ in plan.geometries[1:]])
        self.findings = Findings(steady_additions=[0] * len(plan.geometries), law_checked=law)

    def check(self, pixels: npt.NDArray[np.uint8], labels: Int, trace: Trace) -> None:
        """Compare the next `len(pixels)` images, whose results have all been recorded; what was
        recorded of later images stays for the next call."""
        self._absorb()
        if self._tapped:
            inputs = [pixels, *(s.reshape(-1, s.shape[-1]) for s in trace.spikes)]
            for n, vectors in enumerate(inputs):
                for b in range(self._plan.banks):
                    self._check_events(n, b, vectors)
            for n in range(len(trace.spikes)):
                self._check_neurons(n, trace)
        self._check_results(labels, trace)
        self._check_law(pixels, trace)
        self._count_events(pixels, trace)
        self.findings.images += len(pixels)
        self.findings.correct_golden += int((trace.classes == labels).sum())

    def finish(self) -> None:
        """Count whatever was recorded beyond the last image: each value is a mismatch."""
        if self.recording.trace:
            self._absorb()
        for n, banks in enumerate(self._events):
            for b, seen in enumerate(banks):
                self.findings.surplus(f"events of layer {n}, bank {b}", len(seen))
        for n, words in enumerate(self.recording.neurons):
            self.findings.surplus(f"words of spikes of layer {n}", len(words))
        self.findings.surplus("results", len(self.recording.results))

    def _absorb(self) -> None:
        """Sort the recorded cycles into one run of events per layer and bank."""
        trace, self.recording.trace = self.recording.trace, []
        cycles = np.array([cycle for cycle, _ in trace])
        fields = dict(
            zip(self._names, split_fields([v for _, v in trace], self._widths), strict=True)
        )
        if self._first_class is None:
            self.findings.start = int(cycles[np.argmax(fields["input"])])
            self._first_class = self.recording.results[self._plan.network.spec.classes - 1][0]
        filled = cycles > self._first_class
        for n, geometry in enumerate(self._plan.geometries if self._tapped else ()):
            for b in range(geometry.banks):
                taken = fields[f"event{n}_{b}"] == 1
                seen = _events(fields[f"payload{n}_{b}"][taken])
                added = (seen[:, 0] == Kind.SPIKE.value) & filled[taken]
                self.findings.steady_additions[n] += int(added.sum())
                self._events[n][b] = np.concatenate([self._events[n][b], seen])

    def _check_events(self, n: int, b: int, vectors: npt.NDArray[np.integer]) -> None:
        geometry, seen = self._plan.geometries[n], self._events[n][b]
        steps = np.flatnonzero(seen[:, 0] == Kind.STEP.value)
        wanted = len(vectors) * geometry.groups
        end = int(steps[wanted - 1]) + 1 if len(steps) >= wanted else len(seen)
        expected = expected_events(vectors, geometry, b).rows()
        self.findings.compare(f"Event of layer {n}, bank {b},", seen[:end], expected)
        self._events[n][b] = seen[end:]

    def _count_events(self, pixels: npt.NDArray[np.uint8], trace: Trace) -> None:
        for geometry, vectors in zip(self._plan.geometries, (pixels, *trace.spikes), strict=True):
            events = int(event_counts(vectors, geometry).sum())
            self.findings.events += events
            self.findings.sops += events * geometry.neurons

    def _check_neurons(self, n: int, trace: Trace) -> None:
        geometry, neuron = self._plan.geometries[n], self._plan.network.spec.layers[n].neuron
        assert neuron is not None
        spikes = trace.spikes[n].reshape(-1, geometry.neurons)
        potentials = trace.potentials[n].reshape(-1, geometry.neurons)
        neurons, geometry = geometry.neurons, geometry.firing
        count = len(spikes) * geometry.groups
        seen = self.recording.neurons[n][:count]
        del self.recording.neurons[n][:count]
        if n == 0 and len(seen) == count:  # an image's layer goes group by group
            order = np.arange(count).reshape(-1, geometry.groups, trace.spikes[0].shape[1])
            seen = [seen[k] for k in order.swapaxes(1, 2).reshape(-1).tolist()]
        coded = _lanes([s for s, _ in seen], geometry, spike_bits(neuron))[:, :neurons]
        sent = decode_spikes(coded, neuron.magnitude_bits)
        self.findings.compare(f"Spike of layer {n}", sent, spikes)
        bits = neuron.potential_bits
        stored = signed(_lanes([u for _, u in seen], geometry, bits), bits)[:, :neurons]
        self.findings.compare(f"Potential of layer {n}", stored, potentials)

    def _check_results(self, labels: Int, trace: Trace) -> None:
        results = self.recording.results
        del results[: check_results(self.findings, results, self._plan.network, labels, trace)]

    def _check_law(self, pixels: npt.NDArray[np.uint8], trace: Trace) -> None:
        if self._law is not None:
            costs = law_costs(self._plan, pixels, trace)
            self.findings.check_law(self._law.predict(costs))


def _events(payload: Int) -> Int:
    """Event payloads as rows (kind, negative, index); index and sign of endings are not defined."""
    kind, negative, index = payload & 3, payload >> 2 & 1, payload >> 3
    spike = kind == Kind.SPIKE.value
    return np.stack([kind, negative * spike, index * spike], axis=-1)


def _lanes(words: Sequence[int], geometry: LayerGeometry, bits: int) -> Int:
    """Words of `lanes` fields, `groups` per vector, as (vectors, neurons)."""
    values = np.stack(split_fields(words, [bits] * geometry.lanes), axis=-1)
    whole = len(words) // geometry.groups
    vectors = values[: whole * geometry.groups].reshape(whole, geometry.groups * geometry.lanes)
    return vectors[:, : geometry.neurons]
