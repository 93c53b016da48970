"""Steps whose neurons are known, as layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hw.contract.edge import INPUT, sides_text
from sw.importers.affine import Cause, ConvertError
from sw.importers.layers import AffineLayer
from sw.importers.maps import read_maps
from sw.importers.trace import Step
from sw.learn.fold import FoldedNetwork
from sw.learn.neuron import LIFParameters
from sw.reading.network import (
    LeakyReadout,
    Neuron,
    Reading,
    by_channel,
    findings_of,
    folded_network,
    own_causes,
)

__all__ = ["NO_POTENTIALS", "Described", "Node", "spread"]

NO_POTENTIALS = "it rounds to counts in its one step, and no neuron of it has a potential"


@dataclass(frozen=True, eq=False)
class Node:
    """What a module of neurons is in the contract's terms.

    Parameters
    ----------
    parameters
        Of all its neurons, real-valued.
    gain
        What its input counts times: of each neuron, or of all.
    thetas, steps, factors
        As of `Neuron`; of shapes that spread to that of the neurons.
    amplitude
        What a spike is worth.
    start
        The potential before the first step, of a network of one step: it is in the bias.
    approximated, note
        By how much it differs; what must be said besides.
    unit, before_reset, tie
        What its own potentials are to be divided by to be thresholds, and what else `Membrane` has
        of them. A unit of None: it has no potentials, and `NO_POTENTIALS` says why.
    """

    parameters: LIFParameters
    gain: Tensor = field(default_factory=lambda: torch.ones((), dtype=torch.float64))
    thetas: Tensor | None = None
    steps: Tensor | None = None
    factors: Tensor | None = None
    amplitude: float = 1.0
    start: float = 0.0
    approximated: str = ""
    note: str = ""
    unit: Tensor | None = None
    before_reset: bool = False
    tie: float = 1.0


@dataclass(frozen=True, eq=False)
class Described:
    """Steps, and what their neurons are.

    Parameters
    ----------
    steps
        In the order in which they run.
    names, nodes
        By the place of each step that is neurons: its layer's name, and what it is, if that is
        known.
    causes
        What is refused.
    notes
        By place: what must be said besides.
    whole
        Whether the steps can be read as they are.
    readout
        Of a readout that leaks.
    timed
        Its inputs are recordings.
    """

    steps: Sequence[Step]
    names: Mapping[str, str]
    nodes: Mapping[str, Node]
    causes: Sequence[Cause]
    notes: Mapping[str, str]
    whole: bool = True
    readout: LeakyReadout | None = None
    timed: bool = False

    def reading(self, activation: str, shape: Sequence[int], steps: int, pixel_max: int) -> Reading:
        """What is read of them (`Foreign.read`); `activation` is what ends a layer, in words."""
        names, nodes, causes = self.names, self.nodes, [*self.causes]
        neurons = {
            place: Neuron(
                names[place],
                node.parameters,
                node.approximated,
                node.thetas,
                node.steps,
                node.factors,
            )
            for place, node in nodes.items()
        }
        layers: list[AffineLayer] = []
        if self.whole:
            try:
                layers = read_maps(self.steps, shape, activation, names)
            except ConvertError as error:
                causes.extend(error.named)
        causes += own_causes(neurons, layers)
        told = [step for step in self.steps if " | " not in step.place and step.place != INPUT]
        findings = findings_of(told, neurons, names, causes, layers, self.notes)
        if self.readout is not None:
            findings = tuple(self.readout.told(finding) for finding in findings)
        if causes:
            return Reading(findings=findings)
        worth = {names[place]: node.amplitude for place, node in nodes.items()}
        targets = [*nodes.values(), None]
        weighed = [
            _weighed(layer, node, worth, source)
            for layer, node, source in zip(layers, targets, [INPUT, *worth], strict=False)
        ]
        folded = folded_network(
            weighed,
            [*neurons.values()],
            shape=shape,
            steps=steps,
            pixel_max=pixel_max,
            readout=self.readout and self.readout.parameters,
            timed=self.timed,
        )
        if len(layers) == len(neurons):
            folded = _counted(folded, next(reversed(worth.values())))
        return Reading(findings=findings, folded=folded)


def spread(node: Node, shape: Sequence[int]) -> Node:
    """With a number for each of the neurons, where there is more than one.

    Raises
    ------
    ConvertError
        When they are not as many as neurons.
    """
    found = {}
    for name in ("gain", "thetas", "steps", "factors"):
        values = getattr(node, name)
        if values is None or values.numel() == 1:
            continue
        try:
            found[name] = values.expand(shape)
        except RuntimeError:
            raise ConvertError(
                f"has constants of {sides_text(values.shape)} neurons, and gets "
                f"{sides_text(tuple(shape))} values"
            ) from None
    return replace(node, **found)


def _rows(gain: Tensor, kernel: Tensor) -> Tensor:
    """The gain of each row of a kernel: a channel has one, or one for each of its neurons."""
    if gain.numel() == 1:
        return gain
    each = gain.repeat_interleave(len(kernel) // len(gain))
    return each.reshape(-1, *(1,) * (kernel.ndim - 1))


def _counted(folded: FoldedNetwork, worth: float) -> FoldedNetwork:
    """With a readout that counts spikes for what they are worth."""
    *others, readout = folded.layers
    kernels = tuple(kernel * worth for kernel in readout.kernels)
    return replace(folded, layers=(*others, replace(readout, kernels=kernels)))


def _weighed(
    layer: AffineLayer, node: Node | None, worth: Mapping[str, float], before: str
) -> AffineLayer:
    """A layer whose senders' spikes are worth what they are, and whose neurons have a gain.

    Parameters
    ----------
    before
        The sender of a layer that names none.
    """
    sources = [edge.source for edge in layer.edges] or [before]
    kernels = [k * worth.get(source, 1.0) for k, source in zip(layer.kernels, sources, strict=True)]
    if node is None:
        return replace(layer, kernels=tuple(kernels))
    gain, bias = node.gain, layer.bias
    if gain.numel() > 1:
        try:
            gain = by_channel(gain, layer, "threshold")
            if any(k.ndim == 1 for k in kernels):
                raise ConvertError("must have one threshold behind what is not weighed")
        except ConvertError as error:
            raise ConvertError(
                f"Network cannot be converted: neurons behind {layer.place} {error}"
            ) from None
    weighed = tuple(k * _rows(gain, k) for k in kernels)
    return replace(layer, kernels=weighed, bias=bias * gain + node.start)
