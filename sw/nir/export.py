"""`sterna export-nir`: a network as a NIR file, as far as NIR can say it."""

import io
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from hw.contract.edge import INPUT, EdgeSpec, Shape, both_sides, sides_text
from hw.contract.files import write_atomically
from hw.contract.network import Layer, Network
from hw.contract.neuron import Decay, NeuronSpec, ReadoutSpec
from sw.importers.affine import ConvertError

__all__ = ["export_nir", "nir_graph", "notes_of"]

Reals = npt.NDArray[Any]


def _nir() -> Any:
    """The package, without its types, which say more than it asks for."""
    import nir

    return nir


def export_nir(network: Network, path: Path, dt: float) -> tuple[str, ...]:
    """Write a network as a NIR file; returns what must be said about it.

    Parameters
    ----------
    dt
        Time step in seconds, for the time constants.

    Raises
    ------
    ConvertError
        One sentence that names the layer and the field that NIR does not have.
    """
    nir = _nir()
    made, buffer = nir_graph(network, dt), io.BytesIO()
    nir.write(buffer, made)
    write_atomically(path, buffer.getvalue())
    return notes_of(network)


def notes_of(network: Network) -> tuple[str, ...]:
    """What the file does not say."""
    spec = network.spec
    neurons = [layer.neuron for layer in spec.layers if layer.neuron is not None]
    leak = spec.layers[-1].readout
    read = {"last": "those of the last step count", "max": "the largest of each counts"}
    told = read.get("sum" if leak is None else leak.value, "outputs are to be added up")
    notes = [f"inputs are pixels / {spec.pixel_max}, 0 to 1, for {spec.steps} steps; {told}"]
    if leak is not None or any(n.decay != "none" or n.has_current for n in neurons):
        notes.append("NIR decays in reals, the network rounds: near a threshold spikes may differ")
    if any(n.can_saturate for n in neurons):
        notes.append("NIR's potentials have no limit, the network's saturate")
    return tuple(notes)


def nir_graph(network: Network, dt: float) -> Any:
    """The `nir.NIRGraph` of a network: a node for each edge's weights, and one for each layer of
    neurons under its own name.

    Raises
    ------
    ConvertError
        As of `export_nir`.
    """
    nir = _nir()
    if not 0 < dt < math.inf:
        raise ConvertError(f"Time step must be a positive number of seconds, not {dt!r}")
    spec = network.spec
    _require_sayable(network)
    shapes = {INPUT: _plain(spec.shape_of(INPUT), spec.input_shape is None)}
    for n, layer in enumerate(network.layers):
        shapes[layer.spec.name] = _shape_of_layer(layer, spec.edges(n), shapes)
    nodes: dict[str, Any] = {"input": nir.Input(np.array(shapes[INPUT]))}
    edges: list[tuple[str, str]] = []
    taken = {"output", *(layer.spec.name for layer in network.layers)}
    for n, layer in enumerate(network.layers):
        name, neuron = layer.spec.name, layer.spec.neuron
        leak = layer.spec.readout
        into = "output" if neuron is None and leak is None else name
        for k, (edge, kernel) in enumerate(zip(spec.edges(n), layer.kernels, strict=True)):
            unit = float(2**edge.shift) * (spec.pixel_max if edge.source == INPUT else 1)
            bias = layer.bias.astype(float) * (k == 0)
            at = edge.source  # INPUT is the node's name, too
            for node in _edge_nodes(edge, kernel * unit, bias, shapes[edge.source]):
                title = f"{name}_of_{edge.source}"
                while title in nodes or title in taken:
                    title += "_"
                nodes[title] = node
                edges.append((at, title))
                at = title
            edges.append((at, into))
        if neuron is not None:
            nodes[name] = _neurons(layer, neuron, shapes[name], dt)
        if leak is not None:
            nodes[name] = _integrator(leak, shapes[name], dt)
            edges.append((name, "output"))
    nodes["output"] = nir.Output(np.array([spec.classes]))
    about = {"network": spec.name, "digest": network.digest, "steps": spec.steps}
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=about, type_check=False)


def _require_sayable(network: Network) -> None:
    """Refuse what NIR has no word for."""
    for layer in network.spec.layers:
        n = layer.neuron
        if layer.readout is not None:
            if layer.readout.decay == "none":
                raise ConvertError(
                    f"Readout {layer.name} must leak to be said in NIR, or be read at the last step"
                )
            if layer.name in ("input", "output"):
                raise ConvertError(f"Layer {layer.name} must have another name: it is NIR's own")
        if n is None:
            continue
        if layer.name in ("input", "output"):
            raise ConvertError(f"Layer {layer.name} must have another name: it is NIR's own")
        for field, value, needed, why in (
            ("negative", n.negative, "off", "NIR has no negative spikes"),
            ("limit", n.limit, 1, "NIR has no counted spikes"),
            ("reset", n.reset, "hard", "NIR resets to a value, it subtracts nothing"),
            ("u0", n.u0, 0, "NIR's potentials begin at 0"),
        ):
            if value != needed:
                raise ConvertError(
                    f"Layer {layer.name} must have {field} = {needed!r} to be said in NIR, not "
                    f"{value!r}: {why}"
                )
        if n.has_current and "none" in (n.decay, n.current):
            raise ConvertError(
                f"Layer {layer.name} must have potentials and synaptic currents that decay to be "
                "said in NIR: a CubaLIF has a time constant for each"
            )


