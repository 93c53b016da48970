"""hw.contract.network: the file comes back as it went, or not at all."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.contract.builder import NetworkBuilder, random_network
from hw.contract.laws import integrate
from hw.contract.network import FORMAT_VERSION, Layer, Network, NetworkError
from hw.contract.neuron import NeuronSpec, ReadoutSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from tests.graphs import NEURON
from tests.networks import chain


def make_network(seed=0, inputs=5, neurons=4, classes=3):
    neuron = NeuronSpec(theta=9, decay="leak", decay_shift=2, potential_bits=6)
    builder = NetworkBuilder(inputs, name="net", input_bits=3, steps=2)
    builder.layer("hidden", neurons, neuron=neuron)
    builder.layer("readout", classes, weight_bits=3)
    return replace(random_network(builder.spec(), seed, bias=19), meta={"dataset": "none"})


def test_file_round_trip(tmp_path):
    network = make_network()
    again = Network.load(network.save(tmp_path / "net.npz"))
    assert again.spec == network.spec
    assert again.digest == network.digest
    assert again.meta == {"dataset": "none"}
    arrays = network.weights + network.biases
    for mine, theirs in zip(arrays, again.weights + again.biases, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype


def test_what_was_counted_is_told_by_layer():
    """All of it, or nothing where it is of another form."""
    counted = {"spike_bits": [0.25], "change_bits": [0.5], "sum_bits": [1.5]}
    activity = replace(make_network(), meta=counted).activity
    assert activity is not None
    assert (activity.spikes, activity.changes, activity.sums) == (
        {"hidden": 0.25},
        {"hidden": 0.5},
        {"hidden": 1.5},
    )
    for name in counted:
        for bad in (0.5, [], [0.5, 0.5], [-0.1], [float("inf")], ["x"], [None]):
            assert replace(make_network(), meta=counted | {name: bad}).activity is None
        silent = replace(make_network(), meta=counted | {name: [0]}).activity
        assert silent is not None
        assert 0 in {*silent.spikes.values(), *silent.changes.values(), *silent.sums.values()}
        one_less = {key: value for key, value in counted.items() if key != name}
        assert replace(make_network(), meta=one_less).activity is None


def test_one_bad_count_among_good_ones():
    network = random_network(chain((4, 3, 3, 2), NEURON))
    counted = {"spike_bits": [0.25, 1], "change_bits": [0.5, 1], "sum_bits": [1.5, 1]}
    assert replace(network, meta=counted).activity is not None
    for bad in ([0.25, -1], [None, 1]):
        assert replace(network, meta=counted | {"spike_bits": bad}).activity is None


def test_densities_are_what_was_counted_or_one_half():
    """5 pixels of 3 bits; a rate for each layer that fires; what is no share says nothing."""
    counted = {"input_events": 3, "spike_rates": [0.25]}
    for meta, expected in (
        (counted, {"input": 0.2, "hidden": 0.25}),
        ({}, {"input": 0.5, "hidden": 0.5}),
        (counted | {"input_events": "x"}, {"input": 0.5, "hidden": 0.25}),
        (counted | {"input_events": 16}, {"input": 0.5, "hidden": 0.25}),
        (counted | {"spike_rates": [0.25, 0.5]}, {"input": 0.2, "hidden": 0.5}),
        (counted | {"spike_rates": [1.5]}, {"input": 0.2, "hidden": 0.5}),
        (counted | {"spike_rates": [0]}, {"input": 0.2, "hidden": 0}),
        (counted | {"spike_rates": [1]}, {"input": 0.2, "hidden": 1}),
    ):
        assert replace(make_network(), meta=meta).densities == expected


@pytest.mark.parametrize(("bits", "kind"), [(8, np.int8), (9, np.int16), (16, np.int16)])
def test_the_widest_weights_come_back(bits, kind, tmp_path):
    """A dense layer's have two bytes where one is too narrow, and none is lost."""
    layer = LayerSpec(name="r", inputs=3, neurons=1, weight_bits=bits)
    spec = NetworkSpec(name="wide", input_size=3, input_bits=1, steps=1, layers=(layer,))
    weights = np.array([[layer.w_max, -layer.w_max, 1]])
    network = Network(spec, (weights,), (np.array([0]),))
    assert network.weights[0].dtype == kind
    path = network.save(tmp_path / "wide.npz")
    again = Network.load(path)
    assert again.weights[0].tolist() == network.weights[0].tolist() == weights.tolist()
    assert again.weights[0].dtype == kind
    assert again.digest == network.digest
    with np.load(path) as archive:
        assert archive["weights0"].dtype == kind
    for other in (weights * [[1, 1, -1]], weights * [[1, -1, 1]]):
        assert Network(spec, (other,), (np.array([0]),)).digest != network.digest
    text = json.dumps(spec.to_dict(), sort_keys=True).encode()
    stored = weights.astype("<i1" if bits == 8 else "<i2").tobytes()
    assert network.digest == hashlib.sha256(text + stored + bytes(4)).hexdigest()


