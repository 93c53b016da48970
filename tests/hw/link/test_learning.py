# amaranth: UnusedElaboratable=no
# Those that a constructor refuses are not used.
"""The commands of a learning core, at the pins, with a real core behind the port: every answer, and
every master weight, is the golden model's."""

import random
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from gen.learn.stage import learning_stage, plan_learning
from hw.contract.checks import SpecError
from hw.contract.layout import map_layout
from hw.core import Core
from hw.learn.masters import Masters
from hw.link.learning import LearningFacts
from hw.link.port import HostPort
from sim.golden.learning import Learner
from tests.hw.link.linking import (
    COMMAND,
    COUNT,
    CRC,
    IDENTIFY,
    LEARN,
    LOAD,
    NO_RESULT,
    RATE,
    READ,
    RESET,
    RUN,
    SEED,
    STATE,
    TRAIN,
    TRUNCATED,
    VALUE,
    WEIGHTS,
    WRITE,
    frame,
    number,
    refusal,
)
from tests.learning import learning_network

DIVISOR = 4
TIMEOUT_BITS = 60


class Together(wiring.Component):
    """A host port and the core that it resets."""

    rx: Signal
    tx: Signal

    def __init__(self, host: HostPort, core: Core) -> None:
        self.host, self.core = host, core
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})  # type: ignore[call-arg]

    def elaborate(self, platform) -> Module:
        m = Module()
        host, core = self.host, self.core
        m.submodules.host = host
        m.submodules.core = ResetInserter(host.core_reset)(core)
        wiring.connect(m, core.o, host.results)
        wiring.connect(m, host.teacher, core.teacher)
        m.d.comb += [
            core.i.valid.eq(host.image.valid),
            core.i.payload.eq(host.image.payload),
            host.image.ready.eq(core.i.ready),
            host.events.eq(core.events),
            host.ready.eq(1),
            host.rx.eq(self.rx),
            self.tx.eq(host.tx),
        ]
        return m


