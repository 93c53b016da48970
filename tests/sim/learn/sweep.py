"""Learning cores of random sizes under Verilator: `python -m tests.sim.learn.sweep COUNT [SEED]`.

Lanes 4 to 32, one to three groups, with and without feedback, all that a specification may say;
every value, every master and every cycle of 25 samples each. One core is in the tests.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gen.learn.stage import learning_stage, plan_learning
from hw.contract.network import Network
from hw.learn.masters import Masters
from sim.learn.run import Lesson, learn_in_simulation
from tests.learning import learning_network

__all__ = ["random_core", "run_core"]

SAMPLES = 25


def random_core(seed: int) -> tuple[int, Network, Lesson]:
    """(lanes, network, samples)."""
    rng = np.random.default_rng([seed, 41])

    def among(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    lanes = 4 << among(0, 3)
    groups = tuple(among(1, 20) for _ in range(among(1, 3)))
    weight_bits, error_bits = among(2, 16), among(1, 4)
    wider = max(0, weight_bits - 8)
    network = learning_network(
        rng,
        inputs=among(1, 40),
        groups=groups,
        classes=among(2, 11),
        feedback=bool(rng.integers(2)),
        steps=among(1, 6),
        steps_back=among(1, 9),
        weight_bits=weight_bits,
        fraction=among(0, 6),
        theta=1 << among(2, 8) + wider,
        potential_bits=among(9, 12) + wider,
        input_bits=among(1, 8),
        error_bits=error_bits,
        inject=among(0, 4),
        shift=among(0, 3),
    )
    spec, top = network.spec, (1 << error_bits) - 1
    facts = learning_stage(plan_learning(Masters.of(network), lanes)).port_facts()
    lesson = Lesson(
        pixels=rng.integers(0, spec.pixel_max + 1, (SAMPLES, spec.input_size)),
        labels=rng.choice([0, spec.classes - 1, among(0, spec.classes - 1)], SAMPLES),
        modes=rng.choice([0, 1, 1, 2], SAMPLES),
        margins=rng.integers(0, 1 << facts.width("margin"), SAMPLES),
        errors=rng.integers(-top, top + 1, (SAMPLES, spec.classes)),
    )
    return lanes, network, lesson


def run_core(seed: int, folder: Path) -> dict[str, Any]:
    """The report of one."""
    lanes, network, lesson = random_core(seed)
    report, _ = learn_in_simulation(Masters.of(network), lesson, folder, lanes=lanes)
    return report


if __name__ == "__main__":
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    bad = values = 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as folder:
            found = run_core(seed, Path(folder))
        wrong = found["mismatches"] + found["cycle_law_violations"]
        bad, values = bad + bool(wrong), values + found["values_compared"]
        lanes, network, _ = random_core(seed)
        sizes = [network.spec.input_size, *(layer.neurons for layer in network.spec.layers)]
        print(
            f"{seed}: {lanes} lanes, {sizes}, {found['learned']} learned, {wrong} wrong", flush=True
        )
    print(f"{count} cores, {values:,} values, {bad} cores wrong")
    sys.exit(bad > 0)
