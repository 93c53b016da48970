"""What a core is made of."""

import re
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil  # type: ignore[attr-defined]

from gen.core.plan import CorePlan, plan_core, plan_mixed
from gen.layer.stage import LayerOptions
from hw.core import Core
from hw.stream.payloads import Kind
from sim.golden.model import GoldenModel
from tests.hw.driving import JITTERY, Bench
from tests.hw.program.programs import conv, dense, network, part, random_pixels
from tests.hw.proving import ports_of
from tests.networks import random_chain


@pytest.mark.parametrize("taps", [False, True])
def test_core_has_no_multiplier_and_taps_only_on_request(taps: bool) -> None:
    network = random_chain(np.random.default_rng(1), (10, 19, 7, 3), steps=3, input_bits=3)
    core: Any = plan_core(network, 19, 2).component(files=False, taps=taps)
    text = rtlil.convert(core, ports=ports_of(core), name="core")
    cells = set(re.findall(r"cell (\$\w+)", text))
    assert {"$add", "$memrd_v2"} <= cells
    assert not cells & {"$mul", "$div", "$mod", "$pow", "$divfloor", "$modfloor", "$macc"}
    ports = set(re.findall(r"wire .*(?:input|output) \d+\s+\\(\S+)", text))
    assert {"clk", "rst", "i__valid", "o__payload"} <= ports
    assert any("tap" in port for port in ports) == taps


EVENTS: dict[str, CorePlan] = {
    "layers": plan_core(
        random_chain(np.random.default_rng(1), (9, 8, 5, 3), steps=3, input_bits=2), 4, 2
    ),
    "mixed": plan_mixed(
        network((1, 4, 4), part(3, conv("input", 3)), part(5, dense("a")), part(3, dense("b"))),
        4,
        options=LayerOptions(lanes=5, banks=4),
    ),
}


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_the_rows_that_are_added(name: str) -> None:
    """A bit for each, of each stage in turn, as many as the golden model's spikes demand; of a
    layer's banks, each a cycle after its spike was taken."""
    plan = EVENTS[name]
    pixels = random_pixels(plan.network, 3)
    parts = [stage.component(files=False, events=True, taps=True) for stage in plan.stages]
    core = Core(parts, events=True, taps=True)
    bench = Bench(core, JITTERY[2])
    bench.feed(core.i, plan.pack(pixels))
    bench.collect(core.o, len(pixels) * plan.network.spec.classes)
    seen = bench.watch(core.events)
    taps = [
        {k: bench.watch(point.valid, point.data) for k, point in one.taps.items()} for one in parts
    ]
    bench.run(extra=60, settle=plan.settle)
    spikes = GoldenModel(plan.network).run(pixels).spikes
    start = 0
    for stage, one, mine in zip(plan.stages, parts, taps, strict=True):
        lanes = range(start, start := start + len(one.additions))
        bits = [[raw >> n & 1 for (raw,) in seen] for n in lanes]
        expected = [stage.additions(p, [s[n] for s in spikes]) for n, p in enumerate(pixels)]
        assert sum(map(sum, bits)) == sum(expected) > 0
        for n, bank in enumerate(bits):
            if f"events{n}" in mine:
                taken = [valid and raw & 3 == Kind.SPIKE.value for valid, raw in mine[f"events{n}"]]
                assert bank == [0, *taken[:-1]]
    assert start == len(core.events)
