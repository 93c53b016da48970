"""Layers of maps as a stage whose scans add to a window of positions at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.program.cycles import sweep_cycles
from gen.program.expectation import network_rates
from gen.program.stage import LANES, PROGRAM_LANES, ProgramStagePlan, kept_sizes
from gen.program.writer import segments
from gen.stage.stage import PlanError, StageTimes
from gen.window.cycles import WindowTimes, window_plays
from gen.window.expectation import window_expected
from gen.window.tables import passes
from gen.window.writer import WindowWriter, tall_layout
from hw.contract.layout import MapLayout, map_layout
from hw.contract.network import Network
from hw.contract.spec import NetworkSpec
from hw.program.code import Sweep
from hw.program.reach import Window
from hw.window.stage import WindowStage

__all__ = ["WindowStagePlan", "plan_window", "window_layers", "window_rows"]

BLOCK_ROWS = 1024
"""Of a block RAM of 16 bits."""

HEIGHTS = (4, 2, 1)
"""Rows of a map that may lie in a word."""


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowStagePlan(ProgramStagePlan):
    """A program that runs a network's layers of maps, window by window.

    Parameters
    ----------
    rows
        Of each layer: rows of its map in a word.
    """

    rows: Mapping[str, int]
    sizes_of = "windows"

    @property
    def window(self) -> Window:
        """What scans add to at once."""
        window = self.program.window
        assert window is not None
        return window

    @property
    def intake(self) -> int:
        """A word of a picture has several positions, and is taken as the last of them is."""
        return self.lanes // self.window.pixels - 1

    @property
    def loading(self) -> int:
        """Cycles in which the words of an image are taken."""
        return self.program.input_words * (self.intake + 1)

    def words_of(self, name: str) -> MapLayout:
        return tall_layout(super().words_of(name), self.rows[name])

    def how(self, count: int) -> str:
        return "one window core"

    def component(
        self, *, files: bool = True, events: bool = False, taps: bool = False
    ) -> WindowStage:
        paths = self._files if files else None
        return WindowStage(self.program, paths, events=events, taps=taps)

    def times(self, after: StageTimes | None, lead: int) -> WindowTimes:
        return WindowTimes(self, after, lead)

    def expected_cycles(self) -> float:
        return window_expected(self, network_rates(self.network))

    def operation_cycles(
        self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]
    ) -> list[int]:
        found = []
        for op, play in window_plays(self, pixels, spikes):
            if isinstance(op, Sweep):
                found.append(sweep_cycles(self.program, op))
            elif play is not None:
                found.append(play.cycles)
        return found

    def additions(self, pixels: npt.NDArray[np.integer], spikes: Sequence[npt.NDArray]) -> int:
        plays = (play for _, play in window_plays(self, pixels, spikes))
        return sum(play.updates for play in plays if play is not None)

    def clock_hz(self, clocks: Any) -> int:
        return clocks.window_clock

    def sizes(self) -> dict[str, float]:
        p, window = self.program, self.window
        places, kept, table = window.rows * window.columns * p.lanes, kept_sizes(p), p.weight_table
        return {
            "stage": 1,
            "sum": places * p.sum_bits,
            "pick": places * p.weight_bits * (len(window.picks) - 1),
            "lane": p.word * p.membrane_bits,
            **kept,
            # A wide row is chosen from one block RAM of several, bit by bit.
            "adders": kept["adders"] + table.width * ((len(table.words) - 1) // BLOCK_ROWS),
        }

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"rows": dict(self.rows)}


def window_layers(spec: NetworkSpec) -> int:
    """How many layers, from the first on, a window stage can run: those that fire and have no
    dense edges, and take their steps together with such alone."""
    for part in segments(spec):
        for n in part:
            if spec.layers[n].neuron is None or any(e.kind == "dense" for e in spec.edges(n)):
                return part.start
    return len(spec.layers)


def window_rows(network: Network, layers: range, lanes: int) -> dict[str, int]:
    """How many rows of each layer lie in a word: as few events as possible are played, at the
    network's own activity."""
    spec, found = network.spec, {}
    for n in layers:
        layer = spec.layers[n]

        def cost(rows: int, n: int = n) -> float:
            target = tall_layout(map_layout(spec, spec.layers[n].name, lanes), rows)
            played = sum(
                network.densities.get(edge.source, 0.5)
                * np.prod(spec.shape_of(edge.source))
                * passes(edge, target)
                for edge in spec.edges(n)
            )
            return float(spec.steps * (played + target.words))

        found[layer.name] = min(HEIGHTS, key=cost)
    return found


def plan_window(
    network: Network,
    lanes: int = PROGRAM_LANES,
    layers: range | None = None,
    changes: Collection[str] = (),
    rows: Mapping[str, int] | None = None,
    mark: str = "",
) -> WindowStagePlan:
    """Write the program of a network's first layers as a stage that hands on the spikes of the last
    of them. Those of the layers `changes` are played as what changes from step to step.

    Parameters
    ----------
    layers
        From the first on; None: all that can be.
    rows
        Of each layer's map in a word: 1, 2 or 4 (`window_rows`).

    Raises
    ------
    PlanError
        When lanes is not a power of two from 2 to 128, a layer is not one of maps, or the rows of
        a layer are others.
    """
    if lanes not in LANES:
        raise PlanError(f"Lanes of a window core must be one of {LANES}, not {lanes!r}")
    spec = network.spec
    possible = window_layers(spec)
    chosen = range(possible) if layers is None else layers
    if not 0 < chosen.stop <= possible or chosen.start:
        raise PlanError(
            f"Network {spec.name} must begin with layers of maps, which convolutions and "
            f"identities alone reach, for a window core; it has {possible} of them"
        )
    heights = window_rows(network, chosen, lanes) if rows is None else dict(rows)
    for name in (spec.layers[n].name for n in chosen):
        if heights.get(name) not in HEIGHTS:
            raise PlanError(
                f"Rows of layer {name} in a word must be one of {HEIGHTS}, not "
                f"{heights.get(name)!r}"
            )
    mine = {edge.source for n in chosen for edge in spec.edges(n)}
    those = tuple(layer.name for layer in spec.layers if layer.name in mine & set(changes))
    program, memory_map, weight_rows = WindowWriter(network, lanes, chosen, heights, those).write()
    return WindowStagePlan(
        network=network,
        lanes=lanes,
        program=program,
        memory_map=memory_map,
        layers=chosen,
        weight_rows=weight_rows,
        mark=mark,
        changes=those,
        rows=heights,
    )
