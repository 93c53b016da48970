"""One bench for all components with streams: drivers, monitors, contract checks, a watchdog.

A test is then an equation between what was fed and what was collected. Payloads are raw integers;
`bits` and `fields` translate.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Elaboratable, ResetInserter, Signal, Value
from amaranth.lib import data, stream
from amaranth.sim import Simulator

__all__ = ["FLOWING", "JITTERY", "Bench", "Pace", "Sink", "Source", "bits", "fields"]


def bits(layout: Any, value: Any) -> int:
    """`value` in `layout`, as the integer that crosses a port; what does not fit is refused."""
    constant = layout.const(value)
    _check_fits(value, constant)
    return int(constant.as_bits())


def _check_fits(value: Any, constant: Any) -> None:
    if not isinstance(constant, data.Const):
        assert value == constant, f"{value!r} became {constant!r}"
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_fits(item, constant[key])
    else:
        for n, item in enumerate(value):
            _check_fits(item, constant[n])


def fields(layout: Any, raw: int) -> Any:
    """The inverse of `bits`: a data.Const."""
    return layout.from_bits(raw)


@dataclass(frozen=True)
class Pace:
    """How eager the surroundings are: chance of an idle source, of a busy sink, per cycle."""

    idle: float = 0.0
    stall: float = 0.0
    seed: int = 0

    def __str__(self) -> str:
        return f"idle{self.idle}-stall{self.stall}"


FLOWING = Pace()
JITTERY = (Pace(0.0, 0.5, 1), Pace(0.5, 0.0, 2), Pace(0.3, 0.3, 3), Pace(0.05, 0.9, 4))


@dataclass
class Source:
    """Offers payloads in order; `offered` and `taken` are the cycle numbers of each."""

    port: Any
    values: Sequence[int]
    offered: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)


@dataclass
class Sink:
    """Takes `count` payloads; `offered` and `taken` are the cycle numbers of each."""

    port: Any
    count: int
    values: list[int] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    pending: int | None = None  # offered, not taken in the cycle before


class Bench:
    """Runs one component in the Amaranth simulator.

    Parameters
    ----------
    component
        What is under test.
    pace
        Idle and back-pressure.
    limit
        Cycles after which the run is called a dead-lock.
    """

    def __init__(self, component: Elaboratable, pace: Pace = FLOWING, limit: int = 50_000) -> None:
        self.component, self.pace, self.limit = component, pace, limit
        self.sources: list[Source] = []
        self.sinks: list[Sink] = []
        self._watched: list[tuple[Value, ...]] = []
        self.seen: list[list[tuple[int, ...]]] = []
        self._played: list[tuple[Value, Sequence[int]]] = []

    def feed(self, port: stream.Interface, values: Iterable[int]) -> Source:
        """Offer raw payloads; junk whenever nothing is offered."""
        source = Source(port, list(values))
        width = len(Value.cast(port.payload))
        assert all(0 <= value < 1 << width for value in source.values), "payload does not fit"
        self.sources.append(source)
        return source

    def collect(self, port: stream.Interface, count: int) -> Sink:
        """Take `count` raw payloads; the run goes on until all sinks have theirs."""
        sink = Sink(port, count)
        self.sinks.append(sink)
        return sink

    def play(self, signal: Value, values: Sequence[int]) -> None:
        """Drive a plain input: one value per cycle from cycle 0, and 0 afterwards."""
        assert all(0 <= value < 1 << len(signal) for value in values), "value does not fit"
        self._played.append((signal, values))

    def watch(self, *signals: Value) -> list[tuple[int, ...]]:
        """Raw values of the signals in every cycle."""
        self._watched.append(signals)
        self.seen.append([])
        return self.seen[-1]

    def run(self, *, extra: int = 0, reset_at: int | None = None, settle: int = 0) -> "Bench":
        """Run until every sink is full and every source empty, and `extra` cycles more, in which
        nothing else may come out.

        With `reset_at`, the component is reset in that cycle and everything starts over. Before
        cycle 0, `settle` cycles pass.
        """
        reset = Signal()
        design = self.component if reset_at is None else ResetInserter(reset)(self.component)
        simulator = Simulator(design)
        simulator.add_clock(1e-6)

        async def process(ctx) -> None:
            rng = random.Random(self.pace.seed)
            if reset_at is not None:
                await self._phase(ctx, rng, lambda cycle: cycle == reset_at)
                self._forget()
                for source in self.sources:
                    ctx.set(source.port.valid, 0)  # nothing is offered while the component settles
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
            for _ in range(settle):
                await ctx.tick()
            left = [extra]

            def finished(cycle: int) -> bool:
                done = all(len(s.taken) == len(s.values) for s in self.sources)
                done = done and all(len(s.values) >= s.count for s in self.sinks)
                done = done and all(cycle >= len(values) for _, values in self._played)
                left[0] -= done
                return left[0] < 0

            await self._phase(ctx, rng, finished)

        simulator.add_testbench(process)
        simulator.run()
        for sink in self.sinks:
            assert len(sink.values) == sink.count, f"{len(sink.values) - sink.count} too many"
        return self

    def _forget(self) -> None:
        for source in self.sources:
            source.offered, source.taken = [], []
        for sink in self.sinks:
            sink.values, sink.offered, sink.taken, sink.pending = [], [], [], None
        for seen in self.seen:
            seen.clear()

    async def _phase(self, ctx, rng: random.Random, finished: Callable[[int], bool]) -> None:
        """Clock the component, cycle 0 first, until `finished`."""
        offering = [False] * len(self.sources)
        probes: list[Value] = []
        for end in (*self.sources, *self.sinks):
            probes += [end.port.valid, end.port.ready, Value.cast(end.port.payload)]
        for signals in self._watched:
            probes += signals
        cycle = 0
        while not finished(cycle):
            assert cycle < self.limit, f"dead-lock: {self._progress()}"
            for n, source in enumerate(self.sources):
                offering[n] = self._offer(ctx, rng, source, offering[n], cycle)
            for sink in self.sinks:
                ctx.set(sink.port.ready, int(rng.random() >= self.pace.stall))
            for signal, values in self._played:
                ctx.set(signal, values[cycle] if cycle < len(values) else 0)
            _, _, *sampled = await ctx.tick().sample(*probes)
            for n, source in enumerate(self.sources):
                valid, ready, _ = sampled[3 * n : 3 * n + 3]
                if valid and ready:
                    source.taken.append(cycle)
                    offering[n] = False
            at = 3 * len(self.sources)
            for sink in self.sinks:
                valid, ready, payload = sampled[at : at + 3]
                self._look(sink, valid, ready, payload, cycle)
                at += 3
            for signals, seen in zip(self._watched, self.seen, strict=True):
                seen.append(tuple(sampled[at : at + len(signals)]))
                at += len(signals)
            cycle += 1

    def _offer(self, ctx, rng, source: Source, offering: bool, cycle: int) -> bool:
        """Set a source's port for this cycle. What is offered stays until it is taken."""
        if offering:
            return True
        payload = Value.cast(source.port.payload)
        left = len(source.taken) < len(source.values)
        if left and rng.random() >= self.pace.idle:
            ctx.set(source.port.valid, 1)
            ctx.set(payload, source.values[len(source.taken)])
            source.offered.append(cycle)
            return True
        ctx.set(source.port.valid, 0)
        ctx.set(payload, rng.getrandbits(len(payload)) if len(payload) else 0)
        return False

    @staticmethod
    def _look(sink: Sink, valid: int, ready: int, payload: int, cycle: int) -> None:
        """Check the stream contract in this cycle; note what leaves."""
        if sink.pending is not None:
            assert valid, f"offer withdrawn in cycle {cycle}"
            assert payload == sink.pending, f"offer changed in cycle {cycle}"
        elif valid:
            sink.offered.append(cycle)
        if valid and ready:
            sink.values.append(payload)
            sink.taken.append(cycle)
        sink.pending = payload if valid and not ready else None

    def _progress(self) -> str:
        fed = [f"{len(s.taken)} of {len(s.values)} fed" for s in self.sources]
        return ", ".join(fed + [f"{len(s.values)} of {s.count} collected" for s in self.sinks])
