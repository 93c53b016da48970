"""gen.core.plan: every layer laid out, every impossible layout refused."""

import json
from dataclasses import replace

import pytest

from gen.core.describe import constants_text, neuron_text
from gen.core.plan import (
    CorePlan,
    PlanError,
    dense_tail,
    in_files,
    plan_core,
    plan_mixed,
    plan_network,
    plan_programs,
    plan_windows,
    played_changes,
    rebuild,
)
from gen.layer.stage import LayerOptions, LayerStagePlan
from gen.program.stage import ProgramStagePlan
from gen.window.stage import WindowStagePlan, window_rows
from hw.contract.builder import random_network
from hw.contract.checks import SpecError, signed_bits
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.layer.geometry import LayerGeometry
from tests.hw.layer.cores import geometries
from tests.hw.program import programs
from tests.networks import chain, network_of_ones


def network(*sizes: int) -> Network:
    neuron = NeuronSpec(theta=3, potential_bits=4)
    return network_of_ones(chain(sizes, neuron, name="n", input_bits=4, steps=2, weight_bits=2))


def test_shipped_topology_at_128_lanes():
    first, second = geometries(plan_core(network(784, 128, 10)))
    assert (first.groups, first.lanes, first.words, first.rows) == (1, 128, 49, 784)
    assert (first.planes, first.signed, len(first.slices)) == (4, False, 8)
    assert (second.groups, second.lanes, second.words, second.rows) == (1, 10, 8, 128)
    assert (second.planes, second.signed) == (1, True)


MAPS = programs.network(
    (1, 6, 6),
    programs.part(4, programs.conv("input", 3)),
    programs.part(4, programs.conv("a", 3)),
    programs.part(6, programs.dense("b")),
    programs.part(3, programs.dense("c")),
)


@pytest.mark.parametrize(
    "plan",
    [
        plan_core(network(37, 9, 4), 4, 2, ["ram", "rom"], fire_lanes=2, lean=True),
        plan_programs(network(37, 9, 4), 8),
        plan_programs(network(37, 9, 4), 8, ()),
        plan_programs(MAPS, 4),
        plan_programs(MAPS, 4, [2]),
        plan_programs(MAPS, 4, changes=["b"]),
        plan_mixed(MAPS, 4, 2),
        plan_windows(MAPS, 4),
        plan_windows(MAPS, 2, 2, LayerOptions(lanes=3)),
    ],
)
def test_a_recipe_makes_the_same_plan(plan: CorePlan) -> None:
    same = rebuild(plan.network, json.loads(json.dumps(plan.recipe())))
    assert same.facts() == plan.facts()
    assert same.changes == plan.changes
    assert (same.rows, same.fingerprint) == (plan.rows, plan.fingerprint)
    assert [s.facts() for s in same.stages] == [s.facts() for s in plan.stages]
    assert {name: rom.text for name, rom in same.roms().items()} == {
        name: rom.text for name, rom in plan.roms().items()
    }


def test_a_core_whose_weights_are_loaded_is_one_in_files_too() -> None:
    """All else stays; a core in files is what it was."""
    plan = plan_core(network(37, 9, 4), 4, 2, ["ram", "spram"], fire_lanes=2, lean=True, once=False)
    assert plan.roms() == {}
    same = in_files(plan)
    assert same.memories == ("rom", "rom")
    assert geometries(same) == geometries(plan)
    assert len(same.roms()) == sum(g.banks * len(g.slices) for g in geometries(plan))
    assert in_files(same) is same


def test_layers_are_as_wide_as_weights_that_come_later_need() -> None:
    """The readout too, which receives sums of all steps (`sterna reload`)."""
    wide = network(37, 9, 4)
    weights = tuple(w * 0 for w in wide.weights)
    quiet = Network(wide.spec, weights, tuple(b * 0 for b in wide.biases))
    for once in (False, True):
        recipe = plan_core(wide, 4, once=once).recipe()
        assert rebuild(quiet, recipe).recipe() == recipe
        layers = [stage.layer for stage in rebuild(quiet, recipe).stages]  # type: ignore[attr-defined]
        built = [stage.layer for stage in plan_core(wide, 4, once=once).stages]  # type: ignore[attr-defined]
        assert [layer.bounds for layer in layers] == [layer.bounds for layer in built]


