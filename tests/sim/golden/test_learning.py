"""sim.golden.learning: closed forms, symmetry, and that what was learned is an ordinary network."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract.builder import random_network
from hw.contract.checks import InputError
from hw.contract.learning import xorshift
from hw.contract.network import Network
from hw.learn.masters import Masters
from sim.golden.learning import Learner
from sim.golden.model import GoldenModel
from tests.learners import copied, learning_spec, masters, samples, spide


@settings(max_examples=60)
@given(start=masters(), data=st.data())
def test_what_was_learned_is_an_ordinary_network(start, data, tmp_path_factory):
    learner = Learner(start)
    given_samples = data.draw(samples(start.network, 4))
    for pixels, label, error in given_samples:
        learner.learn(pixels, label, error)
    file = start.working().save(tmp_path_factory.mktemp("learned") / "net.npz")
    model = GoldenModel(Network.load(file))
    for pixels, *_ in given_samples:
        trace, before = model.run(pixels[None]), start.digest
        sample = learner.infer(pixels)
        assert sample.logits.tolist() == trace.logits[0].tolist()
        assert sample.label == trace.classes[0]
        for mine, theirs in zip(sample.potentials, trace.potentials, strict=True):
            assert (mine == theirs[0]).all()
        assert (sample.learned, start.digest) == (False, before)


@settings(max_examples=60)
@given(
    size=st.integers(1, 8),
    theta=st.integers(1, 90),
    steps=st.integers(1, 9),
    back=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_closed_forms_of_one_group(size, theta, steps, back, seed):
    """Constant drives, whatever saturates: potentials have no bit to spare."""
    spec = learning_spec(
        5, (size,), 3, neurons=spide(theta), steps=steps, steps_back=back, error_bits=3,
        inject_shift=2,
    )  # fmt: skip
    start = Masters.of(random_network(spec, seed))
    rng = np.random.default_rng(seed)
    pixels, error = rng.integers(0, 16, 5), rng.integers(-7, 8, 3)
    first, readout = start.network.layers
    drive = first.kernels[0].astype(int) @ pixels + first.bias
    injected = error @ readout.kernels[0].astype(int) << 2
    sample = Learner(start).learn(pixels, 0, error)
    counts = np.clip((steps * drive + theta) // (2 * theta), 0, steps)
    assert sample.counts[0].tolist() == counts.tolist()
    if sample.learned:
        size_of = np.minimum(back, (back * np.abs(injected) + theta) // (2 * theta))
        total = sample.back_spikes[0].sum(axis=0)
        assert total.tolist() == (np.sign(injected) * size_of).tolist()
        mask = (counts > 0) & (counts < steps)
        assert sample.masks[0].tolist() == mask.tolist()
        assert sample.back_counts[0].tolist() == (mask * total).tolist()


@settings(max_examples=60)
@given(start=masters(readout_only=False), data=st.data())
def test_all_signs_turned(start, data):
    """An error of the other sign: a backward stage of the other sign, value by value."""
    ((pixels, label, _),) = data.draw(samples(start.network, 1))
    assert start.spec.learning is not None
    most = start.spec.learning.error_max
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    error = rng.integers(-most, most + 1, start.spec.classes)
    one = Learner(copied(start)).learn(pixels, label, error)
    other = Learner(copied(start)).learn(pixels, label, -error)
    assert one.learned == other.learned == bool(error.any())
    for name in ("back_spikes", "back_potentials", "back_counts"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert (a == -b).all()
    assert all((a == b).all() for a, b in zip(one.masks, other.masks, strict=True))
    assert one.random == other.random


def test_backward_number_by_number():
    """Two groups with an edge back, in plain integers: what a group sends through its mask, over
    the weights turned round; over the edge back, what was sent a step before."""
    theta, shift, back_shift, inject, steps, seen = 60, 2, 3, 4, 7, 0
    spec = learning_spec(
        5, (4, 3), 3, neurons=spide(theta), feedback=True, shifts=(1, shift, back_shift),
        weight_bits=5, master_bits=8, error_bits=3, steps_back=steps, inject_shift=inject,
    )  # fmt: skip
    neuron = spec.layers[0].neuron
    assert neuron is not None
    for seed in range(20):
        network, rng = random_network(spec, seed), np.random.default_rng(seed)
        back, between, readout = (
            kernel.tolist()
            for kernel in (
                network.layers[0].kernels[1],
                network.layers[1].kernels[0],
                network.layers[2].kernels[0],
            )
        )
        error = [int(e) for e in rng.integers(-7, 8, 3)]
        sample = Learner(Masters.of(network)).learn(rng.integers(0, 16, 5), 0, np.array(error))
        if not sample.learned:
            continue
        masks = [[int(0 < n < spec.steps) for n in counts] for counts in sample.counts]
        u, r = [[0] * 4, [0] * 3], [[0] * 4, [0] * 3]
        for step in range(steps):
            for g in (1, 0):
                for i in range(len(u[g])):
                    if g == 1:
                        current = sum(readout[k][i] * error[k] for k in range(3)) << inject
                        sent = sum(back[j][i] * masks[0][j] * r[0][j] for j in range(4))
                        current += sent << back_shift
                        seen += sent != 0
                    else:
                        sent = sum(between[k][i] * masks[1][k] * r[1][k] for k in range(3))
                        current = sent << shift
                    v = u[g][i] + current
                    r[g][i] = (v >= theta) - (v <= -theta)
                    left = v - 2 * theta * r[g][i]
                    u[g][i] = max(-neuron.u_max, min(neuron.u_max, left))
                assert sample.back_spikes[g][step].tolist() == r[g]
                assert sample.back_potentials[g][step].tolist() == u[g]
    assert seen > 20  # something came over the edge back


def test_labels_and_errors_that_do_not_fit_are_refused():
    """Two classes; of one bit an error is at most 1."""
    learner = Learner(by_hand())
    for label in (-1, 2):
        with pytest.raises(InputError, match=rf"^Label must lie in 0..1, not be {label}$"):
            learner.learn([1, 3], label)
    for error in ([1], [1, 0, 0], [2, 0], [0, -2]):
        with pytest.raises(InputError, match=r"^Error must be 2 integers within \+-1$"):
            learner.learn([1, 3], 0, error)
    assert learner.learn([1, 3], 1, [-1, 1]).learned


def test_the_slowest_rate_takes_every_bit_of_the_dither():
    """k = 16: of all ones, the least product is rounded up."""
    spec = learning_spec(
        1, (1,), 1, neurons=spide(8), steps=2, input_bits=2, master_bits=6, steps_back=0,
        rates=(16,),
    )  # fmt: skip
    zeros = np.array([0]), np.array([0])
    start = Masters.of(Network(spec, ([np.array([[2]])], np.array([[3]])), zeros))
    start.random = next(n for n in range(1, 2**20) if xorshift(n) & 0xFFFF == 0xFFFF)
    before = start.arrays[0].copy()
    sample = Learner(start).learn([3], 0, [1])
    assert sample.counts[0].tolist() == [1]
    assert start.arrays[0][0, 0] == before[0, 0] + 1


def by_hand() -> Masters:
    """Two pixels, one neuron, two classes; w = 4, M = 6, V = 8, T_F = 2, T_B = 4."""
    spec = learning_spec(
        2, (1,), 2, neurons=spide(8), steps=2, input_bits=2, master_bits=6, steps_back=4,
        margin=4, inject_shift=1, input_bias=2, rates=(1, 0), seed=1,
    )  # fmt: skip
    zeros = np.array([0]), np.array([0, 0])
    return Masters.of(Network(spec, ([np.array([[2, 1]])], np.array([[-1], [2]])), zeros))


def test_an_example_by_hand():
    """docs/arithmetic.md has it, step by step."""
    learner = Learner(by_hand())
    sample = learner.learn([1, 3], 0)
    # I = 2 + 3: 5, then 10 fires and leaves -6; logits -1 and 2.
    assert [p.tolist() for p in sample.potentials] == [[[5], [-6]]]
    assert (sample.counts[0].tolist(), sample.logits.tolist()) == ([1], [-1, 2])
    assert (sample.error.tolist(), sample.label) == ([1, -1], 1)
    # (-1 - 2) << 1 = -6 at each step: -6; -12 fires; 4 - 6 = -2; -8 fires.
    assert sample.back_potentials[0][:, 0].tolist() == [-6, 4, -2, 8]
    assert sample.back_spikes[0][:, 0].tolist() == [0, -1, 0, -1]
    assert sample.back_counts[0].tolist() == [-2]
    assert sample.random == xorshift(1) == learner.masters.random
    # R's low half is 0x2021, whose top bit is 0: rho is that of turned(j), 0, 1, 0.
    assert learner.masters.arrays[0].tolist() == [[10 - 1], [6 - 3], [2 - 2]]
    assert learner.masters.arrays[1].tolist() == [[-2 + 1, 10 - 1], [2 + 2, 2 - 2]]
    assert learner.masters.learned == 1


@pytest.mark.parametrize(("before", "after"), [(63, 64), (2**32 - 2, 2**32 - 1), (2**32 - 1, 0)])
def test_samples_are_counted_modulo_2_to_the_32(before: int, after: int) -> None:
    learner = Learner(by_hand())
    learner.masters.learned = before
    assert learner.learn([1, 3], 0).learned
    assert learner.masters.learned == after


def test_nothing_is_learned_where_the_margin_is_wide_enough():
    learner = Learner(by_hand())
    before = learner.masters.digest
    learner.margin = 3
    sample = learner.learn([1, 3], 1)  # 2 is 3 above -1
    assert not sample.learned
    assert (sample.back_spikes, sample.back_counts, sample.random) == ((), (), 1)
    assert learner.masters.digest == before
    learner.margin = 4
    assert learner.learn([1, 3], 1).learned


def test_an_error_of_the_hosts():
    start = by_hand()
    assert start.spec.learning is not None
    learning = replace(start.spec.learning, error_bits=3)
    start = Masters.of(replace(start.network, spec=replace(start.spec, learning=learning)))
    given, judged = Learner(copied(start)), Learner(copied(start))
    assert not given.learn([1, 3], 0, [0, 0]).learned  # whatever the margin says
    assert given.masters.random == 1
    one, other = given.learn([1, 3], 0, [1, -1]), judged.learn([1, 3], 0)
    assert one.back_counts[0].tolist() == other.back_counts[0].tolist()
    assert given.masters.digest == judged.masters.digest
    before = given.masters.arrays[1].copy()
    sample = given.learn([1, 3], 0, [7, -5])
    step = np.outer([*sample.counts[0], 2], [7, -5])
    low, high = given.masters.limits(1)
    assert (given.masters.arrays[1] == np.clip(before + step, low, high)).all()


@pytest.mark.parametrize("label", [0, 1])
def test_masters_stop_at_their_limits(label):
    start = by_hand()
    learner = Learner(start)
    learner.rates, learner.margin = [-7, -7], 10**6
    for _ in range(4):
        learner.learn([3, 3], label)
        for n, array in enumerate(start.arrays):
            low, high = start.limits(n)
            assert low <= array.min() <= array.max() <= high
    assert set(start.arrays[1].reshape(-1).tolist()) & set(start.limits(1))


def test_the_count_of_samples_wraps():
    start = replace(by_hand(), learned=2**32 - 1)
    Learner(start).learn([1, 3], 0)
    assert start.learned == 0


def test_copies_would_be_equal():
    """Every change is symmetric in sender and target: what a transposed copy of the edge between
    two groups, which hardware keeps, must become."""
    spec = learning_spec(
        4, (5, 6), 3, neurons=spide(12), weight_bits=5, master_bits=9, margin=10**6, steps_back=9,
        rates=(3, 4, 2), steps=6,
    )  # fmt: skip
    learner = Learner(Masters.of(random_network(spec, 8)))
    rng = np.random.default_rng(5)
    moved = 0
    for _ in range(30):
        before = learner.masters.arrays[1].copy()
        sample = learner.learn(rng.integers(0, 16, 4), int(rng.integers(3)))
        copy, word = before.T.copy(), sample.random & 0xFFFF
        for i, target in enumerate(sample.back_counts[1].tolist()):
            for j, sender in enumerate([*sample.counts[0].tolist(), spec.steps]):
                rho = (word ^ int(f"{i ^ j:016b}"[::-1], 2)) >> 12  # 16 bits turned, the upper 4
                copy[i, j] += (target * sender + rho) >> 4
        low, high = learner.masters.limits(1)
        assert (learner.masters.arrays[1] == np.clip(copy, low, high).T).all()
        moved += int((before != learner.masters.arrays[1]).sum())
    assert moved > 50
