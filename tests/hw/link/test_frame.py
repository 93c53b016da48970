# amaranth: UnusedElaboratable=no
# Those that a constructor refuses are not used.
"""Frames: every kind of damage is told as docs/link.md says, and the next frame is read right."""

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

from hw.contract.checks import SpecError
from hw.link.checksum import FrameCheck
from hw.link.frame import FrameReceiver, FrameSender
from tests.hw.driving import FLOWING, JITTERY, Bench, Pace
from tests.hw.link.linking import (
    BROKEN,
    COMMAND,
    CRC,
    LENGTH,
    SILENCE,
    TRUNCATED,
    VERSION,
    Heard,
    Parser,
    frame,
)

LENGTHS = {1: 0, 2: 3, 3: 0, 7: 300}
TIMEOUT = 40
GAP = FrameCheck.CYCLES + 1
HEADER = 6


@dataclass
class Run:
    """What a receiver said: (cycle, frame) of all that were over, the cycle of each item, and of
    each `opened`."""

    over: list[tuple[int, Heard]]
    items: list[int]
    opened: list[int]

    @property
    def frames(self) -> list[Heard]:
        return [heard for _, heard in self.over]


def hear(items: Sequence[int], gaps: random.Random | None = None, deaf: range = range(0)) -> Run:
    """Feed bytes, BROKEN and SILENCE; `deaf` are the cycles in which nobody listens."""
    dut, run = FrameReceiver(LENGTHS, TIMEOUT), Run([], [], [])
    assert repr(dut.i.ready) == repr(Const(1))  # a line cannot wait
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    probe = Cat(dut.done, dut.opened, dut.payload, dut.check)
    fields = (dut.error, dut.kind, dut.sequence, dut.place)

    async def process(ctx) -> None:
        cycle, payload, tag = 0, b"", b""

        async def step(valid: int, item: int, fault: int) -> None:
            nonlocal cycle, payload, tag
            ctx.set(dut.listen, cycle not in deaf)
            ctx.set(dut.i.valid, valid)
            ctx.set(dut.i.payload, item)
            ctx.set(dut.fault, fault)
            seen = ctx.get(probe)
            if seen:
                done, opened, data, check = (seen >> n & 1 for n in range(4))
                error, kind, sequence, place = (ctx.get(signal) for signal in fields)
                if opened:
                    run.opened.append(cycle)
                    payload, tag = b"", b""
                if data:
                    payload += bytes([item])
                if check:
                    assert place == len(tag)
                    tag += bytes([item])
                if done:
                    good = Heard(0, kind, sequence, payload, tag)
                    heard = good if error == 0 else Heard(error, kind, sequence)
                    run.over.append((cycle, heard))
            await ctx.tick()
            cycle += 1

        for item in items:
            run.items.append(cycle)
            await step(int(item >= 0), max(item, 0), int(item == BROKEN))
            idle = TIMEOUT + GAP if item == SILENCE else GAP - 1
            idle += gaps.choice([0, 0, 1, TIMEOUT - GAP - 1]) if gaps else 0
            for _ in range(idle):
                await step(0, gaps.randrange(256) if gaps else 0, 0)
        for _ in range(TIMEOUT + GAP):  # nothing comes of silence between frames
            await step(0, 0, 0)

    simulator.add_testbench(process)
    simulator.run()
    return run


def expected(items: Sequence[int]) -> list[Heard]:
    parser = Parser(LENGTHS)
    return [over for over in map(parser.hear, items) if over is not None]


def check(items: Sequence[int], gaps: random.Random | None = None) -> list[Heard]:
    """The receiver says what the parser says."""
    run = hear(items, gaps)
    assert run.frames == expected(items)
    return run.frames


GOOD = frame(2, b"\x00\xa5\xff", sequence=0x91)
NEXT = frame(3, sequence=0x5B)
HEARD = Heard(0, 2, 0x91, b"\x00\xa5\xff", GOOD[-4:])
AFTER = Heard(0, 3, 0x5B, b"", NEXT[-4:])


def test_good_frames() -> None:
    rng = random.Random(1)
    frames = [
        frame(kind, rng.randbytes(length), rng.randrange(256))
        for kind, length in [*LENGTHS.items(), (2, 3), (2, 3)]
    ]
    heard = check(b"".join(frames), rng)
    assert [(h.error, len(h.payload)) for h in heard] == [(0, n) for n in (0, 3, 0, 300, 3, 3)]


