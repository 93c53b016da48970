"""Rows of a memory as a stream without gaps, from one to another, as often as is asked for."""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.memory.ram import WeightRam
from hw.memory.rom import WeightRom
from hw.stream.payloads import load_layout, transfer

__all__ = ["RowPlayer"]


class RowPlayer(wiring.Component):
    """Offers a row in every cycle, if the one before was taken: a few are held ready, so that the
    memory's latency costs nothing.

    The first row is offered `LATENCY` cycles after `start`. A reset forgets what is under way.

    Parameters
    ----------
    width, rows, file
        As of a `WeightRom`.
    most_repeats
        Largest number of `repeats`.
    loaded
        The rows are loaded at power-up, into single-port RAMs (`hw.memory.ram.WeightRam`).

    Members
    -------
    start : In(1)
        While nothing is under way.
    first, last, repeats : In
        Rows to play, and how often; stable while they are played.
    o : Out(stream of width)
    load : In(load_layout([(width, len(rows))])), with `loaded`
        Writes a row, while nothing is played.
    """

    LATENCY = WeightRom.PIPELINE_CYCLES + 2

    start: Signal
    first: Signal
    last: Signal
    repeats: Signal
    o: stream.Interface
    load: data.View

    def __init__(
        self,
        *,
        width: int,
        rows: Sequence[int],
        most_repeats: int,
        file: str | None = None,
        loaded: bool = False,
    ) -> None:
        self._width, self._rows, self._file, self._loaded = width, rows, file, loaded
        super().__init__(
            ({"load": In(load_layout([(width, len(rows))]))} if loaded else {})
            | {
                "start": In(1),
                "first": In(range(len(rows))),
                "last": In(range(len(rows))),
                "repeats": In(range(most_repeats + 1)),
                "o": Out(stream.Signature(width)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        if self._loaded:
            m.submodules.rom = rom = WeightRam(width=self._width, depth=len(self._rows), spram=True)
            m.d.comb += [
                rom.load_en.eq(self.load.en),
                rom.load_addr.eq(self.load.address),
                rom.load_data.eq(self.load.data),
            ]
        else:
            m.submodules.rom = rom = WeightRom(width=self._width, rows=self._rows, file=self._file)
        cycles = WeightRom.PIPELINE_CYCLES
        running, repeat = Signal(), Signal.like(self.repeats)
        address = Signal.like(self.first)
        depth = cycles + 2
        flight, level = Signal(cycles), Signal(range(depth + 1))
        held = data.ArrayLayout(self._width, depth)
        words = Signal(held)
        fetch, arrives, sent = Signal(), Signal(), transfer(self.o)
        slot = Signal(range(depth))
        on_way = sum((flight[n] for n in range(cycles)), level)
        m.d.comb += [
            rom.addr.eq(address),
            arrives.eq(flight[-1]),
            slot.eq(level - sent),
            fetch.eq(running & (on_way < depth)),
            self.o.valid.eq(level != 0),
            self.o.payload.eq(words[0]),
        ]
        m.d.sync += [flight.eq(flight << 1 | fetch), level.eq(level + arrives - sent)]
        with m.If(sent):
            m.d.sync += [words[n].eq(words[n + 1]) for n in range(depth - 1)]
        with m.If(arrives):
            m.d.sync += words[slot].eq(rom.data)
        with m.If(self.start):
            m.d.sync += [running.eq(1), repeat.eq(self.repeats), address.eq(self.first)]
        with m.Elif(fetch):
            at_end = address == self.last
            m.d.sync += address.eq(Mux(at_end, self.first, address + 1))
            with m.If(at_end):
                m.d.sync += repeat.eq(repeat - 1)
                with m.If(repeat == 1):
                    m.d.sync += running.eq(0)
        return m
