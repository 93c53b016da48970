"""What lies where: memories of a core, and the regions of a program's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gen.core.plan import CorePlan
from sw.report.figures import plain_axes
from sw.report.parts import Picture, Table
from sw.report.svg import Colour, as_svg

__all__ = ["memory_parts", "memory_sizes"]

FIELDS = {"name": str, "start": int, "words": int, "first": int, "last": int}


def memory_sizes(plan: CorePlan) -> Table:
    """Every memory of a core."""
    rows = []
    for stage in plan.stages:
        names = [plan.network.spec.layers[n].name for n in stage.layers]
        told = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        for name, memory in stage.memories().items():
            size = round(memory.rows * memory.bits / 1024, 2)
            rows.append((told, name, memory.rows, memory.bits, size))
    head = ("layers", "memory", "words", "bits of a word", "Kibit")
    return Table("memories", "Memories of the core", head, rows)


def memory_parts(
    memory: Any, number: int, stages: int, mark: str = "map"
) -> Iterator[Picture | Table]:
    """The memory map of a program stage, as plans and reports have it; nothing where there is none.

    Parameters
    ----------
    memory
        Regions by memory (`gen.program.memory_map.MemoryMap.to_dict`).
    number, stages
        Of the stage, of how many.
    mark
        Of ids.
    """
    regions = {
        name: [r for r in found if _is_region(r)]
        for name, found in (memory.items() if isinstance(memory, dict) else ())
        if isinstance(found, list)
    }
    if not any(regions.values()):
        return
    told, mark = "Memory map", f"{mark}{number}"
    if stages > 1:
        told += f" of stage {number}"
    yield Picture(
        as_svg(drawn_map(regions), told, mark),
        "Words of each memory, and for which segments of the program they are needed: what lies "
        "above each other is there at the same time.",
    )
    rows = [
        (
            name,
            r["name"],
            r["start"],
            r["start"] + r["words"] - 1,
            r["words"],
            r["first"],
            r["last"],
        )
        for name, found in regions.items()
        for r in found
    ]
    head = ("memory", "of", "first word", "last word", "words", "from segment", "to segment")
    yield Table(mark, told, head, rows)


def _is_region(found: Any) -> bool:
    return isinstance(found, dict) and all(
        type(found.get(key)) is kind for key, kind in FIELDS.items()
    )


def drawn_map(memories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """What lies where: words of a memory upwards, segments of the program from left to right.

    Parameters
    ----------
    memories
        Regions of each memory that has any: `name`, `start`, `words`, `first`, `last`.
    """
    shown = {name: regions for name, regions in memories.items() if regions}
    figure = Figure(figsize=(7, 0.5 + 1.9 * len(shown)), layout="constrained")
    rows = figure.subplots(len(shown), 1, squeeze=False)
    shades = (Colour.ACCENT, Colour.NEGATIVE, Colour.SECOND, Colour.POSITIVE)
    segments = 1 + max(r["last"] for regions in shown.values() for r in regions)
    for axes, (name, regions) in zip(rows[:, 0], shown.items(), strict=True):
        plain_axes(figure, axes, title=name, ylabel="word")
        top = max(r["start"] + r["words"] for r in regions)
        for n, r in enumerate(regions):
            wide = r["last"] - r["first"] + 1
            axes.add_patch(
                Rectangle(
                    *((r["first"], r["start"]), wide, r["words"]),
                    facecolor=shades[n % len(shades)], alpha=0.3, edgecolor=Colour.FAINT, lw=0.8,
                )
            )  # fmt: skip
            if r["words"] >= 0.07 * top:
                axes.text(
                    r["first"] + wide / 2, r["start"] + r["words"] / 2, r["name"],
                    ha="center", va="center", fontsize=8, color=Colour.INK,
                )  # fmt: skip
        axes.set(xlim=(0, segments), ylim=(0, top))
        axes.set_xticks(np.arange(segments) + 0.5, [str(n) for n in range(segments)])
    rows[-1, 0].set_xlabel("segment of the program")
    return figure
