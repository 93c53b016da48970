"""A network as its state_dict, and a TOML file that says what that leaves open.

Modules of some frameworks cannot be saved, and those of a user's own classes are code. Their
`state_dict` is data: names and weights, in the order in which the modules were made. That is enough
for a chain of Linears and neurons. Of convolutions and pooling a file says the rest:

    framework = "snntorch"
    weights = "net.pt"              # torch.save(net.state_dict(), "net.pt"); beside this file

    [[module]]
    name = "conv1"
    kind = "Conv2d"
    padding = 2

    [[module]]
    name = "lif1"                   # what its state says need not be said again

    [[module]]
    kind = "AvgPool2d"
    kernel_size = 2
"""

import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hw.contract.text import none_of
from sw.importers.affine import CONVOLUTIONS, READ_OF_MAPS, ConvertError

__all__ = ["Architecture", "Module", "read_architecture"]

MAX_TOML = 1 << 20
"""Bytes of a file that describes a network."""

WITHIN = ("state_dict", "model_state_dict")
"""Keys at which checkpoints, with an optimiser and an epoch beside it, have the state_dict."""

Maker = Callable[[str, Mapping[str, Tensor], Mapping[str, Any]], nn.Module | None]
"""Makes a module that torch.nn does not have, of its kind (empty: that which has such a state), its
state, and what is said besides; None: it is none."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module.

    Parameters
    ----------
    name
        In the state_dict; empty: it has no state.
    kind
        Its class; empty: what its state says.
    options
        Of its class, without what the state says.
    """

    name: str = ""
    kind: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What was read.

    Parameters
    ----------
    path
        The file, for messages.
    state
        The state_dict.
    modules
        In the order in which they run.
    stated
        Whether a file says them; else they are assumed, by the state_dict.
    mark
        What the keys of neurons end with.
    """

    path: Path
    state: Mapping[str, Tensor]
    modules: tuple[Module, ...]
    stated: bool
    mark: str

    def build(self, make: Maker) -> nn.Sequential:
        """The modules with their weights.

        Raises
        ------
        ConvertError
            One sentence, for a module that cannot be made, and state that no module has.
        """
        names = [module.name for module in self.modules if module.name]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise self._error(f"names {twice} twice: a module runs once in a time step")
        self._check_state()
        built, used = nn.Sequential(), set[str]()
        for n, module in enumerate(self.modules):
            own = _own(self.state, module.name)
            if module.name and not own:
                raise self._error(f"has no state of {module.name}")
            used |= {f"{module.name}.{key}" for key in own}
            kind = module.kind or _kind_by_weight(own)
            title = module.name.replace(".", "_") or f"{kind.lower()}{n}"
            while title in built._modules:
                title += "_"
            try:
                made = make(module.kind, own, module.options)
                if made is None:
                    made = self._plain(kind, own, module)
            except ConvertError:
                raise
            except Exception as error:  # classes refuse arguments in their own ways
                text = " ".join(str(error).split())
                what = f"{title} ({kind})" if kind else title
                raise self._error(f"cannot make {what}: {text}") from None
            built.add_module(title, made)
        unused = sorted(key for key in self.state if key not in used)
        if unused:
            raise self._error(f"has no module for the state of {unused[0]}")
        return built.eval()

    def _check_state(self) -> None:
        for key, value in self.state.items():
            if "." not in key:
                raise self._error(f"has no module for the state of {key}")
            if value.is_complex() or value.layout != torch.strided or value.is_meta:
                raise self._error(f"must have plain numbers as {key}")
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise self._error(f"must have finite numbers as {key}, not NaN or infinite ones")

    def _plain(self, kind: str, own: Mapping[str, Tensor], module: Module) -> nn.Module:
        """A module of torch.nn."""
        if not kind:
            raise self._error(
                f"does not say what {module.name} is: write a TOML file that says it "
                "(docs/import.md)"
            )
        if kind not in READ_OF_MAPS:
            text = none_of("its kind", kind, sorted(READ_OF_MAPS))
            raise self._error(f"cannot make {module.name or 'a module'}: {text}")
        if kind in CONVOLUTIONS and not self.stated:
            raise self._error(
                f"does not say stride and padding of {module.name}, nor what pools: write a TOML "
                "file that says it (docs/import.md)"
            )
        options, weight = dict(module.options), own.get("weight")
        if kind == "Linear" and weight is not None:
            options |= {"out_features": weight.shape[0], "in_features": weight.shape[1]}
        elif kind in CONVOLUTIONS and weight is not None:
            options |= {
                "out_channels": weight.shape[0],
                "in_channels": weight.shape[1] * options.get("groups", 1),
                "kernel_size": tuple(weight.shape[2:]),
            }
        elif "running_mean" in own:
            options["num_features"] = len(own["running_mean"])
            options.setdefault("affine", weight is not None)
        if kind in ("Linear", *CONVOLUTIONS):
            options["bias"] = "bias" in own
        made = getattr(nn, kind)(**options)
        made.load_state_dict(own)
        return made

    def _error(self, text: str) -> ConvertError:
        return ConvertError(f"Network {self.path} {text}")


def _own(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The state of a module, by its own keys."""
    start = f"{name}."
    return {
        key[len(start) :]: value for key, value in state.items() if name and key.startswith(start)
    }


