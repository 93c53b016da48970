"""Convolutional networks: what is read computes what they compute, and the integers follow it."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from hw.contract.edge import INPUT, EdgeSpec
from hw.contract.network import Network
from sim.golden.model import GoldenModel
from sw.data.arrays import Dataset
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.importers.conversion import Conversion, calibrate, constant_errors, convert
from sw.importers.convert_report import convert_and_compare, report_table
from sw.importers.feed import Feed
from sw.importers.layers import AffineLayer
from sw.importers.modules import ConvertError, activations, followed, read_relu, relu_leaves

SHAPE = (1, 8, 8)


def norm(channels: int) -> nn.BatchNorm2d:
    """A batch-norm that has seen something."""
    module: Any = nn.BatchNorm2d(channels)
    for values, low, high in (
        (module.weight.data, 0.5, 2.0),
        (module.bias.data, -0.3, 0.5),
        (module.running_mean, -0.3, 0.3),
        (module.running_var, 0.2, 2.0),
    ):
        values.uniform_(low, high)
    return module


class Net(nn.Module):
    """A stem, an identity shortcut, one through a 1x1 convolution, global pooling."""

    def __init__(self, channels: int = 4, stride: int = 1) -> None:
        super().__init__()
        n = channels
        self.stem = nn.Sequential(nn.Conv2d(1, n, 3, stride, padding=1), norm(n))
        self.same = nn.Sequential(nn.Conv2d(n, n, 3, padding="same", bias=False), norm(n))
        self.down = nn.Conv2d(n, 2 * n, 3, 2, 1)
        self.deep = nn.Sequential(nn.Conv2d(2 * n, 2 * n, 3, 1, 1), norm(2 * n))
        self.short = nn.Sequential(nn.Conv2d(n, 2 * n, 1, 2), norm(2 * n))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(2 * n, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = functional.relu(x + self.same(x), inplace=True)
        y = self.deep(self.down(x).relu())
        y += self.short(x)
        return self.head(self.drop(y.relu().mean((2, 3))))


def pixels(n: int = 20, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = int(np.prod(shape))
    return torch.randint(0, 16, (n, size), generator=generator).to(torch.uint8)


def close_to(network: nn.Module, layers: list[AffineLayer], shape: tuple[int, ...]) -> bool:
    x = pixels(shape=shape)
    expected = network.double().eval()(x.double().reshape(-1, *shape) / 15)
    return torch.allclose(activations(layers, x, 15)[-1], expected, atol=1e-9)


# Reading


def test_a_residual_network_is_read_as_its_edges() -> None:
    torch.manual_seed(1)
    network = Net()
    layers = read_relu(network, SHAPE)
    assert close_to(network, layers, SHAPE)
    told = [
        [(e.source, e.kind, e.kernel, e.stride, e.padding, e.pool) for e in layer.edges]
        for layer in layers
    ]
    assert told == [
        [(INPUT, "conv", 3, 1, 1, 1)],
        [("hidden1", "identity", 1, 1, 0, 1), ("hidden1", "conv", 3, 1, 1, 1)],
        [("hidden2", "conv", 3, 2, 1, 1)],
        [("hidden3", "conv", 3, 1, 1, 1), ("hidden2", "conv", 1, 2, 0, 1)],
        [("hidden4", "dense", 1, 1, 0, 4)],
    ]
    assert [layer.place for layer in layers] == [
        "stem.0 (Conv2d)",
        "same.0 (Conv2d)",
        "down (Conv2d)",
        "deep.0 (Conv2d)",
        "mean (mean)",
    ]


def test_batch_norm_is_folded_by_its_equation() -> None:
    torch.manual_seed(2)
    conv, after = nn.Conv2d(2, 3, 3, bias=True), norm(3)
    network = nn.Sequential(conv, after, nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 2))
    layer = read_relu(network, (2, 8, 8))[0]
    values: Any = after
    gain = values.weight.double() / torch.sqrt(values.running_var.double() + after.eps)
    bias: Any = conv.bias
    assert torch.allclose(layer.weight, conv.weight.double() * gain[:, None, None, None])
    offset = values.bias.double() + gain * (bias.double() - values.running_mean.double())
    assert torch.allclose(layer.bias, offset)


def test_an_average_is_a_sum_and_its_divisor_in_the_weights() -> None:
    torch.manual_seed(2)
    conv, linear = nn.Conv2d(2, 3, 3, padding=1), nn.Linear(3, 2)
    network = nn.Sequential(
        *(nn.AvgPool2d(2), nn.AvgPool2d(2), conv, nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear),
    )
    first, last = read_relu(network, (2, 9, 8))  # a row is left over
    assert torch.equal(first.weight, conv.weight.double() / 16)
    assert first.edges[0].pool == 4
    assert torch.equal(last.weight, linear.weight.double() / 4)
    assert last.edges[0].pool == 2
    assert close_to(network, [first, last], (2, 9, 8))


class Twice(nn.Module):
    """The same maps over two paths, sums of sums, an activation that changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 3, padding=1)
        self.mix, self.norm = nn.Conv2d(2, 2, 1), norm(2)
        self.fc = nn.Linear(2 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.add(self.a(x), self.b(x))
        x = functional.relu(x)
        y = self.norm(x + x + self.mix(x))
        y = functional.avg_pool2d(functional.relu(functional.relu(y)), 2)
        y = torch.relu(y)
        return functional.log_softmax(self.fc(y.view(y.size(0), -1)), dim=1)


def test_paths_from_one_layer_are_joined() -> None:
    torch.manual_seed(3)
    network = Twice()
    layers = read_relu(network, SHAPE)
    assert [[e.kind for e in layer.edges] for layer in layers] == [
        ["conv"],
        ["conv", "conv"],  # the sum of both, each channel with its factor, is a convolution too
        ["dense"],
    ]
    assert layers[1].edges[0].groups == 2
    x = pixels()
    expected = network.double().eval()(x.double().reshape(-1, *SHAPE) / 15)
    ours = functional.log_softmax(activations(layers, x, 15)[-1], dim=1)
    assert torch.allclose(ours, expected, atol=1e-9)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(64, 9), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(functional.relu(self.one(torch.flatten(x, 1))))


def test_dense_layers_are_a_chain_whoever_calls_them() -> None:
    torch.manual_seed(1)
    network = Mlp()
    traced = read_relu(network, SHAPE)
    plain = read_relu(nn.Sequential(nn.Flatten(), network.one, nn.ReLU(), network.two), SHAPE)
    assert all(layer.edges == () for layer in traced)
    for a, b in zip(traced, plain, strict=True):
        assert torch.equal(a.weight, b.weight)
        assert torch.equal(a.bias, b.bias)


CHAINS: list[list[nn.Module]] = [
    [nn.Conv2d(1, 4, 5, 2, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.ReLU()]
    + [nn.Flatten(), nn.Linear(16, 3)],
    [nn.Conv2d(1, 4, 1, bias=False), nn.Conv2d(4, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 1)]
    + [nn.AvgPool2d(8), nn.Flatten()],
    [nn.Conv2d(1, 2, 3), nn.Flatten(), nn.BatchNorm1d(72).eval(), nn.ReLU(), nn.Linear(72, 3)],
    [nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 3)],
    [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Identity()],
    [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(3, 1, padding=1), nn.Flatten(), nn.Linear(72, 3)],
    [nn.BatchNorm2d(1), nn.Conv2d(1, 2, 7), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)],
    [nn.Conv2d(1, 3, (1, 5), (1, 2), (0, 2)), nn.ReLU(), nn.AvgPool2d((2, 1))]
    + [nn.Conv2d(3, 2, (4, 2), (3, 1), (2, 0)), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 1))]
    + [nn.Flatten(), nn.Linear(4, 3)],
    [nn.Conv2d(1, 2, 2, 2), nn.ReLU(), nn.Conv2d(2, 3, (3, 5), padding="same"), nn.ReLU()]
    + [nn.AvgPool2d((1, 2)), nn.AvgPool2d((2, 1)), nn.Flatten(), nn.Linear(12, 3)],
    [nn.Conv2d(1, 2, 11, 3, 5), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3)],
]


