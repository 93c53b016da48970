"""Planner: lanes, banks and weight memories with which a network fits a board and runs fastest.

No tool is run: resources are estimated from the layout (gen/board/estimate.py), speed from the
cycles that each stage is expected to take.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from gen.board.boards import BOARDS, Board
from gen.board.estimate import Estimate, estimate, is_measured, memory_shares
from gen.core.plan import (
    SCHEDULES,
    CorePlan,
    PlanError,
    dense_tail,
    has_windows,
    plan_core,
    plan_mixed,
    plan_network,
)
from gen.family.pll import PllError, pll
from gen.layer.stage import LayerOptions
from gen.learn.stage import plan_learning
from hw.contract.network import Network
from hw.learn.masters import Masters
from hw.link.uart import LEAST_DIVISOR
from hw.memory.ram import SPRAM_BITS, SPRAM_ROWS
from hw.top.board import BoardSpec

__all__ = [
    "BAUD",
    "FLASH_ADDRESS",
    "BoardPlan",
    "board_spec",
    "default_hz",
    "fitting_plans",
    "place_core",
    "plan_board",
    "plan_learning_board",
]

BAUD = 1_000_000
FLASH_ADDRESS = 0x20000
"""Of the flash image: behind the bitstream, 104,090 bytes on the iCEBreaker, at a 64 KiB block."""

MOST_BAUD_ERROR = 0.025
"""Of a rate that is a divided clock: with the host's own error a UART bears about twice it."""

BANKS = (1, 2, 4, 8)
MOST_LANES = 128
PROGRAM_LANES = (8, 16, 32, 64, 128)
"""Lanes of a program on a board: the words of a picture are whole bytes."""

LEARNING_LANES = (2, 4, *PROGRAM_LANES)
"""Of a core that learns, likewise."""

TAIL_LANES = (8, 16, 32, 64)
"""Lanes of dense layers behind a program that are tried."""


@dataclass(frozen=True, kw_only=True)
class BoardPlan:
    """A network laid out for a board.

    `spec` is what the top needs of the board, `estimate` what the design will use, `cycles` the
    expected cycles of an image, for comparing plans of one clock with each other, and `seconds`
    for comparing any.
    """

    board: Board
    core: CorePlan
    spec: BoardSpec
    estimate: Estimate
    cycles: float

    @property
    def seconds(self) -> float:
        """Expected time of an image."""
        return self.cycles / self.spec.clock_hz

    @property
    def finished(self) -> bool:
        """Whether the family's last pass over the netlist is run (`Flow.finish`): on chains of
        layer stages what it brings was not measured yet, and default bitstreams are locked."""
        finishes = self.board.family.flow.finish is not None
        return finishes and any(stage.sizes_of != "layers" for stage in self.core.stages)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "board": self.board.name,
            "network": self.core.network.spec.name,
            "digest": self.core.network.digest,
            **self.core.facts(),
            "fire_lanes": self.core.options.fire_lanes,
            "lean": self.core.options.lean,
            "memories": list(self.core.memories),
            "clock_hz": self.spec.clock_hz,
            "full_chip_hz": default_hz(self.board, self.core),
            "clock_measured": not self.board.described,
            "flash_address": self.spec.flash_address,
            "estimate": self.estimate.to_dict(),
            "expected_cycles": round(self.cycles, 1),
            "expected_images_per_second": round(1 / self.seconds),
        }


def board_spec(board: Board, hz: float, *, loaded: bool) -> BoardSpec:
    """The top's view of a board at a clock.

    Raises
    ------
    PllError
        When the board cannot make that clock, or the host link's rate from it.
    """
    settings = pll(board, hz)
    ratio = float(settings.hz) / BAUD
    if round(ratio) < LEAST_DIVISOR or abs(round(ratio) / ratio - 1) > MOST_BAUD_ERROR:
        raise PllError(
            f"Clock of {board.name} must give {BAUD:,} baud within {MOST_BAUD_ERROR:.1%}, which "
            f"{float(settings.hz) / 1e6:g} MHz does not: choose one near a whole number of MHz, "
            f"{LEAST_DIVISOR} or more"
        )
    return BoardSpec(
        number=board.number,
        clock_hz=round(settings.hz),
        baud=BAUD,
        pll=settings.instance,
        led_active_low=board.led_active_low,
        flash_address=FLASH_ADDRESS if loaded else None,
    )


