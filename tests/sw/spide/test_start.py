"""sw.spide.start: numbers that go together, noise of the right width, readouts that learn."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hw.contract.checks import SpecError
from hw.contract.network import Network
from hw.learn.masters import Masters
from sw.data.shipped import model_path
from sw.spide.start import PRESETS, StartError, noise_network, readout_learning, readout_masters
from sw.spide.twin import FastLearner

ROOT = Path(__file__).parents[3]


def learning_of(network: Network):
    assert network.spec.learning is not None
    return network.spec.learning


@pytest.mark.parametrize(
    ("name", "changes", "theta", "margin", "rates"),
    [
        ("mnist", {}, 1024, 2000, (5, 0)),
        ("digits", {}, 1024, 1000, (4, 0)),
        ("mnist", {"steps": 4, "steps_back": 8}, 1024, 1000, (4, -1)),
        ("mnist", {"weight_bits": 6}, 256, 500, (5, 0)),
        ("mnist", {"weight_bits": 12, "master_bits": 16}, 16384, 32000, (1, -4)),
        ("mnist", {"master_bits": 10}, 1024, 2000, (7, 2)),
        ("mnist", {"feedback": True}, 1024, 2000, (5, 7, 0)),
        ("mnist", {"hidden": (128, 64)}, 1024, 2000, (5, 6, 0)),
        ("digits", {"hidden": (48, 32), "feedback": True}, 1024, 1000, (4, 7, 6, 0)),
        ("fashion-mnist", {"input_bits": 1}, 128, 2000, (2, 0)),
        ("mnist", {"margin": 7, "rates": (1, 2)}, 1024, 7, (1, 2)),
    ],
)
def test_numbers_go_together(name, changes, theta, margin, rates):
    network = PRESETS[name].network(1, **changes)
    learning, neuron = learning_of(network), network.spec.layers[0].neuron
    assert neuron is not None
    assert (neuron.theta, neuron.step) == (theta, 2 * theta)
    assert neuron.potential_bits == theta.bit_length() + 1 + bool(changes.get("feedback"))
    assert (learning.margin, learning.rates) == (margin, rates)
    assert learning.inject_shift == (1 if changes.get("input_bits") == 1 else 4)
    assert network.meta == {"dataset": name, "seed": 1}


def test_presets_are_data_sets():
    found = {name: (p.dataset, p.passes, p.drops) for name, p in PRESETS.items()}
    assert found == {
        "digits": ("digits", 30, (16, 23)),
        "digits-lean": ("digits", 30, (16, 23)),
        "mnist": ("mnist", 8, (4, 6, 8)),
        "fashion-mnist": ("fashion-mnist", 8, (4, 6, 8)),
    }
    sizes = {name: [*map(len, p.network().weights)] for name, p in PRESETS.items()}
    small, large = [64, 10], [128, 10]
    assert sizes == {
        "digits": small, "digits-lean": small, "mnist": large, "fashion-mnist": large
    }  # fmt: skip


def test_noise_has_the_width_that_makes_a_drive_of_the_threshold():
    network = PRESETS["mnist"].network(3, hidden=(100, 80), feedback=True)
    first, back = network.layers[0].kernels
    assert np.std(first) == pytest.approx(1024 / (0.3 * 15 * 28), rel=0.02)
    assert np.std(back) == pytest.approx(1024 / 2 / 80**0.5 / 8, rel=0.05)
    assert np.std(network.layers[1].kernels[0]) == pytest.approx(4 * 1024 / 10 / 16, rel=0.05)
    assert np.std(network.layers[2].kernels[0]) == pytest.approx(16, rel=0.1)
    assert [edge.shift for n in range(3) for edge in network.spec.edges(n)] == [0, 3, 4, 0]
    assert not any(bias.any() for bias in network.biases)


def test_seeds():
    made = [PRESETS["digits"].network(seed) for seed in (1, 1, 2)]
    assert made[0].digest == made[1].digest != made[2].digest
    assert [learning_of(n).seed for n in made] == [0x9E3779B8, 0x9E3779B8, 0x9E3779BB]
    assert learning_of(PRESETS["digits"].network(0x9E3779B9)).seed == 0x9E3779B9  # 0 is none


def test_one_group_without_feedback_is_a_plain_chain():
    assert PRESETS["digits"].network().spec.is_chain
    assert not PRESETS["digits"].network(feedback=True).spec.is_chain


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("width", [2, 4, 8, 12, 16])
def test_every_width_makes_a_network(bits, width):
    network = noise_network(
        "n", input_size=6, classes=3, input_bits=bits, weight_bits=width, hidden=(5, 4),
        feedback=True, master_bits=width + 2,
    )  # fmt: skip
    assert network.spec.input_bits == bits


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hidden": ()}, "Hidden groups must be a tuple of sizes, not ()"),
        ({"hidden": 5}, "Hidden groups must be a tuple of sizes, not 5"),
        ({"seed": -1}, "Seed must be an integer from 0 to 2^32 - 1, not -1"),
        ({"seed": 1.5}, "Seed must be an integer from 0 to 2^32 - 1, not 1.5"),
        ({"steps": 0}, "Time steps must be an integer from 1 to 1024, not 0"),
        ({"input_bits": 9}, "Input width must be an integer from 1 to 8, not 9"),
        ({"weight_bits": 17}, "Weight width must be an integer from 2 to 16, not 17"),
        ({"master_bits": 7}, "Master weights must have at least the 8 bits of the weights"),
        ({"rates": (1,)}, "Network n must have a learning rate for each of its 2 learned edges"),
        ({"input_rms": 0.0}, "Root mean square of a pixel must be positive, not 0.0"),
    ],
)
def test_what_is_refused(changes, sentence):
    with pytest.raises((StartError, SpecError), match=re.escape(sentence)):
        noise_network("n", **{"input_size": 6, "classes": 3, **changes})


def test_a_readout_learns_behind_any_dense_network():
    network = Network.load(model_path("mnist-dense"))
    made = readout_learning(network)
    learning = learning_of(made)
    assert (learning.margin, learning.rates, learning.steps_back) == (60, (-3,), 0)
    assert made.digest != network.digest
    assert all((a == b).all() for a, b in zip(made.weights, network.weights, strict=True))
    assert made.meta == network.meta
    with pytest.raises(SpecError, match="must have rows of values, not maps"):
        readout_learning(Network.load(model_path("digits-conv")))


def test_the_readout_of_a_network_that_learned():
    random = np.random.default_rng(3)
    images, labels = random.integers(0, 16, (80, 64)), random.integers(0, 10, 80)
    learner = FastLearner(Masters.of(PRESETS["digits"].network(2, feedback=True)))
    learner.learn_all(images[:40], labels[:40])
    before = learner.masters.digest
    only = FastLearner(readout_masters(learner.masters))
    for image in images:
        assert only.infer(image).logits.tolist() == learner.infer(image).logits.tolist()
    hidden = [array.copy() for array in only.masters.working().weights[:1]]
    only.learn_all(images[40:], labels[40:])
    assert learner.masters.digest == before
    assert only.masters.learned > learner.masters.learned
    assert (only.masters.working().weights[0] == hidden[0]).all()
    assert (only.masters.arrays[0] != learner.masters.arrays[-1]).any()


def test_no_torch():
    code = "import sys, sw.spide.session, sw.spide.twin, sw.spide.start, sw.spide.drift; "
    code += "print('torch' in sys.modules, 'scipy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False False"
