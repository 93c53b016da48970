"""The files of shared cores: ROM images, and what is told of their stages."""

from typing import Any

from gen.core.pipeline import PipelinePlan
from gen.core.program_stage import SharedPlan
from gen.core.rom import rom_text
from hw.pipeline import Pipeline
from hw.program.stage import RomFiles

__all__ = ["AnyShared", "shared_core", "shared_roms", "stage_facts"]

PARTS = ("program", "weights", "biases", "thetas")

AnyShared = SharedPlan | PipelinePlan


def _files(plan: AnyShared) -> list[RomFiles]:
    """Names of each stage's ROM images; a core by itself has no number."""
    numbers = [""] if len(plan.stages) == 1 else [str(n) for n in range(len(plan.stages))]
    return [RomFiles(**{part: f"rom/{part}{n}.hex" for part in PARTS}) for n in numbers]


def shared_core(plan: AnyShared, *, events: bool, taps: bool) -> Pipeline:
    """The core as a pipeline of one stage or more, its ROMs read from files."""
    programs = [stage.program for stage in plan.stages]
    return Pipeline(programs, _files(plan), events=events, taps=taps)


def stage_facts(plan: AnyShared) -> list[dict[str, Any]]:
    """Layers, length of the program and memory map of each stage, as plain data."""
    return [
        {
            "layers": [plan.network.spec.layers[n].name for n in stage.layers],
            "operations": len(stage.program.operations),
            "memory": stage.memory.to_dict(),
        }
        for stage in plan.stages
    ]


def shared_roms(plan: AnyShared) -> dict[str, str]:
    """Text of every ROM image by its file name."""
    made, network = {}, f"network {plan.network.digest[:16]}"
    for stage, files in zip(plan.stages, _files(plan), strict=True):
        p = stage.program
        made[files.program] = rom_text(
            f"{len(p.operations)} operations of {p.code.bits} bit; {network}",
            p.code.words,
            p.code.bits,
        )
        for name, table in (
            (files.weights, p.weight_table),
            (files.biases, p.bias_table),
            (files.thetas, p.theta_table),
        ):
            if table is not None:
                head = f"{len(table.words)} rows of {table.lanes} x {table.bits} bit; {network}"
                made[name] = rom_text(head, table.words, table.width)
    return made
