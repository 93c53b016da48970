"""A framework's network, what was read of it, and its integers, beside each other on a data set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gen.core.describe import constants_text, neuron_text, readout_text
from hw.contract.network import Network
from hw.contract.text import table
from hw.system.progress import Step
from sw.data.split import Split
from sw.frameworks.agreement import (
    Layers,
    MembraneAgreement,
    MembraneMeter,
    SpikeAgreement,
    SpikeMeter,
    unlike_membranes,
)
from sw.frameworks.bounds import AGREE, MEMBRANE_SAME
from sw.importers.affine import ConvertError
from sw.importers.feed import Feed, ForeignComparison, tested
from sw.learn.compare import Batch, compare
from sw.learn.fold import FoldedNetwork
from sw.learn.graph import Activity
from sw.learn.integer import IntegerNetwork
from sw.reading.network import READ, Finding, Foreign, Reading, Run

__all__ = [
    "ImportReport",
    "Proof",
    "Units",
    "report_table",
    "require_same",
    "require_same_membranes",
]


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
    membranes_before, membranes_after
        By layer, the readout last: the same of potentials.
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
    membranes_before: tuple[MembraneAgreement, ...]
    membranes_after: tuple[MembraneAgreement, ...]
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
            "membranes_before_rounding": [m._asdict() for m in self.membranes_before],
            "membranes_after_rounding": [m._asdict() for m in self.membranes_after],
            "weights": dict(self.weights),
            "saturated": [list(pair) for pair in self.saturated],
        }


def require_same(theirs: Run, twin: Activity, steps: int, foreign: Foreign) -> float:
    """Refuse a network that computes something else than what was read; what its outputs are to be
    multiplied by to be the twin's."""
    if theirs.outputs.shape == twin.logits.shape:
        # Folding rounds elsewhere, so a drive that meets its threshold to the last bit may fire on
        # one side only.
        # Outputs may all be tiny: what is nothing is counted in parts of the largest of them.
        peak = float(theirs.outputs.abs().max())
        for unit in (1, steps):  # a forward may average over time by itself
            none = 1e-6 * min(1.0, peak * unit) + 1e-12
            near = torch.isclose(twin.logits, theirs.outputs * unit, rtol=1e-6, atol=none)
            if float(near.all(dim=1).double().mean()) >= AGREE:
                return float(unit)
    raise ConvertError(foreign.unlike)


def require_same_membranes(theirs: Run, twin: Activity, layers: Layers) -> None:
    """Refuse a network whose potentials are others than those of what was read, even where it
    fires alike."""
    spikes = _seen(theirs, twin)[0]
    for name, off in unlike_membranes(layers, theirs.membranes, spikes, twin):
        many = int((off > MEMBRANE_SAME).sum())
        if many > (1 - AGREE) * len(off):
            raise ConvertError(
                f"Potentials of {name} must be those of what was read of the network: on {many} of "
                f"{len(off)} images they differ by up to {float(off.max()):.2g} of a threshold, "
                "so its neurons have another law than they seem to"
            )


def _seen(theirs: Run, twin: Activity) -> tuple[list[Tensor], list[bool]]:
    """Spikes of each layer, and whether they are the framework's own, or the twin's for these."""
    found, shown = list[Tensor](), list[bool]()
    for mine, given in zip(twin.spikes, theirs.spikes, strict=True):
        fits = given is not None and given.shape == mine.shape
        found.append(given if given is not None and fits else mine)
        shown.append(fits)
    return found, shown


class Units(NamedTuple):
    """What one of a network's integers is worth: a potential of each layer, (), or (channels,); a
    logit."""

    potentials: tuple[Tensor, ...]
    logit: float

    @classmethod
    def of(cls, integer: IntegerNetwork) -> "Units":
        """Of a network."""
        potentials = [
            layer.scale / 2**layer.spec.neuron.fraction_bits
            for layer in integer.integer_layers
            if layer.spec.neuron is not None
        ]
        return cls(tuple(potentials), integer.logit_scale)


