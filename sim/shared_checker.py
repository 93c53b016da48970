"""Holds what a shared core did against the golden model: every word of spikes and potentials,
logit, class, cycle."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gen.map_layout import map_layout
from gen.shared_cycles import SharedLaw
from gen.shared_files import AnyShared
from hw.program import Sweep
from hw.spec import INPUT
from sim.checker import Findings, check_results
from sim.edges import fan_out
from sim.golden import Trace
from sim.streams import split_fields

__all__ = ["SharedChecker", "SharedRecording"]

Int = npt.NDArray[np.int64]


@dataclass
class SharedRecording:
    """What the bench saw, raw.

    words
        Of each stage, (spikes, potentials) of each word of a layer that fired, in order.
    results
        (cycle, payload) of each logit.
    start
        Cycle in which the first word was taken.
    """

    words: list[list[tuple[int, int]]]
    results: list[tuple[int, int]] = field(default_factory=list)
    start: int = -1


class SharedChecker:
    """Compares recordings with the golden model, some images at a time.

    Parameters
    ----------
    plan
        The core.
    tapped
        Spikes and potentials are seen.
    lead
        Cycles from reset to the first word, for the cycle law; None: it is not checked.
    """

    def __init__(self, plan: AnyShared, *, tapped: bool, lead: int | None) -> None:
        self._plan, self._tapped = plan, tapped
        self._law = None if lead is None else SharedLaw(plan, lead)
        self.recording = SharedRecording([[] for _ in plan.stages])
        self.findings = Findings(law_checked=lead is not None)
        self._reach = list(_reach(plan))

    def check(self, pixels: npt.NDArray[np.uint8], labels: Int, trace: Trace) -> None:
        """Compare the next `len(pixels)` images, whose results have all been recorded; what was
        recorded of later images stays for the next call."""
        self.findings.start = self.recording.start
        if self._tapped:
            for n in range(len(self._plan.stages)):
                self._check_words(n, trace)
        done = check_results(
            self.findings, self.recording.results, self._plan.image, labels, trace
        )
        self.recording.results = self.recording.results[done:]
        if self._law is not None:
            predicted = self._law.predict(pixels, trace.spikes)
            self.findings.predicted += predicted.tolist()
            seen = np.array(self.findings.completion[-len(pixels) :]) - self.findings.start
            self.findings.cycle_law_violations += int((seen != predicted).sum())
        self._count(pixels, trace)
        self.findings.images += len(pixels)
        self.findings.correct_golden += int((trace.classes == labels).sum())

    def finish(self) -> None:
        """Count whatever was recorded beyond the last image: each value is a mismatch."""
        for n, words in enumerate(self.recording.words):
            self.findings.surplus(f"words of spikes of stage {n}", len(words))
        self.findings.surplus("results", len(self.recording.results))

    def _check_words(self, stage: int, trace: Trace) -> None:
        """All sweeps of a stage that fire, in the order of the program."""
        plan, p = self._plan, self._plan.stages[stage].program
        lanes, bits = plan.lanes, p.potential_bits
        names = [layer.name for layer in plan.image.spec.layers]
        sweeps = [op for op in p.operations if isinstance(op, Sweep) and op.fires]
        images, counts = len(trace.logits), [op.last_word + 1 for op in sweeps]
        total = images * sum(counts)
        seen = self.recording.words[stage][:total]
        del self.recording.words[stage][:total]
        coded = split_fields([w for w, _ in seen], [1 + p.spike_sign] * lanes)
        spikes = np.stack([c & 1 for c in coded], axis=-1)
        spikes *= 1 - 2 * np.stack([c >> 1 for c in coded], axis=-1)
        raw = np.stack(split_fields([w for _, w in seen], [bits] * lanes), axis=-1)
        potentials = raw - ((raw >> bits - 1) << bits)
        starts = np.cumsum([0, *counts])
        for which, values, wanted in (
            ("Spike", spikes, trace.spikes), ("Potential", potentials, trace.potentials)
        ):  # fmt: skip
            for n in plan.stages[stage].layers:
                if plan.image.spec.layers[n].neuron is None:
                    continue
                name = names[n]
                layout = map_layout(plan.image.spec, name, lanes)
                place = [k for k, op in enumerate(sweeps) if op.name == name]
                expected = np.stack(
                    [layout.pack(wanted[n][:, step]) for step in range(len(place))], axis=1
                )  # (images, steps, words, lanes)
                if len(values) < total:  # something is missing: told as such
                    self.findings.compare(f"{which} of layer {name}", values[:0], expected)
                    continue
                by_image = values.reshape(images, starts[-1], lanes)
                found = np.stack([by_image[:, starts[k] : starts[k + 1]] for k in place], axis=1)
                if which == "Potential":  # lanes without a channel have one that nobody looks at
                    found, expected = (
                        layout.unpack(a.reshape(-1, layout.words, lanes)) for a in (found, expected)
                    )
                self.findings.compare(f"{which} of layer {name}", found, expected)

    def _count(self, pixels: npt.NDArray[np.uint8], trace: Trace) -> None:
        sent = dict(
            zip([layer.name for layer in self._plan.image.spec.layers], trace.spikes, strict=False)
        )
        for source, reach, delay in self._reach:
            if source == INPUT:
                images = pixels.reshape(-1, self._plan.image.spec.input_size)
                per_pixel = np.bitwise_count(images).astype(np.int64).sum(axis=0)
            else:
                steps = sent[source].shape[1] - delay
                per_pixel = np.abs(sent[source][:, :steps].astype(np.int64)).sum(axis=(0, 1))
            self.findings.events += int(per_pixel.sum())  # as each edge plays them
            self.findings.sops += int(per_pixel @ reach)


def _reach(plan: AnyShared) -> Iterator[tuple[str, Int, int]]:
    """(source, neurons that each of its values reaches, delay) of every edge."""
    spec = plan.image.spec
    for n, layer in enumerate(spec.layers):
        for edge in spec.edges(n):
            shape: Sequence[int] = spec.shape_of(edge.source)
            places = fan_out(edge, spec.shape_of(edge.source), layer.map_shape)
            yield edge.source, np.broadcast_to(places, tuple(shape)).reshape(-1), edge.delay
