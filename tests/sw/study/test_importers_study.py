"""Networks of other frameworks, trained there for a little: what is read is what they compute."""

from pathlib import Path

import pytest

from hw.contract.checks import SternaError
from sw.study.importers import TRAINED, importers_table, study

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
