# amaranth: UnusedElaboratable=no
# Those that a constructor refuses are not used.
"""Host port: a device at its pins answers as the twin does, whatever comes."""

import random

import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from hw.contract.checks import SpecError
from hw.link.mailbox import EventCounter
from hw.link.port import HostPort
from tests.hw.driving import Bench
from tests.hw.link.linking import (
    BROKEN,
    COUNTERS,
    IDENTIFY,
    NO_INPUT,
    NOT_READY,
    READ,
    RESET,
    RUN,
    SILENCE,
    WRITE,
    Twin,
    frame,
    number,
    refusal,
)
from tests.hw.link.pins import DIVISOR, Device, Shape, Wire

SHAPES = [
    Shape(word_bits=8, words=1, classes=1, logit_bits=2, lanes=1),
    Shape(word_bits=64, words=1, classes=2, logit_bits=32, lanes=4),
    Shape(word_bits=24, words=3, classes=10, logit_bits=9, lanes=17),
    Shape(word_bits=8, words=5, classes=5, logit_bits=20, lanes=9),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_command(shape: Shape) -> None:
    """Two images with different counters, and nothing to run or to read before and after them."""
    device = Device(shape, stall=5 * shape.words, gap=shape.classes // 2, seed=shape.classes)

    async def scenario(wire: Wire) -> None:
        for kind in (IDENTIFY, RUN, READ):
            await device.ask(wire, kind)
        await device.infer(wire)
        await device.infer(wire)
        for kind in (RUN, COUNTERS, RESET, COUNTERS):
            await device.ask(wire, kind)

    device.play(scenario)
    assert len(device.core.images) == 2


def test_answers_are_those_of_the_document() -> None:
    """Byte for byte, without the twin."""
    device = Device()
    image = bytes([1, 2, 3, 0x80])

    async def scenario(wire: Wire) -> None:
        async def say(text: str) -> str:
            await wire.send(bytes.fromhex(text))
            return (await wire.answer()).hex(" ")

        assert await say("a5 01 07 03 00 00 4d 58 d3 64") == refusal(NO_INPUT, RUN, 7).hex(" ")
        write = frame(WRITE, image, 8)
        assert await say(write.hex()) == frame(0x82, b"", 8).hex(" ")
        assert await say(frame(RUN, b"", 9).hex()) == frame(0x83, b"", 9).hex(" ")
        logits = device.core.logits(image)
        words = [device.core.cycles, device.core.events, *logits]
        payload = write[-4:] + number(logits.index(max(logits)))
        payload += b"".join(number(word) for word in words)
        assert await say(frame(READ, b"", 1).hex()) == frame(0x84, payload, 1).hex(" ")
        assert await say(frame(COUNTERS, b"", 2).hex()) == frame(0x85, payload[:16], 2).hex(" ")

    device.play(scenario)


def test_images_that_are_replaced_or_forgotten() -> None:
    device = Device(Shape(words=3))

    async def scenario(wire: Wire) -> None:
        await device.infer(wire)
        await device.ask(wire, WRITE, device.image())
        await device.ask(wire, READ)  # NO_RESULT
        await device.ask(wire, WRITE, device.image())
        await device.ask(wire, RESET)
        await device.ask(wire, RUN)
        await device.infer(wire)

    wire = device.play(scenario)
    assert len(device.core.images) == 2
    assert wire.core.resets == 1 + 4 + 1  # its own, each WRITE's, RESET's


def damaged_writes(image: bytes) -> list[list[int]]:
    """A WRITE with damage to each field, a break at some places, and pieces too many."""
    good = list(frame(WRITE, image, 0x21))
    cases = []
    for place in (1, 2, 3, 4, 5, 6, 9, 13):
        flipped = list(good)
        flipped[place] ^= 1 << place % 8
        cases.append(flipped)
    cases += [
        [*good[:end], item] for end, item in ((1, BROKEN), (6, SILENCE), (8, BROKEN), (11, SILENCE))
    ]
    cases += [[*good[:7], 0x5A, *good[7:]], [*good[:7], *good[8:], SILENCE]]
    return cases


def test_damaged_images_are_not_taken() -> None:
    """After each of them there is nothing to run; every fourth time, a good exchange."""
    device = Device(Shape(word_bits=8, words=4), stall=20, seed=3)
    good = 0

    async def scenario(wire: Wire) -> None:
        nonlocal good
        for n, items in enumerate(damaged_writes(device.image())):
            # The header alone decides: what follows would be dropped while the answer is sent.
            judged = len(Twin(device.twin.identity, device.core).hear(items[:6]))
            await wire.ask(items[:6] if judged else items, device.twin)
            await device.ask(wire, RUN)
            if n % 4 == 0:
                await device.infer(wire)
                good += 1

    device.play(scenario)
    assert len(device.core.images) == good


@pytest.mark.parametrize("kind", [RUN, RESET])
def test_damaged_commands_change_nothing(kind: int) -> None:
    """The image waits, or the result stands."""
    device = Device()

    async def scenario(wire: Wire) -> None:
        await device.infer(wire)
        if kind == RUN:
            await device.ask(wire, WRITE, device.image())
        good = frame(kind, b"", 0x42)
        for place in (2, 3, 9):
            flipped = bytearray(good)
            flipped[place] ^= 8
            await wire.ask(flipped[:6] if place == 3 else flipped, device.twin)
        await wire.ask([*good[:8], SILENCE], device.twin)
        await wire.ask([*good[:9], BROKEN], device.twin)
        for other in (RUN, READ):
            await device.ask(wire, other)

    device.play(scenario)


def test_what_is_not_a_frame_is_dropped() -> None:
    """Noise, false start bits and breaks between frames; a long line of bytes with a frame in it;
    the rest of a frame that was too long."""
    device = Device()
    noise = [byte for byte in device.rng.randbytes(20) if byte != 0xA5]

    async def scenario(wire: Wire) -> None:
        await device.infer(wire)
        await wire.send([*noise, BROKEN, SILENCE, BROKEN, *noise])
        for low in (1, 2):
            await wire.level(0, low)
            await wire.level(1, 3 * DIVISOR)
        await wire.level(0, 50 * DIVISOR)
        await wire.level(1, 2 * DIVISOR)
        await device.ask(wire, READ)
        await wire.ask([0, 1, *noise, *frame(COUNTERS, b"", 3)], device.twin)
        long = list(frame(WRITE, bytes(device.shape.size + 6)))
        await wire.ask(long[:6], device.twin)
        await wire.send(long[6:])
        await device.infer(wire)

    device.play(scenario)


def test_a_glitch_in_a_byte_is_damage() -> None:
    """A bit that is low, or high, for too long; the image is never taken for another."""
    device = Device()

    async def scenario(wire: Wire) -> None:
        for level in (0, 1):
            good = frame(WRITE, b"\x55\xaa\x33\xcc", 5)
            await wire.send(good[:8])
            await wire.level(0, DIVISOR)
            await wire.level(level, 7 * DIVISOR)
            await wire.level(1 - level, DIVISOR)
            await wire.level(1, DIVISOR)
            await wire.send(good[9:])
            flipped = [*good[:8], 0x80 if not level else 0x7F, *good[9:]]
            assert [await wire.answer()] == device.twin.hear(flipped)
            await device.infer(wire)

    device.play(scenario)


@pytest.mark.parametrize("percent", [-2, 2])
def test_a_host_whose_clock_is_off(percent: int) -> None:
    device = Device()
    bit = DIVISOR * (1 + percent / 100)

    async def scenario(wire: Wire) -> None:
        for sent in (frame(WRITE, device.image(), 7), frame(RUN), frame(READ)):
            await wire.send(sent, bit)
            assert [await wire.answer()] == device.twin.hear(sent)

    device.play(scenario)


def test_what_comes_during_a_command_is_dropped() -> None:
    """Frames that are sent without waiting: the first one counts, also while the core works."""
    device = Device(Shape(classes=10), gap=60, seed=1)

    async def scenario(wire: Wire) -> None:
        await device.infer(wire)
        await device.ask(wire, WRITE, device.image())
        run = frame(RUN, b"", 1)
        await wire.send([*run, *frame(RESET), *frame(READ, b"", 2)])
        assert [await wire.answer()] == device.twin.hear(run)
        read = frame(READ, b"", 9)
        await wire.send([*read, *frame(RESET)])
        assert [await wire.answer()] == device.twin.hear(read)
        await device.ask(wire, READ)

    device.play(scenario)


def test_a_core_that_takes_a_word_too_late() -> None:
    """The image is answered like a damaged one, and is not run."""
    device = Device(Shape(word_bits=8, words=3))

    async def scenario(wire: Wire) -> None:
        device.core.wait = 10**6
        write = frame(WRITE, device.image(), 4)
        device.core.stall = 10**6
        await wire.send(write)
        assert await wire.answer() == refusal(1, WRITE, 4)
        device.core.stall = 0
        device.core.wait = 0
        device.twin.image = None
        await device.ask(wire, RUN)
        await device.infer(wire)

    device.play(scenario)


def test_before_the_weights_are_there() -> None:
    """The digest comes in; WRITE and RUN are refused, also a WRITE that began too early."""
    device = Device()
    device.twin.ready = False
    host, identity = device.host, device.twin.identity

    async def scenario(wire: Wire) -> None:
        wire.ctx.set(host.ready, 0)
        await device.ask(wire, IDENTIFY)
        for word in range(1, 9):
            identity[word] = device.rng.getrandbits(32)
            wire.ctx.set(host.load_en, 1)
            wire.ctx.set(host.load_addr, word)
            wire.ctx.set(host.load_data, identity[word])
            await wire.step()
            wire.ctx.set(host.load_en, 0)
            wire.ctx.set(host.load_data, 0)
        for kind, payload in ((WRITE, device.image()), (RUN, b""), (READ, b""), (IDENTIFY, b"")):
            await device.ask(wire, kind, payload)
        wire.ctx.set(host.fault, 1)
        device.twin.fault = True
        await device.ask(wire, IDENTIFY)
        wire.ctx.set(host.fault, 0)
        device.twin.fault = False
        write = frame(WRITE, device.image(), 2)
        await wire.send(write[:7])
        device.twin.hear(write[:7])
        wire.ctx.set(host.ready, 1)
        device.twin.ready = True
        await wire.send(write[7:])
        assert (
            [await wire.answer()] == device.twin.hear(write[7:]) == [refusal(NOT_READY, WRITE, 2)]
        )
        await device.ask(wire, IDENTIFY)
        await device.infer(wire)

    device.play(scenario)


def test_busy_and_error() -> None:
    device = Device()

    async def scenario(wire: Wire) -> None:
        host = device.host
        await wire.send(frame(RUN))
        await wire.step(20)
        assert wire.ctx.get(host.busy)
        assert [await wire.answer()] == device.twin.hear(frame(RUN))
        await wire.step(DIVISOR)
        assert not wire.ctx.get(host.busy)
        assert wire.ctx.get(host.error)
        await device.ask(wire, IDENTIFY)
        assert not wire.ctx.get(host.error)

    device.play(scenario)


def test_reset_of_the_port_resets_the_core() -> None:
    reset, device = Signal(), Device()
    simulator = Simulator(ResetInserter(reset)(device.host))
    simulator.add_clock(1e-6)

    async def process(ctx) -> None:
        for at in (0, 1):
            ctx.set(reset, at)
            if at:
                await ctx.tick()
                ctx.set(reset, 0)
            assert ctx.get(device.host.core_reset)
            await ctx.tick()
            assert not ctx.get(device.host.core_reset)

    simulator.add_testbench(process)
    simulator.run()


@pytest.mark.parametrize("lanes", [1, 3, 4, 5, 8, 9, 40])
def test_events_are_counted(lanes: int) -> None:
    """And forgotten in any cycle; what came `latency` cycles before a `clear` or earlier is."""
    rng = random.Random(lanes)
    counter = EventCounter(lanes)
    bits = [rng.choice([0, 2**lanes - 1, rng.getrandbits(lanes)]) for _ in range(90)]
    clears = [int(n > 30 and rng.random() < 0.3) for n in range(len(bits))]
    bench = Bench(counter)
    bench.play(counter.i, bits)
    bench.play(counter.clear, clears)
    seen = bench.watch(counter.count)
    bench.run(extra=20)
    expected, came = [0], [0] * (counter.latency - 1) + [value.bit_count() for value in bits]
    for n in range(len(seen) - 1):
        count = expected[-1] + (came[n] if n < len(came) else 0)
        expected.append(0 if n < len(clears) and clears[n] else count)
    assert [count for (count,) in seen] == expected
    assert sum(clears) > 5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"word_bits": 12}, "Image word must have whole bytes, not 12 bits"),
        ({"words": 5}, "Identity must be 16 words, the last 10, not"),
        ({"identity": [0] * 15}, "Identity must be 16 words, the last 4, not"),
        ({"divisor": 3}, "UART divisor must be"),
        ({"classes": 16380}, "Answer to READ must have at most 65535 bytes, not 65536"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, sentence: str) -> None:
    good = {
        "divisor": 4,
        "word_bits": 16,
        "words": 2,
        "classes": 3,
        "logit_bits": 12,
        "identity": Shape().identity(),
        "event_lanes": 1,
    }
    with pytest.raises(SpecError, match=sentence):
        HostPort(**{**good, **changes})
