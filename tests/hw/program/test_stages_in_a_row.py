"""A pipeline of program cores against the golden model; stages that send spikes; where to cut."""

import numpy as np
import pytest

from gen.core.plan import PlanError, cuts, plan_programs
from gen.program.stage import plan_program
from hw.contract.edge import EdgeSpec
from hw.contract.network import Network
from hw.program.stage import ProgramStage
from sim.golden.model import GoldenModel
from tests.graphs import network_of, residual
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace
from tests.hw.program.cases import CASES, NEURONS
from tests.hw.program.programs import ProgramRun, conv, dense, network, part, random_pixels, split
from tests.sampling import sampled

CUT = {
    name: case
    for name, case in CASES.items()
    if name
    in (
        "kernel-3-stride",
        "pooling-inside",
        "identities-alone",
        "feedback",
        "recurrent-identity",
        "recording",
        "mixed-neurons",
        "many-groups",
    )
}


def case_image(name: str) -> Network:
    _, shape, parts, *more = CASES[name]
    return network(shape, *parts, **(more[0] if more else {}))


@pytest.mark.parametrize("name", CUT)
def test_a_pipeline_is_golden_and_keeps_the_law(name: str) -> None:
    """Cut wherever it can be; an empty image first, a full one last. A picture's network plays
    changes of all spikes, those of the stage before too; a recording's none."""
    plan = plan_programs(case_image(name), CASES[name][0])
    assert len(plan.stages) == len(cuts(plan.network.spec)) + 1
    pixels = random_pixels(plan.network, 3)
    run = ProgramRun(plan, np.concatenate([pixels[:1], pixels[2:], pixels[1:2]]))
    run.check_law()
    receive = [p.input_banks for p in run.programs[1:-1]]
    assert set(receive) <= {1 if plan.network.spec.timed_input else 2}


@pytest.mark.parametrize(
    "case",
    sampled(
        [
            ("recording", ("a", "b")),
            ("identities-alone", ()),
            ("mixed-neurons", ("b",)),
            ("many-groups", ()),
            ("recurrent-identity", ()),
        ]
    ),
)
def test_a_pipeline_with_other_changes(case: tuple[str, tuple[str, ...]]) -> None:
    name, changes = case
    plan = plan_programs(case_image(name), CASES[name][0], changes=changes)
    run = ProgramRun(plan, random_pixels(plan.network, 3)[1:])
    run.check_law()
    for stage, p in zip(run.stages, run.programs, strict=True):
        assert (p.input_banks == 2) == (stage.source in changes and p.classes == 0)


SIGNS = network(
    (3, 2, 2),
    part(3, conv("input", 1), dense("b", delay=1)),
    part(5, dense("a"), neuron=NEURONS["off"]),
    part(4, dense("b")),
    part(3, dense("c")),
    steps=3,
)
"""Its first stage has signs within, and sends spikes that have none."""


@pytest.mark.parametrize("pace", [FLOWING, JITTERY[0], JITTERY[3]], ids=str)
def test_a_stage_may_send_less_than_it_has(pace: Pace) -> None:
    plan = plan_programs(SIGNS, 4)
    run = ProgramRun(plan, random_pixels(SIGNS, 3), pace)
    first, second, _ = run.programs
    assert (first.spike_sign, second.input_sign) == (True, False)
    assert run.lively
    if pace == FLOWING:
        run.check_law()


@pytest.mark.parametrize("cycle", [2, 90, 200, 300, 400, 500, 600])
def test_a_reset_at_any_time(cycle: int) -> None:
    """With images in several stages, spikes on their way between them."""
    ProgramRun(plan_programs(SIGNS, 4), random_pixels(SIGNS, 3), reset_at=cycle).check_law()


@pytest.mark.parametrize("changes", [(), ("a",)], ids=["one-bank", "two-banks"])
@pytest.mark.parametrize("pace", [FLOWING, *JITTERY], ids=str)
def test_what_a_stage_sends(pace: Pace, changes: tuple[str, ...]) -> None:
    """The first stage by itself: its last layer's spikes, word by word, of all steps, out of the
    bank that they lie in; no word is lost or sent twice, whenever they are taken."""
    edges = conv("input", 3, padding=1), dense("a", delay=1)
    image = network((2, 3, 3), part(6, *edges), part(3, dense("a")), steps=3)
    plan = plan_program(image, 4, range(1), changes=changes)
    p, pixels = plan.program, random_pixels(image, 3)
    assert p.spike_banks == 1 + len(changes)
    core = ProgramStage(p)
    bench = Bench(core, pace)
    bench.feed(core.i, plan.pack(pixels))
    sink = bench.collect(core.o, 3 * 3 * 2 * 9)  # images, steps, groups, places
    bench.run(extra=30)
    found = np.array([split(word, 2, 4) for word in sink.values])
    spikes = (found & 1) * (1 - (found & 2))
    shape = (3, 3, 2, 9, 4)
    maps = spikes.reshape(shape).transpose(0, 1, 2, 4, 3).reshape(3, 3, 8, 9)
    expected = GoldenModel(image).run(pixels).spikes[0].reshape(3, 3, 6, 9)
    assert np.array_equal(maps[:, :, :6], expected)
    assert not maps[:, :, 6:].any()


# Where to cut


def test_cuts() -> None:
    """Before a layer that gets all it wants from the one before, unless anything goes by."""

    def of(*more: tuple[int, EdgeSpec]) -> list[int]:
        """Three layers in a row, and edges more, each to the layer of this number."""
        edges = [[dense("input")], [dense("a")], [dense("b")]]
        for n, edge in more:
            edges[n].append(edge)
        return cuts(network((2, 1, 1), *(part(2, *several) for several in edges)).spec)

    assert of() == [1, 2]
    assert of((0, dense("a", delay=1)), (1, dense("b", delay=1))) == [1, 2]
    assert of((1, dense("a", delay=1))) == [1, 2]
    assert of((2, dense("a"))) == [1]  # goes by b
    assert of((2, dense("input"))) == []
    assert of((0, dense("b", delay=1))) == [2]  # comes back


def test_a_wrong_cut_is_refused() -> None:
    network = network_of(residual())
    possible = [network.spec.layers[n].name for n in cuts(network.spec)]
    with pytest.raises(PlanError) as refused:
        plan_programs(network, 4, [2, 9])
    assert str(refused.value) == (
        f"Network residual can be cut before the layers {possible}, not before layer numbers "
        f"{sorted({2, 9} - set(cuts(network.spec)))}"
    )
    assert len(plan_programs(network, 4, []).stages) == 1
