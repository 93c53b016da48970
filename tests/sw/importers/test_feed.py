"""What a network from elsewhere is fed: normalised or not, and said in the report."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from sw.cli.main import main
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
