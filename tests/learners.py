"""Hypothesis strategies: small networks that learn, their masters, and samples for them."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hw.contract.builder import NetworkBuilder, random_network
from hw.contract.checks import signed_bits
from hw.contract.edge import INPUT, EdgeSpec
from hw.contract.learning import LearningSpec, learned_edges
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import NetworkSpec
from hw.learn.masters import Masters
from tests.networks import random_neuron


def spide(theta: int, potential_bits: int | None = None) -> NeuronSpec:
    """Row *SPIDE forward*; potentials of the fewest bits that hold +-V, if not told otherwise."""
    bits = signed_bits(theta) if potential_bits is None else potential_bits
    return NeuronSpec(
        theta=theta, negative="off", reset="soft", step=2 * theta, potential_bits=bits
    )


def learning_spec(
    inputs: int,
    groups: tuple[int, ...],
    classes: int,
    *,
    neurons: NeuronSpec | tuple[NeuronSpec, ...],
    feedback: bool = False,
    shifts: tuple[int, ...] = (),
    weight_bits: int = 4,
    steps: int = 4,
    input_bits: int = 4,
    **learning: Any,
) -> NetworkSpec:
    """Groups l0, l1, ... and a readout, which learn. `shifts` are those of the edges between groups
    and of the one back; `learning` are fields of `LearningSpec`, rates of 2 if not given."""
    builder = NetworkBuilder(
        inputs, name="small", input_bits=input_bits, steps=steps, weight_bits=weight_bits
    )
    names = [f"l{n}" for n in range(len(groups))]
    shifts = shifts or (0,) * (len(groups) + 1)
    cells = (neurons,) * len(groups) if isinstance(neurons, NeuronSpec) else neurons
    for n, size in enumerate(groups):
        edges = [EdgeSpec(source=names[n - 1] if n else INPUT, shift=shifts[n])]
        if feedback and n == 0:
            builder.shapes[names[-1]] = (groups[-1], 1, 1)
            edges.append(EdgeSpec(source=names[-1], delay=1, shift=shifts[-1]))
        builder.layer(names[n], size, *edges, neuron=cells[n])
    builder.layer("readout", classes)
    spec = builder.spec()
    fields: dict[str, Any] = {"master_bits": 8, "steps_back": 4, "margin": 20, **learning}
    every = LearningSpec(**{**fields, "rates": (2,)})
    if "rates" not in fields:
        count = 1 if every.readout_only else len(groups) + 1 + feedback
        fields["rates"] = (2,) * count
    return replace(spec, learning=LearningSpec(**fields))


@st.composite
def masters(draw: st.DrawFn, readout_only: bool | None = None) -> Masters:
    """Masters of one to three groups, with an edge back or not, all widths and rates; some start at
    their limits. Or readouts that learn behind neurons of any row without currents."""
    integer = lambda low, high: draw(st.integers(low, high))  # noqa: E731
    only = draw(st.booleans()) if readout_only is None else readout_only
    rng = np.random.default_rng(integer(0, 2**32 - 1))
    groups = tuple(integer(1, 6) for _ in range(integer(1, 3)))
    feedback, theta, bits = draw(st.booleans()), integer(1, 60), integer(2, 6)
    least = max(signed_bits(theta - 1), 2)
    if only:
        off = {"current": "off", "current_shift": 0, "current_factor": 0}  # no learner has any
        cells = tuple(replace(random_neuron(rng, integer(1, 20)), **off) for _ in groups)
    else:
        cells = tuple(spide(theta, integer(least, least + 3)) for _ in groups)
    input_bits, error_bits = integer(1, 4), integer(1, 6)
    spec = learning_spec(
        integer(1, 6),
        groups,
        integer(1, 4),
        neurons=cells,
        feedback=feedback,
        shifts=tuple(integer(0, 3) for _ in range(len(groups) + 1)),
        weight_bits=bits,
        steps=integer(1, 5),
        input_bits=input_bits,
        master_bits=bits + integer(0, 6),
        steps_back=0 if only else integer(1, 7),
        margin=draw(st.sampled_from([0, 1, 30, 10_000])),
        inject_shift=integer(0, 5),
        rates=tuple(integer(-7, 8) for _ in range(1 if only else len(groups) + 1 + feedback)),
        input_bias=integer(1, 15),
        error_bits=error_bits,
        seed=integer(1, 2**32 - 1),
    )
    found = Masters.of(random_network(spec, rng))
    for n, array in enumerate(found.arrays):
        low, high = found.limits(n)
        if draw(st.booleans()):  # masters anywhere, many of them at their limits
            wide = rng.integers(2 * low, 2 * high + 1, array.shape)
            found.arrays[n] = np.clip(wide, low, high)
    return found


def copied(given: Masters) -> Masters:
    """Masters of their own, equal to those that are given."""
    return replace(given, arrays=[array.copy() for array in given.arrays])


@st.composite
def samples(draw: st.DrawFn, network: Network, count: int) -> list[tuple[np.ndarray, int, Any]]:
    """Pictures, labels, and an error in place of the judge's, or None."""
    spec = network.spec
    assert spec.learning is not None
    most = spec.learning.error_max
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = []
    for _ in range(count):
        pixels = rng.integers(0, spec.pixel_max + 1, spec.input_size)
        pixels[rng.random(spec.input_size) < 0.3] = 0
        error = rng.integers(-most, most + 1, spec.classes) if rng.random() < 0.3 else None
        found.append((pixels, int(rng.integers(spec.classes)), error))
    return found


__all__ = ["copied", "learned_edges", "learning_spec", "masters", "samples", "spide"]
