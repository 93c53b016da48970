"""Potentials and drives: a sum per cycle, however soon a word comes again; sweeps find what was
written."""

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
from hw.program.code import Scan, Send, Sweep
from hw.program.operation import update
from hw.program.potentials import Potentials
from hw.program.program import Program
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


def program(potential_bits: int = 20, drive_bits: int = 21) -> Program:
    """Weights of one plan, and operations of our own: an edge of each kind, into potentials and
    into drives, a beginning, sweeps that fire, with drives and with biases. A memory of no bits is
    not there, nor are the operations that need it."""
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
    whole = Sweep(last_word=WORDS - 1, last_position=1, top=1 << 20, hard=1)
    fires = replace(whole, fires=1, spikes=1, up=THETA, down=DOWN, signed=1)
    has_drive = int(drive_bits > 0)
    operations = [
        replace(plain, drive=int(not potential_bits)),
        replace(same, drive=int(not potential_bits)),
        replace(plain, drive=has_drive),
        replace(same, drive=has_drive),
        replace(whole, first=1, start=-5, has_drive=has_drive),
        replace(fires, has_drive=has_drive, start=-5),
        replace(fires, start=-5, odd=1),
        Send(),
    ]
    return replace(
        base,
        operations=tuple(operations),
        membrane_bits=22,
        potential_words=WORDS * (potential_bits > 0),
        potential_bits=potential_bits,
        drive_words=WORDS * has_drive,
        drive_bits=drive_bits,
        spike_words=WORDS + 1,
    )


PROGRAM = program()
SCAN, IDENTITY, DRIVE, DRIVE_IDENTITY, BEGIN, SWEEP, BIASED, LEARNED = range(8)


def learning_program() -> Program:
    """The same, and an edge whose rows are those of the masters."""
    stage = learning_stage(plan_learning(Masters.of(learning_network(np.random.default_rng(1))), 4))
    (*first, send) = PROGRAM.operations
    plain = first[DRIVE]
    assert isinstance(plain, Scan)
    operations = (*first, replace(plain, learned=1), send)
    return replace(PROGRAM, operations=operations, learning=stage.program.learning)


class Script:
    """What is done to Potentials, a cycle after the other, and what it must come to: `held` has the
    potentials and the drives, whose words may wrap at the width of their memory."""

    def __init__(self, p: Program) -> None:
        self.p = p
        self.dut = Potentials(p)
        self.rows: list[tuple[int, int, int, int, int, int]] = []
        self.looked: list[tuple[int, np.ndarray]] = []  # cycle, what must be seen
        self.held = np.zeros((2, WORDS, LANES), dtype=np.int64)
        self.rows_read: dict[int, np.ndarray] = {}  # of masters, by the cycle they are there
        self.quiet: list[int] = []  # cycles in which nothing may be busy
        self.fired: list[tuple[int, np.ndarray, np.ndarray]] = []  # bank, spikes, u of each sweep

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
        self.held[scan.drive, word] += terms << payload["shift"]

    def settle(self, op: int) -> None:
        """The last update is written; then nothing is busy."""
        self.wait(op, Potentials.LATENCY - 1)
        self.quiet.append(len(self.rows))
        self.wait(op, 1)

    def look(self) -> None:
        """See all words of both memories, one per cycle: of drives as a send does; of potentials
        beside an update that is not valid."""
        if self.p.drive_words:
            for word in range(WORDS):
                self._look(2, 1, word)
                self.add(SCAN, look=1, at=word)
            self.wait(SCAN, 2)
        if self.p.potential_words:
            for word in range(WORDS):
                self._look(4, 0, word)
                self.add(SCAN, i=bits(update(self.p), {"potential": word}))
            self.wait(SCAN, 4)

    def _look(self, later: int, memory: int, word: int) -> None:
        width = (self.p.potential_bits, self.p.drive_bits)[memory]
        self.looked.append((len(self.rows) + later, wrapped(self.held[memory, word], width)))

    def sweep(self, op: int) -> None:
        one = self.p.operations[op]
        assert isinstance(one, Sweep)
        self.add(op, sweep=1)
        self.wait(op, sweep_cycles(self.p, one) - 1)
        self.quiet.append(len(self.rows))
        self.wait(op, 1)
        at = slice(one.potential, one.potential + one.last_word + 1)
        rows = one.channels + np.arange(one.last_word + 1) // (one.last_position + 1)
        if one.first:
            self.held[0, at] = one.start
            if one.has_drive:
                self.held[1, at] = self.p.biases[rows]
            return
        before = wrapped(self.held[0, at], self.p.potential_bits)
        if not self.p.potential_words:
            before = np.full_like(before, one.start)
        addend = self.p.biases[rows]
        if one.has_drive:
            addend = wrapped(self.held[1, at], self.p.drive_bits)
        v = before + addend
        c = (v >= THETA).astype(int) - (v <= -DOWN)
        self.held[0, at] = np.where(c != 0, 0, v)
        self.fired.append((one.odd, c, self.held[0, at].copy()))

    def run(self) -> list[tuple[int, ...]]:
        """Play it; returns (fired, spikes, address, bank, potentials) of each cycle."""
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
            dut.fired,
            Value.cast(dut.spikes),
            dut.spike_address,
            dut.odd,
            Value.cast(dut.potentials),
        )
        bench.run(extra=3)
        for cycle, expected in self.looked:
            found = words(seen[cycle][0], self.p.sum_bits)
            assert found == expected.tolist(), f"seen in cycle {cycle}"
        for cycle in self.quiet:
            assert (seen[cycle - 1][1], seen[cycle][1]) == (1, 0)
        return fired


