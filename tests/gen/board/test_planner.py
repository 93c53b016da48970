"""gen.board.planner, gen.board.estimate: what fits, what is fastest, and how near the estimates
are."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gen.board.boards import BOARDS, find_board
from gen.board.calibrate import DESIGNS, LEARNING, beside, design, fit, learning_weights, unfitted
from gen.board.estimate import UNFITTED, WEIGHTS, estimate, features
from gen.board.planner import (
    FLASH_ADDRESS,
    board_spec,
    default_hz,
    fitting_plans,
    place_core,
    plan_board,
    plan_learning_board,
)
from gen.core.plan import PlanError, plan_core, plan_network
from gen.family.pll import PllError
from gen.family.registry import FAMILIES
from gen.layer.stage import LayerStagePlan
from hw.contract.builder import random_network
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from sw.data.dataset import load_split
from sw.data.evaluate import mean_cycles
from sw.data.shipped import model_path
from sw.spide.start import beginning
from tests.graphs import conv
from tests.graphs import dense as edge
from tests.hw.program.programs import network as maps
from tests.hw.program.programs import part
from tests.networks import chain, network_of_ones


def load(name: str) -> Network:
    return Network.load(model_path(name))


def dense(*sizes: int, weight_bits: int = 4) -> Network:
    neuron = NeuronSpec(theta=100, potential_bits=10)
    spec = chain(sizes, neuron, name="big", input_bits=4, steps=4, weight_bits=weight_bits)
    return network_of_ones(spec)


@pytest.mark.parametrize("name", BOARDS)
def test_each_board_holds_its_own_network(name: str) -> None:
    board = find_board(name)
    plan = plan_board(board, load(board.model))
    assert not plan.estimate.over(board.family.full)
    assert plan.core.loaded == (name == "icebreaker")
    assert plan.spec.clock_hz == board.clock_hz(plan.core.banks)


def test_shipped_layouts() -> None:
    """128 lanes on the ULX3S; the same network in single-port RAM on the iCEBreaker."""
    mnist, board = load("mnist-dense"), find_board("ulx3s_85f")
    ulx3s = plan_board(board, mnist)
    assert (ulx3s.core.lanes, ulx3s.core.banks) == (128, 8)
    assert ulx3s.spec.clock_hz == board.clock_hz(8) < board.clock_hz(1)
    quick = plan_board(board, mnist, megahertz=100)
    assert (quick.core.lanes, quick.core.banks) == (128, 1)  # as many banks as reach that clock
    assert quick.seconds > ulx3s.seconds
    icebreaker = plan_board(find_board("icebreaker"), mnist)
    assert icebreaker.core.memories == ("spram", "ram")
    assert (icebreaker.core.lanes, icebreaker.core.banks) == (12, 1)
    assert icebreaker.spec.flash_address == 0x20000


def test_maps_get_shared_cores() -> None:
    """One core, a pipeline of them or windows, whichever fits and is faster; what is given is
    kept."""
    board = find_board("ulx3s_85f")
    chosen = plan_board(board, load("mnist-conv"))
    one = plan_board(board, load("mnist-conv"), schedule="shared")
    few = plan_board(board, load("mnist-conv"), schedule="shared", lanes=8)
    assert (chosen.core.schedule, chosen.core.lanes) == ("windows", 32)
    assert chosen.spec.clock_hz == board.window_clock
    assert one.spec.clock_hz == board.shared_clock
    assert (one.core.schedule, few.core.lanes, few.core.banks) == ("shared", 8, 1)
    assert chosen.seconds <= one.seconds < few.seconds
    dense = plan_board(board, load("digits-dense"), schedule="shared", lanes=16)
    assert dense.core.schedule == "shared"
    small = plan_board(find_board("tang_nano_9k"), load("digits-conv"))
    assert small.core.lanes == 8


def test_a_chain_with_constants_by_channel_gets_either_kind_of_stage() -> None:
    """Layers of its own where they are faster; a program where one is asked for."""
    plain = dense(8, 16, 4).spec
    cell = plain.layers[0].neuron
    assert cell is not None
    many = replace(cell, decay="factor", decay_shift=12)
    own = replace(plain.layers[0], neuron=many, channel_thresholds=True, channel_decays=True)
    network = random_network(replace(plain, layers=(own, plain.layers[1])))
    board = find_board("ulx3s_85f")
    chosen, one = (plan_board(board, network, schedule=how) for how in ("auto", "shared"))
    assert (chosen.core.schedule, one.core.schedule) == ("pipelined", "shared")
    assert chosen.seconds < one.seconds
    common = plan_core(dense(8, 16, 4), chosen.core.lanes, chosen.core.banks)
    # The additions of each lane are counted.
    assert place_core(board, common).estimate.luts < chosen.estimate.luts - 16 * 12 * 8
    schedules = [plan.core.schedule for plan in fitting_plans(board, network)]
    assert set(schedules) == {"pipelined", "shared"}
    assert {plan.core.schedule for plan in fitting_plans(board, dense(8, 4))} == {"pipelined"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lanes": 64, "schedule": "shared"}, r"alone need \d+, all weights \d+, potentials \d+\)"),
        ({"lanes": 12}, r"Lanes of a program core on a board must be one of \(8, .*, not 12"),
        ({"banks": 2, "schedule": "shared"}, "A program has 1 bank"),
        ({"schedule": "fast"}, "Schedule must be one of .*, not 'fast'"),
    ],
)
def test_shared_cores_that_cannot_be(options: dict, sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        plan_board(find_board("tang_nano_9k"), load("mnist-conv"), **options)


def test_what_is_given_is_kept() -> None:
    plan = plan_board(find_board("ulx3s_85f"), load("digits-dense"), lanes=8, banks=2, megahertz=50)
    assert (plan.core.lanes, plan.core.banks, plan.spec.clock_hz) == (8, 2, 50_000_000)


def test_more_room_is_never_slower() -> None:
    board = find_board("tang_nano_9k")
    chip = replace(board.chip, luts=2 * board.luts, brams=2 * board.brams)
    larger = replace(board, chip=chip)
    network = load("digits-dense")
    assert plan_board(larger, network).cycles <= plan_board(board, network).cycles


def test_a_layout_too_large_is_told_that_another_fits() -> None:
    with pytest.raises(PlanError, match="with lanes and banks of the planner's choice it fits"):
        plan_board(find_board("tang_nano_9k"), load("digits-dense"), lanes=43, banks=4)
    with pytest.raises(
        PlanError, match=r"1431 block RAMs of 26 .*; with fewer images on the chip it fits"
    ):
        plan_board(find_board("tang_nano_9k"), load("digits-dense"), test_images=100_000)
    with pytest.raises(PllError):
        plan_board(find_board("tang_nano_9k"), load("digits-dense"), megahertz=0)


def test_a_network_too_large_is_told_where_it_would_fit() -> None:
    for board, network, words in [
        ("tang_nano_9k", load("mnist-dense"), "the smallest listed board that holds it is"),
        ("icebreaker", dense(4000, 4000, 10, weight_bits=8), "no listed board holds it"),
    ]:
        with pytest.raises(PlanError) as refused:
            plan_board(find_board(board), network)
        sentence = str(refused.value)
        assert sentence.startswith(f"Network {network.spec.name} does not fit {board}: with ")
        assert " block RAMs of " in sentence or " look-up tables of " in sentence
        assert words in sentence


def test_memories_of_wide_weights_are_as_synthesis_made_them() -> None:
    """Block RAMs and single-port RAMs of weights of 16 bits, as Yosys 0.70 and nextpnr's packer
    found them."""
    neuron = NeuronSpec(theta=30_000, potential_bits=18)
    spec = chain((64, 128, 10), neuron, input_bits=4, steps=4, weight_bits=16)
    rows = random_network(spec, 1)
    square = maps(
        (4, 8, 8),
        part(16, conv("input", 3, padding=1), neuron=neuron, weight_bits=16),
        part(32, conv("a", 3, padding=1, pool=2), neuron=neuron, weight_bits=16),
        part(10, edge("b"), weight_bits=16),
        steps=4,
    )
    lean = find_board("icebreaker").family
    for board, core, found in (
        ("ulx3s_85f", plan_core(rows, 32, 1), (23, 0)),
        (
            "icebreaker",
            plan_core(rows, 8, 1, ["spram", "ram"], lean=True, fire_lanes=lean.fire_lanes),
            (14, 8),
        ),
        ("ulx3s_85f", plan_network(square, 8, schedule="shared"), (33, 0)),
    ):
        on = find_board(board)
        spec = board_spec(on, default_hz(on, core), loaded=core.loaded)
        planned = estimate(on, core, spec)
        assert (planned.brams, planned.sprams) == found


MEASURED = json.loads(WEIGHTS.with_name("measured.json").read_text())


@pytest.mark.parametrize("name", DESIGNS)
def test_estimates_are_near_what_synthesis_made(name: str) -> None:
    """Within 15 % of the look-up tables, exact on block RAM, on the designs of `make calibrate`; a
    program core's ROMs have columns that never change, which Yosys leaves out."""
    board = BOARDS[name]
    assert [options for options, *_ in MEASURED[name]] == DESIGNS[name]
    for options, luts, brams in MEASURED[name]:
        core = design(board, options)
        guess = estimate(
            board, core, board_spec(board, default_hz(board, core), loaded=core.loaded)
        )
        assert abs(guess.luts / luts - 1) < 0.15, options
        if "schedule" not in options:
            assert guess.brams == brams, options
        else:
            # Windows have many small memories, near the size from which on they are block RAM.
            least = 0.8 if options["schedule"] == "windows" else 0.98
            assert least * brams <= guess.brams <= 1.25 * brams, options


