"""The hardware of a network as files: Verilog, ROM contents, and a manifest of what is what."""

from pathlib import Path
from typing import Any

from gen.core.header import CLOCK, core_header, core_ports, ports_of
from gen.core.plan import CorePlan, PlanError, rebuild
from gen.stage.emit import verilog_text
from gen.stage.finish import finish, finish_memory
from hw.contract.files import json_text, read_json, write_files
from hw.contract.network import Network
from hw.core import Core
from hw.memory.sources import verilog_source
from hw.system.process import fills_folder

__all__ = ["TOP", "core_facts", "generate", "manifest", "read_plan", "rom_texts"]

TOP = "sterna_core"


def rom_texts(plan: CorePlan) -> dict[str, str]:
    """The text of every ROM file by its name; equal bytes for an equal network and layout."""
    return {name: rom.text for name, rom in plan.roms().items()}


def manifest(plan: CorePlan, taps: list[tuple[str, int]]) -> dict[str, Any]:
    """What a program needs to know to drive the core: digest, layout, names and widths of taps."""
    spec = plan.network.spec
    facts = {
        "network": spec.name,
        "digest": plan.network.digest,
        "top": TOP,
        "taps": taps,
        "input_size": spec.input_size,
        "input_bits": spec.input_bits,
        "steps": spec.steps,
        "classes": spec.classes,
    }
    return facts | core_facts(plan)


def core_facts(plan: CorePlan) -> dict[str, Any]:
    """How a core is laid out: words of a picture, and its stages. The plan is made once, and read
    there (`read_plan`) by whoever says what the hardware counts."""
    return {
        "schedule": plan.schedule,
        "lanes": plan.lanes,
        "banks": plan.banks,
        "word": plan.stages[0].input.count,
        "words": plan.words,
        "settle": plan.settle,
        "plan": {"recipe": plan.recipe(), "fingerprint": plan.fingerprint},
        "stages": [stage.facts() for stage in plan.stages],
        "layers": [facts for stage in plan.stages for facts in stage.layer_facts()],
    }


def read_plan(network: Network, folder: Path) -> CorePlan:
    """The plan of the core or board that was written to `folder`.

    Raises
    ------
    PlanError
        When there is none, it is another network's, or this Sterna lays it out otherwise.
    """
    name = next((n for n in ("board.json", "core.json") if (folder / n).exists()), "core.json")
    try:
        facts = read_json(folder / name, {"digest": str, "plan": dict})
        recipe, made = facts["plan"]["recipe"], facts["plan"]["fingerprint"]
    except (OSError, ValueError, KeyError):
        raise PlanError(
            f"Folder {folder} must hold a core or a board with its plan: none is in {name}"
        ) from None
    if facts["digest"] != network.digest:
        raise PlanError(
            f"Plan in {folder} must be of network {network.digest[:16]}, not {facts['digest'][:16]}"
        )
    plan = rebuild(network, recipe)
    if plan.fingerprint != made:
        raise PlanError(f"Plan in {folder} was made by another Sterna: build it again")
    return plan


@fills_folder
def generate(plan: CorePlan, folder: Path, *, taps: bool = False) -> dict[str, Any]:
    """Write `sterna_core.v`, `sterna_rom.v`, `rom/*.hex`, then `core.json`; return the manifest.

    Equal plans give equal bytes. Everything is made before the first file is written.

    Parameters
    ----------
    plan
        Network and layout.
    folder
        Where to; made if need be.
    taps
        Add the ports of the simulated variant (see `hw.core.Core`).
    """
    core = plan.component(taps=taps)
    facts = manifest(plan, core.taps)
    files = {f"{TOP}.v": _core_text(plan, core)}
    files |= {name: finish_memory(verilog_source(name)) for name in plan.sources}
    files |= {**rom_texts(plan), "core.json": json_text(facts)}
    write_files(folder, files, owned=["rom/*.hex"])
    return facts


def _core_text(plan: CorePlan, core: Core) -> str:
    ports = [*CLOCK, *ports_of(core)]
    cycles = [
        "A picture takes as many cycles as it has spikes for, by the law in docs/cycles.md: about",
        f"{plan.expected_cycles():,.0f} from class to class, at the activity that the network's "
        "file tells.",
    ]
    header = core_header(plan, TOP, ports, core_ports(plan, ports), cycles)
    return finish(verilog_text(core, TOP), header)
