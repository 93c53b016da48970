"""Networks and their test images by name, as the command line and the host library take them."""

from dataclasses import replace
from pathlib import Path

from hw.contract.checks import SternaError
from hw.contract.network import Network
from hw.contract.text import none_of
from sw.data.dataset import Dataset, load_dataset
from sw.data.evaluate import check_fits

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


def load_test_images(
    network: Network, images: str = "all", *, dataset: str | None = None, folder: str | None = None
) -> Dataset:
    """Held-out images for a network.

    Parameters
    ----------
    images
        How many, the first ones, or `all`.
    dataset
        Name of the data set; by default the one that the network names.
    folder
        Where the data set lies (`sw.data.dataset.load_dataset`).

    Raises
    ------
    UsageError
        When no data set is named, or for a number of images that is none.
    """
    name = dataset or network.meta.get("dataset")
    if not isinstance(name, str):
        raise UsageError("The network names no data set: give --dataset")
    data = load_dataset(
        name, "test", network.spec.input_bits, folder, steps=network.spec.recorded_steps
    )
    check_fits(network, data)
    if images == "all":
        return data
    if not images.isdecimal() or int(images) == 0:
        raise UsageError(f"Images must be a positive number or 'all', not {images!r}")
    n = int(images)
    return replace(data, images=data.images[:n], labels=data.labels[:n])
