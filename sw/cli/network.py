"""Commands that make networks: `train`, `export`, `convert`, `check` and `import`; `export-nir`."""

import argparse
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen.core.plan import SCHEDULES, PlanError, plan_network
from hw.contract.checks import SpecError, require_name
from hw.contract.files import can_write, write_atomically
from hw.contract.network import Network
from hw.contract.neuron import MAX_LIMIT
from sw.cli.options import BUILD, Result, add_data_option, drawn, numbers
from sw.data.arrays import Dataset, Spikes
from sw.data.dataset import chosen
from sw.data.published import FILELESS, NAMES, RECORDINGS
from sw.data.shipped import DEFAULT_MODEL, UsageError, model_path
from sw.data.split import Split

if TYPE_CHECKING:
    from sw.data.dataset import Source
    from sw.frameworks.proof import ImportReport
    from sw.learn.recipes import Recipe
    from sw.reading.conventions import Conventions

__all__ = ["add_network_commands", "load_splits"]


FRAMEWORKS = "nir, onnx, snntorch, brevitas, spikingjelly"
"""Importers by name (`sw.frameworks.registry`, which takes long to load)."""

FED = "; it is fed pixels / largest pixel, 0 to 1, unless --mean and --std say otherwise"


def load_splits(args: argparse.Namespace) -> tuple[Split, Split]:
    """Training and test images of --dataset, or of --data itself, --pixel-bits wide."""
    if args.dataset in RECORDINGS:
        raise UsageError(f"Data set {args.dataset} holds recordings, which only recipes train on")
    data = chosen(args.dataset, args.data)
    if isinstance(data, Spikes):
        raise UsageError(f"Data set {data.name} has spike trains, on which networks are imported")
    return data.split("train", args.pixel_bits), data.split("test", args.pixel_bits)


def steps_of(args: argparse.Namespace, data: Dataset | None = None) -> int:
    """Of --steps; by default those of the recordings, where they have their own, or 4."""
    if args.steps is not None:
        return args.steps
    if isinstance(data, Spikes):
        return data.steps or 4
    encoding = None if data is None else data.encoding
    return encoding.steps if encoding is not None and encoding.timed else 4


def compared_on(args: argparse.Namespace) -> tuple[Dataset, int]:
    """The data set of --dataset or --data that an import is compared on, and its time steps."""
    data = chosen(args.dataset, args.data)
    if isinstance(data, Spikes):
        data.at(args.dt if args.frame is None else args.frame)
    elif args.frame is not None:
        raise UsageError(f"Frames (--frame) are of spike trains, and {data.name} has none")
    return data, steps_of(args, data)


def recipe_name(name: str) -> str:
    """`mnist-dense` from itself or from `my/mnist-dense.npz`."""
    return Path(name).stem if name.endswith(".npz") else name


def network_file(args: argparse.Namespace) -> tuple[str, Path]:
    """Name and file of the network that NETWORK becomes."""
    name = args.name or Path(args.network).stem
    try:
        require_name("Network name", name, "-")
    except SpecError as error:
        raise UsageError(f"{error}: give --name") from None
    return name, can_write(Path(args.out or BUILD / "models" / f"{name}.npz"))


def recipe_and_data(args: argparse.Namespace) -> "tuple[Recipe, Source]":
    """What `sterna train` follows, and on what: a recipe, by name or as a file, on the data set
    that it names, or on the user's own (a file; with --hidden or a recipe file, a folder too); or,
    without one, dense layers."""
    from sw.front.recipes import recipe_for
    from sw.learn.recipes import RECIPES

    hidden = None if args.hidden is None else numbers(args.hidden, "Hidden neurons")
    recipe, given = args.model, args.data is not None
    names_own = (recipe or "").endswith(".toml")
    shipped = RECIPES.get(recipe_name(recipe or ""))
    taken = Path(args.data).is_file() if given else False
    taken = taken or names_own or recipe is None or (shipped and shipped.dataset in FILELESS)
    own = hidden is not None or (given and taken)
    data = chosen(args.dataset, args.data) if args.dataset or own else None
    if recipe is None and hidden is None and data is None:
        recipe = DEFAULT_MODEL
    made = recipe_for(
        data,
        hidden=hidden,
        recipe=recipe and recipe_name(recipe),
        name=args.name,
        steps=args.steps,
        weight_bits=args.weight_bits,
        pixel_bits=args.pixel_bits,
    )
    return made, args.data if data is None else data


