"""Chains of dense layers; Hypothesis strategies: networks of every neuron row, edges of any shape,
and images for them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from hw.contract.builder import NetworkBuilder, random_network
from hw.contract.checks import signed_bits
from hw.contract.edge import INPUT, MAX_KERNEL, EdgeSpec, most_stride
from hw.contract.network import Network, NetworkError
from hw.contract.neuron import NeuronSpec, ReadoutSpec
from hw.contract.spec import LayerSpec, NetworkSpec

READOUTS = {
    "shift-last": ReadoutSpec(decay="shift", decay_shift=1, fraction_bits=3),
    "leak-floor-sum": ReadoutSpec(decay="leak", decay_shift=2, decay_rounding="floor", value="sum"),
    "factor-max": ReadoutSpec(
        decay="factor", decay_factor=1843, decay_shift=11, fraction_bits=2, value="max"
    ),
    "factor-last": ReadoutSpec(decay="factor", decay_factor=5, decay_shift=3),
    "none-max": ReadoutSpec(value="max"),
}
"""Readouts that leak, of all kinds: decays without an addition, with one level and with three."""


def chain(
    sizes: Sequence[int],
    neurons: NeuronSpec | Sequence[NeuronSpec],
    *,
    weight_bits: int | Sequence[int] = 4,
    readout: ReadoutSpec | None = None,
    **fields: Any,
) -> NetworkSpec:
    """Dense layers l0, l1, ... of these sizes, the input's first, the readout's last. Neurons and
    widths of weights by layer, or one for all; `fields` are those of `NetworkBuilder`."""
    count = len(sizes) - 1
    cells = [neurons] * (count - 1) if isinstance(neurons, NeuronSpec) else neurons
    widths = [weight_bits] * count if isinstance(weight_bits, int) else weight_bits
    builder = NetworkBuilder(sizes[0], **fields)
    for n, (size, neuron, bits) in enumerate(zip(sizes[1:], (*cells, None), widths, strict=True)):
        read = readout if n == count - 1 else None
        builder.layer(f"l{n}", size, neuron=neuron, weight_bits=bits, readout=read)
    return builder.spec()


def random_current(rng: np.random.Generator) -> dict[str, Any]:
    """A synaptic current, in every other neuron."""
    kind = str(rng.choice(["off", "off", "off", "off", "shift", "leak", "factor", "none"]))
    shift = 0 if kind in ("off", "none") else int(rng.integers(1, 5))
    factor = int(rng.integers(1, 2**shift)) if kind == "factor" else 0
    return {"current": kind, "current_shift": shift, "current_factor": factor}


def random_neuron(rng: np.random.Generator, theta: int, potential_bits: int = 8) -> NeuronSpec:
    """A neuron of any kind."""
    decay = str(rng.choice(["none", "shift", "leak", "factor"]))
    shift = 0 if decay == "none" else int(rng.integers(1, 4))
    soft = bool(rng.random() < 0.5)
    return NeuronSpec(
        theta=theta,
        negative=str(rng.choice(["free", "free", "off", "guarded"])),
        limit=int(rng.choice([1, 1, 2, 5, 15])),
        decay=decay,
        decay_shift=shift,
        decay_factor=int(rng.integers(1, 2**shift)) if decay == "factor" else 0,
        **random_current(rng),
        reset="soft" if soft else "hard",
        step=int(rng.integers(1, 2 * theta + 1)) if soft else 0,
        u0=int(rng.integers(1 - theta, theta)),
        potential_bits=max(potential_bits, (theta - 1).bit_length() + 1, 2),
    )


def random_chain(
    rng: np.random.Generator,
    sizes: Sequence[int],
    *,
    steps: int,
    input_bits: int,
    neurons: Sequence[NeuronSpec] | None = None,
    bias: int = 9,
    weight_bits: int = 4,
    own: bool = False,
    **fields: Any,
) -> Network:
    """Dense layers of these sizes, of any neurons where none are given, with random integers.
    `own`: constants by channel, of some kind in each layer."""
    if neurons is None:
        wider = weight_bits - 4
        neurons = [
            random_neuron(rng, int(rng.integers(2, 60)) << wider, 8 + wider) for _ in sizes[2:]
        ]
    fields = {"name": "random", "steps": steps, "input_bits": input_bits} | fields
    spec = chain(sizes, neurons, weight_bits=weight_bits, **fields)
    return random_network(with_own(spec, rng) if own else spec, rng, bias=bias)


def random_readout(rng: np.random.Generator) -> ReadoutSpec | None:
    """The sum, or a leak of any kind."""
    kind = str(rng.choice(["none", "shift", "leak", "factor"]))
    shift = 0 if kind == "none" else int(rng.integers(1, 13 if kind == "factor" else 5))
    return ReadoutSpec(
        decay=kind,
        decay_shift=shift,
        decay_factor=int(rng.integers(1, 2**shift)) if kind == "factor" else 0,
        decay_rounding=str(rng.choice(["zero", "floor"])) if shift else "zero",
        fraction_bits=int(rng.choice([0, 1, 4])) if shift else 0,
        value=str(rng.choice(["last", "sum", "max"])),
    )


def with_own(spec: NetworkSpec, rng: np.random.Generator) -> NetworkSpec:
    """The chain, each of its layers that fire with constants by channel of some kind."""
    layers = []
    for layer in spec.layers:
        if layer.neuron is not None:
            thetas, decays = [(True, False), (False, True), (True, True)][rng.integers(3)]
            layer = _owning(layer, thetas, int(rng.integers(1, 13)) if decays else 0)
        layers.append(layer)
    return replace(spec, layers=tuple(layers))


def _owning(layer: LayerSpec, thetas: bool, shift: int) -> LayerSpec:
    """With thresholds by channel, and decays of factors of so many bits (0: those that it has)."""
    assert layer.neuron is not None
    neuron = replace(layer.neuron, u0=0)
    if thetas:
        neuron = replace(neuron, theta_negative=None)
    if shift:
        neuron = replace(neuron, decay="factor", decay_shift=shift, decay_factor=0)
    return replace(layer, neuron=neuron, channel_thresholds=thetas, channel_decays=shift > 0)


def with_shifts(spec: NetworkSpec, shifts: Sequence[int]) -> NetworkSpec:
    """The chain, with what arrives at each layer counted 2^shift times."""
    layers = list(spec.layers)
    for n, shift in enumerate(shifts[: len(layers)]):
        source = layers[n - 1].name if n else INPUT
        if shift:
            layers[n] = replace(layers[n], edges=(EdgeSpec(source=source, shift=shift),))
    return replace(spec, layers=tuple(layers))


def network_of_ones(spec: NetworkSpec) -> Network:
    """A chain with all weights 1 and no bias: where only its shape matters."""
    weights = tuple(np.ones((layer.neurons, layer.inputs), int) for layer in spec.layers)
    return Network(spec, weights, tuple(np.zeros(layer.neurons, int) for layer in spec.layers))


@st.composite
def neurons(draw, wider: int = 0) -> NeuronSpec:
    """Any neuron: all modes mixed; thresholds at powers of two and not, of so many bits more than
    7 at most, L from 1 to 15, guards, initial potentials, soft potentials that saturate."""
    thetas = st.sampled_from([1, 2, 5, 8, 16, 23, 64]) | st.integers(1, 120)
    thetas = thetas.map(lambda theta: theta << wider)
    theta = draw(thetas)
    negative = draw(st.sampled_from(["free", "off", "guarded"]))
    other = None if negative == "off" else draw(st.just(theta) | thetas)
    kind = draw(st.sampled_from(["none", "shift", "leak", "factor"]))
    shift = 0 if kind == "none" else draw(st.integers(1, 12 if kind == "factor" else 5))
    current = draw(st.sampled_from(["off", "off", "off", "none", "shift", "leak", "factor"]))
    slow = 0
    if current not in ("off", "none"):
        slow = draw(st.integers(1, 12 if current == "factor" else 5))
    kept = draw(st.sampled_from(["hard", "soft"]))
    least = max(2, signed_bits(max(theta, other or 0) - 1))
    return NeuronSpec(
        theta=theta,
        theta_negative=other,
        negative=negative,
        limit=draw(st.just(1) | st.integers(1, 15)),
        decay=kind,
        decay_shift=shift,
        decay_factor=draw(st.integers(1, 2**shift - 1)) if kind == "factor" else 0,
        decay_rounding=draw(st.sampled_from(["zero", "floor"])) if shift or slow else "zero",
        decay_when=draw(st.sampled_from(["before", "after"])),
        fraction_bits=draw(st.sampled_from([0, 0, 0, 1, 4])),
        current=current,
        current_shift=slow,
        current_factor=draw(st.integers(1, 2**slow - 1)) if current == "factor" else 0,
        reset=kept,
        step=draw(st.sampled_from([theta, 2 * theta, 1])) if kept == "soft" else 0,
        u0=draw(st.integers(1 - (other or theta), theta - 1)),
        potential_bits=draw(st.integers(least, least + 4)),
    )


def readouts() -> st.SearchStrategy[ReadoutSpec | None]:
    """The sum, or any leak."""
    leaks = st.integers(0, 2**32 - 1).map(lambda seed: random_readout(np.random.default_rng(seed)))
    return st.none() | leaks


@st.composite
def own_constants(draw, layer: LayerSpec) -> LayerSpec:
    """The layer, with thresholds (under soft reset: steps), or decays by channel, or both."""
    if layer.neuron is None:
        return layer
    thetas, decays = draw(st.sampled_from([(True, False), (False, True), (True, True)]))
    return _owning(layer, thetas, draw(st.integers(1, 12)) if decays else 0)


@st.composite
def networks(draw, max_size: int = 12, own: bool = False) -> Network:
    """A chain of one to three layers with random integers; biases reach the thresholds. `own`: each
    neuron has constants of its own, of any kind that its layer may have."""
    sizes = draw(st.lists(st.integers(1, max_size), min_size=2, max_size=4))
    seed = draw(st.integers(0, 2**32 - 1))
    widths = [draw(st.integers(2, 8) | st.integers(2, 16)) for _ in sizes[1:]]
    spec = chain(
        sizes,
        [draw(neurons(max(0, bits - 8))) for bits in widths[:-1]],
        weight_bits=widths,
        readout=draw(readouts()),
        input_bits=draw(st.integers(1, 8)),
        steps=draw(st.integers(1, 4)),
    )
    if own:
        layers = [draw(own_constants(layer)) for layer in spec.layers]
        spec = replace(spec, layers=tuple(layers))
    spec = with_shifts(spec, draw(st.just([]) | st.lists(st.integers(0, 7), min_size=3)))
    try:
        return random_network(spec, seed, bias=None)
    except NetworkError:  # widest weights, brightest pixels, most bits of a fraction: 33 bits
        reject()


def pixels_for(data, network: Network, count: int) -> np.ndarray:
    """Images (count, input_size) for a network, from empty to full."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = (count, network.spec.input_size)
    filled = rng.random(shape) < data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    return (rng.integers(0, network.spec.pixel_max + 1, shape) * filled).astype(np.uint8)


