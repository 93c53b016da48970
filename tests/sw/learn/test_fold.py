"""Folding: the folded network is the network, and rounding must come after it."""

import pytest
import torch

from hw.contract.edge import EdgeSpec
from sw.learn.fold import fold
from sw.learn.graph import Drive, Node, propagate
from sw.learn.network import FloatNetwork, spike_rate, time_mean_loss
from sw.learn.neuron import LIFParameters, TernaryLIF
from sw.learn.plan import dense_chain
from sw.learn.quantize import best_scale

NEURONS = [
    LIFParameters(),
    LIFParameters(theta=0.5, decay="leak", decay_shift=1),
    LIFParameters(decay="none", decay_shift=0, reset="soft", step=1.0, u0=0.25),
]
ONCE = [
    LIFParameters(theta=0.5, negative="off", limit=3, decay="none", decay_shift=0, u0=0.25),
    LIFParameters(decay_when="after", u0=0.5),
    LIFParameters(u0=0.5),  # of which a quarter is left in the first step
]


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("sizes", [(12, 9, 4), (12, 9, 7, 4), (12, 4)])
def test_folded_network_is_the_network(lived_network, pixels, sizes, neuron) -> None:
    network = lived_network(sizes, neuron).double()
    with torch.no_grad():
        before, after = network(pixels), fold(network)(pixels)
    for c, d in zip(before.spikes, after.spikes, strict=True):
        assert torch.equal(c, d)
    for u, w in zip(before.potentials, after.potentials, strict=True):
        assert torch.allclose(u, w, rtol=0, atol=1e-10)
    assert torch.allclose(before.logits, after.logits, rtol=0, atol=1e-10)
    if len(sizes) > 2:
        assert 0.1 < float(spike_rate(before.spikes)) < 0.95  # else the equation says little


@pytest.mark.parametrize("neuron", ONCE)
def test_of_a_single_step_the_start_is_a_bias(lived_network, pixels, neuron) -> None:
    """Then thresholds by channel are possible; firing from half a threshold rounds."""
    network = lived_network((12, 9, 7, 4), neuron, steps=1).double()
    folded = fold(network)
    with torch.no_grad():
        before, after = network(pixels), folded(pixels)
    for c, d in zip(before.spikes, after.spikes, strict=True):
        assert torch.equal(c, d)
    assert torch.allclose(before.logits, after.logits, rtol=0, atol=1e-10)
    kept = neuron.decay == "shift" and neuron.decay_when == "before"
    starts = {layer.neuron.u0 for layer in folded.layers if layer.neuron is not None}
    assert starts == {neuron.u0 if kept else 0.0}
    assert fold(lived_network((12, 9, 4), neuron, steps=2)).layers[0].neuron == neuron
    if neuron.limit == 3:
        drive = before.drives[1] / neuron.theta
        assert torch.equal(before.spikes[1], drive.round().clamp(0, 3).flatten(2))
        assert len(before.spikes[1].unique()) == 4


def test_folded_receiver_takes_the_senders_amplitude(lived_network) -> None:
    network = lived_network((12, 9, 4))
    amplitude = network.float_layers[0].neuron.amplitude.item()
    readout = fold(network).layers[1]
    assert amplitude != 1.0
    assert torch.allclose(
        readout.weight, network.float_layers[1].edge_modules[0].weights.weight.double() * amplitude
    )


def test_fold_first_then_quantise(lived_network) -> None:
    """Rounding W before folding, as the grid needs it rounded again, is another network."""
    network = lived_network((64, 32, 4))
    exact = fold(network).layers[0].weight

    def on_grid(weight: torch.Tensor) -> torch.Tensor:
        scale = best_scale(weight, 7)
        return scale * torch.clamp(torch.round(weight / scale), -7, 7)

    right = on_grid(exact)
    linear = network.float_layers[0].edge_modules[0].weights
    linear.weight.data.copy_(on_grid(linear.weight.data))
    wrong = on_grid(fold(network).layers[0].weight)
    error_right, error_wrong = (float(((w - exact) ** 2).sum()) for w in (right, wrong))
    assert not torch.equal(right, wrong)
    assert error_wrong > 1.2 * error_right


def one_layer(drive: Drive) -> list[Node]:
    """A firing layer of this drive, and a readout that adds up its spikes."""
    hidden = Node("hidden", ((EdgeSpec(source="input"), drive),), TernaryLIF())
    return [hidden, Node("readout", ((EdgeSpec(source="hidden"), lambda x: x),), None)]


def test_direct_coding_computes_the_first_drive_once() -> None:
    calls = []

    def first(x: torch.Tensor) -> torch.Tensor:
        calls.append(x.shape)
        return x

    activity = propagate(torch.ones(5, 3), one_layer(first), 4)
    assert calls == [(5, 3)]
    assert activity.spikes[0].shape == (4, 5, 3)
    assert activity.logits.tolist() == [[4.0] * 3] * 5


def test_a_network_of_a_readout_alone() -> None:
    network = FloatNetwork((6, 1, 1), dense_chain((), 3), steps=4, pixel_max=15)
    readout = network.float_layers[0].edge_modules[0].weights
    assert readout is not None
    x = torch.randint(0, 16, (5, 6))
    with torch.no_grad():
        assert torch.allclose(network(x).logits, 4 * readout(x / 15))


def test_amplitude_is_trained_through_the_network(lived_network, pixels) -> None:
    network = lived_network().train()
    labels = torch.arange(len(pixels)) % 4
    time_mean_loss(network(pixels).logits, labels, 4).backward()
    for layer in network.float_layers[:-1]:
        for trained in (layer.neuron.amplitude, layer.edge_modules[0].weights.weight):
            assert trained.grad is not None
            assert float(trained.grad.abs().sum()) > 0


def test_excitation_moves_only_drives_near_the_threshold() -> None:
    """The spike rate has no gradient outside ties; what stands in for it acts on the margin."""
    drive = torch.tensor([[0.2, 0.6, -0.9, 1.4, -1.6]], requires_grad=True)
    activity = propagate(drive, one_layer(lambda x: x), 4)
    assert activity.excitation.item() == pytest.approx((0.5 + 0.6 + 0.9 + 1.4 + 1.5) / 5)
    activity.excitation.backward()
    assert drive.grad is not None
    assert (5 * drive.grad[0]).tolist() == pytest.approx([0, 1, -1, 1, 0])
