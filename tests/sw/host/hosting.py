"""A small network, a twin of a board around it, and a link to the twin: fixtures and helpers."""

import numpy as np
import pytest

from gen.core.plan import plan_core
from hw.contract.builder import NetworkBuilder, random_network
from hw.contract.neuron import NeuronSpec
from sw.host.board import Board
from sw.host.golden import GoldenBackend
from sw.host.link import LinkBackend
from tests.sw.host.device_twin import DeviceTwin, TwinLine

TIMEOUT = 0.5


def small_network():
    """13 pixels of 3 bits, 7 hidden neurons, 4 classes."""
    neuron = NeuronSpec(theta=6, decay="leak", decay_shift=2, potential_bits=6)
    builder = NetworkBuilder(13, name="small", input_bits=3, steps=3)
    builder.layer("hidden", 7, neuron=neuron)
    builder.layer("readout", 4)
    return random_network(builder.spec(), 4)


PLAN = plan_core(small_network(), 4, 2)


@pytest.fixture
def images():
    return np.random.default_rng(8).integers(0, 8, (12, 13))


@pytest.fixture
def twin():
    return DeviceTwin(PLAN)


@pytest.fixture
def line(twin):
    return TwinLine(twin)


def link(line, retries=0):
    return LinkBackend(line, baud=1_000_000, timeout=TIMEOUT, retries=retries)


@pytest.fixture
def board(line):
    with Board(link(line)) as board:
        yield board


def facts(result):
    return result.label, result.logits.tolist(), result.counters


def golden(image):
    return facts(GoldenBackend(PLAN).infer(np.asarray(image, dtype=np.uint8)))
