"""SpikingJelly's networks: what is read computes what they compute, what cannot be is named."""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as torch_functional

from hw.contract.checks import SternaError
from hw.contract.network import Network
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.frameworks.spikingjelly import NODES as READ_NODES
from sw.frameworks.spikingjelly import (
    JellyNetwork,
    import_network,
    lif_parameters,
    load_network,
    read_network,
    run_module,
)
from sw.importers.affine import READ
from sw.importers.modules import ConvertError
from tests.hw.system.notes import Notes
from tests.membranes import require_same_membranes

pytest.importorskip("spikingjelly", reason="the package spikingjelly is not installed")

from spikingjelly.activation_based import functional, layer, neuron, surrogate

PAPER = {"tau": 4 / 3, "decay_input": False}
NODES = [
    neuron.IFNode(),
    neuron.IFNode(v_threshold=0.7, v_reset=None),
    neuron.LIFNode(tau=2.0),
    neuron.LIFNode(tau=8.0, decay_input=False, v_reset=None),
    neuron.TernaryIFNode(v_threshold=0.6),
    neuron.TernaryIFNode(v_reset=None),
    neuron.TernaryLIFNode(**PAPER),
    neuron.TernaryLIFNode(tau=4.0, v_threshold=0.3, v_reset=None),
]


def norm(size: int) -> nn.Module:
    made = layer.BatchNorm1d(size)
    generator = torch.Generator().manual_seed(size)
    for tensor, low, high in (
        (made.weight.data, 0.5, 2.0),
        (made.bias.data, -0.4, 0.4),
        (made.running_mean, -0.3, 0.3),
        (made.running_var, 0.1, 0.5),
    ):
        assert tensor is not None
        tensor.uniform_(low, high, generator=generator)
    return made


def network_of(node: nn.Module, step_mode: str = "m") -> Any:
    """64-24-16-10 with the same node in both hidden layers."""
    torch.manual_seed(3)
    network: Any = nn.Sequential(
        layer.Flatten(),
        layer.Linear(64, 24, bias=False),
        norm(24),
        copy.deepcopy(node),
        layer.Dropout(0.3),
        nn.Sequential(layer.Linear(24, 16), copy.deepcopy(node)),
        layer.Linear(16, 10),
    ).double()
    with torch.no_grad():
        network[5][0].weight.mul_(5)  # or hardly a neuron would fire
    functional.set_step_mode(network, step_mode)
    return network.eval()


@pytest.fixture(scope="module")
def digits() -> Split:
    return load_split("digits", "test", 4)


def images(data: Split) -> torch.Tensor:
    return torch.from_numpy(data.images).double().reshape(-1, 1, 8, 8) / 15


@pytest.mark.parametrize("node", NODES, ids=lambda node: type(node).__name__)
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_what_is_read_computes_the_same(digits: Split, node: nn.Module, step_mode: str) -> None:
    """Potentials too: those that the nodes hold after the last step, and after each."""
    network = network_of(node, step_mode)
    folded = read_network(network, (1, 8, 8), steps=5, pixel_max=15)
    activity = folded(torch.from_numpy(digits.images))
    require_same_membranes(JellyNetwork(network).run(images(digits), 5), activity, folded)
    assert torch.allclose(activity.logits, run_module(network, images(digits), 5), atol=1e-9)
    assert 0.01 < float(activity.spikes[1].abs().mean()) < 0.99

    if step_mode == "m":
        network(images(digits).expand(5, -1, -1, -1, -1))
    else:
        for _ in range(5):
            network(images(digits))
    for held, ours in zip((network[3].v, network[5][1].v), activity.potentials, strict=True):
        assert torch.allclose(held, ours[-1], atol=1e-9)


def test_a_network_that_ends_in_neurons_counts_their_spikes(digits: Split) -> None:
    torch.manual_seed(5)
    linear = nn.Linear(64, 10)
    network = nn.Sequential(nn.Flatten(), linear, neuron.LIFNode(tau=2.0)).double()
    with torch.no_grad():
        linear.weight.mul_(5)
    counts = run_module(network, images(digits), 6)
    folded = read_network(network, (1, 8, 8), steps=6, pixel_max=15)
    assert torch.equal(folded(torch.from_numpy(digits.images)).logits, counts)
    assert counts.max() > 1


