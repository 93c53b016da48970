"""Networks over time: framework, float twin and golden model see image t at time step t.

The recordings are the digits that ship, read row by row: eight steps of eight pixels.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as torch_functional

from gen.core.plan import plan_network
from hw.contract.network import Network
from sim.bench.run import simulate
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.arrays import Dataset
from sw.data.dataset import load_split
from sw.data.split import DataError, Split
from sw.frameworks.importing import import_foreign
from sw.frameworks.proof import ImportReport
from sw.frameworks.snntorch import SnnNetwork
from sw.frameworks.spikingjelly import JellyNetwork
from sw.importers.affine import ConvertError
from sw.nir.graph import flat_graph
from sw.nir.network import NirNetwork
from sw.reading.conventions import Conventions
from sw.reading.network import Foreign

snntorch: Any = pytest.importorskip("snntorch", reason="the package snntorch is not installed")
nir: Any = pytest.importorskip("nir", reason="the package nir is not installed")
pytest.importorskip("spikingjelly", reason="the package spikingjelly is not installed")

from snntorch.export_nir import export_to_nir  # noqa: E402
from spikingjelly.activation_based import functional, layer, neuron, surrogate  # noqa: E402

T, ROW, HIDDEN = 8, 8, 24


@cache
def rows(split: str = "test") -> Split:
    """Digits, row by row."""
    return replace(load_split("digits", split, 4), shape=(ROW, 1, 1), timed=True)


def in_time(data: Split) -> torch.Tensor:
    """(T, n, row), 0 to 1."""
    return torch.from_numpy(data.images).float().reshape(-1, T, ROW).transpose(0, 1) / 15


def trained(network: nn.Module, logits: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """After a few epochs of the way of its framework."""
    data, optimizer = rows("train"), torch.optim.Adam(network.parameters(), 1e-2)
    x, y = in_time(data), torch.from_numpy(data.labels)
    for _ in range(12):
        for part in torch.randperm(len(y)).split(128):
            optimizer.zero_grad()
            torch_functional.cross_entropy(logits(x[:, part]), y[part]).backward()
            optimizer.step()
    return network.eval()


class Recurrent(nn.Module):
    """snnTorch, over the first axis, or the second."""

    def __init__(self, images_first: bool = False, what: str = "") -> None:
        super().__init__()
        self.fc1 = nn.Linear(ROW, HIDDEN)
        self.lif1 = snntorch.RLeaky(beta=0.9, linear_features=HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, 10)
        self.lif2 = snntorch.Leaky(beta=0.8)
        self.images_first, self.what = images_first, what

    def images(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = list((x.transpose(0, 1) if self.images_first else x).unbind())
        others = {
            "backwards": found[::-1],
            "the first alone": found[:1] * len(found),
            "a step late": [torch.zeros_like(found[0]), *found[:-1]],
            "brighter": [2 * image for image in found],
        }
        return others.get(self.what, found)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes, potential = self.lif1.reset_mem()
        last, said = self.lif2.reset_mem(), []
        once = self.fc1(x[0]) if self.what == "one drive" else None
        for n, image in enumerate(self.images(x)):
            if self.what == "forgets" and n == 4:
                spikes, potential = self.lif1.reset_mem()
            drive = self.fc1(image) if once is None else once
            spikes, potential = self.lif1(drive, spikes, potential)
            out, last = self.lif2(self.fc2(spikes), last)
            said.append(out)
        return torch.stack(said)


def of_snntorch() -> Foreign:
    network = Recurrent()
    return SnnNetwork(trained(network, lambda x: network(x).sum(0)))


def of_spikingjelly() -> Foreign:
    fires = {"surrogate_function": surrogate.ATan(), "v_reset": None}
    memory = nn.Sequential(nn.Linear(ROW, HIDDEN), neuron.ParametricLIFNode(3.0, **fires))
    network = nn.Sequential(
        layer.LinearRecurrentContainer(memory, ROW, HIDDEN),
        layer.Linear(HIDDEN, 30),
        neuron.LIFNode(tau=2.0, **fires),
        layer.VotingLayer(3),
    )
    functional.set_step_mode(network[1:], "m")
    network[0].step_mode = "m"  # type: ignore[assignment]

    def logits(x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(network)
        return network(x).sum(0)

    return JellyNetwork(trained(network, logits))


def of_nir() -> Foreign:
    """Trained in snnTorch, and written by it."""

    def node(neurons: int) -> nn.Module:
        one: Any = torch.ones(neurons)
        return snntorch.Leaky(beta=0.9 * one, threshold=one, init_hidden=True)

    network = nn.Sequential(nn.Linear(ROW, HIDDEN), node(HIDDEN), nn.Linear(HIDDEN, 10), node(10))

    def logits(x: torch.Tensor) -> torch.Tensor:
        for place in (1, 3):
            network[place].reset_mem()  # type: ignore[operator]
        return sum((network(image) for image in x), torch.zeros(()))

    trained(network, logits)
    for place in (1, 3):
        network[place].reset_mem()  # type: ignore[operator]
    graph = export_to_nir(network, torch.zeros(1, ROW), ignore_dims=[0])
    return NirNetwork(flat_graph(graph), Conventions(reset="subtract-later"))


MAKERS = {"NIR": of_nir, "snnTorch": of_snntorch, "SpikingJelly": of_spikingjelly}


@cache
def imported(title: str) -> tuple[Network, ImportReport]:
    torch.manual_seed(1)
    return import_foreign(MAKERS[title](), rows(), name="rows", steps=T, weight_bits=16)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("title", MAKERS)
def test_a_network_trained_over_time(title: str) -> None:
    network, report = imported(title)
    assert network.spec.timed_input
    assert report.framework == title
    assert report.float_accuracy.share > 0.4
    assert report.agreement.share > 0.95
    for before, after in zip(report.before, report.after, strict=True):
        assert before.shown
        assert before.equal == before.compared
        assert before.either > 1000
        assert after.jaccard > 0.9
    delayed = [edge.delay for spec in network.spec.layers for edge in spec.edges]
    assert (1 in delayed) == (title != "NIR")
    assert report.fed == (
        "pixels / 15, 0 to 1, image t of 8 at time step t (if it was trained on normalised ones: "
        "--mean, --std)"
    )
    classes = GoldenModel(network).classify(rows().images)
    assert report.integer_accuracy.hits == int((classes == rows().labels).sum())


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_its_hardware(tmp_path: Path) -> None:
    network, _ = imported("SpikingJelly")
    images = rows().images[:3]
    report = simulate(plan_network(network, 16), images, rows().labels[:3], tmp_path)
    assert report["values_compared"] > 1000
    assert (report["mismatches"], report["cycle_law_violations"]) == (0, 0)


# Axes and steps that may be taken for each other


@pytest.mark.parametrize("n", [1, T, 30])
@pytest.mark.parametrize("images_first", [False, True])
def test_either_axis_may_come_first(n: int, images_first: bool) -> None:
    """As many images as steps are told apart, too."""
    data = replace(rows(), images=rows().images[:n], labels=rows().labels[:n])
    torch.manual_seed(1)
    network = Recurrent(images_first)
    with torch.no_grad():
        network.fc1.weight.mul_(4)
        network.fc2.weight.mul_(4)
    made, report = import_foreign(SnnNetwork(network), data, name="x", steps=T)
    torch.manual_seed(1)
    straight = Recurrent()
    straight.load_state_dict(network.state_dict())
    wanted, _ = import_foreign(SnnNetwork(straight), data, name="x", steps=T)
    assert made.digest == wanted.digest
    assert all(layer.equal == layer.compared and layer.either for layer in report.before)


def test_what_has_no_weights_in_front_belongs_to_its_own_step() -> None:
    """A Sequential of neurons that keep their potentials, an image at a time."""
    lines = replace(rows(), shape=(1, 1, ROW))
    torch.manual_seed(1)
    front = (nn.AvgPool2d((1, 2)), nn.Dropout(0.2), nn.Flatten(), nn.Linear(4, 20))
    fires: Any = {"beta": 0.9, "init_hidden": True}
    network = nn.Sequential(
        *(*front, snntorch.Leaky(**fires), nn.Linear(20, 10)), snntorch.Leaky(**fires, output=True)
    ).eval()
    with torch.no_grad():
        front[-1].weight.mul_(8)
    made, report = import_foreign(SnnNetwork(network), lines, name="x", steps=T)
    assert [layer.neurons for layer in made.spec.layers] == [20, 10, 10]
    assert all(layer.equal == layer.compared and layer.either for layer in report.before)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        *(
            (what, "must take an image at a time, (n, ...), or all of them, (T, n, ...)")
            for what in ("backwards", "the first alone", "a step late", "brighter", "one drive")
        ),
        ("forgets", "gives something else than its modules"),
    ],
)
def test_another_order_is_found_out(what: str, sentence: str) -> None:
    torch.manual_seed(1)
    network = Recurrent(what=what)
    with torch.no_grad():
        network.fc1.weight.mul_(4)
        network.fc2.weight.mul_(4)
    with pytest.raises(ConvertError) as refused:
        import_foreign(SnnNetwork(network), rows(), name="x", steps=T)
    assert sentence in str(refused.value)


class Own(nn.Module):
    """SpikingJelly, with a forward that has its own idea of time."""

    def __init__(self, form: str) -> None:
        super().__init__()
        mode = "s" if form in ("loop", "loop over the second", "reversed", "last") else "m"
        self.first, self.node = nn.Linear(ROW, 20), neuron.IFNode(step_mode=mode)
        self.second, self.form = nn.Linear(20, 10), form

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.node.step_mode == "m":
            x = {"images first": x.transpose(0, 1), "flipped": x.flip(0)}.get(self.form, x)
            made = self.second(self.node(self.first(x)))
            return made if self.form == "images first" else made.mean(0)
        images = list((x.transpose(0, 1) if "second" in self.form else x).unbind())
        images = images[::-1] if self.form == "reversed" else images
        made = [self.second(self.node(self.first(image))) for image in images]
        return made[-1] if self.form == "last" else sum(made, torch.zeros(()))


@pytest.mark.parametrize(
    ("form", "read"),
    [
        *((form, True) for form in ("all", "images first", "loop", "loop over the second")),
        *((form, False) for form in ("flipped", "reversed", "last")),
    ],
)
def test_forwards_over_time(form: str, read: bool) -> None:
    torch.manual_seed(1)
    network = Own(form)
    with torch.no_grad():
        network.first.weight.mul_(4)
    for n in (T, 60):
        data = replace(rows(), images=rows().images[:n], labels=rows().labels[:n])
        if not read:
            with pytest.raises(ConvertError, match="its own forward gives something else"):
                import_foreign(JellyNetwork(network), data, name="x", steps=T)
            continue
        made, report = import_foreign(JellyNetwork(network), data, name="x", steps=T)
        assert made.spec.timed_input
        assert all(layer.equal == layer.compared and layer.either for layer in report.before)


class Leaking(nn.Module):
    """Potentials of a last layer that never resets; all drives of the first at once, or each in its
    own step."""

    def __init__(self, at_once: bool, value: str) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(ROW, 12), nn.Linear(12, 10)
        self.lif1 = snntorch.Leaky(beta=0.9)
        self.lif2 = snntorch.Leaky(beta=0.75, reset_mechanism="none")
        self.at_once, self.value = at_once, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two, said = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        drives = self.fc1(x) if self.at_once else (self.fc1(image) for image in x)
        for drive in drives:
            spikes, one = self.lif1(drive, one)
            _, two = self.lif2(self.fc2(spikes), two)
            said.append(two)
        m = torch.stack(said)
        return {"last": m[-1], "sum": m.sum(0), "max": m.amax(0)}[self.value]


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("value", ["last", "sum", "max"])
def test_a_readout_that_leaks_over_time(at_once: bool, value: str) -> None:
    """Drives that are made of all steps at once belong to their own steps."""
    torch.manual_seed(3)
    module = Leaking(at_once, value)
    some = replace(rows(), images=rows().images[:40], labels=rows().labels[:40])
    network, report = import_foreign(SnnNetwork(module), some, steps=T, weight_bits=16, name="mine")
    readout = network.spec.layers[-1].readout
    assert readout is not None
    assert readout.value == value
    assert network.spec.timed_input
    assert report.agreement.hits >= 39
    (spikes,) = report.before
    assert spikes.equal == spikes.compared
    assert spikes.either > 0


def test_a_node_of_one_step_in_a_network_of_all_is_found_out() -> None:
    """It takes the steps for images; the framework runs it so, and it is no network over time."""
    torch.manual_seed(1)
    network = nn.Sequential(
        layer.Linear(ROW, 20), neuron.IFNode(), layer.Linear(20, 10, step_mode="m")
    )
    with torch.no_grad():
        network[0].weight.mul_(4)  # type: ignore[operator]
    with pytest.raises(ConvertError, match="its own forward gives something else"):
        import_foreign(JellyNetwork(network), rows(), name="x", steps=T)


def test_steps_are_those_of_the_recordings() -> None:
    network = nn.Sequential(nn.Linear(ROW, 20), neuron.IFNode(), nn.Linear(20, 10))
    with pytest.raises(ConvertError) as refused:
        import_foreign(JellyNetwork(network), rows(), name="x", steps=4)
    assert str(refused.value) == (
        "Recordings of digits must have an image for each of 4 time steps, not 8 images: give "
        "--steps 8"
    )


# What a recording is made of


def test_values_of_either_sign_by_the_command_line(tmp_path: Path, capsys: Any) -> None:
    """A module is given what the pixels stand for, each step's own; the network takes it raw."""
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3
    x = rng.normal(0, 1, (60, 6, 5)) + labels[:, None, None] * np.linspace(-1, 1, 5)
    np.savez(tmp_path / "own.npz", x=x, y=labels, axes="tf")
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(5, 16), neuron.LIFNode(v_reset=None), nn.Linear(16, 3))
    torch.save(network, tmp_path / "net.pt")
    arguments = ["import", str(tmp_path / "net.pt"), "--data", str(tmp_path / "own.npz")]
    arguments += ["--out", str(tmp_path / "out.npz"), "--pixel-bits", "6", "--weight-bits", "12"]
    assert main([*arguments, "--steps", "4"]) == 1
    assert "must be seen in 6 time steps, not 4" in capsys.readouterr().err
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "x of own, as pixels of 6 bits have it, " in told
    assert "image t of 6 at time step t" in told
    assert re.search(r"\n  before rounding, hidden1 +0 of", told)
    made = Network.load(tmp_path / "out.npz")
    assert (made.spec.steps, made.spec.timed_input, made.spec.input_size) == (6, True, 10)

    data = Dataset(x, labels, axes="tf", name="own")
    encoding = data.encoding
    assert encoding is not None
    assert made.spec.encoding == encoding
    pixels = encoding.encode(data.x_test, 6).reshape(-1, 6, 2, 5) / 63.0
    raw = (pixels[:, :, 0] - pixels[:, :, 1]) * encoding.bounds[1]
    functional.reset_net(network.double())
    wanted = sum(network(torch.tensor(raw[:, t])) for t in range(6)).argmax(1)  # type: ignore
    answers = GoldenModel(made).classify(encoding.encode(data.x_test, 6))
    assert np.mean(answers == wanted.numpy()) > 0.9


