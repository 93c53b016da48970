"""Where learning starts: networks of noise whose numbers go together, and readouts that learn.

The numbers were found with a prototype of the rule: with weights of w = 8 bits and masters of
M = 12 the threshold V is 2^10. A bit less in w halves V and the margin; a bit less in M makes the
shift of every rate one more; what a pixel has more in bits, V has too.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hw.contract.builder import NetworkBuilder
from hw.contract.checks import SternaError, require_int
from hw.contract.edge import INPUT, EdgeSpec
from hw.contract.learning import RATES, LearningSpec
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import NetworkSpec
from hw.contract.text import none_of
from hw.learn.masters import Masters, masters_path
from sw.data.dataset import load_split
from sw.data.evaluate import check_fits
from sw.data.shipped import UsageError, model_path

__all__ = [
    "NOISE",
    "PRESETS",
    "Preset",
    "StartError",
    "beginning",
    "noise_network",
    "readout_learning",
    "readout_masters",
    "stored_samples",
]

NOISE = "noise"
SEED = 0x9E3779B9
LARGE = 256
"""Pixels from which on an input counts as large, as MNIST's: twice the margin of a small one's, and
half its changes in the first group."""

FORWARD_SHIFT, BACK_SHIFT, MAX_SHIFT = 4, 3, 7
"""Of the edges between groups and of the one back, so that their weights use their range; most."""


class StartError(SternaError, ValueError):
    """A beginning that there is none of."""


def noise_network(
    name: str,
    *,
    input_size: int,
    classes: int,
    input_bits: int = 4,
    hidden: tuple[int, ...] = (64,),
    feedback: bool = False,
    weight_bits: int = 8,
    steps: int = 8,
    steps_back: int = 16,
    master_bits: int = 12,
    margin: int | None = None,
    rates: tuple[int, ...] | None = None,
    seed: int = 1,
    input_rms: float | None = None,
) -> Network:
    """A network that knows nothing and can learn: normal weights, biases of 0.

    Parameters
    ----------
    input_size, input_bits, classes
        Of the images; how many logits.
    hidden
        Neurons of each group, in their order.
    feedback
        An edge from the last group back to the first, one step later.
    weight_bits, master_bits
        w and M.
    steps, steps_back
        T_F and T_B; rates go by their logarithms, rounded.
    margin, rates
        mu and every k (`LearningSpec`). None: those that go with the rest.
    seed
        Of the weights and of the dither.
    input_rms
        Root mean square of a pixel; None: 0.3 of white. A typical drive of the first group is V.

    Raises
    ------
    StartError, SpecError
        When these numbers make no network that learns.
    """
    if not isinstance(hidden, tuple) or not hidden:
        raise StartError(f"Hidden groups must be a tuple of sizes, not {hidden!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise StartError(f"Seed must be an integer from 0 to 2^32 - 1, not {seed!r}")
    if input_rms is not None and not input_rms > 0:
        raise StartError(f"Root mean square of a pixel must be positive, not {input_rms!r}")
    require_int("Time steps", steps, 1, 1024)
    require_int("Input width", input_bits, 1, 8)
    require_int("Weight width", weight_bits, 2, 16)
    wider = input_bits - 4
    theta_bits = max(1, weight_bits + 2 + wider)
    neuron = NeuronSpec(
        theta=1 << theta_bits,
        negative="off",
        reset="soft",
        step=2 << theta_bits,
        potential_bits=theta_bits + (3 if feedback else 2),
    )
    forward, back = (min(max(0, shift + wider), MAX_SHIFT) for shift in (FORWARD_SHIFT, BACK_SHIFT))
    small = input_size < LARGE
    if margin is None:
        margin = (250 * steps << weight_bits) >> 8 + small
    if rates is None:
        slow, fast = round(math.log2(steps)), round(math.log2(max(1, steps_back)))
        first, among = [1 + fast + wider - small], [2 + fast] * (len(hidden) - 1)
        each = [*first, *([3 + fast] if feedback else []), *among, slow - 3]
        spare = 12 - master_bits
        rates = tuple(min(max(k + spare, RATES.start), RATES.stop - 1) for k in each)
    builder = NetworkBuilder(
        input_size, name=name, input_bits=input_bits, steps=steps, weight_bits=weight_bits
    )
    names = ["hidden"] if len(hidden) == 1 else [f"hidden{n}" for n in range(len(hidden))]
    before = INPUT
    for n, (layer, size) in enumerate(zip(names, hidden, strict=True)):
        edges = [EdgeSpec(source=before, shift=forward if n else 0)]
        if feedback and n == 0:
            edges.append(EdgeSpec(source=names[-1], delay=1, shift=back))
            builder.shapes[names[-1]] = (hidden[-1], 1, 1)  # of a layer that comes later
        plain = n == 0 and not feedback
        builder.layer(layer, size, *([] if plain else edges), neuron=neuron)
        before = layer
    builder.layer("readout", classes)
    learning = LearningSpec(
        master_bits=master_bits,
        steps_back=steps_back,
        margin=margin,
        inject_shift=max(0, 4 + wider),
        rates=rates,
        input_bias=max(1, 1 << input_bits >> 1),
        seed=SEED ^ seed or SEED,
    )
    spec = replace(builder.spec(), learning=learning)
    rms = 0.3 * spec.pixel_max if input_rms is None else input_rms
    return _noise(spec, np.random.default_rng(seed), rms)


def _noise(spec: NetworkSpec, rng: np.random.Generator, input_rms: float) -> Network:
    """Normal weights: a drive of the first group is about V, of the others 4V, of the edge back
    V/2, by neurons that all fire; a readout's weight an eighth of its range."""
    weights, biases = [], []
    for n, layer in enumerate(spec.layers):
        kernels = []
        for edge in spec.edges(n):
            size, scale = spec.source_size(edge.source), 1 << edge.shift
            if layer.neuron is None:
                width = (layer.w_max + 1) / 8
            elif edge.source == INPUT:
                width = layer.neuron.theta / (input_rms * math.sqrt(size)) / scale
            else:
                drive = (0.5 if edge.delay else 4.0) * layer.neuron.theta
                width = drive / math.sqrt(size) / scale
            drawn = np.rint(rng.normal(0, width, (size, layer.neurons)))
            kernels.append(np.clip(drawn, -layer.w_max, layer.w_max).astype(np.int64).T)
        weights.append(kernels if layer.edges else kernels[0])
        biases.append(np.zeros(layer.neurons, dtype=np.int64))
    return Network(spec, tuple(weights), tuple(biases))


