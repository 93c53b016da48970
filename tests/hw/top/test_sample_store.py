"""SampleStore: the pictures that are asked for, with their labels; hits, cycles, and when it is
over; what the host sends while nothing is played."""

from random import Random
from typing import Any

import pytest
from amaranth.sim import Simulator

from hw.top.row_player import RowPlayer
from hw.top.sample_store import Samples, SampleStore

WORDS, IMAGES, LABEL_BITS, WORD_BITS, CLASSES = 3, 5, 2, 8, 3
RANDOM = Random(1)
LABELS = [RANDOM.randrange(CLASSES) for _ in range(IMAGES)]
PICTURES = [[RANDOM.getrandbits(WORD_BITS) for _ in range(WORDS)] for _ in range(IMAGES)]
ROWS = [word | LABELS[n] << WORD_BITS for n in range(IMAGES) for word in PICTURES[n]]


def made() -> SampleStore:
    samples = Samples(rows=ROWS, words=WORDS, bits=WORD_BITS + LABEL_BITS, label_bits=LABEL_BITS)
    return SampleStore(samples, word_bits=WORD_BITS, classes=CLASSES, logit_bits=6)


def run(dut: SampleStore, bench: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


async def play(ctx: Any, dut: SampleStore, orders: list[int], shots: tuple, idle: float) -> None:
    """One command; the bench is the core: it takes words, answers, and says done."""
    rng = Random(len(orders))
    first, count, passes = shots
    for name, value in (("first", first), ("count", count), ("passes", passes)):
        ctx.set(getattr(dut.drill, name), value)
    ctx.set(dut.drill.start, 1)
    await ctx.tick()
    ctx.set(dut.drill.start, 0)
    assert not ctx.get(dut.drill.over)
    cycle = hits = last = 0
    begun = -1
    taken: list[int] = []
    answers, dones = [], []  # when each picture is answered, and over
    answered = done = 0
    while not ctx.get(dut.drill.over):
        assert cycle < 5000
        room = len(taken) // WORDS - done < 2 and rng.random() >= idle
        ctx.set(dut.o.ready, room)
        now = answered < len(answers) and cycle >= answers[answered]
        ctx.set(dut.results.valid, now)
        guess = rng.randrange(CLASSES)
        ctx.set(dut.results.payload.best, guess)
        ctx.set(dut.results.payload.last, now or rng.randrange(2))  # not valid, it says nothing
        finished = done < answered and cycle >= dones[done]
        ctx.set(dut.drill.done, finished)
        assert not ctx.get(dut.i.ready)
        assert not ctx.get(dut.answers.valid)
        if ctx.get(dut.o.valid) and begun < 0 and not idle:
            assert cycle + 1 == SampleStore.LATENCY
        if ctx.get(dut.o.valid) and room:
            begun = cycle if begun < 0 else begun
            picture = orders[len(taken) // WORDS]
            assert ctx.get(dut.drill.label) == LABELS[picture]
            assert ctx.get(dut.o.payload) == PICTURES[picture][len(taken) % WORDS]
            taken.append(cycle)
            if len(taken) % WORDS == 0:
                answers.append(cycle + rng.randint(1, 9))
                dones.append(answers[-1] + rng.randint(1, 9))
        if now:
            assert ctx.get(dut.results.ready)
            hits += guess == LABELS[orders[answered]]
            answered += 1
        if finished:
            done += 1
            last = cycle
        await ctx.tick()
        cycle += 1
    assert done == answered == len(orders) == count * passes
    assert len(taken) == WORDS * len(orders)
    assert ctx.get(dut.drill.hits) == hits
    assert ctx.get(dut.drill.cycles) == last - begun + 1
    ctx.set(dut.drill.done, 0)
    ctx.set(dut.results.valid, 0)


@pytest.mark.parametrize("idle", [0.0, 0.5])
def test_the_pictures_that_are_asked_for(idle: float) -> None:
    """All, some, the last one, several passes: one command after the other."""
    dut = made()

    async def bench(ctx: Any) -> None:
        for first, count, passes in ((0, 5, 2), (4, 1, 1), (1, 3, 3), (0, 1, 1), (2, 2, 2)):
            orders = [*range(first, first + count)] * passes
            await play(ctx, dut, orders, (first, count, passes), idle)
            for _ in range(3):
                assert ctx.get(dut.drill.over)
                assert not ctx.get(dut.o.valid)
                await ctx.tick()

    run(dut, bench)


def test_the_host_passes_while_nothing_is_played() -> None:
    dut = made()

    async def bench(ctx: Any) -> None:
        rng = Random(3)
        for _ in range(40):
            valid, ready, answer, taken = (rng.randrange(2) for _ in range(4))
            ctx.set(dut.i.valid, valid)
            ctx.set(dut.i.payload, word := rng.getrandbits(WORD_BITS))
            ctx.set(dut.o.ready, ready)
            ctx.set(dut.results.valid, answer)
            ctx.set(dut.results.payload.logit, logit := rng.randrange(-32, 32))
            ctx.set(dut.answers.ready, taken)
            await ctx.delay(1e-7)
            assert (ctx.get(dut.o.valid), ctx.get(dut.i.ready)) == (valid, ready)
            assert ctx.get(dut.o.payload) == word
            assert (ctx.get(dut.answers.valid), ctx.get(dut.results.ready)) == (answer, taken)
            assert ctx.get(dut.answers.payload.logit) == logit
            await ctx.tick()
        assert ctx.get(dut.drill.cycles) == 0

    run(dut, bench)


def test_a_row_player_offers_without_gaps_and_stands_still() -> None:
    rows = [*range(11)]
    dut = RowPlayer(width=4, rows=rows, most_repeats=3)
    got: list[tuple[int, int]] = []

    async def bench(ctx: Any) -> None:
        rng = Random(2)
        for idle in (0.0, 0.6):
            ctx.set(dut.first, 2)
            ctx.set(dut.last, 7)
            ctx.set(dut.repeats, 3)
            ctx.set(dut.start, 1)
            got.clear()
            cycle, before = 0, None
            while len(got) < 18:
                ready = rng.random() >= idle
                ctx.set(dut.o.ready, ready)
                offered = ctx.get(dut.o.payload) if ctx.get(dut.o.valid) else None
                assert before is None or offered == before
                before = None if ready else offered
                if offered is not None and ready:
                    got.append((cycle, offered))
                await ctx.tick()
                ctx.set(dut.start, 0)
                cycle += 1
            assert [word for _, word in got] == [*range(2, 8)] * 3
            if not idle:
                first = RowPlayer.LATENCY
                assert [at for at, _ in got] == [*range(first, first + 18)]
            for _ in range(4):
                assert not ctx.get(dut.o.valid)
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
