"""NIR files: what is read of them computes what they compute; what cannot be is named.

Where weights lie on a grid and decays are rows of the contract, the integers are the very network:
every spike and every output of the golden model is that of the NIR graph, run as it is written.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gen.core.plan import plan_network
from hw.contract.checks import SpecError
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from sim.bench.run import simulate
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.frameworks.check import check
from sw.frameworks.grid import common_step
from sw.frameworks.importing import import_foreign
from sw.frameworks.integers import integers_of
from sw.importers.affine import ConvertError
from sw.nir.euler import simulate as run_as_written
from sw.nir.export import export_nir, nir_graph
from sw.nir.graph import Graph, flat_graph, read_nir
from sw.nir.network import NirNetwork, layer_names
from sw.reading.conventions import Conventions
from sw.reading.network import Membrane

nir = pytest.importorskip("nir", reason="the package nir is not installed")

DT = 1e-4
STEPS = 5
Nodes = dict[str, Any]
Edges = list[tuple[str, str]]


@pytest.fixture(scope="module")
def digits() -> Split:
    data = load_split("digits", "test", 4)
    return replace(data, images=data.images[:120], labels=data.labels[:120])


def on_grid(*shape: int, seed: int = 0, most: int = 7) -> np.ndarray:
    """Weights that are multiples of 1/8."""
    return np.random.default_rng([seed, *shape]).integers(-most, most + 1, shape) / 8


def integrate(*shape: int, theta: float = 1.5, r: float = 1.0) -> Any:
    one = np.ones(shape)
    return nir.IF(r=one * r, v_threshold=one * theta, v_reset=one * 0)


def leaky(*shape: int, kept: float = 0.5, theta: float = 1.5, leak: float = 0.0) -> Any:
    """R is such that the input counts once."""
    one, tau = np.ones(shape), DT / (1 - kept)
    return nir.LIF(
        tau=one * tau, r=one * tau / DT, v_leak=one * leak, v_threshold=one * theta, v_reset=one * 0
    )


def cuba(*shape: int, kept: float = 0.5, current: float = 0.5, theta: float = 2.5) -> Any:
    """R and w_in are such that the input counts once."""
    one, mem, syn = np.ones(shape), DT / (1 - kept), DT / (1 - current)
    return nir.CubaLIF(
        tau_syn=one * syn,
        tau_mem=one * mem,
        r=one * mem / DT,
        v_leak=one * 0,
        v_threshold=one * theta,
        v_reset=one * 0,
        w_in=one * syn / DT,
    )


def chain(*nodes: Any, shape: Sequence[int] = (64,), outputs: int = 10) -> Any:
    """Nodes one after the other, with names as nirtorch gives them and edges out of order."""
    named = {str(n): node for n, node in enumerate(nodes)}
    last = str(len(nodes) - 1)
    edges = [(str(n), str(n + 1)) for n in range(len(nodes) - 1)]
    return graph(named, [*edges[::-1], (last, "output"), ("input", "0")], shape, outputs)


def graph(nodes: Nodes, edges: Edges, shape: Sequence[int] = (64,), outputs: int = 10) -> Any:
    ends = {"output": nir.Output(np.array([outputs])), "input": nir.Input(np.array(shape))}
    made = nir.NIRGraph(nodes={**ends, **nodes}, edges=edges, type_check=False)
    with suppress(ValueError, AssertionError):  # it fills in shapes, without which none is written
        nir.NIRGraph(nodes={**ends, **nodes}, edges=[*edges])
    return made


def conv(
    out: int, into: int, kernel: Any, stride: int = 1, padding: Any = 0, groups: int = 1
) -> Any:
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    weight = on_grid(out, into // groups, *sides)
    return nir.Conv2d(None, weight, stride, padding, 1, groups, on_grid(out))


def pool(kind: str, side: int, stride: int | None = None) -> Any:
    sides = [np.array([n, n]) for n in (side, stride or side, 0)]
    return getattr(nir, kind)(*sides)


def dense(*neurons: Any) -> Any:
    first = nir.Affine(on_grid(16, 64), on_grid(16))
    return chain(
        first, neurons[0], nir.Linear(on_grid(12, 16)), neurons[1], nir.Linear(on_grid(10, 12))
    )


def recurrent() -> Any:
    nodes = {
        "fc": nir.Linear(on_grid(12, 64)),
        "lif.a": integrate(12),
        "lif.w_rec": nir.Affine(on_grid(12, 12, seed=1), on_grid(12)),
        "out": nir.Linear(on_grid(10, 12)),
    }
    edges = [("lif.w_rec", "lif.a"), ("out", "output"), ("input", "fc"), ("fc", "lif.a")]
    return graph(nodes, [*edges, ("lif.a", "out"), ("lif.a", "lif.w_rec")])


def inner_graph() -> Any:
    """As snnTorch writes a recurrent layer."""
    inner = nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([12])),
            "lif": integrate(12),
            "w_rec": nir.Linear(on_grid(12, 12, seed=1)),
            "output": nir.Output(np.array([12])),
        },
        edges=[("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    nodes = {"fc": nir.Linear(on_grid(12, 64)), "rnn": inner, "out": nir.Linear(on_grid(10, 12))}
    edges = [("input", "fc"), ("fc", "rnn"), ("rnn", "out"), ("out", "output")]
    return graph(nodes, edges)


def recurrent_currents() -> Any:
    made = inner_graph()
    made.nodes["rnn"].nodes["lif"] = cuba(12, current=0.75, theta=4.5)
    return made


def feedback() -> Any:
    """From a later layer to an earlier one, and from the input to both."""
    nodes = {
        "a": nir.Linear(on_grid(12, 64)),
        "one": integrate(12),
        "b": nir.Linear(on_grid(9, 12)),
        "c": nir.Linear(on_grid(9, 64, most=1)),
        "two": integrate(9, theta=2.0),
        "back": nir.Linear(on_grid(12, 9)),
        "out": nir.Linear(on_grid(10, 9)),
    }
    edges = [("input", "a"), ("a", "one"), ("one", "b"), ("b", "two"), ("input", "c"), ("c", "two")]
    return graph(
        nodes, [*edges, ("two", "back"), ("back", "one"), ("two", "out"), ("out", "output")]
    )


def residual() -> Any:
    nodes = {
        "stem": conv(4, 1, 3, padding=1),
        "n1": integrate(4, 8, 8),
        "inner": conv(4, 4, 3, padding=1, groups=2),
        "n2": integrate(4, 8, 8),
        "pool": pool("SumPool2d", 2),
        "flat": nir.Flatten(None, start_dim=0),
        "out": nir.Affine(on_grid(10, 64), on_grid(10)),
    }
    edges = [("input", "stem"), ("stem", "n1"), ("n1", "inner"), ("inner", "n2"), ("n1", "n2")]
    tail = [("n2", "pool"), ("pool", "flat"), ("flat", "out"), ("out", "output")]
    return graph(nodes, [*tail, *edges], (1, 8, 8))


def conv_pools() -> Any:
    flat = nir.Flatten(np.array([8, 2, 2]), start_dim=0)
    return chain(
        conv(4, 1, 3, padding=1),
        integrate(4, 8, 8),
        pool("AvgPool2d", 2),
        conv(8, 4, 3, padding=1),
        integrate(8, 4, 4),
        pool("SumPool2d", 2),
        flat,
        nir.Linear(on_grid(10, 32)),
        shape=(1, 8, 8),
    )


def matrices() -> Any:
    """What no convolution of the contract does: pooling before the neurons, an even kernel, squares
    that overlap."""
    return chain(
        conv(2, 1, 3),
        pool("SumPool2d", 2),
        integrate(2, 3, 3),
        conv(3, 2, 2),
        integrate(3, 2, 2),
        pool("SumPool2d", 2, 1),
        nir.Flatten(None, start_dim=0),
        nir.Linear(on_grid(10, 3)),
        shape=(1, 8, 8),
    )


def signals() -> Any:
    """Conv1d: convolutions of maps of one row."""
    return chain(
        nir.Conv1d(None, on_grid(3, 4, 5), 1, 2, 1, 1, on_grid(3)),
        integrate(3, 16),
        nir.Conv1d(None, on_grid(4, 3, 4), 2, 0, 1, 1, on_grid(4)),
        integrate(4, 7),
        nir.Flatten(None, start_dim=0),
        nir.Linear(on_grid(10, 28)),
        shape=(4, 16),
    )


def own_parameters() -> Any:
    """Thresholds, R and v_leak of each neuron's own; powers of two, so that grids remain."""
    theta = 2.0 ** np.arange(-1, 3).repeat(4)
    r = 2.0 ** np.arange(-2, 2).repeat(4)[::-1] * 2
    lif = nir.LIF(
        tau=np.full(16, 2 * DT), r=r, v_leak=theta / 4, v_threshold=theta, v_reset=theta * 0
    )
    first = nir.Linear(on_grid(16, 64, most=1))
    return chain(first, lif, nir.Scale(np.full(16, 2.0)), nir.Linear(on_grid(10, 16)))


