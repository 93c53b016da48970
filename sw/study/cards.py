"""`sterna study cards`: docs/models.md, a card for each network that ships.

A card is made of the network file, the plans of a core and of the boards, and nothing else: no data
set is read and nothing is run. A test holds the page against what this makes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen.board.boards import BOARDS, Board, BoardError
from gen.board.planner import plan_board
from gen.core.describe import constants_text, neuron_text, readout_text
from gen.core.drawing import edge_text, shape_text
from gen.core.plan import PlanError, plan_network
from hw.contract.files import write_atomically
from hw.contract.network import Network
from hw.contract.text import markdown
from hw.system.progress import Progress, silent, under_way
from sw.data.evaluate import Accuracy
from sw.data.shipped import shipped_models

__all__ = ["DATA_SETS", "card", "page", "study"]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What networks were trained and tested on.

    Parameters
    ----------
    title
        With whose it is.
    licence
        As its publishers state it; `not stated` where they do not.
    held_out
        What the test figures are of.
    """

    title: str
    licence: str
    held_out: str


DATA_SETS = {
    "digits": DataSet(
        title="*Optical Recognition of Handwritten Digits* (E. Alpaydin, C. Kaynak, UCI), 8x8",
        licence="CC BY 4.0",
        held_out="364 of the 1,797 images, of each class the first and every fifth after it",
    ),
    "mnist": DataSet(
        title="MNIST (Y. LeCun, C. Cortes), 28x28",
        licence="CC BY-SA 3.0, as Keras and PyMVPA pass it on; its own page stated none",
        held_out="the published test set",
    ),
    "fashion-mnist": DataSet(
        title="Fashion-MNIST (Zalando SE), 28x28", licence="MIT", held_out="the published test set"
    ),
    "cifar10": DataSet(
        title="CIFAR-10 (A. Krizhevsky, V. Nair, G. Hinton), 3x32x32, here a JPEG re-coding of it",
        licence="not stated; its page asks to cite the technical report",
        held_out="the published test set, re-coded",
    ),
    "nmnist-small": DataSet(
        title="1,100 recordings of N-MNIST (G. Orchard and others), two polarities of 34x34",
        licence="CC BY-SA 4.0",
        held_out="300 of the 1,100, [not N-MNIST's own split](training.md#data-sets)",
    ),
    "japanese-vowels": DataSet(
        title="Japanese Vowels (M. Kudo, J. Toyama, M. Shimbo, UCI), as the UEA archive has it, "
        "utterances of nine speakers, up to 29 steps of 12 coefficients",
        licence="not stated in the file, which names the UCI page; the package that it comes in, "
        "aeon, is BSD-3-Clause",
        held_out="the published test set, 370 of 640 utterances",
    ),
    "watch-exercises": DataSet(
        title="Exercises of the shoulder seen by a smart watch (D. Burns and others, 2018), 140 "
        "recordings of ten people, 6 axes, cut into windows of 4 s",
        licence="of the data not stated apart; the package that they come in, seglearn, is "
        "BSD-3-Clause, and asks to be cited",
        held_out="364 windows of three people, [none of whom was trained on]"
        "(time.md#exercises-that-a-watch-saw)",
    ),
}
"""By the names that `Network.meta` has."""

HEAD = """# The networks that ship

<!-- made by `make cards`; a test compares -->

A card for each: what it was trained on and how, what it reaches, how wide its integers are, what
an image takes, and on which boards it fits. Wherever a command takes a MODEL, it takes these names;
`sterna models` lists them. All are ours, Apache-2.0. They are for trying Sterna and for measuring
it: none was made for other pictures than those of its data set, nor tested on any. Words are
explained in the [glossary](glossary.md), neurons (theta, decay, reset, u0, guarded; c is how many
spikes a step) in [arithmetic.md](arithmetic.md).

Cycles are those that the plan expects, from the activity that was counted on test images. What the
Verilog took, to the cycle as the law says, is in
[results.md](results.md#networks-that-ship-make-models-make-sim-model). What is said of boards is
the planner's ([boards.md](boards.md#the-planner)): estimated look-up tables and block RAMs, the
clock that it asks for, images a second of a core that is fed without a pause. No board was used.
Where a network does not fit, the figure behind "of" is how many the planner may use: it does not
fill small chips to the last look-up table.

## Data sets

No data set is part of the networks. What is known of the data sets' licences, for those who use
the pictures themselves:
"""


KINDS = {"float": "float network", "integer": "**integers**", "relu": "ReLU network"}
"""Of the accuracies that `Network.meta` has, in the page's words."""


def study(out: Path, progress: Progress = silent) -> dict[str, Any]:
    """Write the page of all networks that ship.

    Returns
    -------
    dict
        `networks`: the names.
    """
    networks = [Network.load(path) for path in shipped_models().values()]
    write_atomically(out, page(networks, progress).encode())
    return {"networks": [network.spec.name for network in networks]}


def page(networks: Sequence[Network], progress: Progress = silent) -> str:
    """The page, Markdown."""
    rows = [
        (f"`{name}`", data.title, data.licence, data.held_out) for name, data in DATA_SETS.items()
    ]
    parts = [HEAD + "\n" + markdown(("", "what", "licence", "test figures are of"), rows) + "\n"]
    with under_way(progress, "cards", total=len(networks)) as at:
        for n, network in enumerate(networks):
            at(n, network.spec.name)
            at.doing(network.spec.name)
            parts.append(card(network))
    return "\n".join(parts)


