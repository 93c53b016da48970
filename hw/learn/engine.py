"""Update engine: a coefficient times a word of counts, scaled, dithered, added to a row of masters.

There is no multiplier: the product is a sum of shifted counts, one for each bit of the coefficient.
"""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.contract.checks import master_limits
from hw.contract.learning import DITHER_BITS
from hw.program.operation import update
from hw.program.program import Learning, Program
from hw.stream.payloads import drives

__all__ = ["UpdateEngine"]


class UpdateEngine(wiring.Component):
    """One row of masters per cycle; no row twice before `busy` has ended.

        cycle  0    update: sender, magnitude and sign of its coefficient, row, word of the target
               1    counts of the word
               2    counts, with the coefficient's sign
               3..  sums of shifted counts, by pairs           the row's address
               p    product                                   (p = 2 + `levels`)
               p+1  product * 2^(K - k)
               p+2  + dither, / 2^K                            the row
               p+3  master + change
               p+4  within the limits, written

    k is the rate, K the largest that can be set; the dither is K bits, the upper ones of
    (R xor turned(sender xor target)): the same as the law's upper k of 16.

    Parameters
    ----------
    program
        With `learning`.

    Members
    -------
    valid : In(1)
    i : In(update(program))
        A row to change, in each cycle with `valid`.
    vector : In
        Counts of word `i.word`, signed, a cycle after the update.
    random : In(16)
        R; stable while `busy`.
    rate : In
        k - `rate_range[0]`; stable while `busy`.
    read : Out
        Row that is needed; `row` two cycles later.
    row : In
        Masters.
    write, address, changed : Out
        A row to be written.
    busy : Out(1)
        Something is on its way.
    """

    valid: Signal
    i: data.View
    vector: data.View
    random: Signal
    rate: Signal
    read: Signal
    row: data.View
    write: Signal
    address: Signal
    changed: data.View
    busy: Signal

    def __init__(self, program: Program) -> None:
        assert program.learning is not None
        self._program, self._learning = program, program.learning
        l = program.learning  # noqa: E741
        self._levels = self.latency(l) - 7
        address = update(program)["weight"].shape
        low, high = l.rate_range
        masters = drives(program.lanes, l.master_bits)
        super().__init__(
            {
                "valid": In(1),
                "i": In(update(program)),
                "vector": In(drives(program.lanes, l.vector_bits)),
                "random": In(DITHER_BITS),
                "rate": In(range(high - low + 1)),
                "read": Out(address),
                "row": In(masters),
                "write": Out(1),
                "address": Out(address),
                "changed": Out(masters),
                "busy": Out(1),
            }
        )

    @staticmethod
    def latency(learning: Learning) -> int:
        """Cycles from an update to the end of the cycle that writes it: one more for each level of
        sums."""
        return max(1, (learning.value_bits - 1).bit_length()) + 7

    def elaborate(self, platform) -> Module:
        m = Module()
        p, l = self._program, self._learning  # noqa: E741
        product = 2 + self._levels
        flow: list[tuple[Value, Any]] = [(self.valid, self.i)]
        for n in range(1, product + 5):
            valid = Signal(name=f"valid{n}")
            at = Signal(update(p), name=f"at{n}", reset_less=True)
            m.d.sync += [valid.eq(flow[-1][0]), at.eq(flow[-1][1])]
            flow.append((valid, at))
        m.d.comb += [
            self.busy.eq(Cat(valid for valid, _ in flow).any()),
            # The row is there two cycles after its address, and is needed in cycle p + 2.
            self.read.eq(flow[product][1].weight),
            self.write.eq(flow[product + 4][0]),
            self.address.eq(flow[product + 4][1].weight),
        ]
        # What all lanes have in common of the dither: the word's part of the target's index.
        at = flow[product][1]
        target = Cat(Const(0, p.lane_bits), at.word)
        common = Signal(DITHER_BITS, reset_less=True)
        index = at.sender ^ target
        m.d.sync += common.eq(self.random ^ Cat(reversed([*_bits(index, DITHER_BITS)])))
        # The shift is the same for all lanes and updates of an operation.
        largest = l.rate_range[1] - l.rate_range[0]
        left = Signal(range(largest + 1))
        m.d.sync += left.eq(largest - self.rate)
        for k in range(p.lanes):
            self._lane(m, k, flow, common, left)
        return m

    def _lane(
        self, m: Module, k: int, flow: list[tuple[Value, Any]], common: Value, left: Value
    ) -> None:
        l = self._learning  # noqa: E741

        def register(name: str, value: Value) -> Signal:
            there = Signal(value.shape(), name=f"{name}_{k}", reset_less=True)
            m.d.sync += there.eq(value)
            return there

        count = self.vector[k]
        signed_count = register("count", Mux(flow[1][1].negative, -count, count))
        value = flow[2][1].value
        parts: list[Value] = [Mux(value[b], signed_count, 0) << b for b in range(l.value_bits)]
        for level in range(self._levels):
            parts = [
                register(f"sum{level}_{n}", a if b is None else a + b)
                for n, (a, b) in enumerate(_pairs(parts))
            ]
        high = l.rate_range[1]
        shifted = register("shifted", parts[0] << left)
        dither = common ^ turned_lane(k)
        step = register("step", (shifted + dither[DITHER_BITS - high :]) >> high)
        wanted = register("wanted", self.row[k] + step)
        low, top = master_limits(l.master_bits, l.master_bits - l.fraction_bits)
        m.d.sync += self.changed[k].eq(Mux(wanted > top, top, Mux(wanted < low, low, wanted)))


def _bits(value: Value, count: int) -> list[Value]:
    """The low bits of a value, with zeros where it has none."""
    return [value[b] if b < len(value) else Const(0, 1) for b in range(count)]


def _pairs(parts: list[Value]) -> list[tuple[Value, Value | None]]:
    """Neighbours together; the last alone, if they are odd."""
    return [
        (parts[n], parts[n + 1] if n + 1 < len(parts) else None) for n in range(0, len(parts), 2)
    ]


def turned_lane(k: int) -> Value:
    """The turned index of a lane: a constant."""
    return Const(int(f"{k:0{DITHER_BITS}b}"[::-1], 2), unsigned(DITHER_BITS))
