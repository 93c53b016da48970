"""Ring 2: the stream contract proven for the readout (see `tests.hw.proving`)."""

from pathlib import Path

import pytest

from hw.contract.neuron import ReadoutSpec
from hw.neuron.readout import Readout
from tests.hw.proving import Case, prove


def readout(lanes: int, group_major: bool = False, leak: ReadoutSpec | None = None) -> Readout:
    return Readout(
        lanes=lanes,
        groups=-(-3 // lanes),
        steps=2,
        classes=3,
        drive_bits=2,
        logit_bits=3,
        group_major=group_major,
        leak=leak,
        m_bits=3,
    )


CASES = {
    "readout": Case(lambda: readout(3)),
    "readout-groups": Case(lambda: readout(2)),
    "readout-group-major": Case(lambda: readout(2, group_major=True)),
    "readout-leak": Case(lambda: readout(2, leak=ReadoutSpec(decay="leak", decay_shift=1))),
    "readout-leak-factor-sum": Case(
        lambda: readout(
            2, leak=ReadoutSpec(decay="factor", decay_factor=3, decay_shift=2, value="sum")
        )
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_offers_stand_until_they_are_taken(case: Case, tmp_path: Path) -> None:
    run = prove(case, tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
