"""`sterna check`: what would become of a network, without data and without writing anything."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hw.contract.checks import SternaError
from hw.contract.text import table
from sw.data.split import Split, check_split
from sw.frameworks.importing import require_steps
from sw.frameworks.integers import integers_of, rounding
from sw.frameworks.registry import ZIP, importer_for, load_relu
from sw.importers.affine import IDLE, Cause, ConvertError, kind
from sw.importers.convert_report import load_network
from sw.importers.feed import Feed
from sw.importers.modules import (
    NORMALISATION,
    Leaf,
    as_read,
    final_softmax,
    followed,
    read_relu,
    relu_leaves,
)
from sw.importers.trace import Step, Traced
from sw.reading.conventions import OPTIONS, Conventions
from sw.reading.network import SHAPE_UNKNOWN, Finding, Foreign, Reading, Run, findings_of

__all__ = ["Checked", "check", "checked_table", "open_any"]


WIDTH = 8
AUTO = f"{WIDTH} bits here: auto is found by sterna import, which compares classes on data"
"""Of weights, where it is to be found."""


class ReluNetwork(Foreign):
    """A ReLU network, which `sterna convert` takes.

    Parameters
    ----------
    module
        See `sw.importers.modules.read_relu`.
    """

    framework = "torch.nn (ReLU)"
    takes_recordings = False

    def __init__(self, module: nn.Module) -> None:
        self.module = followed(as_read(module))

    @property
    def leaves(self) -> Sequence[Leaf]:
        return relu_leaves(self.module)

    def read(
        self,
        shape: Sequence[int] | None,
        *,
        steps: int,
        pixel_max: int,
        front: Sequence[nn.Module] = (),
        timed: bool = False,
    ) -> Reading:
        causes, softmax = list[Cause](), final_softmax(self.module)
        try:
            if shape is None:
                causes.append(SHAPE_UNKNOWN)
            else:
                read_relu(self.module, shape, front)
        except ConvertError as error:
            causes.extend(error.named)
        modules = self._steps()
        relus = [step.place for step in modules if kind(step.module).__name__ == "ReLU"]
        names = {place: f"hidden{n}" for n, place in enumerate(relus, 1)}
        notes = {} if softmax is None else {softmax[0]: "it changes no class"}
        found = findings_of(modules, {}, names, causes, notes=notes)
        return Reading(findings=found)

    def _steps(self) -> list[Step]:
        if isinstance(self.module, Traced):
            return self.module.steps
        places = ["input", *(place for place, _ in self.leaves)]
        pairs = zip(places, self.leaves, strict=False)
        return [Step(place, (before,), module) for before, (place, module) in pairs]

    @torch.no_grad()
    def run(self, x: Tensor, steps: int, timed: bool = False) -> Run:
        return Run(self.module(x), ())


def open_any(
    path: Path, name: str | None = None, conventions: Conventions | None = None
) -> Foreign:
    """The network in a file of any kind that `sterna import` or `sterna convert` takes.

    Raises
    ------
    ConvertError
        When it is none of them.
    """
    if name == "relu" and conventions is not None:
        raise ConvertError(f"{OPTIONS} are for networks over time: a ReLU network has none")
    if name == "relu":
        return ReluNetwork(load_relu(path))
    importer = importer_for(path, name)
    if name is None and importer.magic == ZIP:
        try:
            module = load_network(path)
        except ConvertError:
            return importer.open(path, conventions)
        if conventions is None:
            return ReluNetwork(module)
    return importer.open(path, conventions)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a network would become.

    Parameters
    ----------
    framework
        What it is of.
    findings
        About each node, then about each layer's weights.
    """

    framework: str
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> int:
        """Findings that stand in the way."""
        return sum(bool(finding.refused) for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "framework": self.framework,
            "refused": self.refused,
            "nodes": [finding.to_dict() for finding in self.findings],
        }


def check(
    foreign: Foreign,
    *,
    steps: int,
    weight_bits: int | None = 8,
    pixel_bits: int = 4,
    exact_decay: bool = False,
    by_channel: bool = False,
    fine_biases: bool = True,
    shape: Sequence[int] | None = None,
    data: Split | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> Checked:
    """What a network would become; nothing of it is run.

    Parameters
    ----------
    foreign
        The network.
    steps, weight_bits, pixel_bits, exact_decay, by_channel, fine_biases
        Of the network that it would become. A `weight_bits` of None, which is found on data, stands
        for `WIDTH`, which is said.
    shape
        Of an input, in place of what file, modules or data say.
    data, mean, std
        What it would be fed, where that is known.

    Raises
    ------
    ConvertError
        For time steps that no network has, and as of `Feed.of`.
    DataError
        For a width of pixels that there is not.
    """
    require_steps(steps)
    check_split("test", pixel_bits)
    front: Sequence[nn.Module] = ()
    fed = shape or foreign.shape or _shape_by(foreign.leaves)
    if data is not None:
        taken = steps if foreign.takes_recordings else None
        feed = Feed.of(data, foreign.leaves, mean, std, shape or foreign.shape, taken)
        fed, front, pixel_bits = feed.shape, feed.front, data.bits
    reading = foreign.read(
        fed,
        steps=steps,
        pixel_max=2**pixel_bits - 1,
        front=front,
        timed=data is not None and data.timed,
    )
    findings = [replace(f, node=f.node or "network") for f in reading.findings]
    if weight_bits is None:
        weight_bits = WIDTH
        findings.append(Finding(node="weight width", becomes=AUTO))
    if reading.folded is not None:
        try:
            network = integers_of(
                reading.folded,
                name="checked",
                weight_bits=weight_bits,
                pixel_bits=pixel_bits,
                exact_decay=exact_decay,
                by_channel=by_channel,
                fine_biases=fine_biases,
            ).to_network()
        except SternaError as error:
            findings.append(Finding(node="network", refused=str(error)))
        else:
            for layer, told in rounding(reading.folded, network, by_channel).items():
                becomes = told.text if told.exact else f"{weight_bits}-bit integers"
                by = "" if told.exact else told.text
                findings.append(
                    Finding(node=f"weights of {layer}", becomes=becomes, approximated=by)
                )
    return Checked(framework=foreign.framework, findings=tuple(findings))


def _shape_by(leaves: Sequence[Leaf]) -> tuple[int, ...] | None:
    """Of an input, by the first module that minds."""
    for place, module in leaves:
        name = kind(module).__name__
        if place == NORMALISATION or name in IDLE | {"ReLU", "Flatten"}:
            continue
        size = {"Linear": "in_features", "BatchNorm1d": "num_features"}.get(name, "")
        value = getattr(module, size, None) if size else None
        return (value,) if isinstance(value, int) else None
    return None


def checked_table(checked: Checked) -> str:
    """For people: a line for each node."""
    rows: list[tuple[str, object]] = [("read as", checked.framework)]
    rows += [(finding.node, finding) for finding in checked.findings]
    last = f"{checked.refused} refused" if checked.refused else "nothing stands in the way"
    return table([*rows, ("answer", last)])
