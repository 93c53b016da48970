"""Writes the program of a learning stage: forward, readout, decision, backward, updates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gen.program.fanout import edge_tables
from gen.program.memory_map import MemoryMap, Region, allocate
from gen.program.writer import ProgramWriter, segments
from gen.stage.stage import PlanError
from hw.contract.checks import signed_bits
from hw.contract.edge import INPUT, EdgeSpec
from hw.contract.layout import MapLayout
from hw.contract.learning import DITHER_BITS, LearnedEdge
from hw.learn.masters import Masters, MastersError
from hw.program.code import Counted, Decide, Held, Played, Scan, Send, Sweep
from hw.program.program import Learning, Program

__all__ = ["MasterRows", "write_learning_program"]

Int = npt.NDArray[np.int64]

SLOWER = 4
"""How much larger than the specification's largest rate the hardware's may be set."""

DENSE = EdgeSpec(source=INPUT)


@dataclass(frozen=True, eq=False)
class MasterRows:
    """Which master lies where in the rows of the memory, some in two copies.

    Parameters
    ----------
    index
        (rows, lanes): number of the master, all edges' one after the other, row by row; -1 where
        there is none.
    """

    index: Int

    def pack(self, arrays: Sequence[Int]) -> Int:
        """Masters of all edges as rows (rows, lanes)."""
        flat = np.concatenate([array.reshape(-1) for array in arrays])
        return np.where(self.index < 0, 0, flat[self.index])

    def unpack(self, rows: Int, shapes: Sequence[tuple[int, int]]) -> list[Int]:
        """Inverse of `pack`.

        Raises
        ------
        MastersError
            When a master's two copies differ, or there is one in a lane without.
        """
        sizes = [a * b for a, b in shapes]
        _, first = np.unique(self.index[self.index >= 0], return_index=True)
        flat = rows[self.index >= 0][first]
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        wanted = self.pack(arrays)
        wrong = np.argwhere(rows != wanted)
        if len(wrong):
            n, lane = map(int, wrong[0])
            why = "where there is no master"
            if self.index[n, lane] >= 0:
                where, there = np.argwhere(self.index == self.index[n, lane])[0]
                why = f"as the same master has in row {where}, lane {there}"
            raise MastersError(
                f"Row {n} of masters must have {wanted[n, lane]} in lane {lane}, {why}, not "
                f"{rows[n, lane]}"
            )
        return arrays


def write_learning_program(masters: Masters, lanes: int) -> tuple[Program, MemoryMap, MasterRows]:
    """The program of a network that learns, what lies where, and where its masters are.

    Raises
    ------
    PlanError
        When learned layers have weights of different widths.
    """
    writer = _Writer(masters, lanes)
    program, memory = writer.made()
    return program, memory, writer.rows


class _Writer(ProgramWriter):
    """A program's writer, whose learned edges have their rows in the memory of masters."""

    def __init__(self, masters: Masters, lanes: int) -> None:
        self.masters = masters
        learning = masters.spec.learning
        assert learning is not None
        self.learning = learning
        widths = {masters.spec.layers[edge.layer].weight_bits for edge in masters.edges}
        if len(widths) > 1:
            raise PlanError(
                "Layers that learn must have weights of one width on hardware, not of "
                + " and ".join(map(str, sorted(widths)))
            )
        self.w = widths.pop()
        self.last = len(masters.spec.layers) - 1
        super().__init__(masters.network, lanes, range(self.last + 1), INPUT)
        self.kept = True  # of the backward stage too
        self.hidden = self.spec.layers[self.last - 1].name
        self.steps = self.spec.steps
        self.learned = {(edge.layer, edge.number): n for n, edge in enumerate(masters.edges)}
        counted = [self.last - 1] if learning.readout_only else [*range(self.last)]
        words = [self.layouts[self.spec.layers[n].name].words for n in counted]
        self.count_base = dict(zip(counted, np.cumsum([0, *words]).tolist(), strict=False))
        self.count_words = sum(words)
        starts = np.cumsum([0, *(array.size for array in masters.arrays)]).tolist()
        self.numbers = [
            start + np.arange(array.size).reshape(array.shape)
            for start, array in zip(starts, masters.arrays, strict=False)
        ]
        self.index: list[Int] = []
        self.biases: dict[int, Scan] = {}  # of each layer, once laid down
        self.master_rows = 0
        # Rows of zeros behind the biases: the backward stage has none.
        self.nothing = self.channel_groups

    @property
    def rows(self) -> MasterRows:
        """Where each master lies."""
        return MasterRows(np.concatenate(self.index))

    def _bound(self, n: int) -> int:
        """Largest |v| of a layer, or |logit|, whatever the weights become."""
        layer, q = self.network.layers[n], (1 << self.w - 1) - 1
        bias = int(np.abs(layer.bias.astype(np.int64)).max())
        if n == self.last:
            neuron = self.mine[n - 1].spec.neuron
            assert neuron is not None
            return self.spec.steps * (q * (neuron.limit * layer.spec.inputs + 1) + bias)
        neuron = layer.spec.neuron
        assert neuron is not None
        if self.learning.readout_only:
            return max(layer.reset_bound, neuron.theta, neuron.theta_down)
        into = [edge for edge in self.masters.edges if edge.layer == n]
        forward = bias + sum(
            (q * (edge.senders * self.spec.source_max(edge.source) + edge.bias)) << edge.shift
            for edge in into
        )
        names = [layer.name for layer in self.spec.layers]
        back = sum(
            q * edge.targets << edge.shift
            for edge in self.masters.edges
            if edge.layer < self.last and edge.source == names[n]
        )
        if n == self.last - 1:
            error = self.spec.classes * self.learning.error_max
            back += error * q << self.learning.inject_shift
        return max(neuron.u_max + max(forward, back), neuron.theta, neuron.step)

    def _membrane_bits(self, n: int) -> int:
        return signed_bits(self._bound(n))

    def _drive_bits(self, n: int) -> int:
        return self._membrane_bits(n)

    def _potential_bits(self, n: int) -> int:
        """Spikes are added where there are edges between groups, of either stage."""
        name = self.spec.layers[n].name
        if any(edge.source == name and edge.layer < self.last for edge in self.masters.edges):
            return self._membrane_bits(n)
        return super()._potential_bits(n)

    def _has_drive(self, n: int) -> bool:
        return super()._has_drive(n) or not self.learning.readout_only

    def made(self) -> tuple[Program, MemoryMap]:
        """The program, and what lies where."""
        forward = segments(self.spec)
        memory = self._regions(forward)
        edges = {n: [self._edge(n, k) for k in range(len(self.mine[n].edges))] for n in self.layers}
        alone = {n: [[scan] for scan in scans] for n, scans in edges.items()}
        for part in forward[:-1]:
            for n in part:
                self._begin(n, alone[n], memory)
            for step in range(self.steps):
                for n in part:
                    self._step(n, step, alone[n], memory)
        (readout,) = edges[self.last]
        self._readout(readout, memory)
        self.operations.append(Decide(name="decide"))
        if not self.learning.readout_only:
            self._backward(memory)
        self._updates(edges)
        program = self._program(memory)
        zeros = np.zeros((max(layout.groups for layout in self.layouts.values()), self.lanes), int)
        return (
            replace(
                program,
                biases=np.concatenate([program.biases, zeros]),
                thetas=None if program.thetas is None else np.concatenate([program.thetas, zeros]),
                weights=program.weights if self.weight_rows else program.weights[:0],
                weight_bits=max(program.weight_bits, self.w),
                spike_sign=program.spike_sign or not self.learning.readout_only,
                logit_bits=signed_bits(self._bound(self.last)),
                learning=self._numbers(),
            ),
            memory,
        )

    def _numbers(self) -> Learning:
        learning, spec = self.learning, self.spec
        neuron = self.mine[self.last - 1].spec.neuron
        assert neuron is not None
        values = [self.steps * neuron.limit]
        if not learning.readout_only:
            values += [spec.pixel_max, learning.input_bias]
            values += [learning.steps_back, learning.error_max]
        fraction = self.masters.fraction(0)
        return Learning(
            masters=self.rows.pack(self.masters.arrays),
            master_bits=learning.master_bits,
            fraction_bits=fraction,
            count_words=self.count_words,
            count_planes=(self.steps * neuron.limit).bit_length(),
            count_sign=neuron.signed,
            back_planes=learning.steps_back.bit_length(),
            error_planes=learning.error_bits,
            steps=self.steps,
            value_bits=max(values).bit_length(),
            rates=len(learning.rates),
            rate_range=(
                min(learning.rates),
                max(1, min(DITHER_BITS, max(learning.rates) + SLOWER)),
            ),
            margin_bits=max(1, signed_bits(self._bound(self.last)) - 1),
            seed=self.masters.random,
        )

    def _regions(self, forward: list[range]) -> MemoryMap:
        """As `_memory`, with the backward stage behind the forward one."""
        spec, names = self.spec, [layer.name for layer in self.spec.layers]
        where = {n: k for k, part in enumerate(forward) for n in part}
        potentials, drives, spikes = [], [], []
        for n in self.layers:
            words, here = self.layouts[names[n]].words, where[n]
            if self._has_drive(n):
                drives.append(Region(names[n], words, here, here))
            if n < self.last:
                potentials.append(Region(names[n], words, here, here))
                readers = [
                    where[k]
                    for k in range(self.last)
                    for edge in spec.edges(k)
                    if edge.source == names[n]
                ]
                spikes.append(Region(names[n], words * self.steps, here, max([here, *readers])))
        if not self.learning.readout_only:
            back = self._back_parts()
            place = {n: len(forward) + k for k, part in enumerate(back) for n in part}
            for n in range(self.last):
                words, here = self.layouts[names[n]].words, place[n]
                potentials.append(Region(f"{names[n]} (back)", words, here, here))
                ends = max(here, place[n - 1] if n else here)
                count = words * self.learning.steps_back
                spikes.append(Region(f"{names[n]} (back)", count, here, ends))
            words, here = self.layouts[self.hidden].words, place[self.last - 1]
            drives.append(Region(f"{self.hidden} (back)", words, here, here))
        return allocate(potentials, drives, spikes)

    def _back_parts(self) -> list[list[int]]:
        """Groups of the backward stage, last first; together where spikes go round."""
        groups = [*reversed(range(self.last))]
        if any(edge.delay for edge in self.masters.edges):
            return [groups]
        return [[g] for g in groups]

    def _rows_of(self, source: MapLayout, target: MapLayout, numbers: Int) -> Scan:
        """Lay down rows of masters: (senders, targets) of them, by number. What all scans over them
        have in common."""
        tables = edge_tables(DENSE, source, target, (numbers + 1).T)
        start = self.master_rows
        self.index.append(tables.weights - 1)
        self.master_rows += len(tables.weights)
        return Scan(
            last_row=source.groups * source.shape[1] - 1,
            last_column=source.columns - 1,
            channel_bits=source.channel_bits,
            position_bits=(source.positions - 1).bit_length(),
            row_table=self._table("rows", tables.rows),
            column_table=self._table("columns", tables.columns),
            weight=start,
            learned=1,
            **tables.numbers,
            name="",
            source="",
            played=Played.STEP,
        )

    def _edge(self, n: int, k: int) -> Scan:
        if (n, k) not in self.learned:
            return super()._edge(n, k)
        number = self.learned[n, k]
        edge = self.masters.edges[number]
        target = self.layouts[self.spec.layers[n].name]
        outside = edge.source == INPUT
        planes = self.spec.input_bits if outside else 1
        return replace(
            self._rows_of(self.layouts[edge.source], target, self.numbers[number][: edge.senders]),
            name=self.spec.layers[n].name,
            source=edge.source,
            from_input=int(outside),
            last_plane=planes - 1,
            shift=edge.shift,
            rate=number,
        )

    def _bias(self, edge: LearnedEdge) -> Scan:
        """What brings the learned bias of an edge, beside its rows; laid down at its first use."""
        if edge.layer not in self.biases:
            number = self.learned[edge.layer, edge.number]
            layer = self.spec.layers[edge.layer]
            constant = edge.bias * (self.steps if edge.layer == self.last else 1)
            one = MapLayout((1, 1, 1), self.lanes)
            scan = self._rows_of(
                one, self.layouts[layer.name], self.numbers[number][edge.senders :]
            )
            self.biases[edge.layer] = replace(
                scan,
                name=layer.name,
                source="constant",
                held=Held.CONSTANT,
                constant=constant,
                last_plane=constant.bit_length() - 1,
                shift=edge.shift,
                sender=edge.senders,
                rate=number,
            )
        return self.biases[edge.layer]

    def _begin(self, n: int, edges: Sequence[Sequence[Scan]], memory: MemoryMap) -> None:
        super()._begin(n, edges, memory)
        if self.learning.readout_only:
            return
        (biased,) = [edge for edge in self.masters.edges if edge.layer == n and edge.bias]
        self._play(self._bias(biased), memory, drive=1)

    def _sweep(self, n: int, memory: MemoryMap, **more: int) -> Sweep:
        if n in self.count_base:
            more = {"counted": Counted.FORWARD, "counts": self.count_base[n]} | more
        return super()._sweep(n, memory, **more)

    def _readout(self, scan: Scan, memory: MemoryMap) -> None:
        """The readout's drive of all steps at once, from the counts; then the logits."""
        readout, neuron = self.spec.layers[self.last], self.mine[self.last - 1].spec.neuron
        assert neuron is not None
        planes = (self.steps * neuron.limit).bit_length()
        self.operations.append(self._sweep(self.last, memory, first=1))
        self._play(
            scan,
            memory,
            drive=1,
            held=Held.COUNTS,
            address=self.count_base[self.last - 1],
            last_plane=planes - 1,
        )
        self._play(self._bias(self.masters.edges[-1]), memory, drive=1)
        words = self.layouts[readout.name].words
        self.operations.append(
            Send(address=memory.drive(readout.name), last_word=words - 1, name=readout.name)
        )

    def _back_sweep(self, g: int, memory: MemoryMap, **more: int) -> Sweep:
        """The row *SPIDE backward*: both sides of the same threshold, no bias."""
        name = self.spec.layers[g].name
        plain = self._sweep(g, memory, potential=memory.potential(f"{name} (back)"))
        values = {"signed": 1, "channels": self.nothing, "counted": Counted.BACK}
        values |= {"has_drive": 0, "drive": 0, "start": 0}
        if g == self.last - 1:
            values |= {"has_drive": 1, "drive": memory.drive(f"{name} (back)")}
        return replace(plain, counts=self.count_base[g], **{**values, **more})

    def _copy(self, number: int) -> Scan:
        """The transposed copy of a learned edge's rows: from its targets to its senders."""
        edge = self.masters.edges[number]
        target = self.layouts[edge.source]
        name = self.spec.layers[edge.layer].name
        numbers = self.numbers[number][: edge.senders].T
        return replace(
            self._rows_of(self.layouts[name], target, numbers),
            name=edge.source,
            source=name,
            shift=edge.shift,
            rate=number,
        )

    def _backward(self, memory: MemoryMap) -> None:
        """T_B steps over the transposed copies; the error is the drive of the last group."""
        self.copies = {n: self._copy(n) for n, edge in enumerate(self.masters.edges) if edge.copied}
        inject = replace(
            self.copies[len(self.masters.edges) - 1],
            drive=1,
            potential=memory.drive(f"{self.hidden} (back)"),
            held=Held.ERROR,
            last_plane=self.learning.error_bits - 1,
            shift=self.learning.inject_shift,
        )
        for part in self._back_parts():
            for g in part:
                self.operations.append(self._back_sweep(g, memory, first=1))
                if g == self.last - 1:
                    self.operations.append(inject)
            for step in range(self.learning.steps_back):
                for g in part:
                    self._back_step(g, step, memory)

    def _back_step(self, g: int, step: int, memory: MemoryMap) -> None:
        """What arrives from the group behind, or one step later from the first; then fire."""
        names = [layer.name for layer in self.spec.layers]
        potential = memory.potential(f"{names[g]} (back)")
        for number, edge in enumerate(self.masters.edges):
            if edge.source != names[g] or edge.layer == self.last:
                continue
            when = step - edge.delay
            if when >= 0:
                words = self.layouts[names[edge.layer]].words
                address = memory.spike(f"{names[edge.layer]} (back)") + when * words
                scan = self.copies[number]
                self.operations.append(
                    replace(scan, potential=potential, address=address, when=when)
                )
        spikes = memory.spike(f"{names[g]} (back)") + step * self.layouts[names[g]].words
        self.operations.append(self._back_sweep(g, memory, fires=1, spikes=spikes))

    def _updates(self, edges: dict[int, list[Scan]]) -> None:
        """Every row of masters whose sender counted; both copies."""
        names = [layer.name for layer in self.spec.layers]
        for number, edge in enumerate(self.masters.edges):
            vector, base = Held.ERROR, 0
            if edge.layer < self.last:
                vector, base = Held.BACK, self.count_base[edge.layer]
            # (Rows are changed, and no sums: `drive` says nothing, and is what it is elsewhere.)
            change = {"update": 1, "drive": 1, "vector": vector, "potential": base}
            scan = edges[edge.layer][edge.number]
            place = 0
            if edge.source != INPUT:
                place = self.count_base[names.index(edge.source)]
                scan = replace(scan, held=Held.COUNTS, address=place)
            self.operations.append(replace(scan, last_plane=0, shift=0, **change))
            if edge.bias:
                # A neuron that fires at every step; the constant pixel is one number.
                total = edge.bias * (1 if edge.source == INPUT else self.steps)
                scan = replace(self._bias(edge), constant=total, last_plane=0, shift=0)
                self.operations.append(replace(scan, **change))
            if edge.copied:
                self.operations.append(
                    replace(
                        self.copies[number],
                        last_plane=0,
                        shift=0,
                        held=vector,
                        address=base,
                        update=1,
                        drive=1,
                        vector=Held.COUNTS,
                        potential=place,
                    )
                )
