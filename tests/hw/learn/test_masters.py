"""hw.learn.masters: limits, the ordinary network they make, and files that are refused."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from hw.contract.builder import random_network
from hw.contract.checks import SpecError
from hw.contract.network import Network
from hw.learn.masters import Masters, MastersError, masters_path
from sim.golden.learning import Learner
from tests.learners import learning_spec, masters, spide


def small(**changes: Any) -> Masters:
    """Two groups and an edge back, w = 4, M = 8."""
    fields = {"feedback": True, "shifts": (0, 2, 1), "input_bias": 5, "seed": 99, **changes}
    spec = learning_spec(4, (3, 2), 3, neurons=spide(16), **fields)
    return Masters.of(random_network(spec, 4))


def learned() -> Masters:
    """After some samples."""
    found = small(margin=1000)
    learner = Learner(found)
    for n in range(9):
        learner.learn(np.arange(4) * 3 + n % 5, n % 3)
    return found


def test_a_start_is_the_middle_of_each_cell():
    found = small()
    for n, edge in enumerate(found.edges):
        kernel = found.network.layers[edge.layer].kernels[edge.number]
        assert (found.arrays[n][: edge.senders] == kernel.T * 16 + 8).all()
        assert (found.arrays[n][edge.senders :] == 8).all()
        assert (found.limits(n), found.fraction(n)) == ((-112, 127), 4)
    assert (found.random, found.learned) == (99, 0)
    assert found.working().digest == found.network.digest
    narrow = small(master_bits=4)
    assert narrow.limits(0) == (-7, 7)
    assert (narrow.arrays[3][:2] == narrow.network.layers[2].kernels[0].T).all()


@settings(max_examples=50)
@given(found=masters())
def test_the_working_network_has_their_upper_bits(found):
    working = found.working()
    for n, edge in enumerate(found.edges):
        s = found.fraction(n)
        layer, first = working.layers[edge.layer], found.network.layers[edge.layer]
        assert (found.arrays[n][: edge.senders] // 2**s == layer.kernels[edge.number].T).all()
        if edge.bias:
            constant = edge.bias * (found.arrays[n][edge.senders] // 2**s) * 2**edge.shift
            assert (layer.bias == first.bias + constant).all()
    assert working.spec == found.spec
    # At the limits, weights are those of the narrow range.
    for n in range(len(found.edges)):
        low, high = found.limits(n)
        q, s = found.spec.layers[found.edges[n].layer].w_max, found.fraction(n)
        assert (low >> s, high >> s, (high + 1) >> s, (low - 1) >> s) == (-q, q, q + 1, -q - 1)


def test_a_file_is_beside_its_network():
    assert masters_path("models/net.npz") == Path("models/net.masters.npz")
    assert masters_path("net") == Path("net.masters.npz")


@pytest.mark.parametrize("make", [small, learned])
def test_a_file_holds_everything(tmp_path, make):
    found = make()
    network = found.working()
    path = found.save(masters_path(network.save(tmp_path / "net.npz")))
    read = Masters.load(path, Network.load(tmp_path / "net.npz"))
    assert read.digest == found.digest
    assert (read.random, read.learned) == (found.random, found.learned)
    assert all((a == b).all() for a, b in zip(read.arrays, found.arrays, strict=True))
    assert read.arrays[0].dtype == np.int64
    first, second = Learner(found), Learner(read)
    for n in range(5):  # and learning goes on as if nothing had been
        one, other = (x.learn(np.full(4, 3 * n), n % 3) for x in (first, second))
        assert one.logits.tolist() == other.logits.tolist()
    assert read.digest == found.digest
    assert (
        read.save(tmp_path / "again.npz").read_bytes()
        == found.save(tmp_path / "other.npz").read_bytes()
    )


def test_a_digest_is_of_the_whole_state():
    found, digests = small(), set()
    digests.add(found.digest)
    found.arrays[0][0, 0] ^= 1  # below what the network works with
    digests.add(found.digest)
    digests.add(replace(found, random=1).digest)
    digests.add(replace(found, learned=1).digest)
    biases = list(found.network.biases)
    biases[0] = biases[0] + 1
    digests.add(replace(found, network=replace(found.network, biases=tuple(biases))).digest)
    assert len(digests) == 5


def altered(path: Path, header: dict[str, Any], **arrays: Any) -> Path:
    """The same file with other fields and arrays; None leaves an array out."""
    with np.load(path) as archive:
        found = {name: archive[name] for name in archive.files}
    told = {**json.loads(found["header.json"].tobytes()), **header}
    found["header.json"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
    found = {**found, **arrays}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: a for name, a in found.items() if a is not None})
    other = path.with_name("other.npz")
    other.write_bytes(buffer.getvalue())
    return other


@pytest.mark.parametrize(
    ("header", "arrays", "sentence"),
    [
        ({"format": "sterna-network"}, {}, "is truncated or no such file"),
        ({"version": "1"}, {}, "is truncated or no such file"),
        ({"version": 2}, {}, "has format version 2, and this Sterna reads up to 1: use a newer"),
        ({"network": "0"}, {}, "belongs to another network"),
        ({"random": 0}, {}, "is inconsistent: Random word must be an integer from 1 to 4294967295"),
        ({"random": 5}, {}, "is corrupted: its weights do not match"),
        ({"learned": -1}, {}, "is inconsistent: Samples learned must be an integer from 0 to"),
        ({}, {"masters1": None}, "lacks the array 'masters1'"),
        ({}, {"bias0": None}, "lacks the array 'bias0'"),
        ({}, {"masters0": np.zeros((5, 3), int)}, "is corrupted: its weights do not match"),
        (
            {},
            {"masters0": np.zeros((4, 3), int)},
            "must have integers of shape (5, 3) as 'masters0', not int64 of shape (4, 3)",
        ),
        (
            {},
            {"masters0": np.zeros((5, 3))},
            "must have integers of shape (5, 3) as 'masters0', not float64 of shape (5, 3)",
        ),
        (
            {},
            {"masters1": np.full((2, 3), 128)},
            "is inconsistent: Masters of layer l0, edge l1, must lie in -112..127",
        ),
        (
            {},
            {"bias0": np.zeros(2, int)},
            "must have integers of shape (3,) as 'bias0', not int64 of shape (2,)",
        ),
        ({}, {"notes": np.zeros(9)}, "must not hold 'notes', which it has no use for"),
        ({}, {"bias0": np.full(3, 999)}, "is corrupted: its weights do not match"),
    ],
)
def test_files_that_are_refused(tmp_path, header, arrays, sentence):
    found = learned()
    path = altered(found.save(tmp_path / "net.masters.npz"), header, **arrays)
    with pytest.raises(MastersError, match=re.escape(f"File of masters {path} {sentence}")):
        Masters.load(path, found.working())


def test_a_change_below_the_weights_is_noticed(tmp_path):
    found = learned()
    path = found.save(tmp_path / "net.masters.npz")
    found.arrays[0][0, 0] ^= 1
    other = altered(path, {}, masters0=found.arrays[0])
    with pytest.raises(MastersError, match="is corrupted: its weights do not match"):
        Masters.load(other, found.working())


def test_broken_files(tmp_path):
    found = learned()
    path, network = found.save(tmp_path / "net.masters.npz"), found.working()
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(MastersError, match="is truncated or no such file"):
            Masters.load(path, network)
    with pytest.raises(MastersError, match=r"File of masters .*none does not exist"):
        Masters.load(tmp_path / "none", network)
    with pytest.raises(MastersError, match="is truncated or no such file"):
        Masters.load(tmp_path, network)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.masters.npz"]


def test_masters_that_are_refused():
    found = small()
    with pytest.raises(MastersError, match=r"must be integers of shape \(5, 3\)"):
        replace(found, arrays=[found.arrays[0][:4], *found.arrays[1:]])
    with pytest.raises(MastersError, match="Masters must be 4 arrays, as many as edges that learn"):
        replace(found, arrays=found.arrays[:3])
    with pytest.raises(SpecError, match="Random word must be an integer from 1"):
        replace(found, random=0)
    for name, what in (("random", "Random word"), ("learned", "Samples learned")):
        assert getattr(replace(found, **{name: 2**32 - 1}), name) == 2**32 - 1
        with pytest.raises(SpecError, match=f"{what} must be an integer from"):
            replace(found, **{name: 2**32})
    plain = replace(found.network, spec=replace(found.spec, learning=None))
    with pytest.raises(MastersError, match="Network small has no learning in its specification"):
        Masters.of(plain)