@pytest.mark.parametrize("bits", [8, 9, 16])
def test_a_layer_by_itself_does_not_wrap(bits):
    layer = LayerSpec(name="r", inputs=2, neurons=1, weight_bits=bits)
    most = layer.w_max
    alone = Layer.dense(layer, np.array([[most, -most]]), np.array([0]), 1, 1)
    assert alone.weights.tolist() == [[most, -most]]
    with pytest.raises(NetworkError, match=rf"Weights of layer r must lie within \+-{most}, not"):
        Layer.dense(layer, np.array([[most + 1, 0]]), np.array([0]), 1, 1)


def test_a_layer_by_itself_is_as_in_a_network():
    network = make_network()
    layer = network.layers[0]
    alone = Layer.dense(layer.spec, layer.weights, layer.bias, 7, network.spec.steps)
    assert alone.source_shapes == layer.source_shapes == ((5, 1, 1),)
    assert alone.kernel_shapes == layer.kernel_shapes
    assert alone.bounds == layer.bounds
    # Without pooling its dense weights are these, not others of the same values.
    assert np.shares_memory(alone.dense_weights, alone.weights)
    nothing = Layer.dense(layer.spec, 0 * layer.weights, 0 * layer.bias, 7, 1)
    assert nothing.bounds == (0, 0, 0)
    weights = tuple(0 * array for array in network.weights)
    biases = tuple(0 * array for array in network.biases)
    silent = Network(network.spec, weights, biases)
    assert [layer.bounds for layer in silent.layers] == [(0, 0, 0)] * 2


def test_the_largest_bias() -> None:
    """2^30 either way."""
    spec = replace(make_network().spec, steps=1)
    weights, most = make_network().weights, 2**30

    def biased(bias: int) -> Network:
        return Network(spec, weights, (np.zeros(4, dtype=np.int64), np.array([0, 0, bias])))

    for bias in (most, -most):
        assert biased(bias).layers[1].bias.tolist() == [0, 0, bias]
    for bias in (most + 1, -most - 1):
        with pytest.raises(
            NetworkError, match=rf"^Bias of layer readout must lie within \+-{most},"
        ):
            biased(bias)


def alone(read: ReadoutSpec, steps: int) -> NetworkSpec:
    """One pixel of one bit, one logit."""
    readout = LayerSpec(name="r", inputs=1, neurons=1, weight_bits=4, readout=read)
    return NetworkSpec(name="n", input_size=1, input_bits=1, steps=steps, layers=(readout,))


@pytest.mark.parametrize(
    ("value", "integrated", "logit"), [("last", 14, 14), ("max", 14, 14), ("sum", 14, 8 + 12 + 14)]
)
def test_bounds_of_a_readout_that_leaks(value: str, integrated: int, logit: int) -> None:
    """A potential that loses its half at every step comes from 8 to 12 and 14, not to 24."""
    read = ReadoutSpec(decay="shift", decay_shift=1, value=value)
    spec = alone(read, 3)
    layer = Network(spec, (np.array([[5]]),), (np.array([3]),)).layers[0]
    assert (layer.integrated_bound, layer.logit_bound) == (integrated, logit)


