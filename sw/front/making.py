"""Networks from data, and from networks trained elsewhere."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw.contract.checks import SternaError, plain_array, require_name
from hw.contract.files import write_atomically
from hw.contract.neuron import MAX_LIMIT
from hw.system.progress import Progress, silent
from sw.data.arrays import Dataset
from sw.data.dataset import load_dataset
from sw.frameworks.registry import load_relu
from sw.front.core import path_of, writing
from sw.front.network import Network
from sw.front.recipes import recipe_for
from sw.importers.conversion import Conversion
from sw.importers.convert_report import convert_and_compare
from sw.importers.files import network_bytes
from sw.learn.export import export
from sw.learn.recipes import Recipe
from sw.learn.train import train as follow

if TYPE_CHECKING:
    from torch import nn

__all__ = ["convert", "train", "write_steps"]

Data = Dataset | str | os.PathLike[str]


def _dataset(data: Data) -> Dataset:
    return data if isinstance(data, Dataset) else load_dataset(data)


def _numbers(what: str, given: Any) -> tuple[float, ...]:
    """One number, or several."""
    values = np.atleast_1d(plain_array(what, given))
    if values.dtype.kind not in "iuf" or values.ndim != 1:
        raise SternaError(f"{what} must be one number, or one per channel, not {given!r}")
    return tuple(map(float, values))


def train(
    data: Data,
    *,
    hidden: int | Sequence[int] | None = None,
    recipe: "Recipe | str | os.PathLike[str] | None" = None,
    name: str | None = None,
    steps: int | None = None,
    weight_bits: int | None = None,
    pixel_bits: int | None = None,
    epochs: int | None = None,
    seed: int = 1,
    progress: Progress = silent,
) -> Network:
    """Train a network, quantise it, train it on, on the integers, and prove it equal to its golden
    model on the test part.

    Parameters
    ----------
    data
        A data set, or its name or path (`load_dataset`).
    hidden
        Neurons of each hidden layer; 128 unless there is a recipe.
    recipe
        In place of that: a recipe, the name of a shipped one, or a TOML file (docs/training.md).
    name
        Of the network.
    steps, weight_bits, pixel_bits
        T (4) and widths (4 and 4), in place of the recipe's.
    epochs
        Of each phase, in place of the recipe's.
    seed
        Of everything random: the same seed, on the same machine, gives the same network.
    progress
        Receives a line per epoch.

    Raises
    ------
    SternaError
        One sentence, for what cannot be trained on or followed.
    """
    chosen = _dataset(data)
    made = recipe_for(
        chosen,
        hidden=hidden,
        recipe=recipe,
        name=name,
        steps=steps,
        weight_bits=weight_bits,
        pixel_bits=pixel_bits,
    )
    checkpoint = follow(
        made, chosen, seed=seed, float_epochs=epochs, integer_epochs=epochs, progress=progress
    )
    return Network.of(export(checkpoint, chosen, progress)[0])


def convert(
    module: "nn.Module | str | os.PathLike[str]",
    data: Data,
    *,
    steps: int = 4,
    weight_bits: int = 8,
    mode: str = "augmapping",
    name: str = "network",
    pixel_bits: int = 4,
    limit: int | None = None,
    divisor: int = 4,
    percentile: float = 99.9,
    epochs: int = 0,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    progress: Progress = silent,
) -> Network:
    """A spiking network of a trained ReLU network, by threshold balancing (*TerMapping*,
    *AugMapping*, arXiv 2005.03231; docs/conversion.md). Its `meta["test"]` has the accuracies of
    both on the test part.

    Parameters
    ----------
    module
        Plain torch.nn modules, one after the other or as a forward of your own calls them, with
        residual sums: Linear, Conv2d, BatchNorm, AvgPool2d, ReLU and what docs/conversion.md names.
        It is not changed, and run beside what was read of it. Its outputs are in the order of
        `data.labels`. Or the path of its file, of ONNX or torch.save.
    data
        What it was trained on, as it was given to it (bytes / 255, channels first), or the name or
        path of a data set: the training part calibrates, the test part compares.
    steps, weight_bits, pixel_bits
        T, and the widths.
    mode
        `if`, `termapping` or `augmapping`.
    name
        Of the network.
    limit, divisor, percentile
        See `sw.importers.conversion.Conversion`; the limit of augmapping is 15.
    epochs
        To train on for, on the integers: for weights of few bits.
    mean, std
        By which the module's inputs were normalised besides: one number, or one per channel.
    progress
        Receives a line per epoch.

    Raises
    ------
    SternaError
        One sentence, for what cannot be converted.
    """
    chosen = _dataset(data)
    require_name("Network name", name, "-")
    if type(epochs) is not int or epochs < 0:
        raise SternaError(f"Epochs must be a number of at least 0, not {epochs!r}")
    most = MAX_LIMIT if mode == "augmapping" else 1
    conversion = Conversion(
        mode=mode,
        steps=steps,
        limit=most if limit is None else limit,
        divisor=divisor,
        percentile=percentile,
        weight_bits=weight_bits,
    )
    is_path = isinstance(module, (str, os.PathLike))
    network, _ = convert_and_compare(
        load_relu(Path(module)) if is_path else module,
        chosen.split("train", pixel_bits),
        chosen.split("test", pixel_bits),
        conversion,
        name=name,
        epochs=epochs,
        mean=() if mean is None else _numbers("Mean", mean),
        std=() if std is None else _numbers("Standard deviation", std),
        progress=progress,
    )
    return Network.of(network)


def write_steps(module: "nn.Module", path: str | os.PathLike[str]) -> None:
    """Write a trained ReLU network that has a forward of its own, so that `sterna convert` reads
    it: its modules, and in which order they run; no code.

    Parameters
    ----------
    module
        As `convert` takes it.
    path
        The file.

    Raises
    ------
    SternaError
        One sentence, for what cannot be converted or written.
    """
    found = path_of("File", path)
    content = network_bytes(module)
    with writing(found):
        write_atomically(found, content)
