"""LifArray: spikes and potentials of every neuron kind, at the threshold and at the bounds."""

from typing import Any

import numpy as np
import pytest

from hw.contract.builder import random_network
from hw.contract.checks import signed_bits
from hw.contract.network import Layer
from hw.contract.neuron import NeuronSpec
from hw.contract.spec import LayerSpec, NetworkSpec
from hw.layer.constants import COMMON, ConstantContents, ConstantFields, pack_constants
from hw.layer.geometry import LayerGeometry
from hw.layer.lif import LifArray
from hw.stream.payloads import drives
from hw.stream.payloads import spikes as spikes_layout
from sim.golden import model as golden
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace, bits, fields
from tests.sampling import sampled

DRIVE_BOUND = 40


def neuron(decay: str = "leak", reset: str = "hard", theta: int = 12, **more: Any) -> NeuronSpec:
    values = {
        "decay_shift": 0 if decay == "none" else 2,
        "step": 9 if reset == "soft" else 0,
        "potential_bits": 6,
        **more,
    }
    return NeuronSpec(theta=theta, decay=decay, reset=reset, **values)


def geometry(lanes: int, groups: int) -> LayerGeometry:
    return LayerGeometry(
        inputs=1,
        neurons=lanes * groups,
        lanes=lanes,
        banks=1,
        chunk=1,
        planes=1,
        signed=True,
        source_lanes=1,
    )


def layer_of(spec: NeuronSpec, size: int, thetas: bool, decays: bool, seed: int = 1) -> Layer:
    """So many neurons with constants of their own, at random."""
    first = LayerSpec(
        name="first",
        inputs=1,
        neurons=size,
        weight_bits=4,
        neuron=spec,
        channel_thresholds=thetas,
        channel_decays=decays,
    )
    last = LayerSpec(name="last", inputs=size, neurons=1, weight_bits=4)
    layers = (first, last)
    network = NetworkSpec(name="own", input_size=1, input_bits=1, steps=1, layers=layers)
    return random_network(network, seed).layers[0]