def counted(spikes: list[float], changes: list[float], timed: bool = False) -> Network:
    """Maps of which so much was counted."""
    meta = {"spike_bits": spikes, "change_bits": changes, "sum_bits": [0.5] * len(spikes)}
    return replace(MAPS, meta=meta, spec=replace(MAPS.spec, timed_input=timed))


def test_what_is_played_as_changes() -> None:
    """All layers of a picture's network and none of a recording's, unless it was counted which of
    them change less than they fire; or those that are given. A stage plays those that it
    receives."""
    assert played_changes(MAPS) == ["a", "b", "c"]
    with pytest.raises(
        PlanError, match="Layer whose changes are played must be one of a, b, c, not 'd'"
    ):
        plan_programs(MAPS, 4, (), ["d"])
    assert played_changes(counted([], [], timed=True)) == []
    for timed in (False, True):
        known = counted([0.3, 0.3, 0.3], [0.2, 0.4, 0.3], timed)
        assert played_changes(known) == ["a", "c"]
        assert plan_programs(known, 4).changes == ("a", "c")
        assert plan_programs(known, 4, changes=()).changes == ()
        assert plan_programs(known, 4, changes=["b"]).changes == ("b",)
    plan = plan_programs(counted([0.3, 0.3, 0.3], [0.2, 0.2, 0.4]), 4)
    stages = [stage for stage in plan.stages if isinstance(stage, ProgramStagePlan)]
    assert [stage.changes for stage in stages] == [(), ("a",), ("b",), ()]
    assert [stage.program.input_banks for stage in stages] == [1, 2, 2, 1]
    assert plan_mixed(counted([0.3, 0.3, 0.3], [0.2, 0.2, 0.4]), 4).changes == ("a", "b")


def test_a_window_stage_then_dense_layers() -> None:
    """Layers of maps in one stage; each dense layer behind them in one of its own, which takes the
    words that the first one sends, and keeps up with it."""
    plan = plan_windows(MAPS, 4)
    window, *tail = plan.stages
    assert isinstance(window, WindowStagePlan)
    assert (plan.schedule, plan.bounds, window.layers) == ("windows", (0, 2), range(2))
    assert [stage.layers for stage in tail] == [range(2, 3), range(3, 4)]
    assert plan.rows == window.rows == window_rows(MAPS, range(2), 4)
    assert [*window.roms()] == [f"rom/{part}0.hex" for part in ("program", "weights", "biases")]
    assert plan.expected_cycles() == window.expected_cycles()
    assert plan_network(MAPS, 4, schedule="windows").fingerprint == plan.fingerprint
    assert plan_network(MAPS, 4).schedule == "mixed"
    assert plan.recipe()["rows"] == dict(window.rows)
    assert "rows" not in plan_mixed(MAPS, 4).recipe()
    (first, *_) = tail
    assert first.geometry.source == window.output  # type: ignore[attr-defined]
    known = plan_windows(counted([0.3, 0.3, 0.3], [0.4, 0.3, 0.2]), 4)
    assert known.changes == ("b", "c")
    assert known.stages[0].changes == ()  # type: ignore[attr-defined]


