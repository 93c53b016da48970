"""Signals: Conv1d, AvgPool1d, AdaptiveAvgPool1d and BatchNorm1d of (channels, samples) are edges of
maps of one row."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.arrays import Dataset
from sw.data.dataset import load_split
from sw.importers.conversion import Conversion
from sw.importers.convert_report import convert_and_compare
from sw.importers.feed import Feed
from sw.importers.layers import activations, maps_of
from sw.importers.modules import ConvertError, read_relu, relu_leaves


def settled(network: Any) -> Any:
    """With statistics of its own."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.3, 0.3, generator=generator)
            module.running_var.uniform_(0.3, 2, generator=generator)
    return network.double().eval()


def network(channels: int, samples: int) -> Any:
    torch.manual_seed(1)
    return settled(
        nn.Sequential(
            nn.Conv1d(channels, 4, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(4),
            nn.ReLU(),
            nn.AvgPool1d(2),
            nn.Conv1d(4, 6, 3, padding="same", groups=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(2),
            nn.Flatten(),
            nn.Linear(12, 3),
        )
    )


@pytest.mark.parametrize(("channels", "samples"), [(1, 32), (3, 16)])
def test_what_is_read_computes_the_same(channels: int, samples: int) -> None:
    module = network(channels, samples)
    layers = read_relu(module, (channels, samples))
    assert [edge.kind for layer in layers for edge in layer.edges] == ["conv", "conv", "dense"]
    first, second, last = (layer.edges[0] for layer in layers)
    assert (first.kernel, first.stride, first.padding) == ((1, 5), (1, 2), (0, 2))
    assert (second.pool, second.kernel, second.padding, second.groups) == (
        *((1, 2), (1, 3), (0, 1)),
        2,
    )
    assert last.pool == (1, samples // 8)
    pixels = torch.randint(0, 16, (20, channels * samples))
    expected = module((pixels.double() / 15).reshape(-1, channels, samples))
    assert torch.allclose(activations(layers, pixels, 15)[-1], expected, atol=1e-12)


def test_shapes_of_maps() -> None:
    assert [maps_of(shape) for shape in ((5,), (5, 7), (5, 7, 9))] == [
        *((5, 1, 1), (5, 1, 7)),
        (5, 7, 9),
    ]


def test_a_relu_network_is_converted(tmp_path: Any, capsys: Any) -> None:
    """The digits as one signal of 64 samples, and row by row as signals of eight channels."""
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    for channels in (1, 8):
        module = network(channels, 64 // channels)[:-1]
        module.append(nn.Linear(12, 10).double())
        made, report = convert_and_compare(module, train, test, Conversion(steps=8), name="x")
        assert made.spec.input_shape == (channels, 1, 64 // channels)
        assert [edge.kind for spec in made.spec.layers for edge in spec.edges] == [
            *("conv", "conv", "dense")
        ]
        assert report.agreement.share > 0.75
        assert f"as signals of {channels}x{64 // channels} (channels, samples)" in report.fed
        assert GoldenModel(made).classify(test.images[:5]).shape == (5,)
    torch.save(module, tmp_path / "net.pt")
    assert main(["check", str(tmp_path / "net.pt"), "--shape", "8,8"]) == 0
    assert "convolution of 4x8x5 weights into hidden1" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["features", "signed features", "channels", "signed channels"])
def test_raw_values_as_signals(kind: str) -> None:
    """A module of Conv1d is given the raw values, whatever makes pixels of them."""
    rng = np.random.default_rng(1)
    x = {
        "features": rng.random((30, 24)) * 9 + np.arange(24),
        "signed features": rng.normal(0, 3, (30, 24)),
        "channels": rng.random((30, 2, 12)) * 7,
        "signed channels": rng.normal(0, 1, (30, 2, 12)),
    }[kind]
    data = Dataset(x, np.arange(30) % 3, name="own", axes="hw" if x.ndim == 3 else "f")
    split, encoding = data.split("train", 5), data.encoding
    assert encoding is not None
    channels = 2 if x.ndim == 3 else 1
    module = settled(
        nn.Sequential(
            *(nn.AvgPool1d(2), nn.Conv1d(channels, 3, 3), nn.Flatten()),
            nn.Linear(3 * (12 // channels - 2), 3),
        )
    )
    feed = Feed.of(split, relu_leaves(module), [0.5], [2.0])
    maps = split.images.reshape(len(split), *encoding.map_shape) / 31
    low, high = (bound[:, None, None] for bound in encoding.bounds)
    if encoding.signed:
        up, down = np.split(maps, 2, axis=1)
        maps = up - down
    raw = torch.tensor((low + (high - low) * maps - 0.5) / 2)
    pixels = torch.from_numpy(split.images)
    wanted = module(raw.reshape(len(split), channels, -1))
    given = feed.run(lambda x: x, pixels)
    assert torch.allclose(given, raw.reshape(given.shape), atol=1e-9)
    assert given.shape[1:] == (channels, 24 // channels)
    layers = read_relu(module, feed.shape, feed.front)
    assert torch.allclose(activations(layers, pixels, 31)[-1], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "shape", "sentence"),
    [
        (nn.Conv1d(2, 2, 3), (8,), "takes signals (channels, samples), and gets 8 values"),
        (nn.Conv1d(1, 2, 3), (1, 8, 8), "takes signals (channels, samples), and gets maps of"),
        (nn.Conv1d(2, 2, 3), (3, 8), "does not fit maps of (3, 8)"),
        (nn.Conv2d(2, 2, 3), (8, 8), "takes maps, and gets maps of (8, 8)"),
        (nn.Conv1d(1, 2, 3, dilation=2), (1, 8), "must have a dilation of 1, not (2,)"),
        (nn.Conv1d(1, 2, 3, stride=4), (1, 8), "must have a stride of at most the kernel's sides"),
        (nn.Conv1d(1, 2, 3, padding=3), (1, 8), "must have a padding of as many zeros on both"),
        (nn.Conv1d(1, 2, 4, padding="same"), (1, 8), "must have a padding of as many zeros on"),
        (nn.Conv1d(1, 2, 3, padding=1, padding_mode="circular"), (1, 8), "must have a padding mo"),
    ],
)
def test_what_is_no_edge_is_named(module: nn.Module, shape: Any, sentence: str) -> None:
    """(Torch would take a row of images for channels: nothing may.)"""
    with pytest.raises(ConvertError) as refused:
        read_relu(nn.Sequential(module, nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)), shape)
    assert sentence in str(refused.value)


def test_samples_that_channels_do_not_divide() -> None:
    data = load_split("digits", "test", 4)
    with pytest.raises(
        ConvertError, match=r"64 values, .* as signals .*: 3 channels do not divide"
    ):
        Feed.of(data, relu_leaves(nn.Sequential(nn.Conv1d(3, 2, 3))))


def test_pooling_of_a_row_stays_one_of_its_values() -> None:
    """AvgPool1d of (n, values) pools neighbours, in torch too; it is no pooling of an edge."""
    module = nn.Sequential(
        *(nn.Linear(12, 8), nn.ReLU(), nn.AvgPool1d(2), nn.Linear(4, 3))
    ).double()
    layers = read_relu(module, (12,))
    pixels = torch.randint(0, 16, (20, 12))
    expected = module(pixels.double() / 15)
    assert torch.allclose(activations(layers, pixels, 15)[-1], expected, atol=1e-12)


def test_pooling_of_a_row_among_edges_is_a_matrix() -> None:
    module = settled(
        nn.Sequential(
            *(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 8), nn.ReLU()),
            *(nn.AvgPool1d(2), nn.Linear(4, 3)),
        )
    )
    layers = read_relu(module, (1, 12))
    pixels = torch.randint(0, 16, (20, 12))
    expected = module((pixels.double() / 15)[:, None])
    assert torch.allclose(activations(layers, pixels, 15)[-1], expected, atol=1e-12)


def test_raw_pictures_as_signals_become_a_network() -> None:
    """(n, 2, 12) of your own: pictures to the encoding, signals of two channels to Conv1d."""
    x = np.random.default_rng(1).random((40, 2, 12))
    split = Dataset(x, np.arange(40) % 3, name="own", axes="hw").split("train", 5)
    module = settled(nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(30, 3)))
    made, report = convert_and_compare(module, split, split, Conversion(steps=4), name="x")
    assert made.spec.input_shape == (2, 1, 12)
    assert made.spec.encoding is not None
    assert made.spec.encoding.map_shape == (1, 2, 12)
    assert report.agreement.share > 0.8
