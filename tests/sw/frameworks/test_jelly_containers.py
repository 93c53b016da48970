"""SpikingJelly 2.0: each container and module against its own run, spike by spike, at rest and over
time; what cannot be read is named."""

import copy
import operator
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sw.cli.main import main
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.frameworks.check import check
from sw.frameworks.spikingjelly import (
    JellyNetwork,
    import_network,
    lif_parameters,
    load_network,
    read_network,
)
from sw.importers.affine import ConvertError

pytest.importorskip("spikingjelly", reason="the package spikingjelly is not installed")

from spikingjelly.activation_based import functional, layer, neuron

ROW = 8
Soft = dict[str, Any](v_reset=None)


@cache
def data(kind: str) -> Split:
    """80 digits: pictures, rows over time, or pictures that are signals."""
    whole = load_split("digits", "test", 4)
    some = replace(whole, images=whole.images[:80], labels=whole.labels[:80])
    shapes = {"rows": (ROW, 1, 1), "lines": (1, 1, ROW)}
    return replace(some, shape=shapes[kind], timed=True) if kind in shapes else some


def row(*modules: nn.Module, mode: str = "") -> nn.Module:
    network: Any = nn.Sequential(*modules)
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.running_mean is not None
            module.running_mean.uniform_(-0.3, 0.3, generator=generator)
            module.weight.data.uniform_(0.7, 2, generator=generator)
        elif isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            spread = 3 * module.weight[0].numel() ** -0.5
            module.weight.data.uniform_(-0.7 * spread, spread, generator=generator)
            if module.bias is not None:
                module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    if mode:
        functional.set_step_mode(network, mode)
    return network.double().eval()


def matched(network: nn.Module, split: Split, steps: int = 8, **options: Any) -> Any:
    """The network that is read gives the framework's spikes, and some of every layer."""
    made, report = import_network(network, split, name="x", steps=steps, weight_bits=12, **options)
    assert made.spec.timed_input == split.timed
    assert report.before
    for before in report.before:
        assert before.shown
        assert before.equal == before.compared
        assert before.either > 20, before
    for potentials in report.membranes_before[:-1]:
        assert potentials.compared or "do not keep their potentials" in potentials.reason
        assert potentials.largest < 1e-9, potentials
        assert potentials.when in ("after the reset", "")
    return made, report


def leaky(**options: Any) -> nn.Module:
    return neuron.LIFNode(tau=2.0, **Soft | options)


def plif() -> nn.Module:
    node = neuron.ParametricLIFNode(init_tau=3.0)
    node.w.data.fill_(-0.4)
    return node


def td_norm() -> nn.Module:
    return layer.ThresholdDependentBatchNorm1d(1.0, 0.7, 20)


Built = Callable[[int], list[nn.Module]]
ROWS: dict[str, Built] = {
    "PLIF, votes": lambda n: [layer.Linear(n, 50), plif(), layer.VotingLayer(5)],
    "PLIF without decay of the input": lambda n: [
        *(layer.Linear(n, 20), neuron.ParametricLIFNode(3.0, decay_input=False, **Soft)),
        layer.Linear(20, 10),
    ],
    "rest below and above 0": lambda n: [
        *(layer.Linear(n, 30), neuron.LIFNode(tau=3.0, v_reset=-0.5, decay_input=False)),
        *(layer.Dropout(0.5), layer.Linear(30, 20), neuron.IFNode(v_reset=0.25, v_threshold=1.2)),
        layer.VotingLayer(2),
    ],
    "half a threshold at first": lambda n: [
        *(layer.Linear(n, 30), neuron.HalfThresholdIFNode(), layer.WSLinear(30, 10))
    ],
    "simple nodes": lambda n: [
        *(layer.Linear(n, 30), neuron.SimpleIFNode(1.0, None), layer.Linear(30, 20)),
        *(neuron.SimpleLIFNode(2.0, True, 0.7, -0.1), layer.Linear(20, 10)),
    ],
    "nodes at the front, one behind the other": lambda n: [
        *(neuron.IFNode(v_threshold=0.5), leaky(v_threshold=0.4), layer.Linear(n, 10))
    ],
    "a synaptic current": lambda n: [
        *(layer.Linear(n, 20), neuron.CUBALIFNode(0.5, 0.75, 1.5), layer.Linear(20, 16)),
        *(neuron.CUBALIFNode(0.7, 0.9, 1.0, v_reset=None), layer.Linear(16, 10)),
    ],
    "detached reset, stored potentials": lambda n: [
        *(layer.Linear(n, 20), leaky(detach_reset=True, store_v_seq=True), layer.Linear(20, 10))
    ],
}


