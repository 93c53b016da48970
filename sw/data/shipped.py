"""Networks and their test images by name, as the command line and the host library take them."""

from dataclasses import replace
from pathlib import Path

from hw.contract.checks import SternaError
from hw.contract.network import Network
from hw.contract.text import none_of
from sw.data.arrays import Dataset, Spikes
from sw.data.dataset import Source, load_split, require_files
from sw.data.evaluate import check_fits
from sw.data.own import read_own
from sw.data.published import FILELESS, NAMES
from sw.data.split import Split

__all__ = ["DEFAULT_MODEL", "UsageError", "load_test_images", "model_path", "shipped_models"]

MODELS = Path(__file__).parent / "models"
DEFAULT_MODEL = "digits-dense"


class UsageError(SternaError):
    """An argument that names nothing."""


def shipped_models() -> dict[str, Path]:
    """Network files that ship, by name."""
    return {path.stem: path for path in sorted(MODELS.glob("*.npz"))}


def model_path(name: str) -> Path:
    """A shipped network by its name, or a path."""
    if Path(name).exists() or "." in name or "/" in name:
        return Path(name)
    shipped = shipped_models()
    if name not in shipped:
        raise UsageError(none_of("Model", name, shipped, " or the path of a network file"))
    return shipped[name]


def _own(name: object, asked: str | None, source: Source) -> Dataset | None:
    """Data of the user's own: a file or a data set that is given, and no published set named; a
    folder, which the files of a published set may lie in, where the network is of none."""
    if isinstance(source, Dataset):
        return source
    if source is None or asked is not None:
        return None
    path = Path(source)
    published = name in NAMES and name not in FILELESS and not path.is_file()
    return None if published else read_own(path)


def _time_step(network: Network) -> float:
    """Seconds of a frame, of a network for spike trains."""
    found = network.meta.get("time_step")
    if not isinstance(found, float):
        raise UsageError(
            f"Network {network.spec.name} must be one that was imported on spike trains: it has no "
            "time step"
        )
    return found


def load_test_images(
    network: Network, images: str = "all", *, dataset: str | None = None, folder: Source = None
) -> Split:
    """Held-out images for a network.

    Parameters
    ----------
    images
        How many, the first ones, or `all`.
    dataset
        Name of a published data set; by default the one that the network names.
    folder
        Where the data set lies, or a user's own data, itself or its file (`sw.data.own.read_own`):
        of a network without an `encoding`, pixels and class numbers.

    Raises
    ------
    UsageError
        When no data set is named, or for a number of images that is none.
    """
    name = dataset or network.meta.get("dataset")
    spec = network.spec
    require_files(dataset, None if isinstance(folder, Dataset) else folder)
    own = _own(name, dataset, folder)
    if isinstance(own, Spikes):
        own.at(_time_step(network))
    if own is not None and spec.encoding is None:
        data = own.pixels("test", spec.input_bits, spec.image_size)
    elif own is None and not isinstance(name, str):
        raise UsageError("The network names no data set: give --dataset or --data")
    else:
        data = load_split(
            str(name),
            "test",
            spec.input_bits,
            folder if own is None else own,
            steps=spec.recorded_steps,
            encoding=spec.encoding,
        )
    check_fits(network, data)
    if images == "all":
        return data
    if not images.isdecimal() or int(images) == 0:
        raise UsageError(f"Images must be a positive number or 'all', not {images!r}")
    n = int(images)
    return replace(data, images=data.images[:n], labels=data.labels[:n])