def test_rectangles_are_read_as_they_are() -> None:
    torch.manual_seed(1)
    layers = read_relu(nn.Sequential(*CHAINS[-3]), SHAPE)
    assert [layer.edges for layer in layers] == [
        (EdgeSpec(source=INPUT, kind="conv", kernel=(1, 5), stride=(1, 2), padding=(0, 2)),),
        (
            EdgeSpec(
                source="hidden1",
                kind="conv",
                kernel=(4, 2),
                stride=(3, 1),
                padding=(2, 0),
                pool=(2, 1),
            ),
        ),
        (EdgeSpec(source="hidden2", pool=(1, 3)),),
    ]


@pytest.mark.parametrize("chain", CHAINS)
def test_what_is_read_computes_the_same(chain) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(*chain)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.reset_parameters()  # by the seed, whatever was made before
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.running_mean is not None
            module.running_mean.uniform_(-0.5, 0.5)
    layers = read_relu(network, SHAPE)
    assert close_to(network, layers, SHAPE)
    sample = pixels().numpy()
    convert(layers, sample, 4, Conversion(steps=2))  # the contract takes all of them


# What is refused


def conv(*arguments: Any, **options: Any) -> nn.Module:
    head = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3))
    network = nn.Sequential(nn.Conv2d(1, 4, *arguments, **options), *head)
    network(torch.zeros(2, *SHAPE))
    return network


