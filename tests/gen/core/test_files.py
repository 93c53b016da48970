"""gen.stage.rom, gen.core.verilog: files are byte-identical, complete, and lead back to the
image."""

import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.back.verilog import YosysError
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.board.boards import find_board
from gen.board.files import digest_rom, identity
from gen.board.planner import plan_board
from gen.core.plan import PlanError, plan_core, plan_programs
from gen.core.verilog import generate, manifest, read_plan, rom_texts
from gen.ip.package import package_ip
from gen.stage.emit import VerilogError, verilog_text
from hw.contract.builder import NetworkBuilder
from hw.contract.files import write_json
from hw.contract.network import Network
from hw.contract.spec import NetworkSpec
from hw.contract.text import own_version
from sw.data.shipped import model_path
from tests.graphs import NEURON, conv, dense, network_of, residual
from tests.hw.layer.cores import layer_stages
from tests.networks import networks, random_chain


@settings(max_examples=40)
@given(network=networks(), lanes=st.integers(1, 40), banks=st.sampled_from([1, 2, 4, 8]))
def test_image_to_rom_and_back(network, lanes, banks):
    plan = plan_core(network, lanes, banks)
    files = rom_texts(plan)
    back = [stage.read(files) for stage in layer_stages(plan)]
    for (weights, biases), stage, integers in zip(
        back, layer_stages(plan), network.layers, strict=True
    ):
        once = (
            network.spec.steps if stage.geometry.sent_planes else 1
        )  # the readout's, of all steps
        np.testing.assert_array_equal(weights, integers.dense_weights)
        np.testing.assert_array_equal(biases, integers.bias * once)
    assert rom_texts(plan_core(network, lanes, banks)) == files


@settings(max_examples=10)
@given(
    network=networks(own=True),
    lanes=st.integers(1, 12),
    banks=st.sampled_from([1, 2, 4]),
    fire=st.sampled_from([0, 4, 8]),
)
def test_constants_by_channel_to_rom_and_back(network, lanes, banks, fire):
    plan = plan_core(network, lanes, banks, fire_lanes=fire)
    for stage, integers in zip(layer_stages(plan), network.layers, strict=True):
        back = stage.read_constants(rom_texts(plan))
        given = (integers.thetas, integers.reset_steps, integers.factors)
        assert len(back) == sum(values is not None for values in given)
        for name, values in zip(stage.own._fields, given, strict=True):
            if values is not None:
                np.testing.assert_array_equal(back[name], values)


def test_bad_rom_images_are_refused():
    plan = plan_core(Network.load(model_path("digits-dense")))
    files = rom_texts(plan)
    name = "rom/0_hidden1_bank0_slice0.hex"
    short = files[name].rsplit("\n", 2)[0] + "\n"
    for text, sentence in [
        (None, f"ROM file {name} is missing"),
        ("xyz\n", f"ROM file {name} must hold hexadecimal rows only"),
        (short, f"ROM file {name} must have 68 rows, not 67"),
    ]:
        changed = {**files, name: text} if text else {k: v for k, v in files.items() if k != name}
        with pytest.raises(PlanError) as refused:
            [stage.read(changed) for stage in layer_stages(plan)]
        assert str(refused.value) == sentence


