"""`sterna study hardware`: what each kind of neuron costs on a chip.

One topology, trained or converted for every kind on the digits that need no download, the same
lanes, the same width of weights; each core routed for an ECP5-85k.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen.board.bitstream import find_tools
from gen.board.boards import find_board
from gen.board.timing import close_timing
from gen.core.plan import CorePlan, plan_core
from gen.family.tools import YOSYS, ToolError, find
from gen.layer.stage import DEFAULT_LANES
from hw.contract.files import write_json
from hw.contract.network import Network
from hw.contract.text import markdown
from hw.system.jobs import InTurn, Jobs, Result, RunJobs
from hw.system.process import fills_folder
from hw.system.progress import Progress, announced, silent
from sw.data.dataset import load_split
from sw.data.evaluate import accuracy, mean_cycles
from sw.data.split import Split
from sw.importers.conversion import Conversion, convert
from sw.importers.modules import read_relu
from sw.importers.relu import train_relu
from sw.learn.real_decay import with_decay
from sw.learn.recipes import VARIANTS, find_recipe, variant
from sw.learn.train import train

__all__ = ["hardware_table", "route_job", "study"]

RELU_EPOCHS = 30
WEIGHT_BITS = 4
CONVERSIONS = (
    ("IF", Conversion(mode="if", steps=8, weight_bits=WEIGHT_BITS)),
    ("TerMapping", Conversion(mode="termapping", steps=8, weight_bits=WEIGHT_BITS)),
    ("AugMapping, L = 3", Conversion(limit=3, divisor=2, steps=4, weight_bits=WEIGHT_BITS)),
    ("AugMapping, L = 15", Conversion(limit=15, divisor=8, steps=1, weight_bits=WEIGHT_BITS)),
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A row of the table: a kind of neuron, a network that uses it, and its core."""

    title: str
    core: CorePlan


def kinds(lanes: int, data: Split, test: Split, progress: Progress) -> Iterator[Kind]:
    """Train and convert 64-128-10 for every kind."""
    recipe = find_recipe("digits-dense")

    def row(title: str, network: Network, repeat: bool = False) -> Kind:
        return Kind(title=title, core=plan_core(network, lanes, repeat=repeat))

    for name in VARIANTS:
        with announced(progress, f"training: {name}"):
            checkpoint = train(variant(recipe, name), progress=silent)
        network = checkpoint.integer_network().to_network()
        yield row(f"{name}, hard reset, decay 1/4", network)
    yield row("the same, decay exact", with_decay(network, exact=True))
    relu = train_relu(data, recipe.hidden, seed=1, epochs=RELU_EPOCHS)
    layers = read_relu(relu, (data.images.shape[1],))
    for title, conversion in CONVERSIONS:
        network = convert(layers, data.images, data.bits, conversion)
        yield row(f"{title}, T = {conversion.steps}", network)
    yield row("the same, spikes repeated", network, repeat=True)


@fills_folder
def study(
    folder: Path,
    *,
    lanes: int = 16,
    megahertz: float = 100.0,
    seed: int = 1,
    run: RunJobs | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train all kinds, and route them; `study.json` in `folder` after each.

    Parameters
    ----------
    run
        Who routes, each kind a job; None: one after the other.

    Returns
    -------
    dict
        `rows`: per kind its title, accuracy on the held-out digits (golden model), cycles per image
        by the cycle law (and those of a core of 128 lanes, in which the first layer, the same for
        all kinds, does not hold up the others), fmax in MHz, and what of the chip it uses.

    Raises
    ------
    ToolError
        When a tool is missing or a core does not fit.
    """
    started, run = time.monotonic(), run or InTurn(progress)
    find_tools(find_board("ulx3s_85f").family.flow)  # before hours of training
    tools = used_tools()
    data, test = (load_split("digits", split, 4) for split in ("train", "test"))
    cores = {kind.title: kind.core for kind in kinds(lanes, data, test, progress)}
    rows: dict[str, Result] = {}
    facts: dict[str, Any] = {"lanes": lanes, "asked_mhz": megahertz, "seed": seed}

    def keep(title: str, row: Result) -> None:
        rows[title] = row
        facts["rows"] = [rows[title] for title in cores if title in rows]
        facts["seconds"] = round(time.monotonic() - started)
        write_json(folder / "study.json", facts)

    how = {"megahertz": megahertz, "seed": seed, "tools": tools}
    calls = {title: {"title": title, **how} for title in cores}
    names = {title: "".join(c if c.isalnum() else "-" for c in title) for title in cores}
    recipes = [[core.network.digest, core.recipe()] for core in cores.values()]
    sha = hashlib.sha256(json.dumps([*recipes, test.digest]).encode())
    run(
        Jobs(
            "kinds of neurons",
            route_job,
            calls,
            shared={"sent": (sha.hexdigest(), {"cores": cores, "test": test})},
            each=keep,
            folders={title: folder / name for title, name in names.items()},
            owned=("rom/*.hex",),
        )
    )
    return facts


def used_tools() -> list[str]:
    """What routes, with versions: figures of one table are of the same ones.

    Raises
    ------
    ToolError
        When one is missing.
    """
    return [str(find(tool)) for tool in (YOSYS, find_board("ulx3s_85f").family.flow.router)]


def route_job(
    title: str,
    megahertz: float,
    seed: int,
    tools: Sequence[str],
    sent: Mapping[str, Any],
    folder: Path,
    progress: Progress = silent,
) -> Result:
    """A job: the row of a kind of neuron, its core routed in a folder.

    Parameters
    ----------
    tools
        `used_tools` of who asks, which must be the same here.
    sent
        `cores` by title, and the images of the `test`.

    Raises
    ------
    ToolError
        As of `study`, and for other tools.
    """
    mine = used_tools()
    if mine != [*tools]:
        raise ToolError(f"A worker must route with {', '.join(tools)}, not {', '.join(mine)}")
    core, test = sent["cores"][title], sent["test"]
    progress(title)
    report = close_timing(core, folder, megahertz=megahertz, seed=seed, progress=progress)
    found = accuracy(core.network, test)
    return {
        "title": title,
        "hits": found.hits,
        "n": found.n,
        "cycles": round(mean_cycles(core, test.images), 1),
        "wide_cycles": round(mean_cycles(widened(core), test.images), 1),
        "fmax_mhz": report["fmax_mhz"],
        "resources": report["resources"],
    }


def widened(core: CorePlan) -> CorePlan:
    """The same core with a lane for every neuron."""
    return plan_core(core.network, DEFAULT_LANES, repeat=core.options.repeat)


def hardware_table(facts: dict[str, Any]) -> str:
    """Markdown: a row per kind of neuron."""
    head = (
        "neurons",
        "accuracy",
        "LUT",
        "FF",
        "BRAM",
        "fmax, MHz",
        "cycles an image",
        "... with 128 lanes",
    )
    return markdown(
        head,
        (
            (
                row["title"],
                f"{100 * row['hits'] / row['n']:.2f} %",
                *(
                    f"{row['resources'][kind][0]:,}"
                    for kind in ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD")
                ),
                f"{row['fmax_mhz']:.1f}",
                f"{row['cycles']:.1f}",
                f"{row['wide_cycles']:.1f}",
            )
            for row in facts["rows"]
        ),
    )