def same(kernel: tuple[int, int]) -> nn.Module:
    """Of an even kernel, torch warns that it costs a copy."""
    network: Any = conv(kernel)
    network[0].padding = "same"
    return network


class Calls(nn.Module):
    """One convolution, and what is called on it."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self.conv, self.call = nn.Conv2d(1, 4, 3, 2, 1), call

    def forward(self, x: Tensor) -> Any:
        return self.call(self.conv(x), x)


ONLY = "(of what a forward calls besides modules, +, relu, flatten, mean and avg_pool2d are read)"
R = functional.relu


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (
            conv((1, 12), padding=(0, 2)),
            "0 (Conv2d) must have a kernel of at most 11x11, not (1, 12)",
        ),
        (
            conv((3, 1), (2, 3)),
            "0 (Conv2d) must have a stride of at most the kernel's sides, not (2, 3)",
        ),
        (
            same((3, 4)),
            "0 (Conv2d) must have a padding of as many zeros on both sides of an axis, and less "
            "than the kernel's side, not 'same' with a kernel of (3, 4)",
        ),
        (conv(3, dilation=2), "0 (Conv2d) must have a dilation of 1, not (2, 2)"),
        (
            conv(1, padding=1),
            "0 (Conv2d) must have a padding of as many zeros on both sides of an axis, and less "
            "than the kernel's side, not (1, 1)",
        ),
        (
            conv(3, padding=1, padding_mode="reflect"),
            "0 (Conv2d) must have a padding mode of 'zeros', not reflect",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3)),
            "2 (MaxPool2d) is not supported (pool with AvgPool2d)",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.AvgPool2d(2), nn.ReLU(), nn.Flatten()),
            "2 (ReLU) makes maps by no single convolution: put a ReLU, or spiking "
            "neurons, behind each convolution, and pool behind them",
        ),
        (
            nn.Sequential(norm(1), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten()),
            "2 (ReLU) must get nothing but 0 where its padding adds zeros: what is added before a "
            "padded convolution (a normalisation, a BatchNorm2d) is missing at the borders: "
            "normalise behind the convolution, or not at all",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()),
            "its output must be one value per class, not of shape (4, 6, 6): put a Flatten before "
            "the last Linear",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten()),
            "the last module must be a Linear (the readout), not a ReLU",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()),
            "0 (Conv2d) does not fit maps of (1, 8, 8)",
        ),
        (
            Calls(lambda y, x: (y + x).flatten(1)),
            "add (add) must add values of one shape, not (4, 4, 4) and (1, 8, 8)",
        ),
        (Calls(lambda y, x: (y + 1).flatten(1)), f"add (add) is not supported {ONLY}"),
        (Calls(lambda y, x: (y * y).flatten(1)), f"mul (mul) is not supported {ONLY}"),
        (Calls(lambda y, x: y[:, 0].flatten(1)), f"getitem (getitem) is not supported {ONLY}"),
        (Calls(lambda y, x: torch.cat([y, y], 1).flatten(1)), f"cat (cat) is not supported {ONLY}"),
        (
            Calls(lambda y, x: functional.max_pool2d(R(y), 2).flatten(1)),
            "max_pool2d (max_pool2d) is not supported (pool with avg_pool2d or AvgPool2d)",
        ),
    ],
)
def test_what_is_refused_in_one_sentence(network, sentence) -> None:
    torch.manual_seed(1)
    with pytest.raises(ConvertError) as refused:
        read_relu(network, SHAPE)
    assert str(refused.value) == f"Network cannot be converted: {sentence}"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda y, x: y if y.sum() > 0 else x,
            "Network cannot be followed by torch.fx, its forward must do the same with every image"
            ": TraceError: symbolically traced variables cannot be used as inputs to control flow",
        ),
        (lambda y, x: (y, x), "Network must return a tensor, not a tuple"),
        (lambda y, x: y.size(0), "Network must return a tensor, not a Node"),
    ],
)
def test_what_cannot_be_followed(call, sentence) -> None:
    with pytest.raises(ConvertError) as refused:
        read_relu(Calls(call), SHAPE)
    assert str(refused.value) == sentence


def test_padding_has_names() -> None:
    """None, and as much as leaves maps what they are."""
    torch.manual_seed(1)
    for padding, side in (("valid", 6), ("same", 8)):
        network = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=padding), nn.ReLU(), nn.Flatten(), nn.Linear(2 * side**2, 3)
        )
        layers = read_relu(network, SHAPE)
        assert layers[0].shape == (2, side, side)
        assert close_to(network, layers, SHAPE)


def test_one_matrix_is_so_large_and_no_larger(monkeypatch) -> None:
    """A convolution and the dense layer behind it: pixels times what lies between."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(128, 3))
    monkeypatch.setattr("sw.importers.maps.LARGEST_MATRIX", 64 * 128)
    (layer,) = read_relu(network, SHAPE)
    assert [tuple(kernel.shape) for kernel in layer.kernels] == [(3, 64)]
    assert close_to(network, [layer], SHAPE)
    monkeypatch.setattr("sw.importers.maps.LARGEST_MATRIX", 64 * 128 - 1)
    with pytest.raises(ConvertError, match="is no single convolution with what stands before it"):
        read_relu(network, SHAPE)


