"""A simulation of parts is the simulation of all of it."""

import json
from pathlib import Path

import numpy as np
import pytest

from gen.core.plan import plan_core
from hw.contract.builder import random_integers
from hw.contract.checks import InputError
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from sim.bench.run import simulate
from sim.bench.verilator import SimulationError
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.report.run import SimRun
from sw.spread.runner import running
from sw.spread.simulation import simulate_chunk, simulate_spread
from tests.networks import chain

WALL = {"seconds", "seconds_by_phase", "processes", "jobs"}


@pytest.fixture(scope="module")
def small():
    """A core that is compiled in seconds, pictures, their classes."""
    neuron = NeuronSpec(theta=9, potential_bits=8)
    spec = chain((6, 5, 3), [neuron], weight_bits=[4, 4], input_bits=2, steps=2)
    weights, biases, _ = random_integers(spec, 5)
    network = Network(spec, weights, biases)
    pixels = np.random.default_rng(4).integers(0, 4, (11, 6)).astype(np.uint8)
    return plan_core(network, 5), pixels, GoldenModel(network).classify(pixels)


def test_parts_are_the_whole(small, tmp_path: Path) -> None:
    plan, pixels, labels = small
    wholly = simulate(plan, pixels, labels, tmp_path / "whole", processes=3)
    with running(0) as run:
        found = simulate_spread(plan, pixels, labels, tmp_path / "parts", run, chunk=4)
    assert found["jobs"] == 3
    assert found["mismatches"] == found["cycle_law_violations"] == 0
    assert {k: v for k, v in found.items() if k not in WALL} == {
        k: v for k, v in wholly.items() if k not in WALL
    }
    assert json.loads((tmp_path / "parts" / "report.json").read_text()) == found
    seen = SimRun.load(tmp_path / "parts")
    assert (seen.classes == labels).all()


def test_another_core_is_refused(small, tmp_path: Path) -> None:
    plan, pixels, labels = small
    sent = {
        "network": plan.network.save(tmp_path / "network.npz").read_bytes(),
        "pixels": pixels,
        "labels": labels,
    }
    recipe = json.loads(json.dumps(plan.recipe()))
    with pytest.raises(SimulationError, match="A worker generates another core"):
        simulate_chunk(0, 2, recipe, "another", 0.0, True, sent)


@pytest.mark.parametrize(
    ("more", "told"), [({"chunk": 0}, "Chunk must be"), ({"stall": 1.5}, "Stall must be")]
)
def test_refusals(small, more: dict, told: str, tmp_path: Path) -> None:
    plan, pixels, labels = small
    with pytest.raises(InputError, match=told), running(0) as run:
        simulate_spread(plan, pixels, labels, tmp_path / "parts", run, **more)
    assert not (tmp_path / "parts").exists()


def test_no_waves_of_parts(capsys, tmp_path: Path) -> None:
    assert main(["sim", "--workers", "0", "--waves", "--out", str(tmp_path / "out")]) == 1
    assert "no --waves" in capsys.readouterr().err
