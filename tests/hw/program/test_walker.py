"""Walker: every word that an event reaches, one per cycle; what reaches nothing costs nothing."""

import random

import numpy as np
import pytest
from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from gen.learn.stage import learning_stage, plan_learning
from gen.program.stage import ProgramStagePlan, plan_program
from hw.contract.layout import map_layout
from hw.learn.masters import Masters
from hw.program.code import Held, Scan
from hw.program.operation import spike_event, update
from hw.program.walker import Walker
from tests.hw.driving import FLOWING, Bench, Pace, bits, fields
from tests.hw.program.programs import conv, dense, identity, network, part, walk
from tests.learning import learning_network

PLANS: dict[str, ProgramStagePlan] = {
    name: plan_program(image, lanes)
    for name, image, lanes in (
        (
            "kernels",
            network(
                (2, 5, 6),
                part(6, conv("input", 5, padding=2)),
                part(9, conv("a", 3, stride=2, padding=1, groups=3)),
                part(3, conv("b", 1, stride=2), dense("a", pool=4)),
                part(2, dense("c")),
                bits=3,
            ),
            4,
        ),
        (
            "packed",
            network(
                (3, 4, 6),
                part(5, conv("input", 3, stride=2, pool=2, padding=2)),
                part(2, dense("a")),
            ),
            16,
        ),
        (
            "maps",
            network(
                (5, 4, 5),
                part(5, identity("input", pool=2)),
                part((6, 2, 2), dense("a"), conv("input", 7, padding=3, pool=2)),
                part(7, dense("b")),
            ),
            4,
        ),
        (
            "groups",
            network(
                (3, 2, 3),
                part(7, conv("input", 3, padding=1)),
                part((5, 2, 1), dense("a")),
                part(2, dense("b")),
            ),
            2,
        ),
        ("one-value", network((1, 1, 1), part(1, dense("input")), part(1, dense("a")), bits=1), 2),
    )
}
PLANS["learning"] = learning_stage(
    plan_learning(
        Masters.of(learning_network(np.random.default_rng(1), groups=(10, 5), feedback=True)), 4
    )
)


