"""Sweeper: every value fires, is reset, saturates and decays as the laws say, in its cycle."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from gen.learn.stage import learning_stage, plan_learning
from gen.program.cycles import sweep_cycles
from gen.program.stage import plan_program
from hw.contract import laws
from hw.contract.neuron import Decay, NeuronSpec
from hw.learn.masters import Masters
from hw.program.code import Counted, Scan, Send, Sweep
from hw.program.program import Program
from hw.program.reach import Window
from hw.program.sweeper import Sweeper
from hw.stream.payloads import drives
from tests.hw.driving import Bench
from tests.hw.program.programs import dense, network, part, split
from tests.learning import learning_network

LANES, ROUNDS, ROOM = 4, 2, 8
BITS, DRIVE_BITS, MEMBRANE_BITS = 9, 10, 11

NEURONS = {
    "hard": NeuronSpec(theta=20, theta_negative=13, potential_bits=6),
    "off": NeuronSpec(theta=19, negative="off", potential_bits=6),
    "soft": NeuronSpec(
        theta=21,
        theta_negative=8,
        reset="soft",
        step=17,
        potential_bits=6,
        decay="leak",
        decay_shift=2,
    ),
    "shift": NeuronSpec(theta=70, decay="shift", decay_shift=3, potential_bits=8),
    "factor": NeuronSpec(
        theta=40, decay="factor", decay_factor=3481, decay_shift=12, potential_bits=8
    ),
    "factor-floor": NeuronSpec(
        theta=40,
        decay="factor",
        decay_factor=3,
        decay_shift=2,
        decay_rounding="floor",
        potential_bits=8,
    ),
    "many": NeuronSpec(theta=40, decay="factor", decay_shift=12, potential_bits=8),
    "many-floor": NeuronSpec(
        theta=20,
        negative="off",
        decay="factor",
        decay_shift=5,
        decay_rounding="floor",
        reset="soft",
        step=22,
        potential_bits=8,
    ),
    "floor": NeuronSpec(
        theta=40, decay="leak", decay_shift=2, decay_rounding="floor", potential_bits=8
    ),
}
COUNTING = {
    "two": NeuronSpec(theta=17, negative="off", limit=2, potential_bits=7),
    "five": NeuronSpec(
        theta=13,
        theta_negative=9,
        limit=5,
        reset="soft",
        step=11,
        potential_bits=7,
        decay="leak",
        decay_shift=2,
    ),
    "fifteen": NeuronSpec(theta=8, limit=15, reset="soft", step=8, potential_bits=8),
    "guarded": NeuronSpec(
        theta=11,
        theta_negative=6,
        negative="guarded",
        limit=3,
        reset="soft",
        step=9,
        potential_bits=8,
    ),
    "guarded-ternary": NeuronSpec(
        theta=11, negative="guarded", reset="soft", step=11, potential_bits=8
    ),
}
CURRENTS = {
    "current": NeuronSpec(
        theta=40,
        decay="leak",
        decay_shift=2,
        current="factor",
        current_shift=12,
        current_factor=3481,
        potential_bits=8,
    ),
    "current-soft": NeuronSpec(
        theta=31,
        negative="off",
        reset="soft",
        step=25,
        decay="factor",
        decay_shift=4,
        decay_factor=13,
        decay_rounding="floor",
        current="shift",
        current_shift=1,
        potential_bits=8,
    ),
    "current-counted": NeuronSpec(
        theta=19, negative="guarded", limit=3, current="leak", current_shift=3, potential_bits=8
    ),
}
NEURONS |= COUNTING | CURRENTS


def sweep(name: str, **more: Any) -> Sweep:
    """Of six words, two to a row of biases."""
    one = NEURONS[name]
    numbers: dict[str, Any] = {
        "name": name,
        "last_word": 5,
        "last_position": 1,
        "fires": 1,
        "spikes": 3,
        "up": one.theta,
        "down": one.theta_down,
        "signed": int(one.signed),
        "limit": one.limit,
        "guarded": int(one.guarded),
        "hard": int(one.reset == "hard"),
        "step": one.step,
        "top": one.u_max,
    }
    return Sweep(**(numbers | more))


SWEEPS = {
    **{name: sweep(name) for name in NEURONS if name not in COUNTING | CURRENTS},
    "drive": sweep("soft", has_drive=1, drive=3),
    "thresholds": sweep("hard", by_channel=1, channels=1, last_word=3),
    "thresholds-off": sweep("off", by_channel=1),
    "steps": sweep("soft", by_channel=1, channels=1, last_word=3),
    "steps-and-many": sweep("many-floor", by_channel=1),
    "first": sweep("hard", first=1, start=-7),
    "first-drive": sweep("shift", first=1, start=5, has_drive=1, drive=9),
    "by-position": sweep("shift", last_word=2, last_position=0, spikes=0),
    "silent": sweep("shift", fires=0),
    "odd": sweep("hard", odd=1),
    "one-word": sweep("soft", last_word=0, last_position=4, channels=2, spikes=7),
}


PARTS = 4


def parted(name: str, **more: Any) -> Sweep:
    """Of six words of parts, which share a row of biases, or have one each, or two."""
    return sweep(name, **({"last_position": 0, "parts": 15} | more))


PARTED = {
    "four-rows": parted("hard", spread=2, by_channel=1, channels=2, ragged=4, parts=0b0011),
    "two-of-two": parted("off", spread=1, channels=1, ragged=5, parts=0b0000),
    "one-of-four": parted("soft", spread=0, has_drive=1, drive=3),
    "steps": parted("many-floor", spread=1, by_channel=1, channels=1),
    "many": parted("many", spread=0, channels=1),
    "ragged-from-the-first": parted("shift", spread=1, channels=2, parts=0b0101),
    "first": parted("shift", spread=0, first=1, start=5, has_drive=1, drive=9),
}
"""Words of four parts: rows, or groups of channels, side by side."""

WINDOW = Window(
    rows=PARTS, columns=1, used=(), row_table=(), column_table=(), picks=(), pixels=LANES
)


def program(
    sweeps: Sequence[Sweep], kept: bool = True, again: bool = False, window: Window | None = None
) -> Program:
    """These, each `ROUNDS` times over potentials and drives of its own; or, where none are `kept`,
    over drives alone; or `again` and again over the same potentials."""
    base = plan_program(network((2, 1, 1), part(2, dense("input")), part(2, dense("a"))), LANES)
    rng, own = np.random.default_rng(5), np.random.default_rng(6)
    # Rows serve all sweeps: factors are of the least k.
    many = [n.decay_shift for n in (NEURONS[op.name] for op in sweeps) if n.many_factors]
    scan = next(op for op in base.program.operations if isinstance(op, Scan))
    rows = 3 if window is None else 3 + PARTS
    decays = tuple(dict.fromkeys(NEURONS[op.name].decay_law for op in sweeps))
    with_currents = [NEURONS[op.name] for op in sweeps if NEURONS[op.name].has_current]
    currents = tuple(dict.fromkeys(one.current_law for one in with_currents))
    several = [
        replace(
            op,
            decay=decays.index(NEURONS[op.name].decay_law),
            has_current=int(NEURONS[op.name].has_current),
            current=NEURONS[op.name].has_current and currents.index(NEURONS[op.name].current_law),
            potential=ROOM * n if kept and not again else 0,
            drive=op.drive + ROOM * n if op.has_drive else 0,
            counts=n % ROUNDS if op.counted else 0,
        )
        for n, op in enumerate(op for op in sweeps for _ in range(ROUNDS))
    ]
    return replace(
        base.program,
        operations=(*several, scan, Send()),
        window=window,
        biases=rng.integers(-30, 31, (rows, LANES)) * (1 + again),
        thetas=rng.integers(5, 25, (rows, LANES)) if any(op.by_channel for op in sweeps) else None,
        reset_steps=own.integers(1, 23, (rows, LANES)) if _soft(sweeps) else None,
        factors=_factors(own, rows, min(many)) if many else None,
        decays=decays,
        currents=currents,
        second_bits=max([one.potential_bits for one in with_currents], default=0),
        can_saturate=True,
        membrane_bits=MEMBRANE_BITS,
        potential_bits=BITS * kept,
        potential_words=ROOM * len(several) * kept,
        drive_bits=DRIVE_BITS,
        drive_words=any(op.has_drive for op in sweeps) * ROOM * (len(several) + 2),
        count_bits=max(
            [NEURONS[op.name].count_bits(len(several)) for op in sweeps if op.guarded], default=0
        ),
        spike_planes=max(op.limit for op in sweeps).bit_length(),
        spike_sign=any(op.signed for op in sweeps),
        spike_words=16,
    )


def _soft(sweeps: Sequence[Sweep]) -> bool:
    """Whether any reset is by a step of each channel."""
    return any(op.by_channel and op.step for op in sweeps)


def _factors(rng: np.random.Generator, rows: int, shift: int) -> np.ndarray:
    """0 to 2^k, both of them among them."""
    found = rng.integers(0, 2**shift + 1, (rows, LANES))
    found[:, :2] = 0, 2**shift
    return found


def adversarial(p: Program) -> tuple[np.ndarray, np.ndarray]:
    """Potentials and drives (words, lanes): with what is added to them, at every threshold and
    bound, beside it, and anywhere."""
    rng = np.random.default_rng(1)
    values = rng.integers(-100, 101, (max(1, p.potential_words), p.word))
    drives = rng.integers(-100, 101, (max(1, p.drive_words), p.word))
    for op in p.operations:
        if not isinstance(op, Sweep):
            continue
        place = 0
        for n in range(op.last_word + 1):
            up, down = thresholds(p, op, n)
            addend = drives[op.drive + n] if op.has_drive and not op.first else bias(p, op, n)
            for k in range(p.word):
                near = [op.top, -op.top, 0]
                near += [n * up[k] for n in range(1, op.limit + 2)]
                near += [-n * down[k] for n in range(1, op.limit + 2)]
                near = [value + d for value in near for d in (-1, 0, 1)]
                wanted = near[place % len(near)]
                if p.potential_words and (place % 3 or op.potential // ROOM % ROUNDS):
                    values[op.potential + n, k] = wanted - addend[k]
                elif op.has_drive and not p.potential_words:
                    drives[op.drive + n, k] = wanted - op.start
                place += 1
    assert np.abs(values).max() < 1 << BITS - 1
    assert np.abs(drives).max() < 1 << DRIVE_BITS - 1
    return values, drives


def rows_of(p: Program, op: Sweep, n: int) -> list[int]:
    """Rows of biases and thresholds of word n, by part."""
    if p.window is None:
        return [op.channels + n // (op.last_position + 1)]
    return [op.channels + (part >> op.spread) for part in range(p.parts)]


def bias(p: Program, op: Sweep, n: int) -> np.ndarray:
    """(size of a word,) of word n."""
    return p.biases[rows_of(p, op, n)].reshape(-1)


def thresholds(p: Program, op: Sweep, n: int) -> np.ndarray:
    """(2, size of a word) of word n: of the positive side, and of the negative one."""
    if op.by_channel:
        assert p.thetas is not None
        return np.array([p.thetas[rows_of(p, op, n)].reshape(-1)] * 2)
    return np.array([[op.up] * p.word, [op.down] * p.word])


def constants(p: Program, op: Sweep, n: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Reset steps and factors (size of a word,) of word n; None: they are the neuron's."""
    rows, one = rows_of(p, op, n), NEURONS[op.name]
    steps, factors = None, None
    if op.by_channel and p.reset_steps is not None:
        steps = p.reset_steps[rows].reshape(-1)
    if one.many_factors:
        assert p.factors is not None
        factors = p.factors[rows].reshape(-1)
    return steps, factors


