"""Commands that make the tables of the documentation: `study training`, `conversion`, `cost`..."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw.contract.files import can_write, write_json
from hw.contract.network import Network
from sw.cli.network import load_splits
from sw.cli.options import Result, add_spread_options, is_spread, numbers, spreading
from sw.data.dataset import load_split
from sw.data.shipped import MODELS, UsageError, model_path
from sw.data.split import DataError, Split

if TYPE_CHECKING:
    from sw.spread.runner import Runner

__all__ = ["add_study_commands"]

BUILD = Path("build") / "study"


def choices(text: str, what: str) -> tuple[int, ...]:
    """Of a grid: each number once."""
    return tuple(dict.fromkeys(numbers(text, what)))


def require_plots() -> None:
    """Fail before long work if there will be no picture of it. (`report` has matplotlib, too, but
    not what trains: that would be the next sentence.)"""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError(
            "study needs the package matplotlib: install Sterna's extra 'results' "
            "(pip install 'sterna[results]')"
        ) from None


def do_training(args: argparse.Namespace) -> Result:
    require_plots()
    from sw.spread.runner import running
    from sw.study.training import Grid, accuracy_table, activity_table, plot, study

    grid = Grid(
        datasets=tuple(dict.fromkeys(args.dataset.split(","))),
        hidden=choices(args.hidden, "Hidden neurons"),
        steps=choices(args.steps, "Time steps"),
        seeds=choices(args.seeds, "Seeds"),
        weight_bits=choices(args.weight_bits, "Weight widths"),
        float_epochs=args.float_epochs,
        integer_epochs=args.integer_epochs,
    )
    out = Path(args.out or BUILD / "training")
    can_write(out / "runs.json")
    if args.processes is not None:  # as it was called; 0: one per core
        if args.workers is not None:
            raise UsageError("Processes are workers: give --workers or --processes, not both")
        if args.processes < 0:
            raise UsageError(f"Processes must be a number of at least 0, not {args.processes}")
        args.workers = args.processes or None
    with running(args.workers, args.scheduler, progress=args.say) as run:  # it keeps what is done
        runs = study(grid, out, args.data, run=run, progress=args.say)
    middle = sorted(grid.weight_bits)[len(grid.weight_bits) // 2]
    plot(runs, out, middle)
    spent = sum(
        {
            (r["dataset"], r["hidden"], r["steps"], r["variant"], r["seed"]): r["seconds"]
            for r in runs
        }.values()
    )
    text = (
        f"Test accuracy in %, mean and standard deviation over {len(grid.seeds)} seed(s):\n\n"
        f"{accuracy_table(runs)}\n\nSpikes per neuron and step, events and synaptic operations per "
        f"image, {middle}-bit weights:\n\n{activity_table(runs, middle)}\n\n"
        f"{spent:,.0f} s of training on one core each; wrote {out}: runs.json, accuracy.png"
    )
    return {"runs": runs}, text, 0


def do_conversion(args: argparse.Namespace) -> Result:
    require_plots()
    from sw.study.conversion import agreement_table, steps_up_to, study, study_table

    if args.maps and args.hidden is not None:
        raise UsageError("A network must have --maps or --hidden, not both")
    hidden = None if args.maps else numbers(args.hidden or "512", "Hidden neurons")
    steps = steps_up_to(args.steps)
    if args.epochs < 1:
        raise UsageError(f"Epochs must be a positive number, not {args.epochs}")
    if not 0 <= args.seed < 2**63:
        raise UsageError(f"Seed must be a number from 0 to 2^63 - 1, not {args.seed}")
    what = "maps" if hidden is None else "-".join(map(str, hidden))
    out = Path(args.out or BUILD / f"{args.dataset}-{what}")
    can_write(out / "study.json")
    train, test = load_splits(args)
    if args.images is not None:
        if not 1 <= args.images <= len(test):
            raise UsageError(f"Images must be a number from 1 to {len(test)}, not {args.images}")
        few = slice(args.images)
        test = replace(test, images=test.images[few], labels=test.labels[few])
    with jobs_or_none(args, out / "jobs") as run:
        facts = study(
            train,
            test,
            hidden,
            out,
            seed=args.seed,
            epochs=args.epochs,
            steps=steps,
            run=run,
            progress=args.say,
        )
    text = (
        f"ReLU network: {facts['relu']:.2f} % of {facts['images']:,} test images; accuracy in % "
        f"(events per image):\n\n{study_table(facts)}\n\n"
        f"Same class as the ReLU network, % (mean |rate - activation|, by layer):\n\n"
        f"{agreement_table(facts)}\n\n"
        f"wrote {out}: study.json, accuracy.png, events.png, relu.pt "
        f"({facts['seconds']['training']} s of training, {facts['seconds']['variants']} s)"
    )
    return facts, text, 0


def test_images(network: Network, args: argparse.Namespace) -> Split:
    """The test images that a network's `meta` names."""
    dataset = network.meta.get("dataset")
    if not isinstance(dataset, str):
        raise UsageError(f"Network file {network.spec.name} names no data set")
    spec = network.spec
    return load_split(
        dataset,
        "test",
        spec.input_bits,
        args.data,
        steps=spec.recorded_steps,
        encoding=spec.encoding,
    )


