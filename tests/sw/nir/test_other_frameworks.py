"""NIR files as snnTorch, Norse, sinabs and SpikingJelly write them, beside their own modules."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sim.golden.model import GoldenModel
from sw.data.split import Split
from sw.frameworks.importing import import_foreign
from sw.reading.network import Membrane
from tests.sw.nir.graphs import DT, STEPS, chain, integrate, nir, on_grid, read


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
