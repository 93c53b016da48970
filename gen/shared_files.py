"""The files of a shared core: its ROM images, and a manifest of what is what."""

from typing import Any

from gen.rom import rom_text
from gen.shared_plan import SharedPlan
from hw.shared import RomFiles, SharedCore

__all__ = ["shared_core", "shared_manifest", "shared_roms"]

FILES = RomFiles(
    program="rom/program.hex", weights="rom/weights.hex", biases="rom/biases.hex",
    thetas="rom/thetas.hex",
)  # fmt: skip


def shared_core(plan: SharedPlan, *, taps: bool) -> SharedCore:
    """The core, its ROMs read from files."""
    return SharedCore(plan.program, FILES, taps=taps)


def shared_manifest(plan: SharedPlan, *, taps: bool) -> dict[str, Any]:
    """What a program needs to know to drive the core: digest, layout, memories."""
    spec = plan.image.spec
    return {
        "network": spec.name,
        "digest": plan.image.digest,
        "schedule": plan.schedule,
        "taps": taps,
        "lanes": plan.lanes,
        "banks": plan.banks,
        "input_size": spec.input_size,
        "input_bits": spec.input_bits,
        "word": plan.lanes,
        "words": plan.program.input_words,
        "steps": spec.steps,
        "classes": spec.classes,
        "operations": len(plan.program.operations),
        "memory": plan.memory.to_dict(),
        "trace": [],
    }


def shared_roms(plan: SharedPlan) -> dict[str, str]:
    """Text of every ROM image by its file name."""
    p, network = plan.program, f"network {plan.image.digest[:16]}"
    made = {FILES.program: rom_text(
        f"{len(p.operations)} operations of {p.code.bits} bit; {network}", p.code.words,
        p.code.bits,
    )}  # fmt: skip
    for name, table in (
        (FILES.weights, p.weight_table), (FILES.biases, p.bias_table), (FILES.thetas, p.theta_table)
    ):  # fmt: skip
        if table is not None:
            head = f"{len(table.words)} rows of {table.lanes} x {table.bits} bit; {network}"
            made[name] = rom_text(head, table.words, table.width)
    return made