class Own(nn.Module):
    """A user's class: the modules are its attributes, the mean over time is its own."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.flatten = layer.Flatten()
        self.first = layer.SeqToANNContainer(nn.Linear(64, 32), norm(32))
        self.fire = neuron.TernaryLIFNode(**PAPER, surrogate_function=surrogate.ATan())
        self.readout = layer.Linear(32, 10)
        self.wrong = wrong
        functional.set_step_mode(self, "m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.flatten(x))
        spikes = self.fire(-x if self.wrong else x)
        return self.readout(spikes).mean(dim=0)


def test_a_trained_class_of_ones_own_to_an_image(digits: Split) -> None:
    torch.manual_seed(1)
    network, train = Own(), load_split("digits", "train", 4)
    x, y = images(train).float(), torch.from_numpy(train.labels)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(12):
        for part in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            logits = network(x[part].expand(4, -1, -1, -1, -1))
            torch_functional.cross_entropy(logits, y[part]).backward()
            optimizer.step()
            functional.reset_net(network)
    before = [p.clone() for p in network.parameters()]
    image, report = import_network(network, digits, name="own", steps=4)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert report.float_accuracy.share > 0.9
    assert report.integer_accuracy.share > report.float_accuracy.share - 0.02
    assert report.agreement.share > 0.97
    classes = GoldenModel(image).classify(digits.images)
    assert report.integer_accuracy.hits == int((classes == digits.labels).sum())
    spikes, n = report.unlike_float[0]
    assert n == 364 * 4 * 32
    assert spikes < 0.03 * n
    exact, _ = import_network(network, digits, name="own", steps=4, exact_decay=True)
    assert exact.spec.layers[0].neuron.fraction_bits == 6  # type: ignore[union-attr]


def test_a_forward_of_its_own_is_found_out(digits: Split) -> None:
    with pytest.raises(ConvertError, match="its own forward gives something else"):
        import_network(Own(wrong=True), digits, name="own", steps=4)


class Bounded(nn.Module):
    """A forward with a bound that no image of the digits reaches, so that nothing differs there."""

    def __init__(self, bound: Any) -> None:
        super().__init__()
        self.first, self.fire, self.last = nn.Linear(64, 16), neuron.IFNode(), nn.Linear(16, 10)
        self.bound = bound

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.fire(self.bound(self.first(x))))


@pytest.mark.parametrize(
    ("bound", "name"),
    [
        (lambda x: x.clamp(max=9.0), "clamp (clamp)"),
        (lambda x: torch.clip(x, -9.0, 9.0), "clip (clip)"),
        (lambda x: torch.maximum(x, x - 1), "maximum (maximum)"),
    ],
)
def test_a_bound_that_does_nothing_yet_is_named(digits: Split, bound: Any, name: str) -> None:
    with pytest.raises(ConvertError) as refused:
        import_network(Bounded(bound), digits, name="x", steps=3)
    assert f"{name} is not supported" in str(refused.value)


def test_a_file_becomes_an_image_that_simulates(tmp_path: Path, digits: Split, capsys) -> None:
    network = network_of(neuron.TernaryLIFNode(**PAPER)).float()
    torch.save(network, tmp_path / "jelly.pt")
    out = tmp_path / "jelly.npz"
    arguments = ["import", str(tmp_path / "jelly.pt"), "--dataset", "digits", "--out", str(out)]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    image = Network.load(out)
    assert image.digest[:16] in told
    assert "spikes unlike original, hidden2" in told
    assert [layer.neurons for layer in image.spec.layers] == [24, 16, 10]
    loaded = load_network(tmp_path / "jelly.pt").double()
    theirs = run_module(loaded, images(digits), 4).argmax(dim=1).numpy()
    assert np.mean(GoldenModel(image).classify(digits.images) == theirs) > 0.9


@pytest.mark.parametrize(
    "hidden",
    [
        lambda: layer.MultiStepContainer(nn.Linear(64, 20), neuron.IFNode()),
        lambda: layer.StepModeContainer(True, "m", nn.Linear(64, 20), neuron.IFNode()),
        lambda: nn.Sequential(
            layer.StepModeContainer(False, "m", nn.Linear(64, 20)), neuron.IFNode(step_mode="m")
        ),
    ],
)
def test_containers_that_play_the_steps_themselves(digits: Split, hidden: Any) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(hidden(), layer.Linear(20, 10, step_mode="m"))
    notes = Notes()
    _, report = import_network(network, digits, name="x", steps=3, progress=notes)
    assert report.agreement.share > 0.95
    trial, over, step, *done, end = notes.told
    assert (trial, over) == (("trying 200 images on what was read", None, 0, 0), "end")
    assert step == ("running 364 test images through both networks", 364, 0, 0)
    assert done[-1] == 364
    assert end == "end"


def test_potentials_left_from_training_are_no_hindrance(digits: Split) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(64, 20), neuron.IFNode(), nn.Linear(20, 10))
    fresh, _ = import_network(network, digits, name="x", steps=3)
    network(torch.rand(5, 64))
    left = network[1].v
    again, _ = import_network(network, digits, name="x", steps=3)
    assert again.digest == fresh.digest
    assert network[1].v is left


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (9, "Layer hidden1 must keep its sums within 32 bits, not 34, of which exact decay over 9"),
        (16, "Threshold of layer hidden1 must be within 30 bits, not 44, of which exact decay ove"),
    ],
)
def test_exact_decay_over_too_many_steps(digits: Split, steps: int, sentence: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 20), neuron.TernaryLIFNode(**PAPER), nn.Linear(20, 10))
    with pytest.raises(SternaError) as refused:
        import_network(network, digits, name="x", steps=steps, exact_decay=True)
    assert str(refused.value).startswith(sentence)
    assert str(refused.value).endswith(
        f"over {steps} time steps takes {2 * steps - 2}: use fewer time steps, or no exact decay"
    )


def test_what_is_derived_from_a_known_module_under_another_name_is_named(digits: Split) -> None:
    for module in (layer.DropConnectLinear(64, 10), nn.ReLU(), layer.MaxPool1d(2)):
        with pytest.raises(ConvertError, match=rf"0 \({type(module).__name__}\) is not supported"):
            import_network(nn.Sequential(module, nn.Linear(10, 10)), digits, name="x", steps=2)


ARGUMENTS = [
    *((), (4,), (2,), (4, 4), (4, 2), (1, 4, 3), (4, 4, 4), (nn.ReLU(),), (nn.ReLU(), 4, 4)),
    *((False, "m", nn.ReLU()), (nn.ReLU(), torch.add)),
]


ALSO_READ = {*READ_NODES, "PrintShapeModule", "VotingLayer", "WSLinear"}
"""What becomes something else than it is called."""


@pytest.mark.filterwarnings("ignore")
def test_every_module_of_spikingjelly_is_read_or_named() -> None:
    kinds = {c for m in (layer, neuron) for c in vars(m).values() if isinstance(c, type)}
    tried = 0
    for cls in (c for c in kinds if issubclass(c, nn.Module)):
        made = None
        for arguments in ARGUMENTS:
            try:
                made = cls(*arguments)
                break
            except Exception:
                continue
        if made is None or cls.__name__ in READ | ALSO_READ:
            continue
        tried += 1
        with pytest.raises(ConvertError) as refused:
            read_network(nn.Sequential(made, nn.Linear(64, 10)), (64,), steps=2, pixel_max=15)
        assert re.search(rf"\b{cls.__name__}\b", str(refused.value))
        assert "\n" not in str(refused.value)
    assert tried > 50


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_normalised_inputs(digits: Split, step_mode: str) -> None:
    network = network_of(neuron.IFNode(), step_mode)
    x = (images(digits) - 0.3) / 0.4
    image, report = import_network(network, digits, name="x", steps=4, mean=(0.3,), std=(0.4,))
    theirs = run_module(network, x, 4).argmax(dim=1).numpy()
    assert report.float_accuracy.hits == int((theirs == digits.labels).sum())
    assert report.agreement.share > 0.95
    assert report.fed == "(pixels / 15 - 0.3) / 0.4"
    assert image.meta["normalised"] == {"mean": [0.3], "std": [0.4]}


def poisoned(path: Path) -> Any:
    torch.save({"weights": torch.zeros(3)}, path)
    return path


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        (neuron.TernaryLIFNode(v_reset=0.5), "must reset to 0 or by its threshold, not to 0.5"),
        (neuron.KLIFNode(), r"is not one of IFNode, LIFNode, .* \(it lets no potential below zero"),
        (neuron.IFNode(v_threshold=0.5, v_reset=0.5), "Threshold must be positive"),
        (neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False)), "must fire"),
        (neuron.IFNode(v_threshold=-1.0), "Threshold must be positive"),
        *(
            (neuron.IFNode(surrogate_function=fires), "must send 1 from its threshold on, else 0")
            for fires in (surrogate.MultiLevelSpikeCount(4), surrogate.PoissonPass())
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nodes_that_no_neuron_is(node: nn.Module, complaint: str) -> None:
    with pytest.raises(ConvertError, match=complaint):
        lif_parameters(node)


def test_pooling_in_either_mode(digits: Split) -> None:
    for step_mode in ("s", "m"):
        torch.manual_seed(2)
        network = nn.Sequential(
            layer.AvgPool2d(2),
            layer.Flatten(),
            layer.Linear(16, 10),
            neuron.IFNode(),
            layer.Linear(10, 10),
        ).double()
        functional.set_step_mode(network, step_mode)
        folded = read_network(network, (1, 8, 8), steps=3, pixel_max=15)
        logits = folded(torch.from_numpy(digits.images)).logits
        assert torch.allclose(logits, run_module(network, images(digits), 3), atol=1e-9)


def test_any_time_constant(digits: Split) -> None:
    """The float twin keeps what the node keeps, the integers the nearest factor, which is said."""
    network = network_of(neuron.LIFNode(tau=3.0, decay_input=False))
    imported, report = import_network(network, digits, name="x", steps=5)
    assert all(layer.equal == layer.compared and layer.either for layer in report.before)
    assert all(layer.shown and layer.jaccard > 0.95 for layer in report.after)
    spec = imported.spec.layers[0].neuron
    assert spec is not None
    assert (spec.decay, spec.decay_factor, spec.decay_shift) == ("factor", 2731, 12)
    (said, _) = (f.approximated for f in report.findings if f.approximated)
    assert said == "keeps 0.666748 (2731/4096) of a potential per step, not 0.666667: +8.1e-05"


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_convolutions(digits: Split, step_mode: str) -> None:
    """Stay convolutions; the spikes are those that the module's own nodes send."""
    torch.manual_seed(2)
    network: Any = nn.Sequential(
        layer.Conv2d(1, 4, 3, padding=1, bias=False),
        layer.BatchNorm2d(4),
        neuron.IFNode(),
        layer.AvgPool2d(2),
        layer.Conv2d(4, 6, 3),
        neuron.IFNode(v_reset=None),
        layer.Flatten(),
        layer.Linear(24, 10),
    ).double()
    with torch.no_grad():
        network[0].weight.mul_(3)
        network[4].weight.mul_(3)
    functional.set_step_mode(network, step_mode)
    imported, report = import_network(network.eval(), digits, name="x", steps=5)
    assert [edge.kind for spec in imported.spec.layers for edge in spec.edges] == [
        *("conv", "conv", "dense")
    ]
    assert imported.spec.layers[1].edges[0].pool == 2
    for before, after in zip(report.before, report.after, strict=True):
        assert before.shown
        assert before.equal == before.compared
        assert 0.9 < after.jaccard < 1
    assert [f.becomes for f in report.findings][:3] == [
        "convolution of 4x1x3x3 weights into hidden1",
        "folded into the weights of hidden1",
        "layer hidden1: binary, threshold 1, hard reset",
    ]


