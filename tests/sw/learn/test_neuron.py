"""The neuron: its law, its gradients, and its integer form against the golden model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract.neuron import NeuronSpec
from sim.golden import model as golden
from sw.learn.neuron import LIFParameters, NeuronError, State, TernaryLIF, lif_step
from tests.networks import neurons


def steps_of(neuron: TernaryLIF, drives: list[float]) -> tuple[list[float], list[float]]:
    c, u = neuron.over_time(torch.tensor(drives)[:, None, None])
    return c.flatten().tolist(), u.flatten().tolist()


# The law


def test_threshold_is_inclusive_on_both_sides() -> None:
    below = float(np.nextafter(np.float32(1), np.float32(0)))
    x = torch.tensor([[1.0, -1.0, below, -below, 0.0]])
    c, (u, *_) = lif_step(x, State(torch.zeros_like(x)), LIFParameters())
    assert c.tolist() == [[1, -1, 0, 0, 0]]
    assert u.tolist() == [[0, 0, below, -below, 0]]


def test_hard_reset_and_quarter_decay() -> None:
    spikes, potentials = steps_of(TernaryLIF(), [0.8, 0.8, 0.8, -0.5])
    assert spikes == [0, 1, 0, 0]
    assert potentials == pytest.approx([0.8, 0.0, 0.8, -0.3])


def test_soft_reset_leaves_the_residue() -> None:
    p = LIFParameters(decay="none", decay_shift=0, reset="soft", step=1.0)
    spikes, potentials = steps_of(TernaryLIF(p), [2.5, 0.0, 0.0, -1.75])
    assert spikes == [1, 1, 0, -1]
    assert potentials == pytest.approx([1.5, 0.5, 0.5, -0.25])


def test_leak_keeps_the_rest() -> None:
    p = LIFParameters(decay="leak", decay_shift=2, theta=10.0, u0=8.0)
    assert steps_of(TernaryLIF(p), [0.0, 0.0]) == ([0, 0], [6.0, 4.5])


def test_a_synaptic_current_is_kept_beside_the_potential() -> None:
    p = LIFParameters(
        theta=10.0, decay="leak", decay_shift=2, current="factor", current_factor=0.5, reset="hard"
    )
    neuron = TernaryLIF(p)
    x = torch.tensor([8.0, 0.0, 2.0, 0.0])[:, None, None]
    spikes, u = neuron.over_time(x)
    # Currents 8, 4, 4, 2; potentials 8, 6 + 4 fires, 4, 3 + 2.
    assert spikes.flatten().tolist() == [0, 1, 0, 0]
    assert u.flatten().tolist() == [8, 0, 4, 5]


def test_gradients_pass_through_a_synaptic_current() -> None:
    """What was received two steps ago is in the potential in three ways: as a current that has
    decayed twice, once, and not at all before it came."""
    spec = NeuronSpec(
        theta=100, decay="shift", decay_shift=2, current="shift", current_shift=1, potential_bits=8
    )
    x = torch.tensor([16.0, 0.0, 0.0])[:, None, None].requires_grad_()
    _, u = TernaryLIF.from_spec(spec).over_time(x)
    u[2].sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1 / 4 + 1 / 8 + 1 / 16, 1 / 2 + 1 / 4, 1]
    assert u[2].item() == 16 * (1 / 4 + 1 / 8 + 1 / 16)


def test_amplitude_scales_the_spike_and_not_the_reset() -> None:
    neuron = TernaryLIF(
        LIFParameters(decay="none", decay_shift=0, reset="soft", step=1.0), amplitude=0.3
    )
    spikes, (u, *_) = neuron(torch.tensor([[1.5, -1.5]]))
    assert spikes[0].tolist() == pytest.approx([0.3, -0.3])
    assert u.tolist() == [[0.5, -0.5]]


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("negative", ["free", "off"])
def test_a_soft_neuron_sends_the_surrogate_of_its_spikes(negative: str, limit: int) -> None:
    """Its gradient is the one that spikes are given; rounded, it is the spikes (for L = 1)."""
    p = LIFParameters(theta=0.8, window=2.0, negative=negative, limit=limit)
    x = torch.linspace(-6, 6, 1001, requires_grad=True)  # no threshold is among them
    found = []
    for constants in (p, replace(p, soft=True)):
        c, _ = lif_step(x, State(torch.zeros_like(x)), constants)
        (gradient,) = torch.autograd.grad(c.sum(), x)
        found.append((c.detach(), gradient))
    (spikes, given), (sent, true) = found
    assert torch.equal(given, true)
    assert float(sent.min()) == (0 if negative == "off" else -limit)
    assert float(sent.max()) == limit
    if limit == 1:
        assert torch.equal(sent.round(), spikes)


def test_from_half_a_threshold_spikes_are_what_a_soft_neuron_sends_rounded() -> None:
    p = LIFParameters(theta=0.8, negative="off", limit=3, decay="none", decay_shift=0, u0=0.4)
    x = torch.linspace(-3, 5, 1001)
    spikes, sent = (
        TernaryLIF(constants, train_amplitude=False).over_time(x, 1)[0][0]
        for constants in (p, replace(p, soft=True))
    )
    assert torch.allclose(sent, (x / 0.8).clamp(0, 3), rtol=0, atol=1e-6)
    assert torch.equal(sent.round(), spikes)
    assert spikes.unique().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "p",
    [LIFParameters(negative="guarded"), LIFParameters(u_max=7), LIFParameters(theta_negative=2.0)],
)
def test_only_real_neurons_of_one_threshold_may_be_soft(p: LIFParameters) -> None:
    with pytest.raises(NeuronError, match="Soft neurons must be real-valued, without a guard, and"):
        replace(p, soft=True)


def test_state_carries_over_and_starts_at_u0() -> None:
    neuron = TernaryLIF(LIFParameters(u0=0.4))
    x = torch.full((2, 3), 0.5)
    c, u = neuron.over_time(x, steps=3)
    state = None
    for t in range(3):
        spikes, state = neuron(x, state)
        assert torch.equal(spikes, c[t])
        assert torch.equal(state.u, u[t])
    assert u[0, 0, 0] == pytest.approx(0.6)


# Gradients


def test_surrogate_is_a_rectangle_of_width_two_thresholds() -> None:
    theta = 0.5
    v = torch.tensor([-0.7, -0.5, -0.1, 0.0, 0.3, 0.5, 0.51], requires_grad=True)
    c, _ = lif_step(v, State(torch.zeros(7)), LIFParameters(theta=theta))
    c.sum().backward()
    assert v.grad is not None
    assert v.grad.tolist() == [0, 2, 2, 2, 2, 2, 0]


def test_amplitude_gets_the_signed_spike_count() -> None:
    neuron = TernaryLIF()
    spikes, _ = neuron(torch.tensor([[2.0, -3.0, 1.0, 0.2, 5.0]]))
    spikes.sum().backward()
    assert isinstance(neuron.amplitude, torch.nn.Parameter)
    assert neuron.amplitude.grad is not None
    assert float(neuron.amplitude.grad) == 2.0


def test_amplitude_can_be_fixed() -> None:
    assert not list(TernaryLIF(train_amplitude=False).parameters())


@pytest.mark.parametrize(("x", "expected"), [(1.0, -1.0), (-1.0, -1.0), (0.5, 1.0), (2.0, 0.0)])
def test_hard_reset_is_not_detached(x: float, expected: float) -> None:
    """u = v (1 - |c|): at |v| = theta, inside the window, du/dv = (1-1) - v sign(c)/theta = -1.

    A detached reset would give 0 there.
    """
    v = torch.tensor([x], requires_grad=True)
    _, (u, *_) = lif_step(v, State(torch.zeros(1)), LIFParameters())
    u.sum().backward()
    assert v.grad is not None
    assert float(v.grad) == expected


def test_soft_reset_is_not_detached() -> None:
    v = torch.tensor([0.2, 3.0], requires_grad=True)
    p = LIFParameters(reset="soft", step=0.25)
    _, (u, *_) = lif_step(v, State(torch.zeros(2)), p)
    u.sum().backward()
    assert v.grad is not None
    assert v.grad.tolist() == [0.75, 1.0]


def test_truncation_passes_gradients() -> None:
    spec = NeuronSpec(theta=100, decay="shift", decay_shift=2, potential_bits=8)
    x = torch.tensor([[[7.0]], [[3.0]]], requires_grad=True)
    _, u = TernaryLIF.from_spec(spec).over_time(x)
    u[1].sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0.25, 1.0]


# Integers


@settings(max_examples=200, derandomize=True)
@given(spec=neurons(), seed=st.integers(0, 2**32 - 1))
def test_integer_mode_is_the_golden_neuron(spec: NeuronSpec, seed: int) -> None:
    reach = (
        3 * spec.theta + 2
    ) >> spec.fraction_bits  # far enough to saturate, near enough to meet every tie
    x = np.random.default_rng(seed).integers(-reach, reach + 1, (6, 4, 16))
    spikes, potentials = TernaryLIF.from_spec(spec).over_time(torch.from_numpy(x).float())
    reference = golden.Neurons(spec, (4, 16))
    for t in range(6):
        assert np.array_equal(spikes[t].numpy(), reference.step(x[t]))
        assert np.array_equal(potentials[t].numpy(), reference.u)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (
            {"decay": "linear"},
            "Decay must be one of ('none', 'shift', 'leak', 'factor'), not 'linear'",
        ),
        ({"reset": "none"}, "Reset must be one of ('hard', 'soft'), not 'none'"),
        ({"theta_negative": -3.0}, "Negative threshold must be positive and finite, not -3.0"),
        ({"limit": 0}, "Coefficient limit must be an integer from 1 to 15, not 0"),
        ({"theta": 0.0}, "Threshold must be positive and finite, not 0.0"),
        ({"theta": float("nan")}, "Threshold must be positive and finite, not nan"),
    ],
)
def test_impossible_neurons(fields, complaint: str) -> None:
    with pytest.raises(NeuronError) as error:
        LIFParameters(**fields)
    assert str(error.value) == complaint
