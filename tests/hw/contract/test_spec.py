"""hw.contract.spec: every network that cannot be is refused, with its sentence."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from hw.contract.checks import SpecError, signed_bits
from hw.contract.edge import EdgeSpec
from hw.contract.neuron import NeuronSpec, ReadoutSpec
from hw.contract.spec import LayerSpec, NetworkSpec

NEURON: dict[str, Any] = {"theta": 10, "potential_bits": 6}


def network(**changes):
    hidden = LayerSpec(
        name="hidden", inputs=4, neurons=3, weight_bits=4, neuron=NeuronSpec(**NEURON)
    )
    readout = LayerSpec(name="readout", inputs=3, neurons=2, weight_bits=4)
    fields: dict[str, Any] = {"name": "net", "input_size": 4, "input_bits": 3, "steps": 2}
    fields["layers"] = (hidden, readout)
    return NetworkSpec(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"theta": 0}, "Threshold must be an integer from 1 to 1073741824, not 0"),
        ({"theta": 1.5}, "Threshold must be an integer from 1 to 1073741824, not 1.5"),
        ({"theta": True}, "Threshold must be an integer from 1 to 1073741824, not True"),
        ({"decay": "half"}, "Decay must be one of ('none', 'shift', 'leak', 'factor'), not 'half'"),
        ({"decay": "shift"}, "Decay shift must be an integer from 1 to 32, not 0"),
        ({"decay_shift": 2}, "Decay shift must be 0 without decay, not 2"),
        (
            {"decay": "shift", "decay_shift": 2, "decay_factor": 3},
            "Decay factor must be 0 where the decay is not factor, not 3",
        ),
        (
            {"decay": "factor", "decay_shift": 13, "decay_factor": 3},
            "Decay shift of a factor must be an integer from 1 to 12, not 13",
        ),
        (
            {"decay": "factor", "decay_shift": 3, "decay_factor": 8},
            "Decay factor must be an integer from 0 to 7, not 8",
        ),
        (
            {"decay": "factor", "decay_shift": 3, "decay_factor": True},
            "Decay factor must be an integer from 0 to 7, not True",
        ),
        (
            {"decay": "leak", "decay_shift": 1, "decay_rounding": "up"},
            "Rounding of the decay must be one of ('zero', 'floor'), not 'up'",
        ),
        ({"decay_rounding": "floor"}, "Rounding of the decay must be zero without decay"),
        (
            {"current": "slow"},
            "Current must be one of ('off', 'none', 'shift', 'leak', 'factor'), not 'slow'",
        ),
        ({"current_shift": 2}, "Current shift must be 0 without decay, not 2"),
        ({"current": "leak"}, "Current shift must be an integer from 1 to 32, not 0"),
        (
            {"current": "leak", "current_shift": 2, "current_factor": 3},
            "Current factor must be 0 where the current is not factor, not 3",
        ),
        (
            {"current": "factor", "current_shift": 3, "current_factor": 8},
            "Current factor must be an integer from 1 to 7, not 8",
        ),
        (
            {"current": "none", "decay_rounding": "floor"},
            "Rounding of the decay must be zero without decay",
        ),
        ({"reset": "warm"}, "Reset must be one of ('hard', 'soft'), not 'warm'"),
        ({"reset": "soft"}, "Reset step must be an integer from 1 to 1073741824, not 0"),
        ({"step": 3}, "Reset step must be 0 under hard reset, not 3"),
        ({"u0": 10}, "Initial potential must be an integer from -9 to 9, not 10"),
        ({"negative": "on"}, "Negative side must be one of ('free', 'off', 'guarded'), not 'on'"),
        (
            {"negative": "off", "theta_negative": 3},
            "Negative threshold must not be given when that side is off, not as 3",
        ),
        (
            {"theta_negative": 0},
            "Negative threshold must be an integer from 1 to 1073741824, not 0",
        ),
        ({"limit": 16}, "Coefficient limit must be an integer from 1 to 15, not 16"),
        ({"limit": 0}, "Coefficient limit must be an integer from 1 to 15, not 0"),
        ({"decay_when": "now"}, "Time of the decay must be one of ('before', 'after'), not 'now'"),
        ({"fraction_bits": -1}, "Fraction bits must be an integer from 0 to 30, not -1"),
        (
            {"theta_negative": 4, "u0": -4},
            "Initial potential must be an integer from -3 to 9, not -4",
        ),
        (
            {"theta_negative": 40, "potential_bits": 6},
            "Potential width must be an integer from 7 to 32, not 6",
        ),
        ({"potential_bits": 4}, "Potential width must be an integer from 5 to 32, not 4"),
        (
            {"reset": "soft", "step": 2**30 + 1},
            "Reset step must be an integer from 1 to 1073741824, not 1073741825",
        ),
        ({"reset": "soft", "step": 0}, "Reset step must be an integer from 1 to 1073741824, not 0"),
        ({"step": 1}, "Reset step must be 0 under hard reset, not 1"),
        ({"fraction_bits": 31}, "Fraction bits must be an integer from 0 to 30, not 31"),
        (
            {"theta": 1, "potential_bits": 1},
            "Potential width must be an integer from 2 to 32, not 1",
        ),
        ({"potential_bits": 33}, "Potential width must be an integer from 5 to 32, not 33"),
    ],
)
def test_neuron_refusals(changes, sentence):
    with pytest.raises(SpecError) as refused:
        NeuronSpec(**{**NEURON, **changes})
    assert str(refused.value) == sentence


def test_the_largest_layer() -> None:
    """2^20 neurons and inputs where there are edges, 2^16 where there are none."""
    edges = (EdgeSpec(source="input"),)
    for most, more in ((2**20, {"edges": edges, "shape": (1024, 32, 32)}), (2**16, {})):
        sides: dict[str, Any] = {"name": "a", "weight_bits": 4, **more}
        assert LayerSpec(neurons=most, inputs=most, **sides).inputs == most
        with pytest.raises(
            SpecError, match=f"Inputs of layer a must be an integer from 1 to {most}"
        ):
            LayerSpec(neurons=most, inputs=most + 1, **sides)
        with pytest.raises(
            SpecError, match=f"Neurons of layer a must be an integer from 1 to {most}"
        ):
            LayerSpec(neurons=most + 1, inputs=most, **sides)


RULE = "must be of ASCII letters, digits, _{}, begin with a letter and have at most 64 characters"
NO_NETWORKS = [
    "",
    "1",
    "_a",
    "-a",
    "a-",
    "a b",
    "a.b",
    "a/b",
    "a\n",
    "gr\u00f6\u00dfe",
    "a" * 65,
    3,
]
NO_LAYERS = [*NO_NETWORKS, "a-b"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        *(({"name": name}, f"Layer name {RULE.format('')}, not {name!r}") for name in NO_LAYERS),
        ({"name": "input"}, "Layer name must not be 'input'"),
        ({"inputs": 0}, "Inputs of layer a must be an integer from 1 to 65536, not 0"),
        ({"neurons": -1}, "Neurons of layer a must be an integer from 1 to 65536, not -1"),
        ({"weight_bits": 1}, "Weight width of layer a must be an integer from 2 to 16, not 1"),
        ({"weight_bits": 17}, "Weight width of layer a must be an integer from 2 to 16, not 17"),
        ({"neuron": 3}, "Neuron of layer a must be a NeuronSpec or None, not 3"),
    ],
)
def test_layer_refusals(changes, sentence):
    with pytest.raises(SpecError) as refused:
        LayerSpec(**{"name": "a", "inputs": 1, "neurons": 1, "weight_bits": 2, **changes})
    assert str(refused.value) == sentence


def test_the_longest_side_of_a_map() -> None:
    sides: dict[str, Any] = {"name": "a", "inputs": 1, "weight_bits": 4}
    sides["edges"] = (EdgeSpec(source="input"),)
    for shape in ((2**16, 1, 1), (1, 2**16, 1), (1, 1, 2**16)):
        assert LayerSpec(neurons=2**16, shape=shape, **sides).map_shape == shape
        longer: Any = tuple(side + (side > 1) for side in shape)
        with pytest.raises(SpecError) as refused:
            LayerSpec(neurons=2**16 + 1, shape=longer, **sides)
        assert str(refused.value) == (
            "Sides of layer a must be an integer from 1 to 65536, not 65537"
        )


@pytest.mark.parametrize(("theta", "bits"), [(2, 2), (3, 3), (4, 3), (5, 4), (8, 4), (9, 5)])
def test_a_potential_holds_what_does_not_fire(theta: int, bits: int) -> None:
    """Its width is at least that of theta - 1."""
    assert NeuronSpec(theta=theta, potential_bits=bits).potential_bits == bits
    with pytest.raises(SpecError) as refused:
        NeuronSpec(theta=theta, potential_bits=bits - 1)
    assert str(refused.value) == (
        f"Potential width must be an integer from {bits} to 32, not {bits - 1}"
    )


def test_edges_of_a_layer_are_a_tuple_of_them() -> None:
    good = EdgeSpec(source="input")
    bad: list[Any] = [[good], (good, "input")]
    for edges in bad:
        with pytest.raises(SpecError, match=r"^Edges of layer a must be a tuple of EdgeSpec, not"):
            LayerSpec(name="a", inputs=1, neurons=1, weight_bits=4, edges=edges)


def test_the_largest_input() -> None:
    """2^20 pixels of maps, 2^16 of none."""
    for most, more in ((2**20, {"input_shape": (1024, 32, 32)}), (2**16, {})):
        with pytest.raises(
            SpecError, match=rf"^Input size must .* from 1 to {most}, not {most + 1}"
        ):
            network(input_size=most + 1, **more)
    with pytest.raises(SpecError, match="Layer hidden must have 65536 inputs to fit what precedes"):
        network(input_size=2**16)
    with pytest.raises(SpecError, match=r"^Sides of the input must .* from 1 to 65536, not 0"):
        network(input_shape=(0, 1, 4))


def test_network_refusals():
    hidden, readout = network().layers
    for changes, sentence in [
        *(
            ({"name": name}, f"Network name {RULE.format(' and inner -')}, not {name!r}")
            for name in NO_NETWORKS
        ),
        ({"input_bits": 9}, "Input width must be an integer from 1 to 8, not 9"),
        ({"steps": 0}, "Time steps must be an integer from 1 to 1024, not 0"),
        ({"layers": ()}, "Network must have at least one layer"),
        ({"timed_input": 1}, "Timed input must be true or false, not 1"),
        ({"learning": 4}, "Learning must be a LearningSpec or None, not 4"),
        (
            {"input_shape": [4, 1, 1]},
            "Input shape must be (channels, rows, columns), not [4, 1, 1]",
        ),
        ({"input_shape": (4, 1)}, "Input shape must be (channels, rows, columns), not (4, 1)"),
        ({"input_size": 5}, "Layer hidden must have 5 inputs to fit what precedes it, not 4"),
        ({"layers": (hidden,)}, "Layer hidden must be a readout (no neuron): it is the last"),
        (
            {"layers": (LayerSpec(name="x", inputs=4, neurons=3, weight_bits=2), readout)},
            "Layer x must have a neuron: only the last layer is a readout",
        ),
        (
            {"layers": (hidden, LayerSpec(name="hidden", inputs=3, neurons=2, weight_bits=4))},
            "Layer names must be distinct, not ['hidden', 'hidden']",
        ),
    ]:
        with pytest.raises(SpecError) as refused:
            network(**changes)
        assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"negative": "off"},
        {"theta_negative": 8, "limit": 3, "negative": "guarded"},
        {"reset": "soft", "step": 10, "decay_when": "after", "fraction_bits": 2},
        {"decay": "factor", "decay_shift": 12, "decay_factor": 3686, "decay_rounding": "floor"},
        {"current": "factor", "current_shift": 4, "current_factor": 13, "decay_rounding": "floor"},
        {"current": "none"},
    ],
)
def test_round_trip_through_json(changes):
    hidden = LayerSpec(
        name="hidden", inputs=4, neurons=3, weight_bits=4, neuron=NeuronSpec(**NEURON, **changes)
    )
    spec = network(layers=(hidden, network().layers[1]))
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_one_way_to_write_a_factor():
    """In lowest terms; and one over a power of two is a shift."""
    reduced = NeuronSpec(**NEURON, decay="factor", decay_shift=12, decay_factor=3072)
    assert (reduced.decay_factor, reduced.decay_shift) == (3, 2)
    shift = NeuronSpec(**NEURON, decay="factor", decay_shift=12, decay_factor=1024)
    assert shift == NeuronSpec(**NEURON, decay="shift", decay_shift=2)
    current = NeuronSpec(**NEURON, current="factor", current_shift=12, current_factor=1024)
    assert current == NeuronSpec(**NEURON, current="shift", current_shift=2)


def test_a_plain_neuron_is_written_as_in_version_1():
    """Its digest is that of the images which exist."""
    assert set(network().to_dict()["layers"][0]["neuron"]) == {
        "theta",
        "decay",
        "decay_shift",
        "reset",
        "step",
        "u0",
        "potential_bits",
    }


def leaky(**fields: Any) -> NetworkSpec:
    hidden, readout = network().layers
    return network(layers=(hidden, replace(readout, readout=ReadoutSpec(**fields))))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"value": "mean"}, "Value of a readout must be one of ('last', 'sum', 'max'), not 'mean'"),
        ({"decay": "half"}, "Decay must be one of ('none', 'shift', 'leak', 'factor'), not 'half'"),
        ({"decay": "leak"}, "Decay shift must be an integer from 1 to 32, not 0"),
        (
            {"decay": "factor", "decay_shift": 3, "decay_factor": 8},
            "Decay factor must be an integer from 0 to 7, not 8",
        ),
        (
            {"decay": "factor", "decay_shift": 3},
            "Decay factor of a readout must be at least 1, not 0",
        ),
        (
            {"fraction_bits": 2, "value": "sum"},
            "Fraction bits of a readout must be 0 without decay, not 2",
        ),
        (
            {"decay": "shift", "decay_shift": 1, "fraction_bits": 31},
            "Fraction bits must be an integer from 0 to 30, not 31",
        ),
        ({"decay_rounding": "floor"}, "Rounding of the decay must be zero without decay"),
    ],
)
def test_readout_refusals(fields, sentence) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(sentence)}$"):
        ReadoutSpec(**fields)


def test_a_readout_is_of_the_last_layer_and_survives_json() -> None:
    hidden, readout = network().layers
    with pytest.raises(SpecError, match="Readout of layer hidden must not be given: its neurons"):
        replace(hidden, readout=ReadoutSpec(value="max"))
    with pytest.raises(SpecError, match="Readout of layer readout must be a ReadoutSpec or None"):
        replace(readout, readout="max")
    spec = leaky(decay="factor", decay_factor=3072, decay_shift=12, fraction_bits=2, value="sum")
    read = spec.layers[-1].readout
    assert read is not None
    assert (read.decay_factor, read.decay_shift) == (3, 2)  # in lowest terms
    assert spec.is_chain
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    odd = spec.to_dict()
    odd["layers"][-1]["readout"]["gain"] = 2
    with pytest.raises(SpecError, match="gain"):
        NetworkSpec.from_dict(odd)


def test_one_way_to_write_the_sum() -> None:
    assert leaky() == leaky(value="last") == network()
    assert "readout" not in leaky().to_dict()["layers"][-1]
    half = leaky(decay="factor", decay_factor=2, decay_shift=2).layers[-1].readout
    assert half == ReadoutSpec(decay="shift", decay_shift=1)
    assert leaky(value="sum") != network()


def test_unknown_and_missing_fields_are_refused():
    data = network().to_dict()
    with pytest.raises(SpecError, match="NetworkSpec has no field 'colour'"):
        NetworkSpec.from_dict({**data, "colour": 1})
    del data["steps"]
    with pytest.raises(SpecError, match=r"Network specification is incomplete: .*'steps'"):
        NetworkSpec.from_dict(data)


@pytest.mark.parametrize(("bound", "bits"), [(0, 1), (1, 2), (7, 4), (8, 5), (127, 8), (128, 9)])
def test_signed_bits(bound, bits):
    assert signed_bits(bound) == bits
    assert -(2 ** (bits - 1)) <= -bound
    assert bound <= 2 ** (bits - 1) - 1


def test_the_negative_threshold_goes_with_the_other() -> None:
    neuron = NeuronSpec(**NEURON)
    assert NeuronSpec(**NEURON, theta_negative=10) == neuron
    assert replace(neuron, theta=12).theta_down == 12
    assert replace(neuron, negative="off").theta_down == 10
    assert NeuronSpec(**NEURON, theta_negative=7).theta_down == 7


FORMER = ["gr\u00f6\u00dfe", "_", "_a", "\u6f22\u5b57", "a" * 300, "\uff41", "\u00e9", "e\u0301"]


def test_names_that_are_older_than_their_rule_load_and_name_files_safely():
    plain, found = network(), set()
    for name in FORMER:
        data = plain.to_dict()
        data["name"] = f"-{name}-"
        data["layers"][0]["name"] = name
        spec = NetworkSpec.from_dict(data)
        assert spec.to_dict() == data
        assert replace(spec, steps=3).name == f"-{name}-"
        layer = spec.layers[0]
        for safe in (spec.file_name, layer.file_name):
            assert re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,63}", safe)
            LayerSpec(**{**vars(plain.layers[0]), "name": safe})  # it is a name itself
        found |= {spec.file_name, layer.file_name}
        with pytest.raises(SpecError, match="Layer name must be of ASCII letters"):
            LayerSpec(**{**vars(plain.layers[0]), "name": name})
    assert len(found) == 2 * len(FORMER)
    for name in ("a b", "", 3, None):  # no file ever had them
        with pytest.raises(SpecError, match="Network name must be of"):
            NetworkSpec.from_dict({**plain.to_dict(), "name": name})
    assert (plain.file_name, plain.layers[0].file_name) == ("net", "hidden")
    assert replace(plain, name="a-B_1").file_name == "a-B_1"