def chosen_models(args: argparse.Namespace) -> Iterator[tuple[str, Network]]:
    """The networks that were named, or all that ship."""
    for name in args.models or sorted(path.stem for path in MODELS.glob("*.npz")):
        yield name, Network.load(model_path(name))


def images_or_none(name: str, network: Network, args: argparse.Namespace) -> Split | None:
    """`test_images`; None, and a word of it, where a network that was not named lacks them."""
    try:
        return test_images(network, args)
    except DataError as error:
        if args.models:
            raise
        args.say(f"{name} is left out: {error}")
        return None


def do_cost(args: argparse.Namespace) -> Result:
    from sw.study.cost import cost_table, study

    out = can_write(Path(args.out or BUILD / "cost.json"))
    networks = {}
    for name, network in chosen_models(args):
        test = images_or_none(name, network, args)
        if test is not None:
            networks[name] = network, test
    with jobs_or_none(args, out.with_name(f"{out.name}.jobs")) as run:
        costs = study(networks, run=run, progress=args.say)
    facts = {"networks": [c.to_dict() for c in costs]}
    write_json(out, facts)
    return facts, f"{cost_table(costs)}\n\nwrote {out}", 0


def do_scale(args: argparse.Namespace) -> Result:
    from gen.program.stage import LANES
    from sw.study.scale import scale_table, study

    out = can_write(Path(args.out or BUILD / "scale.json"))
    lanes = choices(args.lanes, "Lanes")
    if not set(lanes) <= set(LANES):
        raise UsageError(f"Lanes must be of {LANES}, not {args.lanes!r}")
    if args.images < 2:
        raise UsageError(f"Images must be at least 2, not {args.images}")
    if not 0 <= args.rate <= 1:
        raise UsageError(f"Rate must lie from 0 to 1, not {args.rate!r}")
    shipped = {}
    for name, network in chosen_models(args):
        neurons = [layer.neuron for layer in network.spec.layers if layer.neuron is not None]
        if not args.models and any(n.limit > 1 or n.guarded for n in neurons):
            continue  # the study has figures of one spike a step
        test = images_or_none(name, network, args)
        if test is not None:
            shipped[name] = network, test
    with jobs_or_none(args, out.with_name(f"{out.name}.jobs")) as run:
        facts = study(
            shipped,
            lanes=lanes,
            rate=args.rate,
            images=args.images,
            out=out,
            run=run,
            progress=args.say,
        )
    return facts, f"{scale_table(facts)}\n\nwrote {out} ({facts['seconds']} s)", 0


def do_hardware(args: argparse.Namespace) -> Result:
    from sw.study.hardware import hardware_table, study

    out = Path(args.out or BUILD / "hardware")
    can_write(out / "study.json")
    with jobs_or_none(args, out / "jobs") as run:
        facts = study(
            out, lanes=args.lanes, megahertz=args.mhz, seed=args.seed, run=run, progress=args.say
        )
    return facts, f"{hardware_table(facts)}\n\nwrote {out}: study.json ({facts['seconds']} s)", 0


