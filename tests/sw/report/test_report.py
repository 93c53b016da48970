"""The report: what the page says is what ran; differences are marked; a browser finds no fault."""

import json
import re
import shutil
import subprocess
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import sterna
from gen.board.boards import find_board
from gen.board.planner import plan_board
from gen.core.law import CycleLaw
from gen.core.plan import plan_core, plan_network
from hw.contract.network import Network
from sim.bench.kept import KEPT, Kept
from sim.bench.run import simulate
from sim.golden.activity import ActivityMeter
from sim.golden.model import GoldenModel
from sw.cli import report as command
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.data.shipped import model_path
from sw.report import energy
from sw.report.board import boards_of, path_in_words
from sw.report.page import write_report
from sw.report.run import ReportError, SimRun
from sw.report.sections import events_by_step
from sw.report.svg import Colour, css_variables, themed
from sw.report.work import work_by_layer

IMAGES = 24


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulation that has ended, of the network that ships, in two processes."""
    network = Network.load(model_path("digits-dense"))
    data = load_split("digits", "test", network.spec.input_bits)
    folder = tmp_path_factory.mktemp("report") / "run"
    simulate(
        plan_core(network, lanes=32),
        data.images[:IMAGES],
        data.labels[:IMAGES],
        folder,
        processes=2,
    )
    return folder


@pytest.fixture
def run(simulated: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(simulated, tmp_path / "run"))


class Page(HTMLParser):
    """What a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]


def test_the_page_says_what_ran(simulated: Path, tmp_path: Path) -> None:
    facts = json.loads((simulated / "report.json").read_text())
    path = write_report(simulated, tmp_path, tmp_path / "page.html")
    text = path.read_text()
    page = Page(text)
    told = " ".join(page.text)
    assert f"{facts['values_compared']:,} values of {IMAGES} images" in told
    assert "0 mismatches, 0 cycle-law violations" in told
    assert facts["digest"] in told
    titles = [t for t in page.text if t in ("What ran", "Answers", "Energy, estimated")]
    assert len(titles) == 6  # each in the list of sections, and above one
    # One file: nothing is fetched, and every link inside it leads somewhere.
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a.get("href") or a.get("xlink:href") or "" for _, a in page.tags]
    assert all(link == "" or link[0] == "#" or link.startswith("data:") for link in links)
    assert {link[1:] for link in links if link[:1] == "#"} <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", text)
    assert all(svg.get("aria-label") for svg in page.all("svg"))
    # All data can be had from the page itself.
    whole = next(a for a in page.all("a") if a.get("download") == "report.json")
    assert json.loads(b64decode(str(whole["href"]).partition(",")[2])) == facts
    wrong = next(a for a in page.all("a") if a.get("download") == "layers.csv")
    rows = b64decode(str(wrong["href"]).partition(",")[2]).decode().splitlines()
    assert rows[1].startswith("hidden1,64,128,8192,4,")
    assert write_report(simulated, tmp_path, tmp_path / "again.html").read_text() == text


def test_a_run_is_read_back(simulated: Path) -> None:
    run = SimRun.load(simulated)
    trace = GoldenModel(run.network).run(run.pixels)
    assert len(run.labels) == IMAGES
    assert np.array_equal(run.classes, trace.classes)
    assert np.array_equal(run.cycles, run.predicted)
    assert len(run.cycles) == IMAGES - 2  # of two processes
    assert run.picture is not None
    assert run.picture.number == 0
    assert np.array_equal(run.picture.spikes[0], trace.spikes[0][0])
    assert np.array_equal(run.picture.potentials[0], trace.potentials[0][0])