def each_decays(kept: Any, theta: Any = 1.5) -> Any:
    """Each neuron keeps a part of its own; R is such that the input counts once."""
    kept = np.asarray(kept)
    return nir.LIF(
        tau=DT / (1 - kept),
        r=1 / (1 - kept),
        v_leak=kept * 0,
        v_threshold=kept * 0 + theta,
        v_reset=kept * 0,
    )


def own_decays() -> Any:
    """Of each neuron, in quarters; and thresholds that lie on the grid as they are."""
    return dense(
        each_decays(np.tile([0.25, 0.5, 0.75, 0.0], 4), np.linspace(1, 2.5, 4).repeat(4)),
        each_decays(np.tile([0.25, 0.75], 6)),
    )


def maps_that_decay() -> Any:
    """Of each channel."""
    return chain(
        conv(3, 1, 3),
        each_decays(np.array([0.25, 0.5, 0.75]).repeat(36).reshape(3, 6, 6)),
        nir.Flatten(None, start_dim=0),
        nir.Linear(on_grid(10, 108)),
        shape=(1, 8, 8),
    )


def counting() -> Any:
    """Ends in neurons, whose spikes count."""
    return chain(nir.Linear(on_grid(10, 64)), integrate(10))


def integrating() -> Any:
    return chain(
        nir.Linear(on_grid(12, 64)), integrate(12), nir.Linear(on_grid(10, 12)), nir.I(np.ones(10))
    )


EXACT: dict[str, tuple[Callable[[], Any], bool]] = {
    "dense": (lambda: dense(integrate(16), integrate(12)), False),
    "shift": (lambda: dense(leaky(16), leaky(12, kept=0.25)), True),
    "leak": (lambda: dense(leaky(16, kept=0.75), leaky(12, kept=0.75)), True),
    "v_leak": (lambda: dense(leaky(16, leak=0.5), leaky(12, leak=-0.5)), True),
    "currents": (lambda: dense(cuba(16), cuba(12, kept=0.75, current=0.25)), True),
    "recurrent currents": (recurrent_currents, True),
    "recurrent": (recurrent, False),
    "inner graph": (inner_graph, False),
    "feedback": (feedback, False),
    "residual": (residual, False),
    "conv, pools": (conv_pools, False),
    "matrices": (matrices, False),
    "signals": (signals, False),
    "own parameters": (own_parameters, True),
    "own decays": (own_decays, True),
    "own decays of maps": (maps_that_decay, True),
    "counting": (counting, False),
    "integrating": (integrating, False),
}
"""Networks that lose nothing, and whether they decay."""


def written(made: Any, folder: Path) -> Path:
    nir.write(folder / "net.nir", made)
    return folder / "net.nir"


def read(made: Any, folder: Path, **conventions: Any) -> NirNetwork:
    return NirNetwork(read_nir(written(made, folder)), Conventions(**conventions))


def test_signals_are_maps_of_one_row(tmp_path: Path) -> None:
    folded = read(signals(), tmp_path).read((4, 1, 16), steps=STEPS, pixel_max=15).require()
    edges = [edge for layer in folded.layers for edge in layer.edges if edge.kind == "conv"]
    assert [(edge.kernel, edge.stride, edge.padding) for edge in edges] == [
        ((1, 5), 1, (0, 2)),
        ((1, 4), (1, 2), 0),
    ]


@pytest.mark.parametrize("fires_at", ["gt", "ge"])
@pytest.mark.parametrize("name", EXACT)
def test_nothing_is_lost(digits: Split, tmp_path: Path, name: str, fires_at: str) -> None:
    make, decays = EXACT[name]
    foreign = read(make(), tmp_path, fires_at=fires_at)
    network, report = import_foreign(foreign, digits, name="x", steps=STEPS, exact_decay=decays)
    for layer in (*report.before, *report.after):
        assert layer.equal == layer.compared
        assert layer.shown
        assert layer.both == layer.either > 0
    for membranes in (*report.membranes_before, *report.membranes_after):
        assert membranes.compared > 0
        assert membranes.largest < 1e-5, membranes
    assert report.agreement.hits == report.agreement.n == len(digits)
    assert all(told.endswith("kept as they are") for told in report.weights.values())
    x = torch.from_numpy(digits.images).double() / 15
    outputs = foreign.run(x, STEPS).outputs.numpy()
    logits = GoldenModel(network).run(digits.images).logits
    (unit,) = np.unique(np.round(logits[logits != 0] / outputs[logits != 0], 6))
    assert np.allclose(logits, outputs * unit)
    assert 0.01 < report.after[0].either / report.after[0].compared < 0.99