def test_estimates_hold_for_designs_they_were_not_fitted_to() -> None:
    """Leave one out: each design is estimated from weights fitted to the others."""
    weights_of = json.loads(WEIGHTS.read_text())
    for name, designs in DESIGNS.items():
        board = BOARDS[name]
        parts: dict[str, list[tuple[list[float], float]]] = {}
        for options, (_, used, _) in zip(designs, MEASURED[name], strict=True):
            core = design(board, options)
            spec = board_spec(board, default_hz(board, core), loaded=core.loaded)
            (kind, sizes), *others = features(core, spec).items()
            rest = used - beside(board.family, weights_of, others) - unfitted(sizes)
            fitted = [size for size_of, size in sizes.items() if size_of not in UNFITTED]
            parts.setdefault(kind, []).append((fitted, rest))
        for kind, entries in parts.items():
            if len(entries) < 3:
                continue  # too few to leave one out
            ridge = board.family.ridge.get(kind, 0.0)
            rows = np.array([sizes for sizes, _ in entries])
            luts = np.array([used for _, used in entries], dtype=float)
            errors = []
            for n in range(len(entries)):
                others = np.arange(len(entries)) != n
                weights = fit(rows[others], luts[others], ridge, rounds=1000)
                errors.append(rows[n] @ weights / luts[n] - 1)
            assert np.median(np.abs(errors)) < 0.1, (board.name, kind, errors)
            assert np.max(np.abs(errors)) < 0.2, (board.name, kind, errors)


