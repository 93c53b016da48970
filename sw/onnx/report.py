"""What is said about each node of a file, in the order of the file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sw.importers.trace import Sum
from sw.onnx.translate import Translation
from sw.reading.network import Finding

__all__ = ["findings"]


def findings(
    made: Translation, found: Sequence[Finding], parts: Mapping[str, str]
) -> tuple[Finding, ...]:
    """A finding for each node.

    Parameters
    ----------
    found
        About the steps.
    parts
        Places of steps that are part of others, and the place of those.
    """
    known: dict[str, Finding] = {}
    for finding in found:  # of a node with several steps, what is refused, or the last
        place = finding.node.partition(" | ")[0]
        if place not in known or not known[place].refused:
            known[place] = replace(finding, node=place)
    whole = {**parts, **made.parts}
    used = {node.place for node in made.needed}
    sums = {step.place for step in made.steps if isinstance(step.module, Sum)}
    told = []
    for node in made.graph.nodes:
        place = node.place
        finding = known.pop(place, None)
        if finding is not None and finding.refused:
            told.append(finding)
        elif place not in used:
            told.append(Finding(node=place, becomes="nothing: the output does not need it"))
        elif place in made.constants:
            told.append(Finding(node=place, becomes="a constant"))
        elif place in made.unseen:
            told.append(Finding(node=place, becomes="not known behind what is refused"))
        elif place in whole:
            told.append(Finding(node=place, becomes=f"part of {_last(place, whole)}"))
        elif finding is not None:
            told.append(finding)
        elif place in sums:
            told.append(Finding(node=place, becomes="a sum of what both bring"))
        else:  # a softmax that ends the network is not among the steps
            told.append(Finding(node=place, becomes="nothing", note="it changes no class"))
    return (*told, *known.values())


def _last(place: str, whole: Mapping[str, str]) -> str:
    """What it is part of in the end."""
    seen = set[str]()
    while place in whole and place not in seen:
        seen.add(place)
        place = whole[place]
    return place
