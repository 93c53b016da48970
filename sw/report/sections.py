"""What a report has: sections of text, pictures, tables and data, made of a run."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gen.core.drawing import graph_svg
from hw.contract.edge import INPUT
from hw.contract.text import percent
from sw.report import energy, figures
from sw.report.board import boards_of, path_in_words
from sw.report.run import SimRun
from sw.report.svg import as_svg, drawn_graph

__all__ = ["Picture", "Section", "Table", "learning_sections", "sections"]

WORST = 18
"""Wrong pictures that are shown."""

DIFFERENCES = 50
"""Values of a layer, at most, that are told where they differ."""


@dataclass(frozen=True)
class Picture:
    """An SVG element, and what stands below it."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers; columns can be sorted, and the whole be downloaded.

    Parameters
    ----------
    name
        Of the file, without its ending.
    """

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @property
    def csv(self) -> str:
        """The same, as a file."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.head)
        writer.writerows(self.rows)
        return text.getvalue()


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Parameters
    ----------
    mark
        Its anchor.
    """

    mark: str
    title: str
    text: Sequence[str] = ()
    parts: Sequence[Picture | Table] = ()


def sections(run: SimRun, builds: Path) -> Iterator[Section]:
    """Of a simulation, and of the boards that were built of its network.

    Parameters
    ----------
    builds
        The folder in whose folders bitstreams are looked for.
    """
    yield _summary(run)
    yield _network(run)
    if run.picture is not None:
        yield _one_picture(run)
    yield _answers(run)
    yield _speed(run)
    yield _widths(run)
    yield _energy(run)
    built = [*boards_of(builds, run.network.digest)]
    if built:
        yield _boards(built)


def _summary(run: SimRun) -> Section:
    facts, spec = run.facts, run.network.spec
    cycles = facts["cycles_per_image"]
    rows = [
        ("network", spec.name),
        ("digest", run.network.digest),
        ("core", facts["layout"]),
        ("time steps", spec.steps),
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
    if facts.get("lane_utilisation") is not None:
        share = f"{100 * facts['lane_utilisation']:.1f} % of layer {facts['bottleneck']}"
        rows.append(("lanes in use", share))
    for name, told in run.network.meta.get("test", {}).items():
        if isinstance(told, dict) and {"hits", "n"} <= set(told):
            rows.append((f"whole test set, {name} network", percent(told["hits"], told["n"])))
    return Section("summary", "What ran", parts=[_facts("summary", "The run", rows)])


def _law(facts: dict[str, Any]) -> str:
    if not facts["cycle_law_checked"]:
        return "not checked: streams were held back"
    return f"{facts['cycle_law_violations']} violations in {facts['images']} images"


def _network(run: SimRun) -> Section:
    network, rows = run.network, []
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
    return Section(
        "network",
        "The network",
        parts=[
            Picture(drawn_graph(graph_svg(network.spec), "Graph of the network", "graph"), told),
            Table("layers", "Layers", head, rows),
            Picture(
                as_svg(figures.weights(network), "Histogram of the weights", "weights"),
                "How often each weight occurs. The axis of counts is logarithmic above 1.",
            ),
        ],
    )


def _one_picture(run: SimRun) -> Section:
    assert run.picture is not None
    at = run.picture.number
    layers = figures.layers_of(run.network, run.pixels[at], run.picture)
    seen = [layer for layer in layers if layer.seen_spikes is not None]
    wrong = sum(int(layer.differs.sum()) for layer in seen)
    names, label, said = figures.class_names(run.network), run.labels[at], run.classes[at]
    told = (
        f"Image {at} of the run, label {names[label]}, taken for {names[said]}: as the Verilog "
        f"played it, beside the golden model. "
        + (f"{wrong} values differ." if wrong else "No spike and no potential differs.")
    )
    parts: list[Picture | Table] = []
    picture = figures.pictures(run.network, run.pixels[at : at + 1], [f"image {at}"])
    if picture is not None:
        parts.append(Picture(as_svg(picture, f"Image {at}", "image"), "What it was shown."))
    if seen:
        parts.append(
            Picture(
                as_svg(figures.raster(seen), "Spikes by neuron and step", "raster"),
                "Spikes of the hardware, in two colours by their sign, thicker where several are "
                f"sent at once; at most {figures.MOST_NEURONS} neurons of a layer, those that fire "
                "most. A ring marks what the golden model has otherwise.",
            )
        )
        parts.append(
            Picture(
                as_svg(figures.traces(seen), "Potentials by step", "traces"),
                "Potentials at the end of each step, after the reset, of the busiest neurons: "
                "lines are the golden model's, dots the hardware's, dashes the thresholds.",
            )
        )
        if wrong:
            parts.append(_differences(seen))
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


def _facts(name: str, caption: str, rows: Sequence[tuple[str, object]]) -> Table:
    """A table of what is what, all of it text."""
    told = [(what, f"{v:,}" if isinstance(v, (int, float)) else str(v)) for what, v in rows]
    return Table(name, caption, ("what", "value"), told)


def _answers(run: SimRun) -> Section:
    names = figures.class_names(run.network)
    figure = figures.confusion(run.labels, run.classes, names)
    parts: list[Picture | Table] = [
        Picture(
            as_svg(figure, "Confusion matrix", "confusion"),
            "Labels in rows, what the hardware said in columns.",
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


def _speed(run: SimRun) -> Section:
    parts: list[Picture | Table] = []
    if len(run.cycles):
        spread = {"as seen": run.cycles}
        if len(run.predicted) == len(run.cycles):
            spread["by the cycle law"] = run.predicted
        told = "Cycles from one class to the next: bars as seen, the line as the cycle law has it."
        figure = figures.histogram(spread, "cycles of an image")
        parts.append(Picture(as_svg(figure, "Cycles of an image", "cycles"), told))
    by_step = events_by_step(run)
    told = f"Set bits of what is sent, on average over {len(run.looked_at)} images."
    parts.append(Picture(as_svg(figures.events(by_step), "Events by step", "events"), told))
    steps = run.network.spec.steps
    head = ("sender", *(f"step {n}" for n in range(steps)))
    rows = [(name, *(round(float(v), 2) for v in values)) for name, values in by_step.items()]
    if steps <= 16:
        parts.append(Table("events", "Events by sender and step", head, rows))
    memory = [
        (name, int(words), int(bits), round(words * bits / 1024, 1))
        for stage in run.plan.stages
        for name, (words, bits) in getattr(getattr(stage, "program", None), "memories", {}).items()
    ]
    if memory:
        head = ("memory", "words", "bits of a word", "Kibit")
        parts.append(Table("memories", "Memories of the program", head, memory))
    rows = [row for stage in run.plan.stages for row in stage.rows_for_people()]
    parts.append(_facts("core", "The core", rows))
    return Section("speed", "Cycles and events", parts=parts)


def events_by_step(run: SimRun) -> dict[str, Any]:
    """Events that each sender sends for an image, (T,), on average: bits of |c| that are set. A
    picture's pixels are played at the first step alone."""
    spec, n = run.network.spec, len(run.looked_at)
    pixels = np.zeros(spec.steps)
    shown = np.bitwise_count(run.looked_at).reshape(n, spec.recorded_steps, -1)
    pixels[: spec.recorded_steps] = shown.sum(axis=2).mean(axis=0)
    found = {INPUT: pixels}
    for layer, spikes in zip(spec.layers, run.trace.spikes, strict=False):
        bits = np.bitwise_count(np.abs(spikes.astype(np.int16)))
        found[layer.name] = bits.sum(axis=2).mean(axis=0)
    return found