def test_a_node_that_is_used_twice(digits: Split) -> None:
    torch.manual_seed(2)
    node = neuron.IFNode(step_mode="m")
    network = nn.Sequential(
        layer.Linear(64, 20, step_mode="m"), node, layer.Linear(20, 20, step_mode="m"), node
    )
    with pytest.raises(ConvertError, match=r"3 \(IFNode\) is 1 \(IFNode\) once more, with one po"):
        import_network(network, digits, name="x", steps=3)


def test_check(tmp_path: Path, capsys: Any) -> None:
    """Of files that `import` takes, and of those that `convert` takes."""
    cases: list[tuple[Any, int, list[str]]] = [
        (
            nn.Sequential(nn.Linear(64, 20), neuron.LIFNode(tau=3.0), nn.Linear(20, 10)),
            0,
            [
                "read as            SpikingJelly",
                "0 (Linear)         matrix of 20x64 weights into hidden1",
                "1 (LIFNode)        layer hidden1: binary, threshold 1, hard reset, keeps 0.666667"
                "; approximated: keeps 0.666748 (2731/4096) of a potential per step, not 0.666667",
                "weights of hidden1  8-bit integers; approximated: rounded to 8 bits",
            ],
        ),
        (
            nn.Sequential(nn.Linear(64, 20), neuron.QIFNode(), nn.MaxPool2d(2), nn.Linear(20, 10)),
            1,
            [
                "1 (QIFNode)    refused: is not one of IFNode, LIFNode",
                "2 (MaxPool2d)  refused: is not supported (pool with AvgPool2d)",
                "answer         2 refused",
            ],
        ),
        (
            nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10), nn.Softmax(1)),
            0,
            [
                "read as      torch.nn (ReLU)",
                "3 (Softmax)  nothing (it changes no class)",
                "nothing stands in the way",
            ],
        ),
        (
            nn.Sequential(nn.Linear(64, 20), nn.GELU(), nn.Linear(20, 10)),
            1,
            ["1 (GELU)    refused: is not supported (train with ReLU)"],
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)),
            1,
            ["network      refused: the file does not have the shape of an input"],
        ),
    ]
    for network, code, lines in cases:
        torch.save(network, tmp_path / "net.pt")
        assert main(["check", str(tmp_path / "net.pt")]) == code
        told = re.sub(" +", " ", capsys.readouterr().out)
        for line in lines:
            assert re.sub(" +", " ", line) in told
    assert main(["check", str(tmp_path / "net.pt"), "--shape", "1,8,8"]) == 0
    assert main(["check", str(tmp_path / "net.pt"), "--dataset", "digits"]) == 0
    assert main(["check", str(tmp_path / "net.pt"), "--dt", "1e-3"]) == 1
    assert "are for files that do not say them" in capsys.readouterr().err


