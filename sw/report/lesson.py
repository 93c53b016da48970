"""What `learn` left: a session, and the network before and after it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from hw.contract.files import Archive, ArchiveError, read_json
from hw.contract.network import Network
from hw.contract.text import percent
from sim.golden.model import GoldenModel
from sw.report import figures
from sw.report.figures import finished, plain_axes
from sw.report.parts import Page, Picture, Section, Table, facts_table
from sw.report.run import ReportError
from sw.report.sections import by_step_table, events_by_step, network_section
from sw.report.svg import Colour, as_svg

__all__ = ["lesson_page", "newest_lesson", "weights_before_after"]

LESSON = {
    "network": str,
    "digest": str,
    "dataset": str,
    "before": dict,
    "after": dict,
    "session": {"points": [dict]},
}
"""Of what `learn` leaves beside a network."""

SHOWN = 6
"""Pictures that are drawn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A session that has ended.

    Parameters
    ----------
    facts
        Its JSON file.
    before, after
        The network; None where its file is not there any more.
    pixels, plain
        The first test pictures (n, size), after the drift and before it; None: there was no drift.
    labels, said_before, said_after
        Of all test pictures, (n,).
    """

    facts: dict[str, Any]
    before: Network | None = None
    after: Network | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    plain: npt.NDArray[np.uint8] | None = None
    labels: npt.NDArray[np.int64] | None = None
    said_before: npt.NDArray[np.int64] | None = None
    said_after: npt.NDArray[np.int64] | None = None

    @classmethod
    def load(cls, path: Path) -> "Lesson":
        """Of the file NETWORK.json.

        Raises
        ------
        ReportError
            When it is none, or what lies beside it is damaged or of another session.
        """
        try:
            facts = read_json(path, LESSON)
        except OSError as error:
            raise ReportError(f"Session {path} cannot be read: {error.strerror or error}") from None
        except (ValueError, RecursionError):
            raise ReportError(
                f"File {path} must be what sterna learn leaves beside a network, NETWORK.json"
            ) from None
        if "seen" not in facts:
            return cls(facts=facts)
        try:
            names = {name: path.with_name(f"{path.stem}{end}") for name, end in BESIDE.items()}
            before, after = (Network.load(names[name]) for name in ("before", "after"))
            seen = Archive(names["seen"]).arrays(SEEN, ["plain"])
        except (OSError, ValueError, ArchiveError) as error:
            raise ReportError(f"What lies beside {path} is damaged: {error}") from None
        labels, counted = seen["labels"], [facts[when] for when in ("before", "after")]
        fits = seen["pixels"].ndim == 2 and all(
            seen[f"said_{when}"].shape == labels.shape == (told.get("n"),)
            and int((seen[f"said_{when}"] == labels).sum()) == told.get("hits")
            for when, told in zip(("before", "after"), counted, strict=True)
        )
        same = before.spec == after.spec and after.digest == facts["digest"]
        if not (fits and same):
            raise ReportError(f"What lies beside {path} is damaged: it is of other sessions")
        return cls(facts=facts, before=before, after=after, **seen)


BESIDE = {"before": ".before.npz", "after": ".npz", "seen": ".seen.npz"}
"""Endings of the files of a session, by what they hold."""

SEEN = ("pixels", "labels", "said_before", "said_after")
"""Arrays of `.seen.npz`; beside them, after a drift, `plain`."""


def newest_lesson(folder: Path) -> Path | None:
    """The file of the last session that left one in a folder."""
    found = []
    for path in folder.glob("*.json"):
        try:
            read_json(path, LESSON)
        except (OSError, ValueError, RecursionError):
            continue
        found.append(path)
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def lesson_page(path: Path) -> Page:
    """Of a session.

    Raises
    ------
    ReportError
        As of `Lesson.load`.
    """
    lesson = Lesson.load(path)
    facts = lesson.facts
    try:
        shares = [100 * facts[t]["hits"] / max(1, facts[t]["n"]) for t in ("before", "after")]
        told = "Right answers on the test images: {:.2f} % before, {:.2f} % after.".format(*shares)
        wrong = facts.get("mismatches", 0) + facts.get("cycle_law_violations", 0)
        if "values_compared" in facts:
            told += (
                f" {facts['values_compared']:,} values compared with the golden model: "
                f"{facts['mismatches']:,} mismatches, {facts['cycle_law_violations']:,} cycle-law "
                "violations."
            )
        found = [*_sections(lesson)]
    except KeyError as error:
        raise ReportError(f"File {path} is damaged: it lacks {error}") from None
    except (TypeError, AttributeError, ValueError, LookupError) as error:
        raise ReportError(f"File {path} is damaged: {error}") from None
    title = f"Sterna: {facts['network']} learns"
    return Page(title=title, verdict=told, facts=facts, sections=found, good=not wrong)


def _sections(lesson: Lesson) -> Iterator[Section]:
    yield _summary(lesson.facts)
    yield _curve(lesson.facts)
    if facts_of_drift := lesson.facts.get("drift"):
        yield _drift(lesson, facts_of_drift)
    if lesson.after is not None and lesson.before is not None:
        yield network_section(lesson.after, weights=False)
        yield _weights(lesson.before, lesson.after)
        assert lesson.pixels is not None
        yield _events(lesson.before, lesson.after, lesson.pixels)
        yield _answers(lesson, lesson.after)


def _summary(facts: dict[str, Any]) -> Section:
    before, after = facts["before"], facts["after"]
    rows: list[tuple[str, object]] = [
        ("network", facts["network"]),
        ("digest, after", facts["digest"]),
        ("data", facts["dataset"]),
        ("drift of the images", facts.get("drift_told") or facts.get("drift") or "none"),
        ("test, before", percent(before["hits"], before["n"])),
        ("test, after", percent(after["hits"], after["n"])),
    ]
    if "undrifted" in facts:
        kept = facts["undrifted"]
        rows.append(("undrifted images, after", percent(kept["hits"], kept["n"])))
    samples, learned = (facts["session"].get(key) for key in ("samples", "learned"))
    if isinstance(samples, int) and isinstance(learned, int):
        told = f"{samples:,}, of which {percent(learned, max(1, samples))} changed anything"
        rows.append(("samples", told))
    names = {
        "layout": "core",
        "values_compared": "values compared",
        "mismatches": "mismatches",
        "first_mismatch": "first mismatch",
        "cycle_law_violations": "cycle law violations",
        "cycles_inference": "cycles of an inference",
        "cycles_learning": "cycles more, where it learns",
    }
    for key, name in names.items():
        if key in facts:
            value = facts[key]
            rows.append((name, "none" if value in ("", None) else value))
    return Section("summary", "What learned", parts=[facts_table("summary", "Session", rows)])


def _curve(facts: dict[str, Any]) -> Section:
    """Accuracy over samples; how many of the samples changed anything."""
    points = facts["session"]["points"]
    held = [p for p in points if p["n"]]
    lines: dict[str, tuple[list[float], list[float]]] = {}
    if held:
        shares = [100 * p["hits"] / p["n"] for p in held]
        lines["held-out images"] = ([p["samples"] for p in held], shares)
    pairs = [(old, new) for old, new in pairwise(points) if new["samples"] > old["samples"]]
    for name, key in (
        ("samples, before each was learned", "right"),
        ("share of them that changed a weight", "learned"),
    ):
        shares = [
            100 * (new[key] - old[key]) / (new["samples"] - old["samples"]) for old, new in pairs
        ]
        lines[name] = ([new["samples"] for _, new in pairs], shares)
    before, after = facts["before"], facts["after"]
    last = points[-1]["samples"] if points else 0
    tests = [100 * told["hits"] / max(1, told["n"]) for told in (before, after)]
    parts: list[Picture | Table] = [
        Picture(
            as_svg(
                figures.curve(lines, "samples", "%", {"test images": ([0, last], tests)}),
                "Accuracy while the network learns",
                "curve",
            ),
            "Right answers among held-out images at each look, among the samples since the look "
            "before, and among the test images before and after; and the share of the samples "
            "since the look before that changed a weight.",
        )
    ]
    head = ("pass", "samples", "learned", "right of them", "right, held out", "held out")
    rows = [
        (p["number"], p["samples"], p["learned"], p["right"], p["hits"], p["n"]) for p in points
    ]
    parts.append(Table("session", "Looks", head, rows))
    return Section("learning", "While it learned", parts=parts)


def _drift(lesson: Lesson, drift: str) -> Section:
    """What befell the images, and what that cost."""
    facts, parts = lesson.facts, list[Picture | Table]()
    drift = facts.get("drift_told", drift)
    network = lesson.after
    if network is not None and lesson.plain is not None and lesson.pixels is not None:
        for mark, told, pixels in (
            ("plain", "as they were", lesson.plain),
            ("drifted", f"drifted: {drift}", lesson.pixels),
        ):
            some = pixels[:SHOWN]
            figure = figures.pictures(network, some, [f"image {n}" for n in range(len(some))])
            if figure is not None:
                parts.append(Picture(as_svg(figure, f"Images {told}", mark), f"Images {told}."))
    rows = []
    for name, key in (
        ("as they were, before learning", "undrifted_before"),
        ("drifted, before learning", "before"),
        ("drifted, after learning", "after"),
        ("as they were, after learning", "undrifted"),
    ):
        if key in facts:
            rows.append((name, percent(facts[key]["hits"], facts[key]["n"])))
    parts.append(Table("drift", "Right answers by images", ("images", "right"), rows))
    text = f"The network learned from images that a drift had befallen: {drift}."
    return Section("drift", "The drift", [text], parts)


def _weights(before: Network, after: Network) -> Section:
    differences = {
        new.spec.name: new.weights.astype(np.int64) - old.weights.astype(np.int64)
        for old, new in zip(before.layers, after.layers, strict=True)
    }
    rows = []
    for old, new in zip(before.layers, after.layers, strict=True):
        change = differences[new.spec.name]
        share = round(100 * float((change != 0).mean()), 2) if change.size else 0.0
        zeros = (round(100 * float((x.weights == 0).mean()), 1) for x in (old, new))
        at_limit = round(100 * float((np.abs(new.weights) >= new.spec.w_max).mean()), 1)
        most = int(np.abs(change).max(initial=0))
        rows.append((new.spec.name, int(change.size), share, most, *zeros, at_limit))
    head = (
        *("layer", "weights", "changed, %", "largest change"),
        *("zero before, %", "zero after, %", "at the limit after, %"),
    )
    return Section(
        "weights",
        "Weights before and after",
        parts=[
            Picture(
                as_svg(weights_before_after(before, after), "Weights before and after", "weights"),
                "How often each weight occurs: bars after, the line before the session. The axis "
                "of counts is logarithmic above 1.",
            ),
            Picture(
                as_svg(changes(differences), "Changes of weights", "changes"),
                "How many weights have changed by how much.",
            ),
            Table("weights", "Weights, by layer", head, rows),
        ],
    )


def _events(before: Network, after: Network, pixels: npt.NDArray[np.uint8]) -> Section:
    found = {}
    for when, network in (("before", before), ("after", after)):
        trace = GoldenModel(network).run(pixels)
        for name, values in events_by_step(network, pixels, trace).items():
            found[f"{name}, {when}"] = values
    sides = {
        when: {name.split(",")[0]: v for name, v in found.items() if name.endswith(when)}
        for when in ("before", "after")
    }
    parts: list[Picture | Table] = [
        Picture(
            as_svg(figures.events(values), f"Events {when} the session", f"events-{when}"),
            f"Set bits of what is sent, {when} the session, on average over {len(pixels)} images.",
        )
        for when, values in sides.items()
    ]
    parts += by_step_table("events", "Events by sender and step", "sender", found)
    return Section("events", "Events before and after", parts=parts)


def _answers(lesson: Lesson, network: Network) -> Section:
    names = figures.class_names(network)
    assert lesson.labels is not None
    parts: list[Picture | Table] = []
    for when, said in (("before", lesson.said_before), ("after", lesson.said_after)):
        assert said is not None
        figure = figures.confusion(lesson.labels, said, names)
        told = f"{when.capitalize()} the session: labels in rows, what was said in columns."
        title = f"Confusion matrix {when} the session"
        parts.append(Picture(as_svg(figure, title, f"confusion-{when}"), told))
    return Section("answers", "Answers on the test images", parts=parts)


def weights_before_after(before: Network, after: Network) -> Figure:
    """How often each weight occurs, layer by layer, in a network before and after it learned."""
    pairs = list(zip(before.layers, after.layers, strict=True))
    figure = Figure(figsize=(7, 1.7 * len(pairs) + 0.3), layout="constrained")
    rows = figure.subplots(len(pairs), 1, squeeze=False)
    for axes, (old, new) in zip(rows[:, 0], pairs, strict=True):
        most = max(old.spec.w_max, *(int(np.abs(x.weights).max(initial=0)) for x in (old, new)))
        told = f"{new.spec.name}: {new.weights.size:,} weights of {new.spec.weight_bits} bits"
        plain_axes(figure, axes, title=told, ylabel="weights")
        bins = (np.linspace(-most - 0.5, most + 0.5, min(2 * most + 1, 101) + 1)).tolist()
        looks: tuple[dict[str, Any], ...] = (
            {"color": Colour.ACCENT, "alpha": 0.55, "label": "after"},
            {"color": Colour.INK, "histtype": "step", "label": "before"},
        )
        for layer, look in zip((new, old), looks, strict=True):
            axes.hist(layer.weights.reshape(-1), bins=bins, **look)
        axes.set_yscale("symlog", linthresh=1)
        finished(axes, loc="upper left", bbox_to_anchor=(1, 1))
    rows[-1, 0].set_xlabel("weight")
    return figure


def changes(parts: Mapping[str, npt.NDArray[np.int64]]) -> Figure:
    """By how much weights have changed: how many of each layer, by the difference."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    plain_axes(figure, axes, xlabel="weight after, less weight before", ylabel="weights")
    most = max(1, *(int(np.abs(part).max(initial=0)) for part in parts.values()))
    bins = np.linspace(-most - 0.5, most + 0.5, min(2 * most + 1, 101) + 1).tolist()
    colours = (Colour.ACCENT, Colour.SECOND, Colour.POSITIVE, Colour.NEGATIVE)
    for (name, part), colour in zip(parts.items(), colours * len(parts), strict=False):
        axes.hist(part.reshape(-1), bins=bins, histtype="step", color=colour, lw=1.4, label=name)
    axes.set_yscale("symlog", linthresh=1)
    finished(axes, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
