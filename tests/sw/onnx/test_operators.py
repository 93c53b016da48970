"""Nodes of ONNX as steps: they compute the same, or are refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sw.importers.affine import ConvertError
from sw.importers.trace import Traced
from sw.onnx.files import read_graph
from sw.onnx.network import open_file, open_relu
from sw.onnx.translate import translate
from tests.onnx_graphs import evaluated, node, onnx, reals, saved

MAPS, ROW, LINE = ("n", 3, 6, 5), ("n", 7), ("n", 3, 9)


def images(shape: tuple[Any, ...], n: int = 4) -> Any:
    sides = [n if isinstance(shape[0], str) else shape[0], *shape[1:]]
    return np.random.default_rng(1).normal(size=sides).astype(np.float32)


def require_same(path: Path, shape: tuple[Any, ...], like: Path | None = None) -> None:
    """The steps and the file's own graph, in double precision, give what onnx does; `like` has the
    same network, where onnx runs that."""
    x = images(shape)
    theirs = evaluated(like or path, x)
    assert len(theirs) == len(x)
    made = translate(read_graph(path))
    given = torch.from_numpy(x).double().reshape(len(x), *made.shape)
    ours = Traced(made.steps).double()(given).detach().numpy()
    assert np.allclose(ours.reshape(theirs.shape), theirs, rtol=1e-4, atol=1e-5)
    again = open_relu(path)(given).numpy()
    assert np.allclose(again, theirs, rtol=1e-4, atol=1e-5)


Case = tuple[tuple[Any, ...], list[Any], dict[str, Any]]

SAME: dict[str, Case] = {
    "gemm": (
        ROW,
        [node("Gemm", "x w b", "y", alpha=0.5, beta=-2.0)],
        {"w": reals(7, 4), "b": reals(1, 4)},
    ),
    "gemm, transposed, one bias": (
        ROW,
        [node("Gemm", "x w b", "y", transB=1)],
        {"w": reals(4, 7), "b": reals(1)},
    ),
    "gemm without bias": (ROW, [node("Gemm", "x w", "y", transB=1)], {"w": reals(4, 7)}),
    "matmul and add": (
        ROW,
        [node("MatMul", "x w", "a"), node("Add", "b a", "y")],
        {"w": reals(7, 4), "b": reals(4)},
    ),
    "weights made of constants": (
        ROW,
        [node("Transpose", "w", "t"), node("Mul", "t s", "u"), node("MatMul", "x u", "y")],
        {"w": reals(4, 7), "s": np.float32(0.25)},
    ),
    "conv": (
        MAPS,
        [node("Conv", "x w b", "y", pads=[1, 0, 1, 0], strides=[2, 1], kernel_shape=[3, 2])],
        {"w": reals(4, 3, 3, 2), "b": reals(4)},
    ),
    "conv, dilated": (MAPS, [node("Conv", "x w", "y", dilations=[2, 1])], {"w": reals(4, 3, 3, 3)}),
    "conv in groups": (MAPS, [node("Conv", "x w", "y", group=3)], {"w": reals(6, 1, 2, 2)}),
    "conv, same": (
        MAPS,
        [node("Conv", "x w", "y", auto_pad="SAME_UPPER")],
        {"w": reals(2, 3, 3, 3)},
    ),
    "conv1d": (
        LINE,
        [node("Conv", "x w b", "y", pads=[1, 1], strides=[2])],
        {"w": reals(4, 3, 3), "b": reals(4)},
    ),
    "conv1d, and more": (
        LINE,
        [
            node("Conv", "x w", "a"),
            node("Add", "a s", "b"),
            node("ReduceMean", "b", "y", axes=[2], keepdims=0),
        ],
        {"w": reals(2, 3, 3), "s": reals(2, 1)},
    ),
    "pooling 1d": (LINE, [node("AveragePool", "x", "y", kernel_shape=[3], strides=[3])], {}),
    "pooling": (
        MAPS,
        [node("AveragePool", "x", "y", kernel_shape=[2, 2], strides=[2, 1], pads=[1, 1, 1, 1])],
        {},
    ),
    "pooling, zeros counted": (
        MAPS,
        [
            node(
                "AveragePool", "x", "y", kernel_shape=[2, 3], pads=[1, 1, 1, 1], count_include_pad=1
            )
        ],
        {},
    ),
    "pooling, no ceiling": (
        MAPS,
        [node("AveragePool", "x", "y", kernel_shape=[2, 5], strides=[2, 5], ceil_mode=1)],
        {},
    ),
    "global pooling": (LINE, [node("GlobalAveragePool", "x", "y")], {}),
    "mean": (MAPS, [node("ReduceMean", "x", "y", axes=[-1, 2], keepdims=0)], {}),
    "norm": (
        MAPS,
        [node("BatchNormalization", "x s b m v", "y", epsilon=0.25)],
        {"s": reals(3), "b": reals(3, seed=1), "m": reals(3, seed=2), "v": reals(3, seed=3) ** 2},
    ),
    "norm of a line": (
        LINE,
        [node("BatchNormalization", "x s b m v", "y")],
        {"s": reals(3), "b": reals(3, seed=1), "m": reals(3, seed=2), "v": reals(3, seed=3) ** 2},
    ),
    "channels": (
        MAPS,
        [
            node("Mul", "x s", "a"),
            node("Sub", "t a", "b"),
            node("Div", "b d", "c"),
            node("Neg", "c", "y"),
        ],
        {"s": reals(3, 1, 1), "t": reals(1, 3, 1, 1), "d": np.float32(3)},
    ),
    "relu, and no bounds": (
        MAPS,
        [node("Clip", "x low", "a"), node("Clip", "a", "y")],
        {"low": np.float32(0)},
    ),
    "flatten": (MAPS, [node("Flatten", "x", "y", axis=-3)], {}),
    "reshape of other maps": (MAPS, [node("Reshape", "x s", "y")], {"s": np.array([-1, 5, 3, 6])}),
    "reshape, its images kept": (MAPS, [node("Reshape", "x s", "y")], {"s": np.array([0, -1])}),
    "reshape by the number of images": (
        MAPS,
        [
            node("Shape", "x", "s"),
            node("Gather", "s zero", "n"),
            node("Unsqueeze", "n zeros", "m"),
            node("Concat", "m rest", "t", axis=0),
            node("Reshape", "x t", "y"),
        ],
        {"zero": np.array(0), "zeros": np.array([0]), "rest": np.array([-1])},
    ),
    "reshape of two images": (
        (2, 3, 6, 5),
        [node("Reshape", "x s", "y")],
        {"s": np.array([2, 90])},
    ),
    "squeezed": (
        ("n", 3, 1, 4),
        [
            node("Squeeze", "x axes", "a"),
            node("Unsqueeze", "a last", "b"),
            node("Flatten", "b", "y"),
        ],
        {"axes": np.array([2]), "last": np.array([-1])},
    ),
    "transposed, in order": (("n", 1, 6, 5), [node("Transpose", "x", "y", perm=[0, 2, 3, 1])], {}),
    "a value used twice": (
        ROW,
        [node("Relu", "x", "a"), node("Add", "a x", "b"), node("Add", "b b", "y")],
        {},
    ),
    "idle": (
        ROW,
        [
            node("Identity", "x", "a"),
            node("Dropout", "a r off", "b"),
            node("Cast", "b", "c", to=1),
            node("Softmax", "c", "y"),
        ],
        {"r": np.float32(0.5), "off": np.array(False)},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_it_computes_the_same(name: str, tmp_path: Path) -> None:
    shape, nodes, constants = SAME[name]
    require_same(saved(tmp_path, nodes, constants, shape), shape)


def test_older_opsets(tmp_path: Path) -> None:
    """Bounds and axes are attributes in them, and a softmax is over all that follows."""
    nodes = [
        node("Clip", "x", "a", min=0.0),
        node("ReduceMean", "a", "b", axes=[3, 2]),
        node("Squeeze", "b", "c", axes=[2, 3]),
        node("Dropout", "c", "d", ratio=0.5),
        node("Softmax", "d", "y"),
    ]
    require_same(saved(tmp_path, nodes, {}, MAPS, opset=9), MAPS)


def test_newer_opsets(tmp_path: Path) -> None:
    nodes = [
        node("Clip", "x low", "a"),
        node("ReduceMean", "a axes", "b", keepdims=0),
        node("LogSoftmax", "b", "y"),
    ]
    constants = {"low": np.float32(0), "axes": np.array([2, 3])}
    require_same(saved(tmp_path, nodes, constants, MAPS, opset=22), MAPS)


def test_all_opsets(tmp_path: Path) -> None:
    """The page says which; onnx runs all of them."""
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a s s s s", "b"),
        node("Relu", "b", "c"),
        node("AveragePool", "c", "d", kernel_shape=[2, 2], strides=[2, 2]),
        node("Add", "d d", "e"),
        node("Reshape", "e rest", "f"),
        node("Dropout", "f", "g"),
        node("Gemm", "g v k", "h", transB=1),
        node("Softmax", "h", "y", axis=1),
    ]
    constants = {"w": reals(4, 3, 3, 3), "s": reals(4) ** 2 + 1, "rest": np.array([0, -1])}
    constants |= {"v": reals(5, 24), "k": reals(5)}
    last = onnx.defs.onnx_opset_version()
    # Before opset 14 onnx's own evaluator takes statistics of the images it is given.
    like = saved(tmp_path, nodes, constants, MAPS).rename(tmp_path / "like.onnx")
    for opset in range(9, last + 1):
        require_same(saved(tmp_path, nodes, constants, MAPS, opset=opset), MAPS, like)
    page = Path(__file__).parents[3] / "docs" / "import.md"
    assert f"Opsets 9 to {last} are taken." in page.read_text()


MATRIX = {"w": reals(7, 4)}

REFUSED: dict[str, Case] = {
    "(Gemm) must have transA = 0: otherwise it adds up over images": (
        ROW,
        [node("Gemm", "x w", "y", transA=1)],
        MATRIX,
    ),
    "(Gemm) must have one number, or one for each of 4 channels": (
        ROW,
        [node("Gemm", "x w b", "y")],
        MATRIX | {"b": reals(2, 4)},
    ),
    "(MatMul) must take what is made of the image first, and then constants": (
        ROW,
        [node("MatMul", "w x", "y")],
        {"w": reals(4, 1)},
    ),
    "(MatMul) must take values in a row: put a Flatten before it": (
        LINE,
        [node("MatMul", "x w", "y")],
        {"w": reals(9, 4)},
    ),
    "(MatMul) must have constant weights and settings, not ones made of the image": (
        ROW,
        [node("MatMul", "x x", "y")],
        {},
    ),
    "(Conv) must have as many zeros on both sides of an axis, not [0, 1] and [1, 0]": (
        MAPS,
        [node("Conv", "x w", "y", pads=[0, 1, 1, 0])],
        {"w": reals(4, 3, 3, 3)},
    ),
    "(Conv) must have as many zeros on both sides of an axis, not [0, 0] and [1, 1]": (
        MAPS,
        [node("Conv", "x w", "y", auto_pad="SAME_UPPER")],
        {"w": reals(4, 3, 2, 2)},
    ),
    "(Conv) must have weights of its kernel_shape": (
        MAPS,
        [node("Conv", "x w", "y", kernel_shape=[2, 3])],
        {"w": reals(4, 3, 3, 2)},
    ),
    "(Conv) has weights of (4, 1, 3, 3) in 1 groups, and gets 3 channels": (
        MAPS,
        [node("Conv", "x w", "y")],
        {"w": reals(4, 1, 3, 3)},
    ),
    "(Conv) must have finite numbers, not NaN or infinite ones": (
        MAPS,
        [node("Conv", "x w", "y")],
        {"w": np.full((1, 3, 2, 2), np.nan, np.float32)},
    ),
    "(Conv) must not have an attribute twist": (
        MAPS,
        [node("Conv", "x w", "y", twist=1)],
        {"w": reals(4, 3, 3, 3)},
    ),
    "(Conv) must have a kernel, strides and pads that fit its axes": (
        MAPS,
        [node("Conv", "x w", "y", pads=[9999, 0, 9999, 0])],
        {"w": reals(4, 3, 3, 3)},
    ),
    "(AveragePool) must have ceil_mode = 0: windows would reach over the border": (
        MAPS,
        [node("AveragePool", "x", "y", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
        {},
    ),
    "(MaxPool) is not supported (pool with AveragePool, or by a stride)": (
        MAPS,
        [node("MaxPool", "x", "y", kernel_shape=[2, 2])],
        {},
    ),
    "(BatchNormalization) must be exported for inference (training_mode = 0)": (
        ROW,
        [node("BatchNormalization", "x w w w w", "y", training_mode=1)],
        {"w": reals(7) ** 2},
    ),
    "(BatchNormalization) must make one value: export the network for inference": (
        ROW,
        [node("BatchNormalization", "x w w w w", "y mean var")],
        {"w": reals(7) ** 2},
    ),
    "(BatchNormalization) must have positive variances": (
        ROW,
        [node("BatchNormalization", "x w w w w", "y")],
        {"w": np.full(7, -1, np.float32)},
    ),
    "(Dropout) must be exported for inference (training_mode = 0)": (
        ROW,
        [node("Dropout", "x - on", "y")],
        {"on": np.array(True)},
    ),
    "(Dropout) must make one value: export the network for inference": (
        ROW,
        [node("Dropout", "x", "y mask")],
        {},
    ),
    "(Add) must have one number for a channel, not one for each row or column": (
        MAPS,
        [node("Add", "x b", "y")],
        {"b": reals(5)},
    ),
    "(Add) must add values of one shape, not (3, 6, 5) and (3, 1, 1)": (
        MAPS,
        [node("GlobalAveragePool", "x", "a"), node("Add", "x a", "y")],
        {},
    ),
    "(Mul) must take one value made of the image, and a constant: use Add": (
        ROW,
        [node("Mul", "x x", "y")],
        {},
    ),
    "(Div) must have numbers for all that it needs": (
        ROW,
        [node("Div", "x t", "y")],
        {"t": np.array(["a"])},
    ),
    "(ReduceMean) must average over all rows and columns, and nothing else": (
        MAPS,
        [node("ReduceMean", "x", "y", axes=[1])],
        {},
    ),
    "(Flatten) must have axis = 1, so that images stay apart": (
        MAPS,
        [node("Flatten", "x", "y", axis=2)],
        {},
    ),
    "(Reshape) must leave the first axis as it is, which counts images, and give (90,) or maps": (
        MAPS,
        [node("Reshape", "x s", "y")],
        {"s": np.array([-1, 45])},
    ),
    "(Reshape) must leave the first axis as it is, which counts images, and give (7,) or maps": (
        ROW,
        [node("Reshape", "x s", "y")],
        {"s": np.array([1, -1])},
    ),
    "(Reshape) must not make axes of size 0": (
        MAPS,
        [node("Reshape", "x s", "y", allowzero=1)],
        {"s": np.array([0, -1])},
    ),
    "(Squeeze) must name axes of size 1, behind the first": (MAPS, [node("Squeeze", "x", "y")], {}),
    "(Unsqueeze) must leave the first axis as it is, which counts images": (
        ROW,
        [node("Unsqueeze", "x a", "y")],
        {"a": np.array([0])},
    ),
    "(Transpose) must leave values in their order, (images, channels, rows, columns): export the "
    "network with channels first": (MAPS, [node("Transpose", "x", "y", perm=[0, 2, 3, 1])], {}),
    "(Softmax) must be over the classes, the one axis of an image": (
        MAPS,
        [node("Softmax", "x", "y")],
        {},
    ),
    "(Sigmoid) is not supported (train with ReLU)": (ROW, [node("Sigmoid", "x", "y")], {}),
    "(my.own.Relu) is not supported (docs/import.md has those that are)": (
        ROW,
        [node("Relu", "x", "y", domain="my.own")],
        {},
    ),
    "(ai.onnx.Quant) is not supported (docs/import.md has those that are)": (
        ROW,
        [node("Quant", "x w w w", "y", domain="")],
        {"w": np.float32(1)},
    ),
    "(Clip) must be a ReLU: what is bounded above is read in quantised networks, in front of a "
    "Quant": (ROW, [node("Clip", "x a b", "y")], {"a": np.float32(0), "b": np.float32(6)}),
    "(Cast) must cast to float or double": (ROW, [node("Cast", "x", "y", to=7)], {}),
    "(RandomNormal) is not supported: it computes constants in a way that is not known": (
        ROW,
        [node("RandomNormal", "", "r", shape=[7]), node("Add", "x r", "y")],
        {},
    ),
    "(Mul) must not compute with the number of images": (
        ROW,
        [node("Shape", "x", "s"), node("Mul", "s s", "t"), node("Reshape", "x t", "y")],
        {},
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_refusals(sentence: str, tmp_path: Path) -> None:
    shape, nodes, constants = REFUSED[sentence]
    for one in nodes:  # a node of no arguments has no empty name
        del one.input[: len(one.input) if list(one.input) == [""] else 0]
    path = saved(tmp_path, nodes, constants, shape)
    reading = open_file(path).read(None, steps=1, pixel_max=15)
    told = [f"{finding.node} {finding.refused}" for finding in reading.refused if finding.refused]
    assert any(text.endswith(sentence) for text in told), told


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Any, dict[str, Any], tuple[Any, ...]]:
    """A node with settings of any kind, that a reader may overlook."""
    kind = draw(st.sampled_from(["Conv", "AveragePool", "Gemm", "Reshape", "Transpose", "Mul"]))
    channels, rows, columns = (draw(st.integers(1, n)) for n in (4, 6, 5))
    shape = (draw(st.sampled_from(["n", 4])), channels, rows, columns)

    def pick(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    sides = [pick(1, 2, 3) for _ in range(2)]
    window: dict[str, Any] = {"strides": [pick(1, 2) for _ in range(2)]}
    if pick(True, False):
        window["pads"] = [pick(0, 0, 1) for _ in range(4)] if pick(True, False) else [1] * 4
    else:
        window["auto_pad"] = pick("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    if kind == "Conv":
        groups = pick(1, channels)
        weight = reals(groups * pick(1, 2), channels // groups, *sides)
        window |= {"group": groups, "dilations": [pick(1, 1, 2) for _ in range(2)]}
        return node(kind, "x w", "y", **window), {"w": weight}, shape
    if kind == "AveragePool":
        # onnx's own evaluator fails where it has to leave values out, or to look over the border.
        window["strides"] = [min(pair) for pair in zip(window["strides"], sides, strict=True)]
        window |= {"ceil_mode": 0 if "auto_pad" in window else pick(0, 1)}
        window |= {"count_include_pad": pick(0, 1)}
        return node(kind, "x", "y", kernel_shape=sides, **window), {}, shape
    if kind == "Gemm":
        settings = {"transA": pick(0, 0, 1), "transB": pick(0, 1), "alpha": 0.5, "beta": 3.0}
        bias = reals(*pick((), (1,), (4,), (1, 4), (4, 1), (4, 4)))
        return node(kind, "x w b", "y", **settings), {"w": reals(4, 4), "b": bias}, (shape[0], 4)
    if kind == "Reshape":
        size = channels * rows * columns
        target = pick(
            [0, -1], [-1, size], [4, size], [0, 0, -1], [-1, columns], [1, -1], [0, rows, -1, 1]
        )
        return node(kind, "x s", "y"), {"s": np.array(target)}, shape
    if kind == "Transpose":
        return node(kind, "x", "y", perm=draw(st.permutations(range(4)))), {}, shape
    other = reals(*pick((), (columns,), (channels, 1, 1), (1, channels, 1, 1), (4, 1, 1, 1)))
    return node(kind, *pick(("x w", "y"), ("w x", "y"))), {"w": other}, shape


@settings(max_examples=150)
@given(graph=graphs())
def test_nothing_is_overlooked(graph: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a node says, it is read so or refused."""
    one, constants, shape = graph
    path = saved(tmp_path_factory.mktemp("drawn"), [one], constants, shape)
    made = translate(read_graph(path))
    (step, *_) = made.steps[::-1]
    if hasattr(step.module, "problem"):
        return
    require_same(path, shape)


def test_all_is_said_at_once(tmp_path: Path) -> None:
    nodes = [
        node("Sigmoid", "x", "a"),
        node("Gemm", "a w", "b", transA=1),
        node("MaxPool", "b", "c", kernel_shape=[2]),
        node("Gemm", "c w", "d"),
        node("Tanh", "d", "y"),
        node("Tanh", "x", "unused"),
    ]
    path = saved(tmp_path, nodes, {"w": reals(7, 7)}, ROW)
    reading = open_file(path).read((7,), steps=1, pixel_max=15)
    told = {finding.node: str(finding) for finding in reading.findings}
    assert told["d (Gemm)"] == "not known behind what is refused"
    assert told["unused (Tanh)"] == "nothing: the output does not need it"
    refused = [finding.node for finding in reading.refused]
    assert refused == ["a (Sigmoid)", "b (Gemm)", "c (MaxPool)", "y (Tanh)"]
    with pytest.raises(ConvertError, match=re.escape("a (Sigmoid) is not supported")):
        reading.require()