@pytest.mark.parametrize("title", ROWS)
@pytest.mark.parametrize("mode", ["s", "m"])
def test_rows_of_neurons(title: str, mode: str) -> None:
    matched(row(*ROWS[title](64), mode=mode), data("digits"), 4, shape=(64,))
    matched(row(*ROWS[title](ROW), mode=mode), data("rows"), shape=(ROW,))


@pytest.mark.parametrize("mode", ["s", "m"])
def test_signals(mode: str) -> None:
    """Conv1d and what pools signals are edges of maps of one row."""
    network = row(
        *(layer.Conv1d(1, 4, 3, padding=1, bias=False), layer.BatchNorm1d(4), leaky()),
        *(layer.AvgPool1d(2), layer.Conv1d(4, 6, 3), neuron.IFNode(v_threshold=0.7)),
        *(layer.AdaptiveAvgPool1d(1), layer.Flatten(), layer.Linear(6, 10)),
        mode=mode,
    )
    for kind, columns in (("digits", 64), ("lines", 8)):
        made, _ = matched(network, data(kind))
        assert made.spec.input_shape == (1, 1, columns)
        first, second, last = (spec.edges[0] for spec in made.spec.layers)
        assert (first.kernel, first.padding) == ((1, 3), (0, 1))
        assert (second.pool, second.kernel) == ((1, 2), (1, 3))
        assert last.pool == (1, columns // 2 - 2)


@pytest.mark.parametrize("decode", ["last_mem", "mean-mem", "max-mem"])
@pytest.mark.parametrize("last", [neuron.NonSpikingLIFNode(3.0), neuron.NonSpikingIFNode()])
def test_a_readout_that_never_fires(last: nn.Module, decode: str) -> None:
    last = copy.deepcopy(last)
    last.decode = decode  # type: ignore[assignment]
    network = row(layer.Linear(64, 20), leaky(), layer.Linear(20, 10), last, mode="m")
    made, report = matched(network, data("digits"), 4)
    readout = made.spec.layers[-1].readout
    wanted = {"last_mem": "last", "mean-mem": "sum", "max-mem": "max"}[decode]
    if isinstance(last, neuron.NonSpikingIFNode) and decode == "last_mem":
        assert readout is None  # the sum of the drives
    else:
        assert readout is not None
        assert readout.value == wanted
        assert (readout.decay == "none") == isinstance(last, neuron.NonSpikingIFNode)
    assert report.membranes_before[-1].largest < 1e-9
    assert report.membranes_after[-1].largest < 0.05
    assert report.agreement.share > 0.97
    told = next(finding for finding in report.findings if finding.node.startswith("3 (NonSpiking"))
    assert told.becomes.startswith("the readout's potentials, read ")


@pytest.mark.parametrize("tau", [0.0, None, torch.tensor([2.0, 3.0])], ids=str)
def test_a_readout_of_no_time_constant_is_damaged(tau: Any) -> None:
    last = neuron.NonSpikingLIFNode(tau, decode="last_mem")
    network = row(layer.Linear(64, 20), leaky(), layer.Linear(20, 10), last, mode="m")
    with pytest.raises(ConvertError, match=r"3 \(NonSpikingLIFNode\) is damaged"):
        read_network(network, (64,), steps=4, pixel_max=15)


def test_one_readout_alone_ends_a_network() -> None:
    ends = (neuron.NonSpikingLIFNode(2.0, decode=decode) for decode in (None, "last_mem"))
    network = row(layer.Linear(64, 20), leaky(), layer.Linear(20, 10), *ends, mode="m")
    with pytest.raises(ConvertError, match=r"3 \(NonSpikingLIFNode\) integrates without firing"):
        read_network(network, (64,), steps=4, pixel_max=15)


def test_a_current_is_none_at_first() -> None:
    node = neuron.CUBALIFNode()
    assert lif_parameters(node)[0].current == "shift"
    node._memories_rv["c"] = 0.25
    with pytest.raises(ConvertError, match="must start without a synaptic current"):
        lif_parameters(node)


def test_outputs_that_are_all_tiny_are_compared_too() -> None:
    """A mean over steps is a part of their sum, however small both are."""
    last = neuron.NonSpikingLIFNode(1e8, decode="mean-mem")
    network = row(layer.Linear(64, 20), leaky(), layer.Linear(20, 10), last, mode="m")
    _, report = import_network(network, data("digits"), name="x", steps=4)
    assert report.membranes_before[-1].largest < 1e-6


def loops(n: int, mode: str) -> dict[str, nn.Module]:
    inner: dict[str, nn.Module] = {
        "a matrix, in front of the sum": layer.LinearRecurrentContainer(
            nn.Sequential(nn.Linear(n, 20), neuron.IFNode()), n, 20
        ),
        "a matrix, of the neurons alone": layer.LinearRecurrentContainer(
            neuron.LIFNode(tau=3.0), 20, 20, bias=False
        ),
        "one to one, added": layer.ElementWiseRecurrentContainer(
            neuron.IFNode(v_reset=None, v_threshold=1.5), operator.add
        ),
        "one to one, with factors": layer.ElementWiseRecurrentContainer(
            nn.Sequential(neuron.IFNode(), nn.Dropout(0.2)), lambda y, x: 0.5 * x - 0.75 * y
        ),
        "a loop within a loop": layer.LinearRecurrentContainer(
            layer.ElementWiseRecurrentContainer(leaky(), operator.sub), 20, 20
        ),
    }
    made = {}
    for title, loop in inner.items():
        alone = [] if title == "a matrix, in front of the sum" else [layer.Linear(n, 20)]
        network = row(*alone, loop, layer.Linear(20, 10))
        for module in network.children():
            module.step_mode = mode  # type: ignore[assignment]
        made[title] = network
    return made


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("title", loops(8, "s"))
def test_what_comes_back_a_step_later(title: str, mode: str) -> None:
    for kind, n in (("digits", 64), ("rows", ROW)):
        made, report = matched(loops(n, mode)[title], data(kind))
        delayed = [edge for spec in made.spec.layers for edge in spec.edges if edge.delay]
        assert len(delayed) == 1 + (title == "a loop within a loop")
        assert {edge.kind for edge in delayed} <= {"dense", "identity"}
        notes = [finding.node for finding in report.findings if "comes back" in finding.note]
        assert len(notes) == len(delayed)


def test_a_loop_of_maps(tmp_path: Path) -> None:
    """From a file, too, where its function is operator.add."""
    network = row(
        *(layer.Conv2d(1, 3, 3), layer.BatchNorm2d(3)),
        layer.ElementWiseRecurrentContainer(neuron.IFNode(v_threshold=1.5), operator.add),
        *(layer.AvgPool2d(2), layer.Flatten(), layer.Linear(27, 10)),
        mode="s",
    )
    torch.save(network, tmp_path / "net.pt")
    made, _ = matched(load_network(tmp_path / "net.pt"), data("digits"), 5)
    assert [edge.kind for edge in made.spec.layers[0].edges] == ["conv", "identity"]


def test_nested_containers() -> None:
    """What plays the steps by itself, in networks of either mode."""
    whole = row(
        layer.MultiStepContainer(nn.Linear(ROW, 20), nn.Sequential(neuron.IFNode())),
        layer.SeqToANNContainer(nn.Linear(20, 20), nn.Sequential(nn.BatchNorm1d(20))),
        nn.Sequential(layer.StepModeContainer(True, "m", leaky())),
        layer.StepModeContainer(False, "m", nn.Linear(20, 10)),
    )
    matched(whole, data("rows"))
    single = row(
        layer.StepModeContainer(True, "s", nn.Linear(ROW, 20), neuron.IFNode()),
        nn.Sequential(nn.Linear(20, 10)),
    )
    matched(single, data("rows"))
    norm = td_norm()
    matched(row(layer.Linear(ROW, 20), norm, leaky(), layer.Linear(20, 10), mode="m"), data("rows"))


class Residual(nn.Module):
    """Made in another order than it runs in, with a sum, and pooling over time."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.last = layer.Linear(4, 10)
        self.inner, self.outer = layer.Conv2d(4, 4, 3, padding=1), layer.Conv2d(1, 4, 3, padding=1)
        self.nodes = nn.ModuleList([neuron.IFNode(), leaky()])
        self.pool, self.mode = layer.AdaptiveAvgPool2d(1), mode
        functional.set_step_mode(self, mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.nodes[0](self.outer(x))
        x = self.pool(x + self.nodes[1](self.inner(x)))
        logits = self.last(torch.flatten(x, 1 if self.mode == "s" else 2))
        return logits if self.mode == "s" else logits.mean(0)


@pytest.mark.parametrize("mode", ["s", "m"])
def test_residual_sums(mode: str) -> None:
    network = row(Residual(mode))[0]  # type: ignore[index]
    made, _ = matched(network, data("digits"), 4)
    assert [len(spec.edges) for spec in made.spec.layers] == [1, 1, 2]


class Block(nn.Module):
    """As SpikingJelly's own SEW-ResNet has it, which counts as one of its networks."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self.conv1 = layer.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn1, self.sn1, self.cnf = layer.BatchNorm2d(4), neuron.IFNode(), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.sn1(self.bn1(self.conv1(x)))
        return out + x if self.cnf == "ADD" else out * (1 - x)


Block.__module__ = "spikingjelly.activation_based.model.sew_resnet"


@pytest.mark.parametrize("mode", ["s", "m"])
def test_blocks_of_the_librarys_networks(mode: str) -> None:
    def network(function: str) -> nn.Module:
        return row(
            *(layer.Conv2d(1, 4, 3, padding=1, bias=False), layer.BatchNorm2d(4), leaky()),
            *(Block(function), Block("ADD"), layer.AvgPool2d(8), layer.Flatten()),
            layer.Linear(4, 10),
            mode=mode,
        )

    made, _ = matched(network("ADD"), data("digits"), 4)
    assert [len(spec.edges) for spec in made.spec.layers] == [1, 1, 2, 3]
    with pytest.raises(ConvertError, match=r"3 \(Block\) is not supported"):
        import_network(network("IAND"), data("digits"), name="x", steps=4)


# Refused


def test_all_that_cannot_be_read_is_named_at_once() -> None:
    network = nn.Sequential(
        layer.Linear(64, 20),
        neuron.KLIFNode(),
        layer.SynapseFilter(),
        neuron.PSN(4),
        layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.mul),
        layer.LinearRecurrentContainer(nn.Linear(20, 20), 20, 20),
        layer.TLastMultiStepContainer(nn.Linear(20, 20), neuron.IFNode()),
        layer.BatchNormThroughTime1d(4, 20),
        neuron.NonSpikingLIFNode(),
        layer.Linear(20, 10),
    )
    found = {
        finding.node: finding.refused
        for finding in check(JellyNetwork(network), steps=4, shape=(64,)).findings
    }
    fires = "IFNode, LIFNode, ParametricLIFNode, TernaryIFNode, TernaryLIFNode, SimpleIFNode, "
    fires += "SimpleLIFNode, HalfThresholdIFNode, CUBALIFNode"
    assert {node: text for node, text in found.items() if text} == {
        "1 (KLIFNode)": f"is not one of {fires} (it lets no potential below zero: train with "
        "LIFNode)",
        "2 (SynapseFilter)": "is a synaptic current, a second state beside the potential: train "
        "without",
        "3 (PSN)": f"is not one of {fires} (it sees all steps at once: train with LIFNode)",
        "4 (ElementWiseRecurrentContainer)": "must add what comes back to what it is given "
        "(element_wise_function=torch.add): its function does something else",
        "5 (LinearRecurrentContainer)": "must end in neurons that fire: only spikes can come back, "
        "one step later",
        "6 (TLastMultiStepContainer)": "takes time as its last axis: put its modules into a "
        "MultiStepContainer or a Sequential",
        "7 (BatchNormThroughTime1d)": "has other weights at each step: use BatchNorm1d",
        "8 (NonSpikingLIFNode)": "integrates without firing within the network: it may only end it",
    }


