"""The update engine against `hw.contract.learning.change`, at and beyond all limits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from gen.learn.stage import learning_stage, plan_learning
from hw.contract.learning import change, turned
from hw.learn.engine import UpdateEngine
from hw.learn.masters import Masters
from hw.program.program import Program
from tests.learning import learning_network


def program(seed: int, *, lanes: int = 4, **more: Any) -> Program:
    """Of a small network."""
    rng = np.random.default_rng(seed)
    masters = Masters.of(learning_network(rng, **more))
    return learning_stage(plan_learning(masters, lanes)).program


def played(p: Program, rate: int, random: int, cases: list[dict[str, Any]]) -> list[list[int]]:
    """The rows that are written for updates, one in each cycle: vector, coefficient, row of masters
    each; checks latency and address."""
    engine = UpdateEngine(p)
    learning = p.learning
    assert learning is not None
    latency = UpdateEngine.latency(learning)
    written: list[list[int]] = []

    async def bench(ctx: Any) -> None:
        ctx.set(engine.random, random)
        ctx.set(engine.rate, rate - learning.rate_range[0])
        await ctx.tick()
        for cycle in range(len(cases) + latency + 1):
            there = cycle < len(cases)
            ctx.set(engine.valid, int(there))
            if there:
                case = cases[cycle]
                ctx.set(engine.i.weight, cycle)
                for name in ("sender", "word", "value", "negative"):
                    ctx.set(engine.i[name], case[name])
            if 0 <= cycle - 1 < len(cases):
                for k, count in enumerate(cases[cycle - 1]["vector"]):
                    ctx.set(engine.vector[k], count)
            # As a memory: the row of the address of two cycles ago.
            if len(read) >= 2 and read[-2] < len(cases):
                for k, master in enumerate(cases[read[-2]]["row"]):
                    ctx.set(engine.row[k], master)
            read.append(ctx.get(engine.read))
            busy = ctx.get(engine.busy)
            assert busy == int(there or 0 < cycle < len(cases) + latency - 1)
            if ctx.get(engine.write):
                assert ctx.get(engine.address) == len(written) == cycle - latency + 1
                written.append([ctx.get(engine.changed[k]) for k in range(p.lanes)])
            await ctx.tick()

    read: list[int] = []
    simulator = Simulator(engine)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(written) == len(cases)
    return written


def expected(p: Program, rate: int, random: int, case: dict[str, Any]) -> list[int]:
    """The law."""
    learning = p.learning
    assert learning is not None
    q = (1 << learning.master_bits - learning.fraction_bits - 1) - 1
    s = learning.fraction_bits
    coefficient = -case["value"] if case["negative"] else case["value"]
    targets = case["word"] * p.lanes + np.arange(p.lanes)
    dither = (random & 0xFFFF) ^ turned(case["sender"] ^ targets)
    wanted = np.array(case["row"]) + change(coefficient * np.array(case["vector"]), dither, rate)
    return np.clip(wanted, -q << s, (q << s) + (1 << s) - 1).tolist()


@pytest.mark.parametrize(
    ("more", "rates"),
    [
        ({}, (-1, 0, 1, 4)),
        ({"input_bits": 1, "steps": 1, "steps_back": 1, "fraction": 0, "rates": (0, 0)}, (0, 3)),
        ({"input_bits": 8, "steps_back": 60, "fraction": 6, "rates": (12, -7)}, (-7, 3, 16)),
        ({"error_bits": 6, "groups": (5,), "rates": (3, 9)}, (3, 13)),
    ],
    ids=["small", "one bit", "wide", "errors"],
)
def test_every_row_is_the_law(more: dict[str, Any], rates: tuple[int, ...]) -> None:
    """Random and extreme counts, coefficients, masters and random words; a row in every cycle."""
    p = program(3, **more)
    learning = p.learning
    assert learning is not None
    rng = np.random.default_rng(4)
    low, high = -(1 << learning.vector_bits - 1), (1 << learning.vector_bits - 1) - 1
    q = (1 << learning.master_bits - learning.fraction_bits - 1) - 1
    s = learning.fraction_bits
    limits = -q << s, (q << s) + (1 << s) - 1
    for rate in rates:
        cases = []
        for n in range(40):
            extreme = n % 3 == 0
            ends = rng.integers(0, 2, (2, p.lanes))
            vector = rng.integers(low + 1, high + 1, p.lanes)
            row = rng.integers(limits[0], limits[1] + 1, p.lanes)
            most = (1 << learning.value_bits) - 1
            cases.append(
                {
                    "vector": np.where(ends[0], high, low + 1) if extreme else vector,
                    "row": np.where(ends[1], *limits[::-1]) if extreme else row,
                    "value": most if extreme else int(rng.integers(0, most + 1)),
                    "negative": int(rng.integers(0, 2)),
                    "sender": int(rng.integers(0, 1 << 16)),
                    "word": int(rng.integers(0, p.target_words)),
                }
            )
            cases[-1]["vector"] = cases[-1]["vector"].tolist()
            cases[-1]["row"] = cases[-1]["row"].tolist()
        random = int(rng.integers(0, 1 << 16))
        rows = played(p, rate, random, cases)
        assert rows == [expected(p, rate, random, case) for case in cases]


def test_both_copies_get_equal_changes() -> None:
    """(sender, target) in one copy, (target, sender) in the other."""
    p = program(5, groups=(4, 4), rates=(3, 3, 3))
    case = {
        "vector": [3, -2, 0, 1],
        "row": [5, 5, 5, 5],
        "value": 2,
        "negative": 0,
        "sender": 1,
        "word": 0,
    }
    there = played(p, 3, 0xBEEF, [case])[0]
    for target in range(4):
        count = case["vector"][target]  # type: ignore[index]
        turned_case = case | {
            "vector": [2 * (k == 1) for k in range(4)],
            "value": abs(count),
            "negative": int(count < 0),
            "sender": target,
        }
        assert played(p, 3, 0xBEEF, [turned_case])[0][1] == there[target]


def test_the_latency_follows_the_coefficient() -> None:
    """A level of sums for each doubling of its bits."""
    p = program(3)
    assert p.learning is not None
    for bits, levels in ((1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3)):
        assert UpdateEngine.latency(replace(p.learning, value_bits=bits)) == 7 + levels
