"""hw.contract.learning: its small laws, and every network that cannot learn, with its sentence."""

import json
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest

from hw.contract.checks import SpecError, master_limits
from hw.contract.edge import EdgeSpec
from hw.contract.learning import (
    DITHER_BITS,
    LearningSpec,
    change,
    judge,
    learned_edges,
    turned,
    xorshift,
)
from hw.contract.neuron import NeuronSpec, ReadoutSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from tests.learners import learning_spec, spide

# The specification


@pytest.mark.parametrize("weight_bits", [2, 3, 5, 8])
@pytest.mark.parametrize("fraction", [0, 1, 4])
def test_masters_within_the_limits_are_those_of_weights(weight_bits, fraction):
    bits, q = weight_bits + fraction, 2 ** (weight_bits - 1) - 1
    every = range(-(2 ** (bits - 1)), 2 ** (bits - 1))
    low, high = master_limits(bits, weight_bits)
    assert [*range(low, high + 1)] == [m for m in every if -q <= m >> fraction <= q]


LEARNING: dict[str, Any] = {"master_bits": 12, "steps_back": 8, "margin": 60, "rates": (1, 0)}


def test_what_is_left_out():
    """As docs/learning.md's networks leave it out: another default is another network."""
    spec = LearningSpec(master_bits=12, margin=60, rates=(1,))
    assert (spec.steps_back, spec.inject_shift, spec.input_bias) == (0, 4, 8)
    assert (spec.error_bits, spec.seed) == (1, 0x9E3779B9)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"master_bits": 1}, "Width of master weights must be an integer from 2 to 24, not 1"),
        ({"master_bits": 25}, "Width of master weights must be an integer from 2 to 24, not 25"),
        (
            {"steps_back": -1},
            "Steps of the backward stage must be an integer from 0 to 1024, not -1",
        ),
        ({"margin": -1}, "Margin must be an integer from 0 to 1073741824, not -1"),
        ({"margin": 0.5}, "Margin must be an integer from 0 to 1073741824, not 0.5"),
        (
            {"inject_shift": 16},
            "Shift of the injected error must be an integer from 0 to 15, not 16",
        ),
        ({"input_bias": 0}, "Constant pixel of the bias must be an integer from 1 to 255, not 0"),
        ({"error_bits": 7}, "Error width must be an integer from 1 to 6, not 7"),
        ({"error_bits": 0}, "Error width must be an integer from 1 to 6, not 0"),
        ({"seed": 0}, "Seed of the dither must be an integer from 1 to 4294967295, not 0"),
        ({"rates": ()}, "Learning rates must be a tuple of shifts, not ()"),
        ({"rates": [1]}, "Learning rates must be a tuple of shifts, not [1]"),
        ({"rates": (1, 17)}, "Learning rate must be an integer from -7 to 16, not 17"),
        ({"rates": (-8,)}, "Learning rate must be an integer from -7 to 16, not -8"),
    ],
)
def test_numbers_that_are_refused(changes, sentence):
    with pytest.raises(SpecError) as refused:
        LearningSpec(**{**LEARNING, **changes})
    assert str(refused.value) == sentence


@pytest.mark.parametrize(("bits", "most"), [(1, 1), (2, 3), (6, 63)])
def test_the_largest_error(bits: int, most: int) -> None:
    assert LearningSpec(**{**LEARNING, "error_bits": bits}).error_max == most


def test_the_fastest_and_the_slowest_rate():
    assert LearningSpec(**{**LEARNING, "rates": (-7, 16)}).rates == (-7, 16)


def network(**changes: Any) -> NetworkSpec:
    """4-3-2, with other fields."""
    hidden = LayerSpec(name="hidden", inputs=4, neurons=3, weight_bits=4, neuron=spide(16))
    readout = LayerSpec(name="readout", inputs=3, neurons=2, weight_bits=4)
    fields: dict[str, Any] = {"name": "net", "input_size": 4, "input_bits": 3, "steps": 2}
    fields |= {"layers": (hidden, readout), "learning": LearningSpec(**LEARNING)}
    return NetworkSpec(**{**fields, **changes})


HIDDEN, READOUT = network().layers
FULL = LearningSpec(**LEARNING)
ONLY = replace(FULL, steps_back=0, rates=(0,))


