"""How neurons of a NIR file fire and reset: the user says so, as the file does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.golden.model import GoldenModel
from sw.data.split import Split
from sw.frameworks.importing import import_foreign
from sw.importers.affine import ConvertError
from tests.sw.nir.graphs import (
    STEPS,
    chain,
    dense,
    each_decays,
    integrate,
    leaky,
    nir,
    on_grid,
    read,
)


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
