"""What docs/import.md says is refused, phrase by phrase, each in one sentence that names it.

(More of them, and what is beside them: `test_snntorch`, `test_jelly_containers`, `test_brevitas`;
of NIR `tests/sw/nir`, of ONNX `tests/sw/onnx`.)
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sw.cli.main import main
from sw.data.dataset import load_split
from sw.frameworks.brevitas import BrevitasNetwork
from sw.frameworks.importing import import_foreign
from sw.frameworks.snntorch import SnnNetwork
from sw.frameworks.spikingjelly import JellyNetwork
from sw.importers.affine import ConvertError
from sw.nir.graph import flat_graph
from sw.nir.network import NirNetwork
from sw.reading.conventions import Conventions
from sw.reading.network import Foreign

nir: Any = pytest.importorskip("nir", reason="the package nir is not installed")
snn: Any = pytest.importorskip("snntorch", reason="the package snntorch is not installed")
ternary: Any = pytest.importorskip("snntorch_ternary", reason="snntorch-ternary is not installed")
quantised: Any = pytest.importorskip("brevitas.nn", reason="brevitas is not installed")
pytest.importorskip("spikingjelly", reason="the package spikingjelly is not installed")
from spikingjelly.activation_based import layer, neuron  # noqa: E402

DOCS = Path(__file__).parents[3] / "docs" / "import.md"
N, STEPS = 6, 4
ONE = np.ones(N)


# NIR


def linear(n: int = N, m: int = N) -> Any:
    return nir.Linear(np.ones((n, m)))


def lif(**own: Any) -> Any:
    given = {"tau": ONE * 1e-3, "r": ONE, "v_leak": ONE * 0, "v_threshold": ONE, "v_reset": ONE * 0}
    return nir.LIF(**{**given, **own})


def of_nir(
    *nodes: Any,
    edges: list[tuple[str, str]] | None = None,
    shape: tuple[int, ...] = (N,),
    more: dict[str, Any] | None = None,
    **said: Any,
) -> Foreign:
    """Nodes "0", "1", .. in a row, unless `edges` say otherwise."""
    names = [str(n) for n in range(len(nodes))]
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array([N]))}
    row = ["input", *names, "output"]
    ways = edges or [*pairwise(row)]
    named = {**ends, **dict(zip(names, nodes, strict=True)), **(more or {})}
    graph = nir.NIRGraph(nodes=named, edges=ways, type_check=False)
    return NirNetwork(flat_graph(graph), Conventions(**said))


def test_a_convolution_that_becomes_a_matrix_is_said_to_be_one() -> None:
    """What its neurons get counts differently in each."""
    conv = nir.Conv2d(None, np.ones((1, 1, 3, 3)), 1, 0, 1, 1, np.zeros(1))
    one = np.ones((1, 3, 3))
    node = nir.LIF(tau=EACH * 1e-3, r=one, v_leak=one * 0, v_threshold=one, v_reset=one * 0)
    foreign = of_nir(conv, node, nir.Flatten(None, start_dim=0), linear(N, 9), shape=(1, 5, 5))
    found = foreign.read(foreign.shape, steps=STEPS, pixel_max=15).findings
    assert found[0].becomes == "part of a matrix of 225 weights into layer_1"


def maps_of(tau: np.ndarray, theta: np.ndarray) -> Foreign:
    """A map of 3x3 whose neurons have constants of their own; what they get counts alike."""
    one, flat = np.ones((1, 3, 3)), nir.Flatten(None, start_dim=0)
    conv = nir.Conv2d(None, np.ones((1, 1, 3, 3)), 1, 0, 1, 1, np.zeros(1))
    node = nir.LIF(
        tau=one * tau, r=one * tau * 1e4, v_leak=one * 0, v_threshold=one * theta, v_reset=one * 0
    )
    return of_nir(conv, node, flat, linear(N, 9), lif(), shape=(1, 5, 5))


CUBA = {"v_leak": ONE * 0, "w_in": ONE, "v_threshold": ONE, "v_reset": ONE * 0}
EACH = np.linspace(1, 2, 9).reshape(1, 3, 3)

NIR: list[tuple[str, Callable[[], Foreign], str]] = [
    (
        "| `CubaLI` |",
        lambda: of_nir(linear(), nir.CubaLI(*(ONE * 1e-3,) * 2, ONE, ONE * 0)),
        "1 (CubaLI) is a readout that leaks, with a synaptic current, which no readout has: end "
        "in an LI, in the Linear before it, or in neurons that fire, which are counted",
    ),
    (
        "| `CubaLIF` with `v_leak` |",
        lambda: of_nir(linear(), nir.CubaLIF(*(ONE * 1e-3,) * 3, **CUBA | {"v_leak": ONE})),
        "1 (CubaLIF) must have v_leak = 0, not 1: of neurons with a synaptic current, a bias is in "
        "the current; count its potentials from there",
    ),
    (
        "`Delay`, `Threshold`,",
        lambda: of_nir(linear(), nir.Delay(ONE), lif()),
        "1 (Delay) delays spikes by times of its own, and only a loop may, by one step: train "
        "without",
    ),
    (
        "`Delay`, `Threshold`,",
        lambda: of_nir(linear(), nir.Threshold(ONE)),
        "1 (Threshold) fires without a potential that stays: use LIF or IF",
    ),
    (
        "`I` and `LI` within |",
        lambda: of_nir(linear(), nir.I(ONE), linear(), lif()),
        "1 (I) integrates without firing within the network: it may only end it",
    ),
    (
        "`I` and `LI` within |",
        lambda: of_nir(linear(), nir.LI(ONE, ONE, ONE * 0), linear(), lif()),
        "1 (LI) integrates without firing within the network: it may only end it",
    ),
    (
        "`v_reset` other than 0;",
        lambda: of_nir(linear(), lif(v_reset=ONE * 0.25)),
        "1 (LIF) must reset to 0, not to 0.25: count its potentials from there",
    ),
    (
        "tau below `dt`;",
        lambda: of_nir(linear(), lif(), dt=0.01),
        "1 (LIF) has tau = 0.001 s, shorter than the time step of 0.01 s: give with --dt the one",
    ),
    (
        "several taus, thresholds with them, in a map",
        lambda: maps_of(EACH * 1e-3, np.ones(1)),
        "1 (LIF) must have one decay for all neurons of a channel: each neuron of a row, or each "
        "map, may have its own",
    ),
    (
        "a loop without spikes, or of the input",
        lambda: of_nir(
            linear(), linear(), lif(),
            edges=[("input", "0"), ("0", "1"), ("1", "0"), ("1", "2"), ("2", "output")],
        ),
        "Network has a loop, 1 -> 0, that brings what was never spikes",
    ),
    (
        "two inputs, two outputs;",
        lambda: of_nir(linear(), lif(), more={"again": nir.Input(np.array([N]))}),
        "Network must have one input, not 2 (input, again)",
    ),
    (
        "two inputs, two outputs;",
        lambda: of_nir(linear(), lif(), more={"also": nir.Output(np.array([N]))}),
        "Network must have one output, not 2 (output, also)",
    ),
    (
        "shapes that do not fit",
        lambda: of_nir(linear(N, 5), lif()),
        "0 (Linear) takes 5 values, and gets 6",
    ),
    (
        "a matrix, which `check` names with its size (at most 2^24 weights)",
        lambda: of_nir(
            nir.Conv2d(None, np.ones((32, 1, 3, 3)), 1, 0, 2, 1, np.zeros(32)),
            nir.IF(*(np.ones((32, 60, 60)),) * 2, np.zeros((32, 60, 60))),
            shape=(1, 64, 64),
        ),
        "0 (Conv2d) ",
    ),
]  # fmt: skip


# snnTorch


class Between(nn.Module):
    """Convolution, neurons, something, Linear, neurons."""

    def __init__(self, between: Any, node: Any = None, last: Any = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.lif1 = node or snn.Leaky(beta=0.5, init_hidden=True)
        self.between, self.flat = between, nn.Flatten()
        size = self.flat(between(torch.ones(1, 2, 6, 6))).shape[1]
        self.fc, self.lif2 = nn.Linear(size, N), last or snn.Leaky(beta=0.5, init_hidden=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lif2(self.fc(self.flat(self.between(self.lif1(self.conv(x))))))


def plain(*nodes: Any) -> Foreign:
    torch.manual_seed(0)
    return SnnNetwork(nn.Sequential(nn.Flatten(), nn.Linear(36, N), *nodes))


def leaky(**options: Any) -> Any:
    return snn.Leaky(**{"beta": 0.5, "init_hidden": True, **options})


def of_snn(*given: Any) -> Foreign:
    return SnnNetwork(Between(*given))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(36, 36), leaky()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lif(self.fc(self.lif(self.fc(x.flatten(1)))))


class Late(nn.Module):
    """Its class is that of the last step's spikes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(36, N), leaky(beta=0.9, threshold=0.7)
        self.potentials = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.lif.reset_mem()
        for _ in range(STEPS):
            spikes = self.lif(self.fc(x.flatten(1)))
        return self.lif.mem if self.potentials else spikes


