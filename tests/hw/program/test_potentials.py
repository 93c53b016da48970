"""Potentials: a sum per cycle, however soon a word comes again; sweeps find what was written."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Value

from gen.learn.stage import learning_stage, plan_learning
from gen.program.cycles import sweep_cycles
from gen.program.stage import plan_program
from hw.contract.neuron import NeuronSpec
from hw.learn.masters import Masters
from hw.program.operation import update
from hw.program.potentials import Potentials
from hw.program.program import Program, Scan, Send, Sweep
from tests.hw.driving import Bench, bits
from tests.hw.program.programs import conv, identity, network, part, split
from tests.learning import learning_network

LANES, WORDS, PLANES, FRACTION = 4, 6, 3, 2
THETA, DOWN = 700, 300

PATTERNS: dict[str, Callable[[Any, int], int]] = {
    **{f"distance-{d}": (lambda rng, n, d=d: n % d) for d in range(1, 6)},
    "two-words": lambda rng, n: int(rng.integers(2)),
    "three-words": lambda rng, n: int(rng.integers(3)),
    "all-words": lambda rng, n: int(rng.integers(WORDS)),
    "twins": lambda rng, n: n // 2 % 3,
    "triplets": lambda rng, n: n // 3 % 2,
}
"""Which word the update numbered n is for: at least, or exactly, so far from the one before."""


def program() -> Program:
    """Weights of one plan, and operations of our own: a beginning, an edge of each kind, a sweep
    that fires."""
    fine = NeuronSpec(theta=40, fraction_bits=FRACTION, potential_bits=8)
    base = plan_program(
        network(
            (4, 3, 3),
            part(4, conv("input", 3, padding=1), neuron=fine),
            part(4, identity("a"), neuron=fine),
            part(2, conv("b", 3)),
            bits=PLANES,
        ),
        LANES,
    ).program
    scans = [op for op in base.operations if isinstance(op, Scan)]
    plain = next(op for op in scans if not op.identity)
    same = replace(next(op for op in scans if op.identity), constant=-211)
    whole = Sweep(potential=0, last_word=WORDS - 1, last_position=1, channels=0)
    fires = replace(whole, fires=1, spikes=1, up=THETA, down=DOWN, signed=1, hard=1)
    return replace(
        base,
        operations=(plain, same, replace(whole, first=1, start=-5), fires, Send()),
        potential_words=WORDS,
        potential_bits=20,
        spike_words=WORDS + 1,
    )


PROGRAM = program()
SCAN, IDENTITY, BEGIN, SWEEP, LEARNED = range(5)


def learning_program() -> Program:
    """The same, and an edge whose rows are those of the masters."""
    stage = learning_stage(plan_learning(Masters.of(learning_network(np.random.default_rng(1))), 4))
    (*first, send) = PROGRAM.operations
    plain = first[SCAN]
    assert isinstance(plain, Scan)
    operations = (*first, replace(plain, learned=1), send)
    return replace(PROGRAM, operations=operations, learning=stage.program.learning)


class Script:
    """What is done to Potentials, a cycle after the other, and what it must come to."""

    def __init__(self, p: Program) -> None:
        self.p = p
        self.dut = Potentials(p)
        self.rows: list[tuple[int, int, int, int, int, int]] = []
        self.looked: list[tuple[int, np.ndarray]] = []  # cycle of the look, what must be seen
        self.v = np.zeros((WORDS, LANES), dtype=np.int64)
        self.rows_read: dict[int, np.ndarray] = {}  # of masters, by the cycle they are there
        self.quiet: list[int] = []  # cycles in which nothing may be busy

    def add(
        self, op: int, *, valid: int = 0, i: int = 0, sweep: int = 0, look: int = 0, at: int = 0
    ) -> None:
        self.rows.append((self.p.code.words[op], valid, i, sweep, look, at))

    def wait(self, op: int, cycles: int) -> None:
        for _ in range(cycles):
            self.add(op)

    def update(self, op: int, rng: np.random.Generator, word: int, valid: bool = True) -> None:
        """A random update of a word; junk for that word if not valid."""
        scan, p = self.p.operations[op], self.p
        assert isinstance(scan, Scan)
        top = 2 ** (p.weight_bits - 1) - 1
        payload = {
            "potential": word,
            "weight": int(rng.integers(len(p.weights))),
            "shift": int(rng.integers(p.most_shift + 1)),
            "negative": int(rng.integers(2)),
            "active": int(rng.integers(1 << LANES)),
            "negatives": int(rng.integers(1 << LANES)),
        }
        self.add(op, valid=int(valid), i=bits(update(p), payload))
        if not valid:
            return
        if scan.identity:
            signs = 1 - 2 * np.array(split(payload["negatives"], 1, LANES))
            terms = scan.constant * signs * np.array(split(payload["active"], 1, LANES))
        else:
            terms = p.weights[payload["weight"]]
            if scan.learned:
                terms = rng.integers(-top, top + 1, LANES)
                self.rows_read[len(self.rows) + 1] = terms  # as soon as weights
            terms = terms * (1 - 2 * payload["negative"])
        self.v[word] += terms << payload["shift"]

    def settle(self, op: int) -> None:
        """The last update is written; then nothing is busy."""
        self.wait(op, Potentials.LATENCY - 1)
        self.quiet.append(len(self.rows))
        self.wait(op, 1)

    def look(self) -> None:
        """See all words, one per cycle."""
        for word in range(WORDS):
            self.looked.append((len(self.rows), self.v[word].copy()))
            self.add(SCAN, look=1, at=word)
        self.wait(SCAN, 2)

    def sweep(self, op: int) -> None:
        one = self.p.operations[op]
        assert isinstance(one, Sweep)
        self.add(op, sweep=1)
        self.wait(op, sweep_cycles(one) - 1)
        self.quiet.append(len(self.rows))
        self.wait(op, 1)
        bias = np.repeat(self.p.biases[:WORDS], 2, axis=0)[:WORDS]  # two words share a row
        if one.first:
            self.v[:] = one.start + bias
            return
        c = (self.v >= THETA).astype(int) - (self.v <= -DOWN)
        self.fired = c
        self.kept = np.where(c != 0, 0, self.v)
        self.v = self.kept + bias

    def run(self) -> list[tuple[int, ...]]:
        """Play it; returns (fired, spikes, address, potentials) of each cycle."""
        dut = self.dut
        bench = Bench(dut)
        ports = (dut.word, dut.valid, Value.cast(dut.i), dut.sweep, dut.look, dut.look_address)
        for port, values in zip(ports, zip(*self.rows, strict=True), strict=True):
            bench.play(port, values)
        if self.p.learning is not None:
            junk = [int(n) for n in np.random.default_rng(9).integers(0, 2**8, len(self.rows))]
            for cycle, row in self.rows_read.items():
                junk[cycle] = bits(dut.row.shape(), row.tolist())
            bench.play(Value.cast(dut.row), junk)
        seen = bench.watch(Value.cast(dut.seen), dut.busy)
        fired = bench.watch(
            dut.fired, Value.cast(dut.spikes), dut.spike_address, Value.cast(dut.potentials)
        )
        bench.run(extra=3)
        for cycle, expected in self.looked:
            assert self.words(seen[cycle + 2][0]) == expected.tolist(), f"look in cycle {cycle}"
        for cycle in self.quiet:
            assert (seen[cycle - 1][1], seen[cycle][1]) == (1, 0)
        return fired

    def words(self, raw: int) -> list[int]:
        width = self.p.potential_bits
        return [x - (x >> (width - 1) << width) for x in split(raw, width, LANES)]


@pytest.mark.parametrize("gaps", [0.0, 0.4], ids=["every-cycle", "gaps"])
@pytest.mark.parametrize("op", [SCAN, IDENTITY], ids=["weights", "identity"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_update_counts_once(pattern: str, op: int, gaps: float) -> None:
    """Whatever the distance of two updates of a word. In a gap lies an update of the same word that
    is not valid."""
    rng, script = np.random.default_rng(1), Script(PROGRAM)
    script.sweep(BEGIN)
    script.look()
    n = 0
    while n < 60:
        valid = rng.random() >= gaps
        script.update(op, rng, PATTERNS[pattern](rng, n), valid)
        n += valid
    script.settle(op)
    script.look()
    script.run()


def test_a_sweep_finds_what_was_written_and_writes_what_is_found() -> None:
    """Updates over both kinds of edges; neurons fire; updates again, and a second sweep."""
    rng, script = np.random.default_rng(2), Script(PROGRAM)
    script.sweep(BEGIN)
    expected = []
    for _ in range(2):
        for op in (SCAN, IDENTITY):
            for _ in range(25):
                script.update(op, rng, int(rng.integers(WORDS)))
            script.settle(op)
        script.sweep(SWEEP)
        script.look()
        expected.append((script.fired, script.kept))
        assert 0.2 < np.mean(script.fired != 0) < 0.9
        assert {-1, 0, 1} <= set(script.fired.reshape(-1).tolist())
    fired = script.run()
    cycles = [n for n, (valid, *_) in enumerate(fired) if valid]
    assert len(cycles) == 2 * WORDS
    for n, cycle in enumerate(cycles):
        spikes, kept = (part[n % WORDS] for part in expected[n // WORDS])
        _, raw, address, _ = fired[cycle]
        coded = split(raw, 2, LANES)  # magnitude, sign
        assert [(c & 1) * (1 - (c & 2)) for c in coded] == spikes.tolist()
        assert address == 1 + n % WORDS
        assert script.words(fired[cycle + 2][3]) == kept.tolist()


def test_a_word_per_cycle_is_swept_and_nothing_else_is_written() -> None:
    """A sweep of the two words in the middle leaves the others as they are."""
    middle = Sweep(potential=2, last_word=1, last_position=0, channels=1, first=1, start=77)
    p = replace(PROGRAM, operations=(*PROGRAM.operations[:4], middle, Send()))
    rng, script = np.random.default_rng(3), Script(p)
    script.sweep(BEGIN)
    for _ in range(30):
        script.update(SCAN, rng, int(rng.integers(WORDS)))
    script.settle(SCAN)
    before = script.v.copy()
    script.sweep(4)
    script.v = before
    script.v[2:4] = 77 + p.biases[1:3]
    script.look()
    script.run()


def test_rows_of_masters_are_added_in_place_of_weights() -> None:
    """In the cycle in which the weights of the same update would be there; then weights again."""
    rng, script = np.random.default_rng(4), Script(learning_program())
    script.sweep(BEGIN)
    for op in (LEARNED, SCAN, LEARNED, IDENTITY):
        for _ in range(20):
            script.update(op, rng, int(rng.integers(WORDS)), valid=bool(rng.random() < 0.8))
        script.settle(op)
    script.look()
    script.run()
