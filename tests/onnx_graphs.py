"""Small graphs of ONNX, made node by node, and what the package onnx makes of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
helper, TensorProto = onnx.helper, onnx.TensorProto

Reals = np.ndarray[Any, np.dtype[np.float32]]

QONNX = "qonnx.custom_op.general"


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    """A node; of QONNX where it is one of its kinds."""
    if kind in ("BipolarQuant", "IntQuant", "Quant", "Trunc"):
        attributes.setdefault("domain", QONNX)
    names = [name.strip("-") for name in inputs.split()]  # -: not given
    return helper.make_node(kind, names, output.split(), name=output.split()[0], **attributes)


def reals(*shape: int, seed: int = 0) -> Reals:
    """Weights."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model(
    nodes: Sequence[Any],
    constants: Mapping[str, Any],
    shape: Sequence[Any],
    *,
    opset: int = 17,
    output: str = "y",
) -> Any:
    """A model from `x` of a shape with its images to an output."""
    tensors = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        tensors,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(QONNX, 1)]
    return helper.make_model(graph, opset_imports=opsets)


def saved(path: Path, *given: Any, **options: Any) -> Path:
    """The file of a model (see there)."""
    path = path / "net.onnx"
    path.write_bytes(model(*given, **options).SerializeToString())
    return path


def evaluated(path: Path, x: Reals) -> Reals:
    """What onnx's own evaluator makes of images, without anything of Sterna's."""
    from onnx.reference import ReferenceEvaluator

    evaluator: Any = ReferenceEvaluator(onnx.load(path))
    return evaluator.run(None, {evaluator.input_names[0]: x})[0]
