"""The core of a plan of either schedule, and all that is told of its files and its input."""

from typing import Any

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan
from gen.core.program_files import AnyShared, shared_core, shared_roms
from gen.core.rom import pack_words, rom_images
from hw.contract.layout import MapLayout, map_layout
from hw.contract.spec import INPUT
from hw.core import Core
from hw.pipeline import Pipeline

__all__ = [
    "AnyPlan",
    "core_of",
    "input_layout",
    "input_shape",
    "input_words",
    "layout_facts",
    "rom_files",
]

AnyPlan = CorePlan | AnyShared
"""A core of either schedule."""


def core_of(plan: AnyPlan, *, events: bool = False, taps: bool = False) -> Core | Pipeline:
    """The hardware, its ROMs read from files; `events`, `taps`: see `hw.core.Core`."""
    if isinstance(plan, CorePlan):
        return Core(plan.layer_plans(with_files=True), events=events, taps=taps)
    return shared_core(plan, events=events, taps=taps)


def rom_files(plan: AnyPlan) -> dict[str, str]:
    """Text of every ROM image by its file name."""
    return rom_images(plan) if isinstance(plan, CorePlan) else shared_roms(plan)


def input_shape(plan: AnyPlan) -> tuple[int, int]:
    """(bits of a word, words of an image, or of all images of a recording)."""
    if isinstance(plan, CorePlan):
        first = plan.geometries[0]
        return first.word * first.planes, first.words
    return plan.lanes * plan.network.spec.input_bits, plan.stages[0].program.input_words


def input_words(plan: AnyPlan, pixels: npt.NDArray[np.integer]) -> list[int]:
    """The words of the input stream for images (n, image size), in order."""
    if isinstance(plan, CorePlan):
        return pack_words(pixels, plan.geometries[0])
    return plan.pack_words(pixels)


def input_layout(plan: AnyPlan) -> MapLayout | None:
    """How pixels lie in the words; None: one after the other."""
    return None if isinstance(plan, CorePlan) else map_layout(plan.network.spec, INPUT, plan.lanes)


def layout_facts(plan: AnyPlan) -> dict[str, Any]:
    """How a core is laid out, for reports (`gen.core.describe.layout_text`)."""
    stages = 0 if isinstance(plan, CorePlan) else len(plan.stages)
    return {"schedule": plan.schedule, "lanes": plan.lanes, "banks": plan.banks, "stages": stages}
