"""Accumulators: a window's sums, moved, dropped and added to in any order, cycle by cycle."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from amaranth.hdl import Value

from gen.window.stage import WindowStagePlan, plan_window
from hw.program.code import Scan
from hw.program.program import Program
from hw.window.accumulators import Accumulators
from hw.window.cursor import motion
from tests.hw.driving import Bench, bits
from tests.hw.program.cases import QUICK
from tests.hw.program.programs import conv, dense, identity, network, part, split
from tests.hw.window.playing import Event, Motion, Sums

LANES = 2

PLANS: dict[str, WindowStagePlan] = {
    "straight": plan_window(
        network((2, 3, 3), part(3, conv("input", 3)), part(2, dense("a")), bits=1), LANES
    ),
    "picks": plan_window(
        network(
            (2, 5, 4),
            part(4, conv("input", 3, stride=2, padding=1)),
            part(3, conv("a", 1, stride=2, padding=0)),
            part(2, dense("b")),
            bits=3,
        ),
        LANES,
    ),
    "identities": plan_window(
        network(
            (3, 4, 3),
            part(3, identity("input"), conv("input", 3, padding=1), neuron=QUICK),
            part(3, identity("a", shift=2), conv("a", 1, delay=1)),
            part(2, dense("b")),
        ),
        LANES,
    ),
}


@dataclass(frozen=True)
class Cycle:
    """A motion; what is on the ports beside it, which counts where something is added."""

    motion: Motion
    event: Event
    shift: int


def random_cycles(p: Program, count: int, rng: np.random.Generator) -> list[Cycle]:
    """In any order; in most cycles something is added."""
    window, found = p.window, []
    assert window is not None
    for _ in range(count):
        event = Event(
            row=0,
            column=0,
            negative=int(rng.integers(2)),
            active=int(rng.integers(1 << LANES)),
            negatives=int(rng.integers(1 << LANES)),
        )
        one = Motion(
            move=int(rng.random() < 0.5),
            fresh=int(rng.random() < 0.15),
            event=event if rng.random() < 0.8 else None,
            weight=int(rng.integers(max(1, len(p.weights)))),
            pick=int(rng.integers(len(window.picks))),
        )
        found.append(Cycle(one, event, int(rng.integers(p.most_shift + 1))))
    return found


def raw(p: Program, one: Cycle) -> int:
    """As it crosses the port."""
    names = ("negative", *(("active", "negatives") if p.has_identities else ()))
    word = {name: getattr(one.event, name) for name in names}
    word |= {name: getattr(one.motion, name) for name in ("move", "fresh", "weight", "pick")}
    word |= {"add": int(one.motion.event is not None), "shift": one.shift}
    return bits(motion(p), word)


@pytest.mark.parametrize("name", PLANS)
def test_sums_are_those_of_the_motions(name: str) -> None:
    """Of every kind of scan: what leaves is there `LATENCY` cycles after the motion. Sums are too
    narrow here, and wrap around."""
    p = replace(PLANS[name].program, potential_bits=4, drive_bits=5)
    assert p.window is not None
    kinds = {op.identity: op for op in p.operations if isinstance(op, Scan)}
    assert set(kinds) == ({0, 1} if name == "identities" else {0})
    for identical, scan in kinds.items():
        several = random_cycles(p, 200, np.random.default_rng(5))
        unit = Accumulators(p)
        bench = Bench(unit)
        word = p.code.words[p.operations.index(scan)]
        bench.play(unit.word, [word] * (len(several) + 10))
        bench.play(Value.cast(unit.i), [raw(p, one) for one in several])
        seen = bench.watch(Value.cast(unit.left))
        bench.run(extra=Accumulators.LATENCY)
        sums = Sums(p.window, LANES, p.weights, scan.constant if identical else None)
        wanted, most = [], 0
        for one in several:
            wanted.append((sums.move(one.motion, one.shift) & 31).reshape(-1).tolist())
            most = max(most, int(np.abs(sums.sums).max()))
        assert most >= 16, "some sum wraps around"
        found = [split(left, 5, p.window.rows * LANES) for (left,) in seen]
        assert found[Accumulators.LATENCY :][: len(wanted)] == wanted


def test_ways_to_pick_are_met() -> None:
    """From none of a row's columns, some, or all."""
    assert PLANS["straight"].window.picks == ((0, 1, 2),)
    assert len(PLANS["picks"].window.picks) > 3
    assert any(None in pick for pick in PLANS["picks"].window.picks)
