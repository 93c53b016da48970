"""A small network that has every kind of edge; edges in a word each."""

from typing import Any

from hw.contract.builder import NetworkBuilder, random_integers, random_network
from hw.contract.edge import EdgeSpec, Sides
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import NetworkSpec

__all__ = ["NEURON", "arrays", "conv", "dense", "identity", "network_of", "residual"]

NEURON = NeuronSpec(theta=20, potential_bits=6)


def dense(source: str, **more: Any) -> EdgeSpec:
    return EdgeSpec(source=source, **more)


def conv(source: str, kernel: Sides, **more: Any) -> EdgeSpec:
    return EdgeSpec(source=source, kind="conv", kernel=kernel, **more)


def identity(source: str, **more: Any) -> EdgeSpec:
    return EdgeSpec(source=source, kind="identity", **more)


def residual() -> NetworkSpec:
    """A stem, a block with an identity shortcut, pooling, recurrence, and a dense readout."""
    b = NetworkBuilder((2, 6, 6), name="residual", input_bits=3, steps=3)
    b.layer("stem", 4, conv("input", 3, padding=1), neuron=NEURON)
    b.layer(
        "inner",
        4,
        conv("stem", 3, padding=1, groups=2),
        conv("inner", 1, delay=1),
        neuron=NEURON,
        channel_thresholds=True,
    )
    b.layer("block", 4, conv("inner", 3, padding=1), identity("stem"), neuron=NEURON)
    b.layer("down", 6, conv("block", 3, stride=2, padding=1, pool=2), neuron=NEURON)
    b.layer("readout", 3, dense("down", pool=2), dense("inner", pool=3, delay=1))
    return b.spec()


arrays = random_integers


def network_of(spec: NetworkSpec, seed: int = 1) -> Network:
    """The network with random integers."""
    return random_network(spec, seed)
