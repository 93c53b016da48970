"""What a design will use of a chip, from its layout alone.

Look-up tables are a weighted sum of the sizes of what costs them; the weights were fitted to
synthesised designs, family by family (gen/board/calibrate.py: `make calibrate`). Block RAM is
counted memory by memory, as Yosys maps it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gen.board.boards import Board
from gen.core.plan import CorePlan, PlanError
from gen.family.base import Family
from gen.stage.stage import Memory
from hw.memory.ram import SPRAM_BITS, SPRAM_ROWS
from hw.top.board import BoardSpec
from hw.top.loader import DIGEST_ROWS

__all__ = [
    "UNFITTED",
    "Estimate",
    "blocks",
    "estimate",
    "features",
    "is_measured",
    "memory_shares",
    "require_memory",
]

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


UNFITTED = {"adders": 1.0, "constants": 1.0}
"""Look-up tables of sizes that no design of `gen.board.calibrate` has: a bit of an adder is one, on
every chip."""


def estimate(board: Board, core: CorePlan, spec: BoardSpec, images: int = 0) -> Estimate:
    """Resources of a core and all around it on a board, with `images` in a ROM: those of a core
    that learns with their labels."""
    memories = [Memory(32, 20 + core.network.spec.classes, False)]  # the mailbox
    if spec.flash_address is None:
        memories.append(Memory(32, DIGEST_ROWS, True))
    sprams = 0
    if images:
        bits, rows = core.input_bits + core.stages[0].label_bits, images * core.words
        if spec.flash_address is not None and not core.loaded:
            sprams = -(-bits // SPRAM_BITS) * -(-rows // SPRAM_ROWS)
        else:
            memories.append(Memory(bits, rows, True))
    own = [memory for stage in core.stages for memory in stage.memories().values()]
    return Estimate(
        luts=round(_luts(board, core, spec)),
        brams=sum(blocks(board, memory) for memory in [*memories, *own]),
        sprams=sprams + sum(memory.sprams for memory in own),
        available={"luts": board.luts, "brams": board.brams, "sprams": board.sprams},
    )


def _luts(board: Board, core: CorePlan, spec: BoardSpec) -> float:
    """What each kind of stage costs, and what is around the core once."""
    total, around = 0.0, 0.0
    for kind, sizes in features(core, spec).items():
        weights = UNFITTED | _weights_of(board.family, kind)
        costs = {name: weights[name] * size for name, size in sizes.items()}
        around = max(around, costs.pop("board"))
        total += sum(costs.values())
    return total + around


def is_measured(family: Family, kind: str) -> bool:
    """Whether stages of a kind (`StagePlan.sizes_of`) were ever synthesised for a family."""
    return bool({f"{family.name} {kind}", f"{family.weights_of} {kind}"} & _weights().keys())


def _weights_of(family: Family, kind: str) -> dict[str, float]:
    """The weights fitted to a family, or else to the one that stands in for it."""
    if not is_measured(family, kind):
        raise PlanError(f"How large {kind} are on a {family.name} chip must be measured first")
    known = _weights()
    return known.get(f"{family.name} {kind}") or known[f"{family.weights_of} {kind}"]


@cache
def _weights() -> dict[str, dict[str, float]]:
    return json.loads(WEIGHTS.read_text())


def features(core: CorePlan, spec: BoardSpec) -> dict[str, dict[str, float]]:
    """Sizes of what costs look-up tables, in bits, by name, of each kind of stage
    (`StagePlan.sizes_of`) together, and of what is around the core."""
    found: dict[str, dict[str, float]] = {}
    for stage in core.stages:
        total = found.setdefault(stage.sizes_of, {"board": 1} | stage.around(spec))
        for name, size in stage.sizes().items():
            total[name] = total.get(name, 0) + size
    return found


def blocks(board: Board, memory: Memory) -> int:
    """Block RAMs of a memory on a board's chip; those built of single-port RAMs take none."""
    if memory.sprams:
        return 0
    return board.family.rams.count(memory.bits, memory.rows, memory.kept)


def memory_shares(core: CorePlan, board: Board) -> str:
    """What needs the block RAM, the largest layer by name."""
    layers = {
        name: sum(blocks(board, memory) for memory in memories)
        for stage in core.stages
        for name, memories in stage.weight_memories().items()
    }
    totals = {"weights": 0, "potentials": 0}
    for stage in core.stages:
        for name, memory in stage.memories().items():
            kind = name.rstrip("_0123456789").replace("masters", "weights")
            if kind in totals:
                totals[kind] += blocks(board, memory)
    name = max(layers, key=lambda name: layers[name])
    return (
        f"the weights of layer {name} alone need {layers[name]:,}, all weights "
        f"{totals['weights']:,}, potentials {totals['potentials']:,}"
    )


def require_memory(core: CorePlan, board: Board) -> None:
    """Refuse a network whose memories are too many for the board's chip.

    Raises
    ------
    PlanError
        With what is needed and there, and the layer that needs the most.
    """
    needed = sum(
        blocks(board, memory) for stage in core.stages for memory in stage.memories().values()
    )
    if needed > board.brams:
        raise PlanError(
            f"Network {core.network.spec.name} needs {needed:,} block RAMs, and {board.name} has "
            f"{board.brams:,}: {memory_shares(core, board)}"
        )
