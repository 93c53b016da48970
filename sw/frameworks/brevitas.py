"""Networks written in Brevitas: quantised ReLU networks, as neurons that count, in one step.

What such an activation is, `sw.importers.counting` says. Weights are whole multiples of their scale
already. The module is run once, and watched
(`sw.watch`). Brevitas (BSD-3-Clause) is not needed to use Sterna, nor installed with it.

What differs: Brevitas rounds halves to even, the contract up; and a bias, a threshold or a scale by
channel that is no multiple of the weights' step is rounded. Where it matters the report counts it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.contract.checks import SternaError
from hw.contract.network import Network
from sw.data.split import Split
from sw.frameworks.architecture import read_architecture
from sw.frameworks.importing import import_foreign
from sw.frameworks.proof import ImportReport
from sw.importers.affine import Cause, ConvertError, refusal
from sw.importers.counting import counting, one_step
from sw.importers.modules import Leaf, cause
from sw.importers.trace import Step
from sw.watch.calls import Call, Watch
from sw.watch.described import Node
from sw.watch.network import WatchedNetwork
from sw.watch.returned import require_whole

__all__ = ["BrevitasNetwork", "import_network", "is_file", "open_file"]

ACTIVATION = "QuantReLU of at most 4 bits"
WEIGHTS = ("QuantLinear", "QuantConv2d")
TAKEN = ("QuantConv2d", "QuantIdentity", "QuantLinear", "QuantReLU")

MARK = ".scaling_impl.value"
"""Ends a key of the state of most quantised activations."""

SAME = 1e-6
"""Within this share of the largest value, a bias is the same everywhere."""

SETTINGS = (
    *("bit_width", "bit_width_impl_type", "collect_stats_steps", "float_to_int_impl_type"),
    *("high_percentile_q", "low_percentile_q", "max_val", "min_val", "narrow_range"),
    *("per_channel_broadcastable_shape", "quant_type", "restrict_scaling_type", "scaling_const"),
    *("scaling_impl_type", "scaling_min_val", "scaling_per_output_channel", "scaling_stats_op"),
    *("scaling_stats_permute_dims", "signed"),
)
"""Of a quantiser, which a file may say; behind `weight_` of weights."""

NAME = "brevitas"


@cache
def _library() -> Any:
    """`brevitas.nn`, and what its weights and activations have in common."""
    if find_spec("brevitas") is None:
        raise SternaError("Networks of Brevitas need the package brevitas: install it")
    from brevitas import nn as layers
    from brevitas import quant
    from brevitas.nn.quant_layer import QuantNonLinearActLayer, QuantWeightBiasInputOutputLayer

    return SimpleNamespace(
        nn=layers, quant=quant, act=QuantNonLinearActLayer, weight=QuantWeightBiasInputOutputLayer
    )


def _is_act(module: nn.Module) -> bool:
    return isinstance(module, _library().act)


def _is_weight(module: nn.Module) -> bool:
    return isinstance(module, _library().weight)


def _is_identity(module: nn.Module) -> bool:
    return type(module).__name__ == "QuantIdentity"


class BrevitasNetwork(WatchedNetwork):
    """A module of Brevitas' layers that run one after the other.

    What a QuantIdentity rounds in front of them is left out: pixels are rounded already.

    Parameters
    ----------
    module
        QuantLinear, QuantConv2d, QuantReLU, and what torch has that is affine. It is not changed.

    Raises
    ------
    ConvertError
        For what is no module, or cannot be copied.
    """

    framework = "Brevitas"
    takes_recordings = False
    activation = ACTIVATION

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        for inner in self.module.modules():
            if _is_identity(inner):
                inner.register_forward_hook(_unrounded)

    @property
    def leaves(self) -> Sequence[Leaf]:
        return [(place, m) for place, m in super().leaves if not _is_identity(m)]

    def is_node(self, module: nn.Module) -> bool:
        return _is_act(module) and not _is_identity(module)

    def is_whole(self, module: nn.Module) -> bool:
        """What is quantised has its quantisers in it."""
        return _is_act(module) or _is_weight(module)

    def node(self, module: nn.Module) -> Node:
        if type(module).__name__ != "QuantReLU":
            raise ConvertError(f"is not supported: use {ACTIVATION}")
        act = cast(Any, module).act_quant
        if cast(Any, module).input_quant.is_quant_enabled:
            raise ConvertError("must not round its input, too (input_quant)")
        if not act.is_quant_enabled:
            raise ConvertError("must be quantised (act_quant)")
        bits, scale = int(act.bit_width()), torch.as_tensor(act.scale()).detach().flatten()
        signed = act.is_signed or act.is_narrow_range
        plain = not (signed or bool(torch.as_tensor(act.zero_point()).any()))
        made = counting(2**bits - 1, scale, str(act.rounding_mode).upper(), plain=plain)
        return Node(made.parameters, amplitude=made.amplitude, start=made.start)

    def calls(self, x: Tensor, steps: int, timed: bool = False) -> list[Call]:
        one_step(steps, timed)
        try:
            with Watch(self.module, self.is_whole) as watch:
                returned = self.module(x)
        except Exception as error:  # a stranger's forward may raise anything
            raise ConvertError(
                f"Network cannot be run on images of {tuple(x.shape[1:])}: {cause(error)}"
            ) from None
        if not any(self.is_node(call.module) for call in watch.calls):
            raise ConvertError(f"Network has no neurons: it needs {ACTIVATION}")
        self._require_at_front(watch.calls)
        require_whole(watch.calls, [returned], steps, self.is_node)
        return watch.calls

    def _require_at_front(self, calls: Sequence[Call]) -> None:
        """What a QuantIdentity rounds is left out: of pixels only."""
        rounds = list(map(_is_identity, (call.module for call in calls)))
        whole = [
            self.is_whole(call.module) and not at for call, at in zip(calls, rounds, strict=True)
        ]
        first = whole.index(True)
        behind = [call for call, at in zip(calls[first:], rounds[first:], strict=True) if at]
        if behind:
            raise refusal(
                Cause(
                    call.place,
                    "rounds what another module made: it may only stand in front, where it rounds "
                    "pixels",
                )
                for call in behind
            )

    def expanded(self, call: Call, title: str, here: str) -> list[Step]:
        if _is_identity(call.module):
            return [Step(title, (here,), nn.Identity())]
        if _is_weight(call.module):
            return [Step(title, (here,), _plain(call))]
        return super().expanded(call, title, here)

    def notes(self, chain: Sequence[Call]) -> dict[str, str]:
        return {
            call.place: "left out, in the comparison too: pixels are rounded already"
            for call in chain
            if _is_identity(call.module)
        }


def _unrounded(module: nn.Module, given: tuple[Any, ...], made: Any) -> Any:
    """A tensor with the scale that was made, and the values that were given."""
    value = given[0][0] if isinstance(given[0], tuple) else given[0]
    return made._replace(value=value) if hasattr(made, "_replace") else value


def _plain(call: Call) -> nn.Module:
    """The module of torch with the weights that the quantised one has; its bias is what it makes
    besides, which may be rounded, too.

    Raises
    ------
    ValueError
        Without its subject, where that is no bias.
    """
    layer = cast(Any, call.module)
    weight = layer.quant_weight()
    weight = (weight[0] if isinstance(weight, tuple) else weight).detach().double()
    if isinstance(layer, nn.Linear):
        plain: nn.Module = nn.Linear(weight.shape[1], weight.shape[0])
        made = functional.linear(call.given, weight)
    elif isinstance(layer, nn.Conv2d):
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation")
        fields = {name: getattr(layer, name) for name in (*names, "groups", "padding_mode")}
        plain = nn.Conv2d(**fields)
        made = layer._conv_forward(call.given, weight, None)
    else:
        raise ConvertError(f"is not supported: use {', '.join(WEIGHTS)}")
    rest = call.made - made
    by_channel = rest.transpose(0, 1).reshape(rest.shape[1], -1)
    bias = by_channel.mean(dim=1)
    if float((by_channel - bias[:, None]).abs().max()) > SAME * max(1.0, float(made.abs().max())):
        raise ConvertError("must not round what it makes (output_quant), nor its input")
    plain = plain.double()
    held = cast(Any, plain)
    held.weight.data, held.bias.data = weight.clone(), bias
    return plain.eval()


# Files


def is_file(path: Path) -> bool:
    """Whether a file describes a network of Brevitas."""
    return read_architecture(path, MARK, NAME) is not None


def open_file(path: Path) -> BrevitasNetwork:
    """The network that a TOML file describes (`sw.frameworks.architecture`): kinds and widths of
    its modules, and the state_dict that they are filled with.

    Raises
    ------
    ConvertError
        When it cannot be read.
    """
    architecture = read_architecture(path, MARK, NAME)
    if architecture is None or not architecture.stated:
        raise ConvertError(
            f"Network {path} must be a TOML file that names a state_dict and says the kinds and "
            "widths of its modules (docs/import.md): Brevitas' modules cannot be saved themselves"
        )
    return BrevitasNetwork(architecture.build(_made))


def _made(kind: str, own: Mapping[str, Tensor], given: Mapping[str, Any]) -> nn.Module | None:
    """A module of a kind with its state; None: it is one of torch."""
    if kind not in TAKEN:
        return None
    options, weight = dict(given), own.get("weight")
    if weight is not None:
        sizes = ("out_features", "in_features")
        if kind == "QuantConv2d":
            sizes = ("out_channels", "in_channels")
            options["kernel_size"] = tuple(weight.shape[2:])
        options |= {sizes[0]: weight.shape[0], sizes[1]: weight.shape[1] * given.get("groups", 1)}
        options["bias"] = "bias" in own
        if "weight_bit_width" not in given:  # which the state does not say
            raise ValueError("weight_bit_width must be said")
    known: Callable[..., nn.Module] = getattr(_library().nn, kind)
    mark = "weight_" if kind in WEIGHTS else ""
    takes = {*inspect.signature(known).parameters, *(mark + setting for setting in SETTINGS)}
    for key, value in given.items():  # Brevitas takes any, and says nothing
        if key not in takes - {"kwargs"}:
            raise ValueError(f"it has no argument {key!r}")
        if key.endswith("_quant") and isinstance(value, str):
            options[key] = _quantiser(value)
    options.setdefault("return_quant_tensor", "Linear" not in kind and "Conv" not in kind)
    made = known(**options)
    made.load_state_dict(own)
    return made


def _quantiser(name: str) -> type:
    """A class of `brevitas.quant`."""
    found = getattr(_library().quant, name, None)
    if not isinstance(found, type) or not found.__module__.startswith("brevitas.quant"):
        raise ValueError(f"brevitas.quant has no {name}")
    return found


def import_network(module: nn.Module, data: Split, **options: Any) -> tuple[Network, ImportReport]:
    """The network of a module of Brevitas, compared with it on a data set: `import_foreign`, in one
    time step."""
    return import_foreign(BrevitasNetwork(module), data, steps=1, **options)
