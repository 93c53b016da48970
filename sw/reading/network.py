"""What is read of a framework's network, and what a framework must provide."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from hw.contract.edge import INPUT, EdgeSpec, Shape
from sw.importers.affine import CONVOLUTIONS, IDLE, RESHAPES, Cause, ConvertError, kind, refusal
from sw.importers.layers import AffineLayer, maps_of
from sw.importers.modules import Leaf
from sw.importers.trace import Before, Step, Sum
from sw.learn.fold import FoldedLayer, FoldedNetwork
from sw.learn.neuron import LIFParameters, ReadoutParameters
from sw.reading.decay import TOLERANCE, decay_text

__all__ = [
    "BOUNDS",
    "SHAPE_UNKNOWN",
    "Finding",
    "Foreign",
    "LeakyReadout",
    "Membrane",
    "Neuron",
    "Reading",
    "Run",
    "by_channel",
    "findings_of",
    "folded_network",
    "own_causes",
    "per_channel",
    "readings",
]


SOFTMAX = {"LogSoftmax", "Softmax"}

BOUNDS = frozenset(
    ("abs", "clamp", "clamp_max", "clamp_min", "clip", "hardtanh", "maximum", "minimum")
    + ("nan_to_num", "relu6", "threshold", "where")
)
"""Functions that may do nothing on all images that are compared, so that nothing finds them out
where a forward calls them: they are refused by name."""

SHAPE_UNKNOWN = Cause(
    "", "the file does not have the shape of an input: give it (--shape 1,28,28), or data"
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is said about a node, or a module.

    Parameters
    ----------
    node
        Its name and kind in the file.
    becomes
        What it is in Sterna; empty where it is refused.
    approximated
        By how much it differs from that; empty: not at all.
    refused
        Why it cannot be read, and what would help; empty: it can.
    note
        What is to be said besides.
    """

    node: str
    becomes: str = ""
    approximated: str = ""
    refused: str = ""
    note: str = ""

    def __str__(self) -> str:
        if self.refused:
            return f"refused: {self.refused}"
        more = f"; approximated: {self.approximated}" if self.approximated else ""
        note = f" ({self.note})" if self.note else ""
        return self.becomes + note + more

    def to_dict(self) -> dict[str, str]:
        """Plain JSON data."""
        return dict(vars(self))


class Neuron(NamedTuple):
    """A layer of neurons.

    Parameters
    ----------
    layer
        Name of the layer.
    parameters
        Of the neurons, real-valued.
    approximated
        As of `Finding`.
    thetas, steps, factors
        Of each neuron, in place of the parameters': thresholds, reset steps, parts of a potential
        that are kept. None: they are the same for all.
    """

    layer: str
    parameters: LIFParameters
    approximated: str = ""
    thetas: Tensor | None = None
    steps: Tensor | None = None
    factors: Tensor | None = None

    @property
    def text(self) -> str:
        """In words."""
        p = self.parameters
        low = 0 if p.negative == "off" else -p.limit
        kind = "ternary" if low else "binary"
        if p.limit > 1:
            kind = f"counts {low} to {p.limit}"
        words = [f"layer {self.layer}: {kind}", f"threshold {p.theta:g}", f"{p.reset} reset"]
        if self.thetas is not None:
            words[1] = f"thresholds {float(self.thetas.min()):g} to {float(self.thetas.max()):g}"
        if self.factors is not None:
            low, high = float(self.factors.min()), float(self.factors.max())
            words.append(f"each keeps its own part, {low:.6g} to {high:.6g}")
        elif p.decay != "none":
            words.append(f"keeps {decay_text(p.decay, p.decay_shift, p.decay_factor)}")
        if p.current != "off":
            share = decay_text(p.current, p.current_shift, p.current_factor)
            words.append(f"keeps {share} of its synaptic current")
        return ", ".join(words)

    def own(self, layer: AffineLayer) -> dict[str, Tensor]:
        """What each channel of the layer has of its own, (channels,), by the fields of
        `FoldedLayer`.

        Raises
        ------
        ConvertError
            One sentence, without its subject, when it differs within a channel.
        """
        found = {}
        for name, what in OWN.items():
            if (values := getattr(self, name)) is not None:
                found[name] = by_channel(values, layer, what)
        return found


