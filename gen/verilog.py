"""The hardware of a network as files: Verilog, ROM images, and a manifest of what is what."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from amaranth.back import verilog

from gen.plan import CorePlan
from gen.rom import rom_images
from gen.shared_files import AnyShared, shared_core, shared_roms, stage_facts
from hw.core import Core
from hw.files import write_files, write_json
from hw.pipeline import Pipeline

__all__ = [
    "TOP", "AnyPlan", "generate", "layer_facts", "layout_facts", "manifest", "rom_files",
    "sterna_rom",
]  # fmt: skip

TOP = "sterna_core"

AnyPlan = CorePlan | AnyShared
"""A core of either schedule."""


def sterna_rom() -> str:
    """The Verilog of the ROM that reads its contents from a file."""
    return (Path(__file__).parent.parent / "hw" / "sterna_rom.v").read_text()


def layout_facts(plan: AnyPlan) -> dict[str, Any]:
    """How a core is laid out, for reports (`gen.report.layout_text`)."""
    stages = 0 if isinstance(plan, CorePlan) else len(plan.stages)
    return {"schedule": plan.schedule, "lanes": plan.lanes, "banks": plan.banks, "stages": stages}


def rom_files(plan: AnyPlan) -> dict[str, str]:
    """Text of every ROM image by its file name."""
    return rom_images(plan) if isinstance(plan, CorePlan) else shared_roms(plan)


def layer_facts(plan: CorePlan) -> list[dict[str, Any]]:
    """Layout, widths, neuron and ROM images of each layer, as plain data."""
    return [
        {
            "name": layer.spec.name,
            **asdict(geometry),
            "groups": geometry.groups,
            "rows": geometry.rows,
            "depth": geometry.depth,
            "weight_bits": layer.spec.weight_bits,
            "accumulator_bits": layer.accumulator_bits,
            "drive_bits": layer.drive_bits,
            "accumulator_bound": layer.accumulator_bound,
            "drive_bound": layer.drive_bound,
            "potential_bits": layer.spec.neuron and layer.spec.neuron.potential_bits,
            "neuron": layer.spec.neuron and asdict(layer.spec.neuron),
            "rom": [
                [plan.rom_file(n, b, part) for part in range(len(geometry.slices))]
                for b in range(geometry.banks)
            ],
        }
        for n, (layer, geometry) in enumerate(zip(plan.image.layers, plan.geometries, strict=True))
    ]


def manifest(plan: AnyPlan, core: Core | Pipeline, *, taps: bool) -> dict[str, Any]:
    """What a program needs to know to drive the core: digest, layout, ports of the trace."""
    spec = plan.image.spec
    facts = {
        "network": spec.name,
        "digest": plan.image.digest,
        "top": TOP,
        "schedule": plan.schedule,
        "taps": taps,
        "lanes": plan.lanes,
        "banks": plan.banks,
        "input_size": spec.input_size,
        "input_bits": spec.input_bits,
        "steps": spec.steps,
        "classes": spec.classes,
    }
    if isinstance(plan, CorePlan):
        assert isinstance(core, Core)
        first = plan.geometries[0]
        return facts | {"word": first.word, "words": first.words, "layers": layer_facts(plan),
                        "trace": core.trace_fields}  # fmt: skip
    words = plan.stages[0].program.input_words
    return facts | {"word": plan.lanes, "words": words, "stages": stage_facts(plan), "trace": []}


def generate(plan: AnyPlan, folder: Path, *, taps: bool = False) -> dict[str, Any]:
    """Write `sterna_core.v`, `sterna_rom.v`, `rom/*.hex`, then `core.json`; return the manifest.

    Equal plans give equal bytes. Everything is made before the first file is written.

    Parameters
    ----------
    plan
        Network and layout, of either schedule.
    folder
        Where to; made if need be.
    taps
        Add the ports of the simulated variant (see `hw.core.Core`, `hw.pipeline.Pipeline`).
    """
    core: Core | Pipeline
    if isinstance(plan, CorePlan):
        core = Core(plan.layer_plans(with_files=True), taps=taps)
    else:
        core = shared_core(plan, taps=taps)
    facts = manifest(plan, core, taps=taps)
    head = f"// {plan.image.spec.name}, network {plan.image.digest}, made by Sterna.\n"
    text = verilog.convert(core, name=TOP, strip_internal_attrs=True)
    files = {f"{TOP}.v": head + text, **rom_files(plan), "sterna_rom.v": sterna_rom()}
    write_files(folder, files, owned=["rom/*.hex"])
    write_json(folder / "core.json", facts)
    return facts
