"""The network: one file with the specification and the integers. See docs/network-file.md.

It is the only thing that crosses from learning to hardware. A file is an ordinary `.npz` archive
(`numpy.load` opens it) whose `header.json` carries the format version, the specification and a
SHA-256 digest over specification and integers.
"""

import hashlib
import io
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hw.contract.checks import SpecError, SternaError, signed_bits
from hw.contract.edge import INPUT, EdgeSpec, Shape, both_sides
from hw.contract.files import Archive, ArchiveError, ArrayError, write_atomically
from hw.contract.laws import kept
from hw.contract.neuron import MAX_WIDTH, NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec

__all__ = ["FORMAT_VERSION", "BitRates", "Layer", "Network", "NetworkError"]

FORMAT_VERSION = 8
MAGIC = "sterna-network"

CONSTANTS = ("thetas", "reset_steps", "factors")
"""Of neurons, which each channel may have of its own, as a file names them."""

IntArray = npt.NDArray[np.integer[Any]]
Bounds = tuple[int, int, int]


class NetworkError(SternaError, ValueError):
    """A network that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class BitRates:
    """Bits that are set, by layer: each becomes an event of hardware that plays it.

    Parameters
    ----------
    spikes
        Of what is sent, per neuron and step.
    changes
        Of what is sent, less what was sent a step before; per neuron and step.
    sums
        Of all that is sent for an image, together; per neuron.
    """

    spikes: Mapping[str, float]
    changes: Mapping[str, float]
    sums: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer with its integers; every hardware width is derived from them here.

    Parameters
    ----------
    spec
        The layer's specification.
    weights
        (neurons, inputs), |w| <= spec.w_max. Of a layer with edges: (n,), the weights of all edges
        one after the other; see `kernels`. int8 or int16: `_stored`.
    bias
        int32 array (neurons,), added at every time step; (channels,) of a layer with edges.
    edges, kernel_shapes, coefficient_maxima
        Of each edge: its specification, the shape of its weights, the largest `|coefficient|` it
        brings.
    steps
        Time steps.
    source_shapes
        Channels, rows, columns of each edge's source.
    thetas, reset_steps, factors
        int32 arrays (channels,) where each channel has its own threshold, reset step, factor of the
        decay.
    floor
        Bounds (accumulator, drive, bias) that the hardware must hold at least, for weights that
        come later.
    """

    spec: LayerSpec
    weights: npt.NDArray[np.int8] | npt.NDArray[np.int16]
    bias: npt.NDArray[np.int32]
    edges: tuple[EdgeSpec, ...]
    kernel_shapes: tuple[tuple[int, ...], ...]
    coefficient_maxima: tuple[int, ...]
    steps: int
    source_shapes: tuple[Shape, ...] = ()
    floor: Bounds = (0, 0, 0)
    thetas: npt.NDArray[np.int32] | None = None
    reset_steps: npt.NDArray[np.int32] | None = None
    factors: npt.NDArray[np.int32] | None = None

    @classmethod
    def dense(
        cls,
        spec: LayerSpec,
        weights: npt.NDArray[np.integer],
        bias: npt.NDArray[np.integer],
        coefficient_max: int,
        steps: int,
    ) -> "Layer":
        """A layer by itself, with one dense edge.

        Raises
        ------
        NetworkError
            For weights that are no integers of `spec.weight_bits`.
        """
        weights = _integers(f"Weights of layer {spec.name}", weights, weights.shape, spec.w_max)
        return cls(
            spec=spec,
            weights=_stored(spec, weights),
            bias=bias.astype(np.int32),
            edges=(EdgeSpec(source=INPUT),),
            kernel_shapes=(weights.shape,),
            coefficient_maxima=(coefficient_max,),
            steps=steps,
            source_shapes=((weights.shape[1], 1, 1),),
        )

    @cached_property
    def kernels(self) -> tuple[npt.NDArray[np.integer], ...]:
        """The weights of each edge, in its shape (`EdgeSpec.weight_shape`)."""
        return tuple(_split(self.weights.reshape(-1), self.kernel_shapes))

    @cached_property
    def dense_weights(self) -> IntArray:
        """Of a layer with one dense edge: (neurons, inputs), a weight for every value that the
        source sends, before pooling: values that are summed share one; what pooling leaves over
        has 0."""
        (edge,), (kernel,) = self.edges, self.kernels
        if edge.pool == 1:
            return kernel
        channels, rows, columns = self.source_shapes[0]
        _, high, wide = edge.pooled(self.source_shapes[0])
        table = np.zeros((len(kernel), channels, rows, columns), dtype=kernel.dtype)
        pooled = kernel.reshape(len(kernel), channels, high, wide)
        down, across = both_sides(edge.pool)
        spread = pooled.repeat(down, axis=2).repeat(across, axis=3)
        table[:, :, : high * down, : wide * across] = spread
        return table.reshape(len(kernel), -1)

    @cached_property
    def dense_bias(self) -> IntArray:
        """A bias for every neuron, (neurons,)."""
        return self.bias.repeat(self.spec.neurons // len(self.bias))

    @property
    def coefficient_max(self) -> int:
        """Largest `|coefficient|` the layer receives."""
        return max(self.coefficient_maxima)

    @cached_property
    def _channel_bounds(self) -> npt.NDArray[np.int64]:
        """Largest |sum| of each row of weights, as many as there are biases: an edge's weights in
        magnitude, times what each can be multiplied by."""
        total = np.zeros(len(self.bias), dtype=np.int64)
        for edge, kernel, most in zip(
            self.edges, self.kernels, self.coefficient_maxima, strict=True
        ):
            rows = np.abs(kernel.astype(np.int64)).reshape(len(kernel), -1).sum(axis=1)
            if len(rows) > len(total):  # dense weights of maps: the largest of a channel's neurons
                rows = rows.reshape(len(total), -1).max(axis=1)
            total += rows * most * edge.pool_size << edge.shift
        return total

    @cached_property
    def accumulator_bound(self) -> int:
        """max over neurons of sum |w| * coefficient_max, or the floor: bounds partial sums too."""
        return max(int(self._channel_bounds.max()), self.floor[0])

    @cached_property
    def drive_bound(self) -> int:
        """max over neurons of sum |w| * coefficient_max + |bias|, or the floor."""
        sums = self._channel_bounds + np.abs(self.bias.astype(np.int64))
        return max(int(sums.max()), self.floor[1])

    @cached_property
    def bias_bound(self) -> int:
        """max over neurons of |bias|, or the floor."""
        return max(int(np.abs(self.bias.astype(np.int64)).max()), self.floor[2])

    @property
    def bounds(self) -> Bounds:
        """All on which the hardware's widths depend: accumulator, drive, bias."""
        return self.accumulator_bound, self.drive_bound, self.bias_bound

    @property
    def accumulator_bits(self) -> int:
        """Width of the running sum of weights, at least one weight wide."""
        return max(signed_bits(self.accumulator_bound), self.spec.weight_bits)

    @property
    def sum_shift(self) -> int:
        """Of a layer with one edge: the bits by which its sum of weights is shifted, as a whole,
        to be one of the drive."""
        (edge,) = self.edges
        return edge.shift

    @property
    def sum_bits(self) -> int:
        """Width of the running sum of weights of a layer with one edge, before `sum_shift`."""
        bits = signed_bits(self.accumulator_bound >> self.sum_shift)
        return max(bits, self.spec.weight_bits)

    @property
    def drive_bits(self) -> int:
        """Width of the drive I (sum plus bias)."""
        return signed_bits(self.drive_bound)

    @property
    def bias_rows(self) -> int:
        """Weight rows that hold a bias as wide as the drive, a weight's width in each."""
        return -(-self.drive_bits // self.spec.weight_bits)

    @property
    def membrane_bound(self) -> int:
        """Largest |v| before firing: |decay(u)| <= u_max, plus the current."""
        neuron = self.spec.neuron
        assert neuron is not None
        return neuron.u_max + self.current_bound

    @cached_property
    def current_bound(self) -> int:
        """Largest |x| of the synaptic current, after all steps; without one, that of the drive; in
        potential units. (What is kept grows with what there is, so the largest are kept of the
        largest.)"""
        neuron = self.spec.neuron
        assert neuron is not None
        bound, drive = 0, self.drive_bound << neuron.fraction_bits
        for _ in range(self.steps):
            largest = max(abs(int(kept(side, neuron.current_law))) for side in (bound, -bound))
            if largest + drive == bound:
                break
            bound = largest + drive
        return bound

    @property
    def decay_bound(self) -> int:
        """Largest |m u| of a decay by a factor m / 2^k, before it is divided; else |u|; or that of
        the current."""
        neuron = self.spec.neuron
        assert neuron is not None
        most = neuron.decay_factor if self.factors is None else int(self.factors.max())
        current = self.current_bound * max(1, neuron.current_factor)
        return max(neuron.u_max * max(1, most), current * neuron.has_current)

    @property
    def reset_bound(self) -> int:
        """Largest |r| after the reset, before it is saturated."""
        neuron = self.spec.neuron
        assert neuron is not None
        return max(self.membrane_bound, neuron.limit * neuron.step)

    @cached_property
    def _readout_bounds(self) -> tuple[int, int]:
        """Of a readout: the largest |m|, or |sum of drives|, and the largest |logit|. A decay keeps
        the order of potentials, so the largest comes of the largest drive at every step."""
        readout, m, total = self.spec.readout, 0, 0
        fresh = self.drive_bound << (0 if readout is None else readout.fraction_bits)
        if readout is None or fresh >> MAX_WIDTH:  # which is refused; the laws are for 64 bits
            return fresh * self.steps, fresh * self.steps
        for _ in range(self.steps):
            m = max(abs(int(kept(side, readout.decay_law))) for side in (m, -m)) + fresh
            total += m
        return m, total if readout.value == "sum" else m

    @property
    def integrated_bound(self) -> int:
        """Largest |m| of a readout that leaks."""
        return self._readout_bounds[0]

    @property
    def integrated_bits(self) -> int:
        """Width of m."""
        return signed_bits(self.integrated_bound)

    @property
    def logit_bound(self) -> int:
        """Largest |logit|: the drive of every step added up, or what is read of a leak."""
        return self._readout_bounds[1]

    @property
    def logit_bits(self) -> int:
        """Width of a logit."""
        return signed_bits(self.logit_bound)

    def check_widths(self) -> None:
        """Refuse a layer whose exact sums need more bits than the contract admits."""
        bound = max(self._readout_bounds) if self.spec.neuron is None else self.reset_bound
        if signed_bits(bound) > MAX_WIDTH:
            raise NetworkError(
                f"Layer {self.spec.name} must keep its sums within {MAX_WIDTH} bits, "
                f"not {signed_bits(bound)}"
            )


def _integers(
    what: str, array: object, shape: tuple[int, ...], bound: int | None = None
) -> IntArray:
    """`array`, if it holds integers of this shape, within +-`bound`; None: of any size."""
    values = np.asarray(array)
    if values.dtype.kind not in "iu":
        raise NetworkError(f"{what} must be integers, not {values.dtype}")
    if values.shape != shape:
        raise NetworkError(f"{what} must have shape {shape}, not {values.shape}")
    if bound is None or not values.size:
        return values
    if int(values.max()) > bound or int(values.min()) < -bound:
        worst = max(int(values.max()), -int(values.min()))
        raise NetworkError(f"{what} must lie within +-{bound}, not reach {worst}")
    return values


def _stored(layer: LayerSpec, weights: IntArray) -> npt.NDArray[np.int8] | npt.NDArray[np.int16]:
    """The weights of a layer as they are in memory, in a file and in the digest: dense ones of up
    to 8 bits are bytes, as in files from before there was anything else."""
    if layer.edges or layer.weight_bits > 8:
        return np.ascontiguousarray(weights, dtype=np.int16)
    return np.ascontiguousarray(weights, dtype=np.int8)


def _split(flat: IntArray, shapes: Sequence[tuple[int, ...]]) -> list[IntArray]:
    """Arrays that lie one after the other, each in its shape."""
    ends = itertools.accumulate(math.prod(shape) for shape in shapes)
    return [
        flat[end - math.prod(shape) : end].reshape(shape)
        for end, shape in zip(ends, shapes, strict=True)
    ]


Constants = Sequence[npt.NDArray[Any] | None]
"""By layer, an array (channels,), or None."""


def _by_channel(spec: NetworkSpec, what: str, given: Constants, own: Sequence[bool]) -> Constants:
    """Constants of neurons by layer, there where each channel has its own."""
    given = given or (None,) * len(spec.layers)
    if len(given) != len(spec.layers):
        raise NetworkError(
            f"Network must have {len(spec.layers)} {what} arrays (or None), not {len(given)}"
        )
    for layer, values, wanted in zip(spec.layers, given, own, strict=True):
        if wanted != (values is not None):
            each = f"a {what} for each channel" if wanted else f"one {what} for all channels"
            raise NetworkError(f"Layer {layer.name} must have {each}")
    return given


def _positive_by_channel(
    spec: NetworkSpec,
    what: str,
    given: Constants,
    own: Sequence[bool],
    largest: Callable[[NeuronSpec], int],
) -> tuple[npt.NDArray[np.int32] | None, ...]:
    """Constants of which the largest is the neuron's."""
    checked: list[npt.NDArray[np.int32] | None] = []
    for layer, array in zip(spec.layers, _by_channel(spec, what, given, own), strict=True):
        if array is None:
            checked.append(None)
            continue
        assert layer.neuron is not None
        title, most = f"{what.capitalize()}s of layer {layer.name}", largest(layer.neuron)
        values = _integers(title, array, (layer.map_shape[0],), most)
        if int(values.min()) < 1 or int(values.max()) != most:
            raise NetworkError(
                f"{title} must be positive, the largest of them {most}, not "
                f"{int(values.min())}..{int(values.max())}"
            )
        checked.append(np.ascontiguousarray(values, dtype=np.int32))
    return tuple(checked)


@dataclass(frozen=True, eq=False)
class Network:
    """A checked network: specification, integers, and free-form `meta` (not part of the digest).

    `weights` has one array per layer (`Layer.weights`); for a layer with edges, an array per
    edge may be given. `thetas` has the thresholds of layers with `channel_thresholds`, else None;
    `reset_steps` their steps under soft reset; `factors` those of layers with `channel_decays`.

    `floors` widen the hardware (`Layer.floor`, per layer); they are not part of a file or of
    the digest.

    Raises
    ------
    NetworkError
        When the arrays do not fit the specification.
    """

    spec: NetworkSpec
    weights: tuple[Any, ...]
    biases: tuple[npt.NDArray[Any], ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    floors: tuple[Bounds, ...] = ()
    thetas: tuple[npt.NDArray[Any] | None, ...] = ()
    reset_steps: tuple[npt.NDArray[Any] | None, ...] = ()
    factors: tuple[npt.NDArray[Any] | None, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.spec.layers)
        for what, arrays in (("weight", self.weights), ("bias", self.biases)):
            if len(arrays) != count:
                raise NetworkError(f"Network must have {count} {what} arrays, not {len(arrays)}")
        checked_weights, checked_biases = [], []
        for layer, w, b in zip(self.spec.layers, self.weights, self.biases, strict=True):
            if layer.edges:
                w = self._checked_kernels(len(checked_weights), w)
            else:
                shape = (layer.neurons, layer.inputs)
                w = _integers(f"Weights of layer {layer.name}", w, shape, layer.w_max)
            channels = (layer.map_shape[0],)
            b = _integers(f"Bias of layer {layer.name}", b, channels, 2 ** (MAX_WIDTH - 2))
            checked_weights.append(_stored(layer, w))
            checked_biases.append(np.ascontiguousarray(b, dtype=np.int32))
        object.__setattr__(self, "thetas", self._checked_thetas())
        object.__setattr__(self, "reset_steps", self._checked_steps())
        object.__setattr__(self, "factors", self._checked_factors())
        object.__setattr__(self, "weights", tuple(checked_weights))
        object.__setattr__(self, "biases", tuple(checked_biases))
        for layer in self.layers:
            layer.check_widths()

    def _checked_kernels(self, n: int, weights: object) -> IntArray:
        """The weights of a layer with edges: one array, or one per edge in its shape."""
        layer, shapes = self.spec.layers[n], self.spec.weight_shapes(n)
        total = sum(math.prod(shape) for shape in shapes)
        if isinstance(weights, (tuple, list)):
            if len(weights) != len(shapes):
                raise NetworkError(
                    f"Layer {layer.name} must have weights for {len(shapes)} edges, not "
                    f"{len(weights)}"
                )
            parts = list(weights)
        else:
            flat = _integers(f"Weights of layer {layer.name}", weights, (total,))
            parts = _split(flat, shapes)
        for k, (edge, shape) in enumerate(zip(layer.edges, shapes, strict=True)):
            what = f"Weights of layer {layer.name}, edge from {edge.source}"
            parts[k] = _integers(what, parts[k], shape, layer.largest(edge))
        return np.concatenate([np.asarray(part).reshape(-1) for part in parts])

    def _checked_thetas(self) -> tuple[npt.NDArray[np.int32] | None, ...]:
        """Thresholds by channel, None for layers that have one for all."""
        own = [layer.channel_thresholds for layer in self.spec.layers]
        return _positive_by_channel(
            self.spec, "threshold", self.thetas, own, lambda neuron: neuron.theta
        )

    def _checked_steps(self) -> tuple[npt.NDArray[np.int32] | None, ...]:
        """Reset steps by channel, None for layers that have one for all, or none."""
        own = [layer.channel_resets for layer in self.spec.layers]
        return _positive_by_channel(
            self.spec, "reset step", self.reset_steps, own, lambda neuron: neuron.step
        )

    def _checked_factors(self) -> tuple[npt.NDArray[np.int32] | None, ...]:
        """Decay factors by channel, None for layers that have one for all, or none."""
        own = [layer.channel_decays for layer in self.spec.layers]
        checked: list[npt.NDArray[np.int32] | None] = []
        given = _by_channel(self.spec, "decay factor", self.factors, own)
        for layer, factors in zip(self.spec.layers, given, strict=True):
            if factors is None:
                checked.append(None)
                continue
            assert layer.neuron is not None
            what, most = f"Decay factors of layer {layer.name}", 2**layer.neuron.decay_shift
            values = _integers(what, factors, (layer.map_shape[0],), most)
            if int(values.min()) < 0:
                raise NetworkError(f"{what} must lie in 0..{most}, not reach {int(values.min())}")
            checked.append(np.ascontiguousarray(values, dtype=np.int32))
        return tuple(checked)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers with their derived widths."""
        floors = self.floors or ((0, 0, 0),) * len(self.spec.layers)
        return tuple(
            Layer(
                spec=layer,
                weights=self.weights[n],
                bias=self.biases[n],
                edges=self.spec.edges(n),
                kernel_shapes=tuple(self.spec.weight_shapes(n)),
                coefficient_maxima=tuple(
                    self.spec.source_max(edge.source) for edge in self.spec.edges(n)
                ),
                steps=self.spec.steps,
                source_shapes=tuple(self.spec.shape_of(edge.source) for edge in self.spec.edges(n)),
                floor=floors[n],
                thetas=self.thetas[n],
                reset_steps=self.reset_steps[n],
                factors=self.factors[n],
            )
            for n, layer in enumerate(self.spec.layers)
        )

    @cached_property
    def densities(self) -> dict[str, float]:
        """Share of a coefficient's bits that are set, at an average step, of `input` and of each
        layer that fires: as `sterna export` counted on test images (`meta`); where it has not, one
        half."""
        spec, meta = self.spec, self.meta
        firing = self.firing
        events, rates = meta.get("input_events"), meta.get("spike_rates")
        found: dict[str, Any] = {}
        if isinstance(events, int | float):
            found[INPUT] = events / (spec.image_size * spec.input_bits)
        if isinstance(rates, list) and len(rates) == len(firing):
            found |= dict(zip(firing, rates, strict=True))

        def share(value: Any) -> float:  # `meta` is free: what has another form says nothing
            return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else 0.5

        return {name: share(found.get(name)) for name in (INPUT, *firing)}

    @property
    def firing(self) -> list[str]:
        """Names of the layers that fire."""
        return [layer.name for layer in self.spec.layers if layer.neuron is not None]

    @cached_property
    def activity(self) -> "BitRates | None":
        """What `sterna export` counted on test images (`meta`); None where it has not."""
        firing = self.firing
        found = {}
        for what in ("spike", "change", "sum"):
            rates = self.meta.get(f"{what}_bits")
            if not isinstance(rates, list) or len(rates) != len(firing):
                return None
            if not all(isinstance(r, int | float) and 0 <= r < math.inf for r in rates):
                return None
            found[f"{what}s"] = dict(zip(firing, rates, strict=True))
        return BitRates(**found)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over specification and integers, independent of how they are stored."""
        sha = hashlib.sha256()
        sha.update(json.dumps(self.spec.to_dict(), sort_keys=True).encode())
        for w, b, *constants in zip(
            self.weights, self.biases, self.thetas, self.reset_steps, self.factors, strict=True
        ):
            sha.update(w.astype("<i1" if w.dtype == np.int8 else "<i2").tobytes())
            sha.update(b.astype("<i4").tobytes())
            for values in constants:
                if values is not None:
                    sha.update(values.astype("<i4").tobytes())
        return sha.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the network file atomically: it is there whole or not at all."""
        path = Path(path)
        header = {
            "format": MAGIC,
            "version": FORMAT_VERSION,
            "digest": self.digest,
            "spec": self.spec.to_dict(),
            "meta": dict(self.meta),
        }
        text = json.dumps(header, indent=1, sort_keys=True).encode()
        arrays: dict[str, Any] = {"header.json": np.frombuffer(text, dtype=np.uint8)}
        for n, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays[f"weights{n}"] = w
            arrays[f"bias{n}"] = b
        for name in CONSTANTS:
            for n, values in enumerate(getattr(self, name)):
                if values is not None:
                    arrays[f"{name}{n}"] = values
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomically(path, buffer.getvalue())
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read and check a network file.

        Raises
        ------
        NetworkError
            One sentence for a file that is missing, truncated, corrupted, of a newer version or
            inconsistent with its own digest.
        """
        path = Path(path)
        try:
            return cls._from_archive(path, Archive(path))
        except FileNotFoundError:
            raise NetworkError(f"Network file {path} does not exist") from None
        except (IsADirectoryError, PermissionError):
            raise NetworkError(f"Network file {path} is not a readable file") from None
        except ArrayError as error:
            raise NetworkError(f"Network file {path} {error}") from None
        except (OSError, ArchiveError):
            raise NetworkError(f"Network file {path} is truncated or not a network") from None

    @classmethod
    def _from_archive(cls, path: Path, archive: Archive) -> Self:
        try:
            header = archive.header()
            magic, version = header["format"], header["version"]
            digest, spec_data, meta = header["digest"], header["spec"], header["meta"]
            if magic != MAGIC or type(version) is not int or version < 1:
                raise ValueError
            if not isinstance(meta, dict):
                raise ValueError
        except (KeyError, ValueError, TypeError, RecursionError):
            raise NetworkError(f"Network file {path} has no valid header") from None
        if version > FORMAT_VERSION:
            raise NetworkError(
                f"Network file {path} has format version {version}, and this Sterna reads up to "
                f"{FORMAT_VERSION}: use a newer Sterna"
            )
        try:
            spec = NetworkSpec.from_dict(spec_data)
            arrays = archive.integers(_array_shapes(spec))
            numbers = range(len(spec.layers))
            weights = tuple(arrays[f"weights{n}"] for n in numbers)
            biases = tuple(arrays[f"bias{n}"] for n in numbers)
            constants: dict[str, Any] = {
                name: tuple(arrays.get(f"{name}{n}") for n in numbers) for name in CONSTANTS
            }
            network = cls(spec, weights, biases, meta, **constants)
        except (SpecError, NetworkError) as error:
            raise NetworkError(f"Network file {path} is inconsistent: {error}") from None
        if network.digest != digest:
            raise NetworkError(f"Network file {path} is corrupted: its digest does not match")
        return network


def _array_shapes(spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays in a network's file."""
    shapes = {}
    for n, layer in enumerate(spec.layers):
        channels, kernels = (layer.map_shape[0],), spec.weight_shapes(n)
        total = sum(math.prod(kernel) for kernel in kernels)
        shapes[f"weights{n}"] = (total,) if layer.edges else (layer.neurons, layer.inputs)
        shapes[f"bias{n}"] = channels
        if layer.channel_thresholds:
            shapes[f"thetas{n}"] = channels
        if layer.channel_resets:
            shapes[f"reset_steps{n}"] = channels
        if layer.channel_decays:
            shapes[f"factors{n}"] = channels
    return shapes
