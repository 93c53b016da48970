"""Cores that mix kinds of stages, and dense layers whose input changes at every step: every spike,
potential and logit against the golden model, every class in the cycle of the law."""

from typing import Any

import numpy as np
import pytest

from gen.core.law import CycleLaw
from gen.core.plan import (
    CorePlan,
    PlanError,
    dense_tail,
    plan_core,
    plan_mixed,
    plan_network,
    plan_windows,
)
from gen.layer.stage import LayerOptions
from gen.stage.taps import Seen
from hw.contract.network import Network
from hw.core import Core
from sim.golden.model import GoldenModel
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace
from tests.hw.layer.cores import check_results
from tests.hw.program.programs import conv, dense, network, part, random_pixels

MAPS = network(
    (1, 5, 5),
    part(6, conv("input", 3)),
    part(5, conv("a", 3, padding=1)),
    part(9, dense("b", pool=2)),
    part(4, dense("c")),
    part(3, dense("d")),
    steps=2,
    seed=5,
)
"""Maps of 3x3 whose pooling leaves a row and a column over; then three dense layers."""

FEEDBACK = network(
    (2, 3, 3),
    part(4, conv("input", 3, padding=1), conv("a", 1, delay=1)),
    part(7, dense("a")),
    part(3, dense("b")),
    steps=2,
    seed=2,
)

SPIKES = network(
    (37, 1, 1),
    part(13, dense("input")),
    part(6, dense("a")),
    part(4, dense("b")),
    steps=5,
    bits=1,
    timed=True,
    seed=3,
)
"""A plain chain on spike trains."""

COUNTS = network(
    (2, 3, 4), part(9, dense("input")), part(3, dense("a")), steps=3, bits=3, timed=True, seed=4
)

PICTURE = network(
    (1, 4, 4), part(3, conv("input", 3)), part(5, dense("a")), part(3, dense("b")), seed=5
)

RECORDING = network(
    (2, 3, 3),
    part(3, conv("input", 3, padding=1)),
    part(5, dense("a")),
    part(3, dense("b")),
    timed=True,
    seed=5,
)

CASES: dict[str, CorePlan] = {
    "maps": plan_mixed(MAPS, 4, options=LayerOptions(lanes=9)),
    "maps-wide-words": plan_mixed(MAPS, 8, options=LayerOptions(lanes=4, banks=2)),
    "maps-narrow-words": plan_mixed(MAPS, 32, options=LayerOptions(lanes=3)),
    "maps-lean": plan_mixed(MAPS, 4, options=LayerOptions(lanes=8, fire_lanes=4, lean=True)),
    "windows": plan_windows(PICTURE, 4),
    "windows-of-a-recording": plan_windows(RECORDING, 4, 2, LayerOptions(lanes=4)),
    "feedback": plan_mixed(FEEDBACK, 2, options=LayerOptions(lanes=16)),
    "spikes": plan_core(SPIKES, 16),
    "spikes-groups-banks": plan_core(SPIKES, 4, 4),
    "spikes-lean": plan_core(SPIKES, 8, fire_lanes=4, lean=True),
    "counts": plan_core(COUNTS, 9),
    "counts-groups": plan_core(COUNTS, 2, 2),
}