def test_largest_drives(simulated: Path) -> None:
    """By hand: no edge has a delay here, and pixels come at every step."""
    run = SimRun.load(simulated)
    layer = run.network.layers[0]
    drive = run.pixels.astype(np.int64) @ layer.dense_weights.T.astype(np.int64) + layer.dense_bias
    assert run.drives[0].tolist() == [int(np.abs(drive).max())] * run.network.spec.steps
    spikes = run.trace.spikes[0].astype(np.int64)
    last = run.network.layers[1]
    readout = spikes @ last.dense_weights.T.astype(np.int64) + last.dense_bias
    assert run.drives[1].tolist() == np.abs(readout).max(axis=(0, 2)).tolist()


def test_events_are_those_of_the_run(simulated: Path) -> None:
    run = SimRun.load(simulated)
    total = sum(
        float(values.sum())
        for values in events_by_step(run.network, run.pixels, run.trace).values()
    )
    assert total == pytest.approx(run.facts["events_per_image"], abs=0.01)


def test_energy_is_counted(simulated: Path) -> None:
    run = SimRun.load(simulated)
    parts = energy.estimate(run)
    assert parts[0].count == pytest.approx(run.facts["sops_per_image"], abs=0.01)
    assert parts[1].count == 4 * 128
    assert parts[3].count == 2 * 4 * 128 * run.network.spec.layers[0].neuron.potential_bits  # type: ignore[union-attr]
    assert sum(p.nanojoules for p in parts) == pytest.approx(
        parts[0].count * 1e-4
        + parts[1].count * 3e-4
        + (parts[2].count + parts[3].count) * 10 / 64000
    )


def test_a_difference_is_marked(run: Path) -> None:
    """A spike that the hardware would have had otherwise."""
    path = run / "shard1" / KEPT
    kept = Kept.load(path)
    assert kept.picture is not None
    kept.picture.spikes[0][2, 5] += 1
    kept.wrong = True
    kept.save(path)
    report = run / "report.json"
    facts = json.loads(report.read_text()) | {"mismatches": 1, "first_mismatch": "Spike of l"}
    report.write_text(json.dumps(facts))
    text = write_report(run, run).read_text()
    assert "Image 12 of the run" in text  # the first one of the second process
    assert "1 values differ." in text
    assert 'class="verdict bad"' in text
    assert "The first differences" in text
    assert "1 mismatches" in text


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda run: (run / "report.json").unlink(), "has nothing that has ended"),
        (lambda run: (run / "network.npz").write_bytes(b"PK"), "is damaged"),
        (lambda run: (run / "shard0" / KEPT).unlink(), "is damaged"),
        (lambda run: (run / "shard0" / KEPT).write_bytes(b"PK\3\4 no"), "is damaged"),
        (lambda run: (run / "shard1" / "findings.json").write_text("[]"), "is damaged"),
        (lambda run: shutil.rmtree(run / "shard1"), "its parts are of other runs"),
        (lambda run: shutil.rmtree(run), "does not exist"),
    ],
)
def test_what_is_damaged_is_a_sentence(run: Path, spoil, told: str) -> None:
    spoil(run)
    with pytest.raises(ReportError, match=told):
        write_report(run, run)
    assert not (run / "report.html").exists()


# The first difference of a run


class Told:
    """A tap that shows what it is given, a row for each picture and step."""

    def __init__(self, spikes) -> None:
        self._spikes = spikes

    def rows(self, images) -> int:
        return images.spikes[0].shape[0] * images.spikes[0].shape[1]

    def shown(self, rows, images):
        shape = images.spikes[0].shape
        values = self._spikes.reshape(-1, shape[2])[rows[:, 0]].reshape(shape)
        yield 0, values, np.zeros(shape, dtype=np.int64)


