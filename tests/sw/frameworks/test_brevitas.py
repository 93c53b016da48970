"""Networks of Brevitas: activations are counts, weights are kept as they are; refusals."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sw.data.dataset import load_split
from sw.frameworks.brevitas import BrevitasNetwork, is_file, open_file
from sw.frameworks.importing import import_foreign
from sw.frameworks.integers import integers_of, rounding
from sw.importers.affine import ConvertError

quantised: Any = pytest.importorskip(
    "brevitas.nn", reason="the package brevitas is not installed", exc_type=ImportError
)
quant: Any = importlib.import_module("brevitas.quant")
FloatToIntImplType: Any = importlib.import_module("brevitas.inject.enum").FloatToIntImplType

PIXEL_MAX = 15
EACH: dict[str, Any] = {"weight_bit_width": 4, "weight_quant": quant.Int8WeightPerChannelFloat}


def pixels(shape: tuple[int, ...], n: int = 60) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, PIXEL_MAX + 1, (n, *shape), generator=generator).double()


def settled(network: nn.Module, shape: tuple[int, ...]) -> Any:
    """With scales of activations that it has seen."""
    network.train()
    generator = torch.Generator().manual_seed(8)
    for _ in range(5):
        network(torch.rand((50, *shape), generator=generator))
    return network.eval()


def dense(relu: dict[str, Any] | None = None, **linear: Any) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        quantised.QuantLinear(12, 9, bias=True, **({"weight_bit_width": 4} | linear)),
        quantised.QuantReLU(**({"bit_width": 3, "return_quant_tensor": True} | (relu or {}))),
        quantised.QuantLinear(9, 4, bias=True, weight_bit_width=4),
    )


def maps() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        quantised.QuantIdentity(bit_width=4, return_quant_tensor=True),
        quantised.QuantConv2d(1, 4, 3, weight_bit_width=4, bias_quant=quant.Int32Bias),
        nn.BatchNorm2d(4),
        quantised.QuantReLU(bit_width=4, return_quant_tensor=True),
        nn.AvgPool2d(2),
        quantised.QuantConv2d(4, 3, 2, weight_bit_width=3),
        quantised.QuantReLU(bit_width=2, return_quant_tensor=True),
        nn.Dropout(0.5),
        nn.Flatten(),
        quantised.QuantLinear(12, 5, bias=False, weight_bit_width=4),
    )


def require_equal(network: nn.Module, shape: tuple[int, ...]) -> BrevitasNetwork:
    """Every activation, and the outputs."""
    foreign = BrevitasNetwork(network)
    folded = foreign.read(shape, steps=1, pixel_max=PIXEL_MAX).require()
    given = pixels(shape)
    theirs, ours = foreign.run(given / PIXEL_MAX, 1), folded(given.flatten(1))
    for mine, other in zip(ours.spikes, theirs.spikes, strict=True):
        assert other is not None
        assert mine.max() > 0
        assert torch.allclose(mine, other.reshape(mine.shape), atol=1e-9)
    assert torch.allclose(ours.logits, theirs.outputs, atol=1e-9)
    return foreign


ROUNDS_DOWN = {"float_to_int_impl_type": FloatToIntImplType.FLOOR}
FIXED = {"act_quant": quant.Uint8ActPerTensorFixedPoint}


@pytest.mark.parametrize(
    ("relu", "linear"),
    [
        ({"bit_width": 1}, {}),
        ({"bit_width": 4}, {"weight_bit_width": 8}),
        ({**FIXED, "bit_width": 2}, {"weight_quant": quant.Int8WeightPerTensorFixedPoint}),
        (ROUNDS_DOWN, {}),
        ({}, {"weight_quant": quant.Int8WeightPerChannelFloat}),
    ],
)
def test_what_is_read_computes_the_same(relu: dict[str, Any], linear: dict[str, Any]) -> None:
    require_equal(settled(dense(relu, **linear), (12,)), (12,))


def test_maps_with_a_rounded_input_and_bias() -> None:
    network = settled(maps(), (1, 8, 8))
    with torch.no_grad():
        network[5].weight *= 8  # more counts
    foreign = require_equal(network, (1, 8, 8))
    reading = foreign.read((1, 8, 8), steps=1, pixel_max=PIXEL_MAX)
    told = {finding.node: str(finding) for finding in reading.findings}
    assert told["0 (QuantIdentity)"] == (
        "nothing (left out, in the comparison too: pixels are rounded already)"
    )
    limits = [layer.neuron.limit for layer in reading.require().layers if layer.neuron]
    assert limits == [15, 3]


@pytest.mark.parametrize("by_channel", [False, True])
def test_powers_of_two_are_exact(by_channel: bool) -> None:
    """Where all scales are powers of two, every activation of the integers is Brevitas' own. (A
    bias of a quarter of a step keeps reals off the edges, on which they would fall by chance.)
    Scales of each channel, too, with a weight step for each; of the readout there is one."""
    data = load_split("digits", "test", 4)
    torch.manual_seed(4)
    each = every = {"weight_bit_width": 4, "weight_quant": quant.Int8WeightPerTensorFixedPoint}
    if by_channel:
        fixed: Any = importlib.import_module("brevitas.quant.fixed_point")
        each = every | {"weight_quant": fixed.Int8WeightPerChannelFixedPoint}
    network: Any = nn.Sequential(
        nn.BatchNorm1d(64, affine=False, eps=0.0),
        quantised.QuantLinear(64, 16, bias=True, **each),
        quantised.QuantReLU(**FIXED, **ROUNDS_DOWN, bit_width=3, return_quant_tensor=True),
        quantised.QuantLinear(16, 10, bias=False, **every),
    )
    network[0].running_var.fill_(1 / 15**2)  # whole pixels again
    settled(network[1:], (64,))
    network[2].act_quant(torch.rand(64, 16) * 40)
    network.eval()
    with torch.no_grad():
        if by_channel:
            network[1].weight *= 2.0 ** torch.arange(16)[:, None].remainder(4)
        network[1].bias[:] = network[1].quant_weight().scale.flatten() / 4
    foreign, options = BrevitasNetwork(network), {"name": "exact", "steps": 1, "weight_bits": 4}
    made, report = import_foreign(foreign, data, **options, by_channel=by_channel)
    assert all("kept as they are" in told for told in report.weights.values())
    assert ("a step of each channel" in report.weights["hidden1"]) == by_channel
    if by_channel:
        _, rounded = import_foreign(foreign, data, **options)
        assert rounded.weights["hidden1"].startswith("rounded to 4 bits, rms error")
        assert rounded.after[0].equal < rounded.after[0].compared
    (hidden,) = report.after
    assert hidden.equal == hidden.compared
    assert hidden.both > 100
    assert report.agreement.share == 1
    assert made.spec.layers[0].neuron is not None
    assert made.spec.layers[0].neuron.limit == 7


def test_a_readout_with_scales_of_each_class_is_rounded() -> None:
    """Its logits are compared: they have one unit."""
    network = settled(
        nn.Sequential(
            quantised.QuantLinear(12, 9, bias=True, **EACH),
            quantised.QuantReLU(bit_width=3, return_quant_tensor=True),
            quantised.QuantLinear(9, 4, bias=False, **EACH),
        ),
        (12,),
    )
    folded = BrevitasNetwork(network).read((12,), steps=1, pixel_max=PIXEL_MAX).require()
    integer = integers_of(folded, name="x", weight_bits=8, pixel_bits=4, by_channel=True)
    told = rounding(folded, integer.to_network(), by_channel=True)
    assert told["hidden1"].text.startswith("multiples of a step of each channel, ")
    rounded = "rounded to 8 bits, one step for all channels, rms error "
    assert told["readout"].text.startswith(rounded)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (
            lambda: dense({"bit_width": 5}),
            "1 (QuantReLU) must have at most 4 bits, not 5: train it with bit_width=4",
        ),
        (
            lambda: dense({"input_quant": quant.Int8ActPerTensorFloat}),
            "1 (QuantReLU) must not round its input, too (input_quant)",
        ),
        (
            lambda: dense({"float_to_int_impl_type": FloatToIntImplType.CEIL}),
            "1 (QuantReLU) must round to the nearest, or down, not CEIL",
        ),
        (
            lambda: dense(output_quant=quant.Int8ActPerTensorFloat),
            "0 (QuantLinear) must not round what it makes (output_quant), nor its input",
        ),
        (
            lambda: nn.Sequential(
                quantised.QuantLinear(12, 4, bias=True, weight_bit_width=4),
                quantised.QuantSigmoid(bit_width=4, return_quant_tensor=True),
                quantised.QuantLinear(4, 4, bias=True, weight_bit_width=4),
            ),
            "1 (QuantSigmoid) is not supported: use QuantReLU of at most 4 bits",
        ),
    ],
)
def test_refusals(network: Any, sentence: str) -> None:
    reading = BrevitasNetwork(settled(network(), (12,))).read((12,), steps=1, pixel_max=15)
    with pytest.raises(ConvertError) as error:
        reading.require()
    assert str(error.value) == f"Network cannot be converted: {sentence}"


def test_rounding_within_the_network_is_not_left_out() -> None:
    before = list(maps().children())
    network = nn.Sequential(*before[:5], quantised.QuantIdentity(bit_width=2), *before[5:])
    with pytest.raises(ConvertError) as error:
        BrevitasNetwork(settled(network, (1, 8, 8))).read((1, 8, 8), steps=1, pixel_max=15)
    assert str(error.value) == (
        "Network cannot be converted: 5 (QuantIdentity) rounds what another module made: it may "
        "only stand in front, where it rounds pixels"
    )


def test_it_has_one_step() -> None:
    with pytest.raises(ConvertError) as error:
        BrevitasNetwork(settled(dense(), (12,))).read((12,), steps=4, pixel_max=15)
    assert str(error.value) == (
        "Network counts in one time step, not 4: give --steps 1 (a quantised ReLU network has no "
        "time)"
    )


def test_without_activations() -> None:
    with pytest.raises(ConvertError) as error:
        BrevitasNetwork(nn.Linear(12, 4)).read((12,), steps=1, pixel_max=15)
    assert str(error.value) == "Network has no neurons: it needs QuantReLU of at most 4 bits"


# Files

MODULES = """
framework = "brevitas"
weights = "net.pt"
[[module]]
name = "0"
kind = "QuantLinear"
weight_bit_width = 4
[[module]]
name = "1"
kind = "QuantReLU"
bit_width = 3
[[module]]
name = "2"
kind = "QuantLinear"
weight_bit_width = 4
"""


def test_a_file_describes_a_state_dict(tmp_path: Path) -> None:
    network = settled(dense(), (12,))
    torch.save(network.state_dict(), tmp_path / "net.pt")
    path = tmp_path / "net.toml"
    path.write_text(MODULES)
    assert is_file(path)
    given = pixels((12,)) / PIXEL_MAX
    theirs, ours = BrevitasNetwork(network).run(given, 1), open_file(path).run(given, 1)
    assert torch.equal(theirs.outputs, ours.outputs)


def test_a_width_of_weights_is_not_assumed(tmp_path: Path) -> None:
    """The state is the same of any."""
    torch.save(settled(dense(), (12,)).state_dict(), tmp_path / "net.pt")
    path = tmp_path / "net.toml"
    path.write_text(MODULES.replace("weight_bit_width = 4", "", 1))
    with pytest.raises(ConvertError) as error:
        open_file(path)
    assert str(error.value) == (
        f"Network {path} cannot make 0 (QuantLinear): weight_bit_width must be said"
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("weight_bitwidth = 3", "it has no argument 'weight_bitwidth'"),
        ("bit_width = 4", "it has no argument 'bit_width'"),
        ("kwargs = 4", "it has no argument 'kwargs'"),
        ('bias_quant = "Int31Bias"', "brevitas.quant has no Int31Bias"),
        ('bias_quant = "__name__"', "brevitas.quant has no __name__"),
    ],
)
def test_arguments_that_brevitas_would_ignore(line: str, sentence: str, tmp_path: Path) -> None:
    torch.save(settled(dense(), (12,)).state_dict(), tmp_path / "net.pt")
    path = tmp_path / "net.toml"
    path.write_text(f"{MODULES}{line}\n")
    with pytest.raises(ConvertError) as error:
        open_file(path)
    assert str(error.value) == f"Network {path} cannot make 2 (QuantLinear): {sentence}"


def test_a_file_names_quantisers(tmp_path: Path) -> None:
    """Scales by channel have the state of one for all."""
    network = dense(weight_quant=quant.Int8WeightPerChannelFloat)
    torch.save(settled(network, (12,)).state_dict(), tmp_path / "net.pt")
    path = tmp_path / "net.toml"
    named = 'weight_quant = "Int8WeightPerChannelFloat"\nweight_bit_width = 4'
    path.write_text(MODULES.replace("weight_bit_width = 4", named, 1))
    given = pixels((12,)) / PIXEL_MAX
    theirs, ours = BrevitasNetwork(network).run(given, 1), open_file(path).run(given, 1)
    assert torch.equal(theirs.outputs, ours.outputs)


def test_a_state_dict_alone_says_too_little(tmp_path: Path) -> None:
    torch.save(settled(dense(), (12,)).state_dict(), tmp_path / "net.pt")
    with pytest.raises(ConvertError) as error:
        open_file(tmp_path / "net.pt")
    assert str(error.value) == (
        f"Network {tmp_path / 'net.pt'} must be a TOML file that names a state_dict and says the "
        "kinds and widths of its modules (docs/import.md): Brevitas' modules cannot be saved "
        "themselves"
    )


def test_counts_are_compared_as_whole_numbers() -> None:
    """Activations divided by a scale that is no power of two are so but for their last bit."""
    from sw.frameworks.agreement import SpikeMeter

    counts = torch.arange(8, dtype=torch.float64)[None, None]
    scale = 0.4961
    made = (counts.float() * scale).double() / torch.tensor(scale).double()
    assert not torch.equal(made, counts)
    meter = SpikeMeter(["hidden"])
    meter.add([made], [counts])
    meter.add([made], [counts + 0.25])
    (found,) = meter.agreements([True])
    assert (found.equal, found.compared, found.both, found.either) == (8, 16, 7, 15)
