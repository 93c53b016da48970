"""Biases in parts of a weight step, where weights are kept as they are."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gen.core.plan import dense_tail, plan_network
from hw.contract.edge import INPUT, MAX_SHIFT, EdgeSpec
from hw.contract.neuron import MAX_WIDTH
from sim.bench.run import simulate
from sim.golden.model import GoldenModel
from sw.frameworks.bounds import BIAS_BITS
from sw.frameworks.integers import integers_of, rounding
from sw.learn.fold import FoldedLayer, FoldedNetwork
from sw.learn.integer import IntegerNetwork
from sw.learn.neuron import LIFParameters

STEP = 0.125
"""Of all weights: sums of reals are exact."""

GENERATOR = torch.Generator().manual_seed(0)
PIXELS = torch.randint(0, 16, (200, 12), generator=GENERATOR).numpy().astype(np.uint8)


def on_grid(*sides: int) -> Tensor:
    """Weights of 4 bits."""
    return STEP * torch.randint(-7, 8, sides, generator=GENERATOR).double()


def biases(n: int) -> Tensor:
    """No multiples of anything."""
    return torch.rand(n, generator=GENERATOR, dtype=torch.float64) - 0.5


def network(parameters: LIFParameters, bias: Tensor, steps: int = 4) -> FoldedNetwork:
    """12-n-5, of which the second layer has no bias."""
    hidden = FoldedLayer.dense(on_grid(len(bias), 12), bias, parameters)
    last = FoldedLayer.dense(on_grid(5, len(bias)), torch.zeros(5).double(), None)
    return FoldedNetwork((hidden, last), steps)


SOFT = LIFParameters(theta=7.3, negative="off", reset="soft", step=7.3, decay="none", decay_shift=0)
HARD = LIFParameters(theta=7.3, negative="off", reset="hard", decay="none", decay_shift=0)
LEAKY = replace(HARD, decay="factor", decay_factor=0.9)


def integers(folded: FoldedNetwork, fine: bool, **options: int) -> IntegerNetwork:
    given = {"name": "x", "weight_bits": 4, "pixel_bits": 4, **options}
    peaks = [u.abs().amax(dim=(0, 1)) for u in folded(torch.from_numpy(PIXELS)).potentials]
    return integers_of(folded, fine_biases=fine, peaks=peaks, **given)


def unlike(folded: FoldedNetwork, made: IntegerNetwork) -> int:
    """Spikes that are not those of the reals."""
    spikes = folded(torch.from_numpy(PIXELS)).spikes[0].transpose(0, 1).numpy()
    return int((GoldenModel(made.to_network()).run(PIXELS).spikes[0] != spikes).sum())


@pytest.mark.parametrize("parameters", [SOFT, HARD, LEAKY], ids=["soft", "hard", "leaky"])
def test_biases_are_not_what_is_lost(parameters: LIFParameters) -> None:
    """Of 102,400 spikes."""
    folded = network(parameters, biases(128))
    coarse, fine = (integers(folded, fine) for fine in (False, True))
    assert unlike(folded, coarse) >= 50
    assert unlike(folded, fine) <= unlike(folded, coarse) / 10
    (edge,) = fine.spec.edges(0)
    assert edge.shift == MAX_SHIFT
    weights = [made.integer_layers[0].integers()[0][0] for made in (coarse, fine)]
    assert torch.equal(*weights)


def test_what_is_a_part_of_a_step_is_whole() -> None:
    """Eighths take three bits, and then nothing is rounded."""
    folded = network(replace(SOFT, theta=7.25, step=7.25), STEP / 8 * torch.arange(24).double())
    fine = integers(folded, True)
    assert fine.spec.edges(0)[0].shift == 3
    assert fine.spec.layers[0].neuron is not None
    assert fine.spec.layers[0].neuron.theta == 464
    assert fine.integer_layers[0].integers()[1].tolist() == list(range(24))
    assert unlike(folded, fine) == 0
    assert unlike(folded, integers(folded, False)) > 0
    told = rounding(folded, fine.to_network())["hidden1"]
    assert told.text == "multiples of 0.125: kept as they are; biases in 1/8 of that"
    coarse = rounding(folded, integers(folded, False).to_network())["hidden1"].text
    assert coarse.endswith(", biases off by 0.86 % of a threshold at most")  # 1/2 of 58


def test_a_channel_without_weights_counts_by_its_threshold() -> None:
    """Its weights say no step, and nothing is off by a division by none."""
    folded = network(replace(SOFT, step=7.0), torch.linspace(-1, 1, 24).double())
    kernel = folded.layers[0].kernels[0].clone()
    kernel[3], kernel[4] = 0, kernel[4] / 3
    first = replace(folded.layers[0], kernels=(kernel,), thetas=torch.linspace(5, 9, 24).double())
    folded = replace(folded, layers=(first, folded.layers[1]))
    made = integers(folded, False, by_channel=True).to_network()
    text = rounding(folded, made, True)["hidden1"].text
    assert text.startswith("multiples of a step of each channel, 0.0416667 to 0.125: kept as they ")
    off = float(re.search(r"biases off by (\S+) % of a threshold", text)[1])  # type: ignore[index]
    assert made.layers[0].thetas is not None
    assert 0 < off < 100 / made.layers[0].thetas.min()


def test_bits_of_decay_become_bits_of_biases() -> None:
    """Potentials are as wide as before."""
    folded = network(LEAKY, biases(24))
    coarse, fine = (integers(folded, fine).spec.layers[0].neuron for fine in (False, True))
    assert coarse is not None
    assert fine is not None
    shift = integers(folded, True).spec.edges(0)[0].shift
    assert 0 < coarse.fraction_bits < shift
    assert fine.fraction_bits == 0
    assert fine.potential_bits == coarse.potential_bits + shift - coarse.fraction_bits


def test_layers_that_can_be_stages_stay_so() -> None:
    """Of a chain; of dense layers behind maps."""
    fine = integers(network(HARD, biases(24)), True).spec
    assert fine.edges(0)[0].shift > 0
    assert dense_tail(fine) == 0
    maps = FoldedLayer(
        (on_grid(3, 1, 3, 3),), biases(3), HARD, "maps", (3, 1, 10),
        (EdgeSpec(source=INPUT, kind="conv", kernel=3, padding=(1, 0)),),
    )  # fmt: skip
    dense = FoldedLayer.dense(on_grid(6, 30), biases(6), HARD)
    last = FoldedLayer.dense(on_grid(4, 6), torch.zeros(4).double(), None)
    spec = integers(FoldedNetwork((maps, dense, last), 3, (1, 1, 12)), True).spec
    assert [spec.edges(n)[0].shift for n in range(3)] == [MAX_SHIFT, MAX_SHIFT, 0]
    assert dense_tail(spec) == 1


def test_weights_that_are_rounded_leave_biases_as_they_were() -> None:
    """Theirs is the larger error, and drives stay as narrow as they are."""
    folded = network(HARD, biases(24))
    first = replace(folded.layers[0], kernels=(folded.layers[0].kernels[0] * torch.rand(24, 12),))
    folded = replace(folded, layers=(first, folded.layers[1]))
    assert integers(folded, True).spec == integers(folded, False).spec


def test_a_readout_has_them_too() -> None:
    folded = network(replace(HARD, theta=7.25), torch.zeros(24).double())
    last = replace(folded.layers[1], bias=STEP / 4 * torch.arange(5).double())
    made = integers(replace(folded, layers=(folded.layers[0], last)), True)
    assert [made.spec.edges(n)[0].shift for n in range(2)] == [0, 2]
    assert made.logit_scale == pytest.approx(STEP / 4)
    logits = GoldenModel(made.to_network()).run(PIXELS).logits * made.logit_scale
    twin = replace(folded, layers=(folded.layers[0], last))(torch.from_numpy(PIXELS))
    assert np.abs(logits - twin.logits.numpy()).max() < 1e-9


def test_sums_have_room() -> None:
    """16-bit weights of a grid that needs all of them: no more bits than the contract has."""
    folded = network(HARD, biases(24))
    wide = torch.randint(-32767, 32768, (24, 12), generator=GENERATOR).double()
    for edges in (wide, 8 * wide):
        layer = replace(folded.layers[0], kernels=(edges / 1000,))
        grid = replace(folded, layers=(layer, folded.layers[1]))
        made = integers(grid, True, weight_bits=16).to_network()
        assert made.layers[0].spec.neuron is not None
        theta = made.layers[0].spec.neuron.theta
        assert theta.bit_length() <= BIAS_BITS or not made.spec.edges(0)[0].shift
        assert made.layers[0].drive_bits <= MAX_WIDTH


@pytest.mark.long
@pytest.mark.parametrize("schedule", ["pipelined", "shared"])
def test_the_hardware_computes_the_same(tmp_path: Path, schedule: str) -> None:
    made = integers(network(LEAKY, biases(24)), True).to_network()
    labels = np.zeros(20, dtype=np.uint8)
    plan = plan_network(made, lanes=4, schedule=schedule)
    report = simulate(plan, PIXELS[:20], labels, tmp_path)
    assert report["mismatches"] == 0, report["first_mismatch"]
    assert report["cycle_law_violations"] == 0
