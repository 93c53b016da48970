"""Holds what a core did against the golden model: every tap, logit, class, cycle."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gen.core.law import CycleLaw
from gen.core.plan import CorePlan
from gen.stage.taps import Comparison, Seen, Tap, signed, split_fields
from hw.contract.network import Network
from sim.bench.kept import Kept
from sim.bench.recording import Recording, Rows
from sim.golden.activity import ActivityMeter
from sim.golden.model import Trace

__all__ = ["Checker", "Findings"]

Int = npt.NDArray[np.int64]


@dataclass
class Findings:
    """Sums over the pictures compared so far. `compared` and `mismatches` count single values."""

    images: int = 0
    compared: int = 0
    mismatches: int = 0
    first_mismatch: str = ""
    cycle_law_violations: int = 0
    correct_rtl: int = 0
    correct_golden: int = 0
    completion: list[int] = field(default_factory=list)  # cycle of each picture's class
    start: int = 0  # cycle of the first word taken
    predicted: list[int] = field(default_factory=list)  # `completion - start` by the cycle law
    law_checked: bool = False
    steady_additions: list[int] = field(default_factory=list)  # rows added per layer whose taps
    # show it, from the first class on: a core that has filled up
    events: int = 0  # bits of coefficients played: by the first layer and sent by all firing layers
    sops: int = 0  # synaptic operations: events times the neurons each reaches

    def compare(self, comparison: Comparison) -> None:
        """Count the values in which two arrays differ; a missing or surplus value is a mismatch."""
        what, seen, expected = comparison
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
        """Count the pictures whose class did not come in the cycle that the law says, of the last
        ones."""
        self.predicted += predicted.tolist()
        seen = np.array(self.completion[-len(predicted) :]) - self.start
        self.cycle_law_violations += int((seen != predicted).sum())

    def surplus(self, what: str, count: int) -> None:
        """Count what the hardware sent and nobody expected."""
        self.mismatches += count
        if count and not self.first_mismatch:
            self.first_mismatch = f"After the last image, {count} surplus {what}"


class Checker:
    """Compares what was recorded with the golden model, some pictures at a time.

    Parameters
    ----------
    plan, recording
        The core; what its taps and its results showed.
    tapped
        The taps are there.
    law
        Compare the cycle of each class with the cycle law (streams must flow).
    """

    def __init__(self, plan: CorePlan, recording: Recording, *, tapped: bool, law: bool) -> None:
        self._plan, self._recording = plan, recording
        self._taps: list[tuple[str, Tap]] = []
        if tapped:
            self._taps = [
                (f"{n}_{tap.name}", tap)
                for n, stage in enumerate(plan.stages)
                for tap in stage.taps()
            ]
        self._law = CycleLaw(plan) if law else None
        self._meter = ActivityMeter(plan.network)
        self._first_class: int | None = None  # cycle of the first picture's class
        self.kept = Kept()
        self.findings = Findings(law_checked=law)
        self.findings.steady_additions = [0] * len(plan.network.spec.layers)

    def check(self, pixels: npt.NDArray[np.uint8], labels: Int, trace: Trace) -> None:
        """Compare the next `len(pixels)` pictures, whose results have all been recorded, stage by
        stage as data flow; what was recorded of later ones stays for the next call."""
        found, images = self.findings, Seen(pixels, trace.spikes, trace.potentials)
        found.start = self._recording.start
        results = self._recording.take("results", trace.logits.size)
        if self._first_class is None and len(results.cycles):
            self._first_class = int(results.cycles[: trace.logits.shape[1]][-1])
        before, taken = found.mismatches, []
        for name, tap in self._taps:
            rows = self._recording.take(name, tap.rows(images))
            for comparison in tap.compare(rows.data, images):
                found.compare(comparison)
            self._count_additions(tap, rows)
            taken.append((tap, rows.data))
        self.kept.look(images, taken, differs=found.mismatches > before)
        self._check_results(results, labels, trace)
        if self._law is not None:
            found.check_law(self._law.predict(pixels, trace.spikes))
        self._meter.add(pixels, trace)
        found.events, found.sops = self._meter.events, self._meter.sops
        found.images += len(pixels)
        found.correct_golden += int((trace.classes == labels).sum())

    def finish(self) -> None:
        """Count whatever was recorded beyond the last picture: each value is a mismatch."""
        for name, tap in self._taps:
            self.findings.surplus(f"rows of tap {tap.told}", self._recording.left(name))
        self.findings.surplus("results", self._recording.left("results"))

    def _check_results(self, rows: Rows, labels: Int, trace: Trace) -> None:
        """Logits, end marks and classes, `hw.neuron.readout.result_layout` each."""
        found, classes = self.findings, trace.logits.shape[1]
        logit, best, last = result_fields(rows, self._plan.network)
        chosen = best[classes - 1 :: classes]
        found.compare(Comparison("Logit", logit, trace.logits.reshape(-1)))
        ends = np.tile(np.arange(classes) == classes - 1, len(labels))
        found.compare(Comparison("End of results", last, ends))
        found.compare(Comparison("Class", chosen, trace.classes))
        self.kept.classes.append(chosen)
        found.correct_rtl += int((chosen == labels[: len(chosen)]).sum())
        found.completion += rows.cycles[classes - 1 :: classes].tolist()

    def _count_additions(self, tap: Tap, rows: Rows) -> None:
        added = tap.additions(rows.data)
        if added is not None and self._first_class is not None:
            steady = int(added[rows.cycles > self._first_class].sum())
            self.findings.steady_additions[tap.number] += steady


def result_fields(rows: Rows, network: Network) -> Sequence[Int]:
    """Logits, the best so far, and end marks, out of recorded results."""
    bits, classes = network.layers[-1].logit_bits, network.spec.classes
    widths = [bits, max(1, (classes - 1).bit_length()), 1]
    logit, best, last = split_fields(rows.data, widths)
    return signed(logit, bits), best, last
