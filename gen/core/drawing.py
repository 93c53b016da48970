"""A network's graph, for people: as text, and as an SVG picture."""

from collections.abc import Sequence
from html import escape

from gen.core.describe import constants_text, neuron_text, readout_text
from hw.contract.edge import INPUT, EdgeSpec, Shape, both_sides, sides_text
from hw.contract.spec import NetworkSpec

__all__ = ["edge_text", "graph_svg", "graph_text", "shape_text"]


def shape_text(shape: Shape) -> str:
    """`16x14x14`, or `128` of a plain row."""
    return str(shape[0]) if shape[1:] == (1, 1) else "x".join(map(str, shape))


def edge_text(edge: EdgeSpec) -> str:
    """What an edge does, in words."""
    words = []
    if edge.pool != 1:
        words.append(f"pool {sides_text(both_sides(edge.pool))}")
    if edge.kind == "conv":
        words.append(f"conv {sides_text(both_sides(edge.kernel))}")
        words += [f"stride {sides_text(edge.stride)}"] * (edge.stride != 1)
        words += [f"padding {sides_text(edge.padding)}"] * (edge.padding != 0)
        words += [f"{edge.groups} groups"] * (edge.groups > 1)
    else:
        words.append(edge.kind)
    if edge.delay:
        words.append("a step later")
    return ", ".join(words)


def graph_text(spec: NetworkSpec) -> str:
    """A line per layer, and one below it per edge."""
    lines = [f"{INPUT}: {shape_text(spec.shape_of(INPUT))}, {spec.input_bits} bits"]
    for n, layer in enumerate(spec.layers):
        kind = neuron_text(layer.neuron) if layer.neuron else readout_text(layer.readout)
        lines.append(
            f"{layer.name}: {shape_text(layer.map_shape)}, {layer.weight_bits}-bit weights, "
            f"{kind}{constants_text(layer)}"
        )
        lines += [f"    from {edge.source}: {edge_text(edge)}" for edge in spec.edges(n)]
    return "\n".join(lines)


WIDTH, HEIGHT, GAP, MARGIN = 230, 38, 46, 24
LANE = 26
"""Pixels: a box, the space between two, the rim; between curves at the side."""


def graph_svg(spec: NetworkSpec) -> str:
    """Layers from top to bottom; edges from the box above go straight, others pass on the right,
    those with a delay, dashed, on the left."""
    names = [INPUT, *(layer.name for layer in spec.layers)]
    shapes = {name: spec.shape_of(name) for name in names}
    left = sum(edge.delay for n in range(len(spec.layers)) for edge in spec.edges(n))
    right = sum(
        not edge.delay and names.index(edge.source) != n
        for n in range(len(spec.layers))
        for edge in spec.edges(n)
    )
    x0 = MARGIN + LANE * left + 140 * bool(left)
    total = x0 + WIDTH + LANE * right + 160 * bool(right) + MARGIN
    height = 2 * MARGIN + len(names) * HEIGHT + (len(names) - 1) * GAP
    tops = {name: MARGIN + k * (HEIGHT + GAP) for k, name in enumerate(names)}
    body = [_box(x0, tops[name], name, shape_text(shapes[name])) for name in names]
    body += _edges(spec, names, tops, x0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height}" '
        f'font-family="sans-serif" font-size="12">\n'
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>\n'
        f'<rect width="{total}" height="{height}" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _box(x: int, y: int, name: str, shape: str) -> str:
    middle = x + WIDTH // 2
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="#eef3f8" '
        f'stroke="#345"/><text x="{middle}" y="{y + 16}" text-anchor="middle" '
        f'font-weight="bold">{escape(name)}</text><text x="{middle}" y="{y + 31}" '
        f'text-anchor="middle">{escape(shape)}</text>'
    )


def _edges(spec: NetworkSpec, names: Sequence[str], tops: dict[str, int], x0: int) -> list[str]:
    body, lanes = [], {0: 0, 1: 0}
    for n, layer in enumerate(spec.layers):
        for edge in spec.edges(n):
            start, end, told = tops[edge.source], tops[layer.name], escape(edge_text(edge))
            if not edge.delay and names.index(edge.source) == n:
                x = x0 + WIDTH // 2
                body.append(_path(f"M{x} {start + HEIGHT} V{end}", False))
                body.append(f'<text x="{x + 8}" y="{end - GAP // 2 + 4}">{told}</text>')
                continue
            lanes[edge.delay] += 1
            away = LANE * lanes[edge.delay]
            x, side, anchor = (x0 + WIDTH, 1, "start") if not edge.delay else (x0, -1, "end")
            y, z = start + HEIGHT // 2 + 6, end + HEIGHT // 2 - 6
            bend = x + side * away
            body.append(_path(f"M{x} {y} H{bend} V{z} H{x}", bool(edge.delay)))
            body.append(
                f'<text x="{bend + side * 5}" y="{(y + z) // 2}" text-anchor="{anchor}">{told}'
                "</text>"
            )
    return body


def _path(way: str, dashed: bool) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="{way}" fill="none" stroke="#345"{dash} marker-end="url(#end)"/>'
