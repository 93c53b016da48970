"""The hardware of a network as files: Verilog, ROM images, and a manifest of what is what."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from amaranth.back import verilog

from gen.core.hardware import AnyPlan, core_of, input_shape, rom_files
from gen.core.plan import CorePlan
from gen.core.program_files import stage_facts
from hw.contract.files import write_files, write_json
from hw.core import Core
from hw.memory.sources import verilog_source
from hw.pipeline import Pipeline

__all__ = ["TOP", "core_facts", "generate", "manifest"]

TOP = "sterna_core"


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
        for n, (layer, geometry) in enumerate(
            zip(plan.network.layers, plan.geometries, strict=True)
        )
    ]


def manifest(plan: AnyPlan, core: Core | Pipeline, *, taps: bool) -> dict[str, Any]:
    """What a program needs to know to drive the core: digest, layout, ports of the trace."""
    spec = plan.network.spec
    facts = {
        "network": spec.name,
        "digest": plan.network.digest,
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
    trace = core.trace_fields if isinstance(core, Core) else []
    return facts | core_facts(plan) | {"trace": trace}


def core_facts(plan: AnyPlan) -> dict[str, Any]:
    """Words of an image, and what the core is made of: layers, or stages that run them."""
    words = input_shape(plan)[1]
    if isinstance(plan, CorePlan):
        return {"word": plan.geometries[0].word, "words": words, "layers": layer_facts(plan)}
    return {"word": plan.lanes, "words": words, "stages": stage_facts(plan)}


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
    core = core_of(plan, taps=taps)
    facts = manifest(plan, core, taps=taps)
    head = f"// {plan.network.spec.name}, network {plan.network.digest}, made by Sterna.\n"
    text = verilog.convert(core, name=TOP, strip_internal_attrs=True, emit_src=False)
    files = {
        f"{TOP}.v": head + text,
        **rom_files(plan),
        "sterna_rom.v": verilog_source("sterna_rom.v"),
    }
    write_files(folder, files, owned=["rom/*.hex"])
    write_json(folder / "core.json", facts)
    return facts
