"""The quick twin of `sim.golden.learning.Learner`, equal on every value that stays.

Three things make it quick. Working weights are kept, as floats in which every sum is exact, and
renewed where a master has changed. Senders and targets that counted nothing are left out: there a
change is (0 + rho) >> k = 0. And where a group's drive is the same at every step, its count is a
division: see `_constant_counts`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.checks import InputError
from hw.contract.edge import INPUT
from hw.contract.learning import DITHER_BITS, LearnedEdge, change, judge, turned, xorshift
from hw.contract.neuron import NeuronSpec
from hw.learn.masters import Masters
from sim.golden.edges import FLOAT32_EXACT
from sim.golden.model import GoldenModel

__all__ = ["FastLearner", "Outcome"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.floating[Any]]
Counts = tuple[Int, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened for one sample.

    Parameters
    ----------
    logits, error
        (classes,); no error: nothing was learned.
    counts, back_counts
        N of each group, B after the mask of each learning group, (neurons,).
    learned
        Whether anything is changed.
    """

    logits: Int
    error: Int
    counts: Counts
    back_counts: Counts
    learned: bool

    @property
    def label(self) -> int:
        """The class: the first maximum of the logits."""
        return int(self.logits.argmax())


class _Weights:
    """The masters of a learned edge, and what they make: Q as floats, (rows, targets)."""

    def __init__(self, masters: Masters, n: int, edge: LearnedEdge) -> None:
        spec, error_max = masters.spec, 1
        if spec.learning is not None:
            error_max = spec.learning.error_max
        self.edge, self.fraction = edge, masters.fraction(n)
        self.low, self.high = masters.limits(n)
        most = spec.source_max(edge.source)
        if edge.layer == len(spec.layers) - 1:
            most *= spec.steps  # the readout takes counts
        sent = max(edge.senders * most + edge.bias * spec.steps, edge.targets * error_max)
        # A sum of products, forward or backward and in whatever order, is exact (the golden edges).
        self.exact = (
            np.float32 if sent * (self.high >> self.fraction) < FLOAT32_EXACT else np.float64
        )
        self.masters = masters.arrays[n].reshape(-1)  # a view
        self.q = masters.weights(n).astype(self.exact)
        self._flat = self.q.reshape(-1)
        self._rows, self._columns = (turned(np.arange(size)) for size in (edge.rows, edge.targets))

    def sums(self, senders: Int) -> Int:
        """sum_j c[j] Q[j,i] of coefficients (rows,) or (senders,), before the edge's shift."""
        some = np.flatnonzero(senders)
        return (senders[some].astype(self.exact) @ self.q[some]).astype(np.int64)

    def back_sums(self, targets: Int) -> Int:
        """sum_i Q[j,i] c[i] of coefficients (targets,): (senders,), before the edge's shift."""
        some = np.flatnonzero(targets)
        sent = self.q[: self.edge.senders, some] @ targets[some].astype(self.exact)
        return sent.astype(np.int64)

    def learn(self, senders: Int, targets: Int, word: int, rate: int) -> None:
        """Change every master by the product of both counts; `word` is the dither's."""
        rows, columns = np.flatnonzero(senders), np.flatnonzero(targets)
        if not len(rows) or not len(columns):
            return
        places = (rows * self.edge.targets)[:, None] + columns
        # `turned` only moves bits: of j xor i it is that of j xor that of i.
        dither = (self._rows[rows] ^ word)[:, None] ^ self._columns[columns]
        step = change(senders[rows][:, None] * targets[columns], dither, rate)
        made = np.minimum(np.maximum(self.masters[places] + step, self.low), self.high)
        self.masters[places] = made
        self._flat[places] = made >> self.fraction


