"""Networks written in SpikingJelly, read from their modules: weights, thresholds, time constants.

SpikingJelly (Apache-2.0) is not needed to use Sterna, nor installed with it. What was read is
compared with the module itself before it is used: a `forward` that does more than run its modules
one after the other is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gen.core.describe import neuron_text
from hw.contract.checks import SternaError
from hw.contract.network import Network, NetworkError
from hw.contract.spec import NetworkSpec
from hw.contract.text import table
from hw.system.progress import Progress, Step, announced, silent
from sw.data.evaluate import check_fits
from sw.data.split import Split
from sw.importers.affine import kind
from sw.importers.feed import Feed, ForeignComparison, tested
from sw.importers.files import Contents, load_module
from sw.importers.modules import (
    NORMALISATION,
    AffineLayer,
    ConvertError,
    as_read,
    leaves,
    read_layers,
)
from sw.learn.compare import Batch, compare, unlike_spikes
from sw.learn.fold import FoldedLayer, FoldedNetwork
from sw.learn.neuron import LIFParameters, NeuronError
from sw.learn.quantize import quantize

__all__ = [
    "ImportReport",
    "import_network",
    "lif_parameters",
    "load_network",
    "read_network",
    "report_table",
]

TRIAL_IMAGES = 200
"""Images on which a module and what was read of it must agree."""

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
        instead="give classes of your own to sw.importers.spikingjelly.import_network, in Python",
    )
    return load_module(path, contents)


def _is_node(module: nn.Module) -> bool:
    return isinstance(module, _library().base.MemoryModule) and hasattr(module, "v_threshold")


def lif_parameters(node: nn.Module, place: str = "node") -> tuple[LIFParameters, float]:
    """What a node of SpikingJelly is in the contract's terms, and what its input is worth
    (1/tau under `decay_input`, else 1).

    IFNode, LIFNode, TernaryIFNode, TernaryLIFNode. A potential keeps 1 - 1/tau of itself per step,
    which must be 2^-k or 1 - 2^-k: tau of 4/3 (*Ternary Spike*), 2, 4, 8, ...

    Raises
    ------
    ConvertError
        One sentence for a node that no neuron of the contract is.
    """
    try:
        return _lif_parameters(node, place)
    except ConvertError:
        raise
    except (AttributeError, TypeError, ValueError, RuntimeError, ZeroDivisionError):
        # A node from a file may hold anything, or lack what its class has.
        raise ConvertError(f"{place} is damaged") from None


def _lif_parameters(node: nn.Module, place: str) -> tuple[LIFParameters, float]:
    kind, settings = type(node).__name__, cast(Any, node)
    if kind not in NODES or not type(node).__module__.startswith("spikingjelly."):
        raise ConvertError(f"{place} is not one of {', '.join(NODES)}")
    if not settings.surrogate_function.spiking:
        raise ConvertError(f"{place} must fire, not give its surrogate (spiking=False)")
    if settings.v_reset not in (None, 0.0):
        raise ConvertError(
            f"{place} must reset to 0 or by its threshold, not to {settings.v_reset:g}"
        )
    soft = settings.v_reset is None
    gain, decay, shift = 1.0, "none", 0
    if "LIF" in kind:
        decay, shift = _decay(settings.tau, place)
        gain = 1 / settings.tau if settings.decay_input else 1.0
    try:
        parameters = LIFParameters(
            theta=settings.v_threshold,
            negative="free" if kind.startswith("Ternary") else "off",
            decay=decay,
            decay_shift=shift,
            reset="soft" if soft else "hard",
            step=settings.v_threshold if soft else 0.0,
        )
    except NeuronError as error:
        raise ConvertError(f"{place} cannot be converted: {error}") from None
    return parameters, gain


def _decay(tau: float, place: str) -> tuple[str, int]:
    kept = 1 - 1 / tau
    for shift in range(1, 16):
        for decay, share in (("shift", 2.0**-shift), ("leak", 1 - 2.0**-shift)):
            if abs(kept - share) < 1e-9:
                return decay, shift
    raise ConvertError(
        f"{place} keeps {kept:.4g} of a potential per step (tau = {tau:g}), which must be 2^-k or "
        "1 - 2^-k: tau of 4/3, 2, 4, 8, ..."
    )


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
        Modules that run one after the other, nested however deep: what `sw.importers.affine`
        knows, and the nodes of `lif_parameters`.
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
    found = leaves(as_read(module), _is_container)
    found[:0] = [(NORMALISATION, module) for module in front]
    layers = read_layers(found, shape, _is_node, ACTIVATION)
    folded, unit = [], 1 / pixel_max
    for layer in layers:
        parameters, gain = None, 1.0
        if layer.activation is not None:
            parameters, gain = lif_parameters(layer.activation, _place(layer))
        weight, bias = layer.weight * (unit * gain), layer.bias * gain
        folded.append(FoldedLayer.dense(weight, bias, parameters))
        unit = 1.0
    if layers[-1].activation is not None:
        n = len(layers[-1].bias)
        count, none = torch.eye(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        folded.append(FoldedLayer.dense(count, none, None))
    return FoldedNetwork(tuple(folded), steps)


def _place(layer: AffineLayer) -> str:
    return f"{type(layer.activation).__name__} after {layer.place}"


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


@dataclass(frozen=True, kw_only=True)
class ImportReport(ForeignComparison):
    """What an import gives on a test set: the float network is the module itself.

    Parameters
    ----------
    unlike_float
        Per firing layer: (spikes that differ from the float network's, spikes compared).
    """

    keys = ("original", "integer")
    titles = ("SpikingJelly's network", "integer network")

    unlike_float: tuple[tuple[int, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return super().to_dict() | {"unlike_float": [list(pair) for pair in self.unlike_float]}


def import_network(
    module: nn.Module,
    data: Split,
    *,
    name: str,
    steps: int,
    weight_bits: int = 8,
    exact_decay: bool = False,
    shape: Sequence[int] | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    progress: Progress = silent,
) -> tuple[Network, ImportReport]:
    """The network of a SpikingJelly module, compared with it on a data set.

    Parameters
    ----------
    module
        See `read_network`; it is not changed.
    data
        Images to compare on.
    name, steps, weight_bits, exact_decay
        Of the network (`sw.learn.quantize.quantize`).
    shape
        Of an input; the default is what suits the first module (`sw.importers.feed.Feed.of`).
    mean, std
        The module takes (pixels / largest pixel - mean) / std: one value, or one per channel;
        without any, 0 and 1.
    progress
        Is told of the comparison.

    Raises
    ------
    ConvertError
        When something cannot be read, or the module computes something else than what was read.
    QuantizeError, SpecError
        When it has no integer form.
    EvaluateError
        When the data set does not fit.
    """
    if not 1 <= steps <= 1024:
        raise ConvertError(f"Time steps must be an integer from 1 to 1024, not {steps!r}")
    original = as_read(module)
    feed = Feed.of(data, leaves(original, _is_container), mean, std, shape)
    folded = read_network(
        original, feed.shape, steps=steps, pixel_max=feed.pixel_max, front=feed.front
    )
    trial = torch.from_numpy(data.images[:TRIAL_IMAGES])
    _require_same(original, folded, trial, feed)
    integer = quantize(
        folded,
        name=name,
        weight_bits=weight_bits,
        pixel_bits=data.bits,
        exact_decay=exact_decay,
        encoding=data.encoding,
    )
    meta = {"dataset": data.name, "source": "SpikingJelly", **feed.meta}
    try:
        network = integer.to_network(meta)
    except NetworkError as error:
        raise _with_exact_decay(error, integer.spec) from None
    check_fits(network, data)
    told = f"running {len(data):,} test images through both networks"
    with announced(progress, told, total=len(data)) as at:
        return network, _compare(original, folded, network, data, feed, at)


def _with_exact_decay(error: NetworkError, spec: NetworkSpec) -> SternaError:
    """The error, with what exact decay has to do with it."""
    for layer in spec.layers:
        taken = layer.neuron.fraction_bits if layer.neuron else 0
        if taken and str(error).startswith(f"Layer {layer.name} must keep its sums"):
            return ConvertError(
                f"{error}, of which exact decay over {spec.steps} time steps takes {taken}: use "
                "fewer time steps, or no exact decay"
            )
    return error


def _require_same(module: nn.Module, folded: FoldedNetwork, pixels: Tensor, feed: Feed) -> None:
    theirs = feed.run(lambda x: run_module(module, x, folded.steps), pixels)
    ours = folded(pixels).logits
    if theirs.shape == ours.shape:
        # Folding rounds elsewhere, so a drive that meets its threshold to the last bit may fire on
        # one side only: all but one in a hundred images must agree.
        near = [
            torch.isclose(ours, theirs * unit, rtol=1e-6, atol=1e-6).all(dim=1)
            for unit in (1, folded.steps)  # a forward may average over time by itself
        ]
        if any(float(same.double().mean()) >= 0.99 for same in near):
            return
    raise ConvertError(
        "Network must run its modules one after the other, in the order in which they were made, "
        "on the same image at every step: its own forward gives something else"
    )


def _compare(
    module: nn.Module, folded: FoldedNetwork, network: Network, data: Split, feed: Feed, at: Step
) -> ImportReport:
    spec, unlike = network.spec, np.zeros((len(network.layers) - 1, 2), dtype=np.int64)

    def run_float(batch: Batch) -> Tensor:
        unlike[:] += np.array(unlike_spikes(batch.trace, folded(batch.pixels))).reshape(-1, 2)
        return feed.run(lambda x: run_module(module, x, spec.steps), batch.pixels)

    comparison = compare(network, data, run_float, at)
    pairs = tuple((int(differ), int(n)) for differ, n in unlike)
    return ImportReport(**vars(comparison), fed=feed.text, tested=tested(data), unlike_float=pairs)


def report_table(network: Network, report: ImportReport) -> str:
    """For people."""
    spec = network.spec
    sizes = [spec.input_size, *(layer.neurons for layer in spec.layers)]
    rows: list[tuple[str, object]] = [
        (
            "network",
            f"{spec.name}, {'-'.join(map(str, sizes))}, T = {spec.steps}, digest "
            f"{network.digest[:16]}",
        ),
        *((layer.name, neuron_text(layer.neuron)) for layer in spec.layers if layer.neuron),
        *report.rows(),
    ]
    for layer, (unlike, n) in zip(spec.layers, report.unlike_float, strict=False):
        share = f"{unlike} of {n} ({100 * unlike / n:.3f} %)"
        rows.append((f"spikes unlike float, {layer.name}", share))
    activity = report.activity
    rows.append(("events per image", f"{activity.events:,.1f}"))
    rows.append(("synaptic operations", f"{activity.sops:,.0f} per image"))
    return table(rows)
