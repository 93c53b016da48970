"""Files that `torch.save` wrote, read without running code of theirs."""

import io
import pickletools
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.serialization import get_unsafe_globals_in_checkpoint

from sw.importers.affine import READ_OF_MAPS, ConvertError, what_to_do
from sw.importers.modules import as_read, followed
from sw.importers.trace import Traced, Unread

__all__ = ["Contents", "load_module", "network_bytes"]

AGAIN = "write it again with torch.save(network, path)"


def _of_torch(cls: type[nn.Module] = nn.Module) -> Iterator[type[nn.Module]]:
    """Every module that torch.nn has: whether one can be converted is said where it is read."""
    for derived in cls.__subclasses__():
        if derived.__module__.startswith("torch.nn."):
            yield derived
            yield from _of_torch(derived)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a file may hold, and, for messages, what it must.

    Parameters
    ----------
    known
        Modules beside those of torch.nn, and functions that do no harm.
    made_of
        What the network is a Sequential of.
    activation
        What may stand between its layers.
    instead
        What to do with a network of other classes.
    steps
        Whether it may be the steps of a network (`sw.importers.trace`), as plain data.
    """

    known: Sequence[Any] = ()
    made_of: str
    activation: str
    instead: str
    steps: bool = False


def load_module(path: Path, contents: Contents) -> nn.Module:
    """A module saved with `torch.save(network, path)`, or its steps. No code of the file is run.

    Raises
    ------
    ConvertError
        When it cannot be read, or holds something else.
    """
    try:
        allowed = [nn.Module, *_of_torch(), *contents.known]
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                network = torch.load(path, map_location="cpu", weights_only=True)
            except OSError:
                raise
            except Exception:  # torch raises anything at all for a file that is not its own
                raise ConvertError(f"Network {path} {_fault(path, contents)}") from None
    except FileNotFoundError:
        raise ConvertError(f"Network {path} does not exist") from None
    except OSError as error:
        raise ConvertError(f"Network {path} cannot be read: {error.strerror or error}") from None
    if isinstance(network, nn.Module):
        try:
            return network.eval()
        except Exception:  # it may lack what every module has
            raise ConvertError(f"Network {path} is damaged: {AGAIN}") from None
    if contents.steps and isinstance(network, dict) and "steps" in network:
        try:
            return Traced.of(network).eval()
        except ConvertError as error:
            raise ConvertError(f"Network {path} cannot be read: {error}") from None
        except Exception:  # modules may lack what every module has
            raise ConvertError(f"Network {path} is damaged: {AGAIN}") from None
    found = type(network).__name__
    if isinstance(network, dict):
        found += ", as a state_dict is"
    raise ConvertError(f"Network {path} must be a module, not a {found}: {AGAIN}")


def network_bytes(network: nn.Module) -> bytes:
    """What `load_module` reads as this ReLU network: of modules that run one after the other
    themselves, of others the steps, and no code.

    Raises
    ------
    ConvertError
        When its steps cannot be written down.
    """
    read, buffer = followed(as_read(network)), io.BytesIO()
    if isinstance(read, Traced):
        for step in read.steps:
            if isinstance(step.module, Unread):
                raise ConvertError(f"{step.place} {step.module.problem}")
    torch.save(read.plain() if isinstance(read, Traced) else read, buffer)
    return buffer.getvalue()


def _fault(path: Path, contents: Contents) -> str:
    """What is wrong with a file that torch does not load."""
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        return f"is empty: {AGAIN}"
    if head[:2] == b"PK":
        try:
            return _fault_of_archive(path, contents)
        except Exception:  # as above
            return f"is truncated or damaged: {AGAIN}"
    if head[:1] == b"\x80":
        return f"must be of the form that torch.save has since 1.6, not a bare pickle: {AGAIN}"
    return f"must be a file of torch.save: {AGAIN}"


def _fault_of_archive(path: Path, contents: Contents) -> str:
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        if "constants.pkl" in names:
            return f"must be a module, not a TorchScript archive: {AGAIN} from before scripting"
        if "data.pkl" not in names:
            return f"must be a file of torch.save, not another archive: {AGAIN}"
        pickled = archive.read(names["data.pkl"])
    protocol = pickled[1]
    if protocol != 2:
        return f"must be written with pickle protocol 2, not {protocol}: {AGAIN}"
    foreign = sorted(get_unsafe_globals_in_checkpoint(str(path)))
    if not foreign:
        return f"is damaged: {AGAIN}"
    if all(name.startswith(("torch.", "builtins.", "collections.")) for name in foreign):
        # Innards of a module of torch, which says more by its own name.
        classes = {f"{cls.__module__} {cls.__name__}": cls for cls in _of_torch()}
        for op, name, _ in pickletools.genops(pickled):
            cls = classes.get(str(name)) if op.name == "GLOBAL" else None
            if cls is not None and _holds_innards(cls):
                advice = what_to_do(cls, contents.activation)
                return f"holds a {cls.__name__}, which is not supported ({advice})"
    more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
    return (
        f"must be a torch.nn.Sequential {contents.made_of}, not of {foreign[0]}{more}: "
        f"{contents.instead}"
    )


def _holds_innards(cls: type[nn.Module]) -> bool:
    """Whether it is not read, nor a container of what is."""
    return cls.__name__ not in READ_OF_MAPS and not cls.__module__.endswith(".container")