def other(**changes: Any) -> LayerSpec:
    """The hidden layer with other fields."""
    return replace(HIDDEN, **changes)


def neuron(**changes: Any) -> NeuronSpec:
    """The hidden layer's neuron with other fields."""
    assert HIDDEN.neuron is not None
    return replace(HIDDEN.neuron, **{"potential_bits": 12, **changes})


def of(source: str, **changes: Any) -> EdgeSpec:
    """A dense edge, if not another kind is asked for."""
    return EdgeSpec(source=source, **changes)


def back(source: str) -> EdgeSpec:
    return EdgeSpec(source=source, delay=1)


SECOND = LayerSpec(name="second", inputs=3, neurons=3, weight_bits=4, neuron=spide(16))
NEURONS = (
    "Neurons of layer hidden must fire from a threshold V on, on the positive side alone, and "
    "subtract 2V, without decay, to learn (row SPIDE forward)"
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {
                "layers": (
                    replace(HIDDEN, neuron=NeuronSpec(theta=9, current="none", potential_bits=6)),
                    READOUT,
                ),
                "learning": ONLY,
            },
            "Neurons of layer hidden must have no synaptic current for the network to learn",
        ),
        (
            {"layers": (replace(READOUT, inputs=4),), "learning": ONLY},
            "Network net must have a hidden layer to learn",
        ),
        ({"timed_input": True}, "Network net must have pictures, not recordings, to learn"),
        (
            {"layers": (other(edges=(of("input", kind="conv"),), shape=(3, 1, 1)), READOUT)},
            "Layer hidden must be dense to learn",
        ),
        (
            {"layers": (other(edges=(of("input"),), shape=(1, 3, 1)), READOUT)},
            "Layer hidden must be dense to learn",
        ),
        (
            {
                "input_shape": (1, 2, 2),
                "layers": (other(inputs=4, edges=(of("input", pool=2),)), READOUT),
            },
            "Layer hidden must be dense to learn",
        ),
        (
            {"layers": (HIDDEN, SECOND, replace(READOUT, edges=(of("hidden"),)))},
            "Layer readout must receive from second to learn, not from hidden",
        ),
        (
            {"layers": (other(inputs=7, edges=(of("input"), back("hidden"))), SECOND, READOUT)},
            "Layer hidden must receive from input, or one step later from second, to learn, not "
            "from hidden",
        ),
        (
            {
                "layers": (
                    HIDDEN,
                    replace(SECOND, inputs=6, edges=(of("hidden"), back("second"))),
                    READOUT,
                )
            },
            "Layer second must receive from hidden to learn, not from second",
        ),
        (
            {
                "layers": (HIDDEN, replace(READOUT, inputs=7, edges=(of("hidden"), of("input")))),
                "learning": ONLY,
            },
            "Layer readout must receive from hidden to learn, not from input",
        ),
        (
            {"learning": replace(FULL, master_bits=3)},
            "Master weights must have at least the 4 bits of the weights of layer hidden, not 3",
        ),
        (
            {"learning": replace(ONLY, master_bits=3)},
            "Master weights must have at least the 4 bits of the weights of layer readout, not 3",
        ),
        ({"layers": (other(neuron=neuron(negative="free")), READOUT)}, NEURONS),
        ({"layers": (other(neuron=neuron(limit=2)), READOUT)}, NEURONS),
        ({"layers": (other(neuron=neuron(decay="leak", decay_shift=1)), READOUT)}, NEURONS),
        ({"layers": (other(neuron=neuron(reset="hard", step=0)), READOUT)}, NEURONS),
        ({"layers": (other(neuron=neuron(step=16)), READOUT)}, NEURONS),
        ({"layers": (other(neuron=neuron(u0=1)), READOUT)}, NEURONS),
        ({"layers": (other(neuron=neuron(fraction_bits=1)), READOUT)}, NEURONS),
        (
            {"layers": (HIDDEN, replace(SECOND, neuron=spide(17)), READOUT)},
            "Network net must have one threshold for all layers to learn",
        ),
        (
            {
                "layers": (other(neuron=neuron(negative="off"), channel_thresholds=True), READOUT),
                "learning": ONLY,
            },
            "Layer hidden must have one decay factor and one reset step for all its channels, in a "
            "network that learns",
        ),
        (
            {
                "layers": (
                    other(neuron=neuron(decay="factor", decay_shift=3), channel_decays=True),
                    READOUT,
                ),
                "learning": ONLY,
            },
            "Layer hidden must have one decay factor and one reset step for all its channels, in a "
            "network that learns",
        ),
        (
            {"input_shape": (1, 2, 2)},
            "Network net must have rows of values, not maps, where it learns",
        ),
        (
            {"layers": (HIDDEN, replace(READOUT, inputs=6, edges=(of("hidden"),) * 2))},
            "Layer readout must have one edge from each source to learn",
        ),
        (
            {"layers": (other(inputs=8, edges=(of("input"),) * 2), READOUT)},
            "Layer hidden must have one edge from each source to learn",
        ),
        (
            {"layers": (other(inputs=7, edges=(back("hidden"), of("input"))), READOUT)},
            "Network net must have the edge from its input first to learn",
        ),
        (
            {"learning": replace(FULL, rates=(1,))},
            "Network net must have a learning rate for each of its 2 learned edges, not 1",
        ),
        (
            {"learning": replace(ONLY, rates=(1, 2))},
            "Network net must have a learning rate for each of its 1 learned edges, not 2",
        ),
        (
            {"layers": (other(), replace(READOUT, readout=ReadoutSpec(value="max")))},
            f"Readout {READOUT.name} must add up its drives, without a leak, to learn",
        ),
        ({"learning": {"margin": 1}}, "Learning must be a LearningSpec or None, not {'margin': 1}"),
    ],
)
def test_networks_that_cannot_learn(changes, sentence):
    with pytest.raises(SpecError) as refused:
        network(**changes)
    assert str(refused.value) == sentence


