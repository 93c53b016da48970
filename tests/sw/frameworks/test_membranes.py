"""Potentials of original, float twin and integers, beside each other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sw.data.dataset import load_split
from sw.data.split import Split
from sw.frameworks.agreement import MembraneAgreement
from sw.frameworks.proof import ImportReport, report_table
from sw.frameworks.snntorch import import_network
from sw.importers.affine import ConvertError

snntorch: Any = pytest.importorskip("snntorch", reason="the package snntorch is not installed")

STEPS = 6


@pytest.fixture(scope="module")
def digits() -> Split:
    data = load_split("digits", "test", 4)
    return replace(data, images=data.images[:60], labels=data.labels[:60])


class Potential(nn.Module):
    """Linear, neurons, Linear, neurons; `shows` changes what the first neurons are seen to keep."""

    def __init__(self, neuron: Any) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.fc1, self.lif1 = nn.Linear(64, 12), neuron
        self.fc2, self.lif2 = nn.Linear(12, 10), snntorch.Leaky(beta=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.lif1.reset_mem()
        self.lif2.reset_mem()
        drive = self.fc1(x)
        return torch.stack([self.lif2(self.fc2(self.lif1(drive)[0]))[0] for _ in range(STEPS)])


def imported(neuron: Any, data: Split, bits: int = 8) -> tuple[Any, ImportReport]:
    return import_network(Potential(neuron), data, name="x", steps=STEPS, weight_bits=bits)


def test_finer_weights_bring_potentials_nearer(digits: Split) -> None:
    found: dict[int, MembraneAgreement] = {}
    for bits in (4, 8, 16):
        _, report = imported(snntorch.Leaky(beta=0.75), digits, bits)
        (before, *_), (found[bits], *_) = report.membranes_before, report.membranes_after
        assert before.compared == found[bits].compared == STEPS * 60 * 12
        assert before.largest < 1e-5
        assert before.when == found[bits].when == "before the reset"
    assert found[4].mean > 4 * found[8].mean > 40 * found[16].mean
    assert 0.01 < found[4].mean < 0.5
    assert all(one.mean < one.largest for one in found.values())


def test_the_report_has_them(digits: Split) -> None:
    network, report = imported(snntorch.Leaky(beta=0.75), digits)
    text = report_table(network, report)
    for line in ("potentials unlike original, hidden1", "logits unlike original, readout"):
        assert line in text
    facts = report.to_dict()
    (first, *_) = facts["membranes_after_rounding"]
    assert first["layer"] == "hidden1"
    assert first["mean"] == report.membranes_after[0].mean
    assert [one["layer"] for one in facts["membranes_before_rounding"]] == [
        *("hidden1", "hidden2", "readout")
    ]


def test_what_a_hard_reset_takes_is_left_out(digits: Split) -> None:
    """Where what a spike takes is not known."""
    _, report = imported(snntorch.Leaky(beta=0.75, reset_mechanism="zero"), digits)
    first, spikes = report.membranes_before[0], report.before[0]
    assert first.when == "before the reset, of neurons that did not fire"
    assert first.compared == spikes.compared - spikes.either
    assert first.largest < 1e-5
    _, report = imported(
        snntorch.Leaky(beta=0.75, reset_mechanism="zero", reset_delay=False), digits
    )
    assert report.membranes_before[0].compared == spikes.compared
    assert report.membranes_before[0].when == "after the reset"


class Leaky(snntorch.Leaky):
    """Fires as snnTorch's own, at the same threshold; its potentials are others."""

    def forward(self, input_: Any, mem: Any = None) -> Any:
        spikes, potential = super().forward(input_, mem)
        return spikes, potential + 0.01 * (potential > 0)


def test_another_law_that_fires_alike_is_refused(digits: Split) -> None:
    with pytest.raises(ConvertError) as error:
        imported(Leaky(beta=0.75), digits)
    sentence = str(error.value)
    assert sentence.startswith(
        "Potentials of hidden1 must be those of what was read of the network"
    )
    assert "on 60 of 60 images they differ by up to 0.01 of a threshold" in sentence


class Unknown(Leaky):
    """One of its potentials is no number; it is not gone on from."""

    def forward(self, input_: Any, mem: Any = None) -> Any:
        spikes, potential = snntorch.Leaky.forward(self, input_, mem)
        return spikes, torch.where(torch.arange(potential.shape[-1]) == 3, torch.nan, potential)


Unknown.__name__ = "Leaky"


def test_potentials_that_are_no_numbers_are_others(digits: Split) -> None:
    with pytest.raises(ConvertError, match="differ by up to inf of a threshold"):
        imported(Unknown(beta=0.75), digits)


def test_what_has_no_potentials_says_so(digits: Split, tmp_path: Path) -> None:
    brevitas: Any = pytest.importorskip("brevitas.nn", reason="brevitas is not installed")
    from sw.frameworks.brevitas import BrevitasNetwork
    from sw.frameworks.importing import import_foreign

    torch.manual_seed(1)
    module = nn.Sequential(
        brevitas.QuantLinear(64, 12, bias=True, weight_bit_width=4),
        brevitas.QuantReLU(bit_width=3, return_quant_tensor=True),
        brevitas.QuantLinear(12, 10, bias=True, weight_bit_width=4),
    )
    network, report = import_foreign(BrevitasNetwork(module.eval()), digits, name="x", steps=1)
    hidden, readout = report.membranes_after
    assert hidden.compared == 0
    assert hidden.text.startswith("not compared: it rounds to counts in its one step")
    assert readout.compared == 600
    assert readout.largest < 0.05
    assert "potentials unlike original, hidden1" in report_table(network, report)
