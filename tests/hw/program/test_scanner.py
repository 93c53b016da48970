"""Scanner: the events of a map, in order, none lost, in time: of a step, of changes, of sums."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out

from gen.learn.stage import learning_stage, plan_learning
from gen.program.cycles import played, plays
from gen.program.stage import ProgramStagePlan, plan_program
from gen.window.stage import plan_window
from hw.contract.edge import INPUT
from hw.layer.encoder import ChunkEncoder
from hw.learn.masters import Masters
from hw.program.code import Played, Scan
from hw.program.operation import operation, spike_event
from hw.program.program import Program
from hw.program.scanner import Scanner
from hw.stream.payloads import coefficients
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, fields
from tests.hw.program.cases import NEURONS
from tests.hw.program.programs import Registers, conv, dense, identity, network, part
from tests.learning import learning_network

GRAPH = (
    part(5, conv("input", 3, padding=1), dense("b", delay=1)),
    part(5, identity("a"), conv("a", 3, padding=1), identity("b", delay=1)),
    part(2, dense("b"), dense("a", delay=1)),
)
"""Changes over every kind of edge, of layers before and of the same one."""

OFF = NEURONS["off"]

PLANS: dict[str, ProgramStagePlan] = {
    "maps": plan_program(
        network((2, 5, 4), part(10, conv("input", 3, padding=1)), part(3, dense("a")), bits=3), 4
    ),
    "packed": plan_program(
        network((3, 3, 6), part(17, conv("input", 3)), part(2, dense("a")), steps=3), 16
    ),
    "identities": plan_program(
        network(
            (5, 3, 3),
            part(5, identity("input")),
            part(5, identity("a"), conv("a", 3, padding=1)),
            part(2, dense("b")),
            bits=3,
        ),
        4,
    ),
    "one-bit": plan_program(
        network((1, 1, 1), part(1, dense("input")), part(1, dense("a")), bits=1), 2
    ),
    "changes": plan_program(network((2, 2, 3), *GRAPH, steps=4), 4, changes=("a", "b")),
    "changes-odd": plan_program(network((2, 2, 3), *GRAPH, steps=5), 4, changes=("b",)),
    "changes-unsigned": plan_program(
        network(
            (2, 3, 3),
            part(3, conv("input", 3, padding=1), neuron=OFF),
            part(4, dense("a"), neuron=OFF),
            part(2, dense("b"), dense("input")),
            steps=3,
        ),
        4,
        changes=("a",),
    ),
    "recording": plan_program(
        network(
            (3, 2, 2),
            part(3, conv("input", 1), dense("a", delay=1)),
            part(2, dense("a"), dense("input")),
            timed=True,
            steps=3,
        ),
        2,
        changes=("a",),
    ),
    "stage": plan_program(
        network(
            (2, 3, 3),
            part(5, conv("input", 3, padding=1)),
            part(5, identity("a"), conv("a", 1, delay=1)),
            part(2, dense("b"), dense("a")),
            steps=5,
        ),
        4,
        range(1, 3),
        "a",
        changes=("a",),
    ),
    "learning": learning_stage(
        plan_learning(
            Masters.of(learning_network(np.random.default_rng(1), groups=(6, 5), feedback=True)), 4
        )
    ),
}

PLANS |= {
    "window": plan_window(
        network(
            (2, 3, 4),
            part(5, conv("input", 3, padding=1), identity("b", delay=1)),
            part(5, identity("a"), conv("a", 3, padding=1)),
            part(2, dense("b")),
            bits=3,
            steps=3,
        ),
        2,
        changes=("a",),
        rows={"a": 1, "b": 2},
    ),
    "window-tall": plan_window(
        network(
            (3, 5, 3), part(3, conv("input", 3)), part(2, conv("a", 1)), part(2, dense("b")), bits=1
        ),
        4,
        rows={"a": 4, "b": 4},
    ),
    "window-groups": plan_window(
        network(
            (8, 2, 2),
            part(8, conv("input", 1, groups=4)),
            part(8, conv("a", 1, groups=4), identity("a")),
            part(2, dense("b")),
            timed=True,
        ),
        2,
        rows={"a": 2, "b": 2},
    ),
}

Memories = dict[str, np.ndarray]
"""(banks, words, size of a word) of `spikes`, `pixels`, `held`."""


class Rig(wiring.Component):
    """A scanner with its memories, which carries out some scans one after the other. The value of
    an event that changes no row is 0."""

    o: stream.Interface
    start: Signal
    busy: Signal

    def __init__(self, plan: ProgramStagePlan, numbers: list[int], memories: Memories) -> None:
        self._program = p = plan.program
        self._numbers = numbers
        self._contents = []
        for name, banks in memories.items():
            planes, sign = p.spike_planes, p.spike_sign
            if name == "pixels":
                planes, sign = p.input_bits, p.input_sign
            if name == "held":
                assert p.learning is not None
                planes, sign = p.learning.held_planes, True
            for mark, words in zip(("", "odd_"), banks, strict=False):
                self._contents.append((mark + name, *coded(words, planes, sign)))
        super().__init__(
            {"o": Out(stream.Signature(spike_event(p))), "start": Out(1), "busy": Out(1)}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        m.submodules.scanner = scanner = Scanner(p)
        for name, shape, words in self._contents:
            m.submodules[name] = memory = Memory(shape=shape, depth=len(words), init=words)
            read = memory.read_port()
            m.d.comb += [
                read.en.eq(scanner.read),
                read.addr.eq(scanner.odd_address if "odd" in name else scanner.address),
                Value.cast(getattr(scanner, name)).eq(Value.cast(read.data)),
            ]
        number, running = Signal(range(len(self._numbers) + 1)), Signal()
        words = Array(Const(p.code.words[n], p.code.bits) for n in self._numbers)
        scan = operation(p, scanner.word, Scan)
        m.d.comb += [
            scanner.word.eq(words[number]),
            scanner.start.eq(~running & (number != len(self._numbers))),
            self.start.eq(scanner.start),
            self.busy.eq(scanner.busy),
            self.o.valid.eq(scanner.o.valid),
            scanner.o.ready.eq(self.o.ready),
            Value.cast(self.o.payload).eq(Value.cast(scanner.o.payload)),
        ]
        if p.learning is not None:
            value = Mux(scan.update, scanner.o.payload.value, 0)
            m.d.comb += self.o.payload.value.eq(value)
        with m.If(scanner.start):
            m.d.sync += running.eq(1)
        with m.Elif(running & ~scanner.busy):
            m.d.sync += [running.eq(0), number.eq(number + 1)]
        return m


def coded(words: np.ndarray, planes: int, sign: bool) -> tuple[Any, list[Any]]:
    """(layout, words) of a memory of coefficients (words, lanes)."""
    layout = coefficients(words.shape[1], planes, sign)
    members = [
        [{"magnitude": abs(c)} | ({"negative": int(c < 0)} if sign else {}) for c in row]
        for row in words.tolist()
    ]
    return layout, members


def scans(plan: ProgramStagePlan, from_input: int) -> list[int]:
    """Numbers of the first scan of every kind, of the image or of spikes."""
    found: dict[tuple, int] = {}
    for n, op in enumerate(plan.program.operations):
        if isinstance(op, Scan) and op.from_input == from_input:
            kind = (op.held, op.update, op.identity, op.played, op.even, op.odd, op.leave)
            if plan.program.window is not None:
                kind += (op.first_set, op.last_source_group)
            found.setdefault(kind, n)
    return [*found.values()]


def random_words(rng: np.random.Generator, shape: tuple[int, ...], top: int, low: int = 0):
    """Words of every density, many of them empty."""
    values = rng.integers(low, top + 1, shape)
    return values * (rng.random(shape) < rng.random((*shape[:-1], 1)) ** 2)


def random_memories(plan: ProgramStagePlan, rng: np.random.Generator) -> Memories:
    """Full of something, wherever a scan may look, and elsewhere."""
    p = plan.program
    top = (1 << p.input_bits) - 1
    words = -(-p.input_vectors // p.input_banks) * p.vector_words * (p.lanes // p.pixels)
    found = {
        "spikes": random_words(rng, (p.spike_banks, p.spike_words, p.word), 1, -p.spike_sign),
        "pixels": random_words(rng, (p.input_banks, words, p.pixels), top, -top * p.input_sign),
    }
    if p.learning is not None:
        top = (1 << p.learning.held_planes) - 1
        found["held"] = random_words(rng, (1, p.learning.count_words + 2, p.lanes), top, -top)
    return found


def places_of(p: Program, scan: Scan) -> list[tuple[int, int, dict[str, int]]]:
    """Of each word that a scan plays, in order: which of the memory it is, counted from the scan's
    first; the first of its lanes there; row, column, and group of channels."""
    sides = scan.last_row + 1, scan.last_column + 1
    if p.window is None:
        return [
            (n, 0, {"row": row, "column": column})
            for n, (row, column) in enumerate(np.ndindex(sides))
        ]
    found = []
    for row, column, group in np.ndindex(*sides, scan.last_source_group + 1):
        down, part = divmod(row, scan.last_part + 1)
        several, one = divmod(scan.first_set + group, scan.last_set + 1)
        word = down * scan.row_words + several * scan.set_words + column
        place = {"row": row, "column": column, "group": group}
        found.append((word, ((one << scan.part_bits) + part) * p.lanes, place))
    return found


def words_of(p: Program, scan: Scan, memories: Memories) -> np.ndarray:
    """(words, lanes) that a scan plays: what its numbers say of the memories."""
    places = places_of(p, scan)
    words, firsts = (np.array([place[n] for place in places]) for n in (0, 1))
    banks = memories["held" if scan.held else "pixels" if scan.from_input else "spikes"]
    lanes = firsts[:, None] + np.arange(min(p.lanes, banks.shape[2]))
    total = np.zeros((len(places), p.lanes), dtype=np.int64)
    for n in range(scan.last_gather + 1):
        parts = [(scan.even, banks[0], scan.address)]
        if scan.odd and not (scan.leave and n == scan.last_gather):
            parts.append((scan.odd, banks[1], scan.odd_address))
        for factor, bank, address in parts:
            if factor:
                one = bank[address + n * scan.gather_words + words[:, None], lanes]
                total[:, : lanes.shape[1]] += factor * one
    return total


def events_of(
    p: Program, scan: Scan, words: np.ndarray, planes: int
) -> list[tuple[int, dict[str, int]]]:
    """Reference: what a scan sends, (slot, event) each; a slot is a plane of a word. One that
    changes rows sends whole coefficients. Through a window, a word of which there is nothing sends
    that."""
    found = []
    for n, (word, (_, _, place)) in enumerate(zip(words.tolist(), places_of(p, scan), strict=True)):
        before = len(found)
        for plane in range(1 if scan.update else planes):
            lanes = [k for k, c in enumerate(word) if (c if scan.update else abs(c) >> plane & 1)]
            negatives = sum((c < 0) << k for k, c in enumerate(word))
            here = place | {"plane": plane}
            slot = n * planes + plane
            if scan.identity and lanes:
                active = sum(1 << k for k in lanes)
                found.append((slot, here | {"active": active, "negatives": negatives}))
            elif not scan.identity:
                for k in lanes:
                    one = {"lane": k, "negative": negatives >> k & 1}
                    if scan.update:
                        one["value"] = abs(word[k])
                    found.append((slot, here | one))
        if p.window is not None and len(found) == before:
            found.append((n * planes, place | {"null": 1}))
    return found


def run(name: str, from_input: int, pace: Pace, seed: int):
    """Play scans of random memories; every event is as it must be."""
    plan, rng = PLANS[name], np.random.default_rng(seed)
    memories, numbers = random_memories(plan, rng), scans(plan, from_input)
    chosen = [op for op in (plan.program.operations[n] for n in numbers) if isinstance(op, Scan)]
    p = plan.program
    expected = [(op, events_of(p, op, words_of(p, op, memories), p.planes)) for op in chosen]
    rig = Rig(plan, numbers, memories)
    bench = Bench(rig, pace)
    sink = bench.collect(rig.o, sum(len(events) for _, events in expected))
    seen = bench.watch(rig.start, rig.busy)
    words = [len(places_of(p, op)) * (op.last_gather + 1) for op in chosen]
    bench.run(extra=sum(words) + 10 * len(words))
    layout = spike_event(plan.program)
    blank = dict.fromkeys(layout.members, 0)
    wanted = [blank | event for _, events in expected for _, event in events]
    got = [{key: fields(layout, raw)[key] for key in blank} for raw in sink.values]
    got = [blank | _place(one) if one.get("null") else one for one in got]
    assert got == wanted
    starts = [cycle for cycle, (start, _) in enumerate(seen) if start]
    assert len(starts) == len(numbers)
    return expected, sink, starts, [busy for _, busy in seen]


def _place(event: dict[str, int]) -> dict[str, int]:
    """Of an event that says that there is nothing: whichever lane it is of."""
    return {name: event[name] for name in ("row", "column", "group", "null") if name in event}


MAPS = [
    (name, from_input) for name in PLANS for from_input in (0, 1) if scans(PLANS[name], from_input)
]


@pytest.mark.parametrize("pace", [JITTERY[0], JITTERY[3]], ids=str)
@pytest.mark.parametrize(("name", "from_input"), MAPS)
def test_every_event_in_order_under_back_pressure(name: str, from_input: int, pace: Pace) -> None:
    _, sink, _, busy = run(name, from_input, pace, 0)
    assert not busy[-1]
    assert all(busy[cycle] for cycle in sink.taken)


def offers(
    scan: Scan, events: list, planes: int, start: int, combines: bool, words: int = 1
) -> tuple[list[int], int]:
    """The cycle law: when each event is offered, and taken at once; the first cycle that is not
    busy. What a plane stands for is the number of its events."""
    cycles, cycle = list[int](), start + 1
    counts = np.zeros((words, planes), dtype=int)
    for slot, _ in events:
        counts[divmod(slot, planes)] += 1
    registers = Registers(
        [[n for n in word if n] for word in counts.tolist()], scan.last_gather + 1, combines
    )
    held, offered = 0, False  # events in the encoder; one at its output
    while registers.busy or held or offered:
        if scan.identity:
            cycles += [cycle] if registers.shown else []
            registers.shown = None
        else:
            cycles += [cycle] if offered else []
            held, offered = held - (held > 0), held > 0
            if not held and registers.shown:
                held, registers.shown = registers.shown, None
        registers.move()
        cycle += 1
    return cycles, cycle


@pytest.mark.parametrize(("name", "from_input"), MAPS)
def test_cycle_law(name: str, from_input: int) -> None:
    """When nothing is held back, every event comes in its cycle."""
    for seed in (1, 2):
        expected, sink, starts, busy = run(name, from_input, FLOWING, seed)
        cycles = []
        for (scan, events), start in zip(expected, starts, strict=True):
            program = PLANS[name].program
            words, combines = len(places_of(program, scan)), Scanner.combines(program)
            found, done = offers(scan, events, program.planes, start, combines, words)
            cycles += found
            assert busy[start : done + 1] == [0] + [1] * (done - start - 1) + [0]
        assert sink.taken == cycles


def test_when_the_first_event_comes() -> None:
    """The plane of a first word is shown, and an identity's event offered, `latency` cycles after
    START, and later by the words that it is made of; others pass the encoder."""
    event, found = [(0, {})], set()
    for plan in PLANS.values():
        combines, latency = Scanner.combines(plan.program), Scanner.latency(plan.program)
        found.add(combines)
        assert offers(Scan(identity=1), event, 1, 5, combines) == ([5 + latency], 6 + latency)
        first = 5 + latency + ChunkEncoder.LATENCY
        assert offers(Scan(), event, 1, 5, combines)[0] == [first]
        if combines:
            assert offers(Scan(last_gather=3), event, 1, 5, True)[0] == [first + 3]
    assert found == {False, True}


def test_all_kinds_are_played() -> None:
    """Steps in either bank, changes at even and at odd steps, sums of as many words of each bank,
    and of one less of the odd one."""
    found = set()
    for name, from_input in MAPS:
        for n in scans(PLANS[name], from_input):
            op = PLANS[name].program.operations[n]
            assert isinstance(op, Scan)
            kind = (op.played, op.even, op.odd, op.leave)
            found.add((kind, from_input, op.identity))
    kinds = [
        (Played.STEP, 1, 0, 0),
        (Played.CHANGES, 1, -1, 0),
        (Played.CHANGES, -1, 1, 0),
        (Played.SUM, 1, 0, 0),
        (Played.SUM, 1, 1, 1),
    ]
    assert {(kind, from_input, 0) for kind in kinds for from_input in (0, 1)} <= found
    assert {((Played.STEP, 0, 1, 0), 0, 0), ((Played.SUM, 1, 1, 0), 0, 0)} <= found
    assert {(kind, from_input, 1) for kind in kinds[1:3] for from_input in (0, 1)} <= found


def test_what_a_plan_counts_is_what_is_played() -> None:
    """`gen.program.cycles` sees the same words and events: of steps that lie in the memories as
    their plan says, in turn in either bank."""
    for name in PLANS:
        plan, rng = PLANS[name], np.random.default_rng(5)
        p, spec = plan.program, plan.network.spec
        if p.learning is not None or p.window is not None:  # other laws say what they play
            continue
        for scan in (op for op in p.operations if isinstance(op, Scan)):
            size = (scan.last_row + 1) * (scan.last_column + 1)
            memories = random_memories(plan, rng)
            banks = memories["pixels" if scan.from_input else "spikes"]
            start = 0 if scan.from_input else plan.memory_map.spike(scan.source)
            timed = scan.source != INPUT or spec.timed_input
            steps = spec.steps if timed else 1
            top, low = (1, -1) if scan.source != INPUT else (spec.pixel_max, 0)
            if name == "changes-unsigned":
                low = 0
            values = random_words(rng, (steps, size, p.lanes), top, low)
            for step, words in enumerate(values):
                first = start + step // len(banks) * size
                banks[step % len(banks), first : first + size] = words
            words = played(scan, values)
            assert np.array_equal(words_of(p, scan, memories), words)
            play, events = plays(p, scan, words), events_of(p, scan, words, scan.last_plane + 1)
            assert (play.words, play.reads, play.planes) == (
                size,
                scan.last_gather + 1,
                scan.last_plane + 1,
            )
            assert play.slot.tolist() == [slot for slot, _ in events]
