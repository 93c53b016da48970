"""What must pass through every stream of a core, derived from the golden model alone.

The bench records what did pass (`Recording`); both are flat arrays, so comparing is one equation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gen.core.layer_cycles import event_counts, play_cycles
from gen.core.plan import CorePlan
from hw.contract.spec import NeuronSpec
from hw.layer.geometry import LayerGeometry
from hw.stream.payloads import Kind
from sim.golden.model import Trace

__all__ = [
    "Events",
    "decode_spikes",
    "expected_events",
    "law_costs",
    "signed",
    "spike_bits",
    "split_fields",
]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Events:
    """A run of events of one bank: kind, sign and row of each. Sign and row are 0 for endings."""

    kind: Int
    negative: Int
    index: Int

    def rows(self) -> Int:
        """Shape (n, 3): one row per event."""
        return np.stack([self.kind, self.negative, self.index], axis=-1)


def split_fields(words: Sequence[int], widths: Sequence[int]) -> list[Int]:
    """Cut integers into unsigned fields, low bits first; one array per width (at most 62 bits)."""
    total = sum(widths)
    size = -(-total // 8)
    raw = b"".join(word.to_bytes(size, "little") for word in words)
    bits = np.unpackbits(
        np.frombuffer(raw, dtype=np.uint8).reshape(len(words), size), axis=1, bitorder="little"
    )
    fields, start = [], 0
    for width in widths:
        weight = np.left_shift(np.int64(1), np.arange(width, dtype=np.int64))
        fields.append(bits[:, start : start + width].astype(np.int64) @ weight)
        start += width
    return fields


def expected_events(
    coefficients: npt.NDArray[np.integer], geometry: LayerGeometry, bank: int
) -> Events:
    """The events of one bank for vectors (n, inputs), each played `groups` times, flat in time."""
    g = geometry
    slots = np.zeros((len(coefficients), g.rows * g.banks), dtype=np.int16)
    slots[:, g.slots()] = coefficients
    mine = slots.reshape(len(slots), g.rows, g.banks)[..., bank]
    passes = [np.abs(mine) >> p & 1 for p in g.turns]
    # One more column, always set, is the ending of the pass: its place is after all spikes.
    marks = np.ones((len(slots), g.groups, len(passes), g.rows + 1), dtype=bool)
    marks[..., :-1] = np.stack(passes, axis=1)[:, None]
    vector, _, turn, row = np.nonzero(marks)
    ending = row == g.rows
    last_pass = turn == len(passes) - 1
    kind = np.where(
        ending, np.where(last_pass, Kind.STEP.value, Kind.PLANE.value), Kind.SPIKE.value
    )
    row = np.where(ending, 0, row)
    negative = np.where(ending, 0, mine[vector, row] < 0)
    return Events(kind, negative.astype(np.int64), row)


def signed(values: Int, bits: int) -> Int:
    """Two's complement."""
    return values - (values >> bits - 1 << bits)


def decode_spikes(coded: Int, bits: int) -> Int:
    """Coefficients of what a lane sent (`hw.stream.payloads.coefficients`): `bits` of a magnitude,
    then the
    sign, if there is one."""
    return (coded & (1 << bits) - 1) * (1 - 2 * (coded >> bits))


def spike_bits(neuron: NeuronSpec) -> int:
    """Bits of a lane's spike."""
    return neuron.magnitude_bits + neuron.signed


def law_costs(plan: CorePlan, pixels: npt.NDArray[np.integer], trace: Trace) -> list[Int]:
    """Play cycles of each layer's input, the argument of
    `gen.core.layer_cycles.CycleLaw.predict`."""
    costs = [play_cycles(event_counts(pixels, plan.geometries[0]))]
    for geometry, spikes in zip(plan.geometries[1:], trace.spikes, strict=True):
        costs.append(play_cycles(event_counts(spikes, geometry)))
    return costs
