"""Sweeper: fires a layer's potentials and prepares them for the next step, one word per cycle.

Potentials and drives lie in a memory each, `lanes` to a word; the neurons of all layers are this
one row of lanes, with the numbers of each layer in the operation's word. What is written back is
`decay(u)`, so that scans add the next step's spikes straight to it; drives stay as they are. (Of a
layer with synaptic currents, it is what is kept of x, and `decay(u)` lies in a memory of its own.)
Words do not depend on each other: the laws are registers in a row, and the word's number travels
beside them (`places`).
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.memory.rom import WeightRom
from hw.neuron.decay import decay_cycles, decayed, factor_cycle
from hw.program.code import Counted, Sweep
from hw.program.operation import operation
from hw.program.program import Program
from hw.program.table import Table
from hw.stream.payloads import coefficients, drives

__all__ = ["Sweeper", "counting"]


def counting(program: Program) -> wiring.Signature:
    """A sweeper's access to the counts of each neuron's spikes, N forward and B backward.

    `forward_word` and `back_word` are those of word `read`, a cycle after its address. In a cycle
    with `forward` or `back`, `word` is written to `address`; `masks` are those of its neurons.
    """
    learning = program.learning
    assert learning is not None
    address = max(1, (learning.count_words - 1).bit_length())
    words = drives(program.lanes, learning.vector_bits)
    return wiring.Signature(
        {
            "read": Out(address),
            "forward_word": In(words),
            "back_word": In(words),
            "forward": Out(1),
            "back": Out(1),
            "address": Out(address),
            "word": Out(words),
            "masks": Out(program.lanes),
        }
    )


class Sweeper(wiring.Component):
    """The laws of docs/arithmetic.md in registers that follow each other without a stall:

        cycle  0    number of the word
               1    addresses of potential and drive
               3    potential, addend       the drive, or the bias
               4    v = potential + addend  thresholds beside it
               F    c = fire(v)             spikes leave
               R    r = reset(v, c)
               R+1  u = saturate(r)
               D    d = decay(u)            leaves to be written

    F is 5 and R is 6 where |c| is at most 1 and nothing is guarded. Otherwise |v| is divided by the
    threshold, a bit of the quotient per cycle, from the highest, and F = 6 + planes; what a soft
    reset subtracts is put together in the same way, and R = F + planes. D is R + 2, and
    `decay_cycles` more where a layer's decay is by a factor. Reset steps and factors of channels
    are beside the registers that need them: F, and R+1 or as many cycles later as the sum of a
    factor's bits has fewer levels than another factor's.

    Of a program with synaptic currents, cycle 4 has x = potential + addend, and v = x + decay(u)
    comes in the next, v = x of layers without; all that follows is a cycle later. What is kept of
    x is written as soon as it is there (`current_cycle`): no registers carry it to D.

    Where a word has several parts (`Program.parts`), biases, thresholds and the like are
    fetched first, a row in a cycle: `fetch_cycles`.

    Cycle law: a sweep's words follow each other in every cycle; the first is numbered in the cycle
    after `start` and what is fetched, and written `latency` cycles later.

    Parameters
    ----------
    program
        Sizes, biases, thresholds.
    files
        Of the ROMs of `Program.tables`, by name, for Verilog.

    Members
    -------
    word : In
        The operation, a `Sweep`; stable while `busy`.
    start : In(1)
    busy : Out(1)
        From the cycle after `start` until the last word has been written.
    read, drive_read : Out
        Addresses of the next word of potentials, and of drives.
    v : In
        Potentials, two cycles after their address.
    drives : In
        Drives, a cycle after theirs.
    prepared, write, write_address : Out
        What is kept of the potentials.
    biases, drive_write, drive_write_address : Out
        Drives at the beginning.
    fired : Out(1)
        `spikes`, and where they go, `spike_address`, are those of a word that fires.
    potentials : Out
        The u that is kept, `kept_after` cycles after its word's spikes.
    counting : Out(counting(program))
        Of a network that learns: where its counts are read and written.
    """

    word: Signal
    start: Signal
    busy: Signal
    read: Signal
    drive_read: Signal
    v: data.View
    drives: data.View
    prepared: data.View
    write: Signal
    write_address: Signal
    biases: data.View
    drive_write: Signal
    drive_write_address: Signal
    fired: Signal
    spikes: data.View
    spike_address: Signal
    odd: Signal
    potentials: data.View
    counting: Any

    def __init__(self, program: Program, files: Mapping[str, str] | None = None) -> None:
        self._program, self._files = program, files
        p = program

        def address(words: int) -> Any:
            return unsigned(max(1, (words - 1).bit_length()))

        kept = drives(p.word, max(1, p.potential_bits))
        constant = drives(p.word, max(1, p.drive_bits))
        members: dict[str, Any] = {
            "word": In(p.code.bits),
            "start": In(1),
            "busy": Out(1),
            "read": Out(address(p.potential_words)),
            "drive_read": Out(address(p.drive_words)),
            "v": In(kept),
            "drives": In(constant),
            "prepared": Out(kept),
            "write": Out(1),
            "write_address": Out(address(p.potential_words)),
            "biases": Out(constant),
            "drive_write": Out(1),
            "drive_write_address": Out(address(p.drive_words)),
            "fired": Out(1),
            "spikes": Out(coefficients(p.word, p.spike_planes, p.spike_sign)),
            "spike_address": Out(address(p.spike_words)),
            "odd": Out(1),
            "potentials": Out(drives(p.word, p.membrane_bits)),
        }
        if p.learning is not None:
            members["counting"] = Out(counting(p))
        super().__init__(members)

    @staticmethod
    def fire_cycle(program: Program) -> int:
        """F: the cycle in which a word's spikes leave."""
        fires = 6 + program.spike_planes if Sweeper.counts(program) else 5
        return fires + bool(program.currents)

    @staticmethod
    def counts(program: Program) -> bool:
        """Whether |v| is divided: |c| may be above 1, or something is guarded."""
        return bool(program.spike_planes > 1 or program.count_bits)

    @staticmethod
    def current_cycle(program: Program) -> int:
        """The cycle in which what is kept of x is written."""
        return 5 + decay_cycles(program.currents)

    @staticmethod
    def kept_after(program: Program) -> int:
        """Cycles from a word's spikes to the u that is kept."""
        soft = any(isinstance(op, Sweep) and op.step for op in program.operations)
        return 1 + (program.spike_planes if soft else 1)

    @staticmethod
    def fetch_cycles(program: Program) -> int:
        """Cycles between `start` and the number of the first word."""
        return program.parts if program.parts > 1 else 0

    @classmethod
    def latency(cls, program: Program) -> int:
        """Cycles from a word's number to its being written."""
        kept = cls.fire_cycle(program) + cls.kept_after(program)
        return kept + 1 + decay_cycles(program.decays)

    def elaborate(self, platform) -> Module:
        m = Module()
        p = self._program
        fires, latency = self.fire_cycle(p), self.latency(p)
        sweep = operation(p, self.word, Sweep)

        # A word in every cycle. `places[n]` is the word whose values are in the registers of cycle
        # n of the table above.
        running = Signal()
        place = data.StructLayout(
            {
                "valid": 1,
                "index": unsigned(max(1, len(sweep.last_word))),
                "channels": unsigned(max(1, (len(p.biases) - 1).bit_length())),
            }
        )
        places = [Signal(place, name=f"place{n}") for n in range(latency + 1)]
        position = Signal(max(1, len(sweep.last_position)))
        here = Signal(place, name="here")
        m.d.comb += [places[0].eq(here), places[0].valid.eq(running)]
        fetch, fetching = self._fetch(m, running) if p.parts > 1 else (None, Const(0))
        with m.If(self.start):
            m.d.sync += [
                Cat(running, position).eq(1 if fetch is None else 0),  # running alone
                here.index.eq(0),
                here.channels.eq(sweep.channels),
            ]
        with m.Elif(running):
            m.d.sync += [
                here.index.eq(here.index + 1),
                position.eq(position + 1),
                running.eq(here.index != sweep.last_word),
            ]
            with m.If(position == sweep.last_position):
                m.d.sync += [position.eq(0), here.channels.eq(here.channels + 1)]
        for n in range(latency):
            m.d.sync += places[n + 1].eq(places[n])
        stored, address = places[latency].valid, places[latency - 1].index
        self._last = self.write, self.write_address
        if p.currents:
            self._last = stored, Signal.like(self.write_address, name="last_address")
            m.d.sync += self._last[1].eq(sweep.potential + address)
            early = self.current_cycle(p)
            stored = Mux(sweep.has_current, places[early].valid, stored)
            address = Mux(sweep.has_current, places[early - 1].index, address)
        m.d.sync += [
            self.read.eq(sweep.potential + here.index),
            self.drive_read.eq(sweep.drive + here.index),
            self.write_address.eq(sweep.potential + address),
            self.drive_write_address.eq(sweep.drive + places[2].index),
            self.spike_address.eq(sweep.spikes + places[fires - 1].index),
        ]
        m.d.comb += [
            self.busy.eq(Cat(running, fetching, *(at.valid for at in places)).any()),
            self.write.eq(stored),
            self.drive_write.eq(places[3].valid & sweep.first & sweep.has_drive),
            self.fired.eq(places[fires].valid & sweep.fires & ~sweep.first),
            self.odd.eq(sweep.odd),
        ]

        # Bias and threshold rows: two cycles after their address, a register before the cycle that
        # needs them (3, and 4 or 5).
        # So do those of reset steps, before F, and of factors, which have none in between.
        factors = fires + self.kept_after(p) + factor_cycle(p.decays)
        when = {
            "biases": 0,
            "thetas": 1 + self.counts(p) + bool(p.currents),
            "steps": fires - 3,
            "factors": factors - 2,
        }
        self._masks: list[Value] = [Const(1)] * p.word
        if fetch is None:
            constants = {
                name: self._rom(m, name, table, places[when[name]].channels)
                for name, table in p.tables.items()
            }
        else:
            row = sweep.channels + (fetch >> sweep.spread)
            constants = {
                name: self._parts(m, name, table, row, fetching) for name, table in p.tables.items()
            }
            self._mask(m, sweep, places[fires - 1])
        later = self._settled(m, sweep)
        if p.learning is not None:
            self._count(m, later, places)
        guards = self._guards(m, later, places[fires - 4]) if p.count_bits else None
        second = self._second(m, later) if p.currents else None
        for k in range(p.word):
            own = {name: values[k] for name, values in constants.items()}
            self._lane(m, later, k, own, guards, second)
        return m

    @staticmethod
    def _settled(m: Module, sweep) -> SimpleNamespace:
        """What all lanes take of the operation, and `minus_` some of it, in registers: each goes
        far. The operation stands for longer than a cycle before anything is made of it."""
        found = {}
        negated = {f"minus_{name}": -getattr(sweep, name) for name in ("down", "step", "top")}
        for name, value in (vars(sweep) | negated).items():
            found[name] = value
            if not isinstance(getattr(sweep, name.removeprefix("minus_")), Const):
                found[name] = Signal(value.shape(), name=f"settled_{name}", reset_less=True)
                m.d.sync += found[name].eq(value)
        return SimpleNamespace(**found)

    def _count(self, m: Module, sweep, places: list[Any]) -> None:
        """N or B of the word whose spikes leave, read in time for them, and written after."""
        p, port, fires = self._program, self.counting, self.fire_cycle(self._program)
        assert p.learning is not None
        m.d.sync += [
            port.read.eq(sweep.counts + places[fires - 3].index),
            port.address.eq(sweep.counts + places[fires].index),
            port.forward.eq(places[fires].valid & (sweep.counted == Counted.FORWARD)),
            port.back.eq(places[fires].valid & (sweep.counted == Counted.BACK)),
        ]
        back = sweep.counted == Counted.BACK
        for k in range(p.lanes):
            forward_count, back_count = port.forward_word[k], port.back_word[k]
            mask = Signal(name=f"mask{k}", reset_less=True)
            held = Signal(signed(p.learning.vector_bits), name=f"count{k}", reset_less=True)
            passes = (forward_count != 0) & (forward_count != p.learning.steps)
            m.d.sync += [
                mask.eq(~back | passes),
                held.eq(Mux(back, back_count, forward_count)),
                port.masks[k].eq(mask),
            ]
            self._masks[k] = mask
            spike = self.spikes[k]
            negative = spike.negative if p.spike_sign else Const(0)
            added = held + Mux(negative, -spike.magnitude, spike.magnitude)
            m.d.sync += port.word[k].eq(Mux(sweep.first, 0, added))

    def _rom(self, m: Module, name: str, table: Table, address: Value) -> list[Value]:
        """A ROM's numbers, one per lane."""
        file = None if self._files is None else self._files[name]
        rom = WeightRom(width=table.width, rows=table.words, file=file)
        m.submodules[name] = rom
        m.d.comb += rom.addr.eq(address)
        return [rom.data.word_select(k, table.bits).as_signed() for k in range(table.lanes)]

    def _fetch(self, m: Module, running: Signal) -> tuple[Signal, Signal]:
        """Which of the parts' rows is fetched, and whether one is; the words follow."""
        fetch, fetching = Signal(range(self._program.parts)), Signal()
        with m.If(self.start):
            m.d.sync += [fetch.eq(0), fetching.eq(1)]
        with m.Elif(fetching):
            m.d.sync += fetch.eq(fetch + 1)
            with m.If(fetch == self._program.parts - 1):
                m.d.sync += [fetching.eq(0), running.eq(1)]
        return fetch, fetching

    def _parts(
        self, m: Module, name: str, table: Table, row: Value, fetching: Value
    ) -> list[Value]:
        """A ROM's numbers, one per lane of each part: rows pass in as they are fetched."""
        there = fetching
        for n in range(WeightRom.PIPELINE_CYCLES):
            later = Signal(name=f"{name}_there{n}")
            m.d.sync += later.eq(there)
            there = later
        lanes, read = table.lanes, self._rom(m, name, table, row)
        held = [
            Signal(signed(table.bits), name=f"{name}{k}", reset_less=True)
            for k in range(self._program.word)
        ]
        with m.If(there):
            rows = zip(held, [*held[lanes:], *read], strict=True)
            m.d.sync += [one.eq(after) for one, after in rows]
        return [*held]

    def _mask(self, m: Module, sweep, place: Any) -> None:
        """Parts that are not of the map are silent; `place` is that of the cycle before spikes
        leave."""
        p = self._program
        rest = Signal()
        m.d.comb += rest.eq(place.index >= sweep.ragged)
        for part in range(p.parts):
            mask = Signal(name=f"part{part}", reset_less=True)
            m.d.sync += mask.eq(~rest | (sweep.parts >> part)[0])
            self._masks[part * p.lanes : (part + 1) * p.lanes] = [mask] * p.lanes

    def _guards(self, m: Module, sweep, place: Any) -> tuple[list[Value], list[Value]]:
        """Counts of spikes so far, beside the potentials: those of the word whose spikes leave next
        (`place` is that of four cycles before), and where the new ones go."""
        p = self._program
        shape = data.ArrayLayout(unsigned(p.count_bits), p.word)
        before, after = Signal(shape, reset_less=True), Signal(shape)
        if p.potential_words:
            m.submodules.guards = memory = Memory(shape=shape, depth=p.potential_words, init=[])
            read, write = memory.read_port(), memory.write_port()
            address, written = Signal.like(read.addr), Signal(shape, reset_less=True)
            m.d.sync += [address.eq(sweep.potential + place.index), before.eq(read.data)]
            later: Any = after
            for n in range(self.latency(p) - self.fire_cycle(p)):
                register = Signal(shape, name=f"guard{n}", reset_less=True)
                m.d.sync += register.eq(later)
                later = register
            m.d.comb += [
                read.addr.eq(address),
                written.eq(Mux(sweep.first, 0, later)),
                write.en.eq(self._last[0]),
                write.addr.eq(self._last[1]),
                write.data.eq(written),
            ]
        return [*before], [*after]

    def _second(self, m: Module, sweep) -> tuple[list[Value], list[Value]]:
        """What is kept of potentials, of a layer with synaptic currents: of the word whose x is
        there, 0 of others; and where the new ones go."""
        p = self._program
        shape = drives(p.word, p.second_bits)
        m.submodules.second = memory = Memory(shape=shape, depth=p.potential_words, init=[])
        read, write = memory.read_port(), memory.write_port()
        before, after = Signal(shape, reset_less=True), Signal(shape, reset_less=True)
        address = Signal.like(read.addr)
        m.d.sync += address.eq(self.read)
        m.d.comb += [
            read.addr.eq(address),
            write.en.eq(self._last[0]),
            write.addr.eq(self._last[1]),
            write.data.eq(after),
        ]
        for k in range(p.word):
            m.d.sync += before[k].eq(Mux(sweep.has_current, read.data[k], 0))
        return [*before], [*after]

    def _lane(
        self,
        m: Module,
        sweep,
        k: int,
        own: Mapping[str, Value],
        guards: tuple[list[Value], list[Value]] | None,
        second: tuple[list[Value], list[Value]] | None,
    ) -> None:
        """The laws; `own` are its channel's bias, threshold, reset step, factor, by the names of
        their tables."""
        p = self._program
        bias, theta = own["biases"], own.get("thetas")
        bits = signed(p.membrane_bits)

        def register(name: str, shape: Any = bits) -> Signal:
            return Signal(shape, name=f"{name}{k}", reset_less=True)

        addend, v = register("addend", signed(max(len(bias), p.drive_bits))), register("v")
        m.d.sync += addend.eq(bias)
        if p.drive_words:
            with m.If(sweep.has_drive & ~sweep.first):
                m.d.sync += addend.eq(self.drives[k])
        m.d.comb += self.biases[k].eq(addend)
        x = v if second is None else register("x")
        m.d.sync += x.eq((self.v[k] if p.potential_words else sweep.start) + addend)
        if second is not None:
            m.d.sync += v.eq(x + second[0][k])

        if not self.counts(p):
            spike, negative, held = self._fire(m, sweep, v, theta, register)
        else:
            guard = None if guards is None else (guards[0][k], guards[1][k])
            spike, negative, held = self._divide(m, sweep, v, theta, guard, register)
        # What is masked is not sent, but resets its neuron.
        m.d.comb += self.spikes[k].magnitude.eq(Mux(self._masks[k], spike, 0))
        if p.spike_sign:
            m.d.comb += self.spikes[k].negative.eq(negative)

        # A number that is 0 in all sweeps is a constant, and synthesis removes its logic: no soft
        # reset, no subtraction.
        fired, size, taken = spike.any(), spike, (sweep.step, sweep.minus_step)
        if (step := own.get("steps")) is not None:
            soft = sweep.by_channel & ~sweep.hard
            chosen = [Mux(soft, step, taken[0]), Mux(soft, -step, taken[1])]
            taken = self._later(m, register, "step", chosen)
        for plane in range(self.kept_after(p) - 1):
            r = register(f"r{plane}_")
            step = Mux(size[plane], Mux(negative, taken[1], taken[0]) << plane, 0)
            if not plane:
                held = Mux(fired & sweep.hard, 0, held)
            m.d.sync += r.eq(held - step)
            held = r
            if plane < self.kept_after(p) - 2:
                passed = register(f"spike{plane}_", size.shape()), register(f"side{plane}_", 1)
                m.d.sync += [passed[0].eq(size), passed[1].eq(negative)]
                size, negative = passed
                if "steps" in own and p.parts == 1:  # of parts, it stays for the whole sweep
                    taken = self._later(m, register, f"step{plane}_", taken)
        u = register("u")
        kept: Value = held
        if p.can_saturate:
            low, high = held < sweep.minus_top, held > sweep.top
            kept = Mux(high, sweep.top, Mux(low, sweep.minus_top, held))
        m.d.sync += u.eq(kept)
        m.d.comb += self.potentials[k].eq(u)

        d = register("d")
        kept_parts = Array(decayed(m, u, p.decays, f"decay{k}", own.get("factors")))
        kept = Mux(sweep.first, sweep.start, kept_parts[sweep.decay])
        if second is not None:
            m.d.sync += second[1][k].eq(kept)
            kept_currents = Array(decayed(m, x, p.currents, f"current{k}"))
            current = Mux(sweep.first, 0, kept_currents[sweep.current])
            kept = Mux(sweep.has_current, current, kept)
        m.d.sync += d.eq(kept)
        m.d.comb += self.prepared[k].eq(d)

    @staticmethod
    def _later(m: Module, register: Any, name: str, pair: Sequence[Value]) -> tuple[Signal, Signal]:
        """What a spike of either sign subtracts, a cycle later."""
        bits = max(map(len, pair))
        up, down = register(name, signed(bits)), register(f"minus_{name}", signed(bits))
        m.d.sync += [up.eq(pair[0]), down.eq(pair[1])]
        return up, down

    def _fire(
        self, m: Module, sweep, v: Value, theta: Value | None, register: Any
    ) -> tuple[Value, Value, Value]:
        """|c| of 0 or 1, its sign, and v: two comparisons."""
        up, down = sweep.up, sweep.minus_down
        if theta is not None:
            up, down = Mux(sweep.by_channel, theta, up), Mux(sweep.by_channel, -theta, down)
        top, bottom = register("up"), register("down")
        m.d.sync += [top.eq(up), bottom.eq(down)]
        spike, negative = register("spike", unsigned(1)), register("negative", unsigned(1))
        held = register("held")
        above, below = v >= top, sweep.signed & (v <= bottom)
        m.d.sync += [
            spike.eq((above | below) & sweep.fires),
            negative.eq(below & sweep.fires),
            held.eq(v),
        ]
        return spike, negative, held

    def _divide(
        self,
        m: Module,
        sweep,
        v: Value,
        theta: Value | None,
        guard: tuple[Value, Value] | None,
        register: Any,
    ) -> tuple[Value, Value, Value]:
        """|c| = min(L, |v| div threshold of its side), its sign, and v; a guard holds back what is
        negative, and is told the new count."""
        p = self._program
        planes = p.spike_planes
        size, below = register("size", unsigned(p.membrane_bits)), register("below", 1)
        m.d.sync += [size.eq(Mux(v < 0, -v, v)), below.eq(v < 0)]
        up, down = sweep.up, sweep.down
        if theta is not None:
            up, down = Mux(sweep.by_channel, theta, up), Mux(sweep.by_channel, theta, down)
        wide = unsigned(max(len(up), len(down), 1))
        divisor = register("divisor", wide)
        m.d.sync += divisor.eq(Mux(v < 0, down, up))
        held, whole = v, register("held0_")
        m.d.sync += whole.eq(held)
        quotient: Value = Const(0, 0)
        for plane in reversed(range(planes)):
            rest = size - (divisor << plane)
            fits = rest >= 0
            after = [
                register(f"{name}{plane}_", value.shape())
                for name, value in (("rest", size), ("divisor", divisor), ("whole", whole))
            ]
            side, found = (
                register(f"below{plane}_", 1),
                register(f"quotient{plane}_", planes - plane),
            )
            m.d.sync += [
                after[0].eq(Mux(fits, rest, size)),
                after[1].eq(divisor),
                after[2].eq(whole),
                side.eq(below),
                found.eq(Cat(fits, quotient)),
            ]
            (size, divisor, whole), below, quotient = after, side, found
        spike, negative, held = register("spike", planes), register("negative", 1), register("held")
        most = Mux(quotient > sweep.limit, sweep.limit, quotient)
        count = Signal(planes, name="count")
        m.d.comb += count.eq(Mux(sweep.fires & (~below | sweep.signed), most, 0))
        if guard is not None:
            before, after_fire = guard
            stopped = sweep.guarded & below & (count > before)
            allowed = Signal(planes, name="allowed")
            m.d.comb += allowed.eq(Mux(stopped, before, count))
            so_far = Signal(unsigned(p.count_bits))
            m.d.sync += so_far.eq(before)
            m.d.comb += after_fire.eq(Mux(negative, so_far - spike, so_far + spike))
            count = allowed
        m.d.sync += [spike.eq(count), negative.eq(below & (count != 0)), held.eq(whole)]
        return spike, negative, held