@pytest.mark.parametrize("reset", ["zero", "subtract", "subtract-later"])
@pytest.mark.parametrize("kept", [1.0, 0.5, 0.75])
def test_resets(digits: Split, tmp_path: Path, reset: str, kept: float) -> None:
    """Three networks, not one: and each is the one that it says."""
    theta = 1.5  # 1.5 / 0.75 = 2
    node = integrate if kept == 1 else lambda n: leaky(n, kept=kept, theta=theta)
    made = dense(node(16), node(12))
    spikes = {}
    for other in ("zero", "subtract", "subtract-later"):
        foreign = read(made, tmp_path, reset=other)
        network, report = import_foreign(
            foreign, digits, name="x", steps=STEPS, exact_decay=kept != 1
        )
        assert all(layer.equal == layer.compared for layer in report.after)
        spikes[other] = GoldenModel(network).run(digits.images).spikes[1]
    same = [other for other in spikes if np.array_equal(spikes[other], spikes[reset])]
    assert same == ([reset] if kept < 1 or reset == "zero" else ["subtract", "subtract-later"])


def test_nothing_is_subtracted_late_of_what_is_not_kept(digits: Split, tmp_path: Path) -> None:
    made = dense(leaky(16, kept=0.0), leaky(12))
    foreign = read(made, tmp_path, reset="subtract-later")
    with pytest.raises(ConvertError, match=r"\(LIF\) subtracts a step late from what is not kept"):
        import_foreign(foreign, digits, name="x", steps=STEPS)


@pytest.mark.parametrize("reset", ["zero", "subtract", "subtract-later"])
def test_resets_of_decays_that_differ(digits: Split, tmp_path: Path, reset: str) -> None:
    """A spike subtracts a step later, from what each neuron keeps by itself."""
    node = each_decays(np.array([0.5, 0.75]).repeat(8), np.array([1.5, 3.0, 0.75, 1.5] * 4))
    made = chain(nir.Linear(on_grid(16, 64)), node, nir.Linear(on_grid(10, 16)))
    foreign = read(made, tmp_path, reset=reset)
    network, report = import_foreign(foreign, digits, name="x", steps=STEPS, exact_decay=True)
    assert network.factors[0] is not None
    assert network.factors[0].tolist() == [2] * 8 + [3] * 8
    assert all(layer.equal == layer.compared for layer in (*report.before, *report.after))


def test_the_least_threshold_has_bits_enough(tmp_path: Path) -> None:
    """Of thresholds that differ: 120 to 300 steps of 1/15 of an eighth, twelve bits for the first;
    who fires above a threshold needs one more."""
    folded = read(own_decays(), tmp_path).read((64,), steps=STEPS, pixel_max=15).require()
    network = integers_of(folded, name="x", weight_bits=8, pixel_bits=4).to_network()
    assert network.thetas[0] is not None
    assert sorted({*network.thetas[0].tolist()})[::3] == [(120 << 5) + 1, (300 << 5) + 1]


def test_ties_are_the_users_word(digits: Split, tmp_path: Path) -> None:
    """White pixels on weights of 1/2: the potential comes to the threshold exactly."""
    made = chain(nir.Linear(np.eye(64)[:10] / 2), integrate(10, theta=1.0))
    data = replace(digits, images=np.full_like(digits.images, 15))
    counts = {}
    for fires_at in ("gt", "ge"):
        network, _ = import_foreign(
            read(made, tmp_path, fires_at=fires_at), data, name="x", steps=6
        )
        counts[fires_at] = int(GoldenModel(network).run(data.images).logits[0, 0])
    assert counts == {"gt": 2, "ge": 3}  # after 3, 6 steps; after 2, 4, 6


def test_what_is_rounded_is_said(digits: Split, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    made = chain(
        nir.Affine(rng.normal(size=(24, 64)).astype(np.float32) / 3, rng.normal(size=24) / 9),
        leaky(24, theta=1.0),
        nir.Linear(rng.normal(size=(10, 24)).astype(np.float32)),
        leaky(10, theta=1.0),
    )
    agreed = {}
    for bits in (8, 3):
        _, report = import_foreign(
            read(made, tmp_path), digits, name="x", steps=8, weight_bits=bits
        )
        assert all(layer.equal == layer.compared for layer in report.before)
        assert f"rounded to {bits} bits" in report.weights["layer_1"]
        agreed[bits] = report.after[0].jaccard
        assert report.after[0].equal == report.after[0].compared - report.unlike_float[0][0]
    assert 0.98 < agreed[8] < 1
    assert agreed[3] < agreed[8]


@pytest.mark.parametrize("reset", ["zero", "subtract", "subtract-later"])
@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (0.9, "keeps 0.899902 (1843/2048) of a potential per step, not 0.9: -9.8e-05"),
        (0.9999, "keeps 0.999878 (1 - 1/8192) of a potential per step, not 0.9999: -2.2e-05"),
        (0.75 + 9e-7, ""),  # as near as float32
    ],
)
def test_other_decays(digits: Split, tmp_path: Path, kept: float, said: str, reset: str) -> None:
    """The twin keeps the very part, the integers the nearest that the contract has."""
    made = dense(leaky(16, kept=kept), leaky(12, kept=kept))
    foreign = read(made, tmp_path, reset=reset)
    _, report = import_foreign(foreign, digits, name="x", steps=STEPS)
    assert {f.approximated for f in report.findings if "LIF" in f.node} == {said}
    for before, after in zip(report.before, report.after, strict=True):
        assert before.equal == before.compared
        assert before.either > 0
        assert after.jaccard > 0.97


def test_what_keeps_nothing(digits: Split, tmp_path: Path) -> None:
    """tau = dt: each step for itself."""
    made = dense(leaky(16, kept=0.0), leaky(12, kept=0.0))
    foreign = read(made, tmp_path)
    _, report = import_foreign(foreign, digits, name="x", steps=STEPS)
    assert all(layer.equal == layer.compared and layer.either for layer in report.after)


def test_fewest_bits(digits: Split, tmp_path: Path) -> None:
    """Weights of three bits: more are not needed, fewer are not enough."""
    most = 3
    first = nir.Linear(on_grid(16, 64, most=most))
    made = chain(first, integrate(16), nir.Linear(on_grid(10, 16, most=most)))
    network, report = import_foreign(
        read(made, tmp_path), digits, name="x", steps=STEPS, weight_bits=None
    )
    assert network.spec.layers[0].weight_bits == 3
    assert report.agreement.hits == len(digits)


