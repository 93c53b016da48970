"""What is looked through: shapes of networks for a data set, or one network as it is."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hw.contract.checks import SternaError, require_int
from hw.contract.edge import INPUT, MAX_KERNEL, EdgeSpec
from hw.contract.neuron import MAX_LIMIT
from hw.contract.spec import WEIGHT_BITS
from hw.contract.text import none_of
from sw.learn.plan import LayerPlan, dense_chain

__all__ = ["FIGURES", "ExploreError", "Shape", "figures_of", "layer_words", "shapes"]

FIGURES = ("accuracy", "speed", "luts", "brams", "energy")
"""What points may be compared by."""

MOST_NEURONS = 65536

WORD = re.compile(
    r"(?P<dense>[0-9]+)|conv:(?P<conv>[0-9]+)(:(?P<kernel>[0-9]+)(:(?P<stride>[0-9]+))?)?"
    r"|pool(:(?P<pool>[0-9]+))?"
)


class ExploreError(SternaError, ValueError):
    """A space that cannot be looked through."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A network that could be trained.

    Parameters
    ----------
    layers
        In front of the readout, each a word: `64` is a dense layer of so many neurons,
        `conv:16:5:2` a convolution to 16 channels with a kernel of 5x5 (3x3) and a stride of 2 (1)
        that keeps the size of its maps but for the stride, `pool:2` has the next layer receive sums
        of squares of 2x2.
    weight_bits, steps
        Width of the weights, T.
    limit
        Most spikes that a neuron sends at once: 1 of ternary ones.
    """

    layers: tuple[str, ...]
    weight_bits: int
    steps: int
    limit: int = 1

    @property
    def has_maps(self) -> bool:
        """Whether there is more than a chain of dense layers."""
        return not all(word.isdecimal() for word in self.layers)

    @property
    def name(self) -> str:
        """Short, and of a file."""
        counted = f"-l{self.limit}" if self.limit > 1 else ""
        made = "-".join(map(_short, self.layers)) if self.has_maps else f"h{'x'.join(self.layers)}"
        return f"{made}-w{self.weight_bits}-t{self.steps}{counted}"

    def plans(self, classes: int) -> tuple[LayerPlan, ...]:
        """All layers, the readout last."""
        if not self.has_maps:
            return dense_chain([int(word) for word in self.layers], classes)
        plans: list[LayerPlan] = []
        source, pool = INPUT, 1
        for word in (*self.layers, str(classes)):
            kind, numbers = _read(word)
            if kind == "pool":
                pool *= numbers[0]
                continue
            channels, *rest = numbers
            edge = EdgeSpec(source=source, pool=pool)
            if kind == "conv":
                kernel, stride = rest
                edge = EdgeSpec(
                    source=source,
                    kind="conv",
                    kernel=kernel,
                    stride=stride,
                    padding=kernel // 2,
                    pool=pool,
                )
            source, pool = f"{kind}{len(plans) + 1}", 1
            plans.append(LayerPlan(source, channels, (edge,)))
        return (*plans[:-1], LayerPlan("readout", classes, plans[-1].edges))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**vars(self), "layers": list(self.layers)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Shape":
        """Inverse of `to_dict`."""
        return cls(**{**data, "layers": tuple(data["layers"])})


def _read(word: str) -> tuple[str, tuple[int, ...]]:
    """Kind and numbers of a word of `Shape.layers`."""
    found = WORD.fullmatch(word)
    if found is None:
        raise ExploreError(
            f"Layer must be a number of neurons, conv:CHANNELS[:KERNEL[:STRIDE]] or pool[:SIDE], "
            f"not {word!r}"
        )
    if found["dense"]:
        return "dense", (int(found["dense"]),)
    if found["conv"]:
        return "conv", (int(found["conv"]), int(found["kernel"] or 3), int(found["stride"] or 1))
    return "pool", (int(found["pool"] or 2),)


def _short(word: str) -> str:
    kind, (first, *rest) = _read(word)
    if kind == "conv":
        kernel, stride = rest
        return f"c{first}k{kernel}" + (f"s{stride}" if stride > 1 else "")
    return f"{'p' if kind == 'pool' else 'h'}{first}"


def layer_words(text: str) -> list[tuple[str, ...]]:
    """Layers of several networks: words joined by `-`, networks by commas."""
    return [tuple(one.split("-")) for one in text.split(",")]


def shapes(
    layers: Sequence[Sequence[int | str]],
    weight_bits: Sequence[int],
    steps: Sequence[int],
    limits: Sequence[int] = (1,),
) -> list[Shape]:
    """Every combination.

    Parameters
    ----------
    layers
        Of each network those in front of the readout (`Shape`).

    Raises
    ------
    ExploreError
        For none, and for layers that are none.
    SpecError
        For what no network can have.
    """
    if not (layers and weight_bits and steps and limits):
        raise ExploreError("Hidden layers, widths, time steps and limits must be at least one each")
    words = [tuple(map(str, chain)) for chain in layers]
    for chain in words:
        _check(chain)
    for bits in weight_bits:
        require_int("Weight width", bits, WEIGHT_BITS.start, WEIGHT_BITS.stop - 1)
    for count in steps:
        require_int("Time steps", count, 1, 1024)
    for limit in limits:
        require_int("Limit of spikes", limit, 1, MAX_LIMIT)
    return [
        Shape(layers=chain, weight_bits=w, steps=t, limit=limit)
        for chain, w, t, limit in dict.fromkeys(
            itertools.product(words, weight_bits, steps, limits)
        )
    ]


def _check(chain: Sequence[str]) -> None:
    """Refuse numbers that no layer has; maps behind a dense layer; pooling of what has no maps."""
    flat = False
    for word in chain:
        kind, (first, *rest) = _read(word)
        if kind == "pool":
            require_int("Side of pooling", first, 2, 256)
        else:
            require_int("Neurons of a hidden layer", first, 1, MOST_NEURONS)
        if rest:
            require_int("Kernel", rest[0], 1, MAX_KERNEL)
            require_int("Stride", rest[1], 1, max(2, rest[0]))
        if flat and kind != "dense":
            raise ExploreError(f"Layers {'-'.join(chain)} must have no {word} behind a dense layer")
        flat = kind == "dense"
    if not any(_read(word)[0] != "pool" for word in chain):
        raise ExploreError(f"Layers {'-'.join(chain)} must have one that fires")


def figures_of(text: str) -> tuple[str, ...]:
    """Of `FIGURES`, those that are named, joined by commas."""
    named = tuple(dict.fromkeys(text.split(",")))
    for name in named:
        if name not in FIGURES:
            raise ExploreError(none_of("Figure", name, FIGURES))
    return named