def test_kept_is_the_first_picture_that_differs() -> None:
    from gen.stage.taps import Seen

    rng = np.random.default_rng(1)
    expected = rng.integers(-1, 2, (10, 3, 4))
    shown = expected.copy()
    shown[7, 1, 2] += 1
    shown[8, 0, 0] += 1
    kept, tap = Kept(), Told(shown)
    for first in (0, 5):
        part = slice(first, first + 5)
        images = Seen(
            np.zeros((5, 2), dtype=np.uint8), [expected[part]], [np.zeros_like(expected[part])]
        )
        rows = np.arange(3 * first, 3 * (first + 5), dtype=np.uint32)[:, None]
        kept.look(images, [(tap, rows)], differs=bool((shown[part] != expected[part]).any()))  # type: ignore[list-item]
    assert kept.wrong
    assert kept.picture is not None
    assert kept.picture.number == 7
    assert np.array_equal(kept.picture.spikes[0], shown[7])


# The command


def test_command(simulated: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    opened = []
    monkeypatch.setattr(command.webbrowser, "open", opened.append)
    out = tmp_path / "my.html"
    assert main(["report", str(simulated), "--out", str(out), "--open", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["page"] == str(out)
    assert facts["bytes"] == out.stat().st_size < 1_000_000
    assert opened == [out.resolve().as_uri()]


def test_command_refuses(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(command, "BUILD", tmp_path)
    assert main(["report"]) == 1
    assert "has no simulation that has ended: sterna sim makes one" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "no")]) == 1
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "x.json").write_text("{}")
    assert main(["report", str(tmp_path / "x.json")]) == 1
    assert "must be what sterna learn leaves beside a network" in capsys.readouterr().err


def test_without_the_packages(simulated: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sw.report.page", None)
    assert command.report_or_none(simulated, lambda line: None) is None


# Other commands than sim


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a session after a drift leaves, a short one."""
    folder = tmp_path_factory.mktemp("learn")
    more = ("--passes", "1", "--samples", "40", "--every", "20", "--held-out", "10")
    out = ("--drift", "turned", "--test-images", "30", "--out", str(folder / "my.npz"), "--json")
    assert main(["learn", "digits", *more, *out]) == 0
    return folder


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the golden model leaves, of a network of maps."""
    folder = tmp_path_factory.mktemp("golden")
    assert main(["golden", "digits-conv", "--images", "12", "--out", str(folder), "--json"]) == 0
    return folder


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a search leaves, of two networks, one point routed."""
    folder = tmp_path_factory.mktemp("explore")
    points = [
        {
            "network": name,
            "held_out": [hits, 100],
            "layout": {"lanes": lanes, "schedule": "shared"},
            "told": f"{lanes} lanes",
            "luts": 1000 * lanes,
            "brams": lanes,
            "megahertz": 24.0,
            "cycles": 100.0,
            "images_per_second": 1000.0 * lanes,
            "nanojoules": None if name == "small" else 12.5,
        }
        for name, hits in (("small", 90), ("large", 95))
        for lanes in (1, 2, 4)
    ]
    front = [{**p, "test": [9, 10], "command": "sterna bitstream x"} for p in points[::2]]
    front[0]["routed"] = {"used": {"luts": 1234}, "fmax_mhz": 25.678, "images_per_second": 1500}
    front[1]["routed"] = {"refused": "does not fit"}
    facts = {"board": "icebreaker", "networks": 2, "planned": 6, "points": points, "front": front}
    facts["figures"] = ["accuracy", "speed", "energy"]
    (folder / "explore.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a bitstream leaves, by its plan: of a program, with a memory map."""
    network = Network.load(model_path("digits-conv"))
    plan = plan_board(find_board("ulx3s_85f"), network)
    folder = tmp_path_factory.mktemp("board") / "ulx3s_85f"
    folder.mkdir()
    planned = plan.estimate.to_dict()
    path = {"from": "a.b", "to": "c", "logic_ns": 3.0, "wires_ns": 1.0, "cells": 7}
    facts = {
        **plan.to_dict(),
        "asked_mhz": 45.0,
        "fmax_mhz": 84.22,
        "planned": planned,
        "used": {"luts": 16386, "ffs": [9735, 83640]},
        "seconds": {"synthesis": 10.0},
        "critical_paths": {"clk": path},
        "bitstream": str(folder / "x.bit"),
        "bitstream_bytes": 5,
        "bitstream_sha256": "0" * 64,
    }
    (folder / "report.json").write_text(json.dumps(facts))
    stages = [stage.facts() for stage in plan.core.stages]
    design = {"plan": {"recipe": plan.core.recipe()}, "stages": stages}
    (folder / "board.json").write_text(json.dumps(design))
    network.save(folder / "network.npz")
    return folder


def test_the_golden_model_alone(answered: Path, tmp_path: Path) -> None:
    text = write_report(answered, tmp_path, tmp_path / "page.html").read_text()
    assert "The golden model has 11 of 12 images right (91.67 %)." in text
    assert 'id="maps-' in text  # spikes of maps, as maps
    assert "as the golden model has it" in text
    assert 'id="title-memory"' not in text  # no core, no cycles
    assert "Cycles and events" not in text


def respoiled(folder: Path, facts: Any = None, **arrays: Any) -> None:
    """Other facts, or arrays made of those that there are."""
    if facts is not None:
        (folder / "golden.json").write_text(json.dumps(facts))
    found = dict(np.load(folder / "answers.npz"))
    made = {name: change(found[name]) for name, change in arrays.items()}
    np.savez(folder / "answers.npz", **(found | made))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ({"facts": []}, "its parts are of other runs"),
        ({"pixels": lambda x: x.astype(int) + 256}, "pixels must be bytes"),
        ({"labels": lambda x: x + 0.5}, "pixels must be bytes, labels and classes whole numbers"),
        (dict.fromkeys(("pixels", "labels", "classes"), lambda x: x[:0]), "must have pictures"),
        # One more wrong answer leaves as many right ones.
        (
            {
                "pixels": lambda x: np.r_[x, x[:1]],
                "labels": lambda x: np.r_[x, 0],
                "classes": lambda x: np.r_[x, 1],
            },
            "its parts are of other runs",
        ),
    ],
)
def test_a_damaged_golden_run_is_a_sentence(answered: Path, tmp_path: Path, spoil, told) -> None:
    folder = Path(shutil.copytree(answered, tmp_path / "run"))
    respoiled(folder, **spoil)
    with pytest.raises(ReportError, match=told):
        write_report(folder, tmp_path)


