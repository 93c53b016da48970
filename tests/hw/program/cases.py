"""Networks of maps, a case each: every kind of edge, of neuron and of pace of a program core.

Maps are as small as the case admits: what a network is made of matters here, not its size.
"""

from dataclasses import replace

from hw.contract.neuron import NeuronSpec
from tests.hw.program.programs import Part, conv, dense, identity, part

QUICK = NeuronSpec(theta=9, potential_bits=5)

NEURONS = {
    "off": NeuronSpec(theta=20, negative="off", potential_bits=9),
    "soft": NeuronSpec(theta=20, reset="soft", step=17, potential_bits=9),
    "soft-saturates": NeuronSpec(theta=9, reset="soft", step=9, potential_bits=5),
    "off-saturates": NeuronSpec(theta=9, negative="off", potential_bits=5),
    "unequal": NeuronSpec(theta=20, theta_negative=7, potential_bits=6),
    "unequal-soft": NeuronSpec(theta=7, theta_negative=20, reset="soft", step=40, potential_bits=7),
    "shift": NeuronSpec(theta=20, decay="shift", decay_shift=2, potential_bits=6, u0=-13),
    "leak": NeuronSpec(theta=20, decay="leak", decay_shift=1, potential_bits=6, u0=-19),
    "leak-after": NeuronSpec(
        theta=20, decay="leak", decay_shift=2, decay_when="after", potential_bits=6, u0=19
    ),
    "shift-after": NeuronSpec(
        theta=20, decay="shift", decay_shift=1, decay_when="after", potential_bits=6, u0=-7
    ),
    "fraction": NeuronSpec(
        theta=80, decay="shift", decay_shift=1, fraction_bits=2, potential_bits=8, u0=5
    ),
    "fraction-soft-leak-off": NeuronSpec(
        theta=90,
        decay="leak",
        decay_shift=3,
        fraction_bits=3,
        reset="soft",
        step=50,
        negative="off",
        potential_bits=9,
    ),
    "forgets-all": NeuronSpec(theta=9, decay="shift", decay_shift=12, potential_bits=6, u0=8),
    "factor": NeuronSpec(
        theta=20, decay="factor", decay_factor=3686, decay_shift=12, potential_bits=6, u0=-13
    ),
    "factor-floor": NeuronSpec(
        theta=20,
        decay="factor",
        decay_factor=3,
        decay_shift=2,
        decay_rounding="floor",
        reset="soft",
        step=15,
        negative="off",
        potential_bits=8,
    ),
    "u0": NeuronSpec(theta=20, u0=19, potential_bits=6),
}

CURRENTS = {
    "current": NeuronSpec(
        theta=60,
        decay="factor",
        decay_shift=12,
        decay_factor=3686,
        current="factor",
        current_shift=12,
        current_factor=3277,
        negative="off",
        reset="soft",
        step=60,
        potential_bits=9,
    ),
    "current-that-stays": NeuronSpec(
        theta=45, theta_negative=60, current="none", decay="shift", decay_shift=1, potential_bits=8
    ),
    "current-fraction": NeuronSpec(
        theta=200,
        decay="leak",
        decay_shift=2,
        decay_when="after",
        current="shift",
        current_shift=1,
        decay_rounding="floor",
        fraction_bits=2,
        u0=-90,
        potential_bits=9,
    ),
    "current-counted": NeuronSpec(
        theta=30,
        negative="guarded",
        limit=3,
        reset="soft",
        step=30,
        current="leak",
        current_shift=1,
        potential_bits=9,
    ),
}
"""Neurons with a synaptic current."""