def test_weights_that_are_no_numbers() -> None:
    network = Net()
    with torch.no_grad():
        network.down.weight[0] = float("nan")
    with pytest.raises(ConvertError) as refused:
        read_relu(network, SHAPE)
    assert (
        str(refused.value) == "Weights of layer down (Conv2d) must be finite, not NaN or infinite"
    )


@pytest.fixture(scope="module")
def digits() -> tuple[Split, Split]:
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    return train, test


class Standardised(nn.Conv2d):
    """Not the convolution of its weights."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight - self.weight.mean(), self.bias)


def test_a_convolution_that_is_none_is_found_out(digits) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(
        Standardised(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
    with pytest.raises(ConvertError, match="must compute what its modules do"):
        convert_and_compare(network, digits[0], digits[1], Conversion(), name="twisted")


# Integers


def test_the_drive_of_every_layer_is_its_equation() -> None:
    """Of the residual network: the golden model's potentials, from the integers by hand."""
    torch.manual_seed(1)
    layers = read_relu(Net(), SHAPE)
    sample = pixels(40).numpy()
    conversion = Conversion(limit=15, divisor=4, steps=3, weight_bits=5)
    peaks = calibrate(layers, sample, 15, conversion.percentile)
    network = convert(layers, sample, 4, conversion, peaks=peaks)
    worth = {INPUT: 1 / 15} | {f"hidden{n + 1}": peak / 4 for n, peak in enumerate(peaks)}
    trace = GoldenModel(network).run(sample[:5])
    sent = {f"hidden{n + 1}": c.astype(int) for n, c in enumerate(trace.spikes)}
    for n, (layer, integers) in enumerate(zip(layers, network.layers, strict=True)):
        neuron, title = integers.spec.neuron, integers.spec.name
        own = worth.get(title, 1.0)
        theta = 1 if neuron is None else neuron.theta
        # Each weight is the nearest on its edge's grid to what it stands for, or the largest.
        for edge, real, whole in zip(integers.edges, layer.kernels, integers.kernels, strict=True):
            if neuron is None:
                continue
            wanted = real.numpy() * worth[edge.source] / own * theta / 2**edge.shift
            most = 2**15 - 1 if edge.kind == "identity" else 15
            assert np.array_equal(whole, np.clip(np.round(wanted), -most, most))
        if neuron is None:
            continue
        assert theta & (theta - 1) == 0
        u = np.full(trace.potentials[n][:, 0].shape, theta // 2)
        for t in range(3):
            drive = integers.bias[None, :, None, None].astype(float)
            for edge, kernel in zip(integers.edges, integers.kernels, strict=True):
                values = sample[:5] if edge.source == INPUT else sent[edge.source][:, t]
                maps = torch.from_numpy(values.astype(float))
                maps = maps.reshape(5, *network.spec.shape_of(edge.source))
                if edge.kind == "identity":
                    part = maps * float(kernel[0])
                else:
                    weight = torch.from_numpy(kernel.astype(float))
                    part = functional.conv2d(maps, weight, None, edge.stride, edge.padding)
                drive = drive + part.numpy() * 2**edge.shift
            v = u + drive.reshape(5, -1).astype(int)
            u = v - theta * sent[f"hidden{n + 1}"][:, t]
            assert np.array_equal(u, trace.potentials[n][:, t])
    # The identity's constant: h1's threshold in h2's, rounded to the step of h2's integers.
    (error,) = constant_errors(layers, network, peaks, conversion)
    neuron = network.spec.layers[1].neuron
    assert neuron is not None
    exact = worth["hidden1"] / worth["hidden2"] * neuron.theta
    assert error == pytest.approx(abs(int(network.layers[1].kernels[0][0]) / exact - 1))
    assert 0 < error <= 0.5 / exact


def agreement(network: Network, layers: list[AffineLayer], images: Any) -> float:
    ours = GoldenModel(network).classify(images)
    theirs = activations(layers, torch.from_numpy(images), 15)[-1].argmax(1).numpy()
    return float((ours == theirs).mean())


@pytest.fixture(scope="module")
def trained(digits) -> nn.Module:
    """`Net` on digits, for a moment."""
    torch.manual_seed(1)
    network, (train, _) = Net(8, stride=2), digits
    network.head = nn.Linear(16, 10)
    x, y = torch.from_numpy(train.images).float().reshape(-1, *SHAPE) / 15, train.labels
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(6):
        for part in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(x[part]), torch.from_numpy(y)[part])
            loss.backward()
            optimizer.step()
    return network.eval()


