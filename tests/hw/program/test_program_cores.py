"""The whole shared core against the golden model: every spike, potential, logit, class, cycle.

Maps are as small as the case admits: what a network is made of matters here, not its size.
"""

from dataclasses import replace

import numpy as np
import pytest

from gen.core.program_stage import SharedPlan, plan_shared
from hw.contract.network import Network
from hw.contract.spec import LayerSpec, NetworkSpec, NeuronSpec
from hw.neuron.readout import result_layout
from tests.graphs import image_of, residual
from tests.hw.driving import JITTERY, Pace, fields
from tests.hw.program.programs import (
    Part,
    SharedRun,
    conv,
    dense,
    identity,
    network,
    part,
    random_network,
    random_pixels,
)
from tests.hw.vectors import random_image

QUICK = NeuronSpec(theta=9, potential_bits=5)

NEURONS = {
    "off": NeuronSpec(theta=20, negative="off", potential_bits=9),
    "soft": NeuronSpec(theta=20, reset="soft", step=17, potential_bits=9),
    "soft-saturates": NeuronSpec(theta=9, reset="soft", step=9, potential_bits=5),
    "off-saturates": NeuronSpec(theta=9, negative="off", potential_bits=5),
    "unequal": NeuronSpec(theta=20, theta_negative=7, potential_bits=6),
    "unequal-soft": NeuronSpec(theta=7, theta_negative=20, reset="soft", step=40, potential_bits=7),
    "shift": NeuronSpec(theta=20, decay="shift", decay_shift=2, potential_bits=6, u0=-13),
    "leak": NeuronSpec(theta=20, decay="leak", decay_shift=1, potential_bits=6, u0=-19),
    "leak-after": NeuronSpec(
        theta=20, decay="leak", decay_shift=2, decay_when="after", potential_bits=6, u0=19
    ),
    "shift-after": NeuronSpec(
        theta=20, decay="shift", decay_shift=1, decay_when="after", potential_bits=6, u0=-7
    ),
    "fraction": NeuronSpec(
        theta=80, decay="shift", decay_shift=1, fraction_bits=2, potential_bits=8, u0=5
    ),
    "fraction-soft-leak-off": NeuronSpec(
        theta=90,
        decay="leak",
        decay_shift=3,
        fraction_bits=3,
        reset="soft",
        step=50,
        negative="off",
        potential_bits=9,
    ),
    "forgets-all": NeuronSpec(theta=9, decay="shift", decay_shift=12, potential_bits=6, u0=8),
    "u0": NeuronSpec(theta=20, u0=19, potential_bits=6),
}


def with_neuron(name: str) -> tuple[Part, ...]:
    """The neuron behind the image, where there is a drive, and behind other neurons; its channels
    do not fill the lanes."""
    n = NEURONS[name]
    return (
        part(3, conv("input", 3, padding=1), neuron=n),
        part(5, dense("a"), neuron=n),
        part(2, dense("b"), dense("a")),
    )


