"""gen.stage.rom, gen.core.verilog: files are byte-identical, complete, and lead back to the
image."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.board.boards import find_board
from gen.board.files import identity
from gen.board.planner import plan_board
from gen.core.plan import PlanError, plan_core, plan_programs
from gen.core.verilog import generate, rom_texts
from hw.contract.builder import NetworkBuilder
from hw.contract.network import Network
from sw.data.shipped import model_path
from tests.graphs import NEURON, conv, dense, network_of, residual
from tests.hw.layer.cores import layer_stages
from tests.networks import networks


@settings(max_examples=40)
@given(network=networks(), lanes=st.integers(1, 40), banks=st.sampled_from([1, 2, 4, 8]))
def test_image_to_rom_and_back(network, lanes, banks):
    plan = plan_core(network, lanes, banks)
    files = rom_texts(plan)
    back = [stage.read(files) for stage in layer_stages(plan)]
    for (weights, biases), integers in zip(back, network.layers, strict=True):
        np.testing.assert_array_equal(weights, integers.weights)
        np.testing.assert_array_equal(biases, integers.bias)
    assert rom_texts(plan_core(network, lanes, banks)) == files


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
    assert network.digest in text.splitlines()[0]
    for name in roms:
        assert f'"{name}"' in text
    ports = re.search(r"module sterna_core\((.*?)\);", text)
    assert ports is not None
    assert "tap_" not in ports[1]
    assert not re.search(r"[\w\]] \* [\w\[]", re.sub(r"/\*.*?\*/|\(\*.*?\*\)", "", text))


def test_images_too_long_for_the_link_are_one_sentence():
    b = NetworkBuilder((3, 224, 224), name="wide", steps=1)
    b.layer("down", 2, conv("input", 7, pool=32), neuron=NEURON)
    b.layer("readout", 3, dense("down"))
    board = plan_board(find_board("ulx3s_85f"), network_of(residual())).spec
    words = r"Images of wide must be of at most 65,535 bytes to be sent to a board, not \d{3},\d{3}"
    with pytest.raises(PlanError, match=words):
        identity(plan_programs(network_of(b.spec()), 8, ()), board)
