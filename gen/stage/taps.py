"""What the taps of a core must show, row by row, derived from the golden model's trace alone.

A tap's rows are recorded in the simulator as words of 32 bits; here they are cut into fields, and
each becomes an array that is compared with the array expected. Nothing of the hardware's own state
is used: pixels, spikes and potentials of the trace decide what must be seen, and in which order.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hw.contract.layout import MapLayout
from hw.contract.neuron import NeuronSpec
from hw.layer.geometry import LayerGeometry
from hw.stream.payloads import Kind

__all__ = [
    "Comparison",
    "EventTap",
    "NeuronTap",
    "Seen",
    "Tap",
    "WordTap",
    "decode_spikes",
    "event_counts",
    "expected_events",
    "signed",
    "split_fields",
]

Int = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]


class Seen(NamedTuple):
    """Pictures or recordings (n, size), and what the golden model made of them: spikes and
    potentials (n, T, neurons) of each layer that fires."""

    pixels: npt.NDArray[np.integer]
    spikes: Sequence[npt.NDArray[Any]]
    potentials: Sequence[npt.NDArray[Any]]


class Comparison(NamedTuple):
    """Values seen and expected, of equal shape but for missing or surplus rows."""

    what: str
    seen: npt.NDArray[Any]
    expected: npt.NDArray[Any]


class Tap(ABC):
    """A place to watch (`hw.stage.Stage.taps`), and what it must show."""

    name: str

    @property
    @abstractmethod
    def told(self) -> str:
        """What it watches, in words."""

    @abstractmethod
    def rows(self, images: Seen) -> int:
        """How many rows belong to these pictures."""

    @abstractmethod
    def compare(self, rows: Words, images: Seen) -> Iterator[Comparison]:
        """Rows (n, words of 32 bits), as many as belong to the pictures, or fewer where some are
        missing; held against what is expected."""

    def additions(self, rows: Words) -> npt.NDArray[np.bool_] | None:
        """Which rows are a row of weights being added, for layer `number`; None where the tap does
        not show it."""
        return None

    def shown(self, rows: Words, images: Seen) -> Iterator[tuple[int, Int, Int]]:
        """Of the layers that fire and that the tap shows: number, spikes and potentials
        (n, T, neurons); nothing where rows are missing."""
        yield from ()

    number: int = 0


def split_fields(rows: Words, widths: Sequence[int]) -> list[Int]:
    """Cut rows into unsigned fields, low bits first; one array per width (at most 62 bits)."""
    raw = np.ascontiguousarray(rows, dtype="<u4").view(np.uint8)
    bits = np.unpackbits(raw, axis=1, bitorder="little", count=sum(widths))
    fields, start = [], 0
    for width in widths:
        weight = np.left_shift(np.int64(1), np.arange(width, dtype=np.int64))
        fields.append(bits[:, start : start + width].astype(np.int64) @ weight)
        start += width
    return fields


def split_lanes(rows: Words, start: int, lanes: int, bits: int) -> Int:
    """Equal fields side by side, the first in bit `start`: (n, lanes)."""
    raw = np.ascontiguousarray(rows, dtype="<u4").view(np.uint8)
    stop = start + lanes * bits
    spread = np.unpackbits(raw, axis=1, bitorder="little", count=stop)[:, start:]
    weight = np.left_shift(np.int64(1), np.arange(bits, dtype=np.int64))
    return (spread.reshape(len(rows), lanes, bits) @ weight).astype(np.int64, copy=False)


def signed(values: Int, bits: int) -> Int:
    """Two's complement."""
    return values - (values >> bits - 1 << bits)


def decode_spikes(coded: Int, bits: int) -> Int:
    """Coefficients of what a lane sent (`hw.stream.payloads.coefficients`): `bits` of a magnitude,
    then the sign, if there is one."""
    return (coded & (1 << bits) - 1) * (1 - 2 * (coded >> bits))


def played_vectors(
    sent: npt.NDArray[np.integer], geometry: LayerGeometry
) -> npt.NDArray[np.integer]:
    """The vectors that a layer plays, (n, vectors, inputs), of all that it receives for n images,
    (n, ...): what comes at each step, or the sum of it."""
    vectors = sent.reshape(len(sent), -1, geometry.inputs)
    if not geometry.sent_planes:
        return vectors
    return vectors.sum(axis=1, keepdims=True, dtype=np.int64)


