"""Small networks of maps in a line each, what their events reach, and runs of program cores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from amaranth.hdl import Value

from gen.core.law import CycleLaw
from gen.core.plan import CorePlan, plan_programs
from gen.program.cycles import operation_cycles, operation_plays, updates
from gen.program.stage import ProgramStagePlan
from hw.contract.builder import NetworkBuilder, random_constants
from hw.contract.edge import INPUT, EdgeSpec, Shape, most_stride
from hw.contract.layout import map_layout
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec, ReadoutSpec
from hw.core import Core
from hw.program.code import Operation, Scan, Send, Sweep
from hw.program.program import Program
from hw.program.stage import ProgramStage
from sim.golden.model import GoldenModel
from tests.graphs import NEURON, arrays, conv, dense, identity
from tests.hw.driving import FLOWING, Bench, Pace
from tests.hw.layer.cores import check_results
from tests.hw.vectors import random_vectors

__all__ = [
    "Part",
    "ProgramRun",
    "Registers",
    "conv",
    "dense",
    "identity",
    "leaky",
    "network",
    "part",
    "program_core",
    "random_graph",
    "random_pixels",
    "split",
    "walk",
]


WIDTHS = (4, 4, 4, 2, 8, 9, 12, 16)
"""Of the weights of random graphs."""

KERNELS = (1, 2, 3, 3, 4, 5, 7, 9, 11)
"""Sides of kernels of random graphs."""


@dataclass(frozen=True)
class Part:
    """A layer to be: its channels, or its shape; what it receives; its neurons."""

    size: int | Shape
    edges: tuple[EdgeSpec, ...]
    neuron: NeuronSpec = NEURON
    more: dict[str, Any] = field(default_factory=dict)


def part(size: int | Shape, *edges: EdgeSpec, neuron: NeuronSpec = NEURON, **more: Any) -> Part:
    return Part(size, edges, neuron, more)


def network(
    shape: Shape, *parts: Part, steps: int = 2, bits: int = 2, timed: bool = False, seed: int = 1
) -> Network:
    """Layers a, b, c ... with random integers, the last of them the readout. Where a layer has
    channels only, its first edge says how large its maps are. Constants of identities are not
    small, and wide weights reach both their ends."""
    b = NetworkBuilder(shape, name="small", input_bits=bits, steps=steps, timed_input=timed)
    names = [chr(ord("a") + n) for n in range(len(parts))]
    for name, made in zip(names, parts, strict=True):
        neuron = None if name == names[-1] else made.neuron
        b.layer(name, made.size, *made.edges, neuron=neuron, **made.more)
    spec = b.spec()
    weights, biases, thetas = arrays(spec, seed)
    rng = np.random.default_rng(seed)
    for made, kernels in zip(spec.layers, weights, strict=True):
        for k, edge in enumerate(made.edges):
            if edge.kind == "identity":
                kernels[k] = rng.integers(6, 16, 1) * rng.choice([-1, 1])
                most = made.largest(edge)
                kernels[k] = np.clip(kernels[k] * max(1, made.w_max // 7), -most, most)
            elif made.weight_bits > 4:
                kernels[k].flat[[0, -1]] = made.w_max, -made.w_max
    own: dict[str, Any] = random_constants(spec)
    return Network(spec, weights, biases, thetas=thetas, **own)


def random_graph(rng: np.random.Generator, neurons: Sequence[NeuronSpec]) -> Network:
    """A graph of one to three layers of neurons and a readout: edges of all kinds, also from the
    step before, from anywhere to anywhere."""
    count, names = int(rng.integers(1, 4)), [INPUT]
    shapes: dict[str, Shape] = {INPUT: _sides(rng, 6)}
    edges: list[list[EdgeSpec]] = []
    for n in range(count):
        source = names[-1] if rng.random() < 0.8 else INPUT
        names.append(chr(ord("a") + n))
        edge, shapes[names[-1]] = _random_edge(rng, source, shapes[source])
        edges.append([edge])
    for n, name in enumerate(names[1:]):
        for k, source in enumerate(names[1:]):
            if rng.random() < 0.3:
                delay = int(k >= n or rng.random() < 0.3)
                kinds = [dense(source, delay=delay)]
                if shapes[source] == shapes[name]:
                    kinds.append(identity(source, delay=delay))
                if shapes[source][1:] == shapes[name][1:]:
                    kinds.append(conv(source, 3, padding=1, delay=delay))
                edges[n].append(kinds[-1])
    parts = []
    for n, name in enumerate(names[1:]):
        neuron = neurons[int(rng.integers(len(neurons)))]
        made = part(
            shapes[name],
            *edges[n],
            neuron=neuron,
            weight_bits=int(rng.choice(WIDTHS)),
            channel_decays=neuron.many_factors,
            channel_thresholds=neuron.many_factors and neuron.reset == "soft",
        )
        parts.append(made)
    out = [dense(names[-1])] + [dense(INPUT)] * int(rng.integers(0, 2))
    return network(
        shapes[INPUT],
        *parts,
        part(int(rng.integers(1, 8)), *out, weight_bits=int(rng.choice(WIDTHS))),
        steps=int(rng.integers(1, 4)),
        bits=int(rng.integers(1, 4)),
        timed=bool(rng.random() < 0.3),
        seed=int(rng.integers(1000)),
    )


def leaky(image: Network, readout: ReadoutSpec | None) -> Network:
    """The same network, whose readout is this one."""
    spec = image.spec
    last = replace(spec.layers[-1], readout=readout)
    return replace(image, spec=replace(spec, layers=(*spec.layers[:-1], last)))


def _sides(rng: np.random.Generator, most: int) -> Shape:
    channels, rows, columns = rng.integers(1, most, 3).tolist()
    return channels, rows, columns


def _random_edge(rng: np.random.Generator, source: str, shape: Shape) -> tuple[EdgeSpec, Shape]:
    """An edge from maps of this shape, and a shape that it can make."""
    pool = _pair(rng, 1, [min(3, side) for side in shape[1:]])
    kind = str(rng.choice(["conv", "conv", "conv", "identity", "dense"]))
    if kind != "conv":
        edge = EdgeSpec(source=source, kind=kind, pool=pool)
        return edge, edge.pooled(shape) if kind == "identity" else _sides(rng, 4)
    high, wide = rng.choice(KERNELS, 2).tolist()
    kernel = (high, high) if rng.random() < 0.5 else (high, wide)
    pooled = [side // by for side, by in zip(shape[1:], pool, strict=True)]
    least = [max(0, -(-(k - side) // 2)) for k, side in zip(kernel, pooled, strict=True)]
    groups = int(rng.choice([g for g in range(1, shape[0] + 1) if shape[0] % g == 0]))
    edge = conv(
        source,
        kernel,
        pool=pool,
        groups=groups,
        stride=_pair(rng, 1, [min(3, most_stride(side)) for side in kernel]),
        padding=(int(rng.integers(least[0], high)), int(rng.integers(least[1], kernel[1]))),
    )
    return edge, edge.made(shape, groups * int(rng.integers(1, 4)))


def _pair(rng: np.random.Generator, low: int, most: Sequence[int]) -> tuple[int, int]:
    """Of rows and of columns: equal, or not."""
    rows, columns = (int(rng.integers(low, high + 1)) for high in most)
    return (min(rows, columns), min(rows, columns)) if rng.random() < 0.5 else (rows, columns)


def random_pixels(network: Network, count: int, seed: int = 3) -> np.ndarray:
    """Images of every density, or recordings: the first is empty, the second is full."""
    spec, rng = network.spec, np.random.default_rng(seed)
    return random_vectors(rng, count, spec.image_size, spec.input_bits, False).astype(np.uint8)


def walk(
    program: Program, scan: Scan, row: int, column: int, lane: int
) -> Iterator[tuple[int, int]]:
    """(word of potentials, row of weights) of each update that a spike becomes, in order: what the
    tables and the scan's numbers mean. `column` counts words."""
    down = program.rows[scan.row_table + row]
    position = (column << scan.position_bits) + (lane >> scan.channel_bits)
    across = program.columns[scan.column_table + position]
    channel = lane % (1 << scan.channel_bits)
    for group in range(scan.last_group + 1):
        for y in range(down.count):
            for x in range(across.count):
                potential = scan.potential + down.potential + across.potential
                weight = scan.weight + down.weight + across.weight + channel
                yield (
                    potential + group * scan.potential_group + y * scan.potential_row + x,
                    weight
                    + group * scan.weight_group
                    + y * scan.weight_row
                    + x * scan.weight_column,
                )


