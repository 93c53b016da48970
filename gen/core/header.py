"""The first lines of a core's Verilog: what it is, its ports, and where its cycles are told."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Value
from amaranth.lib.wiring import Component, In

from gen.core.plan import CorePlan
from hw.contract.text import own_version

__all__ = ["CLOCK", "PortLine", "core_header", "core_ports", "made_by", "ports_of"]

PortLine = tuple[str, str, int]
"""Name, `in` or `out`, bits."""

LICENCE = "SPDX-License-Identifier: Apache-2.0"
"""Of Verilog that we write; what a network holds is its owner's."""

CLOCK: tuple[PortLine, ...] = (("clk", "in", 1), ("rst", "in", 1))
"""What Amaranth adds to the ports of a core."""

CORE_PORTS = {
    "clk": "clock, rising edge",
    "rst": "reset, active high, synchronous",
    "i__valid": "a word of pixels is offered",
    "i__ready": "it is taken",
    "o__valid": "a logit is offered",
    "o__ready": "it is taken",
    "events": "a bit per memory of weights: a row was added in the cycle before",
}
LOAD = "a row of weights, while the core is held in reset"
TEACHER = "the teacher of a core that learns: docs/learning.md"
TAP = "to watch in simulation: docs/simulation.md"


def ports_of(component: Component) -> list[PortLine]:
    """The ports of a component, by the names that its Verilog has."""
    return [
        ("__".join(map(str, path)), "in" if member.flow == In else "out", len(Value.cast(value)))
        for path, member, value in component.signature.flatten(component)
    ]


def core_ports(plan: CorePlan, ports: Sequence[PortLine]) -> dict[str, str]:
    """What each port of a core is."""
    first, logit = plan.stages[0].input, plan.network.layers[-1].logit_bits
    sign = ", magnitude and sign" if first.signed else ""
    told = CORE_PORTS | {
        "i__payload": f"{first.count} values of {first.planes} bits{sign}, the first in the low "
        "bits: docs/streams.md",
        "o__payload": f"logit ({logit} bits, signed), best so far, last: with it, best is the "
        "class",
    }
    return {name: told.get(name) or _by_kind(name) for name, _, _ in ports}


def _by_kind(name: str) -> str:
    kinds = {"load__": LOAD, "teacher__": TEACHER, "tap_": TAP}
    return next(text for start, text in kinds.items() if name.startswith(start))


def made_by(plan: CorePlan) -> list[str]:
    """The first lines of all that is made of a plan: of which network, by which Sterna, and the
    licence."""
    name, digest = plan.network.spec.file_name, plan.network.digest
    return [f"{name}, network {digest}, made by Sterna {own_version()}.", LICENCE]


def core_header(
    plan: CorePlan,
    top: str,
    ports: Sequence[PortLine],
    meanings: Mapping[str, str],
    cycles: Sequence[str],
) -> list[str]:
    """The header of a file whose top module is `top`, line by line (`gen.stage.finish`).

    Parameters
    ----------
    meanings
        What each port is.
    cycles
        Lines about how long a picture takes.
    """
    facts, spec = plan.facts(), plan.network.spec
    name, way, bits = (max(len(str(port[k])) for port in ports) for k in range(3))
    return [
        *made_by(plan),
        "",
        f"Top module {top}: {spec.input_size} values of {spec.input_bits} bits in, T = "
        f"{spec.steps}, {spec.classes} logits out.",
        f"Schedule {facts['schedule']}, {facts['stages']} stage(s): {facts['layout']}.",
        "",
        *(f"{p[0]:<{name}}  {p[1]:<{way}}  {p[2]:>{bits}}  {meanings[p[0]]}" for p in ports),
        "",
        *cycles,
    ]
