"""Accumulators: the sums of a window of positions, for every lane, moving along a map's rows."""

from typing import Any

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.layer.slice import add_with_carry
from hw.memory.rom import WeightRom
from hw.program.code import Scan
from hw.program.operation import operation
from hw.program.potentials import signed_term
from hw.program.program import Program
from hw.stream.payloads import drives
from hw.window.cursor import motion

__all__ = ["Accumulators"]


class Accumulators(wiring.Component):
    """Adds a row of weights to all positions of a window in every cycle, and hands on the column
    that the window leaves.

        cycle  0  motion: address of the weights
               2  weights
               3  picked, shifted
               4  terms, with their signs
               5  sums; the column that left

    The sums of a row of the window are a chain: as the window moves, each becomes that of the next
    column, the last one leaves, and the first begins at 0. A sum may wrap around: so it does where
    it is added to.

    Latency `LATENCY` from a motion to the column that left; a motion per cycle.

    Parameters
    ----------
    program
        With a window.
    file
        Of the ROM of weights, for Verilog.

    Members
    -------
    word : In
        The operation; stable while anything is on its way.
    i : In(motion(program))
    left : Out
        By row of the window, `lanes` sums each.
    """

    LATENCY = 5

    word: Signal
    i: data.View
    left: data.View

    def __init__(self, program: Program, file: str | None = None) -> None:
        self._program, self._file = program, file
        rows = program.parts
        super().__init__(
            {
                "word": In(program.code.bits),
                "i": In(motion(program)),
                "left": Out(data.ArrayLayout(drives(program.lanes, program.sum_bits), rows)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        window = p.window
        assert window is not None
        scan = operation(p, self.word, Scan)
        flow: list[Any] = [self.i]
        for n in range(1, 5):
            at = Signal(motion(p), name=f"motion{n}", reset_less=True)
            m.d.sync += at.eq(flow[-1])
            flow.append(at)
        table, bits = p.weight_table, p.weight_bits
        m.submodules.weights = rom = WeightRom(width=table.width, rows=table.words, file=self._file)
        m.d.comb += rom.addr.eq(self.i.weight)
        for row in range(window.rows):
            for k in range(p.lanes):
                weights = {
                    column: rom.data.word_select(place * p.lanes + k, bits).as_signed()
                    for place, (one, column) in enumerate(window.used)
                    if one == row
                }
                self._lane(m, scan, flow, row, k, weights)
        return m

    def _lane(
        self, m: Module, scan, flow: list[Any], row: int, k: int, weights: dict[int, Value]
    ) -> None:
        """The chain of a lane in a row of the window: from the last column that anything adds to,
        to the first, from which sums leave."""
        p = self._program
        before: Value = Const(0)
        for slot in reversed(range(max(weights, default=-1) + 1)):
            name = f"{row}_{slot}_{k}"
            term, carry = self._term(m, scan, flow, k, slot, weights, name)
            total = Signal(signed(p.sum_bits), name=f"sum{name}", reset_less=True)
            held = Mux(flow[4].move, before, total)
            m.d.sync += total.eq(add_with_carry(Mux(flow[4].fresh, 0, held), term, carry))
            before = total
        m.d.sync += self.left[row][k].eq(before)

    def _term(
        self,
        m: Module,
        scan,
        flow: list[Any],
        k: int,
        slot: int,
        weights: dict[int, Value],
        name: str,
    ) -> tuple[Value, Value]:
        """What is added to a column of the window, and its carry."""
        p = self._program
        window = p.window
        assert window is not None
        at_2, at_3 = flow[2], flow[3]
        picked = [pick[slot] for pick in window.picks]
        choices = [Const(0) if n is None else weights.get(n, Const(0)) for n in picked]
        weight: Value = choices[0]
        if len(set(picked)) > 1:
            weight = Array(choices)[at_2.pick]
        negative: Value = at_3.negative
        active: Value = at_3.add
        if p.has_identities:
            constant: Value = scan.constant if slot == 0 else Const(0)
            weight = Mux(scan.identity, constant, weight)
            negative = Mux(scan.identity, at_3.negatives[k], negative)
            active = at_3.add & (~scan.identity | at_3.active[k])
        bits = max(len(weight), 1) + p.most_shift
        return signed_term(m, name, bits, weight << at_2.shift, negative, active)
