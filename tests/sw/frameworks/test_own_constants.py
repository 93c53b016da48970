"""A network whose neurons have learned constants of their own: from snnTorch to hardware."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gen.core.plan import plan_network
from gen.layer.stage import LayerStagePlan
from gen.window.stage import WindowStagePlan
from hw.contract.network import Network
from sim.bench.run import simulate
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.frameworks.importing import import_foreign
from sw.frameworks.proof import report_table
from sw.frameworks.snntorch import SnnNetwork

snntorch = pytest.importorskip("snntorch")

BITS, STEPS = 4, 10


def node(*shape: int, least: float = 0.65) -> nn.Module:
    """`beta` and threshold of each neuron, or map, its own, and learned."""
    return snntorch.Leaky(
        beta=torch.rand(shape) * 0.3 + least,
        threshold=torch.rand(shape) + 0.5,
        learn_beta=True,
        learn_threshold=True,
    )


class Loop(nn.Module):
    """As snnTorch's tutorials have it; counts spikes."""

    def __init__(self, first: nn.Module, hidden: nn.Module, rest: nn.Module, last: nn.Module):
        super().__init__()
        self.first, self.hidden, self.rest, self.last = first, hidden, rest, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes: list[torch.Tensor] = []
        for neurons in (self.hidden, self.last):
            neurons.reset_mem()  # type: ignore[operator]
        for _ in range(STEPS):
            sent = self.hidden(self.first(x))[0]
            spikes.append(self.last(self.rest(sent))[0])
        return torch.stack(spikes)


def dense() -> Loop:
    return Loop(nn.Linear(64, 32), node(32), nn.Linear(32, 10), node(10))


def maps() -> Loop:
    """Behind maps with constants of their own, neurons that have the same."""
    rest = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))
    return Loop(
        nn.Conv2d(1, 4, 3, padding=1), node(4, 1, 1, least=0.3), rest, snntorch.Leaky(beta=0.9)
    )


def digits(part: str, images: int) -> Split:
    """The first of them."""
    data = load_split("digits", part, BITS)
    return replace(data, images=data.images[:images], labels=data.labels[:images])


def trained(network: Loop, shape: tuple[int, ...], epochs: int) -> Loop:
    """On 800 of the 8x8 digits."""
    data = digits("train", 800)
    images = torch.from_numpy(data.images).float().reshape(-1, *shape) / (2**BITS - 1)
    labels = torch.from_numpy(data.labels).long()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(epochs):
        for some in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(network(images[some]).sum(0), labels[some]).backward()
            optimiser.step()
    return network.eval()


def imported(network: Loop, bits: int, by_channel: bool, **more: Any) -> tuple[Network, Any]:
    return import_foreign(
        SnnNetwork(network),
        digits("test", 100),
        name="own",
        steps=STEPS,
        weight_bits=bits,
        by_channel=by_channel,
        **more,
    )


def require_hardware(network: Network, kind: type, folder: Path) -> None:
    """Its core is golden on 20 test images, and keeps the law of cycles."""
    schedule = "windows" if kind is WindowStagePlan else "auto"
    plan = plan_network(network, lanes=16, schedule=schedule)
    data = digits("test", 20)
    assert type(plan.stages[0]) is kind
    assert all(type(stage) is LayerStagePlan for stage in plan.stages[1:])
    run = simulate(plan, data.images, data.labels, folder)
    assert run["values_compared"] > 10_000
    assert (run["mismatches"], run["cycle_law_violations"]) == (0, 0)


def test_learned_constants_of_each_neuron(tmp_path: Path) -> None:
    """With one weight step for a layer and with one for each neuron; in 16 bits hardly a spike is
    another."""
    network, spikes = trained(dense(), (64,), epochs=1), {}
    for by_channel in (False, True):
        for bits in (8, 16):
            made, report = imported(network, bits, by_channel)
            assert all(layer.equal == layer.compared for layer in report.before)
            spikes[bits, by_channel] = max(1 - a.equal / a.compared for a in report.after)
            assert report.agreement.hits >= (0.97 if bits == 16 else 0.9) * report.agreement.n
        own = "a step for each channel" in report.weights["hidden1"]
        assert own == by_channel
    assert spikes[16, False] < spikes[8, False] / 10
    assert spikes[16, True] < spikes[8, True] / 10
    learned = made.factors[0]
    assert learned is not None
    beta = network.hidden.beta.detach().double().clamp(0, 1).numpy()  # type: ignore[union-attr]
    assert np.abs(learned / 4096 - beta).max() <= 0.5 / 4096
    told = report_table(made, report)
    assert "decay m/4096, thresholds, reset steps and decays by channel" in told
    require_hardware(imported(network, 8, True)[0], LayerStagePlan, tmp_path / "core")


@pytest.mark.long
def test_learned_constants_of_each_map(tmp_path: Path) -> None:
    """By a window, in front of a dense layer of its own."""
    network = trained(maps(), (1, 8, 8), epochs=2)
    for by_channel in (False, True):
        made, report = imported(network, 8, by_channel, shape=(1, 8, 8))
        # But for ties: the same sum in another order.
        assert all(layer.compared - layer.equal < 10 for layer in report.before)
        assert made.factors[0] is not None
        assert made.factors[0].shape == (4,)
    require_hardware(imported(network, 8, False)[0], WindowStagePlan, tmp_path / "core")


def test_constants_that_differ_within_a_map_are_refused() -> None:
    network = maps()
    network.hidden = node(4, 8, 8)
    reading = SnnNetwork(network).read((1, 8, 8), steps=STEPS, pixel_max=15)
    refused = [finding for finding in reading.findings if finding.refused]
    assert [finding.node for finding in refused] == ["hidden (Leaky)"]
    assert refused[0].refused.startswith("must have one threshold for all neurons of a channel")


def test_constants_of_another_number_of_neurons_are_refused() -> None:
    network = maps()
    network.hidden = node(8)  # of columns, as torch spreads it
    reading = SnnNetwork(network).read((1, 8, 8), steps=STEPS, pixel_max=15)
    assert "must have one threshold for all neurons" in str(reading.refused[0])
