"""What `sim` and `golden` left in a folder, read back: network, pictures, what was answered."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from gen.core.plan import CorePlan, rebuild
from hw.contract.checks import SternaError
from hw.contract.edge import INPUT
from hw.contract.files import ArchiveError
from hw.contract.network import Network
from sim.bench.job import NETWORK
from sim.bench.kept import KEPT, Kept, Picture
from sim.golden.answers import GOLDEN, Answers
from sim.golden.edges import Field
from sim.golden.model import GoldenModel, Trace

__all__ = ["LOOKED_AT", "ReportError", "Run", "SimRun"]

LOOKED_AT = 200
"""Pictures, at most, that the golden model is asked about once more; fewer of a large network."""

VALUES = 8_000_000
"""Spikes, at most, of all of them."""

DAMAGE = (
    *(OSError, EOFError, LookupError, TypeError, ValueError, RecursionError, BadZipFile),
    *(zlib.error, ArchiveError),
)
"""What files raise that are not what they should be."""

Int = npt.NDArray[np.int64]


class ReportError(SternaError, ValueError):
    """A folder that no report can be made of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """Pictures that were classified, by the golden model or by more.

    Parameters
    ----------
    facts
        What the command said, its JSON file.
    network
        What ran.
    pixels, labels
        Pictures (n, size) and their classes (n,).
    classes
        What was said (n,).
    """

    facts: dict[str, Any]
    network: Network
    pixels: npt.NDArray[np.uint8]
    labels: Int
    classes: Int

    @classmethod
    def load_golden(cls, folder: Path) -> "Run":
        """Read what `sterna golden` left.

        Raises
        ------
        ReportError
            When a part of it is missing, damaged or of another run.
        """

        def read() -> "Run":
            facts = json.loads((folder / GOLDEN).read_text())
            return cls(
                facts=facts, network=Network.load(folder / NETWORK), **vars(Answers.load(folder))
            )

        run = _undamaged(f"Run of the golden model in {folder}", read)
        hits = int((run.classes == run.labels).sum())
        run.require_own(
            f"Run of the golden model in {folder}", {"images": len(run.labels), "hits": hits}
        )
        return run

    def require_own(self, what: str, counted: Mapping[str, int]) -> None:
        """Refuse parts of other runs: what was `counted` must be what the facts say, and classes
        the network's; raises `ReportError`."""
        facts: Any = self.facts
        own = isinstance(facts, dict) and facts.get("digest") == self.network.digest
        if not own or any(facts.get(name) != count for name, count in counted.items()):
            raise ReportError(f"{what} is damaged: its parts are of other runs")
        classes = self.network.spec.classes
        for numbers in (self.labels, self.classes):
            if ((numbers < 0) | (numbers >= classes)).any():
                raise ReportError(f"{what} must have labels and answers of {classes} classes")

    @cached_property
    def looked_at(self) -> npt.NDArray[np.uint8]:
        """The first pictures, of which the golden model tells all values."""
        return self.pixels[: self._few(VALUES)]

    def _few(self, values: int) -> int:
        """So many pictures that they have no more values."""
        spec = self.network.spec
        size = spec.steps * sum(layer.neurons for layer in spec.layers)
        return max(1, min(LOOKED_AT, values // size))

    @cached_property
    def trace(self) -> Trace:
        """Of `looked_at`."""
        return GoldenModel(self.network).run(self.looked_at)

    @cached_property
    def wrong(self) -> tuple[Int, Int]:
        """Numbers of the pictures with a wrong class, the clearest first; and by how much the
        logit of that class is above the right one's."""
        (numbers,) = np.nonzero(self.classes != self.labels)
        if not len(numbers):
            return numbers, numbers
        numbers = numbers[: self._few(5 * VALUES)]
        logits = GoldenModel(self.network).over_time(self.pixels[numbers])[0][:, -1]
        rows = np.arange(len(numbers))
        margins = logits[rows, self.classes[numbers]] - logits[rows, self.labels[numbers]]
        order = np.argsort(-margins, kind="stable")
        return numbers[order], margins[order]

    @cached_property
    def drives(self) -> list[Int]:
        """Largest |drive| of each layer at each step, (T,), over `looked_at`."""
        spec, trace = self.network.spec, self.trace
        n, steps = len(self.looked_at), spec.steps
        sent: dict[str, npt.NDArray[Any]] = {
            layer.name: c.reshape(n, steps, *layer.map_shape)
            for layer, c in zip(spec.layers, trace.spikes, strict=False)
        }
        images = self.looked_at.reshape(n, spec.recorded_steps, *spec.shape_of(INPUT))
        found = []
        for layer in self.network.layers:
            field, most = Field(spec, layer), []
            for step in range(steps):
                now = {name: values[:, step] for name, values in sent.items()}
                now[INPUT] = images[:, step if spec.timed_input else 0]
                before = {
                    name: values[:, step - 1] if step else np.zeros_like(values[:, 0])
                    for name, values in sent.items()
                }
                most.append(int(np.abs(field.received(now, before) + field.bias).max()))
            found.append(np.array(most, dtype=np.int64))
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class SimRun(Run):
    """A simulation that has ended; `classes` are the hardware's.

    Parameters
    ----------
    plan
        As which core the network ran.
    cycles, predicted
        From one class to the next, as seen and by the cycle law: (n - 1 of each process,).
    picture
        One picture as the hardware played it; None where the core had no taps.
    """

    plan: CorePlan
    cycles: Int
    predicted: Int
    picture: Picture | None

    @classmethod
    def load(cls, folder: Path) -> "SimRun":
        """Read what `sterna sim` left.

        Raises
        ------
        ReportError
            When the folder has nothing of the kind, a part of it is missing, or what lies there is
            damaged or of another run.
        """

        def read() -> "SimRun":
            facts = json.loads((folder / "report.json").read_text())
            network = Network.load(folder / NETWORK)
            shards = sorted(folder.glob("shard*"), key=lambda path: int(path.name[5:]))
            parts = [_Shard.load(shard) for shard in shards]
            recipe = json.loads((shards[0] / "job.json").read_text())["recipe"]
            return cls(
                facts=facts,
                network=network,
                plan=rebuild(network, recipe),
                pixels=np.concatenate([part.pixels for part in parts]),
                labels=np.concatenate([part.labels for part in parts]),
                classes=np.concatenate([part.kept.classes[0] for part in parts]),
                cycles=np.concatenate([np.diff(part.completion) for part in parts]),
                predicted=np.concatenate([np.diff(part.predicted) for part in parts]),
                picture=_picture(parts),
            )

        run = _undamaged(f"Simulation in {folder}", read)
        run.require_own(f"Simulation in {folder}", {"images": len(run.labels)})
        return run


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shard:
    """What one process of a run left."""

    pixels: npt.NDArray[np.uint8]
    labels: Int
    completion: list[int]
    predicted: list[int]
    kept: Kept

    @classmethod
    def load(cls, folder: Path) -> "_Shard":
        findings = json.loads((folder / "findings.json").read_text())
        return cls(
            pixels=np.load(folder / "pixels.npy", allow_pickle=False),
            labels=np.load(folder / "labels.npy", allow_pickle=False),
            completion=findings["completion"],
            predicted=findings["predicted"],
            kept=Kept.load(folder / KEPT),
        )


def _picture(parts: list[_Shard]) -> Picture | None:
    """The first picture with a difference, else the first one; numbered among all."""
    found, start = list[Picture](), 0
    for part in parts:
        picture = part.kept.picture
        if picture is not None:
            number = start + picture.number
            found.append(Picture(number, picture.spikes, picture.potentials))
            if part.kept.wrong:
                return found[-1]
        start += len(part.labels)
    return found[0] if found else None


def _undamaged(what: str, read: Callable[[], Any]) -> Any:
    """What `read` returns; what it raises of damaged files becomes a sentence."""
    try:
        return read()
    except DAMAGE as error:
        raise ReportError(f"{what} is damaged: {_text(error)}") from None


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
