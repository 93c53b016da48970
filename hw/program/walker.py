"""Walker: from a spike's place to every potential it reaches, one update per cycle.

What a spike reaches is a rectangle of positions, times the groups of target channels. Two table
rows (one per axis) say how many positions and where the first is; from there on all is counting
with fixed steps, so there is no multiplier and no arithmetic of kernels. While one event is walked,
the next ones pass table lookup and address sums, so that walks follow each other without a gap.
"""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.program.code import Scan
from hw.program.operation import Chain, operation, reach_layout, spike_event, update
from hw.program.program import Program
from hw.program.reach import Reach

__all__ = ["Walker"]


class Walker(wiring.Component):
    """Looks up what the event's row and column reach, and walks through it: columns innermost,
    then rows, then groups of target channels.

        event -> tables of both axes -> first addresses -> walk -> updates

    The tables know kernel, stride, padding and pooling; what lies outside of the target costs no
    update, and an event that reaches nothing no cycle of the walk.

    Cycle law (events offered at once): an event's first update comes `LATENCY` cycles after the
    event is taken, or follows the last update of the event before; then one per cycle.

    Parameters
    ----------
    program
        Tables and sizes.

    Members
    -------
    word : In
        The operation, a `Scan`; stable while `busy`.
    i : In(stream of spike_event(program))
    busy : Out(1)
        An event is on its way.
    valid : Out(1)
    o : Out(update(program))
        An update in each cycle with `valid`.
    """

    LATENCY = 5

    word: Signal
    i: stream.Interface
    busy: Signal
    valid: Signal
    o: data.View

    def __init__(self, program: Program) -> None:
        self._program = program
        super().__init__(
            {
                "word": In(program.code.bits),
                "i": In(stream.Signature(spike_event(program))),
                "busy": Out(1),
                "valid": Out(1),
                "o": Out(update(program)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        scan = operation(p, self.word, Scan)
        # This cycle's update is the event's last, or there is none: take the next.
        last = Signal(init=1)
        stages = Chain(m, "stage", 4, self.i.valid, last)
        looked, read, summed, based = stages.moves
        m.d.comb += [self.i.ready.eq(looked), self.busy.eq(self.valid | stages.any_valid)]

        # Where the event is, in positions and channels: a word of a picture may hold several
        # positions side by side, so the lane's upper bits belong to the column.
        event = self.i.payload
        most = p.lane_bits
        lane_column, channel = Signal(most), Signal(most)
        m.d.comb += [
            lane_column.eq(event.lane >> scan.channel_bits),
            channel.eq(event.lane & ((1 << scan.channel_bits) - 1)),
        ]
        column = Signal(p.column_bits)
        m.d.comb += column.eq(event.column << scan.position_bits | lane_column)

        # 1. The tables' memories; 2. their registers.
        row_table = self._table(m, "rows", p.rows, scan.row_table + event.row, looked)
        column_table = self._table(m, "columns", p.columns, scan.column_table + column, looked)
        wide = update(p)
        members = {
            "shift": wide["shift"].shape,
            "channel": unsigned(most),
            "negative": unsigned(1),
            "active": wide["active"].shape,
            "negatives": wide["negatives"].shape,
        }
        if p.learning is not None:
            members |= {name: wide[name].shape for name in ("value", "sender")}
        passed = data.StructLayout(members)

        def register(shape: Any, name: str) -> Any:
            return Signal(shape, name=name, reset_less=True)

        events = [register(passed, f"event{n}") for n in range(4)]
        with m.If(looked):
            m.d.sync += [
                events[0].shift.eq(event.plane + scan.shift),
                events[0].channel.eq(channel),
                events[0].negative.eq(event.negative),
                events[0].active.eq(event.active),
                events[0].negatives.eq(event.negatives),
            ]
            if p.learning is not None:
                # Rows of values: an event's row is its group of channels.
                m.d.sync += [
                    events[0].value.eq(event.value),
                    events[0].sender.eq(scan.sender + Cat(event.lane, event.row)),
                ]
        for n, move in enumerate((read, summed, based), 1):
            with m.If(move):
                m.d.sync += events[n].eq(events[n - 1])
        layout = reach_layout(p)
        row, col = register(layout, "row"), register(layout, "column_reach")
        with m.If(read):
            m.d.sync += [row.eq(row_table), col.eq(column_table)]

        # 3. Offsets added; 4. bases added.
        more = [register(layout["more"].shape, f"more{n}") for n in range(4)]
        potential = [register(wide["potential"].shape, f"potential{n}") for n in range(2)]
        weight = [register(wide["weight"].shape, f"weight{n}") for n in range(2)]
        with m.If(summed):
            m.d.sync += [
                potential[0].eq(row.potential + col.potential),
                weight[0].eq(row.weight + col.weight),
                more[0].eq(row.more),
                more[1].eq(col.more),
                # In place of what `Chain` assigns (the last assignment counts): an event that
                # reaches nothing ends here, before it would hold the walk up.
                stages.valids[2].eq(stages.valids[1] & row.some & col.some),
            ]
        with m.If(based):
            m.d.sync += [
                potential[1].eq(potential[0] + scan.potential),
                weight[1].eq(weight[0] + scan.weight + events[2].channel),
                more[2].eq(more[0]),
                more[3].eq(more[1]),
            ]
        self._walk(m, scan, last, stages.valids[3], events[3], potential[1], weight[1], more[2:])
        return m

    def _table(self, m: Module, name: str, reaches: tuple[Reach, ...], address: Value, en: Value):
        layout = reach_layout(self._program)
        rows: list[Any] = [
            {
                "some": r.count > 0,
                "more": max(r.count - 1, 0),
                "potential": r.potential,
                "weight": r.weight,
            }
            for r in reaches
        ]
        memory = Memory(shape=layout, depth=len(rows), init=rows)
        m.submodules[name] = memory
        port = memory.read_port()
        m.d.comb += [port.addr.eq(address), port.en.eq(en)]
        return port.data

    def _walk(
        self,
        m: Module,
        scan,
        last: Signal,
        begin: Value,
        event,
        potential: Value,
        weight: Value,
        more: list[Signal],
    ) -> None:
        """Three counters, columns in rows in groups, and where the current row and group began.

        The counters hold how many are left; columns and rows are loaded again from what the event
        brought, groups are the same for all events of the scan. Steps may be negative (a kernel is
        walked backwards): addresses wrap around, and come out right. That all three are 0 is seen
        a cycle ahead: all stages in front wait for it.
        """
        out = self.o
        more_rows, more_columns = more
        rows, columns = (Signal.like(more_rows, name=name) for name in ("rows", "columns"))
        rows_kept, columns_kept = (
            Signal.like(more_rows, name=name, reset_less=True) for name in ("rows0", "columns0")
        )
        groups = Signal(max(1, len(scan.last_group)))
        starts = {
            what: (
                Signal.like(out.potential, name=f"{what}_potential", reset_less=True),
                Signal.like(out.weight, name=f"{what}_weight", reset_less=True),
            )
            for what in ("row", "group")
        }
        by_row = starts["row"][0] + scan.potential_row, starts["row"][1] + scan.weight_row
        by_group = starts["group"][0] + scan.potential_group, starts["group"][1] + scan.weight_group

        single = Signal()
        m.d.comb += single.eq((more_columns == 0) & (more_rows == 0) & (scan.last_group == 0))
        with m.If(last):
            # Row and group begin where the event does.
            m.d.sync += [
                self.valid.eq(begin),
                last.eq(~begin | single),
                out.shift.eq(event.shift),
                out.negative.eq(event.negative),
                out.active.eq(event.active),
                out.negatives.eq(event.negatives),
                Cat(out.potential, starts["row"][0], starts["group"][0]).eq(potential.replicate(3)),
                Cat(out.weight, starts["row"][1], starts["group"][1]).eq(weight.replicate(3)),
                Cat(rows, rows_kept).eq(more_rows.replicate(2)),
                Cat(columns, columns_kept).eq(more_columns.replicate(2)),
                groups.eq(scan.last_group),
            ]
            if self._program.learning is not None:
                m.d.sync += [out.value.eq(event.value), out.sender.eq(event.sender), out.word.eq(0)]
        with m.Elif(columns != 0):
            m.d.sync += [
                out.potential.eq(out.potential + 1),
                out.weight.eq(out.weight + scan.weight_column),
                columns.eq(columns - 1),
                last.eq((columns == 1) & (rows == 0) & (groups == 0)),
            ]
        with m.Else():
            on = rows != 0  # another row of this group; otherwise the first row of the next group
            m.d.sync += columns.eq(columns_kept)
            for n, (place, kept) in enumerate(
                zip((out.potential, out.weight), starts["row"], strict=True)
            ):
                following = Mux(on, by_row[n], by_group[n])
                m.d.sync += [place.eq(following), kept.eq(following)]
            with m.If(on):
                m.d.sync += [
                    rows.eq(rows - 1),
                    last.eq((columns_kept == 0) & (rows == 1) & (groups == 0)),
                ]
            with m.Else():
                m.d.sync += [
                    rows.eq(rows_kept),
                    groups.eq(groups - 1),
                    last.eq((columns_kept == 0) & (rows_kept == 0) & (groups == 1)),
                    starts["group"][0].eq(by_group[0]),
                    starts["group"][1].eq(by_group[1]),
                ]
                if self._program.learning is not None:
                    m.d.sync += out.word.eq(out.word + 1)