def there(p: Program, op: Sweep, n: int) -> np.ndarray:
    """(size of a word,) of word n: 1 where it is of the map."""
    if p.window is None or n < op.ragged:
        return np.ones(p.word, dtype=int)
    return np.repeat([op.parts >> part & 1 for part in range(p.parts)], p.lanes)


class Rig(wiring.Component):
    """A sweeper, memories of potentials and drives that it only reads, and one of each count. Where
    there is no memory of potentials, there is junk in its place."""

    def __init__(
        self, p: Program, values: tuple[np.ndarray, np.ndarray], counts: Sequence[np.ndarray]
    ) -> None:
        self._program, self._values, self._counts = p, values, counts
        self.sweeper: Any = Sweeper(p)
        super().__init__({"word": In(p.code.bits), "start": In(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        p, s = self._program, self.sweeper
        m.submodules.sweeper = s
        width = max(1, p.potential_bits)
        potentials = self._values[0] if p.potential_bits else np.full((1, p.word), -1)
        read, _ = self._memory(m, "potentials", width, potentials)
        later = Signal.like(Value.cast(read.data))
        m.d.sync += later.eq(read.data)
        constant, _ = self._memory(m, "drives", DRIVE_BITS, self._values[1])
        m.d.comb += [
            read.addr.eq(s.read),
            constant.addr.eq(s.drive_read),
            Value.cast(s.drives).eq(Value.cast(constant.data)),
            Value.cast(s.v).eq(later),
            s.word.eq(self.word),  # type: ignore[attr-defined]
            s.start.eq(self.start),  # type: ignore[attr-defined]
        ]
        if p.learning is None:
            return m
        port = s.counting
        for name, values in zip(("forward", "back"), self._counts, strict=True):
            read, write = self._memory(m, name, p.learning.vector_bits, values)
            m.d.comb += [
                read.addr.eq(port.read),
                Value.cast(getattr(port, f"{name}_word")).eq(Value.cast(read.data)),
                write.en.eq(getattr(port, name)),
                write.addr.eq(port.address),
                Value.cast(write.data).eq(Value.cast(port.word)),
            ]
        return m

    @staticmethod
    def _memory(m: Module, name: str, bits: int, values: np.ndarray) -> Any:
        shape = drives(values.shape[1], bits)
        memory = Memory(shape=shape, depth=len(values), init=values.tolist())
        m.submodules[name] = memory
        return memory.read_port(), memory.write_port()


class Reference:
    """What a program's sweeps come to.

    Where a word has several parts, a row of biases is fetched for each, before the first word.
    Spikes leave in cycle 5 of a word; where they are counted or guarded, in cycle 6 + planes. A
    cycle later there is what the reset leaves, under a soft one as many later as there are planes,
    then what saturates, then what decays: by a factor later by the levels of its additions. Where
    there are synaptic currents, all of that is a cycle later, and what is kept of a current is
    written from cycle 5 on.

    Lists of rows that start with their cycle: fired (bank, address, spikes), kept (potentials some
    cycles after the spikes), written and drives (address, what is written to each memory), counted
    (kind, address, counts, masks); busy are the cycles in which something is on its way.
    """

    def __init__(
        self, p: Program, values: tuple[np.ndarray, np.ndarray], counts: Sequence[np.ndarray]
    ) -> None:
        self.p, self.values = p, values
        planes, sweeps = p.spike_planes, [op for op in p.operations if isinstance(op, Sweep)]
        self.fires = (6 + planes if planes > 1 or p.count_bits else 5) + bool(p.currents)
        self.keeps = self.fires + 1 + (planes if any(op.step for op in sweeps) else 1)
        # A factor m has as many signed digits as m and 3m have bits unlike; pairs are added.
        self.decays = self.keeps + 1 + self._levels(p.decays)
        self.currents = 5 + self._levels(p.currents)
        self.second = np.zeros_like(values[0])
        self.guards = np.zeros_like(values[0])
        self.counts = [array.copy() for array in counts]
        self.fired, self.kept, self.written, self.drives, self.counted = [], [], [], [], []
        self.busy: list[int] = []
        self.starts: dict[int, int] = {}  # cycle: number of the operation
        at = 2
        for number, op in enumerate(p.operations):
            if isinstance(op, Sweep):
                self.starts[at] = number
                self.busy += range(at + 1, at + sweep_cycles(p, op))
                fetched = 0 if p.window is None else p.parts
                for n in range(op.last_word + 1):
                    self._word(op, n, at + 1 + fetched + n)
                at += sweep_cycles(p, op) + number % 3
        self.cycles = at
        self.written.sort()

    @staticmethod
    def _levels(decays: Sequence[Decay]) -> int:
        digits = [(f := decay.factor) and (f ^ 3 * f).bit_count() for decay in decays]
        # One that is not known has a term for each of its bits, 0 to k.
        digits += [d.shift + 1 for d in decays if d.kind == "factor" and not d.factor]
        return (max([1, *digits]) - 1).bit_length()

    def _word(self, op: Sweep, n: int, at: int) -> None:
        """Word n of a sweep, which is numbered in cycle `at`."""
        p, one = self.p, NEURONS[op.name]
        potentials, drives = self.values
        before = potentials[op.potential + n] if p.potential_words else op.start
        addend = bias(p, op, n)
        if op.first and op.has_drive:
            self.drives.append((at + 3, op.drive + n, *addend.tolist()))
        elif op.has_drive:
            addend = drives[op.drive + n]
        v = x = before + addend
        if op.has_current:
            v = x + self.second[op.potential + n]
        guard = self.guards[op.potential + n] if p.potential_words else np.zeros_like(v)
        of_channels = None if not op.by_channel else thresholds(p, op, n)[0]
        c = laws.fire(v, one, guard, thetas=of_channels) * op.fires
        guard[:] = 0 if op.first else guard + c
        steps, factors = constants(p, op, n)
        u = laws.saturate(laws.reset(v, c, one, steps), one)
        d = np.full(p.word, op.start) if op.first else laws.decay(u, one, factors)
        written = at + self.decays
        if op.has_current:
            self.second[op.potential + n] = d
            d = 0 * x if op.first else laws.kept(x, one.current_law)
            written = at + self.currents
        self.written.append((written, op.potential + n, *d.tolist()))
        sent = self._count(op, n, at, c) if op.counted else c * there(p, op, n)
        if op.fires and not op.first:
            self.fired.append((at + self.fires, op.odd, op.spikes + n, *sent.tolist()))
            self.kept.append((at + self.keeps, *u.tolist()))

    def _count(self, op: Sweep, n: int, at: int, c: np.ndarray) -> np.ndarray:
        """What is sent of the spikes."""
        learning = self.p.learning
        assert learning is not None
        back = op.counted == Counted.BACK
        forward = self.counts[0][op.counts + n]
        mask = (forward > 0) & (forward < learning.steps) if back else np.ones_like(c)
        counts = self.counts[back][op.counts + n]
        counts[:] = 0 if op.first else counts + c * mask
        wanted = (
            at + self.fires + 1,
            int(back),
            op.counts + n,
            *counts.tolist(),
            *mask.astype(int).tolist(),
        )
        self.counted.append(wanted)
        return c * mask


def signed(raw: int, bits: int, count: int) -> list[int]:
    return [x - (x >> (bits - 1) << bits) for x in split(raw, bits, count)]


def check(p: Program, counts: Sequence[np.ndarray] = ()) -> Reference:
    """All of a program's sweeps, one after the other."""
    values = adversarial(p)
    rig, wanted = Rig(p, values, counts), Reference(p, values, counts)
    words, starts = [0] * wanted.cycles, [0] * wanted.cycles
    for at, number in wanted.starts.items():
        op = p.operations[number]
        assert isinstance(op, Sweep)
        words[at : at + sweep_cycles(p, op)] = [p.code.words[number]] * sweep_cycles(p, op)
        starts[at] = 1
    bench, s = Bench(rig), rig.sweeper
    bench.play(rig.word, words)  # type: ignore[attr-defined]
    bench.play(rig.start, starts)  # type: ignore[attr-defined]
    flags = bench.watch(s.busy, s.fired, s.write, s.drive_write)
    fired = bench.watch(s.odd, s.spike_address, Value.cast(s.spikes), Value.cast(s.potentials))
    prepared = bench.watch(s.write_address, Value.cast(s.prepared))
    begun = bench.watch(s.drive_write_address, Value.cast(s.biases))
    port: Any = None if p.learning is None else s.counting
    ports = port and (port.forward, port.back, port.address, Value.cast(port.word), port.masks)
    counted = bench.watch(*ports or ())
    bench.run(extra=3)
    assert [n for n, (busy, *_) in enumerate(flags) if busy] == wanted.busy
    size, sent = p.spike_planes + p.spike_sign, []
    for n, (odd, address, raw, _) in enumerate(fired):
        if flags[n][1]:
            coded = split(raw, size, p.word)  # magnitude, sign
            mask = (1 << p.spike_planes) - 1
            decoded = ((c & mask) * (1 - 2 * (c >> p.spike_planes)) for c in coded)
            sent.append((n, odd, address, *decoded))
    assert sent == wanted.fired
    kept = [(n, *signed(fired[n][3], MEMBRANE_BITS, p.word)) for n, *_ in wanted.kept]
    assert kept == wanted.kept
    written = [(n, *prepared[n]) for n, (_, _, write, _) in enumerate(flags) if write]
    if p.potential_words:
        assert [(n, at, *signed(word, BITS, p.word)) for n, at, word in written] == wanted.written
    drives = [(n, *begun[n]) for n, (*_, write) in enumerate(flags) if write]
    assert [(n, at, *signed(word, DRIVE_BITS, p.word)) for n, at, word in drives] == wanted.drives
    if p.learning is not None:
        found = [
            (
                n,
                back,
                address,
                *signed(word, p.learning.vector_bits, LANES),
                *split(masks, 1, LANES),
            )
            for n, (forward, back, address, word, masks) in enumerate(counted)
            if forward or back
        ]
        assert found == wanted.counted
    return wanted


def test_sweeps_one_after_the_other() -> None:
    """Every kind, in one program."""
    wanted = check(program(list(SWEEPS.values())))
    spikes = np.array([row[3:] for row in wanted.fired])
    assert {-1, 0, 1} <= set(spikes.reshape(-1).tolist())
    assert wanted.drives


@pytest.mark.parametrize("name", SWEEPS)
def test_a_kind_of_sweep_alone(name: str) -> None:
    """With the first one of its layer: most numbers are then constants."""
    check(program([SWEEPS[name], replace(SWEEPS[name], first=1, start=3)]))


@pytest.mark.parametrize("name", COUNTING)
def test_counted_spikes_alone(name: str) -> None:
    """Again and again over the same potentials, with other biases, so that guards hold something;
    in between, from none."""
    several = [sweep(name, last_position=5, channels=n % 3) for n in (0, 1, 2, 1, 0, 2)]
    several.insert(4, sweep(name, first=1, start=3))
    wanted = check(program(several, again=True))
    one, spikes = NEURONS[name], np.array([row[3:] for row in wanted.fired])
    assert spikes.max() == one.limit
    assert (spikes.min() < 0) == one.signed


def test_counted_spikes_beside_others() -> None:
    """All kinds of neurons in one program."""
    check(program([*SWEEPS.values(), *map(sweep, COUNTING), *COUNTED_OUT]))


def currents(name: str) -> list[Sweep]:
    """Again and again over the same potentials, so that there is something in the other state; in
    between, from none."""
    several = [sweep(name, last_position=5, channels=n % 3) for n in (0, 1, 2, 1)]
    return [*several[:3], sweep(name, first=1, start=-7), *several[3:]]


@pytest.mark.parametrize("name", CURRENTS)
def test_synaptic_currents_alone(name: str) -> None:
    wanted = check(program(currents(name), again=True))
    spikes = np.array([row[3:] for row in wanted.fired])
    assert spikes.max() == NEURONS[name].limit


def test_synaptic_currents_beside_other_neurons() -> None:
    """Neurons without one are fired in the same registers, a cycle later than otherwise."""
    wanted = check(
        program([*currents("current"), *currents("current-soft"), sweep("soft")], again=True)
    )
    assert len(wanted.p.currents) == 2
    check(program([*SWEEPS.values(), *currents("current-counted"), sweep("guarded")]))


def test_synaptic_currents_of_several_parts() -> None:
    several = [parted("current", spread=1, channels=n, ragged=3, parts=9) for n in (0, 1, 2)]
    check(program(several, again=True, window=WINDOW))


def test_guards_without_a_memory() -> None:
    """Of one step: nothing was sent before, so nothing negative is."""
    one = sweep("guarded", has_drive=1, drive=3)
    wanted = check(program([one, replace(one, first=1)], kept=False))
    spikes = np.array([row[3:] for row in wanted.fired])
    assert (spikes.min(), spikes.max()) == (0, 3)


@pytest.mark.parametrize("name", ["drive", "thresholds", "first-drive", "silent"])
def test_without_a_memory_of_potentials(name: str) -> None:
    """Of one step: in its place is the start, whatever comes from a memory."""
    several = [SWEEPS[name], replace(SWEEPS[name], first=1, start=3)]
    several = [replace(op, start=n - 5) for n, op in enumerate(several)]
    wanted = check(program(several, kept=False))
    assert bool(wanted.fired) == (name in ("drive", "thresholds"))


def test_words_of_several_parts() -> None:
    """Each part has its row of biases and thresholds; what is not of the map is silent, and kept
    all the same."""
    wanted = check(program(list(PARTED.values()), window=WINDOW))
    p, spikes = wanted.p, np.array([row[3:] for row in wanted.fired])
    masked = [there(p, op, n) for op in p.operations for n in range(6) if isinstance(op, Sweep)]
    assert {int(mask.sum()) for mask in masked} == {0, 8, 16}
    assert {-1, 0, 1} <= set(spikes.reshape(-1).tolist())


@pytest.mark.parametrize("name", ["four-rows", "one-of-four", "first"])
def test_a_kind_of_sweep_of_several_parts_alone(name: str) -> None:
    check(program([PARTED[name]], window=WINDOW))


def test_counted_spikes_of_several_parts() -> None:
    """A guard counts what is fired, sent or not."""
    several = [parted("guarded", spread=1, channels=n, ragged=3, parts=9) for n in (0, 1, 2)]
    check(program(several, again=True, window=WINDOW))


COUNTED_OUT = (
    sweep("two", by_channel=1),
    sweep("five", by_channel=1, last_position=0, last_word=2),
)
"""With constants of each channel; a word after the other has others."""

COUNTED = {
    "forward": [
        sweep("off", counted=Counted.FORWARD),
        sweep("hard", counted=Counted.FORWARD),
        sweep("off", counted=Counted.FORWARD, first=1),
    ],
    "back": [
        sweep("off", counted=Counted.BACK),
        sweep("hard", counted=Counted.BACK),
        sweep("hard", counted=Counted.BACK, first=1),
    ],
    "both": [
        sweep("off", counted=Counted.FORWARD, first=1),
        sweep("off", counted=Counted.FORWARD),
        sweep("off", counted=Counted.FORWARD),
        sweep("hard"),
        sweep("off", counted=Counted.BACK),
        sweep("off", counted=Counted.BACK, first=1),
        sweep("hard", counted=Counted.BACK),
    ],
}


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize(("words", "base"), [(12, 0), (9, 2)], ids=["in the middle", "to the last"])
def test_counts_of_spikes(words: int, base: int, name: str) -> None:
    """N from none to a spike at every step; the mask stops what is sent, and nothing else. Nine
    words need an address of a bit more than eight."""
    stage = learning_stage(plan_learning(Masters.of(learning_network(np.random.default_rng(1))), 4))
    learning = stage.program.learning
    assert learning is not None
    p = replace(program(COUNTED[name]), learning=replace(learning, count_words=words))
    p = replace(
        p,
        operations=tuple(
            replace(op, counts=op.counts + base) if isinstance(op, Sweep) and op.counted else op
            for op in p.operations
        ),
    )
    forward = np.arange(words * LANES).reshape(words, LANES) % (learning.steps + 1)
    back = np.random.default_rng(2).integers(-3, 4, (words, LANES))
    wanted = check(p, (forward, back))
    masks = [row[3 + LANES :] for row in wanted.counted]
    assert {0, 1} == set(np.array(masks).reshape(-1).tolist()) or name == "forward"