def files_in(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_names_that_are_older_than_their_rule_are_in_no_file(tmp_path, monkeypatch):
    """Not even in what Yosys would make Verilog of."""

    def quick(component, *, name, **_):
        return rtlil.convert(component, name=name, emit_src=False)

    monkeypatch.setattr("gen.stage.emit.verilog.convert", quick)
    network = random_chain(np.random.default_rng(1), (16, 5, 3), steps=2, input_bits=3)
    data = network.spec.to_dict()
    data["name"] = "-\u7f51\u7edc"
    data["layers"][0]["name"] = "verst\u00e4rker" * 30
    spec = NetworkSpec.from_dict(data)
    other = Network(spec, network.weights, network.biases)
    other = Network.load(other.save(tmp_path / "old.npz"))
    assert other.digest == Network(spec, network.weights, network.biases).digest
    plan = plan_core(other, 4, 1)
    generate(plan, tmp_path / "core")
    package_ip(plan, tmp_path / "ip")
    for folder in ("core", "ip"):
        for name, content in files_in(tmp_path / folder).items():
            assert re.fullmatch(r"[A-Za-z][\w./]*", name, re.A), name
            assert len(Path(name).name) < 100
            assert content.isascii()
    (digest,) = digest_rom(plan).values()
    assert digest.text.isascii()
    text = (tmp_path / "ip/sterna.core").read_text()
    assert re.search(r"^name: ::sterna_n_[0-9a-f]{8}:[0-9.]+$", text, re.M)


def test_a_yosys_that_does_not_finish_is_told(monkeypatch):
    def refuse(*_, **__):
        raise YosysError("Traceback:\n  many lines\nFile too large (os error 27)\n")

    monkeypatch.setattr("gen.stage.emit.verilog.convert", refuse)
    with pytest.raises(VerilogError) as error:
        verilog_text(cast(Any, None), "top")
    assert str(error.value) == "Yosys did not write the Verilog: File too large (os error 27)"


def check_header(text, network):
    """It says what the text is, and has the ports as the module declares them."""
    head = [line[2:].strip() for line in text.partition("/* verilator")[0].splitlines()]
    assert head[0] == f"digits-dense, network {network.digest}, made by Sterna {own_version()}."
    assert head[1] == "SPDX-License-Identifier: Apache-2.0"
    assert "Schedule pipelined, 2 stage(s): 32 lanes, 2 bank(s)." in head
    assert "docs/cycles.md" in " ".join(head[-2:])
    module = text[text.index("module sterna_core(") :].partition("endmodule")[0]
    declared = re.findall(r"^  (in|out)put (?:\[(\d+):0\] )?(\w+);", module, re.M)
    told = [re.fullmatch(r"(\w+) +(in|out) +(\d+)  (.+)", line) for line in head]
    assert sorted((m[1], m[2], int(m[3])) for m in told if m) == sorted(
        (name, way, int(high or 0) + 1) for way, high, name in declared
    )
    assert len(declared) == 8


def test_generated_files(tmp_path):
    network = Network.load(model_path("digits-dense"))
    plan = plan_core(network, 32, 2)
    facts = generate(plan, tmp_path / "a")
    generate(plan_core(network, 32, 2), tmp_path / "b")
    files = files_in(tmp_path / "a")
    assert files == files_in(tmp_path / "b")

    assert json.loads(files["core.json"]) == json.loads(json.dumps(facts))
    roms = [name for layer in facts["layers"] for bank in layer["rom"] for name in bank]
    assert set(files) == {"core.json", "sterna_core.v", "sterna_rom.v", *roms}
    text = files["sterna_core.v"].decode()
    check_header(text, network)
    for name in roms:
        assert f'"{name}"' in text
    ports = re.search(r"module sterna_core\((.*?)\);", text)
    assert ports is not None
    assert "tap_" not in ports[1]
    assert not re.search(r"[\w\]] \* [\w\[]", re.sub(r"/\*.*?\*/|\(\*.*?\*\)", "", text))


def test_a_plan_is_read_where_it_was_written(tmp_path):
    """As it was made, whatever would be chosen now; or there is a sentence."""
    network = Network.load(model_path("digits-conv"))
    other = Network.load(model_path("digits-dense"))
    for n, plan in enumerate(
        (
            plan_programs(network, 8, (), ["block"]),
            plan_programs(network, 4),
            plan_core(other, 16, 2, once=True),
        )
    ):
        folder = tmp_path / str(n)
        folder.mkdir()
        write_json(folder / "core.json", manifest(plan, []))
        read = read_plan(plan.network, folder)
        assert (read.fingerprint, read.recipe()) == (plan.fingerprint, plan.recipe())
        assert read.changes == plan.changes
    fingerprints = {plan_programs(network, 8, (), [*c]).fingerprint for c in ((), ("block",))}
    assert len(fingerprints) == 2

    path = tmp_path / "0" / "core.json"
    facts = json.loads(path.read_text())
    for change, words in (
        ({"digest": other.digest}, "Plan in .* must be of network [0-9a-f]{16}, not [0-9a-f]{16}"),
        ({"plan": {"recipe": facts["plan"]["recipe"], "fingerprint": "0"}}, "by another Sterna"),
        ({"plan": {"recipe": {"schedule": "shared"}, "fingerprint": "0"}}, "can be laid out by"),
        ({"plan": {"recipe": {"schedule": "learning"}, "fingerprint": "0"}}, "not laid out by a"),
        ({"plan": {}}, "must hold a core or a board with its plan: none is in core.json"),
        ({"plan": 3}, "must hold a core or a board with its plan"),
    ):
        write_json(path, facts | change)
        with pytest.raises(PlanError, match=words):
            read_plan(network, path.parent)
    with pytest.raises(PlanError, match="must hold a core or a board with its plan"):
        read_plan(network, tmp_path / "nowhere")


def test_images_too_long_for_the_link_are_one_sentence():
    b = NetworkBuilder((3, 224, 224), name="wide", steps=1)
    b.layer("down", 2, conv("input", 7, pool=32), neuron=NEURON)
    b.layer("readout", 3, dense("down"))
    board = plan_board(find_board("ulx3s_85f"), network_of(residual())).spec
    words = r"Images of wide must be of at most 65,535 bytes to be sent to a board, not \d{3},\d{3}"
    with pytest.raises(PlanError, match=words):
        identity(plan_programs(network_of(b.spec()), 8, ()), board)
