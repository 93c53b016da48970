"""A graph, run as it is: by the reference evaluator of the package onnx, in double precision.

It runs what has been read, and nothing else: a graph of which every node is known. QONNX's nodes
are added to it, DequantizeLinear before opset 19, BatchNormalization before 14, which it runs as
if for training, and a faster AveragePool.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits
from torch import Tensor

from sw.onnx.files import QUANT_DOMAINS, Array, Graph, Node, library
from sw.onnx.rounding import rounded

__all__ = ["Reference"]

AT_ONCE = 32
"""Images that are run together: the evaluator lays all windows of a convolution side by side."""


@cache
def _operators() -> list[type]:
    """What is run otherwise than the package has it."""
    library()
    from onnx.reference.op_run import OpRun
    from onnx.reference.ops.op_average_pool import AveragePool_19
    from onnx.reference.ops.op_batch_normalization import BatchNormalization_14
    from onnx.reference.ops.op_dequantize_linear import DequantizeLinear_23

    def quant(self: Any, x: Array, scale: Array, zero: Array, bits: Array, **said: Any) -> Any:
        node = Node("", "Quant", (), (), said, 0)
        return (rounded(node, x, scale, zero, bits).astype(x.dtype),)

    def bipolar(self: Any, x: Array, scale: Array) -> Any:
        return (np.where(x >= 0, 1.0, -1.0) * scale,)

    def pooled(self: Any, x: Array, **said: Any) -> Any:
        fast = _averaged(x, said)
        return AveragePool_19._run(self, x, **said) if fast is None else (fast,)

    def normed(self: Any, *given: Array, epsilon: float, **said: Any) -> Any:
        return BatchNormalization_14._run(self, *given, epsilon=epsilon, training_mode=0)

    made: list[type] = []
    for domain in QUANT_DOMAINS:
        for name, run in (("Quant", quant), ("IntQuant", quant), ("BipolarQuant", bipolar)):
            made.append(type(name, (OpRun,), {"op_domain": domain, "_run": run}))
    made.append(type("DequantizeLinear", (DequantizeLinear_23,), {"op_domain": ""}))
    made.append(
        type("BatchNormalization", (BatchNormalization_14,), {"op_domain": "", "_run": normed})
    )
    made.append(type("AveragePool", (AveragePool_19,), {"op_domain": "", "_run": pooled}))
    return made


def _averaged(x: Array, said: Mapping[str, Any]) -> Array | None:
    """Averages over windows of maps; None where they are not plain."""
    kernel, rank = said["kernel_shape"], x.ndim - 2
    strides, pads = said.get("strides") or [1] * rank, said.get("pads") or [0] * 2 * rank
    auto = (said.get("auto_pad") or "NOTSET") not in ("NOTSET", "VALID")
    if auto or said.get("ceil_mode") or set(said.get("dilations") or [1]) != {1}:
        return None
    zeros = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
    at = (slice(None), slice(None), *(slice(None, None, n) for n in strides))

    def sums(values: Array) -> Array:
        windows = sliding_window_view(np.pad(values, zeros), kernel, tuple(range(2, 2 + rank)))
        return windows[at].sum(axis=tuple(range(-rank, 0)))

    size = float(np.prod(kernel))
    return sums(x) / (size if said.get("count_include_pad") else sums(np.ones_like(x[:1])))


class Reference:
    """Runs a graph.

    Parameters
    ----------
    graph
        All nodes that the output needs must be known.
    needed
        Those.
    left_out
        By the name of a value: the one that stands in its place.
    """

    def __init__(
        self, graph: Graph, needed: Collection[Node], left_out: Mapping[str, str] | None = None
    ) -> None:
        self.graph, self.needed, self.left_out = graph, tuple(needed), dict(left_out or {})
        self._made: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Reference":
        return self  # it does not change

    def _evaluator(self) -> Any:
        """Made at the first run, when all that it runs has been read."""
        if self._made is None:
            onnx = library()
            from onnx.reference import ReferenceEvaluator

            proto = onnx.ModelProto()
            proto.CopyFrom(self.graph.proto)
            nodes = [proto.graph.node[node.index] for node in self.needed]
            kept = [self._node(node) for node in nodes]
            for field in ("node", "value_info", "quantization_annotation"):
                proto.graph.ClearField(field)
            proto.graph.node.extend(kept)
            self._made = ReferenceEvaluator(proto, new_ops=_operators())
        return self._made

    def _node(self, node: Any) -> Any:
        """In double precision; an Identity in place of what is left out."""
        onnx = library()
        instead = self.left_out.get(node.output[0]) if node.output else None
        if instead is not None:
            return onnx.helper.make_node("Identity", [instead], [node.output[0]])
        kept = onnx.NodeProto()
        kept.CopyFrom(node)
        if kept.op_type == "Cast":
            for attribute in kept.attribute:
                if attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
                    attribute.i = onnx.TensorProto.DOUBLE
        return kept

    def run(self, x: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Values by name, for images (n, ...), in float64.

        Whoever calls it expects any error (`sw.importers.feed.Feed.run`).
        """
        images = x.detach().double().numpy().reshape(len(x), *self.graph.shape)
        batch = self.graph.batch or min(len(images), AT_ONCE)
        parts: list[list[Array]] = []
        evaluator = self._evaluator()
        with threadpool_limits(1, user_api="blas"):  # threads wait for each other longer
            for start in range(0, len(images), batch):
                some = images[start : start + batch]
                missing = np.zeros((batch - len(some), *self.graph.shape))
                fed = {self.graph.input: np.concatenate([some, missing])}
                made = evaluator.run(list(names), fed)
                parts.append([np.asarray(value)[: len(some)] for value in made])
        joined = [np.concatenate(values) for values in zip(*parts, strict=True)]
        return [torch.from_numpy(values.astype(np.float64)) for values in joined]
