"""The front door: what `import sterna` gives, from arrays to verified Verilog and a planned board;
the README's script as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sterna
from gen.board.files import generate_board
from hw.contract.checks import InputError
from sw.data.shipped import model_path
from sw.spide.start import noise_network
from sw.spide.twin import FastLearner

ROOT = Path(__file__).parents[3]

library: Any = sterna  # for what types forbid


def blobs(n: int = 200) -> sterna.Dataset:
    """Two clouds that a line tells apart, of either sign."""
    rng = np.random.default_rng(1)
    y = np.arange(n) % 2
    x = rng.normal(0, 0.4, (n, 4)) + np.array([[-1, 1, 0, 2], [1, -1, 0, 2]])[y]
    return sterna.Dataset(x, np.array(["lower", "upper"])[y], name="blobs")


@pytest.fixture(scope="module")
def trained() -> sterna.Network:
    return sterna.train(blobs(), hidden=(8,), epochs=12, pixel_bits=3)


# The names


def test_import_costs_nothing():
    code = (
        "import sys, sterna; dir(sterna)\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} & "
        "{'numpy', 'torch', 'amaranth', 'hw', 'sw', 'gen', 'sim'}))\n"
        "sterna.load('digits-dense').classify(sterna.load_dataset('digits').x_test[:2] >> 4)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "\nFalse\n"


@pytest.mark.parametrize("name", sterna.__all__)
def test_every_name_is_there_and_documented(name: str):
    assert getattr(sterna, name).__doc__
    assert name in dir(sterna)


def test_a_name_that_is_not():
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        _ = sterna.lod  # pyright: ignore[reportAttributeAccessIssue]


# Networks


def test_a_network_of_raw_features(trained: sterna.Network, tmp_path: Path):
    data = blobs()
    assert trained.accuracy(data).hits >= 36  # of 40
    assert trained.meta["test"]["integer"] == trained.accuracy(data).to_dict()
    answers = trained.classify(data.x_test)
    assert (answers == data.y_test).sum() == trained.accuracy(data).hits
    trace = trained.trace(data.x_test[:5])
    assert [a.shape for a in (*trace.spikes, *trace.potentials)] == [(5, 4, 8)] * 2
    assert trace.logits.shape == (5, 2)
    assert [data.labels[n] for n in trace.classes] == answers[:5].tolist()
    again = sterna.load(trained.save(tmp_path / "blobs.npz"))
    assert isinstance(again, sterna.Network)
    assert again.digest == trained.digest
    assert again.spec.encoding == data.encoding
    pixels = trained.encode(data.x_test)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (40, 8))  # two channels a feature
    with pytest.raises(InputError, match=r"must have shape \(n, 4\)"):
        trained.classify(pixels)


def test_a_network_of_pixels():
    network, digits = sterna.load("digits-dense"), sterna.load_dataset("digits")
    assert (network.classify(digits.x_test >> 4) == digits.y_test).sum() == 358
    assert network.accuracy(digits).hits == 358
    with pytest.raises(InputError, match=r"not reach 0\.\.255: x >> 4 makes such pixels of bytes"):
        network.classify(digits.x_test)
    with pytest.raises(InputError, match=r"Images must have shape \(n, 64\)"):
        network.classify(digits.x_test[:, 0])
    assert digits.labels == tuple(range(10))
    assert repr(digits) == "Dataset('digits', published)"
    assert len(digits) == 1797


def test_the_same_seed_gives_the_same_network(trained: sterna.Network):
    assert sterna.train(blobs(), hidden=(8,), epochs=12, pixel_bits=3).digest == trained.digest


def test_a_recipe_for_own_pictures():
    pictures = sterna.Dataset(np.random.default_rng(1).random((60, 8, 8)), np.arange(60) % 3)
    network = sterna.train(pictures, recipe="digits-conv", epochs=1, name="tiny", weight_bits=3)
    assert (network.spec.name, network.spec.classes) == ("tiny", 3)
    assert {layer.weight_bits for layer in network.spec.layers} == {3}
    assert network.spec.encoding == pictures.encoding


def test_recordings_are_trained_and_planned():
    rng = np.random.default_rng(1)
    y = np.arange(80) % 2
    x = rng.random((80, 3, 5, 6)) * 0.4  # one row is bright at the start, or another at the end
    x[np.arange(80), y * 2, 1 + 2 * y] = 1.0
    data = sterna.Dataset(x, y, name="rows", axes="thw")
    network = sterna.train(data, hidden=(16,), epochs=30)
    assert (network.spec.timed_input, network.spec.steps) == (True, 3)
    assert network.accuracy(data).hits >= 12  # of 16
    assert network.core(8).plan.stages[0].vectors == 3


# Learning


def test_learning_is_the_twins(tmp_path: Path):
    network = sterna.Network.of(
        noise_network("noise", input_size=8, classes=2, hidden=(16,), input_bits=4)
    )
    data = sterna.Dataset(np.random.default_rng(1).integers(0, 16, (60, 8)), np.arange(60) % 2)
    x, y = data.x, data.y
    once = network.learn(x, y)
    assert network.masters is None
    assert once.digest != network.digest
    twin = FastLearner(sterna_masters(network))
    twin.learn_all(x, y)
    assert once.masters is not None
    assert once.masters.digest == twin.masters.digest
    assert once.learn(x, y).digest == network.learn(x, y, passes=2).digest != once.digest
    again = sterna.load(once.save(tmp_path / "once.npz"))
    assert again.masters is not None
    assert again.learn(x, y).digest == once.learn(x, y).digest
    only = once.learn(x, y, readout_only=True)
    assert np.array_equal(only.weights[0], once.weights[0])
    with pytest.raises(InputError, match=r"Labels must lie in 0\.\.1"):
        network.learn(x, y + 1)
    with pytest.raises(InputError, match="Labels must be 48, one for each example"):
        network.learn(x, y[:3])
    with pytest.raises(InputError, match="Passes must be a positive number, not 0"):
        network.learn(x, y, passes=0)
    with pytest.raises(InputError, match=r"Labels must be integers or text, not 0\.5"):
        network.learn(x, y + 0.5)


def sterna_masters(network: Any) -> Any:
    from hw.learn.masters import Masters

    return Masters.of(network)


def test_a_readout_adapts_in_the_users_words(trained: sterna.Network):
    data = blobs()
    turned = trained.learn(-data.x, data.y)
    assert np.array_equal(turned.weights[0], trained.weights[0])
    assert (turned.classify(-data.x_test) == data.y_test).sum() > (
        trained.classify(-data.x_test) == data.y_test
    ).sum()
    with pytest.raises(InputError, match="must be among 'lower', 'upper', not 'left'"):
        trained.learn(data.x[:1], ["left"])


# Hardware


def test_a_core_is_written_and_verified(trained: sterna.Network, tmp_path: Path):
    core = trained.core(lanes=8)
    facts = core.write(tmp_path / "core")
    assert facts["digest"] == trained.digest
    assert (tmp_path / "core" / "sterna_core.v").read_text().startswith("// blobs-dense, network")
    lines: list[str] = []
    report = core.verify(blobs(), 10, folder=tmp_path / "sim", progress=lines.append)
    assert (report["images"], report["mismatches"], report["passed"]) == (10, 0, True)
    assert report["values_compared"] > 10 * 4 * 8
    assert (tmp_path / "sim" / "report.json").exists()
    assert lines[0].startswith("building sterna_core")
    assert repr(core) == "Core('blobs-dense': 8 lanes, 1 bank(s))"


def test_what_does_not_fit_is_not_verified(trained: sterna.Network):
    wrong = sterna.Dataset(np.ones((10, 3)) * np.arange(10)[:, None], np.arange(10) % 2)
    with pytest.raises(sterna.SternaError, match="Data set data does not fit"):
        trained.core().verify(wrong)
    with pytest.raises(sterna.SternaError, match="Images must be an integer from 1 to"):
        trained.core().verify(blobs(), 0)
    with pytest.raises(sterna.SternaError, match="say with --data where it is"):
        trained.core().verify()


def test_a_board_is_planned(trained: sterna.Network, monkeypatch: pytest.MonkeyPatch):
    plan = trained.plan("icebreaker")
    assert plan.facts["digest"] == trained.digest
    assert repr(plan).startswith("BoardPlan('icebreaker': ")
    assert plan.core.plan.network.digest == trained.digest
    with pytest.raises(sterna.SternaError, match=r"Board must be one of .* not 'icebraker'"):
        trained.plan("icebraker")
    asked: list[Any] = []
    monkeypatch.setattr(
        "sw.front.core.build_board", lambda *args, **more: asked.append((args, more)) or {"a": 1}
    )
    assert plan.build("folder", seed=3) == {"a": 1}
    ((made, folder), more), *_ = asked
    assert (made, folder, more["seed"]) == (plan.plan, Path("folder"), 3)


def test_a_described_board_that_was_built_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    network = sterna.load("digits-dense")
    plan = network.plan(str(ROOT / "examples" / "colorlight_i5.toml"), lanes=4, banks=1).plan
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sterna.SternaError, match=r"built in build/colorlight_i5, not 'colorlight"):
        network.plan("colorlight_i5")
    generate_board(plan.core, plan.spec, plan.board, Path("build", "colorlight_i5"))
    again = network.plan("colorlight_i5", lanes=4, banks=1).plan
    assert (again.board.pins, again.spec) == (plan.board.pins, plan.spec)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda n: n.core(lanes="8"), "Lanes must be an integer from 1 to 65536, not '8'"),
        (lambda n: n.core(banks=True), "Banks must be an integer from 1 to 65536, not True"),
        (lambda n: n.plan("icebreaker", lanes=0), "Lanes must be an integer"),
        (lambda n: n.plan("icebreaker", megahertz="8"), "Clock must be a number of MHz, not '8'"),
        (lambda n: n.plan(None), "Board must be one of"),
        (lambda n: n.plan("icebreaker").build("x", seed="1"), "Seed must be an integer"),
        (lambda n: n.plan("icebreaker").build(None), "Folder must be a path, not None"),
        (lambda n: n.core().write(5), "Folder must be a path, not 5"),
        (lambda n: n.core().write("/dev/null/x"), "Cannot write /dev/null"),
        (lambda n: n.core().verify(5), "Data must be a path, not 5"),
        (lambda n: n.save(""), "Network file must be a path, not ''"),
        (lambda n: n.save("/dev/null/x.npz"), "Cannot write /dev/null"),
        (lambda n: n.accuracy([1]), "Data must be a sterna.Dataset, not a list"),
        (lambda n: n.classify([[1], [1, 2]]), "Examples must be one array"),
        (lambda n: n.classify(torch.ones(2, 4, requires_grad=True)), "Examples must be one array"),
        (lambda n: n.learn([[1, 2, 3, 4]], ["lower"], passes=True), "Passes must be a positive"),
        (lambda n: n.learn([[1, 2, 3, 4]], ["lower"], learning="x"), "must be a LearningSpec"),
        (lambda n: library.load(None), "Network must be a path, not None"),
        (lambda n: library.load_dataset(5), "must be a name or a path, not a int"),
        (lambda n: library.load_dataset("a" * 5000), "must be a name or a path"),
        (lambda n: library.train((1, 2)), "must be a name or a path, not a tuple: sterna.Dataset"),
        (lambda n: library.train(blobs(), hidden="64"), "Hidden neurons must be .* not '64'"),
        (lambda n: library.convert(None, blobs()), "must be a torch.nn.Module, not a NoneType"),
        (lambda n: library.convert({}, blobs()), "not a dict: of a state_dict, make the module"),
        (lambda n: library.convert(nn.Linear(4, 2), blobs(), steps="4"), "Time steps must be an"),
        (lambda n: library.convert(nn.Linear(4, 2), blobs(), mean="0"), "Mean must be one number"),
        (lambda n: library.convert(nn.Linear(4, 2), blobs(), percentile=None), "Percentile must"),
    ],
)
def test_wrong_arguments_are_one_sentence(trained: sterna.Network, call: Any, complaint: str):
    with pytest.raises(sterna.SternaError, match=complaint) as error:
        call(trained)
    assert "\n" not in str(error.value)


def test_arguments_in_other_forms(trained: sterna.Network):
    assert sterna.train(blobs(), hidden=8, epochs=12, pixel_bits=3).digest == trained.digest
    assert library.train(blobs(), hidden=[np.int64(3)], epochs=1).spec.layers[0].neurons == 3
    assert trained.classify(np.zeros((0, 4))).shape == (0,)
    assert sterna.load("digits-dense").classify(np.zeros((0, 8, 8), np.uint8)).shape == (0,)
    assert repr(trained).startswith("Network('blobs-dense': 8-8-2, T = 4, digest ")
    module = nn.Sequential(nn.Linear(4, 2))
    assert sterna.convert(module, blobs(), mean=0.5, std=2).meta["normalised"] == {
        "mean": [0.5],
        "std": [2.0],
    }


def test_a_published_set_of_another_scale():
    """Values of 0 to 1 are not bytes."""
    digits = sterna.load_dataset("digits")
    x, y = np.asarray(digits.x), digits.y
    scaled = sterna.train(sterna.Dataset(x / 255, y), hidden=(4,), epochs=1)
    with pytest.raises(sterna.SternaError, match="digits has pictures of bytes, and the network"):
        scaled.accuracy(digits)
    of_bytes = sterna.train(sterna.Dataset(x, y), hidden=(4,), epochs=1)
    assert of_bytes.accuracy(digits).n == 364


# Conversion


def test_a_module_on_raw_features():
    """Given raw values of either sign, it is folded so that pixels do: the converted network says
    what the module says of the values that the pixels stand for."""
    torch.manual_seed(1)
    data = blobs()
    module = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    x = torch.tensor(data.x, dtype=torch.float32)
    y = torch.tensor([data.labels.index(label) for label in data.y])
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    network = sterna.convert(module, data, steps=8, pixel_bits=8, name="blobs")
    answers = module(torch.tensor(data.x_test, dtype=torch.float32)).argmax(dim=1).numpy()
    expected = np.array(data.labels)[answers]
    assert (expected == data.y_test).mean() > 0.95
    assert (network.classify(data.x_test) == expected).mean() > 0.95
    assert network.meta["test"]["relu"]["hits"] == (expected == data.y_test).sum()
    assert network.spec.encoding == data.encoding
    with pytest.raises(sterna.SternaError, match="Epochs must be a number of at least 0, not -1"):
        sterna.convert(module, data, epochs=-1)


# The README


def test_the_readmes_script_runs_as_it_stands(tmp_path: Path):
    text = (ROOT / "README.md").read_text()
    script = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len(script.splitlines()) <= 18
    path = tmp_path / "script.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "'mismatches': 0" in done.stdout or "0 mismatches" in done.stdout


def test_load_knows_what_ships():
    assert sterna.load("digits-dense").digest == sterna.load(model_path("digits-dense")).digest
    with pytest.raises(sterna.SternaError, match="did you mean 'digits-dense'"):
        sterna.load("digits-dens")
    with pytest.raises(sterna.SternaError, match="did you mean 'digits'"):
        sterna.load_dataset("digit")
