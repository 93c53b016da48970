"""sw.spide.twin: after every sample, every value is that of the golden model of learning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract.builder import random_network
from hw.contract.checks import InputError
from hw.contract.network import Network
from hw.learn.masters import Masters
from hw.learn.sample import Sample
from sim.golden.learning import Learner
from sw.data.dataset import load_split
from sw.data.shipped import model_path
from sw.spide.start import PRESETS, readout_learning
from sw.spide.twin import FastLearner, Outcome
from tests.learners import copied, learning_spec, masters, samples, spide


def assert_equal(golden: Learner, twin: FastLearner, one: Sample, other: Outcome) -> None:
    """All that a sample leaves behind."""
    assert one.logits.tolist() == other.logits.tolist()
    assert one.error.tolist() == other.error.tolist()
    assert (one.label, one.learned) == (other.label, other.learned)
    for a, b in (
        (one.counts, other.counts),
        (one.back_counts, other.back_counts),
        (golden.masters.arrays, twin.masters.arrays),
    ):
        assert [x.tolist() for x in a] == [x.tolist() for x in b]
    assert golden.masters.random == twin.masters.random
    assert golden.masters.learned == twin.masters.learned


@settings(max_examples=150)
@given(start=masters(), data=st.data())
def test_every_value_after_every_sample(start, data):
    golden, twin = Learner(copied(start)), FastLearner(copied(start))
    given = data.draw(samples(start.network, 5))
    for pixels, label, error in given:
        one, other = golden.learn(pixels, label, error), twin.learn(pixels, label, error)
        assert_equal(golden, twin, one, other)
    images = np.stack([pixels for pixels, *_ in given])
    assert golden.masters.digest == twin.masters.digest
    answers = [golden.infer(pixels) for pixels in images]
    assert twin.classify(images).tolist() == [one.label for one in answers]
    for pixels, one in zip(images, answers, strict=True):
        assert twin.infer(pixels).logits.tolist() == one.logits.tolist()


@settings(max_examples=40)
@given(start=masters(), data=st.data())
def test_many_samples_are_one_after_the_other(start, data):
    one, other = FastLearner(copied(start)), FastLearner(copied(start))
    given = data.draw(samples(start.network, 6))
    images, labels = np.stack([p for p, *_ in given]), np.array([y for _, y, _ in given])
    singly = [one.learn(pixels, int(label)) for pixels, label in zip(images, labels, strict=True)]
    together = other.learn_all(images, labels)
    assert [o.logits.tolist() for o in singly] == [o.logits.tolist() for o in together]
    assert one.masters.digest == other.masters.digest
    assert other.learn_all(images[:0], labels[:0]) == []


@pytest.mark.parametrize(
    "changes", [{}, {"steps": 1}, {"hidden": (20, 16), "feedback": True, "weight_bits": 6}]
)
def test_digits_from_noise(changes):
    data = load_split("digits", "train", 4)
    start = Masters.of(PRESETS["digits"].network(3, **changes))
    golden, twin = Learner(copied(start)), FastLearner(start)
    learned = 0
    for pixels, label in zip(data.images[:25], data.labels[:25].tolist(), strict=True):
        one, other = golden.learn(pixels, label), twin.learn(pixels, label)
        assert_equal(golden, twin, one, other)
        learned += one.learned
    assert learned > 10
    if changes.get("steps") == 1:  # a neuron has fired never or always: no mask lets it learn
        assert (golden.masters.arrays[0] == Masters.of(start.network).arrays[0]).all()


def test_a_readout_behind_ternary_neurons():
    data = load_split("digits", "train", 4)
    network = readout_learning(Network.load(model_path("digits-dense")), rate=-1, margin=200)
    golden, twin = Learner(Masters.of(network)), FastLearner(Masters.of(network))
    together = twin.learn_all(data.images[:30], data.labels[:30])
    for n, other in enumerate(together):
        one = golden.learn(data.images[n], int(data.labels[n]))
        assert one.logits.tolist() == other.logits.tolist()
    assert golden.masters.learned > 3
    assert golden.masters.digest == twin.masters.digest


def test_rates_and_margin_may_be_set():
    start = Masters.of(PRESETS["digits"].network(1))
    data = load_split("digits", "train", 4)
    found = []
    for make in (Learner, FastLearner):
        learner = make(copied(start))
        learner.rates, learner.margin = [6, -2], 100_000
        for n in range(4):
            assert learner.learn(data.images[n], int(data.labels[n])).learned
        found.append(learner.masters.digest)
    assert found[0] == found[1]


def test_masters_that_were_given_are_copied():
    start = Masters.of(PRESETS["digits"].network(1))
    arrays = start.arrays[:]
    before = [array.copy() for array in arrays]
    FastLearner(start).learn(np.full(64, 9), 3)
    assert all((a == b).all() for a, b in zip(arrays, before, strict=True))
    assert any((a != b).any() for a, b in zip(start.arrays, before, strict=True))


def test_wide_sums_are_exact():
    """Beyond what a float32 holds."""
    spec = learning_spec(
        20_000, (2,), 3, neurons=spide(1 << 20), weight_bits=8, input_bits=8, master_bits=9
    )
    start = Masters.of(random_network(spec, 5))
    start.arrays[0][:] = start.limits(0)[1]
    start.arrays[0][1, 1] = 0
    golden, twin = Learner(copied(start)), FastLearner(start)
    pixels = np.full(20_000, 255)
    one, other = golden.learn(pixels, 1), twin.learn(pixels, 1)
    assert_equal(golden, twin, one, other)


@pytest.mark.parametrize(
    ("pixels", "label", "error", "sentence"),
    [
        (np.zeros(63, int), 0, None, r"Images must have shape \(n, 64\), not \(1, 63\)"),
        (np.full(64, 16), 0, None, "Pixels must lie in 0..15, not reach 16..16"),
        (np.zeros(64, int), 10, None, "Label must lie in 0..9, not be 10"),
        (np.zeros(64, int), -1, None, "Label must lie in 0..9, not be -1"),
        (np.zeros(64, int), 0, [0] * 9, r"Error must be 10 integers within \+-1"),
        (np.zeros(64, int), 0, [2] + [0] * 9, r"Error must be 10 integers within \+-1"),
    ],
)
@pytest.mark.parametrize("kind", [Learner, FastLearner])
def test_samples_that_do_not_fit_are_refused(kind, pixels, label, error, sentence):
    learner = kind(Masters.of(PRESETS["digits"].network(1)))
    before = learner.masters.digest
    with pytest.raises(InputError, match=sentence):
        learner.learn(pixels, label, error)
    assert learner.masters.digest == before


def test_labels_that_do_not_fit_are_refused_before_anything_is_learned():
    learner = FastLearner(Masters.of(PRESETS["digits"].network(1)))
    before, images = learner.masters.digest, np.full((2, 64), 9)
    for labels, sentence in (
        ([1], "Labels must be 2 integers"),
        ([1.0, 2.0], "Labels must be 2 integers"),
        ([1, 10], "Label must lie in 0..9, not be 10"),
    ):
        with pytest.raises(InputError, match=sentence):
            learner.learn_all(images, labels)
    assert learner.masters.digest == before


@pytest.mark.parametrize("bits", [4, 5])
def test_potentials_that_cannot_hold_minus_v(bits):
    """V = 8 in 4 bits: -8 is cut to -7, and a neuron fires a step earlier than its division says
    (`bits` = 5: as the division says)."""
    spec = learning_spec(
        1, (16,), 2, neurons=spide(8, bits), weight_bits=5, steps=9, input_bits=1, steps_back=9,
        inject_shift=0, error_bits=1, master_bits=5, rates=(0, 0),
    )  # fmt: skip
    drives = np.arange(16)[:, None]
    network = random_network(spec, 1, bias=0)
    network = Network(
        spec, ([drives], np.stack([drives[:, 0] // 2, -drives[:, 0] // 2])), network.biases
    )
    golden, twin = Learner(Masters.of(network)), FastLearner(Masters.of(network))
    one, other = golden.learn([1], 1, [1, -1]), twin.learn([1], 1, [1, -1])
    assert_equal(golden, twin, one, other)
    closed = np.clip((9 * drives[:, 0] + 8) // 16, 0, 9)
    assert (one.counts[0] == closed).all() == (bits == 5)
