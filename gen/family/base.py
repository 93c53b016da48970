"""What a chip family is: all that Sterna knows of it, in one object.

A family is one file that makes a `Family`, and one entry of `gen.family.registry`. What a family
lacks is None, or the default: no clock generator, no swap of ROM contents, no simulation models.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gen.family.pll import Pll
from gen.family.rom_swap import RomSwap
from gen.family.tools import Program

__all__ = [
    "FAIL_SOON",
    "TIGHT",
    "BlockRams",
    "Cells",
    "Chip",
    "Clocks",
    "Family",
    "Flow",
    "Part",
    "Pin",
    "ResourceNames",
]

FAIL_SOON = ("--placer-heap-cell-placement-timeout", "100")
"""Router flags: rather than search for minutes; on a full chip, another seed is what helps."""


TIGHT = 0.85
"""Share of a chip's look-up tables from which on synthesis may take its time."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A pin of the board: the top's port, where it is, its direction and electrical attributes.

    `inverted` pins are active low; the port is not inverted by the constraints.
    """

    port: str
    site: str
    output: bool
    inverted: bool
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """How a family is built.

    Parameters
    ----------
    synthesis, tight
        Yosys commands; `{top}` is the top module. The second, if there is one, for designs that
        need more than `TIGHT` of the chip; where Yosys ends in a trap with it, the first.
    finish
        Changes the top module of Yosys' JSON netlist in what Yosys knows nothing of, in place.
    router, router_flags
        nextpnr of the family, and arguments that every design gets.
    rip_up
        Arguments that tear up late wires, and route them anew, until none is late.
    routed, routed_flag
        File of the routed design, and the argument that makes nextpnr write it.
    constraints, constraints_flag
        File of constraints, and the argument before it; with `=`, a prefix of its name.
    unconstrained
        Arguments with which ports without constraints are placed anywhere.
    packer, pack_flags
        Program that makes the bitstream; `{routed}` and `{bitstream}` are the files.
    bitstream
        Ending of the bitstream's name.
    synthesis_seconds, routing_seconds
        Of a thousand look-up tables, on the machine of docs/results.md, by whole boards that were
        built there (sw/study/bitstreams.json); by these long steps are announced, since nobody
        knows more before them than the magnitude. 0: no board was built.
    """

    synthesis: str
    tight: str = ""
    finish: Callable[[dict[str, Any]], None] | None = None
    router: Program
    router_flags: tuple[str, ...] = ()
    rip_up: tuple[str, ...] = ()
    routed: str
    routed_flag: str
    constraints: str
    constraints_flag: tuple[str, ...]
    unconstrained: tuple[str, ...] = ()
    packer: Program
    pack_flags: tuple[str, ...]
    bitstream: str
    synthesis_seconds: float = 0.0
    routing_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class BlockRams:
    """How Yosys maps memories to block RAM.

    Parameters
    ----------
    shapes
        (bits, rows) that one block RAM can have.
    lut_rams
        Block RAM is used when it saves so many look-up-table RAMs, of 16 rows of 4 bits, each;
        0 on a family without such RAMs.
    flip_flops
        Without such RAMs: when it saves so many flip-flops each.
    """

    shapes: tuple[tuple[int, int], ...]
    lut_rams: int = 0
    flip_flops: int = 128

    def count(self, width: int, depth: int, force: bool) -> int:
        """Block RAMs of a memory of `depth` rows of `width` bits with one write and one read port;
        0 if Yosys uses logic for it, which `force` rules out."""
        blocks = min(math.ceil(width / w) * math.ceil(depth / d) for w, d in self.shapes)
        if force:
            return blocks
        if self.lut_rams:
            saved = math.ceil(width / 4) * math.ceil(depth / 16)
            # A last block RAM that is less than half used counts half (found by `make calibrate`).
            spare = min(0.5, blocks - min(width / w * math.ceil(depth / d) for w, d in self.shapes))
            return blocks if saved >= self.lut_rams * max(1.0, blocks - spare) else 0
        return blocks if width * depth >= self.flip_flops * blocks else 0


@dataclass(frozen=True, kw_only=True)
class ResourceNames:
    """What nextpnr calls resources; "" for what the family lacks.

    Parameters
    ----------
    luts, brams, sprams, multipliers
        In nextpnr's table of what is used.
    ffs
        The same; "" where a logic cell has a look-up table and a flip-flop, and nextpnr counts
        logic cells.
    ff_cells
        Beginning of the types of flip-flops in Yosys' netlist, counted where `ffs` is "".
    """

    luts: str
    brams: str
    sprams: str = ""
    multipliers: str = ""
    ffs: str = ""
    ff_cells: str = ""

    def used(
        self, resources: Mapping[str, Sequence[int]], cells: Mapping[str, int]
    ) -> dict[str, int]:
        """`luts`, `brams`, `sprams` and `ffs` of a design, from nextpnr's {kind: [used, available]}
        and Yosys' {cell type: number}."""
        kinds = ("luts", "brams", "sprams", "ffs")
        used = {kind: resources.get(getattr(self, kind), [0])[0] for kind in kinds}
        if not self.ffs:
            used["ffs"] = sum(n for cell, n in cells.items() if cell.startswith(self.ff_cells))
        return used


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Simulation models of a family's cells (`sim.board.netlist`).

    Parameters
    ----------
    folder
        Of their models, in Yosys' share folder.
    defines
        What `cells_sim.v` has to find defined.
    own
        What Yosys has no model of: {cell: file of sim/board/models}.
    ram, contents
        Prefix of the types of block RAMs, and the names of the parameters with their contents.
    width, fields
        Bits of such a parameter, and (lowest bit, bits) of the numbers in it, as the text form of
        a routed design has them.
    start, header, digits
        There: the first line, the line that opens a block RAM, `{}` being any number, and the
        hexadecimal digits of a number.
    any_width
        Whether the swap's tool finds contents of every width of block RAM in that text alone, so
        that any design can be simulated. icebram does so of the widest only: of others it wants
        the configuration of their tiles.
    """

    folder: str
    defines: tuple[str, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)
    ram: str
    contents: tuple[str, ...]
    width: int
    fields: tuple[tuple[int, int], ...]
    start: str = ""
    header: str
    digits: int
    any_width: bool = False


@dataclass(frozen=True, kw_only=True)
class Clocks:
    """Clocks of a core unless asked otherwise, in Hz: what a full chip of a family reaches after
    routing (docs/results.md). A chip that was never built for has those of its nearest relative.

    Parameters
    ----------
    layers
        Of layer stages, by the number of banks from which on it holds.
    shared, windows
        Of program stages, and of window stages.
    """

    layers: Mapping[int, int]
    shared: int
    windows: int


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A device of a family, as nextpnr counts and calls it.

    Parameters
    ----------
    name
        As in a board's file.
    luts, ffs, brams, sprams
        What nextpnr says it has; a die that is sold under two names has one count.
    packages
        The tools' name of each package, by what boards call it, in capitals.
    grades
        Speed grades, slowest first; none where the tools know one speed only.
    flags
        Arguments that make nextpnr know the device; `{package}` and `{grade}` are the part's.
    pack
        Arguments of the packer.
    clocks
        Unless asked otherwise.
    pll_pads
        Pins of the clock generators by package, where a family's generators differ by the pin of
        the oscillator; a package that is not among them has no generator.
    """

    name: str
    luts: int
    ffs: int
    brams: int
    sprams: int = 0
    packages: Mapping[str, str]
    grades: tuple[str, ...] = ()
    flags: tuple[str, ...]
    pack: tuple[str, ...] = ()
    clocks: Clocks
    pll_pads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A chip as it is soldered to a board.

    Parameters
    ----------
    chip, package, grade
        The last two in the tools' words; the grade is "" where there is one speed.
    clock
        Pin of the oscillator.
    """

    chip: Chip
    package: str
    grade: str = ""
    clock: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        """Arguments that make nextpnr know it."""
        return tuple(f.format(package=self.package, grade=self.grade) for f in self.chip.flags)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A chip family.

    Parameters
    ----------
    name
        In reports, and the key of its weights in gen/board/weights.json.
    flow
        From Verilog to a bitstream.
    constraints
        Lines of nextpnr's constraints: called with the pins, and the frequency in Hz at port `clk`.
    pll
        Clock generator; None: a board's clock is its oscillator's.
    rams, names
        Block RAM as Yosys maps it; resources as nextpnr calls them.
    full
        Share of the look-up tables that a design may use; beyond, nextpnr finds no place for it, or
        only with a lucky seed.
    full_of
        The same of cores of some kinds of stage (`gen.stage.stage.StagePlan.sizes_of`), where it is
        another.
    lean, fire_lanes
        How cores are built unless asked otherwise (`gen.core.plan.plan_core`): small rather than
        fast, and with so many lanes that fire; 0 for all.
    swap
        New ROM contents in a routed design; None: real contents are synthesised, and no bitstream
        is reloaded.
    cells
        Simulation models of a synthesised design; None: it cannot be simulated.
    unpackable
        nextpnr's flag of the device whose bitstreams `sim.board.unpack` takes apart, or "".
    weights_of
        Name of the family whose weights estimate look-up tables, as long as none were fitted to
        this one (`make calibrate`).
    ridge
        Weight of the weights' own squares beside the errors', each size scaled to its norm, when
        they are fitted (`gen.board.calibrate`), by kind of stage (`StagePlan.sizes_of`). Left out,
        it is 0: the designs that were measured are met as exactly as can be, which is what matters
        on a small chip, nearly filled by a design.
    chips
        Its devices by name.
    grade_key
        What a board's file calls the speed grade; "" in a family without.
    attributes
        What can be said of a pin, in the words of its constraints, and the values of each.
    flashed
        Whether a board's own way in is its flash: nothing can be loaded without writing it.
    as_on
        The family as it is on a part, where clock generators or synthesis differ by chip; None:
        all chips are alike.
    """

    name: str
    flow: Flow
    constraints: Callable[[Sequence[Pin], int], list[str]]
    pll: Pll | None = None
    rams: BlockRams
    names: ResourceNames
    full: float
    full_of: Mapping[str, float] = field(default_factory=dict)
    lean: bool = False
    fire_lanes: int = 0
    swap: RomSwap | None = None
    cells: Cells | None = None
    unpackable: str = ""
    weights_of: str = ""
    ridge: Mapping[str, float] = field(default_factory=dict)
    chips: Mapping[str, Chip] = field(default_factory=dict)
    grade_key: str = ""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flashed: bool = False
    as_on: "Callable[[Family, Part], Family] | None" = None

    def on(self, part: Part) -> "Family":
        """The family as it is on a part."""
        return self if self.as_on is None else self.as_on(self, part)