def of_potentials() -> Foreign:
    module = Late()
    module.potentials = True
    return SnnNetwork(module)


def calling(function: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.lif = nn.Conv2d(1, 2, 3, padding=1), leaky()
            self.fc, self.last = nn.Linear(function(torch.ones(1, 2, 6, 6)).numel(), N), leaky()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.fc(function(self.lif(self.conv(x))).flatten(1)))

    torch.manual_seed(0)
    return Calls()


IDENTITY = nn.Identity()
SNN: list[tuple[str, Callable[[], Foreign], str]] = [
    (
        "`Alpha` and other neurons with a third state;",
        lambda: plain(snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True)),
        "2 (Alpha) has more states than a potential and a synaptic current, which no neuron",
    ),
    (
        "an `alpha` of each neuron,",
        lambda: plain(snn.Synaptic(alpha=torch.linspace(0.5, 0.9, N), beta=0.5, init_hidden=True)),
        "2 (Synaptic) must have one alpha for all its neurons, not 0.5 to 0.9: train one for the",
    ),
    (
        "`beta` or `threshold` that differs within a map;",
        lambda: of_snn(IDENTITY, leaky(beta=torch.linspace(0.5, 0.9, 72).reshape(2, 6, 6))),
        "lif1 (Leaky) must have one reset step for all neurons of a channel",
    ),
    (
        "`beta` or `threshold` that differs within a map;",
        lambda: of_snn(
            IDENTITY,
            leaky(
                beta=torch.tensor([0.5, 0.75]).reshape(2, 1, 1),
                threshold=torch.linspace(0.5, 0.9, 72).reshape(2, 6, 6),
            ),
        ),
        "lif1 (Leaky) must have one threshold for all neurons of a channel",
    ),
    (
        "no reset, but at the end;",
        lambda: of_snn(IDENTITY, leaky(reset_mechanism="none")),
        "lif1 (Leaky) must reset by subtraction or to zero, not go on as it is, unless it comes "
        "last and its potentials are returned",
    ),
    (
        "`Lapicque` that resets to zero",
        lambda: plain(snn.Lapicque(R=2.0, C=4.0, reset_mechanism="zero", init_hidden=True)),
        "2 (Lapicque) resets to zero a step late, and that step's input with it: use",
    ),
    (
        "`inhibition`, `state_quant`;",
        lambda: plain(leaky(inhibition=True)),
        "2 (Leaky) must not let only its largest potential fire: without inhibition",
    ),
    (
        "`inhibition`, `state_quant`;",
        lambda: plain(leaky(state_quant=lambda x: x)),
        "2 (Leaky) must not round its states (state_quant): Sterna rounds by itself",
    ),
    (
        "max pooling;",
        lambda: of_snn(nn.MaxPool2d(2)),
        "between (MaxPool2d) is not supported (pool with AvgPool2d)",
    ),
    (
        "what a `forward` computes between its modules",
        lambda: SnnNetwork(calling(lambda x: F.avg_pool2d(x, 2))),
        "fc (Linear) gets something else than what lif (Leaky) made: what a forward computes "
        "between its modules must be a module of it (Flatten, AvgPool2d, a Linear)",
    ),
    (
        "bounds by name (`clamp`, `where`, ..)",
        lambda: SnnNetwork(calling(lambda x: x.clamp(0, 1))),
        "Network must not bound values (clamp) between its modules: on images that do not reach",
    ),
    (
        "`spike_grad` that is no step;",
        lambda: plain(leaky(spike_grad=torch.sigmoid)),
        "2 (Leaky) must send spikes of 1, not 0.731059 and 0.268941: its spike_grad does",
    ),
    (
        "a module that runs twice in a step, or not in each;",
        lambda: SnnNetwork(Twice()),
        "fc (Linear) and lif (Leaky) run several times in a step: use a module for each place",
    ),
    (
        "classes by potentials that reset, or",
        of_potentials,
        "lif (Leaky) comes last, and the forward returns neither what it makes, nor the sum or "
        "mean over all time steps: of neurons that reset, spikes are read, not potentials",
    ),
    (
        "by spikes of the last step alone.",
        lambda: SnnNetwork(Late()),
        "lif (Leaky) comes last, and the forward returns neither what it makes, nor the sum or "
        "mean over all time steps",
    ),
    (
        "`RSynaptic`, which cannot (1.0.0), not at all",
        lambda: plain(
            snn.RSynaptic(
                alpha=0.5, beta=0.5, linear_features=N, reset_mechanism="zero", init_hidden=True
            )
        ),
        "2 (RSynaptic) resets to zero a step late, and that step's input with it",
    ),
]


