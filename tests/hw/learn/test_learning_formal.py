"""Ring 2 for the learning stage: its streams' contracts by temporal induction (`tests.hw.proving`).

Proven for runs of any length, resets included, whatever the memories hold, for every operation and
whatever the teacher says:

* a result stands until it is taken, and its offer does not look at `o.ready`;
* where errors are taken depends on nothing that the stream of errors itself says.

That the right weights come, no proof says, but `tests/sim/learn`.
"""

from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]

from gen.learn.stage import learning_stage, plan_learning
from hw.learn.masters import Masters
from hw.learn.stage import LearningStage
from tests.hw.proving import Case, ports_of, prove, yosys
from tests.learning import learning_network, readout_network


def small(feedback: bool = False) -> LearningStage:
    """Two lanes, two classes, one time step each way."""
    rng = np.random.default_rng(1)
    network = learning_network(
        rng,
        inputs=2,
        groups=(2,),
        classes=2,
        feedback=feedback,
        steps=1,
        steps_back=1,
        weight_bits=2,
        fraction=1,
        theta=4,
        potential_bits=5,
        margin=3,
        input_bits=1,
        inject=1,
    )
    return stage_of(Masters.of(network))


def readout_alone() -> LearningStage:
    """Behind ternary neurons that leak."""
    network = readout_network(
        np.random.default_rng(2), inputs=2, hidden=(2,), classes=2, steps=1, weight_bits=2
    )
    return stage_of(Masters.of(network))


def stage_of(masters: Masters) -> LearningStage:
    return LearningStage(learning_stage(plan_learning(masters, 2)).program)


CASES = {
    "one-group": Case(small, alive=0),
    "feedback": Case(lambda: small(feedback=True), alive=0),
    "readout-alone": Case(readout_alone, alive=0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_results_stand_until_they_are_taken(case: Case, tmp_path: Path) -> None:
    run = prove(case, tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr


def test_where_errors_are_taken_does_not_look_at_them(tmp_path: Path) -> None:
    stage = small()
    (tmp_path / "stage.il").write_text(rtlil.convert(stage, ports=ports_of(stage), name="stage"))
    run = yosys(
        "read_rtlil stage.il; hierarchy -top stage; proc; flatten; opt_clean; memory_map; opt; "
        "select -assert-any w:teaching__error__ready; "
        "select -assert-any w:teaching__error__valid; "
        "select -assert-none w:teaching__error__ready %cie* "
        "w:teaching__error__valid w:teaching__error__payload %u %i",
        tmp_path,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