def reference(
    spec: NeuronSpec, drive: np.ndarray, own: Layer | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and stored potentials for drives (images, steps, neurons)."""
    thetas, steps, factors = (
        None if values is None else np.array([*values, *[rest] * (drive.shape[2] - len(values))])
        for values, rest in [
            (own and own.thetas, spec.theta),  # a lane without a neuron does not fire
            (own and own.reset_steps, 0),
            (own and own.factors, 0),
        ]
    )
    spikes, potentials = np.zeros_like(drive), np.zeros_like(drive)
    for image in range(len(drive)):
        u = np.full(drive.shape[2], spec.u0, dtype=np.int64)
        count, x = np.zeros_like(u), np.zeros_like(u)
        for step in range(drive.shape[1]):
            kept = step == 0 and spec.decay_when == "after"
            x = golden.integrate(x, drive[image, step], spec)
            v = (u if kept else golden.decay(u, spec, factors)) + x
            c = golden.fire(v, spec, count, thetas)
            count = count + c
            u = golden.saturate(golden.reset(v, c, spec, steps), spec)
            spikes[image, step], potentials[image, step] = c, u
    return spikes, potentials


def contents(own: Layer, g: LayerGeometry) -> ConstantContents:
    return ConstantContents(fields=ConstantFields.of(own.spec), rows=pack_constants(own, g))


def current_bound(spec: NeuronSpec, drive: int, steps: int) -> int:
    """The largest current that drives of this size make."""
    x = 0
    for _ in range(steps):
        x = int(golden.integrate(x, drive, spec))
    return x


def run(
    spec: NeuronSpec,
    drive: np.ndarray,
    g: LayerGeometry,
    pace: Pace = FLOWING,
    group_major: bool = False,
    own: Layer | None = None,
    **options: Any,
):
    """Spikes and potentials as `reference` gives them; the source and the sink for the law."""
    steps = drive.shape[1]
    bound = max(int(abs(drive).max()), 1)
    layout = drives(g.lanes, signed_bits(bound))
    current = current_bound(spec, bound, steps)
    lif = LifArray(
        spec,
        g,
        steps=steps,
        drive_bits=signed_bits(bound),
        membrane_bound=spec.u_max + current,
        current_bound=current,
        group_major=group_major,
        constants=None if own is None else contents(own, g),
    )
    order = np.arange(drive.size // g.lanes).reshape(-1, steps, g.groups)
    if group_major:
        order = order.swapaxes(1, 2)
    words = drive.reshape(-1, g.lanes)[order.reshape(-1)]
    bench = Bench(lif, pace)
    source = bench.feed(lif.i, [bits(layout, word) for word in words.tolist()])
    sink = bench.collect(lif.o, len(words))
    potentials: Any = lif.tap_potentials
    seen = bench.watch(lif.tap_fire, potentials.as_value())
    bench.run(extra=8, **options)
    spikes: Any = [fields(spikes_layout(spec, g.lanes), raw) for raw in sink.values]
    shape = potentials.shape()
    stored = [fields(shape, raw) for fired, raw in seen if fired]
    negative = (lambda e: e.negative) if spec.signed else (lambda e: 0)
    for word in spikes:  # a spike that is not has no sign
        assert all(not negative(c) or c.magnitude for c in word)
    c = [[(1 - 2 * negative(e)) * e.magnitude for e in word] for word in spikes]
    u = [[word[k] for k in range(g.lanes)] for word in stored]
    back = np.argsort(order.reshape(-1))
    c, u = np.array(c)[back], np.array(u)[back]
    return c.reshape(drive.shape), u.reshape(drive.shape), source, sink


def check(
    spec: NeuronSpec,
    drive: np.ndarray,
    g: LayerGeometry,
    pace: Pace = FLOWING,
    group_major: bool = False,
    own: Layer | None = None,
    **options: Any,
):
    spikes, potentials, source, sink = run(spec, drive, g, pace, group_major, own, **options)
    expected_spikes, expected_potentials = reference(spec, drive, own)
    assert np.array_equal(spikes, expected_spikes)
    assert np.array_equal(potentials, expected_potentials)
    return spikes, potentials, source, sink


def random_drives(shape: tuple[int, ...], seed: int, bound: int = DRIVE_BOUND) -> np.ndarray:
    return np.random.default_rng(seed).integers(-bound, bound + 1, shape)


FACTOR = neuron("factor", "soft", decay_shift=12, decay_factor=3686, u0=-7)
"""snnTorch's 0.9, in three levels of additions."""

ROWS = {
    "ternary": neuron("shift", "hard"),
    "binary": neuron("leak", "hard", negative="off"),
    "binary-soft": neuron("none", "soft", negative="off"),
    "two-thresholds": neuron("none", "soft", theta=9, theta_negative=20),
    "exact-decay": neuron("shift", "hard", theta=12 << 6, fraction_bits=6, potential_bits=11),
    "termapping": neuron("none", "soft", negative="guarded", theta=16, step=16, u0=8),
    "termapping-not-a-power": neuron("none", "soft", negative="guarded", theta=11, step=11),
    "augmented": neuron("none", "soft", theta=8, step=8, limit=4, negative="guarded", u0=4),
    "augmented-not-a-power": neuron("none", "soft", theta=7, step=7, limit=15, negative="guarded"),
    "augmented-free": neuron("leak", "soft", theta=4, step=5, limit=3, theta_negative=8),
    "augmented-hard": neuron("leak", "hard", theta=6, limit=5),
    "augmented-binary": neuron("none", "soft", theta=4, step=4, limit=2, negative="off"),
    "guarded-hard": neuron("shift", "hard", theta=9, negative="guarded"),
    "factor": FACTOR,
    "factor-floor": neuron("factor", "hard", decay_factor=3, decay_rounding="floor"),
    "factor-of-two-terms": neuron("factor", "soft", decay_shift=5, decay_factor=5),
    "factor-counted": neuron(
        "factor", "soft", theta=6, step=7, limit=3, decay_shift=12, decay_factor=2731
    ),
    "leak-floor": neuron("leak", "soft", decay_rounding="floor", u0=-5),
    "shift-floor": neuron("shift", "hard", decay_rounding="floor", theta_negative=31, u0=-3),
    "current-that-stays": neuron("shift", "soft", current="none", theta_negative=31),
    "current-alone": neuron("none", "hard", negative="off", current="leak", current_shift=3),
    "current-by-factors": neuron(
        "factor",
        "soft",
        decay_shift=12,
        decay_factor=3686,
        current="factor",
        current_shift=4,
        current_factor=13,
        decay_rounding="floor",
        fraction_bits=2,
        theta=48,
        step=48,
        u0=-7,
        potential_bits=9,
    ),
    "current-by-a-longer-factor": neuron(
        "leak", "hard", current="factor", current_shift=12, current_factor=2731
    ),
    "current-guarded": neuron(
        "leak",
        "soft",
        theta=8,
        step=8,
        limit=3,
        negative="guarded",
        current="shift",
        current_shift=2,
        decay_when="after",
        u0=5,
        potential_bits=9,
    ),
    "spide": neuron("none", "soft", theta=10, step=20, negative="off"),
    "spide-leak": neuron("leak", "soft", step=18, negative="off", decay_when="after", u0=11),
    "spide-backward": neuron("leak", "soft", theta=9, step=18, decay_when="after", u0=-8),
}


@pytest.mark.parametrize("pace", sampled([JITTERY[1], FLOWING]), ids=str)
@pytest.mark.parametrize(("lanes", "groups"), [(1, 1), (17, 1), (2, 3)])
@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_neuron_table(row: str, lanes: int, groups: int, pace: Pace) -> None:
    drive = random_drives((3, 6, lanes * groups), seed=lanes)
    drive[1] = np.abs(drive[1]) // 2  # one image that drives upwards, so that counts grow
    check(ROWS[row], drive, geometry(lanes, groups), pace)


@pytest.mark.parametrize("limit", range(1, 16))
@pytest.mark.parametrize("theta", [8, 7])
def test_every_limit_at_every_multiple_of_the_threshold(limit: int, theta: int) -> None:
    """|v| at n * theta and one below, for every n up to beyond the limit, on both sides."""
    spec = neuron(
        "none", "soft", theta, theta_negative=theta + 3, step=theta, limit=limit, potential_bits=9
    )
    up = [n * theta + k for n in range(1, limit + 3) for k in (-1, 0)]
    down = [-(n * (theta + 3) + k) for n in range(1, limit + 3) for k in (-1, 0)]
    drive = np.array([[up + down]])
    spikes, _, _, _ = check(spec, drive, geometry(drive.size, 1))
    assert spikes.max() == limit
    assert spikes.min() == -limit


def test_several_spikes_of_the_largest_potentials() -> None:
    """The quotient sees every bit that a potential before firing may have."""
    drive = np.array([[[40, -40, 20]] * 3])
    check(neuron("none", "soft", theta=4, step=4, limit=3, potential_bits=6), drive, geometry(3, 1))


def test_a_guard_lets_no_count_fall_below_zero() -> None:
    """Two spikes up, then pulled down for long: two spikes down and no more."""
    spec = neuron("none", "soft", theta=4, step=4, limit=3, negative="guarded", potential_bits=8)
    drive = np.array([[[8], [-20], [-20], [5], [40]]])
    spikes, potentials, _, _ = check(spec, drive, geometry(1, 1))
    assert spikes.flatten().tolist() == [2, -2, 0, 0, 3]
    assert potentials.flatten().tolist() == [0, -12, -32, -27, 1]


KINDS = [(d, r) for d in ("none", "shift", "leak") for r in ("hard", "soft")]


@pytest.mark.parametrize(
    ("decay", "reset", "lanes", "groups"),
    [(*kind, *shape) for kind in KINDS for shape in [(1, 1), (17, 1), (2, 3)]]
    + [("leak", "soft", *shape) for shape in [(16, 1), (17, 2), (33, 2)]],
)
def test_neurons_are_the_golden_ones(decay, reset, lanes, groups) -> None:
    drive = random_drives((3, 5, lanes * groups), seed=lanes, bound=20)
    check(neuron(decay, reset, u0=-5), drive, geometry(lanes, groups))


@pytest.mark.parametrize("pace", JITTERY, ids=str)
@pytest.mark.parametrize(("lanes", "groups"), [(2, 3), (33, 1)])
def test_neurons_do_not_mind_the_pace(lanes: int, groups: int, pace: Pace) -> None:
    drive = random_drives((3, 4, lanes * groups), seed=1)
    check(neuron("leak", "soft"), drive, geometry(lanes, groups), pace)


@pytest.mark.parametrize("pace", sampled([FLOWING, JITTERY[2]]), ids=str)
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(("lanes", "groups"), [(1, 1), (2, 3), (17, 2)])
@pytest.mark.parametrize(("decay", "reset"), [("leak", "soft"), ("none", "hard")])
def test_neurons_group_by_group(decay, reset, lanes, groups, steps, pace) -> None:
    """All steps of a group before the next group's; each starts from u0."""
    drive = random_drives((3, steps, lanes * groups), seed=steps, bound=20)
    check(neuron(decay, reset, u0=7), drive, geometry(lanes, groups), pace, group_major=True)


@pytest.mark.parametrize("k", [1, 2, 31])
@pytest.mark.parametrize(("decay", "reset"), KINDS[2:])
def test_decays_of_every_potential(decay: str, reset: str, k: int) -> None:
    """Step 1 puts each potential there is into a neuron, step 2 lets it decay undisturbed."""
    spec = neuron(decay, reset, theta=31, decay_shift=k)
    levels = np.arange(-31, 32)
    drive = np.stack([levels, np.zeros_like(levels), np.zeros_like(levels)])[None]
    _, potentials, _, _ = check(spec, drive, geometry(9, 7))
    assert set(potentials[0, 0].tolist()) >= set(range(-30, 31))


@pytest.mark.parametrize(("decay", "reset"), KINDS)
def test_firing_at_the_threshold_and_one_below(decay: str, reset: str) -> None:
    spec = neuron(decay, reset, theta=12)
    drive = np.array([[[12, -12, 11, -11, 13, -13, 0]]])
    spikes, potentials, _, _ = check(spec, drive, geometry(7, 1))
    assert spikes.tolist() == [[[1, -1, 0, 0, 1, -1, 0]]]
    after = [0, 0, 11, -11, 0, 0, 0] if reset == "hard" else [3, -3, 11, -11, 4, -4, 0]
    assert potentials.tolist() == [[after]]


def test_threshold_reached_together_with_what_is_left() -> None:
    """v = d + I at +-theta and just inside it, where d is not zero."""
    spec = neuron("leak", "hard", theta=12)  # 8 leaks to 6, -8 to -6
    first, second = [8, 8, -8, -8], [6, 5, -6, -5]
    spikes, _, _, _ = check(spec, np.array([[first, second]]), geometry(4, 1))
    assert spikes[0, 1].tolist() == [1, 0, -1, 0]


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("theta", [1, 2, 31])
def test_thresholds_at_the_ends_of_the_width(theta: int, reset: str) -> None:
    spec = neuron("none", reset, theta=theta, potential_bits=6)
    check(spec, random_drives((2, 6, 8), seed=theta), geometry(8, 1))


@pytest.mark.parametrize("decay", ["none", "shift", "leak"])
def test_soft_reset_saturates_at_both_bounds(decay: str) -> None:
    spec = neuron(decay, "soft", theta=12, step=9, potential_bits=6)
    top = spec.u_max
    edge = top + spec.step  # after the reset exactly u_max
    drive = np.array([[[edge, edge + 1, edge - 1, -edge, -edge - 1, 1 - edge, 200, -200]] * 3])
    _, potentials, _, _ = check(spec, drive, geometry(8, 1))
    assert potentials[0, 0].tolist() == [top, top, top - 1, -top, -top, 1 - top, top, -top]


@pytest.mark.parametrize("step", [1, 30, 100])
def test_reset_step_of_any_size(step: int) -> None:
    """A step beyond twice the threshold turns the sign of the potential, down to its bound."""
    spec = neuron("none", "soft", step=step)
    _, potentials, _, _ = check(spec, random_drives((2, 6, 8), seed=step), geometry(8, 1))
    if step == 100:
        assert abs(potentials).max() == spec.u_max


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("decay", "reset"), KINDS)
def test_every_image_starts_from_u0(decay: str, reset: str, groups: int) -> None:
    """Images of one step and of several; what the image before left must not show."""
    for steps in (1, 2):
        drive = np.zeros((3, steps, 2 * groups), dtype=np.int64)
        drive[0] = 7
        spec = neuron(decay, reset, theta=20, u0=-19)
        _, potentials, _, _ = check(spec, drive, geometry(2, groups))
        assert np.array_equal(potentials[1], potentials[2])


