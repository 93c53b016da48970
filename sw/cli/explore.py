"""The command that looks for networks and layouts on a board: `sterna explore`."""

import argparse
from pathlib import Path
from typing import Any

from gen.core.plan import SCHEDULES
from hw.contract.files import can_write, write_atomically
from hw.contract.network import Network
from hw.contract.text import none_of, table
from sw.cli.options import BUILD, Result, drawn, numbers
from sw.data.shipped import UsageError, model_path

__all__ = ["add_explore_command"]


def do_explore(args: argparse.Namespace) -> Result:
    from sw.explore.search import Search, explore
    from sw.explore.space import figures_of, layer_words, shapes

    if (args.network is None) == (args.data is None and args.dataset is None):
        raise UsageError("Give --network, or --data (--dataset) with --hidden: one of both")
    if args.build < 0:
        raise UsageError(f"Points to build must be a number of at least 0, not {args.build}")
    out = Path(args.out or BUILD / "explore" / Path(args.board).stem)
    can_write(out / "explore.json")
    fields: dict[str, Any] = {}
    if args.network is not None:
        fields["network"] = Network.load(model_path(args.network))
    else:
        from sw.data.dataset import load_dataset

        fields["data"] = load_dataset(str(args.data or args.dataset))
        if args.layers is not None and args.hidden is not None:
            raise UsageError("A network must have --layers or --hidden, not both")
        hidden = (args.hidden or "32,64,128").split(",")
        fields["shapes"] = shapes(
            [numbers(one.replace("-", ","), "Hidden layers") for one in hidden]
            if args.layers is None
            else layer_words(args.layers),
            numbers(args.weight_bits, "Weight widths"),
            numbers(args.steps, "Time steps"),
            numbers(args.limits, "Limits"),
        )
    search = Search(
        board=args.board,
        out=out,
        epochs=args.epochs,
        seed=args.seed,
        images=args.images,
        schedules=chosen_schedules(args.schedules),
        figures=figures_of(args.figures),
        build=args.build,
        workers=args.workers,
        scheduler=args.scheduler,
        **fields,
    )
    facts = explore(search, args.say)
    from sw.explore.picture import draw, front_table

    text = front_table(facts)
    write_atomically(out / "front.md", f"{text}\n".encode())
    image = out / "front.png"
    picture = drawn(lambda: draw(facts, image), image)
    rows = [
        ("board", facts["board"]),
        ("looked at", f"{facts['planned']:,} layouts of {facts['networks']} networks"),
        ("front", f"{len(facts['front'])} points"),
        ("picture", picture),
        ("wrote", f"{out / 'explore.json'}, {out / 'front.md'}, {out / 'networks'}"),
    ]
    return facts, f"{table(rows)}\n\n{text}", 0


def chosen_schedules(text: str) -> tuple[str, ...]:
    """Of `gen.core.plan.SCHEDULES`, those that are named, joined by commas."""
    named = tuple(dict.fromkeys(text.split(",")))
    for name in named:
        if name not in SCHEDULES[1:]:
            raise UsageError(none_of("Schedule", name, SCHEDULES[1:]))
    return named


def add_explore_command(commands: Any) -> None:
    """Add the parser."""
    text = "look for networks and layouts on a board: accuracy, images a second, size"
    more = "; goes on where it was broken off"
    sub = commands.add_parser("explore", help=text, description=text + more)
    sub.set_defaults(handler=do_explore)
    sub.add_argument("--board", required=True, metavar="BOARD", help="name, or a file NAME.toml")
    sub.add_argument("--network", metavar="MODEL", help="layouts of one network as it is")
    sub.add_argument("--data", metavar="PATH", help="networks for your own data")
    sub.add_argument("--dataset", help="networks for a published data set")
    sub.add_argument(
        "--hidden",
        metavar="N,N-N,..",
        help="hidden layers to try, neurons of several joined by - (default 32,64,128)",
    )
    sub.add_argument(
        "--layers",
        metavar="WORD-WORD,..",
        help="the same with maps: conv:CHANNELS[:KERNEL[:STRIDE]] (3, 1), pool[:SIDE] (2), or the "
        "neurons of a dense layer, as conv:8:5:2-conv:16:3:2-32; the readout comes behind",
    )
    sub.add_argument(
        "--schedules",
        default=",".join(SCHEDULES[1:]),
        metavar="NAME,..",
        help=f"kinds of layouts that are planned (default {','.join(SCHEDULES[1:])})",
    )
    sub.add_argument(
        "--figures",
        default="accuracy,speed,luts,brams",
        metavar="NAME,..",
        help="what points are compared by; also: energy (default accuracy,speed,luts,brams)",
    )
    sub.add_argument("--weight-bits", default="2,4,8", metavar="B,..", help="default 2,4,8")
    sub.add_argument("--steps", default="1,2,4", metavar="T,..", help="default 1,2,4")
    sub.add_argument(
        "--limits", default="1", metavar="L,..", help="most spikes sent at once (default 1)"
    )
    sub.add_argument("--epochs", type=int, help="of each training phase (default: by the data)")
    sub.add_argument(
        "--images", type=int, metavar="N", help="training examples, evenly spread (default: all)"
    )
    sub.add_argument("--seed", type=int, default=1, help="of training and routing (default 1)")
    sub.add_argument(
        "--build", type=int, default=0, metavar="N", help="points of the front to route (default 0)"
    )
    sub.add_argument("--workers", type=int, metavar="N", help="processes (default: cores)")
    sub.add_argument("--scheduler", metavar="URL", help="of a Dask cluster, tcp://..., in place")
    sub.add_argument("--out", metavar="FOLDER", help="default build/explore/BOARD")
    sub.add_argument("--json", action="store_true", help="print the answer as JSON")
