"""From a network to a program core's program: tables, memory map, words of operations, refusals."""

from dataclasses import fields, replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.core.plan import PlanError, plan_core, plan_network
from gen.program.cycles import plays
from gen.program.fanout import edge_tables
from gen.program.memory_map import MemoryMap, Region, allocate
from gen.program.stage import ProgramStagePlan, plan_program
from gen.program.writer import segments
from hw.contract.checks import signed_bits
from hw.contract.edge import INPUT, EdgeSpec
from hw.contract.layout import MapLayout, map_layout
from hw.contract.network import Network
from hw.contract.neuron import Decay
from hw.neuron.decay import adder_bits
from hw.program.code import NOTES, Code, Operation, Played, Scan, Send, Sweep
from hw.program.program import Program
from hw.program.table import Table
from sim.golden.edges import receive
from sim.golden.model import GoldenModel
from tests.graphs import NEURON, network_of, residual
from tests.hw.program.cases import CURRENTS
from tests.hw.program.programs import (
    conv,
    dense,
    identity,
    network,
    part,
    random_graph,
    random_pixels,
    walk,
)
from tests.networks import edges, random_chain

# Tables


@st.composite
def placed_edges(draw):
    """(edge, source and target as they lie in words); dense edges into maps too, images of several
    positions to a word."""
    edge, source, target = draw(edges())
    lanes = draw(st.sampled_from([2, 4, 8]))
    if edge.kind == "dense" and draw(st.booleans()):
        target = (draw(st.integers(1, 9)), draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    most = max(1, lanes >> (source[0] - 1).bit_length())
    positions = draw(st.sampled_from([1, most])) if edge.kind != "identity" else 1
    return edge, MapLayout(source, lanes, positions), MapLayout(target, lanes)


def tables_program(made, kernel) -> tuple[Program, Scan]:
    """A program of an edge alone: as much of one as `walk` reads."""
    edge, source, target = made
    tables = edge_tables(edge, source, target, kernel)
    base = plan_program(network((1, 1, 1), part(1, dense("input"))), 2).program
    found: dict[str, Any] = dict(tables.numbers)
    scan = Scan(
        last_row=source.groups * source.shape[1] - 1,
        last_column=source.columns - 1,
        channel_bits=source.channel_bits,
        position_bits=(source.positions - 1).bit_length(),
        **found,
    )
    p = replace(
        base, rows=tuple(tables.rows), columns=tuple(tables.columns), weights=tables.weights
    )
    return p, scan


@settings(max_examples=120)
@given(placed_edges(), st.integers(0, 2**32 - 1))
def test_tables_reach_what_a_spike_reaches(made, seed: int) -> None:
    """Brute force: every value of the source by itself, through `sim.golden.edges`; what arrives
    where,
    and nothing anywhere else, nor on lanes without a channel."""
    edge, source, target = made
    rng = np.random.default_rng(seed)
    kernel = rng.integers(1, 8, edge.weight_shape(source.shape, target.shape, "b"))
    kernel = kernel * rng.choice([-1, 1], kernel.shape)
    p, scan = tables_program(made, kernel)
    assert len(p.rows) == scan.last_row + 1
    assert len(p.columns) == (scan.last_column + 1) * source.positions
    every = np.eye(int(np.prod(source.shape)), dtype=np.int64)
    arrived = receive(every.reshape(-1, *source.shape), edge, kernel.astype(np.float64))
    expected = target.pack(arrived.reshape(len(every), -1).astype(np.int64))
    for word, lane, wanted in zip(*source.places(), expected, strict=True):
        row, column = divmod(int(word), source.columns)
        found, updates = np.zeros_like(wanted), []
        for potential, weight in walk(p, scan, row, column, int(lane)):
            updates.append(potential)
            if scan.identity:
                found[potential, lane] += scan.constant
            else:
                found[potential] += p.weights[weight]
        assert np.array_equal(found, wanted)
        assert len(set(updates)) == len(updates)
        reached = set(np.flatnonzero(wanted.any(axis=1)).tolist())
        assert reached <= set(updates)
        if edge.groups == 1:  # else groups of target channels are passed that are not meant
            assert reached == set(updates)


def test_positions_beyond_a_packed_row_reach_nothing() -> None:
    """Rows of 5 pixels in words of 4: three positions of the second word are no pixels."""
    edge, source = conv("input", 3, padding=1), MapLayout((1, 2, 5), 4, 4)
    tables = edge_tables(edge, source, MapLayout((2, 2, 5), 4), np.ones((2, 1, 3, 3), int))
    assert [reach.count for reach in tables.columns] == [2, 3, 3, 3, 2, 0, 0, 0]
    assert [reach.count for reach in tables.rows] == [2, 2]


def test_a_convolution_by_hand() -> None:
    """A kernel of 3, stride 2, one zero around: of five columns, the even ones meet one output
    column in the kernel's middle, the odd ones two, the first of them at the kernel's end."""
    edge, source, target = conv("a", 3, stride=2, padding=1), MapLayout((1, 1, 5), 2), (1, 1, 3)
    tables = edge_tables(edge, source, MapLayout(target, 2), np.arange(1, 10).reshape(1, 1, 3, 3))
    assert [(r.count, r.potential, r.weight) for r in tables.columns] == [
        (1, 0, 1),
        (2, 0, 2),
        (1, 1, 1),
        (2, 1, 2),
        (1, 2, 1),
    ]
    assert tables.weights[:, 0].tolist() == list(range(1, 10))
    assert tables.numbers["weight_column"] == -2


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 16]))
def test_plans_count_updates_as_the_tables_do(seed: int, lanes: int) -> None:
    """`plays` is the walk of every event; equal tables lie there once."""
    rng = np.random.default_rng(seed)
    network = random_graph(rng, [NEURON])
    plan = plan_program(network, lanes, changes=random_changes(network, rng))
    p, spec = plan.program, plan.network.spec
    scans = {op.name + op.source: op for op in p.operations if isinstance(op, Scan)}
    for scan in scans.values():
        layout = map_layout(spec, scan.source, lanes)
        top = (2 << scan.last_plane) - 1
        values = rng.integers(-top, top + 1, (1, int(np.prod(layout.shape))))
        packed = layout.pack(values)[0]
        play = plays(plan.program, scan, packed)
        counts, slots = [], []
        for slot, (word, plane) in enumerate(np.ndindex(len(packed), scan.last_plane + 1)):
            lit = np.flatnonzero(np.abs(packed[word]) >> plane & 1)
            row, column = divmod(word, scan.last_column + 1)
            for lane in lit[:1] if scan.identity else lit:
                counts.append(len(list(walk(p, scan, row, column, int(lane)))))
                slots.append(slot)
        assert (play.updates.tolist(), play.slot.tolist()) == (counts, slots)
        assert (play.words, play.reads) == (len(packed), scan.last_gather + 1)
        assert play.planes == scan.last_plane + 1


