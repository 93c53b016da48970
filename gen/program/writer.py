"""Writes the program of a program stage: tables, rows of weights, memory map, operations."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gen.program.fanout import edge_tables
from gen.program.memory_map import MemoryMap, Region, allocate
from hw.contract.checks import signed_bits
from hw.contract.edge import INPUT
from hw.contract.laws import decay
from hw.contract.layout import map_layout
from hw.contract.network import Layer, Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import NetworkSpec
from hw.program.program import Operation, Program, Reach, Scan, Send, Sweep

__all__ = ["ProgramWriter", "segments", "write_program"]

Int = npt.NDArray[np.int64]


def write_program(
    network: Network, lanes: int, layers: range, source: str
) -> tuple[Program, MemoryMap, dict[str, int]]:
    """The program of some layers of a network that receive the spikes of `source` (or the input);
    what lies where; and how many rows of weights each layer has."""
    return ProgramWriter(network, lanes, layers, source).write()


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


class ProgramWriter:
    """Collects tables, weights, operations."""

    def __init__(self, network: Network, lanes: int, layers: range, source: str) -> None:
        self.network, self.spec, self.lanes = network, network.spec, lanes
        self.layers, self.source = layers, source
        self.timed = self.spec.timed_input or source != INPUT
        self.layouts = {
            name: map_layout(self.spec, name, lanes)
            for name in (INPUT, *(layer.name for layer in self.spec.layers))
        }
        self.tables: dict[str, list[Reach]] = {"rows": [], "columns": []}
        self.known: dict[tuple[str, tuple[Reach, ...]], int] = {}
        self.weights: list[Int] = []
        self.weight_rows = 0
        self.rows_of: dict[str, int] = {}  # of each layer's weights
        self.operations: list[Operation] = []
        self.mine = [network.layers[n] for n in layers]
        self.decays = sorted({self._decay(layer.spec.neuron) for layer in self.mine})
        groups = [self.layouts[layer.spec.name].groups for layer in self.mine]
        starts = np.cumsum([0, *groups]).tolist()
        self.channel_rows = dict(zip(layers, starts, strict=False))
        self.channel_groups = starts[-1]
        self.bits = max(self._potential_bits(layer) for layer in self.mine)

    @staticmethod
    def _potential_bits(layer: Layer) -> int:
        """Holds every potential, and the threshold, which a silent layer's may not reach."""
        neuron = layer.spec.neuron
        if neuron is None:
            return layer.logit_bits
        return signed_bits(max(layer.reset_bound, neuron.theta, neuron.theta_down))

    @staticmethod
    def _decay(neuron: NeuronSpec | None) -> tuple[str, int]:
        return ("none", 0) if neuron is None else (neuron.decay, neuron.decay_shift)

    def write(self) -> tuple[Program, MemoryMap, dict[str, int]]:
        parts = [part for part in segments(self.spec) if part.start in self.layers]
        memory = self._memory(parts)
        edges = {
            n: [self._edge(n, k) for k in range(len(layer.edges))]
            for n, layer in zip(self.layers, self.mine, strict=True)
        }
        for part in parts:
            for n in part:
                self._begin(n, edges[n], memory)
            for step in range(self.spec.steps):
                for n in part:
                    self._step(n, step, edges[n], memory)
        last, words = self.mine[-1].spec, self.layouts[self.mine[-1].spec.name].words
        address = memory.potential(last.name)
        if last.neuron is not None:
            address, words = memory.spike(last.name), words * self.spec.steps
        self.operations.append(Send(address=address, last_word=words - 1, name=last.name))
        self._release()
        return self._program(memory), memory, self.rows_of

    def _memory(self, parts: Sequence[range]) -> MemoryMap:
        """Potentials live while their segment is worked on, spikes until the last that reads
        them."""
        names = [layer.name for layer in self.spec.layers]
        where = {names[n]: k for k, part in enumerate(parts) for n in part}
        potentials, spikes = [], []
        for n in self.layers:
            name = names[n]
            words, here = self.layouts[name].words, where[name]
            potentials.append(Region(name, words, here, here))
            if self._has_drive(n):
                potentials.append(Region(f"{name} (drive)", words, here, here))
            readers = [
                where[names[k]]
                for k in self.layers
                for edge in self.spec.edges(k)
                if edge.source == name
            ]
            if n == self.layers[-1]:
                readers.append(len(parts))  # it is sent after all
            if self.spec.layers[n].neuron is not None:
                spikes.append(Region(name, words * self.spec.steps, here, max([here, *readers])))
        return allocate(potentials, spikes)

    def _has_drive(self, n: int) -> bool:
        """Whether a layer has a drive that is the same at every step."""
        return not self.timed and any(edge.source == INPUT for edge in self.spec.edges(n))

    def _edge(self, n: int, k: int) -> Scan:
        """What all scans of an edge have in common; its tables and weights are laid down."""
        layer = self.network.layers[n]
        edge, kernel = layer.edges[k], layer.kernels[k]
        source, target = self.layouts[edge.source], self.layouts[layer.spec.name]
        neuron, tables = layer.spec.neuron, edge_tables(edge, source, target, kernel)
        weight, name = self.weight_rows, layer.spec.name
        self.rows_of[name] = self.rows_of.get(name, 0) + len(tables.weights)
        self.weights.append(tables.weights)
        self.weight_rows += len(tables.weights)
        outside = edge.source == self.source
        bits = self.spec.input_bits if edge.source == INPUT else 1
        return Scan(
            name=name,
            source=edge.source,
            from_input=int(outside),
            last_row=source.groups * source.shape[1] - 1,
            last_column=source.columns - 1,
            last_plane=bits - 1,
            channel_bits=source.channel_bits,
            position_bits=(source.positions - 1).bit_length(),
            row_table=self._table("rows", tables.rows),
            column_table=self._table("columns", tables.columns),
            weight=weight if len(tables.weights) else 0,
            shift=edge.shift + (0 if neuron is None else neuron.fraction_bits),
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
            self.operations += [replace(scan, potential=drive) for scan in edges if scan.from_input]
        self.operations.append(self._prepare(n, memory, first=1, start=self._start(n)))

    def _step(self, n: int, step: int, edges: Sequence[Scan], memory: MemoryMap) -> None:
        """What arrives in a step; then the neurons, and the potentials of the next step."""
        layer = self.network.layers[n]
        potential = memory.potential(layer.spec.name)
        for edge, scan in zip(layer.edges, edges, strict=True):
            when = step - edge.delay
            outside = edge.source == self.source
            if (self.timed or not outside) and when >= 0:
                start = 0 if outside else memory.spike(edge.source)
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
        if neuron is None:
            return 0
        return neuron.u0 if neuron.decay_when == "after" else int(decay(neuron.u0, neuron))

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

    def _sends_signs(self, source: str) -> bool:
        """Whether the spikes of a stage that sends those of this layer have signs."""
        layers = self.spec.layers
        stage = [layer.neuron for layer in layers if layer.name == source]
        return any(neuron is not None and neuron.signed for neuron in stage)

    def _release(self) -> None:
        """The last scan of the input frees its buffer."""
        last = max(
            n for n, op in enumerate(self.operations) if isinstance(op, Scan) and op.from_input
        )
        scan = self.operations[last]
        assert isinstance(scan, Scan)
        self.operations[last] = replace(scan, release=1)

    def _by_lane(self, values: Sequence[npt.NDArray[np.integer]], rest: int) -> Int:
        """Numbers of each layer's channels as rows of lanes, group after group; `rest` for lanes
        without a channel."""
        rows = np.full((self.channel_groups, self.lanes), rest, dtype=np.int64)
        for start, channels in zip(self.channel_rows.values(), values, strict=True):
            rows.reshape(-1)[start * self.lanes : start * self.lanes + len(channels)] = channels
        return rows

    def _program(self, memory: MemoryMap) -> Program:
        thetas = None
        if any(layer.thetas is not None for layer in self.mine):
            thetas = self._by_lane(
                [np.zeros(0, int) if t is None else t for t in (x.thetas for x in self.mine)],
                rest=1,  # their potentials are 0, and must not fire
            )
        biases = []
        for layer in self.mine:
            fraction = 0 if layer.spec.neuron is None else layer.spec.neuron.fraction_bits
            bias = layer.bias.astype(np.int64) << fraction
            biases.append(bias)
        neurons = [layer.spec.neuron for layer in self.mine if layer.spec.neuron is not None]
        last = self.mine[-1]
        source = self.layouts[self.source].words * (self.spec.steps if self.timed else 1)
        if not self.weight_rows:  # identities alone: a memory has at least one row
            self.weights.append(np.zeros((1, self.lanes), dtype=np.int64))
        return Program(
            lanes=self.lanes,
            operations=tuple(self.operations),
            rows=tuple(self.tables["rows"]),
            columns=tuple(self.tables["columns"]),
            weights=np.concatenate(self.weights),
            weight_bits=max(layer.spec.weight_bits for layer in self.mine),
            biases=self._by_lane(biases, rest=0),
            thetas=thetas,
            decays=tuple(self.decays),
            can_saturate=any(neuron.can_saturate for neuron in neurons),
            potential_bits=self.bits,
            potential_words=memory.potential_words,
            spike_planes=1,
            spike_sign=any(neuron.signed for neuron in neurons),
            spike_words=max(1, memory.spike_words),
            input_bits=self.spec.input_bits if self.source == INPUT else 1,
            input_sign=self._sends_signs(self.source),
            input_words=source,
            classes=self.spec.classes if last.spec.neuron is None else 0,
            logit_bits=last.logit_bits if last.spec.neuron is None else 0,
        )