@pytest.mark.parametrize(
    ("family", "width", "depth", "blocks"),
    [
        ("ecp5", 64, 788, 4),
        ("ecp5", 40, 131, 2),
        ("ecp5", 36, 512, 1),
        ("ecp5", 1, 16384, 1),
        ("ice40", 16, 256, 1),
        ("ice40", 17, 256, 2),
        ("ice40", 8, 512, 1),
        ("ice40", 2, 2048, 1),
    ],
)
def test_block_rams_of_one_memory(family: str, width: int, depth: int, blocks: int) -> None:
    assert FAMILIES[family].rams.count(width, depth, True) == blocks


def test_a_core_that_learns_is_planned() -> None:
    """What is given is kept; what does not fit is told where it would; images go onto the chip."""
    masters = beginning("digits-lean")
    ulx3s, icebreaker = BOARDS["ulx3s_85f"], BOARDS["icebreaker"]
    plan = plan_learning_board(ulx3s, masters, samples=100)
    assert plan.core.lanes == 64
    assert plan.spec.flash_address is None
    bare = plan_learning_board(ulx3s, masters)
    assert plan.estimate.brams > bare.estimate.brams
    small = plan_learning_board(icebreaker, masters, samples=1433)
    assert small.core.lanes == 2
    assert (small.spec.flash_address, small.estimate.sprams) == (FLASH_ADDRESS, 3)
    assert plan_learning_board(icebreaker, masters).spec.flash_address is None
    with pytest.raises(PlanError, match=r"it needs \d+ look-up .*it fits$"):
        plan_learning_board(icebreaker, masters, lanes=64)
    with pytest.raises(PlanError, match="Lanes of a learning core on a board must be one of"):
        plan_learning_board(ulx3s, masters, lanes=3)
    with pytest.raises(PlanError, match="board that holds it is ulx3s_85f"):
        plan_learning_board(icebreaker, beginning("mnist"))


def test_estimates_of_cores_that_learn_are_near_what_synthesis_made() -> None:
    known = json.loads(WEIGHTS.read_text())
    assert set(MEASURED[LEARNING]) == {"ecp5", "ice40", "gowin"}
    for family, points in MEASURED[LEARNING].items():
        weights = known[f"{family} {LEARNING}"]
        for sizes, luts in points:
            guess = sum(weights[name] * size for name, size in sizes.items())
            assert abs(guess / luts - 1) < 0.05, (family, sizes)
    assert learning_weights(MEASURED[LEARNING]).items() <= known.items()


@pytest.mark.parametrize(
    ("name", "banks"),
    [("digits-dense", 1), ("digits-dense", 2), ("digits-deep", 4), ("digits-conv", 1)],
)
def test_an_image_takes_what_the_networks_own_activity_says(name: str, banks: int) -> None:
    """Against the cycle law, on the images that the activity was counted on."""
    core = plan_network(load(name), 32, banks)
    images = load_split("digits", "test", core.network.spec.input_bits).images[:60]
    assert core.expected_cycles() == pytest.approx(mean_cycles(core, images), rel=0.15)


@pytest.mark.parametrize("more", [{"banks": 8}, {"fire_lanes": 4, "lean": True}], ids=str)
def test_where_events_are_few_an_image_takes_the_neurons_way(more: dict[str, Any]) -> None:
    """Against the cycle law; to play them takes a third of that."""
    core = plan_core(load("digits-dense"), 128, **more)
    images = load_split("digits", "test", core.network.spec.input_bits).images[:20]
    assert core.expected_cycles() == pytest.approx(mean_cycles(core, images), rel=0.03)
    stages = [stage for stage in core.stages if isinstance(stage, LayerStagePlan)]
    assert max(stage.playing_cycles() for stage in stages) < 0.4 * core.expected_cycles()


def test_activity_that_nobody_counted_is_one_half() -> None:
    network = load("digits-dense")
    assert network.densities == {"input": 80.62 / 256, "hidden1": 0.2498}
    for meta in ({}, {"input_events": "x", "spike_rates": 3}, {"spike_rates": [2]}):
        assert set(replace(network, meta=meta).densities.values()) == {0.5}