@pytest.mark.parametrize(("value", "fits"), [("last", True), ("max", True), ("sum", False)])
def test_a_readout_keeps_its_sum_too(value: str, fits: bool) -> None:
    """Potentials of 2^29 and half the one before stay below 2^30; four of them do not add up to
    less than 2^31."""
    read = ReadoutSpec(decay="shift", decay_shift=1, value=value)
    spec = alone(read, 4)
    arrays = (np.array([[0]]),), (np.array([2**29]),)
    if fits:
        assert Network(spec, *arrays).layers[0].integrated_bits == 31
    else:
        with pytest.raises(NetworkError, match="Layer r must keep its sums within 32 bits, not 33"):
            Network(spec, *arrays)


@pytest.mark.parametrize(
    ("steps", "fraction", "bound"), [(1, 0, 7), (2, 0, 11), (3, 0, 13), (1, 2, 28), (2, 2, 42)]
)
def test_the_bound_of_a_readout_holds_for_what_is_rounded_down(
    steps: int, fraction: int, bound: int
) -> None:
    """Half of -7 is then -4, not -3: -7, -11, -13; two bits below it: -28, -42."""
    read = ReadoutSpec(decay="shift", decay_shift=1, decay_rounding="floor", fraction_bits=fraction)
    spec = alone(read, steps)
    layer = Network(spec, (np.array([[-5]]),), (np.array([-2]),)).layers[0]
    assert layer.integrated_bound == bound


def test_what_is_kept_is_of_one_kind(tmp_path) -> None:
    """Whatever integers it was given, and wherever it is written to."""
    spec, given = make_network().spec, make_network()
    lists: dict[str, Any] = {
        name: [array.tolist() for array in getattr(given, name)] for name in ("weights", "biases")
    }
    network = Network(spec, **lists)
    assert {array.dtype for array in network.biases} == {np.dtype(np.int32)}
    assert {array.dtype for array in network.weights} == {np.dtype(np.int8)}
    assert isinstance(network.biases, tuple)
    assert network.save(str(tmp_path / "a.npz")) == tmp_path / "a.npz"
    assert Network.load(str(tmp_path / "a.npz")).digest == given.digest


def test_equal_images_give_equal_bytes(tmp_path):
    a = make_network().save(tmp_path / "a.npz").read_bytes()
    assert a == make_network().save(tmp_path / "b.npz").read_bytes()


def test_digest_tells_any_integer_apart():
    network = make_network()
    for n in range(2):
        for arrays in ("weights", "biases"):
            changed = [a.copy() for a in getattr(network, arrays)]
            changed[n].flat[-1] += 1 if changed[n].flat[-1] < 3 else -1
            fields = {"weights": network.weights, "biases": network.biases, arrays: tuple(changed)}
            assert Network(network.spec, **fields).digest != network.digest


def test_widths_come_from_the_integers():
    hidden, readout = make_network().layers
    rows = np.abs(hidden.weights.astype(int)).sum(axis=1)
    assert hidden.accumulator_bound == rows.max() * 7
    assert hidden.drive_bound == (rows * 7 + np.abs(hidden.bias)).max()
    assert hidden.membrane_bound == hidden.drive_bound + 31
    assert readout.logit_bound == readout.integrated_bound == 2 * readout.drive_bound


def test_a_floor_widens_what_is_narrower() -> None:
    """Each bound is the larger of its floor and of what the integers need."""
    layer = make_network().layers[0]
    needed = layer.bounds
    assert needed[2] == np.abs(layer.bias).max() > 0
    for n in range(3):
        for more in (-1, 0, 1):
            floor = tuple(bound + more * (k == n) for k, bound in enumerate(needed))
            assert replace(layer, floor=floor).bounds == tuple(map(max, needed, floor))


