"""Writes the program of a program stage: tables, rows of weights, memory map, operations."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gen.program.fanout import edge_tables
from gen.program.memory_map import MemoryMap, Region, allocate
from hw.contract.checks import signed_bits
from hw.contract.edge import INPUT, EdgeSpec
from hw.contract.laws import decay
from hw.contract.layout import MapLayout, map_layout
from hw.contract.network import Network
from hw.contract.neuron import Decay, NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from hw.program.code import Operation, Played, Scan, Send, Sweep
from hw.program.program import Program
from hw.program.reach import Reach

__all__ = ["ProgramWriter", "segments", "write_program"]

Int = npt.NDArray[np.int64]


def write_program(
    network: Network, lanes: int, layers: range, source: str, changes: Collection[str] = ()
) -> tuple[Program, MemoryMap, dict[str, int]]:
    """The program of some layers of a network that receive the spikes of `source` (or the input),
    those of the layers `changes` as what changes from step to step; what lies where; and how many
    rows of weights each layer has."""
    return ProgramWriter(network, lanes, layers, source, changes).write()


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
    """Collects tables, weights, operations.

    Attributes
    ----------
    kept
        Potentials last from one step to the next. Where there is one step, everything goes into the
        drives: what changes in it is what there is.
    places
        Words of the target that an event adds to at once.
    """

    places = 1

    def __init__(
        self,
        network: Network,
        lanes: int,
        layers: range,
        source: str,
        changes: Collection[str] = (),
    ) -> None:
        self.network, self.spec, self.lanes = network, network.spec, lanes
        self.layers, self.source, self.changes = layers, source, changes
        self.kept = self.spec.steps > 1
        self.timed = self.spec.timed_input or source != INPUT
        self.layouts = {
            name: self._layout(name)
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
        self.currents = sorted({neuron.current_law for neuron in self._with_currents()})
        groups = [self.layouts[layer.spec.name].padded_groups for layer in self.mine]
        starts = np.cumsum([0, *groups]).tolist()
        self.channel_rows = dict(zip(layers, starts, strict=False))
        self.channel_groups = starts[-1]
        self.bits = max([self._membrane_bits(n) for n in layers if self._fires(n)], default=2)
        within = [
            edge.source
            for n in layers
            if self._fires(n) or self._changes_drive(n)
            for edge in self.spec.edges(n)
            if self.kept and edge.source in changes
        ]
        self.input_banks = 1 + (source in within)
        self.spike_banks = 1 + any(name != source for name in within)

    def _layout(self, name: str) -> MapLayout:
        """How the input, or a layer's spikes, lie in words."""
        return map_layout(self.spec, name, self.lanes)

    def _fires(self, n: int) -> bool:
        return self.spec.layers[n].neuron is not None

    def _leaks(self, n: int) -> bool:
        return self.spec.layers[n].readout is not None

    def _changes_drive(self, n: int) -> bool:
        """Whether the drive of a readout that leaks stays from step to step, and what changes in it
        is played: of all that it receives."""
        edges = self.spec.edges(n)
        return self._leaks(n) and all(self._constant(e) or e.source in self.changes for e in edges)

    def _has_current(self, neuron: NeuronSpec) -> bool:
        """Whether what is kept of a synaptic current is ever used: in one step, it is the drive."""
        return self.kept and neuron.has_current

    def _with_currents(self) -> list[NeuronSpec]:
        """Neurons with a synaptic current."""
        neurons = (layer.spec.neuron for layer in self.mine)
        return [n for n in neurons if n is not None and self._has_current(n)]

    def _membrane_bits(self, n: int) -> int:
        """Holds every potential, and the threshold, which a silent layer's may not reach."""
        layer = self.network.layers[n]
        neuron = layer.spec.neuron
        assert neuron is not None
        return signed_bits(max(layer.reset_bound, neuron.theta, neuron.theta_down))

    def _potential_bits(self, n: int) -> int:
        """Of what is kept between steps; where spikes are added to it, of v: what they add beside
        the drive need not fit, but the sum of both does. Of synaptic currents, of the current."""
        neuron = self.spec.layers[n].neuron
        assert neuron is not None
        if self._has_current(neuron):
            return signed_bits(self.network.layers[n].current_bound)
        if all(self._into_drive(edge) for edge in self.spec.edges(n)):
            return max(neuron.potential_bits, signed_bits(abs(self._start(n))))
        return self._membrane_bits(n)

    def _drive_bits(self, n: int) -> int:
        """Of a drive when all of it is there; what it is on the way may wrap."""
        layer = self.network.layers[n]
        neuron = layer.spec.neuron
        if neuron is None:
            return layer.drive_bits if self._leaks(n) else layer.logit_bits
        return signed_bits(layer.drive_bound << neuron.fraction_bits)

    @staticmethod
    def _decay(neuron: NeuronSpec | None) -> Decay:
        return Decay() if neuron is None else neuron.decay_law

    def write(self) -> tuple[Program, MemoryMap, dict[str, int]]:
        parts = [part for part in segments(self.spec) if part.start in self.layers]
        memory = self._memory(parts)
        edges = {
            n: [self._scans(n, k) for k in range(len(layer.edges))]
            for n, layer in zip(self.layers, self.mine, strict=True)
        }
        for part in parts:
            for n in part:
                self._begin(n, edges[n], memory)
            for step in range(self.spec.steps):
                for n in part:
                    self._step(n, step, edges[n], memory)
        if not self._leaks(self.layers[-1]):  # which has been sent step by step
            self._send(memory)
        self._release()
        return self._program(memory), memory, self.rows_of

    def _send(self, memory: MemoryMap) -> None:
        """What the last layer has made leaves."""
        last, words = self.mine[-1].spec, self.layouts[self.mine[-1].spec.name].words
        if last.neuron is None:
            send = Send(address=memory.drive(last.name), last_word=words - 1, name=last.name)
        else:
            send = Send(
                address=memory.spike(last.name),
                last_word=words * self.spec.steps - 1,
                step_words=words,
                name=last.name,
            )
        self.operations.append(send)

    def _memory(self, parts: Sequence[range]) -> MemoryMap:
        """Potentials and drives live while their segment is worked on, spikes until the last that
        reads them."""
        names = [layer.name for layer in self.spec.layers]
        where = {names[n]: k for k, part in enumerate(parts) for n in part}
        potentials, drives, spikes = [], [], []
        for n in self.layers:
            name = names[n]
            words, here = self.layouts[name].words, where[name]
            if self._has_drive(n):
                drives.append(Region(name, words, here, here))
            readers = [
                where[names[k]]
                for k in self.layers
                for edge in self.spec.edges(k)
                if edge.source == name
            ]
            if n == self.layers[-1]:
                readers.append(len(parts))  # it is sent after all
            if self._fires(n):
                if self.kept:
                    potentials.append(Region(name, words, here, here))
                spikes.append(
                    Region(name, words * self._slots(self.spec.steps), here, max([here, *readers]))
                )
        return allocate(potentials, drives, spikes)

    def _slots(self, steps: int) -> int:
        """Steps that lie in a bank."""
        return -(-steps // self.spike_banks)

    def _constant(self, edge: EdgeSpec) -> bool:
        """Whether an edge brings the same at every step."""
        return not self.timed and edge.source == INPUT

    def _into_drive(self, edge: EdgeSpec) -> bool:
        """Whether what an edge brings lasts for all steps: it is the same in all of them, or what
        changes is played."""
        return not self.kept or self._constant(edge) or edge.source in self.changes

    def _has_drive(self, n: int) -> bool:
        """Whether a layer has a drive of its own, and not its bias alone."""
        return not self._fires(n) or any(map(self._into_drive, self.spec.edges(n)))

    def _scans(self, n: int, k: int) -> list[Scan]:
        """What is played over an edge at a step, one scan after the other."""
        return [self._edge(n, k)]

    def _edge(self, n: int, k: int) -> Scan:
        """What all scans of an edge have in common; its tables and weights are laid down."""
        layer = self.network.layers[n]
        edge, kernel = layer.edges[k], layer.kernels[k]
        source, target = self.layouts[edge.source], self.layouts[layer.spec.name]
        neuron, tables = layer.spec.neuron, edge_tables(edge, source, target, kernel)
        weight, name = self._lay(layer.spec.name, tables.weights), layer.spec.name
        return Scan(
            name=name,
            source=edge.source,
            from_input=int(edge.source == self.source),
            last_row=source.groups * source.shape[1] - 1,
            last_column=source.columns - 1,
            channel_bits=source.channel_bits,
            position_bits=(source.positions - 1).bit_length(),
            row_table=self._table("rows", tables.rows),
            column_table=self._table("columns", tables.columns),
            weight=weight,
            shift=edge.shift + (0 if neuron is None else neuron.fraction_bits),
            played=Played.STEP,
            **tables.numbers,
        )

    def _lay(self, name: str, weights: Int) -> int:
        """Lay down rows of weights of a layer; where they begin (0, if there are none)."""
        start = self.weight_rows if len(weights) else 0
        self.rows_of[name] = self.rows_of.get(name, 0) + len(weights)
        self.weights.append(weights)
        self.weight_rows += len(weights)
        return start

    def _table(self, axis: str, reaches: Sequence[Reach]) -> int:
        """Where these rows of a table lie; equal ones lie there once."""
        key = axis, tuple(reaches)
        if key not in self.known:
            self.known[key] = len(self.tables[axis])
            self.tables[axis] += reaches
        return self.known[key]

    def _begin(self, n: int, edges: Sequence[Sequence[Scan]], memory: MemoryMap) -> None:
        """What potentials and drives are before the first step: what is the same at every step is
        in the drives. All of a readout's is played here, once, unless it leaks."""
        self.operations += self._sweeps(n, memory, first=1)
        for edge, scans in zip(self.network.layers[n].edges, edges, strict=True):
            for scan in scans:
                if not (self._fires(n) or self._leaks(n)):
                    self._sum(n, edge, scan, memory)
                elif self._constant(edge):
                    self._play(scan, memory, drive=1, **self._read(scan, memory, 0))

    def _step(self, n: int, step: int, edges: Sequence[Sequence[Scan]], memory: MemoryMap) -> None:
        """What arrives in a step; then the neurons."""
        if self._leaks(n):
            self._leak(n, step, edges, memory)
        if not self._fires(n):
            return
        for edge, scans in zip(self.network.layers[n].edges, edges, strict=True):
            when = step - edge.delay
            if when >= 0 and not self._constant(edge):
                drive = self._into_drive(edge)
                changes = self.kept and drive
                for scan in scans:
                    read = self._read(scan, memory, when, changes=changes)
                    self._play(scan, memory, drive=int(drive), **read)
        name = self.spec.layers[n].name
        place = self._place(name, step, memory)
        spikes = {"spikes": place[1], "odd": place[0]}
        self.operations += self._sweeps(n, memory, fires=1, **spikes)

    def _leak(self, n: int, step: int, edges: Sequence[Sequence[Scan]], memory: MemoryMap) -> None:
        """The drive of a step, of a readout that leaks; then it is sent."""
        changes = self._changes_drive(n)
        if step and not changes:
            self._begin(n, edges, memory)
        for edge, scans in zip(self.network.layers[n].edges, edges, strict=True):
            when = step - edge.delay
            if when >= 0 and not self._constant(edge):
                for scan in scans:
                    read = self._read(scan, memory, when, changes=changes)
                    self._play(scan, memory, drive=1, **read)
        self._send(memory)

    def _play(self, scan: Scan, memory: MemoryMap, *, drive: int, **more: Any) -> None:
        at = memory.drive(scan.name) if drive else memory.potential(scan.name)
        at += scan.potential
        self.operations.append(replace(scan, drive=drive, potential=at, **more))

    def _words(self, source: str) -> int:
        """Words of a step of a map, as scans read it."""
        return self.layouts[source].words

    def _place(self, source: str, step: int, memory: MemoryMap) -> tuple[int, int]:
        """Bank and first word of a step of a map."""
        outside = source == self.source
        start = 0 if outside else memory.spike(source)
        banks = self.input_banks if outside else self.spike_banks
        return step % banks, start + step // banks * self._words(source)

    def _largest(self, source: str) -> tuple[int, bool]:
        """Of a map: the largest magnitude, and whether there are signs."""
        neuron = self._neuron(source)
        if neuron is None:
            return self.spec.source_max(INPUT), False
        return neuron.limit, neuron.signed

    def _read(
        self, scan: Scan, memory: MemoryMap, when: int, *, changes: bool = False
    ) -> dict[str, Any]:
        """Numbers of a scan of a step's coefficients; with `changes`, less those of the step
        before."""
        most, signed = self._largest(scan.source)
        numbers: dict[str, Any] = {"when": when, "even": 0}
        signs = {when: 1, when - 1: -1} if changes and when else {when: 1}
        for step, sign in signs.items():
            bank, address = self._place(scan.source, step, memory)
            address += scan.address
            numbers |= {("even", "odd")[bank]: sign, ("address", "odd_address")[bank]: address}
        if len(signs) == 2:
            numbers["played"] = Played.CHANGES
            most *= 1 + signed
        return numbers | {"last_plane": most.bit_length() - 1}

    def _sum(self, n: int, edge: EdgeSpec, scan: Scan, memory: MemoryMap) -> None:
        """The coefficients of all steps together, for a readout."""
        steps = self.spec.steps - edge.delay
        if not steps:
            return
        words = 0 if self._constant(edge) else self.layouts[edge.source].words
        banks = self.input_banks if edge.source == self.source else self.spike_banks
        _, address = self._place(edge.source, 0, memory)
        self._play(
            scan,
            memory,
            drive=1,
            address=address,
            odd_address=address if banks == 2 else 0,
            even=1,
            odd=banks - 1,
            last_gather=-(-steps // banks) - 1,
            gather_words=words,
            leave=int(steps % banks),
            when=steps - 1,
            played=Played.SUM,
            last_plane=(self._largest(edge.source)[0] * steps).bit_length() - 1,
        )

    def _start(self, n: int) -> int:
        neuron = self.spec.layers[n].neuron
        if neuron is None:
            return 0
        return neuron.u0 if neuron.decay_when == "after" else int(decay(neuron.u0, neuron))

    def _sweeps(self, n: int, memory: MemoryMap, **more: int) -> list[Sweep]:
        """A pass over all words of a layer."""
        return [self._sweep(n, memory, **more)]

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
                "limit": neuron.limit,
                "guarded": int(neuron.guarded),
                "hard": int(neuron.reset == "hard"),
                "step": neuron.step,
                "top": neuron.u_max if neuron.can_saturate else top,
            }
            if self._has_current(neuron):
                values |= {"has_current": 1, "current": self.currents.index(neuron.current_law)}
        if self._has_drive(n):
            values |= {"has_drive": 1, "drive": memory.drive(layer.name)}
        if self.kept and neuron is not None:
            values["potential"] = memory.potential(layer.name)
        return Sweep(
            name=layer.name,
            last_word=layout.words - 1,
            last_position=layout.shape[1] * layout.columns - 1,
            channels=self.channel_rows[n],
            start=self._start(n),
            decay=self.decays.index(self._decay(neuron)),
            **{**values, **more},
        )

    def _bias_unit(self, layer: LayerSpec) -> int:
        """How often a bias counts in the sums that are swept or sent at once."""
        if layer.neuron is not None:
            return 1 << layer.neuron.fraction_bits
        return self.spec.steps if layer.readout is None else 1

    def _neuron(self, source: str) -> NeuronSpec | None:
        """Of the layer that sends this map; None: it is the input."""
        return next((x.neuron for x in self.spec.layers if x.name == source), None)

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

    def _own(self, values: Sequence[npt.NDArray[np.integer] | None], rest: int) -> Int | None:
        """`_by_lane` of layers of which some have constants by channel; None: none has."""
        if all(one is None for one in values):
            return None
        return self._by_lane([np.zeros(0, int) if one is None else one for one in values], rest)

    def _program(self, memory: MemoryMap) -> Program:
        # Potentials of lanes without a channel are 0, and must not fire.
        thetas = self._own([layer.thetas for layer in self.mine], rest=1)
        reset_steps = self._own([layer.reset_steps for layer in self.mine], rest=0)
        factors = self._own([layer.factors for layer in self.mine], rest=0)
        units = [self._bias_unit(layer.spec) for layer in self.mine]
        biases = [x.bias.astype(np.int64) * unit for x, unit in zip(self.mine, units, strict=True)]
        largest = max(x.bias_bound * unit for x, unit in zip(self.mine, units, strict=True))
        neurons = [layer.spec.neuron for layer in self.mine if layer.spec.neuron is not None]
        last = self.mine[-1]
        source = self.layouts[self.source].words * (self.spec.steps if self.timed else 1)
        stored = [n for n in self.layers if self.kept and self._fires(n)]
        most, sign = self._largest(self.source)
        if not self.weight_rows:  # identities alone: a memory has at least one row
            self.weights.append(np.zeros((1, self.places * self.lanes), dtype=np.int64))
        return Program(
            lanes=self.lanes,
            operations=tuple(self.operations),
            rows=tuple(self.tables["rows"]),
            columns=tuple(self.tables["columns"]),
            weights=np.concatenate(self.weights),
            weight_bits=max(layer.spec.weight_bits for layer in self.mine),
            biases=self._by_lane(biases, rest=0),
            bias_bits=signed_bits(max(largest, 1)),
            thetas=thetas,
            reset_steps=reset_steps,
            factors=factors,
            decays=tuple(self.decays),
            currents=tuple(self.currents),
            second_bits=max([n.potential_bits for n in self._with_currents()], default=0),
            can_saturate=any(neuron.can_saturate for neuron in neurons),
            count_bits=max(
                [n.count_bits(self.spec.steps) for n in neurons if n.guarded], default=0
            ),
            membrane_bits=self.bits,
            potential_bits=max([self._potential_bits(n) for n in stored], default=0),
            potential_words=memory.potential_words,
            drive_bits=max(
                [self._drive_bits(n) for n in self.layers if self._has_drive(n)], default=0
            ),
            drive_words=memory.drive_words,
            spike_planes=max([neuron.magnitude_bits for neuron in neurons], default=1),
            spike_sign=any(neuron.signed for neuron in neurons),
            spike_words=max(1, memory.spike_words),
            spike_banks=self.spike_banks,
            input_bits=most.bit_length(),
            input_sign=sign,
            input_words=source,
            input_vectors=self.spec.steps if self.timed else 1,
            input_banks=self.input_banks,
            classes=self.spec.classes if last.spec.neuron is None else 0,
            logit_bits=last.logit_bits if last.spec.neuron is None else 0,
            leak=last.spec.readout,
            m_bits=last.integrated_bits if last.spec.readout else 0,
        )
