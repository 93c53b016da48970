"""Pictures of a run, as matplotlib figures: for the report, and notebooks (`sw.report.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hw.contract.edge import INPUT
from hw.contract.network import Network
from sim.golden.model import GoldenModel
from sw.report.svg import Colour

__all__ = [
    "Layer",
    "agreement",
    "bars",
    "class_names",
    "columns",
    "confusion",
    "curve",
    "events",
    "finished",
    "histogram",
    "layers_of",
    "maps",
    "pictures",
    "plain_axes",
    "potentials",
    "raster",
    "stacked",
    "traces",
    "weights",
]

Int = npt.NDArray[np.int64]

MOST_NEURONS = 120
"""Neurons of a layer in a raster, at most."""

MAPS = 16
"""Channels of a layer whose maps are drawn, at most."""

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
    shape
        Channels, rows, columns.
    """

    name: str
    spikes: Int
    potentials: Int
    seen_spikes: Int | None
    seen_potentials: Int | None
    thresholds: npt.NDArray[np.float64]
    shape: tuple[int, int, int]

    @property
    def has_maps(self) -> bool:
        """Its neurons lie in rows and columns."""
        return min(self.shape[1:]) > 1

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
                layer.spec.map_shape,
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


def plain_axes(figure: Figure, axes: Any, **labels: str) -> None:
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


def finished(axes: Any, **more: Any) -> None:
    """A legend, where there is anything to tell."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        legend = axes.legend(
            handles, labels, frameon=False, fontsize=8, labelcolor=Colour.INK, **more
        )
        legend.get_title().set(color=Colour.FAINT, fontsize=8)


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
        plain_axes(figure, axes, title=f"{layer.name}: {many}", ylabel="neuron")
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
        finished(axes, loc="upper left", bbox_to_anchor=(1, 1))
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
        plain_axes(figure, axes, title=layer.name, ylabel="potential")
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
        bounds = np.unique(layer.thresholds[part])
        for n, bound in enumerate(bounds[~np.isnan(bounds)]):
            axes.axhline(bound, c=Colour.FAINT, lw=0.9, ls="--", label="" if n else "threshold")
        finished(axes, loc="upper left", bbox_to_anchor=(1, 1), title="neuron")
    rows[-1, 0].set_xlabel("time step")
    rows[-1, 0].set_xticks(_steps(len(layers[0].potentials)))
    return figure


def potentials(layers: Sequence[Layer]) -> Figure:
    """How often neurons keep which potential, over all steps: the golden model's bars, the
    hardware's a line; thresholds."""
    figure = Figure(figsize=(7, 1.6 * len(layers) + 0.4), layout="constrained")
    rows = figure.subplots(len(layers), 1, squeeze=False)
    for axes, layer in zip(rows[:, 0], layers, strict=True):
        plain_axes(figure, axes, title=layer.name, ylabel="neurons")
        low, high = int(layer.potentials.min()), int(layer.potentials.max())
        bins = (np.linspace(low - 0.5, high + 0.5, min(80, high - low + 1) + 1)).tolist()
        look: dict[str, Any] = {"color": Colour.ACCENT, "alpha": 0.5, "label": "golden model"}
        axes.hist(layer.potentials.reshape(-1), bins=bins, **look)
        if layer.seen_potentials is not None:
            look = {"color": Colour.INK, "histtype": "step", "label": "hardware"}
            axes.hist(layer.seen_potentials.reshape(-1), bins=bins, **look)
        axes.set_yscale("symlog", linthresh=1)
        bounds = np.unique(layer.thresholds)
        bounds = bounds[~np.isnan(bounds)]
        if len(bounds) <= 2:  # one for all channels
            for n, bound in enumerate(bounds):
                told = "" if n else "threshold"
                axes.axvline(bound, c=Colour.FAINT, lw=0.9, ls="--", label=told)
        finished(axes, loc="upper left", bbox_to_anchor=(1, 1))
    rows[-1, 0].set_xlabel("potential")
    return figure


