"""LIF array: `lanes` neurons at a time, from drive to spike."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.contract.checks import signed_bits
from hw.contract.neuron import NeuronSpec
from hw.layer.constants import COMMON, ChannelConstants, ConstantContents, ConstantFields
from hw.layer.geometry import LayerGeometry
from hw.layer.slice import add_with_carry
from hw.neuron.decay import decay_cycles, decayed, decayed_constant, gated_product, product_cycles
from hw.stream.payloads import drives, load_layout, spikes, transfer

__all__ = [
    "LifArray",
    "LifSlice",
    "divide",
    "divides_by_shift",
    "fire",
    "is_counting",
    "reset",
    "saturate",
]

# The laws of docs/arithmetic.md as expressions; sim/golden/model.py has the same names. (Law 2 is
# in hw/neuron/decay.py.)


def fire(v: Value, neuron: NeuronSpec, theta: Value | None = None) -> tuple[Value, Value]:
    """Law 3 for L = 1 without a guard, as (spike, negative): no magnitude is needed. `theta` is in
    place of the neuron's."""
    up = v >= (neuron.theta if theta is None else theta)
    if not neuron.signed:
        return up, Const(0, 1)
    if theta is None:
        below = v <= -neuron.theta_down
    else:
        least = v + theta
        below = least[-1] | (least == 0)
    return below | up, below


def divides_by_shift(neuron: NeuronSpec) -> bool:
    """Whether both thresholds are powers of two."""
    return all(theta & (theta - 1) == 0 for theta in (neuron.theta, neuron.theta_down))


def divide(magnitude: Value, negative: Value, neuron: NeuronSpec) -> Value:
    """Law 3: min(L, |v| div threshold), for L > 1 or a guard. A power of two is a shift; for any
    other threshold, L comparisons are counted."""
    sides = (neuron.theta, neuron.theta_down)
    if divides_by_shift(neuron):
        up, down = (magnitude >> (theta.bit_length() - 1) for theta in sides)
        quotient = Mux(negative, down, up) if sides[0] != sides[1] else up
        count = Mux(quotient > neuron.limit, neuron.limit, quotient)
    else:
        reached = [
            magnitude >= Mux(negative, Const(n * sides[1]), Const(n * sides[0]))
            for n in range(1, neuron.limit + 1)
        ]
        # Reached in order, so the number of them is the place of the last.
        count = Const(0, neuron.magnitude_bits)
        for n, one in enumerate(reached, 1):
            count = Mux(one, n, count)
    return count if neuron.signed else Mux(negative, 0, count)


def divided(m: Module, magnitude: Value, theta: Value, neuron: NeuronSpec, mark: str) -> Value:
    """Law 3 for a threshold that is not known, but for the sign: min(L, |v| div threshold), a bit
    of the quotient a cycle, from the highest; `magnitude_bits` cycles later."""
    size, quotient = magnitude, Const(0, 0)
    for plane in reversed(range(neuron.magnitude_bits)):
        rest = size - (theta << plane)
        found = Signal(neuron.magnitude_bits - plane, name=f"{mark}_{plane}", reset_less=True)
        m.d.sync += found.eq(Cat(rest >= 0, quotient))
        if plane:
            left = Signal(len(magnitude), name=f"{mark}_left{plane}", reset_less=True)
            m.d.sync += left.eq(Mux(rest >= 0, rest, size))
            size = left
        quotient = found
    return Mux(quotient > neuron.limit, neuron.limit, quotient)


def reset(v: Value, spike: Value, negative: Value, neuron: NeuronSpec) -> Value:
    """Law 4; `spike` is |c|. What is subtracted is looked up, not multiplied."""
    if neuron.reset == "hard":
        return Mux(spike != 0, 0, v)
    multiples = [sign * n * neuron.step for sign in (1, -1) for n in range(1 << len(spike))]
    widest = signed_bits(max(multiples))
    return v - Array(Const(n, signed(widest)) for n in multiples)[Cat(spike, negative)]


