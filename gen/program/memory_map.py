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
    """Regions of the memories of potentials, of drives and of spikes (of each bank)."""

    potentials: list[Region] = field(default_factory=list)
    drives: list[Region] = field(default_factory=list)
    spikes: list[Region] = field(default_factory=list)

    def potential(self, name: str) -> int:
        """First word of a layer's potentials."""
        return _start(self.potentials, name)

    def drive(self, name: str) -> int:
        """First word of a layer's drives."""
        return _start(self.drives, name)

    def spike(self, name: str) -> int:
        """First word of a layer's spikes."""
        return _start(self.spikes, name)

    @property
    def potential_words(self) -> int:
        """Words of the memory of potentials."""
        return _words(self.potentials)

    @property
    def drive_words(self) -> int:
        """Words of the memory of drives."""
        return _words(self.drives)

    @property
    def spike_words(self) -> int:
        """Words of a bank of the memory of spikes."""
        return _words(self.spikes)

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Plain data: regions of each memory."""
        return {
            "potentials": [asdict(region) for region in self.potentials],
            "drives": [asdict(region) for region in self.drives],
            "spikes": [asdict(region) for region in self.spikes],
        }


def allocate(
    potentials: Sequence[Region], drives: Sequence[Region], spikes: Sequence[Region]
) -> MemoryMap:
    """Give every region the lowest words that are free as long as it is needed."""
    return MemoryMap(_place(potentials), _place(drives), _place(spikes))


def _start(regions: Sequence[Region], name: str) -> int:
    return next(region.start for region in regions if region.name == name)


def _words(regions: Sequence[Region]) -> int:
    return max((region.stop for region in regions), default=0)


def memory_rows(p: Program, memory: MemoryMap) -> list[tuple[str, object]]:
    """The memories of a program stage, and what lies where, as rows of a table."""
    rows: list[tuple[str, object]] = [
        (f"memory of {name}", f"{words:,} words of {bits} bits, {words * bits / 1024:,.0f} Kibit")
        for name, (words, bits) in p.memories.items()
    ]
    for name, regions in (
        ("potentials", memory.potentials),
        ("drives", memory.drives),
        ("spikes", memory.spikes),
    ):
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
