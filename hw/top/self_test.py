"""Self-test: images on the chip, played at full speed, which no serial line could feed."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.neuron.readout import result_layout
from hw.stream.payloads import transfer
from hw.top.row_player import RowPlayer

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

    LATENCY = RowPlayer.LATENCY

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
        """All images, `repeats` times, to the core."""
        images = self._images
        m.submodules.player = player = RowPlayer(
            width=self._word_bits, rows=images.rows, most_repeats=images.repeats, file=images.file
        )
        m.d.comb += [
            player.start.eq(start),
            player.first.eq(0),
            player.last.eq(len(images.rows) - 1),
            player.repeats.eq(images.repeats),
        ]
        wiring.connect(m, player.o, wiring.flipped(self.o))

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
