"""What a host port cannot be told of a core that learns. Its commands are tried on a whole board:
tests/sim/board/test_learning_board.py."""

import numpy as np
import pytest

from gen.learn.stage import learning_stage, plan_learning
from hw.contract.checks import SpecError
from hw.learn.masters import Masters
from hw.link.learning import LearningFacts
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
