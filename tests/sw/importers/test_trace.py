"""A forward of the user's own as steps: they do the same, and a file of them holds no code."""

import zipfile
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import sterna
from sw.cli.main import main
from sw.importers.convert_report import load_network
from sw.importers.files import network_bytes
from sw.importers.modules import ConvertError, activations, as_read, followed, read_relu
from sw.importers.trace import Traced, trace

SHAPE = (1, 8, 8)


class Block(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(4, 4, 3, padding=1), act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(torch.add(x, self.conv(x)))


class Net(nn.Module):
    """One ReLU for all, a branch of which nothing comes, every function that is read."""

    def __init__(self) -> None:
        super().__init__()
        act = nn.ReLU(inplace=True)
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, 2, padding=1), act)
        self.blocks = nn.ModuleList([Block(act), Block(act)])
        self.unused, self.fc, self.out = nn.Linear(3, 3), nn.Linear(16, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, hidden: Any = None) -> Tensor:
        n, channels = x.size(0), x.shape[1]
        x = self.stem(x)
        _ = x.relu().mean()
        for block in self.blocks:
            x = block(x)
        x = functional.avg_pool2d(functional.relu(x), 2, stride=2)
        x = functional.dropout(x.contiguous(), 0.5, training=self.training)
        x = functional.adaptive_avg_pool2d(x, (2, 2))
        x = torch.relu(self.fc(x.reshape((n, -1))))
        return torch.log_softmax(self.out(x.view(n * channels, 6)), dim=-1)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(1)
    return Net()


def test_steps_do_what_the_module_does(network) -> None:
    read = as_read(network)
    steps = trace(read)
    x = torch.rand(5, *SHAPE, dtype=torch.float64)
    assert torch.equal(steps(x), read(x))
    places = [step.place for step in steps.steps]
    assert places[:4] == ["stem.0 (Conv2d)", "stem.1 (ReLU)", "blocks.0.conv (Conv2d)", "add (add)"]
    assert places[4].startswith("stem.1 (ReLU) as ")
    assert len(places) == len(set(places))
    assert not [place for place in places if "mean" in place or "unused" in place]
    assert steps.steps[3].inputs == ("stem.1 (ReLU)", "blocks.0.conv (Conv2d)")


def test_a_file_of_steps_is_the_network_and_no_code(network, tmp_path) -> None:
    path = tmp_path / "net.pt"
    sterna.write_steps(network, path)
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
    assert b"Net" not in pickled
    assert b"sw." not in pickled
    loaded = load_network(path)
    assert isinstance(loaded, Traced)
    x = torch.randint(0, 16, (9, 64))
    ours, theirs = (activations(read_relu(n, SHAPE), x, 15)[-1] for n in (loaded, network))
    assert torch.equal(ours, theirs)
    plain = nn.Sequential(nn.Linear(64, 3))
    sterna.write_steps(plain, path)
    assert isinstance(load_network(path), nn.Sequential)


def test_the_command_takes_a_file_of_steps(tmp_path, capsys) -> None:
    torch.manual_seed(1)
    network = Net()
    network.out = nn.Linear(6, 10)
    sterna.write_steps(network, tmp_path / "net.pt")
    out = tmp_path / "net.npz"
    arguments = ["convert", str(tmp_path / "net.pt"), "--dataset", "digits", "--out", str(out)]
    assert main([*arguments, "--steps", "1", "--divisor", "1"]) == 0
    told = capsys.readouterr().out
    assert "1x8x8-4x4x4-4x4x4-4x4x4-6-10, digest" in told
    assert "2 constant(s), rounded by at most" in told
    assert "left out" in told
    converted = sterna.load(out)
    again = sterna.convert(network, "digits", steps=1, divisor=1, name="net")
    assert converted.digest == again.digest


RELU = nn.ReLU()


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([], "Steps must be a list of [name, inputs, module]"),
        ("x", "Steps must be a list of [name, inputs, module]"),
        ([["a"]], "Step 0 must be [name, inputs, module]"),
        ([[1, ["input"], RELU]], "Step 0 must have a name of its own, not 1"),
        ([["input", ["input"], RELU]], "Step 0 must have a name of its own, not 'input'"),
        ([["a", ["b"], RELU]], "Step a must take what earlier steps made, not ['b']"),
        ([["a", "input", RELU]], "Step a must take what earlier steps made, not input"),
        ([["a", ["input"], "relu"]], "Step a must have a module, or None for a sum"),
        ([["a", ["input"], None]], "Step a must have two inputs, not 1"),
        ([["a", ["input", "input"], RELU]], "Step a must have one input, not 2"),
    ],
)
def test_files_whose_steps_are_none(tmp_path, steps, sentence) -> None:
    path = tmp_path / "net.pt"
    torch.save({"steps": steps}, path)
    with pytest.raises(ConvertError) as refused:
        load_network(path)
    assert str(refused.value) == f"Network {path} cannot be read: {sentence}"


def test_steps_of_what_is_no_module_of_torch(tmp_path) -> None:
    path = tmp_path / "net.pt"
    torch.save({"steps": [["a", ["input"], Block(RELU)]]}, path)
    with pytest.raises(ConvertError, match=r"of plain torch\.nn modules, not of"):
        load_network(path)
    torch.save({"steps": [["a", ["input"], nn.Module()], ["b", ["a"], nn.Sequential()]]}, path)
    with pytest.raises(ConvertError) as refused:
        read_relu(load_network(path), SHAPE)
    assert str(refused.value) == (
        "Network cannot be converted: a is not supported (build the network of modules of "
        "torch.nn); b is not supported (put its modules into a Sequential)"
    )


class Cats(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x])


def test_what_cannot_be_written() -> None:
    with pytest.raises(ConvertError, match=r"^cat \(cat\) is not supported \(of what a forward"):
        network_bytes(Cats())
    with pytest.raises(sterna.SternaError, match="Cannot write"):
        sterna.write_steps(nn.Linear(2, 2), "/proc/none/net.pt")


class Through(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_network_that_does_nothing() -> None:
    with pytest.raises(ConvertError, match=r"^Network must do something with its input$"):
        followed(as_read(Through()))
