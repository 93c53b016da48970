"""The judge against `hw.contract.learning.judge`, with ties, and the masters' memory."""

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.contract.learning import judge
from hw.learn.judge import Judge
from hw.learn.memory import MasterMemory


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("widths", [(6, 5), (4, 7)], ids=["wide logits", "a wide margin"])
def test_the_verdict_is_the_law(classes: int, gaps: bool, widths: tuple[int, int]) -> None:
    """Small logits, so that ties are frequent; labels at both ends; extreme values; the verdict
    stands `LATENCY` cycles after the last logit, until it is cleared."""
    logit_bits, margin_bits = widths
    component = Judge(classes=classes, logit_bits=logit_bits, margin_bits=margin_bits)
    most = 2 ** (logit_bits - 1)
    rng = np.random.default_rng(classes)
    pictures = []
    for n in range(60):
        logits = rng.integers(-2, 3, classes) if n % 2 else rng.choice([-most, most - 1], classes)
        label = (0, classes - 1, int(rng.integers(0, classes)))[n % 3]
        margins = [0, 1, 2, most - 1, 2 * most - 1, 2**margin_bits - 1]
        pictures.append((logits, label, int(rng.choice(margins))))

    async def bench(ctx: Any) -> None:
        for logits, label, margin in pictures:
            ctx.set(component.label, label)
            ctx.set(component.margin, margin)
            for logit in logits.tolist():
                while gaps and rng.random() < 0.5:
                    ctx.set(component.valid, 0)
                    ctx.set(component.logit, int(rng.integers(-most, most)))
                    await ctx.tick()
                ctx.set(component.valid, 1)
                ctx.set(component.logit, logit)
                assert not ctx.get(component.done)
                await ctx.tick()
            ctx.set(component.valid, 0)
            for _ in range(component.LATENCY - 1):
                assert not ctx.get(component.done)
                await ctx.tick()
            for _ in range(int(rng.integers(1, 4))):
                assert ctx.get(component.done)
                error = judge(logits, label, margin)
                assert ctx.get(component.learn) == error.any()
                if error.any():
                    assert error[ctx.get(component.wrong)] == -1
                await ctx.tick()
            ctx.set(component.clear, 1)
            await ctx.tick()
            ctx.set(component.clear, 0)

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_row_alone_has_an_address() -> None:
    """The Verilog of a memory has one, whatever its depth."""
    memory = MasterMemory(width=12, rows=[7])

    async def bench(ctx: Any) -> None:
        await ctx.tick().repeat(2)
        assert (len(memory.addr), ctx.get(memory.data)) == (1, 7)

    simulator = Simulator(memory)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_rows_are_there_and_stay() -> None:
    """Contents at power-up; a row written is read two cycles after its address; neighbours stay."""
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 1 << 12, 5).tolist()
    memory = MasterMemory(width=12, rows=rows)

    async def bench(ctx: Any) -> None:
        held = list(rows)
        for _ in range(40):
            row, value = int(rng.integers(0, 5)), int(rng.integers(0, 1 << 12))
            ctx.set(memory.write_en, int(rng.integers(0, 2)))
            ctx.set(memory.write_addr, row)
            ctx.set(memory.write_data, value)
            if ctx.get(memory.write_en):
                held[row] = value
            await ctx.tick()
            ctx.set(memory.write_en, 0)
            at = int(rng.integers(0, 5))
            ctx.set(memory.addr, at)
            await ctx.tick()
            ctx.set(memory.addr, int(rng.integers(0, 5)))
            await ctx.tick()
            assert ctx.get(memory.data) == held[at]

    simulator = Simulator(memory)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