# SpikingJelly, Brevitas


def jelly(*modules: Any) -> Foreign:
    return JellyNetwork(nn.Sequential(layer.Flatten(), layer.Linear(36, N), *modules))


def maps(*modules: Any) -> Foreign:
    return JellyNetwork(nn.Sequential(layer.Conv2d(1, 4, 3), *modules))


def twice() -> Foreign:
    node = neuron.IFNode()
    return jelly(node, layer.Linear(N, N), node, layer.Linear(N, N))


def counted(*options: Any, **own: Any) -> Foreign:
    layers = (quantised.QuantLinear(36, N, bias=True, weight_bit_width=4), *options)
    last = quantised.QuantLinear(N, N, bias=True, weight_bit_width=4, **own)
    return BrevitasNetwork(nn.Sequential(nn.Flatten(), *layers, last))


OTHERS: list[tuple[str, Callable[[], Foreign], str]] = [
    *(
        (
            "nodes with another law (`KLIFNode`, `ILIFNode`, `PSN`, `IzhikevichNode`, ..)",
            lambda kind=kind, options=options: jelly(getattr(neuron, kind)(**options)),
            f"({kind}) is not one of IFNode, LIFNode,",
        )
        for kind, options in (
            ("KLIFNode", {}),
            ("ILIFNode", {}),
            ("PSN", {"T": STEPS}),
            ("IzhikevichNode", {}),
            ("QIFNode", {}),
            ("GatedLIFNode", {"T": STEPS}),
        )
    ),
    (
        "a `NonSpikingLIFNode` within, or without a `decode` of these three;",
        lambda: jelly(neuron.NonSpikingLIFNode(), layer.Linear(N, N)),
        "2 (NonSpikingLIFNode) integrates without firing within the network: it may only end it",
    ),
    (
        "a `NonSpikingLIFNode` within, or without a `decode` of these three;",
        lambda: jelly(neuron.IFNode(), layer.Linear(N, N), neuron.NonSpikingLIFNode()),
        "4 (NonSpikingLIFNode) must say what is read of its potentials, decode='last_mem', "
        "'mean-mem' or 'max-mem', not None",
    ),
    (
        "one node in two places, which has one potential for both;",
        twice,
        "is 2 (IFNode) once more, with one potential for both: use a node for each",
    ),
    (
        "loops that do not end in neurons,",
        lambda: jelly(layer.LinearRecurrentContainer(nn.Linear(N, N), N, N)),
        "must end in neurons that fire: only spikes can come back, one step later",
    ),
    (
        "or do more than add;",
        lambda: jelly(layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.mul)),
        "must add what comes back to what it is given (element_wise_function=torch.add)",
    ),
    (
        "`TLast..` containers (time must come first);",
        lambda: jelly(layer.TLastMultiStepContainer(nn.Linear(N, N), neuron.IFNode())),
        "takes time as its last axis: put its modules into a MultiStepContainer or a Sequential",
    ),
    *(
        (phrase, lambda module=module: jelly(neuron.IFNode(), module), sentence)
        for phrase, module, sentence in (
            ("`SynapseFilter`,", layer.SynapseFilter(), "is a synaptic current, a second state"),
            ("`Delay`, `NeuNorm`,", layer.Delay(1), "delays values by steps of their own"),
            ("`Delay`, `NeuNorm`,", layer.NeuNorm(1, 2, 3), "adds what other channels sent"),
            (
                "`BatchNormThroughTime..`",
                layer.BatchNormThroughTime1d(STEPS, N),
                "has other weights at each step: use BatchNorm1d",
            ),
            (
                "`TemporalEffectiveBatchNorm..`",
                layer.TemporalEffectiveBatchNorm1d(STEPS, N),
                "scales each step in its own way: use BatchNorm1d",
            ),
        )
    ),
    (
        "max pooling, attention.",
        lambda: maps(neuron.IFNode(), layer.MaxPool2d(2)),
        "2 (MaxPool2d) is not supported (pool with AvgPool2d)",
    ),
    (
        "max pooling, attention.",
        lambda: maps(layer.MultiDimensionalAttention(STEPS, 4, 2, 2)),
        "1 (MultiDimensionalAttention) is not supported",
    ),
    (
        "Refused: more than 4 bits,",
        lambda: counted(quantised.QuantReLU(bit_width=5)),
        "2 (QuantReLU) must have at most 4 bits, not 5: train it with bit_width=4",
    ),
    (
        "other activations, a `QuantIdentity` behind others.",
        lambda: counted(quantised.QuantSigmoid(bit_width=4)),
        "2 (QuantSigmoid) is not supported",
    ),
    (
        "other activations, a `QuantIdentity` behind others.",
        lambda: counted(quantised.QuantReLU(bit_width=4), quantised.QuantIdentity(bit_width=4)),
        "3 (QuantIdentity) ",
    ),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature")
