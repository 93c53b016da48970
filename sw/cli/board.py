"""Commands about boards: `plan`, `bitstream`, `flash`, `ask` and the others."""

import argparse
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.board.bitstream import REPORT, SEEDS
from gen.board.boards import BOARDS, Board, find_board
from gen.board.build import NETWORK, build_board, reload_board
from gen.board.files import StoredImages
from gen.board.planner import BoardPlan, place_core, plan_board, plan_learning_board
from gen.core.law import single_run
from gen.core.plan import SCHEDULES, CorePlan, PlanError, plan_network
from gen.core.verilog import read_plan
from hw.contract.checks import SternaError
from hw.contract.files import read_json, write_json
from hw.contract.network import Network
from hw.contract.text import percent, table
from hw.system.process import claimed
from hw.system.progress import under_way
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
from sw.cli.tables import board_table, plan_table
from sw.data.evaluate import flowing_speed
from sw.data.shipped import UsageError, load_test_images, model_path, shipped_models
from sw.host.identity import DESCRIBED, Identity
from sw.spide.start import PRESETS, beginning, stored_samples

__all__ = ["add_board_commands"]

DEFAULT_START = "digits"
LABELLED = "plays labelled images, which it learns from, and no test images"
STORED = "let it learn from those that --samples put on its chip (sterna learn --on URL --stored)"
EXAMPLES = 16
"""Images in the test bench of an IP package."""


def the_board(args: argparse.Namespace) -> Board:
    """The board that was asked for; one that is described, but whose file is not named, is looked
    for where it was built."""
    out = getattr(args, "out", None)
    return find_board(args.board, *([Path(out)] if out else []), BUILD / args.board)


def load_network(args: argparse.Namespace) -> Network:
    """The network that was asked for, or the board's own."""
    return Network.load(model_path(args.model or the_board(args).model))


def board_plan(args: argparse.Namespace) -> tuple[BoardPlan, StoredImages | None]:
    """The plan that the options describe; what they leave open is the planner's to choose. With
    it, of a core that learns, the labelled images that go onto the chip."""
    board = the_board(args)
    if args.learn:
        if args.banks not in (None, 1) or args.schedule != "auto":
            raise UsageError("A core that learns has one bank and one schedule")
        if args.test_images:
            raise UsageError(f"A core that learns {LABELLED}: give --samples, not --test-images")
        masters = beginning(
            args.model or DEFAULT_START, seed=args.start, readout_only=args.readout_only
        )
        held = None if args.samples is None else stored_samples(masters, args.samples, args.data)
        plan = plan_learning_board(
            board,
            masters,
            lanes=args.lanes,
            megahertz=args.mhz,
            samples=0 if held is None else len(held[1]),
        )
        return plan, held
    if args.samples is not None or args.readout_only:
        raise UsageError(
            "Only a core that learns has images to learn from, or a readout that does: give --learn"
        )
    plan = plan_board(
        board,
        load_network(args),
        lanes=args.lanes,
        banks=args.banks,
        megahertz=args.mhz,
        schedule=args.schedule,
        test_images=args.test_images,
    )
    return plan, None


def board_folder(args: argparse.Namespace) -> Path:
    """Where a board's design and bitstream lie."""
    return Path(args.out or BUILD / the_board(args).name)


def do_boards(args: argparse.Namespace) -> Result:
    from sw.study.bitstreams import read_lock

    locked, facts, rows = read_lock(), {}, []
    for name, board in BOARDS.items():
        facts[name] = {"title": board.title, "chip": board.part, "model": board.model}
        line = f"{board.title}, {board.part}; by default {board.model}"
        if name in locked:
            routed = locked[name]["routed"]
            facts[name]["routed"] = routed
            line += f", {routed['layout']}, {routed['fmax_mhz']:.2f} MHz after routing"
        rows.append((name, line))
    rows.append(("NAME.toml", "any other, by a file or from amaranth-boards: docs/add-a-board.md"))
    return facts, table(rows), 0


def do_plan(args: argparse.Namespace) -> Result:
    plan, _ = board_plan(args)
    return plan.to_dict(), plan_table(plan.to_dict()), 0


def do_bitstream(args: argparse.Namespace) -> Result:
    plan, stored = board_plan(args)
    args.say(plan_table(plan.to_dict()))
    folder = board_folder(args)
    if args.test_images:
        stored = test_images(plan, args)
    options = {"seed": args.seed, "seeds": args.seeds, "stored": stored, "progress": args.say}
    if is_spread(args):
        with spreading(args, folder / "seeds") as run:
            report = build_board(plan, folder, run=run, **options)
    else:
        report = build_board(plan, folder, **options)
    speed = {} if args.learn else flowing_speed(plan.core, plan.spec.clock_hz, args.data)
    if speed:
        report |= speed
        write_json(folder / REPORT, report)  # with what only the command knows
    return report, board_table(report), 0


