"""A module of which each time step is a chain of its modules."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from hw.contract.edge import INPUT
from sw.importers.affine import Cause, ConvertError
from sw.importers.modules import Leaf, as_read
from sw.importers.trace import Step
from sw.learn.neuron import NeuronError
from sw.reading.network import (
    SHAPE_UNKNOWN,
    Foreign,
    LeakyReadout,
    Membrane,
    Reading,
    Run,
    findings_of,
    readings,
)
from sw.watch.calls import Call, first_step, innermost, same
from sw.watch.described import NO_POTENTIALS, Described, Node, spread
from sw.watch.returned import potentials

__all__ = ["WatchedNetwork", "as_steps"]

IMAGES = 3
"""On which a module is watched: not a number of steps or classes."""


Expand = Callable[["Call", str, str], list[Step]]
"""The steps that a call is: of its name, and the place of what it is given. The last one has that
name."""


def _one_step(call: Call, title: str, here: str) -> list[Step]:
    return [Step(title, (here,), call.module)]


def as_steps(
    chain: Sequence[Call], x: Tensor, front: Sequence[Step], expand: Expand = _one_step
) -> tuple[list[Step], list[Cause]]:
    """The calls as steps, each of which gets what the one before it made; and what is wrong.

    Parameters
    ----------
    chain
        Of a time step, of x (n, ...).
    front
        Steps in front of them.
    """
    steps, causes = list(front), list[Cause]()
    before, value = INPUT, x
    for call in chain:
        if not same(value, call.given):
            what = "the image" if before == INPUT else f"what {before} made"
            causes.append(
                Cause(
                    call.place,
                    f"gets something else than {what}: what a forward computes between its "
                    "modules must be a module of it (Flatten, AvgPool2d, a Linear)",
                )
            )
        here = before
        if call.given.shape[1:] != value.shape[1:] and not causes:
            if call.given.ndim != 2:
                causes.append(Cause(call.place, "must get maps, not values put into another shape"))
            here = f"{call.place} | flat"
            steps.append(Step(here, (before,), nn.Flatten()))
        title = call.place
        while any(step.place == title for step in steps):
            title += ", again"
        try:
            steps += expand(call, title, here)
        except ConvertError as error:
            causes.append(Cause(call.place, str(error)))
            steps.append(Step(title, (here,), call.module))
        before, value = title, call.made
    return steps, causes


def _membrane(node: Node, calls: Sequence[Call]) -> Membrane | str:
    """What neurons kept in their calls, in thresholds."""
    if node.unit is None:
        return NO_POTENTIALS
    kept = [call.potential for call in calls if call.potential is not None]
    if len(kept) != len(calls):
        return "its neurons do not keep their potentials"
    counted = [(v / node.unit).flatten(1) for v in kept]
    return Membrane(torch.stack(counted), node.before_reset, node.tie)


class WatchedNetwork(Foreign):
    """A module of which each time step is a chain of its modules.

    Parameters
    ----------
    module
        It is not changed.

    Raises
    ------
    ConvertError
        For what is no module, or cannot be copied.
    """

    activation: ClassVar[str]
    """What ends a layer, in words."""

    def __init__(self, module: nn.Module) -> None:
        self.module = as_read(module)

    @abstractmethod
    def is_node(self, module: nn.Module) -> bool:
        """Whether a module is one of neurons."""

    def is_whole(self, module: nn.Module) -> bool:
        """Whether what is inside of a module is its own."""
        return self.is_node(module)

    @abstractmethod
    def node(self, module: nn.Module) -> Node:
        """What a module of neurons is.

        Raises
        ------
        ConvertError, NeuronError
            One sentence, without its subject, for one that no neuron of the contract is; any error
            for what is damaged.
        """

    @abstractmethod
    def calls(self, x: Tensor, steps: int, timed: bool = False) -> list[Call]:
        """What its modules do in all steps, of x (n, ...) at every step, or of x (T, n, ...).

        Raises
        ------
        ConvertError
            When it cannot be run so.
        """

    def expanded(self, call: Call, title: str, here: str) -> list[Step]:
        """See `Expand`."""
        return _one_step(call, title, here)

    def reads(self, module: nn.Module) -> bool:
        """Whether potentials are read of a module of neurons, where it comes last: it never
        resets."""
        return False

    def tell_readouts(self, x: Tensor, steps: int, timed: bool) -> str:
        """Find out which of a readout's potentials is read where images x leave several; in words,
        what is left open."""
        return ""

    def readout(self, call: Call) -> LeakyReadout:
        """What such a module is, that `calls` found to be the last.

        Raises
        ------
        ConvertError
            As of `node`.
        """
        raise NotImplementedError

    def _last(self, chain: Sequence[Call]) -> Call | None:
        """The call whose potentials are read."""
        last = next(call for call in reversed(chain) if call.once)
        return last if self.is_node(last.module) and self.reads(last.module) else None

    def notes(self, chain: Sequence[Call]) -> dict[str, str]:
        """What must be said besides, by place."""
        return {}

    @property
    def leaves(self) -> Sequence[Leaf]:
        return innermost(self.module, self.is_whole)

    def _known(self, call: Call) -> Node:
        try:
            return self.node(call.module)
        except NeuronError as error:
            raise ConvertError(f"is no neuron of the contract: {error}") from None
        except ConvertError:
            raise
        except (AttributeError, TypeError, ValueError, RuntimeError, ZeroDivisionError):
            raise ConvertError("is damaged") from None

    @torch.no_grad()
    def run(self, x: Tensor, steps: int, timed: bool = False) -> Run:
        calls = self.calls(x, steps, timed)
        chain = first_step(calls)
        said = {call.place: list[Tensor]() for call in chain}
        for call in calls:
            if call.place in said:
                said[call.place].append(call.made)
        last = next(call for call in reversed(chain) if call.once)
        outputs = sum(said[last.place], torch.zeros(()))
        leaky = self._last(chain)
        if leaky is not None:
            m = potentials([call for call in calls if call.place == leaky.place])
            outputs = readings(m)[self.readout(leaky).parameters.value]
        spikes, membranes = list[Tensor](), list[Membrane | str]()
        for call in chain:
            if self.is_node(call.module) and call is not leaky:
                node = self._known(call)
                made = torch.stack([made.flatten(1) for made in said[call.place]])
                spikes.append(made / node.amplitude)
                ran = [other for other in calls if other.place == call.place]
                membranes.append(_membrane(node, ran))
        return Run(outputs, tuple(spikes), tuple(membranes))

    @torch.no_grad()
    def read(
        self,
        shape: Sequence[int] | None,
        *,
        steps: int,
        pixel_max: int,
        front: Sequence[nn.Module] = (),
        timed: bool = False,
    ) -> Reading:
        if shape is None:
            return Reading(findings=findings_of((), {}, {}, [SHAPE_UNKNOWN]))
        broken = [
            Cause(place, "must have finite weights, not NaN or infinite ones")
            for place, leaf in self.leaves
            if not all(bool(weight.isfinite().all()) for weight in leaf.parameters())
        ]
        if broken:
            return Reading(findings=findings_of((), {}, {}, broken))
        generator = torch.Generator().manual_seed(0)
        sizes = (*(steps,) * timed, IMAGES, *shape)
        x = torch.rand(sizes, generator=generator, dtype=torch.float64)
        chain = first_step(self.calls(x, steps, timed), [*x] if timed else ())
        leaky = self._last(chain)
        places = [c.place for c in chain if self.is_node(c.module) and c is not leaky]
        names = {place: f"hidden{n}" for n, place in enumerate(places, 1)}
        nodes, causes, notes = dict[str, Node](), list[Cause](), self.notes(chain)
        readout = None
        if leaky is not None:
            if doubt := self.tell_readouts(x, steps, timed):
                notes[leaky.place] = doubt
            try:
                readout = self.readout(leaky)
            except ConvertError as error:
                causes.append(Cause(leaky.place, str(error)))
            # Behind the last weights nothing else is to be made of it.
            chain = [c if c is not leaky else replace(c, module=nn.Identity()) for c in chain]
        for call in chain:
            if call.place not in names:
                continue
            try:
                node = nodes[call.place] = spread(self._known(call), call.made.shape[1:])
            except ConvertError as error:
                causes.append(Cause(call.place, str(error)))
                continue
            if node.amplitude != 1:
                notes[call.place] = f"spikes of {node.amplitude:g}, in the weights behind them"
            if node.note:
                notes[call.place] = node.note
        before = [Step(INPUT, (INPUT,), module) for module in front]
        found, wrong = as_steps(chain, x[0] if timed else x, before, self.expanded)
        described = Described(
            found, names, nodes, (*causes, *wrong), notes, not wrong, readout, timed
        )
        return described.reading(self.activation, shape, steps, pixel_max)
