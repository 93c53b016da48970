"""Ring 2: the stream contract proven for what hands words on (see `tests.hw.proving`)."""

from pathlib import Path

import pytest
from amaranth.hdl import unsigned

from hw.stream.payloads import coefficients
from hw.stream.serializer import Serializer
from hw.stream.skid import SkidBuffer
from hw.stream.step_sum import StepSum
from hw.stream.transposer import Transposer
from tests.hw.proving import Case, prove


def transposer(groups: int, steps: int, words: int) -> Transposer:
    return Transposer(unsigned(2), groups=groups, steps=steps, words=words)


def step_sum(words: int, steps: int) -> StepSum:
    return StepSum(words=words, length=2, planes=1, signed=True, out_planes=2, steps=steps)


CASES = {
    "skid": Case(lambda: SkidBuffer(unsigned(3))),
    "transposer": Case(lambda: transposer(2, 2, 1)),
    "transposer-words": Case(lambda: transposer(3, 1, 2)),
    "transposer-smallest": Case(lambda: transposer(1, 1, 1)),
    "step-sum": Case(lambda: step_sum(1, 2)),
    "step-sum-words": Case(lambda: step_sum(2, 3)),
    "serializer": Case(lambda: Serializer(coefficients(5, 1, True), 2)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_offers_stand_until_they_are_taken(case: Case, tmp_path: Path) -> None:
    run = prove(case, tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
