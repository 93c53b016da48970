"""The kinds of neurons whose cost is compared: each row is what its title says."""

from gen.layer.stage import DEFAULT_LANES
from hw.contract.neuron import NeuronSpec
from hw.system.progress import silent
from sim.golden.model import GoldenModel
from sw.data.dataset import load_split
from sw.data.evaluate import accuracy
from sw.study.hardware import Kind, hardware_table, kinds


def test_kinds_are_what_their_titles_say(monkeypatch) -> None:
    recipe_epochs = {"float_epochs": 2, "integer_epochs": 1}
    import sw.study.hardware as module

    train = module.train
    monkeypatch.setattr(module, "train", lambda *a, **k: train(*a, **recipe_epochs, **k))
    data, test = (load_split("digits", split, 4) for split in ("train", "test"))
    rows = {kind.title: kind for kind in kinds(16, data, test, silent)}
    assert len(rows) == 9

    def neuron(kind: Kind) -> NeuronSpec:
        found = kind.core.network.spec.layers[0].neuron
        assert found is not None
        return found

    found = list(rows.values())
    assert [neuron(k).negative for k in found] == [
        "off",
        "free",
        "free",
        "free",
        "off",
        "guarded",
        "guarded",
        "guarded",
        "guarded",
    ]
    assert [neuron(k).limit for k in found] == [1, 1, 1, 1, 1, 1, 3, 15, 15]
    assert [neuron(k).fraction_bits for k in found] == [0, 0, 0, 6, 0, 0, 0, 0, 0]
    assert [k.core.options.repeat for k in found] == [False] * 8 + [True]
    assert {k.core.lanes for k in found} == {16} != {DEFAULT_LANES}
    assert {layer.weight_bits for k in found for layer in k.core.network.spec.layers} == {4}
    # Two ways to play the same spikes, and two ways to keep potentials: the same answers.
    for a, b in ((2, 3), (7, 8)):
        classes = [GoldenModel(found[n].core.network).classify(test.images) for n in (a, b)]
        assert (classes[0] == classes[1]).mean() > 0.98
    assert all(accuracy(k.core.network, test).share > 0.85 for k in found)


def test_the_table() -> None:
    resources = {"TRELLIS_COMB": [5123, 83640], "TRELLIS_FF": [2500, 1], "DP16KD": [9, 208]}
    row = {
        "title": "binary",
        "hits": 350,
        "n": 364,
        "cycles": 200.0,
        "wide_cycles": 90.25,
        "fmax_mhz": 110.0,
        "resources": resources,
    }
    assert hardware_table({"rows": [row]}).splitlines()[2] == (
        "| binary | 96.15 % | 5,123 | 2,500 | 9 | 110.0 | 200.0 | 90.2 |"
    )
