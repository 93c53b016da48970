"""The scale model against the cycle law, which the hardware keeps; the papers' large networks."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.estimate import blocks, require_memory
from gen.core.law import CycleLaw
from gen.core.plan import PlanError, cuts, plan_programs
from gen.program.cycles import updates
from gen.program.expectation import expected, memory_bits, network_rates
from gen.program.stage import ProgramStagePlan, plan_program
from hw.contract.builder import random_network
from hw.contract.edge import INPUT
from hw.contract.network import Network
from hw.program.code import Played
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.data.shipped import MODELS, model_path
from sw.study.reference_networks import ZOO
from sw.study.scale import measured_rates
from tests.graphs import network_of, residual
from tests.hw.program.programs import dense, leaky, network, part
from tests.networks import READOUTS

DIGITS = [path.stem for path in sorted(MODELS.glob("digits-*.npz"))]


def check_model(network: Network, pixels: np.ndarray, lanes: int, changes: list[str]) -> None:
    """The model is within 2 % of the law, in cycles and in updates."""
    trace, core = GoldenModel(network).run(pixels), plan_programs(network, lanes, (), changes)
    (plan,) = core.stages
    assert isinstance(plan, ProgramStagePlan)
    law = float(np.diff(CycleLaw(core).predict(pixels, trace.spikes)).mean())
    found = expected(plan, measured_rates(network, pixels, trace, changes))
    assert found.cycles == pytest.approx(law, rel=0.02)
    added = [
        updates(plan, one, [spikes[n] for spikes in trace.spikes]) for n, one in enumerate(pixels)
    ]
    assert found.updates == pytest.approx(np.mean(added), rel=0.02)


@pytest.mark.parametrize("changing", [True, False])
@pytest.mark.parametrize("name", DIGITS)
def test_model_keeps_to_the_law(name: str, changing: bool) -> None:
    """Within 2 %, on images of the test set; of spikes, and of what changes in them."""
    network = Network.load(model_path(name))
    pixels = load_split("digits", "test", network.spec.input_bits).images[:50]
    check_model(network, pixels, 16, network.firing * changing)


@pytest.mark.parametrize("changing", [True, False])
def test_model_of_a_readout_that_leaks(changing: bool) -> None:
    """Every step is sent, three words of it."""
    network = leaky(Network.load(model_path("digits-dense")), READOUTS["factor-max"])
    pixels = load_split("digits", "test", network.spec.input_bits).images[:30]
    check_model(network, pixels, 4, network.firing * changing)


def test_levels_of_a_leaks_factor_are_waited_for_between_words() -> None:
    """Three of them, between twelve words, in all steps but the last, behind which logits are."""
    image = network((2, 1, 1), part(2, dense("input")), part(23, dense("a")), steps=6)
    half = {played: {INPUT: 0.5, "a": 0.5} for played in Played}
    with_levels, without = (
        expected(plan_program(leaky(image, READOUTS[name]), 2), half).cycles
        for name in ("factor-max", "none-max")
    )
    assert with_levels - without == 5 * 11 * 3


@pytest.mark.parametrize("changes", [[], ["stem", "inner"]])
@pytest.mark.parametrize("lanes", [4, 16])
def test_model_of_every_kind_of_edge(lanes: int, changes: list[str]) -> None:
    network = network_of(residual())
    random = np.random.default_rng(1)
    pixels = random.integers(0, 8, (40, network.spec.image_size)).astype(np.uint8)
    check_model(network, pixels, lanes, changes)


def test_silence_costs_little_and_noise_much() -> None:
    network = network_of(residual())
    layers = [layer.name for layer in network.spec.layers[:-1]]
    for changes in ((), layers):
        plan = plan_program(network, 4, changes=changes)

        def at(rate: float, plan: ProgramStagePlan = plan) -> float:
            one = {INPUT: 0.5, **dict.fromkeys(layers, rate)}
            return expected(plan, dict.fromkeys(Played, one)).cycles

        assert at(0) < at(0.1) < at(0.5) < at(1)


def test_rates_of_a_network_by_hand() -> None:
    """Of each kind, shares of a coefficient's bits: of one bit a step; of two in a change, of which
    the lower is what is there; of three in a sum of four steps."""
    image = network((2, 1, 1), part(2, dense("input")), part(2, dense("a")), steps=4)
    counted = {"spike_bits": [0.3], "change_bits": [0.2], "sum_bits": [0.6], "input_density": 0.4}
    rates = network_rates(replace(image, meta=counted))
    assert rates[Played.STEP]["a"] == 0.3
    later = (0.2 * 4 - 0.3) / 3  # at the first step as much has changed as is sent
    assert np.reshape(rates[Played.CHANGES]["a"], -1).tolist() == [pytest.approx(later), 0.0]
    assert rates[Played.SUM]["a"] == pytest.approx(0.2)
    assert rates[Played.STEP][INPUT] == rates[Played.SUM][INPUT]
    unknown = network_rates(image)
    assert all(unknown[kind]["a"] == 0.5 for kind in Played)


# Weights (millions) and neurons of the released networks: shared notes on the papers' code.
KNOWN = {"resnet20-cifar": (11.23, 319_488), "resnet19-cifar": (12.55, 1_441_792)}


@pytest.mark.parametrize("name", KNOWN)
def test_the_papers_networks_have_the_papers_sizes(name: str) -> None:
    spec = ZOO[name]()
    weights = sum(np.prod(s) for n in range(len(spec.layers)) for s in spec.weight_shapes(n))
    assert weights / 1e6 == pytest.approx(KNOWN[name][0], abs=0.02)
    assert sum(layer.neurons for layer in spec.layers[:-1]) == KNOWN[name][1]


def test_a_network_over_the_chips_memory_is_one_sentence() -> None:
    board = find_board("ulx3s_85f")
    network = random_network(ZOO["resnet20-cifar"](), bias=0)
    plan = plan_programs(network, 16, ())
    with pytest.raises(
        PlanError,
        match=r"needs 2,\d+ block RAMs, and ulx3s_85f has 208: the weig"
        r"hts of layer stage4_\d_\d alone need \d+",
    ):
        require_memory(plan, board)
    assert sum(memory_bits(plan_program(network)).values()) > 208 * 18 * 1024
    small = plan_programs(network_of(residual()), 4, ())
    require_memory(small, board)
    needed = small.stages[0].memories().values()
    assert 0 < sum(blocks(board, memory) for memory in needed) < 20


def test_cuts_leave_blocks_whole() -> None:
    """`inner` and `stem` feed what comes later: only `down`'s readers could be cut off, and the
    readout reads `inner` too."""
    assert cuts(residual()) == [1]
    spec = ZOO["vgg16-cifar"]()
    assert cuts(spec) == list(range(1, len(spec.layers)))
    spec = ZOO["resnet20-cifar"]()
    names = [spec.layers[n].name for n in cuts(spec)]
    assert "stage1_1_1" in names
    assert not any(name.endswith("_2") and name.startswith("stage") for name in names)


def test_stages_share_the_network() -> None:
    network = network_of(residual())
    plan = plan_programs(network, 4)
    assert [list(stage.layers) for stage in plan.stages] == [[0], [1, 2, 3, 4]]
    sources = [stage.source for stage in plan.stages if isinstance(stage, ProgramStagePlan)]
    assert sources == [INPUT, "stem"]
    with pytest.raises(
        PlanError,
        match=r"can be cut before the layers \['inner'\], not before "
        r"layer numbers \[2\]",
    ):
        plan_programs(network, 4, [2])
    assert len(plan_programs(network, 4, []).stages) == 1


def test_study_scale(tmp_path, capsys) -> None:
    """One command: the check, then the large networks."""
    out = tmp_path / "scale.json"
    assert (
        main(
            ["study", "scale", "digits-dense", "--lanes", "16", "--images", "9", "--out", str(out)]
        )
        == 0
    )
    text = capsys.readouterr().out
    facts = json.loads(out.read_text())
    assert [row["network"] for row in facts["foretold"]] == list(ZOO)
    assert abs(facts["checked"][0]["error"]) < 0.02
    assert all(name in text for name in ZOO)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--lanes", "12"], "Lanes must be of"), (["--rate", "1.5"], "Rate must lie from 0 to 1")],
)
def test_study_scale_refuses(arguments, sentence, capsys) -> None:
    assert main(["study", "scale", "digits-dense", *arguments]) == 1
    assert sentence in capsys.readouterr().err
