"""gen.ip.package: a package is complete, byte-identical, true about itself, and FuseSoC can use
it."""

import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml

from gen.core.law import CycleLaw
from gen.core.plan import CorePlan, PlanError, plan_core, plan_network
from gen.core.verilog import rom_texts
from gen.ip.package import AXI_TOP, Examples, cycle_bounds, package_ip, place_of_pixel, used_bytes
from hw.contract.builder import NetworkBuilder
from hw.contract.layout import MapLayout
from hw.system.process import FolderInUse, claimed
from hw.top.axi import AxiStreamCore
from sim.bench.verilator import SimulationError
from sim.golden.model import GoldenModel
from sw.verify.package_check import check_package
from tests.graphs import NEURON, conv, dense, network_of, residual
from tests.networks import random_chain

BASE = {
    "core.json",
    "sterna.core",
    "README.md",
    "sterna_axis.v",
    "sterna_axis_inst.v",
    "sterna_rom.v",
}
BENCH = {"tb/sterna_axis_tb.sv", "tb/words.hex", "tb/answers.hex"}


def make_plan(lanes: int = 4, banks: int = 2) -> CorePlan:
    """37 pixels of 3 bits, 4 classes; logits of either sign."""
    network = random_chain(np.random.default_rng(1), (37, 7, 4), steps=2, input_bits=3)
    return plan_core(network, lanes, banks)


def make_maps() -> CorePlan:
    """4x5 pixels in rows of three transfers of 2 bytes; a window stage, then a dense layer."""
    b = NetworkBuilder((1, 4, 5), name="random", input_bits=3, steps=2)
    b.layer("map", 2, conv("input", 3, padding=1, pool=2), neuron=NEURON)
    b.layer("readout", 3, dense("map"))
    return plan_network(network_of(b.spec()), 2, schedule="windows")


def make_examples(plan: CorePlan, count: int = 5) -> Examples:
    spec = plan.network.spec
    shape = (count, spec.image_size)
    pixels = np.random.default_rng(2).integers(0, spec.pixel_max + 1, shape).astype(np.uint8)
    return pixels, GoldenModel(plan.network).run(pixels).logits


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    plan = make_plan()
    folder = tmp_path_factory.mktemp("package")
    package_ip(plan, folder, examples=make_examples(plan))
    return folder


