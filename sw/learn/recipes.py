"""Recipes: all that decides a trained network, but for the seed."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hw.contract.checks import SternaError
from hw.contract.edge import EdgeSpec, Shape
from hw.contract.encoding import Encoding
from hw.contract.text import none_of
from sw.data.published import NAMES, RECORDINGS, SHAPES
from sw.data.wheels import ENCODINGS
from sw.learn.neuron import LIFParameters, ReadoutParameters
from sw.learn.plan import LayerPlan, dense_chain, plan_shapes

__all__ = [
    "PHASES",
    "RECIPES",
    "VARIANTS",
    "Phase",
    "Recipe",
    "RecipeError",
    "find_recipe",
    "variant",
]

VARIANTS = ("binary", "ternary", "trainable")
"""Spikes 0, 1; spikes -1, 0, 1; these with a trained amplitude (*Ternary Spike*, sections 4.1 and
4.2)."""


OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "linear", "constant")
PHASES = ("soft_phase", "first_phase", "float_phase", "integer_phase")
"""In the order in which they are run."""


class RecipeError(SternaError, ValueError):
    """A recipe that does not exist or cannot be followed."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of training.

    Parameters
    ----------
    epochs
        Passes over the training images.
    rate
        Learning rate at the start. In the integer phase weights are counted in grid steps, so a
        rate of 0.01 moves a weight by at most about a hundredth of a step per batch of AdamW's.
    weight_decay
        Not applied to batch-norm, biases and amplitudes.
    optimizer
        `adamw`, or `sgd` with Nesterov's momentum of 0.9.
    schedule
        How the rate goes on: `cosine` and `linear` end at 0; at a `constant` rate a phase may
        become longer or shorter while it runs (`sw.learn.checkpoint.Run`).
    warm_up
        Epochs over which the rate rises from 0 first; not under a cosine.
    rounded
        Of the float network: weights are rounded to the recipe's width, by channel, with a
        straight-through gradient (`sw.learn.network.rounded`).
    bfloat16
        Sums are computed in bfloat16 where the processor does so (`sw.learn.train.has_bfloat16`):
        on another processor the network is another one.
    """

    epochs: int
    rate: float
    weight_decay: float = 0.0
    optimizer: str = "adamw"
    schedule: str = "cosine"
    warm_up: int = 0
    rounded: bool = False
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if type(self.epochs) is not int or self.epochs < 1:
            raise RecipeError(f"Epochs must be a positive integer, not {self.epochs!r}")
        for named, name, names in (
            ("Optimizer", self.optimizer, OPTIMIZERS),
            ("Schedule", self.schedule, SCHEDULES),
        ):
            if name not in names:
                raise RecipeError(none_of(named, name, names))
        most = 0 if self.schedule == "cosine" else self.epochs
        if type(self.warm_up) is not int or not 0 <= self.warm_up <= most:
            raise RecipeError(
                f"Warm-up must be an integer from 0 to {most} epochs under a {self.schedule} "
                f"schedule of {self.epochs}, not {self.warm_up!r}"
            )
        for named, flag in (("Rounded", self.rounded), ("bfloat16", self.bfloat16)):
            if type(flag) is not bool:
                raise RecipeError(f"{named} must be true or false, not {flag!r}")
        for what, value, least in (
            ("Learning rate", self.rate, math.ulp(0.0)),
            ("Weight decay", self.weight_decay, 0),
        ):
            if type(value) not in (int, float) or not least <= value < math.inf:
                raise RecipeError(
                    f"{what} must be {'positive' if least else 'at least 0'}, not {value!r}"
                )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and how it is trained.

    Parameters
    ----------
    name
        Name of the recipe and of the network it makes.
    dataset
        Data set, one of `sw.data.published.NAMES`, whose recordings are binned into `steps`; with
        an `encoding`, the name of data of the user's own.
    layers
        All layers, the readout last; `sw.learn.plan.dense_chain` makes those of a dense network.
    steps, weight_bits, pixel_bits
        The rest of the network: T, and the widths in bits.
    neuron
        The float neuron.
    exact_decay, by_channel
        Quantise with them (`sw.learn.quantize`).
    train_amplitude
        Train one spike amplitude per hidden layer (*Ternary Spike*, eqs 13-14).
    soft_phase, first_phase
        Training with batch-norm in one time step, which costs a T-th; none for None. In the soft
        phase neurons send the surrogate of their spikes (`LIFParameters.soft`). A network of one
        step has no need of a `first_phase`.
    float_phase, integer_phase
        Training with batch-norm, then quantisation-aware after folding.
    batch
        Images per update.
    validation
        Training images set aside, never trained on, for the accuracy shown per epoch.
    max_shift
        Augmentation: each image is moved by up to this many pixels each way.
    dropout
        Share of the hidden neurons that are left out while training (`sw.learn.graph.propagate`).
    mirror
        Augmentation: half of the images are mirrored, left to right.
    cutout
        Augmentation: a square of so many pixels a side, anywhere in each image, is black
        (arXiv 1708.04552).
    spike_penalty
        Loss per unit of `Activity.excitation`: spikes are clock cycles in the hardware.
    smoothing
        Label smoothing.
    encoding
        How pixels are made of data of the user's own.
    readout
        The leaky integrator that the last layer is; None: it adds up its drives.
    """

    name: str
    dataset: str
    layers: tuple[LayerPlan, ...]
    steps: int = 4
    weight_bits: int = 4
    pixel_bits: int = 4
    neuron: LIFParameters = field(default_factory=LIFParameters)
    exact_decay: bool = False
    by_channel: bool = False
    train_amplitude: bool = True
    soft_phase: Phase | None = None
    first_phase: Phase | None = None
    float_phase: Phase
    integer_phase: Phase
    batch: int
    validation: int
    max_shift: int = 0
    dropout: float = 0.0
    mirror: bool = False
    cutout: int = 0
    spike_penalty: float = 0.0
    smoothing: float = 0.0
    encoding: Encoding | None = None
    readout: ReadoutParameters | None = None

    def __post_init__(self) -> None:
        if self.dataset not in NAMES and self.encoding is None:
            raise RecipeError(none_of("Data set", self.dataset, NAMES))
        for what, value, low in (
            ("Batch", self.batch, 2),  # batch-norm has no variance of one image
            ("Validation images", self.validation, 1),
            ("Shift", self.max_shift, 0),
            ("Cutout", self.cutout, 0),
        ):
            if type(value) is not int or value < low:
                raise RecipeError(f"{what} must be an integer of at least {low}, not {value!r}")
        for what, value, low, high in (
            ("Time steps", self.steps, 1, 1024),
            ("Weight width", self.weight_bits, 2, 16),
            ("Pixel width", self.pixel_bits, 1, 8),
        ):
            if type(value) is not int or not low <= value <= high:
                raise RecipeError(f"{what} must be an integer from {low} to {high}, not {value!r}")
        for what, value in (
            ("Dropout", self.dropout),
            ("Smoothing", self.smoothing),
            ("Penalty of spikes", self.spike_penalty),
        ):
            if type(value) not in (int, float) or not 0 <= value < math.inf:
                raise RecipeError(f"{what} must be a number of at least 0, not {value!r}")
        if self.neuron.soft:
            raise RecipeError(f"Neurons of {self.name} must be soft in its soft phase only")
        if self.soft_phase is not None:
            replace(self.neuron, soft=True)  # raises where they cannot be
        if max(self.dropout, self.smoothing) >= 1:
            raise RecipeError(
                f"Dropout and smoothing must lie below 1, not {max(self.dropout, self.smoothing)!r}"
            )
        if self.integer_phase.rounded or self.integer_phase.bfloat16:
            raise RecipeError(
                f"The integer phase of {self.name} must not be rounded or in bfloat16: its sums "
                "are whole numbers"
            )
        if not self.by_channel and any(
            phase is not None and phase.rounded
            for phase in (self.soft_phase, self.first_phase, self.float_phase)
        ):
            raise RecipeError(f"Recipe {self.name} must be by_channel to have a rounded phase")
        if not self.layers:
            raise RecipeError(f"Recipe {self.name} must have at least one layer")
        if self.timed and (self.first_phase or self.soft_phase):
            raise RecipeError(
                f"Recipe {self.name} must have no phase of one step: {self.dataset} holds "
                "recordings"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` is its inverse."""
        values = asdict(self)
        for name in ("encoding", "readout"):  # as before there were any
            if values[name] is None:
                del values[name]
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Recipe":
        """A recipe from plain data.

        Raises
        ------
        RecipeError, NeuronError, SpecError
            For values that no recipe has.
        TypeError
            For fields that are missing or unknown.
        """
        layers = tuple(
            LayerPlan(
                plan["name"], plan["channels"], tuple(EdgeSpec(**edge) for edge in plan["edges"])
            )
            for plan in data["layers"]
        )
        phases = {name: data.get(name) and Phase(**data[name]) for name in PHASES}
        neuron = LIFParameters(**data["neuron"])
        encoding = data.get("encoding") and Encoding.from_dict(data["encoding"])
        readout = data.get("readout") and ReadoutParameters(**data["readout"])
        made = {**phases, "layers": layers, "neuron": neuron, "encoding": encoding}
        made["readout"] = readout
        return cls(**{**data, **made})

    @property
    def input_shape(self) -> Shape:
        """Channels, rows, columns of an image."""
        return self.encoding.map_shape if self.encoding else SHAPES[self.dataset]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Values of the input and neurons of each layer, the readout's classes last."""
        shapes = plan_shapes(self.input_shape, self.layers)
        return tuple(math.prod(shape) for shape in shapes.values())

    @property
    def hidden(self) -> tuple[int, ...]:
        """Neurons of each layer but the readout."""
        return self.sizes[1:-1]

    @property
    def timed(self) -> bool:
        """Whether the input is a recording."""
        return self.encoding.timed if self.encoding else self.dataset in RECORDINGS

    @property
    def pixel_max(self) -> int:
        """Largest pixel."""
        return 2**self.pixel_bits - 1


def variant(recipe: Recipe, name: str) -> Recipe:
    """The same recipe with spikes of another kind, one of `VARIANTS`.

    Raises
    ------
    RecipeError
        When there is no such kind.
    """
    if name not in VARIANTS:
        raise RecipeError(none_of("Variant", name, VARIANTS))
    neuron = replace(recipe.neuron, negative="off" if name == "binary" else "free")
    return replace(recipe, neuron=neuron, train_amplitude=name == "trainable")


_WIDE = Recipe(
    name="mnist-wide",
    dataset="mnist",
    layers=dense_chain((512,), 10),
    float_phase=Phase(epochs=20, rate=5e-3, weight_decay=2e-2),
    integer_phase=Phase(epochs=10, rate=1e-2),
    batch=256,
    validation=5000,
    max_shift=1,
)

_FASHION = replace(
    _WIDE,
    name="fashion-mnist-dense",
    dataset="fashion-mnist",
    float_phase=replace(_WIDE.float_phase, epochs=40),
    validation=2000,
    max_shift=0,
    mirror=True,
    dropout=0.3,
)

_DIGITS = Recipe(
    name="digits-dense",
    dataset="digits",
    layers=dense_chain((128,), 10),
    float_phase=Phase(epochs=60, rate=1e-2, weight_decay=1e-2),
    integer_phase=Phase(epochs=60, rate=1e-2),
    batch=64,
    validation=143,
    spike_penalty=0.3,
    smoothing=0.05,
)


def _conv(source: str, kernel: int = 3, **more: int) -> EdgeSpec:
    """A convolution that keeps the size of its maps, but for its stride and pooling."""
    padding = kernel // 2
    return EdgeSpec(source=source, kind="conv", kernel=kernel, padding=padding, **more)


def _three_layers(top_stride: int) -> tuple[LayerPlan, ...]:
    """Convolutions that shrink their maps by strides, then a dense readout."""
    return (
        LayerPlan("stem", 16, (_conv("input", 5, stride=2),)),
        LayerPlan("middle", 32, (_conv("stem", stride=2),)),
        LayerPlan("top", 32, (_conv("middle", stride=top_stride),)),
        LayerPlan("readout", 10, (EdgeSpec(source="top"),)),
    )


_DEEP = LIFParameters(window=2.0)
"""A surrogate twice as wide as the paper's equation, as in its code: with half of it, neurons that
fire have no gradient, and networks of several layers learn slowly (docs/results.md)."""

_MNIST_CONV = replace(
    _WIDE,
    name="mnist-conv",
    layers=_three_layers(top_stride=1),
    neuron=_DEEP,
    first_phase=Phase(epochs=30, rate=5e-3, weight_decay=2e-2),
    float_phase=Phase(epochs=12, rate=2e-3, weight_decay=2e-2),
    integer_phase=Phase(epochs=8, rate=5e-3),
    validation=2000,
    max_shift=2,
    spike_penalty=0.05,
)

_MNIST_LENET = replace(
    _MNIST_CONV,
    name="mnist-lenet",
    layers=(
        LayerPlan("stem", 16, (EdgeSpec(source="input", kind="conv", kernel=5, stride=2),)),
        LayerPlan("top", 16, (EdgeSpec(source="stem", kind="conv", kernel=5),)),
        LayerPlan("hidden", 128, (EdgeSpec(source="top", pool=2),)),
        LayerPlan("readout", 10, (EdgeSpec(source="hidden"),)),
    ),
    first_phase=Phase(epochs=24, rate=5e-3, weight_decay=2e-2),
    float_phase=Phase(epochs=10, rate=2e-3, weight_decay=2e-2),
    integer_phase=Phase(epochs=8, rate=5e-3),
)

_FASHION_CONV = replace(
    _FASHION,
    name="fashion-mnist-conv",
    layers=(
        LayerPlan("stem", 32, (_conv("input", 5, stride=2),)),
        LayerPlan("middle", 64, (_conv("stem"),)),
        LayerPlan("down", 64, (_conv("middle", stride=2),)),
        LayerPlan("top", 64, (_conv("down"), EdgeSpec(source="down", kind="identity"))),
        LayerPlan("readout", 10, (EdgeSpec(source="top"),)),
    ),
    neuron=_DEEP,
    soft_phase=Phase(epochs=10, rate=4e-3, weight_decay=5e-2),
    first_phase=Phase(epochs=16, rate=3e-3, weight_decay=5e-2),
    float_phase=Phase(epochs=6, rate=2e-3, weight_decay=5e-2),
    integer_phase=Phase(epochs=1, rate=3e-3),
    weight_bits=8,
    max_shift=1,
    dropout=0.0,
    smoothing=0.05,
)


def _block(source: str, name: str, channels: int) -> tuple[LayerPlan, ...]:
    """Half the size, then two convolutions with a shortcut around them."""
    return (
        LayerPlan(f"{name}_down", channels, (_conv(source, stride=2),)),
        LayerPlan(f"{name}_inner", channels, (_conv(f"{name}_down"),)),
        LayerPlan(
            name,
            channels,
            (_conv(f"{name}_inner"), EdgeSpec(source=f"{name}_down", kind="identity")),
        ),
    )


_DIGITS_CONV = replace(
    _DIGITS,
    name="digits-conv",
    layers=(
        LayerPlan("stem", 16, (_conv("input"),)),
        *_block("stem", "block", 16),
        LayerPlan("readout", 10, (EdgeSpec(source="block"),)),
    ),
    neuron=_DEEP,
    float_phase=Phase(epochs=60, rate=5e-3, weight_decay=5e-2),
    integer_phase=Phase(epochs=60, rate=1e-2),
    dropout=0.1,
    spike_penalty=0.1,
)

_CIFAR = Recipe(
    name="cifar10-resnet",
    dataset="cifar10",
    layers=(
        LayerPlan("stem", 16, (_conv("input"),)),
        *_block("stem", "half", 32),
        *_block("half", "quarter", 64),
        LayerPlan("eighth_down", 128, (_conv("quarter", stride=2),)),
        LayerPlan("eighth", 128, (_conv("eighth_down"),)),
        LayerPlan("readout", 10, (EdgeSpec(source="eighth", pool=4),)),
    ),
    pixel_bits=5,
    neuron=_DEEP,
    soft_phase=Phase(epochs=15, rate=4e-3, weight_decay=2e-2),
    first_phase=Phase(epochs=14, rate=3e-3, weight_decay=2e-2),
    float_phase=Phase(epochs=2, rate=1e-3, weight_decay=2e-2),
    integer_phase=Phase(epochs=2, rate=5e-3),
    batch=128,
    validation=2000,
    max_shift=2,
    mirror=True,
)

_COUNTING = LIFParameters(
    theta=2 / 3, negative="off", limit=3, decay="none", decay_shift=0, u0=1 / 3
)
"""0 to 3 spikes in one step: an activation of two bits. From half a threshold, firing rounds; a
drive of variance 1, as batch-norm makes it at first, is spread over all four values."""

_COUNTED = Phase(epochs=1, rate=0.15, weight_decay=5e-4, optimizer="sgd", bfloat16=True)


def _plain(*widths: tuple[int, int]) -> tuple[LayerPlan, ...]:
    """Convolutions of 3x3, one after the other: channels and stride of each."""
    names = ["input", *(f"conv{n + 1}" for n in range(len(widths)))]
    return tuple(
        LayerPlan(name, channels, (_conv(source, stride=stride),))
        for source, name, (channels, stride) in zip(names, names[1:], widths, strict=False)
    )


_CHANNELS = ((16, 1), (16, 1), (64, 2), (64, 1), (96, 2), (96, 1), (96, 1))
"""And strides, of all convolutions but the last."""

_COUNTS = Recipe(
    name="cifar10-counts",
    dataset="cifar10",
    layers=(
        *_plain(*_CHANNELS, (128, 2)),
        LayerPlan("readout", 10, (EdgeSpec(source="conv8", pool=4),)),
    ),
    steps=1,
    pixel_bits=5,
    neuron=_COUNTING,
    by_channel=True,
    train_amplitude=False,
    soft_phase=replace(_COUNTED, epochs=60, schedule="constant", warm_up=1),
    first_phase=replace(_COUNTED, epochs=30, schedule="linear", rounded=True),
    float_phase=replace(_COUNTED, epochs=25, rate=0.05, schedule="linear", rounded=True),
    integer_phase=Phase(epochs=2, rate=2e-3),
    batch=256,
    validation=2000,
    max_shift=4,
    mirror=True,
    cutout=8,
    smoothing=0.1,
)

_COUNTS_7 = replace(
    _COUNTS,
    name="cifar10-counts7",
    layers=(
        *_plain(*_CHANNELS, (128, 1)),
        LayerPlan("readout", 10, (EdgeSpec(source="conv8", pool=8),)),
    ),
    neuron=replace(_COUNTING, theta=2.5 / 7, u0=1.25 / 7, limit=7),
    soft_phase=None,
    first_phase=replace(_COUNTED, epochs=60, schedule="constant", warm_up=1, rounded=True),
    float_phase=replace(_COUNTED, epochs=25, schedule="linear", rounded=True),
)
"""0 to 7 spikes, three bits, of drives up to two and a half deviations; weights and counts are
rounded from the first epoch on. Its last maps have 8x8 places."""

_TERNARY = replace(_COUNTS, name="cifar10-ternary", steps=2, neuron=_DEEP)
"""The same topology, data and passes over them, with ternary spikes, for comparison."""

_FASHION_COUNTS = replace(
    _COUNTS,
    name="fashion-mnist-counts",
    dataset="fashion-mnist",
    layers=(
        *_plain((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (96, 1)),
        LayerPlan("readout", 10, (EdgeSpec(source="conv6", pool=7),)),
    ),
    soft_phase=replace(_COUNTED, epochs=30, schedule="constant", warm_up=1),
    first_phase=None,
    float_phase=replace(_COUNTED, epochs=30, schedule="linear", rounded=True),
    max_shift=2,
)

_MNIST_COUNTS = replace(
    _FASHION_COUNTS,
    name="mnist-counts",
    dataset="mnist",
    layers=(
        *_plain((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)),
        LayerPlan("readout", 10, (EdgeSpec(source="conv5", pool=7),)),
    ),
    pixel_bits=4,
    soft_phase=replace(_COUNTED, epochs=15, schedule="constant", warm_up=1),
    float_phase=replace(_COUNTED, epochs=25, schedule="linear", rounded=True),
    mirror=False,
    cutout=0,
    smoothing=0.05,
)

_NMNIST = Recipe(
    name="nmnist-conv",
    dataset="nmnist-small",
    layers=_three_layers(top_stride=2),
    steps=6,
    pixel_bits=2,
    neuron=_DEEP,
    float_phase=Phase(epochs=100, rate=5e-3, weight_decay=5e-2),
    integer_phase=Phase(epochs=40, rate=1e-2),
    batch=32,
    validation=100,
    max_shift=3,
    dropout=0.1,
    spike_penalty=0.1,
    smoothing=0.05,
)


def _memory(neurons: int, classes: int) -> tuple[LayerPlan, ...]:
    """Neurons that see the input and what they all sent a step before; a readout."""
    return (
        LayerPlan(
            "memory", neurons, (EdgeSpec(source="input"), EdgeSpec(source="memory", delay=1))
        ),
        LayerPlan("readout", classes, (EdgeSpec(source="memory"),)),
    )


_VOWELS = Recipe(
    name="japanese-vowels",
    dataset="japanese-vowels",
    layers=_memory(64, 9),
    steps=29,
    neuron=replace(_DEEP, decay="leak"),
    float_phase=Phase(epochs=50, rate=1e-2, weight_decay=2e-2),
    integer_phase=Phase(epochs=15, rate=1e-2),
    batch=32,
    validation=9,
    dropout=0.1,
    spike_penalty=0.3,
    smoothing=0.05,
    encoding=ENCODINGS["japanese-vowels"],
)
"""A leak keeps three quarters of a potential, where the paper's neuron keeps a quarter: what was
heard some steps ago still counts."""

_WATCH = replace(
    _VOWELS,
    name="watch-exercises",
    dataset="watch-exercises",
    layers=_memory(64, 7),
    steps=50,
    float_phase=Phase(epochs=16, rate=1e-2, weight_decay=2e-2),
    integer_phase=Phase(epochs=8, rate=5e-3),
    batch=64,
    validation=64,
    dropout=0.2,
    encoding=ENCODINGS["watch-exercises"],
)
"""Validation windows are of subjects that are trained on, too: docs/time.md has figures of others,
on which this was chosen."""

RECIPES = {
    recipe.name: recipe
    for recipe in (
        _DIGITS,
        replace(variant(_DIGITS, "binary"), name="digits-binary"),
        replace(variant(_DIGITS, "ternary"), name="digits-ternary"),
        replace(_DIGITS, name="digits-deep", layers=dense_chain((64, 64, 64), 10)),
        replace(
            _WIDE,
            name="mnist-dense",
            layers=dense_chain((128,), 10),
            float_phase=replace(_WIDE.float_phase, epochs=50),
            integer_phase=replace(_WIDE.integer_phase, epochs=60),
            spike_penalty=0.1,
        ),
        _WIDE,
        _FASHION,
        _DIGITS_CONV,
        _MNIST_CONV,
        _MNIST_LENET,
        _FASHION_CONV,
        _NMNIST,
        _VOWELS,
        _WATCH,
        _CIFAR,
        _COUNTS,
        _COUNTS_7,
        _TERNARY,
        _FASHION_COUNTS,
        _MNIST_COUNTS,
    )
}
"""The networks that are trained here, by name. All ship but `cifar10-counts7` and
`cifar10-ternary`."""


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises
    ------
    RecipeError
        When there is none.
    """
    if name not in RECIPES:
        raise RecipeError(none_of("Recipe", name, RECIPES))
    return RECIPES[name]
