"""Mailbox: what a board says about itself and its last result, as 32-bit words read by bytes."""

from collections.abc import Sequence

from amaranth.hdl import Array, C, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.contract.link import CLASS, CYCLES, LOGITS, TAG, WORD_BYTES
from hw.neuron.readout import result_layout

__all__ = ["EventCounter", "Mailbox", "ResultRecorder"]


class Mailbox(wiring.Component):
    """Memory with a port to write words, or some of their bytes, and a port to read bytes.

    Reading and writing one word in the same cycle yields anything.

    Parameters
    ----------
    words
        Depth.
    init
        The first words; the others are 0.

    Members
    -------
    en : In(4)
        Bytes to write, the first in the low bits of the word.
    addr : In
        Word to write.
    data : In(32)
    index : In
        Byte to read; it is there, in `byte`, `LATENCY` cycles later.
    byte : Out(8)
    """

    LATENCY = 2

    en: Signal
    addr: Signal
    data: Signal
    index: Signal
    byte: Signal

    def __init__(self, words: int, init: Sequence[int]) -> None:
        self._words, self._init = words, list(init)
        super().__init__(
            {
                "en": In(WORD_BYTES),
                "addr": In(range(words)),
                "data": In(8 * WORD_BYTES),
                "index": In(range(words * WORD_BYTES)),
                "byte": Out(8),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=8 * WORD_BYTES,
            depth=self._words,
            init=self._init,
            attrs={"no_rw_check": "1"},  # or Yosys adds gates for old data on iCE40
        )
        write, read = memory.write_port(granularity=8), memory.read_port()
        place = Signal(range(WORD_BYTES))
        m.d.comb += [
            write.en.eq(self.en),
            write.addr.eq(self.addr),
            write.data.eq(self.data),
            read.addr.eq(self.index[2:]),
        ]
        m.d.sync += [
            place.eq(self.index[:2]),
            # Out of a register, so that no block-RAM delay meets the sender's multiplexers.
            self.byte.eq(read.data.word_select(place, 8)),
        ]
        return m


class EventCounter(wiring.Component):
    """Adds up the bits that are set, in registered steps, so that many lanes cost no speed.

    Parameters
    ----------
    lanes
        Bits per cycle.

    Members
    -------
    clear : In(1)
    i : In(lanes)
    count : Out(32)
        All bits of the cycles up to `latency` cycles ago, since `clear`.
    """

    GROUP = 4

    clear: Signal
    i: Signal
    count: Signal

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        super().__init__({"clear": In(1), "i": In(lanes), "count": Out(32)})

    @property
    def latency(self) -> int:
        """Cycles from a bit to its being counted."""
        groups = -(-self._lanes // self.GROUP)
        return 3 + (groups - 1).bit_length()

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = Signal(self._lanes)
        m.d.sync += lanes.eq(self.i)
        # A group is a table: a gate of four inputs for each bit of its sum.
        table = [C(n.bit_count(), range(self.GROUP + 1)) for n in range(1 << self.GROUP)]
        sums, most = [], self.GROUP
        for n in range(0, self._lanes, self.GROUP):
            sums.append(Array(table)[lanes[n : n + self.GROUP]])
        while True:
            level = [Signal(range(most + 1)) for _ in sums]
            m.d.sync += [register.eq(value) for register, value in zip(level, sums, strict=True)]
            if len(level) == 1:
                break
            sums, most = [sum(level[n : n + 2], C(0)) for n in range(0, len(level), 2)], 2 * most
        m.d.sync += self.count.eq(Mux(self.clear, 0, self.count + level[0]))
        return m


class ResultRecorder(wiring.Component):
    """Writes what a run yields into the mailbox: each logit in the cycle in which it comes; class,
    cycles and events 1, 2 and 3 cycles after all events of the last logit's cycle are counted
    (`EventCounter.latency`).

    Parameters
    ----------
    classes, logit_bits
        Format of the results.
    event_lanes
        Bits of `events`.

    Members
    -------
    go : In(1)
        Results will come.
    sent : In(1)
        The hand-shake of the image's last word: cycle 0.
    results : In(stream of result_layout(classes, logit_bits))
    clear : In(1)
        No events so far.
    events : In(event_lanes)
        A weight row is added, one bit per layer and bank.
    tag : In(4)
        Write the tag's byte of this number from `byte`.
    byte : In(8)
    en, addr, data : Out
        To the mailbox.
    done : Out(1)
        Everything will have been written in the next cycle.
    """

    go: Signal
    sent: Signal
    results: stream.Interface
    clear: Signal
    events: Signal
    tag: Signal
    byte: Signal
    en: Signal
    addr: Signal
    data: Signal
    done: Signal

    def __init__(self, *, classes: int, logit_bits: int, event_lanes: int) -> None:
        self._event_lanes = event_lanes
        results = stream.Signature(result_layout(classes, logit_bits))
        super().__init__(
            {
                "go": In(1),
                "sent": In(1),
                "results": In(results),
                "clear": In(1),
                "events": In(event_lanes),
                "tag": In(WORD_BYTES),
                "byte": In(8),
                "en": Out(WORD_BYTES),
                "addr": Out(range(LOGITS + classes)),
                "data": Out(32),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.events = events = EventCounter(self._event_lanes)
        result = self.results.payload
        cycles, best = Signal(32), Signal.like(result.best)
        slot, settle = Signal.like(self.addr, init=TAG), Signal(range(events.latency))
        every = C(-1, WORD_BYTES)
        m.d.comb += [events.i.eq(self.events), events.clear.eq(self.clear), self.addr.eq(slot)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.en.eq(self.tag), self.data.eq(self.byte.replicate(WORD_BYTES))]
                m.d.sync += slot.eq(Mux(self.go, LOGITS, TAG))
                with m.If(self.go):
                    m.next = "LOGITS"
            with m.State("LOGITS"):
                m.d.comb += [self.results.ready.eq(1), self.data.eq(result.logit.as_signed())]
                m.d.sync += [cycles.eq(Mux(self.sent, 0, cycles + 1)), settle.eq(0)]
                with m.If(self.results.valid):
                    m.d.comb += self.en.eq(every)
                    m.d.sync += [slot.eq(slot + 1), best.eq(result.best)]
                    with m.If(result.last):
                        m.d.sync += slot.eq(CLASS)
                        m.next = "SETTLE"
            with m.State("SETTLE"):
                # Until the events of the last logit's cycle have been counted.
                m.d.sync += settle.eq(settle + 1)
                with m.If(settle == events.latency - 1):
                    m.next = "COUNTERS"
            with m.State("COUNTERS"):
                with m.Switch(slot[:2]):
                    with m.Case(CLASS % 4):
                        m.d.comb += self.data.eq(best)
                    with m.Case(CYCLES % 4):
                        m.d.comb += self.data.eq(cycles)
                    with m.Default():
                        m.d.comb += [self.data.eq(events.count), self.done.eq(1)]
                        m.next = "IDLE"
                m.d.comb += self.en.eq(every)
                m.d.sync += slot.eq(slot + 1)
        return m
