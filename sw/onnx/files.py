"""ONNX files: the graph as plain data, checked. Nothing of a file is executed here."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hw.contract.checks import SternaError
from sw.importers.affine import ConvertError

__all__ = ["QUANT_DOMAINS", "QUANT_KINDS", "Array", "Graph", "Node", "library", "read_graph"]

LARGEST_FILE = 1 << 28
"""Bytes of a file, and of the one beside it."""

LARGEST_INPUT = 1 << 20
"""Values of an image."""

FIRST_OPSET = 9

QUANT_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas")
"""Of QONNX: what its own nodes, and those of older exports of Brevitas, say."""

QUANT_KINDS = ("BipolarQuant", "IntQuant", "Quant", "Trunc")

NAME = 80
"""Most characters of a node's name in messages."""

Array = np.ndarray[Any, np.dtype[Any]]


def library() -> Any:
    """The package onnx."""
    if find_spec("onnx") is None:
        raise SternaError("Networks in ONNX files need the package onnx: install it")
    import onnx

    return onnx


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a graph.

    Parameters
    ----------
    place
        Its name and kind, for messages: one of its own.
    kind
        What it does; with its domain, if that is not one of ONNX or QONNX.
    inputs, outputs
        Names of values; an optional one that is not given: empty.
    attributes
        Numbers, texts, lists and arrays.
    index
        Among the nodes of the file.
    """

    place: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    index: int


@dataclass(frozen=True, eq=False)
class Graph:
    """A network's graph.

    Parameters
    ----------
    nodes
        In the order in which they run.
    constants
        Initialisers by name; reals in float64.
    input, output
        Names of the one value that it takes, and of the one that it makes.
    shape
        Of an input, without the images.
    batch
        How many images it takes at once; None: any number.
    opset
        Version of ONNX's operators.
    proto
        The file's model, with all constants in it, reals in float64.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    input: str
    output: str
    shape: tuple[int, ...]
    batch: int | None
    opset: int
    proto: Any


def read_graph(path: Path) -> Graph:
    """The graph in a file.

    Raises
    ------
    ConvertError
        One sentence, for what is no such file, or has no form that can be read. What single nodes
        are is not looked at.
    """
    library()
    try:
        return _graph(path, _model(path))
    except ConvertError:
        raise
    except _Unfit as error:
        raise ConvertError(f"Network {path} {error}") from None
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        raise ConvertError(f"Network {path} is damaged: export it again") from None


class _Unfit(Exception):
    """What is wrong with a file, without its subject."""


def _bytes(path: Path, what: str) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise _Unfit(f"must have at most {LARGEST_FILE >> 20} MiB{what}")
        return path.read_bytes()
    except FileNotFoundError:
        missing = f"needs {_shown(path.name)}, which is not beside it"
        raise _Unfit(missing if what else "does not exist") from None
    except OSError as error:
        raise _Unfit(f"cannot be read{what}: {error.strerror or error}") from None


def _model(path: Path) -> Any:
    """What the file holds, with the numbers that lie beside it, reals in float64."""
    onnx = library()
    data, model = _bytes(path, ""), onnx.ModelProto()
    if not data:
        raise _Unfit("is empty: export it again")
    try:
        model.ParseFromString(data)
    except Exception:  # of protobuf's own
        raise _Unfit("must be an ONNX file: it is another one, truncated or damaged") from None
    if not model.HasField("graph") or not model.opset_import:
        raise _Unfit("must be an ONNX file with a graph: it is another one, or damaged")
    if len(model.graph.sparse_initializer):
        raise _Unfit("must have dense initialisers, not sparse ones")
    # What exporters leave of functions that they have put in line; nodes that call one are unknown.
    del model.functions[:]
    for held in (*model.opset_import, *model.graph.node):
        held.domain = "" if held.domain == "ai.onnx" else held.domain  # two names of one
    beside, taken = dict[str, bytes](), 0
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            taken += _take_in(tensor, path, beside, LARGEST_FILE - taken)
    for tensor in _tensors(model.graph):
        _make_double(tensor)
    return model


