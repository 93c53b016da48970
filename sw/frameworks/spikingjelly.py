"""Networks written in SpikingJelly, read from their modules: weights, thresholds, time constants.

SpikingJelly (Apache-2.0) is not needed to use Sterna, nor installed with it. What was read is
compared with the module itself before it is used: a `forward` that does more than run its modules
one after the other is refused.
"""

from collections.abc import Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from hw.contract.checks import SternaError
from hw.contract.network import Network
from sw.data.split import Split
from sw.frameworks.decay import decay_fields
from sw.frameworks.importing import ImportReport, import_foreign
from sw.frameworks.reading import (
    SHAPE_UNKNOWN,
    Foreign,
    Neuron,
    Reading,
    Run,
    findings_of,
    folded_network,
)
from sw.importers.affine import Cause, ConvertError, kind
from sw.importers.files import Contents, load_module
from sw.importers.maps import read_maps
from sw.importers.modules import NORMALISATION, Leaf, as_read, leaves, read_layers
from sw.importers.trace import Step
from sw.learn.fold import FoldedNetwork
from sw.learn.neuron import LIFParameters, NeuronError

__all__ = [
    "JellyNetwork",
    "import_network",
    "lif_parameters",
    "load_network",
    "read_network",
    "run_module",
]

NODES = ("IFNode", "LIFNode", "TernaryIFNode", "TernaryLIFNode")
ACTIVATION = f"one of {', '.join(NODES)}"


@cache
def _library() -> Any:
    """`spikingjelly.activation_based`."""
    if find_spec("spikingjelly") is None:
        raise SternaError("Networks of SpikingJelly need the package spikingjelly: install it")
    from spikingjelly.activation_based import base, functional, layer, neuron, surrogate

    return SimpleNamespace(
        base=base, functional=functional, layer=layer, neuron=neuron, surrogate=surrogate
    )


def load_network(path: Path) -> nn.Module:
    """A module saved with `torch.save(network, path)`. No code of the file is run: it may hold
    modules of torch.nn and of SpikingJelly only. (For classes of your own, `import_network`.)

    Raises
    ------
    ConvertError
        When it cannot be read, or holds something else.
    """
    library = _library()
    known = [
        thing
        for module in (library.layer, library.neuron, library.surrogate)
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, nn.Module)
    ]
    contents = Contents(
        known=known,
        made_of="of torch.nn and SpikingJelly modules",
        activation=ACTIVATION,
        instead="give classes of your own to sw.frameworks.spikingjelly.import_network, in Python",
    )
    return load_module(path, contents)


# Nodes


def _is_node(module: nn.Module) -> bool:
    return isinstance(module, _library().base.MemoryModule) and hasattr(module, "v_threshold")


def lif_parameters(node: nn.Module, place: str = "node") -> tuple[LIFParameters, float]:
    """What a node of SpikingJelly is in the contract's terms, and what its input is worth
    (1/tau under `decay_input`, else 1).

    IFNode, LIFNode, TernaryIFNode, TernaryLIFNode. A potential keeps 1 - 1/tau of itself per step
    (`sw.frameworks.decay`).

    Raises
    ------
    ConvertError
        One sentence for a node that no neuron of the contract is.
    """
    try:
        parameters, gain, _ = _lif_parameters(node)
    except ConvertError as error:
        raise ConvertError(f"{place} {error}") from None
    return parameters, gain


def _lif_parameters(node: nn.Module) -> tuple[LIFParameters, float, str]:
    """Also by how much it is approximated; the sentence of an error lacks its subject."""
    try:
        return _known_node(node)
    except ConvertError:
        raise
    except NeuronError as error:
        raise ConvertError(f"cannot be converted: {error}") from None
    except (AttributeError, TypeError, ValueError, RuntimeError, ZeroDivisionError):
        # A node from a file may hold anything, or lack what its class has.
        raise ConvertError("is damaged") from None


def _known_node(node: nn.Module) -> tuple[LIFParameters, float, str]:
    kind, settings = type(node).__name__, cast(Any, node)
    if kind not in NODES or not type(node).__module__.startswith("spikingjelly."):
        raise ConvertError(f"is not one of {', '.join(NODES)}")
    if not settings.surrogate_function.spiking:
        raise ConvertError("must fire, not give its surrogate (spiking=False)")
    if settings.v_reset not in (None, 0.0):
        raise ConvertError(f"must reset to 0 or by its threshold, not to {settings.v_reset:g}")
    soft = settings.v_reset is None
    gain, fields, approximated = 1.0, dict[str, Any](decay="none", decay_shift=0), ""
    if "LIF" in kind:
        fields, approximated = decay_fields(1 - 1 / settings.tau)
        gain = 1 / settings.tau if settings.decay_input else 1.0
    parameters = LIFParameters(
        theta=settings.v_threshold,
        negative="free" if kind.startswith("Ternary") else "off",
        reset="soft" if soft else "hard",
        step=settings.v_threshold if soft else 0.0,
        **fields,
    )
    return parameters, gain, approximated


# Networks