def test_every_flipped_bit_is_found() -> None:
    """In the first byte it hides the frame; nothing right comes of it, and the next is right."""
    items, errors = [], []
    for bit in range(8 * len(GOOD)):
        damaged = bytearray(GOOD)
        damaged[bit // 8] ^= 1 << bit % 8
        items += [*damaged, SILENCE, *NEXT]
        place = bit // 8
        errors.append({1: VERSION, 4: LENGTH, 5: LENGTH}.get(place, CRC if place else 0))
    heard = check(items)
    assert [h for h in heard if not h.error] == [AFTER] * 8 * len(GOOD)
    told = [h.error for h in heard if h.error]
    for error in (VERSION, LENGTH):
        assert told.count(error) >= errors.count(error)
    assert told.count(CRC) >= 8 * 7  # sequence, payload and CRC; a kind is something else too
    assert COMMAND in told


@pytest.mark.parametrize("item", [SILENCE, BROKEN])
@pytest.mark.parametrize("kind", [2, 3])
def test_a_frame_that_breaks_off_anywhere(item: int, kind: int) -> None:
    whole = GOOD if kind == 2 else NEXT
    for end in range(len(whole) + 1):
        heard = check([*whole[:end], item, *NEXT])
        assert heard[-1] == AFTER
        if 0 < end < len(whole):
            sequence = whole[2] if end > 2 else 0
            assert heard[:-1] == [Heard(TRUNCATED, whole[3] if end > 3 else 0, sequence)]
        else:
            assert [h.error for h in heard[:-1]] == [0] * (end > 0)


def test_the_header_is_judged_in_order() -> None:
    """VERSION before COMMAND before LENGTH, all before the CRC; the fields are what came."""
    for version, kind, size, error in [
        (2, 9, b"x", VERSION),
        (0, 3, b"", VERSION),
        (1, 9, b"x", COMMAND),
        (1, 0, b"", COMMAND),
        (1, 0x82, b"", COMMAND),
        (1, 3, b"x", LENGTH),
        (1, 2, b"", LENGTH),
        (1, 2, b"1234", LENGTH),
        (1, 7, bytes(44), LENGTH),
        (1, 2, bytes(3 + 256), LENGTH),
    ]:
        bad = frame(kind, size, 0x77, version)
        heard = check([*bad[:HEADER], *NEXT])
        assert heard == [Heard(error, kind, 0x77), AFTER]


def test_garbage_between_frames() -> None:
    """Any bytes but the first of a frame are dropped; those make the next frame wait or fail."""
    rng = random.Random(3)
    junk = [byte for byte in rng.randbytes(150) if byte != 0xA5]
    assert check([*junk, *GOOD, *junk[:20], BROKEN, SILENCE, *GOOD, 0, *NEXT]) == [
        HEARD,
        HEARD,
        AFTER,
    ]
    assert check([0xA5, *NEXT, SILENCE, *NEXT])[-1] == AFTER
    assert check([*rng.randbytes(60), SILENCE, *NEXT])[-1] == AFTER


@pytest.mark.parametrize("seed", range(4))
def test_random_damage(seed: int) -> None:
    """Bytes lost, doubled, altered, put in; breaks and silences; no gap is ever the same."""
    rng = random.Random(seed)
    items: list[int] = []
    for _ in range(12):
        kind = rng.choice([1, 2, 2, 3])
        piece = list(frame(kind, rng.randbytes(LENGTHS[kind]), rng.randrange(256)))
        for _ in range(rng.choice([0, 0, 1, 2])):
            at = rng.randrange(len(piece))
            new = rng.choice([[], [piece[at]] * 2, [rng.randrange(256)], [SILENCE], [BROKEN]])
            piece[at : at + 1] = new
        items += piece
    items += [SILENCE, *NEXT]
    assert check(items, rng)[-1] == AFTER


def test_nobody_listens_between_frames() -> None:
    """A frame that begins while nobody listens is dropped, one under way is not."""
    begin, end = GAP * len(GOOD), GAP * (len(GOOD) + len(NEXT))
    items = [*GOOD, *NEXT, *GOOD]
    assert hear(items, deaf=range(begin, end)).frames == [HEARD, HEARD]
    assert hear(items, deaf=range(1, begin)).frames == [HEARD, AFTER, HEARD]


def test_cycle_law() -> None:
    items = [*GOOD, *frame(3, version=3)[:HEADER], 0xA5, BROKEN, *GOOD[:9], SILENCE]
    run = hear(items)
    at, n, m = run.items, len(GOOD), len(GOOD) + HEADER
    assert run.opened == [at[HEADER - 1] + 1, at[m + 2 + HEADER - 1] + 1]
    assert [cycle for cycle, _ in run.over] == [
        at[n - 1] + FrameCheck.CYCLES,
        at[m - 1] + 1,
        at[m + 1],
        at[m + 2 + 8] + TIMEOUT,
    ]


# The sender


class Answer(wiring.Component):
    """Sends a frame twice, its payload fetched as late as may be."""

    o: stream.Interface
    done: Signal

    def __init__(self, payload: bytes, kind: int, sequence: int) -> None:
        self._payload, self._kind, self._sequence = payload, kind, sequence
        super().__init__({"o": Out(stream.Signature(8)), "done": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.sender = sender = FrameSender(max(1, len(self._payload)))
        wiring.connect(m, sender.o, wiring.flipped(self.o))
        index: Signal = sender.index
        for _ in range(FrameSender.FETCH_CYCLES - 1):
            later = Signal.like(index)
            m.d.sync += later.eq(index)
            index = later
        with m.Switch(index):
            for n, byte in enumerate(self._payload):
                with m.Case(n):
                    m.d.sync += sender.data.eq(byte)
            with m.Default():
                m.d.sync += sender.data.eq(0xEE)
        times = Signal(2)
        m.d.sync += times.eq(times + sender.done)
        m.d.comb += [
            sender.start.eq(times != 2),
            sender.kind.eq(self._kind),
            sender.sequence.eq(self._sequence),
            sender.length.eq(len(self._payload)),
            self.done.eq(sender.done),
        ]
        return m


@pytest.mark.parametrize("pace", [FLOWING, *JITTERY[:3:2]], ids=str)
@pytest.mark.parametrize("length", [0, 1, 2, 260])
def test_sent_frames(length: int, pace: Pace) -> None:
    rng = random.Random(length)
    payload = rng.randbytes(length)
    answer = Answer(payload, 0x85, 0x3C)
    bench = Bench(answer, pace, limit=20_000)
    sink = bench.collect(answer.o, 2 * (10 + length))
    seen = bench.watch(answer.done)
    bench.run(extra=3 * (GAP - 1))
    assert bytes(sink.values) == 2 * frame(0x85, payload, 0x3C)
    done = [cycle for cycle, (high,) in enumerate(seen) if high]
    assert len(done) == 2
    assert sink.taken[9 + length] < done[0] < sink.offered[10 + length]
    if pace == FLOWING:
        assert {b - a for a, b in pairwise(sink.taken[1:6])} == {FrameCheck.CYCLES}


@pytest.mark.parametrize("length", [0, 3])
def test_a_sender_is_silent_after_its_last_byte(length: int) -> None:
    """However long its receiver takes to be ready again: no byte is offered, and the frame is not
    over until then."""
    dut, whole = FrameSender(5), frame(0x81, b"\x0f" * length, 0x2C)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def process(ctx) -> None:
        ctx.set(Cat(dut.kind, dut.sequence, dut.data), 0x0F_2C_81)
        ctx.set(dut.length, length)
        for _ in range(2):
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for byte in whole:
                ctx.set(dut.o.ready, 1)
                *_, offered = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
                assert offered == byte
            ctx.set(dut.o.ready, 0)
            for _ in range(5 * FrameCheck.CYCLES):
                assert not ctx.get(dut.o.valid)
                assert not ctx.get(dut.done)
                await ctx.tick()
            ctx.set(dut.o.ready, 1)
            assert ctx.get(dut.done)
            for _ in range(5 * FrameCheck.CYCLES):
                await ctx.tick()
                assert not ctx.get(dut.o.valid)
                assert not ctx.get(dut.done)

    simulator.add_testbench(process)
    simulator.run()


# The checksum


def test_checksum_is_zlibs() -> None:
    dut, rng = FrameCheck(), random.Random(5)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def process(ctx) -> None:
        for length in (1, 2, 3, 9, 40):
            data = rng.randbytes(length)
            whole = data + zlib.crc32(data).to_bytes(4, "little")
            ctx.set(dut.start, 1)
            ctx.set(dut.valid, rng.randrange(2))  # does not count
            await ctx.tick()
            ctx.set(dut.start, 0)
            for n, byte in enumerate(whole):
                ctx.set(dut.valid, 1)
                ctx.set(dut.byte, byte)
                await ctx.tick()
                ctx.set(dut.valid, 0)
                ctx.set(dut.byte, rng.randrange(256))
                await ctx.tick().repeat(FrameCheck.CYCLES - 1)
                assert not ctx.get(dut.busy)
                assert ctx.get(dut.crc) == zlib.crc32(whole[: n + 1])
                assert ctx.get(dut.good) == (n + 1 == len(whole))

    simulator.add_testbench(process)
    simulator.run()


def test_a_length_that_no_frame_has_is_refused() -> None:
    with pytest.raises(SpecError, match="Frame of kind 2 must have at most 65535 bytes, not 65536"):
        FrameReceiver({1: 0, 2: 65536}, 10)
    with pytest.raises(SpecError, match="Answer must have at most 65535 bytes, not 70000"):
        FrameSender(70000)
