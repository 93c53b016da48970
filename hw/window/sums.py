"""Banks of potentials and drives: one for each row of the window, read and written at once."""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.program.code import Scan
from hw.program.operation import operation
from hw.program.program import Program
from hw.program.sweeper import Sweeper
from hw.stream.payloads import drives
from hw.window.accumulators import Accumulators
from hw.window.cursor import motion

__all__ = ["WindowSums"]


class WindowSums(wiring.Component):
    """Adds what the window leaves to the words of its rows, read, changed and written back: of
    potentials, or, with `Scan.drive`, of drives.

        cycle  0  motion
               4  addresses of the sums
               5  the column that left          sums as they were, in their memories
               6  its rows, by bank             sums as they were
               7  new sums, written

    A word must not be read again within `AGAIN` cycles: a row of the source takes longer
    (`Scan.turn`). A memory that is narrower than the other keeps the low bits.

    The sweeper (`hw.program.sweeper`) has the memories when nothing is on its way: the words of all
    banks at an address are its word.

    Latency `LATENCY` from a motion to the end of the cycle that writes.

    Parameters
    ----------
    program
        With a window.
    files
        Of the ROMs of weights, biases and thresholds, for Verilog.

    Members
    -------
    word : In
        The operation; stable while `busy`.
    i : In(motion(program))
    sweep : In(1)
        Begin a sweep.
    busy : Out(1)
        Motions or a sweep are on their way.
    fired, spikes, spike_address, odd, potentials : Out
        Of the sweeper.
    """

    LATENCY = 8
    AGAIN = 4

    word: Signal
    i: data.View
    sweep: Signal
    busy: Signal
    fired: Signal
    spikes: data.View
    spike_address: Signal
    odd: Signal
    potentials: data.View

    def __init__(self, program: Program, files: Mapping[str, str] | None = None) -> None:
        self._program, self._files = program, files
        self._sweeper = Sweeper(program, files)
        ports = self._sweeper.signature.members
        self._passed = ("fired", "spikes", "spike_address", "odd", "potentials")
        super().__init__(
            {
                "word": In(program.code.bits),
                "i": In(motion(program)),
                "sweep": In(1),
                "busy": Out(1),
                **{name: ports[name] for name in self._passed},
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        banks, lanes = range(p.parts), range(p.lanes)
        scan = operation(p, self.word, Scan)
        m.submodules.sweeper = sweeper = self._sweeper
        m.submodules.accumulators = accumulators = Accumulators(
            p, None if self._files is None else self._files["weights"]
        )
        m.d.comb += [
            accumulators.word.eq(self.word),
            accumulators.i.eq(self.i),
            sweeper.word.eq(self.word),
            sweeper.start.eq(self.sweep),
            *(getattr(self, name).eq(getattr(sweeper, name)) for name in self._passed),
        ]

        # What leaves the window, in each of its cycles.
        leaves = data.StructLayout({n: self.i.shape()[n].shape for n in _LEAVES})
        flow: list[Any] = [self.i]
        for n in range(1, self.LATENCY):
            at = Signal(leaves, name=f"leaves{n}", reset_less=True)
            stores = Signal(p.parts, name=f"stores{n}")
            m.d.sync += [
                *(at[name].eq(flow[-1][name]) for name in _LEAVES if name != "stores"),
                stores.eq(flow[-1].stores),
            ]
            m.d.comb += at.stores.eq(stores)
            flow.append(at)
        m.d.comb += self.busy.eq(Cat(self.i.add, *(at.stores for at in flow)).any() | sweeper.busy)

        words, sweeping = drives(p.lanes, p.sum_bits), sweeper.busy
        sums = [Signal(words, name=f"sums{n}", reset_less=True) for n in banks]
        found: dict[str, list[Any]] = {}
        for name, depth, (read, write, where), kept, mine in (
            (
                "potentials",
                p.potential_words,
                (sweeper.read, sweeper.write, sweeper.write_address),
                sweeper.prepared,
                ~scan.drive,
            ),
            (
                "drives",
                p.drive_words,
                (sweeper.drive_read, sweeper.drive_write, sweeper.drive_write_address),
                sweeper.biases,
                scan.drive,
            ),
        ):
            for n in banks if depth else ():
                layout = data.ArrayLayout(kept.shape().elem_shape, p.lanes)
                m.submodules[f"{name}{n}"] = memory = Memory(shape=layout, depth=depth, init=[])
                reads, writes = memory.read_port(), memory.write_port()
                m.d.comb += [
                    reads.addr.eq(Mux(sweeping, read, flow[4].addresses[n])),
                    writes.en.eq(Mux(sweeping, write, flow[7].stores[n] & mine)),
                    writes.addr.eq(Mux(sweeping, where, flow[7].addresses[n])),
                    *(
                        writes.data[k].eq(Mux(sweeping, kept[n * p.lanes + k], sums[n][k]))
                        for k in lanes
                    ),
                ]
                found.setdefault(name, []).append(reads.data)
        if p.drive_words:
            m.d.comb += Value.cast(sweeper.drives).eq(Cat(found["drives"]))
        both, only = len(found) == 2, next(iter(found))
        from_drives = Signal()  # in a sweep, `old` is for potentials
        m.d.sync += from_drives.eq(~sweeping & scan.drive)
        for n in banks:
            old = Signal(words, name=f"old{n}", reset_less=True)
            row = Signal(words, name=f"row{n}", reset_less=True)
            left = Array(Value.cast(accumulators.left[slot]) for slot in banks)
            m.d.sync += row.eq(left[flow[5].slots[n]])
            for k in lanes:
                there = found[only][n][k]
                if both:
                    there = Mux(from_drives, found["drives"][n][k], there)
                m.d.sync += [old[k].eq(there), sums[n][k].eq(old[k] + row[k])]
                if p.potential_words:
                    m.d.comb += sweeper.v[n * p.lanes + k].eq(old[k])
        return m


_LEAVES = ("stores", "slots", "addresses")
