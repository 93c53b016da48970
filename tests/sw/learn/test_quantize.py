"""Quantisation: scales, thresholds, and integers equal to the golden model's."""

import numpy as np
import pytest
import torch

from hw.contract.checks import signed_bits
from hw.contract.network import NetworkError
from sim.golden.model import GoldenModel
from sw.learn.fold import FoldedLayer, FoldedNetwork, fold
from sw.learn.network import time_mean_loss
from sw.learn.neuron import LIFParameters
from sw.learn.quantize import QuantizeError, best_scale, quantize

NEURONS = [
    LIFParameters(),
    LIFParameters(theta=0.4, decay="leak", decay_shift=3),
    LIFParameters(decay="none", decay_shift=0, reset="soft", step=1.0, u0=0.5),
    LIFParameters(decay="shift", decay_shift=1, reset="soft", step=2.0, u0=-0.9),
    LIFParameters(negative="off"),
    LIFParameters(theta=2.0, current="leak", current_shift=2),
    LIFParameters(theta=1.5, reset="soft", step=1.5, current="factor", current_factor=0.75),
    LIFParameters(theta=0.6, theta_negative=0.9, decay_when="after", u0=0.3),
    LIFParameters(
        theta=0.5, decay="none", decay_shift=0, reset="soft", step=0.5, limit=3, negative="guarded"
    ),
]


def one_layer(weight: torch.Tensor, theta: float = 1.0) -> FoldedNetwork:
    n = len(weight)
    hidden = FoldedLayer.dense(weight, torch.zeros(n), LIFParameters(theta=theta))
    readout = FoldedLayer.dense(torch.eye(n), torch.zeros(n), None)
    return FoldedNetwork((hidden, readout), 4)


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("bits", [2, 4, 8, 9, 12, 16])
def test_integer_forward_is_the_golden_model(lived_network, pixels, neuron, bits) -> None:
    network = quantize(
        fold(lived_network(neuron=neuron)), name="tiny", weight_bits=bits, pixel_bits=4
    )
    image = network.to_network()
    trace = GoldenModel(image).run(pixels.numpy().astype(np.uint8))
    with torch.no_grad():
        activity = network(pixels)
    for n in range(2):
        assert np.array_equal(activity.spikes[n].transpose(0, 1).numpy(), trace.spikes[n])
        assert np.array_equal(activity.potentials[n].transpose(0, 1).numpy(), trace.potentials[n])
    assert np.array_equal(activity.logits.numpy(), trace.logits)
    seen = set(np.unique(trace.spikes[0]).tolist())
    assert {0, 1} <= seen
    if neuron.negative != "guarded":  # which need not come to a negative spike
        assert (min(seen) < 0) == (neuron.negative == "free")
    assert (max(seen) > 1) == (neuron.limit > 1)
    spec = image.layers[0].spec.neuron
    assert spec is not None
    for field in ("negative", "limit", "decay", "decay_when", "fraction_bits", "reset"):
        assert getattr(spec, field) == getattr(neuron, field)


def test_still_equal_after_training_steps(lived_network, pixels) -> None:
    network = quantize(fold(lived_network()), name="tiny", weight_bits=4, pixel_bits=4)
    before = network.to_network().digest
    optimizer = torch.optim.Adam(network.parameters(), lr=0.2)
    for _ in range(5):
        optimizer.zero_grad()
        logits = network(pixels).logits * network.logit_scale
        time_mean_loss(logits, torch.arange(len(pixels)) % 4, 4).backward()
        optimizer.step()
    image = network.to_network()
    assert image.digest != before
    with torch.no_grad():
        logits = network(pixels).logits.numpy()
    assert np.array_equal(logits, GoldenModel(image).run(pixels.numpy()).logits)


def test_gradients_reach_every_master(lived_network, pixels) -> None:
    network = quantize(fold(lived_network()), name="tiny", weight_bits=4, pixel_bits=4)
    time_mean_loss(network(pixels).logits, torch.arange(len(pixels)) % 4, 4).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert float(parameter.grad.abs().sum()) > 0


def test_eight_bits_are_nearly_the_float_network(lived_network, pixels) -> None:
    folded = fold(lived_network((12, 32, 4)))
    network = quantize(folded, name="tiny", weight_bits=8, pixel_bits=4)
    with torch.no_grad():
        ours, theirs = network(pixels), folded(pixels)
    assert float((ours.spikes[0] != theirs.spikes[0]).double().mean()) < 0.02
    error = (ours.logits * network.logit_scale - theirs.logits).abs().mean()
    assert float(error) < 0.05 * float(theirs.logits.abs().mean())


@pytest.mark.parametrize("w_max", [1, 7, 127])
def test_best_scale_has_the_least_error_of_its_grid(w_max: int) -> None:
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(1)).double()

    def error(scale: float) -> float:
        return float(((weight - scale * (weight / scale).round().clamp(-w_max, w_max)) ** 2).sum())

    best, peak = best_scale(weight, w_max), float(weight.abs().max()) / w_max
    assert all(error(best) <= error(peak * f) * (1 + 1e-3) for f in np.linspace(0.1, 1, 77))


def test_weights_on_a_grid_keep_their_grid() -> None:
    weight = torch.tensor([[-7.0, 3.0, 0.0], [1.0, 2.0, 7.0]], dtype=torch.float64) * 0.25
    network = quantize(one_layer(weight), name="grid", weight_bits=4, pixel_bits=4).to_network()
    assert network.weights[0].tolist() == [[-7, 3, 0], [1, 2, 7]]


