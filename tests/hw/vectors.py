"""Coefficient vectors and the events they are played as: plain references."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hw.layer.geometry import LayerGeometry
from hw.stream.payloads import Kind, coefficients, event
from tests.hw.driving import bits, fields

__all__ = [
    "Event",
    "bank_events",
    "decode_events",
    "encode_event",
    "pack_vector",
    "play",
    "random_vectors",
]

Ints = npt.NDArray[np.int64]
Event = tuple[Kind, int, int]


def decode_events(values: Sequence[int], rows: int) -> list[Event]:
    """(kind, sign, row) of raw events; sign and row of an ending mean nothing and become 0."""
    events: list[Event] = []
    for raw in values:
        e = fields(event(rows), raw)
        spike = e.kind == Kind.SPIKE
        events.append((Kind(e.kind), e.negative if spike else 0, e.index if spike else 0))
    return events


def encode_event(item: Event, rows: int) -> int:
    """Raw event."""
    return bits(event(rows), {"kind": item[0], "negative": item[1], "index": item[2]})


def random_vectors(
    rng: np.random.Generator, count: int, size: int, planes: int, signed: bool
) -> Ints:
    """Coefficient vectors of every density; the first is all zero, the second all set."""
    top = 2**planes - 1
    vectors = rng.integers(1, top + 1, (count, size))
    vectors = vectors * (rng.random((count, size)) < rng.random((count, 1)) ** 2)
    vectors[0] = 0
    vectors[1:2] = top
    if signed:
        vectors *= rng.choice([-1, 1], (count, size))
    return vectors


def pack_vector(vector: Sequence[int], chunk: int, planes: int, signed: bool) -> list[int]:
    """Raw words, `chunk` coefficients each; the last one padded."""
    layout = coefficients(chunk, planes, signed)
    words = []
    for start in range(0, len(vector), chunk):
        part = [int(c) for c in vector[start : start + chunk]]
        part += [0] * (chunk - len(part))
        word = [{"magnitude": abs(c), "negative": int(c < 0)} for c in part]
        if not signed:
            assert not any(c["negative"] for c in word)
            word = [{"magnitude": c["magnitude"]} for c in word]
        words.append(bits(layout, word))
    return words


def play(vector: Sequence[int], planes: int, repeat: bool = False) -> list[Event]:
    """The events of one vector, played once; with `repeat`, plane p 2^p times."""
    events: list[Event] = []
    for plane in reversed(range(planes)):
        for _ in range(2**plane if repeat else 1):
            for slot, c in enumerate(vector):
                if abs(int(c)) >> plane & 1:
                    events.append((Kind.SPIKE, int(c < 0), slot))
            events.append((Kind.PLANE, 0, 0))
    return [*events[:-1], (Kind.STEP, 0, 0)]


def bank_events(vector: Ints, g: LayerGeometry) -> list[list[Event]]:
    """Per bank, the events of one vector, played for all groups."""
    slots = np.zeros(g.rows * g.banks, dtype=np.int64)
    slots[g.slots()] = vector
    banks = (slots[bank :: g.banks].tolist() for bank in range(g.banks))
    return [play(bank, g.planes, g.repeat) * g.groups for bank in banks]