def _take_in(tensor: Any, path: Path, beside: dict[str, bytes], most: int) -> int:
    """Put numbers that lie in a file of their own into a tensor; of how many bytes."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    place = said.get("location", "")
    held = (path.parent / place).resolve()
    if not place or held.parent != path.parent.resolve():
        raise _Unfit(
            f"must have its numbers in a file in its own folder, not in {_shown(place) or 'none'}"
        )
    if place not in beside:
        beside[place] = _bytes(held, f" in {_shown(place)}")
    start = int(said.get("offset", "0"))
    length = int(said.get("length", str(len(beside[place]) - start)))
    if not 0 <= start <= start + length <= len(beside[place]):
        raise _Unfit(f"needs more than {_shown(place)} has: it is truncated, or another one")
    if length > most:  # tensors may share them
        raise _Unfit(f"must have at most {LARGEST_FILE >> 20} MiB of numbers in files beside it")
    tensor.raw_data = beside[place][start : start + length]
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")
    return length


def _tensors(graph: Any) -> Iterator[Any]:
    """All constants of a graph."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _make_double(tensor: Any) -> None:
    """Reals of any width in float64."""
    onnx = library()
    types = onnx.TensorProto
    if tensor.data_location == types.EXTERNAL:
        raise _Unfit("must have the numbers of its Constant nodes in the file itself")
    if tensor.data_type in (types.FLOAT, types.FLOAT16, types.BFLOAT16):
        values = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _graph(path: Path, model: Any) -> Graph:
    onnx, graph = library(), model.graph
    opset = _opset(model)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise _Unfit(
            f"must have one input and one output, not {len(inputs)} and {len(graph.output)}: leave "
            "the others out when it is exported"
        )
    batch, shape = _sides(inputs[0])
    nodes = tuple(_nodes(graph))
    _require_order(nodes, {inputs[0].name, *constants}, graph.output[0].name)
    return Graph(nodes, constants, inputs[0].name, graph.output[0].name, shape, batch, opset, model)


def _opset(model: Any) -> int:
    last = library().defs.onnx_opset_version()
    versions = [entry.version for entry in model.opset_import if entry.domain == ""]
    if len(versions) != 1 or not FIRST_OPSET <= versions[0] <= last:
        found = versions[0] if len(versions) == 1 else "none"
        raise _Unfit(
            f"must have an opset of {FIRST_OPSET} to {last}, not {found}: export it with another "
            "opset_version"
        )
    return versions[0]


def _sides(value: Any) -> tuple[int | None, tuple[int, ...]]:
    """Images at once, and the shape of one."""
    types, tensor = library().TensorProto, value.type.tensor_type
    if tensor.elem_type not in (types.FLOAT, types.FLOAT16, types.DOUBLE):
        raise _Unfit("must take real numbers (float): leave it to Sterna what pixels become")
    sides = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    batch, *shape = sides or [None]
    batch = None if batch is not None and batch < 1 else batch  # so do some exporters say any
    known = [side for side in shape if side is not None and side > 0]
    if len(shape) not in (1, 2, 3) or len(known) != len(shape):
        told = ", ".join("?" if side is None else str(side) for side in sides)
        raise _Unfit(
            "must take images of known sides: (images, values), (images, channels, values) or "
            f"(images, channels, rows, columns), not ({told}): leave no axis dynamic but the first"
        )
    if math.prod(known) > LARGEST_INPUT or (batch or 1) > LARGEST_INPUT:
        raise _Unfit(f"must take at most {LARGEST_INPUT:,} values, not ({sides})")
    return batch, tuple(known)


def _shown(name: str) -> str:
    """A stranger's name, in a line."""
    text = "".join(c if c.isprintable() else "?" for c in name)
    return text if len(text) <= NAME else f"...{text[-NAME:]}"


def _nodes(graph: Any) -> Iterator[Node]:
    taken = set[str]()
    for index, node in enumerate(graph.node):
        kind, ours = _shown(node.op_type), node.op_type in QUANT_KINDS
        if node.domain not in (QUANT_DOMAINS if ours else ("",)):
            kind = f"{_shown(node.domain) or 'ai.onnx'}.{kind}"
        # Steps have names with a " | " where a node needs several.
        kind, title = kind.replace(" | ", " "), _shown(node.name).replace(" | ", " ") or str(index)
        place = f"{title} ({kind})"
        while place in taken:
            title = f"{title}, node {index}"
            place = f"{title} ({kind})"
        taken.add(place)
        yield Node(place, kind, tuple(node.input), tuple(node.output), _attributes(node), index)


def _attributes(node: Any) -> dict[str, Any]:
    onnx, found = library(), dict[str, Any]()
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR:
            found[attribute.name] = onnx.numpy_helper.to_array(attribute.t)
        elif attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            found[attribute.name] = None
        else:
            value = onnx.helper.get_attribute_value(attribute)
            is_text = isinstance(value, bytes)
            found[attribute.name] = value.decode("utf-8", "replace") if is_text else value
    return found


def _require_order(nodes: Sequence[Node], known: set[str], output: str) -> None:
    """Each value is made once, before it is taken."""
    for node in nodes:
        for name in node.inputs:
            if name and name not in known:
                raise _Unfit(
                    f"is damaged: {node.place} takes {_shown(name)}, which nothing before it makes"
                )
        for name in node.outputs:
            if name and name in known:
                raise _Unfit(f"is damaged: {_shown(name)} is made twice")
            known.add(name)
    if output not in known:
        raise _Unfit(f"is damaged: nothing makes its output {_shown(output)}")
