"""The graph contract: shapes, order, cycles, names; what is refused, in one sentence."""

import json
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from hw.contract.builder import NetworkBuilder, random_network
from hw.contract.checks import SpecError
from hw.contract.edge import EdgeSpec
from hw.contract.network import Network, NetworkError
from hw.contract.neuron import Decay, NeuronSpec, ReadoutSpec, factor_shift
from hw.contract.spec import LayerSpec, NetworkSpec
from tests.graphs import NEURON, arrays, conv, dense, network_of, residual
from tests.networks import chain

MANY = NeuronSpec(theta=20, decay="factor", decay_shift=3, potential_bits=6)
"""Each channel has a factor of its own, of 0 to 8."""


def test_a_specification_and_back() -> None:
    spec = residual()
    assert NetworkSpec.from_dict(spec.to_dict()) == spec
    assert not spec.is_chain
    assert spec.weight_shapes(1) == [(4, 2, 3, 3), (4, 4, 1, 1)]
    assert spec.weight_shapes(2) == [(4, 4, 3, 3), (1,)]
    assert spec.weight_shapes(4) == [(3, 6), (3, 16)]


def test_one_edge_and_it_is_no_chain() -> None:
    spec = chain((6, 5, 4, 3), NEURON)
    first, second, readout = spec.layers
    skips = replace(readout, edges=(EdgeSpec(source=first.name),), inputs=first.neurons)
    assert spec.is_chain
    assert not replace(spec, layers=(first, second, skips)).is_chain
    assert not replace(spec, input_shape=(6, 1, 1)).is_chain
    assert not replace(spec, timed_input=True).is_chain


def test_what_a_layer_has_by_channel() -> None:
    layer = LayerSpec(name="a", inputs=1, neurons=2, weight_bits=4, neuron=NEURON)
    decaying = replace(layer, neuron=MANY, channel_decays=True)
    assert not layer.by_channel
    assert replace(layer, channel_thresholds=True).by_channel
    assert decaying.by_channel


def test_bounds_of_sums() -> None:
    """The worst inputs: a shift counts 2^k times; dense weights of maps, the largest of a
    channel's neurons."""
    none = np.zeros(2, dtype=np.int64)
    plain = NetworkBuilder(2, input_bits=4)
    plain.layer("a", 2, EdgeSpec(source="input", shift=2), neuron=NEURON)
    plain.layer("readout", 2)
    weights = (np.array([3, -2, 1, 0]), np.array([[1, 2], [3, 4]]))
    layer = Network(plain.spec(), weights, (np.array([7, -9]), none)).layers[0]
    assert (layer.accumulator_bound, layer.drive_bound) == (5 * 15 << 2, (5 * 15 << 2) + 7)
    maps = NetworkBuilder((1, 1, 2), input_bits=1)
    maps.layer("a", (2, 1, 2), EdgeSpec(source="input"), neuron=NEURON)
    maps.layer("readout", 2)
    weights = (np.array([1, 1, 5, -2, 3, 0, 0, 1]), np.ones((2, 4), dtype=np.int64))
    layer = Network(maps.spec(), weights, (np.array([0, 6]), none)).layers[0]
    assert (layer.accumulator_bound, layer.drive_bound) == (7, 3 + 6)


@pytest.mark.parametrize(
    ("weight", "bias", "shift", "bits", "rows"),
    [
        (3, 0, 0, (4, 4, 3), 1),  # sums are at least a weight wide
        (7, 0, 0, (8, 8, 8), 2),  # 7 * 15 = 105
        (7, 30, 0, (8, 8, 9), 3),
        (7, 0, 2, (10, 8, 10), 3),
        (7, 3, 3, (11, 8, 11), 3),
    ],
)
def test_widths_of_sums(
    weight: int, bias: int, shift: int, bits: tuple[int, ...], rows: int
) -> None:
    """Of the running sum, shifted and not, and of the drive; rows of 4 bits that a bias takes."""
    b = NetworkBuilder(1, input_bits=1 if weight == 3 else 4)
    b.layer("a", 1, EdgeSpec(source="input", shift=shift), neuron=NEURON)
    b.layer("readout", 2)
    weights = (np.array([weight]), np.array([[1], [1]]))
    layer = Network(b.spec(), weights, (np.array([bias]), np.zeros(2, dtype=int))).layers[0]
    assert (layer.accumulator_bits, layer.sum_bits, layer.drive_bits) == bits
    assert layer.bias_rows == rows


