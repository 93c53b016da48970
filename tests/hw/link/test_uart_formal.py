"""Ring 2: contracts of the UART (see `tests.hw.proving`), unbounded, for divisors 4 (the least), 5
and 16.

* Transmitter: each byte's start bit, bits and stop bit, `divisor` cycles each; idle high.
* Receiver: what it says of any line at all, glitches and breaks too, is what its cycle law says.
* Receiver behind a sender with another clock: any bytes, one behind the other or apart, each edge
  as early or late as the cycle law can bear (`tolerance`): every byte comes, once, in order, as it
  was sent, and no fault.
* Transmitter into receiver: what is taken comes.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Array, C, Cat, Mux, Signal, Value

from hw.link import uart
from hw.stream.payloads import transfer
from tests.hw.proving import Harness, broken, induction, mutant, refuted


def transmitter(module: ModuleType, d: int) -> Harness:
    h = Harness()
    m = h.m
    m.submodules.dut = dut = module.UartTransmitter(d)
    h.drives(dut)
    t, byte = Signal(range(10 * d + 1)), Signal(8)  # cycles since a byte was taken; 0: none
    frame = Cat(0, byte, 1)
    with m.If(transfer(dut.i)):
        m.d.sync += [t.eq(1), byte.eq(dut.i.payload)]
    with m.Elif(t != 0):
        m.d.sync += t.eq(Mux(t == 10 * d, 0, t + 1))
    h.always(dut.i.ready == (t == 0))
    h.always((t != 0) | dut.tx)
    for k in range(10):
        h.always((t <= d * k) | (t > d * k + d) | (dut.tx == frame[k]))
    sends(h, "dut", d, t, byte)
    return h


def sends(h: Harness, name: str, d: int, t: Signal, byte: Signal) -> None:
    """Where a transmitter's registers stand, `t` cycles after it took a byte."""
    left, timer = h.within(f"{name}.left", 4), h.within(f"{name}.timer", range(d))
    bits = h.within(f"{name}.bits", 9)
    busy = (left != 0) & (left <= 10) & (timer < d) & (t + timer + left * d == 11 * d)
    h.helps(Mux(t == 0, left == 0, busy))
    for k in range(11):
        h.helps((left != k) | (bits == (Cat(0, byte, 1, C(-1, 9)) >> (10 - k))[:9]))


