"""Ring 2 for window stages: streams' contracts by temporal induction (see `tests.hw.proving`).

Proven for runs of any length, resets included, whatever the memories hold, and for every operation:

* Scanner through a window: what an event says stands until it is taken.
* Cursor, whose output no one can hold back: an event is refused no longer than a row waits;
  `i.ready` depends on registers alone.

That the right events, motions and sums come, no proof says, but `test_scanner`, `test_cursor` and
`test_sums`; that spikes stand until they are taken, `test_window_cores`.
"""

from pathlib import Path

from amaranth.hdl import Module, Signal

from gen.window.stage import plan_window
from hw.contract.neuron import NeuronSpec
from hw.program.program import Program
from hw.program.scanner import Scanner
from hw.window.cursor import Cursor
from tests.hw.program.programs import conv, dense, identity, network, part
from tests.hw.proving import Case, assume, prove, refused

TINY = NeuronSpec(theta=2, potential_bits=3)


def mixed() -> Program:
    """Pictures of two positions in a word; rows and groups of channels, identities, changes."""
    image = network(
        (1, 2, 2),
        part(3, conv("input", 3, padding=1), neuron=TINY),
        part(3, identity("a"), conv("a", 1, delay=1), neuron=TINY),
        part(2, dense("b")),
        steps=3,
    )
    return plan_window(image, 2, changes=("a",), rows={"a": 2, "b": 1}).program


def one_operation(m: Module, dut: Scanner) -> dict[str, Signal]:
    """The operation stays while it is carried out; the next begins when it is over."""
    before, held = Signal.like(dut.word, name="word_before"), Signal()
    m.d.sync += [before.eq(dut.word), held.eq(dut.start | dut.busy)]
    m.d.comb += [assume(~held | (dut.word == before)), assume(~(dut.start & dut.busy))]
    return {}


def test_offers_stand_until_they_are_taken(tmp_path: Path) -> None:
    run = prove(Case(lambda: Scanner(mixed()), ghosts=one_operation), tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr


def test_no_event_waits_longer_than_a_row(tmp_path: Path) -> None:
    """Three cycles: the longest turn that an operation's word has room for."""
    run = refused(Cursor(mixed()), "w:i__valid w:i__payload w:word", 3, 12, tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr


def test_some_event_waits_as_long(tmp_path: Path) -> None:
    run = refused(Cursor(mixed()), "w:i__valid w:i__payload w:word", 2, 20, tmp_path)
    assert "proof did fail" in run.stdout + run.stderr
