"""From a network image to the program of a shared core."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gen.map_layout import MapLayout, map_layout
from gen.memory_map import MemoryMap, Region, allocate
from gen.plan import PlanError
from gen.reach import edge_tables
from hw.image import NetworkImage
from hw.program import Operation, Program, Reach, Scan, Send, Sweep
from hw.spec import INPUT, NetworkSpec, NeuronSpec, signed_bits

__all__ = ["LANES", "SHARED_LANES", "SharedPlan", "plan_shared", "segments"]

Int = npt.NDArray[np.int64]
SHARED_LANES = 16
LANES = (2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True, eq=False)
class SharedPlan:
    """A network image, and the shared core that runs it."""

    image: NetworkImage
    lanes: int
    program: Program
    memory: MemoryMap
    banks = 1
    schedule = "shared"

    @cached_property
    def input_layout(self) -> MapLayout:
        """How an image comes in."""
        return map_layout(self.image.spec, INPUT, self.lanes)

    def pack_words(self, pixels: npt.NDArray[np.integer]) -> list[int]:
        """The words of the input stream for images (n, image_size), in order."""
        images = pixels.astype(np.uint8).reshape(-1, self.image.spec.input_size)
        packed = self.input_layout.pack(images).astype(np.uint8)
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
        edge, kernel = layer.edges[k], layer.kernels[k]
        source, target = self.layouts[edge.source], self.layouts[layer.spec.name]
        neuron, tables = layer.spec.neuron, edge_tables(edge, source, target, kernel)
        weight = self.weight_rows
        self.weights.append(tables.weights)
        self.weight_rows += len(tables.weights)
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
            row_table=self._table("rows", tables.rows),
            column_table=self._table("columns", tables.columns),
            weight=weight if len(tables.weights) else 0,
            shift=0 if neuron is None else neuron.fraction_bits,
            **tables.numbers,
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
                replace(scan, potential=drive) for scan in edges if scan.from_input
            ]
        self.operations.append(self._prepare(n, memory, first=1, start=self._start(n)))

    def _step(self, n: int, step: int, edges: Sequence[Scan], memory: MemoryMap) -> None:
        """What arrives in a step; then the neurons, and the potentials of the next step."""
        layer = self.image.layers[n]
        potential = memory.potential(layer.spec.name)
        for edge, scan in zip(layer.edges, edges, strict=True):
            when = step - edge.delay
            fresh = edge.source != INPUT or self.spec.timed_input
            if fresh and when >= 0:
                start = 0 if edge.source == INPUT else memory.spike(edge.source)
                address = start + when * self.layouts[edge.source].words
                self.operations.append(
                    replace(scan, potential=potential, address=address, when=when)
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
        self.operations[last] = replace(scan, release=1)

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
        if not self.weight_rows:  # identities alone: a memory has at least one row
            self.weights.append(np.zeros((1, self.lanes), dtype=np.int64))
        return Program(
            lanes=self.lanes,
            operations=tuple(self.operations),
            rows=tuple(self.tables["rows"]),
            columns=tuple(self.tables["columns"]),
            weights=np.concatenate(self.weights),
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