COUNTED = {
    "counted": NeuronSpec(theta=12, limit=5, reset="soft", step=11, potential_bits=7),
    "counted-off-leak": NeuronSpec(
        theta=7, negative="off", limit=3, decay="leak", decay_shift=2, potential_bits=8, u0=3
    ),
    "counted-guarded": NeuronSpec(
        theta=9,
        theta_negative=5,
        negative="guarded",
        limit=15,
        reset="soft",
        step=9,
        potential_bits=9,
        u0=4,
    ),
    "counted-factor": NeuronSpec(
        theta=7, limit=3, decay="factor", decay_factor=13, decay_shift=4, potential_bits=8
    ),
    "guarded": NeuronSpec(theta=11, negative="guarded", reset="soft", step=11, potential_bits=8),
}
"""Spikes that are counted out, or that a guard holds back (*TerMapping*, *AugMapping*)."""

WIDTHS = (9, 12, 16)
"""Of weights that are wide."""


def wide(bits: int) -> tuple[Part, ...]:
    """A convolution, an identity, what comes a step later, with weights of this width in all of
    them and thresholds to match; potentials that saturate."""
    n = NeuronSpec(theta=25 << bits - 4, potential_bits=bits + 2)
    soft = NeuronSpec(
        theta=20 << bits - 4, reset="soft", step=17 << bits - 4, potential_bits=bits + 2
    )
    return (
        part(3, conv("input", 3, padding=1), neuron=n, weight_bits=bits),
        part(
            3,
            conv("a", 3, padding=1),
            identity("a"),
            conv("b", 1, delay=1),
            neuron=soft,
            weight_bits=bits,
        ),
        part(2, dense("b"), dense("a", delay=1), weight_bits=bits),
    )


SOFT = NeuronSpec(theta=20, reset="soft", step=27, potential_bits=8)
SOFT_COUNTS = NeuronSpec(theta=13, limit=5, reset="soft", step=17, potential_bits=8)
MANY = {
    k: NeuronSpec(
        theta=20,
        theta_negative=17,
        decay="factor",
        decay_shift=k,
        decay_rounding=rounding,
        decay_when=when,
        potential_bits=6,
    )
    for k, rounding, when in ((1, "zero", "before"), (3, "floor", "after"), (12, "zero", "before"))
}
"""By the bits of a factor that each channel has of its own."""
SOFT_M, SOFT_COUNTS_M = (
    replace(neuron, negative="off", decay="factor", decay_shift=12)
    for neuron in (SOFT, SOFT_COUNTS)
)

LEVELS = NeuronSpec(theta=10, negative="off", limit=3, potential_bits=8)


HELD = NeuronSpec(
    theta=60, current="shift", current_shift=1, decay="leak", decay_shift=3, potential_bits=8
)


def with_neuron(name: str) -> tuple[Part, ...]:
    """The neuron behind the image, where there is a drive, and behind other neurons; its channels
    do not fill the lanes."""
    n = (NEURONS | COUNTED | CURRENTS)[name]
    return (
        part(3, conv("input", 3, padding=1), neuron=n),
        part(5, dense("a"), neuron=n),
        part(2, dense("b"), dense("a")),
    )


