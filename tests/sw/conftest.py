"""Fixtures of the learning side: small networks, small idx files, one torch thread."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hw.system.progress import silent
from sw.data.split import Split
from sw.learn.checkpoint import Checkpoint
from sw.learn.network import FloatNetwork
from sw.learn.neuron import LIFParameters
from sw.learn.plan import dense_chain
from sw.learn.recipes import find_recipe
from sw.learn.train import train

IdxWriter = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data set anywhere: an empty cache (returned), no STERNA_DATA, no mirror."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("STERNA_DATA", raising=False)
    monkeypatch.setattr(
        "sw.data.download.MIRRORS", {"mnist": (), "fashion-mnist": (), "cifar10": ()}
    )
    return cache / "sterna"


def idx_bytes(array: np.ndarray) -> bytes:
    """An idx file, written independently of the reader."""
    lengths = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes((0, 0, 8, array.ndim)) + lengths + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """A folder with 20 training and 10 test images in unpacked idx files."""
    folder = tmp_path / "idx"
    folder.mkdir()
    random = np.random.default_rng(1)
    for stem, n in (("train", 20), ("t10k", 10)):
        images = random.integers(0, 256, (n, 28, 28))
        labels = random.integers(0, 10, n)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder


@pytest.fixture
def lived_network() -> Callable[..., FloatNetwork]:
    """Makes float networks whose batch-norms and amplitudes are not at their initial values."""

    def make(
        sizes: tuple[int, ...] = (12, 9, 7, 4), neuron: LIFParameters | None = None, steps: int = 4
    ) -> FloatNetwork:
        inputs, *hidden, classes = sizes
        network = FloatNetwork(
            (inputs, 1, 1), dense_chain(hidden, classes), steps=steps, pixel_max=15, neuron=neuron
        )
        generator = torch.Generator().manual_seed(3)
        for layer in network.float_layers[:-1]:
            norm = layer.edge_modules[0].norm
            assert norm is not None
            assert layer.neuron is not None
            for tensor, low, high in (
                (norm.weight.data, 0.5, 2.5),
                (norm.bias.data, -0.3, 0.3),
                (norm.running_mean, -0.2, 0.2),
                (norm.running_var, 0.1, 0.6),
                (layer.neuron.amplitude.data, 0.6, 1.6),
            ):
                assert tensor is not None
                tensor.uniform_(low, high, generator=generator)
        return network.eval()

    return make


@pytest.fixture(scope="session")
def digits_checkpoint() -> Checkpoint:
    """digits-dense after three epochs of each phase."""
    recipe = find_recipe("digits-dense")
    return train(recipe, seed=5, float_epochs=3, integer_epochs=3, progress=silent)


@pytest.fixture
def pixels() -> torch.Tensor:
    """200 random images of 12 four-bit pixels."""
    return torch.randint(0, 16, (200, 12), generator=torch.Generator().manual_seed(11))


@pytest.fixture
def tiny_data() -> Split:
    """50 random images of 12 four-bit pixels with labels below 4."""
    random = np.random.default_rng(2)
    return Split(
        name="tiny",
        split="test",
        bits=4,
        images=random.integers(0, 16, (50, 12), dtype=np.uint8),
        labels=random.integers(0, 4, 50),
    )