@pytest.mark.parametrize(
    ("theta", "expected"), [(1.0, 4), (0.45, 2), (0.2, 1), (0.125, 1), (25.0, 100)]
)
def test_threshold_is_counted_in_weight_steps(theta: float, expected: int) -> None:
    weight = torch.tensor([[7.0, -7.0]] * 2, dtype=torch.float64) * 0.25
    network = quantize(one_layer(weight, theta), name="th", weight_bits=4, pixel_bits=4)
    neuron = network.spec.layers[0].neuron
    assert neuron is not None
    assert neuron.theta == expected
    assert neuron.potential_bits == max(2, signed_bits(expected - 1))


def test_rounding_and_clipping_of_masters(lived_network) -> None:
    network = quantize(fold(lived_network()), name="tiny", weight_bits=4, pixel_bits=4)
    layer = network.integer_layers[0]
    layer.weight.data[0, :4] = torch.tensor([9.0, -9.0, 1.4, -1.6])
    layer.bias.data[:2] = torch.tensor([1.5, 1.51])
    image = network.to_network()
    assert image.weights[0][0, :4].tolist() == [7, -7, 1, -2]
    assert image.biases[0][:2].tolist() == [22, 23]  # white pixels of 15, ties to even


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda w: w.fill_(0), "Weights of layer hidden1 must not all be zero"),
        (
            lambda w: w[0].fill_(float("nan")),
            "Weights of layer hidden1 must be finite, not NaN or infinite",
        ),
        (
            lambda w: w.fill_(100.0),
            "Threshold of layer hidden1 must be at least half a weight step, not 0.07 of one",
        ),
    ],
)
def test_networks_without_integer_form(change, complaint: str) -> None:
    weight = torch.ones(3, 4, dtype=torch.float64)
    change(weight)
    with pytest.raises(QuantizeError) as error:
        quantize(one_layer(weight), name="bad", weight_bits=4, pixel_bits=4)
    assert str(error.value) == complaint


def test_weights_that_round_to_zero(lived_network) -> None:
    network = quantize(fold(lived_network()), name="tiny", weight_bits=4, pixel_bits=4)
    network.integer_layers[1].weight.data.mul_(0.01)
    with pytest.raises(QuantizeError) as error:
        network.to_network()
    assert str(error.value) == "Weights of layer hidden2 must not all be zero once rounded"


def test_biases_that_are_not_numbers(lived_network) -> None:
    network = quantize(fold(lived_network()), name="tiny", weight_bits=4, pixel_bits=4)
    network.integer_layers[2].bias.data[1] = float("inf")
    with pytest.raises(QuantizeError) as error:
        network.to_network()
    assert str(error.value) == "Biases of layer readout must be finite, not NaN or infinite"


@pytest.mark.parametrize("bias", [1e30, -1e30, 2.0**63])
def test_biases_that_no_integer_holds(lived_network, bias: float) -> None:
    """They are refused by their range, without a word of NumPy's (found by `make soak`)."""
    network = quantize(fold(lived_network()), name="tiny", weight_bits=4, pixel_bits=4)
    network.integer_layers[2].bias.data[1] = bias
    with pytest.raises(NetworkError, match="of layer readout must"):
        network.to_network()


def test_sums_beyond_float32(lived_network) -> None:
    network = quantize(fold(lived_network()), name="tiny", weight_bits=4, pixel_bits=4)
    network.integer_layers[2].bias.data.fill_(2.0**22)
    with pytest.raises(QuantizeError) as error:
        network.to_network()
    assert str(error.value).startswith(
        "Sums of layer readout must stay below 2^24 to be exact in float32, not reach 167"
    )


@pytest.mark.parametrize(("bits", "dtype"), [(8, torch.float32), (9, torch.float64)])
def test_wide_weights_are_kept_in_float64(lived_network, bits, dtype) -> None:
    """As their sums soon do not fit into float32: here, those of weights of 16 bits."""
    network = quantize(fold(lived_network()), name="tiny", weight_bits=bits, pixel_bits=4)
    assert network.dtype == dtype
    wide = quantize(fold(lived_network()), name="tiny", weight_bits=16, pixel_bits=8)
    wide.integer_layers[2].bias.data.fill_(2.0**22)
    assert wide.to_network().layers[2].logit_bound > 2**24
    with pytest.raises(QuantizeError, match=r"must stay below 2\^24 to be exact in float32"):
        wide.float().to_network()


def test_biases_that_no_int32_holds_are_refused(lived_network) -> None:
    network = quantize(fold(lived_network()), name="tiny", weight_bits=16, pixel_bits=4)
    network.integer_layers[0].bias.data.fill_(2.0**32 / network.integer_layers[0].coefficient_max)
    with pytest.raises(NetworkError, match=r"Bias of layer hidden1 must lie within \+-1073741824"):
        network.to_network()


@pytest.mark.parametrize("bits", [1, 17, 4.0])
def test_weight_width(lived_network, bits) -> None:
    with pytest.raises(QuantizeError) as error:
        quantize(fold(lived_network()), name="tiny", weight_bits=bits, pixel_bits=4)
    assert str(error.value) == f"Weight width must be an integer from 2 to 16, not {bits}"
