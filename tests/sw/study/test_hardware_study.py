"""The kinds of neurons whose cost is compared: each row is what its title says."""

import json
from pathlib import Path
from typing import Any

import pytest

from gen.core.plan import plan_core
from gen.family.tools import ToolError
from gen.layer.stage import DEFAULT_LANES
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.system.progress import silent
from sim.golden.model import GoldenModel
from sw.data.dataset import load_split
from sw.data.evaluate import accuracy
from sw.data.shipped import model_path
from sw.spread.runner import running
from sw.study import hardware
from sw.study.hardware import Kind, hardware_table, kinds, route_job, study


def test_kinds_are_what_their_titles_say(monkeypatch) -> None:
    recipe_epochs = {"float_epochs": 2, "integer_epochs": 1}
    import sw.study.hardware as module

    train = module.train
    monkeypatch.setattr(module, "train", lambda *a, **k: train(*a, **recipe_epochs, **k))
    data, test = (load_split("digits", split, 4) for split in ("train", "test"))
    rows = {kind.title: kind for kind in kinds(16, data, test, silent)}
    assert len(rows) == 9

    def neuron(kind: Kind) -> NeuronSpec:
        found = kind.core.network.spec.layers[0].neuron
        assert found is not None
        return found

    found = list(rows.values())
    assert [neuron(k).negative for k in found] == [
        "off",
        "free",
        "free",
        "free",
        "off",
        "guarded",
        "guarded",
        "guarded",
        "guarded",
    ]
    assert [neuron(k).limit for k in found] == [1, 1, 1, 1, 1, 1, 3, 15, 15]
    assert [neuron(k).fraction_bits for k in found] == [0, 0, 0, 6, 0, 0, 0, 0, 0]
    assert [k.core.options.repeat for k in found] == [False] * 8 + [True]
    assert {k.core.lanes for k in found} == {16} != {DEFAULT_LANES}
    assert {layer.weight_bits for k in found for layer in k.core.network.spec.layers} == {4}
    # Two ways to play the same spikes, and two ways to keep potentials: the same answers.
    for a, b in ((2, 3), (7, 8)):
        classes = [GoldenModel(found[n].core.network).classify(test.images) for n in (a, b)]
        assert (classes[0] == classes[1]).mean() > 0.98
    assert all(accuracy(k.core.network, test).share > 0.85 for k in found)


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Networks that were routed: two that ship; no tool is run."""
    names: list[str] = []

    def route(core: Any, folder: Path, *, megahertz: float, seed: int, progress: Any) -> Any:
        names.append(core.network.spec.name)
        progress(f"routing with seed {seed}")
        folder.mkdir(exist_ok=True)
        (folder / "report.json").write_text(json.dumps({"at": str(folder)}))
        return {
            "fmax_mhz": megahertz + len(core.network.spec.name),
            "resources": {"DP16KD": [1, 2]},
        }

    def two(lanes: int, *_: Any) -> Any:
        for name in ("digits-binary", "digits-ternary"):
            yield Kind(title=f"{name}!", core=plan_core(Network.load(model_path(name)), lanes))

    monkeypatch.setattr(hardware, "close_timing", route)
    monkeypatch.setattr(hardware, "find_tools", lambda flow: None)
    monkeypatch.setattr(hardware, "used_tools", lambda: ["yosys 1", "nextpnr 1"])
    monkeypatch.setattr(hardware, "kinds", two)
    return names


def without_seconds(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != "seconds"}


def test_the_study(routed: list[str], tmp_path: Path) -> None:
    lines: list[str] = []
    facts = study(tmp_path, lanes=8, progress=lines.append)
    assert json.loads((tmp_path / "study.json").read_text()) == facts
    assert lines == ["digits-binary!", "routing with seed 1", "digits-ternary!", lines[1]]
    assert [(row["title"], row["fmax_mhz"]) for row in facts["rows"]] == [
        ("digits-binary!", 113.0),
        ("digits-ternary!", 114.0),
    ]
    assert all(row["wide_cycles"] < row["cycles"] for row in facts["rows"])
    assert routed == ["digits-binary", "digits-ternary"]


def test_kinds_as_jobs(routed: list[str], tmp_path: Path) -> None:
    """Rows and files are those of one after the other; what is kept is not routed again."""
    plain = study(tmp_path / "plain", lanes=8, seed=3)
    for out in (tmp_path / "spread", tmp_path / "again"):
        with running(0, kept=tmp_path / "kept") as run:
            facts = study(out, lanes=8, seed=3, run=run)
        assert without_seconds(facts) == without_seconds(plain)
        assert json.loads((out / "study.json").read_text()) == facts
        for name in ("digits-binary-", "digits-ternary-"):
            assert json.loads((out / name / "report.json").read_text()) == {"at": f"{out}/{name}"}
    assert len(routed) == 4


def test_other_tools(routed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others routed is not kept for these, and no row of them is in the table."""
    kept = tmp_path / "kept"
    for release in (1, 2):
        monkeypatch.setattr(hardware, "used_tools", lambda release=release: [f"yosys {release}"])
        with running(0, kept=kept) as run:
            study(tmp_path / "out", lanes=8, run=run)
    assert len(routed) == 4
    with pytest.raises(ToolError, match=r"^A worker must route with yosys 1, not yosys 2$"):
        route_job("digits-binary!", 100, 1, ["yosys 1"], {}, tmp_path)


def test_the_table() -> None:
    resources = {"TRELLIS_COMB": [5123, 83640], "TRELLIS_FF": [2500, 1], "DP16KD": [9, 208]}
    row = {
        "title": "binary",
        "hits": 350,
        "n": 364,
        "cycles": 200.0,
        "wide_cycles": 90.25,
        "fmax_mhz": 110.0,
        "resources": resources,
    }
    assert hardware_table({"rows": [row]}).splitlines()[2] == (
        "| binary | 96.15 % | 5,123 | 2,500 | 9 | 110.0 | 200.0 | 90.2 |"
    )