class Board:
    """A small learning core at its pins, and the golden model beside it."""

    def __init__(self, seed: int = 3, learned: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.network = learning_network(self.rng)
        masters = Masters.of(self.network)
        masters.learned = learned
        self.plan = plan_learning(masters, 4)
        self.stage = learning_stage(self.plan)
        self.facts = self.stage.port_facts()
        self.learner = Learner(masters)
        spec = self.network.spec
        self.layout = map_layout(spec, "input", 4)
        core = Core([self.stage.component(files=False, events=True)], events=True)
        word_bits = core.i.payload.shape().size
        self.size = self.plan.words * word_bits // 8
        self.top = Together(
            HostPort(
                divisor=DIVISOR,
                timeout_bits=TIMEOUT_BITS,
                word_bits=word_bits,
                words=self.plan.words,
                classes=spec.classes,
                logit_bits=len(core.o.payload.logit),
                identity=[0x0301, *range(1, 15), self.size],
                event_lanes=len(core.events),
                learning=self.facts,
            ),
            core,
        )
        self.heard = bytearray()
        self.ctx: Any = None

    @property
    def count(self) -> int:
        return self.learner.masters.learned

    def image(self) -> np.ndarray:
        return self.rng.integers(0, 16, 9)

    def packed(self, pixels: np.ndarray) -> bytes:
        """Four bits a pixel, the first in the low bits."""
        words = self.layout.pack(pixels[None]).reshape(-1)
        return bytes(int(a) | int(b) << 4 for a, b in zip(words[::2], words[1::2], strict=True))

    def row_bytes(self, row: np.ndarray) -> bytes:
        bits = self.facts.master_bits
        value = sum((int(master) % (1 << bits)) << bits * n for n, master in enumerate(row))
        return number(value, self.facts.row_bytes)

    def rows(self) -> list[bytes]:
        packed = self.stage.rows.pack(self.learner.masters.arrays)
        return [self.row_bytes(row) for row in packed]

    def run(self, scenario) -> None:
        simulator = Simulator(self.top)
        simulator.add_clock(1e-6)

        async def process(ctx) -> None:
            self.ctx = ctx
            await ctx.tick().repeat(4)
            await scenario()

        async def listen(ctx) -> None:
            while True:
                await ctx.negedge(self.top.tx)
                await ctx.tick().repeat(DIVISOR + DIVISOR // 2)
                byte = 0
                for n in range(8):
                    byte |= ctx.get(self.top.tx) << n
                    await ctx.tick().repeat(DIVISOR)
                assert ctx.get(self.top.tx)
                self.heard.append(byte)

        simulator.add_testbench(process)
        simulator.add_testbench(listen, background=True)
        simulator.run()

    async def exchange(self, sent: bytes, size: int) -> bytes:
        """Send bytes; the next `size` bytes of the answer."""
        for byte in sent:
            for bit in (0, *(byte >> n & 1 for n in range(8)), 1):
                self.ctx.set(self.top.rx, bit)
                await self.ctx.tick().repeat(DIVISOR)
        for _ in range(600):
            if len(self.heard) >= size:
                break
            await self.ctx.tick().repeat(20)
        await self.ctx.tick().repeat(2 * DIVISOR)
        answer = bytes(self.heard)
        self.heard.clear()
        return answer

    async def ask(self, kind: int, payload: bytes, expected: bytes) -> None:
        """A right frame must be answered with this payload."""
        sequence = int(self.rng.integers(256))
        wanted = frame(kind | 0x80, expected, sequence)
        answer = await self.exchange(frame(kind, payload, sequence), len(wanted))
        assert answer.hex(" ") == wanted.hex(" ")

    async def refuse(self, sent: bytes, code: int) -> None:
        """What is sent must be refused."""
        wanted = refusal(code, sent[3], sent[2])
        assert (await self.exchange(sent, len(wanted))).hex(" ") == wanted.hex(" ")

    async def result(self, kind: int, payload: bytes, sample, learned: int, tag: bytes) -> bytes:
        """The answer to LEARN or READ, all but its counters checked; its payload."""
        size = 16 + 4 * len(sample.logits) + 8
        answer = await self.exchange(frame(kind, payload, 9), size + 10)
        body = answer[6:-4]
        assert frame(kind | 0x80, body, 9) == answer
        assert len(body) == size
        tail = b"".join(number(int(v)) for v in sample.logits)
        assert body[16:] == tail + number(learned) + number(self.count)
        assert body[:8] == tag + number(sample.label)
        return body

    async def learn(self, label: int | None = None, enabled: bool = True) -> bool:
        """A picture of its own."""
        pixels = self.image()
        label = int(self.rng.integers(3)) if label is None else label
        payload = self.packed(pixels) + number(label, 2) + number(self.count)
        tag = frame(LEARN, payload, 9)[-4:]
        sample = self.learner.learn(pixels, label) if enabled else self.learner.infer(pixels)
        body = await self.result(LEARN, payload, sample, int(sample.learned), tag)
        assert await self.result(READ, b"", sample, int(sample.learned), tag) == body
        return sample.learned

    async def infer(self) -> None:
        pixels = self.image()
        write = frame(WRITE, self.packed(pixels), 8)
        assert await self.exchange(write, 10) == frame(0x82, b"", 8)
        await self.ask(RUN, b"", b"")
        await self.result(READ, b"", self.learner.infer(pixels), 0, write[-4:])

    def state(self, enabled: bool = True) -> bytes:
        f, learner = self.facts, self.learner
        said = number(self.count) + number(learner.masters.random) + number(f.rows, 2)
        said += number(f.row_bytes, 2) + bytes([f.master_bits, len(f.rates)])
        said += number(f.lowest, 1) + number(f.highest, 1) + number(learner.margin)
        return said + bytes([enabled]) + b"".join(number(k, 1) for k in learner.rates)

    async def check_rows(self, *some: int) -> None:
        rows = self.rows()
        for n in some or range(len(rows)):
            await self.ask(WEIGHTS, number(n, 2), rows[n])


def test_learned_samples_and_every_master() -> None:
    """LEARN, READ, RUN, STATE; the count from its start on; bits 18 and 19 of word 0."""
    board = Board(learned=0xFFFF)

    async def identity(changed: int) -> None:
        words = [0x0301 | 0b101 << 16 | changed << 19, *range(1, 15), board.size]
        await board.ask(IDENTIFY, b"", b"".join(map(number, words)))

    async def scenario() -> None:
        await identity(0)
        await board.ask(STATE, b"", board.state())
        learned = [await board.learn() for _ in range(5)]
        assert any(learned)
        await identity(1)
        await board.infer()
        await board.check_rows()
        await board.ask(STATE, b"", board.state())

    board.run(scenario)


def test_refused_and_damaged_frames_change_nothing() -> None:
    """COUNT, VALUE, CRC, TRUNCATED, an unknown command; the image of a LEARN is forgotten."""
    board = Board(5)
    some = random.Random(1)

    async def scenario() -> None:
        f = board.facts
        image = board.packed(board.image())
        good = frame(LEARN, image + number(1, 2) + number(0), 1)
        row = some.randbytes(f.row_bytes)
        rates = bytes(f.lowest % 256 for _ in f.rates)
        for sent, code in (
            (frame(LEARN, image + number(1, 2) + number(1), 2), COUNT),
            (frame(LEARN, image + number(1, 2) + number(1 << 24), 2), COUNT),
            (frame(LEARN, image + number(3, 2) + number(0), 3), VALUE),
            (frame(LEARN, image + number(256, 2) + number(7), 3), VALUE),
            (frame(WEIGHTS, number(f.rows, 2), 4), VALUE),
            (frame(LOAD, number(f.rows, 2) + row, 4), VALUE),
            (frame(LOAD, number(256, 2) + row, 4), VALUE),
            (frame(SEED, number(0) + number(5), 4), VALUE),
            (frame(RATE, b"\x02" + number(1) + rates, 4), VALUE),
            (frame(RATE, b"\x01" + number(1 << 31) + rates, 4), VALUE),
            (frame(RATE, b"\x01" + number(1) + rates[1:] + number(f.lowest - 1, 1), 4), VALUE),
            (frame(RATE, b"\x01" + number(1) + number(f.highest + 1, 1) + rates[1:], 4), VALUE),
            (frame(TRAIN, b"", 4)[:6], COMMAND),
        ):
            await board.refuse(sent, code)
        for sent in (
            good,
            frame(LOAD, number(0, 2) + row, 4),
            frame(SEED, number(7) + number(5), 4),
            frame(RATE, b"\x00" + number(1) + rates, 4),
        ):
            harmed = bytearray(sent)
            harmed[some.randrange(6, len(sent))] ^= 1 << some.randrange(8)
            await board.refuse(bytes(harmed), CRC)
            await board.refuse(sent[:-1], TRUNCATED)
        await board.refuse(frame(READ, b"", 4), NO_RESULT)
        await board.ask(STATE, b"", board.state())
        await board.check_rows()
        await board.learn()

    board.run(scenario)


def test_settings_and_masters_that_are_set() -> None:
    """RATE, learning off and on; LOAD and SEED put another state on; RESET leaves it."""
    board = Board(6)

    async def scenario() -> None:
        f, learner = board.facts, board.learner
        await board.learn()
        for enabled in (False, True):
            learner.margin = 900 if enabled else 77
            learner.rates = [f.highest - 3, f.lowest + 1]
            rates = b"".join(number(k, 1) for k in learner.rates)
            payload = bytes([enabled]) + number(learner.margin) + rates
            await board.ask(RATE, payload, b"")
            await board.ask(STATE, b"", board.state(enabled))
            for _ in range(2):
                await board.learn(enabled=enabled)
        masters = learner.masters
        for n in range(2):
            low, high = masters.limits(n)
            shape = masters.arrays[n].shape
            masters.arrays[n] = board.rng.integers(low, high + 1, shape)
        masters.random, masters.learned = 0xDEADBEEF, 2**32 - 1
        for n, row in enumerate(board.rows()):
            await board.ask(LOAD, number(n, 2) + row, b"")
        await board.ask(SEED, number(0xDEADBEEF) + number(2**32 - 1), b"")
        await board.ask(RESET, b"", b"")
        await board.ask(STATE, b"", board.state())
        for _ in range(4):
            await board.learn()
        assert board.count < 10
        await board.check_rows(0, 1, len(board.rows()) - 1)

    board.run(scenario)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rows": 0}, "Rows of masters must be 1 to 65535, not 0"),
        ({"rates": (99,)}, "Rates must be at most 64 in"),
        ({"margin": 1 << 40}, "Margin must have at most"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, sentence: str) -> None:
    network = learning_network(np.random.default_rng(1))
    facts = learning_stage(plan_learning(Masters.of(network), 4)).port_facts()
    with pytest.raises(SpecError, match=sentence):
        LearningFacts(**{**vars(facts), **changes})
