"""Pictures of a network at work, for notebooks: `sterna.plots`. Each returns a matplotlib figure.

`x` is one example as `Network.classify` takes many of them; of a `hw.contract.network.Network`, its
pixels.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hw.contract.checks import SternaError
from hw.contract.network import Network
from hw.contract.text import to_install
from sim.golden.model import GoldenModel

try:
    from sw.report import figures
except ModuleNotFoundError as error:
    raise SternaError(
        f"sterna.plots needs the package {error.name}: {to_install(str(error.name))}"
    ) from None

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion", "membranes", "spikes", "weights"]


def spikes(network: Network, x: npt.ArrayLike) -> "Figure":
    """Which neurons fire at which steps, layer by layer.

    Raises
    ------
    InputError
        When the network takes no such example.
    """
    return figures.raster(figures.layers_of(network, _one(network, x)))


def membranes(network: Network, x: npt.ArrayLike) -> "Figure":
    """What some neurons of each layer keep, step by step, and their thresholds.

    Raises
    ------
    InputError
        As of `spikes`.
    """
    return figures.traces(figures.layers_of(network, _one(network, x)))


def confusion(network: Network, x: npt.ArrayLike, y: npt.ArrayLike) -> "Figure":
    """How often each class was taken for which, of examples x (n, ...) with labels y (n,).

    Raises
    ------
    InputError
        As of `spikes`, and for labels that the network does not know.
    """
    labels = getattr(network, "numbers", np.asarray)(y)
    classes = GoldenModel(network).classify(_encoded(network, x))
    return figures.confusion(labels, classes, figures.class_names(network))


def weights(network: Network) -> "Figure":
    """How often each weight occurs, layer by layer."""
    return figures.weights(network)


def _encoded(network: Network, x: npt.ArrayLike) -> npt.NDArray[Any]:
    return getattr(network, "encode", np.asarray)(x)


def _one(network: Network, x: npt.ArrayLike) -> npt.NDArray[Any]:
    return _encoded(network, np.asarray(x)[None])[0]
