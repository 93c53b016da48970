"""What is counted for an image, and what it is said to cost."""

import json

import numpy as np
import pytest

from hw.contract.network import Network
from sim.golden.activity import Activity
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.data.evaluate import Accuracy
from sw.data.shipped import model_path
from sw.learn.fold import fold
from sw.learn.quantize import quantize
from sw.report.energy import PICOJOULES
from sw.spread.runner import running
from sw.study.cost import Cost, cost, cost_table, study


def test_a_cost_counts_what_the_golden_model_does(lived_network, tiny_data) -> None:
    network = quantize(fold(lived_network()), name="tiny", weight_bits=4, pixel_bits=4).to_network()
    found, trace = cost(network, tiny_data), GoldenModel(network).run(tiny_data.images)
    sops = np.unpackbits(tiny_data.images).sum() * 9
    for spikes, layer in zip(trace.spikes, network.spec.layers[1:], strict=True):
        sops += np.count_nonzero(spikes) * layer.neurons
    assert found.activity.sops == pytest.approx(sops / 50)
    assert found.macs == 12 * 9 + 9 * 7 + 7 * 4
    assert found.neuron_steps == 4 * (9 + 7)


def test_energy_by_hand() -> None:
    activity = Activity(
        input_events=100.0,
        spike_rates=(0.5,),
        spike_bits=(0.5,),
        change_bits=(0.3,),
        sum_bits=(0.6,),
        events=150.0,
        sops=10_000.0,
    )
    found = Cost(
        name="by-hand", accuracy=Accuracy(9, 10), activity=activity, macs=50_000, neuron_steps=400
    )
    assert found.float_energy == pytest.approx((11_200 * 0.9e-3, 50_000 * 4.6e-3))
    assert found.integer_energy == pytest.approx((11_200 * 0.1e-3, 50_000 * 0.3e-3))
    assert cost_table([found]).splitlines()[2] == (
        "| by-hand | 90.00 % | 150 | 10,000 | 50,000 | 0.20 | 10.1 / 230.0 | 1.12 / 15.00 |"
    )
    assert PICOJOULES["float32 multiply"] > PICOJOULES["int8 multiply"]


def test_networks_as_jobs(tmp_path) -> None:
    """The same costs, to the last bit."""
    test, names = load_split("digits", "test", 4), ("digits-dense", "digits-binary")
    networks = {name: (Network.load(model_path(name)), test) for name in names}
    plain, lines = study(networks), []
    assert plain == [cost(*pair) for pair in networks.values()]
    for _ in range(2):
        with running(0, kept=tmp_path, progress=lines.append) as run:
            assert study(networks, run=run) == plain
    assert lines == [
        "networks: 1 of 2, digits-dense",
        "networks: 2 of 2, digits-binary",
        "2 of 2 networks were done before",
    ]


def test_the_command(tmp_path, capsys) -> None:
    out = tmp_path / "cost.json"
    assert main(["study", "cost", "digits-dense", "--out", str(out)]) == 0
    assert "| digits-dense | 98.35 % | 209 | 11,599 | 9,472 | 1.22 |" in capsys.readouterr().out
    (facts,) = json.loads(out.read_text())["networks"]
    assert facts["accuracy"] == {"hits": 358, "n": 364}
    assert main(["study", "cost", "no-such", "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith("sterna: Model must be one of")
