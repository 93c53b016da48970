"""A user's own data, in each of its forms, through the commands; what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hw.contract.network import Network
from sw.cli.main import main
from sw.data.own import read_own
from tests.sw.data.own_files import idx_folder

ROWS, COLUMNS, CLASSES = 4, 5, ("left", "right")


def examples(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose left or right half is bright."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 90, (n, ROWS, COLUMNS)), np.arange(n) % 2
    x[y == 0, :, :2] += 160
    x[y == 1, :, 3:] += 160
    return x.astype(np.uint8), y


def as_arrays(folder: Path) -> Path:
    x, y = examples()
    np.savez(folder / "halves.npz", x=x, y=np.array(CLASSES)[y])
    return folder / "halves.npz"


def as_table(folder: Path) -> Path:
    x, y = examples()
    lines = [
        ",".join([*map(str, row.ravel()), CLASSES[label]]) for row, label in zip(x, y, strict=True)
    ]
    (folder / "halves.csv").write_text("\n".join(lines))
    return folder / "halves.csv"


def as_pictures(folder: Path) -> Path:
    for n, (picture, label) in enumerate(zip(*examples(), strict=True)):
        where = folder / "halves" / CLASSES[label]
        where.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(where / f"{n:02}.png")
    return folder / "halves"


def as_idx(folder: Path) -> Path:
    return idx_folder(folder / "halves", *examples())


def as_recordings(folder: Path) -> Path:
    x, y = examples()
    recordings = np.repeat(x[:, None] // 30, 5, axis=1)
    np.savez(folder / "halves.npz", x=recordings, y=np.array(CLASSES)[y])
    return folder / "halves.npz"


FORMS = (as_arrays, as_table, as_pictures, as_idx, as_recordings)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Runs a command in an empty folder; its JSON, or what it says when it fails."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object, fails: bool = False) -> Any:
        code = main([str(a) for a in arguments] + ([] if fails else ["--json"]))
        out, err = capsys.readouterr()
        assert code == int(fails), err
        return err if fails else json.loads(out)

    return command


@pytest.mark.parametrize("form", FORMS)
def test_each_form_from_training_to_an_answer(
    form: Callable[[Path], Path], tmp_path: Path, run: Callable[..., Any]
):
    path = form(tmp_path)
    data = read_own(path)
    made = run("train", "--data", path, "--hidden", "6", "--epochs", "3", "--pixel-bits", "3")
    assert made["recipe"] == "halves-dense"
    exported = run("export", "halves-dense", "--data", path, "--lanes", "8")
    network = Network.load(exported["image"])
    assert network.spec.encoding == data.encoding
    assert network.meta["dataset"] == "halves"
    golden = run("golden", exported["image"], "--data", path)
    assert (golden["images"], golden["hits"]) == (12, network.meta["test"]["integer"]["hits"])
    assert golden["hits"] >= 9
    asked = run("ask", f"golden:{exported['image']}", exported["image"], "--data", path)
    assert asked["images"] == 12
    assert asked["hits"] == golden["hits"]


def test_a_network_is_exported_again(tmp_path: Path, run: Callable[..., Any]):
    path = as_arrays(tmp_path)
    run("train", "--data", path, "--hidden", "4", "--epochs", "1")
    first = run("export", "halves-dense", "--data", path)
    assert run("export", "halves-dense", "--data", path)["digest"] == first["digest"]
    x, y = examples()
    np.savez(tmp_path / "others.npz", x=x[::-1], y=np.array(CLASSES)[y])
    told = run("export", "halves-dense", "--data", tmp_path / "others.npz", fails=True)
    assert "the training part of others is not what it was" in told
    assert run("export", "nobody", "--data", path, fails=True)
    assert not (tmp_path / "build" / "nobody").exists()


def test_digits_have_no_files(tmp_path: Path, run: Callable[..., Any]):
    """A place that would not be read is refused; a folder is one's own data."""
    folder, table = as_pictures(tmp_path), as_table(tmp_path)
    for arguments in (
        ("train", "--data", table, "--dataset", "digits", "--hidden", "4"),
        ("golden", "digits-dense", "--data", table, "--dataset", "digits"),
        ("learn", "digits", "--data", table),
    ):
        assert "Data set digits has no files, so" in run(*arguments, fails=True)
    assert "must have 64 whole numbers" in run(
        "golden", "digits-dense", "--data", folder, fails=True
    )
    assert "do not exist" in run("golden", "digits-dense", "--data", "nowhere", fails=True)
    assert run("train", "--data", folder, "--epochs", "1")["recipe"] == "halves-dense"
    made = run("train", "digits-binary", "--data", folder, "--epochs", "1")
    assert made["recipe"] == "halves-digits-binary"


def test_learning_leaves_no_former_accuracy(tmp_path: Path, run: Callable[..., Any]):
    path = as_arrays(tmp_path)
    run("train", "--data", path, "--hidden", "4", "--epochs", "1")
    image = run("export", "halves-dense", "--data", path)["image"]
    assert "test" in Network.load(image).meta
    learned = run("learn", image, "--readout-only", "--data", path)
    assert "test" not in Network.load(learned["image"]).meta