@pytest.mark.parametrize("rounding", ["zero", "floor"])
@pytest.mark.parametrize(
    ("kind", "shift", "factor"),
    [("off", 0, 0), ("none", 0, 0), ("shift", 2, 0), ("leak", 2, 0), ("factor", 4, 13)],
)
def test_the_bound_of_a_current_is_reached(kind: str, shift: int, factor: int, rounding: str):
    """By drives of one sign, up or down; and what decays is no larger."""
    neuron = NeuronSpec(
        theta=9,
        current=kind,
        current_shift=shift,
        current_factor=factor,
        decay_rounding=rounding if shift else "zero",
        fraction_bits=1,
        potential_bits=6,
    )
    spec = LayerSpec(name="a", inputs=2, neurons=1, weight_bits=4, neuron=neuron)
    layer = Layer.dense(spec, np.array([[7, -5]]), np.array([2]), 3, 9)
    assert layer.drive_bound == 38
    reached = {0}
    for sign in (1, -1):
        x = 0
        for _ in range(9):
            x = int(integrate(x, sign * 38, neuron))
            reached.add(abs(x))
    assert layer.current_bound == max(reached)
    assert layer.membrane_bound == layer.current_bound + 31
    assert layer.decay_bound == max(31, layer.current_bound * max(1, factor) * (kind != "off"))


def test_a_current_that_grows_beyond_32_bits_is_refused():
    """64 weights of 8 bits, white pixels, 1024 steps: 2.1e9, which fits, and four times that."""
    weights, more = np.full((1, 64), 127), {"potential_bits": 9, "current": "none"}
    for fraction, fits in ((0, True), (2, False)):
        neuron = NeuronSpec(theta=200, fraction_bits=fraction, **more)
        builder = NetworkBuilder(64, name="net", input_bits=8, steps=1024)
        builder.layer("hidden", 1, neuron=neuron, weight_bits=8)
        builder.layer("readout", 1)
        arrays = (weights, np.ones((1, 1), int)), (np.zeros(1, int), np.zeros(1, int))
        if fits:
            assert Network(builder.spec(), *arrays).layers[0].current_bound == 64 * 127 * 255 * 1024
            continue
        with pytest.raises(NetworkError) as refused:
            Network(builder.spec(), *arrays)
        assert str(refused.value) == "Layer hidden must keep its sums within 32 bits, not 34"


def test_arrays_that_do_not_fit_are_refused():
    network = make_network()
    w, b = network.weights, network.biases
    for weights, biases, sentence in [
        ((w[0],), b, "Network must have 2 weight arrays, not 1"),
        ((w[0].T, w[1]), b, "Weights of layer hidden must have shape (4, 5), not (5, 4)"),
        ((w[0] * 1.0, w[1]), b, "Weights of layer hidden must be integers, not float64"),
        ((w[0] * 0 - 8, w[1]), b, "Weights of layer hidden must lie within +-7, not reach 8"),
        (w, (b[0], b[1][:1]), "Bias of layer readout must have shape (3,), not (1,)"),
        (w, (b[0].astype(np.int64) + 2**40, b[1]), "Bias of layer hidden must lie within"),
        (w, (b[0], b[1] * 0 + 2**30), "Layer readout must keep its sums within 32 bits, not 33"),
    ]:
        with pytest.raises(NetworkError) as refused:
            Network(network.spec, weights, biases)
        assert str(refused.value).startswith(sentence)