def _widths(run: SimRun) -> Section:
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


def _energy(run: SimRun) -> Section:
    parts = energy.estimate(run)
    rows = [
        (p.name, round(p.count, 1), f"{p.picojoules:.3g}", round(p.nanojoules, 4)) for p in parts
    ]
    total = sum(p.nanojoules for p in parts)
    head = ("operation", "an image", "pJ each", "nJ an image")
    return Section(
        "energy",
        "Energy, estimated",
        [f"About {total:,.3g} nJ an image by these constants: {energy.SOURCE}"],
        [Table("energy", "By kinds of operations", head, rows)],
    )


def _boards(built: Sequence[tuple[Path, dict[str, Any]]]) -> Section:
    rows, resources, text = [], [], []
    for folder, report in built:
        rows.append(
            (
                report["board"],
                report["layout"],
                report["asked_mhz"],
                round(report["fmax_mhz"], 2),
                report.get("cycles_per_image", ""),
                report.get("images_per_second", ""),
                folder.name,
            )
        )
        for name, (planned, there) in report["planned"].items():
            used = report["used"].get(name)
            if there and isinstance(used, int):
                share = round(100 * used / there, 1)
                resources.append((report["board"], name, planned, used, there, share))
        for clock, path in report.get("critical_paths", {}).items():
            told = path_in_words(path)
            text.append(f"{report['board']}, slowest path of clock {clock}: {told}.")
    head = ("board", "layout", "MHz asked", "MHz routed", "cycles an image", "images/s", "folder")
    parts: list[Picture | Table] = [Table("boards", "Bitstreams of this network", head, rows)]
    if resources:
        shares = [(f"{board}: {name}", 100.0, share) for board, name, _, _, _, share in resources]
        figure = figures.bars(shares, "% of the chip", ("there is", "used"))
        parts.append(Picture(as_svg(figure, "Resources in use", "resources"), "Of each chip."))
        head = ("board", "resource", "planned", "used", "there are", "used, %")
        parts.append(Table("resources", "Planned against used", head, resources))
    return Section("boards", "Boards", text, parts)


def learning_sections(facts: dict[str, Any]) -> Iterator[Section]:
    """Of a session of learning."""
    before, after = facts["before"], facts["after"]
    rows = [
        ("network", facts["network"]),
        ("digest, after", facts["digest"]),
        ("data", facts["dataset"]),
        ("test, before", percent(before["hits"], before["n"])),
        ("test, after", percent(after["hits"], after["n"])),
    ]
    if "undrifted" in facts:
        kept = facts["undrifted"]
        rows.append(("undrifted images, after", percent(kept["hits"], kept["n"])))
    yield Section("summary", "What learned", parts=[_facts("summary", "Session", rows)])
    points = facts["session"]["points"]
    told = [p for p in points if p.get("n")]
    parts: list[Picture | Table] = []
    if told:
        line = ([p["samples"] for p in told], [100 * p["hits"] / p["n"] for p in told])
        figure = figures.curve({"held out": line}, "samples", "right answers, %")
        parts.append(
            Picture(as_svg(figure, "Accuracy while it learns", "curve"), "Held-out images.")
        )
    head = ("pass", "samples", "learned", "right", "of")
    rows = [(p["number"], p["samples"], p["learned"], p["hits"], p["n"]) for p in points]
    parts.append(Table("session", "Looks at held-out images", head, rows))
    yield Section("learning", "While it learned", parts=parts)
