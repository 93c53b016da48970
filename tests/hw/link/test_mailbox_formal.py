"""Ring 2: the mailbox (see `tests.hw.proving`), by induction, for runs of any length.

* Mailbox: any byte of any word is what was written to it last (its word's byte with `en`), or what
  it was at the beginning; nothing else changes it; it is read `LATENCY` cycles later.
* ResultRecorder: logit n of a run goes to word LOGITS + n as it comes, then class, cycles and
  events to their words, once each, in the cycles of its law; tag bytes go to the tag's word between
  runs (but not in the cycle behind `done`, when no frame can be under way); nothing else is
  written, `done` comes once.
* EventCounter: all events since `clear`, of the cycles up to `latency` ago.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Cat, Mux, Signal

from hw.contract.link import CLASS, CYCLES, EVENTS, LOGITS, TAG, WORD_BYTES
from hw.link import mailbox
from tests.hw.proving import Harness, broken, induction, mutant, refuted

NAMES = (
    ("Signal.like(self.addr, init=TAG)", 'Signal.like(self.addr, init=TAG, name="slot")'),
    ("Signal(range(events.latency))", 'Signal(range(events.latency), name="settle")'),
    (
        "cycles, best = Signal(32), Signal.like(result.best)",
        'cycles, best = Signal(32, name="cycles"), Signal.like(result.best, name="best")',
    ),
)
"""For the helper invariants: what tuples of Signals leave without names."""

FIRST = [0x03020100, 0x80FF7F55, 5]


def memory(module: ModuleType) -> Harness:
    """Six words, of which three are given."""
    h = Harness()
    m = h.m
    words = 6
    m.submodules.dut = dut = module.Mailbox(words, FIRST)
    h.drives(dut)
    h.given((dut.addr < words) & (dut.index < words * WORD_BYTES))
    chosen = h.fixed(range(words * WORD_BYTES), "chosen")
    h.given(chosen < words * WORD_BYTES)
    # What the byte should be: from the first cycle on, and once it may have been written.
    begun, value = Signal(reset_less=True), Signal(8, reset_less=True)
    start = sum(word << 32 * n for n, word in enumerate(FIRST))
    now = Signal(8)
    initial = Signal(32 * words, init=start, reset_less=True)
    m.d.comb += now.eq(Mux(begun, value, initial.word_select(chosen, 8)))
    place = chosen & (WORD_BYTES - 1)
    writes = (dut.addr == chosen >> 2) & dut.en.bit_select(place, 1)
    m.d.sync += [begun.eq(1), value.eq(Mux(writes, dut.data.word_select(place, 8), now))]
    # Read while its word is written, it may be anything.
    asked, known = Signal(2, reset_less=True), Signal(16, reset_less=True)
    asks = (dut.index == chosen) & ~((dut.addr == chosen >> 2) & dut.en.any())
    m.d.sync += [asked.eq(Cat(asks, asked)), known.eq(Cat(now, known))]
    waited = Signal(2)
    m.d.sync += waited.eq(Cat(1, waited))
    h.always(~(asked[1] & waited[1]) | (dut.byte == known[8:]))
    cells = h.words("dut.memory", words, 32)
    h.helps(Cat(cells).word_select(chosen, 8) == now)
    return h


def counter(module: ModuleType, lanes: int) -> Harness:
    h = Harness()
    m = h.m
    m.submodules.dut = dut = module.EventCounter(lanes)
    h.drives(dut)
    h.without_reset()
    counts: list[Any] = [sum((dut.i[k] for k in range(lanes)), start=0)]
    for n in range(dut.latency - 1):
        later = Signal(range(lanes + 1), name=f"later{n}")
        m.d.sync += later.eq(counts[-1])
        counts.append(later)
    total = Signal(32)
    m.d.sync += total.eq(Mux(dut.clear, 0, total + counts[-1]))
    h.always(dut.count == total)
    return h


def recorder(module: ModuleType, classes: int) -> Harness:
    h = Harness()
    m = h.m
    bits = 5
    m.submodules.dut = dut = module.ResultRecorder(classes=classes, logit_bits=bits, event_lanes=2)
    h.drives(dut)
    h.without_reset()
    # A run: logits that have come (the last one says so), then cycles since the last came.
    running, came, since = Signal(), Signal(range(classes + 1)), Signal(4)
    result, comes = dut.results.payload, dut.results.valid & dut.results.ready
    cycles, best = Signal(32), Signal(len(result.best))
    latency = module.EventCounter(2)
    wait = latency.latency
    m.submodules.count = count = latency  # the same events, counted by its like
    m.d.comb += [count.i.eq(dut.events), count.clear.eq(dut.clear)]
    over = running & (came == classes)
    fresh = Signal()  # the run is just over: the address is not that of the tag yet
    m.d.sync += fresh.eq(dut.done)
    h.given(~fresh | (dut.tag == 0))
    h.given(~comes | (result.last == (came == classes - 1)))
    with m.If(~running):
        m.d.sync += [running.eq(dut.go), came.eq(0), since.eq(1)]
    with m.Elif(over):
        m.d.sync += since.eq(since + 1)
        with m.If(since == wait + 3):
            m.d.sync += running.eq(0)
    with m.Elif(comes):
        m.d.sync += [came.eq(came + 1), best.eq(result.best)]
    with m.If(running & ~over):
        m.d.sync += cycles.eq(Mux(dut.sent, 0, cycles + 1))
    h.always(dut.results.ready == (running & ~over))
    h.always(dut.done == (over & (since == wait + 3)))
    tail = over & (since > wait)
    h.always(dut.en == Mux(running, (comes | tail).replicate(WORD_BYTES), dut.tag))
    word = Mux(~running, TAG, Mux(over, CLASS - 1 + since - wait, LOGITS + came))
    h.always(~dut.en.any() | (dut.addr == word))
    logit = result.logit.as_signed()
    tails = Mux(word == CLASS, best, Mux(word == CYCLES, cycles, count.count))
    expected = Signal(32)
    with m.If(~running):
        m.d.comb += expected.eq(dut.byte.replicate(WORD_BYTES))
    with m.Elif(over):
        m.d.comb += expected.eq(tails)
    with m.Else():
        m.d.comb += expected.eq(logit)
    assert (CLASS, CYCLES, EVENTS) == (CLASS, CLASS + 1, CLASS + 2)
    h.always(~dut.en.any() | (dut.data == expected))
    # Where the component's registers stand.
    state, slot = h.within("dut.fsm_state", 2), h.within("dut.slot", len(dut.addr))
    settle = h.within("dut.settle", range(wait))
    h.helps(came <= classes)
    ends = Mux(since <= wait, (state == 2) & (settle == since - 1), (state == 3))
    h.helps(state == Mux(~running, 0, Mux(~over, 1, Mux(since <= wait, 2, 3))))
    h.helps(~over | (ends & (since >= 1) & (since <= wait + 3)))
    h.helps(slot == Mux(fresh, EVENTS + 1, Mux(over & (since <= wait), CLASS, word)))
    h.helps(~fresh | ~running)
    h.helps(running | (since <= wait + 4))
    h.helps(~running | over | (since == 1))
    h.helps(h.within("dut.best", len(best)) == best)
    h.helps(h.within("dut.cycles", 32) == cycles)
    h.helps(h.within("dut.events.count", 32) == count.count)
    return h


CONTRACTS = {
    "memory": memory,
    "counter-2": lambda module: counter(module, 2),
    "counter-9": lambda module: counter(module, 9),
    "recorder": lambda module: recorder(module, 3),
}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_mailbox(contract: str, tmp_path: Path) -> None:
    assert induction(CONTRACTS[contract](mutant(mailbox, *NAMES)), tmp_path, depth=8)


MUTANTS = {
    "memory": [
        ("place.eq(self.index[:2])", "place.eq(self.index[1:3])"),
        ("read.addr.eq(self.index[2:])", "read.addr.eq(self.index[:3])"),
        ("write.en.eq(self.en)", "write.en.eq(self.en.any().replicate(4))"),
        ("write.en.eq(self.en)", "write.en.eq(self.en[::-1])"),
        ("init=self._init", "init=self._init[:1]"),
        ("write.addr.eq(self.addr)", "write.addr.eq(self.addr | 1)"),
    ],
    "counter-9": [
        ("len(level), 2)], 2 * most", "len(level) - 1, 2)], 2 * most"),
        ("C(n.bit_count(), range", "C(n.bit_length(), range"),
        ("level = [Signal(range(most + 1))", "level = [Signal(range(most))"),
        ("Mux(self.clear, 0, self.count + level[0])", "self.count + level[0]"),
        ("m.d.sync += lanes.eq(self.i)", "m.d.comb += lanes.eq(self.i)"),
    ],
    "recorder": [
        ("slot.eq(Mux(self.go, LOGITS, TAG))", "slot.eq(LOGITS)"),
        ("slot.eq(slot + 1), best.eq(result.best)", "best.eq(result.best)"),
        ("Mux(self.sent, 0, cycles + 1)", "Mux(self.sent, 1, cycles + 1)"),
        ("settle == events.latency - 1", "settle == events.latency - 2"),
        ("settle.eq(0)]", "settle.eq(settle)]"),
        ("self.data.eq(best)", "self.data.eq(result.best)"),
        (
            "m.d.comb += [self.en.eq(self.tag), ",
            "m.d.comb += [self.en.eq(self.tag.any().replicate(4)), ",
        ),
        ("self.data.eq(events.count)", "self.data.eq(cycles)"),
        ("slot.eq(CLASS)", "slot.eq(CYCLES)"),
        ("with m.If(self.results.valid):", "with m.If(self.results.valid & ~self.sent):"),
        ("[self.results.ready.eq(1), ", "[self.results.ready.eq(~self.sent), "),
    ],
}


@broken(MUTANTS)
def test_a_broken_one_is_refuted(
    contract: str, changes: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert bool(changes) == refuted(CONTRACTS[contract](mutant(mailbox, *changes)), tmp_path, 25)
