"""A network as a core: which stages it is cut into, and what is asked of all of them together."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.layer.stage import MAX_CHUNK, LayerOptions, LayerStagePlan, as_planned, plan_layers
from gen.program.stage import PROGRAM_LANES, ProgramStagePlan, plan_program
from gen.stage.stage import PlanError, Rom, StagePlan
from gen.window.stage import WindowStagePlan, plan_window, window_layers, window_rows
from hw.contract.edge import INPUT
from hw.contract.layout import MapLayout
from hw.contract.network import Network
from hw.contract.spec import NetworkSpec
from hw.contract.text import none_of
from hw.core import Core

__all__ = [
    "SCHEDULES",
    "CorePlan",
    "PlanError",
    "cuts",
    "dense_tail",
    "has_windows",
    "in_files",
    "plan_core",
    "plan_mixed",
    "plan_network",
    "plan_programs",
    "plan_windows",
    "played_changes",
    "rebuild",
]

SCHEDULES = ("auto", "pipelined", "shared", "mixed", "windows")
TAIL_LANES = (8, 16, 32, 64, 128)
"""Lanes that are tried for dense layers behind a program."""
TAIL_BANKS = (1, 2, 4, 8)
SENT = 0.05
"""Of a window stage's time, the share in which it may send its spikes, if more banks take them."""
KEEPS_UP = 0.4
"""Of a window stage's time, what the dense layers behind it may take: while they play the first
steps, it waits with the others."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CorePlan:
    """A network and the stages that run it.

    Parameters
    ----------
    network
        The network.
    lanes, banks
        As asked for: neurons or channels per cycle, events per cycle at most.
    stages
        In the order data flow.
    schedule
        How it came about: one of `SCHEDULES`, but `auto`.
    bounds
        The first layer of each program, then the first layer that is a stage of its own (or the
        number of layers). With `options`, all it takes to build the same again.
    options
        How layers that are stages of their own are laid out.
    changes
        Layers whose spikes programs play as what changes from step to step.
    rows
        Of layers that run in a window stage: rows of a map in a word. Empty: there is none.
    """

    network: Network
    lanes: int
    banks: int
    stages: tuple[StagePlan, ...]
    schedule: str
    bounds: tuple[int, ...]
    options: LayerOptions
    changes: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def input_bits(self) -> int:
        """Bits of a word of the input stream."""
        return self.stages[0].input.bits

    @property
    def words(self) -> int:
        """Words of a picture, or of a recording's vectors together."""
        return self.stages[0].words * self.stages[0].vectors

    @property
    def layout(self) -> MapLayout | None:
        """How pixels lie in the words; None: one after the other, each vector from a new word."""
        return self.stages[0].layout

    @property
    def settle(self) -> int:
        """Cycles after reset before the first word may be offered."""
        return max(stage.settle for stage in self.stages)

    @property
    def memories(self) -> tuple[str, ...]:
        """Where each stage's weights are: all `rom`, or each `ram` or `spram`."""
        return tuple(stage.memory for stage in self.stages)

    @property
    def loaded(self) -> bool:
        """The weights come from a flash image, not with the design."""
        return any(memory != "rom" for memory in self.memories)

    @property
    def swappable(self) -> bool:
        """Other weights of the same shape can be put into a routed design, or into a flash: all
        but those of a core that learns."""
        return all(rom.swappable for rom in self.roms().values())

    def roms(self) -> dict[str, Rom]:
        """Contents of every ROM by file name."""
        return {name: rom for stage in self.stages for name, rom in stage.roms().items()}

    @property
    def sources(self) -> tuple[str, ...]:
        """Verilog that the core's memories are instances of (`hw.memory.sources`)."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.sources))

    def component(self, *, files: bool = True, events: bool = False, taps: bool = False) -> Core:
        """The hardware; its ROMs are read from files, or, without `files`, are Amaranth's.
        `events`, `taps`: see `hw.core.Core`."""
        stages = [stage.component(files=files, events=events, taps=taps) for stage in self.stages]
        return Core(stages, events=events, taps=taps)

    def pack(self, pixels: npt.NDArray[np.integer]) -> list[int]:
        """The words of the input stream for pictures or recordings (n, size), in order."""
        return self.stages[0].pack(pixels)

    def expected_cycles(self) -> float:
        """Cycles of a picture at the network's own activity (`Network.densities`): the slowest
        stage's."""
        return max(stage.expected_cycles() for stage in self.stages)

    @property
    def how(self) -> str:
        """What the core is made of, in words."""
        parts = [[*same] for _, same in groupby(self.stages, key=lambda stage: stage.sizes_of)]
        if len(parts) == 1:
            return self.stages[0].how(len(self.stages))
        return ", then ".join(
            f"{part[0].how(len(part))} for {len(part)} stage(s) of {part[0].lanes} lanes"
            for part in parts
        )

    def facts(self) -> dict[str, Any]:
        """How the core is laid out, for reports."""
        return {
            "schedule": self.schedule,
            "lanes": self.lanes,
            "banks": self.banks,
            "stages": len(self.stages),
            "layout": f"{self.lanes} lanes, {self.how}",
        }

    def recipe(self) -> dict[str, Any]:
        """Plain data from which `rebuild` makes the same plan of the same network, or of one whose
        weights are to take the place of this one's: hardware as wide as this."""
        return {
            "schedule": self.schedule,
            "lanes": self.lanes,
            "banks": self.banks,
            "bounds": self.bounds,
            "options": asdict(self.options),
            "changes": self.changes,
            **({"rows": dict(self.rows)} if self.rows else {}),
            "floors": [layer.bounds for layer in self.network.layers],
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of how the core is laid out and of what its ROMs hold: equal where two
        plans are the same hardware, with the same cycles and events."""
        sha = hashlib.sha256(self.network.digest.encode())
        sha.update(json.dumps([self.recipe(), [s.facts() for s in self.stages]]).encode())
        for name, rom in sorted(self.roms().items()):
            sha.update(f"{name} {rom.bits} {[*rom.rows]}".encode())
        return sha.hexdigest()


def rebuild(network: Network, recipe: Mapping[str, Any]) -> CorePlan:
    """The plan that `CorePlan.recipe` describes.

    Raises
    ------
    PlanError
        For a recipe that is none, or of a core that learns.
    """
    try:
        return _rebuilt(network, recipe)
    except (KeyError, TypeError, AttributeError, IndexError):
        raise PlanError(f"No core of {network.spec.name} can be laid out by {recipe!r}") from None


def in_files(core: CorePlan) -> CorePlan:
    """The same core, but for weights that are loaded at power-up: they are in ROM files, with which
    it can be simulated by itself."""
    if not core.loaded:
        return core
    recipe = core.recipe()
    return rebuild(core.network, recipe | {"options": recipe["options"] | {"memories": None}})


def _rebuilt(network: Network, recipe: Mapping[str, Any]) -> CorePlan:
    if recipe["schedule"] not in SCHEDULES[1:]:
        raise PlanError(f"A {recipe['schedule']} core is not laid out by a recipe")
    given: dict[str, Any] = dict(recipe["options"])
    if given["memories"] is not None:
        given["memories"] = tuple(given["memories"])
    options, lanes, bounds = LayerOptions(**given), recipe["lanes"], tuple(recipe["bounds"])
    changes, rows = tuple(recipe["changes"]), dict(recipe.get("rows", {}))
    network = replace(network, floors=tuple(tuple(floor) for floor in recipe["floors"]))
    programs = _programs(network, lanes, bounds, changes, rows)
    return CorePlan(
        network=network,
        lanes=lanes,
        banks=recipe["banks"],
        stages=(*programs, *_layers(network, options, programs)),
        schedule=recipe["schedule"],
        bounds=bounds,
        options=options,
        changes=changes,
        rows=rows,
    )


def _programs(
    network: Network,
    lanes: int,
    bounds: Sequence[int],
    changes: Sequence[str],
    rows: Mapping[str, int] | None = None,
) -> list[ProgramStagePlan]:
    """A program for the layers from each bound to the next; with `rows`, one of windows."""
    layers = network.spec.layers
    if rows:
        return [plan_window(network, lanes, range(*bounds), changes, rows, "0")]
    alone = [*bounds] == [0, len(layers)]
    return [
        plan_program(
            network,
            lanes,
            range(start, stop),
            layers[start - 1].name if start else INPUT,
            "" if alone else str(n),
            changes,
        )
        for n, (start, stop) in enumerate(pairwise(bounds))
    ]


def _layers(
    network: Network, options: LayerOptions, programs: Sequence[ProgramStagePlan]
) -> list[LayerStagePlan]:
    """A stage of its own for each layer behind the programs."""
    if not programs:
        return plan_layers(network, options)
    return plan_layers(network, options, programs[-1].layers.stop, programs[-1].output)


def cuts(spec: NetworkSpec) -> list[int]:
    """Where a network can be cut: the numbers of layers that may begin a stage. All that crosses a
    cut must be the spikes of the layer right before it. (With one step, an edge with a delay never
    brings any.)"""
    place = {layer.name: n for n, layer in enumerate(spec.layers)} | {INPUT: -1}
    found = []
    for cut in range(1, len(spec.layers)):
        crossing = {
            place[edge.source]
            for n in range(len(spec.layers))
            for edge in spec.edges(n)
            if (place[edge.source] < cut) != (n < cut) and edge.delay < spec.steps
        }
        if crossing == {cut - 1}:
            found.append(cut)
    return found


def dense_tail(spec: NetworkSpec) -> int:
    """The first of the layers, up to the last, that can each be a stage of their own: dense, from
    the layer before alone. 0: all of them can; the number of layers: none can."""
    first, possible = len(spec.layers), {0, *cuts(spec)}
    for n in reversed(range(len(spec.layers))):
        edge, *others = spec.edges(n)
        dense = edge.kind == "dense" and not (edge.delay or others)
        if not dense or n not in possible:
            break
        first = n
    return first


def plan_core(
    network: Network,
    lanes: int | None = None,
    banks: int = 1,
    memories: Sequence[str] | None = None,
    *,
    fire_lanes: int = 0,
    lean: bool = False,
    repeat: bool = False,
    once: bool | None = None,
) -> CorePlan:
    """Every layer as a stage of its own: see `gen.layer.stage.LayerOptions`.

    Raises
    ------
    PlanError
        For options that no layer has, or when a layer is not dense.
    """
    options = LayerOptions(
        banks=banks,
        memories=None if memories is None else tuple(memories),
        fire_lanes=fire_lanes,
        lean=lean,
        repeat=repeat,
        once=once,
    )
    if lanes is not None:
        options = replace(options, lanes=lanes)
    if dense_tail(network.spec):
        raise PlanError(
            f"Network {network.spec.name} must be a chain of dense layers for layers of their own: "
            "convolution, pooling, shortcuts and recurrence run in programs"
        )
    stages = plan_layers(network, options)
    return CorePlan(
        network=network,
        lanes=options.lanes,
        banks=options.banks,
        stages=tuple(stages),
        schedule="pipelined",
        bounds=(0,),
        options=as_planned(options, stages),
    )


def plan_programs(
    network: Network,
    lanes: int | None = None,
    starts: Sequence[int] | None = None,
    changes: Sequence[str] | None = None,
) -> CorePlan:
    """Cut a network wherever it can be cut, or at `starts`, into stages that are programs.

    Parameters
    ----------
    changes
        Layers whose spikes are played as what changes from step to step; None: those of which less
        changes than fires (`played_changes`).

    Raises
    ------
    PlanError
        When it cannot be cut there, there is no such layer that fires, or for what `plan_program`
        refuses.
    """
    spec, possible = network.spec, cuts(network.spec)
    chosen = possible if starts is None else sorted(set(starts))
    if not set(chosen) <= set(possible):
        names = [spec.layers[n].name for n in possible]
        raise PlanError(
            f"Network {spec.name} can be cut before the layers {names}, not before layer numbers "
            f"{[n for n in chosen if n not in possible]}"
        )
    bounds, lanes = (0, *chosen, len(spec.layers)), PROGRAM_LANES if lanes is None else lanes
    those = tuple(played_changes(network) if changes is None else changes)
    for one in those:
        if one not in network.firing:
            raise PlanError(none_of("Layer whose changes are played", one, network.firing))
    return CorePlan(
        network=network,
        lanes=lanes,
        banks=1,
        stages=tuple(_programs(network, lanes, bounds, those)),
        schedule="pipelined" if chosen or starts is None else "shared",
        bounds=bounds,
        options=LayerOptions(),
        changes=those,
    )


def played_changes(network: Network) -> list[str]:
    """Layers whose spikes change less from step to step than they fire: of a network whose activity
    is not known, all of them if its input is a picture, and none if it is a recording."""
    activity = network.activity
    if activity is None:
        return [] if network.spec.timed_input else network.firing
    return [name for name in network.firing if activity.changes[name] <= activity.spikes[name]]


def plan_mixed(
    network: Network, lanes: int | None = None, banks: int = 1, options: LayerOptions | None = None
) -> CorePlan:
    """One program for the layers of maps; each dense layer behind them is a stage of its own.

    Parameters
    ----------
    lanes
        Of the program.
    banks, options
        Of the dense layers. Without options, they get the fewest lanes that keep up with the
        program.

    Raises
    ------
    PlanError
        When no dense layer follows the layers of maps, or a stage cannot be laid out.
    """
    spec, first = network.spec, dense_tail(network.spec)
    if not 0 < first < len(spec.layers):
        raise PlanError(
            f"Network {spec.name} must have dense layers behind others to mix both kinds of stage"
        )
    lanes = PROGRAM_LANES if lanes is None else lanes
    bounds, changes = (0, first), tuple(played_changes(network))
    programs = _programs(network, lanes, bounds, changes)
    return _with_tail(network, "mixed", programs, banks, options, changes)


def has_windows(spec: NetworkSpec) -> bool:
    """Whether a network can have a window stage: layers that convolutions and identities alone
    reach, then dense ones alone."""
    first = dense_tail(spec)
    return 0 < first < len(spec.layers) and first <= window_layers(spec)


def plan_windows(
    network: Network, lanes: int | None = None, banks: int = 1, options: LayerOptions | None = None
) -> CorePlan:
    """A window stage for the layers of maps; each dense layer behind them is a stage of its own.

    Parameters
    ----------
    lanes
        Of the window stage: channels per cycle, at each position of a window.
    banks, options
        Of the dense layers. With one bank and without options, they get as many banks as it takes
        to receive spikes quickly, and the fewest lanes that keep up.

    Raises
    ------
    PlanError
        When it cannot have one (`has_windows`), or a stage cannot be laid out.
    """
    spec, first = network.spec, dense_tail(network.spec)
    if not has_windows(spec):
        raise PlanError(
            f"Network {spec.name} must have layers that convolutions and identities alone reach, "
            "then dense ones alone, for a window core"
        )
    lanes = PROGRAM_LANES if lanes is None else lanes
    bounds, changes = (0, first), tuple(played_changes(network))
    programs = _programs(network, lanes, bounds, changes, window_rows(network, range(first), lanes))
    (window,) = programs
    assert isinstance(window, WindowStagePlan)
    wanted, sent = window.expected_cycles(), window.output.words * spec.steps
    if banks == 1 and options is None:
        size, most = window.output.size, SENT * wanted
        quick = (n for n in TAIL_BANKS if sent * -(-size // (MAX_CHUNK * n)) <= most)
        banks = next(quick, TAIL_BANKS[-1])
    core = _with_tail(network, "windows", programs, banks, options, changes, KEEPS_UP)
    return replace(core, rows=window.rows)


def _with_tail(
    network: Network,
    schedule: str,
    programs: Sequence[ProgramStagePlan],
    banks: int,
    options: LayerOptions | None,
    changes: tuple[str, ...],
    share: float = 1,
) -> CorePlan:
    """One program, and a stage for each dense layer behind it: without options, with the fewest
    lanes with which these take this share of the program's time."""
    wanted = share * max(stage.expected_cycles() for stage in programs)
    tries = [options] if options else [LayerOptions(lanes=n, banks=banks) for n in TAIL_LANES]
    for chosen in tries:
        tail = _layers(network, chosen, programs)
        if max(stage.expected_cycles() for stage in tail) <= wanted:
            break
    return CorePlan(
        network=network,
        lanes=programs[0].lanes,
        banks=banks,
        stages=(*programs, *tail),
        schedule=schedule,
        bounds=(0, programs[-1].layers.stop),
        options=as_planned(chosen, tail),
        changes=changes,
    )


def plan_network(
    network: Network, lanes: int | None = None, banks: int = 1, schedule: str = "auto"
) -> CorePlan:
    """Lay out a network.

    Parameters
    ----------
    lanes
        Neurons per cycle; by default 128 of layers of their own, 16 of a program.
    banks
        Events per cycle; a program has 1.
    schedule
        `pipelined`: every layer has hardware of its own; in a network of maps, every part that
        nothing but the spikes of one layer leaves. `shared`: one program runs all layers in turn.
        `mixed`: one program for the layers of maps, hardware of its own for each dense layer behind
        them. `windows`: the same, where spikes of maps add to a window of positions at once.
        `auto`: layers of their own for chains of dense layers; mixed where several dense layers
        follow layers of maps; one program for all others.

    Raises
    ------
    PlanError
        When the network cannot be laid out so.
    """
    if schedule not in SCHEDULES:
        raise PlanError(f"Schedule must be one of {SCHEDULES}, not {schedule!r}")
    spec, first = network.spec, dense_tail(network.spec)
    if schedule != "shared" and first == 0:
        return plan_core(network, lanes, banks)
    if schedule == "windows":
        return plan_windows(network, lanes, banks)
    if schedule == "mixed" or (schedule == "auto" and first < len(spec.layers) - 1):
        return plan_mixed(network, lanes, banks)
    if banks != 1:
        raise PlanError(f"A program has 1 bank: network {spec.name} cannot have {banks}")
    return plan_programs(network, lanes, None if schedule == "pipelined" else ())
