"""A bench at the pins of a host port: a UART in plain Python, and a core model."""

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from amaranth.sim import Simulator

from hw.link.port import HostPort
from tests.hw.link.linking import BROKEN, READ, RUN, SILENCE, WRITE, CoreModel, Twin, frame, number

__all__ = ["DIVISOR", "Device", "Shape", "Wire"]


class Wire:
    """The pins of a `HostPort`, a core model behind it, and the time; one `step` is a cycle.

    Parameters
    ----------
    host, core, divisor, timeout
        What is at the other end; clocks per bit; the time-out in clocks.
    """

    def __init__(
        self, ctx: Any, host: HostPort, core: CoreModel, divisor: int, timeout: int
    ) -> None:
        self.ctx, self.host, self.core = ctx, host, core
        self.divisor, self.timeout = divisor, timeout
        self.now = 0
        self.heard: list[int] = []  # bytes from tx
        self._levels: list[int] | None = None  # of the byte under way
        self._rx = 1
        self._shown = (1, 0, 0, 0, 0)
        self._offered: int | None = None  # and not taken
        image, results = host.image, host.results
        self._inputs = (
            host.rx,
            image.ready,
            results.valid,
            results.payload.as_value(),
            host.events,
        )

    def _show(self, *shown: int) -> None:
        """Drive the inputs, but only those that change: time is short."""
        for signal, value, before in zip(self._inputs, shown, self._shown, strict=True):
            if value != before:
                self.ctx.set(signal, value)
        self._shown = shown

    async def step(self, cycles: int = 1) -> None:
        """Let time pass."""
        for _ in range(cycles):
            await self._cycle()

    async def _cycle(self) -> None:
        host, core = self.host, self.core
        result, events = core.plan[0] if core.plan else (None, 0)
        ready = int(core.wait <= 0 and not core.plan)
        shown = (self._rx, ready, int(result is not None), result or 0, events)
        if shown != self._shown:
            self._show(*shown)
        get = self.ctx.get
        tx, valid, reset = get(host.tx), get(host.image.valid), get(host.core_reset)
        if core.plan:
            assert result is None or get(host.results.ready), "a logit must be taken at once"
            core.plan.pop(0)
        word = get(host.image.payload) if valid else None
        if self._offered is not None and not reset:
            assert word == self._offered, "an offer must stand"
        self._offered = None if ready or reset else word
        await self.ctx.tick()
        if reset:
            core.forget()
            core.resets += 1
        elif word is not None and ready:
            core.take(word)
        elif word is not None:
            core.wait -= 1
        self._listen(tx)
        self.now += 1

    def _listen(self, tx: int) -> None:
        """Take `tx` apart, exactly: every bit must be `divisor` cycles long."""
        if self._levels is None:
            if tx:
                return
            self._levels = []
        self._levels.append(tx)
        if len(self._levels) == 10 * self.divisor:
            bits = self._levels[:: self.divisor]
            assert self._levels == [bit for bit in bits for _ in range(self.divisor)]
            assert bits[0] == 0
            assert bits[9] == 1
            self.heard.append(sum(bit << n for n, bit in enumerate(bits[1:9])))
            self._levels = None

    async def level(self, level: int, cycles: int) -> None:
        """Hold `rx`."""
        self._rx = level
        await self.step(cycles)

    async def byte(self, item: int, bit: float | None = None, stop: int = 1) -> None:
        """Send a byte, `bit` cycles per bit."""
        bit = self.divisor if bit is None else bit
        start, levels = self.now, [0, *(item >> n & 1 for n in range(8)), stop]
        for n, level in enumerate(levels):
            await self.level(level, round(start + (n + 1) * bit) - self.now)
        self._rx = 1

    async def send(self, items: Iterable[int], bit: float | None = None) -> None:
        """Send bytes, BROKEN and SILENCE too."""
        for item in items:
            if item == SILENCE:
                await self.step(self.timeout + 4 * self.divisor)
            elif item == BROKEN:
                await self.byte(0x5A, bit, stop=0)
                await self.step(2 * self.divisor)
            else:
                await self.byte(item, bit)

    async def answer(self, limit: int = 4000) -> bytes:
        """The next answer, when it is complete; b"" if nothing comes."""
        size = 10
        while len(self.heard) < size:
            if limit == 0:
                assert not self.heard, f"half an answer: {bytes(self.heard).hex()}"
                return b""
            limit -= 1
            await self.step()
            if len(self.heard) >= 6:
                size = 10 + self.heard[4] + 256 * self.heard[5]
        await self.step(self.divisor // 2)
        answer, self.heard = bytes(self.heard[:size]), self.heard[size:]
        return answer

    async def ask(self, items: Iterable[int], twin: Twin) -> bytes:
        """Send what has one answer, and check it."""
        sent = list(items)
        await self.send(sent)
        answer = await self.answer()
        assert [answer.hex()] == [expected.hex() for expected in twin.hear(sent)]
        return answer


Scenario = Callable[[Wire], Awaitable[None]]


def play(host: HostPort, core: CoreModel, divisor: int, timeout: int, scenario: Scenario) -> Wire:
    """Run a scenario, an async function of the wire, in the simulator."""
    simulator = Simulator(host)
    simulator.add_clock(1e-6)
    wires: list[Wire] = []

    async def process(ctx) -> None:
        ctx.set(host.ready, 1)
        wires.append(Wire(ctx, host, core, divisor, timeout))
        await wires[0].step(3)
        await scenario(wires[0])
        await wires[0].step(12 * divisor)
        assert not wires[0].heard, "an answer too many"

    simulator.add_testbench(process)
    simulator.run()
    return wires[0]


DIVISOR = 4
TIMEOUT_BITS = 30


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Of images and results."""

    word_bits: int = 16
    words: int = 2
    classes: int = 3
    logit_bits: int = 12
    lanes: int = 5

    @property
    def size(self) -> int:
        return self.words * self.word_bits // 8

    def identity(self) -> list[int]:
        return [0x0301, *(0x9E3779B9 * n % 2**32 for n in range(1, 15)), self.size]

    def host(self, divisor: int = DIVISOR) -> HostPort:
        return HostPort(
            divisor=divisor,
            timeout_bits=TIMEOUT_BITS,
            word_bits=self.word_bits,
            words=self.words,
            classes=self.classes,
            logit_bits=self.logit_bits,
            identity=self.identity(),
            event_lanes=self.lanes,
        )


@dataclass
class Device:
    """A host port, a core model and their twin."""

    shape: Shape = field(default_factory=Shape)
    stall: int = 0
    gap: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        s = self.shape
        self.rng = random.Random(self.seed)
        self.core = CoreModel(
            s.word_bits, s.words, s.classes, s.logit_bits, s.lanes, self.stall, self.gap, self.seed
        )
        self.twin = Twin(s.identity(), self.core)
        self.host = s.host()

    def play(self, scenario: Scenario) -> Wire:
        return play(self.host, self.core, DIVISOR, TIMEOUT_BITS * DIVISOR, scenario)

    def image(self) -> bytes:
        return self.rng.randbytes(self.shape.size)

    async def ask(self, wire: Wire, kind: int, payload: bytes = b"") -> bytes:
        """A good frame with any sequence number, answered as the twin does."""
        return await wire.ask(frame(kind, payload, self.rng.randrange(256)), self.twin)

    async def infer(self, wire: Wire) -> None:
        """A good exchange; the image reaches the core as it is."""
        image = self.image()
        await self.ask(wire, WRITE, image)
        await self.ask(wire, RUN)
        assert self.core.images[-1] == image
        answer = await self.ask(wire, READ)
        logits = b"".join(number(logit) for logit in self.core.logits(image))
        assert answer[22:-4] == logits