class Rig(wiring.Component):
    """A walker that works on one scan."""

    i: stream.Interface
    o: data.View
    valid: Signal
    busy: Signal

    def __init__(self, plan: ProgramStagePlan, number: int) -> None:
        self._program, self._number = plan.program, number
        super().__init__(
            {
                "i": In(stream.Signature(spike_event(plan.program))),
                "o": Out(update(plan.program)),
                "valid": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.walker = walker = Walker(self._program)
        wiring.connect(m, wiring.flipped(self.i), walker.i)
        m.d.comb += [
            walker.word.eq(Const(self._program.code.words[self._number])),
            Value.cast(self.o).eq(Value.cast(walker.o)),
            self.valid.eq(walker.valid),
            self.busy.eq(walker.busy),
        ]
        return m


def edges(plan: ProgramStagePlan) -> list[int]:
    """Numbers of the first scan of every edge; where the network learns, of every kind of edge."""
    found: dict[tuple, int] = {}
    for number, op in enumerate(plan.program.operations):
        if isinstance(op, Scan):
            kind = (op.name, op.source, op.weight, op.identity)
            if plan.program.learning is not None:
                kind = (op.last_group, op.sender > 0)
            found.setdefault(kind, number)
    return list(found.values())


EDGES = [(name, number) for name, plan in PLANS.items() for number in edges(plan)]


def random_events(
    plan: ProgramStagePlan, scan: Scan, count: int, seed: int
) -> list[dict[str, int]]:
    """Events anywhere in a map, its rim included, and beyond the last column of a packed one; on
    lanes that have a channel."""
    rng = random.Random(seed)
    lanes = plan.lanes if plan.program.has_identities else 0
    learning, channels = plan.program.learning, 1
    if scan.held != Held.CONSTANT:
        channels = map_layout(plan.network.spec, scan.source, plan.lanes).channels
    mask = (1 << scan.channel_bits) - 1
    return [
        {
            "lane": rng.choice([k for k in range(plan.lanes) if k & mask < channels]),
            "row": rng.randint(0, scan.last_row),
            "column": rng.randint(0, scan.last_column),
            "plane": rng.randint(0, scan.last_plane),
            "negative": rng.randrange(2),
            "active": rng.getrandbits(lanes) if lanes else 0,
            "negatives": rng.getrandbits(lanes) if lanes else 0,
        }
        | ({} if learning is None else {"value": rng.getrandbits(learning.value_bits)})
        for _ in range(count)
    ]


def updates_of(plan: ProgramStagePlan, scan: Scan, event: dict[str, int]) -> list[dict[str, int]]:
    """Reference: what an event becomes. An identity's weights mean nothing."""
    p = plan.program
    common = {key: event[key] for key in ("negative", "active", "negatives")}
    common["shift"] = event["plane"] + scan.shift
    if p.learning is not None:
        sender = scan.sender + event["row"] * p.lanes + event["lane"]
        common |= {"value": event["value"], "sender": sender}
    walked = [*walk(p, scan, event["row"], event["column"], event["lane"])]
    group = len(walked) // (scan.last_group + 1)
    return [
        common
        | {"potential": potential, "weight": 0 if scan.identity else weight}
        | ({} if p.learning is None else {"word": n // group})
        for n, (potential, weight) in enumerate(walked)
    ]


def run(plan: ProgramStagePlan, number: int, events: list[dict[str, int]], pace: Pace):
    """Cycles in which events were taken; those of each event's updates; the busy ones."""
    scan = plan.program.operations[number]
    assert isinstance(scan, Scan)
    rig, layout = Rig(plan, number), update(plan.program)
    expected = [updates_of(plan, scan, event) for event in events]
    bench = Bench(rig, pace)
    source = bench.feed(rig.i, [bits(spike_event(plan.program), event) for event in events])
    seen = bench.watch(rig.valid, Value.cast(rig.o), rig.busy)
    most = max(map(len, expected))
    bench.run(extra=Walker.LATENCY + 5 * most + 5)
    found, cycles = [], []
    for cycle, (valid, raw, _) in enumerate(seen):
        if valid:
            one = {key: fields(layout, raw)[key] for key in layout.members}
            found.append(one | {"weight": 0} if scan.identity else one)
            cycles.append(cycle)
    assert found == [one for several in expected for one in several]
    at, mine = 0, []
    for count in map(len, expected):
        mine.append(cycles[at : at + count])
        at += count
    return source.taken, mine, [busy for *_, busy in seen]


@pytest.mark.parametrize("pace", [FLOWING, Pace(0.5, 0, 2), Pace(0.95, 0, 3)], ids=str)
@pytest.mark.parametrize(("name", "number"), EDGES)
def test_updates_are_those_of_the_tables_in_time(name: str, number: int, pace: Pace) -> None:
    """An event's updates follow each other, the first of them `LATENCY` cycles after it was taken
    or right behind those of the event before."""
    plan = PLANS[name]
    scan = plan.program.operations[number]
    assert isinstance(scan, Scan)
    taken, mine, busy = run(plan, number, random_events(plan, scan, 40, number), pace)
    free = 0
    for cycle, cycles in zip(taken, mine, strict=True):
        if cycles:
            start = max(cycle + Walker.LATENCY, free)
            assert cycles == list(range(start, start + len(cycles)))
            free = cycles[-1] + 1
            assert all(busy[cycle + 1 : free])
    assert not busy[-1]


@pytest.mark.parametrize(("name", "number"), EDGES)
def test_a_saturated_walk_has_no_gap(name: str, number: int) -> None:
    plan = PLANS[name]
    scan = plan.program.operations[number]
    assert isinstance(scan, Scan)
    events = [event for event in random_events(plan, scan, 60, 7) if updates_of(plan, scan, event)]
    taken, mine, _ = run(plan, number, events, FLOWING)
    cycles = [cycle for walked in mine for cycle in walked]
    first = taken[0] + Walker.LATENCY
    assert cycles == list(range(first, first + len(cycles)))


def test_what_reaches_nothing_costs_nothing() -> None:
    """One such event is taken per cycle, and leaves no update; nor do those among others make a
    gap, as long as there is work for a cycle in which one of them passes."""
    plan = PLANS["packed"]
    number = edges(plan)[0]
    scan = plan.program.operations[number]
    assert isinstance(scan, Scan)
    events = random_events(plan, scan, 200, 4)
    nothing = [event for event in events if not updates_of(plan, scan, event)]
    assert len(nothing) > 20
    taken, mine, busy = run(plan, number, nothing, FLOWING)
    assert taken == list(range(len(nothing)))
    assert not any(mine)
    assert not busy[taken[-1] + 3]
    several = [event for event in events if len(updates_of(plan, scan, event)) > 1]
    mixed = [event for pair in zip(several, nothing, strict=False) for event in pair]
    _, mine, _ = run(plan, number, mixed, FLOWING)
    cycles = [cycle for walked in mine for cycle in walked]
    assert cycles == list(range(cycles[0], cycles[0] + len(cycles)))


def test_a_lonely_event_is_busy_until_its_last_update() -> None:
    plan = PLANS["kernels"]
    number = edges(plan)[1]
    scan = plan.program.operations[number]
    assert isinstance(scan, Scan)
    event = next(e for e in random_events(plan, scan, 20, 1) if updates_of(plan, scan, e))
    taken, mine, busy = run(plan, number, [event], FLOWING)
    up = [cycle for cycle, one in enumerate(busy) if one]
    assert up == list(range(taken[0] + 1, mine[0][-1] + 1))