# name: lanes, shape of the image, layers, and what differs from the rule (steps, bits, timed)
CASES: dict[str, tuple] = {
    # Kernels, strides, paddings
    "kernel-1": (
        4,
        (2, 3, 3),
        (part(3, conv("input", 1)), part(5, conv("a", 1, stride=2)), part(3, dense("b"))),
    ),
    "kernel-1-even": (2, (2, 4, 3), (part(3, conv("input", 1, stride=2)), part(3, dense("a")))),
    "kernel-3-no-zeros": (4, (2, 4, 5), (part(4, conv("input", 3)), part(3, dense("a")))),
    "kernel-3-stride": (
        4,
        (1, 5, 6),
        (
            part(3, conv("input", 3, stride=2, padding=1)),
            part(4, conv("a", 3, padding=2)),
            part(2, dense("b")),
        ),
    ),
    "kernel-3-all-zeros": (
        8,
        (2, 3, 4),
        (part(3, conv("input", 3, stride=2, padding=2)), part(2, dense("a"))),
    ),
    "kernel-5": (
        4,
        (2, 5, 5),
        (part(3, conv("input", 5)), part(3, conv("a", 5, padding=4)), part(2, dense("b", pool=5))),
    ),
    "kernel-5-stride": (
        4,
        (2, 5, 6),
        (part(4, conv("input", 5, stride=2, padding=3)), part(2, dense("a", pool=2))),
    ),
    "kernel-7-beyond-the-map": (
        4,
        (2, 3, 2),
        (
            part(4, conv("input", 7, padding=3)),
            part(3, conv("a", 5, stride=2, padding=2)),
            part(2, dense("b")),
        ),
    ),
    "kernel-7-stride": (
        4,
        (2, 1, 5),
        (part(3, conv("input", 7, stride=2, padding=6)), part(2, dense("a", pool=2))),
    ),
    "kernel-7-inside": (8, (1, 8, 7), (part(3, conv("input", 7)), part(2, dense("a")))),
    # Groups
    "depthwise": (
        4,
        (6, 3, 3),
        (
            part(6, conv("input", 3, padding=1, groups=6)),
            part(6, conv("a", 3, stride=2, padding=1, groups=6)),
            part(3, dense("b")),
        ),
    ),
    "multiplied-depthwise": (
        4,
        (3, 3, 3),
        (part(9, conv("input", 3, padding=1, groups=3)), part(2, dense("a", pool=3))),
    ),
    "groups-straddle": (
        4,
        (6, 2, 3),
        (
            part(10, conv("input", 3, padding=1, groups=2)),
            part(15, conv("a", 1, groups=5)),
            part(2, dense("b")),
        ),
    ),
    "groups-far-apart": (
        2,
        (8, 2, 2),
        (
            part(8, conv("input", 1, groups=4)),
            part(4, conv("a", 3, padding=1, groups=2)),
            part(2, dense("b")),
        ),
    ),
    # Pooling
    "pooling-leaves-a-rest": (
        4,
        (2, 5, 7),
        (part(3, conv("input", 3, padding=1, pool=2)), part(2, dense("a", pool=2))),
    ),
    "pooling-inside": (
        4,
        (1, 7, 8),
        (
            part(3, conv("input", 1, pool=2)),
            part(5, conv("a", 3, padding=1, pool=3)),
            part(2, dense("b")),
        ),
    ),
    # Dense edges
    "dense-into-maps": (
        4,
        (2, 2, 3),
        (
            part((3, 2, 2), dense("input")),
            part((6, 1, 3), dense("a"), dense("input", pool=2)),
            part(2, dense("b")),
        ),
    ),
    "rows-of-neurons": (
        4,
        (9, 1, 1),
        (part(7, dense("input")), part(6, dense("a")), part(3, dense("b"))),
    ),
    # Identities
    "identity": (
        4,
        (3, 2, 3),
        (
            part(6, conv("input", 3, padding=1)),
            part(6, conv("a", 3, padding=1), identity("a")),
            part(6, identity("b", pool=2), identity("a", pool=2)),
            part(2, dense("c")),
        ),
    ),
    "identities-alone": (
        4,
        (5, 3, 3),
        (
            part(5, identity("input"), neuron=QUICK),
            part(5, identity("a", delay=1), identity("a"), neuron=QUICK),
            part(5, identity("b", pool=3)),
        ),
    ),
    "identity-of-the-image": (
        8,
        (2, 3, 3),
        (
            part(2, identity("input"), neuron=QUICK),
            part(3, conv("a", 3), conv("input", 3)),
            part(2, dense("b")),
        ),
    ),
    "identity-of-the-pooled-image": (
        4,
        (6, 5, 3),
        (part(6, identity("input", pool=2)), part(2, dense("a"))),
    ),
    # Recurrence
    "recurrent": (
        4,
        (2, 3, 3),
        (
            part(5, conv("input", 3, padding=1), conv("a", 3, padding=1, delay=1)),
            part(3, dense("a"), dense("b", delay=1)),
            part(2, dense("b")),
        ),
        {"steps": 4},
    ),
    "recurrent-identity": (
        4,
        (3, 2, 2),
        (part(3, conv("input", 1), identity("a", delay=1)), part(2, dense("a"))),
        {"steps": 4},
    ),
    "feedback": (
        4,
        (2, 3, 3),
        (
            part(5, conv("input", 3, padding=1), conv("b", 3, padding=2, delay=1)),
            part(4, conv("a", 3, stride=2), dense("c", delay=1)),
            part(6, dense("b")),
            part(3, dense("c"), dense("a", delay=1)),
        ),
        {"steps": 3},
    ),
    "late-from-before": (
        4,
        (2, 3, 3),
        (
            part(3, conv("input", 3, padding=1)),
            part(4, dense("a", delay=1)),
            part(2, dense("b"), dense("a", delay=1)),
        ),
        {"steps": 3},
    ),
    # Sides
    "one-value": (
        2,
        (1, 1, 1),
        (part(1, dense("input"), neuron=QUICK), part(1, dense("a"))),
        {"bits": 1, "steps": 8, "seed": 4},
    ),
    "one-by-one-maps": (
        4,
        (9, 1, 1),
        (
            part(6, conv("input", 3, padding=1)),
            part(5, conv("a", 1), identity("b", delay=1)),
            part(4, dense("b")),
        ),
    ),
    "many-groups": (
        2,
        (5, 2, 3),
        (part(7, conv("input", 3, padding=1)), part(5, conv("a", 1)), part(5, dense("b"))),
    ),
    "one-row": (4, (2, 1, 9), (part(3, conv("input", 3, padding=1)), part(2, dense("a")))),
    "one-column": (8, (3, 9, 1), (part(3, conv("input", 3, padding=1)), part(2, dense("a")))),
    # Images packed several positions to a word
    "packed-1": (
        8,
        (1, 3, 11),
        (part(3, conv("input", 3, padding=1, stride=2)), part(2, dense("a"))),
    ),
    "packed-1-of-one-row": (16, (1, 1, 21), (part(4, dense("input")), part(2, dense("a")))),
    "packed-2": (8, (2, 3, 7), (part(3, conv("input", 3, pool=1)), part(2, dense("a")))),
    "packed-3": (
        16,
        (3, 3, 6),
        (part(3, conv("input", 3, padding=1, groups=3)), part(2, dense("a", pool=3))),
    ),
    "packed-and-pooled": (
        8,
        (1, 5, 9),
        (part(3, conv("input", 3, padding=1, pool=2)), part(2, dense("a"))),
    ),
    "full-bytes": (8, (3, 3, 3), (part(3, conv("input", 3)), part(2, dense("a"))), {"bits": 8}),
    # Recordings
    "recording": (
        8,
        (2, 3, 3),
        (
            part(4, conv("input", 3, padding=1)),
            part(3, dense("a"), conv("input", 3)),
            part(2, dense("b")),
        ),
        {"timed": True, "steps": 4},
    ),
    "recording-feedback": (
        4,
        (1, 2, 3),
        (
            part(3, dense("input"), dense("b", delay=1)),
            part(3, dense("a"), dense("input")),
            part(2, dense("b"), dense("input")),
        ),
        {"timed": True, "steps": 3, "bits": 3},
    ),
    # Readouts
    "readout-alone": (4, (2, 3, 3), (part(5, dense("input")),), {"steps": 3}),
    "readout-alone-recording": (
        2,
        (3, 1, 2),
        (part(3, dense("input", pool=1)),),
        {"timed": True, "steps": 3},
    ),
    "many-classes": (4, (5, 1, 1), (part(6, dense("input"), neuron=QUICK), part(11, dense("a")))),
    "whole-groups-of-classes": (
        2,
        (4, 1, 1),
        (part(6, dense("input"), neuron=QUICK), part(6, dense("a"), dense("input"))),
    ),
    "one-class": (4, (5, 1, 1), (part(6, dense("input"), neuron=QUICK), part(1, dense("a")))),
    "readout-of-maps": (4, (2, 4, 4), (part(3, conv("input", 3)), part(5, conv("a", 1, pool=2)))),
    # Thresholds by channel, with neurons beside them that have others
    "thresholds": (
        4,
        (3, 3, 3),
        (
            part(6, conv("input", 3, padding=1), channel_thresholds=True),
            part(5, dense("a"), neuron=NEURONS["unequal"]),
            part(7, dense("b"), channel_thresholds=True),
            part(3, dense("c")),
        ),
    ),
    "thresholds-of-one-side": (
        2,
        (2, 1, 1),
        (
            part(
                3,
                dense("input"),
                channel_thresholds=True,
                neuron=NeuronSpec(theta=20, negative="off", potential_bits=6),
            ),
            part(2, dense("a")),
        ),
        {"steps": 4},
    ),
    # All kinds of neurons at once: one with a sign, one without, three decays
    "mixed-neurons": (
        4,
        (3, 2, 2),
        (
            part(3, conv("input", 1), neuron=NEURONS["off"]),
            part(5, dense("a"), neuron=NEURONS["leak-after"]),
            part(4, dense("b"), neuron=NEURONS["soft-saturates"]),
            part(3, dense("c"), neuron=NEURONS["fraction"]),
            part(2, dense("d")),
        ),
        {"steps": 4, "seed": 13},
    ),
    # Neurons
    **{name: (4, (2, 2, 3), with_neuron(name), {"steps": 5}) for name in NEURONS},
}


