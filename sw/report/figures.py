"""Pictures of a run, as matplotlib figures: for the report, and notebooks (`sw.report.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from hw.contract.edge import INPUT
from hw.contract.network import Network
from sim.golden.model import GoldenModel
from sw.report.svg import Colour

__all__ = [
    "Layer",
    "agreement",
    "bars",
    "class_names",
    "confusion",
    "curve",
    "events",
    "histogram",
    "layers_of",
    "pictures",
    "raster",
    "stacked",
    "traces",
    "weights",
]

Int = npt.NDArray[np.int64]

MOST_NEURONS = 120
"""Neurons of a layer in a raster, at most."""

TRACED = 3
"""Neurons of a layer whose potentials are drawn."""


class Layer(NamedTuple):
    """What a layer that fires did with a picture.

    Parameters
    ----------
    name
        Of the layer.
    spikes, potentials
        Of the golden model, (T, neurons).
    seen_spikes, seen_potentials
        Of the hardware; None where only the golden model ran.
    thresholds
        Of each neuron: above, and below (n, 2); NaN where there is none.
    """

    name: str
    spikes: Int
    potentials: Int
    seen_spikes: Int | None
    seen_potentials: Int | None
    thresholds: npt.NDArray[np.float64]

    @property
    def differs(self) -> npt.NDArray[np.bool_]:
        """Where hardware and golden model differ, (T, neurons)."""
        found = np.zeros(self.spikes.shape, dtype=bool)
        for mine, theirs in (
            (self.spikes, self.seen_spikes),
            (self.potentials, self.seen_potentials),
        ):
            if theirs is not None:
                found |= mine != theirs
        return found


def layers_of(network: Network, pixels: npt.ArrayLike, seen: Any = None) -> list[Layer]:
    """The layers that fire, of one picture (size,).

    Parameters
    ----------
    seen
        What the hardware showed (`sim.bench.kept.Picture`), if it ran.
    """
    trace, found = GoldenModel(network).run(np.asarray(pixels)[None]), []
    for n, layer in enumerate(network.layers[:-1]):
        neuron, size = layer.spec.neuron, layer.spec.neurons
        assert neuron is not None
        ups = np.full(size, neuron.theta, dtype=np.float64)
        if layer.thetas is not None:
            ups = np.repeat(layer.thetas.astype(np.float64), size // len(layer.thetas))
        downs = np.full(size, np.nan)
        if neuron.signed:
            downs = -ups if layer.thetas is not None else np.full(size, -float(neuron.theta_down))
        found.append(
            Layer(
                layer.spec.name,
                trace.spikes[n][0].astype(np.int64),
                trace.potentials[n][0].astype(np.int64),
                seen.spikes.get(n) if seen else None,
                seen.potentials.get(n) if seen else None,
                np.stack([ups, downs], axis=1),
            )
        )
    return found


def class_names(network: Network) -> list[str]:
    """What classes are called."""
    encoding = network.spec.encoding
    if encoding is not None and encoding.labels:
        return [str(label) for label in encoding.labels]
    return [str(n) for n in range(network.spec.classes)]


# Figures


def _axes(figure: Figure, axes: Any, **labels: str) -> None:
    """The looks that all have."""
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    axes.set(**labels)
    axes.title.set(color=Colour.INK, fontsize=10)
    axes.tick_params(colors=Colour.FAINT, labelsize=8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=Colour.FAINT, fontsize=9)
    for side, spine in axes.spines.items():
        spine.set(color=Colour.GRID, visible=side in ("left", "bottom"))
    axes.set_axisbelow(True)


def _legend(axes: Any, **more: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, frameon=False, fontsize=8, labelcolor=Colour.INK, **more)


def chosen(layer: Layer, most: int) -> npt.NDArray[np.intp]:
    """Neurons to show, in order: those in which something differs, then those that fire most."""
    return _first(layer, np.abs(layer.spikes).sum(axis=0), most)


def moving(layer: Layer, most: int) -> npt.NDArray[np.intp]:
    """The same, but then those that fire, though not always, and whose potentials move most."""
    fires = (layer.spikes != 0).mean(axis=0)
    return _first(layer, np.ptp(layer.potentials, axis=0) * (1 + (fires > 0) * (fires < 1)), most)


def _first(layer: Layer, worth: npt.NDArray[Any], most: int) -> npt.NDArray[np.intp]:
    odd = layer.differs.any(axis=0)
    return np.sort(np.lexsort((np.arange(len(worth)), -worth, ~odd))[:most])


def raster(layers: Sequence[Layer]) -> Figure:
    """Which neurons fire at which steps: colours for the sign, thickness for the count; rings where
    hardware and golden model differ."""
    shown = [chosen(layer, MOST_NEURONS) for layer in layers]
    heights = [max(1.0, min(3.2, 0.03 * len(part))) for part in shown]
    figure = Figure(figsize=(7, 0.9 + sum(heights) + 0.35 * len(layers)), layout="constrained")
    rows = figure.subplots(len(layers), 1, height_ratios=heights, sharex=True, squeeze=False)
    for axes, layer, part in zip(rows[:, 0], layers, shown, strict=True):
        sent = (layer.spikes if layer.seen_spikes is None else layer.seen_spikes)[:, part]
        many = f"{len(part)} of {layer.spikes.shape[1]} neurons"
        _axes(figure, axes, title=f"{layer.name}: {many}", ylabel="neuron")
        most = max(1, int(np.abs(sent).max(initial=1)))
        for sign, colour, told in ((1, Colour.POSITIVE, "+"), (-1, Colour.NEGATIVE, "-")):
            step, neuron = np.nonzero(sent * sign > 0)
            if len(step):
                thick = 2.6 * np.abs(sent[step, neuron]) / most
                axes.hlines(neuron, step - 0.4, step + 0.4, colors=colour, lw=thick, label=told)
        step, neuron = np.nonzero(layer.differs[:, part])
        if len(step):
            axes.scatter(
                step, neuron, s=60, facecolors="none", edgecolors=Colour.BAD, label="differs"
            )
        axes.set_xlim(-0.5, len(sent) - 0.5)
        axes.set_ylim(len(part) - 0.5, -0.5)
        ticks = np.unique(np.linspace(0, len(part) - 1, min(5, len(part))).astype(int))
        axes.set_yticks(ticks, [str(part[n]) for n in ticks])
        _legend(axes, loc="upper left", bbox_to_anchor=(1, 1))
    rows[-1, 0].set_xlabel("time step")
    rows[-1, 0].set_xticks(_steps(len(layers[0].spikes)))
    return figure


def _steps(count: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, 9)).astype(np.int64))


def traces(layers: Sequence[Layer]) -> Figure:
    """What neurons keep, step by step: the golden model a line, the hardware dots; thresholds."""
    figure = Figure(figsize=(7, 1.9 * len(layers) + 0.4), layout="constrained")
    rows = figure.subplots(len(layers), 1, sharex=True, squeeze=False)
    for axes, layer in zip(rows[:, 0], layers, strict=True):
        _axes(figure, axes, title=layer.name, ylabel="potential")
        axes.grid(axis="y", color=Colour.GRID, lw=0.6)
        colours = (Colour.ACCENT, Colour.SECOND, Colour.FAINT)
        steps = np.arange(len(layer.potentials))
        part = moving(layer, TRACED)
        for neuron, colour in zip(part, colours, strict=False):
            axes.plot(steps, layer.potentials[:, neuron], c=colour, lw=1.4, label=f"{neuron}")
            if layer.seen_potentials is not None:
                axes.plot(
                    *(steps, layer.seen_potentials[:, neuron]), ".", c=colour, ms=7, mec=Colour.PAGE
                )
            (odd,) = np.nonzero(layer.differs[:, neuron])
            if len(odd) and layer.seen_potentials is not None:
                axes.plot(
                    *(odd[:1], layer.seen_potentials[odd[:1], neuron]), "o",
                    ms=13, mfc="none", mec=Colour.BAD, label="first difference",
                )  # fmt: skip
        for bound in np.unique(layer.thresholds[part]):
            if not np.isnan(bound):
                axes.axhline(bound, c=Colour.FAINT, lw=0.9, ls="--")
        _legend(axes, loc="upper left", bbox_to_anchor=(1, 1), title_fontsize=8)
    rows[-1, 0].set_xlabel("time step")
    rows[-1, 0].set_xticks(_steps(len(layers[0].potentials)))
    return figure


def confusion(labels: npt.ArrayLike, classes: npt.ArrayLike, names: Sequence[str]) -> Figure:
    """How often each class (a row) was taken for which (a column)."""
    count = len(names)
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (np.asarray(labels), np.asarray(classes)), 1)
    side = min(7.0, 1.6 + 0.42 * count)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    _axes(figure, axes, xlabel="said", ylabel="label")
    from matplotlib.patches import Rectangle

    whole = np.maximum(1, table.sum(axis=1))
    for row, column in np.argwhere(table):
        share = table[row, column] / whole[row]
        colour = Colour.ACCENT if row == column else Colour.BAD
        alpha = 0.12 + 0.5 * share if row == column else min(0.75, 0.2 + 3 * share)
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, alpha=alpha, lw=0)
        )
        if count <= 20:
            axes.text(
                column, row, str(table[row, column]), ha="center", va="center",
                fontsize=8, color=Colour.INK,
            )  # fmt: skip
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    ticks = range(count) if count <= 20 else range(0, count, -(-count // 20))
    turned = max(len(names[n]) for n in ticks) > 3
    axes.set_xticks(ticks, [names[n] for n in ticks], rotation=60 if turned else 0)
    axes.set_yticks(ticks, [names[n] for n in ticks])
    return figure


def pictures(
    network: Network, pixels: npt.NDArray[np.uint8], titles: Sequence[str]
) -> Figure | None:
    """Pictures (n, size) side by side, or the mean over time of recordings; None of what is no
    picture."""
    maps = as_pictures(network, pixels)
    if maps is None:
        return None
    columns = min(6, len(maps))
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(1.25 * columns, 1.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in grid:
        axes.axis("off")
    for axes, picture, title in zip(grid, maps, titles, strict=False):
        axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None, interpolation="nearest")
        axes.set_title(title, fontsize=8, color=Colour.INK)
    figure.patch.set_alpha(0)
    return figure


def as_pictures(network: Network, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[Any] | None:
    """Pixels (n, size) as grey (n, rows, columns) or coloured (n, rows, columns, 3) pictures of 0
    to 1; None where they are none."""
    spec = network.spec
    channels, rows, columns = spec.shape_of(INPUT)
    if (rows, columns) == (1, 1):
        side = round(channels**0.5)
        if side * side != channels or side < 4:
            return None
        channels, rows, columns = 1, side, side
    if min(rows, columns) == 1:
        return None
    values = pixels.reshape(len(pixels), spec.recorded_steps, channels, rows, columns)
    maps = values.mean(axis=1) / spec.pixel_max
    if channels == 1:
        return maps[:, 0]
    if channels == 3:
        return maps.transpose(0, 2, 3, 1)
    if channels == 2:  # more and less light: two colours
        maps = maps / max(1e-9, float(maps.max()))
        return np.stack([maps[:, 0], 0.5 * maps.max(axis=1), maps[:, 1]], axis=-1)
    return maps.mean(axis=1)


def histogram(parts: Mapping[str, npt.NDArray[Any]], xlabel: str) -> Figure:
    """Counts of whole numbers, some sets of them over each other."""
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axes = figure.subplots()
    _axes(figure, axes, xlabel=xlabel, ylabel="images")
    everything = np.concatenate([np.asarray(values) for values in parts.values()])
    low, high = int(everything.min()), int(everything.max())
    bins = np.linspace(low - 0.5, high + 0.5, min(60, high - low + 1) + 1)
    looks: tuple[dict[str, Any], ...] = (
        {"color": Colour.ACCENT, "alpha": 0.5},
        {"color": Colour.INK, "histtype": "step"},
    )
    for (name, values), look in zip(parts.items(), looks, strict=False):
        axes.hist(values, bins=bins.tolist(), label=name, **look)
    _legend(axes)
    return figure


def stacked(parts: Mapping[str, npt.NDArray[Any]], xlabel: str, ylabel: str) -> Figure:
    """What each part adds at each step, above each other."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    _axes(figure, axes, xlabel=xlabel, ylabel=ylabel)
    floor = np.zeros(len(next(iter(parts.values()))))
    shades = (Colour.ACCENT, Colour.NEGATIVE, Colour.SECOND, Colour.POSITIVE, Colour.FAINT)
    for n, (name, values) in enumerate(parts.items()):
        axes.bar(
            np.arange(len(values)), values, bottom=floor, label=name, width=0.8,
            color=shades[n % len(shades)], alpha=1 - 0.35 * (n // len(shades) % 3),
        )  # fmt: skip
        floor = floor + values
    axes.set_xticks(_steps(len(floor)))
    _legend(axes, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def events(parts: Mapping[str, npt.NDArray[Any]]) -> Figure:
    """Events of an image, on average, by sender and step."""
    return stacked(parts, "time step", "events of an image")


def bars(rows: Sequence[tuple[str, float, float]], xlabel: str, names: tuple[str, str]) -> Figure:
    """Of each row two numbers: a bound, or what there is, behind; what occurs before it."""
    figure = Figure(figsize=(7, 0.7 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    _axes(figure, axes, xlabel=xlabel)
    places = np.arange(len(rows))
    axes.barh(places, [row[1] for row in rows], color=Colour.GRID, label=names[0])
    axes.barh(places, [row[2] for row in rows], color=Colour.ACCENT, height=0.45, label=names[1])
    axes.set_yticks(places, [row[0] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    _legend(axes, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def agreement(layers: Sequence[tuple[str, float, float]]) -> Figure:
    """Layer by layer, how alike two networks fire, by the Jaccard index of their spikes: before
    their weights were rounded, and after."""
    figure = Figure(figsize=(7, 1.1 + 0.5 * len(layers)), dpi=110, layout="constrained")
    axes = figure.subplots()
    _axes(figure, axes, xlabel="spikes alike: Jaccard index with the original")
    figure.patch.set(alpha=1, facecolor=Colour.PAGE)
    places = np.arange(len(layers))
    for column, move, colour, told in (
        (1, -0.2, Colour.GRID, "before rounding"),
        (2, 0.2, Colour.ACCENT, "integers"),
    ):
        values = [float(layer[column]) for layer in layers]
        found = axes.barh(places + move, values, height=0.36, color=colour, label=told)
        axes.bar_label(found, fmt="%.4f", padding=3, fontsize=8, color=Colour.INK)
    axes.set(xlim=(0, 1.12), ylim=(len(layers) - 0.5, -0.5))
    axes.set_yticks(places, [layer[0] for layer in layers])
    _legend(axes, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def weights(network: Network) -> Figure:
    """How often each weight occurs, layer by layer."""
    layers = network.layers
    figure = Figure(figsize=(7, 1.5 * len(layers) + 0.3), layout="constrained")
    rows = figure.subplots(len(layers), 1, squeeze=False)
    for axes, layer in zip(rows[:, 0], layers, strict=True):
        most = max(layer.spec.w_max, int(np.abs(layer.weights).max(initial=0)))
        told = f"{layer.spec.name}: {layer.weights.size:,} weights of {layer.spec.weight_bits} bits"
        _axes(figure, axes, title=told, ylabel="weights")
        bins = np.linspace(-most - 0.5, most + 0.5, min(2 * most + 1, 101) + 1)
        axes.hist(layer.weights.reshape(-1), bins=bins, color=Colour.ACCENT)
        axes.set_yscale("symlog", linthresh=1)
    rows[-1, 0].set_xlabel("weight")
    return figure


def curve(parts: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str) -> Figure:
    """Lines with dots."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    _axes(figure, axes, xlabel=x, ylabel=y)
    axes.grid(color=Colour.GRID, lw=0.6)
    colours = (Colour.ACCENT, Colour.SECOND, Colour.POSITIVE, Colour.NEGATIVE)
    for (name, (xs, ys)), colour in zip(parts.items(), colours, strict=False):
        axes.plot(xs, ys, marker=".", color=colour, label=name)
    if len(parts) > 1:
        _legend(axes)
    return figure
