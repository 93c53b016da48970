"""The command that lets a network learn on its own, one sample at a time: `sterna learn`."""

import argparse
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hw.contract.files import can_write, write_atomically, write_json
from hw.contract.network import Network
from hw.contract.text import percent, table
from hw.learn.masters import Masters, before_learning, masters_path
from hw.system.progress import under_way
from sim.golden.model import GoldenModel
from sw.cli.options import BUILD, Result, add_data_option, drawn
from sw.data.dataset import load_split, require_files
from sw.data.evaluate import check_fits
from sw.data.published import RECORDINGS
from sw.data.shipped import UsageError
from sw.data.split import Split
from sw.spide.drift import DRIFTS, TOLD, drifted
from sw.spide.session import (
    Learns,
    Point,
    Schedule,
    Session,
    part,
    run_passes,
    run_session,
    slower,
    split_off,
)
from sw.spide.start import NOISE, PRESETS, Preset, beginning
from sw.spide.twin import FastLearner

__all__ = ["add_learn_command"]

SIMULATED = 300
"""Samples of a simulated session from noise, unless others are asked for."""
SEEN = 200
"""Test images that are kept for the report; what was said of them is of all."""
INTERRUPTED = 130
"""Exit code of a program that SIGINT ended."""


class Learner(Learns, Protocol):
    """A learner whose margin can be set."""

    @property
    def margin(self) -> int:
        """mu; it may be set."""
        ...

    @margin.setter
    def margin(self, margin: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Images:
    """Of a session: to learn from, to judge settings by, to report; the last as they were before
    the drift, if there is one."""

    train: Split
    held_out: Split
    test: Split
    plain: Split | None


def do_learn(args: argparse.Namespace) -> Result:
    if args.slower < 0:
        raise UsageError(f"Halvings must be a number of at least 0, not {args.slower}")
    if args.test_images is not None and args.test_images < 1:
        raise UsageError(f"Test images must be at least 1, not {args.test_images}")
    if args.stored and ":" not in args.on:
        raise UsageError("Images on a chip are a board's: give --on with its address")
    masters = beginning(
        args.model, args.source, seed=args.seed, margin=args.margin, readout_only=args.readout_only
    )
    name = args.dataset or masters.network.meta.get("dataset")
    if not isinstance(name, str):
        raise UsageError("The network names no data set: give --dataset")
    require_files(name, args.data)
    preset = PRESETS.get(name)
    schedule = schedule_of(args, preset)
    out = Path(args.out or BUILD / "learn" / f"{masters.spec.file_name}.npz")
    if out.suffix != ".npz":  # others lie beside it, by other endings
        raise UsageError(f"File of a network must end in .npz, not {str(out)!r}")
    can_write(out)
    images = load_images(args, name, masters, preset)
    if args.on == "sim":
        return on_verilog(args, masters, images, schedule, out, name)
    if ":" not in args.on:
        if args.on != "golden":
            raise UsageError(f"Learner must be golden, sim or a board's address, not {args.on!r}")
        learner = FastLearner(masters)
        return held_session(args, learner, lambda: masters, images, schedule, out, name)
    from sw.host.board import open_board
    from sw.host.lessons import BoardLearner

    with open_board(args.on, retries=args.retries, progress=args.say) as board:
        built = beginning(args.model, seed=args.seed, readout_only=args.readout_only)
        taught = BoardLearner(board, built)
        if args.stored and not taught.samples:
            raise UsageError(f"Board {args.on} has no images on its chip")
        if args.source is not None:
            taught.load(masters)
        return held_session(args, taught, taught.masters, images, schedule, out, name)


def held_session(
    args: argparse.Namespace,
    learner: Learner,
    now: Callable[[], Masters],
    images: Images,
    schedule: Schedule,
    out: Path,
    name: str,
) -> Result:
    """The session, wherever the learner is; `now` says its masters."""
    if args.margin is not None:
        learner.margin = args.margin
    learner.rates = slower(learner.rates, args.slower)
    begun = now()
    spec, started, network = begun.spec, begun.learned, begun.working()
    classes = [learner.classify(images.test.images)]
    before = hits(classes[0], images.test)

    n, lesson = len(images.train), None
    total = schedule.passes * min(n, schedule.samples or n)
    if args.stored:
        from sw.host.lessons import BoardLearner

        assert isinstance(learner, BoardLearner)
        lesson, total = learner.train, None  # what is on the chip

    def told(point: Point) -> None:
        at(point.samples)
        held = percent(point.hits, point.n) if point.n else "none held out"
        args.say(
            f"pass {point.number}, {point.samples:,} samples, {point.learned:,} learned: {held}"
        )

    with under_way(args.say, "learning, samples", total=total) as at:
        if lesson is None:
            session = run_session(learner, images.train, images.held_out, schedule, told)
        else:
            session = run_passes(learner, lambda _: [lesson], images.held_out, schedule, told)
    made = keep(now(), out, name, session)
    classes.append(learner.classify(images.test.images))
    after = hits(classes[1], images.test)
    facts: dict[str, Any] = {
        "network": spec.name,
        "digest": made.digest,
        "dataset": images.test.title,
        **told_drift(args.drift),
        "before": {"hits": before, "n": len(images.test)},
        "after": {"hits": after, "n": len(images.test)},
        "learned_before": started,
        "session": session.to_dict(),
        "image": str(out),
        "masters": str(masters_path(out)),
    }
    rows: list[tuple[str, object]] = [
        ("network", f"{spec.name}, digest {made.digest}"),
        ("samples", f"{session.samples:,} in {session.seconds:.0f} s"),
        ("learned", f"{percent(session.learned, max(session.samples, 1))}; {started:,} before"),
        ("test, before", f"{percent(before, len(images.test))}, {images.test.title}"),
        ("test, after", percent(after, len(images.test))),
    ]
    if images.plain is not None:
        kept = hits_of(learner, images.plain)
        facts["undrifted"] = {"hits": kept, "n": len(images.plain)}
        first = hits(GoldenModel(network).classify(images.plain.images), images.plain)
        facts["undrifted_before"] = {"hits": first, "n": len(images.plain)}
        rows.append(("undrifted", percent(kept, len(images.plain))))
    rows.append(("wrote", keep_seen(out, facts, network, images, classes)))
    image = out.with_suffix(".png")
    curve = "none: no images are held out"
    if len(images.held_out):
        curve = drawn(lambda: draw(session, image, images), image)
    rows.append(("curve", curve))
    if session.interrupted:
        rows.append(("interrupted", "what was learned is kept; go on with --from " + str(out)))
    return facts, table(rows), INTERRUPTED if session.interrupted else 0


def on_verilog(
    args: argparse.Namespace,
    masters: Masters,
    images: Images,
    schedule: Schedule,
    out: Path,
    dataset: str,
) -> Result:
    """The session on the Verilog of a learning core, every value compared."""
    from sw.spide.simulated import learn_on_verilog

    learning = masters.spec.learning
    assert learning is not None
    rates = tuple(slower(learning.rates, args.slower))
    margin = learning.margin if args.margin is None else args.margin
    report, after = learn_on_verilog(
        masters,
        images.train,
        images.test,
        schedule,
        out.parent,
        lanes=args.lanes,
        rates=rates,
        margin=margin,
        taps=args.compare == "all",
        progress=args.say,
    )
    made = store(after, out, dataset, report["samples"])
    report |= {"digest": made.digest, "image": str(out), "masters": str(masters_path(out))}
    n = report["n"]
    facts = {
        **{key: value for key, value in report.items() if key != "stages"},
        **told_drift(args.drift),
        "before": {"hits": report["hits_before"], "n": n},
        "after": {"hits": report["hits_after"], "n": n},
        "session": {
            "points": [
                {"samples": at, "number": 0, "hits": 0, "n": 0, "right": right, "learned": learned}
                for at, right, learned in report["curve"]
            ],
            "samples": report["samples"],
            "learned": report["learned"],
        },
    }
    starts = masters.working()
    classes = [GoldenModel(state).classify(images.test.images) for state in (starts, made)]
    if images.plain is not None:
        for name, state in (("undrifted_before", starts), ("undrifted", made)):
            right = hits(GoldenModel(state).classify(images.plain.images), images.plain)
            facts[name] = {"hits": right, "n": len(images.plain)}
    wrote = keep_seen(out, facts, starts, images, classes)
    bad = report["mismatches"] + report["cycle_law_violations"]
    rows: list[tuple[str, object]] = [
        ("network", f"{masters.spec.name}, digest {made.digest}"),
        ("core", report["layout"]),
        ("samples", f"{report['samples']:,}, {report['learned']:,} learned"),
        ("values compared", f"{report['values_compared']:,}"),
        ("mismatches", report["mismatches"]),
        ("cycle law violations", report["cycle_law_violations"]),
        ("test, before", f"{percent(report['hits_before'], report['n'])}, {report['dataset']}"),
        ("test, after", percent(report["hits_after"], report["n"])),
        ("share learned", f"{100 * report['share_learned']:.1f} %"),
        ("cycles", f"{report['cycles_inference']} inference, {report['cycles_learning']} learning"),
        (
            f"at {report['clock_hz'] / 1e6:g} MHz ({report['board']})",
            f"{report['updates_per_second']:,} updates/s, {report['samples_per_second']:,} "
            "samples/s (RTL's cycles, the board's clock for programs)",
        ),
        ("wrote", f"{wrote}, report.json"),
    ]
    if report["first_mismatch"]:
        rows.insert(5, ("first mismatch", report["first_mismatch"]))
    return report, table(rows), 1 if bad else 0


def schedule_of(args: argparse.Namespace, preset: Preset | None) -> Schedule:
    """Passes and rate drops: the preset's where a network starts from noise, else one pass."""
    noise = args.source in (None, NOISE) and args.model in PRESETS
    passes = args.passes if args.passes is not None else preset.passes if noise and preset else 1
    drops = preset.drops if noise and preset and args.passes is None else ()
    if args.rate_drop is not None:
        parts = [part for part in args.rate_drop.split(",") if part]
        if not all(part.isdecimal() for part in parts):
            raise UsageError(f"Rate drops must be passes joined by commas, not {args.rate_drop!r}")
        drops = tuple(int(part) for part in parts)
    samples = args.samples
    if args.on == "sim" and args.passes is None:
        passes, drops = 1, ()
        samples = SIMULATED if samples is None else samples
    return Schedule(passes=passes, samples=samples, drops=drops, seed=args.seed, every=args.every)


def load_images(
    args: argparse.Namespace, name: str, masters: Masters, preset: Preset | None
) -> Images:
    """Drifted, if that is asked for."""
    spec, bits = masters.spec, masters.spec.input_bits
    if name in RECORDINGS or spec.timed_input:
        raise UsageError(f"Data set {name} holds recordings, from which no network learns")
    whole, test = (
        load_split(name, split, 8 if args.drift else bits, args.data, encoding=spec.encoding)
        for split in ("train", "test")
    )
    count = args.held_out if args.held_out is not None else preset.held_out if preset else 0
    train, held_out = split_off(drifted(whole, args.drift, bits), count)
    found = Images(
        train=train,
        held_out=held_out,
        test=part(drifted(test, args.drift, bits), slice(args.test_images)),
        plain=None
        if args.drift is None
        else part(drifted(test, None, bits), slice(args.test_images)),
    )
    for data in (found.train, found.test):
        check_fits(masters.network, data)
    return found


def keep_seen(
    out: Path,
    facts: dict[str, Any],
    before: Network,
    images: Images,
    classes: Sequence[npt.NDArray[np.int64]],
) -> str:
    """Write what `sterna report` shows beside a network that has learned, and last its JSON file;
    returns their names. `classes`: of the test images, before and after."""
    seen = {"pixels": images.test.images[:SEEN], "labels": images.test.labels}
    seen |= dict(zip(("said_before", "said_after"), classes, strict=True))
    if images.plain is not None:
        seen["plain"] = images.plain.images[:SEEN]
    data = io.BytesIO()
    np.savez_compressed(data, **seen)
    beside = {kind: out.with_name(f"{out.stem}.{kind}.npz") for kind in ("before", "seen")}
    facts |= {kind: str(path) for kind, path in beside.items() if kind == "seen"}
    file = out.with_suffix(".json")
    file.unlink(missing_ok=True)
    before.save(beside["before"])
    write_atomically(beside["seen"], data.getvalue())
    write_json(file, facts)
    names = (masters_path(out), file, *beside.values())
    return ", ".join([str(out), *(path.name for path in names)])


def told_drift(drift: str | None) -> dict[str, str | None]:
    """For the JSON file."""
    return {"drift": drift, "drift_told": drift and TOLD[drift]}


def hits(classes: npt.NDArray[np.int64], data: Split) -> int:
    """Right answers among those."""
    return int((classes == data.labels).sum())


def hits_of(learner: Learns, data: Split) -> int:
    """Right answers."""
    return hits(learner.classify(data.images), data)


def keep(masters: Masters, out: Path, dataset: str, session: Session) -> Network:
    """Write the network as it is now, and its masters beside it; returns the network."""
    return store(masters, out, dataset, session.samples)


def store(masters: Masters, out: Path, dataset: str, samples: int) -> Network:
    """See `keep`; after so many samples."""
    made = masters.working()
    meta = {
        **before_learning(made.meta),
        "dataset": dataset,
        "learning": {"samples": samples, "learned": masters.learned},
    }
    made = replace(made, meta=meta)
    made.save(out)
    masters.save(masters_path(out))
    return made


def draw(session: Session, out: Path, images: Images) -> None:
    """The curve as a picture."""
    from matplotlib.figure import Figure

    from sw.study.plots import write_png

    figure = Figure(figsize=(6, 4), dpi=110, layout="tight")
    axes = figure.subplots()
    axes.plot(
        [point.samples for point in session.points],
        [100 * point.share for point in session.points],
        marker=".",
    )
    axes.set(xlabel="samples", ylabel="accuracy on held-out images, %", title=images.train.title)
    axes.grid(alpha=0.3)
    write_png(out, figure)


def add_learn_command(commands: Any) -> None:
    """Add the parser."""
    text = "let a network learn, one sample at a time, as the hardware does"
    sub = commands.add_parser("learn", help=text, description=text)
    handler: Callable[[argparse.Namespace], Result] = do_learn
    sub.set_defaults(handler=handler)
    sub.add_argument(
        "model",
        nargs="?",
        default="digits",
        metavar="MODEL",
        help=f"one of {', '.join(PRESETS)}, to start from noise (default digits); or a network",
    )
    sub.add_argument(
        "--from",
        dest="source",
        metavar="NETWORK",
        help="noise, or a network by name or path; goes on from the masters beside its file",
    )
    sub.add_argument(
        "--on",
        default="golden",
        metavar="WHERE",
        help="who learns: golden, the golden model (default); sim, the Verilog of a core, "
        f"simulated, every value compared ({SIMULATED} samples unless --samples or --passes is "
        "given); or a board by its address, built of MODEL: it goes on from what it has learned, "
        "unless --from is given",
    )
    sub.add_argument(
        "--stored",
        action="store_true",
        help="of a board: learn from the images on its chip, all of them in each pass",
    )
    sub.add_argument(
        "--retries", type=int, default=0, metavar="N", help="of a board's exchange (default 0)"
    )
    sub.add_argument(
        "--compare",
        choices=("all", "results"),
        default="all",
        help="with --on sim: all values (default), or, for long sessions, what leaves the core and "
        "the masters after each pass",
    )
    sub.add_argument("--lanes", type=int, default=64, metavar="N", help="of the core (default 64)")
    sub.add_argument("--dataset", help="data set, if not the one that the network names")
    add_data_option(sub)
    sub.add_argument("--passes", type=int, metavar="N", help="default: the preset's, else 1")
    sub.add_argument("--samples", type=int, metavar="N", help="of each pass (default all)")
    sub.add_argument("--seed", type=int, default=1, help="of noise and order (default 1)")
    sub.add_argument("--readout-only", action="store_true", help="nothing but the readout learns")
    sub.add_argument("--drift", choices=DRIFTS, help="what has befallen all images")
    sub.add_argument("--margin", type=int, metavar="N", help="learn where it is smaller")
    sub.add_argument(
        "--rate-drop",
        metavar="N,N,..",
        help="passes before which every rate is halved (default: the preset's, if --passes is)",
    )
    sub.add_argument(
        "--slower", type=int, default=0, metavar="N", help="halve every rate so often (default 0)"
    )
    sub.add_argument(
        "--held-out",
        type=int,
        metavar="N",
        help="training images that are only looked at (default: the preset's, else none)",
    )
    sub.add_argument(
        "--test-images",
        type=int,
        metavar="N",
        help="test images that are looked at before and after (default all; a simulated board "
        "takes its time)",
    )
    sub.add_argument("--every", type=int, metavar="N", help="samples from one look to the next")
    sub.add_argument("--out", metavar="FILE", help="network (default build/learn/NETWORK.npz)")
    sub.add_argument("--json", action="store_true", help="print the answer as JSON")
