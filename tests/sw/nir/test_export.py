"""Networks written as NIR files: there and back, and what NIR cannot say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.split import Split
from sw.frameworks.importing import import_foreign
from sw.frameworks.integers import integers_of
from sw.importers.affine import ConvertError
from sw.nir.export import export_nir, nir_graph
from sw.nir.graph import flat_graph, read_nir
from sw.nir.network import NirNetwork
from sw.reading.conventions import Conventions
from tests.sw.nir.graphs import DT, EXACT, STEPS, counting, read


def sayable(network: Network) -> NeuronSpec:
    neuron = network.spec.layers[0].neuron
    assert neuron is not None
    return neuron


@pytest.mark.parametrize("fires_at", ["gt", "ge"])
@pytest.mark.parametrize("name", [*EXACT])
def test_there_and_back(digits: Split, tmp_path: Path, name: str, fires_at: str) -> None:
    """Whoever counts thresholds in, and whoever does not, gets the same spikes and classes."""
    make, decays = EXACT[name]
    network, _ = import_foreign(
        read(make(), tmp_path), digits, name="x", steps=STEPS, exact_decay=decays
    )
    for layer in network.layers[:-1]:
        assert layer.spec.neuron is not None
    notes = export_nir(network, tmp_path / "back.nir", DT)
    assert ("NIR decays in reals" in " ".join(notes)) == decays
    foreign = NirNetwork(read_nir(tmp_path / "back.nir"), Conventions(fires_at=fires_at))
    again, report = import_foreign(
        foreign, digits, name="x", steps=STEPS, exact_decay=decays, weight_bits=8
    )
    assert all(layer.equal == layer.compared for layer in (*report.before, *report.after))
    before, after = (GoldenModel(n).run(digits.images) for n in (network, again))
    assert len(before.spikes) == len(after.spikes)
    for mine, theirs in zip(before.spikes, after.spikes, strict=True):
        assert np.array_equal(mine, theirs)
    assert np.array_equal(before.classes, after.classes)
    outputs = foreign.run(torch.from_numpy(digits.images).double() / 15, STEPS).outputs.numpy()
    assert np.allclose(outputs, before.logits)


def test_what_nir_cannot_say(tmp_path: Path, capsys: Any) -> None:
    assert main(["export-nir", "digits-dense", "--out", str(tmp_path / "x.nir")]) == 1
    assert capsys.readouterr().err == (
        "sterna: Layer hidden1 must have negative = 'off' to be said in NIR, not 'free': NIR has "
        "no negative spikes\n"
    )
    assert not (tmp_path / "x.nir").exists()
    plain = integers_of(
        NirNetwork(flat_graph(counting())).read((64,), steps=2, pixel_max=15).require(),
        name="x",
        weight_bits=8,
        pixel_bits=4,
    ).to_network()
    plain.save(tmp_path / "plain.npz")
    out = str(tmp_path / "plain.nir")
    assert main(["export-nir", str(tmp_path / "plain.npz"), "--out", out]) == 0
    assert "inputs are pixels / 15, 0 to 1, for 2 steps" in capsys.readouterr().out
    assert main(["check", out]) == 0
    assert main(["export-nir", str(tmp_path / "plain.npz"), "--out", out, "--dt", "-1"]) == 1
    hidden, readout = plain.spec.layers
    for change, told in (
        ({"limit": 3}, "limit = 1 to be said in NIR, not 3: NIR has no counted spikes"),
        ({"reset": "soft", "step": 3}, "reset = 'hard' to be said in NIR, not 'soft'"),
        ({"current": "none"}, "must have potentials and synaptic currents that decay to be said"),
        ({"u0": 1}, "u0 = 0 to be said in NIR, not 1: NIR's potentials begin at 0"),
    ):
        neuron = replace(sayable(plain), potential_bits=20, **change)
        spec = replace(plain.spec, layers=(replace(hidden, neuron=neuron), readout))
        with pytest.raises(ConvertError) as refused:
            nir_graph(replace(plain, spec=spec), DT)
        assert told in str(refused.value)
