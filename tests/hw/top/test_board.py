"""The top of a board in Amaranth's simulator: what only a board without a PLL has. Tops with one
run under Verilator (tests/sim/board)."""

from typing import Any

from amaranth.sim import Simulator

from gen.board.files import digest_rows, identity
from gen.core.plan import plan_core
from hw.contract.builder import random_network
from hw.contract.link import VERSION, Command
from hw.contract.neuron import NeuronSpec
from hw.top.board import POWER_ON_CYCLES, BoardSpec, BoardTop
from sw.host.protocol import encode
from tests.networks import chain

DIVISOR = 8
"""Clocks of a bit of the host link."""

ANSWER = 6 + 64 + 4
"""Bytes of the answer to IDENTIFY: header, 16 words, CRC."""


def top(**spec: Any) -> tuple[BoardTop, str]:
    """A board, and its network's digest."""
    network = random_network(chain((4, 3, 2), NeuronSpec(theta=4, potential_bits=6)), 1)
    plan = plan_core(network, 2)
    board = BoardSpec(
        number=7, clock_hz=DIVISOR * 100_000, baud=100_000, pll=None, flash_address=None, **spec
    )
    made = BoardTop(
        board,
        plan.component(files=False, events=True),
        words=plan.words,
        classes=network.spec.classes,
        identity=identity(plan, board),
        digest=digest_rows(network.digest),
    )
    return made, network.digest


def test_the_oscillator_is_the_clock_where_there_is_no_pll() -> None:
    """Nothing is heard, and the line stays idle, before the power-on reset is over; then the board
    says who it is, and its light, dark before, is on."""
    board, digest = top(led_active_low=True)
    heard = bytearray()
    lit: list[int] = []

    async def cycles(ctx: Any, count: int) -> None:
        for _ in range(count):
            ctx.set(board.clk, 0)
            await ctx.delay(0.5e-6)
            ctx.set(board.clk, 1)
            await ctx.delay(0.5e-6)

    async def bench(ctx: Any) -> None:
        lit.append(ctx.get(board.led))
        await send(ctx, encode(1, Command.IDENTIFY))  # too early
        while len(lit) < POWER_ON_CYCLES:
            lit.append(ctx.get(board.led))
            assert ctx.get(board.tx)
            await cycles(ctx, 1)
        await cycles(ctx, 200)  # the digest is read
        await send(ctx, encode(2, Command.IDENTIFY))
        for _ in range(ANSWER):
            heard.append(await receive(ctx))
        lit.append(ctx.get(board.led))

    async def send(ctx: Any, data: bytes) -> None:
        for byte in data:
            for bit in (0, *(byte >> n & 1 for n in range(8)), 1):
                ctx.set(board.rx, bit)
                await cycles(ctx, DIVISOR)

    async def receive(ctx: Any) -> int:
        waited = 0
        while ctx.get(board.tx):
            assert (waited := waited + 1) < 4000
            await cycles(ctx, 1)
        await cycles(ctx, DIVISOR // 2)
        byte = 0
        for n in range(8):
            await cycles(ctx, DIVISOR)
            byte |= ctx.get(board.tx) << n
        await cycles(ctx, DIVISOR)
        assert ctx.get(board.tx)
        return byte

    simulator = Simulator(board)
    simulator.add_testbench(bench)
    simulator.run()
    assert heard[1:6] == bytes([VERSION, 2, Command.IDENTIFY | 0x80, 64, 0])
    assert heard[6:9] == bytes([VERSION, 7, 1])  # ready
    assert heard[10 : 10 + 32] == bytes.fromhex(digest)
    assert set(lit[:-1]) == {1}  # active low, and dark
    assert lit[-1] == 0