def test_images(plan: BoardPlan, args: argparse.Namespace) -> npt.NDArray[np.uint8]:
    """The images that are put on the chip: (n, input_size)."""
    return load_test_images(plan.core.network, str(args.test_images), folder=args.data).images


def do_reload(args: argparse.Namespace) -> Result:
    network = load_network(args)
    report = reload_board(network, board_folder(args), progress=args.say)
    return report, board_table(report), 0


def do_flash(args: argparse.Namespace) -> Result:
    from gen.board.flash import flash_built

    board = the_board(args)
    report = flash_built(board, board_folder(args), permanent=args.keep, progress=args.say)
    facts = {name: report[name] for name in ("board", "bitstream", "network")}
    return facts, f"{report['network']} is on the {board.title}", 0


def do_ip(args: argparse.Namespace) -> Result:
    from gen.ip.package import package_ip

    network = Network.load(model_path(args.model))
    plan = plan_network(network, args.lanes, args.banks, args.schedule)
    spec = plan.network.spec
    out = Path(args.out or BUILD / "ip" / spec.file_name)
    if args.check:
        from sw.verify.package_check import check_package, work_folder

        work_folder(out)  # before anything is written
    shape = (EXAMPLES, spec.image_size)
    pixels = np.random.default_rng(1).integers(0, spec.pixel_max + 1, shape).astype(np.uint8)
    examples = pixels, GoldenModel(plan.network).run(pixels).logits
    with claimed(out):
        with under_way(args.say, "generating the package"):
            facts = package_ip(plan, out, examples=examples)
        text = f"wrote {out}: top {facts['top']}, FuseSoC core, test bench; see {out}/README.md"
        if args.check:
            facts["checked"] = check_package(out, facts["axi"]["vlnv"], progress=args.say)
            text += "".join(f"\n{target}: {told}" for target, told in facts["checked"].items())
    return facts | {"folder": str(out)}, text, 0


def do_verify(args: argparse.Namespace) -> Result:
    from sw.verify.bitstream import verify_bitstream

    out = Path(args.out or BUILD / "verify")
    report = verify_bitstream(the_board(args), out, images=args.count, progress=args.say)
    rows = [
        (
            step["what"],
            f"{step['images']} images, {step['compared']} values, {step['mismatches']} mismatches",
        )
        for step in report["steps"]
    ]
    return report, table(rows), int(any(step["mismatches"] for step in report["steps"]))


def as_built(args: argparse.Namespace) -> BoardPlan | None:
    """The board that was built in build/BOARD, if it has test images: as many are asked for then.

    Raises `UsageError` for a core that learns, `PlanError` for what another Sterna built.
    """
    board = the_board(args)
    folder = BUILD / board.name
    try:
        facts = read_json(folder / "board.json", {"clock_hz": int, "test_images": ([int], None)})
        images, _ = facts["test_images"] or (0, 0)
    except (OSError, ValueError):
        return None
    if facts.get("schedule") == "learning":
        raise UsageError(
            f"The core in {folder} {LABELLED}: {STORED}, or name the MODEL of another self-test"
        )
    if not images:
        return None
    args.test_images = images
    core = read_plan(Network.load(folder / NETWORK), folder)
    name = core.network.spec.name
    args.say(f"as {folder} was built: {name}, {args.test_images} images on the chip")
    return place_core(board, core, facts["clock_hz"], args.test_images)


def do_self_test(args: argparse.Namespace) -> Result:
    from sw.verify.self_test import self_test

    if args.learn:
        raise UsageError(f"A core that learns {LABELLED}: {STORED}")
    given = (args.model, args.lanes, args.banks, args.mhz)
    built = None
    if args.schedule == "auto" and all(option is None for option in given):
        built = as_built(args)
    plan = built or board_plan(args)[0]
    images = test_images(plan, args)
    core = plan.core
    name = f"{plan.board.name}-{core.network.spec.file_name}-{core.lanes}x{core.banks}-self-test"
    facts = self_test(plan, images, BUILD / "boards" / name, port=args.port, progress=args.say)
    verdict = "equal to golden model and cycle law" if facts["equal"] else "DIFFERENT"
    rows = [
        (
            "board",
            f"{facts['board']}, {facts['lanes']} lanes, {facts['banks']} bank(s), "
            f"{facts['clock_hz'] / 1e6:g} MHz{'' if args.port else ', simulated'}",
        ),
        ("network", f"{facts['network']}, digest {facts['digest'][:16]}"),
        ("images", f"{facts['images']:,} ({facts['distinct_images']} different ones)"),
        ("sums, cycles", verdict),
        (
            "cycles",
            f"{facts['cycles']:,}, of the law {facts['expected_cycles']:,}; "
            f"{facts['cycles_per_image']} an image",
        ),
        ("speed", f"{facts['images_per_second']:,} images/s at that clock"),
    ]
    return facts, table(rows), int(not facts["equal"])


