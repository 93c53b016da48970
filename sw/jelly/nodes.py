"""Nodes of SpikingJelly in the contract's terms."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from hw.contract.checks import SternaError
from sw.importers.affine import ConvertError
from sw.learn.neuron import LIFParameters, NeuronError, ReadoutParameters
from sw.reading.decay import current_fields, decay_fields, joined
from sw.reading.network import LeakyReadout

__all__ = [
    "ACTIVATION",
    "DAMAGE",
    "NEURONS",
    "NODES",
    "READOUTS",
    "advice",
    "is_node",
    "leaky_readout",
    "library",
    "neuron_of",
]

NODES = (
    "IFNode",
    "LIFNode",
    "ParametricLIFNode",
    "TernaryIFNode",
    "TernaryLIFNode",
    "SimpleIFNode",
    "SimpleLIFNode",
    "HalfThresholdIFNode",
    "CUBALIFNode",
)


ACTIVATION = f"one of {', '.join(NODES)}"


READOUTS = ("NonSpikingIFNode", "NonSpikingLIFNode")
"""Integrate, and never fire: they may end a network."""


DECODED = {"last_mem": "last", "mean-mem": "sum", "max-mem": "max"}
"""What is read of them, by their `decode`."""


DAMAGE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a module from a file raises that holds anything, or lacks what its class has."""


NEURONS = "spikingjelly.activation_based.neuron."


@cache
def library() -> Any:
    """`spikingjelly.activation_based`."""
    if find_spec("spikingjelly") is None:
        raise SternaError("Networks of SpikingJelly need the package spikingjelly: install it")
    from spikingjelly.activation_based import base, functional, layer, neuron, surrogate

    return SimpleNamespace(
        base=base, functional=functional, layer=layer, neuron=neuron, surrogate=surrogate
    )


def is_node(module: nn.Module) -> bool:
    return isinstance(module, library().base.MemoryModule) and hasattr(module, "v_threshold")


def neuron_of(node: nn.Module) -> tuple[LIFParameters, float, str]:
    """Also by how much it is approximated; the sentence of an error lacks its subject."""
    try:
        return _known_node(node)
    except ConvertError:
        raise
    except NeuronError as error:
        raise ConvertError(f"cannot be converted: {error}") from None
    except DAMAGE:
        raise ConvertError("is damaged") from None


def _known_node(node: nn.Module) -> tuple[LIFParameters, float, str]:
    kind, settings = type(node).__name__, cast(Any, node)
    if kind not in NODES or not type(node).__module__.startswith("spikingjelly."):
        raise ConvertError(f"is not {ACTIVATION}{advice(kind)}")
    if not settings.surrogate_function.spiking:
        raise ConvertError("must fire, not give its surrogate (spiking=False)")
    if not _is_step(settings.surrogate_function):
        raise ConvertError(
            "must send 1 from its threshold on, else 0: its surrogate_function does not"
        )
    ternary, rest = kind.startswith("Ternary"), settings.v_reset
    if ternary and rest not in (None, 0.0):
        raise ConvertError(f"must reset to 0 or by its threshold, not to {rest:g}")
    # A potential that is counted from where it rests has the same law.
    if kind == "CUBALIFNode" and rest not in (None, 0.0):
        raise ConvertError(
            f"must reset to 0 or by its threshold, not to {rest:g}, from where it does not decay"
        )
    theta = settings.v_threshold - (rest or 0.0)
    start = settings._memories_rv["v"] - (rest or 0.0)
    gain, fields, approximated = 1.0, dict[str, Any](decay="none", decay_shift=0), ""
    if kind == "CUBALIFNode":
        if settings._memories_rv["c"] != 0:
            raise ConvertError("must start without a synaptic current")
        fields, by = decay_fields(float(settings.v_decay))
        current, also = current_fields(float(settings.c_decay))
        fields, approximated = fields | current, joined(by, also)
    elif "LIF" in kind:
        share = _share(settings)
        fields, approximated = decay_fields(1 - share)
        gain = share if settings.decay_input else 1.0
    parameters = LIFParameters(
        theta=theta,
        negative="free" if ternary else "off",
        reset="soft" if rest is None else "hard",
        step=theta if rest is None else 0.0,
        u0=float(start),
        **fields,
    )
    if not -theta < start < theta:
        raise ConvertError(
            f"must start nearer to its rest than its threshold is, not {start:g} from it"
        )
    return parameters, gain, approximated


def leaky_readout(place: str, node: nn.Module) -> tuple[LeakyReadout, float]:
    """What a node that never fires is at the end of a network, and what its input is worth; the
    sentence of an error lacks its subject."""
    settings = cast(Any, node)
    if settings.decode not in DECODED:
        raise ConvertError(
            f"must say what is read of its potentials, decode='last_mem', 'mean-mem' or 'max-mem', "
            f"not {settings.decode!r}"
        )
    share, fields, by = 1.0, {"decay": "none", "decay_shift": 0}, ""
    if hasattr(settings, "tau"):
        try:
            share = 1 / float(settings.tau)
        except DAMAGE:
            raise ConvertError("is damaged") from None
        fields, by = decay_fields(1 - share)
    read = ReadoutParameters(value=DECODED[settings.decode], **fields)
    return LeakyReadout(place, read, by), share


def _is_step(fired: Callable[[Tensor], Tensor]) -> bool:
    """Whether it is a step at 0, and neither counts nor draws."""
    near = torch.tensor([0.0, 1e-6, 0.5, 1.0, 2.0, 1e3], dtype=torch.float64)
    try:
        return bool((fired(near) == 1).all() and (fired(-near[1:]) == 0).all())
    except RuntimeError:  # of what takes shares alone
        return False


def _share(settings: Any) -> float:
    """1 / tau, of a learned one too: the part of a potential that is lost in a step."""
    if isinstance(getattr(settings, "w", None), Tensor):
        if settings.w.numel() != 1:
            raise ConvertError("must have one tau for all its neurons: train one for the layer")
        return float(torch.sigmoid(settings.w.detach().double()))
    return 1 / settings.tau


def advice(kind: str) -> str:
    """About nodes whose law is another one."""
    found = {
        "KLIFNode": "it lets no potential below zero: train with LIFNode",
        "ILIFNode": "it rounds its potential to the nearest count: train with LIFNode",
        "IzhikevichNode": "it has a second equation: train with LIFNode",
        "PSN": "it sees all steps at once: train with LIFNode",
    }
    return f" ({found[kind]})" if kind in found else ""
