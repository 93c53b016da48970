"""The search: its steps feed each other, nothing is done twice, test images choose nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.planner import plan_board
from hw.contract.network import Network
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.arrays import Dataset
from sw.explore import search as module
from sw.explore.picture import front_table
from sw.explore.search import Search, explore
from sw.explore.space import ExploreError, Shape, shapes


@pytest.fixture(scope="module")
def blobs() -> Dataset:
    """Three kinds of pictures, almost apart."""
    rng = np.random.default_rng(3)
    y = np.arange(240) % 3
    x = rng.integers(0, 90, (240, 16))
    for n in range(3):
        x[y == n, 5 * n : 5 * n + 5] += 120
    return Dataset(x.astype(np.uint8), y, name="blobs")


@pytest.fixture(scope="module")
def found(blobs: Dataset, tmp_path_factory: pytest.TempPathFactory):
    """A search over four shapes, and what it said."""
    out = tmp_path_factory.mktemp("explore")
    search = Search(
        board="icebreaker",
        out=out,
        shapes=shapes([[4], [8, 4]], [3], [1, 2]),
        data=blobs,
        epochs=2,
        workers=0,
    )
    return search, explore(search), out


def test_the_front_is_of_trained_networks(found, blobs: Dataset) -> None:
    _, facts, out = found
    assert facts == json.loads((out / "explore.json").read_text())
    assert facts["networks"] == 4
    assert facts["planned"] > 40
    assert facts["front"]
    for point in facts["front"]:
        assert {k: v for k, v in point.items() if k not in ("test", "command")} in facts["points"]
        network = Network.load(out / "networks" / f"{point['network']}.npz")
        plan = plan_board(find_board("icebreaker"), network, **point["layout"])
        assert point["luts"] == plan.estimate.luts
        options = " ".join(f"--{name} {value}" for name, value in point["layout"].items())
        assert point["command"].endswith(f"--board icebreaker {options}")
        split = blobs.split("test", network.spec.input_bits)
        hits = int((GoldenModel(network).classify(split.images) == split.labels).sum())
        assert point["test"] == [hits, len(split)]
        assert point["held_out"][1] == len(blobs.x) // 10
    text = front_table(facts)
    assert text.count("\n") == len(facts["front"]) + 1


def test_nothing_is_done_twice(found, monkeypatch) -> None:
    """Another run of the same search calls nothing; of a larger one, what is new."""
    search, facts, _ = found

    class Counted(module.Pool):
        ran: list[str] = []

        def run(self, jobs):
            self.ran += [job.name for job in jobs]
            return super().run(jobs)

    monkeypatch.setattr(module, "Pool", Counted)
    assert explore(search) == facts
    assert Counted.ran == []
    larger = Search(**{**vars(search), "shapes": [*search.shapes, *shapes([[5]], [3], [1])]})
    again = explore(larger)
    assert again["networks"] == 5
    assert set(Counted.ran) == {"h5-w3-t1"}


def test_layouts_of_one_network(tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--board", "icebreaker", "--network", "digits-dense", "--workers", "0"]
    assert main(["explore", *arguments, "--out", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["networks"] == 1
    assert all(point["test"] == [358, 364] for point in facts["front"])
    assert (out / "front.md").read_text().startswith("| network |")
    assert (out / "front.png").stat().st_size > 1000
    assert (out / "networks" / "digits-dense.npz").exists()


def test_what_does_not_fit(blobs: Dataset, tmp_path: Path) -> None:
    search = Search(
        board="icebreaker", out=tmp_path, shapes=shapes([[4000]], [16], [1]), data=blobs, workers=0
    )
    with pytest.raises(ExploreError, match="No network fits 1BitSquared iCEBreaker"):
        explore(search)
    assert not (tmp_path / "explore.json").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Give --network, or --data"),
        (["--network", "digits-dense", "--dataset", "digits"], "one of both"),
        (["--network", "digits-dense", "--build", "-1"], "Points to build must be"),
        (["--dataset", "digits", "--hidden", "x"], "Hidden layers must be positive numbers"),
        (["--dataset", "digits", "--weight-bits", "40"], "Weight width must"),
        (["--network", "digits-dense", "--workers", "-1"], "Workers must be"),
    ],
)
def test_refusals(arguments: list[str], told: str, tmp_path: Path, capsys) -> None:
    assert main(["explore", "--board", "icebreaker", "--out", str(tmp_path), *arguments]) == 1
    assert told in capsys.readouterr().err


def test_shapes() -> None:
    found = shapes([[8], [8], [4, 2]], [2, 4], [1])
    assert [s.name for s in found] == ["h8-w2-t1", "h8-w4-t1", "h4x2-w2-t1", "h4x2-w4-t1"]
    assert [Shape.from_dict(s.to_dict()) for s in found] == found
    with pytest.raises(ExploreError, match="at least one each"):
        shapes([], [2], [1])
