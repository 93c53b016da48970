"""What a design will use of a chip, from its layout alone.

Look-up tables are a weighted sum of the sizes of what costs them; the weights were fitted to
synthesised designs, family by family (gen/board/calibrate.py: `make calibrate`). Block RAM is
counted
memory by memory, as Yosys maps it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gen.board.boards import Board
from gen.core.hardware import AnyPlan, input_shape
from gen.core.plan import CorePlan
from gen.core.program_files import AnyShared
from hw.contract.spec import NeuronSpec, signed_bits
from hw.layer.lif import divides_by_shift, is_counting
from hw.memory.ram import SPRAM_BITS
from hw.program.program import Program
from hw.top.board import BoardSpec
from hw.top.loader import DIGEST_ROWS

__all__ = ["Estimate", "block_rams", "estimate", "features", "fitted", "shared_rams"]

WEIGHTS = Path(__file__).with_name("weights.json")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Resources: look-up tables (logic cells on iCE40), block RAMs, single-port RAMs; what there
    is of each."""

    luts: int
    brams: int
    sprams: int
    available: Mapping[str, int]

    def over(self, full: float) -> list[tuple[str, int, int]]:
        """(what, needed, there) of all that is too much, `full` being the share of the look-up
        tables that may be used."""
        rows = [
            ("look-up tables", self.luts, int(self.available["luts"] * full)),
            ("block RAMs", self.brams, self.available["brams"]),
            ("single-port RAMs", self.sprams, self.available["sprams"]),
        ]
        return [row for row in rows if row[1] > row[2]]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: {what: [estimated, available]}."""
        return {
            name: [getattr(self, name), self.available[name]]
            for name in ("luts", "brams", "sprams")
        }


def estimate(board: Board, core: AnyPlan, spec: BoardSpec, test_images: int = 0) -> Estimate:
    """Resources of a core and all around it on a board, with test images in a ROM if any."""
    weights = _weights()[fitted(board, core)]
    sizes = features(core, spec)
    memories = [(32, 20 + core.network.spec.classes, False)]  # the mailbox
    if not core.loaded:
        memories.append((32, DIGEST_ROWS, True))
    if test_images:
        bits, words = input_shape(core)
        memories.append((bits, test_images * words, True))
    brams = 0
    if isinstance(core, CorePlan):
        memories += _memories(core)
    else:
        brams = sum(sum(shared_rams(stage.program, board.family).values()) for stage in core.stages)
    return Estimate(
        luts=round(sum(weights[name] * size for name, size in sizes.items())),
        brams=brams + sum(block_rams(board.family, *memory) for memory in memories),
        sprams=_sprams(core) if isinstance(core, CorePlan) else 0,
        available={"luts": board.luts, "brams": board.brams, "sprams": board.sprams},
    )


@cache
def _weights() -> dict[str, dict[str, float]]:
    return json.loads(WEIGHTS.read_text())


def fitted(board: Board, core: AnyPlan) -> str:
    """Whose weights a core's estimate takes."""
    return board.family if isinstance(core, CorePlan) else f"{board.family} shared"


def features(core: AnyPlan, spec: BoardSpec) -> dict[str, float]:
    """Sizes of what costs look-up tables, in bits, by name."""
    return _features(core, spec) if isinstance(core, CorePlan) else _shared_features(core)


def _shared_features(core: AnyShared) -> dict[str, float]:
    """Of shared cores: all that the lanes of all stages add to, and the stages themselves."""
    stages = [stage.program for stage in core.stages]
    return {
        "board": 1,
        "stage": len(stages),
        "lane": sum(p.lanes * p.potential_bits for p in stages),
        "decay": sum(p.lanes * p.potential_bits * (len(p.decays) - 1) for p in stages),
    }


