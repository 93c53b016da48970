"""Cores whose readout leaks: every logit, class and cycle against the golden model and the law."""

from typing import Any

import numpy as np
import pytest

from gen.core.plan import plan_core, plan_programs, rebuild
from gen.program.stage import ProgramStagePlan
from hw.contract.network import Network
from hw.program.code import Played, Scan, Send, Sweep
from tests.hw.driving import FLOWING, JITTERY
from tests.hw.layer.cores import CoreRun, check_cycle_law, layer_stages
from tests.hw.program.cases import CASES
from tests.hw.program.programs import ProgramRun, leaky, network, random_graph, random_pixels
from tests.networks import READOUTS, random_chain, random_neuron, random_readout
from tests.sampling import sampled

CORES: dict[str, tuple[tuple[int, ...], int, int, dict[str, Any]]] = {
    # sizes, lanes, banks, options
    "groups": ((9, 12, 10), 4, 1, {}),
    "recording": ((20, 12, 6), 12, 2, {}),
    "alone": ((9, 5), 3, 1, {}),
    "lean-parts": ((12, 16, 10), 16, 1, {"fire_lanes": 4, "lean": True}),
}


def turned(cases: Any, names: Any = tuple(READOUTS)) -> list[tuple[str, str]]:
    """Each case with a readout, and each readout with a case, in turn."""
    cases = [*cases]
    many = max(len(cases), len(names))
    return [(cases[n % len(cases)], names[n % len(names)]) for n in range(many)]


@pytest.mark.parametrize(("core", "name"), turned(CORES))
def test_a_dense_core_is_golden_and_keeps_the_law(core: str, name: str) -> None:
    sizes, lanes, banks, options = CORES[core]
    image = random_chain(
        np.random.default_rng(3),
        sizes,
        steps=3,
        input_bits=2,
        readout=READOUTS[name],
        timed_input=core == "recording",
    )
    plan = plan_core(image, lanes, banks, **options)
    assert not layer_stages(plan)[-1].geometry.sent_planes  # each step is played
    pixels = random_pixels(image, 3)
    check_cycle_law(CoreRun(plan, pixels, FLOWING), pixels)
    if (core, name) == turned(CORES)[0]:
        CoreRun(plan, pixels, JITTERY[2])


PROGRAMS = (
    "readout-alone",
    "late-from-before",
    "many-classes",  # words of one step wait for each other, with the factor of three levels
    "recording-feedback",
    "readout-of-maps",
    "readout-alone-recording",
)


def case_of(case: str, name: str) -> tuple[Network, int]:
    """A case of programs, in three steps, with this readout; and its lanes."""
    lanes, shape, parts, *more = CASES[case]
    numbers: dict[str, Any] = (more[0] if more else {}) | {"steps": 3}
    return leaky(network(shape, *parts, **numbers), READOUTS[name]), lanes


@pytest.mark.parametrize(("case", "name"), turned(PROGRAMS))
def test_a_program_is_golden_and_keeps_the_law(case: str, name: str) -> None:
    """With what changes, and with every step's spikes."""
    image, lanes = case_of(case, name)
    for changes in (image.firing, []):
        plan = plan_programs(image, lanes, (), changes)
        run = ProgramRun(plan, random_pixels(image, 3)[1:])
        run.check_law()
        assert np.abs(run.trace.logits).max() > 0
    if case in ("readout-alone", "many-classes"):
        ProgramRun(plan, random_pixels(image, 2, seed=8), JITTERY[2])


def test_what_a_program_plays_of_a_leak() -> None:
    """Changes, where it plays those of all that it receives; else each step anew. Each is sent."""
    image, lanes = case_of("late-from-before", "factor-last")
    last, sources = image.spec.layers[-1].name, {e.source for e in image.layers[-1].edges}
    for changes in (image.firing, [], image.firing[:1]):
        (stage,) = plan_programs(image, lanes, (), changes).stages
        assert isinstance(stage, ProgramStagePlan)
        mine = [op for op in stage.program.operations if op.name == last]
        assert sum(isinstance(op, Send) for op in mine) == stage.program.sends == 3
        all_of_them = sources <= {*changes}
        assert sum(isinstance(op, Sweep) for op in mine) == (1 if all_of_them else 3)
        played = {op.played for op in mine if isinstance(op, Scan)}
        assert played == {Played.STEP, *([Played.CHANGES] if all_of_them else [])}
        assert "logits" not in stage.memories()  # one word: no memory


@pytest.mark.parametrize("seed", sampled(range(2)))
def test_random_graphs(seed: int) -> None:
    """Cut wherever they can be; a plan is rebuilt."""
    rng = np.random.default_rng(500 + seed)
    neurons = [random_neuron(rng, int(rng.integers(2, 40))) for _ in range(3)]
    network = leaky(random_graph(rng, neurons), random_readout(rng))
    lanes = int(rng.choice([2, 4, 8]))
    for starts in ((), None):
        plan = plan_programs(network, lanes, starts)
        assert rebuild(network, plan.recipe()).fingerprint == plan.fingerprint
        if (starts is None and len(plan.stages) > 1) or starts == ():
            ProgramRun(plan, random_pixels(network, 2)).check_law()


def test_what_a_leak_takes_is_counted() -> None:
    """Of a class: its potential, beside it what is read of it, and the additions of its factor."""
    image, lanes = case_of("many-classes", "factor-max")
    last = image.layers[-1]
    both = last.integrated_bits + last.logit_bits
    (stage,) = plan_programs(image, lanes, ()).stages
    (plain,) = plan_programs(leaky(image, None), lanes, ()).stages
    assert stage.memories()["logits"].bits == lanes * both
    assert stage.memories()["logits"].rows == -(-image.spec.classes // lanes)
    assert "logits" not in plain.memories()
    law = READOUTS["factor-max"].decay_law
    more = stage.sizes()["adders"] - plain.sizes()["adders"]
    additions = 5 * (last.integrated_bits + law.factor.bit_length())
    assert more == lanes * (2 * last.integrated_bits + last.logit_bits + additions)
    chain = random_chain(
        np.random.default_rng(1), (9, 12, 10), steps=3, input_bits=2, readout=READOUTS["factor-max"]
    )
    *_, dense = plan_core(chain, 4).stages
    read = chain.layers[-1]
    both = read.integrated_bits + read.logit_bits
    assert dense.memories()["logits"].bits == 4 * both
    assert dense.sizes()["readout"] == 4 * (both + read.integrated_bits)
    assert dense.sizes()["adders"] == 4 * 5 * (read.integrated_bits + law.factor.bit_length())