def test_a_readout_learns_behind_any_neuron():
    made = network(
        layers=(other(neuron=NeuronSpec(theta=9, limit=3, potential_bits=8)), READOUT),
        learning=ONLY,
    )
    assert made.learning is not None
    assert made.learning.readout_only


def test_a_specification_survives_json():
    spec = learning_spec(
        4, (3, 2), 2, neurons=spide(16), feedback=True, steps_back=5, seed=77, rates=(1, -2, 3, 4)
    )
    data = json.loads(json.dumps(spec.to_dict()))
    assert NetworkSpec.from_dict(data) == spec
    data["learning"]["momentum"] = 1
    with pytest.raises(SpecError, match="LearningSpec has no field 'momentum'"):
        NetworkSpec.from_dict(data)
    assert "learning" not in replace(spec, learning=None).to_dict()


def test_learned_edges():
    spec = learning_spec(
        4, (3, 2), 5, neurons=spide(16), feedback=True, shifts=(0, 2, 1), input_bias=9
    )
    found = [(*astuple(edge), edge.rows) for edge in learned_edges(spec)]
    assert found == [
        (0, 0, "input", 4, 3, 9, 0, 0, False, 5),
        (0, 1, "l1", 2, 3, 0, 1, 1, True, 2),
        (1, 0, "l0", 3, 2, 1, 2, 0, True, 4),
        (2, 0, "l1", 2, 5, 1, 0, 0, True, 3),
    ]
    (only,) = learned_edges(network(learning=ONLY))
    assert (only.layer, only.source, only.copied) == (1, "hidden", False)


# The laws


def test_xorshift_by_hand():
    """1: 1 << 13 = 0x2000, with it 0x2001; >> 17: 0; << 5: 0x40020, with it 0x42021."""
    assert xorshift(1) == 0x42021
    # 0x42021 << 13 = 0x8404_2000 (32 bits), with it 0x8400_0021 xor 0x4_2000 ^ 0x4_2000 ...
    x = 0x42021
    x ^= x * 2**13 % 2**32
    x ^= x // 2**17
    x ^= x * 2**5 % 2**32
    assert xorshift(0x42021) == x == 67634689
    values = [1]
    for _ in range(5):
        values.append(xorshift(values[-1]))
    assert values == [1, 270369, 67634689, 2647435461, 307599695, 2398689233]  # published ones