class Registers:
    """The scanner's registers, moved by hand, cycle by cycle; see its docstring. Whoever takes what
    is `shown` sets it to None.

    Parameters
    ----------
    words
        Of each word, its planes with something, in order: whatever stands for one.
    reads
        Words of a bank that each is made of.
    combines
        There are `raw` and `value`.

    Attributes
    ----------
    fetched, raw
        Number of a word, and whether this is the last that it is made of.
    value, word, shown
        Number of a word; planes that are left of it; a plane.
    """

    def __init__(self, words: Sequence[Sequence[Any]], reads: int, combines: bool) -> None:
        self._words, self._combines = words, combines
        self._ahead = [(n, k == reads - 1) for n in range(len(words)) for k in range(reads)]
        self.fetched: tuple[int, bool] | None = None
        self.raw: tuple[int, bool] | None = None
        self.value: int | None = None
        self.word: list[Any] | None = None
        self.shown: Any = None

    @property
    def busy(self) -> bool:
        """Something is there, or still to be read."""
        there = (self.fetched, self.raw, self.value, self.word, self.shown)
        return bool(self._ahead) or any(one is not None for one in there)

    def move(self) -> None:
        """A cycle. From the far end on: what moves makes room for what is behind it."""
        if self.word and self.shown is None:
            self.shown = self.word.pop(0)
        if not self._combines:
            if not self.word:
                self.word = None if self.fetched is None else [*self._words[self.fetched[0]]]
                self.fetched = None
        elif not self.word:  # none, an empty one, or its last plane has gone on
            self.word = None if self.value is None else [*self._words[self.value]]
            self.value = None
        if self._combines and self.value is None and self.raw is not None:
            (number, whole), self.raw = self.raw, None
            self.value = number if whole else None
        if self._combines and self.raw is None:
            self.raw, self.fetched = self.fetched, None
        if self.fetched is None and self._ahead:
            self.fetched = self._ahead.pop(0)