def do_train(args: argparse.Namespace) -> Result:
    from sw.learn.train import train

    recipe, source = recipe_and_data(args)
    out = can_write(Path(args.out or BUILD / "train" / f"{recipe.name}.pt"))
    if recipe.encoding is not None:
        told = source.told if isinstance(source, Dataset) else ""
        args.say(f"{recipe.dataset}: {recipe.encoding.text}{told and f'; {told}'}")
    run = can_write(out.with_name(f"{out.stem}.run"))
    checkpoint = train(
        recipe,
        source,
        seed=args.seed,
        float_epochs=args.epochs,
        integer_epochs=args.epochs,
        compiled=args.compiled,
        threads=args.threads,
        run=run,
        progress=args.say,
    )
    checkpoint.save(out)
    run.unlink(missing_ok=True)
    facts = {
        "recipe": recipe.name,
        "seed": args.seed,
        "checkpoint": str(out),
        "trained": dict(checkpoint.trained),
    }
    own = f" --data {args.data}" if args.data else ""
    return facts, f"wrote {out}; next: sterna export {recipe.name}{own}", 0


def do_export(args: argparse.Namespace) -> Result:
    from gen.core.verilog import rom_texts
    from sw.learn.checkpoint import Checkpoint
    from sw.learn.export import export, report_table

    name = recipe_name(args.model)
    out, roms = Path(args.out or BUILD / "models" / f"{name}.npz"), Path(args.roms or BUILD / name)
    checkpoint = Checkpoint.load(args.checkpoint or BUILD / "train" / f"{name}.pt")
    for path in (out, roms / "rom" / "digest.hex"):
        can_write(path)
    network, report = export(checkpoint, args.data, args.say)
    files: dict[str, str] = {}
    roms_text = f"ROM files in {roms / 'rom'}"
    try:
        files = rom_texts(plan_network(network, args.lanes, args.banks, args.schedule))
    except PlanError as error:
        roms_text = f"no ROM files: {error}"
    network.save(out)
    for file, text in files.items():
        write_atomically(roms / file, text.encode())
    where = str(roms / "rom") if files else None
    facts = {
        "image": str(out),
        "roms": where,
        "digest": network.digest,
        "meta": dict(network.meta),
        "decay": dict(report.decay),
    }
    text = f"{report_table(report)}\nwrote {out} and {roms_text}"
    return facts, text, 0


def next_step(args: argparse.Namespace, out: Path) -> str:
    """What to do with a network that was made."""
    own = [] if args.dataset else ["--data", str(args.data)]
    return f"next: {shlex.join(['sterna', 'sim', str(out), *own])}"


def do_convert(args: argparse.Namespace) -> Result:
    from sw.frameworks.registry import load_relu
    from sw.importers.conversion import Conversion
    from sw.importers.convert_report import convert_and_compare, report_table

    name, out = network_file(args)
    most = MAX_LIMIT if args.mode == "augmapping" else 1
    limit = most if args.limit is None else args.limit
    conversion = Conversion(
        mode=args.mode,
        steps=steps_of(args),
        limit=limit,
        divisor=args.divisor,
        percentile=args.percentile,
        half=args.start == "half",
        weight_bits=args.weight_bits,
    )
    if args.tune < 0:
        raise UsageError(f"Epochs of --tune must be a number of at least 0, not {args.tune}")
    module = load_relu(Path(args.network))
    network, report = convert_and_compare(
        module,
        *load_splits(args),
        conversion,
        name=name,
        epochs=args.tune,
        mean=args.mean,
        std=args.std,
        progress=args.say,
    )
    network.save(out)
    facts = {"image": str(out), "digest": network.digest, **report.to_dict()}
    text = f"{report_table(network, conversion, report)}\nwrote {out}; {next_step(args, out)}"
    return facts, text, 0


def weight_width(text: str) -> int | None:
    """Of --weight-bits; None: `auto`."""
    if text == "auto":
        return None
    if not text.isdecimal():
        raise UsageError(f"Weight width must be a number of bits, or auto, not {text!r}")
    return int(text)


def conventions_of(args: argparse.Namespace, data: Dataset | None) -> "Conventions | None":
    """--dt, --fires-at, --reset, --limit and --readout; None: none of them is given. Where spike
    trains are counted, --dt is theirs, too, and theirs alone where a network says its own."""
    from sw.frameworks.registry import importer_for
    from sw.reading.conventions import Conventions

    names = ("dt", "fires_at", "reset", "limit", "readout")
    given = {name: getattr(args, name) for name in names}
    counts = isinstance(data, Spikes) and args.framework != "relu"
    if counts and not importer_for(Path(args.network), args.framework).has_conventions:
        del given["dt"]
    given = {name: value for name, value in given.items() if value is not None}
    return Conventions(**given) if given else None


