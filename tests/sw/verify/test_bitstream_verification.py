"""sw.verify.bitstream: netlist and bitstream equal the golden model, and one wrong bit does not."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from gen.board.bitstream import pack
from gen.board.boards import find_board
from gen.board.build import SYNTHESIS, build_board
from gen.board.planner import plan_board
from gen.core.verilog import rom_texts
from gen.family.ice40 import FAMILY as ICE40
from gen.family.registry import FAMILIES
from gen.family.tools import ToolError
from hw.contract.builder import NetworkBuilder, random_network
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from sim.board.netlist import NetlistError, netlist_verilog
from sim.board.unpack import find_icebox, unpack_bitstream
from sim.golden.model import GoldenModel
from sw.host.golden import GoldenBackend
from sw.verify import bitstream as proving
from sw.verify.bitstream import (
    Design,
    VerificationError,
    designs_of,
    verification_images,
    verify_bitstream,
)
from sw.verify.board_check import _count, check_board
from tests.builds import check_refusals, check_reload, check_report
from tests.builds import digits as small_digits

BOARD = find_board("icebreaker")
IMAGES = 3
SMALL = Design(
    model="",  # the file of `small_digits`
    lanes=4,
    megahertz=12,
    memories=("rom", "rom"),
    fire_lanes=4,
    steps=("netlist",),
)
VALUES = 1 + IMAGES * (10 + 3)
"""The digest; per image its logits, class, cycles and events."""


def small_plan(network):
    return plan_board(
        BOARD,
        network,
        lanes=SMALL.lanes,
        megahertz=SMALL.megahertz,
        memories=SMALL.memories,
        fire_lanes=SMALL.fire_lanes,
    )


@pytest.fixture
def icebox():
    if shutil.which("icebox_vlog") is None:
        pytest.skip("icebox_vlog is missing: install Debian's fpga-icestorm")


@pytest.fixture(scope="module")
def digits():
    return small_digits()


@pytest.fixture(scope="module")
def proof(tmp_path_factory):
    """The report of a small proof, and the folder with its design."""
    folder = tmp_path_factory.mktemp("proof")
    small = replace(SMALL, model=str(small_digits().save(folder / "small.npz")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proving, "DESIGNS", {"icebreaker": (small,)})
        report = verify_bitstream("icebreaker", folder, images=IMAGES)
    assert report == json.loads((folder / "report.json").read_text())
    return report, folder / "digits-small-rom-rom"


def test_the_netlist_equals_the_golden_model(proof):
    report, _ = proof
    (step,) = report["steps"]
    assert step["what"].startswith("netlist of digits-small on icebreaker")
    assert step["images"] == IMAGES
    assert report["compared"] == step["compared"] == VALUES
    assert report["mismatches"] == step["mismatches"] == 0
    assert step["first"] is None
    assert set(report["tools"]) >= {"yosys", "nextpnr-ice40", "verilator"}


def test_the_bitstream_is_as_planned_and_takes_other_weights(proof, digits, tmp_path):
    plan, built, copy = small_plan(digits), proof[1], tmp_path / "copy"
    report = json.loads((built / "report.json").read_text())
    assert SMALL.megahertz is not None
    check_report(plan, built, report, SMALL.megahertz)
    shutil.copytree(built, copy, ignore=shutil.ignore_patterns("verify-*"))
    check_reload(plan, copy, report)
    check_refusals(copy)


def test_the_bitstream_equals_the_golden_model(proof, icebox, digits, tmp_path):
    plan, bitstream = small_plan(digits), proof[1] / "sterna_board.bin"
    design = unpack_bitstream(BOARD, bitstream, tmp_path, plan.spec.clock_hz)
    pixels, _ = verification_images(digits, IMAGES)
    report = check_board(plan, design, tmp_path, pixels)
    assert report == {"images": IMAGES, "compared": VALUES, "mismatches": 0, "first": None}
    with pytest.raises(NetlistError, match="make a clock of 24000000 Hz, not 12000000"):
        unpack_bitstream(BOARD, bitstream, tmp_path / "other", 24_000_000)


def test_one_wrong_bit_of_a_weight_is_found(proof, icebox, digits, tmp_path):
    pixels, _ = verification_images(digits, IMAGES)
    wrong = one_bit_changed(digits, pixels)
    built, plan = proof[1], small_plan(digits)
    before, after = (built / SYNTHESIS / f"{name}_routed.asc" for name in ("loaded", "wrong"))
    roms = rom_texts(small_plan(wrong).core)
    swaps = []
    for name in json.loads((built / "board.json").read_text())["roms"]:
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(roms.get(name) or (built / name).read_text())
        swaps.append((built / "placeholder" / name, target))
    assert ICE40.swap is not None
    ICE40.swap(built / SYNTHESIS / "routed.asc", after, swaps)
    assert bits_changed(before.read_text(), after.read_text()) == 1

    pack(BOARD, built / SYNTHESIS, after.name, "wrong.bin")
    bitstream = built / SYNTHESIS / "wrong.bin"
    design = unpack_bitstream(BOARD, bitstream, tmp_path, plan.spec.clock_hz)
    report = check_board(plan, design, tmp_path, pixels)
    # Neither more nor less goes wrong than the weight accounts for.
    golden, other = (GoldenBackend(small_plan(image).core) for image in (digits, wrong))
    pairs = [(golden.infer(image), other.infer(image)) for image in pixels]
    differ = sum(int((a.logits != b.logits).sum()) + (a.label != b.label) for a, b in pairs)
    assert report["mismatches"] == differ > 0
    assert report["first"].startswith("Image 0 gives [")


def one_bit_changed(network, pixels):
    """The network with the lowest bit of one readout weight set that was not: of the neuron that
    fires most."""
    spikes = np.abs(GoldenModel(network).run(pixels).spikes[-1][0]).sum(axis=0)
    weights = [layer.weights.copy() for layer in network.layers]
    readout, neuron = weights[-1], int(spikes.argmax())
    place = int(np.flatnonzero(readout[:, neuron] % 2 == 0)[0])
    readout[place, neuron] += 1
    biases = tuple(layer.bias for layer in network.layers)
    return Network(network.spec, tuple(weights), biases)


def bits_changed(before, after):
    """Bits in which two routed designs differ; all of them must lie in the same lines."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return sum((int(a, 16) ^ int(b, 16)).bit_count() for a, b in pairs if a != b)