def test_fewest_bits_where_the_most_have_no_room(digits: Split, tmp_path: Path) -> None:
    """Thresholds of 16-bit weights would be too wide; those of fewer bits are not."""
    weights = np.random.default_rng(0).normal(size=(16, 64))
    first = nir.Affine(weights, np.linspace(2e4, 6e4, 16) * weights.max())
    fire = nir.IF(**{k: np.full(16, v) for k, v in (("r", 1.0), ("v_threshold", 1.2e5))})
    foreign = read(chain(first, fire, nir.Linear(on_grid(10, 16))), tmp_path)
    options: dict[str, Any] = {"name": "x", "steps": STEPS}
    with pytest.raises(SpecError, match="Threshold must be an integer from 1 to"):
        import_foreign(foreign, digits, weight_bits=16, **options)
    network, report = import_foreign(foreign, digits, weight_bits=None, **options)
    assert 2 <= network.spec.layers[0].weight_bits < 16
    assert report.after[0].either > 0
    assert report.agreement.share >= 0.99


def test_the_hardware_computes_the_same(digits: Split, tmp_path: Path) -> None:
    foreign = read(recurrent(), tmp_path)
    network, _ = import_foreign(foreign, digits, name="x", steps=STEPS)
    assert sorted(edge.delay for edge in network.spec.layers[0].edges) == [0, 1]
    classes = foreign.run(torch.from_numpy(digits.images[:12]).double() / 15, STEPS).outputs
    report = simulate(
        plan_network(network), digits.images[:12], classes.argmax(dim=1).numpy(), tmp_path / "sim"
    )
    assert report["mismatches"] == 0, report["first_mismatch"]
    assert report["correct_rtl"] == 12


# Other frameworks' own files


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RSynaptic"])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_snntorch_writes_and_runs(digits: Split, tmp_path: Path, reset: str, kind: str) -> None:
    """Its own module, step by step, beside the integers of its NIR file."""
    snn = pytest.importorskip("snntorch", reason="the package snntorch is not installed")
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(4)
    late, current = reset == "subtract", {}
    if kind == "RSynaptic" and not late:
        pytest.skip("snnTorch's RSynaptic cannot reset at once")

    def leaky_of(n: int, output: bool = False) -> Any:
        if kind != "Leaky":
            current["alpha"] = torch.full((n,), 0.5)
        if kind == "RSynaptic":
            current["linear_features"] = n
        return getattr(snn, kind)(
            **current,
            beta=torch.full((n,), 0.75),
            threshold=torch.full((n,), 0.5),
            init_hidden=True,
            output=output,
            reset_mechanism=reset,
            reset_delay=late,
        )

    module: Any = torch.nn.Sequential(
        torch.nn.Linear(64, 24), leaky_of(24), torch.nn.Linear(24, 10), leaky_of(10, output=True)
    )
    with torch.no_grad():
        module[2].weight.mul_(3)
    made = export_to_nir(module, torch.zeros(1, 64), ignore_dims=[0])
    foreign = read(made, tmp_path, reset="subtract-later" if late else "zero")
    network, report = import_foreign(foreign, digits, name="x", steps=8)
    x = torch.from_numpy(digits.images).float() / 15
    for layer in (module[1], module[3]):
        layer.reset_mem()
    with torch.no_grad():
        counts: Any = sum(module(x)[0] for _ in range(8))
    ours = foreign.run(x.double(), 8).outputs
    assert float((ours == counts).double().mean()) > 0.999
    # What 8 bits round comes back, where it comes back.
    assert report.after[0].jaccard > (0.7 if kind == "RSynaptic" else 0.95)
    classes = GoldenModel(network).classify(digits.images)
    assert np.mean(classes == counts.argmax(dim=1).numpy()) > 0.9


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("kind", ["LIFBoxCell", "IAFCell"])
@pytest.mark.parametrize("shape", [(64,), (1, 64), (1, 8, 8)], ids=str)
def test_norse_writes_and_runs(
    digits: Split, tmp_path: Path, shape: tuple[int, ...], kind: str, reset: str
) -> None:
    """Its own module beside its NIR file, which has the shape of sample data, a batch with it."""
    norse = pytest.importorskip("norse.torch", reason="the package norse is not installed")
    from norse.torch.functional.reset import reset_subtract, reset_value
    from norse.torch.utils.export_nir import to_nir

    torch.manual_seed(5)
    leaks, maps = kind == "LIFBoxCell", len(shape) == 3
    if reset == "subtract" and not leaks:
        pytest.skip("Norse's IAFCell resets to a value")

    def cell(*sizes: int) -> Any:
        one = torch.ones(sizes if maps else 1)
        if not leaks:
            return norse.IAFCell(norse.IAFParameters(v_th=one, v_reset=0 * one))
        parameters = norse.LIFBoxParameters(
            tau_mem_inv=250 * one,
            v_leak=0 * one,
            v_th=one / 8,
            v_reset=0 * one,
            reset_method={"zero": reset_value, "subtract": reset_subtract}[reset],
        )
        return norse.LIFBoxCell(parameters)

    first = torch.nn.Conv2d(1, 4, 3) if maps else torch.nn.Linear(64, 24)
    last = torch.nn.Conv2d(4, 10, 6) if maps else torch.nn.Linear(24, 10)
    with torch.no_grad():
        last.weight.mul_(3)
    module = norse.SequentialState(first, cell(4, 6, 6), last, cell(10, 1, 1))
    made: Any = to_nir(module, torch.zeros(shape))
    if maps:
        made.infer_types()  # without it, nir writes no convolution
    foreign = read(made, tmp_path, dt=1e-6, reset=reset)
    network, report = import_foreign(foreign, digits, name="x", steps=8)
    x, state = torch.from_numpy(digits.images).double().reshape(-1, *shape[-3:]) / 15, None
    counts: Any = 0.0
    held: list[Any] = []
    module.double()
    for layer in (module[1], module[3]):  # double() leaves out what is no parameter of torch
        layer.p = type(layer.p)(
            *(v.detach().double() if isinstance(v, torch.Tensor) else v for v in layer.p)
        )
    with torch.no_grad():
        for _ in range(8):
            spikes, state = module(x if maps else x.reshape(-1, 64), state)
            counts = counts + spikes.flatten(1)
            held.append([each.v.flatten(1) for each in state if each is not None])
    assert counts.max() > 1
    ran = foreign.run(x, 8)
    for membrane, own in zip(ran.membranes, zip(*held, strict=True), strict=True):
        assert isinstance(membrane, Membrane)
        v = torch.stack(own) * (8 if leaks else 1)  # in thresholds
        assert float(((membrane.values - v).abs() < 1e-4).double().mean()) > 0.999
        assert v.std() > 0.05
    assert float((ran.outputs == counts).double().mean()) > 0.999
    assert all(layer.equal == layer.compared for layer in report.before)
    assert report.after[0].jaccard > 0.9
    classes = GoldenModel(network).classify(digits.images)
    assert np.mean(classes == counts.argmax(dim=1).numpy()) > 0.9