def event_counts(coefficients: npt.NDArray[np.integer], geometry: LayerGeometry) -> Int:
    """SPIKE events per pass (`geometry.turns`) and bank: (..., inputs) -> (..., passes, banks)."""
    magnitude = np.abs(coefficients.astype(np.int32))
    bank = geometry.slots() % geometry.banks
    planes = []
    for p in range(geometry.planes):
        bit = magnitude >> p & 1
        planes.append(
            np.stack([bit[..., bank == b].sum(axis=-1) for b in range(geometry.banks)], axis=-1)
        )
    return np.stack([planes[p] for p in geometry.turns], axis=-2).astype(np.int64)


def expected_events(
    coefficients: npt.NDArray[np.integer], geometry: LayerGeometry, bank: int
) -> Int:
    """The events of one bank for vectors (n, inputs), each played `groups` times, in order: kind,
    sign and row of each, (events, 3). Sign and row of an ending are 0."""
    g = geometry
    slots = np.zeros((len(coefficients), g.rows * g.banks), dtype=np.int32)
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
    return np.stack([kind, negative.astype(np.int64), row], axis=-1)


@dataclass(frozen=True, kw_only=True)
class EventTap(Tap):
    """Events that enter a bank of an accumulator.

    Parameters
    ----------
    name, layer, number
        Of the tap; of the layer, for sentences; its number.
    source
        Which spikes the layer receives, an index of `Seen.spikes`; -1: the pixels.
    """

    name: str
    layer: str
    geometry: LayerGeometry
    bank: int
    number: int
    source: int

    @property
    def told(self) -> str:
        return f"events of layer {self.layer}, bank {self.bank}"

    def _vectors(self, images: Seen) -> npt.NDArray[Any]:
        sent = images.pixels if self.source < 0 else images.spikes[self.source]
        return played_vectors(sent, self.geometry).reshape(-1, self.geometry.inputs)

    def rows(self, images: Seen) -> int:
        g, vectors = self.geometry, self._vectors(images)
        spikes = int(event_counts(vectors, g)[..., self.bank].sum())
        return g.groups * (spikes + len(vectors) * len(g.turns))

    def compare(self, rows: Words, images: Seen) -> Iterator[Comparison]:
        kind, negative, index = self._fields(rows)
        spike = kind == Kind.SPIKE.value  # sign and index of an ending are not defined
        seen = np.stack([kind, negative * spike, index * spike], axis=-1)
        expected = expected_events(self._vectors(images), self.geometry, self.bank)
        yield Comparison(f"Event of layer {self.layer}, bank {self.bank},", seen, expected)

    def additions(self, rows: Words) -> npt.NDArray[np.bool_]:
        return self._fields(rows)[0] == Kind.SPIKE.value

    def _fields(self, rows: Words) -> list[Int]:
        return split_fields(rows, [2, 1, (self.geometry.rows - 1).bit_length()])


@dataclass(frozen=True, kw_only=True)
class NeuronTap(Tap):
    """Spikes and stored potentials of a group of neurons, as they leave a LIF array.

    Parameters
    ----------
    number
        Of the layer: an index of `Seen.spikes`.
    group_major
        A group passes all its steps before the next one.
    """

    name: str
    layer: str
    number: int
    neuron: NeuronSpec
    geometry: LayerGeometry
    group_major: bool

    @property
    def told(self) -> str:
        return f"spikes of layer {self.layer}"

    def rows(self, images: Seen) -> int:
        count, steps, _ = images.spikes[self.number].shape
        return count * steps * self.geometry.firing.groups

    def compare(self, rows: Words, images: Seen) -> Iterator[Comparison]:
        neurons = self.geometry.neurons
        spikes, potentials = (
            part[self.number].reshape(-1, neurons) for part in (images.spikes, images.potentials)
        )
        sent, kept = self._decoded(rows, images)
        yield Comparison(f"Spike of layer {self.layer}", sent, spikes)
        yield Comparison(f"Potential of layer {self.layer}", kept, potentials)

    def shown(self, rows: Words, images: Seen) -> Iterator[tuple[int, Int, Int]]:
        if len(rows) == self.rows(images):
            shape = images.spikes[self.number].shape
            sent, kept = self._decoded(rows, images)
            yield self.number, sent.reshape(shape), kept.reshape(shape)

    def _decoded(self, rows: Words, images: Seen) -> tuple[Int, Int]:
        """Spikes and potentials, (pictures and steps, neurons)."""
        g = self.geometry.firing
        if self.group_major and len(rows) == self.rows(images):
            steps = images.spikes[self.number].shape[1]
            order = np.arange(len(rows)).reshape(-1, g.groups, steps)
            rows = rows[order.swapaxes(1, 2).reshape(-1)]
        width = self.neuron.magnitude_bits + self.neuron.signed
        coded = split_lanes(rows, 0, g.lanes, width)
        bits = self.neuron.potential_bits
        stored = split_lanes(rows, g.lanes * width, g.lanes, bits)
        return (
            decode_spikes(self._vectors(coded), self.neuron.magnitude_bits),
            signed(self._vectors(stored), bits),
        )

    def _vectors(self, values: Int) -> Int:
        """Rows of `lanes` values, `groups` per vector, as (vectors, neurons)."""
        g = self.geometry.firing
        whole = len(values) // g.groups
        vectors = values[: whole * g.groups].reshape(whole, g.groups * g.lanes)
        return vectors[:, : self.geometry.neurons]