def plan_board(
    board: Board,
    network: Network,
    *,
    lanes: int | None = None,
    banks: int | None = None,
    megahertz: float | None = None,
    memories: Sequence[str] | None = None,
    fire_lanes: int | None = None,
    lean: bool | None = None,
    schedule: str = "auto",
    test_images: int = 0,
) -> BoardPlan:
    """The fastest layout that fits; what is given is kept. `test_images` go onto the chip too.

    A chain of dense layers gets stages of their own, unless a program is asked for, or is what
    fits, or is faster, of a chain with constants by channel: these cost additions in every lane.
    Any other network gets one program, several in a row, or one with its dense layers behind it
    (`gen.core.plan.plan_network`).

    A clock that is not given is the board's for each layout's banks. One that is given rules out
    layouts of more banks than reach it, unless the banks are given too.

    Raises
    ------
    PlanError
        When nothing fits: the sentence has what is over, by how much, and the smallest listed
        board that would hold the network.
    PllError
        For a clock that the board cannot make.
    """
    if schedule not in SCHEDULES:
        raise PlanError(f"Schedule must be one of {SCHEDULES}, not {schedule!r}")
    hz = None if megahertz is None else megahertz * 1e6
    chosen = lanes is None and banks is None and megahertz is None
    choices: Iterator[CorePlan]
    if schedule == "shared" or dense_tail(network.spec):
        choices = _program_choices(board, network, lanes, banks or 1, schedule)
    else:
        choices = _choices(board, network, hz, lanes, banks, memories, fire_lanes, lean)
        if schedule == "auto" and chosen and memories is None:
            choices = chain(choices, _beside(board, network))
    plans = [place_core(board, choice, hz, test_images) for choice in choices]
    if not plans:
        raise PlanError(f"Network {network.spec.name} fits none of the memories {memories}")
    return _fastest(board, plans, partial(_layouts, network), chosen, test_images)


def fitting_plans(board: Board, network: Network) -> Iterator[BoardPlan]:
    """Every layout of a network that fits a board at its own clock, of those that `plan_board`
    looks at, and of a chain of dense layers those as one program, which it looks at when asked."""
    for core in (*_layouts(network, board), *_as_programs(network, board)):
        plan = place_core(board, core)
        if not _over(plan):
            yield plan


def _as_programs(network: Network, board: Board) -> Iterator[CorePlan]:
    """Layouts of a chain of dense layers that are one program."""
    if not dense_tail(network.spec):
        with suppress(PlanError):  # neurons or sizes that programs do not have
            yield from _program_choices(board, network, None, 1, "shared")


def plan_learning_board(
    board: Board,
    masters: Masters,
    *,
    lanes: int | None = None,
    megahertz: float | None = None,
    samples: int = 0,
) -> BoardPlan:
    """The fastest layout that fits of a network that learns; what is given is kept. `samples`
    labelled images go onto the chip too: into block RAM, or where there are single-port RAMs into
    those, from the flash.

    Raises
    ------
    PlanError, PllError
        As `plan_board`.
    """
    if lanes is not None and lanes not in LEARNING_LANES:
        raise PlanError(
            f"Lanes of a learning core on a board must be one of {LEARNING_LANES}, not {lanes!r}"
        )
    hz = None if megahertz is None else megahertz * 1e6
    most = max(layer.neurons for layer in masters.spec.layers)
    choices = [plan_learning(masters, count) for count in LEARNING_LANES if count < 2 * most]
    cores = choices if lanes is None else [plan_learning(masters, lanes)]
    plans = [place_core(board, core, hz, samples) for core in cores]
    return _fastest(board, plans, lambda _: choices, lanes is None, samples)


