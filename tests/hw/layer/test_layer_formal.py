"""Ring 2: the stream contract proven for the components of a layer (see `tests.hw.proving`); what
an array of neurons is made of."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]
from amaranth.hdl import Cat, Module, Mux, Signal

from hw.contract.network import Layer
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec
from hw.layer.accumulator import Accumulator
from hw.layer.constants import COMMON, ConstantContents, ConstantFields
from hw.layer.encoder import ChunkEncoder
from hw.layer.finder import WordFinder
from hw.layer.geometry import LayerGeometry
from hw.layer.hold import DriveHold
from hw.layer.lif import LifArray
from hw.layer.queue import SpikeQueue
from hw.layer.stage import LayerDesign
from hw.stream.payloads import Kind, transfer
from tests.hw.proving import Case, check, ports_of, prove, yosys

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
    plan = LayerDesign(layer=image, geometry=g, constant_input=False, out_word=1)
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


def lif(
    g: LayerGeometry,
    reset: str,
    group_major: bool = False,
    constants: ConstantFields = COMMON,
    **fields: Any,
) -> LifArray:
    neuron = NeuronSpec(
        theta=2,
        decay="factor" if constants.factors else "leak",
        decay_shift=1,
        reset=reset,
        step=(reset == "soft" and 3) or 0,
        potential_bits=3,
        **fields,
    )
    words = np.random.default_rng(2).integers(0, 1 << 4, (len(g.slices), constants.depth(g.groups)))
    current = 2 * 3 if neuron.has_current else 3
    return LifArray(
        neuron,
        g,
        steps=2,
        drive_bits=3,
        membrane_bound=neuron.u_max + current,
        current_bound=current,
        group_major=group_major,
        constants=ConstantContents(fields=constants, rows=words.tolist())
        if constants.digits
        else None,
    )


OWN = ConstantFields(thetas=2, steps=2, factors=2)
"""Three digits."""

CASES = {
    "encoder": Case(lambda: ChunkEncoder(2, 4)),
    "encoder-ahead": Case(lambda: ChunkEncoder(2, 4, ahead=True)),
    "finder": Case(lambda: WordFinder(words=3, planes=2, replays=2)),
    "queue": Case(lambda: SpikeQueue(words=2, chunk=2, planes=2, signed=False, replays=2)),
    "accumulator": Case(lambda: accumulator(GEOMETRY), 9, a_sum_and_its_prelude),
    "accumulator-slices": Case(lambda: accumulator(SLICES), 10, a_sum_and_its_prelude),
    "accumulator-groups": Case(lambda: accumulator(GROUPS), 9, a_sum_and_its_prelude),
    "hold": Case(lambda: DriveHold(lanes=1, bits=2, steps=3)),
    "lif-hard": Case(lambda: lif(GEOMETRY, "hard"), 12, a_drive_behind),
    "lif-soft-groups": Case(lambda: lif(GROUPS, "soft"), 12, a_drive_behind),
    "lif-group-major": Case(lambda: lif(GROUPS, "soft", group_major=True), 12, a_drive_behind),
    "lif-slices": Case(lambda: lif(SLICES, "hard"), 14, a_drive_behind),
    "lif-augmented": Case(
        lambda: lif(GROUPS, "soft", limit=2, negative="guarded"), 14, a_drive_behind
    ),
    "lif-currents": Case(
        lambda: lif(GROUPS, "soft", current="factor", current_shift=2, current_factor=3),
        15,
        a_drive_behind,
    ),
    "lif-by-channel": Case(
        lambda: lif(GROUPS, "soft", constants=OWN, negative="off"), 22, a_drive_behind
    ),
    "lif-by-channel-group-major": Case(
        lambda: lif(GROUPS, "soft", True, OWN._replace(factors=0), limit=2), 22, a_drive_behind
    ),
    "queue-repeat": Case(
        lambda: SpikeQueue(words=2, chunk=2, planes=2, signed=True, replays=1, repeat=True)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_offers_stand_until_they_are_taken(case: Case, tmp_path: Path) -> None:
    run = prove(case, tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr


def test_the_helper_invariant_is_needed_and_checked(tmp_path: Path) -> None:
    def wrong(m: Module, dut: Accumulator) -> dict[str, Signal]:
        return {"dut.busy": Signal(name="never")}

    for ghosts in (None, wrong):
        case = Case(lambda: accumulator(GEOMETRY), 5, ghosts)
        assert prove(case, tmp_path).returncode != 0


# What an array of neurons is made of


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
