"""Cursor: events in, motions out, as tables say; in time; none lost where events hesitate."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from gen.window.stage import WindowStagePlan, plan_window
from hw.program.code import Scan
from hw.program.operation import spike_event
from hw.stream.payloads import transfer
from hw.window.cursor import Cursor, motion
from tests.hw.driving import FLOWING, Bench, Pace, bits, fields
from tests.hw.program.cases import QUICK
from tests.hw.program.programs import conv, dense, identity, network, part
from tests.hw.window.playing import Event, Motion, motions

PLANS: dict[str, WindowStagePlan] = {
    name: plan_window(image, lanes, None, (), dict(zip("abc", rows, strict=False)))
    for name, image, lanes, rows in (
        (
            "kernels",
            network(
                (3, 4, 5),
                part(5, conv("input", 5, padding=2)),
                part(7, conv("a", 3, stride=2, padding=1)),
                part(2, dense("b")),
            ),
            2,
            (4, 2),
        ),
        (
            "beyond",
            network((2, 2, 3), part(3, conv("input", 7, stride=2, padding=6)), part(2, dense("a"))),
            4,
            (1,),
        ),
        (
            "identities",
            network(
                (5, 5, 3),
                part(5, identity("input", pool=2), conv("input", 1, pool=2), neuron=QUICK),
                part(5, identity("a"), conv("a", 3, padding=1)),
                part(2, dense("b")),
                bits=3,
            ),
            4,
            (2, 1),
        ),
        (
            "narrow",
            network(
                (3, 4, 1),
                part(3, conv("input", 3, padding=1)),
                part(9, conv("a", 1)),
                part(2, dense("b")),
            ),
            4,
            (4, 2),
        ),
    )
}


class Rig(wiring.Component):
    """A cursor that works on one scan; drained when so many events have come."""

    i: stream.Interface
    o: data.View
    busy: Signal

    def __init__(self, plan: WindowStagePlan, number: int, count: int) -> None:
        self._program, self._number, self._count = plan.program, number, count
        super().__init__(
            {
                "i": In(stream.Signature(spike_event(plan.program))),
                "o": Out(motion(plan.program)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.cursor = cursor = Cursor(self._program)
        wiring.connect(m, wiring.flipped(self.i), cursor.i)
        taken = Signal(range(self._count + 1))
        m.d.sync += taken.eq(taken + transfer(self.i))
        m.d.comb += [
            cursor.word.eq(Const(self._program.code.words[self._number])),
            cursor.drain.eq(taken == self._count),
            Value.cast(self.o).eq(Value.cast(cursor.o)),
            self.busy.eq(cursor.busy),
        ]
        return m


def scans(plan: WindowStagePlan) -> list[int]:
    """Numbers of the first scan of every kind."""
    found: dict[tuple, int] = {}
    for n, op in enumerate(plan.program.operations):
        if isinstance(op, Scan):
            found.setdefault((op.row_table, op.column_table, op.identity, op.turn), n)
    return [*found.values()]


SCANS = [(name, number) for name, plan in PLANS.items() for number in scans(plan)]


def random_events(plan: WindowStagePlan, scan: Scan, seed: int) -> list[Event]:
    """One or some at each position, group after group of channels; rows of every density."""
    rng, found = np.random.default_rng(seed), []
    lanes = plan.lanes if plan.program.has_identities else 0
    channels = plan.network.spec.shape_of(scan.source)[0]

    def there(group: int) -> int:
        return min(plan.lanes, channels - (scan.first_group + group) * plan.lanes)

    for row in range(scan.last_row + 1):
        density = rng.choice([0, 0.1, 0.5, 1])
        for column, group in np.ndindex(scan.last_column + 1, scan.last_source_group + 1):
            several = 1 + int(rng.integers(0, 2)) * (rng.random() < density)
            null = int(rng.random() >= density)
            found += [
                Event(
                    row=row,
                    column=column,
                    channel=group * plan.lanes + int(rng.integers(there(group))),
                    null=null,
                    plane=int(rng.integers(scan.last_plane + 1)),
                    negative=int(rng.integers(2)),
                    active=int(rng.integers(1 << lanes)),
                    negatives=int(rng.integers(1 << lanes)),
                )
                for _ in range(1 if null else several)
            ]
    return found


def sent(plan: WindowStagePlan, event: Event) -> int:
    group, lane = divmod(event.channel, plan.lanes)
    same = ("row", "column", "null", "plane", "negative", "active", "negatives")
    value = {name: getattr(event, name) for name in same} | {"group": group, "lane": lane}
    return bits(spike_event(plan.program), value)


def expected(scan: Scan, one: Motion) -> dict[str, Any]:
    """What counts of a motion: where nothing is added or stored, anything may be on those ports."""
    found: dict[str, Any] = {"move": one.move, "add": int(one.event is not None)}
    found["stores"] = one.stores
    if not one.idle:
        found["fresh"] = one.fresh
    if one.event is not None:
        found |= {"weight": 0 if scan.identity else one.weight, "pick": one.pick}
        found |= {name: getattr(one.event, name) for name in ("negative", "active", "negatives")}
        found["shift"] = one.event.plane + scan.shift
    return found


def shown(plan: WindowStagePlan, scan: Scan, raw: int) -> dict[str, Any]:
    """The same of the port."""
    o = fields(motion(plan.program), raw)
    found: dict[str, Any] = {name: o[name] for name in ("move", "add")}
    banks = [bank for bank in range(plan.window.rows) if o.stores >> bank & 1]
    found["stores"] = tuple((bank, o.slots[bank], o.addresses[bank]) for bank in banks)
    if o.move or o.add:
        found["fresh"] = o.fresh
    if o.add:
        names = ("weight", "pick", "negative", "active", "negatives", "shift")
        found |= {name: o[name] for name in names}
        if scan.identity:
            found["weight"] = 0
    return found


def run(name: str, number: int, pace: Pace, seed: int) -> tuple[list, list, list[int], list[int]]:
    """Motions, as they must be and as they are in each cycle; when events were taken; `busy`."""
    plan = PLANS[name]
    scan = plan.program.operations[number]
    assert isinstance(scan, Scan)
    events = random_events(plan, scan, seed)
    rig = Rig(plan, number, len(events))
    bench = Bench(rig, pace)
    source = bench.feed(rig.i, [sent(plan, event) for event in events])
    seen = bench.watch(Value.cast(rig.o), rig.busy)
    bench.run(extra=Cursor.LATENCY + 2 * len(PLANS[name].window.picks) + 20)
    wanted = [expected(scan, one) for one in motions(plan.window, scan, events)]
    found = [shown(plan, scan, raw) for raw, _ in seen]
    return wanted, found, source.taken, [busy for _, busy in seen]


def moving(several: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in several if one["move"] or one["add"]]


@pytest.mark.parametrize(("name", "number"), SCANS)
def test_motions_are_those_of_the_tables_in_time(name: str, number: int) -> None:
    """An event's motion comes `LATENCY` cycles after it; a row's first waits, as the law says."""
    wanted, found, taken, busy = run(name, number, FLOWING, number)
    assert taken[0] == 0
    assert not moving(found[: Cursor.LATENCY])
    assert found[Cursor.LATENCY : Cursor.LATENCY + len(wanted)] == wanted
    assert not moving(found[Cursor.LATENCY + len(wanted) :])
    ends = [n for n, one in enumerate(found) if one["move"] or one["add"]]
    # The last event, be it null, and whatever it does, may be the last that is on its way.
    done = max([taken[-1] + 1, *(n + 1 for n in ends)])
    assert all(busy[1:done])
    assert not any(busy[max(done, Cursor.LATENCY + len(wanted)) :])


@pytest.mark.parametrize(("name", "number"), SCANS[::2])
def test_hesitant_events_change_nothing_but_time(name: str, number: int) -> None:
    """Columns are held until the next event says where the window goes."""
    wanted, found, _, busy = run(name, number, Pace(0.4 + 0.1 * (number % 5), 0, number), number)
    assert moving(found) == moving(wanted)
    assert not busy[-1]


def test_every_kind_of_motion_is_met() -> None:
    """Rows that wait for what is held, rows that wait longer, windows that begin beside the map,
    ways to pick, offsets of rows of weights by the kernel's rows and columns."""
    every = [op for plan in PLANS.values() for op in plan.program.operations]
    ops = [op for op in every if isinstance(op, Scan)]
    assert {op.turn for op in ops} >= {0, 1, 3}
    windows = [plan.window for plan in PLANS.values()]
    columns = [column for window in windows for column in window.column_table]
    assert {column.held for column in columns} == {0, 1, 2, 3}
    assert any(column.column < -1 for column in columns)
    assert {column.pick for column in columns} >= {0, 1, 2}
    assert any(column.weight for column in columns)
    rows = [row for window in windows for row in window.row_table]
    assert any(row.weight for row in rows)
    assert {sum(row.stores) for row in rows} >= {0, 1, 2, 3, 4}
    assert any(any(row.nexts) for row in rows)
    assert any(op.identity for op in ops)
