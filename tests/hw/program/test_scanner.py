"""Scanner: the events of a map, in order, none lost, in time."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out

from gen.learn.stage import learning_stage, plan_learning
from gen.program.cycles import plays
from gen.program.stage import ProgramStagePlan, plan_program
from hw.layer.encoder import ChunkEncoder
from hw.learn.masters import Masters
from hw.program.operation import operation, spike_event
from hw.program.program import Scan
from hw.program.scanner import Scanner
from hw.stream.payloads import coefficients
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, fields
from tests.hw.program.programs import conv, dense, identity, network, part
from tests.learning import learning_network

PLANS: dict[str, ProgramStagePlan] = {
    name: plan_program(image, lanes)
    for name, image, lanes in (
        (
            "maps",
            network((2, 5, 4), part(10, conv("input", 3, padding=1)), part(3, dense("a")), bits=3),
            4,
        ),
        ("packed", network((3, 3, 6), part(17, conv("input", 3)), part(2, dense("a"))), 16),
        (
            "identities",
            network(
                (5, 3, 3),
                part(5, identity("input")),
                part(5, identity("a"), conv("a", 3, padding=1)),
                part(2, dense("b")),
                bits=3,
            ),
            4,
        ),
        ("one-bit", network((1, 1, 1), part(1, dense("input")), part(1, dense("a")), bits=1), 2),
    )
}
PLANS["learning"] = learning_stage(
    plan_learning(
        Masters.of(learning_network(np.random.default_rng(1), groups=(6, 5), feedback=True)), 4
    )
)


class Rig(wiring.Component):
    """A scanner with its memories, which carries out some scans one after the other.

    Unless it is shown `whole`, what means nothing in an event is 0: the lane of an identity's, and
    the lanes that are active in all others; the value of one that changes no row.
    """

    o: stream.Interface
    start: Signal
    busy: Signal

    def __init__(
        self,
        plan: ProgramStagePlan,
        numbers: list[int],
        spikes: np.ndarray,
        pixels: np.ndarray,
        held: np.ndarray | None = None,
        whole: bool = False,
    ) -> None:
        self._program, self._whole = plan.program, whole
        self._numbers = numbers
        self._contents = [
            coded(spikes, plan.program.spike_planes, plan.program.spike_sign),
            coded(pixels, plan.program.input_bits, False),
        ]
        if held is not None:
            assert plan.program.learning is not None
            self._contents.append(coded(held, plan.program.learning.held_planes, True))
        super().__init__(
            {"o": Out(stream.Signature(spike_event(plan.program))), "start": Out(1), "busy": Out(1)}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        m.submodules.scanner = scanner = Scanner(p)
        names = ("spikes", "pixels", "held")[: len(self._contents)]
        for name, (shape, words) in zip(names, self._contents, strict=True):
            port = getattr(scanner, name)
            m.submodules[name] = memory = Memory(shape=shape, depth=len(words), init=words)
            read = memory.read_port()
            m.d.comb += [
                read.en.eq(scanner.read),
                read.addr.eq(scanner.address),
                Value.cast(port).eq(Value.cast(read.data)),
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
        if p.has_identities and not self._whole:
            one = scanner.o.payload
            m.d.comb += [
                self.o.payload.lane.eq(Mux(scan.identity, 0, one.lane)),
                self.o.payload.active.eq(Mux(scan.identity, one.active, 0)),
                self.o.payload.negatives.eq(Mux(scan.identity, one.negatives, 0)),
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
    """Numbers of the first two scans of the image, or of spikes; where the network learns, of the
    first of every kind of scan."""
    found: dict[tuple, int] = {}
    for n, op in enumerate(plan.program.operations):
        if isinstance(op, Scan) and op.from_input == from_input:
            kind = (op.held, op.update) if plan.program.learning else (len(found),)
            found.setdefault(kind, n)
    return [*found.values()] if plan.program.learning else [*found.values()][:2]


def random_words(rng: np.random.Generator, words: int, lanes: int, top: int, low: int = 0):
    """Words of every density, many of them empty."""
    values = rng.integers(low, top + 1, (words, lanes))
    return values * (rng.random((words, lanes)) < rng.random((words, 1)) ** 2)


def held_words(plan: ProgramStagePlan, rng: np.random.Generator) -> np.ndarray | None:
    """Of either sign, where the network learns."""
    p = plan.program
    if p.learning is None:
        return None
    top = (1 << p.learning.held_planes) - 1
    return random_words(rng, p.learning.count_words + 2, p.lanes, top, -top)


def events_of(
    plan: ProgramStagePlan,
    number: int,
    spikes: np.ndarray,
    pixels: np.ndarray,
    held: np.ndarray | None = None,
):
    """Reference: what a scan sends, (slot, event) each; a slot is a plane of a word. One that
    changes rows sends whole coefficients."""
    scan = plan.program.operations[number]
    assert isinstance(scan, Scan)
    words, found = pixels if scan.from_input else spikes, []
    if scan.held:
        assert held is not None
        words = held
    size = (scan.last_row + 1) * (scan.last_column + 1)
    for n, word in enumerate(words[scan.address : scan.address + size].tolist()):
        row, column = divmod(n, scan.last_column + 1)
        for plane in range(scan.last_plane + 1):
            lanes = [k for k, c in enumerate(word) if (c if scan.update else abs(c) >> plane & 1)]
            negatives = sum((c < 0) << k for k, c in enumerate(word))
            here = {"row": row, "column": column, "plane": plane}
            slot = n * (scan.last_plane + 1) + plane
            if scan.identity and lanes:
                active = sum(1 << k for k in lanes)
                found.append((slot, here | {"active": active, "negatives": negatives}))
            elif not scan.identity:
                for k in lanes:
                    one = {"lane": k, "negative": negatives >> k & 1}
                    if scan.update:
                        one["value"] = abs(word[k])
                    found.append((slot, here | one))
    return found


def run(name: str, from_input: int, pace: Pace, seed: int):
    """Play scans of random memories; every event is as it must be."""
    plan, rng = PLANS[name], np.random.default_rng(seed)
    p = plan.program
    low = -1 if p.spike_sign else 0
    spikes = random_words(rng, p.spike_words, p.lanes, 1, low)
    pixels = random_words(rng, p.input_words, p.lanes, (1 << p.input_bits) - 1)
    held, numbers = held_words(plan, rng), scans(plan, from_input)
    rig = Rig(plan, numbers, spikes, pixels, held)
    expected = [events_of(plan, number, spikes, pixels, held) for number in numbers]
    bench = Bench(rig, pace)
    sink = bench.collect(rig.o, sum(map(len, expected)))
    seen = bench.watch(rig.start, rig.busy)
    bench.run(extra=2 * (len(spikes) + len(pixels)) * p.planes + 10)
    layout = spike_event(p)
    blank = dict.fromkeys(layout.members, 0)
    wanted = [blank | event for part in expected for _, event in part]
    got = [{key: fields(layout, raw)[key] for key in blank} for raw in sink.values]
    assert got == wanted
    starts = [cycle for cycle, (start, _) in enumerate(seen) if start]
    assert len(starts) == len(numbers)
    return plan, numbers, expected, sink, starts, [busy for _, busy in seen]


MAPS = [
    ("maps", 0),
    ("maps", 1),
    ("packed", 0),
    ("packed", 1),
    ("identities", 0),
    ("identities", 1),
    ("one-bit", 0),
    ("one-bit", 1),
    ("learning", 0),
    ("learning", 1),
]


@pytest.mark.parametrize("pace", [JITTERY[0], JITTERY[3]], ids=str)
@pytest.mark.parametrize(("name", "from_input"), MAPS)
def test_every_event_in_order_under_back_pressure(name: str, from_input: int, pace: Pace) -> None:
    for seed in range(2):
        *_, sink, _, busy = run(name, from_input, pace, seed)
        assert not busy[-1]
        assert all(busy[cycle] for cycle in sink.taken)


def offers(plan: ProgramStagePlan, number: int, events: list, start: int) -> tuple[list[int], int]:
    """The cycle law: when each event is offered, and taken at once; the first cycle that is not
    busy."""
    scan = plan.program.operations[number]
    assert isinstance(scan, Scan)
    looked, sent, cycles = start + Scanner.LATENCY, 0, []
    slots = (scan.last_row + 1) * (scan.last_column + 1) * (scan.last_plane + 1)
    for slot in range(slots):
        here = sum(1 for at, _ in events if at == slot)
        if here and scan.identity:
            cycles.append(looked)
        elif here:
            # Sent: the encoder's last event goes to its output register, a cycle before its offer.
            looked = max(looked, sent)
            cycles += range(looked + ChunkEncoder.LATENCY, looked + ChunkEncoder.LATENCY + here)
            sent = cycles[-1] - 1
        looked += 1
    return cycles, max(looked, cycles[-1] + 1 if cycles else 0)


@pytest.mark.parametrize(("name", "from_input"), MAPS)
def test_cycle_law(name: str, from_input: int) -> None:
    """When nothing is held back, every event comes in its cycle."""
    for seed in range(3):
        plan, numbers, expected, sink, starts, busy = run(name, from_input, FLOWING, seed)
        cycles = []
        for number, events, start in zip(numbers, expected, starts, strict=True):
            found, done = offers(plan, number, events, start)
            cycles += found
            assert busy[start : done + 1] == [0] + [1] * (done - start - 1) + [0]
        assert sink.taken == cycles


def test_what_a_plan_counts_is_what_is_played() -> None:
    """`gen.program.cycles.plays` sees the same slots and events."""
    for name, from_input in MAPS:
        plan, rng = PLANS[name], np.random.default_rng(5)
        if plan.program.learning is not None:  # `gen.learn.cycles` says what it plays
            continue
        p = plan.program
        spikes = random_words(rng, p.spike_words, p.lanes, 1, -1)
        pixels = random_words(rng, p.input_words, p.lanes, (1 << p.input_bits) - 1)
        for number in scans(plan, from_input):
            scan = p.operations[number]
            assert isinstance(scan, Scan)
            size = (scan.last_row + 1) * (scan.last_column + 1)
            words = pixels if from_input else spikes
            play = plays(plan.program, scan, words[scan.address : scan.address + size])
            events = events_of(plan, number, spikes, pixels)
            assert play.slots == size * (scan.last_plane + 1)
            assert play.slot.tolist() == [slot for slot, _ in events]


@pytest.mark.parametrize("number", [0, 1], ids=["identity", "conv"])
def test_an_offer_stands_in_all_its_fields(number: int) -> None:
    """Over an identity edge `lane` is what the encoder's idle output shows; over others `active`
    and `negatives` are those of the word that is looked at, not of the event's."""
    plan, rng = PLANS["identities"], np.random.default_rng(1)
    p = plan.program
    spikes = random_words(rng, p.spike_words, p.lanes, 1, -1)
    pixels = random_words(rng, p.input_words, p.lanes, 7)
    chosen = scans(plan, 0)[number]
    scan = p.operations[chosen]
    assert isinstance(scan, Scan)
    assert bool(scan.identity) == (number == 0)
    rig = Rig(plan, [chosen], spikes, pixels, whole=True)
    bench = Bench(rig, JITTERY[3])
    bench.collect(rig.o, len(events_of(plan, chosen, spikes, pixels)))
    bench.run()
