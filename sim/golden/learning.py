"""The golden model of learning: docs/arithmetic.md, one sample at a time, exact.

Nothing here knows how the hardware works: it is what the hardware is held against, after every
sample, value by value. `sw.spide.twin` is a twin that is equal on every value, and quick.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hw.contract.checks import InputError
from hw.contract.edge import INPUT
from hw.contract.laws import fire, reset, saturate
from hw.contract.learning import change, judge, turned, xorshift
from hw.contract.neuron import NeuronSpec
from hw.learn.masters import Masters
from hw.learn.sample import Sample
from sim.golden.model import GoldenModel

__all__ = ["Learner", "Sample"]

Int = npt.NDArray[np.int64]


class Learner:
    """Learns from labelled pictures, one after the other.

    Parameters
    ----------
    masters
        The state; changed by `learn`.

    Attributes
    ----------
    rates, margin
        Of the specification at first; may be set at any time.
    """

    def __init__(self, masters: Masters) -> None:
        learning = masters.spec.learning
        assert learning is not None
        self.masters, self._learning = masters, learning
        self.rates, self.margin = list(learning.rates), learning.margin

    def infer(self, pixels: npt.ArrayLike) -> Sample:
        """Run a picture (pixels,); nothing is learned."""
        return self._run(pixels, None, np.zeros(self.masters.spec.classes, dtype=np.int64))

    def learn(
        self, pixels: npt.ArrayLike, label: int, error: npt.ArrayLike | None = None
    ) -> Sample:
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
        classes = self.masters.spec.classes
        if not 0 <= label < classes:
            raise InputError(f"Label must lie in 0..{classes - 1}, not be {label!r}")
        given = None
        if error is not None:
            given = np.asarray(error, dtype=np.int64)
            most = self._learning.error_max
            if given.shape != (classes,) or np.abs(given).max() > most:
                raise InputError(f"Error must be {classes} integers within +-{most}")
        return self._run(pixels, label, given)

    def _run(self, pixels: npt.ArrayLike, label: int | None, given: Int | None) -> Sample:
        masters = self.masters
        network = masters.working()
        trace = GoldenModel(network).run(np.asarray(pixels)[None])
        counts = tuple(part[0].astype(np.int64).sum(axis=0) for part in trace.spikes)
        logits = trace.logits[0].astype(np.int64)
        error = given
        if error is None:
            assert label is not None
            error = judge(logits, label, self.margin)
        sample = Sample(
            spikes=tuple(part[0].astype(np.int64) for part in trace.spikes),
            potentials=tuple(part[0].astype(np.int64) for part in trace.potentials),
            counts=counts,
            logits=logits,
            error=error,
            learned=bool(error.any()),
            back_spikes=(),
            back_potentials=(),
            masks=(),
            back_counts=(),
            random=masters.random,
        )
        if not sample.learned:
            return sample
        if not self._learning.readout_only:
            sample = self._backward(sample)
        masters.random = xorshift(masters.random)
        masters.learned = (masters.learned + 1) % 2**32
        checked = np.asarray(pixels, dtype=np.int64)
        self._update(sample, checked)
        return replace(sample, random=masters.random)

    def _neuron(self, group: int) -> NeuronSpec:
        """Row *SPIDE backward* of a group: both sides of the forward neuron's threshold."""
        neuron = self.masters.spec.layers[group].neuron
        assert neuron is not None
        return replace(neuron, negative="free")

    def _backward(self, sample: Sample) -> Sample:
        """The backward stage: neurons that fire on both sides, over transposed weights."""
        spec, masters = self.masters.spec, self.masters
        groups = range(len(spec.layers) - 1)
        last = groups[-1]
        sizes = [spec.layers[g].neurons for g in groups]
        into = {  # masters of the edge into a group from the one before, and of the one back
            edge.layer: n for n, edge in enumerate(masters.edges) if not edge.delay
        }
        back = next((n for n, edge in enumerate(masters.edges) if edge.delay), None)
        masks = [((n > 0) & (n < spec.steps)).astype(np.int64) for n in sample.counts]
        readout = masters.weights(into[last + 1])[: sizes[last]]
        injected = readout @ sample.error << self._learning.inject_shift
        u = [np.zeros(size, dtype=np.int64) for size in sizes]
        r = [np.zeros(size, dtype=np.int64) for size in sizes]
        spikes: list[list[Int]] = [[] for _ in groups]
        potentials: list[list[Int]] = [[] for _ in groups]
        for _ in range(self._learning.steps_back):
            for g in reversed(groups):
                if g == last:
                    current = injected
                    if back is not None:  # of the step before: group 0 comes last
                        sent = masters.weights(back) @ (masks[0] * r[0])
                        current = current + (sent << masters.edges[back].shift)
                else:
                    n = into[g + 1]
                    sent = masters.weights(n)[: sizes[g]] @ (masks[g + 1] * r[g + 1])
                    current = sent << masters.edges[n].shift
                neuron = self._neuron(g)
                v = u[g] + current
                r[g] = fire(v, neuron)
                u[g] = saturate(reset(v, r[g], neuron), neuron)
                spikes[g].append(r[g])
                potentials[g].append(u[g])
        return replace(
            sample,
            back_spikes=tuple(np.stack(part) for part in spikes),
            back_potentials=tuple(np.stack(part) for part in potentials),
            masks=tuple(masks),
            back_counts=tuple(
                mask * np.sum(part, axis=0) for mask, part in zip(masks, spikes, strict=True)
            ),
        )

    def _update(self, sample: Sample, pixels: Int) -> None:
        """Every master from the values above: no new weight is seen by another."""
        masters, spec = self.masters, self.masters.spec
        last = len(spec.layers) - 1
        names = [layer.name for layer in spec.layers]
        word = masters.random & 0xFFFF
        for n, edge in enumerate(masters.edges):
            target = sample.error if edge.layer == last else sample.back_counts[edge.layer]
            if edge.source == INPUT:
                sender, constant = pixels, edge.bias
            else:
                sender, constant = sample.counts[names.index(edge.source)], edge.bias * spec.steps
            sender = np.append(sender, [constant] if edge.bias else [])
            sender = sender.astype(np.int64)
            places = np.arange(edge.rows)[:, None] ^ np.arange(edge.targets)
            step = change(np.outer(sender, target), word ^ turned(places), self.rates[n])
            low, high = masters.limits(n)
            masters.arrays[n] = np.clip(masters.arrays[n] + step, low, high)
