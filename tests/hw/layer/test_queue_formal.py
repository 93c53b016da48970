"""Ring 2: the spike queue as a scoreboard (see `tests.hw.proving`).

Any coefficient of any vector (its place is one value for ever, whichever; which vectors are looked
at is free): in each pass over each of its bit planes, in its vector's turn, there is one SPIKE with
its index and its sign if it has that bit, and none if not; indices rise within a pass; passes end
with PLANE, or with STEP behind the last plane, as often as there are replays (and a plane's
repetitions). So no event is lost, none comes twice, and all are in order. Words are taken whenever
a buffer is free; a vector's first event comes when the cycle law says at the latest, and from then
on one is offered in every cycle.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Array, C, Cat, Mux, Signal

from hw.layer import queue
from hw.stream.payloads import Kind, transfer
from tests.hw.proving import Harness, broken, mutant, reachability, refuted


def scoreboard(
    module: ModuleType,
    words: int,
    chunk: int,
    planes: int,
    replays: int,
    signed: bool = False,
    repeat: bool = False,
    lean: bool = False,
) -> Harness:
    h = Harness()
    m = h.m
    dut: Any = module.SpikeQueue(
        words=words,
        chunk=chunk,
        planes=planes,
        signed=signed,
        replays=replays,
        repeat=repeat,
        lean=lean,
    )
    m.submodules.dut = dut
    h.drives(dut)
    turns = [p for p in reversed(range(planes)) for _ in range(1 << p if repeat else 1)]
    passes = turns * replays
    ends = [n % len(turns) == len(turns) - 1 for n in range(len(passes))]

    # Words of the vector that is not whole; passes over the one that leaves; whole vectors.
    came, turn, whole = Signal(range(words)), Signal(range(len(passes))), Signal(2)
    event = dut.o.payload
    ends_pass = transfer(dut.o) & (event.kind != Kind.SPIKE)
    complete = transfer(dut.i) & (came == words - 1)
    gone = ends_pass & (turn == len(passes) - 1)
    with m.If(transfer(dut.i)):
        m.d.sync += came.eq(Mux(complete, 0, came + 1))
    with m.If(ends_pass):
        m.d.sync += turn.eq(Mux(gone, 0, turn + 1))
    m.d.sync += whole.eq(whole + complete - gone)

    # One coefficient: its place; its value; the vectors before its own.
    place, look = h.fixed(range(words * chunk), "place"), h.free(1, "look")
    h.given(place < words * chunk)
    watched, magnitude, negative, before = Signal(), Signal(planes), Signal(), Signal(2)
    shift = (chunk - 1).bit_length()
    comes = transfer(dut.i) & (place >> shift == came)
    coefficient = Array(dut.i.payload[k].as_value() for k in range(chunk))[place & (chunk - 1)]
    with m.If(watched & gone):
        m.d.sync += before.eq(before - 1)
        with m.If(before == 0):
            m.d.sync += watched.eq(0)
    with m.If(comes & look & ~watched):
        m.d.sync += [watched.eq(1), before.eq(whole - gone), magnitude.eq(coefficient[:planes])]
        m.d.sync += negative.eq(coefficient[planes] if signed else 0)

    # A pass: the lowest index that may come, and whether the coefficient's has.
    lowest, seen = Signal(range(words * chunk + 1)), Signal()
    spike = event.kind == Kind.SPIKE
    with m.If(ends_pass):
        m.d.sync += [lowest.eq(0), seen.eq(0)]
    with m.Elif(transfer(dut.o)):
        m.d.sync += [lowest.eq(event.index + 1), seen.eq(seen | (event.index == place))]
    has = Array(magnitude[p] for p in passes)[turn]
    now = dut.o.valid & watched & (before == 0)
    h.always(~dut.o.valid | (whole != 0))
    h.always(~dut.o.valid | ~spike | (event.index >= lowest))
    h.always(~now | ~spike | (event.index != place) | (has & (event.negative == negative)))
    h.always(~now | spike | (seen == has))
    h.always(~dut.o.valid | spike | ((event.kind == Kind.STEP) == Array(ends)[turn]))
    h.always(dut.i.ready == (whole != (1 if lean else 2)))
    # In time.
    fill = module.SpikeQueue.fill_cycles(lean)
    idle = Signal(range(fill + 1))
    m.d.sync += idle.eq(Mux((whole == 0) | dut.o.valid, 0, idle + (idle < fill)))
    h.always((whole == 0) | dut.o.valid | (idle < fill - 1))
    begun = Signal()
    with m.If(transfer(dut.o)):
        m.d.sync += begun.eq(~gone)
    h.always(~begun | dut.o.valid)

    # Where the component's registers and the coefficient stand, as far as this speeds the proof up.
    buffers = 1 if lean else 2
    played = C(0, 1) if lean else h.within("dut.played", 1)
    full = [h.within(f"dut.full{b}", 1) for b in range(buffers)]
    h.helps((came < words) & (turn < len(passes)) & (whole <= buffers))
    h.helps(h.within("dut.word", range(words)) == came)
    h.helps(Cat(full) == Mux(whole == 1, 1 << played, Mux(whole == 2, 3, 0)))
    if replays > 1:
        replay = Array(n // len(turns) for n in range(len(passes)))[turn]
        h.helps(h.within("dut.replay", range(replays)) == replay)
    if not lean:
        h.helps(h.within("dut.target", 1) == played ^ whole[0])
    h.helps((lowest == 0) | (whole != 0))
    h.helps(~watched | (before <= whole))
    h.helps(~watched | (before != whole) | (place >> shift < came))
    return h


SIZES: dict[str, dict[str, Any]] = {
    "bit": {"words": 1, "chunk": 1, "planes": 1, "replays": 1},
    "lean": {"words": 2, "chunk": 2, "planes": 1, "replays": 2, "lean": True},
    "words": {"words": 2, "chunk": 1, "planes": 1, "replays": 1},
    "repeat": {"words": 1, "chunk": 2, "planes": 2, "replays": 1, "repeat": True},
    "chunks": {"words": 2, "chunk": 2, "planes": 1, "replays": 1, "signed": True},
    "replays": {"words": 2, "chunk": 1, "planes": 1, "replays": 3},
    "planes": {"words": 2, "chunk": 1, "planes": 2, "replays": 2},
}
DEPTHS = {"chunks": 24, "replays": 24, "planes": 22}
"""Cycles of the runs in which the largest are looked at: invariants are not found in minutes."""


@pytest.mark.parametrize(
    "size",
    ["lean", *(pytest.param(name, marks=pytest.mark.long) for name in ("bit", "words", "repeat"))],
)
def test_every_event_comes_once_in_its_turn(size: str, tmp_path: Path) -> None:
    assert reachability(scoreboard(queue, **SIZES[size]), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("size", DEPTHS)
def test_every_event_comes_once_in_bounded_runs(size: str, tmp_path: Path) -> None:
    assert not refuted(scoreboard(queue, **SIZES[size]), tmp_path, DEPTHS[size])


CONTRACTS = {
    name: lambda module, name=name: scoreboard(module, **SIZES[name])
    for name in ("words", "replays", "chunks", "planes", "repeat", "lean")
}

MUTANTS = {
    "words": [
        ("write.addr.eq(Cat(word, target))", "write.addr.eq(Cat(word, full[0]))"),
        ("self.i.ready.eq(room)", "self.i.ready.eq(1)"),
        ("[target ^ loaded if", "[target if"),
        ("loaded.eq(loading & (word == self._words - 1))", "loaded.eq(loading)"),
        ("finder.last.eq(loaded)", "finder.last.eq(loading)"),
        ("finder.some.eq(some)", "finder.some.eq(-1)"),
        ("plane.eq(visit)", "plane.eq(finder.o.payload)"),
        ("played.eq(played ^ last)", "played.eq(played)"),
        ("target.eq(target ^ loaded)", "target.eq(target ^ loading)"),
        ("Cat(finder.o.payload.word, finder.o.payload.buffer)", "finder.o.payload.word"),
    ],
    "replays": [
        ("fetch.eq(~fetched | register)", "fetch.eq(1)"),
        ("register.eq(~valid | chunks.ready)", "register.eq(1)"),
        ("read.en.eq(fetch)", "read.en.eq(1)"),
        ("with m.If(register):", "with m.If(register | ~fetched):"),
    ],
    "chunks": [("negative[n].eq(element.negative)", "negative[n].eq(row[0].negative)")],
    "planes": [
        ("bit_select(plane.plane, 1)", "bit_select(0, 1)"),
        ("last = replay == self._replays - 1", "last = 1"),
        ("replay.eq(Mux(last, 0, replay + 1))", "replay.eq(0)"),
    ],
    "repeat": [("repeat=self._repeat", "repeat=False")],
    "lean": [("(1, True) if lean", "(2, True) if lean")],
}


@broken(MUTANTS, quick=("lean",))
def test_a_broken_one_is_refuted(
    contract: str, changes: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert bool(changes) == refuted(CONTRACTS[contract](mutant(queue, *changes)), tmp_path, 22)