def _fastest(
    board: Board,
    plans: list[BoardPlan],
    layouts: Callable[[Board], Iterable[CorePlan]],
    chosen: bool = True,
    images: int = 0,
) -> BoardPlan:
    """Of those that fit. `layouts`: every one on another board; `chosen`: `plans` are all that
    there are on this one."""
    fitting = [plan for plan in plans if not _over(plan)]
    if not fitting:
        nearest = min(plans, key=_excess)
        raise PlanError(_too_large(board, nearest, layouts, chosen, images))
    return min(fitting, key=lambda plan: (plan.seconds, plan.estimate.luts))


def place_core(board: Board, core: CorePlan, hz: float | None = None, images: int = 0) -> BoardPlan:
    """A core on a board at a clock in Hz (by default the board's for such cores), with `images` on
    the chip; whether it fits or not.

    Raises
    ------
    PllError
        When the board cannot make that clock.
    """
    flashed = board.flash and board.sprams
    loaded = core.loaded or bool(images and flashed and core.stages[0].label_bits)
    spec = board_spec(board, default_hz(board, core) if hz is None else hz, loaded=loaded)
    return BoardPlan(
        board=board,
        core=core,
        spec=spec,
        estimate=estimate(board, core, spec, images),
        cycles=core.expected_cycles(),
    )


def _over(plan: BoardPlan) -> list[tuple[str, int, int]]:
    return plan.estimate.over(_usable(plan))


def _usable(plan: BoardPlan) -> float:
    """Share of the chip's look-up tables that such a core may take."""
    family = plan.board.family
    kinds = {stage.sizes_of for stage in plan.core.stages}
    return min(family.full_of.get(kind, family.full) for kind in kinds)


def default_hz(board: Board, core: CorePlan) -> float:
    """The clock of a core unless asked otherwise: its slowest stage's."""
    return min(stage.clock_hz(board) for stage in core.stages)


def _choices(
    board: Board,
    network: Network,
    hz: float | None,
    lanes: int | None,
    banks: int | None,
    memories: Sequence[str] | None,
    fire_lanes: int | None,
    lean: bool | None,
) -> Iterator[CorePlan]:
    """Every layout worth a look; a network whose weights overflow block RAM is loaded from flash,
    if the board has one and memories for it."""
    most = max(layer.neurons for layer in network.spec.layers)
    counts = [lanes] if lanes else _lane_counts(min(most, MOST_LANES))
    quick = [n for n in BANKS if hz is None or n == 1 or hz <= board.clock_hz(n)]
    for bank_count in [banks] if banks else quick:
        for count in counts:
            options = {
                "fire_lanes": board.family.fire_lanes if fire_lanes is None else fire_lanes,
                "lean": board.family.lean if lean is None else lean,
            }
            if options["fire_lanes"] and options["fire_lanes"] < bank_count:
                options["fire_lanes"] = bank_count
            try:
                core = plan_core(network, count, bank_count, memories, **options)
            except PlanError:
                if lanes is not None or memories is None:
                    raise
                continue  # too many rows for the memories that were asked for
            if lanes is None and max(stage.lanes for stage in core.stages) < count:
                continue  # the same as with fewer lanes
            yield core
            if memories is None and board.flash:
                loaded = _loaded(core, board.sprams)
                if loaded is not None:
                    yield plan_core(network, count, bank_count, loaded, **options)


