"""Cycles, memory and synaptic operations of a program, from spike rates alone.

The expectation of the cycle law (`gen.program.cycles`), every coefficient of a map taken to be
there with its own probability and by itself: for networks too large to simulate. Held against the
law itself on every shipped network (tests/gen/program/test_expectation.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gen.program.cycles import Play, positions, scan_cycles, send_cycles, sweep_cycles
from hw.contract.layout import MapLayout, map_layout
from hw.contract.network import Network
from hw.program.code import Decide, Held, Played, Scan, Send, Sweep
from hw.program.scanner import Scanner
from hw.program.stage import ProgramStage

if TYPE_CHECKING:
    from gen.program.stage import ProgramStagePlan

__all__ = ["Rates", "Scale", "expected", "memory_bits", "network_rates"]

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What an image costs.

    cycles
        From one image's result to the next.
    updates
        Words of potentials added to.
    events
        Coefficients' bits that are played, an edge at a time.
    sops
        Synaptic operations: weights added or subtracted, whatever the lanes.
    """

    cycles: float
    updates: float
    events: float
    sops: float


Rates = Mapping[Played, Mapping[str, Float | float]]
"""Of what scans play, of each layer that fires and of `input`: the probability of a coefficient's
bit; a number, or an array that (planes, channels, rows, columns) admits."""


def network_rates(network: Network) -> Rates:
    """Of a network, as `sterna export` counted on test images; where it has not, one half. The bits
    of changes are taken to be single ones, those of sums to be as many in every plane."""
    spec, known, shares = network.spec, network.activity, network.densities
    step: dict[str, Float | float] = {**shares}
    changes, sums = dict(step), dict(step)
    if known is not None:
        for layer in spec.layers[:-1]:
            assert layer.neuron is not None
            name, most = layer.name, layer.neuron.limit
            step[name] = known.spikes[name] / most.bit_length()
            planes = (most * (1 + layer.neuron.signed)).bit_length()
            single = np.zeros((planes, 1, 1, 1))
            # At the first step, all that is sent has changed: it is played as a step's.
            later = (known.changes[name] * spec.steps - known.spikes[name]) / max(1, spec.steps - 1)
            single[0] = min(1.0, max(0.0, later))
            changes[name] = single
            sums[name] = min(1.0, known.sums[name] / (most * spec.steps).bit_length())
    return {Played.STEP: step, Played.CHANGES: changes, Played.SUM: sums}


def expected(plan: "ProgramStagePlan", rates: Rates) -> Scale:
    """The cost of an image on average; in a network that learns, before it learns from it.

    Parameters
    ----------
    plan
        The stage.
    rates
        What is played.
    """
    p, total = plan.program, np.zeros(4)
    known: dict[Scan, Float] = {}
    for number, op in enumerate(p.operations, 1):
        if isinstance(op, Send):
            # Of a network that learns, what follows is not for each image.
            last = p.leak is None or number == len(p.operations)
            total[0] += send_cycles(plan, op, last=last)
            continue
        if isinstance(op, Decide):
            break
        total[0] += 1 + ProgramStage.FETCH_CYCLES
        if isinstance(op, Sweep):
            total[0] += sweep_cycles(p, op)
        elif isinstance(op, Scan):
            # The same edge at another step costs the same.
            key = replace(
                op,
                **dict.fromkeys(("address", "odd_address", "even", "odd", "potential", "when"), 0),
                release=0,
            )
            if key not in known:
                known[key] = _scan(plan, op, _rate(op, rates))
            total += known[key]
    cycles, updates, events, sops = total.tolist()
    cycles = max(cycles, p.input_words)  # the next image is loaded meanwhile
    return Scale(cycles=cycles, updates=updates, events=events, sops=sops)


def _rate(scan: Scan, rates: Rates) -> Float | float:
    if scan.held == Held.CONSTANT:
        return scan.constant.bit_count() / (scan.last_plane + 1)
    return rates[Played.SUM if scan.held else scan.played][scan.source]


def _scan(plan: "ProgramStagePlan", scan: Scan, rate: Float | float) -> Float:
    """(cycles, updates, events, synaptic operations) of a scan."""
    spec, p = plan.network.spec, plan.program
    constant = scan.held == Held.CONSTANT
    layout = (
        MapLayout((1, 1, 1), plan.lanes) if constant else map_layout(spec, scan.source, plan.lanes)
    )
    shape = (scan.last_plane + 1, *layout.shape)
    chance = layout.pack(np.broadcast_to(rate, shape).reshape(shape[0], -1).astype(np.float64))
    places = positions(p, scan, *np.nonzero(np.ones(chance.shape[1:]))).reshape(chance.shape[1:])
    sops = float((chance * places).sum()) * scan.channels
    reached = places * (scan.last_group + 1)
    silent = np.prod(1 - chance, axis=(0, 2))  # (words,)
    reads, latency = scan.last_gather + 1, Scanner.latency(p)
    if scan.identity:
        fired = float((1 - np.prod(1 - chance, axis=2)).sum())
        cycles = fired + float(silent.sum()) * reads
        return np.array([cycles + _overhead(latency, True), fired, fired, sops])
    updates, events = float((chance * reached).sum()), float(chance.sum())
    # An event that reaches nothing costs a cycle; so does a word with nothing, for each that it is
    # made of, unless the walk is still busy with what came before: a gap of geometric length
    # against its mean.
    busy = float((chance * np.maximum(reached, 1)).sum())
    quiet = float(silent.mean())
    walk = busy / max(1.0, silent.size * (1 - quiet)) / reads
    waits = float(silent.sum()) * reads * quiet ** max(0.0, walk - 1)
    return np.array([busy + waits + _overhead(latency, False), updates, events, sops])


def _overhead(latency: int, identity: bool) -> int:
    """Cycles of a scan beside those of its updates."""
    one = Play(1, 1, latency, 1, np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64))
    return scan_cycles(one, identity) - 1


def memory_bits(plan: "ProgramStagePlan") -> dict[str, int]:
    """Bits of each memory."""
    return {name: words * bits for name, (words, bits) in plan.program.memories.items()}
