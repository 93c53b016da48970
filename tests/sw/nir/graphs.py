"""NIR graphs, made node by node: layers in a row, loops, maps; and those that lose nothing.

Weights lie on a grid, and inputs count once: what is read of `EXACT` is the very network.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sw.nir.graph import read_nir
from sw.nir.network import NirNetwork
from sw.reading.conventions import Conventions

nir = pytest.importorskip("nir", reason="the package nir is not installed")

DT = 1e-4
STEPS = 5
Nodes = dict[str, Any]
Edges = list[tuple[str, str]]


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


def with_node(node: Any) -> Any:
    """In place of the last neurons."""
    return chain(nir.Linear(on_grid(10, 64)), node)


FIVE = (np.ones(10),) * 5
"""Parameters of ten neurons: as many as a kind of node has."""