def words(raw: int, width: int) -> list[int]:
    """The lanes of a word."""
    return [x - (x >> (width - 1) << width) for x in split(raw, width, LANES)]


def wrapped(values: np.ndarray, width: int) -> np.ndarray:
    """The low bits of numbers, as numbers with a sign."""
    half = 1 << width - 1 if width else 0
    return (values + half) % (2 * half) - half if width else values


EDGES = {
    SCAN: "weights",
    IDENTITY: "identity",
    DRIVE: "weights-into-drives",
    DRIVE_IDENTITY: "identity-into-drives",
}


@pytest.mark.parametrize("gaps", [0.0, 0.4], ids=["every-cycle", "gaps"])
@pytest.mark.parametrize("op", EDGES, ids=EDGES.get)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_update_counts_once(pattern: str, op: int, gaps: float) -> None:
    """Whatever the distance of two updates of a word. In a gap lies an update of the same word that
    is not valid."""
    rng, script = np.random.default_rng(1), Script(PROGRAM)
    script.sweep(BEGIN)
    script.look()
    n = 0
    while n < 24:
        valid = rng.random() >= gaps
        script.update(op, rng, PATTERNS[pattern](rng, n), valid)
        n += valid
    script.settle(op)
    script.look()
    script.run()


WIDTHS = {
    "both": (20, 21),
    "narrow-potentials": (13, 21),
    "narrow-drives": (20, 13),
    "potentials-alone": (20, 0),
    "drives-alone": (0, 20),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_a_sweep_finds_what_was_written_and_writes_what_is_found(name: str) -> None:
    """Updates over both kinds of edges, into both memories, where they are; neurons fire, with
    drives and with biases alone; updates again, and more sweeps. A narrower memory keeps the low
    bits."""
    rng, script = np.random.default_rng(2), Script(program(*WIDTHS[name]))
    script.sweep(BEGIN)
    for sweep in (SWEEP, BIASED, SWEEP):
        for op in EDGES:
            for _ in range(15):
                script.update(op, rng, int(rng.integers(WORDS)))
            script.settle(op)
        script.sweep(sweep)
        script.look()
    fired = script.run()
    assert {-1, 0, 1} <= {c for _, spikes, _ in script.fired for c in spikes.reshape(-1).tolist()}
    cycles = [n for n, (valid, *_) in enumerate(fired) if valid]
    assert len(cycles) == 3 * WORDS
    for n, cycle in enumerate(cycles):
        odd, spikes, kept = script.fired[n // WORDS]
        _, raw, address, bank, _ = fired[cycle]
        coded = split(raw, 2, LANES)  # magnitude, sign
        assert [(c & 1) * (1 - (c & 2)) for c in coded] == spikes[n % WORDS].tolist()
        assert (address, bank) == (1 + n % WORDS, odd)
        assert words(fired[cycle + 2][4], 22) == kept[n % WORDS].tolist()


def test_a_word_per_cycle_is_swept_and_nothing_else_is_written() -> None:
    """A sweep of the two words in the middle leaves the others as they are, and drives, unless it
    is a beginning with a drive."""
    middle = Sweep(
        potential=2, last_word=1, channels=1, first=1, start=77, top=1 << 20, has_drive=1, drive=2
    )
    changed = (*PROGRAM.operations[:SWEEP], middle, replace(middle, has_drive=0, start=9), Send())
    rng, script = np.random.default_rng(3), Script(replace(PROGRAM, operations=changed))
    script.sweep(BEGIN)
    for op in (SWEEP, BIASED):  # numbers of the two above
        for scan in EDGES:
            for _ in range(20):
                script.update(scan, rng, int(rng.integers(WORDS)))
            script.settle(scan)
        script.sweep(op)
        script.look()
    script.run()


def test_rows_of_masters_are_added_in_place_of_weights() -> None:
    """In the cycle in which the weights of the same update would be there; then weights again."""
    rng, script = np.random.default_rng(4), Script(learning_program())
    script.sweep(BEGIN)
    for op in (LEARNED, DRIVE, SCAN, LEARNED, DRIVE_IDENTITY):
        for n in range(20):
            valid = n == 19 or rng.random() < 0.8
            script.update(op, rng, int(rng.integers(WORDS)), valid=valid)
        script.settle(op)
    script.look()
    script.run()
