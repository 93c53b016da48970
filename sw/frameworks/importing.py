"""Import: a framework's network becomes integers, and proves itself beside the original.

The same for all frameworks. Three networks run on the same images: the framework's own; the float
twin, which is what was read, in double precision; and the golden model on the integers. A twin that
is not the original is refused; by how much the integers differ is said, layer by layer.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gen.core.describe import constants_text, neuron_text, readout_text
from hw.contract.checks import SternaError
from hw.contract.edge import INPUT, both_sides
from hw.contract.encoding import Encoding
from hw.contract.network import Network, NetworkError
from hw.contract.neuron import MAX_WIDTH
from hw.contract.spec import WEIGHT_BITS, NetworkSpec
from hw.contract.text import table
from hw.system.progress import Progress, Step, announced, silent, under_way
from sim.golden.model import GoldenModel
from sw.data.evaluate import check_fits
from sw.data.split import Split
from sw.frameworks.grid import common_step
from sw.frameworks.reading import Finding, Foreign, Reading, Run
from sw.importers.affine import ConvertError
from sw.importers.feed import Feed, ForeignComparison, tested
from sw.learn.compare import Batch, compare
from sw.learn.fold import FoldedLayer, FoldedNetwork
from sw.learn.graph import Activity
from sw.learn.integer import IntegerNetwork
from sw.learn.neuron import current_gain
from sw.learn.quantize import Known, check_weight_bits, may_scale_channels, quantize

__all__ = [
    "ImportReport",
    "SpikeAgreement",
    "import_foreign",
    "integers_of",
    "report_table",
    "require_steps",
]

TRIAL_IMAGES = 200
"""Images on which a network and what was read of it must agree."""

SAME = 1e-6
"""By so much spikes of a framework may differ from whole numbers: it has floats."""

THRESHOLD_BITS = 12
"""Of the thresholds of potentials that decay: what is truncated is small beside them."""

Pixels = npt.NDArray[np.uint8]


class SpikeAgreement(NamedTuple):
    """Spikes of a layer in two networks, a neuron at a step each.

    Parameters
    ----------
    layer
        Its name.
    equal, compared
        Equal ones, fired or not, of how many.
    both, either
        Where both fire alike; where any fires.
    shown
        Whether the framework shows its spikes; if not, the float twin's stand for them.
    """

    layer: str
    equal: int
    compared: int
    both: int
    either: int
    shown: bool = True

    @property
    def jaccard(self) -> float:
        """both / either: 1 where nobody fires."""
        return self.both / self.either if self.either else 1.0

    @property
    def text(self) -> str:
        """In words."""
        differ = self.compared - self.equal
        share = 100 * differ / max(1, self.compared)
        return f"{differ:,} of {self.compared:,} ({share:.3f} %), Jaccard {self.jaccard:.4f}"


@dataclass(frozen=True, kw_only=True)
class ImportReport(ForeignComparison):
    """What an import gives on a test set: the float network is the framework's own.

    Parameters
    ----------
    framework
        Which.
    findings
        About each node.
    before, after
        By firing layer: the framework's spikes beside those of the float twin, and beside those of
        the integers.
    weights
        By layer: how its weights were rounded.
    saturated
        By firing layer: stored potentials that are at their limit, of how many.
    """

    keys = ("original", "integer")
    titles = ("original network", "integer network")

    framework: str
    findings: tuple[Finding, ...]
    before: tuple[SpikeAgreement, ...]
    after: tuple[SpikeAgreement, ...]
    weights: Mapping[str, str]
    saturated: tuple[tuple[int, int], ...]

    @property
    def unlike_float(self) -> tuple[tuple[int, int], ...]:
        """Per firing layer: (spikes that differ from the original's, spikes compared)."""
        return tuple((layer.compared - layer.equal, layer.compared) for layer in self.after)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return super().to_dict() | {
            "framework": self.framework,
            "nodes": [finding.to_dict() for finding in self.findings],
            "unlike_float": [list(pair) for pair in self.unlike_float],
            "spikes_before_rounding": [layer._asdict() for layer in self.before],
            "spikes_after_rounding": [layer._asdict() for layer in self.after],
            "weights": dict(self.weights),
            "saturated": [list(pair) for pair in self.saturated],
        }


def import_foreign(
    foreign: Foreign,
    data: Split,
    *,
    name: str,
    steps: int,
    weight_bits: int | None = 8,
    exact_decay: bool = False,
    by_channel: bool = False,
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

    def made(width: int) -> Network:
        integer = integers_of(
            folded,
            name=name,
            weight_bits=width,
            pixel_bits=data.bits,
            exact_decay=exact_decay,
            by_channel=by_channel,
            encoding=data.encoding,
            peaks=peaks,
        )
        try:
            return integer.to_network(
                {
                    "dataset": data.name,
                    "source": foreign.framework,
                    **({"time_step": data.time_step} if data.time_step else {}),
                    **feed.meta,
                }
            )
        except NetworkError as error:
            raise _with_exact_decay(error, integer.spec) from None

    trial = torch.from_numpy(data.images[:TRIAL_IMAGES])
    with under_way(progress, f"trying {len(trial)} images on what was read"):
        theirs, twin = original(trial), folded(trial)
    _require_same(theirs, twin, steps, foreign.unlike)
    peaks = [u.abs().transpose(0, 2).flatten(1).amax(dim=1) for u in twin.potential_maps]
    if weight_bits is None:
        with under_way(progress, "trying widths of weights", total=len(WEIGHT_BITS)) as at:
            weight_bits = _fewest_bits(made, trial.numpy(), theirs, at)
        progress(f"{weight_bits}-bit weights")
    network = made(weight_bits)
    check_fits(network, data)
    told = f"running {len(data):,} test images through both networks"
    with announced(progress, told, total=len(data)) as at:
        weights = rounding(folded, network, by_channel)
        return network, _compare(
            foreign, reading, weights, folded, network, data, feed, original, at
        )


def require_steps(steps: int) -> None:
    """Refuse a number of time steps that no network has; raises `ConvertError`."""
    if not 1 <= steps <= 1024:
        raise ConvertError(f"Time steps must be an integer from 1 to 1024, not {steps!r}")


def integers_of(
    folded: FoldedNetwork,
    *,
    name: str,
    weight_bits: int,
    pixel_bits: int,
    exact_decay: bool = False,
    by_channel: bool = False,
    encoding: Encoding | None = None,
    peaks: Sequence[Tensor] = (),
) -> IntegerNetwork:
    """The integers of what was read; of layers whose weights lie on a grid, the very same; with
    `by_channel`, of those whose channels lie on a grid each, too.

    Parameters
    ----------
    peaks
        Largest |potential| of each firing layer that was seen, by channel.

    Raises
    ------
    QuantizeError, SpecError
        When it has no integer form.
    """
    check_weight_bits(weight_bits)
    known, most = {}, 2 ** (weight_bits - 1) - 1
    for n, (title, layer) in enumerate(zip(folded.names, folded.layers, strict=True)):
        step = _known_step(layer, most, by_channel and may_scale_channels(layer))
        fine = _fraction_bits(folded, n, step, 2**pixel_bits - 1) if bool(step.any()) else 0
        known[title] = Known(step, peaks[n] if n < len(peaks) else 0.0, fine)
    return quantize(
        folded,
        name=name,
        weight_bits=weight_bits,
        pixel_bits=pixel_bits,
        exact_decay=exact_decay,
        by_channel=by_channel,
        encoding=encoding,
        known=known,
    )


def _known_step(layer: FoldedLayer, most: int, own: bool) -> Tensor:
    """The step that all weights are multiples of, (); of channels of which each has its `own`,
    (channels,); 0: there is none."""
    channels = len(layer.bias)
    every = torch.cat([kernel.flatten() for kernel in layer.kernels]).numpy()
    soft = layer.neuron is not None and layer.neuron.reset == "soft"
    losses = torch.tensor(layer.neuron.step if layer.neuron and soft else 0.0).double()
    losses = (losses if layer.steps is None else layer.steps).expand(channels)
    others = torch.stack([layer.bias, losses], dim=1)
    step = common_step(every, others.flatten().numpy(), most)
    if step is not None or not own:
        return torch.tensor(step or 0.0, dtype=torch.float64)
    weights = torch.cat([kernel.reshape(channels, -1) for kernel in layer.kernels], dim=1)
    steps = [
        common_step(row.numpy(), rest.numpy(), most) if bool(row.any()) else 0.0
        for row, rest in zip(weights, others, strict=True)
    ]
    found = [step for step in steps if step is not None]
    if len(found) < channels:
        return torch.zeros((), dtype=torch.float64)
    # A channel without weights has whatever grid.
    return torch.tensor([step or max(found) for step in found], dtype=torch.float64)


def _fraction_bits(folded: FoldedNetwork, n: int, step: Tensor, pixel_max: int) -> int:
    """Bits below the weight step of a layer whose potentials decay: so many that a threshold has
    `THRESHOLD_BITS`, and no sum more than the contract admits."""
    layer = folded.layers[n]
    p = layer.neuron
    if p is None or (p.decay == "none" and p.current in ("off", "none")):
        return 0

    def worst(rows: Tensor) -> Tensor:
        """Of the layer; where each has a step of its own, of each channel."""
        return rows.reshape(len(layer.bias), -1).amax(dim=1) if step.ndim else rows.max()

    def counted(value: Tensor) -> list[int]:
        return [math.ceil(count) for count in torch.atleast_1d(value / step).tolist()]

    drive = worst(layer.bias.abs())
    for edge, kernel in zip(folded.edges(n), layer.kernels, strict=True):
        most = math.prod(both_sides(edge.pool)) * (pixel_max if edge.source == INPUT else 1)
        drive = drive + worst(kernel.abs().reshape(len(kernel), -1).sum(dim=1)) * most
    drive = drive * current_gain(p, folded.steps)
    theta = torch.tensor(p.theta).double() if layer.thetas is None else layer.thetas
    taken = max(*counted(drive), *counted(theta)).bit_length()
    wanted = THRESHOLD_BITS - min(counted(theta)).bit_length()
    return max(0, min(wanted, MAX_WIDTH - 4 - taken))


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
            least = kept - len(pixels) // 100
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


def _require_same(theirs: Run, twin: Activity, steps: int, unlike: str) -> None:
    """Refuse a network that computes something else than what was read."""
    if theirs.outputs.shape == twin.logits.shape:
        # Folding rounds elsewhere, so a drive that meets its threshold to the last bit may fire on
        # one side only: all but one in a hundred images must agree.
        near = [
            torch.isclose(twin.logits, theirs.outputs * unit, rtol=1e-6, atol=1e-6).all(dim=1)
            for unit in (1, steps)  # a forward may average over time by itself
        ]
        if any(float(same.double().mean()) >= 0.99 for same in near):
            return
    raise ConvertError(unlike)


class _Meter:
    """Adds up how far the spikes of two networks agree."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self.counts = names, np.zeros((len(names), 4), dtype=np.int64)

    def add(self, some: Sequence[Tensor], others: Sequence[Tensor]) -> None:
        """Spikes (T, n, neurons) of each layer."""
        for n, (a, b) in enumerate(zip(some, others, strict=True)):
            # Counts that were divided by a scale are whole numbers but for the last bit.
            equal, fired = (a - b).abs() <= SAME, (a.abs() > SAME) | (b.abs() > SAME)
            found = equal.sum(), equal.numel(), (equal & fired).sum(), fired.sum()
            self.counts[n] += [int(number) for number in found]

    def agreements(self, shown: Sequence[bool]) -> tuple[SpikeAgreement, ...]:
        rows = zip(self.names, self.counts.tolist(), shown, strict=True)
        return tuple(SpikeAgreement(name, *counts, shown=seen) for name, counts, seen in rows)


def _compare(
    foreign: Foreign,
    reading: Reading,
    weights: Mapping[str, str],
    folded: FoldedNetwork,
    network: Network,
    data: Split,
    feed: Feed,
    original: Callable[[Tensor], Run],
    at: Step,
) -> ImportReport:
    firing = network.layers[:-1]
    names = [layer.spec.name for layer in firing]
    before, after, shown = _Meter(names), _Meter(names), [True] * len(names)
    saturated = np.zeros((len(names), 2), dtype=np.int64)

    def run_float(batch: Batch) -> Tensor:
        theirs, twin = original(batch.pixels), folded(batch.pixels).spikes
        seen = []
        for n, (mine, given) in enumerate(zip(twin, theirs.spikes, strict=True)):
            fits = given is not None and given.shape == mine.shape
            shown[n] = shown[n] and fits
            seen.append(given if given is not None and fits else mine)
        golden = [torch.from_numpy(c).transpose(0, 1) for c in batch.trace.spikes]
        before.add(seen, twin)
        after.add(seen, golden)
        for n, (layer, u) in enumerate(zip(firing, batch.trace.potentials, strict=True)):
            assert layer.spec.neuron is not None
            saturated[n] += int((np.abs(u) == layer.spec.neuron.u_max).sum()), u.size
        return theirs.outputs

    comparison = compare(network, data, run_float, at)
    return ImportReport(
        **vars(comparison),
        fed=feed.text,
        tested=tested(data),
        framework=foreign.framework,
        findings=reading.findings,
        before=before.agreements(shown),
        after=after.agreements(shown),
        weights=weights,
        saturated=tuple((int(high), int(n)) for high, n in saturated),
    )


def rounding(folded: FoldedNetwork, network: Network, by_channel: bool = False) -> dict[str, str]:
    """By layer, how its weights were rounded, in words; `by_channel`: with a step for each channel
    where there may be one."""
    told = {}
    for layer, integers in zip(folded.layers, network.layers, strict=True):
        own = by_channel and integers.spec.channel_thresholds
        rows = len(layer.bias) if own else 1
        reals = torch.cat([k.reshape(rows, -1) for k in layer.kernels], dim=1).numpy()
        whole = np.concatenate([k.reshape(rows, -1) for k in integers.kernels], axis=1, dtype=float)
        # Of each row, the one with the least error.
        scales = (reals * whole).sum(axis=1) / np.maximum((whole**2).sum(axis=1), 1)
        off = np.abs(reals - scales[:, None] * whole)
        error = float(np.sqrt(np.mean(off**2) / np.mean(reals**2)))
        steps = f"{scales[0]:.6g}"
        if own:
            steps = f"a step of each channel, {scales.min():.6g} to {scales.max():.6g}"
        kind = ", a step for each channel" if own else ", one step for all channels" * by_channel
        told[integers.spec.name] = (
            f"multiples of {steps}: kept as they are"
            if (off <= 1e-5 * np.abs(reals).max(axis=1, keepdims=True)).all()
            else f"rounded to {integers.spec.weight_bits} bits{kind}, rms error {100 * error:.2g} %"
        )
    return told


def report_table(network: Network, report: ImportReport) -> str:
    """For people."""
    spec = network.spec
    sizes = [spec.input_size, *(layer.neurons for layer in spec.layers)]
    rows: list[tuple[str, object]] = [
        (
            "network",
            f"{spec.name}, {'-'.join(map(str, sizes))}, T = {spec.steps}, digest "
            f"{network.digest[:16]}",
        ),
        ("read from", f"{report.framework}, {len(report.findings)} nodes"),
        *(
            (layer.name, neuron_text(layer.neuron) + constants_text(layer))
            for layer in spec.layers
            if layer.neuron
        ),
        *((layer.name, readout_text(layer.readout)) for layer in spec.layers if layer.readout),
        *((f.node, f.note) for f in report.findings if f.note),
        *((f.node, f"approximated: {f.approximated}") for f in report.findings if f.approximated),
        *((f"weights of {name}", told) for name, told in report.weights.items()),
        *report.rows(),
    ]
    for before, after, (high, n) in zip(report.before, report.after, report.saturated, strict=True):
        whose = "original" if after.shown else "float"
        rows.append((f"spikes unlike {whose}, {after.layer}", after.text))
        if after.shown:
            rows.append((f"  before rounding, {before.layer}", before.text))
        if not after.either:
            rows.append((f"  {after.layer}", "never fired: nothing is known about its spikes"))
        if high:
            rows.append((f"  potentials at their limit, {after.layer}", f"{high:,} of {n:,}"))
    activity = report.activity
    rows.append(("events per image", f"{activity.events:,.1f}"))
    rows.append(("synaptic operations", f"{activity.sops:,.0f} per image"))
    return table(rows)