def split(raw: int, bits: int, count: int) -> list[int]:
    """A word's unsigned fields of equal width."""
    return [raw >> bits * k & (1 << bits) - 1 for k in range(count)]


def program_core(
    network: Network, lanes: int = 16, changes: Sequence[str] | None = None
) -> CorePlan:
    """A network as one program, that plays changes of these layers' spikes; None: of those that a
    plan chooses, of a picture's network all."""
    return plan_programs(network, lanes, (), changes)


class ProgramRun:
    """A core of programs, with taps, on some images: everything that it shows held
    against the golden model.

    seen: of each layer that fires, by name, spikes and potentials (n, T, neurons) of the hardware.
    trace: the golden model's. operations, updates: of each stage, the operation's number in each
    cycle, and whether it adds to a word.
    words: of each stage, (operation, spikes, potentials) of each word that was tapped.
    """

    def __init__(
        self, plan: CorePlan, pixels: np.ndarray, pace: Pace = FLOWING, **run: Any
    ) -> None:
        self.plan, self.pixels = plan, pixels
        self.stages = [stage for stage in plan.stages if isinstance(stage, ProgramStagePlan)]
        assert len(self.stages) == len(plan.stages)
        self.programs = [stage.program for stage in self.stages]
        parts = [stage.component(files=False, taps=True) for stage in self.stages]
        core = Core(parts, taps=True)
        bench = Bench(core, pace, limit=100_000)
        self.source = bench.feed(core.i, plan.pack(pixels))
        self.sink = bench.collect(core.o, len(pixels) * self.programs[-1].classes)
        taps = ("tap_operation", "tap_update", "tap_valid", "tap_spikes", "tap_potentials")
        seen = [bench.watch(*(Value.cast(getattr(part, tap)) for tap in taps)) for part in parts]
        bench.run(extra=30, **run)
        self.trace = GoldenModel(plan.network).run(pixels)
        self.operations = [[number for number, *_ in stage] for stage in seen]
        self.updates = [[update for _, update, *_ in stage] for stage in seen]
        self.words = [
            [(number, *word) for number, _, valid, *word in stage if valid] for stage in seen
        ]
        self.seen: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        check_results(self.plan, self.sink, self.trace)
        for n in range(len(self.programs)):
            self._check_words(n)
            self._check_updates(n)

    @property
    def lively(self) -> bool:
        """Every layer fires, and not always."""
        return all(0 < np.mean(spikes != 0) < 1 for spikes in self.trace.spikes)

    def _check_words(self, stage: int) -> None:
        """Every spike and every potential of a stage, in the order of the program; no spike where
        there is no neuron."""
        p, spec, words = self.programs[stage], self.plan.network.spec, self.words[stage]
        fires = [(n, op) for n, op in enumerate(p.operations) if isinstance(op, Sweep) and op.fires]
        order = [n for n, op in fires for _ in range(op.last_word + 1)]
        assert [number for number, _, _ in words] == order * len(self.pixels)
        if not fires:
            return
        width, bits = p.spike_planes + p.spike_sign, p.membrane_bits
        coded = np.array([split(word, width, p.lanes) for _, word, _ in words])
        size, side = coded & (1 << p.spike_planes) - 1, coded >> p.spike_planes
        spikes = size * (1 - 2 * side)
        raw = np.array([split(word, bits, p.lanes) for _, _, word in words], dtype=np.int64)
        potentials = raw - (raw >> (bits - 1) << bits)
        where = np.array([number for number, _, _ in words])
        for n in self.plan.stages[stage].layers:
            one = spec.layers[n]
            if one.neuron is None:
                continue
            layout = map_layout(spec, one.name, p.lanes)
            mine = np.isin(where, [number for number, op in fires if op.name == one.name])
            shape = (len(self.pixels), spec.steps, one.neurons)
            sent = spikes[mine].reshape(-1, layout.words, p.lanes)
            kept = layout.unpack(potentials[mine].reshape(sent.shape)).reshape(shape)
            self.seen[one.name] = layout.unpack(sent).reshape(shape), kept
            expected = self.trace.spikes[n].reshape(len(sent), -1)
            assert np.array_equal(sent, layout.pack(expected))
            assert np.array_equal(kept, self.trace.potentials[n])

    def _check_updates(self, stage: int) -> None:
        """Words that each operation adds to, of each image: as many as a plan counts."""
        count, both = len(self.programs[stage].operations), (self.operations, self.updates)
        found = [
            sum(update for _, update in same)
            for _, same in groupby(zip(*(part[stage] for part in both), strict=True), itemgetter(0))
        ]
        # What is over before cycle 0 (`settle`) are sweeps, which add nothing.
        found[:0] = [0] * self.operations[stage][0]
        for n, pixels in enumerate(self.pixels):
            spikes = [s[n] for s in self.trace.spikes]
            plays = [play for _, play in operation_plays(self.stages[stage], pixels, spikes)]
            expected = [0 if play is None else int(play.updates.sum()) for play in plays]
            assert found[n * count : (n + 1) * count - 1] == expected
            assert updates(self.stages[stage], pixels, spikes) == sum(expected)

    def check_law(self, lead: int = 0) -> None:
        """Images end when the law says; so does every operation that does not wait. `lead`: cycles
        between reset and the first word."""
        classes = self.programs[-1].classes
        ends = self.sink.taken[classes - 1 :: classes]
        law = CycleLaw(self.plan, lead)
        assert ends == law.predict(self.pixels, self.trace.spikes).tolist()
        for stage in range(0 if lead else len(self.programs)):
            self._check_operations(stage)

    def _check_operations(self, stage: int) -> None:
        """Cycles of all operations but the last, and but the first that waits for an image."""
        spent = [len(list(same)) for _, same in groupby(self.operations[stage])]
        operations = self.programs[stage].operations
        for n in range(len(self.pixels)):
            costs = operation_cycles(
                self.stages[stage], self.pixels[n], [s[n] for s in self.trace.spikes]
            )
            own = ProgramStage.FETCH_CYCLES + 1  # fetched before, and seen to have ended
            expected = [cycles + own for cycles in costs]
            waiting = _waiting(operations)
            found = spent[n * len(operations) : (n + 1) * len(operations) - 1]
            assert found[waiting] >= expected[waiting]
            found[waiting] = expected[waiting]
            assert found == expected


def _waiting(operations: Sequence[Operation]) -> int:
    """The first scan of an image."""
    assert isinstance(operations[-1], Send)
    return next(n for n, op in enumerate(operations) if isinstance(op, Scan) and op.from_input)