@pytest.mark.parametrize("other", [-1, 10])
def test_labels_are_classes(answered: Path, tmp_path: Path, other: int) -> None:
    """None counts from the end."""
    folder = Path(shutil.copytree(answered, tmp_path / "run"))
    found = dict(np.load(folder / "answers.npz"))
    wrong = int(np.argmax(found["labels"] != found["classes"]))
    respoiled(folder, labels=lambda x: np.where(np.arange(len(x)) == wrong, other, x))
    with pytest.raises(ReportError, match="must have labels and answers of 10 classes"):
        write_report(folder, tmp_path)


def test_a_session(learned: Path, tmp_path: Path) -> None:
    facts = json.loads((learned / "my.json").read_text())
    text = write_report(learned, tmp_path, tmp_path / "page.html").read_text()
    assert "turned by 30 degrees" in text
    told = " ".join(Page(text).text)
    for part in ("Weights before and after", "Events before and after", "The drift"):
        assert part in told
    links = {a["download"]: str(a["href"]) for a in Page(text).all("a") if "download" in a}

    def rows(name: str) -> list[list[str]]:
        csv = b64decode(links[name].partition(",")[2]).decode()
        return [row.split(",") for row in csv.splitlines()[1:]]

    # What is told of weights and events is what the files have.
    old, new = (Network.load(learned / name) for name in ("my.before.npz", "my.npz"))
    changed = (old.layers[0].weights != new.layers[0].weights).mean()
    assert rows("weights.csv")[0][2] == f"{round(100 * float(changed), 2)}"
    assert float(rows("events.csv")[0][-1]) > 0
    assert [row[1] for row in rows("session.csv")] == ["0", "20", "40"]
    told = f"{facts['after']['hits']} of {facts['after']['n']}"
    assert told in rows("drift.csv")[2][-1]
    seen = np.load(learned / "my.seen.npz")
    assert (seen["said_after"] == seen["labels"]).sum() == facts["after"]["hits"]
    assert (seen["pixels"] != seen["plain"]).any()
    # The file alone leads to the same page, beside it.
    assert write_report(learned / "my.json", tmp_path).read_text() == text


