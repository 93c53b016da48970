"""Law 2, what is kept of a potential, in hardware: shifts and additions, never a multiplier."""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal, Value, signed

from hw.contract.neuron import Decay, factor_shift

__all__ = [
    "adder_bits",
    "adders",
    "decay_cycles",
    "decayed",
    "decayed_constant",
    "factor_cycle",
    "gated_product",
    "product_cycles",
    "terms",
]


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
    """Additions one after the other; of a factor that is not known, one term for each bit of 0 to
    2^k."""
    if decay.kind != "factor":
        return 0
    return (len(terms(decay.factor)) - 1 if decay.factor else decay.shift).bit_length()


def decay_cycles(decays: Sequence[Decay]) -> int:
    """Cycles by which `decayed` is later than its potential: of the factor with most terms, the
    levels of its tree of additions; 0 where no decay has a factor."""
    return max(map(_levels, decays), default=0)


def adders(decays: Sequence[Decay]) -> int:
    """Additions of `decayed`, of one potential."""
    fixed = [decay.factor for decay in decays if decay.factor]
    return sum(len(terms(factor)) - 1 for factor in fixed) + factor_shift(decays)


def adder_bits(decays: Sequence[Decay], bits: int) -> int:
    """Bits of these additions, of a potential that has so many."""
    fixed = [decay.factor for decay in decays if decay.factor]
    shift = factor_shift(decays)
    own = shift * (bits + shift)
    return sum((len(terms(f)) - 1) * (bits + f.bit_length()) for f in fixed) + own


def factor_cycle(decays: Sequence[Decay]) -> int:
    """Cycles after a potential in which `decayed` takes the factor of its channel."""
    return decay_cycles(decays) - factor_shift(decays).bit_length()


def decayed(
    m: Module, u: Value, decays: Sequence[Decay], name: str, factor: Value | None = None
) -> list[Value]:
    """What each law keeps of a potential, `decay_cycles` cycles after it: a register behind each
    addition. Only the last division is not in a register.

    Parameters
    ----------
    u
        Signed; a new one may come in every cycle.
    name
        Prefix of the registers' names.
    factor
        m of the potential's channel, 0 to 2^k, `factor_cycle` cycles after it, where some law's
        factors are by channel. They share one product.
    """
    # late[n] is the potential n cycles later.
    late, found = [u], []
    for n in range(decay_cycles(decays)):
        late.append(Signal.like(u, name=f"{name}_late{n}", reset_less=True))
        m.d.sync += late[n + 1].eq(late[n])
    own: Value | None = None
    if shift := factor_shift(decays):
        assert factor is not None
        start = late[factor_cycle(decays)]
        own = gated_product(m, start, factor[: shift + 1], len(u) + shift, f"{name}_own")
    for number, decay in enumerate(decays):
        start = late[len(late) - 1 - _levels(decay)]
        product, mark = start, f"{name}_{number}_"
        if decay.kind == "factor" and not decay.factor:
            assert own is not None
            product = own
        elif decay.kind == "factor":
            product = _product(m, start, decay.factor, mark)
        found.append(_divided(late[-1], product, decay))
    return found


def gated_product(m: Module, u: Value, factor: Value, width: int, mark: str) -> Value:
    """A signed number times an unsigned factor that is not known: a term for each bit of the
    factor, a shifted u, added up by a tree as of a known one, `product_cycles` cycles later."""
    row = [Mux(bit, u << n, 0) for n, bit in enumerate(factor)]
    return _sum(m, row, width, mark, narrow=True)


def product_cycles(bits: int) -> int:
    """Levels of `gated_product`'s tree, of a factor of so many bits."""
    return (bits - 1).bit_length()


def decayed_constant(u: Value, decay: Decay) -> Value:
    """What a law keeps of a constant, at once: synthesis does the sums."""
    return _divided(u, u * decay.factor if decay.kind == "factor" else u, decay)


def _product(m: Module, u: Value, factor: int, mark: str) -> Value:
    """The potential times a factor: a balanced tree of its terms, a level a cycle."""
    row: list[Value] = [u << power if sign > 0 else -(u << power) for sign, power in terms(factor)]
    return _sum(m, row, len(u) + factor.bit_length(), mark)


def _sum(m: Module, row: list[Value], width: int, mark: str, narrow: bool = False) -> Value:
    """A balanced tree of additions, a level a cycle; the sum is signed and has that width, and so
    have all sums, or, `narrow`, no more than they need."""
    level = 0
    while len(row) > 1:
        sums = [a + b for a, b in zip(row[::2], row[1::2], strict=False)]
        if len(row) % 2:
            sums.append(row[-1])
        row = []
        for place, value in enumerate(sums):
            bits = min(width, len(value)) if narrow else width
            held = Signal(signed(bits), name=f"{mark}{level}_{place}", reset_less=True)
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
