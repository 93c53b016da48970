"""Memories of the words of several steps, and the order in which words come and go."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["StepMemory", "StepOrder"]


class StepMemory(wiring.Component):
    """Words of steps, in one bank, or in two: those of even and of odd steps. A word of each is
    read at once.

    Parameters
    ----------
    shape, depth, banks
        Of a word; words of a bank; 1 or 2.

    Members
    -------
    read_en, address, odd_address : In
        `even` and `odd` hold what is read from the next cycle on, until there is `read_en` again.
        With one bank, `odd` is 0.
    even, odd : Out
    write_en, write_odd, write_address, write_data : In
        Written to the even bank, or to the odd one.
    """

    read_en: Signal
    address: Signal
    odd_address: Signal
    even: data.View
    odd: data.View
    write_en: Signal
    write_odd: Signal
    write_address: Signal
    write_data: data.View

    def __init__(self, shape: data.Layout, depth: int, banks: int) -> None:
        self._shape, self._depth, self._banks = shape, depth, banks
        address = unsigned((depth - 1).bit_length())
        super().__init__(
            {
                "read_en": In(1),
                "address": In(address),
                "odd_address": In(address),
                "even": Out(shape),
                "odd": Out(shape),
                "write_en": In(1),
                "write_odd": In(1),
                "write_address": In(address),
                "write_data": In(shape),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        ports = (
            ("even", self.address, self.even, ~self.write_odd),
            ("odd", self.odd_address, self.odd, self.write_odd),
        )
        for name, address, found, chosen in ports[: self._banks]:
            memory = Memory(shape=self._shape, depth=self._depth, init=[])
            m.submodules[name] = memory
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.en.eq(self.read_en),
                read.addr.eq(address),
                found.eq(read.data),
                write.en.eq(self.write_en & (chosen if self._banks == 2 else Const(1))),
                write.addr.eq(self.write_address),
                write.data.eq(self.write_data),
            ]
        return m


class StepOrder:
    """Where the words of one step after the other lie, even and odd ones side by side.

    Attributes
    ----------
    address, odd
        Of the word that is next, and its bank.

    Parameters
    ----------
    m, name
        Where its registers are.
    address_bits, words, banks
        Width of an address; words of a step; 1 or 2 banks.
    begin, start
        Go to the first word of step 0, which is at address `start`.
    advance
        The word has come, or gone.
    """

    def __init__(
        self,
        m: Module,
        name: str,
        address_bits: int,
        words: Any,
        banks: int,
        *,
        begin: Value,
        start: Any,
        advance: Value,
    ) -> None:
        self.address, self.odd = Signal(address_bits, name=f"{name}_address"), Signal()
        if banks == 1:
            with m.If(begin):
                m.d.sync += self.address.eq(start)
            with m.Elif(advance):
                m.d.sync += self.address.eq(self.address + 1)
            return
        place = Signal(address_bits, name=f"{name}_place")
        last = Signal(name=f"{name}_last")
        m.d.comb += last.eq(place == words - 1)
        with m.If(begin):
            m.d.sync += [self.address.eq(start), self.odd.eq(0), place.eq(0)]
        with m.Elif(advance):
            # Behind an even step its odd one begins at the same address.
            back = last & ~self.odd
            m.d.sync += [
                self.address.eq(Mux(back, self.address - (words - 1), self.address + 1)),
                place.eq(Mux(last, 0, place + 1)),
                self.odd.eq(self.odd ^ last),
            ]
