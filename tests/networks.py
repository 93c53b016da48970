"""Hypothesis strategies: networks of every neuron row, any shape, and images for them."""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from hw.contract.checks import signed_bits
from hw.contract.edge import EdgeSpec
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec


@st.composite
def neurons(draw) -> NeuronSpec:
    """Any neuron: all modes mixed; thresholds at powers of two and not, L from 1 to 15, guards,
    initial potentials, soft potentials that saturate."""
    thetas = st.sampled_from([1, 2, 5, 8, 16, 23, 64]) | st.integers(1, 120)
    theta = draw(thetas)
    negative = draw(st.sampled_from(["free", "off", "guarded"]))
    other = None if negative == "off" else draw(st.just(theta) | thetas)
    kind = draw(st.sampled_from(["none", "shift", "leak"]))
    kept = draw(st.sampled_from(["hard", "soft"]))
    least = max(2, signed_bits(max(theta, other or 0) - 1))
    return NeuronSpec(
        theta=theta,
        theta_negative=other,
        negative=negative,
        limit=draw(st.just(1) | st.integers(1, 15)),
        decay=kind,
        decay_shift=0 if kind == "none" else draw(st.integers(1, 5)),
        decay_when=draw(st.sampled_from(["before", "after"])),
        fraction_bits=draw(st.sampled_from([0, 0, 0, 1, 4])),
        reset=kept,
        step=draw(st.sampled_from([theta, 2 * theta, 1])) if kept == "soft" else 0,
        u0=draw(st.integers(1 - (other or theta), theta - 1)),
        potential_bits=draw(st.integers(least, least + 4)),
    )


@st.composite
def networks(draw, max_size: int = 12) -> Network:
    """A chain of one to three layers with random integers."""
    sizes = draw(st.lists(st.integers(1, max_size), min_size=2, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers, weights, biases = [], [], []
    for n, (inputs, count) in enumerate(pairwise(sizes)):
        last = n == len(sizes) - 2
        bits = draw(st.integers(2, 8))
        neuron = None if last else draw(neurons())
        layers.append(
            LayerSpec(name=f"l{n}", inputs=inputs, neurons=count, weight_bits=bits, neuron=neuron)
        )
        top = 2 ** (bits - 1) - 1
        weights.append(rng.integers(-top, top + 1, (count, inputs)))
        reach = 20 if neuron is None else neuron.theta
        biases.append(rng.integers(-reach, reach + 1, count))
    spec = NetworkSpec(
        name="random",
        input_size=sizes[0],
        input_bits=draw(st.integers(1, 8)),
        steps=draw(st.integers(1, 4)),
        layers=tuple(layers),
    )
    return Network(spec, tuple(weights), tuple(biases))


def pixels_for(data, network: Network, count: int) -> np.ndarray:
    """Images (count, input_size) for a network, from empty to full."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = (count, network.spec.input_size)
    filled = rng.random(shape) < data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    return (rng.integers(0, network.spec.pixel_max + 1, shape) * filled).astype(np.uint8)


@st.composite
def edges(draw):
    """(edge, shape of its source, shape of its target)."""
    kind = draw(st.sampled_from(["dense", "conv", "conv", "conv", "identity"]))
    pool = draw(st.integers(1, 3))
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    source_side = (
        rows * pool + draw(st.integers(0, pool - 1)),
        columns * pool + draw(st.integers(0, pool - 1)),
    )
    groups = draw(st.integers(1, 3)) if kind == "conv" else 1
    source = (groups * draw(st.integers(1, 3)), *source_side)
    if kind != "conv":
        edge = EdgeSpec(source="a", kind=kind, pool=pool)
        dense = (draw(st.integers(1, 9)), 1, 1)
        return edge, source, edge.pooled(source) if kind == "identity" else dense
    kernel, stride = draw(st.sampled_from([1, 3, 5, 7])), draw(st.integers(1, 2))
    least = max(0, -(-(kernel - min(rows, columns)) // 2))
    padding = draw(st.integers(least, max(least, kernel - 1)))
    edge = EdgeSpec(
        source="a",
        kind="conv",
        pool=pool,
        kernel=kernel,
        stride=stride,
        padding=padding,
        groups=groups,
    )
    made = [(side + 2 * padding - kernel) // stride + 1 for side in (rows, columns)]
    return edge, source, (groups * draw(st.integers(1, 3)), *made)