def test_dense_layers_take_what_windows_send_in_time() -> None:
    """As many banks as it takes to receive a picture's spikes in a twentieth of its cycles; those
    that are asked for otherwise."""
    found = {}
    for lanes in (4, 16, 64):
        plan = plan_windows(MAPS, lanes)
        window = plan.stages[0]
        assert isinstance(window, WindowStagePlan)
        sent, words = window.output.words * MAPS.spec.steps, window.output.size
        takes = {n: sent * -(-words // (16 * n)) for n in (1, 2, 4, 8)}
        enough = [n for n, cycles in takes.items() if cycles <= 0.05 * window.expected_cycles()]
        found[lanes] = plan.banks
        assert plan.banks == min(enough, default=8)
        assert {stage.banks for stage in plan.stages[1:]} == {plan.banks}
    assert len(set(found.values())) > 1
    assert plan_windows(MAPS, 64, 2).banks == 2
    assert plan_windows(MAPS, 64, 1, LayerOptions(lanes=8)).banks == 1


def test_what_no_window_stage_runs() -> None:
    convs = programs.conv("input", 3), programs.conv("a", 1, delay=1)
    for image in (
        network(4, 3, 2),
        programs.network((1, 4, 4), programs.part(2, programs.dense("input", pool=2))),
        programs.network(
            (1, 4, 4),
            programs.part(2, *convs),
            programs.part(3, programs.dense("a"), programs.dense("b", delay=1)),
            programs.part(3, programs.dense("b"), programs.dense("a")),
        ),
    ):
        with pytest.raises(PlanError) as refused:
            plan_windows(image)
        assert str(refused.value) == (
            f"Network {image.spec.name} must have layers that convolutions and identities alone "
            "reach, then dense ones alone, for a window core"
        )
    with pytest.raises(PlanError, match=r"Lanes of a window core must be one of .*, not 5"):
        plan_windows(MAPS, 5)
    recipe = plan_windows(MAPS, 4).recipe()
    for rows in ({"a": 4}, {"a": 3, "b": 4}, {"a": 4, "b": 0}):
        with pytest.raises(PlanError, match=r"Rows of layer [ab] in a word must be one of .*, not"):
            rebuild(MAPS, recipe | {"rows": rows})


def test_constants_by_channel_run_in_stages_of_every_kind():
    neuron = NeuronSpec(theta=20, decay="factor", decay_shift=3, potential_bits=6)
    conv = programs.conv("input", 3, padding=1)
    own = {"channel_thresholds": True, "channel_decays": True, "neuron": neuron}
    maps, dense = programs.part(3, conv, **own), programs.part(4, programs.dense("a"), **own)
    out = programs.part(2, programs.dense("b"))
    chain = programs.network(
        (5, 1, 1), programs.part(4, programs.dense("input"), **own), dense, out
    )
    image = programs.network((1, 4, 4), maps, dense, out)
    assert dense_tail(image.spec) == 1
    for plan, first in (
        (plan_network(image, 4), ProgramStagePlan),
        (plan_windows(image, 4), WindowStagePlan),
        (plan_network(chain), LayerStagePlan),
    ):
        assert [type(stage) for stage in plan.stages] == [first, LayerStagePlan, LayerStagePlan]
    assert type(plan_network(chain, 4, schedule="shared").stages[0]) is ProgramStagePlan
    told = [constants_text(layer) for layer in image.spec.layers]
    assert told == [", thresholds and decays by channel"] * 2 + [""]
    assert neuron_text(neuron).endswith("decay m/8")


def test_groups_are_of_equal_size():
    geometry = geometries(plan_core(network(5, 130, 2), lanes=128))[0]
    assert (geometry.groups, geometry.lanes) == (2, 65)
    assert [len(part) for part in geometry.slices] == [16, 16, 16, 16, 1]


@pytest.mark.parametrize("lanes", [1, 3, 8, 50])
@pytest.mark.parametrize("banks", [1, 2, 8])
def test_slots_are_distinct_and_within_the_rows(lanes, banks):
    for geometry in geometries(plan_core(network(37, 50, 13, 4), lanes, banks)):
        slots = geometry.slots()
        assert len(set(slots.tolist())) == geometry.inputs
        assert slots.max() < geometry.rows * geometry.banks
        assert geometry.words * geometry.word == geometry.rows * geometry.banks


def test_refusals():
    image = network(4, 3, 2)
    for lanes, banks, sentence in [
        (0, 1, "Lanes must be an integer from 1 to 1024, not 0"),
        (1025, 1, "Lanes must be an integer from 1 to 1024, not 1025"),
        (4, 3, "Banks must be 1, 2, 4, 8 or 16, not 3"),
    ]:
        with pytest.raises(PlanError) as refused:
            plan_core(image, lanes, banks)
        assert str(refused.value) == sentence
    fields = dict.fromkeys(("inputs", "neurons", "lanes", "planes", "source_lanes"), 4)
    for changes, sentence in [
        ({"banks": 3, "chunk": 2}, "Banks must be a power of two, not 3"),
        ({"banks": 1, "chunk": 12}, "Chunk must be a power of two, not 12"),
        ({"banks": 1, "chunk": 4, "lanes": 5}, "Lanes must be at most 4 neurons, not 5"),
    ]:
        with pytest.raises(SpecError) as refused:
            LayerGeometry(**{**fields, "signed": True, **changes})
        assert str(refused.value) == sentence


def test_constants_by_channel_are_counted_in_memories_sizes_and_files() -> None:
    """A threshold of 4 bits, a step of 5, a factor of 0 to 2^9: 19 bits, 10 digits a group."""
    neuron = NeuronSpec(theta=9, reset="soft", step=17, potential_bits=6, decay_shift=9,
                        decay="factor", decay_factor=1 << 8)  # fmt: skip
    plain = chain((5, 36, 2), neuron, input_bits=1, steps=4)
    many = replace(neuron, decay="factor", decay_shift=9, decay_factor=0)
    own = replace(plain.layers[0], neuron=many, channel_thresholds=True, channel_decays=True)
    network = random_network(replace(plain, layers=(own, plain.layers[1])))
    before = plan_core(network_of_ones(plain), 18).stages[0]
    for lanes, fire, files in ((18, 0, 2), (16, 8, 1)):
        plan = plan_core(network, lanes, fire_lanes=fire)
        first = plan.stages[0]
        assert isinstance(first, LayerStagePlan)
        assert first.own.digits == 10
        firing = first.geometry.firing
        depth = max(firing.groups * 10, 48)
        for n, part in enumerate(firing.slices):
            assert first.memories()[f"constants{n}"] == (2 * len(part), depth, True, 0)
        assert sum(name.startswith("constants") for name in first.memories()) == files
        assert first.sizes()["constants"] == firing.lanes * 20
        assert first.sizes()["adders"] == firing.lanes * 9 * (6 + 9)
        names = [name for name in plan.roms() if "constants" in name]
        assert names == [f"rom/0_l0_constants_slice{n}.hex" for n in range(files)]
        assert plan.swappable
        assert plan.settle > 10
        assert first.layer_facts()[0]["constants"] == {"thetas": 4, "steps": 5, "factors": 10}
        loaded = plan_core(network, lanes, 1, ["spram", "ram"], fire_lanes=fire).stages[0]
        assert not loaded.roms()
        assert [bits for bits, _ in loaded.flash_rows()][-files:] == [
            2 * len(part) for part in firing.slices
        ]
        assert loaded.memories()["constants0"].sprams == 0
    assert before.sizes()["constants"] == 0
    assert "constants" not in before.layer_facts()[0]


def test_currents_are_counted_in_memories_and_sizes() -> None:
    """Beside potentials and counts, as wide as they can be."""
    plain = NeuronSpec(theta=9, negative="guarded", limit=3, potential_bits=6)
    both = [replace(plain, current=kind) for kind in ("off", "none")]
    first, second = (
        plan_core(network_of_ones(chain((5, 6, 6, 2), one, input_bits=1, steps=4)), 2).stages[1]
        for one in both
    )
    assert isinstance(second, LayerStagePlan)
    bits = signed_bits(second.layer.current_bound)
    assert second.layer.current_bound == 4 * 6 * 3
    assert first.memories()["potentials0"].bits == 2 * (6 + plain.count_bits(4))
    assert second.memories()["potentials0"].bits == 2 * (6 + plain.count_bits(4) + bits)
    assert first.sizes()["adders"] == 0
    assert second.sizes()["adders"] == 2 * 2 * bits
    five = replace(plain, decay="factor", decay_shift=4, decay_factor=5)
    third = plan_core(network_of_ones(chain((5, 6, 6, 2), five, input_bits=1, steps=4)), 2)
    assert third.stages[1].sizes()["adders"] == 2 * 1 * (6 + 3)  # 4 + 1, of 6 bits


def test_a_current_in_words() -> None:
    neuron = NeuronSpec(
        theta=9, current="factor", current_shift=3, current_factor=5, decay_rounding="floor",
        potential_bits=6,
    )  # fmt: skip
    assert neuron_text(neuron) == (
        "ternary, theta 9, hard reset, current decay 5/8, rounded to the floor"
    )
    kept = replace(neuron, current="none", current_shift=0, current_factor=0, decay_rounding="zero")
    assert neuron_text(kept).endswith(", current decay none")
