"""What a float network is made of: a plan of its layers, from which all shapes follow."""

from collections.abc import Sequence
from dataclasses import dataclass

from hw.contract.checks import SpecError
from hw.contract.edge import INPUT, EdgeSpec, Shape

__all__ = ["LayerPlan", "dense_chain", "is_dense_chain", "plan_shapes"]


@dataclass(frozen=True)
class LayerPlan:
    """A layer: its name, its channels, what it receives. The last one of a network is the readout.
    A dense layer has a channel for each neuron."""

    name: str
    channels: int
    edges: tuple[EdgeSpec, ...]


def dense_chain(hidden: Sequence[int], classes: int) -> tuple[LayerPlan, ...]:
    """Fully connected layers, each receiving from the one before: hidden1, hidden2, .., readout."""
    names = [*(f"hidden{n + 1}" for n in range(len(hidden))), "readout"]
    return tuple(
        LayerPlan(name, channels, (EdgeSpec(source=source),))
        for name, channels, source in zip(
            names, (*hidden, classes), [INPUT, *names[:-1]], strict=True
        )
    )


def is_dense_chain(plans: Sequence[LayerPlan]) -> bool:
    """Whether every layer receives over one plain dense edge from the one before."""
    sources = (INPUT, *(plan.name for plan in plans[:-1]))
    return all(
        plan.edges == (EdgeSpec(source=source),)
        for plan, source in zip(plans, sources, strict=True)
    )


def plan_shapes(input_shape: Shape, plans: Sequence[LayerPlan]) -> dict[str, Shape]:
    """Shape of the input and of every layer, by name: what each layer's first edge without a delay
    makes. (`NetworkSpec` checks the others against it.)

    Raises
    ------
    SpecError
        When a layer has no such edge, or its source comes later.
    """
    shapes = {INPUT: input_shape}
    for plan in plans:
        first = next((edge for edge in plan.edges if not edge.delay), None)
        if first is None or first.source not in shapes:
            raise SpecError(f"Layer {plan.name} must receive from an earlier layer without a delay")
        shapes[plan.name] = first.made(shapes[first.source], plan.channels)
    return shapes