def tiny_network():
    neuron = NeuronSpec(theta=20, decay="shift", decay_shift=1, potential_bits=8)
    builder = NetworkBuilder(16, name="tiny", input_bits=4, steps=3)
    builder.layer("hidden", 8, neuron=neuron)
    builder.layer("readout", 3)
    return random_network(builder.spec())


def test_clock_generator_and_flash_in_the_bits(icebox, tmp_path):
    """A bitstream with PLL, single-port RAM, and weights from the flash."""
    plan = plan_board(
        BOARD, tiny_network(), lanes=4, megahertz=24, memories=("spram", "ram"), fire_lanes=2
    )
    assert plan.spec.pll is not None
    cells = build_board(plan, tmp_path)["cells"]
    folder = tmp_path / "unpacked"
    design = unpack_bitstream(BOARD, tmp_path / "sterna_board.bin", folder, plan.spec.clock_hz)
    text = (folder / "unpacked.v").read_text()
    assert text.count("SB_SPRAM256KA spram_") == cells["SB_SPRAM256KA"] > 0
    assert text.count("SB_PLL40_PAD #(") == 1
    pixels = np.random.default_rng(2).integers(0, 16, (2, 16)).astype(np.uint8)
    report = check_board(plan, design, folder, pixels)
    assert report == {"images": 2, "compared": 1 + 2 * 6, "mismatches": 0, "first": None}


def test_what_differs_is_counted():
    wanted = [["digest"], [1, 2, 3], [4, 5, 6]]
    assert _count(wanted, wanted, None) == {"compared": 7, "mismatches": 0, "first": None}
    report = _count(wanted, [["digest"], [1, 0, 0], [4, 5, 6]], None)
    assert report == {
        "compared": 7,
        "mismatches": 2,
        "first": "Image 0 gives [1, 0, 0], not [1, 2, 3]",
    }
    assert _count(wanted, [["other"]], "It broke off") == {
        "compared": 7,
        "mismatches": 7,
        "first": "The digest gives ['other'], not ['digest']",
    }
    report = _count(wanted, [["digest"]], "It broke off")
    assert (report["mismatches"], report["first"]) == (6, "It broke off")


def test_what_cannot_be_verified_is_refused(digits, monkeypatch, tmp_path):
    with pytest.raises(VerificationError, match="one of icebreaker, ulx3s_85f to be verified"):
        verify_bitstream("tang_nano_9k", tmp_path)
    with pytest.raises(VerificationError, match="85f or a described board with an ECP5 to be"):
        verify_bitstream("ice40_hx8k_b_evn", tmp_path)
    (design,) = designs_of(find_board("icepi_zero"))
    assert (design.steps, design.banks) == (("netlist",), 1)
    with pytest.raises(VerificationError, match="positive, not 0"):
        verify_bitstream("icebreaker", tmp_path, images=0)
    with pytest.raises(NetlistError, match="must hold a synthesised board"):
        netlist_verilog(ICE40, tmp_path, tmp_path)
    with pytest.raises(NetlistError, match="no models of gowin"):
        netlist_verilog(FAMILIES["gowin"], tmp_path, tmp_path)
    with pytest.raises(NetlistError, match="UP5K to be unpacked, not ulx3s_85f's"):
        unpack_bitstream(find_board("ulx3s_85f"), tmp_path / "a.bit", tmp_path, 1)
    monkeypatch.setattr("sim.board.unpack.shutil.which", lambda name: None)
    with pytest.raises(ToolError, match=r"^icebox_vlog is missing: install Debian's fpga-icestorm"):
        find_icebox()
