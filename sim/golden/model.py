"""The golden model: the contract of docs/arithmetic.md in NumPy, batched, exact.

The laws of a neuron are in `hw.contract.laws`; `GoldenModel` chains them over layers and steps.
Nothing here knows how the hardware works: it is what the hardware is held against.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.contract.checks import InputError
from hw.contract.edge import INPUT
from hw.contract.laws import decay, fire, integrate, reset, saturate
from hw.contract.network import Layer, Network
from hw.contract.neuron import NeuronSpec, ReadoutSpec
from sim.golden.edges import Field, exact_float, receive

__all__ = [
    "GoldenModel",
    "InputError",
    "Logits",
    "Neurons",
    "Trace",
    "decay",
    "drive",
    "fire",
    "integrate",
    "reset",
    "saturate",
]

Int = npt.NDArray[np.int64]


def drive(coefficients: npt.NDArray[np.integer], layer: Layer) -> Int:
    """Law 1 of a layer with one dense edge: `I[n,i] = sum_j c[n,j] * W[i,j] + b[i]`, exact.

    (`sim.golden.edges` has all kinds of edges, and why the float product is exact.)
    """
    kernel = layer.kernels[0].astype(exact_float(layer))
    return receive(coefficients, layer.edges[0], kernel).astype(np.int64) + layer.bias


class Neurons:
    """An array of equal neurons, from step to step.

    Parameters
    ----------
    neuron, shape
        What each of them is; how many there are.
    thetas, steps, factors
        Thresholds, reset steps, factors of the decay of their own, in a shape that `shape` admits.

    Attributes
    ----------
    u, x, count
        Stored potentials; synaptic currents; of guarded neurons, the signed sum of each one's
        spikes so far.
    """

    def __init__(
        self,
        neuron: NeuronSpec,
        shape: tuple[int, ...],
        thetas: Int | None = None,
        steps: Int | None = None,
        factors: Int | None = None,
    ) -> None:
        self.neuron, self.thetas, self.steps, self.factors = neuron, thetas, steps, factors
        self.u: Int = np.full(shape, neuron.u0, dtype=np.int64)
        self.x: Int = np.zeros(shape, dtype=np.int64)
        self.count: Int = np.zeros(shape, dtype=np.int64)
        self._first = True

    def step(self, current: Int) -> Int:
        """One time step: drives to coefficients."""
        neuron = self.neuron
        kept = self._first and neuron.decay_when == "after"
        self.x = integrate(self.x, current, neuron)
        v = (self.u if kept else decay(self.u, neuron, self.factors)) + self.x
        c = fire(v, neuron, self.count, self.thetas)
        self.u, self._first = saturate(reset(v, c, neuron, self.steps), neuron), False
        if neuron.guarded:
            self.count = self.count + c
        return c


class Logits:
    """The readout, from step to step.

    Parameters
    ----------
    readout, shape
        Its leak and what is read of it; None: the sum of its drives. How many logits there are.

    Attributes
    ----------
    now
        The logits that a run up to here gives.
    """

    def __init__(self, readout: ReadoutSpec | None, shape: tuple[int, ...]) -> None:
        self.readout = readout if readout is not None else ReadoutSpec()
        self.now: Int = np.zeros(shape, dtype=np.int64)
        self._m: Int = self.now
        self._first = True

    def step(self, current: Int) -> Int:
        """One time step: drives to logits."""
        read = self.readout
        self._m = decay(self._m, read) + (current << read.fraction_bits)
        if read.value == "sum":
            self.now = self.now + self._m
        elif read.value == "max" and not self._first:
            self.now = np.maximum(self.now, self._m)
        else:
            self.now = self._m
        self._first = False
        return self.now


@dataclass(frozen=True)
class Trace:
    """All that the hardware is compared with, for n images.

    spikes, potentials
        One array (n, T, neurons) per firing layer: the coefficients c, -L .. L, and the stored u
        at the end of each step.
    logits
        (n, classes).
    classes
        (n,), the first maximum of each row of logits.
    """

    spikes: tuple[npt.NDArray[np.int8], ...]
    potentials: tuple[npt.NDArray[np.int32], ...]
    logits: Int
    classes: Int


VALUES = 1_000_000
"""Larger arrays are fetched from the system, and given back to it, at every use."""


class GoldenModel:
    """Runs a network on images, exactly as the contract says."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def batch(self) -> int:
        """Images to run at a time: so many that no array of all steps has more than `VALUES`."""
        spec = self.network.spec
        most = max(spec.input_size, *(layer.neurons for layer in spec.layers))
        return max(1, min(1000, VALUES // (spec.steps * most)))

    def check_pixels(self, pixels: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Return pixels as uint8 (n, image_size).

        Raises
        ------
        InputError
            When shape, type or range do not fit the network.
        """
        spec = self.network.spec
        array = np.asarray(pixels)
        if array.ndim != 2 or array.shape[1] != spec.image_size:
            raise InputError(
                f"Images must have shape (n, {spec.image_size}), not {tuple(array.shape)}"
            )
        if array.dtype.kind not in "iu":
            raise InputError(f"Pixels must be integers, not {array.dtype}")
        if array.size and (int(array.min()) < 0 or int(array.max()) > spec.pixel_max):
            raise InputError(
                f"Pixels must lie in 0..{spec.pixel_max}, not reach "
                f"{int(array.min())}..{int(array.max())}"
            )
        return array.astype(np.uint8)

    def _steps(self, pixels: npt.NDArray[np.uint8]) -> Iterator[tuple[list[Int], list[Int], Int]]:
        """Yield, per time step, the spikes and potentials of each firing layer, (n, neurons) each,
        and the readout's drive."""
        spec, n = self.network.spec, len(pixels)
        names = [layer.name for layer in spec.layers]
        fields = [Field(spec, layer) for layer in self.network.layers]
        images = pixels.reshape(n, spec.recorded_steps, *spec.shape_of(INPUT)).swapaxes(0, 1)
        # Direct coding: what comes from the input is the same at every step.
        constant = [
            field.bias
            if spec.timed_input
            else field.drive({INPUT: images[0]}, lambda e: e.source == INPUT) + field.bias
            for field in fields
        ]
        neurons = [
            Neurons(
                layer.spec.neuron,
                (n, *layer.spec.map_shape),
                field.thetas,
                field.steps,
                field.factors,
            )
            for layer, field in zip(self.network.layers, fields, strict=True)
            if layer.spec.neuron is not None
        ]
        before: dict[str, npt.NDArray[np.integer]] = {
            name: np.zeros_like(array.u) for name, array in zip(names, neurons, strict=False)
        }
        for step in range(spec.steps):
            now: dict[str, npt.NDArray[np.integer]] = {}
            spikes: dict[str, Int] = {}
            if spec.timed_input:
                now[INPUT] = images[step]
            for name, field, array, fixed in zip(names, fields, neurons, constant, strict=False):
                spikes[name] = array.step(fixed + field.received(now, before))
                now[name] = spikes[name]
            readout = constant[-1] + fields[-1].received(now, before)
            before = now
            sizes = [layer.neurons for layer in spec.layers]
            yield (
                [
                    spikes[name].reshape(n, size)
                    for name, size in zip(names[:-1], sizes, strict=False)
                ],
                [a.u.reshape(n, size) for a, size in zip(neurons, sizes, strict=False)],
                readout.reshape(n, sizes[-1]),
            )

    def _logits(self, n: int) -> Logits:
        """The readout before the first step, of n images."""
        spec = self.network.spec
        return Logits(spec.layers[-1].readout, (n, spec.classes))

    def run(self, pixels: npt.ArrayLike) -> Trace:
        """Run images (n, image_size) and keep everything."""
        checked = self.check_pixels(pixels)
        spikes, potentials, answer = [], [], self._logits(len(checked))
        for c, u, readout in self._steps(checked):
            spikes.append(c)
            potentials.append(u)
            answer.step(readout)
        logits = answer.now
        firing = range(len(self.network.layers) - 1)
        return Trace(
            tuple(np.stack([c[n] for c in spikes], 1).astype(np.int8) for n in firing),
            tuple(np.stack([u[n] for u in potentials], 1).astype(np.int32) for n in firing),
            logits,
            logits.argmax(axis=1) if len(checked) else np.zeros(0, dtype=np.int64),
        )

    def over_time(
        self,
        pixels: npt.ArrayLike,
        batch: int | None = None,
        observe: Callable[[slice, int, list[Int]], None] | None = None,
    ) -> tuple[Int, list[Int]]:
        """How an answer forms: the logits that a run of t steps would give, for every t.

        Parameters
        ----------
        observe
            Called with the images that are run, the step (from 0) and the spikes of each firing
            layer, (images, neurons).

        Returns
        -------
        tuple
            Logits (n, T, classes) up to each step; per firing layer, (T,): events in each step over
            all images and neurons, that is set bits of `|c|`.
        """
        checked, batch = self.check_pixels(pixels), batch or self.batch
        layers = len(self.network.layers) - 1
        spikes = [np.zeros(self.network.spec.steps, dtype=np.int64) for _ in range(layers)]
        logits = []
        for start in range(0, len(checked), batch):
            formed, part = [], slice(start, min(start + batch, len(checked)))
            answer = self._logits(part.stop - part.start)
            for t, (fired, _, readout) in enumerate(self._steps(checked[part])):
                formed.append(answer.step(readout))
                if observe:
                    observe(part, t, fired)
                for n, c in enumerate(fired):
                    spikes[n][t] += int(np.bitwise_count(c).sum())  # of |c|
            logits.append(np.stack(formed, axis=1))
        shape = (0, self.network.spec.steps, self.network.spec.classes)
        return np.concatenate([np.zeros(shape, dtype=np.int64), *logits]), spikes

    def classify(self, pixels: npt.ArrayLike, batch: int | None = None) -> Int:
        """Classes (n,) of images (n, image_size), keeping nothing else."""
        checked, batch = self.check_pixels(pixels), batch or self.batch
        classes = [np.zeros(0, dtype=np.int64)]
        for start in range(0, len(checked), batch):
            some = checked[start : start + batch]
            answer = self._logits(len(some))
            for _, _, readout in self._steps(some):
                answer.step(readout)
            classes.append(answer.now.argmax(axis=1))
        return np.concatenate(classes)
