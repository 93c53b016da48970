"""Ring 3: cores of programs as Verilog under Verilator, against the golden model.

One network has every kind of edge: convolution with groups, a stride and pooling, an identity, a
recurrent edge, thresholds by channel, more than one segment. Each layout is compiled once.
"""

from dataclasses import replace

import numpy as np
import pytest

import sim.bench.run
from gen.core.plan import CorePlan, plan_mixed, plan_programs, plan_windows
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from sim.bench.run import simulate
from sim.golden.model import GoldenModel
from tests.graphs import network_of, residual
from tests.hw.program.cases import wide
from tests.hw.program.programs import conv, dense, part
from tests.hw.program.programs import network as maps

IMAGES = 6
WIDE = NeuronSpec(theta=800, potential_bits=11)


def plan_shared(network: Network, lanes: int) -> CorePlan:
    return plan_programs(network, lanes, ())


PLANS = {"shared": plan_shared, "pipelined": plan_programs}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: tmp_path_factory.mktemp(name) for name in (*PLANS, "mixed")}


def pixels_for(network, count: int = IMAGES):
    random = np.random.default_rng(3)
    shape = (count, network.spec.image_size)
    return random.integers(0, network.spec.pixel_max + 1, shape).astype(np.uint8)


def run(plan, folder, **more):
    pixels = pixels_for(plan.network)
    labels = GoldenModel(plan.network).classify(pixels)
    report = simulate(plan, pixels, labels, folder, **more)
    assert report["mismatches"] == 0, report["first_mismatch"]
    assert report["cycle_law_violations"] == 0
    assert report["correct_rtl"] == IMAGES
    return report


@pytest.fixture(scope="module")
def flowing(folders):
    """Reports of both schedules."""
    return {
        name: run(make(network_of(residual()), 4), folders[name]) for name, make in PLANS.items()
    }


@pytest.mark.parametrize("schedule", PLANS)
def test_flowing(schedule, flowing):
    """Every spike, every potential, every logit, and the cycle of every class."""
    network, report = network_of(residual()), flowing[schedule]
    assert report["cycle_law_checked"]
    neurons = sum(layer.neurons for layer in network.spec.layers[:-1])
    lanes = sum(
        -(-layer.map_shape[0] // 4) * 4 * layer.map_shape[1] * layer.map_shape[2]
        for layer in network.spec.layers[:-1]
    )
    assert lanes > neurons  # lanes without a channel must not fire
    # Spikes of every lane, potentials of every neuron and step; logit and end of each class; the
    # class.
    assert report["values_compared"] == IMAGES * (
        network.spec.steps * (lanes + neurons) + 2 * network.spec.classes + 1
    )


@pytest.mark.parametrize("schedule", PLANS)
def test_stalled(schedule, folders):
    report = run(PLANS[schedule](network_of(residual()), 4), folders[schedule], stall=0.5)
    assert not report["cycle_law_checked"]


@pytest.mark.parametrize("cycles", [40, 7777])
def test_reset_in_the_middle(cycles, folders):
    run(plan_shared(network_of(residual()), 4), folders["shared"], reset_after=cycles)


def test_both_schedules_do_the_same(flowing):
    """The same spikes, whoever makes them: events and operations are the network's, not the
    hardware's; a pipeline only takes less time."""
    one, many = flowing["shared"], flowing["pipelined"]
    for key in ("events_per_image", "sops_per_image", "values_compared", "correct_rtl"):
        assert one[key] == many[key]
    assert many["cycles_per_image"]["mean"] < one["cycles_per_image"]["mean"]


@pytest.mark.parametrize("stall", [0, 0.4])
def test_both_kinds_of_stage_in_one_core(folders, stall):
    """A program, then layers with hardware of their own: taps of both, and one cycle law."""
    mixed = maps((2, 3, 3), part(4, conv("input", 3)), part(8, dense("a")), part(3, dense("b")))
    report = run(plan_mixed(mixed, 4), folders["mixed"], stall=stall)
    assert report["cycle_law_checked"] == (not stall)
    assert report["bottleneck"] in ("b", "c")


@pytest.mark.parametrize("make", [plan_shared, plan_windows], ids=["shared", "windows"])
def test_wide_weights(make, tmp_path):
    """Of 9, 12 and 16 bits, both ends of each in use: in the maps of a program, and of a window
    with dense layers behind it."""
    parts = wide(16)[0], wide(12)[1], part(7, dense("b"), neuron=WIDE, weight_bits=9)
    network = maps((2, 3, 3), *parts, part(3, dense("c"), weight_bits=16), steps=3)
    for layer in network.layers:
        for edge, kernel in zip(layer.edges, layer.kernels, strict=True):
            ends = {-layer.spec.w_max, layer.spec.w_max}
            assert edge.kind == "identity" or ends <= set(kernel.flat)
    trace = GoldenModel(network).run(pixels_for(network))
    assert all(0 < np.mean(spikes != 0) < 1 for spikes in trace.spikes)
    assert run(make(network, 4), tmp_path)["cycle_law_checked"]


@pytest.mark.parametrize("make", [plan_shared, plan_windows], ids=["shared", "windows"])
def test_kernels_that_are_no_small_squares(make, tmp_path):
    """Even and long ones, rectangles, a stride of the kernel's side, pooling of columns alone."""
    network = maps(
        (1, 7, 13),
        part(3, conv("input", (4, 11), stride=(2, 3), padding=(3, 5))),
        part(4, conv("a", (5, 1), padding=(2, 0)), conv("a", 1)),
        part(4, conv("b", 2, stride=2, pool=(1, 2))),
        part(3, dense("c")),
        steps=3,
    )
    trace = GoldenModel(network).run(pixels_for(network))
    assert all(0 < np.mean(spikes != 0) < 1 for spikes in trace.spikes)
    assert run(make(network, 4), tmp_path)["cycle_law_checked"]


def test_a_recording_on_the_core_that_ships(tmp_path):
    """Without taps: logits, classes and cycles of a network that sees an image per step."""
    network = network_of(replace(residual(), timed_input=True))
    report = run(plan_shared(network, 8), tmp_path, taps=False)
    assert report["cycle_law_checked"]
    assert report["values_compared"] == IMAGES * (2 * network.spec.classes + 1)


def test_another_network_does_not_pass(folders, monkeypatch):
    """A core with one weight changed is found out."""
    network = network_of(residual())
    weights = [w.copy() for w in network.weights]
    weights[0][0] = -weights[0][0] or 1
    other = replace(network, weights=tuple(weights))
    pixels = pixels_for(network)
    whole = sim.bench.run.generate
    monkeypatch.setattr(
        sim.bench.run,
        "generate",
        lambda plan, *rest, **more: whole(plan_shared(other, 4), *rest, **more),
    )
    report = simulate(plan_shared(network, 4), pixels, np.zeros(IMAGES, int), folders["shared"])
    assert report["mismatches"] > 0
    assert "layer stem" in report["first_mismatch"]
