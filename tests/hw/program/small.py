"""Small programs for proofs, each with what the others lack."""

from gen.program.stage import plan_program
from hw.contract.network import Network
from hw.contract.neuron import NeuronSpec
from hw.program.program import Program
from tests.hw.program.programs import conv, dense, identity, network, part

__all__ = ["changes", "plain", "smallest", "stage", "steps", "sums"]

TINY = NeuronSpec(theta=2, potential_bits=3)


def program(network: Network, lanes: int = 2) -> Program:
    return plan_program(network, lanes).program


def smallest() -> Program:
    """One pixel, one class."""
    return program(network((1, 1, 1), part(1, dense("input")), bits=1, steps=1, timed=True))


def plain() -> Program:
    """Planes, rows, columns, groups; no identity."""
    return program(
        network((3, 2, 2), part(3, conv("input", 3, padding=1), neuron=TINY), part(2, dense("a")))
    )


def mixed(steps: int) -> Network:
    """Identities of the image and of spikes, feedback, other edges."""
    return network(
        (3, 1, 2),
        part(3, identity("input"), dense("b", delay=1), neuron=TINY),
        part(3, conv("a", 1), identity("a"), neuron=TINY),
        part(3, dense("b")),
        steps=steps,
    )


def steps() -> Program:
    """Every spike as it is."""
    return program(mixed(steps=2))


def changes() -> Program:
    """Changes of spikes that go all ways, over identities too, and sums of three steps of two
    banks: a word of each, and one of the even bank."""
    return plan_program(mixed(steps=3), 2, changes=("a", "b")).program


def sums() -> Program:
    """Sums of a recording's pixels, and of spikes of one bank; spikes without a sign."""
    off = NeuronSpec(theta=2, negative="off", potential_bits=3)
    return program(
        network(
            (2, 1, 2),
            part(2, conv("input", 1), neuron=off),
            part(2, dense("a"), dense("input")),
            bits=1,
            timed=True,
        )
    )


def stage() -> Program:
    """Changes of what another stage sends, which has signs."""
    made = network(
        (3, 1, 2),
        part(3, identity("input"), neuron=TINY),
        part(3, conv("a", 1), identity("a", delay=1), neuron=TINY),
        part(3, dense("b")),
    )
    return plan_program(made, 2, range(1, 3), "a", changes=("a",)).program
