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
        ({"rates": (99,)}, "Rates must be at most 64 in"),
        ({"margin": 1 << 40}, "Margin must have at most"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, sentence: str) -> None:
    network = learning_network(np.random.default_rng(1))
    facts = learning_stage(plan_learning(Masters.of(network), 4)).port_facts()
    with pytest.raises(SpecError, match=sentence):
        LearningFacts(**{**vars(facts), **changes})
