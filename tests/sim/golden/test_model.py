"""sim.golden.model: each law at its edges, its symmetry, and the whole against a slow reading."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract.builder import random_network
from hw.contract.checks import InputError
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec, ReadoutSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from sim.golden.model import GoldenModel, decay, drive, fire, saturate
from sw.data.shipped import model_path
from tests.graphs import NEURON
from tests.hw.program.programs import leaky
from tests.networks import READOUTS, chain, networks, pixels_for, random_chain


def by_the_book(network: Network, pixels: list[int]):
    """The contract with Python integers and loops, one image: spikes, potentials, logits."""

    def divide(u: int, k: int, rounding: str) -> int:
        return math.floor(Fraction(u, 2**k)) if rounding == "floor" else int(Fraction(u, 2**k))

    layers = network.layers
    state = [[layer.spec.neuron.u0] * layer.spec.neurons for layer in layers if layer.spec.neuron]
    counts = [[0] * len(layer) for layer in state]
    synapses = [[0] * len(layer) for layer in state]
    spikes, potentials = [[] for _ in state], [[] for _ in state]
    answers = []  # of each step: drives, or potentials of a readout that leaks
    for step in range(network.spec.steps):
        inputs = pixels
        for n, layer in enumerate(layers):
            shift = network.spec.edges(n)[0].shift
            currents = [
                sum(int(w) * c for w, c in zip(row, inputs, strict=True)) * 2**shift + int(b)
                for row, b in zip(layer.dense_weights, layer.bias, strict=True)
            ]
            p = layer.spec.neuron
            if p is None:
                r, now = layer.spec.readout, currents
                if r is not None:
                    now = []
                    before = answers[-1] if answers else [0] * len(currents)
                    for m, current in zip(before, currents, strict=True):
                        part = divide(m * (r.decay_factor or 1), r.decay_shift, r.decay_rounding)
                        d = {"none": m, "leak": m - part}.get(r.decay, part)
                        now.append(d + current * 2**r.fraction_bits)
                answers.append(now)
                continue
            fired = []
            for i, current in enumerate(currents):
                u, m = state[n][i], p.decay_factor or 1
                up, down, step_down = p.theta, p.theta_negative or p.theta, p.step
                if layer.factors is not None:
                    m = int(layer.factors[i])
                if layer.thetas is not None:
                    up = down = int(layer.thetas[i])
                if layer.reset_steps is not None:
                    step_down = int(layer.reset_steps[i])
                part = divide(u * m, p.decay_shift, p.decay_rounding)
                d = {"none": u, "leak": u - part}.get(p.decay, part)
                if step == 0 and p.decay_when == "after":
                    d = u
                x = synapses[n][i]
                part = divide(x * (p.current_factor or 1), p.current_shift, p.decay_rounding)
                x = {"off": 0, "none": x, "leak": x - part}.get(p.current, part)
                x = synapses[n][i] = x + current * 2**p.fraction_bits
                v = d + x
                if v >= 0:
                    c = min(p.limit, v // up)
                elif p.negative == "off":
                    c = 0
                else:
                    c = min(p.limit, -v // down)
                    if p.negative == "guarded":
                        c = min(c, counts[n][i])
                    c = -c
                counts[n][i] += c
                r = (0 if c else v) if p.reset == "hard" else v - c * step_down
                top = 2 ** (p.potential_bits - 1) - 1
                state[n][i] = max(-top, min(top, r))
                fired.append(c)
            spikes[n].append(fired)
            potentials[n].append(list(state[n]))
            inputs = fired
    value = network.spec.layers[-1].readout.value if network.spec.layers[-1].readout else "sum"
    read = {"last": lambda values: values[-1], "sum": sum, "max": max}[value]
    return spikes, potentials, [read(values) for values in zip(*answers, strict=True)]


@settings(max_examples=60)
@given(network=networks(), data=st.data())
def test_equals_the_contract_read_slowly(network, data):
    pixels = pixels_for(data, network, count=2)
    trace = GoldenModel(network).run(pixels)
    for n, one in enumerate(pixels.tolist()):
        spikes, potentials, logits = by_the_book(network, one)
        for layer in range(len(spikes)):
            assert trace.spikes[layer][n].tolist() == spikes[layer]
            assert trace.potentials[layer][n].tolist() == potentials[layer]
        assert trace.logits[n].tolist() == logits
        assert trace.classes[n] == logits.index(max(logits))
    assert GoldenModel(network).classify(pixels, batch=1).tolist() == trace.classes.tolist()
    assert np.abs(trace.logits).max() <= network.layers[-1].logit_bound


DOWN = ReadoutSpec(decay="shift", decay_shift=2, decay_rounding="floor")
"""Potentials below 0 keep more than those above."""


@pytest.mark.parametrize("readout", [*READOUTS.values(), DOWN], ids=[*READOUTS, "shift-floor-last"])
def test_a_leaky_answer_forms_as_that_of_fewer_steps(readout):
    """And reaches its bounds, where all drives are as large as they can be."""
    network = leaky(
        random_chain(np.random.default_rng(4), (6, 8, 3), steps=5, input_bits=2), readout
    )
    pixels = np.random.default_rng(5).integers(0, 4, (6, 6)).astype(np.uint8)
    logits, _ = GoldenModel(network).over_time(pixels, batch=4)
    for t in range(1, 6):
        fewer = replace(network, spec=replace(network.spec, steps=t))
        assert np.array_equal(logits[:, t - 1], GoldenModel(fewer).run(pixels).logits)
    spec = chain((1, 1), [], steps=5, input_bits=3, readout=readout)
    reached = []
    for weight in (7, -7):
        full = Network(spec, (np.array([[weight]]),), (np.array([weight]),))
        ((logit,),) = GoldenModel(full).run([[7]]).logits.tolist()
        if readout.value == "max" and weight < 0:  # the first is the least negative
            assert logit == weight * 8 << readout.fraction_bits
        reached.append(abs(logit))
    assert max(reached) == full.layers[-1].logit_bound < 2 ** (full.layers[-1].logit_bits - 1)


@settings(max_examples=60)
@given(network=networks(own=True), data=st.data())
def test_constants_by_channel_equal_the_contract_read_slowly(network, data):
    pixels = pixels_for(data, network, count=2)
    trace = GoldenModel(network).run(pixels)
    for n, one in enumerate(pixels.tolist()):
        spikes, potentials, logits = by_the_book(network, one)
        for layer in range(len(spikes)):
            assert trace.spikes[layer][n].tolist() == spikes[layer]
            assert trace.potentials[layer][n].tolist() == potentials[layer]
        assert trace.logits[n].tolist() == logits


@pytest.mark.parametrize("kind", ["none", "shift", "leak", "factor"])
def test_laws_are_odd(kind):
    """All signs turned in, all signs turned out: what truncation toward zero is for."""
    neuron = NeuronSpec(
        theta=7,
        decay=kind,
        decay_shift=0 if kind == "none" else 2,
        decay_factor=3 * (kind == "factor"),
        potential_bits=8,
    )
    u = np.arange(-200, 201)
    assert (decay(-u, neuron) == -decay(u, neuron)).all()
    assert (fire(-u, neuron) == -fire(u, neuron)).all()
    assert (saturate(-u, neuron) == -saturate(u, neuron)).all()


@pytest.mark.parametrize(("size", "bits"), [(65536, 8), (256, 16)])
def test_drive_is_exact_beyond_float32(size, bits):
    layer = LayerSpec(name="r", inputs=size, neurons=1, weight_bits=bits)
    spec = NetworkSpec(name="wide", input_size=size, input_bits=8, steps=1, layers=(layer,))
    most = 2 ** (bits - 1) - 1
    weights = np.full((1, size), most)
    weights[0, 0] = most - 1
    network = Network(spec, (weights,), (np.array([1]),))
    assert network.layers[0].accumulator_bound > 2**24
    pixels = np.full((1, size), 255, dtype=np.uint8)
    expected = (size - 1) * most * 255 + (most - 1) * 255 + 1
    assert drive(pixels, network.layers[0])[0, 0] == expected


def test_images_that_do_not_fit_are_refused():
    layer = LayerSpec(name="r", inputs=3, neurons=1, weight_bits=2)
    spec = NetworkSpec(name="n", input_size=3, input_bits=2, steps=1, layers=(layer,))
    model = GoldenModel(Network(spec, (np.ones((1, 3), int),), (np.zeros(1, int),)))
    for pixels, sentence in [
        (np.zeros(3, int), r"Images must have shape \(n, 3\), not \(3,\)"),
        (np.zeros((2, 4), int), r"Images must have shape \(n, 3\), not \(2, 4\)"),
        (np.zeros((2, 3)), "Pixels must be integers, not float64"),
        (np.full((2, 3), 4), r"Pixels must lie in 0..3, not reach 4..4"),
        (np.full((2, 3), -1), r"Pixels must lie in 0..3, not reach -1..-1"),
    ]:
        with pytest.raises(InputError, match=sentence):
            model.run(pixels)
    assert model.classify(np.zeros((0, 3), int)).tolist() == []


def test_a_run_of_no_images() -> None:
    trace = GoldenModel(Network.load(model_path("digits-dense"))).run(np.zeros((0, 64), int))
    assert trace.logits.shape == (0, 10)
    assert trace.spikes[0].shape == trace.potentials[0].shape == (0, 4, 128)
    assert trace.classes.shape == (0,)


@pytest.mark.parametrize(
    ("size", "steps", "neurons", "batch"),
    [
        (3, 2, 4, 1000),  # as many as there ever are
        (500, 4, 10, 500),
        (10, 4, 500, 500),
        (9901, 1, 10, 100),
        (50_000, 100, 10, 1),
    ],
)
def test_as_many_images_at_once_as_keep_arrays_small(
    size: int, steps: int, neurons: int, batch: int
) -> None:
    """A million values of all steps, of the input or the largest layer."""
    network = random_network(chain((size, neurons, 2), NEURON, steps=steps))
    assert GoldenModel(network).batch == batch


@pytest.mark.parametrize("batch", [None, 1, 2, 5, 7])
def test_an_answer_over_time(batch: int | None) -> None:
    """What is said after each step is the answer of a run of so many; every spike is counted in
    its step, by the bits of |c|, and shown, whatever number is run at a time."""
    neuron = replace(NEURON, theta=9, limit=3)
    network = random_network(chain((6, 5, 4, 3), neuron, steps=3), 2)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 6))
    trace, seen = GoldenModel(network).run(pixels), np.zeros((5, 3), dtype=int)
    kept = [np.zeros_like(spikes) for spikes in trace.spikes]

    def observe(part: slice, t: int, fired: list[np.ndarray]) -> None:
        seen[part, t] += 1
        for mine, c in zip(kept, fired, strict=True):
            mine[part, t] = c

    logits, events = GoldenModel(network).over_time(pixels, batch, observe)
    assert (seen == 1).all()
    assert len(events) == len(trace.spikes) == 2
    for n, spikes in enumerate(trace.spikes):
        assert np.array_equal(kept[n], spikes)
        bits = np.bitwise_count(np.abs(spikes)).sum(axis=(0, 2))
        assert events[n].tolist() == bits.tolist()
        assert bits.any()
    for t in range(3):
        short = replace(network, spec=replace(network.spec, steps=t + 1))
        assert np.array_equal(logits[:, t], GoldenModel(short).run(pixels).logits)


def test_what_is_run_at_a_time_when_nobody_says() -> None:
    class Counted(GoldenModel):
        @property
        def batch(self) -> int:
            return 2

    network = random_network(chain((6, 5, 3), NEURON, steps=3))
    pixels, parts = np.zeros((5, 6), dtype=int), set[tuple[int, int]]()
    show = lambda part, t, fired: parts.add((part.start, part.stop))  # noqa: E731
    Counted(network).over_time(pixels, observe=show)
    assert parts == {(0, 2), (2, 4), (4, 5)}
    parts.clear()
    Counted(network).over_time(pixels, 3, show)
    assert parts == {(0, 3), (3, 5)}
