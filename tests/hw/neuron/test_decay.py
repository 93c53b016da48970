"""Terms of a factor, by which an addition's cost is told; and factors that each potential has of
its own."""

import itertools
import re
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.contract.laws import decay
from hw.contract.neuron import Decay, NeuronSpec
from hw.neuron.decay import (
    adder_bits,
    adders,
    decay_cycles,
    decayed,
    decayed_constant,
    factor_cycle,
    product_cycles,
    terms,
)
from tests.hw.driving import Bench


@pytest.mark.parametrize("factor", [*range(1, 200), 1843, 2731, 3481, 3896, 4095])
def test_a_factor_is_a_sum_of_as_few_powers_as_there_can_be(factor: int) -> None:
    found = terms(factor)
    assert sum(sign << power if sign > 0 else -(1 << power) for sign, power in found) == factor
    powers = [power for _, power in found]
    assert all(high - low > 1 for low, high in itertools.pairwise(powers))
    assert len(found) == (factor ^ 3 * factor).bit_count()


class Decayed(wiring.Component):
    """Four laws of one potential: the factor that comes beside it, over 2^3, and one that is known
    and takes a cycle more; two that take no addition, and wait for it."""

    LAWS = (Decay("factor", 3, 0, "floor"), Decay("factor", 11, 1843), Decay("leak", 2), Decay())

    def __init__(self) -> None:
        super().__init__(
            {
                "u": In(signed(5)),
                "m": In(unsigned(6)),  # wider than any factor, as in a program
                "own": Out(signed(6)),
                "known": Out(signed(6)),
                "leak": Out(signed(6)),
                "none": Out(signed(6)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        port: Any = self
        found = decayed(m, port.u, self.LAWS, "d", port.m)
        outputs = (port.own, port.known, port.leak, port.none)
        m.d.comb += [output.eq(value) for output, value in zip(outputs, found, strict=True)]
        return m


def test_every_potential_times_every_factor() -> None:
    """All values of u, the least of them too, and all of 0 to 2^3, one in each cycle."""
    dut: Any = Decayed()
    pairs = [*itertools.product(range(-16, 16), range(9))]
    cycles, late = decay_cycles(Decayed.LAWS), factor_cycle(Decayed.LAWS)
    assert (cycles, late) == (3, 1)
    bench = Bench(dut)
    bench.play(dut.u, [u & 31 for u, _ in pairs] + [0] * cycles)
    bench.play(dut.m, [0] * late + [m for _, m in pairs] + [0] * (cycles - late))
    seen = bench.watch(dut.own, dut.known, dut.leak, dut.none)
    bench.run(extra=cycles)
    fixed = NeuronSpec(
        theta=20, decay="factor", decay_factor=1843, decay_shift=11, potential_bits=8
    )
    own = NeuronSpec(
        theta=20, decay="factor", decay_shift=3, decay_rounding="floor", potential_bits=8
    )
    leak = NeuronSpec(theta=20, decay="leak", decay_shift=2, potential_bits=8)
    wanted = [
        (int(decay(u, own, factors=np.array(m))), int(decay(u, fixed)), int(decay(u, leak)), u)
        for u, m in pairs
    ]
    assert seen[cycles : cycles + len(pairs)] == wanted


class DecayedConstants(wiring.Component):
    """What laws keep of a value, a register behind it."""

    LAWS = (
        Decay("factor", 3, 5),
        Decay("factor", 3, 5, "floor"),
        Decay("shift", 2),
        Decay("shift", 2, rounding="floor"),
        Decay("leak", 2),
        Decay(),
    )

    def __init__(self) -> None:
        kept = {f"kept{n}": Out(signed(6)) for n in range(len(self.LAWS))}
        super().__init__({"u": In(signed(5)), **kept})

    def elaborate(self, platform) -> Module:
        m = Module()
        port: Any = self
        for n, law in enumerate(self.LAWS):
            m.d.sync += getattr(self, f"kept{n}").eq(decayed_constant(port.u, law))
        return m


def test_a_constant_is_decayed_at_once() -> None:
    dut: Any = DecayedConstants()
    values = [*range(-16, 16)]
    bench = Bench(dut)
    bench.play(dut.u, [u & 31 for u in values])
    seen = bench.watch(*(getattr(dut, f"kept{n}") for n in range(len(dut.LAWS))))
    bench.run(extra=1)
    assert seen[1 : len(values) + 1] == [
        (int(5 * u / 8), 5 * u // 8, int(u / 4), u // 4, u - int(u / 4), u) for u in values
    ]


@pytest.mark.parametrize(
    ("law", "sums", "bits"),
    [
        (Decay("factor", 1), [6], 7),
        (Decay("factor", 3), [7, 8, 8], 9),
        (Decay("factor", 4), [7, 9, 9, 9, 9, 9], 10),
        (Decay("factor", 11, 1843), [16] * 6, 17),
    ],
    ids=["own-1", "own-3", "own-4", "known"],
)
def test_sums_are_as_wide_as_they_are_said_to_be(law: Decay, sums: list[int], bits: int) -> None:
    """Of a factor by channel no wider than they need, and than k more than the potential; of a
    known one all alike. The rounding of the last has a bit more."""
    m = Module()
    u, factor, out = Signal(signed(5)), Signal(law.shift + 1), Signal(signed(20))
    (kept,) = decayed(m, u, [law], "d", factor)
    m.d.comb += out.eq(kept)
    text = rtlil.convert(m, name="decay", ports=[u, factor, out])
    found = re.findall(r"wire width (\d+) signed \\d_(?!late)", text)
    assert ([*map(int, found)], len(kept)) == (sums, bits)


def test_levels_and_adders() -> None:
    none, leak = Decay(), Decay("leak", 3)
    two, four = Decay("factor", 5, 5), Decay("factor", 11, 1843)
    assert len(terms(1843)) == 6
    assert [decay_cycles((d,)) for d in (none, leak, two, four)] == [0, 0, 1, 3]
    assert decay_cycles((none, two, four)) == 3
    assert decay_cycles(()) == 0
    assert adders((none, leak, two, four)) == 6
    assert [adder_bits((d,), 8) for d in (none, leak, two, four)] == [0, 0, 8 + 3, 5 * (8 + 11)]
    assert adder_bits((none, leak, two, four), 9) == (9 + 3) + 5 * (9 + 11)


def test_levels_and_adders_of_factors_by_channel() -> None:
    """A term for each bit of 0 to 2^k; laws of several k share the widest."""
    bits = {k: Decay("factor", k) for k in (1, 2, 3, 4, 7, 8, 12)}
    assert [decay_cycles((d,)) for d in bits.values()] == [1, 2, 2, 3, 3, 4, 4]
    assert [adders((d,)) for d in bits.values()] == [*bits]
    four = Decay("factor", 11, 1843)
    assert adders((bits[3], bits[12], four)) == 12 + 5
    assert [adder_bits((d,), 8) for d in bits.values()] == [k * (8 + k) for k in bits]
    assert adder_bits((bits[3], bits[12], four), 9) == 12 * (9 + 12) + 5 * (9 + 11)
    assert [factor_cycle(row) for row in ((bits[12],), (bits[3], four), (four,))] == [0, 1, 3]
    assert [product_cycles(n) for n in (1, 2, 3, 4, 5, 8, 9, 13)] == [0, 1, 2, 2, 3, 3, 4, 4]
