"""The checker of shared cores: right recordings pass, and every kind of wrong value is counted."""

from collections.abc import Callable

import pytest

from gen.core.program_stage import plan_shared
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from sim.bench.program_checker import SharedChecker
from tests.hw.program.programs import SharedRun, conv, dense, network, part, random_pixels


def checked(network: Network, lanes: int, spoil: Callable[[SharedChecker], None]):
    """Findings about two images that a core in Amaranth's simulator ran, after `spoil`; the second
    image is checked by itself."""
    plan, pixels = plan_shared(network, lanes), random_pixels(network, 3)[1:]
    run = SharedRun(plan, pixels)
    checker = SharedChecker(plan, tapped=True, lead=0)
    checker.recording.words[0][:] = [(spikes, kept) for _, spikes, kept in run.words[0]]
    checker.recording.results = list(zip(run.sink.taken, run.sink.values, strict=True))
    checker.recording.start = 0
    spoil(checker)
    for n in range(2):
        trace = type(run.trace)(
            tuple(s[n : n + 1] for s in run.trace.spikes),
            tuple(u[n : n + 1] for u in run.trace.potentials),
            run.trace.logits[n : n + 1],
            run.trace.classes[n : n + 1],
        )
        checker.check(pixels[n : n + 1], run.trace.classes[n : n + 1], trace)
    checker.finish()
    return checker.findings


IMAGE = network(
    (2, 3, 3), part(4, conv("input", 3, padding=1)), part(8, dense("a")), part(3, dense("b"))
)


def change(n: int, spikes: int = 0, kept: int = 0) -> Callable[[SharedChecker], None]:
    def spoil(checker: SharedChecker) -> None:
        before = checker.recording.words[0][n]
        checker.recording.words[0][n] = before[0] ^ spikes, before[1] ^ kept

    return spoil


def late(checker: SharedChecker) -> None:
    cycle, payload = checker.recording.results[2]
    checker.recording.results[2] = cycle + 1, payload


def wrong(checker: SharedChecker) -> None:
    cycle, payload = checker.recording.results[4]
    checker.recording.results[4] = cycle, payload ^ 1


@pytest.mark.parametrize(
    ("spoil", "mismatches", "violations"),
    [
        (lambda checker: None, 0, 0),
        (change(5, spikes=1), 1, 0),
        (change(30, kept=1), 1, 0),
        (change(-1, spikes=1, kept=2), 2, 0),
        (lambda checker: checker.recording.words[0].append((0, 0)), 1, 0),
        (wrong, 1, 0),
        (late, 0, 1),
    ],
    ids=["right", "spike", "potential", "both", "surplus", "logit", "late"],
)
def test_what_is_wrong_is_counted(spoil, mismatches: int, violations: int) -> None:
    found = checked(IMAGE, 4, spoil)
    assert (found.mismatches, found.cycle_law_violations) == (mismatches, violations)
    assert found.images == 2
    # Spikes and potentials of 36 and 8 neurons, two steps; logits and ends of 3 classes, a class.
    assert found.compared == 2 * (2 * 2 * (36 + 8) + 3 + 3 + 1)
    assert bool(found.first_mismatch) == bool(mismatches)


def test_an_initial_potential_where_channels_do_not_fill_the_lanes() -> None:
    """Lanes without a channel start at u0 like all others; nobody sees it but the checker."""
    neuron = NeuronSpec(theta=20, u0=5, potential_bits=6)
    image = network((1, 2, 2), part(3, dense("input"), neuron=neuron), part(2, dense("a")))
    found = checked(image, 4, lambda checker: None)
    assert (found.mismatches, found.first_mismatch) == (0, "")