SINABS = {
    "IAF": ({}, {"reset": "subtract"}, True),
    "IAF, to zero": ({"reset_fn": "MembraneReset"}, {"reset": "zero"}, True),
    "LIF": ({"tau_mem": 5.0}, {"reset": "subtract", "dt": 5 * (1 - np.exp(-1 / 5))}, True),
    "LIF, dt of a step": ({"tau_mem": 5.0}, {"reset": "subtract", "dt": 1.0}, False),
    "LIF, inputs as they are": (
        {"tau_mem": 5.0, "norm_input": False},
        {"reset": "subtract", "dt": 5 * (1 - np.exp(-1 / 5))},
        False,
    ),
    "IAF, several at once": ({"spike_fn": "MultiSpike"}, {"reset": "subtract"}, False),
    "IAF, several": ({"spike_fn": "MultiSpike"}, {"reset": "subtract", "limit": 15}, True),
    "IAF, several, to zero": (
        {"spike_fn": "MultiSpike", "reset_fn": "MembraneReset"},
        {"reset": "zero", "limit": 15},
        True,
    ),
    "LIF, several": (
        {"tau_mem": 5.0, "spike_fn": "MultiSpike"},
        {"reset": "subtract", "limit": 15, "dt": 5 * (1 - np.exp(-1 / 5))},
        True,
    ),
}
"""By what it shows: options of the neurons, conventions, and whether both compute the same."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("maps", [False, True], ids=["rows", "maps"])
@pytest.mark.parametrize("name", SINABS)
def test_sinabs_writes_and_runs(digits: Split, tmp_path: Path, name: str, maps: bool) -> None:
    """Its own module beside its NIR file, which says less than there is to know."""
    pytest.importorskip("pbr", reason="the package pbr, which sinabs imports, is not installed")
    pytest.importorskip("sinabs", reason="the package sinabs is not installed")
    from sinabs import activation, layers  # pyright: ignore[reportMissingImports]
    from sinabs.nir import to_nir  # pyright: ignore[reportMissingImports]

    options, conventions, same = SINABS[name]
    leaks = "tau_mem" in options
    if leaks and maps:
        pytest.skip("nir writes no convolution beside neurons of unknown number")
    torch.manual_seed(6)

    def node() -> Any:
        given = {"spike_fn": "SingleSpike", "reset_fn": "MembraneSubtract", **options}
        given["spike_fn"] = getattr(activation, given["spike_fn"])
        given["reset_fn"] = getattr(activation, given["reset_fn"])()
        if leaks:
            given["tau_mem"] = torch.full((1,), given["tau_mem"])
        kind = layers.LIFSqueeze if leaks else layers.IAFSqueeze
        threshold = torch.full((1,), 0.125 if leaks else 0.5)
        return kind(num_timesteps=8, spike_threshold=threshold, **given)

    first = torch.nn.Conv2d(1, 4, 3) if maps else torch.nn.Linear(64, 24)
    last = torch.nn.Linear(144 if maps else 24, 10)
    with torch.no_grad():
        last.weight.mul_(3)
    flat = [torch.nn.Flatten()] * maps
    module: Any = torch.nn.Sequential(first, node(), *flat, last, node())
    x = torch.from_numpy(digits.images).float().reshape(-1, *((1, 8, 8) if maps else (64,))) / 15
    made: Any = to_nir(module, x[:8])
    if maps:
        made.infer_types()  # without it, nir writes no convolution
    foreign = read(made, tmp_path, fires_at="ge", **conventions)
    network, report = import_foreign(foreign, digits, name="x", steps=8)
    for layer in (module[1], module[-1]):
        layer.reset_states()
    with torch.no_grad():
        counts = module(x.repeat_interleave(8, 0)).unflatten(0, (-1, 8)).sum(1)
    assert counts.max() > 1
    equal = float((foreign.run(x.double(), 8).outputs == counts).double().mean())
    assert equal > 0.999 if same else equal < 0.95
    assert all(layer.equal == layer.compared for layer in report.before)
    assert report.after[0].jaccard > 0.9
    if same:
        classes = GoldenModel(network).classify(digits.images)
        assert np.mean(classes == counts.argmax(dim=1).numpy()) > 0.9


def test_an_if_of_spikingjelly_counts_once(digits: Split, tmp_path: Path) -> None:
    """It writes R = 1 / dt, others R = 1."""
    plain, theirs = (chain(nir.Linear(on_grid(10, 64)), integrate(10, r=r)) for r in (1.0, 1 / DT))
    made = []
    for graph in (plain, theirs):
        foreign = read(graph, tmp_path)
        made.append(import_foreign(foreign, digits, name="x", steps=STEPS))
    assert made[0][0].digest == made[1][0].digest
    assert "R = 1 / dt = 10000 counts as 1 a step" in made[1][1].findings[1].note


# Names, order


def test_names_become_identifiers() -> None:
    names = layer_names(["0", "_1", "lif1.w_rec", "input", "lif1_w_rec", "a b", "readout", "é"])
    assert [*names.values()] == [
        "layer_0",
        "layer_1",
        "lif1_w_rec",
        "layer_input",
        "lif1_w_rec_2",
        "a_b",
        "readout",
        "layer",
    ]


def test_a_layer_may_be_called_readout(digits: Split, tmp_path: Path) -> None:
    nodes = {"fc": nir.Linear(on_grid(10, 64)), "readout": integrate(10)}
    made = graph(nodes, [("input", "fc"), ("fc", "readout"), ("readout", "output")])
    network, _ = import_foreign(read(made, tmp_path), digits, name="x", steps=3)
    assert [layer.name for layer in network.spec.layers] == ["readout", "readout_"]


def test_what_no_output_comes_of_is_left_out(digits: Split, tmp_path: Path) -> None:
    nodes = {
        "fc": nir.Linear(on_grid(10, 64)),
        "if": integrate(10),
        "aside": nir.Linear(on_grid(3, 10)),
        "cuba": nir.CubaLIF(*(np.ones(3),) * 5),
    }
    edges = [("input", "fc"), ("fc", "if"), ("if", "output"), ("if", "aside"), ("aside", "cuba")]
    _, report = import_foreign(read(graph(nodes, edges), tmp_path), digits, name="x", steps=3)
    told = {f.node: f.becomes for f in report.findings}
    assert told["cuba (CubaLIF)"] == "nothing: no output comes of it"


def test_a_file_without_the_shape_of_an_input(digits: Split) -> None:
    """The data have it, or the user; where neither has, all else is looked at nevertheless."""
    made = conv_pools()
    made.nodes["input"].input_type = {"input": None}
    made.nodes["0"].input_shape = None
    foreign = NirNetwork(flat_graph(made))
    assert foreign.shape is None
    (finding,) = (f for f in check(foreign, steps=2).findings if f.refused)
    assert finding.node == "network"
    assert finding.refused.startswith("the file does not have the shape of an input: give it")
    assert check(foreign, steps=2, shape=(1, 8, 8)).refused == 0
    assert check(foreign, steps=2, data=digits).refused == 0
    _, report = import_foreign(foreign, digits, name="x", steps=2)
    assert all(layer.equal == layer.compared for layer in report.after)
    made.nodes["1"].v_reset = np.ones((4, 8, 8))
    assert check(NirNetwork(flat_graph(made)), steps=2).refused == 2


def test_shapes_that_nir_cannot_infer_are_no_hindrance(digits: Split, tmp_path: Path) -> None:
    """snnTorch writes one number for all neurons."""
    lif = nir.LIF(*(np.array([value]) for value in (2 * DT, 2.0, 0.0, 1.5, 0.0)))
    made = chain(nir.Linear(on_grid(10, 64)), lif)
    _, report = import_foreign(read(made, tmp_path), digits, name="x", steps=3)
    assert report.findings[0].node == "file"
    assert "nir's own check of the shapes fails" in report.findings[0].becomes


@pytest.mark.parametrize("shape", [(64,), (1, 64), (1, 8, 8), (5, 1, 8, 8)], ids=str)
def test_one_number_for_all_neurons(digits: Split, tmp_path: Path, shape: tuple[int, ...]) -> None:
    """R counts half, and v_leak is a bias. Norse writes the batch of its sample data, too."""
    parameters = [np.array([value]) for value in (2 * DT, 1.0, 0.25, 0.5, 0.0)]
    maps = len(shape) > 2
    first = conv(4, 1, 3) if maps else nir.Linear(on_grid(16, 64))
    rest = [nir.Flatten(None, start_dim=0)] * maps
    last = nir.Linear(on_grid(10, 144 if maps else 16))
    made = chain(first, nir.LIF(*parameters), *rest, last, shape=shape[-3:])
    made.nodes["input"].input_type = {"input": np.array(shape)}
    if maps:
        made.nodes["0"].input_shape = (8, 8)
        made.nodes["2"].input_type = {"input": np.array([4, 6, 6])}
    foreign = read(made, tmp_path)
    network, report = import_foreign(foreign, digits, name="x", steps=3, exact_decay=True)
    assert network.spec.input_size == 64
    assert "v_leak is a bias" in " ".join(finding.note for finding in report.findings)
    assert all(layer.equal == layer.compared for layer in (*report.before, *report.after))
    assert 0.01 < report.after[0].either / report.after[0].compared < 0.99


def test_the_euler_run_is_worked_by_hand() -> None:
    """dv = dt / tau (v_leak - v + R I): 1.5, then 2.25 fires (above 2), then 1.5 again."""
    made = graph(
        {"lif": nir.LIF(*(np.array([v]) for v in (2 * DT, 2.0, 1.0, 2.0, 0.0)))},
        [("input", "lif"), ("lif", "output")],
        (1,),
        1,
    )
    run = run_as_written(flat_graph(made), torch.ones(1, 1).double(), 4, Conventions())
    assert run.spikes[0] is not None
    assert run.spikes[0].flatten().tolist() == [0, 1, 0, 1]


def test_several_spikes_of_a_step_are_worked_by_hand(digits: Split) -> None:
    """Thresholds of 2, drives of 5: 2 spikes leave 1, then 3 leave 0; of at most 2, 2."""
    edges = [("input", "a"), ("a", "output")]
    made = flat_graph(graph({"a": integrate(1, theta=2.0)}, edges, (1,), 1))
    x = torch.tensor([[5.0]], dtype=torch.float64)
    for reset, limit, wanted, left in (
        ("subtract", 15, [2, 3, 2], [1, 0, 1]),
        ("subtract", 2, [2, 2, 2], [1, 2, 3]),
        ("zero", 15, [2, 2, 2], [0, 0, 0]),
    ):
        foreign = NirNetwork(made, Conventions(fires_at="ge", reset=reset, limit=limit))
        run = foreign.run(x, 3)
        assert run.spikes[0] is not None
        assert run.spikes[0].flatten().tolist() == wanted
        (membrane,) = run.membranes
        assert isinstance(membrane, Membrane)
        assert (2 * membrane.values).flatten().tolist() == left
    foreign = NirNetwork(
        flat_graph(chain(nir.Linear(on_grid(10, 64)), integrate(10, theta=0.75))),
        Conventions(fires_at="ge", reset="subtract", limit=15),
    )
    network, report = import_foreign(foreign, digits, name="x", steps=STEPS)
    assert network.spec.source_max(network.spec.layers[0].name) == 15
    assert all(layer.equal == layer.compared for layer in (*report.before, *report.after))
    assert int(GoldenModel(network).run(digits.images).spikes[0].max()) > 1


def test_the_euler_run_of_a_current_is_worked_by_hand() -> None:
    """dI = dt / tau_syn (w S - I) first: I = 1, 1.5, 1.75; then dv = dt / tau_mem (R I - v), with
    R = 3: 1.5, 3 fires (above 2.5), then 2.625 fires from 0."""
    made = graph(
        {"lif": nir.CubaLIF(*(np.array([v]) for v in (2 * DT, 2 * DT, 3.0, 0.0, 2.5, 0.0, 2.0)))},
        [("input", "lif"), ("lif", "output")],
        (1,),
        1,
    )
    run = run_as_written(flat_graph(made), torch.ones(1, 1).double(), 3, Conventions())
    assert run.spikes[0] is not None
    assert run.spikes[0].flatten().tolist() == [0, 1, 1]


@pytest.mark.filterwarnings("ignore")
def test_norse_runs_a_current_as_the_euler_run_does() -> None:
    """Its reading of a CubaLIF, and its LIFCell, which it writes as one, but for w_in."""
    norse = pytest.importorskip("norse.torch", reason="the package norse is not installed")
    from norse.torch.utils.import_nir import _import_norse_module

    node = cuba(8, kept=0.75, current=0.5, theta=1.7)
    made = graph({"lif": node}, [("input", "lif"), ("lif", "output")], (8,), 8)
    x = torch.from_numpy(np.random.default_rng(3).integers(-1, 4, (30, 8)) / 4)
    ours = run_as_written(flat_graph(made), x, 12, Conventions()).spikes[0]
    one = torch.ones(8)
    fields = {"v_leak": 0 * one, "v_th": 1.7 * one, "v_reset": 0 * one}
    parameters = norse.LIFParameters(
        tau_syn_inv=0.5 / DT * one, tau_mem_inv=0.25 / DT * one, **fields
    )
    gain = 1.0
    for cell in (_import_norse_module(node, dt=DT), norse.LIFCell(parameters, dt=DT)):
        spikes, state = [], None
        for _ in range(12):
            out, state = cell(x.float() * gain, state)
            spikes.append(out)
        assert ours is not None
        assert 0 < float(ours.mean()) < 1
        assert torch.equal(torch.stack(spikes).double(), ours)
        gain = 4.0  # R of the file, by which a LIFCell has nothing


# Refusals


def changed(made: Any, node: str, **values: Any) -> Any:
    for key, value in values.items():
        setattr(made.nodes[node], key, value)
    return made


def with_node(node: Any) -> Any:
    """In place of the last neurons."""
    return chain(nir.Linear(on_grid(10, 64)), node)


FIVE = (np.ones(10),) * 5
REFUSED = [
    (with_node(nir.CubaLIF(*FIVE)), "1 (CubaLIF) must have v_leak = 0, not 1: of neurons with a"),
    (
        changed(with_node(cuba(10)), "1", tau_syn=np.full(10, 1e-5)),
        "1 (CubaLIF) has tau_syn = 1e-05 s, shorter than the time step of 0.0001 s: give with",
    ),
    (
        changed(with_node(cuba(10)), "1", tau_mem=np.linspace(1, 2, 10)),
        "1 (CubaLIF) must have one tau_mem for all its neurons, not 1 to 2",
    ),
    (with_node(nir.CubaLI(*FIVE[:4])), "1 (CubaLI) is a readout that leaks, with"),
    (with_node(nir.Delay(np.ones(10))), "1 (Delay) delays spikes by times of its own"),
    (with_node(nir.Threshold(np.ones(10))), "1 (Threshold) fires without a potential"),
    (
        changed(with_node(leaky(10)), "1", v_reset=np.full(10, 0.5)),
        "1 (LIF) must reset to 0, not to 0.5",
    ),
    (
        changed(with_node(leaky(10)), "1", tau=np.full(10, 1e-5)),
        "1 (LIF) has tau = 1e-05 s, shorter than the time step of 0.0001 s: give with --dt",
    ),
    (
        chain(
            nir.Linear(on_grid(10, 64)),
            nir.LI(np.linspace(1, 2, 10) * 1e-3, np.ones(10), np.zeros(10)),
        ),
        "1 (LI) must have one tau for all its potentials, not 0.001 to 0.002: a readout has one",
    ),
    (
        chain(
            conv(2, 1, 3),
            each_decays(np.tile([0.5, 0.75], 36).reshape(2, 6, 6)),
            nir.Flatten(None, start_dim=0),
            nir.Linear(on_grid(10, 72)),
            shape=(1, 8, 8),
        ),
        "1 (LIF) must have one decay for all neurons of a channel: each neuron of a row, or each "
        "map, may have its own, and within a map all have the same",
    ),
    (
        changed(with_node(leaky(10)), "1", tau=np.full(10, -1.0)),
        "1 (LIF) must have a positive tau, not -1",
    ),
    (
        changed(with_node(leaky(10)), "1", v_threshold=np.zeros(10)),
        "1 (LIF) must have a positive threshold, not 0",
    ),
    (
        changed(with_node(leaky(10)), "1", r=np.full(10, np.nan)),
        "1 (LIF) must have finite parameters",
    ),
    (chain(nir.Linear(on_grid(10, 63)), integrate(10)), "0 (Linear) takes 63 values, and gets 64"),
    (
        chain(nir.Linear(on_grid(10, 64)), integrate(9)),
        "1 (IF) has r of 9 neurons, and gets 10 values",
    ),
    (
        chain(nir.Linear(on_grid(10, 64)), nir.I(np.ones(10)), nir.Linear(on_grid(10, 10))),
        "1 (I) integrates without firing within the network",
    ),
    (
        graph(
            {"a": nir.Linear(on_grid(64, 64)), "b": integrate(64)},
            [("input", "a"), ("a", "a"), ("a", "b"), ("b", "output")],
        ),
        "Network has a loop, a -> a, that brings what was never spikes",
    ),
    (
        graph({"a": integrate(64)}, [("input", "a"), ("a", "output"), ("a", "b")]),
        "Network has an edge a -> b, and no node b",
    ),
    (
        graph(
            {"a": integrate(64), "b": nir.Input(np.array([3]))}, [("input", "a"), ("a", "output")]
        ),
        "Network must have one input, not 2 (b, input)",
    ),
    (
        graph({"a": integrate(64)}, [("input", "a")], outputs=64),
        "Network must have a way from input to output",
    ),
]


@pytest.mark.parametrize(("made", "sentence"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_cannot_be_read_is_named(
    digits: Split, tmp_path: Path, made: Any, sentence: str
) -> None:
    with pytest.raises(ConvertError) as refused:
        import_foreign(read(made, tmp_path), digits, name="x", steps=3)
    told = str(refused.value).removeprefix("Network cannot be converted: ")
    assert told.startswith(sentence)
    assert "\n" not in told


def test_all_that_is_wrong_is_said_at_once_and_once(tmp_path: Path) -> None:
    made = chain(
        nir.Linear(on_grid(16, 64)),
        changed(chain(leaky(16)), "0", v_reset=np.ones(16), tau=np.full(16, 1e-5)).nodes["0"],
        nir.Linear(on_grid(16, 16)),
        nir.CubaLIF(*(np.ones(16),) * 5),
        nir.Linear(on_grid(10, 15)),
        nir.CubaLI(*FIVE[:4]),
    )
    checked = check(read(made, tmp_path), steps=3)
    told = {f.node: f.refused for f in checked.findings if f.refused}
    assert [*told] == ["1 (LIF)", "3 (CubaLIF)", "4 (Linear)", "5 (CubaLI)"]
    assert "must reset to 0" in told["1 (LIF)"]
    assert "shorter than the time step" in told["1 (LIF)"]
    assert told["4 (Linear)"] == "takes 15 values, and gets 16"
    assert checked.refused == 4


def test_an_import_that_computes_something_else_is_refused(
    digits: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = read(dense(integrate(16), integrate(12)), tmp_path)
    other = Conventions(fires_at="gt", reset="subtract")
    monkeypatch.setattr(
        NirNetwork, "run", lambda self, x, steps, _: run_as_written(self.graph, x, steps, other)
    )
    with pytest.raises(ConvertError, match="gives something else, run as the file has it"):
        import_foreign(foreign, digits, name="x", steps=STEPS)


def damaged(folder: Path, content: bytes) -> Path:
    (folder / "net.nir").write_bytes(content)
    return folder / "net.nir"


def test_files_that_are_none(tmp_path: Path) -> None:
    import h5py

    whole = written(counting(), tmp_path).read_bytes()
    cases = [
        (lambda: tmp_path / "none.nir", "does not exist"),
        (lambda: tmp_path, "cannot be read: Is a directory"),
        (lambda: damaged(tmp_path, b""), "must be a NIR file, which is HDF5"),
        (lambda: damaged(tmp_path, b"PK\3\4 other"), "must be a NIR file, which is HDF5"),
        (lambda: damaged(tmp_path, whole[: len(whole) // 2]), "cannot be read as NIR: "),
    ]
    for make, sentence in cases:
        with pytest.raises(ConvertError) as refused:
            read_nir(make())
        assert sentence in str(refused.value)
        assert "\n" not in str(refused.value)
    with h5py.File(tmp_path / "other.nir", "w") as file:
        file.create_dataset("x", data=3)
    with pytest.raises(ConvertError, match="cannot be read as NIR: "):
        read_nir(tmp_path / "other.nir")
    nir.write(tmp_path / "node.nir", nir.Linear(on_grid(3, 3)))
    with pytest.raises(ConvertError, match="cannot be read as NIR: "):
        read_nir(tmp_path / "node.nir")


def test_complex_parameters_are_refused(tmp_path: Path) -> None:
    """Their imaginary part was left out, with a warning (found by `make soak`)."""
    made = chain(nir.Linear(on_grid(16, 64) * 1j), integrate(16), nir.Linear(on_grid(10, 16)))
    path = written(made, tmp_path)
    with pytest.raises(ConvertError, match="Node 0 must have real numbers as weight"):
        read_nir(path)
    made = chain(nir.Linear(on_grid(16, 64)), integrate(16), nir.Linear(on_grid(10, 16)))
    made.nodes["input"].input_type = {"input": np.array([64 + 0j])}
    with pytest.raises(ConvertError, match="Node input must have real numbers as input_type"):
        flat_graph(made)


def test_nodes_that_lack_what_their_kind_has(tmp_path: Path) -> None:
    made = flat_graph(chain(nir.Linear(on_grid(10, 64)), integrate(10)))
    del made.nodes["1"].v_threshold
    made.nodes["0"].weight = "weights"
    found = NirNetwork(made).read((64,), steps=3, pixel_max=15).refused
    assert [(f.node, f.refused) for f in found] == [
        ("0 (Linear)", "is damaged"),
        ("1 (IF)", "is damaged"),
    ]


# The command line


def test_check_and_import(tmp_path: Path, capsys: Any) -> None:
    path = str(written(residual(), tmp_path))
    assert main(["check", path, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["framework"] == "NIR"
    assert {"stem (Conv2d)", "n1 (IF)"} < {node["node"] for node in told["nodes"]}
    out = str(tmp_path / "net.npz")
    assert main(["import", path, "--dataset", "digits", "--steps", "3", "--out", out]) == 0
    assert "spikes unlike original, n2" in capsys.readouterr().out
    network = Network.load(out)
    assert network.meta["source"] == "NIR"
    assert network.spec.layers[1].edges[1].kind == "identity"


def test_check_of_what_is_refused(tmp_path: Path, capsys: Any) -> None:
    path = str(written(with_node(nir.CubaLI(*FIVE[:4])), tmp_path))
    assert main(["check", path]) == 1
    assert "refused: is a readout that leaks, with a synaptic current" in capsys.readouterr().out
    out = tmp_path / "net.npz"
    assert main(["import", path, "--dataset", "digits", "--out", str(out)]) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--dt", "0"], "Time step must be a positive number of seconds, not 0.0"),
        (["--fires-at", "above"], "Firing must be one of gt, ge, not 'above'"),
        (["--reset", "none"], "Reset must be one of zero, subtract, subtract-later, not 'none'"),
        (
            ["--from", "lava"],
            "Framework must be one of nir, onnx, snntorch, brevitas, spikingjelly, not 'lava'",
        ),
        (["--from", "spikingjelly"], "must be a file of torch.save"),
        (["--shape", "1,1,8,8"], "Shape of an input must be N, C,L or C,H,W, not 1,1,8,8"),
        (["--weight-bits", "few"], "Weight width must be a number of bits, or auto, not 'few'"),
        (["--weight-bits", "99"], "Weight width must be an integer from 2 to"),
        (["--shape", "1,4,4"], "Network must take 64 values, as an example of digits has, not 16"),
    ],
)
def test_options_that_are_none(
    tmp_path: Path, capsys: Any, options: list[str], sentence: str
) -> None:
    path = str(written(counting(), tmp_path))
    assert main(["import", path, "--dataset", "digits", *options]) == 1
    assert sentence in capsys.readouterr().err


# Grids


def test_common_steps() -> None:
    none = np.zeros(0)
    whole = np.array([3.0, -6.0, 9.0, 0.0])
    assert common_step(whole / 8, none, 127) == 3 / 8
    assert common_step(whole / 8, np.array([0.125]), 127) == 0.125  # three times as fine
    assert common_step(whole / 8, np.array([0.1234567]), 127) == pytest.approx(9 / 8 / 126)
    assert common_step(np.array([1.0, 2**-8]), none, 127) is None
    assert common_step(np.array([1.0, 2**-8]), none, 256) == 2**-8
    assert common_step(np.array([np.nan]), none, 127) is None
    assert common_step(none, none, 127) is None
    tenths = np.arange(-70, 70).astype(np.float32) * np.float32(0.1)
    assert common_step(tenths.astype(float), none, 127) == pytest.approx(0.1)
    assert common_step(np.random.default_rng(1).normal(size=50), none, 32767) is None


def test_exact_thresholds_of_a_grid() -> None:
    foreign = NirNetwork(flat_graph(chain(nir.Linear(on_grid(10, 64)), integrate(10, theta=1.3))))
    folded = foreign.read((64,), steps=2, pixel_max=1).require()
    network = integers_of(folded, name="x", weight_bits=8, pixel_bits=1).to_network()
    neuron = network.spec.layers[0].neuron
    assert neuron is not None
    assert neuron.theta == 11  # the first eighths above 1.3


def test_a_grid_leaves_room_for_what_a_current_grows_to() -> None:
    """Bits of a fraction, of 8-bit weights: 512 spikes, 127 times each, in a current of 622."""
    first = nir.Linear(on_grid(512, 64)), cuba(512, current=1 - 2**-10)
    second = nir.Linear(on_grid(16, 512, most=127)), cuba(16, current=1 - 2**-10)
    made = chain(*first, *second, nir.Linear(on_grid(10, 16)))
    folded = NirNetwork(flat_graph(made)).read((64,), steps=1000, pixel_max=15).require()
    network = integers_of(folded, name="x", weight_bits=8, pixel_bits=4).to_network()
    layer = network.layers[1]
    assert layer.spec.neuron is not None
    assert 0 < layer.spec.neuron.fraction_bits < 4
    assert 600 < layer.current_bound / (layer.drive_bound << layer.spec.neuron.fraction_bits) < 640


def test_graph_is_plain(tmp_path: Path) -> None:
    made = read_nir(written(feedback(), tmp_path))
    assert isinstance(made, Graph)
    assert [edge.source for edge in made.edges["one"] if edge.closes_loop] == ["back"]
    assert [*made.nodes][-1] == "output"


# Export


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
