"""How far networks agree, layer by layer: their spikes, and the potentials behind them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hw.contract.network import Network
from sim.golden.model import Trace
from sw.frameworks.bounds import SAME
from sw.learn.fold import FoldedLayer, FoldedNetwork
from sw.learn.graph import Activity
from sw.reading.network import Membrane

__all__ = [
    "Layers",
    "MembraneAgreement",
    "MembraneMeter",
    "SpikeAgreement",
    "SpikeMeter",
    "unlike_membranes",
]

NOT_SHOWN = "its neurons do not show their potentials"


class SpikeAgreement(NamedTuple):
    """Spikes of a layer in two networks, a neuron at a step each.

    Parameters
    ----------
    layer
        Its name.
    equal, compared
        Equal ones, fired or not, of how many.
    both, either
        Where both fire alike; where any fires.
    shown
        Whether the framework shows its spikes; if not, the float twin's stand for them.
    """

    layer: str
    equal: int
    compared: int
    both: int
    either: int
    shown: bool = True

    @property
    def jaccard(self) -> float:
        """both / either: 1 where nobody fires."""
        return self.both / self.either if self.either else 1.0

    @property
    def text(self) -> str:
        """In words."""
        differ = self.compared - self.equal
        share = 100 * differ / max(1, self.compared)
        return f"{differ:,} of {self.compared:,} ({share:.3f} %), Jaccard {self.jaccard:.4f}"


class MembraneAgreement(NamedTuple):
    """Potentials of a layer in two networks, a neuron at a step each.

    Parameters
    ----------
    layer
        Its name.
    mean, largest
        |difference|, of all that were compared: in thresholds of the neuron; of a readout, in parts
        of the original's largest |logit|.
    compared
        How many. 0: they cannot be compared, and `reason` says why.
    when
        `after the reset`, as the contract stores them, or `before the reset`, as the framework
        does: what a spike subtracts is added again; under hard reset, neurons that fired are left
        out. Of a readout: what is read.
    reason
        See `compared`.
    """

    layer: str
    mean: float
    largest: float
    compared: int
    when: str = ""
    reason: str = ""

    @property
    def text(self) -> str:
        """In words."""
        if not self.compared:
            return f"not compared: {self.reason}"
        return f"{self.mean:.2g} on average, {self.largest:.2g} at most ({self.when})"


class SpikeMeter:
    """Adds up how far the spikes of two networks agree."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self.counts = names, np.zeros((len(names), 4), dtype=np.int64)

    def add(self, some: Sequence[Tensor], others: Sequence[Tensor]) -> None:
        """Spikes (T, n, neurons) of each layer."""
        for n, (a, b) in enumerate(zip(some, others, strict=True)):
            # Counts that were divided by a scale are whole numbers but for the last bit.
            equal, fired = (a - b).abs() <= SAME, (a.abs() > SAME) | (b.abs() > SAME)
            found = equal.sum(), equal.numel(), (equal & fired).sum(), fired.sum()
            self.counts[n] += [int(number) for number in found]

    def agreements(self, shown: Sequence[bool]) -> tuple[SpikeAgreement, ...]:
        """By layer."""
        rows = zip(self.names, self.counts.tolist(), shown, strict=True)
        return tuple(SpikeAgreement(name, *counts, shown=seen) for name, counts, seen in rows)


class Layers:
    """What was read of firing layers, to count potentials in thresholds by it.

    Parameters
    ----------
    folded
        What was read, in reals.
    """

    def __init__(self, folded: FoldedNetwork) -> None:
        self.firing = [layer for layer in folded.layers if layer.neuron is not None]
        self.names = folded.names[: len(self.firing)]

    def of_twin(self, n: int, twin: Activity) -> Tensor:
        """Potentials (T, n, neurons) of layer n in thresholds, after the reset."""
        return twin.potentials[n] / _thresholds(self.firing[n])

    def of_integers(self, n: int, trace: Trace, units: Sequence[Tensor]) -> Tensor:
        """The same of the golden model; `units` says what one is worth by layer, (), or (channels,)
        of each channel."""
        u = torch.from_numpy(trace.potentials[n]).transpose(0, 1).double()
        layer = self.firing[n]
        return u * _by_neuron(layer, units[n]) / _thresholds(layer)

    def steps_of(self, n: int) -> Tensor:
        """What a spike subtracts in layer n, in thresholds; 0 under hard reset."""
        layer = self.firing[n]
        assert layer.neuron is not None
        if layer.neuron.reset == "hard":
            return torch.zeros(())
        taken = layer.neuron.step if layer.steps is None else layer.steps
        return _by_neuron(layer, torch.as_tensor(taken)) / _thresholds(layer)

    def own_steps(self, n: int, network: Network, units: Sequence[Tensor]) -> Tensor:
        """`steps_of` of the integers."""
        layer, integers = self.firing[n], network.layers[n]
        neuron = integers.spec.neuron
        assert neuron is not None
        if neuron.reset == "hard":
            return torch.zeros(())
        steps = neuron.step if integers.reset_steps is None else integers.reset_steps
        taken = torch.as_tensor(steps, dtype=torch.float64) * units[n]
        return _by_neuron(layer, taken) / _thresholds(layer)

    def is_hard(self, n: int) -> bool:
        """Whether a reset of layer n takes all."""
        neuron = self.firing[n].neuron
        return neuron is not None and neuron.reset == "hard"