def readout_learning(
    network: Network, *, master_bits: int = 12, margin: int = 60, rate: int = -3, seed: int = SEED
) -> Network:
    """A network of any neurons whose readout alone learns; its digest is another one.

    Parameters
    ----------
    master_bits, margin, rate, seed
        Of the `LearningSpec`. The defaults are those of MNIST behind ternary spikes in 4 steps with
        weights of 4 bits.

    Raises
    ------
    SpecError
        When the readout is not dense, or does not follow a row of neurons.
    """
    learning = LearningSpec(master_bits=master_bits, margin=margin, rates=(rate,), seed=seed)
    return replace(network, spec=replace(network.spec, learning=learning))


def readout_masters(masters: Masters) -> Masters:
    """Of a network that learns, one whose readout alone goes on learning; the rest stays as it is
    now. What was given is not changed."""
    learning = masters.spec.learning
    assert learning is not None
    only = replace(learning, steps_back=0, rates=learning.rates[-1:])
    network = replace(masters.working(), spec=replace(masters.spec, learning=only))
    # The readout's learned bias is in its masters: the network below them has the first one.
    biases = (*network.biases[:-1], masters.network.biases[-1])
    return Masters(
        network=replace(network, biases=biases),
        arrays=[masters.arrays[-1].copy()],
        random=masters.random,
        learned=masters.learned,
    )


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A data set, the network of noise that learns it, and for how long.

    Parameters
    ----------
    name
        Of the preset.
    dataset
        Its name.
    shape
        Arguments of `noise_network`.
    passes, drops
        Passes over the training images; before which of them every k becomes one more.
    held_out
        Training images that settings are judged by, the last ones.
    """

    name: str
    dataset: str
    shape: Mapping[str, Any] = field(default_factory=dict)
    passes: int
    drops: tuple[int, ...]
    held_out: int

    def network(self, seed: int = 1, **changes: Any) -> Network:
        """Its network of noise; `changes` are other arguments of `noise_network`."""
        made = noise_network(
            f"{self.name}-spide", **{"classes": 10, "seed": seed, **self.shape, **changes}
        )
        return replace(made, meta={"dataset": self.dataset, "seed": seed})


_LARGE: dict[str, Any] = {"input_size": 784, "hidden": (128,)}

_DIGITS: dict[str, Any] = {"input_size": 64, "hidden": (64,), "input_rms": 7.0}


def _presets() -> list[Preset]:
    small = {"dataset": "digits", "passes": 30, "drops": (16, 23), "held_out": 143}
    large = {"shape": _LARGE, "passes": 8, "drops": (4, 6, 8), "held_out": 5000}
    lean = {**_DIGITS, "weight_bits": 5, "master_bits": 8}
    return [
        Preset(name="digits", shape=_DIGITS, **small),
        Preset(name="digits-lean", shape=lean, **small),
        Preset(name="mnist", dataset="mnist", **large),
        Preset(name="fashion-mnist", dataset="fashion-mnist", **large),
    ]


PRESETS = {preset.name: preset for preset in _presets()}
"""Networks of noise, most by the name of their data set. `digits-lean` is for the smallest chips:
its weights and masters were chosen on held-out training images."""


def beginning(
    model: str,
    source: str | None = None,
    *,
    seed: int = 1,
    margin: int | None = None,
    readout_only: bool = False,
) -> Masters:
    """What learning starts from.

    Parameters
    ----------
    model
        A preset, which starts from noise; or a network, by name or path.
    source
        `noise`, or a network, if it is not `model` itself.
    seed
        Of noise.
    margin
        mu, if it is not the specification's or the preset's.
    readout_only
        Nothing but the readout learns.

    Raises
    ------
    UsageError, ContractError
        When there is no such preset or network, or the network has no learning.
    """
    given = {} if margin is None else {"margin": margin}
    source = source or (NOISE if model in PRESETS else model)
    if source == NOISE:
        if model not in PRESETS:
            raise UsageError(none_of("Preset", model, PRESETS, " to start from noise"))
        masters = Masters.of(PRESETS[model].network(seed, **given))
    else:
        path = model_path(source)
        network, beside = Network.load(path), masters_path(path)
        if network.spec.learning is None:
            if not readout_only:
                raise UsageError(
                    f"Network {network.spec.name} has no learning in its specification: give "
                    "--readout-only"
                )
            return Masters.of(readout_learning(network, **given))
        replace(network.spec.learning, **given)  # refuses a margin that is none
        masters = Masters.load(beside, network) if beside.exists() else Masters.of(network)
    learning = masters.spec.learning
    if readout_only and learning is not None and not learning.readout_only:
        return readout_masters(masters)
    return masters


def stored_samples(
    masters: Masters, count: str, folder: str | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Training images (n, pixels) and labels (n,) to be put on a chip: the first `count` of the
    data set that the network names, or `all`.

    Raises
    ------
    UsageError
        When there is no such data set or number.
    """
    spec, name = masters.spec, masters.network.meta.get("dataset")
    if not isinstance(name, str):
        raise UsageError(f"Network {spec.name} names no data set to put on the chip")
    if count != "all" and not (count.isascii() and count.isdecimal() and int(count)):
        raise UsageError(f"Samples must be a positive number or 'all', not {count!r}")
    data = load_split(name, "train", spec.input_bits, folder, encoding=spec.encoding)
    check_fits(masters.network, data)
    n = len(data) if count == "all" else int(count)
    if n > len(data):
        raise UsageError(f"Samples must be at most the {len(data)} of {name}, not {n}")
    return data.images[:n], data.labels[:n]