def test_xorshift_never_gives_zero_and_never_repeats_at_once():
    x, seen = 0x9E3779B9, set()
    for _ in range(10_000):
        x = xorshift(x)
        assert 0 < x < 2**32
        seen.add(x)
    assert len(seen) == 10_000


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint32])
def test_indices_of_any_kind_are_turned(kind: Any) -> None:
    assert turned(np.array([0, 1, 3, 5], dtype=kind)).tolist() == [0, 0x8000, 0xC000, 0xA000]


def test_turned():
    assert [hex(int(turned(j))) for j in (0, 1, 2, 3, 5, 0xFFFF)] == [
        "0x0", "0x8000", "0x4000", "0xc000", "0xa000", "0xffff"
    ]  # fmt: skip
    every = np.arange(1 << DITHER_BITS)
    assert (turned(turned(every)) == every).all()
    assert int(turned(0x10001)) == int(turned(1))  # of what is wider, the lower bits


def test_dither_is_symmetric_and_spread():
    """The same for (j, i) and (i, j): a transposed copy changes alike. And over 2^k targets every
    rounding comes once."""
    rng = np.random.default_rng(1)
    j, i = rng.integers(0, 1 << DITHER_BITS, (2, 1000))
    assert (turned(j ^ i) == turned(i ^ j)).all()
    assert (turned(j ^ i) == turned(j) ^ turned(i)).all()
    for k in range(1, 9):
        word, sender = int(rng.integers(0, 1 << 16)), int(rng.integers(0, 1 << 12))
        rho = (word ^ turned(sender ^ np.arange(1 << k))) >> DITHER_BITS - k
        assert sorted(rho.tolist()) == list(range(1 << k))


def test_change_is_a_floor_after_the_dither():
    products = np.arange(-40, 41)
    for k in range(1, 6):
        for rho in range(1 << k):
            dither = np.full(len(products), rho << DITHER_BITS - k | 5)
            wanted = [(p + rho) // 2**k for p in products.tolist()]
            assert change(products, dither, k).tolist() == wanted
    assert change(np.array([7, -7]), np.array([3, 3]), 16).tolist() == [0, -1]
    assert change(np.array([7, 8]), np.array([1 << 14, 1 << 13]), 4).tolist() == [0, 0]
    assert change(np.array([7, -7]), np.array([65535, 65535]), 0).tolist() == [7, -7]
    assert change(np.array([7, -7]), np.array([65535, 65535]), -3).tolist() == [56, -56]


def test_the_mean_of_all_dithers_is_the_quotient():
    """Rounding must not be biased: learning collapses."""
    for k in (1, 4, 7):
        dither = np.arange(1 << k) << DITHER_BITS - k
        for product in (-300, -17, -1, 1, 17, 300):
            total = int(change(np.full(1 << k, product), dither, k).sum())
            assert total == product


@pytest.mark.parametrize("k", [-7, 0, 1, 5, 16])
def test_nothing_times_anything_changes_nothing(k):
    every = np.arange(1 << DITHER_BITS)
    assert not change(np.zeros(len(every), np.int64), every, k).any()


@pytest.mark.parametrize(
    ("logits", "label", "margin", "error"),
    [
        ([5, 9, 9], 0, 2, [1, -1, 0]),  # of equals, the first
        ([9, 5, 9], 1, 2, [-1, 1, 0]),
        ([9, 9, 9], 0, 0, [0, 0, 0]),  # at a margin of 0, a tie is right
        ([9, 9, 9], 0, 1, [1, -1, 0]),
        ([9, 9, 9], 2, 1, [-1, 0, 1]),
        ([10, 4, 5], 0, 5, [0, 0, 0]),  # just far enough
        ([10, 4, 5], 0, 6, [1, 0, -1]),
        ([-3, -9], 1, 0, [-1, 1]),
        ([-9, -3], 1, 6, [0, 0]),
        ([-9, -3], 1, 7, [-1, 1]),
        ([4], 0, 100, [0]),  # there is no wrong class
    ],
)
def test_judge(logits, label, margin, error):
    given = np.array(logits)
    assert judge(given, label, margin).tolist() == error
    assert given.tolist() == logits