def test_nodes_that_no_neuron_is() -> None:
    several = neuron.ParametricLIFNode()
    several.w = nn.Parameter(torch.zeros(3))
    late = neuron.IFNode()
    late.set_reset_value("v", 1.5)
    for node, sentence in (
        (several, "must have one tau for all its neurons"),
        (late, "must start nearer to its rest than its threshold is, not 1.5 from it"),
        (neuron.IFNode(v_threshold=0.2, v_reset=0.5), "Threshold must be positive and finite"),
        (neuron.TernaryIFNode(v_reset=0.5), "must reset to 0 or by its threshold, not to 0.5"),
        (neuron.CUBALIFNode(v_reset=0.25), "must reset to 0 or by its threshold, not to 0.25"),
        (neuron.CUBALIFNode(c_decay=1.5), "keeps 1.5 of a synaptic current per step"),
    ):
        with pytest.raises(ConvertError, match=sentence):
            lif_parameters(node)


@pytest.mark.parametrize(
    "function",
    [
        torch.mul,
        torch.maximum,
        lambda y, x: x + y + 0.25,
        lambda y, x: x + y.roll(1),
        lambda y, x: x + y.abs(),
        lambda y, x: x[:1],
    ],
)
def test_functions_that_are_no_sums(function: Any) -> None:
    network = row(
        *(layer.Linear(64, 20), layer.ElementWiseRecurrentContainer(neuron.IFNode(), function)),
        layer.Linear(20, 10),
    )
    with pytest.raises(ConvertError, match="must add what comes back to what it is given"):
        import_network(network, data("digits"), name="x", steps=3)


