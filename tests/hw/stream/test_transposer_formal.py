"""Ring 2: the transposer as a scoreboard (see `tests.hw.proving`), by induction, for runs of any
length.

Any word of any image (its place is one value for ever, whichever; which images are looked at is
free) leaves in its image's turn, at its place in the order step, group, word, as it came, and the
word count of what leaves is that of what came: so nothing is lost, nothing comes twice, and all is
in order. A word is taken in every cycle with a free image, and offered when the cycle law says.
"""

from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Array, Cat, Mux, Signal, unsigned

from hw.stream import transposer
from hw.stream.payloads import transfer
from tests.hw.proving import Harness, broken, induction, mutant, refuted

BITS = 2

NAMES = (
    (
        "Signal(),\n            Signal(range(size)),",
        'Signal(name="target"),\n            Signal(range(size), name="address"),',
    ),
    (
        "Signal(range(self._groups * self._words)),",
        'Signal(range(self._groups * self._words), name="home"),',
    ),
    (
        "word, step = Signal(range(self._words)),",
        'word, step = Signal(range(self._words), name="word"),',
    ),
    ("Signal(range(self._steps))\n", 'Signal(range(self._steps), name="step")\n'),
    (
        "source, index, fetched = Signal(), Signal(range(size))",
        'source, index, fetched = Signal(name="source"), Signal(range(size), name="index")',
    ),
)
"""For the helper invariants: what the tuples of Signals leave without names."""


def scoreboard(module: ModuleType, groups: int, steps: int, words: int) -> Harness:
    h = Harness()
    m = h.m
    dut: Any = module.Transposer(unsigned(BITS), groups=groups, steps=steps, words=words)
    m.submodules.dut = dut
    h.drives(dut)
    order = list(product(range(groups), range(steps), range(words)))  # as words come
    size = len(order)
    leaving = sorted(order, key=lambda place: (place[1], place[0], place[2]))
    turns = Array(leaving.index(place) for place in order)

    # Words that have come of the image that is not whole, those that have left of the image that
    # leaves; whole images that have not left.
    came, left, whole = Signal(range(size)), Signal(range(size)), Signal(2)
    comes, leaves = transfer(dut.i), transfer(dut.o)
    complete, gone = comes & (came == size - 1), leaves & (left == size - 1)
    with m.If(comes):
        m.d.sync += came.eq(Mux(complete, 0, came + 1))
    with m.If(leaves):
        m.d.sync += left.eq(Mux(gone, 0, left + 1))
    m.d.sync += whole.eq(whole + complete - gone)

    # One word: where it came; its value; the images before its own.
    place, look = h.fixed(range(size), "place"), h.free(1, "look")
    h.given(place < size)
    turn = Signal(range(size))
    m.d.comb += turn.eq(turns[place])
    watched, value, before = Signal(), Signal(BITS), Signal(2)
    with m.If(watched & gone):
        m.d.sync += before.eq(before - 1)
    here = dut.o.valid & watched & (before == 0) & (left == turn)
    with m.If(here & dut.o.ready):
        m.d.sync += watched.eq(0)
    with m.If(comes & look & ~watched & (came == place)):
        m.d.sync += [watched.eq(1), value.eq(dut.i.payload), before.eq(whole - gone)]
    h.always(~here | (dut.o.payload == value))
    h.always(~dut.o.valid | (whole != 0))
    h.always(dut.i.ready == (whole != 2))
    offered = Signal()
    m.d.sync += offered.eq(Mux(offered, ~dut.o.ready, whole != 0))
    h.always(dut.o.valid == offered)

    # Where the component's registers and the word stand.
    address_bits = (size - 1).bit_length()
    store = Array(h.words("dut.store", 2 << address_bits, BITS))
    target, source = h.within("dut.target", 1), h.within("dut.source", 1)
    full = [h.within(f"dut.full{b}", 1) for b in range(2)]
    group, step, word = (Array(p[k] for p in order)[came] for k in range(3))
    h.helps((came < size) & (left < size) & (whole <= 2))
    h.helps((whole != 0) | (left == 0))
    for name, bits, value_ in (
        ("word", range(words), word),
        ("step", range(steps), step),
        ("home", range(groups * words), group * words),
        ("address", range(size), turns[came]),
    ):
        h.helps(h.within(f"dut.{name}", bits) == value_)
    h.helps(h.within("dut.index", range(size)) == left)
    h.helps(target == source ^ whole[0])
    h.helps(Cat(full) == Mux(whole == 1, 1 << source, Mux(whole == 2, 3, 0)))
    slot = source ^ before[0]
    h.helps(~watched | (before <= whole))
    h.helps(~watched | (before != whole) | (came > place))
    h.helps(~watched | (before != 0) | (left <= turn))
    h.helps(~watched | (store[Cat(turn, slot)] == value))
    return h


NAMED = mutant(transposer, *NAMES)
SIZES = [(2, 2, 1), (3, 1, 2), (2, 3, 2), (1, 1, 1)]


@pytest.mark.parametrize("size", SIZES)
def test_every_word_leaves_once_in_its_turn(size: tuple[int, int, int], tmp_path: Path) -> None:
    assert induction(scoreboard(NAMED, *size), tmp_path)


CONTRACTS = {"scoreboard": lambda module: scoreboard(module, 2, 2, 2)}

MUTANTS = {
    "scoreboard": [
        ("address.eq(next_home)]", "address.eq(0)]"),
        ("address.eq(address + (self._groups - 1) * self._words + 1)", "address.eq(address + 1)"),
        ("home + self._words)", "home + 1)"),
        ("target.eq(target ^ complete)", "target.eq(target ^ (complete & ~self.o.ready))"),
        ("source.eq(source ^ last)", "source.eq(source)"),
        ("with m.Elif(sent & last & (source == b))", "with m.Elif(sent & (source == b))"),
        ("last = index == size - 1", "last = index == size - 2"),
        (
            "complete.eq(taken & last_word & last_step & last_group)",
            "complete.eq(taken & last_word & last_step)",
        ),
        ("write.addr.eq(Cat(address, target))", "write.addr.eq(Cat(address, self.o.valid))"),
        ("with m.If(sent):", "with m.If(sent & ~complete):"),
    ]
}


@broken(MUTANTS)
def test_a_broken_one_is_refuted(
    contract: str, changes: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert bool(changes) == refuted(
        CONTRACTS[contract](mutant(transposer, *NAMES, *changes)), tmp_path, 32
    )