def test_longer_runs_come_to_the_relu_network(digits, trained) -> None:
    train, test = digits
    layers = read_relu(trained, SHAPE)
    assert accuracy_of_relu(layers, test) > 0.85
    few = test.images[:150]
    shares = {}
    for mode, limit, divisor, steps in [
        ("if", 1, 1, 2),
        ("if", 1, 1, 32),
        ("termapping", 1, 1, 32),
        ("augmapping", 15, 8, 2),
    ]:
        conversion = Conversion(mode=mode, limit=limit, divisor=divisor, steps=steps)
        network = convert(layers, train.images[:500], 4, conversion)
        shares[mode, steps] = agreement(network, layers, few)
    assert shares["if", 2] < 0.8
    assert min(shares["if", 32], shares["termapping", 32], shares["augmapping", 2]) > 0.95


def accuracy_of_relu(layers: list[AffineLayer], test: Split) -> float:
    answers = activations(layers, torch.from_numpy(test.images), 15)[-1].argmax(1).numpy()
    return float((answers == test.labels).mean())


def test_the_report_and_tuning_of_few_bits(digits, trained) -> None:
    train, test = digits
    conversion = Conversion(limit=15, divisor=4, steps=1, weight_bits=3)
    rounded, before = convert_and_compare(trained, train, test, conversion, name="low")
    tuned, after = convert_and_compare(trained, train, test, conversion, name="low", epochs=2)
    assert after.integer_accuracy.hits > before.integer_accuracy.hits + 5
    assert tuned.spec == rounded.spec
    text = report_table(rounded, conversion, before)
    assert "1x8x8-8x4x4-8x4x4-16x2x2-16x2x2-10, digest" in text
    (error,) = before.constant_errors
    assert f"1 constant(s), rounded by at most {100 * error:.2g} %" in text
    stem, same, down, deep, short = 9 * 8 * 16, 9 * 64 * 16, 9 * 128 * 4, 9 * 256 * 4, 128 * 4
    assert before.macs == stem + same + down + deep + short + 160


def small(kernel: float, shortcut: float) -> list[AffineLayer]:
    """Two layers of one neuron; over the shortcut comes as much as it says."""

    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(1, 1, 1, bias=False) for _ in range(3))
            self.short, self.fc = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(1, 2)
            with torch.no_grad():
                for conv, value in ((self.a, 1.0), (self.b, kernel), (self.short, shortcut)):
                    conv.weight.fill_(value)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x).relu()
            x = (self.b(x) + x + self.short(x)).relu()
            return self.fc(x.flatten(1))

    return read_relu(Shortcut(), (1, 1, 1))


