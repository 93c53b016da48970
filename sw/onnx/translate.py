"""A graph becomes steps: modules of torch, with what each of them takes.

Every node is looked at, so that all that cannot be read is said at once. Values keep the order of
ONNX, channels first; (channels, values) stand in maps of one row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from hw.contract.edge import INPUT
from sw.importers.affine import READ_OF_MAPS, shape_behind
from sw.importers.trace import Step, Sum, Unread
from sw.onnx.calls import Call, Does, Made, held
from sw.onnx.constants import BATCH, FOLDED, folded
from sw.onnx.files import Array, Graph, Node
from sw.onnx.operators import OPERATORS, unsupported

__all__ = ["Translation", "translate"]

LARGEST = 1 << 24
"""Values of an image within the network."""

LARGEST_CONSTANTS = 1 << 25
"""Values that all nodes may make of constants."""


@dataclass(frozen=True, eq=False)
class Translation:
    """What a graph was made of.

    Parameters
    ----------
    graph
        The graph.
    steps
        In the order in which they run; of a node with several, the last has the node's place, and
        the others have a " | " in theirs.
    needed
        Nodes of which something comes in the output.
    constants
        Places of nodes that are computed beforehand.
    unseen
        Places of nodes behind one that is refused, of which not everything is known.
    parts
        Places of nodes that are part of another one, and its place.
    """

    graph: Graph
    steps: list[Step] = field(default_factory=list)
    needed: list[Node] = field(default_factory=list)
    constants: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an input, as the steps take it."""
        return held(self.graph.shape)


def translate(graph: Graph) -> Translation:
    """The steps of a graph."""
    made = Translation(graph, needed=_needed(graph))
    translator = _Translator(made)
    for node in made.needed:
        translator.read(node)
    translator.end()
    return made


def _needed(graph: Graph) -> list[Node]:
    """Nodes of which something comes in the output."""
    wanted, kept = {graph.output}, []
    for node in reversed(graph.nodes):
        if wanted & {*node.outputs}:
            wanted |= {*node.inputs}
            kept.append(node)
    return kept[::-1]


class _Translator:
    """Values by name, and the steps so far."""

    def __init__(self, made: Translation) -> None:
        self.made, self.graph, self.computed = made, made.graph, 0
        self.values: dict[str, Made | Array] = dict(made.graph.constants)
        self.values[made.graph.input] = Made(INPUT, made.graph.shape)

    def read(self, node: Node) -> None:
        """Add the steps of a node, or compute it."""
        given = tuple(self.values[name] if name else None for name in node.inputs)
        call = Call(node, given, self.graph.opset, self.graph.batch)
        try:
            if not any(isinstance(value, Made) for value in given):
                self._fold(node, [v for v in given if not isinstance(v, Made)])
            elif node.kind == "Shape":
                self._measure(call)
            else:
                self._translate(call)
        except ValueError as error:
            self._refuse(call, str(error))
        except (AttributeError, AssertionError, IndexError, KeyError, OverflowError, TypeError):
            self._refuse(call, "is damaged: what it says does not fit together")

    def _fold(self, node: Node, given: Sequence[Array | None]) -> None:
        made = folded(node, given, self.graph.opset)
        self.computed += made.size
        if self.computed > LARGEST_CONSTANTS:
            raise ValueError("must not make constants that large")
        self.values[node.outputs[0]] = made
        self.made.constants.add(node.place)

    def _measure(self, call: Call) -> None:
        shape, (name, *_) = call.made().shape, call.node.outputs
        if shape is None or call.node.attributes:
            raise ValueError("must ask for the whole shape of a value that is known")
        sides = (self.graph.batch or BATCH, *shape)
        self.values[name] = np.array(sides, dtype=np.int64)
        self.made.constants.add(call.node.place)

    def _translate(self, call: Call) -> None:
        node = call.node
        unknown = any(value.shape is None for value in call.values)
        if node.kind not in OPERATORS and not (unknown and node.kind in FOLDED):
            raise ValueError(f"is not supported ({unsupported(node.kind)})")
        if node.kind in OPERATORS:
            OPERATORS[node.kind].require(call)
        if unknown:
            self.made.unseen.add(node.place)
            self._placeholder(call, nn.Identity())
            return
        if any(value.counts for value in call.values) and not OPERATORS[node.kind].counts:
            raise ValueError("must take real numbers: put a DequantizeLinear before it")
        if node.kind == "DequantizeLinear" and (counts := call.made().counts):
            self.made.parts.update(dict.fromkeys(counts.places, node.place))
        self._add(call, OPERATORS[node.kind].read(call))

    def _add(self, call: Call, does: Does) -> None:
        """Steps that do it."""
        node, places = call.node, [value.place for value in call.values]
        modules, shape = list(does.modules), call.values[0].shape
        assert shape is not None
        narrow = len(shape) == 2
        if does.shape is not None:  # the same numbers in another shape
            goal = held(does.shape)
            if len(goal) == 3 and goal != held(shape):
                modules += [nn.Flatten(), nn.Unflatten(1, goal)]
            elif len(goal) == 1 and len(shape) > 1:
                modules.append(nn.Flatten())
            shape, narrow = does.shape, len(does.shape) == 2
        else:
            for module in modules:
                shape = _behind(module, held(shape))
            if narrow and len(shape) == 3:
                shape = (shape[0], shape[2])
        if math.prod(shape) > LARGEST:
            raise ValueError(f"must make at most {LARGEST:,} values")
        modules = modules or [nn.Identity()]
        names = [f"{node.place} | {n}" for n in range(1, len(modules))] + [node.place]
        for name, module in zip(names, modules, strict=True):
            self.made.steps.append(Step(name, tuple(places), module))
            places = [name]
        self.values[node.outputs[0]] = Made(node.place, shape, does.counts)

    def _refuse(self, call: Call, problem: str) -> None:
        shape = None
        if call.node.kind in SAME_SHAPE and call.values:
            shape = call.values[0].shape
        self._placeholder(call, Unread("", problem), shape)

    def _placeholder(
        self, call: Call, module: nn.Module, shape: tuple[int, ...] | None = None
    ) -> None:
        places = tuple(value.place for value in call.values)[: 2 if isinstance(module, Sum) else 1]
        self.made.steps.append(Step(call.node.place, places or (INPUT,), module))
        for name in call.node.outputs:
            self.values[name] = Made(call.node.place, shape)

    def end(self) -> None:
        """The output must be what the last step makes."""
        value = self.values[self.graph.output]
        if not isinstance(value, Made) or value.place == INPUT or value.counts:
            problem = "must be real numbers that are made of the input"
            self.made.steps.append(Step("output", (INPUT,), Unread("", problem)))


SAME_SHAPE = {"Celu", "Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish"}
SAME_SHAPE |= {"BipolarQuant", "IntQuant", "PRelu", "Quant", "Selu", "Sigmoid", "Softplus", "Tanh"}
"""Kinds whose values have the shape of what they are made of, read or not."""


def _behind(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what a module makes; of what is no module of torch, its own."""
    made = shape_behind(module, shape, READ_OF_MAPS)
    return shape if made is None else made