@pytest.fixture(scope="module")
def maps(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    package_ip(make_maps(), folder, examples=make_examples(make_maps()))
    return folder


def test_files(package: Path, tmp_path: Path) -> None:
    """All there, the same again, and none that is left from another package."""
    plan = make_plan()
    files = files_in(package)
    roms = rom_texts(plan)
    assert set(files) == BASE | BENCH | set(roms)
    package_ip(plan, tmp_path, examples=make_examples(plan))
    assert files_in(tmp_path) == files
    other = make_plan(2, 1)
    facts = package_ip(other, tmp_path)
    assert set(files_in(tmp_path)) == BASE | set(rom_texts(other))
    assert json.loads((tmp_path / "core.json").read_text()) == json.loads(json.dumps(facts))


def test_roms_are_the_cores_without_comments(package: Path) -> None:
    for name, text in rom_texts(make_plan()).items():
        rows = (package / name).read_text().splitlines()
        assert rows == [line for line in text.splitlines() if not line.startswith("//")]
        assert all(re.fullmatch("[0-9a-f]+", row) for row in rows)
        assert f'"{name}"' in (package / "sterna_axis.v").read_text()


def test_every_text_has_the_real_widths(package: Path) -> None:
    """Verilog, template, README and manifest agree, and name the network."""
    plan = make_plan()
    verilog = (package / "sterna_axis.v").read_text()
    facts = json.loads((package / "core.json").read_text())
    module = verilog[verilog.index(f"module {AXI_TOP}(") :].partition("endmodule")[0]
    declared = re.findall(r"^  (in|out)put (?:\[(\d+):0\] )?(\w+);", module, re.M)
    ports = {name: [way, int(top or 0) + 1] for way, top, name in declared}
    assert facts["axi"]["ports"] == ports
    assert ports["s_axis_tdata"] == ["in", 8 * 32]
    head = verilog.partition("/* verilator")[0]
    for name, (way, width) in ports.items():
        assert re.search(rf"^// {name} +{way} +{width}  \w", head, re.M)
    least, most = facts["axi"]["latency"]
    assert f"{least:,} to {most:,} cycles. From class to class, on average" in head
    instance = (package / "sterna_axis_inst.v").read_text()
    wires = re.findall(r"^wire (?:\[(\d+):0\] )?(\w+);", instance, re.M)
    assert {name: int(top or 0) + 1 for top, name in wires} == {
        name: width for name, (_, width) in ports.items()
    }
    assert re.findall(r"\.(\w+) +\((\w+)\)", instance) == [
        (name, name) for name in facts["axi"]["ports"]
    ]
    readme = (package / "README.md").read_text()
    for name, (way, width) in ports.items():
        assert f"| `{name}` | {way} | {width} | " in readme
    for text in (verilog.splitlines()[0], instance, readme, facts["digest"]):
        assert plan.network.digest in text
    for text in (verilog, instance, (package / "tb/sterna_axis_tb.sv").read_text()):
        assert text.splitlines()[1] == "// SPDX-License-Identifier: Apache-2.0"
    assert "Apache-2.0, which the SPDX lines name" in readme
    assert "There are 37 pixels, 5 in the last transfer, whose other bytes are ignored." in readme
    assert "(`p >> 5` of an 8-bit pixel p)" in readme
    assert "$" not in readme.replace("$readmemh", "")


@pytest.mark.parametrize(
    "plan",
    [
        make_plan(),
        make_maps(),
        plan_network(network_of(residual()), 4, schedule="shared"),
        plan_network(network_of(residual()), 4, schedule="pipelined"),
    ],
    ids=lambda plan: plan.schedule,
)
def test_cycles_lie_within_the_bounds(plan: CorePlan) -> None:
    bounds = cycle_bounds(plan)
    pixels, _ = make_examples(plan, 20)
    done = CycleLaw(plan).predict(pixels, GoldenModel(plan.network).run(pixels).spikes)
    least, most = bounds["latency"]
    assert least <= done[0] + AxiStreamCore.LATENCY <= most
    least, most = bounds["cycles_per_image"]
    assert least <= np.diff(done)[5:].mean() <= most


@pytest.mark.parametrize(
    "layout",
    [
        MapLayout((1, 4, 9), 4, 4),
        MapLayout((1, 4, 4), 8, 8),
        MapLayout((3, 3, 5), 8, 2),
        MapLayout((3, 2, 2), 16, 4),
        MapLayout((3, 3, 3), 4),
        MapLayout((9, 2, 3), 4),
        MapLayout((1, 2, 3), 2),
    ],
    ids=str,
)
def test_places_of_pixels_are_those_of_the_words(layout: MapLayout) -> None:
    words, lanes = layout.places()
    c, y, x = np.indices(layout.shape).reshape(3, -1)
    told = [
        eval(text.replace("/", "//"), {"c": c, "y": y, "x": x}) for text in place_of_pixel(layout)
    ]
    np.testing.assert_array_equal(told[0], words)
    np.testing.assert_array_equal(np.broadcast_to(told[1], lanes.shape), lanes)


def test_a_package_of_maps_says_where_pixels_are(maps: Path) -> None:
    plan = make_maps()
    facts = json.loads((maps / "core.json").read_text())
    assert (facts["schedule"], facts["words"], facts["word"]) == ("windows", 12, 2)
    assert facts["axi"]["layout"]["shape"] == [1, 4, 5]
    assert facts["axi"]["sources"] == ["sterna_axis.v", "sterna_rom.v"]
    readme = (maps / "README.md").read_text()
    assert "1 channel, 4 rows and 5 columns" in readme
    assert "It is byte k = `x % 2` of transfer `3 * y + x / 2`" in readme
    used = used_bytes(plan)
    assert used.reshape(4, 6).tolist() == [[True] * 5 + [False]] * 4
    pixels, _ = make_examples(plan)
    words = [bytes.fromhex(line)[::-1] for line in (maps / "tb/words.hex").read_text().split()]
    sent = np.frombuffer(b"".join(words), np.uint8).reshape(-1, 4, 6)
    np.testing.assert_array_equal(sent[:, :, :5].reshape(-1, 20), pixels)
    assert not sent[:, :, 5:].any()


def test_recordings_are_packaged_vector_by_vector(tmp_path: Path) -> None:
    b = NetworkBuilder(5, name="random", input_bits=1, steps=3, timed_input=True)
    b.layer("hidden", 4, neuron=NEURON)
    b.layer("readout", 2)
    plan = plan_core(network_of(b.spec()), 4)
    package_ip(plan, tmp_path, examples=make_examples(plan))
    assert used_bytes(plan).tolist() == [[True] * 5 + [False] * 3] * 3
    readme = (tmp_path / "README.md").read_text()
    assert "A recording is 3 images, one for each step, 1 transfer(s) each" in readme


def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    plan = make_plan()
    pixels, logits = make_examples(plan)
    for examples, sentence in [
        (
            (pixels[:, 1:], logits),
            "Examples must be images of 37 pixels with 4 logits each, "
            "not arrays (5, 36) and (5, 4)",
        ),
        (
            (pixels, logits[1:]),
            "Examples must be images of 37 pixels with 4 logits each, "
            "not arrays (5, 37) and (4, 4)",
        ),
        (
            (pixels[:0], logits[:0]),
            "Examples must be images of 37 pixels with 4 logits each, "
            "not arrays (0, 37) and (0, 4)",
        ),
        ((pixels + 1, logits), "Pixels of examples must lie in 0..7"),
    ]:
        with pytest.raises(PlanError) as refused:
            package_ip(plan, tmp_path / "x", examples=examples)
        assert str(refused.value) == sentence
    loaded = plan_core(plan.network, 4, 2, memories=("ram", "ram"))
    with pytest.raises(PlanError) as refused:
        package_ip(loaded, tmp_path / "x")
    assert str(refused.value) == "Weights of a package must be in ROM, not loaded at power-up"
    assert not (tmp_path / "x").exists()


# FuseSoC


def test_the_core_file_names_files_that_are_there(package: Path, tmp_path: Path) -> None:
    package_ip(make_plan(), tmp_path)
    for folder, targets in [(package, {"default", "lint", "sim"}), (tmp_path, {"default", "lint"})]:
        text = (folder / "sterna.core").read_text()
        assert text.startswith("CAPI=2:\n")
        core = yaml.safe_load(text.partition("\n")[2])
        assert core["name"] == "::sterna_random:0.1.0"
        named: dict[str, str | None] = {}
        for fileset in core["filesets"].values():
            assert fileset["file_type"] in ("verilogSource-2005", "systemVerilogSource", "user")
            for file in fileset["files"]:
                entries = file if isinstance(file, dict) else {file: {}}
                named |= {name: options.get("copyto") for name, options in entries.items()}
        assert all((folder / name).is_file() for name in named)
        assert all(to == name for name, to in named.items() if name.endswith(".hex"))
        assert set(named) == set(files_in(folder)) - {
            "core.json",
            "sterna.core",
            "README.md",
            "sterna_axis_inst.v",
        }
        assert set(core["targets"]) == targets
        for target in core["targets"].values():
            assert set(target["filesets"]) <= set(core["filesets"])


def test_a_check_takes_no_folder_of_others(tmp_path: Path) -> None:
    """Refused in a sentence: what it has not made, a folder without a name, one in use."""
    folder, work = tmp_path / "b", tmp_path / "b-fusesoc"
    for held, named in [(["notes", "lint.log"], "notes"), (["build"], "build")]:
        work.mkdir()
        for name in held:
            (work / name).write_text("mine")
        with pytest.raises(SimulationError) as refused:
            check_package(folder, "::x:1")
        assert str(refused.value) == (
            f"Folder {work}, where the package is checked, must be empty or an earlier check's: "
            f"it has {named}"
        )
        assert sorted(path.name for path in work.iterdir()) == sorted(held)
        assert not folder.exists()
        shutil.rmtree(work)
    with pytest.raises(SimulationError, match=r"must have a name, .*: / has none$"):
        check_package(Path("/"), "::x:1")
    with ThreadPoolExecutor(1) as other:
        for place in (folder, work):
            with claimed(place), pytest.raises(FolderInUse):
                other.submit(check_package, folder, "::x:1").result()
    assert not any(tmp_path.iterdir())


def test_fusesoc_lints_and_runs_a_package(maps: Path) -> None:
    """A window stage with layers behind it, -Wall, and every answer; both targets can fail."""
    vlnv = "::sterna_random:0.1.0"
    lines: list[str] = []
    told = check_package(maps, vlnv, progress=lines.append)
    assert lines == ["FuseSoC: lint", "FuseSoC: sim"]
    assert told["lint"] == "clean"
    assert re.fullmatch(r"PASS: 5 images, 15 answers, \d+ cycles", told["sim"])
    # One bit of one answer.
    work = maps.with_name("maps0-fusesoc") / "build" / "sterna_random_0.1.0" / "sim"
    answers = (work / "tb" / "answers.hex").read_text()
    at = answers.index("\n") - 1
    flipped = f"{int(answers[at], 16) ^ 1:x}"
    (work / "tb" / "answers.hex").write_text(answers[:at] + flipped + answers[at + 1 :])
    again = subprocess.run(
        ["./Vsterna_axis_tb"], cwd=work, capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode != 0
    assert "FAIL: 15 answers of 15, 1 wrong, error 000" in again.stdout + again.stderr
    # A module that nobody reads.
    text = (maps / "sterna_axis.v").read_text()
    (maps / "sterna_axis.v").write_text(text + "junk")
    with pytest.raises(SimulationError, match=r"fails FuseSoC's target lint: see .*lint\.log"):
        check_package(maps, vlnv)
