"""Commands about a network and its core: `info`, `generate`, `sim`, `golden`, `bench`, `timing`."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.board.boards import BOARDS, find_board
from gen.board.planner import plan_board
from gen.core.describe import constants_text, neuron_text, readout_text
from gen.core.drawing import graph_svg, graph_text
from gen.core.plan import SCHEDULES, CorePlan, PlanError, in_files, plan_network
from hw.contract.files import can_write, write_atomically, write_json
from hw.contract.network import Network
from hw.contract.spec import NetworkSpec
from hw.contract.text import percent, table
from hw.system.progress import Progress, under_way
from sim.bench.job import NETWORK
from sim.golden.answers import GOLDEN, Answers
from sim.golden.model import GoldenModel
from sw.cli.options import (
    BUILD,
    SCHEDULE_HELP,
    Result,
    add_data_option,
    add_image_options,
    add_spread_options,
    is_spread,
    spreading,
)
from sw.cli.report import report_or_none
from sw.cli.tables import bench_table, sim_table, timing_table, told_accuracies
from sw.data.shipped import DEFAULT_MODEL, UsageError, load_test_images, model_path, shipped_models

__all__ = ["add_core_commands"]


def load_plan(args: argparse.Namespace) -> CorePlan:
    """The core that --lanes, --banks and --schedule describe; with --board, the planner's of those,
    if one fits."""
    network = Network.load(model_path(args.model))
    if args.board is None:
        banks = 1 if args.banks is None else args.banks
        return plan_network(network, args.lanes, banks, args.schedule)
    board = find_board(args.board, BUILD / args.board)
    plan = plan_board(board, network, lanes=args.lanes, banks=args.banks, schedule=args.schedule)
    args.say(f"for {plan.board.name}: {plan.core.facts()['layout']}")
    return in_files(plan.core)


def do_models(args: argparse.Namespace) -> Result:
    found = {name: Network.load(path) for name, path in shipped_models().items()}
    facts = {name: {"digest": n.digest, "meta": dict(n.meta)} for name, n in found.items()}
    rows = [(name, _model_line(network)) for name, network in found.items()]
    return facts, table(rows), 0


def _model_line(network: Network) -> str:
    spec = network.spec
    sizes = "-".join(str(n) for n in (spec.input_size, *(layer.neurons for layer in spec.layers)))
    test = network.meta["test"]["integer"]
    weights = sum(layer.weights.size for layer in network.layers)
    return (
        f"{network.meta['dataset']}, {percent(**test)}; {sizes}, T = {spec.steps}, "
        f"{weights:,} weights of {max(layer.weight_bits for layer in spec.layers)} bits"
    )


def do_info(args: argparse.Namespace) -> Result:
    network = Network.load(model_path(args.model))
    spec = network.spec
    facts: dict[str, Any] = {
        "spec": spec.to_dict(),
        "digest": network.digest,
        "meta": dict(network.meta),
        "layers": [
            {
                "name": layer.spec.name,
                "weights": layer.weights.size,
                "accumulator_bits": layer.accumulator_bits,
                "drive_bits": layer.drive_bits,
            }
            for layer in network.layers
        ],
    }
    if args.graph:
        return facts, draw_graph(spec, Path(args.out or BUILD / f"{spec.file_name}.svg")), 0
    rows: list[tuple[str, object]] = [
        ("network", spec.name),
        ("digest", network.digest),
        (
            "input",
            f"{spec.input_size} pixels of {spec.input_bits} bits, "
            + ("others at every step" if spec.timed_input else "constant for T steps"),
        ),
        ("time steps T", spec.steps),
    ]
    if spec.encoding is not None:
        rows.insert(3, ("made of", spec.encoding.text))
    for layer in network.layers:
        n = layer.spec.neuron
        kind = neuron_text(n) if n else readout_text(layer.spec.readout)
        kind += constants_text(layer.spec)
        rows.append(
            (
                f"layer {layer.spec.name}",
                f"{layer.spec.inputs} x {layer.spec.neurons}, {layer.spec.weight_bits}-bit "
                f"weights, {kind}; {layer.weights.size:,} weights, "
                f"accumulator {layer.accumulator_bits} bits, drive {layer.drive_bits} bits",
            )
        )
    plan = None
    try:
        plan = load_plan(args)
    except PlanError as error:
        asked = (args.lanes, args.banks, args.board)
        if args.schedule != "auto" or any(option is not None for option in asked):
            raise
        rows.append(("core", f"none: {error}"))
    if plan is not None:
        facts["stages"] = [stage.facts() for stage in plan.stages]
        facts["memory"] = [found["memory"] for found in facts["stages"] if "memory" in found]
        bits = {layer["name"]: layer["rom_bits"] for s in plan.stages for layer in s.layer_facts()}
        for entry in facts["layers"]:
            if entry["name"] in bits:
                entry["rom_bits"] = bits[entry["name"]]
        for n, stage in enumerate(plan.stages):
            if len(plan.stages) > 1:
                names = ", ".join(spec.layers[k].name for k in stage.layers)
                rows.append((f"stage {n}", f"{names}; {stage.lanes} lanes"))
            rows += stage.rows_for_people()
    rows += told_accuracies(network.meta.get("test"))
    return facts, table(rows), 0


def draw_graph(spec: NetworkSpec, file: Path) -> str:
    """Write the picture; the graph as text."""
    write_atomically(file, graph_svg(spec).encode())
    return f"{graph_text(spec)}\nwrote {file}"


def do_generate(args: argparse.Namespace) -> Result:
    from gen.core.verilog import generate

    plan = load_plan(args)
    out = Path(args.out or BUILD / plan.network.spec.file_name)
    with under_way(args.say, "generating the Verilog"):
        facts = generate(plan, out)
    return facts | {"folder": str(out)}, f"wrote {out}/{facts['top']}.v, sterna_rom.v, rom/", 0


def do_sim(args: argparse.Namespace) -> Result:
    from sim.bench.run import simulate

    plan = load_plan(args)
    if args.images is None:
        args.images = "4" if args.waves else "1000"
    data = load_test_images(plan.network, args.images, dataset=args.dataset, folder=args.data)
    out = Path(args.out or BUILD / "sim" / plan.network.spec.name)
    if is_spread(args):
        if args.waves or args.processes is not None:
            raise UsageError("With --workers or --scheduler there are no --waves or --processes")
        from sw.spread.simulation import simulate_spread

        with spreading(args, out / "parts") as run:
            report = simulate_spread(
                plan, data.images, data.labels, out, run, stall=args.stall, progress=args.say
            )
    else:
        report = simulate(
            plan,
            data.images,
            data.labels,
            out,
            waves=args.waves,
            stall=args.stall,
            processes=args.processes,
            progress=args.say,
        )
    if not args.out:
        write_json(BUILD / "sim" / "report.json", report)  # of the last run
    page = report_or_none(out, args.say)
    failed = bool(report["mismatches"] or report["cycle_law_violations"])
    return report, sim_table(report, f"{data.title}, {data.split}", out, page), int(failed)


def classify(
    model: GoldenModel, images: npt.NDArray[np.uint8], progress: Progress
) -> npt.NDArray[np.int64]:
    """Classes of images, batch by batch as the model takes them."""
    n, classes = len(images), []
    with under_way(progress, f"golden model: {n} images", total=n) as at:
        for start in range(0, n, model.batch):
            classes.append(model.classify(images[start : start + model.batch]))
            at(min(n, start + model.batch))
    return np.concatenate(classes)


def do_golden(args: argparse.Namespace) -> Result:
    network = Network.load(model_path(args.model))
    data = load_test_images(network, args.images, dataset=args.dataset, folder=args.data)
    out = Path(args.out or BUILD / "golden" / network.spec.file_name)
    can_write(out / GOLDEN)
    started = time.perf_counter()
    classes = classify(GoldenModel(network), data.images, args.say)
    seconds = time.perf_counter() - started
    hits = int((classes == data.labels).sum())
    facts = {
        "network": network.spec.name,
        "digest": network.digest,
        "dataset": data.title,
        "images": len(data),
        "hits": hits,
        "accuracy": hits / len(data),
        "images_per_second": round(len(data) / seconds),
    }
    (out / GOLDEN).unlink(missing_ok=True)  # the last to be written
    Answers(data.images, data.labels, classes).save(out)
    network.save(out / NETWORK)
    write_json(out / GOLDEN, facts)
    rate = f"{len(data) / seconds:,.0f} images/s"
    told = f"{network.spec.name}: {percent(hits, len(data))} of {data.title}, {rate}"
    return facts, f"{told}\nto look at: sterna report {out}", 0


def do_bench(args: argparse.Namespace) -> Result:
    from sim.bench.benchmark import benchmark

    plan = load_plan(args)
    data = load_test_images(plan.network, args.images, dataset=args.dataset, folder=args.data)
    report = benchmark(plan, data.images, data.labels, Path(args.out or BUILD / "bench"), args.say)
    return report, bench_table(report), 0


def do_timing(args: argparse.Namespace) -> Result:
    from gen.board.timing import close_timing

    plan = load_plan(args)
    folder = Path(args.out or BUILD / "timing")
    report = close_timing(plan, folder, megahertz=args.mhz, seed=args.seed, progress=args.say)
    return report, timing_table(report), 0 if report["met"] else 1


def add_core_commands(commands: Any) -> None:
    """Add the parsers."""

    text = "the networks that ship"
    sub = commands.add_parser("models", help=text, description=text)
    sub.set_defaults(handler=do_models)
    sub.add_argument("--json", action="store_true", help="print the answer as JSON")

    def command(
        name: str, handler: Callable[..., Result], text: str, *, data: bool, core: bool
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(handler=handler)
        sub.add_argument(
            "model",
            nargs="?",
            default=DEFAULT_MODEL,
            metavar="MODEL",
            help=f"network, by name or path (default {DEFAULT_MODEL})",
        )
        sub.add_argument("--json", action="store_true", help="print the answer as JSON")
        if data:
            add_data_option(sub)
        if core:
            sub.add_argument(
                "--lanes",
                type=int,
                metavar="N",
                help="neurons per cycle (default 128, of a program 16)",
            )
            sub.add_argument(
                "--banks",
                type=int,
                metavar="N",
                help="events per cycle: 1, 2, 4, 8 or 16 (default 1)",
            )
            sub.add_argument(
                "--schedule",
                choices=SCHEDULES,
                default="auto",
                help=f"{SCHEDULE_HELP} (default: what suits the network)",
            )
            sub.set_defaults(board=None)
        return sub

    def board(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--board",
            metavar="BOARD",
            help=f"one of {', '.join(BOARDS)}, a file NAME.toml, or a board of amaranth-boards: "
            "the core that the planner lays out for it, unless lanes, banks and schedule are "
            "given; refused if it does not fit",
        )

    sub = command("info", do_info, "say what a network holds", data=False, core=True)
    sub.add_argument("--graph", action="store_true", help="layers and edges, as text and as SVG")
    sub.add_argument("--out", metavar="FILE", help="picture (default build/NETWORK.svg)")
    board(sub)

    sub = command("generate", do_generate, "write Verilog and ROM files", data=False, core=True)
    sub.add_argument("--out", metavar="FOLDER", help="default build/NETWORK")
    board(sub)

    sub = command(
        "sim",
        do_sim,
        "run images through the Verilog (Verilator) and the golden model, and compare every value",
        data=True,
        core=True,
    )
    add_image_options(sub, None, "how many, or 'all' (default 1000, as many as there are)")
    sub.add_argument("--waves", action="store_true", help="leave an FST (default: 4 images)")
    sub.add_argument(
        "--stall",
        type=float,
        default=0.0,
        metavar="P",
        help="stall the streams with this probability per cycle",
    )
    sub.add_argument("--processes", type=int, help="simulations side by side (default: cores)")
    add_spread_options(sub, "parts of the images, each a job")
    sub.add_argument(
        "--out",
        metavar="FOLDER",
        help="default build/sim/NETWORK; the last run's report.json is copied to build/sim",
    )
    board(sub)

    sub = command(
        "golden", do_golden, "classify images with the golden model", data=True, core=False
    )
    add_image_options(sub, "all", "how many, or 'all' (default)")
    sub.add_argument("--out", metavar="FOLDER", help="default build/golden/NETWORK")

    sub = command("bench", do_bench, "measure the tools' speed", data=True, core=True)
    add_image_options(sub, "1000", "how many through the simulation (default 1000)")
    sub.add_argument("--out", metavar="FOLDER", help="default build/bench")
    board(sub)

    sub = command(
        "timing", do_timing, "synthesise, place and route for an ECP5-85k", data=False, core=True
    )
    sub.add_argument("--mhz", type=float, default=100.0, help="clock to meet (default 100)")
    sub.add_argument("--seed", type=int, default=1, help="of the placer (default 1)")
    sub.add_argument("--out", metavar="FOLDER", help="default build/timing")
