"""LIF array: `lanes` ternary neurons at a time, from drive to spike."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.spec import NeuronSpec, signed_bits
from hw.stream import coefficients, drives, transfer

__all__ = ["LifArray", "decay", "fire", "reset", "saturate"]

# The laws of docs/arithmetic.md as expressions; sim/golden.py has the same names.


def decay(u: Value, neuron: NeuronSpec) -> Value:
    """Law 2. Adding 2^k - 1 to a negative number makes the shift truncate toward zero."""
    if neuron.decay == "none":
        return u
    k = neuron.decay_shift
    part = (u + Mux(u < 0, (1 << k) - 1, 0)) >> k
    return part if neuron.decay == "shift" else u - part


def decay_constant(u: int, neuron: NeuronSpec) -> int:
    """Law 2 of a number."""
    if neuron.decay == "none":
        return u
    part = (abs(u) >> neuron.decay_shift) * (1 if u >= 0 else -1)
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


class LifArray(wiring.Component):
    """Sweeps the groups of a layer, one word of drives at a time, through the neuron's laws.

        SETTLE   d = decay(u)       u0 at the first step of an image
        ADD      v = d + I          takes the drive
        FIRE     c = fire(v)
        RESET    r = reset(v, c)
        SEND     u = saturate(r)    offers the spikes, stores the potentials

    The state of an image needs no clearing: its first step ignores what is stored.

    Cycle law: `o` is valid `LATENCY` cycles after a drive is taken; the next drive is taken
    `RECOVERY` cycles after the spikes were, at the earliest.

    Parameters
    ----------
    neuron
        The neuron all lanes share.
    lanes, groups, steps
        Neurons per word, words per time step, time steps per image.
    drive_bits, membrane_bound
        Width of a drive; largest |v|.

    Members
    -------
    i : In(stream of drives(lanes, drive_bits))
    o : Out(stream of coefficients(lanes, 1, signed=True))

    Attributes
    ----------
    tap_fire, tap_potentials
        Not ports: in the cycle where spikes leave (`tap_fire`), the potentials stored. A parent
        that does not look at them has no logic for them.
    """

    LATENCY = 3
    RECOVERY = 2

    i: stream.Interface
    o: stream.Interface

    def __init__(
        self, neuron: NeuronSpec, *, lanes: int, groups: int, steps: int, drive_bits: int,
        membrane_bound: int,
    ) -> None:  # fmt: skip
        self._neuron, self._lanes, self._groups, self._steps = neuron, lanes, groups, steps
        self._v_bits = signed_bits(membrane_bound)
        self._r_bits = signed_bits(max(membrane_bound, neuron.step))
        if neuron.reset == "hard":
            self._r_bits = neuron.potential_bits
        self._potentials = data.ArrayLayout(signed(neuron.potential_bits), lanes)
        self.tap_fire = Signal()
        self.tap_potentials = Signal(self._potentials)
        super().__init__(
            {
                "i": In(stream.Signature(drives(lanes, drive_bits))),
                "o": Out(stream.Signature(coefficients(lanes, 1, signed=True))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        neuron = self._neuron
        sent = transfer(self.o)
        stored, first = self._stored(m, sent)

        # Between two ADDs, v does not move, so the stages behind it need no enable: they settle,
        # and each is used only after it has.
        add = Signal()
        for k in range(self._lanes):
            d = Signal(signed(neuron.potential_bits), name=f"d{k}")
            v = Signal(signed(self._v_bits), name=f"v{k}")
            r = Signal(signed(self._r_bits), name=f"r{k}")
            c = self.o.payload[k]
            spike, negative = fire(v, neuron)
            d0 = decay_constant(neuron.u0, neuron)
            m.d.sync += [
                d.eq(Mux(first, Const(d0), decay(stored[k], neuron))),
                c.magnitude.eq(spike),
                c.negative.eq(negative),
                r.eq(reset(v, c.magnitude[0], c.negative[0], neuron)),
            ]
            with m.If(add):
                m.d.sync += v.eq(d + self.i.payload[k])
            m.d.comb += self.tap_potentials[k].eq(saturate(r, neuron))

        with m.FSM():
            with m.State("SETTLE"):
                m.next = "ADD"
            with m.State("ADD"):
                m.d.comb += [add.eq(1), self.i.ready.eq(1)]
                with m.If(self.i.valid):
                    m.next = "FIRE"
            with m.State("FIRE"):
                m.next = "RESET"
            with m.State("RESET"):
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "SETTLE"
        m.d.comb += self.tap_fire.eq(sent)
        return m

    def _stored(self, m: Module, sent: Value) -> tuple[data.View, Value]:
        """The potentials of the group whose turn it is, and whether this is an image's first
        step (then they are another image's and count for nothing)."""
        step = Signal(range(self._steps))
        group = Signal(range(self._groups))
        last_group = group == self._groups - 1
        with m.If(sent):
            m.d.sync += group.eq(Mux(last_group, 0, group + 1))
            with m.If(last_group):
                m.d.sync += step.eq(Mux(step == self._steps - 1, 0, step + 1))

        if self._groups == 1:
            stored = Signal(self._potentials)
            with m.If(sent):
                m.d.sync += stored.eq(self.tap_potentials)
            return stored, step == 0
        m.submodules.store = store = Memory(shape=self._potentials, depth=self._groups, init=[])
        write, read = store.write_port(), store.read_port()
        m.d.comb += [
            write.addr.eq(group),
            write.data.eq(self.tap_potentials),
            write.en.eq(sent),
            # Read ahead: the next group's potentials are there in the cycle after this one's left.
            read.addr.eq(Mux(sent, Mux(last_group, 0, group + 1), group)),
        ]
        return read.data, step == 0
