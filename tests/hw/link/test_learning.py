"""What a host port cannot be told of a core that learns. Its commands are tried on a whole board:
tests/sim/board/test_learning_board.py."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator

from gen.learn.stage import learning_stage, plan_learning
from hw.contract.checks import SpecError
from hw.contract.link import Command
from hw.learn.masters import Masters
from hw.link.learning import LearningFacts
from hw.link.port import HostPort
from tests.hw.link.linking import NOT_READY, CoreModel, frame, refusal
from tests.hw.link.pins import DIVISOR, Wire
from tests.learning import learning_network


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rows": 0}, "Rows of masters must be 1 to 65535, not 0"),
        ({"rows": 65536}, "Rows of masters must be 1 to 65535, not 65536"),
        ({"samples": -1}, "Pictures on the chip must be at most 65535, not -1"),
        ({"samples": 65536}, "Pictures on the chip must be at most 65535, not 65536"),
        ({"rates": (99,)}, "Rates must be at most 64 in"),
        ({"rates": (1, 7)}, "Rates must be at most 64 in"),
        ({"rates": (1, 0)}, "Rates must be at most 64 in"),
        ({"rates": (1,) * 65}, "Rates must be at most 64 in"),
        ({"margin": 1 << 40}, "Margin must have at most"),
        ({"margin": -1}, "Margin must have at most"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, sentence: str) -> None:
    """And the last of what can be is not."""
    network = learning_network(np.random.default_rng(1))
    facts = learning_stage(plan_learning(Masters.of(network), 4)).port_facts()
    with pytest.raises(SpecError, match=sentence):
        LearningFacts(**{**vars(facts), **changes})
    most = facts.width("margin")
    for fits in (
        {"rows": 1},
        {"rows": 65535},
        {"samples": 0},
        {"samples": 65535},
        {"rates": (facts.lowest, facts.highest)},
        {"rates": (1,) * 64},
        {"margin": 0},
        {"margin": (1 << most) - 1},
    ):
        LearningFacts(**{**vars(facts), **fits})


def test_nothing_is_learned_before_the_weights_are_there() -> None:
    """Neither a picture that is sent nor those on the chip; once they are, the store is started."""
    network = learning_network(np.random.default_rng(1))
    facts = learning_stage(plan_learning(Masters.of(network), 4)).port_facts()
    host = HostPort(
        divisor=DIVISOR,
        word_bits=8,
        words=1,
        classes=network.spec.classes,
        logit_bits=8,
        identity=[0] * 15 + [1],
        event_lanes=1,
        learning=replace(facts, samples=4),
    )
    core = CoreModel(word_bits=8, words=1, classes=network.spec.classes, logit_bits=8, lanes=1)
    train = bytes([0, 0, 2, 0, 3, 0, *bytes(4)])  # two pictures from the first one on, three times
    started: list[tuple[int, ...]] = []

    async def scenario(ctx) -> None:
        wire = Wire(ctx, host, core, DIVISOR, 64 * DIVISOR)
        drill = host.drill
        for number, (kind, payload) in enumerate(
            [(Command.LEARN, bytes(1 + 2 + 4)), (Command.TRAIN, train)]
        ):
            await wire.send(frame(kind, payload, number))
            assert await wire.answer() == refusal(NOT_READY, kind, number)
            assert not ctx.get(drill.start)
        ctx.set(host.ready, 1)
        ctx.set(drill.over, 1)
        await wire.send(frame(Command.TRAIN, train, 9))
        for _ in range(40):
            if ctx.get(drill.start):
                started.append(tuple(ctx.get(n) for n in (drill.first, drill.count, drill.passes)))
            await wire.step()

    simulator = Simulator(host)
    simulator.add_clock(1e-6)
    simulator.add_testbench(scenario)
    simulator.run()
    assert started == [(0, 2, 3)]