@dataclass(frozen=True, kw_only=True)
class Swept:
    """The words of one layer at one step, as a program leaves them behind."""

    layer: str
    number: int
    step: int
    layout: MapLayout


@dataclass(frozen=True, kw_only=True)
class WordTap(Tap):
    """Words of spikes and kept potentials of the layers that a program lets fire.

    Parameters
    ----------
    sweeps
        In the order of the program.
    planes, sign, bits
        Of a spike: bits of its magnitude, whether it has a sign; bits of a potential.
    """

    name: str
    lanes: int
    planes: int
    sign: bool
    bits: int
    sweeps: tuple[Swept, ...]

    @property
    def told(self) -> str:
        return f"spikes of layers {', '.join(dict.fromkeys(s.layer for s in self.sweeps))}"

    def rows(self, images: Seen) -> int:
        return len(images.pixels) * sum(sweep.layout.words for sweep in self.sweeps)

    def shown(self, rows: Words, images: Seen) -> Iterator[tuple[int, Int, Int]]:
        if len(rows) != self.rows(images):
            return
        ends = np.cumsum([sweep.layout.words for sweep in self.sweeps])
        found = [
            np.split(values.reshape(len(images.pixels), ends[-1], self.lanes), ends[:-1], axis=1)
            for values in self._decoded(rows)
        ]
        for number in sorted({sweep.number for sweep in self.sweeps}):
            places = [k for k, sweep in enumerate(self.sweeps) if sweep.number == number]
            spikes, potentials = (
                np.stack([self.sweeps[k].layout.unpack(words[k]) for k in places], axis=1)
                for words in found
            )
            yield number, spikes, potentials

    def _decoded(self, rows: Words) -> tuple[Int, Int]:
        """Spikes and potentials, (rows, lanes)."""
        width = self.planes + self.sign
        coded = split_lanes(rows, 0, self.lanes, width)
        raw = split_lanes(rows, self.lanes * width, self.lanes, self.bits)
        return decode_spikes(coded, self.planes), signed(raw, self.bits)

    def compare(self, rows: Words, images: Seen) -> Iterator[Comparison]:
        spikes, potentials = self._decoded(rows)
        starts = np.cumsum([0, *(sweep.layout.words for sweep in self.sweeps)])
        whole = len(rows) == self.rows(images)
        numbers = sorted({sweep.number for sweep in self.sweeps})
        for what, values, wanted in (
            ("Spike", spikes, images.spikes),
            ("Potential", potentials, images.potentials),
        ):
            by_image = values.reshape(len(images.pixels), starts[-1], self.lanes) if whole else None
            for number in numbers:
                places = [k for k, sweep in enumerate(self.sweeps) if sweep.number == number]
                layout, layer = self.sweeps[places[0]].layout, self.sweeps[places[0]].layer
                told = f"{what} of layer {layer}"
                expected = np.stack(
                    [layout.pack(wanted[number][:, self.sweeps[k].step]) for k in places], axis=1
                )  # (pictures, steps, words, lanes)
                if by_image is None:  # something is missing
                    yield Comparison(told, values[:0].reshape(0, *expected.shape[1:]), expected)
                    continue
                found = np.stack([by_image[:, starts[k] : starts[k + 1]] for k in places], axis=1)
                if what == "Potential":  # lanes without a channel have one that nobody looks at
                    found, expected = (
                        layout.unpack(part.reshape(-1, layout.words, self.lanes))
                        for part in (found, expected)
                    )
                yield Comparison(told, found, expected)