# name: lanes, shape of the image, layers, and what differs from the rule (steps, bits, timed)
CASES: dict[str, tuple] = {
    # Kernels, strides, paddings
    "kernel-1": (
        4,
        (2, 3, 3),
        (part(3, conv("input", 1)), part(5, conv("a", 1, stride=2)), part(3, dense("b"))),
    ),
    "kernel-1-even": (2, (2, 4, 3), (part(3, conv("input", 1, stride=2)), part(3, dense("a")))),
    "kernel-3-no-zeros": (4, (2, 4, 5), (part(4, conv("input", 3)), part(3, dense("a")))),
    "kernel-3-stride": (
        4,
        (1, 5, 6),
        (
            part(3, conv("input", 3, stride=2, padding=1)),
            part(4, conv("a", 3, padding=2)),
            part(2, dense("b")),
        ),
    ),
    "kernel-3-all-zeros": (
        8,
        (2, 3, 4),
        (part(3, conv("input", 3, stride=2, padding=2)), part(2, dense("a"))),
    ),
    "kernel-5": (
        4,
        (2, 5, 5),
        (part(3, conv("input", 5)), part(3, conv("a", 5, padding=4)), part(2, dense("b", pool=5))),
    ),
    "kernel-5-stride": (
        4,
        (2, 5, 6),
        (part(4, conv("input", 5, stride=2, padding=3)), part(2, dense("a", pool=2))),
    ),
    "kernel-7-beyond-the-map": (
        4,
        (2, 3, 2),
        (
            part(4, conv("input", 7, padding=3)),
            part(3, conv("a", 5, stride=2, padding=2)),
            part(2, dense("b")),
        ),
    ),
    "kernel-7-stride": (
        4,
        (2, 1, 5),
        (part(3, conv("input", 7, stride=2, padding=6)), part(2, dense("a", pool=2))),
    ),
    "kernel-7-inside": (8, (1, 8, 7), (part(3, conv("input", 7)), part(2, dense("a")))),
    # Even and long kernels, rectangles, strides up to the kernel; whatever is left over at the rim
    "kernel-2": (
        4,
        (2, 5, 4),
        (
            part(4, conv("input", 2)),
            part(3, conv("a", 2, stride=2, padding=1)),
            part(2, dense("b")),
        ),
    ),
    "kernel-4-stride-3": (
        4,
        (1, 7, 8),
        (
            part(3, conv("input", 4, stride=3, padding=2)),
            part(3, conv("a", 4, stride=4, padding=3)),
            part(2, dense("b")),
        ),
    ),
    "kernel-3-stride-3": (
        4,
        (2, 7, 8),
        (part(3, conv("input", 3, stride=3, padding=1)), part(2, dense("a"))),
    ),
    "kernel-9": (
        4,
        (1, 5, 6),
        (
            part(3, conv("input", 9, padding=4)),
            part(2, conv("a", 9, stride=3, padding=8)),
            part(2, dense("b")),
        ),
    ),
    "kernel-11": (
        2,
        (1, 4, 3),
        (
            part(2, conv("input", 11, padding=(4, 5))),
            part(2, conv("a", 11, stride=7, padding=10)),
            part(2, dense("b")),
        ),
    ),
    "kernel-1x5": (
        4,
        (2, 3, 9),
        (
            part(3, conv("input", (1, 5), padding=(0, 2))),
            part(3, conv("a", (5, 1), padding=(2, 0))),
            part(2, dense("b", pool=(1, 3))),
        ),
    ),
    "stride-1x2": (
        4,
        (2, 5, 6),
        (
            part(5, conv("input", 3, stride=(1, 2), padding=1)),
            part(3, conv("a", (2, 3), stride=(2, 3), padding=(1, 0))),
            part(2, dense("b")),
        ),
    ),
    "pool-1x2": (
        4,
        (2, 3, 7),
        (
            part(4, conv("input", 3, padding=1, pool=(1, 2))),
            part(4, identity("a", pool=(2, 1)), conv("a", 3, stride=(2, 1), padding=(0, 1))),
            part(2, dense("b", pool=(1, 2))),
        ),
    ),
    "samples": (
        4,
        (2, 1, 17),
        (
            part(4, conv("input", (1, 4), stride=(1, 3), padding=(0, 1))),
            part(5, conv("a", (1, 3), pool=(1, 2))),
            part(2, dense("b")),
        ),
    ),
    # Groups
    "depthwise": (
        4,
        (6, 3, 3),
        (
            part(6, conv("input", 3, padding=1, groups=6)),
            part(6, conv("a", 3, stride=2, padding=1, groups=6)),
            part(3, dense("b")),
        ),
    ),
    "multiplied-depthwise": (
        4,
        (3, 3, 3),
        (part(9, conv("input", 3, padding=1, groups=3)), part(2, dense("a", pool=3))),
    ),
    "groups-straddle": (
        4,
        (6, 2, 3),
        (
            part(10, conv("input", 3, padding=1, groups=2)),
            part(15, conv("a", 1, groups=5)),
            part(2, dense("b")),
        ),
    ),
    "groups-far-apart": (
        2,
        (8, 2, 2),
        (
            part(8, conv("input", 1, groups=4)),
            part(4, conv("a", 3, padding=1, groups=2)),
            part(2, dense("b")),
        ),
    ),
    # Pooling
    "pooling-leaves-a-rest": (
        4,
        (2, 5, 7),
        (part(3, conv("input", 3, padding=1, pool=2)), part(2, dense("a", pool=2))),
    ),
    "pooling-inside": (
        4,
        (1, 7, 8),
        (
            part(3, conv("input", 1, pool=2)),
            part(5, conv("a", 3, padding=1, pool=3)),
            part(2, dense("b")),
        ),
    ),
    # Dense edges
    "dense-into-maps": (
        4,
        (2, 2, 3),
        (
            part((3, 2, 2), dense("input")),
            part((6, 1, 3), dense("a"), dense("input", pool=2)),
            part(2, dense("b")),
        ),
    ),
    "rows-of-neurons": (
        4,
        (9, 1, 1),
        (part(7, dense("input")), part(6, dense("a")), part(3, dense("b"))),
    ),
    # Identities
    "identity": (
        4,
        (3, 2, 3),
        (
            part(6, conv("input", 3, padding=1)),
            part(6, conv("a", 3, padding=1), identity("a")),
            part(6, identity("b", pool=2), identity("a", pool=2)),
            part(2, dense("c")),
        ),
    ),
    "identities-alone": (
        4,
        (5, 3, 3),
        (
            part(5, identity("input"), neuron=QUICK),
            part(5, identity("a", delay=1), identity("a"), neuron=QUICK),
            part(5, identity("b", pool=3)),
        ),
    ),
    "identity-of-the-image": (
        8,
        (2, 3, 3),
        (
            part(2, identity("input"), neuron=QUICK),
            part(3, conv("a", 3), conv("input", 3)),
            part(2, dense("b")),
        ),
    ),
    "identity-of-the-pooled-image": (
        4,
        (6, 5, 3),
        (part(6, identity("input", pool=2)), part(2, dense("a"))),
    ),
    # Recurrence
    "recurrent": (
        4,
        (2, 3, 3),
        (
            part(5, conv("input", 3, padding=1), conv("a", 3, padding=1, delay=1)),
            part(3, dense("a"), dense("b", delay=1)),
            part(2, dense("b")),
        ),
        {"steps": 4},
    ),
    "recurrent-identity": (
        4,
        (3, 2, 2),
        (part(3, conv("input", 1), identity("a", delay=1)), part(2, dense("a"))),
        {"steps": 4},
    ),
    "feedback": (
        4,
        (2, 3, 3),
        (
            part(5, conv("input", 3, padding=1), conv("b", 3, padding=2, delay=1)),
            part(4, conv("a", 3, stride=2), dense("c", delay=1)),
            part(6, dense("b")),
            part(3, dense("c"), dense("a", delay=1)),
        ),
        {"steps": 3},
    ),
    "late-from-before": (
        4,
        (2, 3, 3),
        (
            part(3, conv("input", 3, padding=1)),
            part(4, dense("a", delay=1)),
            part(2, dense("b"), dense("a", delay=1)),
        ),
        {"steps": 3},
    ),
    # Sides
    "one-value": (
        2,
        (1, 1, 1),
        (part(1, dense("input"), neuron=QUICK), part(1, dense("a"))),
        {"bits": 1, "steps": 8, "seed": 4},
    ),
    "one-by-one-maps": (
        4,
        (9, 1, 1),
        (
            part(6, conv("input", 3, padding=1)),
            part(5, conv("a", 1), identity("b", delay=1)),
            part(4, dense("b")),
        ),
    ),
    "many-groups": (
        2,
        (5, 2, 3),
        (part(7, conv("input", 3, padding=1)), part(5, conv("a", 1)), part(5, dense("b"))),
    ),
    "one-row": (4, (2, 1, 9), (part(3, conv("input", 3, padding=1)), part(2, dense("a")))),
    "one-column": (8, (3, 9, 1), (part(3, conv("input", 3, padding=1)), part(2, dense("a")))),
    # Images packed several positions to a word
    "packed-1": (
        8,
        (1, 3, 11),
        (part(3, conv("input", 3, padding=1, stride=2)), part(2, dense("a"))),
    ),
    "packed-1-of-one-row": (16, (1, 1, 21), (part(4, dense("input")), part(2, dense("a")))),
    "packed-2": (8, (2, 3, 7), (part(3, conv("input", 3, pool=1)), part(2, dense("a")))),
    "packed-3": (
        16,
        (3, 3, 6),
        (part(3, conv("input", 3, padding=1, groups=3)), part(2, dense("a", pool=3))),
    ),
    "packed-and-pooled": (
        8,
        (1, 5, 9),
        (part(3, conv("input", 3, padding=1, pool=2)), part(2, dense("a"))),
    ),
    "full-bytes": (8, (3, 3, 3), (part(3, conv("input", 3)), part(2, dense("a"))), {"bits": 8}),
    # Recordings
    "recording": (
        8,
        (2, 3, 3),
        (
            part(4, conv("input", 3, padding=1)),
            part(3, dense("a"), conv("input", 3)),
            part(2, dense("b")),
        ),
        {"timed": True, "steps": 4},
    ),
    "recording-feedback": (
        4,
        (1, 2, 3),
        (
            part(3, dense("input"), dense("b", delay=1)),
            part(3, dense("a"), dense("input")),
            part(2, dense("b"), dense("input")),
        ),
        {"timed": True, "steps": 3, "bits": 3},
    ),
    # Readouts
    "readout-alone": (4, (2, 3, 3), (part(5, dense("input")),), {"steps": 3}),
    "readout-alone-recording": (
        2,
        (3, 1, 2),
        (part(3, dense("input", pool=1)),),
        {"timed": True, "steps": 3},
    ),
    "many-classes": (4, (5, 1, 1), (part(6, dense("input"), neuron=QUICK), part(11, dense("a")))),
    "whole-groups-of-classes": (
        2,
        (4, 1, 1),
        (part(6, dense("input"), neuron=QUICK), part(6, dense("a"), dense("input"))),
    ),
    "one-class": (4, (5, 1, 1), (part(6, dense("input"), neuron=QUICK), part(1, dense("a")))),
    "readout-of-maps": (4, (2, 4, 4), (part(3, conv("input", 3)), part(5, conv("a", 1, pool=2)))),
    # Thresholds by channel, with neurons beside them that have others
    "thresholds": (
        4,
        (3, 3, 3),
        (
            part(6, conv("input", 3, padding=1), channel_thresholds=True),
            part(5, dense("a"), neuron=NEURONS["unequal"]),
            part(7, dense("b"), channel_thresholds=True),
            part(3, dense("c")),
        ),
    ),
    "thresholds-of-one-side": (
        2,
        (2, 1, 1),
        (
            part(
                3,
                dense("input"),
                channel_thresholds=True,
                neuron=NeuronSpec(theta=20, negative="off", potential_bits=6),
            ),
            part(2, dense("a")),
        ),
        {"steps": 4},
    ),
    # Reset steps and factors of the decay by channel, each alone and with others beside them
    "steps": (
        4,
        (3, 3, 3),
        (
            part(6, conv("input", 3, padding=1), channel_thresholds=True, neuron=SOFT),
            part(5, dense("a"), neuron=NEURONS["unequal-soft"]),
            part(7, dense("b"), channel_thresholds=True),
            part(3, dense("c")),
        ),
        {"steps": 3},
    ),
    "steps-counted": (
        4,
        (3, 1, 1),
        (
            part(6, dense("input"), channel_thresholds=True, neuron=SOFT_COUNTS),
            part(5, dense("a"), channel_thresholds=True, channel_decays=True, neuron=SOFT_COUNTS_M),
            part(3, dense("b")),
        ),
        {"steps": 4},
    ),
    "decays": (
        4,
        (3, 3, 3),
        (
            part(6, conv("input", 3, padding=1), channel_decays=True, neuron=MANY[12]),
            part(5, dense("a"), neuron=NEURONS["factor"]),
            part(7, dense("b"), channel_decays=True, neuron=MANY[3]),
            part(3, dense("c")),
        ),
        {"steps": 4},
    ),
    "decays-of-few-bits": (
        2,
        (2, 1, 1),
        (
            part(5, dense("input"), channel_decays=True, neuron=MANY[1]),
            part(3, dense("a"), neuron=NEURONS["factor"]),
            part(2, dense("b")),
        ),
        {"steps": 4},
    ),
    "decays-and-steps": (
        4,
        (2, 3, 3),
        (
            part(
                6,
                conv("input", 3, padding=1),
                conv("a", 1, delay=1),
                channel_thresholds=True,
                channel_decays=True,
                neuron=SOFT_M,
            ),
            part(5, dense("a"), channel_decays=True, neuron=MANY[3]),
            part(2, dense("b")),
        ),
        {"steps": 4},
    ),
    # All kinds of neurons at once: one with a sign, one without, three decays
    "mixed-neurons": (
        4,
        (3, 2, 2),
        (
            part(3, conv("input", 1), neuron=NEURONS["off"]),
            part(5, dense("a"), neuron=NEURONS["leak-after"]),
            part(4, dense("b"), neuron=NEURONS["soft-saturates"]),
            part(3, dense("c"), neuron=NEURONS["fraction"]),
            part(2, dense("d")),
        ),
        {"steps": 4, "seed": 13},
    ),
    # Synaptic currents: recurrence and feedback, beside neurons without one, on a recording
    "current-feedback": (
        4,
        (2, 3, 3),
        (
            part(
                5,
                conv("input", 3, padding=1),
                conv("b", 3, padding=2, delay=1),
                neuron=CURRENTS["current"],
            ),
            part(4, conv("a", 3, stride=2), neuron=NEURONS["leak"]),
            part(6, dense("b"), dense("c", delay=1), neuron=CURRENTS["current-counted"]),
            part(3, dense("c"), dense("a", delay=1)),
        ),
        {"steps": 4, "timed": True},
    ),
    "current-thresholds": (
        4,
        (2, 2, 3),
        (
            part(6, conv("input", 3, padding=1), channel_thresholds=True, neuron=HELD),
            part(5, dense("a"), channel_thresholds=True),
            part(3, dense("b")),
        ),
        {"steps": 4},
    ),
    # Counted spikes: shortcuts and recurrence, in several steps and in one
    "counted-shortcut": (
        4,
        (3, 3, 3),
        (
            part(6, conv("input", 3, padding=1), identity("a", delay=1), neuron=COUNTED["counted"]),
            part(6, conv("a", 3, padding=1), identity("a"), neuron=COUNTED["counted-guarded"]),
            part(4, dense("b"), dense("b", delay=1), neuron=NEURONS["leak"]),
            part(2, dense("c"), dense("b")),
        ),
        {"steps": 3},
    ),
    "levels": (
        4,
        (2, 4, 4),
        (
            part(5, conv("input", 3, padding=1), channel_thresholds=True, neuron=LEVELS),
            part(5, conv("a", 3, padding=1), identity("a"), neuron=LEVELS),
            part(3, dense("b", pool=4)),
        ),
        {"steps": 1, "bits": 4},
    ),
    **{
        name: (4, (2, 2, 3), with_neuron(name), {"steps": 4})
        for name in (*COUNTED, "current", "current-fraction")
    },
    # Wide weights
    **{f"wide-{bits}": (4, (2, 3, 3), wide(bits), {"steps": 3}) for bits in WIDTHS},
    # Neurons
    **{name: (4, (2, 2, 3), with_neuron(name), {"steps": 5}) for name in NEURONS},
}
