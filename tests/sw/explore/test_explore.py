"""The search: its steps feed each other, nothing is done twice, test images choose nothing."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from gen.board.boards import find_board
from gen.board.planner import plan_board
from gen.explore.points import front
from hw.contract.checks import SternaError
from hw.contract.network import Network
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.arrays import Dataset
from sw.data.split import DataError
from sw.explore import search as module
from sw.explore.data import carried
from sw.explore.picture import front_table
from sw.explore.search import Search, explore
from sw.explore.space import ExploreError, Shape, layer_words, shapes
from sw.learn.plan import dense_chain, plan_shapes
from sw.report import energy


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
        (["--dataset", "digits", "--layers", "8", "--hidden", "8"], "--layers or --hidden"),
        (["--dataset", "digits", "--layers", "conv:8-x"], "Layer must be"),
        (["--network", "digits-dense", "--schedules", "fast"], "Schedule must be one of"),
        (["--network", "digits-dense", "--figures", "price"], "Figure must be one of"),
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


def test_layers_are_words(blobs: Dataset) -> None:
    """Of a chain of maps: what `sw.learn.plan` makes of it, and what is no layer."""
    ((first, second),) = [shapes(layer_words("conv:8:5:2-conv:4-pool-20,8-4"), [4], [2])]
    assert (first.name, second.name) == ("c8k5s2-c4k3-p2-h20-w4-t2", "h8x4-w4-t2")
    assert (first.has_maps, second.has_maps) == (True, False)
    plans = first.plans(10)
    assert [plan.channels for plan in plans] == [8, 4, 20, 10]
    assert plan_shapes((1, 28, 28), plans) == {
        "input": (1, 28, 28),
        "conv1": (8, 14, 14),
        "conv2": (4, 14, 14),
        "dense3": (20, 1, 1),
        "readout": (10, 1, 1),
    }
    assert [plan.edges[0].pool for plan in plans] == [1, 1, 2, 1]
    (last,) = shapes(layer_words("conv:8-pool:4"), [4], [1])
    assert last.plans(3)[-1].edges[0].pool == 4
    assert Shape.from_dict(json.loads(json.dumps(first.to_dict()))) == first
    assert second.plans(10) == dense_chain((8, 4), 10)
    for words, told in (
        ("conv", "Layer must be a number"),
        ("8x", "Layer must be a number"),
        ("conv:0", "Neurons of a hidden layer must"),
        ("conv:4:12", "Kernel must"),
        ("conv:4:3:4", "Stride must"),
        ("pool:1-8", "Side of pooling must"),
        ("8-conv:4", "must have no conv:4 behind a dense layer"),
        ("8-pool", "must have no pool behind"),
        ("pool", "must have one that fires"),
    ):
        with pytest.raises(SternaError, match=told):
            shapes(layer_words(words), [4], [1])


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    """Bars, upright or lying."""
    rng = np.random.default_rng(1)
    y = np.arange(200) % 2
    x = rng.integers(0, 60, (200, 8, 8))
    for n, kind in enumerate(y):
        at = rng.integers(0, 8)
        x[n, at if kind else slice(None), slice(None) if kind else at] += 180
    return Dataset(x.astype(np.uint8), y, name="bars")


def test_networks_of_maps(pictures: Dataset, tmp_path: Path) -> None:
    """Trained on some of the examples, laid out by each kind of stage, told with their energy."""
    search = Search(
        board="ulx3s_85f",
        out=tmp_path,
        shapes=shapes(layer_words("conv:4-pool-6"), [4], [2]),
        data=pictures,
        epochs=2,
        images=100,
        figures=("accuracy", "speed", "energy"),
        workers=0,
    )
    facts = explore(search)
    stages = {tuple(point["stages"]) for point in facts["points"]}
    assert stages == {("programs",), ("programs", "layers"), ("windows", "layers")}
    network = Network.load(tmp_path / "networks" / "c4k3-p2-h6-w4-t2.npz")
    assert network.spec.layers[0].map_shape == (4, 8, 8)
    sops = network.meta["sops"]
    assert isinstance(sops, float)
    nanojoules = sum(part.nanojoules for part in energy.parts(network, sops))
    for point in facts["points"]:
        assert point["held_out"][1] == 10
        assert point["nanojoules"] == pytest.approx(nanojoules, abs=0.01)
        assert set(point["changes"]) <= {"conv1", "dense2"}
    assert len(facts["front"]) == 1  # of one network the fastest
    few = Search(**{**vars(search), "schedules": ("shared",)})
    assert {p["layout"]["schedule"] for p in explore(few)["points"]} == {"shared"}
    with pytest.raises(SternaError, match="smaller than pooling by 9"):
        explore(
            Search(**{**vars(search), "shapes": shapes(layer_words("conv:4-pool:9-6"), [4], [1])})
        )
    with pytest.raises(ExploreError, match="from 1 to 160, not 161"):
        explore(Search(**{**vars(search), "images": 161}))


def test_data_are_carried_whole(blobs: Dataset) -> None:
    """A worker has no files: what it gets is the split itself, or a word that it is not."""
    found = pickle.loads(pickle.dumps(carried(blobs, (1, 2))))
    for part in ("train", "test"):
        mine, theirs = found.split(part, 4, steps=2), blobs.split(part, 4)
        assert (mine.images == theirs.images).all()
        assert (mine.labels == theirs.labels).all()
    assert found.digest == carried(blobs, (1, 2)).digest
    some = carried(blobs, (1,), images=30)
    assert some.digest != found.digest
    assert len(some.y) == 30
    assert set(some.y) == {0, 1, 2}
    with pytest.raises(DataError, match="was carried with other pixels than 5 bits"):
        found.split("train", 5)


def test_energy_may_be_compared() -> None:
    """As a figure of its own; a network of which it is not known is the worst."""
    cheap = {"held_out": [5, 10], "images_per_second": 1.0, "luts": 9, "brams": 1, "nanojoules": 2}
    dear, unknown = {**cheap, "nanojoules": 3}, {**cheap, "nanojoules": None}
    for names, count in ((("accuracy", "luts"), 1), (("accuracy", "energy"), 1)):
        kept = front([unknown, dear, cheap], lambda p, n=names: module._figures(p, n))
        assert len(kept) == count
    assert kept == [cheap]
