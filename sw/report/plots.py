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
    from sw.report.lesson import weights_before_after
    from sw.report.sections import events_by_step
except ModuleNotFoundError as error:
    raise SternaError(
        f"sterna.plots needs the package {error.name}: {to_install(str(error.name))}"
    ) from None

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion", "events", "maps", "membranes", "spikes", "weights"]


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


def maps(network: Network, x: npt.ArrayLike) -> "Figure":
    """Spikes of layers of maps, added up over the steps: a map for each of the busiest channels.

    Raises
    ------
    InputError
        As of `spikes`.
    SternaError
        When no layer that fires has maps.
    """
    layers = figures.layers_of(network, _one(network, x))
    found = [layer for layer in layers if layer.has_maps]
    if not found:
        raise SternaError("Network must have a layer of maps that fires: take sterna.plots.spikes")
    return figures.maps(found)


def events(network: Network, x: npt.ArrayLike) -> "Figure":
    """Events of each sender at each step, of one example.

    Raises
    ------
    InputError
        As of `spikes`.
    """
    pixels = _one(network, x)[None]
    return figures.events(events_by_step(network, pixels, GoldenModel(network).run(pixels)))


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


def weights(network: Network, before: Network | None = None) -> "Figure":
    """How often each weight occurs, layer by layer; beside it, how often it did `before` it
    learned.

    Raises
    ------
    SternaError
        When the one before has other layers.
    """
    if before is None:
        return figures.weights(network)
    if before.spec.layers != network.spec.layers:
        raise SternaError("Network before learning must have the same layers")
    return weights_before_after(before, network)


def _encoded(network: Network, x: npt.ArrayLike) -> npt.NDArray[Any]:
    return getattr(network, "encode", np.asarray)(x)


def _one(network: Network, x: npt.ArrayLike) -> npt.NDArray[Any]:
    return _encoded(network, np.asarray(x)[None])[0]
