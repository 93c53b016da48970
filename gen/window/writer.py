"""Writes the program of a window stage: tables of windows, wide rows of weights, operations."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gen.program.memory_map import MemoryMap
from gen.program.writer import ProgramWriter
from gen.window.tables import COLUMNS, ROWS, STRAIGHT, Pick, window_passes
from hw.contract.edge import INPUT
from hw.contract.layout import MapLayout, map_layout
from hw.contract.network import Network
from hw.program.code import Scan, Sweep
from hw.program.program import Program
from hw.program.reach import Window, WindowColumn, WindowRow
from hw.window.sums import WindowSums

__all__ = ["WindowWriter", "tall_layout"]


def tall_layout(layout: MapLayout, rows: int) -> MapLayout:
    """A layer's map in words of `rows` rows of a window's, and of as many groups of channels as
    there is room for beside each other."""
    return replace(layout, rows=rows, sets=ROWS // rows)


class WindowWriter(ProgramWriter):
    """Collects tables, weights, operations of layers whose edges are convolutions and identities.

    Parameters
    ----------
    rows
        Of each layer: rows of its map in a word.
    """

    places = ROWS * COLUMNS

    def __init__(
        self,
        network: Network,
        lanes: int,
        layers: range,
        rows: Mapping[str, int],
        changes: Collection[str] = (),
    ) -> None:
        self._rows = rows
        self._row_table: list[WindowRow] = []
        self._column_table: list[WindowColumn] = []
        self._picks: list[Pick] = [STRAIGHT]
        self._used = np.zeros((ROWS, COLUMNS), dtype=bool)
        super().__init__(network, lanes, layers, INPUT, changes)

    def _layout(self, name: str) -> MapLayout:
        layout = map_layout(self.spec, name, self.lanes)
        return layout if name not in self._rows else tall_layout(layout, self._rows[name])

    def _words(self, source: str) -> int:
        layout = self.layouts[source]
        return layout.words * layout.positions

    def _scans(self, n: int, k: int) -> list[Scan]:
        layer = self.network.layers[n]
        edge, neuron, name = layer.edges[k], layer.spec.neuron, layer.spec.name
        source, target = self.layouts[edge.source], self.layouts[name]
        # A word of a picture is cut into its positions on its way in.
        wide = source.columns * source.positions
        down = -(-source.shape[1] // source.rows) * wide
        found = []
        for one in window_passes(edge, source, target, layer.kernels[k], self._pick):
            first = one.groups.start
            self._used |= one.used
            found.append(
                Scan(
                    name=name,
                    source=edge.source,
                    from_input=int(edge.source == INPUT),
                    address=first // source.sets * down,
                    first_group=first,
                    first_set=first % source.sets,
                    last_set=source.sets - 1,
                    last_part=source.rows - 1,
                    part_bits=(source.rows - 1).bit_length(),
                    last_source_group=len(one.groups) - 1,
                    set_words=down,
                    row_words=wide,
                    last_row=source.shape[1] - 1,
                    last_column=source.shape[2] - 1,
                    row_table=_placed(self._row_table, one.rows),
                    column_table=_placed(self._column_table, one.columns),
                    potential=one.target_set * target.set_words,
                    target_columns=target.shape[2],
                    turn=max(0, WindowSums.AGAIN - source.shape[2] * len(one.groups)),
                    weight=self._lay(name, one.weights),
                    shift=edge.shift + (0 if neuron is None else neuron.fraction_bits),
                    identity=int(edge.kind == "identity"),
                    constant=int(layer.kernels[k][0]) if edge.kind == "identity" else 0,
                    channels=target.shape[0] // edge.groups if edge.kind == "conv" else 1,
                )
            )
        return found

    def _pick(self, pick: Pick) -> int:
        if pick not in self._picks:
            self._picks.append(pick)
        return self._picks.index(pick)

    def _sweeps(self, n: int, memory: MemoryMap, **more: int) -> list[Sweep]:
        """A pass for each set of groups: its biases are fetched once."""
        whole, layout = self._sweep(n, memory, **more), self.layouts[self.spec.layers[n].name]
        full, rest = divmod(layout.shape[1], layout.rows)
        there = sum(1 << bank for bank in range(ROWS) if not rest or bank % layout.rows < rest)
        return [
            replace(
                whole,
                **{
                    name: getattr(whole, name) + number * layout.set_words
                    for name in ("potential", "drive", "spikes")
                },
                last_word=layout.set_words - 1,
                last_position=0,
                channels=whole.channels + number * layout.sets,
                spread=(layout.rows - 1).bit_length(),
                ragged=full * layout.columns if rest else 0,
                parts=there,
            )
            for number in range(layout.padded_groups // layout.sets)
        ]

    def _program(self, memory: MemoryMap) -> Program:
        picture, made = self.layouts[INPUT], super()._program(memory)
        rows, used = made.weights.reshape(-1, ROWS, COLUMNS, self.lanes), self._used
        return replace(
            made,
            weights=rows[:, used].reshape(len(rows), -1),
            rows=(),
            columns=(),
            window=Window(
                rows=ROWS,
                columns=COLUMNS,
                used=tuple((int(row), int(column)) for row, column in np.argwhere(used)),
                row_table=tuple(self._row_table),
                column_table=tuple(self._column_table),
                picks=tuple(self._picks),
                pixels=self.lanes // picture.positions,
            ),
        )


def _placed(table: list[Any], rows: list[Any]) -> int:
    """Where these rows of a table lie; equal ones lie there once."""
    count = len(rows)
    for start in range(len(table) - count + 1):
        if table[start : start + count] == rows:
            return start
    table += rows
    return len(table) - count
