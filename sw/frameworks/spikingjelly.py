"""Networks written in SpikingJelly, read from their modules: weights, thresholds, time constants.

SpikingJelly (Apache-2.0) is not needed to use Sterna, nor installed with it. What was read is
compared with the module itself before it is used: a `forward` that does more than run its modules
one after the other is refused.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from hw.contract.edge import INPUT
from hw.contract.network import Network
from sw.data.split import Split
from sw.frameworks.importing import import_foreign
from sw.frameworks.proof import ImportReport
from sw.importers.affine import IDLE, RESHAPES, Cause, ConvertError, kind
from sw.importers.files import Contents, load_module
from sw.importers.layers import AffineLayer
from sw.importers.maps import read_maps
from sw.importers.modules import Leaf, as_read, leaves, read_layers
from sw.importers.trace import Before, Step, Sum
from sw.jelly.lowered import Lowered, followed, in_a_row, is_container
from sw.jelly.nodes import ACTIVATION, NODES, is_node, leaky_readout, library, neuron_of
from sw.jelly.playing import (
    FORMS,
    Form,
    in_steps,
    membrane_of,
    record,
    run_module,
    run_recorded,
    takes_steps,
)
from sw.learn.fold import FoldedNetwork
from sw.learn.neuron import LIFParameters
from sw.reading.network import (
    SHAPE_UNKNOWN,
    Finding,
    Foreign,
    Neuron,
    Reading,
    Run,
    findings_of,
    folded_network,
)

__all__ = [
    "NODES",
    "JellyNetwork",
    "import_network",
    "lif_parameters",
    "load_network",
    "read_network",
    "run_module",
]


def load_network(path: Path) -> nn.Module:
    """A module saved with `torch.save(network, path)`. No code of the file is run: it may hold
    modules of torch.nn and of SpikingJelly only. (For classes of your own, `import_network`.)

    Raises
    ------
    ConvertError
        When it cannot be read, or holds something else.
    """
    jelly = library()
    known: list[Any] = [
        thing
        for module in (jelly.layer, jelly.neuron, jelly.surrogate)
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, nn.Module)
    ]
    known.append(operator.add)  # of what an ElementWiseRecurrentContainer may do
    contents = Contents(
        known=known,
        made_of="of torch.nn and SpikingJelly modules",
        activation=ACTIVATION,
        instead="give classes of your own to sw.frameworks.spikingjelly.import_network, in Python",
    )
    return load_module(path, contents)


def lif_parameters(node: nn.Module, place: str = "node") -> tuple[LIFParameters, float]:
    """What a node of SpikingJelly is in the contract's terms, and what its input is worth
    (1/tau under `decay_input`, else 1).

    IFNode, LIFNode, TernaryIFNode, TernaryLIFNode. A potential keeps 1 - 1/tau of itself per step
    (`sw.reading.decay`).

    Raises
    ------
    ConvertError
        One sentence for a node that no neuron of the contract is.
    """
    try:
        parameters, gain, _ = neuron_of(node)
    except ConvertError as error:
        raise ConvertError(f"{place} {error}") from None
    return parameters, gain


class JellyNetwork(Foreign):
    """A module of SpikingJelly.

    Parameters
    ----------
    module
        Modules that run one after the other, nested however deep, or a forward that adds up what
        they make: what `sw.importers.affine` knows, convolutions, and the nodes of
        `lif_parameters`. It is not changed.

    Raises
    ------
    ConvertError
        For what is no such module, or cannot be copied.
    """

    framework = "SpikingJelly"

    def __init__(self, module: nn.Module) -> None:
        self.module = as_read(module)
        self._form: Form | None = None

    @cached_property
    def _found(self) -> list[Step]:
        """Its modules, containers with a loop among them, in the order in which they run."""
        return followed(self.module) or in_a_row(leaves(self.module, is_container))

    @property
    def leaves(self) -> Sequence[Leaf]:
        return [
            (step.place, step.module)
            for step in Lowered(self._found, None).steps
            if not isinstance(step.module, (Before, Sum))
        ]

    def read(
        self,
        shape: Sequence[int] | None,
        *,
        steps: int,
        pixel_max: int,
        front: Sequence[nn.Module] = (),
        timed: bool = False,
    ) -> Reading:
        before = [Step(INPUT, (INPUT,), module) for module in front]
        lowered = Lowered(self._found, shape, before)
        chain, causes = lowered.steps, lowered.causes
        names = {s.place: f"hidden{n}" for n, s in enumerate(filter(_ends_layer, chain), 1)}
        neurons, gains = dict[str, Neuron](), list[float]()
        for step in chain:
            if step.place in names:
                try:
                    parameters, gain, approximated = neuron_of(step.module)
                except ConvertError as error:
                    causes.append(Cause(step.place, str(error)))
                    continue
                neurons[step.place] = Neuron(names[step.place], parameters, approximated)
                gains.append(gain)
        layers, readout, share = [], None, 1.0
        try:
            if shape is None:
                causes.append(SHAPE_UNKNOWN)
            else:
                layers = _layers([*before, *chain], shape, names)
        except ConvertError as error:
            if not error.causes:
                raise
            causes.extend(error.causes)
        if lowered.readout is not None:
            try:
                readout, share = leaky_readout(*lowered.readout)
                if layers and len(layers) == len(names):
                    raise ConvertError("must have a Linear before it, whose values it integrates")
            except ConvertError as error:
                causes.append(Cause(lowered.readout[0], str(error)))
        findings = _findings(chain, neurons, names, causes, layers, lowered.notes)
        if readout is not None:
            findings = tuple(readout.told(finding) for finding in findings)
        if causes or shape is None:
            return Reading(findings=findings)
        for n, gain in enumerate([*gains, share][: len(layers)]):
            layers[n] = layers[n].scaled(gain)
        folded = folded_network(
            layers,
            [*neurons.values()],
            shape=shape,
            steps=steps,
            pixel_max=pixel_max,
            readout=readout and readout.parameters,
            timed=timed,
        )
        return Reading(findings=findings, folded=folded)

    @torch.no_grad()
    def run(self, x: Tensor, steps: int, timed: bool = False) -> Run:
        if not timed:
            return self._run(x, steps, lambda x: run_module(self.module, x, steps))
        if self._form is None:
            self._form = self._form_of(x, steps)
        form, n = self._form, x.shape[1]
        if n == steps and form == "images first":  # axes of what it returns, too
            run = self.run(torch.cat([x, x[:, -1:]], dim=1), steps, timed)
            cut = (None if spikes is None else spikes[:, :n] for spikes in run.spikes)
            kept = (
                m if isinstance(m, str) else m._replace(values=m.values[:, :n])
                for m in run.membranes
            )
            return Run(run.outputs[:n], tuple(cut), tuple(kept))
        return self._run(x[0], steps, lambda _: run_recorded(self.module, x, form))

    def _form_of(self, x: Tensor, steps: int) -> "Form":
        """How it takes recordings x (T, n, ...): in the first way in which each of its neurons runs
        once in each step."""
        n = x.shape[1]
        if n in (1, steps):  # axes could be taken for each other
            more = 2 if n + 1 in (1, steps) else 1
            x = torch.cat([x, *[x[:, -1:]] * more], dim=1)
        forms = FORMS if any(takes_steps(m) for m in self.module.modules()) else FORMS[::-1]
        raised: Exception | None = None
        for form in forms:
            try:
                run = self._run(
                    x[0], steps, lambda _, form=form: run_recorded(self.module, x, form)
                )
            except Exception as error:  # a stranger's forward may raise anything
                raised = raised or error
                continue
            if all(spikes is not None for spikes in run.spikes):
                return form
        if raised is not None:
            raise raised
        return forms[0]

    def _run(self, x: Tensor, steps: int, play: Callable[[Tensor], Tensor]) -> Run:
        """What comes of x (n, ...), and what its nodes give and keep meanwhile."""
        nodes = [step.module for step in Lowered(self._found, None).steps if _ends_layer(step)]
        said: list[list[Tensor]] = [[] for _ in nodes]
        kept: list[list[Tensor]] = [[] for _ in nodes]
        hooks = [
            node.register_forward_hook(partial(record, out, left))
            for node, out, left in zip(nodes, said, kept, strict=True)
        ]
        for node in nodes:
            if takes_steps(node):
                cast(Any, node).store_v_seq = True  # of the copy that this is
        try:
            outputs = play(x)
        finally:
            for hook in hooks:
                hook.remove()
        spikes = tuple(in_steps(out, steps, len(x)) for out in said)
        potentials = (in_steps(left, steps, len(x)) for left in kept)
        pairs = zip(nodes, potentials, strict=True)
        return Run(outputs, spikes, tuple(membrane_of(node, v) for node, v in pairs))


def _layers(
    chain: Sequence[Step], shape: Sequence[int], names: Mapping[str, str]
) -> list[AffineLayer]:
    """A row of modules without convolutions as matrices, all else as edges."""
    apart, weighs = {"Conv1d", "Conv2d", "Sum", "Before"}, False
    for step in chain:
        called = {kind(step.module).__name__, type(step.module).__name__}
        fires = step.place in names
        if called & apart or (fires and not weighs):
            return read_maps(chain, shape, ACTIVATION, names)
        weighs = not fires and (weighs or not called & (IDLE | RESHAPES))
    plain = [(step.place, step.module) for step in chain]
    return read_layers(plain, shape, is_node, ACTIVATION)


def _findings(
    chain: Sequence[Step],
    neurons: Mapping[str, Neuron],
    names: Mapping[str, str],
    causes: Sequence[Cause],
    layers: Sequence[AffineLayer],
    notes: Mapping[str, str],
) -> tuple[Finding, ...]:
    """About each module; what a container with a loop is made of is its own."""
    whole = [Cause(cause.place.partition(" | ")[0], cause.problem) for cause in causes]
    found = findings_of(chain, neurons, names, whole, layers, notes)
    return tuple(finding for finding in found if " | " not in finding.node)


def _ends_layer(step: Step) -> bool:
    return is_node(step.module)


def read_network(
    module: nn.Module,
    shape: Sequence[int],
    *,
    steps: int,
    pixel_max: int,
    front: Sequence[nn.Module] = (),
) -> FoldedNetwork:
    """A SpikingJelly module as a network with unit spikes and whole pixels, nothing rounded.

    One that ends in spiking neurons gets a readout that counts their spikes.

    Parameters
    ----------
    module
        As of `JellyNetwork`.
    shape
        Of an input without its batch: (784,), or (1, 28, 28).
    steps
        T: the same image is given at every step.
    pixel_max
        Largest pixel; the module takes pixels / pixel_max.
    front
        What stands in front of it (`sw.importers.feed.Feed`).

    Raises
    ------
    ConvertError
        One sentence that names what cannot be read.
    """
    network = JellyNetwork(module)
    return network.read(shape, steps=steps, pixel_max=pixel_max, front=front).require()


def import_network(module: nn.Module, data: Split, **options: Any) -> tuple[Network, ImportReport]:
    """The network of a SpikingJelly module, compared with it on a data set: `import_foreign`, for
    modules of your own classes, too."""
    return import_foreign(JellyNetwork(module), data, **options)


def open_file(path: Path) -> JellyNetwork:
    """See `load_network`."""
    return JellyNetwork(load_network(path))
