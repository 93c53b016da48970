"""Networks of other frameworks, trained there for a little: what is read is what they compute."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hw.contract.checks import SternaError
from sw.spread.runner import running
from sw.study import importers
from sw.study.importers import TRAINED, Trained, importers_table, study

EPOCHS = 4


@pytest.mark.parametrize("name", TRAINED)
def test_a_network_of_each_framework(name: str, tmp_path: Path) -> None:
    spec = TRAINED[name]
    if spec.missing:
        pytest.skip(f"not installed: {', '.join(spec.missing)}")
    facts = study(tmp_path, [name], bits=(12,), epochs=EPOCHS, images=0)
    (row,) = facts["rows"].values()
    found = row["bits"]["12"]
    assert (tmp_path / "importers.json").is_file()
    assert found["original"] > 0.7 * found["images"]
    assert found["before"] == [1.0] * len(found["before"])  # the float twin is the original
    assert min(found["equal"]) > 0.97
    assert found["same"] >= 0.97 * found["images"]
    assert spec.title in importers_table(facts)


def test_frameworks_as_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is done once, and told where it is done here."""
    names, done, lines = ["onnx", "nir"], [], []
    monkeypatch.setitem(TRAINED, "onnx", replace(TRAINED["onnx"], packages=()))
    monkeypatch.setitem(TRAINED, "nir", replace(TRAINED["nir"], packages=()))

    def measured(spec: Trained, *_: Any) -> dict[str, Any]:
        done.append(spec.title)
        return {"title": spec.title}

    monkeypatch.setattr(importers, "_measured", measured)
    plain = study(tmp_path / "plain", names, progress=lines.append)
    assert lines == [f"training, importing, simulating: {name}" for name in names]
    for _ in range(2):
        with running(0, kept=tmp_path / "kept") as run:
            assert study(tmp_path / "spread", names, run=run) == plain
    assert done == [TRAINED[name].title for name in names] * 2
    monkeypatch.setattr(importers, "version", lambda package: "99")
    with running(0, kept=tmp_path / "kept") as run:  # what another version did is not kept
        assert study(tmp_path / "spread", names, run=run) == plain
    assert len(done) == 6
    with pytest.raises(SternaError, match=r"^A worker must have torch 1 for nir, not torch 99$"):
        importers.measure_job("nir", ["torch 1"], (8,), 1, 0, 0)


@pytest.mark.long
@pytest.mark.parametrize("name", TRAINED)
def test_its_hardware(name: str, tmp_path: Path) -> None:
    spec = TRAINED[name]
    if spec.missing:
        pytest.skip(f"not installed: {', '.join(spec.missing)}")
    facts = study(tmp_path, [name], bits=(12,), epochs=EPOCHS, images=5)
    hardware = facts["rows"][name]["hardware"]
    assert hardware["values_compared"] > 1000
    assert (hardware["mismatches"], hardware["cycle_law_violations"]) == (0, 0)


def test_unknown_ones(tmp_path: Path) -> None:
    with pytest.raises(SternaError) as error:
        study(tmp_path, ["lava"])
    assert str(error.value).startswith("Framework must be one of ")
    assert not list(tmp_path.iterdir())
