"""What an image would cost in energy, by counted activity and published constants: an estimate.

Counted are additions and bits of memory that are read and written. The constants are of one
technology (45 nm, an ASIC); those of an FPGA are several times as high, and differ from chip to
chip, and what a chip draws at rest is not in it at all. So the figure compares networks and layouts
with each other, to a factor of some; it says nothing about what a board's supply will show.
"""

from dataclasses import dataclass

import numpy as np

from hw.contract.checks import signed_bits
from hw.contract.network import Network
from sim.golden.activity import ActivityMeter
from sw.report.run import Run

__all__ = ["NEURON_ADDS", "PICOJOULES", "SOURCE", "Part", "estimate", "parts"]

PICOJOULES = {"float32 add": 0.9, "float32 multiply": 3.7, "int32 add": 0.1, "int8 multiply": 0.2}
"""Energy of one operation in 45 nm at 0.9 V: M. Horowitz, "Computing's energy problem (and what we
can do about it)", ISSCC 2014, figure 1.1.9."""

NEURON_ADDS = 3
"""A neuron's step: drive added to what decay left, compared with the threshold, reset."""

BIT_READ = 10 / 64
"""pJ for a bit from an 8 KiB memory: 10 pJ for 64 bits, 45 nm, 0.9 V (M. Horowitz, "Computing's
energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9). A write is taken for as
much."""

SOURCE = (
    "M. Horowitz, ISSCC 2014, figure 1.1.9: 45 nm at 0.9 V; 0.1 pJ for an addition of 32 bits, "
    "10 pJ for 64 bits of an 8 KiB memory. An FPGA takes several times as much, leakage and clock "
    "are left out: good for comparing layouts and networks, to a factor, not for a power supply."
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Of what is counted: how often for an image, what once costs in pJ."""

    name: str
    count: float
    picojoules: float

    @property
    def nanojoules(self) -> float:
        """Of an image."""
        return self.count * self.picojoules / 1000


def estimate(run: Run) -> list[Part]:
    """By kinds of operations, of an image on average (of `Run.looked_at`)."""
    meter = ActivityMeter(run.network)
    meter.add(run.looked_at, run.trace)
    return parts(run.network, meter.activity.sops)


def parts(network: Network, sops: float) -> list[Part]:
    """By kinds of operations, of an image with so many synaptic operations
    (`sim.golden.activity.Activity.sops`)."""
    widest = max(layer.spec.weight_bits for layer in network.layers)
    steps = network.spec.steps
    neuron_steps = steps * sum(layer.spec.neurons for layer in network.layers[:-1])
    stored = steps * sum(
        layer.spec.neurons * (n.potential_bits + n.has_current * signed_bits(layer.current_bound))
        for layer in network.layers[:-1]
        if (n := layer.spec.neuron) is not None
    )
    weight_bits = float(np.mean([layer.spec.weight_bits for layer in network.layers]))
    add = PICOJOULES["int32 add"]
    told = f"weights read, bits (of {weight_bits:.3g} each, {widest} at most)"
    return [
        Part(name="synaptic operations (additions)", count=sops, picojoules=add),
        Part(
            name=f"neuron updates ({NEURON_ADDS} additions each)",
            count=neuron_steps,
            picojoules=NEURON_ADDS * add,
        ),
        Part(name=told, count=sops * weight_bits, picojoules=BIT_READ),
        Part(name="potentials read and written, bits", count=2.0 * stored, picojoules=BIT_READ),
    ]
