"""A network that learns as a stage, and as a core of that one stage."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gen.core.plan import CorePlan
from gen.layer.stage import LayerOptions
from gen.learn.writer import MasterRows, write_learning_program
from gen.program.stage import LANES, ProgramStagePlan
from gen.stage.stage import Memory, PlanError, Rom
from hw.learn.masters import Masters
from hw.learn.stage import LearningStage, teacher
from hw.link.learning import LearningFacts

__all__ = ["LEARNING_LANES", "LearningStagePlan", "learning_stage", "plan_learning"]

LEARNING_LANES = 64
MASTERS_FILE = "rom/masters.hex"


@dataclass(frozen=True, eq=False, kw_only=True)
class LearningStagePlan(ProgramStagePlan):
    """A program that runs a network and learns.

    Parameters
    ----------
    masters
        The state at power-up.
    rows
        Where each master lies.
    """

    masters: Masters
    rows: MasterRows
    sources = ("sterna_rom.v", "sterna_ram.v")

    sizes_of = "learning"

    def sizes(self) -> dict[str, float]:
        p, learning = self.program, self.program.learning
        assert learning is not None
        return {"lane": p.lanes * (p.potential_bits + learning.master_bits)}

    def around(self, spec: Any) -> dict[str, float]:
        return {"loader": float(spec.flash_address is not None)}

    @property
    def label_bits(self) -> int:  # type: ignore[override]
        return max(1, (self.network.spec.classes - 1).bit_length())

    def component(
        self, *, files: bool = True, events: bool = False, taps: bool = False
    ) -> LearningStage:
        return LearningStage(
            self.program,
            self._files if files else None,
            masters_file=MASTERS_FILE if files else None,
            events=events,
            taps=taps,
        )

    def port_facts(self) -> LearningFacts:
        """What the host port of a board needs to know."""
        learning, spec = self.program.learning, self.masters.spec.learning
        assert learning is not None
        assert spec is not None
        low, high = learning.rate_range
        return LearningFacts(
            teacher=teacher(self.program),
            rows=len(learning.masters),
            master_bits=learning.master_bits,
            weight_bits=learning.master_bits - learning.fraction_bits,
            lowest=low,
            highest=high,
            margin=min(spec.margin, (1 << learning.margin_bits) - 1),
            rates=spec.rates,
            learned=self.masters.learned,
        )

    def weight_memories(self) -> dict[str, list[Memory]]:
        bits = self.program.master_table.width
        found: dict[str, list[Memory]] = {}
        starts = np.cumsum([0, *(array.size for array in self.masters.arrays)])
        for edge, start, end in zip(self.masters.edges, starts, starts[1:], strict=False):
            name = self.network.spec.layers[edge.layer].name
            mine = (self.rows.index >= start) & (self.rows.index < end)
            rows = int(mine.any(axis=1).sum())
            found.setdefault(name, []).append(Memory(bits, rows, True))
        return found

    def roms(self) -> dict[str, Rom]:
        table, digest = self.program.master_table, self.masters.digest[:16]
        head = (
            f"{len(table.words)} rows of {table.lanes} x {table.bits} bit; masters {digest}, "
            f"network {self.network.digest[:16]}"
        )
        made = Rom(head=head, rows=table.words, bits=table.width, swappable=False)
        return super().roms() | {MASTERS_FILE: made}


def plan_learning(masters: Masters, lanes: int = LEARNING_LANES) -> CorePlan:
    """Lay out a network that learns: one stage, as it is at power-up with these masters.

    Raises
    ------
    PlanError
        When lanes is not a power of two from 2 to 128, a layer has neurons that a program does not
        have, or learned layers have weights of different widths.
    """
    if lanes not in LANES:
        raise PlanError(f"Lanes of a learning core must be one of {LANES}, not {lanes!r}")
    network = masters.working()
    spec = network.spec
    if spec.classes < 2:
        raise PlanError(f"Network {spec.name} must have two classes or more to learn on hardware")
    program, memory_map, rows = write_learning_program(masters, lanes)
    stage = LearningStagePlan(
        network=network,
        lanes=lanes,
        program=program,
        memory_map=memory_map,
        layers=range(len(spec.layers)),
        weight_rows={},
        masters=masters,
        rows=rows,
    )
    return CorePlan(
        network=network,
        lanes=lanes,
        banks=1,
        stages=(stage,),
        schedule="learning",
        bounds=(0, len(spec.layers)),
        options=LayerOptions(),
    )


def learning_stage(plan: CorePlan) -> LearningStagePlan:
    """The stage of a core made by `plan_learning`."""
    (stage,) = plan.stages
    assert isinstance(stage, LearningStagePlan)
    return stage
