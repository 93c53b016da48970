"""The error that a softmax gives, and the learner that is taught by it."""

import numpy as np
import pytest

from hw.contract.checks import SpecError
from hw.learn.masters import Masters
from sim.golden.learning import Learner
from sw.spide.softmax import SoftmaxTeacher, softmax_error, softmax_network
from sw.spide.start import PRESETS


def test_the_error_is_the_gradient_in_integers():
    error = softmax_error(np.array([0, 0]), 1, 15, 3.0)
    assert error.tolist() == [-8, 8]  # half of 15, to the even neighbour
    assert softmax_error(np.array([900, -900, 0]), 0, 15, 1.0).tolist() == [0, 0, 0]
    assert softmax_error(np.array([900, -900, 0]), 1, 15, 1.0).tolist() == [-15, 15, 0]
    rng = np.random.default_rng(1)
    for _ in range(20):
        logits = rng.integers(-3000, 3000, 7)
        error = softmax_error(logits, 3, 63, 500.0)
        assert abs(int(error.sum())) <= 4
        assert error[3] >= 0
        assert (np.delete(error, 3) <= 0).all()


def test_the_learner_equals_the_golden_model_with_the_same_errors():
    network = softmax_network(PRESETS["digits"].network(2), 4)
    learning, before = network.spec.learning, PRESETS["digits"].network(2).spec.learning
    assert learning is not None
    assert before is not None
    assert (learning.error_max, learning.inject_shift) == (15, before.inject_shift - 4)
    assert learning.rates == (before.rates[0], before.rates[1] + 4)
    rng = np.random.default_rng(2)
    images, labels = rng.integers(0, 16, (30, 64)), rng.integers(0, 10, 30)
    teacher = SoftmaxTeacher(Masters.of(network), 700.0)
    golden = Learner(Masters.of(network))
    seen = teacher.learn_all(images, labels)
    for image, label, found in zip(images, labels.tolist(), seen, strict=True):
        error = softmax_error(golden.infer(image).logits, label, 15, 700.0)
        sample = golden.learn(image, label, error)
        assert (sample.logits == found.logits).all()
        assert sample.learned == found.learned
    assert teacher.masters.digest == golden.masters.digest
    assert (teacher.classify(images) == [golden.infer(image).label for image in images]).all()


def test_errors_wider_than_the_injection_are_refused():
    with pytest.raises(SpecError, match="Errors must have at most 4 bits here"):
        softmax_network(PRESETS["digits"].network(1), 5)