def plan_of(name: str) -> SharedPlan:
    lanes, shape, parts, *more = CASES[name]
    return plan_shared(network(shape, *parts, **(more[0] if more else {})), lanes)


@pytest.mark.parametrize("name", CASES)
def test_shared_core_is_golden_and_keeps_the_law(name: str) -> None:
    """Three images back to back, one of them empty and one full."""
    plan = plan_of(name)
    run = SharedRun(plan, random_pixels(plan.network, 3))
    assert run.lively
    run.check_law()
    if "saturates" in name:
        for layer, (_, kept) in zip(plan.network.spec.layers, run.seen.values(), strict=False):
            assert layer.neuron is not None
            assert np.abs(kept).max() == layer.neuron.u_max


HESITANT = (
    "kernel-3-stride",
    "identities-alone",
    "recurrent-identity",
    "recording-feedback",
    "many-classes",
    "packed-2",
    "one-value",
    "readout-alone",
)


@pytest.mark.parametrize("pace", JITTERY[2:], ids=str)
@pytest.mark.parametrize("name", HESITANT)
def test_hesitant_surroundings_change_nothing(name: str, pace: Pace) -> None:
    """Idle sources and busy sinks, junk on the idle payload."""
    plan = plan_of(name)
    SharedRun(plan, random_pixels(plan.network, 3, seed=8)[1:], pace)