def do_learning(args: argparse.Namespace) -> Result:
    require_plots()
    from sw.study import learning

    seeds = choices(args.seeds, "Seeds")
    if args.passes is not None and args.passes < 1:
        raise UsageError(f"Passes must be a positive number, not {args.passes}")
    out = Path(args.out or BUILD / "learning")
    can_write(out / "runs.json")
    with jobs_or_none(args, out / "jobs") as run:
        runs = learning.study(
            out,
            args.data,
            parts=tuple(dict.fromkeys(args.parts.split(","))),
            seeds=seeds,
            passes=args.passes,
            run=run,
            progress=args.say,
        )
    files = ", ".join(["runs.json", *learning.plot(runs, out)])
    tables = (
        ("Test accuracy, mean and standard deviation over the seeds:", learning.accuracy_table),
        ("Samples that changed anything, and what fires on test images:", learning.activity_table),
        ("Test accuracy by samples, of the first pass and beyond:", learning.samples_table),
        ("Drifted images: accuracy by samples, undrifted in brackets:", learning.drift_table),
        ("Settings, by training images that were held out:", learning.choice_table),
    )
    text = "\n\n".join(f"{what}\n\n{table(runs)}" for what, table in tables)
    return {"runs": runs}, f"{text}\n\nwrote {out}: {files}", 0


def do_reference(args: argparse.Namespace) -> Result:
    from sw.study.spide_training import CONFIGURATIONS, accuracy_table, agreement_table, study

    out = Path(args.out or BUILD / "learning-reference")
    can_write(out / "runs.json")
    names = tuple(dict.fromkeys(args.runs.split(","))) if args.runs else (*CONFIGURATIONS,)
    with jobs_or_none(args, out / "jobs") as run:
        runs = study(out, args.data, args.say, names, run)
    text = "\n\n".join(
        (
            accuracy_table(runs),
            f"After training:\n\n{agreement_table(runs)}",
            f"Before training:\n\n{agreement_table(runs, 'agreement_before')}",
        )
    )
    return {"runs": runs}, f"{text}\n\nwrote {out}: runs.json", 0


def do_bitstreams(args: argparse.Namespace) -> Result:
    from sw.study import bitstreams

    out = Path(args.out or BUILD / "bitstreams")
    names = tuple(dict.fromkeys(args.boards.split(","))) if args.boards else ()
    lock = bitstreams.own_lock(out)
    with jobs_or_none(args, out / "jobs") as run:
        locked = bitstreams.study(
            out, names, args.data, again=args.again, lock=lock, run=run, progress=args.say
        )
    return locked, f"{bitstreams.bitstreams_table(locked)}\n\nin {lock}", 0


def do_cards(args: argparse.Namespace) -> Result:
    from sw.study import cards

    out = can_write(Path(args.out or BUILD / "models.md"))
    facts = cards.study(out, progress=args.say)
    return facts, f"wrote {out}: {len(facts['networks'])} networks", 0


def do_importers(args: argparse.Namespace) -> Result:
    from sw.study.importers import importers_table, study

    out = Path(args.out or BUILD / "importers")
    can_write(out / "importers.json")
    names = tuple(dict.fromkeys(args.frameworks.split(","))) if args.frameworks else ()
    for what, value, least in (("Epochs", args.epochs, 1), ("Images", args.images, 0)):
        if value < least:
            raise UsageError(f"{what} must be at least {least}, not {value}")
    with jobs_or_none(args, out / "jobs") as run:
        facts = study(
            out, names, epochs=args.epochs, images=args.images, run=run, progress=args.say
        )
    text = importers_table(facts)
    for name, missing in facts["not_installed"].items():
        text += f"\n\nnot run: {name}, for want of {' and '.join(missing)}"
    return facts, f"{text}\n\nwrote {out}: importers.json", 0


def do_faults(args: argparse.Namespace) -> Result:
    from gen.board.boards import find_board
    from gen.board.planner import plan_board
    from sw.data.shipped import load_test_images
    from sw.verify.fault_campaign import campaign, campaign_table
    from sw.verify.fault_jobs import campaign_spread

    if args.frames < 1:
        raise UsageError(f"Frames must be a positive number, not {args.frames}")
    board = find_board(args.board)
    network = Network.load(model_path(args.model or board.model))
    plan = plan_board(board, network, lanes=args.lanes)
    out = Path(args.out or BUILD / "faults" / board.name)
    can_write(out / "report.json")
    images = load_test_images(network, str(args.images), folder=args.data).images
    with jobs_or_none(args, out / "jobs") as run:
        if run is None:
            report = campaign(plan, images, out, args.frames, args.seed, args.say)
        else:
            report = campaign_spread(plan, images, out, run, args.frames, args.seed)
    failed = report["wrong_answers"] or report["hangs"] or report["unexpected"]
    return report, f"{campaign_table(report)}\n\nwrote {out}: report.json", int(bool(failed))