def test_shifts_bring_edges_of_unlike_sizes_together() -> None:
    sample = np.arange(16, dtype=np.uint8)[:, None]
    layers = small(0.01, -0.3)
    # Both convolutions are one edge, as they see the same: an identity and a kernel are left.
    assert [e.kind for e in layers[1].edges] == ["conv", "identity"]
    network = convert(layers, sample, 4, Conversion(limit=15, divisor=4, steps=4))
    assert agreement(network, layers, sample) > 0.9


def test_a_normalised_constant_that_is_too_large() -> None:
    """A shortcut of some million weight steps."""
    layers = small(1e-6, 0.0)
    sample = np.arange(16, dtype=np.uint8)[:, None]
    with pytest.raises(ConvertError, match="must get no more over its shortcut from hidden1 than"):
        convert(layers, sample, 4, Conversion(limit=15, divisor=4))


# A user's own data


@pytest.mark.parametrize("signed", [False, True])
def test_raw_values_that_may_be_negative(signed) -> None:
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, (30, 8, 8)) if signed else rng.integers(0, 256, (30, 8, 8))
    values = values if signed else values.astype(np.uint8)
    split = Dataset(values, np.arange(30) % 3, name="own").split("train", 5)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).append(nn.Linear(4, 3))
    feed = Feed.of(split, relu_leaves(followed(network)))
    layers = read_relu(network, feed.shape, feed.front)
    assert layers[0].sources == ((1 + signed, 8, 8),)
    x = torch.from_numpy(split.images)
    wanted = feed.run(network.double(), x)
    assert torch.allclose(activations(layers, x, 31)[-1], wanted, atol=1e-6)
    convert_and_compare(network, split, split, Conversion(steps=1), name="own")


# Random graphs


@st.composite
def graphs(draw: st.DrawFn) -> tuple[nn.Module, int]:
    """A network of two to four layers on 4x4 maps, with sums, strides and pooling at random."""
    seed, sizes = draw(st.integers(0, 2**31)), draw(st.lists(st.integers(1, 3), min_size=1))[:3]
    choices = [draw(st.sampled_from(["plain", "identity", "pointwise", "pool"])) for _ in sizes]
    torch.manual_seed(seed)
    return Random(list(zip(sizes, choices, strict=True))), seed


class Random(nn.Module):
    def __init__(self, layers: list[tuple[int, str]]) -> None:
        super().__init__()
        self.kinds = [kind for _, kind in layers]
        before = 1
        self.convs, self.shorts = nn.ModuleList(), nn.ModuleList()
        for channels, kind in layers:
            made = before if kind == "identity" else channels
            kernel = 1 if kind == "pool" else 3
            layer = nn.Conv2d(before, made, kernel, padding=kernel // 2)
            self.convs.append(nn.Sequential(layer, norm(made)))
            self.shorts.append(nn.Conv2d(before, made, 1))
            before = made
        self.head = nn.Linear(before, 3)

    def forward(self, x: Tensor) -> Tensor:
        side = 4
        for kind, convs, short in zip(self.kinds, self.convs, self.shorts, strict=True):
            if kind == "pool" and side > 1:
                x, side = functional.avg_pool2d(x, 2), side // 2
            y = convs(x)
            y = y + x if kind == "identity" else y + short(x) if kind == "pointwise" else y
            x = torch.relu(y)
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


@settings(deadline=None, max_examples=10)
@given(graphs())
def test_rates_of_random_graphs_come_to_the_activations(graph) -> None:
    """IF over 32 steps: each layer's rate is its activation, but for what 8 bits and the count of
    steps leave open; and what is read computes what the module computes."""
    module, seed = graph
    shape = (1, 4, 4)
    layers = read_relu(module, shape)
    assert close_to(module, layers, shape)
    images = pixels(6, shape, seed % 1000).numpy()
    if not all(bool(values.any()) for values in activations(layers, torch.from_numpy(images), 15)):
        with pytest.raises(ConvertError, match="must be active on some calibration image"):
            calibrate(layers, images, 15, 100)
        return
    peaks = calibrate(layers, images, 15, 100)
    conversion = Conversion(mode="if", steps=32, percentile=100)
    network = convert(layers, images, 4, conversion, peaks=peaks)
    spikes = GoldenModel(network).run(images).spikes
    *hidden, _ = activations(layers, torch.from_numpy(images), 15)
    for peak, c, values in zip(peaks, spikes, hidden, strict=True):
        assert float(np.abs(c.mean(axis=1) - values.numpy() / peak).mean()) < 0.05