def test_a_session_of_an_older_version(tmp_path: Path) -> None:
    """Without what lies beside it."""
    point = {"samples": 0, "number": 0, "hits": 1, "n": 10, "right": 0, "learned": 0}
    facts = {
        "network": "lesson <b>",
        "digest": "0" * 64,
        "dataset": "digits",
        "before": {"hits": 1, "n": 10},
        "after": {"hits": 9, "n": 10},
        "session": {"points": [point, {**point, "samples": 50, "number": 1, "hits": 9}]},
    }
    file = tmp_path / "lesson.json"
    file.write_text(json.dumps(facts))
    text = write_report(file, tmp_path).read_text()
    assert "10.00 % before, 90.00 % after" in text
    assert "lesson &lt;b&gt;" in text  # what a file says is text, never markup
    assert "<b>" not in text


def retold(folder: Path, **facts: Any) -> None:
    file = folder / "my.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "my.seen.npz").write_bytes(b"PK"),
        lambda folder: (folder / "my.before.npz").unlink(),
        lambda folder: shutil.copy(folder / "my.before.npz", folder / "my.npz"),
        lambda folder: retold(folder, before={"hits": 31, "n": 30}),  # of another session
        lambda folder: retold(folder, values_compared="many"),
        lambda folder: retold(folder, values_compared=5),
        lambda folder: retold(folder, mismatches="none"),
    ],
)
def test_a_damaged_session_is_a_sentence(learned: Path, tmp_path: Path, spoil) -> None:
    folder = Path(shutil.copytree(learned, tmp_path / "run"))
    spoil(folder)
    with pytest.raises(ReportError, match="is damaged"):
        write_report(folder, tmp_path)
    assert not (folder / "report.html").exists()


def test_a_search(explored: Path, tmp_path: Path) -> None:
    text = write_report(explored, tmp_path, tmp_path / "page.html").read_text()
    told = " ".join(Page(text).text)
    assert "6 layouts of 2 networks planned for icebreaker: a front of 3." in told
    assert "1,234" in told
    assert "25.68" in told
    assert "does not fit" in told
    assert "sterna bitstream x" in told
    assert "at least as good as in right answers, images a second and energy, and" in told
    assert "None" not in told
    (tmp_path / "explore.json").write_text('{"points": []}')
    with pytest.raises(ReportError, match="must be what sterna explore leaves"):
        write_report(tmp_path, tmp_path)


def test_a_bitstream(built: Path, tmp_path: Path) -> None:
    told = " ".join(Page(write_report(built, tmp_path, tmp_path / "page.html").read_text()).text)
    assert "digits-conv on ulx3s_85f: 84.22 MHz after routing, 45 MHz asked." in told
    assert "from a, b to c: 4.00 ns over 7 cells, 25 % of it on wires" in told
    assert "16,386" in told
    assert "11.6" in told  # 9735 of 83640 flip-flops
    assert "Memory map" in told
    other = Path(shutil.copytree(built, tmp_path / "other"))
    Network.load(model_path("digits-dense")).save(other / "network.npz")
    with pytest.raises(ReportError, match="its network is another"):
        write_report(other, tmp_path)