def _program_choices(
    board: Board, network: Network, lanes: int | None, banks: int, schedule: str
) -> Iterator[CorePlan]:
    """One program, as many as the network has stages, or one, by words or by windows, with dense
    layers behind it."""
    if lanes is not None and lanes not in PROGRAM_LANES:
        raise PlanError(
            f"Lanes of a program core on a board must be one of {PROGRAM_LANES}, not {lanes!r}"
        )
    spec = network.spec
    mixes = dense_tail(spec) < len(spec.layers) - 1
    wanted = ("shared", "pipelined", "mixed") if schedule == "auto" else (schedule,)
    if schedule == "auto" and has_windows(spec) and is_measured(board.family, "windows"):
        wanted += ("windows",)
    most = max(layer.map_shape[0] for layer in spec.layers)
    for count in [lanes] if lanes else [n for n in PROGRAM_LANES if n < 2 * most]:
        for kind in wanted:
            if kind == "mixed" and mixes:
                for tail in TAIL_LANES:
                    options = LayerOptions(lanes=tail, banks=banks)
                    yield plan_mixed(network, count, banks, options)
            elif kind != "mixed" or schedule != "auto":
                core = plan_network(network, count, 1 if schedule == "auto" else banks, kind)
                if kind == "shared" or len(core.stages) > 1 or schedule != "auto":
                    yield core


def _lane_counts(most: int) -> list[int]:
    """Lane counts that waste no lane in the last group, most first."""
    return sorted({-(-most // groups) for groups in range(1, most + 1)}, reverse=True)


def _loaded(core: CorePlan, sprams: int) -> tuple[str, ...] | None:
    """Weight memories of a loaded core: the largest layer in single-port RAM, if it fits."""
    needed = [memories for stage in core.stages for memories in stage.weight_memories().values()]
    sizes = [sum(memory.bits * memory.rows for memory in memories) for memories in needed]
    largest = sizes.index(max(sizes))
    rows = max(memory.rows for memory in needed[largest])
    blocks = sum(-(-memory.bits // SPRAM_BITS) for memory in needed[largest])
    if rows > SPRAM_ROWS or blocks > sprams:
        return None
    return tuple("spram" if n == largest else "ram" for n in range(len(sizes)))


def _excess(plan: BoardPlan) -> float:
    return max((used / max(there, 1) for _, used, there in _over(plan)), default=0.0)


def _too_large(
    board: Board,
    nearest: BoardPlan,
    layouts: Callable[[Board], Iterable[CorePlan]],
    chosen: bool,
    images: int,
) -> str:
    over, usable = _over(nearest), _usable(nearest)
    needs = ", ".join(f"{used} {what} of {there}" for what, used, there in over)
    if usable < 1 and any(what == "look-up tables" for what, *_ in over):
        luts = nearest.estimate.available["luts"]
        needs += f" ({usable:.0%} of the chip's {luts} count as usable)"
    sentence = (
        f"Network {nearest.core.network.spec.name} does not fit {board.name}: with "
        f"{nearest.core.facts()['layout']} it needs {needs}"
    )
    if nearest.estimate.brams > board.brams:
        sentence += f" ({memory_shares(nearest.core, board)})"
    if not chosen and _holds(board, layouts, images):
        return f"{sentence}; with lanes and banks of the planner's choice it fits"
    if images and _holds(board, layouts, 0):
        return f"{sentence}; with fewer images on the chip it fits"
    for other in sorted(BOARDS.values(), key=lambda b: b.luts):
        if _holds(other, layouts, images):
            return f"{sentence}; the smallest listed board that holds it is {other.name}"
    return f"{sentence}; no listed board holds it"


def _holds(board: Board, layouts: Callable[[Board], Iterable[CorePlan]], images: int) -> bool:
    return any(not _over(place_core(board, core, None, images)) for core in layouts(board))


def _layouts(network: Network, board: Board) -> Iterator[CorePlan]:
    """All layouts of a network that does not learn."""
    if dense_tail(network.spec):
        return _program_choices(board, network, None, 1, "auto")
    layers = _choices(board, network, None, None, None, None, None, None)
    return chain(layers, _beside(board, network))


def _beside(board: Board, network: Network) -> Iterator[CorePlan]:
    """Programs of a chain of dense layers that has constants by channel."""
    if any(layer.by_channel for layer in network.spec.layers):
        yield from _program_choices(board, network, None, 1, "shared")