def receiver(module: ModuleType, d: int) -> Harness:
    h = Harness()
    m = h.m
    m.submodules.dut = dut = module.UartReceiver(d)
    h.drives(dut)
    seen, now = (Signal(init=1, name=f"line{n}", reset_less=True) for n in (1, 2))
    m.d.sync += [seen.eq(dut.rx), now.eq(seen)]
    middles = [d // 2 + k * d for k in range(10)]
    t, byte, broken = Signal(range(middles[9] + 1)), Signal(8), Signal()
    valid, fault = Signal(), Signal(name="fault_law")
    m.d.sync += [valid.eq(0), fault.eq(0)]
    with m.If(broken):
        m.d.sync += broken.eq(~now)
    with m.Elif(t == 0):
        m.d.sync += t.eq(~now)
    with m.Else():
        m.d.sync += t.eq(t + 1)
        with m.If((t == middles[0]) & now):
            m.d.sync += t.eq(0)
        for k in range(8):
            with m.If(t == middles[k + 1]):
                m.d.sync += byte[k].eq(now)
        with m.If(t == middles[9]):
            m.d.sync += [t.eq(0), valid.eq(now), fault.eq(~now), broken.eq(~now)]
    h.always(dut.o.valid == valid)
    h.always(dut.fault == fault)
    h.always(~valid | (dut.o.payload == byte))
    h.helps(Cat(h.within(f"dut.synchroniser.stage{n}", 1) for n in (0, 1)) == Cat(seen, now))
    store = receives(h, "dut", d, t, broken)
    bit = h.within("dut.bit", 4)
    for k in range(9):
        h.helps((t == 0) | (bit != k + 1) | (store[8 - k :] == byte[:k]))
    h.helps(~valid | (store == byte))
    return h


def receives(h: Harness, name: str, d: int, t: Value, broken: Value) -> Any:
    """Where a receiver's registers stand, `t` cycles after the line became low; its byte."""
    state, bit = h.within(f"{name}.fsm_state", 2), h.within(f"{name}.bit", 4)
    timer = h.within(f"{name}.timer", range(d))
    h.helps(state == Mux(broken, 2, t != 0))
    h.helps((t == 0) | (~broken & (timer < d) & (bit <= 9) & (t + timer == d // 2 + bit * d)))
    h.helps(t <= d // 2 + 9 * d)
    return h.within(f"{name}.byte", 8)


def tolerance(d: int) -> tuple[int, int]:
    """Cycles by which an edge may be early and late, counted from the start bit's: bit k is looked
    at in cycle `d // 2 + k * d`, and must be there from k * d + late, until (k + 1) * d - early."""
    return d - d // 2 - 1, d // 2


def line(module: ModuleType, d: int, more: int = 0) -> Harness:
    """`more`: cycles of intolerance."""
    h = Harness()
    h.without_reset()
    m = h.m
    m.submodules.dut = dut = module.UartReceiver(d)
    early, late = (cycles + more for cycles in tolerance(d))
    go, following, edge = h.free(1, "go"), h.free(8, "following"), h.free(1, "edge")
    # Which bit is on the line: none, start, 1 .. 8, stop; since when the byte is.
    bit, byte, age = Signal(4), Signal(8), Signal(range(10 * d + late + 1))
    m.d.comb += dut.rx.eq(Array([C(1, 1), C(0, 1), *byte, C(1, 1)])[bit])
    over = (bit == 0) | ((bit == 10) & edge)
    with m.If(over):
        m.d.sync += [bit.eq(go), age.eq(go), byte.eq(following)]
    with m.Else():
        m.d.sync += [bit.eq(bit + edge), age.eq(age + 1)]
    h.helps((bit <= 10) & ((bit == 0) == (age == 0)))
    for k in range(1, 11):
        h.given((bit != k) | ~edge | (age >= k * d - early))
        h.given((bit != k) | edge | (age < k * d + late))
        h.helps((bit != k) | ((age > (k - 1) * d - early) & (age <= k * d + late)))
    arrives(h, dut, d, age, byte)
    return h


def loop(module: ModuleType, d: int) -> Harness:
    h = Harness()
    h.without_reset()
    m = h.m
    m.submodules.sender = sender = module.UartTransmitter(d)
    m.submodules.dut = dut = module.UartReceiver(d)
    h.drives(sender)
    m.d.comb += dut.rx.eq(sender.tx)
    t, byte = Signal(range(10 * d + 1)), Signal(8)
    with m.If(transfer(sender.i)):
        m.d.sync += [t.eq(1), byte.eq(sender.i.payload)]
    with m.Elif(t != 0):
        m.d.sync += t.eq(Mux(t == 10 * d, 0, t + 1))
    sends(h, "sender", d, t, byte)
    arrives(h, dut, d, t, byte)
    return h


def arrives(h: Harness, dut, d: int, age: Signal, byte: Signal) -> None:
    """A byte that has been on the line for `age` cycles (0: none is) comes when its cycle law says,
    and nothing else does."""
    m, end = h.m, d // 2 + 9 * d
    for n in range(2):  # until the synchroniser shows it
        before = age, byte
        age, byte = Signal.like(age, name=f"age{n}"), Signal(8, name=f"byte{n}")
        m.d.sync += [age.eq(before[0]), byte.eq(before[1])]
    came, expected = Signal(), Signal(8)
    m.d.sync += [came.eq(age == end + 1), expected.eq(byte)]
    h.always(dut.o.valid == came)
    h.always(~came | (dut.o.payload == expected))
    h.always(~dut.fault)
    t = Signal(range(end + 1))
    m.d.comb += t.eq(Mux((age == 0) | (age > end + 1), 0, age - 1))
    store, bit = receives(h, "dut", d, t, C(0, 1)), h.within("dut.bit", 4)
    for k in range(9):
        h.helps((t == 0) | (bit != k + 1) | (store[8 - k :] == byte[:k]))


CONTRACTS = {"transmitter": transmitter, "receiver": receiver, "line": line, "loop": loop}


@pytest.mark.parametrize("d", [4, pytest.param(5, marks=pytest.mark.long), 16])
@pytest.mark.parametrize("contract", CONTRACTS)
def test_uart(contract: str, d: int, tmp_path: Path) -> None:
    assert induction(CONTRACTS[contract](uart, d), tmp_path, depth=4)


@pytest.mark.parametrize("d", [4, pytest.param(5, marks=pytest.mark.long)])
def test_an_edge_further_off_is_not_borne(d: int, tmp_path: Path) -> None:
    assert refuted(line(uart, d, more=1), tmp_path, 16 * d)


MUTANTS = {
    "transmitter": [
        ("Cat(0, self.i.payload)", "Cat(0, self.i.payload.rotate_left(1))"),
        ("Cat(bits[1:], 1)", "Cat(bits[1:], 0)"),
        ("left.eq(10)", "left.eq(9)"),
        ("left.eq(10), timer.eq(self._divisor - 1)", "left.eq(10), timer.eq(self._divisor - 2)"),
        ("self.i.ready.eq(left == 0)", "self.i.ready.eq(left <= 1)"),
        ("bits = Signal(9, init=0x1FF)", "bits = Signal(9)"),
        ("bits = Signal(9, init=0x1FF)", "bits = Signal(9, init=0x1FF, reset_less=True)"),
        (
            "left.eq(left - 1),\n                    timer.eq(self._divisor - 1)",
            "left.eq(left - 1)",
        ),
    ],
    "receiver": [
        ("with m.If(bit == 9)", "with m.If(bit == 8)"),
        ('m.next = "BREAK"', 'm.next = "IDLE"'),
        ("self._divisor // 2 - 1)", "self._divisor // 2)"),
        ("byte.eq(Cat(byte[1:], line))", "byte.eq(Cat(line, byte[:7]))"),
        (
            'Elif(line):\n                        m.next = "IDLE"',
            'Elif(0):\n                        m.next = "IDLE"',
        ),
        ("self.fault.eq(~line)]", "self.fault.eq(0)]"),
        ("[timer.eq(self._divisor - 1), bit", "[timer.eq(self._divisor - 2), bit"),
        ("line, init=1)", "line, init=1, stages=3)"),
        ('"BREAK"), m.If(line)', '"BREAK"), m.If(1)'),
        ("[self.o.valid.eq(0), self.fault.eq(0)]", "[self.fault.eq(0)]"),
    ],
    "line": [
        ("self._divisor // 2 - 1)", "self._divisor - 1)"),
        (
            'with m.If(line):\n                            m.next = "IDLE"',
            "with m.If(0):\n                            pass",
        ),
        ("with m.Elif(bit != 0)", "with m.Elif(bit > 1)"),
    ],
    "loop": [
        ("self._divisor // 2 - 1)", "self._divisor - 1)"),
        ("byte.eq(Cat(byte[1:], line))", "byte.eq(Cat(line, byte[:7]))"),
        ("Cat(bits[1:], 1)", "Cat(bits[2:], 1, 1)"),
    ],
}


@broken(MUTANTS, quick=("transmitter", "receiver", "line"))
def test_a_broken_uart_is_refuted(
    contract: str, changes: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert bool(changes) == refuted(CONTRACTS[contract](mutant(uart, *changes), 5), tmp_path, 120)