class JellyNetwork(Foreign):
    """A module of SpikingJelly.

    Parameters
    ----------
    module
        Modules that run one after the other, nested however deep: what `sw.importers.affine`
        knows, Conv2d, and the nodes of `lif_parameters`. It is not changed.

    Raises
    ------
    ConvertError
        For what is no such module, or cannot be copied.
    """

    framework = "SpikingJelly"

    def __init__(self, module: nn.Module) -> None:
        self.module = as_read(module)

    @property
    def leaves(self) -> Sequence[Leaf]:
        return leaves(self.module, _is_container)

    def read(
        self, shape: Sequence[int], *, steps: int, pixel_max: int, front: Sequence[nn.Module] = ()
    ) -> Reading:
        found = [(NORMALISATION, module) for module in front]
        chain = _chain([*found, *self.leaves])
        names = {s.place: f"hidden{n}" for n, s in enumerate(filter(_ends_layer, chain), 1)}
        neurons, gains, causes = dict[str, Neuron](), list[float](), list[Cause]()
        for step in chain:
            if step.place in names:
                try:
                    parameters, gain, approximated = _lif_parameters(step.module)
                except ConvertError as error:
                    causes.append(Cause(step.place, str(error)))
                    continue
                neurons[step.place] = Neuron(names[step.place], parameters, approximated)
                gains.append(gain)
        layers = []
        try:
            if shape is None:
                causes.append(SHAPE_UNKNOWN)
            elif any(kind(step.module).__name__ == "Conv2d" for step in chain):
                layers = read_maps(chain, shape, ACTIVATION, names)
            else:
                plain = [(step.place, step.module) for step in chain]
                layers = read_layers(plain, shape, _is_node, ACTIVATION)
        except ConvertError as error:
            if not error.causes:
                raise
            causes.extend(error.causes)
        findings = findings_of(chain[len(found) :], neurons, names, causes, layers)
        if causes or shape is None:
            return Reading(findings=findings)
        for n, gain in enumerate(gains):
            layers[n] = layers[n].scaled(gain)
        folded = folded_network(
            layers, [*neurons.values()], shape=shape, steps=steps, pixel_max=pixel_max
        )
        return Reading(findings=findings, folded=folded)

    @torch.no_grad()
    def run(self, x: Tensor, steps: int) -> Run:
        nodes = [module for _, module in self.leaves if _is_node(module)]
        said: list[list[Tensor]] = [[] for _ in nodes]
        hooks = [
            node.register_forward_hook(partial(_record, out))
            for node, out in zip(nodes, said, strict=True)
        ]
        try:
            outputs = run_module(self.module, x, steps)
        finally:
            for hook in hooks:
                hook.remove()
        return Run(outputs, tuple(_in_steps(out, steps, len(x)) for out in said))


def _record(out: list[Tensor], node: nn.Module, given: Any, made: Any) -> None:
    if isinstance(made, Tensor):
        out.append(made.detach())


def _in_steps(said: Sequence[Tensor], steps: int, n: int) -> Tensor | None:
    """(T, n, neurons) of what a node gave: of all steps at once, or at each. None: it is neither,
    as of a node that is used twice."""
    if sum(part.numel() for part in said) % (steps * n) or len(said) not in (1, steps):
        return None
    made = torch.cat([part.reshape(-1) for part in said]).reshape(steps, n, -1)
    parts = said[0].shape[0] if len(said) == 1 else len(said)
    return made if parts == steps else None


def _ends_layer(step: Step) -> bool:
    return _is_node(step.module)


def _chain(found: Sequence[Leaf]) -> list[Step]:
    """Modules that run one after the other as steps; one that is used twice, under two names."""
    steps: list[Step] = []
    for place, module in found:
        used = sum(step.place.partition(", again")[0] == place for step in steps)
        title = f"{place}, again" + f" {used}" * (used > 1) if used else place
        steps.append(Step(title, (steps[-1].place if steps else "input",), module))
    return steps


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


CONTAINERS = {
    "Module",  # a class of the user's own
    "ModuleDict",
    "ModuleList",
    "MultiStepContainer",
    "SeqToANNContainer",
    "Sequential",
    "StepModeContainer",
}


def _is_container(module: nn.Module) -> bool:
    """Whether a module is what its children do, in the order in which they were made."""
    has_children = any(child is not None for child in module._modules.values())
    return has_children and not _is_node(module) and kind(module).__name__ in CONTAINERS


def _takes_steps(module: nn.Module) -> bool:
    """Whether a module takes all time steps at once, (T, n, ...)."""
    return (
        isinstance(module, _library().base.MultiStepModule)
        or getattr(module, "step_mode", "s") == "m"
    )


@torch.no_grad()
def run_module(module: nn.Module, x: Tensor, steps: int) -> Tensor:
    """The outputs of all steps added up, (n, classes), of a module that is given x (n, ...) at
    every step; of one that adds up or averages by itself in its own `forward`, what it returns."""
    library = _library()
    library.functional.reset_net(module)
    if any(_takes_steps(m) for m in module.modules()):
        out = module(x.expand(steps, *x.shape))
        out = out.sum(dim=0) if out.ndim == 3 else out
    else:
        out = sum((module(x) for _ in range(steps)), torch.zeros(()))
    library.functional.reset_net(module)
    return out


def import_network(module: nn.Module, data: Split, **options: Any) -> tuple[Network, ImportReport]:
    """The network of a SpikingJelly module, compared with it on a data set: `import_foreign`, for
    modules of your own classes, too."""
    return import_foreign(JellyNetwork(module), data, **options)


def open_file(path: Path) -> JellyNetwork:
    """See `load_network`."""
    return JellyNetwork(load_network(path))