def maps(layers: Sequence[Layer]) -> Figure:
    """Spikes of layers of maps, added up over the steps: a map for each of the busiest channels,
    two colours for the sign, denser for more; a frame where hardware and golden model differ."""
    columns = 8
    lines = [-(-min(MAPS, layer.shape[0]) // columns) for layer in layers]
    figure = Figure(figsize=(7, 0.95 * sum(lines) + 0.35 * len(layers)), layout="constrained")
    rows = figure.subplots(len(layers), 1, height_ratios=lines, squeeze=False)
    for axes, layer, count in zip(rows[:, 0], layers, lines, strict=True):
        sent = layer.spikes if layer.seen_spikes is None else layer.seen_spikes
        whole = sent.sum(axis=0).reshape(layer.shape)
        differs = layer.differs.any(axis=0).reshape(layer.shape[0], -1)
        odd: npt.NDArray[np.bool_] = np.asarray(differs.any(axis=1))
        worth = np.abs(whole).sum(axis=(1, 2))
        shown = np.sort(np.lexsort((np.arange(len(worth)), -worth, ~odd))[:MAPS])
        title = f"{layer.name}: {len(shown)} of {layer.shape[0]} channels"
        plain_axes(figure, axes, title=title)
        most = max(1, int(np.abs(whole).max()))
        # One picture of all maps, which are 1 high and wide, with room between them.
        for n, channel in enumerate(shown):
            down, across = divmod(n, columns)
            left, top = 1.15 * across, 1.3 * down
            extent = (left, left + 1, top + 1, top)
            image = _by_sign(whole[channel], most)
            axes.imshow(image, interpolation="nearest", extent=extent)
            colour = Colour.BAD if odd[channel] else Colour.GRID
            axes.add_patch(Rectangle((left, top), 1, 1, fill=False, edgecolor=colour, lw=0.8))
            axes.text(
                left + 0.5, top - 0.03, str(channel), ha="center", va="bottom",
                fontsize=7, color=Colour.FAINT,
            )  # fmt: skip
        axes.axis("off")
        axes.set(xlim=(-0.02, 1.15 * columns - 0.13), ylim=(1.3 * count - 0.27, -0.25))
    return figure


def _by_sign(values: Int, most: int) -> npt.NDArray[np.float64]:
    """Colours (rows, columns, 4) of a map: by the sign, and as dense as the value is large. They
    are seen on light and on dark."""
    colours = np.array([to_rgb(Colour.POSITIVE), to_rgb(Colour.NEGATIVE)])
    made = np.zeros((*values.shape, 4))
    made[..., :3] = colours[(values < 0).astype(int)]
    made[..., 3] = np.abs(values) / most
    return made


def confusion(labels: npt.ArrayLike, classes: npt.ArrayLike, names: Sequence[str]) -> Figure:
    """How often each class (a row) was taken for which (a column)."""
    count = len(names)
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (np.asarray(labels), np.asarray(classes)), 1)
    side = min(7.0, 1.6 + 0.42 * count)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    plain_axes(figure, axes, xlabel="said", ylabel="label")
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
    plain_axes(figure, axes, xlabel=xlabel, ylabel="images")
    everything = np.concatenate([np.asarray(values) for values in parts.values()])
    low, high = int(everything.min()), int(everything.max())
    bins = np.linspace(low - 0.5, high + 0.5, min(60, high - low + 1) + 1)
    looks: tuple[dict[str, Any], ...] = (
        {"color": Colour.ACCENT, "alpha": 0.5},
        {"color": Colour.INK, "histtype": "step"},
    )
    for (name, values), look in zip(parts.items(), looks, strict=False):
        axes.hist(values, bins=bins.tolist(), label=name, **look)
    finished(axes)
    return figure


def stacked(parts: Mapping[str, npt.NDArray[Any]], xlabel: str, ylabel: str) -> Figure:
    """What each part adds at each step, above each other."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    plain_axes(figure, axes, xlabel=xlabel, ylabel=ylabel)
    floor = np.zeros(len(next(iter(parts.values()))))
    shades = (Colour.ACCENT, Colour.NEGATIVE, Colour.SECOND, Colour.POSITIVE, Colour.FAINT)
    for n, (name, values) in enumerate(parts.items()):
        axes.bar(
            np.arange(len(values)), values, bottom=floor, label=name, width=0.8,
            color=shades[n % len(shades)], alpha=1 - 0.35 * (n // len(shades) % 3),
        )  # fmt: skip
        floor = floor + values
    axes.set_xticks(_steps(len(floor)))
    axes.set_ylim(0, 1.06 * max(1e-9, float(floor.max())))
    finished(axes, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def events(parts: Mapping[str, npt.NDArray[Any]]) -> Figure:
    """Events of an image, on average, by sender and step."""
    return stacked(parts, "time step", "events of an image")


def bars(rows: Sequence[tuple[str, float, float]], xlabel: str, names: tuple[str, str]) -> Figure:
    """Of each row two numbers: a bound, or what there is, behind; what occurs before it."""
    figure = Figure(figsize=(7, 0.7 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    plain_axes(figure, axes, xlabel=xlabel)
    places = np.arange(len(rows))
    axes.barh(places, [row[1] for row in rows], color=Colour.GRID, label=names[0])
    axes.barh(places, [row[2] for row in rows], color=Colour.ACCENT, height=0.45, label=names[1])
    axes.set_yticks(places, [row[0] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    finished(axes, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def columns(rows: Sequence[tuple[str, float]], xlabel: str) -> Figure:
    """A number for each row."""
    figure = Figure(figsize=(7, 0.8 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    plain_axes(figure, axes, xlabel=xlabel)
    found = axes.barh(np.arange(len(rows)), [v for _, v in rows], color=Colour.ACCENT, height=0.6)
    axes.bar_label(found, fmt="%.4g", padding=3, fontsize=8, color=Colour.INK)
    axes.set_yticks(np.arange(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, max(1e-9, 1.15 * max(v for _, v in rows)))
    return figure


def agreement(
    layers: Sequence[tuple[str, float, float]], potentials: Sequence[tuple[str, float, float]] = ()
) -> Figure:
    """Layer by layer, how alike two networks fire, by the Jaccard index of their spikes, before
    their weights were rounded, and after; beside that, where there are any, by how much their
    potentials differ on average, as a share of a threshold."""
    many = max(len(layers), len(potentials))
    wide = 11 if potentials else 7
    figure = Figure(figsize=(wide, 1.1 + 0.5 * many), dpi=110, layout="constrained")
    parts = figure.subplots(1, 1 + bool(potentials), squeeze=False)[0]
    figure.patch.set(alpha=1, facecolor=Colour.PAGE)
    _pairs(figure, parts[0], layers, "spikes alike: Jaccard index with the original", "%.4f")
    parts[0].set(xlim=(0, 1.12))
    if potentials:
        told = "potentials unlike the original's, on average, in thresholds"
        _pairs(figure, parts[1], potentials, told, "%.2g")
        parts[1].set(xlim=(0, 1.18 * max(1e-9, *(max(row[1:]) for row in potentials))))
    finished(parts[-1], loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _pairs(
    figure: Figure, axes: Any, layers: Sequence[tuple[str, float, float]], told: str, form: str
) -> None:
    """Two bars for each layer: before rounding, and of the integers."""
    plain_axes(figure, axes, xlabel=told)
    places = np.arange(len(layers))
    for column, move, colour, title in (
        (1, -0.2, Colour.GRID, "before rounding"),
        (2, 0.2, Colour.ACCENT, "integers"),
    ):
        values = [float(layer[column]) for layer in layers]
        found = axes.barh(places + move, values, height=0.36, color=colour, label=title)
        axes.bar_label(found, fmt=form, padding=3, fontsize=8, color=Colour.INK)
    axes.set(ylim=(len(layers) - 0.5, -0.5))
    axes.set_yticks(places, [layer[0] for layer in layers])


def weights(network: Network) -> Figure:
    """How often each weight occurs, layer by layer."""
    layers = network.layers
    columns = 1 if len(layers) <= 3 else 2
    lines = -(-len(layers) // columns)
    figure = Figure(figsize=(7, 1.5 * lines + 0.3), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.reshape(-1)[len(layers) :]:
        axes.axis("off")
    for n, (axes, layer) in enumerate(zip(grid.reshape(-1), layers, strict=False)):
        most = max(layer.spec.w_max, int(np.abs(layer.weights).max(initial=0)))
        told = f"{layer.spec.name}: {layer.weights.size:,} weights of {layer.spec.weight_bits} bits"
        labels = {"xlabel": "weight"} if n + columns >= len(layers) else {}
        plain_axes(figure, axes, title=told, ylabel="weights", **labels)
        bins = np.linspace(-most - 0.5, most + 0.5, min(2 * most + 1, 101) + 1)
        axes.hist(layer.weights.reshape(-1), bins=bins, color=Colour.ACCENT)
        axes.set_yscale("symlog", linthresh=1)
    return figure


Line = tuple[Sequence[float], Sequence[float]]


def curve(
    parts: Mapping[str, Line], x: str, y: str, alone: Mapping[str, Line] | None = None
) -> Figure:
    """Lines with dots, and dots that nothing joins."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    plain_axes(figure, axes, xlabel=x, ylabel=y)
    axes.grid(color=Colour.GRID, lw=0.6)
    colours = (Colour.ACCENT, Colour.SECOND, Colour.POSITIVE, Colour.NEGATIVE)
    for (name, (xs, ys)), colour in zip(parts.items(), colours, strict=False):
        axes.plot(xs, ys, marker=".", color=colour, label=name)
    others = alone or {}
    for name, (xs, ys) in others.items():
        axes.plot(*(xs, ys), "D", ms=7, mfc="none", color=Colour.NEGATIVE, label=name)
    if len(parts) + len(others) > 1:
        finished(axes, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    return figure
