"""What a network from elsewhere is fed: normalised or not, and said in the report."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sw.cli.main import main
from sw.data.arrays import Dataset
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.importers.conversion import Conversion
from sw.importers.convert_report import convert_and_compare
from sw.importers.feed import Feed
from sw.importers.modules import ConvertError, activations, read_relu, relu_leaves

MEAN, STD = 0.3, 0.4


def networks() -> tuple[nn.Sequential, nn.Sequential]:
    """One for pixels / largest pixel, and the same for normalised ones."""
    torch.manual_seed(1)
    plain: Any = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    normalised: Any = nn.Sequential(nn.Linear(64, 20), *plain[1:])
    first, other = plain[0], normalised[0]
    with torch.no_grad():
        other.weight.copy_(first.weight * STD)
        other.bias.copy_(first.bias + MEAN * first.weight.sum(dim=1))
    return plain, normalised


def test_normalisation_is_folded_into_the_first_layer() -> None:
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    plain, normalised = networks()
    conversion = Conversion(steps=2)
    _, expected = convert_and_compare(plain, train, test, conversion, name="x")
    image, report = convert_and_compare(
        normalised, train, test, conversion, name="x", mean=[MEAN], std=[STD]
    )
    assert report.float_accuracy == expected.float_accuracy
    assert abs(report.agreement.hits - expected.agreement.hits) < 8
    assert report.fed == "(pixels / 15 - 0.3) / 0.4"
    assert image.meta["normalised"] == {"mean": [MEAN], "std": [STD]}
    _, wrong = convert_and_compare(normalised, train, test, conversion, name="x")
    assert wrong.float_accuracy != expected.float_accuracy
    assert wrong.fed == "pixels / 15, 0 to 1 (if it was trained on normalised ones: --mean, --std)"


def test_normalisation_by_channel_in_front_of_a_padded_pooling() -> None:
    torch.manual_seed(2)
    pixels = torch.randint(0, 16, (6, 3072))
    data = Split(
        name="cifar10",
        split="test",
        bits=4,
        images=pixels.numpy().astype("uint8"),
        labels=torch.zeros(6, dtype=torch.int64).numpy(),
        shape=(3, 32, 32),
    )
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    x = pixels.double().reshape(-1, 3, 32, 32) / 15
    x = (x - torch.tensor(mean).double()[:, None, None]) / torch.tensor(std).double()[:, None, None]
    for network in (
        nn.Sequential(nn.AvgPool2d(8, padding=4), nn.Flatten(), nn.Linear(75, 10)),
        nn.Sequential(nn.Linear(3072, 10)),
    ):
        feed = Feed.of(data, relu_leaves(network), mean, std)
        layers = read_relu(network, feed.shape, feed.front)
        expected = network.double()(x.reshape(-1, *feed.shape))
        assert torch.allclose(activations(layers, pixels, 15)[-1], expected, atol=1e-5)
    assert feed.text == "(pixels / 15 - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.3]"


@pytest.mark.parametrize(
    ("mean", "std", "sentence"),
    [
        ([1, 2], [], "Mean must be one number, or one for each of 1 channels, not 2"),
        ([], [0], "Standard deviation must be positive, not [0]"),
        ([float("nan")], [], "Mean must be finite, not [nan]"),
    ],
)
def test_what_cannot_be_a_normalisation(mean, std, sentence) -> None:
    data = load_split("digits", "test", 4)
    with pytest.raises(ConvertError) as refused:
        Feed.of(data, relu_leaves(nn.Linear(64, 10)), mean, std)
    assert str(refused.value) == sentence


def test_the_command_says_what_it_feeds_and_on_what_it_compares(tmp_path, capsys) -> None:
    torch.save(networks()[1], tmp_path / "net.pt")
    arguments = ["convert", str(tmp_path / "net.pt"), "--dataset", "digits", "--steps", "2"]
    arguments += ["--out", str(tmp_path / "net.npz")]
    assert main([*arguments, "--mean", "0.3", "--std", "0.4"]) == 0
    told = capsys.readouterr().out
    assert "(pixels / 15 - 0.3) / 0.4" in told
    assert "364 of digits, of each class the first and every fifth after it (a network" in told
    assert main([*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["fed"].startswith("pixels / 15, 0 to 1 (if it was trained on normalised ones")
    assert facts["tested"].startswith("364 of digits")
    assert main([*arguments, "--std", "0"]) == 1
    assert capsys.readouterr().err == "sterna: Standard deviation must be positive, not [0.0]\n"


# A user's own data


def own(kind: str) -> Dataset:
    """Raw values of one kind, and labels."""
    rng = np.random.default_rng(1)
    values = {
        "features": rng.random((30, 6)) * 9 + [1, 20, 3, 40, 5, 6],
        "signed features": rng.normal(0, 3, (30, 6)),
        "bytes": rng.integers(0, 256, (30, 6, 4)).astype(np.uint8),
        "signed pictures": rng.normal(0, 3, (30, 6, 4)),
        "colours last": rng.random((30, 6, 4, 3)) * [1, 5, 9],
        "signed channels": rng.normal(0, 1, (30, 2, 6, 8)) * np.array([[[1]], [[7]]]),
    }[kind]
    return Dataset(values, np.arange(30) % 3, name="own")


KINDS = (
    "features",
    "signed features",
    "bytes",
    "signed pictures",
    "colours last",
    "signed channels",
)


def raw(data: Dataset, split: Split) -> torch.Tensor:
    """What the pixels stand for, written out value by value: (n, channels, rows, columns)."""
    encoding = data.encoding
    assert encoding is not None
    maps = split.images.reshape(-1, *encoding.map_shape) / (2**split.bits - 1)
    low, high = (bound[:, None, None] for bound in encoding.bounds)
    if encoding.signed:
        up, down = np.split(maps, 2, axis=1)
        maps = up - down
    return torch.tensor((low + (high - low) * maps) / split.white)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalised", [False, True])
def test_a_module_is_given_the_raw_values(kind: str, normalised: bool) -> None:
    torch.manual_seed(1)
    data = own(kind)
    split = data.split("train", 5)
    x = raw(data, split)
    if data.x.dtype != np.uint8 and "features" not in kind:  # what was said to be raw is near x
        given = np.moveaxis(data.x, -1, 1) if "last" in kind else data.x.reshape(x.shape)
        step = (np.ptp(given) / 31) * (0.5 + 1e-9)
        assert float(np.abs(given - x.numpy()).max()) <= step
    n = x[0].numel()
    mean, std = ([0.5], [2.0]) if normalised else ([], [])
    expected = (x - 0.5) / 2 if normalised else x
    networks = [nn.Sequential(nn.Linear(n, 7), nn.ReLU(), nn.Linear(7, 3))]
    if "features" not in kind:
        pool = nn.AvgPool2d(2)
        networks.append(nn.Sequential(pool, nn.Flatten(), nn.Linear(n // 4, 7), nn.Linear(7, 3)))
    for network in networks:
        feed = Feed.of(split, relu_leaves(network), mean, std)
        layers = read_relu(network, feed.shape, feed.front)
        taken = expected if isinstance(network[0], nn.AvgPool2d) else expected.flatten(1)
        pixels = torch.from_numpy(split.images)
        wanted = network.double()(taken)
        assert torch.allclose(activations(layers, pixels, 31)[-1], wanted, atol=1e-5)
        assert torch.allclose(feed.run(network, pixels), wanted, atol=1e-5)
        scale = " / 255" if kind == "bytes" else ""
        assert feed.raw.startswith(f"x{scale} of own")
        assert ("channels first" in feed.raw) == (kind in ("colours last", "signed channels"))


def test_features_may_be_normalised_each_by_itself() -> None:
    data = own("features")
    split, network = data.split("train", 4), nn.Sequential(nn.Linear(6, 3))
    mean, std = data.x.mean(axis=0), data.x.std(axis=0)
    feed = Feed.of(split, relu_leaves(network), mean.tolist(), std.tolist())
    expected = (raw(data, split).flatten(1) - torch.tensor(mean)) / torch.tensor(std)
    given = feed.run(lambda x: x, torch.from_numpy(split.images))
    assert torch.allclose(given, expected, atol=1e-9)
    with pytest.raises(ConvertError, match="one for each of 6 channels, not 5"):
        Feed.of(split, relu_leaves(network), mean[:5].tolist())


def test_recordings_are_not_converted() -> None:
    data = Dataset(np.random.default_rng(1).random((20, 6, 5, 5)), np.arange(20) % 2)
    with pytest.raises(ConvertError, match="must hold pictures or features"):
        Feed.of(data.split("train", 4), relu_leaves(nn.Sequential(nn.Linear(150, 2))))
