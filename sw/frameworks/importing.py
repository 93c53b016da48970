"""Import: a framework's network becomes integers, and proves itself beside the original.

The same for all frameworks. Three networks run on the same images: the framework's own; the float
twin, which is what was read, in double precision; and the golden model on the integers. A twin that
is not the original is refused; by how much the integers differ is said, layer by layer (`proof`).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hw.contract.checks import SternaError
from hw.contract.network import Network, NetworkError
from hw.contract.spec import WEIGHT_BITS, NetworkSpec
from hw.system.progress import Progress, announced, silent, under_way
from sim.golden.model import GoldenModel
from sw.data.evaluate import check_fits
from sw.data.split import Split
from sw.frameworks.agreement import Layers
from sw.frameworks.bounds import AGREE, TRIAL_IMAGES
from sw.frameworks.integers import integers_of, rounding
from sw.frameworks.proof import ImportReport, Proof, Units, require_same, require_same_membranes
from sw.importers.affine import ConvertError
from sw.importers.feed import Feed
from sw.reading.network import Foreign, Run

__all__ = ["import_foreign", "require_steps"]

Pixels = npt.NDArray[np.uint8]


def import_foreign(
    foreign: Foreign,
    data: Split,
    *,
    name: str,
    steps: int,
    weight_bits: int | None = 8,
    exact_decay: bool = False,
    by_channel: bool = False,
    fine_biases: bool = True,
    shape: Sequence[int] | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    progress: Progress = silent,
) -> tuple[Network, ImportReport]:
    """The network of a framework's, compared with it on a data set.

    Parameters
    ----------
    foreign
        The network; it is not changed.
    data
        Images, or recordings, to compare on: of these, network, twin and golden model see image t
        at time step t.
    name, steps, exact_decay
        Of the network (`sw.learn.quantize.quantize`).
    weight_bits
        Of all layers; None: the fewest with which as many classes agree as with the most.
    by_channel
        A weight step for each channel of the layers that fire, and with it thresholds and reset
        steps (`sw.learn.quantize.quantize`). The readout has one: logits are compared.
    fine_biases
        Biases in parts of a weight step, where weights are kept as they are (`integers_of`).
    shape
        Of an input; the default is what the file says, or what suits the first module
        (`sw.importers.feed.Feed.of`).
    mean, std
        The network takes (pixels / largest pixel - mean) / std: one value, or one per channel;
        without any, 0 and 1.
    progress
        Is told of each step that may take long.

    Raises
    ------
    ConvertError
        When something cannot be read, or the network computes something else than what was read.
    QuantizeError, SpecError
        When it has no integer form.
    EvaluateError
        When the data set does not fit.
    """
    require_steps(steps)
    if not len(data):
        raise ConvertError(f"Data set {data.name} must have images to compare on, not none")
    taken = steps if foreign.takes_recordings else None
    feed = Feed.of(data, foreign.leaves, mean, std, shape or foreign.shape, taken)
    reading = foreign.read(
        feed.shape, steps=steps, pixel_max=feed.pixel_max, front=feed.front, timed=data.timed
    )
    folded = reading.require()

    def original(pixels: Tensor) -> Run:
        runs: list[Run] = []

        def forward(x: Tensor) -> Tensor:
            runs.append(foreign.run(x, steps, data.timed))
            return runs[0].outputs

        feed.run(forward, pixels)
        return runs[0]

    units: dict[str, Units] = {}

    def made(width: int) -> Network:
        integer = integers_of(
            folded,
            name=name,
            weight_bits=width,
            pixel_bits=data.bits,
            exact_decay=exact_decay,
            by_channel=by_channel,
            fine_biases=fine_biases,
            encoding=data.encoding,
            peaks=peaks,
        )
        try:
            network = integer.to_network(
                {
                    "dataset": data.name,
                    "source": foreign.framework,
                    **({"time_step": data.time_step} if data.time_step else {}),
                    **feed.meta,
                }
            )
        except NetworkError as error:
            raise _with_exact_decay(error, integer.spec) from None
        units[network.digest] = Units.of(integer)
        return network

    trial = torch.from_numpy(data.images[:TRIAL_IMAGES])
    with under_way(progress, f"trying {len(trial)} images on what was read"):
        theirs, twin = original(trial), folded(trial)
    unit = require_same(theirs, twin, steps, foreign)
    layers = Layers(folded)
    require_same_membranes(theirs, twin, layers)
    peaks = [u.abs().transpose(0, 2).flatten(1).amax(dim=1) for u in twin.potential_maps]
    if weight_bits is None:
        with under_way(progress, "trying widths of weights", total=len(WEIGHT_BITS)) as at:
            weight_bits = _fewest_bits(made, trial.numpy(), theirs, at)
        progress(f"{weight_bits}-bit weights")
    network = made(weight_bits)
    check_fits(network, data)
    told = f"running {len(data):,} test images through both networks"
    with announced(progress, told, total=len(data)) as at:
        weights = {name: r.text for name, r in rounding(folded, network, by_channel).items()}
        proof = Proof(foreign, reading, network, units[network.digest], layers, original, unit)
        return network, proof.report(folded, weights, data, feed, at)


def require_steps(steps: int) -> None:
    """Refuse a number of time steps that no network has; raises `ConvertError`."""
    if not 1 <= steps <= 1024:
        raise ConvertError(f"Time steps must be an integer from 1 to 1024, not {steps!r}")


def _fewest_bits(
    made: Callable[[int], Network], pixels: Pixels, theirs: Run, at: Callable[[float], None]
) -> int:
    """The fewest bits of a weight with which as many of the original's classes are kept as with
    the most that the contract has room for, but for one in a hundred."""
    classes = theirs.outputs.argmax(dim=1).numpy()
    least, fewest, error = 0, 0, SternaError("no width")
    for n, width in enumerate(reversed(WEIGHT_BITS)):
        at(n)
        try:
            kept = int((GoldenModel(made(width)).classify(pixels) == classes).sum())
        except SternaError as found:
            if fewest:
                break
            error = found  # sums, or a threshold, of so fine a step may be too wide
            continue
        if not fewest:
            least = kept - int((1 - AGREE) * len(pixels) + 1e-9)
        elif kept < least:
            break
        fewest = width
    if not fewest:
        raise error
    return fewest


def _with_exact_decay(error: NetworkError, spec: NetworkSpec) -> SternaError:
    """The error, with what exact decay has to do with it."""
    for layer in spec.layers:
        finer = layer.neuron or layer.readout
        taken = finer.fraction_bits if finer else 0
        if taken and str(error).startswith(f"Layer {layer.name} must keep its sums"):
            return ConvertError(
                f"{error}, of which exact decay over {spec.steps} time steps takes {taken}: use "
                "fewer time steps, or no exact decay"
            )
    return error