def test_a_node_in_two_places() -> None:
    """Of a loop, and of the row behind it; and a module without a state, which may be."""
    node, linear = neuron.IFNode(), nn.Linear(20, 20)
    network = row(nn.Linear(64, 20), layer.LinearRecurrentContainer(node, 20, 20), linear, node)
    with pytest.raises(ConvertError, match=r"3 \(IFNode\) is 1.sub_module \(IFNode\) once more"):
        import_network(network, data("digits"), name="x", steps=3)

    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(64, 64), neuron.IFNode())
            self.part = layer.MultiStepContainer(*self.inner)
            self.last = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.part(self.part(x)))

    with pytest.raises(ConvertError, match=r"part.1 \(IFNode\).* once more, with one potential"):
        import_network(row(Again())[0], data("digits"), name="x", steps=3)  # type: ignore[index]
    twice = row(nn.Linear(64, 20), node, linear, leaky(), linear, neuron.IFNode())
    matched(twice, data("digits"), 4)


def test_a_file_with_a_loop_by_the_command_line(tmp_path: Path, capsys: Any) -> None:
    torch.save(loops(64, "m")["a matrix, in front of the sum"], tmp_path / "net.pt")
    assert main(["check", str(tmp_path / "net.pt")]) == 0
    told = capsys.readouterr().out
    assert "0 (LinearRecurrentContainer)" in told
    assert "comes back" in told
    assert main(["check", str(tmp_path / "net.pt"), "--dataset", "digits"]) == 0


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("sub_module_out_features", 0, "is damaged"),
        ("sub_module_out_features", 5, "gets 5 values over a loop, and neurons send 20"),
        ("sub_module_out_features", "x", "is damaged"),
        ("sub_module", None, "must end in neurons that fire"),
        ("sub_module", nn.Sequential(), "must end in neurons that fire"),
        ("rc", None, "is damaged"),
        ("rc", nn.Identity(), "is damaged"),
    ],
)
def test_damaged_loops(name: str, value: Any, sentence: str) -> None:
    """As a file may hold them."""
    loop = layer.LinearRecurrentContainer(nn.Sequential(nn.Linear(8, 20), neuron.IFNode()), 8, 20)
    loop._modules.pop(name, None)
    loop.__dict__[name] = value
    first = nn.Linear(64, 23 if value == 5 else 8)  # as many as are left
    network = JellyNetwork(nn.Sequential(first, loop, nn.Linear(20, 10)))
    found = check(network, steps=3, shape=(64,)).findings
    assert any(sentence in finding.refused for finding in found)


def test_damaged_modules() -> None:
    def inside(module: nn.Module, name: str, value: Any) -> nn.Module:
        for held in (module._parameters, module._buffers):
            held.pop(name, None)
        module.__dict__[name] = value
        return nn.Sequential(nn.Linear(64, 8), module, nn.Linear(8, 10))

    cases: list[tuple[nn.Module, str, Any]] = [
        *((layer.VotingLayer(2), "voting_size", value) for value in ("x", 0, None, 1000)),
        *((neuron.IFNode(), "_memories_rv", value) for value in ({}, None, {"v": "x"})),
        *((neuron.IFNode(), "v_threshold", value) for value in ("x", None, torch.ones(3))),
        (neuron.ParametricLIFNode(), "w", torch.tensor(float("nan"))),
        *((layer.WSLinear(8, 8), "weight", value) for value in (None, torch.ones(3))),
        (layer.ThresholdDependentBatchNorm1d(1.0, 1.0, 8), "num_features", 3),
    ]
    for module, name, value in cases:
        checked = check(JellyNetwork(inside(module, name, value)), steps=3, shape=(64,))
        assert checked.refused, (module, name, value)