def input_shape(args: argparse.Namespace) -> tuple[int, ...] | None:
    """Of --shape."""
    if args.shape is None:
        return None
    shape = numbers(args.shape, "Sides of an input")
    if len(shape) > 3:
        raise UsageError(f"Shape of an input must be N, C,L or C,H,W, not {args.shape}")
    return shape


def do_import(args: argparse.Namespace) -> Result:
    from sw.frameworks.importing import import_foreign
    from sw.frameworks.proof import report_table
    from sw.frameworks.registry import open_network
    from sw.learn.compare import by_layer

    name, out = network_file(args)
    width, shape = weight_width(args.weight_bits), input_shape(args)
    data, steps = compared_on(args)
    foreign = open_network(Path(args.network), args.framework, conventions_of(args, data))
    test = data.split("test", args.pixel_bits, steps=steps)
    network, report = import_foreign(
        foreign,
        test,
        name=name,
        steps=steps,
        weight_bits=width,
        exact_decay=args.exact_decay,
        by_channel=args.per_channel,
        fine_biases=args.fine_biases,
        shape=shape,
        mean=args.mean,
        std=args.std,
        progress=args.say,
    )
    accuracies = {
        "original": report.float_accuracy.to_dict(),
        "integer": report.integer_accuracy.to_dict(),
    }
    more = {"test": accuracies, "by_layer": by_layer(network, report.unlike_float)}
    network = replace(network, meta={**network.meta, **more})
    network.save(out)
    image = out.with_suffix(".png")
    picture = drawn(lambda: draw_agreement(report, image), image)
    facts = {"image": str(out), "digest": network.digest, **report.to_dict()}
    told = f"wrote {out}; picture {picture}; {next_step(args, out)}"
    return facts, f"{report_table(network, report)}\n{told}", 0


def draw_agreement(report: "ImportReport", path: Path) -> None:
    """How alike spikes and potentials are, as a picture."""
    from sw.report.figures import agreement
    from sw.study.plots import write_png

    pairs = zip(report.before, report.after, strict=True)
    spikes = [(was.layer, was.jaccard, now.jaccard) for was, now in pairs]
    both = zip(report.membranes_before[:-1], report.membranes_after[:-1], strict=True)
    write_png(path, agreement(spikes, [(a.layer, a.mean, b.mean) for a, b in both if b.compared]))


def do_check(args: argparse.Namespace) -> Result:
    from sw.frameworks.check import check, checked_table, open_any

    width, data, steps, whole = weight_width(args.weight_bits), None, steps_of(args), None
    if args.dataset is not None or args.data is not None:
        whole, steps = compared_on(args)
    elif args.frame is not None or args.mean or args.std:
        raise UsageError(
            "Frames and what inputs are normalised by (--frame, --mean, --std) need data: give "
            "--dataset or --data"
        )
    foreign = open_any(Path(args.network), args.framework, conventions_of(args, whole))
    if whole is not None:
        data = whole.split("test", args.pixel_bits, steps=steps)
    checked = check(
        foreign,
        steps=steps,
        weight_bits=width,
        pixel_bits=args.pixel_bits,
        exact_decay=args.exact_decay,
        by_channel=args.per_channel,
        fine_biases=args.fine_biases,
        shape=input_shape(args),
        data=data,
        mean=args.mean,
        std=args.std,
    )
    return checked.to_dict(), checked_table(checked), int(checked.refused > 0)


def do_export_nir(args: argparse.Namespace) -> Result:
    from sw.nir.export import export_nir

    path = model_path(args.network)
    network = Network.load(path)
    out = can_write(Path(args.out or BUILD / "nir" / f"{network.spec.name}.nir"))
    notes = export_nir(network, out, args.dt)
    facts = {"nir": str(out), "digest": network.digest, "notes": list(notes)}
    return facts, "\n".join([*notes, f"wrote {out}"]), 0


