"""Cursor: moves the window along a map's rows, and says what each event adds, and what leaves."""

from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.program.code import Scan
from hw.program.operation import operation, spike_event
from hw.program.program import Program
from hw.program.reach import Window
from hw.stream.skid import SkidBuffer

__all__ = ["Cursor", "motion"]


def motion(program: Program) -> data.StructLayout:
    """What the window does in a cycle.

    `add`: an event's row of weights (`weight`, `shift`, `negative`, `pick`) is added; over an
    identity edge `active` lanes with signs `negatives`. `move`: the window goes on a column; the
    one that it leaves is added to the word at `addresses` of each bank of `stores`, from row
    `slots` of the window. `fresh`: what the accumulators have is dropped.
    """
    window = program.window
    assert window is not None
    lanes = program.lanes if program.has_identities else 0
    slot, address = unsigned((window.rows - 1).bit_length()), (program.most_words - 1).bit_length()
    return data.StructLayout(
        {
            "add": 1,
            "move": 1,
            "fresh": 1,
            "stores": unsigned(window.rows),
            "slots": data.ArrayLayout(slot, window.rows),
            "addresses": data.ArrayLayout(unsigned(address), window.rows),
            "weight": unsigned(max(1, (program.most_rows - 1).bit_length())),
            "shift": unsigned(program.most_shift.bit_length()),
            "negative": 1,
            "pick": unsigned((len(window.picks) - 1).bit_length()),
            "active": unsigned(lanes),
            "negatives": unsigned(lanes),
        }
    )