def refusal(path) -> str:
    with pytest.raises(NetworkError) as refused:
        Network.load(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def rewrite(path, out, change):
    """The archive with its header changed."""
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header.json"].tobytes())
    change(header, arrays)
    arrays["header.json"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with out.open("wb") as file:
        np.savez(file, **arrays)
    return out


def test_bad_files_are_refused_in_a_sentence(tmp_path):
    good = make_network().save(tmp_path / "good.npz")
    assert refusal(tmp_path / "none.npz").endswith("does not exist")
    assert refusal(tmp_path).endswith("is not a readable file")
    text = tmp_path / "text.npz"
    text.write_text("weights")
    assert refusal(text).endswith("is truncated or not a network")
    other = tmp_path / "other.npz"
    np.savez(other, a=np.arange(3))
    assert refusal(other).endswith("has no valid header")

    out = tmp_path / "changed.npz"
    rewrite(good, out, lambda header, _: header.update(version=FORMAT_VERSION + 1))
    assert f"has format version {FORMAT_VERSION + 1}, and this Sterna reads up to" in refusal(out)
    for fields in ({"format": "x"}, {"version": "8"}, {"version": 0}, {"meta": []}):
        rewrite(good, out, lambda header, _, fields=fields: header.update(fields))
        assert refusal(out).endswith("has no valid header")
    rewrite(good, out, lambda header, _: header["spec"].update(steps=3))
    assert refusal(out).endswith("is corrupted: its digest does not match")
    rewrite(good, out, lambda header, _: header["spec"].update(steps=0))
    assert "is inconsistent: Time steps must be an integer" in refusal(out)
    for change, sentence in (
        (lambda arrays: arrays.pop("bias1"), "lacks the array 'bias1'"),
        (
            lambda arrays: arrays.update(weights0=np.zeros((4, 4), np.int8)),
            "must have integers of shape (4, 5) as 'weights0', not int8 of shape (4, 4)",
        ),
        (
            lambda arrays: arrays.update(weights0=np.zeros((4, 5))),
            "must have integers of shape (4, 5) as 'weights0', not float64 of shape (4, 5)",
        ),
        (
            lambda arrays: arrays.update(extra=np.zeros(9)),
            "must not hold 'extra', which it has no use for",
        ),
    ):
        rewrite(good, out, lambda _, arrays, change=change: change(arrays))
        assert refusal(out) == f"Network file {out} {sentence}"


def test_a_header_that_is_no_array_is_refused(tmp_path):
    out = tmp_path / "text.npz"
    with zipfile.ZipFile(make_network().save(tmp_path / "good.npz")) as good:
        arrays = {name: good.read(name) for name in good.namelist() if name != "header.json.npy"}
    for name in ("header.json", "header.json.npy"):
        with zipfile.ZipFile(out, "w") as archive:
            for member, content in {name: b"{}", **arrays}.items():
                archive.writestr(member, content)
        assert refusal(out).endswith("is truncated or not a network")
    rewrite(tmp_path / "good.npz", out, lambda _, arrays: None)
    with np.load(out) as archive:
        arrays = dict(archive)
    for header in (np.zeros((2, 2), np.uint8), np.zeros(3), np.frombuffer(b"[" * 9999, np.uint8)):
        np.savez(out, **{**arrays, "header.json": header})
        assert refusal(out).endswith("has no valid header")


def test_nothing_is_unpacked_before_it_fits(tmp_path, monkeypatch):
    """Of a bomb, no more than the first bytes are unpacked."""
    good, out = make_network().save(tmp_path / "good.npz"), tmp_path / "large.npz"
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|i1", "fortran_order": False, "shape": (1 << 25,)}
    )
    with zipfile.ZipFile(good) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    read = np.lib.format.read_array

    def small(file, **options):
        assert file._left < 1 << 20, "unpacked"
        return read(file, **options)

    monkeypatch.setattr("hw.contract.files.npy.read_array", small)
    for name, sentence in (
        ("extra", "must not hold 'extra', which it has no use for"),
        ("weights0", "must have integers of shape (4, 5) as 'weights0', not int8 of"),
        ("header.json", "has no valid header"),
    ):
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for member, content in members.items():
                if member != f"{name}.npy":
                    archive.writestr(member, content)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                file.write(head.getvalue())
                for _ in range(2):
                    file.write(bytes(1 << 24))
        assert f"Network file {out} {sentence}" in refusal(out)


def test_an_archive_stops_at_a_bound(tmp_path, monkeypatch):
    path = make_network().save(tmp_path / "net.npz")
    monkeypatch.setattr("hw.contract.files.MAX_ARCHIVE", len(path.read_bytes()))
    assert refusal(path).startswith(f"Network file {path} must unpack to less than 1 GiB, not ")
    monkeypatch.setattr("hw.contract.files.MAX_ARCHIVE", 300)
    assert refusal(path) == f"Network file {path} must be smaller than 1 GiB"
    assert refusal("/dev/zero") == "Network file /dev/zero must be smaller than 1 GiB"


def test_only_numpys_ways_of_packing_are_unpacked(tmp_path):
    """Of others, zipfile unpacks as much as a block gives, whatever is asked for."""
    good, out = make_network().save(tmp_path / "good.npz"), tmp_path / "lzma.npz"
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_BZIP2) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    assert refusal(out).endswith("is truncated or not a network")