@pytest.mark.parametrize("signed", [False, True])
def test_recorded_pictures_of_ones_own(signed: bool) -> None:
    """(n, T, rows, columns) as rows of values, as signals and as maps: image t at step t."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (40, 6, 3, 10)) if signed else rng.random((40, 6, 3, 10))
    data = Dataset(x, np.arange(40) % 4, axes="thw", name="own").split("test", 6, steps=6)

    def network(*first: nn.Module) -> nn.Module:
        made = nn.Sequential(*first, neuron.IFNode(), layer.Flatten(), layer.Linear(32, 4))
        with torch.no_grad():
            first[-1].weight.mul_(4)  # type: ignore[operator]
        functional.set_step_mode(made, "m")
        return made

    torch.manual_seed(1)
    for module in (
        network(layer.Flatten(), layer.Linear(30, 32)),
        network(layer.Conv1d(3, 4, 3)),
        network(layer.Conv2d(1, 4, 3)),
    ):
        foreign = JellyNetwork(module)
        made, report = import_foreign(foreign, data, name="x", steps=6, mean=[0.1], std=[1.3])
        assert all(layer.equal == layer.compared and layer.either for layer in report.before)
        assert made.spec.encoding == data.encoding
        assert GoldenModel(made).classify(data.images).shape == (8,)


class Remembering(nn.Module):
    """Keeps what it made, in Python, where no module shows it."""

    def __init__(self, uses: bool) -> None:
        super().__init__()
        self.first, self.node, self.last = nn.Linear(ROW, 20), neuron.IFNode(), nn.Linear(20, 10)
        self.uses, self.made = uses, torch.zeros(())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        drive = self.first(x) + self.made.mean() * int(self.uses)
        self.made = self.node(drive)
        return self.last(self.made)


def test_what_a_forward_keeps_by_itself() -> None:
    torch.manual_seed(1)
    for uses in (False, True):
        network = Remembering(uses)
        with torch.no_grad():
            network.first.weight.mul_(4)
        if uses:
            with pytest.raises(ConvertError, match="its own forward gives something else"):
                import_foreign(JellyNetwork(network), rows(), name="x", steps=T)
            continue
        _, report = import_foreign(JellyNetwork(network), rows(), name="x", steps=T)
        assert all(layer.equal == layer.compared and layer.either for layer in report.before)


TOML = """
framework = "snntorch"
weights = "net.pt"
[[module]]
name = "0"
kind = "Conv1d"
padding = 1
[[module]]
name = "1"
[[module]]
kind = "AvgPool1d"
kernel_size = 2
[[module]]
kind = "Flatten"
[[module]]
name = "4"
"""


def test_a_file_that_describes_a_network_over_time(tmp_path: Path, capsys: Any) -> None:
    """A state_dict of snnTorch with convolutions over signals, fed pictures of one's own."""
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "own.npz", x=rng.random((40, 6, 3, 10)), y=np.arange(40) % 4, axes="thw")
    torch.manual_seed(1)
    network = nn.Sequential(
        *(nn.Conv1d(3, 4, 3, padding=1), snntorch.Leaky(beta=0.9, init_hidden=True)),
        *(nn.AvgPool1d(2), nn.Flatten(), nn.Linear(20, 4)),
    )
    torch.save(network.state_dict(), tmp_path / "net.pt")
    (tmp_path / "net.toml").write_text(TOML)
    arguments = [str(tmp_path / "net.toml"), "--data", str(tmp_path / "own.npz")]
    assert main(["check", *arguments]) == 0
    assert "convolution of 4x3x3 weights into hidden1" in capsys.readouterr().out
    assert main(["import", *arguments, "--out", str(tmp_path / "out.npz")]) == 0
    told = capsys.readouterr().out
    assert "as signals of 3x10 (channels, samples), image t of 6 at time step t" in told
    assert re.search(r"\n  before rounding, hidden1 +0 of", told)
    made = Network.load(tmp_path / "out.npz")
    assert (made.spec.input_shape, made.spec.steps) == ((3, 1, 10), 6)
    assert main(["golden", str(tmp_path / "out.npz"), "--data", str(tmp_path / "own.npz")]) == 0


def test_recordings_of_an_event_camera(tmp_path: Path, capsys: Any) -> None:
    try:
        load_split("nmnist-small", "test", 4, steps=3)
    except DataError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(1)
    ones = np.ones(16, dtype=np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([2, 34, 34])}),
        "pool": nir.AvgPool2d(np.array([8, 8]), np.array([8, 8]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([2, 4, 4])}, 0, -1),
        "fc": nir.Linear(rng.normal(0, 2, (16, 32)).astype(np.float32)),
        "lif": nir.LIF(4e-4 * ones, 4 * ones, 0 * ones, ones, 0 * ones),
        "out": nir.Linear(rng.normal(0, 1, (10, 16)).astype(np.float32)),
        "output": nir.Output({"output": np.array([10])}),
    }
    edges = list(pairwise(nodes))
    nir.write(tmp_path / "net.nir", nir.NIRGraph(nodes, edges, type_check=False))
    out = tmp_path / "out.npz"
    arguments = [str(tmp_path / "net.nir"), "--dataset", "nmnist-small", "--steps", "3"]
    assert main(["import", *arguments, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"\n  before rounding, lif +0 of 14,400", told)
    assert main(["golden", str(out)]) == 0
    assert "of nmnist-small" in capsys.readouterr().out
