"""Self-test: images on the chip, played at full speed, which no serial line could feed."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.memory.rom import WeightRom
from hw.neuron.readout import result_layout
from hw.stream.payloads import transfer

__all__ = ["SelfTest", "TestImages"]


@dataclass(frozen=True, kw_only=True)
class TestImages:
    """Images in a ROM: their words in order, the `$readmemh` file that has them (None to simulate
    by Amaranth), how many words make an image, and how often all of them are played."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    rows: Sequence[int]
    words: int
    repeats: int
    file: str | None = None

    @property
    def images(self) -> int:
        """Images in the ROM."""
        return len(self.rows) // self.words


class SelfTest(wiring.Component):
    """Sits between host port and core: one image from the host becomes a run of all on the chip.

    The host's words are dropped; its last word starts the run. The core gets the images of the ROM,
    a word whenever it wants one, `repeats` times over. What goes back is one result, each logit the
    sum of that logit over all images, modulo its width: so no logit can be wrong unseen, and the
    host's cycle counter has the time of the run.

    Cycle law: the core's first word is offered `LATENCY` cycles after the host's last word was
    taken; the result's first logit is offered 2 cycles after the core's last one, the others
    follow one per cycle.

    Parameters
    ----------
    images
        What is played.
    word_bits, classes, logit_bits
        Of the core.

    Members
    -------
    i : In(stream of word_bits)
        From the host.
    o : Out(stream of word_bits)
        To the core.
    results : In(stream of result_layout(classes, logit_bits))
        From the core; always taken at once.
    sums : Out(stream of result_layout(classes, logit_bits))
        To the host.
    """

    LATENCY = WeightRom.PIPELINE_CYCLES + 2

    i: stream.Interface
    o: stream.Interface
    results: stream.Interface
    sums: stream.Interface

    def __init__(self, images: TestImages, *, word_bits: int, classes: int, logit_bits: int):
        self._images, self._word_bits = images, word_bits
        self._classes, self._logit_bits = classes, logit_bits
        result = stream.Signature(result_layout(classes, logit_bits))
        super().__init__(
            {
                "i": In(stream.Signature(word_bits)),
                "o": Out(stream.Signature(word_bits)),
                "results": In(result),
                "sums": Out(result),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        start, ended = Signal(), Signal()
        given = Signal(range(self._images.words))
        last_given = given == self._images.words - 1
        m.d.comb += [self.i.ready.eq(1), start.eq(transfer(self.i) & last_given)]
        with m.If(transfer(self.i)):
            m.d.sync += given.eq(Mux(last_given, 0, given + 1))
        self._feed(m, start)
        self._add_up(m, ended)
        self._send(m, ended)
        return m

    def _feed(self, m: Module, start: Signal) -> None:
        """ROM -> a few words held ready, so that the ROM's latency costs nothing -> core."""
        images = self._images
        m.submodules.rom = rom = WeightRom(
            width=self._word_bits, rows=images.rows, file=images.file
        )
        cycles = WeightRom.PIPELINE_CYCLES
        running, repeat = Signal(), Signal(range(images.repeats))
        address = Signal(range(len(images.rows)))
        depth = cycles + 2
        flight, level = Signal(cycles), Signal(range(depth + 1))
        held = data.ArrayLayout(self._word_bits, depth)
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
        with m.If(start):
            m.d.sync += running.eq(1)
        with m.Elif(fetch):
            last = address == len(images.rows) - 1
            m.d.sync += address.eq(Mux(last, 0, address + 1))
            with m.If(last):
                m.d.sync += repeat.eq(repeat + 1)
                with m.If(repeat == images.repeats - 1):
                    m.d.sync += [running.eq(0), repeat.eq(0)]

    def _add_up(self, m: Module, ended: Signal) -> None:
        """Sum of each logit; `ended` after the last image's last."""
        count = self._images.images * self._images.repeats
        done, index = Signal(range(count)), Signal(range(self._classes))
        self._sums = [
            Signal(signed(self._logit_bits), name=f"sum{n}") for n in range(self._classes)
        ]
        result = self.results.payload
        m.d.comb += self.results.ready.eq(1)
        m.d.sync += ended.eq(0)
        with m.If(self.results.valid):
            m.d.sync += index.eq(Mux(result.last, 0, index + 1))
            for n, total in enumerate(self._sums):
                with m.If(index == n):
                    m.d.sync += total.eq(total + result.logit)
            with m.If(result.last):
                m.d.sync += done.eq(Mux(done == count - 1, 0, done + 1))
                m.d.sync += ended.eq(done == count - 1)

    def _send(self, m: Module, ended: Signal) -> None:
        """The sums as one result, with their first maximum."""
        sending, index = Signal(), Signal(range(self._classes))
        best = Signal(signed(self._logit_bits))
        best_index = Signal.like(index)
        logit, better = Signal(signed(self._logit_bits)), Signal()
        last = index == self._classes - 1
        result = self.sums.payload
        m.d.comb += [
            logit.eq(Array(self._sums)[index]),
            better.eq((index == 0) | (logit > best)),
            self.sums.valid.eq(sending),
            result.logit.eq(logit),
            result.best.eq(Mux(better, index, best_index)),
            result.last.eq(last),
        ]
        with m.If(ended):
            m.d.sync += sending.eq(1)
        with m.If(transfer(self.sums)):
            m.d.sync += index.eq(Mux(last, 0, index + 1))
            with m.If(last):
                m.d.sync += sending.eq(0)
                m.d.sync += [total.eq(0) for total in self._sums]
            with m.If(better):
                m.d.sync += [best.eq(logit), best_index.eq(index)]
