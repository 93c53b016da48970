"""A worker is killed in the middle of each kind of job: what comes of it is as without, and counted
once."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gen.board.bitstream import build_bitstream
from gen.board.boards import BOARDS, find_board
from gen.board.planner import plan_board
from gen.board.seeds import route_seeds
from gen.core.plan import plan_core
from hw.contract.builder import random_network
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.system.jobs import Jobs
from sw.data.arrays import Dataset
from sw.data.dataset import load_split
from sw.data.shipped import model_path
from sw.explore import search as searching
from sw.explore.search import Search, explore
from sw.explore.space import shapes
from sw.spread.runner import running
from sw.spread.simulation import simulate_spread
from sw.study import conversion, cost, hardware, learning, scale, spide_training, training
from sw.study.spide_reference import ReferenceConfiguration, Wiring
from sw.verify.fault_jobs import campaign_spread
from tests.gen.board.tiny import write_design
from tests.networks import chain
from tests.sw.spread.calls import Killing

pytestmark = pytest.mark.long

DIGITS = Network.load(model_path("digits-dense"))
SPENT = ("seconds", "seconds_by_phase")


def without_times(facts):
    """The same, without what a clock said."""
    if isinstance(facts, dict):
        return {k: without_times(v) for k, v in facts.items() if k not in SPENT}
    return [without_times(one) for one in facts] if isinstance(facts, list) else facts


def simulated(run, folder: Path) -> dict:
    split = load_split("digits", "test", DIGITS.spec.input_bits)
    images, labels = split.images[:30], split.labels[:30]
    return simulate_spread(plan_core(DIGITS, 16), images, labels, folder, run, chunk=10)


def routed(run, folder: Path) -> dict:
    board = BOARDS["tang_nano_9k"]
    write_design(board, folder, 27)
    report = build_bitstream(
        board, folder, "top", ["top.v"], megahertz=27, seeds=2, route=partial(route_seeds, run=run)
    )
    assert len(report["fmax_by_seed"]) == 2
    return report


def attacked(run, folder: Path) -> dict:
    plan = plan_board(find_board("ulx3s_85f"), DIGITS, lanes=8)
    images = load_split("digits", "test", DIGITS.spec.input_bits).images[:3]
    report = campaign_spread(plan, images, folder, run, frames=30, seed=3, chunk=10)
    assert (report["frames"], report["details"]) == (30, [])
    return report


def trained(run, folder: Path) -> dict:
    grid = training.Grid(
        datasets=("digits",), hidden=(12,), steps=(1,), seeds=(1,), weight_bits=(4,)
    )
    calls = {
        kind: {
            "recipe": recipe.to_dict(),
            "kind": kind,
            "seed": seed,
            "widths": [4],
            "data": None,
            "compiled": False,
        }
        for recipe, kind, seed in grid.recipes()
    }
    told = []
    found = run(
        Jobs("trainings", training.train_job, calls, each=lambda name, _: told.append(name))
    )
    assert sorted(told) == sorted(calls)
    return {"runs": [one for result in found for one in result["runs"]]}


def learned(run, folder: Path) -> dict:
    runs = learning.study(folder, parts=("digits",), seeds=(1, 2), passes=1, run=run)
    assert len(runs) == len({json.dumps([r["title"], r["seed"]]) for r in runs}) >= 2
    assert len(list(folder.glob("*.npz"))) == 2 * len(runs)
    return {"runs": sorted(runs, key=lambda r: (r["title"], r["seed"]))}


def learned_in_floating_point(run, folder: Path) -> dict:
    (found,) = spide_training.study(folder, folder.parent / "idx", names=("small",), run=run)
    assert (folder / "small.pt").is_file()
    return found


def converted(run, folder: Path) -> dict:
    train, test = (load_split("digits", part, 4) for part in ("train", "test"))
    return conversion.study(train, test, (16,), folder, epochs=1, steps=(1, 2), run=run)


def counted(run, folder: Path) -> dict:
    test = load_split("digits", "test", DIGITS.spec.input_bits)
    return {"costs": [c.to_dict() for c in cost.study({"digits": (DIGITS, test)}, run=run)]}


def checked(run, folder: Path) -> dict:
    test = load_split("digits", "test", DIGITS.spec.input_bits)
    shipped = {"digits": (DIGITS, test)}
    return scale.study(shipped, lanes=(16,), rate=0.1, images=5, out=folder / "s", run=run)


def routed_by_kinds(run, folder: Path) -> dict:
    facts = hardware.study(folder, lanes=2, run=run)
    assert (folder / "small" / "nextpnr.log").is_file()
    report = json.loads((folder / "small" / "report.json").read_text())
    assert report["fmax_mhz"] == facts["rows"][0]["fmax_mhz"]
    return facts


KINDS = [simulated, routed, attacked, trained, learned, learned_in_floating_point, converted]
KINDS += [counted, checked, routed_by_kinds]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less of what studies have no arguments for; it travels to the workers."""
    wired = Wiring(kind="dense", size=8)
    configuration = ReferenceConfiguration(
        name="small", dataset="mnist", groups=(wired,), feedback=wired, steps=4, batch=10, chunk=10
    )
    monkeypatch.setitem(spide_training.CONFIGURATIONS, "small", configuration)
    monkeypatch.setattr(scale, "ZOO", {})
    neuron = NeuronSpec(theta=64, decay="shift", decay_shift=2, potential_bits=8)
    spec = chain((64, 4, 10), neuron, name="small", input_bits=4, steps=1)
    core = plan_core(random_network(spec, bias=0), 2)
    monkeypatch.setattr(hardware, "kinds", lambda *_: [hardware.Kind(title="small", core=core)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_is_killed(kind, tmp_path: Path, idx_folder: Path, small: None) -> None:
    mark = tmp_path / "mark"
    with running(1) as run:
        found = kind(Killing(run, mark), tmp_path / "killed")
    assert mark.exists()
    with running(0) as run:
        assert without_times(kind(run, tmp_path / "plain")) == without_times(found)


def test_a_worker_of_an_exploration_is_killed(tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(3)
    y = np.arange(240) % 3
    x = rng.integers(0, 90, (240, 16))
    for n in range(3):
        x[y == n, 5 * n : 5 * n + 5] += 120
    data = Dataset(x.astype(np.uint8), y, name="blobs")

    def looked(out: Path, workers: int) -> dict:
        search = Search(
            board="icebreaker",
            out=out,
            shapes=shapes([[4], [8]], [3], [1]),
            data=data,
            epochs=2,
            workers=workers,
        )
        facts = json.dumps(explore(search))
        return json.loads(facts.replace(str(out), "OUT"))

    plain, mark = looked(tmp_path / "plain", 0), tmp_path / "mark"
    runner = searching.Runner
    monkeypatch.setattr(searching, "Runner", lambda *args: Killing(runner(*args), mark))
    assert looked(tmp_path / "killed", 1) == plain
    assert mark.exists()