@settings(max_examples=60)
@given(data=st.data())
def test_no_damage_goes_unnoticed(tmp_path_factory, data):
    """Cut anywhere, or with any byte changed, a file is refused or is the same network."""
    network = make_network()
    path = tmp_path_factory.mktemp("damage") / "net.npz"
    whole = network.save(path).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = whole[:at]
    else:
        damaged = bytearray(whole)
        damaged[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(damaged))
    try:
        assert Network.load(path).digest == network.digest
    except NetworkError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    path = make_network().save(tmp_path / "net.npz")
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("hw.contract.network.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        make_network(seed=1).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


def test_header_is_readable_with_plain_tools(tmp_path):
    path = make_network().save(tmp_path / "net.npz")
    with zipfile.ZipFile(path) as archive:
        assert "header.json.npy" in archive.namelist()
    with np.load(path) as arrays:
        text = arrays["header.json"].tobytes().decode()
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True)


VERSIONS = {  # a file of each version that there was, as it was written, and its digest
    1: (
        "tests/hw/contract/version1.npz",
        "ad1e6257c4542678d82c7c90eed9824e6bee65a6bc0fb7dcce9bc5d0674f1ce3",
    ),
    2: (
        "tests/hw/contract/version2.npz",
        "903a0621ab865b9908aa545117f52dd055f79dcb11762ae04985aef92ee41bcf",
    ),
    3: (
        "tests/hw/contract/version3.npz",
        "c53cdbdacb321688d6e85bc54951e2eb54796c9abc16d0582c5635d174337407",
    ),
    4: (
        "tests/hw/contract/version4.npz",
        "f7dbb7985297049cc9a5c4321eb35eb0c2da3f1346189ee0f72ad2e731268d4f",
    ),
    5: (
        "tests/hw/contract/version5.npz",
        "63a3eff27e3025e47ee595224523ec1f93368f11f34dd17a930faae8a5ef59d4",
    ),
    6: (
        "tests/hw/contract/version6.npz",
        "84aef3ee44c4b7444eecb4f32e4944b5c7cd517c2d4cc4bed2bd8d5460f02707",
    ),
    7: (
        "tests/hw/contract/version7.npz",
        "7ce075496c349e98d15beebad64fd8e9bfaaff003fd3cc4fe6e0e9e9deafd48d",
    ),
    8: (
        "tests/hw/contract/version8.npz",
        "d658a53d5732f134d0b3eba799bd9317fb97d134cb3968ed795c1e51cbaa9d7c",
    ),
}


MORE = [  # of versions that brought several things
    (
        8,
        "tests/hw/contract/version8_readout.npz",
        "f6798bff17723194c06c028e49049fddd3be26b0b0991cd66ec801a3192e9a1d",
    ),
    (
        8,
        "tests/hw/contract/version8_channel.npz",
        "3757d0197f023624c53993203872195cce70ba7d0f189d8ac6d4a9569fd8d381",
    ),
]


@pytest.mark.parametrize(
    ("version", "name", "digest"), [*((v, *told) for v, told in VERSIONS.items()), *MORE]
)
def test_a_file_of_every_version_loads_with_its_digest(
    version: int, name: str, digest: str
) -> None:
    path = Path(__file__).parents[3] / name
    with np.load(path) as archive:
        header = json.loads(archive["header.json"].tobytes())
    assert header["version"] == version
    assert max(VERSIONS) == FORMAT_VERSION
    assert Network.load(path).digest == header["digest"] == digest