# Maps in words


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 9)),
    st.sampled_from([2, 4, 16]),
    st.booleans(),
)
def test_maps_are_packed_and_unpacked(shape, lanes: int, several: bool) -> None:
    most = max(1, lanes >> (shape[0] - 1).bit_length())
    layout = MapLayout(shape, lanes, most if several else 1)
    values = np.arange(1, 2 * np.prod(shape) + 1).reshape(2, -1)
    packed = layout.pack(values)
    assert packed.shape == (2, layout.words, lanes)
    assert np.count_nonzero(packed) == values.size  # every value, each in a place of its own
    assert np.array_equal(layout.unpack(packed), values)
    # The rows of a group of channels one after the other, a row's words side by side.
    words, lane_of = (part.reshape(shape) for part in layout.places())
    assert words.max() == layout.words - 1
    assert (np.diff(words, axis=1) == layout.columns).all()
    positions = layout.positions
    assert (np.diff(words, axis=2) == (np.arange(1, shape[2]) % positions == 0)).all()
    assert (lane_of // (lanes // positions) == np.arange(shape[2]) % positions).all()


def test_the_layout_of_an_image() -> None:
    """As many positions to a word as there is room for; one, where an identity reads the image."""
    for shape, lanes, positions, words in (
        ((1, 3, 5), 8, 8, 3),
        ((2, 3, 5), 8, 4, 6),
        ((3, 3, 5), 8, 2, 9),
        ((3, 3, 5), 16, 4, 6),
        ((5, 3, 5), 8, 1, 15),
        ((9, 3, 5), 8, 1, 30),
        ((3, 3, 5), 2, 1, 30),
    ):
        spec = network(shape, part(2, conv("input", 1)), part(1, dense("a"))).spec
        layout = map_layout(spec, "input", lanes)
        assert (layout.positions, layout.words) == (positions, words)
    same = network((3, 3, 5), part(3, identity("input")), part(1, dense("a"))).spec
    assert map_layout(same, "input", 16).positions == 1
    assert map_layout(same, "a", 16).positions == 1


@pytest.mark.parametrize("timed", [False, True])
def test_words_of_the_input(timed: bool) -> None:
    """Pixels of 3 bits, lane 0 lowest; a recording is its images one after the other."""
    image = network((3, 2, 3), part(2, conv("input", 1)), part(1, dense("a")), bits=3, timed=timed)
    plan = plan_program(image, 8)
    pixels = random_pixels(image, 3)
    expected = []
    for one in pixels.reshape(-1, 3, 2, 3):
        for y in range(2):
            for start in (0, 2):  # two positions of four lanes in a word
                word = 0
                for x in range(start, min(start + 2, 3)):
                    for c in range(3):
                        word |= int(one[c, y, x]) << 3 * (4 * (x - start) + c)
                expected.append(word)
    assert plan.pack(pixels) == expected
    assert plan.program.input_words * len(pixels) == len(expected)


# Memory


def clashes(regions: list[Region]) -> list[tuple[str, str]]:
    """Pairs that have words in common at a time when both are needed."""
    return [
        (a.name, b.name)
        for a, b in combinations(regions, 2)
        if a.first <= b.last and b.first <= a.last and a.start < b.stop and b.start < a.stop
    ]


regions = st.builds(
    lambda name, words, first, length: Region(str(name), words, first, first + length),
    st.integers(),
    st.integers(1, 20),
    st.integers(0, 6),
    st.integers(0, 3),
)


several = st.lists(regions, max_size=12)


@given(several, several, several)
def test_nothing_that_is_needed_is_overwritten(
    potentials: list, drives: list, spikes: list
) -> None:
    memory = allocate(potentials, drives, spikes)
    sizes = memory.potential_words, memory.drive_words, memory.spike_words
    for placed, given_regions, size in zip(
        (memory.potentials, memory.drives, memory.spikes),
        (potentials, drives, spikes),
        sizes,
        strict=True,
    ):
        assert [(r.name, r.words) for r in placed] == [(r.name, r.words) for r in given_regions]
        assert not clashes(placed)
        assert all(region.start >= 0 for region in placed)
        assert size == max([0, *(region.stop for region in placed)])


def test_words_are_used_again() -> None:
    """What is over makes room: the lowest words that are free all the time."""
    memory = allocate(
        [Region("a", 5, 0, 0), Region("b", 3, 0, 1), Region("c", 4, 1, 1), Region("d", 6, 1, 2)],
        [Region("b", 2, 0, 1), Region("d", 4, 1, 2)],
        [Region("a", 7, 0, 1)],
    )
    assert [region.start for region in memory.potentials] == [0, 5, 0, 8]
    assert (memory.potential("d"), memory.potential_words) == (8, 14)
    assert (memory.drive("b"), memory.drive("d"), memory.drive_words) == (0, 2, 6)
    assert (memory.spike("a"), memory.spike_words) == (0, 7)
    assert memory.to_dict()["spikes"] == [
        {"name": "a", "words": 7, "first": 0, "last": 1, "start": 0}
    ]
    assert [*memory.to_dict()] == ["potentials", "drives", "spikes"]
    assert MemoryMap([Region("a", 5, 0, 0)]).spike_words == 0


def needs(plan: ProgramStagePlan) -> None:
    """No operation touches words of potentials and drives but its own layer's, and what is added to
    or swept has been begun."""
    owner: dict[tuple[str, int], tuple[str, int]] = {}
    p, spec = plan.program, plan.network.spec
    for n, op in enumerate(p.operations):
        places: list[tuple[str, int]] = []
        if isinstance(op, Scan):
            places = [("drive" if op.drive else "potential", op.potential)]
        elif isinstance(op, Sweep):
            places = [("drive", op.drive)] if op.has_drive else []
            places += [("potential", op.potential)] if p.potential_words and op.up else []
        for memory, start in places:
            for word in range(start, start + map_layout(spec, op.name, p.lanes).words):
                assert word < (p.drive_words if memory == "drive" else p.potential_words)
                if isinstance(op, Sweep) and op.first:
                    owner[memory, word] = (op.name, start)
                assert owner[memory, word] == (op.name, start), f"operation {n}"


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_keeps_what_it_needs(seed: int) -> None:
    """Regions do not clash; every word that is read is that of the step that is meant, of either
    bank; sweeps find their own layer's potentials and drives."""
    rng = np.random.default_rng(seed)
    network = random_graph(rng, [NEURON])
    changes = random_changes(network, rng)
    plan = plan_program(network, int(2 ** rng.integers(1, 5)), changes=changes)
    p, steps_of = plan.program, dict[str, int]()
    assert not clashes(plan.memory_map.potentials)
    assert not clashes(plan.memory_map.drives)
    assert not clashes(plan.memory_map.spikes)
    needs(plan)
    holds: dict[tuple[int, int], tuple[str, int, int]] = {}
    if plan.network.spec.timed_input:
        for step in range(plan.network.spec.steps):
            for n in range(p.vector_words):
                holds[2, step * p.vector_words + n] = (INPUT, step, n)
    for op in p.operations:
        if isinstance(op, Sweep) and op.fires:
            step = steps_of[op.name] = steps_of.get(op.name, -1) + 1
            for n in range(op.last_word + 1):
                holds[op.odd, op.spikes + n] = (op.name, step, n)
        elif isinstance(op, Scan) and (not op.from_input or plan.network.spec.timed_input):
            words = (op.last_row + 1) * (op.last_column + 1)
            for n in range(words):
                found = sorted(read(op, n, holds))
                last = op.source, op.when, n
                if op.played == Played.SUM:
                    assert found == [((op.source, step, n), 1) for step in range(op.when + 1)]
                elif op.played == Played.CHANGES:
                    assert op.source in changes
                    assert found == [((op.source, op.when - 1, n), -1), (last, 1)]
                else:
                    assert op.when == 0 or op.source not in changes
                    assert found == [(last, 1)]
    assert max([0, *(word + 1 for bank, word in holds if bank < 2)]) <= p.spike_words
    assert plan.memory_map.potential_words == p.potential_words
    assert plan.memory_map.drive_words == p.drive_words


def read(op: Scan, n: int, holds: dict) -> list[tuple[tuple[str, int, int], int]]:
    """What word n is made of, with signs."""
    found = []
    for k in range(op.last_gather + 1):
        if op.even:
            found.append((2 * op.from_input, op.address + n + k * op.gather_words, op.even))
        if op.odd and not (op.leave and k == op.last_gather):
            assert not op.from_input  # of one bank
            found.append((1, op.odd_address + n + k * op.gather_words, op.odd))
    return [(holds[bank, address], sign) for bank, address, sign in found]


def random_changes(network: Network, rng: np.random.Generator) -> list[str]:
    """Some of the layers."""
    return [layer.name for layer in network.spec.layers[:-1] if rng.random() < 0.5]


def test_segments() -> None:
    """Layers pass their steps alone, but for what a delayed edge comes back to."""

    def of(*edges_of_layers: tuple[EdgeSpec, ...]) -> list[range]:
        parts = [part(2, *several) for several in edges_of_layers]
        return segments(network((2, 1, 1), *parts).spec)

    def back(source: str) -> EdgeSpec:
        return dense(source, delay=1)

    chain = (dense("input"),), (dense("a"),), (dense("b"),), (dense("c"),), (dense("d"),)
    assert of(*chain) == [range(n, n + 1) for n in range(5)]
    by_itself = ((dense("input"), back("a")), *chain[1:])
    assert of(*by_itself) == [range(n, n + 1) for n in range(5)]
    later_from_before = (*chain[:2], (dense("b"), back("a")), *chain[3:])
    assert of(*later_from_before) == [range(n, n + 1) for n in range(5)]
    feedback = (chain[0], (dense("a"), back("c")), *chain[2:])
    assert of(*feedback) == [range(1), range(1, 3), range(3, 4), range(4, 5)]
    chained = ((dense("input"), back("b")), (dense("a"), back("d")), *chain[2:])
    assert of(*chained) == [range(4), range(4, 5)]
    two = ((dense("input"), back("b")), chain[1], (dense("b"), back("d")), *chain[3:])
    assert of(*two) == [range(2), range(2, 4), range(4, 5)]


def test_order_of_a_segment() -> None:
    """Without feedback all steps of a layer come before the next layer; with it, all layers of a
    step before the next step."""
    alone = network((2, 1, 1), part(2, dense("input")), part(3, dense("a")), part(2, dense("b")))
    together = network(
        (2, 1, 1),
        part(2, dense("input"), dense("b", delay=1)),
        part(3, dense("a")),
        part(2, dense("b")),
    )
    orders = [
        "".join(
            op.name
            for op in plan_program(image, 2).program.operations
            if isinstance(op, Sweep) and op.fires
        )
        for image in (alone, together)
    ]
    assert orders == ["aabb", "abab"]


def test_the_image_is_let_go_of_by_its_last_scan() -> None:
    image = network(
        (2, 2, 2),
        part(2, conv("input", 1)),
        part(3, dense("a"), dense("input")),
        part(2, dense("b"), dense("input"), dense("a")),
    )
    for timed in (False, True):
        plan = plan_program(timed_as(image, timed), 4)
        scans = [op for op in plan.program.operations if isinstance(op, Scan) and op.from_input]
        assert [op.release for op in scans] == [0] * (len(scans) - 1) + [1]
        assert len(scans) == (2 + 2 + 1 if timed else 3)  # the readout's is one for all steps


def timed_as(network, timed: bool):
    """The same network for recordings, or not."""
    spec = replace(network.spec, timed_input=timed)
    return replace(network, spec=spec)


# Words of operations


numbers = st.integers(0, 5) | st.integers(0, 1 << 20)
signed_numbers = st.integers(-9, 9) | st.integers(-(1 << 20), 1 << 20)
SIGNED = ("constant", "start", "weight_column", "weight_row")


def operations_of(kind: type) -> st.SearchStrategy:
    names = [f.name for f in fields(kind) if f.name not in NOTES[kind.__name__]]
    return st.builds(kind, **{n: signed_numbers if n in SIGNED else numbers for n in names})


@given(
    st.lists(operations_of(Scan) | operations_of(Sweep) | operations_of(Send), max_size=6),
    st.booleans(),
)
def test_operations_are_found_again_in_their_words(made: list[Operation], twice: bool) -> None:
    """Every number of every operation, by its place and sign; numbers that never change take no
    bits, so that a program that repeats an operation has words of the kind alone."""
    code = Code(made * 2 if twice else made)
    assert len(code.words) == len(made) * (1 + twice)
    for op, word in zip(made, code.words, strict=False):
        assert word < 1 << code.bits
        kind = type(op)
        assert word & (1 << Code.KIND_BITS) - 1 == Code.number(kind)
        for name, place in code.fields(kind).items():
            value = word >> place.start & (1 << place.bits) - 1
            if place.is_signed and place.bits and value >> (place.bits - 1):
                value -= 1 << place.bits
            assert (value if place.bits else place.value) == getattr(op, name)
        used = sorted(
            (place.start, place.start + place.bits) for place in code.fields(kind).values()
        )
        assert all(a[1] <= b[0] for a, b in pairwise(used))
    for kind in {type(op) for op in made}:
        if (
            len(
                {
                    tuple(
                        getattr(op, f.name)
                        for f in fields(kind)
                        if f.name not in NOTES[kind.__name__]
                    )
                    for op in made
                    if type(op) is kind
                }
            )
            == 1
        ):
            assert all(place.bits == 0 for place in code.fields(kind).values())


@given(st.lists(st.lists(st.integers(-1000, 1000), min_size=3, max_size=3), min_size=1))
def test_tables_are_found_again_in_their_words(rows: list[list[int]]) -> None:
    table = Table.of(np.array(rows))
    mask = (1 << table.bits) - 1
    found = [
        [
            ((w >> k * table.bits & mask) ^ 1 << table.bits - 1) - (1 << table.bits - 1)
            for k in range(3)
        ]
        for w in table.words
    ]
    assert found == rows
    assert table.width == 3 * table.bits
    largest = max(max(map(abs, row)) for row in rows)
    assert table.bits == max(largest, 1).bit_length() + 1


# Refusals


@pytest.mark.parametrize("lanes", [0, 1, 3, 24, 256])
def test_unknown_lanes_are_refused(lanes: int) -> None:
    with pytest.raises(PlanError) as refused:
        plan_program(network_of(residual()), lanes)
    assert str(refused.value) == (
        f"Lanes of a program core must be one of (2, 4, 8, 16, 32, 64, 128), not {lanes}"
    )


def test_schedules() -> None:
    """What a network gets by itself, and what is refused."""
    maps = network_of(residual())
    assert plan_network(maps).schedule == "shared"
    assert plan_network(maps, 4).lanes == 4
    assert plan_network(maps, schedule="pipelined").schedule == "pipelined"
    chain = random_chain(
        np.random.default_rng(1), (5, 4, 3), steps=2, input_bits=2, neurons=[NEURON]
    )
    assert plan_network(chain).schedule == "pipelined"
    assert plan_network(chain, schedule="shared").schedule == "shared"
    with pytest.raises(PlanError) as refused:
        plan_network(maps, schedule="systolic")
    assert str(refused.value) == (
        "Schedule must be one of ('auto', 'pipelined', 'shared', 'mixed', 'windows'), not "
        "'systolic'"
    )
    with pytest.raises(PlanError) as refused:
        plan_network(maps, banks=2)
    assert str(refused.value) == ("A program has 1 bank: network residual cannot have 2")
    with pytest.raises(PlanError) as refused:
        plan_core(maps)
    assert str(refused.value).startswith("Network residual must be a chain of dense layers for ")


# Known faults


def test_a_readout_of_maps_is_refused_or_right() -> None:
    """The readout takes words for groups of classes; maps of more than one position lie
    otherwise. (Their logits would be wrong, silently.)"""
    image = network((1, 2, 2), part((2, 2, 2), dense("input")), steps=1)
    with pytest.raises(PlanError):
        plan_program(image, 4)


def test_a_network_that_does_not_look_at_its_image() -> None:
    """Only odd people have one; but the refusal should be a sentence."""
    spec = network((2, 1, 1), part(2, dense("input")), part(2, dense("a"))).spec
    own = replace(spec.layers[0], edges=(dense("a", delay=1),))
    image = network_of(replace(spec, layers=(own, *spec.layers[1:])))
    GoldenModel(image).run(random_pixels(image, 2))
    with pytest.raises(PlanError, match="must have an edge from its input"):
        plan_program(image, 4)


def test_currents_are_counted_in_memories_and_sizes() -> None:
    """A word of potentials has currents, as wide as they can be; a memory beside it has what is
    left of the potentials."""
    neuron = CURRENTS["current"]
    parts = part(5, conv("input", 3)), part(4, dense("a"), neuron=neuron), part(2, dense("b"))
    image = network((1, 4, 4), *parts, steps=4)
    plan = plan_program(image, 4, changes=())
    p, memories = plan.program, plan.memories()
    assert p.currents == (neuron.current_law,)
    assert p.potential_bits == signed_bits(image.layers[1].current_bound)
    assert (memories["second states"].bits, memories["second states"].rows) == (
        4 * neuron.potential_bits,
        memories["potentials"].rows,
    )
    assert {*p.decays} == {Decay(), neuron.decay_law}
    sums = adder_bits((*p.decays, *p.currents), p.membrane_bits)
    sums += 2 * p.membrane_bits + neuron.potential_bits
    assert sums > 10 * p.membrane_bits  # five additions for each of two factors
    assert (plan.sizes()["decay"], plan.sizes()["adders"]) == (4 * p.membrane_bits, 4 * sums)
    one = plan_program(replace(image, spec=replace(image.spec, steps=1)), 4)
    assert (one.program.currents, "second states" in one.memories()) == ((), False)


def test_additions_of_decays() -> None:
    """A factor by channel has as many additions as bits of its fraction, and layers share them."""
    laws = (
        Decay(),
        Decay("leak", 3),
        Decay("factor", 2, 3),
        Decay("factor", 12),
        Decay("factor", 4),
    )
    assert adder_bits(laws[:2], 10) == 0
    assert adder_bits(laws[:3], 10) == 12
    assert adder_bits(laws, 10) == 12 + 12 * 22
