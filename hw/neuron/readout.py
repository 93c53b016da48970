"""Readout: adds the drives of all steps, or lets them leak, then sends the logits and the class."""

from typing import Any

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.contract.neuron import ReadoutSpec
from hw.neuron.decay import decay_cycles, decayed
from hw.stream.payloads import drives

__all__ = ["Readout", "result_layout"]


def result_layout(classes: int, logit_bits: int) -> data.StructLayout:
    """One logit; `best` is the first maximum among the logits so far, and so, with `last`, the
    class of the image."""
    return data.StructLayout(
        {
            "logit": signed(logit_bits),
            "best": unsigned(max(1, (classes - 1).bit_length())),
            "last": unsigned(1),
        }
    )


class Readout(wiring.Component):
    """The layer that does not fire (law 6): logit = sum over steps of the drive; or, of one that
    leaks, what is read of its potentials m = decay(m) + drive * 2^f.

    Cycle law: drive words are taken `interval` cycles apart. A word of the last step sends its
    logits, one per cycle, from `latency` cycles after it was taken; the next word is then taken
    `RECOVERY` cycles after the last of them.

    Of a leak:

        cycle  0      a word is taken
               1      totals: m
               2      answers               the sum or maximum so far
               D + 2  decay(m)              to the memory; D is `decay_cycles`
               D + 3                        the next word

    Parameters
    ----------
    lanes, groups, steps, classes
        Logits per word, words per step, steps per image, logits per image.
    block_ram
        Keep the sums of several groups in block RAM, however few: for chips that have no other.
    group_major
        A group's words of all steps come one after the other, then the next group's.
    drive_bits, logit_bits
        Widths.
    leak, m_bits
        None: the sum, as wide as a logit. Else the leaky integrator, and the width of its
        potentials.

    Members
    -------
    i : In(stream of drives(lanes, drive_bits))
    o : Out(stream of result_layout(classes, logit_bits))
        Logits 0 .. classes-1 of each image.
    """

    RECOVERY = 1

    i: stream.Interface
    o: stream.Interface

    def __init__(
        self,
        *,
        lanes: int,
        groups: int,
        steps: int,
        classes: int,
        drive_bits: int,
        logit_bits: int,
        m_bits: int,
        group_major: bool = False,
        block_ram: bool = False,
        leak: ReadoutSpec | None = None,
    ) -> None:
        self._leak, self._m_bits = leak, m_bits if leak is not None else logit_bits
        self._attributes = {"ram_style": "block"} if block_ram else {}
        self._group_major = group_major
        self._lanes, self._groups, self._steps = lanes, groups, steps
        self._classes, self._logit_bits = classes, logit_bits
        super().__init__(
            {
                "i": In(stream.Signature(drives(lanes, drive_bits))),
                "o": Out(stream.Signature(result_layout(classes, logit_bits))),
            }
        )

    @staticmethod
    def latency(leak: ReadoutSpec | None) -> int:
        """Cycles from the last word to its first logit."""
        return 2 + (leak is not None and leak.keeps_answers)

    @staticmethod
    def interval(leak: ReadoutSpec | None) -> int:
        """Cycles from a word to the next."""
        return 2 if leak is None else 3 + decay_cycles([leak.decay_law])

    def elaborate(self, platform) -> Module:
        m = Module()
        totals = Signal(drives(self._lanes, self._m_bits))
        stored, sent, leak = totals, totals, self._leak
        if leak is not None:
            stored = Signal(self._kept_layout())
            sent = stored.answers if leak.keeps_answers else totals
            for k in range(self._lanes):
                (kept,) = decayed(m, totals[k], [leak.decay_law], f"total{k}")
                m.d.sync += stored.m[k].eq(kept)
        group, step = Signal(range(self._groups)), Signal(range(self._steps))
        last_group, last_step = group == self._groups - 1, step == self._steps - 1
        advance, before = Signal(), stored
        if self._groups > 1 and not self._group_major:
            shape = stored.shape()
            m.submodules.store = store = Memory(
                shape=shape, depth=self._groups, init=[], attrs=self._attributes
            )
            write, read = store.write_port(), store.read_port()
            m.d.comb += [
                write.addr.eq(group),
                write.data.eq(stored),
                write.en.eq(advance),
                # Read ahead, so that the sum so far is there when the group's turn comes.
                read.addr.eq(Mux(advance, Mux(last_group, 0, group + 1), group)),
            ]
            before = read.data

        # The logits leave through one register, `logit`, so that the lane multiplexer and the
        # comparison with the best so far are in different cycles. `beat` is the lane after that in
        # `logit`: nothing is added in front of the multiplexer.
        beat, beats = Signal(range(self._lanes + 1)), Signal(range(self._lanes + 1))
        most = min(self._lanes, self._classes)
        last_lanes = self._classes - (self._groups - 1) * self._lanes
        index = Signal(range(self._classes))
        best, best_index = Signal(signed(self._logit_bits)), Signal.like(index)
        logit, better = Signal(signed(self._logit_bits)), Signal()
        result = self.o.payload
        m.d.comb += [
            beats.eq(Mux(last_group, last_lanes, self._lanes)),
            better.eq((index == 0) | (logit > best)),
            result.logit.eq(logit),
            result.best.eq(Mux(better, index, best_index)),
            result.last.eq(index == self._classes - 1),
        ]

        with m.FSM():
            with m.State("ADD"):
                m.d.comb += self.i.ready.eq(1)
                kept = before if leak is None else before.m
                for k in range(self._lanes):
                    fresh = self.i.payload[k]
                    if leak is not None:
                        fresh = fresh << leak.fraction_bits
                    with m.If(self.i.valid):
                        m.d.sync += totals[k].eq(Mux(step == 0, 0, kept[k]) + fresh)
                with m.If(self.i.valid):
                    m.next = "STORE"
            with m.State("STORE"):
                m.d.sync += [logit.eq(totals[0]), beat.eq(1)]
                with m.If(last_step):
                    m.next = "SEND" if sent is totals else "LOAD"
                if leak is None:
                    with m.Else():
                        m.d.comb += advance.eq(1)
                        m.next = "ADD"
                else:
                    with m.Else():
                        m.next = "LEAK0"
                    self._read(m, leak, stored, before, step == 0, totals)
            if leak is not None:
                self._wait(m, leak, advance, logit, sent)
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [
                        logit.eq(Array(sent[k] for k in range(most))[beat]),
                        beat.eq(beat + 1),
                        index.eq(Mux(result.last, 0, index + 1)),
                    ]
                    with m.If(better):
                        m.d.sync += [best.eq(logit), best_index.eq(index)]
                    with m.If(beat == beats):
                        m.d.comb += advance.eq(1)
                        m.next = "ADD"
        with m.If(advance):
            next_group, next_step = Mux(last_group, 0, group + 1), Mux(last_step, 0, step + 1)
            with m.If(Const(not self._group_major) | last_step):
                m.d.sync += group.eq(next_group)
            with m.If(Const(self._group_major) | last_group):
                m.d.sync += step.eq(next_step)
        return m

    def _kept_layout(self) -> data.StructLayout:
        """What is stored of a leak: decayed potentials, and their sums or maxima."""
        assert self._leak is not None
        members = {"m": drives(self._lanes, self._m_bits)}
        if self._leak.keeps_answers:
            members["answers"] = drives(self._lanes, self._logit_bits)
        return data.StructLayout(members)

    def _read(
        self, m: Module, leak: ReadoutSpec, stored: Any, before: Any, first: Value, totals: Any
    ) -> None:
        """Take m into the sums or maxima."""
        if not leak.keeps_answers:
            return
        for k in range(self._lanes):
            value, answer = totals[k], before.answers[k]
            with_it = value + answer
            if leak.value == "max":
                with_it = Mux(value > answer, value, answer)
            m.d.sync += stored.answers[k].eq(Mux(first, value, with_it))

    @staticmethod
    def _wait(m: Module, leak: ReadoutSpec, advance: Signal, logit: Signal, sent: Any) -> None:
        """The states of a leak, behind STORE: until m has decayed; or until the logit is there."""
        waits = decay_cycles([leak.decay_law])
        for n in range(waits):
            with m.State(f"LEAK{n}"):
                m.next = f"LEAK{n + 1}"
        with m.State(f"LEAK{waits}"):
            m.d.comb += advance.eq(1)
            m.next = "ADD"
        if leak.keeps_answers:
            with m.State("LOAD"):
                m.d.sync += logit.eq(sent[0])
                m.next = "SEND"