def reset_by(m: Module, v: Value, spike: Value, negative: Value, step: Value, mark: str) -> Value:
    """Law 4, soft, for a step that is not known: what is subtracted is there `product_cycles` of
    the spike's bits later."""
    size = gated_product(m, Cat(step, 0).as_signed(), spike, len(step) + len(spike) + 1, mark)
    return add_with_carry(v, Cat(bit ^ ~negative for bit in size).as_signed(), ~negative)


def saturate(u: Value, neuron: NeuronSpec) -> Value:
    """Law 5. Where |u| < theta, which the width holds, there is nothing to do."""
    if not neuron.can_saturate:
        return u
    top = neuron.u_max
    return Mux(u > top, Const(top), Mux(u < -top, Const(-top), u))


def is_counting(neuron: NeuronSpec) -> bool:
    """Whether coefficients must be counted out (L > 1 or a guard), in two cycles more."""
    return neuron.limit > 1 or neuron.guarded


class LifSlice(wiring.Component):
    """The neurons of one slice of lanes: registers in a row, without enables but for the store.

        stored u -> d = decay(u) -> v = d + I -> c = fire(v) -> r = reset(v, c) -> u = saturate(r)
                                       `-> |v| -> divide -> min(.., N) --^ c

    The lower way is that of neurons with L > 1 or a guard; N is stored beside u under a guard.
    As long as drive, group and store do not move, each register settles a cycle after the one
    before it, d by a factor `decay_cycles` later; `LifArray` knows when. Constants by channel stand
    as long: |v| is then divided a bit a cycle, and what a soft reset subtracts is a product.

    Parameters
    ----------
    neuron
        The neuron all lanes share.
    lanes, groups, steps
        Neurons side by side; how many of them in turn; time steps per image.
    drive_bits, membrane_bound, current_bound
        Width of a drive; largest |v|, and |x| of a synaptic current.
    constants
        Those that each neuron has of its own; None: all are the layer's.

    Members
    -------
    drive : In(drives(lanes, drive_bits))
    group, first : In
        Whose potentials to use, and whether they count (not in an image's first step).
    store, store_group : In
        Store the new potentials as this group's.
    address, read : In
        Of `constants`; absent otherwise.
    spikes : Out(spikes(neuron, lanes))
    potentials : Out
        What `store` stores.
    """

    drive: data.View
    group: Signal
    first: Signal
    store: Signal
    store_group: Signal
    spikes: data.View
    potentials: data.View
    address: Signal
    read: Signal

    def __init__(
        self,
        neuron: NeuronSpec,
        *,
        lanes: int,
        groups: int,
        steps: int,
        drive_bits: int,
        membrane_bound: int,
        current_bound: int = 0,
        constants: ChannelConstants | None = None,
    ) -> None:
        self._neuron, self._lanes, self._groups = neuron, lanes, groups
        self._constants = constants
        self._v_bits = signed_bits(membrane_bound)
        self._x_bits = signed_bits(current_bound)
        self._r_bits = signed_bits(max(membrane_bound, neuron.limit * neuron.step))
        if not neuron.can_saturate:
            self._r_bits = neuron.potential_bits
        self._count_bits = neuron.count_bits(steps) if neuron.guarded else 0
        members: dict[str, Any] = {
            "drive": In(drives(lanes, drive_bits)),
            "group": In(range(groups)),
            "first": In(1),
            "store": In(1),
            "store_group": In(range(groups)),
            "spikes": Out(spikes(neuron, lanes)),
            "potentials": Out(data.ArrayLayout(signed(neuron.potential_bits), lanes)),
        }
        if constants is not None:
            members |= {"address": In(constants.address.shape()), "read": In(1)}
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        neuron = self._neuron
        own = self._own(m)
        stored, new = self._stored(m)
        potentials = stored.potentials
        d0: Value = Const(neuron.u0, signed(neuron.potential_bits))
        if neuron.decay_when == "before":
            d0 = decayed_constant(d0, neuron.decay_law)

        def register(shape, name: str) -> Signal:
            return Signal(shape, name=name, reset_less=True)

        for k in range(self._lanes):
            d = register(signed(neuron.potential_bits), f"d{k}")
            v = register(signed(self._v_bits), f"v{k}")
            spike = register(neuron.magnitude_bits, f"spike{k}")
            negative = register(1, f"negative{k}")
            r = Signal(signed(self._r_bits), name=f"r{k}", reset_less=True)
            theta, step, factor = own[k]
            (kept,) = decayed(m, potentials[k], (neuron.decay_law,), f"decay{k}", factor)
            current = Cat(Const(0, neuron.fraction_bits), self.drive[k]).as_signed()
            if neuron.has_current:
                current = self._integrated(m, k, stored.currents[k], current)
                m.d.comb += new.currents[k].eq(current)
            m.d.sync += [d.eq(Mux(self.first, d0, kept)), v.eq(d + current)]
            if is_counting(neuron):
                magnitude = register(self._v_bits - 1, f"magnitude{k}")
                below = register(1, f"below{k}")
                quotient = register(neuron.magnitude_bits, f"quotient{k}")
                # `below` stands while the quotient is made of it and the spike of the quotient.
                m.d.sync += [magnitude.eq(Mux(v < 0, -v, v)), below.eq(v < 0)]
                if theta is None:
                    m.d.sync += quotient.eq(divide(magnitude, below, neuron))
                else:
                    size = divided(m, magnitude, theta, neuron, f"size{k}")
                    m.d.comb += quotient.eq(size if neuron.signed else Mux(below, 0, size))
                m.d.sync += [
                    spike.eq(quotient),
                    negative.eq(below & (quotient != 0)),  # no spike has no sign
                ]
                if neuron.guarded:
                    count = register(self._count_bits, f"count{k}")
                    m.d.sync += count.eq(Mux(self.first, 0, stored.counts[k]))
                    with m.If(below & (quotient > count)):
                        m.d.sync += [spike.eq(count), negative.eq(count != 0)]
                    m.d.comb += new.counts[k].eq(Mux(negative, count - spike, count + spike))
            else:
                m.d.sync += Cat(spike, negative).eq(Cat(fire(v, neuron, theta)))
            # A hard reset is a mask, no arithmetic: it needs no register of its own.
            domain = m.d.comb if neuron.reset == "hard" else m.d.sync
            if step is None:
                domain += r.eq(reset(v, spike, negative, neuron))
            else:
                domain += r.eq(reset_by(m, v, spike, negative, step, f"step{k}"))
            m.d.comb += [
                self.spikes[k].magnitude.eq(spike),
                self.potentials[k].eq(saturate(r, neuron)),
            ]
            if neuron.signed:
                m.d.comb += self.spikes[k].negative.eq(negative)
        return m

    def _own(self, m: Module) -> list[tuple[Value | None, Value | None, Value | None]]:
        """Each lane's threshold, reset step and factor; None of what is the layer's."""
        if self._constants is None:
            return [(None, None, None)] * self._lanes
        m.submodules.constants = constants = self._constants
        m.d.comb += [constants.address.eq(self.address), constants.read.eq(self.read)]
        names, there = ConstantFields._fields, constants.o.shape().elem_shape.members
        return [
            tuple(constants.o[k][name] if name in there else None for name in names)  # type: ignore[misc]
            for k in range(self._lanes)
        ]

    def _integrated(self, m: Module, k: int, current: Value, drive: Value) -> Value:
        """The synaptic current x: what is kept of the stored one, and the drive."""
        part, x = (
            Signal(signed(self._x_bits), name=f"{name}{k}", reset_less=True) for name in ("dx", "x")
        )
        (kept,) = decayed(m, current, (self._neuron.current_law,), f"current{k}")
        m.d.sync += [part.eq(Mux(self.first, 0, kept)), x.eq(part + drive)]
        return x

    def _stored(self, m: Module) -> tuple[Any, Any]:
        """What is kept of `group`, potentials, counts under a guard, currents where there are any,
        and the new ones: a register, or a memory with a register's timing."""
        layout: dict[str, Any] = {"potentials": self.potentials.shape()}
        if self._neuron.guarded:
            layout["counts"] = data.ArrayLayout(unsigned(self._count_bits), self._lanes)
        if self._neuron.has_current:
            layout["currents"] = data.ArrayLayout(signed(self._x_bits), self._lanes)
        shape = data.StructLayout(layout)
        new = Signal(shape)
        m.d.comb += new.potentials.eq(self.potentials)
        if self._groups == 1:
            stored = Signal(shape, reset_less=True)
            with m.If(self.store):
                m.d.sync += stored.eq(new)
        else:
            m.submodules.store = store = Memory(shape=shape, depth=self._groups, init=[])
            write, read = store.write_port(), store.read_port()
            m.d.comb += [
                write.addr.eq(self.store_group),
                write.data.eq(new),
                write.en.eq(self.store),
                read.addr.eq(self.group),
            ]
            stored = read.data
        return stored, new