@pytest.mark.parametrize(("decay", "reset"), KINDS)
def test_the_mirror_image_spikes_mirrored(decay: str, reset: str) -> None:
    drive = random_drives((2, 8, 8), seed=9)
    spikes, potentials, _, _ = run(neuron(decay, reset, u0=4), drive, geometry(8, 1))
    mirrored, mirrored_potentials, _, _ = run(neuron(decay, reset, u0=-4), -drive, geometry(8, 1))
    assert np.array_equal(mirrored, -spikes)
    assert np.array_equal(mirrored_potentials, -potentials)


@pytest.mark.parametrize("pace", [FLOWING, Pace(idle=0.9, seed=1), JITTERY[2]], ids=str)
@pytest.mark.parametrize("group_major", [False, True], ids=["steps", "groups"])
@pytest.mark.parametrize(("lanes", "groups"), [(1, 1), (16, 2), (17, 1), (33, 2)])
@pytest.mark.parametrize("row", ["ternary", "augmented", "factor"])
def test_cycle_law(row: str, lanes: int, groups: int, group_major: bool, pace: Pace) -> None:
    check_law(ROWS[row], geometry(lanes, groups), pace, group_major)


@pytest.mark.parametrize(
    ("row", "cycles"),
    [
        ("ternary", 3),
        ("two-thresholds", 3),
        ("factor", 3),
        ("current-alone", 4),
        ("termapping", 5),
        ("augmented-not-a-power", 5),
        ("current-guarded", 6),
    ],
)
def test_latencies_are_those_of_docs_cycles(row: str, cycles: int) -> None:
    """The hardware waits as long as its law says, which a longer one would hide."""
    assert LifArray.latency(ROWS[row]) == cycles