def test_work_by_layer(simulated: Path) -> None:
    """Synaptic operations are those of the meter, and rows those that the simulation saw."""
    run = SimRun.load(simulated)
    work = work_by_layer(run)
    some = run.looked_at[:20]
    trace = GoldenModel(run.network).run(some)
    meter = ActivityMeter(run.network)
    meter.add(some, trace)
    total = sum(float(part.operations.sum()) for part in work)
    assert total == pytest.approx(meter.activity.sops)
    images = [(some[n], [c[n] for c in trace.spikes]) for n in range(len(some))]
    for stage, part in zip(run.plan.stages, work, strict=True):
        assert part.rows == pytest.approx(np.mean([stage.additions(*image) for image in images]))


@pytest.mark.parametrize(("schedule", "lanes"), [("windows", 4), ("shared", 4)])
def test_work_of_programs(schedule: str, lanes: int) -> None:
    """Cycles of all layers are, but for what lies between operations, those of an image."""
    network = Network.load(model_path("digits-conv"))
    plan = plan_network(network, lanes, 1, schedule)
    pixels = load_split("digits", "test", network.spec.input_bits).images[:4]
    trace = GoldenModel(network).run(pixels)
    whole = np.diff(CycleLaw(plan).predict(pixels, trace.spikes)).mean()
    nobody = np.zeros(4, dtype=np.int64)
    run = SimRun(
        facts={}, network=network, pixels=pixels, labels=nobody, classes=nobody, plan=plan,
        cycles=nobody, predicted=nobody, picture=None,
    )  # fmt: skip
    work = work_by_layer(run)
    assert [part.layer for part in work] == [layer.name for layer in network.spec.layers]
    alone = sum(float(part.cycles.sum()) for part in work if part.alone)
    assert 0.85 * whole < alone < 1.05 * whole
    assert all(0 < part.use(float(whole)) <= 1 for part in work)
    assert sum(float(part.operations.sum()) for part in work) > 0


def test_floats_are_told_where_the_file_has_them(answered: Path, tmp_path: Path) -> None:
    path = answered / "network.npz"
    network = Network.load(path)
    by_layer = [
        {"layer": layer.name, "differ": 3 * n, "compared": 1000}
        for n, layer in enumerate(network.spec.layers[:-1])
    ]
    run = Path(shutil.copytree(answered, tmp_path / "run"))
    replace(network, meta={**network.meta, "by_layer": by_layer}).save(run / "network.npz")
    told = Page(write_report(run, tmp_path).read_text())
    assert "Spikes, float against integer" in told.text
    link = next(str(a["href"]) for a in told.all("a") if a.get("download") == "floats.csv")
    last = b64decode(link.partition(",")[2]).decode().splitlines()[-1]
    n = len(by_layer) - 1
    assert last == f"{by_layer[-1]['layer']},{3 * n},1000,{0.3 * n:g}"


