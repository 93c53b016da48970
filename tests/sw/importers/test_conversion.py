"""Conversion: what is read of a ReLU network, what becomes of it, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hw.contract.network import Network
from sim.golden.model import GoldenModel
from sw.cli.main import main
from sw.data.dataset import load_split
from sw.importers.conversion import Conversion, convert
from sw.importers.convert_report import convert_and_compare, load_network
from sw.importers.modules import ConvertError, activations, read_relu
from sw.learn.neuron import LIFParameters, State, lif_step
from tests.hw.system.notes import Notes


def trained_norm(size: int) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(size)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-0.5, 0.5)
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.2, 2)
    return norm


@pytest.fixture(scope="module")
def digits_network() -> nn.Sequential:
    """64-48-32-10, trained for a moment."""
    torch.manual_seed(1)
    data = load_split("digits", "train", 4)
    x, y = torch.from_numpy(data.images).float() / 15, torch.from_numpy(data.labels)
    network = nn.Sequential(
        nn.Dropout(0.1),
        nn.Linear(64, 48),
        nn.BatchNorm1d(48),
        nn.ReLU(),
        nn.Sequential(nn.Linear(48, 32), nn.ReLU()),
        nn.Linear(32, 10),
    )
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(60):
        order = torch.randperm(len(x))
        for part in order.split(128):
            optimizer.zero_grad()
            functional.cross_entropy(network(x[part]), y[part]).backward()
            optimizer.step()
    return network.eval()


# Reading


def test_what_is_read_computes_the_same() -> None:
    torch.manual_seed(2)
    network = (
        nn.Sequential(
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 9),
            trained_norm(9),
            nn.Dropout(0.5),
            nn.ReLU(),
            nn.Sequential(nn.Linear(9, 7, bias=False), nn.BatchNorm1d(7, affine=False), nn.ReLU()),
            nn.Identity(),
            nn.Linear(7, 5),
            nn.Linear(5, 3),
        )
        .double()
        .eval()
    )
    layers = read_relu(network, (1, 8, 8))
    assert [tuple(layer.weight.shape) for layer in layers] == [(9, 64), (7, 9), (3, 7)]
    pixels = torch.randint(0, 16, (20, 64))
    expected = network((pixels.double() / 15).reshape(-1, 1, 8, 8))
    assert torch.allclose(activations(layers, pixels, 15)[-1], expected, atol=1e-12)


def test_everything_that_cannot_be_converted_is_named() -> None:
    network = nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.Flatten(), nn.Linear(144, 20), nn.Sigmoid(), nn.Linear(20, 10)
    )
    for found in (network, nn.Sequential(nn.Conv2d(1, 1, 1), *network)):
        first = len(found) - len(network)
        with pytest.raises(ConvertError) as refused:
            read_relu(found, (1, 8, 8))
        assert str(refused.value) == (
            f"Network cannot be converted: {first} (Conv3d) is not supported (convolutions are "
            "read of Conv1d and Conv2d); "
            f"{first + 3} (Sigmoid) is not supported (train with ReLU)"
        )


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (nn.Sequential(nn.Flatten()), "it has no Linear"),
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU()), "must be a Linear (the readout), not a ReLU"),
        (nn.Sequential(nn.ReLU(), nn.Linear(4, 3)), "0 (ReLU) follows no Linear"),
        (nn.Sequential(nn.BatchNorm1d(5), nn.Linear(4, 3)), "does not fit 4 values"),
        (nn.Sequential(nn.AvgPool2d(2), nn.Linear(4, 3)), "does not fit 4 values"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(4, 3)), "must leave the first axis as it is"),
        (nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 3)), "not of shape (2, 3)"),
    ],
)
def test_networks_without_the_right_shape(network, words) -> None:
    with pytest.raises(ConvertError) as refused:
        read_relu(network, (4,))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("network", "trouble"),
    [
        (
            nn.Sequential(
                nn.Linear(64, 9), nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3)
            ),
            "1 (Linear) takes 5 values, and gets 9",
        ),
        (
            nn.Sequential(nn.Linear(60, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)),
            "0 (Linear) takes 60 values, and gets 64",
        ),
        (
            nn.Sequential(nn.AvgPool2d(30), nn.Flatten(), nn.Linear(64, 3)),
            "0 (AvgPool2d) does not fit maps of (1, 8, 8)",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_one_fault(network, trouble) -> None:
    shape = (1, 8, 8) if isinstance(network[0], nn.AvgPool2d) else (64,)
    with pytest.raises(ConvertError) as refused:
        read_relu(network, shape)
    assert str(refused.value) == f"Network cannot be converted: {trouble}"


def small(weight=1.0, second=1.0):
    first, last = nn.Linear(4, 3, bias=False), nn.Linear(3, 2)
    with torch.no_grad():
        first.weight.fill_(weight)
        last.weight.fill_(second)
    return read_relu(nn.Sequential(first, nn.ReLU(), last), (4,))


PIXELS = np.full((5, 4), 3, dtype=np.uint8)


@pytest.mark.parametrize(
    ("layers", "pixels", "words"),
    [
        (lambda: small(weight=-1.0), PIXELS, "Layer 0 (Linear) must be active on some calibration"),
        (lambda: small(weight=0.0), PIXELS, "Layer 0 (Linear) must be active on some calibration"),
        (lambda: small(second=0.0), PIXELS, "Weights of layer 2 (Linear) must not all be zero"),
        (small, PIXELS[:, :3], "Calibration images must have shape (n, 4), not (5, 3)"),
        (small, PIXELS[:0], "Calibration images must have shape (n, 4), not (0, 4)"),
        (small, PIXELS * 9, "Calibration images must be integers in 0..15"),
        (small, PIXELS / 2, "Calibration images must be integers in 0..15"),
        (lambda: small(weight=float("nan")), PIXELS, "must be finite, not NaN or infinite"),
    ],
)
def test_what_cannot_be_balanced(layers, pixels, words) -> None:
    with pytest.raises(ConvertError) as refused:
        convert(layers(), pixels, 4, Conversion())
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_threshold_that_folds_to_zero() -> None:
    """One large weight of a neuron that is hardly ever active, and a divisor that asks for more."""
    layers = small(weight=1e-3)
    layers[0].weight[0] = torch.tensor([1.0, -1.0, 1.0, -1.0]) * 1e4
    with pytest.raises(ConvertError, match=r"Threshold of layer 0 \(Linear\) must be at least one"):
        convert(layers, PIXELS, 4, Conversion(divisor=64, weight_bits=2, limit=2))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mode": "relu"}, "Mode must be one of if, termapping, augmapping, not 'relu'"),
        ({"limit": 16}, "Limit must be an integer from 1 to 15, not 16"),
        ({"mode": "if", "limit": 2}, "Limit must be 1 for if, not 2"),
        ({"divisor": 3}, "Divisor must be a power of two up to 64, not 3"),
        ({"percentile": 10}, "Percentile must lie in 50..100, not 10"),
        ({"weight_bits": 17}, "Weight width must be an integer from 2 to 16, not 17"),
        ({"weight_bits": 4.0}, "Weight width must be an integer from 2 to 16, not 4.0"),
    ],
)
def test_conversions_that_cannot_be(fields, words) -> None:
    with pytest.raises(ConvertError) as refused:
        Conversion(**fields)
    assert str(refused.value) == words


# Converting


def test_rates_come_to_the_activations(digits_network) -> None:
    """Longer runs agree with the ReLU network better; AugMapping does in a step what others do in
    many."""
    data = load_split("digits", "train", 4)
    test = load_split("digits", "test", 4)
    reports = {}
    for mode, limit, divisor, steps in [
        ("if", 1, 1, 4),
        ("if", 1, 1, 64),
        ("termapping", 1, 1, 64),
        ("augmapping", 15, 8, 8),
    ]:
        conversion = Conversion(
            mode=mode, steps=steps, limit=limit, divisor=divisor, percentile=100
        )
        network, report = convert_and_compare(
            digits_network, data, test, conversion, name="digits-relu"
        )
        reports[mode, steps] = report
        assert all(
            n.neuron is None or n.neuron.theta & (n.neuron.theta - 1) == 0
            for n in network.spec.layers
        )
    assert reports["if", 64].agreement.hits > reports["if", 4].agreement.hits
    best = reports["augmapping", 8]
    assert best.agreement.share > 0.97
    assert best.float_accuracy.hits - best.integer_accuracy.hits <= 3
    # Binary spikes cannot be taken back, ternary ones can: they are never further off.
    assert reports["termapping", 64].rate_errors[1] <= reports["if", 64].rate_errors[1]
    assert max(best.rate_errors) < 0.02


def test_a_layer_of_one_neuron_is_its_activation() -> None:
    """c over T steps is floor(T a D / lambda + 1/2), as long as no step asks for more than L."""
    first = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        first.weight.fill_(1.0)
    layers = read_relu(nn.Sequential(first, nn.ReLU(), nn.Linear(1, 1)), (1,))
    pixels = np.arange(16, dtype=np.uint8)[:, None]
    conversion = Conversion(steps=5, limit=15, divisor=8, percentile=100)
    network = convert(layers, pixels, 4, conversion)
    counts = GoldenModel(network).run(pixels).spikes[0].sum(axis=1)[:, 0]
    neuron = network.spec.layers[0].neuron
    assert neuron is not None
    exact = network.weights[0][0, 0] * pixels[:, 0].astype(int) / neuron.theta
    assert counts.tolist() == np.floor(5 * exact + 0.5).astype(int).tolist()
    assert np.abs(exact - pixels[:, 0] / 15 * 8).max() < 0.1


# The command


def test_the_command_and_what_it_makes(digits_network, tmp_path, capsys) -> None:
    """From a file with the network to RTL that equals its golden model."""
    path = tmp_path / "relu.pt"
    torch.save(digits_network, path)
    out = tmp_path / "relu.npz"
    arguments = ["--dataset", "digits", "--steps", "2", "--divisor", "8", "--out", str(out)]
    assert main(["convert", str(path), *arguments]) == 0
    told = capsys.readouterr().out
    assert "augmapping, T = 2, L = 15, D = 8" in told
    network = Network.load(out)
    assert network.meta["dataset"] == "digits"
    assert main(["info", str(out)]) == 0
    assert "augmented, theta" in capsys.readouterr().out
    sim = ["sim", str(out), "--images", "20", "--lanes", "16", "--banks", "2"]
    assert main([*sim, "--out", str(tmp_path / "sim")]) == 0


def test_no_code_of_a_file_is_run(tmp_path) -> None:
    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w').close()",))

    torch.save(Trap(), tmp_path / "trap.pt")
    (tmp_path / "text.pt").write_text("no network")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "state.pt")
    for name, words in [
        ("trap.pt", "must be a torch.nn.Sequential of plain torch.nn modules"),
        ("text.pt", "must be a file of torch.save"),
        ("state.pt", "must be a module, not a dict"),
        ("none.pt", "does not exist"),
    ]:
        with pytest.raises(ConvertError) as refused:
            load_network(tmp_path / name)
        assert words in str(refused.value)
    assert not (tmp_path / "ran").exists()


# Training on


def test_tuning_regains_what_two_bits_lost(digits_network) -> None:
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    conversion = Conversion(limit=15, divisor=4, steps=2, weight_bits=2)
    rounded, before = convert_and_compare(digits_network, train, test, conversion, name="low")
    tuned, after = convert_and_compare(
        digits_network, train, test, conversion, name="low", epochs=6
    )
    assert after.integer_accuracy.hits > before.integer_accuracy.hits + 10
    assert tuned.spec == rounded.spec
    assert tuned.digest != rounded.digest
    assert tuned.meta["tuned_epochs"] == 6
    again, _ = convert_and_compare(digits_network, train, test, conversion, name="low", epochs=6)
    assert again.digest == tuned.digest


def test_a_guarded_side_has_no_gradient_while_its_count_is_0() -> None:
    p = LIFParameters(
        limit=3, negative="guarded", decay="none", decay_shift=0, reset="soft", step=1.0
    )
    v = torch.tensor([-1.5, -1.5, 1.5, 4.0], requires_grad=True)
    count = torch.tensor([0.0, 2.0, 0.0, 0.0])
    c, _ = lif_step(v, State(torch.zeros(4), count), p)
    assert c.tolist() == [0, -1, 1, 3]
    c.sum().backward()
    assert v.grad is not None
    assert v.grad.tolist() == [0, 1, 1, 0]


# What a review found


def test_a_module_that_is_used_twice_is_read_twice() -> None:
    torch.manual_seed(1)
    act = nn.ReLU()
    network = nn.Sequential(nn.Linear(64, 20), act, nn.Linear(20, 15), act, nn.Linear(15, 10))
    assert len(read_relu(network, (64,))) == 3


def test_a_network_without_a_hidden_layer() -> None:
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    torch.manual_seed(1)
    notes = Notes()
    network, report = convert_and_compare(
        nn.Sequential(nn.Linear(64, 10)),
        train,
        test,
        Conversion(steps=2),
        name="bare",
        progress=notes,
    )
    assert ("running 364 test images through both networks", 364, 0, 0) in notes.told
    assert notes.told[-2:] == [364, "end"]
    assert report.activity.spike_rates == ()
    assert report.activity.events == report.activity.input_events
    assert network.meta["test"]["integer"] == report.integer_accuracy.to_dict()


class Twisted(nn.Sequential):
    """Its modules are not what it computes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -super().forward(x)


def test_a_forward_of_its_own_is_found_out() -> None:
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    network = Twisted(nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 10))
    with pytest.raises(ConvertError, match="must compute what its modules do"):
        convert_and_compare(network, train, test, Conversion(), name="twisted")