@pytest.mark.parametrize(
    ("phrase", "made", "sentence"),
    [*NIR, *SNN, *OTHERS],
    ids=[f"{n}-{row[2][:40]}" for n, row in enumerate([*NIR, *SNN, *OTHERS])],
)
def test_what_is_refused_is_said_in_a_sentence(
    phrase: str, made: Callable[[], Foreign], sentence: str
) -> None:
    steps = 1 if "Quant" in sentence else STEPS

    def read() -> None:
        foreign = made()
        foreign.read(foreign.shape or (1, 6, 6), steps=steps, pixel_max=15).require()

    with pytest.raises(ConvertError) as error:
        read()
    said = str(error.value)
    assert sentence in said
    assert said[0].isupper()
    assert "\n" not in said
    assert not said.endswith(".")
    assert phrase in " ".join(DOCS.read_text().split())


# Data, and the command line


def saved(tmp_path: Path) -> Path:
    """A state_dict of snnTorch, in a folder and a file with spaces."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(36, N), snn.Leaky(beta=0.5, init_hidden=True))
    (tmp_path / "my nets").mkdir()
    torch.save(module.state_dict(), tmp_path / "my nets" / "net one.pt")
    return tmp_path / "my nets" / "net one.pt"


def test_a_data_set_of_nothing(tmp_path: Path, capsys: Any) -> None:
    path, own = saved(tmp_path), tmp_path / "own.npz"
    none, some = (np.zeros((0, 36)), np.zeros(0, int)), (np.eye(36)[:12], np.arange(12) % N)
    for (x, y), (x_test, y_test) in ((none, some), (some, none)):
        np.savez(own, x=x, y=y, x_test=x_test, y_test=y_test)
        assert main(["import", str(path), "--data", str(own), "--name", "net"]) == 1
        assert "must have at least one example, not none" in capsys.readouterr().err


def test_a_split_of_nothing() -> None:
    split = load_split("digits", "test", 4)
    nothing = replace(split, images=split.images[:0], labels=split.labels[:0])
    with pytest.raises(ConvertError) as error:
        import_foreign(plain(leaky()), nothing, name="x", steps=STEPS)
    assert str(error.value) == "Data set digits must have images to compare on, not none"


def test_what_comes_next_can_be_pasted(tmp_path: Path, capsys: Any) -> None:
    """Names with spaces are quoted; `check` says which width stands for auto."""
    path = saved(tmp_path)
    own, out = tmp_path / "my data.npz", tmp_path / "my nets" / "made.npz"
    np.savez(own, x=np.random.default_rng(0).random((60, 36)), y=np.arange(60) % N)
    given = ["--data", str(own), "--name", "made", "--out", str(out), "--steps", "2"]
    assert main(["import", str(path), *given]) == 0
    told = capsys.readouterr().out
    assert f"next: sterna sim '{out}' --data '{own}'" in told
    assert main(["check", str(path), "--weight-bits", "auto"]) == 0
    assert "8 bits here: auto is found by sterna import" in capsys.readouterr().out
    assert main(["check", str(path), "--weight-bits", "8"]) == 0
    assert "auto" not in capsys.readouterr().out