def test_boards_of_the_same_network(simulated: Path, tmp_path: Path) -> None:
    digest = Network.load(model_path("digits-dense")).digest
    built = {
        "board": "icebreaker",
        "network": "digits-dense",
        "digest": digest,
        "layout": "8 lanes",
        "asked_mhz": 24,
        "fmax_mhz": 25.5,
        "planned": {"luts": [4000, 5280]},
        "used": {"luts": 4100, "ffs": [2000, 5280]},
        "seconds": {"synthesis": 10.0},
        "critical_paths": {
            "clk": {"from": "a", "to": "b", "logic_ns": 3.0, "wires_ns": 1.0, "cells": 7}
        },
    }
    for name, facts in (("mine", built), ("other", built | {"digest": "0"}), ("bad", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(facts))
    assert [folder.name for folder, _ in boards_of(tmp_path, digest)] == ["mine"]
    told = path_in_words(built["critical_paths"]["clk"])
    assert told == "from a to b: 4.00 ns over 7 cells, 25 % of it on wires"
    ends = {
        "from": "core.stage0.queue0.encoder.current_SB_DFFE_Q_4_D_SB_LUT4_O_LC",
        "to": "core.stage0.queue0.$signal$7_SB_DFFESR_Q_DFFLC",
    }
    told = path_in_words(built["critical_paths"]["clk"] | ends)
    assert told.startswith("from stage 0, queue 0, encoder, current to stage 0, queue 0: 4.00 ns")
    told = path_in_words(built["critical_paths"]["clk"])
    text = write_report(simulated, tmp_path, tmp_path / "page.html").read_text()
    assert told in text
    assert "77.7" in text  # 4100 of 5280


# Pictures


def test_plots() -> None:
    network, digits = sterna.load("digits-dense"), sterna.load_dataset("digits")
    x = digits.x_test >> 4
    for figure in (
        sterna.plots.spikes(network, x[0]),
        sterna.plots.membranes(network, x[0]),
        sterna.plots.confusion(network, x[:50], digits.y_test[:50]),
        sterna.plots.weights(network),
        sterna.plots.weights(network, network),
        sterna.plots.events(network, x[0]),
        sterna.plots.maps(sterna.load("digits-conv"), x[0]),
    ):
        assert isinstance(figure, Figure)
    matrix = sterna.plots.confusion(network, x[:50], digits.y_test[:50])
    counts = [int(text.get_text()) for text in matrix.axes[0].texts]
    assert sum(counts) == 50
    with pytest.raises(sterna.SternaError, match="Images must have shape"):
        sterna.plots.spikes(network, x[0, :5])
    with pytest.raises(sterna.SternaError, match="must have a layer of maps"):
        sterna.plots.maps(network, x[0])
    with pytest.raises(sterna.SternaError, match="must have the same layers"):
        sterna.plots.weights(network, sterna.load("digits-conv"))


def test_every_colour_has_both_themes() -> None:
    light, dark = css_variables(dark=False), css_variables(dark=True)
    assert re.findall(r"--\w+", light) == re.findall(r"--\w+", dark)
    assert themed(f'style="fill: {Colour.BAD}; stroke: {Colour.INK}"') == (
        'style="fill: var(--bad); stroke: var(--ink)"'
    )


# In a browser

PROBE = """
const data = document.body.dataset;
const heads = [...document.querySelectorAll("th.number button")];
let sorted = heads.length > 0;
for (const head of heads) {
  head.click();
  const rows = [...head.closest("table").tBodies[0].rows];
  const cells = rows.map(row => row.cells[head.parentElement.cellIndex].dataset.value);
  const values = cells.filter(cell => cell !== undefined).map(Number);
  sorted &&= values.every((v, n) => n === 0 || values[n - 1] <= v);
}
data.sorted = sorted;
axe.run().then(found => {
  data.faults = found.violations.map(v => v.id + ": " + v.nodes[0].html).join("; ");
  data.passed = found.passes.length;
});
"""
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


KINDS = ("simulated", "learned", "explored", "built")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(
    ("kind", "theme"),
    [
        *((kind, "dark") for kind in KINDS),
        ("simulated", "light"),
        pytest.param("answered", "light", marks=pytest.mark.long),
    ],
)
def test_in_a_browser(kind: str, theme: str, request, tmp_path: Path) -> None:
    """Nothing is said in the console, axe-core finds nothing, and clicks sort tables."""
    if find_spec("axe_core_python") is None:
        pytest.skip("no axe-core: pip install axe-core-python")
    left = request.getfixturevalue(kind)
    page = write_report(left, tmp_path, tmp_path / "page.html").read_text()
    axe = files("axe_core_python").joinpath("axe.min.js").read_text()
    other = page.replace("</body>", f"<script>{axe}</script><script>{PROBE}</script></body>")
    file = tmp_path / "probed.html"
    file.write_text(other)
    done = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"),
            *("--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"),
            f"--blink-settings=preferredColorScheme={0 if theme == 'dark' else 1}",
            *("--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    body = next(a for tag, a in Page(done.stdout).tags if tag == "body")
    assert body["data-sorted"] == "true"
    assert body["data-faults"] == ""
    assert int(str(body["data-passed"])) > 10
