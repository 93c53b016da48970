"""The values of the shipped networks are those on record (see `tests.sim.golden.regression`)."""

import copy

import pytest

from hw.contract.network import Network
from tests.sim.golden.regression import RECORD, differences, models, read_record, record_of

RENEW = "run `make regression` and commit tests/sim/golden/regression.json"


@pytest.mark.parametrize("name", sorted({*models(), *read_record()}))
def test_values_are_those_on_record(name: str) -> None:
    recorded, path = read_record().get(name), models().get(name)
    assert recorded is not None, f"Network {name} has no entry in {RECORD.name}: {RENEW}"
    assert path is not None, f"Network {name} does not ship, and has an entry: {RENEW}"
    present = record_of(Network.load(path), recorded["seed"], recorded["count"])
    changed = differences(recorded, present)
    assert not changed, (
        f"Network {name}, {changed[0]}: not as recorded ({len(changed)} quantities differ). If the "
        f"change of the contract is meant, {RENEW}"
    )


def test_the_first_difference_is_named() -> None:
    recorded = read_record()["digits-deep"]
    assert not differences(recorded, copy.deepcopy(recorded))
    changed = copy.deepcopy(recorded)
    changed["logits"] = "0"
    changed["layers"]["hidden2"]["potentials"] = "0"
    assert differences(recorded, changed) == ["layer hidden2, potentials", "logits"]
    del changed["layers"]["hidden2"]
    assert "layer hidden2, spikes" in differences(recorded, changed)