def board_network(url: str, model: str | None, digest: str) -> Network:
    """The network that a board says it has: the one that is named, or, of those that ship, were
    built here or are named in the address, the one of this digest.

    Raises
    ------
    SternaError
        When it is another one, or none is known.
    """
    if model is not None:
        network = Network.load(model_path(model))
        if network.digest != digest:
            raise SternaError(
                f"Board {url} has the network {digest[:16]}, not {network.digest[:16]} of {model}"
            )
        return network
    named = [path for path in map(Path, re.split("[:?=&]", url)) if path.is_file()]
    for path in (*shipped_models().values(), *named, *BUILD.glob(f"*/{NETWORK}")):
        network = Network.load(path)
        if network.digest == digest:
            return network
    raise SternaError(
        f"Board {url} has the network {digest[:16]}, which neither ships nor was built here: name "
        "its file"
    )


def built_plan(identity: Identity, network: Network, url: str) -> CorePlan | None:
    """The plan with which the board at an address was built, where it was built here, or named in
    the address: what it counts is known then."""
    folders = [Path(part) for part in re.split("[?=&]", url)[1:]]
    for path in (*BUILD.glob("*/board.json"), *BUILD.glob("boards/*/board.json")):
        with suppress(OSError, ValueError):  # a board that is being written
            facts = read_json(path, {"board": str})
            described = identity.board == DESCRIBED and "description" in facts
            if described or facts["board"] == identity.board:
                folders.append(path.parent)
    for folder in folders:
        try:
            plan = read_plan(network, folder)
        except PlanError:
            continue  # another network's, or of another Sterna
        if (plan.lanes, plan.banks) == (identity.lanes, identity.banks):
            return plan
    return None


def do_ask(args: argparse.Namespace) -> Result:
    from sw.host import open_board

    with open_board(args.url, retries=args.retries, progress=args.say) as board:
        identity = board.wait_ready()
        network = board_network(args.url, args.model, identity.digest)
        data = load_test_images(network, args.images, dataset=args.dataset, folder=args.data)
        total = len(data)
        with under_way(args.say, f"asking the board: {total} images", total=total) as at:
            classes = board.classify(data.images, lambda n, of: at(n, f"{n} of {of}"))
        counters = board.counters()
    model = GoldenModel(network)
    golden = model.classify(data.images)
    hits, wrong = int((classes == data.labels).sum()), int((classes != golden).sum())
    plan, told = built_plan(identity, network, args.url), "not known: it was not built here"
    if plan is not None:
        last = data.images[-1]
        spikes = [part[0] for part in model.run(last[None]).spikes]
        law = single_run(plan, last, spikes)
        told = "as many"
        if law != (counters.cycles, counters.events):
            told, wrong = f"DIFFERENT: {law[0]} cycles, {law[1]} events", wrong + 1
    rows = [
        (
            "board",
            f"{identity.board}, {identity.lanes} lanes, {identity.banks} bank(s), "
            f"{identity.clock_hz / 1e6:g} MHz",
        ),
        ("network", f"{network.spec.name}, digest {identity.digest[:16]}"),
        ("accuracy", percent(hits, len(data))),
        ("other class than the golden model", wrong),
        ("last image", f"{counters.cycles} cycles, {counters.events} events"),
        ("by the plan it was built with", told),
    ]
    facts = {"url": args.url, "images": len(data), "hits": hits, "mismatches": wrong}
    return facts, table(rows), int(wrong > 0)