OWN = {"thetas": "threshold", "steps": "reset step", "factors": "decay"}


def by_channel(values: Tensor, layer: AffineLayer, what: str) -> Tensor:
    """Of a number for each neuron of a layer, one for each channel, (channels,).

    Raises
    ------
    ConvertError
        One sentence, without its subject, when they differ within a channel.
    """
    rows = values.reshape(len(layer.bias), -1)
    if bool(((rows - rows[:, :1]).abs() > TOLERANCE * rows[:, :1].abs()).any()):
        raise ConvertError(
            f"must have one {what} for all neurons of a channel: each neuron of a row, or each "
            "map, may have its own, and within a map all have the same"
        )
    return rows[:, 0].double()


READ = {"last": "of the last step", "sum": "added up over all steps", "max": "at their largest"}
"""In words, what is read of potentials."""


def readings(m: Tensor) -> dict[str, Tensor]:
    """What may be read of potentials (T, n, classes), by `READ`."""
    return {"last": m[-1], "sum": m.sum(dim=0), "max": m.amax(dim=0)}


class LeakyReadout(NamedTuple):
    """A last layer that integrates with a leak, and never fires.

    Parameters
    ----------
    place
        As of `Finding.node`.
    parameters, approximated
        As of `Neuron`.
    """

    place: str
    parameters: ReadoutParameters
    approximated: str = ""

    @property
    def text(self) -> str:
        """In words."""
        p = self.parameters
        kept = decay_text(p.decay, p.decay_shift, p.decay_factor)
        return f"the readout's potentials, read {READ[p.value]}: keeps {kept}"

    def told(self, finding: Finding) -> Finding:
        """A finding, if it is about this, in its words."""
        if finding.node != self.place or finding.refused:
            return finding
        return replace(finding, becomes=self.text, approximated=self.approximated)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A network as it was read.

    Parameters
    ----------
    findings
        About every node, in the order in which they run.
    folded
        The network; None where something is refused.
    """

    findings: tuple[Finding, ...]
    folded: FoldedNetwork | None = None

    @property
    def refused(self) -> tuple[Finding, ...]:
        """What stands in the way."""
        return tuple(finding for finding in self.findings if finding.refused)

    def require(self) -> FoldedNetwork:
        """The network.

        Raises
        ------
        ConvertError
            One sentence that names all that is refused.
        """
        if self.folded is None and not self.refused:
            raise ConvertError("Network has ReLUs, and no neurons: sterna convert takes it")
        if self.folded is None:
            raise refusal(Cause(f.node, f.refused) for f in self.refused)
        return self.folded


class Membrane(NamedTuple):
    """Potentials of a layer of neurons, as a framework keeps them.

    Parameters
    ----------
    values
        (T, n, neurons), from where a neuron rests, in thresholds of each neuron.
    before_reset
        Of a step they are what was compared with the threshold, not what the reset left.
    tie
        The threshold that was read, in the framework's: it is a little off, for ties.
    """

    values: Tensor
    before_reset: bool = False
    tie: float = 1.0


class Run(NamedTuple):
    """What a framework's own network did with n images.

    Parameters
    ----------
    outputs
        (n, classes): of all steps, added up; of a readout that leaks, what is read of it.
    spikes
        One tensor (T, n, neurons) per firing layer, in the order of `Reading.folded`; None where
        the framework does not show them.
    membranes
        As `spikes`, the potentials; or why there are none to compare. Empty: it shows none.
    """

    outputs: Tensor
    spikes: tuple[Tensor | None, ...]
    membranes: tuple[Membrane | str, ...] = ()


class Foreign(ABC):
    """A network of another framework, opened."""

    framework: ClassVar[str]
    """What it is called in reports."""

    unlike: ClassVar[str] = (
        "Network must run its modules one after the other, in the order in which they were made, "
        "on the same image at every step (of recordings, on image t at step t): its own forward "
        "gives something else"
    )
    """What is said of a network that gives something else than what was read of it."""

    takes_recordings: ClassVar[bool] = True
    """Whether it can be fed another image at each step."""

    @property
    @abstractmethod
    def leaves(self) -> Sequence[Leaf]:
        """Modules in the order in which they run: by them `sw.importers.feed.Feed` finds the shape
        of an input, where `shape` is unknown."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of an input, without its batch: (784,), or (1, 28, 28); None: the file does not say."""
        return None

    @abstractmethod
    def read(
        self,
        shape: Sequence[int] | None,
        *,
        steps: int,
        pixel_max: int,
        front: Sequence[torch.nn.Module] = (),
        timed: bool = False,
    ) -> Reading:
        """Its layers, for inputs of whole pixels. What cannot be read is a finding, not an error.

        Parameters
        ----------
        shape
            Of an input; None: it is not known, which is a finding too.
        steps
            T.
        pixel_max
            Largest pixel; the network takes pixels / pixel_max.
        front
            What stands in front of it (`sw.importers.feed.Feed`).
        timed
            Its inputs are recordings, an image for each step.
        """

    @abstractmethod
    def run(self, x: Tensor, steps: int, timed: bool = False) -> Run:
        """Run the network itself on x (n, *shape), the same at every step, or, of recordings, on
        x (T, n, *shape), in double precision."""