def _kind_by_weight(own: Mapping[str, Tensor]) -> str:
    """What may be told by weights alone; a batch-norm without maps."""
    if "running_mean" in own:
        return "BatchNorm1d"
    weight = own.get("weight")
    return {2: "Linear", 3: "Conv1d", 4: "Conv2d"}.get(0 if weight is None else weight.ndim, "")


def read_architecture(path: Path, mark: str, framework: str) -> Architecture | None:
    """What a file says; None: it is no state_dict with a key that ends with `mark`, nor a TOML file
    of this framework.

    Raises
    ------
    ConvertError
        For a TOML file that cannot be followed.
    """
    state = _state(path)
    if state is not None:
        if not any(key.endswith(mark) for key in state):
            return None
        modules = tuple(Module(name=name) for name in _names(state, mark))
        return Architecture(path=path, state=state, modules=modules, stated=False, mark=mark)
    data = _toml(path)
    if data is None or data.get("framework") != framework:
        return None
    return _stated(path, data, mark)


def _stated(path: Path, data: Mapping[str, Any], mark: str) -> Architecture:
    def error(text: str) -> ConvertError:
        return ConvertError(f"Network {path} {text}")

    unknown = sorted(set(data) - {"framework", "weights", "module"})
    if unknown:
        raise error(f"has no key {unknown[0]!r}: it has framework, weights and [[module]]")
    name, entries = data.get("weights"), data.get("module")
    if not isinstance(name, str):
        raise error('must name a state_dict: weights = "net.pt"')
    if not isinstance(entries, list) or not entries:
        raise error("must have a [[module]] for each module, in the order in which they run")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise error(f"must name a state_dict beside it, or in a folder there, not {name}")
    weights = path.parent / name
    if not weights.is_file():
        raise error(f"names {name}, which does not exist beside it")
    state = _state(weights)
    if state is None:
        raise error(f"names {name}, which is no state_dict: torch.save(net.state_dict(), path)")
    modules = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise error("must have a [[module]] for each module, in the order in which they run")
        options = dict(entry)
        title, kind = options.pop("name", ""), options.pop("kind", "")
        if not isinstance(title, str) or not isinstance(kind, str) or not (title or kind):
            raise error("must have a name, or a kind, for each [[module]]")
        modules.append(Module(name=title, kind=kind, options=options))
    return Architecture(path=path, state=state, modules=tuple(modules), stated=True, mark=mark)


def _state(path: Path) -> dict[str, Tensor] | None:
    """A file's state_dict; None: it has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wonders at what is damaged
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises anything at all for a file that is not its own
        return None
    if not isinstance(found, Mapping) or not found:
        return None
    inner = next((found[key] for key in WITHIN if isinstance(found.get(key), Mapping)), found)
    found = inner or found
    if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()):
        return None
    return dict(found)


def _toml(path: Path) -> dict[str, Any] | None:
    named = path.suffix == ".toml"
    try:
        if path.stat().st_size > MAX_TOML:
            if named:
                raise ConvertError(f"Network {path} must be a TOML file of at most 1 MiB")
            return None
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if named:
            raise ConvertError(f"Network {path} is no TOML: {error}") from None
        return None


def _names(state: Mapping[str, Tensor], mark: str) -> Sequence[str]:
    """The modules that have a state, in its order; what is within a neuron is the neuron's."""
    nodes = [key.removesuffix(mark) for key in state if key.endswith(mark)]
    names = []
    for key in state:
        node = next((name for name in nodes if key.startswith(f"{name}.")), None)
        names.append(node if node is not None else key.rpartition(".")[0])
    return list(dict.fromkeys(names))