class Proof(NamedTuple):
    """Both networks on a data set, and the twin beside them.

    Parameters
    ----------
    foreign, reading, network
        The original, what was read of it, and its integers.
    units, layers
        Of the integers; of what was read.
    original
        Runs the original.
    unit
        As of `require_same`.
    """

    foreign: Foreign
    reading: Reading
    network: Network
    units: Units
    layers: Layers
    original: Callable[[Tensor], Run]
    unit: float

    def report(
        self, folded: FoldedNetwork, weights: Mapping[str, str], data: Split, feed: Feed, at: Step
    ) -> ImportReport:
        """Compare them."""
        network, layers = self.network, self.layers
        firing, names = network.layers[:-1], layers.names
        before, after, shown = SpikeMeter(names), SpikeMeter(names), [True] * len(names)
        read = network.spec.layers[-1].readout
        when = "drives added up" if read is None else f"its potentials, {READ[read.value]}"
        kept, rounded = (MembraneMeter(layers, folded.names[-1], when) for _ in range(2))
        saturated = np.zeros((len(names), 2), dtype=np.int64)

        def run_float(batch: Batch) -> Tensor:
            theirs, twin = self.original(batch.pixels), folded(batch.pixels)
            seen, fits = _seen(theirs, twin)
            golden = [torch.from_numpy(c).transpose(0, 1) for c in batch.trace.spikes]
            shown[:] = [a and b for a, b in zip(shown, fits, strict=True)]
            before.add(seen, twin.spikes)
            after.add(seen, golden)
            for n, membrane in enumerate(theirs.membranes):
                u = layers.of_twin(n, twin)
                kept.add(n, membrane, seen[n], u, twin.spikes[n], layers.steps_of(n))
                u = layers.of_integers(n, batch.trace, self.units.potentials)
                own = layers.own_steps(n, network, self.units.potentials)
                rounded.add(n, membrane, seen[n], u, golden[n], own)
            logits = theirs.outputs * self.unit
            kept.add_logits(logits, twin.logits)
            rounded.add_logits(logits, torch.from_numpy(batch.trace.logits) * self.units.logit)
            for n, (layer, u) in enumerate(zip(firing, batch.trace.potentials, strict=True)):
                assert layer.spec.neuron is not None
                saturated[n] += int((np.abs(u) == layer.spec.neuron.u_max).sum()), u.size
            return theirs.outputs

        comparison = compare(network, data, run_float, at)
        return ImportReport(
            **vars(comparison),
            fed=feed.text,
            tested=tested(data),
            framework=self.foreign.framework,
            findings=self.reading.findings,
            before=before.agreements(shown),
            after=after.agreements(shown),
            membranes_before=kept.agreements(),
            membranes_after=rounded.agreements(),
            weights=weights,
            saturated=tuple((int(high), int(n)) for high, n in saturated),
        )


def _membrane_rows(
    title: str, before: MembraneAgreement, after: MembraneAgreement
) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [(title, after.text)]
    if before.compared:
        rows.append((f"  the same before rounding, {before.layer}", before.text))
    return rows


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
    three = zip(report.before, report.after, report.saturated, strict=True)
    for n, (before, after, (high, of)) in enumerate(three):
        whose = "original" if after.shown else "float"
        rows.append((f"spikes unlike {whose}, {after.layer}", after.text))
        if after.shown:
            rows.append((f"  before rounding, {before.layer}", before.text))
        membranes = (report.membranes_before[n], report.membranes_after[n])
        rows += _membrane_rows(f"potentials unlike original, {after.layer}", *membranes)
        if not after.either:
            rows.append((f"  {after.layer}", "never fired: nothing is known about its spikes"))
        if high:
            rows.append((f"  potentials at their limit, {after.layer}", f"{high:,} of {of:,}"))
    readout = report.membranes_before[-1], report.membranes_after[-1]
    rows += _membrane_rows(f"logits unlike original, {readout[0].layer}", *readout)
    activity = report.activity
    rows.append(("events per image", f"{activity.events:,.1f}"))
    rows.append(("synaptic operations", f"{activity.sops:,.0f} per image"))
    return table(rows)
