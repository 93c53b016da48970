"""Synaptic currents from end to end: trained in snnTorch, imported, run by every kind of stage."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gen.core.plan import CorePlan, plan_core, plan_programs
from hw.contract.network import Network
from sim.bench.run import simulate
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.frameworks.proof import ImportReport
from sw.frameworks.snntorch import import_network

snntorch: Any = pytest.importorskip("snntorch", reason="the package snntorch is not installed")

STEPS, IMAGES = 10, 20


def trained() -> nn.Module:
    """64-32-10, six passes over the training part: about eight digits in ten."""
    from snntorch import surrogate

    def synaptic(output: bool = False) -> Any:
        return snntorch.Synaptic(
            alpha=0.8,
            beta=0.9,
            init_hidden=True,
            output=output,
            spike_grad=surrogate.fast_sigmoid(25),
        )

    torch.manual_seed(1)
    network: Any = nn.Sequential(
        nn.Linear(64, 32), synaptic(), nn.Linear(32, 10), synaptic(output=True)
    )
    data = load_split("digits", "train", 4)
    x, labels = torch.from_numpy(data.images) / 15, torch.from_numpy(data.labels).long()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(6):
        for batch in torch.randperm(len(x)).split(64):
            for n in (1, 3):
                network[n].reset_mem()
            counts: Any = sum(network(x[batch])[0] for _ in range(STEPS))
            optimizer.zero_grad()
            nn.functional.cross_entropy(counts, labels[batch]).backward()
            optimizer.step()
    return network


Imported = dict[int, tuple[Network, ImportReport]]


@pytest.fixture(scope="module")
def digits() -> Split:
    return load_split("digits", "test", 4)


@pytest.fixture(scope="module")
def imported(digits: Split) -> Imported:
    """With 8 and 16 bits of a weight."""
    network = trained()
    return {
        bits: import_network(network, digits, name="synapses", steps=STEPS, weight_bits=bits)
        for bits in (8, 16)
    }


@pytest.mark.parametrize(("bits", "spikes", "classes"), [(8, 0.98, 0.95), (16, 0.9995, 0.995)])
def test_an_import_spikes_as_the_original_does(
    imported: Imported, bits: int, spikes: float, classes: float
) -> None:
    network, report = imported[bits]
    for layer in report.before:
        assert layer.shown
        assert layer.equal == layer.compared
        assert layer.both > 0.01 * layer.compared
    assert all(layer.equal >= spikes * layer.compared for layer in report.after)
    assert report.agreement.hits >= classes * report.agreement.n
    assert report.integer_accuracy.hits >= 0.75 * report.integer_accuracy.n
    assert not any(saturated for saturated, _ in report.saturated)
    assert all(layer.neuron.has_current for layer in network.spec.layers if layer.neuron)


PLANS = {"dense": lambda n: plan_core(n, 4), "program": lambda n: plan_programs(n, 4, ())}


@pytest.mark.parametrize("schedule", ["dense", pytest.param("program", marks=pytest.mark.long)])
def test_the_hardware_computes_the_same(
    imported: Imported, digits: Split, schedule: str, tmp_path: Path
) -> None:
    """Every spike, every potential, every logit, and the cycle of every class."""
    network, _ = imported[8]
    plan: CorePlan = PLANS[schedule](network)
    some = replace(digits, images=digits.images[:IMAGES], labels=digits.labels[:IMAGES])
    report = simulate(plan, some.images, some.labels, tmp_path)
    assert report["mismatches"] == 0, report["first_mismatch"]
    assert report["cycle_law_checked"]
    assert report["cycle_law_violations"] == 0
    assert report["values_compared"] >= IMAGES * (2 * STEPS * 42 + 21)
