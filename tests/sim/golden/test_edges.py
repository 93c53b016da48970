"""Golden model of graphs: every edge against loops written out, a recurrent network by hand."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract.edge import EdgeSpec, both_sides
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from sim.golden.edges import exact_float, fan_out, pool, receive
from sim.golden.model import GoldenModel
from tests.graphs import network_of, residual
from tests.networks import edges


def by_hand(values, edge: EdgeSpec, kernel, target):
    """One image's maps (channels, rows, columns) over an edge, in loops of integers."""
    high, wide = both_sides(edge.pool)
    (kernel_rows, kernel_columns), strides, zeros = (
        both_sides(sides) for sides in (edge.kernel, edge.stride, edge.padding)
    )
    channels, rows, columns = edge.pooled(values.shape)
    pooled = np.zeros((channels, rows, columns), dtype=int)
    for c, y, x in np.ndindex(channels, rows * high, columns * wide):
        pooled[c, y // high, x // wide] += values[c, y, x]
    if edge.kind == "dense":
        return (kernel @ pooled.reshape(-1)).reshape(target)
    made = np.zeros(target, dtype=int)
    if edge.kind == "identity":
        return pooled * kernel[0]
    per_group, inner = target[0] // edge.groups, channels // edge.groups
    for co, oy, ox in np.ndindex(*target):
        for ci, ky, kx in np.ndindex(inner, kernel_rows, kernel_columns):
            y, x = oy * strides[0] + ky - zeros[0], ox * strides[1] + kx - zeros[1]
            if 0 <= y < rows and 0 <= x < columns:
                source = co // per_group * inner + ci
                made[co, oy, ox] += kernel[co, ci, ky, kx] * pooled[source, y, x]
    return made


@settings(max_examples=150)
@given(edges(), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_every_edge_is_its_loops(made, shift: int, seed: int) -> None:
    """And 2^shift times as much, where it has one."""
    edge, source, target = made
    edge = replace(edge, shift=shift)
    random = np.random.default_rng(seed)
    kernel = random.integers(-7, 8, edge.weight_shape(source, target, "b"))
    values = random.integers(-3, 4, (2, *source))
    found = receive(values, edge, kernel.astype(np.float32))
    for one, ours in zip(values, found, strict=True):
        assert np.array_equal(ours.reshape(target), by_hand(one, edge, kernel, target) << shift)


@settings(max_examples=100)
@given(edges())
def test_fan_out_is_how_far_one_value_reaches(made) -> None:
    edge, source, target = made
    kernel = np.ones(edge.weight_shape(source, target, "b"), dtype=np.float32)
    found = fan_out(edge, source, target)
    for y, x in np.ndindex(*source[1:]):
        one = np.zeros((1, *source), dtype=int)
        one[0, 0, y, x] = 1
        places = np.count_nonzero(receive(one, edge, kernel))
        assert found[y, x] == places


def test_every_value_reaches_all_neurons_over_dense_weights() -> None:
    """Of maps whose sides differ, too; over an identity, one."""
    assert fan_out(EdgeSpec(source="a"), (2, 1, 2), (5, 2, 3)).tolist() == [[30, 30]]
    assert fan_out(EdgeSpec(source="a", kind="identity"), (2, 1, 2), (2, 1, 2)).tolist() == [[1, 1]]


def test_the_narrowest_float_that_is_exact() -> None:
    """Of single precision up to 2^24, of double up to 2^53, where no layer's sums are."""
    for bound, kind in ((0, np.float32), (2**24 - 1, np.float32), (2**24, np.float64)):
        layer: Any = SimpleNamespace(accumulator_bound=bound)
        assert exact_float(layer) is kind
    layer = SimpleNamespace(accumulator_bound=2**53 - 1)
    assert exact_float(layer) is np.float64
    layer.accumulator_bound += 1
    with pytest.raises(AssertionError):
        exact_float(layer)


def test_what_is_not_pooled_is_passed_on() -> None:
    values = np.ones((1, 2, 3, 4))
    assert pool(values, 1) is values


def test_a_graph_is_its_loops() -> None:
    """All layers of the residual network, all steps, in loops; sums reach what the bounds admit,
    and no more."""
    network, spec = network_of(residual(), seed=4), residual()
    pixels = np.random.default_rng(5).integers(0, 8, (3, 72))
    trace = GoldenModel(network).run(pixels)
    for i, one in enumerate(pixels):
        before = {layer.name: np.zeros(layer.map_shape, int) for layer in spec.layers[:-1]}
        u = {name: np.zeros_like(c) for name, c in before.items()}
        logits = np.zeros(3, int)
        for t in range(spec.steps):
            now = {"input": one.reshape(2, 6, 6)}
            for n, layer in enumerate(network.layers):
                target = layer.spec.map_shape
                v = np.zeros(target, int) + layer.bias.reshape(-1, 1, 1)
                for edge, kernel in zip(layer.edges, layer.kernels, strict=True):
                    sent = (before if edge.delay else now)[edge.source]
                    v = v + by_hand(sent, edge, kernel.astype(int), target)
                assert np.abs(v).max() <= layer.drive_bound
                if layer.spec.neuron is None:
                    logits += v.reshape(-1)
                    continue
                name = layer.spec.name
                v = v + u[name]
                theta = 20 if layer.thetas is None else layer.thetas.reshape(-1, 1, 1)
                c = (v >= theta).astype(int) - (v <= -theta)
                u[name] = np.where(c != 0, 0, v)
                now[name] = c
                assert np.array_equal(trace.spikes[n][i, t], c.reshape(-1))
                assert np.array_equal(trace.potentials[n][i, t], u[name].reshape(-1))
            before = now
        assert np.array_equal(trace.logits[i], logits)
    assert all(0.05 < np.mean(c != 0) < 0.95 for c in trace.spikes)


def test_recurrence_by_hand() -> None:
    """One neuron that excites itself: driven by 2 a step against a threshold of 5, it fires at the
    third; from then on its own spike, worth 3, comes a step later."""
    spec = NetworkSpec(
        name="echo",
        input_size=1,
        input_bits=1,
        steps=6,
        layers=(
            LayerSpec(
                name="cell",
                inputs=2,
                neurons=1,
                weight_bits=3,
                shape=(1, 1, 1),
                neuron=NeuronSpec(theta=5, potential_bits=4),
                edges=(EdgeSpec(source="input"), EdgeSpec(source="cell", delay=1)),
            ),
            LayerSpec(name="out", inputs=1, neurons=1, weight_bits=2),
        ),
    )
    network = Network(
        spec, ([np.array([[2]]), np.array([[3]])], np.array([[1]])), (np.array([0]), np.array([0]))
    )
    trace = GoldenModel(network).run([[1]])
    # u: 2, 4, (6 >= 5: fires, 0), 2 + 3 = 5: fires, 0; 2 + 3 = 5: fires, 0; ...
    assert trace.spikes[0][0, :, 0].tolist() == [0, 0, 1, 1, 1, 1]
    assert trace.potentials[0][0, :, 0].tolist() == [2, 4, 0, 0, 0, 0]
    assert trace.logits.tolist() == [[4]]


@pytest.mark.parametrize("steps", [1, 4])
def test_a_feedback_edge_brings_the_step_before(steps: int) -> None:
    """Without its delayed edges, a network of one step is the same network."""
    spec = residual()
    layers = list(spec.layers)
    layers[1] = LayerSpec(**{**vars(layers[1]), "edges": layers[1].edges[:1], "inputs": 144})
    bare = NetworkSpec(**{**vars(spec), "layers": tuple(layers), "steps": steps})
    whole = network_of(NetworkSpec(**{**vars(spec), "steps": steps}))
    kernels = [list(layer.kernels) for layer in whole.layers]
    kernels[1] = kernels[1][:1]
    without = Network(bare, tuple(kernels), whole.biases, thetas=whole.thetas)
    pixels = np.random.default_rng(1).integers(0, 8, (20, 72))
    same = np.array_equal(
        GoldenModel(whole).run(pixels).spikes[1], GoldenModel(without).run(pixels).spikes[1]
    )
    assert same == (steps == 1)
