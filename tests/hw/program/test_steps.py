"""Memories of steps: what was written is read, of both banks at once, in the order of steps."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.program.steps import StepMemory, StepOrder
from hw.stream.payloads import coefficients
from tests.hw.driving import Bench

LANES, DEPTH = 2, 5
SHAPE = coefficients(LANES, 1, True)


@pytest.mark.parametrize("banks", [1, 2])
def test_a_word_of_each_bank_at_once(banks: int) -> None:
    """Anything is written and read, in any cycle, to and from any place; a word stays until
    there is another read. A word that is written as it is read is seen as it was."""
    rng, cycles = np.random.default_rng(banks), 400
    memory = StepMemory(SHAPE, DEPTH, banks)
    bits = Value.cast(memory.write_data).shape().width
    names = ("read_en", "address", "odd_address", "write_en", "write_odd", "write_address")
    most = {name: DEPTH if name.endswith("address") else 2 for name in names}
    played = {name: rng.integers(top, size=cycles).tolist() for name, top in most.items()}
    played["write_data"] = rng.integers(1 << bits, size=cycles).tolist()
    bench = Bench(memory)
    for name, values in played.items():
        bench.play(Value.cast(getattr(memory, name)), values)
    seen = bench.watch(Value.cast(memory.even), Value.cast(memory.odd))
    bench.run()
    held, shown = [[0] * DEPTH for _ in range(2)], [0, 0]
    for cycle in range(cycles):
        assert seen[cycle] == (shown[0], shown[1] if banks == 2 else 0)
        now = {name: values[cycle] for name, values in played.items()}
        if now["read_en"]:
            shown = [held[0][now["address"]], held[1][now["odd_address"]]]
        if now["write_en"]:
            held[now["write_odd"] if banks == 2 else 0][now["write_address"]] = now["write_data"]


class Order(wiring.Component):
    """A `StepOrder` by itself; `words` are a constant, or a signal."""

    def __init__(self, words: int, banks: int, by_signal: bool) -> None:
        self._words, self._banks, self._by_signal = words, banks, by_signal
        ports = {"begin": In(1), "start": In(6), "advance": In(1), "address": Out(6), "odd": Out(1)}
        super().__init__(ports)

    def elaborate(self, platform) -> Module:
        m, ports = Module(), self
        words: Any = Signal(4, init=self._words) if self._by_signal else self._words
        held: Any = ports
        order = StepOrder(
            m,
            "order",
            6,
            words,
            self._banks,
            begin=held.begin,
            start=held.start,
            advance=held.advance,
        )
        m.d.comb += [held.address.eq(order.address), held.odd.eq(order.odd)]
        return m


@pytest.mark.parametrize("by_signal", [False, True], ids=["constant", "signal"])
@pytest.mark.parametrize("banks", [1, 2])
@pytest.mark.parametrize("words", [1, 2, 3, 4])
def test_words_of_one_step_after_the_other(words: int, banks: int, by_signal: bool) -> None:
    """Even steps one behind the other in their bank, odd ones in theirs; begun again in the middle
    of either, also as a word comes; before the first beginning, at 0."""
    rng, cycles = np.random.default_rng(words), 300
    order: Any = Order(words, banks, by_signal)
    advance = (rng.random(cycles) < 0.7).astype(int).tolist()
    begin = (rng.random(cycles) < 0.08).astype(int).tolist()
    start = rng.integers(20, size=cycles).tolist()
    bench = Bench(order)
    for port, values in ((order.begin, begin), (order.start, start), (order.advance, advance)):
        bench.play(port, values)
    seen = bench.watch(order.address, order.odd)
    bench.run()
    first = count = 0  # words since the beginning
    met = set()
    for cycle in range(cycles):
        step, n = divmod(count, words)
        assert seen[cycle] == ((first + step // banks * words + n) % 64, step % banks)
        met.add((step, n))
        if begin[cycle]:
            first, count = start[cycle], 0
        elif advance[cycle]:
            count += 1
    assert {(step, n) for step in range(3) for n in range(words)} <= met
