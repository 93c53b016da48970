"""Sums of a window in their banks: what leaves is added where it belongs, again and again."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Value

from gen.program.cycles import sweep_cycles
from gen.window.stage import plan_window
from hw.contract.neuron import Decay
from hw.program.code import Scan, Sweep
from hw.program.program import Program
from hw.window.cursor import motion
from hw.window.sums import WindowSums
from tests.hw.driving import Bench, bits
from tests.hw.program.programs import conv, dense, network, part, split
from tests.hw.window.playing import Event, Motion, Sums

LANES, WORDS = 2, 5
BITS, DRIVE_BITS, MEMBRANE_BITS = 9, 12, 13

BASE = plan_window(
    network((2, 4, 3), part(3, conv("input", 3, padding=1)), part(2, dense("a")), steps=3), LANES
).program


def program(potentials: bool, drives: bool) -> Program:
    """A scan into each memory, and a sweep that changes nothing, and shows both added up."""
    scans = [Scan(target_columns=WORDS, drive=drive) for drive in (0, 1)]
    top = (1 << MEMBRANE_BITS - 1) - 1
    sweep = Sweep(
        last_word=WORDS - 1, fires=1, up=top, down=top, top=top, parts=15, has_drive=int(drives)
    )
    return replace(
        BASE,
        operations=(*(scan for scan in scans if (potentials, drives)[scan.drive]), sweep),
        biases=np.zeros((4, LANES), dtype=int),
        decays=(Decay(),),
        can_saturate=False,
        membrane_bits=MEMBRANE_BITS,
        potential_bits=BITS * potentials,
        potential_words=WORDS * potentials,
        drive_bits=DRIVE_BITS * drives,
        drive_words=WORDS * drives,
        spike_planes=1,
        spike_sign=False,
        spike_words=WORDS,
    )


def random_motions(p: Program, count: int, again: int, seed: int) -> list[Motion]:
    """A word is stored to again `again` cycles later at the soonest, and often then."""
    rng, window, found = np.random.default_rng(seed), p.window, []
    assert window is not None
    last = np.full((window.rows, WORDS), -99)
    for cycle in range(count):
        stores = []
        for bank in range(window.rows):
            free = np.flatnonzero(cycle - last[bank] >= again)
            address = int(max(free, key=lambda at: (cycle - last[bank, at] == again, rng.random())))
            if rng.random() < 0.7:
                stores.append((bank, int(rng.integers(window.rows)), address))
                last[bank, address] = cycle
        event = Event(row=0, column=0, negative=int(rng.integers(2)))
        found.append(
            Motion(
                move=1,
                fresh=int(rng.random() < 0.1),
                stores=tuple(stores),
                event=event if rng.random() < 0.8 else None,
                weight=int(rng.integers(len(p.weights))),
            )
        )
    return found


def raw(p: Program, one: Motion) -> int:
    window = p.window
    assert window is not None
    slots, addresses, stores = [0] * window.rows, [WORDS - 1] * window.rows, 0
    for bank, slot, address in one.stores:
        slots[bank], addresses[bank], stores = slot, address, stores | 1 << bank
    word = {
        "add": int(one.event is not None),
        "negative": 0 if one.event is None else one.event.negative,
        "stores": stores,
        "slots": slots,
        "addresses": addresses,
        **{name: getattr(one, name) for name in ("move", "fresh", "weight")},
    }
    return bits(motion(p), word)


DROPPED = Motion(move=0, fresh=1)


def run(
    p: Program, several: Sequence[Sequence[Motion]]
) -> tuple[np.ndarray, list[int], Sequence[int]]:
    """Motions of each scan in turn, then the sweep: (words, banks, lanes) that it shows; `busy` in
    each cycle; the cycles in which scans began."""
    unit, words, moved, begins = WindowSums(p), [], [], []
    for code, one in zip(p.code.words, several, strict=False):
        begins.append(len(words))
        rest = WindowSums.LATENCY + 2
        words += [code] * (len(one) + rest)
        moved += [*(raw(p, each) for each in one), raw(p, DROPPED), *[0] * (rest - 1)]
    start, sweep = len(words), p.operations[-1]
    assert isinstance(sweep, Sweep)
    words += [p.code.words[-1]] * sweep_cycles(p, sweep)
    bench = Bench(unit)
    bench.play(unit.word, words)
    bench.play(Value.cast(unit.i), moved)
    bench.play(unit.sweep, [0] * start + [1])
    seen = bench.watch(unit.fired, Value.cast(unit.potentials), unit.busy)
    bench.run(extra=3)
    fired = [n for n, (one, _, _) in enumerate(seen) if one]
    assert len(fired) == WORDS
    later = 2  # from spikes to what is kept
    shown = [split(seen[n + later][1], MEMBRANE_BITS, p.word) for n in fired]
    found = np.array(shown).reshape(WORDS, p.parts, LANES)
    sign = 1 << MEMBRANE_BITS - 1
    return (found ^ sign) - sign, [busy for *_, busy in seen], begins


def added(p: Program, several: Sequence[Motion]) -> np.ndarray:
    """(words, banks, lanes) of a memory."""
    assert p.window is not None
    sums = Sums(p.window, LANES, p.weights)
    found = np.zeros((WORDS, p.window.rows, LANES), dtype=np.int64)
    for one in several:
        left = sums.move(one)
        for bank, slot, address in one.stores:
            found[address, bank] += left[slot]
    return found


def kept(values: np.ndarray, width: int) -> np.ndarray:
    """The low bits, as a number with a sign."""
    sign = 1 << width - 1
    return ((values & (sign << 1) - 1) ^ sign) - sign


@pytest.mark.parametrize(("potentials", "drives"), [(True, True), (True, False), (False, True)])
def test_what_leaves_is_added_to_its_word(potentials: bool, drives: bool) -> None:
    """Into potentials, then drives, or into the one memory that there is; of every bank, from every
    row of the window; the narrower memory keeps the low bits."""
    p = program(potentials, drives)
    several = [random_motions(p, 90, WindowSums.AGAIN, n) for n in range(2)]
    several = several[: potentials + drives]
    found, busy, begins = run(p, several)
    sums = [added(p, one) for one in several]
    wanted = sum(
        kept(one, width)
        for one, width in zip(sums, [BITS] * potentials + [DRIVE_BITS] * drives, strict=True)
    )
    assert np.array_equal(found, wanted)
    # From the first motion until the cycle after the last that stores has written.
    for begin, moves in zip(begins, several, strict=True):
        last = max(n for n, one in enumerate(moves) if one.stores)
        adds = [n for n, one in enumerate(moves) if one.event is not None]
        first = min(adds[0], next(n for n, one in enumerate(moves) if one.stores))
        done = begin + max(last + WindowSums.LATENCY, adds[-1] + 1)
        assert all(busy[begin + first : done])
        assert not any(busy[done : begin + len(moves) + WindowSums.LATENCY + 2])


def test_a_word_is_not_read_again_before_it_is_written() -> None:
    """`AGAIN` is as long as it must be: a cycle earlier, what was added is lost."""
    p = program(True, False)
    event = Event(row=0, column=0)
    assert p.window is not None
    first = p.window.used.index((0, 0))  # row of the window, column
    rows = np.flatnonzero(p.weights.reshape(len(p.weights), -1, LANES)[:, first].all(axis=1))
    one = Motion(move=1, fresh=0, event=event, weight=int(rows[0]))
    for distance in (WindowSums.AGAIN, WindowSums.AGAIN - 1):
        stored = replace(one, stores=((0, 0, 1),))
        several = [one, one, one, stored, *[one] * (distance - 1), stored]
        found, _, _ = run(p, [several])
        assert np.array_equal(found, added(p, several)) == (distance == WindowSums.AGAIN)