class FastLearner:
    """Learns from labelled pictures, one after the other, as the golden model does.

    Parameters
    ----------
    masters
        The state; changed by `learn`, its arrays in place. (They are copied at first, and belong
        to this learner as long as it is used.)

    Attributes
    ----------
    rates, margin
        Of the specification at first; may be set at any time.
    """

    def __init__(self, masters: Masters) -> None:
        spec, learning = masters.spec, masters.spec.learning
        assert learning is not None
        self.masters, self._learning, self._spec = masters, learning, spec
        self.rates, self.margin = list(learning.rates), learning.margin
        masters.arrays = [array.copy() for array in masters.arrays]
        self._weights = [_Weights(masters, n, edge) for n, edge in enumerate(masters.edges)]
        self._bias = [bias.astype(np.int64) for bias in masters.network.biases]
        self._readout = self._weights[-1]
        self._into = {w.edge.layer: w for w in self._weights if not w.edge.delay}
        self._back = next((w for w in self._weights if w.edge.delay), None)
        self._groups = len(spec.layers) - 1
        self._golden = GoldenModel(masters.network)
        neuron = spec.layers[0].neuron
        assert neuron is not None
        self._constant = self._groups == 1 and self._back is None and neuron.u_max >= neuron.theta

    def infer(self, pixels: npt.ArrayLike) -> Outcome:
        """Run a picture (pixels,); nothing is learned.

        Raises
        ------
        InputError
            When the pixels do not fit the network.
        """
        checked = self._golden.check_pixels(np.asarray(pixels)[None])[0]
        counts, logits = self._forward(checked.astype(np.int64))
        return self._outcome(counts, logits, np.zeros(len(logits), dtype=np.int64))

    def learn(
        self, pixels: npt.ArrayLike, label: int, error: npt.ArrayLike | None = None
    ) -> Outcome:
        """Run a picture (pixels,) and learn from it.

        Parameters
        ----------
        error
            (classes,), each within +-`error_max`, in place of the judge's.

        Raises
        ------
        InputError
            When pixels, label or error do not fit the network.
        """
        self._check_label(label)
        checked = self._golden.check_pixels(np.asarray(pixels)[None])[0].astype(np.int64)
        given = None
        if error is not None:
            given = np.asarray(error, dtype=np.int64)
            classes, most = self._spec.classes, self._learning.error_max
            if given.shape != (classes,) or np.abs(given).max() > most:
                raise InputError(f"Error must be {classes} integers within +-{most}")
        counts, logits = self._forward(checked)
        return self._learn(checked, label, counts, logits, given)

    def learn_all(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> list[Outcome]:
        """Learn from images (n, pixels) with labels (n,), in their order.

        Raises
        ------
        InputError
            When images or labels do not fit the network; nothing is learned then.
        """
        checked, whole = self._golden.check_pixels(images), np.asarray(labels)
        if whole.shape != (len(checked),) or whole.dtype.kind not in "iu":
            raise InputError(f"Labels must be {len(checked)} integers")
        for label in np.unique(whole):
            self._check_label(int(label))
        known = self._known_counts(checked) if self._learning.readout_only else None
        outcomes = []
        for n, (pixels, label) in enumerate(zip(checked, whole, strict=True)):
            row = pixels.astype(np.int64)
            counts = self._group_counts(row) if known is None else tuple(c[n] for c in known)
            outcomes.append(self._learn(row, int(label), counts, self._logits(counts[-1]), None))
        return outcomes

    def classify(self, images: npt.ArrayLike) -> Int:
        """Classes (n,) of images (n, pixels); nothing is learned."""
        return GoldenModel(self.masters.working()).classify(images)

    def _check_label(self, label: int) -> None:
        if not 0 <= label < self._spec.classes:
            raise InputError(f"Label must lie in 0..{self._spec.classes - 1}, not be {label!r}")

    def _learn(
        self, pixels: Int, label: int, counts: Counts, logits: Int, given: Int | None
    ) -> Outcome:
        """The second half of a sample; `pixels` are checked."""
        error = judge(logits, label, self.margin) if given is None else given
        if not error.any():
            return self._outcome(counts, logits, error)
        masters, spec = self.masters, self._spec
        back = () if self._learning.readout_only else self._backward(counts, error)
        masters.random = xorshift(masters.random)
        masters.learned = (masters.learned + 1) % 2**32
        word = masters.random & (1 << DITHER_BITS) - 1
        names = [layer.name for layer in spec.layers]
        for weights, rate in zip(self._weights, self.rates, strict=True):
            edge = weights.edge
            target = error if weights is self._readout else back[edge.layer]
            if edge.source == INPUT:
                sender, constant = pixels, edge.bias
            else:
                sender, constant = counts[names.index(edge.source)], edge.bias * spec.steps
            if edge.bias:
                sender = np.append(sender, constant)
            weights.learn(sender, target, word, rate)
        return self._outcome(counts, logits, error, back)

    @staticmethod
    def _outcome(counts: Counts, logits: Int, error: Int, back: Counts = ()) -> Outcome:
        return Outcome(
            logits=logits, error=error, counts=counts, back_counts=back, learned=bool(error.any())
        )

    def _forward(self, pixels: Int) -> tuple[Counts, Int]:
        counts = self._group_counts(pixels)
        return counts, self._logits(counts[-1])

    def _logits(self, count: Int) -> Int:
        steps, readout = self._spec.steps, self._readout
        sums = readout.sums(np.append(count, readout.edge.bias * steps))
        return (sums << readout.edge.shift) + steps * self._bias[-1]

    def _known_counts(self, images: npt.NDArray[np.uint8]) -> Counts:
        """N of each group, (n, neurons), of a network whose groups do not learn."""
        parts = []
        for start in range(0, len(images), self._golden.batch):
            trace = self._golden.run(images[start : start + self._golden.batch])
            parts.append([spikes.sum(axis=1, dtype=np.int64) for spikes in trace.spikes])
        if not parts:
            return tuple(np.zeros((0, layer.neurons), int) for layer in self._spec.layers[:-1])
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _group_counts(self, pixels: Int) -> Counts:
        """N of each group."""
        if self._learning.readout_only:
            return tuple(counts[0] for counts in self._known_counts(pixels[None].astype(np.uint8)))
        spec, first = self._spec, self._into[0]
        drive = first.sums(np.append(pixels, first.edge.bias)) << first.edge.shift
        drive = drive + self._bias[0]
        neurons = [self._neuron(g) for g in range(self._groups)]
        if self._constant:
            return (_constant_counts(drive, spec.steps, neurons[0]),)
        u = [np.zeros_like(bias) for bias in self._bias[:-1]]
        s, counts = list(u), list(u)
        for _ in range(spec.steps):
            for g, neuron in enumerate(neurons):
                if g == 0:
                    current = drive
                    if self._back is not None:  # of the step before: the last group comes last
                        current = current + (self._back.sums(s[-1]) << self._back.edge.shift)
                else:
                    weights = self._into[g]
                    sums = weights.sums(np.append(s[g - 1], weights.edge.bias))
                    current = (sums << weights.edge.shift) + self._bias[g]
                v = u[g] + current
                s[g] = (v >= neuron.theta).astype(np.int64)
                u[g] = np.clip(v - neuron.step * s[g], -neuron.u_max, neuron.u_max)
                counts[g] = counts[g] + s[g]
        return tuple(counts)

    def _backward(self, counts: Counts, error: Int) -> Counts:
        """B of each group, after the mask."""
        steps, last = self._learning.steps_back, self._groups - 1
        masks = [((n > 0) & (n < self._spec.steps)).astype(np.int64) for n in counts]
        injected = self._readout.back_sums(error) << self._learning.inject_shift
        if self._constant:
            neuron = self._neuron(0)
            size = _constant_counts(np.abs(injected), steps, neuron)
            return (masks[0] * np.sign(injected) * size,)
        u = [np.zeros_like(n) for n in counts]
        r, total = list(u), list(u)
        for _ in range(steps):
            for g in range(last, -1, -1):
                if g == last:
                    current = injected
                    if self._back is not None:
                        sent = self._back.back_sums(masks[0] * r[0])
                        current = current + (sent << self._back.edge.shift)
                else:
                    weights = self._into[g + 1]
                    current = weights.back_sums(masks[g + 1] * r[g + 1]) << weights.edge.shift
                neuron = self._neuron(g)
                v = u[g] + current
                r[g] = (v >= neuron.theta).astype(np.int64) - (v <= -neuron.theta)
                u[g] = np.clip(v - neuron.step * r[g], -neuron.u_max, neuron.u_max)
                total[g] = total[g] + r[g]
        return tuple(mask * n for mask, n in zip(masks, total, strict=True))

    def _neuron(self, group: int) -> NeuronSpec:
        neuron = self._spec.layers[group].neuron
        assert neuron is not None
        return neuron


def _constant_counts(drive: Int, steps: int, neuron: NeuronSpec) -> Int:
    """Spikes of neurons that get the same drive I at every step: clip((T I + V) div 2V, 0, T).

    Exact, saturation included, where u_max >= V. With I from 0 to 2V, t I - 2V n(t) stays in
    -V .. V - 1 and is never saturated: that gives n(T). With more a neuron fires at every step,
    whatever is cut off its potential, and with less than 0 it never does.
    """
    return np.clip((steps * drive + neuron.theta) // neuron.step, 0, steps)
