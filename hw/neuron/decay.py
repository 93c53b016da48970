"""Law 2, what is kept of a potential, in hardware: shifts and additions, never a multiplier."""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal, Value, signed

from hw.contract.neuron import Decay

__all__ = ["adder_bits", "adders", "decay_cycles", "decayed", "decayed_constant", "terms"]


def terms(factor: int) -> list[tuple[int, int]]:
    """A positive factor as a sum of powers of two with signs, (sign, power) each, as few as
    there can be: no two neighbouring powers (canonical signed digits)."""
    found, power = [], 0
    while factor:
        if factor & 1:
            sign = 2 - (factor & 3)  # a run of ones becomes its next power less its first
            found.append((sign, power))
            factor -= sign
        factor, power = factor >> 1, power + 1
    return found


def _levels(decay: Decay) -> int:
    """Additions one after the other."""
    return (len(terms(decay.factor)) - 1).bit_length() if decay.kind == "factor" else 0


def decay_cycles(decays: Sequence[Decay]) -> int:
    """Cycles by which `decayed` is later than its potential: of the factor with most terms, the
    levels of its tree of additions; 0 where no decay has a factor."""
    return max(map(_levels, decays), default=0)


def adders(decays: Sequence[Decay]) -> int:
    """Additions of `decayed`, of one potential."""
    return sum(len(terms(decay.factor)) - 1 for decay in decays if decay.kind == "factor")


def adder_bits(decay: Decay, bits: int) -> int:
    """Bits of these additions, of a potential that has so many."""
    return adders((decay,)) * (bits + decay.factor.bit_length())


def decayed(m: Module, u: Value, decays: Sequence[Decay], name: str) -> list[Value]:
    """What each law keeps of a potential, `decay_cycles` cycles after it: a register behind each
    addition. Only the last division is not in a register.

    Parameters
    ----------
    u
        Signed; a new one may come in every cycle.
    name
        Prefix of the registers' names.
    """
    # late[n] is the potential n cycles later.
    late, found = [u], []
    for n in range(decay_cycles(decays)):
        late.append(Signal.like(u, name=f"{name}_late{n}", reset_less=True))
        m.d.sync += late[n + 1].eq(late[n])
    for number, decay in enumerate(decays):
        start = late[len(late) - 1 - _levels(decay)]
        product, mark = start, f"{name}_{number}_"
        if decay.kind == "factor":
            product = _product(m, start, decay.factor, mark)
        found.append(_divided(late[-1], product, decay))
    return found


def decayed_constant(u: Value, decay: Decay) -> Value:
    """What a law keeps of a constant, at once: synthesis does the sums."""
    return _divided(u, u * decay.factor if decay.kind == "factor" else u, decay)


def _product(m: Module, u: Value, factor: int, mark: str) -> Value:
    """The potential times a factor: a balanced tree of its terms, a level a cycle."""
    row: list[Value] = [u << power if sign > 0 else -(u << power) for sign, power in terms(factor)]
    width, level = len(u) + factor.bit_length(), 0
    while len(row) > 1:
        sums = [a + b for a, b in zip(row[::2], row[1::2], strict=False)]
        if len(row) % 2:
            sums.append(row[-1])
        row = []
        for place, value in enumerate(sums):
            held = Signal(signed(width), name=f"{mark}{level}_{place}", reset_less=True)
            m.d.sync += held.eq(value)
            row.append(held)
        level += 1
    return row[0]


def _divided(u: Value, product: Value, decay: Decay) -> Value:
    """Adding 2^k - 1 to a negative number makes the shift truncate toward zero."""
    if decay.kind == "none":
        return u
    if decay.rounding == "zero":
        product = product + Mux(product < 0, (1 << decay.shift) - 1, 0)
    part = product >> decay.shift
    return u - part if decay.kind == "leak" else part