def do_spread(args: argparse.Namespace) -> Result:
    from sw.spread.measure import measure, measure_table

    for what, value in (("Pairs", args.pairs), ("Jobs", args.jobs), ("Empty jobs", args.tiny)):
        if value < 1:
            raise UsageError(f"{what} must be a positive number, not {value}")
    out = Path(args.out or BUILD / "spread")
    can_write(out / "spread.json")
    facts = measure(out, pairs=args.pairs, jobs=args.jobs, tiny=args.tiny, progress=args.say)
    return facts, f"{measure_table(facts)}\n\nwrote {out}: spread.json", 0


@contextmanager
def jobs_or_none(args: argparse.Namespace, kept: Path) -> Iterator["Runner | None"]:
    """A runner if --workers or --scheduler ask for one (`spreading`)."""
    if is_spread(args):
        with spreading(args, kept) as run:
            yield run
    else:
        yield None


def add_study_commands(commands: Any) -> None:
    """Add the parsers."""
    studies = commands.add_parser(
        "study", help="the measurements of docs/results.md", description="Measure and tabulate."
    ).add_subparsers(dest="study", required=True, metavar="STUDY")

    def study(name: str, handler: Callable[..., Result], text: str) -> argparse.ArgumentParser:
        sub = studies.add_parser(name, help=text, description=text)
        sub.set_defaults(handler=handler)
        sub.add_argument("--json", action="store_true", help="print the answer as JSON")
        sub.add_argument("--data", metavar="FOLDER", help="where the data sets lie")
        sub.add_argument("--out", metavar="PATH", help=f"default in {BUILD}/")
        return sub

    sub = study(
        "training",
        do_training,
        "binary, ternary and trainable ternary spikes side by "
        "side; goes on where it was broken off",
    )
    for option, default, text in (
        ("--dataset", "mnist,fashion-mnist", "data sets"),
        ("--hidden", "128,512", "hidden neurons, a network for each"),
        ("--steps", "1,2,4,8", "T"),
        ("--seeds", "1,2,3", "of everything random"),
        ("--weight-bits", "8,4,2", "widths of the weights"),
    ):
        sub.add_argument(
            option, default=default, metavar="N,N,..", help=f"{text} (default {default})"
        )
    sub.add_argument("--float-epochs", type=int, default=8, metavar="N", help="default 8")
    sub.add_argument("--integer-epochs", type=int, default=3, metavar="N", help="default 3")
    add_spread_options(sub, "the networks, one each")
    sub.add_argument(
        "--processes", type=int, metavar="N", help="as --workers; 0: one per core (the default)"
    )

    sub = study(
        "conversion",
        do_conversion,
        "one ReLU network as IF, TerMapping and AugMapping: accuracy and events against T; goes on "
        "where it was broken off",
    )
    sub.add_argument("--dataset", default="fashion-mnist", help="default fashion-mnist")
    sub.add_argument("--hidden", metavar="N,N,..", help="neurons of dense layers (default 512)")
    sub.add_argument(
        "--maps",
        action="store_true",
        help="in place of dense layers: convolutions, of coloured images with residual sums",
    )
    sub.add_argument(
        "--steps", type=int, default=64, metavar="T", help="most, a power of two (default 64)"
    )
    sub.add_argument("--images", type=int, metavar="N", help="test images, the first ones (all)")
    sub.add_argument("--epochs", type=int, default=12, help="of training (default 12)")
    sub.add_argument("--seed", type=int, default=1, help="of everything random (default 1)")
    sub.add_argument("--pixel-bits", type=int, default=4, metavar="N", help="1 to 8 (default 4)")
    add_spread_options(sub, "the variants, one each")

    sub = study(
        "importers",
        do_importers,
        "a small network of each framework, trained there, imported, simulated",
    )
    sub.add_argument("--frameworks", metavar="NAME,NAME,..", help="default: all that are installed")
    sub.add_argument("--epochs", type=int, default=30, metavar="N", help="default 30")
    sub.add_argument(
        "--images", type=int, default=20, metavar="N", help="for the hardware (default 20)"
    )
    add_spread_options(sub, "the networks, one each")

    sub = study(
        "cost",
        do_cost,
        "synaptic operations and estimated energy per image, against the "
        "multiply-accumulates of a ReLU network",
    )
    sub.add_argument("models", nargs="*", metavar="MODEL", help="default: all that ship")
    add_spread_options(sub, "the networks, one each")

    sub = study(
        "scale",
        do_scale,
        "cycles, memory and synaptic operations of a program: the "
        "model against the cycle law, and for the papers' large networks",
    )
    sub.add_argument("models", nargs="*", metavar="MODEL", help="default: all that ship")
    sub.add_argument("--lanes", default="16,64", metavar="N,N,..", help="default 16,64")
    sub.add_argument(
        "--rate",
        type=float,
        default=0.15,
        metavar="P",
        help="of the large networks: spikes per neuron and step (default 0.15)",
    )
    sub.add_argument(
        "--images",
        type=int,
        default=60,
        metavar="N",
        help="test images of the shipped networks (default 60)",
    )
    add_spread_options(sub, "the networks, one each")

    sub = study("hardware", do_hardware, "every kind of neuron routed for an ECP5-85k")
    sub.add_argument("--lanes", type=int, default=16, metavar="N", help="default 16")
    sub.add_argument("--mhz", type=float, default=100.0, help="clock to aim at (default 100)")
    sub.add_argument("--seed", type=int, default=1, help="of the placer (default 1)")
    add_spread_options(sub, "the kinds of neurons, one each")

    sub = study(
        "learning",
        do_learning,
        "networks that learn by SPIDE in integers: from noise, and after a drift; goes on where it "
        "was broken off",
    )
    default = "digits,mnist,drift,fashion-mnist,variants,choice"
    sub.add_argument(
        "--parts",
        default=default,
        metavar="PART,..",
        help=f"of the study (default {default}; besides, loss)",
    )
    sub.add_argument("--seeds", default="1,2,3,4,5", metavar="N,N,..", help="default 1,2,3,4,5")
    sub.add_argument(
        "--passes", type=int, metavar="N", help="in place of each data set's, without rate drops"
    )
    add_spread_options(sub, "the networks, one each")

    sub = study(
        "reference",
        do_reference,
        "SPIDE in floating point as its paper has it: accuracy, rates, and how well spikes solve "
        "the backward equation; goes on where it was broken off",
    )
    every = "mnist-f128, fashion-mnist-f400, mnist-f64c3u (default all)"
    sub.add_argument("--runs", metavar="NAME,..", help=every)
    add_spread_options(sub, "the configurations, one each")

    sub = study(
        "faults",
        do_faults,
        "damaged frames by the thousand at the pins of a simulated board, after each of them an "
        "exchange that must be right",
    )
    sub.add_argument("--board", default="ulx3s_85f", help="by name (default ulx3s_85f)")
    sub.add_argument("--model", help="network (default: the board's)")
    sub.add_argument("--lanes", type=int, metavar="N", help="default: the planner's choice")
    sub.add_argument("--frames", type=int, default=1000, metavar="N", help="default 1000")
    sub.add_argument("--images", type=int, default=20, metavar="N", help="asked for (default 20)")
    sub.add_argument("--seed", type=int, default=1, help="of the damages (default 1)")
    add_spread_options(sub, "parts of the frames, each a job on a board of its own")

    sub = study(
        "spread", do_spread, "what jobs cost and two workers bring on this machine, by turns"
    )
    sub.add_argument("--pairs", type=int, default=3, metavar="N", help="of turns (default 3)")
    sub.add_argument("--jobs", type=int, default=12, metavar="N", help="that compute (default 12)")
    sub.add_argument("--tiny", type=int, default=500, metavar="N", help="empty ones (default 500)")

    study("cards", do_cards, "a page with a card for each network that ships, as docs/models.md")

    sub = study(
        "bitstreams",
        do_bitstreams,
        "the boards' default bitstreams: builds those whose inputs have changed, and renews their "
        "lock, of a checkout or in the folder",
    )
    sub.add_argument("--boards", metavar="NAME,..", help="default all")
    sub.add_argument("--again", action="store_true", help="also what has not changed")
    add_spread_options(sub, "the boards, one each")
