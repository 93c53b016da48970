"""Truncating and exact decay, against real-valued potentials."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hw.contract.checks import SpecError
from hw.contract.network import Network
from sim.golden.model import GoldenModel
from sw.data.split import Split
from sw.learn.fold import fold
from sw.learn.neuron import LIFParameters
from sw.learn.quantize import QuantizeError, quantize
from sw.learn.real_decay import decay_report, real_network, unlike_real, with_decay
from tests.sw.learn.equality import compare_exactly

DECAYING = [
    LIFParameters(),
    LIFParameters(decay="leak", decay_shift=3),
    LIFParameters(decay_shift=1, reset="soft", step=2.0, u0=-0.5),
    LIFParameters(theta=0.6, theta_negative=0.9, decay_when="after", u0=0.3),
    LIFParameters(negative="off", decay="leak", decay_shift=1),
    LIFParameters(theta=2.0, decay_shift=1, current="leak", current_shift=2),
    LIFParameters(theta=3.0, decay="none", decay_shift=0, current="shift", current_shift=2),
]


def network_of(lived_network, neuron: LIFParameters, **options) -> Network:
    network = lived_network((12, 32, 32, 4), neuron=neuron)
    return quantize(fold(network), name="tiny", weight_bits=4, pixel_bits=4, **options).to_network()


@pytest.mark.parametrize("neuron", DECAYING)
def test_exact_decay_is_the_real_neuron(lived_network, tiny_data, neuron) -> None:
    """Potentials too, not only spikes: a unit of the exact image's is 2^-f of a weight step."""
    network = network_of(lived_network, neuron, exact_decay=True)
    assert unlike_real(network, tiny_data)[0] == 0
    trace = GoldenModel(network).run(tiny_data.images)
    activity = real_network(network)(torch.from_numpy(tiny_data.images))
    for layer, ours, theirs in zip(
        network.layers, trace.potentials, activity.potentials, strict=False
    ):
        assert layer.spec.neuron is not None
        unit = 2.0**layer.spec.neuron.fraction_bits
        slowest = max(neuron.decay_shift, neuron.current_shift)
        assert layer.spec.neuron.fraction_bits >= slowest * (network.spec.steps - 1)
        assert np.array_equal(ours / unit, theirs.transpose(0, 1).numpy())


@pytest.mark.parametrize("neuron", DECAYING)
def test_truncation_loses_what_exactness_keeps(lived_network, tiny_data, neuron) -> None:
    network = network_of(lived_network, neuron)
    report = decay_report(network, tiny_data)
    spikes, compared, _, images = report["truncating"]
    assert compared == tiny_data.images.shape[0] * network.spec.steps * 64
    assert 0 < spikes < 0.1 * compared
    assert report["exact"] == [0, compared, 0, len(tiny_data)]
    assert images == len(tiny_data)


def test_of_a_large_network_fewer_images_are_compared(lived_network, tiny_data, monkeypatch):
    network = network_of(lived_network, DECAYING[0])
    per_image = network.spec.steps * 64
    monkeypatch.setattr("sw.learn.real_decay.SPIKES", 7.5 * per_image)
    _, compared, _, images = decay_report(network, tiny_data)["truncating"]
    assert (compared, images) == (7 * per_image, 7)


def test_a_constant_drive_loses_nothing_to_truncation(lived_network, tiny_data) -> None:
    """Nested floors are a floor: with the same drive at every step, potentials have its sign, and a
    whole threshold is reached by the truncated one exactly when by the real one."""
    network = network_of(lived_network, LIFParameters())
    golden = GoldenModel(network).run(tiny_data.images)
    real = real_network(network)(torch.from_numpy(tiny_data.images))
    assert np.array_equal(golden.spikes[0], real.spikes[0].transpose(0, 1).numpy())


def test_there_and_back(lived_network) -> None:
    network = network_of(lived_network, LIFParameters(u0=0.5))
    there = with_decay(network, exact=True)
    assert there.spec.layers[0].neuron != network.spec.layers[0].neuron
    assert with_decay(there, exact=False).digest == network.digest


def test_nothing_decays_nothing_to_tell(lived_network, tiny_data) -> None:
    neuron = LIFParameters(decay="none", decay_shift=0, reset="soft", step=1.0)
    network = network_of(lived_network, neuron, exact_decay=True)
    assert network.spec.layers[0].neuron.fraction_bits == 0  # type: ignore[union-attr]
    assert decay_report(network, tiny_data) == {}


def test_exact_and_trained_is_still_the_golden_model(lived_network, tiny_data: Split) -> None:
    """Sums beyond float32: the network is kept in float64."""
    network = quantize(
        fold(lived_network((12, 32, 32, 4), steps=8)),
        name="tiny",
        weight_bits=8,
        pixel_bits=4,
        exact_decay=True,
    )
    assert network.dtype == torch.float64
    image = network.to_network()
    assert max(layer.membrane_bound for layer in image.layers[:-1]) >= 2**24
    compare_exactly(network, image, tiny_data)
    with pytest.raises(QuantizeError, match=r"must stay below 2\^24 to be exact in float32"):
        network.float().to_network()


def test_too_many_steps_for_exact_decay(lived_network) -> None:
    network = network_of(lived_network, LIFParameters())
    long = replace(network.spec, steps=17)
    with pytest.raises(SpecError, match="Threshold must be an integer from 1 to 1073741824, not"):
        with_decay(Network(long, network.weights, network.biases), exact=True)


def test_many_steps_have_no_exact_twin(lived_network, tiny_data) -> None:
    """32 bits do not hold it: what is possible is told."""
    network = lived_network((12, 32, 32, 4), steps=14)
    image = quantize(fold(network), name="long", weight_bits=4, pixel_bits=4).to_network()
    assert set(decay_report(image, tiny_data)) == {"truncating"}


def test_a_threshold_of_one_step(lived_network) -> None:
    exact = network_of(lived_network, LIFParameters(), exact_decay=True)
    neuron = exact.spec.layers[0].neuron
    assert neuron is not None
    one = replace(neuron, theta=64, potential_bits=7)
    layers = tuple(replace(la, neuron=la.neuron and one) for la in exact.spec.layers)
    image = replace(exact, spec=replace(exact.spec, layers=layers))
    found = with_decay(image, exact=False).spec.layers[0].neuron
    assert found is not None
    assert (found.theta, found.fraction_bits, found.potential_bits) == (1, 0, 2)
    odd = tuple(replace(la, neuron=la.neuron and replace(one, theta=63)) for la in layers)
    with pytest.raises(SpecError, match="must be multiples of 2\\^6 to lose their fraction bits"):
        with_decay(replace(exact, spec=replace(exact.spec, layers=odd)), exact=False)


def test_excitation_does_not_depend_on_fraction_bits(lived_network, pixels) -> None:
    """The penalty acts on the same drives, however fine the potentials are counted."""
    folded = fold(lived_network((12, 32, 32, 4)))
    plain, exact = (
        quantize(folded, name="x", weight_bits=8, pixel_bits=4, exact_decay=choice)
        for choice in (False, True)
    )
    excitation = exact(pixels).excitation
    assert excitation.item() == pytest.approx(plain(pixels).excitation.item(), rel=0.02)
    excitation.backward()
    assert float(exact.integer_layers[0].weight.grad.abs().sum()) > 0  # type: ignore[union-attr]