def check_law(
    spec: NeuronSpec, g: LayerGeometry, pace: Pace, group_major: bool, own: Layer | None = None
) -> None:
    drive = random_drives((2, 6, g.neurons), seed=2)
    _, _, source, sink = check(spec, drive, g, pace, group_major, own)
    fields = COMMON if own is None else ConstantFields.of(own.spec)
    free = LifArray.start_cycles(g, spec, fields)  # a reset is followed by SETTLE
    hands = zip(source.offered, source.taken, sink.offered, sink.taken, strict=True)
    for n, (offered, taken, shown, sent) in enumerate(hands, 1):
        assert shown == max(offered, free) + LifArray.latency(spec, fields)
        assert taken == sent + len(g.slices)
        free = sent + LifArray.recovery(g, spec)
        if g.groups > 1 and (not group_major or n % drive.shape[1] == 0):
            free += LifArray.fetch_cycles(fields)


@pytest.mark.parametrize("group_major", [False, True], ids=["steps", "groups"])
@pytest.mark.parametrize("row", ["current-guarded", "current-by-a-longer-factor"])
def test_cycle_law_of_currents(row: str, group_major: bool) -> None:
    test_cycle_law(row, 17, 2, group_major, FLOWING)


# Constants by channel

MANY = {"decay_shift": 12, "decay_factor": 0}
COUNTED = {"limit": 5, "theta": 9, "step": 9, "potential_bits": 8}
OWN = {  # neuron, thresholds (and steps) by channel, decays by channel
    "thresholds": (neuron("leak", "hard"), True, False),
    "thresholds-binary": (neuron("none", "hard", negative="off"), True, False),
    "thresholds-guarded": (neuron("shift", "hard", theta=7, negative="guarded"), True, False),
    "thresholds-counted-hard": (neuron("leak", "hard", theta=9, limit=2), True, False),
    "steps": (neuron("none", "soft", theta=12, step=31), True, False),
    "steps-counted": (neuron("leak", "soft", **COUNTED), True, False),
    "steps-counted-binary": (
        neuron("none", "soft", **{**COUNTED, "limit": 3}, negative="off"), True, False,
    ),
    "steps-counted-guarded": (
        neuron("none", "soft", **{**COUNTED, "limit": 15}, negative="guarded"), True, False,
    ),
    "decays": (neuron("factor", "hard", **{**MANY, "decay_shift": 3}), False, True),
    "decays-of-a-bit": (
        neuron("factor", "soft", **{**MANY, "decay_shift": 1}, theta_negative=20), False, True,
    ),
    "decays-counted": (neuron("factor", "soft", **COUNTED | MANY, negative="guarded"), False, True),
    "all": (neuron("factor", "soft", **MANY, negative="off", decay_rounding="floor"), True, True),
    "all-counted": (neuron("factor", "soft", **COUNTED | MANY, decay_when="after"), True, True),
    "all-with-currents": (
        neuron(
            "factor",
            "soft",
            **{**MANY, "decay_shift": 2},
            current="factor",
            current_shift=12,
            current_factor=2731,
            fraction_bits=1,
        ),
        True,
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("pace", sampled([JITTERY[1], FLOWING]), ids=str)
@pytest.mark.parametrize(
    "shape", sampled([(2, 3, False), (3, 1, False), (2, 3, True), (17, 2, False)], 4), ids=str
)
@pytest.mark.parametrize("row", OWN)
def test_constants_by_channel(row: str, shape: tuple[int, int, bool], pace: Pace) -> None:
    (lanes, groups, group_major), (spec, thetas, decays) = shape, OWN[row]
    own = layer_of(spec, lanes * groups - (groups > 1), thetas, decays)
    drive = random_drives((3, 5, lanes * groups), seed=lanes)
    drive[1] = np.abs(drive[1]) // 2
    drive[..., own.spec.neurons :] = 0
    spikes, _, _, _ = check(spec, drive, geometry(lanes, groups), pace, group_major, own)
    assert not spikes[..., own.spec.neurons :].any()


@pytest.mark.parametrize("pace", sampled([FLOWING, Pace(idle=0.9, seed=1), JITTERY[2]], 3), ids=str)
@pytest.mark.parametrize("group_major", [False, True], ids=["steps", "groups"])
@pytest.mark.parametrize("shape", sampled([(2, 3), (1, 1), (17, 2)], 3), ids=str)
@pytest.mark.parametrize("row", ["thresholds", "all-counted", "all-with-currents"])
def test_cycle_law_by_channel(row, shape, group_major, pace) -> None:
    (spec, thetas, decays), g = OWN[row], geometry(*shape)
    check_law(spec, g, pace, group_major, layer_of(spec, g.neurons, thetas, decays))


@pytest.mark.parametrize("reset_at", sampled([3, 40, 57, 61, 75, 90], 3))
def test_constants_are_read_anew_after_a_reset(reset_at: int) -> None:
    spec, thetas, decays = OWN["all-counted"]
    own, g = layer_of(spec, 51, thetas, decays), geometry(17, 3)
    check(spec, random_drives((2, 3, 51), seed=3), g, own=own, reset_at=reset_at)


def test_every_threshold_and_step_at_its_multiples() -> None:
    """|v| at n * theta and one below, for every n up to beyond the limit, on both sides."""
    spec = neuron("none", "soft", 11, step=13, limit=6, potential_bits=9)
    own = layer_of(spec, 40, True, False)
    assert own.thetas is not None
    up = [n * own.thetas - k for n in range(1, 9) for k in (0, 1)]
    drive = np.stack([*up, *(-v for v in up)])[:, None]  # an image each
    spikes, _, _, _ = check(spec, drive, geometry(40, 1), own=own)
    assert set(spikes.flatten().tolist()) == set(range(-6, 7))


@pytest.mark.parametrize("k", sampled([4, 1, 12], 3))
def test_every_factor_of_every_potential(k: int) -> None:
    """Step 1 puts potentials into neurons, step 2 lets them decay; 0 and 2^k are among them."""
    spec = neuron("factor", "hard", theta=31, **{**MANY, "decay_shift": k})
    own = layer_of(spec, 18, False, True)
    levels = np.arange(-31, 32)[:, None].repeat(18, 1)
    drive = np.stack([levels, np.zeros_like(levels)], axis=1)
    _, potentials, _, _ = check(spec, drive, geometry(9, 2), own=own)
    assert own.factors is not None
    assert {0, 2**k} <= set(own.factors.tolist())
    assert (potentials[:, 1, own.factors == 0] == 0).all()
