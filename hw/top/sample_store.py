"""Labelled pictures on the chip, from which a core learns at full speed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.link.learning import drill
from hw.neuron.readout import result_layout
from hw.stream.payloads import load_layout, transfer
from hw.top.row_player import RowPlayer

__all__ = ["SampleStore", "Samples"]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Pictures in a memory: a row has a word and, above it, the picture's label. The `$readmemh`
    file that has them (None to simulate by Amaranth), how many words make a picture, bits of a row
    and of a label; `loaded`: not in a ROM, but loaded at power-up."""

    rows: Sequence[int]
    words: int
    bits: int
    label_bits: int
    file: str | None = None
    loaded: bool = False

    @property
    def images(self) -> int:
        """Pictures that there are."""
        return len(self.rows) // self.words


class SampleStore(wiring.Component):
    """Sits between host port and core: passes on what the host sends, or plays pictures.

    From `drill.start` on the core gets the pictures that are asked for, a word whenever it wants
    one. What it answers stays here: how often it was right, before it learned from the picture, and
    how many cycles it took.

    Cycle law: the first word is offered `LATENCY` cycles after `drill.start`, and `drill.cycles`
    counts from the cycle in which it is taken to that of the last picture's `drill.done`.

    Parameters
    ----------
    samples
        What can be played.
    word_bits, classes, logit_bits
        Of the core.

    Members
    -------
    drill : In(drill(samples.images, samples.label_bits))
        From the host port. `label` is that of the word offered to the core.
    i : In(stream of word_bits)
        From the host; taken only while nothing is played.
    o : Out(stream of word_bits)
        To the core.
    results : In(stream of result_layout(classes, logit_bits))
        From the core.
    answers : Out(stream of result_layout(classes, logit_bits))
        To the host: results, while nothing is played.
    load : In(load_layout(...)), of pictures that are loaded
        Writes a row.
    """

    PAUSE = 8
    """Cycles from `drill.start` until a core that is reset because of it takes words again."""

    LATENCY = PAUSE + RowPlayer.LATENCY

    IN_FLIGHT = 4
    """Pictures that may be inside a core, a power of two: two are held by a program stage."""

    drill: Any
    i: stream.Interface
    o: stream.Interface
    results: stream.Interface
    answers: stream.Interface
    load: data.View

    def __init__(self, samples: Samples, *, word_bits: int, classes: int, logit_bits: int) -> None:
        self._samples, self._word_bits = samples, word_bits
        result = stream.Signature(result_layout(classes, logit_bits))
        super().__init__(
            ({"load": In(load_layout(self.parts))} if samples.loaded else {})
            | {
                "drill": In(drill(samples.images, samples.label_bits)),
                "i": In(stream.Signature(word_bits)),
                "o": Out(stream.Signature(word_bits)),
                "results": In(result),
                "answers": Out(result),
            }
        )

    @property
    def parts(self) -> list[tuple[int, int]]:
        """(bits, rows) of what is loaded."""
        return [(self._samples.bits, len(self._samples.rows))] if self._samples.loaded else []

    def elaborate(self, platform) -> Module:
        m = Module()
        s, d = self._samples, self.drill
        words = s.words
        m.submodules.player = player = RowPlayer(
            width=s.bits,
            rows=s.rows,
            most_repeats=(1 << len(d.passes)) - 1,
            file=s.file,
            loaded=s.loaded,
        )
        if s.loaded:
            m.d.comb += player.load.eq(self.load)
        pause = Signal(range(self.PAUSE))
        begin = Signal()
        m.d.sync += [
            player.first.eq(_times(d.first, words)),
            player.last.eq(_times(d.first + d.count, words) - 1),
        ]
        with m.If(d.start):
            m.d.sync += pause.eq(self.PAUSE - 1)
        with m.Elif(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        m.d.comb += [begin.eq(pause == 1), player.repeats.eq(d.passes)]
        m.d.sync += player.start.eq(begin)

        # What is played, in place of what comes from the host.
        playing, label = Signal(), Signal(s.label_bits)
        with m.If(d.start):
            m.d.sync += playing.eq(1)
        m.d.comb += [
            label.eq(player.o.payload[self._word_bits :]),
            d.label.eq(label),
            d.over.eq(~playing),
            self.o.valid.eq(Mux(playing, player.o.valid, self.i.valid)),
            self.o.payload.eq(Mux(playing, player.o.payload[: self._word_bits], self.i.payload)),
            self.i.ready.eq(self.o.ready & ~playing),
            player.o.ready.eq(self.o.ready & playing),
            self.answers.valid.eq(self.results.valid & ~playing),
            self.answers.payload.eq(self.results.payload),
            self.results.ready.eq(playing | self.answers.ready),
        ]
        taken = Signal()
        m.d.comb += taken.eq(transfer(player.o))

        # How it goes: pictures are over in the order in which they were taken.
        count, passed = Signal.like(d.count), Signal.like(d.passes)
        word = Signal(range(words))
        labels = Array(Signal(s.label_bits, name=f"label{n}") for n in range(self.IN_FLIGHT))
        entered, answered = Signal(range(self.IN_FLIGHT)), Signal(range(self.IN_FLIGHT))
        running, last_pass = Signal(), Signal()
        with m.If(d.start):
            m.d.sync += [
                d.cycles.eq(0),
                d.hits.eq(0),
                running.eq(0),
                count.eq(d.count),
                passed.eq(d.passes),
                word.eq(0),
                entered.eq(0),
                answered.eq(0),
            ]
        with m.If(taken):
            m.d.sync += [running.eq(1), word.eq(Mux(word == words - 1, 0, word + 1))]
            with m.If(word == words - 1):
                m.d.sync += [labels[entered].eq(label), entered.eq(entered + 1)]
        with m.If(playing & self.results.valid & self.results.payload.last):
            m.d.sync += answered.eq(answered + 1)
            with m.If(self.results.payload.best == labels[answered]):
                m.d.sync += d.hits.eq(d.hits + 1)
        with m.If(running | taken):
            m.d.sync += d.cycles.eq(d.cycles + 1)
        m.d.sync += last_pass.eq(passed == 1)
        with m.If(playing & d.done):
            m.d.sync += count.eq(count - 1)
            with m.If(count == 1):
                m.d.sync += [count.eq(d.count), passed.eq(passed - 1)]
                with m.If(last_pass):
                    m.d.sync += [playing.eq(0), running.eq(0)]
        return m


def _times(value: Value, factor: int) -> Value:
    """A product with a constant, of shifts and sums: a multiplier is not worth it."""
    parts = [value << n for n in range(factor.bit_length()) if factor >> n & 1]
    return sum(parts[1:], start=parts[0])
