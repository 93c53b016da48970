"""A NIR file as a flat graph of nodes in the order in which they run.

NIR (the Neuromorphic Intermediate Representation, Nature Communications 15, 8122, 2024) is HDF5:
data only. Nodes have names, edges no order. Read with the package `nir` (BSD-3-Clause).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sw.importers.affine import ConvertError

__all__ = ["INPUTS", "MAGIC", "Edge", "Graph", "flat_graph", "read_nir"]

MAGIC = b"\x89HDF"
"""Of HDF5."""

INPUTS, OUTPUTS, GRAPHS = "Input", "Output", "NIRGraph"

NEURONS = ("IF", "LIF", "CubaLIF")
"""Nodes that fire."""


class Edge(NamedTuple):
    """What a node receives: another node's values, or, over one that closes a loop, what these
    would be of the spikes of the time step before."""

    source: str
    closes_loop: bool = False


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes by name, in the order in which they run.

    Parameters
    ----------
    nodes
        Of the package `nir`; without inner graphs, and without what no output comes of.
    edges
        By name, what each receives.
    input, output
        Names of the nodes `Input` and `Output`.
    unused
        Nodes of which no output comes.
    notes
        What must be said about the file.
    """

    nodes: Mapping[str, Any]
    edges: Mapping[str, tuple[Edge, ...]]
    input: str
    output: str
    unused: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def kind_of(node: Any) -> str:
    """Name of a node's kind."""
    return type(node).__name__


def fires(node: Any) -> bool:
    """Whether a node sends spikes."""
    return kind_of(node) in NEURONS


def leaks(node: Any) -> bool:
    """Whether a node integrates with a leak, and never fires."""
    return kind_of(node) == "LI"


def read_nir(path: Path) -> Graph:
    """The graph of a file.

    Raises
    ------
    ConvertError
        One sentence, for a file that is none, and a graph without order.
    """
    import nir

    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except FileNotFoundError:
        raise ConvertError(f"Network {path} does not exist") from None
    except OSError as error:
        raise ConvertError(f"Network {path} cannot be read: {error.strerror or error}") from None
    if head != MAGIC:
        raise ConvertError(f"Network {path} must be a NIR file, which is HDF5: write it with nir")
    notes = ()
    try:
        graph = nir.read(path, type_check=False)
        try:
            nir.read(path)
        except MemoryError:
            raise
        except Exception as error:  # its check stumbles over scalars and sums, too
            notes = (f"nir's own check of the shapes fails: {_line(error)}",)
    except MemoryError:
        raise
    except Exception as error:  # h5py and nir raise anything at all
        raise ConvertError(f"Network {path} cannot be read as NIR: {_line(error)}") from None
    if kind_of(graph) != GRAPHS:
        raise ConvertError(f"Network {path} must hold a NIRGraph, not one {kind_of(graph)}")
    return flat_graph(graph, notes)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__)[:200]


def flat_graph(graph: Any, notes: Sequence[str] = ()) -> Graph:
    """A `nir.NIRGraph` in order.

    Raises
    ------
    ConvertError
        When it has not one input and one output, an edge to nowhere, or loops without neurons.
    """
    try:
        nodes, pairs = _flattened(graph)
    except ConvertError:
        raise
    except (AttributeError, TypeError, ValueError):
        raise ConvertError(
            "Network must have named nodes, and edges that are pairs of them"
        ) from None
    for name, node in nodes.items():
        for parameter, value in vars(node).items():
            values = value.values() if isinstance(value, dict) else (value,)
            if any(np.iscomplexobj(one) for one in values):
                raise ConvertError(f"Node {name} must have real numbers as {parameter}")
    for source, target in pairs:
        for end in (source, target):
            if end not in nodes:
                raise ConvertError(f"Network has an edge {source} -> {target}, and no node {end}")
    first = _only_one(nodes, INPUTS, {target for _, target in pairs})
    last = _only_one(nodes, OUTPUTS, {source for source, _ in pairs})
    first, last = (_with_door(nodes, pairs, name, n) for n, name in enumerate((first, last)))
    order, loops = _ordered(nodes, pairs, first)
    needed = _needed(pairs, last)
    kept = [name for name in order if name in needed and name != last] + [last]
    if last not in order:
        raise ConvertError(f"Network must have a way from {first} to {last}")
    edges = {
        name: tuple(
            Edge(source, (source, target) in loops)
            for source, target in pairs
            if target == name and source in order
        )
        for name in kept
    }
    made = Graph(
        nodes={name: nodes[name] for name in kept},
        edges=edges,
        input=first,
        output=last,
        unused={name: node for name, node in nodes.items() if name not in kept},
        notes=tuple(notes),
    )
    _require_neurons_in_loops(made)
    return made


