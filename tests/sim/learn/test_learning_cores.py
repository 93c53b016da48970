"""Learning cores under Verilator: every value of every sample, every master, every cycle."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gen.learn.stage import plan_learning
from gen.stage.stage import PlanError
from hw.contract.checks import InputError
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.learn.masters import Masters
from sim.golden.learning import Learner
from sim.golden.model import GoldenModel
from sim.learn.run import Lesson, learn_in_simulation
from tests.learning import learning_network, readout_network
from tests.sampling import sampled
from tests.sim.learn.sweep import SAMPLES, run_core


def lesson(rng: np.random.Generator, network: Network, count: int, **more: Any) -> Lesson:
    """Random pictures and labels."""
    spec = network.spec
    return Lesson(
        pixels=rng.integers(0, spec.pixel_max + 1, (count, spec.input_size)),
        labels=rng.integers(0, spec.classes, count),
        **more,
    )


NETWORKS: dict[str, tuple[int, Any]] = {
    "wide weights": (
        4,
        lambda rng: learning_network(
            rng, weight_bits=16, theta=1 << 16, potential_bits=19, margin=200_000, feedback=True
        ),
    ),
    "one group": (4, lambda rng: learning_network(rng)),
    "feedback": (8, lambda rng: learning_network(rng, feedback=True, groups=(9,), classes=10)),
    "three groups and feedback": (
        4,
        lambda rng: learning_network(rng, feedback=True, groups=(6, 5, 7), fraction=3),
    ),
    "masters as wide as weights, one step": (
        2,
        lambda rng: learning_network(rng, fraction=0, steps=1, groups=(3, 4), classes=2),
    ),
    "two groups, no feedback, wide words": (
        16,
        lambda rng: learning_network(rng, inputs=6, groups=(17, 9), classes=18, input_bits=8),
    ),
    "readout alone": (8, lambda rng: readout_network(rng)),
    "readout alone, counted and guarded": (
        4,
        lambda rng: readout_network(
            rng,
            neuron=NeuronSpec(
                theta=9, limit=5, negative="guarded", reset="soft", step=9, potential_bits=9
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", sampled(NETWORKS))
def test_every_value_and_every_cycle(name: str, tmp_path: Path) -> None:
    """Flowing streams; all rows are read back after every sample; what was learned is an ordinary
    network."""
    lanes, make = NETWORKS[name]
    rng = np.random.default_rng(len(name))
    network = make(rng)
    masters = Masters.of(network)
    taught = lesson(rng, network, 24)
    report, after = learn_in_simulation(masters, taught, tmp_path, lanes=lanes)
    assert (report["mismatches"], report["first_mismatch"]) == (0, "")
    assert report["cycle_law_checked"]
    assert report["cycle_law_violations"] == 0
    assert report["learned"] > 0
    learner = Learner(masters)
    for picture, label in zip(taught.pixels, taught.labels, strict=True):
        learner.learn(picture, int(label))
    assert after.digest == masters.digest
    logits = GoldenModel(after.working()).run(taught.pixels).logits
    assert (logits == [learner.infer(picture).logits for picture in taught.pixels]).all()


def test_a_core_of_random_sizes(tmp_path: Path) -> None:
    """More of them: `python -m tests.sim.learn.sweep`."""
    report = run_core(13, tmp_path)
    assert (report["mismatches"], report["first_mismatch"]) == (0, "")
    assert report["cycle_law_violations"] == 0
    assert 0 < report["learned"] < SAMPLES
    curve = report["curve"]
    assert curve[0] == [0, 0, 0]
    assert curve[-1] == [SAMPLES, report["correct_while_learning"], report["learned"]]
    assert all(a <= b for old, new in pairwise(curve) for a, b in zip(old, new, strict=True))


def test_errors_that_are_given(tmp_path: Path) -> None:
    """Of six bits, some of them 0; pictures that are only classified between; rates and margins
    that change from sample to sample."""
    rng = np.random.default_rng(7)
    network = learning_network(rng, error_bits=6, inject=0, rates=(6, 7), classes=5)
    count = 40
    errors = rng.integers(-63, 64, (count, 5)) * (rng.random((count, 1)) < 0.8)
    taught = lesson(
        rng,
        network,
        count,
        modes=rng.integers(0, 3, count),
        errors=errors,
        margins=rng.integers(0, 900, count),
        rates=rng.integers(6, 11, (count, 2)),
    )
    report, _ = learn_in_simulation(Masters.of(network), taught, tmp_path, lanes=4)
    assert (report["mismatches"], report["first_mismatch"]) == (0, "")
    assert report["cycle_law_violations"] == 0
    assert 0 < report["learned"] < count


def test_streams_that_stop_and_go(tmp_path: Path) -> None:
    """Words held back, results refused, the core without taps: the same masters."""
    rng = np.random.default_rng(8)
    network = learning_network(rng, feedback=True, groups=(6, 5))
    report, _ = learn_in_simulation(
        Masters.of(network), lesson(rng, network, 60), tmp_path, lanes=4, stall=0.4, taps=False
    )
    assert (report["mismatches"], report["first_mismatch"]) == (0, "")
    assert not report["cycle_law_checked"]
    assert report["learned"] > 0


def test_what_the_core_does_not_have_is_refused(tmp_path: Path) -> None:
    """In a sentence, before anything is written."""
    rng = np.random.default_rng(9)
    masters = Masters.of(learning_network(rng))
    for more, sentence in (
        ({"rates": np.full((1, 2), 16)}, "Learning rates of this core must lie in"),
        ({"margins": np.array([1 << 29])}, "Margins of this core must lie in 0"),
        ({"errors": np.full((1, 3), 2)}, "Errors must lie within"),
        ({"modes": np.zeros(2)}, "must have shape"),
    ):
        with pytest.raises(InputError, match=sentence):
            learn_in_simulation(
                masters, lesson(rng, masters.network, 1, **more), tmp_path / "core", lanes=4
            )
    with pytest.raises(PlanError, match="Lanes of a learning core must be one of"):
        plan_learning(masters, 12)
    assert not (tmp_path / "core").exists()
