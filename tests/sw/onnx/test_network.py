"""Networks of torch in ONNX files, converted and checked.

Trained on the 8x8 digits, written by torch 2.13: `mlp.onnx` (its newer exporter, one image at once,
a softmax behind; 354 of 364 right, said torch) and `residual.onnx` (its older one, any number of
images, shapes computed from the image's; 357 of 364).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sterna
from sw.data.dataset import load_split
from sw.data.split import Split
from sw.frameworks.check import check, checked_table, open_any
from sw.frameworks.importing import import_foreign
from sw.frameworks.registry import load_relu, open_network
from sw.importers.affine import ConvertError
from sw.importers.conversion import Conversion
from sw.importers.convert_report import convert_and_compare
from sw.importers.feed import Feed
from sw.importers.files import network_bytes
from sw.importers.modules import activations, read_relu
from sw.onnx.network import OnnxReLU
from tests.onnx_graphs import evaluated, node, reals, saved

HERE = Path(__file__).parent


@pytest.fixture
def splits() -> tuple[Split, Split]:
    return load_split("digits", "train", 4), load_split("digits", "test", 4)


@pytest.mark.parametrize(("name", "right"), [("mlp", 354), ("residual", 357)])
def test_a_file_is_converted(name: str, right: int, splits: tuple[Split, Split]) -> None:
    """The original's accuracy is what torch said, and the spiking network's is near."""
    network, report = convert_and_compare(
        load_relu(HERE / f"{name}.onnx"),
        *splits,
        Conversion(steps=4, divisor=4, limit=15),
        name=name,
    )
    assert report.float_accuracy.hits == right
    assert report.agreement.hits >= 360
    assert report.left_out == ("node_softmax (Softmax)" if name == "mlp" else "")
    assert network.meta["by_layer"] == [
        {"layer": layer.name, "rate_error": round(error, 5)}
        for layer, error in zip(network.spec.layers, report.rate_errors, strict=False)
    ]
    if name == "residual":
        assert [len(layer.edges) for layer in network.spec.layers] == [1, 2, 1]


def test_the_file_itself_is_run(splits: tuple[Split, Split]) -> None:
    """It is onnx that computes, one image at once as the file wants it."""
    x = splits[1].images[:7].astype(np.float32).reshape(-1, 1, 8, 8) / 15
    theirs = np.concatenate([evaluated(HERE / "mlp.onnx", image[None]) for image in x])
    network = load_relu(HERE / "mlp.onnx")
    assert isinstance(network, OnnxReLU)
    assert np.allclose(network(torch.from_numpy(x)).numpy(), theirs, atol=1e-6)
    assert len(theirs) == 7


def test_what_was_read_is_compared_with_the_file(splits: tuple[Split, Split]) -> None:
    network = load_relu(HERE / "mlp.onnx")
    assert isinstance(network, OnnxReLU)
    linear = next(step.module for step in network.steps if isinstance(step.module, nn.Linear))
    with torch.no_grad():
        linear.weight[0] += 0.5
    with pytest.raises(ConvertError, match="Network must compute what its modules do"):
        convert_and_compare(network, *splits, Conversion(steps=1), name="x")


def test_it_can_be_written_as_steps(splits: tuple[Split, Split], tmp_path: Path) -> None:
    network = load_relu(HERE / "residual.onnx")
    path = tmp_path / "steps.pt"
    path.write_bytes(network_bytes(network))
    pixels = torch.from_numpy(splits[1].images[:9])
    ours, theirs = (
        activations(read_relu(n, (1, 8, 8)), pixels, 15)[-1] for n in (load_relu(path), network)
    )
    assert torch.equal(ours, theirs)


def test_every_node_is_said() -> None:
    checked = check(open_any(HERE / "residual.onnx"), steps=4)
    assert checked.framework == "ONNX (ReLU)"
    told = {finding.node: str(finding) for finding in checked.findings}
    assert told["/c/Conv (Conv)"] == "convolution of 6x1x3x3 weights into hidden1"
    assert told["/Add (Add)"] == "a sum of what both bring"
    assert told["/Gather (Gather)"] == "a constant"
    assert told["/Relu_1 (Relu)"] == "the neurons of hidden2"
    assert "nothing stands in the way" in checked_table(checked)
    quantised = check(open_any(HERE / "quant.onnx"), steps=1)
    assert quantised.refused == 0
    assert quantised.findings[-1].node == "weights of readout"


def test_where_it_goes(splits: tuple[Split, Split]) -> None:
    with pytest.raises(ConvertError) as error:
        import_foreign(open_network(HERE / "mlp.onnx"), splits[1], name="x", steps=1)
    assert str(error.value) == "Network has ReLUs, and no neurons: sterna convert takes it"
    with pytest.raises(ConvertError, match=r"^Network .* use sterna import, with --steps 1$"):
        load_relu(HERE / "quant.onnx")


def test_images_of_another_size(splits: tuple[Split, Split], tmp_path: Path) -> None:
    path = saved(tmp_path, [node("MatMul", "x w", "y")], {"w": reals(60, 10)}, ("n", 60))
    with pytest.raises(ConvertError, match="must take 64 values"):
        convert_and_compare(load_relu(path), *splits, Conversion(steps=1), name="x")


def test_channels_come_first(splits: tuple[Split, Split]) -> None:
    """Values would be in another order, and nothing but the accuracy would say so."""
    data = replace(splits[1], shape=(2, 8, 4))
    with pytest.raises(ConvertError) as error:
        Feed.of(data, [], shape=(8, 4, 2))
    assert str(error.value) == (
        "Network must take channels first, 2x8x4, as digits is fed, not 8x4x2"
    )
    assert Feed.of(data, [], shape=(8, 1, 8)).shape == (8, 1, 8)
    assert Feed.of(splits[1], [], shape=(8, 8, 1)).shape == (8, 8, 1)


def test_by_its_path() -> None:
    network = sterna.convert(HERE / "mlp.onnx", "digits", steps=2, name="path")
    assert network.meta["test"]["relu"]["hits"] == 354


def test_a_line_is_maps_of_one_row(splits: tuple[Split, Split], tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w b", "a", pads=[2, 2], strides=[2]),
        node("Relu", "a", "r"),
        node("GlobalAveragePool", "r", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f v", "y"),
    ]
    constants = {"w": reals(8, 1, 5), "b": reals(8), "v": reals(8, 10)}
    path = saved(tmp_path, nodes, constants, ("n", 1, 64))
    network, report = convert_and_compare(
        load_relu(path), *splits, Conversion(steps=8), name="line"
    )
    assert network.spec.input_shape == (1, 1, 64)
    assert report.agreement.share > 0.9


def test_what_is_unread_is_refused_in_one_sentence(
    splits: tuple[Split, Split], tmp_path: Path
) -> None:
    nodes = [node("Clip", "x low high", "a"), node("MatMul", "a w", "b"), node("Sigmoid", "b", "y")]
    constants = {"w": reals(64, 10), "low": np.float32(0), "high": np.float32(6)}
    path = saved(tmp_path, nodes, constants, ("n", 64))
    with pytest.raises(ConvertError) as error:
        convert_and_compare(load_relu(path), *splits, Conversion(steps=1), name="x")
    assert str(error.value) == (
        "Network cannot be converted: a (Clip) must be a ReLU: what is bounded above is read in "
        "quantised networks, in front of a Quant; y (Sigmoid) is not supported (train with ReLU)"
    )