def _thresholds(layer: FoldedLayer) -> Tensor:
    """In the units of what was read: (), or of each neuron, (neurons,)."""
    assert layer.neuron is not None
    thetas = layer.neuron.theta if layer.thetas is None else layer.thetas
    return _by_neuron(layer, torch.as_tensor(thetas, dtype=torch.float64))


def _by_neuron(layer: FoldedLayer, values: Tensor) -> Tensor:
    """(channels,) as (neurons,)."""
    if values.ndim == 0:
        return values.double()
    channels, rows, columns = layer.map_shape
    return values.double().expand(channels).repeat_interleave(rows * columns)


def unlike_membranes(
    layers: Layers, membranes: Sequence[Membrane | str], spikes: Sequence[Tensor], twin: Activity
) -> list[tuple[str, Tensor]]:
    """By layer whose potentials the original shows: its name, and by how many thresholds those of
    the twin are off at most, of each image, (n,).

    Parameters
    ----------
    spikes
        Of the original, or what stands for them, (T, n, neurons) of each layer.
    """
    found = []
    for n, membrane in enumerate(membranes):
        if isinstance(membrane, str) or membrane.values.shape != twin.potentials[n].shape:
            continue
        mine = layers.of_twin(n, twin)
        off = _off(membrane, spikes[n], mine, twin.spikes[n], layers.steps_of(n), layers.is_hard(n))
        found.append((layers.names[n], off.nan_to_num(0.0, posinf=torch.inf).amax(dim=(0, 2))))
    return found


def _off(
    theirs: Membrane, fired: Tensor, mine: Tensor, sent: Tensor, step: Tensor, hard: bool
) -> Tensor:
    """|difference| (T, n, neurons); NaN where there is nothing to compare."""
    if theirs.before_reset and not hard:
        mine = mine + sent * step
    # A potential that is no number is no other's.
    off = (theirs.values - mine * theirs.tie).abs().nan_to_num(torch.inf, posinf=torch.inf)
    if theirs.before_reset and hard:
        off = torch.where((fired.abs() > SAME) | (sent.abs() > SAME), torch.nan, off)
    return off


class MembraneMeter:
    """Adds up how far the potentials of two networks agree, layer by layer, and their logits.

    Parameters
    ----------
    layers
        What was read.
    readout
        Name of the last layer.
    when
        What is read of it, in words.
    """

    def __init__(self, layers: Layers, readout: str, when: str) -> None:
        self.layers, self.readout, self.when = layers, readout, when
        many = len(layers.names)
        self.sums, self.largest = np.zeros(many + 1), np.zeros(many + 1)
        self.counts = np.zeros(many + 1, dtype=np.int64)
        self.said = [""] * many
        self.reasons = [NOT_SHOWN] * many
        self.peak = 0.0

    def add(
        self,
        n: int,
        theirs: Membrane | str,
        fired: Tensor,
        mine: Tensor,
        sent: Tensor,
        step: Tensor,
    ) -> None:
        """Potentials of layer n: the original's, and others in thresholds, after the reset, that
        `step` was subtracted from for each of the spikes `sent`."""
        if isinstance(theirs, str):
            self.reasons[n] = theirs
            return
        if theirs.values.shape != mine.shape:
            return
        self.said[n] = "before the reset" if theirs.before_reset else "after the reset"
        hard = self.layers.is_hard(n)
        if theirs.before_reset and hard:
            self.said[n] += ", of neurons that did not fire"
        off = _off(theirs, fired, mine, sent, step, hard)
        self._count(n, off[~off.isnan()])

    def add_logits(self, theirs: Tensor, mine: Tensor) -> None:
        """Logits (n, classes)."""
        self.peak = max(self.peak, float(theirs.abs().max()))
        self._count(-1, (theirs - mine).abs())

    def _count(self, n: int, off: Tensor) -> None:
        if off.numel():
            self.sums[n] += float(off.sum())
            self.largest[n] = max(self.largest[n], float(off.max()))
            self.counts[n] += off.numel()

    def agreements(self) -> tuple[MembraneAgreement, ...]:
        """By layer, the readout last."""
        found = [
            MembraneAgreement(
                name,
                float(self.sums[n] / max(1, self.counts[n])),
                float(self.largest[n]),
                int(self.counts[n]),
                self.said[n],
                "" if self.counts[n] else self.reasons[n],
            )
            for n, name in enumerate(self.layers.names)
        ]
        peak = self.peak or 1.0
        mean = float(self.sums[-1] / max(1, self.counts[-1]))
        last = MembraneAgreement(
            self.readout,
            mean / peak,
            float(self.largest[-1]) / peak,
            int(self.counts[-1]),
            f"{self.when}, in parts of the largest",
        )
        return (*found, last)