class Cursor(wiring.Component):
    """Looks up what the event's row and column reach, and moves the window there.

        event -> tables of both axes -> offsets -> cursor -> motion

    Events come row by row, and column by column, with one at least for each position: so the window
    goes on by no more than a column at a time, and what it leaves is complete, as far as this row
    of the source is concerned. It leaves a column as it meets the next; at the end of a row, those
    that have something leave one after the other (`held` of them), the last as the next row's first
    event comes, and `Scan.turn` cycles after the row's last event or later.

    Cycle law (events offered at once): an event's motion is there `LATENCY` cycles after the event
    is offered; events follow each other in every cycle, but for a row's first, which waits for
    max(held - 1, turn) cycles. After the last, with `drain`, `held` cycles.

    Parameters
    ----------
    program
        With a window.

    Members
    -------
    word : In
        The operation, a `Scan`; stable while `busy`.
    i : In(stream of spike_event(program))
    drain : In(1)
        No event comes any more: what is held leaves.
    busy : Out(1)
        Events are on their way, or sums are held.
    o : Out(motion(program))
        With 0 for `add` and `move` where there is nothing.
    """

    LATENCY = 6

    word: Signal
    i: stream.Interface
    drain: Signal
    busy: Signal
    o: data.View

    def __init__(self, program: Program) -> None:
        self._program = program
        super().__init__(
            {
                "word": In(program.code.bits),
                "i": In(stream.Signature(spike_event(program))),
                "drain": In(1),
                "busy": Out(1),
                "o": Out(motion(program)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        window = p.window
        assert window is not None
        scan = operation(p, self.word, Scan)
        m.submodules.skid = skid = SkidBuffer(self.i.payload.shape())
        wiring.connect(m, wiring.flipped(self.i), skid.i)
        stalls, goes = Signal(), Signal()
        m.d.comb += [goes.eq(~stalls), skid.o.ready.eq(goes)]
        event = skid.o.payload

        # Tables' memories; their registers; offsets added; bases added. All move at once.
        valids = [Signal(name=f"valid{n}") for n in range(4)]
        with m.If(goes):
            m.d.sync += Cat(valids).eq(Cat(skid.o.valid, *valids[:-1]))
        rows, columns = self._tables(
            m, window, scan.row_table + event.row, scan.column_table + event.column, goes
        )
        layout = self.o.shape()

        def register(shape: Any, name: str) -> Any:
            return Signal(shape, name=name, reset_less=True)

        passed = data.StructLayout(
            {
                "channel": unsigned(p.lane_bits + p.group_bits),
                "row": unsigned(p.row_bits),
                "null": 1,
                **{n: layout[n].shape for n in ("shift", "negative", "active", "negatives")},
            }
        )
        events = [register(passed, f"event{n}") for n in range(4)]
        row, column = register(rows.shape(), "row"), register(columns.shape(), "column")
        offset = register(unsigned(len(self.o.weight)), "offset")
        with m.If(goes):
            m.d.sync += [
                events[0].channel.eq(Cat(event.lane, event.group)),
                events[0].row.eq(event.row),
                events[0].null.eq(event.null),
                events[0].shift.eq(event.plane + scan.shift),
                *(events[0][n].eq(event[n]) for n in ("negative", "active", "negatives")),
                *(after.eq(before) for before, after in pairwise(events)),
                row.eq(rows),
                column.eq(columns),
                events[2].null.eq(events[1].null | ~row.some | ~column.some),
                offset.eq(row.weight + column.weight),
            ]
        # What has been looked up, as far as it is needed further on.
        ahead = [register(rows.shape(), f"row{n}") for n in range(2)]
        beside = [register(columns.shape(), f"column{n}") for n in range(2)]
        weight = register(unsigned(len(self.o.weight)), "weight")
        bases = register(layout["addresses"].shape, "bases")
        first, before = register(1, "first"), register(passed["row"].shape, "before")
        begun = Signal()
        with m.If(goes):
            m.d.sync += [
                ahead[0].eq(row),
                beside[0].eq(column),
                ahead[1].eq(ahead[0]),
                beside[1].eq(beside[0]),
                weight.eq(offset + scan.weight + events[2].channel),
                first.eq(~begun | (events[2].row != before)),
            ]
            for n in range(window.rows):
                base = ahead[0].potential + scan.potential
                m.d.sync += bases[n].eq(base + Mux(ahead[0].nexts[n], scan.target_columns, 0))
            with m.If(valids[2]):
                m.d.sync += [begun.eq(1), before.eq(events[2].row)]

        # The window: where it begins, how many of its columns have something to leave with, and
        # where the banks' words are in this row.
        held = Signal(range(window.columns + 1))
        place = Signal.like(column.column, name="place", reset_less=True)
        here, slots = register(bases.shape(), "here"), register(layout["slots"].shape, "taken")
        stores = register(unsigned(window.rows), "stored")
        valid, at, one = valids[3], beside[1], events[3]
        waits = self._waits(m, scan, valid & first, goes)
        moves, adds, last = Signal(), Signal(), Signal()
        m.d.comb += [
            last.eq(self.drain & ~skid.o.valid & ~Cat(valids).any()),
            stalls.eq(valid & first & ((held > 1) | waits)),
            moves.eq((held != 0) & (last | (valid & (first | (at.column != place))))),
            adds.eq(valid & goes & ~one.null),
        ]
        m.d.sync += held.eq(Mux(adds, at.held, held - moves))
        with m.If(valid & goes):
            m.d.sync += place.eq(at.column)
            with m.If(first):
                m.d.sync += [here.eq(bases), slots.eq(ahead[1].slots), stores.eq(ahead[1].stores)]
        with m.Elif(moves):
            m.d.sync += place.eq(place + 1)
        with m.If(last):
            m.d.sync += begun.eq(0)

        o = self.o
        inside = place < scan.target_columns  # before the first column, it has wrapped around
        m.d.sync += [
            o.add.eq(adds),
            o.move.eq(moves),
            o.fresh.eq((held == 0) | (moves & (held == 1))),
            o.stores.eq(Mux(moves & inside, stores, 0)),
            o.slots.eq(slots),
            *(o.addresses[n].eq(here[n] + place) for n in range(window.rows)),
            o.weight.eq(weight),
            o.pick.eq(at.pick),
            *(o[n].eq(one[n]) for n in ("shift", "negative", "active", "negatives")),
        ]
        m.d.comb += self.busy.eq(skid.o.valid | Cat(valids).any() | (held != 0) | o.add | o.move)
        return m

    @staticmethod
    def _waits(m: Module, scan, first: Value, goes: Value) -> Value:
        """Whether a row's first event waits on, beside what is held."""
        if isinstance(scan.turn, Const) and not scan.turn.value:
            return Const(0)
        passed = Signal.like(scan.turn, name="passed")
        waits = passed != scan.turn
        with m.If(goes):
            m.d.sync += passed.eq(0)
        with m.Elif(first & waits):
            m.d.sync += passed.eq(passed + 1)
        return waits

    def _tables(
        self, m: Module, window: Window, row: Value, column: Value, en: Value
    ) -> tuple[Any, Any]:
        """The tables' rows, a cycle after their numbers."""
        rows, columns = window.row_table, window.column_table
        found = window.rows
        slot = unsigned((found - 1).bit_length())
        row_layout = data.StructLayout(
            {
                "some": 1,
                "stores": unsigned(found),
                "slots": data.ArrayLayout(slot, found),
                "nexts": unsigned(found),
                "potential": signed(_signed_bits([r.potential for r in rows])),
                "weight": unsigned(max(r.weight for r in rows).bit_length()),
            }
        )
        column_layout = data.StructLayout(
            {
                "some": 1,
                "column": unsigned(_signed_bits([c.column for c in columns])),
                "held": unsigned(window.columns.bit_length()),
                "weight": unsigned(max(c.weight for c in columns).bit_length()),
                "pick": unsigned((len(window.picks) - 1).bit_length()),
            }
        )
        mask = (1 << column_layout["column"].width) - 1
        row_rows: list[Any] = [
            {
                "some": any(r.stores),
                "stores": _bits(r.stores),
                "slots": [*r.slots],
                "nexts": _bits(r.nexts),
                "potential": r.potential,
                "weight": r.weight,
            }
            for r in rows
        ]
        column_rows: list[Any] = [
            {
                "some": c.some,
                "column": c.column & mask,
                "held": c.held,
                "weight": c.weight,
                "pick": c.pick,
            }
            for c in columns
        ]
        ports = []
        for name, layout, init, address in (
            ("rows", row_layout, row_rows, row),
            ("columns", column_layout, column_rows, column),
        ):
            memory = Memory(shape=layout, depth=len(init), init=init)
            m.submodules[name] = memory
            port = memory.read_port()
            m.d.comb += [port.addr.eq(address), port.en.eq(en)]
            ports.append(port.data)
        return ports[0], ports[1]


def _bits(flags: tuple[int, ...]) -> int:
    return sum(flag << n for n, flag in enumerate(flags))


def _signed_bits(values: list[int]) -> int:
    return 1 + max(max(values), -min(values), 1).bit_length()