def add_network_commands(commands: Any) -> None:
    """Add the parsers."""

    def command(
        name: str, handler: Callable[..., Result], text: str, more: str = ""
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=f"{text}{more}")
        sub.set_defaults(handler=handler)
        sub.add_argument("--json", action="store_true", help="print the answer as JSON")
        add_data_option(sub)
        return sub

    def recipe(
        sub: argparse.ArgumentParser, default: str | None = DEFAULT_MODEL, more: str = ""
    ) -> None:
        sub.add_argument(
            "model",
            nargs="?",
            default=default,
            metavar="MODEL",
            help=f"recipe (default {DEFAULT_MODEL}){more}",
        )

    def values(text: str) -> tuple[float, ...]:
        return tuple(float(part) for part in text.split(","))

    values.__name__ = "list of numbers"  # what argparse calls it in a message

    def network(
        sub: argparse.ArgumentParser, file: str, what: str, use: str, widths: type = int
    ) -> None:
        sub.add_argument("network", metavar=file, help=what)
        sub.add_argument(
            "--dataset", help=f"{', '.join(NAMES)}; without it, what --data has. {use}"
        )
        sub.add_argument(
            "--steps",
            type=int,
            metavar="T",
            help="time steps (default 4, or as many as recordings have images)",
        )
        sub.add_argument(
            "--weight-bits",
            type=widths,
            default=widths(8),
            metavar="N",
            help="2 to 16 (default 8)"
            + ", or auto: the fewest that keep the classes" * (widths is str),
        )
        sub.add_argument(
            "--pixel-bits", type=int, default=4, metavar="N", help="1 to 8 (default 4)"
        )
        for option, what, default in (("mean", "mean", 0), ("std", "standard deviation", 1)):
            sub.add_argument(
                f"--{option}",
                type=values,
                default=(),
                metavar="X,..",
                help=f"{what} by which the network's inputs were normalised in training, of pixels "
                f"/ largest pixel: one number, or one per channel (default {default})",
            )
        sub.add_argument("--name", help="of the network (default: that of the file)")
        sub.add_argument(
            "--out", metavar="FILE", help="network file (default build/models/NAME.npz)"
        )

    sub = command(
        "train", do_train, "train a network by its recipe, or on your own data with --hidden"
    )
    recipe(sub, None, ", or a TOML file with one")
    sub.add_argument(
        "--hidden", metavar="N,N,..", help="in place of a recipe: dense layers of so many neurons"
    )
    sub.add_argument("--dataset", help=f"in place of the recipe's: {', '.join(NAMES)}")
    sub.add_argument("--name", help="of the network (default: the recipe's, or the data's)")
    sub.add_argument("--steps", type=int, metavar="T", help="time steps (default 4)")
    sub.add_argument("--weight-bits", type=int, metavar="N", help="2 to 16 (default 4)")
    sub.add_argument("--pixel-bits", type=int, metavar="N", help="1 to 8 (default 4)")
    sub.add_argument("--seed", type=int, default=1, help="of everything random (default 1)")
    sub.add_argument("--epochs", type=int, help="per phase, in place of the recipe's")
    sub.add_argument(
        "--compiled",
        action="store_true",
        help="neurons through torch.compile: faster, needs a C++ compiler",
    )
    sub.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="to compute with (default 1); another number gives another network",
    )
    sub.add_argument(
        "--out",
        metavar="FILE",
        help="checkpoint (default build/train/MODEL.pt); beside it MODEL.run, written after every "
        "epoch: the same command, broken off, goes on from there",
    )

    sub = command(
        "export",
        do_export,
        "prove a trained network equal to its golden model and write network file and ROM files",
    )
    recipe(sub)
    sub.add_argument("--checkpoint", metavar="FILE", help="default build/train/MODEL.pt")
    sub.add_argument("--out", metavar="FILE", help="network file (default build/models/MODEL.npz)")
    sub.add_argument("--roms", metavar="FOLDER", help="for the ROM files (default build/MODEL)")
    sub.add_argument(
        "--lanes", type=int, metavar="N", help="neurons per cycle (default 128, of a program 16)"
    )
    sub.add_argument(
        "--banks",
        type=int,
        default=1,
        metavar="N",
        help="events per cycle: 1, 2, 4, 8 or 16 (default 1)",
    )
    sub.add_argument(
        "--schedule", choices=SCHEDULES, default="auto", help="as of `sterna generate`"
    )

    sub = command(
        "convert",
        do_convert,
        "make a spiking network of a trained ReLU network by threshold balancing",
        FED,
    )
    network(
        sub,
        "NETWORK",
        "torch.nn.Sequential of plain modules, written with torch.save(network, path); one with a "
        "forward of its own, written with sterna.write_steps(network, path); or an ONNX file",
        "Training images calibrate, test images compare",
    )
    sub.add_argument(
        "--mode",
        default="augmapping",
        metavar="MODE",
        help="if, termapping or augmapping (default)",
    )
    sub.add_argument(
        "--limit",
        type=int,
        metavar="L",
        help="largest spike coefficient of augmapping, 1 to 15 (default 15)",
    )
    sub.add_argument(
        "--divisor",
        type=int,
        default=4,
        metavar="D",
        help="a power of two: how many spikes a step stand for the largest activation (default 4)",
    )
    sub.add_argument(
        "--percentile",
        type=float,
        default=99.9,
        metavar="P",
        help="of the activations that becomes the largest (default 99.9)",
    )
    sub.add_argument(
        "--start",
        choices=("half", "zero"),
        default="half",
        help="initial potential: half a threshold (default) or zero",
    )

    sub.add_argument(
        "--tune",
        type=int,
        default=0,
        metavar="N",
        help="train N epochs more, on the integers: for weights of few bits (default 0)",
    )

    def foreign(sub: argparse.ArgumentParser, more: str, use: str, frameworks: str) -> None:
        file = (
            "a NIR file; a quantised ONNX file; a state_dict of snnTorch, or a TOML file that "
            "describes one of snnTorch or Brevitas (docs/import.md); or a torch.nn.Sequential of "
            "SpikingJelly modules, written with torch.save(network, path)"
        )
        network(sub, "FILE", f"{file}{more}", use, str)
        sub.add_argument(
            "--from",
            dest="framework",
            metavar="NAME",
            help=f"{frameworks} (default: what the file is)",
        )
        sub.add_argument(
            "--dt",
            type=float,
            metavar="S",
            help="time step in seconds of a network whose file has time constants (NIR; default "
            "1e-4)",
        )
        sub.add_argument(
            "--frame",
            type=float,
            metavar="S",
            help="seconds of a time step in which spikes of --data are counted, where the data are "
            "spike trains (default: --dt)",
        )
        sub.add_argument(
            "--fires-at",
            metavar="gt|ge",
            help="whether neurons fire above their threshold (gt, NIR's default) or at it (ge)",
        )
        sub.add_argument(
            "--reset",
            metavar="KIND",
            help="of a network whose file does not say (NIR): zero (default); subtract the "
            "threshold at once, or subtract-later, at the next step, as snnTorch does",
        )
        sub.add_argument(
            "--limit",
            type=int,
            metavar="L",
            help="most spikes of a neuron in a step, 1 (default) to 15, of a network whose file "
            "does not say (NIR): 15 for sinabs's MultiSpike",
        )
        sub.add_argument(
            "--readout",
            metavar="VALUE",
            help="what is read of the potentials of a leaky readout, where the file does not say "
            "(NIR's LI): last, sum (or mean) or max over all steps (default)",
        )
        sub.add_argument(
            "--shape",
            metavar="C,H,W",
            help="of an input, where the file does not say it: N, C,L of signals, or C,H,W",
        )
        sub.add_argument(
            "--exact-decay", action="store_true", help="keep enough bits that no decay is truncated"
        )
        sub.add_argument(
            "--per-channel",
            action="store_true",
            help="a weight step for each channel of neurons, in place of one for the layer",
        )
        sub.add_argument(
            "--whole-biases",
            dest="fine_biases",
            action="store_false",
            help="biases in whole weight steps where weights are kept as they are, too: narrower "
            "potentials, and spikes that differ",
        )

    sub = command(
        "import",
        do_import,
        "make a network of one trained in NIR's frameworks, snnTorch, SpikingJelly, Brevitas, or a "
        "quantised one of ONNX",
        FED,
    )
    foreign(sub, "", "Test images compare", FRAMEWORKS)
    sub = command(
        "check",
        do_check,
        "say what would become of each node of a network file, and what stands in the way",
        ": needs no data, writes nothing; the exit code is 1 where something is refused",
    )
    more = "; or what `sterna convert` takes"
    foreign(sub, more, "Its shape is taken", f"{FRAMEWORKS}, relu")

    sub = commands.add_parser(
        "export-nir",
        help="write a network as a NIR file, as far as NIR can say it",
        description="write a network as a NIR file: binary spikes, hard reset, any edges, any "
        "decay",
    )
    sub.set_defaults(handler=do_export_nir)
    sub.add_argument("--json", action="store_true", help="print the answer as JSON")
    sub.add_argument("network", metavar="NETWORK", help="shipped, or a network file")
    sub.add_argument("--out", metavar="FILE", help="NIR file (default build/nir/NAME.nir)")
    sub.add_argument(
        "--dt",
        type=float,
        default=1e-4,
        metavar="S",
        help="time step in seconds, for time constants (default 1e-4)",
    )