@st.composite
def convolutions(draw, sides: tuple[int, int], most: int = MAX_KERNEL) -> dict[str, Any]:
    """Kernel, stride and padding that maps of these sides admit: squares, and any other."""
    shapes = st.sampled_from([1, 2, 3, 4, 5, 7]) | st.integers(1, most)
    square = draw(st.booleans())
    high = min(draw(shapes), most)
    kernel = high, high if square else min(draw(shapes), most)
    stride = tuple(draw(st.integers(1, min(3, most_stride(side)))) for side in kernel)
    least = [max(0, -(-(k - side) // 2)) for k, side in zip(kernel, sides, strict=True)]
    padding = tuple(draw(st.integers(p, k - 1)) for p, k in zip(least, kernel, strict=True))
    return {"kernel": kernel, "stride": stride, "padding": padding}


@st.composite
def edges(draw):
    """(edge, shape of its source, shape of its target)."""
    kind = draw(st.sampled_from(["dense", "conv", "conv", "conv", "identity"]))
    pool = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    source_side = (
        rows * pool[0] + draw(st.integers(0, pool[0] - 1)),
        columns * pool[1] + draw(st.integers(0, pool[1] - 1)),
    )
    groups = draw(st.integers(1, 3)) if kind == "conv" else 1
    source = (groups * draw(st.integers(1, 3)), *source_side)
    if kind != "conv":
        edge = EdgeSpec(source="a", kind=kind, pool=pool)
        return edge, source, edge.made(source, draw(st.integers(1, 9)))
    fields = draw(convolutions((rows, columns)))
    edge = EdgeSpec(source="a", kind="conv", pool=pool, groups=groups, **fields)
    return edge, source, edge.made(source, groups * draw(st.integers(1, 3)))
