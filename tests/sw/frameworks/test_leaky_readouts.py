"""Readouts that leak, of other frameworks: what is read of their potentials, exactly."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gen.core.plan import plan_network
from hw.contract.network import Network
from hw.contract.neuron import ReadoutSpec
from sim.bench.run import simulate
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.frameworks.importing import import_foreign
from sw.importers.affine import ConvertError
from sw.nir.export import export_nir, nir_graph
from sw.nir.graph import flat_graph, read_nir
from sw.nir.network import NirNetwork
from sw.reading.conventions import Conventions
from tests.hw.program.programs import leaky

STEPS = 6
VALUES = ("last", "sum", "max")


@pytest.fixture(scope="module")
def digits() -> Split:
    data = load_split("digits", "test", 4)
    return replace(data, images=data.images[:100], labels=data.labels[:100])


def on_grid(*shape: int) -> np.ndarray:
    """Weights that are multiples of 1/8."""
    return np.random.default_rng(shape).integers(-7, 8, shape) / 8


# NIR


def nir_chain(kept: float = 0.5, *, leak: float = 0.0, r: float = 1.0, behind: bool = False) -> Any:
    """64-16-10, binary neurons; then an integrator that keeps so much, and counts its input once;
    with `behind`, neurons follow."""
    nir = pytest.importorskip("nir", reason="the package nir is not installed")
    one, tau = np.ones(10), 1e-4 / (1 - kept)
    many = np.ones(16)
    nodes = {
        "input": nir.Input(np.array([64])),
        "first": nir.Affine(on_grid(16, 64), on_grid(16)),
        "fire": nir.IF(r=many, v_threshold=1.5 * many, v_reset=0 * many),
        "second": nir.Affine(on_grid(10, 16), on_grid(10)),
        "out": nir.LI(tau=one * tau, r=one * r * tau / 1e-4, v_leak=one * leak),
        **({"late": nir.IF(r=one, v_threshold=one, v_reset=0 * one)} if behind else {}),
        "output": nir.Output(np.array([10])),
    }
    names = [*nodes]
    return nir.NIRGraph(nodes=nodes, edges=[*pairwise(names)])


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", ["shift", "leak", "v_leak", "r"])
def test_nir_is_read_exactly(digits: Split, tmp_path: Path, name: str, value: str) -> None:
    """Exact decays and grids: every spike, class and logit is that of the graph as written."""
    made = {
        "shift": lambda: nir_chain(),
        "leak": lambda: nir_chain(0.75),
        "v_leak": lambda: nir_chain(leak=2.0),
        "r": lambda: nir_chain(r=4.0),
    }[name]()
    foreign = NirNetwork(flat_graph(made), Conventions(readout=value))
    network, report = import_foreign(foreign, digits, name="x", steps=STEPS, exact_decay=True)
    assert all(layer.equal == layer.compared for layer in (*report.before, *report.after))
    read = network.spec.layers[-1].readout
    assert read is not None
    assert (read.value, read.fraction_bits) == (value, (2 if name == "leak" else 1) * (STEPS - 1))
    x = torch.from_numpy(digits.images).double() / 15
    outputs = foreign.run(x, STEPS).outputs.numpy()
    logits = GoldenModel(network).run(digits.images).logits
    assert np.array_equal(logits.argmax(axis=1), outputs.argmax(axis=1))
    unit = logits[np.abs(outputs) > 1e-9] / outputs[np.abs(outputs) > 1e-9]
    assert np.allclose(unit, unit[0])


def test_what_is_read_changes_the_answer(digits: Split) -> None:
    x = torch.from_numpy(digits.images).double() / 15
    answers = {
        value: NirNetwork(flat_graph(nir_chain(0.5)), Conventions(readout=value)).run(x, STEPS)
        for value in VALUES
    }
    assert answers["last"].outputs.shape == (100, 10)
    classes = [answers[value].outputs.argmax(dim=1) for value in VALUES]
    assert not torch.equal(classes[0], classes[1])
    assert not torch.equal(classes[1], classes[2])
    assert Conventions().readout == "max"


@pytest.mark.parametrize("value", VALUES)
def test_out_to_nir_and_back(digits: Split, tmp_path: Path, value: str) -> None:
    plain = NirNetwork(flat_graph(nir_chain(0.9)), Conventions(readout=value))
    network, _ = import_foreign(plain, digits, name="x", steps=STEPS)
    notes = export_nir(network, tmp_path / "back.nir", 1e-4)
    words = {"last": "last step", "sum": "added up", "max": "largest"}
    assert words[value] in notes[0]
    foreign = NirNetwork(read_nir(tmp_path / "back.nir"), Conventions(readout=value))
    again, report = import_foreign(foreign, digits, name="x", steps=STEPS)
    assert again.spec.layers[-1].readout == network.spec.layers[-1].readout
    assert np.array_equal(*(n.weights[-1] for n in (network, again)))
    assert report.agreement.hits == len(digits)
    with pytest.raises(ConvertError, match="Readout readout must leak to be said in NIR, or be"):
        nir_graph(leaky(network, ReadoutSpec(value="max")), 1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tau": np.linspace(1, 2, 10)}, "out (LI) must have one tau for all its potentials"),
        ({"tau": np.full(10, 1e-5)}, "out (LI) has tau = 1e-05 s, shorter than the time step"),
        ({"tau": np.full(10, -1.0)}, "out (LI) must have a positive tau, not -1"),
        ({"tau": np.ones(7)}, "out (LI) has tau of 7 neurons, and gets 10 values"),
        ({}, "out (LI) integrates without firing within the network: it may only end it"),
    ],
)
def test_what_nir_has_that_is_no_readout(change: dict[str, Any], sentence: str) -> None:
    made = nir_chain(behind=not change)
    for key, value in change.items():
        setattr(made.nodes["out"], key, value)
    (found,) = NirNetwork(flat_graph(made)).read((64,), steps=3, pixel_max=15).refused
    assert f"{found.node} {found.refused}".startswith(sentence)


def test_the_command_line(tmp_path: Path, capsys: Any) -> None:
    nir = pytest.importorskip("nir", reason="the package nir is not installed")
    path, out = str(tmp_path / "net.nir"), str(tmp_path / "net.npz")
    nir.write(path, nir_chain(0.9))
    assert main(["check", path, "--steps", "6"]) == 0
    told = capsys.readouterr().out
    assert "the readout's potentials, read at their largest: keeps 0.9" in told
    assert "say with --readout which of its potentials is read" in told
    options = ["--dataset", "digits", "--steps", "6", "--readout", "sum", "--out", out]
    assert main(["import", path, *options]) == 0
    told = capsys.readouterr().out
    assert "leaky readout, potentials added up, decay 1843/2048, 7 bits of a fraction" in told
    assert main(["info", out]) == 0
    assert "leaky readout, potentials added up" in capsys.readouterr().out
    assert main(["check", path, "--readout", "mean"]) == 1
    assert "Readout must be one of last, sum, max, not 'mean'" in capsys.readouterr().err
    assert Network.load(out).spec.layers[-1].readout is not None


# Norse


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", VALUES)
def test_norse_writes_and_runs(digits: Split, tmp_path: Path, value: str) -> None:
    """Its own module beside its NIR file."""
    norse = pytest.importorskip("norse.torch", reason="the package norse is not installed")
    nir = pytest.importorskip("nir", reason="the package nir is not installed")
    from norse.torch.utils.export_nir import to_nir

    torch.manual_seed(3)
    one = torch.ones(1)
    box = norse.LIFBoxParameters(
        tau_mem_inv=250 * one, v_leak=0 * one, v_th=one / 8, v_reset=0 * one
    )
    end = norse.LIBoxCell(norse.LIBoxParameters(tau_mem_inv=200 * one, v_leak=0 * one))
    first, second = nn.Linear(64, 24), nn.Linear(24, 10)
    module = norse.SequentialState(first, norse.LIFBoxCell(box), second, end)
    nir.write(tmp_path / "net.nir", to_nir(module, torch.zeros(64)))
    foreign = NirNetwork(read_nir(tmp_path / "net.nir"), Conventions(dt=1e-6, readout=value))
    network, report = import_foreign(foreign, digits, name="x", steps=8)
    read = network.spec.layers[-1].readout
    assert read is not None
    assert (read.decay_factor, read.decay_shift, read.value) == (3277, 12, value)  # 0.8
    module.double()
    for layer in (module[1], module[3]):  # double() leaves out what is no parameter of torch
        layer.p = type(layer.p)(
            *(v.detach().double() if isinstance(v, Tensor) else v for v in layer.p)
        )
    x, state, voltages = torch.from_numpy(digits.images).double() / 15, None, []
    with torch.no_grad():
        for _ in range(8):
            v, state = module(x, state)
            voltages.append(v)
    m = torch.stack(voltages)
    wanted = {"last": m[-1], "sum": m.sum(dim=0), "max": m.amax(dim=0)}[value]
    assert torch.allclose(foreign.run(x, 8).outputs, wanted, rtol=1e-5, atol=1e-5)
    assert all(layer.equal == layer.compared for layer in report.before)
    classes = GoldenModel(network).classify(digits.images)
    assert np.mean(classes == wanted.argmax(dim=1).numpy()) > 0.9


# snnTorch


class Net(nn.Module):
    """64-32-10 that ends in a Leaky without reset, and returns what is asked for.

    Parameters
    ----------
    returns
        A value of its potentials: last, sum, mean, max; `softmax`, of their sum; `every`, those of
        all steps; `spikes`, of all steps; `products`, something else.
    """

    def __init__(self, returns: str, steps: int = STEPS, **more: Any) -> None:
        super().__init__()
        snn = pytest.importorskip("snntorch", reason="the package snntorch is not installed")
        torch.manual_seed(2)
        self.first, self.one = nn.Linear(64, 32), snn.Leaky(beta=0.8)
        self.second = nn.Linear(32, 10)
        self.two = snn.Leaky(**{"beta": 0.9, "reset_mechanism": "none", **more})
        self.returns, self.steps = returns, steps
        with torch.no_grad():
            self.first.weight.mul_(4)

    def forward(self, x: Tensor) -> Any:
        u, m, sent, spikes = self.one.reset_mem(), self.two.reset_mem(), [], []
        for _ in range(self.steps):
            c, u = self.one(self.first(x), u)
            s, m = self.two(self.second(c), m)
            sent.append(m)
            spikes.append(s)
        every = torch.stack(sent)
        return {
            "last": lambda: m,
            "sum": lambda: every.sum(dim=0),
            "mean": lambda: every.mean(dim=0),
            "max": lambda: every.max(dim=0)[0],
            "softmax": lambda: torch.softmax(every.sum(dim=0), dim=1),
            "log": lambda: (torch.stack(spikes), torch.log_softmax(m, dim=1)),
            "every": lambda: (torch.stack(spikes), every),
            "spikes": lambda: torch.stack(spikes),
            "products": lambda: every.sum(dim=0) * every[0],
        }[self.returns]()


def snn_import(module: nn.Module, data: Split, **options: Any) -> Any:
    from sw.frameworks.snntorch import import_network

    return import_network(module, data, name="x", steps=STEPS, **options)


READ = {"last": "last", "sum": "sum", "mean": "sum", "max": "max", "softmax": "sum", "log": "last"}


@pytest.mark.parametrize("returns", READ)
def test_what_a_forward_returns_is_what_is_read(digits: Split, returns: str) -> None:
    module = Net(returns)
    network, report = snn_import(module, digits, weight_bits=16)
    read = network.spec.layers[-1].readout
    assert read is not None
    assert read.value == READ[returns]
    assert (read.decay_factor, read.decay_shift) == (1843, 11)
    assert all(layer.equal == layer.compared for layer in report.before)
    x = torch.from_numpy(digits.images).float() / 15
    with torch.no_grad():
        theirs = module(x)
    theirs = theirs[1] if isinstance(theirs, tuple) else theirs
    assert (
        np.mean(theirs.argmax(dim=1).numpy() == GoldenModel(network).classify(digits.images)) > 0.97
    )
    (found,) = (f for f in report.findings if f.node == "two (Leaky)")
    assert "the readout's potentials" in found.becomes
    assert "keeps 0.899902 (1843/2048)" in found.approximated


def rising(returns: str, bias: float = 0.0) -> Net:
    """On images as data have them, all neurons fire at every step, and all potentials rise."""
    module = Net(returns)
    with torch.no_grad():
        for part in (module.first, module.second):
            part.weight.abs_()
            part.bias.zero_()
        module.first.bias.fill_(bias)
    return module


@pytest.mark.parametrize("value", VALUES)
def test_potentials_that_are_alike_on_most_images_are_told_apart(digits: Split, value: str) -> None:
    """The last, the largest and the sum are the same there, but for a factor: other images tell."""
    network, report = snn_import(rising(value), digits, weight_bits=16)
    read = network.spec.layers[-1].readout
    assert read is not None
    assert read.value == value
    assert not any(f.note for f in report.findings)
    dark = digits.images // 15  # on which few fire
    with torch.no_grad():
        theirs = rising(value)(torch.from_numpy(dark).float() / 15).argmax(dim=1).numpy()
    assert np.mean(theirs == GoldenModel(network).classify(dark)) > 0.97


def test_what_no_image_tells_apart_is_said(digits: Split) -> None:
    _, report = snn_import(rising("max", bias=1e5), digits, weight_bits=4)
    (found,) = (f for f in report.findings if f.node == "two (Leaky)")
    assert "on all images tried, last and sum and max are the same but" in found.note
    network, _ = snn_import(rising("max", bias=1e5), digits, weight_bits=4, readout="max")
    read = network.spec.layers[-1].readout
    assert read is not None
    assert read.value == "max"
    with pytest.raises(ConvertError, match="has its last potential returned, and readout = 'sum'"):
        snn_import(Net("last"), digits, readout="sum")


@pytest.mark.parametrize("value", VALUES)
def test_all_potentials_and_what_is_read_of_them(digits: Split, value: str) -> None:
    network, _ = snn_import(Net("every"), digits, readout=value)
    read = network.spec.layers[-1].readout
    assert read is not None
    assert read.value == value
    other, _ = snn_import(Net(value), digits)
    assert network.digest == other.digest


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (lambda: Net("every"), "two (Leaky) never resets, so its potentials are read, and the"),
        (lambda: Net("spikes"), "two (Leaky) never resets, so its potentials are read, and the"),
        (lambda: Net("products"), "two (Leaky) never resets, so its potentials are read, and the"),
        (lambda: Net("sum", reset_mechanism="subtract"), "comes last, and the forward returns"),
        (lambda: Net("sum", beta=torch.rand(10)), "two (Leaky) must have one beta"),
        (lambda: Net("sum", inhibition=True), "two (Leaky) must have no inhibition"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_told_is_refused(digits: Split, module: Any, sentence: str) -> None:
    with pytest.raises(ConvertError) as refused:
        snn_import(module(), digits)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_readout_that_is_none_is_refused(digits: Split) -> None:
    with pytest.raises(ConvertError, match="Readout must be one of last, sum, max, not 'mean'"):
        snn_import(Net("every"), digits, readout="mean")
    with pytest.raises(ConvertError, match=r"never resets, not as 'max' for two \(Leaky\)"):
        snn_import(Net("spikes", reset_mechanism="zero"), digits, readout="max")


def test_a_file_says_what_is_read_of_a_state_dict(digits: Split, tmp_path: Path) -> None:
    from sw.frameworks.snntorch import open_file

    module = Net("sum")
    torch.save(module.state_dict(), tmp_path / "net.pt")
    for value, read in (("sum", 'readout = "sum"'), ("mean", 'readout = "mean"'), ("", "")):
        names = ("first", "one", "second", "two")
        modules = "\n".join(f'[[module]]\nname = "{name}"' for name in names)
        text = f'framework = "snntorch"\nweights = "net.pt"\n{modules}\n{read}\n'
        (tmp_path / "net.toml").write_text(text)
        if value == "sum":
            network, _ = import_foreign(
                open_file(tmp_path / "net.toml"), digits, name="x", steps=STEPS
            )
            other, _ = snn_import(module, digits)
            assert network.digest == other.digest
            continue
        sentence = "Readout must be one of last" if value else "never resets, so its potentials"
        with pytest.raises(ConvertError, match=sentence):
            import_foreign(open_file(tmp_path / "net.toml"), digits, name="x", steps=STEPS)


def test_a_readout_that_keeps_all_is_the_sum(digits: Split) -> None:
    network, _ = snn_import(Net("last", beta=1.0), digits)
    assert network.spec.layers[-1].readout is None


# Real inputs, and hardware


class Trained(nn.Module):
    """Of 8x8 digits, in 10 steps, by the maximum of the potentials of its last neurons: 64-32-10,
    or a convolution of 8 channels in front."""

    def __init__(self, maps: bool) -> None:
        super().__init__()
        snn = pytest.importorskip("snntorch", reason="the package snntorch is not installed")
        torch.manual_seed(1)
        self.first = nn.Conv2d(1, 8, 3, stride=2, padding=1) if maps else nn.Linear(64, 32)
        self.one, self.flat = snn.Leaky(beta=0.9), nn.Flatten()
        self.second = nn.Linear(128 if maps else 32, 10)
        self.two = snn.Leaky(beta=0.85, reset_mechanism="none")

    def forward(self, x: Tensor) -> Tensor:
        u, m, every = self.one.reset_mem(), self.two.reset_mem(), []
        for _ in range(10):
            c, u = self.one(self.first(x), u)
            m = self.two(self.second(self.flat(c)), m)[1]
            every.append(m)
        return torch.stack(every).max(dim=0)[0]


def trained(maps: bool, epochs: int) -> Trained:
    module, data = Trained(maps), load_split("digits", "train", 4)
    x = torch.from_numpy(data.images).float() / 15
    x, y = x.reshape(-1, 1, 8, 8) if maps else x, torch.from_numpy(data.labels).long()
    optimizer = torch.optim.Adam(module.parameters(), 8e-3)
    for epoch in range(epochs):
        for some in torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch)).split(
            64
        ):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[some]), y[some]).backward()
            optimizer.step()
    return module


@pytest.mark.parametrize("maps", [False, pytest.param(True, marks=pytest.mark.long)])
def test_digits_from_snntorch_to_hardware(tmp_path: Path, maps: bool) -> None:
    """Trained there; imported with 8 and 16 bits; 20 images through Verilog."""
    module, data = trained(maps, 3), load_split("digits", "test", 4)
    made: dict[int, Network] = {}
    for bits, unlike in ((8, 0.04), (16, 0.001)):
        from sw.frameworks.snntorch import import_network

        made[bits], report = import_network(
            module,
            data,
            name="proof",
            steps=10,
            weight_bits=bits,
            shape=(1, 8, 8) if maps else None,
        )
        assert report.float_accuracy.share > 0.85
        assert report.agreement.share > 0.98
        (spikes,) = report.after
        assert spikes.compared - spikes.equal < unlike * spikes.compared
    schedules = {"windows": 16, "shared": 16} if maps else {"pipelined": 16}
    for schedule, lanes in schedules.items():
        plan = plan_network(made[8], lanes, 1, schedule)
        told = simulate(plan, data.images[:20], data.labels[:20], tmp_path / schedule)
        assert told["mismatches"] == 0
        assert told["values_compared"] > 10_000
        assert told["cycle_law_checked"]
        assert told["cycle_law_violations"] == 0
