"""What a program says of its memories is what its hardware has."""

from typing import Any

import numpy as np
import pytest

from gen.learn.stage import plan_learning
from gen.program.stage import plan_program
from gen.window.stage import plan_window
from hw.contract.neuron import NeuronSpec, ReadoutSpec
from hw.learn.masters import Masters
from hw.program.table import Table
from tests.hw.memories import memories_of
from tests.hw.program.programs import conv, dense, network, part
from tests.learning import learning_network

GUARDED = NeuronSpec(
    theta=9, limit=3, negative="guarded", reset="soft", step=9, decay="none", potential_bits=9
)
CURRENT = NeuronSpec(theta=9, potential_bits=9, current="shift", current_shift=1)


def maps(neuron: NeuronSpec | None = None, readout: ReadoutSpec | None = None, **more: Any) -> Any:
    neurons: Any = {} if neuron is None else {"neuron": neuron}
    last: Any = {} if readout is None else {"readout": readout}
    return network(
        (2, 4, 4),
        part(5, conv("input", 3, padding=1), **neurons),
        part(6, conv("a", 3, stride=2), **neurons),
        part(9, dense("b"), **last),
        **more,
    )


PLANS: dict[str, Any] = {
    "ternary": lambda: plan_program(maps(), 4),
    "binary": lambda: plan_program(
        maps(NeuronSpec(theta=9, negative="off", reset="soft", step=9, potential_bits=9)), 4
    ),
    "counted and guarded": lambda: plan_program(maps(GUARDED), 4),
    "with a current": lambda: plan_program(maps(CURRENT), 4),
    "a readout that leaks": lambda: plan_program(
        maps(readout=ReadoutSpec(decay="leak", decay_shift=1, value="max")), 4
    ),
    "a recording": lambda: plan_program(maps(timed=True, steps=3), 4),
    "windows": lambda: plan_window(maps(), 4),
    "learning": lambda: plan_learning(
        Masters.of(learning_network(np.random.default_rng(1), feedback=True)), 4
    ).stages[0],
}


@pytest.mark.parametrize("name", PLANS)
def test_memories_are_those_of_the_hardware(name: str) -> None:
    """Each with as many words and bits as it is said to have; ROMs that bitstreams exchange have
    rows enough to be found again."""
    plan = PLANS[name]()
    there = memories_of(plan.component(files=False))
    for what, (words, bits) in plan.program.memories.items():
        size = words, bits
        if what in ("program", "weights") and not there[size]:
            size = max(words, Table.SWAPPED_ROWS), bits
        assert there[size], (what, words, bits, there)
        there[size] -= 1