@pytest.mark.parametrize("seed", range(14, 26))
def test_random_graphs(seed: int) -> None:
    """Whatever the cases above did not think of."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, [QUICK, *NEURONS.values()])
    plan = plan_shared(network, int(2 ** rng.integers(1, 4)))
    SharedRun(plan, random_pixels(network, 3, seed)[1:]).check_law()


def test_residual_network() -> None:
    """All kinds of edges at once, thresholds by channel, a delayed edge to the readout."""
    plan = plan_shared(image_of(replace(residual(), steps=2)), 8)
    run = SharedRun(plan, np.random.default_rng(2).integers(0, 8, (1, 72)).astype(np.uint8))
    assert run.lively
    run.check_law()


def test_a_chain_of_dense_layers() -> None:
    """A network without shapes and edges runs on a shared core too."""
    rng, neurons = np.random.default_rng(1), [NEURONS["leak"], NEURONS["unequal-soft"]]
    network = random_image(rng, (11, 7, 9, 5), steps=3, input_bits=3, neurons=neurons)
    run = SharedRun(plan_shared(network, 4), random_pixels(network, 3))
    assert run.lively
    run.check_law()


def test_a_recurrent_network_by_hand() -> None:
    """Cell a is driven by 3 a step against a threshold of 5, and held back by 4 when b has fired in
    the step before. Cell b has threshold 4 and bias 1; a's spike gives it 2, its own of the step
    before 1.

        step    v of a             v of b
        0       3                  1
        1       3 + 3 = 6 fires    1 + 2 + 1 = 4 fires
        2       3 - 4 = -1         1 + 1 = 2
        3       -1 + 3 = 2         2 + 1 = 3
        4       2 + 3 = 5 fires    3 + 2 + 1 = 6 fires
        5       3 - 4 = -1         1 + 1 = 2

    A spike of a is worth 3 to the one class and -1 to the other, one of b in the step before 1 and
    2, and the other's bias is 1: 2 * 3 + 2 * 1 and 2 * -1 + 2 * 2 + 6 * 1, which is equal; the
    first maximum is class 0.
    """
    spec = NetworkSpec(
        name="hand",
        input_size=1,
        input_bits=1,
        steps=6,
        layers=(
            LayerSpec(
                name="a",
                inputs=2,
                neurons=1,
                weight_bits=4,
                shape=(1, 1, 1),
                neuron=NeuronSpec(theta=5, potential_bits=4),
                edges=(dense("input"), dense("b", delay=1)),
            ),
            LayerSpec(
                name="b",
                inputs=2,
                neurons=1,
                weight_bits=4,
                shape=(1, 1, 1),
                neuron=NeuronSpec(theta=4, potential_bits=4),
                edges=(dense("a"), dense("b", delay=1)),
            ),
            LayerSpec(
                name="out",
                inputs=2,
                neurons=2,
                weight_bits=4,
                shape=(2, 1, 1),
                edges=(dense("a"), dense("b", delay=1)),
            ),
        ),
    )
    weights = (
        [np.array([[3]]), np.array([[-4]])],
        [np.array([[2]]), np.array([[1]])],
        [np.array([[3], [-1]]), np.array([[1], [2]])],
    )
    network = Network(spec, weights, (np.array([0]), np.array([1]), np.array([0, 1])))
    run = SharedRun(plan_shared(network, 2), np.array([[1]]))
    (a_spikes, a_kept), (b_spikes, b_kept) = run.seen["a"], run.seen["b"]
    assert a_spikes.reshape(-1).tolist() == [0, 1, 0, 0, 1, 0]
    assert a_kept.reshape(-1).tolist() == [3, 0, -1, 2, 0, -1]
    assert b_spikes.reshape(-1).tolist() == [0, 1, 0, 0, 1, 0]
    assert b_kept.reshape(-1).tolist() == [1, 0, 2, 3, 0, 2]
    layout = result_layout(2, run.programs[0].logit_bits)
    results = [fields(layout, raw) for raw in run.sink.values]
    assert [(r.logit, r.best, r.last) for r in results] == [(8, 0, 0), (8, 0, 1)]


@pytest.mark.parametrize("constant", [32767, -32767])
def test_an_identity_with_the_largest_constant(constant: int) -> None:
    """A constant is wider than any weight, and meets pixels of three planes and spikes of either
    sign."""
    neuron = NeuronSpec(theta=70000, potential_bits=18)
    image = network(
        (3, 2, 2),
        part(3, identity("input"), neuron=neuron),
        part(3, identity("a"), neuron=neuron),
        part(2, dense("b"), dense("a")),
        steps=4,
        bits=3,
    )
    wide = np.array([constant])
    image = Network(image.spec, ([wide], [wide], image.weights[2]), image.biases)
    run = SharedRun(plan_shared(image, 2), random_pixels(image, 3))
    assert run.lively
    run.check_law()


@pytest.mark.parametrize("lanes", [2, 4, 8, 16, 32])
def test_lanes_change_nothing_but_time(lanes: int) -> None:
    """More of them than any map has channels, and fewer."""
    image = network(
        (3, 3, 4),
        part(6, conv("input", 3, padding=1)),
        part(5, dense("a"), dense("b", delay=1)),
        part(3, dense("b"), dense("a", pool=3)),
    )
    SharedRun(plan_shared(image, lanes), random_pixels(image, 3)[2:]).check_law()


def test_long_walks_and_then_nothing() -> None:
    """Events wait for each other's walks, and the words behind them for the events; the rest of the
    map is empty, and looking at it takes longer than what is still on its way."""
    image = network((2, 1, 100), part(16, dense("input")), bits=1, steps=1)
    pixels = np.zeros((3, 2, 100), dtype=np.uint8)
    for one, lit in zip(pixels, (4, 6, 10), strict=True):
        one[:, :lit] = 1
    SharedRun(plan_shared(image, 2), pixels.reshape(3, 200)).check_law()


# Resets and pauses


SMALL = plan_of("recurrent-identity")
"""Has every operation: a drive, sweeps with it, scans of both kinds."""

RESETS = (
    1,
    5,
    25,
    70,
    90,
    100,
    130,
    145,
    160,
    190,
    200,
    220,
    240,
    250,
    280,
    300,
    320,
    340,
    360,
    378,
    381,
    430,
)


@pytest.mark.parametrize("cycle", RESETS)
def test_a_reset_at_any_time(cycle: int) -> None:
    """While an image is loaded, in any operation, while logits are sent: the next images are right,
    and as quick as after any other reset."""
    run = SharedRun(SMALL, random_pixels(SMALL.network, 3)[1:], reset_at=cycle)
    run.check_law()


def test_resets_met_every_operation() -> None:
    """The test above did what it says."""
    run = SharedRun(SMALL, random_pixels(SMALL.network, 3)[1:])
    met = {run.operations[0][cycle] for cycle in RESETS}
    assert met == set(range(len(SMALL.program.operations)))


@pytest.mark.parametrize("lead", [1, 2, 3, 40])
def test_an_image_that_comes_late(lead: int) -> None:
    """The core waits for it, and keeps the law."""
    run = SharedRun(SMALL, random_pixels(SMALL.network, 3)[1:], settle=lead)
    run.check_law(lead)
