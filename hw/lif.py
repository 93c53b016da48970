"""LIF array: `lanes` ternary neurons at a time, from drive to spike."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.geometry import LayerGeometry
from hw.spec import NeuronSpec, signed_bits
from hw.stream import coefficients, drives, transfer

__all__ = ["LifArray", "LifSlice", "decay", "fire", "reset", "saturate"]

# The laws of docs/arithmetic.md as expressions; sim/golden.py has the same names.


def decay(u: Value, neuron: NeuronSpec) -> Value:
    """Law 2. Adding 2^k - 1 to a negative number makes the shift truncate toward zero."""
    if neuron.decay == "none":
        return u
    k = neuron.decay_shift
    part = (u + Mux(u < 0, (1 << k) - 1, 0)) >> k
    return part if neuron.decay == "shift" else u - part


def fire(v: Value, neuron: NeuronSpec) -> tuple[Value, Value]:
    """Law 3, as (spike, negative)."""
    below = v <= -neuron.theta
    return below | (v >= neuron.theta), below


def reset(v: Value, spike: Value, negative: Value, neuron: NeuronSpec) -> Value:
    """Law 4."""
    if neuron.reset == "hard":
        return Mux(spike, 0, v)
    return v - Mux(spike, Mux(negative, Const(-neuron.step), Const(neuron.step)), 0)


def saturate(u: Value, neuron: NeuronSpec) -> Value:
    """Law 5. Under hard reset |u| < theta, which the width holds: nothing to do."""
    if neuron.reset == "hard":
        return u
    top = neuron.u_max
    return Mux(u > top, Const(top), Mux(u < -top, Const(-top), u))


class LifSlice(wiring.Component):
    """The neurons of one slice of lanes: registers in a row, without enables but for the store.

        stored u -> d = decay(u) -> v = d + I -> c = fire(v) -> r = reset(v, c) -> u = saturate(r)

    As long as drive, group and store do not move, each register settles a cycle after the one
    before it; `LifArray` knows when.

    Parameters
    ----------
    neuron
        The neuron all lanes share.
    lanes, groups
        Neurons side by side; how many of them in turn.
    drive_bits, membrane_bound
        Width of a drive; largest |v|.

    Members
    -------
    drive : In(drives(lanes, drive_bits))
    group, first : In
        Whose potentials to use, and whether they count (not in an image's first step).
    store, store_group : In
        Store the new potentials as this group's.
    spikes : Out(coefficients(lanes, 1, signed=True))
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

    def __init__(
        self, neuron: NeuronSpec, *, lanes: int, groups: int, drive_bits: int, membrane_bound: int
    ) -> None:
        self._neuron, self._lanes, self._groups = neuron, lanes, groups
        self._v_bits = signed_bits(membrane_bound)
        self._r_bits = signed_bits(max(membrane_bound, neuron.step))
        if neuron.reset == "hard":
            self._r_bits = neuron.potential_bits
        super().__init__(
            {
                "drive": In(drives(lanes, drive_bits)),
                "group": In(range(groups)),
                "first": In(1),
                "store": In(1),
                "store_group": In(range(groups)),
                "spikes": Out(coefficients(lanes, 1, signed=True)),
                "potentials": Out(data.ArrayLayout(signed(neuron.potential_bits), lanes)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        neuron = self._neuron
        stored = self._stored(m)
        d0 = decay(Const(neuron.u0, signed(neuron.potential_bits)), neuron)

        def register(shape, name: str) -> Signal:
            return Signal(shape, name=name, reset_less=True)

        for k in range(self._lanes):
            d = register(signed(neuron.potential_bits), f"d{k}")
            v = register(signed(self._v_bits), f"v{k}")
            spike, negative = register(1, f"spike{k}"), register(1, f"negative{k}")
            r = Signal(signed(self._r_bits), name=f"r{k}", reset_less=True)
            m.d.sync += [
                d.eq(Mux(self.first, d0, decay(stored[k], neuron))),
                v.eq(d + self.drive[k]),
                Cat(spike, negative).eq(Cat(fire(v, neuron))),
            ]
            # A hard reset is a mask, no arithmetic: it needs no register of its own.
            domain = m.d.comb if neuron.reset == "hard" else m.d.sync
            domain += r.eq(reset(v, spike, negative, neuron))
            m.d.comb += [
                self.spikes[k].magnitude.eq(spike),
                self.spikes[k].negative.eq(negative),
                self.potentials[k].eq(saturate(r, neuron)),
            ]
        return m

    def _stored(self, m: Module):
        """The potentials of `group`: a register, or a memory with a register's timing."""
        if self._groups == 1:
            stored = Signal(self.potentials.shape(), reset_less=True)
            with m.If(self.store):
                m.d.sync += stored.eq(self.potentials)
            return stored
        m.submodules.store = store = Memory(
            shape=self.potentials.shape(), depth=self._groups, init=[]
        )
        write, read = store.write_port(), store.read_port()
        m.d.comb += [
            write.addr.eq(self.store_group),
            write.data.eq(self.potentials),
            write.en.eq(self.store),
            read.addr.eq(self.group),
        ]
        return read.data


class LifArray(wiring.Component):
    """Sweeps the groups of a layer, one word of drives at a time, through the neuron's laws.

    The drive stays where it is offered until the new potentials are stored, so the slices need no
    copy of it. The order to store passes from slice to slice, a cycle each.

        IDLE     v = d + I          waits for a drive
        FIRE     c = fire(v)
        RESET    r = reset(v, c)
        SEND                        offers the spikes
        STORE    u = saturate(r)    one slice a cycle; takes the drive in the last
        SETTLE   d = decay(u)

    The state of an image needs no clearing: its first step ignores what is stored.

    Cycle law, S slices: spikes are offered `LATENCY` cycles after a drive is offered; the drive is
    taken S cycles after the spikes were, and the next one is looked at `recovery` cycles after
    they were.

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
    drive_bits, membrane_bound
        Width of a drive; largest |v|.

    Members
    -------
    i : In(stream of drives(lanes, drive_bits))
    o : Out(stream of coefficients(lanes, 1, signed=True))

    Attributes
    ----------
    tap_fire, tap_potentials
        Not ports: in the cycle where spikes leave (`tap_fire`), the potentials that will be
        stored. A parent that does not look at them has no logic for them.
    """

    LATENCY = 3

    i: stream.Interface
    o: stream.Interface

    def __init__(
        self, neuron: NeuronSpec, geometry: LayerGeometry, *, steps: int, drive_bits: int,
        membrane_bound: int, group_major: bool = False,
    ) -> None:  # fmt: skip
        self._geometry, self._steps = geometry, steps
        # To the neurons, a group that passes all its steps is an image of its own.
        self._groups = 1 if group_major else geometry.groups
        self._slices = [
            LifSlice(
                neuron, lanes=len(lanes), groups=self._groups, drive_bits=drive_bits,
                membrane_bound=membrane_bound,
            )
            for lanes in geometry.slices
        ]  # fmt: skip
        self.tap_fire = Signal()
        self.tap_potentials = Signal(
            data.ArrayLayout(signed(neuron.potential_bits), geometry.lanes)
        )
        super().__init__(
            {
                "i": In(stream.Signature(drives(geometry.lanes, drive_bits))),
                "o": Out(stream.Signature(coefficients(geometry.lanes, 1, signed=True))),
            }
        )

    @staticmethod
    def store_cycles(geometry: LayerGeometry) -> int:
        """Cycles from the spikes' leaving to the drive's being taken: a slice a cycle."""
        return len(geometry.slices)

    @staticmethod
    def recovery(geometry: LayerGeometry) -> int:
        """Cycles from the spikes' leaving to IDLE: every slice stores, the last one settles."""
        return LifArray.store_cycles(geometry) + 2

    def elaborate(self, platform) -> Module:
        m = Module()
        sent = transfer(self.o)
        m.d.comb += self.tap_fire.eq(sent)
        self._connect_slices(m, sent)

        countdown = Signal(range(len(self._slices)))
        with m.FSM(init="SETTLE"):  # after a reset, d = decay(u0) takes a cycle too
            with m.State("IDLE"), m.If(self.i.valid):
                m.next = "FIRE"
            with m.State("FIRE"):
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
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "IDLE"
        return m

    def _connect_slices(self, m: Module, sent: Value) -> None:
        """Whose turn it is, and the order to store, handed from slice to slice."""
        groups, steps = self._groups, self._steps
        order = data.StructLayout(
            {
                "group": range(groups),
                "step": range(steps),
                "store": 1,
                "store_group": range(groups),
            }
        )
        current = Signal(order)
        m.d.sync += [current.store.eq(sent), current.store_group.eq(current.group)]
        with m.If(sent):
            m.d.sync += current.group.eq(current.group + 1)
            with m.If(current.group == groups - 1):
                m.d.sync += [current.group.eq(0), current.step.eq(current.step + 1)]
                with m.If(current.step == steps - 1):
                    m.d.sync += current.step.eq(0)
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
            for k, lane in enumerate(lanes):
                m.d.comb += [
                    part.drive[k].eq(self.i.payload[lane]),
                    self.o.payload[lane].eq(part.spikes[k]),
                    self.tap_potentials[lane].eq(part.potentials[k]),
                ]
