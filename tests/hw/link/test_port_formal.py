"""Ring 2: the words of an image (see `tests.hw.proving`), by induction, for runs of any length.

ImageAssembler: as long as no word waited too long (`late` says so, and stays until `clear`), words
leave in order, once each, as their bytes came, the last one not before `go`. HostPort as a whole is
not proven: its commands are in `test_port`.
"""

from pathlib import Path
from types import ModuleType

import pytest
from amaranth.hdl import Cat, Mux, Signal

from hw.link import port
from hw.stream.payloads import transfer
from tests.hw.proving import Harness, broken, induction, mutant, refuted


def words(module: ModuleType, size: int, count: int) -> Harness:
    """An image of `count` words of `size` bytes."""
    h = Harness()
    m = h.m
    m.submodules.dut = dut = module.ImageAssembler(8 * size, count)
    h.drives(dut)
    # Bytes of the word that is not whole; words that are; whether the last of them waits to leave.
    place, whole, waits = Signal(range(size)), Signal(range(count + 1)), Signal()
    asked, late = Signal(), Signal(name="late_law")
    word = Signal(8 * size, reset_less=True)
    leaves = transfer(dut.o)
    offered = waits & ((whole != count) | asked)
    # `go` comes once, when the image is whole, and bytes come no more than an image has.
    h.given(~dut.go | (waits & (whole == count) & ~asked))
    h.given(~dut.valid | dut.clear | (whole != count))
    with m.If(leaves):
        m.d.sync += [waits.eq(0), asked.eq(0)]
    with m.If(dut.go & ~leaves):
        m.d.sync += asked.eq(1)
    with m.If(dut.valid & offered):
        m.d.sync += late.eq(1)
    with m.Elif(dut.valid):
        m.d.sync += [
            word.eq(Cat(word, dut.byte)[8:]),
            place.eq(Mux(place == size - 1, 0, place + 1)),
        ]
        with m.If(place == size - 1):
            m.d.sync += [whole.eq(whole + 1), waits.eq(1)]
    with m.If(dut.clear):
        m.d.sync += [place.eq(0), whole.eq(0), waits.eq(0), asked.eq(0), late.eq(0)]
    h.always(dut.o.valid == offered)
    h.always(~offered | (dut.o.payload == word))
    h.always(dut.late == late)
    # Where the component's registers stand.
    h.helps(whole <= count)
    h.helps(~waits | ((whole != 0) & (place == 0)))
    h.helps(~asked | (waits & (whole == count)))
    h.helps((whole != count) | (place == 0))
    if size > 1:
        h.helps(h.within("dut.place", range(size)) == place)
    if count > 1:
        left = h.within("dut.left", range(count))
        h.helps(left == (count - 1 - whole)[: len(left)])
    h.helps(h.within("dut.word", 8 * size) == word)
    return h


SIZES = [(1, 1), (2, 3), (3, 2)]


@pytest.mark.parametrize("size", SIZES)
def test_words_leave_once_in_order(size: tuple[int, int], tmp_path: Path) -> None:
    assert induction(words(mutant(port, *NAMES), *size), tmp_path)


NAMES = (
    ("place, left = Signal(range(places))", 'place, left = Signal(range(places), name="place")'),
)
"""For the helper invariants: what a tuple of Signals leaves without a name."""

CONTRACTS = {"words": lambda module: words(module, 2, 3)}

MUTANTS = {
    "words": [
        ("self.o.valid.eq(left != 0)", "self.o.valid.eq(1)"),
        ("word.eq(Cat(word, self.byte)[8:])", "word.eq(Cat(self.byte, word))"),
        ("with m.If(self.valid & self.o.valid):", "with m.If(self.valid & transfer(self.o)):"),
        ("with m.Elif(self.valid):", "with m.If(self.valid):"),
        ("[self.o.valid.eq(0), self.late.eq(0), place.eq(0)", "[self.late.eq(0), place.eq(0)"),
        ("self.late.eq(0), place.eq(0)", "self.late.eq(0)"),
        ("place.eq(0), left.eq(left.init)]", "place.eq(0)]"),
        ("with m.If(place == places - 1):", "with m.If(place == 0):"),
        ("with m.If(transfer(self.o)):", "with m.If(self.o.ready & ~self.valid):"),
        ("init=self._words - 1)", "init=self._words - 2)"),
    ]
}


@broken(MUTANTS)
def test_a_broken_one_is_refuted(
    contract: str, changes: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert bool(changes) == refuted(CONTRACTS[contract](mutant(port, *changes)), tmp_path, 16)