def test_a_simulation_of_own_pictures(tmp_path: Path, run: Callable[..., Any]):
    path = as_pictures(tmp_path)
    run("train", "--data", path, "--hidden", "6", "--epochs", "1", "--name", "own")
    image = run("export", "own", "--data", path)["image"]
    report = run("sim", image, "--data", path, "--lanes", "8", "--images", "5")
    assert (report["images"], report["mismatches"]) == (5, 0)


def test_own_data_by_the_environment(
    tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    path = as_arrays(tmp_path)
    run("train", "--data", path, "--hidden", "4", "--epochs", "1")
    image = run("export", "halves-dense", "--data", path)["image"]
    assert "say with --data where it is" in run("golden", image, fails=True)
    monkeypatch.setenv("STERNA_DATA", str(path))
    assert run("golden", image)["images"] == 12


def test_a_module_is_converted_on_own_data(tmp_path: Path, run: Callable[..., Any]):
    path = as_arrays(tmp_path)
    data = read_own(path)
    torch.manual_seed(1)
    module = nn.Sequential(nn.Flatten(), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.tensor(data.x).float() / 255  # as torch has pictures of bytes
    y = torch.tensor([data.labels.index(label) for label in data.y])
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    torch.save(module, "halves.pt")
    report = run("convert", "halves.pt", "--data", path, "--steps", "8", "--pixel-bits", "8")
    wanted = module(torch.tensor(data.x_test).float() / 255).argmax(dim=1).numpy()
    hits = int((np.array(data.labels)[wanted] == data.y_test).sum())
    assert report["relu"] == {"hits": hits, "n": 12}
    assert report["spiking"]["hits"] >= hits - 1
    assert report["fed"].startswith("x / 255 of halves, as pixels of 8 bits")
    assert report["tested"].startswith("12 of halves, of each class the first and every fifth")
    assert run("golden", report["image"], "--data", path)["hits"] == report["spiking"]["hits"]
    tuned = run("convert", "halves.pt", "--data", path, "--tune", "1", "--name", "tuned")
    assert tuned["relu"]["n"] == 12
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(20, 3)), "three.pt")
    told = run("convert", "three.pt", "--data", path, fails=True)
    assert "Network must have 2 outputs, one for each class of halves, not 3" in told


def test_a_shipped_recipe_and_one_of_a_file(tmp_path: Path, run: Callable[..., Any]):
    path = as_arrays(tmp_path)
    assert (
        run("train", "digits-binary", "--data", path, "--epochs", "1")["recipe"]
        == "halves-digits-binary"
    )
    Path("mine.toml").write_text("hidden = [5]\nsteps = 2\nbatch = 8\n")
    assert run("train", "mine.toml", "--data", path, "--epochs", "1")["recipe"] == "mine"
    folder = as_pictures(tmp_path / "more")
    assert run("train", "mine.toml", "--data", folder, "--epochs", "1")["recipe"] == "mine"
    network = Network.load(run("export", "mine", "--data", folder)["image"])
    assert [layer.neurons for layer in network.spec.layers] == [5, 2]
    assert network.spec.steps == 2


def test_a_published_set_without_a_recipe(run: Callable[..., Any]):
    made = run("train", "--dataset", "digits", "--hidden", "8", "--epochs", "1", "--name", "few")
    assert made["recipe"] == "few"
    exported = run("export", "few")
    assert Network.load(exported["image"]).spec.encoding is None
    assert run("golden", exported["image"])["images"] == 364


def test_pixels_for_a_network_of_pixels(tmp_path: Path, run: Callable[..., Any]):
    x = np.random.default_rng(1).integers(0, 16, (40, 8, 8))
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(40) % 10)
    assert run("golden", "digits-dense", "--data", tmp_path / "mine.npz")["images"] == 10
    np.savez(tmp_path / "mine.npz", x=x * 3, y=np.arange(40) % 10)
    assert "must have 64 whole numbers from 0 to 15" in run(
        "golden", "digits-dense", "--data", tmp_path / "mine.npz", fails=True
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--data", "none.npz", "--hidden", "4"], "do not exist"),
        (["train", "--data", "{own}", "--hidden", "0"], "Hidden neurons must be positive numbers"),
        (["train", "digits-dense", "--data", "{own}", "--hidden", "4"], "not as both"),
        (["train", "mnist-dense", "--data", "{table}"], "must not move, mirror or cut out"),
        (["train", "--data", "{own}", "--hidden", "4", "--name", "a b"], "Network name must be"),
        (["train", "--data", "{own}", "--hidden", "4", "--steps", "0"], "Time steps must be"),
        (["train", "--dataset", "digit", "--hidden", "4"], "did you mean 'digits'?"),
        (["train", "--hidden", "4"], "Data must be named: one of digits, .*, or a .npz file"),
        (["train", "none.toml", "--data", "{own}"], "Recipe none.toml does not exist"),
        (["golden", "digits-dense", "--data", "{table}"], "must have 64 whole numbers"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, run: Callable[..., Any], arguments: list[str], sentence: str
):
    own, table = as_arrays(tmp_path), as_table(tmp_path)
    told = run(*(a.format(own=own, table=table) for a in arguments), fails=True)
    assert re.search(sentence, told), told
    assert told.count("\n") == 1
    assert not (tmp_path / "build").exists()
