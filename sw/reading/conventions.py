"""What a file of a network does not say, and its user must: the time step, the ties, the reset, how
many spikes a step may have, and which of a leaky readout's potentials is read."""

from dataclasses import dataclass

from hw.contract.neuron import MAX_LIMIT, READINGS
from hw.contract.text import none_of
from sw.importers.affine import ConvertError

__all__ = ["FIRES_AT", "OPTIONS", "RESETS", "TIE", "Conventions"]

TIE = 1e-6
"""A potential that is nearer to its threshold than this share of it, is at the threshold: files
have float32, and sums of reals are not exact."""

FIRES_AT = ("gt", "ge")
RESETS = ("zero", "subtract", "subtract-later")

OPTIONS = (
    "Time step, firing, reset, limit and readout (--dt, --fires-at, --reset, --limit, --readout)"
)
"""All of them, as a sentence begins."""


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """How a continuous neuron is run in time steps.

    Parameters
    ----------
    dt
        Time step in seconds, of Euler's method. snnTorch and SpikingJelly write NIR for 1e-4.
    fires_at
        `gt`: a potential fires above the threshold (NIR, snnTorch, Norse). `ge`: at it, too
        (SpikingJelly, sinabs).
    reset
        `zero`: to 0. `subtract`: a spike subtracts the threshold at once (SpikingJelly, sinabs).
        `subtract-later`: at the next step, from what has decayed (snnTorch). NIR stores 0 for all.
    readout
        What is read of the potentials of a leaky integrator at the end (`LI`): the `last`, the
        `sum` (or mean) of all steps', or their `max`, as Norse's examples do, the one framework
        that writes such nodes.

    limit
        Most spikes of a neuron in one step: as often as its threshold goes into the potential, and
        no more than this. sinabs's usual `MultiSpike` has no bound: the contract's is `MAX_LIMIT`.

    Raises
    ------
    ConvertError
        For other values.
    """

    dt: float = 1e-4
    fires_at: str = "gt"
    reset: str = "zero"
    readout: str = "max"
    limit: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.dt < float("inf"):
            raise ConvertError(f"Time step must be a positive number of seconds, not {self.dt!r}")
        for what, value, choices in (
            ("Firing", self.fires_at, FIRES_AT),
            ("Reset", self.reset, RESETS),
            ("Readout", self.readout, READINGS),
        ):
            if value not in choices:
                raise ConvertError(none_of(what, value, choices))
        if not isinstance(self.limit, int) or not 1 <= self.limit <= MAX_LIMIT:
            raise ConvertError(
                f"Spikes of a step must be at most 1 to {MAX_LIMIT}, not {self.limit!r}"
            )