def _flattened(graph: Any, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges, those of inner graphs among them as GRAPH.NODE: an edge to an inner graph
    goes to its input."""
    nodes: dict[str, Any] = {}
    pairs: list[tuple[str, str]] = []
    doors: dict[str, dict[str, str]] = {}
    for name, node in graph.nodes.items():
        full = f"{prefix}{name}"
        if kind_of(node) != GRAPHS:
            nodes[full] = node
            continue
        inner, between = _flattened(node, f"{full}.")
        doors[full] = {
            kind: _only_one(inner, kind, {end[n] for end in between})
            for n, kind in ((1, INPUTS), (0, OUTPUTS))
        }
        nodes |= inner
        pairs += between
    for source, target in dict.fromkeys((str(a), str(b)) for a, b in graph.edges):
        a, b = f"{prefix}{source}", f"{prefix}{target}"
        pairs.append(
            (doors[a][OUTPUTS] if a in doors else a, doors[b][INPUTS] if b in doors else b)
        )
    return nodes, pairs


def _only_one(nodes: Mapping[str, Any], kind: str, ends: set[str]) -> str:
    """The name of the one node of a kind; without any, of the one that no edge has at its end."""
    found = [name for name, node in nodes.items() if kind_of(node) == kind and name not in ends]
    inner = [name for name in found if "." not in name] or found
    open_ended = [name for name in nodes if name not in ends]
    names = inner or open_ended
    if len(names) != 1:
        raise ConvertError(
            f"Network must have one {kind.lower()}, not {len(names)}"
            + (f" ({', '.join(names[:3])})" if names else "")
        )
    return names[0]


def _with_door(nodes: dict[str, Any], pairs: list[tuple[str, str]], name: str, at_end: int) -> str:
    """The graph's Input, or Output: the node of that name, or one put at that end of it."""
    import nir

    wanted = (INPUTS, OUTPUTS)[at_end]
    if kind_of(nodes[name]) == wanted:
        return name
    door = wanted.lower()
    while door in nodes:
        door += "_"
    nodes[door] = nir.Output({"output": None}) if at_end else nir.Input({"input": None})  # type: ignore
    pairs.append((name, door) if at_end else (door, name))
    return door


def _ordered(
    nodes: Mapping[str, Any], pairs: Sequence[tuple[str, str]], first: str
) -> tuple[list[str], set[tuple[str, str]]]:
    """Nodes behind the input so that each comes after what it receives; the edges that close
    loops, which are those back to a node that is still being followed from the input."""
    after: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in pairs:
        after[source].append(target)
    done: list[str] = []
    state = {first: "open"}
    loops: set[tuple[str, str]] = set()
    stack: list[tuple[str, Iterator[str]]] = [(first, iter(after[first]))]
    while stack:
        name, rest = stack[-1]
        following = next(rest, None)
        if following is None:
            state[name] = "done"
            done.append(name)
            stack.pop()
        elif state.get(following) == "open":
            loops.add((name, following))
        elif following not in state:
            state[following] = "open"
            stack.append((following, iter(after[following])))
    return done[::-1], loops


def _needed(pairs: Sequence[tuple[str, str]], last: str) -> set[str]:
    """Nodes of which the output comes."""
    before: dict[str, list[str]] = {}
    for source, target in pairs:
        before.setdefault(target, []).append(source)
    found, todo = {last}, [last]
    while todo:
        for source in before.get(todo.pop(), ()):
            if source not in found:
                found.add(source)
                todo.append(source)
    return found


def _require_neurons_in_loops(graph: Graph) -> None:
    """What comes back over a loop must have been spikes one step before, and nothing else."""
    for name, edges in graph.edges.items():
        for edge in edges:
            if not edge.closes_loop:
                continue
            where = f"Network has a loop, {edge.source} -> {name}, that brings"
            for source in _sources_of_spikes(graph, edge.source):
                if source == name and not fires(graph.nodes[name]):
                    raise ConvertError(
                        f"{where} what was never spikes: put neurons that fire into it"
                    )
                if source == graph.input:
                    raise ConvertError(
                        f"{where} the input of the step before: only spikes can come later"
                    )


def _sources_of_spikes(graph: Graph, name: str) -> Iterator[str]:
    """A node and all that it receives from, up to the nodes that fire, each once."""
    seen, todo = {name}, [name]
    while todo:
        here = todo.pop()
        yield here
        for edge in () if fires(graph.nodes[here]) else graph.edges[here]:
            if edge.closes_loop:
                raise ConvertError(
                    f"Network has a loop, {edge.source} -> {here}, within another one: spikes must "
                    "come back one step later"
                )
            if edge.source not in seen:
                seen.add(edge.source)
                todo.append(edge.source)
