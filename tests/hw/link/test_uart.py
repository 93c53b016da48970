# amaranth: UnusedElaboratable=no
# Those that a constructor refuses are not used.
"""UART: bytes, their cycles, other clocks, and lines that are not what they should be."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from hw.contract.checks import SpecError
from hw.link.uart import UartReceiver, UartTransmitter
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace

DIVISORS = (4, 5, 12)


def levels(bytes_: list[int], bit: float, start: int = 0, stop: int = 1) -> list[int]:
    """The line in each cycle, `bit` cycles per bit, from cycle `start` on."""
    bits = [b for byte in bytes_ for b in (0, *(byte >> n & 1 for n in range(8)), stop)]
    line = [1] * start
    for n, level in enumerate(bits):
        line += [level] * (start + round((n + 1) * bit) - len(line))
    return line


def receive(divisor: int, line: list[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """(cycle, byte) of what comes, and the cycles of the faults."""
    uart = UartReceiver(divisor)
    bench = Bench(uart, limit=len(line) + 1)
    bench.play(uart.rx, line)
    seen = bench.watch(uart.o.valid, uart.o.payload, uart.fault)
    bench.run()
    got = [(cycle, byte) for cycle, (valid, byte, _) in enumerate(seen) if valid]
    return got, [cycle for cycle, (_, _, fault) in enumerate(seen) if fault]


def random_bytes(count: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [0, 255, 0x55, 0xAA, *(rng.randrange(256) for _ in range(count))]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_received_bytes_and_their_cycles(divisor: int) -> None:
    rng, line, expected = random.Random(divisor), [1] * 5, []
    for byte in random_bytes(10, divisor):
        delay = UartReceiver.LATENCY + divisor // 2 + 9 * divisor
        expected.append((len(line) + delay, byte))
        line += levels([byte], divisor) + [1] * rng.choice([0, 0, 1, 2, 40])
    got, faults = receive(divisor, line + [1] * 2 * divisor)
    assert got == expected
    assert not faults


@pytest.mark.parametrize("percent", [-2, 2])
@pytest.mark.parametrize("divisor", DIVISORS)
def test_other_clock_is_two_percent_off(divisor: int, percent: int) -> None:
    """Back to back, so that every start bit comes at another fraction of a clock."""
    expected = random_bytes(20, percent)
    line = levels(expected, divisor * (1 + percent / 100), start=7) + [1] * 3 * divisor
    got, faults = receive(divisor, line)
    assert [byte for _, byte in got] == expected
    assert not faults


@pytest.mark.parametrize("divisor", DIVISORS)
def test_a_short_start_bit_is_none(divisor: int) -> None:
    line = []
    for length in range(1, divisor // 2 + 1):
        line += [1] * 2 * divisor + [0] * length
    line += levels([0x3C], divisor, start=2 * divisor) + [1] * 2 * divisor
    got, faults = receive(divisor, line)
    assert [byte for _, byte in got] == [0x3C]
    assert not faults


@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("low", [0, 1, 100])
def test_a_byte_without_stop_bit_is_one_fault(divisor: int, low: int) -> None:
    """However long the line stays low."""
    line = levels([0x11], divisor, start=4) + levels([0x22], divisor, stop=0) + [0] * low
    line += [1] * 2 * divisor + levels([0x33], divisor) + [1] * 2 * divisor
    got, faults = receive(divisor, line)
    assert [byte for _, byte in got] == [0x11, 0x33]
    assert len(faults) == 1


@pytest.mark.parametrize("pace", [FLOWING, *JITTERY[1:3]], ids=str)
@pytest.mark.parametrize("divisor", DIVISORS)
def test_sent_bits_and_their_cycles(divisor: int, pace: Pace) -> None:
    uart = UartTransmitter(divisor)
    bench = Bench(uart, pace)
    source = bench.feed(uart.i, random_bytes(8, divisor))
    seen = bench.watch(uart.tx)
    bench.run(extra=11 * divisor)
    expected, free = [1] * len(seen), 0
    for byte, offered, taken in zip(source.values, source.offered, source.taken, strict=True):
        assert taken == max(offered, free)
        expected[taken + 1 : taken + 1 + 10 * divisor] = levels([byte], divisor)
        free = taken + 10 * divisor + 1
    assert [tx for (tx,) in seen] == expected


def test_bytes_through_both() -> None:
    m = Module()
    m.submodules.tx = tx = UartTransmitter(4)
    m.submodules.rx = rx = UartReceiver(4)
    m.d.comb += rx.rx.eq(tx.tx)
    simulator, got = Simulator(m), []
    simulator.add_clock(1e-6)

    async def send(ctx) -> None:
        for byte in range(0, 256, 3):
            ctx.set(tx.i.payload, byte)
            ctx.set(tx.i.valid, 1)
            await ctx.tick().until(tx.i.ready)
        ctx.set(tx.i.valid, 0)
        await ctx.tick().repeat(60)

    async def take(ctx) -> None:
        async for _, _, valid, byte, fault in ctx.tick().sample(rx.o.valid, rx.o.payload, rx.fault):
            assert not fault
            got.extend([byte] * valid)

    simulator.add_testbench(send)
    simulator.add_testbench(take, background=True)
    simulator.run()
    assert got == list(range(0, 256, 3))


@pytest.mark.parametrize("make", [UartReceiver, UartTransmitter])
@pytest.mark.parametrize("divisor", [3, 0, -1, 4.0, True, "8"])
def test_a_divisor_that_cannot_be_is_refused(make, divisor) -> None:
    with pytest.raises(SpecError, match="UART divisor must be an integer of at least 4"):
        make(divisor)
