"""The frameworks that networks are imported from, found by the file."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from torch import nn

from hw.contract.text import none_of
from sw.importers.affine import ConvertError
from sw.importers.convert_report import load_network
from sw.reading.conventions import OPTIONS, Conventions
from sw.reading.network import Foreign

__all__ = ["IMPORTERS", "Importer", "importer_for", "load_relu", "open_network"]

HDF5 = b"\x89HDF"
ZIP = b"PK"
"""Of files of torch.save."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """A framework, or a format.

    Parameters
    ----------
    name, title
        As an option names it, and in words.
    magic
        What its files begin with.
    module
        Has `open_file(path)`, or with conventions `open_file(path, conventions)`: a `Foreign`.
    suffix
        What the names of its files end in, where no beginning tells them.
    asks
        It has `is_file(path)`, too: more than the beginning tells whether a file is its own.
    has_conventions
        Whether its files leave open what `Conventions` says.
    """

    name: str
    title: str
    magic: bytes
    module: str
    suffix: str = ""
    asks: bool = False
    has_conventions: bool = False

    def claims(self, path: Path, head: bytes) -> bool:
        """Whether a file that begins so is of this framework."""
        if not head.startswith(self.magic) or not path.name.lower().endswith(self.suffix):
            return False
        return not self.asks or import_module(self.module).is_file(path)

    def open(self, path: Path, conventions: Conventions | None) -> Foreign:
        """The network in a file; without conventions, those of its writers."""
        opener: Callable[..., Foreign] = import_module(self.module).open_file
        if self.has_conventions:
            return opener(path, conventions or Conventions())
        if conventions is not None:
            raise ConvertError(
                f"{OPTIONS} are for files that do not say them: a network of {self.title} does"
            )
        return opener(path)


IMPORTERS = (
    Importer(name="nir", title="NIR", magic=HDF5, module="sw.nir.network", has_conventions=True),
    Importer(name="onnx", title="ONNX", magic=b"", module="sw.onnx.network", suffix=".onnx"),
    Importer(
        name="snntorch", title="snnTorch", magic=b"", module="sw.frameworks.snntorch", asks=True
    ),
    Importer(
        name="brevitas", title="Brevitas", magic=b"", module="sw.frameworks.brevitas", asks=True
    ),
    Importer(
        name="spikingjelly", title="SpikingJelly", magic=ZIP, module="sw.frameworks.spikingjelly"
    ),
)
"""Of several that have the same files, the first one is taken."""


def importer_for(path: Path, name: str | None = None) -> Importer:
    """The importer of that name, or the one that such a file is for.

    Raises
    ------
    ConvertError
        When there is none, or the file cannot be read.
    """
    if name is not None:
        known = {importer.name: importer for importer in IMPORTERS}
        if name not in known:
            raise ConvertError(none_of("Framework", name, known))
        return known[name]
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise ConvertError(f"Network {path} does not exist") from None
    except OSError as error:
        raise ConvertError(f"Network {path} cannot be read: {error.strerror or error}") from None
    found = next((importer for importer in IMPORTERS if importer.claims(path, head)), None)
    if found is None and path.suffix == ".toml":
        names = " or ".join(f'"{importer.name}"' for importer in IMPORTERS if importer.asks)
        raise ConvertError(f"Network {path} must say whose it is: framework = {names}")
    if found is None:
        raise ConvertError(
            f"Network {path} must be a NIR file (HDF5), one of torch.save, an .onnx file, or a "
            "TOML file that describes a state_dict: say with --from what it is"
        )
    return found


def load_relu(path: Path) -> nn.Module:
    """The ReLU network in a file of torch.save, or of ONNX, for `sterna convert`.

    Raises
    ------
    ConvertError
        When it cannot be read.
    """
    if path.name.lower().endswith(".onnx"):
        return import_module("sw.onnx.network").open_relu(path)
    return load_network(path)


def open_network(
    path: Path, name: str | None = None, conventions: Conventions | None = None
) -> Foreign:
    """The network in a file.

    Raises
    ------
    ConvertError
        As of `importer_for`, and when the file holds something else.
    """
    return importer_for(path, name).open(path, conventions)