def card(network: Network) -> str:
    """A network's section of the page."""
    spec, meta = network.spec, network.meta
    data = meta["dataset"]
    rows = [
        ("data", f"[`{data}`](#data-sets)" + (f", {meta['note']}" if "note" in meta else "")),
        ("recipe", _recipe(network)),
        *_accuracies(meta["test"]),
        ("input", _input(network)),
        ("weights, neurons", _sizes(network)),
        ("time steps T", str(spec.steps)),
    ]
    if "events" in meta and "sops" in meta:
        activity = f"{meta['events']:,.0f} events, {meta['sops']:,.0f} synaptic operations"
        rows.append(("activity an image, every step's spikes played", activity))
    rows += [("cycles an image", _cycles(network)), ("digest", f"`{network.digest}`")]
    return "\n\n".join(
        (
            f"## {spec.name}",
            markdown(("", ""), rows),
            markdown(
                (
                    "layer",
                    "shape",
                    "from",
                    "neuron",
                    "weights",
                    "bits of accumulator, drive, potential",
                ),
                _layers(network),
            ),
            markdown(
                (
                    "board",
                    "layout",
                    "clock, MHz",
                    "look-up tables",
                    "block RAMs",
                    "cycles",
                    "images/s",
                ),
                (_board(network, board) for board in BOARDS.values()),
            ),
            f"```\nsterna golden {spec.name}            # the whole test set\n"
            f"sterna sim {spec.name} --images 20   # Verilog and golden model, each value\n```\n",
        )
    )


def _recipe(network: Network) -> str:
    meta = network.meta
    if "recipe" in meta:
        return (
            f"`sterna train {meta['recipe']} --seed {meta['seed']}` and `sterna export` "
            f"([recipes](../sw/learn/recipes.py); PyTorch {meta['torch']})"
        )
    how = meta["conversion"]
    told = f"[conversion](conversion.md) of a ReLU network: `--mode {how['mode']}"
    told += f" --steps {how['steps']} --divisor {how['divisor']}`"
    if "tuned_epochs" in meta:
        told += f", then {meta['tuned_epochs']} epochs on its integers (`--tune`)"
    return f"{told}; `make models` has the commands"


def _accuracies(test: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    return [(f"test, {KINDS.get(kind, kind)}", str(Accuracy(**t))) for kind, t in test.items()]


def _input(network: Network) -> str:
    spec = network.spec
    shape = shape_text(spec.shape_of("input"))
    when = "another picture at every step" if spec.timed_input else "the same at every step"
    return f"{shape} pixels of {spec.input_bits} bits, {when}"


def _sizes(network: Network) -> str:
    weights = sum(layer.weights.size for layer in network.layers)
    neurons = sum(layer.neurons for layer in network.spec.layers[:-1])
    return (
        f"{weights:,} weights; {neurons:,} neurons, and {network.spec.layers[-1].neurons} outputs"
    )


def _cycles(network: Network) -> str:
    plan = plan_network(network)
    told = f"{plan.expected_cycles():,.0f} ({plan.facts()['layout']})"
    try:
        windows = plan_network(network, schedule="windows")
    except PlanError:
        return told
    if windows.facts()["layout"] == plan.facts()["layout"]:
        return told  # it has no maps
    return f"{told}; {windows.expected_cycles():,.0f} by [windows](window.md) of as many lanes"


def _layers(network: Network) -> list[tuple[str, ...]]:
    spec, rows = network.spec, []
    for n, layer in enumerate(network.layers):
        neuron = layer.spec.neuron
        edges = "; ".join(f"{edge.source}: {edge_text(edge)}" for edge in spec.edges(n))
        bits = [layer.accumulator_bits, layer.drive_bits]
        bits += [] if neuron is None else [neuron.potential_bits]
        kind = (
            neuron_text(neuron).replace("|c|", "c") if neuron else readout_text(layer.spec.readout)
        )
        kind += constants_text(layer.spec)
        rows.append(
            (
                layer.spec.name,
                shape_text(layer.spec.map_shape),
                edges,
                kind,
                f"{layer.weights.size:,} of {layer.spec.weight_bits} bits",
                ", ".join(map(str, bits)),
            )
        )
    return rows


def _board(network: Network, board: Board) -> tuple[str, ...]:
    try:
        plan = plan_board(board, network)
    except (BoardError, PlanError) as error:
        reason = re.sub(r" \([^)]*\)", "", str(error).split(": ", 1)[-1].split("; ")[0])
        reason = re.sub(r"\d{4,}", lambda number: f"{int(number[0]):,}", reason)
        return (f"`{board.name}`", f"does not fit: {reason}", "", "", "", "", "")
    facts = plan.to_dict()

    def of(pair: tuple[int, int]) -> str:
        return f"{pair[0]:,} of {pair[1]:,}"

    weights = ", weights in flash" * (facts["flash_address"] is not None)
    return (
        f"`{board.name}`",
        facts["layout"] + weights,
        f"{facts['clock_hz'] / 1e6:g}",
        of(facts["estimate"]["luts"]),
        of(facts["estimate"]["brams"]),
        f"{facts['expected_cycles']:,.0f}",
        f"{facts['expected_images_per_second']:,}",
    )
