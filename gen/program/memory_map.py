"""Where a program keeps what: regions of its memories, and how long each is needed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hw.program.program import Program

__all__ = ["MemoryMap", "Region", "allocate", "memory_rows"]


@dataclass
class Region:
    """Words that hold one thing from segment `first` of the program to segment `last`."""

    name: str
    words: int
    first: int
    last: int
    start: int = 0

    @property
    def stop(self) -> int:
        """The word after the last."""
        return self.start + self.words


@dataclass(frozen=True)
class MemoryMap:
    """Regions of the memory of potentials and of that of spikes."""

    potentials: list[Region] = field(default_factory=list)
    spikes: list[Region] = field(default_factory=list)

    def potential(self, name: str) -> int:
        """First word of a layer's potentials, or of `LAYER (drive)`."""
        return next(region.start for region in self.potentials if region.name == name)

    def spike(self, name: str) -> int:
        """First word of a layer's spikes."""
        return next(region.start for region in self.spikes if region.name == name)

    @property
    def potential_words(self) -> int:
        """Words of the memory of potentials."""
        return max(region.stop for region in self.potentials)

    @property
    def spike_words(self) -> int:
        """Words of the memory of spikes."""
        return max((region.stop for region in self.spikes), default=0)

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Plain data: regions of each memory."""
        return {
            "potentials": [asdict(region) for region in self.potentials],
            "spikes": [asdict(region) for region in self.spikes],
        }


def allocate(potentials: Sequence[Region], spikes: Sequence[Region]) -> MemoryMap:
    """Give every region the lowest words that are free as long as it is needed."""
    return MemoryMap(_place(potentials), _place(spikes))


def memory_rows(p: Program, memory: MemoryMap) -> list[tuple[str, object]]:
    """The memories of a program stage, and what lies where, as rows of a table."""
    rows: list[tuple[str, object]] = [
        (f"memory of {name}", f"{words:,} words of {bits} bits, {words * bits / 1024:,.0f} Kibit")
        for name, (words, bits) in p.memories.items()
    ]
    for name, regions in (("potentials", memory.potentials), ("spikes", memory.spikes)):
        rows += [
            (
                f"  {name}, {region.name}",
                f"words {region.start:,} to {region.stop - 1:,}, "
                + (
                    f"segment {region.first}"
                    if region.first == region.last
                    else f"segments {region.first} to {region.last}"
                ),
            )
            for region in regions
        ]
    return rows


def _place(regions: Sequence[Region]) -> list[Region]:
    placed: list[Region] = []
    for region in regions:
        beside = sorted(
            (
                other
                for other in placed
                if other.first <= region.last and region.first <= other.last
            ),
            key=lambda other: other.start,
        )
        start = 0
        for other in beside:
            if other.start - start >= region.words:
                break
            start = max(start, other.stop)
        region.start = start
        placed.append(region)
    return placed
