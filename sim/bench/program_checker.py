"""Holds what a shared core did against the golden model: every word of spikes and potentials,
logit, class, cycle."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gen.core.program_cycles import SharedLaw
from gen.core.program_files import AnyShared
from hw.contract.layout import map_layout
from hw.program.program import Sweep
from sim.bench.checker import Findings, check_results
from sim.bench.streams import decode_spikes, signed, split_fields
from sim.golden.activity import ActivityMeter
from sim.golden.model import Trace

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
        self._meter = ActivityMeter(plan.network)

    def check(self, pixels: npt.NDArray[np.uint8], labels: Int, trace: Trace) -> None:
        """Compare the next `len(pixels)` images, whose results have all been recorded; what was
        recorded of later images stays for the next call."""
        self.findings.start = self.recording.start
        if self._tapped:
            for n in range(len(self._plan.stages)):
                self._check_words(n, trace)
        done = check_results(
            self.findings, self.recording.results, self._plan.network, labels, trace
        )
        self.recording.results = self.recording.results[done:]
        if self._law is not None:
            self.findings.check_law(self._law.predict(pixels, trace.spikes))
        self._meter.add(pixels, trace)
        self.findings.events, self.findings.sops = self._meter.events, self._meter.sops
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
        names = [layer.name for layer in plan.network.spec.layers]
        sweeps = [op for op in p.operations if isinstance(op, Sweep) and op.fires]
        images, counts = len(trace.logits), [op.last_word + 1 for op in sweeps]
        total = images * sum(counts)
        seen = self.recording.words[stage][:total]
        del self.recording.words[stage][:total]
        coded = split_fields([w for w, _ in seen], [p.spike_planes + p.spike_sign] * lanes)
        spikes = decode_spikes(np.stack(coded, axis=-1), p.spike_planes)
        raw = np.stack(split_fields([w for _, w in seen], [bits] * lanes), axis=-1)
        potentials = signed(raw, bits)
        starts = np.cumsum([0, *counts])
        for which, values, wanted in (
            ("Spike", spikes, trace.spikes),
            ("Potential", potentials, trace.potentials),
        ):
            for n in plan.stages[stage].layers:
                if plan.network.spec.layers[n].neuron is None:
                    continue
                name = names[n]
                layout = map_layout(plan.network.spec, name, lanes)
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