@pytest.mark.parametrize("negative", ["free", "off", "guarded"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_what_kind_of_neuron_it_is(negative: str, reset: str) -> None:
    step = 4 if reset == "soft" else 0
    neuron = NeuronSpec(theta=4, potential_bits=6, negative=negative, reset=reset, step=step)
    assert neuron.signed == (negative != "off")
    assert neuron.can_saturate == (reset == "soft" or negative != "free")
    assert replace(neuron, limit=3).count_bits(10) == 5  # 0 .. 30


@pytest.mark.parametrize("value", ["last", "sum", "max"])
def test_what_a_readout_keeps(value: str) -> None:
    assert ReadoutSpec(value=value).keeps_answers == (value != "last")


def test_the_finest_of_factors_by_channel() -> None:
    """Of decays with one factor for all, or none, there is no say."""
    assert factor_shift([]) == factor_shift([Decay("shift", 7), Decay("factor", 9, 3)]) == 0
    assert factor_shift([Decay("factor", 3), Decay("factor", 5), Decay("factor", 9, 3)]) == 5


def test_the_most_groups() -> None:
    assert edge(groups=65536).groups == 65536


@pytest.mark.parametrize(("step", "bound"), [(2, 21), (9, 27)])
def test_the_bound_of_a_reset(step: int, bound: int) -> None:
    """A soft reset may take more than there is: three times the step."""
    neuron = NeuronSpec(theta=4, reset="soft", step=step, limit=3, potential_bits=4)
    b = NetworkBuilder(1, input_bits=1)
    b.layer("a", 1, neuron=neuron)
    b.layer("readout", 2)
    weights = (np.array([[5]]), np.array([[1], [1]]))
    layer = Network(b.spec(), weights, (np.array([9]), np.zeros(2, dtype=int))).layers[0]
    assert (layer.membrane_bound, layer.reset_bound) == (7 + 14, bound)


def test_shapes_that_edges_make() -> None:
    for kind, shape in (("dense", (5, 1, 1)), ("identity", (2, 6, 7)), ("conv", (5, 6, 7))):
        assert EdgeSpec(source="a", kind=kind, shift=7).made((2, 6, 7), 5) == shape


def test_an_image_and_back(tmp_path) -> None:
    network = network_of(residual())
    loaded = Network.load(network.save(tmp_path / "graph.npz"))
    assert loaded.digest == network.digest
    assert loaded.spec == network.spec
    for ours, theirs in zip(loaded.layers, network.layers, strict=True):
        for a, b in zip(ours.kernels, theirs.kernels, strict=True):
            assert np.array_equal(a, b)
    assert np.array_equal(loaded.thetas[1], network.thetas[1])  # type: ignore[arg-type]
    # All that an image is made of is in its digest.
    weights, biases, thetas = arrays(network.spec)
    digests = {network.digest}
    for part in (weights[2][1], biases[3], thetas[1]):
        part.flat[-1] += 1 if part.flat[-1] < 7 else -1
        digests.add(Network(network.spec, weights, biases, thetas=thetas).digest)
    assert len(digests) == 4


def test_bounds_hold_what_can_come() -> None:
    """A pooled edge brings pool^2 coefficients to a weight; edges and bias add up."""
    network = network_of(residual())
    block, down = network.layers[2], network.layers[3]
    kernel, constant = (np.abs(k.astype(int)) for k in block.kernels)
    rows = kernel.reshape(4, -1).sum(axis=1) + constant[0]
    assert block.accumulator_bound == rows.max()
    assert block.drive_bound == (rows + np.abs(block.bias)).max()
    assert down.accumulator_bound == 4 * np.abs(down.kernels[0].astype(int)).sum((1, 2, 3)).max()
    assert network.layers[0].accumulator_bound == (
        7 * np.abs(network.layers[0].kernels[0].astype(int)).sum((1, 2, 3)).max()
    )


@pytest.mark.parametrize("order", [1, -1])
def test_the_largest_coefficient_of_a_layer_with_several_sources(order: int) -> None:
    """Pixels of 3 bits, spikes of 1 and coefficients of up to 3, whichever comes first."""
    b = NetworkBuilder((2, 2, 2), input_bits=3, steps=2)
    b.layer("a", 2, conv("input", 1), neuron=NEURON)
    b.layer("b", 2, conv("a", 1), neuron=replace(NEURON, limit=3))
    sources = ("input", "a", "b")[::order]
    b.layer("c", 2, *(conv(name, 1) for name in sources), neuron=NEURON)
    b.layer("d", 3, *(dense(name) for name in ("a", "b")[::order]))
    spec = b.spec()
    assert [spec.coefficient_max(n) for n in range(4)] == [7, 1, 7, 3]
    layers = network_of(spec).layers
    assert [layer.coefficient_max for layer in layers] == [7, 1, 7, 3]
    assert layers[2].coefficient_maxima == (7, 1, 3)[::order]


def edge(**fields: Any) -> EdgeSpec:
    """A convolution with whatever somebody may write."""
    return EdgeSpec(source="a", kind="conv", **fields)


def test_one_network_has_one_spelling() -> None:
    """Two equal numbers are one, as it always was written; a pair is a list in JSON."""
    plain = EdgeSpec(source="a", kind="conv", kernel=3, stride=2, padding=1, pool=2)
    pairs: Any = {"kernel": (3, 3), "stride": [2, 2], "padding": (1, 1), "pool": [2, 2]}
    same = EdgeSpec(source="a", kind="conv", **pairs)
    assert same == plain
    assert hash(same) == hash(plain)
    assert same.to_dict() == plain.to_dict()
    assert plain.to_dict() == {
        "source": "a",
        "kind": "conv",
        "kernel": 3,
        "stride": 2,
        "padding": 1,
        "pool": 2,
    }
    flat = EdgeSpec(source="a", kind="conv", kernel=(1, 5), stride=(1, 3), pool=(2, 1))
    assert flat.to_dict() == {
        "source": "a",
        "kind": "conv",
        "kernel": [1, 5],
        "stride": [1, 3],
        "pool": [2, 1],
    }
    assert EdgeSpec(**json.loads(json.dumps(flat.to_dict()))) == flat
    assert flat.made((3, 7, 20), 4) == (4, 3, 6)
    assert flat.weight_shape((3, 7, 20), (4, 3, 6), "b") == (4, 3, 1, 5)


def changed(n: int, **fields) -> NetworkSpec:
    spec = residual()
    layers = list(spec.layers)
    layers[n] = replace(layers[n], **fields)
    return replace(spec, layers=tuple(layers))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: EdgeSpec(source="a", kind="pool"), "Kind of edge from a must be one of"),
        (
            lambda: EdgeSpec(source="a", kind="conv", kernel=12),
            "Kernel of edge from a must be an integer from 1 to 11, not 12",
        ),
        (
            lambda: EdgeSpec(source="a", kind="conv", kernel=(3, 0)),
            "Kernel of edge from a, of columns, must be an integer from 1 to 11, not 0",
        ),
        (
            lambda: edge(kernel=(3, 3, 3)),
            "Kernel of edge from a must be a number or two (rows, columns), not (3, 3, 3)",
        ),
        (
            lambda: edge(kernel="3"),
            "Kernel of edge from a must be an integer from 1 to 11, not '3'",
        ),
        (
            lambda: edge(kernel=[True, 3]),
            "Kernel of edge from a, of rows, must be an integer from 1 to 11, not True",
        ),
        (
            lambda: EdgeSpec(source="a", kind="conv", stride=3),
            "Stride of edge from a must be an integer from 1 to 2, not 3",
        ),
        (
            lambda: EdgeSpec(source="a", kind="conv", kernel=(5, 4), stride=5),
            "Stride of edge from a must be an integer from 1 to 4, not 5",
        ),
        (
            lambda: EdgeSpec(source="a", kind="conv", kernel=(5, 1), padding=(4, 1)),
            "Padding of edge from a, of columns, must be an integer from 0 to 0, not 1",
        ),
        (
            lambda: EdgeSpec(source="a", pool=(1, 257)),
            "Pooling of edge from a, of columns, must be an integer from 1 to 256, not 257",
        ),
        (
            lambda: EdgeSpec(source="a", kind="conv", kernel=3, padding=3),
            "Padding of edge from a must be an integer from 0 to 2, not 3",
        ),
        (lambda: EdgeSpec(source="1a"), "Source of an edge must be an identifier, not '1a'"),
        (lambda: EdgeSpec(source=cast(Any, 1)), "Source of an edge must be an identifier, not 1"),
        *(
            (
                lambda groups=groups: edge(groups=groups),
                f"Groups of edge from a must be an integer from 1 to 65536, not {groups}",
            )
            for groups in (0, 65537)
        ),
        (
            lambda: EdgeSpec(source="a", delay=2),
            "Delay of edge from a must be an integer from 0 to 1, not 2",
        ),
        (
            lambda: edge(kernel=(5, 1), padding=(5, 0)),
            "Padding of edge from a, of rows, must be an integer from 0 to 4, not 5",
        ),
        (
            lambda: EdgeSpec(source="a", shift=8),
            "Shift of edge from a must be an integer from 0 to 7, not 8",
        ),
        (lambda: EdgeSpec(source="a", kernel=3), "Kernel, stride, padding and groups are of a"),
        (lambda: EdgeSpec(source="input", delay=1), "Edge from input must have no delay"),
        (
            lambda: changed(1, edges=(EdgeSpec(source="block", kind="identity"),)),
            "Layer inner has an edge from block that closes a cycle within a time step: it needs a "
            "delay of 1",
        ),
        (
            lambda: changed(1, edges=(EdgeSpec(source="inner", kind="conv"),)),
            "Layer inner has an edge from inner that closes a cycle",
        ),
        (
            lambda: changed(1, edges=(EdgeSpec(source="nowhere"),)),
            "Layer inner has an edge from nowhere, which is no layer",
        ),
        (
            lambda: changed(1, edges=(EdgeSpec(source="readout", delay=1),)),
            "Layer inner has an edge from readout, which is the readout and never fires",
        ),
        (
            lambda: changed(
                2, edges=(EdgeSpec(source="stem", kind="identity", pool=2),), inputs=144
            ),
            "Layer block, edge from stem: an identity makes maps of 4x3x3, not 4x6x6",
        ),
        (
            lambda: changed(1, edges=(EdgeSpec(source="stem", kind="conv", kernel=3),), inputs=144),
            "Layer inner, edge from stem: this convolution makes maps of 4x4, not 6x6",
        ),
        (
            lambda: changed(3, edges=(EdgeSpec(source="block", kind="conv", kernel=7, pool=2),)),
            "Layer down, edge from block: a kernel of 7 does not fit maps of 3x3 with 0 "
            "zeros around",
        ),
        *(
            (
                lambda kernel=kernel: changed(
                    3, edges=(EdgeSpec(source="block", kind="conv", kernel=kernel, pool=2),)
                ),
                f"Layer down, edge from block: a kernel of {text} does not fit maps of 3x3 with 0 ",
            )
            for kernel, text in ((4, "4"), ((4, 1), "4x1"), ((1, 4), "1x4"))
        ),
        (
            lambda: changed(3, edges=(EdgeSpec(source="block", kind="conv", groups=4, pool=2),)),
            "Layer down, edge from block: 4 groups must divide 4 and 6 channels",
        ),
        (
            lambda: changed(4, edges=(EdgeSpec(source="down", pool=3),), inputs=24),
            "Layer readout, edge from down: maps of 6x2x2 are smaller than pooling by 3",
        ),
        (
            lambda: changed(4, edges=(EdgeSpec(source="down", pool=(2, 3)),), inputs=24),
            "Layer readout, edge from down: maps of 6x2x2 are smaller than pooling by 2x3",
        ),
        (
            lambda: changed(4, edges=(EdgeSpec(source="down", pool=(3, 2)),), inputs=24),
            "Layer readout, edge from down: maps of 6x2x2 are smaller than pooling by 3x2",
        ),
        (lambda: changed(3, inputs=145), "Layer down must have 144 inputs to fit what precedes"),
        (lambda: changed(3, neurons=25), "Layer down must have 6x2x2 neurons, not 25"),
        (lambda: changed(3, shape=(6, 2)), "Shape of layer down must be (channels, rows, columns)"),
        (
            lambda: changed(4, channel_thresholds=True),
            "Thresholds of layer readout must not be by channel: it is a readout",
        ),
        (
            lambda: changed(1, neuron=replace(NEURON, u0=3)),
            "Thresholds of layer inner must not be by channel: that goes with an initial ",
        ),
        (
            lambda: changed(1, channel_decays=True),
            "Decays of layer inner must not be by channel: that goes with decay factor, a "
            "decay_factor of 0 and an initial potential of 0",
        ),
        (
            lambda: changed(0, channel_decays=True, neuron=replace(MANY, u0=1)),
            "Decays of layer stem must not be by channel: that goes with decay factor",
        ),
        (
            lambda: changed(0, channel_decays=1),
            "Decays by channel of layer stem must be true or false, not 1",
        ),
        (
            lambda: changed(0, neuron=MANY),
            "Decay factor of layer stem must not be 0: of layers with channel_decays alone has "
            "each channel its own",
        ),
        (lambda: changed(4, channel_decays=True), "Decays of layer readout must not be by channel"),
        (
            lambda: replace(residual(), input_shape=(1, 6, 6)),
            "Input must have 1x6x6 pixels, not 72",
        ),
    ],
)
def test_refusals(make, sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        make()
    assert str(error.value).startswith(sentence)


def test_arrays_that_do_not_fit() -> None:
    spec = residual()
    weights, biases, thetas = arrays(spec)

    def refusal(**parts) -> str:
        given = {"weights": weights, "biases": biases, "thetas": thetas, **parts}
        with pytest.raises(NetworkError) as error:
            Network(spec, given["weights"], given["biases"], thetas=given["thetas"])
        return str(error.value)

    def at(n: int, value, parts):
        return (*parts[:n], value, *parts[n + 1 :])

    assert refusal(weights=at(2, [weights[2][0]], weights)) == (
        "Layer block must have weights for 2 edges, not 1"
    )
    assert refusal(weights=at(2, [weights[2][0], np.array([40000])], weights)) == (
        "Weights of layer block, edge from stem must lie within +-32767, not reach 40000"
    )
    assert refusal(weights=at(0, [weights[0][0] * 0 + 8], weights)) == (
        "Weights of layer stem, edge from input must lie within +-7, not reach 8"
    )
    # In one array, too: each edge within its own range.
    for place, source, most in ((0, "inner", 7), (-1, "stem", 32767)):
        flat = np.concatenate([kernel.reshape(-1) for kernel in weights[2]]).astype(np.int64)
        flat[place] = -70000
        assert refusal(weights=at(2, flat, weights)) == (
            f"Weights of layer block, edge from {source} must lie within +-{most}, not reach 70000"
        )
    assert refusal(thetas=at(1, None, thetas)) == (
        "Layer inner must have a threshold for each channel"
    )
    assert refusal(thetas=at(0, np.full(4, 20), thetas)) == (
        "Layer stem must have one threshold for all channels"
    )
    assert refusal(thetas=at(1, np.full(4, 19), thetas)) == (
        "Thresholds of layer inner must be positive, the largest of them 20, not 19..19"
    )


def own_constants() -> Network:
    """A row whose neurons have thresholds, reset steps and factors of their own."""
    neuron = replace(MANY, reset="soft", step=9)
    b = NetworkBuilder(3, steps=2)
    b.layer("row", 4, neuron=neuron, channel_thresholds=True, channel_decays=True)
    b.layer("readout", 2)
    return random_network(b.spec())


def test_constants_by_channel_and_back(tmp_path) -> None:
    """All of them are in the file, and in the digest."""
    network = own_constants()
    assert network.spec.is_chain
    loaded = Network.load(network.save(tmp_path / "own.npz"))
    assert (loaded.digest, loaded.spec) == (network.digest, network.spec)
    digests = {network.digest}
    for name in ("thetas", "reset_steps", "factors"):
        ours, theirs = getattr(loaded, name), getattr(network, name)
        assert np.array_equal(ours[0], theirs[0])
        assert ours[1] is None
        other = ours[0].copy()
        other[2] += 1 if other[2] < 3 else -1
        digests.add(replace(network, **{name: (other, None)}).digest)
    assert len(digests) == 4
    assert loaded.layers[0].decay_bound == 31 * 8


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("reset_steps", (None, None), "Layer row must have a reset step for each channel"),
        ("reset_steps", (), "Layer row must have a reset step for each channel"),
        ("factors", (None, None), "Layer row must have a decay factor for each channel"),
        ("factors", ([0] * 4,) * 2, "Layer readout must have one decay factor for all channels"),
        ("factors", ([0] * 4,), "Network must have 2 decay factor arrays (or None), not 1"),
        ("thetas", ([20] * 4,), "Network must have 2 threshold arrays (or None), not 1"),
        (
            "reset_steps",
            ([9, 9, 9, 0], None),
            "Reset steps of layer row must be positive, the largest of them 9, not 0..9",
        ),
        (
            "reset_steps",
            ([8, 8, 8, 8], None),
            "Reset steps of layer row must be positive, the largest of them 9, not 8..8",
        ),
        (
            "factors",
            ([0, 8, 9, 1], None),
            "Decay factors of layer row must lie within +-8, not reach 9",
        ),
        (
            "factors",
            ([0, 8, -1, 1], None),
            "Decay factors of layer row must lie in 0..8, not reach -1",
        ),
        ("factors", ([0, 8], None), "Decay factors of layer row must have shape (4,), not (2,)"),
    ],
)
def test_constants_by_channel_that_do_not_fit(name: str, values: Any, sentence: str) -> None:
    with pytest.raises(NetworkError) as error:
        replace(own_constants(), **{name: values})
    assert str(error.value) == sentence