class LifArray(wiring.Component):
    """Sweeps the groups of a layer, one word of drives at a time, through the neuron's laws.

    The drive stays where it is offered until the new potentials are stored, so the slices need no
    copy of it. The order to store passes from slice to slice, a cycle each.

        IDLE     v = d + I          waits for a drive; with a synaptic current, x = dx + I, and
                                    v = d + x in a cycle more
        FIRE     c = fire(v)        three cycles where coefficients are counted (`divide`); by
                                    thresholds of channels, a cycle for each bit of c and two
        RESET    r = reset(v, c)    by steps of channels, the levels of c * step more
        SEND                        offers the spikes
        STORE    u = saturate(r)    one slice a cycle; takes the drive in the last
        SETTLE   d = decay(u)       by a factor, `decay_cycles` more; of a current too. If another
                                    group is next, its constants by channel are read before

    The state of an image needs no clearing: its first step ignores what is stored.

    Cycle law, S slices: spikes are offered `latency(neuron, own)` cycles after a drive is offered;
    the drive is taken S cycles after the spikes were, and the next one is looked at `recovery`
    cycles after they were, `fetch_cycles(own)` later if it is another group's. After a reset the
    first is looked at after `start_cycles`.

    Parameters
    ----------
    neuron
        The neuron all lanes share.
    geometry
        Lanes, groups, slices.
    steps
        Time steps per image.
    group_major
        A group passes all its time steps before the next one: its potentials need no memory.
    drive_bits, membrane_bound, current_bound
        Width of a drive; largest |v|, and |x| of a synaptic current.
    constants
        Those that channels have of their own; None: all are the neuron's.

    Members
    -------
    i : In(stream of drives(lanes, drive_bits))
    o : Out(stream of spikes(neuron, lanes))
    load : In(load_layout(parts))
        For constants that are loaded; absent otherwise.

    Attributes
    ----------
    parts
        (bits, rows) of the memories that are loaded: a slice's constants each.
    tap_fire, tap_potentials
        Not ports: in the cycle where spikes leave (`tap_fire`), the potentials that will be
        stored. A parent that does not look at them has no logic for them.
    """

    i: stream.Interface
    o: stream.Interface
    load: data.View

    def __init__(
        self,
        neuron: NeuronSpec,
        geometry: LayerGeometry,
        *,
        steps: int,
        drive_bits: int,
        membrane_bound: int,
        current_bound: int = 0,
        group_major: bool = False,
        constants: ConstantContents | None = None,
    ) -> None:
        self._geometry, self._steps, self._group_major = geometry, steps, group_major
        self._fields = COMMON if constants is None else constants.fields
        self._fire_cycles = self.latency(neuron, self._fields) - 2
        self._decay_cycles = decay_cycles((neuron.decay_law, neuron.current_law))
        self._start_cycles = self.start_cycles(geometry, neuron, self._fields)
        self._constants = [
            None if constants is None else ChannelConstants(constants, n, len(lanes))
            for n, lanes in enumerate(geometry.slices)
        ]
        # To the neurons, a group that passes all its steps is an image of its own.
        self._groups = 1 if group_major else geometry.groups
        self._slices = [
            LifSlice(
                neuron,
                lanes=len(lanes),
                groups=self._groups,
                steps=steps,
                drive_bits=drive_bits,
                membrane_bound=membrane_bound,
                current_bound=current_bound,
                constants=own,
            )
            for lanes, own in zip(geometry.slices, self._constants, strict=True)
        ]
        self.tap_fire = Signal()
        self.tap_potentials = Signal(
            data.ArrayLayout(signed(neuron.potential_bits), geometry.lanes)
        )
        members = {
            "i": In(stream.Signature(drives(geometry.lanes, drive_bits))),
            "o": Out(stream.Signature(spikes(neuron, geometry.lanes))),
        }
        self.parts: list[tuple[int, int]] = []
        if constants is not None and constants.memory != "rom":
            self.parts = [own.part for own in self._constants if own is not None]
            members["load"] = In(load_layout(self.parts))
        super().__init__(members)

    @staticmethod
    def latency(neuron: NeuronSpec, own: ConstantFields = COMMON) -> int:
        """Cycles from a drive's being offered, and looked at, to its spikes' being offered."""
        fires = 5 if is_counting(neuron) else 3
        if is_counting(neuron) and own.thetas:  # a bit of |c| a cycle
            fires += neuron.magnitude_bits - 1
        if own.steps:
            fires += product_cycles(neuron.magnitude_bits)
        return fires + neuron.has_current

    @staticmethod
    def store_cycles(geometry: LayerGeometry) -> int:
        """Cycles from the spikes' leaving to the drive's being taken: a slice a cycle."""
        return len(geometry.slices)

    @staticmethod
    def recovery(geometry: LayerGeometry, neuron: NeuronSpec) -> int:
        """Cycles from the spikes' leaving to IDLE: every slice stores, the last one settles."""
        settles = 2 + decay_cycles((neuron.decay_law, neuron.current_law))
        return LifArray.store_cycles(geometry) + settles

    @staticmethod
    def fetch_cycles(own: ConstantFields) -> int:
        """By how many cycles that is later where another group's constants are read."""
        return own.digits + 1 if own.digits else 0

    @staticmethod
    def start_cycles(
        geometry: LayerGeometry, neuron: NeuronSpec, own: ConstantFields = COMMON
    ) -> int:
        """Cycles from a reset to IDLE."""
        if not own.digits:
            return 1
        return LifArray.recovery(geometry, neuron) + LifArray.fetch_cycles(own) - 1

    def elaborate(self, platform) -> Module:
        m = Module()
        sent = transfer(self.o)
        m.d.comb += self.tap_fire.eq(sent)
        changed = self._connect_slices(m, sent)

        fetch = self.fetch_cycles(self._fields)
        longest = max(self._decay_cycles + fetch + 1, self._start_cycles)
        countdown = Signal(
            range(max(len(self._slices), self._fire_cycles, longest)), init=self._start_cycles - 1
        )
        with m.FSM(init="SETTLE"):  # after a reset, d = decay(u0) takes a cycle too
            with m.State("IDLE"):
                m.d.sync += countdown.eq(self._fire_cycles - 1)
                with m.If(self.i.valid):
                    m.next = "FIRE"
            with m.State("FIRE"):
                m.d.sync += countdown.eq(countdown - 1)
                with m.If(countdown == 0):
                    m.next = "RESET"
            with m.State("RESET"):
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                m.d.sync += countdown.eq(len(self._slices) - 1)
                with m.If(self.o.ready):
                    m.next = "STORE"
            with m.State("STORE"):
                m.d.sync += countdown.eq(countdown - 1)
                with m.If(countdown == 0):
                    m.d.comb += self.i.ready.eq(1)
                    if fetch:
                        settles = self._decay_cycles
                        m.d.sync += countdown.eq(Mux(changed, settles + fetch, settles))
                    elif self._decay_cycles:
                        m.d.sync += countdown.eq(self._decay_cycles)
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                if self._decay_cycles or fetch:
                    m.d.sync += countdown.eq(countdown - 1)
                    with m.If(countdown == 0):
                        m.next = "IDLE"
                else:
                    m.next = "IDLE"
        return m

    def _connect_slices(self, m: Module, sent: Value) -> Value:
        """Whose turn it is, and the order to store, handed from slice to slice; whether the next
        drive is of another group than the one before, whose constants are then read."""
        groups, steps = self._groups, self._steps
        fields: dict[str, Any] = {
            "group": range(groups),
            "step": range(steps),
            "store": 1,
            "store_group": range(groups),
        }
        own = [part for part in self._constants if part is not None]
        if own:
            fields |= {"address": own[0].address.shape(), "read": 1}
        order = data.StructLayout(fields)
        current: Any = Signal(order, init={"read": 1} if own else {})
        m.d.sync += [current.store.eq(sent), current.store_group.eq(current.group)]
        with m.If(sent):
            m.d.sync += current.group.eq(current.group + 1)
            with m.If(current.group == groups - 1):
                m.d.sync += [current.group.eq(0), current.step.eq(current.step + 1)]
                with m.If(current.step == steps - 1):
                    m.d.sync += current.step.eq(0)
        changed = self._read_constants(m, current, sent) if own else Const(0)
        for n, (part, lanes) in enumerate(zip(self._slices, self._geometry.slices, strict=True)):
            if n > 0:
                relayed = Signal(order, name=f"order{n}")
                m.d.sync += relayed.eq(current)
                current = relayed
            m.submodules[f"slice{n}"] = part
            first = Signal(name=f"first{n}")
            m.d.comb += [
                first.eq(current.step == 0),
                part.first.eq(first),
                part.group.eq(current.group),
                part.store.eq(current.store),
                part.store_group.eq(current.store_group),
            ]
            if own:
                m.d.comb += [part.address.eq(current.address), part.read.eq(current.read)]
            for k, lane in enumerate(lanes):
                m.d.comb += [
                    part.drive[k].eq(self.i.payload[lane]),
                    self.o.payload[lane].eq(part.spikes[k]),
                    self.tap_potentials[lane].eq(part.potentials[k]),
                ]
        for n in range(len(self.parts)):
            m.d.comb += [
                own[n].load.en.eq(self.load.en & (self.load.part == n)),
                own[n].load.address.eq(self.load.address),
                own[n].load.data.eq(self.load.data),
            ]
        return changed

    def _read_constants(self, m: Module, current: Any, sent: Value) -> Value:
        """Rows of the constants, a group's after a reset and whenever another group is next;
        whether it is, from the cycle after the spikes left."""
        groups, digits = self._geometry.groups, self._fields.digits
        changed, digit = Signal(), Signal(range(digits))
        with m.If(current.read):
            m.d.sync += [current.address.eq(current.address + 1), digit.eq(digit + 1)]
            with m.If(digit == digits - 1):
                m.d.sync += [digit.eq(0), current.read.eq(0)]
            with m.If(current.address == groups * digits - 1):
                m.d.sync += current.address.eq(0)
        if groups > 1:
            another = current.step == self._steps - 1 if self._group_major else Const(1)
            with m.If(sent):
                m.d.sync += [changed.eq(another), current.read.eq(another)]
        return changed
