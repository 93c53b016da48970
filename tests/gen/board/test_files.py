"""A board's design is complete: what its Verilog is made of and reads is written, and is listed."""

import re
from pathlib import Path

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.files import generate_board
from gen.board.planner import BoardPlan, plan_board, plan_learning_board
from hw.contract.builder import NetworkBuilder, random_network
from hw.contract.neuron import NeuronSpec
from hw.learn.masters import Masters
from tests.learning import learning_network

RNG = np.random.default_rng(4)
IMAGES = RNG.integers(0, 16, (3, 9)).astype(np.uint8)
LABELLED = IMAGES, np.arange(3)


def plain(board: str, *memories: str) -> BoardPlan:
    builder = NetworkBuilder(9, name="small", input_bits=4, steps=2)
    builder.layer("hidden", 4, neuron=NeuronSpec(theta=8, potential_bits=9))
    builder.layer("readout", 3)
    network = random_network(builder.spec(), RNG)
    return plan_board(find_board(board), network, lanes=4, banks=1, memories=memories)


def learning(board: str) -> BoardPlan:
    masters = Masters.of(learning_network(RNG))
    return plan_learning_board(find_board(board), masters, lanes=4)


@pytest.mark.parametrize("plan", [plain("icebreaker", "spram", "ram"), learning("ulx3s_85f")])
def test_all_that_the_verilog_names_is_written(plan: BoardPlan, tmp_path: Path):
    learns = plan.core.stages[0].label_bits > 0
    stored = LABELLED if learns else IMAGES
    facts = generate_board(plan.core, plan.spec, plan.board, tmp_path, stored)
    text = "".join((tmp_path / name).read_text() for name in facts["sources"])
    named = set(re.findall(r'"(rom/\w+\.hex)"', text))
    modules = set(re.findall(r"^\s*module (\w+)", text, re.M))
    used = set(re.findall(r"^\s*(sterna_\w+) #?\(", text, re.M))
    assert named == set(facts["roms"])
    assert all((tmp_path / name).is_file() for name in facts["files"])
    assert used <= modules
    assert facts["test_images"] == (None if learns else [3, 64])
    assert facts["samples"] == (3 if learns else 0)
