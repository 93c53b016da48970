"""From a network image to the program of a shared core."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gen.memory_map import MemoryMap, Region, allocate
from gen.plan import PlanError
from hw.image import NetworkImage
from hw.program import Operation, Program, Reach, Scan, Send, Sweep
from hw.spec import INPUT, EdgeSpec, NetworkSpec, NeuronSpec, Shape, signed_bits

__all__ = ["MapLayout", "SharedPlan", "map_layout", "plan_shared", "segments"]

Int = npt.NDArray[np.int64]
SHARED_LANES = 16
LANES = (2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class MapLayout:
    """How the coefficients of a source lie in words.

    Parameters
    ----------
    shape
        Channels, rows, columns.
    lanes
        Coefficients per word.
    positions
        Positions in a word: 1, or more of an image of few channels.
    """

    shape: Shape
    lanes: int
    positions: int = 1

    @property
    def groups(self) -> int:
        """Groups of channels."""
        return -(-self.shape[0] // self.lanes)

    @property
    def channels(self) -> int:
        """Channels in a word."""
        return min(self.shape[0], self.lanes)

    @property
    def channel_bits(self) -> int:
        """log2 of the lanes between one position and the next."""
        return (self.lanes // self.positions - 1).bit_length()

    @property
    def columns(self) -> int:
        """Words in a row."""
        return -(-self.shape[2] // self.positions)

    @property
    def words(self) -> int:
        """Words in all."""
        return self.groups * self.shape[1] * self.columns

    def places(self) -> tuple[Int, Int]:
        """Word and lane of each value, in the order of the flattened map."""
        c, y, x = np.indices(self.shape).reshape(3, -1)
        word = ((c // self.lanes) * self.shape[1] + y) * self.columns + x // self.positions
        lane = (x % self.positions) * (self.lanes // self.positions) + c % self.lanes
        return word.astype(np.int64), lane.astype(np.int64)

    def pack(self, values: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Values (n, size) as (n, words, lanes)."""
        words, lanes = self.places()
        packed = np.zeros((len(values), self.words, self.lanes), dtype=values.dtype)
        packed[:, words, lanes] = values
        return packed

    def unpack(self, packed: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Inverse of `pack`."""
        words, lanes = self.places()
        return packed[:, words, lanes]


def map_layout(spec: NetworkSpec, source: str, lanes: int) -> MapLayout:
    """The layout of a layer's spikes, or of the image: several positions of it go into a word, if
    there are lanes enough and no identity edge wants each channel in its own."""
    shape = spec.shape_of(source)
    identical = any(
        edge.kind == "identity" and edge.source == INPUT
        for n in range(len(spec.layers))
        for edge in spec.edges(n)
    )
    if source != INPUT or identical:
        return MapLayout(shape, lanes)
    return MapLayout(shape, lanes, max(1, lanes >> (shape[0] - 1).bit_length()))


def segments(spec: NetworkSpec) -> list[range]:
    """Layers that must take their steps together, because spikes go back from a later one; all
    others pass all their steps by themselves."""
    place = {layer.name: n for n, layer in enumerate(spec.layers)}
    ends = list(range(len(spec.layers)))
    for n in range(len(spec.layers)):
        for edge in spec.edges(n):
            if edge.source != INPUT and edge.delay:
                ends[n] = max(ends[n], place[edge.source])
    found, start = [], 0
    while start < len(ends):
        end = start
        k = start
        while k <= end:
            end = max(end, ends[k])
            k += 1
        found.append(range(start, end + 1))
        start = end + 1
    return found


@dataclass(frozen=True, eq=False)
class SharedPlan:
    """A network image, and the shared core that runs it."""

    image: NetworkImage
    lanes: int
    program: Program
    memory: MemoryMap
    banks = 1

    @cached_property
    def input_layout(self) -> MapLayout:
        """How an image comes in."""
        return map_layout(self.image.spec, INPUT, self.lanes)

    def pack_words(self, pixels: npt.NDArray[np.integer]) -> list[int]:
        """The words of the input stream for images (n, image_size), in order."""
        images = pixels.astype(np.uint8).reshape(-1, self.image.spec.input_size)
        packed = self.input_layout.pack(images)
        bits = self.image.spec.input_bits
        planes = np.unpackbits(packed[..., None], axis=-1, bitorder="little")[..., :bits]
        rows = np.packbits(
            planes.reshape(-1, self.lanes * bits), axis=-1, bitorder="little"
        )
        return [int.from_bytes(row.tobytes(), "little") for row in rows]


def plan_shared(image: NetworkImage, lanes: int = SHARED_LANES) -> SharedPlan:
    """Write the program of a network.

    Raises
    ------
    PlanError
        When lanes is not a power of two from 2 to 128, or a layer has neurons that the shared core
        does not have.
    """
    if lanes not in LANES:
        raise PlanError(f"Lanes of a shared core must be one of {LANES}, not {lanes!r}")
    for layer in image.spec.layers:
        if layer.neuron is not None and (layer.neuron.limit > 1 or layer.neuron.guarded):
            raise PlanError(
                f"Layer {layer.name} has augmented or guarded spikes, which the shared core does "
                "not have"
            )
    return _Planner(image, lanes).plan()


class _Planner:
    """Collects tables, weights, operations."""

    def __init__(self, image: NetworkImage, lanes: int) -> None:
        self.image, self.spec, self.lanes = image, image.spec, lanes
        self.layouts = {
            name: map_layout(self.spec, name, lanes)
            for name in (INPUT, *(layer.name for layer in self.spec.layers))
        }
        self.tables: dict[str, list[Reach]] = {"rows": [], "columns": []}
        self.known: dict[tuple[str, tuple[Reach, ...]], int] = {}
        self.weights: list[Int] = []
        self.weight_rows = 0
        self.operations: list[Operation] = []
        neurons = [layer.neuron for layer in self.spec.layers]
        self.decays = sorted({self._decay(neuron) for neuron in neurons})
        self.channel_rows = np.cumsum(
            [0, *(self.layouts[layer.name].groups for layer in self.spec.layers)]
        ).tolist()
        self.bits = max(
            signed_bits(layer.logit_bound if layer.spec.neuron is None else layer.reset_bound)
            for layer in image.layers
        )

    @staticmethod
    def _decay(neuron: NeuronSpec | None) -> tuple[str, int]:
        return ("none", 0) if neuron is None else (neuron.decay, neuron.decay_shift)

    def plan(self) -> SharedPlan:
        parts = segments(self.spec)
        memory = self._memory(parts)
        edges = [
            [self._edge(n, k) for k in range(len(layer.edges))]
            for n, layer in enumerate(self.image.layers)
        ]
        for part in parts:
            for n in part:
                self._begin(n, edges[n], memory)
            for step in range(self.spec.steps):
                for n in part:
                    self._step(n, step, edges[n], memory)
        last = self.spec.layers[-1]
        self.operations.append(
            Send(
                potential=memory.potential(last.name),
                last_word=self.layouts[last.name].words - 1,
                name=last.name,
            )
        )
        self._release()
        return SharedPlan(self.image, self.lanes, self._program(memory), memory)

    def _memory(self, parts: Sequence[range]) -> MemoryMap:
        """Potentials live while their segment is worked on, spikes until the last that reads
        them."""
        names = [layer.name for layer in self.spec.layers]
        where = {names[n]: k for k, part in enumerate(parts) for n in part}
        potentials, spikes = [], []
        for n, name in enumerate(names):
            words, here = self.layouts[name].words, where[name]
            potentials.append(Region(name, words, here, here))
            if self._has_drive(n):
                potentials.append(Region(f"{name} (drive)", words, here, here))
            readers = [
                where[names[k]]
                for k in range(len(names))
                for edge in self.spec.edges(k)
                if edge.source == name
            ]
            if self.spec.layers[n].neuron is not None:
                spikes.append(
                    Region(name, words * self.spec.steps, here, max([here, *readers]))
                )
        return allocate(potentials, spikes)

    def _has_drive(self, n: int) -> bool:
        """Whether a layer has a drive that is the same at every step."""
        from_input = any(edge.source == INPUT for edge in self.spec.edges(n))
        return from_input and not self.spec.timed_input

    def _edge(self, n: int, k: int) -> Scan:
        """What all scans of an edge have in common; its tables and weights are laid down."""
        layer = self.image.layers[n]
        edge, kernel = layer.edges[k], layer.kernels[k].astype(np.int64)
        source, target = self.layouts[edge.source], self.layouts[layer.spec.name]
        neuron, common = layer.spec.neuron, {}
        if edge.kind == "identity":
            rows, columns = _identity_reach(edge, source, target)
            common = {"identity": 1, "constant": int(kernel[0])}
        else:
            make = _dense_edge if edge.kind == "dense" else _conv_edge
            rows, columns, weights, common = make(edge, source, target, kernel)
            common["weight"] = self.weight_rows
            self.weights.append(weights)
            self.weight_rows += len(weights)
        bits = self.spec.input_bits if edge.source == INPUT else 1
        return Scan(
            name=layer.spec.name,
            source=edge.source,
            from_input=int(edge.source == INPUT),
            last_row=source.groups * source.shape[1] - 1,
            last_column=source.columns - 1,
            last_plane=bits - 1,
            channel_bits=source.channel_bits,
            position_bits=(source.positions - 1).bit_length(),
            row_table=self._table("rows", rows),
            column_table=self._table("columns", columns),
            shift=0 if neuron is None else neuron.fraction_bits,
            **common,
        )

    def _table(self, axis: str, reaches: Sequence[Reach]) -> int:
        """Where these rows of a table lie; equal ones lie there once."""
        key = axis, tuple(reaches)
        if key not in self.known:
            self.known[key] = len(self.tables[axis])
            self.tables[axis] += reaches
        return self.known[key]

    def _begin(self, n: int, edges: Sequence[Scan], memory: MemoryMap) -> None:
        """The drive of the input, once; the potentials of the first step."""
        name = self.spec.layers[n].name
        if self._has_drive(n):
            drive = memory.potential(f"{name} (drive)")
            self.operations.append(self._sweep(n, memory, potential=drive, first=1))
            self.operations += [
                _at(scan, potential=drive) for scan in edges if scan.from_input
            ]
        self.operations.append(self._prepare(n, memory, first=1, start=self._start(n)))

    def _step(self, n: int, step: int, edges: Sequence[Scan], memory: MemoryMap) -> None:
        """What arrives in a step; then the neurons, and the potentials of the next step."""
        layer = self.image.layers[n]
        for edge, scan in zip(layer.edges, edges, strict=True):
            when = step - edge.delay
            fresh = edge.source != INPUT or self.spec.timed_input
            if fresh and when >= 0:
                start = 0 if edge.source == INPUT else memory.spike(edge.source)
                address = start + when * self.layouts[edge.source].words
                self.operations.append(
                    _at(
                        scan, potential=memory.potential(layer.spec.name), address=address,
                        when=when,
                    )  # fmt: skip
                )
        fires = layer.spec.neuron is not None
        if not fires and step == self.spec.steps - 1:
            return
        spikes = 0
        if fires:
            spikes = memory.spike(layer.spec.name) + step * self.layouts[layer.spec.name].words
        self.operations.append(self._prepare(n, memory, fires=int(fires), spikes=spikes))

    def _prepare(self, n: int, memory: MemoryMap, **more: int) -> Sweep:
        """A sweep that leaves the potentials of the next step."""
        name = self.spec.layers[n].name
        if self._has_drive(n):
            more |= {"has_drive": 1, "drive": memory.potential(f"{name} (drive)")}
        return self._sweep(n, memory, potential=memory.potential(name), **more)

    def _start(self, n: int) -> int:
        neuron = self.spec.layers[n].neuron
        if neuron is None or neuron.decay == "none" or neuron.decay_when == "after":
            return 0 if neuron is None else neuron.u0
        part = abs(neuron.u0) >> neuron.decay_shift
        size = part if neuron.decay == "shift" else abs(neuron.u0) - part
        return size if neuron.u0 >= 0 else -size

    def _sweep(self, n: int, memory: MemoryMap, **more: int) -> Sweep:
        layer, layout = self.spec.layers[n], self.layouts[self.spec.layers[n].name]
        neuron, top = layer.neuron, (1 << self.bits - 1) - 1
        values: dict[str, int] = {"top": top, "hard": 1}
        if neuron is not None:
            values = {
                "up": neuron.theta,
                "down": neuron.theta_down if neuron.signed else neuron.theta,
                "signed": int(neuron.signed),
                "by_channel": int(layer.channel_thresholds),
                "hard": int(neuron.reset == "hard"),
                "step": neuron.step,
                "top": neuron.u_max if neuron.can_saturate else top,
            }
        return Sweep(
            name=layer.name,
            last_word=layout.words - 1,
            last_position=layout.shape[1] * layout.columns - 1,
            channels=self.channel_rows[n],
            decay=self.decays.index(self._decay(neuron)),
            **{**values, **more},
        )

    def _release(self) -> None:
        """The last scan of the image lets go of it."""
        last = max(
            n
            for n, op in enumerate(self.operations)
            if isinstance(op, Scan) and op.from_input
        )
        scan = self.operations[last]
        assert isinstance(scan, Scan)
        self.operations[last] = _at(scan, release=1)

    def _by_lane(self, values: Sequence[npt.NDArray[np.integer]], rest: int) -> Int:
        """Numbers of each layer's channels as rows of lanes, group after group; `rest` for lanes
        without a channel."""
        rows = np.full((self.channel_rows[-1], self.lanes), rest, dtype=np.int64)
        for start, channels in zip(self.channel_rows, values, strict=False):
            rows.reshape(-1)[start * self.lanes : start * self.lanes + len(channels)] = channels
        return rows

    def _program(self, memory: MemoryMap) -> Program:
        image, firing = self.image, self.image.layers[:-1]
        thetas = None
        if any(layer.thetas is not None for layer in image.layers):
            thetas = self._by_lane(
                [np.zeros(0, int) if t is None else t for t in (x.thetas for x in image.layers)],
                rest=1,  # their potentials are 0, and must not fire
            )
        biases = []
        for layer in image.layers:
            fraction = 0 if layer.spec.neuron is None else layer.spec.neuron.fraction_bits
            bias = layer.bias.astype(np.int64) << fraction
            biases.append(bias)
        neurons = [layer.spec.neuron for layer in firing if layer.spec.neuron is not None]
        weights = np.concatenate(self.weights) if self.weights else np.zeros((1, self.lanes), int)
        return Program(
            lanes=self.lanes,
            operations=tuple(self.operations),
            rows=tuple(self.tables["rows"]),
            columns=tuple(self.tables["columns"]),
            weights=weights,
            weight_bits=max(layer.spec.weight_bits for layer in image.layers),
            biases=self._by_lane(biases, rest=0),
            thetas=thetas,
            decays=tuple(self.decays),
            can_saturate=any(neuron.can_saturate for neuron in neurons),
            potential_bits=self.bits,
            potential_words=memory.potential_words,
            spike_planes=1,
            spike_sign=any(neuron.signed for neuron in neurons),
            spike_words=max(1, memory.spike_words),
            input_bits=self.spec.input_bits,
            input_words=self.layouts[INPUT].words
            * (self.spec.steps if self.spec.timed_input else 1),
            classes=self.spec.classes,
            logit_bits=image.layers[-1].logit_bits,
        )


def _at(scan: Scan, **more: int) -> Scan:
    """The scan somewhere else; what its tables say of potentials is added to `potential`."""
    return replace(scan, **more)


def _axis(edge: EdgeSpec, side: int, made: int) -> list[tuple[int, int, int]]:
    """(count, first position, its place in the kernel) of what each coordinate reaches along an
    axis of a convolution."""
    found, pooled = [], side // edge.pool
    for at in range(side):
        padded = at // edge.pool + edge.padding
        low = max(0, -(-(padded - edge.kernel + 1) // edge.stride))
        high = min(made - 1, padded // edge.stride)
        if at // edge.pool >= pooled or high < low:
            found.append((0, 0, 0))
        else:
            found.append((high - low + 1, low, padded - low * edge.stride))
    return found


def _conv_edge(
    edge: EdgeSpec, source: MapLayout, target: MapLayout, kernel: Int
) -> tuple[list[Reach], list[Reach], Int, dict[str, int]]:
    """Weights lie by group of source channels, group of target channels, row and column of the
    kernel, source channel. The source's next column is the kernel's last."""
    size, lanes, m = edge.kernel, target.lanes, source.channels
    channels, made = source.shape[0], target.shape[0]
    full = np.zeros((target.groups * lanes, source.groups * m, size, size), dtype=np.int64)
    inner, outer = channels // edge.groups, made // edge.groups
    for g in range(edge.groups):
        ours = slice(g * outer, (g + 1) * outer)
        full[ours, g * inner : (g + 1) * inner] = kernel[ours]
    # The groups of target channels that each group of source channels reaches.
    spans = []
    for group in range(source.groups):
        first = group * source.lanes // inner
        last = (min((group + 1) * source.lanes, channels) - 1) // inner
        spans.append((first * outer // lanes, ((last + 1) * outer - 1) // lanes))
    reached = max(last - first + 1 for first, last in spans)
    starts = [min(first, target.groups - reached) for first, _ in spans]
    blocks = full.reshape(target.groups, lanes, source.groups, m, size, size)
    weights = np.stack(
        [blocks[start : start + reached, :, g] for g, start in enumerate(starts)]
    )  # (source group, target group, lane, channel, row, column)
    weights = weights.transpose(0, 1, 4, 5, 3, 2).reshape(-1, lanes)
    per_group, columns = reached * size * size * m, target.shape[2]
    positions = target.shape[1] * columns
    rows = [
        Reach(
            count=count,
            potential=(starts[g] * positions + low * columns) if count else 0,
            weight=(g * per_group + place * size * m) if count else 0,
        )
        for g in range(source.groups)
        for count, low, place in _axis(edge, source.shape[1], target.shape[1])
    ]
    across = [
        Reach(count=count, potential=low, weight=place * m)
        for count, low, place in _axis(edge, source.shape[2], columns)
    ]
    return rows, _padded(across, source), weights, {
        "last_group": reached - 1,
        "potential_row": columns,
        "potential_group": positions,
        "weight_column": -edge.stride * m,
        "weight_row": -edge.stride * size * m,
        "weight_group": size * size * m,
    }  # fmt: skip


def _dense_edge(
    edge: EdgeSpec, source: MapLayout, target: MapLayout, kernel: Int
) -> tuple[list[Reach], list[Reach], Int, dict[str, int]]:
    """Weights lie by group of source channels, source row and column, group of target channels,
    target row and column, source channel."""
    channels, rows, columns = edge.pooled(source.shape)
    m, lanes = source.channels, target.lanes
    _, high, wide = target.shape
    full = np.zeros(
        (target.groups * lanes, high, wide, source.groups * m, rows, columns), dtype=np.int64
    )
    full[: target.shape[0], :, :, :channels] = kernel.reshape(
        *target.shape, channels, rows, columns
    )
    weights = full.reshape(target.groups, lanes, high, wide, source.groups, m, rows, columns)
    weights = weights.transpose(4, 6, 7, 0, 2, 3, 5, 1).reshape(-1, lanes)
    step = target.words * m
    down = [
        Reach(count=high, weight=(g * rows + y // edge.pool) * columns * step)
        if y // edge.pool < rows
        else Reach(count=0)
        for g in range(source.groups)
        for y in range(source.shape[1])
    ]
    across = [
        Reach(count=wide, weight=x // edge.pool * step)
        if x // edge.pool < columns
        else Reach(count=0)
        for x in range(source.shape[2])
    ]
    return down, _padded(across, source), weights, {
        "last_group": target.groups - 1,
        "potential_row": wide,
        "potential_group": high * wide,
        "weight_column": m,
        "weight_row": wide * m,
        "weight_group": high * wide * m,
    }  # fmt: skip


def _identity_reach(
    edge: EdgeSpec, source: MapLayout, target: MapLayout
) -> tuple[list[Reach], list[Reach]]:
    _, rows, columns = target.shape
    down = [
        Reach(count=1, potential=(g * rows + y // edge.pool) * columns)
        if y // edge.pool < rows
        else Reach(count=0)
        for g in range(source.groups)
        for y in range(source.shape[1])
    ]
    across = [
        Reach(count=1, potential=x // edge.pool)
        if x // edge.pool < columns
        else Reach(count=0)
        for x in range(source.shape[2])
    ]
    return down, across


def _padded(columns: list[Reach], source: MapLayout) -> list[Reach]:
    """Entries for the positions of a last word that lie beyond the map."""
    return columns + [Reach(count=0)] * (source.columns * source.positions - len(columns))