def folded_network(
    layers: Sequence[AffineLayer],
    neurons: Sequence[Neuron],
    *,
    shape: Sequence[int],
    steps: int,
    pixel_max: int,
    readout: ReadoutParameters | None = None,
    timed: bool = False,
) -> FoldedNetwork:
    """The network of layers, each with its neurons; behind the last neurons, without a layer of
    their own, a readout that counts their spikes.

    Parameters
    ----------
    layers
        For inputs of 0 to 1, of which `pixel_max` pixels make one.
    readout
        Of a readout that leaks.
    timed
        Its inputs are recordings.
    """
    folded, names = [], [neuron.layer for neuron in neurons]
    for n, layer in enumerate(layers):
        sources = [edge.source for edge in layer.edges] or [names[n - 1] if n else INPUT]
        kernels = tuple(
            kernel / pixel_max if source == INPUT else kernel
            for source, kernel in zip(sources, layer.kernels, strict=True)
        )
        parameters = neurons[n].parameters if n < len(neurons) else None
        title = names[n] if n < len(neurons) else _readout(names)
        made = FoldedLayer(kernels, layer.bias, parameters, title, layer.shape, layer.edges)
        own = neurons[n].own(layer) if n < len(neurons) else {}
        folded.append(replace(made, **own))
    if len(layers) == len(neurons):
        n = layers[-1].neurons
        count, none = torch.eye(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        folded.append(replace(FoldedLayer.dense(count, none, None), name=_readout(names)))
    folded[-1] = replace(folded[-1], readout=readout)
    is_chain = not timed and not any(layer.edges for layer in layers)
    maps: Shape | None = None if is_chain else maps_of(shape)
    if timed:
        folded = [
            _in_graph(layer, before) for layer, before in zip(folded, [INPUT, *names], strict=True)
        ]
    return FoldedNetwork(tuple(folded), steps, maps, timed)


def _in_graph(layer: FoldedLayer, before: str) -> FoldedLayer:
    """With the edge and the shape that a layer of a chain leaves out: there are chains of pictures
    only."""
    edges = layer.edges or (EdgeSpec(source=before),)
    return replace(layer, shape=layer.map_shape, edges=edges)


def own_causes(neurons: Mapping[str, Neuron], layers: Sequence[AffineLayer]) -> list[Cause]:
    """What is wrong with constants of each neuron's own, by place of the neurons."""
    causes = []
    for (place, neuron), layer in zip(neurons.items(), layers, strict=False):
        try:
            neuron.own(layer)
        except ConvertError as error:
            causes.append(Cause(place, str(error)))
    return causes


def per_channel(shape: Sequence[int], gain: Tensor, offset: Tensor | None = None) -> nn.Module:
    """x * gain + offset of each channel of a value of that shape, as a batch-norm."""
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    norm = kind(shape[0], eps=0.0).double().eval()
    norm.weight.data = gain
    if offset is not None:
        norm.bias.data = offset
    return norm


def _readout(names: Sequence[str]) -> str:
    """A name that no layer has."""
    title = "readout"
    while title in names:
        title += "_"
    return title


# Findings


def findings_of(
    steps: Sequence[Step],
    neurons: Mapping[str, Neuron],
    names: Mapping[str, str],
    causes: Iterable[Cause] = (),
    layers: Sequence[AffineLayer] = (),
    notes: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """About each step: what it becomes, or what is wrong with it, said once.

    Parameters
    ----------
    steps
        In the order in which they run.
    neurons
        By place, of the steps that are neurons and could be read.
    names
        By place, the layer of each step that is neurons, read or not.
    causes
        What is refused; what has no place among the steps is a finding of its own.
    layers
        What was read, for the number of weights.
    notes
        By place: what is to be said besides.
    """
    wrong: dict[str, str] = {}
    for cause in causes:
        wrong.setdefault(cause.place, cause.problem)
    goals = _goals(steps, names)
    sizes = {neuron.layer: layer for neuron, layer in zip(neurons.values(), layers, strict=False)}
    found = []
    for step in steps:
        if isinstance(step.module, (Before, Sum)) and step.place not in wrong:
            continue
        problem = wrong.pop(step.place, "")
        neuron = neurons.get(step.place)
        becomes, by = ("", "") if problem else (_becomes(step, names, goals[step.place], sizes), "")
        if neuron is not None and not problem:
            becomes, by = neuron.text, neuron.approximated
        note = "" if problem or not notes else notes.get(step.place, "")
        found.append(
            Finding(node=step.place, becomes=becomes, approximated=by, refused=problem, note=note)
        )
    rest = [Finding(node=place or "network", refused=problem) for place, problem in wrong.items()]
    return (*found, *rest)


def _goals(steps: Sequence[Step], names: Mapping[str, str]) -> dict[str, list[str]]:
    """The layers that what a step makes goes into, by its place."""
    takers: dict[str, list[str]] = {}
    for step in steps:
        for source in step.inputs:
            takers.setdefault(source, []).append(step.place)

    def behind(place: str) -> list[str]:
        found, seen, todo = dict[str, None](), {place}, [place]
        while todo:
            here = todo.pop()
            for taker in takers.get(here, ()):
                if taker in names:
                    found[names[taker]] = None
                elif taker not in seen:
                    seen.add(taker)
                    todo.append(taker)
            if here not in takers:
                found["readout"] = None
        return list(found)

    return {step.place: behind(step.place) for step in steps}


def _becomes(
    step: Step, names: Mapping[str, str], goals: Sequence[str], layers: Mapping[str, AffineLayer]
) -> str:
    name, module = kind(step.module).__name__, step.module
    where = " and ".join(goals)
    if name in IDLE | RESHAPES | SOFTMAX:
        return "nothing"
    if step.place in names:
        return f"the neurons of {names[step.place]}"
    weight: Any = getattr(module, "weight", None)
    if name in ("Linear", *CONVOLUTIONS) and weight is not None:
        goals_read = [layers[goal] for goal in goals if goal in layers]
        matrix = name in CONVOLUTIONS and any(
            not layer.edges
            or any(edge is not None and edge.kind == "dense" for edge in layer.edges)
            for layer in goals_read
        )
        if matrix:
            many = sum(kernel.numel() for layer in goals_read for kernel in layer.kernels)
            return f"part of a matrix of {many:,} weights into {where}"
        sides = "x".join(map(str, weight.shape))
        return f"{'matrix' if name == 'Linear' else 'convolution'} of {sides} weights into {where}"
    if "Pool" in name:
        return f"pooling in front of {where}"
    return f"folded into the weights of {where}"
