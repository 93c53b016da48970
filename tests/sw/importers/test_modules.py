"""A stranger's modules: what is read computes what they compute, and all else is a sentence."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from sw.data.dataset import load_split
from sw.data.split import Split
from sw.importers.affine import READ, READ_OF_MAPS
from sw.importers.conversion import Conversion
from sw.importers.convert_report import convert_and_compare, load_network
from sw.importers.modules import ConvertError, activations, read_relu


def norm(module: Any) -> nn.Module:
    """A batch-norm that has seen something."""
    for values, low, high in (
        (module.weight.data, -2.0, 2.0),
        (module.bias.data, -0.5, 0.5),
        (module.running_mean, -0.3, 0.3),
        (module.running_var, 0.2, 2.0),
    ):
        values.uniform_(low, high)
    return module


def convert(network: nn.Module, data: tuple[Split, Split]) -> Any:
    return convert_and_compare(network, *data, Conversion(steps=2), name="x")


@pytest.fixture(scope="module")
def digits() -> tuple[Split, Split]:
    train, test = (load_split("digits", split, 4) for split in ("train", "test"))
    return train, test


# What is read


L, R = nn.Linear, nn.ReLU
CHAINS = [
    [R, lambda: nn.Flatten(), lambda: norm(nn.BatchNorm1d(20)), lambda: L(20, 10)],
    [lambda: norm(nn.BatchNorm1d(20)), R, lambda: norm(nn.BatchNorm1d(20)), R, lambda: L(20, 10)],
    [R, lambda: nn.Unflatten(1, (5, 2, 2)), lambda: norm(nn.BatchNorm2d(5))]
    + [lambda: nn.AvgPool2d(2, 1, padding=1), lambda: nn.Flatten(2), lambda: L(9, 2), nn.Flatten]
    + [lambda: L(10, 10)],
    [R, lambda: nn.AvgPool1d(2), lambda: nn.Dropout1d(), lambda: L(10, 10), nn.Identity],
    [R, lambda: nn.Unflatten(1, (5, 2, 2)), lambda: nn.AdaptiveAvgPool2d(1), nn.Flatten]
    + [lambda: L(5, 10)],
]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("maps", [False, True])
def test_what_is_read_computes_the_same(chain, maps) -> None:
    torch.manual_seed(1)
    front = [norm(nn.BatchNorm2d(1)), nn.Flatten()] if maps else [norm(nn.BatchNorm1d(64))]
    network = nn.Sequential(*front, L(64, 20), *(make() for make in chain)).double().eval()
    shape = (1, 8, 8) if maps else (64,)
    pixels = torch.randint(0, 16, (20, 64))
    expected = network(pixels.double().reshape(-1, *shape) / 15)
    ours = activations(read_relu(network, shape), pixels, 15)[-1]
    assert torch.allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.to(torch.int8),
        lambda weight: weight > 0,
        lambda weight: weight.to(torch.int64).to_sparse(),
        lambda weight: weight.half(),
    ],
)
def test_weights_of_any_type_convert(digits, change) -> None:
    torch.manual_seed(1)
    network: Any = nn.Sequential(L(64, 20), R(), L(20, 10))
    weight = change(torch.randn(20, 64) * 3)
    network[0].weight = nn.Parameter(weight, requires_grad=False)
    (layer, _) = read_relu(network, (64,))
    assert torch.equal(layer.weight, weight.to_dense().double())
    assert convert(network, digits)[1].agreement.share > 0.5
    assert network[0].weight.dtype == weight.dtype


def test_weights_decide_and_not_what_is_said_of_them(digits) -> None:
    torch.manual_seed(1)
    network: Any = nn.Sequential(L(64, 20), R(), nn.Flatten(), L(20, 10))
    image, _ = convert(network, digits)
    network[0].in_features, network[0].out_features = 60, 21
    assert convert(network, digits)[0].digest == image.digest
    network[0].weight = nn.Parameter(torch.zeros(20, 60))
    network[0].in_features = 64
    with pytest.raises(ConvertError, match=r"0 \(Linear\) takes 60 values, and gets 64$"):
        convert(network, digits)


def test_parametrised_weights_are_what_they_compute(digits) -> None:
    torch.manual_seed(1)
    network: Any = nn.Sequential(nn.utils.parametrizations.weight_norm(L(64, 20)), R(), L(20, 10))
    assert torch.allclose(read_relu(network, (64,))[0].weight, network[0].weight.double())
    convert(network, digits)


@pytest.mark.parametrize("softmax", [nn.Softmax(dim=1), nn.LogSoftmax(dim=-1)])
def test_a_final_softmax_is_left_out_with_a_word(digits, softmax) -> None:
    torch.manual_seed(1)
    network: Any = nn.Sequential(L(64, 20), R(), L(20, 10))
    image, bare = convert(network, digits)
    other, report = convert(nn.Sequential(*network, softmax), digits)
    assert other.digest == image.digest
    assert report.left_out == f"3 ({type(softmax).__name__})"
    assert bare.left_out == ""
    for wrong in (type(softmax)(dim=0), nn.Softmin(dim=1)):
        with pytest.raises(ConvertError, match=r"3 \((LogS|S)oftm(ax|in)\) is not supported"):
            convert(nn.Sequential(*network, wrong), digits)


def test_images_have_the_shape_of_their_data_set() -> None:
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 16, (40, 3072), generator=generator).numpy().astype("uint8")
    labels = torch.randint(0, 10, (40,), generator=generator).numpy()
    data = Split(
        name="cifar10", split="test", bits=4, images=pixels, labels=labels, shape=(3, 32, 32)
    )
    network: Any = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), L(48, 20), R(), L(20, 10))
    assert convert(network, (data, data))[0].spec.input_size == 3072


# What is refused


class Raises(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("no")


class Pair(nn.Sequential):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x), 1


def typed(dtype: torch.dtype | None, **options: Any) -> nn.Module:
    return nn.Sequential(L(64, 20, dtype=dtype, **options), R(), L(20, 10))


def endless() -> nn.Module:
    network = nn.Sequential(L(64, 20))
    network.append(network)
    return network


def hooked() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.utils.weight_norm(L(64, 20)), R(), L(20, 10))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Raises(L(64, 20), R(), L(20, 10)),
            "Network cannot run images of shape (64,): KeyError: 'no'",
        ),
        (lambda: Pair(L(64, 20), R(), L(20, 10)), "Network must return a tensor, not a tuple"),
        (
            lambda: typed(torch.complex64),
            "Network cannot be converted: weight of 0 (Linear) must be real numbers, not "
            "torch.complex64",
        ),
        (
            lambda: typed(None, device="meta"),
            "Network cannot be converted: weight of 0 (Linear) has no values yet",
        ),
        (
            lambda: nn.Sequential(nn.LazyLinear(20)),
            "Network cannot be converted: weight of 0 (LazyLinear) has no values yet",
        ),
        (
            hooked,
            "Network cannot be converted: weights of 0 (Linear) must be its own, not computed by "
            "a hook (torch.nn.utils.weight_norm, spectral_norm, prune: take it off with "
            "remove_weight_norm, remove_spectral_norm, prune.remove)",
        ),
        (
            lambda: nn.Sequential(nn.AvgPool2d(2), L(16, 10)),
            "Network cannot be converted: 1 (Linear) takes 16 values, and gets maps of (1, 4, 4): "
            "put a Flatten before it",
        ),
        (
            lambda: nn.Sequential(nn.AvgPool2d(2), L(4, 10)),
            "Network cannot be converted: its output must be one value per class, not of shape "
            "(1, 4, 10): put a Flatten before the last Linear",
        ),
        (endless, "Network must not contain itself"),
        (
            lambda: nn.Sequential(L(64, 20), nn.BatchNorm1d(20, track_running_stats=False)),
            "Network cannot be converted: 1 (BatchNorm1d) must keep running statistics",
        ),
        (
            lambda: nn.DataParallel(L(64, 10)),
            "Network cannot be converted: network (DataParallel) is not supported (save its "
            ".module)",
        ),
    ],
)
def test_a_strangers_module_is_one_sentence(digits, make, sentence) -> None:
    with pytest.raises(ConvertError) as refused:
        convert(make(), digits)
    assert str(refused.value) == sentence


ARGUMENTS = [
    *((), (2,), (4, 4), (4, 2), (2, 4), (4, 4, 4), (1, 4, 3), (4, 4, 4, 4), (2.0, 2)),
    *((8, 10, [4]), ("RNN_TANH", 4, 4), (4, 4, True, 1), (1, (2, 2)), (L(4, 4),)),
    (nn.TransformerEncoderLayer(4, 2), 1),
]


def made(cls: type[nn.Module]) -> nn.Module:
    for arguments in ARGUMENTS:
        try:
            return cls(*arguments)
        except Exception:
            continue
    raise AssertionError(f"{cls.__name__} wants other arguments")


KINDS = [cls for cls in vars(nn).values() if isinstance(cls, type) and issubclass(cls, nn.Module)]


@pytest.mark.filterwarnings("ignore")
def test_every_module_of_torch_is_read_or_named(tmp_path) -> None:
    read, path = [], tmp_path / "network.pt"
    for cls in KINDS:
        torch.save(nn.Sequential(made(cls), nn.Flatten(), L(64, 10)), path)
        try:
            read_relu(load_network(path), (1, 8, 8))
            read.append(cls.__name__)
        except ConvertError as refused:
            text = str(refused)
            assert "\n" not in text
            named = f"0 ({cls.__name__}) is not supported (" in text
            held = f" holds a {cls.__name__}, which is not supported (" in text
            assert named or held or cls.__name__ in READ_OF_MAPS | {"ReLU"}, text
    assert len(KINDS) > 150
    assert set(read) == {name for name in READ if "Dropout" in name} | {
        "Flatten",
        "Identity",
        "Sequential",
    }
