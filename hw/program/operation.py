"""An operation's word as Amaranth sees it, and the payloads between a program stage's parts."""

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed, unsigned
from amaranth.lib import data

from hw.contract.learning import DITHER_BITS
from hw.program.code import Operation
from hw.program.program import Program

__all__ = ["Chain", "operation", "reach_layout", "spike_event", "update"]


def operation(program: Program, word: Value, kind: type[Operation]) -> Any:
    """The numbers of an operation in a word, by name; those that never change are constants."""
    found = {}
    for name, place in program.code.fields(kind).items():
        if not place.bits:
            # Of a 0 too there is a bit, so that what is not so is 1.
            bits = max(1, place.value.bit_length()) + (place.value < 0)
            shape = (signed if place.value < 0 else unsigned)(bits)
            found[name] = Const(place.value, shape)
            continue
        value = word[place.start : place.start + place.bits]
        found[name] = value.as_signed() if place.is_signed else value
    return SimpleNamespace(**found)


def spike_event(program: Program) -> data.StructLayout:
    """A spike of one bit plane: lane, row, word of the row, plane, sign, and where the network
    learns, the magnitude of its whole coefficient. Over an identity edge all lanes go at once:
    those that are active, and their signs. Through a window: also the group of channels, and
    whether there is nothing."""
    lanes = program.lanes if program.has_identities else 0
    members: dict[str, Any] = {
        "lane": unsigned(program.lane_bits),
        "row": unsigned(program.row_bits),
        "column": unsigned(program.word_column_bits),
        "plane": unsigned((program.planes - 1).bit_length()),
        "negative": unsigned(1),
        "active": unsigned(lanes),
        "negatives": unsigned(lanes),
    }
    if program.learning is not None:
        members["value"] = unsigned(program.learning.value_bits)
    if program.window is not None:
        members |= {"group": unsigned(program.group_bits), "null": unsigned(1)}
    return data.StructLayout(members)


def reach_layout(program: Program) -> data.StructLayout:
    """A row of a reach table: whether anything is reached, how many positions beyond the first,
    and the offsets."""
    reaches = [*program.rows, *program.columns]
    return data.StructLayout(
        {
            "some": unsigned(1),
            "more": unsigned(max(max(r.count - 1, 0) for r in reaches).bit_length()),
            "potential": unsigned(max(r.potential for r in reaches).bit_length()),
            "weight": unsigned(max(r.weight for r in reaches).bit_length()),
        }
    )


def update(program: Program) -> data.StructLayout:
    """One word of potentials and what is added to it: a row of weights, shifted, signed. Where the
    network learns, also the coefficient's magnitude, its sender, and which word of the target."""
    lanes = program.lanes if program.has_identities else 0
    members: dict[str, Any] = {
        "potential": unsigned((program.most_words - 1).bit_length()),
        "weight": unsigned(max(1, (program.most_rows - 1).bit_length())),
        "shift": unsigned(program.most_shift.bit_length()),
        "negative": unsigned(1),
        "active": unsigned(lanes),
        "negatives": unsigned(lanes),
    }
    if program.learning is not None:
        members["value"] = unsigned(program.learning.value_bits)
        members["sender"] = unsigned(DITHER_BITS)
        members["word"] = unsigned(max(1, program.target_words - 1).bit_length())
    return data.StructLayout(members)


class Chain:
    """Registers in a row, each with a `valid`, that move on wherever there is room.

    Attributes
    ----------
    valids
        One per stage.
    moves
        Stage n takes what stage n-1 has, or nothing.
    """

    def __init__(self, m: Module, name: str, stages: int, source: Value, room: Value) -> None:
        self.valids = [Signal(name=f"{name}{n}") for n in range(stages)]
        self.moves = [Signal(name=f"{name}_moves{n}") for n in range(stages)]
        for n in range(stages):
            ahead = room if n == stages - 1 else self.moves[n + 1]
            m.d.comb += self.moves[n].eq(~self.valids[n] | ahead)
            with m.If(self.moves[n]):
                m.d.sync += self.valids[n].eq(source if n == 0 else self.valids[n - 1])

    @property
    def any_valid(self) -> Value:
        """Something is on its way."""
        return Cat(self.valids).any()
