"""What a network that learns holds beside spikes: counts of both stages, and the error."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.program.code import Held, Scan
from hw.program.operation import operation
from hw.program.program import Program
from hw.program.sweeper import counting
from hw.stream.payloads import coefficients, drives

__all__ = ["HeldMaps"]


class HeldMaps(wiring.Component):
    """Words of N, of B and of the error: a sweep counts in them, a scan plays them, an update takes
    them as its vector.

    Parameters
    ----------
    program
        With `learning`.

    Members
    -------
    word : In
        The operation.
    sweeping : In(1)
        It is a sweep: `counting` has the memories.
    counting : In(counting(program))
    address, read : In
        Of the scanner; `held` holds what is read from the next cycle on, until there is `read`
        again.
    held : Out
    vector_address : In
        Of the update's word of counts; `vector` in the next cycle.
    vector : Out
    error_en, error_index, error_value : In
        Set the error of a class.
    judged, label, wrong : In
        Set all: +1 for `label`, -1 for `wrong`, else 0.
    """

    word: Signal
    sweeping: Signal
    counting: Any
    address: Signal
    read: Signal
    held: data.View
    vector_address: Signal
    vector: data.View
    error_en: Signal
    error_index: Signal
    error_value: Signal
    judged: Signal
    label: Signal
    wrong: Signal

    def __init__(self, program: Program, address_bits: int) -> None:
        assert program.learning is not None
        self._program, self._learning = program, program.learning
        l = program.learning  # noqa: E741
        index = unsigned(max(1, (program.classes - 1).bit_length()))
        super().__init__(
            {
                "word": In(program.code.bits),
                "sweeping": In(1),
                "counting": In(counting(program)),
                "address": In(address_bits),
                "read": In(1),
                "held": Out(coefficients(program.lanes, l.held_planes, True)),
                "vector_address": In(max(1, (program.most_words - 1).bit_length())),
                "vector": Out(drives(program.lanes, l.vector_bits)),
                "error_en": In(1),
                "error_index": In(index),
                "error_value": In(signed(1 + l.error_planes)),
                "judged": In(1),
                "label": In(index),
                "wrong": In(index),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        p, l, port = self._program, self._learning, self.counting  # noqa: E741
        scan = operation(p, self.word, Scan)
        words: dict[Held, list[Value]] = {}
        shapes = {
            Held.COUNTS: signed(l.count_planes + 1) if l.count_sign else unsigned(l.count_planes)
        }
        if l.back_planes:
            shapes[Held.BACK] = signed(l.back_planes + 1)
        for kind, shape in shapes.items():
            memory = Memory(shape=data.ArrayLayout(shape, p.lanes), depth=l.count_words, init=[])
            m.submodules[kind.name.lower()] = memory
            read, write = memory.read_port(), memory.write_port()
            played = scan.held == kind
            m.d.comb += [
                read.addr.eq(
                    Mux(
                        self.sweeping,
                        port.read,
                        Mux(played, self.address[: len(read.addr)], self.vector_address),
                    )
                ),
                read.en.eq(self.sweeping | ~played | self.read),
                write.en.eq(port.forward if kind == Held.COUNTS else port.back),
                write.addr.eq(port.address),
                *(write.data[k].eq(port.word[k]) for k in range(p.lanes)),
            ]
            words[kind] = [read.data[k] for k in range(p.lanes)]
        zero: list[Value] = [Const(0, signed(1))] * p.lanes
        for k in range(p.lanes):
            m.d.comb += [
                port.forward_word[k].eq(words[Held.COUNTS][k]),
                port.back_word[k].eq(words.get(Held.BACK, zero)[k]),
            ]
        words[Held.ERROR] = self._errors(m, scan)
        self._show(m, scan, words)
        return m

    def _errors(self, m: Module, scan) -> list[Value]:
        """The error of each class, and the word of them that was read."""
        p, l = self._program, self._learning  # noqa: E741
        shape = signed(1 + l.error_planes)
        errors = [Signal(shape, name=f"error{n}") for n in range(p.classes)]
        for n, error in enumerate(errors):
            with m.If(self.judged):
                m.d.sync += error.eq(
                    Mux(self.label == n, 1, Mux(self.wrong == n, Const(-1, shape), 0))
                )
            with m.Elif(self.error_en & (self.error_index == n)):
                m.d.sync += error.eq(self.error_value)
        groups = -(-p.classes // p.lanes)
        padded = [*errors, *([Const(0, shape)] * (groups * p.lanes - p.classes))]
        rows = Array(Cat(padded[g * p.lanes : (g + 1) * p.lanes]) for g in range(groups))
        played = scan.held == Held.ERROR
        bits = max(1, (groups - 1).bit_length())
        address = Mux(played, self.address, self.vector_address)[:bits]
        shown = Signal(len(rows[0]), reset_less=True)
        with m.If(~played | self.read):
            m.d.sync += shown.eq(rows[address])
        return [shown.word_select(k, len(padded[0])).as_signed() for k in range(p.lanes)]

    def _show(self, m: Module, scan, words: dict[Held, list[Value]]) -> None:
        """What is played, in sign and magnitude; and the vector."""
        for k in range(self._program.lanes):
            constant = scan.constant if k == 0 else Const(0)
            with m.Switch(scan.held):
                for kind, values in words.items():
                    with m.Case(kind):
                        value = values[k]
                        m.d.comb += [
                            self.held[k].magnitude.eq(Mux(value < 0, -value, value)),
                            self.held[k].negative.eq(value < 0),
                        ]
                with m.Default():
                    m.d.comb += self.held[k].magnitude.eq(constant)
            with m.Switch(scan.vector):
                for kind, values in words.items():
                    with m.Case(kind):
                        m.d.comb += self.vector[k].eq(values[k])
