"""The parts of a run's page: what was answered, how, and what it cost."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen.core.drawing import graph_svg
from hw.contract.edge import INPUT
from hw.contract.network import Network
from hw.contract.text import percent
from sim.golden.model import Trace
from sw.report import energy, figures
from sw.report.board import board_sections, boards_of
from sw.report.memory import memory_parts, memory_sizes
from sw.report.parts import Picture, Section, Table, facts_table
from sw.report.run import Run, SimRun
from sw.report.svg import as_svg, drawn_graph
from sw.report.work import work_by_layer

__all__ = ["by_step_table", "events_by_step", "network_section", "sections"]

WORST = 18
"""Wrong pictures that are shown."""

DIFFERENCES = 50
"""Values of a layer, at most, that are told where they differ."""

MOST_STEPS = 16
"""Columns of a table, at most, one for each step."""


def sections(run: Run, builds: Path) -> Iterator[Section]:
    """Of a simulation, or of the golden model alone; and of the boards that were built of its
    network.

    Parameters
    ----------
    builds
        The folder in whose folders bitstreams are looked for.
    """
    yield _summary(run)
    yield network_section(run.network)
    yield _one_picture(run)
    yield _answers(run)
    yield _floats(run.network)
    yield _speed(run)
    if isinstance(run, SimRun):
        yield _memory(run)
    yield _widths(run)
    yield _energy(run)
    built = [*boards_of(builds, run.network.digest)]
    if built:
        yield from board_sections(built)


def _summary(run: Run) -> Section:
    facts, spec = run.facts, run.network.spec
    rows: list[tuple[str, object]] = [("network", spec.name), ("digest", run.network.digest)]
    if isinstance(run, SimRun):
        rows += _simulated(run)
    else:
        rows += [
            ("who answered", "the golden model"),
            ("data", facts.get("dataset", "")),
            ("images", len(run.labels)),
            ("right", percent(int((run.classes == run.labels).sum()), len(run.labels))),
            ("images a second", facts.get("images_per_second", "")),
        ]
    rows.insert(2, ("time steps", spec.steps))
    return Section("summary", "What ran", parts=[facts_table("summary", "The run", rows)])


def _simulated(run: SimRun) -> list[tuple[str, object]]:
    facts = run.facts
    cycles = facts["cycles_per_image"]
    rows: list[tuple[str, object]] = [
        ("core", facts["layout"]),
        ("images", facts["images"]),
        ("values compared", facts["values_compared"]),
        ("mismatches", facts["mismatches"]),
        ("first mismatch", facts["first_mismatch"] or "none"),
        ("right, Verilog", percent(facts["correct_rtl"], facts["images"])),
        ("right, golden model", percent(facts["correct_golden"], facts["images"])),
        ("cycles an image", f"{cycles['mean']:,} ({cycles['min']:,} to {cycles['max']:,})"),
        ("cycle law", _law(facts)),
        ("events an image", facts["events_per_image"]),
        ("synaptic operations an image", facts["sops_per_image"]),
    ]
    own = all("memory" not in stage.facts() for stage in run.plan.stages)
    if own and facts.get("lane_utilisation") is not None:  # else a small part of it is seen
        share = f"{100 * facts['lane_utilisation']:.1f} % of layer {facts['bottleneck']}"
        if facts.get("lane_utilisation_law") is not None:
            share += f", {100 * facts['lane_utilisation_law']:.1f} % by the cycle law"
        rows.append(("lanes in use, as seen", share))
    return rows


def _law(facts: dict[str, Any]) -> str:
    if not facts["cycle_law_checked"]:
        return "not checked: streams were held back"
    return f"{facts['cycle_law_violations']} violations in {facts['images']} images"


def network_section(network: Network, *, weights: bool = True) -> Section:
    """Graph, layers and, unless they are shown elsewhere, weights."""
    rows = []
    for layer in network.layers:
        rows.append(
            (
                layer.spec.name,
                layer.spec.inputs,
                layer.spec.neurons,
                int(layer.weights.size),
                layer.spec.weight_bits,
                round(100 * float((layer.weights == 0).mean()), 1),
            )
        )
    head = ("layer", "inputs", "neurons", "weights", "bits", "zero, %")
    told = "Layers from top to bottom; edges that bring spikes of the step before are dashed."
    parts: list[Picture | Table] = [
        Picture(drawn_graph(graph_svg(network.spec), "Graph of the network", "graph"), told),
        Table("layers", "Layers", head, rows),
    ]
    if weights:
        parts.append(
            Picture(
                as_svg(figures.weights(network), "Histogram of the weights", "weights"),
                "How often each weight occurs. The axis of counts is logarithmic above 1.",
            )
        )
    return Section("network", "The network", parts=parts)


def _one_picture(run: Run) -> Section:
    """As the hardware played it; where there was none to look at, as the golden model did."""
    seen = run.picture if isinstance(run, SimRun) else None
    first_wrong = int(np.argmax(run.classes != run.labels))  # the first of all where none is wrong
    at = first_wrong if seen is None else seen.number
    layers = figures.layers_of(run.network, run.pixels[at], seen)
    if seen is not None:
        layers = [layer for layer in layers if layer.seen_spikes is not None]
    wrong = sum(int(layer.differs.sum()) for layer in layers)
    names, label, said = figures.class_names(run.network), run.labels[at], run.classes[at]
    told = f"Image {at} of the run, label {names[label]}, taken for {names[said]}"
    who, spikes, lines = "golden model", "", "lines; dashes are the thresholds"
    if seen is None:
        told += ", as the golden model has it."
    else:
        who = "hardware"
        spikes = " A ring marks what the golden model has otherwise."
        lines = "lines are the golden model's, dots the hardware's, dashes the thresholds"
        told += ": as the Verilog played it, beside the golden model. "
        told += f"{wrong} values differ." if wrong else "No spike and no potential differs."
    parts: list[Picture | Table] = []
    picture = figures.pictures(run.network, run.pixels[at : at + 1], [f"image {at}"])
    if picture is not None:
        parts.append(Picture(as_svg(picture, f"Image {at}", "image"), "What it was shown."))
    one_step = run.network.spec.steps == 1
    # Of maps at one step, a raster of the busiest neurons would be lines, all of them.
    flat = [x for x in layers if not (one_step and x.has_maps) or x.differs.any()]
    if found := [layer for layer in layers if layer.has_maps]:
        parts.append(
            Picture(
                as_svg(figures.maps(found), "Spikes as maps", "maps"),
                f"Spikes of the {who}, added up over the steps, as maps: in two colours by their "
                f"sign, denser where there are more; at most {figures.MAPS} channels of a layer, "
                "those that fire most. A red frame marks a channel in which something differs.",
            )
        )
    if flat:
        parts.append(
            Picture(
                as_svg(figures.raster(flat), "Spikes by neuron and step", "raster"),
                f"Spikes of the {who}, in two colours by their sign, thicker where several are "
                f"sent at once; at most {figures.MOST_NEURONS} neurons of a layer, those that fire "
                f"most.{spikes}",
            )
        )
    if layers and one_step:
        parts.append(
            Picture(
                as_svg(figures.potentials(layers), "Potentials", "traces"),
                "Potentials after the only step and its reset, of all neurons: bars are the golden "
                "model's, lines the hardware's, dashes the thresholds, where all channels have the "
                "same.",
            )
        )
    elif layers:
        parts.append(
            Picture(
                as_svg(figures.traces(layers), "Potentials by step", "traces"),
                "Potentials at the end of each step, after the reset, of the busiest neurons: "
                f"{lines}.",
            )
        )
    if wrong:
        parts.append(_differences(layers))
    return Section("picture", "One image, value by value", [told], parts)


def _differences(layers: Sequence[figures.Layer]) -> Table:
    """The first ones of each layer."""
    names = ("spike, golden", "spike, Verilog", "potential, golden", "potential, Verilog")
    rows = []
    for layer in layers:
        values = (*(layer.spikes, layer.seen_spikes), *(layer.potentials, layer.seen_potentials))
        for step, neuron in np.argwhere(layer.differs)[:DIFFERENCES]:
            four = ("" if v is None else int(v[step, neuron]) for v in values)
            rows.append((layer.name, int(step), int(neuron), *four))
    return Table("differences", "The first differences", ("layer", "step", "neuron", *names), rows)


def _answers(run: Run) -> Section:
    names = figures.class_names(run.network)
    figure = figures.confusion(run.labels, run.classes, names)
    parts: list[Picture | Table] = [
        Picture(
            as_svg(figure, "Confusion matrix", "confusion"),
            "Labels in rows, what was said in columns.",
        )
    ]
    numbers, margins = run.wrong
    some = numbers[:WORST]
    titles = [f"{names[run.labels[n]]} as {names[run.classes[n]]}" for n in some]
    wrong = figures.pictures(run.network, run.pixels[some], titles) if len(some) else None
    if wrong is not None:
        told = "The clearest mistakes first: label, and what was said."
        parts.append(Picture(as_svg(wrong, "Images with a wrong answer", "wrong"), told))
    if len(numbers):
        rows = [
            (int(n), names[run.labels[n]], names[run.classes[n]], int(margin))
            for n, margin in zip(numbers, margins, strict=True)
        ]
        head = ("image", "label", "said", "logit above the label's")
        parts.append(Table("mistakes", "Wrong answers", head, rows))
    text = [] if len(numbers) else ["No answer is wrong."]
    return Section("answers", "Answers", text, parts)


def _floats(network: Network) -> Section:
    """What the file says of the float network that the integers were made of."""
    text, parts = list[str](), list[Picture | Table]()
    tests = network.meta.get("test")
    rows = [
        (f"{name} network", percent(told["hits"], told["n"]))
        for name, told in (tests.items() if isinstance(tests, dict) else ())
        if isinstance(told, dict) and {"hits", "n"} <= set(told)
    ]
    if rows:
        parts.append(Table("accuracies", "On the whole test set", ("network", "right"), rows))
    else:
        text.append("The network's file says nothing of a float network that it was made of.")
    by_layer = network.meta.get("by_layer")
    told = [x for x in by_layer if isinstance(x, dict)] if isinstance(by_layer, list) else []
    unlike = [(x["layer"], x["differ"], x["compared"]) for x in told if "compared" in x]
    if unlike:
        shares = [(name, round(100 * k / max(1, n), 3)) for name, k, n in unlike]
        figure = figures.columns(shares, "spikes that differ, %")
        told_so = "Spikes, a neuron at a step each, fired or not, that are not the float network's."
        parts.append(Picture(as_svg(figure, "Spikes that differ by layer", "floats"), told_so))
        head = ("layer", "differ", "compared", "%")
        table = [(*row, share) for row, (_, share) in zip(unlike, shares, strict=True)]
        parts.append(Table("floats", "Spikes, float against integer", head, table))
    errors = [(x["layer"], x["rate_error"]) for x in told if "rate_error" in x]
    if errors:
        figure = figures.columns(errors, "mean error of the rate")
        parts.append(
            Picture(
                as_svg(figure, "Errors of rates by layer", "rates"),
                "By how much a neuron's rate is off its activation, in units of the activation "
                "that became rate 1, on average.",
            )
        )
        head = ("layer", "mean error of the rate")
        parts.append(Table("rates", "Rates, float against integer", head, errors))
    if rows and not (unlike or errors):
        text.append(
            "By layer this network's file says nothing. Files that sterna export, convert and "
            "import write do, but for those of versions before this was counted."
        )
    return Section("floats", "Float against integer", text, parts)


def _speed(run: Run) -> Section:
    parts: list[Picture | Table] = []
    if isinstance(run, SimRun):
        parts += _cycles(run)
    by_step = events_by_step(run.network, run.looked_at, run.trace)
    told = f"Set bits of what is sent, on average over {len(run.looked_at)} images."
    parts.append(Picture(as_svg(figures.events(by_step), "Events by step", "events"), told))
    parts += by_step_table("events", "Events by sender and step", "sender", by_step)
    title = "Cycles and events" if isinstance(run, SimRun) else "Events"
    return Section("speed", title, parts=parts)


def by_step_table(name: str, caption: str, what: str, values: dict[str, Any]) -> Iterator[Table]:
    """A table with a column for each step, unless they are too many."""
    steps = len(next(iter(values.values())))
    if steps <= MOST_STEPS:
        head = (what, *(f"step {n}" for n in range(steps)), *(["in all"] if steps > 1 else []))
        rows = []
        for key, found in values.items():
            more = [round(float(found.sum()), 2)] if steps > 1 else []
            rows.append((key, *(round(float(v), 2) for v in found), *more))
        yield Table(name, caption, head, rows)


def _cycles(run: SimRun) -> Iterator[Picture | Table]:
    """From class to class, as seen and by the law; of layers and steps, by the law."""
    mean = float(run.facts["cycles_per_image"]["mean"])
    if len(run.cycles):
        spread = {"as seen": run.cycles}
        if len(run.predicted) == len(run.cycles):
            spread["by the cycle law"] = run.predicted
        told = "Cycles from one class to the next: bars as seen, the line as the cycle law has it."
        figure = figures.histogram(spread, "cycles of an image")
        yield Picture(as_svg(figure, "Cycles of an image", "cycles"), told)
    work = work_by_layer(run)
    by_step = {part.layer: part.cycles for part in work}
    figure = figures.stacked(by_step, "time step", "cycles of an image")
    turns = "one layer after the other" if all(part.alone for part in work) else (
        "layers with hardware of their own all at once" if not any(part.alone for part in work)
        else "those of the program one after the other, behind it all at once"
    )  # fmt: skip
    told = (
        f"Cycles in which each layer is at work, by the cycle law, {turns}; what a layer does once "
        "for all steps stands at its first, or, where sums are played, at the last. A simulation "
        "sees when each class leaves: "
    ) + (
        "no image broke the law."
        if run.facts["cycle_law_checked"] and not run.facts["cycle_law_violations"]
        else "here the law did not hold, or was not checked."
    )
    yield Picture(as_svg(figure, "Cycles by layer and step", "layers"), told)
    yield from by_step_table("cycles", "Cycles by layer and step, by the law", "layer", by_step)
    rows = [
        (
            part.layer,
            round(float(part.cycles.sum()), 1),
            round(100 * float(part.cycles.sum()) / mean, 1),
            round(float(part.operations.sum()), 1),
            round(part.rows, 1),
            round(100 * part.use(mean), 1),
            part.adders,
        )
        for part in work
    ]
    head = ("layer", "cycles", "% of an image", "synaptic operations", "rows of weights added")
    head = (*head, "lanes in use, %", "weights a cycle, at most")
    yield Table("work", "Work and lanes, by layer", head, rows)


def _memory(run: SimRun) -> Section:
    """Of every stage: its memories; of programs what lies where."""
    parts: list[Picture | Table] = [memory_sizes(run.plan)]
    for n, stage in enumerate(run.plan.stages):
        parts += memory_parts(stage.facts().get("memory"), n, len(run.plan.stages))
    rows = [
        row
        for stage in run.plan.stages
        if "memory" not in stage.facts()
        for row in stage.rows_for_people()
    ]
    if rows:
        parts.append(facts_table("core", "Layers with hardware of their own", rows))
    return Section("memory", "Memory map", parts=parts)


def events_by_step(network: Network, images: Any, trace: Trace) -> dict[str, Any]:
    """Events that each sender sends for an image, (T,), on average: bits of |c| that are set. A
    picture's pixels are played at the first step alone.

    Parameters
    ----------
    images, trace
        Pixels (n, size), and what the golden model makes of them.
    """
    spec, n = network.spec, len(images)
    pixels = np.zeros(spec.steps)
    shown = np.bitwise_count(images).reshape(n, spec.recorded_steps, -1)
    pixels[: spec.recorded_steps] = shown.sum(axis=2).mean(axis=0)
    found = {INPUT: pixels}
    for layer, spikes in zip(spec.layers, trace.spikes, strict=False):
        bits = np.bitwise_count(np.abs(spikes.astype(np.int16)))
        found[layer.name] = bits.sum(axis=2).mean(axis=0)
    return found


def _widths(run: Run) -> Section:
    rows: list[tuple[str, int, float, int, int]] = []
    trace = run.trace

    def add(what: str, bits: int, bound: int, most: int) -> None:
        rows.append((what, bits, _bits(most), bound, most))

    for n, layer in enumerate(run.network.layers):
        name, neuron = layer.spec.name, layer.spec.neuron
        heaviest = int(np.abs(layer.weights).max(initial=0))
        add(f"{name}: weight", layer.spec.weight_bits, layer.spec.w_max, heaviest)
        add(f"{name}: drive", layer.drive_bits, layer.drive_bound, int(run.drives[n].max()))
        if neuron is not None:
            most = int(np.abs(trace.potentials[n]).max(initial=0))
            add(f"{name}: potential", neuron.potential_bits, neuron.u_max, most)
        else:
            most = int(np.abs(trace.logits).max(initial=0))
            add(f"{name}: logit", layer.logit_bits, layer.logit_bound, most)
    figure = figures.bars([row[:3] for row in rows], "bits", ("bits there are", "bits in use"))
    told = (
        "The hardware holds every sum that weights and pixels of any size could give (but for "
        f"potentials, which saturate); what occurred in {len(run.looked_at)} images is less."
    )
    head = ("value", "bits", "bits in use", "bound", "largest")
    return Section(
        "widths",
        "Widths",
        [told],
        [
            Picture(as_svg(figure, "Widths of values", "widths"), "Bits there are, and in use."),
            Table("widths", "Widths", head, rows),
        ],
    )


def _bits(most: int) -> int:
    """Of a signed number of that magnitude."""
    return int(most).bit_length() + 1


def _energy(run: Run) -> Section:
    parts = energy.estimate(run)
    rows = [
        (p.name, round(p.count, 1), f"{p.picojoules:.3g}", round(p.nanojoules, 4)) for p in parts
    ]
    total = sum(p.nanojoules for p in parts)
    told = f"{total:,.0f}" if total >= 100 else f"{total:.3g}"
    head = ("operation", "an image", "pJ each", "nJ an image")
    return Section(
        "energy",
        "Energy, estimated",
        [f"About {told} nJ an image by these constants: {energy.SOURCE}"],
        [Table("energy", "By kinds of operations", head, rows)],
    )
