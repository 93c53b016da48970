"""The numeric contract of learning (docs/arithmetic.md): SPIDE in integers, after arXiv 2302.00232.

A network that learns keeps a master weight of more bits behind each weight that it works with.
`LearningSpec` has the numbers of the rule, `learned_edges` says which weights have masters, and the
small functions below are the laws that are not those of a neuron. Like the rest of the contract,
this module imports neither Amaranth nor torch.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hw.contract.checks import require, require_int
from hw.contract.edge import INPUT
from hw.contract.neuron import NeuronSpec

if TYPE_CHECKING:
    from hw.contract.spec import NetworkSpec

__all__ = [
    "DITHER_BITS",
    "LearnedEdge",
    "LearningSpec",
    "change",
    "check_learning",
    "judge",
    "learned_edges",
    "turned",
    "xorshift",
]

Int = npt.NDArray[np.int64]

DITHER_BITS = 16
"""Of the random word, as many as an index may have."""

MAX_ERROR_BITS = 6

RATES = range(-7, DITHER_BITS + 1)


@dataclass(frozen=True, kw_only=True)
class LearningSpec:
    """How a network learns from one sample at a time.

    Parameters
    ----------
    master_bits
        M: width of a master weight. The network works with its upper `weight_bits`, Q = m >> s.
    steps_back
        T_B: time steps of the backward stage. 0: the readout alone learns, behind neurons of any
        kind.
    margin
        mu: a sample is learned where the best wrong logit comes nearer to the label's than this.
    inject_shift
        gamma: the error's weights enter the backward stage times 2^gamma.
    rates
        k of each learned edge, in the order of `learned_edges`: a change is the product of both
        counts, over 2^k.
    input_bias
        xb: the constant pixel that brings the bias of the first layer.
    error_bits
        Bits of the magnitude of a class's error, 1 to 6: of the judge's +1 and -1, 1; more for
        errors that are given.
    seed
        First word of the dither's generator; not 0.
    """

    master_bits: int
    steps_back: int = 0
    margin: int
    inject_shift: int = 4
    rates: tuple[int, ...]
    input_bias: int = 8
    error_bits: int = 1
    seed: int = 0x9E3779B9

    def __post_init__(self) -> None:
        require_int("Width of master weights", self.master_bits, 2, 24)
        require_int("Steps of the backward stage", self.steps_back, 0, 1024)
        require_int("Margin", self.margin, 0, 2**30)
        require_int("Shift of the injected error", self.inject_shift, 0, 15)
        require_int("Constant pixel of the bias", self.input_bias, 1, 255)
        require_int("Error width", self.error_bits, 1, MAX_ERROR_BITS)
        require_int("Seed of the dither", self.seed, 1, 2**32 - 1)
        require(
            isinstance(self.rates, tuple) and len(self.rates) > 0,
            f"Learning rates must be a tuple of shifts, not {self.rates!r}",
        )
        for rate in self.rates:
            require_int("Learning rate", rate, RATES.start, RATES.stop - 1)

    @property
    def error_max(self) -> int:
        """Largest `|error|` of a class."""
        return (1 << self.error_bits) - 1

    @property
    def readout_only(self) -> bool:
        """Nothing but the readout learns."""
        return self.steps_back == 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self) | {"rates": list(self.rates)}


@dataclass(frozen=True, kw_only=True)
class LearnedEdge:
    """An edge whose weights have masters, (senders + 1 if there is a bias, targets).

    Parameters
    ----------
    layer, number
        Of the layer, and of the edge among its edges.
    source
        `input` or the sending layer.
    senders, targets
        Without the sender of the bias, which comes after all others.
    bias
        The constant that the bias's sender has: xb, 1 (at each step), or 0 where there is none.
    shift, delay
        Of the edge.
    copied
        There is a second, transposed copy: the backward stage sends over this edge.
    """

    layer: int
    number: int
    source: str
    senders: int
    targets: int
    bias: int
    shift: int
    delay: int
    copied: bool

    @property
    def rows(self) -> int:
        """Senders, with that of the bias."""
        return self.senders + (self.bias > 0)


def learned_edges(spec: "NetworkSpec") -> tuple[LearnedEdge, ...]:
    """The edges that learn, in the order of layers and of their edges."""
    learning = spec.learning
    assert learning is not None
    last, found = len(spec.layers) - 1, []
    for n in range(last if learning.readout_only else 0, last + 1):
        for number, edge in enumerate(spec.edges(n)):
            bias = 0 if edge.delay else learning.input_bias if edge.source == INPUT else 1
            found.append(
                LearnedEdge(
                    layer=n,
                    number=number,
                    source=edge.source,
                    senders=spec.source_size(edge.source),
                    targets=spec.layers[n].neurons,
                    bias=bias,
                    shift=edge.shift,
                    delay=edge.delay,
                    copied=edge.source != INPUT and not learning.readout_only,
                )
            )
    return tuple(found)


def check_learning(spec: "NetworkSpec") -> None:
    """Refuse a network that cannot learn as its specification says.

    Raises
    ------
    SpecError
        With one sentence: not dense, not a row of groups with at most one edge back from the last
        to the first, another neuron than *SPIDE forward*, masters narrower than the weights, or not
        a rate for every learned edge.
    """
    learning, name = spec.learning, f"Network {spec.name}"
    assert learning is not None
    last = len(spec.layers) - 1
    require(last > 0, f"{name} must have a hidden layer to learn")
    for layer in spec.layers:
        require(
            layer.neuron is None or not layer.neuron.has_current,
            f"Neurons of layer {layer.name} must have no synaptic current for the network to learn",
        )
    require(not spec.timed_input, f"{name} must have pictures, not recordings, to learn")
    require(
        spec.layers[last].readout is None,
        f"Readout {spec.layers[last].name} must add up its drives, without a leak, to learn",
    )
    first = last if learning.readout_only else 0
    names = [INPUT, *(layer.name for layer in spec.layers)]
    thetas = set()
    for n in range(first, last + 1):
        layer = spec.layers[n]
        for edge in spec.edges(n):
            back = n == 0 and last > 0 and edge.source == names[last] and edge.delay == 1
            require(
                edge.kind == "dense" and edge.pool == 1 and layer.map_shape[1:] == (1, 1),
                f"Layer {layer.name} must be dense to learn",
            )
            require(
                (edge.source == names[n] and edge.delay == 0) or back,
                f"Layer {layer.name} must receive from {names[n]}"
                + (f", or one step later from {names[last]}," if n == 0 else "")
                + f" to learn, not from {edge.source}",
            )
        require(
            learning.master_bits >= layer.weight_bits,
            f"Master weights must have at least the {layer.weight_bits} bits of the weights of "
            f"layer {layer.name}, not {learning.master_bits}",
        )
        if layer.neuron is not None:
            thetas.add(layer.neuron.theta)
            require(
                _is_spide(layer.neuron) and not layer.channel_thresholds,
                f"Neurons of layer {layer.name} must fire from a threshold V on, on the positive "
                "side alone, and subtract 2V, without decay, to learn (row SPIDE forward)",
            )
    for layer in spec.layers:
        require(
            not (layer.channel_decays or layer.channel_resets),
            f"Layer {layer.name} must have one decay factor and one reset step for all its "
            "channels, in a network that learns",
        )
    require(len(thetas) < 2, f"{name} must have one threshold for all layers to learn")
    shape = spec.shape_of(spec.edges(first)[0].source)
    require(shape[1:] == (1, 1), f"{name} must have rows of values, not maps, where it learns")
    for n in range(first, last + 1):
        sources = [edge.source for edge in spec.edges(n)]
        require(
            len(set(sources)) == len(sources),
            f"Layer {spec.layers[n].name} must have one edge from each source to learn",
        )
    require(
        learning.readout_only or spec.edges(0)[0].source == INPUT,
        f"{name} must have the edge from its input first to learn",
    )
    edges = learned_edges(spec)
    require(
        len(learning.rates) == len(edges),
        f"{name} must have a learning rate for each of its {len(edges)} learned edges, not "
        f"{len(learning.rates)}",
    )


def _is_spide(neuron: NeuronSpec) -> bool:
    plain = (neuron.negative, neuron.limit, neuron.decay, neuron.reset, neuron.fraction_bits)
    return (
        plain == ("off", 1, "none", "soft", 0)
        and neuron.step == 2 * neuron.theta
        and neuron.u0 == 0
    )


def xorshift(x: int) -> int:
    """The next word of the dither's generator (Marsaglia's xorshift32: 13, 17, 5)."""
    x ^= x << 13 & 0xFFFFFFFF
    x ^= x >> 17
    return x ^ (x << 5 & 0xFFFFFFFF)


def turned(index: Int | int) -> Int:
    """The `DITHER_BITS` bits of an index, first last."""
    index = np.asarray(index, dtype=np.int64)
    bits = [(index >> b & 1) << (DITHER_BITS - 1 - b) for b in range(DITHER_BITS)]
    return np.bitwise_or.reduce(bits)


def change(product: Int, dither: Int, rate: int) -> Int:
    """What is added to a master: the product of both counts over 2^k, rounded by the upper k bits
    of the dither, (0 .. 2^16 - 1); k at most 0: times 2^-k."""
    if rate <= 0:
        return np.asarray(product) << -rate
    return (product + (dither >> DITHER_BITS - rate)) >> rate


def judge(logits: Int, label: int, margin: int) -> Int:
    """The error of each class: +1 for the label and -1 for the strongest wrong class, the first of
    equals, if that comes within the margin; else 0."""
    error = np.zeros(len(logits), dtype=np.int64)
    if len(logits) < 2:
        return error
    others = np.array(logits, dtype=np.int64)
    others[label] = np.iinfo(np.int64).min
    wrong = int(others.argmax())
    if logits[wrong] + margin > logits[label]:
        error[label], error[wrong] = 1, -1
    return error
