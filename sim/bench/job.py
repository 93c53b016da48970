"""What a bench is told to do: a JSON file between `sim.bench.run` and the simulator's process."""

from dataclasses import dataclass

__all__ = ["Job"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a bench is to do.

    `fields` are the core's `trace_fields`, empty without `taps`. `stall` is the probability, per
    cycle, that a word is held back, and that a result is not taken (0: streams flow);
    `reset_after` the cycles after which, once, the core is reset and everything begins anew (0:
    never). `watchdog` is the quiet cycles after which a core is called dead.
    """

    network: str
    lanes: int
    banks: int
    schedule: str = "pipelined"
    fields: list[tuple[str, int]]
    taps: bool = True
    stall: float = 0.0
    seed: int = 0
    reset_after: int = 0
    watchdog: int = 1_000_000
