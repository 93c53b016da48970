"""Holds what a learning core did against the golden model, sample by sample."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan
from gen.learn.cycles import LearningLaw
from gen.learn.stage import learning_stage
from gen.stage.taps import Comparison, decode_spikes, signed, split_fields, split_lanes
from hw.contract.layout import map_layout
from hw.learn.sample import Sample
from hw.program.code import Counted, Sweep
from sim.bench.checker import Findings
from sim.bench.recording import Recording
from sim.golden.learning import Learner

__all__ = ["LearningChecker", "LearningFindings"]

Int = npt.NDArray[np.int64]


@dataclass
class LearningFindings(Findings):
    """Sums over the samples compared so far.

    right_each, learned_each
        Of each sample: whether it was answered rightly before it was learned, and whether it was
        learned.
    cycles_inference, cycles_learning
        Of each sample, from its last word to its last logit; of each sample that was learned, from
        there to the end.
    """

    learned: int = 0
    right_each: list[bool] = field(default_factory=list)
    learned_each: list[bool] = field(default_factory=list)
    cycles_inference: list[int] = field(default_factory=list)
    cycles_learning: list[int] = field(default_factory=list)


class LearningChecker:
    """Compares what was recorded of one sample after the other.

    Parameters
    ----------
    plan
        The core, made by `gen.learn.stage.plan_learning`.
    recording
        What its taps and results showed.
    tapped
        The taps are there.
    law
        Compare cycles with the cycle law (streams must flow).
    """

    def __init__(self, plan: CorePlan, recording: Recording, *, tapped: bool, law: bool) -> None:
        self._stage = learning_stage(plan)
        self._program, self._spec = self._stage.program, plan.network.spec
        self._recording, self._tapped = recording, tapped
        self._law = LearningLaw(plan) if law else None
        self.findings = LearningFindings(law_checked=law)

    def check(
        self,
        pixels: Int,
        label: int,
        sample: Sample,
        learner: Learner,
        *,
        dumped: bool,
        given: bool = False,
    ) -> None:
        """Compare the next sample; `learner` is the state after it, `dumped`: all rows were read
        back, `given`: it came with its error."""
        found = self.findings
        for comparison in self._comparisons(sample):
            found.compare(comparison)
        done = self._recording.take("done", 1)
        if not len(done.cycles):
            found.surplus("sample that was never done", 1)
            return
        learned, random, last_word, last_logit = (int(x) for x in done.data[0])
        found.compare(Comparison("Verdict", np.array([learned]), np.array([sample.learned])))
        after = np.array([sample.random])
        found.compare(Comparison("Random word", np.array([random]), after))
        if dumped:
            self._check_rows(learner)
        end = int(done.cycles[0])
        found.cycles_inference.append(last_logit - last_word)
        if sample.learned:
            found.cycles_learning.append(end - last_logit)
        if self._law is not None:
            times = self._law.sample(pixels, sample, last_word, given=given)
            found.predicted.append(times.done)
            found.cycle_law_violations += (times.logit, times.done) != (last_logit, end)
        found.images += 1
        found.learned += sample.learned
        found.correct_golden += sample.label == label
        found.right_each.append(bool(sample.label == label))
        found.learned_each.append(bool(sample.learned))

    def finish(self) -> None:
        """Count whatever was recorded beyond the last sample. Sweeps that come before the next
        picture may be there, and clear the counts."""
        if self._tapped:
            p = self._program
            before = takewhile(lambda op: not getattr(op, "from_input", 0), p.operations)
            words = sum(op.last_word + 1 for op in before if isinstance(op, Sweep) and op.counted)
            rows = self._recording.take("0_counts", min(words, self._recording.left("0_counts")))
            assert p.learning is not None
            cleared = split_lanes(rows.data, 0, p.lanes, p.learning.vector_bits)
            self.findings.compare(Comparison("Cleared counts", cleared, np.zeros_like(cleared)))
        for name in self._recording.names:
            self.findings.surplus(f"rows of {name}", self._recording.left(name))

    def _check_rows(self, learner: Learner) -> None:
        p = self._program
        assert p.learning is not None
        expected = self._stage.rows.pack(learner.masters.arrays)
        rows = self._recording.take("rows", len(expected))
        bits = p.learning.master_bits
        seen = signed(split_lanes(rows.data, 0, p.lanes, bits), bits)
        self.findings.compare(Comparison("Masters", seen, expected))

    def _comparisons(self, sample: Sample) -> Iterator[Comparison]:
        """Spikes, potentials, counts and masks of both stages; logits."""
        if self._tapped:
            yield from self._words(sample)
            yield from self._counts(sample)
        classes = self._spec.classes
        rows = self._recording.take("results", classes)
        bits = self._program.logit_bits
        index = max(1, (classes - 1).bit_length())
        logit, best, last = split_fields(rows.data, [bits, index, 1])
        yield Comparison("Logit", signed(logit, bits), sample.logits)
        yield Comparison("Class", best[-1:], np.array([sample.label]))
        yield Comparison("End of results", last, np.arange(classes) == classes - 1)
        if len(best):
            self.findings.correct_rtl += int(best[-1] == sample.label)

    def _sweeps(self, learned: bool) -> Iterator[tuple[Sweep, bool]]:
        """Sweeps that fire or clear, in order, and whether each is of the backward stage."""
        for op in self._program.operations:
            if isinstance(op, Sweep):
                back = op.counted == Counted.BACK
                if learned or not back:
                    yield op, back

    def _words(self, sample: Sample) -> Iterator[Comparison]:
        """Spikes as they are sent, and the potentials that are kept, sweep by sweep."""
        p, names = self._program, [layer.name for layer in self._spec.layers]
        steps: dict[tuple[str, bool], int] = {}
        spikes, potentials = [], []
        for op, back in self._sweeps(sample.learned):
            if not op.fires:
                continue
            n, step = names.index(op.name), steps.get((op.name, back), 0)
            steps[op.name, back] = step + 1
            layout = map_layout(self._spec, op.name, p.lanes)
            if back:
                sent = sample.back_spikes[n][step] * sample.masks[n]
                kept = sample.back_potentials[n][step]
            else:
                sent, kept = sample.spikes[n][step], sample.potentials[n][step]
            spikes.append(layout.pack(sent[None])[0])
            potentials.append(layout.pack(kept[None])[0])
        expected = np.concatenate(spikes), np.concatenate(potentials)
        rows = self._recording.take("0_words", len(expected[0]))
        width = p.spike_planes + p.spike_sign
        coded = split_lanes(rows.data, 0, p.lanes, width)
        yield Comparison("Spikes", self._decoded(coded), expected[0])
        kept = split_lanes(rows.data, p.lanes * width, p.lanes, p.membrane_bits)
        yield Comparison("Potentials", signed(kept, p.membrane_bits), expected[1])

    def _decoded(self, coded: Int) -> Int:
        p = self._program
        return decode_spikes(coded, p.spike_planes) if p.spike_sign else coded

    def _counts(self, sample: Sample) -> Iterator[Comparison]:
        """N and B as they grow, and the masks of the backward stage."""
        p, names = self._program, [layer.name for layer in self._spec.layers]
        assert p.learning is not None
        running: dict[tuple[str, bool], tuple[int, Int]] = {}
        counts, masks = [], []
        for op, back in self._sweeps(sample.learned):
            if not op.counted:
                continue
            n = names.index(op.name)
            layout = map_layout(self._spec, op.name, p.lanes)
            step, count = running.get((op.name, back), (0, np.zeros(0, dtype=np.int64)))
            mask = sample.masks[n] if back else np.ones(layout.shape[0], dtype=np.int64)
            if op.first:
                count = np.zeros(layout.shape[0], dtype=np.int64)
            else:
                count = count + (sample.back_spikes if back else sample.spikes)[n][step] * mask
                step += 1
            running[op.name, back] = step, count
            counts.append(layout.pack(count[None])[0])
            masks.append(layout.pack(mask[None])[0] if back else np.ones_like(counts[-1]))
        expected = np.concatenate(counts), np.concatenate(masks)
        rows = self._recording.take("0_counts", len(expected[0]))
        bits = p.learning.vector_bits
        seen = signed(split_lanes(rows.data, 0, p.lanes, bits), bits)
        yield Comparison("Counts", seen, expected[0])
        shown = split_lanes(rows.data, p.lanes * bits, p.lanes, 1)
        yield Comparison("Masks", shown, expected[1])