def test_a_chain_has_the_digest_it_had() -> None:
    """What is new is left out where it is not used."""
    spec = NetworkSpec(
        name="chain",
        input_size=3,
        input_bits=2,
        steps=2,
        layers=(LayerSpec(name="readout", inputs=3, neurons=2, weight_bits=4),),
    )
    assert spec.is_chain
    assert set(spec.to_dict()) == {"name", "input_size", "input_bits", "steps", "layers"}
    assert set(spec.to_dict()["layers"][0]) == {
        "name",
        "inputs",
        "neurons",
        "weight_bits",
        "neuron",
    }


@pytest.mark.parametrize("pool", [(1, 2), (2, 3), (3, 2), 2])
def test_weights_of_windows_of_any_sides(pool: Any) -> None:
    """What a window leaves over has none."""
    b = NetworkBuilder((2, 5, 7), name="pooled", input_bits=2, steps=2)
    b.layer("readout", 3, EdgeSpec(source="input", pool=pool))
    (layer,) = random_network(b.spec(), seed=1).layers
    down, across = (pool, pool) if isinstance(pool, int) else pool
    high, wide = 5 // down, 7 // across
    assert np.array_equal(layer.dense_bias, layer.bias)
    kernel = layer.kernels[0].reshape(3, 2, high, wide)
    table = layer.dense_weights.reshape(3, 2, 5, 7)
    for y in range(5):
        for x in range(7):
            inside = y < high * down and x < wide * across
            wanted = kernel[:, :, y // down, x // across] if inside else np.zeros((3, 2))
            np.testing.assert_array_equal(table[:, :, y, x], wanted)


def test_weights_of_what_is_pooled_are_shared() -> None:
    """Over a window of 2 by 1 of maps of 3 by 2: both rows have its weight, the third one none."""
    b = NetworkBuilder((2, 3, 2), name="pooled", input_bits=2, steps=2)
    b.layer("readout", 3, EdgeSpec(source="input", pool=(2, 1)))
    network = random_network(b.spec(), seed=1)
    (layer,) = network.layers
    kernel = layer.kernels[0].reshape(3, 2, 2)
    table = layer.dense_weights.reshape(3, 2, 3, 2)
    for row, wanted in ((0, kernel), (1, kernel), (2, 0 * kernel)):
        np.testing.assert_array_equal(table[:, :, row], wanted)
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 4, (5, 12))
    sums = pixels.reshape(5, 2, 3, 2)[:, :, :2].sum(axis=2).reshape(5, -1)
    np.testing.assert_array_equal(
        pixels @ layer.dense_weights.astype(int).T, sums @ layer.kernels[0].astype(int).T
    )
