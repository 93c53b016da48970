"""What cannot be read of a NIR file is named in one sentence; so are files that are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sw.data.split import Split
from sw.frameworks.check import check
from sw.frameworks.importing import import_foreign
from sw.importers.affine import ConvertError
from sw.nir.euler import simulate as run_as_written
from sw.nir.graph import flat_graph, read_nir
from sw.nir.network import NirNetwork
from sw.reading.conventions import Conventions
from tests.sw.nir.graphs import (
    FIVE,
    STEPS,
    chain,
    conv,
    counting,
    cuba,
    dense,
    each_decays,
    graph,
    integrate,
    leaky,
    nir,
    on_grid,
    read,
    with_node,
    written,
)


def changed(made: Any, node: str, **values: Any) -> Any:
    for key, value in values.items():
        setattr(made.nodes[node], key, value)
    return made


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