def _features(core: CorePlan, spec: BoardSpec) -> dict[str, float]:
    total: dict[str, float] = dict.fromkeys(
        (
            "board",
            "loader",
            "layer",
            "bank",
            "sum",
            "double",
            "drive",
            "mask",
            "tree",
            "parts",
            "neuron",
            "soft",
            "counting",
            "guard",
            "readout",
            "flags",
            "word",
        ),
        0.0,
    )
    total["board"] = 1
    total["loader"] = spec.flash_address is not None
    for layer, g in zip(core.network.layers, core.geometries, strict=True):
        bits, tree = layer.spec.weight_bits, 0
        for level in range((g.banks - 1).bit_length()):
            tree += (g.banks >> level + 1) * (bits + level + 1)
        total["layer"] += 1
        total["bank"] += g.banks
        total["sum"] += g.lanes * layer.accumulator_bits
        total["double"] += g.lanes * layer.accumulator_bits * (g.planes > 1)
        total["drive"] += g.lanes * layer.drive_bits
        total["mask"] += g.banks * g.lanes * bits
        total["tree"] += g.lanes * tree
        total["parts"] += g.lanes * layer.drive_bits * (g.firing.lanes < g.lanes)
        if layer.spec.neuron is None:
            total["readout"] += g.firing.lanes * layer.logit_bits
        else:
            neuron, bits = layer.spec.neuron, g.firing.lanes * signed_bits(layer.membrane_bound)
            total["neuron"] += bits
            total["soft"] += bits * (neuron.reset == "soft")
            if is_counting(neuron):
                total["counting"] += bits * (1 + neuron.limit * (not divides_by_shift(neuron)))
            if neuron.guarded:
                total["guard"] += g.firing.lanes * neuron.count_bits(core.network.spec.steps)
        total["flags"] += g.banks * g.words * g.planes * g.buffers
        total["word"] += g.word * (g.planes + g.signed)
    return total


def _stored_bits(neuron: NeuronSpec | None, steps: int) -> int:
    """What a neuron keeps: its potential, and its count under a guard."""
    assert neuron is not None
    return neuron.potential_bits + (neuron.count_bits(steps) if neuron.guarded else 0)


def _memories(core: CorePlan) -> list[tuple[int, int, bool]]:
    """(bits, rows, kept in block RAM in any case) of every memory but single-port RAMs."""
    steps, memories = core.network.spec.steps, []
    for n, (layer, g, kind) in enumerate(
        zip(core.network.layers, core.geometries, core.memories, strict=True)
    ):
        if kind != "spram":
            memories += [
                (len(part) * layer.spec.weight_bits, g.depth, kind == "rom") for part in g.slices
            ] * g.banks
        address = (g.words - 1).bit_length()
        width = g.chunk * (g.planes + g.signed)
        memories += [(width, g.buffers << address, False)] * g.banks
        firing, last = g.firing, layer.spec.neuron is None
        if firing.groups == 1:
            continue
        if last and n > 0:
            memories.append((firing.lanes * layer.logit_bits, firing.groups, g.fire_lanes > 0))
        elif not last and n > 0:
            memories += [
                (len(part) * _stored_bits(layer.spec.neuron, steps), firing.groups, False)
                for part in firing.slices
            ]
        elif not last:
            word = core.geometries[1].word
            words = firing.groups * steps * -(-firing.lanes // word)
            sent = core.geometries[1]  # as its receiver takes them: planes and a sign
            width = word * (sent.planes + sent.signed)
            memories.append((width, 2 << (words - 1).bit_length(), False))
    return memories


SHAPES = {
    "ice40": ((16, 256), (8, 512), (4, 1024), (2, 2048)),
    "ecp5": ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)),
    "gowin": ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)),
}
"""(bits, rows) that one block RAM can have."""

LUT_RAMS = {"ecp5": 32, "gowin": 32}
"""Yosys takes block RAM when it saves so many look-up-table RAMs, of 16 rows of 4 bits, each."""

LEAST_BITS = 128
"""Without such RAMs it takes block RAM when it saves so many flip-flops each."""


def block_rams(family: str, width: int, depth: int, force: bool) -> int:
    """Block RAMs of a memory with one write and one read port; 0 if Yosys uses logic for it."""
    blocks = min(math.ceil(width / w) * math.ceil(depth / d) for w, d in SHAPES[family])
    if force:
        return blocks
    if family in LUT_RAMS:
        saved = math.ceil(width / 4) * math.ceil(depth / 16)
        return blocks if saved >= LUT_RAMS[family] * blocks else 0
    return blocks if width * depth >= LEAST_BITS * blocks else 0


def shared_rams(p: Program, family: str) -> dict[str, int]:
    """Block RAMs of each memory of a shared core. What is a ROM in a file is in block RAM whatever
    its size."""
    rams = {
        name: block_rams(family, bits, words, name in ("weights", "program"))
        for name, (words, bits) in p.memories.items()
    }
    for name, table in (("biases", p.bias_table), ("thresholds", p.theta_table)):
        if table is not None:
            rams[name] = block_rams(family, table.width, len(table.words), True)
    return rams


def _sprams(core: CorePlan) -> int:
    return sum(
        g.banks * sum(-(-len(part) * layer.spec.weight_bits // SPRAM_BITS) for part in g.slices)
        for layer, g, kind in zip(core.network.layers, core.geometries, core.memories, strict=True)
        if kind == "spram"
    )
