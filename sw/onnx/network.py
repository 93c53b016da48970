"""Networks in ONNX files, opened: ReLU networks, and quantised ones."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sw.frameworks.check import ReluNetwork
from sw.importers.affine import ConvertError
from sw.importers.trace import Step, Traced, Unread
from sw.onnx.calls import Clipped
from sw.onnx.files import read_graph
from sw.onnx.quantised import QuantisedNetwork
from sw.onnx.reference import Reference
from sw.onnx.report import findings
from sw.onnx.translate import Translation, translate
from sw.reading.network import Foreign, Reading

__all__ = ["OnnxReLU", "open_file", "open_relu"]

BOUNDED = "must be a ReLU: what is bounded above is read in quantised networks, in front of a Quant"


class OnnxReLU(Traced):
    """A ReLU network's steps; run, it is the file's graph itself.

    Parameters
    ----------
    made
        What the graph was made of.
    """

    def __init__(self, made: Translation) -> None:
        super().__init__([_plain(step) for step in made.steps])
        self.shape = made.shape
        self.made, self.reference = made, Reference(made.graph, made.needed)

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxReLU":
        copied = OnnxReLU(self.made)
        copied.called = copy.deepcopy(self.called, memo)
        return copied

    def forward(self, x: Tensor) -> Tensor:
        return self.reference.run(x, [self.made.graph.output])[0]


def _plain(step: Step) -> Step:
    if isinstance(step.module, Clipped):
        return replace(step, module=Unread("", BOUNDED))
    return step


class _ReluFile(ReluNetwork):
    """A ReLU network in a file, for `sterna check`."""

    framework = "ONNX (ReLU)"

    def __init__(self, made: Translation) -> None:
        super().__init__(OnnxReLU(made))
        self.made = made

    @property
    def shape(self) -> tuple[int, ...]:
        return self.made.shape

    def read(
        self,
        shape: Sequence[int] | None,
        *,
        steps: int,
        pixel_max: int,
        front: Sequence[nn.Module] = (),
        timed: bool = False,
    ) -> Reading:
        reading = super().read(
            shape or self.shape, steps=steps, pixel_max=pixel_max, front=front, timed=timed
        )
        return replace(reading, findings=findings(self.made, reading.findings, {}))


ROUNDS = ("BipolarQuant", "IntQuant", "Quant", "QuantizeLinear")


def _is_quantised(made: Translation) -> bool:
    """Whether it rounds anything but constants."""
    return any(n.kind in ROUNDS and n.place not in made.constants for n in made.needed)


def open_file(path: Path) -> Foreign:
    """The network in a file.

    Raises
    ------
    ConvertError
        When it cannot be read. What single nodes are is said by the network.
    """
    made = translate(read_graph(path))
    return QuantisedNetwork(made) if _is_quantised(made) else _ReluFile(made)


def open_relu(path: Path) -> OnnxReLU:
    """The ReLU network in a file, as `sterna convert` takes it.

    Raises
    ------
    ConvertError
        When it cannot be read, or is quantised.
    """
    made = translate(read_graph(path))
    if _is_quantised(made):
        raise ConvertError(
            f"Network {path} rounds its activations, so it counts already: use sterna import, with "
            "--steps 1"
        )
    return OnnxReLU(made)
