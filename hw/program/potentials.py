"""Potentials and drives: memories of words of `lanes`, and one addition to a word per cycle."""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.layer.slice import add_with_carry
from hw.memory.rom import WeightRom
from hw.program.code import Scan
from hw.program.operation import operation, update
from hw.program.program import Program
from hw.program.sweeper import Sweeper
from hw.stream.payloads import drives

__all__ = ["Potentials", "signed_term"]


class Potentials(wiring.Component):
    """Adds a row of weights to a word of sums, read, changed and written back: of potentials, or,
    with `Scan.drive`, of drives.

        cycle  0  update: addresses of weights and sums, shift, sign
               2  weights                            address of the sums
               3  shifted weights
               4  terms, with their signs            sums as they were
               5  new sums, written

    An update that finds in the memory what one of the three before it has not yet written takes
    that sum in its place: two updates of one word may follow each other in adjoining cycles. A
    memory that is narrower than the other keeps the low bits.

    The sweeper (`hw.program.sweeper`) has the memories when no update is on its way.

    Latency `LATENCY` from an update to the end of the cycle that writes it.

    Parameters
    ----------
    program
        Weights and sizes.
    files
        Of the ROMs of weights, biases and thresholds, for Verilog.

    Members
    -------
    word : In
        The operation; stable while `busy`.
    valid : In(1)
    i : In(update(program))
        Adds in each cycle with `valid`.
    sweep : In(1)
        Begin a sweep.
    look, look_address : In
        Read a word of drives for `seen`, where nothing is `busy`.
    seen : Out
        Two cycles after `look`.
    row : In
        Of a network that learns: the masters' row of weights, two cycles after the update.
    busy : Out(1)
        Updates or a sweep are on their way.
    fired, spikes, spike_address, odd, potentials, counting : Out
        Of the sweeper.
    """

    LATENCY = 6

    word: Signal
    valid: Signal
    i: data.View
    sweep: Signal
    look: Signal
    look_address: Signal
    seen: data.View
    row: data.View
    busy: Signal
    fired: Signal
    spikes: data.View
    spike_address: Signal
    odd: Signal
    potentials: data.View
    counting: Any

    def __init__(self, program: Program, files: Mapping[str, str] | None = None) -> None:
        self._program, self._files = program, files
        self._sweeper = Sweeper(program, files)
        ports = self._sweeper.signature.members
        passed = ("fired", "spikes", "spike_address", "odd", "potentials")
        members: dict[str, Any] = {
            "word": In(program.code.bits),
            "valid": In(1),
            "i": In(update(program)),
            "sweep": In(1),
            "look": In(1),
            "look_address": In(ports["drive_read"].shape),
            "seen": Out(drives(program.lanes, program.sum_bits)),
            "busy": Out(1),
            **{name: ports[name] for name in passed},
        }
        self._passed = passed
        if program.learning is not None:
            members["row"] = In(drives(program.lanes, program.weight_bits))
            members["counting"] = ports["counting"]
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        m.submodules.sweeper = sweeper = self._sweeper
        values = self.seen.shape()
        scan = operation(p, self.word, Scan)

        # The update in each of its cycles.
        flow: list[tuple[Value, data.View]] = [(self.valid, self.i)]
        for n in range(1, 6):
            valid = Signal(name=f"valid{n}")
            at = Signal(update(p), name=f"update{n}", reset_less=True)
            m.d.sync += [valid.eq(flow[-1][0]), at.eq(flow[-1][1])]
            flow.append((valid, at))
        m.d.comb += self.busy.eq(Cat(valid for valid, _ in flow).any() | sweeper.busy)

        # Which of the updates ahead has this one's word: seen a cycle before it matters.
        def same(older: int, newer: int) -> Value:
            (a_valid, a), (_, b) = flow[older], flow[newer]
            return a_valid & (a.potential == b.potential)

        hits = [Signal(name=f"hit{n}") for n in (1, 2, 3)]
        m.d.sync += [
            hits[0].eq(same(4, 3)),  # its sum is made while this one's potentials arrive
            hits[1].eq(same(4, 2)),  # is made, when they leave the memory
            hits[2].eq(same(5, 2)),  # is being written, when they leave it
        ]

        terms = self._terms(m, flow)
        sums = Signal(values, reset_less=True)
        written = Signal(values, reset_less=True)
        old = Signal(values, reset_less=True)
        m.d.sync += written.eq(sums)
        address, valid, place = flow[2][1].potential, flow[5][0], flow[5][1].potential
        found: dict[str, list[Value]] = {}
        if p.potential_words:
            memory = Memory(shape=sweeper.prepared.shape(), depth=p.potential_words, init=[])
            m.submodules.potentials = memory
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(Mux(sweeper.busy, sweeper.read, address)),
                write.en.eq(Mux(sweeper.busy, sweeper.write, valid & ~scan.drive)),
                write.addr.eq(Mux(sweeper.busy, sweeper.write_address, place)),
                *(
                    write.data[k].eq(Mux(sweeper.busy, sweeper.prepared[k], sums[k]))
                    for k in range(p.lanes)
                ),
                *(sweeper.v[k].eq(old[k]) for k in range(p.lanes)),
            ]
            found["potentials"] = [*read.data]
        if p.drive_words:
            memory = Memory(shape=sweeper.biases.shape(), depth=p.drive_words, init=[])
            m.submodules.drives = memory
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(
                    Mux(
                        sweeper.busy, sweeper.drive_read, Mux(self.look, self.look_address, address)
                    )
                ),
                write.en.eq(Mux(sweeper.busy, sweeper.drive_write, valid & scan.drive)),
                write.addr.eq(Mux(sweeper.busy, sweeper.drive_write_address, place)),
                *(
                    write.data[k].eq(Mux(sweeper.busy, sweeper.biases[k], sums[k]))
                    for k in range(p.lanes)
                ),
                sweeper.drives.eq(read.data),
            ]
            found["drives"] = [*read.data]
        both, only = len(found) == 2, next(iter(found))
        from_drives = Signal()  # in a sweep, `old` is for potentials
        m.d.sync += from_drives.eq(~sweeper.busy & (self.look | scan.drive))
        for k in range(p.lanes):
            there = found[only][k]
            if both:
                there = Mux(from_drives, found["drives"][k], found["potentials"][k])
            m.d.sync += [
                old[k].eq(Mux(hits[1], sums[k], Mux(hits[2], written[k], there))),
                sums[k].eq(add_with_carry(Mux(hits[0], sums[k], old[k]), terms[k][0], terms[k][1])),
            ]
        m.d.comb += [
            self.seen.eq(old),
            sweeper.word.eq(self.word),
            sweeper.start.eq(self.sweep),
            *(getattr(self, name).eq(getattr(sweeper, name)) for name in self._passed),
        ]
        if p.learning is not None:
            wiring.connect(m, wiring.flipped(self.counting), sweeper.counting)
        return m

    def _terms(self, m: Module, flow: list) -> list[tuple[Value, Value]]:
        """What is added to each lane in cycle 4, and its carry."""
        p = self._program
        scan = operation(p, self.word, Scan)
        fixed: list[Value] = [Const(0, signed(p.weight_bits))] * p.lanes
        if len(p.weights):
            table, file = p.weight_table, None if self._files is None else self._files["weights"]
            m.submodules.weights = rom = WeightRom(width=table.width, rows=table.words, file=file)
            m.d.comb += rom.addr.eq(self.i.weight)
            fixed = [rom.data.word_select(k, p.weight_bits).as_signed() for k in range(p.lanes)]
        at_2, at_3 = flow[2][1], flow[3][1]
        terms = []
        for k in range(p.lanes):
            weight = fixed[k]
            if p.learning is not None:
                weight = Mux(scan.learned, self.row[k], weight)
            negative: Value = at_3.negative
            active: Value = Const(1)
            if p.has_identities:
                weight = Mux(scan.identity, scan.constant, weight)
                negative = Mux(scan.identity, at_3.negatives[k], negative)
                active = ~scan.identity | at_3.active[k]
            bits = len(weight) + p.most_shift
            terms.append(signed_term(m, str(k), bits, weight << at_2.shift, negative, active))
        return terms


def signed_term(
    m: Module, name: str, bits: int, value: Value, negative: Value, active: Value
) -> tuple[Value, Value]:
    """What is added for a weight that is shifted, or taken away, and its carry: minus x is the
    complement of x, plus one. `negative` and `active` are of the cycle behind `value`'s; the term
    is there in the next one."""
    shifted = Signal(signed(bits), name=f"shifted{name}", reset_less=True)
    term = Signal(signed(bits), name=f"term{name}", reset_less=True)
    carry = Signal(name=f"carry{name}", reset_less=True)
    m.d.sync += [
        shifted.eq(value),
        term.eq(Cat((bit ^ negative) & active for bit in shifted)),
        carry.eq(negative & active),
    ]
    return term, carry