def add_board_commands(commands: Any) -> None:
    """Add the parsers."""

    def command(
        name: str, handler: Callable[..., Result], text: str, *, hidden: bool = False
    ) -> argparse.ArgumentParser:
        listed = {} if hidden else {"help": text}  # argparse lists what has a help
        sub = commands.add_parser(name, description=text, **listed)
        sub.set_defaults(handler=handler)
        sub.add_argument("--json", action="store_true", help="print the answer as JSON")
        return sub

    def board(sub: argparse.ArgumentParser, default: str | None = None) -> None:
        sub.add_argument(
            "--board",
            required=default is None,
            default=default,
            metavar="BOARD",
            help=f"one of {', '.join(BOARDS)}, a file NAME.toml (docs/add-a-board.md), or a board "
            f"of amaranth-boards{f' (default {default})' if default else ''}",
        )

    def layout(sub: argparse.ArgumentParser, test_images: int = 0) -> None:
        sub.add_argument("model", nargs="?", metavar="MODEL", help="default: the board's own")
        sub.add_argument("--lanes", type=int, metavar="N", help="default: the planner's choice")
        sub.add_argument("--banks", type=int, metavar="N", help="default: the planner's choice")
        sub.add_argument(
            "--schedule",
            choices=SCHEDULES,
            default="auto",
            help=f"{SCHEDULE_HELP} (default: the planner's choice)",
        )
        sub.add_argument(
            "--learn",
            action="store_true",
            help=f"a core that learns: MODEL is one of {', '.join(PRESETS)}, to start from noise "
            f"(default {DEFAULT_START}), or a network with learning and its masters beside it",
        )
        sub.add_argument(
            "--samples",
            metavar="N",
            help="with --learn: put so many training images on the chip, or 'all' (default none)",
        )
        sub.add_argument(
            "--readout-only", action="store_true", help="with --learn: only the readout learns"
        )
        sub.add_argument(
            "--start", type=int, default=1, metavar="N", help="with --learn: seed of the noise"
        )
        add_data_option(sub)
        sub.add_argument("--mhz", type=float, help="clock of the core (default: the board's)")
        sub.add_argument(
            "--test-images",
            type=int,
            default=test_images,
            metavar="N",
            help="put so many test images on the chip, to be played at full "
            f"speed (default {test_images})",
        )

    command("boards", do_boards, "the boards that bitstreams are made for")

    sub = command("plan", do_plan, "say how a network would be laid out for a board")
    board(sub)
    layout(sub)

    sub = command("bitstream", do_bitstream, "build a board's bitstream")
    board(sub)
    layout(sub)
    sub.add_argument("--seed", type=int, default=1, help="of the placer (default 1)")
    sub.add_argument(
        "--seeds",
        type=int,
        default=SEEDS,
        help=f"how many to try, until one meets the clock (default {SEEDS}); with --workers or "
        "--scheduler all of them, of which the fastest is kept",
    )
    add_spread_options(sub, "the seeds, one each")
    sub.add_argument("--out", metavar="FOLDER", help="default build/BOARD")

    sub = command(
        "self-test",
        do_self_test,
        "let a board play images that are on the chip: full speed, every logit counted",
    )
    board(sub)
    layout(sub, test_images=64)
    sub.add_argument(
        "--port",
        metavar="PORT",
        help="of a real board, built with the same options (default: simulate it)",
    )

    sub = command("reload", do_reload, "put another network of the same shape into a bitstream")
    board(sub)
    sub.add_argument("model", metavar="MODEL", help="network, by name or path")
    sub.add_argument("--out", metavar="FOLDER", help="of the bitstream (default build/BOARD)")

    sub = command("flash", do_flash, "program a board through openFPGALoader")
    board(sub)
    sub.add_argument("--keep", action="store_true", help="into its flash, to stay after power-off")
    sub.add_argument("--out", metavar="FOLDER", help="of the bitstream (default build/BOARD)")

    sub = command("ip", do_ip, "package the core for other designs: AXI4-Stream, FuseSoC")
    sub.add_argument(
        "model",
        nargs="?",
        default="digits-dense",
        metavar="MODEL",
        help="network, by name or path (default digits-dense)",
    )
    sub.add_argument(
        "--lanes",
        type=int,
        metavar="N",
        help="neurons per cycle (default 128; of a program or windows, 16)",
    )
    sub.add_argument(
        "--banks",
        type=int,
        default=1,
        metavar="N",
        help="events per cycle: 1, 2, 4, 8 or 16 (default 1)",
    )
    sub.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="auto",
        help="as of `sterna generate` (default: by the kind of network)",
    )
    sub.add_argument("--out", metavar="FOLDER", help="default build/ip/NETWORK")
    sub.add_argument(
        "--check",
        action="store_true",
        help="let FuseSoC lint and simulate it, with Sterna's Verilator",
    )

    for name in ("verify-bitstream", "prove-bitstream"):  # the latter: as it was once called
        sub = command(
            name,
            do_verify,
            "simulate netlist and unpacked bitstream against the golden model",
            hidden=name == "prove-bitstream",
        )
        board(sub, "icebreaker")
        sub.add_argument(
            "--images",
            dest="count",
            type=int,
            default=20,
            metavar="N",
            help="test images of each design (default 20)",
        )
        sub.add_argument("--out", metavar="FOLDER", help="default build/verify")

    sub = command(
        "ask", do_ask, "classify test images on a board, a simulated board or the golden model"
    )
    sub.add_argument("url", metavar="URL", help="serial:/dev/ttyUSB0, sim:BOARD, golden:MODEL")
    sub.add_argument("model", nargs="?", metavar="MODEL", help="default: what the board has")
    add_data_option(sub)
    sub.add_argument("--retries", type=int, default=0, help="of a damaged exchange (default 0)")
    add_image_options(sub, "20", "how many, or 'all' (default 20)")
