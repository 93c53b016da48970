"""The payload types of the streams between layers and inside them; docs/streams.md has the list.

All streams are `amaranth.lib.stream`: a transfer happens in a cycle where `valid` and `ready` are
both high; an offered payload is held until then; `valid` never waits for `ready`.
"""

from collections.abc import Sequence

from amaranth.hdl import ShapeLike, signed, unsigned
from amaranth.lib import data, enum, stream

from hw.contract.neuron import NeuronSpec

__all__ = ["Kind", "coefficients", "drives", "event", "load_layout", "spikes", "transfer"]


class Kind(enum.Enum, shape=unsigned(2)):
    """What an event says."""

    SPIKE = 0
    """Add (or subtract) the weight row `index`."""
    PLANE = 1
    """A bit plane of the coefficients is complete: double the accumulators."""
    STEP = 2
    """All coefficients of the time step have been sent: close the sum."""


def coefficients(count: int, planes: int, signed: bool) -> data.ArrayLayout:
    """`count` spike coefficients in sign and magnitude, element 0 in the low bits.

    A ternary spike is one plane with a sign, a direct-coded pixel `planes` planes without one.
    """
    members: dict[str, ShapeLike] = {"magnitude": unsigned(planes)}
    if signed:
        members["negative"] = unsigned(1)
    return data.ArrayLayout(data.StructLayout(members), count)


def spikes(neuron: NeuronSpec, count: int) -> data.ArrayLayout:
    """What `count` neurons send in a time step."""
    return coefficients(count, neuron.magnitude_bits, neuron.signed)


def event(rows: int) -> data.StructLayout:
    """An event for a bank of `rows` weight rows: kind, sign and row index."""
    return data.StructLayout(
        {"kind": Kind, "negative": unsigned(1), "index": unsigned((rows - 1).bit_length())}
    )


def drives(lanes: int, bits: int) -> data.ArrayLayout:
    """The drives of one group of neurons, lane 0 in the low bits."""
    return data.ArrayLayout(signed(bits), lanes)


def load_layout(parts: Sequence[tuple[int, int]]) -> data.StructLayout:
    """A row for one of the weight RAMs, (bits, rows) each; written in a cycle with `en`."""
    return data.StructLayout(
        {
            "en": unsigned(1),
            "part": unsigned((len(parts) - 1).bit_length()),
            "address": unsigned(max(1, *((depth - 1).bit_length() for _, depth in parts))),
            "data": unsigned(max(width for width, _ in parts)),
        }
    )


def transfer(port: stream.Interface):
    """One in the cycle of a hand-shake."""
    return port.valid & port.ready
