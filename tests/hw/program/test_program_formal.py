"""Ring 2 for program stages: its streams' contracts by temporal induction (see
`tests.hw.proving`).

Proven for runs of any length, resets included, whatever the memories hold, and for every operation:

* Scanner: what an event says stands until it is taken; of a step, of changes, of sums.
* Walker, whose output no one can hold back: an event is refused no longer than the longest walk
  takes; `i.ready` depends on the walk alone, not on what is offered.
* ProgramStage: a result stands until it is taken; `i` may do what streams may. That the core is
  alive is shown for the smallest one alone: Yosys would have to run a larger one for hundreds of
  cycles.

That the right events and updates come, no proof says, but `test_scanner` and `test_walker`.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.hdl import Module, Signal

from hw.core import Core
from hw.program.program import Program
from hw.program.scanner import Scanner
from hw.program.stage import ProgramStage
from hw.program.walker import Walker
from tests.hw.program.small import changes, plain, smallest, stage, steps, sums
from tests.hw.proving import Case, assume, ports_of, prove, refused


def one_operation(m: Module, dut: Any) -> dict[str, Signal]:
    """The operation stays while it is carried out; the next begins when it is over."""
    before, held = Signal.like(dut.word, name="word_before"), Signal()
    m.d.sync += [before.eq(dut.word), held.eq(dut.start | dut.busy)]
    m.d.comb += [assume(~held | (dut.word == before)), assume(~(dut.start & dut.busy))]
    return {}


CASES = {
    "scanner": Case(lambda: Scanner(plain()), ghosts=one_operation),
    "scanner-smallest": Case(lambda: Scanner(smallest()), ghosts=one_operation),
    "scanner-identities": Case(lambda: Scanner(steps()), ghosts=one_operation),
    "scanner-changes": Case(lambda: Scanner(changes()), ghosts=one_operation),
    "scanner-sums": Case(lambda: Scanner(sums()), ghosts=one_operation),
    "scanner-stage": Case(lambda: Scanner(stage()), ghosts=one_operation),
    "core-smallest": Case(lambda: ProgramStage(smallest())),
    "core": Case(lambda: ProgramStage(plain()), alive=0),
    "core-feedback": Case(lambda: ProgramStage(steps()), alive=0),
    "core-changes": Case(lambda: ProgramStage(changes()), alive=0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_offers_stand_until_they_are_taken(case: Case, tmp_path: Path) -> None:
    run = prove(case, tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr


def test_the_operation_must_stay(tmp_path: Path) -> None:
    """Without what the scanner is promised, the proof fails: it does look at the word."""
    run = prove(Case(lambda: Scanner(changes())), tmp_path)
    assert "proof did fail" in run.stdout + run.stderr


# Walker


def test_no_event_waits_longer_than_a_walk(tmp_path: Path) -> None:
    """Two rows, two columns, two groups of the target: eight words; the last of them makes room."""
    run = refused(Walker(plain()), "w:i__valid w:i__payload", 7, 12, tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr


def test_some_event_waits_as_long(tmp_path: Path) -> None:
    run = refused(Walker(plain()), "w:i__valid w:i__payload", 6, 30, tmp_path)
    assert "proof did fail" in run.stdout + run.stderr


# What a program core is made of


@pytest.mark.parametrize("taps", [False, True])
@pytest.mark.parametrize("made", [smallest, plain, steps, changes])
def test_no_multiplier_and_taps_only_on_request(made: Callable[[], Program], taps: bool) -> None:
    core = Core([ProgramStage(made(), taps=taps)], taps=taps)
    text = rtlil.convert(core, ports=ports_of(core), name="core")
    cells = set(re.findall(r"cell (\$\w+)", text))
    assert {"$add", "$memrd_v2"} <= cells
    assert not cells & {"$mul", "$div", "$mod", "$pow", "$divfloor", "$modfloor", "$macc"}
    ports = set(re.findall(r"wire .*(?:input|output) \d+\s+\\(\S+)", text))
    assert {"clk", "rst", "i__valid", "o__payload"} <= ports
    assert any("tap" in port for port in ports) == taps
