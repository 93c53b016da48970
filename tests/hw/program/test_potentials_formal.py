"""Ring 2: one read-modify-write per update (see `tests.hw.proving`), for runs of any length.

Of any word, whichever updates come at whatever distance from each other, in whatever cycles: the
word changes in the cycle in which an update of it is written, to what it was plus that update's
term (kept modulo the memory's width), and in no other, but for those of a sweep. So it is at any
time the sum of all updates of it that have been written, however close they followed. And what is
looked at is what is there.

By temporal induction, no bound. Surroundings: the operation stays and no sweep begins while updates
are on their way, no update comes during a sweep, as `hw.program.stage` has it. Programs: sums of
wide and narrow potentials, drives, with identities and without. Not here: masters' rows.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Array, C, Cat, Mux, Signal

from hw.program import potentials
from hw.program.code import Scan
from hw.program.operation import operation, update
from hw.program.program import Program
from tests.hw.program.small import stage, sums
from tests.hw.proving import Harness, broken, induction, mutant, refuted

WRITTEN = 5
"""Cycles from an update to the one at whose end its word has changed."""


def adds(module: ModuleType, p: Program) -> Harness:
    h = Harness()
    m = h.m
    m.submodules.dut = dut = module.Potentials(p)
    h.drives(dut)
    sweeping = h.within("dut.sweeper.busy", 1, claimed=True)
    scan = operation(p, dut.word, Scan)
    before, held = Signal.like(dut.word, name="word_before"), Signal()
    m.d.sync += [before.eq(dut.word), held.eq(dut.busy)]
    h.given(~held | (dut.word == before))
    h.given(~dut.valid | ~(sweeping | dut.sweep))
    there = Mux(scan.drive, p.drive_words, p.potential_words)
    h.given(~dut.valid | ((dut.i.potential < there) & (dut.i.weight < p.most_rows)))
    h.given(~(dut.sweep | dut.look) | ~dut.busy)

    flow: list[Any] = [(dut.valid, dut.i)]
    for n in range(WRITTEN):
        valid, at = Signal(name=f"due{n}"), Signal(update(p), name=f"is{n}", reset_less=True)
        m.d.sync += [valid.eq(flow[-1][0]), at.eq(flow[-1][1])]
        flow.append((valid, at))
    valid, at = flow[WRITTEN]
    lanes = [lane_term(p, scan, at, k) for k in range(p.lanes)]

    shapes = dut._sweeper
    for name, words, layout, here in (
        ("potentials", p.potential_words, shapes.prepared.shape(), ~scan.drive),
        ("drives", p.drive_words, shapes.biases.shape(), scan.drive),
    ):
        if not words:
            continue
        bits = layout.elem_shape.width
        chosen = h.fixed(range(words), f"chosen_{name}")
        h.given(chosen < words)
        word = Array(h.words(f"dut.{name}", words, p.lanes * bits))[chosen]
        expected = []
        for k in range(p.lanes):
            lane = word[k * bits : (k + 1) * bits].as_signed()
            expected.append((lane + lanes[k])[:bits])
        due = Signal(p.lanes * bits, name=f"due_{name}", reset_less=True)
        free = Signal(name=f"swept_{name}", init=1)
        writes = valid & here & (at.potential == chosen)
        m.d.sync += [due.eq(Mux(writes, Cat(expected), word)), free.eq(sweeping)]
        h.always(free | (word == due))
        if name == "drives":
            looks, seen = [dut.look & (dut.look_address == chosen)], [word]
            for n in range(2):
                a, b = Signal(name=f"looks{n}"), Signal(p.lanes * bits, name=f"seen{n}")
                m.d.sync += [a.eq(looks[-1]), b.eq(seen[-1])]
                looks.append(a)
                seen.append(b)
            h.always(~looks[2] | (Cat(lane[:bits] for lane in dut.seen) == seen[2]))
    return h


def lane_term(p: Program, scan: Any, at: Any, k: int) -> Any:
    """What an update adds to a lane."""
    rows = [
        C(row >> k * p.weight_bits & (1 << p.weight_bits) - 1, p.weight_bits)
        for row in p.weight_table.words
    ]
    weight, negative, counts = Array(rows)[at.weight].as_signed(), at.negative, C(1, 1)
    if p.has_identities:
        weight = Mux(scan.identity, scan.constant, weight)
        negative = Mux(scan.identity, at.negatives[k], negative)
        counts = ~scan.identity | at.active[k]
    value = weight << at.shift
    return Mux(counts, Mux(negative, -value, value), 0)


PROGRAMS = {"sums": sums, "stage": stage}


@pytest.mark.parametrize("program", ["sums", pytest.param("stage", marks=pytest.mark.long)])
def test_a_word_is_the_sum_of_its_updates(program: str, tmp_path: Path) -> None:
    assert induction(adds(potentials, PROGRAMS[program]()), tmp_path, depth=6)


CONTRACTS = {"adds": lambda module: adds(module, sums()), "stage": lambda m: adds(m, stage())}

MUTANTS = {
    "adds": [
        ("hits[2].eq(same(5, 2))", "hits[2].eq(0)"),
        ("hits[0].eq(same(4, 3))", "hits[0].eq(0)"),
        ("hits[1].eq(same(4, 2))", "hits[1].eq(0)"),
        ("hits[2].eq(same(5, 2))", "hits[2].eq(same(5, 3))"),
        ("return a_valid & (", "return ("),
        (
            "Mux(hits[1], sums[k], Mux(hits[2], written[k], there))",
            "Mux(hits[2], written[k], Mux(hits[1], sums[k], there))",
        ),
        ("valid & ~scan.drive", "valid"),
        ("valid & scan.drive", "valid"),
        ("m.d.sync += written.eq(sums)", "m.d.sync += written.eq(old)"),
        ("carry.eq(negative & active)", "carry.eq(0)"),
        ("weight << at_2.shift, negative", "weight, negative"),
        (
            "from_drives.eq(~sweeper.busy & (self.look | scan.drive))",
            "from_drives.eq(~sweeper.busy & scan.drive)",
        ),
        (
            "address, valid, place = flow[2][1].potential, flow[5][0]",
            "address, valid, place = flow[2][1].potential, flow[4][0]",
        ),
        ("shifted = Signal(signed(bits)", "shifted = Signal(signed(bits - 1)"),
    ],
    "stage": [
        ("Mux(self.look, self.look_address, address)", "address"),
        ("active = ~scan.identity | at_3.active[k]", "active = at_3.active[k]"),
        ("Mux(scan.identity, at_3.negatives[k], negative)", "negative"),
        ("Mux(scan.identity, scan.constant, weight)", "weight"),
        ("at_2, at_3 = flow[2][1], flow[3][1]", "at_2, at_3 = flow[2][1], flow[2][1]"),
    ],
}


@broken(MUTANTS, quick=("adds",))
def test_a_broken_addition_is_refuted(
    contract: str, changes: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert bool(changes) == refuted(CONTRACTS[contract](mutant(potentials, *changes)), tmp_path, 16)