def test_damaged_nodes(digits: Split) -> None:
    node = neuron.LIFNode()
    node.tau = 0.5
    with pytest.raises(ConvertError, match="node keeps -1 of a potential per step, which must li"):
        lif_parameters(node)
    node.tau = 0.0
    with pytest.raises(ConvertError, match="node is damaged"):
        lif_parameters(node)
    broken = nn.Linear(64, 10)
    del broken.weight
    with pytest.raises(ConvertError, match=r"0 \(Linear\) is damaged"):
        read_network(nn.Sequential(broken), (64,), steps=2, pixel_max=15)
    with pytest.raises(ConvertError, match="Time steps must be an integer from 1 to 1024, not 0"):
        import_network(network_of(neuron.IFNode()), digits, name="x", steps=0)


def test_what_cannot_be_read_is_named(digits: Split, tmp_path: Path) -> None:
    network = nn.Sequential(
        layer.Flatten(),
        layer.Linear(64, 10),
        neuron.QIFNode(),
        layer.MaxPool2d(2),
        layer.Linear(10, 10),
    )
    with pytest.raises(ConvertError) as error:
        import_network(network, digits, name="x", steps=2)
    assert "3 (MaxPool2d) is not supported" in str(error.value)
    with pytest.raises(ConvertError, match="cannot be read: Is a directory"):
        load_network(tmp_path)
    with pytest.raises(ConvertError, match="must be a module, not a dict"):
        load_network(poisoned(tmp_path / "other.pt"))
    with pytest.raises(ConvertError, match=r"cannot run images of shape \(64,\)"):
        import_network(
            nn.Sequential(
                nn.Linear(64, 5), nn.BatchNorm1d(5), neuron.IFNode(step_mode="m"), nn.Linear(5, 5)
            ),
            digits,
            name="x",
            steps=2,
        )
