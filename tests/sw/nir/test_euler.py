"""The run of a NIR graph as it is written, against what is worked by hand, and Norse."""

import numpy as np
import pytest
import torch

from sim.golden.model import GoldenModel
from sw.data.split import Split
from sw.frameworks.importing import import_foreign
from sw.nir.euler import simulate as run_as_written
from sw.nir.graph import flat_graph
from sw.nir.network import NirNetwork
from sw.reading.conventions import Conventions
from sw.reading.network import Membrane
from tests.sw.nir.graphs import DT, STEPS, chain, cuba, graph, integrate, nir, on_grid


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
