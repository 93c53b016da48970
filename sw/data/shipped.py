"""Networks and their test images by name, as the command line and the host library take them."""

import argparse
from dataclasses import replace
from pathlib import Path

from hw.contract.checks import SternaError
from hw.contract.network import Network
from sw.data.dataset import Dataset, load_dataset
from sw.data.evaluate import check_fits

__all__ = ["DEFAULT_MODEL", "UsageError", "load_test_images", "model_path"]

MODELS = Path(__file__).parents[2] / "models"
DEFAULT_MODEL = "digits-dense"


class UsageError(SternaError):
    """An argument that names nothing."""


def model_path(name: str) -> Path:
    """A shipped network by its name, or a path."""
    shipped = MODELS / f"{name}.npz"
    if Path(name).exists() or "." in name or "/" in name:
        return Path(name)
    if not shipped.exists():
        names = sorted(path.stem for path in MODELS.glob("*.npz"))
        raise UsageError(f"Model must be one of {names} or the path of an image, not {name!r}")
    return shipped


def load_test_images(network: Network, args: argparse.Namespace) -> Dataset:
    """The held-out images of the data set that the network names (or --dataset), the first
    --images of them."""
    name = args.dataset or network.meta.get("dataset")
    if not isinstance(name, str):
        raise UsageError("The network names no data set: give --dataset")
    data = load_dataset(
        name, "test", network.spec.input_bits, args.data, steps=network.spec.recorded_steps
    )
    check_fits(network, data)
    if args.images == "all":
        return data
    if not args.images.isdecimal() or int(args.images) == 0:
        raise UsageError(f"Images must be a positive number or 'all', not {args.images!r}")
    n = int(args.images)
    return replace(data, images=data.images[:n], labels=data.labels[:n])