class CoreRun:
    """A core with taps on some pictures or recordings; what every tap shows is the golden model's.

    compared: how many values.
    """

    def __init__(
        self, plan: CorePlan, pixels: np.ndarray, pace: Pace = FLOWING, **run: Any
    ) -> None:
        self.plan, self.pixels = plan, pixels
        parts = [stage.component(files=False, taps=True) for stage in plan.stages]
        core = Core(parts, taps=True)
        bench = Bench(core, pace, limit=100_000)
        self.source = bench.feed(core.i, plan.pack(pixels))
        self.sink = bench.collect(core.o, len(pixels) * plan.network.spec.classes)
        seen = [
            bench.watch(point.valid, point.data) for one in parts for point in one.taps.values()
        ]
        bench.run(extra=60, settle=plan.settle, **run)
        self.trace = GoldenModel(plan.network).run(pixels)
        self.compared = 0
        images = Seen(pixels, self.trace.spikes, self.trace.potentials)
        taps = [tap for stage in plan.stages for tap in stage.taps()]
        for tap, (_, bits), cycles in zip(taps, core.taps, seen, strict=True):
            size = -(-bits // 32)
            raw = b"".join(data.to_bytes(4 * size, "little") for valid, data in cycles if valid)
            rows = np.frombuffer(raw, dtype="<u4").reshape(-1, size)
            assert len(rows) == tap.rows(images), tap.told
            for what, found, expected in tap.compare(rows, images):
                assert np.array_equal(found, expected), what
                self.compared += expected.size
        check_results(plan, self.sink, self.trace)

    def check_law(self) -> None:
        classes = self.plan.network.spec.classes
        first = self.source.taken[0]  # a window stage takes a word as its last position is
        ends = [cycle - first for cycle in self.sink.taken[classes - 1 :: classes]]
        assert ends == CycleLaw(self.plan).predict(self.pixels, self.trace.spikes).tolist()


PACES = [
    *((name, FLOWING) for name in CASES),
    *((name, JITTERY[0]) for name in ("maps", "windows", "feedback", "spikes-groups-banks")),
    *((name, JITTERY[3]) for name in ("maps-narrow-words", "spikes-lean", "counts")),
]


@pytest.mark.parametrize(("name", "pace"), PACES, ids=str)
def test_every_value_is_golden(name: str, pace: Pace) -> None:
    plan = CASES[name]
    run = CoreRun(plan, random_pixels(plan.network, 2), pace)
    assert run.compared > 0
    assert all(spikes.any() for spikes in run.trace.spikes)
    if pace == FLOWING:
        run.check_law()


@pytest.mark.parametrize(
    ("name", "cycle"), [("maps", 250), ("windows", 100), ("spikes", 3), ("spikes", 40)]
)
def test_a_reset_at_any_time(name: str, cycle: int) -> None:
    plan = CASES[name]
    CoreRun(plan, random_pixels(plan.network, 2), reset_at=cycle).check_law()


def test_many_pictures_in_a_row_keep_the_law() -> None:
    """Long enough that every stage has waited for every other one."""
    for name in ("maps-wide-words", "windows", "counts-groups"):
        plan = CASES[name]
        CoreRun(plan, random_pixels(plan.network, 6, seed=11)).check_law()


def test_what_a_network_gets_by_itself() -> None:
    mixed = plan_network(MAPS)
    assert (mixed.schedule, len(mixed.stages)) == ("mixed", 4)
    assert mixed.expected_cycles() == mixed.stages[0].expected_cycles()  # the tail keeps up
    assert plan_network(MAPS, schedule="shared").schedule == "shared"
    assert plan_network(SPIKES).schedule == "pipelined"
    assert [dense_tail(n.spec) for n in (MAPS, FEEDBACK, SPIKES, COUNTS)] == [2, 1, 0, 0]
    with pytest.raises(PlanError, match="must have dense layers behind others to mix"):
        plan_mixed(SPIKES)


def test_weights_behind_pooling_are_those_of_every_value() -> None:
    """What is summed shares a weight; what is left over has none: the sum is the contract's."""
    layer = MAPS.layers[2]
    values = np.random.default_rng(1).integers(-1, 2, (20, 5, 3, 3))
    pooled = values[:, :, :2, :2].reshape(20, 5, 1, 2, 1, 2).sum(axis=(3, 5)).reshape(20, -1)
    expected = pooled @ layer.kernels[0].astype(int).T
    found = values.reshape(20, -1) @ layer.dense_weights.astype(int).T
    assert np.array_equal(found, expected)


def recording(network: Network, share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((2, network.spec.image_size)) < share).astype(np.uint8)


def test_silent_steps_of_a_recording_cost_next_to_nothing() -> None:
    plan = CASES["spikes"]
    quiet, busy = (
        CycleLaw(plan).predict(
            pixels := recording(SPIKES, share, 1), GoldenModel(SPIKES).run(pixels).spikes
        )
        for share in (0.0, 0.9)
    )
    assert quiet[1] < busy[1] / 2
