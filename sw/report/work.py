"""What each layer of a core does at each step: cycles by the law, operations, adders in use.

A simulation shows when each class leaves, and that this is the cycle that the law says. What of
those cycles is whose, the law says alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.layer.cycles import play_cycles
from gen.layer.stage import LayerStagePlan
from gen.program.cycles import operation_plays
from gen.program.stage import ProgramStagePlan
from gen.stage.taps import event_counts, played_vectors
from gen.window.cycles import window_plays
from gen.window.stage import WindowStagePlan
from hw.contract.edge import INPUT
from hw.contract.network import Network
from hw.program.code import Sweep
from sim.golden.edges import fan_out
from sw.report.run import SimRun

__all__ = ["Work", "operations_by_step", "work_by_layer"]

MOST = 20
"""Images, at most, over which the mean is taken."""

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """Of a layer and an image, on average.

    Parameters
    ----------
    layer
        Its name.
    cycles
        At each step, (T,): in which the layer is at work, by the cycle law.
    operations
        At each step, (T,): weights that its spikes bring, the network's synaptic operations.
    rows
        Rows of weights that the hardware adds; fewer where it plays sums or changes of spikes.
    banks, adders
        Rows that can be added in a cycle, and weights.
    alone
        No other layer of its stage is at work meanwhile; else all layers are at once, and the
        hardware is its own for all cycles of an image.
    """

    layer: str
    cycles: Float
    operations: Float
    rows: float
    banks: int
    adders: int
    alone: bool

    def use(self, cycles: float) -> float:
        """Share of its cycles, of each bank, in which a row of weights is added, 0 to 1; `cycles`
        from one class to the next."""
        there = float(self.cycles.sum()) if self.alone else cycles
        return self.rows / (self.banks * there) if there else 0.0


def work_by_layer(run: SimRun) -> list[Work]:
    """By layer of the network, over the first of `SimRun.looked_at`."""
    n, trace = min(MOST, len(run.looked_at)), run.trace
    pixels, spikes = run.looked_at[:n], [c[:n] for c in trace.spikes]
    operations = operations_by_step(run.network, pixels, spikes)
    found: list[Work] = []
    for stage in run.plan.stages:
        if isinstance(stage, LayerStagePlan):
            found.append(_of_layer(stage, pixels, spikes, operations))
        elif isinstance(stage, ProgramStagePlan):
            found += _of_program(stage, pixels, spikes, operations)
    return found


def _of_layer(stage: LayerStagePlan, pixels: Any, spikes: Any, operations: Any) -> Work:
    """Of a layer stage: cycles in which it plays events."""
    sent = pixels if stage.number == 0 else spikes[stage.number - 1]
    counts = event_counts(played_vectors(sent, stage.geometry), stage.geometry)
    costs = play_cycles(counts).mean(axis=0)
    cycles = np.zeros(stage.network.spec.steps)
    # One vector: of a picture, at first; of sums, when the last step is there.
    first = 0 if len(costs) > 1 or stage.constant else len(cycles) - 1
    cycles[first : first + len(costs)] = stage.geometry.groups * costs
    name = stage.network.spec.layers[stage.number].name
    return Work(
        layer=name,
        cycles=cycles,
        operations=operations[name],
        rows=stage.geometry.groups * float(counts.sum()) / len(counts),
        banks=stage.banks,
        adders=stage.lanes * stage.banks,
        alone=False,
    )


def _of_program(
    stage: ProgramStagePlan, pixels: Any, spikes: Any, operations: Any
) -> Iterator[Work]:
    """Of the layers of a program stage, which are at work one after the other."""
    spec, n, adders = stage.network.spec, len(pixels), stage.lanes
    names = [spec.layers[k].name for k in stage.layers]
    cycles = {name: np.zeros(spec.steps) for name in names}
    rows = dict.fromkeys(names, 0.0)
    plays: Any = operation_plays
    if isinstance(stage, WindowStagePlan):
        adders *= stage.window.rows * stage.window.columns
        plays = window_plays
    for at in range(n):
        image = pixels[at], [c[at] for c in spikes]
        spent = stage.operation_cycles(*image)
        swept = dict.fromkeys(names, 0)
        for (op, play), count in zip(plays(stage, *image), spent, strict=True):
            if op.name not in swept:
                continue
            words = stage.words_of(op.name).words
            step = min(swept[op.name] // words, spec.steps - 1)
            cycles[op.name][step] += count / n
            if play is not None:
                rows[op.name] += float(np.sum(play.updates)) / n
            if isinstance(op, Sweep) and op.fires:
                swept[op.name] += op.last_word + 1  # a step's words may take several sweeps
            elif isinstance(op, Sweep) and not op.first:
                swept[op.name] += words
    for name in names:
        yield Work(
            layer=name,
            cycles=cycles[name],
            operations=operations[name],
            rows=rows[name],
            banks=1,
            adders=adders,
            alone=True,
        )


def operations_by_step(
    network: Network, pixels: npt.NDArray[np.uint8], spikes: Sequence[npt.NDArray[Any]]
) -> dict[str, Float]:
    """Synaptic operations of each layer at each step, (T,), for an image on average: weights added.
    A picture's pixels are added once, at the first step.

    Parameters
    ----------
    pixels, spikes
        Pictures (n, size), and what the layers that fire send for them, (n, T, neurons) each.
    """
    spec, n = network.spec, len(pixels)
    sent: dict[str, npt.NDArray[Any]] = {INPUT: pixels.reshape(n, spec.recorded_steps, -1)}
    for layer, c in zip(spec.layers, spikes, strict=False):
        sent[layer.name] = np.abs(c.astype(np.int16))
    found = {}
    for k, layer in enumerate(spec.layers):
        total = found[layer.name] = np.zeros(spec.steps)
        for edge in spec.edges(k):
            shape = spec.shape_of(edge.source)
            reached = fan_out(edge, shape, layer.map_shape)
            bits = np.bitwise_count(sent[edge.source]).sum(axis=0, dtype=np.int64)  # (steps, size)
            by_place = bits.reshape(len(bits), *shape).sum(axis=1)
            each = (by_place * reached).sum(axis=(1, 2)) / n
            late = each[: spec.steps - edge.delay]
            total[edge.delay : edge.delay + len(late)] += late
    return found
