"""Operations as the hardware reads them, payloads that hold what they must, registers in a row."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from gen.learn.stage import learning_stage, plan_learning
from gen.program.stage import plan_program
from hw.contract.learning import DITHER_BITS
from hw.learn.masters import Masters
from hw.program.code import Decide, Scan, Send, Sweep
from hw.program.operation import Chain, operation, reach_layout, spike_event, update
from hw.program.program import Program
from tests.hw.driving import Bench
from tests.hw.program.programs import conv, dense, identity, network, part
from tests.learning import learning_network

PROGRAMS: dict[str, Program] = {
    "maps": plan_program(
        network(
            (5, 4, 5),
            part(5, identity("input", pool=2)),
            part((6, 2, 2), dense("a"), conv("input", 5, padding=2, pool=2)),
            part(7, dense("b")),
            bits=3,
        ),
        4,
    ).program,
    "strided": plan_program(
        network((3, 5, 6), part(9, conv("input", 3, stride=2, padding=1)), part(3, dense("a"))), 16
    ).program,
    "one-value": plan_program(
        network((1, 1, 1), part(1, dense("input")), part(1, dense("a")), bits=1), 2
    ).program,
    "one-row": plan_program(network((1, 1, 1), part(1, dense("input"))), 2).program,
    **{
        f"learning-{lanes}": learning_stage(
            plan_learning(Masters.of(learning_network(np.random.default_rng(1))), lanes)
        ).program
        for lanes in (2, 4, 16)
    },
}
PROGRAMS["constants"] = replace(
    PROGRAMS["strided"],
    operations=(Scan(weight_column=-5, weight_row=-4), Sweep(start=-8, top=7), Send(address=3)),
)
"""Numbers that never change, some of them negative."""


@pytest.mark.parametrize("kind", [Scan, Sweep, Send, Decide], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_hardware_reads_the_numbers_of_an_operation(name: str, kind: Any) -> None:
    """All that vary by their bits, all others as constants, with their signs."""
    p = PROGRAMS[name]
    word = Signal(p.code.bits)
    numbers = vars(operation(p, word, kind))
    mine = [n for n, op in enumerate(p.operations) if isinstance(op, kind)]
    assert set(numbers) == set(p.code.fields(kind))
    if not mine or not numbers:
        return

    class Reader(wiring.Component):
        def __init__(self) -> None:
            super().__init__({"word": In(p.code.bits)})

        def elaborate(self, platform) -> Module:
            m = Module()
            m.d.comb += word.eq(self.word)  # type: ignore[attr-defined]
            m.d.sync += Signal().eq(0)
            return m

    reader = Reader()
    bench = Bench(reader)
    bench.play(reader.word, [p.code.words[n] for n in mine])  # type: ignore[attr-defined]
    seen = bench.watch(*numbers.values())
    bench.run()
    expected = [tuple(getattr(p.operations[n], key) for key in numbers) for n in mine]
    assert seen[: len(mine)] == expected


def test_what_is_never_so_is_a_bit() -> None:
    """`~` of it is 1."""
    p = PROGRAMS["constants"]
    numbers = vars(operation(p, Signal(p.code.bits), Scan))
    assert all(len(number) >= 1 for number in numbers.values())
    assert (numbers["drive"].value, len(numbers["drive"])) == (0, 1)


@pytest.mark.parametrize("name", PROGRAMS)
def test_payloads_hold_the_largest_and_are_no_wider(name: str) -> None:
    p = PROGRAMS[name]
    scans = [op for op in p.operations if isinstance(op, Scan)]
    lanes = p.lanes if any(op.identity for op in scans) else 0

    def widths(layout: Any) -> dict[str, int]:
        return {key: field.width for key, field in layout}

    def bits(most: int) -> int:
        return max(most, 0).bit_length()

    event = {
        "lane": bits(p.lanes - 1),
        "row": bits(max(op.last_row for op in scans)),
        "column": bits(max(op.last_column for op in scans)),
        "plane": bits(max(op.last_plane for op in scans)),
        "negative": 1,
        "active": lanes,
        "negatives": lanes,
    }
    words, rows = p.potential_words, len(p.weights)
    if p.learning is not None:
        words, rows = max(words, p.learning.count_words), max(rows, len(p.learning.masters))
    change = {
        "potential": bits(words - 1),
        "weight": max(1, bits(rows - 1)),
        "shift": bits(max(op.last_plane + op.shift for op in scans)),
        "negative": 1,
        "active": lanes,
        "negatives": lanes,
    }
    more = {}
    if p.learning is not None:
        more = {"value": p.learning.value_bits}
        change |= {"sender": DITHER_BITS, "word": max(1, bits(max(op.last_group for op in scans)))}
    assert widths(update(p)) == change | more
    assert widths(spike_event(p)) == event | more
    reaches = [*p.rows, *p.columns]
    assert widths(reach_layout(p)) == {
        "some": 1,
        "more": bits(max(reach.count for reach in reaches) - 1),
        "potential": bits(max(reach.potential for reach in reaches)),
        "weight": bits(max(reach.weight for reach in reaches)),
    }


class Pipe(wiring.Component):
    """A `Chain` with a number beside each `valid`."""

    def __init__(self, stages: int) -> None:
        self._stages = stages
        super().__init__(
            {
                "i": In(8),
                "source": In(1),
                "room": In(1),
                "taken": Out(1),
                "o": Out(9),
                "any": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        ports: Any = self
        chain = Chain(m, "stage", self._stages, ports.source, ports.room)
        held: Value = ports.i
        for n, moves in enumerate(chain.moves):
            value = Signal(8, name=f"held{n}")
            with m.If(moves):
                m.d.sync += value.eq(held)
            held = value
        m.d.comb += [
            ports.taken.eq(chain.moves[0]),
            ports.o.eq(chain.valids[-1] << 8 | held),
            ports.any.eq(chain.any_valid),
        ]
        return m


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_a_chain_moves_on_wherever_there_is_room(stages: int) -> None:
    """Against a list of places; nothing is lost, doubled or held back."""
    rng, cycles = random.Random(stages), 200
    source = [int(rng.random() < 0.6) for _ in range(cycles)]
    room = [int(rng.random() < (0.2 if n < 100 else 0.8)) for n in range(cycles)]
    pipe: Any = Pipe(stages)
    bench = Bench(pipe)
    for port, values in ((pipe.source, source), (pipe.room, room), (pipe.i, [*range(cycles)])):
        bench.play(port, values)
    seen = bench.watch(pipe.taken, pipe.o, pipe.any)
    bench.run()
    places: list[int | None] = [None] * stages
    for n in range(cycles):
        gap = next((k for k in reversed(range(stages)) if places[k] is None), -1)
        last = stages if room[n] else gap  # up to here all move on
        taken, out, some = seen[n]
        assert taken == (last >= 0)
        assert some == any(place is not None for place in places)
        assert out >> 8 == (places[-1] is not None)
        if places[-1] is not None:
            assert out & 0xFF == places[-1]
        if last >= 0:
            places[: last + 1] = [n if source[n] else None, *places[:last]]
            places = places[:stages]