def _plain(shape: Shape, is_row: bool) -> tuple[int, ...]:
    return (math.prod(shape),) if is_row else shape


def _shape_of_layer(
    layer: Layer, edges: tuple[EdgeSpec, ...], shapes: dict[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """A row of neurons, or maps: of which all edges must make the same."""
    rows = {
        edge.kind == "dense" or (edge.kind == "identity" and len(shapes[edge.source]) == 1)
        for edge in edges
        if edge.source in shapes  # of what comes back, it is not known yet
    }
    maps = layer.spec.map_shape
    if len(rows) > 1 or (rows == {True} and maps[1:] != (1, 1)):
        raise ConvertError(
            f"Layer {layer.spec.name} must get maps, or a row, over all its edges to be said in "
            f"NIR, not {sides_text(maps)} of a dense edge: NIR makes no maps of a row"
        )
    return _plain(maps, rows != {False})


def _edge_nodes(edge: EdgeSpec, kernel: Reals, bias: Reals, source: tuple[int, ...]) -> list[Any]:
    """What an edge does, node by node."""
    nir = _nir()
    made: list[Any] = []
    if edge.pool != 1:
        sides = np.array(both_sides(edge.pool))
        made.append(nir.SumPool2d(kernel_size=sides, stride=sides, padding=np.array([0, 0])))
        source = edge.pooled(cast(Shape, source))
    if len(source) == 1 or edge.kind == "dense":
        if len(source) > 1:
            made.append(nir.Flatten(input_type=np.array(source), start_dim=0, end_dim=-1))
        matrix = kernel if edge.kind == "dense" else np.eye(math.prod(source)) * kernel
        return [*made, nir.Affine(weight=matrix, bias=bias)]
    groups = edge.groups
    if edge.kind == "identity":
        kernel, groups = np.full((source[0], 1, 1, 1), float(kernel[0])), source[0]
    conv = nir.Conv2d(
        input_shape=source[1:],
        weight=kernel,
        stride=edge.stride,
        padding=edge.padding,
        dilation=1,
        groups=groups,
        bias=bias,
    )
    return [*made, conv]


def _spread(values: Reals, shape: tuple[int, ...]) -> Reals:
    """Numbers of each channel, or one, as numbers of each neuron."""
    return np.broadcast_to(values.reshape(-1, *(1,) * (len(shape) - 1)), shape).copy()


def _neurons(layer: Layer, n: NeuronSpec, shape: tuple[int, ...], dt: float) -> Any:
    """Thresholds lie half a unit below the integer that fires: so potentials fire alike above a
    threshold and at it."""
    nir = _nir()
    thetas = np.full(shape[0], n.theta) if layer.thetas is None else layer.thetas
    thetas = (thetas - 0.5) / 2.0**n.fraction_bits
    theta, one = _spread(thetas, shape), np.ones(shape)
    if n.decay == "none":
        return nir.IF(r=one, v_threshold=theta, v_reset=one * 0)
    part = 2.0**-n.decay_shift
    if layer.factors is None:
        kept = np.full(shape, _kept(n.decay_law))
    elif layer.factors.max() * part < 1:
        kept = _spread(layer.factors * part, shape)
    else:
        raise ConvertError(
            f"Layer {layer.spec.name} must have no channel that keeps all of a potential, beside "
            "others that do not, to be said in NIR: no time constant is so long"
        )
    tau = dt / (1 - kept)
    fields = {"r": one * tau / dt, "v_leak": one * 0, "v_threshold": theta, "v_reset": one * 0}
    if not n.has_current:
        return nir.LIF(tau=one * tau, **fields)
    tau_syn = dt / (1 - _kept(n.current_law))
    return nir.CubaLIF(tau_mem=one * tau, tau_syn=one * tau_syn, w_in=one * tau_syn / dt, **fields)


def _integrator(leak: ReadoutSpec, shape: tuple[int, ...], dt: float) -> Any:
    """A readout that leaks: its input counts once."""
    one, tau = np.ones(shape), dt / (1 - _kept(leak.decay_law))
    return _nir().LI(tau=one * tau, r=one * tau / dt, v_leak=one * 0)


def _kept(law: Decay) -> float:
    """The part that a law keeps, but for its rounding."""
    part = 2.0**-law.shift
    return {"shift": part, "leak": 1 - part, "factor": law.factor * part}[law.kind]
